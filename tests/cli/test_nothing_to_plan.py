"""A model without operators at inference has an empty plan, and every command takes it."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from tests.support.cli import Json
from tests.support.onnx_models import const, info, model, node

Say = Callable[..., tuple[str, str]]
MODELS = {
    "shape": model([node("Shape", "x", "y")], {"x": (2, 3)}, "y"),
    "constant": model(
        [node("Constant", "", "y", value=const("v", [[1.0]], "float32"))], {}, [info("y", (1, 1))]
    ),
    "passed-on": model([], {"x": (2, 3)}, [info("x", (2, 3))]),
}


@pytest.fixture(params=MODELS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    proto = MODELS[request.param]
    proto.ir_version = 9
    file = tmp_path / f"{request.param}.onnx"
    onnx.save(proto, file)
    return file


def test_it_is_compiled_verified_run_and_reported(
    path: Path, tmp_path: Path, ask: Json, say: Say
) -> None:
    compiled = ask("compile", path, "-o", tmp_path, "--solver", "greedy", "--emit", "json,html,csv")
    assert compiled["operators"] == 0
    assert compiled["latency_s"] == 0
    assert compiled["status"] == "optimal"
    assert compiled["verified"] is True
    assert any("nothing to plan" in told for told in compiled["fallbacks"])
    plan = compiled["plan"]
    ask("verify", plan, "--model", path)
    ran = ask("run", path, plan)
    assert ran["passed"] is True
    assert ran["steps"] == 0
    page = tmp_path / "page.html"
    say("report", plan, "-o", page)
    assert page.stat().st_size > 1000


def test_analyze_says_so(path: Path, ask: Json, say: Say) -> None:
    analysis = ask("analyze", path)
    assert analysis["operators"] == 0
    assert analysis["macs"] == 0
    assert analysis["max_operator_bytes"] == 0
    assert any("nothing to plan" in f["reason"] for f in analysis["unsupported"])
    assert "no operator runs" in say("analyze", path)[0]
