"""Proof by symbolic execution that no alias destroys data that somebody still reads.

Shares nothing with `aliases`: bytes of buffers hold symbols (which byte of which computed value),
operators are run in order, and every operand must hold the symbols that dataflow says.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from ullage.compiler.aliases import Aliases
from ullage.compiler.errors import VerificationError
from ullage.compiler.graph import Graph, Operator

Run = tuple[int, int, str, int]  # [begin, end) holds `origin` from byte `at` on


class _Memory:
    """The bytes of one buffer as sorted runs."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def read(self, begin: int, end: int) -> list[Run]:
        """Runs of [begin, end), relative to begin, adjacent ones joined."""
        found: list[Run] = []
        if begin >= end:
            return found
        first = bisect_right(self.runs, begin, key=lambda r: r[1])
        for low, high, origin, at in self.runs[first:]:
            if low >= end:
                break
            cut = max(low, begin)
            _append(found, (cut - begin, min(high, end) - begin, origin, at + cut - low))
        return found

    def write(self, begin: int, content: Sequence[Run]) -> None:
        """Put `content` at `begin`."""
        if not content:
            return
        end = begin + content[-1][1]
        first = bisect_right(self.runs, begin, key=lambda r: r[1])
        last = bisect_left(self.runs, end, key=lambda r: r[0])
        kept: list[Run] = []
        for low, _, origin, at in self.runs[first:last]:
            if low < begin:
                kept.append((low, begin, origin, at))
        kept.extend((begin + low, begin + high, origin, at) for low, high, origin, at in content)
        for low, high, origin, at in self.runs[first:last]:
            if high > end:
                kept.append((end, high, origin, at + end - low))
        self.runs[first:last] = kept


def _append(runs: list[Run], run: Run) -> None:
    if runs:
        low, high, origin, at = runs[-1]
        if high == run[0] and origin == run[2] and at + high - low == run[3]:
            runs[-1] = (low, run[1], origin, at)
            return
    runs.append(run)


def check_aliases(graph: Graph, order: Sequence[int], aliases: Aliases) -> None:
    """Run the graph symbolically with its values in their buffers.

    Raises:
        VerificationError: an operand or an output does not hold its data; names both values.
    """
    memory = {root: _Memory() for root, _ in aliases.buffer_of.values()}
    content: dict[str, list[Run]] = {}
    for name, value in graph.values.items():
        if value.kind in ("input", "weight"):
            content[name] = [(0, value.size_bytes, name, 0)] if value.size_bytes else []
            _put(memory, aliases, name, content[name])
    for index in order:
        operator = graph.operators[index]
        for name in operator.inputs:
            _expect(graph, memory, aliases, name, content[name], f"operator {operator.name!r}")
        _run(graph, operator, memory, aliases, content)
    for name in graph.outputs:
        _expect(graph, memory, aliases, name, content[name], "the end of the graph")


def _put(memory: dict[str, _Memory], aliases: Aliases, name: str, content: Sequence[Run]) -> None:
    root, offset = aliases.buffer_of[name]
    memory[root].write(offset, content)


def _expect(
    graph: Graph,
    memory: dict[str, _Memory],
    aliases: Aliases,
    name: str,
    expected: list[Run],
    reader: str,
) -> None:
    root, offset = aliases.buffer_of[name]
    found = memory[root].read(offset, offset + graph.values[name].size_bytes)
    if found != expected:
        culprit = next((run[2] for run in found if run not in expected), "nothing")
        raise VerificationError(
            f"alias error: at {reader}, {name!r} (bytes {offset}.. of buffer {root!r}) holds data "
            f"of {culprit!r} instead of its own",
            {"value": name, "found": culprit, "buffer": root},
        )


def _run(
    graph: Graph,
    operator: Operator,
    memory: dict[str, _Memory],
    aliases: Aliases,
    content: dict[str, list[Run]],
) -> None:
    absorbed = {s.input for s in operator.sharings if (operator.name, s.input) in aliases.absorbed}
    if operator.name in aliases.elided or absorbed:
        for name in operator.outputs:
            content[name] = _moved(graph, operator, name, content)
        for sharing in operator.sharings:
            if sharing.kind == "concat" and absorbed and sharing.input not in absorbed:
                root, offset = aliases.buffer_of[sharing.output]
                memory[root].write(offset + sharing.offset_bytes, content[sharing.input])
        if absorbed:  # inputs without a sharing (constants, repeats) are copied by the operator
            _copy_rest(graph, operator, memory, aliases, content)
        return
    for name in operator.outputs:
        size = graph.values[name].size_bytes
        content[name] = [(0, size, name, 0)] if size else []
        _put(memory, aliases, name, content[name])


def _moved(
    graph: Graph, operator: Operator, output: str, content: dict[str, list[Run]]
) -> list[Run]:
    """Content of the result of an operator that only arranges bytes."""
    size = graph.values[output].size_bytes
    result = _Memory()
    if size:
        result.write(0, [(0, size, output, 0)])  # what no sharing covers is the operator's own
    for sharing in operator.sharings:
        if sharing.output != output:
            continue
        if sharing.kind == "concat":
            result.write(sharing.offset_bytes, content[sharing.input])
        elif sharing.kind in ("view", "split"):
            source = _Memory()
            source.write(0, content[sharing.input])
            result.write(0, source.read(sharing.offset_bytes, sharing.offset_bytes + size))
    return result.read(0, size)


def _copy_rest(
    graph: Graph,
    operator: Operator,
    memory: dict[str, _Memory],
    aliases: Aliases,
    content: dict[str, list[Run]],
) -> None:
    for name in operator.outputs:
        root, offset = aliases.buffer_of[name]
        for low, high, origin, at in content[name]:
            if origin == name:
                memory[root].write(offset + low, [(0, high - low, origin, at)])
    del graph
