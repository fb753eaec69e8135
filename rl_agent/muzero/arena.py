"""Many games of one program side by side, in one call of compiled code.

Only real decisions are played from outside: moves with one legal action are made at once.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Floats
from ullage.rl_agent.env.game_instance import GameArrays, GameInstance
from ullage.rl_agent.env.observe import OBSERVATION_SIZE, Floats32
from ullage.rl_agent.env.rules import ACTIONS, BEGIN, BoolArray
from ullage.rl_agent.env.state import DECISION, State, copy_of, start_of
from ullage.rl_agent.env.turns import Games, play_turns
from ullage.solvers.engine.tables import ACCESSES, COUNTS, CURSOR, SIZES, Tables


class GameArena(NamedTuple):
    """B games of one program with E accesses.

    Attributes:
        arrays: the static arrays of the program.
        start: the state before the first move.
        games: the tables of every game.
        masks: (B, ACTIONS) legal actions.
        observation: (B, OBSERVATION_SIZE), see `observe`.
        busy_s: (B,) busy seconds of the plan so far.
        over: (B,) whether the game is over.
    """

    arrays: GameArrays
    start: State
    games: Games
    masks: BoolArray
    observation: Floats32
    busy_s: Floats
    over: BoolArray

    @property
    def uses_decided(self) -> NDArray[np.int8]:
        """(B, E) the decision about each use in program order, -1 for none yet."""
        uses = self.games.ints[SIZES, ACCESSES]
        return self.games.state[:, DECISION, :uses].astype(np.int8)

    @property
    def cursors(self) -> NDArray[np.int32]:
        """(B,) the use to be decided."""
        return self.games.state[:, COUNTS, CURSOR].astype(np.int32)


def open_arena(instance: GameInstance, games: int) -> GameArena:
    """An arena of so many games of a program, none of them begun."""
    start = start_of(instance)
    t = start.tables
    masks = np.zeros((games, ACTIONS), dtype=np.bool_)
    observation = np.zeros((games, OBSERVATION_SIZE), dtype=np.float32)
    busy_s, over = np.zeros(games), np.zeros(games, dtype=np.bool_)
    opened = Games(
        ints=t.ints,
        floats=t.floats,
        state=np.repeat(t.state[None], games, axis=0),
        seconds=np.repeat(t.seconds[None], games, axis=0),
        moves=np.repeat(t.moves[None], games, axis=0),
        masks=masks,
        observation=observation,
        busy_s=busy_s,
        over=over,
    )
    return GameArena(instance.arrays, start, opened, masks, observation, busy_s, over)


def begin_games(arena: GameArena) -> None:
    """Begin all games anew, up to the first decision with more than one legal action."""
    play_turns(arena.games, arena.start.tables, np.full(len(arena.over), BEGIN), True)


def advance(arena: GameArena, actions: NDArray[np.int64]) -> None:
    """Play a legal action (B,) in every game that is not over, and what is forced after it."""
    play_turns(arena.games, arena.start.tables, actions, True)


def finished_state(arena: GameArena, game: int) -> State:
    """A copy of the state of one game."""
    g = arena.games
    tables = Tables(g.ints, g.floats, g.state[game], g.seconds[game], g.moves[game])
    return copy_of(State(tables))
