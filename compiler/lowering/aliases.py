"""Aliases: which values share bytes, decided from the sharings that operators permit.

Values are placed inside one another first; then results take over the bytes of dead operands:

    view        Reshape(a) = b      |==== a, b ====|        the same bytes, nothing to do
    split       Split(a) = b, c     |== b ==|== c ==|       parts of a's bytes
                                    |====== a ======|
    concat      Concat(a, b) = c    |== a ==|== b ==|       a and b are written where c will be
                                    |====== c ======|
    in place    Relu(a) = b         |==== a, b ====|        the same bytes: a until the Relu runs,
                                                            which is a's last reader, then b

Parts nest: the c of one Concat may be a part of the next. After every decision no value is
overwritten while it is still to be read; `check_aliases` proves that independently, by symbolic
execution.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ullage.compiler.ir.graph import BufferKind, Graph, Operator, Sharing, State
from ullage.compiler.ir.states.flow import makers_of, writer_of
from ullage.compiler.ir.target import Target


@dataclass(frozen=True)
class AliasOptions:
    """Which kinds of sharing are allowed.

    Attributes:
        views: results of Reshape and the like are the bytes of their operand and cost nothing.
        in_place: element-wise results may overwrite an operand that dies there.
        parts: Concat and Split work on parts of one buffer, nested where it happens. Right where
            slices of a buffer are placed one by one; a target that keeps buffers whole would hold
            all of it as soon as the first part is written.
        alignment_bytes: parts begin at multiples of it.
    """

    views: bool = True
    in_place: bool = True
    parts: bool = True
    alignment_bytes: int = 16


# Every value in a buffer of its own.
NO_ALIASES = AliasOptions(views=False, in_place=False, parts=False)


@dataclass
class _Root:
    """A buffer in the making.

    Attributes:
        size_bytes: size of the value that it is named after.
        kind: kind of that value; `state` where it holds an input and the output after it.
        members: value -> offset in bytes of every value inside it.
        active: those of the members that may still be read.
        is_output: whether a member is an output of the graph.
    """

    size_bytes: int
    kind: BufferKind
    members: dict[str, int] = field(default_factory=dict)
    active: dict[str, int] = field(default_factory=dict)
    is_output: bool = False


@dataclass(frozen=True)
class Aliases:
    """The decision: where each value lies, and which operators have nothing left to do.

    Attributes:
        buffer_of: for each value its buffer (named after one of its values) and its offset in
            the buffer in bytes.
        elided: operators that do nothing any more: views, and Splits and Concats in place.
        absorbed: (operator name, input) pairs: that input of a Concat lies in the result already.
    """

    buffer_of: dict[str, tuple[str, int]]
    elided: frozenset[str]
    absorbed: frozenset[tuple[str, str]]


class _AliasState:
    """The values grouped into buffers (roots) so far, and when each is written and read."""

    def __init__(self, graph: Graph, order: Sequence[int]) -> None:
        self.graph = graph
        self.accesses: _Accesses | None = None  # where operators run again
        self.roots = {
            name: _Root(v.size_bytes, v.kind, {name: 0}, {name: 0})
            for name, v in graph.values.items()
        }
        self.root_of = {name: name for name in graph.values}
        outputs = set(graph.outputs)
        for name in outputs:
            self.roots[name].is_output = True
        self.outputs = outputs
        self.appending: set[str] = set()  # operators that make a state longer
        self.last_read = dict.fromkeys(graph.values, -1)
        for position, index in enumerate(order):
            operator = graph.operators[index]
            for name in operator.inputs:
                self.last_read[name] = position
        for name in outputs:
            self.last_read[name] = len(order)

    def place(self, inner: str, outer: str, offset: int) -> None:
        """Move the root of `inner`, which it fills, to `offset` bytes behind `outer`'s begin."""
        source, target = self.root_of[inner], self.root_of[outer]
        base = self.roots[target].members[outer] + offset
        inner_root = self.roots.pop(source)
        outer_root = self.roots[target]
        for name, at in inner_root.members.items():
            outer_root.members[name] = base + at
            self.root_of[name] = target
        for name, at in inner_root.active.items():
            outer_root.active[name] = base + at
        outer_root.is_output |= inner_root.is_output
        if inner_root.kind == "state":
            outer_root.kind = "state"

    def overlapping(self, name: str, position: int) -> list[str]:
        """Values that share at least one byte with `name`, itself included, and may still be read.

        Args:
            name: the value.
            position: position of the order at which they may be read, or later. It must not descend
                from call to call.
        """
        root = self.roots[self.root_of[name]]
        low = root.members[name]
        high = low + self.graph.values[name].size_bytes
        dead = [v for v in root.active if self.last_read[v] < position]
        for v in dead:
            del root.active[v]
        return [
            v
            for v, at in root.active.items()
            if at < high and low < at + self.graph.values[v].size_bytes
        ]

    def is_state(self, name: str) -> bool:
        """Whether the value lies in bytes that live from one inference to the next."""
        return self.roots[self.root_of[name]].kind == "state"

    def fills_its_root(self, name: str) -> bool:
        """Whether the value is as large as its buffer."""
        root = self.roots[self.root_of[name]]
        return root.size_bytes == self.graph.values[name].size_bytes


