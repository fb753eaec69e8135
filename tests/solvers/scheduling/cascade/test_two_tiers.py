"""Chips of three memories as two."""

import pytest

from ullage.hwmodels.catalog.registry import list_targets, load_target
from ullage.solvers.scheduling.cascade.two_tiers import SLOWER, with_two_tiers


@pytest.mark.parametrize("name", list_targets())
def test_all_memories_behind_the_fastest_become_one(name: str) -> None:
    target = load_target(name)
    two = with_two_tiers(target)
    if len(target.tiers) == 2:
        assert two is target
        return
    assert [tier.name for tier in two.tiers] == [target.fastest.name, SLOWER]
    assert two.fastest == target.fastest
    assert set(two.homes.values()) == {SLOWER}
    slower = two.tiers[1]
    assert slower.read_bytes_per_s <= target.home("weight").read_bytes_per_s
    assert slower.write_bytes_per_s == target.home("activation").write_bytes_per_s
    for kind in ("weight", "activation"):
        assert two.must_be_fastest(kind) == target.must_be_fastest(kind)
    assert two.link(SLOWER, two.fastest.name) is not None
    assert two.link(two.fastest.name, SLOWER) is not None
