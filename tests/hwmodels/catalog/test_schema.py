"""Target files: what is accepted, and what is refused by field."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.target_files import (
    BLOCK_FIELDS,
    BLOCKS,
    GRID,
    KERNELS,
    chip,
    figure,
    link,
    refused,
    tier,
    write,
)
from ullage.compiler.ir.target import KernelCycles, MacBlocks, OutputStage, Systolic
from ullage.hwmodels.catalog.registry import load_target


def test_a_file_resolves(tmp_path: Path) -> None:
    document = chip()
    document["policy"] = {"reserved_bytes": {"sram": figure("64KiB")}}
    document["slice_granularity"] = figure("row")
    flash = tier("flash", 1e9, read_only=True)
    del flash["write_bytes_per_s"], flash["write_energy_j_per_byte"]
    document["tiers"].append(flash)
    document["homes"]["weight"] = "flash"
    document["compute"]["systolic"] = {
        "rows": figure(8),
        "columns": figure(4),
        "clock_hz": figure(1e9),
    }
    target = load_target(write(tmp_path, document))
    assert target.fastest.capacity_bytes == (1 << 20) - (64 << 10)
    assert target.slice_granularity_bytes == 0
    assert target.home("weight").read_only
    assert target.compute.systolic == Systolic(8, 4, 1e9, 1)
    assert target.compute.macs_per_s == {"int8": 1e12}
    assert target.compute.energy_j_per_mac is None
    assert target.compute.overhead_s == 0


BLOCKS_RESOLVED = MacBlocks(
    1e9,
    **BLOCK_FIELDS,
    command_cycles=0.0,
    command_share=1.0,
    output_cycles={"default": 0.5, "Add": 1.5},
)


def test_sections_of_compute_models_resolve(tmp_path: Path) -> None:
    document = chip()
    document["compute"]["mac_blocks"] = BLOCKS
    compute = load_target(write(tmp_path, document)).compute
    assert compute.model == "mac-blocks"
    assert compute.mac_blocks == BLOCKS_RESOLVED
    document["compute"] |= {"kernel_cycles": KERNELS, "model": "kernel-cycles"}
    compute = load_target(write(tmp_path, document)).compute
    assert compute.model == "kernel-cycles"
    assert compute.mac_blocks is None
    assert compute.kernel_cycles == KernelCycles(
        1e8,
        {"int8": {"default": 1.5, "depthwise": 4.0}},
        {"int8": {"default": 2.0, "output": 3.0, "MaxPool": 1.0}},
    )
    document["compute"] |= {
        "model": "peak",
        "efficiency": {"depthwise": figure(0.25)},
        "output_stage": {"elements_per_s": figure(1e9), "operators": ["Relu", "Clip"]},
    }
    compute = load_target(write(tmp_path, document)).compute
    assert compute.model == "peak"
    assert compute.efficiency == {"depthwise": 0.25}
    assert compute.output_stage == OutputStage(1e9, ("Relu", "Clip"))


def test_a_file_that_inherits_chooses_another_model(tmp_path: Path) -> None:
    document = chip()
    document["compute"]["systolic"] = GRID | {"rows_hold": "channels", "double_buffered": True}
    write(tmp_path, document, "grid.yaml")
    child = {
        "name": "child",
        "description": "The same chip at its peak",
        "inherit": "grid.yaml",
        "compute": {"model": "peak"},
    }
    assert load_target(write(tmp_path, child, "child.yaml")).compute.model == "peak"
    child["compute"] = {"systolic": {"groups": "serial"}}
    grid = load_target(write(tmp_path, child, "child.yaml")).compute.systolic
    assert grid == Systolic(8, 4, 1e9, 1, "channels", "serial", double_buffered=True)


def change(*keys: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def apply(document: Any) -> None:
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = to

    return apply


SRAM = ("tiers", 0)


HUGE = int("9" * 400)


WRONG: list[tuple[Callable[[dict[str, Any]], None], str, str]] = [
    (change("speed", to=3), "speed", "unknown key"),
    (change(*SRAM, "latency", to=3), "tiers.sram.latency", "one of: name, capacity_bytes"),
    (change(*SRAM, "capacity_bytes", to=5), "tiers.sram.capacity_bytes", "confidence: high|"),
    (change(*SRAM, "capacity_bytes", to=figure(-1)), "tiers.sram.capacity_bytes", "at least 0"),
    (change(*SRAM, "capacity_bytes", to=figure("1XB")), "tiers.sram.capacity", "unknown unit"),
    (change(*SRAM, "capacity_bytes", to=figure(HUGE)), "tiers.sram.capacity", "at most 2**62"),
    (change(*SRAM, "capacity_bytes", to=figure(True)), "tiers.sram.capacity", "whole number"),
    (change(*SRAM, "capacity_bytes", to=figure(1.5)), "tiers.sram.capacity", "whole number"),
    (change(*SRAM, "capacity_bytes", to={"value": 5}), "sram.capacity_bytes.source", "missing"),
    (change(*SRAM, "alignment_bytes", to=figure(24)), "sram.alignment_bytes", "power of two"),
    (change(*SRAM, "alignment_bytes", to=figure(0)), "sram.alignment_bytes", "power of two"),
    (change(*SRAM, "read_bytes_per_s", to=figure(0)), "sram.read_bytes_per_s", "above 0"),
    (change(*SRAM, "read_bytes_per_s", to=figure(float("nan"))), "sram.read_bytes", "finite"),
    (change(*SRAM, "read_bytes_per_s", to=figure(float("inf"))), "sram.read_bytes", "finite"),
    (change(*SRAM, "read_bytes_per_s", to=figure(HUGE)), "sram.read_bytes", "finite"),
    (change(*SRAM, "read_bytes_per_s", to=figure([1])), "sram.read_bytes", "a number"),
    (change(*SRAM, "read_bytes_per_s", to=figure(1e9)), "tiers.dram.read", "fastest first"),
    (change(*SRAM, "read_bytes_per_s", to=figure(9e9, unit="GB/s")), "unit", "convert the value"),
    (change(*SRAM, "read_only", to=True), "tiers.sram.read_only", "list another tier first"),
    (change(*SRAM, "read_only", to="yes"), "tiers.sram.read_only", "boolean"),
    (change(*SRAM, "addressable", to=False), "tiers.sram.addressable", "another tier first"),
    (change(*SRAM, "name", to="s.ram"), "tiers.s.ram.name", "pattern"),
    (change(*SRAM, "name", to="dram"), "tiers.dram", "two tiers"),
    (change("tiers", 1, "write_bytes_per_s", to=None), "tiers.dram.write_bytes", "read_only: true"),
    (change("tiers", 1, "read_only", to=True), "homes.activation", "cannot be written"),
    (change("tiers", 1, "read_only", to=True), "links.sram->dram.destination", "read-only"),
    (change("tiers", to=[]), "tiers", "at least 1"),
    (change("tiers", to={"sram": 1}), "tiers", "list"),
    (change("links", 0, "source", to="l2"), "links.l2->sram.source", "use one of: sram, dram"),
    (change("links", 0, "source", to="sram"), "links.sram->sram", "same tier"),
    (change("links", 0, to=link("sram", "dram")), "links.sram->dram", "twice"),
    (change("homes", "output", to="l2"), "homes.output", "use one of: sram, dram"),
    (change("homes", to={}), "homes.weight", "missing"),
    (change("compute", "macs_per_s", to={}), "compute.macs_per_s", "is empty"),
    (change("compute", "macs_per_s", "int7", to=figure(1)), "macs_per_s.int7", "known: float32"),
    (change("compute", "macs_per_s", "int8", to=4), "compute.macs_per_s.int8", "confidence: high|"),
    (change("compute", "systolic", to={"rows": figure(0)}), "systolic.rows", "whole number"),
    (change("compute", "model", to="fast"), "compute.model", "'peak', 'systolic'"),
    (change("compute", "model", to="mac-blocks"), "compute.model", "compute.mac_blocks; add it"),
    (change("compute", "mac_blocks", to={}), "mac_blocks.unit_height", "`unit_height: {value"),
    (change("compute", "mac_blocks", to=BLOCKS | {"depth": 1}), "depth", "clock_hz, cores, unit_h"),
    (
        change("compute", "mac_blocks", to=BLOCKS | {"output_cycles": {"add": figure(1)}}),
        "compute.mac_blocks.output_cycles.add",
        "nor one of: default, convolution",
    ),
    (
        change("compute", "mac_blocks", to=BLOCKS | {"output_cycles": {"Add": 1.5}}),
        "compute.mac_blocks.output_cycles.Add",
        "confidence: high|",
    ),
    (
        change("compute", "mac_blocks", to=BLOCKS | {"command_cycles": figure(-1)}),
        "mac_blocks.command_cycles",
        "not negative",
    ),
    (
        change("compute", "mac_blocks", to=BLOCKS | {"command_cycles": figure(2e9)}),
        "mac_blocks.command_cycles",
        "from 0 to 1e+09",
    ),
    (
        change("compute", "kernel_cycles", to={"clock_hz": figure(1)}),
        "kernel_cycles.macs",
        "missing",
    ),
    (
        change("compute", "kernel_cycles", to=KERNELS | {"macs": {"int7": {}}}),
        "compute.kernel_cycles.macs.int7",
        "unknown data type",
    ),
    (
        change("compute", "kernel_cycles", to=KERNELS | {"macs": {"int8": {"output": figure(1)}}}),
        "compute.kernel_cycles.macs.int8.output",
        "nor one of: default, convolution",
    ),
    (
        change("compute", "kernel_cycles", to=KERNELS | {"macs": 5}),
        "compute.kernel_cycles.macs",
        "dictionary",
    ),
    (
        change("compute", "systolic", to=GRID | {"rows_hold": "depth"}),
        "compute.systolic.rows_hold",
        "'taps' or 'channels'",
    ),
    (
        change("compute", "efficiency", to={"pooling": figure(0.5)}),
        "compute.efficiency.pooling",
        "none of: convolution, depthwise, matmul",
    ),
    (
        change("compute", "efficiency", to={"matmul": figure(1.5)}),
        "compute.efficiency.matmul",
        "a share is from",
    ),
    (
        change("compute", "output_stage", to={"elements_per_s": figure(1), "operators": ["relu"]}),
        "compute.output_stage.operators",
        "pattern",
    ),
    (change("operand_access", to="slow"), "operand_access", "'any' or 'fastest'"),
    (change("weights_in_fastest", to=True), "weights_in_fastest", "operand_access"),
    (change("slice_granularity", to=figure(8)), "slice_granularity", "at least 16"),
    (change("slice_granularity", to=figure(0)), "slice_granularity", "`row`"),
    (change("policy", to={"reserved_bytes": {"l2": figure(1)}}), "reserved_bytes.l2", "no tier"),
    (change("policy", to={"reserved_bytes": {"sram": figure("2MiB")}}), "sram", "reserve less"),
    (change("policy", to=None), "policy", "a mapping of its fields"),
    (change(5, to=5), "5", "string"),
]


@pytest.mark.parametrize(
    ("extra", "field", "remedy"),
    [
        ({"systolic": GRID, "mac_blocks": BLOCKS}, "compute.model", "systolic and mac-blocks"),
        (
            {"mac_blocks": BLOCKS, "efficiency": {"matmul": figure(1)}},
            "compute.efficiency",
            "has no effect in the model mac-blocks; remove it, or choose peak",
        ),
        (
            {
                "kernel_cycles": KERNELS,
                "output_stage": {"elements_per_s": figure(1), "operators": ["Relu"]},
            },
            "compute.output_stage",
            "choose peak or systolic",
        ),
    ],
)
def test_sections_that_do_not_go_together(
    tmp_path: Path, extra: dict[str, Any], field: str, remedy: str
) -> None:
    document = chip()
    document["compute"] |= extra
    (problem,) = refused(write(tmp_path, document)).details["problems"]
    assert problem["field"] == field
    assert remedy in problem["message"]


@pytest.mark.parametrize(("spoil", "field", "remedy"), WRONG)
def test_wrong_fields_are_named_with_a_remedy(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], None], field: str, remedy: str
) -> None:
    document = chip()
    spoil(document)
    path = write(tmp_path, document)
    error = refused(path)
    found = error.details["problems"]
    assert any(field in each["field"] and remedy in each["message"] for each in found), found
    assert error.message.startswith(f"{path}:")
    assert len(error.message) < 3000


def test_documented_files_are_valid(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "targets.md").read_text(encoding="utf-8")
    files = [block.split("```")[0] for block in text.split("```yaml\n")[1:]]
    assert len(files) == 2
    loaded = [load_target(write(tmp_path, content)) for content in files]
    assert loaded[0].fastest.capacity_bytes == 512 << 10
    assert loaded[1].tier("dram").read_bytes_per_s == 12e9
