"""Options of the command line as those of the library: from when a time limit counts."""

import time
from collections.abc import Iterator

import pytest

from tests.support.tiled_models import residual_network
from ullage.cli.options import BEGUN, STARTING_SHARE, compile_options
from ullage.compiler.common.errors import TimeLimitError
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions

LIMIT_S = 1000.0


@pytest.fixture(autouse=True)
def _own_begin() -> Iterator[None]:
    token = BEGUN.set(None)
    yield
    BEGUN.reset(token)


def begun_with(limit: str | None) -> float | None:
    return compile_options({"target": "edge-npu", "time_limit": limit}).begun


def test_a_limit_counts_from_the_start_of_the_process() -> None:
    begun = time.monotonic() - 0.1 * LIMIT_S
    BEGUN.set(begun)
    assert begun_with(f"{LIMIT_S}") == begun
    assert begun_with(None) is None


def test_starting_takes_half_of_a_limit_at_most() -> None:
    BEGUN.set(time.monotonic() - 10 * LIMIT_S)
    earliest = time.monotonic() - STARTING_SHARE * LIMIT_S
    begun = begun_with(f"{LIMIT_S}")
    assert begun is not None
    assert earliest <= begun <= time.monotonic() - STARTING_SHARE * LIMIT_S


def test_without_a_process_a_limit_counts_from_reading() -> None:
    assert begun_with("10") is None


def test_what_came_before_reading_counts() -> None:
    begun = time.monotonic() - LIMIT_S
    options = CompileOptions(schedule="whole", solver="greedy", time_limit_s=2 * LIMIT_S)
    compiled = compile_model(
        residual_network(), CompileOptions(**{**vars(options), "begun": begun})
    )
    assert compiled.total_s > LIMIT_S
    late = CompileOptions(**{**vars(options), "begun": begun - LIMIT_S})
    with pytest.raises(TimeLimitError, match="time limit"):
        compile_model(residual_network(), late)
