"""Operator orders: the file's own, and the one with the smallest peak of live bytes.

`smallest_peak` first takes the better of the file's order and a greedy one, and a lower bound from
minimum cuts. Where they differ, it searches for orders within budgets between them, with more and
more states, until the two meet or a limit is reached; wider and wider beams look for better orders
meanwhile. The search is in `state_space`, the cuts in `cut_bound`; see docs/orders.md.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from ullage.compiler.ir.dag import operator_dag
from ullage.compiler.ir.graph import Graph
from ullage.compiler.lowering.aliases import AliasOptions
from ullage.compiler.lowering.live_ranges import live_peak
from ullage.compiler.lowering.lower import build_program
from ullage.compiler.lowering.orders import model_order
from ullage.solvers.scheduling.cut_bound import cut_bound_bytes, operand_bound_bytes
from ullage.solvers.scheduling.order_items import Items, order_items
from ullage.solvers.scheduling.order_moves import OrderMoves, moves_of
from ullage.solvers.scheduling.state_space import Effort, Probe, beam_order, find_order

# Seconds of wall clock that the search may take.
LIMIT_S = 2.0
# Share of the time to the deadline that the search may take: solving needs the rest.
SHARE = 0.25
# Bytes of sets of operators beyond which nothing is searched: all of a graph's, roughly.
MAX_SET_BYTES = 512 << 20
# Remark where not even one order was tried.
CUT_SHORT = "order: its time was over before the search had a first order; the file's is used"
# Number of moves (an operator tried after a set of others): one to two seconds of them.
LIMIT_MOVES = 600_000
# Share of the time left that the cuts may take.
CUT_SHARE = 0.3
# Sets of operators that a search of the first round expands.
FIRST_STATES = 1024
# Sets of each size that the beam of the first round keeps.
FIRST_WIDTH = 4
# Factor by which both grow from round to round.
GROWTH = 4


@dataclass(frozen=True)
class OrderResult:
    """An order with its peak and a lower bound of all peaks.

    Attributes:
        order: every operator index of the graph once, topological.
        peak_bytes: largest sum of live activation bytes, as `live_peak` finds it in the problem
            built from this order, workspace included.
        lower_bound_bytes: no order of the graph has a smaller peak.
        method: how the order was found: `model`, `greedy`, `beam` or `search`.
        bound_source: how the bound was proven: `operands`, `cuts` or `search`.
        states: sets of operators expanded.
        limited: a limit ended the search.
        notes: remarks for the plan: why there was no search, or how far it came.
    """

    order: tuple[int, ...]
    peak_bytes: int
    lower_bound_bytes: int
    method: str
    bound_source: str
    states: int
    limited: bool
    notes: tuple[str, ...] = ()

    @property
    def is_optimal(self) -> bool:
        """Whether no order has a smaller peak."""
        return self.peak_bytes <= self.lower_bound_bytes


def memory_order(
    graph: Graph, aliases: AliasOptions | None = None, deadline: float | None = None
) -> tuple[int, ...]:
    """The order with the smallest peak of live activation bytes; see `smallest_peak`."""
    return smallest_peak(graph, aliases, deadline=deadline).order


def order_peak_bytes(
    graph: Graph, order: Sequence[int], aliases: AliasOptions | None = None
) -> int:
    """Largest sum of live activation bytes and workspace in an order."""
    return live_peak(build_program(graph, order, aliases=aliases)).size_bytes


def smallest_peak(
    graph: Graph,
    aliases: AliasOptions | None = None,
    *,
    deadline: float | None = None,
    limit_s: float = LIMIT_S,
    limit_moves: int = LIMIT_MOVES,
) -> OrderResult:
    """The order with the smallest peak, proven where the limits allow; never worse than the file's.

    Args:
        graph: the graph.
        aliases: what may share storage, default everything. Pass what the problem is built with.
        deadline: `time.monotonic()` value at which the whole job ends; the search takes a share.
        limit_s: seconds to search at most.
        limit_moves: moves to evaluate at most. Unless the deadline ends the search, the result
            depends on this alone.
    """
    now = time.monotonic()
    until = now + (limit_s if deadline is None else min(limit_s, SHARE * (deadline - now)))
    options = aliases or AliasOptions()
    set_bytes = _set_bytes(graph)
    if now > until or set_bytes > MAX_SET_BYTES:
        return _not_searched(graph, options, too_large=set_bytes > MAX_SET_BYTES)
    items, bounding = order_items(graph, options)
    narrowing = _Narrowing(items, Effort(limit_moves, until))
    narrowing.run()
    bound, source = narrowing.bound, narrowing.source
    if bounding is not items:
        other = _Narrowing(bounding, Effort(0, until))
        other.bound_by_cuts()
        bound, source = other.bound, other.source
    order, method = model_order(graph), "model"
    peak = order_peak_bytes(graph, order, options)
    if narrowing.method != "model":
        peak_order = _whole_order(graph, items, narrowing.order)
        found_peak = order_peak_bytes(graph, peak_order, options)
        if found_peak < peak:
            order, peak, method = peak_order, found_peak, narrowing.method
    return OrderResult(
        order=order,
        peak_bytes=peak,
        lower_bound_bytes=bound,
        method=method,
        bound_source=source,
        states=narrowing.effort.states,
        limited=narrowing.bound < narrowing.peak,
        notes=() if narrowing.has_tried else (CUT_SHORT,),
    )


def _set_bytes(graph: Graph) -> int:
    """Bytes of the sets that a search begins with: about one for each operator and operand."""
    operators = len(graph.operators)
    return operators // 8 * (2 * operators + 2 * sum(len(o.inputs) for o in graph.operators))


def _not_searched(graph: Graph, options: AliasOptions, *, too_large: bool) -> OrderResult:
    """The file's order, with no bound."""
    order = model_order(graph)
    peak = order_peak_bytes(graph, order, options)
    why = (
        f"{len(graph.operators)} operators are too many to search"
        if too_large
        else "no time was left to search"
    )
    note = f"order: {why}; the file's order is used"
    return OrderResult(order, peak, 0, "model", "operands", 0, limited=True, notes=(note,))


