"""Hostile ONNX files, seeded: what a fuzzer, a broken exporter or an attacker would hand over.

Half of the cases damage the bytes of small valid models, a quarter damages their fields, the rest
are written to be absurd: giant dimensions, cycles, recursion, operators at random with arguments
at random.
"""

from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from typing import Any

import numpy as np
import onnx
from onnx import helper

from .compiler.importer.onnx_models import (
    MICROSOFT,
    const,
    element,
    info,
    model,
    node,
    subgraph,
    weight,
)

INTS = (0, -1, 1, 2, 3, 7, -7, 65_536, 10**6, -(2**31), 2**31, 2**32, 2**40, 2**61, 2**62, -(2**62))
EXTREMES = (*INTS, 2**63 - 1, -(2**63))
FLOATS = (float("nan"), float("inf"), -float("inf"), 3e38, 0.0, -1.0, 1e-45)
DTYPES = ("float32", "float16", "int64", "int32", "int8", "uint8", "bool", "float64", "int4")
ATTRIBUTE = onnx.AttributeProto


@cache
def valid_models() -> tuple[bytes, ...]:
    """Small models that import, one per corner of the format."""
    return tuple(m.SerializeToString() for m in (*_straight_models(), *_nested_models()))


def _straight_models() -> list[onnx.ModelProto]:
    convolutional = model(
        [
            node("Conv", "x w b", "c", pads=[1, 1, 1, 1], strides=[2, 2], kernel_shape=[3, 3]),
            node("BatchNormalization", "c s s s s", "n"),
            node("Relu", "n", "r"),
            node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
            node("Shape", "p", "shape"),
            node("Gather", "shape zero", "batch"),
            node("Unsqueeze", "batch zeros", "batches"),
            node("Concat", "batches rest", "target", axis=0),
            node("Reshape", "p target", "f"),
            node("Gemm", "f g", "y", transB=1),
        ],
        {"x": (1, 3, 8, 8)},
        "y",
        [
            const("w", np.zeros((4, 3, 3, 3)), "float32"),
            const("b", [0, 0, 0, 0], "float32"),
            const("s", [1, 1, 1, 1], "float32"),
            const("zero", 0),
            const("zeros", [0]),
            const("rest", [-1]),
            weight("g", (5, 16)),
        ],
    )
    moving = model(
        [
            node("Split", "x", "a b", axis=0, num_outputs=2),
            node("Transpose", "a", "t", perm=[1, 0]),
            node("MatMul", "b t", "m"),
            node("Slice", "m starts ends", "s"),
            node("Concat", "s b", "c", axis=1),
            node("Pad", "c pads", "p"),
            node("Resize", "p _ scales", "z", mode="nearest"),
            node("Tile", "z repeats", "l"),
            node("TopK", "l k", "v i"),
            node("Softmax", "v", "y", axis=-1),
        ],
        {"x": (8, 6)},
        "y i",
        [
            const("starts", [0, 0]),
            const("ends", [4, 2]),
            const("pads", [0, 1, 0, 1]),
            const("scales", [1.0, 2.0], "float32"),
            const("repeats", [2, 1]),
            const("k", [3]),
        ],
    )
    quantised = model(
        [
            node("QuantizeLinear", "x s z", "q"),
            node("QLinearConv", "q s z w s z s z", "c"),
            node("QLinearAdd", "c s z c s z s z", "a", domain=MICROSOFT),
            node("DequantizeLinear", "a s z", "d"),
            node("Einsum", "d v", "y", equation="nchw,cf->nfhw"),
        ],
        {"x": (1, 2, 4, 4)},
        "y",
        [
            const("s", 0.5, "float32"),
            const("z", 0, "uint8"),
            const("w", np.zeros((2, 2, 1, 1)), "uint8"),
            weight("v", (2, 3)),
        ],
    )
    recurrent = model(
        [node("LSTM", "x w r", "y h c", hidden_size=4), node("NonZero", "h", "n")],
        {"x": (5, "batch", 3)},
        "y n",
        [weight("w", (1, 16, 3)), weight("r", (1, 16, 4))],
    )
    return [convolutional, moving, quantised, recurrent]


