"""`ullage targets`: the chips that can be compiled for, and the origin of their figures."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ullage.cli import options
from ullage.cli.streams import print_json, say

if TYPE_CHECKING:
    from ullage.compiler.ir.target import Target
    from ullage.compiler.studies.utilisation import KindFigures
    from ullage.hwmodels.catalog.registry import Description

app = typer.Typer(help="List, show and validate targets.", no_args_is_help=True)

# Columns of figures, and of tiers.
FIGURE_COLUMNS = ("Field", "Value", "Unit", "Confidence", "Origin", "Source")
TIER_COLUMNS = (
    "Tier",
    "Usable capacity",
    "Read [GB/s]",
    "Write [GB/s]",
    "Alignment [bytes]",
    "Read [pJ/byte]",
    "Write [pJ/byte]",
    "Home of",
)

# Columns of what others have published.
PUBLISHED_COLUMNS = ("What", "Published", "Here", "Confidence", "Source")
# Columns of kinds of operators.
KIND_COLUMNS = ("Kind", "Operators", "MACs", "Elements", "Compute", "Share", "Utilisation")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("list")
def list_command(as_json: Json = False) -> None:
    """List the shipped targets."""
    from ullage.cli.render import print_table
    from ullage.hwmodels.catalog.registry import DEFAULT_TARGET, by_kind, describe, list_targets
    from ullage.hwmodels.catalog.schema import CHIP_KINDS

    targets = [describe(name) for name in list_targets()]
    if as_json:
        print_json(
            {
                "default": DEFAULT_TARGET,
                "targets": [
                    {
                        "name": each.name,
                        "description": each.description,
                        "kind": each.kind,
                        "inherits": list(each.inherits),
                        "tiers": [tier.name for tier in each.target.tiers],
                        "fast_memory_bytes": each.target.fastest.capacity_bytes,
                        "macs_per_s": dict(each.target.compute.macs_per_s),
                    }
                    for each in targets
                ],
                "kinds": {
                    kind: [each.name for each in found] for kind, found in by_kind(targets).items()
                },
            }
        )
        return
    columns = [("Name", "left"), ("Fast memory", "left"), ("What it is", "left")]
    say(f"{len(targets)} targets (default: {DEFAULT_TARGET})")
    memories = {each.name: _fastest(each.target) for each in targets}
    widths = max(map(len, memories)), max(map(len, memories.values()))  # of all tables alike
    for kind, found in by_kind(targets).items():
        rows = [
            [name.ljust(widths[0]), memories[name].ljust(widths[1]), each.description]
            for each in found
            for name in [each.name]
        ]
        print_table(CHIP_KINDS[kind], columns, rows, folding=("What it is",))


@app.command("show")
def show_command(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME|FILE", help="A shipped target, or the path of a YAML file."),
    ],
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL", help="How well this model uses the multipliers."),
    ] = None,
    dtype: options.Dtype = None,
    batch: options.Batch = None,
    as_json: Json = False,
) -> None:
    """Show a target's resolved values, and where each comes from."""
    from ullage.cli.render import print_table
    from ullage.hwmodels.catalog.published import published_figures
    from ullage.hwmodels.catalog.registry import describe

    description = describe(name)
    kinds = None if model is None else _utilisation(name, model, dtype, batch)
    if as_json:
        document = {
            "name": description.name,
            "description": description.description,
            "kind": description.kind,
            "inherits": list(description.inherits),
            "compute_model": description.target.compute.model,
            "target": asdict(description.target),
            "values": [asdict(value) for value in description.values],
            "published": [
                {
                    "what": row.what,
                    "value": row.figure.value,
                    "ours": row.ours,
                    "unit": row.figure.expected_unit,
                    "source": row.figure.source,
                    "confidence": row.figure.confidence,
                }
                for row in published_figures(description)
            ],
            "unpublished": description.published.missing,
        }
        if kinds is not None:
            document["utilisation"] = [asdict(row) for row in kinds]
        print_json(document)
        return
    _print_tiers(description)
    if kinds is not None:
        _print_utilisation(f"{model} on {description.name}", kinds)
        return
    _print_published(description)
    columns = [(name, "left") for name in FIGURE_COLUMNS]
    rows = [
        [v.field, value, v.unit, v.confidence, v.origin, _source(v.source, v.note)]
        for v in description.values
        for value in _shown(v.value).split(", ")  # of a list each entry
    ]
    print_table(
        "Values and where they come from",
        columns,
        rows,
        optional=("Origin", "Unit", "Confidence", "Source"),
        folding=("Source",),
    )


