"""`--state auto`: pairs that data flow shows.

Of each output, the operator that makes it is looked at, behind views:

    Concat(past, new)                   past is longer by new rows: a growing cache
    ScatterND(cache, indices, rows)     rows are put into the cache
    Sub(p, step), Add(Mul(m, 0.9), g)   element by element from p, from m: an update

The pair is the output and the one input of its size that is reached so. Other outputs are not
looked through: an optimiser's moments, which its parameters need, are states of their own.
"""

from collections.abc import Collection

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.states.flow import makers_of, source_of

# Operators of which one output may be `element by element` behind an input, at most.
MOST_OPERATORS = 64


def find_pairs(graph: Graph, taken: Collection[str] = ()) -> list[tuple[str, str]]:
    """(input, output) of each state that data flow shows, in the order of the outputs.

    Args:
        graph: the graph.
        taken: inputs and outputs that are in pairs already.

    Raises:
        UsageError: an output could follow several inputs, or an input precede several outputs;
            lists them.
    """
    makers = makers_of(graph)
    by_input: dict[str, list[str]] = {}
    for result in graph.outputs:
        if result in taken:
            continue
        candidates = [n for n in _candidates(graph, makers, result) if n not in taken]
        if len(candidates) > 1:
            raise UsageError(
                f"--state auto: output {result!r} could follow each of {', '.join(candidates)}; "
                f"say which (--state {candidates[0]}={result})",
                {"output": result, "candidates": candidates},
            )
        for name in candidates:
            by_input.setdefault(name, []).append(result)
    for name, results in by_input.items():
        if len(results) > 1:
            raise UsageError(
                f"--state auto: each of {', '.join(results)} could follow input {name!r}; say "
                f"which (--state {name}={results[0]})",
                {"input": name, "candidates": results},
            )
    return [(name, results[0]) for name, results in by_input.items()]


def grown_axis(graph: Graph, makers: dict[str, int], source: str, result: str) -> int | None:
    """The axis along which a Concat of an input, in front, and new data makes an output longer."""
    whole = source_of(graph, makers, result)
    index = makers.get(whole)
    values = graph.values
    one, two = values[source], values[result]
    if index is None or graph.operators[index].kind != "Concat" or values[whole].shape != two.shape:
        return None
    parts = graph.operators[index].inputs
    is_plain = all(values[n].padded_shape is None for n in (*parts, whole))
    if not is_plain or len(one.shape) != len(two.shape):
        return None
    if source_of(graph, makers, parts[0]) != source or values[parts[0]].shape != one.shape:
        return None
    # Constants stand last among the inputs of an operator, wherever the node has them.
    if any(values[name].kind == "weight" for name in parts):
        return None
    longer = [a for a, (m, n) in enumerate(zip(one.shape, two.shape, strict=True)) if m != n]
    if len(longer) != 1:
        return None
    axis = longer[0]
    lengths = [values[name].shape[axis] for name in parts]
    return axis if sum(lengths) == two.shape[axis] else None


def _candidates(graph: Graph, makers: dict[str, int], result: str) -> list[str]:
    """The inputs that an output may follow."""
    whole = source_of(graph, makers, result)
    index = makers.get(whole)
    if index is None:
        return []
    operator = graph.operators[index]
    inputs = set(graph.inputs)
    if operator.kind == "Concat":
        first = source_of(graph, makers, operator.inputs[0]) if operator.inputs else ""
        grown = first in inputs and grown_axis(graph, makers, first, result) is not None
        return [first] if grown else []
    patched = [s.input for s in operator.sharings if s.written_bytes is not None]
    if patched:
        source = source_of(graph, makers, patched[0])
        return [source] if source in inputs and _alike(graph, source, result) else []
    return _element_by_element(graph, makers, result)


def _alike(graph: Graph, source: str, result: str) -> bool:
    one, two = graph.values[source], graph.values[result]
    return (one.dtype, one.stored_shape) == (two.dtype, two.stored_shape)


def _element_by_element(graph: Graph, makers: dict[str, int], result: str) -> list[str]:
    """Inputs of an output's size from which operators lead to it that work element by element."""
    found: dict[str, None] = {}
    waiting, seen = [result], {result}
    while waiting and len(seen) <= MOST_OPERATORS:
        name = source_of(graph, makers, waiting.pop())
        if name in graph.inputs:
            if _alike(graph, name, result):
                found[name] = None
            continue
        if name not in makers or (name in graph.outputs and name != result):
            continue
        for sharing in graph.operators[makers[name]].sharings:
            if sharing.kind == "in_place" and sharing.output == name and sharing.input not in seen:
                seen.add(sharing.input)
                waiting.append(sharing.input)
    return [name for name in graph.inputs if name in found]
