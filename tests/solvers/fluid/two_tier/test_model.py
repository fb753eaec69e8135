"""The linear program of two tiers: the time that building it takes."""

import time

import pytest

from tests.support.shapes import SHAPES
from ullage.compiler.common.errors import TimeLimitError
from ullage.compiler.driver.compile import prepare
from ullage.compiler.driver.options import CompileOptions
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.options import FluidOptions
from ullage.solvers.fluid.two_tier.builder import Builder
from ullage.solvers.fluid.two_tier.model import Windows, build_fluid
from ullage.solvers.fluid.two_tier.relaxation import relax
from ullage.solvers.state.segments import segments_of


def test_the_clock_is_looked_at_while_the_readers_of_one_result_are_entered() -> None:
    asked: list[int] = []

    class Limited(Budget):
        def is_over(self) -> bool:
            asked.append(1)
            return len(asked) > 3

    problem = prepare(SHAPES["readers"](400), CompileOptions()).problem
    builder = Builder(problem, reference=1.0)
    with pytest.raises(TimeLimitError, match="before its linear program was built"):
        build_fluid(
            builder,
            segments_of(problem),
            steady_state=False,
            windows=Windows(8),
            budget=Limited(),
        )
    assert len(asked) == 4


def test_without_time_there_is_no_relaxation() -> None:
    problem = prepare(SHAPES["readers"](16), CompileOptions()).problem
    over = Budget(time.monotonic() - 1.0)
    assert relax(problem, segments_of(problem), 1.0, FluidOptions(), over) is None
