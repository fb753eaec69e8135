"""What an element of a result uses for sure, operator by operator: for bounds over all schedules.

The rules of reach may give too much, since a part that reads more than it needs is still right. A
bound needs the opposite: an element counts only if the operator's formula names it. (The data may
make it irrelevant, as a maximum has one winner and a mask hides scores; no schedule knows them.)
Most rules of reach are exact for a single element of the result; those operators and operands are
named here. The rest are narrowed, or nothing of them is certain.

    MaxPool    each element of the window that lies inside the input
    Conv       the same; of the kernel only taps that meet an element of the input, not the padding
    Gather     the rows, where the indices are constants
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from ullage.compiler.importer import optypes
from ullage.compiler.importer.reach.site import MOST_ROWS, Maps, Site, identity
from ullage.compiler.ir.reach import AxisMap, InputReach, Interval, Reach

# Operand -> what is certain of it, from what the rule of reach says of it.
Narrow = Callable[[Site, Maps], Maps | None]


def with_certain(site: Site, reach: Reach) -> Reach:
    """The reach of a node, each operand with what an element of the result uses of it for sure."""
    if any(kind.is_upper_bound for kind in site.output_types if kind is not None):
        return reach
    rules = _rules(site)
    seen: set[int] = set()
    inputs: list[InputReach] = []
    for entry in reach.inputs:
        position = next((p for p in rules if p not in seen and site.inputs[p] == entry.name), None)
        if position is None:
            inputs.append(entry)
            continue
        seen.add(position)
        inputs.append(replace(entry, certain=rules[position](site, entry.axes)))
    return replace(reach, inputs=tuple(inputs))


def _rules(site: Site) -> Mapping[int, Narrow]:
    """By position the operands of which something is certain, in the order of positions."""
    everywhere = range(len(site.inputs))
    found: dict[int, Narrow] = {}
    if site.op in _EXACT:
        positions = EXACT_OPERANDS.get(site.op, tuple(everywhere))
        found = dict.fromkeys(positions, _exact)
    elif site.op in _KERNELS:
        kernel = _KERNELS[site.op]
        found = dict.fromkeys(everywhere, _exact)
        found[0] = _windows
        found[kernel] = _taps
    elif site.op in _OTHERS:
        found = {0: _OTHERS[site.op]}
    return {p: found[p] for p in sorted(found) if site.has(p)}


def _exact(_site: Site, maps: Maps) -> Maps | None:
    """The rule of reach is exact for one element of the result."""
    return maps


def _mapped(_site: Site, maps: Maps) -> Maps | None:
    """It is exact where it says something of each axis."""
    return None if any(m is None for m in maps) else maps


def _own(site: Site, maps: Maps) -> Maps | None:
    """The element at the same place."""
    return identity(len(maps)) if site.result == site.shape(0) else None


def _single(site: Site, maps: Maps) -> Maps | None:
    """Exact where each element takes one: longer rows of tables are hulls of what may be taken."""
    shape, out = site.shape(0), site.result
    if shape is None or out is None or any(m is None for m in maps):
        return None
    for axis_map, size in zip(maps, shape, strict=True):
        if axis_map is None or axis_map == AxisMap(axis_map.axis):
            continue
        for index in range(out[axis_map.axis]):
            low, high = axis_map.interval(index, index + 1, size)
            if high - low > 1:
                return None
    return maps


def _squeezed(site: Site, maps: Maps) -> Maps | None:
    """Of a view: exact where axes of length 1 come and go, and nothing else changes."""
    shape = site.shape(0) or ()
    same = all(
        size == 1 if m is None else m == AxisMap(m.axis)
        for m, size in zip(maps, shape, strict=True)
    )
    return maps if same else None


def _windows(site: Site, maps: Maps) -> Maps | None:
    """Windows: all of them, or their middle tap where taps lie apart."""
    if site.op == "ConvTranspose":
        return maps if all(d == 1 for d in _integers(site, "dilations")) else None
    dilations = _integers(site, "dilations")
    spatial = _first_spatial(site)
    found = list(maps)
    for side, dilation in enumerate(dilations):
        axis_map = maps[spatial + side]
        if dilation == 1 or axis_map is None:
            continue
        span = _span(site, side)
        if span is None:
            return None
        stride, pad, taps = span
        at = (taps - 1) // 2 * dilation - pad
        found[spatial + side] = AxisMap(axis_map.axis, multiplier=stride, first=at, last=at)
    return tuple(found)


def _taps(site: Site, maps: Maps) -> Maps | None:
    """A kernel: the taps that meet elements of the input, by row of the result."""
    data, out = site.shape(0), site.result
    if data is None or out is None:
        return None
    if site.op == "ConvTranspose" and site.number("group", 1) > 1:
        return None
    spatial = _first_spatial(site)
    found = list(maps)
    for side in range(len(maps) - 2):
        span = _span(site, side)
        axis = spatial + side
        if span is None or out[axis] > MOST_ROWS:
            return None
        stride, pad, taps = span
        size = data[axis]
        if site.op == "ConvTranspose":
            rows = [_feeding_tap(o + pad, stride, taps, size) for o in range(out[axis])]
        else:
            dilation = (_integers(site, "dilations") or [1] * (len(maps) - 2))[side]
            rows = [_inside(o * stride - pad, dilation, taps, size) for o in range(out[axis])]
        found[2 + side] = AxisMap(axis, table=tuple(rows))
    return tuple(found)


def _inside(start: int, dilation: int, taps: int, size: int) -> Interval:
    """Taps k of a window with 0 <= start + k * dilation < size."""
    low = max(0, -(start // dilation))
    high = min(taps, (size - 1 - start) // dilation + 1)
    return (low, high) if low < high else (0, 0)


def _feeding_tap(place: int, stride: int, taps: int, size: int) -> Interval:
    """One tap k of a transposed window by which an input row i = (place - k) / stride comes."""
    for tap in range(place % stride, taps, stride):
        if 0 <= (place - tap) // stride < size:
            return tap, tap + 1
    return 0, 0


def _span(site: Site, side: int) -> tuple[int, int, int] | None:
    """Stride, padding before and taps of a side; None where they are not plain numbers."""
    how = site.text("auto_pad", "NOTSET")
    kernel = site.shape(_KERNELS[site.op]) if site.op in _KERNELS else None
    taps = kernel[2 + side] if kernel else int(site.attributes["kernel_shape"][side])
    sides = len(kernel) - 2 if kernel else len(site.attributes["kernel_shape"])
    strides = _integers(site, "strides") or [1] * sides
    dilations = _integers(site, "dilations") or [1] * sides
    if how == "VALID":
        return strides[side], 0, taps
    data, out = site.shape(0), site.result
    if data is None or out is None:
        return None
    if how == "NOTSET":
        if site.op == "ConvTranspose" and site.attributes.get("output_shape"):
            return None
        pads = _integers(site, "pads") or [0] * (2 * sides)
        return strides[side], pads[side], taps
    if site.op == "ConvTranspose":
        return None
    at = _first_spatial(site) + side
    total = (out[at] - 1) * strides[side] + (taps - 1) * dilations[side] + 1 - data[at]
    total = max(0, total)
    pad = total // 2 if how == "SAME_UPPER" else total - total // 2
    return strides[side], pad, taps


def _first_spatial(site: Site) -> int:
    last = bool(site.number("channels_last")) or site.op == "NhwcMaxPool"
    return 1 if last else 2


def _integers(site: Site, name: str) -> list[int]:
    return [int(v) for v in site.attributes.get(name) or ()]


def _rows(site: Site, maps: Maps) -> Maps | None:
    """Gather: rows by constant indices, one each."""
    known = site.arrays.get(site.inputs[1])
    axis = site.number("axis") % len(maps)
    axis_map = maps[axis]
    if known is None or axis_map is None or (known.ndim != 1 and known.size != 1):
        return None
    single = all(row[1] - row[0] == 1 for row in axis_map.table)
    return maps if single else None


def _sequence(site: Site, maps: Maps) -> Maps | None:
    """A recurrent network's data: all steps up to one's own, where no lengths are given."""
    return None if site.has(4) else maps


def _queries(_site: Site, maps: Maps) -> Maps | None:
    """Attention with an axis of heads: the query's own row, all of it."""
    return maps if len(maps) == 4 else None


