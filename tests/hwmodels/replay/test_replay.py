"""The event-driven replay against timelines worked out by hand, and its invariants."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.changes import with_program
from tests.support.targets import (
    HAND,
    Op,
    make_plan,
    make_problem,
    random_plan,
    random_problem,
    seeded,
)
from ullage.compiler.common.errors import VerificationError
from ullage.compiler.ir.graph import Kind
from ullage.compiler.ir.plan import Plan, Residency
from ullage.compiler.ir.problem import Problem
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import score
from ullage.hwmodels.replay.max_min_fairness import fair_speeds
from ullage.hwmodels.replay.replay import Simulation, _replay, simulate
from ullage.hwmodels.replay.unroll import LoopBoundary, unroll
from ullage.hwmodels.traffic import operand_charges

BUFFERS = {
    "x": ("input", 10),
    "w": ("weight", 20),
    "a": ("activation", 10),
    "y": ("output", 10),
}


def prefetch_plan(macs: int, setup_s: float = 0.0) -> Plan:
    """A reads x from dram and writes a to sram, beside it w comes; B reads both."""
    problem = make_problem(
        BUFFERS, [Op("A", ("x",), ("a",), macs=macs), Op("B", ("a", "w"), ("y",), macs=20)]
    )
    up = replace(HAND.links[0], setup_s=setup_s)
    return make_plan(
        problem,
        [
            ("x", "dram", 0, 0, 2),
            ("w", "dram", 10, 0, 4),
            ("w", "sram", 0, 1, 3),
            ("a", "sram", 20, 1, 3),
            ("y", "dram", 30, 2, 4),
        ],
        [("w", "dram", "sram", {1: 20})],
        replace(HAND, links=(up, HAND.links[1])),
    )


def test_operators_alone_take_their_own_time() -> None:
    problem = make_problem(
        {"x": ("input", 40), "y": ("output", 10)},
        [Op("A", ("x",), ("y",), macs=40), Op("B", ("y",), ("y",), macs=200)],
    )
    target = replace(HAND, compute=replace(HAND.compute, overhead_s=0.5))
    plan = make_plan(problem, [("x", "dram", 0, 0, 2), ("y", "dram", 40, 1, 4)], target=target)
    found = simulate(plan)
    # A takes its overhead, 40 / 10 to read and 10 / 5 to write; B computes 200 / 20 = 10 s.
    assert found.step_start_s.tolist() == pytest.approx([0, 0, 6.5, 17])
    assert found.step_end_s.tolist() == pytest.approx([0, 6.5, 17, 17])
    assert found.latency_s == pytest.approx(17)
    assert found.stall_s == 0


def test_prefetch_beside_computation_is_free() -> None:
    found = simulate(prefetch_plan(macs=100))
    # A takes 5 s and a fifth of dram (10 B in 5 s of 10 B/s). The DMA wants all of it and gets
    # 8 B/s: 20 B in 2.5 s. B writes y for 2 s.
    assert found.transfer_start_s.tolist() == [0]
    assert found.transfer_end_s.tolist() == pytest.approx([2.5])
    assert found.step_end_s.tolist() == pytest.approx([0, 5, 7, 7])
    assert found.stall_s == 0


def test_contention_and_waiting_for_data() -> None:
    found = simulate(prefetch_plan(macs=0))
    # Both want all of dram and get 5 B/s: A's 10 B take 2 s. Then w's other 10 B come in 1 s;
    # B waits for them.
    assert found.step_end_s[1] == pytest.approx(2)
    assert found.transfer_end_s.tolist() == pytest.approx([3])
    assert found.step_start_s[2] == pytest.approx(3)
    assert found.latency_s == pytest.approx(5)
    assert found.stall_s == pytest.approx(1)


def test_setup_goes_before_the_first_byte_and_takes_no_bandwidth() -> None:
    found = simulate(prefetch_plan(macs=0, setup_s=0.5))
    # 0.5 s of set-up while A reads 5 B at full speed; its other 5 B at 5 B/s until 1.5 s, by when
    # 5 B of w have come; 15 B more at 10 B/s.
    assert found.step_end_s[1] == pytest.approx(1.5)
    assert found.transfer_start_s.tolist() == [0]
    assert found.transfer_end_s.tolist() == pytest.approx([3])


def test_a_queue_keeps_its_order_and_waits_for_space() -> None:
    problem = make_problem(
        {
            "p": ("weight", 10),
            "q": ("weight", 10),
            "a": ("activation", 10),
            "b": ("activation", 10),
        },
        [
            Op("A", (), ("a",), vector=30),
            Op("B", (), ("b",), vector=50),
            Op("C", ("b", "p", "q"), ("b",), vector=10),
        ],
    )
    residencies = [
        ("p", "dram", 0, 0, 5),
        ("q", "dram", 10, 0, 5),
        ("a", "sram", 0, 1, 2),
        ("b", "sram", 10, 2, 4),
        ("p", "sram", 0, 2, 4),  # where a was
        ("q", "sram", 20, 0, 4),  # free from the start
    ]
    p, q = ("p", "dram", "sram", {2: 10}), ("q", "dram", "sram", {1: 10})
    # q is first in line: it comes at once. p waits until A has left a's place, at 3 s.
    found = simulate(make_plan(problem, residencies, [p, q]))
    assert found.transfer_start_s.tolist() == pytest.approx([3, 0])
    assert found.transfer_end_s.tolist() == pytest.approx([4, 1])
    # In the same step as listed: p blocks q.
    q = ("q", "dram", "sram", {2: 10})
    found = simulate(make_plan(problem, residencies, [p, q]))
    assert found.transfer_start_s.tolist() == pytest.approx([3, 4])
    found = simulate(make_plan(problem, residencies, [q, p]))
    assert found.transfer_start_s.tolist() == pytest.approx([0, 3])
    assert found.latency_s == pytest.approx(9)


@pytest.mark.parametrize(("offset", "start", "begins_s"), [(950, 2, 3), (880, 1, 0)])
def test_scratch_space_is_not_overrun(offset: int, start: int, begins_s: float) -> None:
    problem = make_problem(
        {"p": ("weight", 10), "a": ("activation", 10)},
        [
            Op("A", (), ("a",), vector=30, workspace=100),
            Op("B", ("a",), ("a",), vector=50),
            Op("C", ("a", "p"), ("a",), vector=10),
        ],
    )
    plan = make_plan(
        problem,
        [("p", "dram", 0, 0, 5), ("a", "sram", 0, 1, 4), ("p", "sram", offset, start, 4)],
        [("p", "dram", "sram", {2: 10})],
    )
    # sram ends at 1000: A's scratch is [900, 1000), until A ends at 3 s.
    assert simulate(plan).transfer_start_s.tolist() == pytest.approx([begins_s])


def test_a_spill_waits_for_its_producer_and_holds_up_who_overwrites() -> None:
    problem = make_problem(
        {"a": ("output", 20), "b": ("activation", 10)},
        [
            Op("A", (), ("a",), vector=10),
            Op("B", (), ("b",), vector=10),
            Op("C", ("a", "b"), ("a",), vector=10),
        ],
    )
    plan = make_plan(
        problem,
        [
            ("a", "sram", 0, 1, 5),
            ("a", "dram", 0, 2, 4),
            ("b", "sram", 20, 2, 4),
            ("a", "dram", 20, 4, 5),
        ],
        [("a", "sram", "dram", {2: 20}), ("a", "sram", "dram", {4: 20})],
    )
    found = simulate(plan)
    # A ends at 1 s; the spill takes 20 / 5 = 4 s. B ends at 2 s, but C must not change a yet.
    assert found.transfer_start_s.tolist() == pytest.approx([1, 6])
    assert found.step_start_s.tolist() == pytest.approx([0, 0, 1, 5, 6])
    # The last store ends the program.
    assert found.latency_s == pytest.approx(10)
    assert found.stall_s == pytest.approx(3 + 4)


def test_a_chain_of_transfers_waits_link_by_link() -> None:
    problem = make_problem(
        {"a": ("activation", 20), "b": ("activation", 10)},
        [
            Op("A", (), ("a",), vector=10),
            Op("B", (), ("b",), vector=10),
            Op("C", ("b",), ("b",), vector=10),
            Op("D", ("a",), ("b",), vector=10),
        ],
    )
    plan = make_plan(
        problem,
        [
            ("a", "sram", 0, 1, 3),
            ("a", "dram", 0, 2, 4),
            ("a", "sram", 40, 3, 5),
            ("b", "sram", 20, 2, 5),
        ],
        [("a", "sram", "dram", {2: 20}), ("a", "dram", "sram", {3: 20})],
    )
    found = simulate(plan)
    assert found.transfer_start_s.tolist() == pytest.approx([1, 5])
    assert found.step_start_s[4] == pytest.approx(7)  # 4 s out, 2 s back


def test_space_is_held_until_a_spill_has_left_it() -> None:
    problem = make_problem(
        {"a": ("output", 20), "b": ("activation", 10), "c": ("activation", 20)},
        [
            Op("A", (), ("a",), vector=10),
            Op("B", (), ("b",), vector=10),
            Op("C", ("b",), ("c",), vector=10),
        ],
    )
    plan = make_plan(
        problem,
        [
            ("a", "sram", 0, 1, 3),
            ("a", "dram", 0, 2, 5),
            ("b", "sram", 20, 2, 4),
            ("c", "sram", 0, 3, 4),
        ],
        [("a", "sram", "dram", {2: 20})],
    )
    # B ends at 2 s, the spill from a's place at 1 + 20 / 5 = 5 s.
    assert simulate(plan).step_start_s.tolist() == pytest.approx([0, 0, 1, 5, 6])


def test_a_fetch_that_nobody_uses_holds_its_space_too() -> None:
    problem = make_problem(
        {"w": ("weight", 20), "a": ("activation", 20)},
        [Op("A", vector=1), Op("B", (), ("a",), vector=10)],
    )
    plan = make_plan(
        problem,
        [("w", "dram", 0, 0, 4), ("w", "sram", 0, 0, 2), ("a", "sram", 0, 2, 3)],
        [("w", "dram", "sram", {0: 20})],
    )
    assert simulate(plan).step_start_s[2] == pytest.approx(2)


def test_two_residencies_in_one_place_are_an_error() -> None:
    plan = prefetch_plan(macs=0)
    w, a = plan.residencies[2], replace(plan.residencies[3], offset=10)
    clash = replace(plan, residencies=(*plan.residencies[:2], w, a, plan.residencies[4]))
    with pytest.raises(VerificationError, match=r"overlap in sram: .*\[10, 20\) in steps \[1, 3\)"):
        simulate(clash)


def test_a_transfer_from_or_to_nowhere_is_an_error() -> None:
    plan = prefetch_plan(macs=0)
    with pytest.raises(VerificationError, match="needs a ready source in dram"):
        simulate(replace(plan, transfers=(*plan.transfers, replace(plan.transfers[0], buffer=2))))
    early = replace(plan.transfers[0], moves=((0, 20),))
    with pytest.raises(VerificationError, match="needs a destination not yet ready in sram"):
        simulate(replace(plan, transfers=(early,)))


def test_a_plan_that_gets_stuck_is_an_error_that_says_why() -> None:
    problem = make_problem(
        {"a": ("activation", 10), "b": ("activation", 10)},
        [Op("A", (), ("a",), vector=1), Op("B", ("b",)), Op("C", ("a",))],
    )
    # b claims a's place from step 4 on, but B is to use it in step 2.
    plan = Plan(
        problem,
        (
            Residency(0, 0, 10, "sram", 0, 1, 1, 4),
            Residency(1, 0, 10, "sram", 0, 4, 1, 5),
        ),
        (),
        "hand",
    )
    with pytest.raises(VerificationError) as caught:
        simulate(plan)
    assert caught.value.details["pending"] == 3  # B, C and the last DMA-only step
    assert (
        "free space of b [0, 10) at sram+0 waits for release of a [0, 10) at sram+0"
        in caught.value.details["waits"]
    )
    assert "step 2 (B) waits for arrival of b [0, 10) at sram+0" in caught.value.message


@pytest.mark.parametrize(
    ("demands", "speeds"),
    [
        ([((0, 0.5),), ((0, 0.5),)], [1, 1]),
        ([((0, 1.0),), ((0, 1.0),)], [0.5, 0.5]),
        # A small demand is met, the rest is halved.
        ([((0, 1.0),), ((0, 0.3),), ((0, 1.0),)], [0.35, 1, 0.35]),
        ([(), ((0, 1.0),), ((0, 1.0),)], [1, 0.5, 0.5]),
        # Port 0 gives 0.5 to the first two; the second then runs at 0.5 / 0.6 and leaves the
        # third 1 - 0.4 * 0.5 / 0.6 of port 1.
        ([((0, 1.0),), ((0, 0.6), (1, 0.4)), ((1, 1.0),)], [0.5, 0.5 / 0.6, 2 / 3]),
    ],
)
def testfair_speeds(demands: list[tuple[tuple[int, float], ...]], speeds: list[float]) -> None:
    assert fair_speeds(demands, 2) == pytest.approx(speeds)


# Steady state


def loop(buffers: dict[str, tuple[Kind, int]], operators: list[Op]) -> Problem:
    return with_program(make_problem(buffers, operators), steady_state=True)


@pytest.mark.parametrize(("vector", "latency_s", "stall_s"), [(50, 6, 0), (10, 3, 1)])
def test_a_weight_is_fetched_for_the_next_inference(
    vector: int, latency_s: float, stall_s: float
) -> None:
    problem = loop(
        {"w": ("weight", 20), "a": ("activation", 10), "y": ("activation", 1)},
        [Op("A", ("w",), ("a",), vector=10), Op("B", ("a",), ("y",), vector=vector)],
    )
    plan = make_plan(
        problem,
        [
            ("w", "dram", 0, 0, 4),
            ("w", "sram", 0, 0, 2),
            ("w", "sram", 0, 2, 4),
            ("a", "sram", 20, 1, 3),
            ("y", "sram", 30, 2, 4),
        ],
        [("w", "dram", "sram", {2: 20})],
    )
    assert find_violations(plan) == []
    found = simulate(plan)
    # A takes 1 s and leaves w's place, where 20 B come in 2 s beside B. When B is over sooner, the
    # next A waits for them.
    assert found.latency_s == pytest.approx(latency_s)
    assert found.stall_s == pytest.approx(stall_s)
    assert found.step_start_s.tolist() == pytest.approx([0, stall_s, stall_s + 1, latency_s])
    assert found.transfer_start_s.tolist() == pytest.approx([stall_s + 1])
    assert found.transfer_end_s.tolist() == pytest.approx([stall_s + 3])


def test_a_weight_that_stays_costs_nothing() -> None:
    problem = loop(
        {"x": ("input", 10), "w": ("weight", 20), "y": ("output", 10)},
        [Op("A", ("x", "w"), ("y",))],
    )
    held = [("x", "dram", 0, 0, 2), ("w", "dram", 10, 0, 3), ("y", "dram", 30, 1, 3)]
    plan = make_plan(problem, [*held, ("w", "sram", 0, 0, 3)])
    assert find_violations(plan) == []
    # x is read in 1 s and y written in 2 s in dram, w read in 0.2 s in sram.
    assert simulate(plan).latency_s == score(plan).latency_s == pytest.approx(3)
    assert score(plan).traffic_bytes == {"dram->compute": 10, "compute->dram": 10}
    assert score(plan).compulsory_bytes == 20
    # In dram, w is traffic that steady state could avoid.
    slow = score(make_plan(problem, held))
    assert (slow.compulsory_bytes, slow.noncompulsory_bytes) == (20, 20)
    once = with_program(problem, steady_state=False)
    assert score(make_plan(once, held)).noncompulsory_bytes == 0


def test_first_prefetches_begin_beside_the_inference_before_but_inputs_do_not() -> None:
    operators = [Op("A", ("x", "w"), ("a",), vector=10), Op("B", ("a",), ("y",), vector=50)]

    def made(kind: Kind) -> Plan:
        problem = loop(
            {
                "x": (kind, 20),
                "w": ("weight", 10),
                "a": ("activation", 10),
                "y": ("output", 1),
            },
            operators,
        )
        return make_plan(
            problem,
            [
                ("x", "dram", 0, 0, 4),
                ("x", "sram", 0, 0, 2),
                ("w", "dram", 20, 0, 4),
                ("w", "sram", 20, 0, 4),
                ("a", "sram", 30, 1, 3),
                ("y", "dram", 40, 2, 4),
            ],
            [("x", "dram", "sram", {0: 20})],
        )

    # x is a weight: A leaves its place, it comes again while B runs, for 5 s.
    plan = made("weight")
    assert find_violations(plan) == []
    found = simulate(plan)
    assert found.transfer_start_s.tolist() == pytest.approx([-5])
    assert found.latency_s == pytest.approx(6)
    # An input is there once the last operator of the inference before has finished.
    found = simulate(made("input"))
    assert found.transfer_start_s.tolist() == pytest.approx([0])
    assert (found.latency_s, found.stall_s) == pytest.approx((8, 2))


def test_reading_a_weight_at_home_does_not_hold_up_the_next_fetch_of_it() -> None:
    problem = loop(
        {"w": ("weight", 20), "a": ("activation", 10), "b": ("activation", 10)},
        [Op("A", ("w",), ("a",), vector=10), Op("B", (("w", 0, 20, 0),), ("b",), vector=50)],
    )
    plan = make_plan(
        problem,
        [
            ("w", "dram", 0, 0, 4),
            ("w", "sram", 0, 0, 2),
            ("a", "sram", 20, 1, 3),
            ("b", "sram", 30, 2, 3),
        ],
        [("w", "dram", "sram", {0: 20})],
    )
    assert find_violations(plan) == []
    assert simulate(plan).transfer_start_s.tolist() == pytest.approx([-5])


def test_space_is_left_before_the_next_inference_takes_it() -> None:
    """The last operator's result lies where the next inference fetches its first weight."""
    problem = loop(
        {"w": ("weight", 20), "a": ("activation", 20), "y": ("output", 1)},
        [Op("A", ("w",), ("y",), vector=10), Op("B", ("y",), ("a",), vector=50)],
    )
    plan = make_plan(
        problem,
        [
            ("w", "dram", 0, 0, 4),
            ("w", "sram", 0, 0, 2),
            ("a", "sram", 0, 2, 4),
            ("y", "dram", 40, 1, 4),
        ],
        [("w", "dram", "sram", {0: 20})],
    )
    found = simulate(plan)
    assert found.transfer_start_s.tolist() == pytest.approx([0])
    assert found.latency_s == pytest.approx(2 + 1 + 5)


