"""Figures as texts for people: shares, gaps, objectives; alike on terminal and in reports."""

from ullage.compiler.common.units import format_size, format_time


def percent(part: float, whole: float) -> str:
    """A share in percent."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def gap_text(gap: float | None) -> str:
    """A gap in percent, or words where there is none."""
    return "unknown" if gap is None else f"{100 * gap:.2f} %"


def objective_text(value: float, objective: str) -> str:
    """An objective's value with its unit."""
    if objective == "latency":
        return format_time(value)
    if objective == "energy":
        return f"{value * 1e3:.4g} mJ"
    return format_size(round(value))
