"""Upper bounds of the results of operators whose shapes depend on data, operator by operator.

A rule takes a `Case` and returns one type per output, None where nothing follows. Rules that need
values take their bounds (`values.intervals`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from ullage.compiler.importer.optypes import BINARY, REDUCTION
from ullage.compiler.importer.scope import Scope, TensorType
from ullage.compiler.importer.shapes.axes import (
    Axis,
    NoBoundError,
    at_most,
    axes_of,
    broadcast_axes,
    length_between,
    type_of,
    values_of,
)
from ullage.compiler.importer.values.intervals import interval_of


@dataclass(frozen=True)
class Case:
    """A node with what is known when its results are bounded.

    Attributes:
        node: the node.
        given: its attributes.
        inputs: types of its inputs, None for absent ones.
        dtype: element type of its first output, where inference found it.
        scope: values and bounds of values.
    """

    node: onnx.NodeProto
    given: Mapping[str, Any]
    inputs: Sequence[TensorType | None]
    dtype: str | None
    scope: Scope

    @property
    def first(self) -> TensorType:
        """Type of the first input."""
        return self.needed(0)

    def has(self, position: int) -> bool:
        """Whether an input is there."""
        return position < len(self.inputs) and self.inputs[position] is not None

    def needed(self, position: int) -> TensorType:
        """Type of an input that must be there."""
        known = self.inputs[position] if position < len(self.inputs) else None
        if known is None:
            raise NoBoundError(f"input {position} is absent")
        return known

    def vector(self, position: int) -> list[tuple[float, float]]:
        """Lowest and highest values of the elements of a vector among the inputs."""
        known = self.needed(position)
        if known.is_upper_bound or len(known.shape) > 1:
            raise NoBoundError(f"the length of {self.node.input[position]!r} depends on data")
        return values_of(self.node.input[position], self.scope, known.elements)

    def scalar(self, position: int) -> tuple[float, float]:
        """Lowest and highest value of a scalar among the inputs."""
        known = self.needed(position)
        if known.is_upper_bound or known.elements != 1:
            return -np.inf, np.inf
        return length_between(interval_of(self.node.input[position], self.scope))

    def constant(self, position: int) -> list[int] | None:
        """Values of an input, None where they are not constant."""
        array = self.scope.arrays.get(self.node.input[position])
        return None if array is None else [int(v) for v in np.asarray(array).reshape(-1)]

    def axis(self, default: int = 0) -> int:
        """The attribute `axis`, counted from the front of the first input."""
        return axis_of(int(self.given.get("axis", default)), len(self.first.shape))


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the front.

    Raises:
        IndexError: the tensor has no such axis.
    """
    if not -rank <= axis < rank:
        raise IndexError(f"axis {axis} of a tensor of rank {rank}")
    return axis % rank


Types = Sequence[TensorType | None]
Rule = Callable[[Case], Types]


def _non_zero(case: Case) -> Types:
    rank = max(1, len(case.first.shape))
    return [type_of("int64", [Axis(rank), Axis(case.first.elements, exact=False)])]


def _compress(case: Case) -> Types:
    if "axis" not in case.given:
        return [type_of(case.first.dtype, [Axis(case.first.elements, exact=False)])]
    return [_shortened(case, case.axis(), case.first.elements)]


def _shortened(
    case: Case, at: int, most: int | None = None, length: int | None = None
) -> TensorType:
    """The first input with one axis shorter, or at most of a given length."""
    axes = axes_of(case.first)
    axes[at] = Axis(axes[at].length if length is None else length, exact=False)
    return type_of(case.first.dtype, axes, most)


def _unique(case: Case) -> Types:
    first = case.first
    if "axis" in case.given:
        values = _shortened(case, case.axis(), first.elements)
        count = first.shape[case.axis()]
    else:
        count = first.elements
        values = type_of(first.dtype, [Axis(count, exact=False)])
    return [values, *[type_of("int64", [Axis(count, exact=False)])] * 3]


def _top_k(case: Case) -> Types:
    if "k" in case.given or len(case.node.input) < 2:
        return []
    at = case.axis(-1)
    axes = axes_of(case.first)
    low, high = case.scalar(1)
    length = int(min(high, axes[at].length))
    axes[at] = Axis(length, low == high)
    return [type_of(dtype, axes, case.first.elements) for dtype in (case.first.dtype, "int64")]


def _non_max_suppression(case: Case) -> Types:
    boxes, scores = case.first, case.needed(1)
    if len(boxes.shape) != 3 or len(scores.shape) != 3:
        return []
    per_class = boxes.shape[1]
    if case.has(2):
        per_class = int(min(per_class, max(0.0, case.scalar(2)[1])))
    count = scores.shape[0] * scores.shape[1] * per_class
    return [type_of("int64", [Axis(count, exact=False), Axis(3)])]


