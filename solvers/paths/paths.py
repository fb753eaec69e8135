"""Paths: a segment's way through tiers and steps, found by prices; columns of the master program.

A weight w whose home is flash, fetched to DRAM, and from there to SRAM twice:

    step      0    2        5    6    7    8         11   12   13
    access                            a0                  a1
    SRAM                         |=...=====|         |=...=====|
    DRAM           |=...==========================================|
    flash     |===================================================|    forced: it never leaves

Each bar is a residency: a row (tier, start, ready, end, source) of `Path.residencies`. Its bytes
come from the source tier in the step before `ready`, from which on they are used. They take space
from `start` on, where their transfer sets up its link: that is the same step (dots), but in the
paths of the relaxation, whose bytes may belong to a transfer that has begun before. A path is
described for all bytes of a segment; the master program gives shares of a segment to several paths.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.solvers.engine.jit import interpreted
from ullage.solvers.paths.network import LiveRange, PathPrices, TierNetwork
from ullage.solvers.paths.path_search import sweep, trace

# Mask of all tiers, however many there are.
ALL_TIERS = -1
# Columns of `Path.residencies`; column 0 is the tier.
START, READY, END, SOURCE = 1, 2, 3, 4


@dataclass(frozen=True)
class Path:
    """The copies of a byte of a segment through its live range, and which of them operators use.

    Attributes:
        residencies: (k, 5) tier, first step that takes space, first step of use, one past the last
            step, and the tier that DMA brings it from in the step before the first of use (-1: an
            operator writes it here, or it is here before the first step).
        served: (E, 2) the tier in which each access reads and writes it, -1 where it does not.
        loop_carried: mask of the tiers in which it survives from one inference to the next.
    """

    residencies: Ints
    served: Ints
    loop_carried: int = 0

    @cached_property
    def key(self) -> bytes:
        """Equal for equal paths."""
        return self.residencies.tobytes() + self.served.tobytes()


def moving_at_once(path: Path) -> Path:
    """The path of bytes that move in the step in which their transfer begins."""
    residencies = path.residencies.copy()
    moves = residencies[:, SOURCE] >= 0
    residencies[moves, START] = residencies[moves, READY] - 1
    return replace(path, residencies=residencies)


class Finder:
    """Finds cheapest paths (`path_search`), and holds the tables that the search fills.

    Args:
        network: the network.
        is_plain: search in plain Python, for few steps and segments: nothing is compiled or loaded.
    """

    def __init__(self, network: TierNetwork, *, is_plain: bool = False) -> None:
        self.network = network
        self.is_plain = is_plain
        self.scratch = np.zeros((2, 1 << network.tiers))
        self.open_at = np.zeros(network.tiers, dtype=np.int64)
        states = 1 << network.tiers
        self.value = np.zeros((network.steps + 1, states))
        self.choices = np.zeros((2, network.steps, states), dtype=np.int64)
        self.rows = np.zeros((network.tiers * (network.steps + 1) + 1, 5), dtype=np.int64)

    def cheapest(
        self,
        live_range: LiveRange,
        prices: PathPrices,
        *,
        carry: int = ALL_TIERS,
        exact: bool = False,
    ) -> tuple[float, Path | None]:
        """The cheapest path and what it costs; infinite and None when there is none.

        Args:
            live_range: the segment's live range.
            prices: prices of space, moves and accesses.
            carry: mask of the tiers in which weights in steady state may stay from one inference
                to the next.
            exact: operators use the fastest copy, as in a plan; else any, as bounds need it.
        """
        best, best_number = np.inf, -1
        begun, since = prices.begun(live_range, exact=exact)
        for start, needed in self._loop_boundaries(live_range, carry=carry):
            cost = self._sweep(live_range, start, needed, prices, begun, exact=exact)
            if cost < best:
                best, best_number, end_needed = cost, start, needed
        if best_number < 0:
            return best, None
        if live_range.is_loop_carried:
            self._sweep(live_range, best_number, end_needed, prices, begun, exact=exact)
        path = self._trace(live_range, best_number, prices, begun, exact=exact)
        for row in path.residencies if not exact else ():
            if row[SOURCE] >= 0:
                row[START] = since[row[SOURCE], row[0], row[START]]
        return best, path

    def _loop_boundaries(self, live_range: LiveRange, *, carry: int) -> list[tuple[int, int]]:
        """Masks to try: tiers with a copy before the first step, tiers with one after the last."""
        if not live_range.is_loop_carried:
            return [(live_range.start, live_range.needed)]
        allowed = carry & self.network.writable & ~live_range.start
        usable = [m for m in range(self.network.tiers) if allowed >> m & 1]
        boundaries = []
        for subset in range(1 << len(usable)):
            extra = sum(1 << m for i, m in enumerate(usable) if subset >> i & 1)
            boundaries.append((live_range.start | extra, live_range.needed | extra))
        return boundaries

    def _sweep(
        self,
        live_range: LiveRange,
        start: int,
        needed: int,
        prices: PathPrices,
        begun: Floats,
        *,
        exact: bool,
    ) -> float:
        about = self._about(live_range, start, needed, exact=exact)
        search = interpreted(sweep) if self.is_plain else sweep
        return float(
            search(
                about,
                float(live_range.size_bytes),
                live_range.marks,
                live_range.moved,
                prices.ports,
                prices.move,
                begun,
                self.value,
                self.choices,
                self.scratch,
            )
        )

    def _trace(
        self,
        live_range: LiveRange,
        start: int,
        prices: PathPrices,
        begun: Floats,
        *,
        exact: bool,
    ) -> Path:
        served = np.full((len(live_range.steps), 2), -1, dtype=np.int64)
        follow = interpreted(trace) if self.is_plain else trace
        count = follow(
            self._about(live_range, start, live_range.needed, exact=exact),
            float(live_range.size_bytes),
            live_range.marks,
            prices.ports,
            prices.move,
            begun,
            self.choices,
            self.rows,
            served,
            self.open_at,
        )
        residencies = self.rows[:count].copy()
        loop_carried = start & ~live_range.start if live_range.is_loop_carried else 0
        return Path(residencies, served, loop_carried)

    def _about(self, live_range: LiveRange, start: int, needed: int, *, exact: bool) -> Ints:
        """The search's first argument (`path_search`)."""
        key = (live_range.begin, live_range.end, start, needed, live_range.forced)
        masks = (live_range.reach, self.network.writable, int(exact))
        return np.array([*key, *masks], dtype=np.int64)


