"""com.microsoft's operators: every rule against a run of onnxruntime, where it has a kernel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.support.onnx_models import MICROSOFT, imported, only
from ullage.compiler.common.errors import ModelError
from ullage.compiler.execute.kernels import open_session

F, U, I8 = "float32", "uint8", "int8"
# An operand: (shape, dtype) of an input, an array for a constant, None for an absent one.
Operand = tuple[tuple[int, ...], str] | np.ndarray | None
S, Z = np.array(0.1, np.float32), np.array(0, np.uint8)
Q = (S, Z)


@dataclass(frozen=True)
class Made:
    """A node: operator, operands, attributes, and how many results are taken."""

    op: str
    operands: Sequence[Operand]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    results: int = 1

    def model(self) -> onnx.ModelProto:
        """A model of the node alone."""
        names, entering, stored = [], [], []
        for position, operand in enumerate(self.operands):
            name = "" if operand is None else f"i{position}"
            names.append(name)
            if isinstance(operand, np.ndarray):
                stored.append(numpy_helper.from_array(operand, name))
            elif operand is not None:
                shape, dtype = operand
                number = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
                entering.append(helper.make_tensor_value_info(name, number, shape))
        outputs = [f"o{i}" for i in range(self.results)]
        made = helper.make_node(self.op, names, outputs, domain=MICROSOFT, **self.attributes)
        leaving = [onnx.ValueInfoProto(name=name) for name in outputs]
        graph = helper.make_graph([made], "g", entering, leaving, stored)
        sets = [helper.make_opsetid("", 20), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=sets, ir_version=10)

    def shapes(self) -> list[tuple[int, ...]]:
        """What the importer says of the results."""
        graph = imported(self.model())
        return [graph.values[f"o{i}"].shape for i in range(self.results)]


HEADS, GROUPS = {"num_heads": 4}, {"num_heads": 8, "kv_num_heads": 2}
LAST, TOTAL = np.array([11], np.int32), np.array(12, np.int32)
CACHE = ((1, 2, 4, 16), F)
RUN = {
    "gqa-packed": Made(
        "GroupQueryAttention", [((1, 8, 192), F), None, None, CACHE, CACHE, LAST, TOTAL], GROUPS, 3
    ),
    "gqa": Made(
        "GroupQueryAttention",
        [((1, 8, 128), F), ((1, 8, 32), F), ((1, 8, 32), F), CACHE, CACHE, LAST, TOTAL],
        GROUPS,
        3,
    ),
    "mha": Made(
        "MultiHeadAttention", [((2, 6, 64), F), ((2, 9, 64), F), ((2, 9, 32), F)], HEADS, 3
    ),
    "mha-past": Made(
        "MultiHeadAttention",
        [
            *(((2, n, 64), F) for n in (6, 9, 9)),
            None,
            None,
            None,
            ((2, 4, 5, 16), F),
            ((2, 4, 5, 16), F),
        ],
        HEADS,
        3,
    ),
    "mha-cross": Made(
        "MultiHeadAttention", [((2, 6, 64), F), ((2, 4, 9, 16), F), ((2, 4, 9, 16), F)], HEADS
    ),
    "attention": Made("Attention", [((2, 6, 32), F), ((32, 96), F), ((96,), F)], HEADS),
    "attention-past": Made(
        "Attention",
        [((2, 6, 32), F), ((32, 96), F), ((96,), F), None, ((2, 2, 4, 5, 8), F)],
        HEADS,
        2,
    ),
    "attention-narrow": Made(
        "Attention",
        [((2, 6, 32), F), ((32, 80), F), ((80,), F)],
        {**HEADS, "qkv_hidden_sizes": [32, 32, 16]},
    ),
    "qattention": Made(
        "QAttention", [((2, 6, 32), U), ((32, 96), U), ((96,), F), S, S, None, Z, Z], HEADS
    ),
    "skip": Made("SkipLayerNormalization", [((2, 4, 32), F), ((2, 4, 32), F), ((32,), F)], {}, 4),
    "skip-simplified": Made(
        "SkipSimplifiedLayerNormalization", [((2, 4, 32), F), ((2, 4, 32), F), ((32,), F)], {}, 4
    ),
    "embedding": Made(
        "EmbedLayerNormalization",
        [
            ((2, 4), "int32"),
            ((2, 4), "int32"),
            *(((n, 32), F) for n in (50, 10, 5)),
            ((32,), F),
            ((32,), F),
        ],
        {},
        3,
    ),
    "rotary": Made(
        "RotaryEmbedding", [((2, 6, 32), F), ((2, 6), "int64"), ((10, 4), F), ((10, 4), F)], HEADS
    ),
    "fused-conv": Made(
        "FusedConv",
        [((1, 3, 8, 8), F), ((4, 3, 3, 3), F)],
        {"activation": "Relu", "strides": [2, 2]},
    ),
    "fused-gemm": Made(
        "FusedGemm", [((8, 4), F), ((8, 3), F)], {"activation": "Relu", "transA": 1}
    ),
    "fused-matmul": Made("FusedMatMul", [((2, 8, 4), F), ((2, 8, 3), F)], {"transA": 1}),
    "fused-matmul-batch": Made("FusedMatMul", [((8, 2, 4), F), ((2, 4, 3), F)], {"transBatchA": 1}),
    "nbits": Made(
        "MatMulNBits",
        [((2, 5, 64), F), ((16, 2, 16), U), ((32,), F)],
        {"K": 64, "N": 16, "block_size": 32, "bits": 4},
    ),
    "dynamic": Made("DynamicQuantizeMatMul", [((2, 5, 64), F), ((64, 16), I8), S]),
    "integer-to-float": Made("MatMulIntegerToFloat", [((5, 64), U), ((64, 16), I8), S, S]),
    "q-average-pool": Made(
        "QLinearAveragePool",
        [((1, 3, 9, 9), U), *Q, *Q],
        {"kernel_shape": [3, 3], "strides": [2, 2]},
    ),
    "q-average-pool-last": Made(
        "QLinearAveragePool",
        [((1, 9, 8, 3), U), *Q, *Q],
        {"kernel_shape": [3, 3], "strides": [2, 2], "channels_last": 1, "ceil_mode": 1},
    ),
    "q-global-pool": Made("QLinearGlobalAveragePool", [((1, 3, 9, 9), U), *Q, *Q]),
    "q-global-pool-last": Made(
        "QLinearGlobalAveragePool", [((1, 9, 9, 3), U), *Q, *Q], {"channels_last": 1}
    ),
    "q-concat": Made("QLinearConcat", [*Q, ((1, 3), U), *Q, ((1, 5), U), *Q], {"axis": 1}),
    "q-add": Made("QLinearAdd", [((2, 1), U), *Q, ((1, 3), U), *Q, *Q]),
    "q-mul": Made("QLinearMul", [((2, 3), U), *Q, ((3,), U), *Q, *Q]),
    "q-where": Made("QLinearWhere", [((1, 3), "bool"), ((2, 3), U), *Q, ((2, 1), U), *Q, *Q]),
    "q-softmax": Made("QLinearSoftmax", [((2, 3), U), *Q, *Q], {"opset": 13}),
    "q-sigmoid": Made("QLinearSigmoid", [((2, 3), U), *Q, *Q]),
    "q-leaky": Made("QLinearLeakyRelu", [((2, 3), U), *Q, *Q]),
    "q-gemm": Made("QGemm", [((4, 8), U), *Q, ((3, 8), U), *Q, None, *Q], {"transB": 1}),
    "q-gemm-float": Made("QGemm", [((4, 8), U), *Q, ((8, 3), U), *Q]),
    "q-conv-last": Made(
        "QLinearConv", [((1, 8, 9, 3), U), *Q, ((4, 3, 3, 3), U), *Q, *Q], {"channels_last": 1}
    ),
    "bias-gelu": Made("BiasGelu", [((2, 4, 8), F), ((8,), F)]),
    "moe": Made(
        "MoE", [((6, 32), F), ((6, 4), F), ((4, 32, 64), F), None, ((4, 64, 32), F)], {"k": 2}
    ),
    # No rule of ours: onnxruntime's inference says it.
    "nhwc-max-pool": Made(
        "NhwcMaxPool", [((1, 8, 8, 4), U)], {"kernel_shape": [2, 2], "strides": [2, 2]}
    ),
    "expand-dims": Made("ExpandDims", [((3, 4), F), np.array(1, np.int32)]),
    "unfold": Made("UnfoldTensor", [((3, 8), F)], {"dim": 1, "size": 4, "step": 2}),
    "gather-blocks": Made(
        "GatherBlockQuantized",
        [((10, 16), U), ((3,), "int64"), ((10, 1), F)],
        {"bits": 4, "block_size": 32},
    ),
}


@pytest.mark.parametrize("name", RUN)
def test_shapes_are_those_of_a_run(name: str) -> None:
    made = RUN[name]
    proto = made.model()
    drawn = np.random.default_rng(0)
    feeds = {}
    for value in proto.graph.input:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        feeds[value.name] = drawn.integers(0, 2, shape).astype(dtype)
    results = open_session(proto).run(None, feeds)
    graph = imported(proto)
    assert made.shapes() == [r.shape for r in results]
    found = [(v.dtype, v.size_bytes) for v in (graph.values[f"o{i}"] for i in range(made.results))]
    assert found == [(str(r.dtype), r.nbytes) for r in results]


@pytest.mark.parametrize(
    ("made", "shapes"),
    [
        (Made("BiasSplitGelu", [((2, 4, 5120), F), ((5120,), F)]), [(2, 4, 2560)]),
        (Made("MultiHeadAttention", [((2, 6, 4, 3, 16), F)], HEADS), [(2, 6, 64)]),
        (Made("MultiHeadAttention", [((2, 6, 64), F), ((2, 9, 4, 2, 16), F)], HEADS), [(2, 6, 64)]),
        (
            Made("QLinearReduceMean", [((2, 3, 4), U), *Q, *Q], {"axes": [1], "keepdims": 0}),
            [(2, 4)],
        ),
        (Made("QLinearReduceMean", [((2, 3, 4), U), *Q, *Q], {"axes": [-1]}), [(2, 3, 1)]),
        (
            Made(
                "PackedAttention",
                [((7, 32), F), ((32, 96), F), ((96,), F), ((2, 5), "int32"), ((3,), "int32")],
                HEADS,
            ),
            [(7, 32)],
        ),
        (
            Made(
                "PackedMultiHeadAttention",
                [((7, 4, 3, 8), F), None, None, None, ((2, 5), "int32"), ((3,), "int32")],
                HEADS,
            ),
            [(7, 32)],
        ),
        (
            Made(
                "GatedRelativePositionBias",
                [
                    ((2, 6, 32), F),
                    ((32,), F),
                    ((1, 4, 6, 6), F),
                    ((8, 8), F),
                    ((8,), F),
                    ((1, 4, 1, 1), F),
                ],
                HEADS,
            ),
            [(2, 4, 6, 6)],
        ),
    ],
    ids=lambda value: value.op if isinstance(value, Made) else "",
)
def test_shapes_of_operators_without_a_kernel_for_cpus(
    made: Made, shapes: list[tuple[int, ...]]
) -> None:
    assert made.shapes() == shapes


@pytest.mark.parametrize(
    ("made", "macs"),
    [
        (RUN["gqa-packed"], 2 * 8 * 8 * 12 * 16),  # heads, queries, keys, head size; twice
        (RUN["gqa"], 2 * 8 * 8 * 12 * 16),
        (Made("MultiHeadAttention", [((2, 6, 4, 3, 16), F)], HEADS), 2 * 2 * 4 * 6 * 6 * 16),
        (RUN["mha"], 2 * 4 * 6 * 9 * (16 + 8)),
        (RUN["mha-past"], 2 * 2 * 4 * 6 * 14 * 16),
        (RUN["mha-cross"], 2 * 2 * 4 * 6 * 9 * 16),
        (RUN["attention"], 12 * 32 * 96 + 2 * 2 * 4 * 6 * 6 * 8),
        (RUN["attention-narrow"], 12 * 32 * 80 + 2 * 4 * 6 * 6 * (8 + 4)),
        (RUN["fused-matmul-batch"], 2 * 8 * 4 * 3),
        (RUN["q-conv-last"], 6 * 7 * 27 * 4),
        (RUN["nbits"], 10 * 64 * 16),
    ],
    ids=lambda value: value.op if isinstance(value, Made) else "",
)
def test_multiplications(made: Made, macs: int) -> None:
    operator = only(imported(made.model()))
    assert operator.macs == macs


@pytest.mark.parametrize("name", [n for n in RUN if n.startswith("q-")] + ["nhwc-max-pool"])
def test_quantised_operators_have_a_cost_rule(name: str) -> None:
    assert not imported(RUN[name].model()).fallbacks


def test_a_cache_whose_length_depends_on_data_is_bounded() -> None:
    """The past, and as many tokens as are new."""
    made = RUN["gqa"]
    operands = [*made.operands[:5], ((1,), "int32"), ((), "int32")]
    graph = imported(Made(made.op, operands, made.attributes, 3).model())
    assert graph.values["o1"].shape == (1, 2, 12, 16)
    assert graph.values["o1"].is_upper_bound
    assert not graph.values["o0"].is_upper_bound


def test_what_nobody_knows_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match="'o0', a result of Mystery"):
        imported(Made("Mystery", [((2, 3), F)]).model())
    with pytest.raises(ModelError, match="'o0', a result of GroupQueryAttention"):
        imported(Made("GroupQueryAttention", [((2, 3), F)], {"num_heads": 2}).model())
