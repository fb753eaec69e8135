"""Figures as texts for people: shares, gaps, objectives; alike on terminal and in reports."""

from ullage.compiler.common.units import format_size, format_time
from ullage.compiler.driver.result import OPTIMAL_GAP

# The smallest gap that two decimals of a percent show.
SMALLEST_SHOWN = 5e-5


def percent(part: float, whole: float) -> str:
    """A share in percent."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def gap_text(gap: float | None) -> str:
    """A gap in percent, or words where there is none.

    A gap that is open never reads as 0.00 %, and one that counts as closed always does.
    """
    if gap is None:
        return "unknown"
    if OPTIMAL_GAP < gap < SMALLEST_SHOWN:
        return f"{100 * gap:.1g} %"
    return f"{100 * gap:.2f} %"


def objective_text(value: float, objective: str) -> str:
    """An objective's value with its unit."""
    if objective == "latency":
        return format_time(value)
    if objective == "energy":
        return f"{value * 1e3:.4g} mJ"
    return format_size(round(value))


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