def is_exact(live_range: LiveRange, path: Path) -> bool:
    """Whether operators use the fastest copy that is ready: what plans demand."""
    for step, (read, _) in zip(live_range.steps.tolist(), path.served.tolist(), strict=True):
        ready = path.residencies[
            (path.residencies[:, READY] <= step) & (step < path.residencies[:, END]), 0
        ]
        if read >= 0 and (not len(ready) or ready.min() < read):
            return False  # there is a faster copy, or none at all
    return True


def path_cost(live_range: LiveRange, path: Path, prices: PathPrices, space_sums: Floats) -> float:
    """The cost of a path; `space_sums` (n, T + 1) are running sums of `prices.space`."""
    total = 0.0
    for tier, start, ready, end, source in path.residencies.tolist():
        total += live_range.size_bytes * (space_sums[tier, end] - space_sums[tier, start])
        if source >= 0:
            total += live_range.size_bytes * prices.move[source, tier, ready - 1]
            total += live_range.setup_share * prices.setup[source, tier, start]
    for access, (read, written) in enumerate(path.served.tolist()):
        step = live_range.steps[access]
        if read >= 0:
            total += live_range.read_bytes[access] * prices.read[read, step]
        if written >= 0:
            total += live_range.written_bytes[access] * prices.write[written, step]
    return float(total)


