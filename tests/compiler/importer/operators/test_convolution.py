"""Convolutions that onnx's inference lets pass, and no runtime computes."""

import onnx
import pytest

from tests.support.onnx_models import imported, model, node
from ullage.compiler.common.errors import ModelError


def conv(
    op: str, data: tuple[int, ...], kernel: tuple[int, ...], **given: object
) -> onnx.ModelProto:
    return model([node(op, "x w", "y", **given)], {"x": data, "w": kernel}, "y")


@pytest.mark.parametrize(
    ("op", "kernel", "given", "complaint"),
    [
        ("Conv", (4, 3, 3, 3), {"group": 0}, "group is 0"),
        ("Conv", (4, 3, 3, 3), {"group": -1}, "group is -1"),
        ("Conv", (4, 3, 3, 3), {"group": 2}, "data have 3 channels, .* groups of 2 takes 6"),
        ("Conv", (4, 2, 3, 3), {}, "data have 3 channels, .* groups of 1 takes 2"),
        ("Conv", (4, 1, 3, 3), {"group": 3}, "4 channels of the kernel are no 3 groups"),
        ("Conv", (4, 3, 3, 3), {"kernel_shape": [5, 5]}, r"kernel_shape is \[5, 5\]"),
        ("ConvTranspose", (4, 3, 3, 3), {}, "data have 3 channels, .* takes 4"),
        ("ConvTranspose", (3, 3, 3, 3), {"group": 2}, "3 channels of the kernel are no 2 groups"),
    ],
)
def test_channels_groups_and_kernels_fit(
    op: str, kernel: tuple[int, ...], given: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ModelError, match=rf"{op} .* is malformed: .*{complaint}"):
        imported(conv(op, (1, 3, 8, 8), kernel, **given))


@pytest.mark.parametrize(
    ("op", "kernel", "given"),
    [
        ("Conv", (6, 1, 3, 3), {"group": 3, "kernel_shape": [3, 3]}),
        ("Conv", (4, 3, 3, 3), {"group": 1}),
        ("ConvTranspose", (3, 2, 3, 3), {"group": 3}),
    ],
)
def test_those_that_fit_are_read(
    op: str, kernel: tuple[int, ...], given: dict[str, object]
) -> None:
    assert imported(conv(op, (1, 3, 8, 8), kernel, **given)).operators[0].macs > 0
