"""`no-spill`: everything but weights is in fast memory for its whole live range.

This answers the objective `peak`: the smallest fast memory with which nothing has to leave. The
capacity of the target is raised to what is needed, which `solvers/run.py` makes the plan say.
Weights are read where they are; under a limit of the latency `fluid.smallest` fetches them ahead.
"""

from dataclasses import dataclass, replace

import numpy as np

from ullage.compiler.ir.problem import Problem
from ullage.solvers.budget import Budget
from ullage.solvers.engine.joining import keep_whole
from ullage.solvers.fluid.smallest import smallest_within
from ullage.solvers.interface import Solution, Solver
from ullage.solvers.packing.pack import pack
from ullage.solvers.parameters import parameter
from ullage.solvers.state.build_plan import assemble
from ullage.solvers.state.decisions import decisions_of, read_decisions
from ullage.solvers.state.engine_tables import Needs, movable
from ullage.solvers.state.kernels import choose_kernel
from ullage.solvers.state.required import require_link
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import segments_of


@dataclass(frozen=True)
class NoSpillOptions:
    """Parameters of `no-spill`."""

    pack_time_limit_s: float = parameter(
        2.0, "seconds of the search for a packing that is proven the smallest", least=0
    )
    seed: int = parameter(0, "turns the list of packing orders")


def solve(problem: Problem, options: NoSpillOptions, budget: Budget) -> Solution:
    """The lowest plan without spills; its target has the capacity that it needs.

    Raises:
        InfeasibleError: no plan found keeps the limit of the latency.
        TimeLimitError: there was no time for one that keeps it.
    """
    if problem.latency_limit_s is not None:
        return smallest_within(problem, problem.latency_limit_s, budget)
    target = problem.target
    fastest = target.fastest
    segments = segments_of(problem)
    state = ResidencyState(problem.on(target.with_fast_memory(2**62)), segments)
    kept = [
        index for index in movable(state) if not problem.buffers[segments[index].buffer].constant
    ]
    for index in kept:
        for first in list(state.residencies[index]):
            state.remove(index, first)
    _keep(state, kept)
    listed = state.all_residencies()
    limit = min(options.pack_time_limit_s, max(0.1, budget.remaining_s()))
    packing = pack(
        np.array([s.start for _, _, s in listed], dtype=np.int64),
        np.array([s.end for _, _, s in listed], dtype=np.int64),
        np.array([segments[s.segment].size_bytes for _, _, s in listed], dtype=np.int64),
        alignment_bytes=fastest.alignment_bytes,
        time_limit_s=limit,
        proof=True,
        seed=options.seed,
    )
    residencies = [
        replace(residency, offset=int(offset))
        for (_, _, residency), offset in zip(listed, packing.offsets, strict=True)
    ]
    workspace = max((s.workspace_bytes for s in problem.steps), default=0)
    needed = packing.peak_bytes + workspace
    capacity = max(needed, fastest.capacity_bytes)
    return Solution(assemble(problem.on(target.with_fast_memory(capacity)), segments, residencies))


def _keep(state: ResidencyState, kept: list[int]) -> None:
    """Give segments one residency each, fetched just before the first access.

    Live bytes of the state are not brought up to date: they limit nothing.

    Args:
        state: no residencies of these segments; there is room for everything. It is changed.
        kept: indices of the segments.
    """
    fastest = state.target.fastest.name
    for index in kept:
        segment = state.segments[index]
        if segment.accesses[0].reads:
            require_link(state.problem, segment, segment.home, fastest)
        if state.needs_spill(index, 0, len(segment.accesses) - 1):
            require_link(state.problem, segment, fastest, segment.home)
    t = decisions_of(state, Needs(slots=1, window=1))
    numbers = np.flatnonzero(np.isin(movable(state), kept))
    choose_kernel(keep_whole, 0, Budget(), compiles=False).call(t, numbers)
    read_decisions(state, t)


SOLVER = Solver(
    "no-spill",
    "activations never leave fast memory: answers objective `peak`",
    solve,
    NoSpillOptions,
    ("peak",),
    keeps_limit=True,
)