def shifted(
    live_range: LiveRange,
    path: Path,
    prices: PathPrices,
    space_sums: Floats,
    slack: float,
    most: int,
) -> list[Path]:
    """The path with one move at another step, where that costs at most `slack` more.

    A move may happen between the step in which its source is there and the step in which its
    destination is first used; the residencies of both are adapted to it.

    Args:
        live_range: of the segment.
        path: the path.
        prices: of a byte.
        space_sums: (n, T + 1) running sums of `prices.space`.
        slack: in units of the objective.
        most: number of variants, at most.
    """
    moved: list[Path] = []
    rows = path.residencies.tolist()
    moves = sum(row[SOURCE] >= 0 for row in rows)
    for at, (tier, start, ready, _, source) in enumerate(rows):
        if source < 0 or start < ready - 1:
            continue
        if len(moved) >= most:
            break
        origin = _source_of(rows, source, start)
        used = first_need(live_range, path, rows, at)
        low, high = rows[origin][READY], used
        written = live_range.steps[live_range.writes & (live_range.steps < start)]
        low = max(low, _gone_before(rows, at), int(written[-1]) + 1 if len(written) else 0)
        high = min([high, *(r[START] for r in rows if r[0] == source and r[START] > start)])
        if high - low < 2:
            continue
        steps = np.arange(low, high)
        held = space_sums[tier, high] - space_sums[tier, low:high]
        cost = live_range.size_bytes * (prices.move[source, tier, low:high] + held)
        cost = cost + live_range.setup_share * prices.setup[source, tier, low:high]
        # The source is kept until the move, where nothing else needs it.
        bound_end = _last_need(live_range, path, rows, origin, at)
        waits = np.maximum(steps + 1, bound_end)
        cost = cost + live_range.size_bytes * space_sums[source, waits]
        extra = cost - cost[start - low]
        paying = np.flatnonzero((extra <= slack) & (steps != start))
        if not len(paying):
            continue
        picked = paying[
            np.linspace(0, len(paying) - 1, min(-(-most // moves), len(paying))).astype(np.int64)
        ]
        for step in steps[np.unique(picked)].tolist():
            residencies = path.residencies.copy()
            residencies[at, START], residencies[at, READY] = step, step + 1
            if not _lasts_to_the_end(live_range, rows[origin]):
                residencies[origin, END] = max(step + 1, bound_end)
            moved.append(replace(path, residencies=residencies))
    return moved


def _source_of(rows: list[list[int]], tier: int, step: int) -> int:
    """Index of the residency in a tier that is ready in a step."""
    return next(i for i, r in enumerate(rows) if r[0] == tier and r[READY] <= step < r[END])


def _lasts_to_the_end(live_range: LiveRange, row: list[int]) -> bool:
    """Whether a residency must last to the end of the live range."""
    return row[END] >= live_range.end or bool(live_range.forced >> row[0] & 1)


def _gone_before(rows: list[list[int]], at: int) -> int:
    """End of the residency in the same tier before this one."""
    tier, start = rows[at][0], rows[at][START]
    return max((r[END] for r in rows if r[0] == tier and r[END] <= start), default=0)


def first_need(live_range: LiveRange, path: Path, rows: list[list[int]], at: int) -> int:
    """First step at which a residency is used: by an operator, as a source, or at the end."""
    tier, _, ready, end, _ = rows[at]
    need = max(end, live_range.end)
    for access, (read, written) in enumerate(path.served.tolist()):
        step = int(live_range.steps[access])
        if ready <= step < end and tier in (read, written):
            need = min(need, step)
    for other in rows:
        if other[SOURCE] == tier and ready <= other[READY] - 1 < end:
            need = min(need, other[READY] - 1)
    return max(min(need, end), rows[at][READY])


def _last_need(
    live_range: LiveRange, path: Path, rows: list[list[int]], origin: int, without: int
) -> int:
    """One past the last step at which a residency is needed, without the move of row `without`."""
    tier, start, ready, end, _ = rows[origin]
    if _lasts_to_the_end(live_range, rows[origin]):
        return end
    need = start + 1
    for access, (read, written) in enumerate(path.served.tolist()):
        step = int(live_range.steps[access])
        if ready <= step < end and tier in (read, written):
            need = max(need, step + 1)
    for i, other in enumerate(rows):
        if i != without and other[SOURCE] == tier and ready <= other[READY] - 1 < end:
            need = max(need, other[READY])
    return need
