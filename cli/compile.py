"""`ullage compile`: a model in, a verified and scored plan out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ullage.cli import options
from ullage.cli.family import asks_for_family, compile_family
from ullage.cli.run import MISMATCH, describe, print_execution, step_progress
from ullage.cli.streams import say
from ullage.compiler.common.errors import UsageError

if TYPE_CHECKING:
    from ullage.compiler.driver.options import CompileOptions
    from ullage.compiler.driver.result import Compiled
    from ullage.compiler.execute.runner import Execution

# Result of the command where Ctrl-C ended the search and there was a plan.
KEPT_BEST = "interrupted, best plan kept"


def compile_command(  # noqa: PLR0913, PLR0917 - one parameter per option of the contract
    model: options.AnyModel,
    target: options.AnyTarget = None,
    solver: options.SolverName = "auto",
    objective: options.AnyObjective = None,
    fast_memory: options.FastMemory = None,
    order: options.Order = "model",
    schedule: options.Schedule = None,
    recompute: options.Recompute = "off",
    update: options.Update = None,
    batch: options.Batch = None,
    dims: options.Dims = None,
    family: options.FamilyLoss = None,
    sets: options.Sets = None,
    params: options.Params = None,
    dtype: options.Dtype = None,
    no_fuse: options.NoFuse = False,
    no_alias: options.NoAlias = False,
    then: options.Then = None,
    within: options.Within = None,
    slower_by: options.SlowerBy = None,
    steady_state: options.SteadyState = False,
    states: options.States = None,
    op_costs: options.OpCosts = None,
    time_limit: options.TimeLimit = None,
    seed: options.Seed = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder for the results.")
    ] = None,
    emit: Annotated[
        str | None,
        typer.Option("--emit", metavar="json,html,...", help="What to write into -o."),
    ] = None,
    prove: Annotated[
        bool, typer.Option("--prove", help="Execute the plan and compare with onnxruntime.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="No summary; warnings and errors only.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="More steps, tensors, notes; --json: operators.")
    ] = False,
    as_json: options.Json = False,
) -> str | None:
    """Compile a model into a memory plan: verified, scored, with its distance to the best."""
    arguments = dict(locals())
    from ullage.cli.render import print_json, progress
    from ullage.cli.summary import print_summary
    from ullage.compiler.common.files import check_folder, recording
    from ullage.compiler.driver.summary import summarise
    from ullage.compiler.emit import emit_plan, parse_emitters
    from ullage.compiler.emit.json_plan import PLAN_FILE

    emitters = parse_emitters("json" if emit is None else emit or ",")
    _check_options(arguments)
    if output is not None:
        check_folder(output, "-o")
    if asks_for_family(family, dims):
        return KEPT_BEST if compile_family(arguments, output, as_json=as_json) else None
    chosen = options.compile_options(arguments)
    with progress(quiet=as_json or quiet) as tell:
        compiled = _compiled(model, replace(chosen, progress=tell), emitters)
    if compiled.plan.shortfall:  # even --quiet: whoever uses such a plan must know
        say(f"warning: {compiled.plan.shortfall}", err=True)
    cut_short = unproven = False
    with recording() as written:
        try:
            if output is not None:
                emit_plan(compiled, output, emitters)
        except KeyboardInterrupt:
            cut_short = True
            compiled = replace(compiled, interrupted=True)
    plan_file = None if output is None else str(output / PLAN_FILE)
    summary = summarise(compiled, plan_file if plan_file in written else None)
    summary["written"] = written
    proof = None
    if prove and not cut_short:
        try:
            proof = _prove(model, compiled, quiet=as_json or quiet)
        except KeyboardInterrupt:
            unproven = summary["interrupted"] = True
    if proof is not None:
        summary["execution"] = describe(proof)
    if as_json:
        if verbose:
            from ullage.compiler.driver.operators import operators_detail

            summary["operators_detail"] = operators_detail(compiled.plan, compiled.score)
        print_json(summary)
    elif not quiet:
        print_summary(compiled, summary, verbose=verbose)
        if proof is not None:
            print_execution(proof)
    if proof is not None and not proof.passed:
        raise typer.Exit(MISMATCH)
    if cut_short:
        complete = ", ".join(written) or "none"
        say(f"interrupted while files were written; complete are: {complete}", err=True)
        return KEPT_BEST
    if unproven:
        say("interrupted while the plan was executed: it is not proven", err=True)
        return KEPT_BEST
    if compiled.interrupted:
        say("interrupted: this is the best plan found until then", err=True)
        return KEPT_BEST
    return None


def _check_options(arguments: Mapping[str, Any]) -> None:
    """Refuse options that contradict one another.

    Raises:
        UsageError: says which.
    """
    if arguments["emit"] is not None and arguments["output"] is None:
        raise UsageError("--emit writes files: say into which folder with -o (-o . for this one)")
    if arguments["quiet"] and arguments["verbose"]:
        raise UsageError("--quiet and --verbose contradict one another: leave one out")
    if arguments["prove"] and arguments["dtype"] is not None:
        from ullage.compiler.execute.runner import resized

        raise UsageError(
            "--prove executes the plan, and that is not possible with "
            f"{resized(arguments['dtype'])}"
        )


def _compiled(model: str, chosen: "CompileOptions", emitters: Sequence[str]) -> "Compiled":
    """A plan in a schedule that all emitters take, where none is named."""
    from ullage.compiler.driver.compile import compile_model
    from ullage.compiler.driver.options import WHOLE
    from ullage.compiler.emit import takes_whole

    reason = takes_whole(emitters, chosen) if chosen.schedule is None else ""
    if not reason:
        return compile_model(model, chosen)
    compiled = compile_model(model, replace(chosen, schedule=WHOLE))
    return replace(compiled, whole_because=reason)


def _prove(model: str, compiled: "Compiled", *, quiet: bool) -> "Execution":
    """Execute a plan that was just made."""
    from ullage.compiler.execute.runner import RunOptions, run_plan

    with step_progress(quiet=quiet) as tell:
        path = options.read_model_path(model)
        return run_plan(path, compiled.plan, RunOptions(seed=compiled.plan.seed, progress=tell))
