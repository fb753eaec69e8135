"""Ranges of parts and layouts of values at the edges of what is well formed."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.changes import with_program
from tests.support.plans import PLANS
from ullage.compiler.common.ranges import MAX_COUNT, MAX_INDEX
from ullage.compiler.ir.program import DMA_STEP, AxisCuts, Layout, PlacedValue, Step
from ullage.compiler.ir.reach import AxisRange
from ullage.compiler.verify.part_form import layout_fault, ranges_fault
from ullage.compiler.verify.verifier import find_violations


def of_ranges(ranges: Any, kind: str = "Conv") -> str:
    return ranges_fault(Step("s", kind, 0, ranges=ranges))


@pytest.mark.parametrize(
    "ranges",
    [
        (),
        (AxisRange(-1, 0, 1),),
        (AxisRange(0, 0, 1),),
        (AxisRange(MAX_INDEX, MAX_COUNT - 1, MAX_COUNT),),
        (AxisRange(-1, 2, 9), AxisRange(0, 3, 4), AxisRange(1, 0, 5), AxisRange(7, 1, 2)),
    ],
)
def test_ranges_of_ascending_axes_are_sound(ranges: tuple[AxisRange, ...]) -> None:
    assert of_ranges(ranges) == ""


@pytest.mark.parametrize(
    ("ranges", "fault"),
    [
        ([AxisRange(0, 0, 1)], "its ranges must be a tuple of AxisRange"),
        ((AxisRange(0, 0, 1), (1, 0, 1)), "its ranges must be a tuple of AxisRange"),
        ((AxisRange(-2, 0, 1),), f"axis of a range must be in [-1, {MAX_INDEX}], is int -2"),
        (
            (AxisRange(MAX_INDEX + 1, 0, 1),),
            f"axis of a range must be in [-1, {MAX_INDEX}], is int {MAX_INDEX + 1}",
        ),
        ((AxisRange(0.0, 0, 1),), "axis of a range must be an int, is float 0.0"),  # type: ignore[arg-type]
        ((AxisRange(0, -1, 1),), f"start of a range must be in [0, {MAX_COUNT}], is int -1"),
        ((AxisRange(0, "0", 1),), "start of a range must be an int, is str '0'"),  # type: ignore[arg-type]
        (
            (AxisRange(0, MAX_COUNT + 1, 1),),
            f"start of a range must be in [0, {MAX_COUNT}], is int {MAX_COUNT + 1}",
        ),
        ((AxisRange(0, 0, 0),), f"end of a range must be in [1, {MAX_COUNT}], is int 0"),
        (
            (AxisRange(0, 0, MAX_COUNT + 1),),
            f"end of a range must be in [1, {MAX_COUNT}], is int {MAX_COUNT + 1}",
        ),
        ((AxisRange(0, 0, True),), "end of a range must be an int, is bool True"),
        ((AxisRange(2, 5, 5),), "the range [5, 5) of axis 2 is empty"),
        ((AxisRange(2, 5, 4),), "the range [5, 4) of axis 2 is empty"),
        ((AxisRange(2, 0, 1), AxisRange(3, 6, 6)), "the range [6, 6) of axis 3 is empty"),
        ((AxisRange(1, 0, 1), AxisRange(1, 1, 2)), "the axes of its ranges do not ascend"),
        ((AxisRange(1, 0, 1), AxisRange(0, 1, 2)), "the axes of its ranges do not ascend"),
        ((AxisRange(0, 0, 1), AxisRange(-1, 1, 2)), "the axes of its ranges do not ascend"),
        (
            (AxisRange(0, 0, 1), AxisRange(2, 0, 1), AxisRange(1, 1, 2)),
            "the axes of its ranges do not ascend",
        ),
    ],
)
def test_faults_of_ranges_are_named(ranges: Any, fault: str) -> None:
    assert of_ranges(ranges) == fault


@pytest.mark.parametrize("kind", ["Add", "scan"])  # before and behind "dma" in the alphabet
def test_a_dma_only_step_makes_no_ranges(kind: str) -> None:
    ranges = (AxisRange(0, 0, 1),)
    assert of_ranges(ranges, DMA_STEP) == "a DMA-only step makes no ranges"
    assert of_ranges((), DMA_STEP) == ""
    assert of_ranges(ranges, kind) == ""


AXIS_NAMES = "the names of its axes must be a tuple, empty or of one text for each range"


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        ((), ""),
        (("rows",), ""),
        (["rows"], AXIS_NAMES),
        (("rows", "columns"), AXIS_NAMES),
        ((2,), "name of an axis must be a str, is int 2"),
        (("\ud800",), "name of an axis must be Unicode text, is str '\\ud800'"),
    ],
)
def test_axes_of_ranges_have_names_or_none(names: Any, fault: str) -> None:
    step = Step("s", "Conv", 0, ranges=(AxisRange(2, 0, 1),), axis_names=names)
    assert ranges_fault(step) == fault


def of_layout(layout: Any) -> str:
    return layout_fault(PlacedValue("v", 0, 64, layout))


@pytest.mark.parametrize(
    "layout",
    [
        None,
        Layout(0),
        Layout(MAX_INDEX, (AxisCuts(0, (0, 1)), AxisCuts(1, (0, 4, MAX_COUNT)))),
        Layout(1, (AxisCuts(0, (0, 3, 4)), AxisCuts(2, (0, 8)), AxisCuts(MAX_INDEX, (0, 1, 2)))),
    ],
)
def test_layouts_of_ascending_axes_and_cuts_are_sound(layout: Layout | None) -> None:
    assert of_layout(layout) == ""


FORM = "its layout must be a Layout with a tuple of AxisCuts, or None"
AXES = "axes of cuts must ascend, and the outermost axis is not cut"
ENDS = "ends of cuts must ascend from 0"


@pytest.mark.parametrize(
    ("layout", "fault"),
    [
        ("rows", FORM),
        (0, FORM),
        (Layout(0, [AxisCuts(1, (0, 2))]), FORM),  # type: ignore[arg-type]
        (Layout(0, ((1, (0, 2)),)), FORM),  # type: ignore[arg-type]
        (Layout(-1), f"axis of a layout must be in [0, {MAX_INDEX}], is int -1"),
        (Layout(True), "axis of a layout must be an int, is bool True"),
        (
            Layout(MAX_INDEX + 1),
            f"axis of a layout must be in [0, {MAX_INDEX}], is int {MAX_INDEX + 1}",
        ),
        # The first fault is named, whatever follows.
        (
            Layout(-1, (AxisCuts(-2, (3,)),)),
            f"axis of a layout must be in [0, {MAX_INDEX}], is int -1",
        ),
        (
            Layout(0, (AxisCuts(-1, (0, 2)),)),
            f"axis of cuts must be in [0, {MAX_INDEX}], is int -1",
        ),
        (
            Layout(0, (AxisCuts(-1, [0, 2]),)),  # type: ignore[arg-type]
            f"axis of cuts must be in [0, {MAX_INDEX}], is int -1",
        ),
        (
            Layout(0, (AxisCuts(MAX_INDEX + 1, (0, 2)),)),
            f"axis of cuts must be in [0, {MAX_INDEX}], is int {MAX_INDEX + 1}",
        ),
        (Layout(0, (AxisCuts(1, [0, 2]),)), "ends of cuts must be a tuple"),  # type: ignore[arg-type]
        (
            Layout(0, (AxisCuts(1, (-1, 2)),)),
            f"end of a cut must be in [0, {MAX_COUNT}], is int -1",
        ),
        (
            Layout(0, (AxisCuts(1, (0, MAX_COUNT + 1)),)),
            f"end of a cut must be in [0, {MAX_COUNT}], is int {MAX_COUNT + 1}",
        ),
        (
            Layout(0, (AxisCuts(1, (0, 1.5, -2)),)),  # type: ignore[arg-type]
            "end of a cut must be an int, is float 1.5",
        ),
        (Layout(1, (AxisCuts(1, (0, 2)),)), AXES),
        (Layout(0, (AxisCuts(1, (0, 2)), AxisCuts(1, (0, 2)))), AXES),
        (Layout(0, (AxisCuts(2, (0, 2)), AxisCuts(1, (0, 2)))), AXES),
        (Layout(0, (AxisCuts(1, (0, 2)), AxisCuts(3, (0, 2)), AxisCuts(2, (0, 2)))), AXES),
        (Layout(0, (AxisCuts(1, ()),)), ENDS),
        (Layout(0, (AxisCuts(1, (0,)),)), ENDS),
        (Layout(0, (AxisCuts(1, (1, 2)),)), ENDS),
        (Layout(0, (AxisCuts(1, (0, 2, 2)),)), ENDS),
        (Layout(0, (AxisCuts(1, (0, 0, 2)),)), ENDS),
        (Layout(0, (AxisCuts(1, (0, 3, 2)),)), ENDS),
        (Layout(0, (AxisCuts(1, (0, 2)), AxisCuts(2, (0,)))), ENDS),
    ],
)
def test_faults_of_layouts_are_named(layout: Any, fault: str) -> None:
    assert of_layout(layout) == fault


def test_a_plan_with_faults_of_parts_is_malformed() -> None:
    base = PLANS["prefetch"]
    steps, buffers = list(base.problem.steps), list(base.problem.buffers)
    steps[1] = replace(steps[1], ranges=(AxisRange(0, 4, 4),))
    made = replace(base, problem=with_program(base.problem, steps=tuple(steps)))
    (found,) = find_violations(made)
    assert found.rule == "malformed"
    assert found.message == "step 1 ('op1'): the range [4, 4) of axis 0 is empty"

    value = replace(buffers[0].values[0], layout=Layout(0, (AxisCuts(1, (0,)),)))
    buffers[0] = replace(buffers[0], values=(value,))
    made = replace(base, problem=with_program(base.problem, buffers=tuple(buffers)))
    (found,) = find_violations(made)
    assert found.rule == "malformed"
    assert found.message == "buffer 0 ('x'): value 'x': ends of cuts must ascend from 0"


def test_parts_of_an_operator_run_in_steps_of_their_own() -> None:
    """Both steps must say what they make; one that makes all of it runs once."""
    base = PLANS["prefetch"]
    part = (AxisRange(0, 0, 1),)

    def found(first: tuple[AxisRange, ...], second: tuple[AxisRange, ...]) -> list[str]:
        steps = list(base.problem.steps)
        steps[1] = replace(steps[1], operator=2, ranges=first)
        steps[2] = replace(steps[2], operator=2, ranges=second)
        made = replace(base, problem=with_program(base.problem, steps=tuple(steps)))
        return [violation.message for violation in find_violations(made)]

    assert found(part, part) == []
    for pair in ((part, ()), ((), part), ((), ())):
        assert found(*pair) == ["step 2 (op2): operator 2 has run in step 1"]
