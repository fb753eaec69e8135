"""Convolutions: groups, channels and kernel must fit, which onnx's inference does not ask."""

from collections.abc import Sequence

from ullage.compiler.common.errors import NeverRunsError
from ullage.compiler.importer.bounds import Attributes, Typed

# Operand of the data, and that of the kernel, by operator of ONNX.
OPERANDS = {"Conv": (0, 1), "ConvInteger": (0, 1), "QLinearConv": (0, 3), "ConvTranspose": (0, 1)}


def check_convolution(
    op: str, attributes: Attributes, inputs: Sequence[Typed | None], label: str
) -> None:
    """Refuse a convolution that no runtime computes.

    Data have the shape [N, C, *spatial], a kernel [M, C / group, *taps], that of a transposed
    convolution [C, M / group, *taps].

    Args:
        op: an operator of ONNX; others than convolutions pass.
        attributes: of the node, with the defaults of its version.
        inputs: types of its operands, None for absent ones. Lengths that are bounds pass.
        label: what errors call it.

    Raises:
        NeverRunsError: group is less than 1, channels are not those of the groups, or the kernel
            has another shape than its attribute says.
    """
    if op not in OPERANDS:
        return
    data, kernel = (inputs[at] if at < len(inputs) else None for at in OPERANDS[op])
    group = int(attributes.get("group", 1))
    if group < 1:
        raise _fault(label, op, f"group is {group}, and must be 1 or more")
    if kernel is None or kernel.is_upper_bound or len(kernel.shape) < 3:
        return
    taps = attributes.get("kernel_shape")
    if taps is not None and tuple(taps) != kernel.shape[2:]:
        raise _fault(
            label, op, f"kernel_shape is {list(taps)}, and the kernel has {list(kernel.shape[2:])}"
        )
    transposed = op == "ConvTranspose"
    channels = kernel.shape[0] if transposed else kernel.shape[1] * group
    if kernel.shape[0] % group:
        raise _fault(label, op, f"{kernel.shape[0]} channels of the kernel are no {group} groups")
    if data is None or data.is_upper_bound or len(data.shape) < 3:
        return
    if data.shape[1] != channels:
        raise _fault(
            label,
            op,
            f"the data have {data.shape[1]} channels, a kernel {list(kernel.shape)} in groups of "
            f"{group} takes {channels}",
        )


def _fault(label: str, op: str, what: str) -> NeverRunsError:
    return NeverRunsError(f"{label} is malformed: {what}", {"operator": op})
