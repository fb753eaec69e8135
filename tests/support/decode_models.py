"""Decode graphs: one token of a language model, with a cache that grows or is allocated ahead."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


@dataclass(frozen=True)
class Decoder:
    """Sizes of a decoder.

    Attributes:
        layers: blocks.
        heads: query heads.
        kv_heads: heads of keys and values.
        head_size: elements of a head.
        hidden: elements of the feed-forward's inner layer.
        vocabulary: tokens.
        length: rows of the cache: past rows of one that grows, all rows of one allocated ahead.
        gated: SiLU-gated feed-forward and RMS norm (Llama); else GELU and layer norm (GPT-2).
    """

    layers: int = 2
    heads: int = 4
    kv_heads: int = 4
    head_size: int = 16
    hidden: int = 256
    vocabulary: int = 64
    length: int | str = 8
    gated: bool = False


@dataclass
class _Builder:
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    generator: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    def add(self, op: str, inputs: Sequence[str], name: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, name: str, *shape: int) -> str:
        scale = shape[0] ** -0.5 if len(shape) > 1 else 1.0
        array = (scale * self.generator.standard_normal(shape)).astype(np.float32)
        if len(shape) == 1:
            array = np.abs(array) + np.float32(0.5)
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def constant(self, name: str, values: object, dtype: type = np.int64) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name


def growing_decoder(sizes: Decoder) -> onnx.ModelProto:
    """GPT-2-like: keys and values are [1, heads, past, size], and a Concat makes them longer."""
    return _decoder(sizes, grows=True)


def preallocated_decoder(sizes: Decoder) -> onnx.ModelProto:
    """Llama-like: caches of all rows, into which a ScatterND puts a row, at a counted position."""
    return _decoder(sizes, grows=False)


def _decoder(sizes: Decoder, *, grows: bool) -> onnx.ModelProto:
    b = _Builder()
    width = sizes.heads * sizes.head_size
    length = sizes.length
    after: int | str = f"{length} + 1" if isinstance(length, str) else length + 1
    rows = (length, after) if grows else (length, length)
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, [1, 1])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1, sizes.vocabulary])]
    if not grows:
        inputs.append(helper.make_tensor_value_info("position", TensorProto.INT64, [1]))
        outputs.append(helper.make_tensor_value_info("next_position", TensorProto.INT64, [1]))
        b.add("Add", ["position", b.constant("one", [1])], "next_position")
    table = b.weight("table", sizes.vocabulary, width)
    x = b.add("Gather", [table, "ids"], "embedded")
    for layer in range(sizes.layers):
        x = _block(b, sizes, layer, x, grows=grows)
        for which in "kv":
            shape: list[int | str] = [1, sizes.kv_heads, rows[0], sizes.head_size]
            inputs.append(_info(f"past_{which}{layer}", shape))
            outputs.append(_info(f"present_{which}{layer}", [*shape[:2], rows[1], shape[3]]))
    x = _norm(b, sizes, "last", x)
    head = b.weight("head", width, sizes.vocabulary)
    b.add("MatMul", [x, head], "logits")
    graph = helper.make_graph(b.nodes, "decoder", inputs, outputs, b.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _info(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def _norm(b: _Builder, sizes: Decoder, name: str, x: str) -> str:
    width = sizes.heads * sizes.head_size
    scale = b.weight(f"{name}_scale", width)
    if not sizes.gated:
        bias = b.weight(f"{name}_bias", width)
        return b.add("LayerNormalization", [x, scale, bias], f"{name}_norm", axis=-1)
    square = b.add("Mul", [x, x], f"{name}_square")
    axes = b.constant(f"{name}_axes", [-1])
    mean = b.add("ReduceMean", [square, axes], f"{name}_mean", keepdims=1)
    epsilon = b.constant(f"{name}_epsilon", 1e-6, np.float32)
    root = b.add("Sqrt", [b.add("Add", [mean, epsilon], f"{name}_shifted")], f"{name}_root")
    return b.add("Mul", [b.add("Div", [x, root], f"{name}_unit"), scale], f"{name}_norm")


def _heads(b: _Builder, sizes: Decoder, name: str, x: str, heads: int) -> str:
    width, size = sizes.heads * sizes.head_size, sizes.head_size
    y = b.add("MatMul", [x, b.weight(f"{name}_w", width, heads * size)], f"{name}_product")
    shape = b.constant(f"{name}_shape", [1, 1, heads, size])
    y = b.add("Reshape", [y, shape], f"{name}_split")
    return b.add("Transpose", [y], f"{name}_heads", perm=[0, 2, 1, 3])


def _block(b: _Builder, sizes: Decoder, layer: int, x: str, *, grows: bool) -> str:
    n, width, size = f"l{layer}", sizes.heads * sizes.head_size, sizes.head_size
    y = _norm(b, sizes, f"{n}_first", x)
    query = _heads(b, sizes, f"{n}_q", y, sizes.heads)
    cached = {}
    for which in "kv":
        new = _heads(b, sizes, f"{n}_{which}", y, sizes.kv_heads)
        past, present = f"past_{which}{layer}", f"present_{which}{layer}"
        if grows:
            b.add("Concat", [past, new], present, axis=2)
        else:
            indices = _row_indices(b, sizes, f"{n}_{which}")
            b.add("ScatterND", [past, indices, new], present)
        groups = sizes.heads // sizes.kv_heads
        cached[which] = present
        if groups > 1:
            axis = b.constant(f"{n}_{which}_axis", [2])
            five = b.add("Unsqueeze", [present, axis], f"{n}_{which}_five")
            length = (
                sizes.length if not grows or isinstance(sizes.length, str) else sizes.length + 1
            )
            shape = b.constant(f"{n}_{which}_wide", [1, sizes.kv_heads, groups, length, size])
            wide = b.add("Expand", [five, shape], f"{n}_{which}_expanded")
            flat = b.constant(f"{n}_{which}_flat", [1, sizes.heads, length, size])
            cached[which] = b.add("Reshape", [wide, flat], f"{n}_{which}_repeated")
    keys = b.add("Transpose", [cached["k"]], f"{n}_keys", perm=[0, 1, 3, 2])
    scores = b.add("MatMul", [query, keys], f"{n}_products")
    scale = b.constant(f"{n}_scale", size**-0.5, np.float32)
    scores = b.add("Mul", [scores, scale], f"{n}_scores")
    if not grows:
        scores = _masked(b, sizes, n, scores)
    shares = b.add("Softmax", [scores], f"{n}_shares", axis=-1)
    y = b.add("MatMul", [shares, cached["v"]], f"{n}_read")
    y = b.add("Transpose", [y], f"{n}_back", perm=[0, 2, 1, 3])
    y = b.add("Reshape", [y, b.constant(f"{n}_joined_shape", [1, 1, width])], f"{n}_joined")
    y = b.add("MatMul", [y, b.weight(f"{n}_o_w", width, width)], f"{n}_o")
    x = b.add("Add", [x, y], f"{n}_middle")
    y = _norm(b, sizes, f"{n}_second", x)
    inner = b.add("MatMul", [y, b.weight(f"{n}_up_w", width, sizes.hidden)], f"{n}_up")
    if sizes.gated:
        gate = b.add("MatMul", [y, b.weight(f"{n}_gate_w", width, sizes.hidden)], f"{n}_gate")
        gate = b.add("Mul", [gate, b.add("Sigmoid", [gate], f"{n}_sigmoid")], f"{n}_silu")
        inner = b.add("Mul", [inner, gate], f"{n}_gated")
    else:
        inner = b.add("Tanh", [inner], f"{n}_active")
    down = b.weight(f"{n}_down_w", sizes.hidden, width)
    return b.add("Add", [x, b.add("MatMul", [inner, down], f"{n}_down")], f"{n}_out")


def _row_indices(b: _Builder, sizes: Decoder, name: str) -> str:
    """[1, heads, 1, 3] indices of the row at `position` in each head of a cache."""
    heads = np.zeros((1, sizes.kv_heads, 1, 3), dtype=np.int64)
    heads[0, :, 0, 1] = np.arange(sizes.kv_heads)
    last = np.zeros_like(heads)
    last[..., 2] = 1
    at = b.add("Mul", ["position", b.constant(f"{name}_unit", last)], f"{name}_at")
    return b.add("Add", [at, b.constant(f"{name}_head", heads)], f"{name}_indices")


def _masked(b: _Builder, sizes: Decoder, name: str, scores: str) -> str:
    """Scores with a large negative number for rows behind the position."""
    rows = b.constant(f"{name}_rows", np.arange(int(sizes.length)))
    later = b.add("Greater", [rows, "position"], f"{name}_later")
    least = b.constant(f"{name}_least", -1e9, np.float32)
    return b.add("Where", [later, least, scores], f"{name}_masked")


def grouped_decoder(rows: int = 8) -> onnx.ModelProto:
    """Caches of all rows in com.microsoft's GroupQueryAttention, which writes a row; 2 layers."""
    b = _Builder()
    heads, kv_heads, size, vocabulary = 4, 2, 16, 64
    width = heads * size
    inputs = [
        helper.make_tensor_value_info("ids", TensorProto.INT64, [1, 1]),
        helper.make_tensor_value_info("last", TensorProto.INT32, [1]),
    ]
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1, vocabulary]),
        helper.make_tensor_value_info("next_last", TensorProto.INT32, [1]),
    ]
    b.add("Add", ["last", b.constant("one", [1], np.int32)], "next_last")
    total = b.constant("total", rows, np.int32)
    x = b.add("Gather", [b.weight("table", vocabulary, width), "ids"], "embedded")
    for layer in range(2):
        made = [
            b.add("MatMul", [x, b.weight(f"{n}{layer}_w", width, columns)], f"{n}{layer}")
            for n, columns in (("q", width), ("k", kv_heads * size), ("v", kv_heads * size))
        ]
        caches = [f"past_k{layer}", f"past_v{layer}"]
        results = [f"attended{layer}", f"present_k{layer}", f"present_v{layer}"]
        for past, present in zip(caches, results[1:], strict=True):
            inputs.append(_info(past, [1, kv_heads, rows, size]))
            outputs.append(_info(present, [1, kv_heads, rows, size]))
        attention = helper.make_node(
            "GroupQueryAttention",
            [*made, *caches, "last", total],
            results,
            name=f"attention{layer}",
            domain="com.microsoft",
            num_heads=heads,
            kv_num_heads=kv_heads,
        )
        b.nodes.append(attention)
        y = b.add("MatMul", [results[0], b.weight(f"o{layer}_w", width, width)], f"o{layer}")
        x = b.add("Add", [x, y], f"x{layer}")
    b.add("MatMul", [x, b.weight("head", width, vocabulary)], "logits")
    graph = helper.make_graph(b.nodes, "grouped", inputs, outputs, b.weights)
    sets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=sets, ir_version=8)
