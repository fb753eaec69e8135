"""The network: a score for every candidate, as a residual on the heuristic's.

Two layers. The first sees a candidate alone; the second sees it beside the mean of its neighbours
in time and the mean of the whole program. The weights of the last layer start at zero: an
untrained network is the heuristic.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ullage.compiler.errors import UsageError
from ullage.compiler.files import write_atomic
from ullage.rl_agent.board import FloatArray
from ullage.rl_agent.features import FEATURES, Encoding

HIDDEN = 16
NEIGHBOURS = 16  # candidates on each side that count as near in time
FORMAT = 2
SHIPPED = Path(__file__).with_name("generalist.safetensors")


@dataclass(frozen=True)
class Network:
    """Weights, F features, H hidden units.

    Attributes:
        encode_w: (F, H).
        encode_b: (H,).
        mix_w: (3 H, H).
        mix_b: (H,).
        score_w: (H,).
    """

    encode_w: FloatArray
    encode_b: FloatArray
    mix_w: FloatArray
    mix_b: FloatArray
    score_w: FloatArray

    def residual(self, encoding: Encoding) -> FloatArray:
        """(C,) what the network adds to the heuristic's score of each candidate."""
        return self._layers(encoding)[2] @ self.score_w

    def _layers(self, encoding: Encoding) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(C, H) first layer, (C, 3 H) what the second sees, (C, H) second layer."""
        alone = np.tanh(encoding.features @ self.encode_w + self.encode_b)
        everywhere = np.broadcast_to(alone.mean(axis=0), alone.shape)
        near = np.empty_like(alone)
        near[encoding.by_step] = _moving_mean(alone[encoding.by_step])
        seen = np.concatenate([alone, near, everywhere], axis=1)
        return alone, seen, np.tanh(seen @ self.mix_w + self.mix_b)

    def gradient(self, encoding: Encoding, by_residual: FloatArray) -> FloatArray:
        """Gradient by all weights, in the order of `flat`, of what has this one by the residual.

        Args:
            encoding: the program.
            by_residual: (C,).
        """
        alone, seen, mixed = self._layers(encoding)
        score_g = mixed.T @ by_residual
        inner = by_residual[:, None] * self.score_w * (1 - mixed**2)
        mix_g, mix_b = seen.T @ inner, inner.sum(axis=0)
        own, near, everywhere = np.split(inner @ self.mix_w.T, 3, axis=1)
        spread = np.empty_like(near)
        spread[encoding.by_step] = _moving_mean_back(near[encoding.by_step])
        outer = (own + spread + everywhere.mean(axis=0)) * (1 - alone**2)
        parts = (encoding.features.T @ outer, outer.sum(axis=0), mix_g, mix_b, score_g)
        return np.concatenate([part.ravel() for part in parts])

    def scores(self, encoding: Encoding) -> FloatArray:
        """(C,) heuristic and residual together."""
        return encoding.base + self.residual(encoding)

    def flat(self) -> FloatArray:
        """All weights in one vector."""
        return np.concatenate([getattr(self, name).ravel() for name in _SHAPES])


_SHAPES: dict[str, tuple[int, ...]] = {
    "encode_w": (FEATURES, HIDDEN),
    "encode_b": (HIDDEN,),
    "mix_w": (3 * HIDDEN, HIDDEN),
    "mix_b": (HIDDEN,),
    "score_w": (HIDDEN,),
}
WEIGHTS = sum(int(np.prod(shape)) for shape in _SHAPES.values())


def _moving_mean(rows: FloatArray) -> FloatArray:
    sums = np.concatenate([np.zeros((1, rows.shape[1])), rows.cumsum(axis=0)])
    at = np.arange(len(rows))
    low, high = np.maximum(at - NEIGHBOURS, 0), np.minimum(at + NEIGHBOURS + 1, len(rows))
    return np.asarray((sums[high] - sums[low]) / (high - low)[:, None])


def _moving_mean_back(rows: FloatArray) -> FloatArray:
    """The transpose of `_moving_mean`."""
    at = np.arange(len(rows))
    low, high = np.maximum(at - NEIGHBOURS, 0), np.minimum(at + NEIGHBOURS + 1, len(rows))
    shares = rows / (high - low)[:, None]
    sums = np.concatenate([np.zeros((1, rows.shape[1])), shares.cumsum(axis=0)])
    return np.asarray(sums[high] - sums[low])


def unflatten(weights: FloatArray) -> Network:
    """The network of a vector of WEIGHTS numbers."""
    parts: dict[str, Any] = {}
    at = 0
    for name, shape in _SHAPES.items():
        size = int(np.prod(shape))
        parts[name] = weights[at : at + size].reshape(shape)
        at += size
    return Network(**parts)


def zero_network() -> Network:
    """No residual: the heuristic alone."""
    return unflatten(np.zeros(WEIGHTS))


def random_network(seed: int, *, spread: float = 1.0) -> Network:
    """Random weights; `spread` 0 leaves the last layer at zero."""
    rng = np.random.default_rng(seed)
    found = {
        name: rng.normal(0.0, 1.0 / np.sqrt(shape[0]), shape)
        if len(shape) == 2
        else np.zeros(shape)
        for name, shape in _SHAPES.items()
    }
    network = Network(**found)
    return replace(network, score_w=spread * rng.normal(0.0, 1.0 / np.sqrt(HIDDEN), HIDDEN))


def write_arrays(path: Path, arrays: dict[str, Any], about: dict[str, Any]) -> None:
    """Arrays and a JSON description as safetensors, the same bytes for the same content."""
    from safetensors.numpy import save

    text = json.dumps(about, sort_keys=True)
    named = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_atomic(path, save(named, metadata={"about": text}))


def read_arrays(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays and description of a file that `write_arrays` wrote.

    Raises:
        UsageError: it is missing or no such file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            about = json.loads((file.metadata() or {})["about"])
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UsageError(
            f"{path} cannot be read as a checkpoint: {error}; train one with ullage train --out"
        ) from error
    if about.get("format") != FORMAT:
        raise UsageError(f"{path} has checkpoint format {about.get('format')}, known is {FORMAT}")
    return arrays, about


def load_network(path: Path | None = None) -> Network:
    """The network of a checkpoint, by default the one that ships.

    Raises:
        UsageError: the file cannot be read, or its weights have another shape.
    """
    place = path or SHIPPED
    arrays, _ = read_arrays(place)
    weights = arrays.get("network")
    if weights is None or weights.shape != (WEIGHTS,):
        raise UsageError(
            f"{place} holds no network of {WEIGHTS} weights; it is of another version: train anew"
        )
    return unflatten(np.asarray(weights, dtype=np.float64))
