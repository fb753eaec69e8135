"""Boxes of a tensor: what is left of one without others, and how often a place is covered.

whole 4 x 4, without [0, 2) x [0, 3):     ...X      rows [0, 2), columns [3, 4)
                                          ...X
                                          XXXX      rows [2, 4)
                                          XXXX
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ullage.compiler.ir.reach import Box, Interval


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


@dataclass(slots=True)
class Cover:
    """Boxes of one tensor, to ask how often a place is covered.

    Boxes that begin with the same interval are kept together, axis by axis: a question about one of
    the n boxes of a grid looks at some intervals of each axis, not at n boxes.
    """

    boxes: int = 0  # boxes of which all axes are decided
    rest: "dict[Interval, Cover]" = field(default_factory=dict)  # by interval of the next axis

    def add(self, box: Box) -> None:
        """Put in one more box, which may be there already."""
        place = self
        for interval in box:
            place = place.rest.setdefault(interval, Cover())
        place.boxes += 1

    def most(self, box: Box) -> int:
        """The largest number of the boxes that have one element of a box in common."""
        return _most_boxes([self], box)


def most_covering(box: Box, others: Iterable[Box]) -> int:
    """The largest number of other boxes that have one element of a box in common."""
    cover = Cover()
    for other in others:
        cover.add(other)
    return cover.most(box)


def _most_boxes(places: "Sequence[Cover]", box: Box) -> int:
    """The same for boxes of which the axes in front are decided."""
    if not box:
        return sum(place.boxes for place in places)
    low, high = box[0]
    inside = [
        (start, end, rest)
        for place in places
        for (start, end), rest in place.rest.items()
        if max(start, low) < min(end, high)
    ]
    return max(
        (
            _most_boxes([rest for start, end, rest in inside if start <= at < end], box[1:])
            for at in {max(low, start) for start, _, _ in inside}
        ),
        default=0,
    )
