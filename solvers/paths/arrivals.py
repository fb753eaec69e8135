"""Bytes leave home in the order in which they are needed, and move while links are idle anyway.

A linear program is content with any order in which bytes reach a tier on the way, as long as each
is there in time. The order matters to set-ups: bytes of one tensor that come a few at a time are
many transfers, or one that takes its space from the first of them on. So the seconds that a link
from home was given in each step are given anew, to the slice with the earliest deadline first
(Jackson 1955: if any order meets all deadlines, this one does):

    step          0    1    2    3                  0    1    2    3
    A, due in 4   a              a                  .    .    aa
    B, due in 1   .    bb                           bb
    C, due in 4   .    .    c    .                  .    .    .    c

What moves in several steps is one transfer with a move in each. How many bytes of each transfer
move in which of its steps is then a linear program (`move_in_idle_time`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.solvers.lp.program import INFINITY, LinearProgram
from ullage.solvers.lp.solve import solve_lp_in_turn
from ullage.solvers.paths.joining import busy_seconds
from ullage.solvers.paths.network import TierNetwork
from ullage.solvers.paths.paths import END, READY, SOURCE, START, Path, first_need, is_exact
from ullage.solvers.paths.slices import Slice, Slicer

# Transfers times steps up to which a linear program spreads them.
MOST_SHARES = 50_000


@dataclass(frozen=True)
class _Arrival:
    """A move of a slice into a tier, which it can make in any step from one to another.

    Attributes:
        segment: index of the segment.
        number: of the slice in the segment.
        row: of its path: the residency that it moves into.
        origin: of its path: the residency that it moves from.
        begin: first step in which it can move.
        due: step by which it must be there.
        is_first: it moves from where it is before the first step.
    """

    segment: int
    number: int
    row: int
    origin: int
    begin: int
    due: int
    is_first: bool


def move_in_order_of_need(
    network: TierNetwork, slicer: Slicer, is_over: Callable[[], bool] = lambda: False
) -> bool:
    """Give other steps to moves of slices that nobody writes, by deadlines; whether all fit.

    Args:
        network: the network.
        slicer: with its slices, which are changed, also where not all fit.
        is_over: whether the time is over.
    """
    links = network.links.tolist()
    for link, (source, tier) in enumerate(links):
        arrivals = [a for a in _arrivals(slicer, source, tier) if a.is_first]
        if arrivals and (is_over() or not _reorder(network, slicer, link, arrivals)):
            return False
    return True


def _arrivals(slicer: Slicer, source: int, tier: int) -> list[_Arrival]:
    """Moves over a link that may be made earlier or later, those due first in front."""
    found: list[_Arrival] = []
    for index, items in slicer.items.items():
        live_range = slicer.live_ranges[index]
        if live_range is None or live_range.writes.any():
            continue
        for number, item in enumerate(items):
            rows = item.path.residencies
            origins = np.flatnonzero(rows[:, 0] == source)
            moves = np.flatnonzero(rows[:, 0] == tier)
            if len(origins) != 1 or len(moves) != 1 or item.path.loop_carried:
                continue
            row, origin = int(moves[0]), int(origins[0])
            if rows[row, SOURCE] != source:
                continue
            onwards = rows[rows[:, SOURCE] == tier, START].tolist()
            due = min([first_need(live_range, item.path, rows.tolist(), row), *onwards])
            is_first = bool(rows[origin, SOURCE] < 0)
            begin = int(rows[origin, READY])
            found.append(_Arrival(index, number, row, origin, begin, due, is_first))
    found.sort(key=lambda a: (a.due, a.segment, a.number))
    return found


def _reorder(network: TierNetwork, slicer: Slicer, link: int, arrivals: list[_Arrival]) -> bool:
    """Give arrivals over one link new steps, in their order; whether they fit."""
    setup_s, rate = float(network.setups_s[link]), float(network.link_rates[link])
    left_s = _seconds_of(network, slicer, link, arrivals)
    for arrival in arrivals:
        slicer.ledger.book(slicer.items[arrival.segment][arrival.number], -1)
    before = None
    for arrival in arrivals:
        item = slicer.items[arrival.segment][arrival.number]
        live_range = slicer.live_ranges[arrival.segment]
        assert live_range is not None  # noqa: S101 - arrivals are of segments that have one
        # A neighbour that comes right behind can be part of the same transfer.
        begins = before != (arrival.segment, arrival.number - 1)
        before = arrival.segment, arrival.number
        steps = range(arrival.begin, arrival.due)
        missing = item.end_byte - item.start_byte
        moves: dict[int, int] = {}
        for step in steps:
            spare_s = left_s[step] - (setup_s if begins and not moves else 0.0)
            size = min(missing, int(spare_s * rate))
            if size > 0:
                left_s[step] = spare_s - size / rate
                moves[step] = size
                missing -= size
            if not missing:
                break
        if missing:
            moves[steps[-1]] = moves.get(steps[-1], 0) + missing
            left_s[steps[-1]] = 0.0  # the step lasts longer
        moved = _moving(item, arrival, sorted(moves.items()))
        if not is_exact(live_range, moved.path) or not slicer.ledger.fits(moved):
            return False
        slicer.ledger.book(moved)
        slicer.items[arrival.segment][arrival.number] = moved
    return True


def _seconds_of(
    network: TierNetwork, slicer: Slicer, link: int, arrivals: list[_Arrival]
) -> Floats:
    """(T,) seconds that the arrivals keep their link busy in each step."""
    seconds = np.zeros(network.steps)
    before: tuple[int, int, list[int]] | None = None
    for arrival in sorted(arrivals, key=lambda a: (a.segment, a.number)):
        moves = slicer.items[arrival.segment][arrival.number].moves_into(arrival.row)
        steps = [step for step, _ in moves]
        if before != (arrival.segment, arrival.number - 1, steps):  # else the same transfer
            seconds[steps[0]] += network.setups_s[link]
        before = arrival.segment, arrival.number, steps
        for step, size in moves:
            seconds[step] += size / network.link_rates[link]
    return seconds


def move_in_idle_time(
    network: TierNetwork, slicer: Slicer, time_limit_s: float | None = None
) -> bool:
    """Spread transfers over the steps between their beginning and their use; whether any changed.

        minimise  sum over steps of how long they last
        a step lasts at least as long as computing, and as each port and link is busy
        a transfer moves all its bytes in its steps, one at least in its first

    What begins when, and what takes space until when, stays as it is, so that the plan fits as
    before; so does what moves as part of another slice's transfer.

    Args:
        network: the network.
        slicer: with its slices, which are changed.
        time_limit_s: for the linear program; None: none.
    """
    links = [tuple(pair) for pair in network.links.tolist()]
    moves = [
        (link, arrival)
        for link, (source, tier) in enumerate(links)
        for arrival in _alone(slicer, _arrivals(slicer, source, tier))
    ]
    spans: list[Ints] = []
    for _, arrival in moves:
        rows = slicer.items[arrival.segment][arrival.number].path.residencies
        last = min(arrival.due, int(rows[arrival.origin, END]))
        spans.append(np.arange(int(rows[arrival.row, START]), last))
    if not moves or sum(map(len, spans)) > MOST_SHARES:
        return False
    busy_s = _busy_without(network, slicer, [arrival for _, arrival in moves])
    lp = LinearProgram()
    unit_s = float(network.compute_s.sum() + busy_s.max(axis=0).sum()) / network.steps
    for (link, _), steps in zip(moves, spans, strict=True):
        busy_s[network.tiers + link, steps[0]] += network.setups_s[link]
    lasts = lp.add_variables(network.steps, network.compute_s / unit_s, INFINITY)
    lp.add_cost(lasts, 1.0)
    busy = lp.add_rows(busy_s.size, busy_s.reshape(-1) / unit_s, INFINITY)
    lp.add_entries(busy, np.tile(lasts, len(busy_s)), 1.0)
    shares: list[Ints] = []
    for (link, arrival), steps in zip(moves, spans, strict=True):
        item = slicer.items[arrival.segment][arrival.number]
        size = item.end_byte - item.start_byte
        part = lp.add_variables(len(steps), 0.0, 1.0)
        lp.add_entries(lp.add_rows(1, 1.0, 1.0)[0], part, 1.0)
        source, tier = links[link]
        rates = (network.rates_read[source], network.rates_write[tier], network.link_rates[link])
        for resource, rate in zip((source, tier, network.tiers + link), rates, strict=True):
            lp.add_entries(
                busy[resource * network.steps + steps], part, -size / float(rate) / unit_s
            )
        shares.append(part)
    solution = solve_lp_in_turn(lp.frozen(), time_limit_s=time_limit_s)
    if solution is None:
        return False
    for (_, arrival), steps, part in zip(moves, spans, shares, strict=True):
        item = slicer.items[arrival.segment][arrival.number]
        live_range = slicer.live_ranges[arrival.segment]
        assert live_range is not None  # noqa: S101 - arrivals are of segments that have one
        sizes = _whole_bytes(solution.values[part], item.end_byte - item.start_byte)
        moves_of = [(s, n) for s, n in zip(steps.tolist(), sizes, strict=True) if n]
        moved = _moving(item, arrival, moves_of)
        if is_exact(live_range, moved.path):
            slicer.items[arrival.segment][arrival.number] = moved
    return True


def _whole_bytes(shares: Floats, size: int) -> list[int]:
    """Whole bytes in the proportion of shares, `size` in all, one at least in the first."""
    reached = np.cumsum(np.maximum(shares, 0.0))
    ends: Ints = 1 + np.rint(reached / reached[-1] * (size - 1)).astype(np.int64)
    sizes: list[int] = np.diff(ends, prepend=0).tolist()
    return sizes


def _alone(slicer: Slicer, arrivals: list[_Arrival]) -> list[_Arrival]:
    """Those that are no part of a transfer with a neighbour."""
    steps = {
        (a.segment, a.number): slicer.items[a.segment][a.number].moves_into(a.row) for a in arrivals
    }

    def of(segment: int, number: int) -> list[int]:
        return [step for step, _ in steps.get((segment, number), ())]

    return [
        a
        for a in arrivals
        if of(a.segment, a.number) not in (of(a.segment, a.number - 1), of(a.segment, a.number + 1))
    ]


def _busy_without(network: TierNetwork, slicer: Slicer, arrivals: list[_Arrival]) -> Floats:
    """(R, T) seconds that ports, links and the unit would be busy if some moves were not made."""
    items = {index: list(slices) for index, slices in slicer.items.items()}
    for arrival in arrivals:
        item = items[arrival.segment][arrival.number]
        rows = item.path.residencies.copy()
        rows[arrival.row, SOURCE] = -1
        still = replace(item.path, residencies=rows)
        items[arrival.segment][arrival.number] = replace(item, path=still)
    return busy_seconds(network, items, slicer.live_ranges)


def _moving(item: Slice, arrival: _Arrival, moves: list[tuple[int, int]]) -> Slice:
    """The slice with one of its moves in other steps; each residency as long as it is needed."""
    first, last = moves[0][0], moves[-1][0]
    rows = item.path.residencies.copy()
    rows[arrival.row, START], rows[arrival.row, READY] = first, last + 1
    rows[arrival.origin, END] = max(rows[arrival.origin, END], last + 1)
    path = Path(rows, item.path.served)
    parts: dict[bytes, tuple[int, Path]] = {}
    waiting = list(item.moving)
    for step, size in moves:
        left = size
        while left:
            there, other = waiting[0]
            taken = min(left, there)
            apart = other.residencies.copy()
            apart[arrival.row, START] = step
            moved = replace(path, residencies=apart)
            parts[moved.key] = parts.get(moved.key, (0, moved))[0] + taken, moved
            left -= taken
            waiting[0] = there - taken, other
            if taken == there:
                waiting.pop(0)
    return replace(item, path=path, parts=tuple(parts.values()) if len(parts) > 1 else ())
