"""`joint`: operator order and assignment together, for an objective on a target.

1. The file's order and the one with the smallest peak are valued by their fluid LPs; the search
   starts from the better one.
2. Where the task is COSMA's problem, `cpsat` looks for the best order for whole tensors
   (`joint_exact`). Where tensors cannot be cut and it is proven best, the search ends.
3. Where there are few orders, all are tried: no order is better, up to the LP's tolerance.
4. Else large-neighbourhood search (Shaw, 1998): a window of operators, taken where the LP's steps
   wait, gets another order (`joint_moves`, or the one of the smallest peak). Rounds of two kinds
   alternate: many windows judged by a quick surrogate (`joint_surrogate`), with one LP at the end;
   then a few windows that the LP of the stretch around them ranks first. Only what improves the LP
   of the whole graph is kept. Long graphs are valued as a whole after several improved stretches.

The result is never worse by the LP than the file's order. Whether its plan is no worse either, the
caller checks by planning both (`compiler.driver`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import AliasOptions
from ullage.solvers.budget import Budget
from ullage.solvers.scheduling.joint_exact import exact_order
from ullage.solvers.scheduling.joint_moves import MOVES, Precedence, Rng, all_orders, precedence_of
from ullage.solvers.scheduling.joint_surrogate import OrderSurrogate, surrogate_of
from ullage.solvers.scheduling.joint_value import (
    OrderingTask,
    Valued,
    kept_through_bytes,
    reference_value,
    stall_weights,
    stretch_of,
    value_of,
)
from ullage.solvers.scheduling.peak_order import smallest_peak

# Seconds that the search takes where the job has no time limit.
DEFAULT_BUDGET_S = 10.0
# Share of a job's time that the search takes where it has one; the rest is for planning.
LIMIT_SHARE = 0.4
# Number of windows that are tried at most.
LIMIT_TRIES = 4000
# Number of rounds in a row without gain after which the search ends.
PATIENCE = 12
# Seconds of time left below which the surrogate, which must be compiled, is not used.
SURROGATE_S = 2.0
# Windows of a round that the surrogate alone judges, at most ...
SURROGATES = 1500
# ... and at most for each operator.
SURROGATES_EACH = 20
# Mean relative loss that a step of the surrogate's search may accept.
HEAT = 2e-4
# Windows of a round that LPs judge.
ROUND_WINDOWS = 4
# Orders of such a window, of which the surrogate takes the best.
CHOICES = 6
# Chance that one of them is the order of the smallest peak.
PEAK_CHANCE = 0.1
# All orders are tried where there are no more than this ...
FEW_ORDERS = 720
# ... and no more operators than this.
FEW_OPERATORS = 12
# Operators of a graph up to which each window is valued by the LP of the whole graph at once.
DIRECT_OPERATORS = 40
# Operators up to which the whole graph is valued at each gain of a stretch ...
WHOLE_OPERATORS = 320
# ... and the number of gains after which it is valued in larger ones.
CHECK_GAINS = 6
# Sizes of windows, in operators.
WINDOWS = (4, 6, 8, 12, 16, 24, 32)
# Operators on either side of a window that belong to its stretch.
MARGIN = 12
# Moves of the search for the smallest peak of a window.
PEAK_MOVES = 3000
# Share of the time left for the smallest peak of the whole graph.
PEAK_SHARE = 0.2
# Relative gain of a value below which it is within the tolerance of the LP.
GAIN = 1e-6


@dataclass(frozen=True)
class JointResult:
    """An order with the values of the orders that it was compared with.

    Attributes:
        order: every operator index once, topological.
        value: optimum of its LP in the objective's unit; None where it could not be solved.
        model_value: that of the file's order.
        memory_value: that of the order with the smallest peak.
        tries: windows tried.
        gains: how many of them were taken.
        complete: all orders were tried, or the order is proven best.
        notes: notes for the user.
    """

    order: tuple[int, ...]
    value: float | None = None
    model_value: float | None = None
    memory_value: float | None = None
    tries: int = 0
    gains: int = 0
    complete: bool = False
    notes: tuple[str, ...] = ()


def joint_order(
    task: OrderingTask, *, tries: int = LIMIT_TRIES, few_orders: int = FEW_ORDERS
) -> JointResult:
    """The best order found for the task's objective by its deadline.

    Unless the deadline ends the search, the result depends on the task and its seed alone.

    Args:
        task: the graph, the target, and the objective.
        tries: windows to try at most.
        few_orders: try all orders where there are no more.
    """
    graph = task.graph
    model = tuple(range(len(graph.operators)))
    limit = task.budget.share(PEAK_SHARE).remaining_s()
    peak = smallest_peak(graph, task.aliases, limit_s=min(2.0, max(0.05, limit)))
    if task.objective == "peak":
        return JointResult(peak.order, complete=peak.is_optimal)
    try:
        reference = reference_value(task, model)
    except (InfeasibleError, UsageError) as error:
        note = f"joint: no order was looked for, since nothing can be planned: {error.message}"
        return JointResult(model, notes=(note,))
    search = _OrderSearch(task, reference)
    start = search.valued(model)
    if start is None:
        note = "joint: the LP of the file's order was not solved in time; that order is kept"
        return JointResult(model, notes=(note,))
    memory = start if peak.order == model else search.valued(peak.order)
    search.best = memory if memory is not None and memory.value < start.value else start
    complete = search.take_exact()
    every = None
    if len(model) <= FEW_OPERATORS and not complete:
        every = all_orders(len(model), search.before, few_orders)
        complete = search.try_all(every) if every is not None else False
    if every is None and not complete:
        search.improve(tries)
    return JointResult(
        order=search.best.order,
        value=search.best.value,
        model_value=start.value,
        memory_value=None if memory is None else memory.value,
        tries=search.tries,
        gains=search.gains,
        complete=complete,
    )


def order_until(
    graph: Graph,
    target: Target,
    aliases: AliasOptions,
    objective: str,
    seed: int,
    budget: Budget,
    *,
    steady_state: bool = False,
) -> JointResult:
    """The joint order within its share of the whole job's time; without a limit within 10 s."""
    unlimited = budget.deadline is None
    limited = budget.at_most(DEFAULT_BUDGET_S) if unlimited else budget.share(LIMIT_SHARE)
    return joint_order(OrderingTask(graph, target, aliases, steady_state, objective, seed, limited))


