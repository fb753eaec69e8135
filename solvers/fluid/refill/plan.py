"""Weights larger than the memory behind their home: a part stays, the rest streams through.

In steady state weights come from a slow home (flash, an NVMe drive) into a middle tier (DRAM) with
room for a part of them. `reduced` gives that tier room for all: a problem that costs no more, and
that needs no link from home. `refill` makes a plan of the problem itself from one of that: of some
weights an equal part is brought in every inference, as late as it may; all else stays.

    dram    |==== stays ====|== slot ==|== slot ==|       flash is read in every step

Two ways are tried, and the better one is made: pieces come into slots of one size (`piecewise`), or
whole parts into one (`one_slot`), which needs fewer transfers.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ullage.compiler.common.arrays import Floats
from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.plan import Residency, Transfer
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Link, Tier
from ullage.hwmodels.cost import score, value_of
from ullage.solvers.fluid.refill.data import blocks_of, others
from ullage.solvers.fluid.refill.one_slot import Room, Slots, Stream, slot_ways
from ullage.solvers.fluid.refill.pieces import (
    Piece,
    Readable,
    aligned,
    grain_of,
    pieces_of,
    readable,
    streaming_order,
)
from ullage.solvers.fluid.refill.piecewise import best_pieces
from ullage.solvers.fluid.refill.reduced import way_of


def refill(
    problem: Problem, inner: Assignment, is_over: Callable[[], bool] = lambda: False
) -> Assignment | None:
    """The best plan found of the problem, from one of the reduced problem.

    Which weights stream, and how much room is left for what arrives early, is chosen by an
    estimate: the link is either busy or waits for a step to end.

    Args:
        problem: the problem.
        inner: an assignment of `reduce(problem)`.
        is_over: whether no time is left for more ways in one slot.

    Returns:
        None where the middle tier has no room beside what is not a weight.
    """
    way = way_of(problem)
    if way is None:
        return None
    link, middle = way
    pieces = pieces_of(problem, inner, middle)
    if not pieces:
        return None
    rate = min(problem.target.home("weight").read_bytes_per_s, link.bandwidth_bytes_per_s)
    cost = score(inner)
    spare: Floats = (cost.elapsed_s - cost.overhead_by_step) * rate
    plans = (
        _in_one_slot(problem, inner, way, pieces, spare, link.setup_s * rate, is_over),
        _in_pieces(problem, inner, way, pieces, spare, link.setup_s * rate),
    )
    return min((p for p in plans if p is not None), key=value_of, default=None)


def _in_pieces(
    problem: Problem,
    inner: Assignment,
    way: tuple[Link, Tier],
    pieces: Mapping[int, Sequence[Piece]],
    spare: Floats,
    setup_bytes: float,
) -> Assignment | None:
    """The plan whose pieces come into slots of one size; None where none was found.

    Args:
        problem: the problem.
        inner: an assignment of the reduced problem.
        way: the link from the weights' home, and the middle tier.
        pieces: of weights, as they are read in the middle tier.
        spare: (T,) bytes that the link moves in each step while other things take their time.
        setup_bytes: bytes that move while a transfer is set up.
    """
    link, middle = way
    data = blocks_of(problem, inner, middle)
    shifts, above = data.placed(data.sizes >= 0, middle)
    if above > middle.capacity_bytes:
        return None
    order = streaming_order(problem, pieces)
    room_bytes = middle.capacity_bytes - above
    best = best_pieces(pieces, order, spare, middle, room_bytes, setup_bytes)
    if best is None:
        return None
    residencies, transfers = best.moved(problem, link, middle, above)
    return _assembled(problem, inner, middle, shifts, residencies, transfers)


def _in_one_slot(
    problem: Problem,
    inner: Assignment,
    way: tuple[Link, Tier],
    pieces: Mapping[int, Sequence[Piece]],
    spare: Floats,
    setup_bytes: float,
    is_over: Callable[[], bool],
) -> Assignment | None:
    """The plan whose parts come into one slot; None where none was found.

    Arguments as of `_in_pieces` and `refill`.
    """
    _, middle = way
    target = problem.target
    grain = grain_of(target.slice_granularity_bytes or target.alignment_bytes, target)
    weights = {index: readable(index, items) for index, items in pieces.items()}
    order = streaming_order(problem, pieces)
    data = blocks_of(problem, inner, middle)
    fast = target.fastest.capacity_bytes // grain * grain
    if any(r.tier == target.fastest.name for r in inner.residencies):
        fast = 0
    never = weights.keys() - order  # read in the first step: nothing comes before
    fixed = sum(-(-weights[index].size_bytes // grain) * grain for index in never)
    room = Room(
        spare, setup_bytes, middle.capacity_bytes // grain * grain + fast - fixed, grain, data
    )
    ways = slot_ways([weights[index] for index in order], room, is_over)
    best = min(ways, key=lambda way: way.estimate, default=None)
    return None if best is None else _with_slots(problem, inner, way, weights, best, room, fast)


def _with_slots(
    problem: Problem,
    inner: Assignment,
    way: tuple[Link, Tier],
    weights: Mapping[int, Readable],
    slots: Slots,
    room: Room,
    fast_bytes: int,
) -> Assignment | None:
    """The plan of a way in one slot; None where data did not pack as tightly as it could."""
    _, middle = way
    inside, peak = room.data.placed(slots.shared, middle)
    above, height = room.data.placed(~slots.shared, middle)
    shifts = {**inside, **{index: shift + slots.size_bytes for index, shift in above.items()}}
    place = room.aligned(slots.size_bytes + height)
    if peak > slots.part_bytes or place > middle.capacity_bytes:
        return None
    first: dict[int, int] = {}
    for stream in slots.streams:
        index = stream.weight.buffer
        first[index] = min(first.get(index, stream.start), stream.start)
    residencies: list[Residency] = []
    fastest, last, fast = problem.target.fastest, len(problem.steps), 0
    for index, weight in weights.items():
        for start, end in weight.part(0, first.get(index, weight.size_bytes)):
            cut = min(end, start + fast_bytes - fast)
            if start < cut:
                residencies.append(Residency(index, start, cut, fastest.name, fast, 0, 0, last))
                fast += room.aligned(cut - start)
            if cut < end:
                residencies.append(Residency(index, cut, end, middle.name, place, 0, 0, last))
                place += room.aligned(end - cut)
    if place > middle.capacity_bytes:
        return None
    transfers: list[Transfer] = []
    for stream in slots.streams:
        came, moved = _moved(stream, problem, way)
        residencies += came
        transfers += moved
    return _assembled(problem, inner, middle, shifts, residencies, transfers)


def _moved(
    stream: Stream, problem: Problem, way: tuple[Link, Tier]
) -> tuple[list[Residency], list[Transfer]]:
    """What comes of a part: a transfer for each byte range of the weight, one after the other."""
    link, middle = way
    index, last = stream.weight.buffer, len(problem.steps)
    residencies, transfers = [], []
    moves, place = list(stream.moves), stream.place
    for start, end in stream.weight.part(stream.start, stream.end):
        mine: list[tuple[int, int]] = []
        left = end - start
        while left:
            step, size = moves.pop(0)
            mine.append((step, min(size, left)))
            if size > left:
                moves.insert(0, (step, size - left))
            left -= mine[-1][1]
        span, began, ready = (index, start, end, middle.name, place), mine[0][0], mine[-1][0] + 1
        if began > stream.weight.last:  # it comes for the next inference
            residencies.append(Residency(*span, began, ready, last))
            residencies.append(Residency(*span, 0, 0, stream.weight.last + 1))
        else:
            residencies.append(Residency(*span, began, ready, stream.weight.last + 1))
        transfers.append(
            Transfer(index, start, end, link.source, link.destination, tuple(mine), link.name)
        )
        place += aligned(end - start, middle)
    return residencies, transfers


def _assembled(
    problem: Problem,
    inner: Assignment,
    middle: Tier,
    shifts: Mapping[int, int],
    residencies: Iterable[Residency],
    transfers: Iterable[Transfer],
) -> Assignment:
    """The assignment of what streams, what is at home, and all else of the inner one."""
    listed = [*others(problem, inner, middle, shifts), *_at_home(problem), *residencies]
    return Assignment(
        problem,
        tuple(sorted(listed, key=lambda r: (r.buffer, r.start_byte, r.start))),
        tuple(
            sorted(
                [*inner.transfers, *transfers],
                key=lambda t: (t.moves[0][0], t.buffer, t.start_byte),
            )
        ),
    )


def _at_home(problem: Problem) -> Iterator[Residency]:
    """All weights at home, one after the other."""
    home, place = problem.target.home("weight"), 0
    for index, buffer in enumerate(problem.buffers):
        if buffer.constant and buffer.size_bytes:
            yield Residency(index, 0, buffer.size_bytes, home.name, place, 0, 0, len(problem.steps))
            place += aligned(buffer.size_bytes, home)
