"""The picture of a comparison: the best plan of each solver over seconds of solving."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ullage.compiler.common.palette import CURVES
from ullage.compiler.studies.plots import GREY, NAMES, unit_of, write_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
# Widths of the first and the last curve in points: thinner ones lie on top and hide none.
THICKEST, THINNEST = 3.6, 1.2


def plot_comparison(rows: Sequence[Row], path: Path) -> None:
    """Write anytime curves of the rows that `compare_solvers` returns; errors are left out.

    The same rows give the same bytes.

    Raises:
        UsageError: see `plots.check_plot`.
    """
    write_picture(path, lambda axes: draw_comparison(rows, axes), (10.0, 5.0))


def draw_comparison(rows: Sequence[Row], axes: "Axes") -> None:
    """Draw the curves into axes: seconds on a logarithmic x, the objective in a fitting unit.

    A curve steps down where a solver improved its plan, and has a marker where the solver ended;
    from there it continues as a thin line, since the plan remains. A solver that reports nothing
    before its end has the marker and the thin line only.
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
    for row in shown:
        place = names.index(row["solver"])
        look: dict[str, Any] = {"color": CURVES[place % len(CURVES)], "zorder": 3 + place / 100}
        times = [max(at, begin) for at, _ in row["anytime"]]
        values = [value * scale for _, value in row["anytime"]]
        end_s = max(row["solve_s"], begin)
        width = THICKEST - (THICKEST - THINNEST) * place / len(names)
        style = "-" if place < len(CURVES) else "--"
        axes.step([*times, end_s], [*values, values[-1]], where="post", lw=width, ls=style, **look)
        axes.plot([end_s, end], [values[-1]] * 2, lw=0.7, ls=":", **look)
        axes.plot(
            [end_s],
            [values[-1]],
            marker=MARKERS[place % len(MARKERS)],
            ms=7,
            mec="white",
            mew=0.6,
            ls="none",
            label=_label(row, scale, unit),
            **look,
        )
    label = f"lower bound, proven: {bound:.4g} {unit}"
    axes.axhline(bound, color=GREY, ls="--", lw=1.3, label=label)
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
    return f"{row['model']} on {row['target']}, {memory} of fast memory, seed {row['seed']}"


def _label(row: Row, scale: float, unit: str) -> str:
    gap = "" if row["gap"] is None else f" (+{100 * row['gap']:.2f} %)"
    return f"{row['solver']}: {row['value'] * scale:.4g} {unit}{gap}"


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
