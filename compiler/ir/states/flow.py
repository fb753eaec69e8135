"""What the pairs of a graph's states mean for the order of its operators and for layouts.

A state is an input and the output that follows it, in the same bytes:

    update      p --.---------------> matmul ...        the old p is read before (or by) the step
                    '--> Sub --> p'                     that writes p' over it
    append      past --> Concat --> present --> ...     past is the beginning of present's bytes:
                 new -----^                             only new rows are written
"""

from collections.abc import Iterator

from ullage.compiler.ir.graph import Graph, Operator, State
from ullage.compiler.ir.program import Layout

# Sharings whose results are bytes of their operand.
PASSING = frozenset({"view", "split"})


def makers_of(graph: Graph) -> dict[str, int]:
    """Value -> index of the operator that writes it."""
    return {name: index for index, o in enumerate(graph.operators) for name in o.outputs}


def source_of(graph: Graph, makers: dict[str, int], name: str) -> str:
    """The value whose bytes a value has, back through views."""
    while name in makers:
        views = [s for s in graph.operators[makers[name]].sharings if s.kind == "view"]
        if len(views) != 1 or views[0].output != name:
            break
        name = views[0].input
    return name


def writer_of(graph: Graph, makers: dict[str, int], state: State) -> int | None:
    """Index of the operator that writes a state's new data; None where no operator does."""
    return makers.get(source_of(graph, makers, state.output))


def old_values(graph: Graph, state: State) -> set[str]:
    """A state's input, and the values that are bytes of it: views, and parts of a Split."""
    old = {state.input}
    for operator in graph.operators:
        for sharing in operator.sharings:
            if sharing.kind in PASSING and sharing.input in old:
                old.add(sharing.output)
    return old


def arranges(operator: Operator) -> bool:
    """Whether an operator does nothing but pass bytes on."""
    return any(s.kind in PASSING for s in operator.sharings)


def state_edges(graph: Graph) -> Iterator[tuple[int, int, str]]:
    """(reader, writer, value): operators that read old data, and the one that overwrites it.

    The reader must run first. States that only grow need none: their old data stays.
    """
    if not graph.states:
        return
    makers = makers_of(graph)
    for state in graph.states:
        writer = writer_of(graph, makers, state)
        if writer is None or state.axis is not None:
            continue
        old = old_values(graph, state)
        for index, operator in enumerate(graph.operators):
            read = next((name for name in operator.inputs if name in old), None)
            if read is not None and index != writer:
                yield index, writer, read


def state_layouts(graph: Graph) -> dict[str, Layout]:
    """The layouts of states that grow along an axis which is not outermost, and of their views.

    The axis is outermost in memory, so that old rows are a prefix of the new bytes.
    """
    layouts: dict[str, Layout] = {}
    for state in graph.states:
        shape = graph.values[state.output].shape
        if state.axis is None or all(size == 1 for size in shape[: state.axis]):
            continue
        for name in (state.input, state.output):
            layouts[name] = Layout(state.axis)
    if layouts:
        for operator in graph.operators:  # in a topological order
            for sharing in operator.sharings:
                if sharing.kind != "view":
                    continue
                one, two = sharing.input, sharing.output
                if one in layouts and two not in layouts:
                    axis = same_axis(graph, one, two, layouts[one].axis)
                    if axis is not None:
                        layouts[two] = Layout(axis)
    return layouts


def same_axis(graph: Graph, source: str, result: str, axis: int) -> int | None:
    """The axis of a view's result that is an axis of its source, if both differ in ones only."""
    one, two = graph.values[source].shape, graph.values[result].shape
    if one == two:
        return axis
    if [n for n in one if n != 1] != [n for n in two if n != 1] or one[axis] == 1:
        return None
    rank = sum(n != 1 for n in one[:axis])
    return [at for at, n in enumerate(two) if n != 1][rank]
