"""Are the ranges of parts and the layouts of values well formed?"""

from itertools import pairwise

from ullage.compiler.common.ranges import MAX_COUNT, MAX_INDEX
from ullage.compiler.ir.program import DMA_STEP, AxisCuts, Layout, PlacedValue, Step
from ullage.compiler.ir.reach import REDUCTION, AxisRange
from ullage.compiler.verify.fields import all_are, int_fault, text_fault


def ranges_fault(step: Step) -> str:
    """What is wrong with the ranges that a step makes; empty where nothing is."""
    if not all_are(step.ranges, AxisRange):
        return "its ranges must be a tuple of AxisRange"
    previous = REDUCTION - 1
    for r in step.ranges:
        fault = (
            int_fault("axis of a range", r.axis, REDUCTION, MAX_INDEX)
            or int_fault("start of a range", r.start, 0, MAX_COUNT)
            or int_fault("end of a range", r.end, 1, MAX_COUNT)
        )
        if fault:
            return fault
        if r.end <= r.start:
            return f"the range [{r.start}, {r.end}) of axis {r.axis} is empty"
        if r.axis <= previous:
            return "the axes of its ranges do not ascend"
        previous = r.axis
    if step.ranges and step.kind == DMA_STEP:
        return "a DMA-only step makes no ranges"
    if not isinstance(step.axis_names, tuple) or len(step.axis_names) not in {0, len(step.ranges)}:
        return "the names of its axes must be a tuple, empty or of one text for each range"
    return next(filter(None, (text_fault("name of an axis", n) for n in step.axis_names)), "")


def layout_fault(value: PlacedValue) -> str:
    """What is wrong with the layout of a value; empty where nothing is."""
    layout = value.layout
    if layout is None:
        return ""
    if not isinstance(layout, Layout) or not all_are(layout.cuts, AxisCuts):
        return "its layout must be a Layout with a tuple of AxisCuts, or None"
    fault = int_fault("axis of a layout", layout.axis, 0, MAX_INDEX)
    previous = -1
    for cuts in layout.cuts:
        fault = fault or int_fault("axis of cuts", cuts.axis, 0, MAX_INDEX)
        if not fault and not isinstance(cuts.ends, tuple):
            fault = "ends of cuts must be a tuple"
        for end in cuts.ends if not fault else ():
            fault = fault or int_fault("end of a cut", end, 0, MAX_COUNT)
        if fault:
            return fault
        if cuts.axis <= previous or cuts.axis == layout.axis:
            return "axes of cuts must ascend, and the outermost axis is not cut"
        ends = cuts.ends
        if len(ends) < 2 or ends[0] != 0 or any(b <= a for a, b in pairwise(ends)):
            return "ends of cuts must ascend from 0"
        previous = cuts.axis
    return fault
