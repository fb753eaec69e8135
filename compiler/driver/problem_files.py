"""Problem files as input: what a file and the options together ask for."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeGuard

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.files import is_file
from ullage.compiler.driver.options import CompileOptions, check_applies
from ullage.compiler.exchange.problem_file import Changes, is_problem_file, read_problem
from ullage.compiler.importer.joint.fx_file import is_joint_file
from ullage.compiler.ir.problem import Problem

# Bytes of a file, at most, that tell whether it is JSON.
_BEGINNING = 4096


@dataclass(frozen=True)
class AskedProblem:
    """A problem as asked for, and how to plan it.

    Attributes:
        problem: of the file, with another target, capacity or objective where the options name one.
        options: the rest of the options.
    """

    problem: Problem
    options: CompileOptions


def is_taken_as_problem(path: object) -> TypeGuard[Path]:
    """Whether a path is read as a problem file: a JSON file that is no joint graph, even damaged.

    Args:
        path: what the user named: a model, or a problem file.
    """
    if is_problem_file(path):
        return True
    if not isinstance(path, Path) or not is_file(path):
        return False
    return (path.suffix == ".json" or _begins_as_json(path)) and not is_joint_file(path)


def _begins_as_json(path: Path) -> bool:
    """Whether the first byte that is not blank is a brace, as of no ONNX file."""
    try:
        with path.open("rb") as stream:
            beginning = stream.read(_BEGINNING)
    except OSError:  # whoever reads it as a model says why
        return False
    return beginning.lstrip().startswith(b"{")


def of_problem(path: Path, options: CompileOptions) -> AskedProblem:
    """The problem of a file, changed as the options ask.

    Args:
        path: a problem file.
        options: target, capacity, overrides and objective, where named, count instead of the
            file's.

    Raises:
        UsageError: the file is wrong, or an option says how a model is read.
    """
    changes = Changes(
        target=options.target,
        fast_memory_bytes=options.fast_memory_bytes,
        overrides=options.overrides,
        objective=options.objective,
    )
    problem = read_problem(path, changes).problem
    if options.slower_by is not None and problem.latency_limit_s is not None:
        raise UsageError(
            f"{path} has a latency_limit_s, and --slower-by is another limit: leave one out"
        )
    rest = replace(
        options,
        target=None,
        fast_memory_bytes=None,
        overrides={},
        objective=problem.objective,
    )
    check_applies(rest, problem)
    return AskedProblem(problem, rest)


def objective_of(path: Path, options: CompileOptions) -> str:
    """What is minimised: as the options say, else as a problem file does, else the latency.

    Args:
        path: a model, or a problem file.
        options: the options.

    Raises:
        UsageError: the problem file is wrong.
    """
    if options.objective is None and is_taken_as_problem(path):
        return read_problem(path).problem.objective
    return options.minimised


def refuse_problem(path: Path, command: str) -> None:
    """Refuse a problem file where only a model will do.

    Args:
        path: what the user named.
        command: the command, for the message.

    Raises:
        UsageError: it is a problem file, or a JSON file that is damaged.
    """
    if is_taken_as_problem(path):
        read_problem(path)
        raise UsageError(
            f"{path}: a problem file has no model, which {command} needs; `ullage compile`, "
            "`compare`, `sweep` and `check` take problem files"
        )
