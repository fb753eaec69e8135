"""Training: the network learns from the plans that search finds.

Each program of the pool is played by evolution strategies, from the heuristic's order. What the
best plan keeps is what the network shall score high: logistic regression on the candidates that it
took, by Adam, a few programs a generation (expert iteration with search as the expert, Anthony et
al. 2017; one iteration). The reward that is reported is what counts: the latency that one decode
by the network saves over one by the heuristic's own order.

Everything random in a generation comes from (seed, generation), so that a run that is stopped and
resumed equals one that is not.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np

from ullage.compiler.errors import InfeasibleError, UsageError
from ullage.compiler.problem import Problem
from ullage.hwmodels.target import Target
from ullage.rl_agent.board import Board, FloatArray, set_table
from ullage.rl_agent.decode import GAP, WHOLE, decode
from ullage.rl_agent.families import FAMILIES, random_program
from ullage.rl_agent.features import Encoding, encode
from ullage.rl_agent.network import (
    FORMAT,
    WEIGHTS,
    Network,
    random_network,
    read_arrays,
    unflatten,
    write_arrays,
)
from ullage.rl_agent.players import PASSES, Player, evolve
from ullage.rl_agent.state import State, copy_of, start_of

LOGITS_PER_SCORE = 6.0  # scores run from 0 to 1
AGREED_WEIGHT = 0.1
MIN_GAIN = 0.003  # of the expert over the heuristic; less teaches little
MIN_EVENTS = 8  # smaller programs teach nothing


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Attributes:
        seed: of weights, programs and perturbations.
        programs: size of the pool of programs.
        batch: programs per generation.
        expert_calls: simulator calls of the expert for each program.
        rate: step size of Adam.
        families: of synthetic programs.
    """

    seed: int = 0
    programs: int = 96
    batch: int = 6
    expert_calls: int = 200
    rate: float = 0.005
    families: tuple[str, ...] = tuple(FAMILIES)


@dataclass(frozen=True)
class Training:
    """The state of a training run: all that a checkpoint holds.

    Attributes:
        options: how it trains.
        generation: generations done.
        weights: (WEIGHTS,) of the network.
        first: (WEIGHTS,) Adam's mean of gradients.
        second: (WEIGHTS,) Adam's mean of squares.
        reward: smoothed mean saving over the heuristic's decode.
    """

    options: TrainOptions
    generation: int
    weights: FloatArray
    first: FloatArray
    second: FloatArray
    reward: float = 0.0

    @property
    def network(self) -> Network:
        """The network as trained so far."""
        return unflatten(self.weights)


class Exercise(NamedTuple):
    """A program to train on, ready to be played.

    Attributes:
        board: the board.
        start: the state before the first move.
        state: one to play in.
        encoding: the program as the network sees it.
        reference_s: busy seconds of the heuristic's decode.
        expert_s: of the expert's best.
        kept: (C,) 1.0 where the expert's best plan keeps what a candidate would.
        weight: (C,) how much a candidate counts: more where expert and heuristic differ.
    """

    board: Board
    start: State
    state: State
    encoding: Encoding
    reference_s: float
    expert_s: float
    kept: FloatArray
    weight: FloatArray


def begin_training(options: TrainOptions) -> Training:
    """A network that is the heuristic, and an optimiser at rest."""
    weights = random_network(options.seed, spread=0.0).flat()
    return Training(options, 0, weights, np.zeros(WEIGHTS), np.zeros(WEIGHTS))


def exercise_of(problem: Problem, target: Target, options: TrainOptions) -> Exercise | None:
    """A program with the expert's plan; None where it is infeasible or too small to teach."""
    try:
        table = set_table(problem, target)
    except InfeasibleError:
        return None
    if len(table.board.ev_atom) < MIN_EVENTS:
        return None
    start = start_of(table)
    encoding = encode(table.board, start)
    player = Player(table.board, start, encoding, options.expert_calls)
    reference_s = player.value(encoding.base)
    if reference_s <= 0:
        return None
    evolve(player, encoding.base, np.random.default_rng(options.seed))
    kept = _kept(table.board, player.replay(), encoding)
    state = copy_of(start)
    order = player.order_of(encoding.base)
    decode(table.board, state, start, order, PASSES, False)
    weight = np.where(kept == _kept(table.board, state, encoding), AGREED_WEIGHT, 1.0)
    best_s = player.best_s
    return Exercise(table.board, start, state, encoding, reference_s, best_s, kept, weight)


