"""8-bit operators: DequantizeLinear, an operator, perhaps an activation, QuantizeLinear (QDQ).

Each becomes one call of an integer kernel. Relu and Clip are limits of the result's stored numbers:
rounding keeps order, so limits before and after it give the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

import numpy as np
import onnx

from ullage.compiler.emit.cortex_m.context import (
    Context,
    Quantised,
    attributes,
    c_float,
    call,
    reference,
    struct,
)
from ullage.compiler.emit.cortex_m.movement import MOVES, concat, copy_part, move, padding
from ullage.compiler.emit.cortex_m.shapes import around, broadcasts, matmul, windows
from ullage.compiler.execute.element_types import Array

# Difference, as a share, up to which a bias' scale is the product of input's and weights' scales.
BIAS_SCALE_TOLERANCE = 1e-3
EIGHT_BITS = frozenset({"int8", "uint8"})
# Operators whose result at an element depends on one element of one tensor, and on constants.
ELEMENT_WISE = frozenset(
    "Relu Clip LeakyRelu Sigmoid Tanh Elu HardSigmoid HardSwish Softplus Exp Log Sqrt Abs Neg "
    "Reciprocal Erf Gelu Selu Celu ThresholdedRelu Softsign Mish Sin Cos Floor Ceil Round Sign "
    "PRelu Pow Add Sub Mul Div Max Min DequantizeLinear QuantizeLinear Identity Cast".split()
)
# Operators of two tensors, and their names in C.
BINARY = {
    "Add": "ULLAGE_ADD",
    "Sub": "ULLAGE_SUB",
    "Mul": "ULLAGE_MUL",
    "Div": "ULLAGE_DIV",
    "Max": "ULLAGE_MAX",
    "Min": "ULLAGE_MIN",
}


def quantised_calls(context: Context) -> list[str]:
    """Statements of an operator of DequantizeLinear and QuantizeLinear nodes and what is between.

    Raises:
        ModelError: there is no kernel for it; names the operator and why.
    """
    last = context.nodes[-1]
    if last.op_type == "DequantizeLinear" and context.producer(last.input[0]) is not None:
        return _and_dequantised(context, last)
    body = [n for n in context.nodes if n.op_type not in ("DequantizeLinear", "QuantizeLinear")]
    if not body and last.op_type == "DequantizeLinear":
        return _dequantise(context, last)
    if not body and len(context.nodes) == 1:
        return _quantise(context, last)
    if last.op_type != "QuantizeLinear":
        raise context.refuse("8-bit operands and a result of another type; quantise the result")
    if context.dtype(last.output[0]) not in EIGHT_BITS:
        raise context.refuse(f"its result is {context.dtype(last.output[0])}")
    if _is_table(context):
        return _table(context, last.output[0])
    core = body[0]
    makers: Mapping[str, Callable[[Context, onnx.NodeProto, str], list[str]]] = {
        "Conv": _conv,
        "MatMul": _matmul,
        "Gemm": _matmul,
        "AveragePool": _average_pool,
        "GlobalAveragePool": _mean,
        "ReduceMean": _mean,
        "MaxPool": _max_pool,
        "Softmax": _softmax,
        "Concat": _concat,
        **dict.fromkeys(BINARY, _binary),
        **dict.fromkeys(MOVES - {"Concat"}, _move),
    }
    if core.op_type not in makers:
        raise context.refuse(f"no 8-bit kernel for {core.op_type}")
    return makers[core.op_type](context, core, last.output[0])


def _and_dequantised(context: Context, last: onnx.NodeProto) -> list[str]:
    """An operator whose quantised result is dequantised at once.

    Its 8-bit result lies in the last quarter of the float32 result's memory, from where it is
    dequantised number by number.
    """
    context.whole()
    size, name = prod(context.shape(last.output[0])), last.input[0]
    y = context.write(last.output[0], "float")
    inner = replace(
        context,
        operator=replace(context.operator, nodes=context.operator.nodes[:-1], outputs=(name,)),
        placed={name: f"((uint8_t *){y} + {3 * size})"},
    )
    statements = quantised_calls(inner)
    q8 = _q8(context, _operand(context, last.output[0]))
    return [*statements, call("ullage_dequantise", size, inner.placed[name], q8, y)]


def _is_table(context: Context) -> bool:
    """Whether the operator is a function of one 8-bit tensor, element by element."""
    varying = [n for n in context.operator.inputs if context.kernels.scope.types[n].elements > 1]
    if len(varying) != 1 or context.dtype(varying[0]) not in EIGHT_BITS:
        return False
    size = prod(context.shape(varying[0]))
    return all(
        node.op_type in ELEMENT_WISE and prod(context.shape(node.output[0])) == size
        for node in context.nodes
    )


def _table(context: Context, result: str) -> list[str]:
    """A table of the result for each of the 256 inputs, computed by onnxruntime."""
    varying = next(
        n for n in context.operator.inputs if context.kernels.scope.types[n].elements > 1
    )
    size = prod(context.shape(varying))
    dtype = np.dtype(context.dtype(varying))
    table = np.zeros(256, dtype=np.uint8)
    for begin in range(0, 256, size):  # in as many runs as the tensor is too small
        every = np.arange(begin, begin + size).astype(np.uint8)
        feeds: dict[str, Array] = {varying: every.view(dtype).reshape(context.shape(varying))}
        for name in context.operator.inputs:
            if name != varying:
                constant = context.constant(name)
                if constant is None:
                    raise context.refuse(f"{name!r} is computed")
                feeds[name] = constant
        results = context.kernels.run(context.operator, feeds)[result]
        table[every] = np.ascontiguousarray(results).reshape(-1).view(np.uint8)
    name = context.array(table)
    if not context.is_part:
        x, y = context.read(varying), context.write(result)
        return [call("ullage_q8_table", size, x, name, y)]
    # Its elements where the result lies, then by the table there.
    statements = copy_part(context, varying, result)
    for first, bytes_written in context.written_ranges(result):
        y = f"((uint8_t *){context.write(result)} + {first})"
        statements.append(call("ullage_q8_table", bytes_written, y, name, y))
    return statements


# -- parts of calls ------------------------------------------------------------------------------


def _operand(context: Context, name: str) -> Quantised:
    """An 8-bit tensor with one scale.

    Raises:
        ModelError: it is not.
    """
    found = context.dequantised(name)
    if found is None:
        raise context.refuse(f"{name!r} is not dequantised from 8 bits here")
    if context.dtype(found.raw) not in EIGHT_BITS:
        raise context.refuse(f"{found.raw!r} is {context.dtype(found.raw)}, not 8 bits")
    if found.scale.size != 1:
        raise context.refuse(f"{found.raw!r} has a scale per channel")
    return found


def _q8(context: Context, found: Quantised) -> str:
    zero = int(found.zero[0]) if found.zero.size else 0
    return _quantisation(float(found.scale[0]), zero, context.dtype(found.raw))


def _quantisation(scale: float, zero: int, dtype: str) -> str:
    return struct("ullage_q8", scale=c_float(scale), zero=zero, is_signed=int(dtype == "int8"))


def _result(context: Context, core: onnx.NodeProto | None, *, skip: tuple[str, ...] = ()) -> str:
    """The result's quantisation and limits: those of its type, of Relu and of Clip.

    Args:
        context: the operator.
        core: the node whose result is quantised; None where a QuantizeLinear stands alone.
        skip: names of nodes that are part of the kernel (the addition of a bias).
    """
    last = context.nodes[-1]
    scale = context.constant(last.input[1])
    zero: Array = np.zeros(1, dtype=np.uint8)
    if len(last.input) > 2 and last.input[2]:
        constant = context.constant(last.input[2])
        if constant is None:
            raise context.refuse("its zero point is computed")
        zero = constant.reshape(-1)
    if scale is None or scale.size != 1:
        raise context.refuse("its result has a scale per channel, or a computed one")
    dtype = context.dtype(last.output[0])
    low, high = (-128, 127) if dtype == "int8" else (0, 255)
    y_scale, y_zero = float(scale.reshape(-1)[0]), int(zero[0])
    following = context.nodes[context.nodes.index(core) + 1 : -1] if core is not None else []
    for node in following:
        if node.op_type in ("DequantizeLinear", "QuantizeLinear") or node.name in skip:
            continue
        bounds = _limits(context, node)
        if bounds is None:
            raise context.refuse(f"{node.op_type} before the result is quantised")
        below, above = (_stored(bound, y_scale, y_zero) for bound in bounds)
        low, high = max(low, below), max(low, min(high, above))
    y = f"{{.scale = {c_float(y_scale)}, .zero = {y_zero}, .is_signed = {int(dtype == 'int8')}}}"
    return reference("ullage_result", y=y, low=low, high=high)


def _limits(context: Context, node: onnx.NodeProto) -> tuple[float, float] | None:
    """The range to which an activation limits its input; None where it does anything else."""
    if node.op_type == "Relu":
        return 0.0, float("inf")
    if node.op_type != "Clip":
        return None
    found = attributes(node)
    bounds = [float(found.get("min", -np.inf)), float(found.get("max", np.inf))]
    for index, name in enumerate(node.input[1:3]):
        if name:
            constant = context.constant(name)
            if constant is None:
                return None
            bounds[index] = float(constant.reshape(-1)[0])
    return bounds[0], bounds[1]


def _stored(bound: float, scale: float, zero: int) -> int:
    """A limit in stored numbers, rounded as the result is."""
    if np.isinf(bound):
        return -(2**15) if bound < 0 else 2**15
    return int(np.rint(np.float32(bound) / np.float32(scale))) + zero


def _weights(context: Context, found: Quantised, channel_axis: int) -> str:
    """Scales and zero points of weights, from the plan's memory where they are operands."""
    if context.dtype(found.raw) not in EIGHT_BITS:
        raise context.refuse(f"its weights are {context.dtype(found.raw)}, not 8 bits")
    if found.scale.size > 1 and found.axis != channel_axis:
        raise context.refuse("its weights have scales along another axis than output channels")
    zeros: str = "NULL"
    if found.zero.size and (found.zero_name in context.operator.inputs or found.zero.any()):
        zeros = context.read(found.zero_name)
    return reference(
        "ullage_weights",
        scales=context.read(found.scale_name, "float"),
        zeros=zeros,
        scales_count=found.scale.size,
        zeros_count=found.zero.size if zeros != "NULL" else 0,
        is_signed=int(context.dtype(found.raw) == "int8"),
    )


