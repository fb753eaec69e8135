"""Operator orders: the file's own, and a peak-minimising heuristic.

The heuristic is list scheduling on the memory that each choice frees and takes, run with several
tie-breaking rules and from both ends of the graph; the best of all orders, the file's included,
wins, so `memory` never has a larger peak than `model`. Cost: O((operators + uses) log operators)
per rule.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ullage.compiler.graph import Graph


@dataclass(frozen=True)
class _Dag:
    """Operators and the storage between them; views do not count twice.

    Attributes:
        reads: for each operator the storage indices it reads.
        writes: for each operator the storage indices it brings to life.
        sizes: bytes of each storage.
        readers: for each storage its distinct readers.
        writer: for each storage the operator that makes it, -1 for graph inputs.
        before: for each operator those whose results it reads (through views too).
        kept: storage that lives to the end (outputs).
        scratch: workspace bytes of each operator.
    """

    reads: tuple[tuple[int, ...], ...]
    writes: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]
    readers: tuple[tuple[int, ...], ...]
    writer: tuple[int, ...]
    before: tuple[frozenset[int], ...]
    kept: frozenset[int]
    scratch: tuple[int, ...]


def model_order(graph: Graph) -> tuple[int, ...]:
    """Operators as the file lists them."""
    return tuple(range(len(graph.operators)))


def memory_order(graph: Graph) -> tuple[int, ...]:
    """The order with the smallest peak of live activation bytes that the heuristics find."""
    dag = _dag(graph)
    best = model_order(graph)
    best_peak = _peak(dag, best)
    for rule in (_by_net, _by_freed, _by_depth):
        for candidate in (_list_schedule(dag, rule), _reverse_schedule(dag, rule)):
            peak = _peak(dag, candidate)
            if peak < best_peak:
                best, best_peak = candidate, peak
    return best


def order_peak_bytes(graph: Graph, order: Sequence[int]) -> int:
    """Largest sum of live activation bytes in an order; views share bytes, nothing else does."""
    return _peak(_dag(graph), order)


def _dag(graph: Graph) -> _Dag:
    storage: dict[str, int] = {}
    sizes: list[int] = []
    writer: list[int] = []

    def new(name: str, maker: int) -> None:
        storage[name] = len(sizes)
        sizes.append(graph.values[name].size_bytes)
        writer.append(maker)

    for name in graph.inputs:
        new(name, -1)
    reads: list[tuple[int, ...]] = []
    writes: list[tuple[int, ...]] = []
    for index, operator in enumerate(graph.operators):
        reads.append(tuple(dict.fromkeys(storage[n] for n in operator.inputs if n in storage)))
        views = {s.output: s.input for s in operator.sharings if s.kind == "view"}
        made: list[int] = []
        for name in operator.outputs:
            if views.get(name) in storage:
                storage[name] = storage[views[name]]
            else:
                new(name, index)
                made.append(storage[name])
        writes.append(tuple(made))
    maker = {name: i for i, o in enumerate(graph.operators) for name in o.outputs}
    readers: list[list[int]] = [[] for _ in sizes]
    for index, read in enumerate(reads):
        for item in read:
            readers[item].append(index)
    return _Dag(
        reads=tuple(reads),
        writes=tuple(writes),
        sizes=tuple(sizes),
        readers=tuple(map(tuple, readers)),
        writer=tuple(writer),
        before=tuple(frozenset(maker[n] for n in o.inputs if n in maker) for o in graph.operators),
        kept=frozenset(storage[n] for n in graph.outputs if n in storage),
        scratch=tuple(o.workspace_bytes for o in graph.operators),
    )


def _peak(dag: _Dag, order: Sequence[int]) -> int:
    waiting = [len(readers) for readers in dag.readers]
    live = sum(dag.sizes[i] for i, w in enumerate(dag.writer) if w < 0 and dag.readers[i])
    peak = live
    for index in order:
        live += sum(dag.sizes[i] for i in dag.writes[index])
        peak = max(peak, live + dag.scratch[index])
        for item in dag.reads[index]:
            waiting[item] -= 1
        for item in {*dag.reads[index], *dag.writes[index]}:
            if waiting[item] == 0 and item not in dag.kept:
                live -= dag.sizes[item]
    return peak


Rule = Callable[[int, int, int], tuple[int, ...]]  # (bytes taken, bytes freed, age) -> priority


def _by_net(taken: int, freed: int, age: int) -> tuple[int, ...]:
    """Least growth first, then the youngest operator (depth first)."""
    return (taken - freed, -age)


def _by_freed(taken: int, freed: int, age: int) -> tuple[int, ...]:
    """Shrinking operators first, by most freed; growing ones by least taken."""
    return (0, -freed, -age) if freed >= taken else (1, taken, -age)


def _by_depth(taken: int, freed: int, age: int) -> tuple[int, ...]:
    """Depth first, memory breaks ties."""
    return (-age, taken - freed)


def _list_schedule(dag: _Dag, rule: Rule) -> tuple[int, ...]:
    """Always run the ready operator that the rule prefers.

    What an operator frees depends on how many readers its operands still have, so priorities are
    refreshed for the last reader left when that number falls to one.
    """
    operators = len(dag.reads)
    remaining = [len(readers) for readers in dag.readers]
    blocked = [len(before) for before in dag.before]
    successors: list[list[int]] = [[] for _ in range(operators)]
    for index, before in enumerate(dag.before):
        for maker in before:
            successors[maker].append(index)
    left: list[set[int]] = [set(readers) for readers in dag.readers]
    born = [0] * operators
    done = [False] * operators

    def priority(index: int) -> tuple[int, ...]:
        taken = sum(dag.sizes[i] for i in dag.writes[index])
        freed = sum(
            dag.sizes[i] for i in dag.reads[index] if remaining[i] == 1 and i not in dag.kept
        )
        freed += sum(
            dag.sizes[i] for i in dag.writes[index] if not dag.readers[i] and i not in dag.kept
        )
        return rule(taken, freed, born[index])

    heap: list[tuple[tuple[int, ...], int]] = []
    ready = [count == 0 for count in blocked]
    for index in range(operators):
        if ready[index]:
            heapq.heappush(heap, (priority(index), index))
    order: list[int] = []
    while heap:
        known, index = heapq.heappop(heap)
        if done[index]:
            continue
        current = priority(index)
        if current != known:
            heapq.heappush(heap, (current, index))
            continue
        done[index] = True
        order.append(index)
        for item in dag.reads[index]:
            remaining[item] -= 1
            left[item].discard(index)
            if remaining[item] == 1:
                (last,) = left[item]
                if ready[last] and not done[last]:
                    heapq.heappush(heap, (priority(last), last))
        for follower in successors[index]:
            blocked[follower] -= 1
            if blocked[follower] == 0:
                ready[follower] = True
                born[follower] = len(order)
                heapq.heappush(heap, (priority(follower), follower))
    return tuple(order)


def _reverse_schedule(dag: _Dag, rule: Rule) -> tuple[int, ...]:
    """List scheduling from the outputs backwards.

    Run in reverse, an operator takes what it reads and frees what it writes.
    """
    operators = len(dag.reads)
    mirrored_reads: list[list[int]] = [list(writes) for writes in dag.writes]
    mirrored_writes: list[list[int]] = [[] for _ in range(operators)]
    # A storage is born in reverse at its last forward reader; which one that is, the reverse order
    # decides: the first reader that it meets. All readers wait for nothing from each other, so the
    # storage is charged to each as if it were the first, and freed at its writer.
    for item, readers in enumerate(dag.readers):
        for reader in readers:
            if dag.writer[item] >= 0:
                mirrored_writes[reader].append(item)
    waiting = [0] * operators
    for before in dag.before:
        for maker in before:
            waiting[maker] += 1
    live = [item in dag.kept for item in range(len(dag.sizes))]
    done = [False] * operators
    born = [0] * operators

    def priority(index: int) -> tuple[int, ...]:
        taken = sum(dag.sizes[i] for i in mirrored_writes[index] if not live[i])
        freed = sum(dag.sizes[i] for i in mirrored_reads[index])
        return rule(taken, freed, born[index])

    heap: list[tuple[tuple[int, ...], int]] = []
    for index in range(operators):
        if waiting[index] == 0:
            heapq.heappush(heap, (priority(index), -index))
    order: list[int] = []
    while heap:
        known, negative = heapq.heappop(heap)
        index = -negative
        if done[index]:
            continue
        current = priority(index)
        if current != known:
            heapq.heappush(heap, (current, negative))
            continue
        done[index] = True
        order.append(index)
        for item in mirrored_writes[index]:
            live[item] = True
        for maker in dag.before[index]:
            waiting[maker] -= 1
            if waiting[maker] == 0:
                born[maker] = len(order)
                heapq.heappush(heap, (priority(maker), -maker))
    return tuple(reversed(order))
