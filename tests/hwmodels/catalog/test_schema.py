"""Target files: what ships, what is accepted, refused, inherited, overridden and reported."""

import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ullage.compiler.common.dtypes import BITS
from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.target import Systolic
from ullage.hwmodels.catalog.registry import DEFAULT_TARGET, describe, list_targets, load_target
from ullage.hwmodels.catalog.yaml_reader import MAX_FILE_BYTES

SHIPPED = (
    "a100-host",
    "cosma",
    "edge-npu",
    "ethos-u55-128",
    "ethos-u65-512",
    "phone-npu-flash",
    "stm32h743",
    "tpu-v4i",
)


def figure(value: Any, **extra: str) -> dict[str, Any]:
    return {"value": value, "source": "a test", "confidence": "low"} | extra


def tier(name: str, bandwidth: float, **extra: Any) -> dict[str, Any]:
    entry = {
        "name": name,
        "capacity_bytes": figure("1MiB"),
        "read_bytes_per_s": figure(bandwidth),
        "write_bytes_per_s": figure(bandwidth),
        "alignment_bytes": figure(16),
        "read_energy_j_per_byte": figure(1e-12),
        "write_energy_j_per_byte": figure(2e-12),
    }
    return entry | extra


def link(source: str, destination: str) -> dict[str, Any]:
    return {
        "source": source,
        "destination": destination,
        "bandwidth_bytes_per_s": figure(4e9, unit="bytes/s"),
    }


def chip() -> dict[str, Any]:
    """A small valid target file."""
    return {
        "name": "chip",
        "description": "A chip of the tests",
        "tiers": [tier("sram", 64e9), tier("dram", 4e9)],
        "links": [link("dram", "sram"), link("sram", "dram")],
        "compute": {
            "macs_per_s": {"int8": figure("1e12")},
            "vector_elements_per_s": figure(1e9),
        },
        "homes": dict.fromkeys(("input", "weight", "activation", "output"), "dram"),
        "slice_granularity": figure(256),
    }


def write(folder: Path, document: Any, name: str = "chip.yaml") -> str:
    path = folder / name
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return str(path)


def refused(path: str, overrides: dict[str, str] | None = None) -> UsageError:
    with pytest.raises(UsageError) as caught:
        load_target(path, overrides)
    return caught.value


# What ships.


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


def test_figures_from_memory_are_of_low_confidence() -> None:
    for name in SHIPPED:
        for value in describe(name).values:
            if "assumption" in value.source or value.source.startswith("from memory"):
                expected = ("low", "medium") if "alignment" in value.field else ("low",)
                if value.field != "slice_granularity":
                    assert value.confidence in expected, (name, value.field)


def test_the_default_target() -> None:
    target = load_target("edge-npu")
    sram, dram = target.tiers
    assert (sram.capacity_bytes, sram.read_bytes_per_s) == (1 << 20, 256e9)
    assert (dram.capacity_bytes, dram.write_bytes_per_s) == (16 << 30, 4e9)
    assert target.compute.macs_per_s["int8"] == 0.5e12
    assert target.slice_granularity_bytes == 256
    assert target.split_operands
    assert not target.needs_dma_steps


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


# What a file may hold.


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


# Hostile files.

BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)
)
HOSTILE = {
    "empty": ("", "must be a mapping"),
    "list": ("- 1\n- 2\n", "found a list"),
    "text": ("hello", "found a str"),
    "bomb": (BOMB, "anchors and aliases"),
    "loop": ("a: &a [*a]", "anchors and aliases"),
    "tag": ("!!python/object/apply:os.system ['true']", "tags"),
    "binary tag": ("name: !!binary aGVsbG8=", "tags"),
    "merge": ("<<: {a: 1}", "merge keys"),
    "twice": ("name: a\nname: b", "stands twice"),
    "deep": ("[" * 5000, "larger than"),
    "deep mappings": ("{a: " * 5000, "larger than"),
    "wide": ("name: [" + "1," * 30_000 + "]", "larger than"),
    "huge integer": ("name: " + "9" * 100_000, "longer than"),
    "huge sexagesimal": ("name: 1" + ":59" * 100_000, "longer than"),
    "large hexadecimal": ("name: 0x" + "f" * 1900, "is missing"),
    "not a date": ("name: 2001-13-45", "not a readable YAML"),
    "not binary": ("name: 0b_", "not a readable YAML"),
    "two documents": ("a: 1\n---\nb: 2", "not a readable YAML"),
    "unhashable key": ("? [1]\n: 2", "not a readable YAML"),
    "control": ("name: \x00", "not a readable YAML"),
    "large": ("#" * (MAX_FILE_BYTES + 1), "larger than 1000000 bytes"),
    "odd keys": (
        "name: a\ndescription: b\nnull: 1\n1.5: 2\ntrue: 3",
        "1.5: found 1.5: Keys should be strings",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_end_in_a_usage_error(tmp_path: Path, case: str) -> None:
    text, complaint = HOSTILE[case]
    path = write(tmp_path, text)
    with pytest.raises(UsageError, match=complaint) as caught:
        load_target(path)
    assert path in caught.value.message
    assert len(caught.value.message) < 3000


def test_large_hexadecimal_in_a_field(tmp_path: Path) -> None:
    text = yaml.safe_dump(chip()).replace("value: 16\n", f"value: 0x{'f' * 1900}\n")
    assert "an integer of 7600 bits" in refused(write(tmp_path, text)).message


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "chip.yaml"
    path.write_bytes(b"name: \xff\xfe\xfa")
    assert "not a readable YAML" in refused(str(path)).message


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert "no such file" in refused(str(tmp_path / "no.yaml")).message
    assert "no such file" in refused(str(tmp_path / "nul\0.yaml")).message
    (tmp_path / "dir.yaml").mkdir()
    assert "no such file" in refused(str(tmp_path / "dir.yaml")).message
    assert "cannot be read" in refused(f"{'x' * 5000}.yaml").message
    os.mkfifo(tmp_path / "pipe.yaml")  # opening it would wait for ever
    assert "no such file" in refused(str(tmp_path / "pipe.yaml")).message


def test_unknown_names_are_answered_with_the_known() -> None:
    error = refused("edge_npu")
    assert "did you mean 'edge-npu'" in error.message
    assert "tpu-v4i" in error.message


FUZZ = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the file is rewritten
)
NODES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_node_anywhere_is_accepted_or_a_usage_error(tmp_path: Path, data: Any) -> None:
    document = chip()
    node: Any = document
    while True:
        keys = list(range(len(node))) if isinstance(node, list) else list(node)
        key = data.draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or data.draw(st.booleans()):
            break
        node = node[key]
    node[key] = data.draw(NODES)
    path = tmp_path / "chip.yaml"
    path.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    try:
        target = load_target(str(path))
    except UsageError:
        return
    assert min(t.capacity_bytes for t in target.tiers) >= 0


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=60) | st.text("[]{}:,&*!?-|>%@'\"#<0x_.~ \na1").map(str.encode))
def test_any_bytes_end_in_a_usage_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "chip.yaml"
    path.write_bytes(content)
    refused(str(path))


# Inheritance.


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


# Overrides.


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
        ("operand_access", "slow", "'any' or 'fastest'"),
        ("homes.weight", "flash", "use one of: sram, dram"),
        ("tiers.sram.capacity_bytes", "-1", "cannot be negative"),
        ("tiers.sram.capacity_bytes", "much", "is not a size"),
        ("tiers.dram.read_bytes_per_s", "nan", "finite"),
        ("tiers.dram.read_bytes_per_s", "1e300", "fastest first"),
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


# The examples of the documentation.


def test_documented_files_are_valid(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "targets.md").read_text(encoding="utf-8")
    files = [block.split("```")[0] for block in text.split("```yaml\n")[1:]]
    assert len(files) == 2
    loaded = [load_target(write(tmp_path, content)) for content in files]
    assert loaded[0].fastest.capacity_bytes == 512 << 10
    assert loaded[1].tier("dram").read_bytes_per_s == 12e9


def test_documented_overrides_are_valid() -> None:
    text = (Path(__file__).parents[3] / "docs" / "targets.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("--set ")]
    assert len(lines) == 9
    for line in lines:
        field, value = line.removeprefix("--set ").strip("'").split("=")
        assert load_target("edge-npu", {field: value}) != load_target("edge-npu")
