"""Slices moved to better paths, one after the other, by what they cost beside all others.

Rounding to slices leaves steps that wait for one port while another is idle. Each slice in turn is
taken out; what a second of each port and link costs in each step without it is known exactly (none
up to what the step lasts anyway), so the search for paths finds where it does least harm. It goes
there where the plan becomes faster, else back. No path is longer than the plan allows, so a legal
plan stays one.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.solvers.fluid.multi_tier.master import Column, column_of
from ullage.solvers.fluid.multi_tier.network import TierNetwork
from ullage.solvers.fluid.multi_tier.slices import Slice, Slicer, part_of

SWEEPS = 6  # over all slices, at most
ENOUGH = 5e-4  # a sweep that gains less than this share of the time is the last
LEAST_GAIN = 1e-9  # share of the time that one slice must gain
WORK = 60_000_000  # slices times steps, in all sweeps: larger programs are swept less


class BusyTable:
    """How long every port and link is busy in every step.

    Attributes:
        network: the network.
        busy_s: (n + L, T) seconds.
    """

    def __init__(self, network: TierNetwork, slicer: Slicer) -> None:
        self.network, self.slicer = network, slicer
        self.busy_s: Floats = np.zeros((network.tiers + len(network.links), network.steps))
        for items in slicer.items.values():
            for item in items:
                self.add(self.column(item), 1.0)

    def column(self, item: Slice) -> Column:
        """What a slice takes."""
        live_range = self.slicer.live_ranges[item.segment]
        assert live_range is not None  # noqa: S101 - only segments with a life have slices
        part = part_of(live_range, item.end_byte - item.start_byte)
        return column_of(self.network, item.segment, part, item.path)

    def add(self, column: Column, sign: float) -> None:
        """A slice comes, or goes (sign -1)."""
        np.add.at(self.busy_s.reshape(-1), column.busy_at, sign * column.busy_s)

    def elapsed_s(self) -> Floats:
        """(T,) without the operators' overhead."""
        longest: Floats = np.maximum(self.network.compute_s, self.busy_s.max(axis=0))
        return longest

    def prices_of_seconds(self, size_bytes: int) -> Floats:
        """(n + L, T) what a second costs of those that moving so many bytes takes."""
        network = self.network
        per_byte = [network.seconds_per_byte(r) for r in range(len(self.busy_s))]
        own = size_bytes * np.array(per_byte)[:, None]
        over = np.maximum(self.busy_s + own - self.elapsed_s(), 0.0)
        return np.asarray(np.minimum(over / np.maximum(own, 1e-30), 1.0))


def polish(
    network: TierNetwork, slicer: Slicer, order: Sequence[int], is_over: Callable[[], bool]
) -> float:
    """Move slices while that makes the plan faster; returns the seconds gained.

    Args:
        network: the network.
        slicer: with its slices, which are changed.
        order: segments in the order in which they are tried.
        is_over: whether the time is over.
    """
    board = BusyTable(network, slicer)
    before = now = float(board.elapsed_s().sum())
    work = 0
    for _ in range(SWEEPS):
        since = now
        for index in order:
            if is_over() or work > WORK:
                return before - now
            for number, item in enumerate(slicer.items[index]):
                work += network.steps
                now -= _moved(board, slicer, index, number, item, LEAST_GAIN * before)
        if since - now < ENOUGH * since:
            break
    return before - now


def _moved(
    board: BusyTable, slicer: Slicer, index: int, number: int, item: Slice, least_s: float
) -> float:
    """Seconds gained by the best path for one slice; 0 where it stays."""
    network, ledger = board.network, slicer.ledger
    live_range = slicer.live_ranges[index]
    assert live_range is not None  # noqa: S101 - only segments with a life have slices
    size = item.end_byte - item.start_byte
    old = board.column(item)
    was = float(board.elapsed_s().sum())
    ledger.book(item, -1)
    board.add(old, -1.0)
    space = ledger.masked(np.zeros_like(network.room, dtype=float), item.start_byte, item.end_byte)
    prices = network.prices(board.prices_of_seconds(size), space)
    _, path = slicer.finder.cheapest(part_of(live_range, size), prices, exact=True)
    if path is not None and path.key != item.path.key:
        other = replace(item, path=path)
        new = board.column(other)
        if ledger.fits(other):
            board.add(new, 1.0)
            gained = was - float(board.elapsed_s().sum())
            if gained > least_s:
                ledger.book(other)
                slicer.items[index][number] = other
                return gained
            board.add(new, -1.0)
    ledger.book(item)
    board.add(old, 1.0)
    return 0.0
