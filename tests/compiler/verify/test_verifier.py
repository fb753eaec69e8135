"""The verifier: legal plans pass, broken ones are caught, and a byte-by-byte twin agrees."""

import json
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.changes import with_program, with_target
from tests.support.mutations import MUTATIONS
from tests.support.plans import (
    COMPUTE,
    DOWN,
    DRAM,
    IN_DRAM,
    PLANS,
    SRAM,
    UP,
    buffer,
    plan,
    problem,
    repeated,
)
from tests.support.targets import random_plan as random_slices
from tests.support.targets import random_problem
from tests.support.three_tiers import random_walks, three_tier_problem, three_tier_target
from tests.support.verify_twin import fault_of
from ullage.compiler.common.errors import MalformedPlanError, VerificationError
from ullage.compiler.ir.graph import Gemm
from ullage.compiler.ir.plan import Plan, Residency, Transfer
from ullage.compiler.ir.program import Buffer, PlacedValue
from ullage.compiler.ir.target import Compute, Link, Systolic, Target
from ullage.compiler.verify.verifier import (
    check_well_formed,
    find_file_violations,
    find_violations,
    malformed_file,
    verify,
)
from ullage.hwmodels.bounds import BOUND_TOLERANCE
from ullage.hwmodels.cost import value_of

SEEDS = range(4)


def seeded(seed: int) -> Random:
    return Random(seed)  # tests want the same numbers again, not secrets


def rules_of(made: Plan) -> set[str]:
    return {violation.rule for violation in find_violations(made, limit=10_000)}


@pytest.mark.parametrize("name", PLANS)
def test_legal_plans_pass(name: str) -> None:
    verify(PLANS[name])
    assert find_violations(PLANS[name]) == []
    assert fault_of(PLANS[name]) == ""


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutations_are_caught_on_every_plan(name: str) -> None:
    mutation = MUTATIONS[name]
    applied = 0
    for base in PLANS.values():
        for seed in SEEDS:
            broken = mutation.apply(base, seeded(seed))
            if broken is None:
                continue
            applied += 1
            assert mutation.rules & rules_of(broken), (base.problem.name, seed, rules_of(broken))
            if "malformed" not in mutation.rules:
                assert fault_of(broken), (base.problem.name, seed)
    assert applied, "no plan offers a place for this mutation"


def test_mutations_bring_out_every_rule() -> None:
    """`stale-arrival` apart, which needs the plan of the next test."""
    caught: set[str] = set()
    for mutation in MUTATIONS.values():
        for base in PLANS.values():
            for seed in SEEDS:
                broken = mutation.apply(base, seeded(seed))
                caught |= rules_of(broken) if broken else set()
    assert caught >= {
        *("malformed", "problem", "overlap", "duplicate", "alignment", "capacity", "workspace"),
        *("granularity", "split-operand", "not-resident", "stale-read", "wrong-tier", "read-only"),
        *("not-addressable", "no-link", "moved-bytes", "transfer-order", "transfer-source"),
        *("transfer-destination", "write-during-move", "early-ready", "late-ready", "unfilled"),
        *("home", "output-lost", "wrap"),
    }


def test_rewriting_moved_bytes_before_arrival_is_caught() -> None:
    """The first half moves, an operator rewrites it in place, then the second half moves."""
    buffers = (buffer("x", 8, "input"), buffer("a", 8), buffer("y", 8, "output"))
    steps = (None, ("x", "a"), None, ("a", "a:0:4"), None, ("a", "y"), None)
    held = [
        ("x", 0, 8, "dram", 0, 0, 0, 7),
        ("a", 0, 8, "dram", 8, 1, 1, 5),
        ("a", 0, 8, "sram", 0, 2, 5, 6),
        ("y", 0, 8, "dram", 16, 5, 5, 7),
    ]
    move = ("a", 0, 8, "dram", "sram", ((2, 4), (4, 4)))
    target = Target("t", (SRAM, DRAM), (UP, DOWN), COMPUTE, IN_DRAM, slice_granularity_bytes=4)
    broken = plan(target, problem("rewritten", buffers, steps), held, [move])
    assert "stale-arrival" in rules_of(broken)
    assert fault_of(broken)
    # Moved the other way round in time, the rewritten half goes after the write: legal.
    kinder = (None, ("x", "a"), None, ("a", "a:4:8"), None, ("a", "y"), None)
    legal = plan(target, problem("rewritten", buffers, kinder), held, [move])
    assert find_violations(legal) == []
    assert fault_of(legal) == ""


