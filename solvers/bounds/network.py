"""A graph as bounds see it: operators by number, what they use for sure, and what they cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from ullage.compiler.ir.graph import Graph, Operator, Value
from ullage.compiler.ir.reach import InputReach
from ullage.compiler.ir.target import Target
from ullage.solvers.bounds.operands import Axis, Lengths, Operand, View, axes_of
from ullage.solvers.bounds.relations import shifted
from ullage.solvers.bounds.work import divisible_seconds

# Ways in which a value may lie in the bytes of another one, so that an operator may be no step.
SHARED_KINDS = frozenset({"view", "concat", "split"})


@dataclass(frozen=True)
class Load:
    """A weight or an input of the graph, as an operator reads it: what comes from slow memory.

    Attributes:
        value: index of the value.
        bytes: that the operator reads at most.
        axes: which elements an element of the result uses for sure; None where nothing is known.
        at_end: read when sums are complete, not with each of their terms.
    """

    value: int
    bytes: int
    axes: tuple[Axis, ...] | None
    at_end: bool


@dataclass(frozen=True)
class Result:
    """A value that an operator makes.

    Attributes:
        value: its index.
        operands: the ways in which its elements use values of other operators for sure.
        loads: what comes from slow memory for it; of operators that may be no step nothing, since
            then others read it.
        complete: whether each operand that another operator makes is among `operands`.
        fed: whether each element uses some element of one of them.
        joined: the axis along which operands stand one behind the other, each with a range of its
            own, as in a Concat; None where there is none.
        at_once: an element uses one element of each operand, so that it is made in one step.
    """

    value: int
    operands: tuple[Operand | View, ...]
    loads: tuple[Load, ...]
    complete: bool
    fed: bool
    joined: int | None = None
    at_once: bool = False


@dataclass(frozen=True)
class Node:
    """An operator.

    Attributes:
        operator: the graph's.
        results: what it makes.
        reads: indices of values of other operators that it reads.
        seconds: its work.
        is_product: it multiplies and accumulates.
        is_free: a view or the like, which may be no step of its own.
    """

    operator: Operator
    results: tuple[Result, ...]
    reads: tuple[int, ...]
    seconds: float
    is_product: bool
    is_free: bool


@dataclass(frozen=True)
class Network:
    """Operators in a topological order and values by number.

    Attributes:
        nodes: the operators.
        values: the values.
        maker: by value the operator that makes it, -1 for weights and inputs.
        readers: by value the operators that read it.
        is_output: by value whether it is a result of the graph.
        is_stored: by value whether it is one whose bytes no other that is stored may share.
    """

    nodes: tuple[Node, ...]
    values: tuple[Value, ...]
    maker: tuple[int, ...]
    readers: tuple[tuple[int, ...], ...]
    is_output: tuple[bool, ...]
    is_stored: tuple[bool, ...]
    numbers: dict[str, int] = field(repr=False)


def network_of(graph: Graph, target: Target) -> Network:
    """The operators of a graph, with what each costs on a target.

    Values are dense: what pads one is not moved by a part that does not reach its end.

    Raises:
        UsageError: the target cannot cost a data type.
    """
    values = tuple(
        replace(value, size_bytes=value.dense_bytes, padded_shape=None)
        for value in graph.values.values()
    )
    numbers = {value.name: number for number, value in enumerate(values)}
    maker = [-1] * len(values)
    readers: list[list[int]] = [[] for _ in values]
    for index, operator in enumerate(graph.operators):
        for name in operator.outputs:
            maker[numbers[name]] = index
        for name in dict.fromkeys(operator.inputs):
            readers[numbers[name]].append(index)
    nodes = tuple(_node(graph, operator, target, numbers, maker) for operator in graph.operators)
    outputs = set(graph.outputs)
    stored = _stored(graph)
    return Network(
        nodes=nodes,
        values=values,
        maker=tuple(maker),
        readers=tuple(tuple(r) for r in readers),
        is_output=tuple(value.name in outputs for value in values),
        is_stored=tuple(value.name in stored for value in values),
        numbers=numbers,
    )


def _stored(graph: Graph) -> set[str]:
    """Results of the graph of which no two may share bytes, and none those of a given value.

    Views, and parts of a Concat or Split, may share bytes. Of results that are joined by them,
    those count that a step makes, since each has bytes of its own; where none is, the largest one
    counts, unless an input or a weight is joined with them as well.
    """
    root = {name: name for name in graph.values}

    def root_of(name: str) -> str:
        while root[name] != name:
            root[name] = name = root[root[name]]
        return name

    free: set[str] = set()
    for operator in graph.operators:
        for sharing in operator.sharings:
            if sharing.kind in SHARED_KINDS:
                root[root_of(sharing.output)] = root_of(sharing.input)
                free.update(operator.outputs)
    made = {name for operator in graph.operators for name in operator.outputs}
    given = {root_of(name) for name in graph.values if name not in made}
    joined: dict[str, list[str]] = {}
    for name in dict.fromkeys(graph.outputs):
        joined.setdefault(root_of(name), []).append(name)
    stored: set[str] = set()
    for of, names in joined.items():
        by_steps = [name for name in names if name not in free]
        if by_steps:
            stored.update(by_steps)
        elif of not in given:
            stored.add(max(names, key=lambda name: graph.values[name].dense_bytes))
    return stored


def _node(
    graph: Graph, operator: Operator, target: Target, numbers: dict[str, int], maker: Sequence[int]
) -> Node:
    made = [name for name in operator.inputs if maker[numbers[name]] >= 0]
    given = [name for name in operator.inputs if maker[numbers[name]] < 0]
    # A view, or a Concat or Split whose parts lie in the whole, may be no step at all.
    is_free = any(s.kind in SHARED_KINDS for s in operator.sharings)
    seconds = 0.0 if is_free else divisible_seconds(operator, target)
    results = []
    for place, name in enumerate(operator.outputs):
        operands = _operands(graph, operator, place, made, numbers)
        loads = () if is_free else _loads(graph, operator, place, given, numbers)
        known = {numbers[n] for n in made} <= {operand.value for operand in operands}
        fed, joined = _fed(graph.values[name].shape, operands)
        at_once = bool(operands) and all(operand.is_plain for operand in operands)
        results.append(Result(numbers[name], operands, loads, known, fed, joined, at_once))
    return Node(
        operator=operator,
        results=tuple(results),
        reads=tuple(numbers[name] for name in dict.fromkeys(made)),
        seconds=seconds,
        is_product=operator.macs > 0,
        is_free=is_free,
    )


def _operands(
    graph: Graph, operator: Operator, place: int, made: Sequence[str], numbers: dict[str, int]
) -> tuple[Operand | View, ...]:
    """What the elements of a result use of values of other operators for sure."""
    output = graph.values[operator.outputs[place]]
    if output.is_upper_bound or 0 in output.shape:
        return ()
    found: list[Operand | View] = []
    for sharing in operator.sharings:
        if (sharing.kind, sharing.output) == ("view", output.name) and sharing.input in made:
            source = graph.values[sharing.input]
            if prod(source.shape) == prod(output.shape):
                found.append(View(numbers[source.name], source.shape, output.shape))
    if operator.kind == "Split" and operator.inputs[0] in made:
        source = graph.values[operator.inputs[0]]
        part = _part(source.shape, [graph.values[name].shape for name in operator.outputs], place)
        if part is not None:
            found.append(Operand(numbers[source.name], output.shape, part))
    if found or place or operator.reach is None:
        return tuple(found)
    for entry in operator.reach.inputs:
        if entry.certain is not None and entry.name in made:
            shape = graph.values[entry.name].shape
            if 0 not in shape:
                axes = axes_of(entry.certain, entry.axes, shape, output.shape)
                found.append(Operand(numbers[entry.name], output.shape, axes, entry.at_end))
    return tuple(found)


def _fed(shape: Lengths, operands: Sequence[Operand | View]) -> tuple[bool, int | None]:
    """Whether each element of a result uses an element of some operand, and the axis of a Concat.

    Each operand of a Concat serves another range of one axis; together they serve all of it.
    """
    ones = (1,) * len(shape)
    if any(operand.preceding(ones) is not None for operand in operands):
        return True, None
    for place, length in enumerate(shape):
        served = np.zeros(length, np.int64)
        for operand in operands:
            along = None if isinstance(operand, View) else operand.serving(place)
            if along is not None:
                served[along[0] : along[1]] += 1
        if (served == 1).all():
            return True, place
        if served.all():
            return True, None
    return False, None


def _part(whole: Lengths, parts: Sequence[Lengths], place: int) -> tuple[Axis, ...] | None:
    """The axes of what a Split cuts, for one of its parts; None where not all parts are there."""
    part = parts[place]
    if len(whole) != len(part):
        return None
    cut = [a for a, (x, y) in enumerate(zip(whole, part, strict=True)) if x != y]
    if len(cut) != 1 or sum(other[cut[0]] for other in parts) != whole[cut[0]]:
        return None
    offset = sum(other[cut[0]] for other in parts[:place])
    return tuple(
        Axis(size, axis, shifted(length, size, offset if axis == cut[0] else 0))
        for axis, (size, length) in enumerate(zip(whole, part, strict=True))
    )


def _loads(
    graph: Graph, operator: Operator, place: int, given: Sequence[str], numbers: dict[str, int]
) -> tuple[Load, ...]:
    """What an operator reads of weights and of inputs of the graph."""
    accessed = dict(operator.accessed_bytes)
    output = graph.values[operator.outputs[place]]
    entries: dict[str, list[InputReach]] = {}
    if operator.reach is not None and not place:
        for entry in operator.reach.inputs:
            entries.setdefault(entry.name, []).append(entry)
    found = []
    for name in dict.fromkeys(given):
        value = graph.values[name]
        size = min(accessed.get(name, value.size_bytes), value.size_bytes)
        ways = entries.get(name, [])
        maps = ways[0].certain if len(ways) == 1 else None
        axes = None
        if maps is not None and 0 not in value.shape and not output.is_upper_bound:
            axes = axes_of(maps, ways[0].axes, value.shape, output.shape)
        at_end = bool(ways) and all(way.at_end for way in ways)
        found.append(Load(numbers[name], size, axes, at_end))
    return tuple(found)
