"""Learning: the loss of MuZero over a few unrolled actions, by Adam."""

from functools import partial

import jax
import jax.numpy as jnp
import optax

from ullage.rl_agent.muzero.nets import Array, Params, move, predict, represent, two_hot
from ullage.rl_agent.muzero.replay import Batch

# Weights of the losses of value and reward beside that of the policy.
VALUE_WEIGHT = 0.5
REWARD_WEIGHT = 1.0
# Share of a weight that a step of size 1 takes away (AdamW).
DECAY = 1e-4
# Largest norm of the gradient over all weights; a longer one is scaled down to it.
CLIP = 1.0


def optimiser(rate: float) -> optax.GradientTransformation:
    """Adam with weight decay; gradients of an unusual size are clipped."""
    return optax.chain(optax.clip_by_global_norm(CLIP), optax.adamw(rate, weight_decay=DECAY))


def loss_of(params: Params, batch: Batch) -> tuple[Array, dict[str, Array]]:
    """Mean loss of a batch, and its parts by name: policy, value, reward.

    Policy by cross entropy, value by cross entropy with two-hot targets (behind the end of a game
    it is 0), reward by squared error; gradients are halved at every unrolled action and its losses
    divided by their number (Schrittwieser et al. 2020, appendix G).
    """
    unroll = batch.actions.shape[1]
    hidden = represent(params, batch.observation)
    policy_loss = value_loss = reward_loss = jnp.zeros(())
    for k in range(unroll + 1):
        scale = 1.0 if k == 0 else 1.0 / unroll
        logits, value = predict(params, hidden)
        real = batch.real[:, k]
        policy = -(batch.policies[:, k] * jax.nn.log_softmax(logits)).sum(-1)
        policy_loss += scale * (policy * real).sum() / jnp.maximum(real.sum(), 1.0)
        values = -(two_hot(batch.values[:, k]) * jax.nn.log_softmax(value)).sum(-1)
        value_loss += scale * values.mean()
        if k == unroll:
            break
        hidden, reward = move(params, hidden, batch.actions[:, k])
        reward_loss += ((reward - batch.rewards[:, k]) ** 2).mean() / unroll
        hidden = 0.5 * hidden + jax.lax.stop_gradient(0.5 * hidden)
    total = policy_loss + VALUE_WEIGHT * value_loss + REWARD_WEIGHT * reward_loss
    return total, {"policy": policy_loss, "value": value_loss, "reward": reward_loss}


@partial(jax.jit, static_argnames=("rate",), donate_argnums=(0, 1))
def learn(
    params: Params,
    moments: optax.OptState,
    batch: Batch,
    *,
    rate: float,
) -> tuple[Params, optax.OptState, dict[str, Array]]:
    """One step of Adam on a batch: new weights, new moments, and the parts of the loss."""
    gradients, parts = jax.grad(loss_of, has_aux=True)(params, batch)
    changes, moments = optimiser(rate).update(gradients, moments, params)
    return optax.apply_updates(params, changes), moments, parts
