"""`compiled`: numba's decorator with a type; whoever imports this module imports numba."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import types
from numba.extending import intrinsic

from ullage.compiler.common.kernel_cache import drop_stale, kernel_sources

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Arrays = TypeVar("_Arrays")


def compiled(function: _Function) -> _Function:
    """Compile a function, cached beside its source file; exact floating-point arithmetic.

    Division by zero gives infinity, as in numpy: the check for it costs too much.
    """
    kernel = numba.njit(cache=True, error_model="numpy")(function)
    drop_stale(kernel, sources())
    return cast("_Function", kernel)


@cache
def sources() -> tuple[Path, ...]:
    """Files of all that is compiled for the game."""
    return kernel_sources(Path(__file__).parents[1], "game_instance.py", "compiled.py", "state.py")


def _strike_out_owners(_context: Any, arrays: types.BaseNamedTuple) -> Any:  # noqa: ANN401
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ANN401
        value = args[0]
        for index, kind in enumerate(signature.args[0].types):
            if isinstance(kind, types.Array):
                member = builder.extract_value(value, index)
                array = context.make_array(kind)(context, builder, value=member)
                array.meminfo = array.meminfo.type(None)  # a null pointer
                array.parent = array.parent.type(None)
                value = builder.insert_value(value, array._getvalue(), index)  # noqa: SLF001
        return value

    return arrays(arrays), generate


# A named tuple of arrays without counted references, inside compiled code. Numba counts references
# to an array whenever one is taken out of a tuple, with atomic instructions that cost more than all
# moves of the game together. What is borrowed is not counted: the caller keeps the arrays alive,
# and must not return any of them.
borrowed = cast("Callable[[_Arrays], _Arrays]", intrinsic(_strike_out_owners))