def test_fastest_operands_need_two_dma_steps_between_operators() -> None:
    base = PLANS["residual"]
    target = replace(base.target, operand_access="fastest")
    assert "problem" in rules_of(with_target(base, target))


def test_violations_name_step_tensor_tier_and_addresses() -> None:
    broken = MUTATIONS["overlap"].apply(PLANS["chain"], seeded(0))
    assert broken is not None
    found = [item for item in find_violations(broken) if item.rule == "overlap"]
    assert found
    for violation in found:
        assert all(name in violation.message for name in violation.buffers)
        assert "dram at addresses [" in violation.message
        assert 0 <= violation.step < len(broken.problem.steps)


def test_error_lists_the_first_and_carries_all() -> None:
    broken = replace(PLANS["spill"], residencies=())
    with pytest.raises(VerificationError, match=r"hand breaks \d+ rules") as caught:
        verify(broken)
    listed = caught.value.details["violations"]
    assert len(listed) == len(find_violations(broken)) > 5
    assert listed[0]["message"] in caught.value.message
    assert json.loads(json.dumps(listed))[0]["rule"] == listed[0]["rule"]


@pytest.mark.parametrize("count", [1, 5, 6, 120])
def test_error_spells_out_five_of_a_hundred(count: int) -> None:
    """As many residencies at odd addresses, the last listed first."""
    buffers = tuple(buffer(f"b{i}", 1) for i in range(count))
    made = problem("odd", buffers, [None] * (count + 1))
    held = [(f"b{i}", 0, 1, "dram", 4 * i % 128 + 1, i, i, i + 1) for i in range(count)]
    listed = plan(PLANS["chain"].target, made, held)
    broken = replace(listed, residencies=tuple(reversed(listed.residencies)))
    with pytest.raises(VerificationError) as caught:
        verify(broken)
    known = min(count, 100)
    head, *lines, tail = caught.value.message.splitlines()
    assert head == f"the plan of solver hand breaks {known} rules where 0 are allowed:"
    assert tail.startswith("Nothing may run it")
    first = count - known
    named = [f"  [alignment] b{first + i} bytes" for i in range(min(count, 5))]
    assert [line[: len(name)] for line, name in zip(lines, named, strict=False)] == named
    assert lines[min(count, 5) :] == ([f"  ... and {known - 5} more"] if count > 5 else [])
    steps = [item["step"] for item in caught.value.details["violations"]]
    assert steps == list(range(first, count))
    assert len(find_violations(broken, 10_000)) == count
    assert len(find_file_violations(broken)) == known


@pytest.mark.parametrize("field", ["target.tiers", "buffers"])
def test_a_file_that_cannot_be_read_breaks_the_rule_malformed(field: str) -> None:
    error = MalformedPlanError(f"{field} is no list", {"field": field})
    verdict = malformed_file(error)
    assert isinstance(verdict, VerificationError)
    (violation,) = verdict.details["violations"]
    assert (violation["rule"], violation["step"]) == ("malformed", -1)
    assert verdict.message == violation["message"] == error.message
    of_import = MalformedPlanError("model.order is no list", {"field": "model.order"})
    assert malformed_file(of_import) is of_import


def test_a_garbled_plan_is_told_from_an_illegal_one() -> None:
    illegal = replace(PLANS["spill"], residencies=())
    check_well_formed(illegal)
    broken = tuple(replace(item, offset=-1) for item in PLANS["spill"].residencies)
    with pytest.raises(VerificationError) as caught:
        check_well_formed(replace(illegal, residencies=broken * 20))
    assert len(caught.value.details["violations"]) == 100


