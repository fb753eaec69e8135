"""Cycles of the systolic array: SCALE-Sim's own figures, sharing of folds, several arrays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ullage.compiler.ir.graph import Gemm, LoopNest
from ullage.compiler.ir.target import Systolic
from ullage.hwmodels.compute.systolic import gemm_cycles, nest_cycles, nest_gemm

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


def test_serial_groups_have_folds_of_their_own() -> None:
    serial = Systolic(rows=32, columns=32, clock_hz=1e9, groups="serial")
    one = gemm_cycles(Gemm(m=100, k=9, n=1), serial)
    assert gemm_cycles(Gemm(m=100, k=9, n=1, count=3), serial) == 3 * one
    assert one == gemm_cycles(Gemm(m=100, k=9, n=1), ARRAY_32)


@pytest.mark.parametrize(("m", "fold"), [(100, 100), (7, 32)])
def test_double_buffered_weights_are_loaded_beside_the_fold_before(m: int, fold: int) -> None:
    # k = 64 over 32 rows: 2 folds, of m rows of input or the 32 rows of the next weights.
    array = Systolic(rows=32, columns=32, clock_hz=1e9, double_buffered=True)
    assert gemm_cycles(Gemm(m=m, k=64, n=32), array) == 2 * fold + 2 * 32 + 32 - 2


def test_weights_may_take_fewer_cycles_to_load_than_rows() -> None:
    array = Systolic(rows=64, columns=32, clock_hz=1e9, double_buffered=True, load_cycles=16)
    fill = 2 * 64 + 32 - 2
    assert gemm_cycles(Gemm(m=49, k=128, n=32), array) == 2 * 49 + fill
    assert gemm_cycles(Gemm(m=7, k=128, n=32), array) == 2 * 16 + fill


@pytest.mark.parametrize(
    ("rows", "lines", "depth", "k", "passes"),
    [
        (64, 4, 3, 2 * 21, 4),  # 7 pixels of 3 channels, two lines of seven at once
        (64, 1, 3, 21, 7),
        (128, 4, 3, 4 * 21, 2),
        (8, 4, 3, 21, 7),  # a line does not fit: it is folded
        (64, 0, 3, 3, 49),
        (64, 4, 5, 5, 49),  # no image
    ],
)
def test_rows_hold_lines_of_windows_over_images(
    rows: int, lines: int, depth: int, k: int, passes: int
) -> None:
    stem = LoopNest("convolution", "Conv", 1, 1, 10, 12, 64, depth, kernel=(7, 7))
    grid = Systolic(rows, 32, 1e9, rows_hold="channels", image_lines=lines)
    assert nest_gemm(stem, grid) == Gemm(m=120, k=k, n=64, count=passes)


STEM = LoopNest("convolution", "Conv", height=10, width=12, channels=32, depth=3, kernel=(3, 3))


def test_rows_hold_taps_or_channels() -> None:
    # 27 taps and channels fit 32 rows at once; 3 channels of each of 9 taps are 9 products of
    # three rows, side by side where they fit (32 columns: none fits beside another).
    assert nest_cycles(STEM, ARRAY_32) == gemm_cycles(Gemm(120, 27, 32), ARRAY_32)
    by_channel = Systolic(rows=32, columns=32, clock_hz=1e9, rows_hold="channels")
    assert nest_cycles(STEM, by_channel) == 9 * gemm_cycles(Gemm(120, 3, 32), ARRAY_32)


def test_groups_are_products_of_their_own() -> None:
    nest = LoopNest("convolution", "Conv", 2, 3, 4, 5, 64, 16, (3, 1), groups=4)
    assert nest_gemm(nest, ARRAY_32) == Gemm(m=60, k=48, n=16, count=8)


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
