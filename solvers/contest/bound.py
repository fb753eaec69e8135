"""Lower bounds of the cost of any solution: all computing, or all transfers that must be.

A tile belongs to outputs that leave a subgraph, and each operator of it works for each tile. An
operator's result stays inside, if it does, because operators behind it read it there; so the
outputs whose tiles are counted are its own or those of operators behind it. The smallest of these
bounds from below what it computes, and what it loads of the graph's inputs. Outputs of the graph
are stored once.
"""

import math
from typing import NamedTuple

from ullage.compiler.contest.instance import Instance


class Bound(NamedTuple):
    """A lower bound of the cost of any solution.

    Attributes:
        cost: in the contest's unit of time.
        source: `compute` or `traffic`.
    """

    cost: float
    source: str


class _Least(NamedTuple):
    """The smallest of outputs that an operator may work for."""

    tiles: int
    height: int
    width: int
    area: int


def lower_bound(instance: Instance) -> Bound:
    """The larger of both bounds; it holds under either reading.

    Args:
        instance: the instance.
    """
    least = _least_outputs(instance)
    compute = sum(_work(instance, least))
    moved = 0
    for tensor, readers in enumerate(instance.readers):
        if instance.producer[tensor] < 0 and readers:
            moved += min(_least_load(instance, tensor, reader, least[reader]) for reader in readers)
        if instance.producer[tensor] >= 0 and not readers:
            moved += instance.widths[tensor] * instance.heights[tensor]
    traffic = moved / instance.bandwidth
    return Bound(compute, "compute") if compute >= traffic else Bound(traffic, "traffic")


def least_work(instance: Instance) -> tuple[float, ...]:
    """For each operator the least time that it computes, whenever it runs.

    Args:
        instance: the instance.
    """
    return _work(instance, _least_outputs(instance))


def _work(instance: Instance, least: list[_Least]) -> tuple[float, ...]:
    costs = zip(instance.base_costs, least, strict=True)
    return tuple(cost * small.tiles for cost, small in costs)


def _least_outputs(instance: Instance) -> list[_Least]:
    found: list[_Least | None] = [None] * len(instance.inputs)
    for operator in reversed(instance.order):
        options = []
        for tensor in instance.outputs[operator]:
            width, height = instance.widths[tensor], instance.heights[tensor]
            tiles = math.ceil(width / instance.native_width)
            tiles *= math.ceil(height / instance.native_height)
            options.append(_Least(tiles, height, width, width * height))
            options += [small for r in instance.readers[tensor] if (small := found[r]) is not None]
        found[operator] = _Least(*map(min, zip(*options, strict=True)))
    return [small for small in found if small is not None]


def _least_load(instance: Instance, tensor: int, reader: int, least: _Least) -> int:
    """Fewest elements of a graph input that an operator loads."""
    size = instance.widths[tensor] * instance.heights[tensor]
    if not instance.is_matmul[reader]:
        return min(size, least.area)
    depth, loads = instance.depth(reader), [size]
    for side, read in enumerate(instance.inputs[reader]):
        if read == tensor:
            loads.append(depth * (least.width if side else least.height))
    return min(loads)
