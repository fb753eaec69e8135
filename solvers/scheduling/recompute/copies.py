"""Which results are dropped between two uses and computed again, and the schedule that does it.

    order       op1 -> a    op2 reads a   ...   op8 reads a       op9 reads b = op3(a)
    gaps of a               | gap 0 of a  ...  |    last gap of a: nothing but op3 again reads it
    dropped     gap 0 of a
    schedule    op1         op2           ...   op1, op8          op9

A result that is dropped in a gap is computed again right before the access that ends it. What its
operator reads must be there as well. An operand that is dropped in the gap around that place is
computed again, too, and so on (a chain); one that is not is kept until then, also where it had no
more use: the gap behind its last access counts as one. So two dropped neighbours make a chain, and
one that is kept between them ends it, as a checkpoint does (Chen et al., Training Deep Nets with
Sublinear Memory Cost, 2016).

A result may be dropped right behind the operator that makes it, too. Where nothing reads it before
it is made again, the operator does not run there: it is delayed to its first reader, and operators
run for the first time in another order (`first_runs`).

What is computed again is there until the access that ends the gap. Behind the last access, a choice
(`stays`): the next chain makes it anew, or it is there from then on, so that a whole stretch of the
order is run again just once. Plans decide for themselves
whether it stays in fast memory until then.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from heapq import heapify, heappop, heappush

from ullage.compiler.importer.joint.aten import RANDOM
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.reach import whole_box
from ullage.compiler.ir.schedule import Part, Schedule
from ullage.compiler.lowering.aliases import AliasOptions
from ullage.compiler.lowering.parts import Lowered, resolve

# Kind of operators whose second execution may not give what the first one gave, or about which
# nothing is known.
NEVER_AGAIN = RANDOM | {"Bernoulli", "Dropout", "If", "Loop", "Multinomial", "Scan"}
NEVER_AGAIN |= {f"Random{kind}" for kind in ("Normal", "NormalLike", "Uniform", "UniformLike")}
# What is done with a result in a gap: it is there; it is not; once it was computed again, it is.
KEPT, DROPPED, STAYS = 0, 1, 2
# Name of schedules in which whole operators run again.
RECOMPUTE = "recompute"


@dataclass(frozen=True, slots=True)
class GapOf:
    """A gap between two uses of a result.

    Attributes:
        result: index of the result.
        number: the gap before its access `number + 1`, where access 0 is the one that makes it; as
            many as there are readers for the gap behind the last. Gap 0 delays the operator.
        stays: of the gap behind the last access: what a chain computes again in it is there for the
            chains behind that, too; else each makes it anew.
    """

    result: int
    number: int
    stays: bool = False


@dataclass(frozen=True)
class Result:
    """A value that an operator writes, with the places of its accesses.

    Attributes:
        name: the value.
        size_bytes: its size.
        producer: the operator that writes it.
        places: in the order, where it is written and then where it is read, ascending.
        is_output: whether it must be there at the end, too.
    """

    name: str
    size_bytes: int
    producer: int
    places: tuple[int, ...]
    is_output: bool


@dataclass(frozen=True)
class RecomputeFacts:
    """A graph in an order: what operators read and write, in values that somebody writes.

    Attributes:
        graph: the graph.
        order: operator indices in the order in which they run.
        results: the values that operators write.
        reads: for each operator the results that it reads, by index; none for one that only
            arranges bytes.
        writes: for each operator those that it writes.
        overwritten: for each result those whose bytes it may take over where they are dead.
    """

    graph: Graph
    order: tuple[int, ...]
    results: tuple[Result, ...]
    reads: tuple[tuple[int, ...], ...]
    writes: tuple[tuple[int, ...], ...]
    overwritten: tuple[tuple[int, ...], ...]

    @cached_property
    def again(self) -> tuple[bool, ...]:
        """For each operator whether it may run again."""
        return tuple(bool(self.writes[i]) and may_run_again(self.graph, i) for i in self.order_free)

    @property
    def order_free(self) -> range:
        """Indices of all operators."""
        return range(len(self.graph.operators))

    @cached_property
    def gaps(self) -> tuple[GapOf, ...]:
        """All gaps that a result may be dropped in, those behind the last access included."""
        return tuple(
            GapOf(index, number)
            for index, result in enumerate(self.results)
            if self.again[result.producer] and not result.is_output and result.size_bytes
            for number in range(len(result.places))
            if len(result.places) > 1
        )


def may_run_again(graph: Graph, operator: int) -> bool:
    """Whether an operator gives the same result when it runs again."""
    kinds = set(graph.operators[operator].kind.replace("+", " ").split())
    return not kinds & NEVER_AGAIN


def recompute_facts(graph: Graph, order: Sequence[int], aliases: AliasOptions) -> RecomputeFacts:
    """What operators read and write, every result apart from others, and which may overwrite which.

    Args:
        graph: the graph.
        order: operator indices in the order in which they run.
        aliases: what may share bytes.
    """
    apart = AliasOptions(aliases.views, False, aliases.parts, aliases.alignment_bytes)
    lowered = resolve(graph, Schedule.whole(order), apart)
    number: dict[str, int] = {}
    made: list[tuple[str, int, list[int]]] = []
    reads: list[tuple[int, ...]] = [()] * len(graph.operators)
    writes: list[tuple[int, ...]] = [()] * len(graph.operators)
    for place, (index, accesses) in enumerate(zip(order, lowered.accesses, strict=True)):
        if accesses is None:
            continue
        operator = graph.operators[index]
        # What has no bytes is not accessed, but its readers wait for it all the same.
        empty = [
            _empty_leaves(lowered, graph, names) for names in (operator.inputs, operator.outputs)
        ]
        leaves = [*(a.leaf for a in accesses.reads), *empty[0]]
        read = {number[leaf]: None for leaf in leaves if leaf in number}
        for result in read:
            made[result][2].append(place)
        written = dict.fromkeys([*(a.leaf for a in accesses.writes), *empty[1]])
        for leaf in written:
            if leaf not in number:
                number[leaf] = len(made)
                made.append((leaf, index, [place]))
        reads[index] = tuple(read)
        writes[index] = tuple(number[leaf] for leaf in written)
    kept = {
        leaf
        for name in graph.outputs
        for leaf, _ in lowered.leaves.of(name, tuple((0, n) for n in graph.values[name].shape))
    }
    results = tuple(
        Result(name, graph.values[name].size_bytes, producer, tuple(places), name in kept)
        for name, producer, places in made
    )
    overwritten: list[tuple[int, ...]] = [()] * len(results)
    if aliases.in_place:
        for index, operator in enumerate(graph.operators):
            shared = [number.get(s.input) for s in operator.sharings if s.kind == "in_place"]
            if len(operator.outputs) == 1 and writes[index]:
                size = results[writes[index][0]].size_bytes
                overwritten[writes[index][0]] = tuple(
                    n for n in shared if n is not None and results[n].size_bytes == size
                )
    return RecomputeFacts(
        graph, tuple(order), results, tuple(reads), tuple(writes), tuple(overwritten)
    )


def _empty_leaves(lowered: Lowered, graph: Graph, names: Iterable[str]) -> list[str]:
    """The values without bytes that some names stand for."""
    return [
        leaf
        for name in names
        if not graph.values[name].size_bytes
        for leaf, _ in lowered.leaves.of(name, whole_box(graph.values[name].shape))
    ]


def in_order(facts: RecomputeFacts, running: Sequence[int]) -> RecomputeFacts:
    """The same graph in another order.

    Args:
        facts: the graph.
        running: the operators that write something, in the order in which they run.
    """
    order = _with_arranging(facts, {operator: at for at, operator in enumerate(running)})
    places: list[list[int]] = [[] for _ in facts.results]
    for place, operator in enumerate(order):
        for result in (*facts.reads[operator], *facts.writes[operator]):
            places[result].append(place)
    results = tuple(
        replace(result, places=tuple(at)) for result, at in zip(facts.results, places, strict=True)
    )
    return replace(facts, order=order, results=results)


def schedule_of(facts: RecomputeFacts, dropped: Collection[GapOf]) -> Schedule:
    """The schedule in which results are dropped in gaps and computed again.

    Args:
        facts: the graph in its order.
        dropped: the gaps. Of several results of one operator, all are made again with any of them.
    """
    copies: dict[int, int] = {}
    parts: list[Part] = []
    for operator in parts_of(facts, dropped, with_arranging=True):
        copy = copies.get(operator, -1) + 1
        copies[operator] = copy
        parts.append(Part(operator, (), copy))
    schedule = Schedule(RECOMPUTE, tuple(parts))
    if all(gap.number for gap in dropped):
        return schedule
    # Where operators are delayed, what arranges their results follows them.
    behind: dict[int, list[Part]] = {}
    last = -1
    for operator in first_runs(facts, schedule):
        if facts.writes[operator]:
            last = operator
        else:
            behind.setdefault(last, []).append(Part(operator))
    moved = behind.get(-1, [])
    for part in parts:
        if facts.writes[part.operator]:
            moved.append(part)
            moved += behind.get(part.operator, ()) if part.copy == 0 else ()
    return Schedule(RECOMPUTE, tuple(moved))


def parts_of(
    facts: RecomputeFacts, dropped: Collection[GapOf], *, with_arranging: bool = False
) -> list[int]:
    """The operators of that schedule as they run; one that runs again is there several times.

    Args:
        facts: the graph in its order.
        dropped: the gaps.
        with_arranging: operators that only arrange bytes are there, too.
    """
    results, reads, writes = facts.results, facts.reads, facts.writes
    gone = [bytearray(len(result.places)) for result in results]
    for gap in dropped:
        gone[gap.result][gap.number] = STAYS if gap.stays else DROPPED
    passed = [-1] * len(results)  # by result the number of its last access so far
    missing = bytearray(len(results))
    sequence: list[tuple[int, bool]] = []
    for operator in facts.order:
        if not writes[operator]:
            if with_arranging:
                sequence.append((operator, True))
            continue
        made: list[int] = []
        stack = [(result, False) for result in reads[operator] if missing[result]]
        while stack:
            result, is_ready = stack.pop()
            if not missing[result]:
                continue
            producer = results[result].producer
            if is_ready:
                sequence.append((producer, False))
                for other in writes[producer]:
                    if missing[other]:
                        missing[other] = 0
                        made.append(other)
                continue
            stack.append((result, True))
            stack += [(operand, False) for operand in reads[producer] if missing[operand]]
        sequence.append((operator, True))
        for result in (*reads[operator], *writes[operator]):
            passed[result] += 1
            missing[result] = gone[result][passed[result]] != KEPT
        for result in made:  # for a chain alone: nothing but other chains reads it again
            is_last = passed[result] + 1 == len(results[result].places)
            if is_last and gone[result][passed[result]] == DROPPED:
                missing[result] = 1
    return _needed(facts, sequence)


def first_runs(facts: RecomputeFacts, schedule: Schedule) -> tuple[int, ...]:
    """The operators in the order in which they run for the first time.

    Those that only arrange bytes follow what they read at once.

    Args:
        facts: the graph.
        schedule: of all of its operators.
    """
    parts = enumerate(schedule.parts)
    return _with_arranging(facts, {part.operator: at for at, part in parts if part.copy == 0})


def _with_arranging(facts: RecomputeFacts, rank: Mapping[int, int]) -> tuple[int, ...]:
    """All operators by rank; those that only arrange bytes follow what they read at once."""
    operators = facts.graph.operators
    maker = {name: index for index, o in enumerate(operators) for name in o.outputs}
    waits = {
        i: {maker[name] for name in o.inputs if name in maker} for i, o in enumerate(operators)
    }
    readers: dict[int, list[int]] = {}
    for index, makers in waits.items():
        for one in makers:
            readers.setdefault(one, []).append(index)
    ready = [(rank[i] if facts.writes[i] else -1, i) for i, makers in waits.items() if not makers]
    heapify(ready)
    order: list[int] = []
    while ready:
        _, index = heappop(ready)
        order.append(index)
        for reader in readers.get(index, ()):
            waits[reader].discard(index)
            if not waits[reader]:
                heappush(ready, (rank[reader] if facts.writes[reader] else -1, reader))
    return tuple(order)


def _needed(facts: RecomputeFacts, sequence: Sequence[tuple[int, bool]]) -> list[int]:
    """The operators without runs of which nothing is read before it is made again.

    One of whose results nothing is ever read runs once.

    Args:
        facts: the graph.
        sequence: operators as they run, and whether for the first time.
    """
    wanted = bytearray(result.is_output for result in facts.results)
    kept: list[int] = []
    later: set[int] = set()
    for operator, is_first in reversed(sequence):
        writes = facts.writes[operator]
        is_only = is_first and operator not in later
        if not is_only and not any(wanted[result] for result in writes):
            continue
        later.add(operator)
        for result in writes:
            wanted[result] = 0
        for result in facts.reads[operator]:
            wanted[result] = 1
        kept.append(operator)
    return kept[::-1]
