"""Search for instances of the MLSys 2026 contest: orders of operators, cut by a dynamic program.

Some orders are cut into subgraphs as a whole, the best of them is improved: a few subgraphs that
follow one another are taken out, their operators put into another order, some computed twice or
no more, and the new order is cut again by the dynamic program, with what surrounds it given. Costs
that grow are accepted as in simulated annealing (Kirkpatrick, Gelatt and Vecchi, 1983). The cut is
the best of its order with subgraphs up to a length, so the annealing walks over orders alone.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.contest.instance import Instance
from ullage.compiler.contest.solution import Subgraph
from ullage.solvers.contest.bound import Bound, lower_bound
from ullage.solvers.contest.moves import Moves
from ullage.solvers.contest.sequence import (
    NONE,
    Context,
    Costs,
    Group,
    Sequencer,
    Tensors,
    Tilings,
)
from ullage.solvers.contest.tiling import MOST_STEPS, snake

# Most operators of a subgraph, one length after the other: each takes several times as long as the
# one before, and the next is tried where a subgraph is as long as may be.
LENGTHS = (1, 6, 16, 32, 64)
# Instances of so few operators are cut into subgraphs of so many in any case, which takes tenths of
# a second: on a busy machine their time may be over before they are read.
SURE_OPERATORS, SURE_LENGTH = 24, 16
# Changes that bring nothing after which an instance of so few operators is given up, for each.
SMALL_OPERATORS, PATIENCE = 8, 200
# Operators of the part that is cut anew.
LEAST_PART, MOST_PART = 4, 18
# Cost of a subgraph on average that is accepted at the beginning, as a share.
WARMTH = 0.05
# Of steps, how many bring subgraphs together that are apart.
FAR_SHARE = 0.2
# The search goes back to the best solution when the cost is above it by this share.
LOST = 0.02
# A cost this near to the bound meets it.
CLOSE = 1e-9


@dataclass(frozen=True)
class Found:
    """The best solution of a search.

    Attributes:
        subgraphs: the solution.
        cost: in the contest's unit of time, by the search's own closed forms.
        bound: lower bound of any solution.
        steps: changes that were tried.
        interrupted: Ctrl-C ended the search.
    """

    subgraphs: tuple[Subgraph, ...]
    cost: float
    bound: Bound
    steps: int
    interrupted: bool


def search(
    instance: Instance,
    deadline: float,
    *,
    strict: bool = False,
    seed: int = 0,
    most_steps: int | None = None,
    tilings: Tilings | None = None,
) -> Found:
    """The best solution that is found in a time.

    Args:
        instance: the instance.
        deadline: `time.monotonic()` value to end at; a first solution is found in any case.
        strict: by the strict reading.
        seed: of the search.
        most_steps: changes that are tried at most; None for no limit.
        tilings: granularities that another search of the instance has found; more are added.

    Raises:
        InfeasibleError: an operator does not fit into fast memory with tiles of any size, or takes
            more than `MOST_STEPS` steps with those that fit.
        KeyboardInterrupt: interrupted before a solution was found.
    """
    costs = Costs(instance, strict=strict, tilings=tilings)
    state = _Search(instance, deadline, costs, seed)
    interrupted = False
    try:
        state.begin()
        state.improve(most_steps)
    except KeyboardInterrupt:
        if not state.best:
            raise
        interrupted = True
    return Found(
        tuple(_subgraph(instance, group) for group in state.best),
        state.best_cost,
        state.bound,
        state.steps,
        interrupted,
    )


def _subgraph(instance: Instance, group: Group) -> Subgraph:
    """A subgraph as the contest's files have it."""
    tiling = group.tiling
    members = set(group.operators)
    outer = next(
        t
        for operator in group.operators
        for t in instance.outputs[operator]
        if t in group.retained or members.isdisjoint(instance.readers[t])
    )
    across = -(-instance.widths[outer] // tiling.width)
    down = -(-instance.heights[outer] // tiling.height)
    tiles = None if min(across, down) == 1 else snake(across, down, by_columns=tiling.by_columns)
    return Subgraph(
        group.operators,
        (tiling.width, tiling.height, tiling.step),
        tuple(sorted(group.retained)),
        tiles,
    )


def _no_solution(instance: Instance) -> InfeasibleError:
    """The error where no order of the operators was cut: says which operator is to blame."""
    details: dict[str, Any] = {"available": instance.capacity}
    # in tiles and steps of one element an operator holds one of each operand and of each output
    least = [len(r) + len(w) for r, w in zip(instance.inputs, instance.outputs, strict=True)]
    operator = max(range(len(least)), key=least.__getitem__)
    if least[operator] > instance.capacity:
        return InfeasibleError(
            f"operator {operator} does not fit into fast memory ({instance.capacity:g} elements) "
            f"even with the smallest tiles, which take {least[operator]}; a larger "
            "fast_memory_capacity would help",
            details | {"operator": operator, "needed": least[operator]},
        )
    return InfeasibleError(
        f"no solution was found with up to {MOST_STEPS} steps per subgraph, the most that are "
        f"tried: tiles that fit into fast memory ({instance.capacity:g} elements) are so small "
        "that some operator takes more; a larger fast_memory_capacity would help",
        details | {"most_steps": MOST_STEPS},
    )


class _Search:
    """A solution that is improved.

    Attributes:
        best: the best solution so far.
        best_cost: its cost.
        bound: lower bound of any.
        steps: changes that were tried.
    """

    def __init__(self, instance: Instance, deadline: float, costs: Costs, seed: int) -> None:
        self._i, self._deadline = instance, deadline
        self._random = Random(seed)  # noqa: S311 - no secret
        self._moves = Moves(instance, self._random)
        self._sequencer = Sequencer(costs)
        self._facts: dict[tuple[tuple[int, ...], Tensors], tuple[Tensors, Tensors]] = {}
        self._inputs = frozenset(t for t, o in enumerate(instance.producer) if o < 0)
        self._longest = LENGTHS[0]
        self.bound = lower_bound(instance)
        self.best: list[Group] = []
        self.best_cost = math.inf
        self.steps = 0

    def _is_over(self) -> bool:
        return time.monotonic() >= self._deadline

    def _is_done(self) -> bool:
        return self.best_cost <= self.bound.cost * (1 + CLOSE) or self._is_over()

    def begin(self) -> None:
        """Cut some orders as a whole."""
        context = Context(self._inputs)
        sure = SURE_LENGTH if len(self._i.inputs) <= SURE_OPERATORS else 1
        for order in _orders(self._i, self._moves):
            for longest in LENGTHS:
                is_sure = longest <= sure and order is self._i.order
                if self.best and self._is_done() and not is_sure:
                    return
                cut = self._sequencer.best(
                    order,
                    context,
                    longest,
                    limit=self.best_cost,
                    is_over=_never if is_sure or not self.best else self._is_done,
                )
                if cut is not None:
                    self.best_cost, self.best = cut
                self._longest = max(self._longest, longest)
                is_long = max((len(group.operators) for group in self.best), default=longest)
                if longest >= len(order) or is_long <= longest // 3:
                    break
        if not self.best:
            raise _no_solution(self._i)

    def improve(self, most_steps: int | None) -> None:
        """Anneal until the time is over."""
        groups, cost = list(self.best), self.best_cost
        begun = time.monotonic()
        span = max(self._deadline - begun, 1e-9)
        is_small = len(self._i.inputs) <= SMALL_OPERATORS
        last = self.steps  # at which something was improved
        while not self._is_done():
            if is_small and self.steps - last > PATIENCE * len(self._i.inputs):
                return
            if most_steps is not None and self.steps >= most_steps:
                return
            self.steps += 1
            share = (time.monotonic() - begun) / span
            if most_steps is not None:
                share = max(share, self.steps / most_steps)
            warmth = WARMTH * (1 - min(share, 1.0)) ** 2 * cost / len(groups)
            changed = self._step(groups, warmth)
            if changed is None:
                continue
            groups = changed
            cost = sum(group.tiling.cost for group in groups)
            if cost < self.best_cost * (1 - 1e-12):
                self.best, self.best_cost = list(groups), cost
                last = self.steps
            elif cost > self.best_cost * (1 + LOST):
                groups, cost = list(self.best), self.best_cost

    def _step(self, groups: list[Group], warmth: float) -> list[Group] | None:
        """A changed solution; None where the change was refused."""
        if self._random.random() < FAR_SHARE:
            gathered = self._gathered(groups)
            if gathered is None:
                return None
            groups, start, stop = gathered
        else:
            start, stop = self._part(groups)
        sequence = [operator for group in groups[start:stop] for operator in group.operators]
        changed = self._moves.changed(sequence)
        if changed is None:
            return None
        local = sum(group.tiling.cost for group in groups[start:stop])
        slack = -math.log(1 - self._random.random()) * warmth
        cut = self._sequencer.best(
            changed,
            self._context(groups, start, stop),
            self._longest,
            limit=local + slack + 1e-9 * local,
            is_over=self._is_over,
        )
        if cut is None:
            return None
        result = [*groups[:start], *cut[1], *groups[stop:]]
        total = sum(len(group.operators) for group in result)
        if total > len(self._i.inputs) and not self._is_covered(result):
            return None
        return result

    def _part(self, groups: Sequence[Group]) -> tuple[int, int]:
        """Some subgraphs that follow one another: those from one place to before another."""
        size = self._random.randint(LEAST_PART, MOST_PART)
        start = stop = self._random.randrange(len(groups))
        count = 0
        while count < size and (start > 0 or stop < len(groups)):
            if stop < len(groups) and (start == 0 or self._random.random() < 0.5):
                count += len(groups[stop].operators)
                stop += 1
            else:
                start -= 1
                count += len(groups[start].operators)
        return start, stop

    def _facts_of(self, group: Group) -> tuple[Tensors, Tensors]:
        """Tensors that a subgraph reads from outside, and those that it stores."""
        key = (group.operators, group.retained)
        known = self._facts.get(key)
        if known is None:
            instance, members = self._i, set(group.operators)
            reads = frozenset(
                t
                for operator in members
                for t in instance.inputs[operator]
                if instance.producer[t] not in members
            )
            stores = frozenset(
                t
                for operator in members
                for t in instance.outputs[operator]
                if t not in group.retained and members.isdisjoint(instance.readers[t])
            )
            known = self._facts[key] = (reads, stores)
        return known

    def _context(self, groups: Sequence[Group], start: int, stop: int) -> Context:
        in_slow = set(self._inputs)
        for group in groups[:start]:
            in_slow |= self._facts_of(group)[1]
        needed: set[int] = set()
        later: set[int] = set(in_slow)
        entering = groups[stop - 1].retained
        for group in groups[stop:]:
            reads, stores = self._facts_of(group)
            needed |= reads - later - entering
            later |= stores
            entering = group.retained
        return Context(
            frozenset(in_slow),
            groups[start - 1].retained if start else NONE,
            frozenset(needed),
            groups[stop - 1].retained,
        )

    def _is_covered(self, groups: Sequence[Group]) -> bool:
        """Whether every reader of a tensor that stays inside also runs with its producer.

        The rules ask for it where operators run more than once.
        """
        instance = self._i
        sets = [set(group.operators) for group in groups]
        for group, members in zip(groups, sets, strict=True):
            for operator in members:
                for tensor in instance.outputs[operator]:
                    if tensor in group.retained or members.isdisjoint(instance.readers[tensor]):
                        continue
                    for reader in instance.readers[tensor]:
                        if reader not in members and not any(
                            reader in other and operator in other for other in sets
                        ):
                            return False
        return True

    def _gathered(self, groups: list[Group]) -> tuple[list[Group], int, int] | None:
        """A solution of the same cost in which subgraphs of two partners are next to each other.

        Returns:
            The solution and the part that both are; None where others in between forbid it.
        """
        operator = self._random.randrange(len(self._i.inputs))
        partners = self._moves.partners(operator)
        if not partners:
            return None
        partner = self._random.choice(partners)
        first = next(n for n, group in enumerate(groups) if operator in group.operators)
        second = next(n for n, group in enumerate(groups) if partner in group.operators)
        first, second = min(first, second), max(first, second)
        left, right = self._block(groups, first), self._block(groups, second)
        if left[1] > right[0]:
            return None
        between = groups[left[1] : right[0]]
        moving = groups[left[0] : left[1]]
        still = groups[right[0] : right[1]]
        if not between:
            return groups, left[0], right[1]
        if self._random.random() < 0.5:
            if not self._may_pass(moving, between):
                return None
            order = [*between, *moving, *still]
            start = left[0] + len(between)
        else:
            if not self._may_pass(between, still):
                return None
            order = [*moving, *still, *between]
            start = left[0]
        result = [*groups[: left[0]], *order, *groups[right[1] :]]
        return result, start, start + len(moving) + len(still)

    @staticmethod
    def _block(groups: Sequence[Group], place: int) -> tuple[int, int]:
        """The subgraphs around one that are tied together by what they retain."""
        start, stop = place, place + 1
        while start and groups[start - 1].retained:
            start -= 1
        while groups[stop - 1].retained and stop < len(groups):
            stop += 1
        return start, stop

    def _may_pass(self, earlier: Sequence[Group], later: Sequence[Group]) -> bool:
        """Whether subgraphs may run behind others that follow them."""
        stored: set[int] = set()
        for group in earlier:
            stored |= self._facts_of(group)[1]
        return all(stored.isdisjoint(self._facts_of(group)[0]) for group in later)


def _never() -> bool:
    return False


def _orders(instance: Instance, moves: Moves) -> Iterator[Sequence[int]]:
    """Orders to begin with: as given, depth first from the outputs, and by levels."""
    yield instance.order
    found: list[int] = []
    done: set[int] = set()
    for last in instance.order:
        if any(instance.readers[t] for t in instance.outputs[last]):
            continue
        waiting = [last]
        while waiting:
            operator = waiting[-1]
            missing = [p for p in sorted(moves.producers[operator]) if p not in done]
            if missing:
                waiting.append(missing[0])
                continue
            waiting.pop()
            if operator not in done:
                done.add(operator)
                found.append(operator)
    yield found
    level: dict[int, int] = {}
    for operator in instance.order:
        level[operator] = 1 + max((level[p] for p in moves.producers[operator]), default=0)
    yield sorted(instance.order, key=lambda operator: level[operator])
