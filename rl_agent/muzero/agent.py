"""Training on one program: play a generation of games, look at old ones anew, learn.

Everything random in a generation comes from (seed, generation).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from ullage.rl_agent.board import Table
from ullage.rl_agent.muzero.arena import Arena, advance, deal, finished_state, open_arena
from ullage.rl_agent.muzero.learn import learn, optimiser
from ullage.rl_agent.muzero.nets import Params, Seen, new_params
from ullage.rl_agent.muzero.replay import Batch, Episode, Positions, draw, joined, lay_out
from ullage.rl_agent.muzero.search import Found, search
from ullage.rl_agent.state import State

RETURN_SCALE = 10.0  # a plan as fast as the bound would return so much
PLAY, LOOK, LEARN = range(3)  # what a random number is for


class OutOfTimeError(Exception):
    """The deadline came."""


@dataclass(frozen=True)
class MuZeroOptions:
    """How to train; what of it shapes the network is in `nets`.

    Attributes:
        seed: of everything random.
        games: of a generation, played side by side.
        simulations: of the search, per decision.
        unroll: actions that the model is unrolled over in learning.
        lookahead: decisions whose rewards are summed up before a value is trusted.
        batch: positions of a step of learning.
        passes: how often a position is learnt from in the generation it is played in, on average.
        window: games that are remembered.
        elites: best games that are never forgotten.
        elite_share: of each batch.
        looks: share of the window's positions that is searched anew in each generation.
        rate: of Adam.
        rescale: see `search`.
    """

    seed: int = 0
    games: int = 32
    simulations: int = 16
    unroll: int = 5
    lookahead: int = 10
    batch: int = 256
    passes: float = 4.0
    window: int = 512
    elites: int = 16
    elite_share: float = 0.25
    looks: float = 0.05
    rate: float = 1e-3
    value_scale: float = 0.1
    rescale: bool = False


class Report(NamedTuple):
    """A generation in figures.

    Attributes:
        generation: its number, from 1.
        games: played so far, in all.
        best_s: latency of the best game so far.
        greedy_s: latency of this generation's game without noise.
        mean_s: mean latency of this generation.
        losses: parts of the loss.
        seconds: since training began.
    """

    generation: int
    games: int
    best_s: float
    greedy_s: float
    mean_s: float
    losses: dict[str, float]
    seconds: float


@dataclass
class Agent:
    """A training run.

    Attributes:
        options: how it trains.
        table: the program.
        scale: of rewards: busy seconds times this.
        params: of the networks.
        moments: of Adam.
        generation: done so far.
        games: played so far.
        window: the last games, the oldest first.
        elites: the best games, the best first.
        best: busy seconds and state of the best game.
    """

    options: MuZeroOptions
    table: Table
    scale: float
    params: Params
    moments: Any
    generation: int = 0
    games: int = 0
    window: list[Episode] = field(default_factory=list)
    elites: list[Episode] = field(default_factory=list)
    best: tuple[float, State] | None = None

    def rng(self, purpose: int) -> np.random.Generator:
        """Random numbers of this generation."""
        return np.random.default_rng([self.options.seed, self.generation, purpose])

    def key(self, purpose: int) -> jax.Array:
        """The same for JAX."""
        return jax.random.key(int(self.rng(purpose).integers(2**31)))


def new_agent(table: Table, bound_s: float, options: MuZeroOptions) -> Agent:
    """An untrained agent for a program.

    Args:
        table: the program.
        bound_s: lower bound of its latency, for the scale of rewards.
        options: how to train.
    """
    params = new_params(options.seed, len(table.board.ev_atom))
    span_s = max(table.all_slow_s - bound_s, 1e-3 * table.all_slow_s, 1e-30)
    return Agent(
        options, table, RETURN_SCALE / span_s, params, optimiser(options.rate).init(params)
    )


def seen_in(arena: Arena) -> Seen:
    """What the agent sees of every game."""
    cells = (arena.seen * 255.0 + 0.5).astype(np.uint8)
    return Seen(cells, arena.uses_decided, arena.cursors)


def play(agent: Agent, arena: Arena, noise: NDArray[np.float32], deadline: float) -> list[Episode]:
    """One game in each place of the arena.

    Args:
        agent: plays.
        arena: the games.
        noise: (B,) scale of the Gumbel noise in each.
        deadline: `time.monotonic()` value.

    Raises:
        OutOfTimeError: at the deadline; the games are lost.
    """
    keys = agent.key(PLAY)
    deal(arena)
    moves: list[tuple[NDArray[np.bool_], Episode]] = []
    while not arena.over.all():
        if time.monotonic() >= deadline:
            raise OutOfTimeError
        seen, masks, before = seen_in(arena), arena.masks.copy(), arena.busy_s.copy()
        key = jax.random.fold_in(keys, len(moves))
        found = _search(agent, key, seen, masks, noise)
        playing = ~arena.over
        actions = np.asarray(found.action)
        advance(arena, actions.astype(np.int64))
        rewards = ((before - arena.busy_s) * agent.scale).astype(np.float32)
        rest = (np.asarray(found.policy), np.asarray(found.value))
        moves.append((playing, Episode(*seen, masks, actions.astype(np.int8), rewards, *rest)))
    return [
        Episode._make(
            np.stack(rows)
            for rows in zip(
                *([part[game] for part in row] for playing, row in moves if playing[game]),
                strict=True,
            )
        )
        for game in range(len(arena.over))
    ]


def _search(
    agent: Agent, key: jax.Array, seen: Seen, masks: NDArray[np.bool_], noise: NDArray[np.float32]
) -> Found:
    chosen = agent.options
    found: Found = search(
        agent.params,
        key,
        seen,
        masks,
        noise,
        simulations=chosen.simulations,
        value_scale=chosen.value_scale,
        rescale=chosen.rescale,
    )
    return found


def remember(agent: Agent, episodes: list[Episode], arena: Arena) -> None:
    """Put games just played into the window and, where they are among the best, the elites."""
    agent.games += len(episodes)
    agent.window = [*agent.window, *episodes][-agent.options.window :]
    winner = int(arena.busy_s.argmin())
    if agent.best is None or arena.busy_s[winner] < agent.best[0]:
        agent.best = (float(arena.busy_s[winner]), finished_state(arena, winner))
    known = {episode.actions.tobytes() for episode in agent.elites}
    for episode in episodes:
        if episode.actions.tobytes() not in known:
            known.add(episode.actions.tobytes())
            agent.elites.append(episode)
    agent.elites.sort(key=lambda episode: -episode.total)
    del agent.elites[agent.options.elites :]


def look_again(agent: Agent, positions: Positions, deadline: float) -> None:
    """Search some old positions with the present networks (Schrittwieser et al. 2021).

    Raises:
        OutOfTimeError: at the deadline.
    """
    chosen, rng, key = agent.options, agent.rng(LOOK), agent.key(LOOK)
    noise = np.zeros(chosen.games, dtype=np.float32)
    rows = positions.rows
    for number in range(int(chosen.looks * len(positions) / chosen.games)):
        if time.monotonic() >= deadline:
            raise OutOfTimeError
        picked = rng.integers(len(positions), size=chosen.games)
        seen = Seen(rows.cells[picked], rows.decided[picked], rows.cursor[picked])
        found = _search(agent, jax.random.fold_in(key, number), seen, rows.masks[picked], noise)
        rows.policies[picked] = np.asarray(found.policy)
        rows.values[picked] = np.asarray(found.value)


def study(agent: Agent, fresh: int, deadline: float) -> dict[str, float]:
    """Learn from the window and the elites; returns the mean parts of the loss.

    Args:
        agent: learns.
        fresh: positions played in this generation.
        deadline: `time.monotonic()` value.

    Raises:
        OutOfTimeError: at the deadline.
    """
    chosen, rng = agent.options, agent.rng(LEARN)
    window, elites = lay_out(agent.window), lay_out(agent.elites)
    look_again(agent, window, deadline)
    _take_back(agent, window)
    ahead, whole = window.targets(chosen.lookahead), elites.targets(len(elites))
    best = int(chosen.elite_share * chosen.batch)
    sums: dict[str, float] = {}
    steps = max(1, round(chosen.passes * fresh / chosen.batch))
    for _ in range(steps):
        if time.monotonic() >= deadline:
            raise OutOfTimeError
        batch: Batch = joined(
            draw(
                window,
                ahead,
                rng.integers(len(window), size=chosen.batch - best),
                chosen.unroll,
                rng,
                imitate=False,
            ),
            draw(
                elites,
                whole,
                rng.integers(len(elites), size=best),
                chosen.unroll,
                rng,
                imitate=True,
            ),
        )
        agent.params, agent.moments, parts = learn(
            agent.params, agent.moments, batch, rate=chosen.rate
        )
        for name, part in parts.items():
            sums[name] = sums.get(name, 0.0) + float(part)
    return {name: total / steps for name, total in sums.items()}


def _take_back(agent: Agent, positions: Positions) -> None:
    """Put what was searched anew back into the games of the window."""
    at = 0
    for episode in agent.window:
        length = len(episode.actions)
        episode.policies[:] = positions.rows.policies[at : at + length]
        episode.values[:] = positions.rows.values[at : at + length]
        at += length


def train(
    agent: Agent,
    goes_on: Callable[[Agent], bool],
    report: Callable[[Report], None],
    deadline: float = float("inf"),
) -> None:
    """Generations until `goes_on` says no or the deadline comes; the agent holds what came of it.

    A generation cut short by the deadline leaves its finished games out.
    """
    begun = time.monotonic()
    chosen = agent.options
    arena = open_arena(agent.table, chosen.games)
    noise = np.linspace(0.0, 1.0, chosen.games, dtype=np.float32)
    try:
        while goes_on(agent):
            episodes = play(agent, arena, noise, deadline)
            remember(agent, episodes, arena)
            fresh = sum(len(episode.actions) for episode in episodes)
            losses = study(agent, fresh, deadline)
            agent.generation += 1
            latency_s = arena.busy_s + agent.table.overhead_s
            assert agent.best is not None  # noqa: S101 - games were remembered
            report(
                Report(
                    generation=agent.generation,
                    games=agent.games,
                    best_s=agent.best[0] + agent.table.overhead_s,
                    greedy_s=float(latency_s[0]),
                    mean_s=float(latency_s.mean()),
                    losses=losses,
                    seconds=time.monotonic() - begun,
                )
            )
    except OutOfTimeError:
        return
