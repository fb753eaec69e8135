"""Figures as texts."""

from ullage.compiler.driver.summary_text import bound_text, change_text, orders_text
from ullage.hwmodels.bounds import Bound


def test_a_change_that_is_not_zero_never_reads_as_zero() -> None:
    assert change_text(0.0) == "+0.000 %"
    assert change_text(4e-5) == "+0.004 %"
    assert change_text(-0.0123) == "-1.230 %"
    assert change_text(2e-7) == "+2e-05 %"


def test_a_bound_says_for_which_orders_it_holds() -> None:
    solved, free = Bound(910.3e-6, "fluid-lp"), Bound(1e-3, "compulsory-dram")
    assert bound_text(solved, "latency") == (
        "910.3 us of latency for this order, proven by fluid-lp"
    )
    assert orders_text(free) == "for every order"
    assert orders_text(free, solved) == "for this order"
