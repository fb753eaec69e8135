"""Overrides of target fields."""

import re
from copy import deepcopy
from pathlib import Path

import pytest

from tests.support.target_files import BLOCKS, KERNELS, chip, refused, write
from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.target import OutputStage, Systolic
from ullage.hwmodels.catalog.registry import describe, load_target


def test_overrides_take_effect_and_are_reported() -> None:
    overrides = {
        "split_operands": "false",
        "operand_access": "fastest",
        "weights_in_fastest": "TRUE",
        "tiers.dram.read_bytes_per_s": "8e9",
        "tiers.sram.capacity_bytes": "512KiB",
        "compute.overhead_s": "1e-6",
        "compute.macs_per_s.int4": "1e12",
        "compute.systolic.rows": "32",
        "compute.systolic.columns": "16",
        "compute.systolic.clock_hz": "1e9",
        "links.dram->sram.setup_s": "2e-6",
        "slice_granularity": "row",
        "homes.input": "sram",
        "policy.reserved_bytes.sram": "12KiB",
        "tiles.axes": "channels,rows",
    }
    found = describe("edge-npu", overrides)
    target = found.target
    assert not target.split_operands
    assert target.must_be_fastest("weight")
    assert target.tier("dram").read_bytes_per_s == 8e9
    assert target.fastest.capacity_bytes == 500 << 10
    assert target.compute.overhead_s == 1e-6
    assert target.compute.macs_per_s["int4"] == 1e12
    assert target.compute.systolic == Systolic(32, 16, 1e9)
    assert target.links[0].setup_s == 2e-6
    assert target.slice_granularity_bytes == 0
    assert target.homes["input"] == "sram"
    assert target.tile_axes == ("rows", "channels")
    origins = {value.field: value.origin for value in found.values}
    assert all(origins[field] == "--set" for field in overrides)
    assert load_target("edge-npu").split_operands  # the shipped file is untouched


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("splt_operands", "false", "did you mean split_operands"),
        ("tiers.l2.capacity_bytes", "1", "tiers.sram.capacity_bytes"),
        ("name", "x", "no field 'name'"),
        ("", "x", "no field ''"),
        ("tiers.sram.capacity_bytes.value", "1", "no field"),
        ("split_operands", "maybe", "write true or false"),
        ("tiers.sram.capacity_bytes", "1_000", "numbers have no underscores"),
        ("operand_access", "slow", "'any' or 'fastest'"),
        ("tiles.axes", "rows,columns", "tiles.axes.1: found 'columns': Input should be 'rows'"),
        ("tiles.allowed", "perhaps", "write true or false"),
        ("homes.weight", "flash", "use one of: sram, dram"),
        ("tiers.sram.capacity_bytes", "-1", "cannot be negative"),
        ("tiers.sram.capacity_bytes", "much", "is not a size"),
        ("tiers.dram.read_bytes_per_s", "nan", "finite"),
        ("tiers.dram.read_bytes_per_s", "1e20", "fastest first"),
        ("tiers.sram.alignment_bytes", "48", "power of two"),
        ("compute.systolic.rows", "32", "compute.systolic.clock_hz"),
        ("compute.overhead_s", "-1", "not negative"),
        ("compute.macs_per_s.int7", "1", "compute.macs_per_s.DTYPE"),
    ],
)
def test_wrong_overrides_are_refused(field: str, value: str, complaint: str) -> None:
    error = refused("edge-npu", {field: value})
    assert complaint in error.message
    assert error.message.startswith(("--set", "edge-npu with --set"))


def test_overrides_are_checked_together(tmp_path: Path) -> None:
    path = write(tmp_path, deepcopy(chip()))
    refused(path, {"weights_in_fastest": "true"})
    both = {"weights_in_fastest": "true", "operand_access": "fastest"}
    assert load_target(path, both).must_be_fastest("weight")


def test_documented_overrides_are_valid() -> None:
    text = (Path(__file__).parents[3] / "docs" / "targets.md").read_text(encoding="utf-8")
    shown = text.split("## Overrides")[1].split("```")[1]
    overrides = re.findall(r"--set '?([^\s=]+)=([^\s']+)", shown)
    assert len(overrides) == 9
    for field, value in overrides:
        assert load_target("edge-npu", {field: value}) != load_target("edge-npu")


