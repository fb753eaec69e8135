"""Pictures of sweeps: what is drawn, what is refused, same bytes for the same sweep."""

import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.support.plans import PLANS
from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.common.units import parse_size
from ullage.compiler.driver.compile import compile_problem
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.studies import plots
from ullage.compiler.studies.sweep import Sweep
from ullage.compiler.studies.sweep_meet import judge
from ullage.compiler.studies.sweep_points import Point, monotone

pytest.importorskip("matplotlib")

Make = Callable[..., Sweep]


@pytest.fixture(scope="session")
def made() -> Make:
    """A sweep over four sizes, the first of which has no plan."""

    def make(objective: str = "latency", meet_s: float | None = None) -> Sweep:
        plan = PLANS["spill"]
        options = CompileOptions(solver="greedy")
        points = [Point(8, error=InfeasibleError("too small"))]
        for size in (16, 64, 256):
            target = plan.target.with_fast_memory(size)
            asked = plan.problem.on(target).minimising(objective)
            points.append(Point(size, compile_problem(asked, options)))
        curve = monotone(points)
        asked = {
            "model": "spill", "target": "any", "solver": "greedy", "objective": objective
        }  # fmt: skip
        meeting = None if meet_s is None else judge(curve, meet_s)
        return Sweep(curve, asked, meeting, (), partial=False, import_s=0.0, total_s=0.0)

    return make


def texts(path: Path) -> str:
    """All texts of an SVG file."""
    return " ".join(ET.parse(path).getroot().itertext())  # noqa: S314 - our own file


def test_svg_and_png_are_written_and_the_same_each_time(made: Make, tmp_path: Path) -> None:
    for suffix, start in ((".svg", b"<?xml"), (".png", b"\x89PNG"), (".SVG", b"<?xml")):
        one, two = tmp_path / f"one{suffix}", tmp_path / "new" / f"two{suffix}"
        plots.plot_sweep(made(), one)
        plots.plot_sweep(made(), two)
        assert one.read_bytes().startswith(start)
        assert one.read_bytes() == two.read_bytes()


def test_the_picture_says_what_it_shows(made: Make, tmp_path: Path) -> None:
    found = made(meet_s=made().points[2].compiled.value)  # type: ignore[union-attr]
    plots.plot_sweep(found, tmp_path / "a.svg")
    said = texts(tmp_path / "a.svg")
    for text in (
        "fast memory", "latency [ns]", "lower bound for this order", "plan found", "no plan",
        "64 B", "everything in slow memory", "compute time alone", "latency to meet",
        "spill on any",
    ):  # fmt: skip
        assert text in said


def test_curves_are_the_figures_of_the_sweep(made: Make) -> None:
    from matplotlib.figure import Figure

    found = made(meet_s=1.0)
    axes = Figure().add_subplot()
    plots.draw_sweep(found, axes)
    lines: dict[Any, Any] = {line.get_label(): line for line in axes.get_lines()}
    solved = [p for p in found.points if p.compiled is not None]
    plan, bound = lines["plan found"], lines["lower bound for this order"]
    assert list(plan.get_xdata()) == list(bound.get_xdata()) == [p.size_bytes for p in solved]
    values = [p.compiled.value * 1e9 for p in solved if p.compiled]
    bounds = [p.compiled.bound.value * 1e9 for p in solved if p.compiled]
    assert list(plan.get_ydata()) == pytest.approx(values)
    assert list(bound.get_ydata()) == pytest.approx(bounds)
    assert lines["latency to meet"].get_ydata()[0] == pytest.approx(1e9)
    assert len({line.get_linestyle() for line in lines.values()}) >= 4  # told apart without colour
    assert axes.get_xscale() == "log"


@pytest.mark.parametrize(("objective", "label"), [("traffic", "traffic [B]"), ("energy", "[J]")])
def test_other_objectives_have_their_own_unit(
    made: Make, tmp_path: Path, objective: str, label: str
) -> None:
    plots.plot_sweep(made(objective), tmp_path / "a.svg")
    said = texts(tmp_path / "a.svg")
    assert label in said
    assert "compute time alone" not in said


def test_one_size_and_an_interrupted_sweep_are_drawn_too(made: Make, tmp_path: Path) -> None:
    found = replace(made(), points=made().points[1:2], partial=True)
    plots.plot_sweep(found, tmp_path / "a.svg")
    assert "(interrupted)" in texts(tmp_path / "a.svg")
    assert "16 B" in texts(tmp_path / "a.svg")


def test_ticks_are_powers_of_two_and_not_too_many() -> None:
    assert plots.size_ticks(parse_size("64KiB"), parse_size("256KiB")) == [65536, 131072, 262144]
    assert plots.size_ticks(100, 120) == [100, 120]
    assert plots.size_ticks(100, 100) == [100]
    many = plots.size_ticks(1, 2**40)
    assert len(many) <= plots.MOST_TICKS
    assert all(tick & (tick - 1) == 0 for tick in many)


def test_units_suit_the_largest_value() -> None:
    assert plots.unit_of("latency", 0.0123) == (1e3, "ms")
    assert plots.unit_of("latency", 2.0) == (1.0, "s")
    assert plots.unit_of("energy", 3e-6) == (1e6, "uJ")
    assert plots.unit_of("traffic", 3 * 2**20) == (2.0**-20, "MiB")
    assert plots.unit_of("traffic", 0.0) == (1.0, "B")


@pytest.mark.parametrize(
    "name", ["\x1b[31mred", "half \ud83d", "$\\frac{$", "$x$", "\u202eturned", "\u5927", "x" * 3000]
)
def test_any_name_can_be_drawn(name: str, made: Make, tmp_path: Path) -> None:
    swept = made()
    odd = replace(swept, request={**swept.request, "model": name})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.plot_sweep(odd, tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "\x1b" not in text
    assert "\u202e" not in text
    ET.fromstring(text)  # noqa: S314 - our own


def test_what_cannot_be_written_is_refused(
    made: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.pdf", "a", ".svg"):
        with pytest.raises(UsageError, match=re.escape(".svg or .png")):
            plots.check_plot(tmp_path / name)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.svg").mkdir()
    for path, fault in (("file/a.svg", "is a file, not a folder"), ("folder.svg", "is a folder")):
        with pytest.raises(UsageError, match=fault):
            plots.check_plot(tmp_path / path)
    plots.check_plot(tmp_path / "new" / "a.svg")
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr(plots, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=re.escape("pip install 'ullage[plot]'")):
        plots.plot_sweep(made(), tmp_path / "a.svg")
