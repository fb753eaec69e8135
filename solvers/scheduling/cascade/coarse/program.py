"""A schedule as a program of blocks: what several of them use, and the room that all need.

Pieces that the same blocks use alike (the weights of all operators of a cascade, line buffers
between the same two stripes) are interchangeable, and are one segment of the program.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.compiler.ir.graph import Kind
from ullage.solvers.scheduling.cascade.coarse.pieces import BlockUse, InnerValues, Piece
from ullage.solvers.scheduling.cascade.coarse.profile import Profiles
from ullage.solvers.scheduling.cascade.stripes import Cascade

# Share of the memory that what passes a stretch takes at most: it may be at home meanwhile.
MOST_PASSING = 0.75
# Digits of the shares of a piece that a block reads and writes to which pieces are alike.
ALIKE_DIGITS = 3
# Differences of shares that are rounding.
ROUNDED = 1e-9


@dataclass(frozen=True, slots=True)
class CoarseUse:
    """What a block does to a segment; see `BlockUse`.

    Attributes:
        late_share: share of the bytes of which the first use in the block is in none of the
            block's first steps, so that they may arrive inside the block.
        early_share: share of those of which the last use is in none of its last steps, so that
            they may be stored inside the block.
    """

    block: int
    reads: bool
    writes: bool
    read_share: float
    written_share: float
    held_share: float
    before_share: float = 0.0
    late_share: float = 0.0
    early_share: float = 0.0

    @property
    def behind_share(self) -> float:
        """Share of the block's steps behind the last use."""
        share = 1.0 - self.before_share - self.held_share
        return share if share > ROUNDED else 0.0


@dataclass(frozen=True, slots=True)
class CoarseSegment:
    """Bytes that the same blocks use alike.

    Attributes:
        size_bytes: how many.
        space_bytes: room that they take.
        is_given: their data is at home before the first block.
        is_output: it must be at home behind the last.
        is_weight: it survives from one inference to the next.
        must_be_fastest: operators reach it in the fastest tier only.
        uses: by blocks, ascending.
        name: hash of what it is, whatever the blocks in front of it; see `CoarseProgram.names`.
    """

    size_bytes: float
    space_bytes: float
    is_given: bool
    is_output: bool
    is_weight: bool
    must_be_fastest: bool
    uses: tuple[CoarseUse, ...]
    name: int = 0


@dataclass(frozen=True)
class CoarseProgram:
    """Blocks of a schedule as steps; B of them, a first and a last one for transfers alone.

    Attributes:
        compute_s: (B,) compute time.
        workspace_bytes: (B,) room for what is used up inside a block.
        inner: what of that may lie at home, where operators then access it.
        excess_bytes: (B,) what of the rest has no room at all: it goes out and comes back.
        segments: what several blocks use.
        overhead_s: overhead of all steps.
        group_of: (B,) the group of each block; -1 for none.
        parts: number of steps of the plan.
        steps_in: (B,) how many of them are in each block.
        plan_accesses: (G,) accesses of the segments of the plan, about; those of what groups share
            in equal shares.
        names: (B,) for each block a hash of its group and its place there: the same in every
            program of the group, wherever its blocks are.
    """

    compute_s: Floats
    workspace_bytes: Floats
    inner: InnerValues
    excess_bytes: Floats
    segments: tuple[CoarseSegment, ...]
    overhead_s: float
    group_of: Ints
    parts: int
    steps_in: Ints
    plan_accesses: Floats
    names: tuple[int, ...] = ()

    @property
    def accesses(self) -> int:
        """Number of uses of all segments."""
        return sum(len(segment.uses) for segment in self.segments)


# What a value is at the ends: its kind, whether it is at home at first, and must be at last; and
# whether rows of it are looked up alone.
_Ends = tuple[Kind, bool, bool, bool]
# What makes pieces alike: that, and by block the uses.
_Alike = tuple[_Ends, tuple[tuple[int, bool, bool, float, float], ...]]


@dataclass
class _Sum:
    """Sums over pieces that are alike: bytes, and for each use the bytes times its shares."""

    held_bytes: list[float]
    before_bytes: list[float]
    late_bytes: list[float]
    early_bytes: list[float]
    size_bytes: float = 0.0
    space_bytes: float = 0.0