def _dropout(case: Case) -> Types:
    mask = "bool" if case.scope.opsets.get("", 1) >= 10 else case.first.dtype
    return [case.first, type_of(mask, axes_of(case.first), case.first.elements)]


def _slice(case: Case) -> Types:
    """No axis is longer than before, nor longer than from the lowest start to the highest end."""
    first = case.first
    rank = len(first.shape)
    axes = axes_of(first)
    if "starts" in case.given:
        starts = [(float(v), float(v)) for v in case.given["starts"]]
        ends = [(float(v), float(v)) for v in case.given["ends"]]
        cut: list[int] | None = [int(v) for v in case.given.get("axes", range(len(starts)))]
        steps: list[int] | None = [1] * len(starts)
    else:
        starts, ends = case.vector(1), case.vector(2)
        cut = case.constant(3) if case.has(3) else list(range(len(starts)))
        steps = case.constant(4) if case.has(4) else [1] * len(starts)
    if cut is None or steps is None or len({len(starts), len(ends), len(cut), len(steps)}) > 1:
        return [type_of(first.dtype, [Axis(a.length, exact=False) for a in axes], first.elements)]
    for start, end, axis, step in zip(starts, ends, cut, steps, strict=True):
        at = axis_of(axis, rank)
        axes[at] = _cut(axes[at], start, end, step)
    return [type_of(first.dtype, axes, first.elements)]


