"""float32 operators, and operators of any type that only move elements, node by node.

A fusion group runs its nodes one after the other: the first writes the operator's result, the
others work on it where it lies, element by element.
"""

from collections.abc import Callable, Mapping
from math import prod

import numpy as np
import onnx

from ullage.compiler.emit.cortex_m.context import Context, attributes, c_float, call
from ullage.compiler.emit.cortex_m.movement import MOVES, concat, copy_part, gather, move
from ullage.compiler.emit.cortex_m.quantised import BINARY, mean_axes, softmax_axes
from ullage.compiler.emit.cortex_m.shapes import broadcasts, matmul, windows

_BINARY = {**BINARY, "Pow": "ULLAGE_POW"}
# Operator -> its C name, and the attributes that are the kernel's `a` and `b`, with defaults.
_UNARY: Mapping[str, tuple[str, tuple[tuple[str, float], ...]]] = {
    "Sigmoid": ("ULLAGE_SIGMOID", ()),
    "Tanh": ("ULLAGE_TANH", ()),
    "Exp": ("ULLAGE_EXP", ()),
    "Log": ("ULLAGE_LOG", ()),
    "Sqrt": ("ULLAGE_SQRT", ()),
    "Abs": ("ULLAGE_ABS", ()),
    "Neg": ("ULLAGE_NEG", ()),
    "Reciprocal": ("ULLAGE_RECIPROCAL", ()),
    "Erf": ("ULLAGE_ERF", ()),
    "Floor": ("ULLAGE_FLOOR", ()),
    "Ceil": ("ULLAGE_CEIL", ()),
    "Softplus": ("ULLAGE_SOFTPLUS", ()),
    "LeakyRelu": ("ULLAGE_LEAKY_RELU", (("alpha", 0.01),)),
    "Elu": ("ULLAGE_ELU", (("alpha", 1.0),)),
    "HardSigmoid": ("ULLAGE_HARD_SIGMOID", (("alpha", 0.2), ("beta", 0.5))),
    "HardSwish": ("ULLAGE_HARD_SWISH", (("", 1 / 6), ("", 0.5))),
}
_REDUCE = {
    "ReduceMean": "ULLAGE_REDUCE_MEAN",
    "ReduceSum": "ULLAGE_REDUCE_SUM",
    "ReduceMax": "ULLAGE_REDUCE_MAX",
    "GlobalAveragePool": "ULLAGE_REDUCE_MEAN",
    "GlobalMaxPool": "ULLAGE_REDUCE_MAX",
}
# Nodes that may work on a result where it lies.
_IN_PLACE = (
    frozenset(_BINARY)
    | frozenset(_UNARY)
    | {"Relu", "Clip", "BatchNormalization"}
    | {"Identity", "Dropout"}
)


