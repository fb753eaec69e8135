"""A graph as an ordering problem: operators, and the bytes that live between them.

Storage is decided by `find_aliases` without in-place reuse, which does not depend on the order
(except for disputed parts, see `order_items`). Every byte then holds one datum all the time, so
what is alive after a set of operators depends on the set alone: bytes written inside it (or given)
and read outside it (or kept). In-place reuse makes no difference between operators; while one runs,
it saves the bytes of an operand that dies there.

Sets of operators are bit masks (Python integers), bit i for operator i.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from ullage.compiler.ir.dag import operator_dag
from ullage.compiler.ir.graph import Graph, Operator
from ullage.compiler.ir.program import DMA_STEP, Program
from ullage.compiler.lowering.aliases import Aliases, AliasOptions, find_aliases
from ullage.compiler.lowering.lower import build_program

# Writer of bytes that are there before the first operator.
GIVEN = -1


@dataclass(frozen=True, slots=True)
class Item:
    """Bytes with one writer and one set of readers.

    Attributes:
        size_bytes: how many bytes.
        writer: operator that writes them, `GIVEN` for graph inputs.
        readers: set of operators.
        kept: they live to the end (outputs).
    """

    size_bytes: int
    writer: int
    readers: int
    kept: bool


@dataclass(frozen=True, slots=True)
class Reuse:
    """An operator may write its result over an operand that dies.

    Attributes:
        size_bytes: bytes saved while it runs.
        others: the operand's other readers; all must have run.
    """

    size_bytes: int
    others: int


@dataclass(frozen=True)
class Items:
    """An ordering problem over N operators that do something (views and the like do not).

    Attributes:
        operators: (N,) operator indices in the graph.
        before: (N,) sets of operators that must run earlier (direct predecessors).
        items: the bytes that live between operators.
        scratch_bytes: (N,) workspace.
        reuses: (N,) in-place possibilities; at most one is used.
    """

    operators: tuple[int, ...]
    before: tuple[int, ...]
    items: tuple[Item, ...]
    scratch_bytes: tuple[int, ...]
    reuses: tuple[tuple[Reuse, ...], ...]


def bits(mask: int) -> Iterator[int]:
    """The members of a set, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def order_items(graph: Graph, options: AliasOptions) -> tuple[Items, Items]:
    """The ordering problem of a graph, to search in and to bound by.

    Where Concats compete for a part, who gets it depends on the order. The first problem has the
    decision of the file's order; in the second, all bytes that such decisions touch count as
    nothing, so that its peaks are bounds. Where nobody competes the two are one object.

    Args:
        graph: the graph.
        options: what may share storage.
    """
    order = range(len(graph.operators))
    fixed = replace(options, in_place=False)
    storage = _Storage(
        graph, find_aliases(graph, order, fixed), build_program(graph, order, aliases=fixed)
    )
    items = _items(storage, options, frozenset())
    disputed = _disputed_buffers(graph, fixed, storage.aliases) if options.parts else frozenset()
    return items, _items(storage, options, disputed) if disputed else items


@dataclass(frozen=True)
class _Storage:
    """A graph with storage decided, no in-place reuse."""

    graph: Graph
    aliases: Aliases
    program: Program


def _items(storage: _Storage, options: AliasOptions, disputed: frozenset[str]) -> Items:
    """The ordering problem, in which disputed buffers count as nothing."""
    graph = storage.graph
    steps = [step for step in storage.program.steps if step.kind != DMA_STEP]
    number = {step.operator: i for i, step in enumerate(steps)}
    ranges = _ranges(storage.program, number, disputed)
    sizes: dict[tuple[int, int, bool], int] = {}
    for _, _, _, item in ranges:
        key = (item.writer, item.readers, item.kept)
        sizes[key] = sizes.get(key, 0) + item.size_bytes
    by_buffer: dict[str, list[tuple[int, int, Item]]] = {}
    for name, low, high, item in ranges:
        by_buffer.setdefault(name, []).append((low, high, item))
    reuses: list[tuple[Reuse, ...]] = []
    for i, step in enumerate(steps):
        operator = graph.operators[step.operator]
        open_result = any(storage.aliases.buffer_of[n][0] in disputed for n in operator.outputs)
        usable = options.in_place and not open_result
        reuses.append(_reuses(storage, operator, i, by_buffer) if usable else ())
    return Items(
        operators=tuple(step.operator for step in steps),
        before=_before(graph, number),
        items=tuple(Item(size, *key) for key, size in sizes.items() if size),
        scratch_bytes=tuple(
            0 if disputed and step.kind == "Concat" else step.workspace_bytes for step in steps
        ),
        reuses=tuple(reuses),
    )


def _before(graph: Graph, number: dict[int, int]) -> tuple[int, ...]:
    """Direct predecessors, through operators that do nothing."""
    makers: dict[str, int] = {}  # the set of operators after which a value is there
    result = [0] * len(number)
    for index, operator in enumerate(graph.operators):
        needed = 0
        for name in operator.inputs:
            needed |= makers.get(name, 0)
        if index in number:
            result[number[index]] = needed
            needed = 1 << number[index]
        for name in operator.outputs:
            makers[name] = needed
    return tuple(result)


