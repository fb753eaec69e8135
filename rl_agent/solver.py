"""`rl`: an agent that plays the allocation game (docs/rl.md).

A program is encoded once; a network that was trained on other programs scores every move that the
heuristic knows, as a residual on the heuristic's own score, and weighs what a move does to the
state in which it is tried. A decode plays the moves by score. Then search with the exact simulator
improves the scores until the deadline, and the best plan seen is returned; the heuristic's own
order is always among them, and so is one that tries what `msa` keeps before all else. Where no game
comes up to the plan of `msa` itself, that is returned, with a note that says so.

Games are played twice over: first with an address for every stay as it is decided, so that a plan
is there at any time; then by live bytes alone, which leaves more freedom: a packer finds the
addresses, and what gets none is dropped.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.kernel_cache import is_compiled, not_compiled
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.solvers.registry import SolverOptions, parameters_of
from ullage.solvers.state.build_plan import Stay, assemble

if TYPE_CHECKING:
    from ullage.rl_agent.env.game_instance import Table
    from ullage.rl_agent.policy.network import Network
    from ullage.rl_agent.policy.players import Player, Policy
    from ullage.solvers.state.residency_state import Occupancy

SUMMARY = "agent that plays the allocation game: trained scores, then search by exact simulation"
DEFAULTS: Mapping[str, Any] = {
    "checkpoint": "",
    "search": "evolution",
    "simulations": 0,
    "msa": True,
}
PLAIN_DEFAULTS: Mapping[str, Any] = {"simulations": DEFAULTS["simulations"]}
OBJECTIVES = ("latency",)
SEARCHES = ("evolution", "gumbel", "noise", "none")
MSA_SHARE = 0.25  # of the time, for the plan of `msa`
NO_LIMIT = 1 << 60
CALLS = 400  # simulator calls of a round where neither they nor the time are limited
ADDRESSED_SHARE = 0.3  # of the time: games with addresses; by live bytes until PLAYED_SHARE
PLAYED_SHARE = 0.8  # of the time; the rest is for packing and finishing
WORTH_PACKING = 1e-6  # relative gain that is worth a call of the packer
COMPILE_S = 90.0  # for compiling: three times what an idle core of 2025 takes (docs/kernels.md)


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
        asked: parameters that are not defaults, for the plan.
    """

    solver: str
    search: str
    simulations: int
    network: "Network"
    msa: bool
    asked: Mapping[str, Any]


def solve(problem: Problem, target: Target, options: SolverOptions) -> Plan:
    """The best plan that the agent finds.

    Simulator calls are limited by the deadline, and by `simulations` for each of the two rounds of
    games. Without a deadline the plan depends on problem, target, seed and parameters alone.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit, or a home tier is too small.
        UsageError: a parameter or the checkpoint is wrong.
        TimeLimitError: less time than compiling the kernels may take.
    """
    from ullage.rl_agent.policy.network import load_network

    chosen = parameters_of(options, DEFAULTS)
    if chosen["search"] not in SEARCHES or chosen["simulations"] < 0:
        raise UsageError(
            f"rl: search is one of {', '.join(SEARCHES)} and simulations at least 0, "
            f"not {chosen['search']!r} and {chosen['simulations']}"
        )
    network = load_network(Path(chosen["checkpoint"]) if chosen["checkpoint"] else None)
    asked = {name: value for name, value in chosen.items() if value != DEFAULTS[name]}
    method = Method("rl", chosen["search"], chosen["simulations"], network, chosen["msa"], asked)
    return play(problem, target, options, method)


def solve_plain(
    problem: Problem, target: Target, options: SolverOptions, name: str, search: str
) -> Plan:
    """The same search from the heuristic's order, without a network: what an agent must beat.

    Its one parameter is `simulations`, counted as for `rl`.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit, or a home tier is too small.
        UsageError: a parameter is wrong.
        TimeLimitError: less time than compiling the kernels may take.
    """
    from ullage.rl_agent.policy.network import zero_network

    chosen = parameters_of(options, PLAIN_DEFAULTS)
    if chosen["simulations"] < 0:
        raise UsageError(f"{name}: simulations is at least 0, not {chosen['simulations']}")
    asked = {key: value for key, value in chosen.items() if value != PLAIN_DEFAULTS[key]}
    method = Method(name, search, chosen["simulations"], zero_network(), False, asked)
    return play(problem, target, options, method)


