"""`--recompute auto`: never worse, executed, told, and refused where it contradicts."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.training import saved_step
from ullage.compiler.common.errors import UsageError
from ullage.compiler.driver.bounding import with_repetitions_bound
from ullage.compiler.driver.compile import compile_model, compile_problem
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.provenance import check_model_matches
from ullage.compiler.driver.recomputation.told import recomputation_of, recompute_texts
from ullage.compiler.driver.result import Compiled
from ullage.compiler.driver.summary import summarise, summary_rows
from ullage.compiler.emit import emit_plan
from ullage.compiler.execute.runner import run_plan
from ullage.compiler.frontend import Prepared
from ullage.compiler.ir.plan_json import dump_plan, load_plan
from ullage.hwmodels.bounds import Bound
from ullage.hwmodels.cost import compute_seconds
from ullage.solvers.scheduling.recompute import search
from ullage.solvers.scheduling.recompute.copies import in_order
from ullage.solvers.scheduling.recompute.search import Choice

SLOW = {
    "tiers.dram.read_bytes_per_s": "5e8",
    "tiers.dram.write_bytes_per_s": "5e8",
    "links.dram->sram.bandwidth_bytes_per_s": "5e8",
    "links.sram->dram.bandwidth_bytes_per_s": "5e8",
}
AGAIN = CompileOptions(
    fast_memory_bytes=5 * 256 * 32 * 4, overrides=SLOW, solver="fluid", recompute="auto"
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_step(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def again(path: Path) -> Compiled:
    return compile_model(path, AGAIN)


def test_the_plan_is_better_than_without(path: Path, again: Compiled) -> None:
    once = compile_model(path, replace(AGAIN, recompute="off", schedule="whole"))
    assert again.value < once.value
    assert again.bound.value <= again.value
    summary, plain = summarise(again), summarise(once)
    assert summary["schedule"] == "recompute"
    assert summary["operators"] == plain["operators"]
    assert summary["parts"] == summary["operators"] + summary["recomputed_steps"]
    assert 0 < summary["recomputed_operators"] <= summary["recomputed_steps"]
    assert summary["recompute_s"] == pytest.approx(summary["compute_s"] - plain["compute_s"])
    assert summary["whole_value"] == once.value
    assert (summary["cascades"], summary["cascades_detail"]) == (0, [])
    assert plain["recomputed_operators"] == plain["recomputed_steps"] == plain["recompute_s"] == 0
    rows = [text for name, text in summary_rows(again, summary) if name in {"schedule", ""}]
    assert any("run again" in text for text in rows)
    assert any(text.startswith("each once:") for text in rows)
    assert "for this schedule" in dict(summary_rows(again, summary))["lower bound"]


def test_the_plan_is_executed_and_comes_back(path: Path, again: Compiled, tmp_path: Path) -> None:
    plan = load_plan(dump_plan(again.plan))
    assert plan == again.plan
    check_model_matches(plan, path)
    execution = run_plan(path, plan)
    assert execution.passed
    assert all(output.bit_exact for output in execution.outputs)
    written = emit_plan(again, tmp_path, "json,html,trace,csv,operators,svg,onnx,c")
    planned_again = compile_model(
        path, replace(AGAIN, recompute="off", schedule=Path(written["json"]))
    )
    assert planned_again.plan.program.steps == again.plan.program.steps


def test_what_is_computed_again_is_counted(again: Compiled) -> None:
    told = recomputation_of(again.plan)
    steps = [step for step in again.plan.problem.steps if step.operator >= 0]
    times: dict[int, int] = {}
    for step in steps:
        times[step.operator] = times.get(step.operator, 0) + 1
    assert told.operators == sum(count > 1 for count in times.values())
    assert told.steps == sum(times.values()) - len(times)
    assert 0 < told.compute_s < compute_seconds(again.plan.problem)[0].sum() / 2
    assert again.whole is not None
    assert len(recompute_texts(again.plan, 0, again.whole)) == 2
    assert len(recompute_texts(again.plan, 0, None)) == 1


def test_where_computing_bounds_operators_run_once(path: Path) -> None:
    fast = replace(AGAIN, overrides=dict.fromkeys(SLOW, "2.5e11"), fast_memory_bytes=1 << 24)
    compiled = compile_model(path, fast)
    assert not compiled.plan.program.is_scheduled
    assert compiled.whole_because
    assert recompute_texts(compiled.plan, 0, None) == []


def test_a_worse_plan_is_not_the_answer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def everything(_task: object, choices: list[Choice], *_: object) -> Choice:
        facts = choices[0].facts
        return Choice(facts, frozenset(facts.gaps))

    monkeypatch.setattr(search, "_ranked", everything)
    compiled = compile_model(path, replace(AGAIN, fast_memory_bytes=6 * 256 * 32 * 4))
    assert not compiled.plan.program.is_scheduled
    assert "the plan of the recomputation found has" in compiled.whole_because


def test_another_order_without_repetitions_is_planned_verified_and_executed(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def once(_task: object, choices: list[Choice], *_: object) -> Choice:
        facts = choices[-1].facts
        running = [i for i in facts.order if facts.writes[i]]
        at = max(  # two neighbours of which the second does not read the first
            n
            for n, (one, other) in enumerate(pairwise(running))
            if not set(facts.writes[one]) & set(facts.reads[other])
        )
        running[at : at + 2] = running[at + 1], running[at]
        return Choice(in_order(facts, running), frozenset())

    monkeypatch.setattr(search, "_ranked", once)
    compiled = compile_model(path, replace(AGAIN, fast_memory_bytes=8 * 256 * 32 * 4))
    model = compiled.plan.model
    assert "schedule" not in model
    assert model["order"] == compiled.plan.program.order == "recompute"
    assert list(model["operator_order"]) != sorted(model["operator_order"])
    assert compiled.repetitions_bound is not None
    assert compiled.repetitions_bound.value <= compiled.value
    plan = load_plan(dump_plan(compiled.plan))
    check_model_matches(plan, path)
    assert run_plan(path, plan).passed
    emit_plan(compiled, tmp_path, "json,html")
    assert summarise(compiled)["order"] == "recompute"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"recompute": "maybe"}, "--recompute takes auto or off"),
        ({"schedule": "cascade"}, "leave one out"),
        ({"objective": "peak", "fast_memory_bytes": None, "solver": "auto"}, "--objective peak"),
    ],
)
def test_contradictions_are_refused(path: Path, changes: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        compile_model(path, replace(AGAIN, **changes))  # type: ignore[arg-type]


def test_a_problem_has_its_steps_already(again: Compiled) -> None:
    with pytest.raises(UsageError, match="recompute"):
        compile_problem(again.plan.problem, CompileOptions(recompute="auto"))


def test_the_bound_over_all_repetitions_is_told(path: Path, again: Compiled) -> None:
    summary = summarise(again)
    assert summary["lower_bound_repetitions_source"] == "recompute-lp"
    assert 0 < summary["lower_bound_repetitions"] <= again.value
    least = summary["lower_bound_any_schedule"] * (1 - 1e-9)
    assert summary["lower_bound_repetitions"] >= least
    assert summary["gap_repetitions"] == again.value / summary["lower_bound_repetitions"] - 1
    rows = dict(summary_rows(again, summary))
    assert "whichever operators run again" in rows["every repetition"]
    other = compile_model(path, replace(AGAIN, objective="traffic"))
    assert other.repetitions_bound is None
    assert "every repetition" not in dict(summary_rows(other, summarise(other)))


def test_a_bound_that_a_plan_contradicts_is_not_used(again: Compiled) -> None:
    assert again.graph is not None
    found = Prepared(again.graph, again.plan.problem, again.plan.model, 0.0, 0.0)
    told = with_repetitions_bound(
        replace(again, repetitions_bound=None),
        replace(found, repetitions_bound=Bound(2 * again.value, "recompute-lp")),
    )
    assert told.repetitions_bound is None
    assert "contradicted" in told.plan.notes[-1]
    assert with_repetitions_bound(again, found) is again
