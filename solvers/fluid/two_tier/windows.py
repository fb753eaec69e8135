"""Opening windows: which data would gain from moving at another step, by the LP's own prices.

The program first has variables for some steps of each gap only (`model`); this is column
generation over the others. The price of arriving at step t is that of the moved bytes at t and of
the space until the access; the gain is what the access pays for data that is there, less that
price. At most the whole segment arrives early, so the largest gains of all gaps, summed, are what
the closed windows can be worth at most: the optimum with all windows open is not further below than
that (weak duality).
"""

from collections.abc import Iterator, Sequence

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.solvers.fluid.two_tier.model import Windows
from ullage.solvers.fluid.two_tier.program import FluidProgram, Gap, SpillVariables
from ullage.solvers.lp.program import LpSolution
from ullage.solvers.state.segments import Segment

# Number of steps at most that one round opens in a gap.
ADDED_STEPS = 96


class WindowPrices:
    """Prices of space and moves at each step, by the multipliers of a solution.

    Attributes:
        steps: T.
        duals: (m,) multipliers of the program's rows.
        space: (2 T + 1,) price of a byte's space from step -T up to, without, step t, at T + t.
        moves: (source, destination) of a link -> (T,) price of moving a byte; infinite in pauses.
        fastest: name of the fastest tier.
        setups: set-ups of the links; None where the program leaves them out.
    """

    def __init__(self, fluid: FluidProgram, solution: LpSolution) -> None:
        builder = fluid.builder
        duals = solution.duals
        space = builder.space_prices(duals)
        self.steps = builder.steps
        self.duals = duals
        self.space: Floats = np.concatenate([[0.0], np.cumsum(np.concatenate([space, space]))])
        self.moves = {
            (link.source, link.destination): np.where(
                builder.pauses.is_pause,  # those that can be better are open from the beginning
                np.inf,
                builder.move_prices(duals, link.source, link.destination),
            )
            for link in builder.target.links
        }
        self.fastest = builder.target.fastest.name
        self.setups = builder.setups

    def early_gains(self, gap: Gap, segment: Segment) -> tuple[Ints, Floats]:
        """Closed steps of a gap, and what arriving of the whole segment there would gain."""
        size = segment.size_bytes
        price = self.moves[segment.home, self.fastest]
        early = np.setdiff1d(np.arange(gap.first_step, gap.end), gap.steps, assume_unique=True)
        space = self.space[gap.end + self.steps] - self.space[early + self.steps]
        gain = self.duals[gap.sum_row]
        if self.setups is not None:
            gain = gain - self.setups.arrival_prices(segment, self.duals, early % self.steps)
        return early, np.asarray(gain - size * (price[early % self.steps] + space))

    def late_gains(
        self, spill: SpillVariables, segment: Segment, later: float
    ) -> tuple[Ints, Floats]:
        """Closed steps of a gap, and what spilling of the whole segment there would gain.

        Args:
            spill: the gap.
            segment: the segment.
            later: sum of the multipliers that a copy at home earns: of its reader's row, and of
                the later gaps of the same write.

        Returns:
            The steps, and for each the gain of the better of a lingering spill and a copy.
        """
        price = self.moves[self.fastest, segment.home]
        late = np.setdiff1d(np.arange(spill.first_step, spill.end), spill.steps, assume_unique=True)
        space = self.space[late + self.steps + 1] - self.space[spill.lingers_from + self.steps]
        lingering = max(self.duals[spill.row], 0.0) - segment.size_bytes * space
        gains = np.maximum(lingering, 0.0) + later - segment.size_bytes * price[late]
        return late, np.asarray(gains, dtype=np.float64)


def open_windows(
    windows: Windows,
    fluid: FluidProgram,
    segments: Sequence[Segment],
    solution: LpSolution,
    worth: float,
) -> tuple[int, float]:
    """Open earlier steps for arrivals, and later steps for spills, where that would pay.

    Args:
        windows: the open steps; is added to.
        fluid: the program.
        segments: the segments that it was built from.
        solution: its optimum, with multipliers.
        worth: gains below it add nothing, in the program's units.

    Returns:
        How many segments got more moves, and the sum of all gains, which bounds what the moves that
        the program did not know are worth.
    """
    prices = WindowPrices(fluid, solution)
    opened = 0
    shortfall = 0.0
    for gap in _partial_gaps(fluid):
        steps, gains = prices.early_gains(gap, segments[gap.segment])
        shortfall += max(0.0, float(gains.max()))
        key = (gap.segment, gap.access)
        windows.arrivals[key] = gap.steps[gap.steps < gap.end - windows.default_steps]
        opened += _add_steps(windows.arrivals, key, steps[gains > worth])
    for spill, later in _partial_spills(fluid, prices):
        steps, gains = prices.late_gains(spill, segments[spill.segment], later)
        shortfall += 2.0 * max(0.0, float(gains.max()))  # as e and as f
        key = (spill.segment, spill.reader)
        opened += _add_steps(windows.spills, key, steps[gains > worth])
    return opened, shortfall


