"""Random models in random tiles; `benchmarks/fuzz_tiles.py` runs thousands of these."""

from pathlib import Path

import pytest

from tests.support.random_tiles import fault_of


@pytest.mark.parametrize("first", range(0, 40, 8))
def test_random_tiles_are_the_whole_model(first: int, tmp_path: Path) -> None:
    faults = [fault_of(seed, tmp_path) for seed in range(first, first + 8)]
    assert not any(faults), faults
    assert faults.count(None) <= 3  # operators that cannot be cut
