"""Gumbel search over what to try first, with the exact simulator.

The scores of a decode are logits of a policy: trying candidates by score plus Gumbel noise draws an
order from it without replacement (Plackett and Luce). At the root, an action is the candidate that
is tried before all others; a few are drawn by Gumbel's trick, and sequential halving gives the
simulator calls to those that do best (Danihelka et al. 2022, Gumbel AlphaZero, section 3; the
model there is learned, here it is exact). The winner keeps its place at the front if it helped,
and the search goes on from there.
"""

import numpy as np

from ullage.rl_agent.policy.players import OutOfCallsError, Player, Policy

# Actions drawn at the root.
CONSIDERED = 8
# Rounds of sequential halving.
ROUNDS = 3
# By which scores (logarithms of the heuristic's key) are divided to become logits.
TEMPERATURE = 1.5
# Standard deviation of the noise of a simulation behind its first action, in units of scores.
SPREAD = 0.5


def gumbel_search(player: Player, policy: Policy, rng: np.random.Generator) -> None:
    """Improve an order move by move until the player's calls or time are out."""
    try:
        best = player.value(policy)
        while True:
            logits = policy.scores / TEMPERATURE + rng.gumbel(size=len(policy.scores))
            drawn = np.argsort(-logits, kind="stable")[1 : CONSIDERED + 1]
            candidate, value = _halve(player, policy, drawn, rng)
            if value <= best:
                best, policy = value, candidate
    except OutOfCallsError:
        return


def _halve(
    player: Player, policy: Policy, drawn: np.ndarray, rng: np.random.Generator
) -> tuple[Policy, float]:
    """Sequential halving over first actions; returns the best policy of all and its value."""
    best: tuple[float, Policy] = (float("inf"), policy)
    values = np.full(len(drawn), np.inf)
    alive = np.arange(len(drawn))
    for round_ in range(ROUNDS):
        for i in alive:
            scores = policy.scores.copy()
            if round_:  # the first look is at the action alone
                scores += rng.normal(0.0, SPREAD, len(scores))
            scores[drawn[i]] = scores.max() + 1.0
            trial = policy._replace(scores=scores)
            value = player.value(trial)
            values[i] = min(values[i], value)
            if value < best[0]:
                best = (value, trial)
        alive = alive[np.argsort(values[alive], kind="stable")][: max(len(alive) // 2, 1)]
    return best[1], best[0]
