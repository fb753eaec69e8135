"""The best way to cut a sequence of operators into subgraphs: a dynamic program over its windows.

A state is a place in the sequence and the tensors that the window before it retains. The sequence
is a part of a whole solution: what lies in slow memory before it, what enters it, what is read
behind it and what has to be retained at its end are given. An operator may stand in it more than
once; a reader takes its operand from the last producer before it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from ullage.compiler.contest.instance import Instance
from ullage.solvers.contest.bound import least_work
from ullage.solvers.contest.subgraphs import Key, Shape, shape_of
from ullage.solvers.contest.tiling import Tiling, best_tiling

# Tensors that may be retained or not at one boundary: all subsets are tried of so many.
MAX_CHOICES = 3
# Subgraphs whose granularity is remembered.
MAX_REMEMBERED = 2_000_000

# Granularities of shapes, None where none fits. Both readings of the rules have the same.
Tilings = dict[Key, Tiling | None]
Tensors = frozenset[int]
NONE: Tensors = frozenset()


class Group(NamedTuple):
    """A subgraph of a solution.

    Attributes:
        operators: in topological order.
        retained: tensors that stay for the next.
        tiling: granularity and cost.
    """

    operators: tuple[int, ...]
    retained: Tensors
    tiling: Tiling


class Costs:
    """Granularities and costs of subgraphs, each computed once.

    Attributes:
        instance: the instance.
        evaluated: granularities that were searched.
    """

    def __init__(self, instance: Instance, *, strict: bool, tilings: Tilings | None = None) -> None:
        self.instance, self._strict = instance, strict
        self._known: dict[tuple[tuple[int, ...], Tensors, Tensors], Tiling | None] = {}
        self._tilings: Tilings = {} if tilings is None else tilings
        self.evaluated = 0

    def __call__(
        self, operators: tuple[int, ...], retained: Tensors, entering: Tensors
    ) -> Tiling | None:
        """The best granularity of a subgraph; None where it is illegal.

        Args:
            operators: in topological order.
            retained: tensors that stay for the next.
            entering: tensors that the one before retained.
        """
        key = (operators, retained, entering)
        try:
            return self._known[key]
        except KeyError:
            pass
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
            self._tilings.clear()
        shape = shape_of(self.instance, operators, retained, entering, strict=self._strict)
        self._known[key] = tiling = None if shape is None else self._tiling(shape)
        return tiling

    def _tiling(self, shape: Shape) -> Tiling | None:
        """The best granularity of a shape: many subgraphs of a regular graph have the same."""
        key = shape.key()
        if key not in self._tilings:
            self.evaluated += 1
            self._tilings[key] = best_tiling(self.instance, shape)
        return self._tilings[key]


@dataclass(frozen=True)
class Context:
    """What surrounds a sequence.

    Attributes:
        in_slow: tensors that are in slow memory before it, graph inputs included.
        entering: tensors that the subgraph before it retains.
        needed: tensors that are read from slow memory behind it and are not there before it.
        leaving: tensors that its last subgraph has to retain.
    """

    in_slow: Tensors
    entering: Tensors = NONE
    needed: Tensors = NONE
    leaving: Tensors = NONE


class _State(NamedTuple):
    """The cheapest way to a place with some tensors retained.

    Attributes:
        cost: so far.
        reach: the place that the next window has to reach: behind all readers of what is retained.
        start: place at which the last window starts.
        before: what entered it.
        group: the window as a subgraph; None at the beginning.
    """

    cost: float
    reach: int
    start: int
    before: Tensors
    group: Group | None


class _Window(NamedTuple):
    """What a window reads from before it, and leaves to those behind it.

    Attributes:
        operators: in topological order.
        reads: tensors that come from outside.
        only_entering: those of them that are not in slow memory, so must have been retained.
        forced: tensors it must retain.
        choices: others that it may retain.
        reach: for tensors of `forced` and `choices`, the place behind their last reader.
    """

    operators: tuple[int, ...]
    reads: Tensors
    only_entering: Tensors
    forced: Tensors
    choices: list[int]
    reach: dict[int, int]


class Sequencer:
    """Cuts sequences of operators of one instance into subgraphs."""

    def __init__(self, costs: Costs) -> None:
        self.costs = costs
        self._i = costs.instance
        self._rank = {operator: n for n, operator in enumerate(self._i.order)}
        # A little less than what they compute, for sums in another order.
        self._work = [work * (1 - 1e-9) for work in least_work(self._i)]

    def best(
        self,
        sequence: Sequence[int],
        context: Context,
        longest: int,
        *,
        limit: float = math.inf,
        is_over: Callable[[], bool] = lambda: False,
    ) -> tuple[float, list[Group]] | None:
        """The cheapest cut; None where there is none below a limit, or time is over.

        Args:
            sequence: operators, each behind those that it reads from.
            context: what surrounds it.
            longest: most operators of a subgraph.
            limit: costs from here on are of no interest.
            is_over: whether time is over.
        """
        count = len(sequence)
        links = _Links(self._i, sequence, context)
        states: list[dict[Tensors, _State]] = [{} for _ in range(count + 1)]
        states[0][context.entering] = _State(0.0, 0, -1, NONE, None)
        rest = [0.0] * (count + 1)  # the least that is computed from a place on
        for place in range(count - 1, -1, -1):
            rest[place] = rest[place + 1] + self._work[sequence[place]]
        for start in range(count):
            states[start] = {
                entering: state
                for entering, state in states[start].items()
                if state.cost + rest[start] < limit
            }
            if not states[start]:
                continue
            for stop, members in self._windows(sequence, start, longest):
                if is_over():
                    return None
                window = self._window(links, (start, stop), members)
                if window is not None:
                    least = rest[start] - rest[stop]
                    self._advance(states, window, (start, stop), (least, limit - rest[stop]))
        state = states[count].get(context.leaving)
        if state is None:
            return None
        cost, groups = state.cost, []
        while state.group is not None:
            groups.append(state.group)
            state = states[state.start][state.before]
        return cost, groups[::-1]

    def _windows(
        self, sequence: Sequence[int], start: int, longest: int
    ) -> Iterator[tuple[int, set[int]]]:
        """Yield (end, operators) of windows whose outputs may have one shape."""
        readers, widths, heights = self._i.readers, self._i.widths, self._i.heights
        members: set[int] = set()
        for stop in range(start + 1, min(len(sequence), start + longest) + 1):
            operator = sequence[stop - 1]
            if operator in members:
                return
            members.add(operator)
            leaving = (
                tensor
                for member in members
                for tensor in self._i.outputs[member]
                if members.isdisjoint(readers[tensor])
            )
            if len({(widths[t], heights[t]) for t in leaving}) == 1:
                yield stop, members

    def _window(self, links: "_Links", ends: tuple[int, int], members: set[int]) -> _Window | None:
        """What a window means for its neighbours; None where it cannot be one."""
        instance, context = self._i, links.context
        start, stop = ends
        is_last = stop == len(links.sequence)
        forced, choices = set(), []
        reach: dict[int, int] = {}
        reads, only_entering = set(), set()
        for place in range(start, stop):
            operator = links.sequence[place]
            for tensor in instance.inputs[operator]:
                producer = instance.producer[tensor]
                if producer < 0 or producer in members:
                    continue
                reads.add(tensor)
                if tensor not in context.in_slow and links.first.get(producer, start) >= start:
                    only_entering.add(tensor)
            for tensor in instance.outputs[operator]:
                is_inner = not members.isdisjoint(instance.readers[tensor])
                if tensor in context.needed and links.last[operator] == place:
                    if is_inner:
                        return None
                elif is_last and tensor in context.leaving:
                    forced.add(tensor)
                    reach[tensor] = stop
                else:
                    behind = links.last_reader[place].get(tensor, -1)
                    if behind < stop:
                        continue
                    reach[tensor] = behind + 1
                    if is_inner:
                        forced.add(tensor)
                    else:
                        choices.append(tensor)
        if is_last and forced != context.leaving:
            return None
        operators = tuple(sorted(members, key=self._rank.__getitem__))
        return _Window(
            operators,
            frozenset(reads),
            frozenset(only_entering),
            frozenset(forced),
            choices,
            reach,
        )

    def _advance(
        self,
        states: list[dict[Tensors, _State]],
        window: _Window,
        ends: tuple[int, int],
        costs: tuple[float, float],
    ) -> None:
        """Extend all states at the start of a window by it.

        Args:
            states: for each place and what is retained there.
            window: the window.
            ends: its start and its end.
            costs: the least that it costs, and costs that are of no interest at its end.
        """
        start, stop = ends
        least, limit = costs
        after = states[stop]
        subsets: list[tuple[Tensors, int]] | None = None
        for entering, state in states[start].items():
            if not window.only_entering <= entering or state.reach > stop:
                continue
            if start and not entering <= window.reads:
                continue
            if subsets is None:
                subsets = _subsets(window)
            for retained, reach in subsets:
                known = after.get(retained)
                if state.cost + least >= (limit if known is None else known.cost):
                    continue
                tiling = self.costs(window.operators, retained, entering)
                if tiling is None:
                    continue
                cost = state.cost + tiling.cost
                if cost < limit and (known is None or cost < known.cost):
                    group = Group(window.operators, retained, tiling)
                    after[retained] = _State(cost, reach, start, entering, group)


class _Links:
    """Who reads what in a sequence.

    Attributes:
        sequence: operators.
        context: what surrounds it.
        first: the first place of each operator.
        last: the last place of each operator.
        last_reader: for each place, tensors made there and the last place that reads them.
    """

    def __init__(self, instance: Instance, sequence: Sequence[int], context: Context) -> None:
        self.sequence, self.context = sequence, context
        self.first: dict[int, int] = {}
        self.last: dict[int, int] = {}
        self.last_reader: list[dict[int, int]] = [{} for _ in sequence]
        for place, operator in enumerate(sequence):
            for tensor in instance.inputs[operator]:
                source = self.last.get(instance.producer[tensor], -1)
                if source >= 0:
                    self.last_reader[source][tensor] = place
            self.first.setdefault(operator, place)
            self.last[operator] = place


def _subsets(window: _Window) -> list[tuple[Tensors, int]]:
    """Sets of tensors that a window may retain, and how far the next has to reach for each."""
    choices = window.choices[-MAX_CHOICES:]
    found = []
    for size in range(len(choices) + 1):
        for chosen in combinations(choices, size):
            retained = window.forced.union(chosen)
            found.append((retained, max((window.reach[t] for t in retained), default=0)))
    return found
