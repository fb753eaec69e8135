"""`cpsat` on COSMA's problem: against brute force and `ilp`, its order, limits."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.cosma_agree import Told, agree, ask, how_of
from tests.support.cosma_fork import fork
from tests.support.cosma_oracle import cosma_case
from tests.support.solving import Asked, solve_with
from tests.support.timing import within_limit
from ullage.compiler.common.errors import UsageError
from ullage.compiler.driver.compile import compile_model, prepare
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.provenance import check_problem_matches
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP
from ullage.compiler.lowering.aliases import NO_ALIASES
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.bounds import order_free_bound
from ullage.hwmodels.cost import objective_value, score
from ullage.solvers.cosma import cpsat_pairs
from ullage.solvers.cosma.cpsat_choice import Choice, choice_of, hint
from ullage.solvers.cosma.cpsat_model import CosmaChoice
from ullage.solvers.cosma.precedence import bits, pinned, precedence_of, some_order
from ullage.solvers.cosma.question import Form
from ullage.solvers.cosma.tensors import program_of
from ullage.solvers.scheduling.peak_order import smallest_peak

seeds = st.integers(0, 10**6)
FREE = {"order": "free"}


def cpsat(problem: Problem, objective: str = "traffic", limit_s: float = 30.0, **how: str) -> Told:
    return ask("cpsat", problem, objective, limit_s, **how)


@pytest.mark.parametrize(
    ("mode", "operators", "space", "count"),
    [
        ("fixed", 7, "load", 60),
        ("fixed", 5, "addresses", 60),
        ("fixed-moves", 5, "addresses", 60),
        ("free", 7, "load", 60),
        ("free", 6, "addresses", 60),
        ("free-moves", 5, "addresses", 60),
        ("peak-fixed", 7, "load", 30),
        ("peak-free", 7, "load", 60),
    ],
)
def test_it_finds_what_brute_force_finds(mode: str, operators: int, space: str, count: int) -> None:
    cases = Counter(agree("cpsat", seed, mode, operators, space) for seed in range(count))
    assert not cases["unsolved"]
    if not mode.startswith("peak"):
        assert cases["loads decide"] >= 1, cases


@pytest.mark.parametrize("mode", ["fixed", "fixed-moves", "free", "free-moves"])
def test_addresses_that_decide_are_cut_off_and_proven(mode: str) -> None:
    """Seeds where the fewest bytes by loads have no addresses."""
    seeds = (20_009, 20_028, 20_318) if "free" in mode else (20_242, 20_321, 20_327)
    cases = {agree("cpsat", seed, mode, 6, "addresses") for seed in seeds}
    assert cases == {"addresses decide"}


def test_ilp_and_cpsat_say_the_same() -> None:
    compared = 0
    for seed in range(400, 416):
        problem = cosma_case(seed, 4, shares=False)
        for mode in ("free", "fixed", "peak-free"):
            objective = "peak" if mode.startswith("peak") else "traffic"
            how = how_of(mode, "both")
            one, other = (ask(s, problem, objective, 30.0, **how) for s in ("ilp", "cpsat"))
            assert one.status == other.status == "optimal" or one.status == "unknown"
            if one.status == "optimal":
                assert (one.objective, one.bound) == (other.objective, other.bound)
                compared += bool(one.objective)
    assert compared >= 3


def test_a_free_order_saves_what_the_given_one_must_spill() -> None:
    target = cosma_case(0, 2, shares=False).target.with_fast_memory(13)
    problem = fork(target)
    fixed, free = cpsat(problem, moves="no"), cpsat(problem, order="free")
    assert (fixed.objective, free.objective) == (32, 0)
    assert free.plan.program.order == "cpsat"
    names = [s.name for s in free.plan.problem.steps if s.kind != DMA_STEP]
    assert sorted(names) == sorted(s.name for s in problem.steps if s.kind != DMA_STEP)
    peak = cpsat(problem, "peak", order="free")
    assert peak.objective == peak.bound == objective_value(score(peak.plan), "peak") == 13
    assert cpsat(problem, "peak").objective == 20


def test_the_smallest_peak_is_that_of_the_order_search() -> None:
    """Two searches that share nothing: dynamic programming over sets, and CP-SAT."""
    options = CompileOptions(target="cosma", dtype="int8", objective="peak", alias=False)
    for model in ("squeezenet", "inception_v1", "shufflenet"):
        prepared = prepare(find_model(model), options)
        known = smallest_peak(prepared.graph, NO_ALIASES)
        found = cpsat(prepared.problem, "peak", order="free")
        assert known.is_optimal
        assert found.status == "optimal"
        assert found.objective == known.peak_bytes
        assert objective_value(score(found.plan), "peak") >= known.peak_bytes


def test_a_plan_in_another_order_can_be_checked_against_its_model() -> None:
    options = CompileOptions(
        target="cosma",
        dtype="int8",
        solver="cpsat",
        objective="traffic",
        alias=False,
        parameters=FREE,
        fast_memory_bytes=1 << 20,
    )
    compiled = compile_model("squeezenet", options)
    assert compiled.graph is not None
    check_problem_matches(compiled.plan, compiled.graph, "squeezenet")
    with pytest.raises(UsageError, match="--no-alias"):
        compile_model("squeezenet", replace(options, alias=True))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=seeds)
def test_hints_are_solutions(seed: int) -> None:
    """Any choice that fits, told as a hint, satisfies every row of the model."""
    from ortools.sat.python import cp_model

    problem = cosma_case(seed, 6, shares=False)
    program = program_of(problem.on(problem.target.with_fast_memory(1 << 20)), weights=True)
    flow = precedence_of(program)
    order = some_order(flow.before, list(reversed(range(len(program.steps)))))
    form = Form(free_order=True, addresses=seed % 2 == 0, moves=seed % 3 == 0)
    model = CosmaChoice(program, form, flow)
    place = {o: at for at, o in enumerate(order)}
    kept = {
        (a, e, r)
        for a in range(len(program.tensors))
        for e, r in pairwise(sorted(model.uses(a), key=place.__getitem__))
    }
    choice = Choice(tuple(order), frozenset(kept))
    hint(model, choice)
    hints = model.model.proto.solution_hint
    solver = cp_model.CpSolver()
    solver.parameters.fix_variables_to_their_hinted_value = True
    assert len(hints.vars) == len(model.model.proto.variables)
    assert solver.solve(model.model) in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    assert choice_of(model, solver.value, order) == choice


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=seeds)
def test_windows_pin_everything_else(seed: int) -> None:
    problem = cosma_case(seed, 7, shares=False)
    program = program_of(problem, weights=True)
    flow = precedence_of(program)
    count = len(program.steps)
    order = some_order(flow.before, list(reversed(range(count))))
    first, last = sorted((seed % count, seed // 7 % count))
    loose = sum(1 << o for o in order[first : last + 1])
    allowed = pinned(flow, order, loose)
    for candidate in permutations(order[first : last + 1]):
        whole = [*order[:first], *candidate, *order[last + 1 :]]
        place = {o: at for at, o in enumerate(whole)}
        legal = all(place[e] < place[o] for o in range(count) for e in bits(flow.before[o]))
        kept = all(place[e] < place[o] for o in range(count) for e in bits(allowed.before[o]))
        assert legal == kept
    assert all(allowed.after[e] >> o & 1 for o in range(count) for e in bits(allowed.before[o]))


def test_positions_keep_the_order_where_triples_are_not_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    positioned = 0
    monkeypatch.setattr(cpsat_pairs, "MOST_TRIPLES", 0)
    for seed in range(40):
        agree("cpsat", seed, "free", 6, "load")
        problem = cosma_case(seed, 6, shares=False)
        program = program_of(problem, weights=problem.target.weights_in_fastest)
        form = Form(free_order=True, addresses=False)
        positioned += bool(CosmaChoice(program, form, precedence_of(program)).pairs.positions)
    assert positioned >= 3


@pytest.mark.parametrize("limit_s", [0.3, 2.0])
@pytest.mark.parametrize("order", ["fixed", "free"])
def test_the_deadline_is_obeyed(limit_s: float, order: str) -> None:
    options = CompileOptions(target="cosma", dtype="int8", objective="traffic", alias=False)
    prepared = prepare(find_model("densenet121"), options)
    least = int(order_free_bound(prepared.problem.minimising("peak")).value)
    target = prepared.target.with_fast_memory(least)
    problem = prepared.problem.on(target)
    found = within_limit(limit_s, lambda _: cpsat(problem, limit_s=limit_s, order=order))
    assert find_violations(found.plan) == []


def test_what_a_free_order_cannot_do_is_refused() -> None:
    problem = cosma_case(0, 3, shares=False)
    for wrong in ({"order": "any"}, {"space": "none"}, {"weights": "maybe"}, {"moves": "never"}):
        with pytest.raises(UsageError):
            cpsat(problem, **wrong)
    options = Asked(objective="latency", parameters=FREE)
    with pytest.raises(UsageError, match="traffic or peak"):
        solve_with("cpsat", problem, options)


def test_a_weight_that_is_no_tensor_takes_no_room() -> None:
    target = cosma_case(0, 2, shares=False).target.with_fast_memory(4)
    tensors = [Tensor("x", 2, "input"), Tensor("w", 4, "weight"), Tensor("y", 2, "output")]
    problem = problem_from_lists("one", tensors, [Op("make y", ["x", "w"], ["y"])], target)
    assert cpsat(problem, order="free", weights="no").objective == 0
    roomy = target.with_fast_memory(8)
    assert cpsat(problem.on(roomy), "peak", order="free", weights="yes").objective == 8


@pytest.mark.parametrize("more", [{}, {"num_workers": "3"}])
def test_same_seed_same_plan(more: dict[str, str]) -> None:
    for seed in (7, 13, 20_009, 20_318):
        problem = cosma_case(seed, 7, shares=False)
        one, two = (cpsat(problem, order="free", **more).plan for _ in range(2))
        assert one == two


def test_same_seed_same_plan_of_a_network() -> None:
    options = CompileOptions(target="cosma", dtype="int8", objective="traffic", alias=False)
    prepared = prepare(find_model("inception_v2"), options)
    least = int(order_free_bound(prepared.problem.minimising("peak")).value)
    target = replace(prepared.target.with_fast_memory(least), weights_in_fastest=False)
    one, two = (cpsat(prepared.problem.on(target), order="free") for _ in range(2))
    assert one.status == "optimal"
    assert one.plan == two.plan
