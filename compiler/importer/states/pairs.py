"""Pairs of an input and the output that the next inference has in its place.

`with_states` declares them. Input and output share their bytes from then on, so a pair is legal
only where each read of the old data can come before, or in, the step that writes the new.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.units import listed
from ullage.compiler.importer.states.found import find_pairs, grown_axis
from ullage.compiler.ir.dag import operator_dag
from ullage.compiler.ir.graph import Graph, Operator, Sharing, State
from ullage.compiler.ir.states.flow import (
    arranges,
    makers_of,
    old_values,
    same_axis,
    source_of,
    state_edges,
    state_layouts,
    writer_of,
)

# The text that stands for all pairs that data flow shows.
AUTO = "auto"
# What plans note where it finds none.
NO_STATES = "--state auto: no states found; name those that there are (--state IN=OUT)"
# Names that an error lists.
SHOWN = 12


def with_states(graph: Graph, requests: Iterable[str]) -> Graph:
    """The graph with the states that are asked for.

    Args:
        graph: the graph.
        requests: `IN=OUT`, the names of an input and an output of the graph; or `auto` for all
            pairs that `find_pairs` finds, but for inputs of which `IN=` says that they are none.

    Raises:
        UsageError: a pair is none, or cannot be one state; names what stands against it.
    """
    texts = list(dict.fromkeys(requests))
    if not texts:
        return graph
    left_out = {text[:-1]: text for text in texts if _leaves_out(graph, text)}
    if left_out and AUTO not in texts:
        raise UsageError(
            f"--state {next(iter(left_out.values()))} leaves an input out of --state auto, which "
            "is not asked for"
        )
    others = [text for text in texts if text != AUTO and text not in left_out.values()]
    pairs = [_parsed(graph, text) for text in others]
    if AUTO in texts:
        found = find_pairs(graph, {*left_out, *(name for pair in pairs for name in pair)})
        pairs += found
        if not found:
            graph = replace(graph, notes=(*graph.notes, NO_STATES))
    _check_once(pairs)
    makers = makers_of(graph)
    states = tuple(_state(graph, makers, *pair) for pair in pairs)
    result = _with_layouts(_with_appends(replace(graph, states=states)))
    _check_readers(result)
    return result


def _leaves_out(graph: Graph, text: str) -> bool:
    """Whether a text says that an input is no state: `IN=`."""
    return text.endswith("=") and text[:-1] in graph.inputs


def _parsed(graph: Graph, text: str) -> tuple[str, str]:
    """The names of a pair; either may have a `=` of its own.

    Raises:
        UsageError: the text is no pair of an input and an output of the graph.
    """
    for at, letter in enumerate(text):
        if letter == "=" and text[:at] in graph.inputs and text[at + 1 :] in graph.outputs:
            return text[:at], text[at + 1 :]
    one, equals, two = text.partition("=")
    if not equals:
        raise UsageError(
            f"--state takes IN=OUT or auto, and beside auto IN= (no state), not {text!r}"
        )
    kind, name, names = ("input", one, graph.inputs)
    if one in graph.inputs:
        kind, name, names = ("output", two, graph.outputs)
    raise UsageError(
        f"--state {text}: {graph.name} has no {kind} {name!r}; there are: {listed(names, SHOWN)}",
        {"state": text},
    )


def _check_once(pairs: Sequence[tuple[str, str]]) -> None:
    """Check that no input and no output is in two pairs.

    Raises:
        UsageError: one is.
    """
    for side, kind in ((0, "input"), (1, "output")):
        seen: dict[str, tuple[str, str]] = {}
        for pair in pairs:
            if pair[side] in seen:
                one = "=".join(seen[pair[side]])
                raise UsageError(
                    f"--state {one} and --state {'='.join(pair)}: {kind} {pair[side]!r} can be in "
                    "one state only; leave one out"
                )
            seen[pair[side]] = pair


def _state(graph: Graph, makers: dict[str, int], source: str, result: str) -> State:
    """The state of a pair.

    Raises:
        UsageError: the two cannot share bytes.
    """
    one, two = graph.values[source], graph.values[result]
    shown = f"--state {source}={result}"
    if one.dtype != two.dtype:
        raise UsageError(f"{shown}: the input holds {one.dtype}, the output {two.dtype}")
    if one.is_upper_bound or two.is_upper_bound:
        raise UsageError(f"{shown}: its shape depends on data, so its place cannot be planned")
    state = State(source, result)
    index = writer_of(graph, makers, state)
    if index is None:
        raise UsageError(f"{shown}: no operator writes the output: it is always the same")
    if one.stored_shape == two.stored_shape:
        return state
    axis = grown_axis(graph, makers, source, result)
    if axis is None:
        raise UsageError(
            f"{shown}: {_why_not_longer(graph, makers, index, source, result)}; a state keeps "
            "its shape, or a Concat of the input (first) and new data makes it longer along one "
            "axis"
        )
    return State(source, result, axis)


def _why_not_longer(
    graph: Graph, makers: dict[str, int], index: int, source: str, result: str
) -> str:
    """Why an output of another shape is not its input made longer.

    Args:
        graph: the graph.
        makers: value -> index of the operator that writes it.
        index: the operator that writes the output.
        source: the input.
        result: the output.
    """
    one, two = graph.values[source].shape, graph.values[result].shape
    shapes = f"the input is {list(one)}, the output {list(two)}"
    longer = [a for a, (m, n) in enumerate(zip(one, two, strict=False)) if m != n]
    fits = len(one) == len(two) and len(longer) == 1 and one[longer[0]] < two[longer[0]]
    if not fits:
        return shapes
    operator = graph.operators[index]
    what = f"{operator.kind} {operator.name!r}"
    parts = [source_of(graph, makers, name) for name in operator.inputs]
    if operator.kind == "Concat" and source in parts[1:]:
        return f"{shapes}, and {what} has the input behind new data, not in front"
    owner = next((n for n in graph.inputs if grown_axis(graph, makers, n, result) is not None), "")
    if owner:
        return f"{what} appends to another input, {owner!r} (--state {owner}={result})"
    if operator.kind == "Concat" and source in parts:
        return f"{shapes}, and what {what} puts behind the input is not new data"
    return f"{shapes}, and {what}, which writes the output, does not append to the input"


def _with_appends(graph: Graph) -> Graph:
    """The graph with the sharings of Concats that make states longer, whatever their axis."""
    makers = makers_of(graph)
    operators = list(graph.operators)
    for state in graph.states:
        index = writer_of(graph, makers, state)
        if state.axis is None or index is None:
            continue
        operator = operators[index]
        offset, sharings = 0, []
        whole = source_of(graph, makers, state.output)
        for name in operator.inputs:
            sharings.append(Sharing("concat", whole, name, offset))
            offset += graph.values[name].size_bytes
        operators[index] = replace(operator, sharings=tuple(sharings))
    return replace(graph, operators=tuple(operators))


def _with_layouts(graph: Graph) -> Graph:
    """The graph without views that states in a layout of their own cannot have: they are copies.

    New data of several rows is laid out otherwise than the state, so the Concat copies it too.
    """
    layouts = state_layouts(graph)
    if not layouts:
        return graph
    operators: list[Operator] = []
    for operator in graph.operators:
        kept = [s for s in operator.sharings if _is_kept(graph, s, set(layouts))]
        operators.append(replace(operator, sharings=tuple(kept)))
    return replace(graph, operators=tuple(operators))


def _is_kept(graph: Graph, sharing: Sharing, laid_out: set[str]) -> bool:
    """Whether a sharing holds in the layouts of states."""
    one, two = sharing.input, sharing.output
    layouts = state_layouts(graph)
    if sharing.kind == "concat" and two in laid_out and one not in laid_out:
        axis = layouts[two].axis
        return graph.values[one].shape[axis] == 1
    if one not in laid_out and two not in laid_out:
        return True
    if sharing.kind == "view":
        if one in layouts and two in layouts:
            return same_axis(graph, one, two, layouts[one].axis) == layouts[two].axis
        return False
    return sharing.kind == "concat" and one in laid_out and two in laid_out


def _check_readers(graph: Graph) -> None:
    """Check that some order has all reads of old data before, or in, the step that overwrites it.

    Raises:
        UsageError: a reader needs what the step makes, or the step itself reads otherwise than
            element by element.
    """
    makers = makers_of(graph)
    for state in graph.states:
        writer = writer_of(graph, makers, state)
        if writer is None or state.axis is not None:
            continue
        operator = graph.operators[writer]
        in_place = {s.input for s in operator.sharings if s.kind == "in_place"}
        for name in sorted(old_values(graph, state) & set(operator.inputs)):
            if name not in in_place or arranges(operator):
                raise UsageError(
                    f"--state {state.input}={state.output}: {operator.kind} {operator.name!r} "
                    f"would write {state.output!r} over {name!r} while it reads it, and does not "
                    "read it element by element",
                    {"state": [state.input, state.output], "reader": operator.name},
                )
    _check_cycles(graph)


def _check_cycles(graph: Graph) -> None:
    """Check that the readers of old data can run first.

    Raises:
        UsageError: one needs what overwrites it.
    """
    import networkx as nx

    dag = operator_dag(graph)
    if nx.is_directed_acyclic_graph(dag):
        return
    for reader, writer, name in state_edges(graph):
        if nx.has_path(dag, writer, reader):
            late, early = graph.operators[reader], graph.operators[writer]
            raise UsageError(
                f"{late.kind} {late.name!r} reads {name!r} and needs what {early.kind} "
                f"{early.name!r} makes, which as a state (--state) would overwrite it before: "
                "leave this pair out",
                {"reader": late.name, "writer": early.name, "value": name},
            )
