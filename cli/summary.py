"""The summary of a compiled plan on the terminal: figures, memory map, steps that take longest."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ullage.compiler.driver.result import Compiled

# Steps that --verbose lists ...
SLOWEST = 10
# ... operators that are listed without it, where there are more ...
WORST = 5
# ... and the width of their names in columns, at least where the terminal is wider.
NAME_WIDTH = 22
# Columns that other cells need beside operators, in a table of steps, in one of tensors.
WORST_WIDTH, STEP_WIDTH, TENSOR_WIDTH = 70, 82, 46
# Share of its time from which on an operator is said to wait.
LEAST_STALL = 1e-4
# Fallbacks listed without --verbose.
FALLBACKS = 5


def print_summary(compiled: "Compiled", summary: dict[str, Any], *, verbose: bool = False) -> None:
    """Print the summary for people.

    Args:
        compiled: what `compile_model` returned.
        summary: what `summarise` returned for it, with `written` (paths).
        verbose: list the slowest steps, the tensors at the peak and every fallback too.
    """
    from rich.text import Text

    from ullage.cli.render import console, print_memory_map, print_pairs
    from ullage.compiler.common.units import counted
    from ullage.compiler.common.visible import visible
    from ullage.compiler.driver.shares import fast_memory_profile
    from ullage.compiler.driver.summary import summary_rows
    from ullage.compiler.driver.summary_text import order_text

    plan = compiled.plan
    chosen = f" ({plan.solver} won)" if "chosen_solver" in summary else ""
    console().print(
        Text.assemble(
            (visible(summary["model"]), "bold"),
            " on ",
            (visible(summary["target"]), "bold"),
            f"  {counted(summary['operators'], 'operator')}, "
            f"{counted(summary['buffers'], 'buffer')}, "
            f"solver {summary['solver']}{chosen}, {order_text(summary['order'])}",
        )
    )
    rows = summary_rows(compiled, summary)
    print_pairs([*rows, *(("written", path) for path in summary["written"])])
    fastest = plan.target.fastest
    print_memory_map(fastest.name, fast_memory_profile(plan), fastest.capacity_bytes)
    if verbose:
        _print_slowest(compiled)
        _print_peak(compiled)
    elif plan.program.operators > WORST:
        _print_worst(compiled)
    shown = len(summary["fallbacks"]) if verbose else FALLBACKS
    told = f"then {compiled.secondary.objective}:" if compiled.secondary else "\n"
    notes = [
        note
        for note in summary["notes"]  # a shortfall is said as a warning, `then` is a row
        if note != plan.shortfall and not note.startswith(told)
    ]
    _print_notes(notes, summary["fallbacks"], shown)


def _print_worst(compiled: "Compiled") -> None:
    """Print the operators that take longest, a line each."""
    from ullage.cli.render import console, percent, print_lines, short_name
    from ullage.compiler.common.units import format_time
    from ullage.compiler.driver.operators import slowest_operators

    cost = compiled.score
    room = max(console().width - WORST_WIDTH, NAME_WIDTH)
    lines = []
    for number, one in enumerate(slowest_operators(compiled.plan, cost, WORST)):
        stall = (
            f", stall {format_time(one.stall_s)}"
            if one.stall_s > LEAST_STALL * one.elapsed_s
            else ""
        )
        parts = f", {len(one.steps)} parts" if len(one.steps) > 1 else ""
        lines.append(
            [
                "" if number else "slowest",
                f"{one.steps[0]}: {short_name(one.name or one.kind, room)}",
                one.kind if one.kind.lower() not in one.name.lower() else "",
                format_time(one.elapsed_s),
                percent(one.elapsed_s, cost.latency_s),
                f"{one.bound_by}{stall}{parts}",
            ]
        )
    print_lines(lines, ("left", "left", "left", "right", "right", "left"))


def _print_slowest(compiled: "Compiled") -> None:
    from ullage.cli.render import console, percent, print_table, short_name
    from ullage.compiler.common.units import format_count, format_size, format_time
    from ullage.compiler.driver.operators import step_figures

    room = max(console().width - STEP_WIDTH, NAME_WIDTH)
    cost, plan = compiled.score, compiled.plan
    figures = step_figures(plan, cost)
    steps, elapsed = plan.problem.steps, cost.elapsed_s.tolist()
    slowest = sorted(range(len(steps)), key=lambda t: (-elapsed[t], t))[:SLOWEST]
    print_table(
        "Slowest steps",
        [
            ("Step", "right"),
            ("Operator", "left"),
            ("Kind", "left"),
            ("Time", "right"),
            ("Share", "right"),
            ("Bound by", "left"),
            ("Stall", "right"),
            ("Computing", "right"),
            ("MACs", "right"),
            *((f"{tier.name} bytes", "right") for tier in plan.target.tiers),
        ],
        [
            [
                str(t),
                short_name(steps[t].name, room),
                "DMA only" if steps[t].kind == "dma" else steps[t].kind,
                format_time(elapsed[t]),
                percent(elapsed[t], cost.latency_s),
                figures.bound_by[t],
                format_time(float(figures.stall_s[t])),
                percent(float(figures.utilisation[t]), 1.0),
                format_count(steps[t].macs),
                *(format_size(round(size)) for size in figures.operand_bytes[:, t].tolist()),
            ]
            for t in slowest
        ],
        optional=(
            "Kind",
            "MACs",
            *(f"{tier.name} bytes" for tier in plan.target.tiers),
            "Computing",
        ),
    )


def _print_peak(compiled: "Compiled") -> None:
    from ullage.cli.render import console, percent, print_table, short_name
    from ullage.compiler.common.units import format_size
    from ullage.compiler.driver.summary import peak_residents

    room = max(console().width - TENSOR_WIDTH, NAME_WIDTH)
    fastest = compiled.plan.target.fastest.name
    peak = peak_residents(compiled.plan, fastest)
    buffers = compiled.plan.problem.buffers
    print_table(
        f"Largest tensors in {fastest} at its peak (step {peak.step}, "
        f"{format_size(peak.size_bytes)} live)",
        [("Tensor", "left"), ("Kind", "left"), ("Bytes", "right"), ("Share", "right")],
        [
            [
                short_name(buffers[buffer].name, room),
                buffers[buffer].kind,
                format_size(size),
                percent(size, peak.size_bytes),
            ]
            for buffer, size in peak.residents[:SLOWEST]
        ],
    )


def _print_notes(notes: Sequence[str], fallbacks: Sequence[str], shown: int) -> None:
    from rich.text import Text

    from ullage.cli.render import console
    from ullage.compiler.common.visible import visible

    out = console(stderr=True)
    for note in notes:
        out.print(Text(visible(f"note: {note}"), style="yellow"))
    for text in fallbacks[:shown]:
        out.print(Text(visible(f"costed by a fallback: {text}"), style="yellow"))
    if len(fallbacks) > shown:
        more = f"... and {len(fallbacks) - shown} more (--verbose or --json lists all)"
        out.print(Text(more, style="yellow"))
