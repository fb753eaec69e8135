"""Rounding of what operators cannot do without: when it arrives and leaves, as the LP asks.

Operands that must be in the fastest tier have the shortest residencies to begin with, one for each
access, filled in the DMA-only step before it and spilled in the one behind it (*singles*). They
prove that a plan exists, but nothing arrives while something else is computed. The LP's requests
say when it should:

    step      ... op a   dma   dma   op b   dma   dma   op c
    single                     |=====|====|                    fill waits for nothing, all for it
    request       |=======================|                    fill beside op a

A single always lies inside what the LP has for the slice (the whole slice is there at the access,
nothing arrives later than the step before or leaves earlier than the step after), so that a slice's
singles can make way for its requests; only page rounding can be in the way, and what other slices
have got instead of their own requests. Then the part of the slice that fits gets its requests, and
the rest gets the nearest that fits: filled later, fetched again behind a full gap, or the singles.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ullage.solvers.fluid.slices.requests import (
    accept_linked,
    accept_one,
    earliest_fit,
    excess_bytes,
    spans_of,
)
from ullage.solvers.fluid.slices.sliced_state import SlicedResidencyState
from ullage.solvers.fluid.two_tier.program import SliceRequest
from ullage.solvers.state.build_plan import SegmentResidency


def round_mandatory(
    state: SlicedResidencyState, number: int, requests: Sequence[SliceRequest]
) -> list[tuple[int, int]]:
    """Give a slice that must be resident at all its accesses what the LP asks for, or what is near.

    Args:
        state: the decisions; the slice has its singles there.
        number: the slice.
        requests: what the LP asks for, in order of accesses.

    Returns:
        Slice and access behind each gap that the requests close, where nothing near them fits: they
        may still be joined one by one.
    """
    singles = state.lift(number)
    if _grant(state, number, requests):
        return []
    excess = max(excess_bytes(state, number, span) for r in requests for span in spans_of(state, r))
    rest = state.split(number, excess) if excess > 0 else None
    if rest is None:
        _put(state, number, singles)
        return _grant_near(state, number, requests)
    for part in (number, rest):
        state.add_singles(part)
    pairs: list[tuple[int, int]] = []
    lifted = state.lift(number)
    if not _grant(state, number, requests):
        _put(state, number, lifted)
        pairs += _grant_near(state, number, requests)
    return pairs + _grant_near(state, rest, [replace(r, slice=rest) for r in requests])


def _put(
    state: SlicedResidencyState, number: int, lifted: Sequence[tuple[int, int, SegmentResidency]]
) -> None:
    """Undo `lift`."""
    for first, last, residency in lifted:
        state.add(number, first, last, residency)


def _fit_singles(state: SlicedResidencyState, number: int) -> bool:
    """Add singles for the accesses that no residency covers; whether all fit then."""
    state.add_singles(number)
    residencies = (residency for _, residency in state.residencies[number].values())
    return all(state.fits(0, residency.start, residency.end) for residency in residencies)


def _grant(state: SlicedResidencyState, number: int, requests: Sequence[SliceRequest]) -> bool:
    """Add all requests of a slice without residencies, or none; whether they were added.

    Loop-carried ones belong together, and so do the fills and spills of the others: a spill that is
    missing is a fill that finds nothing.
    """
    linked = [r for r in requests if r.is_loop_carried or r.is_left]
    granted = not linked or accept_linked(state, linked)
    granted = granted and all(accept_one(state, r) for r in requests if r not in linked)
    if granted and _fit_singles(state, number):
        if linked:
            state.untouched.add(number)
        return True
    state.lift(number)
    return False


def _grant_near(
    state: SlicedResidencyState, number: int, requests: Sequence[SliceRequest]
) -> list[tuple[int, int]]:
    """Replace a slice's singles by what is near its requests and fits; else the pairs to join."""
    singles = state.lift(number)
    for request in requests:
        if not (request.is_loop_carried or request.is_left):
            _accept_late(state, request)
    if _fit_singles(state, number):
        return []
    state.lift(number)
    _put(state, number, singles)
    return [
        (number, access)
        for request in requests
        for access in range(request.first + 1, request.last + 1)
    ]


def _accept_late(state: SlicedResidencyState, request: SliceRequest) -> None:
    """Add a request as asked for; else filled later; else without its fullest gap; else nothing."""
    waiting = [request]
    while waiting:
        asked = waiting.pop()
        if accept_one(state, asked):
            continue
        segment = state.segments[asked.slice]
        begin, use = asked.fill, segment.accesses[asked.first].step
        if begin >= 0:
            begin = max(begin, state.free_from(asked.slice, asked.first))
            begin = earliest_fit(state, asked.slice, begin, use)
            if begin < use and accept_one(state, replace(asked, fill=begin, moves=())):
                continue
        if asked.first == asked.last:
            continue
        steps = [access.step for access in segment.accesses[asked.first : asked.last + 1]]
        fullest = [
            int(state.load_bytes[a + 1 : b].max(initial=0)) for a, b in itertools.pairwise(steps)
        ]
        behind = asked.first + 1 + int(np.argmax(fullest))
        if not segment.accesses[behind].reads:
            continue
        fetched = segment.accesses[behind - 1].step + 1
        waiting.append(replace(asked, first=behind, fill=fetched, moves=()))
        waiting.append(replace(asked, last=behind - 1, spill=-1))
