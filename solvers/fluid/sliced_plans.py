"""Plans of the LP's fractions: slices in pages or rows, or in one piece each.

`solver` describes the steps.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np

from ullage.compiler.common.arrays import Ints
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.cost import value_of
from ullage.solvers.annealing.search import whole_residencies
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.options import FluidOptions
from ullage.solvers.fluid.slices.joining import join_slices
from ullage.solvers.fluid.slices.placement import place_in_pages, place_in_rows
from ullage.solvers.fluid.slices.rounding import REPAIR_WINDOW_STEPS, round_requests
from ullage.solvers.fluid.slices.shared import place_in_shared_pages
from ullage.solvers.fluid.slices.sliced_state import SlicedResidencyState
from ullage.solvers.fluid.slices.slicing import cut_slices
from ullage.solvers.fluid.slices.timing import time_fills
from ullage.solvers.fluid.two_tier.program import SliceRequest
from ullage.solvers.fluid.two_tier.relaxation import Relaxation, relax
from ullage.solvers.interface import Solution
from ullage.solvers.packing.pages import page_size
from ullage.solvers.state.build_plan import assemble
from ullage.solvers.state.greedy_moves import keep_what_pays, retime
from ullage.solvers.state.segments import Segment

# A plan in steady state further above its bound than this is held against whole segments: where
# set-ups are dear, few large transfers may be better than what bytes alone ask for.
FAR = 0.05
# A plan no further above its bound than this is not held against another way to round.
NEAR = 2e-4
# One in pages that is further above it is held against one of a program that knows what pages take,
PAGES_GAP = 3e-3
# ... which opens windows so many times at most.
PAGES_ROUNDS = 3


@dataclass(frozen=True)
class Direct:
    """The program of data that moves between home and the fastest tier only, solved.

    Attributes:
        problem: the problem.
        segments: the segments of the problem.
        reference: the assignment that keeps everything at home.
        relaxation: None where the LP was not solved.
    """

    problem: Problem
    segments: tuple[Segment, ...]
    reference: Assignment
    relaxation: Relaxation | None


# Slices between rows, whose plan is further above its bound than this, or that have no addresses
# at all, are cut again from programs that leave such shares of the memory free.
ROWS_GAP = 1e-3
SPARES = (1 / 128, 1 / 32)
# Aligned cuts further apart than the memory divided by this are coarse.
COARSE_CUTS = 128


class _Planner(Protocol):
    """A way to make a plan of the LP's fractions."""

    def __call__(
        self,
        direct: Direct,
        relaxation: Relaxation,
        options: FluidOptions,
        budget: Budget,
        *,
        cut: bool,
    ) -> Solution: ...


def rounded_plan(
    direct: Direct,
    relaxation: Relaxation,
    options: FluidOptions,
    budget: Budget,
    enough: float | None = None,
) -> Solution:
    """The LP's fractions as a plan of slices, else of whole segments, else everything at home.

    Pages round slices up, so that what operators cannot do without may not fit in slices where it
    does whole. The plan that keeps everything at home is known to be legal.

    Args:
        direct: the problem.
        relaxation: its LP, solved.
        options: parameters of `fluid`.
        budget: the time.
        enough: a value from which on no other way of rounding is tried; None: none but the bound.
    """
    target = direct.problem.target
    plans: list[_Planner] = []
    if target.split_operands:
        plans.append(_plan_in_parts)
    if not (target.split_operands and target.slice_granularity_bytes):
        plans.append(_plan_in_one_piece)
    best: Solution | None = None
    for cut, plan in (*((True, plan) for plan in plans), (False, _plan_in_one_piece)):
        if best is not None and not cut and not _pays_to_stay_whole(direct, relaxation, best):
            break
        try:
            found = plan(direct, relaxation, options, budget, cut=cut)
        except (LookupError, InfeasibleError):  # what operators cannot do without has no place
            continue
        best = min((s for s in (best, found) if s), key=lambda s: value_of(s.assignment))
        bound, value = relaxation.bound, value_of(best.assignment)
        if bound is not None and value <= bound * (1 + NEAR):
            break
        if enough is not None and value <= enough:
            break
    if best is not None:
        return best
    note = "fluid: slices found no addresses: the plan that it begins with stays"
    return Solution(direct.reference, notes=(note,))


def _pays_to_stay_whole(direct: Direct, relaxation: Relaxation, plan: Solution) -> bool:
    """Whether whole segments may be better than slices although these have a place."""
    if not direct.problem.steady_state or relaxation.bound is None:
        return False
    return value_of(plan.assignment) > relaxation.bound * (1 + FAR)


