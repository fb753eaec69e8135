"""The policy: a learned correction of what groups cost in the dynamic program.

    features (G, F) --+-- linear ----------------+-- (G, 5)
                      +-- encode (G, H), tanh ---+

    cost of a group = own * exp(c0) + moved * c1 + computing * c2 + parts * (exp(c3) - 1)
    what it pays with the one in front of it: times exp(c4)

A decode is the dynamic program over these costs. With all weights at zero it is the dynamic program
behind `--schedule cascade`, at its first price of a part.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.compiler.common.errors import UsageError
from ullage.rl_agent.policy.network import read_arrays
from ullage.rl_agent.schedule.features import FEATURES, Encoding
from ullage.rl_agent.schedule.rules import decode
from ullage.rl_agent.schedule.tables import GroupArrays, ScheduleInstance
from ullage.solvers.scheduling.cascade.chain import Chain

# Hidden units, H.
HIDDEN = 8
# What the policy says of each group.
CORRECTIONS = 5
# Corrections are cut off here.
MOST = 2.0
# A group costs at least this share of what the dynamic program says.
LEAST_SHARE = 0.05
# The trained weights that come with the package.
SHIPPED = Path(__file__).with_name("scheduler.safetensors")

_SHAPES: dict[str, tuple[int, ...]] = {
    "linear_w": (FEATURES, CORRECTIONS),
    "encode_w": (FEATURES, HIDDEN),
    "score_w": (HIDDEN, CORRECTIONS),
}
_LAST = ("linear_w", "score_w")  # zero: the dynamic program
WEIGHTS = sum(int(np.prod(shape)) for shape in _SHAPES.values())


@dataclass(frozen=True)
class ScheduleNetwork:
    """The correction, by its weights.

    Attributes:
        weights: (WEIGHTS,) all that is trained.
    """

    weights: Floats

    def __getitem__(self, name: str) -> Floats:
        """Weights by name: linear_w (F, 5), encode_w (F, H), score_w (H, 5)."""
        at = 0
        for other, shape in _SHAPES.items():
            size = int(np.prod(shape))
            if other == name:
                return np.asarray(self.weights[at : at + size].reshape(shape))
            at += size
        raise KeyError(name)

    def corrections(self, encoding: Encoding) -> Floats:
        """(G, CORRECTIONS) what is said of each group."""
        alone = np.tanh(encoding.features @ self["encode_w"])
        said = encoding.features @ self["linear_w"] + alone @ self["score_w"]
        return np.asarray(said.clip(-MOST, MOST))

    def costs(self, encoding: Encoding) -> tuple[Floats, Floats]:
        """(G,) seconds of each group, and (G,) the factor on what it pays with the one in front."""
        said, costs = self.corrections(encoding), encoding.costs
        own = costs.own_s * np.exp(said[:, 0])
        own += costs.moved_s * said[:, 1] + costs.compute_s * said[:, 2]
        own += costs.parts_s * np.expm1(said[:, 3])
        return np.maximum(own, LEAST_SHARE * costs.own_s), np.exp(said[:, 4])

    def moved(self, by: Floats) -> "ScheduleNetwork":
        """The same with other weights."""
        return replace(self, weights=self.weights + by)


def zero_network() -> ScheduleNetwork:
    """No correction: the dynamic program."""
    return ScheduleNetwork(np.zeros(WEIGHTS))


def random_network(seed: int, *, without: tuple[str, ...] = ()) -> ScheduleNetwork:
    """Random weights, each array normal with variance 1 / inputs.

    Args:
        seed: of the weights.
        without: arrays that are zero.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for name, shape in _SHAPES.items():
        drawn = rng.normal(0.0, 1.0 / np.sqrt(shape[0]), shape)
        parts.append((0.0 * drawn if name in without else drawn).ravel())
    return ScheduleNetwork(np.concatenate(parts))


def untrained_network(seed: int) -> ScheduleNetwork:
    """A network that is the dynamic program, to be trained."""
    return random_network(seed, without=_LAST)


class Decoder:
    """Decodes an instance by networks, one after another."""

    def __init__(self, instance: ScheduleInstance, encoding: Encoding) -> None:
        """Prepare scratch space."""
        self._arrays, self._encoding = instance.arrays, encoding
        count = len(instance.groups)
        self._best, self._before = np.zeros(count), np.zeros(count, dtype=np.int64)
        self._rows = np.zeros(instance.operators, dtype=np.int64)

    def rows(self, network: ScheduleNetwork, noise: Floats | None = None) -> Ints:
        """The rows of the groups that a network chooses, in the order.

        Args:
            network: whose costs count.
            noise: (G,) added to the logarithm of what each group pays for itself.
        """
        own_s, scale = network.costs(self._encoding)
        if noise is not None:
            own_s = own_s * np.exp(noise)
        arrays: GroupArrays = self._arrays._replace(own_s=own_s, between_scale=scale)
        number = decode(arrays, self._best, self._before, self._rows)
        return self._rows[:number][::-1].copy()


def corrected_chain(
    instance: ScheduleInstance, network: ScheduleNetwork, encoding: Encoding
) -> Chain:
    """The dynamic program over the costs of a network."""
    own_s, scale = network.costs(encoding)
    ends = instance.arrays.begin[2:-1]
    return instance.chain.corrected(np.split(own_s, ends), np.split(scale, ends))


def network_in(path: Path | None = None) -> ScheduleNetwork:
    """The network of a checkpoint, by default the one that ships.

    Raises:
        UsageError: the file cannot be read, or holds no weights of this network.
    """
    place = path or SHIPPED
    weights = read_arrays(place)[0].get("schedule_network")
    if weights is None or weights.shape != (WEIGHTS,) or not np.isfinite(weights).all():
        raise UsageError(
            f"{place} holds no schedule network of {WEIGHTS} finite weights; train one with "
            "ullage train --game schedule"
        )
    return ScheduleNetwork(np.asarray(weights, dtype=np.float64))
