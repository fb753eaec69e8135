"""Residency states of random small programs, in pairs: for a search and for its reference."""

from collections.abc import Iterator
from random import Random

from tests.support.cases import OBJECTIVES, random_case
from tests.support.recurrent import chip, recurrent
from tests.support.three_tiers import three_tier_problem, three_tier_target
from tests.support.tiny import tiny_problem, tiny_target
from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.ir.problem import Blend, Problem
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import segments_of


def _problem(seed: int) -> Problem:
    """Two tiers or three, homes in the middle, any alignment, writes in place, outputs, views."""
    rng = Random(seed)
    if seed % 4 == 0:
        return recurrent(chip(rng.choice((256, 512, 1024))), 40, seed)
    if seed % 4 == 1:
        return tiny_problem(rng, tiny_target(rng, fastest=rng.random() < 0.5), 14)
    if seed % 4 == 2:
        return three_tier_problem(rng, three_tier_target(rng, room=rng.choice((512, 1 << 20))), 14)
    return random_case(seed, operators=8 + seed % 23)


def states(count: int) -> Iterator[tuple[int, ResidencyState, ResidencyState]]:
    """Pairs of equal states, for problems that can be planned."""
    for seed in range(count):
        problem = _problem(seed).minimising(OBJECTIVES[seed % 3])
        if seed % 6 == 0:  # latency, with a price on something else
            second = ("traffic", "energy")[seed // 6 % 2]
            problem = problem.blended(Blend(second, (1e-10, 1e-2)[seed // 12 % 2]))
        try:
            segments = segments_of(problem)
            yield seed, ResidencyState(problem, segments), ResidencyState(problem, segments)
        except (InfeasibleError, UsageError):
            continue
