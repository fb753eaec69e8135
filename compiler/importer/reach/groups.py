"""Reach of a fusion group: the rules of its nodes, one behind the other.

From the group's result back to what it reads, each tensor inside has maps from the axes of the
result; the rule of the node that makes it turns them into maps of what that node reads. Constants
that are a stored tensor in another form (transposed, reshaped, dequantised) are gone through the
same way, since it is the stored tensor that lies in memory.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import onnx

from ullage.compiler.common.dtypes import BITS
from ullage.compiler.importer.fusion import Group
from ullage.compiler.importer.nodes import stored_forms
from ullage.compiler.importer.reach.rules import reach_of
from ullage.compiler.importer.reach.site import MOST_ROWS, Maps, identity
from ullage.compiler.importer.scope import Scope, blaming
from ullage.compiler.ir.graph import Graph, Operator, Value
from ullage.compiler.ir.reach import REDUCTION, AxisMap, InputReach, Reach, WorkDimension


@dataclass(frozen=True, slots=True)
class _Access:
    """A way in which the group reads a tensor: maps from the axes of the group's result.

    Attributes:
        maps: what a range needs at most.
        at_end: whether only the part that finishes the output reads it.
        certain: what one element uses at least; as in `InputReach`.
    """

    maps: Maps
    at_end: bool
    certain: Maps | None = None


@dataclass(frozen=True)
class _Walk:
    """A walk from the result of a group to what it reads.

    Attributes:
        scope: types and constants of the model.
        lengths: by axis of the result, or `REDUCTION`, its length.
        accesses: what is found: ways in which each tensor is read.
    """

    scope: Scope
    lengths: Mapping[int, int]
    accesses: dict[str, list[_Access]] = field(default_factory=dict)

    def add(self, name: str, maps: Maps, *, at_end: bool, certain: Maps | None = None) -> None:
        """Note that a tensor is read in some way."""
        access = _Access(maps, at_end, certain)
        found = self.accesses.setdefault(name, [])
        if access not in found:
            found.append(access)

    def read_whole(self, node: onnx.NodeProto, *, at_end: bool) -> None:
        """Note that every part reads all operands of a node whole."""
        for name in node.input:
            if name in self.scope.types:
                self.add(name, (None,) * len(self.scope.types[name].shape), at_end=at_end)

    def pass_through(
        self, node: onnx.NodeProto, reach: Reach | None, *, at_end: bool = False, main: bool = False
    ) -> None:
        """From the ways in which a node's results are read to those of its operands.

        Args:
            node: the node.
            reach: its reach, None where it reads everything for anything.
            at_end: whether it runs at the end of a reduction that is cut. What belongs to results
                that are read at the end only is read at the end anyway.
            main: whether it is the node whose reduction is cut.
        """
        result = next((name for name in node.output if name), "")
        made = [access for name in node.output if name for access in self.accesses.get(name, ())]
        for access in made:
            if reach is None:
                self.read_whole(node, at_end=at_end or access.at_end)
                continue
            shape = self.scope.types[result].shape
            for entry in reach.inputs:
                late = entry.at_end if main else at_end or access.at_end
                maps = self._composed(access.maps, shape, entry, main=main)
                certain = _certain(access.certain, entry, main=main)
                self.add(entry.name, maps, at_end=late, certain=certain)

    def _composed(
        self, outer: Maps, shape: tuple[int, ...], entry: InputReach, *, main: bool
    ) -> Maps:
        """Maps of a node's operand from maps of the node's result, which has this shape."""
        sizes = self.scope.types[entry.name].shape
        found: list[AxisMap | None] = []
        for inner, size in zip(entry.axes, sizes, strict=True):
            if inner is None:
                found.append(None)
            elif inner.axis == REDUCTION:
                found.append(inner if main else None)
            else:
                found.append(self._map(outer[inner.axis], shape[inner.axis], inner, size))
        return tuple(found)

    def _map(self, outer: AxisMap | None, middle: int, inner: AxisMap, size: int) -> AxisMap | None:
        """A map behind another one; lengths of what is between them and of the operand's axis."""
        if outer is None:
            return None
        if inner == AxisMap(inner.axis):
            return outer
        if outer == AxisMap(outer.axis):
            return replace(inner, axis=outer.axis)
        if self.lengths[outer.axis] > MOST_ROWS:
            return None
        between = (outer.interval(i, i + 1, middle) for i in range(self.lengths[outer.axis]))
        return AxisMap(outer.axis, table=tuple(inner.interval(*rows, size) for rows in between))


