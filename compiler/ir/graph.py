"""The graph: values (tensors) and the operators that read and write them."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from ullage.compiler.common.dtypes import BITS, storage_bytes
from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.ranges import Count
from ullage.compiler.common.units import counted
from ullage.compiler.common.visible import is_unicode
from ullage.compiler.ir.reach import Reach

if TYPE_CHECKING:
    import networkx as nx

# Role of a value in one inference; `program.Buffer` says what each means for storage.
Kind = Literal["input", "weight", "activation", "output"]
# Role of a buffer: that of its values, or `state` where it holds an input and the output after it.
BufferKind = Literal["input", "weight", "activation", "output", "state"]
# What a loop nest computes; explained at `LoopNest`.
NestKind = Literal[
    "convolution",
    "depthwise",
    "matmul",
    "pooling",
    "reduction",
    "normalization",
    "softmax",
    "elementwise",
    "movement",
    "quantization",
    "other",
]
NEST_KINDS: tuple[NestKind, ...] = get_args(NestKind)
# Kinds of loop nests that multiply and accumulate.
MAC_KINDS: frozenset[NestKind] = frozenset({"convolution", "depthwise", "matmul"})
# How an output may use the bytes of an input; explained at `Sharing`.
SharingKind = Literal["view", "in_place", "concat", "split"]


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor.

    Attributes:
        name: unique name in the graph.
        kind: `input`, `weight`, `activation` or `output`.
        dtype: element type in ONNX spelling, lower case (`float32`, `int4` ...).
        shape: dimensions; a scalar has none.
        size_bytes: storage; sub-byte types are packed.
        is_upper_bound: the shape depends on data and this is its largest possible size.
        padded_shape: dimensions that it is stored with, where the target pads some
            (`Target.padding`): as many as in `shape`, none shorter. What pads an axis lies behind
            the axis' last index. None: those of `shape`.
    """

    name: str
    kind: Kind
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int
    is_upper_bound: bool = False
    padded_shape: tuple[int, ...] | None = None

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The dimensions that it is stored with, padding included."""
        return self.shape if self.padded_shape is None else self.padded_shape

    @property
    def is_encoded(self) -> bool:
        """Whether it is a weight that is stored in other bytes than its elements take."""
        plain = self.kind != "weight" or self.size_bytes == storage_bytes(
            self.dtype, prod(self.shape)
        )
        return not plain

    @property
    def element_bits(self) -> Fraction:
        """Bits of an element as it is stored."""
        elements = prod(self.stored_shape)
        if self.is_encoded and elements:
            return Fraction(8 * self.size_bytes, elements)
        return Fraction(BITS[self.dtype])

    @property
    def dense_bytes(self) -> int:
        """Storage without padding."""
        if self.padded_shape is None:
            return self.size_bytes
        return storage_bytes(self.dtype, prod(self.shape))


@dataclass(frozen=True, slots=True)
class Gemm:
    """`count` matrix products [m, k] x [k, n], the form in which a systolic array sees work.

    Weight stationary: k and n are the dimensions that the array holds, m is streamed.
    """

    m: Count
    k: Count
    n: Count
    count: Count = 1


@dataclass(frozen=True, slots=True)
class LoopNest:
    """Work with its geometry: the loops that an accelerator cuts into blocks.

        for each of `count` repetitions, `batch` images, `height` x `width` positions and `channels`
        output channels: combine `depth` input channels at every position of `kernel`

    Sequences have a width only. Of a matrix product [m, k] x [k, n], m is the width, k the depth, n
    the channels.

    Attributes:
        kind: `convolution`, `depthwise` (a convolution with as many groups as input channels) and
            `matmul` multiply and accumulate; `pooling` and `reduction` combine elements of the
            input; `normalization` and `softmax` pass several times over their elements;
            `elementwise`, `movement` and `quantization` (to or from integers) touch each element
            once; `other` is vector work without a geometry, its elements along the width.
        op: ONNX type of the node.
        count: how often it runs: attention heads, passes of a loop, products of a batch.
        batch: images; planes too, of an operator over volumes.
        height: rows of the output.
        width: columns of the output.
        channels: channels of the output, those of all groups.
        depth: input channels for each output channel, those of one group.
        kernel: rows and columns of the window.
        stride: rows and columns between windows.
        dilation: rows and columns between the elements of a window.
        groups: of channels that do not meet.
        then: ONNX types of the nodes that are fused behind it, each one element at a time.
    """

    kind: NestKind
    op: str
    count: Count = 1
    batch: Count = 1
    height: Count = 1
    width: Count = 1
    channels: Count = 1
    depth: Count = 1
    kernel: tuple[Count, Count] = (1, 1)
    stride: tuple[Count, Count] = (1, 1)
    dilation: tuple[Count, Count] = (1, 1)
    groups: Count = 1
    then: tuple[str, ...] = ()

    @property
    def is_mac(self) -> bool:
        """Whether it multiplies and accumulates."""
        return self.kind in MAC_KINDS

    @property
    def elements(self) -> int:
        """Elements of the output, those of every repetition."""
        return self.count * self.batch * self.height * self.width * self.channels

    @property
    def taps(self) -> int:
        """Positions of the window."""
        return self.kernel[0] * self.kernel[1]

    @property
    def visits(self) -> int:
        """Input elements combined; of a kind in `MAC_KINDS`, the multiply-accumulates."""
        return self.elements * self.depth * self.taps


@dataclass(frozen=True, slots=True)
class Sharing:
    """An output that *may* share the bytes of an input; `lowering.aliases` decides whether it does.

    Attributes:
        kind: `view` (same bytes, no work), `in_place` (the output overwrites the input),
            `concat` (the input is a part of the output) or `split` (the output is a part of
            the input).
        output: name of the output value.
        input: name of the input value.
        offset_bytes: where the part begins inside the whole (`concat`, `split`).
        written_bytes: of `in_place`, the bytes that the operator then writes, where it leaves the
            rest as it is (a ScatterND writes a few rows); None: all.
        is_read: of these, the operator reads the operand, too (an attention its cache).
    """

    kind: SharingKind
    output: str
    input: str
    offset_bytes: int = 0
    written_bytes: int | None = None
    is_read: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """A tensor that lives from one inference to the next, in the same bytes.

    Attributes:
        input: the graph's input that is the tensor before an inference.
        output: the graph's output that is the tensor after it, and the next one's input.
        axis: the axis along which an inference appends rows; None where the shape stays.
    """

    input: str
    output: str
    axis: int | None = None


@dataclass(frozen=True, slots=True)
class Operator:
    """One unit of execution: an ONNX node or a fusion group of them.

    Attributes:
        name: unique name in the graph.
        kind: operator type of the node that does the work, `Conv` for Conv+BatchNorm+Relu.
        inputs: distinct values read, weights included.
        outputs: values written.
        macs: multiply-accumulates.
        mac_dtype: data type of the multiplications, selects the target's rate.
        vector_elements: elements that the vector unit processes.
        gemms: the MACs as matrix products.
        nests: all of its work as loop nests; empty where nobody knows its geometry.
        measured_s: its compute time in seconds where it was measured or simulated; it replaces the
            target's model.
        workspace_bytes: scratch memory needed while it runs.
        accessed_bytes: (input name, bytes really read) where less than the whole is touched.
        looked_up: those weights among them of which rows are read, each in one piece, that another
            input names by their indices: an embedding's table.
        sharings: storage that outputs may share with inputs.
        nodes: indices of its nodes in the prepared ONNX model.
        reach: how it can be cut into parts, and what each part reads; None where there is no rule,
            and it runs whole.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    macs: int = 0
    mac_dtype: str = "float32"
    vector_elements: int = 0
    gemms: tuple[Gemm, ...] = ()
    nests: tuple[LoopNest, ...] = ()
    measured_s: float | None = None
    workspace_bytes: int = 0
    accessed_bytes: tuple[tuple[str, int], ...] = ()
    looked_up: tuple[str, ...] = ()
    sharings: tuple[Sharing, ...] = ()
    nodes: tuple[int, ...] = ()
    reach: Reach | None = None


