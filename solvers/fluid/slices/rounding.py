"""Rounding: the LP's slice requests are accepted one after the other, as long as they fit.

The requests of a slice come together, most valuable slices (slow-tier bytes saved per byte and step
taken) first. One that does not fit any more is refused, or cut so that a part of it fits:

    bytes
      |              +--------------+
      |              | excess       |    cut off: tried again as a slice of its own
    capacity - - - - +--------------+ - - - - -
      |              | rest         |    accepted
      |    +----+    +----+    +----+
      |    |load|         |load|              accepted before
      +------------------------------------ steps

What is refused is accessed at home; fills and spills move into idle steps afterwards (`retime`).
"""

from collections.abc import Sequence
from dataclasses import replace

from ullage.solvers.budget import Budget
from ullage.solvers.fluid.slices.mandatory import round_mandatory
from ullage.solvers.fluid.slices.requests import (
    accept_linked,
    accept_one,
    excess_bytes,
    spans_of,
)
from ullage.solvers.fluid.slices.sliced_state import SlicedResidencyState
from ullage.solvers.fluid.two_tier.program import SliceRequest
from ullage.solvers.state.greedy_moves import join_pairs
from ullage.solvers.state.residency_state import ResidencyState

# Steps around a use span within which repaired residencies are filled and spilled.
REPAIR_WINDOW_STEPS = 64


def round_requests(
    state: SlicedResidencyState, requests: Sequence[SliceRequest], budget: Budget
) -> int:
    """Add the requested residencies that fit, most valuable slices first.

    A slice that sticks out is cut, so that the part that fits is accepted. Slices that must be
    there come first (see `mandatory`).

    Returns:
        How many requests were refused.
    """
    by_slice: dict[int, list[SliceRequest]] = {}
    for request in requests:
        by_slice.setdefault(request.slice, []).append(request)
    refused = 0
    pairs: list[tuple[int, int]] = []  # of mandatory slices, to be joined where that pays
    worth = {number: _worth(state, of_slice) for number, of_slice in by_slice.items()}
    mandatory = {number for number in by_slice if state.segments[number].must_be_fastest}
    for number in sorted(by_slice, key=lambda n: (n not in mandatory, -worth[n], n)):
        of_slice = by_slice[number]
        if number in mandatory:
            pairs += round_mandatory(state, number, of_slice)
            continue
        excess = max(
            excess_bytes(state, number, span) for r in of_slice for span in spans_of(state, r)
        )
        rest = state.split(number, excess) if excess > 0 else None
        refused += _accept_all(state, of_slice)
        if rest is not None:
            refused += _accept_all(state, [replace(r, slice=rest) for r in of_slice])
    join_pairs(state, pairs, REPAIR_WINDOW_STEPS, budget)
    return refused + len(pairs)


def _accept_all(state: SlicedResidencyState, requests: Sequence[SliceRequest]) -> int:
    """Accept the requests of a slice, loop-carried ones all or none; returns how many fail."""
    number = requests[0].slice
    linked = [r for r in requests if r.is_loop_carried or r.is_left]
    refused = 0
    if linked and not accept_linked(state, linked):
        refused += len(linked)
    else:
        state.untouched.update({number} if linked else ())
    return refused + sum(not accept_one(state, r) for r in requests if r not in linked)


def _worth(state: ResidencyState, requests: Sequence[SliceRequest]) -> float:
    """Slow-tier bytes that requested residencies save, per byte and step that they take."""
    saved = taken = 0.0
    segment = state.segments[requests[0].slice]
    for request in requests:
        accesses = segment.accesses[request.first : request.last + 1]
        saved += sum(e.read_bytes + e.written_bytes for e in accesses)
        saved -= segment.size_bytes if max(request.fill, request.tail) >= 0 else 0
        taken += segment.size_bytes * sum(end - begin for begin, end in spans_of(state, request))
    return saved / taken
