"""Set-ups of transfers in the fluid LP: every byte that must come or go has its share of one.

A transfer moves one range of one buffer and sets its link up once, in the step of its first move.
So the transfers that bring fractions of a segment have at least these fractions of the segment's
share of its buffer as set-ups, and none of them comes later than the bytes:

    step                       0        1        2        3
    set-ups done  (u)          u0       u1       u2       u3      seconds of the link
    of what arrives (a)        a0       a1       a2       a3      shares of set-ups
    done in advance (v)        u0-a0    ...                       never negative

What is stored is seen from the other end of time: none of its set-ups comes before the operator
that writes it has ended.

Only segments that operators reach in the fastest tier alone are counted: no plan avoids that they
come. Every plan gives a point of these rows, so the optimum stays a lower bound.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.compiler.ir.problem import Problem
from ullage.solvers.lp.program import INFINITY, LinearProgram
from ullage.solvers.state.segments import Segment

# Set-ups are left out where all together, one for each segment, are less than this share of the
# latency of a known plan.
SMALL = 2e-3


def setups_matter(problem: Problem, segments: Sequence[Segment], reference: float) -> bool:
    """Whether set-ups take a share of the latency that is worth rows of the program.

    Args:
        problem: the problem.
        segments: its segments.
        reference: latency in s of a known plan.
    """
    if problem.objective != "latency":
        return False
    fastest = problem.target.fastest.name
    total_s = 0.0
    for segment in segments:
        link = problem.target.link(segment.home, fastest)
        if segment.must_be_fastest and segment.accesses and link is not None:
            total_s += link.setup_s
    return total_s > SMALL * reference


@dataclass(frozen=True)
class Store:
    """Set-ups that a row asks for of a segment that is stored home, or fetched, if not all is kept.

    Attributes:
        buffer: of the segment.
        row: the row.
        share: set-up of the whole segment, in units.
        kept: variable of the fraction that is kept to the last use.
    """

    buffer: int
    row: int
    share: float
    kept: int


class Setups:
    """The set-ups of a program's links, with the rows about them.

    Attributes:
        arrivals: home tier -> (T,) rows: set-ups done no later than what arrives.
        stores: what is asked for of segments that need not be stored.
    """

    def __init__(
        self,
        problem: Problem,
        lp: LinearProgram,
        unit: float,
        link_rows: dict[tuple[str, str], Ints],
    ) -> None:
        """Add variables and rows for what arrives.

        Args:
            problem: the problem, on the program's axis of T steps.
            lp: the program.
            unit: seconds that count as 1 in it.
            link_rows: (source, destination) -> (T,) rows of busy time.
        """
        self._problem, self._lp, self._unit, self._link_rows = problem, lp, unit, link_rows
        self._fastest = problem.target.fastest.name
        self.arrivals: dict[str, Ints] = {}
        self.stores: list[Store] = []
        for link in problem.target.links:
            if link.destination == self._fastest and link.setup_s > 0:
                rows = link_rows[link.source, link.destination]
                self.arrivals[link.source] = self._balance(rows)

    def _balance(self, link_rows: Ints) -> Ints:
        """Rows: what was in advance, and is done, is asked for or in advance for the next step.

        No plan that is better than the known one has more set-ups in all than that takes: T units.
        """
        steps = len(link_rows)
        done = self._lp.add_variables(steps, 0.0, float(steps))
        advance = self._lp.add_variables(steps, 0.0, float(steps))
        self._lp.add_entries(link_rows, done, -1.0)
        rows = self._lp.add_rows(steps, 0.0, INFINITY)
        self._lp.add_entries(rows, done, 1.0)
        self._lp.add_entries(rows, advance, -1.0)
        self._lp.add_entries(rows[1:], advance[:-1], 1.0)
        return rows

    def share(self, segment: Segment, source: str, destination: str) -> float:
        """Set-up of moving a whole segment, in units: its share of that of its buffer."""
        link = self._problem.target.link(source, destination)
        if link is None or not segment.must_be_fastest:
            return 0.0
        size_bytes = max(1, self._problem.buffers[segment.buffer].size_bytes)
        return link.setup_s / self._unit * segment.size_bytes / size_bytes

    def charge_arrivals(self, segment: Segment, steps: Ints, moved: Ints) -> None:
        """Ask for the set-ups of arrivals: fractions `moved` of a segment in steps modulo T."""
        share = self.share(segment, segment.home, self._fastest)
        if share:
            rows = self.arrivals[segment.home]
            self._lp.add_entries(rows[steps % len(rows)], moved, -share)

    def arrival_prices(self, segment: Segment, duals: Floats, steps: Ints) -> Floats | float:
        """Price of the set-ups of a whole segment that arrives in each of some steps, in units."""
        share = self.share(segment, segment.home, self._fastest)
        rows = self.arrivals[segment.home][steps] if share else steps
        return share * np.maximum(duals[rows], 0.0) if share else 0.0

    def charge_spills(self, stored: Sequence[tuple[Segment, int, int]]) -> None:
        """Ask for the set-ups of what must be stored.

        Args:
            stored: a segment, the step of an access that writes it, and the variable of the
                fraction that is kept to the last use of what was written (-1: none is); the rest
                is stored before.
        """
        steps = len(self._problem.steps)
        for home in sorted({segment.home for segment, _, _ in stored}):
            rows = self._link_rows.get((self._fastest, home))
            if rows is None:
                continue
            balance = self._balance(rows[::-1])
            asked = np.zeros(steps)
            for segment, write, kept in stored:
                share = self.share(segment, self._fastest, home) if segment.home == home else 0.0
                if not share or write + 2 > steps:
                    continue
                behind = steps - 2 - write
                asked[behind] += share
                if kept >= 0:
                    row = int(balance[behind])
                    self._lp.add_entry(row, kept, share)
                    self.stores.append(Store(segment.buffer, row, share, kept))
            self._lp.raise_rows(balance, asked)
