"""Rules of data that need a third tier, or a transfer of several moves."""

from dataclasses import replace

import pytest

from tests.support.plans import COMPUTE, DOWN, DRAM, IN_DRAM, SRAM, UP, buffer, plan, problem
from tests.support.verify_twin import fault_of
from ullage.compiler.ir.plan import Plan, Residency
from ullage.compiler.ir.target import Link, Target, Tier
from ullage.compiler.verify.verifier import find_violations

NVM = Tier("nvm", 128, 1e9, 1e9, alignment_bytes=4)
TARGET = Target(
    "nvm",
    (SRAM, DRAM, NVM),
    (UP, DOWN, Link("dram", "nvm", 1e9), Link("nvm", "dram", 1e9)),
    COMPUTE,
    IN_DRAM,
    slice_granularity_bytes=4,
)


def stored_behind(step_3: tuple[str, str] | None, **changes: object) -> Plan:
    """Buffer a is in sram and dram; its copy in dram goes on to nvm in steps 2 and 4."""
    buffers = (buffer("x", 8, "input"), buffer("a", 8), buffer("y", 8, "output"))
    steps = (None, ("x", "a"), None, step_3, None, ("a", "y"), None)
    held = [
        ("x", 0, 8, "dram", 0, 0, 0, 7),
        ("a", 0, 8, "dram", 8, 1, 1, 5),
        ("a", 0, 8, "nvm", 0, 2, 5, 6),
        ("a", 0, 8, "sram", 0, 1, 3, 5),
        ("y", 0, 8, "sram", 8, 3, 3, 7),
        ("y", 0, 8, "dram", 24, 6, 7, 7),
    ]
    moves = [
        ("a", 0, 8, "dram", "sram", ((2, 8),)),
        ("a", 0, 8, "dram", "nvm", ((2, 4), (4, 4))),
        ("y", 0, 8, "sram", "dram", ((6, 8),)),
    ]
    held = [tuple(changes.get(f"{r[0]} in {r[3]}", r)) for r in held]  # type: ignore[call-overload]
    return plan(TARGET, problem("behind", buffers, steps), held, moves)


def found_in(made: Plan) -> set[tuple[str, int]]:
    found = {(violation.rule, violation.step) for violation in find_violations(made)}
    assert bool(found) == bool(fault_of(made))
    return found


def test_a_source_is_checked_again_at_every_move() -> None:
    assert found_in(stored_behind(None)) == set()
    assert found_in(stored_behind(("a", "y"))) == set()
    # Written in sram between the two moves: what is in dram is stale, all of it.
    assert ("transfer-source", 4) in found_in(stored_behind(("a", "a")))
    assert ("transfer-source", 4) in found_in(stored_behind(("x", "a:4:8")))
    # The half that has moved is checked, too.
    assert ("transfer-source", 4) in found_in(stored_behind(("x", "a:0:4")))


@pytest.mark.parametrize(
    ("place", "changed", "expected"),
    [
        # The source is gone, or not ready, at one of the moves.
        ("a in dram", ("a", 0, 8, "dram", 8, 1, 1, 4), ("transfer-source", 4)),
        ("a in nvm", ("a", 0, 8, "nvm", 0, 3, 5, 6), ("transfer-destination", 2)),
        # Ready one step before the last move, without anything else happening.
        ("a in nvm", ("a", 0, 8, "nvm", 0, 2, 4, 6), ("early-ready", 4)),
        # Ready between two moves.
        ("a in nvm", ("a", 0, 8, "nvm", 0, 2, 3, 6), ("early-ready", 4)),
        # Ready before the first move.
        ("a in nvm", ("a", 0, 8, "nvm", 0, 1, 1, 6), ("early-ready", 2)),
        # Ready one step after the last bytes have come.
        ("a in nvm", ("a", 0, 8, "nvm", 0, 2, 6, 7), ("late-ready", 6)),
    ],
)
def test_both_ends_of_a_transfer_are_there_at_every_move(
    place: str, changed: tuple[object, ...], expected: tuple[str, int]
) -> None:
    assert expected in found_in(stored_behind(None, **{place: changed}))


@pytest.mark.parametrize(
    ("held", "added"),
    [
        # The first half has no place at all, or the second has one since step 3 only.
        (("a", 4, 8, "nvm", 4, 2, 6, 7), ()),
        (("a", 0, 4, "nvm", 0, 2, 5, 6), (Residency(1, 4, 8, "nvm", 4, 3, 6, 7),)),
    ],
)
def test_bytes_arrive_beside_those_of_their_transfer_that_have_no_place(
    held: tuple[object, ...], added: tuple[Residency, ...]
) -> None:
    """The second half of a comes in step 4 and is ready in step 6, one step too late."""
    made = stored_behind(None, **{"a in nvm": held})
    found = found_in(replace(made, residencies=(*made.residencies, *added)))
    assert {("transfer-destination", 2), ("late-ready", 6)} <= found