def _add_steps(known: dict[tuple[int, int], Ints], key: tuple[int, int], paying: Ints) -> int:
    """Open steps, evenly chosen among those that pay; returns 1 if there were any, else 0."""
    if not len(paying):
        return 0
    spaced = np.linspace(0, len(paying) - 1, min(len(paying), ADDED_STEPS)).astype(np.int64)
    known[key] = np.union1d(known.get(key, paying[:0]), paying[spaced])
    return 1


def closed_worth(fluid: FluidProgram, segments: Sequence[Segment], solution: LpSolution) -> float:
    """Upper bound of the worth of all closed windows, in time linear in the number of gaps.

    The sum of gains of `open_windows`, but with the best step of each gap looked up, open ones
    included, so the result may be larger, never smaller. Not for steady state.
    """
    prices = WindowPrices(fluid, solution)
    steps = prices.steps
    space = prices.space[steps : 2 * steps + 1]
    early: dict[tuple[str, str], RangeMaxima] = {}
    cheapest: dict[tuple[str, str], RangeMaxima] = {}
    late: dict[tuple[str, str], RangeMaxima] = {}
    for link, price in prices.moves.items():
        early[link] = RangeMaxima(space[:-1] - price)
        cheapest[link] = RangeMaxima(-price)
        late[link] = RangeMaxima(-(space[1:] + price))
    worth = 0.0
    for gap in _partial_gaps(fluid):
        size = segments[gap.segment].size_bytes
        best = early[segments[gap.segment].home, prices.fastest].of(gap.first_step, gap.end)
        worth += max(0.0, prices.duals[gap.sum_row] + size * (best - space[gap.end]))
    for spill, later in _partial_spills(fluid, prices):
        gap_price = max(prices.duals[spill.row], 0.0)
        segment = segments[spill.segment]
        link = prices.fastest, segment.home
        held = late[link].of(spill.first_step, spill.end) + space[spill.lingers_from]
        lingering = gap_price + later + segment.size_bytes * held
        copied = later + segment.size_bytes * cheapest[link].of(spill.first_step, spill.end)
        worth += max(0.0, lingering) + max(0.0, copied)
    return worth


class RangeMaxima:
    """The largest of any stretch of an array, looked up in constant time.

    Level k has the maxima of all stretches of 2^k numbers; two of them cover any stretch.
    """

    def __init__(self, values: Floats) -> None:
        self.levels = [values]
        width = 1
        while 2 * width <= len(values):
            last = self.levels[-1]
            self.levels.append(np.maximum(last[:-width], last[width:]))
            width *= 2

    def of(self, low: int, high: int) -> float:
        """The largest of values[low:high], which is not empty."""
        level = (high - low).bit_length() - 1
        maxima = self.levels[level]
        return float(max(maxima[low], maxima[high - (1 << level)]))


def _partial_gaps(fluid: FluidProgram) -> Iterator[Gap]:
    """Gaps with closed steps for arrivals."""
    pauses = fluid.builder.pauses
    for gap in fluid.gaps:
        if len(gap.steps) and pauses.count_arrivals(gap.first_step, gap.end) > len(gap.steps):
            yield gap


def _partial_spills(
    fluid: FluidProgram, prices: WindowPrices
) -> Iterator[tuple[SpillVariables, float]]:
    """Gaps with closed steps for spills, with the multipliers that a copy at home earns.

    What is stored in a gap is at home for its reader, and for the later gaps of the same write.
    """
    pauses = fluid.builder.pauses
    later = 0.0
    following: SpillVariables | None = None
    for spill in reversed(fluid.spills):
        if following is None or (following.segment, following.write) != (
            spill.segment,
            spill.write,
        ):
            later = 0.0
        later += max(prices.duals[spill.read_row], 0.0) if spill.read_row >= 0 else 0.0
        span = spill.first_step, spill.end, spill.since
        if len(spill.steps) and pauses.count_spills(*span) > len(spill.steps):
            yield spill, later
        later += max(prices.duals[spill.row], 0.0) if spill.row >= 0 else 0.0
        following = spill
