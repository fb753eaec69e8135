"""`compiled`: numba's decorator with a type; whoever imports this module imports numba."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba.core import types
from numba.extending import intrinsic

from ullage.compiler.common.kernel_cache import kernel

_Arrays = TypeVar("_Arrays")


# Exact floating-point arithmetic. Division by zero gives infinity, as in numpy: the check for it
# costs too much.
compiled = kernel(error_model="numpy")


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
