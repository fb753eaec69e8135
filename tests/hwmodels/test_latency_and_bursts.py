"""Latencies, bursts, outstanding requests, bandwidth by kind: figures worked out by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.support.targets import HAND, Op, make_plan, make_problem
from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.graph import Gemm
from ullage.compiler.ir.plan import Plan, Residency
from ullage.compiler.ir.target import Target
from ullage.compiler.verify.target_form import target_faults
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.bounds import lower_bound
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import bandwidth_reached, score
from ullage.hwmodels.replay.replay import simulate
from ullage.hwmodels.resources import resources_of
from ullage.hwmodels.traffic import further_ranges


def dram(**changes: Any) -> Target:
    """HAND with changes to its dram: 10 B/s read, 5 B/s written; sram 100 and 50."""
    return replace(HAND, tiers=(HAND.tiers[0], replace(HAND.tiers[1], **changes)))


def queues(target: Target, **changes: Any) -> Target:
    """The same chip with changes to both links: 10 B/s to sram, 5 B/s from it."""
    return replace(target, links=tuple(replace(link, **changes) for link in target.links))


def in_place(target: Target) -> Plan:
    """A reads 30 of x in dram and writes 10 of y there."""
    problem = make_problem(
        {"x": ("input", 30), "y": ("output", 10)}, [Op("A", ("x",), ("y",))], target
    )
    return make_plan(problem, [("x", "dram", 0, 0, 3), ("y", "dram", 32, 1, 3)], (), target)


def fetched(target: Target) -> Plan:
    """Two inputs of 10 and 30 bytes are fetched in step 0, A reads them and writes y in dram."""
    problem = make_problem(
        {"a": ("input", 10), "b": ("input", 30), "y": ("output", 10)},
        [Op("A", ("a", "b"), ("y",))],
        target,
    )
    return make_plan(
        problem,
        [
            ("a", "dram", 0, 0, 1),
            ("b", "dram", 16, 0, 1),
            ("a", "sram", 0, 0, 2),
            ("b", "sram", 16, 0, 2),
            ("y", "dram", 64, 1, 3),
        ],
        [("a", "dram", "sram", {0: 10}), ("b", "dram", "sram", {0: 30})],
        target,
    )


def test_the_first_byte_of_operands_is_waited_for_once() -> None:
    assert score(in_place(HAND)).latency_s == pytest.approx(30 / 10 + 10 / 5)
    assert score(in_place(dram(latency_s=0.5))).latency_s == pytest.approx(0.5 + 30 / 10 + 10 / 5)
    assert simulate(in_place(dram(latency_s=0.5))).latency_s == pytest.approx(5.5)


def test_a_core_that_loads_its_operands_waits_for_first_bytes_too() -> None:
    target = dram(latency_s=0.5)
    exposed = replace(target, compute=replace(target.compute, overlap=0.25))
    # No computing: the unit is kept for three quarters of what the port takes, as long as that.
    assert score(in_place(exposed)).exposed_seconds.sum() == pytest.approx(0.75 * 5.5)
    assert score(in_place(exposed)).latency_s == pytest.approx(5.5)


def test_operands_take_whole_bursts() -> None:
    result = score(in_place(dram(burst_bytes=16)))
    assert result.latency_s == pytest.approx(32 / 10 + 16 / 5)
    assert result.traffic_bytes == {"dram->compute": 32, "compute->dram": 16}


def test_rows_of_a_gather_take_whole_bursts_each() -> None:
    target = dram(burst_bytes=16)
    problem = make_problem(
        {"x": ("weight", 100), "y": ("output", 10)},
        [Op("A", (("x", 0, 100, 40),), ("y",))],
        target,
    )
    rows = replace(problem.buffers[0], row_bytes=20)
    problem = replace(problem, program=replace(problem.program, buffers=(rows, problem.buffers[1])))
    plan = make_plan(problem, [("x", "dram", 0, 0, 3), ("y", "dram", 112, 1, 3)], (), target)
    # Two rows of 20 bytes: 32 each.
    assert score(plan).traffic_bytes == {"dram->compute": 64, "compute->dram": 16}


def test_transfers_move_whole_bursts_and_wait_for_the_source() -> None:
    before = score(fetched(HAND))
    assert before.elapsed_s[0] == pytest.approx(40 / 10)
    bursts = score(fetched(dram(burst_bytes=16)))
    assert bursts.elapsed_s[0] == pytest.approx((16 + 32) / 10)
    assert bursts.traffic_bytes["dram->sram"] == 48
    waiting = score(fetched(queues(dram(latency_s=0.5), setup_s=0.25)))
    assert waiting.elapsed_s[0] == pytest.approx(2 * 0.75 + 40 / 10)
    assert simulate(fetched(dram(burst_bytes=16))).step_start_s[1] == pytest.approx(4.8)
    assert simulate(fetched(dram(latency_s=0.5))).step_start_s[1] == pytest.approx(1 + 4)


def test_outstanding_transfers_wait_together() -> None:
    target = queues(dram(latency_s=0.5), max_outstanding_transfers=2)
    assert score(fetched(target)).elapsed_s[0] == pytest.approx(0.5 + 40 / 10)
    # Both wait for half a second, then share the link: 40 bytes at 10 B/s.
    replayed = simulate(fetched(target))
    assert replayed.transfer_start_s.tolist() == [0, 0]
    assert replayed.step_start_s[1] == pytest.approx(0.5 + 4)
    seconds = resources_of(target).link_seconds(np.zeros((2, 4)), np.array([[0, 1, 2, 3]] * 2))
    assert seconds[0].tolist() == [0, 0.5, 0.5, 1.0]


def test_outstanding_requests_limit_the_rate() -> None:
    """Little's law: 4 bursts of 2 bytes in 2 s are 4 B/s, of reads and writes alike."""
    target = dram(latency_s=2.0, burst_bytes=2, max_outstanding_requests=4)
    assert target.tiers[1].request_bytes_per_s == 4
    assert resources_of(target).read_rate.tolist() == [100, 4]
    assert resources_of(target).write_rate.tolist() == [50, 4]
    assert score(in_place(target)).latency_s == pytest.approx(2 + 40 / 4)
    assert score(fetched(target)).elapsed_s[0] == pytest.approx(40 / 4)
    served = target.as_served
    assert served.as_served is served
    assert served.tiers[1].read_bytes_per_s == 4
    assert [link.setup_s for link in served.links] == [2.0, 0.0]


