"""Solution files: anybody's answer to a problem file (docs/problems.md has the rules)."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from ullage.compiler.common.errors import MalformedPlanError, UsageError
from ullage.compiler.common.files import MAX_READ_BYTES, read_file
from ullage.compiler.common.json_files import (
    brief,
    check_version,
    field_fault,
    json_fault,
    json_object,
    published,
    schema_of,
)
from ullage.compiler.common.ranges import BoundValue, Count, Index
from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.plan import Plan, Residency, Transfer
from ullage.compiler.ir.plan_json import load_plan
from ullage.compiler.ir.problem import Problem

# What the field `format` of a solution file is.
SOLUTION_FORMAT: Literal["ullage-solution"] = "ullage-solution"
# The version that is written and read.
SOLUTION_VERSION: Literal[1] = 1
# The published JSON Schema, a file of this package.
SOLUTION_SCHEMA_FILE = "solution.schema.json"
# Name of the file that `--emit solution` writes.
SOLUTION_FILE = "solution.json"

Text = Annotated[str, Field(max_length=1000)]


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Where a tensor lies in the buffers of the program.

    Attributes:
        name: the tensor.
        buffer: index of its buffer.
        start_byte: first byte of it there.
        end_byte: one past its last byte.
    """

    name: str
    buffer: Index
    start_byte: Count
    end_byte: Count


