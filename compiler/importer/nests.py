"""Loop nests of one ONNX node: its work with the geometry that matrix products lose.

Images are [N, C, *S]: batch, channels and space, of which the last axis is the width, the one
before it the height; a third is counted with the batch. Tensors of other operators are seen as rows
of channels, their last axis.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ullage.compiler.importer import optypes
from ullage.compiler.importer.bounds import product
from ullage.compiler.importer.costs import CONVOLUTION_KERNELS, OperatorWork, Types, window_of
from ullage.compiler.importer.scope import TensorType
from ullage.compiler.ir.graph import LoopNest, NestKind
from ullage.compiler.ir.part_names import IMAGE_KINDS


def nests_of(
    op: str, attributes: Mapping[str, Any], inputs: Types, outputs: Types, work: OperatorWork
) -> tuple[LoopNest, ...]:
    """The loop nests of a node, first those that multiply; arguments as for `costs.work_of`.

    Together they have the multiply-accumulates of `work`, and a nest of vector work where it has
    any.
    """
    nests: tuple[LoopNest, ...] = ()
    if op in CONVOLUTION_KERNELS and work.gemms:
        nests = (_convolution(op, attributes, inputs, outputs),)
    elif op == "ConvTranspose" and work.gemms:
        nests = (_transposed(op, attributes, inputs, work),)
    else:
        nests = tuple(
            LoopNest("matmul", op, count=g.count, width=g.m, channels=g.n, depth=g.k)
            for g in work.gemms
        )
    if work.extra_macs:
        nests += (LoopNest("matmul", op, width=work.extra_macs),)
    if not work.vector_elements:
        return nests
    if nests or not outputs or outputs[0] is None:
        return (*nests, LoopNest("other", op, width=work.vector_elements))
    return (_vector(op, attributes, inputs, outputs[0], work),)


def _convolution(op: str, attributes: Mapping[str, Any], inputs: Types, outputs: Types) -> LoopNest:
    """Convolution [N, C, *S] with kernel [M, C/group, *K]."""
    kernel, out = inputs[CONVOLUTION_KERNELS[op]], outputs[0]
    assert kernel is not None  # noqa: S101 - else it has no matrix product
    assert out is not None  # noqa: S101
    group = max(1, int(attributes.get("group", 1)))
    space = out.shape[1:-1] if attributes.get("channels_last", 0) else out.shape[2:]
    planes, height, width = _planes(space)
    taps = _planes(kernel.shape[2:])
    return LoopNest(
        "depthwise" if group > 1 and kernel.shape[1] == 1 else "convolution",
        op,
        batch=out.shape[0] * planes,
        height=height,
        width=width,
        channels=kernel.shape[0],
        depth=kernel.shape[1],
        kernel=(taps[0] * taps[1], taps[2]),
        stride=_pair(attributes.get("strides")),
        dilation=_pair(attributes.get("dilations")),
        groups=group,
    )


def _transposed(
    op: str, attributes: Mapping[str, Any], inputs: Types, work: OperatorWork
) -> LoopNest:
    """Transposed convolution: every input position makes all taps of every output channel."""
    data = inputs[0]
    assert data is not None  # noqa: S101 - else it has no matrix product
    (gemm,) = work.gemms
    planes, height, width = _planes(data.shape[2:])
    return LoopNest(
        "convolution",
        op,
        batch=data.shape[0] * planes,
        height=height,
        width=width,
        channels=gemm.n * gemm.count,
        depth=gemm.k,
        stride=_pair(attributes.get("strides")),
        groups=gemm.count,
    )


def _vector(
    op: str,
    attributes: Mapping[str, Any],
    inputs: Types,
    out: TensorType,
    work: OperatorWork,
) -> LoopNest:
    """Work of the vector unit, with the shape of the first result."""
    kind = vector_kind(op)
    shape = out.shape
    if kind == "other" or not shape or not out.elements:
        return LoopNest(kind, op, width=work.vector_elements)
    data = inputs[0] if inputs else None
    kernel = (1, 1)
    if kind in ("pooling", "reduction"):
        kernel = _window(op, attributes, data, out)
        if _is_over_space(data, out):
            return LoopNest(kind, op, batch=shape[0], channels=shape[1], kernel=kernel)
    if op in IMAGE_KINDS and 3 <= len(shape) <= 5:
        planes, height, width = _planes(shape[2:])
        return LoopNest(
            kind,
            op,
            batch=shape[0] * planes,
            height=height,
            width=width,
            channels=shape[1],
            kernel=kernel,
            stride=_pair(attributes.get("strides")),
        )
    return LoopNest(kind, op, width=product(shape[:-1]), channels=shape[-1], kernel=kernel)


def vector_kind(op: str) -> NestKind:
    """Kind of the loop nest of an operator without multiply-accumulates."""
    kinds: tuple[tuple[NestKind, frozenset[str]], ...] = (
        ("quantization", optypes.QUANTIZATION),
        ("pooling", optypes.POOLING),
        ("reduction", optypes.REDUCTION),
        ("softmax", optypes.SOFTMAXES),
        ("normalization", optypes.NORMALIZATION),
        ("elementwise", optypes.ELEMENTWISE),
        ("movement", optypes.DATA_MOVEMENT),
    )
    return next((kind for kind, members in kinds if op in members), "other")


def _window(
    op: str, attributes: Mapping[str, Any], data: TensorType | None, out: TensorType
) -> tuple[int, int]:
    """Rows and columns of the window of a pool, or of what a reduction combines."""
    kernel = attributes.get("kernel_shape")
    if op in optypes.POOLING and kernel:
        taps = _planes([int(k) for k in kernel])
        return taps[0] * taps[1], taps[2]
    if data is not None and _is_over_space(data, out):
        return data.shape[2], data.shape[3]
    if op in optypes.POOLING:
        return 1, window_of(op, attributes, data, out)
    return 1, -(-data.elements // out.elements) if data is not None else 1


def _is_over_space(data: TensorType | None, out: TensorType) -> bool:
    """Whether each image [N, C, H, W] becomes one element per channel."""
    return (
        data is not None
        and len(data.shape) == 4
        and out.shape[:2] == data.shape[:2]
        and product(out.shape[2:]) == 1
    )


def _planes(space: Sequence[int]) -> tuple[int, int, int]:
    """Planes, rows and columns of a space of any number of axes."""
    if not space:
        return 1, 1, 1
    if len(space) == 1:
        return 1, 1, space[0]
    return product(list(space[:-2])), space[-2], space[-1]


def _pair(lengths: Sequence[int] | None) -> tuple[int, int]:
    """The last two of an attribute's lengths, 1 where there are none."""
    last = [int(length) for length in lengths or ()][-2:]
    return (1, 1) if not last else (1, last[0]) if len(last) == 1 else (last[0], last[1])
