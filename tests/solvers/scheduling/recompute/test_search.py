"""The search for what to compute again: by its surrogate, and by the plans of what it chooses."""

from collections.abc import Collection
from dataclasses import replace
from itertools import compress, pairwise, product
from random import Random

import numpy as np
import pytest

from tests.support.graphs import random_graph
from tests.support.onnx_models import imported
from tests.support.recompute_twin import plain_value
from tests.support.solving import solve_with
from tests.support.training import chip, slow_chip, training_step
from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.schedule import Schedule
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.orders import model_order
from ullage.hwmodels.cost import compute_seconds, score
from ullage.solvers.budget import Budget
from ullage.solvers.scheduling.cascade.valued import SchedulingTask
from ullage.solvers.scheduling.recompute import search as module
from ullage.solvers.scheduling.recompute import surrogate as surrogates
from ullage.solvers.scheduling.recompute.bound import MARKS, THRESHOLDS, TIGHT_MARKS
from ullage.solvers.scheduling.recompute.copies import (
    GapOf,
    RecomputeFacts,
    in_order,
    recompute_facts,
)
from ullage.solvers.scheduling.recompute.known import (
    BUDGETS,
    LENGTHS,
    STRETCHES,
    checkpoint_sets,
    ends,
)
from ullage.solvers.scheduling.recompute.search import Choice, recompute, without_swapping
from ullage.solvers.scheduling.recompute.surrogate import RecomputeSurrogate, surrogate_of

ACTIVATION_BYTES = 256 * 32 * 4


def task_of(target: Target, objective: str = "latency") -> SchedulingTask:
    graph = imported(training_step())
    return SchedulingTask(
        graph=graph,
        order=model_order(graph),
        target=target,
        aliases=alias_options(target),
        steady_state=False,
        objective=objective,
        seed=0,
        budget=Budget(),
    )


@pytest.fixture(autouse=True)
def _few_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_MOVES", 20_000)


def chip_for(activations: int) -> Target:
    """A slow chip with room for so many activations."""
    return slow_chip(activations * ACTIVATION_BYTES)


@pytest.mark.parametrize("objective", ["latency", "traffic", "energy"])
def test_the_plan_is_better_where_memory_is_short(objective: str) -> None:
    task = task_of(chip_for(5), objective)
    found = recompute(task, Budget())
    assert any(part.copy for part in found.schedule.parts)
    values = []
    for schedule in (Schedule.whole(task.order), found.schedule):
        plan = solve_with("fluid", task.problem_of(schedule))
        values.append(score(plan))
    once, again = values
    assert again.noncompulsory_bytes < once.noncompulsory_bytes
    assert again.latency_s < once.latency_s


def test_nothing_runs_again_where_memory_is_ample() -> None:
    found = recompute(task_of(chip_for(64)), Budget())
    assert found.schedule.is_whole


def test_the_same_seed_finds_the_same() -> None:
    task = task_of(chip_for(5))
    first, second = recompute(task, Budget()), recompute(task, Budget())
    assert first.schedule == second.schedule
    assert recompute(replace(task, seed=1), Budget()).valued > 0


def test_without_time_operators_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = recompute(task_of(chip_for(5)), Budget(0.0))
    assert found.schedule.is_whole
    assert found.is_cut_short
    assert found.valued == 0
    monkeypatch.setattr(module, "MOST_MOVES", 0)
    known = len(BUDGETS) + len(STRETCHES) + len(LENGTHS)
    relaxed, rest = divmod(
        recompute(task_of(chip_for(5)), Budget()).valued - known, 2 * len(THRESHOLDS)
    )
    assert rest == 0
    assert 1 < relaxed <= len(MARKS) + len(TIGHT_MARKS)


