"""`joint`: operator order and assignment together, for an objective on a target.

1. The file's order and the one with the smallest peak are valued by their fluid LPs; the search
   starts from the better one.
2. Where what is asked is COSMA's problem, `cpsat` looks for the best order for whole tensors
   (`joint_exact`). Where tensors cannot be cut and it proves it, that is the order.
3. Where there are few orders, all are tried: nothing is better but for the LP's tolerance.
4. Else large-neighbourhood search (Shaw, 1998): a window of operators, chosen where the LP's steps
   wait, gets another order (`joint_moves`, or the one of the smallest peak). Rounds alternate: many
   windows by a quick guess (`joint_surrogate`), with the LP's word at the end; then a few windows
   that the LP of the stretch around them ranks first. Only what improves the LP of the whole graph
   is kept. Long graphs are valued as a whole after several improved stretches.

The result is never worse by the LP than the file's order. Whether its plan is, too, the caller
checks by planning both (`compiler.pipeline`).
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

DEFAULT_BUDGET_S = 10.0
LIMIT_SHARE = 0.4  # of a time limit; the rest plans
LIMIT_TRIES = 4000  # windows
PATIENCE = 12  # rounds in a row without gain, after which the search ends
SURROGATE_S = 2.0  # of time left: with less the surrogate is not compiled
SURROGATES, SURROGATES_EACH = (
    1500,
    20,
)  # windows of a round judged by the surrogate alone: in all, per operator
HEAT = 2e-4  # relative loss that the surrogate is let take, now and then
ROUND_WINDOWS = 4  # of a round that are judged by LPs
CHOICES = 6  # orders of such a window; the surrogate chooses
PEAK_CHANCE = 0.1  # that one of them is the order of the smallest peak
FEW_ORDERS = 720  # all are tried where there are no more
FEW_OPERATORS = 12  # and no more operators than that
DIRECT_OPERATORS = 40  # graphs up to here are valued as a whole at once
WHOLE_OPERATORS = 320  # graphs up to here are valued as a whole at each gain of a stretch
CHECK_GAINS = 6  # larger ones after so many
WINDOWS = (4, 6, 8, 12, 16, 24, 32)  # operators
MARGIN = 12  # operators on either side of a window that its stretch has
PEAK_MOVES = 3000  # of the search for the smallest peak of a window
PEAK_SHARE = 0.2  # of the time, for that of the graph
GAIN = 1e-6  # relative: smaller ones are tolerance of the LP


@dataclass(frozen=True)
class JointResult:
    """An order and what it is worth.

    Attributes:
        order: every operator index once, topological.
        value: of its LP in the objective's unit; None where it could not be solved.
        model_value: of the file's order.
        memory_value: of the order with the smallest peak.
        tries: windows tried.
        gains: of them, orders taken.
        complete: all orders were tried, or the order is proven best.
        notes: what must be told.
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
    setting: OrderingTask, *, tries: int = LIMIT_TRIES, few_orders: int = FEW_ORDERS
) -> JointResult:
    """The best order found for the setting's objective by its deadline.

    Unless the deadline ends the search, the result depends on the setting and its seed alone.

    Args:
        setting: the graph, the target, and what is asked.
        tries: windows to try at most.
        few_orders: try all orders where there are no more.
    """
    graph = setting.graph
    model = tuple(range(len(graph.operators)))
    limit = setting.budget.share(PEAK_SHARE).remaining_s()
    peak = smallest_peak(graph, setting.aliases, limit_s=min(2.0, max(0.05, limit)))
    if setting.objective == "peak":
        return JointResult(peak.order, complete=peak.is_optimal)
    try:
        reference = reference_value(setting, model)
    except (InfeasibleError, UsageError) as error:
        note = f"joint: no order was looked for, since nothing can be planned: {error.message}"
        return JointResult(model, notes=(note,))
    search = _OrderSearch(setting, reference)
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
    own = budget.at_most(DEFAULT_BUDGET_S) if unlimited else budget.share(LIMIT_SHARE)
    return joint_order(OrderingTask(graph, target, aliases, steady_state, objective, seed, own))


