"""Boxes without others, and how often they are covered, compared with arrays of counts."""

from random import Random

import numpy as np
import pytest

from ullage.compiler.ir.boxes import most_covering, share_elements, without
from ullage.compiler.ir.reach import Box

SHAPE = (5, 4, 3)


def random_box(rng: Random) -> Box:
    ends = [sorted(rng.sample(range(size + 1), 2)) for size in SHAPE]
    return tuple((low, high) for low, high in ends)


def counts(boxes: list[Box]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    found = np.zeros(SHAPE, np.int64)
    for box in boxes:
        found[tuple(slice(*span) for span in box)] += 1
    return found


@pytest.mark.parametrize("seed", range(50))
def test_boxes_are_sets_of_elements(seed: int) -> None:
    rng = Random(seed)
    box, others = random_box(rng), [random_box(rng) for _ in range(rng.randint(0, 4))]
    mine, theirs = counts([box]), counts(others)
    rest = counts(without(box, others))
    assert (rest == mine * (theirs == 0)).all()
    assert most_covering(box, others) == (theirs * mine).max()
    assert [share_elements(box, other) for other in others] == [
        bool((counts([other]) * mine).any()) for other in others
    ]


def test_a_scalar_has_one_element() -> None:
    assert without((), []) == [()]
    assert without((), [()]) == []
    assert most_covering((), [(), ()]) == 2
