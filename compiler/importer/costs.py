"""Work of one ONNX node: multiply-accumulates, vector elements, matrix shapes.

A MAC is one multiplication with accumulation. The vector unit is charged one element for

    each output element and pass    one pass element-wise, 3 for softmax, 4 for normalisations
    each input element              of a reduction
    each element of a window        of a pooling
    each element searched, each index found    by NonZero
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from typing import Any

from ullage.compiler.importer import optypes
from ullage.compiler.importer.bounds import product
from ullage.compiler.importer.operators.attention import ATTENTIONS, attention_layout
from ullage.compiler.importer.operators.identity import key_in_words
from ullage.compiler.importer.scope import TensorType
from ullage.compiler.ir.graph import Gemm

# Types of a node's inputs or outputs; None for one that is absent.
Types = Sequence[TensorType | None]


@dataclass(frozen=True, slots=True)
class OperatorWork:
    """What a node costs.

    Attributes:
        gemms: matrix products; their m * k * n * count are the MACs.
        vector_elements: elements for the vector unit.
        extra_macs: MACs that are no matrix product of useful shape.
        fallback: reason why there is no rule for the cost, which is an estimate from element counts
            then; empty otherwise.
    """

    gemms: tuple[Gemm, ...] = ()
    vector_elements: int = 0
    extra_macs: int = 0
    fallback: str = ""

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.extra_macs + sum(g.m * g.k * g.n * g.count for g in self.gemms)


def work_of(op: str, attributes: Mapping[str, Any], inputs: Types, outputs: Types) -> OperatorWork:
    """Cost of a node of type `op` with decoded attributes and known types.

    An operator without a rule is costed by its elements and says so in `fallback`.
    """
    out = sum(t.elements for t in outputs if t is not None)
    read = sum(t.elements for t in inputs if t is not None)
    rule = MATRIX_RULES.get(op)
    if rule is not None:
        work = rule(attributes, inputs, outputs)
        if work is not None:
            return work
        return OperatorWork(
            vector_elements=out + read,
            fallback=f"{key_in_words(op)} with operands of unexpected rank",
        )
    if op in optypes.ELEMENTWISE or op in optypes.DATA_MOVEMENT or op in optypes.RANDOM:
        return OperatorWork(vector_elements=out)
    if op in optypes.NORMALIZATION:
        return OperatorWork(vector_elements=(3 if op in optypes.SOFTMAXES else 4) * out)
    if op in READ_ONCE:
        return OperatorWork(vector_elements=_elements(inputs, 0))
    if op in optypes.POOLING:
        return OperatorWork(
            vector_elements=_elements(outputs, 0)
            * window_of(op, attributes, _at(inputs, 0), _at(outputs, 0))
        )
    if op in SORTS:
        return OperatorWork(vector_elements=_elements(inputs, 0) * _log2(_elements(inputs, 0)))
    if op in ("RoiAlign", "MaxRoiPool", "GridSample"):
        samples = max(0, int(attributes.get("sampling_ratio", 0))) or 2  # 0: as many as fit
        return OperatorWork(vector_elements=4 * samples * samples * _elements(outputs, 0))
    if op == "NonMaxSuppression":
        scores = _elements(inputs, 1)
        return OperatorWork(vector_elements=scores * _log2(scores) + 8 * _elements(outputs, 0))
    if op in SCANS:
        return OperatorWork(vector_elements=read + out)
    if op in FREE:
        return OperatorWork()
    return OperatorWork(
        vector_elements=out + read,
        fallback=f"no cost rule for {key_in_words(op)}: costed by its bytes",
    )


# One half of the operand gates the other.
HALVING = frozenset({"BiasSplitGelu", "SwiGLU"})
# The work is one pass over the operand.
READ_ONCE = optypes.REDUCTION | HALVING | {"GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"}
# Every element is searched, and every index found is written.
SCANS = frozenset({"NonZero"})
# Elements are sorted: their number times its logarithm.
SORTS = frozenset({"TopK", "Unique"})
# No work at all.
FREE = frozenset({"Constant", "Shape", "Size"}) | optypes.VIEWS


def _at(types: Types, index: int) -> TensorType | None:
    return types[index] if index < len(types) else None


def _elements(types: Types, index: int) -> int:
    tensor_type = _at(types, index)
    return tensor_type.elements if tensor_type is not None else 0


def _log2(count: int) -> int:
    return max(1, (count - 1).bit_length())


def window_of(
    op: str, attributes: Mapping[str, Any], data: TensorType | None, out: TensorType | None
) -> int:
    """Elements of the window of a pool, from its input and its result."""
    kernel = attributes.get("kernel_shape")
    if kernel:
        return max(1, product([int(k) for k in kernel]))
    if "Global" not in op or data is None or out is None:
        return 1
    return max(1, data.elements // max(1, out.elements))


def _conv(
    attributes: Mapping[str, Any], inputs: Types, outputs: Types, weight: int = 1
) -> OperatorWork | None:
    """Convolution [N, C, *S] with kernel [M, C/group, *K]: per image and group [S', CK] x [CK, M].

    Output pixels are streamed (m), taps of the kernel are k, output channels are n.
    """
    kernel, out = inputs[weight], outputs[0]
    if kernel is None or out is None or len(kernel.shape) < 3 or len(out.shape) < 3:
        return None
    group = max(1, int(attributes.get("group", 1)))
    pixels = out.shape[1:-1] if attributes.get("channels_last", 0) else out.shape[2:]
    gemm = Gemm(
        m=out.shape[0] * product(pixels),
        k=product(kernel.shape[1:]),
        n=max(1, kernel.shape[0] // group),
        count=group,
    )
    return OperatorWork((gemm,))


def _conv_transpose(
    attributes: Mapping[str, Any], inputs: Types, outputs: Types
) -> OperatorWork | None:
    """Transposed convolution with kernel [C, M/group, *K]: every input pixel meets every tap."""
    del outputs
    data, kernel = inputs[0], inputs[1]
    if data is None or kernel is None or len(kernel.shape) < 3 or len(data.shape) < 3:
        return None
    group = max(1, int(attributes.get("group", 1)))
    gemm = Gemm(
        m=data.shape[0] * product(data.shape[2:]),
        k=max(1, kernel.shape[0] // group),
        n=product(kernel.shape[1:]),
        count=group,
    )
    return OperatorWork((gemm,))


def _product_of(
    a: TensorType | None, b: TensorType | None, *, trans_a: bool = False, trans_b: bool = False
) -> OperatorWork | None:
    """Batched matrix product with numpy's broadcasting; vectors gain an axis."""
    if a is None or b is None or not a.shape or not b.shape:
        return None
    left = a.shape if len(a.shape) > 1 else (1, *a.shape)
    right = b.shape if len(b.shape) > 1 else (*b.shape, 1)
    m, k = (left[-1], left[-2]) if trans_a else (left[-2], left[-1])
    n = right[-2] if trans_b else right[-1]
    if (
        product(right[:-2]) == 1
    ):  # one right operand for all: rows of the whole batch stream past it
        return OperatorWork((Gemm(m=m * product(left[:-2]), k=k, n=n),))
    pairs = zip_longest(reversed(left[:-2]), reversed(right[:-2]), fillvalue=1)
    return OperatorWork(
        (Gemm(m=m, k=k, n=n, count=product([y if x == 1 else x for x, y in pairs])),)
    )


def _matmul(
    attributes: Mapping[str, Any], inputs: Types, outputs: Types, second: int = 1
) -> OperatorWork | None:
    del outputs
    return _product_of(
        _batch_inside(inputs[0], attributes, "A"),
        _batch_inside(inputs[second], attributes, "B") if second < len(inputs) else None,
        trans_a=bool(attributes.get("transA", 0)),
        trans_b=bool(attributes.get("transB", 0)),
    )


def _batch_inside(
    operand: TensorType | None, attributes: Mapping[str, Any], side: str
) -> TensorType | None:
    """An operand of FusedMatMul whose `transBatch` moves the first axis before the last."""
    if operand is None or not attributes.get(f"transBatch{side}", 0):
        return operand
    shape = operand.shape
    return replace(operand, shape=(*shape[1:-1], shape[0], shape[-1]))


def _matmul_nbits(
    attributes: Mapping[str, Any], inputs: Types, outputs: Types
) -> OperatorWork | None:
    del outputs
    if inputs[0] is None:
        return None
    k, n = int(attributes.get("K", 0)), int(attributes.get("N", 0))
    return OperatorWork((Gemm(m=inputs[0].elements // max(1, k), k=k, n=n),))


def _einsum(attributes: Mapping[str, Any], inputs: Types, outputs: Types) -> OperatorWork | None:
    """Product over all index letters; one matrix product for two operands.

    Letters in both operands and the result count the products, those in both operands only are k,
    those in the left or right operand and the result are m or n.
    """
    equation = attributes.get("equation", b"")
    text = (equation.decode() if isinstance(equation, bytes) else str(equation)).replace(" ", "")
    terms = text.split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, operand in zip(terms, inputs, strict=False):
        if operand is None:
            return None
        letters = term.replace("...", "")
        if "..." in term:
            sizes["."] = max(
                sizes.get(".", 1), product(operand.shape[: len(operand.shape) - len(letters)])
            )
        if len(letters) > len(operand.shape):
            return None
        for letter, dim in zip(reversed(letters), reversed(operand.shape), strict=False):
            sizes[letter] = max(sizes.get(letter, 1), dim)
    if len(terms) == 1:
        return OperatorWork(vector_elements=_elements(inputs, 0))
    if len(terms) > 2:
        return OperatorWork(extra_macs=product(list(sizes.values())) * (len(terms) - 1))
    target = text.split("->")[1] if "->" in text else "".join(sorted(set(terms[0]) ^ set(terms[1])))
    a, b = set(terms[0].replace("...", ".")), set(terms[1].replace("...", "."))
    result_letters = set(target.replace("...", "."))

    def size(letters: set[str]) -> int:
        return product([sizes.get(letter, 1) for letter in letters])

    gemm = Gemm(
        m=size(a - b),
        k=size((a & b) - result_letters),
        n=size(b - a),
        count=size(a & b & result_letters),
    )
    del outputs
    return OperatorWork((gemm,))


def _recurrent(
    gates: int, hidden_axis: int = 2
) -> Callable[[Mapping[str, Any], Types, Types], OperatorWork | None]:
    """The rule of LSTM (4 gates), GRU (3) and RNN (1).

    Inputs are X [seq, batch, input] and R [dirs, gates * hidden, hidden]; `hidden_axis` is 1 where
    R lies the other way round.
    """

    def rule(attributes: Mapping[str, Any], inputs: Types, outputs: Types) -> OperatorWork | None:
        del attributes, outputs
        x, r = inputs[0], inputs[2] if len(inputs) > 2 else None
        if x is None or r is None or len(x.shape) != 3 or len(r.shape) != 3:
            return None
        steps, batch, width = x.shape
        directions, hidden = r.shape[0], r.shape[hidden_axis]
        return OperatorWork(
            (
                Gemm(m=steps * batch, k=width, n=gates * hidden, count=directions),
                Gemm(m=batch, k=hidden, n=gates * hidden, count=directions * steps),
            ),
            vector_elements=2 * gates * directions * steps * batch * hidden,
        )

    return rule


def _attention(attributes: Mapping[str, Any], inputs: Types, outputs: Types) -> OperatorWork | None:
    """ONNX's Attention: scaled dot product Q K^T, softmax, times V.

    Operands are [batch, heads, length, head size] or [batch, length, hidden]; cached keys are the
    fifth.
    """
    q, k = inputs[0], inputs[1] if len(inputs) > 1 else None
    if q is None or len(q.shape) < 3:
        return None
    heads = int(
        attributes.get(
            "q_num_heads", attributes.get("num_heads", q.shape[1] if len(q.shape) == 4 else 1)
        )
    )
    batch, queries = q.shape[0], q.shape[-2]
    width = q.shape[-1] if len(q.shape) == 4 else max(1, q.shape[-1] // max(1, heads))
    keys = k.shape[-2] if k is not None else queries
    cached = inputs[4] if len(inputs) > 4 else None
    if cached is not None and len(cached.shape) in (4, 5):
        keys += cached.shape[-2]
    result = outputs[0] if outputs else None
    value_width = width  # a value head may be wider than a key's
    if result is not None and len(result.shape) >= 3:
        value_width = result.shape[-1] // (1 if len(result.shape) == 4 else max(1, heads))
    return _attended(batch * heads, queries, keys, width, value_width)


def _attended(count: int, queries: int, keys: int, width: int, value_width: int) -> OperatorWork:
    """`count` heads: the products with keys and with values, and a softmax between them."""
    gemms = (
        Gemm(m=queries, k=width, n=keys, count=count),
        Gemm(m=queries, k=keys, n=value_width, count=count),
    )
    return OperatorWork(gemms, vector_elements=3 * count * queries * keys)


def _contrib_attention(
    op: str,
) -> Callable[[Mapping[str, Any], Types, Types], OperatorWork | None]:
    """The rule of an attention of com.microsoft; with packed weights also the projections."""

    def rule(attributes: Mapping[str, Any], inputs: Types, outputs: Types) -> OperatorWork | None:
        layout = attention_layout(op, attributes, inputs)
        if layout is None:
            return None
        keys = layout.keys
        cache = outputs[1] if op in GROUPED and len(outputs) > 1 else None
        if cache is not None and len(cache.shape) == 4:  # the whole sequence, or room for it
            keys = cache.shape[2]
        work = _attended(
            layout.batch * layout.heads,
            layout.queries,
            keys,
            layout.head_size,
            layout.value_head_size,
        )
        if layout.projection is None:
            return work
        m, k, n = layout.projection
        return replace(work, gemms=(Gemm(m=m, k=k, n=n), *work.gemms))

    return rule


# Convolutions, and the position of their kernel.
CONVOLUTION_KERNELS: Mapping[str, int] = {
    "Conv": 1,
    "FusedConv": 1,
    "ConvInteger": 1,
    "DeformConv": 1,
    "QLinearConv": 3,
}

# Attentions whose second result is the cache of the whole sequence.
GROUPED = frozenset({"GroupQueryAttention", "SparseAttention"})

# Operator type -> rule for its MACs; a rule returns None where shapes are not as it needs them.
MATRIX_RULES: dict[str, Callable[[Mapping[str, Any], Types, Types], OperatorWork | None]] = {
    **{op: partial(_conv, weight=at) for op, at in CONVOLUTION_KERNELS.items()},
    "ConvTranspose": _conv_transpose,
    "Gemm": _matmul,
    "FusedGemm": _matmul,
    "MatMul": _matmul,
    "FusedMatMul": _matmul,
    "MatMulInteger": _matmul,
    "MatMulIntegerToFloat": _matmul,
    "DynamicQuantizeMatMul": _matmul,
    "QLinearMatMul": lambda g, i, o: _matmul(g, i, o, second=3),
    "QGemm": lambda g, i, o: _matmul(g, i, o, second=3),
    "MatMulNBits": _matmul_nbits,
    "Einsum": _einsum,
    "LSTM": _recurrent(4),
    "GRU": _recurrent(3),
    "RNN": _recurrent(1),
    "Attention": _attention,
    **{op: _contrib_attention(op) for op in ATTENTIONS},
    **dict.fromkeys(("FusedMatMulActivation", "TransposeMatMul", "MatMulInteger16"), _matmul),
    "GemmFastGelu": _matmul,
    "MatMulBnb4": _matmul_nbits,
    "MatMulFpQ4": _matmul_nbits,
    "DynamicQuantizeLSTM": _recurrent(4, hidden_axis=1),
}
