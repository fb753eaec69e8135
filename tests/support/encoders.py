"""Transformer encoders with a symbolic sequence length, small or as large as BERT."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class _Builder:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, *shape: int) -> str:
        values = np.random.default_rng(len(self.weights)).normal(0, 0.05, shape)
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def const(self, name: str, *values: int) -> str:
        self.weights.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def node(self, kind: str, name: str, *inputs: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name


def encoder(layers: int = 2, hidden: int = 64, heads: int = 4) -> onnx.ModelProto:
    """An encoder of self-attention and feed-forward layers; input (1, seq, hidden)."""
    made, x = _Builder(), "x"
    for layer in range(layers):
        x = _layer(made, f"l{layer}", x, hidden, heads)
    made.node("Identity", "y", x)
    shape = [1, "seq", hidden]
    graph = helper.make_graph(
        made.nodes,
        "encoder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        made.weights,
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _layer(made: _Builder, name: str, x: str, hidden: int, heads: int) -> str:
    split = made.const(f"{name}_split", 0, 0, heads, hidden // heads)
    joined = made.const(f"{name}_joined", 0, 0, hidden)

    def linear(what: str, source: str, given: int, wide: int) -> str:
        product = made.node(
            "MatMul", f"{name}_{what}_mm", source, made.weight(f"{name}_{what}_w", given, wide)
        )
        return made.node("Add", f"{name}_{what}", product, made.weight(f"{name}_{what}_b", wide))

    def head(what: str, *axes: int) -> str:
        rows = made.node("Reshape", f"{name}_{what}_r", linear(what, x, hidden, hidden), split)
        return made.node("Transpose", f"{name}_{what}_t", rows, perm=list(axes))

    query, key, value = head("q", 0, 2, 1, 3), head("k", 0, 2, 3, 1), head("v", 0, 2, 1, 3)
    scores = made.node("MatMul", f"{name}_scores", query, key)
    weights = made.node("Softmax", f"{name}_soft", scores, axis=-1)
    mixed = made.node("MatMul", f"{name}_mixed", weights, value)
    back = made.node("Transpose", f"{name}_back", mixed, perm=[0, 2, 1, 3])
    flat = made.node("Reshape", f"{name}_flat", back, joined)
    x = _normal(
        made,
        f"{name}_n1",
        made.node("Add", f"{name}_a1", linear("o", flat, hidden, hidden), x),
        hidden,
    )
    wide = made.node("Relu", f"{name}_relu", linear("f1", x, hidden, 4 * hidden))
    return _normal(
        made,
        f"{name}_n2",
        made.node("Add", f"{name}_a2", linear("f2", wide, 4 * hidden, hidden), x),
        hidden,
    )


def _normal(made: _Builder, name: str, x: str, hidden: int) -> str:
    scale, bias = made.weight(f"{name}_s", hidden), made.weight(f"{name}_b", hidden)
    return made.node("LayerNormalization", name, x, scale, bias, axis=-1)