def _kept(board: Board, state: State, encoding: Encoding) -> FloatArray:
    """(C,) 1.0 where a state keeps what a candidate would keep."""
    events = len(board.ev_atom)
    kind, event = encoding.candidates // events, encoding.candidates % events
    behind = board.atom_first[board.ev_atom[event] + 1]
    first = np.where(kind == GAP, event - 1, event)
    last = np.where(kind == WHOLE, behind - 1, event)
    stay = state.stay_of[first]
    return np.asarray((stay >= 0) & (stay == state.stay_of[last]), dtype=np.float64)


def synthetic_exercises(options: TrainOptions) -> Iterator[Exercise]:
    """The pool of a seed; programs that do not fit their chip are left out."""
    found, number = 0, 0
    while found < options.programs:
        rng = Random(f"{options.seed}/{number}")  # noqa: S311 - programs are no secrets
        number += 1
        exercise = exercise_of(*random_program(rng, options.families), options)
        if exercise is not None and exercise.expert_s < (1 - MIN_GAIN) * exercise.reference_s:
            found += 1
            yield exercise


def saving(exercise: Exercise, network: Network) -> float:
    """Share of the heuristic's time that one decode by the network saves."""
    scores = network.scores(exercise.encoding)
    order = exercise.encoding.candidates[np.argsort(-scores, kind="stable")]
    found = decode(exercise.board, exercise.state, exercise.start, order, PASSES, False)
    return 1.0 - found / exercise.reference_s


def train_generation(training: Training, pool: Sequence[Exercise]) -> Training:
    """One generation further."""
    options, network = training.options, training.network
    rng = np.random.default_rng([options.seed, training.generation])
    picked = rng.choice(len(pool), min(options.batch, len(pool)), replace=False)
    rewards = [saving(pool[index], network) for index in picked]
    slopes = []
    for index in picked:
        encoding, kept, weight = pool[index].encoding, pool[index].kept, pool[index].weight
        logits = LOGITS_PER_SCORE * (network.scores(encoding) - 0.5)
        error = (1.0 / (1.0 + np.exp(-logits)) - kept) * weight
        slopes.append(network.gradient(encoding, LOGITS_PER_SCORE * error / weight.sum()))
    return _adam_step(training, np.mean(slopes, axis=0), float(np.mean(rewards)))


def _adam_step(training: Training, gradient: FloatArray, reward: float) -> Training:
    first = 0.9 * training.first + 0.1 * gradient
    second = 0.99 * training.second + 0.01 * gradient**2
    count = training.generation + 1
    mean, square = first / (1 - 0.9**count), second / (1 - 0.99**count)
    step = training.options.rate * mean / (np.sqrt(square) + 1e-8)
    share = max(1.0 / count, 0.02)
    return replace(
        training,
        generation=count,
        weights=training.weights - step,
        first=first,
        second=second,
        reward=training.reward + share * (reward - training.reward),
    )


def train(
    training: Training,
    pool: Sequence[Exercise],
    goes_on: Callable[[Training], bool],
    report: Callable[[Training], None] = lambda _: None,
) -> Training:
    """Generations until `goes_on` says no.

    Raises:
        UsageError: there is no program to train on.
    """
    if not pool:
        raise UsageError(
            "no program to train on: the models given do not fit the target or have nothing to "
            "decide; give others, or none for synthetic programs"
        )
    while goes_on(training):
        training = train_generation(training, pool)
        report(training)
    return training


def save_training(training: Training, path: Path) -> None:
    """Write a checkpoint, whole or not at all; equal states give equal bytes."""
    about: dict[str, Any] = {
        "format": FORMAT,
        "generation": training.generation,
        "reward": training.reward,
        "options": {**vars(training.options), "families": list(training.options.families)},
    }
    arrays = {"weights": training.weights, "first": training.first, "second": training.second}
    write_arrays(path, arrays, about)


def load_training(path: Path) -> Training:
    """The state of a checkpoint.

    Raises:
        UsageError: it cannot be read, or holds a network without the optimiser's state.
    """
    arrays, about = read_arrays(path)
    parts = [arrays.get(name) for name in ("weights", "first", "second")]
    if any(part is None or part.shape != (WEIGHTS,) for part in parts):
        raise UsageError(
            f"{path} cannot be resumed: it holds no optimiser state of {WEIGHTS} weights; "
            "only checkpoints that ullage train wrote can be"
        )
    options = {**about["options"], "families": tuple(about["options"]["families"])}
    return Training(
        options=TrainOptions(**options),
        generation=about["generation"],
        weights=arrays["weights"],
        first=arrays["first"],
        second=arrays["second"],
        reward=about["reward"],
    )