def _certain(outer: Maps | None, entry: InputReach, *, main: bool) -> Maps | None:
    """What an element of the group's result uses of a node's operand for sure.

    Only where each map that is followed by another one is plain: an index for an index, or a whole
    axis for all. Else nothing is.

    Args:
        outer: the same of the node's result.
        entry: what the node reads of the operand.
        main: whether it is the node whose reduction is cut.
    """
    inner = entry.certain
    if outer is None or inner is None:
        return None
    plain = all(m is not None and m == AxisMap(m.axis) and m.axis != REDUCTION for m in inner)
    if plain:
        return tuple(outer[m.axis] for m in inner if m is not None)
    if any(m is not None and m != AxisMap(m.axis) for m in outer):
        return None
    found: list[AxisMap | None] = []
    for axis_map in inner:
        if axis_map is None:
            found.append(None)
        elif axis_map.axis == REDUCTION:
            found.append(axis_map if main else None)
        else:
            before = outer[axis_map.axis]
            if before is None and axis_map != AxisMap(axis_map.axis):
                return None
            found.append(None if before is None else replace(axis_map, axis=before.axis))
    return tuple(found)


def with_reach(
    graph: Graph, groups: Sequence[Group], proto: onnx.GraphProto, scope: Scope
) -> Graph:
    """The graph, with how each operator can be cut into parts.

    Args:
        graph: the graph; its operators are the groups, in their order.
        groups: its fusion groups.
        proto: the nodes, of which the groups have the indices.
        scope: types and constants of the model.

    Raises:
        ModelError: a node is malformed; the message names it.
        TimeLimitError: time is over.
    """
    forms = stored_forms(proto.node, scope)
    operators = []
    for operator, group in zip(graph.operators, groups, strict=True):
        scope.work.visit(scope.where)
        members = [proto.node[node.index] for node in group.nodes]
        with blaming(members[-1], scope.where):
            anchor = group.nodes.index(group.anchor)
            reach = group_reach(members, anchor, operator, forms, scope)
        results = [graph.values[name] for name in operator.outputs]
        operators.append(replace(operator, reach=reach and _in_whole_bytes(reach, results)))
    return replace(graph, operators=tuple(operators))


def _in_whole_bytes(reach: Reach, results: Sequence[Value]) -> Reach:
    """A reach without the axes along which parts of packed results may end inside a byte.

    Elements of less than a byte are packed. An index of an axis has whole bytes where the product
    of the other axes has; parts of two axes need that of all but these two.
    """
    labels = list(reach.axes)
    for value in results:
        bits, shape = BITS.get(value.dtype, 8), value.stored_shape
        if bits >= 8:
            continue

        def is_whole(*cut: int, bits: int = bits, shape: tuple[int, ...] = shape) -> bool:
            return bits * prod(n for axis, n in enumerate(shape) if axis not in cut) % 8 == 0

        alone = [axis for axis in range(len(shape)) if is_whole(axis)]
        kept = [a for a in alone if all(is_whole(a, b) for b in alone if b != a)]
        if alone and not kept:
            kept = [max(alone, key=lambda axis: shape[axis])]
        labels = [label if axis in kept else "none" for axis, label in enumerate(labels)]
    return replace(reach, axes=tuple(labels))