shares = st.floats(0.01, 1.0)


@given(st.lists(st.dictionaries(st.integers(0, 2), shares, max_size=3), min_size=1, max_size=6))
def test_ports_are_never_overrun_nor_left_idle_in_demand(wanted: list[dict[int, float]]) -> None:
    speeds = fair_speeds([tuple(demand.items()) for demand in wanted], 3)
    load = [
        sum(s * demand.get(port, 0.0) for s, demand in zip(speeds, wanted, strict=True))
        for port in range(3)
    ]
    assert max(load) <= 1 + 1e-9
    for speed, demand in zip(speeds, wanted, strict=True):
        assert 0 < speed <= 1 + 1e-9
        assert speed > 1 - 1e-9 or any(load[port] > 1 - 1e-9 for port in demand)


def check_causes(plan: Plan, found: Simulation, period: int = 0) -> None:
    """Compare all pairs: nobody uses data before it is there or space before it is left."""
    seam = LoopBoundary(plan, period)
    slack = 1e-9 * max(1.0, found.latency_s)
    pieces = operand_charges(plan)
    users: list[list[tuple[float, float]]] = [[] for _ in plan.residencies]  # (start, end)
    arrivals: list[list[float]] = [[] for _ in plan.residencies]
    writes: list[list[tuple[int, int, int]]] = [[] for _ in plan.residencies]
    for t, place, start, end, write in zip(
        pieces.step, pieces.residency, pieces.start_byte, pieces.end_byte, pieces.write, strict=True
    ):
        users[place].append((found.step_start_s[t], found.step_end_s[t]))
        if write:
            writes[place].append((int(t), int(start), int(end)))
    fills: list[list[tuple[float, float]]] = [[] for _ in plan.residencies]
    for i, transfer in enumerate(plan.transfers):
        first = transfer.moves[0][0]
        begins, ends = found.transfer_start_s[i], found.transfer_end_s[i]
        for place, r in enumerate(plan.residencies):
            shared = min(r.end_byte, transfer.end_byte) > max(r.start_byte, transfer.start_byte)
            if r.buffer != transfer.buffer or not shared:
                continue
            if r.tier == transfer.source and r.ready <= first < r.end:
                users[place].append((begins, ends))
                for t, start, end in writes[place]:
                    if start < transfer.end_byte and end > transfer.start_byte:
                        before = found.step_end_s[t] <= begins + slack
                        assert before if t < first else found.step_start_s[t] >= ends - slack
            if r.tier == transfer.destination and r.start <= first < r.ready:
                fills[place].append((begins, ends))
                arrivals[place].append(ends)
    for place, r in enumerate(plan.residencies):
        for begins, _ in users[place]:
            assert all(begins >= arrival - slack for arrival in arrivals[place])
        for later, s in enumerate(plan.residencies):
            apart = (
                r.tier != s.tier
                or r.offset + r.end_byte - r.start_byte <= s.offset
                or s.offset + s.end_byte - s.start_byte <= r.offset
            )
            if apart or r.end > s.start or seam.continues(r, s):
                continue
            left = max((end for _, end in users[place] + fills[place]), default=0.0)
            assert all(begins >= left - slack for begins, _ in users[later] + fills[later])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.25]), st.sampled_from([1.0, 50.0]))
