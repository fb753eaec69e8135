"""Slow traffic by operator: the sum is the plan's, and each transfer is for whom it serves."""

import pytest

from tests.support import plans
from tests.support.plans import PLANS
from ullage.hwmodels.cost import score
from ullage.hwmodels.operator_traffic import OperatorTraffic, operator_traffic


@pytest.mark.parametrize("name", PLANS)
def test_the_sum_is_the_plans_traffic(name: str) -> None:
    plan = PLANS[name]
    traffic = operator_traffic(plan)
    whole = sum(score(plan).traffic_bytes.values())
    assert sum(one.size_bytes for one in traffic.values()) == pytest.approx(whole, abs=1)


def test_a_spill_and_its_return_are_for_the_writer() -> None:
    # op1 reads x (8 bytes) in dram and writes a, which leaves (16) and comes back (16).
    assert operator_traffic(plans.spill())[1] == OperatorTraffic(0.0, 8.0 + 16 + 16)


def test_a_prefetch_is_for_the_next_reader() -> None:
    # op2 reads half of w, fetched for it, and half in dram; it writes y (8 bytes) to dram.
    assert operator_traffic(plans.prefetch())[2] == OperatorTraffic(16.0 + 16, 8.0)