# Position of the kernel of convolutions. DeformConv is none of them.
_KERNELS = {"Conv": 1, "FusedConv": 1, "ConvInteger": 1, "QLinearConv": 3, "ConvTranspose": 1}
_FIRST = (0,)
# Operators whose rule of reach is exact for these operands.
EXACT_OPERANDS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("MatMul", "Gemm", "MatMulInteger", "MatMulIntegerToFloat"), (0, 1)),
    **dict.fromkeys(("FusedMatMul", "FusedGemm", "MatMulNBits", "Einsum"), (0, 1)),
    **dict.fromkeys(("QLinearMatMul", "QGemm"), (0, 3)),
    **dict.fromkeys(("Identity", "Dropout", "Transpose", "Expand", "Tile"), _FIRST),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax", "QLinearSoftmax"), _FIRST),
    **dict.fromkeys(
        ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"), _FIRST
    ),
    **dict.fromkeys(("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"), (0, 1)),
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization", "LpNormalization"), _FIRST),
    **dict.fromkeys(
        ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "QLinearGlobalAveragePool"), _FIRST
    ),
    **{op: _FIRST for op in optypes.REDUCTION if op.startswith("Reduce")},
    **dict.fromkeys(("MeanVarianceNormalization", "CumSum", "CumProd", "TopK"), _FIRST),
    **dict.fromkeys(("ArgMax", "ArgMin", "CenterCropPad"), _FIRST),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), (0, 1, 2)),
}
_EXACT = optypes.ELEMENTWISE | {"Concat", *EXACT_OPERANDS}
# Operators of whose first operand less is certain than the rule of reach says.
_OTHERS: dict[str, Narrow] = {
    **dict.fromkeys(
        ("MaxPool", "AveragePool", "LpPool", "NhwcMaxPool", "QLinearAveragePool"), _windows
    ),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _squeezed),
    **dict.fromkeys(("Resize", "Upsample", "Slice", "Pad"), _single),
    "Gather": _rows,
    "LRN": _own,
    "Attention": _queries,
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _sequence),
}
