"""Many games of one program side by side, in one call of compiled code.

Only real decisions are played from outside: moves with one legal action are made at once.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Floats
from ullage.rl_agent.env.game_instance import GameInstance
from ullage.rl_agent.env.observe import OBSERVATION_SIZE, Floats32
from ullage.rl_agent.env.rules import ACTIONS, BEGIN, BoolArray
from ullage.rl_agent.env.state import DECISION, State, copy_of, start_of
from ullage.rl_agent.env.turns import Games, play_turns
from ullage.solvers.engine.tables import ACCESSES, COUNTS, CURSOR, SIZES, Tables


class GameArena(NamedTuple):
    """B games of one program with E accesses.

    Attributes:
        start: the state before the first move.
        games: the tables of every game.
    """

    start: State
    games: Games

    @property
    def masks(self) -> BoolArray:
        """(B, ACTIONS) legal actions."""
        return self.games.masks

    @property
    def observation(self) -> Floats32:
        """(B, OBSERVATION_SIZE), see `observe`."""
        return self.games.observation

    @property
    def busy_s(self) -> Floats:
        """(B,) busy seconds of the plan so far."""
        return self.games.busy_s

    @property
    def over(self) -> BoolArray:
        """(B,) whether the game is over."""
        return self.games.over

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
    opened = Games(
        ints=t.ints,
        floats=t.floats,
        state=np.repeat(t.state[None], games, axis=0),
        seconds=np.repeat(t.seconds[None], games, axis=0),
        moves=np.repeat(t.moves[None], games, axis=0),
        masks=np.zeros((games, ACTIONS), dtype=np.bool_),
        observation=np.zeros((games, OBSERVATION_SIZE), dtype=np.float32),
        busy_s=np.zeros(games),
        over=np.zeros(games, dtype=np.bool_),
    )
    return GameArena(start, opened)


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
