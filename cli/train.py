"""`ullage train`: train the agent behind solver `rl` or `muzero`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ullage.cli import options
from ullage.cli.compile import KEPT_BEST
from ullage.cli.streams import say
from ullage.compiler.common.errors import UsageError

if TYPE_CHECKING:
    from ullage.rl_agent.training.session import Session


# Target and data type of models.
DEFAULTS = ("edge-npu", "int8")


def train_command(  # noqa: PLR0913, PLR0917 - one parameter per option of the contract
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL ...", help="Programs to train on; none: synthetic ones."),
    ] = None,
    agent: Annotated[
        str,
        typer.Option(
            "--agent", metavar="rl|muzero", help="Which agent; muzero learns one program."
        ),
    ] = "rl",
    game: Annotated[
        str,
        typer.Option(
            "--game",
            metavar="malloc|schedule",
            help="What is played: where tensors lie, or which operators run in stripes together.",
        ),
    ] = "malloc",
    target: options.TargetName = DEFAULTS[0],
    dtype: options.Dtype = DEFAULTS[1],
    fast_memory: options.FastMemory = None,
    sets: options.Sets = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="CKPT",
            help="Checkpoint to write; by default rl.safetensors or scheduler.safetensors.",
        ),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="CKPT", help="Checkpoint to go on from.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, metavar="N", help="Generations to train, in all."),
    ] = None,
    time_limit: options.TimeLimit = None,
    seed: options.Seed = 0,
    jobs: Annotated[
        int, typer.Option("--jobs", min=1, metavar="N", help="Processes that play games at once.")
    ] = 1,
    engine: options.EngineName = "processes",
    tensorboard: Annotated[
        Path | None,
        typer.Option("--tensorboard", metavar="DIR", help="Folder for TensorBoard."),
    ] = None,
    as_json: options.Json = False,
) -> str | None:
    """Train the agent of a game; resumed or not, with one job or many: the same result."""
    arguments = dict(locals())
    from ullage.cli.render import console, print_json, progress
    from ullage.compiler.common.files import check_file

    if arguments["out"] is None:
        arguments["out"] = Path("scheduler.safetensors" if game == "schedule" else "rl.safetensors")
    check_file(arguments["out"], "--out")
    train_agent = {"rl": _train_rl, "muzero": _train_muzero}.get(agent)
    if train_agent is None:
        raise UsageError(f"--agent is rl or muzero, not {agent!r}")
    if game not in ("malloc", "schedule"):
        raise UsageError(f"--game is malloc or schedule, not {game!r}")
    if game == "schedule":
        if agent != "rl":
            raise UsageError(f"--agent {agent} does not play --game schedule: leave --agent out")
        train_agent = _train_scheduler
    with progress(quiet=False) as tell:
        document, text = train_agent(arguments, tell)
    if as_json:
        print_json(document)
    else:
        console().print(text, markup=False, soft_wrap=True)
    if document["interrupted"]:
        say("interrupted: this is the checkpoint until then", err=True)
        return KEPT_BEST
    return None


def _session_of(arguments: dict[str, Any]) -> "Session":
    from ullage.rl_agent.training.session import Session

    if arguments["fast_memory"] is not None or arguments["sets"]:
        raise UsageError("--fast-memory and --set go with --agent muzero, which learns one program")
    if not arguments["models"] and (arguments["target"], arguments["dtype"]) != DEFAULTS:
        raise UsageError(
            "--target and --dtype go with a MODEL: the synthetic programs that are trained on "
            "without one bring targets of their own; name models, or leave both out"
        )
    return Session(
        models=tuple(arguments["models"] or ()),
        target=arguments["target"],
        dtype=arguments["dtype"],
        out=arguments["out"],
        resume=arguments["resume"],
        steps=arguments["steps"],
        time_limit_s=options.seconds(arguments["time_limit"], "--time-limit"),
        seed=arguments["seed"],
        engine=arguments["engine"],
        jobs=arguments["jobs"],
        tensorboard=arguments["tensorboard"],
    )


def _train_scheduler(
    arguments: dict[str, Any], tell: Callable[[str], None]
) -> tuple[dict[str, Any], str]:
    from ullage.compiler.common.units import format_time
    from ullage.rl_agent.schedule.session import run_schedule_session

    session = _session_of(arguments)
    trained = run_schedule_session(session, tell)
    training = trained.training
    text = (
        f"{session.out}: {training.generation} generations on {trained.programs} networks in "
        f"{format_time(trained.total_s)}; one decode is worth {100 * training.reward:+.2f} % over "
        f"the dynamic program's by the linear program (smoothed, with training noise); "
        f"log: {trained.log}; use it: --schedule agent:{session.out}"
    )
    document = {
        "agent": "rl",
        "game": "schedule",
        "checkpoint": str(session.out),
        "log": str(trained.log),
        "generations": training.generation,
        "reward": training.reward,
        "programs": trained.programs,
        "seed": training.options.seed,
        "total_s": trained.total_s,
        "interrupted": trained.interrupted,
    }
    return document, text


def _train_rl(arguments: dict[str, Any], tell: Callable[[str], None]) -> tuple[dict[str, Any], str]:
    from ullage.compiler.common.units import format_time
    from ullage.rl_agent.training.session import run_session

    session = _session_of(arguments)
    trained = run_session(session, tell)
    training = trained.training
    text = (
        f"{session.out}: {training.generation} generations on {trained.programs} programs in "
        f"{format_time(trained.total_s)}; plans by its scores, without search, save "
        f"{100 * training.reward:+.2f} % over the heuristic's (smoothed, with training noise); "
        f"log: {trained.log}; use it: --solver rl --param checkpoint={session.out}"
    )
    document = {
        "agent": "rl",
        "checkpoint": str(session.out),
        "log": str(trained.log),
        "generations": training.generation,
        "reward": training.reward,
        "programs": trained.programs,
        "seed": training.options.seed,
        "total_s": trained.total_s,
        "interrupted": trained.interrupted,
    }
    return document, text


def _train_muzero(
    arguments: dict[str, Any], tell: Callable[[str], None]
) -> tuple[dict[str, Any], str]:
    from ullage.compiler.common.units import format_time
    from ullage.rl_agent.muzero.solver import check_extra

    check_extra()
    from ullage.rl_agent.muzero.session import MuZeroSession, run_muzero

    models = arguments["models"] or []
    if len(models) != 1:
        raise UsageError("--agent muzero learns one program: name one MODEL")
    if arguments["jobs"] != 1 or arguments["engine"] != "processes":
        raise UsageError("--agent muzero plays its games side by side in one process: no --jobs")
    session = MuZeroSession(
        model=models[0],
        program=options.compile_options(arguments).frontend,
        out=arguments["out"],
        resume=arguments["resume"],
        steps=arguments["steps"],
        time_limit_s=options.seconds(arguments["time_limit"], "--time-limit"),
        seed=arguments["seed"],
        tensorboard=arguments["tensorboard"],
    )
    trained = run_muzero(session, tell)
    text = (
        f"{session.out}: {trained.games} games in {trained.generation} generations in "
        f"{format_time(trained.total_s)}; best plan {format_time(trained.best_s)}; "
        f"log: {trained.log}; use it: --solver muzero --param checkpoint={session.out}"
    )
    document = {
        "agent": "muzero",
        "checkpoint": str(session.out),
        "log": str(trained.log),
        "generations": trained.generation,
        "games": trained.games,
        "best_latency_s": trained.best_s,
        "programs": 1,
        "seed": trained.seed,
        "total_s": trained.total_s,
        "interrupted": trained.interrupted,
    }
    return document, text
