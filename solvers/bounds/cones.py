"""Cones: what must follow one element of a value, and what must have gone before it.

A cone holds for every element of the value alike: at the border of an image, where the least
follows, as in its middle. Where several ways lead to a value, the boxes on
each are kept side by side; work and bytes are those of the box for which they are most.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.solvers.bounds.live import Live
from ullage.solvers.bounds.network import Load, Network, Result
from ullage.solvers.bounds.operands import WHOLE, Axis, Box, Lengths, Operand, View
from ullage.solvers.bounds.runs import placed, whole_run

# Boxes that are kept of one value.
MOST_BOXES = 16


@dataclass(frozen=True)
class Cone:
    """Work that must be done behind (or before) an event, over N operators, L loads, V values.

    Attributes:
        work: (N,) share of each operator.
        loads: (L,) bytes of each load, numbered through all operators (`Layout.first_load`).
        outputs: (V,) bytes of each value that is a result of the graph, and is made later than the
            element.
        boxes: by value, boxes that belong to the cone for sure.
    """

    work: Floats
    loads: Floats
    outputs: Floats
    boxes: Mapping[int, tuple[Box, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """Where the loads of each operator stand among all of them.

    Attributes:
        first_load: (operators,) number of the first load of each.
        values: (loads,) the value that each reads.
        nodes: (loads,) the operator that each belongs to.
    """

    first_load: tuple[int, ...]
    values: tuple[int, ...]
    nodes: tuple[int, ...]


def layout_of(network: Network) -> Layout:
    """Numbers of all loads."""
    first: list[int] = []
    values: list[int] = []
    nodes: list[int] = []
    for index, node in enumerate(network.nodes):
        first.append(len(values))
        for load in node.results[0].loads if node.results else ():
            values.append(load.value)
            nodes.append(index)
    return Layout(tuple(first), tuple(values), tuple(nodes))


@dataclass(frozen=True)
class Met:
    """What of an operator's result follows for sure, and what that takes.

    Attributes:
        boxes: of the result.
        shares: of its work: multiplications by elements of the cone, and all that is done for
            elements of those boxes where each is finished in one step.
        amounts: bytes of its loads, for either.
    """

    boxes: tuple[Box, ...]
    shares: tuple[float, float]
    amounts: tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Following:
    """Cones of what must follow.

    Attributes:
        network: the graph.
        layout: of its loads.
        live: what of it reaches an output; nothing else is in a cone.
        memo: what was found before, by result and boxes of its operands.
    """

    network: Network
    layout: Layout
    live: Live
    memo: dict[tuple[object, ...], Met | None] = field(default_factory=dict, repr=False)

    def of(self, value: int) -> tuple[Cone, Cone] | None:
        """What uses an element of a value, or an element that does, and so on.

        Returns:
            Two cones: of an element that follows only its multiplications by elements of the cone;
            of an element of a product all of its work, as it is finished in one step. None for a
            value of which nothing is alive.
        """
        network, layout = self.network, self.layout
        element = self._elements(value)
        if element is None:
            return None
        boxes: dict[int, tuple[Box, ...]] = {value: (element,)}
        work = np.zeros((2, len(network.nodes)))
        loads = np.zeros((2, len(layout.values)))
        waiting = set(network.readers[value])
        instant = {value}  # made with the element, by no work
        for index in range(network.maker[value] + 1, len(network.nodes)):
            if index not in waiting:
                continue
            node = network.nodes[index]
            if node.is_free and instant.intersection(node.reads):
                instant.update(result.value for result in node.results)
            for result in node.results:
                met = self._met(result, boxes, is_product=node.is_product)
                if met is None:
                    continue
                boxes[result.value] = met.boxes
                waiting.update(network.readers[result.value])
                if result is node.results[0]:
                    work[:, index] = met.shares
                    first = layout.first_load[index]
                    loads[:, first : first + len(result.loads)] = met.amounts
        later = {number: kept for number, kept in boxes.items() if number not in instant}
        outputs = _outputs(network, later)
        del boxes[value]
        return Cone(work[0], loads[0], outputs, boxes), Cone(work[1], loads[1], outputs, boxes)

    def _elements(self, value: int) -> Box | None:
        """The elements of a value that are alive, one by one; None where none is."""
        masks = self.live.masks.get(value)
        if masks is None:
            return None
        found = []
        for axis, mask in enumerate(masks):
            (alive,) = np.nonzero(mask)
            found.append(whole_run(1) if len(mask) == 1 else placed(axis, alive, alive + 1))
        return tuple(found)

    def _met(
        self, result: Result, boxes: Mapping[int, tuple[Box, ...]], *, is_product: bool
    ) -> Met | None:
        """What of a result follows boxes of its operands."""
        key = (result.value, *(boxes.get(operand.value) for operand in result.operands))
        if key not in self.memo:
            self.memo[key] = self._follow(result, boxes, is_product=is_product)
        return self.memo[key]

    def _follow(
        self, result: Result, boxes: Mapping[int, tuple[Box, ...]], *, is_product: bool
    ) -> Met | None:
        found: list[Box] = []
        shares = [0.0, 0.0]
        amounts = np.zeros((2, len(result.loads)))
        size = max(1, prod(self.network.values[result.value].shape))
        for operand in result.operands:
            for box in boxes.get(operand.value, ()):
                reached, part = operand.following(box)
                touched = None if reached is None else self.live.of(result.value, reached)
                if touched is None:
                    continue
                found.append(touched)
                use = Use(operand, box, touched, all_alive=touched == reached)
                if not use.all_alive:
                    part = elements_of(touched) / size * operand.least_share(box)
                shares[0] = max(shares[0], part)
                finished = elements_of(touched) / size if is_product else part
                shares[1] = max(shares[1], finished)
                for place, load in enumerate(result.loads):
                    for way in range(2):
                        amount = use.loaded(self.network, load, finished=way == 1 and is_product)
                        amounts[way, place] = max(amounts[way, place], amount)
        if not found:
            return None
        if result.joined is not None:
            found += _joined(self.network, self.live, result, result.joined, boxes)
        first, second = (tuple(row) for row in amounts.tolist())
        return Met(_largest(found), (shares[0], shares[1]), (first, second))


def elements_of(box: Box) -> int:
    """Least number of elements of a box."""
    return prod(run.length for run in box)


def _largest(boxes: Iterable[Box]) -> tuple[Box, ...]:
    """The largest boxes, none of which is shorter along each axis than another."""
    kept: list[Box] = []
    for box in sorted(boxes, key=elements_of, reverse=True):
        if not any(_no_longer(box, other) for other in kept):
            kept.append(box)
            if len(kept) == MOST_BOXES:
                break
    return tuple(kept)


def _no_longer(box: Box, other: Box) -> bool:
    return all(a.length <= b.length for a, b in zip(box, other, strict=True))


def _joined(
    network: Network,
    live: Live,
    result: Result,
    axis: int,
    boxes: Mapping[int, tuple[Box, ...]],
) -> list[Box]:
    """Boxes in a Concat's result, of operands side by side that are touched in full along an axis.

    Args:
        network: the graph.
        live: what of it reaches an output.
        result: the result.
        axis: along which its operands stand.
        boxes: by value what belongs to the cone.
    """
    pieces: list[tuple[int, int, Box]] = []
    for operand in result.operands:
        along = operand.serving(axis) if isinstance(operand, Operand) else None
        for box in boxes.get(operand.value, ()) if along is not None else ():
            touched = operand.following(box)[0]
            if touched is None or along is None:
                continue
            if touched[axis].length == along[1] - along[0]:
                pieces.append((*along, touched))
                break
    pieces.sort(key=lambda piece: piece[0])
    shape = network.values[result.value].shape
    found = []
    for first, (start, _, box) in enumerate(pieces):
        common: Box | None = box
        for before, (begin, end, piece) in pairwise(pieces[first:]):
            if begin != before[1] or common is None:
                break
            common = _common(common, piece, shape, axis)
            if common is None:
                break
            run = whole_run(end - start).shifted(start)
            wider = live.of(result.value, (*common[:axis], run, *common[axis + 1 :]))
            if wider is not None:
                found.append(wider)
    return found


def _common(one: Box, other: Box, shape: Lengths, axis: int) -> Box | None:
    """What two boxes have in common along all axes but one; None where that is not known."""
    found = []
    for place, (a, b, size) in enumerate(zip(one, other, shape, strict=True)):
        run = a if place == axis else a.meeting(b, size)
        if run is None or not run.length:
            return None
        found.append(run)
    return tuple(found)


def loaded(network: Network, load: Load, lengths: Lengths) -> float:
    """Bytes of a load that all the work for a box of the result uses, wherever it lies."""
    if load.axes is None:
        return 0.0
    share = 1.0
    for axis in load.axes:
        if axis.relation is not None:
            share *= axis.relation.used_in_all(lengths[axis.output]) / axis.size
    return min(float(load.bytes), share * network.values[load.value].size_bytes)


@dataclass(frozen=True)
class Use:
    """A box of an operand and what of the result uses it.

    Attributes:
        operand: the operand.
        box: of it.
        touched: of the result.
        all_alive: that box of the result is all that uses the other one, nothing of it is dead.
    """

    operand: Operand | View
    box: Box
    touched: Box
    all_alive: bool

    def loaded(self, network: Network, load: Load, *, finished: bool) -> float:
        """Bytes of a load that are used for the box of the result, or with that of the operand.

        Args:
            network: the graph.
            load: the load.
            finished: all that the elements of the result use; else what meets the operand's box.
        """
        finished = finished or load.at_end
        if load.axes is None or (self.operand.at_end and not finished):
            return 0.0
        share = 1.0
        for axis in load.axes:
            count = self._used(axis) if finished else self._met(axis)
            share *= min(count, axis.size) / axis.size
        return min(float(load.bytes), share * network.values[load.value].size_bytes)

    def _used(self, axis: Axis) -> int:
        """Indices of a load's axis that the elements of the result use."""
        if axis.relation is None:
            return axis.size
        count = axis.relation.used_in_all(self.touched[axis.output].length)
        behind = self.operand.run_behind(axis.output, self.box)
        if self.all_alive and behind is not None and behind[0].relation is not None:
            taps = behind[1].taps(behind[0].relation, axis.relation, of_results=True)
            count = max(count, taps)
        return count

    def _met(self, axis: Axis) -> int:
        """Indices of a load's axis that are used together with the box of the operand."""
        if axis.output == WHOLE:
            return axis.size if self.operand.finishes(self.box) else 1
        behind = self.operand.run_behind(axis.output, self.box)
        if axis.relation is None:
            return 1 if behind is None else behind[1].length
        count = axis.relation.used_in_all(self.touched[axis.output].length)
        if behind is None or behind[0].relation is None:
            return count
        if max(behind[0].most, axis.relation.window) == 1:
            return count
        if not self.all_alive:
            return min(count, 1)
        return min(count, behind[1].taps(behind[0].relation, axis.relation, of_results=False))