@dataclass(frozen=True, slots=True)
class Fallback:
    """An operator (or value) whose cost is estimated because there is no rule for it, and why."""

    operator: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Graph:
    """Values and operators of a model; operators stand in a topological order (the file's).

    Attributes:
        name: name of the model.
        values: every value by name.
        operators: in file order.
        inputs: names of the graph's inputs, weights excluded.
        outputs: names of the graph's outputs.
        fallbacks: what is costed by a fallback, with reasons; nothing is dropped silently.
        states: inputs and outputs that are one tensor, which lives across inferences.
        notes: remarks about the import that plans carry.
    """

    name: str
    values: Mapping[str, Value]
    operators: tuple[Operator, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    fallbacks: tuple[Fallback, ...] = ()
    states: tuple[State, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """One line: a graph in full is thousands."""
        operators = counted(len(self.operators), "operator")
        return f"<Graph {self.name}: {operators}, {counted(len(self.values), 'value')}>"

    def to_networkx(self) -> "nx.DiGraph":
        """The graph for networkx: a node per operator and a node per value; nothing is lost.

        Nodes and their attributes, with units as in `Operator` and `Value`:

        - An operator's key is its index (int). `role` is `operator`; `name` and `kind` (str),
          `macs`, `vector_elements`, `workspace_bytes` (int), `mac_dtype` (str), `gemms` (tuple of
          `Gemm`), `nests` (tuple of `LoopNest`), `measured_s` (float or None), `accessed_bytes`
          (tuple of (input name, bytes)), `looked_up` (tuple of str), `sharings` (tuple of
          `Sharing`), `nodes` (tuple of int), `reach` (`Reach` or None).
        - A value's key is its name (str). `role` is `value`; `name`, `kind` and `dtype` (str),
          `shape` (tuple of int), `size_bytes` (int), `is_upper_bound` (bool),
          `padded_shape` (tuple of int or None).

        Edges run from a value to each operator that reads it and from an operator to each value
        that it writes. `position` (int) is the place among the operator's inputs or outputs,
        `size_bytes` (int) how many bytes are read or written.

        The graph's own attributes are `name`, `inputs`, `outputs` (tuples of value names),
        `fallbacks` (tuple of `Fallback`), `states` (tuple of `State`) and `notes` (tuple of str).

        Returns:
            A `networkx.DiGraph`, bipartite and without cycles; operators stand in file order.
        """
        import networkx as nx

        net = nx.DiGraph(
            name=self.name,
            inputs=self.inputs,
            outputs=self.outputs,
            fallbacks=self.fallbacks,
            states=self.states,
            notes=self.notes,
        )
        for name, value in self.values.items():
            net.add_node(name, role="value", **_attributes_of(value))
        for index, operator in enumerate(self.operators):
            net.add_node(index, role="operator", **_attributes_of(operator))
            accessed = dict(operator.accessed_bytes)
            for position, name in enumerate(operator.inputs):
                size = accessed.get(name, self.values[name].size_bytes)
                net.add_edge(name, index, position=position, size_bytes=size)
            for position, name in enumerate(operator.outputs):
                size = self.values[name].size_bytes
                net.add_edge(index, name, position=position, size_bytes=size)
        return net

    @classmethod
    def from_networkx(cls, net: "nx.DiGraph") -> "Graph":
        """The graph that `to_networkx` described, or one made by hand in the same form.

        Operators need `role`, `name` and `kind`; values need `role`, `kind`, `dtype`, `shape` and
        `size_bytes`. Other attributes default as in `Operator` and `Value`; of edges only
        `position` is read, and it defaults to the order of the edges. Keys of operators may be
        anything. Operators come in a topological order: of those that could be next, the one that
        stands first in `net`. Where the graph lists no `inputs` or `outputs`, they are the values
        of that kind.

        Raises:
            UsageError: a node or an edge does not have this form, a name stands for nothing or
                for two things, or there is a cycle; the message names it.
        """
        import networkx as nx

        _check_form(net)
        values = {
            name: _made(Value, name, attributes, name=name)
            for name, attributes in net.nodes(data=True)
            if attributes["role"] == "value"
        }
        places = {node: -1 if node in values else at for at, node in enumerate(net)}
        try:
            order = list(nx.lexicographical_topological_sort(net, key=places.__getitem__))
        except nx.NetworkXUnfeasible:
            cycle = " -> ".join(repr(node) for node, _ in nx.find_cycle(net)[:8])
            raise UsageError(f"the graph has a cycle: {cycle}; operators need an order") from None
        operators = tuple(
            _made(
                Operator,
                node,
                net.nodes[node],
                inputs=_placed((source, at) for source, _, at in net.in_edges(node, "position")),
                outputs=_placed((result, at) for _, result, at in net.out_edges(node, "position")),
            )
            for node in order
            if node not in values
        )
        ends = {
            kind: tuple(
                net.graph.get(f"{kind}s", (v.name for v in values.values() if v.kind == kind))
            )
            for kind in ("input", "output")
        }
        _check_names(values, operators, (*ends["input"], *ends["output"]))
        return cls(
            name=net.name or "graph",
            values=values,
            operators=operators,
            inputs=ends["input"],
            outputs=ends["output"],
            fallbacks=tuple(net.graph.get("fallbacks", ())),
            states=tuple(net.graph.get("states", ())),
            notes=tuple(net.graph.get("notes", ())),
        )


def _attributes_of(part: Value | Operator) -> dict[str, Any]:
    """The fields that are attributes of a node; inputs and outputs are edges."""
    names = (f.name for f in fields(part) if f.name not in ("inputs", "outputs"))
    return {name: getattr(part, name) for name in names}


Part = TypeVar("Part", Value, Operator)


def _made(
    kind: type[Part],
    node: object,
    attributes: Mapping[str, Any],
    **known: Any,  # noqa: ANN401 - fields have several types
) -> Part:
    """A value or an operator from the attributes of a node and from fields that are known.

    Raises:
        UsageError: an attribute is missing.
    """
    values: dict[str, Any] = {
        f.name: attributes[f.name] for f in fields(kind) if f.name in attributes
    } | known
    missing = [f.name for f in fields(kind) if f.name not in values and f.default is MISSING]
    if missing:
        raise UsageError(f"{kind.__name__.lower()} {node!r} needs the attribute {missing[0]}")
    for name, value in values.items():
        values[name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def _placed(edges: Iterator[tuple[str, int | None]]) -> tuple[str, ...]:
    """Values by their positions; those without one come last, in the order of the edges."""
    ordered = sorted(edges, key=lambda edge: (edge[1] is None, edge[1] or 0))
    return tuple(name for name, _ in ordered)


def _check_form(net: "nx.DiGraph") -> None:
    """Check that operators and values alternate in a directed graph, each value written once.

    Raises:
        UsageError: names the node or the edge.
    """
    if not net.is_directed() or net.is_multigraph():
        raise UsageError(f"a graph is made from a networkx.DiGraph, not a {type(net).__name__}")
    roles = dict(net.nodes(data="role"))
    for node, role in roles.items():
        if role not in ("operator", "value"):
            raise UsageError(f"node {node!r} has the role {role!r}; it is operator or value")
        if role == "value" and not isinstance(node, str):
            raise UsageError(f"value {node!r} needs a text as its key: its name")
        if role == "value" and net.in_degree(node) > 1:
            raise UsageError(f"value {node!r} is written by {net.in_degree(node)} operators")
    for source, result in net.edges:
        if roles[source] == roles[result]:
            raise UsageError(f"edge {source!r} -> {result!r} joins two {roles[source]}s")


def _check_names(
    values: Mapping[str, Value], operators: tuple[Operator, ...], ends: tuple[str, ...]
) -> None:
    """Check that every name stands for a value, and that no two operators have the same one.

    Names must be texts that a plan's file can hold.

    Raises:
        UsageError: says which.
    """
    for name in (*values, *(operator.name for operator in operators)):
        if not isinstance(name, str) or not is_unicode(name):
            raise UsageError(f"the name {name!r} is no Unicode text; rename it")
    seen: set[str] = set()
    used = set(ends)
    for operator in operators:
        if operator.name in seen:
            raise UsageError(f"two operators have the name {operator.name!r}")
        seen.add(operator.name)
        used.update(name for name, _ in operator.accessed_bytes)
        used.update(operator.looked_up)
        used.update(name for s in operator.sharings for name in (s.input, s.output))
    for name in sorted(used - set(values)):
        raise UsageError(f"{name!r} is named in the graph, but no value has that name")
