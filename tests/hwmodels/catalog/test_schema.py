"""Target files: what is accepted, and what is refused by field."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.target_files import chip, figure, link, refused, tier, write
from ullage.compiler.ir.target import Systolic
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
    (change("operand_access", to="slow"), "operand_access", "'any' or 'fastest'"),
    (change("weights_in_fastest", to=True), "weights_in_fastest", "operand_access"),
    (change("slice_granularity", to=figure(8)), "slice_granularity", "at least 16"),
    (change("slice_granularity", to=figure(0)), "slice_granularity", "`row`"),
    (change("policy", to={"reserved_bytes": {"l2": figure(1)}}), "reserved_bytes.l2", "no tier"),
    (change("policy", to={"reserved_bytes": {"sram": figure("2MiB")}}), "sram", "reserve less"),
    (change("policy", to=None), "policy", "a mapping of its fields"),
    (change(5, to=5), "5", "string"),
]


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
