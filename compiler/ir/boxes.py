"""Boxes of a tensor: what is left of one without others, and how often a place is covered.

whole 4 x 4, without [0, 2) x [0, 3):     ...X      rows [0, 2), columns [3, 4)
                                          ...X
                                          XXXX      rows [2, 4)
                                          XXXX
"""

from collections.abc import Iterable, Sequence

from ullage.compiler.ir.reach import Box


def share_elements(one: Box, other: Box) -> bool:
    """Whether two boxes of a tensor have an element in common."""
    return all(max(a[0], b[0]) < min(a[1], b[1]) for a, b in zip(one, other, strict=True))


def without(box: Box, others: Iterable[Box]) -> list[Box]:
    """Disjoint boxes that together are a box without others, in ascending order of their starts."""
    rest = [box]
    for other in others:
        rest = [piece for part in rest for piece in _without_one(part, other)]
    return sorted(rest)


def _without_one(box: Box, other: Box) -> list[Box]:
    if not share_elements(box, other):
        return [box]
    pieces: list[Box] = []
    for axis, ((low, high), (start, end)) in enumerate(zip(box, other, strict=True)):
        head, tail = box[:axis], box[axis + 1 :]
        if low < start:
            pieces.append((*head, (low, start), *tail))
        if end < high:
            pieces.append((*head, (end, high), *tail))
        box = (*head, (max(low, start), min(high, end)), *tail)
    return pieces


def most_covering(box: Box, others: Sequence[Box]) -> int:
    """The largest number of other boxes that have one element of a box in common."""
    inside = [other for other in others if share_elements(box, other)]
    if not inside:
        return 0
    if not box:
        return len(inside)
    starts = sorted({max(box[0][0], other[0][0]) for other in inside})
    return max(
        most_covering(box[1:], [o[1:] for o in inside if o[0][0] <= start < o[0][1]])
        for start in starts
    )
