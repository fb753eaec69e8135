"""Many games of one program side by side, in one call of compiled code.

Only real decisions are played from outside: moves with one legal action are made at once.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Floats
from ullage.rl_agent.env.compiled import compiled
from ullage.rl_agent.env.game_instance import Board, Table
from ullage.rl_agent.env.observe import VISION, Floats32, observe
from ullage.rl_agent.env.rules import ACTIONS, BoolArray, begin, step
from ullage.rl_agent.env.state import BUSY_S, CURSOR, State, copy_of, start_of

# mypy: disable-error-code="no-any-return"


class GameArena(NamedTuple):
    """B games of one program with E uses.

    Attributes:
        board: the board.
        start: the state before the first move.
        states: the state of every game, each array with a leading axis B.
        masks: (B, ACTIONS) legal actions.
        seen: (B, VISION) observations, see `observe`.
        busy_s: (B,) busy seconds of the plan so far.
        over: (B,) whether the game is over.
    """

    board: Board
    start: State
    states: State
    masks: BoolArray
    seen: Floats32
    busy_s: Floats
    over: BoolArray

    @property
    def uses_decided(self) -> NDArray[np.int8]:
        """(B, E) the decision about each use in program order, -1 for none yet."""
        return self.states.actions.astype(np.int8)

    @property
    def cursors(self) -> NDArray[np.int32]:
        """(B,) the use to be decided."""
        return self.states.counts[:, CURSOR].astype(np.int32)


def open_arena(table: Table, games: int) -> GameArena:
    """Games not yet begun."""
    start = start_of(table)
    return GameArena(
        board=table.board,
        start=start,
        states=State._make(np.repeat(array[None], games, axis=0) for array in start),
        masks=np.zeros((games, ACTIONS), dtype=np.bool_),
        seen=np.zeros((games, VISION), dtype=np.float32),
        busy_s=np.zeros(games),
        over=np.zeros(games, dtype=np.bool_),
    )


@compiled
def game_of(states: State, game: int) -> State:
    """The state of one game: views, not copies."""
    return State(
        states.tier_s[game],
        states.link_s[game],
        states.busy_s[game],
        states.load_bytes[game],
        states.total[game],
        states.residency_of[game],
        states.last[game],
        states.start[game],
        states.ready[game],
        states.end[game],
        states.offset[game],
        states.fill_count[game],
        states.fill_step[game],
        states.fill_bytes[game],
        states.spill_count[game],
        states.spill_step[game],
        states.spill_bytes[game],
        states.taken[game],
        states.place[game],
        states.counts[game],
        states.actions[game],
        states.forced[game],
        states.map_bytes[game],
        states.low[game],
        states.high[game],
    )


@compiled
def forced_moves(board: Board, state: State, start: State, mask: BoolArray) -> bool:
    """Play on while one action alone is legal; True at the end of the game."""
    while True:
        legal, only = 0, 0
        for action in range(ACTIONS):
            if mask[action]:
                legal += 1
                only = action
        if legal != 1:
            return legal == 0
        if step(board, state, start, only, mask):
            return True


@compiled
def deal(arena: GameArena) -> None:
    """Begin all games anew, up to the first decision."""
    for game in range(len(arena.over)):
        state = game_of(arena.states, game)
        begin(arena.board, state, arena.start, arena.masks[game])
        arena.over[game] = forced_moves(arena.board, state, arena.start, arena.masks[game])
        arena.busy_s[game] = state.total[BUSY_S]
        observe(arena.board, state, arena.masks[game], arena.seen[game])


@compiled
def advance(arena: GameArena, actions: NDArray[np.int64]) -> None:
    """Play a legal action (B,) in every game that is not over, and what is forced after it."""
    for game in range(len(arena.over)):
        if arena.over[game]:
            continue
        state = game_of(arena.states, game)
        mask = arena.masks[game]
        arena.over[game] = step(
            arena.board, state, arena.start, actions[game], mask
        ) or forced_moves(arena.board, state, arena.start, mask)
        arena.busy_s[game] = state.total[BUSY_S]
        observe(arena.board, state, mask, arena.seen[game])


def finished_state(arena: GameArena, game: int) -> State:
    """A copy of the state of one game."""
    return copy_of(State._make(array[game] for array in arena.states))