def _plan_in_parts(
    direct: Direct, relaxation: Relaxation, options: FluidOptions, budget: Budget, *, cut: bool
) -> Solution:
    """The LP's fractions as slices that may lie in several places each: in pages, or in rows.

    Where whole pages take much more than slices have, less fits than the LP says, and what is
    left out is chosen blindly. The LP is then solved again with the room that pages leave.

    Raises:
        InfeasibleError: what operators cannot do without does not fit in slices.
        LookupError: it finds no addresses.
    """
    target = direct.problem.target
    grain, unit, page = target.slice_granularity_bytes, target.fastest.alignment_bytes, 0
    if grain > 0:
        page = page_size(
            target.fastest.capacity_bytes, grain, unit, direct.problem.program.data_bytes
        )
    place = partial(_placed_in_parts, direct, budget=budget, page_bytes=page, cut=cut)
    if not page:
        return _plan_in_rows(direct, relaxation, options, budget, place)
    solution, lost_bytes = place(relaxation)
    value, bound = value_of(solution.assignment), relaxation.bound
    is_near = bound is None or value <= bound * (1 + PAGES_GAP) or budget.is_over()
    if is_near or not lost_bytes.any() or direct.problem.program.operators > options.whole_steps:
        return solution
    if unit < page == math.lcm(grain, unit):  # ends of slices may share pages
        with suppress(LookupError, InfeasibleError):
            other, lost_bytes = place(relaxation, shared=True)
            place = partial(place, shared=True)
            solution = min((solution, other), key=lambda s: value_of(s.assignment))
            value = value_of(solution.assignment)
        if bound is not None and value <= bound * (1 + PAGES_GAP):
            return solution
    narrower = _with_less_room(direct, relaxation, lost_bytes, value, options, budget)
    if narrower is None:
        return solution
    try:
        other, _ = place(narrower)
    except (LookupError, InfeasibleError):  # the first plan stands
        return solution
    return min((solution, other), key=lambda s: value_of(s.assignment))


def _plan_in_rows(
    direct: Direct,
    relaxation: Relaxation,
    options: FluidOptions,
    budget: Budget,
    place: Callable[[Relaxation], tuple[Solution, Ints]],
) -> Solution:
    """The LP's fractions as slices between rows, or those of an LP with a little less memory.

    Slices of all lengths that fill memory to the last byte often leave no order in which all have
    addresses, and what is shortened then is chosen blindly.

    Raises:
        InfeasibleError: what operators cannot do without does not fit in slices.
        LookupError: it finds no addresses.
    """
    best: Solution | None = None
    with suppress(LookupError):
        best = place(relaxation)[0]
    steps, capacity = len(direct.problem.steps), direct.problem.target.fastest.capacity_bytes
    for share in SPARES:
        value = value_of(direct.reference if best is None else best.assignment)
        bound = relaxation.bound
        if best is not None and (bound is None or value <= bound * (1 + ROWS_GAP)):
            break
        spare = np.full(steps, int(share * capacity), dtype=np.int64)
        roomier = _with_less_room(direct, relaxation, spare, value, options, budget)
        if roomier is None or (roomier.bound is not None and roomier.bound >= value):
            break
        with suppress(LookupError, InfeasibleError):
            found = place(roomier)[0]
            if best is None or value_of(found.assignment) < value:
                best = found
    if best is None:
        raise LookupError("rows")
    return best


def _with_less_room(
    direct: Direct,
    relaxation: Relaxation,
    lost_bytes: Ints,
    value: float,
    options: FluidOptions,
    budget: Budget,
) -> Relaxation | None:
    """The LP with some bytes less in each step; None where it has no solution, or no time is left.

    Args:
        direct: the problem.
        relaxation: the LP with all room, solved.
        lost_bytes: (T,) bytes.
        value: of a plan, in the objective's unit.
        options: parameters of `fluid`.
        budget: the time.
    """
    program = direct.problem.program
    steps = tuple(
        replace(step, workspace_bytes=step.workspace_bytes + lost)
        for step, lost in zip(program.steps, lost_bytes.tolist(), strict=True)
    )
    problem = replace(direct.problem, program=replace(program, steps=steps))
    few = replace(options, max_rounds=min(PAGES_ROUNDS, options.max_rounds))
    return relax(
        problem, direct.segments, value, few, budget, may_be_infeasible=True, similar=relaxation
    )


