"""Transfers of operands that must be in the fastest tier, beside computing instead of before it.

Solvers that decide what stays where leave each such operand with the shortest residency that is
legal: fetched in the DMA-only step before its use, stored in the one behind. Here these transfers
are spread over idle steps around, as far as there is room:

1. each where it stands, in the order of uses, with the latest idle steps first;
2. all of them anew, from their shortest form, in the order of uses or from the last use to the
   first, each with the earliest or the latest idle steps first;
3. where a search is asked for, instead: a few of them in another order, time and again
   (`solvers/engine/fetch_search.py`), then the same with addresses;
4. behind a search, the same where something that stays in the memory between two uses leaves it in
   between, so that what comes in that time may come sooner: each such gap alone, those first in
   which most waits for transfers.

In 2 to 4 live bytes count. The packer gives addresses; what sticks out of the memory is fetched
right before its use after all. Some memory is left free for its sake in second and third tries.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.common.kernel_cache import is_compiled
from ullage.compiler.ir.problem import Problem
from ullage.solvers.budget import Budget
from ullage.solvers.engine.fetch_search import SHORTEN, work_on
from ullage.solvers.engine.fetching import EARLY, LATE
from ullage.solvers.state.build_plan import SegmentResidency, with_accesses
from ullage.solvers.state.busy_time import Moves
from ullage.solvers.state.fetches import copy_of, decide, decided, fetches_of
from ullage.solvers.state.greedy_moves import retime
from ullage.solvers.state.kernels import COMPILE_S, choose_kernel
from ullage.solvers.state.place import pack_once, place_residencies
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import Segment

# Steps before a use in which it may be fetched where it stands, and behind it in which it may be
# stored.
WINDOW_STEPS = 192
# How often all transfers are tried: the room that one leaves may be what another waits for.
PASSES = 3
# Orders of uses, from the first (1) or from the last (-1), and the ways of fills that are tried.
ORDERS = ((1, EARLY), (1, LATE), (-1, LATE))
# Most residencies x steps for which kernels are not compiled.
PLAIN_LOOKS = 10_000
# Most residencies with transfers that are placed anew: each takes 2 KiB, several times over.
MOST_PLACED = 20_000
# Temperatures at the beginning of a search, and of one with addresses, as shares of the latency.
HOT, WARM = 2e-3, 1e-4
# How often residencies that stick out of the memory are shortened and all are packed anew.
REPAIRS = 3
# Shares of the memory that are left free, one after the other, while addresses cost more than ...
SLACK_SHARES = (0.0, 0.03, 0.08)
# ... this share of the latency.
NEAR = 1e-3
# Gaps between uses that are opened one after the other, steps of the shortest one, and the share of
# a search's work for each.
MOST_GAPS, LEAST_GAP_STEPS, GAP_SHARE = 32, 8, 0.1


def has_fetches(problem: Problem, segments: Sequence[Segment]) -> bool:
    """Whether latency depends on when operands arrive that must be in the fastest tier."""
    fastest = problem.target.fastest.name
    return problem.objective == "latency" and any(
        segment.must_be_fastest and segment.home != fastest for segment in segments
    )


def prefetched(
    state: ResidencyState, budget: Budget, *, searches: bool = False, seed: int = 0
) -> ResidencyState:
    """The decisions with better times of mandatory transfers, placed; as given where none is.

    Args:
        state: decisions with addresses; unchanged.
        budget: the time.
        searches: search for an order of fetches, if there is time to compile kernels.
        seed: of the search.
    """
    if not has_fetches(state.problem, state.segments):
        return state
    must = _mandatory(state)
    if state.untouched:  # the tables do not know where they lie
        return fetched_near(state, budget)
    if searches and (is_compiled(work_on) or budget.has_time_to_compile(COMPILE_S)):
        best = _best([state, *_searched(state, must, budget, seed)])
        best = best if best is not state else fetched_near(state, budget)
        return _with_open_gaps(best, must, budget, seed)
    best = fetched_near(state, budget)
    return _best([best, *_in_orders(best, must, budget)])


def fetched_near(state: ResidencyState, budget: Budget) -> ResidencyState:
    """The decisions with each mandatory transfer near its use, placed; as given where none pays.

    Args:
        state: decisions with addresses; unchanged.
        budget: the time.
    """
    return _best([state, *_where_they_stand(state, _mandatory(state), budget)])


def _mandatory(state: ResidencyState) -> set[int]:
    """Segments that must be in the fastest tier and live elsewhere, by their index."""
    return {
        index
        for index, segment in enumerate(state.segments)
        if segment.must_be_fastest and segment.home != state.target.fastest.name
    }


def prefetched_residencies(
    problem: Problem,
    segments: Sequence[Segment],
    residencies: Sequence[SegmentResidency],
    budget: Budget,
    *,
    searches: bool = False,
    seed: int = 0,
) -> list[SegmentResidency]:
    """`prefetched` for residencies with addresses, of all segments."""
    state = ResidencyState(problem, segments)
    state.replace_all(with_accesses(segments, residencies))
    better = prefetched(state, budget, searches=searches, seed=seed)
    if better is state:
        return list(residencies)
    return [residency for _, _, residency in better.all_residencies()]


def _best(states: Iterable[ResidencyState]) -> ResidencyState:
    """The best of placed decisions, the first of equals."""
    best, *others = states
    for other in others:
        if other.improved_since(best.mark()):
            best = other
    return best


def _where_they_stand(
    state: ResidencyState, must: Collection[int], budget: Budget
) -> Iterator[ResidencyState]:
    """Each transfer where it stands, placed; again while that helps."""
    best = state
    for _ in range(PASSES):
        if budget.is_over():
            return
        other = copy_of(best)
        retime(other, WINDOW_STEPS, budget, must)
        try:
            place_residencies(other, budget.is_over)
        except InfeasibleError:  # longer residencies lie where others must: these stand
            return
        if not other.improved_since(best.mark()):
            return
        best = other
        yield other


def _in_orders(
    state: ResidencyState, must: Collection[int], budget: Budget
) -> Iterator[ResidencyState]:
    """All transfers anew, in the best of ORDERS, with addresses."""
    for share in SLACK_SHARES:
        if budget.is_over():
            return
        fetches = fetches_of(state, must, searches=False)
        if len(fetches.slots) > MOST_PLACED:
            return
        fetches.leave_addresses(share)
        looks = len(fetches.slots) * state.steps
        compiles = looks > PLAIN_LOOKS and (
            is_compiled(work_on) or budget.has_time_to_compile(COMPILE_S)
        )
        kernel = choose_kernel(work_on, 0, budget, compiles=compiles)
        fetches.place(kernel, SHORTEN, 1, budget)
        begun = decided(fetches.tables)
        best_s, best = math.inf, begun
        for direction, way in ORDERS:
            decide(fetches.tables, begun)
            for _ in range(PASSES):
                before_s = fetches.busy_s
                fetches.place(kernel, way, direction, budget)
                if fetches.busy_s >= before_s or budget.is_over():
                    break
            if fetches.busy_s < best_s:
                best_s, best = fetches.busy_s, decided(fetches.tables)
        decide(fetches.tables, best)
        other = fetches.decided_from(state)
        if not other.improved_since(state.mark()):
            return
        placed = fetches.give_addresses(kernel)
        if placed:
            yield fetches.decided_from(state)
        if placed and fetches.busy_s <= best_s * (1 + NEAR):
            return
        if share == SLACK_SHARES[0] and not pack_once(other):
            yield other
            return


def _searched(
    state: ResidencyState,
    must: Collection[int],
    budget: Budget,
    seed: int,
    *,
    share_of_work: float = 1.0,
    least: tuple[float, float] | None = None,
) -> Iterator[ResidencyState]:
    """What searches by live bytes find, with addresses; then what one with addresses adds.

    Args:
        state: the decisions; unchanged.
        must: segments whose transfers are placed anew.
        budget: the time.
        seed: of the searches.
        share_of_work: of each search, of what it may do.
        least: what has to be improved on, where the decisions have no addresses; None: they have.
    """
    best, before = state, least or state.mark()
    kernel = choose_kernel(work_on, 0, budget, compiles=True)
    for share in SLACK_SHARES:
        if budget.is_over():
            return
        fetches = fetches_of(state, must, searches=True)
        if not 1 < len(fetches.slots) <= MOST_PLACED:
            return
        fetches.leave_addresses(share)
        fetches.place(kernel, SHORTEN, 1, budget)
        fetches.place(kernel, EARLY, 1, budget)
        fetches.search(HOT, budget, seed, share_of_work)
        wanted_s = fetches.busy_s
        other = fetches.decided_from(state)
        if not other.improved_since(before):
            continue
        placed = fetches.give_addresses(kernel)
        if placed and fetches.busy_s <= wanted_s * (1 + NEAR):
            other = fetches.decided_from(state)
        elif not _is_packed(other, must, budget):
            if not placed:
                continue
            other = fetches.decided_from(state)
        if other.improved_since(before):
            best, before = other, other.mark()
            yield best
        if other.busy_time.total_s <= wanted_s * (1 + NEAR):
            break
    if best is state and least is not None:
        return
    fetches = fetches_of(best, must, searches=True)
    fetches.search(WARM, budget, seed, share_of_work)
    yield fetches.decided_from(best)


def _with_open_gaps(
    state: ResidencyState, must: Collection[int], budget: Budget, seed: int
) -> ResidencyState:
    """The decisions, or better ones in which something leaves between two uses and comes again."""
    best = state
    for _ in range(PASSES):
        begun = best
        for index, access in _gaps(best, must)[:MOST_GAPS]:
            if budget.is_over():
                return best
            other = _opened(best, index, access)
            if other is not None:
                found = _searched(
                    other, must, budget, seed, share_of_work=GAP_SHARE, least=best.mark()
                )
                best = _best([best, *found])
        if best is begun:
            break
    return best


def _gaps(state: ResidencyState, must: Collection[int]) -> list[tuple[int, int]]:
    """Segments and the accesses behind gaps through which they stay, the most promising first.

    Most promising are many bytes through steps that wait for transfers; none where little waits.
    What stays for all steps of a steady state is left: it would have to come back to its address.
    """
    waiting_s = np.concatenate([[0.0], (state.busy_time.busy_s - state.busy_time.unit_s).cumsum()])
    if waiting_s[-1] <= NEAR * state.busy_time.total_s:
        return []
    found: list[tuple[float, int, int]] = []
    for first, last, residency in state.all_residencies():
        index = residency.segment
        if state.problem.steady_state and (residency.start, residency.end) == (0, state.steps):
            continue
        segment = state.segments[index]
        steps = [access.step for access in segment.accesses[first : last + 1]]
        for number, (before, behind) in enumerate(pairwise(steps), first + 1):
            inside_s = float(waiting_s[behind] - waiting_s[before + 1])
            if index in must and behind - before >= LEAST_GAP_STEPS and inside_s > 0.0:
                found.append((-inside_s * segment.size_bytes, index, number))
    return [(index, number) for _, index, number in sorted(found)]


def _opened(state: ResidencyState, index: int, access: int) -> ResidencyState | None:
    """The decisions with a segment away before an access; None where it is not kept until then."""
    span, segment = state.span_of(index, access), state.segments[index]
    if span is None or span[0] == access or not segment.accesses[access].reads:
        return None
    first = span[0]
    other = copy_of(state)
    last, residency = other.remove(index, first)
    left, use = segment.accesses[access - 1].step + 1, segment.accesses[access].step
    spill: Moves = ()
    if other.needs_spill(index, first, access - 1):
        if state.target.link(state.target.fastest.name, segment.origin) is None:
            return None
        spill = ((left, segment.size_bytes),)
        left += 1
    if residency.ready > left or left >= use:
        return None
    other.add(index, first, access - 1, replace(residency, end=left, spill=spill))
    fill = ((use - 1, segment.size_bytes),)
    again = replace(residency, start=use - 1, ready=use, fill=fill)
    other.add(index, access, last, again)
    return other


def _is_packed(state: ResidencyState, must: Collection[int], budget: Budget) -> bool:
    """Give decisions addresses; what sticks out of the memory is fetched right before its use."""
    for _ in range(REPAIRS):
        if budget.is_over():
            break
        sticking = pack_once(state)
        if not sticking:
            return True
        shortened = 0
        for first, last, residency in sticking:
            use = state.segments[residency.segment].accesses[first].step
            if residency.segment not in must or not residency.fill or residency.start == use - 1:
                continue
            state.remove(residency.segment, first)
            fill = ((use - 1, state.segments[residency.segment].size_bytes),)
            shorter = replace(residency, start=use - 1, ready=use, fill=fill)
            state.add(residency.segment, first, last, shorter)
            shortened += 1
        if not shortened:
            return False
    return False
