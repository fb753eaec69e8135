"""`ullage compile`: a model in, a verified and scored plan out."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ullage.cli import options
from ullage.cli.run import MISMATCH, describe, print_execution, step_progress

if TYPE_CHECKING:
    from ullage.compiler.execute.runner import Execution
    from ullage.compiler.pipeline import Compiled

KEPT_BEST = "interrupted, best plan kept"  # what the command returns in that case


def compile_command(  # noqa: PLR0913, PLR0917 - one parameter per option of the contract
    model: options.Model,
    target: options.TargetName = "edge-npu",
    solver: Annotated[
        str, typer.Option("--solver", metavar="NAME", help="Solver (ullage solvers list).")
    ] = "auto",
    objective: options.Objective = "latency",
    fast_memory: options.FastMemory = None,
    order: options.Order = "model",
    batch: options.Batch = None,
    dims: options.Dims = None,
    sets: options.Sets = None,
    params: options.Params = None,
    dtype: options.Dtype = None,
    no_fuse: options.NoFuse = False,
    no_alias: options.NoAlias = False,
    time_limit: options.TimeLimit = None,
    seed: options.Seed = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder for the results.")
    ] = None,
    emit: Annotated[
        str, typer.Option("--emit", metavar="json,csv", help="What to write into the folder.")
    ] = "json",
    prove: Annotated[
        bool, typer.Option("--prove", help="Execute the plan and compare with onnxruntime.")
    ] = False,
    as_json: options.Json = False,
) -> str | None:
    """Compile a model into a memory plan: verified, scored, with its distance to the best."""
    given = dict(locals())
    from ullage.cli.render import print_json, progress
    from ullage.compiler.emit import emit_plan, parse_emitters
    from ullage.compiler.pipeline import compile_model
    from ullage.compiler.summary import summarise

    emitters = parse_emitters(emit)
    chosen = options.compile_options(given)
    with progress(quiet=as_json) as tell:
        compiled = compile_model(model, replace(chosen, progress=tell))
    written = emit_plan(compiled, output, emitters) if output is not None else {}
    summary = summarise(compiled, written.get("json"))
    summary["written"] = written
    proof = _prove(model, compiled, quiet=as_json) if prove else None
    if proof is not None:
        summary["execution"] = describe(proof)
    if as_json:
        print_json(summary)
    else:
        print_summary(compiled, summary)
        if proof is not None:
            print_execution(proof)
    if proof is not None and not proof.passed:
        raise typer.Exit(MISMATCH)
    if compiled.interrupted:
        sys.stderr.write("interrupted: this is the best plan found until then\n")
        return KEPT_BEST
    return None


def _prove(model: str, compiled: "Compiled", *, quiet: bool) -> "Execution":
    """Execute a plan just made."""
    from ullage.compiler.execute.runner import RunOptions, run_plan

    with step_progress(quiet=quiet) as tell:
        path = options.read_model_path(model)
        return run_plan(path, compiled.plan, RunOptions(seed=compiled.plan.seed, progress=tell))


def print_summary(compiled: "Compiled", summary: dict[str, Any]) -> None:
    """The summary for people."""
    from ullage.cli.render import console, gap_text, objective_text, percent
    from ullage.compiler.summary import time_by_binding
    from ullage.compiler.units import format_size, format_time

    found, plan = compiled.score, compiled.plan
    traffic = found.compulsory_bytes + found.noncompulsory_bytes
    out = console()
    chosen = f" ({plan.solver} won)" if "chosen_solver" in summary else ""
    out.print(
        f"[bold]{summary['model']}[/bold] on [bold]{summary['target']}[/bold]  "
        f"{summary['operators']} operators, {summary['buffers']} buffers, "
        f"solver {summary['solver']}{chosen}, order {summary['order']}"
    )
    rows: list[tuple[str, str]] = [
        (
            "latency",
            f"{format_time(found.latency_s)}   compute alone {format_time(found.compute_s)}, "
            f"event-driven replay {format_time(compiled.simulation.latency_s)}",
        ),
        ("against all-slow", _against_all_slow(compiled, summary)),
        (
            "lower bound",
            f"{objective_text(compiled.bound.value, plan.objective)} of {plan.objective}, proven "
            f"by {compiled.bound.source}: gap {gap_text(compiled.gap)} ({summary['status']})",
        ),
        ("time goes to", _shares(time_by_binding(compiled), found.latency_s)),
        (
            "slow traffic",
            f"{format_size(traffic)}, of which "
            f"{format_size(found.noncompulsory_bytes)} "
            f"({percent(found.noncompulsory_bytes, traffic)}) is not compulsory",
        ),
        ("", "  ".join(f"{k} {format_size(v)}" for k, v in found.traffic_bytes.items() if v)),
        ("energy", f"{found.energy_j * 1e3:.4g} mJ"),
    ]
    for tier in plan.target.tiers:
        peak, load = found.peak_bytes[tier.name], found.load_bytes[tier.name]
        rows.append(
            (
                f"{tier.name} peak",
                f"{format_size(peak)} of {format_size(tier.capacity_bytes)} "
                f"({percent(peak, tier.capacity_bytes)}), live {format_size(load)}, "
                f"fragmentation {format_size(peak - load)}",
            )
        )
    rows += [
        (
            "plan",
            f"{summary['slices']} residencies, {summary['transfers']} transfers, verified; "
            f"import {compiled.import_s:.2f} s, solve {compiled.solve_s:.2f} s, "
            f"total {compiled.total_s:.2f} s",
        ),
    ]
    rows += [("written", path) for path in summary["written"].values()]
    _print_rows(rows)
    _print_notes(summary["notes"], summary["fallbacks"])


def _against_all_slow(compiled: "Compiled", summary: dict[str, Any]) -> str:
    from ullage.compiler.units import format_time

    if compiled.all_slow is None:
        return "impossible: the home tiers are too small to hold everything"
    return (
        f"{summary['speedup_over_all_slow'] or 1:.2f}x faster than "
        f"{format_time(compiled.all_slow.latency_s)} with everything in its home tier"
    )


def _shares(spent: Any, total: float) -> str:  # noqa: ANN401 - a mapping name -> seconds
    from ullage.cli.render import percent

    return ", ".join(f"{name} {percent(seconds, total)}" for name, seconds in spent.items())


def _print_rows(rows: Sequence[tuple[str, str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from ullage.cli.render import console

    table = Table.grid(padding=(0, 2))
    for name, text in rows:
        if text:
            table.add_row(Text(name, style="dim"), Text(text))
    console().print(table)


def _print_notes(notes: Sequence[str], fallbacks: Sequence[str]) -> None:
    from rich.text import Text

    from ullage.cli.render import console

    for note in notes:
        console(stderr=True).print(Text(f"note: {note}", style="yellow"))
    shown = 5
    for text in fallbacks[:shown]:
        console(stderr=True).print(Text(f"costed by a fallback: {text}", style="yellow"))
    if len(fallbacks) > shown:
        console(stderr=True).print(
            Text(f"... and {len(fallbacks) - shown} more (--json lists all)", style="yellow")
        )
