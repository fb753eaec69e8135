"""Plans as JSON files: loss-free, checked against the published schema when they are read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.files import write_atomic
from ullage.compiler.ir.plan import Plan, Residency, Transfer
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import Program
from ullage.compiler.ir.target import Target

# Version of the files that are written.
PLAN_FORMAT = 2
# Versions that can be read. In version 1 links and transfers have no names, and figures of the
# search are among `options`.
READABLE_FORMATS = (1, 2)
# The published JSON Schema, a file of this package.
SCHEMA_FILE = "plan.schema.json"


@dataclass(frozen=True)
class PlanFile:
    """The fields of a plan's JSON file; those of `Plan` with the problem taken apart.

    Attributes:
        target: the chip planned for, with overrides applied.
        problem: the steps and buffers planned, a `Program`.
        residencies: sorted by buffer, start byte, start.
        transfers: sorted by first step.
        solver: name of the solver that made it.
        objective: what was minimised.
        seed: seed of the solver.
        options: parameters of the solver that differ from its defaults.
        model: how to import the model again (name, dtype policy, dims, fusion ...).
        notes: fallbacks taken on the way; never empty when one was.
        lower_bound: bound of the objective that the solver proved, in the objective's unit.
        bound_source: name of what proved it.
        claimed_bound: bound that a third party's solver claims; nobody here has proven it.
        claimed_by: who claims it.
        shadow_prices: (resource, what one more unit of it saves in the objective's unit) pairs.
        statistics: figures about the search, by name.
        format_version: version of the file format, `PLAN_FORMAT`.
    """

    target: Target
    problem: Program
    residencies: tuple[Residency, ...]
    transfers: tuple[Transfer, ...]
    solver: str
    objective: str = "latency"
    seed: int = 0
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    lower_bound: float | None = None
    bound_source: str = ""
    claimed_bound: float | None = None
    claimed_by: str = ""
    shadow_prices: tuple[tuple[str, float], ...] = ()
    statistics: Mapping[str, float] = field(default_factory=dict)
    format_version: int = PLAN_FORMAT


# Fields that plan and file have in common.
_COMMON = tuple(f.name for f in fields(Plan) if f.name != "problem")


def _file_of(plan: Plan) -> PlanFile:
    common = {name: getattr(plan, name) for name in _COMMON}
    return PlanFile(plan.target, plan.program, objective=plan.objective, **common)


def _plan_of(read: PlanFile) -> Plan:
    problem = Problem(read.problem, read.target, read.objective)
    return Plan(problem, **{name: getattr(read, name) for name in _COMMON})


@cache
def _adapter() -> Any:  # noqa: ANN401 - pydantic's adapter has no useful static type here
    from pydantic import TypeAdapter

    return TypeAdapter(PlanFile)


def dump_plan(plan: Plan) -> bytes:
    """A plan as UTF-8 JSON."""
    return bytes(_adapter().dump_json(_file_of(plan)))


def load_plan(data: bytes, where: str = "plan") -> Plan:
    """A plan from JSON.

    Raises:
        UsageError: not JSON, another format version, or not a plan; says which field is wrong.
    """
    from pydantic import ValidationError

    try:
        document = json.loads(data)
        version = document.get("format_version")
    except (ValueError, AttributeError, RecursionError) as error:
        raise UsageError(f"{where}: not a plan file: {error}") from error
    if type(version) is not int or version not in READABLE_FORMATS:  # true is 1 to Python
        raise UsageError(
            f"{where}: plan format {version!r}; this version reads "
            f"{' and '.join(map(str, READABLE_FORMATS))}; compile again"
        )
    if version == 1:
        data = json.dumps(_from_format_1(document)).encode()
    try:
        read: PlanFile = _adapter().validate_json(data, strict=None)
    except ValidationError as error:
        first = error.errors()[0]
        field_name = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"{where}: not a plan: field {field_name}: {first['msg']} "
            f"({error.error_count()} problems in all)"
        ) from error
    return _plan_of(read)


def _from_format_1(document: dict[str, Any]) -> dict[str, Any]:
    """The document of a file of format 1, changed to the present format.

    Format 1 kept statistics and shadow prices among `options`. Its links and transfers have no
    names; those get their default names when the document is read.
    """
    converted = {**document, "format_version": PLAN_FORMAT}
    options = document.get("options")
    if not isinstance(options, dict):
        return converted
    own = {k: v for k, v in options.items() if isinstance(v, str | int | float)}
    figures = ("whole_bound", "parts_solved", "parts_taken")
    converted["options"] = {k: v for k, v in own.items() if k not in (*figures, "interrupted")}
    converted["statistics"] = {k: own[k] for k in figures if k in own}
    prices = options.get("prices")
    converted["shadow_prices"] = [
        [price.get("what"), price.get("saves_s")]
        for price in (prices if isinstance(prices, list) else ())
        if isinstance(price, dict)
    ]
    return converted


def read_plan(path: str | Path) -> Plan:
    """A plan from a file.

    Args:
        path: the file, `plan.json` of `ullage compile -o`.

    Raises:
        UsageError: the file cannot be read or holds no plan.
    """
    try:
        data = Path(path).read_bytes()
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
