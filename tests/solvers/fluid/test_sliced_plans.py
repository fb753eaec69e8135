"""Plans in pages: where pages take much more than slices, the LP is solved for what is left."""

import math
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from tests.support.models import model_file
from tests.support.scratchpads import scratchpad_problem, scratchpad_target
from tests.support.solving import Asked, solve_with
from tests.support.tiled_models import gated_network
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.ir.plan import Residency
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.schedule import Part, Schedule, part_of
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.compiler.lowering.lower import build_program
from ullage.compiler.lowering.orders import model_order
from ullage.compiler.lowering.parts import lower_schedule
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import score
from ullage.solvers.budget import Budget
from ullage.solvers.fluid import sliced_plans
from ullage.solvers.fluid.slices.sliced_state import SlicedResidencyState
from ullage.solvers.interface import Solution
from ullage.solvers.run import run_solver


def problem_of(memory_bytes: int) -> Problem:
    """A network that makes a tensor in channels and reads it in rows: many small cells."""
    target = load_target("edge-npu").with_fast_memory(memory_bytes)
    graph = import_model(gated_network(), ImportOptions(dtype="int8"))
    quarters = [
        part_of(index, {1: (channel, channel + 4)})
        for channel in range(0, 16, 4)
        for index in range(3)
    ]
    rows = [part_of(index, {2: (row, row + 3)}) for row in range(0, 48, 3) for index in (4, 5)]
    schedule = Schedule("cells", (*quarters, Part(3), *rows))
    return Problem(lower_schedule(graph, schedule, aliases=alias_options(target)), target)


def test_room_that_pages_take_is_known_to_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of(8192)
    better = run_solver("fluid", problem)
    monkeypatch.setattr(sliced_plans, "PAGES_GAP", 1e9)
    blind = run_solver("fluid", problem)
    assert better.value < 0.995 * blind.value
    assert better.solution.bound == blind.solution.bound


def test_where_set_ups_are_dear_whole_segments_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """In steady state: one transfer of a weight may be better than two of its halves."""
    better = planned = 0
    for seed in range(12):
        rng = Random(seed)
        near = scratchpad_target(rng, 1, room=256)
        links = tuple(replace(link, setup_s=5e-7) for link in near.links)
        target = replace(near, links=links)
        problem = scratchpad_problem(rng, target, 7, steady_state=True)
        values = []
        for far in (math.inf, sliced_plans.FAR):
            monkeypatch.setattr(sliced_plans, "FAR", far)
            try:
                plan = solve_with("fluid", problem, Asked(parameters={"own_plan": True}))
            except InfeasibleError:
                break
            assert find_violations(plan) == []
            values.append(score(plan).latency_s)
        if len(values) == 2:
            planned += 1
            assert values[1] <= values[0] * (1 + 1e-9)
            better += values[1] < 0.99 * values[0]
        monkeypatch.undo()
    assert planned > 3
    assert better > 0


def test_small_ends_share_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of 48 B in pages of 256 B: five of six bytes would be lost."""
    problem = problem_of(6144)
    shared = run_solver("fluid", problem)

    def alone(*_: object) -> None:
        raise LookupError

    monkeypatch.setattr(sliced_plans, "place_in_shared_pages", alone)
    lonely = run_solver("fluid", problem)
    assert find_violations(shared.plan) == []
    assert shared.value < 0.98 * lonely.value
    assert shared.solution.bound == lonely.solution.bound


@pytest.mark.parametrize("steady", [False, True])
def test_shared_pages_give_legal_plans(steady: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where operands must be there, and where some stay for the next inference."""
    monkeypatch.setattr(sliced_plans, "PAGES_GAP", 0.0)
    placed = 0
    real = sliced_plans.place_in_shared_pages

    def counted(*args: Any) -> Any:
        nonlocal placed
        result = real(*args)
        placed += 1
        return result

    monkeypatch.setattr(sliced_plans, "place_in_shared_pages", counted)
    for seed in range(16):
        rng = Random(seed)
        target = replace(scratchpad_target(rng, 1, room=256), slice_granularity_bytes=64)
        target = replace(
            target, tiers=(replace(target.tiers[0], alignment_bytes=16), *target.tiers[1:])
        )
        problem = scratchpad_problem(rng, target, 8, steady_state=steady)
        try:
            plan = solve_with("fluid", problem, Asked(parameters={"own_plan": True}))
        except InfeasibleError:
            continue
        assert find_violations(plan) == []
    assert placed > 3


def test_where_slices_have_no_addresses_some_memory_is_left_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Slices between rows fill memory to the last byte; with a little room they have an order."""
    target = load_target("edge-npu").with_fast_memory(2048)
    target = replace(target, slice_granularity_bytes=0)
    graph = import_model(model_file("slices"), ImportOptions())
    program = build_program(graph, model_order(graph), aliases=alias_options(target))
    find = sliced_plans.place_in_rows
    values = []
    shares = len(sliced_plans.SPARES)
    for failures in range(1, shares + 2):  # of the program alone; of those with less room, too
        asked: list[SlicedResidencyState] = []

        def place(
            state: SlicedResidencyState,
            budget: Budget,
            asked: list[SlicedResidencyState] = asked,
            failures: int = failures,
        ) -> list[Residency]:
            asked.append(state)
            if len(asked) <= failures:
                raise LookupError
            return find(state, budget)

        monkeypatch.setattr(sliced_plans, "place_in_rows", place)
        monkeypatch.setattr(sliced_plans, "_plan_in_one_piece", nowhere)
        solved = run_solver("fluid", Problem(program, target))
        assert find_violations(solved.plan) == []
        assert failures < len(asked) <= shares + 1 or len(asked) == failures == shares + 1
        values.append(solved.value)
    assert values[-2] < values[-1]
    assert max(values[:-1]) <= 1.02 * solved.solution.bound.value


def test_odd_rows_are_cut_between_any_two_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of 121 B reach a unit of 16 B after 16 rows: cuts there lose a quarter of a tensor."""
    target = load_target("edge-npu").with_fast_memory(8192)
    tiers = tuple(replace(tier, alignment_bytes=16) for tier in target.tiers)
    target = replace(target, tiers=tiers, slice_granularity_bytes=0)
    steps = [f"x{i}" for i in range(5)]
    tensors = [Tensor(name, 64 * 121) for name in steps[1:-1]]
    tensors += [Tensor(steps[0], 64, "input"), Tensor(steps[-1], 64, "output")]
    operators = [Op(f"o{i}", [a], [b], macs=1000) for i, (a, b) in enumerate(pairwise(steps))]
    problem = problem_from_lists("odd rows", tensors, operators, target)
    buffers = tuple(replace(each, row_bytes=121) for each in problem.buffers)
    problem = replace(problem, program=replace(problem.program, buffers=buffers))
    values = []
    for coarse in (0, sliced_plans.COARSE_CUTS):
        monkeypatch.setattr(sliced_plans, "COARSE_CUTS", coarse)
        solved = run_solver("fluid", problem, parameters={"own_plan": True})
        assert find_violations(solved.plan) == []
        values.append(solved.value)
    assert values[1] < 0.98 * values[0]


def nowhere(*_direct: object, **_how: object) -> Solution:
    raise LookupError