class Chain:
    """The nodes of an operator, each on the results of those before it.

    Attributes:
        context: the operator.
        result: name of the operator's result.
        made: names that lie in the result's memory now.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.result = context.operator.outputs[0]
        self.made: set[str] = set()

    def read(self, name: str) -> str:
        """Address of a float32 tensor that a node reads.

        Raises:
            ModelError: the operator's result has overwritten it, or it is another type.
        """
        context = self.context
        if context.dtype(name) != "float32":
            raise context.refuse(f"{name!r} is {context.dtype(name)}; kernels have float32")
        if name in self.made:
            return context.write(self.result, "float")
        computed = context.producer(name) is not None and context.constant(name) is None
        if self.made and computed:
            raise context.refuse(f"{name!r} is needed beside what is computed from it (--no-fuse)")
        if self.made and context.overlaps(name, self.result):
            raise context.refuse(f"the result lies on {name!r}, which is read again (--no-alias)")
        return context.read(name, "float")

    def lies_in(self, name: str) -> str:
        """The tensor in whose memory another lies: the result, for what was made before."""
        return self.result if name in self.made else name

    def write(self) -> str:
        """Address of the result."""
        return self.context.write(self.result, "float")


def plain_calls(context: Context) -> list[str]:
    """Statements of an operator without quantisation.

    Raises:
        ModelError: there is no kernel for it; names the operator and why.
    """
    nodes = context.nodes
    first = nodes[0]
    if first.op_type == "Concat" and len(nodes) == 1:
        sources = [(name, name) for name in first.input]
        return concat(context, first, sources, first.output[0])
    if first.op_type == "Gather" and len(nodes) == 1:
        return gather(context, first)
    if first.op_type in MOVES and len(nodes) == 1:
        return move(context, first, first.input[0], first.output[0])
    if first.op_type == "MaxPool" and context.dtype(first.input[0]) in ("int8", "uint8"):
        signed = int(context.dtype(first.input[0]) == "int8")
        x, y = context.read(first.input[0]), context.write(first.output[0])
        return [
            call("ullage_q8_max_pool", literal, x, signed, y)
            for literal in windows(context, first, first.input[0], first.output[0])
        ]
    if len(context.operator.outputs) > 1:
        raise context.refuse(f"{len(context.operator.outputs)} results")
    chain, statements = Chain(context), []
    waiting = list(nodes)
    while waiting:
        node = waiting.pop(0)
        after = waiting[0] if waiting else None
        if chain.made and node.op_type not in _IN_PLACE:
            raise context.refuse(f"{node.op_type} after {first.op_type} in one operator")
        if prod(context.shape(node.output[0])) != prod(context.shape(chain.result)):
            raise context.refuse(f"{node.op_type} changes the shape within one operator")
        if chain.made and not chain.made.intersection(node.input):
            raise context.refuse("its nodes are no chain")
        if after is not None and _is_gate(node, after):
            statements += _gate(chain, node)
            node = waiting.pop(0)
        elif after is not None and (added := _addend(chain, node, after)):
            statements += (_conv if node.op_type == "Conv" else _matmul)(chain, node, added)
            node = waiting.pop(0)
        else:
            statements += _node(chain, node)
        # What was there before is gone: only this node's result lies there.
        chain.made = {node.output[0]}
    return statements


def _is_gate(node: onnx.NodeProto, after: onnx.NodeProto) -> bool:
    """Whether two nodes are x * Sigmoid(x) or x * HardSigmoid(x)."""
    return (
        node.op_type in ("Sigmoid", "HardSigmoid")
        and after.op_type == "Mul"
        and sorted(after.input) == sorted([node.input[0], node.output[0]])
    )


def _gate(chain: Chain, node: onnx.NodeProto) -> list[str]:
    kind, (a, b) = "ULLAGE_SWISH", ("0.0f", "0.0f")
    if node.op_type == "HardSigmoid":
        found = attributes(node)
        kind = "ULLAGE_HARD_SWISH"
        a, b = c_float(found.get("alpha", 0.2)), c_float(found.get("beta", 0.5))
    return _unary_calls(chain, node, (kind, a, b))


def _unary_calls(chain: Chain, node: onnx.NodeProto, function: tuple[str, str, str]) -> list[str]:
    """A function of each element; of a part, where the result lies.

    Args:
        chain: the operator.
        node: the node, whose first input is the tensor.
        function: its C name and its two numbers.
    """
    context, (kind, a, b) = chain.context, function
    if not context.is_part:
        x, size = chain.read(node.input[0]), prod(context.shape(node.output[0]))
        return [call("ullage_f32_unary", kind, size, a, b, x, chain.write())]
    statements: list[str] = []
    if node.input[0] not in chain.made:
        chain.read(node.input[0])  # refuses what is no float32
        statements += copy_part(context, node.input[0], chain.result)
    for first, bytes_written in context.written_ranges(chain.result):
        y = f"({chain.write()} + {first // 4})"
        statements.append(call("ullage_f32_unary", kind, bytes_written // 4, a, b, y, y))
    return statements


def _addend(chain: Chain, node: onnx.NodeProto, after: onnx.NodeProto) -> str | None:
    """The tensor that is added to a Conv's or MatMul's result and is as large; None for others."""
    sums = node.op_type in ("Conv", "MatMul") and after.op_type == "Add"
    if chain.made or not sums or node.output[0] not in after.input:
        return None
    other = [name for name in after.input if name != node.output[0]]
    context = chain.context
    if len(other) != 1 or context.shape(other[0]) != context.shape(node.output[0]):
        return None
    name: str = other[0]
    return name


def _node(chain: Chain, node: onnx.NodeProto) -> list[str]:
    kind, context = node.op_type, chain.context
    makers: Mapping[str, Callable[[Chain, onnx.NodeProto], list[str]]] = {
        "Conv": _conv,
        "MatMul": _matmul,
        "Gemm": _matmul,
        "AveragePool": _pool,
        "MaxPool": _pool,
        "Softmax": _softmax,
        "BatchNormalization": _batch_norm,
        "LayerNormalization": _layer_norm,
        "Relu": _unary,
        "Clip": _unary,
        "Identity": _nothing,
        "Dropout": _nothing,
        **dict.fromkeys(_BINARY, _binary),
        **dict.fromkeys(_UNARY, _unary),
        **dict.fromkeys(_REDUCE, _reduce),
    }
    if kind not in makers:
        raise context.refuse(f"no float32 kernel for {kind}")
    return makers[kind](chain, node)


def _nothing(chain: Chain, node: onnx.NodeProto) -> list[str]:
    if not chain.made:
        raise chain.context.refuse(f"{node.op_type} at the beginning of an operator")
    return []


def _conv(chain: Chain, node: onnx.NodeProto, added: str = "") -> list[str]:
    bias = chain.read(node.input[2]) if len(node.input) > 2 and node.input[2] else "NULL"
    literals = windows(chain.context, node, node.input[0], chain.result, node.input[1])
    x, w = chain.read(node.input[0]), chain.read(node.input[1])
    addend = chain.read(added) if added else "NULL"
    if added:
        _same_place(chain, added)
    return [
        call("ullage_f32_conv", literal, x, w, bias, addend, chain.write()) for literal in literals
    ]


def _same_place(chain: Chain, added: str) -> None:
    """Refuse an addend whose elements lie in another order than the result's."""
    context = chain.context
    shape = context.shape(added)
    if context.cells(added, shape) != context.cells(chain.result, shape):
        raise context.refuse(
            f"no kernel for parts: {added!r} is laid out otherwise than the result"
        )