@pytest.mark.parametrize("limit", [1, 3])
def test_limit_bounds_the_list(limit: int) -> None:
    assert len(find_violations(replace(PLANS["spill"], residencies=()), limit)) == limit


GARBAGE: tuple[Any, ...] = (None, -1, 10**30, float("nan"), 1.5, "x", (), [1], True, (1, 2, 3))


def _fields(item: Any) -> list[str]:
    return list(type(item).__dataclass_fields__)


def _with_figure(made: Plan, part: str, field: str, value: object) -> Plan:
    """A plan whose target has another figure in its first tier, first link or compute unit."""
    target = made.target
    if part == "compute":
        return with_target(made, replace(target, compute=replace(target.compute, **{field: value})))
    items = getattr(target, part)
    changed = (replace(items[0], **{field: value}), *items[1:])
    return with_target(made, replace(target, **{part: changed}))


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), 10**400, "1", None])
@pytest.mark.parametrize(
    ("part", "field"),
    [
        ("tiers", "read_bytes_per_s"),
        ("tiers", "write_bytes_per_s"),
        ("links", "bandwidth_bytes_per_s"),
        ("compute", "vector_elements_per_s"),
    ],
)
def test_rates_of_a_target_are_finite_and_above_0(part: str, field: str, value: object) -> None:
    (violation,) = find_violations(_with_figure(PLANS["prefetch"], part, field, value))
    assert violation.rule == "malformed"
    assert f"{field} must be a finite number above 0" in violation.message


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "1"])
@pytest.mark.parametrize(
    ("part", "field"),
    [
        ("tiers", "read_energy_j_per_byte"),
        ("tiers", "write_energy_j_per_byte"),
        ("links", "setup_s"),
        ("links", "energy_j_per_byte"),
        ("compute", "overhead_s"),
    ],
)
def test_costs_of_a_target_are_finite_and_not_negative(
    part: str, field: str, value: object
) -> None:
    (violation,) = find_violations(_with_figure(PLANS["prefetch"], part, field, value))
    assert f"{field} must be a finite number of at least 0" in violation.message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1"])
def test_a_bound_is_a_finite_number(value: Any) -> None:
    (violation,) = find_violations(replace(PLANS["prefetch"], lower_bound=value))
    assert "its lower bound must be a finite number" in violation.message


def test_a_bound_above_the_plans_own_value_is_a_violation() -> None:
    legal = PLANS["prefetch"]
    value = value_of(legal)
    assert find_file_violations(replace(legal, lower_bound=value, claimed_bound=value)) == []
    most = value + BOUND_TOLERANCE * abs(value)
    assert find_file_violations(replace(legal, lower_bound=most, claimed_bound=most)) == []
    for field in ("lower_bound", "claimed_bound"):
        (violation,) = find_file_violations(replace(legal, **{field: 1.001 * value}))
        assert violation.rule == "bound"
        assert "what proved the bound is wrong" in violation.message


def with_step(made: Plan, t: int, **changes: Any) -> Plan:
    steps = list(made.problem.steps)
    steps[t] = replace(steps[t], **changes)
    return replace(made, problem=with_program(made.problem, steps=tuple(steps)))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"operator": 10**9}, "operator must be in"),
        ({"operator": 2}, "operator 2 has run in step 1"),
        ({"macs": 10**400}, "macs must be in [0, 4611686018427387904], is int of 1329 bits"),
        ({"vector_elements": True}, "vector_elements must be an int"),
        ({"mac_dtype": "float31"}, "unknown data type str 'float31'"),
        ({"gemms": (Gemm(1, -1, 1),)}, "k of a Gemm must be in"),
        ({"macs": 2**62, "operator": 1}, "MACs in all"),
    ],
)
def test_figures_of_a_step_make_sense(changes: dict[str, Any], says: str) -> None:
    base = with_step(PLANS["chain"], 2, operator=2, macs=1)
    assert find_violations(base) == []
    assert says in find_violations(with_step(base, 1, **changes))[0].message


