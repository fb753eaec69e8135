"""Parts of weights that come one after the other into one slot, in few transfers.

While an operator reads a part, the next one has no room unless both are small; it comes in the
steps between the two operators. What the link could bring while operators read parts comes in
smaller chunks, each over several of these operators, into two slots that take turns:

    step       | read a |       | read b |       | read c |       | read d |
    slot       |   a ===| b ----| b =====| c ----| c =====| d ----| d =====|
    chunks     | of d --------- | -------------- | -------------- | d =====|
               |        |       |        |       |        |       | (other slot) of g ----- ...

The first part comes behind the last one, at the end of the inference before. Data beside weights
that is there between two readers only lies in the slot, too, and the next part comes behind it.

What is in slots cannot stay, and each transfer is set up: few transfers need a large slot. The
number of weights, and the size of chunks, are chosen by an estimate of the time.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ullage.compiler.common.arrays import Bools, Floats, Ints
from ullage.solvers.fluid.refill.data import Blocks
from ullage.solvers.fluid.refill.pieces import Readable

# Sizes of chunks that are tried, in bytes that move while a transfer is set up.
CHUNK_SETUPS = (0, 4, 8, 12, 16, 24, 32, 48, 64, 96)
# Numbers of weights are tried in steps of this share of them.
COUNT_STEP = 0.12


@dataclass(frozen=True)
class Room:
    """The middle tier, and the link from the weights' home to it.

    Attributes:
        spare: (T,) bytes that the link moves in each step while other things take their time.
        setup_bytes: bytes that move while a transfer is set up.
        bytes: of the tier, and of the fastest one where weights may stay there.
        grain_bytes: parts begin at multiples of it, and what stays is aligned to it.
        data: what else is there.
    """

    spare: Floats
    setup_bytes: float
    bytes: int
    grain_bytes: int
    data: Blocks

    def aligned(self, size_bytes: int) -> int:
        """A multiple of the grain that is no less."""
        return -(-size_bytes // self.grain_bytes) * self.grain_bytes


@dataclass(frozen=True)
class Stream:
    """Bytes of a weight that come in one transfer.

    Attributes:
        weight: the weight.
        start: first byte of its ranges, one by one, that comes.
        end: one past the last.
        place: their address in the slots.
        moves: (step, bytes) as they come.
    """

    weight: Readable
    start: int
    end: int
    place: int
    moves: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Slots:
    """A way in which parts of weights stream.

    Attributes:
        streams: what comes.
        part_bytes: of the slot for parts.
        size_bytes: of all slots together.
        shared: (N,) the blocks of data that lie in the slot for parts.
        estimate: bytes that the link could move in the time that it takes.
    """

    streams: tuple[Stream, ...]
    part_bytes: int
    size_bytes: int
    shared: Bools
    estimate: float


def slot_ways(
    weights: Sequence[Readable], room: Room, is_over: Callable[[], bool]
) -> Iterator[Slots]:
    """Ways in which parts of weights stream through a slot, for several numbers of weights.

    Args:
        weights: all that are read in the middle tier, in the order in which they are chosen.
        room: where they go.
        is_over: whether no time is left for more.
    """
    taken = sum(room.aligned(weight.size_bytes) for weight in weights)
    nothing = np.zeros(len(room.data.sizes), dtype=np.bool_)
    tried: set[tuple[int, ...]] = set()
    for order in (weights, _longest_last(weights)):
        for count in _counts(len(order)):
            chosen = _apart(order[:count])
            key = tuple(weight.buffer for weight in chosen)
            if is_over():
                return
            if not chosen or key in tried:
                continue
            tried.add(key)
            may_share = room.data.outside(_busy(chosen, len(room.spare)))
            for setups in CHUNK_SETUPS:
                chunk = int(setups * room.setup_bytes) // room.grain_bytes * room.grain_bytes
                if setups and not chunk:
                    continue
                for shared in (may_share, nothing):
                    beside = room.aligned(room.data.load(~shared))
                    excess = taken + beside + 2 * chunk - room.bytes
                    part = _part_bytes(chosen, excess, room)
                    if part is not None and max(chunk, room.data.load(shared)) <= part:
                        yield _slots(chosen, part, chunk, shared, room)
                        break


def _longest_last(weights: Sequence[Readable]) -> list[Readable]:
    """The weights, but those last that are much larger than most: the link waits while one is read.

    Larger than twice the size up to which weights have half of all bytes.
    """
    sizes = np.array(sorted(weight.size_bytes for weight in weights), dtype=np.int64)
    if not len(sizes):
        return []
    half = sizes[int(np.searchsorted(sizes.cumsum(), sizes.sum() / 2))]
    return sorted(weights, key=lambda weight: weight.size_bytes > 2 * half)


def _counts(most: int) -> Iterator[int]:
    """Numbers from 1 to the most, further and further apart."""
    count = 1
    while count < most:
        yield count
        count += max(1, int(COUNT_STEP * count))
    if most:
        yield most


def _apart(weights: Sequence[Readable]) -> list[Readable]:
    """Those between whose readers there is a step in which the next one can come, by time.

    Of two that are too near to each other, the one that is chosen first.
    """
    kept: list[Readable] = []
    rank = {weight.buffer: number for number, weight in enumerate(weights)}
    for weight in sorted(weights, key=lambda w: (w.first, w.last)):
        if weight.first < 1:
            continue
        if kept and kept[-1].last + 1 >= weight.first:
            if rank[kept[-1].buffer] < rank[weight.buffer]:
                continue
            kept.pop()
            if kept and kept[-1].last + 1 >= weight.first:
                continue
        kept.append(weight)
    return kept


def _busy(chosen: Sequence[Readable], steps: int) -> Bools:
    """(T,) steps in which parts must be in the slot."""
    busy = np.zeros(steps, dtype=np.bool_)
    for weight in chosen:
        busy[weight.first - 1 : weight.last + 1] = True
    busy[: chosen[0].first] = True
    busy[-1] = True
    return busy


def _part_bytes(chosen: Sequence[Readable], excess: int, room: Room) -> int | None:
    """The least size of a slot: parts of at most this size leave room for it and for all else.

    Args:
        chosen: the weights that come in parts.
        excess: bytes that have no room, without the slot.
        room: where they go.

    Returns:
        None where nothing has to come, or all of these weights is not enough.
    """
    grain = room.grain_bytes
    if excess <= 0:
        return None
    sizes = np.array([room.aligned(w.size_bytes) // grain for w in chosen], dtype=np.int64)
    need = -(-excess // grain)
    low, high = 1, int(np.sort(sizes)[-2]) if len(sizes) > 1 else 1
    if int(np.minimum(sizes, high).sum()) < need + high:
        return None
    while low < high:
        middle = (low + high) // 2
        if int(np.minimum(sizes, middle).sum()) >= need + middle:
            high = middle
        else:
            low = middle + 1
    return low * grain


@dataclass
class _Chunk:
    """What comes while parts are read.

    Attributes:
        slot: which of the two slots it takes.
        moves: (step, bytes) so far.
    """

    slot: int
    moves: list[tuple[int, int]]

    @property
    def size_bytes(self) -> int:
        """Bytes that came."""
        return sum(size for _, size in self.moves)


class _Timeline:
    """What comes in which step, while parts are put in one by one.

    Attributes:
        left: (T,) bytes that the link could still move in each step; negative where it takes longer
            than all else.
        streams: what comes.
    """

    def __init__(self, room: Room, part_bytes: int, chunk_bytes: int) -> None:
        self.left = room.spare.copy()
        self.streams: list[Stream] = []
        self._room = room
        self._part_bytes = part_bytes
        self._chunk_bytes = chunk_bytes
        self._free_from = [0, 0]  # the first step in which each slot of chunks is free
        self._chunks: list[_Chunk] = []  # that came, or come, and are in no part yet

    def gather(self, steps: range) -> None:
        """Let chunks come, as far as that takes no time."""
        for step in steps if self._chunk_bytes else ():
            while self._gathers(step):
                pass

    def _gathers(self, step: int) -> bool:
        """Let as much of one chunk come in a step as can; whether another one could, too."""
        if not self._chunks or self._chunks[-1].size_bytes == self._chunk_bytes:
            taken = {chunk.slot for chunk in self._chunks}
            free = [k for k in (0, 1) if k not in taken and self._free_from[k] <= step]
            if not free or self.left[step] < 2 * self._room.setup_bytes:
                return False
            self._chunks.append(_Chunk(free[0], []))
        chunk = self._chunks[-1]
        begun = 0.0 if chunk.moves else self._room.setup_bytes
        size = min(int(self.left[step] - begun), self._chunk_bytes - chunk.size_bytes)
        if size <= 0:
            return False
        self.left[step] -= size + begun
        chunk.moves.append((step, size))
        return chunk.size_bytes == self._chunk_bytes

    def take(self, weight: Readable, start: int, *, at_once: bool) -> int:
        """Make a chunk that came the end of a part, if it is whole or must be taken at once.

        Args:
            weight: the weight.
            start: first byte of the part; it ends with the weight.
            at_once: no other part could take it.

        Returns:
            The byte at which it begins; the part's last one without a chunk.
        """
        end = weight.size_bytes
        is_whole = bool(self._chunks) and self._chunks[0].size_bytes == self._chunk_bytes
        if not self._chunks or not (at_once or is_whole):
            return end
        chunk = self._chunks.pop(0)
        begin = max(start, self._room.aligned(end - chunk.size_bytes))
        if begin < end:
            place = self._part_bytes + chunk.slot * self._chunk_bytes
            moves = _cut(chunk.moves, end - begin)
            self.streams.append(Stream(weight, begin, end, place, moves))
            self._free_from[chunk.slot] = weight.last + 1
        return begin

    def bring(self, weight: Readable, start: int, end: int, place: int, steps: range) -> None:
        """Let a part come in some steps: what takes no time, and the rest in the last one."""
        moves: list[tuple[int, int]] = []
        size = end - start
        for step in steps:
            begun = 0.0 if moves else self._room.setup_bytes
            count = size if step == steps[-1] else min(size, int(self.left[step] - begun))
            if count > 0:
                moves.append((step, count))
                self.left[step] -= count + begun
                size -= count
        self.streams.append(Stream(weight, start, end, place, tuple(moves)))


def _slots(
    chosen: Sequence[Readable], part_bytes: int, chunk_bytes: int, shared: Bools, room: Room
) -> Slots:
    """The way with one number of weights and one size of chunks."""
    line = _Timeline(room, part_bytes, chunk_bytes)
    free_at = _free_at(room.data, shared, len(room.spare))
    before, last_size, last_place = range(0), part_bytes, 0
    for number, weight in enumerate(chosen):
        begin, reading = before.stop, range(weight.first, weight.last + 1)
        start = max(0, room.aligned(weight.size_bytes - part_bytes))
        end = line.take(weight, start, at_once=number == len(chosen) - 1)
        size = room.aligned(end - start)
        place = 0
        if number and size + last_size <= part_bytes:  # it can come while the last one is read
            begin = before.start
            place = part_bytes - size if last_place == 0 else 0
        steps = range(max(begin, int(free_at[weight.first - 1])), weight.first)
        if number == 0:
            behind = chosen[-1].last + 1
            tail = range(max(behind, int(free_at[-1])), len(room.spare))
            steps = (
                tail
                if tail and line.left[tail.start :].sum() > line.left[: steps.stop].sum()
                else steps
            )
        if start < end:
            line.bring(weight, start, end, place, steps)
        if number < len(chosen) - 1:
            line.gather(range(before.stop, weight.last + 1))
        before, last_size, last_place = reading, size, place
    estimate = float(np.maximum(room.spare, room.spare - line.left).sum())
    return Slots(tuple(line.streams), part_bytes, part_bytes + 2 * chunk_bytes, shared, estimate)


def _free_at(data: Blocks, shared: Bools, steps: int) -> Ints:
    """(T,) for each step the one from which on no shared block that ends by then is in the slot."""
    free = np.zeros(steps, dtype=np.int64)
    inside = data.ends[shared]
    np.maximum.at(free, np.minimum(inside, steps - 1), inside)
    return np.asarray(np.maximum.accumulate(free))


def _cut(moves: Sequence[tuple[int, int]], size: int) -> tuple[tuple[int, int], ...]:
    """Moves of so many bytes, the last ones left out."""
    result = []
    for step, count in moves:
        if size > 0:
            result.append((step, min(count, size)))
            size -= count
    return tuple(result)