def _nested_models() -> list[onnx.ModelProto]:
    body = subgraph(
        [
            node("Identity", "going", "going_on"),
            node("MatMul", "state w", "next"),
            node("Add", "next x", "kept"),
        ],
        [info("i", (), "int64"), info("going", (), "bool"), info("state", (2, 4))],
        [info("going_on", (), "bool"), info("kept", (2, 4)), info("next", (2, 4))],
    )
    looping = model(
        [node("Loop", "trips _ x", "final every", body=body)],
        {"x": (2, 4)},
        "final every",
        [const("trips", 3), weight("w", (4, 4))],
    )
    then = subgraph([node("Relu", "x", "a")], (), [info("a", (2, 4))])
    otherwise = subgraph([node("Add", "x x", "b")], (), [info("b", (2, 4))])
    choosing = model(
        [node("If", "c", "y", then_branch=then, else_branch=otherwise)],
        [info("c", (), "bool"), info("x", (2, 4))],
        "y",
    )
    inner = helper.make_function(
        "local", "Inner", ["a"], ["b"], [node("Relu", "a", "b")], [helper.make_opsetid("", 20)]
    )
    calling = model(
        [node("Inner", "x", "h", domain="local"), node("Sigmoid", "h", "y")],
        {"x": (2, 4)},
        "y",
        functions=[inner],
        domains=["local"],
    )
    return [looping, choosing, calling]


def truncated(random: Random) -> bytes:
    """A file that ends too early."""
    data = random.choice(valid_models())
    return data[: random.randrange(len(data))]


def bit_flipped(random: Random) -> bytes:
    """A file with up to twenty wrong bits."""
    data = bytearray(random.choice(valid_models()))
    for _ in range(random.choice([1, 1, 1, 2, 3, 20])):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(data)


def spliced(random: Random) -> bytes:
    """A file with a piece of another (or noise) in its middle."""
    data, other = random.choice(valid_models()), random.choice(valid_models())
    at, begin = random.randrange(len(data)), random.randrange(len(other))
    piece = random.choice([other[begin : begin + 40], random.randbytes(8), b"", b"\xff" * 12])
    return data[:at] + piece + data[at + random.randrange(30) :]


def misfielded(random: Random) -> bytes:
    """A valid model with a few fields changed to what should not stand there."""
    proto = onnx.ModelProto.FromString(random.choice(valid_models()))
    for _ in range(random.choice([1, 1, 2, 4])):
        random.choice(MUTATIONS)(proto.graph, random)
    return proto.SerializeToString()


def _some_node(graph: onnx.GraphProto, random: Random) -> onnx.NodeProto:
    if not graph.node:
        graph.node.append(node("Relu", "x", "revived"))
    return random.choice(graph.node)


def _some_name(graph: onnx.GraphProto, random: Random) -> str:
    names = [n for one in graph.node for n in (*one.input, *one.output)]
    return random.choice([*names, "", "nowhere", "\x00", "a" * 1000])


def _rewire(graph: onnx.GraphProto, random: Random) -> None:
    names = random.choice([_some_node(graph, random).input, _some_node(graph, random).output])
    if names:
        names[random.randrange(len(names))] = _some_name(graph, random)


def _drop_or_add_input(graph: onnx.GraphProto, random: Random) -> None:
    chosen = _some_node(graph, random)
    if chosen.input and random.random() < 0.6:
        del chosen.input[random.randrange(len(chosen.input))]
    else:
        chosen.input.extend([_some_name(graph, random)] * random.randint(1, 5))


def _change_attribute(graph: onnx.GraphProto, random: Random) -> None:
    chosen = _some_node(graph, random)
    if not chosen.attribute:
        return
    attribute = random.choice(chosen.attribute)
    name = attribute.name
    attribute.CopyFrom(_attribute(name, random.choice(KINDS), random))


def _change_dims(graph: onnx.GraphProto, random: Random) -> None:
    value = random.choice(graph.input)
    dims = value.type.tensor_type.shape.dim
    if dims:
        random.choice(dims).dim_value = random.choice(EXTREMES)


def _change_initializer(graph: onnx.GraphProto, random: Random) -> None:
    if not graph.initializer:
        return
    tensor = random.choice(graph.initializer)
    action = random.randrange(4)
    if action == 0:
        tensor.dims.append(random.choice(EXTREMES))
    elif action == 1:
        tensor.data_type = random.choice([0, 8, 99, -1, *map(element, DTYPES)])
    elif action == 2:
        tensor.raw_data = random.randbytes(len(tensor.raw_data) or 4)
    else:
        tensor.float_data.extend([float("nan")] * 3)


