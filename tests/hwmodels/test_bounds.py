"""Bounds against figures worked out by hand, and never above any random plan."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.byte_twins import (
    REACHES,
    THREE,
    cheapest_seconds,
    compulsory_bytes,
    crossing_bytes,
    crossing_seconds,
    live_bytes,
    operand_and_home_j,
    operand_bytes,
    operand_seconds,
    renamed,
)
from tests.support.changes import with_program
from tests.support.frozen import changeable
from tests.support.programs import random_ranges
from tests.support.targets import (
    HAND,
    Op,
    make_plan,
    make_problem,
    random_plan,
    random_problem,
    seeded,
)
from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.plan import Plan, Residency
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Compute, Target, Tier
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels import bounds
from ullage.hwmodels.bounds import (
    TRAFFIC_ROUNDING_BYTES,
    Bound,
    live_bytes_bound,
    order_free_bound,
)
from ullage.hwmodels.cost import (
    compute_seconds,
    mac_energy_j,
    objective_value,
    overhead_seconds,
    score,
)
from ullage.hwmodels.traffic import compulsory_resident

CHAIN = make_problem(
    {"x": ("input", 40), "a": ("activation", 20), "y": ("output", 10)},
    [Op("A", ("x",), ("a",), macs=40), Op("B", ("a",), ("y",), macs=20)],
)
FASTEST = replace(HAND, operand_access="fastest", weights_in_fastest=True, split_operands=False)


def bound_of(problem: Problem, target: Target, objective: str) -> Bound:
    return order_free_bound(problem.on(target).minimising(objective))


def with_overhead(target: Target, overhead_s: float) -> Target:
    return replace(target, compute=replace(target.compute, overhead_s=overhead_s))


def test_latency_is_bound_by_compulsory_traffic() -> None:
    # x: 40 / 10, y: 10 / 5; computation takes 3 s. Overhead comes on top of either.
    assert bound_of(CHAIN, HAND, "latency") == Bound(6, "compulsory-dram")
    found = bound_of(CHAIN, with_overhead(HAND, 0.5), "latency")
    assert found == Bound(7, "compulsory-dram")


def test_latency_is_bound_by_computation() -> None:
    slow = replace(HAND, compute=Compute({"int8": 5.0}, 1.0, 0.5))
    assert bound_of(CHAIN, slow, "latency") == Bound(60 / 5 + 2 * 0.5, "compute")


def test_latency_is_bound_by_operands_where_they_must_lie() -> None:
    problem = make_problem(
        {"a": ("activation", 100), "b": ("activation", 100)},
        [Op("A", (), ("a",)), *[Op(f"B{i}", ("a",), ("b",)) for i in range(3)]],
    )
    # sram: 100 B written in 2 s, four times; 100 B read in 1 s, three times.
    assert bound_of(problem, FASTEST, "latency") == Bound(11, "operands")
    # Anywhere: 110 B/s are all that both tiers give together.
    found = bound_of(problem, HAND, "latency")
    assert found.value == pytest.approx(700 / 110)
    assert found.source == "operands"


def test_energy_counts_an_access_at_home_once() -> None:
    # 60 MACs at 0.5; 60 B read at 1, 30 B written at 2 in sram; x: 40 B * (10 - 1) more in dram,
    # y: 10 B * (20 - 2) more.
    found = bound_of(CHAIN, HAND, "energy")
    assert found == Bound(30 + 60 + 60 + 360 + 180, "compulsory-energy")


def test_energy_bound_is_met_where_operands_must_be_fast() -> None:
    plan = make_plan(
        CHAIN,
        [
            ("x", "dram", 0, 0, 1),
            ("x", "sram", 0, 0, 2),
            ("a", "sram", 40, 1, 3),
            ("y", "sram", 0, 2, 4),
            ("y", "dram", 0, 3, 4),
        ],
        [("x", "dram", "sram", {0: 40}), ("y", "sram", "dram", {3: 10})],
        FASTEST,
    )
    assert bound_of(CHAIN, FASTEST, "energy").value == score(plan).energy_j == 1000
    assert bound_of(CHAIN, FASTEST, "latency").value <= score(plan).latency_s


def test_a_gather_loads_what_one_use_accesses_or_all_where_it_must_be_resident() -> None:
    problem = make_problem(
        {"w": ("weight", 1000), "y": ("output", 10)},
        [
            Op("A", (("w", 0, 1000, 50),), ("y",)),
            Op("B", (("w", 0, 500, 100),), ("y",)),
        ],
    )
    # 500 B at 100 / 500, the other 500 at 50 / 1000: 125 B; y 10 / 5 = 2 s.
    assert bound_of(problem, HAND, "latency").value == pytest.approx(12.5 + 2)
    assert bound_of(problem, FASTEST, "latency").value == pytest.approx(100 + 2)


@pytest.mark.parametrize(
    ("operators", "seconds"),
    [
        # Nothing uses x.
        ([Op("A", (), ("a",))], 0),
        # x is read, overwritten in place, and read again: one load.
        ([Op("A", ("x",), ("x",)), Op("B", ("x",), ("a",))], 4),
        # It is overwritten unread.
        ([Op("A", (), ("x",)), Op("B", ("x",), ("a",))], 0),
        # y is written twice, stored once.
        ([Op("A", (), ("y",)), Op("B", ("y",), ("y",))], 2),
        # Half of x is read, twice.
        ([Op("A", (("x", 0, 20, 20),), ("a",)), Op("B", (("x", 0, 20, 20),), ("a",))], 2),
    ],
)
def test_first_loads_and_last_stores(operators: list[Op], seconds: float) -> None:
    problem = make_problem(
        {"x": ("input", 40), "a": ("activation", 1), "y": ("output", 10)}, operators
    )
    # Infinitely fast sram, so that only dram binds.
    free = replace(HAND.tiers[0], read_bytes_per_s=1e18, write_bytes_per_s=1e18)
    target = replace(HAND, tiers=(free, HAND.tiers[1]))
    assert bound_of(problem, target, "latency").value == pytest.approx(seconds)


def test_an_input_that_is_an_output_needs_no_store() -> None:
    problem = make_problem({"x": ("input", 40)}, [Op("A", ("x",))])
    passed = with_program(problem, buffers=(replace(problem.buffers[0], outputs=((0, 40),)),))
    assert bound_of(passed, HAND, "latency").value == 4


def test_each_home_tier_binds_alone_and_the_fastest_never() -> None:
    problem = make_problem(
        {"x": ("input", 40), "w": ("weight", 30), "y": ("output", 10)},
        [Op("A", ("x", "w"), ("y",))],
    )
    flash = Tier("flash", 1000, 2.0, 0.0, read_only=True)
    target = replace(
        HAND,
        tiers=(*HAND.tiers, flash),
        homes={"input": "sram", "weight": "flash", "activation": "dram", "output": "dram"},
    )
    assert bound_of(problem, target, "latency") == Bound(15, "compulsory-flash")
    at_home = replace(target, homes=dict.fromkeys(target.homes, "sram"))
    # 80 B over 100 + 10 + 2 B/s.
    assert bound_of(problem, at_home, "latency") == Bound(80 / 112, "operands")


def test_traffic_peak_and_unknown_objectives() -> None:
    assert bound_of(CHAIN, HAND, "traffic") == Bound(0, "trivial")
    assert bound_of(CHAIN, HAND, "peak") == Bound(60, "max-operator")
    empty = with_program(CHAIN, steps=())
    assert bound_of(empty, HAND, "peak") == Bound(0, "max-operator")
    for objective in ("", "Latency", "energies", "latency ", "peaks", "speed", "traffics"):
        with pytest.raises(UsageError, match=f"unknown objective '{objective}'"):
            bound_of(CHAIN, HAND, objective)


def test_peak_counts_bytes_that_overlap_once_and_no_weights() -> None:
    problem = make_problem(
        {"a": ("activation", 40), "w": ("weight", 99)},
        [Op("A", (("a", 0, 20, 20), ("a", 10, 30, 20), "w"), ("a",)), Op("B", (("a", 0, 8, 8),))],
    )
    assert bound_of(problem, HAND, "peak").value == 40


def test_live_bytes_by_range() -> None:
    problem = make_problem(
        {
            "x": ("input", 10),
            "idle": ("input", 500),
            "w": ("weight", 900),
            "c": ("activation", 100),
            "y": ("output", 5),
        },
        [
            Op("A", ("x",), (("c", 0, 60, 60),)),
            Op("B", ("w", ("c", 0, 20, 20)), ("y",)),
            Op("C", ("y",), (("c", 60, 100, 40),)),
            Op("D", (("c", 20, 100, 80),), ("y",)),
        ],
    )
    # A: x + c[0, 60) = 70. B: c[0, 60) + y = 65. C and D: c[20, 100) + y = 85.
    assert live_bytes_bound(problem) == Bound(85, "live-bytes")
    # Inputs are live from the start, outputs to the end.
    late = make_problem(
        {"x": ("input", 10), "y": ("output", 7), "a": ("activation", 1)},
        [Op("A", (), ("y",)), Op("B", ("x",), ("a",)), Op("C", (), ("a",))],
    )
    assert live_bytes_bound(late).value == 18


def test_weights_need_no_load_in_steady_state() -> None:
    problem = make_problem(
        {"x": ("input", 40), "w": ("weight", 300), "y": ("output", 10)},
        [Op("A", ("x", "w"), ("y",), macs=40)],
    )
    loop = with_program(problem, steady_state=True)
    # Once: 340 B at 10 B/s and 10 B at 5 B/s. In the loop x and y only.
    assert bound_of(problem, HAND, "latency") == Bound(36, "compulsory-dram")
    assert bound_of(loop, HAND, "latency") == Bound(6, "compulsory-dram")
    # 40 MACs at 0.5; 340 B read at 1 and 10 B written at 2; x costs 9 and y 18 J per byte more.
    assert bound_of(loop, HAND, "energy").value == 20 + 340 + 20 + 360 + 180
    pinned = make_plan(
        loop,
        [
            ("x", "dram", 0, 0, 2),
            ("w", "dram", 40, 0, 3),
            ("w", "sram", 0, 0, 3),
            ("y", "dram", 340, 1, 3),
        ],
    )
    assert find_violations(pinned) == []
    found = score(pinned)
    assert found.latency_s == 6
    assert found.energy_j == bound_of(loop, HAND, "energy").value
    for target in (HAND, FASTEST):  # whole weights need no load either
        assert compulsory_resident(loop.on(target)).loads.tolist() == [40, 0, 0]


def test_the_order_does_not_matter() -> None:
    buffers = {
        "x": ("input", 40),
        "a": ("activation", 20),
        "b": ("activation", 8),
        "y": ("output", 9),
    }
    first, second = Op("A", ("x",), ("a",), macs=9), Op("B", ("x",), ("b",), vector=3)
    last = Op("C", ("a", "b"), ("y",))
    one = make_problem(buffers, [first, second, last])
    other = make_problem(buffers, [second, first, last])
    for objective in ("latency", "energy", "peak"):
        found = [bound_of(problem, HAND, objective) for problem in (one, other)]
        assert found[0] == found[1]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.5]), st.sampled_from([1.0, 100.0]))
def test_no_random_plan_beats_the_bound(seed: int, overhead_s: float, speed: float) -> None:
    rng = seeded(seed)
    rates = {dtype: rate * speed for dtype, rate in HAND.compute.macs_per_s.items()}
    compute = Compute(rates, 10.0 * speed, overhead_s, HAND.compute.energy_j_per_mac)
    target = replace(HAND, compute=compute)
    plan = random_plan(random_problem(rng, rng.randint(1, 8)).on(target), rng)
    found = score(plan)
    for objective in ("latency", "traffic", "energy"):
        bound = bound_of(plan.problem, target, objective)
        assert bound.value <= objective_value(found, objective) * (1 + 1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_live_bytes_are_the_load_of_the_plan_that_keeps_everything(seed: int) -> None:
    rng = seeded(seed)
    problem = random_problem(rng, rng.randint(1, 8))
    homes = {**dict.fromkeys(HAND.homes, "sram"), "weight": "dram"}
    target = replace(HAND, homes=homes)
    residencies = []
    offsets = {"sram": 0, "dram": 0}
    for b, buffer in enumerate(problem.buffers):
        steps = [t for t, _ in problem.uses_of[b]]
        if not steps:
            continue
        start = 0 if buffer.kind in ("input", "weight") else steps[0]
        end = len(problem.steps) if buffer.outputs else steps[-1] + 1
        tier = target.homes[buffer.kind]
        size, offset = buffer.size_bytes, offsets[tier]
        residencies.append(Residency(b, 0, size, tier, offset, start, start, end))
        offsets[tier] += size
    found = score(Plan(problem.on(target), tuple(residencies), (), "keep"))
    assert live_bytes_bound(problem).value == found.load_bytes["sram"]
    assert bound_of(problem, target, "peak").value <= found.load_bytes["sram"]


def ranged_problem(seed: int, target: Target) -> Problem:
    """A random program of ranged uses with some work in every step."""
    rng = seeded(seed)
    program = random_ranges(rng)
    steps = tuple(
        replace(step, macs=rng.choice((0, 7)), mac_dtype="int8") if step.uses else step
        for step in program.steps
    )
    return Problem(replace(program, steps=steps), target)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(REACHES),
    st.sampled_from([0.0, 0.25]),
    st.sampled_from([1.0, 0.25, 0.0]),
    st.permutations([tier.name for tier in THREE.tiers]),
)
def test_bounds_agree_with_byte_by_byte_twins(
    seed: int, reach: Target, overhead_s: float, overlap: float, names: list[str]
) -> None:
    target = renamed(reach, names)
    target = replace(target, compute=replace(target.compute, overlap=overlap))
    problem = ranged_problem(seed, with_overhead(target, overhead_s))
    compute, overhead = compute_seconds(problem)[0].tolist(), overhead_seconds(problem).tolist()
    operands = [operand_seconds(problem, step) for step in problem.steps]
    exposed = [(1 - overlap) * cheapest_seconds(problem, step) for step in problem.steps]
    compute = [own + more for own, more in zip(compute, exposed, strict=True)]
    seconds = {
        "compute": sum(overhead) + sum(compute),
        "operands": sum(overhead) + sum(map(max, compute, operands)),
    }
    for name, busy_s in crossing_seconds(problem).items():
        seconds[f"compulsory-{name}"] = sum(overhead) + busy_s
    found = bound_of(problem, problem.target, "latency")
    assert found.value == pytest.approx(max(seconds.values()))
    assert seconds[found.source] == pytest.approx(found.value)

    loads, stores = compulsory_bytes(problem, resident=False)
    hops = crossing_bytes(problem) - sum(loads) - sum(stores)
    uses = [use for step in problem.steps for use in step.uses]
    if any(use.accessed_bytes < use.end_byte - use.start_byte for use in uses):
        hops -= TRAFFIC_ROUNDING_BYTES
    found = bound_of(problem, problem.target, "traffic")
    assert found.value == pytest.approx(max(0.0, hops), abs=1e-6)
    assert found.source == ("compulsory-hops" if found.value else "trivial")
    joules = mac_energy_j(problem)[0] + operand_and_home_j(problem)
    assert bound_of(problem, problem.target, "energy").value == pytest.approx(joules)
    most = max(operand_bytes(problem, step) for step in problem.steps)
    assert bound_of(problem, problem.target, "peak").value == most
    assert live_bytes_bound(problem).value == max(live_bytes(problem, None))
    assert live_bytes_bound(problem, target).value == max(live_bytes(problem, target))


def test_bounds_say_whether_they_hold_in_every_order() -> None:
    problem = make_problem(
        {"a": ("input", 64), "b": ("output", 64)}, [Op("one", ("a",), ("b",), macs=8)]
    )
    for objective in ("latency", "energy", "traffic"):
        assert order_free_bound(problem.minimising(objective)).every_order
    assert not order_free_bound(problem.minimising("peak")).every_order
    assert not live_bytes_bound(problem).every_order
    assert not Bound(1.0, "fluid-lp").every_order


def test_bounds_are_never_changed() -> None:
    assert changeable(bounds) == []
