"""A training session of the schedule agent: exercises, checkpoints and log of `ullage train`."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from ullage.rl_agent.schedule.exercises import (
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
from ullage.rl_agent.training.instances import ModelProgram
from ullage.rl_agent.training.session import (
    MEMORY_SHARES,
    Course,
    Session,
    SessionResult,
    check_out,
    read_pool,
    run_generations,
)

# Generations of a session with neither `steps` nor a time limit.
DEFAULT_STEPS = 79


def run_schedule_session(
    session: Session, progress: Callable[[str], None]
) -> SessionResult[ScheduleTraining]:
    """Train, save, log; Ctrl-C ends it with what there is.

    Raises:
        UsageError: options contradict each other, or there is nothing to train on.
        TimeLimitError: the time was over before a generation was trained; nothing is written.
    """
    begun_s = time.monotonic()
    check_out(session)
    resumed = None if session.resume is None else load_training(session.resume)
    options = ScheduleTrainOptions(seed=session.seed) if resumed is None else resumed.options
    chooses_pool = resumed is None and not session.models
    enough = options.batch if chooses_pool else None
    found = _specifications(session, options)
    pool = read_pool(session, begun_s, found, enough, progress, "networks")
    if chooses_pool:  # a resumed run reads as many
        options = replace(options, exercises=len(pool))
    training = resumed or begin_training(options)
    course = Course(
        what="networks",
        default_steps=DEFAULT_STEPS,
        train=lambda goes_on, report, engine: train(training, pool, goes_on, report, engine),
        save=save_training,
        text=lambda now: f"{100 * now.reward:+.2f} % over the dynamic program",
    )
    return run_generations(session, begun_s, course, training, len(pool), progress)


def _specifications(session: Session, options: ScheduleTrainOptions) -> Iterator[Specification]:
    """What to train on: synthetic networks, or each model at a few sizes of fast memory."""
    if not session.models:
        yield from synthetic_exercises(options.pool_seed, options.families, options.exercises)
        return
    for name in session.models:
        for share in MEMORY_SHARES:
            specification = ModelProgram(name, session.target, session.dtype, share)
            if load_exercise(specification) is not None:
                yield specification
