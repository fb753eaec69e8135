"""Operators that run whole, and why."""

from dataclasses import dataclass

from ullage.compiler.importer.bounds import product
from ullage.compiler.importer.reach.rules import RULES
from ullage.compiler.ir.graph import Graph, Operator

DATA_DEPENDENT = "the length of an axis depends on data"


@dataclass(frozen=True, slots=True)
class Barrier:
    """An operator that cannot be cut into parts.

    Attributes:
        operator: its name.
        kind: its type.
        reason: why not, for people.
    """

    operator: str
    kind: str
    reason: str


def barriers(graph: Graph) -> tuple[Barrier, ...]:
    """The operators of a graph that run whole, in file order.

    One whose results are single elements is none: there is nothing to cut.
    """
    found = ((operator, _reason(graph, operator)) for operator in graph.operators)
    return tuple(Barrier(o.name, o.kind, reason) for o, reason in found if reason)


def _reason(graph: Graph, operator: Operator) -> str:
    """Why an operator cannot be cut; empty where it can."""
    values = [graph.values[name] for name in (*operator.outputs, *operator.inputs)]
    shape = values[0].shape
    bounded = any(v.is_upper_bound for v in values)
    if operator.reach is None:
        if bounded:
            return DATA_DEPENDENT
        if any(0 in v.shape for v in values):
            return "a tensor is empty"
        if operator.kind in RULES:
            return f"no rule for {operator.kind} with such operands, attributes or results"
        return f"no rule for {operator.kind}"
    cut = any(
        label != "none" and length > 1
        for label, length in zip(operator.reach.axes, shape, strict=True)
    )
    if cut or operator.reach.reduction > 1 or product(shape) <= 1:
        return ""
    if bounded:
        return DATA_DEPENDENT
    return "every part of its result needs all of its input"
