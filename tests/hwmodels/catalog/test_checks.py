"""What a target as a whole must keep."""

from pathlib import Path

from tests.support.target_files import chip, link, refused, tier, write
from ullage.hwmodels.catalog.registry import load_target


def test_tiers_that_operators_cannot_reach_need_links(tmp_path: Path) -> None:
    document = chip()
    document["tiers"][1]["addressable"] = False
    assert load_target(write(tmp_path, document)).must_be_fastest("weight")
    document["links"] = [link("dram", "sram")]
    error = refused(write(tmp_path, document))
    assert "nothing leads from 'sram' to 'dram'" in error.message
    # A way over a third tier is a way.
    document["tiers"].insert(1, tier("l2", 8e9))
    document["links"] += [link("sram", "l2"), link("l2", "dram")]
    assert load_target(write(tmp_path, document)).link("sram", "dram") is None


def test_many_problems_are_cut_short(tmp_path: Path) -> None:
    document = chip() | {f"key{i}": i for i in range(1000)}
    error = refused(write(tmp_path, document))
    assert "and 992 more" in error.message
    assert len(error.message) < 3000
