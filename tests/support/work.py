"""Work as lines of Python that were run: the same on every machine, however busy."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def lines_run(job: Callable[[], object]) -> int:
    """How many lines of Python a job runs, each pass of a loop or comprehension counted.

    What built-in functions do inside is not seen.
    """
    count = 0

    def trace(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        job()
    finally:
        sys.settrace(before)
    return count


def growth(work: Callable[[int], int], size: int) -> float:
    """Factor by which work grows where a size doubles, what is spent once left out.

    Two for work in proportion to the size, four for work in proportion to its square.

    Args:
        work: the work for a size.
        size: the smallest of the three sizes that are compared.
    """
    first, second, third = (work(size * factor) for factor in (1, 2, 4))
    return (third - second) / (second - first)
