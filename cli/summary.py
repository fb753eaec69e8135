"""The summary of a compiled plan on the terminal: figures, memory map, steps that take longest."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ullage.compiler.driver.result import Compiled

# Steps that --verbose lists.
SLOWEST = 10
# Fallbacks listed without --verbose.
FALLBACKS = 5


def print_summary(compiled: "Compiled", summary: dict[str, Any], *, verbose: bool = False) -> None:
    """Print the summary for people.

    Args:
        compiled: what `compile_model` returned.
        summary: what `summarise` returned for it, with `written` (emitter -> path).
        verbose: list the slowest steps, the tensors at the peak and every fallback too.
    """
    from ullage.cli.render import console, print_memory_map, print_pairs
    from ullage.compiler.driver.summary import fast_memory_profile, summary_rows

    plan = compiled.plan
    chosen = f" ({plan.solver} won)" if "chosen_solver" in summary else ""
    console().print(
        f"[bold]{summary['model']}[/bold] on [bold]{summary['target']}[/bold]  "
        f"{summary['operators']} operators, {summary['buffers']} buffers, "
        f"solver {summary['solver']}{chosen}, order {summary['order']}"
    )
    rows = summary_rows(compiled, summary)
    print_pairs([*rows, *(("written", path) for path in summary["written"].values())])
    fastest = plan.target.fastest
    print_memory_map(fastest.name, fast_memory_profile(compiled), fastest.capacity_bytes)
    if verbose:
        _print_slowest(compiled)
        _print_peak(compiled)
    shown = len(summary["fallbacks"]) if verbose else FALLBACKS
    _print_notes(summary["notes"], summary["fallbacks"], shown)


def _print_slowest(compiled: "Compiled") -> None:
    from ullage.cli.render import percent, print_table
    from ullage.compiler.common.units import format_time
    from ullage.hwmodels.cost import bottleneck

    cost = compiled.score
    binding = bottleneck(cost)
    slowest = sorted(range(len(binding)), key=lambda t: (-cost.elapsed_s[t], t))[:SLOWEST]
    steps = compiled.plan.problem.steps
    print_table(
        "Slowest steps",
        [
            ("Step", "right"),
            ("Operator", "left"),
            ("Time", "right"),
            ("Share", "right"),
            ("Bound by", "left"),
            ("Stall", "right"),
        ],
        [
            [
                str(t),
                steps[t].name,
                format_time(float(cost.elapsed_s[t])),
                percent(float(cost.elapsed_s[t]), cost.latency_s),
                binding[t],
                format_time(float(max(0.0, cost.elapsed_s[t] - _work_s(compiled, t)))),
            ]
            for t in slowest
        ],
    )


def _work_s(compiled: "Compiled", step: int) -> float:
    """Seconds of a step in which its operator computes."""
    cost = compiled.score
    return float(cost.compute_by_step[step] + cost.overhead_by_step[step])


def _print_peak(compiled: "Compiled") -> None:
    from ullage.cli.render import percent, print_table
    from ullage.compiler.common.units import format_size
    from ullage.compiler.driver.summary import peak_residents

    fastest = compiled.plan.target.fastest.name
    peak = peak_residents(compiled.plan, fastest)
    buffers = compiled.plan.problem.buffers
    print_table(
        f"Largest tensors in {fastest} at its peak (step {peak.step}, "
        f"{format_size(peak.size_bytes)} live)",
        [("Tensor", "left"), ("Kind", "left"), ("Bytes", "right"), ("Share", "right")],
        [
            [
                buffers[buffer].name,
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

    out = console(stderr=True)
    for note in notes:
        out.print(Text(f"note: {note}", style="yellow"))
    for text in fallbacks[:shown]:
        out.print(Text(f"costed by a fallback: {text}", style="yellow"))
    if len(fallbacks) > shown:
        more = f"... and {len(fallbacks) - shown} more (--verbose or --json lists all)"
        out.print(Text(more, style="yellow"))