def alias_options(target: Target, *, alias: bool = True) -> AliasOptions:
    """What may share bytes on a target: parts of buffers only where operands may be split."""
    if not alias:
        return NO_ALIASES
    return AliasOptions(parts=target.split_operands, alignment_bytes=target.alignment_bytes)


def find_aliases(
    graph: Graph,
    order: Sequence[int],
    options: AliasOptions,
    apart: Collection[str] = frozenset(),
    executions: Sequence[int] | None = None,
) -> Aliases:
    """Decide which values share bytes.

    Args:
        graph: the graph.
        order: operator indices in the order in which they run for the first time.
        options: what may share.
        apart: names of operators whose results must have bytes of their own.
        executions: whole operators as they run, where some run again; None where none does, or
            some run in parts.
    """
    state = _AliasState(graph, order)
    elided: set[str] = set()
    absorbed: set[tuple[str, str]] = set()
    for pair in graph.states:
        _join_state(state, pair, absorbed)
    order = [index for index in order if graph.operators[index].name not in apart]
    for index in order:
        operator = graph.operators[index]
        _try_view(state, operator, options, elided)
    for index in order:
        if options.parts:
            _try_split(state, graph.operators[index], options, elided)
    for index in reversed(order):
        if options.parts or graph.operators[index].name in state.appending:
            _try_concat(state, graph.operators[index], options, elided, absorbed)
    if options.in_place:
        if executions is not None:
            state.accesses = _accesses(graph, executions, elided)
        for position, index in enumerate(order):
            _try_in_place(state, graph.operators[index], position, elided)
    return Aliases(
        buffer_of={
            name: (root, state.roots[root].members[name]) for name, root in state.root_of.items()
        },
        elided=frozenset(elided),
        absorbed=frozenset(absorbed),
    )


def _join_state(state: _AliasState, pair: State, absorbed: set[tuple[str, str]]) -> None:
    """Give a state's input and output the same bytes; old rows are a prefix of a longer output."""
    if pair.axis is None:
        state.place(pair.output, pair.input, 0)
    else:
        state.place(pair.input, pair.output, 0)
        index = writer_of(state.graph, makers_of(state.graph), pair)
        if index is not None:
            operator = state.graph.operators[index]
            state.appending.add(operator.name)
            absorbed.add((operator.name, operator.inputs[0]))
    state.roots[state.root_of[pair.input]].kind = "state"


def _fits_kind(state: _AliasState, source: str, result: str) -> bool:
    """Whether the kinds of buffer and value allow `result` to lie in the root of `source`.

    Nothing may be written into weights, and an output must not lie in an input or a weight: its
    home is its own.
    """
    kind = state.roots[state.root_of[source]].kind
    if result in state.outputs:
        return kind in ("activation", "output")
    return kind != "weight"


def _try_view(
    state: _AliasState, operator: Operator, options: AliasOptions, elided: set[str]
) -> None:
    """Let the result of a view lie in its operand's bytes."""
    views = [s for s in operator.sharings if s.kind == "view"]
    if not options.views or len(views) != 1 or len(operator.outputs) != 1:
        return
    source, result = views[0].input, views[0].output
    same = state.graph.values[source].size_bytes == state.graph.values[result].size_bytes
    if state.is_state(result):  # it takes its whole root along, with the data before
        same = same and state.fills_its_root(source) and state.fills_its_root(result)
    if same and _fits_kind(state, source, result):
        state.place(result, source, 0)
        elided.add(operator.name)


def _try_split(
    state: _AliasState, operator: Operator, options: AliasOptions, elided: set[str]
) -> None:
    """Let the results of a Split lie in its operand's bytes, if all of them may."""
    parts = [s for s in operator.sharings if s.kind == "split"]
    if not parts or {s.output for s in parts} != set(operator.outputs):
        return
    whole = parts[0].input
    for sharing in parts:
        if not _is_aligned(state, whole, sharing.offset_bytes, sharing.output, options):
            return
        if not _fits_kind(state, whole, sharing.output) or state.is_state(sharing.output):
            return
    for sharing in parts:
        state.place(sharing.output, whole, sharing.offset_bytes)
    elided.add(operator.name)


def _try_concat(
    state: _AliasState,
    operator: Operator,
    options: AliasOptions,
    elided: set[str],
    absorbed: set[tuple[str, str]],
) -> None:
    """Let operands of a Concat lie in its result; those that do are absorbed."""
    parts = [s for s in operator.sharings if s.kind == "concat"]
    if not parts:
        return
    parts_in_place: set[str] = set()
    for sharing in parts:
        if (operator.name, sharing.input) in absorbed:  # the data before, in a state's bytes
            parts_in_place.add(sharing.input)
        elif _may_be_part(state, operator, sharing, options):
            state.place(sharing.input, sharing.output, sharing.offset_bytes)
            parts_in_place.add(sharing.input)
    absorbed.update((operator.name, name) for name in parts_in_place)
    values = state.graph.values
    covered = sum(values[name].size_bytes for name in parts_in_place)
    # What no part in place covers (a constant, say), the operator must still write.
    if covered == sum(values[name].size_bytes for name in operator.outputs):
        elided.add(operator.name)


