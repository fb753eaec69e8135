"""Comparison of a run's outputs with those of the ordinary run: differences and tolerances."""

from dataclasses import dataclass

import numpy as np

from ullage.compiler.execute.data import Array

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
        half: the model has float16 tensors, so the output is no more exact than those are.
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
        finite=bool(np.isfinite(expected).all()) if expected.dtype.kind == "f" else True,
        constant=_is_constant(expected),
        # Large integers can differ by less than a float64 shows; where none is allowed, bytes
        # decide.
        passed=bit_exact or (tolerance > 0.0 and worst <= tolerance),
    )


def _is_constant(array: Array) -> bool:
    """Whether more than one element is there and all are equal (or all NaN)."""
    flat = array.reshape(-1)
    if flat.size < 2:
        return False
    return bool((flat == flat[0]).all() or (flat.dtype.kind == "f" and np.isnan(flat).all()))


def _difference(actual: Array, expected: Array, *, half: bool) -> tuple[float, float]:
    """Largest absolute difference of two arrays of one shape, and how much is allowed."""
    a, b = actual.astype(np.float64), expected.astype(np.float64)
    same = (np.isnan(a) & np.isnan(b)) | (a == b)
    with np.errstate(invalid="ignore"):  # equal infinities have no difference
        difference = np.where(same, 0.0, np.abs(a - b))
    worst = float(np.nan_to_num(difference, nan=np.inf, posinf=np.inf).max(initial=0.0))
    scale = float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
    if actual.dtype.kind == "f":
        relative = RELATIVE_TOLERANCE * (100 if half or actual.dtype == np.float16 else 1)
        tolerance = ABSOLUTE_TOLERANCE + relative * scale
    else:  # a quantised result may round the other way; anything else must be equal
        tolerance = 1.0 if actual.dtype.itemsize == 1 and actual.dtype.kind in "iu" else 0.0
    return worst, tolerance
