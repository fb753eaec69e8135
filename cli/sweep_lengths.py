"""`ullage sweep MODEL --dim NAME=FROM..TO`, or `--batch FROM..TO`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ullage.cli import options
from ullage.cli.streams import say
from ullage.compiler.common.errors import UsageError

# What tells a range from a number.
DOTS = ".."


def asks_for_lengths(dims: list[str] | None, batch: str | None) -> bool:
    """Whether a dimension or the batch has a range."""
    return any(DOTS in text for text in [*(dims or ()), batch or ""])


def sweep_lengths_command(arguments: dict[str, Any]) -> bool:
    """Compile for lengths of a dimension, and print the curve.

    Args:
        arguments: of the command `sweep`.

    Returns:
        Whether Ctrl-C ended it.

    Raises:
        UsageError: several dimensions have ranges, or an option is about sizes of memory.
    """
    from ullage.cli.render import print_json, progress
    from ullage.compiler.common.engines import open_engine
    from ullage.compiler.driver.problem_files import refuse_problem
    from ullage.compiler.studies.sweep_lengths import (
        BATCH,
        describe_lengths,
        parse_length_range,
        sweep_lengths,
    )

    dims, batch = arguments["dims"], arguments["batch"]
    ranges = {n: t for n, t in options.pairs(dims, "--dim").items() if DOTS in t}
    if batch is not None and DOTS in batch:
        ranges[BATCH] = batch
        arguments = {**arguments, "batch": None}
    if len(ranges) > 1:
        raise UsageError(f"one dimension at a time: {' and '.join(ranges)} have ranges")
    for name in ("meet_latency", "tier", "plot", "output"):
        if arguments.get(name):
            option = name.replace("_", "-")
            raise UsageError(f"--{option} is for sweeps of memory sizes: leave it out")
    if DOTS in (arguments["fast_memory"] or ""):
        raise UsageError(
            f"--fast-memory and {next(iter(ranges))} both have ranges: give --fast-memory one size"
        )
    ((name, text),) = ranges.items()
    lengths = parse_length_range(name, text)
    numbers = [text for text in dims or () if DOTS not in text]
    chosen = options.compile_options(with_batch({**arguments, "dims": numbers}))
    path = options.read_model_path(arguments["model"])
    refuse_problem(path, "a sweep of lengths")
    points, engine, jobs = (arguments[name] for name in ("points", "engine", "jobs"))
    with progress(quiet=False) as tell, open_engine(engine, jobs) as runner:
        swept = sweep_lengths(path, lengths, points, replace(chosen, progress=tell), runner)
    request = {
        "model": path.stem,
        "target": arguments["target"] or "edge-npu",
        "solver": chosen.solver,
        "objective": chosen.minimised,
    }
    document = describe_lengths(swept, request)
    if arguments["as_json"]:
        print_json(document)
    else:
        _print(document)
    if swept.partial:
        say("interrupted: these are the lengths done until then", err=True)
    return swept.partial


def with_batch(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a command with the batch as a number.

    Raises:
        UsageError: it is none.
    """
    from ullage.compiler.common.units import parse_count

    batch = arguments["batch"]
    if batch is None:
        return arguments
    number = parse_count(batch, "--batch")
    if number < 1:
        raise UsageError(f"--batch takes 1 or more, not {batch}")
    return {**arguments, "batch": number}


# Headings of `figure_cells` behind that of the objective.
FIGURES = (
    ("Lower bound", "right"),
    ("Gap", "right"),
    ("Speed-up over all-slow", "right"),
    ("Slow traffic", "right"),
    ("Fast peak", "right"),
)


def figure_cells(row: Mapping[str, Any]) -> list[str]:
    """Cells of a row that has a plan: the objective, and then those of `FIGURES`."""
    from ullage.cli.render import gap_text, objective_text
    from ullage.compiler.common.units import format_size

    speedup = row["speedup_over_all_slow"]
    return [
        objective_text(row["value"], row["objective"]),
        objective_text(row["lower_bound"], row["objective"]),
        gap_text(row["gap"]),
        "-" if speedup is None else f"{speedup:.3f}x",
        format_size(row["compulsory_bytes"] + row["noncompulsory_bytes"]),
        format_size(next(iter(row["peak_bytes"].values()))),
    ]


def _print(document: dict[str, Any]) -> None:
    from ullage.cli.render import print_table

    objective = document["objective"]
    rows = []
    for row in document["rows"]:
        if "error" in row:
            rows.append([str(row["length"]), row["error"]["kind"], *["-"] * 6])
            continue
        maker = row.get("chosen_solver", row["solver"])
        rows.append([str(row["length"]), *figure_cells(row), maker])
    print_table(
        f"{document['model']} on {document['target']}, solver {document['solver']}",
        [
            (document["dimension"], "right"),
            (objective.capitalize(), "right"),
            *FIGURES,
            ("Plan by", "left"),
        ],
        rows,
        optional=("Fast peak", "Slow traffic"),
    )
    failed = [row for row in document["rows"] if "error" in row]
    if failed:
        first = failed[0]
        message = f"{document['dimension']} = {first['length']}: {first['error']['message']}"
        say(f"lengths without a plan: {len(failed)}; {message}", err=True, lines=True)