def test_an_unknown_field_gets_a_suggestion_and_few_names() -> None:
    with pytest.raises(UsageError) as raised:
        load_target("edge-npu", {"tiers.sram.capacity": "2MiB"})
    message = raised.value.message
    assert "did you mean tiers.sram.capacity_bytes?" in message
    near = message.split("Near it: ")[1].split(";")[0].split(", ")
    assert 1 <= len(near) <= 5
    assert "tiers.dram.capacity_bytes" in near
    assert "`ullage targets show edge-npu`" in message
    assert len(raised.value.details["fields"]) > 30
    with pytest.raises(UsageError) as raised:
        load_target("edge-npu", {"zzz": "1"})
    assert "did you mean" not in raised.value.message
    assert "`ullage targets show edge-npu`" in raised.value.message


def test_models_and_their_tables_can_be_overridden(tmp_path: Path) -> None:
    document = chip()
    document["compute"] |= {"kernel_cycles": KERNELS, "mac_blocks": BLOCKS, "model": "peak"}
    path = write(tmp_path, document)
    table = "compute.kernel_cycles.macs.int8"
    overrides = {
        "compute.model": "kernel-cycles",
        f"{table}.matmul": "0.5",
        f"{table}.depthwise": "3",
    }
    kernels = load_target(path, overrides).compute.kernel_cycles
    assert kernels is not None
    assert kernels.macs == {"int8": {"default": 1.5, "depthwise": 3.0, "matmul": 0.5}}
    overrides = {
        "compute.model": "mac-blocks",
        "compute.mac_blocks.output_cycles.Add": "2",
        "compute.mac_blocks.cores": "4",
    }
    blocks = load_target(path, overrides).compute.mac_blocks
    assert blocks is not None
    assert (blocks.cores, blocks.output_cycles["Add"]) == (4, 2.0)
    shares = {
        "compute.efficiency.depthwise": "0.3",
        "compute.output_stage.elements_per_s": "1e9",
        "compute.output_stage.operators": "Relu,Clip",
    }
    compute = load_target(path, shares).compute
    assert compute.efficiency == {"depthwise": 0.3}
    assert compute.output_stage == OutputStage(1e9, ("Relu", "Clip"))
    assert refused(path, {"compute.mac_blocks.output_cycles.Conv": "1"})


@pytest.mark.parametrize(
    ("field", "text", "number"),
    [
        ("tiers.dram.latency_s", "1us", 1e-6),
        ("tiers.dram.latency_s", "3 us", 3e-6),
        ("compute.overhead_s", "250ns", 2.5e-7),
        ("tiers.dram.read_bytes_per_s", "2GB/s", 2e9),
        ("tiers.dram.read_bytes_per_s", "1GiB/s", 2.0**30),
        ("tiers.dram.read_energy_j_per_byte", "20pJ", 2e-11),
    ],
)
def test_a_unit_is_as_good_as_its_number(field: str, text: str, number: float) -> None:
    assert load_target("edge-npu", {field: text}) == load_target("edge-npu", {field: repr(number)})


@pytest.mark.parametrize("text", ["1parsec", "1um", "1Gs", "us", "1 u s", "-1us", "1us2"])
def test_what_is_no_time_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(
        UsageError, match=r"tiers\.dram\.latency_s\.value: found .*(such as|or a number in s)"
    ):
        load_target("edge-npu", {"tiers.dram.latency_s": text})


def test_a_pattern_is_refused_with_the_fields_that_it_stands_for() -> None:
    with pytest.raises(UsageError, match="stands for 2 fields; name one at a time") as refused:
        load_target("edge-npu", {"tiers.*.latency_s": "1us"})
    fields = ["tiers.sram.latency_s", "tiers.dram.latency_s"]
    assert refused.value.details["fields"] == fields
    assert all(f"--set {field}=..." in refused.value.message for field in fields)
