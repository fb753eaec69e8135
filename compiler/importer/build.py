"""From an ONNX model to a `Graph`: the last stage of the import."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path

import onnx

from ullage.compiler.common.clock import check_time
from ullage.compiler.common.dtypes import FLOATS, bits_of, resized, storage_bytes
from ullage.compiler.common.errors import ModelError, UsageError
from ullage.compiler.common.visible import is_unicode
from ullage.compiler.importer import fusion
from ullage.compiler.importer.batch.rebatch import rebatched
from ullage.compiler.importer.bodies.lift import lift_weights
from ullage.compiler.importer.bodies.prune import prune_branches
from ullage.compiler.importer.infer import infer_model
from ullage.compiler.importer.joint.fx_file import import_joint, is_joint_file
from ullage.compiler.importer.load import check_model, check_work, load_model
from ullage.compiler.importer.nodes import NodeList, bias_names, collect_nodes
from ullage.compiler.importer.operators.undefined import undefined_note
from ullage.compiler.importer.optypes import QUANTIZATION
from ullage.compiler.importer.padding import encoded, padded
from ullage.compiler.importer.reach.groups import with_reach
from ullage.compiler.importer.scope import Scope
from ullage.compiler.importer.states.pairs import AUTO, with_states
from ullage.compiler.importer.states.shares import ShapeOf, Share, cut_updates, has_shares
from ullage.compiler.importer.states.update import Updates, kept_outputs, shares_of, with_updates
from ullage.compiler.importer.symbols import bind_symbols, check_sizes, fixed_batches
from ullage.compiler.ir.graph import Fallback, Graph, Kind, LoopNest, Operator, Sharing, Value
from ullage.compiler.ir.target import NO_PADDING, Padding, Target

# What is said of a model of which every output is an input or a constant.
NOTHING_TO_PLAN = "no operator runs at inference: there is nothing to plan, and the plan is empty"


@dataclass(frozen=True)
class ImportOptions:
    """How a model becomes a graph.

    Attributes:
        dims: values of symbolic dimensions, by name.
        batch: value of every symbolic first dimension of an input; where these are numbers, another
            one (`rebatch`).
        dtype: data type policy: floating-point tensors are planned as this type.
        bias_dtype: under a policy of integers, biases are planned as this type
            (`Target.bias_dtype`); None: as all others.
        scale_dtype: under a policy of integers, type of the scale of each channel that has a bias
            (`Target.scale_dtype`); None: there are none.
        padding: how feature maps are stored (`Target.padding`).
        weight_ratio: under a policy of integers, encoded bytes of weights over plain ones
            (`Target.weight_ratio`).
        fuse: form fusion groups, and leave out operators that no output needs.
        fuse_pairs: operators that read a second activation may join a group (`Target.fuse_pairs`).
        states: which tensors live from one inference to the next: `IN=OUT`, an input and the output
            after it, or `auto`.
        updates: of a training step, which parameters get new values (`with_updates`); None: all.
        deadline: `time.monotonic()` value at which reading ends, None for never.
    """

    dims: Mapping[str, int] = field(default_factory=dict)
    batch: int | None = None
    dtype: str | None = None
    bias_dtype: str | None = None
    scale_dtype: str | None = None
    padding: Padding = NO_PADDING
    weight_ratio: float = 1.0
    fuse: bool = True
    fuse_pairs: bool = True
    states: tuple[str, ...] = ()
    updates: Updates | None = None
    deadline: float | None = None

    def for_target(self, target: Target) -> "ImportOptions":
        """The same, with what a target says of how models are fused and stored."""
        return replace(
            self,
            fuse_pairs=target.fuse_pairs,
            bias_dtype=target.bias_dtype,
            scale_dtype=target.scale_dtype,
            padding=target.padding,
            weight_ratio=target.weight_ratio,
        )


@dataclass(frozen=True)
class Imported:
    """A graph and what it was made from.

    Attributes:
        graph: the graph; `Operator.nodes` are indices of nodes of `proto`.
        proto: the flat model in topological order, functions inlined.
        scope: types and constants of its tensors.
    """

    graph: Graph
    proto: onnx.ModelProto
    scope: Scope


def import_model(
    model: Path | onnx.ModelProto, options: ImportOptions | None = None, name: str = ""
) -> Graph:
    """Read a model into a graph; arguments and errors as for `import_detailed`.

    A joint training graph in fx form will do as well.
    """
    if is_joint_file(model):
        return _joint_graph(Path(str(model)), options or ImportOptions(), name)
    return import_detailed(model, options, name).graph


def _joint_graph(path: Path, options: ImportOptions, name: str) -> Graph:
    """The graph of a file in fx form.

    Raises:
        UsageError: an option is for ONNX models alone.
    """
    if options.dims or options.batch is not None:
        raise UsageError(
            f"{path}: a joint graph in fx form has no symbolic dimensions: leave --dim and --batch "
            "out"
        )
    graph = import_joint(path, dtype=options.dtype, name=name)
    if has_shares(options.updates):
        raise UsageError(
            f"{path}: --update with ratios rewrites a model, and a joint graph in fx form has no "
            "attributes of operators: give its ONNX model, or names without ratios"
        )
    if options.updates is not None:  # gradients that are one of several results go as well
        outputs, note = kept_outputs(graph, options.updates)
        graph = import_joint(path, dtype=options.dtype, name=name, outputs=outputs)
        graph = replace(graph, notes=(*graph.notes, note))
    check_work(graph, str(path))
    return with_states(graph, options.states)


def import_detailed(
    model: Path | onnx.ModelProto, options: ImportOptions | None = None, name: str = ""
) -> Imported:
    """Read a model into a graph, keeping what it was made from.

    Args:
        model: an `.onnx` file or a loaded model.
        options: how to read it.
        name: name of the graph, default the file's or the model's own.

    Raises:
        ModelError: the model cannot be read or planned.
        TimeLimitError: the deadline came first.
        UsageError: an option does not fit the model.
    """
    chosen = options or ImportOptions()
    check_sizes(chosen.dims, chosen.batch)
    if is_joint_file(model):
        raise ModelError(
            f"{model}: a joint graph in fx form has shapes only: it is planned and verified, not "
            "executed; give its ONNX model"
        )
    if isinstance(model, Path):
        if not is_unicode(str(model)):
            raise ModelError(
                f"{model}: a plan names the file of its model, and this name is no Unicode text; "
                "rename the file"
            )
        label, where, proto = name or model.stem, str(model), load_model(model, chosen.deadline)
    elif not isinstance(model, onnx.ModelProto):
        raise UsageError(
            f"a model is a pathlib.Path or an onnx.ModelProto, not {model!r:.80}; "
            "ullage.compiler.importer.model_zoo.find_model gives the path of a name"
        )
    else:
        label = where = name or model.graph.name or "model"
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        proto = check_model(copy, label, chosen.deadline)
    check_time(chosen.deadline, where)
    lift_weights(proto.graph, where)
    check_time(chosen.deadline, where)
    initializers = {t.name for t in proto.graph.initializer}
    inputs = [v for v in proto.graph.input if v.name not in initializers]
    symbols = bind_symbols(inputs, chosen.dims, chosen.batch, where)
    scope = infer_model(proto, symbols, where, chosen.deadline)
    prune_branches(proto.graph, scope)
    new_of: dict[str, str] | None = None
    if isinstance(chosen.updates, tuple) and has_shares(chosen.updates):
        whole = import_detailed(model, replace(chosen, updates=None, states=()), name).graph
        new_of, shares = shares_of(whole, chosen.updates)
        cut_updates(proto, _shapes_of(scope), new_of, shares)
        scope = infer_model(proto, symbols, where, chosen.deadline)
        chosen = _with_shared_states(chosen, new_of, shares)
    scope.work.check(where)
    fixed = fixed_batches(inputs) if chosen.batch is not None else set()
    if chosen.batch is not None and fixed and chosen.batch not in fixed:
        proto, scope = rebatched(
            proto,
            scope,
            chosen.batch,
            lambda model: infer_model(model, symbols, where, chosen.deadline),
        )
    node_list = collect_nodes(proto.graph, scope, chosen.dtype)
    biases = _biases(proto.graph, scope, chosen)
    sizes = {
        name: storage_bytes(dtype, scope.types[name].elements) for name, dtype in biases.items()
    }
    node_list = replace(node_list, sizes={**node_list.sizes, **sizes})
    scope.work.check(where)
    outputs = tuple(dict.fromkeys(v.name for v in proto.graph.output))
    scope.work.check(where)
    if chosen.fuse:
        elements = {n: t.elements for n, t in scope.types.items()}
        groups = fusion.fuse(node_list.nodes, frozenset(outputs), elements, pairs=chosen.fuse_pairs)
    else:
        groups = tuple(fusion.Group((node,), node) for node in node_list.nodes)
    scope.work.check(where)
    names = tuple(v.name for v in inputs)
    graph = _graph(label, groups, node_list, scope, names, outputs, chosen)
    values = {
        name: replace(value, dtype=biases.get(name, value.dtype))
        for name, value in graph.values.items()
    }
    graph = padded(replace(graph, values=values), chosen.padding)
    scope.work.check(where)
    graph = with_reach(graph, groups, proto.graph, scope)
    if _has_integers(chosen):
        graph = encoded(graph, biases, chosen.weight_ratio)
    if chosen.scale_dtype is not None:
        graph = _with_scales(graph, biases, chosen.scale_dtype)
    graph = with_updates(graph, chosen.updates, new_of)
    check_work(graph, where)
    return Imported(with_states(graph, chosen.states), proto, scope)


def _shapes_of(scope: Scope) -> ShapeOf:
    """Shapes of tensors, where they do not depend on data."""

    def shape_of(name: str) -> tuple[int, ...] | None:
        known = scope.types.get(name)
        is_exact = known is not None and all(map(known.is_exact, range(len(known.shape))))
        return known.shape if known is not None and is_exact else None

    return shape_of


def _with_shared_states(
    options: ImportOptions, new_of: Mapping[str, str], shares: Sequence[Share]
) -> ImportOptions:
    """The options; what `--state auto` finds of whole new values is said of those cut to shares.

    Args:
        options: how to read the model.
        new_of: for each parameter its new value.
        shares: of parameters that are updated.
    """
    if AUTO not in options.states:
        return options
    named = {text.split("=")[0] for text in options.states}
    pairs = [f"{s.name}={new_of[s.name]}" for s in shares if s.name not in named]
    return replace(options, states=(*options.states, *pairs))


def _biases(graph: onnx.GraphProto, scope: Scope, options: ImportOptions) -> dict[str, str]:
    """Biases under a policy of integers of a byte or less, and the types that they are planned as.

    Sums have more bits than operands.
    """
    policy, bias_dtype = options.dtype, options.bias_dtype
    if policy is None or not _has_integers(options):
        return {}
    names = bias_names(graph, scope)
    return {name: bias_dtype or policy for name in names if scope.types[name].dtype in FLOATS}


def _has_integers(options: ImportOptions) -> bool:
    """Whether the policy is one of integers of a byte or less."""
    policy = options.dtype
    return policy is not None and policy not in FLOATS and bits_of(policy) <= 8


def _with_scales(graph: Graph, biases: Collection[str], dtype: str) -> Graph:
    """The graph with the scales by which sums become operands again, one for each channel.

    They are read as biases are. Models that are quantised have scales of their own.
    """
    taken = {*graph.values}
    scales: dict[str, Value] = {}
    for bias in [value for value in graph.values.values() if value.name in biases]:
        name = fresh(f"{bias.name}#scales", taken)
        taken.add(name)
        elements = prod(bias.shape)
        size = storage_bytes(dtype, elements)
        scales[bias.name] = Value(name, "weight", dtype, bias.shape, size)
    operators = tuple(_scaled(operator, scales) for operator in graph.operators)
    values = {**graph.values, **{value.name: value for value in scales.values()}}
    return replace(graph, values=values, operators=operators)


def _scaled(operator: Operator, scales: Mapping[str, Value]) -> Operator:
    """An operator that reads the scales beside its biases."""
    own = {name: scales[name].name for name in operator.inputs if name in scales}
    if not own:
        return operator
    reach = operator.reach
    if reach is not None:
        more = tuple(replace(r, name=own[r.name]) for r in reach.inputs if r.name in own)
        reach = replace(reach, inputs=(*reach.inputs, *more))
    return replace(operator, inputs=(*operator.inputs, *own.values()), reach=reach)


def _graph(
    label: str,
    groups: tuple[fusion.Group, ...],
    node_list: NodeList,
    scope: Scope,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    options: ImportOptions,
) -> Graph:
    read = {name for group in groups for node in group.nodes for name in node.activations}
    used = read.union(outputs)
    taken = {*scope.types}
    operators = tuple(_operator(group, node_list.sizes, used, taken) for group in groups)
    values: dict[str, Value] = {}
    returned = frozenset(outputs)
    for name in inputs:
        _add_value(values, name, "input", scope, node_list.sizes, options.dtype)
    for operator, group in zip(operators, groups, strict=True):
        for name in operator.outputs:
            if name not in scope.types:  # stands for the inside of a subgraph
                size = sum(n.body_bytes for n in group.nodes)
                values[name] = Value(name, "activation", "uint8", (size,), size)
                continue
            kind: Kind = "output" if name in returned else "activation"
            _add_value(values, name, kind, scope, node_list.sizes, options.dtype)
    for operator in operators:
        for name in operator.inputs:
            if name not in values:
                _add_value(values, name, "weight", scope, node_list.sizes, options.dtype)
    planned = {f.operator for f in node_list.fallbacks}
    labels = {node.label for group in groups for node in group.nodes}
    return Graph(
        name=label,
        values=values,
        operators=operators,
        inputs=inputs,
        outputs=tuple(name for name in outputs if name in values),
        fallbacks=(
            *(f for f in node_list.fallbacks if f.operator in planned & labels),
            *(Fallback(label, "If", reason) for label, reason in scope.work.skipped),
            *_output_notes(outputs, values, scope),
            *(() if operators else (Fallback(label, "model", NOTHING_TO_PLAN),)),
        ),
        notes=tuple(undefined_note(*found) for found in scope.work.undefined.items()),
    )


def _output_notes(
    outputs: tuple[str, ...], values: Mapping[str, Value], scope: Scope
) -> tuple[Fallback, ...]:
    return tuple(
        Fallback(name, "output", "a constant: stored with the model, needs no plan")
        for name in outputs
        if name not in values and name in scope.constants
    )


def _add_value(
    values: dict[str, Value],
    name: str,
    kind: Kind,
    scope: Scope,
    sizes: Mapping[str, int],
    policy: str | None,
) -> None:
    tensor_type = scope.types[name]
    if name not in sizes:
        raise ModelError(
            f"{scope.where}: tensor {name!r} holds {tensor_type.dtype}, which has no fixed size "
            "in memory"
        )
    values[name] = Value(
        name=name,
        kind=kind,
        dtype=resized(tensor_type.dtype, policy),
        shape=tensor_type.shape,
        size_bytes=sizes[name],
        is_upper_bound=tensor_type.is_upper_bound,
    )


def _operator(
    group: fusion.Group, sizes: Mapping[str, int], used: set[str], taken: set[str]
) -> Operator:
    """One operator from a group.

    Args:
        group: its nodes.
        sizes: planned size in bytes of every tensor.
        used: tensors that are read, and outputs of the graph. Results that are neither are written
            all the same: they live while the operator runs.
        taken: names of tensors; receives one where the operator needs a name for scratch space.
    """
    inside = {name for node in group.nodes for name in node.outputs}
    anchor, last = group.anchor, group.nodes[-1]
    unread = tuple(name for name in anchor.outputs if name not in used)
    outputs = anchor.outputs
    if last is not anchor:
        outputs = (*last.outputs, *unread)
    elif any(s.kind == "view" for s in anchor.sharings):  # a Dropout that drops nothing: no mask
        outputs = tuple(name for name in outputs if name not in unread) or outputs[:1]
    scratch: tuple[str, ...] = ()
    if any(n.body_bytes for n in group.nodes):
        scratch = (scratch_name(anchor.label, taken),)
        taken.update(scratch)
    inputs = dict.fromkeys(
        name
        for node in group.nodes
        for name in (*node.activations, *node.weights)
        if name not in inside
    )
    readings: Counter[str] = Counter()
    for node in group.nodes:
        readings.update({*node.activations, *node.weights})
    partly = dict.fromkeys(name for node in group.nodes for name in node.accessed)
    accessed: dict[str, int] = {}
    looked_up: list[str] = []
    made_bytes = sum(sizes[name] for name in outputs)
    for name in (name for name in inputs if name in partly):
        parts = [n.accessed[name] for n in group.nodes if name in n.accessed]
        if len(parts) == readings[name]:
            accessed[name] = min(sizes[name], sum(parts))
            # Its rows take the place of the result while DMA brings them.
            by_rows = all(name in n.looked_up for n in group.nodes if name in n.accessed)
            if by_rows and accessed[name] <= made_bytes:
                looked_up.append(name)
    return Operator(
        name=group.anchor.label,
        kind=group.anchor.kind,
        inputs=tuple(inputs),
        outputs=(*outputs, *scratch),
        macs=sum(n.work.macs for n in group.nodes),
        mac_dtype=_mac_dtype(group),
        vector_elements=_vector_elements(group),
        gemms=tuple(g for n in group.nodes for g in n.work.gemms),
        nests=_nests(group),
        accessed_bytes=tuple(accessed.items()),
        looked_up=tuple(looked_up),
        sharings=_sharings(group, tuple(inputs), outputs, sizes),
        nodes=tuple(n.index for n in group.nodes),
    )


def _vector_elements(group: fusion.Group) -> int:
    """Elements for the vector unit; none for the scaling of integers, part of their operators."""
    return sum(
        node.work.vector_elements
        for node in group.nodes
        if node is group.anchor or node.op not in QUANTIZATION
    )


def _nests(group: fusion.Group) -> tuple[LoopNest, ...]:
    """Loop nests of a group: its main node's, behind the last of which the others follow.

    What is dequantised before the main node is read as it is: integers, by operators on integers.
    """
    behind = group.nodes[group.nodes.index(group.anchor) + 1 :]
    if not group.anchor.nests:  # a view
        return tuple(nest for node in behind for nest in node.nests)
    *others, last = group.anchor.nests
    return (*others, replace(last, then=tuple(node.op for node in behind)))


def _mac_dtype(group: fusion.Group) -> str:
    """Data type of the main node's multiplications.

    Where a dequantisation before it belongs to the group, it is the type of the quantised data.
    """
    for node in group.nodes:
        if node.op == "DequantizeLinear" and set(node.outputs) & set(group.anchor.activations):
            return node.mac_dtype
    return group.anchor.mac_dtype


def _sharings(
    group: fusion.Group, inputs: tuple[str, ...], outputs: tuple[str, ...], sizes: Mapping[str, int]
) -> tuple[Sharing, ...]:
    if len(group.nodes) == 1:
        return group.anchor.sharings
    as_large = [name for name in inputs if sizes[name] == sizes[outputs[0]]]
    return tuple(
        Sharing("in_place", outputs[0], name) for name in fusion.elementwise_inputs(group, as_large)
    )


def scratch_name(operator: str, taken: Collection[str] = ()) -> str:
    """Name of the value that stands for the intermediate tensors of an operator's subgraph.

    It exists while its operator runs and has a place in the plan like any other value.

    Args:
        operator: name of the operator.
        taken: names that it must not have.
    """
    return fresh(f"{operator}#body", taken)


def fresh(name: str, taken: Collection[str]) -> str:
    """A name that is not taken, the one given or one like it."""
    while name in taken:
        name += "#"
    return name
