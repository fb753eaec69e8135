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
    assert cut.to_json()["schedule"][2] == {"operator": 0, "ranges": {"2": [4, 8]}, "copy": 1}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], 'a list "schedule"'),
        ({"schedule": 3}, 'a list "schedule"'),
        ({"schedule": [], "part": 1}, "unknown field 'part'"),
        ({"name": 1, "schedule": []}, "is a text"),
        ({"schedule": [3]}, "is no object"),
        ({"schedule": [{}]}, 'needs "operator"'),
        ({"schedule": [{"operator": True}]}, 'needs "operator"'),
        ({"schedule": [{"operator": -1}]}, 'needs "operator"'),
        ({"schedule": [{"operator": 0, "copy": 0.5}]}, '"copy"'),
        ({"schedule": [{"operator": 0, "range": []}]}, "unknown field 'range'"),
        ({"schedule": [{"operator": 0, "ranges": {"9" * 99: [0, 1]}}]}, "for each axis"),
        ({"schedule": [{"operator": 0, "ranges": [[0, 1]]}]}, "for each axis that is cut"),
        ({"schedule": [{"operator": 0, "ranges": {"-1": [0, 1]}}]}, "for each axis that is cut"),
        ({"schedule": [{"operator": 0, "ranges": {"02": [0, 1]}}]}, "for each axis that is cut"),
        ({"schedule": [{"operator": 0, "ranges": {"2": [3, 3]}}]}, "the range of axis 2 in part 0"),
        ({"schedule": [{"operator": 0, "ranges": {"2": 3}}]}, "start < end, not 3"),
        ({"schedule": [{"operator": 0, "k": [1, 0]}]}, 'the range of "k" in part 0'),
        ({"schedule": [{"operator": 0, "name": "b"}]}, "is 'a' and not 'b'"),
    ],
)
def test_a_document_of_another_form_is_refused(document: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Schedule.from_json(document, ("a",))


def test_a_part_may_name_its_operator() -> None:
    document = {"schedule": [{"operator": 0, "name": "a", "ranges": {"1": [0, 2]}, "k": None}]}
    schedule = Schedule("file", (part_of(0, {1: (0, 2)}),))
    assert Schedule.from_json(document, ("a",)) == schedule
    assert Schedule.from_json(document) == schedule