def _change_type(graph: onnx.GraphProto, random: Random) -> None:
    value = random.choice(graph.input)
    if random.random() < 0.3:
        value.type.sequence_type.elem_type.tensor_type.elem_type = 1
    else:
        value.type.tensor_type.elem_type = random.choice([0, 8, 99, *map(element, DTYPES)])


def _change_op(graph: onnx.GraphProto, random: Random) -> None:
    chosen = _some_node(graph, random)
    chosen.op_type = random.choice([*_operators(), "", "Nonsense", "Loop", "Constant"])


def _repeat_node(graph: onnx.GraphProto, random: Random) -> None:
    graph.node.append(_some_node(graph, random))


def _drop_node(graph: onnx.GraphProto, random: Random) -> None:
    if graph.node:
        del graph.node[random.randrange(len(graph.node))]


MUTATIONS: Sequence[Callable[[onnx.GraphProto, Random], None]] = (
    _rewire,
    _drop_or_add_input,
    _change_attribute,
    _change_dims,
    _change_initializer,
    _change_type,
    _change_op,
    _repeat_node,
    _drop_node,
)


KINDS = (
    ATTRIBUTE.INT,
    ATTRIBUTE.INTS,
    ATTRIBUTE.FLOAT,
    ATTRIBUTE.FLOATS,
    ATTRIBUTE.STRING,
    ATTRIBUTE.STRINGS,
    ATTRIBUTE.TENSOR,
    ATTRIBUTE.GRAPH,
)


def _attribute(name: str, kind: int, random: Random) -> onnx.AttributeProto:
    """An attribute of a kind with a value at random, absurd more often than not."""
    made = onnx.AttributeProto(name=name, type=kind)  # type: ignore[arg-type]  # enum by number
    if kind == ATTRIBUTE.INT:
        made.i = random.choice([0, 1, 2, -1] if random.random() < 0.6 else EXTREMES)
    elif kind == ATTRIBUTE.INTS:
        pool = (1, 1, 2, 0) if random.random() < 0.6 else EXTREMES
        made.ints.extend(random.choice(pool) for _ in range(random.choice([0, 1, 2, 2, 4, 9])))
    elif kind == ATTRIBUTE.FLOAT:
        made.f = random.choice(FLOATS)
    elif kind == ATTRIBUTE.FLOATS:
        made.floats.extend(random.choice(FLOATS) for _ in range(random.randrange(4)))
    elif kind == ATTRIBUTE.STRING:
        made.s = random.choice([b"", b"SAME_UPPER", b"\xff\xfe", b"ij,jk->", b"...i->", b"linear"])
    elif kind == ATTRIBUTE.STRINGS:
        made.strings.extend([b"\xff", b"Tanh"])
    elif kind == ATTRIBUTE.TENSOR:
        made.t.CopyFrom(_tensor("inside", random))
    elif kind == ATTRIBUTE.GRAPH:
        made.g.CopyFrom(subgraph([node("Relu", "x", "g_out")], (), [info("g_out", (2, 2))]))
    return made


def _tensor(name: str, random: Random) -> onnx.TensorProto:
    """A constant: often one that is an argument of a shape operator, often an absurd one."""
    kind = random.randrange(5)
    if kind == 0:
        return const(name, [random.choice(EXTREMES) for _ in range(random.choice([0, 1, 2, 4]))])
    if kind == 1:
        return const(name, random.choice(EXTREMES))
    if kind == 2:
        return const(name, [random.choice(FLOATS) for _ in range(random.choice([0, 1, 4]))], "f4")
    if kind == 3:
        return weight(name, [random.choice(EXTREMES) for _ in range(random.randrange(5))])
    return const(name, [random.randrange(-2, 5) for _ in range(random.choice([1, 2, 4]))])


@cache
def _operators() -> tuple[str, ...]:
    return tuple(sorted({s.name for s in onnx.defs.get_all_schemas() if s.domain == ""}))


