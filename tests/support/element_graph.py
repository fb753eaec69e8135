"""A graph element by element: which elements of operands each element of a result uses.

The plain twin of `solvers.bounds`: sets of elements in place of runs along axes.
"""

from dataclasses import dataclass, field
from itertools import product
from math import prod

import numpy as np

from ullage.compiler.ir.graph import Graph, Operator
from ullage.compiler.ir.reach import REDUCTION, AxisMap

# A value and the place of one of its elements, counted through.
Element = tuple[str, int]


@dataclass
class ElementGraph:
    """What each element uses.

    Attributes:
        graph: the graph.
        uses: for each element of a result the elements that it uses for sure, weights included.
        users: the other way round.
        maker: the operator of each result.
    """

    graph: Graph
    uses: dict[Element, set[Element]] = field(default_factory=dict)
    users: dict[Element, set[Element]] = field(default_factory=dict)
    maker: dict[str, Operator] = field(default_factory=dict)

    def alive(self) -> set[Element]:
        """Elements of results that outputs are made of."""
        found = {
            (name, at)
            for name in self.graph.outputs
            for at in range(prod(self.graph.values[name].shape))
        }
        waiting = list(found)
        while waiting:
            for used in self.uses.get(waiting.pop(), ()):
                if used not in found and used[0] in self.maker:
                    found.add(used)
                    waiting.append(used)
        return found

    def following(self, element: Element, within: set[Element]) -> set[Element]:
        """Elements that use one, or use one that does."""
        found: set[Element] = set()
        waiting = [element]
        while waiting:
            for user in self.users.get(waiting.pop(), ()):
                if user not in found and user in within:
                    found.add(user)
                    waiting.append(user)
        return found

    def preceding(self, element: Element) -> set[Element]:
        """An element, what it uses, and so on; weights and inputs included."""
        found, waiting = {element}, [element]
        while waiting:
            for used in self.uses.get(waiting.pop(), ()):
                if used not in found:
                    found.add(used)
                    waiting.append(used)
        return found


def element_graph(graph: Graph) -> ElementGraph:
    """The elements of a graph, and what is certain of them."""
    elements = ElementGraph(graph)
    for operator in graph.operators:
        for place, name in enumerate(operator.outputs):
            elements.maker[name] = operator
            for at, used in enumerate(_used(graph, operator, place)):
                elements.uses[name, at] = used
                for element in used:
                    elements.users.setdefault(element, set()).add((name, at))
    return elements


def _used(graph: Graph, operator: Operator, place: int) -> list[set[Element]]:
    shape = graph.values[operator.outputs[place]].shape
    source = operator.inputs[0]
    if any(s.kind == "view" and s.output == operator.outputs[place] for s in operator.sharings):
        return [{(source, at)} for at in range(prod(shape))]
    if operator.kind == "Split":
        whole = graph.values[source].shape
        axis = next((a for a in range(len(shape)) if whole[a] != shape[a]), 0)
        lengths = [graph.values[name].shape[axis] for name in operator.outputs]
        numbers = np.arange(prod(whole)).reshape(whole)
        part = np.split(numbers, np.cumsum(lengths)[:-1], axis)[place]
        return [{(source, int(at))} for at in part.reshape(-1)]
    if place or operator.reach is None:
        return [set() for _ in range(prod(shape))]
    return [_of_one(graph, operator, index) for index in product(*map(range, shape))]


def _of_one(graph: Graph, operator: Operator, index: tuple[int, ...]) -> set[Element]:
    assert operator.reach is not None
    found: set[Element] = set()
    for entry in operator.reach.inputs:
        if entry.certain is None:
            continue
        shape = graph.values[entry.name].shape
        ranges = [
            range(size) if m is None or m.axis == REDUCTION else range(*_row(m, index, size))
            for m, size in zip(entry.certain, shape, strict=True)
        ]
        for place in product(*ranges):
            at = int(np.ravel_multi_index(place, shape)) if shape else 0
            found.add((entry.name, at))
    return found


def _row(axis_map: AxisMap, index: tuple[int, ...], size: int) -> tuple[int, int]:
    at = index[axis_map.axis]
    return axis_map.interval(at, at + 1, size)