def test_a_transfer_at_fault_is_reported_at_the_first_move_only() -> None:
    made = stored_behind(None, **{"a in nvm": ("a", 0, 8, "nvm", 0, 1, 1, 6)})
    early = [found.step for found in find_violations(made) if found.rule == "early-ready"]
    assert early == [2]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("a:0:4", True),
        ("a:4:8", True),
        ("y:0:8", False),  # another buffer
    ],
)
def test_nothing_is_written_while_it_moves_not_even_what_has_arrived(
    written: str, *, expected: bool
) -> None:
    made = stored_behind(None)
    steps = list(made.problem.steps)
    steps[4] = problem("", made.problem.buffers, (None, None, None, None, ("x", written))).steps[4]
    program = replace(made.problem.program, steps=tuple(steps))
    made = replace(made, problem=replace(made.problem, program=program))
    assert (("write-during-move", 4) in found_in(made)) is expected


def test_outputs_are_checked_range_by_range() -> None:
    """Two outputs in one buffer, bytes between them that are none, and an output of no bytes."""
    buffers = (
        buffer("x", 8, "input"),
        replace(buffer("y", 16, "output"), outputs=((0, 4), (6, 6), (12, 16))),
    )
    made = problem("outputs", buffers, (None, ("x", "y"), None, None))
    held = [("x", 0, 8, "dram", 0, 0, 0, 4), ("y", 0, 16, "sram", 0, 1, 1, 4)]
    low = ("y", 0, 4, "dram", 8, 2, 3, 4)
    high = ("y", 12, 16, "dram", 16, 3, 4, 4)
    moves = [
        ("y", 0, 4, "sram", "dram", ((2, 4),)),
        ("y", 12, 16, "sram", "dram", ((3, 4),)),
    ]
    assert found_in(plan(TARGET, made, [*held, low, high], moves)) == set()
    for kept, moved, message in (
        ([low], moves[:1], "bytes [12, 16) are not in dram"),
        ([high], moves[1:], "bytes [0, 4) are not in dram"),
        ([low, (*high[:5], 3, 3, 4)], moves[:1], "bytes [12, 16) in dram hold no data"),
    ):
        broken = plan(TARGET, made, [*held, *kept], moved)
        (violation,) = find_violations(broken)
        assert (violation.rule, violation.step, violation.buffers) == ("output-lost", 4, ("y",))
        assert message in violation.message
        assert fault_of(broken)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("a:0:4", False),
        ("a:8:12", False),
        ("a:9:12", False),
        ("a:0:3", False),
        ("a:0:8", True),
        ("a:4:8", True),
        ("a:7:9", True),
    ],
)
def test_bytes_beside_a_slice_may_be_written_while_it_moves(
    written: str, *, expected: bool
) -> None:
    """The slice [4, 8) of a goes from dram to sram in step 2, in which an operator writes a."""
    buffers = (buffer("x", 8, "input"), buffer("a", 12), buffer("y", 8, "output"))
    steps = (None, ("x", "a"), ("x", written), ("a:4:8", "y"), None)
    held = [
        ("x", 0, 8, "dram", 0, 0, 0, 5),
        ("a", 0, 12, "dram", 8, 1, 1, 4),
        ("a", 4, 8, "sram", 0, 2, 3, 4),
        ("y", 0, 8, "dram", 24, 3, 3, 5),
    ]
    moves = [("a", 4, 8, "dram", "sram", ((2, 4),))]
    target = replace(TARGET, slice_granularity_bytes=1)
    found = found_in(plan(target, problem("beside", buffers, steps), held, moves))
    assert (("write-during-move", 2) in found) is expected
    assert bool(found) is expected


