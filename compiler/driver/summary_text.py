"""Figures as texts for people: shares, gaps, objectives; alike on terminal and in reports."""

from ullage.compiler.common.units import SMALLEST_SHOWN, fixed, objective_text, percent_above
from ullage.compiler.ir.plan import Plan
from ullage.hwmodels.bounds import Bound


def percent(part: float, whole: float) -> str:
    """A share in percent."""
    return f"{fixed(100 * part / whole, 1)} %" if whole else "-"


def gap_text(gap: float | None) -> str:
    """A gap in percent, or words where there is none.

    A gap that is open never reads as 0.00 %, and one that counts as closed always does.
    """
    return "unknown" if gap is None else percent_above(gap)


def change_text(change: float) -> str:
    """A change in percent with its sign; one that is not zero never reads as zero."""
    if change and abs(change) < SMALLEST_SHOWN / 10:
        return f"{100 * change:+.1g} %"
    return f"{100 * change:+.3f} %"


def order_text(order: str) -> str:
    """An order of the operators in words: `model` is that of the file."""
    return "the file's order" if order == "model" else f"order {order}"


def beyond_text(*, steady_state: bool, several_links: bool) -> str:
    """What non-compulsory traffic is, behind its bytes.

    Args:
        steady_state: weights may stay where they are, so that loading them once counts, too.
        several_links: data crosses several on its way home, of which all but one count.
    """
    moved = "inputs and outputs" if steady_state else "each byte"
    return f"beyond {moved} moved once{' over one link' if several_links else ''}"


def bound_text(bound: Bound, objective: str, *, in_parts: bool = False) -> str:
    """A bound with its unit, the orders of the operators for which it holds, and its proof.

    Args:
        bound: the bound.
        objective: what it bounds.
        in_parts: some operators run in parts or again; other schedules may have another bound.
    """
    value = objective_text(bound.value, objective)
    return (
        f"{value} of {objective} {orders_text(bound, in_parts=in_parts)}, proven by {bound.source}"
    )


def orders_text(*bounds: Bound, in_parts: bool = False) -> str:
    """The orders of the operators for which bounds are known to hold.

    Args:
        bounds: the bounds, all of one plan.
        in_parts: some operators run in parts or again; other schedules may have another bound.
    """
    if in_parts:
        return "for this schedule"
    return "for every order" if all(b.every_order for b in bounds) else "for this order"


def stated_bound_text(plan: Plan) -> str:
    """The lower bound that a plan's file states, which nobody proves anew; empty for none."""
    if plan.lower_bound is None:
        return ""
    bound = Bound(plan.lower_bound, plan.bound_source or plan.solver)
    value = objective_text(bound.value, plan.objective)
    orders = orders_text(bound, in_parts=plan.program.is_scheduled)
    return f"states the lower bound {value} of {plan.objective} {orders}, by {bound.source}"


def claimed_bound_text(plan: Plan) -> str:
    """The bound that a file or a third party claims of a plan; empty for none."""
    if plan.claimed_bound is None:
        return ""
    bound = Bound(plan.claimed_bound, plan.claimed_by)
    value = objective_text(bound.value, plan.objective)
    orders = orders_text(bound, in_parts=plan.program.is_scheduled)
    return f"{value} of {plan.objective} {orders}, claimed by {bound.source}"


def middle_cut(name: str, room: int, mark: str = "\u2026") -> str:
    """A name of at most `room` characters, cut in its middle: names differ at both ends.

    The end, which tells neighbours apart, keeps a little more than half.

    Args:
        name: the name.
        room: characters, more than `mark` has.
        mark: what stands for the part that is left out.
    """
    if len(name) <= room:
        return name
    head = int((room - len(mark)) * 0.4)
    tail = room - len(mark) - head
    return f"{name[:head]}{mark}{name[len(name) - tail :]}"
