"""Games played from Python: one compiled entry for one game and for many.

A turn of a game plays a legal action (with `forced`, also the actions after it that are the only
legal ones), or begins the game, or (LOOK) changes nothing and writes an observation.
"""

from typing import NamedTuple

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.rl_agent.env.observe import Floats32, write_observation
from ullage.rl_agent.env.rules import BEGIN, BoolArray, take_turn
from ullage.rl_agent.env.state import State
from ullage.solvers.engine.jit import entry
from ullage.solvers.engine.tables import BUSY_S, TOTALS, Tables

# Instead of an action: change nothing, write the observation.
LOOK = -2


class Games(NamedTuple):
    """B games of one program: the tables of each, with a leading axis where games differ.

    Attributes:
        ints: (rows, W) see `Tables`; the same for all games.
        floats: (rows, W) see `Tables`; the same for all games.
        state: (B, rows, W) see `Tables`.
        seconds: (B, rows, W) see `Tables`.
        moves: (B, rows, 2 MAX_MOVES) see `Tables`.
        masks: (B, ACTIONS) legal actions.
        observation: (B, OBSERVATION_SIZE), or (B, 0): none is written.
        busy_s: (B,) busy seconds of the plan so far.
        over: (B,) whether the game is over.
    """

    ints: Ints
    floats: Floats
    state: Ints
    seconds: Floats
    moves: Ints
    masks: BoolArray
    observation: Floats32
    busy_s: Floats
    over: BoolArray


@entry
def play_turns(games: Games, start: Tables, actions: Ints, forced: bool) -> None:
    """One turn of every game that is not over, or of every game that is to begin.

    Args:
        games: B games.
        start: before the first move.
        actions: (B,) legal actions, BEGIN or LOOK.
        forced: play on while one action alone is legal.
    """
    for game in range(len(actions)):
        t = Tables(
            games.ints, games.floats, games.state[game], games.seconds[game], games.moves[game]
        )
        mask = games.masks[game]
        if games.over[game] and actions[game] != BEGIN:
            continue
        if actions[game] != LOOK:
            games.over[game] = take_turn(t, start, actions[game], forced, mask)
        games.busy_s[game] = t.seconds[TOTALS, BUSY_S]
        if games.observation.shape[1] > 0:
            write_observation(t, mask, games.observation[game])


def begin(state: State, start: State, mask: BoolArray) -> None:
    """Begin a new game, which needs at least one access.

    Args:
        state: overwritten.
        start: the state before the first move.
        mask: (ACTIONS,) becomes that of the first decision.
    """
    _turn(state, start, BEGIN, mask, np.empty(0, np.float32))


def step(state: State, start: State, action: int, mask: BoolArray) -> bool:
    """Play a legal action; `mask` (ACTIONS,) becomes that of the next decision.

    After a dead end the next decision is the one behind the forced drop.

    Returns:
        True at the end of the game.
    """
    return _turn(state, start, action, mask, np.empty(0, np.float32))


def step_and_see(
    state: State,
    start: State,
    action: int,
    mask: BoolArray,
    observation: Floats32,
) -> bool:
    """`step`, then `observe`."""
    return _turn(state, start, action, mask, observation)


def observe(state: State, mask: BoolArray, observation: Floats32) -> None:
    """Fill an observation (OBSERVATION_SIZE,): memory map and bandwidth by row, the access."""
    _turn(state, state, LOOK, mask, observation)


def _turn(state: State, start: State, action: int, mask: BoolArray, observation: Floats32) -> bool:
    t = state.tables
    over = np.zeros(1, np.bool_)
    games = Games(
        t.ints,
        t.floats,
        t.state[None],
        t.seconds[None],
        t.moves[None],
        mask[None],
        observation[None],
        np.empty(1),
        over,
    )
    play_turns(games, start.tables, np.array([action]), False)
    return bool(over[0])
