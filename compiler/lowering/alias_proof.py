"""Proof by symbolic execution that no alias destroys data that is still to be read.

Every byte of every buffer holds a symbol: which byte of which computed value it is. Operators are
run in order, and every operand must hold the symbols that dataflow alone says it has:

    buffer b                [0, 64)             [64, 128)
    after conv writes x     x from byte 0       x from byte 64
    relu of x in place      y from byte 0       y from byte 64
    add reads y             y from byte 0, as expected: fine
    add reads x             y instead of x: VerificationError

The decision itself (`aliases`) shares no code with this proof.
"""

from collections.abc import Sequence

from ullage.compiler.common.errors import VerificationError
from ullage.compiler.ir.graph import Graph
from ullage.compiler.lowering.aliases import Aliases
from ullage.compiler.lowering.dataflow import (
    absorbed_inputs,
    given_contents,
    step_content,
    written_ranges,
)
from ullage.compiler.lowering.symbolic_memory import ByteRuns, DataRange, cut


def check_aliases(graph: Graph, order: Sequence[int], aliases: Aliases) -> None:
    """Run the graph symbolically with its values in their buffers.

    Raises:
        VerificationError: an operand or an output does not hold its data; names both values.
    """
    memory = {root: ByteRuns() for root, _ in aliases.buffer_of.values()}
    content = given_contents(graph)
    for name, runs in content.items():
        _put(memory, aliases, name, runs)
    for index in order:
        operator = graph.operators[index]
        for name in operator.inputs:
            _expect(graph, memory, aliases, name, content[name], f"operator {operator.name!r}")
        step_content(graph, operator, aliases, content)
        absorbed = absorbed_inputs(operator, aliases)
        if operator.name not in aliases.elided:
            for name in operator.outputs:
                root, offset = aliases.buffer_of[name]
                for low, high in written_ranges(graph, operator, name, absorbed):
                    memory[root].write(offset + low, cut(content[name], low, high))
    for name in graph.outputs:
        _expect(graph, memory, aliases, name, content[name], "the end of the graph")


def _put(
    memory: dict[str, ByteRuns], aliases: Aliases, name: str, content: Sequence[DataRange]
) -> None:
    """Store the data that a value holds in the bytes of its buffer."""
    root, offset = aliases.buffer_of[name]
    memory[root].write(offset, content)


def _expect(
    graph: Graph,
    memory: dict[str, ByteRuns],
    aliases: Aliases,
    name: str,
    expected: list[DataRange],
    reader: str,
) -> None:
    """Check that the bytes of a value hold the data that it should have.

    Raises:
        VerificationError: they do not; names both values.
    """
    root, offset = aliases.buffer_of[name]
    held = memory[root].read(offset, offset + graph.values[name].size_bytes)
    if held != expected:
        own = {run[2] for run in expected}
        wrong = [run[2] for run in held if run not in expected]
        strangers = [origin for origin in wrong if origin not in own]
        culprit = next(iter((*strangers, *wrong)), "nothing")
        raise VerificationError(
            f"alias error: at {reader}, {name!r} (bytes {offset}.. of buffer {root!r}) holds data "
            f"of {culprit!r} instead of its own",
            {"value": name, "found": culprit, "buffer": root},
        )
