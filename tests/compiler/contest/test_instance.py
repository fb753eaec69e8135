"""Instances of the contest: what is read, and what is refused, with the reason."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.contest import CHAIN, write_instance
from ullage.compiler.common.errors import ModelError
from ullage.compiler.contest.instance import instance_of, read_instance


def test_an_instance_is_read(tmp_path: Path) -> None:
    instance = read_instance(write_instance(tmp_path, "1", CHAIN))
    assert instance.is_matmul == (True, False, True, False)
    assert instance.producer == (-1, -1, -1, 0, 1, 2, 3)
    assert instance.readers[0] == (0, 3)
    assert instance.order == (0, 1, 2, 3)
    assert instance.depth(2) == 16


def test_operators_may_stand_in_any_order() -> None:
    turned = CHAIN | {
        name: list(reversed(CHAIN[name]))  # type: ignore[call-overload]
        for name in ("inputs", "outputs", "op_types", "base_costs")
    }
    assert instance_of(turned, "turned").order == (3, 2, 1, 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"widths": [16] * 6}, "widths and heights"),
        ({"widths": [16] * 6 + [0]}, "tensor 6 is 0 wide"),
        ({"heights": [16] * 6 + [-3]}, "from 0"),
        ({"heights": [16] * 6 + [10**30]}, "heights holds"),
        ({"widths": [16] * 6 + [2**21]}, "tensor 6"),
        ({"widths": [16] * 6 + ["16"]}, "not an integer"),
        ({"widths": None}, "not a list"),
        ({"op_types": ["MatMul", "Pointwise", "Conv", "Pointwise"]}, "operator 2 is of type"),
        ({"op_types": ["MatMul", ["MatMul"], "MatMul", "Pointwise"]}, "operator 1 is of type"),
        ({"op_types": ["MatMul", "Pointwise", {}, "Pointwise"]}, "operator 2 is of type"),
        ({"slow_memory_bandwidth": 5e-324}, "costs are finite"),
        ({"base_costs": [30, 5, -1, 5]}, "base_costs holds"),
        ({"base_costs": [30, 5, float("nan"), 5]}, "base_costs holds"),
        ({"base_costs": [30, 5]}, "an entry for each operator"),
        ({"inputs": [[0, 1], [3], [4, 2], [7]]}, "there is no tensor 7"),
        ({"inputs": [[0, 1], [3], [4, 2], [-1]]}, "there is no tensor -1"),
        ({"inputs": [[0, 1], [3], [4, 2], []]}, "no list of tensors"),
        ({"inputs": [[0], [3], [4, 2], [5, 0]]}, "2 and 1"),
        ({"inputs": [[0, 1], [6], [4, 2], [5, 0]]}, "in a cycle"),
        ({"outputs": [[3], [4], [5], [5]]}, "written by operators 2 and 3"),
        ({"heights": [16, 8, 16, 16, 16, 16, 16]}, "do not fit"),
        ({"heights": [16, 16, 16, 16, 8, 16, 16]}, "tensors of 2 shapes"),
        ({"fast_memory_capacity": True}, "not a number"),
        ({"slow_memory_bandwidth": 0}, "more than 0"),
        ({"native_granularity": [8]}, "width, height"),
        ({"native_granularity": [0, 8]}, "width, height"),
        ({"widths": [2**20] * 7, "heights": [2**20] * 7}, "more than 1000000 tiles"),
        ({"inputs": [], "outputs": [], "op_types": [], "base_costs": []}, "no operator"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        instance_of(CHAIN | change, "bad.json")
    assert "bad.json" in str(caught.value)


def test_a_missing_field_is_named() -> None:
    document = dict(CHAIN)
    del document["widths"]
    with pytest.raises(ModelError, match="field widths is missing"):
        instance_of(document, "bad.json")


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"widths": [1], "widths": [2]}'])
def test_a_file_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "1.json").write_text(text)
    with pytest.raises(ModelError, match="not an instance"):
        read_instance(tmp_path / "1.json")
