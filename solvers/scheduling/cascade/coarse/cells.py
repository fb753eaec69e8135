"""The cells into which boxes of parts divide a value, and who touches them when."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Floats
from ullage.compiler.ir.reach import Box
from ullage.compiler.lowering.layouts import reached_box
from ullage.compiler.lowering.part_layouts import layout_of
from ullage.solvers.scheduling.cascade.coarse.group_steps import GroupSteps
from ullage.solvers.scheduling.cascade.coarse.pieces import BlockUse, Piece, Region, Touch

# Pieces of a value at most; beyond, ranges of its longest axis are joined.
MOST_PIECES = 4096


def held_at_ends(
    place: Region,
    uses: tuple[BlockUse, ...],
    groups: Sequence[GroupSteps],
    ends: tuple[tuple[int, Touch], tuple[int, Touch]],
) -> tuple[BlockUse, ...]:
    """The uses with the share of their blocks that a piece is there, by its end touches."""
    (first, begin), (last, end) = ends
    begins = 0.0 if place.is_given else groups[first].inside(begin.step)
    stops = 1.0 if place.is_output else groups[last].inside(end.step + 1, end.step)
    if len(uses) == 1:
        return (replace(uses[0], held_share=max(0.0, stops - begins)),)
    front = replace(uses[0], held_share=1.0 - begins)
    return (front, *uses[1:-1], replace(uses[-1], held_share=stops))


def one_piece(
    region: int,
    events: Sequence[tuple[int, Touch]],
    groups: Sequence[GroupSteps],
    covers: NDArray[np.bool_],
    sizes: Floats,
) -> tuple[Piece, tuple[int, int]]:
    """All of a region as one piece, of which steps use parts."""
    whole = float(sizes.sum())
    uses = []
    for place, (number, touch) in enumerate(events):
        share = float(sizes[covers[place]].sum()) / whole * touch.share
        block = groups[number].block_list[touch.step]
        reads = not touch.writes or (place > 0 and share < 1.0)
        write = share if touch.writes else 0.0
        uses.append((number, block, reads, touch.writes, share - write, write))
    span = events[0][1].step, events[-1][1].step
    return Piece(region, whole, whole, joined_by_block(uses)), span


def used_from_to(
    uses: Sequence[BlockUse],
    touches: Sequence[tuple[int, Touch]],
    groups: Sequence[GroupSteps],
) -> tuple[BlockUse, ...]:
    """The uses of a cell with the shares of their blocks before and during its touches there."""
    first: dict[tuple[int, int], int] = {}
    last: dict[tuple[int, int], int] = {}
    for number, touch in touches:
        place = number, groups[number].block_list[touch.step]
        first.setdefault(place, touch.step)
        last[place] = touch.step
    result: list[BlockUse] = []
    for use in uses:
        place = use.group, use.block
        before = groups[use.group].inside(first[place])
        end = groups[use.group].inside(last[place] + 1, last[place])
        result.append(replace(use, held_share=end - before, before_share=before))
    return tuple(result)


def with_bytes_between(
    shape: tuple[int, ...], events: Sequence[tuple[int, Touch]]
) -> list[tuple[int, Touch]]:
    """Touches of a value with all that the byte ranges of what they read hold."""
    written = [touch.box for _, touch in events if touch.writes]
    layout = layout_of(shape, written, (touch.box for _, touch in events if not touch.writes))
    if layout is None:
        return list(events)
    return [
        (n, touch if touch.writes else replace(touch, box=reached_box(layout, shape, touch.box)))
        for n, touch in events
    ]


def cells_of(shape: tuple[int, ...], boxes: Sequence[Box]) -> tuple[NDArray[np.bool_], Floats]:
    """Divide a value where boxes begin and end.

    Returns:
        (E, C) whether a box holds a cell, and (C,) elements of the cells.
    """
    table = np.array(boxes, dtype=np.int64).reshape(len(boxes), len(shape), 2)
    covers = np.ones((len(boxes), 1), dtype=bool)
    sizes = np.ones(1)
    for axis, size in enumerate(shape):
        edges = np.unique(np.concatenate([[0, size], table[:, axis].ravel()]))
        most = max(1, MOST_PIECES // len(sizes))
        if len(edges) - 1 > most:
            edges = edges[np.unique(np.linspace(0, len(edges) - 1, most + 1).astype(np.int64))]
        if len(edges) == 2:
            sizes = sizes * size
            continue
        low, high = edges[:-1], edges[1:]
        inside = (table[:, axis, :1] < high) & (table[:, axis, 1:] > low)
        covers = (covers[:, :, None] & inside[:, None, :]).reshape(len(boxes), -1)
        sizes = (sizes[:, None] * (high - low)).ravel()
    return covers, np.asarray(sizes, dtype=np.float64)


def versions(
    touches: Sequence[tuple[int, Touch]], groups: Sequence[GroupSteps]
) -> list[Sequence[tuple[int, Touch]]]:
    """Touches of a cell, apart where a result in place begins that is used up inside its block.

    What `mul` reads may lie at home, while what it writes in place stays until `conv` reads it:

        made by dw, read by mul  |  made by mul, read by conv
        used by two groups       |  inside a block of the second one
    """
    versions: list[Sequence[tuple[int, Touch]]] = []
    rest = touches
    while True:
        number, final = rest[-1]
        block = groups[number].block_list[final.step]
        begin = next((at for at in range(len(rest) - 1, 0, -1) if rest[at][1].writes), 0)
        writer, touch = rest[begin]
        if begin == 0 or writer != number or groups[writer].block_list[touch.step] != block:
            return [rest, *versions]
        versions.insert(0, rest[begin:])
        rest = rest[:begin]


def brief_reads(
    touches: Sequence[tuple[int, Touch]], groups: Sequence[GroupSteps], *, stays: bool
) -> dict[int, int]:
    """Reads of a cell soon after it was made, each with the write: by their places in `touches`.

    They find it in fast memory, though it goes home in the same block until others read it:

        dw makes rows of a, the mean reads them | ... | mul reads a

    Args:
        touches: touches of the cell.
        groups: those that touch it.
        stays: it is used behind these groups, too.
    """
    found: dict[int, int] = {}
    if len(touches) < 2 or (len(touches) == 2 and not stays):
        return found
    blocks = [(number, groups[number].block_list[touch.step]) for number, touch in touches]
    made = -1
    for at, (_, touch) in enumerate(touches):
        if touch.writes:
            made = at
        elif made >= 0 and blocks[at] == blocks[made] and (stays or blocks[-1] != blocks[at]):
            found[at] = made
    return found


def joined_by_block(
    uses: Sequence[tuple[int, int, bool, bool, float, float]],
) -> tuple[BlockUse, ...]:
    """One use for each block, of (group, block, reads, writes, read share, written share)."""
    joined: list[BlockUse] = []
    for group, block, reads, writes, read, written in uses:
        last = joined[-1] if joined else None
        if last is not None and (last.group, last.block) == (group, block):
            joined[-1] = BlockUse(
                group,
                block,
                last.reads,
                last.writes or writes,
                last.read_share + read,
                last.written_share + written,
            )
        else:
            joined.append(BlockUse(group, block, reads, writes, read, written))
    return tuple(joined)
