"""Cycles of the systolic array: SCALE-Sim's own figures, sharing of folds, several arrays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ullage.compiler.ir.graph import Gemm
from ullage.compiler.ir.target import Systolic
from ullage.hwmodels.systolic import gemm_cycles

ARRAY_32 = Systolic(rows=32, columns=32, clock_hz=1e9)


@pytest.mark.parametrize(
    ("gemm", "cycles"),
    [
        (Gemm(m=128, k=512, n=256), 28_416),
        (Gemm(m=64, k=64, n=64), 632),
        (Gemm(m=3136, k=144, n=32), 16_150),  # 3x3 convolution of 58x58x16 to 32 filters
    ],
)
def test_scale_sim(gemm: Gemm, cycles: int) -> None:
    assert gemm_cycles(gemm, ARRAY_32) == cycles


def test_depthwise_products_share_a_fold() -> None:
    one = gemm_cycles(Gemm(m=100, k=9, n=1), ARRAY_32)
    assert gemm_cycles(Gemm(m=100, k=9, n=1, count=3), ARRAY_32) == one  # 3 * 9 rows fit 32
    assert gemm_cycles(Gemm(m=100, k=9, n=1, count=4), ARRAY_32) == 2 * one


def test_columns_limit_sharing_too() -> None:
    one = gemm_cycles(Gemm(m=10, k=2, n=16), ARRAY_32)
    assert gemm_cycles(Gemm(m=10, k=2, n=16, count=4), ARRAY_32) == 2 * one


def test_products_larger_than_the_array_do_not_share() -> None:
    one = gemm_cycles(Gemm(m=10, k=33, n=4), ARRAY_32)
    assert gemm_cycles(Gemm(m=10, k=33, n=4, count=5), ARRAY_32) == 5 * one


def test_folds_are_spread_over_arrays() -> None:
    four = Systolic(rows=32, columns=32, clock_hz=1e9, arrays=4)
    assert gemm_cycles(Gemm(m=128, k=512, n=256), four) * 4 == 28_416
    assert gemm_cycles(Gemm(m=64, k=160, n=32), four) == 2 * (64 + 32 + 64 - 2)  # 5 folds


@pytest.mark.parametrize("zero", ["m", "k", "n", "count"])
def test_an_empty_product_takes_no_time(zero: str) -> None:
    sizes = {"m": 4, "k": 4, "n": 4, "count": 4} | {zero: 0}
    assert gemm_cycles(Gemm(**sizes), ARRAY_32) == 0


SIZES = st.integers(1, 300)


@given(SIZES, SIZES, SIZES, st.integers(1, 40), st.integers(1, 64), st.integers(1, 64))
def test_no_array_does_more_than_one_mac_per_cell_and_cycle(
    m: int, k: int, n: int, count: int, rows: int, columns: int
) -> None:
    array = Systolic(rows=rows, columns=columns, clock_hz=1e9)
    cycles = gemm_cycles(Gemm(m, k, n, count), array)
    assert cycles * rows * columns >= m * k * n * count
    assert cycles <= count * gemm_cycles(Gemm(m, k, n), array)