def random_operators(random: Random) -> bytes:
    """One to three operators picked blindly, on operands and attributes picked blindly."""
    shape = [random.choice([0, 1, 2, 3, 4, 8]) for _ in range(random.choice([0, 1, 2, 3, 4, 4]))]
    inputs = [
        info(
            f"x{i}",
            shape if random.random() < 0.7 else random.choice([[], [2], [0, 3], [4, 4, 1, 2]]),
            dtype,
        )
        for i, dtype in enumerate([*DTYPES, "float32", "float32"])
    ]
    initializers = [_tensor(f"k{i}", random) for i in range(4)]
    typed = {v.name: v.type.tensor_type.elem_type for v in inputs}
    typed |= {t.name: t.data_type for t in initializers}
    nodes: list[onnx.NodeProto] = []
    for position in range(random.randint(1, 3)):
        op = random.choice(_operators())
        schema = onnx.defs.get_schema(op, domain="")
        most = max(schema.min_input, min(schema.max_input, schema.min_input + 3, 9))
        count = random.randint(schema.min_input, most)
        names = [_fitting(schema, i, typed, random) for i in range(count)]
        outputs = [f"y{position}_{i}" for i in range(max(1, min(schema.max_output, 4)))]
        made = helper.make_node(op, names, outputs)
        for attribute in schema.attributes.values():
            if attribute.required or random.random() < 0.4:
                wrong = random.random() < 0.1
                kind = random.choice(KINDS) if wrong else attribute.type.value
                made.attribute.append(_attribute(attribute.name, kind, random))
        nodes.append(made)
        typed[outputs[0]] = typed.get(names[0], 1) if names else 1
    opset = random.choice([24, 20, 20, 11])
    return model(nodes, inputs, nodes[-1].output[0], initializers, opset=opset).SerializeToString()


def _fitting(
    schema: onnx.defs.OpSchema, position: int, typed: dict[str, int], random: Random
) -> str:
    """A tensor of a type that the operator takes at that place, most of the time."""
    formal = schema.inputs[min(position, len(schema.inputs) - 1)]
    taken = {name for name, kind in typed.items() if _spelled(kind) in formal.types}
    if not taken or random.random() < 0.05:
        return random.choice([*typed, ""])
    wide = [name for name in taken if name.startswith(("x", "y"))]
    return random.choice(sorted(wide if wide and random.random() < 0.6 else taken))


def _spelled(kind: int) -> str:
    """An element type as operator schemas write it."""
    if kind not in onnx.TensorProto.DataType.values():
        return ""
    return f"tensor({onnx.TensorProto.DataType.Name(kind).lower()})"


def absurd(random: Random) -> bytes:
    """One of the attacks below."""
    return random.choice(ATTACKS)(random)


def _constant_chain(op: str, arrays: Sequence[Any], random: Random) -> bytes:
    """A graph whose one operator would compute a giant constant, were it folded."""
    names = [f"k{i}" for i in range(len(arrays))]
    return model(
        [node(op, " ".join(names), "giant"), node("Mul", "giant x", "y")],
        [info("x", (), random.choice(["float32", "int64"]))],
        "y",
        [const(n, a, d) for n, (a, d) in zip(names, arrays, strict=True)],
    ).SerializeToString()


def giant_constant(random: Random) -> bytes:
    """Range, ConstantOfShape, Tile, Expand, Pad, Resize that make terabytes."""
    big = random.choice([10**5, 10**7, 2**31, 2**40, 2**62, 2**63 - 1, -5])
    ones = ([1.0, 1.0], "float32")
    return random.choice(
        [
            lambda: _constant_chain("Range", [(0, "int64"), (big, "int64"), (1, "int64")], random),
            lambda: _constant_chain("Range", [(0, "int64"), (big, "int64"), (0, "int64")], random),
            lambda: _constant_chain(
                "Range", [(0.0, "f4"), (random.choice(FLOATS), "f4"), (1e-30, "f4")], random
            ),
            lambda: _constant_chain("ConstantOfShape", [([big], "int64")], random),
            lambda: _constant_chain("ConstantOfShape", [([big, big, 0], "int64")], random),
            lambda: _constant_chain("Tile", [ones, ([big], "int64")], random),
            lambda: _constant_chain("Expand", [([1.0], "f4"), ([big], "int64")], random),
            lambda: _constant_chain("Expand", [([1.0], "f4"), ([big, 4, big], "int64")], random),
            lambda: _constant_chain("Pad", [ones, ([big, big], "int64")], random),
            lambda: _constant_chain("Pad", [ones, ([-big, 1], "int64")], random),
            lambda: _constant_chain(
                "Resize",
                [ones, ([], "f4"), ([random.choice([1e18, float("nan"), -1.0, 0.0])], "f4")],
                random,
            ),
            lambda: _constant_chain(
                "OneHot", [([0, 1], "int64"), (big, "int64"), ([0, 1], "int64")], random
            ),
        ]
    )()


