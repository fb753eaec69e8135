"""Options that several commands share, and their translation to the library's options."""

import time
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ullage.compiler.driver.options import CompileOptions

# Share of a time limit that may be over when a command begins: on a busy machine starting takes
# seconds, and a short limit shall give a plan there, too.
STARTING_SHARE = 0.5
# `time.monotonic()` value when the process began, from which time limits count; None: not known.
BEGUN: ContextVar[float | None] = ContextVar("begun", default=None)

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="An .onnx file, or a name (ullage models list).")
]
AnyModel = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="An .onnx file, a name (ullage models list), or a problem file."
    ),
]
TargetName = Annotated[
    str, typer.Option("--target", metavar="NAME|FILE", help="Chip (ullage targets list).")
]
SolverName = Annotated[
    str, typer.Option("--solver", metavar="NAME", help="Solver (ullage solvers list).")
]
AnyTarget = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="NAME|FILE",
        help="Chip (ullage targets list), default edge-npu; of a problem file, its own.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Objective = Annotated[
    str,
    typer.Option(
        "--objective", metavar="NAME", help="What to minimise: latency, traffic, energy or peak."
    ),
]
AnyObjective = Annotated[
    str | None,
    typer.Option(
        "--objective",
        metavar="NAME",
        help="What to minimise: latency (default), traffic, energy or peak.",
    ),
]
FastMemory = Annotated[
    str | None,
    typer.Option("--fast-memory", metavar="SIZE", help="Capacity of the fastest tier: 256KiB ..."),
]
Order = Annotated[
    str,
    typer.Option(
        "--order",
        metavar="NAME",
        help="Order of operators: model (the file's), memory or joint (searched).",
    ),
]
Schedule = Annotated[
    str | None,
    typer.Option(
        "--schedule",
        metavar="whole|cascade|agent|agent:CHECKPOINT|FILE",
        help="Run operators whole, or in stripes; compile takes the better one by default.",
    ),
]
Recompute = Annotated[
    str,
    typer.Option(
        "--recompute",
        metavar="auto|off",
        help="Let operators run again where that beats keeping or moving their results.",
    ),
]
Update = Annotated[
    str | None,
    typer.Option(
        "--update",
        metavar="last:N|FILE",
        help="Parameters that a training step updates: the last N, or those named in a file, some "
        "with a ratio of output channels (name:1/8).",
    ),
]
Batch = Annotated[
    int | None,
    typer.Option("--batch", metavar="N", min=1, help="Samples: first dimensions of inputs."),
]
Dims = Annotated[
    list[str] | None,
    typer.Option("--dim", metavar="NAME=N", help="Value of a symbolic dimension (repeatable)."),
]
FamilyLoss = Annotated[
    str | None,
    typer.Option(
        "--family",
        metavar="SHARE",
        help="A few plans for all lengths of --dim NAME=FIRST..LAST, each so much worse at most.",
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="Override a target field: split_operands=false ..."
    ),
]
Params = Annotated[
    list[str] | None,
    typer.Option(
        "--param", metavar="NAME=VALUE", help="A parameter of the solver (ullage solvers show)."
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option("--dtype", metavar="TYPE", help="Plan float tensors as int8, fp16 ..."),
]
NoFuse = Annotated[bool, typer.Option("--no-fuse", help="Plan every node by itself.")]
NoAlias = Annotated[
    bool, typer.Option("--no-alias", help="Give every tensor bytes of its own, views included.")
]
OpCosts = Annotated[
    Path | None,
    typer.Option(
        "--op-costs", metavar="FILE.csv", help="Cycles or seconds of operators, instead of a model."
    ),
]
SteadyState = Annotated[
    bool,
    typer.Option(
        "--steady-state", help="Inferences repeat for ever; weights may stay between them."
    ),
]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        metavar="IN=OUT",
        help="An input that the next inference has from this output, in its bytes; or auto.",
    ),
]
TimeLimit = Annotated[
    str | None,
    typer.Option("--time-limit", metavar="TIME", help="Wall-clock limit: seconds, 500ms, 2min."),
]
Jobs = Annotated[
    int,
    typer.Option("--jobs", metavar="N", help="What runs side by side, in processes."),
]
EngineName = Annotated[
    str,
    typer.Option("--engine", metavar="processes|ray", help="What runs the processes of --jobs."),
]
Then = Annotated[
    str | None,
    typer.Option(
        "--then",
        metavar="NAME",
        help="A second objective: as little of it as --within allows.",
    ),
]
Within = Annotated[
    str | None,
    typer.Option(
        "--within", metavar="SHARE", help="How much worse --then may make the first: 1% ..."
    ),
]
SlowerBy = Annotated[
    str | None,
    typer.Option(
        "--slower-by",
        metavar="SHARE",
        help="How much slower than the fastest plan --objective peak may be: 5% ...",
    ),
]


