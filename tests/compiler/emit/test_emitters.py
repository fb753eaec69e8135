"""Each emitter's file, read back by a reader that is not ours."""

import csv
import io
import json
import re
import struct
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.support.changes import with_program
from tests.support.plans import PLANS
from ullage.compiler.common.errors import ModelError, UsageError
from ullage.compiler.common.palette import DARK, LIGHT
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.result import Compiled
from ullage.compiler.emit import EMITTERS, emit_plan
from ullage.compiler.emit.csv_operators import operators_csv
from ullage.compiler.emit.onnx_plan import PLAN_KEY, SUMMARY_KEY, read_onnx_plan
from ullage.compiler.emit.svg import memory_svg
from ullage.compiler.emit.tflm import (
    AT_RUNTIME,
    describe_allocation,
    fixed_addresses,
    offline_allocation,
)
from ullage.compiler.emit.trace import live_bytes
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.plan_json import dump_plan, published_schema
from ullage.compiler.ir.program import PlacedValue
from ullage.compiler.report.subject import compiled_of

OPTIONS = CompileOptions(dtype="int8", fast_memory_bytes=256 * 1024, solver="greedy")

# Trace Event Format, the four kinds of events that we write.
TRACE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["traceEvents", "displayTimeUnit"],
    "properties": {
        "displayTimeUnit": {"enum": ["ms", "ns"]},
        "traceEvents": {
            "type": "array",
            "items": {
                "required": ["ph", "pid", "tid", "name", "args"],
                "properties": {
                    "pid": {"type": "integer"},
                    "tid": {"type": "integer"},
                    "name": {"type": "string"},
                    "args": {"type": "object"},
                },
                "oneOf": [
                    {
                        "required": ["ts", "dur"],
                        "properties": {
                            "ph": {"const": "X"},
                            "ts": {"type": "number", "minimum": 0},
                            "dur": {"type": "number", "minimum": 0},
                        },
                    },
                    {
                        "required": ["ts"],
                        "properties": {
                            "ph": {"const": "C"},
                            "ts": {"type": "number", "minimum": 0},
                            "args": {"additionalProperties": {"type": "number"}},
                        },
                    },
                    {
                        "properties": {
                            "ph": {"const": "M"},
                            "name": {"enum": ["process_name", "thread_name", "thread_sort_index"]},
                        }
                    },
                ],
            },
        },
    },
}


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    return compile_model("squeezenet", OPTIONS)


