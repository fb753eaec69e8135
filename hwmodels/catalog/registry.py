"""Targets by name or path: shipped files, inheritance, overrides, and the origin of each value."""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ullage.compiler.common.dtypes import BITS
from ullage.compiler.common.errors import Fault, UsageError
from ullage.compiler.ir.target import Target
from ullage.hwmodels.catalog.checks import check_target, entry_name, usage_error
from ullage.hwmodels.catalog.overrides import LABELS, OVERRIDE_ORIGIN, overridden
from ullage.hwmodels.catalog.quantities import Figure, Granularity
from ullage.hwmodels.catalog.schema import CHIP_KINDS, ChipKind, PublishedEntry, resolve
from ullage.hwmodels.catalog.yaml_reader import read_yaml_mapping

# Target that is used where none is named.
DEFAULT_TARGET = "edge-npu"
# Files that may inherit from one another before it counts as a mistake.
MAX_INHERITANCE = 16
# Folder of the files that ship with the package.
_SHIPPED = Path(__file__).parents[1] / "targets"
# Endings by which a text is a path and no name.
_SUFFIXES = (".yaml", ".yml")
# Keys that every file writes for itself: inherited, they would pass one chip off as another ...
_OWN_KEYS = ("name", "description")
# ... and one that it may leave out.
_PUBLISHED = "published"


@dataclass(frozen=True, slots=True)
class ResolvedValue:
    """One field of a target after inheritance and overrides.

    Attributes:
        field: dotted path, as `--set` takes it.
        value: a number in `unit`, a text or a switch.
        unit: unit of the value; empty for texts and switches.
        source: where a number was read; empty for texts and switches.
        confidence: `high`, `medium` or `low`; empty likewise.
        note: remark of the file, may be empty.
        origin: the file that sets it, `--set`, or `default`.
    """

    field: str
    value: int | float | str | bool
    unit: str
    source: str
    confidence: str
    note: str
    origin: str


@dataclass(frozen=True)
class Description:
    """A target with the provenance of its values.

    Attributes:
        name: its name.
        description: what the chip is.
        kind: which kind of chip, a key of `schema.CHIP_KINDS`.
        inherits: names or paths of the files it builds on, nearest first.
        values: every field, in the order of the schema.
        target: what solvers and the cost model see.
        published: what others have published about the chip.
    """

    name: str
    description: str
    kind: ChipKind
    inherits: tuple[str, ...]
    values: tuple[ResolvedValue, ...]
    target: Target
    published: PublishedEntry

    def estimates(self, dtypes: Collection[str]) -> tuple[str, ...]:
        """Fields of low confidence that files set and times follow from: rates and compute.

        Args:
            dtypes: data types of multiplications; figures of others do not count.
        """
        return tuple(
            value.field
            for value in self.values
            if value.confidence == "low"
            and value.origin not in ("default", OVERRIDE_ORIGIN)
            and _is_of_time(value.field)
            and all(part in dtypes for part in value.field.split(".") if part in BITS)
        )


def _is_of_time(field: str) -> bool:
    """Whether times follow from a field of a target: not capacities, nor energies."""
    name = field.rsplit(".", 1)[-1]
    is_rate = name.endswith("bytes_per_s") or name in ("setup_s", "latency_s")
    return is_rate or (field.startswith("compute.") and "energy" not in field)


def list_targets() -> tuple[str, ...]:
    """Names of the shipped targets, sorted."""
    return tuple(sorted(path.stem for path in _SHIPPED.glob("*.yaml")))


def by_kind(descriptions: Iterable[Description]) -> dict[ChipKind, list[Description]]:
    """Targets by their kind, in the order of `CHIP_KINDS`, numbers in names in their order.

    Kinds of which there are none are left out.
    """
    listed = sorted(descriptions, key=lambda each: _in_order(each.name))
    grouped = {kind: [each for each in listed if each.kind == kind] for kind in CHIP_KINDS}
    return {kind: found for kind, found in grouped.items() if found}


def _in_order(name: str) -> list[tuple[str, int]]:
    """A key by which `u85-256` stands before `u85-1024`."""
    parts = re.split(r"(\d+)", name)
    return [
        (text, int(number)) for text, number in zip(parts[::2], [*parts[1::2], "0"], strict=True)
    ]


