"""Whether an output that follows an input element by element is its next value.

Two graphs look alike between the input and the output:

    a training step      p' = p - rate * g(p)      g depends on p through matrix products
    a residual stream    y  = x + f(x)             so does f on x

How the input is read otherwise tells them apart: parameters are weights of products, biases,
scales and tables; what flows through a network is the data of products and normalisations. Where
nothing else depends on the input (moments, counters, running means), that alone is enough.
"""

from collections.abc import Collection
from dataclasses import dataclass

from ullage.compiler.importer.joint.aten import ELEMENTWISE, MOVEMENT, PASSES, ROWS
from ullage.compiler.ir.graph import Graph, Operator
from ullage.compiler.ir.states.flow import PASSING, source_of

# Operators that look rows up in their first operand.
LOOKUPS = ROWS | {"Gather"}
# Normalisations of a traced training step; those of ONNX have loop nests that say what they are.
NORMALIZATIONS = frozenset(name for name in PASSES if "norm" in name and "softmax" not in name)
# Products that have their bias first, and then the data.
BIAS_FIRST = frozenset("addmm addmv addbmm baddbmm".split())


@dataclass(frozen=True)
class Uses:
    """How operators read an input, its views and copies, and what is made of it element by element.

    Attributes:
        as_parameter: as weight of a product, bias, scale of a normalisation, operand that is
            broadcast, or table in which rows are looked up.
        as_data: as data of a product or of a normalisation.
    """

    as_parameter: bool
    as_data: bool


def uses_of(graph: Graph, source: str) -> Uses:
    """How an input is read.

    Args:
        graph: the graph, its operators in a topological order.
        source: the input.
    """
    reached = {source}
    as_parameter = as_data = False
    for operator in graph.operators:
        for place, name in enumerate(operator.inputs):
            if name not in reached:
                continue
            passed = _passed(operator, place, name)
            if passed:
                reached.update(passed)
            elif operator.macs or _normalizes(operator):
                data = 1 if operator.kind in BIAS_FIRST else 0
                as_data |= place == data
                as_parameter |= place != data
            elif operator.kind in LOOKUPS:
                as_parameter |= place == 0
            elif _is_elementwise(operator):
                sizes = [graph.values[result].stored_shape for result in operator.outputs]
                as_parameter |= graph.values[name].stored_shape not in sizes
    return Uses(as_parameter, as_data)


def behind(graph: Graph, source: str) -> frozenset[str]:
    """An input, and all values that depend on it."""
    reached = {source}
    for operator in graph.operators:  # in a topological order
        if not reached.isdisjoint(operator.inputs):
            reached.update(operator.outputs)
    return frozenset(reached)


def follows_purely(
    graph: Graph, makers: dict[str, int], source: str, result: str, depending: Collection[str]
) -> bool:
    """Whether an output depends on an input through operators alone that work element by element.

    Args:
        graph: the graph.
        makers: value -> index of the operator that writes it.
        source: the input.
        result: the output.
        depending: the values that depend on the input (`behind`).
    """
    waiting, seen = [result], {result}
    while waiting:
        name = source_of(graph, makers, waiting.pop())
        if name == source:
            continue
        operator = graph.operators[makers[name]]
        kept = {s.input for s in operator.sharings if s.kind == "in_place" and s.output == name}
        for read in operator.inputs:
            if read not in depending:
                continue
            if read not in kept:
                return False
            if read not in seen:
                seen.add(read)
                waiting.append(read)
    return True


def _passed(operator: Operator, place: int, name: str) -> list[str]:
    """The results that are an operand's elements, moved or changed one by one."""
    kinds = {*PASSING, "in_place"}
    shared = [s.output for s in operator.sharings if s.input == name and s.kind in kinds]
    is_moved = place == 0 and operator.kind not in LOOKUPS and _moves(operator)
    return shared or (list(operator.outputs) if is_moved else [])


def _moves(operator: Operator) -> bool:
    """Whether an operator puts elements elsewhere and computes nothing."""
    if operator.nests:
        return all(nest.kind == "movement" for nest in operator.nests)
    return operator.kind in MOVEMENT


def _normalizes(operator: Operator) -> bool:
    nests = any(nest.kind == "normalization" for nest in operator.nests)
    return nests or operator.kind in NORMALIZATIONS


def _is_elementwise(operator: Operator) -> bool:
    """Whether an operator combines operands element by element, of which it may broadcast some."""
    if operator.nests:
        return all(nest.kind == "elementwise" for nest in operator.nests)
    return operator.kind in ELEMENTWISE
