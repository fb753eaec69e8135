"""`ilp` against brute force and `cpsat` in every mode, its plans, its manners under limits."""

import time
from collections import Counter
from dataclasses import replace

import pytest

from tests.support.cases import chain, problem_for, target_of
from tests.support.cosma_agree import Told, agree, ask
from tests.support.cosma_fork import fork
from tests.support.cosma_oracle import CosmaOracle, cosma_case
from tests.support.solving import Asked, solve_with
from tests.support.timing import within_limit
from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.driver.compile import compile_model, compile_problem, prepare
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.provenance import check_problem_matches
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.ir.problem import Problem
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.bounds import order_free_bound
from ullage.hwmodels.cost import objective_value, score
from ullage.solvers.cosma.ilp_model import CosmaModel
from ullage.solvers.cosma.question import Form
from ullage.solvers.cosma.tensors import GIVEN, program_of


def ilp(problem: Problem, objective: str = "traffic", limit_s: float = 30.0, **how: str) -> Told:
    return ask("ilp", problem, objective, limit_s, **how)


@pytest.mark.parametrize(
    ("mode", "operators", "space", "count"),
    [
        ("fixed", 5, "both", 30),
        ("fixed", 5, "addresses", 20),
        ("fixed-moves", 5, "both", 20),
        ("fixed", 7, "load", 40),
        ("free", 4, "both", 15),
        ("free", 6, "load", 20),
        ("peak-fixed", 7, "both", 20),
        ("peak-free", 5, "both", 15),
    ],
)
def test_it_finds_what_brute_force_finds(mode: str, operators: int, space: str, count: int) -> None:
    cases = Counter(agree("ilp", seed, mode, operators, space) for seed in range(count))
    assert not cases["unsolved"]
    if mode.startswith("fixed"):
        assert cases["loads decide"] >= 1, cases


def test_cpsat_finds_the_same() -> None:
    compared = 0
    for seed in range(300, 400):
        problem = cosma_case(seed, 5, shares=True)
        reads_in_place = any(b.kind == "weight" for b in problem.buffers)
        if reads_in_place and not problem.target.weights_in_fastest:
            continue  # `cpsat` may keep such weights
        if not CosmaOracle(problem, free_order=False).traffic(addresses=False):
            continue
        options = Asked(
            objective="traffic",
            deadline=time.monotonic() + 20,
            parameters={"relative_gap": 0.0},
        )
        plan = solve_with("cpsat", problem, options)
        found = ilp(problem, moves="yes", space="both")
        assert found.status == "optimal"
        assert score(found.plan).noncompulsory_bytes == score(plan).noncompulsory_bytes
        compared += 1
        if compared == 5:
            return
    raise AssertionError(compared)


def test_a_tensor_may_move_between_operators_only_where_asked() -> None:
    problem = cosma_case(13, 5, shares=True)
    asked = ilp(problem, moves="yes").objective
    published = ilp(problem).objective
    assert asked is not None
    assert published is not None
    assert asked < published


def test_the_numbered_constraints_hold_in_a_solution() -> None:
    from pulp import COIN_CMD

    from ullage.solvers.cosma.ilp_backend import _cbc

    for seed in range(6):
        problem = cosma_case(seed, 4, shares=False)
        program = program_of(problem, weights=True)
        model = CosmaModel(program, Form(free_order=True, load=True), lambda: None)
        model.lp.solve(COIN_CMD(msg=False, path=_cbc(), timeLimit=10))
        if model.lp.status != 1:
            continue
        kinds = ("created", "preserved", "spilled", "retrieved")
        values = [
            {k: {t: round(v.varValue) for t, v in getattr(own, k).items()} for k in kinds}
            for own in model.variables
        ]
        for tensor, own in zip(program.tensors, values, strict=True):
            c, p, s, r = (own[k] for k in kinds)
            assert sum(c.values()) == 1
            assert sum(s.values()) <= 1
            for t in range(model.count):
                now = (c.get(t, 0), p.get(t, 0), s.get(t, 0), r.get(t, 0))
                before = (c.get(t - 1, 0), p.get(t - 1, 0), r.get(t - 1, 0))
                assert sum(now) <= 1
                assert now[1] <= sum(before)
                assert now[2] <= before[0] + before[1]
                if tensor.producer != GIVEN:
                    assert now[3] <= sum(v for k, v in s.items() if k <= t)
        assert all(v["preserved"].get(0, 0) + v["spilled"].get(0, 0) == 0 for v in values)
        running = [
            t for outputs in program.outputs for t, v in values[outputs[0]]["created"].items() if v
        ]
        assert sorted(running) == list(range(model.count))