@pytest.mark.parametrize(
    ("fast", "slow", "home"), [("a", "b", "c"), ("b", "a", "c"), ("c", "b", "a")]
)
@pytest.mark.parametrize("demand", ["fastest", "addressable"])
def test_operands_are_where_operators_reach_them_whatever_tiers_are_called(
    fast: str, slow: str, home: str, demand: str
) -> None:
    """Operands in the slow tier of a target that wants them in the fast one, or cannot reach it."""
    tiers = (
        replace(SRAM, name=fast, addressable=demand == "fastest"),
        replace(DRAM, name=slow),
        replace(NVM, name=home, addressable=demand == "fastest"),
    )
    target = Target(
        "named",
        tiers,
        (Link(home, fast, 1e9), Link(fast, home, 1e9), Link(slow, fast, 1e9)),
        COMPUTE,
        dict.fromkeys(IN_DRAM, home),
        operand_access="fastest" if demand == "fastest" else "any",
        slice_granularity_bytes=4,
    )
    buffers = (buffer("x", 8, "input"), buffer("y", 8, "output"))
    made = problem("reach", buffers, (None, None, ("x", "y"), None))

    def at(read_in: str, written_in: str) -> set[tuple[str, int]]:
        held = [
            ("x", 0, 8, home, 0, 0, 0, 4),
            ("x", 0, 8, fast, 0, 0, 1, 3),
            ("y", 0, 8, written_in, 16, 2, 2, 4),
            ("y", 0, 8, home, 8, 3, 4, 4),
        ]
        moves = [
            ("x", 0, 8, home, fast, ((0, 8),)),
            ("y", 0, 8, fast, home, ((3, 8),)),
        ]
        if read_in == home:
            del held[1], moves[0]
        if written_in == home:
            held = [*held[:-2], ("y", 0, 8, home, 8, 2, 2, 4)]
            moves = moves[:-1]
        return found_in(plan(target, made, held, moves))

    rule = "wrong-tier" if demand == "fastest" else "not-addressable"
    assert at(fast, fast) == set()
    assert at(home, fast) == at(fast, home) == at(home, home) == {(rule, 2)}


def test_an_input_that_is_not_at_home_is_named_in_step_0() -> None:
    for start in (0, 1):  # fetched from nowhere, or not there before step 1
        late = stored_behind(None, **{"x in dram": ("x", 0, 8, "dram", 0, start, 1, 7)})
        found = [violation for violation in find_violations(late) if violation.rule == "home"]
        assert [(violation.step, violation.buffers) for violation in found] == [(0, ("x",))]


def test_half_an_input_at_home_is_not_enough_whatever_moves_in_step_0() -> None:
    """The half of x that is used is at home and is fetched; the weight before it is there, all."""
    buffers = (buffer("w", 8, "weight"), buffer("x", 8, "input"), buffer("y", 8, "output"))
    held = [
        ("w", 0, 8, "dram", 0, 0, 0, 3),
        ("x", 0, 4, "dram", 8, 0, 0, 3),
        ("x", 0, 4, "sram", 0, 0, 1, 2),
        ("y", 0, 8, "dram", 16, 1, 1, 3),
    ]
    moves = [("x", 0, 4, "dram", "sram", ((0, 4),))]
    made = plan(TARGET, problem("half", buffers, (None, ("w x:0:4", "y"), None)), held, moves)
    assert found_in(made) == {("home", 0)}


@pytest.mark.parametrize("fast", ["a", "z"])  # before and behind "dram" in the alphabet
def test_an_input_is_at_home_alone_before_the_first_step(fast: str) -> None:
    """A residency elsewhere with start = ready = 0 holds nothing that no transfer brings."""
    target = replace(
        TARGET,
        tiers=(replace(SRAM, name=fast), DRAM),
        links=(Link("dram", fast, 1e9), Link(fast, "dram", 1e9)),
    )
    buffers = (buffer("x", 8, "input"), buffer("y", 8, "output"))
    held = [
        ("x", 0, 8, "dram", 0, 0, 0, 3),
        ("x", 0, 8, fast, 0, 0, 0, 3),
        ("y", 0, 8, "dram", 8, 1, 1, 3),
    ]
    found = found_in(plan(target, problem("home", buffers, (None, ("x", "y"), None)), held))
    assert found == {("stale-read", 1)}


def test_a_transfer_whose_moves_do_not_fill_it_brings_nothing_and_stops_no_other() -> None:
    """Half of a is moved to nvm; the transfer to sram, which is listed behind it, brings all."""
    made = stored_behind(None)
    half = replace(made.transfers[0], moves=((2, 4),))
    assert half.destination == "nvm"
    broken = replace(made, transfers=(half, *made.transfers[1:]))
    found = [violation for violation in find_violations(broken) if violation.rule == "unfilled"]
    assert [violation.step for violation in found] == [5]
    assert "in nvm" in found[0].message
    assert fault_of(broken)


def test_a_use_of_no_bytes_hides_no_later_use() -> None:
    buffers = (buffer("x", 8, "input"), buffer("y", 8, "output"))
    steps = (None, ("x:4:4", "y"), ("x", "y"), ("x", "y"), None)
    held = [("x", 0, 8, "dram", 0, 0, 0, 3), ("y", 0, 8, "dram", 16, 1, 1, 5)]
    assert found_in(plan(TARGET, problem("empty", buffers, steps), held)) == {("not-resident", 3)}


