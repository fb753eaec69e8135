"""The linear program of two tiers: the time that building it takes."""

import itertools
import time
from random import Random

import pytest

from tests.support.scratchpads import scratchpad_problem, scratchpad_target
from tests.support.shapes import SHAPES
from ullage.compiler.common.errors import InfeasibleError, TimeLimitError
from ullage.compiler.driver.compile import prepare
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.ir.problem import Problem
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.options import FluidOptions
from ullage.solvers.fluid.two_tier import model, relaxation
from ullage.solvers.fluid.two_tier.builder import Builder
from ullage.solvers.fluid.two_tier.model import Windows, build_fluid
from ullage.solvers.fluid.two_tier.pauses import Pauses
from ullage.solvers.fluid.two_tier.program import start_from
from ullage.solvers.fluid.two_tier.relaxation import optimum, relax
from ullage.solvers.lp import solve
from ullage.solvers.lp.program import Basis
from ullage.solvers.run import run_solver
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


def test_what_is_at_home_takes_entries_in_proportion_to_the_readers_of_a_result() -> None:
    def entries(readers: int) -> int:
        problem = prepare(SHAPES["readers"](readers), CompileOptions()).problem
        builder = Builder(problem, reference=1.0)
        windows = Windows(8)
        fluid = build_fluid(builder, segments_of(problem), steady_state=False, windows=windows)
        return len(fluid.program.entry_rows)

    few, some, many = entries(40), entries(80), entries(160)
    assert abs((many - some) - 2 * (some - few)) <= 0.1 * many


@pytest.mark.parametrize("in_blocks", [False, True])
@pytest.mark.parametrize("capacity", [16, 64])
def test_listing_moves_or_summing_them_up_is_the_same_program(
    monkeypatch: pytest.MonkeyPatch, capacity: int, *, in_blocks: bool
) -> None:
    options = CompileOptions(fast_memory_bytes=capacity * 1024)
    problem = prepare(SHAPES["readers"](24), options).problem
    segments = segments_of(problem)
    known = run_solver("all-slow", problem).value
    fluid = FluidOptions(whole_steps=1) if in_blocks else FluidOptions()
    optima = []
    for listed in (1, 1000):
        monkeypatch.setattr(model, "LISTED_GAPS", listed)
        relaxation = relax(problem, segments, known, fluid, Budget())
        assert relaxation is not None
        assert any(s.at_home >= 0 for s in relaxation.fluid.spills) == (listed == 1)
        optima.append((optimum(problem, relaxation), relaxation.bound))
    assert optima[0] == pytest.approx(optima[1], rel=1e-6)


@pytest.mark.parametrize("steady_state", [False, True])
def test_keeping_what_is_read_again_behind_a_pause_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, *, steady_state: bool
) -> None:
    held = 0
    for seed in range(12):
        problem = _fitting_problem(seed, steady_state=steady_state)
        segments = segments_of(problem)
        known = run_solver("all-slow", problem).value
        options = FluidOptions(window_steps=len(problem.steps))
        kept = relax(problem, segments, known, options, Budget())
        assert kept is not None
        held += sum(gap.is_held for gap in kept.fluid.gaps)
        with monkeypatch.context() as patched:
            patched.setattr(Pauses, "fill", lambda _, low, high: low > high)
            free = relax(problem, segments, known, options, Budget())
        assert free is not None
        assert not any(gap.is_held for gap in free.fluid.gaps)
        assert optimum(problem, kept) == pytest.approx(optimum(problem, free), rel=1e-6)
    assert held > 10


def test_programs_with_more_windows_open_go_on_from_the_optimum_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = 0

    def counted(*args: object, **given: object) -> Basis | None:
        nonlocal started
        start = start_from(*args, **given)  # type: ignore[arg-type]
        started += start is not None
        return start

    monkeypatch.setattr(relaxation, "start_from", counted)
    monkeypatch.setattr(solve, "DEVEX_ROWS", 1)
    for seed in range(12):
        problem = _fitting_problem(seed, steady_state=bool(seed % 2))
        segments = segments_of(problem)
        known = run_solver("all-slow", problem).value
        optima, rounds = [], []
        for rows in (1, 1 << 60):
            monkeypatch.setattr(relaxation, "WARM_ROWS", rows)
            found = relax(problem, segments, known, FluidOptions(window_steps=1), Budget())
            assert found is not None
            optima.append(optimum(problem, found))
            rounds.append(found.rounds)
        assert optima[0] == pytest.approx(optima[1], rel=2e-3)  # both are within `ENOUGH`
    assert started > 3


def _fitting_problem(seed: int, *, steady_state: bool) -> Problem:
    """A random program that fits, on a chip whose compute unit reaches the scratchpad only."""
    for attempt in itertools.count():
        rng = Random(100 * seed + attempt)
        target = scratchpad_target(rng, 1, room=rng.choice((512, 2048)))
        problem = scratchpad_problem(rng, target, 12, steady_state=steady_state)
        try:
            run_solver("all-slow", problem)
        except InfeasibleError:
            continue
        return problem
    raise AssertionError


def test_without_time_there_is_no_relaxation() -> None:
    problem = prepare(SHAPES["readers"](16), CompileOptions()).problem
    over = Budget(time.monotonic() - 1.0)
    assert relax(problem, segments_of(problem), 1.0, FluidOptions(), over) is None
