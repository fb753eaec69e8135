"""The suite `mlsys26` of `ullage bench`: instances of a contest instead of models and targets."""

from pathlib import Path
from typing import Any, NamedTuple

from ullage.cli.compile import KEPT_BEST
from ullage.cli.streams import say

# Costs from that on are printed with an exponent.
PLAIN = 1e15


class Asked(NamedTuple):
    """Options of the command.

    Attributes:
        instances: folder of instances.
        time_limit: of each, as a text; None for the contest's.
        jobs: instances side by side.
        engine: where they run.
        output: folder of results.
        fresh: solve finished ones again.
    """

    instances: Path | None
    time_limit: str | None
    jobs: int
    engine: str
    output: Path | None
    fresh: bool


def run(asked: Asked, *, as_json: bool) -> str | None:
    """Solve the instances of a folder and print their table.

    Args:
        asked: options of the command.
        as_json: print a JSON document.

    Raises:
        UsageError: no folder of instances is named, or it has none.
        UllageError: no instance has a solution: the error of the first.
    """
    from ullage.cli.render import print_json, progress
    from ullage.compiler.bench.contest import SUITE, TITLE, run_contest
    from ullage.compiler.bench.run import only_error
    from ullage.compiler.common.engines import open_engine
    from ullage.compiler.common.errors import UsageError
    from ullage.compiler.common.files import check_folder
    from ullage.compiler.common.units import parse_time

    if asked.instances is None:
        raise UsageError(f"--suite {SUITE} needs --instances DIR, a folder of the contest's files")
    if not asked.instances.is_dir():
        raise UsageError(f"--instances {asked.instances}: no such folder")
    limit_s = None
    if asked.time_limit is not None:
        limit_s = parse_time(asked.time_limit, "--time-limit")
    folder = asked.output or Path("bench") / SUITE
    check_folder(folder, "-o")
    with (
        progress(quiet=as_json) as tell,
        open_engine(asked.engine, asked.jobs, threads=True) as runner,
    ):
        benched = run_contest(
            asked.instances, folder, runner, tell, time_limit_s=limit_s, fresh=asked.fresh
        )
    error = None if benched.interrupted else only_error(benched)
    if error is not None:
        raise error
    if as_json:
        print_json(
            {
                "suite": SUITE,
                "title": TITLE,
                "rows": list(benched.rows),
                "computed": benched.computed,
                "files": list(benched.files),
                "interrupted": benched.interrupted,
                "total_s": benched.total_s,
            }
        )
    else:
        _print(TITLE, benched.rows)
        say(f"{benched.computed} of {len(benched.rows)} instances were solved now")
        for file in benched.files:
            say(f"written: {file}")
        _tell_of_others(folder, benched.rows)
    if benched.interrupted:
        say("interrupted: solutions so far are kept", err=True)
        return KEPT_BEST
    return None


def _tell_of_others(folder: Path, rows: tuple[dict[str, Any], ...]) -> None:
    """Say which solutions of earlier runs belong to no instance of this one."""
    from ullage.compiler.bench.contest import SOLUTION_SUFFIX

    known = {row["instance"] + SOLUTION_SUFFIX for row in rows}
    others = sorted(
        path.name for path in folder.glob(f"*{SOLUTION_SUFFIX}") if path.name not in known
    )
    if others:
        say(f"left as they are, of no instance in the table: {', '.join(others[:10])}", err=True)


def _print(title: str, rows: tuple[dict[str, Any], ...]) -> None:
    from ullage.cli.render import print_table

    def text(value: float | None, form: str) -> str:
        if value is None:
            return "-"
        return format(value, form if abs(value) < PLAIN else ".6g")

    names = ("Instance", "Cost", "Bound", "Published", "Ratio", "Strict cost", "Process [s]")
    print_table(
        title,
        [*((name, "right") for name in names), ("Valid", "left")],
        [
            [
                row["instance"],
                text(row["cost"], ",.1f"),
                text(row["lower_bound"], ",.1f"),
                text(row["published"], ",.1f"),
                text(row["ratio"], ".5f"),
                text(row["strict_cost"], ",.1f"),
                text(row["process_s"], ".1f"),
                "yes" if row["valid"] else "no",
            ]
            for row in rows
        ],
    )
    for row in rows:
        if not row["valid"]:
            say(f"no solution: {row['instance']}: {row['status']}: {row['reason']}")