SENT = "transfer of a bytes [0, 8) dram->nvm in steps 2..4"
HELD = "a bytes [0, 8) in nvm at addresses [0, 8) during steps"


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        (
            {"a in nvm": ("a", 0, 8, "nvm", 0, 3, 5, 6)},
            [
                f"{SENT}, step 2: no residency takes bytes [0, 8)",
                f"{HELD} [3, 6), ready at 5: no transfer brings data to bytes [0, 4)",
                "step 5 (op5) reads a in a: bytes [0, 4) in nvm hold no data, step 1 wrote the "
                "current data",
            ],
        ),
        (
            {"a in nvm": ("a", 0, 8, "nvm", 0, 2, 4, 6)},
            [
                f"{HELD} [2, 6), ready at 4: no transfer brings data to bytes [4, 8)",
                f"{SENT}, step 4: still moving to {HELD} [2, 6), ready at 4",
            ],
        ),
        (
            {"a in nvm": ("a", 0, 8, "nvm", 0, 2, 6, 7)},
            [
                "step 5 (op5) reads a in a: bytes [0, 8) are not ready in any tier (seen: sram, "
                "dram, nvm)",
                f"{HELD} [2, 7), ready at 6: its last bytes arrive in step 4, it is ready at 5",
            ],
        ),
        (
            {"a in dram": ("a", 0, 8, "dram", 8, 1, 1, 4)},
            [f"{SENT}, step 4: bytes [0, 8) are not ready in dram"],
        ),
        (
            {"x in dram": ("x", 0, 8, "dram", 0, 1, 1, 7)},
            [
                "x bytes [0, 8) must be in their home tier dram with start = ready = 0: nothing "
                "holds them there",
                "step 1 (op1) reads x in x: bytes [0, 8) in dram hold no data",
            ],
        ),
        (
            {"x in dram": ("x", 4, 8, "dram", 0, 0, 0, 7)},
            [
                "x bytes [0, 4) must be in their home tier dram with start = ready = 0: nothing "
                "holds them there",
                "step 1 (op1) reads x in x: bytes [0, 4) are not ready in any tier (seen: dram)",
            ],
        ),
    ],
)
def test_messages_name_bytes_steps_and_tiers(
    changes: dict[str, tuple[object, ...]], messages: list[str]
) -> None:
    found = find_violations(stored_behind(None, **changes))
    assert [violation.message for violation in found] == messages


def test_messages_say_how_old_data_is() -> None:
    """The copies in dram and nvm are of step 1; step 3 has written a in sram."""
    assert [violation.message for violation in find_violations(stored_behind(("a", "a")))] == [
        f"{SENT}, step 4: bytes [0, 8) in dram hold the data written before step 2, step 3 wrote "
        "the current data",
        f"{HELD} [2, 6), ready at 5: bytes [0, 8) were rewritten after they were moved",
        "step 5 (op5) reads a in a: bytes [0, 8) in nvm hold the data written before step 2, step "
        "3 wrote the current data",
    ]
    assert [violation.message for violation in find_violations(stored_behind(("x", "a:4:8")))] == [
        f"{SENT}, step 4: bytes [4, 8) in dram hold the data written before step 2, step 3 wrote "
        "the current data",
        f"{HELD} [2, 6), ready at 5: bytes [4, 8) were rewritten after they were moved",
        "step 5 (op5) reads a in a: bytes [4, 8) in nvm hold the data written before step 2, step "
        "3 wrote the current data",
    ]


def test_initial_and_unwritten_data_are_told_from_each_other() -> None:
    """The input x is rewritten in sram; the activation a is read before anything wrote it."""
    buffers = (buffer("x", 8, "input"), buffer("a", 8), buffer("y", 8, "output"))
    steps = (None, ("x", "y"), ("y", "x"), ("x", "y"), ("a", "y"), None)
    held = [
        ("x", 0, 8, "dram", 0, 0, 0, 6),
        ("x", 0, 8, "sram", 0, 0, 1, 3),
        ("a", 0, 8, "dram", 8, 3, 3, 6),
        ("y", 0, 8, "dram", 16, 1, 1, 6),
    ]
    made = plan(
        TARGET, problem("old", buffers, steps), held, [("x", 0, 8, "dram", "sram", ((0, 8),))]
    )
    assert [violation.message for violation in find_violations(made)] == [
        "step 3 (op3) reads x in x: bytes [0, 8) in dram hold the data written before step 0, step "
        "2 wrote the current data",
        "step 4 (op4) reads a in a: bytes [0, 8) in dram hold no data, none has been written yet",
        "step 4 (op4) reads a in a: bytes [0, 8) have not been written before",
    ]
    assert fault_of(made)


