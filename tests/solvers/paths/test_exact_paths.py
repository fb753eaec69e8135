"""Paths whose copies are there when operators read them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ullage.solvers.paths.paths import Path, is_exact


@pytest.mark.parametrize(
    ("ready", "read", "exact"),
    [
        (2, 0, True),  # the copy in the fastest tier is ready when step 3 reads it
        (4, 0, False),  # it is not, and no other copy is there
        (2, 1, False),  # there is a faster one than the one that is read
    ],
)
def test_operators_use_the_fastest_copy_that_is_ready(
    ready: int, read: int, *, exact: bool
) -> None:
    # tier, first step, ready, end, source: one copy in the fastest tier, brought from tier 1.
    residencies = np.array([[0, ready - 1, ready, 6, 1]], dtype=np.int64)
    path = Path(residencies, np.array([[read, -1]], dtype=np.int64))
    live_range: Any = SimpleNamespace(steps=np.array([3]))
    assert is_exact(live_range, path) is exact
