"""Overrides of target fields by dotted path: the command line's `--set FIELD=VALUE`."""

import difflib
import fnmatch
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from pydantic import BaseModel

from ullage.compiler.common.dtypes import BITS
from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.units import counted
from ullage.compiler.ir.graph import MAC_KINDS, NEST_KINDS
from ullage.compiler.ir.target import DEFAULT_CYCLES
from ullage.hwmodels.catalog import quantities as figures
from ullage.hwmodels.catalog import schema
from ullage.hwmodels.catalog.checks import entry_name

# Origin of a value that an override sets.
OVERRIDE_ORIGIN = "--set"
# Keys that identify a file or an entry, or say what others have published: they are no values of
# the target and cannot be overridden.
LABELS = {"name", "description", "kind", "inherit", "source", "destination", "published"}

# Fields of which there is one per data type.
_BY_DTYPE = ("compute.macs_per_s.", "compute.energy_j_per_mac.")
# Fields that are texts or lists of texts.
_TEXTS = (
    "operand_access",
    "axes",
    "model",
    "bias_dtype",
    "scale_dtype",
    "rows_hold",
    "groups",
    "operators",
    *schema.KINDS,
)
# Names that an error lists beside the field that was probably meant.
NEAR = 5


def settable_fields(file: schema.TargetFile) -> dict[str, type]:
    """The dotted fields that `--set` takes for a target, with the type of each."""
    fields: dict[str, type] = {}

    def add(model: type[BaseModel], path: str) -> None:
        for key, field in model.model_fields.items():
            if key in LABELS:
                continue
            figure = figures.figure_type(field)
            if figure is not None or field.annotation is bool:
                fields[f"{path}{key}"] = figure or bool
            elif key in _TEXTS:
                fields[f"{path}{key}"] = str

    add(schema.TargetFile, "")
    for tier in file.tiers:
        add(schema.TierEntry, f"tiers.{tier.name}.")
    for link in file.links:
        add(schema.LinkEntry, f"links.{entry_name(link.model_dump())}.")
    add(schema.ComputeEntry, "compute.")
    add(schema.SystolicEntry, "compute.systolic.")
    add(schema.MacBlocksEntry, "compute.mac_blocks.")
    add(schema.KernelCyclesEntry, "compute.kernel_cycles.")
    add(schema.OutputStageEntry, "compute.output_stage.")
    add(schema.RereadsEntry, "compute.rereads.")
    for kind in sorted(MAC_KINDS):
        fields[f"compute.efficiency.{kind}"] = figures.Share
    for kind in NEST_KINDS:
        fields[f"compute.bandwidth_efficiency.{kind}"] = figures.Share
    for path, tables in _tables(file.compute).items():
        for key in dict.fromkeys((DEFAULT_CYCLES, *NEST_KINDS, *tables)):
            fields[f"{path}{key}"] = figures.Cycles
    for dtype in BITS:
        fields[f"compute.macs_per_s.{dtype}"] = figures.MacsPerSecond
        fields[f"compute.energy_j_per_mac.{dtype}"] = figures.JoulesPerMac
    add(schema.HomesEntry, "homes.")
    add(schema.TilesEntry, "tiles.")
    add(schema.FusionEntry, "fusion.")
    add(schema.StorageEntry, "storage.")
    for tier in file.tiers:
        fields[f"policy.reserved_bytes.{tier.name}"] = figures.Bytes
    return fields


def _tables(compute: schema.ComputeEntry) -> dict[str, Iterable[str]]:
    """The tables of cycles that a file has, by their dotted path, with the keys that are there."""
    found: dict[str, Iterable[str]] = {}
    if compute.mac_blocks is not None:
        found["compute.mac_blocks.output_cycles."] = compute.mac_blocks.output_cycles
    kernels = compute.kernel_cycles
    if kernels is not None:
        for name, by_dtype in (("macs", kernels.macs), ("elements", kernels.elements)):
            for dtype, table in by_dtype.items():
                found[f"compute.kernel_cycles.{name}.{dtype}."] = table
    return found


def overridden(
    document: Any,  # noqa: ANN401 the file's mapping
    file: schema.TargetFile,
    overrides: Mapping[str, str],
    label: str,
) -> Any:  # noqa: ANN401 same
    """A copy of a document with overrides set; the caller checks the result.

    Args:
        document: a target file's mapping, inheritance applied.
        file: its checked contents, for the fields it has.
        overrides: texts by dotted field.
        label: the target, for messages.

    Raises:
        UsageError: a field does not exist, or a switch is neither true nor false.
    """
    fields = settable_fields(file)
    changed = deepcopy(document)
    for path, text in overrides.items():
        kind = fields.get(path)
        if kind is None:
            raise _unknown_field(path, fields, label)
        node: Any = text
        if kind is bool:
            if text.lower() not in ("true", "false"):
                message = f"{OVERRIDE_ORIGIN} {path}={text[:40]}: write true or false"
                raise UsageError(message)
            node = text.lower() == "true"
        elif issubclass(kind, figures.Figure):
            if "_" in text:
                message = f"{OVERRIDE_ORIGIN} {path}={text[:40]}: numbers have no underscores"
                raise UsageError(message)
            node = {"value": text, "source": OVERRIDE_ORIGIN, "confidence": "high"}
        _set(changed, path.split("."), node)
    return changed


def _unknown_field(path: str, fields: Mapping[str, type], label: str) -> UsageError:
    several = fnmatch.filter(fields, path[:120]) if "*" in path else []
    if several:
        each = " ".join(f"{OVERRIDE_ORIGIN} {field}=..." for field in several[:NEAR])
        return UsageError(
            f"{OVERRIDE_ORIGIN}: {path[:120]!r} stands for {counted(len(several), 'field')}; name "
            f"one at a time: {each}",
            {"field": path[:120], "fields": several},
        )
    close = difflib.get_close_matches(path[:120], fields, n=1, cutoff=0.5)
    names = [field for field in fields if not field.startswith(_BY_DTYPE)]
    names += [f"{prefix}DTYPE" for prefix in _BY_DTYPE]
    near = difflib.get_close_matches(path[:120], names, n=NEAR + 1, cutoff=0.5)
    near = [name for name in near if name not in close][:NEAR]
    hint = f"; did you mean {close[0]}?" if close else ";"
    if near:
        hint += f" Near it: {', '.join(near)};"
    return UsageError(
        f"{OVERRIDE_ORIGIN}: {label} has no field {path[:120]!r}{hint} "
        f"`ullage targets show {label}` lists its fields",
        {"field": path[:120], "fields": list(fields)},
    )


def _set(document: Any, keys: list[str], node: object) -> None:  # noqa: ANN401 the file's mapping
    """Put a node at a path, and make the mappings on the way."""
    for key in keys[:-1]:
        if isinstance(document, list):
            document = next(entry for entry in document if entry_name(entry) == key)
            continue
        if document.get(key) is None:
            document[key] = {}
        document = document[key]
    document[keys[-1]] = node