def test_the_objective_is_one_that_there_is() -> None:
    base = PLANS["chain"]
    unknown = replace(base, problem=replace(base.problem, objective="beauty"))
    assert "the objective must be one of latency" in find_violations(unknown)[0].message


def _target_with(**changes: Any) -> Plan:
    base = PLANS["prefetch"]
    return with_target(base, replace(base.target, **changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tiers": (DRAM, SRAM)}, "tiers must stand fastest first: 'sram' reads"),
        ({"links": (UP, DOWN, UP)}, "links need distinct names"),
        ({"links": (UP, DOWN, Link("sram", "sram", 1.0))}, "both ends are 'sram'"),
        ({"compute": Compute({}, 1e9)}, "needs the rate of at least one data type"),
        ({"compute": Compute({"float31": 1e9}, 1e9)}, "unknown data type str 'float31'"),
        ({"compute": Compute({"int8": 1e9}, 1e9, 0.0, {"int8": -1.0})}, "energy_j_per_mac of int8"),
        ({"compute": Compute({"int8": 1e300}, 1e9)}, "must be in [0.001, 1e+24]"),
        (
            {"compute": Compute({"int8": 1e9}, 1e9, systolic=Systolic(0, 4, 1e9))},
            "rows of the systolic array must be in",
        ),
        ({"split_operands": 1}, "split_operands must be a bool"),
        ({"tiers": (SRAM, replace(DRAM, capacity_bytes=2**70))}, "capacity_bytes must be in"),
        ({"homes": {**IN_DRAM, "scratch": "dram"}}, "homes are of input, weight"),
    ],
)
def test_targets_obey_the_rules_of_target_files(changes: dict[str, Any], says: str) -> None:
    (violation,) = find_violations(_target_with(**changes), limit=1)
    assert violation.rule == "malformed"
    assert says in violation.message


@pytest.mark.parametrize("name", ["prefetch", "fastest"])
def test_garbage_in_any_field_never_crashes(name: str) -> None:
    base = PLANS[name]
    made, target = base.problem, base.target
    broken: list[Plan] = []
    for junk in GARBAGE:
        for field in ("problem", "residencies", "transfers"):
            broken.append(replace(base, **{field: junk}))
        for field in ("program", "target"):
            broken.append(replace(base, problem=replace(made, **{field: junk})))
        for field in ("steps", "buffers", "steady_state"):
            broken.append(replace(base, problem=with_program(made, **{field: junk})))
        for field in ("tiers", "links", "homes", "operand_access", "slice_granularity_bytes"):
            broken.append(with_target(base, replace(target, **{field: junk})))
        for field in _fields(target.tiers[0]):
            tiers = (replace(target.tiers[0], **{field: junk}), *target.tiers[1:])
            broken.append(with_target(base, replace(target, tiers=tiers)))
        for field in _fields(made.buffers[1]):
            buffers = list(made.buffers)
            buffers[1] = replace(buffers[1], **{field: junk})
            broken.append(replace(base, problem=with_program(made, buffers=tuple(buffers))))
        for field in _fields(made.steps[1]):
            steps = list(made.steps)
            steps[1] = replace(steps[1], **{field: junk})
            broken.append(replace(base, problem=with_program(made, steps=tuple(steps))))
        for field in _fields(made.steps[1].uses[0]):
            steps = list(made.steps)
            use = replace(steps[1].uses[0], **{field: junk})
            steps[1] = replace(steps[1], uses=(use, *steps[1].uses[1:]))
            broken.append(replace(base, problem=with_program(made, steps=tuple(steps))))
        for field in _fields(base.residencies[0]):
            first = replace(base.residencies[0], **{field: junk})
            broken.append(replace(base, residencies=(first, *base.residencies[1:])))
        for field in _fields(base.transfers[0]):
            move = replace(base.transfers[0], **{field: junk})
            broken.append(replace(base, transfers=(move, *base.transfers[1:])))
    for item in broken:
        if find_violations(item):
            with pytest.raises(VerificationError):
                verify(item)
    malformed = [item for item in broken if rules_of(item) == {"malformed"}]
    assert len(malformed) > len(broken) // 2
    assert rules_of("not a plan") == {"malformed"}  # type: ignore[arg-type]