def test_the_surrogate_counts_computing_again_and_bytes() -> None:
    """Dropping costs its computing where moves are free; where memory is short it saves more."""
    task = task_of(chip(64 * ACTIVATION_BYTES, 2.5e11))
    facts = recompute_facts(task.graph, task.order, task.aliases)
    last = {g for g in facts.gaps if g.number == len(facts.results[g.result].places) - 1}
    first = {g for g in facts.gaps if g not in last and facts.results[g.result].name == "x1"}
    problem = task.problem_of(Schedule.whole(task.order))
    plenty = surrogate_of(facts, problem)
    assert plenty.value(plenty.flags_of(last | first)) > plenty.value(plenty.flags_of(last))
    few = surrogate_of(facts, problem.on(chip_for(5)))
    assert few.value(few.flags_of(last)) > plenty.value(plenty.flags_of(last))
    assert few.value(few.flags_of(last | first)) < few.value(few.flags_of(last))


@pytest.mark.parametrize("seed", range(6))
def test_the_kernel_does_what_plain_python_does(seed: int) -> None:
    rng = Random(seed)
    graph = imported(training_step(4)) if seed < 2 else random_graph(rng, 14)
    target = chip_for(3)
    task = replace(task_of(target), graph=graph, order=model_order(graph))
    facts = recompute_facts(graph, task.order, task.aliases)
    surrogate = surrogate_of(facts, task.problem_of(Schedule.whole(task.order)))
    surrogate = replace(surrogate, exposed=rng.choice((0.0, 0.5, 1.0)))
    for share in (0.0, 0.2, 0.5, 1.0):
        chosen = [gap for gap in facts.gaps if rng.random() < share]
        dropped = [replace(gap, stays=rng.random() < 0.4) for gap in chosen]
        value = surrogate.value(surrogate.flags_of(dropped))
        assert value == pytest.approx(plain_value(surrogate, dropped), rel=1e-12)


def test_too_many_repetitions_are_worth_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surrogates, "MOST_TIMES", 1)
    task = task_of(chip_for(5))
    facts = recompute_facts(task.graph, task.order, task.aliases)
    surrogate = surrogate_of(facts, task.problem_of(Schedule.whole(task.order)))
    assert surrogate.value(surrogate.flags_of(facts.gaps)) == np.inf
    assert surrogate.value(surrogate.flags_of(())) < np.inf


def test_a_schedule_that_is_not_legal_is_not_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(chip_for(5))
    problem_of = SchedulingTask.problem_of

    def refusing(self: SchedulingTask, schedule: Schedule) -> Problem:
        if schedule.order != task.order or not schedule.is_whole:
            raise UsageError("refused")
        return problem_of(self, schedule)

    monkeypatch.setattr(SchedulingTask, "problem_of", refusing)
    assert recompute(task, Budget()).schedule == Schedule.whole(task.order)


def test_the_search_finds_the_best_of_all_sets_of_a_small_step() -> None:
    """Every set of gaps of two layers that delays nothing, valued by the same surrogate."""
    graph = imported(training_step(2))
    task = replace(task_of(chip_for(4)), graph=graph, order=model_order(graph))
    facts = recompute_facts(graph, task.order, task.aliases)
    problem = task.problem_of(Schedule.whole(task.order))
    surrogate = surrogate_of(facts, problem)
    last = ends(facts)
    between = [gap for gap in facts.gaps if gap not in last and gap.number]  # none is delayed
    # Behind its last access the state of a result counts only where a chain may read it.
    chained = {operand for gap in between for operand in _operands(facts, gap.result)}
    free = [*between, *(gap for gap in last if gap.result in chained)]
    best = np.inf
    for chosen in product((False, True), repeat=len(free)):
        dropped = last.difference(free).union(compress(free, chosen))
        best = min(best, surrogate.value(surrogate.flags_of(dropped)))
    found = module._GapSearch(facts, surrogate, task.seed, Budget()).run()[0]
    assert _value(surrogate, found) <= best * (1 + 1e-6)
    assert best < surrogate.value(surrogate.flags_of(last)) * 0.97


def _value(surrogate: RecomputeSurrogate, choice: Choice) -> float:
    in_its_order = replace(surrogate, facts=choice.facts)
    return in_its_order.value(in_its_order.flags_of(choice.dropped))


