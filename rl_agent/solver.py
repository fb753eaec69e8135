"""`rl`: an agent that plays the allocation game (docs/rl.md).

A program is encoded once; a network that was trained on other programs scores every move that the
heuristic knows, as a residual on the heuristic's own score, and weighs what a move does to the
state in which it is tried. A decode plays the moves by score. Then search with the exact simulator
improves the scores until the deadline, and the best plan of all is returned; the heuristic's own
order is always among them, and so is one that tries what `msa` keeps before all else. Where no game
comes up to the plan of `msa` itself, that is returned, with a note that says so.

Games are played twice over: first with an address for every residency as it is decided, so that a
plan is there at any time; then by live bytes alone, which leaves more freedom: a packer finds the
addresses, and what gets none is dropped.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ullage.compiler.common.kernel_cache import is_compiled, not_compiled
from ullage.compiler.ir.problem import Problem
from ullage.solvers.budget import Budget
from ullage.solvers.heuristics import msa
from ullage.solvers.interface import Solution, Solver, StopReason
from ullage.solvers.parameters import parameter
from ullage.solvers.state.build_plan import SegmentResidency, assemble
from ullage.solvers.state.prefetch import has_fetches, prefetched, prefetched_residencies
from ullage.solvers.state.segments import segments_of

if TYPE_CHECKING:
    from ullage.rl_agent.env.game_instance import GameInstance
    from ullage.rl_agent.policy.network import Network
    from ullage.rl_agent.policy.players import Player, Policy

OBJECTIVES = ("latency",)
SEARCHES = ("evolution", "gumbel", "noise", "none")
# Share of the time for the plan of `msa`.
MSA_SHARE = 0.25
# Simulator calls where only the time limits them.
NO_LIMIT = 1 << 60
# Simulator calls of a round where neither they nor the time are limited.
CALLS = 400
# Shares of the time by which games with addresses end, and games by live bytes; the rest is for
# packing and finishing.
ADDRESSED_SHARE = 0.3
PLAYED_SHARE = 0.8
# These three shares where operands must be fetched: their times are searched for afterwards, and
# are the better part of what `msa` does.
FETCHED_SHARES = 0.4, 0.5, 0.65
# Gain over the latency that is worth a call of the packer.
WORTH_PACKING = 1e-6
# Seconds of the packer, and of fetching beside computing, after Ctrl-C.
HURRIED_S = 1.0
# Seconds that must remain where kernels are not compiled yet: three times what an idle core of 2025
# takes to compile them (docs/kernels.md).
COMPILE_S = 20.0


@dataclass(frozen=True)
class RlOptions:
    """Parameters of `rl`."""

    checkpoint: str = parameter("", "file of trained weights; empty: the ones that are shipped")
    search: str = parameter(
        "evolution", "how scores are improved with the exact simulator", choices=SEARCHES
    )
    simulations: int = parameter(
        0,
        "simulator calls of each of the two rounds of games; 0: as many as there is time for, "
        "400 without a limit",
        least=0,
    )
    msa: bool = parameter(True, "begin with what msa keeps, too, and be no worse than it")
    own_plan: bool = parameter(
        False, "its own plan, even where one that it is held against or begins with is better"
    )
    seed: int = parameter(0, "of the search")


@dataclass(frozen=True)
class PlainOptions:
    """Parameters of `noisy-greedy` and `evolution`: the search without a network."""

    simulations: int = parameter(
        0,
        "simulator calls of each of the two rounds of games; 0: as many as there is time for, "
        "400 without a limit",
        least=0,
    )
    seed: int = parameter(0, "of the search")


@dataclass(frozen=True)
class Method:
    """A way of playing.

    Attributes:
        solver: name of the solver.
        search: one of `SEARCHES`.
        simulations: simulator calls, for each of the two rounds of games; 0: as many as there is
            time for, CALLS without a deadline.
        network: gives the scores to begin with.
        msa: begin with what `msa` keeps, too, and be no worse than it.
        own_plan: return the best game, even where the plan of `msa` is better.
        seed: of the search.
    """

    solver: str
    search: str
    simulations: int
    network: "Network"
    msa: bool
    own_plan: bool
    seed: int


def solve(problem: Problem, options: RlOptions, budget: Budget) -> Solution:
    """The best plan that the agent finds.

    Simulator calls are limited by the deadline, and by `simulations` for each of the two rounds of
    games. Without a deadline the plan depends on problem, seed and parameters alone.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit, or a home tier is too small.
        UsageError: the checkpoint is wrong.
        TimeLimitError: less time than compiling the kernels may take.
    """
    from ullage.rl_agent.policy.network import load_network

    network = load_network(Path(options.checkpoint) if options.checkpoint else None)
    simulations, seed = options.simulations, options.seed
    method = Method("rl", options.search, simulations, network, options.msa, options.own_plan, seed)
    return play(problem, method, budget)


def solve_plain(
    problem: Problem, options: PlainOptions, budget: Budget, name: str, search: str
) -> Solution:
    """The same search from the heuristic's order, without a network: what an agent must beat.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit, or a home tier is too small.
        TimeLimitError: less time than compiling the kernels may take.
    """
    from ullage.rl_agent.policy.network import zero_network

    method = Method(
        name,
        search,
        options.simulations,
        zero_network(),
        msa=False,
        own_plan=True,
        seed=options.seed,
    )
    return play(problem, method, budget)


def play(problem: Problem, method: Method, budget: Budget) -> Solution:
    """The best plan that a way of playing finds; Ctrl-C keeps the best so far.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit, or a home tier is too small.
        TimeLimitError: less time than compiling the kernels may take.
        KeyboardInterrupt: it came before any plan.
    """
    from ullage.rl_agent.env.game_instance import game_instance_of
    from ullage.rl_agent.env.plans import packed, repair, residencies_of
    from ullage.rl_agent.env.state import start_of
    from ullage.rl_agent.policy.features import encode, lead_of_residencies
    from ullage.rl_agent.policy.players import Player, heuristic

    left_s = budget.remaining_s()
    if not (is_ready() or budget.has_time_to_compile(COMPILE_S)):
        raise not_compiled(method.solver, COMPILE_S, left_s)
    for_msa, with_addresses, playing = (budget.share(share) for share in _shares_of(problem))
    instance = game_instance_of(problem)
    if not len(instance.arrays.access_segment):
        at_home = [residency for _, _, residency in instance.residency_state.all_residencies()]
        note = (
            f"{method.solver}: nothing to decide, all tensors live in {problem.target.fastest.name}"
        )
        return Solution(assemble(problem, instance.segments, at_home), notes=(note,))
    start = start_of(instance)
    encoding = encode(instance.arrays, start)
    learned = method.network.policy(encoding)
    starts = [learned]
    if method.network.weights.any():
        starts.append(heuristic(encoding))
    rival = None
    if method.msa:
        budget.progress("playing what msa keeps")
        rival = prefetched(msa.assign(problem, msa.MsaOptions(), for_msa)[0], for_msa)
        kept = ((kept.segment, first, last) for first, last, kept in rival.all_residencies())
        starts.append(learned.moved(lead_of_residencies(instance, encoding, kept)))
    rng = np.random.default_rng(method.seed)
    budget.progress("playing with addresses")
    limit = method.simulations or (CALLS if budget.deadline is None else NO_LIMIT)
    end = _end_of(with_addresses)
    placed = Player(instance.arrays, start, encoding, limit, end, addresses=True)
    placed.improved = lambda busy_s: budget.on_improvement(busy_s + instance.overhead_s)
    interrupted = _search(method.search, placed, starts, rng)
    beaten = None if method.own_plan else rival
    residencies: list[SegmentResidency] = []
    best_s = placed.best_s
    if not math.isinf(best_s):
        residencies = [residency for _, _, residency in residencies_of(instance, placed.replay())]
    elif beaten is None:
        raise KeyboardInterrupt
    if not interrupted and not playing.is_over():
        budget.progress("playing by live bytes")
        loose = Player(instance.arrays, start, encoding, limit, _end_of(playing))
        try:
            interrupted = _search(method.search, loose, [placed.best, *starts], rng)
            if loose.best_s < best_s * (1 - WORTH_PACKING):
                by_span = residencies_of(instance, loose.replay())
                packing = budget.at_most(HURRIED_S) if interrupted else budget
                with_offsets = packed(problem, instance, by_span, packing)
                if with_offsets is not None:
                    residencies, best_s = with_offsets, loose.best_s
                else:
                    repaired = repair(problem, instance, by_span, packing)
                    if repaired is not None and repaired[0] < best_s:
                        best_s, residencies = repaired
        except KeyboardInterrupt:  # while a game is packed; the plan with addresses stands
            interrupted = True
    notes: tuple[str, ...] = ()
    made_by = ""
    if beaten is not None and beaten.busy_time.total_s < best_s * (1 - WORTH_PACKING):
        residencies = [residency for _, _, residency in beaten.all_residencies()]
        made_by = "msa"
        notes = ("rl: no game came up to the plan of msa, which this is",)
    rest = budget.at_most(HURRIED_S) if interrupted else budget
    better, stopped = _fetched_better(problem, instance, residencies, rest)
    if made_by and better != residencies:
        notes, made_by = ("rl: the plan of msa, with other times of fetches",), ""
    ended: StopReason = "time limit" if playing.is_over() else "finished"
    return Solution(
        assemble(problem, instance.segments, better),
        stop_reason="interrupted" if interrupted or stopped else ended,
        notes=notes,
        made_by=made_by,
    )


def _fetched_better(
    problem: Problem,
    instance: "GameInstance",
    residencies: list[SegmentResidency],
    budget: Budget,
) -> tuple[list[SegmentResidency], bool]:
    """The best plan with other times of mandatory transfers; whether the user interrupted."""
    try:
        better = prefetched_residencies(
            problem, instance.segments, residencies, budget, searches=True
        )
    except KeyboardInterrupt:  # the plan is complete without
        return residencies, True
    return better, False


def _shares_of(problem: Problem) -> tuple[float, float, float]:
    """Shares of the time by which msa, games with addresses and games by live bytes end."""
    if has_fetches(problem, segments_of(problem)):
        return FETCHED_SHARES
    return MSA_SHARE, ADDRESSED_SHARE, PLAYED_SHARE


def _end_of(budget: Budget) -> float:
    """`time.monotonic()` value at which a part of the time ends."""
    return math.inf if budget.deadline is None else budget.deadline


def is_ready() -> bool:
    """Whether the game is compiled."""
    from ullage.rl_agent.policy.decode import play_by_score

    return is_compiled(play_by_score)


def _search(name: str, player: "Player", starts: "Sequence[Policy]", rng: Any) -> bool:  # noqa: ANN401
    """Play the starts, the network's or the best so far first; then search from the best.

    Time or simulator calls may run out in between.

    Returns:
        whether the user interrupted; the player's best game stands all the same, if there is one.
    """
    from ullage.rl_agent.policy.gumbel import gumbel_search
    from ullage.rl_agent.policy.players import OutOfCallsError, evolve, noisy_greedy

    try:
        for policy in starts:
            player.value(policy)
        if name != "none":
            play = {"evolution": evolve, "gumbel": gumbel_search, "noise": noisy_greedy}[name]
            play(player, player.best, rng)
    except OutOfCallsError:
        return False
    except KeyboardInterrupt:
        return True
    return False


SOLVER = Solver(
    "rl",
    "agent that plays the allocation game: trained scores, then search by exact simulation",
    solve,
    RlOptions,
    OBJECTIVES,
)
