"""Rules of space and of cuts at their edges."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.changes import with_program, with_target
from tests.support.plans import ANY, PLANS, ROWS, buffer, plan, problem
from tests.support.verify_twin import fault_of
from ullage.compiler.ir.plan import Plan, Residency
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import PlacedValue
from ullage.compiler.verify.verifier import find_violations


def cut_at(byte: int, granularity: int, *, in_transfer: bool = False) -> Plan:
    """x, of which the value v is [5, 11) and nothing else ends there, is cut in dram or on its way.

    Rows have 7 bytes; one step reads [0, 13) and one writes y.
    """
    x = replace(
        buffer("x", 24, "input"),
        values=(PlacedValue("x", 0, 24), PlacedValue("v", 5, 11)),
        row_bytes=7,
    )
    made = problem("cut", (x, buffer("y", 8, "output")), (None, ("x:0:13", "y"), None))
    held = [("y", 0, 8, "dram", 64, 1, 1, 3)]
    moves = []
    if in_transfer:
        held += [("x", 0, 24, "dram", 0, 0, 0, 3), ("x", 0, 24, "sram", 0, 0, 1, 2)]
        moves = [
            ("x", 0, byte, "dram", "sram", ((0, byte),)),
            ("x", byte, 24, "dram", "sram", ((0, 24 - byte),)),
        ]
    else:
        held += [("x", 0, byte, "dram", 0, 0, 0, 3), ("x", byte, 24, "dram", 32, 0, 0, 3)]
    target = replace(ROWS if not granularity else ANY, slice_granularity_bytes=granularity)
    return plan(target, made, held, moves)


@pytest.mark.parametrize("in_transfer", [False, True])
@pytest.mark.parametrize("granularity", [0, 4, 6])
def test_cuts_are_at_ends_of_values_and_uses_and_at_multiples(
    granularity: int, *, in_transfer: bool
) -> None:
    for byte in range(1, 24):
        made = cut_at(byte, granularity, in_transfer=in_transfer)
        allowed = byte in (5, 11, 13) or byte % (granularity or 7) == 0
        found = find_violations(made)
        assert not found if allowed else {item.rule for item in found} == {"granularity"}
        assert bool(found) == bool(fault_of(made))
        for item in found:
            assert f"cut at byte {byte}, which is no multiple of {granularity or 7}" in item.message


PLACES = st.tuples(st.integers(0, 5), st.integers(1, 3), st.integers(0, 4), st.integers(1, 4))


@settings(max_examples=200, deadline=None)
@given(st.lists(PLACES, max_size=6), st.integers(0, 7), st.lists(st.integers(0, 4), max_size=4))
def test_addresses_agree_with_counting_them(
    places: list[tuple[int, int, int, int]], capacity: int, workspaces: list[int]
) -> None:
    """Rectangles of (offset, size) x (start, steps), and workspaces at the top, cell by cell."""
    last = 6
    items = [(low, size, start, min(start + steps, last)) for low, size, start, steps in places]
    buffers = tuple(buffer(f"b{i}", size) for i, (_, size, _, _) in enumerate(items))
    made = problem("space", buffers, [None] * last)
    steps = tuple(
        replace(made.steps[t], kind="Op", operator=t, workspace_bytes=size)
        for t, size in enumerate((*workspaces, 0, 0, 0, 0)[: last - 2], start=1)
    )
    made = replace(made, steps=(made.steps[0], *steps, made.steps[-1]))
    target = replace(
        ANY,
        tiers=(replace(ANY.tiers[0], capacity_bytes=capacity, alignment_bytes=1), *ANY.tiers[1:]),
    )
    held = tuple(
        Residency(i, 0, size, "sram", low, start, start, end)
        for i, (low, size, start, end) in enumerate(items)
    )
    cells = [
        (t, address)
        for low, size, start, end in items
        for t, address in product(range(start, end), range(low, low + size))
    ]
    tops = [max((a + 1 for at, a in cells if at == t), default=0) for t in range(last)]
    expected = set()
    if len(set(cells)) < len(cells):
        expected.add("overlap")
    if any(low + size > capacity for low, size, _, _ in items):
        expected.add("capacity")
    late = {
        t
        for t, step in enumerate(made.steps)
        if step.workspace_bytes and tops[t] + step.workspace_bytes > capacity
    }
    found = find_violations(Plan(Problem(made, target), held, (), "hand"), limit=10_000)
    assert {item.rule for item in found} - {"workspace"} == expected
    assert {item.step for item in found if item.rule == "workspace"} == late


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_slice_on_two_others_is_told_twice(order: str) -> None:
    """Two slices overlap since step 1; c comes in step 2 to the address of the upper one, b."""
    places = {"a": (0, 12), "b": (8, 4)}
    buffers = (*(buffer(name, places[name][1]) for name in order), buffer("c", 4))
    held = [(name, 0, size, "sram", at, 1, 1, 3) for name, (at, size) in places.items()]
    held.append(("c", 0, 4, "sram", 8, 2, 2, 3))
    found = find_violations(plan(ANY, problem("three", buffers, [None] * 4), held))
    assert [(item.rule, item.step, set(item.buffers)) for item in found] == [
        ("overlap", 1, {"a", "b"}),
        ("overlap", 2, {"a", "c"}),
        ("overlap", 2, {"b", "c"}),
    ]


def test_a_workspace_names_what_is_below_it() -> None:
    base = PLANS["residual"]
    steps = list(base.problem.steps)
    steps[2] = replace(steps[2], workspace_bytes=33)  # b ends at 32 of 64
    (found,) = find_violations(
        replace(base, problem=with_program(base.problem, steps=tuple(steps)))
    )
    assert (found.rule, found.step, found.buffers) == ("workspace", 2, ("b",))
    assert "in use up to 32 of 64" in found.message
    alone = replace(base.target.tiers[0], capacity_bytes=15)
    tiny = with_target(PLANS["chain"], replace(base.target, tiers=(alone, base.target.tiers[1])))
    steps = list(tiny.problem.steps)
    steps[1] = replace(steps[1], workspace_bytes=16)
    empty = replace(
        tiny,
        problem=with_program(tiny.problem, steps=tuple(steps)),
        residencies=tiny.residencies[:1],
    )
    named = [item for item in find_violations(empty) if item.rule == "workspace"]
    assert [item.buffers for item in named] == [()]


@pytest.mark.parametrize(
    ("moves", "rules"),
    [
        (((2, 16),), set()),
        (((2, 15),), {"moved-bytes"}),
        (((2, 17),), {"moved-bytes"}),
        ((), {"moved-bytes"}),
        (((2, 16), (3, 0)), {"moved-bytes"}),
        (((2, 17), (3, -1)), {"moved-bytes"}),
        (((2, 8), (2, 8)), {"transfer-order"}),
        (((3, 8), (2, 8)), {"transfer-order"}),
        (((3, 1), (2, 8)), {"moved-bytes", "transfer-order"}),
    ],
)
def test_moves_sum_to_the_slice_and_ascend(
    moves: tuple[tuple[int, int], ...], rules: set[str]
) -> None:
    base = PLANS["spill"]
    spilled = replace(base.transfers[0], moves=moves)
    made = replace(base, transfers=(spilled, *base.transfers[1:]))
    found = find_violations(made)
    of_moves = {item.rule for item in found} & {"moved-bytes", "transfer-order"}
    assert of_moves == rules
    first = moves[0][0] if moves else -1
    assert all(item.step == first for item in found if item.rule in rules)


def with_residency(name: str, index: int, **changes: Any) -> Plan:
    items = list(PLANS[name].residencies)
    items[index] = replace(items[index], **changes)
    return replace(PLANS[name], residencies=tuple(items))


def with_transfer(name: str, index: int, **changes: Any) -> Plan:
    items = list(PLANS[name].transfers)
    items[index] = replace(items[index], **changes)
    return replace(PLANS[name], transfers=tuple(items))


SPILLED = "transfer of a bytes [0, 16) sram->dram in"


@pytest.mark.parametrize(
    ("made", "rule", "step", "buffers", "message"),
    [
        (
            with_residency("chain", 1, offset=6),
            *("alignment", 1, ("a",)),
            "a bytes [0, 16) in sram at addresses [6, 22) during steps [1, 3), ready at 1: the "
            "offset must be a multiple of 4",
        ),
        (
            with_residency("chain", 1, offset=52),
            *("capacity", 1, ("a",)),
            "a bytes [0, 16) in sram at addresses [52, 68) during steps [1, 3), ready at 1: sram "
            "has 64 bytes, 4 too few",
        ),
        (
            with_residency("spill", 3, offset=44),
            *("overlap", 4, ("b", "a")),
            "b bytes [0, 48) in sram at addresses [0, 48) during steps [3, 5), ready at 3 overlaps "
            "a bytes [0, 16) in sram at addresses [44, 60) during steps [4, 6), ready at 5",
        ),
        (
            with_residency("concat", 2, offset=10),
            *("alignment", 2, ("c",)),
            "c bytes [6, 18) in dram at addresses [10, 22) during steps [2, 4), ready at 2: the "
            "offset must be a multiple of 4",
        ),
        (
            with_transfer("spill", 0, moves=((2, 1),) * 30),
            *("transfer-order", 2, ("a",)),
            f"{SPILLED} steps 2..2: steps of moves must ascend strictly, they are {[2] * 20}",
        ),
        (
            with_transfer("spill", 0, link="bus"),
            *("no-link", 2, ("a",)),
            f"{SPILLED} steps 2..2: the target has no link 'bus' there",
        ),
        (
            with_transfer("spill", 0, link="dram->sram"),
            *("no-link", 2, ("a",)),
            f"{SPILLED} steps 2..2: the target has no link 'dram->sram' there",
        ),
        (
            with_transfer("spill", 0, moves=()),
            *("moved-bytes", -1, ("a",)),
            f"{SPILLED} no step: the slice has 16 bytes, the moves sum to 0",
        ),
        (
            with_transfer("spill", 0, moves=((2, 17), (3, -1))),
            *("moved-bytes", 2, ("a",)),
            f"{SPILLED} steps 2..3: every move must be of at least one byte",
        ),
        (
            with_transfer("spill", 0, moves=((3, 8), (2, 8))),
            *("transfer-order", 3, ("a",)),
            f"{SPILLED} steps 3..2: steps of moves must ascend strictly, they are [3, 2]",
        ),
    ],
)
def test_messages_name_addresses_steps_and_links(
    made: Plan, rule: str, step: int, buffers: tuple[str, ...], message: str
) -> None:
    found = [item for item in find_violations(made) if item.rule == rule]
    assert [(item.step, item.buffers, item.message) for item in found] == [(step, buffers, message)]


def test_a_transfer_to_read_only_memory_is_named_at_its_first_move() -> None:
    target = PLANS["prefetch"].target
    tiers = (replace(target.tiers[0], read_only=True), target.tiers[1])
    made = with_target(PLANS["prefetch"], replace(target, tiers=tiers))
    found = [item for item in find_violations(made) if "dram->sram" in item.message]
    assert [(item.rule, item.step, item.buffers) for item in found] == [("read-only", 0, ("w",))]
    assert found[0].message.endswith("in steps 0..1: sram is read-only")


def test_a_workspace_may_lie_where_something_was_long_before() -> None:
    """Buffer a has [0, 40) of 64 until step 2; the workspace of step 4 needs 32."""
    buffers = (buffer("x", 4, "input"), buffer("a", 40), buffer("y", 4, "output"))
    steps = (None, ("x", "a"), None, None, ("x", "y"), None)
    made = problem("late", buffers, steps)
    operators = list(made.steps)
    operators[4] = replace(operators[4], workspace_bytes=32)
    held = [
        ("x", 0, 4, "dram", 0, 0, 0, 6),
        ("a", 0, 40, "sram", 0, 1, 1, 2),
        ("y", 0, 4, "dram", 4, 4, 4, 6),
    ]
    assert find_violations(plan(ANY, replace(made, steps=tuple(operators)), held)) == []
    held[1] = (*held[1][:7], 5)
    (found,) = find_violations(plan(ANY, replace(made, steps=tuple(operators)), held))
    assert (found.rule, found.step) == ("workspace", 4)
