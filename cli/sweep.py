"""`ullage sweep`: latency (or another objective) against the size of fast memory."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ullage.cli import options
from ullage.cli.compile import KEPT_BEST
from ullage.cli.streams import say
from ullage.cli.sweep_lengths import (
    FIGURES,
    asks_for_lengths,
    figure_cells,
    sweep_lengths_command,
    with_batch,
)
from ullage.compiler.common.errors import UsageError

if TYPE_CHECKING:
    from ullage.compiler.studies.sweep import Sweep


def sweep_command(  # noqa: PLR0913, PLR0917 - one parameter per option of the contract
    model: options.AnyModel,
    fast_memory: Annotated[
        str | None,
        typer.Option("--fast-memory", metavar="FROM..TO", help="Sizes: 64KiB..16MiB ..."),
    ] = None,
    tier: Annotated[
        str | None,
        typer.Option("--tier", metavar="NAME", help="Sizes are of this tier, not of the fastest."),
    ] = None,
    points: Annotated[
        int,
        typer.Option(
            "--points", metavar="N", min=1, max=1000, help="How many sizes, in equal ratios."
        ),
    ] = 9,
    meet_latency: Annotated[
        str | None,
        typer.Option(
            "--meet-latency", metavar="TIME", help="Name the smallest size that is so fast: 11ms."
        ),
    ] = None,
    target: options.AnyTarget = None,
    solver: options.SolverName = "auto",
    objective: options.AnyObjective = None,
    order: options.Order = "model",
    schedule: options.Schedule = None,
    batch: Annotated[
        str | None,
        typer.Option("--batch", metavar="N|FROM..TO", help="Samples; a range sweeps over them."),
    ] = None,
    dims: Annotated[
        list[str] | None,
        typer.Option(
            "--dim", metavar="NAME=N|FROM..TO", help="A symbolic dimension; a range sweeps over it."
        ),
    ] = None,
    sets: options.Sets = None,
    params: options.Params = None,
    dtype: options.Dtype = None,
    no_fuse: options.NoFuse = False,
    no_alias: options.NoAlias = False,
    steady_state: options.SteadyState = False,
    states: options.States = None,
    time_limit: options.TimeLimit = None,
    seed: options.Seed = 0,
    jobs: options.Jobs = 1,
    engine: options.EngineName = "processes",
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Picture of the curve: .svg or .png."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Folder for the plans, one per size."),
    ] = None,
    emit: Annotated[
        str, typer.Option("--emit", metavar="json,csv", help="What to write into the folders.")
    ] = "json",
    as_json: options.Json = False,
) -> str | None:
    """Compile for many sizes of a memory, or for many lengths; more memory never looks worse."""
    arguments = dict(locals())
    if asks_for_lengths(dims, batch):
        return KEPT_BEST if sweep_lengths_command(arguments) else None
    if fast_memory is None:
        raise UsageError(
            "a sweep needs a range: --fast-memory 64KiB..16MiB, --dim NAME=64..512 or --batch 1..16"
        )
    arguments = {**with_batch(arguments), "fast_memory": None}
    from ullage.cli.render import print_json, progress
    from ullage.compiler.common.engines import open_engine
    from ullage.compiler.common.files import check_folder, recording
    from ullage.compiler.driver.problem_files import objective_of
    from ullage.compiler.emit import emit_plan, parse_emitters
    from ullage.compiler.studies.plots import check_plot, plot_sweep
    from ullage.compiler.studies.sweep import SweepOptions, check, describe_sweep, sweep
    from ullage.compiler.studies.sweep_points import parse_range

    emitters = parse_emitters(emit)
    first, last = parse_range(fast_memory)
    meet_s = options.seconds(meet_latency, "--meet-latency")
    request = SweepOptions(first, last, points, meet_s, tier or "")
    chosen = options.compile_options(arguments)
    path = options.read_model_path(model)
    chosen = replace(chosen, objective=objective_of(path, chosen))
    check(request, chosen)
    if plot is not None:
        check_plot(plot)
    if output is not None:
        check_folder(output, "-o")
    with progress(quiet=False) as tell, open_engine(engine, jobs) as runner:
        swept = sweep(path, request, replace(chosen, progress=tell), runner)
    document = describe_sweep(swept)
    cut_short = False
    for point, row in zip(swept.points, document["rows"], strict=True):
        if output is not None and point.compiled is not None:
            paths: dict[str, str] = {}
            with recording() as files:
                try:
                    if not cut_short:
                        folder = output / str(point.size_bytes)
                        paths = emit_plan(point.compiled, folder, emitters)
                except KeyboardInterrupt:
                    cut_short = True
            row |= {"plan": paths.get("json"), "written": files}
    if plot is not None and not cut_short:
        plot_sweep(swept, plot)
        document["plot"] = str(plot)
    if as_json:
        print_json(document)
    else:
        _print(swept, document)
    if cut_short:
        complete = ", ".join(f for row in document["rows"] for f in row.get("written", ()))
        say(f"interrupted while files were written; complete are: {complete or 'none'}", err=True)
        return KEPT_BEST
    if swept.partial:
        say("interrupted: these are the sizes done until then", err=True)
        return KEPT_BEST
    return None


def _print(swept: "Sweep", document: dict[str, Any]) -> None:
    """Print the curve as a table, and below it the answer about a latency."""
    from ullage.cli.render import console, print_table, print_whole_because
    from ullage.compiler.common.units import format_size
    from ullage.compiler.studies.sweep_points import FLAT

    columns = [
        (_memory(swept), "right"),
        (str(swept.request["objective"]).capitalize(), "right"),
        *FIGURES,
        ("Plan by", "left"),
        ("Bound by", "left"),
        ("Solve [s]", "right"),
    ]
    print_table(
        f"{swept.request['model']} on {swept.request['target']}, solver {swept.request['solver']}, "
        f"{_orders(document['rows'])}",
        columns,
        [
            _cells(row, shown, len(columns))
            for row, shown in zip(document["rows"], _sizes(document["rows"]), strict=True)
        ],
        optional=("Solve [s]", "Fast peak", "Slow traffic"),
    )
    print_whole_because(document["rows"])
    failed = [row for row in document["rows"] if "error" in row]
    if failed:  # only the error of the largest size, which is the closest to having a plan
        size, message = failed[-1]["size_bytes"], failed[-1]["error"]["message"]
        say(f"sizes without a plan: {len(failed)}; {size} bytes: {message}", err=True, lines=True)
    for note in document["notes"]:
        say(f"note: {note}", err=True)
    if (enough := document["flat_from_bytes"]) is not None:
        more = f"better by more than {100 * FLAT:g} %"
        found = f"from {format_size(enough)} on no larger size has a plan {more}"
        console().print(found, markup=False, soft_wrap=True)
    if swept.meeting is not None:
        console().print(swept.meeting.message, markup=False, soft_wrap=True)
    if "plot" in document:
        console().print(f"written: {document['plot']}", markup=False, soft_wrap=True)


def _memory(swept: "Sweep") -> str:
    """What the sizes are of, as a heading."""
    tiers = [point.tier for point in swept.points]
    return f"Size of {tiers[0]}" if tiers[0] else "Fast memory"


def _orders(rows: list[dict[str, Any]]) -> str:
    """The orders, or the schedules, for which the curve's bounds are known to hold."""
    planned = [row for row in rows if "error" not in row]
    if any(row["cut_operators"] for row in planned):
        return "lower bounds of each plan's schedule"
    every = all(row["bound_every_order"] for row in planned)
    return f"lower bounds for {'every' if every else 'this'} order"


def _sizes(rows: list[dict[str, Any]]) -> list[str]:
    """The sizes of the rows; in bytes too where two round to the same text."""
    from ullage.compiler.common.units import format_size

    sizes = [row["size_bytes"] for row in rows]
    texts = list(map(format_size, sizes))
    return [
        f"{text} ({size} B)" if texts.count(text) > 1 else text
        for text, size in zip(texts, sizes, strict=True)
    ]


def _cells(row: dict[str, Any], size: str, columns: int) -> list[str]:
    from ullage.compiler.common.units import format_size

    if "error" in row:
        return [size, row["error"]["kind"], *["-"] * (columns - 2)]
    maker = row.get("chosen_solver", row["solver"])
    if row["taken_from_bytes"] is not None:
        maker += f", of {format_size(row['taken_from_bytes'])}"
    prover = row["bound_source"]
    if row["bound_from_bytes"] is not None:
        prover += f", of {format_size(row['bound_from_bytes'])}"
    return [
        size,
        *figure_cells(row),
        f"{maker}*" if row["stop_reason"] == "time limit" else maker,
        prover,
        f"{row['solve_s']:.3f}",
    ]
