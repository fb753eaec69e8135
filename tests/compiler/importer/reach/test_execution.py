"""Rules of reach by execution: nothing outside a reach matters, its first and last indices do."""

import numpy as np
import pytest

from tests.support.onnx_models import MICROSOFT
from tests.support.reach_cases import CASES, ReachCase
from tests.support.reach_oracle import Findings, examine, sums_up
from ullage.compiler.importer.operators.identity import operator_key
from ullage.compiler.importer.optypes import BINARY, UNARY
from ullage.compiler.importer.reach.rules import RULES

# Cases in which rubbish in a first or last index may change nothing, and why.
MAY_BE_LOOSE = {
    "max_pool": "the largest of a window may be another element",
    "max_ceil": "the same",
    "max_dilated": "the same",
    "max_lower": "the same",
    "max_indices": "the same",
    "regions": "the images' channels are read where a region lies",
    "arg_max": "the place of the largest may be elsewhere",
    "top": "the largest may be others",
    "reduce_all": "the largest of all may be another element",
    "resize_ceil": "a coordinate is a whole number in single precision and more in double",
    "lrn": "channels before the window change the rounding of a running sum, or not",
    "qlinear_matmul": "results are clipped",
    "qlinear_conv": "results are clipped",
    "quantised": "results are clipped",
    "where": "the condition takes the other operand",
    "qlinear_where": "the same",
    "max_regions": "the largest of a region may be another element",
}
PARTS = 6
# Operators that only the backend suite runs.
ONLY_IN_SUITE = set(
    """ArgMin Dropout Hardmax Identity RMSNormalization ReduceMin Scatter Squeeze Trilu Unsqueeze
    """.split()
)


def experiments(case: ReachCase) -> Findings:
    """What random parts of all operators of a case show."""
    bench = case.bench()
    rng = np.random.default_rng(3)
    found = Findings()
    for operator in bench.imported.graph.operators:
        assert operator.reach is not None, operator.kind
        one = examine(bench, operator, rng, PARTS)
        found.parts += one.parts
        found.ends += one.ends
        found.wrong += one.wrong
        found.loose += one.loose
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_a_part_depends_on_its_reach_and_on_nothing_else(case: ReachCase) -> None:
    found = experiments(case)
    assert found.parts or case.name == "reduce_all"
    assert not found.wrong, "\n".join(found.wrong)
    if case.name not in MAY_BE_LOOSE:
        assert not found.loose, "\n".join(found.loose)


def test_the_exceptions_are_cases() -> None:
    assert set(MAY_BE_LOOSE) <= {case.name for case in CASES}


@pytest.mark.parametrize(
    "name",
    """conv conv_stride conv_rows conv_transpose_stride matmul matmul_batch vector_left gemm
    gemm_turned fused_matmul einsum einsum_implicit turned_weight reshaped_weight global_average
    reduce_mean reduce_dropped""".split(),
)
def test_parts_of_a_reduction_add_up(name: str) -> None:
    (case,) = [case for case in CASES if case.name == name]
    bench = case.bench()
    (operator,) = bench.imported.graph.operators
    assert operator.reach is not None
    assert operator.reach.reduction > 1
    rng = np.random.default_rng(5)
    for _ in range(4):
        assert sums_up(bench, operator, rng)


def test_every_rule_is_executed() -> None:
    """By a case here; by the backend suite where `ONLY_IN_SUITE` says so."""
    executed = {
        operator_key(proto, {"": case.opset, MICROSOFT: 1})
        for case in CASES
        for proto in case.nodes
    }
    unary = UNARY | BINARY  # one rule for all
    assert {op for op in RULES if op not in executed and op not in unary} == ONLY_IN_SUITE
