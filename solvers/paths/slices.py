"""From shares to slices: byte ranges with one path each, that fit into every tier at every step.

It begins with a streaming plan (every copy as short as can be, operator by operator) and replaces
it segment by segment by what the relaxation requests; what does not fit goes the cheapest way that
does. So a legal plan is at hand at any time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.solvers.paths.network import LiveRange, PathPrices, TierNetwork
from ullage.solvers.paths.paths import ALL_TIERS, START, Finder, Path, is_exact
from ullage.solvers.state.busy_time import Moves
from ullage.solvers.state.segments import Segment

# Price of a byte of the fastest tier for one step in a streaming plan; that of other tiers is 1.
STREAMING_FASTEST = 3.0
# The same of a segment's home, where what passes other tiers is not to wait in them.
STREAMING_HOME = 0.5
# Price of moving a byte in a streaming plan, in bytes of a slower tier for one step.
STREAMING_MOVE = 0.4
# How often a slice that does not fit is halved to find the part that does.
HALVINGS = 6


@dataclass(frozen=True, eq=False)
class Slice:
    """The bytes [start_byte, end_byte) of a segment's buffer on one path.

    Attributes:
        segment: index of the segment.
        start_byte: first byte in the buffer.
        end_byte: one past the last.
        path: where it is and when.
        parts: (bytes, path) of what was joined to it and moves at different steps, whose moves its
            transfers make; none for a slice that moves as a whole.
    """

    segment: int
    start_byte: int
    end_byte: int
    path: Path
    parts: tuple[tuple[int, Path], ...] = ()

    @property
    def moving(self) -> tuple[tuple[int, Path], ...]:
        """(bytes, path) of what moves together."""
        return self.parts or ((self.end_byte - self.start_byte, self.path),)

    def moves_into(self, row: int) -> Moves:
        """(step, bytes) of the transfer into a residency of the path, in order of steps."""
        moved: dict[int, int] = {}
        for size, path in self.moving:
            step = int(path.residencies[row, START])
            moved[step] = moved.get(step, 0) + size
        return tuple(sorted(moved.items()))


class NoRoom(Exception):  # noqa: N818 - it is caught where it is expected
    """A segment found no way with room.

    Attributes:
        segment: index of the segment.
    """

    def __init__(self, segment: int) -> None:
        super().__init__(f"segment {segment} has no way with room")
        self.segment = segment


class Ledger:
    """Bytes taken in each tier at each step, in whole units of space.

    Attributes:
        network: the network.
        units: (n,) bytes that space is handed out in: pages where a tier has them, else alignments.
        paged: (n,) whether units begin at multiples inside the buffer.
        to_last_byte: a unit that begins inside a tier without pages and ends behind it is room,
            too: the padding of what lies on top is no part of the memory. What fits so by the sum
            of its bytes may find no address.
        load: (n, T) bytes.
    """

    def __init__(
        self,
        network: TierNetwork,
        units: Sequence[int],
        paged: Sequence[bool],
        *,
        to_last_byte: bool = False,
    ) -> None:
        self.network = network
        self.to_last_byte = to_last_byte
        self.units = list(units)
        self.paged = list(paged)
        self.load = np.zeros_like(network.room)
        self.room = np.zeros_like(network.room)
        self.reset_room()

    def reset_room(self) -> None:
        """Make the room that of the tiers again, in whole units."""
        units = np.array(self.units)[:, None]
        self.room = self.network.room // units * units
        if self.to_last_byte:
            whole = np.array(self.paged)[:, None]
            self.room = np.where(whole, self.room, -(-self.network.room // units) * units)

    def needs(self, tier: int, start_byte: int, end_byte: int) -> int:
        """Bytes that a byte range takes in a tier."""
        unit = self.units[tier]
        if self.paged[tier]:
            return (-(-end_byte // unit) - start_byte // unit) * unit
        return -(-(end_byte - start_byte) // unit) * unit

    def book(self, item: Slice, sign: int = 1) -> None:
        """Take the space of a slice, or give it back (sign -1)."""
        for tier, start, _, end, _ in item.path.residencies.tolist():
            size = self.needs(tier, item.start_byte, item.end_byte)
            self.load[tier, start:end] += sign * size

    def fits(self, item: Slice) -> bool:
        """Whether there is room for a slice that is not booked."""
        for tier, start, _, end, _ in item.path.residencies.tolist():
            size = self.needs(tier, item.start_byte, item.end_byte)
            if (self.load[tier, start:end] + size > self.room[tier, start:end]).any():
                return False
        return True

    def masked(self, space: Floats, start_byte: int, end_byte: int) -> Floats:
        """The prices of space (n, T), made infinite where a byte range has no room."""
        sizes = np.array([[self.needs(m, start_byte, end_byte)] for m in range(len(self.units))])
        return np.where(self.load + sizes > self.room, np.inf, space)


def part_of(live_range: LiveRange, size_bytes: int) -> LiveRange:
    """The live range of a part of a segment, which pays for its own set-ups."""
    share = size_bytes / live_range.size_bytes
    return replace(
        live_range,
        size_bytes=size_bytes,
        setup_share=1.0,
        read_bytes=live_range.read_bytes * share,
        written_bytes=live_range.written_bytes * share,
    )


def streaming_prices(network: TierNetwork) -> PathPrices:
    """Prices by which little of the fastest tier is taken: of space and of moves alone."""
    n, steps = network.tiers, network.steps
    space = np.ones((n, steps))
    space[0] = STREAMING_FASTEST
    move = np.full((n, n, steps), np.inf)
    move[network.links[:, 0], network.links[:, 1]] = STREAMING_MOVE
    none = np.zeros_like(space)
    return PathPrices(space, move, np.zeros_like(move), none, none)


class Slicer:
    """Gives every byte of every segment a path with room.

    Attributes:
        network: the network.
        segments: the segments.
        live_ranges: of the segments; None for one that never exists.
        finder: finds cheapest paths.
        ledger: the bytes taken in each tier at each step.
        grains: for each segment the bytes at whose multiples it may be cut; 0: not at all.
        items: segment -> its slices in byte order.
        carries: mask of the tiers in which slices that were not requested so may be loop-carried.
        space_prices: (n, T) of a byte's space, in the objective, by which `polish` chooses among
            paths; 0 at first.
    """

    def __init__(
        self,
        network: TierNetwork,
        segments: Sequence[Segment],
        live_ranges: Sequence[LiveRange | None],
        finder: Finder,
        ledger: Ledger,
        grains: Sequence[int],
    ) -> None:
        self.network, self.segments, self.live_ranges = network, segments, live_ranges
        self.finder, self.ledger, self.grains = finder, ledger, grains
        self.items: dict[int, list[Slice]] = {}
        self.carries = ALL_TIERS
        self.space_prices: Floats = np.zeros((network.tiers, network.steps))

    def space_price(self, path: Path) -> float:
        """What a byte's space on a path costs at `space_prices`, in the objective."""
        return sum(
            float(self.space_prices[tier, start:end].sum())
            for tier, start, _, end, _ in path.residencies.tolist()
        )

    def streaming(self, *, leaves_early: bool = False) -> None:
        """Place all segments with as little space as they need.

        Args:
            leaves_early: what passes other tiers goes home at once, and waits in none of them. It
                may wait otherwise, which takes as many bytes for as many steps.

        Raises:
            NoRoom: a segment found no way with room.
        """
        tiers = self.network.target.tier_index
        prices = streaming_prices(self.network)
        early = {tier: streaming_prices(self.network) for tier in tiers} if leaves_early else {}
        for tier, by_home in early.items():
            by_home.space[tiers[tier]] = STREAMING_HOME
        wanted = [i for i, live_range in enumerate(self.live_ranges) if live_range is not None]
        wanted.sort(key=lambda i: (self._freedom(i), -self.segments[i].size_bytes, i))
        for index in wanted:
            segment = self.segments[index]
            cost = early.get(segment.home, prices)
            placed = self._placed(index, segment.start_byte, segment.end_byte, cost, carry=0)
            if placed is None:
                raise NoRoom(index)
            self.items[index] = placed

    def _freedom(self, index: int) -> int:
        """Choice of tiers for operands: 0 the fastest only, 1 several but not home, 2 home too."""
        live_range = self.live_ranges[index]
        assert live_range is not None  # noqa: S101 - callers ask for segments with a live range
        home = 1 << self.network.target.tier_index[self.segments[index].home]
        if live_range.reach == 1:
            return 0
        return 2 if live_range.reach & home else 1

    def _placed(
        self, index: int, low: int, high: int, prices: PathPrices, *, carry: int = ALL_TIERS
    ) -> list[Slice] | None:
        """A byte range on the cheapest paths with room, cut where it must be; None without any.

        What is returned is booked.
        """
        live_range = self.live_ranges[index]
        assert live_range is not None  # noqa: S101 - callers ask for segments with a live range
        masked = replace(prices, space=self.ledger.masked(prices.space, low, high))
        part = part_of(live_range, high - low)
        cost, path = self.finder.cheapest(part, masked, carry=carry, exact=True)
        if path is not None and np.isfinite(cost):
            item = Slice(index, low, high, path)
            self.ledger.book(item)
            return [item]
        middle = self._middle(index, low, high)
        if middle is None:
            return None
        first = self._placed(index, low, middle, prices, carry=carry)
        if first is None:
            return None
        second = self._placed(index, middle, high, prices, carry=carry)
        if second is None:
            for item in first:
                self.ledger.book(item, -1)
            return None
        return [*first, *second]

    def _middle(self, index: int, low: int, high: int) -> int | None:
        """A legal cut near the middle of a byte range."""
        grain = self.grains[index]
        if not grain:
            return None
        middle = (low + high) // 2 // grain * grain
        if middle <= low:
            middle += grain
        return middle if low < middle < high else None

    def place(self, items: Mapping[int, Sequence[Slice]]) -> None:
        """Begin again with other slices of all segments, whether they fit or not."""
        self.ledger.load[:] = 0
        self.items = {index: list(slices) for index, slices in items.items()}
        for slices in self.items.values():
            for item in slices:
                self.ledger.book(item)

    def take(
        self,
        requests: dict[int, list[Slice]],
        order: Sequence[int],
        prices: PathPrices,
        is_over: Callable[[], bool] = lambda: False,
    ) -> int:
        """Replace the slices of segments by requested ones; returns how many went another way.

        Args:
            requests: segment -> slices that cover it.
            order: segments, the most valuable first.
            prices: prices by which slices that do not fit get other paths.
            is_over: whether the time is over; the rest of the segments is then left as it is.
        """
        others = 0
        for index in order:
            if is_over():
                break
            old = self.items[index]
            for item in old:
                self.ledger.book(item, -1)
            placed: list[Slice] | None = []
            for request in requests[index]:
                assert placed is not None  # noqa: S101 - the loop ends when it is None
                more = self._accepted(request, prices, HALVINGS)
                if more is None:
                    for item in placed:
                        self.ledger.book(item, -1)
                    placed = None
                    break
                others += sum(item.path is not request.path for item in more)
                placed += more
            if placed is None:
                placed = old
                for item in placed:
                    self.ledger.book(item)
            self.items[index] = placed
        return others

    def _accepted(self, request: Slice, prices: PathPrices, halvings: int) -> list[Slice] | None:
        """As much of a requested slice as fits, the rest on other paths; None without any path."""
        live_range = self.live_ranges[request.segment]
        assert live_range is not None  # noqa: S101 - only segments with a live range have slices
        if not is_exact(live_range, request.path):
            halvings = 0
        elif self.ledger.fits(request):
            self.ledger.book(request)
            return [request]
        middle = (
            self._middle(request.segment, request.start_byte, request.end_byte)
            if halvings
            else None
        )
        if middle is None:
            low, high = request.start_byte, request.end_byte
            return self._placed(request.segment, low, high, prices, carry=self.carries)
        slices: list[Slice] = []
        for half in (replace(request, end_byte=middle), replace(request, start_byte=middle)):
            more = self._accepted(half, prices, halvings - 1)
            if more is None:
                for item in slices:
                    self.ledger.book(item, -1)
                return None
            slices += more
        return slices

    def peaks_with(self, tiers: Sequence[int], room_bytes: int) -> dict[int, int] | None:
        """Bytes that streaming takes at most in each of some tiers if all of them had room.

        None where there is no streaming plan even so.
        """
        ledger = Ledger(
            self.network,
            self.ledger.units,
            self.ledger.paged,
            to_last_byte=self.ledger.to_last_byte,
        )
        ledger.room[list(tiers)] = room_bytes
        other = Slicer(
            self.network, self.segments, self.live_ranges, self.finder, ledger, self.grains
        )
        try:
            other.streaming()
        except NoRoom:
            return None
        listed = self.network.target.tiers
        return {
            m: int((ledger.load[m] + listed[m].capacity_bytes - self.network.room[m]).max())
            for m in tiers
        }
