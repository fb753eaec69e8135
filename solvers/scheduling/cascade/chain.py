"""Groups along an order, chosen by dynamic programming over pairs of neighbours.

A group pays for its computing and its transfers, whichever takes longer; two neighbours pay for
what is live between them and finds no room beside either:

    group 1 | group 2        live across the boundary: X bytes
                             room: memory - what the larger of the two keeps
                             moved: the share of X beyond the room, out and in again
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.compiler.ir.target import Target
from ullage.solvers.scheduling.cascade.estimate import (
    GroupEstimate,
    OrderFacts,
    groups_ending_at,
)
from ullage.solvers.scheduling.cascade.stripes import Cascade

# Price of a part, as a share of the time that the whole order takes at least: of groupings that are
# nearly as good, the one of fewer parts is planned sooner.
PART_PRICE = 1e-5
# The same where all operands of a part must fit: finer parts look better there than they are, since
# neighbours along different axes cut what is between them into cells.
FITTED_PART_PRICE = 1e-4
# What a cell costs beside a part.
CELL_SHARE = 0.1


class Estimates(list[GroupEstimate]):
    """The estimates of the groups that end at one position, also as arrays; none is added later."""

    @cached_property
    def figures(self) -> "GroupFigures":
        """The arrays, made once for all sizes and weights that groups are compared by."""
        cascades = [group.cascade for group in self]
        again = [np.nan if g.again_bytes is None else g.again_bytes for g in self]
        return GroupFigures(
            firsts=np.array([c.first for c in cascades], dtype=np.int64),
            operators=_floats([c.last - c.first for c in cascades]),
            stripes=_floats([c.stripes for c in cascades]),
            axes=_floats([c.axis for c in cascades]),
            kept_bytes=_floats([g.kept_bytes for g in self]),
            weight_bytes=_floats([g.weight_bytes for g in self]),
            compute_s=_floats([g.compute_s for g in self]),
            given_bytes=_floats([g.given_bytes for g in self]),
            consumed_bytes=_floats([g.consumed_bytes for g in self]),
            produced_bytes=_floats([g.produced_bytes for g in self]),
            parts=_floats([g.parts for g in self]),
            again_bytes=_floats(again),
            late_bytes=_floats([g.late_bytes for g in self]),
            cut_weight_bytes=_floats([g.cut_weight_bytes for g in self]),
        )


def _floats(figures: Sequence[float]) -> Floats:
    return np.array(figures, dtype=np.float64)


@dataclass(frozen=True)
class GroupFigures:
    """(G,) the figures of groups that end at one position; those of `GroupEstimate`.

    Attributes:
        firsts: positions of their first operators.
        operators: number of their operators.
        stripes: number of their stripes.
        axes: axes of their stripes.
        again_bytes: NaN where weights are read again as far as they find no room.
    """

    firsts: Ints
    operators: Floats
    stripes: Floats
    axes: Floats
    kept_bytes: Floats
    weight_bytes: Floats
    compute_s: Floats
    given_bytes: Floats
    consumed_bytes: Floats
    produced_bytes: Floats
    parts: Floats
    again_bytes: Floats
    late_bytes: Floats
    cut_weight_bytes: Floats

    def rows(self, rows: Ints) -> "GroupFigures":
        """Those of some groups."""
        return GroupFigures(*(getattr(self, field.name)[rows] for field in fields(self)))

    def read_again(self, room_bytes: Floats) -> Floats:
        """(G,) `GroupEstimate.read_again` with so much room each."""
        common = self.weight_bytes - self.cut_weight_bytes
        again = np.maximum(0.0, common - room_bytes) * (self.stripes - 1)
        return np.where(np.isnan(self.again_bytes), again, self.again_bytes)


@dataclass(frozen=True)
class GroupTable:
    """Groups that end at one position, as arrays over them.

    Attributes:
        groups: the groups, G of them.
        firsts: (G,) position of the first operator.
        own_s: (G,) seconds that a group pays for itself.
        compute_s: (G,) seconds of computing.
        moved_s: (G,) seconds of its own transfers: weights, inputs, outputs, what is read again.
        between_scale: (G,) factor on what a group pays together with the one in front of it.
        front_bytes: (G,) bytes kept at its beginning.
        back_bytes: (G,) bytes kept at its end.
        consumed_bytes: (G,) bytes that it reads of what was made before.
        produced_bytes: (G,) bytes that it makes for what is behind.
        axes: (G,) axis of its stripes.
        stripes: (G,) their number.
        first_bytes: (G,) weights that must have arrived before its first part.
    """

    groups: list[GroupEstimate]
    firsts: Ints
    own_s: Floats
    compute_s: Floats
    moved_s: Floats
    between_scale: Floats
    front_bytes: Floats
    back_bytes: Floats
    consumed_bytes: Floats
    produced_bytes: Floats
    axes: Floats
    stripes: Floats
    first_bytes: Floats

    def rows(self, rows: Ints) -> "GroupTable":
        """Some of the groups."""
        arrays = (getattr(self, field.name)[rows] for field in fields(self)[1:])
        return GroupTable([self.groups[row] for row in rows], *arrays)


def estimated_groups(facts: OrderFacts, is_late: Callable[[], bool]) -> list[Estimates] | None:
    """By position, the estimates of the groups that end there; None when time is over first.

    Raises:
        InfeasibleError: no part of an operator fits where all of its operands must.
    """
    groups: list[Estimates] = []
    for last in range(1, len(facts.order) + 1):
        if is_late():
            return None
        groups.append(Estimates(groups_ending_at(facts, last)))
        if not groups[-1]:
            raise facts.too_large()
    return groups


def choose_groups(
    facts: OrderFacts,
    groups: Sequence[Estimates],
    target: Target,
    compute_weight: float | None,
    part_price: float = PART_PRICE,
) -> list[Cascade]:
    """The groups with the smallest estimate, in the order.

    Args:
        facts: the graph in its order.
        groups: by position, the estimates of the groups that end there.
        target: the chip.
        compute_weight: None: a group takes as long as its computing or its transfers, whichever
            is longer. Else the weight of compute time, from 0 to 1, in a sum with transfer time:
            where transfers find room behind the computing of other groups, sums over the whole
            order count.
        part_price: of a part, as a share of the time that the order takes at least. A higher one
            finds groups of fewer parts, of which slices lose less when they are rounded up.
    """
    return Chain(facts, groups, target, compute_weight, part_price).best(0, len(facts.order))


class Chain:
    """The dynamic program over an order, or over a stretch of it.

    Takes what `choose_groups` takes.
    """

    def __init__(
        self,
        facts: OrderFacts,
        groups: Sequence[Estimates],
        target: Target,
        compute_weight: float | None,
        part_price: float = PART_PRICE,
    ) -> None:
        self._facts, self._groups = facts, groups
        self._crossing = crossing_bytes(facts)
        self._capacity = float(target.fastest.capacity_bytes)
        self._rate = _slow_rate(target)
        self._grain = float(target.slice_granularity_bytes)
        self._compute_weight = compute_weight
        self._transfer_weight = 1.0 if compute_weight is None else 1.0 - compute_weight
        weights = (v.size_bytes for v in facts.graph.values.values() if v.kind == "weight")
        each = part_price if facts.fitting_bytes is None else max(part_price, FITTED_PART_PRICE)
        self._price = each * max(sum(facts.compute_s), sum(weights) / self._rate)
        self._tables: dict[int, GroupTable] = {}

    def best(
        self, begin: int, end: int, rng: np.random.Generator | None = None, spread: float = 0.0
    ) -> list[Cascade]:
        """The groups of the smallest estimate that make up positions [begin, end).

        Args:
            begin: first position; what comes before it costs nothing.
            end: one past the last.
            rng: draws a factor for each group's own time, so that other calls find other groups.
            spread: standard deviation of the factors' logarithm.
        """
        tables: dict[int, GroupTable] = {}
        best: dict[int, Floats] = {}  # by end, by group: estimate of everything up to it
        before: dict[int, Ints] = {}  # by end, by group: its predecessor
        for last in range(begin + 1, end + 1):
            table = self.table(last, begin)
            own_s = table.own_s
            if rng is not None:
                own_s = own_s * np.exp(spread * rng.standard_normal(len(own_s)))
            values = np.empty(len(table.groups))
            previous = np.full(len(table.groups), -1, dtype=np.int64)
            for first in np.unique(table.firsts):
                rows = np.flatnonzero(table.firsts == first)
                if first == begin:
                    values[rows] = own_s[rows]
                    continue
                total = best[first][:, None] + self.between(tables[first], table, rows)
                previous[rows] = total.argmin(axis=0)
                values[rows] = total.min(axis=0) + own_s[rows]
            tables[last], best[last], before[last] = table, values, previous
        cascades: list[Cascade] = []
        row = int(best[end].argmin())
        while end > begin:
            group = tables[end].groups[row]
            cascades.append(group.cascade)
            row = int(before[end][row])
            end = group.cascade.first
        return cascades[::-1]

    @property
    def crossing_bytes(self) -> Floats:
        """(N + 1,) bytes of computed values that are live between operators."""
        return self._crossing

    @property
    def part_price_s(self) -> float:
        """Seconds that a part costs beside its overhead."""
        return self._price

    @property
    def rules(self) -> tuple[float, float, float, float]:
        """What `between` counts with beside the groups where operands may lie in any memory.

        Returns:
            Capacity (bytes), rate of the second memory (bytes/s), weight of transfers, and bytes
            that each cell is rounded up by.
        """
        return self._capacity, self._rate, self._transfer_weight, self._grain

    def table(self, last: int, begin: int = 0) -> GroupTable:
        """The groups that end before position `last` and begin no sooner than `begin`."""
        if last not in self._tables:
            self._tables[last] = _table(
                self._facts, self._groups[last - 1], self._rate, self._price, self._compute_weight
            )
        table = self._tables[last]
        inside = np.flatnonzero(table.firsts >= begin)
        return table if len(inside) == len(table.groups) else table.rows(inside)

    def corrected(self, own_s: Sequence[Floats], between_scale: Sequence[Floats]) -> "Chain":
        """The same program with other costs.

        Args:
            own_s: by position, for each group of `table` what it pays for itself.
            between_scale: by position, for each group a factor on what it pays together with the
                one in front of it.
        """
        other = copy(self)
        other._tables = {  # noqa: SLF001 - a copy of this very program
            last: replace(self.table(last), own_s=own_s[last - 1], between_scale=scale)
            for last, scale in enumerate(between_scale, 1)
        }
        return other

    def between(self, one: GroupTable, other: GroupTable, rows: Ints) -> Floats:
        """(groups of one, rows of the other) seconds that neighbours pay for what is between."""
        return np.asarray(self._paid_between(one, other, rows) * other.between_scale[rows])

    def _paid_between(self, one: GroupTable, other: GroupTable, rows: Ints) -> Floats:
        used = np.maximum(one.back_bytes[:, None], other.front_bytes[None, rows])
        live = self._crossing[other.firsts[rows[0]]]
        spilled = np.clip(live - (self._capacity - used), 0.0, live) / max(1.0, live)
        moved = one.produced_bytes[:, None] + other.consumed_bytes[None, rows]
        cells = _cells(one, other, rows)
        if self._facts.fitting_bytes is None:  # each cell is rounded up
            spilled_bytes = spilled * moved + cells * self._grain
            return np.asarray(self._transfer_weight * spilled_bytes / self._rate)
        total = self._transfer_weight * spilled * moved / self._rate
        total += self._price * CELL_SHARE * cells
        room = self._capacity - one.back_bytes[:, None]
        late = np.clip(other.first_bytes[None, rows] - room, 0.0, None)
        return np.asarray(total + late / self._rate)


def _cells(one: GroupTable, other: GroupTable, rows: Ints) -> Floats:
    """Cells of what neighbours pass on that are cut along different axes."""
    differ = one.axes[:, None] != other.axes[None, rows]
    cut = (one.stripes[:, None] > 1) & (other.stripes[None, rows] > 1)
    return np.where(differ & cut, one.stripes[:, None] * other.stripes[None, rows], 0.0)


def _table(
    facts: OrderFacts,
    groups: Estimates,
    rate: float,
    price: float,
    compute_weight: float | None,
) -> GroupTable:
    """The groups as arrays; those whose line buffers do not fit are left out."""
    capacity = float(facts.target.fastest.capacity_bytes)
    every = groups.figures
    rows = np.flatnonzero((every.stripes == 1) | (every.kept_bytes <= capacity))
    g = every if len(rows) == len(groups) else every.rows(rows)
    room = np.maximum(0.0, capacity - g.kept_bytes)
    moved_s = (g.weight_bytes + g.given_bytes + g.read_again(room) - g.late_bytes) / rate
    if compute_weight is None:
        seconds = together_each(facts, g.compute_s, moved_s)
    else:
        seconds = compute_weight * g.compute_s + (1.0 - compute_weight) * moved_s
    own = seconds + g.late_bytes / rate + price * g.parts
    used_once = g.weight_bytes - g.cut_weight_bytes * (1 - 1 / g.stripes)
    held = np.minimum(capacity, g.kept_bytes + used_once)
    whole = g.stripes == 1
    if facts.fitting_bytes is not None:  # of a part, weights included
        held = np.where(g.operators == 1, g.kept_bytes, held)
        whole &= g.operators > 1
    # A grid's first part has its share of the weights, others those of an operator.
    shares = np.where(np.isnan(g.again_bytes), g.operators, g.parts)
    return GroupTable(
        [groups[row] for row in rows.tolist()],
        g.firsts,
        own,
        g.compute_s,
        moved_s,
        np.ones(len(rows)),
        np.where(whole, np.minimum(capacity, g.produced_bytes), held),
        np.where(whole, np.minimum(capacity, g.consumed_bytes), held),
        g.consumed_bytes,
        g.produced_bytes,
        g.axes,
        g.stripes,
        g.weight_bytes / np.maximum(1, shares),
    )


def together_each(facts: OrderFacts, compute_s: Floats, moved_s: Floats) -> Floats:
    """(G,) `OrderFacts.together` for each of some groups."""
    exposed = facts.target.compute.exposed
    return np.asarray(np.maximum(compute_s + exposed * moved_s, moved_s))


def crossing_bytes(facts: OrderFacts) -> Floats:
    """(N + 1,) bytes of computed values live between the operators before and behind a position."""
    change = np.zeros(len(facts.order) + 2)
    for name, place in facts.maker.items():
        readers = [p for p in facts.readers.get(name, ()) if p < len(facts.order)]
        if readers:
            change[place + 1] += facts.size(name)
            change[max(readers) + 1] -= facts.size(name)
    return np.asarray(change.cumsum()[:-1])


def _slow_rate(target: Target) -> float:
    """Bytes per second at which the second tier is read."""
    return target.tiers[1].read_bytes_per_s
