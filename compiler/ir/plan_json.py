"""Plans as JSON files: loss-free, checked against the published schema when they are read."""

from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ullage.compiler.common.errors import MalformedPlanError, UsageError
from ullage.compiler.common.files import MAX_READ_BYTES, read_file, write_atomic
from ullage.compiler.common.json_files import (
    brief,
    check_version,
    field_fault,
    json_fault,
    json_object,
    published,
)
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.plan_file import PlanFile, PlanFile1
from ullage.compiler.ir.problem import Problem

# Version of the files that are written.
PLAN_FORMAT: Literal[2] = 2
# Versions that can be read. In version 1 links and transfers have no names, and figures of the
# search are among `options`.
READABLE_FORMATS = (1, 2)
# The published JSON Schema, a file of this package.
SCHEMA_FILE = "plan.schema.json"
# What a `format` begins with that other files of ours have; plans have none.
FOREIGN_FORMATS = "ullage-"


# Fields that plan and file have in common.
_COMMON = tuple(f.name for f in fields(Plan) if f.name != "problem")


def _file_of(plan: Plan) -> PlanFile:
    common = {name: getattr(plan, name) for name in _COMMON}
    objective: Any = plan.objective  # the verifier knows the possible ones
    return PlanFile(
        plan.target, plan.program, objective=objective, format_version=PLAN_FORMAT, **common
    )


def _plan_of(read: PlanFile) -> Plan:
    problem = Problem(read.problem, read.target, read.objective)
    return Plan(problem, **{name: getattr(read, name) for name in _COMMON})


@cache
def _adapter(version: int = PLAN_FORMAT) -> Any:  # noqa: ANN401 - pydantic's adapter has no useful static type here
    from pydantic import TypeAdapter

    return TypeAdapter(PlanFile if version == PLAN_FORMAT else PlanFile1)


def dump_plan(plan: Plan) -> bytes:
    """A plan as UTF-8 JSON."""
    return bytes(_adapter().dump_json(_file_of(plan), warnings=False))


def load_plan(data: bytes, where: str = "plan") -> Plan:
    """A plan from JSON.

    Raises:
        MalformedPlanError: a field of the plan is unknown, missing or wrong; says which.
        UsageError: not JSON, or another format version.
    """
    from pydantic import ValidationError

    try:
        document = json_object(data)
    except ValueError as error:
        raise UsageError(f"{where}: not a plan file: {error}") from error
    other = document.get("format")
    if isinstance(other, str) and other.startswith(FOREIGN_FORMATS):
        raise UsageError(
            f"{where}: not a plan, but a file of format {brief(other)}: `ullage compile` makes a "
            "plan of a problem, and `ullage check PROBLEM SOLUTION` examines a solution"
        )
    if "format_version" not in document:
        keys = ", ".join(brief(key) for key in list(document)[:4]) or "nothing"
        raise UsageError(
            f"{where}: not a plan: it has no format_version (it has {keys}); plans are the files "
            "plan.json that `ullage compile MODEL -o DIR` writes"
        )
    version = check_version(
        document.get("format_version"), where, "plan", READABLE_FORMATS, "; compile again"
    )
    try:
        read = _adapter(version).validate_json(data)
    except ValidationError as error:
        damage = json_fault(error, data)
        if damage is not None:
            raise UsageError(f"{where}: not a plan file: {damage}") from error
        field_name, fault = field_fault(error)
        raise MalformedPlanError(
            f"{where}: not a plan: {fault}",
            {"field": field_name, "problems": error.error_count()},
        ) from error
    return _plan_of(read.as_present() if isinstance(read, PlanFile1) else read)


def read_plan(path: str | Path) -> Plan:
    """A plan from a file.

    Args:
        path: the file, `plan.json` of `ullage compile -o`.

    Raises:
        UsageError: the file cannot be read, is a folder or a device, is larger than 1 GiB, or
            holds no plan.
    """
    return load_plan(read_file(path, MAX_READ_BYTES), str(path))


def write_plan(plan: Plan, path: Path | str) -> None:
    """Write a plan to a file, whole or not at all."""
    write_atomic(path, dump_plan(plan))


def plan_schema() -> dict[str, Any]:
    """The JSON Schema of plans of every readable format, made from the dataclasses."""
    from pydantic import TypeAdapter

    inputs = [(version, "validation", _adapter(version)) for version in READABLE_FORMATS]
    roots, schema = TypeAdapter.json_schemas(inputs)  # type: ignore[arg-type]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"ullage plan, formats {' and '.join(map(str, READABLE_FORMATS))}",
        "oneOf": [roots[version, "validation"] for version in READABLE_FORMATS],
        **schema,
    }


def published_schema() -> dict[str, Any]:
    """The JSON Schema file that ships with the package."""
    return published("ullage.compiler.ir", SCHEMA_FILE)
