"""Gumbel MuZero search by mctx, in the learned model (Danihelka et al. 2022)."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mctx

from ullage.rl_agent.muzero.nets import (
    Array,
    Observation,
    Params,
    expected,
    move,
    predict,
    represent,
)

# Visits that mctx adds to those of the most visited action when it weighs values against logits.
MAXVISIT_INIT = 50.0


class SearchResult(NamedTuple):
    """The results of searching B games.

    Attributes:
        action: (B,) to be played.
        policy: (B, ACTIONS) improved policy.
        value: (B,) expected return under it, by the model.
    """

    action: Any
    policy: Any
    value: Any


def _recurrent(params: Params, _: Array, action: Array, hidden: Array) -> tuple[Any, Array]:
    after, reward = move(params, hidden, action)
    logits, value = predict(params, after)
    output = mctx.RecurrentFnOutput(
        reward=reward,
        discount=jnp.ones_like(reward),
        prior_logits=logits,
        value=expected(value),
    )
    return output, after


@partial(jax.jit, static_argnames=("simulations", "rescale", "value_scale"))
def search(
    params: Params,
    key: Array,
    observation: Observation,
    masks: Array,
    noise: Array,
    *,
    simulations: int,
    value_scale: float = 0.1,
    rescale: bool = False,
) -> SearchResult:
    """Search B games at once.

    Args:
        params: of the networks.
        key: of the Gumbel noise.
        observation: of the B positions.
        masks: (B, ACTIONS) legal actions; a game that is over has none and gets any answer.
        noise: (B,) scale of the Gumbel noise; 0 plays the best.
        simulations: of the model, per game.
        value_scale: weight of values beside logits, as mctx has it.
        rescale: stretch the values of the actions of a node to [0, 1] as mctx does by default:
            that makes a difference of nothing look like one of all.
    """
    hidden = represent(params, observation)
    logits, value = predict(params, hidden)
    legal = masks | ~masks.any(-1, keepdims=True)
    output = mctx.gumbel_muzero_policy(
        params,
        key,
        mctx.RootFnOutput(prior_logits=logits, value=expected(value), embedding=hidden),
        _recurrent,
        num_simulations=simulations,
        invalid_actions=~legal,
        qtransform=partial(
            mctx.qtransform_completed_by_mix_value,
            rescale_values=rescale,
            value_scale=value_scale,
            maxvisit_init=MAXVISIT_INIT,
        ),
        gumbel_scale=noise[:, None],
    )
    summary = output.search_tree.summary()
    visited = (summary.visit_counts > 0) & legal
    weights = output.action_weights * visited
    total = weights.sum(-1)
    improved = (weights * summary.qvalues).sum(-1) / jnp.maximum(total, 1e-9)
    return SearchResult(
        output.action,
        output.action_weights,
        jnp.where(total > 0, improved, output.search_tree.summary().value),
    )