def load_target(name_or_path: str, overrides: Mapping[str, str] | None = None) -> Target:
    """The target of a shipped file or of a YAML file.

    Args:
        name_or_path: a name that `list_targets` gives, or a path to a YAML file.
        overrides: texts by dotted field, as in `--set tiers.sram.capacity_bytes=512KiB`.

    Raises:
        UsageError: there is no such target, its file is wrong, or an override is.
    """
    return describe(name_or_path, overrides).target


def _check_arguments(name_or_path: object, overrides: object) -> None:
    """Refuse arguments of other types, as a call from Python may have them."""
    if not isinstance(name_or_path, str):
        raise UsageError(
            f"a target is named by a text, a name or the path of a YAML file, not by a "
            f"{type(name_or_path).__name__}: {str(name_or_path)[:60]}"
        )
    if overrides is None:
        return
    if not isinstance(overrides, Mapping):
        raise UsageError(
            "overrides map dotted fields to texts, {'split_operands': 'false'}; found a "
            f"{type(overrides).__name__}"
        )
    for field, text in overrides.items():
        if not isinstance(field, str) or not isinstance(text, str):
            raise UsageError(
                f"overrides[{str(field)[:80]!r}] is {str(text)[:60]!r} of type "
                f"{type(text).__name__}; both field and value are texts, as --set takes them"
            )


def describe(name_or_path: str, overrides: Mapping[str, str] | None = None) -> Description:
    """A target with the source, confidence and origin of each value.

    Raises:
        UsageError: as `load_target`.
    """
    _check_arguments(name_or_path, overrides)
    chain = _inheritance(find_target(name_or_path))
    document: Any = {}
    origins: dict[str, str] = {}
    for label, part in reversed(chain):
        # What is published of one chip is not of another that inherits from it.
        base = {key: document[key] for key in document if key != _PUBLISHED}
        document = _merge(base, {key: part[key] for key in part if key != "inherit"})
        origins |= dict.fromkeys(_leaves(part, ""), label)
    label, *ancestors = (name for name, _ in chain)
    if ancestors:
        label += f" (inherits {', '.join(ancestors)})"
    file = check_target(document, label)
    if overrides:
        document = overridden(document, file, overrides, label)
        origins |= dict.fromkeys(overrides, OVERRIDE_ORIGIN)
        file = check_target(document, f"{label} with {OVERRIDE_ORIGIN}")
    return Description(
        name=file.name,
        description=file.description,
        kind=file.kind,
        inherits=tuple(ancestors),
        values=tuple(_values(file, "", origins)),
        target=resolve(file),
        published=file.published,
    )