def _bias(context: Context, name: str, x: Quantised, w: Quantised) -> str:
    """Address of an int32 bias, whose scale is that of the sums of products.

    Raises:
        ModelError: it has another scale, or a zero point: no integer kernel adds such a bias.
    """
    found = context.dequantised(name)
    if found is None or context.dtype(found.raw) != "int32":
        raise context.refuse(f"its bias {name!r} is not dequantised from int32")
    expected = x.scale.astype(np.float64) * w.scale.astype(np.float64)
    if found.zero.any() or not np.allclose(found.scale, expected, BIAS_SCALE_TOLERANCE, 0.0):
        raise context.refuse(
            "the scale of its bias is not the product of the scales of input and weights"
        )
    return context.read(found.raw, "int32_t")


# -- operators -----------------------------------------------------------------------------------


def _conv(context: Context, core: onnx.NodeProto, result: str) -> list[str]:
    x, w = _operand(context, core.input[0]), context.dequantised(core.input[1])
    if w is None:
        raise context.refuse("its weights are not dequantised from 8 bits")
    bias = "NULL"
    if len(core.input) > 2 and core.input[2]:
        bias = _bias(context, core.input[2], x, w)
    return [
        call(
            "ullage_q8_conv",
            literal,
            context.read(x.raw),
            _q8(context, x),
            context.read(w.raw),
            _weights(context, w, 0),
            bias,
            context.write(result),
            _result(context, core),
        )
        for literal in windows(context, core, x.raw, result, w.raw)
    ]