class _OrderSearch:
    """Large-neighbourhood search.

    Attributes:
        setting: with a deadline.
        reference: value of the plan with everything at home.
        before: precedence.
        best: the best order whose LP was solved.
        tries: windows tried.
        gains: orders taken.
    """

    best: Valued

    def __init__(self, setting: OrderingTask, reference: float) -> None:
        self.setting = setting
        self.reference = reference
        self.before: Precedence = precedence_of(setting.graph)
        self.tries = 0
        self.gains = 0
        self._seen: set[tuple[int, ...]] = set()
        self._rng: Rng = np.random.default_rng(setting.seed)

    def valued(self, order: Sequence[int]) -> Valued | None:
        """An order's LP; None after the deadline."""
        self._seen.add(tuple(order))
        return value_of(self.setting, order, self.reference)

    def is_late(self) -> bool:
        """Whether the deadline has come."""
        return self.setting.budget.is_over()

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
        exact = exact_order(self.setting)
        if exact is None:
            return False
        found = self.best if exact.order == self.best.order else self.valued(exact.order)
        final = exact.proven and exact.whole and found is not None
        if final and found is not None:
            self.best = found  # whatever the LP says, which may cut tensors
        else:
            self._take(found)
        return final

    def improve(self, tries: int) -> None:
        """Rounds of guesses and of windows, until the tries, the time or the patience end."""
        surrogate = (
            surrogate_of(self.setting) if self.setting.budget.remaining_s() > SURROGATE_S else None
        )
        idle = 0
        while self.tries < tries and idle < PATIENCE and not self.is_late():
            gained = surrogate is not None and self._climb(surrogate)
            gained = self._try_windows(surrogate) or gained
            idle = 0 if gained else idle + 1

    def _climb(self, surrogate: OrderSurrogate) -> bool:
        """Follow the surrogate for many windows, then ask the LP; whether it agrees."""
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
        """Windows ranked by guess, then by the LP of a stretch, then by that of the whole graph."""
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

    def _take(self, found: Valued | None) -> bool:
        """Keep an order that is better than the best; whether it was."""
        if found is None or found.value >= self.best.value * (1 - GAIN):
            return False
        self.best = found
        self.gains += 1
        shown = f"{found.value:.6g}, {self.gains} gains in {self.tries} tries"
        self.setting.budget.progress(f"joint order: {shown}")
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
        """Of some orders of a window that were not tried yet the best by the surrogate."""
        found: dict[tuple[int, ...], float] = {}
        for _ in range(CHOICES if surrogate is not None else 1):
            if self._rng.random() < PEAK_CHANCE:
                window = self._least_peak(order[first:last])
                candidate = (*order[:first], *window, *order[last:])
            else:
                candidate = self._reordered(order, first, last)
            if candidate not in self._seen:
                found[candidate] = surrogate.value(candidate) if surrogate is not None else 0.0
        if not found:
            return None
        chosen = min(found, key=lambda candidate: found[candidate])
        self._seen.add(chosen)
        return chosen

    def _reordered(self, order: tuple[int, ...], first: int, last: int) -> tuple[int, ...]:
        """An order with another order of a window."""
        move = MOVES[int(self._rng.integers(len(MOVES)))]
        return (*order[:first], *move(order[first:last], self.before, self._rng), *order[last:])

    def _least_peak(self, window: Sequence[int]) -> list[int]:
        """The window in the order with its smallest peak."""
        inside = stretch_of(self.setting, window, 0)
        limit = min(0.5, self.setting.budget.remaining_s())
        found = smallest_peak(
            inside.graph, inside.aliases, limit_s=max(0.0, limit), limit_moves=PEAK_MOVES
        )
        return [window[i] for i in found.order]

    def _ranks(
        self, order: tuple[int, ...], candidate: tuple[int, ...], first: int, last: int
    ) -> bool:
        """Whether the stretch around a window gains; always where the whole graph is as small."""
        if len(order) <= DIRECT_OPERATORS:
            return True
        low, high = max(0, first - MARGIN), min(len(order), last + MARGIN)
        reserved = kept_through_bytes(self.best, low, high)
        place = {operator: i for i, operator in enumerate(order[low:high])}
        stretch = stretch_of(self.setting, order[low:high], reserved)
        now = value_of(stretch, range(len(place)), self.reference)
        then = value_of(stretch, [place[o] for o in candidate[low:high]], self.reference)
        if now is None or then is None:
            return False
        return then.value < now.value * (1 - GAIN)
