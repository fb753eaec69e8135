"""Operators that compute: what some elements of a result are computed from, index by index.

Windows are enumerated: output index o meets the input index o * stride - pad + k * dilation with
tap k (ONNX, "Conv"); of a transposed convolution input index i meets the output index
i * stride - pad + k * dilation ("ConvTranspose"), read from the other side.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from ullage.compiler.importer.operators.identity import NodeFacts
from ullage.compiler.importer.optypes import BINARY, UNARY
from ullage.compiler.ir.reach import Interval
from ullage.compiler.verify.reach.geometry import Geometry, Shape
from ullage.compiler.verify.reach.needs import Axes, Mask, everything
from ullage.compiler.verify.reach.resizing import resized

# What is read of operands, by position.
Reads = dict[int, Axes]
# (node, geometry, elements of the result, range of the reduction) -> reads; None where unknown.
Rule = Callable[[NodeFacts, Geometry, Axes, Interval | None], Reads | None]


def computed(
    node: NodeFacts, geometry: Geometry, need: Axes, summed: Interval | None
) -> Reads | None:
    """What is read for some elements of a result; None for an operator without a rule.

    Args:
        node: the node.
        geometry: shapes of the model.
        need: elements of its result.
        summed: the range of its reduction that counts, None for all of it.
    """
    rule = RULES.get(node.op)
    return rule(node, geometry, need, summed) if rule else None


def reduction_of(node: NodeFacts, geometry: Geometry) -> int:
    """Length of the reduction of a product or a mean that may be cut; 0 for another operator."""
    if node.op in MEANS:
        axis = _mean_axis(node, geometry)
        return 0 if axis is None else geometry.shapes[node.inputs[0]][axis]
    shapes = [geometry.shapes.get(name, ()) for name in node.inputs]
    if node.op in KERNELS:
        weight = shapes[KERNELS[node.op]]
        return weight[1] if node.number("group", 1) == 1 else 0
    if node.op == "ConvTranspose":
        return shapes[0][1] if node.number("group", 1) == 1 else 0
    if node.op in MATRICES:
        return shapes[0][-2] if node.number("transA") else shapes[0][-1]
    if node.op == "Einsum":
        letter = _summed_letter(node)
        return shapes[0][node.text("equation").replace(" ", "").index(letter)] if letter else 0
    return 0


def _mask(length: int, indices: Iterable[int]) -> Mask:
    mask = np.zeros(length, bool)
    mask[list(indices)] = True
    return mask


def _some(length: int, interval: Interval | None) -> Mask:
    return np.ones(length, bool) if interval is None else _mask(length, range(*interval))


def _spread(shape: Shape, need: Axes) -> Axes:
    """Elements of an operand that numpy broadcasts to a result."""
    before = len(need) - len(shape)
    return tuple(
        need[axis + before] if length == len(need[axis + before]) else np.ones(length, bool)
        for axis, length in enumerate(shape)
    )


def _elementwise(
    node: NodeFacts, geometry: Geometry, need: Axes, _summed: Interval | None
) -> Reads | None:
    shapes = {p: geometry.shapes[name] for p, name in enumerate(node.inputs) if name}
    old = node.op == "PRelu" or "axis" in node.attributes or node.number("broadcast")
    if node.version < 7 and old:  # broadcast in other ways than numpy's
        return None
    return {p: _spread(shape, need) for p, shape in shapes.items() if len(shape) <= len(need)}


def _first_like(node: NodeFacts, _geometry: Geometry, need: Axes, _k: Interval | None) -> Reads:
    """The first operand element by element; what else there is are parameters, not looked at."""
    del node
    return {0: need}


def _window(need: Mask, size: int, taps: int, stride: int, dilation: int, pad: int) -> Mask:
    meets = np.add.outer(np.flatnonzero(need) * stride - pad, np.arange(taps) * dilation).ravel()
    return _mask(size, meets[(meets >= 0) & (meets < size)])


def _windows(node: NodeFacts, data: Shape, need: Axes, taps: list[int]) -> list[Mask] | None:
    """The masks of the spatial axes, the third and later ones."""
    sides = len(taps)
    if node.number("channels_last") or len(data) != sides + 2 or len(need) != sides + 2:
        return None
    strides = node.numbers("strides", sides, 1)
    dilations = node.numbers("dilations", sides, 1)
    pads = node.numbers("pads", 2 * sides, 0)
    how = node.text("auto_pad", "NOTSET")
    masks = []
    for side in range(sides):
        size, out = data[2 + side], len(need[2 + side])
        before = pads[side] if how == "NOTSET" else 0
        if how.startswith("SAME"):
            span = (taps[side] - 1) * dilations[side] + 1
            lacking = max(0, (out - 1) * strides[side] + span - size)
            before = lacking // 2 if how == "SAME_UPPER" else (lacking + 1) // 2
        mine = need[2 + side]
        masks.append(_window(mine, size, taps[side], strides[side], dilations[side], before))
    return masks


def _convolution(
    node: NodeFacts, geometry: Geometry, need: Axes, summed: Interval | None
) -> Reads | None:
    at = KERNELS[node.op]
    data, kernel = geometry.shapes[node.inputs[0]], geometry.shapes[node.inputs[at]]
    masks = _windows(node, data, need, list(kernel[2:]))
    if masks is None:
        return None
    group = node.number("group", 1)
    if group == 1:
        channels = _some(data[1], summed)
        inner = channels
    else:
        each, width = kernel[0] // group, kernel[1]
        groups = np.unique(np.flatnonzero(need[1]) // each)
        channels = _mask(data[1], (g * width + i for g in groups for i in range(width)))
        inner = np.ones(width, bool)
    reads: Reads = {
        0: (need[0], channels, *masks),
        at: (need[1], inner, *everything(kernel[2:])),
    }
    bias = {"Conv": 2, "QLinearConv": 8}.get(node.op, len(node.inputs))
    if bias < len(node.inputs) and node.inputs[bias]:
        reads[bias] = (need[1],)
    return reads


def _transposed(
    node: NodeFacts, geometry: Geometry, need: Axes, summed: Interval | None
) -> Reads | None:
    data, kernel = geometry.shapes[node.inputs[0]], geometry.shapes[node.inputs[1]]
    sides = len(kernel) - 2
    strides = node.numbers("strides", sides, 1)
    dilations = node.numbers("dilations", sides, 1)
    extra = node.numbers("output_padding", sides, 0)
    how = node.text("auto_pad", "NOTSET")
    follows = how.startswith("SAME") or bool(node.attributes.get("output_shape"))
    masks = []
    for side in range(sides):
        size, out, taps = data[2 + side], len(need[2 + side]), kernel[2 + side]
        stride, dilation = strides[side], dilations[side]
        pad = node.numbers("pads", 2 * sides, 0)[side] if how == "NOTSET" else 0
        if follows:
            full = stride * (size - 1) + extra[side] + (taps - 1) * dilation + 1
            over = max(0, full - out)
            pad = over // 2 if how == "SAME_UPPER" else over - over // 2
        meets = np.add.outer(np.arange(size) * stride - pad, np.arange(taps) * dilation)
        inside = (meets >= 0) & (meets < out)
        masks.append(np.asarray((inside & need[2 + side][meets.clip(0, out - 1)]).any(axis=1)))
    group, width = node.number("group", 1), kernel[1]
    if group == 1:
        channels, outer = _some(data[1], summed), need[1]
    else:
        groups = np.unique(np.flatnonzero(need[1]) // width)
        each = data[1] // group
        channels = _mask(data[1], (g * each + i for g in groups for i in range(each)))
        outer = np.any(need[1].reshape(group, width), axis=0)
    reads: Reads = {
        0: (need[0], channels, *masks),
        1: (channels, outer, *everything(kernel[2:])),
    }
    if len(node.inputs) > 2 and node.inputs[2]:
        reads[2] = (need[1],)
    return reads


def _pool(
    node: NodeFacts, geometry: Geometry, need: Axes, _summed: Interval | None
) -> Reads | None:
    data = geometry.shapes[node.inputs[0]]
    masks = _windows(node, data, need, node.numbers("kernel_shape", 0, 0))
    return None if masks is None else {0: (need[0], need[1], *masks)}


def _global(
    node: NodeFacts, geometry: Geometry, need: Axes, summed: Interval | None
) -> Reads | None:
    data = geometry.shapes[node.inputs[0]]
    if node.number("channels_last"):
        return None
    masks = [need[0], need[1], *everything(data[2:])]
    return {0: _part_of_mean(node, geometry, masks, summed)}


def _mean_axis(node: NodeFacts, geometry: Geometry) -> int | None:
    """The axis of a mean's or sum's operand whose ranges are partial sums; None for none."""
    shape = geometry.shapes.get(node.inputs[0], ())
    gone = set(range(2, len(shape)))
    if node.op != "GlobalAveragePool":
        found = _gone(node, geometry, len(shape))
        if not found and node.number("noop_with_empty_axes"):
            return None
        gone = set() if found is None else found or set(range(len(shape)))
    elif node.number("channels_last"):
        return None
    return min((axis for axis in gone if shape[axis] > 1), default=None)


def _part_of_mean(
    node: NodeFacts, geometry: Geometry, masks: Sequence[Mask], summed: Interval | None
) -> Axes:
    """What is read of a mean's operand when only a range of it is added up."""
    axis = _mean_axis(node, geometry) if summed is not None and node.op in MEANS else None
    return tuple(_some(len(m), summed) if at == axis else m for at, m in enumerate(masks))


