"""Checks of target files: by the schema, then of what several fields must agree on.

Each fault names the field, as `--set` spells it, and a remedy.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ullage.compiler.common.dtypes import BITS
from ullage.compiler.common.errors import Fault, UsageError
from ullage.compiler.ir.graph import MAC_KINDS, NEST_KINDS
from ullage.compiler.ir.target import (
    COMPUTE_MODELS,
    DEFAULT_CYCLES,
    OUTPUT_CYCLES,
    ComputeModel,
    link_name,
)
from ullage.hwmodels.catalog import quantities as figures
from ullage.hwmodels.catalog import schema
from ullage.hwmodels.catalog.roles import role_problems

# Problems of one file that an error lists.
MAX_PROBLEMS_SHOWN = 8
# How a figure is written, for error messages.
FIGURE_FORM = "{value: ..., source: ..., confidence: high|medium|low}"


def check_target(document: Mapping[Any, Any], origin: str) -> schema.TargetFile:
    """The checked contents of a target file.

    Args:
        document: the file's mapping, inheritance applied.
        origin: the file, for messages.

    Raises:
        UsageError: a field is unknown, missing or wrong; names the file, each field, a remedy.
    """
    try:
        file = schema.TargetFile.model_validate(document)
    except ValidationError as error:
        raise usage_error(origin, list(_schema_problems(error, document))) from None
    problems = [*_tier_problems(file), *_link_problems(file), *_compute_problems(file)]
    problems += [*_home_problems(file), *_published_problems(file)]
    if not problems:
        # Only a sound file resolves to a target.
        problems += role_problems(schema.resolve(file))
    if problems:
        raise usage_error(origin, problems)
    return file


def usage_error(origin: str, problems: list[Fault]) -> UsageError:
    """One error that lists the problems of a file."""
    lines = [f"{field}: {message}" for field, message in problems[:MAX_PROBLEMS_SHOWN]]
    if len(problems) > MAX_PROBLEMS_SHOWN:
        lines.append(f"and {len(problems) - MAX_PROBLEMS_SHOWN} more")
    text = f"{origin}: {lines[0]}" if len(lines) == 1 else "\n  ".join([f"{origin}:", *lines])
    rows = [{"field": field, "message": message} for field, message in problems]
    return UsageError(text, {"file": origin, "problems": rows[:MAX_PROBLEMS_SHOWN]})


def entry_name(entry: object) -> str | None:
    """Name of a list entry: a tier's or link's own, else `source->destination` of a link."""
    if not isinstance(entry, Mapping):
        return None
    if isinstance(entry.get("name"), str):
        return str(entry["name"])
    if isinstance(entry.get("source"), str) and isinstance(entry.get("destination"), str):
        return f"{entry['source']}->{entry['destination']}"
    return None


def _schema_problems(error: ValidationError, document: Mapping[Any, Any]) -> Iterator[Fault]:
    """The faults that the schema finds, in words of our own."""
    for problem in error.errors(include_url=False, include_context=False):
        location = problem["loc"]
        field = _dotted(location, document)
        what = problem["type"]
        if what == "extra_forbidden":
            known = ", ".join(_known_keys(location))
            yield Fault(field, f"unknown key; remove it or use one of: {known}")
        elif what == "missing":
            form = f", as in `{location[-1]}: {FIGURE_FORM}`" if _is_figure(location) else ""
            yield Fault(field, f"is missing; add it{form}")
        elif what in {"model_type", "model_attributes_type"}:
            form = FIGURE_FORM if _is_figure(location) else "a mapping of its fields"
            yield Fault(field, f"found {_shown(problem['input'])}; write {form}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            shown = _shown(problem["input"])
            yield Fault(field, message if shown in message else f"found {shown}: {message}")


def _dotted(location: tuple[int | str, ...], document: object) -> str:
    """The path of a field as `--set` spells it: entries of lists by name."""
    parts: list[str] = []
    for key in location:
        child: object = None
        if isinstance(document, Mapping):
            child = document.get(key)
        elif isinstance(document, list) and isinstance(key, int) and key < len(document):
            child = document[key]
        name = entry_name(child) if isinstance(key, int) else None
        parts.append((name or str(key))[:80])
        document = child
    return ".".join(parts)


def _field_at(location: tuple[int | str, ...]) -> tuple[type[BaseModel] | None, Any]:
    """The part of the schema in which the last key of a location stands, and that key's type.

    The part is None for the entries of a mapping, which may have any key; the type is None where
    there is no such field.
    """
    owner: type[BaseModel] | None = schema.TargetFile
    kind: Any = schema.TargetFile
    for key in location:
        while get_origin(kind) in (Union, UnionType, Annotated):
            kind = next(part for part in get_args(kind) if part is not type(None))
        if get_origin(kind) in (list, dict):
            owner, kind = None, get_args(kind)[-1]
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            owner = kind
            field = kind.model_fields.get(str(key))
            kind = None if field is None else field.annotation
        else:
            owner, kind = None, None
    return owner, kind


def _known_keys(location: tuple[int | str, ...]) -> tuple[str, ...]:
    """The keys that are allowed where the last key of a location stands."""
    owner, _ = _field_at(location)
    return tuple(owner.model_fields) if owner is not None else ()


def _is_figure(location: tuple[int | str, ...]) -> bool:
    """Whether the field at a location is a number with its source."""
    _, kind = _field_at(location)
    parts = (kind, *get_args(kind)) if get_origin(kind) in (Union, UnionType) else (kind,)
    return any(isinstance(part, type) and issubclass(part, figures.Figure) for part in parts)


def _shown(value: object) -> str:
    """A wrong value as a short text, whatever it is."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, int) and value.bit_length() > 200:
        return f"an integer of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _tier_problems(file: schema.TargetFile) -> Iterator[Fault]:
    """Faults of the list of tiers: names, order, missing figures, reserved bytes."""
    names = [tier.name for tier in file.tiers]
    reserved = file.policy.reserved_bytes
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Fault(f"tiers.{name}", "two tiers have this name; rename one")
    for tier in file.tiers:
        if tier.max_outstanding_requests and not tier.latency_s.value:
            yield Fault(
                f"tiers.{tier.name}.max_outstanding_requests",
                "has no effect without latency_s; add it, or leave this out",
            )
    for faster, slower in zip(file.tiers, file.tiers[1:], strict=False):
        if slower.read_bytes_per_s.value > faster.read_bytes_per_s.value:
            yield Fault(
                f"tiers.{slower.name}.read_bytes_per_s",
                f"{slower.read_bytes_per_s.value:g} bytes/s is faster than {faster.name!r} before "
                f"it ({faster.read_bytes_per_s.value:g}); list tiers fastest first",
            )
    for tier in file.tiers:
        for key in ("write_bytes_per_s", "write_energy_j_per_byte"):
            if not tier.read_only and getattr(tier, key) is None:
                remedy = f"add `{key}: {FIGURE_FORM}`, or `read_only: true`"
                yield Fault(f"tiers.{tier.name}.{key}", f"is missing; {remedy}")
        reserved_bytes = reserved[tier.name].value if tier.name in reserved else 0
        if reserved_bytes > tier.capacity_bytes.value:
            yield Fault(
                f"policy.reserved_bytes.{tier.name}",
                f"{reserved_bytes} bytes are reserved of {tier.capacity_bytes.value}; reserve less",
            )
    for name in reserved.keys() - set(names):
        yield Fault(f"policy.reserved_bytes.{name}", _no_such_tier(name, names))


