"""`ullage pack`: offset assignment of the buffers in a MiniMalloc CSV file."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ullage.cli.streams import say


def pack_command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.csv", help="CSV with the columns id,lower,upper,size.")
    ],
    capacity: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Size of the memory (1048576, 1MiB); else the least."),
    ] = None,
    alignment: Annotated[
        str, typer.Option(metavar="SIZE", help="Offsets are multiples of this size.")
    ] = "1",
    time_limit: Annotated[
        str, typer.Option(metavar="TIME", help="Time to search: seconds, 500ms, 2min.")
    ] = "10",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE.csv", help="CSV to write, with an offset column."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Assign offsets to buffers with known lifetimes, and prove the peak optimal where possible."""
    from ullage.cli.render import progress
    from ullage.compiler.common.files import check_file
    from ullage.compiler.common.units import format_size, format_time, parse_size, parse_time
    from ullage.solvers.packing.minimalloc_csv import read_minimalloc_csv, write_minimalloc_csv
    from ullage.solvers.packing.report import pack_table

    limit_s = parse_time(time_limit, "--time-limit")
    if output is not None:
        check_file(output, "-o")
    capacity_bytes = None if capacity is None else parse_size(capacity)
    alignment_bytes = parse_size(alignment)
    table = read_minimalloc_csv(file)
    with progress(quiet=as_json) as tell:
        tell("packing")
        packing, solve_s = pack_table(
            table,
            alignment_bytes=alignment_bytes,
            capacity_bytes=capacity_bytes,
            time_limit_s=limit_s,
        )
    if output is not None:
        write_minimalloc_csv(output, table, packing.offsets.tolist())
    if as_json:
        document = {
            "buffers": len(table.ids),
            "capacity_bytes": capacity_bytes,
            "peak_bytes": packing.peak_bytes,
            "lower_bound_bytes": packing.lower_bound_bytes,
            "status": "optimal" if packing.optimal else "feasible",
            "solve_s": solve_s,
            "alignment_bytes": alignment_bytes,
            "method": packing.method,
            "output": None if output is None else str(output),
        }
        say(json.dumps(document))
        return
    verdict = "optimal" if packing.optimal else "not proven optimal"
    say(
        f"{len(table.ids)} buffers in {packing.peak_bytes} bytes "
        f"({format_size(packing.peak_bytes)}), {verdict}; lower bound "
        f"{packing.lower_bound_bytes} bytes; {format_time(solve_s)}"
    )
    if output is not None:
        say(f"offsets written to {output}")