def test_random_plans(seed: int, fixed_s: float, speed: float) -> None:
    rng = seeded(seed)
    rates = {dtype: rate * speed for dtype, rate in HAND.compute.macs_per_s.items()}
    compute = replace(
        HAND.compute, macs_per_s=rates, vector_elements_per_s=10 * speed, overhead_s=fixed_s
    )
    links = tuple(replace(link, setup_s=fixed_s) for link in HAND.links)
    target = replace(HAND, compute=compute, links=links)
    plan = random_plan(random_problem(rng, rng.randint(1, 8)).on(target), rng)
    assert find_violations(plan) == []
    found = simulate(plan)
    model = score(plan)
    assert found.latency_s >= model.compute_s * (1 - 1e-9)
    # Something always runs, and shared ports are used in full: no slower than one by one.
    operators_s = (found.step_end_s - found.step_start_s).sum()
    dma_s = model.link_seconds.sum()
    alone_s = (
        model.overhead_by_step.sum()
        + sum(
            max(model.compute_by_step[t], tier_s)
            for t, tier_s in enumerate(operand_only_seconds(plan))
        )
        + dma_s
    )
    assert found.latency_s <= alone_s * (1 + 1e-9)
    assert found.stall_s == pytest.approx(found.latency_s - operators_s, abs=1e-6)
    check_causes(plan, found)
    assert found.latency_s == simulate(plan).latency_s


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.25]), st.booleans())
def test_random_plans_in_steady_state(seed: int, setup_s: float, pin: bool) -> None:
    rng = seeded(seed)
    links = tuple(replace(link, setup_s=setup_s) for link in HAND.links)
    target = replace(HAND, links=links)
    once = random_plan(random_problem(rng, rng.randint(1, 8)).on(target), rng)
    plan = replace(once, problem=with_program(once.problem, steady_state=True))
    if pin:
        plan = all_weights_pinned(plan)
    assert find_violations(plan) == []
    found, model = simulate(plan), score(plan)
    assert found.latency_s >= model.compute_s * (1 - 1e-9)
    alone_s = np.maximum(model.compute_by_step, operand_only_seconds(plan)).sum()
    assert found.latency_s <= (alone_s + model.link_seconds.sum()) * (1 + 1e-9)
    operators_s = (found.step_end_s - found.step_start_s).sum()
    assert found.stall_s == pytest.approx(found.latency_s - operators_s, abs=1e-6)
    steps = len(plan.problem.steps)
    several = unroll(plan, 3)
    check_causes(several, _replay(several, steps), steps)


def all_weights_pinned(plan: Plan) -> Plan:
    """Weights in sram for ever, above what else there is; nothing is fetched of them."""
    kinds = [buffer.kind for buffer in plan.problem.buffers]
    kept = [r for r in plan.residencies if kinds[r.buffer] != "weight" or r.tier == "dram"]
    top = max((r.offset + r.end_byte - r.start_byte for r in kept if r.tier == "sram"), default=0)
    for b, buffer in enumerate(plan.problem.buffers):
        if buffer.kind == "weight":
            steps = len(plan.problem.steps)
            kept.append(Residency(b, 0, buffer.size_bytes, "sram", top, 0, 0, steps))
            top += buffer.size_bytes
    moves = tuple(move for move in plan.transfers if kinds[move.buffer] != "weight")
    return replace(plan, residencies=tuple(kept), transfers=moves)


def operand_only_seconds(plan: Plan) -> list[float]:
    """Time of the busiest tier at each step if no transfer moved."""
    return score(replace(plan, transfers=())).tier_seconds.max(axis=0).tolist()
