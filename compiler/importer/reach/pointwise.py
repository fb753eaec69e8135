"""Reach of operators that work element by element."""

from ullage.compiler.importer.reach.site import Reads, Rule, Site, broadcast, identity, labelled
from ullage.compiler.ir.reach import AxisMap, Reach


def elementwise(data: tuple[int, ...] | None = None) -> Rule:
    """The rule of operators whose operands are broadcast to the result.

    Args:
        data: positions of these operands, None for all; the others are parameters, read whole.
    """

    def rule(site: Site) -> Reach | None:
        out = site.result
        if out is None:
            return None
        inputs: Reads = ()
        for position in range(len(site.inputs)):
            shape = site.shape(position)
            if shape is None:
                continue
            if data is not None and position not in data:
                inputs += site.whole(position)
            elif not _follows_numpy(site, shape, out):
                return None
            else:
                inputs += site.read(position, broadcast(shape, out))
        return Reach(labelled(len(out), "elements"), inputs)

    return rule


def _follows_numpy(site: Site, shape: tuple[int, ...], out: tuple[int, ...]) -> bool:
    """Whether an operand is broadcast as numpy does it; operator set 1 has an axis of its own."""
    if site.version < 7 and ("axis" in site.attributes or site.number("broadcast")):
        return shape == out
    if len(shape) > len(out):
        return False
    pairs = zip(reversed(shape), reversed(out), strict=False)
    return all(mine in (1, length) for mine, length in pairs)


def per_channel(site: Site) -> Reach | None:
    """BatchNormalization: statistics with an element per channel, axis 1."""
    shape, out = site.shape(0), site.result
    if shape is None or out is None or len(shape) != len(out):
        return None
    axis = min(1, len(out) - 1)
    inputs = site.read(0, identity(len(out)))
    for position in range(1, len(site.inputs)):
        inputs += site.parameter(position, axis, out[axis] if out else 1)
    return Reach(labelled(len(out), "elements"), inputs)


def parametric(site: Site) -> Reach | None:
    """PRelu: the slope is broadcast in one direction, trailing-aligned since operator set 7."""
    shape, slope, out = site.shape(0), site.shape(1), site.result
    if shape is None or slope is None or out is None:
        return None
    if site.version < 7:  # one slope, or one per channel
        inputs = (
            *site.read(0, identity(len(out))),
            *site.parameter(1, 1, out[min(1, len(out) - 1)]),
        )
        return Reach(labelled(len(out), "elements"), inputs) if len(out) > 1 else None
    return elementwise()(site)


def quantization(site: Site) -> Reach | None:
    """QuantizeLinear and DequantizeLinear, with one scale, one per index of an axis, or blocks."""
    shape, scale, out = site.shape(0), site.shape(1), site.result
    if shape is None or scale is None or out is None or shape != out:
        return None
    rank = len(out)
    inputs = site.read(0, identity(rank))
    axis = site.number("axis", 1)
    block = site.number("block_size")
    for position in range(1, len(site.inputs)):
        parameter = site.shape(position)
        if parameter is None:
            continue
        if block and len(parameter) == rank and -rank <= axis < rank:
            maps = [AxisMap(a) for a in range(rank)]
            maps[axis % rank] = AxisMap(axis % rank, divisor=block)
            inputs += site.read(position, maps)
        elif len(parameter) == 1 and -rank <= axis < rank:
            inputs += site.parameter(position, axis % rank, out[axis % rank])
        else:
            inputs += site.whole(position)
    return Reach(labelled(rank, "elements"), inputs)