def _matrix(
    node: NodeFacts, geometry: Geometry, need: Axes, summed: Interval | None
) -> Reads | None:
    at = MATRICES[node.op]
    left, right = geometry.shapes[node.inputs[0]], geometry.shapes[node.inputs[at]]
    if any(node.number(f"transBatch{side}") for side in "AB"):
        return None
    lead = need[: len(need) - (len(left) > 1) - (len(right) > 1)]
    inner = _some(reduction_of(node, geometry), summed)
    rows = need[len(lead)] if len(left) > 1 else None
    columns = need[-1] if len(right) > 1 else None
    reads: Reads = {0: (inner,), at: (inner,)}
    if rows is not None:
        pair = (inner, rows) if node.number("transA") else (rows, inner)
        reads[0] = (*_spread(left[:-2], lead), *pair)
    if columns is not None:
        pair = (columns, inner) if node.number("transB") else (inner, columns)
        reads[at] = (*_spread(right[:-2], lead), *pair)
    if node.op in ("Gemm", "FusedGemm") and len(node.inputs) > 2 and node.inputs[2]:
        reads[2] = _spread(geometry.shapes[node.inputs[2]], need)
    return reads


def _einsum(
    node: NodeFacts, geometry: Geometry, need: Axes, summed: Interval | None
) -> Reads | None:
    text = node.text("equation").replace(" ", "")
    terms, arrow, target = text.partition("->")
    if "." in text or not arrow or any(len(set(t)) < len(t) for t in (*terms.split(","), target)):
        return None
    of = dict(zip(target, need, strict=True))
    letter = _summed_letter(node)
    reads: Reads = {}
    for position, term in enumerate(terms.split(",")):
        shape = geometry.shapes[node.inputs[position]]
        reads[position] = tuple(
            of[name] if name in of else _some(n, summed if name == letter else None)
            for name, n in zip(term, shape, strict=True)
        )
    return reads