def random_plan(random: Random) -> Plan:
    """A tiny plan that is legal about as often as not: homes for all, then some fast copies."""
    count = random.randint(1, 3)
    kinds = random.choices(("weight", "activation"), k=random.randint(1, 2))
    sizes = [random.randint(1, 8) for _ in range(len(kinds) + 2)]
    buffers = [Buffer("x", sizes[0], "input"), buffer("y", sizes[1], "output")]
    buffers += [
        Buffer(f"b{i}", size, kind, (PlacedValue(f"b{i}", 0, size),))  # type: ignore[arg-type]
        for i, (kind, size) in enumerate(zip(kinds, sizes[2:], strict=True))
    ]
    steps: list[tuple[str, str] | None] = [None]
    written = {item.name for item in buffers if item.kind in ("input", "weight")}
    for operator in range(count):
        targets = [item.name for item in buffers if item.kind in ("activation", "output")]
        result = "y" if operator == count - 1 else random.choice(targets)
        reads = random.sample(sorted(written), random.randint(1, min(2, len(written))))
        steps += [(" ".join(reads), result), *[None] * random.randint(0, 2)]
        written.add(result)
    steps.append(None)
    made = problem("random", buffers, steps)
    made = repeated(made) if random.random() < 0.4 else made
    last = len(steps)

    held: list[tuple[Any, ...]] = []
    top = 0
    for item in buffers:
        held.append((item.name, 0, item.size_bytes, "dram", top, 0, 0, last))
        top += -(-item.size_bytes // 2) * 2
    moves: list[tuple[Any, ...]] = []
    top = 0
    for item in random.choices(buffers, k=random.randint(0, 3)):
        low = 2 * random.randint(0, (item.size_bytes - 1) // 2)
        high = item.size_bytes if random.random() < 0.6 else min(low + 2, item.size_bytes)
        if made.steady_state and item.kind == "weight" and random.random() < 0.6:
            end = last if random.random() < 0.7 else random.randint(1, last)
            held.append((item.name, low, high, "sram", top, 0, 0, end))
            top += -(-(high - low) // 2) * 2
            continue
        start = random.randint(0, last - 1)
        first = random.randint(start, last - 1)
        taken = {first, random.randint(first, last - 1)} if high - low > 1 else {first}
        ready = start if random.random() < 0.2 else max(taken) + 1
        end = random.randint(max(ready, start + 1), last)
        held.append((item.name, low, high, "sram", top, start, ready, end))
        top += random.choice((-(-(high - low) // 2) * 2, 2))
        if ready > start:
            amounts = [high - low] if len(taken) == 1 else [1, high - low - 1]
            in_time = tuple(zip(sorted(taken), amounts, strict=True))
            moves.append((item.name, low, high, "dram", "sram", in_time))
        elif end < last:
            # What an operator leaves in fast memory is stored over its home, or a new home.
            home = next(i for i, other in enumerate(held) if other[0] == item.name)
            if held[home][5] == 0 and item.kind in ("activation", "output") and low == 0:
                store = random.randint(start, end - 1)
                held[home] = (*held[home][:5], store, store + 1, last)
                store_moves = ((store, item.size_bytes),)
                moves.append((item.name, 0, item.size_bytes, "sram", "dram", store_moves))
    target = Target(
        "random",
        (
            replace(
                SRAM, capacity_bytes=random.randint(4, 24), alignment_bytes=random.choice((1, 2))
            ),
            replace(DRAM, alignment_bytes=2),
        ),
        (UP, DOWN),
        COMPUTE,
        IN_DRAM,
        split_operands=random.random() < 0.7,
        slice_granularity_bytes=2,
    )
    return plan(target, made, held, moves)  # type: ignore[arg-type]


def perturbed(base: Plan, random: Random) -> Plan:
    """The plan with one number of a residency, a transfer, a use or the target changed a little."""
    step = random.choice((-4, -2, -1, 1, 2, 4))
    choice = random.randint(0, 9)
    if choice <= 5 or not base.transfers:
        items = list(base.residencies)
        i = random.randrange(len(items))
        field = random.choice(("start_byte", "end_byte", "offset", "start", "ready", "end"))
        items[i] = replace(items[i], **{field: getattr(items[i], field) + step})
        return replace(base, residencies=tuple(items))
    if choice <= 8:
        moved = list(base.transfers)
        i = random.randrange(len(moved))
        if random.random() < 0.7:
            j = random.randrange(len(moved[i].moves))
            moves = list(moved[i].moves)
            moves[j] = (moves[j][0] + step, moves[j][1])
            moved[i] = replace(moved[i], moves=tuple(moves))
        else:
            field = random.choice(("start_byte", "end_byte"))
            moved[i] = replace(moved[i], **{field: getattr(moved[i], field) + step})
        return replace(base, transfers=tuple(moved))
    changes: dict[str, Any] = random.choice(
        (
            {"split_operands": not base.target.split_operands},
            {"slice_granularity_bytes": random.randint(0, 8)},
            {"operand_access": "fastest"},
        )
    )
    return with_target(base, replace(base.target, **changes))


def _agree(made: Plan) -> bool:
    """Whether the plan is legal; fails where verifier and twin differ."""
    violations, fault = find_violations(made), fault_of(made)
    assert bool(violations) == bool(fault), (violations, fault)
    return not fault


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False))
def test_twin_agrees_on_random_plans(random: Random) -> None:
    _agree(random_plan(random))


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(PLANS)), st.randoms(use_true_random=False), st.integers(1, 3))
def test_twin_agrees_on_perturbed_plans(name: str, random: Random, changes: int) -> None:
    made = PLANS[name]
    for _ in range(changes):
        made = perturbed(made, random)
    _agree(made)


def walked(random: Random) -> Plan:
    """A legal plan in which slices come and go at random, on two tiers or on three."""
    if random.random() < 0.5:
        return random_slices(random_problem(random, random.randint(1, 4)), random)
    while True:
        target = three_tier_target(random)
        made = random_walks(three_tier_problem(random, target, 3), random)
        if made.residencies and not find_violations(made):
            return made


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**6), st.integers(0, 2))
def test_twin_agrees_on_random_walks_and_whatever_comes_of_them(seed: int, changes: int) -> None:
    random = seeded(seed)
    made = walked(random)
    for _ in range(changes):
        made = perturbed(made, random)
    assert _agree(made) or changes


