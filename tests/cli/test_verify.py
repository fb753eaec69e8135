"""`ullage verify`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Json
from ullage.compiler.ir.plan_json import read_plan, write_plan


def test_verify_accepts_a_plan_and_its_model(
    ask: Json, say: Callable[..., tuple[str, str]], plan_path: Path, tiny: Path
) -> None:
    found = ask("verify", plan_path)
    assert found["verified"] is True
    assert found["model_checked"] is False
    plan = read_plan(plan_path)
    assert found["residencies"] == len(plan.residencies)
    assert found["steps"] == len(plan.problem.steps)
    assert ask("verify", plan_path, "--model", tiny)["model_checked"] is True
    out, _ = say("verify", plan_path, "--model", tiny)
    assert "legal" in out
    assert "of this model" in out
    assert (found["order"], found["stated_bound"]) == (plan.program.order, plan.lower_bound)


def test_verify_says_of_which_order_a_stated_bound_is(
    ask: Json, say: Callable[..., tuple[str, str]], plan_path: Path
) -> None:
    plan = read_plan(plan_path)
    for source, orders in (("fluid-lp", "this"), ("compute", "every")):
        write_plan(replace(plan, lower_bound=1e-6, bound_source=source), plan_path)
        out, _ = say("verify", plan_path)
        assert f"the lower bound 1 us of latency for {orders} order, by {source}" in out
        assert ask("verify", plan_path)["stated_bound_source"] == source
        assert f"for {orders} order, by {source}" in say("diff", plan_path, plan_path)[0]


def test_verify_refuses_another_model(ask: Json, plan_path: Path) -> None:
    error = ask("verify", plan_path, "--model", "squeezenet", code=5)["error"]
    assert error["kind"] == "verification"
    assert "not the same model" in error["message"]


def test_verify_refuses_a_broken_plan(
    ask: Json, say: Callable[..., tuple[str, str]], plan_path: Path
) -> None:
    plan = read_plan(plan_path)
    write_plan(replace(plan, residencies=plan.residencies[1:]), plan_path)
    error = ask("verify", plan_path, code=5)["error"]
    assert error["kind"] == "verification"
    assert error["details"]["violations"]
    assert set(error["details"]["violations"][0]) == {"rule", "message", "step", "buffers"}
    out, err = say("verify", plan_path, code=5)
    assert out == ""
    assert err.startswith("ullage: ")


@pytest.mark.parametrize(
    "said", [{"dims": [1]}, {"batch": "many"}, {"dtype": 7}, {"order": "random"}, {"dims": "n"}]
)
def test_verify_refuses_a_plan_whose_import_makes_no_sense(
    ask: Json, plan_path: Path, tiny: Path, said: dict[str, Any]
) -> None:
    plan = read_plan(plan_path)
    write_plan(replace(plan, model={**plan.model, **said}), plan_path)
    error = ask("verify", plan_path, "--model", tiny, code=2)["error"]
    assert error["kind"] == "usage"
