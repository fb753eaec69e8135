"""What is known of operator types: how they treat elements, bytes and storage."""

# One output element from one element of each operand (with broadcasting).
UNARY = frozenset(
    """Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Cast CastLike Ceil Celu Clip Cos Cosh
    DequantizeLinear Elu Erf Exp Floor Gelu HardSigmoid HardSwish IsInf IsNaN LeakyRelu Log Mish
    Neg Not QuantizeLinear Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus
    Softsign Sqrt Swish Tan Tanh ThresholdedRelu QuickGelu FastGelu BiasGelu
    QLinearSigmoid QLinearLeakyRelu ScaledSiLU""".split()
)
BINARY = frozenset(
    """Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less
    LessOrEqual Max Mean Min Mod Mul Or Pow PRelu Sub Sum Where Xor QLinearAdd QLinearMul
    QLinearWhere""".split()
)
# All operators that work element by element.
ELEMENTWISE = UNARY | BINARY | {"BatchNormalization"}

# Matrix work with a fused output pipeline on practically every accelerator.
MATRIX = frozenset(
    """Conv ConvTranspose Gemm MatMul ConvInteger MatMulInteger QLinearConv QLinearMatMul QGemm
    FusedConv FusedGemm FusedMatMul MatMulNBits MatMulIntegerToFloat DynamicQuantizeMatMul
    FusedMatMulActivation TransposeMatMul GemmFastGelu MatMulInteger16 MatMulBnb4 MatMulFpQ4
    Einsum""".split()
)
# Four passes of the vector unit; three for the softmaxes among them.
NORMALIZATION = frozenset(
    """GroupNormalization InstanceNormalization LayerNormalization LpNormalization LRN
    MeanVarianceNormalization RMSNormalization SimplifiedLayerNormalization SkipLayerNormalization
    SkipSimplifiedLayerNormalization EmbedLayerNormalization Softmax LogSoftmax Hardmax
    QLinearSoftmax TrainingBatchNormalization""".split()
)
# Three passes of the vector unit.
SOFTMAXES = frozenset({"Softmax", "LogSoftmax", "Hardmax", "QLinearSoftmax"})
# From real numbers to integers that stand for them, and back.
QUANTIZATION = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
# One vector element per element of each window.
POOLING = frozenset(
    """AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool MaxUnpool
    QLinearAveragePool QLinearGlobalAveragePool NhwcMaxPool""".split()
)
# One vector element per input element.
REDUCTION = frozenset(
    """ArgMax ArgMin CumSum CumProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
    ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
    QLinearReduceMean""".split()
)
# Elements are moved rather than computed.
DATA_MOVEMENT = frozenset(
    """Col2Im Compress Concat ConstantOfShape DepthToSpace Expand EyeLike Gather GatherElements
    GatherND OneHot Pad Range Resize ReverseSequence ScatterElements ScatterND Scatter Slice
    SpaceToDepth Split Tile Transpose Trilu Upsample QLinearConcat CenterCropPad TensorScatter
    """.split()
)
# Operators whose result is their first operand with some elements put in; position of these.
PATCHING = {
    "ScatterND": 2,
    "ScatterElements": 2,
    "Scatter": 2,
    "TensorScatter": 1,
}
# Operators that put rows into caches which they read: positions of a cache, and of its result.
CACHING = {
    "GroupQueryAttention": ((3, 1), (4, 2)),
}
# Operators with subgraphs.
CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})
# The result has the bytes of the first input in the same order.
VIEWS = frozenset("Reshape Flatten Squeeze Unsqueeze Identity Dropout".split())
# The operands of element-wise operators that are read element by element, where not all are:
# scales, zero points, statistics and limits are read again for every element.
DATA_OPERANDS: dict[str, frozenset[int]] = {
    **dict.fromkeys(UNARY | {"BatchNormalization"}, frozenset({0})),
    "QLinearAdd": frozenset({0, 3}),
    "QLinearMul": frozenset({0, 3}),
    "QLinearWhere": frozenset({0, 1, 4}),
}
# The result depends on random numbers.
RANDOM = frozenset(
    """RandomNormal RandomNormalLike RandomUniform RandomUniformLike Multinomial Bernoulli
    TrainingDropout BiasDropout BitmaskDropout BitmaskBiasDropout Sampling SampleOp""".split()
)

# Inputs that are parameters of the instruction, not operands in memory, when they are constant.
# Scales and zero points are operands: those of more than one element take bytes like other weights.
PARAMETER_INPUTS: dict[str, frozenset[int]] = {
    op: frozenset(range(1, 9))
    for op in """Clip Expand Pad Reshape Resize Slice Split Squeeze Tile TopK Unsqueeze Upsample
    CumSum CumProd Trilu OneHot CenterCropPad Dropout ReduceL1
    ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare NonMaxSuppression CastLike DynamicQuantizeLinear ImageScaler""".split()
}
PARAMETER_INPUTS |= {
    "Range": frozenset({0, 1, 2}),
    "ConstantOfShape": frozenset({0}),
}

# Position of the bias among the inputs of matrix work.
BIAS_INPUTS: dict[str, int] = {
    "Conv": 2,
    "FusedConv": 2,
    "ConvTranspose": 2,
    "Gemm": 2,
    "FusedGemm": 2,
}
# Inputs of which only the selected elements are read: as many as the output has.
PARTIALLY_READ = frozenset("Gather GatherElements GatherND Slice Compress".split())

# Groups of operators that run as one, without memory for what is between them: for each class of
# first operator, the classes that may follow on its single result.
FUSION_RULES: dict[str, frozenset[str]] = {
    "matrix": frozenset({"elementwise"}),
    "elementwise": frozenset({"elementwise"}),
    "normalization": frozenset({"elementwise"}),
    "pooling": frozenset({"elementwise"}),
    "reduction": frozenset({"elementwise"}),
    "data-movement": frozenset({"quantize"}),
    "view": frozenset({"quantize"}),
}
# Nodes of one group at most.
MAX_FUSED_NODES = 16


def fusion_class(op_type: str) -> str:
    """Class of an operator type in `FUSION_RULES`; `other` for those that never fuse."""
    for name, members in (
        ("matrix", MATRIX),
        ("elementwise", ELEMENTWISE),
        ("normalization", NORMALIZATION),
        ("pooling", POOLING),
        ("reduction", REDUCTION),
        ("data-movement", DATA_MOVEMENT),
        ("view", VIEWS),
    ):
        if op_type in members:
            return name
    return "other"


def may_follow(first: str, then: str) -> bool:
    """Whether an operator of type `then` may join a group that began with type `first`."""
    allowed = FUSION_RULES.get(fusion_class(first), frozenset())
    return ("elementwise" in allowed and then in ELEMENTWISE) or (
        "quantize" in allowed and then == "QuantizeLinear"
    )