def test_the_order_in_which_a_plan_lists_its_parts_does_not_matter() -> None:
    for name, base in PLANS.items():
        broken = [mutation.apply(base, seeded(0)) for mutation in MUTATIONS.values()]
        for made in (base, *(item for item in broken if item is not None)):
            rules = rules_of(made)
            if rules == {"malformed"}:
                continue
            random = seeded(1)
            shuffled = replace(
                made,
                residencies=tuple(random.sample(made.residencies, len(made.residencies))),
                transfers=tuple(random.sample(made.transfers, len(made.transfers))),
            )
            if "duplicate" in rules:  # whose copy counts is nowhere said
                assert "duplicate" in rules_of(shuffled)
            else:
                assert rules_of(shuffled) == rules, name


def test_random_plans_are_both_legal_and_illegal() -> None:
    legal = [_agree(random_plan(seeded(seed))) for seed in range(300)]
    assert 0.2 < sum(legal) / len(legal) < 0.8
    fast = [
        made
        for made, ok in zip(map(random_plan, map(seeded, range(300))), legal, strict=True)
        if ok and made.transfers
    ]
    assert fast, "no legal random plan has a transfer"


def test_parts_of_a_large_plan_are_not_mixed_up() -> None:
    """A long chain passes, and one fault in its middle is reported at its step and nowhere else."""
    count = 400
    buffers = [buffer("b0", 16, "input")]
    buffers += [buffer(f"b{i}", 16) for i in range(1, count)]
    buffers.append(buffer(f"b{count}", 16, "output"))
    steps = [None, *[(f"b{i}", f"b{i + 1}") for i in range(count)], None]
    held = [(f"b{i}", 0, 16, "sram", 16 * (i % 2), i, i, i + 2) for i in range(1, count)]
    held.append(("b0", 0, 16, "dram", 0, 0, 0, count + 2))
    held.append((f"b{count}", 0, 16, "dram", 16, count, count, count + 2))
    target = PLANS["chain"].target
    legal = plan(target, problem("long", buffers, steps), held)
    assert find_violations(legal) == []
    middle = next(i for i, item in enumerate(legal.residencies) if item.buffer == count // 2)
    items: list[Residency] = list(legal.residencies)
    items[middle] = replace(items[middle], end=items[middle].end - 1)
    found = find_violations(replace(legal, residencies=tuple(items)))
    assert [(item.rule, item.step) for item in found] == [("not-resident", count // 2 + 1)]
    assert found[0].buffers == (f"b{count // 2}",)


def test_transfer_needs_moves() -> None:
    base = PLANS["spill"]
    moves: list[Transfer] = [replace(base.transfers[0], moves=()), *base.transfers[1:]]
    assert "moved-bytes" in rules_of(replace(base, transfers=tuple(moves)))


@pytest.mark.parametrize("name", ["pinned", "wrapped"])
def test_only_steady_state_carries_weights(name: str) -> None:
    base = PLANS[name]
    once = replace(base, problem=with_program(base.problem, steady_state=False))
    assert rules_of(once) == {"stale-read"}
    assert fault_of(once)


def test_plans_that_carry_nothing_are_legal_in_steady_state() -> None:
    for base in PLANS.values():
        made = replace(base, problem=with_program(base.problem, steady_state=True))
        assert find_violations(made) == []
        assert fault_of(made) == ""


def test_carried_bytes_may_be_left_by_several_residencies() -> None:
    """`wrapped` leaves w in two; a byte that nobody leaves is named."""
    base = PLANS["wrapped"]
    part = next(r for r in base.residencies if r.start == 4 and r.start_byte == 8)
    fills = tuple(m for m in base.transfers if m.start_byte != 8)
    kept = tuple(r for r in base.residencies if r != part)
    broken = replace(base, residencies=kept, transfers=fills)
    (found,) = find_violations(broken)
    assert (found.rule, found.step, found.buffers) == ("wrap", 7, ("w",))
    assert "begins with bytes [8, 24) at this address" in found.message
    assert fault_of(broken)


def test_nothing_is_carried_into_read_only_memory() -> None:
    base = PLANS["pinned"]
    tiers = tuple(replace(t, read_only=t.name == "sram") for t in base.target.tiers)
    broken = with_target(base, replace(base.target, tiers=tiers))
    assert rules_of(broken) == {"wrap"}
    assert fault_of(broken)


def test_activations_do_not_survive_an_inference() -> None:
    """What an operator left at the end is not there at the next beginning."""
    buffers = (buffer("x", 8, "input"), buffer("a", 8), buffer("y", 8, "output"))
    made = repeated(problem("state", buffers, (None, ("x a", "y"), ("y", "a"), None)))
    held = [
        ("x", 0, 8, "dram", 0, 0, 0, 4),
        ("a", 0, 8, "sram", 0, 0, 0, 4),
        ("y", 0, 8, "dram", 8, 1, 1, 4),
    ]
    found = plan(PLANS["chain"].target, made, held)
    assert "problem" in rules_of(found)
    assert fault_of(found)