def play(problem: Problem, target: Target, options: SolverOptions, method: Method) -> Plan:
    """The best plan that a way of playing finds.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit, or a home tier is too small.
        TimeLimitError: less time than compiling the kernels may take.
    """
    from ullage.rl_agent.env.game_instance import set_table
    from ullage.rl_agent.env.plans import packed, repair, stays_of
    from ullage.rl_agent.env.state import start_of
    from ullage.rl_agent.policy.features import encode, lead_of_stays
    from ullage.rl_agent.policy.players import Player, heuristic

    begun, left_s = time.monotonic(), options.remaining_s()
    if left_s < COMPILE_S and not is_ready():
        raise not_compiled(method.solver, COMPILE_S, left_s)
    table = set_table(problem, target)
    if not len(table.board.ev_atom):
        stays = [stay for _, _, stay in table.occupancy.all_stays()]
        note = f"{method.solver}: nothing to decide, all tensors live in {target.fastest.name}"
        return replace(_plan(problem, target, table, stays, options, method), notes=(note,))
    start = start_of(table)
    encoding = encode(table.board, start)
    learned = method.network.policy(encoding)
    starts = [learned]
    if method.network.weights.any():
        starts.append(heuristic(encoding))
    rival = None
    if method.msa:
        options.progress("playing what msa keeps")
        rival = _rival(problem, target, options, begun + MSA_SHARE * left_s)
        kept = [(stay.atom, first, last) for first, last, stay in rival.all_stays()]
        starts.append(learned.moved(lead_of_stays(table, encoding, kept)))
    rng = np.random.default_rng(options.seed)
    options.progress("playing with addresses")
    limit = method.simulations or (CALLS if options.deadline is None else NO_LIMIT)
    end = begun + ADDRESSED_SHARE * left_s
    placed = Player(table.board, start, encoding, limit, end, addresses=True)
    placed.improved = lambda busy_s: options.on_improvement(busy_s + table.overhead_s)
    _search(method.search, placed, starts, rng)
    stays = [stay for _, _, stay in stays_of(table, placed.replay())]
    best_s = placed.best_s
    end = begun + PLAYED_SHARE * left_s
    if time.monotonic() < end:
        options.progress("playing by live bytes")
        loose = Player(table.board, start, encoding, limit, end)
        _search(method.search, loose, [placed.best, *starts], rng)
        if loose.best_s < best_s * (1 - WORTH_PACKING):
            runs = stays_of(table, loose.replay())
            found = packed(problem, target, table, runs, options)
            if found is not None:
                stays, best_s = found, loose.best_s
            else:
                repaired = repair(problem, target, table, runs)
                if repaired is not None and repaired[0] < best_s:
                    best_s, stays = repaired
    notes: tuple[str, ...] = ()
    if rival is not None and rival.timeline.total_s < best_s * (1 - WORTH_PACKING):
        stays = [stay for _, _, stay in rival.all_stays()]
        notes = ("rl: no game came up to the plan of msa, which this is",)
    plan = _plan(problem, target, table, stays, options, method)
    return replace(plan, notes=(*plan.notes, *notes))


def is_ready() -> bool:
    """Whether the game is compiled."""
    from ullage.rl_agent.policy.decode import decode
    from ullage.rl_agent.policy.prices import fill_prices

    return is_compiled(decode) and is_compiled(fill_prices)


def _rival(problem: Problem, target: Target, options: SolverOptions, end: float) -> "Occupancy":
    """What `msa` decides by then."""
    from ullage.solvers.heuristics import msa

    deadline = None if options.deadline is None else end
    return msa.assign(problem, target, replace(options, deadline=deadline, parameters={}))[0]


def _search(name: str, player: "Player", starts: "Sequence[Policy]", rng: Any) -> None:  # noqa: ANN401
    """Play the starts, the network's or the best so far first; then search from the best.

    Time or simulator calls may run out in between.
    """
    from ullage.rl_agent.policy.gumbel import gumbel_search
    from ullage.rl_agent.policy.players import OutOfCallsError, evolve, noisy_greedy

    try:
        for policy in starts:
            player.value(policy)
    except OutOfCallsError:
        return
    if name != "none":
        play = {"evolution": evolve, "gumbel": gumbel_search, "noise": noisy_greedy}[name]
        play(player, player.best, rng)


def _plan(
    problem: Problem,
    target: Target,
    table: "Table",
    stays: list[Stay],
    options: SolverOptions,
    method: Method,
) -> Plan:
    return assemble(
        problem,
        target,
        table.atoms,
        stays,
        solver=method.solver,
        objective=options.objective,
        seed=options.seed,
        options=method.asked,
    )