def coarse_program(profiles: Profiles, cascades: Sequence[Cascade]) -> CoarseProgram | None:
    """The coarse program of groups that make up an order, or a stretch of it.

    What comes from before a stretch is at home when it begins, what is used behind it must be at
    home when it ends, and what passes it takes room, where what must be there leaves some.

    Returns:
        None where a group cannot be cut so.
    """
    low, high = cascades[0].first, cascades[-1].last
    capacity = float(profiles.target.fastest.capacity_bytes)
    group_at = np.full(len(profiles.facts.order), -1)
    passing = 0.0
    starts: list[int] = []
    compute, workspace, group_of = [np.zeros(1)], [np.zeros(1)], [np.array([-1])]
    steps_in = [np.ones(1, dtype=np.int64)]
    names = [0]
    inners: list[InnerValues] = []
    start, overhead_s, parts = 1, 0.0, 0
    accesses = np.zeros(len(cascades))
    joined: dict[_Alike, _Sum] = {}
    again: dict[int, set[int]] = {}  # region -> groups that read it for what they run again
    for number, cascade in enumerate(cascades):
        for region in profiles.read_again(cascade):
            again.setdefault(region, set()).add(number)
    apart = frozenset(again)
    for number, cascade in enumerate(cascades):
        profile = profiles.of(cascade, apart)
        if profile is None:
            return None
        group_at[cascade.first : cascade.last] = number
        for piece in profile.pieces:
            _join(joined, _ends_of(profiles, piece.region, low, high), piece, [start])
        starts.append(start)
        start += len(profile.compute_s)
        overhead_s += profile.overhead_s
        parts += profile.steps
        accesses[number] = profile.accesses + sum(piece.accesses for piece in profile.pieces)
        compute.append(profile.compute_s)
        steps_in.append(profile.steps_in)
        workspace.append(profile.workspace_bytes)
        inners.append(profile.inner)
        group_of.append(np.full(len(profile.compute_s), number))
        names += (hash((cascade, block)) for block in range(len(profile.compute_s)))
    for region, place in enumerate(profiles.regions):
        first, last = place.places[0], place.places[-1]
        others = again.get(region, set())
        if not others and (first >= high or last < low):
            continue
        groups = sorted(({int(group_at[p]) for p in place.places} | others) - {-1})
        if not groups:
            passing += place.size_bytes if place.kind != "weight" else 0.0
        elif len(groups) > 1 or first < low or last >= high:
            ends, begins = _ends_of(profiles, region, low, high), [starts[g] for g in groups]
            for piece in profiles.shared(region, tuple(cascades[g] for g in groups)):
                _join(joined, ends, piece, begins)
                accesses[groups] += piece.accesses / len(groups)
    segments = tuple(_segment(profiles, key, size, names) for key, size in joined.items())
    own = np.concatenate([*workspace, np.zeros(1)])
    free = np.maximum(0.0, capacity - own - _mandatory_bytes(segments, len(own)))
    needed = own + np.minimum(min(passing, MOST_PASSING * capacity), free)
    inner = _joined_inner(inners, may_be_home=not profiles.target.must_be_fastest("activation"))
    room = np.minimum(needed, capacity + inner.space_bytes)
    names.append(1)
    return CoarseProgram(
        np.concatenate([*compute, np.zeros(1)]),
        room,
        inner,
        needed - room,
        segments,
        overhead_s,
        np.concatenate([*group_of, np.array([-1])]),
        parts,
        np.concatenate([*steps_in, np.ones(1, dtype=np.int64)]),
        accesses,
        tuple(names),
    )


def _mandatory_bytes(segments: Sequence[CoarseSegment], blocks: int) -> Floats:
    """(blocks,) bytes that must be in the fastest tier while a block runs."""
    needed = np.zeros(blocks)
    for segment in segments:
        if segment.must_be_fastest:
            for use in segment.uses:
                needed[use.block] += segment.space_bytes * use.held_share
    return needed


def _joined_inner(groups: Sequence[InnerValues], *, may_be_home: bool) -> InnerValues:
    """Inner values of all blocks, the first and the last one included."""
    scale = float(may_be_home)

    def joined(figures: Sequence[Floats]) -> Floats:
        return np.concatenate([np.zeros(1), *figures, np.zeros(1)]) * scale

    return InnerValues(
        joined([inner.space_bytes for inner in groups]),
        joined([inner.read_bytes for inner in groups]),
        joined([inner.written_bytes for inner in groups]),
    )


def _ends_of(profiles: Profiles, region: int, low: int, high: int) -> _Ends:
    """What a value is at the ends of positions [low, high)."""
    if region < 0:
        return "activation", False, False, False
    place = profiles.regions[region]
    is_given = place.is_given or place.places[0] < low
    is_read_behind = not place.is_given and place.places[-1] >= high
    return place.kind, is_given, place.is_output or is_read_behind, place.is_looked_up


def _join(joined: dict[_Alike, _Sum], ends: _Ends, piece: Piece, starts: Sequence[int]) -> None:
    """Add a piece to those that are alike.

    Args:
        joined: sums by what counts as alike.
        ends: what its value is at the ends.
        piece: the piece.
        starts: first blocks of the groups that touch its value.
    """

    def shown(use: BlockUse) -> tuple[int, bool, bool, float, float]:
        read, written = round(use.read_share, ALIKE_DIGITS), round(use.written_share, ALIKE_DIGITS)
        return starts[use.group] + use.block, use.reads, use.writes, read, written

    key = (ends, tuple(shown(use) for use in piece.uses))
    total = joined.get(key)
    if total is None:
        held, before, late, early = ([0.0] * len(piece.uses) for _ in range(4))
        total = joined[key] = _Sum(held, before, late, early)
    total.size_bytes += piece.size_bytes
    total.space_bytes += piece.space_bytes
    for number, use in enumerate(piece.uses):
        total.held_bytes[number] += piece.size_bytes * use.held_share
        total.before_bytes[number] += piece.size_bytes * use.before_share
        total.late_bytes[number] += piece.size_bytes * (use.before_share > 0)
        is_early = use.before_share + use.held_share < 1 - ROUNDED
        total.early_bytes[number] += piece.size_bytes * is_early


def _segment(profiles: Profiles, key: _Alike, total: _Sum, names: Sequence[int]) -> CoarseSegment:
    (kind, is_given, is_output, is_looked_up), uses = key
    size = total.size_bytes
    return CoarseSegment(
        size,
        total.space_bytes,
        is_given,
        is_output,
        kind == "weight",
        profiles.target.must_be_fastest(kind, look_up=is_looked_up),
        tuple(
            CoarseUse(*use, *(figure / size for figure in figures))
            for use, *figures in zip(
                uses,
                total.held_bytes,
                total.before_bytes,
                total.late_bytes,
                total.early_bytes,
                strict=True,
            )
        ),
        hash((key[0], tuple((names[use[0]], *use[1:]) for use in uses))),
    )
