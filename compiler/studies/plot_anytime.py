"""The picture of a comparison: the best plan of each solver over seconds of solving."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ullage.compiler.common.palette import CURVES
from ullage.compiler.common.units import percent_above
from ullage.compiler.driver.anytime import Improvement
from ullage.compiler.driver.summary_text import orders_text
from ullage.compiler.studies.plots import GREY, NAMES, drawn, unit_of, write_picture
from ullage.hwmodels.bounds import Bound

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Transform

# A row as `compare_solvers` returns it.
Row = Mapping[str, Any]

# Markers at the ends of curves, which differ without colour.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
# Share of the y span left free below the bound; twice as much is free above the worst plan shown.
HEADROOM = 0.08
# A final plan is not shown if it is this many times as far above the bound as the better plans.
FAR = 3.0
# Share of the bound that counts as their distance at least, where all better plans are closer.
NEAR = 0.1
# Earliest time on the x axis, in seconds.
SHORTEST_S = 1e-4
# Widths of the first and the last curve in points: thinner ones lie on top and hide none ...
THICKEST, THINNEST = 2.8, 1.2
# ... and the distance of curves that have the same value for a while.
APART = 3.2
# Area of the dots where a better plan was found, in square points.
DOT = 10.0
# Difference of values that counts as none, as a share of the y span.
SAME = 1e-4


def plot_comparison(rows: Sequence[Row], path: Path) -> None:
    """Write anytime curves of the rows that `compare_solvers` returns; errors are left out.

    The same rows give the same bytes.

    Raises:
        UsageError: see `plots.check_plot`.
    """
    write_picture(path, lambda axes: draw_comparison(rows, axes), (10.0, 5.0))


def draw_comparison(rows: Sequence[Row], axes: "Axes") -> None:
    """Draw the curves into axes: seconds on a logarithmic x, the objective in a fitting unit.

    A curve steps down where a solver improved its plan, with a dot at each of these points, and has
    a marker where the solver ended; from there it continues as a thin line, since the plan remains.
    A solver that reports nothing before its end has the marker and the thin line only. Curves that
    have the same value for a while are drawn side by side, `APART` points from each other, the best
    of them at its place, so that each is seen.
    """
    from matplotlib.ticker import FuncFormatter

    solved = sorted((row for row in rows if "error" not in row), key=lambda row: row["value"])
    first = solved[0]
    objective = str(first["objective"])
    scale, unit = unit_of(objective, max(row["value"] for row in solved))
    bound = first["lower_bound"] * scale
    low, high = _span([row["value"] * scale for row in solved], bound)
    far = [row for row in solved if row["value"] * scale > high]
    shown = [row for row in solved if row["value"] * scale <= high]
    begin = max(SHORTEST_S, min(row["anytime"][0][0] for row in solved)) / 1.5
    end = max(begin, *(row["solve_s"] for row in solved)) * 1.5
    names = [row["solver"] for row in rows]
    same = SAME * (high - low) / scale
    ranks = _ranks([row["anytime"] for row in shown], same)
    for row, rank in zip(shown, ranks, strict=True):
        place = names.index(row["solver"])
        look: dict[str, Any] = {
            "color": CURVES[place % len(CURVES)],
            "zorder": 3 + place / 100,
            "transform": _raised(axes, rank * APART),
        }
        marker = MARKERS[place % len(MARKERS)]
        times = [max(at, begin) for at, _ in row["anytime"]]
        values = [value * scale for _, value in row["anytime"]]
        end_s = max(row["solve_s"], begin)
        width = THICKEST - (THICKEST - THINNEST) * place / len(names)
        style = "-" if place < len(CURVES) else "--"
        axes.step([*times, end_s], [*values, values[-1]], where="post", lw=width, ls=style, **look)
        axes.scatter(times, values, s=DOT, **look)
        axes.plot([end_s, end], [values[-1]] * 2, lw=0.7, ls=":", **look)
        label = _label(row, scale, unit)
        edge: dict[str, Any] = {"mec": "white", "mew": 0.6, "ls": "none", "label": label}
        axes.plot([end_s], [values[-1]], marker=marker, ms=7, **edge, **look)
    if any(len(row["anytime"]) > 1 for row in shown):
        axes.scatter([], [], s=DOT, color=GREY, label="a better plan found")
    orders = orders_text(
        Bound(first["lower_bound"], first["bound_source"]), in_parts=first["cut_operators"] > 0
    )
    label = f"lower bound {orders}: {bound:.4g} {unit}"
    axes.axhline(bound, color=GREY, ls="--", lw=1.3, label=label)
    if max(ranks, default=0):
        axes.plot([], [], ls="none", label="equal curves: side by side")
    for row in far:
        axes.plot([], [], ls="none", label=f"{_label(row, scale, unit)}, above")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at:g}"))
    axes.set_xlim(begin, end)
    axes.set_ylim(low, high)
    axes.set_xlabel("solving [s]")
    axes.set_ylabel(f"{NAMES.get(objective, objective)} of the best plan so far [{unit}]")
    axes.set_title(_title(first), loc="left", fontsize="medium")
    axes.grid(visible=True, which="major", color="0.93", lw=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        frameon=False,
        fontsize="small",
        handlelength=1.5,
    )


def _title(row: Row) -> str:
    from ullage.compiler.common.units import format_size

    memory = format_size(row["fast_memory_bytes"])
    model, target = drawn(row["model"]), drawn(row["target"])
    return f"{model} on {target}, {memory} of fast memory, seed {row['seed']}"


def _ranks(curves: Sequence[Sequence[Improvement]], same: float) -> list[int]:
    """For each curve its place among those that have its value for a while: 0 is where it belongs.

    Args:
        curves: (seconds, value) at each improvement; the last value remains for ever.
        same: difference of values that counts as none.
    """
    ranks: list[int] = []
    for i, curve in enumerate(curves):
        taken = {ranks[j] for j in range(i) if _meet(curve, curves[j], same)}
        ranks.append(next(rank for rank in range(i + 1) if rank not in taken))
    return ranks


def _meet(a: Sequence[Improvement], b: Sequence[Improvement], same: float) -> bool:
    """Whether two curves have the same value for some time."""
    (times_a, values_a), (times_b, values_b) = np.array(a).T, np.array(b).T
    at = np.union1d(times_a, times_b)
    at = at[at >= max(times_a[0], times_b[0])]
    found_a = values_a[np.searchsorted(times_a, at, "right") - 1]
    found_b = values_b[np.searchsorted(times_b, at, "right") - 1]
    return bool((abs(found_a - found_b) <= same).any())


def _raised(axes: "Axes", points: float) -> "Transform":
    """The transformation of data into the picture, so many points further up."""
    from matplotlib.transforms import ScaledTranslation

    return axes.transData + ScaledTranslation(0, points / 72, axes.figure.dpi_scale_trans)


def _label(row: Row, scale: float, unit: str) -> str:
    gap = "" if row["gap"] is None else f" (+{percent_above(row['gap'])})"
    return f"{drawn(row['solver'])}: {row['value'] * scale:.4g} {unit}{gap}"


def _span(values: Sequence[float], bound: float) -> tuple[float, float]:
    """Ends of the y axis: from below the bound to above the plans that are not far above it."""
    ascending = sorted(values)
    highest = ascending[0]
    for value in ascending[1:]:
        if value - bound > FAR * max(highest - bound, NEAR * abs(bound)):
            break
        highest = value
    margin = HEADROOM * max(highest - bound, 0.01 * abs(bound), 1e-12)
    return bound - margin, highest + 2 * margin
