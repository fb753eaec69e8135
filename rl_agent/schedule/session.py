"""A training session of the schedule agent: exercises, checkpoints and log of `ullage train`."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ullage.compiler.common.engines import open_engine
from ullage.compiler.common.errors import TimeLimitError, UsageError
from ullage.compiler.common.files import write_atomic
from ullage.rl_agent.schedule.exercises import (
    ModelExercise,
    Specification,
    load_exercise,
    synthetic_exercises,
)
from ullage.rl_agent.schedule.train import (
    ScheduleTraining,
    ScheduleTrainOptions,
    begin_training,
    load_training,
    save_training,
    train,
)
from ullage.rl_agent.training.log import open_tensorboard
from ullage.rl_agent.training.session import MEMORY_SHARES, Session, old_lines

# Generations of a session with neither `steps` nor a time limit.
DEFAULT_STEPS = 79
# Seconds between two checkpoints.
SAVE_EVERY_S = 10.0
# Share of a time limit after which no more synthetic exercises are read, if a batch is there.
READING_SHARE = 0.4


@dataclass(frozen=True)
class ScheduleSessionResult:
    """The result of a session.

    Attributes:
        training: the state at the end.
        exercises: how many it was trained on.
        log: a JSONL file with one line per generation.
        total_s: seconds that the session took.
        interrupted: ended by Ctrl-C.
    """

    training: ScheduleTraining
    exercises: int
    log: Path
    total_s: float
    interrupted: bool


def run_schedule_session(
    session: Session, progress: Callable[[str], None]
) -> ScheduleSessionResult:
    """Train, save, log; Ctrl-C ends it with what there is.

    Raises:
        UsageError: options contradict each other, or there is nothing to train on.
        TimeLimitError: the time was over before a generation was trained; nothing is written.
    """
    begun_s = time.monotonic()
    if session.out.suffix != ".safetensors":
        raise UsageError(
            f"a checkpoint is a .safetensors file; name it so, not {session.out.name!r}"
        )
    resumed = None if session.resume is None else load_training(session.resume)
    options = ScheduleTrainOptions(seed=session.seed) if resumed is None else resumed.options
    progress("reading networks")
    pool: list[Specification] = []
    chooses_pool = resumed is None and not session.models
    for specification in _specifications(session, options):
        pool.append(specification)
        _check_time(session, begun_s, len(pool))
        progress(f"reading networks: {len(pool)} so far")
        spent_s = time.monotonic() - begun_s
        has_read_enough = (
            session.time_limit_s is not None and spent_s >= READING_SHARE * session.time_limit_s
        )
        if chooses_pool and len(pool) >= options.batch and has_read_enough:
            break
    if chooses_pool:  # a resumed run reads as many
        options = replace(options, exercises=len(pool))
    training = resumed or begin_training(options)
    log = session.out.with_suffix(".jsonl")
    lines = old_lines(session.resume, training.generation)
    steps = session.steps
    if steps is None and session.time_limit_s is None:
        steps = DEFAULT_STEPS
    saved = generation_begun = time.monotonic()
    longest_s, latest = 0.0, training

    def goes_on(now: ScheduleTraining) -> bool:
        nonlocal generation_begun
        generation_begun = time.monotonic()
        ends_s = generation_begun - begun_s + longest_s
        out_of_time = session.time_limit_s is not None and ends_s >= session.time_limit_s
        return not out_of_time and (steps is None or now.generation < steps)

    def report(now: ScheduleTraining) -> None:
        nonlocal saved, latest, longest_s
        latest = now
        longest_s = max(longest_s, time.monotonic() - generation_begun)
        seconds = round(time.monotonic() - begun_s, 3)
        line = {"generation": now.generation, "reward": now.reward, "seconds": seconds}
        lines.append(json.dumps(line))
        write(now.generation, {"reward": now.reward})
        progress(f"generation {now.generation}: {100 * now.reward:+.2f} % over the dynamic program")
        if time.monotonic() - saved >= SAVE_EVERY_S:
            _save(now, session.out, log, lines)
            saved = time.monotonic()

    interrupted = False
    with (
        open_engine(session.engine, session.jobs) as engine,
        open_tensorboard(session.tensorboard) as write,
    ):
        try:
            latest = train(training, pool, goes_on, report, engine)
        except KeyboardInterrupt:
            interrupted = True
    if not interrupted and session.time_limit_s is not None and latest is training:
        _check_time(session, begun_s, len(pool))
    _save(latest, session.out, log, lines)
    return ScheduleSessionResult(latest, len(pool), log, time.monotonic() - begun_s, interrupted)


def _specifications(session: Session, options: ScheduleTrainOptions) -> Iterator[Specification]:
    """What to train on: synthetic networks, or each model at a few sizes of fast memory."""
    if not session.models:
        yield from synthetic_exercises(options.pool_seed, options.families, options.exercises)
        return
    for name in session.models:
        for share in MEMORY_SHARES:
            specification = ModelExercise(name, session.target, session.dtype, share)
            if load_exercise(specification) is not None:
                yield specification


def _check_time(session: Session, begun_s: float, ready: int) -> None:
    """Return while there is time.

    Raises:
        TimeLimitError: there is none left.
    """
    limit_s = session.time_limit_s
    if limit_s is not None and time.monotonic() - begun_s >= limit_s:
        raise TimeLimitError(
            f"nothing was trained: {ready} networks were ready when the time limit of "
            f"{limit_s:.3g} s was over; give more time",
            {"ready": ready, "time_limit_s": limit_s},
        )


def _save(training: ScheduleTraining, out: Path, log: Path, lines: list[str]) -> None:
    save_training(training, out)
    write_atomic(log, "".join(line + "\n" for line in lines).encode())
