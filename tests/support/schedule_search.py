"""The fastest schedule of a tiny network, among all: any order, any parts, spills, recomputation.

The rules are those of docs/bounds.md and no stricter: a step does some of one operator's work,
bytes move one by one, fast memory holds so many elements at the end of each step, partial sums are
free. Each element is a byte, and a byte takes the same time either way.

A state is what is in fast memory, which results are in slow memory, and which terms of each
unfinished sum are done. Dijkstra's algorithm finds the shortest way to all outputs in slow memory.
More bytes than a step's work hides never need to move in it: steps without work do that as well.
"""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, combinations

from tests.support.element_graph import Element, element_graph
from ullage.compiler.ir.graph import Graph

# Elements in fast memory, results in slow memory, terms done; each a set of bits.
State = tuple[int, int, int]


@dataclass(frozen=True)
class _Unit:
    """A term of the sum that makes an element; where sums are not divided, all of them.

    Attributes:
        operator: its operator.
        made: bit of the element.
        terms: bits of the terms that it does.
        all_terms: bits of all terms of that element.
        uses: bits of the elements that it reads.
    """

    operator: str
    made: int
    terms: int
    all_terms: int
    uses: int


class ScheduleSearch:
    """A tiny network, ready to be searched."""

    def __init__(
        self, graph: Graph, times: Mapping[str, int], byte_time: int, *, divided: bool
    ) -> None:
        """Prepare a network.

        Args:
            graph: the network.
            times: by operator the time of all of its work.
            byte_time: time in which a byte moves.
            divided: terms of a sum may be done one by one.
        """
        elements = element_graph(graph)
        names: list[Element] = sorted({*elements.uses, *chain(*elements.uses.values())})
        bit = {element: 1 << place for place, element in enumerate(names)}
        self.byte_time = byte_time
        self.results = sum(bit[e] for e in elements.uses)
        self.given = sum(bit.values()) - self.results
        self.outputs = sum(b for e, b in bit.items() if e[0] in graph.outputs)
        self.units: dict[str, list[_Unit]] = {}
        term = 1
        for element, used in sorted(elements.uses.items()):
            operator = elements.maker[element[0]]
            groups = _products(graph, used) if operator.macs and divided else [sorted(used)]
            bits = [term << place for place in range(len(groups))]
            term <<= len(groups)
            for own, group in zip(bits, groups, strict=True):
                unit = _Unit(
                    operator.name, bit[element], own, sum(bits), sum(bit[e] for e in group)
                )
                self.units.setdefault(operator.name, []).append(unit)
        self.time_of = {name: times[name] / len(units) for name, units in self.units.items()}

    def least_time(self, fast: int) -> float:
        """Units of time of the fastest schedule with so many bytes of fast memory."""
        start: State = (0, 0, 0)
        best: dict[State, float] = {start: 0.0}
        heap = [(0.0, start)]
        while heap:
            time, state = heapq.heappop(heap)
            if time > best[state]:
                continue
            if state[1] & self.outputs == self.outputs:
                return time
            for took, other in self._steps(state, fast):
                if time + took < best.get(other, 1 << 30):
                    best[other] = time + took
                    heapq.heappush(heap, (time + took, other))
        raise AssertionError("no schedule makes all outputs")

    def _steps(self, state: State, fast: int) -> Iterator[tuple[float, State]]:
        held, stored, terms = state
        there = held | stored | self.given
        for name, units in self.units.items():
            ready = [u for u in units if not u.uses & ~there and not u.terms & terms]
            for work in _subsets(ready):
                reads = 0
                done, made = terms, 0
                for unit in work:
                    reads |= unit.uses & ~held
                    done |= unit.terms
                for unit in work:
                    if done & unit.all_terms == unit.all_terms:
                        made |= unit.made
                for unit in work:
                    if made & unit.made:
                        done &= ~unit.all_terms
                busy = self.time_of[name] * len(work)
                moving = self.byte_time * reads.bit_count()
                spare = int(max(0.0, busy - moving) // self.byte_time)
                took = max(busy, moving)
                yield from self._moved(held, stored, made, done, took, spare, fast)
        yield from self._moved(held, stored, 0, terms, self.byte_time, 1, fast)

    def _moved(
        self, held: int, stored: int, made: int, done: int, took: float, spare: int, fast: int
    ) -> Iterator[tuple[float, State]]:
        """What may be where after a step that has time to move `spare` bytes more."""
        fetchable = _bits((stored | self.given) & ~held & ~made)
        storable = _bits((held | made) & self.results & ~stored)
        for count in range(min(spare, len(fetchable) + len(storable)) + 1):
            for fetched in range(count + 1):
                for arrivals in combinations(fetchable, fetched):
                    for stores in combinations(storable, count - fetched):
                        present = held | made | sum(arrivals)
                        for kept in _kept(present, fast):
                            yield took, (kept, stored | sum(stores), done)


def _weights(graph: Graph) -> set[str]:
    return {name for name, value in graph.values.items() if value.kind == "weight"}


def _products(graph: Graph, used: set[Element]) -> list[list[Element]]:
    """The factors of each product of a sum: elements and weights in the order of their places."""
    weights = [e for e in sorted(used) if e[0] in _weights(graph)]
    others = [e for e in sorted(used) if e[0] not in _weights(graph)]
    return [list(pair) for pair in zip(others, weights, strict=True)]


def _bits(number: int) -> list[int]:
    return [1 << place for place in range(number.bit_length()) if number >> place & 1]


def _subsets(units: list[_Unit]) -> Iterator[tuple[_Unit, ...]]:
    for count in range(1, len(units) + 1):
        yield from combinations(units, count)


def _kept(present: int, fast: int) -> Iterator[int]:
    """Largest sets that fit into fast memory; holding more is never worse."""
    bits = _bits(present)
    if len(bits) <= fast:
        yield present
    else:
        yield from map(sum, combinations(bits, fast))
