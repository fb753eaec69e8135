"""Training of the schedule agent: evolution strategies on what one decode is worth by the LP.

A generation draws a few exercises; each is decoded by networks perturbed at random, every
perturbation with its mirror image (Salimans et al. 2017, section 2), and the LP values each
schedule. The differences, in units of their spread on that exercise, weigh the perturbations into
a gradient, which Adam follows.

The dynamic program minimises its own estimate exactly, so that nothing could be learnt from it:
what is learnt is where the estimate is wrong.

Everything random comes from (seed, generation, place), and results are merged in the order of the
exercises, so that neither who plays them nor a pause between two generations changes anything.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.compiler.common.engines import HERE, Engine, in_order
from ullage.compiler.common.errors import UsageError
from ullage.rl_agent.policy.network import FORMAT, read_arrays, write_arrays
from ullage.rl_agent.schedule.exercises import Specification, load_exercise
from ullage.rl_agent.schedule.network import WEIGHTS, ScheduleNetwork, untrained_network
from ullage.rl_agent.schedule.workloads import TRAINED
from ullage.rl_agent.training.evolution import (
    ItemResult,
    Moments,
    adam_step,
    gradient_of,
    in_places,
    noise_of,
    picked,
)

# Share of the newest generation in moving averages.
AVERAGED = 0.04
# Least unit of differences on an exercise, in logarithms of values: smaller ones count less.
MIN_SCALE = 0.005


@dataclass(frozen=True)
class ScheduleTrainOptions:
    """How to train.

    Attributes:
        seed: of weights, choices and perturbations.
        pool_seed: of the pool of exercises.
        exercises: its size.
        batch: exercises per generation.
        pairs: perturbations of the weights per exercise, each with its mirror image.
        sigma: standard deviation of a perturbation.
        rate: step size of Adam in the beginning.
        half_rate: generations until it is half of that; it falls as 1 / (1 + generation / this).
        decay: share of a weight that a step of size 1 takes away.
        families: families of synthetic networks.
    """

    seed: int = 0
    pool_seed: int = 0
    exercises: int = 64
    batch: int = 16
    pairs: int = 3
    sigma: float = 0.1
    rate: float = 0.03
    half_rate: int = 150
    decay: float = 0.02
    families: tuple[str, ...] = TRAINED


@dataclass(frozen=True)
class ScheduleTraining:
    """The state of a training run: all that a checkpoint holds.

    Attributes:
        options: how it trains.
        generation: generations done.
        moving: the network whose weights are perturbed.
        average: (WEIGHTS,) their moving average, the result.
        first: (WEIGHTS,) Adam's mean of gradients.
        second: (WEIGHTS,) Adam's mean of squares.
        reward: smoothed mean logarithm of the dynamic program's value over a decode's.
    """

    options: ScheduleTrainOptions
    generation: int
    moving: ScheduleNetwork
    average: Floats
    first: Floats
    second: Floats
    reward: float = 0.0

    @property
    def network(self) -> ScheduleNetwork:
        """The network as trained so far."""
        return ScheduleNetwork(self.average)


class ScheduleItem(NamedTuple):
    """One exercise to be decoded by perturbed networks. Picklable."""

    seed: int
    generation: int
    place: int
    specification: Specification
    network: ScheduleNetwork
    pairs: int
    sigma: float


def play_item(item: ScheduleItem) -> ItemResult:
    """Decode the item's exercise by each of its networks; depends on the item alone.

    Results are logarithms of values over the dynamic program's.

    Raises:
        ValueError: there is nothing to decide in the exercise.
    """
    exercise = load_exercise(item.specification)
    if exercise is None:
        raise ValueError(f"{item.specification} cannot be played")
    shape = (item.pairs, WEIGHTS)
    noise = item.sigma * noise_of(item.seed, item.generation, item.place, shape)
    plus = np.array([exercise.log_ratio(item.network.moved(row)) for row in noise])
    minus = np.array([exercise.log_ratio(item.network.moved(-row)) for row in noise])
    return ItemResult(item.place, exercise.log_ratio(item.network), plus, minus)


def begin_training(options: ScheduleTrainOptions) -> ScheduleTraining:
    """A network that is the dynamic program, and an optimiser at rest."""
    network, still = untrained_network(options.seed), np.zeros(WEIGHTS)
    return ScheduleTraining(options, 0, network, network.weights, still, still)


def items_of(training: ScheduleTraining, pool: Sequence[Specification]) -> list[ScheduleItem]:
    """The work of the next generation: depends on the training's state and the pool alone."""
    options = training.options
    return [
        ScheduleItem(
            seed=options.seed,
            generation=training.generation,
            place=place,
            specification=pool[index],
            network=training.moving,
            pairs=options.pairs,
            sigma=options.sigma,
        )
        for place, index in enumerate(picked(options, training.generation, len(pool)))
    ]


