"""A lower bound on the peak of every order, from minimum cuts.

Operator v runs after some set S of others: its ancestors are in S, it and its descendants are not.
Then the live bytes of S and what v adds are alive. Live bytes are a cut: an item counts when its
writer is in S and one of its readers is not. So the least S is a minimum cut, found by maximum
flow, and the largest of these over all v bounds the peak of every order. An operand that v may
overwrite is one more case: its other readers are in S, and its bytes are saved.

Picard, "Maximal closure of a graph and applications to combinatorial problems", 1976.
"""

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ullage.solvers.scheduling.order_items import GIVEN, Items, Reuse, bits
from ullage.solvers.scheduling.order_moves import OrderMoves

# Capacity of an arc that no minimum cut contains, in bytes.
UNCUTTABLE = 1 << 60


class CutNetwork:
    """The flow network of an ordering problem; each query adds its own infinite arcs.

    Nodes: operators 0..N-1, one per item, then source and sink. The source side of a cut is S.
    """

    def __init__(self, items: Items) -> None:
        operators = len(items.operators)
        self.source = operators + len(items.items)
        self.sink = self.source + 1
        arcs: list[tuple[int, int, int]] = []
        for index, item in enumerate(items.items):
            node = operators + index
            writer = self.source if item.writer == GIVEN else item.writer
            if item.kept:
                arcs.append((writer, self.sink, item.size_bytes))
            elif item.readers:
                arcs.append((writer, node, item.size_bytes))
                arcs += [(node, reader, UNCUTTABLE) for reader in bits(item.readers)]
        for operator, before in enumerate(items.before):
            arcs += [(operator, earlier, UNCUTTABLE) for earlier in bits(before)]
        self.arcs = np.array(arcs, dtype=np.int64).reshape(-1, 3)

    def least_live_bytes(self, inside: int, outside: int) -> int | None:
        """Fewest live bytes after a set with `inside` in it and `outside` not; None if impossible.

        The sets are completed: predecessors come along.
        """
        from ortools.graph.python import max_flow

        forced = [(self.source, operator, UNCUTTABLE) for operator in bits(inside)]
        forced += [(operator, self.sink, UNCUTTABLE) for operator in bits(outside)]
        arcs = np.concatenate((self.arcs, np.array(forced, dtype=np.int64).reshape(-1, 3)))
        flow: Any = max_flow.SimpleMaxFlow()
        flow.add_arcs_with_capacity(
            arcs[:, 0].astype(np.int32), arcs[:, 1].astype(np.int32), arcs[:, 2]
        )
        if flow.solve(self.source, self.sink) != flow.OPTIMAL:
            return None  # an infinite flow: the sets contradict each other
        live_bytes = int(flow.optimal_flow())
        return None if live_bytes >= UNCUTTABLE else live_bytes


def cut_bound_bytes(
    items: Items, moves: OrderMoves, order: Sequence[int], known_bytes: int, deadline: float
) -> int:
    """A lower bound on the peak of every order.

    Operators are taken by what lives while they run in a given order, which bounds what their cut
    can prove: the loop ends when no other can prove more.

    Args:
        items: the problem.
        moves: the same, prepared.
        order: any order, the best known.
        known_bytes: a lower bound known already.
        deadline: `time.monotonic()` value to stop at.
    """
    network: CutNetwork | None = None
    bound = known_bytes
    for while_running, operator in sorted(_profile(moves, order), reverse=True):
        if while_running <= bound or time.monotonic() > deadline:
            break
        network = network or CutNetwork(items)
        bound = _raised(network, moves, operator, bound, deadline)
    return bound


def _profile(moves: OrderMoves, order: Sequence[int]) -> list[tuple[int, int]]:
    """For each operator of an order: (live bytes while it runs, operator)."""
    live, done = moves.given_bytes, 0
    profile: list[tuple[int, int]] = []
    for operator in order:
        profile.append((live + moves.extra_bytes(done, operator), operator))
        live += moves.growth_bytes(done, operator)
        done |= 1 << operator
    return profile


def _raised(
    network: CutNetwork, moves: OrderMoves, operator: int, bound: int, deadline: float
) -> int:
    """The bound, or the least live bytes while an operator runs, over all orders, if more.

    Each operand that may be overwritten is a case of its own: the first that proves no more than
    the bound, or the deadline, ends it.
    """
    outside, earlier = 1 << operator, moves.before[operator]
    least: float = float("inf")
    for number, reuse in enumerate((Reuse(0, 0), *moves.reuses[operator])):
        if number and time.monotonic() > deadline:
            return bound
        live = network.least_live_bytes(earlier | reuse.others, outside)
        if live is not None:
            least = min(least, live + moves.needs_bytes[operator] - reuse.size_bytes)
        if least <= bound:
            return bound
    return bound if math.isinf(least) else int(least)


def operand_bound_bytes(items: Items, moves: OrderMoves) -> int:
    """The largest sum of bytes that an operator reads, writes and uses as workspace, less reuse."""
    reads = [0] * moves.count
    for item in items.items:
        for reader in bits(item.readers):
            reads[reader] += item.size_bytes
    return max(
        (
            reads[i]
            + moves.needs_bytes[i]
            - max((reuse.size_bytes for reuse in moves.reuses[i]), default=0)
            for i in range(moves.count)
        ),
        default=moves.given_bytes,
    )
