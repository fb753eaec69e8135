"""The linear program of two tiers: the time that building it takes."""

import time

import pytest

from tests.support.shapes import SHAPES
from ullage.compiler.common.errors import TimeLimitError
from ullage.compiler.driver.compile import prepare
from ullage.compiler.driver.options import CompileOptions
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.options import FluidOptions
from ullage.solvers.fluid.two_tier import model
from ullage.solvers.fluid.two_tier.builder import Builder
from ullage.solvers.fluid.two_tier.model import ProgramTooLargeError, Windows, build_fluid
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


def test_results_with_very_many_readers_are_refused_before_they_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def entries(readers: int) -> int:
        problem = prepare(SHAPES["readers"](readers), CompileOptions()).problem
        segments = segments_of(problem)
        builder = Builder(problem, reference=1.0)
        fluid = build_fluid(builder, segments, steady_state=False, windows=Windows(8))
        assert relax(problem, segments, 1.0, FluidOptions(), Budget()) is not None
        return len(fluid.program.entry_rows)

    few, many = entries(20), entries(80)
    assert many > 8 * few  # n squared
    monkeypatch.setattr(model, "MAX_HOME_ENTRIES", many // 8)
    assert entries(20) == few
    with pytest.raises(ProgramTooLargeError, match="readers of one result"):
        entries(80)
    problem = prepare(SHAPES["readers"](80), CompileOptions()).problem
    assert relax(problem, segments_of(problem), 1.0, FluidOptions(), Budget()) is None
    in_blocks = FluidOptions(whole_steps=1)
    assert relax(problem, segments_of(problem), 1.0, in_blocks, Budget()) is None


def test_without_time_there_is_no_relaxation() -> None:
    problem = prepare(SHAPES["readers"](16), CompileOptions()).problem
    over = Budget(time.monotonic() - 1.0)
    assert relax(problem, segments_of(problem), 1.0, FluidOptions(), over) is None
