"""Costs of ATen operators, by hand."""

import pytest

from ullage.compiler.importer.joint.aten import AtenWork, base_name, work_of
from ullage.compiler.ir.graph import Gemm


def test_names() -> None:
    assert base_name("aten.relu_.default") == "relu"
    assert base_name("aten._log_softmax.default") == "_log_softmax"
    assert base_name("aten.sum.dim_IntList") == "sum"
    assert base_name("custom_op") == "custom_op"


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "work"),
    [
        ("mm", [(2, 3), (3, 4)], [(2, 4)], AtenWork((Gemm(2, 3, 4),))),
        ("bmm", [(7, 2, 3), (7, 3, 4)], [(7, 2, 4)], AtenWork((Gemm(2, 3, 4, 7),))),
        ("addmm", [(4,), (2, 3), (3, 4)], [(2, 4)], AtenWork((Gemm(2, 3, 4),), 8)),
        (
            "convolution",
            [(2, 6, 8, 8), (4, 3, 3, 3)],
            [(2, 4, 8, 8)],
            AtenWork((Gemm(128, 27, 2, 2),)),
        ),
        (
            "convolution_backward",
            [(2, 4, 8, 8), (2, 3, 8, 8), (4, 3, 3, 3)],
            [(2, 3, 8, 8), (4, 3, 3, 3)],
            AtenWork((Gemm(128, 4, 27), Gemm(27, 128, 4))),
        ),
        (
            "convolution_backward",
            [(2, 4, 8, 8), (2, 3, 8, 8), (4, 3, 3, 3)],
            [(4, 3, 3, 3)],
            AtenWork((Gemm(27, 128, 4),)),
        ),
        (  # no channels: no convolution
            "convolution",
            [(5,), (3,)],
            [(5,)],
            AtenWork((), 13, "no cost rule for convolution: costed by its bytes"),
        ),
        (
            "convolution",
            [(5,), (4, 3, 3, 3)],
            [(2, 4, 8, 8)],
            AtenWork((), 625, "no cost rule for convolution: costed by its bytes"),
        ),
        (
            "convolution_backward",
            [(5,), (5,), (3,)],
            [(3,)],
            AtenWork((), 16, "no cost rule for convolution_backward: costed by its bytes"),
        ),
        ("relu", [(2, 3)], [(2, 3)], AtenWork(vector_elements=6)),
        ("permute", [(2, 3)], [(3, 2)], AtenWork(vector_elements=6)),
        ("expand", [(1, 3)], [(4, 3)], AtenWork(vector_elements=12)),
        ("sum", [(2, 3)], [(2,)], AtenWork(vector_elements=6)),
        ("_softmax", [(2, 3)], [(2, 3)], AtenWork(vector_elements=18)),
        ("native_layer_norm", [(2, 3), (3,)], [(2, 3), (2, 1)], AtenWork(vector_elements=32)),
    ],
)
def test_work(
    name: str,
    inputs: list[tuple[int, ...]],
    outputs: list[tuple[int, ...]],
    work: AtenWork,
) -> None:
    assert work_of(name, inputs, outputs) == work


def test_macs_of_both_gradients_are_twice_the_forward_ones() -> None:
    forward = work_of("convolution", [(2, 3, 8, 8), (4, 3, 3, 3)], [(2, 4, 8, 8)])
    shapes = [(2, 4, 8, 8), (2, 3, 8, 8), (4, 3, 3, 3)]
    backward = work_of("convolution_backward", shapes, shapes[1:])
    assert backward.macs == 2 * forward.macs == 2 * 2 * 4 * 64 * 27


@pytest.mark.parametrize(
    ("name", "shapes", "reason"),
    [
        ("mystery", [(2, 3)], "no cost rule for mystery"),
        ("mm", [(2, 3)], "no cost rule for mm"),
        ("convolution", [(2, 3)], "no cost rule for convolution"),
        ("convolution_backward", [(2, 3)], "no cost rule"),
        ("max_pool2d_with_indices", [(1, 1, 4, 4)], "windows are not in the file"),
    ],
)
def test_what_has_no_rule_says_so(name: str, shapes: list[tuple[int, ...]], reason: str) -> None:
    work = work_of(name, shapes, [(1, 1, 2, 2)])
    assert reason in work.fallback
    assert work.vector_elements >= 4