class _Narrowing:
    """The best order and the best bound of an ordering problem, brought together step by step."""

    def __init__(self, items: Items, effort: Effort) -> None:
        self.items = items
        self.moves: OrderMoves = moves_of(items)
        self.effort = effort
        self.order: list[int] = list(range(self.moves.count))  # the file's
        self.peak = self.moves.peak_bytes(self.order)
        self.method = "model"
        self.bound = operand_bound_bytes(items, self.moves)
        self.source = "operands"
        self.has_tried = False

    def run(self) -> None:
        """Search until the peak is proven or a limit is reached."""
        self._beam(1, "greedy")
        self.has_tried = not self.effort.is_spent() or self.effort.moves_left <= 0
        self.bound_by_cuts()
        states, width = FIRST_STATES, FIRST_WIDTH
        while self.bound < self.peak and not self.effort.is_spent():
            self._descend(states)
            self._halve(states)
            self._beam(width, "beam")
            states, width = states * GROWTH, width * GROWTH

    def bound_by_cuts(self) -> None:
        """Raise the bound by minimum cuts."""
        now = time.monotonic()
        until = now + CUT_SHARE * (self.effort.deadline - now)
        cut_bound = cut_bound_bytes(self.items, self.moves, self.order, self.bound, until)
        if cut_bound > self.bound:
            self.bound, self.source = cut_bound, "cuts"

    def _beam(self, width: int, method: str) -> None:
        """Look for a better order by beam search."""
        if self.bound < self.peak:
            probe = Probe(self.moves, self.peak - 1, self.effort)
            self._accept(beam_order(probe, width), method)

    def _descend(self, states: int) -> None:
        """Search for a byte less than the best, again and again: mostly quick to find or refute."""
        while self.bound < self.peak and not self.effort.is_spent():
            if not self._probe(self.peak - 1, states):
                return

    def _halve(self, states: int) -> None:
        """Try the middle between bound and peak, as long as that settles something."""
        while self.bound < self.peak and not self.effort.is_spent():
            if not self._probe((self.bound + self.peak - 1) // 2, states):
                return

    def _probe(self, budget: int, states: int) -> bool:
        """Search for an order within a budget of bytes; whether that gave an order or a bound."""
        probe = Probe(self.moves, budget, self.effort)
        order, certain = find_order(probe, states)
        if order is not None:
            self._accept(order, "search")
        elif certain:
            self.bound, self.source = int(probe.exceeded), "search"
        return certain

    def _accept(self, order: list[int] | None, method: str) -> None:
        """Keep an order if its peak is smaller than the best."""
        peak = self.peak if order is None else self.moves.peak_bytes(order)
        if order is not None and peak < self.peak:
            self.order, self.peak, self.method = order, peak, method


def _whole_order(graph: Graph, items: Items, order: Sequence[int]) -> tuple[int, ...]:
    """An order of all operators: those that do nothing come as soon as they can."""
    import networkx as nx

    place = {items.operators[number]: at for at, number in enumerate(order)}
    return tuple(
        nx.lexicographical_topological_sort(operator_dag(graph), key=lambda o: place.get(o, -1))
    )
