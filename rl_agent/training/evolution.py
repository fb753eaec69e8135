"""Evolution strategies: what the trainings of all agents share (Salimans et al. 2017, section 2).

Everything random comes from (seed, generation, place), so that neither who plays the items of a
generation nor a pause between two generations changes anything.
"""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np

from ullage.compiler.common.arrays import Floats


class ItemResult(NamedTuple):
    """The result of an item, in the unit of what is minimised.

    Attributes:
        place: number of the item within its generation.
        centre: the network as it is.
        plus: (pairs,) perturbed one way.
        minus: (pairs,) perturbed the other way.
    """

    place: int
    centre: float
    plus: Floats
    minus: Floats


class Strategy(Protocol):
    """Options that trainings have in common; explained at `TrainOptions`."""

    @property
    def seed(self) -> int:
        """Of choices and perturbations."""

    @property
    def batch(self) -> int:
        """Items per generation."""

    @property
    def pairs(self) -> int:
        """Perturbations per item, each with its mirror image."""

    @property
    def rate(self) -> float:
        """Step size of Adam in the beginning."""

    @property
    def half_rate(self) -> int:
        """Generations until it is half of that."""

    @property
    def decay(self) -> float:
        """Share of a weight that a step of size 1 takes away."""


class Moments(NamedTuple):
    """The numbers of an optimiser, (W,) each but the last.

    Attributes:
        weights: that are perturbed.
        average: their moving average.
        first: Adam's mean of gradients.
        second: Adam's mean of squares.
        reward: smoothed.
    """

    weights: Floats
    average: Floats
    first: Floats
    second: Floats
    reward: float


def noise_of(seed: int, generation: int, place: int, shape: tuple[int, int]) -> Floats:
    """(pairs, W) perturbations of an item, standard normal."""
    return np.random.default_rng([seed, generation, place]).standard_normal(shape)


def picked(options: Strategy, generation: int, pool_size: int) -> list[int]:
    """The places in the pool of what a generation plays."""
    rng = np.random.default_rng([options.seed, generation])
    chosen = rng.choice(pool_size, min(options.batch, pool_size), replace=False)
    places: list[int] = chosen.tolist()
    return places


def in_places(results: Iterable[ItemResult]) -> list[ItemResult]:
    """Results in the order of their items, whoever was done first."""
    return sorted(results, key=lambda result: result.place)


def gradient_of(
    options: Strategy, generation: int, ordered: list[ItemResult], size: int, min_scale: float
) -> Floats:
    """(size,) how what is minimised grows with each weight, in units of its spread on each item.

    Args:
        options: how it trains.
        generation: that was played.
        ordered: results in the order of their items.
        size: number of weights.
        min_scale: least unit of differences on an item.
    """
    gradient = np.zeros(size)
    for result in ordered:
        noise = noise_of(options.seed, generation, result.place, (options.pairs, size))
        scale = max(float(np.std([*result.plus, *result.minus])), min_scale)
        gradient += (result.plus - result.minus) @ noise / (2 * scale * options.pairs)
    return gradient / len(ordered)


def adam_step(
    options: Strategy,
    generation: int,
    before: Moments,
    gradient: Floats,
    reward: float,
    averaged: float,
) -> Moments:
    """The numbers behind a generation (Kingma and Ba 2014, with decay of weights).

    Args:
        options: how it trains.
        generation: number of the one that was played, from 1.
        before: the numbers before it.
        gradient: (W,) of it.
        reward: of it.
        averaged: share of the newest generation in moving averages.
    """
    first = 0.9 * before.first + 0.1 * gradient
    second = 0.99 * before.second + 0.01 * gradient**2
    mean, square = first / (1 - 0.9**generation), second / (1 - 0.99**generation)
    step = mean / (np.sqrt(square) + 1e-8) + options.decay * before.weights
    weights = before.weights - options.rate / (1 + generation / options.half_rate) * step
    share = max(1.0 / generation, averaged)
    return Moments(
        weights=weights,
        average=before.average + share * (weights - before.average),
        first=first,
        second=second,
        reward=before.reward + share * (reward - before.reward),
    )