def _summed_letter(node: NodeFacts) -> str:
    """The letter that both operands of an Einsum have and its result has not; empty for several."""
    terms, _, target = node.text("equation").replace(" ", "").partition("->")
    pair = terms.split(",")
    letters = set("".join(pair)) - set(target)
    shared = len(pair) == 2 and len(letters) == 1 and all(letters <= set(term) for term in pair)
    return letters.pop() if shared else ""


def _whole_axes(axes: Callable[[NodeFacts, int], Iterable[int]]) -> Rule:
    """The rule of what is as its operand, of which some axes are read whole."""

    def rule(node: NodeFacts, geometry: Geometry, need: Axes, _k: Interval | None) -> Reads | None:
        shape = geometry.shapes[node.inputs[0]]
        whole = set(axes(node, len(shape)))
        wide = tuple(np.ones(n, bool) if a in whole else need[a] for a, n in enumerate(shape))
        return {0: wide}

    return rule


def _softmax_axes(node: NodeFacts, rank: int) -> Iterable[int]:
    axis = node.number("axis", 1 if node.version < 13 else -1) % rank
    return range(axis, rank) if node.version < 13 else (axis,)


def _from_axis(node: NodeFacts, rank: int) -> Iterable[int]:
    return range(node.number("axis", -1) % rank, rank)


def _gone(node: NodeFacts, geometry: Geometry, rank: int) -> set[int] | None:
    """The axes that a reduction names; None where they depend on data."""
    given = node.attributes.get("axes")
    if given is None and len(node.inputs) > 1 and node.inputs[1]:
        array = geometry.arrays.get(node.inputs[1])
        if array is None:
            return None
        given = array.reshape(-1)
    if node.op in ("ArgMax", "ArgMin"):
        given = [node.number("axis")]
    return {int(a) % rank for a in ([] if given is None else given)}


