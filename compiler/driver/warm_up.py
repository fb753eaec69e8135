"""Compiling all kernels once, so that nobody waits for them later.

A family is the set of kernels that one solver, or one part of it, needs. They are compiled by using
them on a tiny problem just as the solver does, so that they are compiled for the types of arguments
that will come.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ullage.compiler.common.kernel_cache import cache_folder, can_keep, is_compiled
from ullage.compiler.common.kernel_store import activity

if TYPE_CHECKING:
    from ullage.compiler.ir.graph import Graph
    from ullage.compiler.ir.problem import Problem


@dataclass(frozen=True)
class KernelFamily:
    """Kernels that are compiled together.

    Attributes:
        name: for people and programs.
        summary: what they are for.
        kernels: returns the kernels that are called from Python.
        run: uses all of these on a tiny problem.
    """

    name: str
    summary: str
    kernels: Callable[[], tuple[Any, ...]]
    run: Callable[[], None]

    def is_compiled(self) -> bool:
        """Whether all of them are compiled, in memory or in the folder."""
        return all(is_compiled(kernel) for kernel in self.kernels())


@dataclass(frozen=True)
class WarmedUp:
    """The outcome for one family.

    Attributes:
        name: name of the family.
        compiled_s: seconds that it took, loading kernels that were compiled before included.
        was_compiled: whether nothing had to be compiled.
    """

    name: str
    compiled_s: float
    was_compiled: bool


def warm_up(chosen_families: Sequence[KernelFamily]) -> Iterator[WarmedUp]:
    """Compile what is not compiled yet, family by family, as far as kernels can be kept."""
    is_kept = can_keep()
    for family in chosen_families:
        if not is_kept:
            yield WarmedUp(family.name, 0.0, family.is_compiled())
            continue
        begun, before = time.monotonic(), activity.compiled
        family.run()
        yield WarmedUp(family.name, time.monotonic() - begun, activity.compiled == before)


def kept_in() -> str | None:
    """The folder of compiled kernels; None where they cannot be kept."""
    folder = cache_folder()
    return None if folder is None or activity.unwritable else str(folder)


def _tiny(name: str, **changes: str) -> "Problem":
    """A problem of three operators: two read the same weight, and fast memory holds half of all."""
    from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
    from ullage.hwmodels.catalog.registry import load_target

    target = load_target(name, changes)
    fastest = replace(target.fastest, capacity_bytes=32 * 1024)
    target = replace(target, tiers=(fastest, *target.tiers[1:]))
    size = 12 * 1024
    tensors = [
        Tensor("x", size, "input"),
        Tensor("w", size, "weight"),
        Tensor("a", size),
        Tensor("b", size),
        Tensor("y", size, "output"),
    ]
    operators = [
        Op("first", ("x", "w"), ("a",), macs=size),
        Op("second", ("a", "x"), ("b",), macs=size),
        Op("third", ("b", "w"), ("y",), macs=size),
    ]
    return problem_from_lists("tiny", tensors, operators, target)


def _decode_kernels() -> tuple[Any, ...]:
    from ullage.rl_agent.policy.decode import play_by_score
    from ullage.rl_agent.policy.prices import fill_prices

    return play_by_score, fill_prices


def _run_decode() -> None:
    from ullage.solvers.run import run_solver

    run_solver("rl", _tiny("edge-npu"), parameters={"simulations": 2})


def _game_kernels() -> tuple[Any, ...]:
    from ullage.rl_agent.env.turns import play_turns

    return (play_turns,)


def _run_game() -> None:
    from ullage.rl_agent.env.game_instance import game_instance_of
    from ullage.rl_agent.env.observe import OBSERVATION_SIZE
    from ullage.rl_agent.env.rules import ACTIONS
    from ullage.rl_agent.env.state import copy_of, start_of
    from ullage.rl_agent.env.turns import begin, observe, step_and_see

    instance = game_instance_of(_tiny("edge-npu"))
    start = start_of(instance)
    state = copy_of(start)
    mask, vision = np.zeros(ACTIONS, dtype=np.bool_), np.zeros(OBSERVATION_SIZE, dtype=np.float32)
    begin(state, start, mask)
    observe(state, mask, vision)
    step_and_see(state, start, int(mask.argmax()), mask, vision)


def _heuristic_kernels() -> tuple[Any, ...]:
    from ullage.solvers.engine.joining import try_candidates
    from ullage.solvers.heuristics.msa_search import advance

    return try_candidates, advance


def _run_heuristics() -> None:
    from ullage.solvers.budget import Budget
    from ullage.solvers.heuristics.msa import MsaOptions, assign
    from ullage.solvers.state.greedy_moves import keep_what_pays
    from ullage.solvers.state.residency_state import ResidencyState
    from ullage.solvers.state.segments import segments_of

    problem = _tiny("edge-npu")
    keep_what_pays(ResidencyState(problem, segments_of(problem)), 64, Budget(), compiles=True)
    assign(problem, MsaOptions(), Budget(), compiles=True)


def _annealing_kernels() -> tuple[Any, ...]:
    from ullage.solvers.annealing.anneal import work_on

    return (work_on,)


def _run_annealing() -> None:
    from ullage.solvers.annealing.search import improve
    from ullage.solvers.budget import Budget
    from ullage.solvers.state.place import place_residencies
    from ullage.solvers.state.residency_state import ResidencyState
    from ullage.solvers.state.segments import segments_of

    problem = _tiny("edge-npu", split_operands="false")
    start = ResidencyState(problem, segments_of(problem))
    place_residencies(start)
    improve(start, Budget())


def _fetch_kernels() -> tuple[Any, ...]:
    from ullage.solvers.engine.fetch_search import work_on

    return (work_on,)


def _run_fetches() -> None:
    from ullage.solvers.budget import Budget
    from ullage.solvers.state.place import place_residencies
    from ullage.solvers.state.prefetch import prefetched
    from ullage.solvers.state.residency_state import ResidencyState
    from ullage.solvers.state.segments import segments_of

    problem = _tiny("edge-npu-spm", split_operands="false")
    problem = problem.on(problem.target.with_fast_memory(64 * 1024))  # its operators fit
    start = ResidencyState(problem, segments_of(problem))
    place_residencies(start)
    prefetched(start, Budget(), searches=True)


def _path_kernels() -> tuple[Any, ...]:
    from ullage.solvers.paths.path_search import sweep, trace

    return sweep, trace


def _run_paths() -> None:
    from ullage.solvers.paths.paths import Finder
    from ullage.solvers.paths.setting import tiered_problem
    from ullage.solvers.paths.slices import streaming_prices

    tiered = tiered_problem(_tiny("phone-npu-flash"))
    finder = Finder(tiered.network)  # compiled, however small the problem is
    for live_range in tiered.live_ranges:
        if live_range is not None:
            finder.cheapest(live_range, streaming_prices(tiered.network), exact=True)


def _packing_kernels() -> tuple[Any, ...]:
    from ullage.solvers.packing.first_fit import _ordered, _sweep
    from ullage.solvers.packing.row_search import try_orders

    return _sweep, _ordered, try_orders


def _run_packing() -> None:
    from ullage.solvers.packing.first_fit import ordered_first_fit, sweep_fit
    from ullage.solvers.packing.row_search import try_orders

    starts, ends, sizes = np.array([0, 0, 1]), np.array([1, 2, 2]), np.array([1, 2, 3])
    sweep_fit(starts, ends, sizes, best_fit=True)
    ordered_first_fit(starts, ends, sizes, np.arange(3))
    one = np.ones(1, dtype=np.int64)
    strip = np.array([0 * one, one, 0 * one, 2 * one, 0 * one, -one, one])
    order, lacking = np.zeros((2, 1), dtype=np.int64), 2 * np.ones((2, 1), dtype=np.int64)
    taken, holes = np.zeros((4, 16), dtype=np.int64), np.zeros((2, 17), dtype=np.int64)
    try_orders(strip, order, lacking, taken, holes, np.array([1, 2, 0, 0, 1, 1]), 1)


def _order_kernels() -> tuple[Any, ...]:
    from ullage.solvers.scheduling.joint_surrogate import _close, _elapsed

    return _close, _elapsed


def _run_orders() -> None:
    from ullage.solvers.scheduling.joint_surrogate import OrderSurrogate

    one, two = np.ones(1), np.ones(2)
    flag = np.ones(1, dtype=np.bool_)
    OrderSurrogate(
        1, two, two, two, np.array([0, 2]), np.arange(2), one, one, one, flag, flag
    ).value([0, 1])


def _recompute_kernels() -> tuple[Any, ...]:
    from ullage.solvers.scheduling.recompute.annealing import anneal
    from ullage.solvers.scheduling.recompute.kernels import seconds

    return seconds, anneal


def _run_recompute() -> None:
    from ullage.solvers.scheduling.recompute.annealing import DRAWS, anneal
    from ullage.solvers.scheduling.recompute.copies import RecomputeFacts, Result
    from ullage.solvers.scheduling.recompute.surrogate import RecomputeSurrogate

    one, number = np.ones(1), ((0,),)
    result = Result("a", 1, 0, (0,), is_output=True)
    facts = RecomputeFacts(_tiny_graph(), (0,), (result,), ((),), number, ((),))
    surrogate = RecomputeSurrogate(facts, 1, one, one, 1.0, 1.0, one, one, number)
    gone = np.zeros(2, dtype=np.uint8)
    surrogate.value(gone)
    row = np.zeros(1, dtype=np.int64)
    state = row, gone, row.copy(), gone.copy(), np.ones(2)
    anneal(state, row, surrogate.arguments, 1, np.zeros((1, DRAWS)), one)


def _schedule_kernels() -> tuple[Any, ...]:
    from ullage.rl_agent.schedule.rules import begin_game, decode, forbid, play

    return begin_game, play, forbid, decode


def _run_schedule() -> None:
    from ullage.rl_agent.schedule.rules import begin_game, decode, forbid, play, state_of
    from ullage.rl_agent.schedule.tables import ACTIONS, WHOLE, GroupArrays
    from ullage.solvers.scheduling.cascade.estimate import LONGEST

    one, row = np.ones(1), np.zeros(1, dtype=np.int64)
    begin, row_of = np.array([0, 0, 1]), np.zeros((2, LONGEST + 1, ACTIONS), dtype=np.int64)
    arrays = GroupArrays(
        begin, row, row, row_of, one, one, one, one, one, one, one, one, np.zeros(2), np.ones(4)
    )
    state = state_of(arrays)
    begin_game(arrays, state)
    forbid(arrays, state, 0)
    play(arrays, state, WHOLE)
    decode(arrays, one.copy(), row.copy(), row.copy())


def _tiny_graph() -> "Graph":
    from ullage.compiler.ir.graph import Graph

    return Graph("tiny", {}, (), (), ())


FAMILIES = (
    KernelFamily("decode", "solvers rl, evolution, noisy-greedy", _decode_kernels, _run_decode),
    KernelFamily("game", "solver muzero, ullage/MallocGame-v0", _game_kernels, _run_game),
    KernelFamily(
        "heuristics",
        "solvers greedy and msa, and repairs of fluid, on large programs",
        _heuristic_kernels,
        _run_heuristics,
    ),
    KernelFamily("annealing", "solver fluid on whole tensors", _annealing_kernels, _run_annealing),
    KernelFamily(
        "fetches",
        "whole tensors that operators reach in the fastest tier only, all solvers",
        _fetch_kernels,
        _run_fetches,
    ),
    KernelFamily("paths", "solver fluid on three and more tiers", _path_kernels, _run_paths),
    KernelFamily(
        "packing",
        "addresses of very many buffers, and of slices between rows",
        _packing_kernels,
        _run_packing,
    ),
    KernelFamily("orders", "order joint", _order_kernels, _run_orders),
    KernelFamily("recompute", "recompute auto", _recompute_kernels, _run_recompute),
    KernelFamily("schedule", "ullage/ScheduleGame-v0", _schedule_kernels, _run_schedule),
)