@app.command("validate")
def validate_command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Path of a YAML target file.")],
    as_json: Json = False,
) -> None:
    """Check a target file; a wrong one is an error that names each field and a remedy."""
    from ullage.hwmodels.catalog.registry import describe

    description = describe(file)
    counts = {
        level: sum(value.confidence == level for value in description.values)
        for level in ("high", "medium", "low")
    }
    if as_json:
        print_json({"file": file, "valid": True, "name": description.name, "confidence": counts})
        return
    figures = ", ".join(f"{count} of {level} confidence" for level, count in counts.items())
    say(f"{file}: target {description.name!r} is valid; figures: {figures}")


def _utilisation(
    name: str, model: str, dtype: str | None, batch: int | None
) -> "list[KindFigures]":
    from pathlib import Path

    from ullage.compiler.frontend import FrontendOptions, prepare
    from ullage.compiler.importer.model_zoo import find_model
    from ullage.compiler.studies.utilisation import utilisation_by_kind

    chosen = FrontendOptions(target=name, dtype=dtype, batch=batch)
    return utilisation_by_kind(prepare(Path(find_model(model)), chosen).problem)


def _print_utilisation(title: str, kinds: "list[KindFigures]") -> None:
    from ullage.cli.render import print_table
    from ullage.compiler.common.units import format_count, format_time

    rows = [
        [
            row.kind,
            str(row.operators),
            format_count(row.macs),
            format_count(row.vector_elements),
            format_time(row.compute_s),
            f"{row.share:.1%}",
            "-" if row.utilisation is None else f"{row.utilisation:.1%}",
        ]
        for row in kinds
    ]
    columns = [(column, "left" if column == "Kind" else "right") for column in KIND_COLUMNS]
    print_table(f"Computing: {title}", columns, rows, optional=("Elements", "Operators"))


def _print_tiers(description: "Description") -> None:
    from ullage.cli.render import print_table
    from ullage.compiler.common.units import format_size

    columns = [(name, "left") for name in TIER_COLUMNS]
    rows = []
    for tier in description.target.tiers:
        homes = [kind for kind, home in description.target.homes.items() if home == tier.name]
        read_only = tier.read_only
        rows.append(
            [
                tier.name,
                format_size(tier.capacity_bytes),
                f"{tier.read_bytes_per_s / 1e9:g}",
                "read-only" if read_only else f"{tier.write_bytes_per_s / 1e9:g}",
                str(tier.alignment_bytes),
                f"{tier.read_energy_j_per_byte * 1e12:g}",
                "read-only" if read_only else f"{tier.write_energy_j_per_byte * 1e12:g}",
                ", ".join(homes),
            ]
        )
    print_table(
        f"{description.name}: {description.description}",
        columns,
        rows,
        optional=("Alignment [bytes]", "Write [pJ/byte]", "Read [pJ/byte]"),
        folding=("Home of",),
    )


def _print_published(description: "Description") -> None:
    from ullage.cli.render import print_pairs, print_table
    from ullage.hwmodels.catalog.published import published_figures

    rows = []
    for row in published_figures(description):
        unit = row.figure.expected_unit
        ours = "-" if row.ours is None else _amount(row.ours, unit)
        source = _source(row.figure.source, row.figure.note or "")
        rows.append(
            [row.what, _amount(row.figure.value, unit), ours, row.figure.confidence, source]
        )
    if rows:
        columns = [(name, "left") for name in PUBLISHED_COLUMNS]
        optional = ("Confidence", "Source")
        print_table("Published by others", columns, rows, optional=optional, folding=("Source",))
    if description.published.missing:
        print_pairs([("Not published", description.published.missing)])


def _amount(value: float, unit: str) -> str:
    """A published figure for people."""
    from ullage.compiler.common.units import format_time

    if unit == "s":
        return format_time(value)
    scale, prefix = (1e12, "T") if value >= 1e12 else (1e9, "G")
    return f"{value / scale:.4g} {prefix}{unit}"


def _fastest(target: "Target") -> str:
    from ullage.compiler.common.units import format_size

    return f"{target.fastest.name} {format_size(target.fastest.capacity_bytes)}"


def _shown(value: float | str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _source(source: str, note: str) -> str:
    return f"{source} ({note})" if note else source
