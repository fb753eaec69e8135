"""How busy DMA and how full fast memory are, and whose bytes the slow traffic is."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support import plans
from ullage.compiler.driver.shares import (
    dma_busy,
    dma_busy_by_link,
    fast_memory_occupancy,
    fast_memory_profile,
    operand_access_text,
    streamed_bytes,
    traffic_by_kind,
    traffic_text,
)
from ullage.compiler.ir.plan import Plan
from ullage.hwmodels.cost import score

MADE: list[Callable[[], Plan]] = [
    plans.chain,
    plans.residual,
    plans.prefetch,
    plans.two_arrivals,
    plans.spill,
    plans.flash,
    plans.fastest,
]


@pytest.mark.parametrize("made", MADE)
def test_traffic_by_kind_is_the_traffic(made: Callable[[], Plan]) -> None:
    plan = made()
    cost = score(plan)
    assert sum(traffic_by_kind(plan).values()) == sum(cost.traffic_bytes.values())
    assert 0 <= streamed_bytes(cost) <= sum(cost.traffic_bytes.values())


def test_weights_are_told_from_activations() -> None:
    """Of `prefetch` w is read in both ways: 16 bytes by DMA, 16 in place."""
    plan = plans.prefetch()
    found = traffic_by_kind(plan)
    assert found == {"weight": 32, "activation": 0, "input": 8, "output": 8, "state": 0}
    assert streamed_bytes(score(plan)) == 16 + 8
    assert traffic_text(found) == "weights 32 B (66.7 %), activations 16 B (33.3 %)"


@pytest.mark.parametrize("made", MADE)
def test_dma_is_busy_between_its_busiest_link_and_their_sum(made: Callable[[], Plan]) -> None:
    cost = score(made())
    by_link = dma_busy_by_link(cost)
    assert set(by_link) == set(cost.links)
    most = max(by_link.values())
    assert most <= dma_busy(cost) + 1e-12 <= sum(by_link.values()) + 2e-12
    assert dma_busy(cost) <= 1


def test_dma_busy_of_a_plan_by_hand() -> None:
    """`spill` moves 16 bytes at 4e9 bytes/s twice, each beside one operator."""
    cost = score(plans.spill())
    assert dma_busy(cost) == pytest.approx(2 * 4e-9 / cost.latency_s)
    assert dma_busy(score(plans.chain())) == 0


def test_occupancy_is_weighted_by_time() -> None:
    plan = plans.chain()  # a, 16 of 64 bytes, lives while operators run; nothing else takes time
    assert fast_memory_profile(plan) == [0, 16, 16, 0]
    assert fast_memory_occupancy(plan, score(plan)) == pytest.approx(16 / 64)
    with_workspace = plans.residual()
    assert fast_memory_profile(with_workspace)[2] == 16 + 16 + 16


@pytest.mark.parametrize("made", MADE)
def test_occupancy_is_a_share(made: Callable[[], Plan]) -> None:
    plan = made()
    assert 0 <= fast_memory_occupancy(plan, score(plan)) <= 1


def test_where_operands_may_be_read() -> None:
    assert operand_access_text(plans.ANY) == "in sram or dram"
    assert operand_access_text(plans.FASTEST) == "in sram only"
    weights_stream = replace(plans.FASTEST, weights_in_fastest=False)
    assert operand_access_text(weights_stream) == "weights in sram or dram; activations in sram"
    three = "weights in sram, dram or flash; activations in sram or dram"
    assert operand_access_text(plans.THREE) == three
    sram, dram = plans.ANY.tiers
    unreachable = replace(plans.ANY, tiers=(sram, replace(dram, addressable=False)))
    assert operand_access_text(unreachable) == "in sram only"