def _link_problems(file: schema.TargetFile) -> Iterator[Fault]:
    """Faults of links: unknown or equal ends, names that stand twice."""
    tiers = [tier.name for tier in file.tiers]
    seen: set[str] = set()
    for link in file.links:
        name = link.name or link_name(link.source, link.destination)
        path = f"links.{name}"
        for end in ("source", "destination"):
            if getattr(link, end) not in tiers:
                yield Fault(f"{path}.{end}", _no_such_tier(getattr(link, end), tiers))
        if link.source == link.destination:
            yield Fault(path, "both ends are the same tier; remove the link or change an end")
        if name in seen:
            yield Fault(path, "this link stands twice; keep one, or give each a `name` of its own")
        seen.add(name)


def _compute_problems(file: schema.TargetFile) -> Iterator[Fault]:
    """Faults of the compute unit: no rates, unknown data types, options without effect."""
    compute = file.compute
    if not compute.macs_per_s:
        yield Fault("compute.macs_per_s", f"is empty; add a rate such as `int8: {FIGURE_FORM}`")
    kernels = compute.kernel_cycles
    by_dtype: dict[str, Mapping[str, Any]] = {
        "macs_per_s": compute.macs_per_s,
        "energy_j_per_mac": compute.energy_j_per_mac or {},
        "kernel_cycles.macs": {} if kernels is None else kernels.macs,
        "kernel_cycles.elements": {} if kernels is None else kernels.elements,
    }
    for key, listed in by_dtype.items():
        for dtype in listed:
            if dtype not in BITS:
                known = ", ".join(BITS)
                yield Fault(f"compute.{key}.{dtype[:80]}", f"unknown data type; known: {known}")
    yield from _model_problems(compute)
    yield from _table_problems(compute)
    if file.weights_in_fastest and file.operand_access == "any":
        yield Fault(
            "weights_in_fastest",
            "has no effect with operand_access `any`; set operand_access to `fastest`, "
            "or weights_in_fastest to false",
        )


