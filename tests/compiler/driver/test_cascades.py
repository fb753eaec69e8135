"""Rows and texts about the cascades of a plan."""

import re
from pathlib import Path

import pytest

from tests.support.plans import spill
from tests.support.reports import in_parts
from ullage.compiler.driver.cascades import (
    WholePlan,
    cascades_detail,
    line_buffers,
    schedule_texts,
    whole_plan,
)
from ullage.compiler.ir.plan import Plan
from ullage.hwmodels.cost import score
from ullage.hwmodels.operator_traffic import operator_traffic

CLI = Path(__file__).parents[3] / "docs" / "cli.md"


@pytest.fixture(scope="module")
def plan() -> Plan:
    return in_parts()


def test_the_keys_are_those_of_the_page(plan: Plan) -> None:
    (row,) = cascades_detail(plan, score(plan), None)
    page = CLI.read_text(encoding="utf-8")
    table = page[page.index("A row of `cascades_detail`") :].split("\n\n")[1]
    keys = {
        key for line in table.splitlines() for key in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert set(row) == keys


def test_slow_traffic_is_that_of_the_operators_of_the_cascade(plan: Plan) -> None:
    (row,) = cascades_detail(plan, score(plan), None)
    traffic = operator_traffic(plan)
    assert row["slow_bytes"] == round(sum(traffic[o].size_bytes for o in (0, 1, 2)))
    assert row["weight_slow_bytes"] == round(sum(traffic[o].weight_bytes for o in (0, 1, 2)))
    assert row["elapsed_s"] == pytest.approx(
        float(score(plan).elapsed_s[row["first_step"] : row["end_step"]].sum())
    )


def test_a_plan_compared_with_itself_saves_nothing(plan: Plan) -> None:
    whole = whole_plan(1.0, plan, plan)
    (row,) = cascades_detail(plan, score(plan), whole)
    assert (row["saved_bytes"], row["whole_slow_bytes"]) == (0, row["slow_bytes"])
    assert whole.slow_bytes == pytest.approx(sum(score(plan).traffic_bytes.values()), abs=1)


def test_texts_say_what_the_schedule_is_and_what_it_saves(plan: Plan) -> None:
    rows = cascades_detail(plan, score(plan), None)
    told = schedule_texts(plan, rows, 1000, WholePlan(2e-3, 3024, (2000,)))
    assert len(told) == 3
    assert "3 of 4 operators in 12 parts (1 cascade), 13 steps in all" in told[0]
    assert told[1].startswith("line buffers of ")
    assert told[1].endswith(" kept")
    assert told[2] == ("whole operators: 2 ms of latency, 2.95 KiB of slow traffic (1.98 KiB more)")
    assert "(1.98 KiB less)" in schedule_texts(plan, rows, 5048, WholePlan(2e-3, 3024, (9,)))[2]
    assert len(schedule_texts(plan, rows, 1000, None)) == 2


def test_a_plan_of_whole_operators_has_no_rows_no_texts_and_no_line_buffers() -> None:
    whole = spill()
    assert cascades_detail(whole, score(whole), None) == []
    assert schedule_texts(whole, [], 0, None) == []
    assert not any(line_buffers(whole))
