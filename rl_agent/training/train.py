"""Training: evolution strategies on the weights, by what one decode saves.

A generation draws a few programs; each is played by networks perturbed at random, every
perturbation with its mirror image (Salimans et al. 2017, section 2). The differences of their
latencies, in units of their spread on that program, weigh the perturbations into a gradient, which
Adam follows. Nothing is imitated: the one thing that counts is the latency of a decode.

Everything random in a generation comes from (seed, generation), so that a run that is stopped and
resumed equals one that is not; results are merged in the order of the items, wherever they were
played.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.compiler.common.engines import HERE, Engine, in_order
from ullage.compiler.common.errors import UsageError
from ullage.rl_agent.policy.features import Encoding
from ullage.rl_agent.policy.network import (
    FORMAT,
    WEIGHTS,
    Network,
    network_of,
    read_arrays,
    untrained_network,
    write_arrays,
)
from ullage.rl_agent.training.evolution import (
    ItemResult,
    Moments,
    adam_step,
    gradient_of,
    in_places,
    picked,
)
from ullage.rl_agent.training.instances import Program
from ullage.rl_agent.training.synthetic import TRAINED
from ullage.rl_agent.training.work import WorkItem, play_item

# Share of the newest generation in moving averages.
AVERAGED = 0.03
# Least unit of differences on a program, over the heuristic's latency: smaller ones count less.
MIN_SCALE = 0.002


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Attributes:
        seed: of weights, choices and perturbations.
        pool_seed: of the pool of programs.
        programs: its size.
        batch: programs per generation.
        pairs: perturbations of the weights per program, each with its mirror image.
        sigma: standard deviation of a perturbation.
        rate: step size of Adam in the beginning.
        half_rate: generations until it is half of that; it falls as 1 / (1 + generation / this).
        decay: share of a weight that a step of size 1 takes away.
        families: workload kinds of synthetic programs; the name is a key of checkpoints.
    """

    seed: int = 0
    pool_seed: int = 0
    programs: int = 2048
    batch: int = 64
    pairs: int = 8
    sigma: float = 0.05
    rate: float = 0.015
    half_rate: int = 200
    decay: float = 0.03
    families: tuple[str, ...] = TRAINED


@dataclass(frozen=True)
class Training:
    """The state of a training run: all that a checkpoint holds.

    Attributes:
        options: how it trains.
        generation: generations done.
        moving: the network whose weights are perturbed.
        average: (WEIGHTS,) their moving average, the result: steps are noisy, their mean is less.
        first: (WEIGHTS,) Adam's mean of gradients.
        second: (WEIGHTS,) Adam's mean of squares.
        reward: smoothed mean saving over the heuristic's decode.
    """

    options: TrainOptions
    generation: int
    moving: Network
    average: Floats
    first: Floats
    second: Floats
    reward: float = 0.0

    @property
    def network(self) -> Network:
        """The network as trained so far."""
        return replace(self.moving, weights=self.average)


def begin_training(options: TrainOptions, encodings: Sequence[Encoding]) -> Training:
    """A network that is the heuristic, and an optimiser at rest.

    Args:
        options: how to train.
        encodings: of programs to train on, by which features are scaled.

    Raises:
        UsageError: there is no program to train on.
    """
    if not encodings:
        raise _no_program()
    network = untrained_network(options.seed, encodings)
    still = np.zeros(WEIGHTS)
    return Training(options, 0, network, network.weights, still, still)


def items_of(training: Training, pool: Sequence[Program]) -> list[WorkItem]:
    """The work of the next generation: depends on the training's state and the pool alone."""
    options = training.options
    return [
        WorkItem(
            seed=options.seed,
            generation=training.generation,
            place=place,
            program=pool[index],
            network=training.moving,
            pairs=options.pairs,
            sigma=options.sigma,
        )
        for place, index in enumerate(picked(options, training.generation, len(pool)))
    ]


def merge(training: Training, results: Iterable[ItemResult]) -> Training:
    """The state after a generation, from the results of all its items, in any order."""
    options, ordered = training.options, in_places(results)
    gradient = gradient_of(options, training.generation, ordered, WEIGHTS, MIN_SCALE)
    reward = 1.0 - float(np.mean([result.centre for result in ordered]))
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
        moving=replace(training.moving, weights=after.weights),
        average=after.average,
        first=after.first,
        second=after.second,
        reward=after.reward,
    )


def _no_program() -> UsageError:
    return UsageError(
        "no program to train on: the models given do not fit the target or have nothing to "
        "decide; give others, or none for synthetic programs"
    )


def train(
    training: Training,
    pool: Sequence[Program],
    goes_on: Callable[[Training], bool],
    report: Callable[[Training], None] = lambda _: None,
    engine: Engine = HERE,
) -> Training:
    """Generations until `goes_on` says no.

    Args:
        training: where to begin.
        pool: programs to train on.
        goes_on: whether there is to be another generation.
        report: called behind each.
        engine: what plays the items of a generation; the checkpoint is the same whichever it is.

    Raises:
        UsageError: there is no program to train on.
    """
    if not pool:
        raise _no_program()
    while goes_on(training):
        training = merge(training, in_order(engine, play_item, items_of(training, pool)))
        report(training)
    return training


def save_training(training: Training, path: Path) -> None:
    """Write a checkpoint, whole or not at all; equal states give equal bytes."""
    about: dict[str, Any] = {
        "format": FORMAT,
        "generation": training.generation,
        "reward": training.reward,
        "options": {**vars(training.options), "families": list(training.options.families)},
    }
    arrays = {
        "shift": training.moving.shift,
        "spread": training.moving.spread,
        "network": training.average,
        "weights": training.moving.weights,
        "first": training.first,
        "second": training.second,
    }
    write_arrays(path, arrays, about)


def load_training(path: Path) -> Training:
    """The state of a checkpoint.

    Raises:
        UsageError: it cannot be read, or holds a network without the optimiser's state or the
            options.
    """
    arrays, about = read_arrays(path)
    network = network_of(arrays)
    parts = [arrays.get(name) for name in ("weights", "first", "second")]
    if network is None or any(part is None or part.shape != (WEIGHTS,) for part in parts):
        raise UsageError(
            f"{path} cannot be resumed: it holds no optimiser state of {WEIGHTS} weights; "
            "only checkpoints that ullage train wrote can be"
        )
    try:
        options = {**about["options"], "families": tuple(about["options"]["families"])}
        generation, reward = int(about["generation"]), float(about["reward"])
        asked = TrainOptions(**options)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is damaged: {error!r}; train anew") from error
    return Training(
        options=asked,
        generation=generation,
        moving=replace(network, weights=arrays["weights"]),
        average=arrays["network"],
        first=arrays["first"],
        second=arrays["second"],
        reward=reward,
    )