def _placed_in_parts(
    direct: Direct,
    relaxation: Relaxation,
    budget: Budget,
    *,
    page_bytes: int,
    cut: bool,
    shared: bool = False,
) -> tuple[Solution, Ints]:
    """A plan in parts, and (T,) the bytes that pages take beyond the slices in them.

    Args:
        direct: the problem.
        relaxation: its LP, solved.
        budget: the time.
        page_bytes: size of a page, 0 where memory has none.
        cut: segments are cut into slices, where the target cuts operands.
        shared: ends of slices that fill no page share some.

    Raises:
        InfeasibleError: what operators cannot do without does not fit in slices.
        LookupError: it finds no addresses.
    """
    own = 0 if shared else page_bytes
    sliced = _decided(direct, relaxation, budget, page_bytes=own, cut=cut, in_parts=True)
    retime(sliced, REPAIR_WINDOW_STEPS, budget)
    time_fills(sliced, budget)
    lost_bytes = np.zeros(len(direct.problem.steps), dtype=np.int64)
    if shared:
        in_parts, lost_bytes = place_in_shared_pages(sliced, page_bytes, budget)
    else:
        in_parts = place_in_pages(sliced, budget) if page_bytes else place_in_rows(sliced, budget)
    residencies = []
    for _, _, residency in sliced.all_residencies():
        segment = sliced.segments[residency.segment]
        lost = sliced.aligned_bytes(segment) - segment.size_bytes
        lost_bytes[residency.start : residency.end] += lost
        residencies.append(replace(residency, offset=0))
    assignment = assemble(direct.problem, sliced.segments, residencies)
    fastest = direct.problem.target.fastest.name
    elsewhere = [r for r in assignment.residencies if r.tier != fastest]
    ordered = sorted(elsewhere + in_parts, key=lambda r: (r.buffer, r.start_byte, r.start))
    return Solution(replace(assignment, residencies=tuple(ordered))), lost_bytes


def _plan_in_one_piece(
    direct: Direct, relaxation: Relaxation, options: FluidOptions, budget: Budget, *, cut: bool
) -> Solution:
    """The LP's fractions as slices (or segments) in one piece each, improved by annealing.

    Raises:
        InfeasibleError: what operators cannot do without does not fit, or finds no addresses.
    """
    sliced = _decided(direct, relaxation, budget, page_bytes=0, cut=cut, in_parts=False)
    placed, notes = whole_residencies(sliced, budget, options.search_work, options.seed)
    residencies = [residency for _, _, residency in placed.all_residencies()]
    return Solution(assemble(direct.problem, placed.segments, residencies), notes=notes)


def _decided(
    direct: Direct,
    relaxation: Relaxation,
    budget: Budget,
    *,
    page_bytes: int,
    cut: bool,
    in_parts: bool,
) -> SlicedResidencyState:
    """The LP's fractions as slices, accepted and repaired; without addresses.

    Args:
        direct: the problem.
        relaxation: its LP, solved.
        budget: the time.
        page_bytes: size of a page, 0 where memory has none.
        cut: segments are cut into slices, where the target cuts operands.
        in_parts: slices may lie in several places each, so that they may be divided further, and
            kept from one inference to the next for a part of it.

    Raises:
        InfeasibleError: what operators cannot do without does not fit in slices.
    """
    problem, segments, axis = direct.problem, direct.segments, relaxation.axis

    # Where operators can use home instead, a slice in one piece that does not fit stays there.
    divides = in_parts or problem.target.dma_steps.between > 0

    def grains_of(items: Sequence[Segment]) -> list[int]:
        if page_bytes or not cut:
            return [page_bytes] * len(items)
        return [_grain(problem, item, aligned=divides) for item in items]

    slices, requests = cut_slices(
        relaxation.fluid,
        relaxation.solution,
        axis.segments,
        grains_of(segments),
        relaxation.moved,
    )
    slices = tuple(axis.long_segment(item) for item in slices)
    requests = [axis.long_request(request) for request in requests]
    if not in_parts:
        requests = [
            r for r in requests if not (r.is_loop_carried or r.is_left) or _is_pinned(slices, r)
        ]
    grains = grains_of(slices) if divides else [0] * len(slices)
    sliced = SlicedResidencyState(problem, slices, page_bytes, grains)
    round_requests(sliced, requests, budget)
    join_slices(sliced, budget)
    keep_what_pays(sliced, REPAIR_WINDOW_STEPS, budget)
    return sliced


def _is_pinned(slices: Sequence[Segment], request: SliceRequest) -> bool:
    """Whether a request keeps a weight at all steps, in every inference."""
    last = len(slices[request.slice].accesses) - 1
    return (
        request.is_loop_carried and request.is_left and (request.first, request.last) == (0, last)
    )


def _grain(problem: Problem, segment: Segment, *, aligned: bool) -> int:
    """Bytes between cuts of a segment; 0 where it is not cut at all.

    Aligned cuts lie at whole units of space, so that the slices of a segment take no more than it.
    Rows of an odd number of bytes reach such a unit after many rows only: there, slices that wait
    may take a part of a unit more, which is less than what so coarse cuts lose.
    """
    target = problem.target
    if not target.split_operands:
        return 0
    cut = target.slice_granularity_bytes or problem.buffers[segment.buffer].row_bytes
    whole = math.lcm(cut, target.fastest.alignment_bytes)
    is_coarse = whole > cut and whole * COARSE_CUTS > target.fastest.capacity_bytes
    if is_coarse and not segment.must_be_fastest:
        return cut
    return whole if aligned else cut
