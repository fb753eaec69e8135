"""A problem file is refused with the name of a field, or it is planned: nobody else is blamed."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.decode_models import Decoder, growing_decoder, preallocated_decoder
from tests.support.models import MODELS, model_file
from tests.support.problem_mutants import mutants_of, small_problem
from tests.support.training import training_step
from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.exchange.problem_file import dump_problem, load_problem, read_problem
from ullage.compiler.frontend import FrontendOptions, prepare
from ullage.compiler.ir.problem import Problem
from ullage.compiler.verify.problem_rules import find_faults
from ullage.compiler.verify.verifier import find_violations
from ullage.solvers.run import run_solver

PROBLEMS = Path(__file__).parents[3] / "problems"


def verdict(document: dict[str, Any]) -> str:
    """What becomes of a problem; anything but a refusal, a plan or too little memory raises."""
    try:
        problem = load_problem(json.dumps(document).encode(), "p.json").problem
    except UsageError as error:
        is_located = error.message.startswith("p.json: ") and "field" in error.message
        return "refused" if is_located else error.message
    try:
        # It verifies every plan, and blames the solver where one is illegal.
        for solver in ("all-slow", "greedy"):
            assert find_violations(run_solver(solver, problem).plan) == []
    except InfeasibleError:
        return "infeasible"
    return "planned"


@pytest.mark.wide(6)
@pytest.mark.parametrize("target", ["edge-npu", "edge-npu-spm"])
@pytest.mark.parametrize("part", range(16))
def test_a_changed_problem_is_refused_or_planned(target: str, part: int) -> None:
    document = json.loads(dump_problem(small_problem(target)))
    found: Counter[str] = Counter()
    for name, mutant in list(mutants_of(document))[part::16]:
        try:
            found[verdict(mutant)] += 1
        except Exception as error:
            raise AssertionError(f"{name}: {error}") from error
    assert set(found) <= {"refused", "planned", "infeasible"}
    assert found["refused"] > 10
    assert found["planned"] > 3


@pytest.mark.parametrize("solver", ["all-slow", "greedy", "msa", "fluid"])
def test_a_weight_that_is_an_output_stays_at_home(solver: str) -> None:
    """An operator reads it in the fastest tier, and it is handed out from its home."""
    document = json.loads(dump_problem(small_problem("edge-npu-spm")))
    document["program"]["buffers"][1]["outputs"] = [[0, 512]]
    problem = load_problem(json.dumps(document).encode()).problem
    assert find_violations(run_solver(solver, problem).plan) == []


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("program", "steps", 1, "uses", 0, "buffer"), -1, "program.steps.1.uses.0.buffer"),
        (("program", "steps", 1, "uses", 0, "buffer"), 9, "program.steps.1.uses.0"),
        (("program", "steps", 1, "uses", 0, "end_byte"), 0, "program.steps.1"),
        (("program", "steps", 1, "uses", 0, "value"), "ghost", "program.steps.1.uses.0"),
        (("program", "steps", 4, "uses"), [], "program.steps.4.uses"),
        (("program", "steps", 1, "operator"), 1, "program.steps.2"),
        (("program", "steps", 1, "operator"), -1, "program.steps.1"),
        (("program", "steps", 1, "kind"), "dma", "program.steps.1"),
        (("program", "steps", 1, "name"), "relu", "program.steps.2.name"),
        (("program", "steps", 0, "measured_s"), 1.0, "program.steps.0"),
        (("program", "steps"), [], "program.steps.0"),
        (("program", "buffers"), [], "program.steps.1.uses.0"),
        (("program", "buffers", 0, "values"), [], "program.steps.1.uses.0"),
        (("program", "buffers", 0, "name"), "w", "program.buffers.1.name"),
        (("program", "buffers", 3, "outputs"), [], "program.buffers.3.outputs"),
        (("program", "buffers", 3, "outputs"), [[0, 1024], [0, 64]], "program.buffers.3.outputs"),
        (("program", "buffers", 0, "kind"), "activation", "program.steps.1"),
        (("target", "tiers", 0, "alignment_bytes"), 48, "target.tiers.sram.alignment_bytes"),
        (("target", "links"), [], "target.links"),
    ],
)
def test_the_field_is_named(path: tuple[str | int, ...], value: object, field: str) -> None:
    target = "edge-npu-spm" if path[-1] == "links" else "edge-npu"
    document = json.loads(dump_problem(small_problem(target)))
    node: Any = document
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    with pytest.raises(UsageError) as refused:
        load_problem(json.dumps(document).encode(), "p.json")
    assert f"field {field}: " in refused.value.message


def test_steps_in_reverse_are_refused_where_the_first_read_is() -> None:
    document = json.loads(dump_problem(small_problem("edge-npu")))
    document["program"]["steps"].reverse()
    with pytest.raises(UsageError, match="have not been written before") as refused:
        load_problem(json.dumps(document).encode())
    assert refused.value.details["field"] == "program.steps.1"
    assert len(refused.value.details["problems"]) > 1


def test_a_use_may_span_neighbours_in_its_buffer() -> None:
    """Operands side by side in the result that they are joined to are used as one range."""
    problem = read_problem(PROBLEMS / "one-shot" / "inception_v1-30.json").problem
    spans = [
        (use.start_byte, use.end_byte, value)
        for step in problem.steps
        for use in step.uses
        for value in problem.buffers[use.buffer].values
        if value.name == use.value
    ]
    assert any((low, high) != (v.start_byte, v.end_byte) for low, high, v in spans)


FILES = sorted(f for f in PROBLEMS.glob("*/*.json") if not f.name.endswith("solution.json"))


@pytest.mark.wide(12)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_problem_set_is_accepted(path: Path) -> None:
    assert faults_of(read_problem(path).problem) == []


def faults_of(problem: Problem) -> list[str]:
    return [f"{fault.field}: {fault.message}" for fault in find_faults(problem)]


@pytest.mark.wide(16)
@pytest.mark.parametrize("dtype", [None, "int8"])
@pytest.mark.parametrize("steady_state", [False, True])
@pytest.mark.parametrize("target", ["edge-npu", "edge-npu-spm", "phone-npu-flash", "stm32h743"])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_problems_of_models_are_accepted(
    name: str, target: str, dtype: str | None, *, steady_state: bool
) -> None:
    options = FrontendOptions(target=target, dtype=dtype, steady_state=steady_state)
    problem = prepare(model_file(name), options).problem
    assert load_problem(dump_problem(problem)).problem == problem


@pytest.mark.parametrize("make", [growing_decoder, preallocated_decoder])
@pytest.mark.parametrize("states", [(), ("auto",)])
def test_problems_with_states_are_accepted(make: Any, states: tuple[str, ...]) -> None:
    problem = prepare(make(Decoder()), FrontendOptions(states=states)).problem
    assert load_problem(dump_problem(problem)).problem == problem


def test_problems_of_training_are_accepted() -> None:
    problem = prepare(training_step(layers=2), FrontendOptions(steady_state=True)).problem
    assert load_problem(dump_problem(problem)).problem == problem
