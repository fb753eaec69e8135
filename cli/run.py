"""`ullage run`: proof by execution."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ullage.cli import options
from ullage.cli.streams import say
from ullage.compiler.common.errors import UsageError

if TYPE_CHECKING:
    from ullage.compiler.device.runner import DeviceCheck, DeviceRun
    from ullage.compiler.execute.runner import Execution

# Exit code where an output differs from the ordinary run's.
MISMATCH = 5


def run_command(  # noqa: PLR0913, PLR0917 - one parameter per option of the contract
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
    processor: Annotated[
        str | None,
        typer.Option(
            "--on", metavar="PROCESSOR", help="Run firmware on an emulated processor: cortex-m55."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="With --on: keep the firmware here."),
    ] = None,
    time_limit: options.TimeLimit = None,
    as_json: options.Json = False,
) -> None:
    """Execute a model by its plan in flat memory, and compare with onnxruntime.

    With --on cortex-m55 the plan becomes firmware, which QEMU runs.
    """
    if processor is not None:
        if until is not None or trace is not None:
            raise UsageError("--until and --trace belong to a run without --on")
        limit_s = options.seconds(time_limit, "--time-limit")
        on_device(processor, model, plan, (seed, inferences, limit_s, output), as_json=as_json)
        return
    if output is not None or time_limit is not None:
        raise UsageError("-o and --time-limit belong to a run --on a processor")
    from ullage.cli.render import print_json
    from ullage.compiler.common.files import check_file, write_atomic
    from ullage.compiler.driver.problem_files import refuse_problem
    from ullage.compiler.execute.runner import RunOptions, run_plan
    from ullage.compiler.ir.plan_json import read_plan

    if trace is not None:
        check_file(trace, "--trace")
    loaded = read_plan(plan)
    path = options.read_model_path(model)
    refuse_problem(path, "run")
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


def on_device(
    processor: str,
    model: str,
    plan: Path,
    chosen: tuple[int, int | None, float | None, Path | None],
    *,
    as_json: bool,
) -> None:
    """Run a plan as firmware on an emulated processor, print the comparison.

    Args:
        processor: name of the processor.
        model: the model, as on the command line.
        plan: file of the plan.
        chosen: seed, inferences, time limit in seconds, folder of the firmware.
        as_json: print a JSON document.
    """
    from ullage.cli.render import print_json
    from ullage.compiler.common.files import check_folder
    from ullage.compiler.device.runner import TIME_LIMIT_S, DeviceOptions, run_on_device
    from ullage.compiler.emit.cortex_m.board import PROCESSOR
    from ullage.compiler.ir.plan_json import read_plan

    if processor != PROCESSOR:
        raise UsageError(f"--on knows no {processor!r}; there is: {PROCESSOR}")
    seed, inferences, limit_s, folder = chosen
    if folder is not None:
        check_folder(folder, "-o")
    loaded = read_plan(plan)
    run = run_on_device(
        options.read_model_path(model),
        loaded,
        DeviceOptions(seed, inferences, TIME_LIMIT_S if limit_s is None else limit_s, folder),
    )
    if as_json:
        print_json(describe_device(run))
    else:
        print_device(run, in_parts=loaded.program.is_cut)
    if not run.passed:
        raise typer.Exit(MISMATCH)


def describe_device(run: "DeviceRun") -> dict[str, Any]:
    """The JSON document of a run on a processor."""
    return {
        "processor": run.processor,
        "outputs": [_described(check) for check in run.outputs],
        "operators": [{"step": c.step, "kind": c.kind, **_described(c)} for c in run.operators],
        "steps": run.steps,
        "transfers": run.transfers,
        "bytes_moved": run.bytes_moved,
        "inferences": run.inferences,
        "reference_nodes": dict(run.reference_nodes),
        "passed": run.passed,
    }


def _described(check: "DeviceCheck") -> dict[str, Any]:
    return {
        "name": check.name,
        "inference": check.inference,
        "crc32": f"{check.crc32:08x}",
        "expected_crc32": f"{check.expected_crc32:08x}",
        # JSON has no infinity: an infinite difference is null.
        "max_abs_diff": check.max_abs_diff if check.max_abs_diff < float("inf") else None,
        "tolerance": check.tolerance,
        "bit_exact": check.bit_exact,
        "passed": check.passed,
    }


def print_device(run: "DeviceRun", *, in_parts: bool = False) -> None:
    """Print a run on a processor for people.

    Args:
        run: the run.
        in_parts: some operators run in parts, whose results are compared part by part.
    """
    from ullage.compiler.common.units import counted, format_size

    several = run.inferences > 1
    for check in (*run.operators, *run.outputs):
        place = "output" if check.step is None else f"step {check.step}, {check.kind}"
        inference = f", inference {check.inference}" if several else ""
        state = "bit-exact"
        if not check.bit_exact:
            state = f"{check.expected_crc32:08x} expected, max difference {check.max_abs_diff:.3g}"
        verdict = "ok" if check.passed else f"MISMATCH, tolerance {check.tolerance:.3g}"
        say(f"{place}{inference}: {check.name}: {check.crc32:08x} {state} ({verdict})")
    what = "part" if in_parts else "operator"
    exact = sum(check.bit_exact for check in run.operators)
    say(
        f"{'passed' if run.passed else 'FAILED'} on {run.processor}: {exact} of "
        f"{counted(len(run.operators), f'{what} result')} bit-exact, "
        f"{counted(run.transfers, 'transfer')}, {format_size(run.bytes_moved)} copied"
        + (f" in {run.inferences} inferences" if several else "")
    )


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
    ran = counted(execution.steps, "operator")
    if execution.cut_operators:
        parts = counted(execution.steps, "part")
        ran = f"{counted(execution.cut_operators, 'operator')} in {parts}"
    say(
        f"{'passed' if execution.passed else 'FAILED'}: {ran}, "
        f"{counted(execution.transfers, 'transfer')}, "
        f"{format_size(execution.bytes_moved)} copied by DMA{several}"
    )