@dataclass(frozen=True)
class SolutionFile:
    """The fields of a solution file.

    Attributes:
        format: always `ullage-solution`.
        format_version: version of the file format.
        problem: name of the problem that it solves.
        solver: who or what found it.
        residencies: which bytes of a buffer are where, in which steps.
        transfers: which bytes move, over which link, in which steps.
        fast_memory_bytes: with objective `peak`, the capacity of the fastest tier that it is for,
            where that is more than the problem's.
        value: what it says its objective is, in the objective's unit; null: it says nothing.
        tensors: where each tensor lies, for readers that know tensors and no buffers; null: it says
            nothing.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False
    )

    format: Literal["ullage-solution"]
    format_version: Literal[1]
    problem: Text
    residencies: tuple[Residency, ...]
    transfers: tuple[Transfer, ...]
    solver: Text = ""
    fast_memory_bytes: Count | None = None
    value: BoundValue | None = None
    tensors: tuple[TensorPlace, ...] | None = None


@dataclass(frozen=True)
class StatedSolution:
    """An answer to a problem, from a file.

    Attributes:
        assignment: the answer.
        solver: who or what found it; empty where the file does not say.
        value: what the file says its objective is; None where it says nothing.
        lower_bound: the bound that the file states; nobody here has proven it. None: none.
        bound_source: what is said to have proven it.
    """

    assignment: Assignment
    solver: str
    value: float | None
    lower_bound: float | None = None
    bound_source: str = ""


def read_solution(path: Path | str, problem: Problem) -> StatedSolution:
    """An answer to a problem, from a solution file or a plan file.

    Args:
        path: the file.
        problem: what it is to solve.

    Raises:
        UsageError: the file cannot be read, is neither, or is of another problem.
        MalformedPlanError: a field of it is unknown, missing or wrong; says which.
    """
    return load_solution(read_file(path, MAX_READ_BYTES), problem, str(path))


def load_solution(data: bytes, problem: Problem, where: str = "solution") -> StatedSolution:
    """An answer to a problem, from JSON; errors as of `read_solution`.

    Args:
        data: the JSON document, in UTF-8.
        problem: what it is to solve.
        where: what messages call it.
    """
    from pydantic import ValidationError

    try:
        document = json_object(data)
    except ValueError as error:
        raise UsageError(f"{where}: not a solution file: {error}") from error
    if document.get("format") is None and "format_version" in document:
        return _of_plan(load_plan(data, where), problem, where)
    if document.get("format") != SOLUTION_FORMAT:
        raise UsageError(
            f"{where}: neither a solution nor a plan: its field format is "
            f"{brief(document.get('format'))}, that of a solution {SOLUTION_FORMAT!r}"
        )
    check_version(document.get("format_version"), where, "solution", (SOLUTION_VERSION,))
    try:
        read: SolutionFile = _adapter().validate_json(data)
    except ValidationError as error:
        damage = json_fault(error, data)
        if damage is not None:
            raise UsageError(f"{where}: not a solution file: {damage}") from error
        name, fault = field_fault(error)
        raise MalformedPlanError(
            f"{where}: not a solution: {fault}",
            {"field": name, "problems": error.error_count()},
        ) from error
    if read.problem != problem.name:
        raise UsageError(
            f"{where}: a solution of {brief(read.problem)}, and the problem is {problem.name!r}"
        )
    if read.tensors is not None and set(read.tensors) != set(_places(problem)):
        raise UsageError(
            f"{where}: its field tensors says where tensors lie, and not as the problem does; "
            "leave it out, or solve this problem"
        )
    solved = _with_fast_memory(problem, read.fast_memory_bytes, where)
    return StatedSolution(
        Assignment(solved, read.residencies, read.transfers), read.solver, read.value
    )


def _with_fast_memory(problem: Problem, size_bytes: int | None, where: str) -> Problem:
    there = problem.target.fastest.capacity_bytes
    if size_bytes in (None, there):
        return problem
    if problem.objective != "peak" or size_bytes is None or size_bytes < there:
        raise UsageError(
            f"{where}: it is for {size_bytes} bytes of {problem.target.fastest.name}, and the "
            f"problem has {there}"
            + ("" if problem.objective == "peak" else "; only objective peak may need more")
        )
    return problem.on(problem.target.with_fast_memory(size_bytes))


def _of_plan(plan: Plan, problem: Problem, where: str) -> StatedSolution:
    """The answer that a plan is.

    Raises:
        UsageError: it is a plan of another problem.
    """
    if plan.problem.program != problem.program:
        raise UsageError(f"{where}: a plan of other steps or buffers than those of the problem")
    if plan.objective != problem.objective:
        raise UsageError(
            f"{where}: a plan that minimises {plan.objective}, and the problem's objective is "
            f"{problem.objective}"
        )
    solved = _with_fast_memory(problem, plan.target.fastest.capacity_bytes, where)
    if plan.target != solved.target:
        raise UsageError(f"{where}: a plan for another chip than the problem's")
    return StatedSolution(
        Assignment(solved, plan.residencies, plan.transfers),
        plan.solver,
        None,
        plan.lower_bound,
        plan.bound_source,
    )


def dump_solution(answer: Assignment | Plan, problem_name: str, solver: str, value: float) -> bytes:
    """An answer as UTF-8 JSON.

    Args:
        answer: the answer.
        problem_name: name of the problem that it solves.
        solver: who found it.
        value: its objective, in its unit.
    """
    is_peak = answer.objective == "peak"
    file = SolutionFile(
        format=SOLUTION_FORMAT,
        format_version=SOLUTION_VERSION,
        problem=problem_name,
        residencies=answer.residencies,
        transfers=answer.transfers,
        solver=solver,
        fast_memory_bytes=answer.target.fastest.capacity_bytes if is_peak else None,
        value=value,
        tensors=tuple(_places(answer.problem)),
    )
    return bytes(_adapter().dump_json(file, exclude_none=True, warnings=False))


def _places(problem: Problem) -> list[TensorPlace]:
    """Where each tensor lies in the buffers of a problem."""
    return [
        TensorPlace(value.name, number, value.start_byte, value.end_byte)
        for number, buffer in enumerate(problem.buffers)
        for value in buffer.values
    ]


@cache
def _adapter() -> Any:  # noqa: ANN401 - pydantic's adapter has no useful static type here
    from pydantic import TypeAdapter

    return TypeAdapter(SolutionFile)


def solution_schema() -> dict[str, Any]:
    """The JSON Schema of solution files, made from the dataclasses."""
    return schema_of(_adapter(), f"ullage solution, format {SOLUTION_VERSION}")


def published_solution_schema() -> dict[str, Any]:
    """The JSON Schema file that ships with the package."""
    return published("ullage.compiler.exchange", SOLUTION_SCHEMA_FILE)
