"""DMA-only steps of a target: as many at the ends as data crosses links."""

from dataclasses import replace
from random import Random

import pytest

from tests.support.scratchpads import scratchpad_target
from ullage.compiler.ir.program import DmaSteps
from ullage.hwmodels.catalog.registry import load_target


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_a_chain_has_a_step_at_the_ends_for_every_link(hops: int) -> None:
    assert scratchpad_target(Random(0), hops, room=64).dma_steps == DmaSteps(2, hops)


def test_operators_that_reach_everything_at_home_need_one() -> None:
    assert load_target("edge-npu").dma_steps == DmaSteps(0, 1)
    assert load_target("edge-npu-spm").dma_steps == DmaSteps(2, 1)


def test_the_nearest_tier_within_reach_counts() -> None:
    chain = scratchpad_target(Random(0), 3, room=64)
    tiers = [replace(tier, addressable=tier.name in ("t0", "t2")) for tier in chain.tiers]
    assert replace(chain, tiers=tuple(tiers)).dma_steps == DmaSteps(2, 1)


def test_without_links_one_step_stands_for_what_cannot_be() -> None:
    chain = scratchpad_target(Random(0), 2, room=64)
    assert replace(chain, links=()).dma_steps == DmaSteps(2, 1)
