r"""The linear program over all schedules of an order in which operators may run again.

Some operators of the order are marked. The time between the ends of two marked ones is a period; in
it the operators between them run for the first time, and any earlier ones again:

    order      op0  op1  op2*  op3  op4  op5*  op6
    periods    \__ 0 _____/    \__ 1 _____/    2

Variables, as shares of an item (a result, or something given), of a whole execution, or in seconds:

    held[v, p]      in fast memory while the marked operator runs that ends the period p
    home[v, p]      ever stored at home up to the end of period p; given items are there
    read[v, p]      read from home in period p, by DMA or by operators
    again[o, p]     the operator o runs again in period p (several times count as one)
    elapsed[p]      the period's time

Rows, for each period p:

    elapsed[p]  >=  seconds of what runs for the first time, and of again[o, p]
    elapsed[p]  >=  port seconds of read[v, p], and of home[v, p] - home[v, p - 1]
    capacity    >=  workspace of the marked operator + bytes of held[v, p]
    held[v, p - 1] + read[v, p] + again[maker of v, p]  >=  what uses v: 1 for who runs for the
                    first time, again[o, p] for who runs again, held[v, p]
    held[v, p - 1] + again[maker of v, p]  >=  home[v, p] - home[v, p - 1]
    home[v, p]  >=  read[v, p]
    held[v, p] + read[v, p]  >=  1  for what the marked operator reads (held + home for its results)

Every plan of such a schedule gives a point of the program that costs no more than its latency:
what is in memory for a while between two marked operators takes no room, elapsed times of steps are
at least those of their sums, and of a tensor only the bytes count that each of its readers reads.
A result may take over the bytes of an operand that is dead behind a marked operator, in part: the
share is a variable, at most what is not held behind it. Items of less than a ten-thousandth of fast
memory are left out: as if they were there, and took no room.

Checkmate (Jain et al. 2020) and POET (Patil et al. 2022) have a period for each operator; with
marks the program is as long as one likes, and holds for any choice of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ullage.compiler.common.arrays import Ints
from ullage.solvers.lp.program import INFINITY, FrozenProgram, LinearProgram
from ullage.solvers.scheduling.recompute.order_items import Item, OrderItems


@dataclass(frozen=True)
class RecomputeProgram:
    """The program, and what its variables mean.

    Attributes:
        program: the program.
        unit_s: seconds that count as 1 in its cost, the reference.
        period_of: (T,) the period of each operator of the order.
        again: (place of the operator in the order, period) -> variable.
        held: (item, period) -> variable.
        capacity_rows: (marks,) rows of fast memory.
    """

    program: FrozenProgram
    unit_s: float
    period_of: Ints
    again: dict[tuple[int, int], int]
    held: dict[tuple[int, int], int]
    capacity_rows: Ints


def recompute_program(
    items: OrderItems, marks: Sequence[int], reference: float
) -> RecomputeProgram:
    """The program of an order.

    Args:
        items: the order.
        marks: places of marked operators, ascending; at least one.
        reference: a latency in seconds; what is proven holds for plans that take no longer.
    """
    return _Building(items, marks, reference).program()


class _Building:
    """The program under construction."""

    def __init__(self, items: OrderItems, marks: Sequence[int], reference: float) -> None:
        self.items = items
        self.marks = list(marks)
        count = len(items.operators)
        self.period_of = np.searchsorted(self.marks, np.arange(count))
        self.periods = int(self.period_of[-1]) + 1
        self.unit_s = reference
        self.unit_bytes = max(1.0, items.capacity_bytes)
        self.lp = LinearProgram()
        elapsed = self.lp.add_variables(self.periods, 0.0, 1.0)
        self.lp.add_cost(elapsed, 1.0)
        self.compute_rows = self.lp.add_rows(self.periods, 0.0, INFINITY)
        self.port_rows = self.lp.add_rows(self.periods, 0.0, INFINITY)
        for rows in (self.compute_rows, self.port_rows):
            self.lp.add_entries(rows, elapsed, 1.0)
        first = np.bincount(self.period_of, weights=items.seconds, minlength=self.periods)
        self.lp.raise_rows(self.compute_rows, first / self.unit_s)
        room = (items.capacity_bytes - items.scratch_bytes[self.marks]) / self.unit_bytes
        self.capacity_rows = self.lp.add_rows(len(self.marks), -INFINITY, room)
        self.again: dict[tuple[int, int], int] = {}
        self.held: dict[tuple[int, int], int] = {}
        self.counts = items.are_large()
        self.last_use = self._last_uses()
        self.overlaps = [self._overlap_rows(mark) for mark in self.marks]

    def program(self) -> RecomputeProgram:
        """All variables and rows."""
        for place in range(len(self.items.operators)):
            self._add_executions(place)
        for index, item in enumerate(self.items.items):
            if self.counts[index]:
                self._add_item(index, item)
        return RecomputeProgram(
            self.lp.frozen(),
            self.unit_s,
            self.period_of,
            self.again,
            self.held,
            self.capacity_rows,
        )

    def _last_uses(self) -> list[int]:
        """By item the last period in which it may be of use: those that run again may read it."""
        items = self.items
        last = [self.periods - 1 if item.is_output else -1 for item in items.items]
        for place in reversed(range(len(items.operators))):
            period = int(self.period_of[place])
            if items.again[place]:
                period = max(period, *(last[v] for v in items.writes[place]))
            for v in items.reads[place]:
                last[v] = max(last[v], period)
        return last

    def _add_executions(self, place: int) -> None:
        """The repetitions of an operator, in periods behind its own."""
        items = self.items
        if not (items.again[place] and any(self.counts[v] for v in items.writes[place])):
            return
        last = max(self._last_made(v) for v in items.writes[place])
        for period in range(int(self.period_of[place]) + 1, last + 1):
            variable = self.lp.add_variable(0.0, 1.0)
            self.again[place, period] = variable
            row = int(self.compute_rows[period])
            self.lp.add_entry(row, variable, -float(items.seconds[place]) / self.unit_s)

    def _last_made(self, index: int) -> int:
        """The last period in which an item may be of use to a reader."""
        item = self.items.items[index]
        last = int(self.period_of[item.made_at])
        for place in item.readers:
            last = max(last, int(self.period_of[place]))
            if self.items.again[place]:
                last = max(last, *(self.last_use[v] for v in self.items.writes[place]))
        return last

    def _overlap_rows(self, mark: int) -> int:
        """The row by which operands that die at a marked operator give up room to its results."""
        items = self.items
        if not (items.overwrites[mark] and items.reads[mark]):
            return -1
        return int(self.lp.add_rows(1, 0.0, INFINITY)[0])  # held bytes of results - overlaps

    def _add_item(self, index: int, item: Item) -> None:
        """What is held, stored and read of an item, period by period."""
        is_given = item.made_at < 0
        first = 0 if is_given else int(self.period_of[item.made_at])
        last = max(self.last_use[index], first)
        readers: dict[int, list[int]] = {}
        for place in item.readers:
            readers.setdefault(int(self.period_of[place]), []).append(place)
        held, home = -1, -1
        for period in range(first, last + 1):
            is_made = not is_given and period == first
            mark = self.marks[period] if period < len(self.marks) else -1
            reads_it = mark >= 0 and mark in readers.get(period, ())
            makes_it = mark >= 0 and mark == item.made_at
            before_held, before_home = held, home
            again = self.again.get((item.made_at, period), -1)
            held = -1
            if mark >= 0 and (period < last or reads_it or makes_it):
                held = self.lp.add_variable(0.0, 1.0)
                self.held[index, period] = held
                row = int(self.capacity_rows[period])
                self.lp.add_entry(row, held, item.held_bytes / self.unit_bytes)
            home = -1 if is_given else self._add_home(item, period, before_home)
            fetched = -1
            if not is_made or reads_it:
                fetched = self._add_read(item, period, home)
            there = [v for v in (before_held, fetched, again) if v >= 0]
            if not is_made:
                self._add_uses(item, period, there, held, bool(readers.get(period)))
                self._add_stores(home, before_home, [v for v in (before_held, again) if v >= 0])
            if reads_it:
                self.lp.add_row(1.0, INFINITY, {held: 1.0, fetched: 1.0})
            if makes_it:
                self.lp.add_row(1.0, INFINITY, {held: 1.0, home: 1.0})
            if mark >= 0 and self.overlaps[period] >= 0:
                if makes_it:
                    share = item.held_bytes / self.unit_bytes
                    self.lp.add_entry(self.overlaps[period], held, share)
                elif reads_it:
                    held = self._behind(item, period, held)

    def _behind(self, item: Item, period: int, held: int) -> int:
        """What is held of an operand behind the marked operator; the rest may be overwritten."""
        behind = self.lp.add_variable(0.0, 1.0)
        overlap = self.lp.add_variable(0.0, 1.0)
        self.lp.add_row(0.0, INFINITY, {held: 1.0, behind: -1.0})
        self.lp.add_row(0.0, INFINITY, {held: 1.0, overlap: -1.0})
        self.lp.add_row(-INFINITY, 1.0, {behind: 1.0, overlap: 1.0})
        share = item.held_bytes / self.unit_bytes
        self.lp.add_entry(int(self.capacity_rows[period]), overlap, -share)
        self.lp.add_entry(self.overlaps[period], overlap, -share)
        return behind

    def _add_home(self, item: Item, period: int, before: int) -> int:
        """The share of a result that was ever stored at home."""
        is_end = item.is_output and period == self.periods - 1
        home = self.lp.add_variable(1.0 if is_end else 0.0, 1.0)
        seconds = item.size_bytes * self.items.write_s_per_byte / self.unit_s
        row = int(self.port_rows[period])
        self.lp.add_entry(row, home, -seconds)
        if before >= 0:
            self.lp.add_entry(row, before, seconds)
            self.lp.add_row(0.0, INFINITY, {home: 1.0, before: -1.0})
        return home

    def _add_read(self, item: Item, period: int, home: int) -> int:
        """The share of an item that is read from home."""
        fetched = self.lp.add_variable(0.0, 1.0)
        seconds = item.size_bytes * self.items.read_s_per_byte / self.unit_s
        self.lp.add_entry(int(self.port_rows[period]), fetched, -seconds)
        if home >= 0:
            self.lp.add_row(0.0, INFINITY, {home: 1.0, fetched: -1.0})
        return fetched

    def _add_uses(
        self, item: Item, period: int, there: Sequence[int], held: int, is_read: bool
    ) -> None:
        """Rows of those who need an item in a period: it must be there."""
        there_row = dict.fromkeys(there, 1.0)
        if is_read:
            self.lp.add_row(1.0, INFINITY, there_row)
        users = [held] if held >= 0 else []
        users += [
            self.again[place, period] for place in item.readers if (place, period) in self.again
        ]
        for user in users:
            self.lp.add_row(0.0, INFINITY, {**there_row, user: -1.0})

    def _add_stores(self, home: int, before: int, there: Sequence[int]) -> None:
        """What is stored in a period was held before, or made again."""
        if home >= 0:
            row = dict.fromkeys(there, 1.0) | {home: -1.0}
            if before >= 0:
                row[before] = row.get(before, 0.0) + 1.0
            self.lp.add_row(0.0, INFINITY, row)