class _OrderSearch:
    """Large-neighbourhood search.

    Attributes:
        task: the task, with a deadline.
        reference: value of the plan with everything at home.
        before: precedence.
        best: the best order whose LP was solved.
        tries: windows tried.
        gains: orders taken.
    """

    best: Valued

    def __init__(self, task: OrderingTask, reference: float) -> None:
        self.task = task
        self.reference = reference
        self.before: Precedence = precedence_of(task.graph)
        self.tries = 0
        self.gains = 0
        self._seen: set[tuple[int, ...]] = set()
        self._rng: Rng = np.random.default_rng(task.seed)

    def valued(self, order: Sequence[int]) -> Valued | None:
        """An order's LP; None after the deadline."""
        self._seen.add(tuple(order))
        return value_of(self.task, order, self.reference)

    def is_late(self) -> bool:
        """Whether the deadline has come."""
        return self.task.budget.is_over()

    def try_all(self, orders: Sequence[tuple[int, ...]]) -> bool:
        """Take the best of some orders; whether all could be tried."""
        for order in orders:
            if self.is_late():
                return False
            if order not in self._seen:
                self.tries += 1
                self._take(self.valued(order))
        return True

    def take_exact(self) -> bool:
        """Take the best order for whole tensors; whether nothing can be better."""
        exact = exact_order(self.task)
        if exact is None:
            return False
        valued = self.best if exact.order == self.best.order else self.valued(exact.order)
        final = exact.proven and exact.whole and valued is not None
        if final and valued is not None:
            self.best = valued  # even where its LP is worse, which may cut tensors
        else:
            self._take(valued)
        return final

    def improve(self, tries: int) -> None:
        """Rounds by surrogate and by windows, until the tries, the time or the patience end."""
        surrogate = (
            surrogate_of(self.task) if self.task.budget.remaining_s() > SURROGATE_S else None
        )
        idle = 0
        while self.tries < tries and idle < PATIENCE and not self.is_late():
            gained = surrogate is not None and self._climb(surrogate)
            gained = self._try_windows(surrogate) or gained
            idle = 0 if gained else idle + 1

    def _climb(self, surrogate: OrderSurrogate) -> bool:
        """Follow the surrogate for many windows, then solve the LP; whether that gains, too."""
        order = best = self.best.order
        now = least = begun = surrogate.value(order)
        weights = stall_weights(self.best)
        for _ in range(min(SURROGATES, SURROGATES_EACH * len(order))):
            if self.is_late():
                break
            order_next = self._reordered(order, *self._window(weights))
            value = surrogate.value(order_next)
            if value <= now + HEAT * begun * self._rng.exponential():
                order, now = order_next, value
            if value < least * (1 - GAIN):
                best, least = order_next, value
        self.tries += 1
        return best not in self._seen and self._take(self.valued(best))

    def _try_windows(self, surrogate: OrderSurrogate | None) -> bool:
        """Rank windows by surrogate, then LP of a stretch, then of the graph; whether any gains."""
        pending = CHECK_GAINS if len(self.best.order) > WHOLE_OPERATORS else 1
        draft, weights = self.best.order, stall_weights(self.best)
        ahead, gained = 0, False
        for _ in range(ROUND_WINDOWS):
            if self.is_late():
                break
            self.tries += 1
            first, last = self._window(weights)
            candidate = self._likeliest(draft, first, last, surrogate)
            if candidate is None or not self._ranks(draft, candidate, first, last):
                continue
            draft, ahead = candidate, ahead + 1
            if ahead == pending:
                gained = self._take(self.valued(draft)) or gained
                draft, ahead = self.best.order, 0
                weights = stall_weights(self.best)
        return (bool(ahead) and self._take(self.valued(draft))) or gained

    def _take(self, valued: Valued | None) -> bool:
        """Keep an order that is better than the best; whether it was."""
        if valued is None or valued.value >= self.best.value * (1 - GAIN):
            return False
        self.best = valued
        self.gains += 1
        shown = f"{valued.value:.6g}, {self.gains} gains in {self.tries} tries"
        self.task.budget.progress(f"joint order: {shown}")
        return True

    def _window(self, weights: Floats) -> tuple[int, int]:
        """First and one past the last place of a window around a place that waits."""
        count = len(weights)
        size = min(count, int(self._rng.choice(WINDOWS)))
        centre = int(self._rng.choice(count, p=weights / weights.sum()))
        first = centre - int(self._rng.integers(size))
        first = min(max(0, first), count - size)
        return first, first + size

    def _likeliest(
        self, order: tuple[int, ...], first: int, last: int, surrogate: OrderSurrogate | None
    ) -> tuple[int, ...] | None:
        """The best by the surrogate of some new orders of a window; None where none is new."""
        estimates: dict[tuple[int, ...], float] = {}
        for _ in range(CHOICES if surrogate is not None else 1):
            if self._rng.random() < PEAK_CHANCE:
                window = self._least_peak(order[first:last])
                candidate = (*order[:first], *window, *order[last:])
            else:
                candidate = self._reordered(order, first, last)
            if candidate not in self._seen:
                estimates[candidate] = surrogate.value(candidate) if surrogate is not None else 0.0
        if not estimates:
            return None
        likeliest = min(estimates, key=lambda candidate: estimates[candidate])
        self._seen.add(likeliest)
        return likeliest

    def _reordered(self, order: tuple[int, ...], first: int, last: int) -> tuple[int, ...]:
        """An order with another order of a window."""
        move = MOVES[int(self._rng.integers(len(MOVES)))]
        return (*order[:first], *move(order[first:last], self.before, self._rng), *order[last:])

    def _least_peak(self, window: Sequence[int]) -> list[int]:
        """The window in the order with its smallest peak."""
        inside = stretch_of(self.task, window, 0)
        limit = min(0.5, self.task.budget.remaining_s())
        packed_order = smallest_peak(
            inside.graph, inside.aliases, limit_s=max(0.0, limit), limit_moves=PEAK_MOVES
        )
        return [window[i] for i in packed_order.order]

    def _ranks(
        self, order: tuple[int, ...], candidate: tuple[int, ...], first: int, last: int
    ) -> bool:
        """Whether the stretch around a window gains; True where the whole graph is that small."""
        if len(order) <= DIRECT_OPERATORS:
            return True
        low, high = max(0, first - MARGIN), min(len(order), last + MARGIN)
        reserved = kept_through_bytes(self.best, low, high)
        place = {operator: i for i, operator in enumerate(order[low:high])}
        stretch = stretch_of(self.task, order[low:high], reserved)
        now = value_of(stretch, range(len(place)), self.reference)
        then = value_of(stretch, [place[o] for o in candidate[low:high]], self.reference)
        if now is None or then is None:
            return False
        return then.value < now.value * (1 - GAIN)
