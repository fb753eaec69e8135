"""Which data every value holds, by dataflow alone: which bytes of which computed values.

Views, and Splits and Concats in place, compute nothing; they pass data on:

    conv -> x (64 bytes)        content of x: bytes [0, 64) are x from byte 0
    Reshape(x) -> y             content of y: bytes [0, 64) are x from byte 0
    Concat(y, z) -> c           content of c: bytes [0, 64) are x from byte 0,
                                              bytes [64, ...) are z from byte 0

Both proofs, by symbolic execution and by running the plan, compare memory with these contents.
"""

from collections.abc import Iterable, Mapping, Sequence

from ullage.compiler.ir.graph import Graph, Operator, Sharing
from ullage.compiler.lowering.aliases import Aliases
from ullage.compiler.lowering.symbolic_memory import ByteRuns, DataRange

# Value -> the data in its bytes, as runs relative to its first byte.
Contents = dict[str, list[DataRange]]


def given_contents(graph: Graph) -> Contents:
    """Contents of inputs and weights: each holds its own data."""
    return {
        name: [(0, value.size_bytes, name, 0)] if value.size_bytes else []
        for name, value in graph.values.items()
        if value.kind in ("input", "weight")
    }


def contents_of(graph: Graph, order: Sequence[int], aliases: Aliases) -> Contents:
    """The content of every value of a graph."""
    content = given_contents(graph)
    for index in order:
        step_content(graph, graph.operators[index], aliases, content)
    return content


def step_content(graph: Graph, operator: Operator, aliases: Aliases, content: Contents) -> None:
    """Add the content of an operator's outputs to `content`.

    A view, and a Split or Concat in place, passes on what its inputs hold; everything else is new
    data, named after the output.
    """
    arranges = operator.name in aliases.elided or bool(absorbed_inputs(operator, aliases))
    sources: dict[str, ByteRuns] = {}
    parts: dict[str, list[Sharing]] = {}
    for sharing in operator.sharings if arranges else ():
        parts.setdefault(sharing.output, []).append(sharing)
        if sharing.kind in ("view", "split") and sharing.input not in sources:
            sources[sharing.input] = ByteRuns()
            sources[sharing.input].write(0, content[sharing.input])
    for name in operator.outputs:
        size = graph.values[name].size_bytes
        content[name] = [(0, size, name, 0)] if size else []
        if arranges:
            content[name] = _arranged(size, content[name], parts.get(name, ()), sources, content)


def absorbed_inputs(operator: Operator, aliases: Aliases) -> set[str]:
    """Inputs of a Concat that lie in the result already."""
    return {name for name in operator.inputs if (operator.name, name) in aliases.absorbed}


def _arranged(
    size_bytes: int,
    own: Sequence[DataRange],
    parts: Iterable[Sharing],
    sources: Mapping[str, ByteRuns],
    content: Contents,
) -> list[DataRange]:
    """Content of a result of an operator that passes bytes on without computing.

    Args:
        size_bytes: size of the result.
        own: the operator's own data, for bytes that no sharing covers.
        parts: the sharings of the result.
        sources: contents of the inputs of views and Splits.
        content: contents of all values so far.
    """
    result = ByteRuns()
    result.write(0, own)
    for sharing in parts:
        if sharing.kind == "concat":
            result.write(sharing.offset_bytes, content[sharing.input])
        elif sharing.kind in ("view", "split"):
            low = sharing.offset_bytes
            result.write(0, sources[sharing.input].read(low, low + size_bytes))
    return result.read(0, size_bytes)


def written_ranges(
    graph: Graph, operator: Operator, output: str, absorbed: set[str]
) -> list[tuple[int, int]]:
    """Byte ranges [low, high) of an output that its operator writes: all but absorbed parts."""
    position, gaps = 0, []
    parts = operator.sharings if absorbed else ()  # a Concat's: it has one output
    for sharing in sorted(parts, key=lambda s: s.offset_bytes):
        if sharing.kind == "concat" and sharing.output == output and sharing.input in absorbed:
            if position < sharing.offset_bytes:
                gaps.append((position, sharing.offset_bytes))
            position = sharing.offset_bytes + graph.values[sharing.input].size_bytes
    size = graph.values[output].size_bytes
    return [*gaps, (position, size)] if position < size else gaps
