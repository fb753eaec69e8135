"""Gumbel search over what to try first, with the exact simulator.

The scores of a decode are logits of a policy: trying candidates by score plus Gumbel noise draws an
order from it without replacement (Plackett and Luce). At the root, an action is the candidate that
is tried before all others; a few are drawn by Gumbel's trick, and sequential halving gives the
simulator calls to those that do best (Danihelka et al. 2022, Gumbel AlphaZero, section 3; the
model there is learned, here it is exact). The winner keeps its place at the front if it helped,
and the search goes on from there.
"""

import numpy as np

from ullage.rl_agent.board import FloatArray
from ullage.rl_agent.players import OutOfCallsError, Player, normalised

CONSIDERED = 8  # actions drawn at the root
ROUNDS = 3  # halvings
TEMPERATURE = 0.5  # of the logits, in standard deviations of the scores
SPREAD = 0.3  # noise of a simulation behind its first action, in standard deviations


def gumbel_search(player: Player, scores: FloatArray, rng: np.random.Generator) -> None:
    """Improve an order move by move until the player's calls or time are out."""
    centre = normalised(scores)
    try:
        best = player.value(centre)
        while True:
            logits = centre / TEMPERATURE + rng.gumbel(size=len(centre))
            drawn = np.argsort(-logits, kind="stable")[1 : CONSIDERED + 1]
            found, value = _halve(player, centre, drawn, rng)
            if value <= best:
                best, centre = value, found
    except OutOfCallsError:
        return


def _halve(
    player: Player, centre: FloatArray, drawn: np.ndarray, rng: np.random.Generator
) -> tuple[FloatArray, float]:
    """Sequential halving over first actions; returns the best order seen and its value."""
    best: tuple[float, FloatArray] = (float("inf"), centre)
    values = np.full(len(drawn), np.inf)
    alive = np.arange(len(drawn))
    for round_ in range(ROUNDS):
        for i in alive:
            trial = centre.copy()
            if round_:  # the first look is at the action alone
                trial += rng.normal(0.0, SPREAD, len(trial))
            trial[drawn[i]] = trial.max() + 1.0
            value = player.value(trial)
            values[i] = min(values[i], value)
            if value < best[0]:
                best = (value, trial)
        alive = alive[np.argsort(values[alive], kind="stable")][: max(len(alive) // 2, 1)]
    return best[1], best[0]
