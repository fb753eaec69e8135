"""The agent: its options, its networks, the best plan so far and the games that it learns from."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from ullage.rl_agent.env.game_instance import GameInstance
from ullage.rl_agent.env.state import BUSY_S, State, start_of
from ullage.rl_agent.muzero.arena import GameArena, finished_state
from ullage.rl_agent.muzero.learn import optimiser
from ullage.rl_agent.muzero.nets import Params, new_params
from ullage.rl_agent.muzero.replay import Episode
from ullage.solvers.state.build_plan import SegmentResidency

# Return of a game whose plan is as fast as the reference; that of `all-slow` is 0.
RETURN_SCALE = 5.0
# Purposes of random numbers, each with a generator of its own in every generation.
PLAY, LOOK, LEARN, NOISE = range(4)

# Gives the residencies of a finished game addresses; None where they do not fit.
Address = Callable[[State], list[SegmentResidency] | None]
# The same without what finds no address: busy seconds and residencies; None where no plan is left.
Repair = Callable[[State], tuple[float, list[SegmentResidency]] | None]


class Packer(NamedTuple):
    """How finished games become plans.

    Attributes:
        address: gives all residencies addresses, or None.
        repair: drops the residencies that find no address; None where no plan is left.
    """

    address: Address
    repair: Repair


class OutOfTimeError(Exception):
    """The deadline came."""


@dataclass(frozen=True)
class MuZeroOptions:
    """How to train; sizes of the networks are constants of `nets`.

    Attributes:
        seed: of everything random.
        games: games of a generation, played side by side.
        simulations: simulations of the search, per decision.
        noise: largest scale of the Gumbel noise; the games of a generation have from 0 to that.
        bursts: share of the games that are played without noise but for a stretch with this much
            of it, see `burst_noise`.
        burst_noise: scale of the Gumbel noise there.
        unroll: actions that the model is unrolled over in learning.
        lookahead: decisions whose rewards are summed up before a value is trusted.
        batch: positions of a step of learning.
        passes: how often a new position is learnt from in its generation, if all were alike.
        window: games that are remembered.
        elites: best games that are never forgotten.
        elite_share: of each batch.
        looks: share of the window's positions that is searched anew in each generation.
        rate: of Adam.
        value_scale: weight of values in the search, see `search`.
        rescale: stretch values in the search, see `search`.
    """

    seed: int = 0
    games: int = 64
    simulations: int = 16
    noise: float = 2.0
    bursts: float = 0.5
    burst_noise: float = 4.0
    unroll: int = 5
    lookahead: int = 1000
    batch: int = 256
    passes: float = 2.0
    window: int = 512
    elites: int = 16
    elite_share: float = 0.25
    looks: float = 0.05
    rate: float = 1e-3
    value_scale: float = 0.05
    rescale: bool = False


@dataclass
class Agent:
    """A training run.

    Attributes:
        options: how it trains.
        instance: the program.
        packer: makes finished games plans.
        scale: rewards are busy seconds saved times this.
        params: of the networks.
        moments: of Adam.
        best: busy seconds and residencies of the best plan; without any game, that of `all-slow`.
        best_game: its actions; none without a game.
        generation: generations of training so far.
        games: games played so far.
        unplaced: games that would have been among the best, but found no addresses.
        window: the last games, the oldest first.
        elites: the best games, the best first.
    """

    options: MuZeroOptions
    instance: GameInstance
    packer: Packer
    scale: float
    params: Params
    moments: Any
    best: tuple[float, list[SegmentResidency]]
    best_game: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))
    generation: int = 0
    games: int = 0
    unplaced: int = 0
    window: list[Episode] = field(default_factory=list)
    elites: list[Episode] = field(default_factory=list)

    @property
    def best_s(self) -> float:
        """Latency of the best plan so far."""
        return self.best[0] + self.instance.overhead_s

    def rng(self, purpose: int) -> np.random.Generator:
        """Random numbers of this generation."""
        return np.random.default_rng([self.options.seed, self.generation, purpose])

    def key(self, purpose: int) -> jax.Array:
        """The same for JAX."""
        return jax.random.key(int(self.rng(purpose).integers(2**31)))


def new_agent(
    instance: GameInstance, reference_s: float, options: MuZeroOptions, packer: Packer
) -> Agent:
    """An untrained agent for a program.

    Args:
        instance: the program, see `game_instance.by_live_bytes`.
        reference_s: latency of a good plan, for the scale of rewards alone.
        options: how to train.
        packer: makes finished games plans.
    """
    params = new_params(options.seed, len(instance.arrays.access_segment))
    span_s = max(instance.all_slow_s - reference_s, 1e-4 * instance.all_slow_s, 1e-30)
    residencies = [residency for _, _, residency in instance.residency_state.all_residencies()]
    return Agent(
        options=options,
        instance=instance,
        packer=packer,
        scale=RETURN_SCALE / span_s,
        params=params,
        moments=optimiser(options.rate).init(params),
        best=(float(start_of(instance).total[BUSY_S]), residencies),
    )


def remember(agent: Agent, episodes: list[Episode], arena: GameArena) -> None:
    """Put games just finished into the window and, where they are among the best, the elites.

    Args:
        agent: its window, elites and best plan change.
        episodes: the games, as recorded.
        arena: the same games, finished.
    """
    agent.games += len(episodes)
    agent.window = [*agent.window, *episodes][-agent.options.window :]
    known = {episode.actions.tobytes() for episode in agent.elites}
    unplaced = 0
    for game in np.argsort(arena.busy_s, kind="stable").tolist():
        episode = episodes[game]
        full = len(agent.elites) >= agent.options.elites
        if full and episode.total <= agent.elites[-1].total:
            break
        if episode.actions.tobytes() in known:
            continue
        state = finished_state(arena, game)
        residencies = agent.packer.address(state)
        if residencies is None:
            if not unplaced and arena.busy_s[game] < agent.best[0]:
                _offer(agent, agent.packer.repair(state), episode)
            unplaced += 1
            continue
        known.add(episode.actions.tobytes())
        agent.elites.append(episode)
        agent.elites.sort(key=lambda elite: -elite.total)
        del agent.elites[agent.options.elites :]
        _offer(agent, (float(arena.busy_s[game]), residencies), episode)
    agent.unplaced += unplaced


def _offer(
    agent: Agent, plan: tuple[float, list[SegmentResidency]] | None, episode: Episode
) -> None:
    """Keep the plan of a game, busy seconds and residencies, if it is the best so far."""
    if plan is not None and plan[0] < agent.best[0]:
        agent.best, agent.best_game = plan, episode.actions
