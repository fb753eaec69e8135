"""Speed of the allocation game: steps per second of the compiled core and through Gymnasium.

Run: python benchmarks/rl_speed.py [--seconds S]
"""

import argparse
import time
from typing import Any

import numba
import numpy as np
from common import write_table
from numpy.typing import NDArray

from ullage.rl_agent.env.game import MallocGame
from ullage.rl_agent.env.observe import OBSERVATION_SIZE, write_observation
from ullage.rl_agent.env.rules import BEGIN, take_turn
from ullage.rl_agent.env.state import copy_of
from ullage.rl_agent.policy.decode import decode
from ullage.rl_agent.policy.features import encode
from ullage.rl_agent.policy.network import load_network
from ullage.rl_agent.policy.players import PASSES
from ullage.solvers.engine.tables import COUNTS, DECISIONS, Tables

MODELS = ("squeezenet", "resnet50", "shufflenet", "inception_v2", "densenet121")
SIZE = "256KiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    seconds = parser.parse_args().seconds
    rows = []
    for model in MODELS:
        whole = {"split_operands": "false"}
        game = MallocGame(model, fast_memory=SIZE, dtype="int8", overrides=whole)
        rows.append([model, str(game.uses), *measure(game, seconds)])
    columns = [
        "model",
        "uses",
        "core with observations [steps/s]",
        "core [steps/s]",
        "Gymnasium [steps/s]",
        "one decode [ms]",
        "decode [us per use]",
    ]
    title = f"The allocation game, random play, {SIZE}, whole tensors, one core"
    print(write_table("rl_speed", title, columns, rows))


@numba.njit(cache=True, _nrt=False)  # type: ignore[untyped-decorator]
def play_games(
    t: Tables,
    start: Tables,
    mask: NDArray[np.bool_],
    observation: NDArray[np.float32],
    games: int,
    observes: bool,
) -> int:
    """Random games; returns the number of decisions."""
    decisions = 0
    for _ in range(games):
        done = take_turn(t, start, BEGIN, False, mask)
        while not done:
            if observes:
                write_observation(t, mask, observation)
            action = np.random.randint(0, 3)  # noqa: NPY002 - numba's own generator
            while not mask[action]:
                action = (action + 1) % 3
            done = take_turn(t, start, action, False, mask)
        decisions += t.state[COUNTS, DECISIONS]
    return decisions


def measure(game: MallocGame, seconds: float) -> list[str]:
    arrays, start = game._instance.arrays, game._start  # noqa: SLF001 - the core is what is measured
    state, mask = copy_of(start), np.zeros(3, dtype=np.bool_)
    observation = np.zeros(OBSERVATION_SIZE, dtype=np.float32)
    rates = []
    for observes in (True, False):
        play_games(state.tables, start.tables, mask, observation, 1, observes)
        games, done, begun = 1, 0, time.process_time()
        while time.process_time() - begun < seconds:
            done += play_games(state.tables, start.tables, mask, observation, games, observes)
            games = min(games * 2, 64)
        rates.append(f"{done / (time.process_time() - begun):,.0f}")
    rates.append(f"{gymnasium_rate(game, seconds):,.0f}")
    encoding = encode(arrays, start)
    policy = load_network().policy(encoding)
    decode(state, start, encoding.moves, *policy, PASSES, False)
    times = []
    begun = time.process_time()
    while time.process_time() - begun < seconds:
        single = time.process_time()
        decode(state, start, encoding.moves, *policy, PASSES, False)
        times.append(time.process_time() - single)
    best = float(np.median(times))
    return [*rates, f"{best * 1e3:.2f}", f"{best / game.uses * 1e6:.1f}"]


def gymnasium_rate(game: MallocGame, seconds: float) -> float:
    info: dict[str, Any]
    _, info = game.reset(seed=0)
    game.step(int(np.flatnonzero(info["action_mask"])[0]))  # compiled code is loaded
    _, info = game.reset(seed=0)
    rng = np.random.default_rng(0)
    done, begun = 0, time.process_time()
    while time.process_time() - begun < seconds:
        allowed = np.flatnonzero(info["action_mask"])
        _, _, over, _, info = game.step(allowed[rng.integers(len(allowed))])
        done += 1
        if over:
            _, info = game.reset()
    return done / (time.process_time() - begun)


if __name__ == "__main__":
    main()
