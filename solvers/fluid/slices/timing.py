"""When a fill moves its bytes: the best steps for one, while everything else stays as it is.

A step takes as long as the busiest of compute unit, ports and links. The bytes of a transfer use
two ports and a link there. At first they cost nothing; once one of the three is the busiest they
cost its time for a byte; and that of a slower one once that is the busiest:

    seconds of the step
                          ___---      a slower resource is the busiest: its seconds per byte
             ______-------            one of the three is
      -------                         something else is the busiest: free
      +---------------------------- bytes of the transfer in the step

All costs are convex, so for a given first step, which has the set-up, the bytes go to the steps
where a byte costs least; and all first steps are compared. On chips whose links are faster than
the memory behind them, and whose set-ups take as long as some KiB, transfers with many bytes and
with few thus come into the same steps.
"""

from dataclasses import replace

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.slices.requests import earliest_fit
from ullage.solvers.fluid.slices.sliced_state import SlicedResidencyState
from ullage.solvers.state.busy_time import BusyTime, Moves

# How often all fills are timed anew, each time around what the others have become.
PASSES = 3
# Fills x steps that are looked at in a pass, and steps of each at least.
LOOKS, LEAST_WINDOW_STEPS = 4_000_000, 64
# Bytes by which a room is rounded up: what is whole but for rounding errors stays whole.
SPARE_BYTES = 1e-6


def time_fills(state: SlicedResidencyState, budget: Budget) -> int:
    """Time fills anew, one after the other, where that makes the plan faster.

    Where no link has a set-up there is nothing to gain over idle steps, and nothing is done.

    Args:
        state: the decisions; is changed.
        budget: the time; when it is over, what is decided stays.

    Returns:
        How often a fill got other steps.
    """
    if not any(link.setup_s for link in state.target.links):
        return 0
    changed = 0
    for _ in range(PASSES):
        fills = sorted(
            (residency.start, residency.segment, first)
            for first, _, residency in state.all_residencies()
            if residency.fill and residency.segment not in state.untouched
        )
        window = max(LEAST_WINDOW_STEPS, LOOKS // max(1, len(fills)))
        before = changed
        for _, index, first in fills:
            if budget.is_over():
                return changed
            changed += _timed_better(state, index, first, window)
        if changed == before:
            break
    return changed


def _timed_better(state: SlicedResidencyState, index: int, first: int, window: int) -> bool:
    """Give the fill of a residency the best steps, and whether that is faster; else it stays."""
    segment = state.slices[index]
    before = state.mark()
    last, old = state.remove(index, first)
    use = segment.accesses[first].step
    low = max(state.free_from(index, first), use - window)
    low = earliest_fit(state, index, low, use)
    if low < use:
        ends = segment.home, state.target.fastest.name
        fill = best_moves(state.busy_time, ends, segment.size_bytes, low, use)
        # Bytes that are there before the last access would serve that one, too.
        served = segment.accesses[first - 1].step if first else -1
        if fill != old.fill and fill[-1][0] >= served:
            new = replace(old, start=fill[0][0], ready=fill[-1][0] + 1, fill=fill)
            state.add(index, first, last, new)
            if state.improved_since(before):
                return True
            state.remove(index, first)
    state.add(index, first, last, old)
    return False


def best_moves(busy: BusyTime, ends: tuple[str, str], size: int, low: int, high: int) -> Moves:
    """The steps of [low, high) in which a transfer prolongs the plan least; of equals the latest.

    Args:
        busy: busy seconds of everything else.
        ends: source and destination.
        size: bytes of the transfer; at least 1.
        low: first step allowed.
        high: one past the last one; larger than `low`.

    Raises:
        KeyError: there is no such link.
    """
    link = busy.target.link(*ends)
    if link is None:
        raise KeyError(ends)
    source, destination = (busy.target.tier(name) for name in ends)
    steps = slice(low, high)
    busy_s = busy.busy_s[steps]
    seconds = np.stack(
        [busy.tier_s[ends[0]][steps], busy.tier_s[ends[1]][steps], busy.link_s[ends][steps]]
    )
    per_byte = 1.0 / np.array(
        [source.read_bytes_per_s, destination.write_bytes_per_s, link.bandwidth_bytes_per_s]
    )
    set_up = seconds.copy()
    set_up[2] += link.setup_s
    set_up_busy_s = np.maximum(busy_s, set_up[2])
    rooms = _rooms(seconds, per_byte, busy_s)
    first_rooms = _rooms(set_up, per_byte, set_up_busy_s)

    # For each first step: the set-up, then bytes in it and in the steps behind, cheapest first.
    together = first_rooms + rooms[:, ::-1].cumsum(axis=1)[:, ::-1] - rooms
    prices = np.concatenate([[0.0], np.sort(per_byte)])
    grown_s = set_up_busy_s - busy_s
    left = np.full(high - low, float(size))
    for room, price in zip(together, prices, strict=False):
        part = np.minimum(left, room)
        grown_s = grown_s + part * price
        left = left - part
    grown_s = grown_s + left * prices[-1]
    first = high - low - 1 - int(np.argmin(grown_s[::-1]))
    taken = rooms[:, first:].copy()
    taken[:, 0] = first_rooms[:, first]
    return _filled(taken, size, low + first)


def _rooms(seconds: Floats, per_byte: Floats, busy_s: Floats) -> Floats:
    """(R, T) whole bytes that each step takes for nothing, then at the price of the fastest, ...

    At the price of the slowest of R resources there is room for any number, which is not listed.

    Args:
        seconds: (R, T) that they are busy without the transfer.
        per_byte: (R,) seconds that a byte takes on each.
        busy_s: (T,) of the busiest thing in each step; at least `seconds`.
    """
    order = np.argsort(per_byte, kind="stable")
    seconds, per_byte = seconds[order], per_byte[order]
    # (R, T) bytes from which on each resource alone would prolong the step.
    from_bytes = (busy_s - seconds) / per_byte[:, None]
    until = [from_bytes.min(axis=0)]
    for one in range(len(per_byte) - 1):  # until a slower one is the busiest
        overtaken = np.full_like(busy_s, np.inf)
        for slower in range(one + 1, len(per_byte)):
            more = per_byte[slower] - per_byte[one]
            met = (seconds[one] - seconds[slower]) / more if more > 0 else from_bytes[slower]
            overtaken = np.minimum(overtaken, np.maximum(met, from_bytes[slower]))
        until.append(np.maximum(until[-1], overtaken))
    bounds = np.stack(until)
    rooms = np.diff(bounds, axis=0, prepend=0.0)
    return np.asarray(np.floor(rooms + SPARE_BYTES))


def _filled(rooms: Floats, size: int, begin: int) -> Moves:
    """The moves of some bytes in steps from `begin` on: cheapest room first, in late steps first.

    What finds no room goes where most bytes move. Of the first step, which has the set-up, at least
    one byte is moved.
    """
    moved: Ints = np.zeros(rooms.shape[1], dtype=np.int64)
    left = size
    for room in rooms:
        for step in np.flatnonzero(room >= 1.0)[::-1]:
            part = min(left, int(room[step]))
            moved[step] += part
            left -= part
            if not left:
                break
        if not left:
            break
    most = int(np.argmax(moved))
    moved[most] += left
    if not moved[0]:
        moved[most] -= 1
        moved[0] = 1
    return tuple((begin + int(step), int(moved[step])) for step in np.flatnonzero(moved))
