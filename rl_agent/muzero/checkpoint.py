"""Checkpoints: networks, optimiser, and the games that are remembered, as actions to be replayed.

A run that is stopped and resumed equals one that is not.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.errors import UsageError
from ullage.rl_agent.env.game_instance import GameInstance
from ullage.rl_agent.env.rules import ACTIONS
from ullage.rl_agent.muzero.agent import Agent, MuZeroOptions, Packer, new_agent
from ullage.rl_agent.muzero.arena import finished_state, open_arena
from ullage.rl_agent.muzero.nets import Observation
from ullage.rl_agent.muzero.play import play_by
from ullage.rl_agent.muzero.replay import Episode
from ullage.rl_agent.muzero.search import SearchResult
from ullage.rl_agent.policy.network import FORMAT, read_arrays, write_arrays

NAME = "muzero"
# What reading an array or a figure raises that is missing or of another shape or type.
DAMAGE = (AttributeError, IndexError, KeyError, TypeError, ValueError)
# Arrays of an episode that are saved; the others come from playing it again.
PARTS = ("actions", "policies", "values")


def save_agent(agent: Agent, path: Path) -> None:
    """Write a checkpoint, whole or not at all; equal agents give equal bytes."""
    arrays: dict[str, Any] = {}
    for group, tree in (("params", agent.params), ("moments", agent.moments)):
        for number, leaf in enumerate(jax.tree.leaves(tree)):
            arrays[f"{group}{number}"] = np.asarray(leaf)
    for group, episodes in (("window", agent.window), ("elites", agent.elites)):
        arrays[f"{group}_lengths"] = np.array([len(e.actions) for e in episodes], dtype=np.int64)
        for part in PARTS if group == "window" else PARTS[:1]:  # the elites are imitated
            rows = [getattr(episode, part) for episode in episodes]
            arrays[f"{group}_{part}"] = np.concatenate(rows) if rows else np.zeros(0, np.float32)
    arrays["best_game"] = agent.best_game
    about = {
        "format": FORMAT,
        "agent": NAME,
        "uses": len(agent.instance.arrays.access_segment),
        "all_slow_s": agent.instance.all_slow_s,
        "scale": agent.scale,
        "generation": agent.generation,
        "games": agent.games,
        "homeless": agent.unplaced,
        "options": asdict(agent.options),
    }
    write_arrays(path, arrays, about)


def load_agent(path: Path, instance: GameInstance, packer: Packer) -> Agent:
    """The agent of a checkpoint, for the program that it was trained on.

    Raises:
        UsageError: it cannot be read, is of another kind of agent, of another program, or holds
            games that the rules do not allow (those of another version may have).
    """
    arrays, about = read_arrays(path)
    if about.get("agent") != NAME:
        raise UsageError(f"{path} holds no agent of muzero: train one with --agent muzero")
    try:
        return _agent_of(path, arrays, about, instance, packer)
    except DAMAGE as error:
        raise UsageError(f"{path} is damaged: {error!r}; train anew") from error


def _agent_of(
    path: Path,
    arrays: dict[str, Any],
    about: dict[str, Any],
    instance: GameInstance,
    packer: Packer,
) -> Agent:
    uses = len(instance.arrays.access_segment)
    if about["uses"] != uses or about["all_slow_s"] != instance.all_slow_s:
        raise UsageError(
            f"{path} was trained on a program of {about['uses']} uses that takes "
            f"{about['all_slow_s']:.6g} s with everything slow, this one has {uses} and takes "
            f"{instance.all_slow_s:.6g} s: muzero is trained per program, target and memory size; "
            "train it on this one, or leave the checkpoint out"
        )
    agent = new_agent(instance, 0.0, MuZeroOptions(**about["options"]), packer)
    agent.scale = about["scale"]
    for group in ("params", "moments"):
        tree = getattr(agent, group)
        leaves = jax.tree.leaves(tree)
        kept: list[Any] = [arrays.get(f"{group}{number}") for number in range(len(leaves))]
        sizes = [-1 if array is None else array.size for array in kept]
        if sizes != [leaf.size for leaf in leaves]:
            raise UsageError(f"{path} holds networks of another version of ullage: train anew")
        loaded = [
            jax.numpy.asarray(np.reshape(array, leaf.shape))
            for array, leaf in zip(kept, leaves, strict=True)
        ]
        setattr(agent, group, jax.tree.unflatten(jax.tree.structure(tree), loaded))
    agent.generation, agent.games = about["generation"], about["games"]
    agent.unplaced = about["homeless"]
    try:
        agent.window = _replayed(agent, _games(arrays, "window"))
        agent.elites = _replayed(agent, _games(arrays, "elites"))
        _play_best(agent, arrays["best_game"])
    except _ForbiddenError as error:
        raise UsageError(
            f"{path} holds games that the rules do not allow, it is of another version of ullage: "
            "train anew"
        ) from error
    return agent


class _ForbiddenError(Exception):
    """A game cannot be played as it was recorded."""


def _check_legal(
    actions: NDArray[np.int64], masks: NDArray[np.bool_], playing: NDArray[np.bool_]
) -> None:
    """Raise where a game that is not over is to play what is not legal: actions (B,), masks."""
    chosen = actions[playing]
    known = (chosen >= 0) & (chosen < ACTIONS)
    if not known.all() or not masks[playing, chosen].all():
        raise _ForbiddenError


def _games(arrays: dict[str, Any], group: str) -> list[tuple[NDArray[Any], ...]]:
    """Actions, policies and values of each game."""
    lengths = arrays[f"{group}_lengths"]
    if not len(lengths):
        return []
    total = int(lengths.sum())
    unknown = {
        "policies": np.zeros((total, ACTIONS), np.float32),
        "values": np.zeros(total, np.float32),
    }
    saved = {part: arrays.get(f"{group}_{part}", unknown.get(part)) for part in PARTS}
    parts = (np.split(np.asarray(row), np.cumsum(lengths)[:-1]) for row in saved.values())
    return list(zip(*parts, strict=True))


def _replayed(agent: Agent, games: Sequence[tuple[NDArray[Any], ...]]) -> list[Episode]:
    """Episodes of games whose actions are known."""
    episodes: list[Episode] = []
    arena = open_arena(agent.instance, agent.options.games)
    for begin in range(0, len(games), agent.options.games):
        part = games[begin : begin + agent.options.games]
        filled = [*part, *[part[-1]] * (agent.options.games - len(part))]

        def decide(
            _: Observation,
            masks: NDArray[np.bool_],
            playing: NDArray[np.bool_],
            number: int,
            filled: Sequence[tuple[NDArray[Any], ...]] = filled,
        ) -> SearchResult:
            rows = [game if on else None for game, on in zip(filled, playing, strict=True)]
            if any(game is not None and number >= len(game[0]) for game in rows):
                raise _ForbiddenError
            actions = np.array([0 if game is None else int(game[0][number]) for game in rows])
            _check_legal(actions, masks, playing)
            return SearchResult(
                actions,
                np.array([np.zeros(ACTIONS) if g is None else g[1][number] for g in rows], "f4"),
                np.array([0.0 if game is None else game[2][number] for game in rows], "f4"),
            )

        played = play_by(arena, agent.scale, decide)
        if any(len(e.actions) < len(game[0]) for e, game in zip(played, filled, strict=True)):
            raise _ForbiddenError
        episodes += played[: len(part)]
    return episodes


def _play_best(agent: Agent, actions: NDArray[np.int8]) -> None:
    """The best plan, from its game played once more."""
    if not len(actions):
        return
    arena = open_arena(agent.instance, 1)
    nothing = np.zeros((1, ACTIONS), np.float32)

    def decide(
        _: Observation, masks: NDArray[np.bool_], playing: NDArray[np.bool_], number: int
    ) -> SearchResult:
        if number >= len(actions):
            raise _ForbiddenError
        action = actions[number : number + 1].astype(np.int64)
        _check_legal(action, masks, playing)
        return SearchResult(action, nothing, nothing[:, 0])

    if len(play_by(arena, agent.scale, decide)[0].actions) < len(actions):
        raise _ForbiddenError
    state = finished_state(arena, 0)
    residencies = agent.packer.address(state)
    best = (
        agent.packer.repair(state) if residencies is None else (float(arena.busy_s[0]), residencies)
    )
    if best is not None:
        agent.best, agent.best_game = best, actions
