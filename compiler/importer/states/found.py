"""`--state auto`: pairs that data flow shows.

Of each output, the operator that makes it is looked at, behind views:

    Concat(past, new)                   past is longer by new rows: a growing cache
    ScatterND(cache, indices, rows)     rows are put into the cache
    Sub(p, step), Add(Mul(m, 0.9), g)   element by element from p, from m: an update

The pair is the output and the one input of its size that is reached so. Other outputs are not
looked through: an optimiser's moments, which its parameters need, are states of their own.

New rows that are made of the old data are none of a cache's (a DenseNet's Concat), and a residual
stream, x + f(x), looks like an update, p - lr * g(p). `evidence` tells these apart.
"""

from collections.abc import Collection

from ullage.compiler.common.errors import UsageError
from ullage.compiler.importer.states.evidence import Uses, behind, follows_purely, uses_of
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
    finder = _Finder(graph, makers)
    by_input: dict[str, list[str]] = {}
    caches = {result: finder.cache(result) for result in graph.outputs}
    for result in graph.outputs:
        if result in taken:
            continue
        names = caches[result]
        if names is None:
            names = finder.updated(result, beside_caches=any(caches.values()))
        candidates = [n for n in names if n not in taken]
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


class _Finder:
    """The inputs that outputs of a graph may follow."""

    def __init__(self, graph: Graph, makers: dict[str, int]) -> None:
        self.graph = graph
        self.makers = makers
        self.inputs = frozenset(graph.inputs)
        self._behind: dict[str, frozenset[str]] = {}
        self._uses: dict[str, Uses] = {}

    def behind(self, name: str) -> frozenset[str]:
        """The values that depend on an input."""
        if name not in self._behind:
            self._behind[name] = behind(self.graph, name)
        return self._behind[name]

    def uses(self, name: str) -> Uses:
        """How operators read an input."""
        if name not in self._uses:
            self._uses[name] = uses_of(self.graph, name)
        return self._uses[name]

    def cache(self, result: str) -> list[str] | None:
        """The cache to which the operator behind an output adds rows; None where it adds none.

        The list is empty where the operator could, and its operands are others.
        """
        graph, makers = self.graph, self.makers
        whole = source_of(graph, makers, result)
        index = makers.get(whole)
        if index is None:
            return []
        operator = graph.operators[index]
        if operator.kind == "Concat":
            old = operator.inputs[0] if operator.inputs else ""
            source = source_of(graph, makers, old)
            fits = source in self.inputs and grown_axis(graph, makers, source, result) is not None
        else:
            patches = (s for s in operator.sharings if s.written_bytes is not None)
            patched = [s.input for s in patches if s.output == whole]
            if not patched:
                return None
            old = patched[0]
            source = source_of(graph, makers, old)
            fits = source in self.inputs and _alike(graph, source, result)
        # New rows that are made of the old ones are a network's layers, not a cache's data.
        is_new = fits and self.behind(source).isdisjoint(set(operator.inputs) - {old})
        return [source] if is_new else []

    def updated(self, result: str, *, beside_caches: bool) -> list[str]:
        """The inputs of which an output is an update.

        Args:
            result: the output.
            beside_caches: other outputs follow caches: the graph is an inference's, in which what
                enters as data is no state.
        """
        reached = _element_by_element(self.graph, self.makers, result)
        return [n for n in reached if self._is_updated(n, result, beside_caches=beside_caches)]

    def _is_updated(self, name: str, result: str, *, beside_caches: bool) -> bool:
        uses = self.uses(name)
        if uses.as_parameter and not uses.as_data:
            return True
        if beside_caches and uses.as_data:
            return False
        return follows_purely(self.graph, self.makers, name, result, self.behind(name))


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
