"""A training session: programs, checkpoints and log of `ullage train`.

Reading what to train on and going on until the time is over are those of every agent that evolution
strategies train (`read_pool`, `run_generations`).
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from ullage.compiler.common.engines import Engine, open_engine
from ullage.compiler.common.errors import TimeLimitError, UsageError
from ullage.compiler.common.files import MAX_READ_BYTES, is_file, read_file, write_atomic
from ullage.rl_agent.policy.features import Encoding
from ullage.rl_agent.training.instances import (
    ModelProgram,
    Program,
    load_instance,
    synthetic_programs,
)
from ullage.rl_agent.training.log import open_tensorboard
from ullage.rl_agent.training.train import (
    Training,
    TrainOptions,
    begin_training,
    load_training,
    save_training,
    train,
)

# Generations of a session with neither `steps` nor a time limit.
DEFAULT_STEPS = 300
# Seconds between two checkpoints.
SAVE_EVERY_S = 10.0
# Share of a time limit after which reading of synthetic programs ends, if a batch is there.
READING_SHARE = 0.4
# Programs between two texts of progress.
TOLD_EVERY = 64
# Programs whose features give mean and spread for scaling.
SCALED_BY = 256
# Capacities over that of the target's fast memory with which each model is a program to train on.
MEMORY_SHARES = (0.25, 0.5, 1.0, 2.0)


class Progressing(Protocol):
    """The state of a training run, as far as sessions look at it."""

    @property
    def generation(self) -> int:
        """Generations done."""

    @property
    def reward(self) -> float:
        """Smoothed mean gain."""


State = TypeVar("State", bound=Progressing)
Item = TypeVar("Item")


@dataclass(frozen=True)
class Session:
    """What to train on, and for how long.

    Attributes:
        models: names or files; none for synthetic programs.
        target: name or file of the target of the models.
        dtype: floating-point tensors are planned as this type.
        out: checkpoint to write; the log lies beside it.
        resume: checkpoint to go on from; its options and seed count.
        steps: generations in all, those of the resumed run included.
        time_limit_s: seconds; without it and `steps`, DEFAULT_STEPS generations.
        seed: of everything random.
        engine: where items are played, see `engine`.
        jobs: processes that play them.
        tensorboard: folder for TensorBoard.
    """

    models: tuple[str, ...]
    target: str
    dtype: str | None
    out: Path
    resume: Path | None = None
    steps: int | None = None
    time_limit_s: float | None = None
    seed: int = 0
    engine: str = "processes"
    jobs: int = 1
    tensorboard: Path | None = None


@dataclass(frozen=True)
class SessionResult(Generic[State]):
    """The result of a session.

    Attributes:
        training: the state at the end.
        programs: how many it was trained on.
        log: a JSONL file with one line per generation.
        total_s: seconds that the session took.
        interrupted: ended by Ctrl-C.
    """

    training: State
    programs: int
    log: Path
    total_s: float
    interrupted: bool


@dataclass(frozen=True)
class Course(Generic[State]):
    """What a session does again and again.

    Attributes:
        what: is trained on, as progress and errors name it: "programs".
        default_steps: generations of a session with neither `steps` nor a time limit.
        train: given whether to go on, what to report to and an engine: generations until the end.
        save: writes a checkpoint.
        text: progress behind a generation.
    """

    what: str
    default_steps: int
    train: Callable[[Callable[[State], bool], Callable[[State], None], Engine], State]
    save: Callable[[State, Path], None]
    text: Callable[[State], str]


def run_session(session: Session, progress: Callable[[str], None]) -> SessionResult[Training]:
    """Train, save, log; Ctrl-C ends it with what there is.

    Raises:
        UsageError: options contradict each other, or there is nothing to train on.
        TimeLimitError: the time was over before a generation was trained; nothing is written.
    """
    begun_s = time.monotonic()
    check_out(session)
    resumed = None if session.resume is None else load_training(session.resume)
    options = TrainOptions(seed=session.seed) if resumed is None else resumed.options
    programs: Iterable[Program] = (
        _model_programs(session)
        if session.models
        else synthetic_programs(options.pool_seed, options.families, options.programs)
    )
    chooses_pool = resumed is None and not session.models
    enough = options.batch if chooses_pool else None
    pool = read_pool(session, begun_s, programs, enough, progress, "programs", TOLD_EVERY)
    if chooses_pool:  # a resumed run reads as many
        options = replace(options, programs=len(pool))
    training = resumed or begin_training(options, _encodings(pool))
    course = Course(
        what="programs",
        default_steps=DEFAULT_STEPS,
        train=lambda goes_on, report, engine: train(training, pool, goes_on, report, engine),
        save=save_training,
        text=lambda now: f"saves {100 * now.reward:+.2f} % over the heuristic",
    )
    return run_generations(session, begun_s, course, training, len(pool), progress)


def check_out(session: Session) -> None:
    """Check the name of the checkpoint to write.

    Raises:
        UsageError: it is another kind of file.
    """
    if session.out.suffix != ".safetensors":
        raise UsageError(
            f"a checkpoint is a .safetensors file; name it so, not {session.out.name!r}"
        )


def read_pool(
    session: Session,
    begun_s: float,
    found: Iterable[Item],
    enough: int | None,
    progress: Callable[[str], None],
    what: str,
    told_every: int = 1,
) -> list[Item]:
    """What to train on, as far as there is time to read it.

    Args:
        session: with the time limit.
        begun_s: `time.monotonic()` value when the session began.
        found: reads them, one by one.
        enough: so many suffice once reading has taken its share of the time; None: all are read.
        progress: told how many there are.
        what: they are, as texts name them.
        told_every: so many of them between two texts.

    Raises:
        TimeLimitError: the time is over.
    """
    progress(f"reading {what}")
    pool: list[Item] = []
    for item in found:
        pool.append(item)
        _check_time(session, begun_s, len(pool), what)
        if len(pool) % told_every == 0:
            progress(f"reading {what}: {len(pool)} so far")
        if enough is not None and len(pool) >= enough and _has_read_enough(session, begun_s):
            break
    return pool


def run_generations(
    session: Session,
    begun_s: float,
    course: Course[State],
    training: State,
    ready: int,
    progress: Callable[[str], None],
) -> SessionResult[State]:
    """Train until steps or time are over, save, log; Ctrl-C ends it with what there is.

    Args:
        session: what was asked for.
        begun_s: `time.monotonic()` value when the session began.
        course: what is done again and again.
        training: where to begin.
        ready: how many there are to train on.
        progress: told of each generation.

    Raises:
        UsageError: the log of the run to resume is none.
        TimeLimitError: the time was over before a generation was trained; nothing is written.
    """
    log = session.out.with_suffix(".jsonl")
    lines = old_lines(session.resume, training.generation)
    steps = session.steps
    if steps is None and session.time_limit_s is None:
        steps = course.default_steps
    saved = time.monotonic()
    latest = training

    longest_s, generation_begun = 0.0, time.monotonic()

    def goes_on(now: State) -> bool:
        nonlocal generation_begun
        generation_begun = time.monotonic()
        spent_s = generation_begun - begun_s
        out_of_time = session.time_limit_s is not None and (
            spent_s >= session.time_limit_s or spent_s + longest_s > session.time_limit_s
        )
        return not out_of_time and (steps is None or now.generation < steps)

    def report(now: State) -> None:
        nonlocal saved, latest, longest_s
        latest = now
        longest_s = max(longest_s, time.monotonic() - generation_begun)
        seconds = round(time.monotonic() - begun_s, 3)
        line = {"generation": now.generation, "reward": now.reward, "seconds": seconds}
        lines.append(json.dumps(line))
        write(now.generation, {"reward": now.reward})
        progress(f"generation {now.generation}: {course.text(now)}")
        if time.monotonic() - saved >= SAVE_EVERY_S:
            save(now)
            saved = time.monotonic()

    def save(now: State) -> None:
        course.save(now, session.out)
        write_atomic(log, "".join(line + "\n" for line in lines).encode())

    interrupted = False
    with (
        open_engine(session.engine, session.jobs) as engine,
        open_tensorboard(session.tensorboard) as write,
    ):
        try:
            latest = course.train(goes_on, report, engine)
        except KeyboardInterrupt:
            interrupted = True
    if not interrupted and session.time_limit_s is not None and latest is training:
        _check_time(session, begun_s, ready, course.what)
    save(latest)
    return SessionResult(latest, ready, log, time.monotonic() - begun_s, interrupted)


def _has_read_enough(session: Session, begun_s: float) -> bool:
    """Whether the share of the time limit that reading may take is over."""
    limit_s = session.time_limit_s
    return limit_s is not None and time.monotonic() - begun_s >= READING_SHARE * limit_s


def _check_time(session: Session, begun_s: float, ready: int, what: str) -> None:
    """Return while there is time; programs are read before anything is learnt.

    Raises:
        TimeLimitError: there is none left.
    """
    limit_s = session.time_limit_s
    if limit_s is not None and time.monotonic() - begun_s >= limit_s:
        raise TimeLimitError(
            f"nothing was trained: {ready} {what} were ready when the time limit of "
            f"{limit_s:.3g} s was over; give more time, or name models to train on",
            {"ready": ready, "time_limit_s": limit_s},
        )


def _encodings(pool: Sequence[Program]) -> list[Encoding]:
    """Of the first programs, to see what is usual."""
    instances = [load_instance(program) for program in pool[:SCALED_BY]]
    return [instance.encoding for instance in instances if instance is not None]


def old_lines(resume: Path | None, generation: int) -> list[str]:
    """The log of the run that is resumed, up to its checkpoint.

    Raises:
        UsageError: it is no log.
    """
    log = None if resume is None else resume.with_suffix(".jsonl")
    if log is None or not is_file(log):
        return []
    data = read_file(log, MAX_READ_BYTES)
    try:
        lines = data.decode().splitlines()
        return [line for line in lines if json.loads(line)["generation"] <= generation]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise UsageError(
            f"{log} is not the log of a training run, and --resume would go on with it: {error}; "
            "move it away, or restore it"
        ) from error


def _model_programs(session: Session) -> Iterator[ModelProgram]:
    """Each model at a few sizes of fast memory, where something can be decided."""
    for name in session.models:
        for share in MEMORY_SHARES:
            program = ModelProgram(name, session.target, session.dtype, share)
            if load_instance(program) is not None:
                yield program
