"""`compiled`: numba's decorator with a type; whoever imports this module imports numba."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """Compile a function, cached beside its source file; exact floating-point arithmetic."""
    return cast("_Function", numba.njit(cache=True)(function))