def _matmul(context: Context, core: onnx.NodeProto, result: str) -> list[str]:
    """MatMul, MatMul and Add of a bias, Gemm."""
    a, b = _operand(context, core.input[0]), context.dequantised(core.input[1])
    if b is None:
        raise context.refuse("its second operand is not dequantised from 8 bits")
    found = attributes(core)
    if found.get("alpha", 1.0) != 1.0 or found.get("beta", 1.0) != 1.0:
        raise context.refuse("alpha or beta of a quantised Gemm")
    trans_b = bool(found.get("transB", 0))
    columns = context.shape(core.output[0])[-1]
    bias_name = core.input[2] if len(core.input) > 2 else ""
    after = [n for n in context.nodes if core.output[0] in n.input and n.op_type == "Add"]
    skip: tuple[str, ...] = ()
    if after and not bias_name:
        bias_name = next(n for n in after[0].input if n != core.output[0])
        skip = (after[0].name,)
    bias = "NULL"
    if bias_name:
        if prod(context.shape(bias_name)) != columns or context.shape(bias_name)[-1] != columns:
            raise context.refuse("its bias is not one number for each column")
        bias = _bias(context, bias_name, a, b)
    literal = matmul(
        context,
        core,
        (a.raw, b.raw, result),
        trans_a=bool(found.get("transA", 0)),
        trans_b=trans_b,
    )
    rank = len(context.shape(core.input[1]))
    return [
        call(
            "ullage_q8_matmul",
            literal,
            context.read(a.raw),
            _q8(context, a),
            context.read(b.raw),
            _weights(context, b, rank - (2 if trans_b else 1)),
            bias,
            context.write(result),
            _result(context, core, skip=skip),
        )
    ]


