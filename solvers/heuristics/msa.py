"""`msa`: XLA's memory-space assignment, re-stated.

The production allocator that the paper on mallocMuZero (arXiv 2305.07440, section 2.3) is measured
against. Tensors are taken in the order of their memory-boundedness: the time that their uses lose
in slow memory, over the square root of the room (bytes x steps) they take. For each use of a
tensor, in program order, the first choice that works is final:

- no copy: the tensor is in fast memory since its definition or previous use and is kept, at the
  same address where possible (pinned, when that holds for all uses);
- prefetch: it is copied in before the use. The copy must fit between computation: the steps it
  overlaps take at least `min_overlap_ratio` times as long as the copy, at most `max_overlap_ratio`
  times as long as a copy of all fast memory, near `preferred_overlap_ratio` copies first, with idle
  link time for every byte;
- otherwise the operator uses slow memory. Where a tensor leaves fast memory and is needed later, it
  is evicted: copied out after its definition.

Offsets are best fit at the time of the decision; when no hole is left but bytes are, everything is
repacked (`max_repacks` times). There is no backtracking; a second sweep offers what is left over
to the uses that are still served by slow memory.
"""

from dataclasses import dataclass

import numpy as np

from ullage.compiler.common.arrays import Ints
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.cost import overhead_seconds
from ullage.solvers.budget import Budget
from ullage.solvers.engine.tables import (
    ACCESS_FAST_S,
    ACCESS_HOME_S,
    ACCESS_LINEAR,
    ACCESS_SEGMENT,
    ACCESS_STEP,
    ACCESSES,
    COUNTS,
    EXPOSED,
    REACH,
    RESOURCE,
    RESOURCES,
    SEGMENT_BYTES,
    SEGMENT_HOME,
    SEGMENT_LAST,
    SIZES,
    STEP_BUSY,
    STEP_COMPUTE_S,
    STEPS,
    TIERS,
    UNIT,
    WEIGHTS,
    WORK,
    Tables,
)
from ullage.solvers.heuristics.msa_addresses import Addresses
from ullage.solvers.heuristics.msa_search import (
    ACCESS,
    AT,
    BEGIN,
    CURSOR_SIZE,
    FINISHED,
    MSA_ROWS,
    NEEDS_ADDRESS,
    OVERHEAD,
    PAUSED,
    SKIPPED,
    STAGE,
    TAKEN,
    Rules,
    advance,
)
from ullage.solvers.interface import Solution, Solver
from ullage.solvers.parameters import parameter
from ullage.solvers.paths.greedy import by_bytes_per_use, by_first_use, solution_of_pieces
from ullage.solvers.state.build_plan import assemble
from ullage.solvers.state.decisions import decisions_of, read_decisions, read_resident_addresses
from ullage.solvers.state.engine_tables import Needs
from ullage.solvers.state.kernels import choose_kernel
from ullage.solvers.state.place import place_residencies
from ullage.solvers.state.prefetch import prefetched
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import segments_of


@dataclass(frozen=True)
class MsaOptions:
    """Parameters of `msa`; the overlap ratios are XLA's."""

    min_overlap_ratio: float = parameter(
        1.0, "least computing time beside a prefetch, in times of its own duration", least=0
    )
    preferred_overlap_ratio: float = parameter(
        1.5, "computing time beside a prefetch that is tried first", least=1e-9
    )
    max_overlap_ratio: float = parameter(
        10.0,
        "most computing time beside a prefetch, in times of a copy of all fast memory: earlier it "
        "would take space for nothing",
        least=0,
    )
    max_outstanding_prefetches: int = parameter(
        0, "copies into fast memory that may be under way at once; 0: any number", least=0
    )
    min_hidden_fraction: float = parameter(
        1.0, "share of a prefetch's bytes that must find idle time of the link", least=0, most=1
    )
    sweeps: int = parameter(2, "passes over all tensors", least=1)
    max_prefetch_starts: int = parameter(32, "starts that are tried for each prefetch", least=1)
    max_run_ends: int = parameter(64, "lengths of a residency that are tried at each use", least=1)
    max_repacks: int = parameter(
        10, "times that all addresses are chosen anew where one finds no hole", least=0
    )
    spill_window_steps: int = parameter(
        64, "steps after a use in which its write-back may end", least=1
    )


def solve(problem: Problem, options: MsaOptions, budget: Budget) -> Solution:
    """Plan by memory-space assignment; see the module's description.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
    """
    return solution_of_pieces(
        problem,
        (by_bytes_per_use, by_first_use),
        budget,
        lambda: whole_plan(problem, options, budget),
    )


def whole_plan(problem: Problem, options: MsaOptions, budget: Budget) -> Solution:
    """The plan in which segments stay whole, also where the target cuts operands.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
        UsageError: operands cross several links.
    """
    state, notes = assign(problem, options, budget)
    state = prefetched(state, budget)
    return Solution(
        assemble(
            problem, state.segments, [residency for _, _, residency in state.all_residencies()]
        ),
        stop_reason="time limit" if budget.is_over() else "finished",
        notes=tuple(notes),
    )