def merge(training: ScheduleTraining, results: Iterable[ItemResult]) -> ScheduleTraining:
    """The state after a generation, from the results of all its items, in any order."""
    options, ordered = training.options, in_places(results)
    gradient = gradient_of(options, training.generation, ordered, WEIGHTS, MIN_SCALE)
    reward = -float(np.mean([result.centre for result in ordered]))
    before = Moments(
        training.moving.weights,
        training.average,
        training.first,
        training.second,
        training.reward,
    )
    count = training.generation + 1
    after = adam_step(options, count, before, gradient, reward, AVERAGED)
    return replace(
        training,
        generation=count,
        moving=ScheduleNetwork(after.weights),
        average=after.average,
        first=after.first,
        second=after.second,
        reward=after.reward,
    )


def train(
    training: ScheduleTraining,
    pool: Sequence[Specification],
    goes_on: Callable[[ScheduleTraining], bool],
    report: Callable[[ScheduleTraining], None] = lambda _: None,
    engine: Engine = HERE,
) -> ScheduleTraining:
    """Generations until `goes_on` says no.

    Args:
        training: where to begin.
        pool: exercises.
        goes_on: whether there is to be another generation.
        report: called behind each.
        engine: what plays the items of a generation; the checkpoint is the same whichever it is.

    Raises:
        UsageError: there is nothing to train on.
    """
    if not pool:
        raise UsageError(
            "nothing to train schedules on: the models given have too few operators, or every "
            "schedule of theirs is as good; give others, or none for synthetic networks"
        )
    while goes_on(training):
        training = merge(training, in_order(engine, play_item, items_of(training, pool)))
        report(training)
    return training


def save_training(training: ScheduleTraining, path: Path) -> None:
    """Write a checkpoint, whole or not at all; equal states give equal bytes."""
    about: dict[str, Any] = {
        "format": FORMAT,
        "game": "schedule",
        "generation": training.generation,
        "reward": training.reward,
        "options": {**vars(training.options), "families": list(training.options.families)},
    }
    arrays = {
        "schedule_network": training.average,
        "weights": training.moving.weights,
        "first": training.first,
        "second": training.second,
    }
    write_arrays(path, arrays, about)


def load_training(path: Path) -> ScheduleTraining:
    """The state of a checkpoint.

    Raises:
        UsageError: it cannot be read, or is none of the schedule game with its optimiser.
    """
    arrays, about = read_arrays(path)
    names = ("schedule_network", "weights", "first", "second")
    parts = [arrays.get(name) for name in names]
    if any(
        part is None or part.shape != (WEIGHTS,) or not np.isfinite(part).all() for part in parts
    ):
        raise UsageError(
            f"{path} cannot be resumed: it holds no optimiser state of {WEIGHTS} weights of the "
            "schedule game; only checkpoints that ullage train --game schedule wrote can be"
        )
    try:
        options = {**about["options"], "families": tuple(about["options"]["families"])}
        generation, reward = int(about["generation"]), float(about["reward"])
        asked = ScheduleTrainOptions(**options)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is damaged: {error!r}; train anew") from error
    average, moving, first, second = (np.asarray(part, dtype=np.float64) for part in parts)
    return ScheduleTraining(
        asked, generation, ScheduleNetwork(moving), average, first, second, reward
    )
