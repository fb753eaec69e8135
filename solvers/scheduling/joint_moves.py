"""Other orders of a window of operators: the moves of the search for a joint order.

A window is a stretch of the current order. Every function returns the same operators in another
topological order. What stands before and behind the window stays where it is.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice

import numpy as np

from ullage.compiler.ir.dag import operator_dag
from ullage.compiler.ir.graph import Graph

Rng = np.random.Generator
# Operator -> operators whose results it reads.
Precedence = Mapping[int, frozenset[int]]
Move = Callable[[Sequence[int], Precedence, Rng], list[int]]

# Chance of either of two alternatives.
EVEN = 0.5


def precedence_of(graph: Graph) -> dict[int, frozenset[int]]:
    """For each operator of a graph those whose results it reads."""
    dag = operator_dag(graph)
    return {operator: frozenset(dag.predecessors(operator)) for operator in dag}


def random_order(window: Sequence[int], before: Precedence, rng: Rng) -> list[int]:
    """The next operator is any that is ready, at random."""
    return _listed(window, before, lambda ready, _: int(rng.integers(len(ready))))


def depth_first(window: Sequence[int], before: Precedence, rng: Rng) -> list[int]:
    """The next operator is the one that reads the latest results: branches run to their ends."""
    turn = {operator: float(key) for operator, key in zip(window, rng.random(len(window)))}  # noqa: B905

    def choose(ready: list[int], place: Mapping[int, int]) -> int:
        latest = [max((place.get(p, -1) for p in before[o]), default=-1) for o in ready]
        keys = [(late, turn[operator]) for late, operator in zip(latest, ready, strict=True)]
        return keys.index(max(keys))

    return _listed(window, before, choose)


def ancestors_first(window: Sequence[int], before: Precedence, rng: Rng) -> list[int]:
    """One operator with all that it needs comes first, the rest behind it."""
    ancestors = {int(rng.choice(np.asarray(window)))}
    for operator in reversed(window):
        if any(operator in before[later] for later in ancestors):
            ancestors.add(operator)
    return [o for o in window if o in ancestors] + [o for o in window if o not in ancestors]


def descendants_last(window: Sequence[int], before: Precedence, rng: Rng) -> list[int]:
    """One operator with all that needs it comes last."""
    descendants = {int(rng.choice(np.asarray(window)))}
    for operator in window:
        if not descendants.isdisjoint(before[operator]):
            descendants.add(operator)
    return [o for o in window if o not in descendants] + [o for o in window if o in descendants]


def beside_neighbour(window: Sequence[int], before: Precedence, rng: Rng) -> list[int]:
    """One operator moves directly behind its last producer, or directly before its first reader."""
    at = int(rng.integers(len(window)))
    low, high = _reach(window, before, at)
    return _moved(window, at, low if rng.random() < EVEN else high)


def anywhere(window: Sequence[int], before: Precedence, rng: Rng) -> list[int]:
    """One operator moves to some other place that it may take."""
    at = int(rng.integers(len(window)))
    low, high = _reach(window, before, at)
    return _moved(window, at, int(rng.integers(low, high + 1)))


# The moves among which the search picks at random.
MOVES: tuple[Move, ...] = (
    beside_neighbour,
    ancestors_first,
    descendants_last,
    anywhere,
    depth_first,
    random_order,
)


def all_orders(count: int, before: Precedence, most: int) -> list[tuple[int, ...]] | None:
    """Every topological order of operators 0..count-1, sorted; None if there are above `most`.

    The file's order is the first.
    """
    import networkx as nx

    dag = nx.DiGraph()
    dag.add_nodes_from(range(count))
    dag.add_edges_from((early, late) for late in range(count) for early in before[late])
    orders = sorted(map(tuple, islice(nx.all_topological_sorts(dag), most + 1)))
    return orders if len(orders) <= most else None


def _listed(
    window: Sequence[int],
    before: Precedence,
    choose: Callable[[list[int], Mapping[int, int]], int],
) -> list[int]:
    """List scheduling; `choose` gets what is ready and the places taken so far."""
    inside = set(window)
    waits = {operator: set(before[operator] & inside) for operator in window}
    readers: dict[int, list[int]] = {operator: [] for operator in window}
    for operator in window:
        for earlier in waits[operator]:
            readers[earlier].append(operator)
    ready = [operator for operator in window if not waits[operator]]
    place: dict[int, int] = {}
    while ready:
        operator = ready.pop(choose(ready, place))
        place[operator] = len(place)
        for reader in readers[operator]:
            waits[reader].discard(operator)
            if not waits[reader]:
                ready.append(reader)
    return list(place)


def _reach(window: Sequence[int], before: Precedence, at: int) -> tuple[int, int]:
    """First and last place that the operator at a place may take, the others keeping theirs."""
    operator, low, high = window[at], at, at
    while low > 0 and window[low - 1] not in before[operator]:
        low -= 1
    while high + 1 < len(window) and operator not in before[window[high + 1]]:
        high += 1
    return low, high


def _moved(window: Sequence[int], at: int, to: int) -> list[int]:
    """The window with the operator at one place moved to another."""
    moved = list(window)
    moved.insert(to, moved.pop(at))
    return moved
