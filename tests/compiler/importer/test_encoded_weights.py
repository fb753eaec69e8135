"""Weights that a target stores encoded: `storage.weight_ratio`."""

import onnx
import pytest

from tests.support.onnx_models import imported, model, node, weight
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.ir.schedule import Schedule, part_of
from ullage.compiler.lowering.parts import lower_schedule

CONV = model(
    [node("Conv", "x w b", "y")],
    {"x": (1, 4, 6, 6)},
    "y",
    [weight("w", (8, 4, 3, 3)), weight("b", (8,))],
)
# Weights of a matrix product: output channels are the second axis.
PRODUCT = model([node("MatMul", "x w", "y")], {"x": (2, 5)}, "y", [weight("w", (5, 8))])


@pytest.mark.parametrize(("ratio", "channel"), [(0.5, 18), (0.51, 19), (1.0, 36), (1.25, 45)])
def test_each_output_channel_takes_the_same_whole_number_of_bytes(
    ratio: float, channel: int
) -> None:
    values = imported(CONV, dtype="int8", bias_dtype="int32", weight_ratio=ratio).values
    assert values["w"].size_bytes == 8 * channel
    assert values["b"].size_bytes == 32  # biases stay plain
    assert values["x"].size_bytes == 144


@pytest.mark.parametrize("dtype", [None, "int16", "float16"])
def test_only_integers_of_a_byte_or_less_are_encoded(dtype: str | None) -> None:
    plain = imported(CONV, dtype=dtype)
    assert imported(CONV, dtype=dtype, weight_ratio=0.5) == plain


def weights_read(model_of: onnx.ModelProto, ratio: float, axis: int) -> list[tuple[int, int, int]]:
    """Begin, end and bytes accessed of what two parts, cut along an output axis, read of w."""
    graph = imported(model_of, dtype="int8", weight_ratio=ratio)
    halves = tuple(part_of(0, {axis: span}) for span in ((0, 4), (4, 8)))
    program = lower_schedule(graph, Schedule("halves", halves))
    return [
        (use.start_byte, use.end_byte, use.accessed_bytes)
        for step in program.steps
        for use in step.uses
        if program.buffers[use.buffer].name == "w"
    ]


def test_parts_read_the_bytes_of_their_channels() -> None:
    assert weights_read(CONV, 0.51, 1) == [(0, 76, 76), (76, 152, 76)]


def test_parts_read_all_bytes_where_their_channels_have_no_whole_ones() -> None:
    # Four columns of five rows of 8 x 0.6 = 4.8, rounded up to 5 bytes, would be 2.5 bytes a row.
    assert weights_read(PRODUCT, 0.6, 1) == [(0, 25, 25), (0, 25, 25)]


def test_larger_weights_divide_along_their_last_axis_too() -> None:
    product = model([node("MatMul", "x w", "y")], {"x": (2, 96)}, "y", [weight("w", (96, 8))])
    assert weights_read(product, 0.51, 1) == [(0, 240, 240), (240, 480, 240)]


@pytest.mark.parametrize("ratio", ["0.6", "0.51", "1.1"])
def test_plans_in_parts_are_verified(ratio: str) -> None:
    halves = Schedule("halves", (part_of(0, {1: (0, 4)}), part_of(0, {1: (4, 8)})))
    options = CompileOptions(
        target="ethos-u55-128",
        dtype="int8",
        solver="greedy",
        overrides={"storage.weight_ratio": ratio},
        schedule=halves,
    )
    for case in (CONV, PRODUCT):
        plan = compile_model(case, options).plan  # it derives again what each part reads
        assert plan.problem.program.is_cut
        assert plan.target.weight_ratio == float(ratio)
