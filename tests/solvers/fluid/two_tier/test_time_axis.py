"""DMA-only steps side by side are one step of the program, and the bound stays the same."""

import itertools
import math
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest

from tests.support.scratchpads import scratchpad_problem, scratchpad_target
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.options import FluidOptions
from ullage.solvers.fluid.two_tier import relaxation
from ullage.solvers.fluid.two_tier.slicing import SliceRequest
from ullage.solvers.fluid.two_tier.time_axis import TimeAxis, time_axis
from ullage.solvers.run import run_solver
from ullage.solvers.state.segments import Segment, segments_of


def test_the_axis_has_each_run_of_dma_only_steps_once() -> None:
    problem = scratchpad_problem(Random(1), scratchpad_target(Random(1), 1, room=4096), 5)
    axis = time_axis(problem, segments_of(problem))
    kinds = [step.kind for step in axis.problem.steps]
    assert sum(kind != DMA_STEP for kind in kinds) == problem.program.operators
    assert all(DMA_STEP in pair for pair in itertools.pairwise(kinds))
    assert len(axis.short_of) == len(problem.steps)
    for short, segment in zip(axis.segments, segments_of(problem), strict=True):
        assert axis.long_segment(short) == segment
    pause = kinds.index(DMA_STEP, 1)
    long = axis.long_request(SliceRequest(0, 0, 0, fill=pause, spill=pause))
    assert long.fill == long.spill + 1  # arrives in the last step of the pause, leaves in the first
    assert not axis.has_capacity[pause]
    assert axis.has_capacity[pause - 1]


@pytest.mark.parametrize("steady_state", [False, True])
def test_bounds_are_those_of_the_long_axis(
    monkeypatch: pytest.MonkeyPatch, *, steady_state: bool
) -> None:
    compared = 0
    for seed in range(20):
        rng = Random(seed)
        target = scratchpad_target(rng, 1, room=rng.choice((512, 2048)))
        problem = scratchpad_problem(rng, target, 8, steady_state=steady_state)
        segments = segments_of(problem)
        try:
            known = run_solver("all-slow", problem, Budget(None)).value
        except InfeasibleError:
            continue
        bounds = []
        for axis_of in (time_axis, _long_axis):
            monkeypatch.setattr(relaxation, "time_axis", axis_of)
            solved = relaxation.relax(
                problem, segments, known, FluidOptions(max_rounds=50), Budget(math.inf)
            )
            assert solved is not None
            assert solved.bound is not None
            bounds.append(solved.bound)
        assert bounds[0] == pytest.approx(bounds[1], rel=2e-3)  # windows stay closed up to 1e-3
        assert bounds[0] <= known
        compared += 1
    assert compared > 10


def _long_axis(problem: Problem, segments: Sequence[Segment]) -> TimeAxis:
    steps = np.arange(len(problem.steps))
    return TimeAxis(problem, tuple(segments), steps, steps, steps, np.ones(len(steps), dtype=bool))
