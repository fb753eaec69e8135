"""Grids of compare and sweep side by side: what one process finds, byte for byte."""

import json
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.support.encoders import encoder
from tests.support.timeless import timeless
from ullage.compiler.common.engines import HERE, Engine, open_engine
from ullage.compiler.common.errors import TimeLimitError, UsageError
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.studies.compare import compare_solvers
from ullage.compiler.studies.sweep import SweepOptions, describe_sweep, sweep
from ullage.compiler.studies.sweep_lengths import Range, describe_lengths, sweep_lengths

KIB = 1024
SMALL = CompileOptions(solver="greedy", fast_memory_bytes=256 * KIB, dtype="int8")
SOLVERS = ("greedy", "msa", "nobody-else", "all-slow")


@pytest.fixture(scope="module")
def two() -> Iterator[Engine]:
    with open_engine("processes", 2) as engine:
        yield engine


def text_of(document: object) -> str:
    return json.dumps(timeless(document), indent=1)


class Backwards:
    """Runs items here, the last first, as a busy machine might; notes how many it ran."""

    jobs = 2

    def __init__(self, most: int = 1000) -> None:
        self.most, self.ran = most, 0

    def run(
        self, function: Callable[[Any], Any], items: Sequence[Any], ends: float = 1.0
    ) -> Generator[tuple[int, Any], None, None]:
        """As of `Engine`."""
        assert ends > 0
        for number in reversed(range(len(items))):
            if self.ran == self.most:
                raise KeyboardInterrupt
            self.ran += 1
            yield number, function(items[number])


def test_solvers_side_by_side_are_as_one_after_the_other(two: Engine) -> None:
    names = [name for name in SOLVERS if name != "nobody-else"]
    alone = compare_solvers(find_model("squeezenet"), names, SMALL)
    assert text_of(compare_solvers(find_model("squeezenet"), names, SMALL, two)) == text_of(alone)
    with pytest.raises(UsageError, match="nobody-else"):
        compare_solvers(find_model("squeezenet"), SOLVERS, SMALL, two)


def test_an_error_of_a_solver_is_its_row_also_side_by_side(deep: Path, two: Engine) -> None:
    """`cosma` is for one chip alone, whose operators read the fast memory only."""
    options = CompileOptions(target="edge-npu-spm", fast_memory_bytes=2 * KIB)
    with_error = [compare_solvers(deep, ["greedy", "msa"], options, each) for each in (HERE, two)]
    assert [row["error"]["kind"] for row in with_error[0]] == ["infeasible"] * 2
    assert text_of(with_error[0]) == text_of(with_error[1])


def test_sizes_side_by_side_are_as_one_after_the_other(deep: Path, two: Engine) -> None:
    for last in (64 * KIB, 4096 * KIB):  # with and without sizes whose plan cannot be beaten
        request = SweepOptions(4 * KIB, last, 5, meet_latency_s=None)
        options = CompileOptions(solver="greedy")
        alone = text_of(describe_sweep(sweep(deep, request, options)))
        assert text_of(describe_sweep(sweep(deep, request, options, two))) == alone
        backwards = sweep(deep, request, options, Backwards())
        assert text_of(describe_sweep(backwards)) == alone


def test_ctrl_c_keeps_the_sizes_that_are_done(deep: Path) -> None:
    request = SweepOptions(4 * KIB, 64 * KIB, 5)
    swept = sweep(deep, request, CompileOptions(solver="greedy"), Backwards(2))
    assert swept.partial
    assert [point.size_bytes for point in swept.points] == [32 * KIB, 64 * KIB]
    rows = compare_solvers(deep, ["greedy", "msa", "all-slow"], CompileOptions(), Backwards(2))
    assert [row["solver"] for row in rows] == ["msa", "all-slow"]


def test_sizes_without_time_say_so(deep: Path) -> None:
    class Late(Backwards):
        def run(
            self, function: Callable[[Any], Any], items: Sequence[Any], ends: float = 1.0
        ) -> Generator[tuple[int, Any], None, None]:
            assert ends > 0
            yield 0, function(items[0])

    options = CompileOptions(solver="greedy", time_limit_s=20.0)
    request = SweepOptions(4 * KIB, 64 * KIB, 3)
    swept = sweep(deep, request, options, Late())
    assert all(point.compiled is not None for point in swept.points)  # solved once more, here
    short = CompileOptions(solver="greedy", time_limit_s=1e-6)
    with pytest.raises(TimeLimitError):
        sweep(deep, request, short, Late())


def test_lengths_side_by_side_are_as_one_after_the_other(tmp_path: Path, two: Engine) -> None:
    model = tmp_path / "encoder.onnx"
    onnx.save(encoder(1, 32, 2), model)
    lengths = Range("seq", 4, 32)
    found = []
    for engine in (HERE, two, Backwards()):
        swept = sweep_lengths(model, lengths, 3, CompileOptions(solver="greedy"), engine)
        found.append(text_of(describe_lengths(swept, {"solver": "greedy"})))
    assert found[0] == found[1] == found[2]