def _matmul(chain: Chain, node: onnx.NodeProto, added: str = "") -> list[str]:
    context, found = chain.context, attributes(node)
    literal = matmul(
        context,
        node,
        (node.input[0], node.input[1], chain.result),
        trans_a=bool(found.get("transA", 0)),
        trans_b=bool(found.get("transB", 0)),
    )
    addend, strides = "NULL", [0, 0, 0]
    if added:
        addend, shape = chain.read(added), context.shape(added)
        strides = [shape[-2] * shape[-1], *context.strides(added, shape)[-2:]]
    elif len(node.input) > 2 and node.input[2]:
        addend = chain.read(node.input[2])
        shape = (1, 1, *context.shape(node.input[2]))[-2:]
        strides = [0, 0 if shape[0] == 1 else shape[1], 0 if shape[1] == 1 else 1]
    scales = (c_float(found.get("alpha", 1.0)), c_float(found.get("beta", 1.0)))
    a, b = chain.read(node.input[0]), chain.read(node.input[1])
    stride = f"(const int32_t[3]){{{', '.join(map(str, strides))}}}"
    return [call("ullage_f32_matmul", literal, a, b, addend, stride, *scales, chain.write())]


def _pool(chain: Chain, node: onnx.NodeProto) -> list[str]:
    kernel = "ullage_f32_max_pool" if node.op_type == "MaxPool" else "ullage_f32_average_pool"
    return [
        call(kernel, literal, chain.read(node.input[0]), chain.write())
        for literal in windows(chain.context, node, node.input[0], chain.result)
    ]


def _softmax(chain: Chain, node: onnx.NodeProto) -> list[str]:
    chain.context.whole()
    sizes = softmax_axes(chain.context, node)
    return [call("ullage_f32_softmax", *sizes, chain.read(node.input[0]), chain.write())]


def _batch_norm(chain: Chain, node: onnx.NodeProto) -> list[str]:
    chain.context.whole()
    shape = chain.context.shape(node.input[0])
    epsilon = c_float(attributes(node).get("epsilon", 1e-5))
    sizes = (shape[0], shape[1], prod(shape[2:]), epsilon)
    operands = [chain.read(name) for name in node.input[:5]]
    return [call("ullage_f32_batch_norm", *sizes, *operands, chain.write())]


def _layer_norm(chain: Chain, node: onnx.NodeProto) -> list[str]:
    context, found = chain.context, attributes(node)
    context.whole()
    shape = context.shape(node.input[0])
    axis = found.get("axis", -1) % len(shape)
    count = prod(shape[axis:])
    operands = [chain.read(name) if name else "NULL" for name in node.input[1:3]]
    if any(prod(context.shape(name)) != count for name in node.input[1:3] if name):
        raise context.refuse("its scale or bias is repeated")
    scale, bias = (*operands, "NULL")[:2]
    sizes = (prod(shape[:axis]), count, c_float(found.get("epsilon", 1e-5)))
    x = chain.read(node.input[0])
    return [call("ullage_f32_layer_norm", *sizes, x, scale, bias, chain.write())]


def _unary(chain: Chain, node: onnx.NodeProto) -> list[str]:
    context, found = chain.context, attributes(node)
    if node.op_type == "Relu":
        kind, numbers = "ULLAGE_CLIP", [0.0, np.inf]
    elif node.op_type == "Clip":
        kind, numbers = "ULLAGE_CLIP", [found.get("min", -np.inf), found.get("max", np.inf)]
        for index, name in enumerate(node.input[1:3]):
            if name:
                constant = context.constant(name)
                if constant is None:
                    raise context.refuse("its bounds are computed")
                numbers[index] = constant.reshape(-1)[0]
    else:
        kind, defaults = _UNARY[node.op_type]
        numbers = [found.get(name, default) for name, default in defaults]
    a, b = (c_float(number) for number in (*numbers, 0.0, 0.0)[:2])
    return _unary_calls(chain, node, (kind, a, b))


def _binary(chain: Chain, node: onnx.NodeProto) -> list[str]:
    context = chain.context
    if len(node.input) != 2:
        raise context.refuse(f"{node.op_type} of {len(node.input)} tensors")
    a, b = node.input
    literals = broadcasts(context, node, (chain.lies_in(a), chain.lies_in(b), chain.result))
    for name in chain.made.intersection(node.input):
        if prod(context.shape(name)) != prod(context.shape(node.output[0])):
            raise context.refuse(f"{node.op_type} repeats what it writes over")
    kind = _BINARY[node.op_type]
    return [
        call("ullage_f32_binary", kind, literal, chain.read(a), chain.read(b), chain.write())
        for literal in literals
    ]


def _reduce(chain: Chain, node: onnx.NodeProto) -> list[str]:
    chain.context.whole()
    sizes = mean_axes(chain.context, node)
    x = chain.read(node.input[0])
    return [call("ullage_f32_reduce", _REDUCE[node.op_type], *sizes, x, chain.write())]
