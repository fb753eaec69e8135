"""`ullage analyze`: what a model needs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ullage.cli import options
from ullage.cli.streams import say


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
    arguments = dict(locals())
    from dataclasses import replace

    from ullage.cli.render import print_json, progress
    from ullage.compiler.common.files import check_folder
    from ullage.compiler.driver.compile import prepare
    from ullage.compiler.driver.problem_files import refuse_problem
    from ullage.compiler.emit import parse_emitters
    from ullage.compiler.emit.graph_files import GRAPH_FORMATS, emit_graph
    from ullage.compiler.studies.analyze import analyse

    formats = parse_emitters(emit, GRAPH_FORMATS)
    if formats:
        check_folder(output, "-o")
    chosen = options.compile_options(arguments)
    path = options.read_model_path(model)
    refuse_problem(path, "analyze")
    with progress(quiet=as_json) as tell:
        prepared = prepare(path, replace(chosen, progress=tell))
        analysis = analyse(prepared)
    analysis["written"] = list(emit_graph(prepared, output, formats).values())
    if as_json:
        print_json(analysis)
    else:
        _print(analysis)


def _print(analysis: dict[str, Any]) -> None:
    from ullage.cli.render import print_table
    from ullage.compiler.common.units import format_count, format_size, format_time
    from ullage.compiler.driver.summary_text import order_text

    rows = [
        ["operators", f"{analysis['operators']} over {analysis['buffers']} buffers"],
        ["weights", format_size(analysis["weights_bytes"])],
        ["activations (all of them)", format_size(analysis["activations_bytes"])],
        [
            "largest tensor",
            f"{format_size(analysis['largest_tensor_bytes'])} "
            f"({analysis['largest_tensor'] or 'there is none'})",
        ],
        ["largest operator, nothing shared (M_R)", format_size(analysis["max_operator_bytes"])],
        ["peak in file order", format_size(analysis["peak_live_bytes"])],
        [
            "smallest peak found (M_P)",
            f"{format_size(analysis['min_peak_bytes'])} in "
            f"{order_text(analysis['min_peak_order'])}, {_proof(analysis)}",
        ],
        [
            "work",
            f"{format_count(analysis['macs'])} MACs, {format_count(analysis['vector_elements'])} "
            f"vector elements, {format_time(analysis['compute_s'])} of computing",
        ],
    ]
    print_table(
        f"{analysis['model']} on {analysis['target']}", [("", "left"), ("Needs", "left")], rows
    )
    alive = [[r["tensor"], format_size(r["bytes"])] for r in analysis["peak_residents"][:8]]
    print_table(
        f"Alive at the peak (step {analysis['peak_step']}, "
        f"{analysis['peak_operator'] or 'no operator runs'})",
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
        for t in analysis["tiers"]
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
    for item in analysis["unsupported"]:
        say(f"costed by a fallback: {item['kind']} {item['operator']}: {item['reason']}")
    for line in _whole(analysis["barriers"]):
        say(f"runs whole, never in parts: {line}")
    for note in analysis["notes"]:
        say(f"note: {note}")
    for path in analysis["written"]:
        say(f"written: {path}")


def _whole(barriers: list[dict[str, str]]) -> list[str]:
    """Operators that cannot be cut, alike ones on one line."""
    alike: dict[tuple[str, str], list[str]] = {}
    for barrier in barriers:
        alike.setdefault((barrier["kind"], barrier["reason"]), []).append(barrier["operator"])
    return [
        f"{kind} {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {reason}"
        for (kind, reason), names in alike.items()
    ]


def _proof(analysis: dict[str, Any]) -> str:
    from ullage.compiler.common.units import format_size

    if analysis["min_peak_proven"]:
        return f"no order needs less (proven by {analysis['min_peak_bound_source']})"
    bound = format_size(analysis["min_peak_lower_bound_bytes"])
    return f"no order needs less than {bound} ({analysis['min_peak_bound_source']})"
