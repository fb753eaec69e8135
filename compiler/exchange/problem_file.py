"""Problem files: what is to be planned, without a model (docs/problems.md has the rules).

A file says what runs in one of two ways: as lists of tensors and operators, by name, from which the
program is made (other compilers write those), or as the program itself, step by step, to the byte
(`--emit problem` writes that; whoever reads it plans exactly the same problem).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from ullage.compiler.common.errors import UsageError, located
from ullage.compiler.common.files import MAX_READ_BYTES, read_file
from ullage.compiler.common.json_files import (
    brief,
    check_version,
    field_fault,
    json_fault,
    json_object,
    object_at,
    published,
    schema_of,
)
from ullage.compiler.common.ranges import BoundValue, Seconds
from ullage.compiler.ir.problem import Objective, Problem
from ullage.compiler.ir.program import Program
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.from_lists import problem_from_lists
from ullage.compiler.lowering.lists import Op, Tensor
from ullage.compiler.verify.problem_rules import check_problem
from ullage.hwmodels.catalog.registry import load_target

# What the field `format` of a problem file is.
PROBLEM_FORMAT: Literal["ullage-problem"] = "ullage-problem"
# The version that is written and read.
PROBLEM_VERSION: Literal[1] = 1
# The published JSON Schema, a file of this package.
PROBLEM_SCHEMA_FILE = "problem.schema.json"
# Name of the file that `--emit problem` writes.
PROBLEM_FILE = "problem.json"

Text = Annotated[str, Field(max_length=1000)]


@dataclass(frozen=True)
class Record:
    """The best that is known of a problem.

    Attributes:
        value: of the best legal solution known, in the objective's unit (s, bytes, J).
        solver: who found it.
        lower_bound: a value below which no legal solution falls.
        bound_source: what proved that.
    """

    value: BoundValue | None = None
    solver: Text = ""
    lower_bound: BoundValue | None = None
    bound_source: Text = ""


@dataclass(frozen=True)
class ProblemFile:
    """The fields of a problem file.

    Attributes:
        format: always `ullage-problem`.
        format_version: version of the file format.
        name: name of the problem.
        target: the chip: all of it, or the name of one that is shipped (`ullage targets list`).
        fast_memory_bytes: capacity of its fastest tier instead of the target's.
        objective: what is minimised: `latency` (s), `traffic` (bytes beyond each byte moved once),
            `energy` (J) or `peak` (bytes of the fastest tier).
        latency_limit_s: with objective `peak`, a solution may take no longer; null: no limit.
        steady_state: the steps repeat for ever; weights may stay from one inference to the next.
        tensors: all tensors, by name; with `operators`, and without `program`.
        operators: in execution order.
        program: the steps and buffers themselves; without `tensors` and `operators`.
        record: the best that is known of the problem.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False
    )

    format: Literal["ullage-problem"]
    format_version: Literal[1]
    name: Text
    target: Target | str
    fast_memory_bytes: Annotated[int, Field(ge=0, le=2**62)] | None = None
    objective: Objective = "latency"
    latency_limit_s: Seconds | None = None
    steady_state: bool = False
    tensors: tuple[Tensor, ...] | None = None
    operators: tuple[Op, ...] | None = None
    program: Program | None = None
    record: Record | None = None


@dataclass(frozen=True)
class StatedProblem:
    """A problem from a file, and the best that the file says is known of it.

    Attributes:
        problem: the problem.
        record: the best that is known; empty where the file does not say.
    """

    problem: Problem
    record: Record


@dataclass(frozen=True)
class Changes:
    """What a user asks of a problem instead of what its file says; None and empty: as it says.

    Attributes:
        target: name or file of another target.
        fast_memory_bytes: another capacity of the fastest tier.
        overrides: target fields to override.
        objective: another objective.
    """

    target: str | None = None
    fast_memory_bytes: int | None = None
    overrides: Mapping[str, str] | None = None
    objective: str | None = None


def is_problem_file(path: object) -> bool:
    """Whether a path is that of a problem file: JSON with the `format` of one."""
    document = object_at(path)
    return document is not None and document.get("format") == PROBLEM_FORMAT


def read_problem(path: Path | str, changes: Changes | None = None) -> StatedProblem:
    """A problem from a file.

    Args:
        path: the file.
        changes: what is asked for instead of what the file says.

    Raises:
        UsageError: it cannot be read, is no problem file, or describes no problem that makes sense;
            says which field is wrong.
    """
    return load_problem(read_file(path, MAX_READ_BYTES), str(path), changes)


def load_problem(
    data: bytes, where: str = "problem", changes: Changes | None = None
) -> StatedProblem:
    """A problem from JSON; arguments and errors as of `read_problem`.

    Args:
        data: the JSON document, in UTF-8.
        where: what messages call it.
        changes: what is asked for instead of what the file says.
    """
    from pydantic import ValidationError

    asked = changes or Changes()
    try:
        document = json_object(data)
    except ValueError as error:
        raise UsageError(f"{where}: not a problem file: {error}") from error
    if document.get("format") != PROBLEM_FORMAT:
        raise UsageError(
            f"{where}: not a problem file: its field format is {brief(document.get('format'))}, "
            f"that of a problem {PROBLEM_FORMAT!r}; `ullage compile MODEL -o DIR --emit problem` "
            "writes one"
        )
    check_version(document.get("format_version"), where, "problem", (PROBLEM_VERSION,))
    try:
        read: ProblemFile = _adapter().validate_json(data)
    except ValidationError as error:
        damage = json_fault(error, data)
        if damage is not None:
            raise UsageError(f"{where}: not a problem file: {damage}") from error
        raise UsageError(f"{where}: not a problem: {field_fault(error)[1]}") from error
    _check_steady(document, where)
    with located(where):
        problem = _problem_of(read, asked)
    check_problem(problem, where)
    return StatedProblem(problem, read.record if _is_same(asked) and read.record else Record())


