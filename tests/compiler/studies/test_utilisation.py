"""Utilisation of the multipliers by kind of operator."""

from dataclasses import replace

import pytest

from tests.support.onnx_models import imported, model, node, weight
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Compute, Systolic
from ullage.compiler.lowering.lower import build_program
from ullage.compiler.studies.utilisation import utilisation_by_kind
from ullage.hwmodels.catalog.registry import load_target

GRAPH = imported(
    model(
        [
            node("Conv", "x w", "a"),
            node("Conv", "a d", "b", group=8),
            node("Conv", "b v", "c"),
            node("Relu", "c", "y"),
        ],
        {"x": (1, 4, 6, 6)},
        "y",
        [weight("w", (8, 4, 1, 1)), weight("d", (8, 1, 3, 3)), weight("v", (4, 8, 1, 1))],
    )
)


def problem(compute: Compute) -> Problem:
    target = replace(load_target("edge-npu"), compute=compute)
    return Problem(build_program(GRAPH, range(len(GRAPH.operators))), target, "latency")


def test_at_the_peak_every_multiplier_is_used() -> None:
    rows = utilisation_by_kind(problem(Compute({"float32": 100.0}, 10.0)))
    assert [row.kind for row in rows] == ["convolution", "depthwise", "elementwise"]
    assert [row.operators for row in rows] == [2, 1, 1]
    assert [row.macs for row in rows] == [36 * 32 + 16 * 32, 16 * 72, 0]
    assert [row.vector_elements for row in rows] == [0, 0, 64]
    assert [row.utilisation for row in rows] == [pytest.approx(1.0), pytest.approx(1.0), None]
    assert sum(row.share for row in rows) == pytest.approx(1.0)
    assert rows[2].compute_s == pytest.approx(6.4)


def test_an_array_is_used_in_part() -> None:
    grid = Systolic(rows=8, columns=8, clock_hz=1.0)
    rows = utilisation_by_kind(problem(Compute({"float32": 64.0}, 1e9, systolic=grid)))
    used = {row.kind: row.utilisation for row in rows}
    # Two products of one fold: 36 rows of 4 x 8 and 16 rows of 8 x 4, each with 22 cycles to fill.
    assert used["convolution"] == pytest.approx((36 * 32 + 16 * 32) / 64 / (36 + 16 + 2 * 22))