def group_reach(
    members: Sequence[onnx.NodeProto],
    anchor: int,
    operator: Operator,
    forms: Mapping[str, onnx.NodeProto],
    scope: Scope,
) -> Reach | None:
    """How a group can be cut, over the tensors that it has in memory; None where no rule says.

    Args:
        members: nodes of the group in the order in which they run; the last makes its result.
        anchor: which of them does the main work; those before it are dequantisations, those behind
            it work element by element.
        operator: the group as an operator, whose inputs and outputs are the tensors in memory.
        forms: for constants that are another constant in another form, the node that makes them.
        scope: types and constants of the model.
    """
    result = next((name for name in members[-1].output if name), "")
    names = (result, *operator.inputs, *operator.outputs)
    if any(name not in scope.types for name in names):
        return None
    reaches = [reach_of(node, scope.opsets, scope.types, scope.arrays) for node in members]
    main = reaches[anchor]
    if main is None or any(reach is None for reach in reaches[anchor:]):
        return None
    shape = scope.types[result].shape
    walk = _Walk(scope, {REDUCTION: main.reduction, **dict(enumerate(shape))})
    walk.add(result, identity(len(shape)), at_end=False, certain=identity(len(shape)))
    forbidden: set[int] = set()
    if len(members) - 1 > anchor:  # what nobody reads has the axes of the anchor's result
        forbidden = _axes_apart(shape, [scope.types[name].shape for name in operator.outputs])
    for node, reach in zip(reversed(members[anchor + 1 :]), reversed(reaches), strict=False):
        if reach is not None:
            forbidden |= _axes_cut(walk, node, reach, "none")
        walk.pass_through(node, reach, at_end=main.reduction > 0)
    node = members[anchor]
    if _other_rank(walk, node):
        return None
    labels: list[WorkDimension] = ["none"] * len(shape)
    for label in ("m", "n", "count", "elements"):
        for axis in _axes_cut(walk, node, main, label) - forbidden:
            labels[axis] = label
    walk.pass_through(node, main, main=True)
    for node, reach in zip(reversed(members[:anchor]), reversed(reaches[:anchor]), strict=True):
        walk.pass_through(node, reach, at_end=False)
    _to_stored(walk, set(operator.inputs), forms)
    return Reach(tuple(labels), _inputs(walk, operator.inputs), main.reduction)


def _axes_apart(shape: tuple[int, ...], others: Sequence[tuple[int, ...]]) -> set[int]:
    """Axes of a result that not all results have: those of another length; all for another rank."""
    return {
        axis
        for axis, length in enumerate(shape)
        if any(len(other) != len(shape) or other[axis] != length for other in others)
    }


def _other_rank(walk: _Walk, node: onnx.NodeProto) -> bool:
    """Whether a result of a node that is read has not as many axes as its first one."""
    results = [name for name in node.output if name]
    rank = len(walk.scope.types[results[0]].shape)
    return any(
        len(walk.scope.types[name].shape) != rank for name in results if name in walk.accesses
    )


def _axes_cut(walk: _Walk, node: onnx.NodeProto, reach: Reach, label: WorkDimension) -> set[int]:
    """Axes of the group's result that are those axes of a node's which have a label."""
    return {
        found.axis
        for name in node.output
        if name
        for access in walk.accesses.get(name, ())
        for found, mine in zip(access.maps, reach.axes, strict=False)
        if found is not None and mine == label
    }


def _to_stored(walk: _Walk, inputs: set[str], forms: Mapping[str, onnx.NodeProto]) -> None:
    """From constants to the stored tensors that they are another form of."""
    waiting = [name for name in walk.accesses if name in forms]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop(0)
        if name in seen or name in inputs:
            continue
        seen.add(name)
        node = forms[name]
        reach = reach_of(node, walk.scope.opsets, walk.scope.types, walk.scope.arrays)
        walk.pass_through(node, reach)
        waiting += [operand for operand in node.input if operand in forms]


def _inputs(walk: _Walk, names: Iterable[str]) -> tuple[InputReach, ...]:
    """What is read of each tensor in memory; all of one of which nobody says what."""
    found = []
    for name in names:
        everything = _Access((None,) * len(walk.scope.types[name].shape), at_end=False)
        found += [
            InputReach(
                name, access.maps, access.at_end and walk.lengths[REDUCTION] > 0, access.certain
            )
            for access in walk.accesses.get(name, [everything])
        ]
    return tuple(dict.fromkeys(found))
