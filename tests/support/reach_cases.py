"""Small models for the rules of reach: each operator type at the corners of its attributes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from tests.support.onnx_models import MICROSOFT, OPSET, const, info, model, node
from tests.support.reach_oracle import Bench, bench
from ullage.compiler.importer.build import ImportOptions, import_detailed

Array = NDArray[np.generic]
# A shape for random float32 numbers, or the values themselves.
Tensor = Sequence[int] | Array | np.generic


@dataclass(frozen=True)
class ReachCase:
    """A small model.

    Attributes:
        name: of the case.
        nodes: its nodes; the last one's results are the model's.
        inputs: by name its inputs.
        weights: by name its constants.
        opset: version of ONNX's operators.
        result: shape of the result, where no inference gives it.
        mild: whether rubbish is made of values that occur in the same tensor.
    """

    name: str
    nodes: tuple[onnx.NodeProto, ...]
    inputs: dict[str, Tensor]
    weights: dict[str, Tensor]
    opset: int = OPSET
    result: Sequence[int] = ()
    mild: bool = False

    def proto(self, seed: int = 0) -> onnx.ModelProto:
        """The model, with constants drawn by a seed."""
        rng = np.random.default_rng(seed)
        constants = {name: values(rng, tensor) for name, tensor in self.weights.items()}
        entering = []
        for name, tensor in self.inputs.items():
            array = values(rng, tensor)
            entering.append(info(name, array.shape, str(array.dtype)))
        return model(
            self.nodes,
            entering,
            [info("y", self.result)]
            if self.result
            else " ".join(name for name in self.nodes[-1].output if name),
            [const(name, array, str(array.dtype)) for name, array in constants.items()],
            opset=self.opset,
        )

    def bench(self, seed: int = 0) -> Bench:
        """The model with a value for every tensor, drawn by a seed."""
        proto = self.proto(seed)
        rng = np.random.default_rng(seed + 100)
        imported = import_detailed(proto, ImportOptions(), self.name)
        drawn = {name: values(rng, tensor) for name, tensor in self.inputs.items()}
        weights = {t.name: onnx.numpy_helper.to_array(t) for t in imported.proto.graph.initializer}
        return bench(imported, drawn, weights, mild=self.mild)


def values(rng: np.random.Generator, tensor: Tensor) -> Array:
    """The values of a tensor: those given, or random ones between -2 and 2."""
    if isinstance(tensor, np.ndarray | np.generic):
        return np.asarray(tensor)
    return rng.uniform(-2.0, 2.0, tuple(tensor)).astype(np.float32)


def case(
    name: str,
    nodes: onnx.NodeProto | Sequence[onnx.NodeProto],
    inputs: dict[str, Tensor],
    *,
    opset: int = OPSET,
    result: Sequence[int] = (),
    mild: bool = False,
    **weights: Tensor,
) -> ReachCase:
    """A case; keyword arguments are constants."""
    listed = (nodes,) if isinstance(nodes, onnx.NodeProto) else tuple(nodes)
    return ReachCase(name, listed, inputs, weights, opset, result, mild)


def integers(low: int, high: int, shape: Sequence[int], dtype: str, seed: int = 7) -> Array:
    """Random integers from low to high."""
    drawn: Array = np.random.default_rng(seed).integers(low, high, shape, endpoint=True)
    return drawn.astype(dtype)


def _windows() -> list[ReachCase]:
    x = {"x": (2, 4, 11, 8)}
    conv: Callable[..., onnx.NodeProto] = lambda **a: node("Conv", "x w b", "y", **a)  # noqa: E731
    dense: dict[str, Any] = {"w": (6, 4, 3, 3), "b": (6,)}
    grouped: dict[str, Any] = {"w": (6, 2, 3, 3), "b": (6,)}
    depthwise: dict[str, Any] = {"w": (8, 1, 3, 3), "b": (8,)}
    pool: Callable[..., onnx.NodeProto] = lambda op, **a: node(op, "x", "y", **a)  # noqa: E731
    three = [3, 3]
    return [
        case("conv", conv(pads=[1, 1, 1, 1]), x, **dense),
        case("conv_stride", conv(strides=[2, 3], pads=[0, 2, 1, 0]), x, **dense),
        case("conv_dilation", conv(dilations=[3, 2], pads=[3, 2, 3, 2]), x, **dense),
        case("conv_far_dilation", conv(dilations=[5, 1], pads=[9, 0, 9, 0]), x, **dense),
        case("conv_upper", conv(auto_pad="SAME_UPPER", strides=[2, 2]), x, **dense),
        case("conv_lower", conv(auto_pad="SAME_LOWER", strides=[2, 2]), x, **dense),
        case("conv_valid", conv(auto_pad="VALID", strides=[3, 1]), x, **dense),
        case("conv_groups", conv(group=2, pads=[1, 1, 1, 1]), x, **grouped),
        case("conv_depthwise", conv(group=4, strides=[2, 1]), x, **depthwise),
        case(
            "conv_rows",
            node("Conv", "x w", "y", pads=[2, 0], dilations=[2]),
            {"x": (1, 3, 12)},
            w=(2, 3, 3),
        ),
        case(
            "conv_sparse",
            node("Conv", "x w", "y", strides=[4, 4]),
            {"x": (1, 2, 13, 12)},
            w=(2, 2, 2, 2),
        ),
        case(
            "fused_conv",
            node("FusedConv", "x w b z", "y", domain=MICROSOFT, activation="Relu", pads=[1] * 4),
            {**x, "z": (2, 6, 11, 8)},
            **dense,
        ),
        case(
            "conv_integer",
            node("ConvInteger", "x w p q", "y", pads=[1, 1, 1, 1]),
            {"x": integers(0, 255, (1, 2, 7, 6), "uint8")},
            w=integers(0, 255, (4, 2, 3, 3), "uint8", 8),
            p=np.array(3, np.uint8),
            q=np.array(5, np.uint8),
        ),
        case(
            "qlinear_conv",
            node("QLinearConv", "x a p w s q c r b", "y", pads=[1, 1, 1, 1]),
            {"x": integers(0, 255, (1, 2, 7, 6), "uint8")},
            a=np.float32(0.02),
            p=np.array(120, np.uint8),
            w=integers(-128, 127, (4, 2, 3, 3), "int8", 8),
            s=np.array([0.01, 0.02, 0.03, 0.02], np.float32),
            q=np.zeros(4, np.int8),
            c=np.float32(0.2),
            r=np.array(128, np.uint8),
            b=integers(-99, 99, (4,), "int32", 9),
        ),
        *(
            case(
                f"conv_transpose_{name}",
                node("ConvTranspose", "x w b", "y", **attributes),
                {"x": (1, 4, 5, 4)},
                w=weight,
                b=(6,),
            )
            for name, weight, attributes in (
                ("plain", (4, 6, 3, 3), {}),
                ("stride", (4, 6, 3, 3), {"strides": [2, 3], "pads": [1, 0, 1, 2]}),
                ("gaps", (4, 6, 2, 1), {"strides": [3, 4], "output_padding": [1, 2]}),
                ("dilation", (4, 6, 3, 2), {"strides": [2, 1], "dilations": [2, 3]}),
                ("groups", (4, 3, 3, 3), {"group": 2, "strides": [2, 2]}),
                ("upper", (4, 6, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
                ("lower", (4, 6, 3, 3), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
                ("shape", (4, 6, 3, 3), {"output_shape": [10, 9], "strides": [2, 2]}),
            )
        ),
        case(
            "channels_last",
            node(
                "QLinearConv",
                "x a p w s q c r",
                "y",
                domain=MICROSOFT,
                channels_last=1,
                pads=[1, 1, 1, 1],
                strides=[2, 1],
            ),
            {"x": integers(0, 255, (2, 7, 6, 4), "uint8")},
            a=np.float32(0.02),
            p=np.array(120, np.uint8),
            w=integers(-128, 127, (6, 4, 3, 3), "int8", 8),
            s=np.full(6, 0.02, np.float32),
            q=np.zeros(6, np.int8),
            c=np.float32(0.5),
            r=np.array(128, np.uint8),
        ),
        case("max_pool", pool("MaxPool", kernel_shape=three, strides=[2, 2], pads=[1] * 4), x),
        case("max_ceil", pool("MaxPool", kernel_shape=three, strides=[2, 3], ceil_mode=1), x),
        case("max_dilated", pool("MaxPool", kernel_shape=three, dilations=[2, 3], pads=[1] * 4), x),
        case("max_lower", pool("MaxPool", kernel_shape=[2, 2], auto_pad="SAME_LOWER"), x),
        case("max_indices", node("MaxPool", "x", "y i", kernel_shape=[2, 3]), x),
        case(
            "average_border",
            pool("AveragePool", kernel_shape=three, pads=[1, 1, 1, 1], count_include_pad=1),
            x,
        ),
        case(
            "average_ceil",
            pool("AveragePool", kernel_shape=three, strides=[2, 2], ceil_mode=1, pads=[1, 0, 0, 1]),
            x,
        ),
        case("average_dilated", pool("AveragePool", kernel_shape=three, dilations=[2, 2]), x),
        case("lp_pool", pool("LpPool", kernel_shape=[2, 3], p=2, strides=[2, 1]), x),
        case("global_average", pool("GlobalAveragePool"), x),
        case("global_max", pool("GlobalMaxPool"), x),
        case(
            "regions",
            node("RoiAlign", "x r i", "y", output_height=2, output_width=3, sampling_ratio=2),
            x,
            r=np.array([[0, 0, 5, 5], [1, 2, 6, 7], [3, 1, 7, 4]], np.float32),
            i=np.array([0, 1, 0]),
            mild=True,
        ),
    ]


def _matrices() -> list[ReachCase]:
    bytes_ = integers(0, 255, (3, 5, 8), "uint8")
    return [
        case("matmul", node("MatMul", "x w", "y"), {"x": (3, 5, 6)}, w=(6, 7)),
        case("matmul_batch", node("MatMul", "x z", "y"), {"x": (2, 3, 5, 6), "z": (3, 6, 4)}),
        case("matmul_left", node("MatMul", "x z", "y"), {"x": (5, 6), "z": (2, 3, 6, 4)}),
        case("matmul_ones", node("MatMul", "x z", "y"), {"x": (3, 1, 5, 6), "z": (1, 4, 6, 2)}),
        case("vector_left", node("MatMul", "x z", "y"), {"x": (6,), "z": (3, 6, 4)}),
        case("vector_right", node("MatMul", "x z", "y"), {"x": (3, 5, 6), "z": (6,)}),
        case("gemm", node("Gemm", "x w b", "y", alpha=0.5), {"x": (5, 6)}, w=(6, 7), b=(7,)),
        case(
            "gemm_turned",
            node("Gemm", "x w b", "y", transA=1, transB=1, beta=2.0),
            {"x": (6, 5)},
            w=(7, 6),
            b=(5, 1),
        ),
        case(
            "fused_matmul",
            node("FusedMatMul", "x z", "y", domain=MICROSOFT, transB=1),
            {"x": (3, 5, 6), "z": (3, 4, 6)},
        ),
        case(
            "matmul_integer",
            node("MatMulInteger", "x w p q", "y"),
            {"x": bytes_},
            w=integers(0, 255, (8, 6), "uint8", 9),
            p=np.array(3, np.uint8),
            q=integers(0, 255, (6,), "uint8", 5),
        ),
        case(
            "qlinear_matmul",
            node("QLinearMatMul", "x a p w s q c r", "y"),
            {"x": bytes_},
            a=np.float32(0.02),
            p=np.array(128, np.uint8),
            w=integers(-128, 127, (8, 6), "int8", 9),
            s=np.linspace(0.01, 0.02, 6, dtype=np.float32),
            q=np.zeros(6, np.int8),
            c=np.float32(0.1),
            r=np.array(128, np.uint8),
        ),
        case(
            "matmul_bits",
            node("MatMulNBits", "x w s", "y", domain=MICROSOFT, K=32, N=5, bits=4, block_size=16),
            {"x": (3, 4, 32)},
            w=integers(0, 255, (5, 2, 8), "uint8"),
            s=(10,),
        ),
        case("einsum", node("Einsum", "x z", "y", equation="bhqd,bhkd->bhqk"),
             {"x": (2, 3, 4, 5), "z": (2, 3, 6, 5)}),
        case("einsum_moved", node("Einsum", "x z", "y", equation="bqhd,bkhd->bhqk"),
             {"x": (2, 4, 3, 5), "z": (2, 6, 3, 5)}),
        case("einsum_implicit", node("Einsum", "x z", "y", equation="ik,kj"),
             {"x": (4, 6), "z": (6, 5)}),
        case("einsum_turned", node("Einsum", "x", "y", equation="abc->cab"), {"x": (4, 3, 5)}),
    ]  # fmt: skip


def _pointwise() -> list[ReachCase]:
    x = {"x": (2, 4, 5, 6)}
    return [
        case("relu", node("Sigmoid", "x", "y"), x),
        case("add", node("Add", "x z", "y"), {**x, "z": (4, 1, 6)}),
        case("both_broadcast", node("Mul", "x z", "y"), {"x": (2, 1, 5, 1), "z": (4, 1, 6)}),
        case("where", node("Where", "c x z", "y"), {**x, "z": (6,), "c": np.eye(5, 6) > 0}),
        case("prelu", node("PRelu", "x s", "y"), x, s=(4, 1, 1)),
        case(
            "batch_norm",
            node("BatchNormalization", "x s b m v", "y"),
            x,
            s=(4,),
            b=(4,),
            m=(4,),
            v=np.array([1, 2, 3, 4], np.float32),
        ),
        case(
            "quantize",
            node("QuantizeLinear", "x s p", "y", axis=-2),
            x,
            s=np.linspace(0.05, 0.1, 5, dtype=np.float32),
            p=integers(0, 9, (5,), "uint8"),
        ),
        case(
            "dequantize",
            node("DequantizeLinear", "x s p", "y", axis=1),
            {"x": integers(0, 255, (2, 4, 5, 6), "uint8")},
            s=(4,),
            p=integers(0, 9, (4,), "uint8"),
        ),
        case(
            "dequantize_blocks",
            node("DequantizeLinear", "x s", "y", axis=1, block_size=2),
            {"x": integers(0, 255, (3, 6, 5), "uint8")},
            s=(3, 3, 5),
            opset=21,
        ),
        case("bias_gelu", node("BiasGelu", "x b", "y", domain=MICROSOFT), x, b=(6,)),
    ]


def _movement() -> list[ReachCase]:
    x = {"x": (2, 6, 4, 5)}
    reshape: Callable[..., ReachCase] = lambda name, *shape: case(  # noqa: E731
        f"reshape_{name}", node("Reshape", "x s", "y"), x, s=np.array(shape)
    )
    return [
        reshape("split", 2, 2, 3, 4, 5),
        reshape("merge", 2, 6, 20),
        reshape("front", 12, 20),
        reshape("ones", 1, 2, 6, 1, 20),
        reshape("uneven", 2, 8, 15),
        reshape("coprime", 10, 24),
        case("flatten", node("Flatten", "x", "y", axis=2), x),
        case("transpose", node("Transpose", "x", "y", perm=[0, 3, 1, 2]), x),
        case("transpose_plain", node("Transpose", "x", "y"), x),
        case("concat", node("Concat", "x z x", "y", axis=2), {**x, "z": (2, 6, 3, 5)}),
        case("split", node("Split", "x", "y z", axis=1, num_outputs=2), x),
        case("split_one", node("Split", "x", "y", axis=1, num_outputs=1), x),
        case("expand", node("Expand", "x s", "y"), {"x": (3, 1, 5)}, s=np.array([2, 3, 4, 1])),
        case("tile", node("Tile", "x r", "y"), {"x": (3, 4)}, r=np.array([3, 2])),
        *(
            case(f"d2s_{mode}", node("DepthToSpace", "x", "y", blocksize=2, mode=mode),
                 {"x": (1, 8, 3, 4)})
            for mode in ("DCR", "CRD")
        ),
        case("s2d", node("SpaceToDepth", "x", "y", blocksize=2), {"x": (1, 3, 6, 4)}),
    ]  # fmt: skip


def _normalization() -> list[ReachCase]:
    x = {"x": (2, 6, 4, 5)}
    return [
        case("softmax", node("Softmax", "x", "y", axis=-2), x),
        case("softmax_flat", node("Softmax", "x", "y", axis=2), x, opset=11),
        case("log_softmax", node("LogSoftmax", "x", "y", axis=1), x),
        case("layer_norm", node("LayerNormalization", "x s b", "y m", axis=-2), x,
             s=(4, 5), b=(5,)),
        case("instance", node("InstanceNormalization", "x s b", "y"), x, s=(6,), b=(6,)),
        case("group_norm", node("GroupNormalization", "x s b", "y", num_groups=3), x, s=(6,),
             b=(6,), opset=21, result=(2, 6, 4, 5)),
        case("lp_norm", node("LpNormalization", "x", "y", axis=1), x),
        case("mean_variance", node("MeanVarianceNormalization", "x", "y"), x, result=(2, 6, 4, 5)),
        case("reduce_mean", node("ReduceMean", "x a", "y"), x, a=np.array([2, -1])),
        case("reduce_dropped", node("ReduceSum", "x a", "y", keepdims=0), x, a=np.array([1])),
        case("reduce_all", node("ReduceMax", "x", "y"), x),
        case("reduce_old", node("ReduceL2", "x", "y", axes=[1, 3], keepdims=0), x, opset=13),
        case("arg_max", node("ArgMax", "x", "y", axis=1, keepdims=0), x),
        case("lrn", node("LRN", "x", "y", size=5), x),
        case("cum_sum", node("CumSum", "x a", "y"), x, a=np.array(2)),
        case("cum_prod", node("CumProd", "x a", "y"), x, a=np.array(1), opset=26),
        case("top", node("TopK", "x k", "y i", axis=1), x, k=np.array([3])),
    ]  # fmt: skip


def _indexing() -> list[ReachCase]:
    x = {"x": (2, 6, 9, 5)}

    def slices(
        name: str, starts: list[int], ends: list[int], axes: list[int], steps: list[int]
    ) -> ReachCase:
        return case(
            f"slice_{name}",
            node("Slice", "x s e a t", "y"),
            x,
            s=np.array(starts),
            e=np.array(ends),
            a=np.array(axes),
            t=np.array(steps),
        )

    def pads(mode: str, name: str, *amounts: int) -> ReachCase:
        return case(
            f"pad_{mode}_{name}",
            node("Pad", "x p _ a", "y", mode=mode),
            x,
            p=np.array(amounts),
            a=np.array([2, 3]),
        )

    return [
        slices("rows", [1, -4], [6, 99], [1, 2], [1, 1]),
        slices("steps", [1, 0], [8, 5], [2, 3], [3, 2]),
        slices("backwards", [-1, 99], [-99, 0], [2, 1], [-1, -2]),
        pads("constant", "around", 2, 1, 3, 0),
        pads("constant", "cut", -2, 1, 3, -1),
        *(pads(mode, "around", 2, 3, 3, 1) for mode in ("reflect", "edge", "wrap")),
        pads("edge", "cut", -2, 1, 3, -1),
        case("crop_or_pad", node("CenterCropPad", "x s", "y"), x, s=np.array([3, 5, 12, 2])),
        case("gather_rows", node("Gather", "x i", "y", axis=1), x, i=np.array([4, -1, 0, 2])),
        case("gather_one", node("Gather", "x i", "y", axis=2), x, i=np.array(-2)),
        case("gather_matrix", node("Gather", "x i", "y", axis=2), x, i=np.array([[1, 2], [5, 3]])),
        case(
            "gather_by_data",
            node("Gather", "x i", "y", axis=1),
            {**x, "i": integers(0, 5, (3, 4), "int64")},
        ),
        case(
            "gather_elements",
            node("GatherElements", "x i", "y", axis=1),
            {"x": (4, 6, 3), "i": integers(0, 5, (3, 5, 3), "int64")},
        ),
        case(
            "gather_nd",
            node("GatherND", "x i", "y", batch_dims=1),
            {"x": (2, 6, 5), "i": integers(0, 5, (2, 3, 1), "int64")},
        ),
        case(
            "scatter_elements",
            node("ScatterElements", "x i u", "y", axis=1),
            {"x": (4, 6, 3), "u": (3, 2, 3)},
            i=np.array([[[0, 1, 2], [3, 4, 5]]] * 3),
        ),
        case(
            "scatter_nd",
            node("ScatterND", "x i u", "y"),
            {"x": (4, 5, 6), "u": (2, 5, 6)},
            i=np.array([[1], [3]]),
        ),
        case("one_hot", node("OneHot", "i d v", "y", axis=1),
             {"i": integers(0, 5, (3, 4), "int64")}, d=np.array(6), v=(2,)),
        case("reverse", node("ReverseSequence", "x l", "y", batch_axis=0, time_axis=1),
             {"x": (3, 5, 4)}, l=np.array([2, 5, 3])),
        case("grid", node("GridSample", "x g", "y"), {"x": (2, 3, 5, 4), "g": (2, 6, 3, 2)}),
    ]  # fmt: skip


def _resizing() -> list[ReachCase]:
    x: dict[str, Tensor] = {"x": (1, 2, 9, 7)}
    found = []
    for mode, how, sizes in (
        ("nearest", "half_pixel", (18, 14)),
        ("nearest", "asymmetric", (13, 5)),
        ("nearest", "align_corners", (5, 11)),
        ("nearest", "tf_half_pixel_for_nn", (6, 11)),
        ("nearest", "half_pixel_symmetric", (6, 10)),
        ("linear", "half_pixel", (18, 5)),
        ("linear", "asymmetric", (13, 4)),
        ("linear", "align_corners", (17, 4)),
        ("linear", "pytorch_half_pixel", (1, 11)),
        ("cubic", "half_pixel", (18, 5)),
        ("cubic", "align_corners", (5, 11)),
    ):
        nodes = node("Resize", "x _ _ s", "y", mode=mode, coordinate_transformation_mode=how)
        found.append(case(f"resize_{mode}_{how}_{sizes[0]}", nodes, x, s=np.array([1, 2, *sizes])))
    for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        nodes = node("Resize", "x _ s", "y", nearest_mode=rounding,
                     coordinate_transformation_mode="half_pixel")  # fmt: skip
        found.append(case(f"resize_{rounding}", nodes, x, s=np.array([1, 1, 1.4, 0.5], np.float32)))
    for mode in ("linear", "cubic"):
        nodes = node("Resize", "x _ _ s", "y", mode=mode, antialias=1)
        found.append(case(f"resize_smooth_{mode}", nodes, x, s=np.array([1, 2, 4, 3])))
    nodes = node("Resize", "x r _ s", "y", mode="linear", extrapolation_value=3.0,
                 coordinate_transformation_mode="tf_crop_and_resize")  # fmt: skip
    region = np.array([0, 0, -0.2, 0.3, 1, 1, 0.8, 1.4], np.float32)
    found.append(case("resize_crop", nodes, x, r=region, s=np.array([1, 2, 7, 8])))
    scales = np.array([1, 1, 2, 1.5], np.float32)
    found.append(case("resize_old", node("Resize", "x s", "y"), x, opset=10, s=scales))
    found.append(case("upsample", node("Upsample", "x s", "y"), x, opset=9, s=scales))
    return found


def _attention() -> list[ReachCase]:
    several = {"q": (2, 4, 3, 5), "k": (2, 2, 6, 5), "v": (2, 2, 6, 4)}
    flat = {"q": (2, 3, 20), "k": (2, 6, 10), "v": (2, 6, 8)}
    microsoft = {"q": (2, 3, 8), "k": (2, 6, 8), "v": (2, 6, 8)}
    packed: dict[str, Any] = {"w": (6, 24), "b": (24,)}
    return [
        case("attention", node("Attention", "q k v", "y", is_causal=1), several, opset=23),
        case("attention_mask", node("Attention", "q k v m", "y"), several, opset=23,
             m=(1, 4, 3, 6)),
        case("attention_flat", node("Attention", "q k v m", "y", q_num_heads=4, kv_num_heads=2),
             flat, opset=23, m=(3, 6)),
        case("multi_head", node("MultiHeadAttention", "q k v b _ a", "y", domain=MICROSOFT,
             num_heads=4), {**microsoft, "a": (1, 4, 3, 6)}, b=(24,)),
        case("packed_weights", node("Attention", "x w b", "y", domain=MICROSOFT, num_heads=4),
             {"x": (2, 4, 6)}, **packed),
        case("rotary", node("RotaryEmbedding", "x c s", "y", num_heads=2), {"x": (2, 3, 8)},
             c=(2, 3, 2), s=(2, 3, 2), opset=23),
        case("rotary_heads", node("RotaryEmbedding", "x c s p", "y"), {"x": (2, 4, 3, 6)},
             c=(9, 3), s=(9, 3), p=np.array([[1, 2, 3], [4, 5, 6]]), opset=23),
    ]  # fmt: skip


def _recurrent() -> list[ReachCase]:
    x: dict[str, Tensor] = {"x": (5, 3, 2)}

    def layer(op: str, gates: int, outputs: str, directions: int, **attributes: Any) -> ReachCase:
        hidden = 4
        return case(
            f"{op}_{len(outputs)}_{directions}".lower(),
            node(op, "x w r b _ h", outputs, hidden_size=hidden, **attributes),
            x,
            w=(directions, gates * hidden, 2),
            r=(directions, gates * hidden, hidden),
            b=(directions, 2 * gates * hidden),
            h=(directions, 3, hidden),
        )

    return [
        layer("LSTM", 4, "y", 2, direction="bidirectional"),
        layer("LSTM", 4, "_ y c", 1),
        layer("GRU", 3, "y", 1, direction="reverse"),
        layer("GRU", 3, "_ y", 2, direction="bidirectional"),
        layer("RNN", 1, "y", 1),
    ]


def _contributed() -> list[ReachCase]:
    x: dict[str, Tensor] = {"x": (2, 3, 4, 6)}
    bytes_ = integers(0, 255, (2, 3, 4, 6), "uint8")
    row = integers(0, 255, (6,), "uint8", 8)
    plane = integers(0, 255, (1, 3, 1, 6), "uint8", 9)
    scale, zero = np.float32(0.02), np.array(128, np.uint8)
    wide, low = np.float32(0.05), np.array(100, np.uint8)

    def contributed(name: str, op: str, inputs: str, entering: dict[str, Tensor], *,
                    outputs: str = "y", attributes: dict[str, Any] | None = None,
                    **weights: Tensor) -> ReachCase:  # fmt: skip
        made = node(op, inputs, outputs, domain=MICROSOFT, **(attributes or {}))
        return case(name, made, entering, **weights)

    quantised: dict[str, Tensor] = {"s": scale, "z": zero, "t": wide, "v": low}
    found = [
        contributed("fast_gelu", "FastGelu", "x b", x, b=(6,)),
        contributed("quick_gelu", "QuickGelu", "x", x),
        contributed(
            "fused_gemm",
            "FusedGemm",
            "x w b",
            {"x": (5, 6)},
            w=(6, 7),
            b=(7,),
            attributes={"activation": "Relu"},
        ),
        contributed(
            "matmul_to_float",
            "MatMulIntegerToFloat",
            "x w a c z q b",
            {"x": integers(0, 255, (3, 5, 8), "uint8")},
            a=np.float32(0.1),
            w=integers(0, 255, (8, 6), "uint8", 3),
            c=(6,),
            z=zero,
            q=integers(0, 255, (6,), "uint8", 5),
            b=(6,),
        ),
        contributed(
            "qgemm",
            "QGemm",
            "x s z w c q b t v",
            {"x": integers(0, 255, (5, 8), "uint8")},
            w=integers(-128, 127, (8, 6), "int8", 3),
            c=np.full(6, 0.02, np.float32),
            q=np.zeros(6, np.int8),
            b=integers(-99, 99, (6,), "int32"),
            s=scale,
            z=zero,
            t=np.float32(0.5),
            v=zero,
        ),
        contributed(
            "qlinear_add", "QLinearAdd", "x s z r s z t v", {"x": bytes_, "r": row}, **quantised
        ),
        contributed(
            "qlinear_mul", "QLinearMul", "x s z r s z t v", {"x": bytes_, "r": plane}, **quantised
        ),
        contributed(
            "qlinear_where",
            "QLinearWhere",
            "c x s z r s z t v",
            {"x": bytes_, "r": row, "c": np.eye(4, 6) > 0},
            **quantised,
        ),
        contributed(
            "qlinear_sigmoid",
            "QLinearSigmoid",
            "x s z t v",
            {"x": bytes_},
            s=scale,
            z=zero,
            t=np.float32(0.004),
            v=np.array(0, np.uint8),
        ),
        contributed("qlinear_leaky", "QLinearLeakyRelu", "x s z t v", {"x": bytes_}, **quantised),
        contributed(
            "qlinear_softmax",
            "QLinearSoftmax",
            "x s z t v",
            {"x": bytes_},
            attributes={"axis": 2, "opset": 13},
            **quantised,
        ),
        contributed(
            "qlinear_concat",
            "QLinearConcat",
            "t v x s z r s z",
            {"x": bytes_, "r": integers(0, 255, (2, 2, 4, 6), "uint8", 9)},
            attributes={"axis": 1},
            **quantised,
        ),
        contributed(
            "qlinear_average",
            "QLinearAveragePool",
            "x s z t v",
            {"x": bytes_},
            attributes={"kernel_shape": [2, 3], "pads": [1, 1, 0, 1]},
            **quantised,
        ),
        contributed(
            "qlinear_global",
            "QLinearGlobalAveragePool",
            "x s z t v",
            {"x": bytes_},
            attributes={"channels_last": 1},
            **quantised,
        ),
        contributed(
            "nhwc_pool",
            "NhwcMaxPool",
            "x",
            {"x": bytes_},
            attributes={"kernel_shape": [2, 3], "strides": [1, 1]},
        ),
        contributed(
            "simplified_norm",
            "SkipSimplifiedLayerNormalization",
            "x k g",
            {"x": (2, 5, 8), "k": (2, 5, 8)},
            g=(8,),
        ),
        contributed(
            "skip_norm",
            "SkipLayerNormalization",
            "x k g b a",
            {"x": (2, 5, 8), "k": (2, 5, 8)},
            g=(8,),
            b=(8,),
            a=(8,),
        ),
        contributed(
            "skip_norm_sum",
            "SkipLayerNormalization",
            "x k g b",
            {"x": (2, 5, 8), "k": (2, 5, 8)},
            outputs="y _ _ u",
            g=(8,),
            b=(8,),
        ),
        contributed(
            "grouped_query",
            "GroupQueryAttention",
            "q k v _ _ l n",
            {"q": (2, 4, 32), "k": (2, 4, 16), "v": (2, 4, 16)},
            outputs="y a c",
            attributes={"num_heads": 4, "kv_num_heads": 2},
            l=np.array([3, 3], np.int32),
            n=np.array(4, np.int32),
        ),
        contributed(
            "qattention",
            "QAttention",
            "x w b s c _ z q",
            {"x": integers(0, 255, (2, 4, 8), "uint8")},
            w=integers(-128, 127, (8, 24), "int8", 3),
            s=scale,
            c=scale,
            b=(24,),
            z=zero,
            q=np.array(0, np.int8),
            attributes={"num_heads": 2},
        ),
        contributed(
            "rotary_microsoft",
            "RotaryEmbedding",
            "x p c s",
            {"x": (2, 3, 8)},
            p=np.array([[1, 2, 3], [4, 5, 6]]),
            c=(9, 2),
            s=(9, 2),
            attributes={"num_heads": 2},
        ),
        case("simplified", node("SimplifiedLayerNormalization", "x s", "y", axis=-1), x, s=(6,)),
        case("global_lp", node("GlobalLpPool", "x", "y", p=2), x),
        case(
            "max_regions",
            node("MaxRoiPool", "x r", "y", pooled_shape=[2, 2]),
            {"x": (6, 2, 4, 6)},
            mild=True,
            r=np.array([[0, 0, 0, 3, 2], [1, 1, 1, 5, 3], [0, 2, 0, 4, 3]], np.float32),
        ),
    ]
    for op in ("ReduceL1", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd"):
        positive: dict[str, Tensor] = {"x": np.abs(values(np.random.default_rng(1), (3, 4, 5))) + 1}
        found.append(case(op.lower(), node(op, "x", "y", axes=[1]), positive, opset=13, mild=True))
    return found


def _groups() -> list[ReachCase]:
    return [
        case(
            "conv_add_relu",
            [
                node("Conv", "x w b", "c", pads=[1, 1, 1, 1]),
                node("Add", "c z", "d"),
                node("Relu", "d", "y"),
            ],
            {"x": (1, 3, 7, 6), "z": (1, 4, 7, 6)},
            w=(4, 3, 3, 3),
            b=(4,),
        ),
        case(
            "residual_of_itself",
            [node("MatMul", "x w", "c"), node("Sigmoid", "c", "s"), node("Mul", "c s", "m"),
             node("Add", "m x", "y")],
            {"x": (3, 4, 6)},
            w=(6, 6),
        ),
        case(
            "batch_norm_behind",
            [node("Conv", "x w", "c", group=2), node("BatchNormalization", "c s b m v", "d"),
             node("Clip", "d lo hi", "y")],
            {"x": (1, 4, 6, 5)},
            w=(6, 2, 3, 3),
            s=(6,), b=(6,), m=(6,), v=np.arange(1, 7, dtype=np.float32),
            lo=np.float32(-9), hi=np.float32(9),
        ),
        case(
            "turned_weight",
            [node("Transpose", "w", "t", perm=[1, 0]), node("MatMul", "x t", "c"),
             node("Add", "c b", "y")],
            {"x": (2, 5, 6)},
            w=(7, 6),
            b=(7,),
        ),
        case(
            "reshaped_weight",
            [node("Reshape", "w s", "t"), node("Conv", "x t", "y", pads=[0, 1, 0, 1])],
            {"x": (1, 2, 6, 5)},
            w=(4, 18),
            s=np.array([4, 2, 3, 3]),
        ),
        case(
            "quantised",
            [
                node("DequantizeLinear", "x xs xz", "xf"),
                node("DequantizeLinear", "w ws wz", "wf", axis=0),
                node("Conv", "xf wf b", "c", pads=[1, 1, 1, 1]),
                node("Relu", "c", "d"),
                node("QuantizeLinear", "d ys yz", "y"),
            ],
            {"x": integers(0, 255, (1, 3, 6, 5), "uint8")},
            xs=np.float32(0.02), xz=np.array(128, np.uint8),
            w=integers(-128, 127, (4, 3, 3, 3), "int8", 9),
            ws=np.array([0.01, 0.02, 0.03, 0.02], np.float32), wz=np.zeros(4, np.int8),
            b=(4,),
            ys=np.float32(0.1), yz=np.array(0, np.uint8),
        ),
        case(
            "higher_rank_behind",
            [node("MatMul", "x w", "c"), node("Add", "c z", "y")],
            {"x": (4, 6), "z": (1, 1, 4, 5)},
            w=(6, 5),
        ),
    ]  # fmt: skip


CASES: tuple[ReachCase, ...] = (
    *_windows(),
    *_matrices(),
    *_pointwise(),
    *_movement(),
    *_normalization(),
    *_indexing(),
    *_resizing(),
    *_attention(),
    *_recurrent(),
    *_contributed(),
    *_groups(),
)