def _ranges(
    program: Program, number: dict[int, int], disputed: frozenset[str]
) -> list[tuple[str, int, int, Item]]:
    """(buffer, first byte, one past the last, item) for all bytes that are used or kept."""
    result: list[tuple[str, int, int, Item]] = []
    for buffer, uses in zip(program.buffers, program.uses_of, strict=True):
        if buffer.constant or buffer.name in disputed:
            continue
        cuts = {edge for _, use in uses for edge in (use.start_byte, use.end_byte)}
        cuts.update(edge for output in buffer.outputs for edge in output)
        edges = sorted(cuts)
        writers = [GIVEN] * len(edges)
        readers = [0] * len(edges)
        for t, use in uses:
            operator = number[program.steps[t].operator]
            first, last = bisect_left(edges, use.start_byte), bisect_left(edges, use.end_byte)
            for piece in range(first, last):
                if use.write:
                    writers[piece] = operator
                else:
                    readers[piece] |= 1 << operator
        for piece, (low, high) in enumerate(pairwise(edges)):
            kept = any(start < high and low < end for start, end in buffer.outputs)
            if writers[piece] != GIVEN or readers[piece] or kept:
                item = Item(high - low, writers[piece], readers[piece], kept)
                result.append((buffer.name, low, high, item))
    return result


def _reuses(
    storage: _Storage,
    operator: Operator,
    number: int,
    ranges: Mapping[str, Sequence[tuple[int, int, Item]]],
) -> tuple[Reuse, ...]:
    """Operands that the result may overwrite once nobody else needs them.

    These are the conditions of `find_aliases` that hold in every order; what depends on earlier
    decisions is left out, so nothing is missing here.
    """
    permitted = [s for s in operator.sharings if s.kind == "in_place"]
    if not permitted or len(operator.outputs) != 1:
        return ()
    values, aliases = storage.graph.values, storage.aliases
    reuses: dict[int, int] = {}
    for sharing in permitted:
        size = values[sharing.input].size_bytes
        source, offset = aliases.buffer_of[sharing.input]
        result, _ = aliases.buffer_of[sharing.output]
        alone = values[result].size_bytes == values[sharing.output].size_bytes
        may_move = values[source].size_bytes == size and values[source].kind == "activation"
        if (
            size != values[sharing.output].size_bytes
            or values[source].kind not in ("activation", "output")
            or source == result
            or not (alone or may_move)
        ):
            continue
        pieces = ranges.get(source, ())
        first = bisect_right(pieces, offset, key=lambda piece: piece[1])
        last = bisect_left(pieces, offset + size, key=lambda piece: piece[0])
        inside = [item for _, _, item in pieces[first:last]]
        if inside and not any(item.kept for item in inside):
            others = 0
            for item in inside:
                others |= item.readers & ~(1 << number)
            reuses[others] = max(reuses.get(others, 0), size)
    return tuple(Reuse(size, others) for others, size in reuses.items())


def _disputed_buffers(graph: Graph, options: AliasOptions, aliases: Aliases) -> frozenset[str]:
    """Buffers whose contents depend on the order: Concats compete for a part of theirs.

    A part goes to the Concat that runs last: where one always does, that is settled.
    """
    views = find_aliases(graph, range(len(graph.operators)), replace(options, parts=False))
    nested = {
        name for o in graph.operators if o.name in aliases.elided for name in _split_parts(o)
    }  # lie in the whole already and go nowhere else
    concats: list[tuple[int, str, frozenset[str]]] = []
    for index, operator in enumerate(graph.operators):
        joined = {views.buffer_of[s.input][0] for s in operator.sharings if s.kind == "concat"}
        if joined:
            result = views.buffer_of[operator.outputs[0]][0]
            concats.append((index, result, frozenset(joined - nested)))
    users: dict[str, list[int]] = {}
    for index, _, parts in concats:
        for part in parts:
            users.setdefault(part, []).append(index)
    disputed = _unsettled(graph, users) if any(len(u) > 1 for u in users.values()) else set()
    for _, result, parts in reversed(concats):  # where their own parts may begin is open, too
        if result in disputed:
            disputed.update(parts)
    touched = disputed | {result for _, result, parts in concats if parts & disputed}
    return frozenset(
        aliases.buffer_of[name][0] for name, (root, _) in views.buffer_of.items() if root in touched
    )


def _unsettled(graph: Graph, users: Mapping[str, Sequence[int]]) -> set[str]:
    """Parts with two users next to each other in the file neither of which needs the other."""
    import networkx as nx

    dag = operator_dag(graph)
    pairs = {pair for rivals in users.values() for pair in pairwise(rivals)}
    open_pairs = {pair for pair in pairs if not nx.has_path(dag, *pair)}
    return {part for part, rivals in users.items() if not open_pairs.isdisjoint(pairwise(rivals))}


def _split_parts(operator: Operator) -> list[str]:
    return [s.output for s in operator.sharings if s.kind == "split"]
