"""Schedules as documents."""

import json
from random import Random

import pytest

from tests.support.tiled import random_schedule, random_tiled_graph
from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.schedule import Part, Schedule, part_of


@pytest.mark.parametrize("seed", range(10))
def test_a_schedule_survives_its_document(seed: int) -> None:
    rng = Random(seed)
    schedule = random_schedule(rng, random_tiled_graph(rng))
    assert Schedule.from_json(json.loads(json.dumps(schedule.to_json()))) == schedule


def test_an_order_is_a_schedule_without_parts() -> None:
    schedule = Schedule.whole((2, 0, 1), "memory")
    assert schedule.is_whole
    assert schedule.order == (2, 0, 1)
    cut = Schedule("mine", (part_of(0, {2: (0, 4)}), Part(1), part_of(0, {2: (4, 8)}, copy=1)))
    assert cut.order == (1, 0)
    assert cut.cut_operators == {0}
    assert cut.to_json()["parts"][2] == {"operator": 0, "ranges": [[2, 4, 8]], "copy": 1}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], 'a list "parts"'),
        ({"parts": 3}, 'a list "parts"'),
        ({"parts": [], "part": 1}, "unknown field 'part'"),
        ({"name": 1, "parts": []}, "is a text"),
        ({"parts": [3]}, "is no object"),
        ({"parts": [{}]}, 'needs "operator"'),
        ({"parts": [{"operator": True}]}, 'needs "operator"'),
        ({"parts": [{"operator": -1}]}, 'needs "operator"'),
        ({"parts": [{"operator": 0, "copy": 0.5}]}, '"copy"'),
        ({"parts": [{"operator": 0, "range": []}]}, "unknown field 'range'"),
        ({"parts": [{"operator": 0, "ranges": [[0, 1]]}]}, r"list of \[axis, start, end\]"),
        ({"parts": [{"operator": 0, "ranges": [[0, 3, 3]]}]}, "start < end"),
        ({"parts": [{"operator": 0, "ranges": [[-2, 0, 3]]}]}, "start < end"),
        ({"parts": [{"operator": 0, "ranges": [[1, 0, 3], [1, 3, 4]]}]}, "two ranges"),
    ],
)
def test_a_document_of_another_form_is_refused(document: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Schedule.from_json(document)
