"""Decorators of the engine's kernels: compiled when first called, wrappers only where Python calls.

A `Kernel` holds the plain function until somebody calls it; numba is imported then, not before.
`interpreted` gives the plain function for Python, with all that it calls: the same code, some
hundred times slower, and nothing to compile. It suits small programs, and those who have no time to
compile.

What takes the time of compiling is numba's typing and lowering of every function, and LLVM's work
on all that a function calls, so (measured, CPU seconds of the game's kernels and the annealer's):

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
from functools import cache, cached_property, update_wrapper
from types import FunctionType
from typing import Any, TypeVar, cast

from ullage.compiler.common.kernel_cache import has_kernels, kernel

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Kernel:
    """A function, and what numba makes of it when it is first called.

    Attributes that are not here are those of numba's dispatcher.

    Attributes:
        py_func: the function itself.
    """

    def __init__(self, function: FunctionType, options: dict[str, Any]) -> None:
        update_wrapper(self, function)
        self.py_func = function
        self._options = options
        has_kernels(function.__module__)

    @cached_property
    def dispatcher(self) -> Any:  # noqa: ANN401 - numba's
        """Numba's dispatcher; the function itself where numba is switched off."""
        _tell_numba()
        dispatcher: Any = kernel(
            error_model="numpy", no_cfunc_wrapper=True, _nrt=False, **self._options
        )(self.py_func)
        if self._options.get("no_cpython_wrapper") and hasattr(dispatcher, "signatures"):
            dispatcher.__class__ = _unwrapped()
        return dispatcher

    def __call__(self, *args: Any) -> Any:  # noqa: ANN401 - whatever the function takes
        """Call what numba has compiled."""
        return self.dispatcher(*args)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a dispatcher has
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.dispatcher, name)


def entry(function: _Function) -> _Function:
    """A kernel that Python calls.

    It takes named tuples of arrays, arrays and numbers, and allocates nothing. Division by zero
    gives infinity, as in numpy.
    """
    return _kernel(function)


def compiled(function: _Function) -> _Function:
    """A kernel that only other kernels call."""
    return _kernel(function, no_cpython_wrapper=True, inline="never")


def inlined(function: _Function) -> _Function:
    """A kernel that becomes a part of the one kernel that calls it, before types are inferred."""
    return _kernel(function, no_cpython_wrapper=True, inline="always")


def _kernel(function: _Function, **options: object) -> _Function:
    return cast("_Function", Kernel(cast("FunctionType", function), options))


@cache
def interpreted(function: _Function) -> _Function:
    """The plain function of a kernel, which calls the plain functions of other kernels.

    Arrays may be given as memoryviews, whose elements are read three times as fast.
    """
    plain = cast("FunctionType", getattr(function, "py_func", function))
    scope = {
        name: interpreted(value) if isinstance(value, Kernel) else value
        for name, value in plain.__globals__.items()
        if name in plain.__code__.co_names or name == "__builtins__"
    }
    return cast("_Function", FunctionType(plain.__code__, scope, plain.__name__))


@cache
def _tell_numba() -> None:
    """Make numba treat a `Kernel` that another kernel calls as its dispatcher."""
    from numba.core import types
    from numba.extending import typeof_impl

    def type_of(value: Kernel, _context: object) -> Any:  # noqa: ANN401 - numba's
        return types.Dispatcher(value.dispatcher)

    typeof_impl.register(Kernel)(type_of)


@cache
def _unwrapped() -> type:
    """The type of dispatchers without a wrapper for Python, where calling it ends the process."""
    from numba.core.registry import CPUDispatcher

    class Unwrapped(CPUDispatcher):
        def __call__(self, *_args: object, **_kws: object) -> None:
            name = f"{self.py_func.__module__}.{self.py_func.__qualname__}"
            raise TypeError(f"{name} is for kernels only: it has no wrapper for Python")

    return Unwrapped
