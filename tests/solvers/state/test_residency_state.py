"""Stays and their timeline."""

import pytest
from hypothesis import given, settings

from tests.support.cases import chain, check_refusal, problem_for, random_case, target_of
from tests.support.graphs import seeds
from ullage.compiler.common.errors import InfeasibleError
from ullage.hwmodels.cost import overhead_seconds, score
from ullage.solvers.budget import Budget
from ullage.solvers.state.build_plan import Stay, assemble
from ullage.solvers.state.greedy_moves import close_gaps, hide_single_uses
from ullage.solvers.state.place import place_stays
from ullage.solvers.state.residency_state import Occupancy
from ullage.solvers.state.segments import atoms_of


@settings(max_examples=120, deadline=None, derandomize=True)
@given(seed=seeds)
def test_the_timeline_of_a_decision_is_the_score_of_its_plan(seed: int) -> None:
    problem = random_case(seed, operators=24)
    try:
        occupancy = Occupancy(problem, atoms_of(problem))
        close_gaps(occupancy, 64, Budget())
        hide_single_uses(occupancy, 64, Budget())
        place_stays(occupancy)
        stays = [stay for _, _, stay in occupancy.all_stays()]
        plan = assemble(problem, occupancy.atoms, stays)
    except InfeasibleError as error:
        check_refusal(error)
        return
    busy_s = score(plan).latency_s - float(overhead_seconds(problem).sum())
    assert occupancy.timeline.total_s == pytest.approx(busy_s, rel=1e-9, abs=1e-20)
    slow_bytes = sum(score(plan).traffic_bytes.values())
    assert occupancy.timeline.slow_bytes == pytest.approx(slow_bytes, abs=len(problem.steps) + 1)


def test_a_prefetch_does_not_arrive_before_an_earlier_use_in_slow_memory() -> None:
    """The stay of a later use leaves the earlier one where its decision says."""
    for seed in range(300):
        problem = random_case(seed, operators=30)
        try:
            occupancy = Occupancy(problem, atoms_of(problem))
        except InfeasibleError:
            continue
        for index, atom in enumerate(occupancy.atoms):
            for first in range(1, len(atom.events)):
                if not atom.events[first].reads or occupancy.run_of(index, first):
                    continue
                stay = occupancy.propose(index, first, first)
                assert stay is None or stay.ready > atom.events[first - 1].step


def test_a_stay_says_when_it_is_there() -> None:
    target = target_of(1024)
    problem = problem_for(chain(), ["y"], target)
    occupancy = Occupancy(problem, atoms_of(problem))
    assert occupancy.propose(1, 0, 1) == Stay(1, 1, 1, 3)
    assert occupancy.propose(0, 0, 0) == Stay(0, 0, 1, 2, fill=((0, 64),))
    assert occupancy.propose(2, 0, 0) == Stay(2, 2, 2, 4, spill=((3, 64),))