def test_a_free_order_saves_what_the_given_one_must_spill() -> None:
    target = cosma_case(0, 2, shares=False).target.with_fast_memory(13)
    problem = fork(target)
    fixed, free = ilp(problem), ilp(problem, order="free")
    assert (fixed.objective, free.objective) == (32, 0)
    assert free.plan.program.order == "ilp"
    names = [s.name for s in free.plan.problem.steps if s.kind != "dma"]
    assert sorted(names) == sorted(s.name for s in problem.steps if s.kind != "dma")
    peak = ilp(problem, "peak", order="free")
    assert peak.objective == objective_value(score(peak.plan), "peak") == 13
    assert ilp(problem, "peak").objective == 20
    compiled = compile_problem(
        problem.minimising("traffic"), CompileOptions(solver="ilp", parameters=FREE)
    )
    assert compiled.plan.model["order"] == "ilp"


FREE = {"order": "free"}


def test_a_plan_in_another_order_can_be_checked_against_its_model() -> None:
    options = CompileOptions(
        target="cosma",
        dtype="int8",
        solver="ilp",
        objective="traffic",
        alias=False,
        parameters=FREE,
    )
    compiled = compile_model("squeezenet", options)
    assert compiled.plan.model["order"] == "ilp"
    assert compiled.graph is not None
    check_problem_matches(compiled.plan, compiled.graph, "squeezenet")
    with pytest.raises(UsageError, match="--no-alias"):
        compile_model("squeezenet", replace(options, alias=True))


def test_an_in_place_result_takes_no_room_of_its_own() -> None:
    target = cosma_case(0, 2, shares=False).target.with_fast_memory(4)
    tensors = [Tensor("x", 1, "input"), Tensor("a", 3), Tensor("b", 3), Tensor("y", 1, "output")]
    ops = [
        Op("make a", ["x"], ["a"]),
        Op("make b", ["a"], ["b"], in_place={"b": "a"}),
        Op("make y", ["b"], ["y"]),
    ]
    found = ilp(problem_from_lists("in place", tensors, ops, target))
    assert found.objective == 0
    apart = problem_from_lists("apart", tensors, [replace(o, in_place=None) for o in ops], target)
    with pytest.raises(InfeasibleError):
        ilp(apart)


def test_weights_become_tensors_where_asked() -> None:
    target = target_of(1 << 20, operand_access="fastest", split_operands=False)
    build = chain()
    build.value("w", 64, "weight")
    build.op(["y", "w"], [("z", 32)])
    problem = problem_for(build, ["z"], target)
    assert not ilp(problem).plan.target.weights_in_fastest
    found = ilp(problem, weights="yes").plan
    assert found.target == target  # as asked; that weights were tensors is told
    assert any("weights_in_fastest=true" in note for note in found.notes)
    weight = next(i for i, b in enumerate(problem.buffers) if b.kind == "weight")
    assert any(t.buffer == weight for t in found.transfers)
    with pytest.raises(UsageError, match="demands weights"):
        ilp(problem.on(replace(target, weights_in_fastest=True)), weights="no")


@pytest.mark.parametrize("limit_s", [0.3, 2.0])
def test_the_deadline_is_obeyed(limit_s: float) -> None:
    options = CompileOptions(target="cosma", dtype="int8", objective="traffic")
    prepared = prepare(find_model("densenet121"), options)
    least = int(order_free_bound(prepared.problem.minimising("peak")).value)
    problem = prepared.on(prepared.target.with_fast_memory(least)).problem
    found = within_limit(limit_s, lambda _: ilp(problem, limit_s=limit_s))
    assert find_violations(found.plan) == []
    assert found.plan.notes or limit_s > 1  # CBC is not that fast


def test_the_sum_of_loads_is_solved_where_addresses_are_not() -> None:
    """DenseNet-121, whose big-M program a commercial solver did not close in half an hour."""
    options = CompileOptions(target="cosma", dtype="int8", objective="traffic", alias=False)
    prepared = prepare(find_model("densenet121"), options)
    least = int(order_free_bound(prepared.problem.minimising("peak")).value)
    found = ilp(prepared.on(prepared.target.with_fast_memory(least)).problem, space="load")
    assert found.status == "optimal"
    assert found.objective == found.bound == score(found.plan).noncompulsory_bytes > 0


@pytest.mark.parametrize(
    "parameters", [{"order": "any"}, {"space": "none"}, {"weights": "maybe"}, {"solver": "NONE"}]
)
def test_senseless_parameters_are_refused(parameters: dict[str, str]) -> None:
    problem = cosma_case(0, 3, shares=False)
    with pytest.raises(UsageError):
        ilp(problem, **parameters)


def test_what_cosma_does_not_know_is_refused() -> None:
    target = target_of(1024)
    problem = problem_for(chain(), ["y"], target)
    with pytest.raises(UsageError, match="--target cosma"):
        ilp(problem)
    with pytest.raises(UsageError, match="traffic or peak"):
        ilp(problem, "energy")
    demanding = replace(target, operand_access="fastest", links=())
    with pytest.raises(UsageError, match="no link"):
        ilp(problem.on(demanding))


def test_same_seed_same_plan() -> None:
    problem = cosma_case(7, 5, shares=True)
    assert ilp(problem).plan == ilp(problem).plan
