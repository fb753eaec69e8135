"""Reach of convolutions and pools: windows that slide over spatial axes.

    Conv   out[n, m, y, x] reads data[n, group of m, y * stride - pad + k * dilation, ...] and
           weight[m, ...]
    Pool   out[n, c, y, x] reads data[n, c, the window, ...]

Output pixels are the m of a convolution's product, output channels its n. Where there are groups,
channels divide the count of products instead: parts that end at a border between groups divide the
MACs exactly, others by their share.
"""

from ullage.compiler.importer.reach.normalization import summed_axis
from ullage.compiler.importer.reach.site import (
    Maps,
    Reads,
    Rule,
    Site,
    labelled,
    table_map,
    window_map,
)
from ullage.compiler.ir.reach import REDUCTION, AxisMap, Interval, Reach, WorkDimension


def convolution(kernel: int = 1, per_channel: tuple[int, ...] = (), bias: int = 2) -> Rule:
    """The rule of [N, C, *S] with a kernel [M, C/group, *K] at some position.

    Args:
        kernel: position of the kernel.
        per_channel: positions of scales and zero points with an element per output channel.
        bias: position of the bias.
    """

    def rule(site: Site) -> Reach | None:
        data, weight, out = site.shape(0), site.shape(kernel), site.result
        if data is None or weight is None or out is None or len(weight) < 3:
            return None
        last = bool(site.number("channels_last"))
        rank = len(weight)
        if len(data) != rank or len(out) != rank:
            return None
        channels, spatial = (rank - 1, 1) if last else (1, 2)
        group = max(1, site.number("group", 1))
        maps: list[AxisMap | None] = [AxisMap(0)] * rank
        sides = _spatial(site, data, out, weight[2:], spatial)
        if sides is None:
            return None
        maps[spatial : spatial + rank - 2] = sides
        reduction = weight[1] if group == 1 else 0
        if group > 1:
            maps[channels] = AxisMap(channels, divisor=out[channels] // group, unit=weight[1])
        else:
            maps[channels] = AxisMap(REDUCTION)
        axes: list[WorkDimension] = ["m"] * rank
        axes[channels] = "n" if group == 1 else "count"
        taps: Maps = (
            AxisMap(channels),
            AxisMap(REDUCTION) if group == 1 else None,
            *[None] * (rank - 2),
        )
        inputs: Reads = (*site.read(0, maps), *site.read(kernel, taps))
        for position in range(1, len(site.inputs)):
            if position == kernel:
                continue
            if position == bias or position in per_channel:
                at_end = position == bias
                inputs += site.parameter(position, channels, out[channels], at_end=at_end)
            elif site.op == "FusedConv" and position == 3:  # added to the result
                inputs += site.read(position, map(AxisMap, range(rank)), at_end=True)
            else:  # scales and zero points of the data and of the result
                inputs += site.whole(position)
        return Reach(tuple(axes), inputs, reduction)

    return rule


def pool(site: Site) -> Reach | None:
    """A pool over [N, C, *S], or [N, *S, C] with `channels_last`."""
    data, out = site.shape(0), site.result
    kernel = site.attributes.get("kernel_shape")
    if data is None or out is None or not kernel or len(out) != len(data):
        return None
    rank = len(data)
    last = bool(site.number("channels_last")) or site.op == "NhwcMaxPool"
    spatial = 1 if last else 2
    if len(kernel) != rank - 2:
        return None
    sides = _spatial(site, data, out, tuple(int(k) for k in kernel), spatial)
    if sides is None:
        return None
    channels = rank - 1 if last else 1
    maps: list[AxisMap | None] = [AxisMap(0)] * rank
    maps[channels] = AxisMap(channels)
    maps[spatial : spatial + rank - 2] = sides
    inputs = (*site.read(0, maps), *site.rest_whole(1))
    return Reach(labelled(rank, "elements"), inputs)


def global_pool(site: Site) -> Reach | None:
    """A pool over all of every image and channel; rows of an average are partial sums."""
    data, out = site.shape(0), site.result
    if data is None or out is None or len(out) != len(data) or len(data) < 2:
        return None
    rank = len(data)
    channels = rank - 1 if site.number("channels_last") else 1
    maps = [AxisMap(axis) if axis in (0, channels) else None for axis in range(rank)]
    whole = [axis for axis in range(rank) if axis not in (0, channels)]
    summed = summed_axis(data, whole) if site.op == "GlobalAveragePool" else None
    if summed is not None:
        maps[summed] = AxisMap(REDUCTION)
    inputs = (*site.read(0, maps), *site.rest_whole(1))
    length = 0 if summed is None else data[summed]
    return Reach(labelled(rank, "elements", whole), inputs, length)


def region_pool(site: Site) -> Reach | None:
    """RoiAlign and MaxRoiPool: regions [R, 4 or 5] of images [N, C, H, W] give [R, C, h, w]."""
    out, rois = site.result, site.shape(1)
    if out is None or rois is None or len(out) != 4 or len(rois) != 2 or not site.has(0):
        return None
    inputs = (
        *site.read(0, (None, AxisMap(1), None, None)),
        *site.read(1, (AxisMap(0), None)),
        *site.parameter(2, 0, out[0]),
    )
    return Reach(labelled(4, "elements", (2, 3)), inputs)


def transposed(site: Site) -> Reach | None:
    """ConvTranspose of [N, C, *S] with a kernel [C, M/group, *K].

    Input row i adds tap k to output row i * stride - pad + k * dilation: an output row needs the
    input rows that some tap brings there, and none of them where the stride leaves gaps.
    """
    data, weight, out = site.shape(0), site.shape(1), site.result
    if data is None or weight is None or out is None or len(weight) < 3:
        return None
    rank = len(weight)
    if len(data) != rank or len(out) != rank:
        return None
    group = max(1, site.number("group", 1))
    strides = _lengths(site, "strides", rank - 2, 1)
    dilations = _lengths(site, "dilations", rank - 2, 1)
    if strides is None or dilations is None:
        return None
    pads = _transposed_pads(site, data[2:], out[2:], weight[2:], strides, dilations)
    if pads is None:
        return None
    maps: list[AxisMap | None] = [AxisMap(0), AxisMap(REDUCTION)]
    if group > 1:
        maps[1] = AxisMap(1, divisor=weight[1], unit=data[1] // group)
    for side in range(rank - 2):
        maps.append(
            _feeding(
                2 + side,
                out[2 + side],
                data[2 + side],
                weight[2 + side],
                strides[side],
                dilations[side],
                pads[side],
            )
        )
    rest = [None] * (rank - 2)
    # The kernel's rows are the input's channels, its columns the output's within a group.
    if group == 1:
        taps: Maps = (AxisMap(REDUCTION), AxisMap(1), *rest)
    else:
        taps = (AxisMap(1, divisor=weight[1], unit=weight[0] // group), None, *rest)
    axes: list[WorkDimension] = ["m"] * rank
    axes[1] = "n" if group == 1 else "count"
    inputs = (
        *site.read(0, maps),
        *site.read(1, taps),
        *site.parameter(2, 1, out[1], at_end=True),
    )
    return Reach(tuple(axes), inputs, data[1] if group == 1 else 0)


def _feeding(
    axis: int, out: int, size: int, taps: int, stride: int, dilation: int, pad: int
) -> AxisMap | None:
    """Map of a spatial axis of a ConvTranspose; arguments as for `site.window_map`."""
    before = pad - (taps - 1) * dilation
    if dilation == 1:  # a run of places, of which every stride-th is an input row
        return AxisMap(axis, divisor=stride, first=before + stride - 1, last=pad)

    def rows(row: int) -> Interval:
        places = range(row + before, row + pad + 1, dilation)
        feeding = [p // stride for p in places if p % stride == 0 and 0 <= p // stride < size]
        return (feeding[0], feeding[-1] + 1) if feeding else (0, 0)

    return table_map(axis, out, rows)


def _spatial(
    site: Site,
    data: tuple[int, ...],
    out: tuple[int, ...],
    kernel: tuple[int, ...],
    first: int,
) -> list[AxisMap] | None:
    """Maps of the spatial axes, which begin at axis `first`; None for malformed attributes."""
    sides = len(kernel)
    strides = _lengths(site, "strides", sides, 1)
    dilations = _lengths(site, "dilations", sides, 1)
    if strides is None or dilations is None:
        return None
    how = site.text("auto_pad", "NOTSET")
    pads = _lengths(site, "pads", 2 * sides, 0) if how == "NOTSET" else [0] * (2 * sides)
    if pads is None:
        return None
    maps = []
    for side in range(sides):
        size, length = data[first + side], out[first + side]
        pad = pads[side]
        if how in ("SAME_UPPER", "SAME_LOWER"):
            reach = (kernel[side] - 1) * dilations[side] + 1
            total = max(0, (length - 1) * strides[side] + reach - size)
            pad = total // 2 if how == "SAME_UPPER" else total - total // 2
        maps.append(
            window_map(
                first + side, length, size, kernel[side], strides[side], dilations[side], pad
            )
        )
    return maps


def _transposed_pads(
    site: Site,
    data: tuple[int, ...],
    out: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: list[int],
    dilations: list[int],
) -> list[int] | None:
    """Padding before each spatial axis of a ConvTranspose; None for malformed attributes.

    With `output_shape` or SAME padding it follows from the lengths: what they leave over is cut
    off, the larger half in front for SAME_LOWER and explicit lengths, at the end for SAME_UPPER.
    """
    sides = len(kernel)
    how = site.text("auto_pad", "NOTSET")
    extra = _lengths(site, "output_padding", sides, 0)
    if extra is None:
        return None
    if how == "VALID":
        return [0] * sides
    if how == "NOTSET" and not site.attributes.get("output_shape"):
        given = _lengths(site, "pads", 2 * sides, 0)
        return None if given is None else given[:sides]
    pads = []
    for side in range(sides):
        full = (
            strides[side] * (data[side] - 1)
            + extra[side]
            + (kernel[side] - 1) * dilations[side]
            + 1
        )
        total = max(0, full - out[side])
        pads.append(total // 2 if how == "SAME_UPPER" else total - total // 2)
    return pads


def _lengths(site: Site, name: str, count: int, default: int) -> list[int] | None:
    """An attribute with so many integers, defaults where it is absent; None for another number."""
    given = site.attributes.get(name)
    if not given:
        return [default] * count
    return [int(v) for v in given] if len(given) == count else None
