"""Problems from lists: what a compiler without ONNX writes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ullage.compiler.common.errors import UsageError
from ullage.compiler.driver.compile import compile_problem
from ullage.compiler.ir.program import DMA_STEP
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.hwmodels.catalog.registry import load_target

TARGET = load_target("edge-npu")
TENSORS = [
    Tensor("x", 4096, "input"),
    Tensor("w", 1024, "weight"),
    Tensor("a", 2048),
    Tensor("b", 2048),
    Tensor("y", 64, "output"),
]
OPERATORS = [
    Op("conv", ["x", "w"], ["a"], macs=10_000, gemms=[(10, 10, 100)]),
    Op("relu", ["a"], ["b"], vector_elements=2048, in_place={"b": "a"}),
    Op("pool", ["b", "b"], ["y"], vector_elements=2048),
]


def test_steps_buffers_and_uses() -> None:
    problem = problem_from_lists("mine", TENSORS, OPERATORS, TARGET)
    assert [s.kind for s in problem.steps] == [DMA_STEP, "conv", "relu", "pool", DMA_STEP]
    assert {b.name for b in problem.buffers} == {"x", "w", "a", "y"}  # b overwrites a
    relu = problem.steps[2]
    assert sorted((u.value, u.write) for u in relu.uses) == [("a", False), ("b", True)]
    assert len(problem.steps[3].uses) == 2  # b is read once
    assert problem.steps[1].macs == 10_000


def test_a_plan_comes_out() -> None:
    problem = problem_from_lists("mine", TENSORS, OPERATORS, TARGET)
    done = compile_problem(problem)
    assert done.score.latency_s >= done.bound.value
    assert done.plan.problem == problem


@pytest.mark.parametrize(
    ("tensors", "operators", "message"),
    [
        ([*TENSORS, TENSORS[0]], OPERATORS, "two tensors have the same name 'x'"),
        (TENSORS, [*OPERATORS, OPERATORS[0]], "two operators"),
        (TENSORS, OPERATORS[1:], "before anything writes it"),
        (TENSORS, OPERATORS[:2], "output 'y' is written by nothing"),
        (TENSORS, [*OPERATORS, Op("again", ["a"], ["x"])], "an input or a weight"),
        (TENSORS, [*OPERATORS, Op("again", ["a"], ["b"])], "written already"),
        (TENSORS, [*OPERATORS, Op("again", ["zz"], [])], "unknown tensor 'zz'"),
        (TENSORS, [*OPERATORS, Op("again", [], ["zz"])], "unknown tensor 'zz'"),
        (TENSORS, [replace(OPERATORS[0], dtype="int7"), *OPERATORS[1:]], "unknown data type"),
        ([replace(TENSORS[0], size_bytes=-1), *TENSORS[1:]], OPERATORS, "size_bytes is -1"),
    ],
)
def test_nonsense_is_refused(tensors: list[Tensor], operators: list[Op], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        problem_from_lists("mine", tensors, operators, TARGET)


def tensor(**changes: Any) -> tuple[Any, Any]:
    return [replace(TENSORS[0], **changes), *TENSORS[1:]], OPERATORS


def operator(**changes: Any) -> tuple[Any, Any]:
    return TENSORS, [OPERATORS[0], replace(OPERATORS[1], **changes), OPERATORS[2]]


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        (("x", OPERATORS), ["tensors is 'x'"]),
        ((TENSORS, "relu"), ["operators is 'relu'"]),
        (([*TENSORS, "z"], OPERATORS), ["entry 5 of tensors is 'z'", "Tensor"]),
        ((TENSORS, [*OPERATORS, None]), ["entry 3 of operators is None", "Op"]),
        (tensor(size_bytes=1.5), ["tensor 0 ('x')", "size_bytes is 1.5"]),
        (tensor(size_bytes=True), ["tensor 0 ('x')", "size_bytes is True"]),
        (tensor(size_bytes="4096"), ["tensor 0 ('x')", "size_bytes is '4096'"]),
        (tensor(size_bytes=2**63), ["tensor 0 ('x')", "2**62"]),
        (tensor(name=""), ["tensor 0 ('')", "not empty"]),
        (tensor(name=7), ["tensor 0 (7)", "the name is 7"]),
        (tensor(kind="constant"), ["tensor 0 ('x')", "'constant'", "weight"]),
        (operator(name=None), ["operator 1 (None)", "the name is None"]),
        (operator(reads="a"), ["operator 1 ('relu')", "reads is 'a'", "list of names"]),
        (operator(writes="b"), ["operator 1 ('relu')", "writes is 'b'"]),
        (operator(reads=[0]), ["operator 1 ('relu')", "reads holds 0"]),
        (operator(macs=-1), ["operator 1 ('relu')", "macs is -1"]),
        (operator(vector_elements=2.0), ["operator 1 ('relu')", "vector_elements is 2.0"]),
        (operator(workspace_bytes=None), ["operator 1 ('relu')", "workspace_bytes is None"]),
        (operator(dtype=8), ["operator 1 ('relu')", "unknown data type 8"]),
        (operator(gemms=(1, 2, 3)), ["operator 1 ('relu')", "a gemm is 1"]),
        (operator(gemms=[(1, 2)]), ["operator 1 ('relu')", "(m, k, n)"]),
        (operator(gemms=[(1, 2, -3)]), ["operator 1 ('relu')", "n of a gemm is -3"]),
        (operator(gemms=[(1, 2, 3, -4)]), ["operator 1 ('relu')", "count of a gemm is -4"]),
        (operator(gemms=[(1, 2, 3, 4, 5)]), ["operator 1 ('relu')", "(m, k, n, count)"]),
        (operator(gemms=3), ["operator 1 ('relu')", "gemms is 3"]),
        (operator(in_place={"b": "w"}), ["'relu'", "in_place 'b' -> 'w'", "does not read 'w'"]),
        (operator(in_place={"y": "a"}), ["'relu'", "in_place 'y' -> 'a'", "does not write 'y'"]),
        (operator(in_place=["b", "a"]), ["'relu'", "in_place is ['b', 'a']", "maps outputs"]),
        (operator(views={"b": "a"}), ["'relu'", "views 'b' -> 'a'", "already"]),
        (
            ([*TENSORS[:3], Tensor("b", 1024), TENSORS[4]], OPERATORS),
            ["'relu'", "in_place 'b' -> 'a'", "1024 and 2048 bytes"],
        ),
    ],
)
def test_an_error_says_which_entry_is_wrong_and_how(
    lists: tuple[Any, Any], words: list[str]
) -> None:
    with pytest.raises(UsageError) as raised:
        problem_from_lists("mine", *lists, TARGET)
    assert all(word in raised.value.message for word in ["mine: ", *words]), raised.value.message


def test_target_objective_and_name_are_checked() -> None:
    for name, target, objective, word in (
        ("mine", "edge-npu", "latency", "load_target"),
        ("mine", TARGET, "speed", "unknown objective 'speed'"),
        (None, TARGET, "latency", "name is None"),
    ):
        with pytest.raises(UsageError, match=word):
            problem_from_lists(name, TENSORS, OPERATORS, target, objective)  # type: ignore[arg-type]


def test_sizes_of_numpy_are_sizes() -> None:
    tensors = [replace(t, size_bytes=np.int64(t.size_bytes)) for t in TENSORS]  # type: ignore[arg-type]
    operators = [OPERATORS[0], *OPERATORS[1:]]
    operators[0] = replace(operators[0], macs=np.int32(10_000))  # type: ignore[arg-type]
    problem = problem_from_lists("mine", tensors, operators, TARGET)
    assert problem == problem_from_lists("mine", TENSORS, OPERATORS, TARGET)
    assert all(type(buffer.size_bytes) is int for buffer in problem.buffers)


def test_a_problem_built_by_hand_is_checked_before_it_is_solved() -> None:
    problem = problem_from_lists("mine", TENSORS, OPERATORS, TARGET)
    program = problem.program
    step = program.steps[1]
    beyond = replace(step, uses=(replace(step.uses[0], end_byte=1 << 40), *step.uses[1:]))
    steps = (program.steps[0], beyond, *program.steps[2:])
    with pytest.raises(UsageError, match="the problem is malformed"):
        compile_problem(replace(problem, program=replace(program, steps=steps)))
    with pytest.raises(UsageError, match="a Problem is needed, not Program"):
        compile_problem(program)  # type: ignore[arg-type]


def test_names_that_no_file_can_hold_are_refused() -> None:
    odd = "x\udcff"
    with pytest.raises(UsageError, match=r"tensor 0 .* is no Unicode text"):
        problem_from_lists("mine", [replace(TENSORS[0], name=odd)], [], TARGET)
    with pytest.raises(UsageError, match="is no Unicode text"):
        problem_from_lists("mine", TENSORS, [replace(OPERATORS[0], name=odd)], TARGET)
    with pytest.raises(UsageError, match=r"the model: .* is no Unicode text"):
        problem_from_lists(odd, TENSORS, OPERATORS, TARGET)


@pytest.mark.parametrize("what", ["program", "order", "buffer", "value", "step", "use", "tier"])
def test_names_in_a_problem_built_by_hand_are_texts_that_files_hold(what: str) -> None:
    problem, odd = problem_from_lists("mine", TENSORS, OPERATORS, TARGET), "x\udcff"
    program, target = problem.program, problem.target
    step, buffer = program.steps[1], program.buffers[0]
    use, value = replace(step.uses[0], value=odd), replace(buffer.values[0], name=odd)
    tier = replace(target.tiers[-1], name=odd)
    others = program.buffers[1:], (program.steps[0], *program.steps[2:])
    changed = {
        "program": replace(program, name=odd),
        "order": replace(program, order=odd),
        "buffer": replace(program, buffers=(replace(buffer, name=odd), *others[0])),
        "value": replace(program, buffers=(replace(buffer, values=(value,)), *others[0])),
        "step": replace(program, steps=(others[1][0], replace(step, name=odd), *others[1][1:])),
        "use": replace(
            program,
            steps=(others[1][0], replace(step, uses=(use, *step.uses[1:])), *others[1][1:]),
        ),
        "tier": program,
    }
    chip = replace(target, tiers=(*target.tiers[:-1], tier)) if what == "tier" else target
    with pytest.raises(UsageError, match="must be Unicode text"):
        compile_problem(replace(problem, program=changed[what], target=chip))


def test_a_problem_whose_buffers_are_doubled_is_malformed() -> None:
    problem = problem_from_lists("mine", TENSORS, OPERATORS, TARGET)
    doubled = replace(problem.program, buffers=problem.program.buffers * 2)
    with pytest.raises(UsageError, match=r"malformed: field program\.buffers\.4\.name"):
        compile_problem(replace(problem, program=doubled))
