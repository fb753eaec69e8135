"""The problem set: records that hold; solutions that were tampered with are refused."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Json
from ullage.compiler.exchange.check import check_solution
from ullage.compiler.exchange.problem_file import read_problem
from ullage.compiler.exchange.solution_file import read_solution

SET = Path(__file__).parents[2] / "problems"
SOLUTION = ".solution.json"
PATHS = [path for path in sorted(SET.glob("*/*.json")) if not path.name.endswith(SOLUTION)]
CATEGORIES = ("one-shot", "scratchpad", "steady", "three-tiers", "tiled", "training", "whole")
# One of so many is checked here; `python benchmarks/problem_set.py --check` checks all.
ONE_OF = 12
# A solution in which a tensor is brought in, and stays while others do.
TAMPERED = SET / "steady" / "unet-1013.json"
Change = Callable[[dict[str, Any]], None]


def solution_of(path: Path) -> Path:
    return path.with_name(path.stem + SOLUTION)


def test_the_set_is_large_and_has_every_kind() -> None:
    assert len(PATHS) >= 300
    assert {path.parent.name for path in PATHS} == set(CATEGORIES)
    assert all(solution_of(path).is_file() for path in PATHS)
    gaps = []
    for path in PATHS:
        record = json.loads(path.read_text(encoding="utf-8"))["record"]
        assert record["solver"]
        assert record["bound_source"]
        gaps.append(record["value"] / record["lower_bound"] - 1)
    assert min(gaps) > -1e-9
    assert sum(gap <= 0.005 for gap in gaps) >= 0.9 * len(gaps)


@pytest.mark.parametrize("path", PATHS[::ONE_OF], ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_stored_solutions_are_worth_what_the_records_say(path: Path) -> None:
    stated = read_problem(path)
    checked = check_solution(stated, read_solution(solution_of(path), stated.problem))
    assert checked.value == pytest.approx(stated.record.value, rel=1e-9)
    assert checked.value_is_as_stated is True
    assert checked.improves is False
    assert checked.refutes_bound is False


def test_the_board_names_every_problem() -> None:
    board = (SET.parent / "docs" / "leaderboard.md").read_text(encoding="utf-8")
    for path in PATHS:
        assert f"(../problems/{path.parent.name}/{path.name})" in board


def fast(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Residencies in the fastest tier, the largest first."""
    found = [r for r in document["residencies"] if r["tier"] == "sram"]
    return sorted(found, key=lambda r: r["start_byte"] - r["end_byte"])


def beyond_the_memory(document: dict[str, Any]) -> None:
    fast(document)[0]["offset"] = 1 << 40


def below_the_memory(document: dict[str, Any]) -> None:
    fast(document)[0]["offset"] = -16


def two_at_one_address(document: dict[str, Any]) -> None:
    found = fast(document)
    one, other = next(
        (a, b)
        for a in found
        for b in found
        if a is not b and a["start"] < b["end"] and b["start"] < a["end"]
    )
    other["offset"] = one["offset"]


def unaligned(document: dict[str, Any]) -> None:
    fast(document)[0]["offset"] += 1


def one_less(document: dict[str, Any]) -> None:
    document["residencies"].remove(fast(document)[0])


def ends_before_its_last_use(document: dict[str, Any]) -> None:
    longest = max(fast(document), key=lambda r: r["end"] - r["start"])
    longest["end"] -= 1


def half_of_the_bytes(document: dict[str, Any]) -> None:
    largest = fast(document)[0]
    largest["end_byte"] = (largest["start_byte"] + largest["end_byte"]) // 2


def another_memory(document: dict[str, Any]) -> None:
    fast(document)[0]["tier"] = "l2"


def no_transfers(document: dict[str, Any]) -> None:
    assert document["transfers"]
    document["transfers"] = []


def a_transfer_of_fewer_bytes(document: dict[str, Any]) -> None:
    document["transfers"][0]["moves"][0][1] -= 1


def a_transfer_after_its_use(document: dict[str, Any]) -> None:
    moves = document["transfers"][0]["moves"]
    moves[-1][0] = max(r["end"] for r in document["residencies"]) - 1


def a_transfer_over_no_link(document: dict[str, Any]) -> None:
    document["transfers"][0]["link"] = "none"


def a_buffer_that_is_not_there(document: dict[str, Any]) -> None:
    document["residencies"][0]["buffer"] = 10**6


WAYS = (
    beyond_the_memory,
    below_the_memory,
    two_at_one_address,
    unaligned,
    one_less,
    ends_before_its_last_use,
    half_of_the_bytes,
    another_memory,
    no_transfers,
    a_transfer_of_fewer_bytes,
    a_transfer_after_its_use,
    a_transfer_over_no_link,
    a_buffer_that_is_not_there,
)


@pytest.mark.parametrize("change", WAYS, ids=lambda way: way.__name__)
def test_a_solution_that_was_tampered_with_is_refused(
    ask: Json, tmp_path: Path, change: Change
) -> None:
    document = json.loads(solution_of(TAMPERED).read_text(encoding="utf-8"))
    assert ask("check", TAMPERED, solution_of(TAMPERED))["legal"] is True
    tampered = deepcopy(document)
    change(tampered)
    assert tampered != document
    path = tmp_path / "tampered.json"
    path.write_text(json.dumps(tampered), encoding="utf-8")
    error = ask("check", TAMPERED, path, code=5)["error"]
    assert error["kind"] == "verification"
    assert error["details"]["violations"]
