"""`--update` with ratios: of a weight only the first output channels get new values.

A ratio `name:1/8` in a list of updates keeps an eighth of the output channels of that weight, and
leaves the others as they are (the sparse tensor update of Lin et al., On-Device Training Under
256KB Memory, 2022). The model is rewritten: what makes the new value is cut along that axis, as far
back as its operators let through a range of their result, and the channels are put into the weight:

    before      g = Transpose(Conv(xt, dyt));               new = Sub(w, Mul(g, rate))
    behind      g' = Transpose(Conv(xt, Slice(dyt)));       part = Sub(Slice(w), Mul(g', rate))
                                                            new = ScatterND(w, channels, part)

Along another axis than the first, the channels are joined by a Concat. Where other operators read a
tensor as well, it is made whole, and cut.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ullage.compiler.common.errors import UsageError
from ullage.compiler.importer.bodies.rename import subgraphs
from ullage.compiler.importer.scope import attributes

# A name and a ratio. Names may have colons themselves.
SHARE = re.compile(r"(?P<name>.+):(?P<over>[0-9]{1,9})/(?P<under>[0-9]{1,9})")
# Operators that make each element of the same element of operands, broadcast.
ELEMENTWISE = frozenset(
    "Abs Add Cast Div Exp Identity Max Min Mul Neg Pow Relu Sigmoid Sign Sqrt Sub Tanh".split()
)
# The first version of operators with Slice's bounds as inputs and ScatterND.
LEAST_OPSET = 11
# Shape of a tensor by name; None where it is not known.
ShapeOf = Callable[[str], tuple[int, ...] | None]


@dataclass(frozen=True)
class Share:
    """A part of a parameter that gets new values.

    Attributes:
        name: the parameter.
        ratio: of its output channels.
    """

    name: str
    ratio: Fraction


def share_of(entry: str) -> Share | None:
    """The share that an entry of a list of updates has; None of an entry without a ratio.

    Raises:
        UsageError: the ratio is 0 or above 1.
    """
    match = SHARE.fullmatch(entry)
    if match is None:
        return None
    over, under = int(match["over"]), int(match["under"])
    if not 0 < over <= under:
        raise UsageError(
            f"--update {entry}: a ratio is above 0 and at most 1, such as 1/8: the share of the "
            "output channels that get new values"
        )
    return Share(match["name"], Fraction(over, under))


def split_shares(
    entries: Sequence[str], known: Mapping[str, str]
) -> list[tuple[str, Share | None]]:
    """Name and share of each entry; one that is a parameter's name as it stands has no ratio.

    Args:
        entries: of a list of updates.
        known: parameters.

    Raises:
        UsageError: a ratio is 0 or above 1.
    """
    split: list[tuple[str, Share | None]] = []
    for entry in entries:
        share = None if entry in known else share_of(entry)
        split.append((entry if share is None else share.name, share))
    return split


def has_shares(updates: object) -> bool:
    """Whether a list of updates may have ratios."""
    return isinstance(updates, tuple) and any(SHARE.fullmatch(entry) for entry in updates)


def cut_updates(
    proto: onnx.ModelProto, shapes: ShapeOf, new_of: Mapping[str, str], shares: Sequence[Share]
) -> None:
    """Rewrite a model so that only shares of some parameters get new values.

    Args:
        proto: the model, its functions inlined; changed.
        shapes: shapes of its tensors.
        new_of: for each parameter the output that is its new value.
        shares: of parameters.

    Raises:
        UsageError: a parameter has no channels, or the operators are too old.
    """
    opset = max((o.version for o in proto.opset_import if o.domain in {"", "ai.onnx"}), default=0)
    if opset < LEAST_OPSET:
        raise UsageError(
            f"--update with ratios needs operators of opset {LEAST_OPSET} or later, and the model "
            f"has {opset}; convert it (onnx.version_converter)"
        )
    for share in shares:
        if share.ratio < 1:
            _Cut(proto.graph, shapes).update(share, new_of[share.name])
    _drop_unread(proto.graph)


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Leave out nodes of which nothing is read."""
    wanted = {value.name for value in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if not wanted.isdisjoint(node.output):
            wanted.update(_read(node))
            kept.append(node)
    nodes = [_copied(node) for node in reversed(kept)]
    del graph.node[:]
    graph.node.extend(nodes)


def _read(node: onnx.NodeProto) -> Iterator[str]:
    """Names that a node reads, those inside of its bodies included."""
    yield from (name for name in node.input if name)
    for body in subgraphs(node):
        for inner in body.node:
            yield from _read(inner)
        yield from (value.name for value in body.output)


class _Cut:
    """The cut of what makes one new value."""

    def __init__(self, graph: onnx.GraphProto, shapes: ShapeOf) -> None:
        self.graph = graph
        self.shapes = shapes
        self.makers = {name: node for node in graph.node for name in node.output if name}
        self.readers = Counter(name for node in graph.node for name in _read(node))
        self.readers.update(value.name for value in graph.output)
        self.constants = {t.name: t for t in graph.initializer}
        self.taken = {*self.makers, *self.constants, *(v.name for v in graph.input)}
        self.nodes: list[onnx.NodeProto] = []

    def update(self, share: Share, new: str) -> None:
        """Make only a share of a parameter's new value.

        Raises:
            UsageError: the parameter has no channels, or its new value is none of several.
        """
        shape, root = self.shapes(share.name), self.makers.get(new)
        if not shape or root is None or len(root.output) != 1:
            raise UsageError(
                f"--update {share.name}:{share.ratio}: {share.name} has no output channels of "
                "which a share could be updated; name it without a ratio"
            )
        axis = self._channel_axis(share.name, len(shape))
        count = max(1, round(share.ratio * shape[axis]))
        if count == shape[axis]:
            return
        part = self._cut_node(root, new, axis, count)
        if part is None:
            part = self._sliced_whole(root, new, axis, count)
        if axis == 0:
            rows = self._constant(np.arange(count, dtype=np.int64).reshape(count, 1), "channels")
            self._add("ScatterND", [share.name, rows, part], new)
        else:
            rest = self._slice(share.name, axis, count, shape[axis])
            self._add("Concat", [part, rest], new, axis=axis)
        at = next(i for i, node in enumerate(self.graph.node) if new in node.output)
        before, behind = list(self.graph.node[:at]), list(self.graph.node[at + 1 :])
        nodes = [*before, *self.nodes, *behind]
        copies = [_copied(node) for node in nodes]
        del self.graph.node[:]
        self.graph.node.extend(copies)

    def _channel_axis(self, name: str, rank: int) -> int:
        """The axis of output channels, as the first operator that reads a parameter has it."""
        for node in self.graph.node:
            if name not in node.input:
                continue
            place = list(node.input).index(name)
            if node.op_type == "ConvTranspose" and place == 1:
                return 1
            if node.op_type == "MatMul" and place == 1:
                return rank - 1
            if node.op_type == "Gemm" and place == 1:
                return 0 if attributes(node).get("transB", 0) else 1
            return 0
        return 0

    def _part(self, value: str, axis: int, count: int) -> str:
        """The first elements of a tensor along an axis: computed alone where that is possible."""
        maker = self.makers.get(value)
        if maker is not None and self.readers[value] == 1 and len(maker.output) == 1:
            made = self._cut_node(maker, value, axis, count)
            if made is not None:
                return made
        return self._slice(value, axis, 0, count)

    def _cut_node(self, node: onnx.NodeProto, value: str, axis: int, count: int) -> str | None:
        """The same operator on parts of its operands; None where it lets no range through."""
        shape = self.shapes(value)
        if shape is None or node.domain not in {"", "ai.onnx"}:
            return None
        rule = _RULES.get("elementwise" if node.op_type in ELEMENTWISE else node.op_type)
        inputs = None if rule is None else rule(self, node, shape, axis, count)
        if inputs is None:
            return None
        copy = _copied(node)
        copy.name = f"{node.name}_share" if node.name else ""
        del copy.input[:], copy.output[:]
        copy.input.extend(inputs)
        copy.output.append(self._name(f"{value}_share"))
        self.nodes.append(copy)
        return str(copy.output[0])

    def _sliced_whole(self, root: onnx.NodeProto, new: str, axis: int, count: int) -> str:
        """The part of a whole new value, which gets another name."""
        copy = _copied(root)
        whole = self._name(f"{new}_whole")
        del copy.output[:]
        copy.output.append(whole)
        self.nodes.append(copy)
        return self._slice(whole, axis, 0, count)

    def elementwise(
        self, node: onnx.NodeProto, shape: tuple[int, ...], axis: int, count: int
    ) -> list[str] | None:
        """Operands cut along the axis that broadcasting lines up with it."""
        inputs: list[str] = []
        for name in node.input:
            size = self.shapes(name)
            if size is None:
                return None
            own = axis - (len(shape) - len(size))
            is_cut = own >= 0 and size[own] != 1
            inputs.append(self._part(name, own, count) if is_cut else name)
        return inputs

    def transpose(
        self, node: onnx.NodeProto, shape: tuple[int, ...], axis: int, count: int
    ) -> list[str] | None:
        """The operand, cut along the axis that becomes this one."""
        order = attributes(node).get("perm", list(reversed(range(len(shape)))))
        return [self._part(node.input[0], order[axis], count)]

    def matmul(
        self, node: onnx.NodeProto, shape: tuple[int, ...], axis: int, count: int
    ) -> list[str] | None:
        """Rows of the left operand, or columns of the right one."""
        left, right = node.input
        ranks = [len(self.shapes(name) or ()) for name in (left, right)]
        if min(ranks) < 2:
            return None
        if axis == len(shape) - 1:
            return [left, self._part(right, ranks[1] - 1, count)]
        if axis == len(shape) - 2:
            return [self._part(left, ranks[0] - 2, count), right]
        return None

    def gemm(
        self, node: onnx.NodeProto, shape: tuple[int, ...], axis: int, count: int
    ) -> list[str] | None:
        """As a product of matrices, each perhaps transposed, and what is added to it."""
        inputs = list(node.input)
        side = 1 - axis if attributes(node).get("transB" if axis else "transA", 0) else axis
        inputs[axis] = self._part(inputs[axis], side, count)
        if len(inputs) > 2 and inputs[2]:
            size = self.shapes(inputs[2])
            if size is None:
                return None
            own = axis - (len(shape) - len(size))
            if own >= 0 and size[own] != 1:
                inputs[2] = self._part(inputs[2], own, count)
        return inputs

    def conv(
        self, node: onnx.NodeProto, _shape: tuple[int, ...], axis: int, count: int
    ) -> list[str] | None:
        """Samples of the data, or output channels of the kernel and the bias."""
        inputs = list(node.input)
        if axis == 0:
            return [self._part(inputs[0], 0, count), *inputs[1:]]
        if axis != 1 or attributes(node).get("group", 1) != 1:
            return None
        cut = [self._part(name, 0, count) for name in inputs[1:] if name]
        return [inputs[0], *cut]

    def reshape(
        self, node: onnx.NodeProto, shape: tuple[int, ...], axis: int, count: int
    ) -> list[str] | None:
        """The operand, cut along the first axis where that stays as it is."""
        size = self.shapes(node.input[0])
        if axis != 0 or not size or size[0] != shape[0] or attributes(node).get("allowzero", 0):
            return None
        part = self._part(node.input[0], 0, count)
        return [part, self._constant(np.array([count, *shape[1:]], dtype=np.int64), "shape")]

    def slice(
        self, node: onnx.NodeProto, shape: tuple[int, ...], axis: int, count: int
    ) -> list[str] | None:
        """The operand, cut along an axis of which the operator takes all."""
        tensor = self.constants.get(node.input[3]) if len(node.input) > 3 else None
        if tensor is None:
            return None
        axes = {int(a) % len(shape) for a in numpy_helper.to_array(tensor).reshape(-1)}
        if axis in axes:
            return None
        return [self._part(node.input[0], axis, count), *node.input[1:]]

    def _slice(self, value: str, axis: int, begin: int, end: int) -> str:
        bounds = [
            self._constant(np.array([number], dtype=np.int64), "bound")
            for number in (begin, end, axis)
        ]
        return self._add("Slice", [value, *bounds], self._name(f"{value}_share"))

    def _add(self, op: str, inputs: Sequence[str], output: str, *, axis: int | None = None) -> str:
        node = helper.make_node(op, list(inputs), [output], name=f"{output}_{op.lower()}")
        if axis is not None:
            node.attribute.append(helper.make_attribute("axis", axis))
        self.nodes.append(node)
        return output

    def _constant(self, data: np.ndarray[tuple[int, ...], np.dtype[np.int64]], what: str) -> str:
        name = self._name(f"update_{what}")
        self.graph.initializer.append(numpy_helper.from_array(data, name))
        return name

    def _name(self, wanted: str) -> str:
        """A name that no tensor has."""
        name, number = wanted, 1
        while name in self.taken:
            number += 1
            name = f"{wanted}_{number}"
        self.taken.add(name)
        return name


# What lets a range of its result through: the operands that make it.
_Rule = Callable[[_Cut, onnx.NodeProto, tuple[int, ...], int, int], list[str] | None]
_RULES: Mapping[str, _Rule] = {
    "elementwise": _Cut.elementwise,
    "Transpose": _Cut.transpose,
    "MatMul": _Cut.matmul,
    "Gemm": _Cut.gemm,
    "Conv": _Cut.conv,
    "Reshape": _Cut.reshape,
    "Slice": _Cut.slice,
}


def _copied(node: onnx.NodeProto) -> onnx.NodeProto:
    """A node that outlives the list that it is in."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy
