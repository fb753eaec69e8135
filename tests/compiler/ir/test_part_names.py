"""Names of axes and of parts, and back to the name of the operator."""

import pytest

from ullage.compiler.ir.part_names import axis_name, axis_names_of, operator_name, part_name
from ullage.compiler.ir.program import Step
from ullage.compiler.ir.reach import REDUCTION, AxisRange


@pytest.mark.parametrize(
    ("kind", "rank", "names"),
    [
        ("Conv", 3, ["K", "batch", "channels", "positions"]),
        ("MaxPool", 4, ["K", "batch", "channels", "rows", "columns"]),
        ("Resize", 5, ["K", "batch", "channels", "depth", "rows", "columns"]),
        ("MatMul", 4, ["K", "axis 0", "axis 1", "rows", "columns"]),
        ("Gemm", 2, ["K", "rows", "columns"]),
        ("Relu", 1, ["K", "columns"]),
        ("Conv", 6, ["K", "axis 0", "axis 1", "axis 2", "axis 3", "rows", "columns"]),
    ],
)
def test_axes_are_called_as_people_call_them(kind: str, rank: int, names: list[str]) -> None:
    assert [axis_name(kind, axis, rank) for axis in range(REDUCTION, rank)] == names


PARTS: list[tuple[tuple[AxisRange, ...], tuple[str, ...], int, str]] = [
    ((), (), 0, "a [b]"),
    ((AxisRange(2, 0, 8),), ("rows",), 0, "a [b] [rows 0:8)"),
    ((AxisRange(2, 0, 8),), ("rows",), 12, "a [b] [rows 0:8), copy 12"),
    (
        (AxisRange(-1, 4, 6), AxisRange(0, 0, 9)),
        ("K", "rows"),
        0,
        "a [b] [K 4:6, rows 0:9)",
    ),
]


@pytest.mark.parametrize(("ranges", "names", "copy", "text"), PARTS)
def test_a_part_is_named_by_its_ranges_and_its_operator_is_found_again(
    ranges: tuple[AxisRange, ...], names: tuple[str, ...], copy: int, text: str
) -> None:
    assert part_name("a [b]", ranges, names, copy) == text
    assert operator_name(Step(text, "Op", 0, ranges=ranges, axis_names=names)) == "a [b]"


def test_steps_of_others_keep_their_names_and_axes_their_numbers() -> None:
    step = Step("theirs", "Op", 0, ranges=(AxisRange(REDUCTION, 0, 1), AxisRange(3, 0, 8)))
    assert operator_name(step) == "theirs"
    assert axis_names_of(step) == ("K", "axis 3")
