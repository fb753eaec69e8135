"""Solutions of anybody: the legal ones are scored, and tampering of any kind is found."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.cases import random_case
from tests.support.solving import Asked, solve_with
from ullage.compiler.common.errors import InfeasibleError, UllageError, UsageError
from ullage.compiler.exchange.check import check_solution
from ullage.compiler.exchange.problem_file import Record, StatedProblem
from ullage.compiler.exchange.solution_file import (
    dump_solution,
    load_solution,
    published_solution_schema,
    solution_schema,
)
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.plan_json import dump_plan
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import value_of
from ullage.solvers.run import run_solver


@pytest.fixture(scope="module")
def plan() -> Plan:
    """A plan with residencies in two tiers and transfers between them."""
    target = load_target("edge-npu-spm").with_fast_memory(48 * 1024)
    tensors = [Tensor("x", 16_000, "input"), Tensor("y", 8_000, "output")]
    operators, last = [], "x"
    for number in range(5):
        tensors += [Tensor(f"w{number}", 6_000, "weight"), Tensor(f"a{number}", 8_000)]
        reads = [last, f"w{number}"]
        operators.append(Op(f"conv{number}", reads, [f"a{number}"], macs=4_000_000))
        last = f"a{number}"
    operators.append(Op("add", ["a0", last], ["y"], vector_elements=8_000))
    problem = problem_from_lists("chain", tensors, operators, target)
    return run_solver("fluid", problem).plan


def document_of(plan: Plan) -> dict[str, Any]:
    made = dump_solution(plan, plan.problem.name, "somebody", value_of(plan))
    loaded: dict[str, Any] = json.loads(made)
    return loaded


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), solver=st.sampled_from(("greedy", "msa", "all-slow")))
def test_plans_are_solutions_of_their_problems(seed: int, solver: str) -> None:
    problem = random_case(seed)
    try:
        plan = solve_with(solver, problem, Asked(seed=seed))
    except InfeasibleError:
        return
    value = value_of(plan)
    data = dump_solution(plan, problem.name, solver, value)
    jsonschema.validate(json.loads(data), published_solution_schema())
    for file in (data, dump_plan(plan)):
        stated = StatedProblem(problem, Record())
        checked = check_solution(stated, load_solution(file, problem))
        assert checked.value == value
        assert checked.lower_bound.value <= value * (1 + 1e-9)


def test_the_published_schema_is_of_this_code() -> None:
    assert published_solution_schema() == json.loads(json.dumps(solution_schema()))


def test_a_solution_is_compared_with_what_is_known(plan: Plan) -> None:
    problem, value = plan.problem, value_of(plan)
    solution = load_solution(json.dumps(document_of(plan)).encode(), problem)
    known = check_solution(StatedProblem(problem, Record(value * 2, "x", value / 2, "y")), solution)
    assert (known.improves, known.refutes_bound) == (True, False)
    assert known.gap is not None
    assert known.gap <= 1.0
    same = check_solution(StatedProblem(problem, Record(value, "x", value, "y")), solution)
    assert (same.improves, same.gap, same.lower_bound.source) == (False, 0.0, "y")
    wrong = check_solution(StatedProblem(problem, Record(None, "", value * 1.01, "y")), solution)
    assert wrong.refutes_bound
    assert wrong.lower_bound == wrong.bound
    assert wrong.improves is None


def test_a_value_that_is_not_the_own_is_seen(plan: Plan) -> None:
    stated = StatedProblem(plan.problem, Record())
    document = document_of(plan)
    for value, verdict in ((document["value"], True), (document["value"] / 2, False)):
        read = load_solution(json.dumps(document | {"value": value}).encode(), plan.problem)
        assert check_solution(stated, read).value_is_as_stated is verdict
    del document["value"]
    read = load_solution(json.dumps(document).encode(), plan.problem)
    assert check_solution(stated, read).value_is_as_stated is None


def _first(document: dict[str, Any], tier: str) -> dict[str, Any]:
    row: dict[str, Any] = next(r for r in document["residencies"] if r["tier"] == tier)
    return row


def _drop_residency(document: dict[str, Any]) -> None:
    document["residencies"].remove(_first(document, "sram"))


def _move_beyond(document: dict[str, Any]) -> None:
    _first(document, "sram")["offset"] = 48 * 1024


def _overlap(document: dict[str, Any]) -> None:
    rows = [r for r in document["residencies"] if r["tier"] == "sram"]
    first, second = next(
        (a, b)
        for a in rows
        for b in rows
        if a["buffer"] != b["buffer"] and a["start"] < b["end"] and b["start"] < a["end"]
    )
    second["offset"] = first["offset"]


def _end_early(document: dict[str, Any]) -> None:
    _first(document, "sram")["end"] -= 1


def _ready_before_the_data(document: dict[str, Any]) -> None:
    row = next(r for r in document["residencies"] if r["tier"] == "sram" and r["ready"] > 0)
    row["ready"] = row["start"] = 0


def _drop_transfer(document: dict[str, Any]) -> None:
    document["transfers"].pop(0)


def _move_fewer_bytes(document: dict[str, Any]) -> None:
    document["transfers"][0]["moves"][0][1] -= 1


def _move_too_late(document: dict[str, Any]) -> None:
    moves = document["transfers"][0]["moves"]
    moves[-1][0] = 10**6


def _another_link(document: dict[str, Any]) -> None:
    document["transfers"][0]["link"] = "no-such-link"


def _unknown_tier(document: dict[str, Any]) -> None:
    document["residencies"][0]["tier"] = "attic"


def _unknown_buffer(document: dict[str, Any]) -> None:
    document["residencies"][0]["buffer"] = 10**6


def _misaligned(document: dict[str, Any]) -> None:
    _first(document, "sram")["offset"] += 1


def _float_for_an_address(document: dict[str, Any]) -> None:
    document["residencies"][0]["offset"] = 0.5


def _unknown_field(document: dict[str, Any]) -> None:
    document["residencies"][0]["colour"] = "red"


@pytest.mark.parametrize(
    "tamper",
    [
        _drop_residency,
        _move_beyond,
        _overlap,
        _end_early,
        _ready_before_the_data,
        _drop_transfer,
        _move_fewer_bytes,
        _move_too_late,
        _another_link,
        _unknown_tier,
        _unknown_buffer,
        _misaligned,
        _float_for_an_address,
        _unknown_field,
    ],
)
def test_tampering_is_found(plan: Plan, tamper: Callable[[dict[str, Any]], None]) -> None:
    document = document_of(plan)
    stated = StatedProblem(plan.problem, Record())
    check_solution(stated, load_solution(json.dumps(document).encode(), plan.problem))
    tamper(document)
    with pytest.raises(UllageError) as refused:
        check_solution(stated, load_solution(json.dumps(document).encode(), plan.problem))
    assert refused.value.kind in {"verification", "usage"}
    assert refused.value.details


def test_solutions_of_other_problems_are_refused(plan: Plan) -> None:
    document = document_of(plan)
    other = replace(plan.problem, program=replace(plan.problem.program, name="other"))
    with pytest.raises(UsageError, match="a solution of 'chain'"):
        load_solution(json.dumps(document).encode(), other)
    smaller = plan.problem.on(plan.problem.target.with_fast_memory(40 * 1024))
    with pytest.raises(UsageError, match="bytes of sram"):
        load_solution(dump_plan(plan), smaller)
    with pytest.raises(UsageError, match="minimises latency"):
        load_solution(dump_plan(plan), plan.problem.minimising("energy"))
    with pytest.raises(UsageError, match="other steps or buffers"):
        load_solution(dump_plan(plan), other)
    document["tensors"][0]["end_byte"] += 1
    with pytest.raises(UsageError, match="where tensors lie"):
        load_solution(json.dumps(document).encode(), plan.problem)


def test_more_memory_is_for_the_peak_alone(plan: Plan) -> None:
    document = document_of(plan) | {"fast_memory_bytes": 2**20}
    with pytest.raises(UsageError, match="only objective peak"):
        load_solution(json.dumps(document).encode(), plan.problem)


def test_a_limit_is_kept_and_spills_are_no_peak(plan: Plan) -> None:
    latency = value_of(plan)
    data = json.dumps(document_of(plan)).encode()
    for limit_s, legal in ((latency, True), (latency * 0.99, False)):
        limited = plan.problem.within(limit_s)
        read = load_solution(data, limited)
        if legal:
            assert check_solution(StatedProblem(limited, Record()), read).value > 0
        else:
            with pytest.raises(UllageError, match="latency-limit"):
                check_solution(StatedProblem(limited, Record()), read)


def test_everything_at_home_is_no_answer_for_the_peak() -> None:
    tensors = [Tensor("x", 6_000, "input"), Tensor("a", 4_000), Tensor("y", 4_000, "output")]
    operators = [Op("one", ["x"], ["a"], macs=9_000), Op("two", ["a"], ["y"], macs=9_000)]
    problem = problem_from_lists("small", tensors, operators, load_target("edge-npu"), "peak")
    at_home = run_solver("all-slow", problem.minimising("latency")).plan
    data = dump_solution(at_home, "small", "all-slow", 0.0)
    read = load_solution(data, problem)
    with pytest.raises(UllageError, match="spill"):
        check_solution(StatedProblem(problem, Record()), read)