def giant_dims(random: Random) -> bytes:
    """Inputs or initializers of impossible size."""
    shape = [random.choice(EXTREMES) for _ in range(random.randint(1, 6))]
    return model(
        [node("Add", "x w", "s"), node("MatMul", "s w", "y")],
        {"x": random.choice([shape, (2, 2)])},
        "y",
        [weight("w", random.choice([shape, (2, 2)]))],
    ).SerializeToString()


def big_but_lawful(random: Random) -> bytes:
    """Tensors larger than any memory of the target, but not nonsense."""
    side = random.choice([2**16, 2**18, 2**20])
    return model(
        [node("MatMul", "x w", "h"), node("Relu", "h", "y")],
        {"x": (side, side)},
        "y",
        [weight("w", (side, side))],
    ).SerializeToString()


def cyclic(random: Random) -> bytes:
    """Nodes that wait for each other."""
    length = random.choice([1, 2, 30])
    ring = [node("Add", f"t{i} x", f"t{(i + 1) % length}") for i in range(length)]
    return model(ring, {"x": (2,)}, "t0").SerializeToString()


def deep_subgraphs(random: Random) -> bytes:
    """If inside If inside If."""
    proto = model([], [info("c", (), "bool"), info("x", (2, 4))], "y0")
    graph, depth = proto.graph, random.choice([5, 20, 30, 60])
    for level in range(depth):
        made = graph.node.add(op_type="If", input=["c"], output=[f"y{level}"])
        other = made.attribute.add(name="else_branch", type=ATTRIBUTE.GRAPH).g
        other.node.append(node("Relu", "x", f"z{level}"))
        other.output.append(info(f"z{level}", (2, 4)))
        graph = made.attribute.add(name="then_branch", type=ATTRIBUTE.GRAPH).g
        graph.name = f"level{level}"
        graph.output.append(info(f"y{level + 1}", (2, 4)))
    graph.node.append(node("Relu", "x", f"y{depth}"))
    return proto.SerializeToString()


def recursive_functions(random: Random) -> bytes:
    """Functions that call themselves, each other, or explode when inlined."""
    depth, width = random.choice([(1, 1), (3, 1), (60, 1), (20, 10), (9, 9)])
    close = random.random() < 0.5 or depth == 1
    functions = []
    for level in range(depth):
        last = level == depth - 1
        callee = "F0" if last and close else f"F{level + 1}"
        calls = [
            node("Relu", f"t{i}", f"t{i + 1}")
            if last and not close
            else node(callee, f"t{i}", f"t{i + 1}", domain="local")
            for i in range(width)
        ]
        functions.append(
            helper.make_function(
                "local",
                f"F{level}",
                ["t0"],
                [f"t{width}"],
                calls,
                [helper.make_opsetid("", 20), helper.make_opsetid("local", 1)],
            )
        )
    return model(
        [node("F0", "x", "y", domain="local")],
        {"x": (2,)},
        "y",
        functions=functions,
        domains=["local"],
    ).SerializeToString()


def hostile_window(random: Random) -> bytes:
    """Convolution and pooling with zero, negative and giant arguments."""
    op = random.choice(["Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool", "Conv"])
    made = node(op, "x w" if "Conv" in op else "x", "y")
    for name in ("kernel_shape", "strides", "dilations", "pads"):
        if random.random() < 0.6 or (name == "kernel_shape" and "Conv" not in op):
            values = [random.choice([*EXTREMES, 1, 2]) for _ in range(4 if name == "pads" else 2)]
            made.attribute.append(helper.make_attribute(name, values))
    if random.random() < 0.5 and "Conv" in op:
        made.attribute.append(helper.make_attribute("group", random.choice(EXTREMES)))
    kernel = random.choice([(4, 3, 3, 3), (4, 3, 0, 0), (0, 3, 3, 3), (4, 3, 3), (4,), ()])
    return model(
        [made],
        {"x": random.choice([(1, 3, 8, 8), (0, 3, 8, 8), (1, 3, 8), ()])},
        "y",
        [weight("w", kernel)],
    ).SerializeToString()