def _average_pool(context: Context, core: onnx.NodeProto, result: str) -> list[str]:
    x = _operand(context, core.input[0])
    return [
        call(
            "ullage_q8_average_pool",
            literal,
            context.read(x.raw),
            _q8(context, x),
            context.write(result),
            _result(context, core),
        )
        for literal in windows(context, core, x.raw, result)
    ]


def mean_axes(context: Context, core: onnx.NodeProto) -> tuple[int, int, int]:
    """(outer, count, inner) of a GlobalAveragePool, a ReduceMean or another reduction."""
    shape = context.shape(core.input[0])
    axes = list(range(2, len(shape)))
    if not core.op_type.startswith("Global"):
        found = attributes(core)
        axes = list(found.get("axes", range(len(shape))))
        if len(core.input) > 1 and core.input[1]:
            constant = context.constant(core.input[1])
            if constant is None:
                raise context.refuse("its axes are computed")
            axes = [int(v) for v in constant.reshape(-1)]
    sizes = around(shape, axes)
    if sizes is None:
        raise context.refuse("it reduces axes with another between them")
    return sizes


def _along(
    context: Context, core: onnx.NodeProto, result: str, kernel: str, sizes: tuple[int, int, int]
) -> list[str]:
    """A call of a kernel that works along the middle one of (outer, count, inner)."""
    context.whole()
    x = _operand(context, core.input[0])
    given = context.read(x.raw), _q8(context, x)
    return [call(kernel, *sizes, *given, context.write(result), _result(context, core))]


def _mean(context: Context, core: onnx.NodeProto, result: str) -> list[str]:
    return _along(context, core, result, "ullage_q8_mean", mean_axes(context, core))


def _max_pool(context: Context, core: onnx.NodeProto, result: str) -> list[str]:
    x = _operand(context, core.input[0])
    _same_quantisation(context, x)
    signed = int(context.dtype(x.raw) == "int8")
    return [
        call("ullage_q8_max_pool", literal, context.read(x.raw), signed, context.write(result))
        for literal in windows(context, core, x.raw, result)
    ]


