"""`ullage bench`: a suite of compilations, each in a process of its own, in one table."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ullage.cli import options
from ullage.cli.compile import KEPT_BEST
from ullage.cli.streams import say
from ullage.compiler.common.units import counted

# Reasons for rows without a plan that are printed; the table has all.
SHOWN_REASONS = 10


def bench_command(  # noqa: PLR0913, PLR0917 - options of the command line
    suite: Annotated[
        str, typer.Option("--suite", metavar="NAME|FILE", help="A shipped suite, or a .toml file.")
    ] = "smoke",
    models: Annotated[
        Path | None,
        typer.Option(
            "--models", metavar="DIR", help='Folder of .onnx files that models = ["*"] stands for.'
        ),
    ] = None,
    instances: Annotated[
        Path | None,
        typer.Option(
            "--instances", metavar="DIR", help="Folder of instances, of the suite mlsys26."
        ),
    ] = None,
    time_limit: Annotated[
        str | None,
        typer.Option(
            "--time-limit", metavar="S", help="Seconds of each instance of mlsys26; else its own."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", help="Rows side by side.")] = 1,
    engine: options.EngineName = "processes",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="DIR", help="Folder of results, default bench/SUITE."
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Compute finished rows again, too.")
    ] = False,
    list_only: Annotated[
        bool, typer.Option("--list", help="List the shipped suites and their rows.")
    ] = False,
    as_json: options.Json = False,
) -> str | None:
    """Run a suite: every plan verified, finished rows kept, one tidy table."""
    from ullage.cli import bench_contest as contest_bench
    from ullage.cli.render import print_json, progress
    from ullage.compiler.bench.contest import SUITE
    from ullage.compiler.bench.run import only_error, run_suite
    from ullage.compiler.bench.suite import load_suite
    from ullage.compiler.bench.table import summary_rows
    from ullage.compiler.common.engines import open_engine
    from ullage.compiler.common.errors import UsageError
    from ullage.compiler.common.files import check_folder

    if list_only:
        _list_suites(as_json=as_json)
        return None
    if suite == SUITE:
        if models is not None:
            raise UsageError(f"--models is of other suites; {suite} has --instances DIR")
        return contest_bench.run(
            contest_bench.Asked(instances, time_limit, jobs, engine, output, fresh),
            as_json=as_json,
        )
    if instances is not None or time_limit is not None:
        raise UsageError(
            f"--instances and --time-limit are of the suite {SUITE}; other suites say in "
            "their file what runs and for how long"
        )
    if models is not None and not models.is_dir():
        raise UsageError(f"--models {models}: no such folder")
    chosen = load_suite(suite, models)
    folder = output or Path("bench") / chosen.name
    check_folder(folder, "-o")
    with progress(quiet=as_json) as tell, open_engine(engine, jobs, threads=True) as runner:
        benched = run_suite(chosen, folder, runner, tell, fresh=fresh)
    if not benched.interrupted:
        error = only_error(benched)
        if error is not None:
            raise error
    summary = summary_rows(benched.rows)
    if as_json:
        print_json(
            {
                "suite": chosen.name,
                "title": chosen.title,
                "rows": list(benched.rows),
                "summary": summary,
                "computed": benched.computed,
                "files": list(benched.files),
                "interrupted": benched.interrupted,
                "total_s": benched.total_s,
            }
        )
    else:
        _print(chosen.title, benched.rows, summary)
        say(f"{benched.computed} of {len(chosen.rows)} rows were computed now")
        for file in benched.files:
            say(f"written: {file}")
    if benched.interrupted:
        say(f"interrupted: {len(benched.rows)} of {len(chosen.rows)} rows are finished", err=True)
        return KEPT_BEST
    return None


def _list_suites(*, as_json: bool) -> None:
    from ullage.cli.render import print_json, print_table
    from ullage.compiler.bench.contest import SUITE, TITLE
    from ullage.compiler.bench.suite import NeedsModelsError, list_suites, load_suite

    rows: list[dict[str, Any]] = []
    for name in list_suites():
        try:
            suite = load_suite(name)
        except NeedsModelsError as error:
            rows.append({"name": name, "title": error.details["title"], "rows": None})
        else:
            rows.append({"name": name, "title": suite.title, "rows": len(suite.rows)})
    rows.append({"name": SUITE, "title": TITLE, "rows": None})
    if as_json:
        print_json({"suites": rows})
        return
    print_table(
        "Suites; rows with the models that have a name (-: with --models DIR or --instances DIR)",
        [("Name", "left"), ("Rows", "right"), ("What it shows", "left")],
        [[row["name"], str(row["rows"] or "-"), row["title"]] for row in rows],
    )


def _print(title: str, rows: tuple[dict[str, Any], ...], summary: list[dict[str, Any]]) -> None:
    from ullage.cli.render import print_table
    from ullage.compiler.bench.run import failed

    def ratio(value: float | None) -> str:
        return "-" if value is None else f"{value:.4f}"

    print_table(
        title,
        [
            ("Solver", "left"),
            ("Target", "left"),
            ("Rows", "right"),
            ("Plans", "right"),
            ("Value / bound, mean", "right"),
            ("worst", "right"),
            ("Process [s]", "right"),
        ],
        [
            [
                row["solver"],
                row["target"] or "default",
                str(row["rows"]),
                str(row["plans"]),
                ratio(row["mean_ratio"]),
                ratio(row["worst_ratio"]),
                f"{row['process_s']:.1f}",
            ]
            for row in summary
        ],
    )
    by_reason: dict[tuple[str, str], list[str]] = {}
    for row in filter(failed, rows):
        asked = (row[key] for key in ("model", "target", "fast_memory", "solver"))
        by_reason.setdefault((row["status"], row["reason"]), []).append(
            ", ".join(filter(None, asked))
        )
    for (status, reason), named in list(by_reason.items())[:SHOWN_REASONS]:
        others = f" (and {counted(len(named) - 1, 'row')} more)" if len(named) > 1 else ""
        say(f"no plan: {named[0]}{others}: {status}: {reason}")
    more = [len(named) for named in list(by_reason.values())[SHOWN_REASONS:]]
    if more:
        say(f"... and {counted(sum(more), 'row')} more without a plan; the table has all reasons")
