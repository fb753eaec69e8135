"""`ullage analyze`: what a model needs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ullage.cli import options


def analyze_command(  # noqa: PLR0913, PLR0917 - one parameter per option of the contract
    model: options.Model,
    target: options.TargetName = "edge-npu",
    fast_memory: options.FastMemory = None,
    batch: options.Batch = None,
    dims: options.Dims = None,
    sets: options.Sets = None,
    dtype: options.Dtype = None,
    no_fuse: options.NoFuse = False,
    no_alias: options.NoAlias = False,
    emit: Annotated[
        str, typer.Option("--emit", metavar="dot,graphml", help="Draw the graph, with costs.")
    ] = "",
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for --emit.")
    ] = Path(),
    as_json: options.Json = False,
) -> None:
    """Show what a model needs: sizes, the peak and who makes it, work, fallbacks."""
    given = dict(locals())
    from dataclasses import replace

    from ullage.cli.render import print_json, progress
    from ullage.compiler.driver.compile import prepare
    from ullage.compiler.emit import parse_emitters
    from ullage.compiler.emit.graph_files import GRAPH_FORMATS, emit_graph
    from ullage.compiler.studies.analyze import analyse

    formats = parse_emitters(emit, GRAPH_FORMATS)
    chosen = options.compile_options(given)
    with progress(quiet=as_json) as tell:
        prepared = prepare(options.read_model_path(model), replace(chosen, progress=tell))
        found = analyse(prepared)
    found["written"] = emit_graph(prepared, output, formats)
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    from ullage.cli.render import print_table
    from ullage.compiler.common.units import format_size, format_time

    rows = [
        ["operators", f"{found['operators']} over {found['buffers']} buffers"],
        ["weights", format_size(found["weights_bytes"])],
        ["activations (all of them)", format_size(found["activations_bytes"])],
        [
            "largest tensor",
            f"{format_size(found['largest_tensor_bytes'])} ({found['largest_tensor']})",
        ],
        ["largest operator, nothing shared (M_R)", format_size(found["max_operator_bytes"])],
        ["peak in file order", format_size(found["peak_live_bytes"])],
        [
            "smallest peak found (M_P)",
            f"{format_size(found['min_peak_bytes'])} in order {found['min_peak_order']}, "
            + _proof(found),
        ],
        [
            "work",
            f"{found['macs'] / 1e6:,.1f} M MAC, {found['vector_elements'] / 1e6:,.1f} M"
            f" vector elements, {format_time(found['compute_s'])} of computing",
        ],
    ]
    print_table(f"{found['model']} on {found['target']}", [("", "left"), ("Needs", "left")], rows)
    alive = [[r["tensor"], format_size(r["bytes"])] for r in found["peak_residents"][:8]]
    print_table(
        f"Alive at the peak (step {found['peak_step']}, {found['peak_operator']})",
        [("Buffer", "left"), ("Size", "right")],
        alive,
    )
    tiers = [
        [
            t["tier"],
            format_size(t["capacity_bytes"]),
            ", ".join(t["home_of"]) or "-",
            "yes" if t["fits_peak"] else "no",
            "yes" if t["fits_weights"] else "no",
        ]
        for t in found["tiers"]
    ]
    print_table(
        "Tiers",
        [
            ("Tier", "left"),
            ("Capacity", "right"),
            ("Home of", "left"),
            ("Holds the peak", "left"),
            ("Holds all weights", "left"),
        ],
        tiers,
    )
    for item in found["unsupported"]:
        typer.echo(f"costed by a fallback: {item['kind']} {item['operator']}: {item['reason']}")
    for note in found["notes"]:
        typer.echo(f"note: {note}")
    for path in found["written"].values():
        typer.echo(f"written: {path}")


def _proof(found: dict[str, Any]) -> str:
    from ullage.compiler.common.units import format_size

    if found["min_peak_proven"]:
        return f"no order needs less (proven by {found['min_peak_bound_source']})"
    bound = format_size(found["min_peak_lower_bound_bytes"])
    return f"no order needs less than {bound} ({found['min_peak_bound_source']})"