def _check_steady(document: dict[str, Any], where: str) -> None:
    """Check that a problem and its program do not contradict one another about steady state.

    Raises:
        UsageError: both say it, and not the same.
    """
    program = document.get("program") or {}
    said, own = document.get("steady_state"), program.get("steady_state")
    if None not in (said, own) and said != own:
        raise UsageError(
            f"{where}: field steady_state is {str(said).lower()}, and that of its program "
            f"{str(own).lower()}: say it once"
        )


def _is_same(asked: Changes) -> bool:
    """Whether what is asked for is what the file says: its record is of no other problem."""
    return asked == Changes() or not any(getattr(asked, field.name) for field in fields(Changes))


def _problem_of(read: ProblemFile, asked: Changes) -> Problem:
    target, objective = _target_of(read, asked), asked.objective or read.objective
    lists = (read.tensors, read.operators)
    if read.program is None:
        if read.tensors is None or read.operators is None:
            missing = "tensors" if read.tensors is None else "operators"
            raise UsageError(
                f"the problem has no {missing}; it says what runs as tensors and operators, or as "
                "a program"
            )
        problem = problem_from_lists(read.name, read.tensors, read.operators, target, objective)
    elif lists != (None, None):
        raise UsageError("the problem has a program and lists of tensors or operators: leave one")
    else:
        if asked.target is not None or asked.overrides:
            _check_steps(read.program, target)
        problem = Problem(replace(read.program, name=read.name), target, objective)
    steady = read.steady_state or problem.steady_state
    problem = replace(problem, program=replace(problem.program, steady_state=steady))
    if read.latency_limit_s is None:
        return problem
    if objective != "peak":
        raise UsageError(
            f"latency_limit_s limits the latency of objective peak, and this one is {objective}"
        )
    return problem.within(read.latency_limit_s)


def _target_of(read: ProblemFile, asked: Changes) -> Target:
    if asked.target is not None:
        target = load_target(asked.target, asked.overrides or {})
    elif asked.overrides:
        if not isinstance(read.target, str):
            raise UsageError(
                "--set overrides fields of a target that is read by its name, and this problem has "
                "a whole target: change it there, or name another (--target)"
            )
        target = load_target(read.target, asked.overrides)
    else:
        target = load_target(read.target) if isinstance(read.target, str) else read.target
    size = asked.fast_memory_bytes
    if size is None and asked.target is None:
        size = read.fast_memory_bytes
    return target if size is None else target.with_fast_memory(size)


def _check_steps(program: Program, target: Target) -> None:
    """Check that a program has as many DMA-only steps as a target needs.

    Raises:
        UsageError: it has not: its steps were made for another chip.
    """
    from ullage.compiler.ir.program import DMA_STEP

    wanted = target.dma_steps
    kinds = [step.kind == DMA_STEP for step in program.steps]
    first = kinds.index(False) if False in kinds else len(kinds)
    runs = [index for index, is_dma in enumerate(kinds) if not is_dma]
    between = {after - before - 1 for before, after in pairwise(runs)}
    if (runs and first != wanted.at_ends) or not between <= {wanted.between}:
        raise UsageError(
            f"the problem's steps are made for another chip than {target.name}: that needs "
            f"{wanted.at_ends} DMA-only steps at each end and {wanted.between} between operators"
        )


def dump_problem(problem: Problem, record: Record | None = None) -> bytes:
    """A problem as UTF-8 JSON: its program step by step, the whole target, and its record.

    Args:
        problem: the problem.
        record: the best that is known of it.
    """
    objective: Any = problem.objective
    file = ProblemFile(
        format=PROBLEM_FORMAT,
        format_version=PROBLEM_VERSION,
        name=problem.name,
        target=problem.target,
        objective=objective,
        latency_limit_s=problem.latency_limit_s,
        steady_state=problem.steady_state,
        program=problem.program,
        record=record,
    )
    return bytes(_adapter().dump_json(file, exclude_none=True, warnings=False))


@cache
def _adapter() -> Any:  # noqa: ANN401 - pydantic's adapter has no useful static type here
    from pydantic import TypeAdapter

    return TypeAdapter(ProblemFile)


def problem_schema() -> dict[str, Any]:
    """The JSON Schema of problem files, made from the dataclasses."""
    return schema_of(_adapter(), f"ullage problem, format {PROBLEM_VERSION}")


def published_problem_schema() -> dict[str, Any]:
    """The JSON Schema file that ships with the package."""
    return published("ullage.compiler.exchange", PROBLEM_SCHEMA_FILE)
