"""Plain types: data type, shape and whether it is an upper bound, without a scope."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

# A type: dtype, shape, and whether the shape is an upper bound.
Triple = tuple[str, tuple[int, ...], bool]
# Attributes of a node by name; any type that ONNX's attributes have.
Attributes = Mapping[str, Any]
# Values of small constants by name.
Arrays = Mapping[str, NDArray[np.generic]]


class Typed(Protocol):
    """Anything with a data type and a shape, such as `scope.TensorType`."""

    @property
    def dtype(self) -> str: ...  # noqa: D102
    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def is_upper_bound(self) -> bool: ...  # noqa: D102


def product(shape: Sequence[int]) -> int:
    """Number of elements of a shape."""
    count = 1
    for dim in shape:
        count *= dim
    return count
