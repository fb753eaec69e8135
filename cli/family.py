"""`ullage compile --dim seq=1..2048 --family 5%`: a few plans for all lengths of a dimension."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ullage.cli import options
from ullage.cli.streams import say
from ullage.compiler.common.errors import UsageError

if TYPE_CHECKING:
    from ullage.compiler.families.family import Family, Lengths

# What tells a range of lengths from a number.
RANGE = ".."


def asks_for_family(family: str | None, dims: list[str] | None) -> bool:
    """Whether `compile` is to plan for all lengths of a dimension.

    Args:
        family: text of `--family`.
        dims: texts of `--dim`.

    Raises:
        UsageError: a dimension has a range, and nothing says what a length may lose.
    """
    if family is None and any(RANGE in text for text in dims or ()):
        raise UsageError(
            "--dim with a range plans for all its lengths: say how much worse than with a plan of "
            "its own a length may be (--family 5%)"
        )
    return family is not None


def compile_family(arguments: dict[str, Any], output: Path | None, *, as_json: bool) -> bool:
    """Plan a family, write and print it.

    Args:
        arguments: of the command.
        output: folder to write into; None for none.
        as_json: print one JSON document.

    Returns:
        Whether Ctrl-C ended it.

    Raises:
        UsageError: an option makes no sense here.
    """
    from ullage.cli.render import print_json, progress
    from ullage.compiler.common.units import parse_share
    from ullage.compiler.families.family import plan_family
    from ullage.compiler.families.files import write_family

    lengths = _lengths(arguments["dims"])
    for name in ("emit", "prove", "verbose"):
        if arguments.get(name):
            raise UsageError(f"--family writes a JSON, a C header and plans: leave --{name} out")
    tolerance = parse_share(arguments["family"], "--family")
    numbers = [text for text in arguments["dims"] if RANGE not in text]
    chosen = options.compile_options({**arguments, "dims": numbers})
    quiet = as_json or arguments["quiet"]
    with progress(quiet=quiet) as tell:
        path = options.read_model_path(arguments["model"])
        family = plan_family(path, lengths, tolerance, replace(chosen, progress=tell))
    written = {} if output is None else write_family(family, output)
    if as_json:
        print_json(_document(family, written))
    elif not arguments["quiet"]:
        _print(family, written)
    if family.interrupted:
        missing = len(lengths.tested) - len(family.lengths)
        say(f"interrupted: the {missing} shortest lengths have no plan", err=True)
    return family.interrupted


def _lengths(dims: list[str] | None) -> "Lengths":
    """The one dimension with a range.

    Raises:
        UsageError: none has one, or several.
    """
    from ullage.compiler.families.family import parse_lengths

    ranges = {n: t for n, t in options.pairs(dims, "--dim").items() if RANGE in t}
    if len(ranges) != 1:
        found = f"{' and '.join(ranges)} have ranges" if ranges else "none has a range"
        raise UsageError(
            f"--family plans for all lengths of one dimension, and {found}; say which lengths: "
            "--dim NAME=FIRST..LAST"
        )
    ((name, text),) = ranges.items()
    return parse_lengths(name, text)


def _document(family: "Family", written: dict[str, str]) -> dict[str, Any]:
    from ullage.compiler.families.files import json_bytes, length_rows, single_bytes

    plan = family.buckets[-1].compiled.plan
    return {
        "model": plan.problem.name,
        "target": plan.target.name,
        "objective": plan.objective,
        "symbol": family.symbol,
        "tolerance": family.tolerance,
        "worst_loss": family.worst_loss,
        "verified": True,
        "buckets": [
            {
                "first": bucket.first,
                "last": bucket.last,
                "value": bucket.compiled.value,
                "lower_bound": bucket.compiled.bound.value,
                "gap": bucket.compiled.gap,
                "solver": bucket.compiled.plan.solver,
            }
            for bucket in family.buckets
        ],
        "lengths": length_rows(family),
        "family_bytes": len(json_bytes(family)),
        "single_plans_bytes": single_bytes(family),
        "written": list(written.values()),
        "total_s": family.total_s,
        "interrupted": family.interrupted,
    }


def _print(family: "Family", written: dict[str, str]) -> None:
    from ullage.cli.render import gap_text, objective_text, print_table
    from ullage.compiler.common.units import counted, format_size, percent_above
    from ullage.compiler.families.files import json_bytes, single_bytes

    plan = family.buckets[-1].compiled.plan
    objective = plan.objective
    rows = []
    for number, bucket in enumerate(family.buckets):
        worst = max(at.loss for at in family.lengths if at.bucket == number)
        rows.append(
            [
                f"{bucket.first} to {bucket.last}",
                objective_text(bucket.compiled.value, objective),
                gap_text(bucket.compiled.gap),
                percent_above(max(0.0, worst)),
                bucket.compiled.plan.solver,
            ]
        )
    print_table(
        f"{plan.problem.name} on {plan.target.name}, {family.symbol} from "
        f"{family.lengths[0].length} to {family.lengths[-1].length}",
        [
            ("Lengths", "left"),
            (f"{objective.capitalize()} of the longest", "right"),
            ("Gap to bound", "right"),
            ("Worst loss of a length", "right"),
            ("Plan by", "left"),
        ],
        rows,
    )
    plans = counted(len(family.buckets), "plan")
    lengths = counted(len(family.lengths), "tested length")
    say(
        f"{plans} for {lengths}, all verified; none is more than "
        f"{percent_above(max(0.0, family.worst_loss))} worse than with a plan of its own; a length "
        "in between runs as the next longer one"
    )
    say(
        f"{format_size(len(json_bytes(family)))} of decisions; a file for each length would take "
        f"{format_size(single_bytes(family))}"
    )
    for path in written.values():
        say(f"written: {path}")
