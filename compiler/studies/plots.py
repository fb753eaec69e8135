"""Pictures of sweeps, as SVG or PNG, readable without colour. Needs the extra `plot` (matplotlib).

`check_plot` is called before any solving, `plot_sweep` after.
"""

import io
import math
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.files import check_file, write_atomic
from ullage.compiler.common.units import BINARY_UNITS, format_size, format_time
from ullage.compiler.common.visible import visible
from ullage.compiler.driver.result import Compiled
from ullage.compiler.driver.summary_text import middle_cut, orders_text
from ullage.compiler.studies.sweep import Sweep
from ullage.compiler.studies.sweep_points import Point
from ullage.hwmodels.cost import objective_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Endings of the pictures that can be written.
SUFFIXES = (".svg", ".png")
# Ticks of the size axis at most.
MOST_TICKS = 9
# Resolution of PNG in pixels per inch.
DPI = 150
# Grey of lines and text, and of areas.
GREY, LIGHT = "0.35", "0.88"
# Characters of a name that a picture shows.
NAME_LENGTH = 60
# Objective -> words for the y axis.
NAMES = {"latency": "latency", "traffic": "non-compulsory traffic", "energy": "energy"}


def check_plot(path: Path) -> None:
    """Refuse a picture that could not be written, before time is spent on what it shows.

    Raises:
        UsageError: the suffix is unknown, matplotlib is missing, or the folder takes no files.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--plot {path}: the name must end in {' or '.join(SUFFIXES)}")
    if find_spec("matplotlib") is None:
        raise UsageError(
            "--plot needs matplotlib, which is not installed; install it with "
            "`pip install 'ullage[plot]'` or leave --plot out"
        )
    check_file(path, "--plot")


def plot_sweep(swept: Sweep, path: Path) -> None:
    """Write the curve of a sweep, its bound, and the sizes and latencies that limit them.

    The same sweep gives the same bytes.

    Raises:
        UsageError: see `check_plot`.
    """
    write_picture(path, lambda axes: draw_sweep(swept, axes))


def write_picture(
    path: Path, draw: "Callable[[Axes], None]", size: tuple[float, float] = (8.0, 5.0)
) -> None:
    """Write what a function draws into axes; the same drawing gives the same bytes.

    Args:
        path: `.svg` or `.png`.
        draw: draws it.
        size: width and height in inches.

    Raises:
        UsageError: see `check_plot`.
    """
    check_plot(path)
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with (
        rc_context({"svg.hashsalt": "ullage", "svg.fonttype": "none", "font.size": 10}),
        warnings.catch_warnings(),
    ):
        # Names may have any letters; those that the font lacks are boxes, no reason for a warning.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure.add_subplot())
        suffix = path.suffix.lower().removeprefix(".")
        stream = io.BytesIO()
        metadata = {"Date": None} if suffix == "svg" else {}
        figure.savefig(stream, format=suffix, dpi=DPI, metadata=metadata)
    write_atomic(path, stream.getvalue())


def drawn(name: str) -> str:
    """A name as text in a picture: no control characters, and dollars begin no formula."""
    return middle_cut(visible(name), NAME_LENGTH).replace("$", r"\$")


def draw_sweep(swept: Sweep, axes: "Axes") -> None:
    """Draw a sweep into axes: size in bytes on a logarithmic x, the objective in a fitting unit."""
    objective = str(swept.request["objective"])
    solved = [(p.size_bytes, p.compiled) for p in swept.points if p.compiled is not None]
    sizes = [size for size, _ in solved]
    slow = next((c.all_slow for _, c in solved if c.all_slow is not None), None)
    values = [compiled.value for _, compiled in solved]
    bounds = [compiled.bound.value for _, compiled in solved]
    ceiling = None if slow is None else objective_value(slow, objective)
    plans = [compiled.plan for _, compiled in solved]
    orders = orders_text(*(compiled.bound for _, compiled in solved))
    if any(plan.program.is_scheduled for plan in plans):
        orders = "of each plan's schedule"
    scale, unit = unit_of(objective, max([*values, ceiling or 0.0]))
    above = [value * scale for value in values]
    below = [bound * scale for bound in bounds]

    _size_axis(axes, [point.size_bytes for point in swept.points])
    axes.fill_between(sizes, below, above, color=LIGHT, linewidth=0)
    if ceiling is not None:
        axes.axhline(ceiling * scale, color=GREY, ls="-.", lw=1, label="everything in slow memory")
    axes.plot(sizes, above, color="black", marker="o", ms=5, lw=1.6, label="plan found")
    axes.plot(
        sizes,
        below,
        color=GREY,
        marker="s",
        ms=4,
        mfc="white",
        ls="--",
        lw=1.3,
        label=f"lower bound {orders}",
    )
    if objective == "latency":
        floor = min(compiled.score.compute_s for _, compiled in solved) * scale
        axes.axhline(floor, color=GREY, ls=":", lw=1.5, label="compute time alone")
    _unfit(axes, swept.points)
    _meeting(axes, swept, solved, scale)
    axes.set_ylabel(f"{NAMES.get(objective, objective)} [{unit}]")
    axes.set_title(
        "{} on {}, solver {}".format(
            *(drawn(str(swept.request[what])) for what in ("model", "target", "solver"))
        )
        + (" (interrupted)" if swept.partial else ""),
        loc="left",
        fontsize="medium",
    )
    axes.grid(visible=True, which="major", color="0.93", lw=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=True, framealpha=0.9, edgecolor="none", fontsize="small", loc="best")


def unit_of(objective: str, largest: float) -> tuple[float, str]:
    """Factor from the objective's own unit to one that suits its largest value, and its name."""
    if objective == "traffic":
        power = 0 if largest < 1 else min(int(math.log2(largest)) // 10, len(BINARY_UNITS) - 1)
        return 1024.0**-power, BINARY_UNITS[power]
    base = "J" if objective == "energy" else "s"
    for prefix, scale in (("", 1.0), ("m", 1e3), ("u", 1e6), ("n", 1e9)):
        if largest * scale >= 1:
            return scale, f"{prefix}{base}"
    return 1.0, base


def size_ticks(first: int, last: int) -> list[int]:
    """Powers of two between two sizes, at most `MOST_TICKS`; both sizes if there are under two."""
    powers = range(math.ceil(math.log2(first)), math.floor(math.log2(last)) + 1)
    if len(powers) < 2:
        return [first] if first == last else [first, last]
    stride = math.ceil(len(powers) / MOST_TICKS)
    return [2**power for power in powers[::stride]]


def _size_axis(axes: "Axes", sizes: Sequence[int]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    ticks = size_ticks(sizes[0], sizes[-1])
    axes.set_xscale("log", base=2)
    margin = max((sizes[-1] / sizes[0]) ** 0.03, 1.02)
    axes.set_xlim(sizes[0] / margin, sizes[-1] * margin)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([format_size(tick) for tick in ticks])
    axes.set_xlabel("fast memory")


def _unfit(axes: "Axes", points: Sequence[Point]) -> None:
    """Hatch the sizes for which there is no plan."""
    without = [p.size_bytes for p in points if p.compiled is None]
    if not without:
        return
    first = min(p.size_bytes for p in points if p.compiled is not None)
    left, right = axes.get_xlim()
    axes.axvspan(left, first, facecolor="none", edgecolor="0.8", hatch="///", lw=0, label="no plan")
    axes.set_xlim(left, right)


def _meeting(
    axes: "Axes", swept: Sweep, solved: Sequence[tuple[int, Compiled]], scale: float
) -> None:
    """Mark the latency to meet and the smallest size that does."""
    answer = swept.meeting
    if answer is None:
        return
    latency = answer.latency_s * scale
    axes.axhline(latency, color="black", lw=0.9, dashes=(8, 3), label="latency to meet")
    smallest = next((c for size, c in solved if size == answer.smallest_bytes), None)
    if smallest is None or answer.smallest_bytes is None:
        return
    height = smallest.value * scale
    axes.axvline(answer.smallest_bytes, color="black", lw=0.9, dashes=(2, 2))
    axes.plot([answer.smallest_bytes], [height], color="black", marker="*", ms=15, ls="none")
    axes.annotate(
        f"{format_size(answer.smallest_bytes)}\n{format_time(smallest.value)}",
        (answer.smallest_bytes, height),
        xytext=(10, 12),
        textcoords="offset points",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )
