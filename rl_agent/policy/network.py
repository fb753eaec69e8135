"""The network: a score for every candidate, and weights for the state in which it is tried.

The score is a residual on the heuristic's: a linear part and two layers. The first layer sees a
candidate alone; the second sees it beside the mean of its neighbours in time and the mean of the
whole program. Weights are trained in units of their usual size. With the last weights at zero the
network is the heuristic.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.files import MAX_READ_BYTES, read_file, write_atomic
from ullage.rl_agent.policy.decode import KINDS
from ullage.rl_agent.policy.features import FEATURES, Encoding
from ullage.rl_agent.policy.players import Policy
from ullage.rl_agent.policy.trial import ASPECTS

# Units of each hidden layer, H.
HIDDEN = 16
# Candidates on each side that count as near in time.
NEIGHBOURS = 16
# Standard deviations at which features are cut off.
FARTHEST = 4.0
# Added to standard deviations, so that none is zero.
LEAST_SPREAD = 1e-6
# Numbers of a checkpoint above that are damage: trained weights are about 1.
MOST = 1e9
# Version of the checkpoint files.
FORMAT = 3
# The trained weights that come with the package.
SHIPPED = Path(__file__).with_name("generalist.safetensors")

# Shape of each array of weights, and its unit: what a change of 1 in training is worth.
_SHAPES: dict[str, tuple[tuple[int, ...], float]] = {
    "linear_w": ((KINDS, FEATURES), 1.0),
    "encode_w": ((FEATURES, HIDDEN), 1.0),
    "encode_b": ((HIDDEN,), 1.0),
    "mix_w": ((3 * HIDDEN, HIDDEN), 1.0),
    "mix_b": ((HIDDEN,), 1.0),
    "score_w": ((HIDDEN,), 1.0),
    "state_w": ((KINDS, ASPECTS), 5.0),
}
_LAST = ("linear_w", "score_w", "state_w")  # zero: the heuristic
WEIGHTS = sum(int(np.prod(shape)) for shape, _ in _SHAPES.values())


@dataclass(frozen=True)
class Network:
    """Scores the candidates of a program: F features, H hidden units.

        features (C, F) --+-- linear ----------------------------------+-- residual (C,)
                          +-- encode (C, H) -- mean of neighbours --+  |
                                   |           mean of the program -+  |
                                   +---------- mix (C, H) ---- score --+

    Attributes:
        shift: (F,) mean of each feature over programs to train on.
        spread: (F,) their standard deviation.
        weights: (WEIGHTS,) all that is trained, in units of its usual size.
    """

    shift: Floats
    spread: Floats
    weights: Floats

    def __getitem__(self, name: str) -> Floats:
        """Weights by name.

        linear_w (KINDS, F), the first row for all kinds of candidates, the others added for theirs;
        encode_w (F, H), encode_b (H,), mix_w (3 H, H), mix_b (H,), score_w (H,), state_w (KINDS,
        ASPECTS).
        """
        at = 0
        for other, (shape, unit) in _SHAPES.items():
            size = int(np.prod(shape))
            if other == name:
                return np.asarray(unit * self.weights[at : at + size].reshape(shape))
            at += size
        raise KeyError(name)

    def residual(self, encoding: Encoding) -> Floats:
        """(C,) what the network adds to the heuristic's score of each candidate."""
        scaled = (encoding.features - self.shift) / self.spread
        scaled = scaled.clip(-FARTHEST, FARTHEST)
        linear = scaled @ self["linear_w"].T
        direct = linear[:, 0] + (linear[:, 1:] * encoding.features[:, 1:KINDS]).sum(axis=1)
        alone = np.tanh(scaled @ self["encode_w"] + self["encode_b"])
        everywhere = np.broadcast_to(alone.mean(axis=0), alone.shape)
        near = np.empty_like(alone)
        near[encoding.by_step] = _moving_mean(alone[encoding.by_step])
        around = np.concatenate([alone, near, everywhere], axis=1)
        mixed = np.tanh(around @ self["mix_w"] + self["mix_b"])
        return np.asarray(direct + mixed @ self["score_w"])

    def policy(self, encoding: Encoding) -> Policy:
        """Heuristic and residual together, and what the state counts for."""
        return Policy(encoding.key + self.residual(encoding), self["state_w"])

    def moved(self, by: Floats) -> "Network":
        """The same with other weights."""
        return replace(self, weights=self.weights + by)


