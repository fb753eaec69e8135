"""`ullage sweep` over lengths of a dimension, over the batch, and over sizes of another tier."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from tests.support.cli import Json
from tests.support.encoders import encoder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "encoder.onnx"
    onnx.save(encoder(1, 32, 2), path)
    return path


def test_lengths_are_swept(ask: Json, say: Callable[..., tuple[str, str]], model: Path) -> None:
    words = ("sweep", model, "--dim", "seq=16..64", "--points", 3, "--dtype", "int8")
    found = ask(*words, "--solver", "greedy", "--fast-memory", "16KiB")
    assert found["dimension"] == "seq"
    assert [row["length"] for row in found["rows"]] == [16, 32, 64]
    values = [row["value"] for row in found["rows"]]
    assert values == sorted(values)
    assert {row["fast_memory_bytes"] for row in found["rows"]} == {16384}
    alone = ask("compile", model, "--dim", "seq=32", "--dtype", "int8", "--solver", "greedy")
    assert alone["operators"] == found["rows"][1]["operators"]
    text, _ = say(*words, "--solver", "greedy")
    assert "Speed-up" in text


def test_a_length_without_a_plan_is_told(
    ask: Json, say: Callable[..., tuple[str, str]], model: Path
) -> None:
    words = ("sweep", model, "--dim", "seq=4..256", "--points", 2, "--dtype", "int8")
    options = ("--solver", "greedy", "--target", "edge-npu-spm", "--fast-memory", "16KiB")
    rows = ask(*words, *options)["rows"]
    assert "error" not in rows[0]
    assert rows[1]["status"] == "infeasible"
    _, err = say(*words, *options)
    assert "lengths without a plan: 1; seq = 256" in err
    error = ask("sweep", model, "--dim", "seq=256..257", *words[4:], *options, code=4)["error"]
    assert error["kind"] == "infeasible"


def test_batches_are_swept(ask: Json, tmp_path: Path) -> None:
    proto = encoder(1, 32, 2)
    for value in (proto.graph.input[0], proto.graph.output[0]):
        dims = value.type.tensor_type.shape.dim
        dims[0].dim_param, dims[1].dim_value = "N", 8
    for node in proto.graph.node:
        if node.op_type == "Reshape":
            node.attribute.extend([onnx.helper.make_attribute("allowzero", 0)])
    path = tmp_path / "batched.onnx"
    onnx.save(proto, path)
    found = ask("sweep", path, "--batch", "1..4", "--points", 2, "--solver", "greedy")
    assert (found["dimension"], [row["length"] for row in found["rows"]]) == ("batch", [1, 4])
    assert found["rows"][0]["compute_s"] < found["rows"][1]["compute_s"]
    one = ask("sweep", path, "--batch", 2, "--fast-memory", "16KiB..32KiB", "--points", 2)
    assert len(one["rows"]) == 2


def test_sizes_of_another_tier_are_swept(ask: Json, model: Path) -> None:
    words = ("sweep", model, "--dim", "seq=32", "--target", "phone-npu-flash", "--solver", "greedy")
    found = ask(*words, "--tier", "dram", "--fast-memory", "64KiB..4MiB", "--points", 3)
    assert found["tier"] == "dram"
    sizes = [row["size_bytes"] for row in found["rows"]]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (64 * 1024, 4 * 2**20)
    values = [row["value"] for row in found["rows"] if "error" not in row]
    assert values == sorted(values, reverse=True)
    sizes_of = ("--fast-memory", "16KiB..64KiB", "--points", 2)
    named, plain = ask(*words, "--tier", "sram", *sizes_of), ask(*words, *sizes_of)
    assert [row["value"] for row in named["rows"]] == [row["value"] for row in plain["rows"]]
    refused = ask(*words, "--tier", "dram", *sizes_of, "--meet-latency", "1ms", code=2)
    assert "leave --tier out" in refused["error"]["message"]


def test_what_makes_no_sense_is_refused(ask: Json, model: Path) -> None:
    ranged = ("--dim", "seq=16..64")
    for words, told in (
        ([], "a sweep needs a range"),
        ([*ranged, "--batch", "1..2"], "one dimension at a time"),
        ([*ranged, "--fast-memory", "1KiB..2KiB"], "give --fast-memory one size"),
        ([*ranged, "--meet-latency", "1ms"], "--meet-latency is for sweeps of memory sizes"),
        (["--dim", "seq=64..16"], "the smaller length comes first"),
        (["--dim", "seq=0..16"], "at least 1"),
        (["--dim", "seq=a..16"], "--dim seq"),
        (["--dim", "other=1..2"], "no dimension named other"),
        (["--batch", "0", "--fast-memory", "1KiB..2KiB"], "--batch"),
        (["--dim", "seq=8", "--tier", "attic", "--fast-memory", "1KiB..2KiB"], "no tier 'attic'"),
    ):
        assert told in ask("sweep", model, *words, code=2)["error"]["message"]
