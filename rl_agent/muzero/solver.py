"""`muzero`: the agent of arXiv 2305.07440, trained on the program at hand (docs/muzero.md).

Games are played by live bytes; a game counts when a packer finds addresses for its residencies. The
plan is that of the agent's best game, whatever the heuristics have; a note says what they reach.
"""

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.common.kernel_cache import is_compiled, not_compiled
from ullage.compiler.common.units import format_time
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.bounds import order_free_bound
from ullage.rl_agent.solver import WORTH_PACKING
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solution, Solver, StopReason
from ullage.solvers.parameters import parameter
from ullage.solvers.registry import missing_packages
from ullage.solvers.run import run_solver
from ullage.solvers.state.build_plan import SegmentResidency, assemble
from ullage.solvers.state.prefetch import prefetched_residencies

if TYPE_CHECKING:
    from ullage.rl_agent.env.game_instance import GameInstance
    from ullage.rl_agent.env.state import State
    from ullage.rl_agent.muzero.agent import Agent, Packer
    from ullage.rl_agent.muzero.train import Report

logger = logging.getLogger(__name__)

# The optional part of the installation that it needs, and the packages of it.
EXTRA = "muzero"
REQUIRES = ("jax", "mctx", "optax")
# Solvers whose plans notes compare with, and whose best is the scale of rewards.
RIVALS = ("greedy", "msa")
# Share of the time that is kept for building the plan.
RESERVE_SHARE = 0.02
# Most seconds for the addresses of one game.
PACKING_S = 0.5
# Seconds that must remain where the game's kernels are not compiled yet: three times what an idle
# core of 2025 takes to compile them.
GAME_COMPILE_S = 25.0
# Seconds that must remain for training: compiling in jax cannot be interrupted.
COMPILE_S = 30.0


@dataclass(frozen=True)
class MuZeroParameters:
    """Parameters of `muzero`."""

    checkpoint: str = parameter("", "file of an agent to go on from; empty: begin anew")
    generations: int = parameter(0, "generations of training; 0: until the time is over", least=0)
    time_limit_s: float = parameter(300.0, "seconds where there is no other limit", least=0)
    games: int = parameter(64, "games of a generation", least=1)
    simulations: int = parameter(16, "simulations of a search, for each decision", least=1)
    seed: int = parameter(0, "of training and games")


def solve(problem: Problem, options: MuZeroParameters, budget: Budget) -> Solution:
    """The best plan that the agent plays while it is trained.

    Training ends after `generations`, or at the deadline or `time_limit_s`, whichever is first.
    With `generations`, and time for them, the plan depends on problem, seed and parameters alone.
    With a checkpoint training goes on from there; its own options and seed count.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit, or a home tier is too small.
        UsageError: the extra is not installed, or the checkpoint is wrong.
        TimeLimitError: less time than compiling the game's kernels may take.
    """
    check_extra()
    from ullage.rl_agent.env.game_instance import by_live_bytes, game_instance_of
    from ullage.rl_agent.muzero.train import play_by_chance, train

    training = budget.at_most(options.time_limit_s).share(1 - RESERVE_SHARE)
    limit_s, deadline = training.remaining_s(), training.deadline or math.inf
    instance = by_live_bytes(game_instance_of(problem))
    if not len(instance.arrays.access_segment):
        residencies = [residency for _, _, residency in instance.residency_state.all_residencies()]
        note = f"muzero: nothing to decide, all tensors live in {problem.target.fastest.name}"
        return Solution(assemble(problem, instance.segments, residencies), notes=(note,))
    if not (is_ready() or training.has_time_to_compile(GAME_COMPILE_S)):
        raise not_compiled("muzero", GAME_COMPILE_S, limit_s)
    rivals = rivals_of(problem, budget)
    reference_s = reference_of(problem, instance, rivals.values())
    packer = packer_of(problem, instance, budget)
    agent = _agent(instance, packer, reference_s, options, budget)
    reports: list[Report] = []
    generations, generations_before = options.generations, agent.generation
    until = _until(generations, limit_s)
    budget.progress(f"muzero: trains with {options.games} games a generation, {until}")

    def report(now: "Report") -> None:
        reports.append(now)
        budget.progress(
            f"muzero: generation {now.generation} ({until}), best {format_time(now.best_s)}, "
            f"without noise {format_time(now.greedy_s)}"
        )

    warnings: tuple[str, ...] = ()
    stop_reason: StopReason = "finished" if generations else "time limit"
    try:
        if limit_s < COMPILE_S:
            warnings = (
                f"muzero: {limit_s:.3g} s are too few to compile and train its networks (from "
                f"{COMPILE_S:.3g} s on it does): games by chance instead",
            )
            play_by_chance(agent, budget.on_improvement, deadline)
        else:
            train(
                agent,
                lambda now: not generations or now.generation - generations_before < generations,
                report,
                budget.on_improvement,
                deadline,
            )
    except KeyboardInterrupt:
        stop_reason = "interrupted"
    if stop_reason == "finished" and agent.generation - generations_before < generations:
        stop_reason = "time limit"
    notes = (*_notes(agent, reports, rivals), *warnings)
    residencies = prefetched_residencies(problem, instance.segments, agent.best[1], budget)
    return Solution(
        assemble(problem, instance.segments, residencies), stop_reason=stop_reason, notes=notes
    )