def assign(
    problem: Problem, options: MsaOptions, budget: Budget, *, compiles: bool | None = None
) -> tuple[ResidencyState, list[str]]:
    """The residencies of memory-space assignment, with addresses, and notes on limits met.

    Args:
        problem: the problem.
        options: the parameters.
        budget: the time; when it is over, what is decided is legal as it stands.
        compiles: whether kernels are compiled; None: where the program is large, and there is time.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
    """
    state = ResidencyState(problem, segments_of(problem))
    place_residencies(state)  # what operators cannot do without has its place first
    t = decisions_of(state, Needs(1, second_rows=MSA_ROWS, window=options.spill_window_steps))
    t.ints[SIZES, REACH] = state.steps
    t.seconds[RESOURCE + t.ints[SIZES, RESOURCES] + OVERHEAD, : state.steps] = overhead_seconds(
        problem
    )
    queue = _by_memory_boundedness(t)
    cursor = np.zeros(CURSOR_SIZE, dtype=np.int64)
    chosen = choose_kernel(advance, int(t.ints[SIZES, ACCESSES]), budget, compiles)
    addresses = Addresses(state, t, options.max_repacks)
    rules = Rules(
        options.min_overlap_ratio,
        options.preferred_overlap_ratio,
        options.max_overlap_ratio,
        options.min_hidden_fraction,
        options.max_prefetch_starts,
        options.max_run_ends,
        float(problem.target.fastest.capacity_bytes),
        options.max_outstanding_prefetches,
    )
    for _ in range(options.sweeps):
        taken = int(cursor[TAKEN])
        cursor[[AT, ACCESS, STAGE]] = 0, -1, BEGIN
        outcome, has_address = PAUSED, False
        while outcome != FINISHED and not budget.is_over():
            until = int(t.state[COUNTS, WORK]) + chosen.slice_work
            outcome = chosen.call(t, queue, cursor, rules, until, has_address)
            has_address = outcome == NEEDS_ADDRESS and addresses.place(cursor)
        if outcome == NEEDS_ADDRESS:
            chosen.call(t, queue, cursor, rules, 0, has_address)
        if cursor[TAKEN] == taken:
            break
    read_decisions(state, t)
    read_resident_addresses(state, t)
    notes: list[str] = []
    if budget.is_over():
        notes.append("msa: the time limit ended the assignment early")
    if cursor[SKIPPED]:
        notes.append(
            f"msa: of buffers with more than {options.max_run_ends} further uses only some "
            "lengths of residencies were tried (parameter max_run_ends)"
        )
    return state, notes


def _by_memory_boundedness(t: Tables) -> Ints:
    """Segments, those first whose uses lose most time to slow memory for the room they take.

    XLA divides the benefit by the square root of the size; here lifetime counts like size (2 %
    better in the geometric mean over eight models and four capacities).
    """
    accesses, steps = int(t.ints[SIZES, ACCESSES]), int(t.ints[SIZES, STEPS])
    firsts = np.flatnonzero(np.diff(t.ints[ACCESS_SEGMENT, :accesses], prepend=-1))
    if not accesses:
        return firsts
    step, owner = t.ints[ACCESS_STEP, :accesses], t.ints[ACCESS_SEGMENT, :accesses]
    home = t.ints[SEGMENT_HOME, owner]
    unit = int(t.ints[SIZES, UNIT])
    behind = unit if unit >= 0 else RESOURCE + int(t.ints[SIZES, RESOURCES])
    resources = t.seconds[RESOURCE:behind, :steps]
    rest = np.empty(accesses)  # roofline of the step without the use
    for tier in range(int(t.ints[SIZES, TIERS])):
        others = np.maximum(
            np.delete(resources, tier, axis=0).max(axis=0, initial=0.0),
            t.floats[STEP_COMPUTE_S, :steps],
        )
        own = home == tier
        without = resources[tier, step[own]] - t.floats[ACCESS_HOME_S, :accesses][own]
        rest[own] = np.maximum(others[step[own]], without)
    unit = int(t.ints[SIZES, UNIT])
    if unit >= 0:  # what an access in the fastest tier would leave of it
        saved_s = t.floats[ACCESS_HOME_S, :accesses] - t.floats[ACCESS_FAST_S, :accesses]
        left = t.seconds[unit, step] - t.floats[WEIGHTS, EXPOSED] * saved_s
        rest = np.maximum(rest, left)
    lost = np.add.reduceat(np.maximum(t.seconds[STEP_BUSY, step] - rest, 0.0), firsts)
    moved = np.add.reduceat(np.abs(t.floats[ACCESS_LINEAR, :accesses]), firsts)
    lasts = t.ints[SEGMENT_LAST, : len(firsts)]
    weight = np.sqrt(t.ints[SEGMENT_BYTES, : len(firsts)] * (step[lasts] - step[firsts] + 1))
    return np.lexsort((np.arange(len(firsts)), -moved / weight, -lost / weight)).astype(np.int64)


SOLVER = Solver(
    "msa", "XLA's memory-space assignment re-stated: the production baseline", solve, MsaOptions
)
