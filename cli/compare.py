"""`ullage compare`: solvers side by side on one model, under equal conditions."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ullage.cli import options
from ullage.cli.compile import KEPT_BEST
from ullage.cli.streams import say

# Columns of the table that a narrow terminal does without, the first of them first.
LEAST_TELLING = (
    "Transfers",
    "Residencies",
    "Energy",
    "Minimised",
    "Simulated / model",
    "Fast peak",
    "Repeated traffic",
    "Latency",
    "Speed-up over all-slow",
)


def compare_command(  # noqa: PLR0913, PLR0917 - one parameter per option of the contract
    model: options.AnyModel,
    solvers: Annotated[
        str | None,
        typer.Option(
            "--solvers", metavar="a,b,c", help="Solvers, default all but auto and those of extras."
        ),
    ] = None,
    target: options.AnyTarget = None,
    objective: options.AnyObjective = None,
    fast_memory: options.FastMemory = None,
    order: options.Order = "model",
    schedule: options.Schedule = None,
    batch: options.Batch = None,
    dims: options.Dims = None,
    sets: options.Sets = None,
    params: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            metavar="NAME=VALUE",
            help="A parameter of all solvers that have it; SOLVER.NAME=VALUE: of one (repeatable).",
        ),
    ] = None,
    dtype: options.Dtype = None,
    no_fuse: options.NoFuse = False,
    no_alias: options.NoAlias = False,
    then: options.Then = None,
    within: options.Within = None,
    steady_state: options.SteadyState = False,
    states: options.States = None,
    time_limit: options.TimeLimit = None,
    seed: options.Seed = 0,
    jobs: options.Jobs = 1,
    engine: options.EngineName = "processes",
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FILE", help="Picture of values against seconds: .svg or .png."
        ),
    ] = None,
    as_json: options.Json = False,
) -> str | None:
    """Compare solvers: each gets the same problem, target, seed and time limit.

    Operators run whole without --schedule; cascades are searched for once, for all solvers.
    """
    arguments = dict(locals())
    from ullage.cli.render import console, print_json, progress
    from ullage.compiler.common.engines import open_engine
    from ullage.compiler.common.errors import UllageError, UsageError
    from ullage.compiler.driver.problem_files import objective_of
    from ullage.compiler.studies.compare import compare_solvers, default_solvers
    from ullage.compiler.studies.plot_anytime import plot_comparison
    from ullage.compiler.studies.plots import check_plot

    if plot is not None:
        check_plot(plot)
    names = [n.strip() for n in (solvers or "").split(",") if n.strip()]
    if solvers is not None and not names:
        raise UsageError(f"--solvers {solvers!r} names no solver; leave it out for all")
    chosen = options.compile_options(arguments)
    path = options.read_model_path(model)
    chosen = replace(chosen, objective=objective_of(path, chosen))
    names = names or list(default_solvers(chosen.minimised))
    if len(set(names)) != len(names):
        raise UsageError(f"--solvers names a solver twice: {solvers}")
    with progress(quiet=as_json) as tell, open_engine(engine, jobs) as runner:
        rows = compare_solvers(path, names, replace(chosen, progress=tell), runner)
    errors = [row for row in rows if "error" in row]
    if len(errors) == len(rows):
        raise UllageError.revive(errors[0]["error"])
    interrupted = len(rows) < len(names) or any(row.get("interrupted") for row in rows)
    document: dict[str, Any] = {"rows": rows, "interrupted": interrupted}
    if plot is not None:
        plot_comparison(rows, plot)
        document["plot"] = str(plot)
    if as_json:
        print_json(document)
    else:
        _print(rows, chosen.minimised)
        if plot is not None:
            console().print(f"written: {plot}", markup=False, soft_wrap=True)
    if interrupted:
        say(f"interrupted: {len(rows)} of {len(names)} solvers were compared", err=True)
        return KEPT_BEST
    return None


def _print(rows: list[dict[str, Any]], objective: str) -> None:
    from ullage.cli.render import gap_text, objective_text, print_table, print_whole_because
    from ullage.compiler.common.units import format_size
    from ullage.compiler.driver.options import WHOLE
    from ullage.compiler.driver.summary_text import bound_text
    from ullage.hwmodels.bounds import Bound

    columns = [
        ("Solver", "left"),
        ("Minimised", "left"),
        (objective.capitalize(), "right"),
        ("Gap to bound", "right"),
        ("Speed-up over all-slow", "right"),
        ("Simulated / model", "right"),
        *_others(objective),
        ("Fast peak", "right"),
        ("Residencies", "right"),
        ("Transfers", "right"),
        ("Solve [s]", "right"),
    ]
    table: list[list[str]] = []
    for row in sorted(rows, key=lambda r: (r.get("value") is None, r.get("value") or 0.0)):
        if "error" in row:
            table.append([row["solver"], "-", row["error"]["kind"], *["-"] * (len(columns) - 3)])
            continue
        fast = next(iter(row["peak_bytes"].values()))
        table.append(
            [
                row["solver"],
                row["minimised"],
                objective_text(row["value"], objective),
                gap_text(row["gap"]),
                _times(row["speedup_over_all_slow"]),
                f"{row['simulated_over_model'] or 1:.3f}",
                *(_other_cell(row, heading) for heading, _ in _others(objective)),
                format_size(fast),
                str(row["slices"]),
                str(row["transfers"]),
                f"{row['solve_s']:.3f}{'*' if row['stop_reason'] == 'time limit' else ''}",
            ]
        )
    same = all(row.get("minimised", objective) == objective for row in rows)
    first = next(row for row in rows if "error" not in row)
    bound = bound_text(
        Bound(first["lower_bound"], first["bound_source"]),
        objective,
        in_parts=first["cut_operators"] > 0,
    )
    schedule = "" if first["schedule"] == WHOLE else f", schedule {first['schedule']}"
    print_table(
        f"{first['model']} on {first['target']}{schedule}: lower bound {bound}",
        columns,
        table,
        optional=tuple(h for h in LEAST_TELLING if h != "Minimised" or same),
    )
    late = [row["solver"] for row in rows if row.get("stop_reason") == "time limit"]
    if late:
        say(f"* ended by the time limit before it was done: {', '.join(late)}")
    refused: dict[str, list[str]] = {}
    for row in rows:
        if "error" in row:
            refused.setdefault(row["error"]["message"], []).append(row["solver"])
    print_whole_because(rows)
    for message, solvers in refused.items():
        say(f"{', '.join(solvers)}: {message}", err=True, lines=True)


def _others(objective: str) -> list[tuple[str, str]]:
    """Columns of the objectives that the second column does not show."""
    headings = {"latency": "Latency", "traffic": "Repeated traffic", "energy": "Energy"}
    return [(heading, "right") for name, heading in headings.items() if name != objective]


def _other_cell(row: dict[str, Any], heading: str) -> str:
    from ullage.cli.render import objective_text

    keys = {"Latency": "latency_s", "Repeated traffic": "noncompulsory_bytes"}
    objective = {"Latency": "latency", "Repeated traffic": "traffic"}.get(heading, "energy")
    return objective_text(row[keys.get(heading, "energy_j")], objective)


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.3f}x"
