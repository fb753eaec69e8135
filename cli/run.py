"""`ullage run`: proof by execution."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ullage.cli import options
from ullage.cli.streams import say

if TYPE_CHECKING:
    from ullage.compiler.execute.runner import Execution

# Exit code where an output differs from the ordinary run's.
MISMATCH = 5


def run_command(
    model: options.Model,
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="A plan.json of that model.")],
    seed: options.Seed = 0,
    until: Annotated[
        int | None, typer.Option("--until", metavar="STEP", min=1, help="Stop before this step.")
    ] = None,
    inferences: Annotated[
        int | None,
        typer.Option(
            "--inferences",
            metavar="N",
            min=1,
            help="Inferences in a row, in the same memory; default 1, 3 in steady state.",
        ),
    ] = None,
    trace: Annotated[
        Path | None, typer.Option("--trace", metavar="FILE", help="Write a line per event.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Execute a model by its plan in flat memory, and compare with onnxruntime."""
    from ullage.cli.render import print_json
    from ullage.compiler.common.files import check_file, write_atomic
    from ullage.compiler.execute.runner import RunOptions, run_plan
    from ullage.compiler.ir.plan_json import read_plan

    if trace is not None:
        check_file(trace, "--trace")
    loaded = read_plan(plan)
    path = options.read_model_path(model)
    with step_progress(quiet=as_json) as tell:
        execution = run_plan(
            path,
            loaded,
            RunOptions(
                seed=seed,
                until=until,
                inferences=inferences,
                trace=trace is not None,
                progress=tell,
            ),
        )
    if trace is not None:
        write_atomic(trace, ("\n".join(execution.trace) + "\n").encode())
    document = describe(execution)
    if as_json:
        print_json(document)
    else:
        print_execution(execution)
    if not execution.passed:
        raise typer.Exit(MISMATCH)


def step_progress(*, quiet: bool) -> Any:  # noqa: ANN401 - a context manager of a callback
    """A progress bar over steps on stderr; where that is no terminal, a line now and then."""
    from contextlib import contextmanager

    from rich.progress import Progress

    from ullage.cli.render import console, progress_lines

    @contextmanager
    def bar() -> Any:  # noqa: ANN401 - a generator of one callback
        if not quiet and not sys.stderr.isatty():
            with progress_lines() as show:
                yield lambda done, total: show(f"executing, step {done} of {total}")
            return
        if quiet:
            yield lambda *_: None
            return
        with Progress(console=console(stderr=True), transient=True) as progress:
            task = progress.add_task("executing", total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)

    return bar()


def describe(execution: "Execution") -> dict[str, Any]:
    """The JSON document of a run."""
    return {
        "outputs": [
            {
                "name": c.name,
                "inference": c.inference,
                # JSON has no infinity: an infinite difference is null.
                "max_abs_diff": c.max_abs_diff if c.max_abs_diff < float("inf") else None,
                "tolerance": c.tolerance,
                "bit_exact": c.bit_exact,
                "finite": c.finite,
                "constant": c.constant,
                "passed": c.passed,
            }
            for c in execution.outputs
        ],
        "steps": execution.steps,
        "transfers": execution.transfers,
        "bytes_moved": execution.bytes_moved,
        "inferences": execution.inferences,
        "fallbacks": list(execution.fallbacks),
        "passed": execution.passed,
    }


def print_execution(execution: "Execution") -> None:
    """Print a run for people."""
    from ullage.compiler.common.units import counted, format_size

    for c in execution.outputs:
        state = "bit-exact" if c.bit_exact else f"max difference {c.max_abs_diff:.3g}"
        verdict = "ok" if c.passed else f"MISMATCH, tolerance {c.tolerance:.3g}"
        doubt = "; one number everywhere, which proves little" if c.constant else ""
        inference = f", inference {c.inference}" if execution.inferences > 1 else ""
        say(f"{c.name}{inference}: {state} ({verdict}{doubt})")
    for text in execution.fallbacks:
        say(f"note: {text}", err=True)
    several = f" in {execution.inferences} inferences" if execution.inferences > 1 else ""
    say(
        f"{'passed' if execution.passed else 'FAILED'}: {counted(execution.steps, 'operator')}, "
        f"{counted(execution.transfers, 'transfer')}, "
        f"{format_size(execution.bytes_moved)} copied by DMA{several}"
    )
