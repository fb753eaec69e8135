"""Plans as JSON: loss-free, validated against the published schema on the way in."""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.files import write_atomic
from ullage.compiler.ir.plan import PLAN_FORMAT, Plan

SCHEMA_FILE = "plan.schema.json"


@cache
def _adapter() -> Any:  # noqa: ANN401 - pydantic's adapter has no useful static type here
    from pydantic import TypeAdapter

    return TypeAdapter(Plan)


def dump_plan(plan: Plan) -> bytes:
    """A plan as UTF-8 JSON."""
    return bytes(_adapter().dump_json(plan))


def load_plan(data: bytes, where: str = "plan") -> Plan:
    """A plan from JSON.

    Raises:
        UsageError: not JSON, another format version, or not a plan; says which field is wrong.
    """
    from pydantic import ValidationError

    try:
        version = json.loads(data).get("format_version")
    except (ValueError, AttributeError, RecursionError) as error:
        raise UsageError(f"{where}: not a plan file: {error}") from error
    if type(version) is not int or version != PLAN_FORMAT:  # true is 1 to Python
        raise UsageError(
            f"{where}: plan format {version!r}; this version reads {PLAN_FORMAT}; compile again"
        )
    try:
        plan: Plan = _adapter().validate_json(data, strict=None)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"{where}: not a plan: field {field}: {first['msg']} "
            f"({error.error_count()} problems in all)"
        ) from error
    return plan


def read_plan(path: Path) -> Plan:
    """A plan from a file.

    Raises:
        UsageError: the file cannot be read or holds no plan.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    return load_plan(data, str(path))


def write_plan(plan: Plan, path: Path) -> None:
    """Write a plan to a file, whole or not at all."""
    write_atomic(path, dump_plan(plan))


def plan_schema() -> dict[str, Any]:
    """The JSON Schema of plans, made from the dataclasses."""
    schema: dict[str, Any] = _adapter().json_schema(mode="validation")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = f"ullage plan, format {PLAN_FORMAT}"
    return schema


def published_schema() -> dict[str, Any]:
    """The JSON Schema file that ships with the package."""
    text = files("ullage.compiler.ir").joinpath(SCHEMA_FILE).read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded
