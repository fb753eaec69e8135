"""The table of rules, and the reach of one ONNX node."""

from collections.abc import Mapping
from dataclasses import replace

import onnx

from ullage.compiler.importer import optypes
from ullage.compiler.importer.bounds import Arrays
from ullage.compiler.importer.operators.identity import attributes, operator_key, version_of
from ullage.compiler.importer.reach import (
    attention,
    indexing,
    matrix,
    movement,
    normalization,
    pointwise,
    recurrent,
    resize,
    windows,
)
from ullage.compiler.importer.reach.certain import with_certain
from ullage.compiler.importer.reach.site import Rule, Site
from ullage.compiler.importer.scope import TensorType
from ullage.compiler.ir.reach import InputReach, Reach, WorkDimension

# Operator -> rule. What is not here runs whole.
RULES: dict[str, Rule] = {
    **{
        op: pointwise.elementwise(
            None if op not in optypes.DATA_OPERANDS else tuple(sorted(optypes.DATA_OPERANDS[op]))
        )
        for op in optypes.ELEMENTWISE
    },
    # The second operand is a bias along the last axis.
    **dict.fromkeys(("BiasGelu", "FastGelu"), pointwise.elementwise()),
    "BatchNormalization": pointwise.per_channel,
    "PRelu": pointwise.parametric,
    "QuantizeLinear": pointwise.quantization,
    "DequantizeLinear": pointwise.quantization,
    "Conv": windows.convolution(),
    "FusedConv": windows.convolution(),
    "ConvInteger": windows.convolution(per_channel=(3,), bias=-1),
    "QLinearConv": windows.convolution(kernel=3, per_channel=(4, 5), bias=8),
    "ConvTranspose": windows.transposed,
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool", "NhwcMaxPool"), windows.pool),
    "QLinearAveragePool": windows.pool,
    **dict.fromkeys(
        ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "QLinearGlobalAveragePool"),
        windows.global_pool,
    ),
    **dict.fromkeys(("RoiAlign", "MaxRoiPool"), windows.region_pool),
    "MatMul": matrix.matrix_product(),
    "Gemm": matrix.matrix_product(added=(2,)),
    "FusedGemm": matrix.matrix_product(added=(2,)),
    "FusedMatMul": matrix.matrix_product(),
    "MatMulInteger": matrix.matrix_product(per_row=(2,), per_column=(3,)),
    "MatMulIntegerToFloat": matrix.matrix_product(per_row=(2, 4), per_column=(3, 5), added=(6,)),
    "QLinearMatMul": matrix.matrix_product(right=3, per_row=(1, 2, 6, 7), per_column=(4, 5)),
    "QGemm": matrix.matrix_product(right=3, per_column=(4, 5), added=(6,)),
    "MatMulNBits": matrix.packed_product,
    "Einsum": matrix.einsum,
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), movement.view),
    **dict.fromkeys(("Identity", "Trilu"), movement.unchanged),
    "Dropout": movement.dropout,
    "Transpose": movement.transpose,
    **dict.fromkeys(("Concat", "QLinearConcat"), movement.concat),
    "Split": movement.split,
    "Expand": movement.expand,
    "Tile": movement.tile,
    "DepthToSpace": movement.depth_to_space,
    "SpaceToDepth": movement.space_to_depth,
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax", "QLinearSoftmax"), normalization.softmax),
    **dict.fromkeys(
        ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"),
        normalization.from_axis,
    ),
    **dict.fromkeys(
        ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"), normalization.last_axis
    ),
    "InstanceNormalization": normalization.instance,
    "GroupNormalization": normalization.grouped,
    "LpNormalization": normalization.over_axis,
    "MeanVarianceNormalization": normalization.mean_variance,
    "LRN": normalization.local_response,
    **{op: normalization.reduction for op in optypes.REDUCTION if op.startswith("Reduce")},
    **dict.fromkeys(("ArgMax", "ArgMin"), normalization.extreme_index),
    **dict.fromkeys(("CumSum", "CumProd"), normalization.running),
    "TopK": normalization.largest,
    "Slice": indexing.slice_,
    "Pad": indexing.pad,
    "CenterCropPad": indexing.crop_or_pad,
    "Gather": indexing.gather,
    "GatherElements": indexing.gather_elements,
    "GatherND": indexing.gather_nd,
    **dict.fromkeys(("ScatterElements", "Scatter"), indexing.scatter_elements),
    "ScatterND": indexing.scatter_nd,
    "OneHot": indexing.one_hot,
    "ReverseSequence": indexing.reverse_sequence,
    "GridSample": indexing.grid_sample,
    **dict.fromkeys(("Resize", "Upsample"), resize.resize),
    "Attention": attention.attention,
    **dict.fromkeys(
        ("com.microsoft.Attention", "QAttention", "MultiHeadAttention", "GroupQueryAttention"),
        attention.contributed,
    ),
    **dict.fromkeys(("RotaryEmbedding", "com.microsoft.RotaryEmbedding"), attention.rotary),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), recurrent.recurrent),
}

