"""Boxes of a tensor under other axes, against marking elements one by one."""

from itertools import product
from math import prod

import numpy as np
import pytest

from ullage.compiler.ir.reach import REDUCTION, AxisMap
from ullage.solvers.bounds.operands import Operand, View, axes_of, reshaped
from ullage.solvers.bounds.runs import placed, whole_run

SHAPES = [
    ((6, 4), (2, 3, 4)),
    ((2, 3, 4), (6, 4)),
    ((4, 3, 2), (24,)),
    ((24,), (4, 3, 2)),
    ((1, 8, 1), (8,)),
    ((4, 6), (6, 4)),
    ((2, 2, 6), (4, 3, 2)),
]


def largest_boxes(marks: np.ndarray, lengths: tuple[int, ...]) -> bool:
    """Whether a box of these lengths of marked elements lies somewhere."""
    starts = [range(size - length + 1) for size, length in zip(marks.shape, lengths, strict=True)]
    return any(
        marks[tuple(slice(s, s + n) for s, n in zip(start, lengths, strict=True))].all()
        for start in product(*starts)
    )


@pytest.mark.parametrize(("old", "new"), SHAPES)
def test_a_box_of_these_lengths_lies_in_every_box_of_those(
    old: tuple[int, ...], new: tuple[int, ...]
) -> None:
    whole = 0
    for lengths in product(*(range(1, size + 1) for size in old)):
        found = reshaped(old, new, lengths)
        whole += found == new
        starts = [range(size - n + 1) for size, n in zip(old, lengths, strict=True)]
        for start in product(*starts):
            marks = np.zeros(old, bool)
            marks[tuple(slice(s, s + n) for s, n in zip(start, lengths, strict=True))] = True
            assert largest_boxes(marks.reshape(new), found), (lengths, found, start)
    assert whole == 1  # all of the one is all of the other, and nothing else is
    assert reshaped(old, new, old) == new


def test_rows_that_stay_whole_are_not_lost_in_a_view() -> None:
    assert reshaped((6, 4), (2, 3, 4), (3, 4)) == (1, 2, 4)
    assert reshaped((1, 12, 64), (1, 768), (1, 2, 64)) == (1, 128)
    kept = View(0, (1, 8, 9), (8, 9))
    row = placed(1, np.arange(8), np.arange(8) + 1)
    found = kept.following((whole_run(1), row, whole_run(9)))[0]
    assert found is not None
    assert found[0] is row


def conv(channels: int, size: int) -> Operand:
    """The data of a 3 x 3 convolution with padding 1, to 5 channels."""
    window = AxisMap(2, first=-1, last=1)
    maps = (AxisMap(0), AxisMap(REDUCTION), window, AxisMap(3, first=-1, last=1))
    shape = (1, channels, size, size)
    return Operand(0, (1, 5, size, size), axes_of(maps, maps, shape, (1, 5, size, size)))


def test_one_element_of_a_convolution_at_the_border() -> None:
    operand = conv(4, 6)
    rows = placed(2, np.arange(6), np.arange(6) + 1)
    columns = placed(3, np.arange(6), np.arange(6) + 1)
    following, share = operand.following((whole_run(1), placed(1, *two(4)), rows, columns))
    assert following is not None
    assert [run.length for run in following] == [1, 5, 2, 2]
    assert share == pytest.approx(1 / 4 * (2 / 18) ** 2)
    assert not operand.finishes((whole_run(1), whole_run(4), rows, columns))
    assert operand.finishes(tuple(map(whole_run, (1, 4, 6, 6))))


def two(size: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(size), np.arange(size) + 1


def test_all_of_an_operand_is_all_of_the_work_that_is_not_padding() -> None:
    operand = conv(4, 6)
    following, share = operand.following(tuple(map(whole_run, (1, 4, 6, 6))))
    assert following is not None
    assert [run.length for run in following] == [1, 5, 6, 6]
    inside = sum(1 for o, k in product(range(6), range(3)) if 0 <= o + k - 1 < 6)
    assert share == pytest.approx((inside / 18) ** 2)
    assert operand.preceding((1, 1, 2, 2)) == (1, 4, 3, 3)
    assert operand.preceding((1, 1, 1, 1)) == (1, 4, 2, 2)
    assert prod(operand.preceding((1, 5, 6, 6)) or ()) == 4 * 36
