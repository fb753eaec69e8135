"""What an ATen operator of a traced training step costs, from shapes alone.

The vector unit is charged as for ONNX operators (`importer.costs`): one element for each output
element and pass (element-wise 1, softmaxes 3, normalisations 4, their gradients as much again), for
each input element of a reduction, and for each element of a window of a pool. Files have no
attributes, so windows and strides are read off the shapes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from ullage.compiler.ir.graph import Gemm

Shape = tuple[int, ...]
Shapes = Sequence[Shape]


@dataclass(frozen=True, slots=True)
class AtenWork:
    """Work of one operator.

    Attributes:
        gemms: matrix products.
        vector_elements: elements for the vector unit.
        fallback: why it is an estimate; empty where there is a rule.
    """

    gemms: tuple[Gemm, ...] = ()
    vector_elements: int = 0
    fallback: str = ""

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return sum(g.m * g.k * g.n * g.count for g in self.gemms)


# The result is the operand's bytes, where it has as many.
VIEWS = frozenset(
    "alias detach view _unsafe_view reshape unsqueeze squeeze expand t permute_view".split()
)
# A pass over the output; the result may overwrite an operand of its size.
ELEMENTWISE = frozenset(
    """abs add bitwise_and bitwise_not bitwise_or bitwise_xor ceil clamp clamp_max clamp_min cos div
    elu eq erf exp floor fmod ge gelu gelu_backward gt hardsigmoid hardswish hardswish_backward
    hardtanh hardtanh_backward le leaky_relu leaky_relu_backward log log1p logical_and logical_not
    logical_or lt maximum minimum mul native_dropout native_dropout_backward ne neg pow reciprocal
    relu remainder round rsqrt rsub sgn sigmoid sigmoid_backward sign silu silu_backward sin sqrt
    sub tan tanh tanh_backward threshold_backward where""".split()
)
# A pass over the output that puts elements elsewhere.
MOVEMENT = frozenset(
    """_to_copy arange cat clone constant_pad_nd copy embedding embedding_dense_backward fill flip
    full full_like gather index index_put index_select masked_fill new_empty new_ones new_zeros ones
    ones_like permute repeat scalar_tensor scatter scatter_add select select_backward slice
    slice_backward slice_scatter split split_with_sizes stack transpose tril triu zeros
    zeros_like""".split()
)
# Which of these read few rows of their first operand, as many bytes as they write.
ROWS = frozenset("embedding gather index index_select".split())
# Which of those read whole rows of the outermost axis.
LOOK_UPS = frozenset({"embedding"})
# A pass over the first input.
REDUCTIONS = frozenset("amax amin any argmax max mean min sum var var_mean".split())
# Passes over the output.
PASSES: Mapping[str, int] = {
    "_log_softmax": 3,
    "_log_softmax_backward_data": 3,
    "_softmax": 3,
    "_softmax_backward_data": 3,
    "native_batch_norm": 4,
    "native_batch_norm_backward": 4,
    "_native_batch_norm_legit": 4,
    "_native_batch_norm_legit_functional": 4,
    "native_group_norm": 4,
    "native_group_norm_backward": 4,
    "native_layer_norm": 4,
    "native_layer_norm_backward": 4,
    "nll_loss_backward": 1,
    "nll_loss_forward": 1,
}
# Operators whose second execution gives something else.
RANDOM = frozenset("bernoulli multinomial native_dropout normal rand randint randn".split())


def base_name(target: str) -> str:
    """`relu` of `aten.relu_.default`: the operator without its namespace, overload and `_`."""
    parts = target.split(".")
    name = parts[1] if len(parts) > 1 and parts[0] in {"aten", "prims"} else parts[0]
    return name.rstrip("_") or name


def work_of(name: str, inputs: Shapes, outputs: Shapes) -> AtenWork:
    """Work of an operator.

    Args:
        name: its `base_name`.
        inputs: shapes of the tensors that it reads.
        outputs: shapes of the tensors that it writes and something reads.
    """
    written = sum(map(prod, outputs))
    if name in PRODUCTS:
        gemms = PRODUCTS[name](inputs, outputs)
        if gemms is not None:
            bias = name in {"addmm", "baddbmm"} or (name == "convolution" and len(inputs) > 2)
            return AtenWork(gemms, written if bias else 0)
    if name in VIEWS:
        return AtenWork(vector_elements=written)
    if name in ELEMENTWISE or name in MOVEMENT:
        return AtenWork(vector_elements=written)
    if name in REDUCTIONS and inputs:
        return AtenWork(vector_elements=prod(inputs[0]))
    if name in PASSES:
        return AtenWork(vector_elements=PASSES[name] * written)
    if "pool" in name and inputs and outputs:
        return _pool(name, inputs, outputs)
    return AtenWork(
        vector_elements=written + sum(map(prod, inputs)),
        fallback=f"no cost rule for {name}: costed by its bytes",
    )


def _pool(name: str, inputs: Shapes, outputs: Shapes) -> AtenWork:
    """A pool: the elements of its windows, which are as far apart as they are long here."""
    large = max(map(prod, (*inputs, *outputs)))
    reason = f"{name}: its windows are not in the file; each element is counted once"
    return AtenWork(vector_elements=large, fallback=reason)


def _matrix(inputs: Shapes, outputs: Shapes) -> tuple[Gemm, ...] | None:
    """The product of the last two operands, [.., m, k] x [.., k, n]."""
    if len(inputs) < 2 or len(outputs) != 1:
        return None
    first, second = inputs[-2:]
    if len(first) < 2 or len(second) < 2 or first[-1] != second[-2]:
        return None
    return (Gemm(first[-2], first[-1], second[-1], prod(first[:-2])),)


def _convolution(inputs: Shapes, outputs: Shapes) -> tuple[Gemm, ...] | None:
    if len(inputs) < 2 or not outputs or not _have_channels(outputs[0], *inputs[:2]):
        return None
    return (_taps(outputs[0], inputs[0], inputs[1]),)


def _convolution_backward(inputs: Shapes, outputs: Shapes) -> tuple[Gemm, ...] | None:
    """The gradients of data and of weights, each with the products of the forward pass."""
    if len(inputs) < 3 or not _have_channels(*inputs[:3]):
        return None
    forward = _taps(*inputs[:3])
    gemms: list[Gemm] = []
    if inputs[1] in outputs:  # to each position of the data, over output channels
        gemms.append(Gemm(forward.m, forward.n, forward.k, forward.count))
    if inputs[2] in outputs:  # to each weight, over positions
        gemms.append(Gemm(forward.k, forward.m, forward.n, forward.count))
    return tuple(gemms)


def _have_channels(*shapes: Shape) -> bool:
    """Whether shapes may be those of a convolution: as many axes each, channels among them."""
    return len(shapes[0]) >= 2 and len({len(shape) for shape in shapes}) == 1


def _taps(out: Shape, data: Shape, kernel: Shape) -> Gemm:
    """Output positions x taps x output channels of a group, for each group."""
    groups = max(1, data[1] // max(1, kernel[1]))
    return Gemm(out[0] * prod(out[2:]), prod(kernel[1:]), kernel[0] // groups, groups)


PRODUCTS: Mapping[str, Callable[[Shapes, Shapes], tuple[Gemm, ...] | None]] = {
    "addmm": _matrix,
    "baddbmm": _matrix,
    "bmm": _matrix,
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
    "mm": _matrix,
}
