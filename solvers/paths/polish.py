"""Slices moved to better paths, one after the other, by what they cost beside all others.

Rounding to slices leaves steps that wait for one port while another is idle. Each slice in turn is
taken out; what a second of each port and link costs in each step without it is known exactly (none
up to what the step lasts anyway), so the search for paths finds where it does least harm. It goes
there where the plan becomes better, else back. No path is longer than the plan allows, so a legal
plan stays one.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.solvers.paths.column import Column, column_of
from ullage.solvers.paths.network import TierNetwork
from ullage.solvers.paths.slices import Slice, Slicer, part_of

# Number of sweeps over all slices, at most.
SWEEPS = 6
# Share of the objective; a sweep that gains less is the last.
ENOUGH = 5e-4
# Share of the objective that moving one slice must gain; less is rounding error.
LEAST_GAIN = 1e-9
# Slices times steps that all sweeps together look at; larger programs are swept less.
WORK = 60_000_000


class BusyTable:
    """Busy seconds of every resource in every step.

    Attributes:
        network: the network.
        busy_s: (R, T) seconds.
        cost: the objective without time; for latency the little that bytes through slow ports
            count, so that among equals the plan with less traffic is better.
    """

    def __init__(self, network: TierNetwork, slicer: Slicer) -> None:
        self.network, self.slicer = network, slicer
        self.cost = 0.0
        self.busy_s: Floats = network.idle_table()
        for items in slicer.items.values():
            for item in items:
                self.add(self.column(item), 1.0)

    def column(self, item: Slice) -> Column:
        """The column of a slice: the seconds and bytes that it takes."""
        live_range = self.slicer.live_ranges[item.segment]
        assert live_range is not None  # noqa: S101 - only segments with a live range have slices
        part = part_of(live_range, item.end_byte - item.start_byte)
        return column_of(self.network, item.segment, part, item.path)

    def add(self, column: Column, sign: float) -> None:
        """Add the busy time of a slice, or take it away (sign -1)."""
        np.add.at(self.busy_s.reshape(-1), column.busy_at, sign * column.busy_s)
        self.cost += sign * column.cost

    def value(self) -> float:
        """The objective, without the operators' overhead."""
        return self.cost + (float(self.elapsed_s().sum()) if self.network.is_timed else 0.0)

    def elapsed_s(self) -> Floats:
        """(T,) seconds that each step lasts, without the operators' overhead."""
        longest: Floats = np.maximum(self.network.compute_s, self.busy_s.max(axis=0))
        return longest

    def prices_of_seconds(self, size_bytes: int) -> Floats:
        """(R, T) share of the seconds of moving so many bytes that makes the step longer.

        All 0 where time is not the objective.
        """
        network = self.network
        if not network.is_timed:
            return np.zeros_like(self.busy_s)
        per_byte = [network.seconds_per_byte(r) for r in range(len(self.busy_s))]
        moved_bytes = size_bytes * np.array(per_byte)[:, None]
        over = np.maximum(self.busy_s + moved_bytes - self.elapsed_s(), 0.0)
        return np.asarray(np.minimum(over / np.maximum(moved_bytes, 1e-30), 1.0))


def polish(
    network: TierNetwork, slicer: Slicer, order: Sequence[int], is_over: Callable[[], bool]
) -> float:
    """Move slices while that makes the plan better; returns what it gained, in the objective.

    Args:
        network: the network.
        slicer: with its slices, which are changed.
        order: segments in the order in which they are tried.
        is_over: whether the time is over.
    """
    busy_table = BusyTable(network, slicer)
    before = now = busy_table.value()
    least = LEAST_GAIN * before
    work = 0
    for _ in range(SWEEPS):
        since = now
        for index in order:
            if work > WORK:
                return before - now
            for number in range(len(slicer.items[index])):
                if is_over():
                    return before - now
                work += network.steps
                now -= _moved(busy_table, slicer, index, number, least)
        if since - now < ENOUGH * since:
            break
    return before - now


def _moved(busy_table: BusyTable, slicer: Slicer, index: int, number: int, least: float) -> float:
    """Move one slice to its best path; what that gains, 0 where it does not move."""
    network, ledger, item = busy_table.network, slicer.ledger, slicer.items[index][number]
    live_range = slicer.live_ranges[index]
    assert live_range is not None  # noqa: S101 - only segments with a live range have slices
    size = item.end_byte - item.start_byte
    old = busy_table.column(item)
    was = busy_table.value()
    ledger.book(item, -1)
    busy_table.add(old, -1.0)
    space = ledger.masked(slicer.space_prices, item.start_byte, item.end_byte)
    prices = network.prices(busy_table.prices_of_seconds(size), space)
    part = part_of(live_range, size)
    _, path = slicer.finder.cheapest(part, prices, carry=slicer.carries, exact=True)
    if path is not None and path.key != item.path.key:
        other = replace(item, path=path)
        new = busy_table.column(other)
        if ledger.fits(other):
            busy_table.add(new, 1.0)
            gained = was - busy_table.value()
            gained += size * (slicer.space_price(item.path) - slicer.space_price(path))
            if gained > least:
                ledger.book(other)
                slicer.items[index][number] = other
                return gained
            busy_table.add(new, -1.0)
    ledger.book(item)
    busy_table.add(old, 1.0)
    return 0.0
