"""DMA-only steps side by side are one step of the program, and the bound stays the same."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
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
from ullage.solvers.fluid.two_tier.pauses import Pauses, waits_at_one_port
from ullage.solvers.fluid.two_tier.program import SliceRequest
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


@pytest.mark.parametrize("objective", ["latency", "traffic", "energy"])
@pytest.mark.parametrize("steady_state", [False, True])
def test_bounds_are_those_of_the_long_axis(
    monkeypatch: pytest.MonkeyPatch, objective: str, *, steady_state: bool
) -> None:
    """With moves in every step known to the program, however many links a move waits for."""
    compared = 0
    paused: set[bool] = set()
    for seed in range(16):
        rng = Random(seed)
        target = scratchpad_target(rng, 1, room=rng.choice((512, 2048)))
        if seed % 2:  # links as fast as the ports: all moves wait for the slow one
            fast = (replace(link, bandwidth_bytes_per_s=4e9) for link in target.links)
            target = replace(target, links=tuple(fast))
        problem = scratchpad_problem(rng, target, 8, steady_state=steady_state)
        problem = problem.minimising(objective)
        segments = segments_of(problem)
        try:
            known = run_solver("all-slow", problem, Budget(None)).value
        except InfeasibleError:
            continue
        bounds = []
        for axis_of in (time_axis, _long_axis):
            monkeypatch.setattr(relaxation, "time_axis", axis_of)
            options = FluidOptions(window_steps=10**6)
            solved = relaxation.relax(problem, segments, known, options, Budget(math.inf))
            assert solved is not None
            assert solved.bound is not None
            bounds.append(solved.bound)
            paused.add(bool(solved.fluid.builder.pauses.is_pause.any()))
        assert bounds[0] == pytest.approx(bounds[1], rel=1e-6, abs=1e-15)
        assert bounds[0] <= known * (1 + 1e-9)
        compared += 1
    assert compared > 8
    assert paused == {False, True}


def test_moves_in_pauses_are_next_to_accesses() -> None:
    pauses = Pauses(np.array([True, False, True, False, True, False, True]))
    # For an access in step 5: operators' steps, and the pause before it.
    assert pauses.arrivals(0, 5, 5).tolist() == [1, 3, 4]
    assert pauses.arrivals(0, 4, 5).tolist() == [1, 3]
    # Over the end of an inference two pauses are side by side.
    assert pauses.arrivals(-4, 1, 1).tolist() == [-4, -2, -1, 0]
    assert pauses.arrivals(-4, 3, 3).tolist() == [-4, -2, 1, 2]
    # After a write in step 1: the pause after it, then operators' steps; while a reader reads.
    assert pauses.spills(2, 7, 1).tolist() == [2, 3, 5]
    assert pauses.spills(1, 7, 1).tolist() == [1, 2, 3, 5]
    assert pauses.spills(6, 7, 5).tolist() == [6]


@pytest.mark.parametrize("seed", range(30))
def test_steps_next_to_accesses_are_counted_as_they_are_listed(seed: int) -> None:
    rng = Random(seed)
    pauses = Pauses(np.array([rng.random() < 0.5 for _ in range(12)]))
    others = [t for t in range(-12, 12) if not pauses.is_pause[t % 12]]
    low = rng.randrange(-10, 10)
    end = rng.randrange(low + 1, 13)
    arrivals = [
        t for t in range(low, end) if t in others or not any(t < other < end for other in others)
    ]
    assert pauses.arrivals(low, end, end).tolist() == arrivals
    assert pauses.count_arrivals(low, end) == len(arrivals)
    middle = rng.randint(low, end)
    both = [*pauses.arrivals(low, middle, end).tolist(), *pauses.arrivals(middle, end, end)]
    assert both == arrivals
    since = rng.randrange(11)
    low = rng.randint(since, since + 1)
    high = rng.randint(low, 12)
    spills = [
        t
        for t in range(low, high)
        if t in others or (t > since and not any(since < other < t for other in others))
    ]
    assert pauses.spills(low, high, since).tolist() == spills
    assert pauses.count_spills(low, high, since) == len(spills)


def test_pauses_count_where_all_moves_wait_for_one_port() -> None:
    target = scratchpad_target(Random(1), 1, room=512)
    assert waits_at_one_port(target, fast_port_binds=True, link_binds=False)
    assert not waits_at_one_port(target, fast_port_binds=False, link_binds=True)
    slow, home = target.tiers
    slower = replace(slow, write_bytes_per_s=home.read_bytes_per_s / 2)
    narrow = replace(target, tiers=(slower, home))
    assert not waits_at_one_port(narrow, fast_port_binds=True, link_binds=False)
    assert waits_at_one_port(narrow, fast_port_binds=False, link_binds=False)
    chain = scratchpad_target(Random(1), 2, room=512)
    assert not waits_at_one_port(chain, fast_port_binds=False, link_binds=False)


def _long_axis(problem: Problem, segments: Sequence[Segment]) -> TimeAxis:
    steps = np.arange(len(problem.steps))
    return TimeAxis(problem, tuple(segments), steps, steps, steps, np.ones(len(steps), dtype=bool))