def _reduced(
    node: NodeFacts, geometry: Geometry, need: Axes, summed: Interval | None
) -> Reads | None:
    shape = geometry.shapes[node.inputs[0]]
    axes = _gone(node, geometry, len(shape))
    if axes is None:
        return None
    if not axes and node.number("noop_with_empty_axes"):
        return {0: need}
    gone = axes or set(range(len(shape)))
    left = iter(need) if not node.number("keepdims", 1) else None
    masks = []
    for axis, length in enumerate(shape):
        if axis in gone:
            masks.append(np.ones(length, bool))
        else:
            masks.append(need[axis] if left is None else next(left))
    return {0: _part_of_mean(node, geometry, masks, summed)}


def _grouped(node: NodeFacts, geometry: Geometry, need: Axes, _summed: Interval | None) -> Reads:
    """GroupNormalization: whole groups of channels, all of their space."""
    shape = geometry.shapes[node.inputs[0]]
    groups = np.any(need[1].reshape(node.number("num_groups"), -1), axis=1)
    channels = np.repeat(groups, shape[1] // len(groups))
    return {0: (need[0], channels, *everything(shape[2:]))}


def _local_response(node: NodeFacts, _geometry: Geometry, need: Axes, _k: Interval | None) -> Reads:
    """LRN: channels from floor((size - 1) / 2) before to ceil((size - 1) / 2) behind."""
    size = node.number("size")
    channels = _window(need[1], len(need[1]), size, 1, 1, (size - 1) // 2)
    return {0: (need[0], channels, *need[2:])}


def _running(
    node: NodeFacts, geometry: Geometry, need: Axes, _summed: Interval | None
) -> Reads | None:
    given = geometry.arrays.get(node.inputs[1])
    if given is None:
        return None
    axis = int(given.reshape(-1)[0]) % len(need)
    own = not node.number("exclusive")
    turned = need[axis][::-1] if node.number("reverse") else need[axis]
    places = np.flatnonzero(turned)
    before = _mask(len(turned), range(int(places.max()) + own if len(places) else 0))
    masks = list(need)
    masks[axis] = before[::-1] if node.number("reverse") else before
    return {0: tuple(masks)}


def _gathered(
    node: NodeFacts, geometry: Geometry, need: Axes, _summed: Interval | None
) -> Reads | None:
    """Gather whose indices depend on data: any row may be meant."""
    shape, places = (geometry.shapes[name] for name in node.inputs[:2])
    axis = node.number("axis") % len(shape)
    behind = axis + len(places)
    data = (*need[:axis], np.ones(shape[axis], bool), *need[behind:])
    known = node.inputs[1] in geometry.arrays
    return None if known else {0: data, 1: need[axis:behind]}


def _resized(node: NodeFacts, geometry: Geometry, need: Axes, _k: Interval | None) -> Reads | None:
    return resized(node, geometry, need)


# Products: position of the kernel, or of the right operand.
KERNELS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
MEANS = frozenset({"GlobalAveragePool", "ReduceMean", "ReduceSum"})
MATRICES = {"MatMul": 1, "Gemm": 1, "FusedMatMul": 1, "MatMulInteger": 1, "QLinearMatMul": 3}
_CHANNELS_LAST = {"BatchNormalization", "QuantizeLinear", "DequantizeLinear"}
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(BINARY, _elementwise),
    **dict.fromkeys(UNARY | _CHANNELS_LAST, _first_like),
    **dict.fromkeys(KERNELS, _convolution),
    "ConvTranspose": _transposed,
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), _pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), _global),
    **dict.fromkeys(MATRICES, _matrix),
    "Einsum": _einsum,
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), _whole_axes(_softmax_axes)),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), _whole_axes(_from_axis)),
    "SimplifiedLayerNormalization": _whole_axes(_from_axis),
    "InstanceNormalization": _whole_axes(lambda _, rank: range(2, rank)),
    "GroupNormalization": _grouped,
    "LRN": _local_response,
    **dict.fromkeys(
        """ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum
        ReduceLogSumExp ReduceSumSquare ArgMax ArgMin""".split(),
        _reduced,
    ),
    **dict.fromkeys(("CumSum", "CumProd"), _running),
    **dict.fromkeys(("Resize", "Upsample"), _resized),
    "Gather": _gathered,
}