def find_target(name_or_path: str, beside: Path | None = None) -> Path:
    """The file of a target.

    Args:
        name_or_path: a shipped name, or a path that ends in .yaml or .yml.
        beside: folder that a relative path starts from; the working directory by default.

    Raises:
        UsageError: it is neither; lists the shipped names.
    """
    names = list_targets()
    if name_or_path in names:
        return _SHIPPED / f"{name_or_path}.yaml"
    if name_or_path.endswith(_SUFFIXES):
        return (beside or Path()) / name_or_path
    close = difflib.get_close_matches(name_or_path[:80], names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise UsageError(
        f"unknown target {name_or_path[:80]!r}; {hint}known: {', '.join(names)}; "
        "or give the path of a YAML file (.yaml, .yml)"
    )


def _label(path: Path) -> str:
    """A shipped target by its name, another by its path."""
    return path.stem if path.parent == _SHIPPED else str(path)


@cache
def _shipped_document(path: Path) -> dict[str, Any]:
    """The document of a shipped file, from which several others may inherit; not to be changed."""
    return read_yaml_mapping(path)


def _inheritance(path: Path) -> list[tuple[str, dict[Any, Any]]]:
    """(label, document) of a file and of those it inherits from, nearest first."""
    chain: list[tuple[str, dict[Any, Any]]] = []
    visited: list[Path] = []
    while True:
        label = _label(path)
        document = _shipped_document(path) if path.parent == _SHIPPED else read_yaml_mapping(path)
        if path.resolve() in visited or len(visited) == MAX_INHERITANCE:
            names = " -> ".join([*(name for name, _ in chain), label])
            remedy = "remove one `inherit`"
            raise usage_error(
                chain[0][0],
                [Fault("inherit", f"runs in a circle or too deep: {names}; {remedy}")],
            )
        visited.append(path.resolve())
        for key in _OWN_KEYS:
            if key not in document:
                raise usage_error(label, [Fault(key, f"is missing; add `{key}: ...`")])
        chain.append((label, document))
        parent = document.get("inherit")
        if parent is None:
            return chain
        if not isinstance(parent, str):
            remedy = "write the name of a shipped target or the path of a YAML file"
            raise usage_error(label, [Fault("inherit", f"is not a text; {remedy}")])
        try:
            path = find_target(parent, beside=path.parent)
        except UsageError as error:
            raise usage_error(label, [Fault("inherit", error.message)]) from error


def _merge(base: Any, over: Any) -> Any:  # noqa: ANN401 nodes of an unchecked document
    """`over` laid over `base`: mappings by key, named lists by name, all else replaced.

    A figure is replaced whole: a new value must not keep the old one's source.
    """
    if isinstance(base, Mapping) and isinstance(over, Mapping) and "value" not in over:
        merged = dict(base)
        for key, node in over.items():
            merged[key] = _merge(merged[key], node) if key in merged else node
        return merged
    if _is_named_list(base) and _is_named_list(over):
        return _merge_named(base, over)
    return over


def _is_named_list(node: object) -> bool:
    return isinstance(node, list) and all(entry_name(entry) is not None for entry in node)


def _merge_named(base: list[Any], over: list[Any]) -> list[Any]:
    """Entries merged by name; a new one stands after its predecessor in `over`.

    A new entry without a predecessor stands before its next known successor, or last.
    """
    names = [entry_name(entry) for entry in over]
    if len(set(names)) < len(names):
        return [*base, *over]  # named twice in one file: kept, so that the checks see it
    entries = {entry_name(entry): entry for entry in base}
    order = list(entries)
    for index, (name, entry) in enumerate(zip(names, over, strict=True)):
        if name in entries:
            entries[name] = _merge(entries[name], entry)
            continue
        if index > 0:
            position = order.index(names[index - 1]) + 1
        else:
            successors = [order.index(later) for later in names[1:] if later in entries]
            position = successors[0] if successors else len(order)
        order.insert(position, name)
        entries[name] = entry
    return [entries[name] for name in order]


def _leaves(node: object, path: str) -> Iterator[str]:
    """Dotted paths of the figures, texts and switches of a document."""
    start = f"{path}." if path else ""
    if isinstance(node, Mapping) and "value" not in node:
        for key, child in node.items():
            yield from _leaves(child, f"{start}{key}")
    elif isinstance(node, list) and _is_named_list(node):
        for entry in node:
            yield from _leaves(entry, f"{start}{entry_name(entry)}")
    else:
        yield path


def _values(node: Any, path: str, origins: Mapping[str, str]) -> Iterator[ResolvedValue]:  # noqa: ANN401 a part of the schema
    """The values of a checked file by dotted path; absent optional ones are left out."""
    start = f"{path}." if path else ""
    if isinstance(node, Figure):
        row = isinstance(node, Granularity) and node.value == 0
        yield ResolvedValue(
            field=path,
            value="row" if row else node.value,
            unit="" if row else node.expected_unit,
            source=node.source,
            confidence=node.confidence,
            note=node.note or "",
            origin=origins.get(path, "default"),
        )
    elif isinstance(node, BaseModel):
        for key in type(node).model_fields:
            if key not in LABELS:
                yield from _values(getattr(node, key), f"{start}{key}", origins)
    elif isinstance(node, Mapping):
        for key, child in node.items():
            yield from _values(child, f"{start}{key}", origins)
    elif isinstance(node, list) and all(isinstance(entry, str) for entry in node):
        text = ", ".join(node)
        yield ResolvedValue(path, text, "", "", "", "", origins.get(path, "default"))
    elif isinstance(node, list):
        for entry in node:
            name = entry_name(entry.model_dump(include=LABELS))
            yield from _values(entry, f"{start}{name}", origins)
    elif node is not None:
        yield ResolvedValue(path, node, "", "", "", "", origins.get(path, "default"))