def hostile_axis(random: Random) -> bytes:
    """Axes, splits, permutations and indices out of range."""
    value = random.choice(EXTREMES)
    attacks = [
        [node("Softmax", "x", "y", axis=value)],
        [node("Concat", "x x", "y", axis=value)],
        [node("Split", "x", "y z", axis=value, num_outputs=2)],
        [node("Split", "x", "y z", num_outputs=value)],
        [node("Split", "x ks", "y z")],
        [node("Transpose", "x", "y", perm=[value, 0])],
        [node("Transpose", "x", "y", perm=[0, 0])],
        [node("Gather", "x k", "y", axis=value)],
        [node("Gather", "x k", "y")],
        [node("Squeeze", "x ks", "y")],
        [node("Unsqueeze", "x ks", "y")],
        [node("Reshape", "x ks", "y")],
        [node("Flatten", "x", "y", axis=value)],
        [node("ReduceSum", "x ks", "y")],
        [node("Slice", "x ks ks ks ks", "y")],
        [node("TopK", "x ks", "y i", axis=value)],
        [node("Unique", "x", "y", axis=value)],
        [node("Compress", "x b", "y", axis=value)],
        [node("DepthToSpace", "q", "y", blocksize=value)],
        [node("CumSum", "x k", "y")],
        [node("Shape", "x", "s", start=value, end=value), node("Reshape", "x s", "y")],
        [node("LayerNormalization", "x x", "y", axis=value)],
        [node("GroupNormalization", "q v v", "y", num_groups=value)],
        [node("MatMulNBits", "x u v", "y", domain=MICROSOFT, K=value, N=value, bits=4)],
        [node("QLinearConcat", "v z x v z", "y", domain=MICROSOFT, axis=value)],
        [node("Attention", "a m v", "y", domain=MICROSOFT, num_heads=value)],
        [node("Attention", "a m v", "y", domain=MICROSOFT, qkv_hidden_sizes=[value])],
        [node("FusedMatMul", "x v", "y", domain=MICROSOFT, transA=value)],
        [node("RoiAlign", "q r k", "y", output_height=value, sampling_ratio=value)],
    ]
    return model(
        random.choice(attacks),
        {"x": (4, 6), "q": (1, 4, 2, 2), "a": (1, 4, 6), "r": (2, 4)},
        "y",
        [
            const("k", value),
            const("ks", [value]),
            const("b", [True, False], "bool"),
            const("v", [1.0], "float32"),
            const("z", 0, "uint8"),
            weight("u", (2, 1, 8), "uint8"),
            weight("m", (6, 18)),
        ],
    ).SerializeToString()


def hostile_loop(random: Random) -> bytes:
    """Loops of 2**62 rounds, bodies that do not fit their node, Scans without inputs."""
    inputs = [info("i", (), "int64"), info("going", (), "bool"), info("state", (2, 4))]
    outputs = [info("going", (), "bool"), info("next", (2, 4)), info("next", (2, 4))]
    body = subgraph(
        [node("Relu", "state", "next")],
        inputs[: random.choice([0, 2, 3, 3, 3, 3])],
        outputs[: random.choice([0, 1, 3, 3, 3, 3])],
    )
    if random.random() < 0.3:
        made = node("Scan", random.choice(["x", "_", "x x"]), "y e", body=body)
        made.attribute.append(helper.make_attribute("num_scan_inputs", random.choice(INTS)))
        made.attribute.append(helper.make_attribute("scan_input_axes", [random.choice(INTS)]))
    else:
        made = node(
            "Loop", random.choice(["t _ x", "t _ x", "t", "_ _ x", "x t x"]), "y e", body=body
        )
    return model(
        [made], {"x": (2, 4)}, random.choice(["y", "y e"]), [const("t", random.choice(EXTREMES))]
    ).SerializeToString()


def bad_names(random: Random) -> bytes:
    """Names that are not UTF-8, empty, NUL, shared, or megabytes long."""
    data = model([node("Relu", "NAME", "OUTP")], {"NAME": (2,)}, "OUTP").SerializeToString()
    new = random.choice(
        [b"\xff\xfe\xfd\xfc", b"\x00\x00\x00\x00", b"\xed\xa0\x80a", b"OUTP", b"../x"]
    )
    return data.replace(random.choice([b"NAME", b"OUTP"]), new)


