"""`ullage diff`: two plans of a model, for a look or for continuous integration."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ullage.cli import options
from ullage.cli.run import MISMATCH
from ullage.cli.streams import say

# Rows that a table shows at most; `--json` has all.
SHOWN = 10
# Buffers of other size that a line names at most.
NAMED = 3


def diff_command(
    before: Annotated[Path, typer.Argument(metavar="PLAN", help="The plan to hold against.")],
    after: Annotated[Path, typer.Argument(metavar="PLAN", help="The other plan.")],
    fail_if_slower: Annotated[
        str | None,
        typer.Option(
            "--fail-if-slower",
            metavar="SHARE",
            help="Exit code 5 where the latency grows by more than this (1%, 0.01).",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Compare two plans of a model: figures, operators, buffers, transfers, targets."""
    from ullage.cli.render import print_json
    from ullage.compiler.common.units import parse_share
    from ullage.compiler.studies.diff import diff_plans

    allowed = None if fail_if_slower is None else parse_share(fail_if_slower, "--fail-if-slower")
    document = diff_plans(before, after, allowed)
    if as_json:
        print_json(document)
    else:
        _print(document)
    if not document["passed"]:
        raise typer.Exit(MISMATCH)


def _print(found: dict[str, Any]) -> None:
    from ullage.cli.render import objective_text, print_table
    from ullage.compiler.common.units import counted, format_size, format_time
    from ullage.compiler.driver.summary_text import order_text

    one, other = found["before"], found["after"]
    for difference in found["differences"]:
        say(f"differs: {_difference(**difference)}")
    rows = [
        ["latency", *_row(found, "latency_s", format_time)],
        ["repeated traffic", *_row(found, "noncompulsory_bytes", format_size)],
        ["energy", *_row(found, "energy_j", lambda joules: objective_text(joules, "energy"))],
    ]
    peaks = [next(iter(side["peak_bytes"].values())) for side in (one, other)]
    rows.append(["fast peak", *map(format_size, peaks), _percent(found["change"]["peak_bytes"])])
    rows += [
        [name, str(one[key]), str(other[key]), ""]
        for name, key in (("residencies", "slices"), ("transfers", "transfers"))
    ]
    columns = [("", "left"), ("Before", "right"), ("After", "right"), ("Change", "right")]
    for name, side in (("before", one), ("after", other)):
        bound = f"; {side['stated_bound_text']}" if side["stated_bound_text"] else ""
        subject = f"{side['plan']}, {side['model']} on {side['target']}"
        say(f"{name}: {subject}, {side['solver']}, {order_text(side['order'])}{bound}")
    print_table("Figures", columns, rows)
    if found["operators"]:
        cells = [
            [row["operator"], *(_time(row[key]) for key in ("before_s", "after_s"))]
            for row in found["operators"][:SHOWN]
        ]
        title = f"Operators whose time changed: {len(found['operators'])}"
        print_table(title, [("Operator", "left"), *columns[1:3]], cells)
    moved = [r for r in found["buffers"] if len(set(r["transferred_bytes"])) > 1]
    if moved:
        cells = [[r["buffer"], *map(format_size, r["transferred_bytes"])] for r in moved[:SHOWN]]
        title = f"Buffers of which DMA moves more or less: {len(moved)}"
        print_table(title, [("Buffer", "left"), *columns[1:3]], cells)
    if kept := len(found["buffers"]) - len(moved):
        also = " also" if moved else ""
        say(f"{counted(kept, 'buffer')}{also} kept otherwise, as many bytes moved")
    say(_verdict(found))


def _verdict(found: dict[str, Any]) -> str:
    if found["same"]:
        return "the plans are the same"
    slower, allowed = found["slower"], found["fail_if_slower"]
    if slower is None:
        text = "slower than no time at all"
    elif slower == 0:
        text = "as fast"
    else:
        text = f"{abs(100 * slower):.3g} % {'slower' if slower > 0 else 'faster'}"
    if allowed is None:
        return text
    return f"{text}: {'passed' if found['passed'] else 'FAILED'}, {100 * allowed:g} % allowed"


def _row(found: dict[str, Any], key: str, shown: Any) -> list[str]:  # noqa: ANN401 - any formatter
    values = (found["before"][key], found["after"][key])
    return [*map(shown, values), _percent(found["change"][key])]


def _percent(change: float | None) -> str:
    return "new" if change is None else f"{100 * change:+.2f} %"


def _time(seconds: float | None) -> str:
    from ullage.compiler.common.units import format_time

    return "-" if seconds is None else format_time(seconds)


def _difference(what: str, before: object, after: object) -> str:
    """A difference of two problems in words."""
    from ullage.compiler.common.units import counted, format_size, listed

    if what == "buffers" and isinstance(before, dict) and isinstance(after, dict):
        names = list(dict.fromkeys([*before, *after]))
        sizes = [
            f"{name} "
            + " -> ".join(format_size(d[name]) if name in d else "none" for d in (before, after))
            for name in names
        ]
        return f"{counted(len(names), 'buffer')} of other size: {listed(sizes, NAMED)}"
    return f"{what}: {_short(before)} -> {_short(after)}"


def _short(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        text = ", ".join(f"{name}={_short(each)}" for name, each in value.items()) or "none"
    elif isinstance(value, (list, tuple)):
        text = ", ".join(map(_short, value)) or "none"
    else:
        text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
