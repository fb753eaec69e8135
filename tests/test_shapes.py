"""The benchmark of shapes, and the work of reading and planning them: none grows with a square."""

import pytest

from tests.support.shapes import SHAPES
from tests.support.work import growth, lines_run
from ullage.compiler.driver.compile import prepare
from ullage.compiler.driver.options import CompileOptions

# Doubling a size doubles the work; more is allowed for logarithms and for steps of the sizes.
LINEAR = 2.6


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_reading_a_model_is_work_in_proportion_to_its_size(shape: str) -> None:
    def work(size: int) -> int:
        made = SHAPES[shape](size)
        return lines_run(lambda: prepare(made, CompileOptions()))

    work(16)  # what is imported and kept at the first time
    assert growth(work, 64) < LINEAR
