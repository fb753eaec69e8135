"""Targets by name: what ships, what is inherited, what is not there."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.target_files import chip, figure, link, refused, tier, write
from ullage.compiler.common.dtypes import BITS
from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.target import Systolic
from ullage.hwmodels.catalog.published import published_figures
from ullage.hwmodels.catalog.registry import (
    DEFAULT_TARGET,
    by_kind,
    describe,
    list_targets,
    load_target,
)
from ullage.hwmodels.catalog.schema import CHIP_KINDS

SHIPPED = (
    "a100-host",
    "a100-nvme",
    "alveo-u280",
    "coral-edge-tpu",
    "cosma",
    "edge-npu",
    "edge-npu-spm",
    "ethos-u55-128",
    "ethos-u55-256",
    "ethos-u55-32",
    "ethos-u55-64",
    "ethos-u65-256",
    "ethos-u65-512",
    "ethos-u85-1024",
    "ethos-u85-128",
    "ethos-u85-2048",
    "ethos-u85-256",
    "ethos-u85-512",
    "eyeriss",
    "gemmini",
    "hexagon-htp",
    "imxrt1170",
    "m1max-flash",
    "m2ultra-flash",
    "mlperf-tiny-mcu",
    "mps3-an547",
    "nvdla-1024",
    "nvdla-128",
    "nvdla-256",
    "nvdla-512",
    "nvdla-large",
    "nvdla-small",
    "phone-npu-flash",
    "simba",
    "simba-chiplet",
    "stm32f746",
    "stm32h743",
    "stm32h7a3",
    "stm32l4r5",
    "stm32u575",
    "tpu-v1",
    "tpu-v4i",
    "tpu-v5e",
)


def test_shipped_names() -> None:
    assert list_targets() == SHIPPED
    assert DEFAULT_TARGET in SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_targets_are_sound(name: str) -> None:
    found = describe(name)
    target = found.target
    assert found.name == target.name == name
    rates = [t.read_bytes_per_s for t in target.tiers]
    assert rates == sorted(rates, reverse=True)
    assert target.slice_granularity_bytes % target.fastest.alignment_bytes == 0
    for kind in ("activation", "output"):
        assert target.homes[kind] != target.fastest.name
        assert not target.home(kind).read_only
        assert target.link(target.fastest.name, target.homes[kind]) is not None
    for home in target.homes.values():
        nearer = target.tiers[: target.tier_index[home]]  # straight, or over a tier between
        assert any(target.link(home, tier.name) is not None for tier in nearer)
    assert set(target.compute.macs_per_s) <= set(BITS)
    for value in found.values:
        if value.unit:
            assert value.source
            assert value.confidence in ("high", "medium", "low")


def test_every_shipped_target_has_a_kind() -> None:
    grouped = by_kind(describe(name) for name in SHIPPED)
    assert list(grouped) == [kind for kind in CHIP_KINDS if kind in grouped]
    assert "other" not in grouped
    assert sorted(each.name for found in grouped.values() for each in found) == sorted(SHIPPED)
    npus = [each.name for each in grouped["npu"] if each.name.startswith("ethos-u55")]
    assert npus == [f"ethos-u55-{macs}" for macs in (32, 64, 128, 256)]


def test_a_kind_is_inherited_and_what_is_published_is_not(tmp_path: Path) -> None:
    parent = chip() | {"kind": "fpga", "published": {"ops_per_s": {"int8": figure(2e12)}}}
    write(tmp_path, parent, "base.yaml")
    found = describe(str(tmp_path / "base.yaml"))
    assert [(row.what, row.ratio) for row in published_figures(found)] == [("peak int8", 1.0)]
    child = {"name": "child", "description": "x", "inherit": "base.yaml"}
    of_child = describe(write(tmp_path, child, "child.yaml"))
    assert of_child.kind == "fpga"
    assert published_figures(of_child) == []
    child |= {"published": {"missing": "none was found"}}  # type: ignore[dict-item] # a mapping
    assert describe(write(tmp_path, child, "child.yaml")).published.missing == "none was found"
    assert describe(write(tmp_path, chip(), "plain.yaml")).kind == "other"


def test_published_figures_stand_beside_ours(tmp_path: Path) -> None:
    published = {
        "bytes_per_s": {"dram": figure(8e9)},
        "runs": [
            {"model": "resnet50", "dtype": "int8", "batch": 4, "latency_s": figure(0.1)},
            {"model": "resnet50", "dtype": "int8", "latency_s": figure(0.03)},
        ],
    }
    rows = published_figures(describe(write(tmp_path, chip() | {"published": published})))
    assert [(row.what, row.ours) for row in rows] == [
        ("bandwidth of dram", 4e9),
        ("resnet50 int8, batch 4", None),
        ("resnet50 int8", None),
    ]


@pytest.mark.parametrize(
    ("published", "field"),
    [
        ({"bytes_per_s": {"l2": figure(1e9)}}, "published.bytes_per_s.l2"),
        ({"ops_per_s": {"int4": figure(1e9)}}, "published.ops_per_s.int4"),
        ({"ops_per_s": {"int8": figure(1e9, unit="MAC/s")}}, "published.ops_per_s.int8.unit"),
        ({"runs": [{"model": "x", "dtype": "int9", "latency_s": figure(1)}]}, "published.runs.0"),
        ({"latency": figure(1)}, "published.latency"),
    ],
)
def test_published_figures_of_nothing_are_refused(
    tmp_path: Path, published: Any, field: str
) -> None:
    error = refused(write(tmp_path, chip() | {"published": published}))
    assert error.details["problems"][0]["field"].startswith(field)


def test_kinds_and_published_figures_cannot_be_set(tmp_path: Path) -> None:
    path = write(tmp_path, chip())
    for field in ("kind", "published.missing"):
        assert "has no field" in refused(path, {field: "npu"}).message


def test_which_targets_allow_parts() -> None:
    whole = {name for name in SHIPPED if not load_target(name).tile_axes}
    assert whole == {"a100-host", "a100-nvme", "cosma", "m1max-flash", "m2ultra-flash"}
    assert "reduction" in load_target("edge-npu-spm").tile_axes
    assert "reduction" not in load_target("ethos-u65-512").tile_axes
    values = {v.field: v.value for v in describe("ethos-u55-128").values}
    assert values["tiles.axes"] == "rows, channels, products, elements"


def test_figures_from_memory_are_of_low_confidence() -> None:
    for name in SHIPPED:
        for value in describe(name).values:
            if "assumption" in value.source or value.source.startswith("from memory"):
                expected = ("low", "medium") if "alignment" in value.field else ("low",)
                if value.field != "slice_granularity":
                    assert value.confidence in expected, (name, value.field)


def test_times_are_estimates_where_figures_of_them_have_low_confidence() -> None:
    assert describe("edge-npu").estimates({"int8"}) == ()
    assert describe("edge-npu").estimates({"float32"}) == ("compute.macs_per_s.float32",)
    guessed = describe("stm32h743").estimates({"int8"})
    assert "tiers.sram.read_bytes_per_s" in guessed
    assert "compute.macs_per_s.int8" in guessed
    assert not any("energy" in field or "capacity" in field for field in guessed)
    given = {"compute.macs_per_s.int8": "1e9"}
    assert "compute.macs_per_s.int8" not in describe("stm32h743", given).estimates({"int8"})


def test_the_default_target() -> None:
    target = load_target("edge-npu")
    sram, dram = target.tiers
    assert (sram.capacity_bytes, sram.read_bytes_per_s) == (1 << 20, 256e9)
    assert (dram.capacity_bytes, dram.write_bytes_per_s) == (16 << 30, 4e9)
    assert target.compute.macs_per_s["int8"] == 0.5e12
    assert target.slice_granularity_bytes == 256
    assert target.split_operands
    assert not target.dma_steps.between


def test_cosma_inherits_and_demands_residency() -> None:
    found = describe("cosma")
    assert found.inherits == ("edge-npu",)
    assert found.target.must_be_fastest("activation")
    assert not found.target.must_be_fastest("weight")
    assert not found.target.split_operands
    assert found.target.tier("dram").capacity_bytes == 64 << 30
    origins = {value.field: value.origin for value in found.values}
    assert origins["tiers.dram.capacity_bytes"] == "cosma"
    assert origins["tiers.dram.read_bytes_per_s"] == "edge-npu"
    assert origins["tiers.dram.read_only"] == "default"


def test_published_rates() -> None:
    assert load_target("ethos-u55-128").compute.macs_per_s["int8"] == 128 * 500e6
    assert load_target("ethos-u65-512").compute.macs_per_s["int8"] == 512 * 1e9
    tpu = load_target("tpu-v4i").compute
    assert tpu.systolic == Systolic(rows=128, columns=128, clock_hz=1.05e9, arrays=4)
    assert tpu.macs_per_s["int8"] == pytest.approx(4 * 128 * 128 * 1.05e9, rel=1e-3)
    assert [t.name for t in load_target("stm32h743").tiers] == ["sram", "sdram", "flash"]


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert "no such file" in refused(str(tmp_path / "no.yaml")).message
    assert "no such file" in refused(str(tmp_path / "nul\0.yaml")).message
    (tmp_path / "dir.yaml").mkdir()
    assert "no such file" in refused(str(tmp_path / "dir.yaml")).message
    assert "no such file" in refused(f"{'x' * 5000}.yaml").message
    os.mkfifo(tmp_path / "pipe.yaml")  # opening it would wait for ever
    assert "no such file" in refused(str(tmp_path / "pipe.yaml")).message


def test_unknown_names_are_answered_with_the_known() -> None:
    error = refused("edge_npu")
    assert "did you mean 'edge-npu'" in error.message
    assert "tpu-v4i" in error.message


def test_a_child_changes_only_what_it_names(tmp_path: Path) -> None:
    write(tmp_path, chip(), "base.yaml")
    child = {
        "name": "child",
        "description": "Faster DRAM and an L2",
        "inherit": "base.yaml",
        "tiers": [
            tier("l2", 8e9),
            {"name": "dram", "read_bytes_per_s": figure(6e9)},
        ],
        "links": [link("dram", "l2")],
        "compute": {"macs_per_s": {"int16": figure(5e11)}},
    }
    found = describe(write(tmp_path, child, "child.yaml"))
    target = found.target
    assert target.name == "child"
    assert [t.name for t in target.tiers] == ["sram", "l2", "dram"]
    assert target.tier("dram").read_bytes_per_s == 6e9
    assert target.tier("dram").write_bytes_per_s == 4e9
    assert len(target.links) == 3
    assert target.compute.macs_per_s == {"int8": 1e12, "int16": 5e11}
    assert found.inherits == (str(tmp_path / "base.yaml"),)
    origins = {value.field: Path(value.origin).name for value in found.values}
    assert origins["tiers.dram.read_bytes_per_s"] == "child.yaml"
    assert origins["tiers.dram.write_bytes_per_s"] == "base.yaml"
    assert origins["links.dram->l2.bandwidth_bytes_per_s"] == "child.yaml"


def test_an_entry_named_twice_by_a_child_is_refused(tmp_path: Path) -> None:
    write(tmp_path, chip(), "base.yaml")
    child = {"name": "child", "description": "x", "inherit": "base.yaml"}
    twice = child | {"tiers": [tier("l2", 8e9), tier("l2", 8e9)]}
    assert "tiers.l2" in refused(write(tmp_path, twice, "child.yaml")).message


def test_an_inherited_figure_is_replaced_whole(tmp_path: Path) -> None:
    write(tmp_path, chip(), "base.yaml")
    child = {"name": "child", "description": "x", "inherit": "base.yaml"}
    child |= {"slice_granularity": {"value": 512}}  # type: ignore[dict-item] # a wrong file
    error = refused(write(tmp_path, child, "child.yaml"))
    assert "slice_granularity.source" in error.message
    assert "inherits" in error.message


def test_shipped_targets_can_be_inherited(tmp_path: Path) -> None:
    child = {"name": "child", "description": "x", "inherit": "edge-npu", "split_operands": False}
    assert not load_target(write(tmp_path, child)).split_operands


@pytest.mark.parametrize("parent", ["chip.yaml", "other.yaml"])
def test_circles_are_refused(tmp_path: Path, parent: str) -> None:
    write(tmp_path, chip() | {"inherit": "chip.yaml"}, "other.yaml")
    error = refused(write(tmp_path, chip() | {"inherit": parent}))
    assert "in a circle" in error.message


@pytest.mark.parametrize(
    ("parent", "complaint"),
    [("nothing", "unknown target"), (5, "is not a text"), ("no.yaml", "no such file")],
)
def test_parents_that_are_none(tmp_path: Path, parent: Any, complaint: str) -> None:
    assert complaint in refused(write(tmp_path, chip() | {"inherit": parent})).message


def test_a_name_is_not_inherited(tmp_path: Path) -> None:
    error = refused(write(tmp_path, {"inherit": "edge-npu", "description": "x"}))
    assert error.details["problems"][0]["field"] == "name"


@pytest.mark.parametrize(
    ("target", "overrides", "says"),
    [
        (5, None, "a target is named by a text.*not by a int: 5"),
        (Path("chip.yaml"), None, "not by a .*Path"),
        (
            "edge-npu",
            {"split_operands": False},
            "overrides\\['split_operands'\\] is 'False' of type",
        ),
        ("edge-npu", {1: "x"}, "both field and value are texts"),
        ("edge-npu", ["a"], "found a list"),
    ],
)
def test_arguments_of_other_types_are_named(target: Any, overrides: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        load_target(target, overrides)
