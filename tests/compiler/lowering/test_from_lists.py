"""Problems from lists: what a compiler without ONNX writes."""

from dataclasses import replace

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
        ([*TENSORS, TENSORS[0]], OPERATORS, "two tensors"),
        (TENSORS, [*OPERATORS, OPERATORS[0]], "two operators"),
        (TENSORS, OPERATORS[1:], "before anything writes it"),
        (TENSORS, OPERATORS[:2], "output 'y' is written by nothing"),
        (TENSORS, [*OPERATORS, Op("again", ["a"], ["x"])], "an input or a weight"),
        (TENSORS, [*OPERATORS, Op("again", ["a"], ["b"])], "written already"),
        (TENSORS, [*OPERATORS, Op("again", ["zz"], [])], "unknown tensor 'zz'"),
        (TENSORS, [*OPERATORS, Op("again", [], ["zz"])], "unknown tensor 'zz'"),
        (TENSORS, [replace(OPERATORS[0], dtype="int7"), *OPERATORS[1:]], "unknown data type"),
        ([replace(TENSORS[0], size_bytes=-1), *TENSORS[1:]], OPERATORS, "-1 bytes"),
    ],
)
def test_nonsense_is_refused(tensors: list[Tensor], operators: list[Op], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        problem_from_lists("mine", tensors, operators, TARGET)