def _may_be_part(
    state: _AliasState, operator: Operator, sharing: Sharing, options: AliasOptions
) -> bool:
    """Whether an operand of a Concat may lie inside the result."""
    source = state.roots[state.root_of[sharing.input]]
    target = state.roots[state.root_of[sharing.output]]
    if source is target or source.kind != "activation" or source.is_output:
        return False
    is_new = target.kind == "state" and operator.name in state.appending
    if not (is_new or target.kind in ("activation", "output")) or not state.fills_its_root(
        sharing.input
    ):
        return False
    return _is_aligned(state, sharing.output, sharing.offset_bytes, sharing.input, options)


def _is_aligned(
    state: _AliasState, whole: str, offset: int, part: str, options: AliasOptions
) -> bool:
    """Whether a part begins and ends at aligned addresses (or ends where the whole does).

    Slices are cut at the ends of parts, and each slice has an address of its own. The whole begins
    at an aligned address of its buffer: it is the buffer, or a part itself.
    """
    size = state.graph.values[part].size_bytes
    ends_whole = offset + size == state.graph.values[whole].size_bytes
    is_aligned_end = size % options.alignment_bytes == 0
    return offset % options.alignment_bytes == 0 and (ends_whole or is_aligned_end)


def _try_in_place(state: _AliasState, operator: Operator, position: int, elided: set[str]) -> None:
    """Let a result overwrite an operand that dies, or the operand move to where the result lies."""
    if operator.name in elided or len(operator.outputs) != 1:
        return
    permitted = [s for s in operator.sharings if s.kind == "in_place"]
    by_element = {s.input for s in permitted}
    for sharing in permitted:
        if not _may_overwrite(state, sharing, position, operator, by_element):
            continue
        if state.is_state(sharing.output):
            return  # it has its place
        standalone = state.fills_its_root(sharing.output)
        if standalone:
            state.place(sharing.output, sharing.input, 0)
            return
        if _may_move_in(state, sharing):
            state.place(sharing.input, sharing.output, 0)
            return


def _may_overwrite(
    state: _AliasState, sharing: Sharing, position: int, operator: Operator, by_element: set[str]
) -> bool:
    """Whether an operator may write its result over an input.

    It may if nothing in the input's bytes is read after this operator, and if the operator itself
    reads those bytes element by element, at the very place where it writes.
    """
    root = state.roots[state.root_of[sharing.input]]
    values = state.graph.values
    if root.kind not in ("activation", "output"):
        return False
    if root is state.roots[state.root_of[sharing.output]]:
        return False
    if values[sharing.input].size_bytes != values[sharing.output].size_bytes:
        return False
    if state.accesses is None:
        others = state.overlapping(sharing.input, position)
        dies = all(state.last_read[name] <= position for name in others)
    else:  # what is dead may be made again
        others = state.overlapping(sharing.input, 0)
        results = state.roots[state.root_of[sharing.output]].members
        dies = not _clash(state.accesses, others, results)
    if not dies or any(name in state.outputs for name in others):
        return False
    for name in others:
        if name in operator.inputs and name not in by_element:
            return False
        askew = root.members[name] != root.members[sharing.input]
        if name in operator.inputs and askew:
            return False
    return True


# By value (place, is written) of its accesses: the place of an operator among all executions.
_Accesses = dict[str, list[tuple[int, bool]]]


def _accesses(graph: Graph, executions: Sequence[int], elided: Collection[str]) -> _Accesses:
    """Where each value is read and written; an output is read at the end."""
    accesses: _Accesses = {name: [] for name in graph.values}
    for place, index in enumerate(executions):
        operator = graph.operators[index]
        if operator.name in elided:
            continue
        for name in dict.fromkeys(operator.inputs):
            accesses[name].append((place, False))
        for name in operator.outputs:
            accesses[name].append((place, True))
    for name in graph.outputs:
        accesses[name].append((len(executions), False))
    return accesses


def _clash(accesses: _Accesses, ones: Collection[str], others: Collection[str]) -> bool:
    """Whether values in the same bytes overwrite others before these are read."""
    events = [(*access, 0) for name in ones for access in accesses[name]]
    events += [(*access, 1) for name in others for access in accesses[name]]
    writer = -1
    for _, written, side in sorted(events):
        if written:
            writer = side
        elif writer != side:
            return True
    return False


def _may_move_in(state: _AliasState, sharing: Sharing) -> bool:
    """Whether the input's buffer may lie where the output will be, a part of something larger.

    Nothing else is there before the output is written.
    """
    source = state.roots[state.root_of[sharing.input]]
    return state.fills_its_root(sharing.input) and not source.is_output