def test_an_operator_in_the_first_step_breaks_one_rule_and_its_data_count() -> None:
    """Step 0 must be DMA-only; what an operator writes there has been written nevertheless."""
    buffers = (buffer("x", 8, "input"), buffer("a", 8), buffer("y", 8, "output"))
    steps = (("x", "a"), ("a", "y"), ("x", "a"), ("x", "y"), None)
    held = [
        ("x", 0, 8, "dram", 0, 0, 0, 5),
        ("a", 0, 8, "dram", 8, 0, 0, 5),
        ("y", 0, 8, "dram", 16, 1, 1, 5),
    ]
    made = plan(TARGET, problem("early", buffers, steps), held)
    assert [violation.message for violation in find_violations(made)] == [
        "step 0 (op0) is first or last: must be DMA-only"
    ]
    assert fault_of(made)


@pytest.mark.parametrize(
    ("offset", "tier", "contiguous"), [(12, "sram", True), (16, "sram", False), (12, "dram", False)]
)
def test_slices_of_a_whole_operand_lie_side_by_side(
    offset: int, tier: str, *, contiguous: bool
) -> None:
    """Bytes [0, 8) of a are at address 4 of sram, the rest somewhere."""
    buffers = (buffer("x", 8, "input"), buffer("a", 16), buffer("y", 8, "output"))
    made = problem("whole", buffers, (None, ("x", "a"), ("a", "y"), None))
    held = [
        ("x", 0, 8, "dram", 0, 0, 0, 4),
        ("a", 0, 8, "sram", 4, 1, 1, 3),
        ("a", 8, 16, tier, offset, 1, 1, 3),
        ("y", 0, 8, "dram", 64, 2, 2, 4),
    ]
    whole = replace(TARGET, split_operands=False)
    found = find_violations(plan(whole, made, held))
    if contiguous:
        assert found == []
        return
    assert [(item.rule, item.step) for item in found] == [
        ("split-operand", 1),
        ("split-operand", 2),
    ]
    places = sorted([("sram", 4), (tier, offset - 8)])
    listed = ", ".join(f"{name} at {address}" for name, address in places)
    assert found[1].message == (
        f"step 2 (op2) reads a in a: must be contiguous in one tier, byte 0 would be in {listed}"
    )


def test_a_scattered_operand_is_told_by_five_of_its_places() -> None:
    """Six slices of a, 4 bytes each, with gaps of 4 bytes between them."""
    buffers = (buffer("x", 8, "input"), buffer("a", 24), buffer("y", 8, "output"))
    made = problem("scattered", buffers, (None, ("x", "a"), ("a", "y"), None))
    slices = [("a", 4 * i, 4 * i + 4, "sram", 8 * i, 1, 1, 3) for i in range(6)]
    held = [("x", 0, 8, "dram", 0, 0, 0, 4), *slices, ("y", 0, 8, "dram", 64, 2, 2, 4)]
    found = find_violations(plan(replace(TARGET, split_operands=False), made, held))
    listed = "sram at 0, sram at 4, sram at 8, sram at 12, sram at 16"
    assert [violation.message for violation in found] == [
        f"step {step}: must be contiguous in one tier, byte 0 would be in {listed}"
        for step in ("1 (op1) writes a in a", "2 (op2) reads a in a")
    ]


def test_an_operator_reads_before_it_writes_and_all_of_its_uses_count() -> None:
    """In step 1 it overwrites what nothing has written; in step 3 no bytes are read before x."""
    buffers = (buffer("x", 8, "input"), buffer("a", 8), buffer("y", 8, "output"))
    held = [
        ("x", 0, 8, "dram", 0, 0, 0, 3),
        ("a", 0, 8, "sram", 0, 1, 1, 5),
        ("y", 0, 8, "dram", 16, 2, 2, 5),
    ]
    steps = (None, ("a", "a"), ("a", "y"), ("a:4:4 x", "y"), None)
    made = plan(TARGET, problem("in place", buffers, steps), held)
    assert found_in(made) == {("problem", 1), ("stale-read", 1), ("not-resident", 3)}
    sound = (None, ("x", "a"), ("a", "y"), ("a:4:4 a", "y"), None)
    assert found_in(plan(TARGET, problem("in place", buffers, sound), held)) == set()
