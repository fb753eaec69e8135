"""Comparison of a run's outputs with those of the ordinary run: differences and tolerances."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.dtypes import BITS
from ullage.compiler.execute.element_types import Array, is_float, tensor_name

# Kernels add in another order when a fused or whole-model path is chosen; two runs of one float32
# model on one machine differ by much less than these two together.
# Difference allowed, as a share of the largest absolute value of the output ...
RELATIVE_TOLERANCE = 1e-4
# ... to which this is added, in the unit of the output.
ABSOLUTE_TOLERANCE = 1e-5


@dataclass(frozen=True)
class OutputCheck:
    """An output of a run compared with the same output of the ordinary run.

    Attributes:
        name: name of the output.
        max_abs_diff: largest absolute difference.
        tolerance: largest absolute difference allowed, for values of the output's scale.
        bit_exact: all bytes are equal.
        finite: the ordinary run gave finite numbers; NaN everywhere would prove little.
        constant: the ordinary run gave the same number everywhere (more than once), which proves
            little: elements that changed places would not be noticed.
        passed: within tolerance.
        inference: number of the inference, from 1.
    """

    name: str
    max_abs_diff: float
    tolerance: float
    bit_exact: bool
    finite: bool
    constant: bool
    passed: bool
    inference: int = 1


def compare_arrays(name: str, actual: Array, expected: Array, *, half: bool = False) -> OutputCheck:
    """Compare an output with the ordinary run's; NaN equals NaN.

    Args:
        name: name of the output.
        actual: its value in the run by the plan.
        expected: its value in the ordinary run.
        half: the model has float16 or bfloat16 tensors: the output is no more exact than they are.
    """
    worst, tolerance, bit_exact = float("inf"), 0.0, False
    if actual.shape == expected.shape:
        bit_exact = actual.tobytes() == expected.tobytes()
        worst, tolerance = (0.0, 0.0) if bit_exact else _difference(actual, expected, half=half)
    return OutputCheck(
        name,
        worst,
        tolerance,
        bit_exact=bit_exact,
        finite=bool(np.isfinite(_wide(expected)).all()) if _is_inexact(expected) else True,
        constant=_is_constant(expected),
        # Large integers can differ by less than a float64 shows; where none is allowed, bytes
        # decide.
        passed=bit_exact or (tolerance > 0.0 and worst <= tolerance),
    )


def _is_inexact(array: Array) -> bool:
    """Whether the elements are floating-point or complex numbers."""
    return is_float(array.dtype) or array.dtype.kind == "c"


def _wide(array: Array) -> NDArray[np.inexact[Any]]:
    """The numbers in the widest type of their kind."""
    if array.dtype.kind == "c":
        return array.astype(np.complex128)
    return array.astype(np.float64)


def _is_constant(array: Array) -> bool:
    """Whether more than one element is there and all are equal (or all NaN)."""
    flat = array.reshape(-1)
    if flat.size < 2:
        return False
    return bool((flat == flat[0]).all() or (_is_inexact(flat) and np.isnan(_wide(flat)).all()))


def _difference(actual: Array, expected: Array, *, half: bool) -> tuple[float, float]:
    """Largest absolute difference of two arrays of one shape, and how much is allowed."""
    a, b = _wide(actual), _wide(expected)
    same = (np.isnan(a) & np.isnan(b)) | (a == b)
    with np.errstate(invalid="ignore"):  # equal infinities have no difference
        difference = np.where(same, 0.0, np.abs(a - b))
    worst = float(np.nan_to_num(difference, nan=np.inf, posinf=np.inf).max(initial=0.0))
    scale = float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
    if _is_inexact(actual):
        tolerance = ABSOLUTE_TOLERANCE + _relative_tolerance(actual.dtype, half=half) * scale
    else:  # a quantised result may round the other way; anything else must be equal
        bits = BITS[tensor_name(actual.dtype)]
        tolerance = 1.0 if 4 <= bits <= 8 and actual.dtype != np.bool_ else 0.0
    return worst, tolerance


def _relative_tolerance(dtype: np.dtype[np.generic], *, half: bool) -> float:
    """Difference allowed as a share of the largest magnitude.

    Types with less precision than float16 may differ by the distance from 1 to their next number.
    """
    import ml_dtypes

    if dtype in (np.float32, np.float64) or dtype.kind == "c":
        return RELATIVE_TOLERANCE * (100 if half else 1)
    precision: Any = ml_dtypes.finfo(dtype).eps  # type: ignore[no-untyped-call]
    return max(100 * RELATIVE_TOLERANCE, float(precision))
