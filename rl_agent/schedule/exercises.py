"""Networks on chips to train schedules on: named by small specifications, loaded where played.

A specification is all that a worker process needs: what it loads it keeps.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import log

from ullage.compiler.common.errors import UllageError, UsageError
from ullage.rl_agent.schedule.features import encode
from ullage.rl_agent.schedule.network import (
    Decoder,
    ScheduleNetwork,
    random_network,
    zero_network,
)
from ullage.rl_agent.schedule.tables import ScheduleInstance, instance_of
from ullage.rl_agent.schedule.workloads import synthetic_task
from ullage.rl_agent.training.instances import ModelProgram
from ullage.solvers.scheduling.cascade.stripes import Cascade
from ullage.solvers.scheduling.cascade.valued import Judge, SchedulingTask

# Fewest operators of a network to train on.
LEAST_OPERATORS = 6
# Operators beyond which the LP of a synthetic network takes too long to be solved so often.
MOST_OPERATORS = 20
# Random networks whose decodes tell whether choices make a difference, ...
PROBES = 3
# ... of at least so much of the dynamic program's value.
LEAST_SPREAD = 0.005
# Logarithm of the value over the dynamic program's where a decode cannot be cut.
FAILED = 0.3
# Exercises that a process keeps.
KEPT = 512
# Values after which a judge forgets the groups that it has seen, to free their memory.
MOST_KNOWN = 600


@dataclass(frozen=True)
class SyntheticExercise:
    """A network and a chip of the generator in `workloads.py`.

    Attributes:
        seed: of all of them.
        number: of this one.
        families: that it is drawn from.
    """

    seed: int
    number: int
    families: tuple[str, ...]


Specification = SyntheticExercise | ModelProgram


class Exercise:
    """An instance with the LP that judges its schedules.

    Attributes:
        instance: the game.
        encoding: as the policy sees it.
        spread: largest difference of the logarithms of values between a few random policies.
    """

    def __init__(self, instance: ScheduleInstance) -> None:
        """Value the dynamic program's schedule and a few others.

        Raises:
            UsageError: the dynamic program's schedule has no value.
        """
        self.instance, self.encoding = instance, encode(instance)
        self.decoder = Decoder(instance, self.encoding)
        self._judge = Judge(instance.task, instance.facts)
        self._known: dict[tuple[Cascade, ...], float | None] = {}
        self._reference = self._worth(self._cascades(zero_network()))
        if self._reference is None:
            raise UsageError(f"no value of {instance.task.graph.name}")
        others = [self.log_ratio(random_network(seed)) for seed in range(PROBES)]
        self.spread = max(*others, 0.0) - min(*others, 0.0)

    def log_ratio(self, network: ScheduleNetwork) -> float:
        """Logarithm of the value of a network's decode over that of the dynamic program's."""
        worth = self._worth(self._cascades(network))
        if worth is None or self._reference is None:
            return FAILED
        return log(worth / self._reference)

    def _cascades(self, network: ScheduleNetwork) -> tuple[Cascade, ...]:
        return self.instance.cascades(self.decoder.rows(network).tolist())

    def _worth(self, cascades: tuple[Cascade, ...]) -> float | None:
        if cascades not in self._known:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
                self._judge = Judge(self.instance.task, self.instance.facts)
            valued = self._judge.value(cascades)
            self._known[cascades] = None if valued is None else valued.worth
        return self._known[cascades]


@lru_cache(maxsize=KEPT)
def load_exercise(specification: Specification) -> Exercise | None:
    """The exercise of a specification, the same in every process; kept for the next time.

    Returns:
        None where nothing can be decided there.
    """
    try:
        task = task_of(specification)
        is_long = isinstance(specification, SyntheticExercise) and len(task.order) > MOST_OPERATORS
        if len(task.order) < LEAST_OPERATORS or is_long:
            return None
        return Exercise(instance_of(task))
    except UllageError:
        if isinstance(specification, ModelProgram):
            raise
        return None


def task_of(specification: Specification) -> SchedulingTask:
    """The task of a specification.

    Raises:
        UllageError: the model cannot be read, or does not fit the target.
    """
    if isinstance(specification, SyntheticExercise):
        return synthetic_task(specification.seed, specification.number, specification.families)
    from ullage.compiler.frontend import FrontendOptions, prepare
    from ullage.compiler.importer.model_zoo import find_model
    from ullage.rl_agent.schedule.prepared import prepared_task

    options = FrontendOptions(target=specification.target, dtype=specification.dtype)
    prepared = prepare(find_model(specification.name), options)
    capacity = prepared.target.fastest.capacity_bytes * specification.memory_share
    return prepared_task(prepared, prepared.target.with_fast_memory(int(capacity)))


def synthetic_exercises(
    seed: int, families: tuple[str, ...], count: int
) -> Iterator[SyntheticExercise]:
    """The first exercises of a seed on which policies differ."""
    yielded = number = 0
    while yielded < count:
        specification = SyntheticExercise(seed, number, families)
        number += 1
        exercise = load_exercise(specification)
        if exercise is not None and exercise.spread >= LEAST_SPREAD:
            yielded += 1
            yield specification
