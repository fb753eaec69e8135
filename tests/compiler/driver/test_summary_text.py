"""Figures as texts."""

from dataclasses import replace

from tests.support import plans
from tests.support.reports import in_parts
from ullage.compiler.driver.summary_text import (
    bound_text,
    change_text,
    claimed_bound_text,
    gap_text,
    orders_text,
    percent,
    stated_bound_text,
)
from ullage.hwmodels.bounds import Bound


def test_a_change_that_is_not_zero_never_reads_as_zero() -> None:
    assert change_text(0.0) == "+0.000 %"
    assert change_text(4e-5) == "+0.004 %"
    assert change_text(-0.0123) == "-1.230 %"
    assert change_text(2e-7) == "+2e-05 %"


def test_shares_that_are_half_way_round_up() -> None:
    assert percent(1, 16) == "6.3 %"
    assert gap_text(0.00125) == "0.13 %"  # 0.125 %
    assert percent(1, 3) == "33.3 %"


def test_a_bound_says_for_which_orders_it_holds() -> None:
    solved, free = Bound(910.3e-6, "fluid-lp"), Bound(1e-3, "compulsory-dram")
    assert bound_text(solved, "latency") == (
        "910.3 us of latency for this order, proven by fluid-lp"
    )
    assert orders_text(free) == "for every order"
    assert orders_text(free, solved) == "for this order"
    assert orders_text(free, in_parts=True) == "for this schedule"


def test_bounds_of_a_plan_in_parts_hold_for_its_schedule_proven_or_not() -> None:
    for made, holds in ((in_parts(), "for this schedule"), (plans.chain(), "for this order")):
        bounds = {"lower_bound": 1e-9, "bound_source": "x", "claimed_bound": 1e-9}
        plan = replace(made, **bounds, claimed_by="y")
        assert claimed_bound_text(plan) == f"1 ns of latency {holds}, claimed by y"
        assert stated_bound_text(plan) == f"states the lower bound 1 ns of latency {holds}, by x"
        assert claimed_bound_text(replace(plan, claimed_bound=None)) == ""
