"""The order of the file, and the order that a plan describes."""

from collections.abc import Mapping
from typing import Any

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.dag import is_order, operator_dag
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.schedule import Schedule


def model_order(graph: Graph) -> tuple[int, ...]:
    """Operators as the file lists them, but those first that read a state before it changes."""
    order = tuple(range(len(graph.operators)))
    if not graph.states:
        return order
    import networkx as nx

    return tuple(nx.lexicographical_topological_sort(operator_dag(graph)))


def planned_schedule(graph: Graph, model: Mapping[str, Any]) -> Schedule:
    """The schedule that a plan describes; operators run whole in its order where it has none.

    Args:
        graph: the graph of the plan's model.
        model: the plan's `model`.

    Raises:
        UsageError: the schedule has a wrong form, or the order is wrong.
    """
    document = model.get("schedule")
    if document is None:
        return Schedule.whole(planned_order(graph, model))
    return Schedule.from_json(document)


def planned_order(graph: Graph, model: Mapping[str, Any]) -> tuple[int, ...]:
    """The order that a plan describes: its `operator_order`, or else the order of the file.

    Plans carry the order because a search that a deadline ended cannot be repeated.

    Args:
        graph: the graph of the plan's model.
        model: the plan's `model`.

    Raises:
        UsageError: the order is missing, or is no topological order of the graph.
    """
    indices, name = model.get("operator_order"), model.get("order", "model")
    if indices is None:
        if name != "model":
            raise UsageError(
                f"the plan's model.order is {str(name)[:60]!r}, but it has no "
                "model.operator_order. Compile again"
            )
        return model_order(graph)
    numbers = isinstance(indices, list | tuple) and all(type(index) is int for index in indices)
    if numbers and is_order(operator_dag(graph), indices):
        return tuple(indices)
    raise UsageError(
        f"the plan's model.operator_order is no order of the {len(graph.operators)} operators of "
        f"{graph.name}: each must come once, after those whose results it reads. Compile again"
    )