def _operands(facts: RecomputeFacts, result: int) -> set[int]:
    """What a chain that makes a result may read, however long it is."""
    found: set[int] = set()
    waiting = [result]
    while waiting:
        for operand in facts.reads[facts.results[waiting.pop()].producer]:
            if operand not in found:
                found.add(operand)
                waiting.append(operand)
    return found


def test_computing_again_alone_moves_less_and_computes_more() -> None:
    """Where moving is cheap the joint search swaps; the one without swapping computes again."""
    task = task_of(chip(5 * ACTIVATION_BYTES, 2.5e10))
    alone = task.problem_of(without_swapping(task))
    joint = task.problem_of(recompute(task, Budget()).schedule)
    assert any(step.copy for step in alone.steps)
    assert sum(compute_seconds(alone)[0]) > sum(compute_seconds(joint)[0])
    plans = [solve_with("fluid", problem) for problem in (alone, joint)]
    moved = [score(plan).noncompulsory_bytes for plan in plans]
    assert moved[0] < moved[1]


def test_computing_again_alone_is_legal(monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(chip_for(5))
    facts = recompute_facts(task.graph, task.order, task.aliases)
    wrong = Choice(replace(facts, order=facts.order[::-1]), frozenset())
    right = Choice(facts, ends(facts))
    monkeypatch.setattr(module._GapSearch, "run", lambda _: [wrong, right])
    assert without_swapping(task) == right.schedule
    monkeypatch.setattr(module._GapSearch, "run", lambda _: [wrong])
    assert without_swapping(task) == Schedule.whole(task.order)


def test_what_others_would_choose_is_taken_where_the_surrogate_sees_no_gain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Humble(module._GapSearch):
        def run(self, relaxed: Collection[frozenset[GapOf]] = ()) -> list[Choice]:
            super().run(relaxed)
            self.gains = False
            return []

    ranked: list[Choice] = []

    def last(_task: object, choices: list[Choice], _budget: Budget) -> Choice:
        ranked.extend(choices)
        return choices[-1]

    monkeypatch.setattr(module, "_ranked", last)
    monkeypatch.setattr(module, "_GapSearch", Humble)
    found = recompute(task_of(chip_for(5)), Budget())
    assert 1 <= len(ranked) <= 3
    assert found.schedule == ranked[-1].schedule
    assert any(part.copy for part in found.schedule.parts)


def test_an_order_in_which_nothing_runs_again_is_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = task_of(chip_for(5))
    facts = recompute_facts(task.graph, task.order, task.aliases)
    running = [i for i in task.order if facts.writes[i]]
    at = next(  # two neighbours of which the second does not read the first
        n
        for n, (one, other) in enumerate(pairwise(running))
        if not set(facts.writes[one]) & set(facts.reads[other])
    )
    moved = in_order(facts, [*running[:at], running[at + 1], running[at], *running[at + 2 :]])
    choice = Choice(moved, frozenset())
    monkeypatch.setattr(module, "_ranked", lambda *_: choice)
    found = recompute(task, Budget())
    assert found.schedule.is_whole
    assert found.schedule.order == moved.order != task.order
    assert found.bound is not None
    assert found.own_bound is not None


def test_ranking_takes_the_best_linear_program_and_passes_over_what_is_not_legal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = task_of(chip_for(5))
    facts = recompute_facts(task.graph, task.order, task.aliases)
    wrong = Choice(replace(facts, order=facts.order[::-1]), frozenset())
    choices = [wrong, *(Choice(facts, dropped) for dropped in checkpoint_sets(facts))]
    rank = [3.0, 1.0, 2.0]
    monkeypatch.setattr(module, "_lp_value", lambda *_: rank.pop(0))
    monkeypatch.setattr(module, "RANKED_S", 1e9)
    assert module._ranked(task, choices[:4], Budget()) is choices[2]
    monkeypatch.setattr(module, "RANKED_S", 0.0)  # time for one
    rank[:] = [3.0]
    assert module._ranked(task, choices[1:], Budget()) is choices[1]
    assert module._ranked(task, [wrong], Budget()) is None
