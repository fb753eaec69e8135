"""Attacks on sizes and arguments: giant constants and dimensions, windows, axes, trip counts."""

from collections.abc import Sequence
from random import Random
from typing import Any

import onnx
from onnx import helper

from tests.support.onnx_models import (
    MICROSOFT,
    const,
    info,
    model,
    node,
    subgraph,
    weight,
)

from .values import EXTREMES, FLOATS, INTS


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