def _checked_seed(seed: int) -> int:
    """A seed that every command takes.

    Raises:
        UsageError: it is negative, or above 63 bits.
    """
    from ullage.compiler.common.errors import UsageError
    from ullage.compiler.common.ranges import MAX_SEED

    if seed < 0:
        raise UsageError(f"--seed is a whole number of at least 0, not {seed}")
    if seed > MAX_SEED:
        raise UsageError(f"--seed is at most {MAX_SEED}, not {seed}")
    return seed


Seed = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="N",
        help="Seed of everything random.",
        callback=_checked_seed,
    ),
]


def pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    """`NAME=VALUE` texts as a dict.

    Args:
        texts: the texts, None for none.
        option: the option that they are values of, for messages.

    Raises:
        UsageError: one has no `=`, or a name occurs twice.
    """
    from ullage.compiler.common.errors import UsageError

    values: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} takes NAME=VALUE, not {text!r}")
        if name in values:
            raise UsageError(f"{option} {name} is given twice")
        values[name] = value
    return values


def seconds(text: str | None, option: str) -> float | None:
    """Seconds of an option's text; None where it is not given.

    Raises:
        UsageError: it is no time.
    """
    from ullage.compiler.common.units import parse_time

    return None if text is None else parse_time(text, option)


def compile_options(arguments: dict[str, Any]) -> "CompileOptions":
    """The library's options from a command's arguments; those that a command lacks have defaults.

    Raises:
        UsageError: a value makes no sense; says which and what would.
    """
    from ullage.compiler.common.dtypes import parse_dtype
    from ullage.compiler.common.errors import UsageError
    from ullage.compiler.common.units import parse_count, parse_share, parse_size
    from ullage.compiler.driver.options import DEFAULT_WITHIN, CompileOptions

    dims: dict[str, int] = {}
    for name, value in pairs(arguments.get("dims"), "--dim").items():
        dims[name] = parse_count(value, f"--dim {name}")
    schedule, checkpoint = _schedule_of(arguments.get("schedule", "whole"))
    fast = arguments.get("fast_memory")
    then, within = arguments.get("then"), arguments.get("within")
    slower = arguments.get("slower_by")
    limit_s = seconds(arguments.get("time_limit"), "--time-limit")
    if within is not None and then is None:
        raise UsageError("--within is the tolerance of --then: say what to minimise then")
    return CompileOptions(
        target=arguments["target"],
        solver=arguments.get("solver", "auto"),
        objective=arguments.get("objective"),
        fast_memory_bytes=None if fast is None else parse_size(fast),
        order=arguments.get("order", "model"),
        schedule=schedule,
        schedule_agent=Path(checkpoint) if checkpoint else None,
        recompute=arguments.get("recompute", "off"),
        update=arguments.get("update"),
        dims=dims,
        batch=arguments.get("batch"),
        dtype=None if arguments.get("dtype") is None else parse_dtype(arguments["dtype"]),
        fuse=not arguments.get("no_fuse", False),
        alias=not arguments.get("no_alias", False),
        steady_state=arguments.get("steady_state", False),
        states=tuple(arguments.get("states") or ()),
        overrides=pairs(arguments.get("sets"), "--set"),
        parameters=pairs(arguments.get("params"), "--param"),
        time_limit_s=limit_s,
        begun=_begun(limit_s),
        then=then,
        within=DEFAULT_WITHIN if within is None else parse_share(within, "--within"),
        slower_by=None if slower is None else parse_share(slower, "--slower-by"),
        op_costs=arguments.get("op_costs"),
        seed=arguments.get("seed", 0),
    )


def _schedule_of(value: str | None) -> tuple[str | None, str]:
    """What `--schedule` names, and the checkpoint in `agent:CHECKPOINT`, empty without one."""
    from ullage.compiler.common.errors import UsageError

    if value is None or not value.startswith("agent:"):
        return value, ""
    checkpoint = value.removeprefix("agent:")
    if not checkpoint:
        raise UsageError("--schedule agent:CHECKPOINT: name a checkpoint behind the colon")
    return "agent", checkpoint


def _begun(limit_s: float | None) -> float | None:
    """When the time of a job began: with the process, but at least half of it is left now."""
    begun = BEGUN.get()
    if begun is None or limit_s is None:
        return None
    return max(begun, time.monotonic() - STARTING_SHARE * limit_s)


def read_model_path(name: str) -> Path:
    """The file behind MODEL."""
    from ullage.compiler.importer.model_zoo import find_model

    return find_model(name)