def test_a_plain_target_is_served_as_it_is() -> None:
    assert HAND.as_served is HAND


def test_bandwidth_by_kind_of_operator() -> None:
    compute = replace(HAND.compute, bandwidth_efficiency={"matmul": 0.5, "other": 0.25})
    target = replace(HAND, compute=compute)
    problem = make_problem(
        {"x": ("input", 30), "y": ("output", 10)},
        [
            Op("A", ("x",), ("y",), macs=8, vector=4, gemms=(Gemm(2, 2, 2),)),
            Op("B", ("x",), ("y",), vector=1),
        ],
        target,
    )
    assert bandwidth_reached(problem).tolist() == [1, 0.5, 0.25, 1]
    plan = make_plan(problem, [("x", "dram", 0, 0, 4), ("y", "dram", 32, 1, 4)], (), target)
    assert score(plan).elapsed_s.tolist() == pytest.approx([0, 10, 20, 0])
    assert score(plan).traffic_bytes == {"dram->compute": 60, "compute->dram": 20}
    assert simulate(plan).latency_s == pytest.approx(30)
    assert lower_bound(problem).value <= 30


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"tiers.dram.max_outstanding_requests": "4"}, "no effect without latency_s"),
        (
            {"tiers.sram.latency_s": "1e-6", "tiers.sram.max_outstanding_requests": "1"},
            "less than 'dram' behind it",
        ),
        ({"tiers.dram.burst_bytes": "0"}, "a burst is from 1"),
        ({"tiers.dram.burst_bytes": "1GB"}, "a burst is from 1 to 999999999"),
        ({"compute.bandwidth_efficiency.depthwise": "0"}, "a share is from"),
    ],
)
def test_files_with_wrong_figures_are_refused(overrides: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load_target("edge-npu", overrides=overrides)


def test_overrides_reach_the_target() -> None:
    target = load_target(
        "edge-npu",
        overrides={
            "tiers.dram.latency_s": "100e-9",
            "tiers.dram.burst_bytes": "64",
            "tiers.dram.max_outstanding_requests": "8",
            "links.dram->sram.max_outstanding_transfers": "2",
            "compute.bandwidth_efficiency.depthwise": "0.5",
        },
    )
    assert target.tiers[1].request_bytes_per_s == pytest.approx(8 * 64 / 100e-9)
    assert target.links[0].max_outstanding_transfers == 2
    assert target.compute.bandwidth_efficiency == {"depthwise": 0.5}


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (dram(latency_s=-1.0), "latency_s"),
        (dram(burst_bytes=0), "burst_bytes"),
        (dram(max_outstanding_requests=-1), "max_outstanding_requests"),
        (dram(latency_s=1e9, max_outstanding_requests=1), "bytes/s of its requests"),
        (queues(HAND, max_outstanding_transfers=0), "max_outstanding_transfers"),
        (
            replace(HAND, compute=replace(HAND.compute, bandwidth_efficiency={"matmul": 2.0})),
            "bandwidth_efficiency",
        ),
        (
            replace(
                HAND,
                tiers=(
                    replace(HAND.tiers[0], latency_s=1.0, max_outstanding_requests=1),
                    HAND.tiers[1],
                ),
            ),
            "fastest first",
        ),
    ],
)
def test_targets_of_plans_are_checked(target: Target, words: str) -> None:
    assert any(words in fault for fault in target_faults(target))


