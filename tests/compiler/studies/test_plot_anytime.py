"""Pictures of comparisons: curves are the traces, what is far away is told."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.compiler.studies.test_plots import texts
from ullage.compiler.common.palette import CURVES
from ullage.compiler.studies.plot_anytime import (
    APART,
    _label,
    draw_comparison,
    plot_comparison,
)

pytest.importorskip("matplotlib")


def row(solver: str, value: float, solve_s: float, *before: tuple[float, float]) -> dict[str, Any]:
    last = before[-1][0] + 0.1 if before else solve_s
    return {
        "solver": solver,
        "model": "some",
        "target": "chip",
        "objective": "latency",
        "seed": 3,
        "fast_memory_bytes": 65536,
        "value": value,
        "lower_bound": 1e-3,
        "bound_source": "fluid-lp",
        "cut_operators": 0,
        "gap": value / 1e-3 - 1,
        "solve_s": solve_s,
        "anytime": [*before, (last, value)],
    }


ROWS = [
    row("all-slow", 9e-3, 0.002),
    row("quick", 1.28e-3, 0.01),
    row("slow", 1.1e-3, 8.0, (0.5, 1.25e-3), (2.0, 1.2e-3)),
    {"solver": "none", "error": {"kind": "usage", "message": "cannot"}},
]


def test_curves_are_the_traces() -> None:
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    draw_comparison(ROWS, axes)
    steps = [line for line in axes.get_lines() if line.get_drawstyle() == "steps-post"]
    assert len(steps) == 2
    slow = next(line for line in steps if len(line.get_xdata()) == 4)
    assert list(slow.get_xdata()) == pytest.approx([0.5, 2.0, 2.1, 8.0])
    assert list(slow.get_ydata()) == pytest.approx([1.25, 1.2, 1.1, 1.1])
    labels = [str(text.get_label()) for text in axes.get_lines()]
    assert "lower bound for this order: 1 ms" in labels
    assert "slow: 1.1 ms (+10.00 %)" in labels
    assert _label({"solver": "near", "value": 1e-3, "gap": 2e-5}, 1e3, "ms") == (
        "near: 1 ms (+0.002 %)"  # an open gap never reads as 0.00 %
    )
    markers = [str(line.get_marker()) for line in axes.get_lines()]
    ends = [marker for marker in markers if marker != "None"]
    assert len(set(ends)) == len(ends) == 2  # told apart without colour
    low, high = axes.get_ylim()
    assert low < 1.0
    assert 1.28 < high < 9.0
    left, right = axes.get_xlim()
    assert left < 0.002
    assert right > 8.0


def test_the_points_where_a_better_plan_was_found_are_marked() -> None:
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    draw_comparison(ROWS, axes)
    dots = [collection.get_offsets().tolist() for collection in axes.collections]
    assert [len(points) for points in dots] == [3, 1, 0]  # slow, quick, the legend's own
    assert dots[0] == pytest.approx(np.array([[0.5, 1.25], [2.0, 1.2], [2.1, 1.1]]))
    assert "a better plan found" in [c.get_label() for c in axes.collections]


def test_curves_of_one_value_are_drawn_side_by_side() -> None:
    from matplotlib.figure import Figure

    same = [row(name, 1.1e-3, 1.0, (0.1, 1.3e-3)) for name in ("a", "b", "c")]
    figure = Figure(dpi=72)
    axes = figure.add_subplot()
    draw_comparison([*same, row("other", 1.2e-3, 1.0, (0.1, 1.3e-3))], axes)
    figure.draw_without_rendering()
    heights = {}
    for line in axes.get_lines():
        if line.get_drawstyle() == "steps-post":
            points = line.get_transform().transform(line.get_xydata())
            heights[str(line.get_color())] = float(points[-1][1])
    true = axes.transData.transform((1.0, 1.1))[1]
    raised = sorted(height - true for height in heights.values())[:3]
    assert len(heights) == 4
    assert raised == pytest.approx([0, APART, 2 * APART], abs=1e-6)  # at 72 dpi pixels are points
    other = axes.transData.transform((1.0, 1.2))[1]  # it began as they did
    assert heights[CURVES[3]] == pytest.approx(other + 3 * APART)
    said = [text.get_text() for text in axes.get_legend().get_texts()]
    assert "equal curves: side by side" in said


def test_what_is_far_above_is_told_and_errors_are_left_out(tmp_path: Path) -> None:
    plot_comparison(ROWS, tmp_path / "a.svg")
    plot_comparison(ROWS, tmp_path / "b.svg")
    plot_comparison(ROWS, tmp_path / "a.png")
    said = texts(tmp_path / "a.svg")
    assert "all-slow: 9 ms (+800.00 %), above" in said
    assert "some on chip, 64 KiB of fast memory, seed 3" in said
    assert "none" not in said
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_one_solver_with_a_bound_of_zero_is_drawn_too(tmp_path: Path) -> None:
    only = {**row("alone", 0.0, 0.0), "objective": "traffic", "lower_bound": 0.0, "gap": None}
    plot_comparison([only], tmp_path / "a.svg")
    assert "alone: 0 B" in texts(tmp_path / "a.svg")
