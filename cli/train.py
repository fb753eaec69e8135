"""`ullage train`: train the agent behind solver `rl`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ullage.cli import options
from ullage.cli.compile import KEPT_BEST


def train_command(  # noqa: PLR0913, PLR0917 - one parameter per option of the contract
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL ...]", help="Programs to train on; none: synthetic ones."),
    ] = None,
    target: options.TargetName = "edge-npu",
    dtype: options.Dtype = "int8",
    out: Annotated[Path, typer.Option("--out", metavar="CKPT", help="Checkpoint to write.")] = Path(
        "rl.safetensors"
    ),
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="CKPT", help="Checkpoint to go on from.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, metavar="N", help="Generations in all.")
    ] = None,
    time_limit: options.TimeLimit = None,
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> str | None:
    """Train the network of solver rl; a resumed run equals an uninterrupted one."""
    from ullage.cli.render import console, print_json, progress
    from ullage.compiler.units import format_time
    from ullage.rl_agent.session import Session, run_session

    asked = Session(
        models=tuple(models or ()),
        target=target,
        dtype=dtype,
        out=out,
        resume=resume,
        steps=steps,
        time_limit_s=time_limit,
        seed=seed,
    )
    with progress(quiet=False) as tell:
        done = run_session(asked, tell)
    document: dict[str, Any] = {
        "checkpoint": str(out),
        "log": str(done.log),
        "generations": done.training.generation,
        "reward": done.training.reward,
        "programs": done.programs,
        "seed": done.training.options.seed,
        "total_s": done.total_s,
        "interrupted": done.interrupted,
    }
    if as_json:
        print_json(document)
    else:
        console().print(
            f"{out}: {done.training.generation} generations on {done.programs} programs in "
            f"{format_time(done.total_s)}; one decode saves {100 * done.training.reward:+.2f} % "
            f"over the heuristic (smoothed, with training noise); log: {done.log}",
            markup=False,
            soft_wrap=True,
        )
    if done.interrupted:
        sys.stderr.write("interrupted: this is the checkpoint until then\n")
        return KEPT_BEST
    return None