def _softmax(context: Context, core: onnx.NodeProto, result: str) -> list[str]:
    return _along(context, core, result, "ullage_q8_softmax", softmax_axes(context, core))


def softmax_axes(context: Context, core: onnx.NodeProto) -> tuple[int, int, int]:
    """(outer, count, inner) of a Softmax: one axis; before opset 13 all axes from one on."""
    shape = context.shape(core.input[0])
    opset = next(
        o.version for o in context.kernels.proto.opset_import if o.domain in ("", "ai.onnx")
    )
    axis = attributes(core).get("axis", -1 if opset >= 13 else 1) % len(shape)
    axes = [axis] if opset >= 13 else list(range(axis, len(shape)))
    return around(shape, axes) or (1, 1, prod(shape))


def _binary(context: Context, core: onnx.NodeProto, result: str) -> list[str]:
    if len(core.input) != 2:
        raise context.refuse(f"{core.op_type} of {len(core.input)} tensors")
    a, b = (_operand(context, name) for name in core.input)
    return [
        call(
            "ullage_q8_binary",
            BINARY[core.op_type],
            literal,
            context.read(a.raw),
            _q8(context, a),
            context.read(b.raw),
            _q8(context, b),
            context.write(result),
            _result(context, core),
        )
        for literal in broadcasts(context, core, (a.raw, b.raw, result))
    ]


def _same_quantisation(context: Context, x: Quantised) -> None:
    """Refuse a node that moves numbers if the result is quantised otherwise than the input."""
    last = context.nodes[-1]
    scale = context.constant(last.input[1])
    zero_name = last.input[2] if len(last.input) > 2 else ""
    zero = context.constant(zero_name) if zero_name else np.zeros(1)
    same = scale is not None and zero is not None and scale.size == 1
    same = same and float(np.ravel(scale)[0]) == float(x.scale[0])  # type: ignore[arg-type]
    same = same and int(np.ravel(zero)[0]) == (int(x.zero[0]) if x.zero.size else 0)  # type: ignore[arg-type]
    if not same or context.dtype(x.raw) != context.dtype(last.output[0]):
        raise context.refuse("its result is quantised otherwise than its input")


def _move(context: Context, core: onnx.NodeProto, result: str) -> list[str]:
    x = _operand(context, core.input[0])
    _same_quantisation(context, x)
    if (
        len([n for n in context.nodes if n.op_type not in ("DequantizeLinear", "QuantizeLinear")])
        > 1
    ):
        raise context.refuse("several nodes between DequantizeLinear and QuantizeLinear")
    fill: Array | None = None
    if core.op_type == "Pad":
        real = float(padding(context, core, np.dtype(np.float32))[0])
        stored = _stored(real, float(x.scale[0]), int(x.zero[0]) if x.zero.size else 0)
        span = np.iinfo(context.dtype(x.raw))
        fill = np.clip([stored], span.min, span.max).astype(context.dtype(x.raw))
    return move(context, core, x.raw, result, fill)


def _concat(context: Context, core: onnx.NodeProto, result: str) -> list[str]:
    sources = []
    for name in core.input:
        x = _operand(context, name)
        _same_quantisation(context, x)
        sources.append((x.raw, name))
    return concat(context, core, sources, result)


def _quantise(context: Context, node: onnx.NodeProto) -> list[str]:
    context.whole()
    if context.dtype(node.input[0]) != "float32" or context.dtype(node.output[0]) not in EIGHT_BITS:
        raise context.refuse("kernels quantise float32 to 8 bits")
    size = prod(context.shape(node.output[0]))
    x, y = context.read(node.input[0], "float"), context.write(node.output[0])
    return [call("ullage_quantise", size, x, y, _result(context, None))]


def _dequantise(context: Context, node: onnx.NodeProto) -> list[str]:
    context.whole()
    x = _operand(context, node.output[0])
    size = prod(context.shape(node.output[0]))
    y = context.write(node.output[0], "float")
    return [call("ullage_dequantise", size, context.read(x.raw), _q8(context, x), y)]
