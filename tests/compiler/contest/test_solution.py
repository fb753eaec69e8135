"""Solutions of the contest and their files."""

import json
from pathlib import Path

import pytest

from ullage.compiler.common.errors import MalformedPlanError
from ullage.compiler.contest.solution import Subgraph, read_solution, write_solution

SOLUTION = (
    Subgraph((0, 1), (8, 8, 4), (4,), (0, 1, 3, 2)),
    Subgraph((2,), (8, 4, 16)),
)


def test_a_written_solution_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "1.solution.json"
    write_solution(path, SOLUTION, (10.0, 20.5))
    assert read_solution(path) == SOLUTION
    document = json.loads(path.read_text())
    assert document["subgraph_latencies"] == [10.0, 20.5]
    assert document["traversal_orders"] == [[0, 1, 3, 2], None]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"subgraphs": 3}, "not a list"),
        ({"granularities": [[8, 8, 4]]}, "2 subgraphs"),
        ({"granularities": [[8, 8, 4], [8, 8]]}, "granularity 1"),
        ({"tensors_to_retain": [[4], None]}, "tensors_to_retain 1"),
        ({"tensors_to_retain": [[4], [1.5]]}, "holds 1.5"),
        ({"traversal_orders": [None]}, "2 subgraphs"),
        ({"subgraphs": [[0, 1], [-2]]}, "holds -2"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, object], words: str) -> None:
    path = tmp_path / "1.solution.json"
    write_solution(path, SOLUTION, (10.0, 20.5))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(MalformedPlanError, match=words):
        read_solution(path)


def test_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1.solution.json").write_text("nothing")
    with pytest.raises(MalformedPlanError, match="not a solution"):
        read_solution(tmp_path / "1.solution.json")