def _model_problems(compute: schema.ComputeEntry) -> Iterator[Fault]:
    """Faults of the model: none chosen among several, no section, options without effect."""
    sections = schema.MODEL_SECTIONS
    found = [name for name, key in sections.items() if getattr(compute, key) is not None]
    if compute.model is None and len(found) > 1:
        remedy = "say which with `model`"
        yield Fault("compute.model", f"there are sections of {' and '.join(found)}; {remedy}")
    elif compute.chosen != "peak" and compute.chosen not in found:
        key = sections[compute.chosen]
        remedy = f"add it, or choose another of: {', '.join(COMPUTE_MODELS)}"
        yield Fault("compute.model", f"{compute.chosen} needs the section compute.{key}; {remedy}")
    used_by: dict[str, tuple[ComputeModel, ...]] = {
        "efficiency": ("peak",),
        "output_stage": ("peak", "systolic"),
    }
    for key, models in used_by.items():
        if getattr(compute, key) is not None and compute.chosen not in models:
            remedy = f"remove it, or choose {' or '.join(models)}"
            yield Fault(f"compute.{key}", f"has no effect in the model {compute.chosen}; {remedy}")


def _table_problems(compute: schema.ComputeEntry) -> Iterator[Fault]:
    """Keys of tables that are neither an ONNX operator nor a kind of loop nest."""
    kernels, blocks = compute.kernel_cycles, compute.mac_blocks
    tables: list[tuple[str, Iterable[str], tuple[str, ...]]] = []
    if blocks is not None:
        tables.append(("mac_blocks.output_cycles", blocks.output_cycles, (DEFAULT_CYCLES,)))
    if kernels is not None:
        for dtype, table in kernels.macs.items():
            tables.append((f"kernel_cycles.macs.{dtype}", table, (DEFAULT_CYCLES,)))
        for dtype, table in kernels.elements.items():
            keys_beside = (DEFAULT_CYCLES, OUTPUT_CYCLES)
            tables.append((f"kernel_cycles.elements.{dtype}", table, keys_beside))
    for name, keys, extra in tables:
        for key in keys:
            if key not in (*NEST_KINDS, *extra) and not re.match(schema.OPERATOR_PATTERN, key):
                known = ", ".join((*extra, *NEST_KINDS))
                yield Fault(
                    f"compute.{name}.{key[:80]}",
                    f"is neither an ONNX operator, as Conv, nor one of: {known}",
                )
    for key in compute.bandwidth_efficiency or {}:
        if key not in NEST_KINDS:
            known = ", ".join(NEST_KINDS)
            yield Fault(f"compute.bandwidth_efficiency.{key[:80]}", f"is none of: {known}")
    for key in compute.efficiency or {}:
        if key not in MAC_KINDS:
            known = ", ".join(sorted(MAC_KINDS))
            yield Fault(f"compute.efficiency.{key[:80]}", f"is none of: {known}")


def _home_problems(file: schema.TargetFile) -> Iterator[Fault]:
    """Homes that are unknown tiers."""
    tiers = [tier.name for tier in file.tiers]
    for kind in schema.KINDS:
        home = getattr(file.homes, kind)
        if home not in tiers:
            yield Fault(f"homes.{kind}", _no_such_tier(home, tiers))


def _published_problems(file: schema.TargetFile) -> Iterator[Fault]:
    """Published figures of what the file does not have."""
    tiers = [tier.name for tier in file.tiers]
    for name in file.published.bytes_per_s:
        if name not in tiers:
            yield Fault(f"published.bytes_per_s.{name[:80]}", _no_such_tier(name, tiers))
    for dtype in file.published.ops_per_s:
        if dtype not in file.compute.macs_per_s:
            known = ", ".join(file.compute.macs_per_s)
            yield Fault(
                f"published.ops_per_s.{dtype[:80]}",
                f"compute.macs_per_s has no rate of it; add one, or use one of: {known}",
            )


def _no_such_tier(name: str, names: list[str]) -> str:
    return f"there is no tier {name[:80]!r}; use one of: {', '.join(names)}"
