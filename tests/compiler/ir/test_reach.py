"""Ranges that parts need, against windows counted out by hand and by enumeration."""

import pytest

from ullage.compiler.ir.reach import REDUCTION, AxisMap, InputReach, Reach


@pytest.mark.parametrize(("kernel", "stride", "dilation", "pad"), [(3, 2, 1, 1), (5, 1, 2, 3)])
def test_a_window_needs_the_taps_that_lie_inside(
    kernel: int, stride: int, dilation: int, pad: int
) -> None:
    size = 17
    window = AxisMap(2, multiplier=stride, first=-pad, last=(kernel - 1) * dilation - pad)
    outputs = (size + 2 * pad - (kernel - 1) * dilation - 1) // stride + 1
    for start in range(outputs):
        for end in range(start + 1, outputs + 1):
            taps = {
                o * stride - pad + k * dilation for o in range(start, end) for k in range(kernel)
            }
            inside = sorted(t for t in taps if 0 <= t < size)
            low, high = window.interval(start, end, size)
            assert low <= inside[0]
            assert high >= inside[-1] + 1
            if dilation == 1:  # else the first tap inside may lie behind the border
                assert (low, high) == (inside[0], inside[-1] + 1)


def test_groups_of_channels() -> None:
    # 12 output channels in 3 groups over 6 input channels.
    groups = AxisMap(1, divisor=4, unit=2)
    assert groups.interval(0, 4, 6) == (0, 2)
    assert groups.interval(3, 5, 6) == (0, 4)
    assert groups.interval(11, 12, 6) == (4, 6)


def test_a_table_gives_the_hull() -> None:
    mirrored = AxisMap(0, table=((2, 3), (1, 2), (0, 1), (0, 0), (1, 2)))
    assert mirrored.interval(0, 2, 3) == (1, 3)
    assert mirrored.interval(2, 5, 3) == (0, 2)
    assert mirrored.interval(3, 4, 3) == (0, 0)


def test_a_part_reads_only_what_it_needs() -> None:
    # A concat of a (4 rows) and b (6 rows) along axis 0, and a product cut along its reduction.
    concat = Reach(
        ("elements", "elements"),
        (
            InputReach("a", (AxisMap(0), AxisMap(1))),
            InputReach("b", (AxisMap(0, first=-4, last=-4), AxisMap(1))),
        ),
    )
    shapes = {"a": (4, 3), "b": (6, 3)}
    assert concat.boxes({0: (1, 3)}, shapes) == {"a": [((1, 3), (0, 3))]}
    assert concat.boxes({0: (3, 6)}, shapes) == {"a": [((3, 4), (0, 3))], "b": [((0, 2), (0, 3))]}
    product = Reach(
        ("m", "n"),
        (
            InputReach("x", (AxisMap(0), AxisMap(REDUCTION))),
            InputReach("w", (AxisMap(REDUCTION), AxisMap(1))),
            InputReach("bias", (AxisMap(1),), at_end=True),
        ),
        reduction=8,
    )
    shapes = {"x": (5, 8), "w": (8, 7), "bias": (7,)}
    first = product.boxes({0: (0, 2), REDUCTION: (0, 4)}, shapes)
    assert first == {"x": [((0, 2), (0, 4))], "w": [((0, 4), (0, 7))]}
    second = product.boxes({0: (0, 2), REDUCTION: (4, 8)}, shapes)
    assert second["bias"] == [((0, 7),)]
    assert product.boxes({}, shapes)["x"] == [((0, 5), (0, 8))]
