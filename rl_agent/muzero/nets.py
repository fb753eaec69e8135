"""The three networks: representation, dynamics, prediction, in plain JAX.

Dimensions: B games, E uses of the program, H hidden numbers, W width of the layers between, V bins
of a value. Values are distributions over equally spaced bins (two-hot, Schrittwieser et al. 2020,
appendix F, without their square-root transform: returns are of known size here).
"""

from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from ullage.rl_agent.env.observe import OBSERVATION_SIZE
from ullage.rl_agent.env.rules import ACTIONS

# Numbers of the hidden state, H.
HIDDEN = 96
# Width of the layers between, W.
WIDTH = 128
# Bins of a value, V, and the values of the first and the last one (a good plan returns
# `agent.RETURN_SCALE`).
BINS = 81
VALUE_LOW, VALUE_HIGH = -2.0, 8.0
# (V,) the value of each bin.
SUPPORT = np.linspace(VALUE_LOW, VALUE_HIGH, BINS, dtype=np.float32)

Array: TypeAlias = jax.Array
Params = dict[str, Any]


class Observation(NamedTuple):
    """What the agent observes of B games of E accesses.

    Attributes:
        cells: (B, OBSERVATION_SIZE) uint8, the game's observation in 255ths.
        decided: (B, E) int8, the decision about each access, -1 for none yet.
        cursor: (B,) int32, the access to be decided.
    """

    cells: Any
    decided: Any
    cursor: Any


def new_params(seed: int, uses: int) -> Params:
    """Weights at random; heads begin at zero, so that the first policy is even."""
    keys = iter(jax.random.split(jax.random.key(seed), 16))

    def layer(rows: int, columns: int, spread: float = 1.0) -> Params:
        weights = jax.random.normal(next(keys), (rows, columns)) * spread / np.sqrt(rows)
        return {"w": weights, "b": jnp.zeros(columns)}

    return {
        "cells": layer(OBSERVATION_SIZE, WIDTH),
        "decided": layer(uses * ACTIONS, WIDTH),
        "cursor": layer(uses, WIDTH, np.sqrt(uses)),
        "represent": layer(WIDTH, WIDTH),
        "hidden": layer(WIDTH, HIDDEN),
        "move": layer(HIDDEN + ACTIONS, WIDTH),
        "move2": layer(WIDTH, WIDTH),
        "next": layer(WIDTH, HIDDEN),
        "reward": layer(WIDTH, 1, 0.0),
        "predict": layer(HIDDEN, WIDTH),
        "policy": layer(WIDTH, ACTIONS, 0.0),
        "value": layer(WIDTH, BINS, 0.0),
    }


def _dense(part: Params, rows: Array) -> Array:
    return rows @ part["w"] + part["b"]


def _normal(rows: Array) -> Array:
    """Mean 0 and variance 1 in every row, so that hidden numbers do not grow while unrolled."""
    rows = rows - rows.mean(-1, keepdims=True)
    return rows * jax.lax.rsqrt((rows**2).mean(-1, keepdims=True) + 1e-5)


def represent(params: Params, observation: Observation) -> Array:
    """(B, H) the hidden state of an observation (the representation network)."""
    cells = jnp.asarray(observation.cells, jnp.float32) / 255.0
    games, uses = observation.decided.shape
    decided = jax.nn.one_hot(observation.decided, ACTIONS).reshape(games, uses * ACTIONS)
    first = _dense(params["cells"], cells) + _dense(params["decided"], decided)
    first += params["cursor"]["w"][jnp.minimum(observation.cursor, uses - 1)]
    inner = jax.nn.relu(_normal(first))
    inner = jax.nn.relu(_dense(params["represent"], inner))
    return _normal(_dense(params["hidden"], inner))


def move(params: Params, hidden: Array, action: Array) -> tuple[Array, Array]:
    """Hidden state (B, H) after an action (B,), and its reward (B,) (the dynamics network)."""
    inputs = jnp.concatenate([hidden, jax.nn.one_hot(action, ACTIONS)], axis=-1)
    inner = jax.nn.relu(_dense(params["move"], inputs))
    inner = jax.nn.relu(_dense(params["move2"], inner))
    return _normal(hidden + _dense(params["next"], inner)), _dense(params["reward"], inner)[:, 0]


def predict(params: Params, hidden: Array) -> tuple[Array, Array]:
    """Logits of policy (B, ACTIONS) and value's bins (B, V) (the prediction network)."""
    inner = jax.nn.relu(_dense(params["predict"], hidden))
    return _dense(params["policy"], inner), _dense(params["value"], inner)


def expected(value_logits: Array) -> Array:
    """(B,) the value that a distribution over bins stands for."""
    return jax.nn.softmax(value_logits) @ SUPPORT


def two_hot(values: Array) -> Array:
    """(..., V) weights of the two bins next to a value; what lies outside goes to the end bins."""
    step = (VALUE_HIGH - VALUE_LOW) / (BINS - 1)
    place = (jnp.clip(values, VALUE_LOW, VALUE_HIGH) - VALUE_LOW) / step
    low = jnp.floor(place)
    share = (place - low)[..., None]
    at = low.astype(jnp.int32)
    upper = jnp.minimum(at + 1, BINS - 1)
    return (1 - share) * jax.nn.one_hot(at, BINS) + share * jax.nn.one_hot(upper, BINS)
