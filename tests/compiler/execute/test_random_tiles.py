"""Random models in random tiles; `benchmarks/fuzz_tiles.py` runs thousands of these."""

from pathlib import Path

import pytest

from tests.support.random_tiles import fault_of
from ullage.compiler.ir.target import Padding


@pytest.mark.parametrize("first", range(0, 40, 8))
def test_random_tiles_are_the_whole_model(first: int, tmp_path: Path) -> None:
    faults = [fault_of(seed, tmp_path) for seed in range(first, first + 8)]
    assert not any(faults), faults
    assert faults.count(None) <= 3  # operators that cannot be cut


@pytest.mark.parametrize("first", range(40, 80, 8))
def test_so_they_are_where_feature_maps_are_padded(first: int, tmp_path: Path) -> None:
    padding = Padding(channels_multiple=3 + first % 5, columns_multiple=first // 16)
    faults = [fault_of(seed, tmp_path, padding) for seed in range(first, first + 8)]
    assert not any(faults), faults
    assert faults.count(None) <= 3