def _until(generations: int, limit_s: float) -> str:
    """When training ends, in words."""
    time_is_over = f"until {limit_s:.0f} s are over"
    return f"{generations} generations or {time_is_over}" if generations else time_is_over


def is_ready() -> bool:
    """Whether the game's kernels are compiled (the networks are in every process)."""
    from ullage.rl_agent.env.turns import play_turns

    return is_compiled(play_turns)


def check_extra() -> None:
    """Make sure that jax, mctx and optax are installed.

    Raises:
        UsageError: they are not.
    """
    missing = missing_packages(SOLVER)
    if missing:
        raise UsageError(
            f"muzero needs {', '.join(missing)}, not installed here; install with "
            "`pip install 'ullage[muzero]'`, or use the solver rl, which needs nothing more"
        )


def packer_of(problem: Problem, instance: "GameInstance", budget: Budget) -> "Packer":
    """A packer for the games of a program, which are played by live bytes."""
    from ullage.rl_agent.env.plans import PACKING_SHARE, packed, repair, residencies_of
    from ullage.rl_agent.muzero.agent import Packer

    def address(state: "State") -> list[SegmentResidency] | None:
        own = budget.at_most(PACKING_S / PACKING_SHARE).for_member()
        return packed(problem, instance, residencies_of(instance, state), own)

    return Packer(
        address,
        lambda state: repair(problem, instance, residencies_of(instance, state), budget),
    )


def _agent(
    instance: "GameInstance",
    packer: "Packer",
    reference_s: float,
    options: MuZeroParameters,
    budget: Budget,
) -> "Agent":
    from ullage.rl_agent.muzero.agent import MuZeroOptions, new_agent
    from ullage.rl_agent.muzero.checkpoint import load_agent

    if options.checkpoint:
        agent = load_agent(Path(options.checkpoint), instance, packer)
        budget.on_improvement(agent.best_s)
        return agent
    training = MuZeroOptions(
        seed=options.seed, games=options.games, simulations=options.simulations
    )
    return new_agent(instance, reference_s, training, packer)


def rivals_of(problem: Problem, budget: Budget) -> dict[str, float]:
    """Seconds: latency of each heuristic's plan, to compare with and for the scale of rewards."""
    latencies: dict[str, float] = {}
    for name in RIVALS:
        try:
            latencies[name] = run_solver(name, problem, budget.for_member()).score.latency_s
        except (InfeasibleError, UsageError):
            continue  # a heuristic may not know such targets
    return latencies


def reference_of(problem: Problem, instance: "GameInstance", rivals: Iterable[float]) -> float:
    """Latency of a good plan: the best heuristic's, the bound's where they gain nothing."""
    best_s = min(rivals, default=instance.all_slow_s)
    if best_s < instance.all_slow_s * (1 - WORTH_PACKING):
        return best_s
    return order_free_bound(problem.minimising("latency")).value


def _notes(agent: "Agent", reports: "list[Report]", rivals: Mapping[str, float]) -> tuple[str, ...]:
    """What the plan is, and what it is worth beside the heuristics'."""
    summary = (
        f"muzero: the best of {agent.games} games in {agent.generation} generations, "
        f"{format_time(agent.best_s)}"
    )
    if reports:
        summary += f"; without noise the agent plays {format_time(reports[-1].greedy_s)}"
    summary += "".join(
        f"; {name} has {format_time(latency_s)}" for name, latency_s in rivals.items()
    )
    notes = [summary]
    if not agent.elites:
        notes.append("muzero: no game was finished that has addresses for all of it")
    if agent.unplaced:
        notes.append(f"muzero: {agent.unplaced} good games found no addresses for all of it")
    return tuple(notes)


SOLVER = Solver(
    "muzero",
    "the RL paper's agent, trained on the program at hand (needs the extra muzero)",
    solve,
    MuZeroParameters,
    ("latency",),
    extra=EXTRA,
    requires=REQUIRES,
)