def test_bursts_are_sizes_with_units() -> None:
    target = load_target("edge-npu", {"tiers.dram.burst_bytes": "1MiB"})
    assert target.tier("dram").burst_bytes == 1 << 20


def in_two_places(target: Target, second: int) -> Plan:
    """Two inputs arrive in step 0; b's first 16 bytes are at 16 in sram, the others at `second`."""
    plan = fetched(target)
    halves: list[Residency] = []
    for r in plan.residencies:
        if (r.buffer, r.tier) == (1, "sram"):
            halves += [replace(r, end_byte=16), replace(r, start_byte=16, offset=second)]
        else:
            halves.append(r)
    return replace(plan, residencies=tuple(halves))


def test_ranges_of_a_transfer_beyond_the_first_take_their_time() -> None:
    target = queues(HAND, setup_s=0.5, range_setup_s=0.25)
    for second, ranges in ((32, 0), (64, 1)):
        plan = in_two_places(target, second)
        assert find_violations(plan) == []
        assert further_ranges(plan) == [0, ranges]
        assert score(plan).elapsed_s[0] == pytest.approx(2 * 0.5 + ranges * 0.25 + 40 / 10)
        assert simulate(plan).step_start_s[1] == pytest.approx(2 * 0.5 + ranges * 0.25 + 40 / 10)
    lists = queues(HAND, setup_s=0.5)
    assert further_ranges(in_two_places(lists, 64)) == [0, 0]
    assert score(in_two_places(lists, 64)).elapsed_s[0] == pytest.approx(2 * 0.5 + 40 / 10)
    assert target.as_served == lists
    fault = queues(HAND, range_setup_s=-1.0)
    assert any("range_setup_s" in words for words in target_faults(fault))


def test_a_slice_in_two_places_at_its_source_is_two_ranges() -> None:
    plan = fetched(queues(HAND, range_setup_s=0.25))
    apart: list[Residency] = []
    for r in plan.residencies:
        if (r.buffer, r.tier) == (1, "dram"):
            apart += [replace(r, end_byte=16), replace(r, start_byte=16, offset=200)]
        else:
            apart.append(r)
    plan = replace(plan, residencies=tuple(apart))
    assert find_violations(plan) == []
    assert further_ranges(plan) == [0, 1]