def _moving_mean(rows: Floats) -> Floats:
    sums = np.concatenate([np.zeros((1, rows.shape[1])), rows.cumsum(axis=0)])
    at = np.arange(len(rows))
    low, high = np.maximum(at - NEIGHBOURS, 0), np.minimum(at + NEIGHBOURS + 1, len(rows))
    return np.asarray((sums[high] - sums[low]) / (high - low)[:, None])


def zero_network() -> Network:
    """No residual: the heuristic alone."""
    return Network(np.zeros(FEATURES), np.ones(FEATURES), np.zeros(WEIGHTS))


def random_network(
    seed: int, like: Network | None = None, *, without: tuple[str, ...] = ()
) -> Network:
    """Random weights, each array normal with variance 1 / inputs.

    Args:
        seed: of the weights.
        like: a network whose features are scaled in the same way.
        without: arrays that are zero.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for name, (shape, unit) in _SHAPES.items():
        inputs = shape[1] if name in {"linear_w", "state_w"} else shape[0]
        drawn = rng.normal(0.0, 1.0 / np.sqrt(inputs) / unit, shape)
        is_zero = name in without or name.endswith("_b")
        parts.append(np.zeros(shape).ravel() if is_zero else drawn.ravel())
    scaled_as = like or zero_network()
    return replace(scaled_as, weights=np.concatenate(parts))


def untrained_network(seed: int, encodings: Sequence[Encoding]) -> Network:
    """A network that is the heuristic, to be trained; features are scaled as in these programs."""
    features = np.concatenate([encoding.features for encoding in encodings])
    network = random_network(seed, without=_LAST)
    return replace(network, shift=features.mean(axis=0), spread=features.std(axis=0) + LEAST_SPREAD)


def write_arrays(path: Path, arrays: dict[str, Any], about: dict[str, Any]) -> None:
    """Arrays and a JSON description as safetensors, the same bytes for the same content."""
    from safetensors.numpy import save

    text = json.dumps(about, sort_keys=True)
    named = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_atomic(path, save(named, metadata={"about": text}))


def read_arrays(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays and description of a file that `write_arrays` wrote.

    Raises:
        UsageError: it is missing, no such file, or holds numbers that are not finite or absurd.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        data = read_file(path, MAX_READ_BYTES)
        arrays = load(data)
        # The format: the length of a JSON header in eight bytes, little end first; the header.
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        about = json.loads(header.get("__metadata__", {}).get("about", "null"))
    except (
        UsageError,
        ValueError,
        AttributeError,
        TypeError,
        RecursionError,
        SafetensorError,
    ) as error:
        raise UsageError(
            f"{path} cannot be read as a checkpoint: {error}; train one with ullage train --out"
        ) from error
    if not isinstance(about, dict):
        raise UsageError(
            f"{path} is no checkpoint of ullage: its metadata has no JSON object `about`; train "
            "one with ullage train --out"
        )
    if about.get("format") != FORMAT:
        raise UsageError(f"{path} has checkpoint format {about.get('format')}, known is {FORMAT}")
    for name, array in arrays.items():
        if np.issubdtype(array.dtype, np.number) and not (np.abs(array) <= MOST).all():
            raise UsageError(
                f"{path} is damaged: array {name} holds numbers that are not finite or above "
                f"{MOST:g}, where trained weights are about 1; restore the file, or train anew"
            )
    return arrays, about


def network_of(arrays: dict[str, Any]) -> Network | None:
    """The network among a checkpoint's arrays; None where one is missing, of another shape, NaN."""
    shapes = {"shift": (FEATURES,), "spread": (FEATURES,), "network": (WEIGHTS,)}
    if any(name not in arrays or arrays[name].shape != shape for name, shape in shapes.items()):
        return None
    if not all(np.isfinite(arrays[name]).all() for name in shapes):
        return None
    return Network(*(np.asarray(arrays[name], dtype=np.float64) for name in shapes))


def load_network(path: Path | None = None) -> Network:
    """The network of a checkpoint, by default the one that ships.

    Raises:
        UsageError: the file cannot be read, or its weights have another shape.
    """
    place = path or SHIPPED
    network = network_of(read_arrays(place)[0])
    if network is None:
        raise UsageError(
            f"{place} holds no network of {WEIGHTS} finite weights; it is of another version or "
            "damaged: train anew"
        )
    return network