@dataclass(frozen=True)
class Made:
    """What a box of an operator's result is made of for sure.

    Attributes:
        share: of the operator's work.
        amounts: bytes of its loads.
        operands: (value, box) pairs of what it uses.
    """

    share: float
    amounts: tuple[float, ...]
    operands: tuple[tuple[int, Lengths], ...]


@dataclass(frozen=True)
class Preceding:
    """Cones of what must have gone before.

    Attributes:
        network: the graph.
        layout: of its loads.
        memo: what was found before, by value and box.
    """

    network: Network
    layout: Layout
    memo: dict[tuple[int, Lengths], Made] = field(default_factory=dict, repr=False)

    def of(self, value: int) -> Cone:
        """What an element of a value is made of, it included, and what that is made of.

        Of a value that is used in several ways the largest box counts.
        """
        network, layout = self.network, self.layout
        boxes = {value: (1,) * len(network.values[value].shape)}
        work = np.zeros(len(network.nodes))
        loads = np.zeros(len(layout.values))
        for index in range(network.maker[value], -1, -1):
            node = network.nodes[index]
            for result in node.results:
                box = boxes.get(result.value)
                if box is None:
                    continue
                made = self._made(result, box)
                if result is node.results[0]:
                    work[index] = made.share
                    first = layout.first_load[index]
                    loads[first : first + len(made.amounts)] = made.amounts
                for operand, needed in made.operands:
                    known = boxes.get(operand)
                    if known is None or prod(needed) > prod(known):
                        boxes[operand] = needed
        return Cone(work, loads, np.zeros(len(network.values)))

    def _made(self, result: Result, box: Lengths) -> Made:
        key = result.value, box
        if key not in self.memo:
            size = max(1, prod(self.network.values[result.value].shape))
            needed = [(operand.value, operand.preceding(box)) for operand in result.operands]
            self.memo[key] = Made(
                prod(box) / size,
                tuple(loaded(self.network, load, box) for load in result.loads),
                tuple((value, lengths) for value, lengths in needed if lengths is not None),
            )
        return self.memo[key]


def _outputs(network: Network, boxes: Mapping[int, tuple[Box, ...]]) -> Floats:
    """Bytes of the boxes that are results of the graph."""
    found = np.zeros(len(network.values))
    for number, kept in boxes.items():
        if network.is_output[number]:
            value = network.values[number]
            size = max(1, prod(value.shape))
            found[number] = value.size_bytes * max(map(elements_of, kept)) / size
    return found