# Operators whose results beside the first are cut along the same axes.
PARALLEL_RESULTS = frozenset(
    """MaxPool NhwcMaxPool LayerNormalization SimplifiedLayerNormalization SkipLayerNormalization
    SkipSimplifiedLayerNormalization Split Dropout TopK LSTM GRU RNN Attention
    com.microsoft.Attention QAttention MultiHeadAttention GroupQueryAttention""".split()
)
# Operators whose rules look at lengths of axes one by one, so that axes whose lengths depend on
# data leave the others as they are.
AXIS_BY_AXIS = optypes.ELEMENTWISE | optypes.NORMALIZATION | optypes.MATRIX - {"Einsum"}


def reach_of(
    proto: onnx.NodeProto,
    opsets: Mapping[str, int],
    types: Mapping[str, TensorType],
    arrays: Arrays,
) -> Reach | None:
    """How a node can be cut, over its own tensors; None where there is no rule.

    Axes whose lengths depend on data are not cut.

    Args:
        proto: the node.
        opsets: version of each operator domain.
        types: types of its tensors.
        arrays: values of small constants.
    """
    key = operator_key(proto, opsets)
    rule = RULES.get(key)
    if rule is None or not proto.output:
        return None
    names = [name for name in (*proto.input, *proto.output) if name]
    if any(name not in types for name in names):
        return None
    if any(0 in types[name].shape for name in names if name not in arrays):
        return None  # of an empty tensor there are no parts
    if any(types[name].is_upper_bound for name in names) and key not in AXIS_BY_AXIS:
        return None
    results = [name for name in proto.output if name]
    if len(results) > 1 and key not in PARALLEL_RESULTS:
        return None
    site = Site(
        op=key,
        version=version_of(proto, opsets),
        attributes=attributes(proto, opsets),
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        input_types=tuple(types[name] if name else None for name in proto.input),
        output_types=tuple(types[name] if name else None for name in proto.output),
        arrays=arrays,
    )
    reach = rule(site)
    if reach is None:
        return None
    return _exact(with_certain(site, reach), types, [types[name] for name in results])


def _exact(reach: Reach, types: Mapping[str, TensorType], results: list[TensorType]) -> Reach:
    """The reach without axes whose lengths depend on data or differ between results."""
    first = results[0]
    axes: tuple[WorkDimension, ...] = tuple(
        label
        if all(
            axis < len(r.shape) and r.is_exact(axis) and r.shape[axis] == first.shape[axis]
            for r in results
        )
        else "none"
        for axis, label in enumerate(reach.axes)
    )
    inputs = tuple(_exact_input(entry, types[entry.name]) for entry in reach.inputs)
    return replace(reach, axes=axes, inputs=inputs)


def _exact_input(entry: InputReach, tensor_type: TensorType) -> InputReach:
    """The same, axes whose lengths depend on data read whole, and nothing of them for sure."""
    if all(tensor_type.is_exact(axis) for axis in range(len(entry.axes))):
        return entry
    maps = tuple(m if tensor_type.is_exact(axis) else None for axis, m in enumerate(entry.axes))
    return replace(entry, axes=maps, certain=None)
