"""Which way a kernel of the heuristics runs: compiled, or as the plain function that it is.

Both give the same plan. Plain Python needs no numba, and nothing has to be compiled or loaded,
which is quicker for small programs; it is also the way where there is no time to compile.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ullage.compiler.common.kernel_cache import is_compiled
from ullage.solvers.budget import Budget
from ullage.solvers.engine.jit import interpreted
from ullage.solvers.engine.tables import Tables

# Accesses up to which plain Python is used: importing numba and loading kernels takes as long.
FEW_ACCESSES = 3_000
# Seconds that must remain for kernels to be compiled: three times what an idle core of 2025 takes.
COMPILE_S = 15.0
# Units of work between two looks at the clock: some hundredths of a second.
SLICE_WORK = 1_000_000
PLAIN_SLICE_WORK = 10_000


@dataclass(frozen=True)
class ChosenKernel:
    """A kernel, and how it is called.

    Attributes:
        call: takes tables, then what the kernel takes.
        slice_work: units of work after which one should look at the clock.
        is_compiled: whether numba compiles it.
    """

    call: Callable[..., Any]
    slice_work: int
    is_compiled: bool


def choose_kernel(
    kernel: Callable[..., Any], accesses: int, budget: Budget, compiles: bool | None = None
) -> ChosenKernel:
    """The kernel, compiled where the program is large and there is time.

    Args:
        kernel: an entry of the engine.
        accesses: of the program.
        budget: the time that is left.
        compiles: decides instead, where it is given.
    """
    if compiles is None:
        compiles = accesses > FEW_ACCESSES and (
            is_compiled(kernel) or budget.has_time_to_compile(COMPILE_S)
        )
    if compiles:
        return ChosenKernel(kernel, SLICE_WORK, is_compiled=True)
    plain = interpreted(kernel)

    def call(t: Tables, *arguments: Any) -> Any:  # noqa: ANN401 - whatever the kernel takes
        views = Tables(*(array.data for array in t))  # type: ignore[arg-type]
        return plain(views, *(_viewed(argument) for argument in arguments))

    return ChosenKernel(call, PLAIN_SLICE_WORK, is_compiled=False)


def _viewed(argument: Any) -> Any:  # noqa: ANN401 - whatever a kernel takes
    """An array as a memoryview, whose elements are read three times as fast; others as they are."""
    return argument.data if isinstance(argument, np.ndarray) else argument