@pytest.fixture(scope="module")
def folder(compiled: Compiled, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that can be emitted, emitted."""
    place = tmp_path_factory.mktemp("emitted")
    names = tuple(name for name in EMITTERS if name != "html")  # the report has its own tests
    written = emit_plan(compiled, place, names)
    assert tuple(written) == names
    assert all(Path(path).is_file() for path in written.values())
    return place


def test_json_by_its_schema(folder: Path) -> None:
    document = json.loads((folder / "plan.json").read_text())
    jsonschema.validate(document, published_schema())
    assert document["residencies"]


def test_csv_by_minimallocs_columns(compiled: Compiled, folder: Path) -> None:
    rows_in_all = 0
    for tier in compiled.plan.target.tiers:
        path = folder / f"{tier.name}.csv"
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            assert reader.fieldnames == ["id", "lower", "upper", "size", "offset"]
            rows = [{key: int(text) for key, text in row.items()} for row in reader]
        rows_in_all += len(rows)
        assert len({row["id"] for row in rows}) == len(rows)
        for i, a in enumerate(rows):
            assert 0 <= a["lower"] < a["upper"]
            assert a["offset"] + a["size"] <= tier.capacity_bytes
            for b in rows[:i]:
                apart = a["upper"] <= b["lower"] or b["upper"] <= a["lower"]
                below = a["offset"] + a["size"] <= b["offset"]
                assert apart or below or b["offset"] + b["size"] <= a["offset"]
    assert rows_in_all == len(compiled.plan.residencies)


def lanes(document: dict[str, Any], pid: int) -> dict[str, list[tuple[float, float, str]]]:
    """Lane name -> (begin, end, name) of its events, in time order; one process."""
    names = {
        e["tid"]: e["args"]["name"]
        for e in document["traceEvents"]
        if e["name"] == "thread_name" and e["pid"] == pid
    }
    found: dict[str, list[tuple[float, float, str]]] = {name: [] for name in names.values()}
    for e in document["traceEvents"]:
        if e["ph"] == "X" and e["pid"] == pid:
            found[names[e["tid"]]].append((e["ts"], e["ts"] + e["dur"], e["name"]))
    return {name: sorted(events) for name, events in found.items()}


def test_trace_by_schema_and_by_its_lanes(compiled: Compiled, folder: Path) -> None:
    document = json.loads((folder / "trace.json").read_text())
    jsonschema.validate(document, TRACE_SCHEMA)
    plan = compiled.plan
    for pid, latency_s in (
        (1, compiled.score.latency_s),
        (2, compiled.simulation.latency_s),
    ):
        found = lanes(document, pid)
        assert max(end for events in found.values() for _, end, _ in events) == pytest.approx(
            latency_s * 1e6
        )
        for events in found.values():  # a lane does one thing at a time
            ends = np.maximum.accumulate([end for _, end, _ in events] or [0.0])
            begins = [begin for begin, _, _ in events]
            assert all(b >= e - 1e-6 for b, e in zip(begins[1:], ends, strict=False))
    links = [name for name in lanes(document, 1) if name.startswith("link ")]
    assert links == [f"link {link.source}->{link.destination}" for link in plan.target.links]
    moved = [e for e in document["traceEvents"] if e["pid"] == 1 and "transfer" in e["args"]]
    assert sum(e["args"]["bytes"] for e in moved) == sum(
        t.end_byte - t.start_byte for t in plan.transfers
    )
    memory = [e for e in document["traceEvents"] if e["ph"] == "C" and e["name"] == "sram bytes"]
    assert len(memory) == len(plan.problem.steps) + 1
    assert max(e["args"]["live"] for e in memory) == compiled.score.load_bytes["sram"]


def test_live_bytes_step_by_step() -> None:
    assert live_bytes(PLANS["chain"]) == {"sram": [0, 16, 16, 0, 0], "dram": [16, 16, 24, 24, 0]}


def test_onnx_by_onnx_itself(compiled: Compiled, folder: Path) -> None:
    path = next(folder.glob("*.planned.onnx"))
    model = onnx.load(path)
    onnx.checker.check_model(model)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(entries[SUMMARY_KEY])["latency_s"] == compiled.score.latency_s
    assert entries[PLAN_KEY].encode() == dump_plan(compiled.plan)
    assert read_onnx_plan(path) == compiled.plan
    assert read_onnx_plan(model) == compiled.plan
    original = onnx.load(compiled.plan.model["path"])
    assert model.graph == original.graph


def test_onnx_written_twice_carries_one_plan(folder: Path, tmp_path: Path) -> None:
    again = compile_model(next(folder.glob("*.planned.onnx")), replace(OPTIONS, solver="all-slow"))
    path = Path(emit_plan(again, tmp_path, ("onnx",))["onnx"])
    keys = [entry.key for entry in onnx.load(path).metadata_props]
    assert sorted(keys) == [SUMMARY_KEY, PLAN_KEY]
    assert read_onnx_plan(path).solver == "all-slow"


def external(path: Path, location: str) -> Path:
    """A product with a weight in another file."""
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[8, 8])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "external",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 8])],
        [weight],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def test_onnx_brings_its_external_weights(tmp_path: Path) -> None:
    weights = np.arange(64, dtype=np.float32)
    (tmp_path / "w.bin").write_bytes(weights.tobytes())
    done = compile_model(external(tmp_path / "m.onnx", "w.bin"), CompileOptions(solver="greedy"))
    path = Path(emit_plan(done, tmp_path / "out", ("onnx",))["onnx"])
    loaded = onnx.load(path)  # reads the weights too
    assert loaded.graph.initializer[0].raw_data == weights.tobytes()
    assert (tmp_path / "w.bin").read_bytes() == weights.tobytes()
    # Into the same folder: the weights are there already.
    onnx.load(emit_plan(done, tmp_path, ("onnx",))["onnx"])


def test_onnx_refuses_weights_elsewhere(tmp_path: Path) -> None:
    model = external(tmp_path / "m.onnx", "../w.bin")
    done = compile_model(model, CompileOptions(solver="greedy"))
    with pytest.raises(ModelError, match="outside its own folder"):
        emit_plan(done, tmp_path / "out", ("onnx",))


@pytest.mark.parametrize("name", ["../w.bin", "/etc/passwd", "a\0b", "..", "loop/../../w.bin"])
def test_where_one_form_fails_no_file_is_left(name: str, tmp_path: Path) -> None:
    model = external(tmp_path / "m.onnx", name)
    done = compile_model(model, CompileOptions(solver="greedy"))
    with pytest.raises(ModelError, match="outside its own folder"):
        emit_plan(done, tmp_path / "out", ("json", "csv", "html", "onnx"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["x" * 5000, "loop", "absent", "folder"])
def test_weights_that_are_no_file_are_not_brought(name: str, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    done = compile_model(external(tmp_path / "m.onnx", name), CompileOptions(solver="greedy"))
    emit_plan(done, tmp_path / "out", ("onnx",))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["m.planned.onnx"]


def test_onnx_without_a_file_or_a_plan_says_so(compiled: Compiled, tmp_path: Path) -> None:
    unnamed = replace(compiled, plan=replace(compiled.plan, model={"name": "m", "path": None}))
    with pytest.raises(UsageError, match="not made from a model file"):
        emit_plan(unnamed, tmp_path, ("onnx",))
    with pytest.raises(UsageError, match="carries no plan"):
        read_onnx_plan(Path(compiled.plan.model["path"]))
    with pytest.raises(ModelError, match="cannot be read"):
        read_onnx_plan(tmp_path / "absent.onnx")


def test_tflm_by_its_format(compiled: Compiled, folder: Path) -> None:
    data = (folder / "offline_memory_allocation.bin").read_bytes()
    described = json.loads((folder / "offline_memory_allocation.json").read_text())
    version, subgraph, count = struct.unpack_from("<3i", data)
    offsets = struct.unpack_from(f"<{count}i", data, 12)
    assert (version, subgraph, len(data)) == (1, 0, 12 + 4 * count)
    assert [t["offset"] for t in described["tensors"]] == list(offsets)
    assert described["metadata_name"] == "OfflineMemoryAllocation"
    plan = compiled.plan
    fixed = {t["name"]: t for t in described["tensors"] if t["offset"] != AT_RUNTIME}
    assert len(fixed) > 10
    no_overlap_while_used(plan, fixed)


def no_overlap_while_used(plan: Plan, fixed: dict[str, dict[str, Any]]) -> None:
    """TFLM's rule: tensors used at the same time share bytes only where they are one buffer."""
    buffer_of = {v.name: i for i, b in enumerate(plan.problem.buffers) for v in b.values}
    used: dict[int, list[int]] = {}
    for t, step in enumerate(plan.problem.steps):
        for use in step.uses:
            used.setdefault(use.buffer, []).append(t)
    for a in fixed.values():
        for b in fixed.values():
            i, j = buffer_of[a["name"]], buffer_of[b["name"]]
            together = used[i][0] <= used[j][-1] and used[j][0] <= used[i][-1]
            below = a["offset"] + a["size_bytes"] <= b["offset"]
            apart = below or b["offset"] + b["size_bytes"] <= a["offset"]
            assert i == j or not together or apart


def test_tflm_fixes_only_what_stays_in_one_place() -> None:
    spill, concat = PLANS["spill"], PLANS["concat"]
    assert fixed_addresses(spill) == {"b": 0}  # `a` moves, x and y are in dram
    numbers = offline_allocation(spill, ["y", "b", "unknown", "a"], subgraph=2)
    assert numbers == (1, 2, 4, -1, 0, -1, -1)
    # Of c the first part alone is in sram; y is, to the end, and its copy in dram does not matter.
    assert fixed_addresses(concat) == {"c": 8, "y": 0}
    assert fixed_addresses(PLANS["residual"]) == {"x": 32, "a": 0, "b": 16, "y": 32}
    assert fixed_addresses(PLANS["rows"]) == {}  # y is in two places, x only in part
    described = describe_allocation(spill, ["a", "b"], offline_allocation(spill, ["a", "b"]))
    assert described["arena_head_bytes"] == 48
    assert "1 tensors have no single address" in described["notes"][0]


def test_tflm_refuses_addresses_beyond_int32() -> None:
    plan = PLANS["chain"]
    far = tuple(replace(r, offset=2**31) if r.tier == "sram" else r for r in plan.residencies)
    with pytest.raises(UsageError, match="int32"):
        offline_allocation(replace(plan, residencies=far), ["a"])


def rectangles(text: str) -> list[ET.Element]:
    root = ET.fromstring(text)  # noqa: S314 - our own file
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return [e for e in root.iter("{http://www.w3.org/2000/svg}rect") if e.get("class") == "slice"]


def test_operators_by_a_csv_reader(compiled: Compiled, folder: Path) -> None:
    plan, cost = compiled.plan, compiled.score
    with (folder / "operators.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    assert len(rows) == plan.program.operators
    for row in rows:
        t = int(row["step"])
        assert row["name"] == plan.problem.steps[t].name
        assert float(row["elapsed_s"]) == cost.elapsed_s[t]
        accessed = sum(use.accessed_bytes for use in plan.problem.steps[t].uses)
        assert int(row["sram_bytes"]) + int(row["dram_bytes"]) == accessed
    assert sum(int(row["macs"]) for row in rows) == sum(s.macs for s in plan.problem.steps)


def test_names_are_no_formulas_in_operators() -> None:
    compiled = compiled_of(PLANS["chain"])
    steps = list(compiled.plan.problem.steps)
    steps[1] = replace(steps[1], name='=HYPERLINK("a", "b")')
    problem = with_program(compiled.plan.problem, steps=tuple(steps))
    odd = replace(compiled, plan=replace(compiled.plan, problem=problem))
    rows = [*csv.DictReader(io.StringIO(operators_csv(odd)))]
    assert rows[0]["name"] == '\'=HYPERLINK("a", "b")'
    assert rows[1]["name"] == steps[2].name


def test_svg_tells_every_value_of_a_rectangle() -> None:
    plan = PLANS["concat"]
    drawn = memory_svg(plan)
    assert "holds" not in drawn  # every slice in sram holds one value
    shared = tuple(
        replace(b, values=(*b.values, PlacedValue(f"{b.name}_view", 0, b.size_bytes)))
        for b in plan.problem.buffers
    )
    titles = [box[0].text or "" for box in rectangles(memory_svg(
        replace(plan, problem=with_program(plan.problem, buffers=shared))
    ))]  # fmt: skip
    assert [title.split("; holds ")[1] for title in titles] == ["c, c_view", "y, y_view"]


def test_svg_labels_say_enough_of_a_name_or_nothing() -> None:
    plan = PLANS["concat"]
    for length in (1, 4, 9, 30, 200):
        buffers = tuple(
            replace(
                b,
                name=f"{chr(ord('a') + i)}{'n' * (length - 1)}",
                values=tuple(PlacedValue(f"v{i}_{k}", 0, b.size_bytes) for k in range(12)),
            )
            for i, b in enumerate(plan.problem.buffers)
        )
        drawn = memory_svg(replace(plan, problem=with_program(plan.problem, buffers=buffers)))
        labels = re.findall(r'class="label">([^<]*)</text>', drawn)
        assert labels or length > 1
        for label in labels:
            name, more = label.split(" ")
            assert more == "+11"
            assert len(name) >= min(length, 9), label


def test_svg_has_the_palettes_colours() -> None:
    drawn = memory_svg(PLANS["prefetch"])
    kinds = {box.get("fill") for box in rectangles(drawn)}
    assert kinds == {LIGHT["weight"], LIGHT["activation"]}
    assert f"--weight: {LIGHT['weight']};" in drawn
    assert f"--weight: {DARK['weight']};" in drawn


def test_svg_by_an_xml_parser(compiled: Compiled, folder: Path) -> None:
    plan = compiled.plan
    found = rectangles((folder / "memory.svg").read_text())
    held = [r for r in plan.residencies if r.tier == plan.target.fastest.name]
    assert len(found) == len(held)
    top = max(r.offset + r.end_byte - r.start_byte for r in held)
    for box, r in zip(found, held, strict=True):
        share = float(box.get("height", "")) / 540
        assert share == pytest.approx((r.end_byte - r.start_byte) / top, abs=1e-4)
        width = float(box.get("width", "")) / 960
        assert width == pytest.approx((r.end - r.start) / len(plan.problem.steps), abs=1e-4)
        (title,) = box
        assert plan.problem.buffers[r.buffer].name in str(title.text)


def test_svg_of_odd_names_and_of_nothing() -> None:
    plan = PLANS["residual"]  # has workspace
    buffers = tuple(replace(b, name=f"<{b.name}>&\x00\"'") for b in plan.problem.buffers)
    odd = memory_svg(
        replace(plan, problem=with_program(plan.problem, name="]]>\ud800", buffers=buffers))
    )
    assert len(rectangles(odd)) == 4
    assert 'class="workspace"' in odd
    assert rectangles(memory_svg(replace(plan, residencies=()))) == []


def test_folder_and_forms_may_be_texts(tmp_path: Path) -> None:
    compiled = compile_model("squeezenet", OPTIONS)
    assert emit_plan(compiled, str(tmp_path / "a")) == {"json": str(tmp_path / "a" / "plan.json")}
    assert set(emit_plan(compiled, str(tmp_path / "b"), "csv, c")) == {"csv", "c"}
    for nothing in (",", " ", [" ", ""]):
        with pytest.raises(UsageError, match="names nothing to write"):
            emit_plan(compiled, tmp_path, nothing)
    with pytest.raises(UsageError, match="poem"):
        emit_plan(compiled, tmp_path, ["poem"])
    with pytest.raises(UsageError, match="is a file"):
        emit_plan(compiled, tmp_path / "a" / "plan.json", ["json"])
