"""Many games at once are the games one by one."""

import numpy as np

from tests.support.games import CASES
from ullage.rl_agent.env.game_instance import by_live_bytes
from ullage.rl_agent.env.state import BUSY_S, copy_of, start_of
from ullage.rl_agent.env.turns import begin, step
from ullage.rl_agent.muzero.arena import advance, begin_games, open_arena


def test_games_side_by_side_are_the_games_one_by_one() -> None:
    for seed, _, strict in CASES[::5]:
        instance = by_live_bytes(strict)
        arena = open_arena(instance, 4)
        rng = np.random.default_rng(seed)
        begin_games(arena)
        states = [copy_of(start_of(instance)) for _ in range(4)]
        masks = np.zeros((4, 3), dtype=np.bool_)
        for state, mask in zip(states, masks, strict=True):
            begin(state, arena.start, mask)
            while mask.sum() == 1:
                step(state, arena.start, int(mask.argmax()), mask)
        while not arena.over.all():
            assert (arena.masks[~arena.over].sum(1) > 1).all()
            assert (arena.masks == masks).all()
            actions = (rng.random((4, 3)) * (masks + 1e-9)).argmax(1)
            playing = ~arena.over
            advance(arena, actions)
            for game in np.flatnonzero(playing):
                state, mask = states[game], masks[game]
                step(state, arena.start, int(actions[game]), mask)
                while mask.sum() == 1:
                    step(state, arena.start, int(mask.argmax()), mask)
                assert state.total[BUSY_S] == arena.busy_s[game]
        assert (arena.uses_decided >= 0).all()