def absurd_initializer(random: Random) -> bytes:
    """Data that does not fit the dimensions."""
    tensor = onnx.TensorProto(name="w", dims=[random.choice(EXTREMES), 2], data_type=1)
    action = random.randrange(4)
    if action == 0:
        tensor.raw_data = b"1234"
    elif action == 1:
        tensor.float_data.extend([1.0, float("nan")])
    elif action == 2:
        tensor.data_type = 8
        tensor.string_data.append(b"\xff")
    else:
        tensor.dims[:] = [1] * random.choice([70, 3000])
    return model([node("Add", "x w", "y")], {"x": (2, 2)}, "y", [tensor]).SerializeToString()


def small_shapes(random: Random) -> bytes:
    """Zero-size tensors and scalars everywhere."""
    shape: tuple[int, ...] = random.choice([(), (0,), (0, 4), (1, 0, 3)])
    nodes = [
        node("Add", "x x", "a"),
        node(random.choice(["Relu", "Softmax", "Transpose", "Identity", "NonZero"]), "a", "b"),
        node(random.choice(["MatMul", "Concat", "Gather", "Mul"]), "b a", "c"),
    ]
    if nodes[2].op_type == "Concat":
        nodes[2].attribute.append(helper.make_attribute("axis", 0))
    return model(nodes, {"x": shape}, random.choice(["c", "a c", "b"])).SerializeToString()


def odd_opsets(random: Random) -> bytes:
    """Operator sets that do not exist, twice, or none."""
    proto = onnx.ModelProto.FromString(random.choice(valid_models()))
    action = random.randrange(4)
    if action == 0:
        del proto.opset_import[:]
    elif action == 1:
        proto.opset_import[0].version = random.choice(EXTREMES)
    elif action == 2:
        proto.opset_import.add(domain="", version=random.choice([1, 5, 9]))
    else:
        proto.opset_import[0].domain = "no.such.domain"
    return proto.SerializeToString()


def many_constants(random: Random) -> bytes:
    """A chain of constants of which each is half a megabyte, were it computed."""
    length = random.choice([10, 800])
    adding = [node("Add", f"k{i} k{i}", f"k{i + 1}") for i in range(length)]
    return model(
        [node("Expand", "one size", "k0"), *adding, node("Add", f"x k{length}", "y")],
        [info("x", (1,), "int64")],
        "y",
        [const("one", [1]), const("size", [65_536])],
    ).SerializeToString()


def many_subgraphs(random: Random) -> bytes:
    """A chain of Ifs, each of which sees all tensors before it."""
    nodes, last = [], "x"
    for i in range(random.choice([3, 200])):
        branch = subgraph([node("Relu", last, f"r{i}")], (), [info(f"r{i}", (2, 4))])
        nodes.append(node("If", "c", f"y{i}", then_branch=branch, else_branch=branch))
        last = f"y{i}"
    inputs = [info("c", (), "bool"), info("x", (2, 4))]
    return model(nodes, inputs, last).SerializeToString()


def nonsense(random: Random) -> bytes:
    """No ONNX at all."""
    return random.choice([b"", b"\x00", b"hello", random.randbytes(300), b"\x0a" * 5000])


ATTACKS: Sequence[Callable[[Random], bytes]] = (
    giant_constant,
    giant_constant,
    giant_dims,
    big_but_lawful,
    cyclic,
    deep_subgraphs,
    recursive_functions,
    hostile_window,
    hostile_window,
    hostile_axis,
    hostile_axis,
    hostile_axis,
    hostile_loop,
    bad_names,
    absurd_initializer,
    small_shapes,
    odd_opsets,
    nonsense,
    many_constants,
    many_subgraphs,
)
GENERATORS: Sequence[Callable[[Random], bytes]] = (
    truncated,
    bit_flipped,
    spliced,
    misfielded,
    misfielded,
    random_operators,
    random_operators,
    absurd,
    absurd,
    absurd,
)


def hostile_file(seed: int) -> tuple[str, bytes]:
    """Name of the generator and the file of case number `seed` (for one version of onnx)."""
    random = Random(seed)
    make = GENERATORS[seed % len(GENERATORS)]
    name = make.__name__
    if make is absurd:
        make = random.choice(ATTACKS)
        name = make.__name__
    return name, make(random)
