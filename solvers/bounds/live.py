"""Elements that reach an output of the graph: no schedule has to make any others.

From the outputs back, operator by operator, each value has a set of indices for each of its axes;
their product is alive. Where two readers need sets whose union is no product, the larger one is
taken: what is called alive is, and a little more may be.

An operand of which nothing is certain counts with its reach: a schedule is fixed before the data
are there, so that it must make whatever they might ask for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.ir.reach import InputReach
from ullage.solvers.bounds.network import Load, Network, Node, Result
from ullage.solvers.bounds.operands import Axis, Box, Lengths, Operand, View, axes_of
from ullage.solvers.bounds.runs import ANYWHERE, anywhere

# One array for each axis: which indices are alive.
Masks = tuple[NDArray[np.bool_], ...]
# Elements of the largest view that is looked at element by element.
MOST_ELEMENTS = 1 << 24


@dataclass(frozen=True)
class Live:
    """What is alive.

    Attributes:
        work: (operators,) share of each operator's result that is alive.
        loads: by operator, in the order of its first result's loads, bytes that it must read.
        masks: by value which indices of each axis are alive; values that are dead are left out.
    """

    work: tuple[float, ...]
    loads: tuple[tuple[float, ...], ...]
    masks: Mapping[int, Masks]

    @cached_property
    def full(self) -> frozenset[int]:
        """Values of which all is alive."""
        return frozenset(n for n, masks in self.masks.items() if all(m.all() for m in masks))

    def of(self, value: int, box: Box) -> Box | None:
        """What of a box is alive for sure; None for nothing.

        Indices that are alive must stand side by side along each axis.
        """
        if value in self.full:
            return box
        masks = self.masks.get(value)
        if masks is None:
            return None
        found = []
        for run, mask in zip(box, masks, strict=True):
            (alive,) = np.nonzero(mask)
            first, end = int(alive[0]), int(alive[-1]) + 1
            if end - first != len(alive):
                return None
            if len(alive) == len(mask):
                found.append(run)
            elif run.source == ANYWHERE:
                found.append(anywhere(max(0, run.length - (len(mask) - len(alive)))))
            else:
                found.append(run.inside(first, end))
        return tuple(found) if all(run.length for run in found) else None


def live_of(network: Network) -> Live:
    """What of the operators' results reaches an output, and what they read for it."""
    masks: dict[int, Masks] = {}
    for number, value in enumerate(network.values):
        if network.is_output[number]:
            masks[number] = _everything(value.shape)
    work = [0.0] * len(network.nodes)
    loads: list[tuple[float, ...]] = [()] * len(network.nodes)
    for index in range(len(network.nodes) - 1, -1, -1):
        node = network.nodes[index]
        made = [(result, masks[result.value]) for result in node.results if result.value in masks]
        if made:  # of several results the one of which least is alive stands for all
            work[index] = min(
                _share(masks[r.value]) if r.value in masks else 0.0 for r in node.results
            )
        for load_of, found in made:
            if load_of is node.results[0]:
                loads[index] = tuple(_read(network, load, found) for load in load_of.loads)
        for result, found in made:
            for number, used in _used(network, node, result, found):
                before = masks.get(number)
                masks[number] = used if before is None else _union(before, used)
    alive = {n: found for n, found in masks.items() if all(mask.any() for mask in found)}
    return Live(tuple(work), tuple(loads), alive)


def _everything(shape: Lengths) -> Masks:
    return tuple(np.ones(size, bool) for size in shape)


def _share(masks: Masks) -> float:
    return prod((float(mask.mean()) for mask in masks if len(mask)), start=1.0)


def _read(network: Network, load: Load, found: Masks) -> float:
    """Bytes that an operator reads of a weight or input for some elements of its result."""
    if load.axes is None:
        return float(load.bytes) if _share(found) else 0.0
    share = _share(_behind(load.axes, found))
    return min(float(load.bytes), share * network.values[load.value].size_bytes)


def _behind(axes: tuple[Axis, ...], found: Masks) -> Masks:
    """The indices of an operand that indices of the result use."""
    used = []
    for axis in axes:
        mask = np.ones(axis.size, bool)
        if axis.relation is not None and not (axis.relation.is_plain and found[axis.output].all()):
            rows = found[axis.output]
            marks = np.zeros(axis.size + 1, np.int64)
            np.add.at(marks, axis.relation.low[rows], 1)
            np.add.at(marks, axis.relation.high[rows], -1)
            mask = marks.cumsum()[:-1] > 0
        used.append(mask)
    return tuple(used)


def _used(
    network: Network, node: Node, result: Result, found: Masks
) -> Iterator[tuple[int, Masks]]:
    """Values of other operators with what is alive of them because of a result."""
    certain: set[int] = set()
    for operand in result.operands:
        certain.add(operand.value)
        yield operand.value, _through(operand, found)
    reach = node.operator.reach
    entries: dict[int, list[InputReach]] = {}
    for entry in reach.inputs if reach is not None and result is node.results[0] else ():
        entries.setdefault(network.numbers[entry.name], []).append(entry)
    for number in set(node.reads) - certain:
        shape = network.values[number].shape
        if number not in entries or 0 in shape:
            yield number, _everything(shape)
            continue
        for entry in entries[number]:
            axes = axes_of(entry.axes, entry.axes, shape, network.values[result.value].shape)
            yield number, _behind(axes, found)


def _through(operand: Operand | View, found: Masks) -> Masks:
    if isinstance(operand, Operand):
        return _behind(operand.axes, found)
    if all(mask.all() for mask in found):
        return _everything(operand.before)
    if prod(operand.before) > MOST_ELEMENTS:
        return tuple(np.zeros(size, bool) for size in operand.before)
    alive = np.ones((), bool)
    for mask in found:
        alive = np.logical_and.outer(alive, mask)
    return _product_inside(alive.reshape(operand.before))


def _product_inside(alive: NDArray[np.bool_]) -> Masks:
    """A product of index sets all of whose elements are alive, as large as comes easily."""
    masks = _hull(alive)
    for axis in range(alive.ndim):
        if alive[np.ix_(*masks)].all():
            break
        others = [np.ones(1, bool) if a == axis else mask for a, mask in enumerate(masks)]
        rows = [
            bool(mask) and bool(alive.take([i], axis)[np.ix_(*others)].all())
            for i, mask in enumerate(masks[axis].tolist())
        ]
        if any(rows):
            masks = (*masks[:axis], np.array(rows), *masks[axis + 1 :])
    if not alive[np.ix_(*masks)].all():
        return tuple(np.zeros(size, bool) for size in alive.shape)
    return masks


def _hull(alive: NDArray[np.bool_]) -> Masks:
    axes = range(alive.ndim)
    return tuple(
        np.asarray(alive.any(axis=tuple(a for a in axes if a != axis)), dtype=np.bool_)
        for axis in axes
    )


def _union(one: Masks, other: Masks) -> Masks:
    """The union of two products where it is one, else the larger of them."""
    differing = [a for a, (x, y) in enumerate(zip(one, other, strict=True)) if (x != y).any()]
    if len(differing) <= 1:
        return tuple(x | y for x, y in zip(one, other, strict=True))
    if all((x <= y).all() for x, y in zip(one, other, strict=True)):
        return other
    if all((y <= x).all() for x, y in zip(one, other, strict=True)):
        return one
    return max(one, other, key=_share)