def _cut(axis: Axis, start: tuple[float, float], end: tuple[float, float], step: int) -> Axis:
    """Length of an axis from which one element in `step` is taken, from a start to an end."""
    length = axis.length
    if axis.exact and start[0] == start[1] and end[0] == end[1]:
        return Axis(_elements_cut(length, int(start[0]), int(end[0]), step))
    if step < 0:
        return Axis(-(-length // -step), exact=False)
    most = float(length)
    if start[0] >= 0:
        last = end[1] if end[0] >= 0 else length + end[1] if end[1] < 0 else length
        most = min(last, length) - start[0]
    elif start[1] < 0:
        most = min(most, -start[0])
        if end[1] < 0:
            most = min(most, end[1] - start[0])
    if end[0] >= 0:
        most = min(most, end[1])
    most = max(0.0, most)
    return Axis(math.ceil(most / max(1, step)), exact=False)


def _elements_cut(length: int, start: int, end: int, step: int) -> int:
    """Number of elements that a Slice takes from an axis; it cuts ends off as its schema says."""
    start, end = (at + length if at < 0 else at for at in (start, end))
    if step > 0:
        start, end = (min(max(at, 0), length) for at in (start, end))
    else:
        start, end = min(max(start, 0), length - 1), min(max(end, -1), length - 1)
    return max(0, -(-(end - start) // step))


def _reshape(case: Case) -> Types:
    first = case.first
    if "shape" in case.given:
        targets = [(float(v), float(v)) for v in case.given["shape"]]
    else:
        targets = case.vector(1)
    elements, may_be_empty = first.elements, first.is_upper_bound or not first.elements
    copies = not case.given.get("allowzero", 0)
    source = axes_of(first)
    known = math.prod(int(low) for low, high in targets if low == high > 0)
    copied = {i for i, (low, high) in enumerate(targets) if low == high == 0 and copies}
    others = [axis for i, axis in enumerate(source) if i not in copied]
    axes: list[Axis] = []
    for i, (low, high) in enumerate(targets):
        if low == high > 0 or (low == high == 0 and not copies):
            axes.append(Axis(int(low)))
        elif i in copied and i < len(source):
            axes.append(source[i])
        elif low == high == -1:
            most = min(elements, math.prod(a.length for a in others)) // max(1, known)
            rest = [t for t in targets if t != (low, high)]
            certain = all(a.exact for a in others) and all(x == y for x, y in rest)
            axes.append(Axis(most, certain))
        else:
            largest = high if may_be_empty else min(high, elements)
            lengths = [at_most(largest, f"element {i} of {case.node.input[1]!r}")]
            if low <= 0 and copies and i < len(source):
                lengths.append(source[i].length)
            if low < 0:
                lengths.append(elements // max(1, known))
            axes.append(Axis(max(lengths), exact=False))
    return [type_of(first.dtype, axes, elements)]


def _expand(case: Case) -> Types:
    axes = axes_of(case.first)
    targets = case.vector(1)
    rank = max(len(axes), len(targets))
    axes = [Axis(1)] * (rank - len(axes)) + axes
    targets = [(1.0, 1.0)] * (rank - len(targets)) + targets
    result: list[Axis] = []
    for axis, (low, high) in zip(axes, targets, strict=True):
        if axis.exact and axis.length > 1:
            result.append(axis)  # a target of 1 or of the same length
        elif low == high and (low != 1 or axis.exact):
            result.append(Axis(axis.length if low == 1 else int(low)))
        elif axis.exact:
            result.append(Axis(at_most(high, f"a length in {case.node.input[1]!r}"), exact=False))
        else:
            most = max(axis.length, at_most(high, f"a length in {case.node.input[1]!r}"))
            result.append(Axis(most, exact=False))
    return [type_of(case.first.dtype, result)]


def _tile(case: Case) -> Types:
    repeats = case.vector(1)
    axes = [
        Axis(axis.length * at_most(high, "the repeats"), axis.exact and low == high)
        for axis, (low, high) in zip(axes_of(case.first), repeats, strict=True)
    ]
    return [type_of(case.first.dtype, axes)]


def _pad(case: Case) -> Types:
    if not case.has(1):
        return []  # attributes, in old operator sets
    axes = axes_of(case.first)
    pads = case.vector(1)
    padded = case.constant(3) if case.has(3) else list(range(len(axes)))
    if padded is None or len(pads) != 2 * len(padded):
        raise NoBoundError("the axes that are padded")
    for i, axis in enumerate(padded):
        at = axis_of(axis, len(axes))
        (low, high), (low_end, high_end) = pads[i], pads[i + len(padded)]
        length = axes[at].length + high + high_end
        exact = axes[at].exact and low == high and low_end == high_end
        axes[at] = Axis(at_most(length, f"the padding {case.node.input[1]!r}"), exact)
    return [type_of(case.first.dtype, axes)]


def _constant_of_shape(case: Case) -> Types:
    axes = [Axis(at_most(high, case.node.input[0]), low == high) for low, high in case.vector(0)]
    return [type_of(case.dtype or "float32", axes)]


def _range(case: Case) -> Types:
    """From the lowest start to the highest limit by the smallest step, or downwards."""
    start, limit, step = (case.scalar(position) for position in range(3))
    if step[0] > 0:
        count = (limit[1] - start[0]) / step[0]
    elif step[1] < 0:
        count = (limit[0] - start[1]) / step[1]
    else:
        raise NoBoundError(f"the step {case.node.input[2]!r}")
    if np.isnan(count) or not np.isfinite(count):
        raise NoBoundError("its ends")
    margin = 0 if "int" in case.first.dtype else 1  # floats may round up
    return [type_of(case.first.dtype, [Axis(max(0, math.ceil(count) + margin), exact=False)])]


def _one_hot(case: Case) -> Types:
    at = int(case.given.get("axis", -1)) % (len(case.first.shape) + 1)
    axes = axes_of(case.first)
    low, high = case.scalar(1)
    axes.insert(at, Axis(at_most(high, f"the depth {case.node.input[1]!r}"), low == high))
    return [type_of(case.needed(2).dtype, axes)]


def _reduce(case: Case) -> Types:
    """Axes that are chosen by data: each remains, or its length becomes 1, or it disappears.

    Of the axes that remain, the i-th is one of the i-th and those as far behind as axes are gone.
    """
    first = case.first
    if "axes" in case.given or not case.has(1) or case.node.op_type in ("ArgMax", "ArgMin"):
        return []
    axes = axes_of(first)
    if case.given.get("keepdims", 1):
        lengths = [Axis(max(1, a.length), a.exact and a.length == 1) for a in axes]
        most = None if first.is_upper_bound or not first.elements else first.elements
        return [type_of(first.dtype, lengths, most)]
    count = case.needed(1)
    if count.is_upper_bound or len(count.shape) > 1:
        raise NoBoundError(f"the number of axes in {case.node.input[1]!r}")
    if count.elements == 0 and not case.given.get("noop_with_empty_axes", 0):
        return [type_of(first.dtype, [])]
    return [_fewer_axes(first, count.elements)]


def _fewer_axes(first: TensorType, gone: int) -> TensorType:
    axes = axes_of(first)
    remaining = max(0, len(axes) - gone)
    lengths = [
        Axis(max(a.length for a in axes[i : i + gone + 1]), gone == 0 and axes[i].exact)
        for i in range(remaining)
    ]
    largest = sorted((max(1, a.length) for a in axes), reverse=True)[:remaining]
    return type_of(first.dtype, lengths, math.prod(largest))


def _squeeze(case: Case) -> Types:
    if "axes" in case.given:
        return []
    if not case.has(1):
        raise NoBoundError("which axes have the length 1")
    count = case.needed(1)
    if count.is_upper_bound or len(count.shape) > 1:
        raise NoBoundError(f"the number of axes in {case.node.input[1]!r}")
    made = _fewer_axes(case.first, count.elements)
    return [type_of(made.dtype, axes_of(made), case.first.elements)]


def _unsqueeze(case: Case) -> Types:
    if "axes" in case.given or not case.has(1):
        return []
    count = case.needed(1)
    if count.is_upper_bound or len(count.shape) > 1:
        raise NoBoundError(f"the number of axes in {case.node.input[1]!r}")
    axes, added = axes_of(case.first), count.elements
    lengths = [
        Axis(max([1, *(a.length for a in axes[max(0, i - added) : i + 1])]), exact=False)
        for i in range(len(axes) + added)
    ]
    return [type_of(case.first.dtype, lengths, case.first.elements)]


def _split(case: Case) -> Types:
    """Parts of sizes that data says, or of an axis that may be shorter: none is longer than it.

    Equal parts are at most the axis by their number, rounded up; the last one is no larger.
    """
    first, at, parts = case.first, case.axis(), len(case.node.output)
    axes = axes_of(first)
    if case.has(1):
        sizes = [high for _, high in case.vector(1)]
        if len(sizes) != parts:
            return []
    elif "split" in case.given:
        return []
    else:
        sizes = [float(-(-axes[at].length // parts))] * parts
    return [
        _shortened(case, at, first.elements, int(max(0.0, min(size, axes[at].length))))
        for size in sizes
    ]


def _concat(case: Case) -> Types:
    """Lengths along the axis add up; along the others all are equal, so the least bound holds."""
    parts = [t for t in case.inputs if t is not None]
    rank = len(case.first.shape)
    at = axis_of(int(case.given.get("axis", 1)), rank)
    if any(len(t.shape) != rank for t in parts):
        raise NoBoundError("tensors of one rank")
    axes: list[Axis] = []
    for i in range(rank):
        each = [axes_of(t)[i] for t in parts]
        if i == at:
            axes.append(Axis(sum(a.length for a in each), all(a.exact for a in each)))
        else:
            exact = [a for a in each if a.exact]
            axes.append(exact[0] if exact else min(each))
    return [type_of(case.first.dtype, axes, sum(t.elements for t in parts))]


def _resize(case: Case) -> Types:
    """Sizes within bounds; scales are taken where they are constant (see `bounded`)."""
    position = 3 if len(case.node.input) > 3 else -1
    if position < 0 or not case.has(position):
        return []
    if case.given.get("keep_aspect_ratio_policy", b"stretch") != b"stretch":
        return []
    axes, sizes = axes_of(case.first), case.vector(position)
    resized = [int(a) for a in case.given.get("axes", range(len(axes)))]
    for axis, (low, high) in zip(resized, sizes, strict=True):
        axes[axis_of(axis, len(axes))] = Axis(at_most(high, "the sizes"), low == high)
    return [type_of(case.first.dtype, axes)]


def _center_crop_pad(case: Case) -> Types:
    axes, sizes = axes_of(case.first), case.vector(1)
    for axis, (low, high) in zip(case.given.get("axes", range(len(axes))), sizes, strict=True):
        axes[axis_of(int(axis), len(axes))] = Axis(at_most(high, "the shape"), low == high)
    return [type_of(case.first.dtype, axes)]


def _window(case: Case) -> Types:
    low, high = case.scalar(0)
    return [type_of(case.dtype or "float32", [Axis(at_most(high, "the size"), low == high)])]


def _broadcast(case: Case) -> Types:
    operands = [t for t in case.inputs if t is not None]
    if "broadcast" in case.given:
        raise NoBoundError("operands aligned as in operator set 7")
    many = [t for t in operands if t.elements > 1 or t.is_upper_bound]
    most = many[0].elements if len(many) == 1 else None
    axes = broadcast_axes(operands)
    return [type_of(case.dtype or case.first.dtype, axes, most)]


RULES: Mapping[str, Rule] = {
    "NonZero": _non_zero,
    "Compress": _compress,
    "Unique": _unique,
    "TopK": _top_k,
    "NonMaxSuppression": _non_max_suppression,
    "Dropout": _dropout,
    "Slice": _slice,
    "Reshape": _reshape,
    "Expand": _expand,
    "Tile": _tile,
    "Pad": _pad,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "OneHot": _one_hot,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Split": _split,
    "Concat": _concat,
    "Resize": _resize,
    "CenterCropPad": _center_crop_pad,
    **dict.fromkeys(("HannWindow", "HammingWindow", "BlackmanWindow"), _window),
    **dict.fromkeys(REDUCTION - {"CumSum", "CumProd"}, _reduce),
    **dict.fromkeys(BINARY - {"QLinearAdd", "QLinearMul"}, _broadcast),
}
