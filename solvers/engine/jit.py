"""Decorators of the engine's kernels: wrappers only where Python calls, no reference counts.

This module imports numba; import it where it is needed. What takes the time is numba's typing and
lowering of every function, and LLVM's work on all that a function calls, so (measured, CPU seconds
of the game's kernels and of the annealer's):

- Numba compiles a function anew for every literal it is called with: `account(t, slot, 1)` and
  `account(t, slot, -1)` are two functions, and so is all that they call. `kernel_cache.kernel`
  widens literals to their type before (76 s to 51 s, 13.6 s to 9.4 s).
- A function that only other kernels call needs no wrapper for Python or C (to 44 s, to 7.7 s).
- An array is seven or nine LLVM values wherever it is passed. Ten arrays instead of four take a
  fifth more time to compile, and a third more time to run, where calls are not inlined.
- Nothing is allocated in a kernel, so none counts references (`_nrt=False`: half the time, and no
  atomic instructions).
- A kernel is optimised again with every kernel that calls it: entries took two to four seconds
  each for the game, so there are few, and kernels with one caller are inlined (a sixth less).
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba.core.registry import CPUDispatcher

from ullage.compiler.common.kernel_cache import kernel

_Function = TypeVar("_Function", bound=Callable[..., Any])


def entry(function: _Function) -> _Function:
    """A kernel that Python calls.

    It takes named tuples of arrays, arrays and numbers, and allocates nothing. Division by zero
    gives infinity, as in numpy.
    """
    return kernel(error_model="numpy", no_cfunc_wrapper=True, _nrt=False)(function)


def compiled(function: _Function) -> _Function:
    """A kernel that only other kernels call."""
    return _unwrapped(function, inline="never")


def inlined(function: _Function) -> _Function:
    """A kernel that becomes a part of the one kernel that calls it, before types are inferred."""
    return _unwrapped(function, inline="always")


class _Unwrapped(CPUDispatcher):
    """A dispatcher without a wrapper for Python, where calling it would end the process."""

    def __call__(self, *_args: object, **_kws: object) -> None:
        name = f"{self.py_func.__module__}.{self.py_func.__qualname__}"
        raise TypeError(f"{name} is for kernels only: it has no wrapper for Python")


def _unwrapped(function: _Function, inline: str) -> _Function:
    dispatcher: Any = kernel(
        error_model="numpy",
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        _nrt=False,
        inline=inline,
    )(function)
    if isinstance(dispatcher, CPUDispatcher):  # else numba is switched off (NUMBA_DISABLE_JIT)
        dispatcher.__class__ = _Unwrapped
    return cast("_Function", dispatcher)
