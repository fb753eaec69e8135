"""`schedule` of the driver: searched for, from a file, and refused."""

import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiled_models import residual_network, saved
from tests.support.training import saved_step
from ullage.compiler.common.errors import (
    InfeasibleError,
    TimeLimitError,
    UsageError,
    VerificationError,
)
from ullage.compiler.driver import compile as driver
from ullage.compiler.driver import schedules
from ullage.compiler.driver.compile import compile_model, compile_problem
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.provenance import check_model_matches
from ullage.compiler.driver.result import Compiled
from ullage.compiler.driver.solving import best_of
from ullage.compiler.driver.summary import summarise, summary_rows
from ullage.compiler.emit import emit_plan
from ullage.compiler.frontend import Prepared
from ullage.compiler.ir.plan_json import dump_plan, load_plan
from ullage.compiler.ir.schedule import Schedule, part_of
from ullage.compiler.report.subject import compiled_of
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.scheduling.cascade import search
from ullage.solvers.scheduling.cascade.search import CascadeResult
from ullage.solvers.scheduling.cascade.valued import SchedulingTask

SMALL = CompileOptions(fast_memory_bytes=6144, solver="fluid", schedule="whole")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(residual_network(size=32), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def cascade(path: Path) -> Compiled:
    return compile_model(path, replace(SMALL, schedule="cascade"))


def test_cascades_are_never_worse_than_whole_operators(path: Path, cascade: Compiled) -> None:
    whole = compile_model(path, SMALL)
    assert cascade.value < whole.value
    assert cascade.bound.value <= cascade.value
    summary = summarise(cascade)
    assert summary["schedule"] == "cascade"
    assert summary["parts"] > summary["operators"] == summarise(whole)["operators"]
    rows = dict(summary_rows(cascade, summary))
    assert "parts" in rows["schedule"]
    assert summary["whole_value"] == whole.value
    _check_cascades(cascade, summary)
    assert summarise(whole)["cascades_detail"] == []
    assert summarise(whole)["whole_value"] is None
    assert "for this schedule" in rows["lower bound"]
    assert "schedule" not in dict(summary_rows(whole, summarise(whole)))


def test_the_agent_is_never_worse_than_whole_operators(path: Path) -> None:
    chosen = compile_model(path, replace(SMALL, schedule="agent"))
    summary = summarise(chosen)
    assert summary["schedule"] == "agent"
    assert chosen.value < summary["whole_value"]
    assert dict(summary_rows(chosen, summary))["schedule"].startswith("agent: ")


def test_the_agent_cuts_what_must_fit_in_the_scratchpad(path: Path) -> None:
    asked = replace(SMALL, schedule="agent", target="edge-npu-spm", time_limit_s=5)
    chosen = compile_model(path, asked)
    assert summarise(chosen)["schedule"] == "agent"
    with pytest.raises(InfeasibleError):
        compile_model(path, replace(asked, schedule="whole"))


def test_the_agent_is_refused_where_it_does_not_play(path: Path) -> None:
    with pytest.raises(UsageError, match="minimises latency, not traffic"):
        compile_model(path, replace(SMALL, schedule="agent", objective="traffic"))


def test_the_plan_of_whole_operators_comes_first(cascade: Compiled) -> None:
    summary = summarise(cascade)
    first_s, first = cascade.anytime[0]
    assert first_s < 1.0 < summary["schedule_s"]
    assert first >= summary["whole_value"] > cascade.anytime[-1][1] == cascade.value
    assert summary["whole_because"] is None
    parts_s = summary["import_s"] + summary["schedule_s"] + summary["solve_s"]
    assert parts_s <= summary["total_s"]


@pytest.mark.parametrize("what", ["scheduled", "solve_in_order"])
def test_ctrl_c_keeps_the_plan_of_whole_operators(
    path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = getattr(best_of, what)

    def interrupted(prepared: Prepared, *rest: Any, **named: Any) -> Any:
        if what == "scheduled" or "schedule" in prepared.model:
            raise KeyboardInterrupt
        return function(prepared, *rest, **named)

    monkeypatch.setattr(best_of, what, interrupted)
    kept = compile_model(path, replace(SMALL, schedule="cascade", time_limit_s=4.0))
    assert kept.interrupted
    assert summarise(kept)["schedule"] == "whole"
    assert dict(summary_rows(kept, summarise(kept)))["schedule"].startswith(
        "whole operators: interrupted"
    )


def test_a_plan_near_every_bound_is_not_improved(path: Path) -> None:
    options = CompileOptions(solver="fluid", schedule="cascade", objective="traffic")
    roomy = compile_model(path, options)
    assert roomy.schedule_s == 0
    assert "or moving each byte once, takes as long" in roomy.whole_because
    assert summarise(roomy)["whole_because"] == roomy.whole_because


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ("none better", "no cascades found in"),
        ("slower", "the plan of the cascades found has"),
        ("late", "no plan of the cascades was found: too late"),
    ],
)
def test_where_cascades_are_no_better_the_summary_says_so(
    path: Path, patch: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if patch == "none better":
        found = CascadeResult(Schedule.whole(range(13)))
        monkeypatch.setattr(schedules, "_chosen", lambda *_: found)
    function = best_of.solve_in_order

    def worse(prepared: Prepared, options: CompileOptions, **named: Any) -> Compiled:
        if "schedule" not in prepared.model:
            return function(prepared, options, **named)
        if patch == "late":
            raise TimeLimitError("too late")
        return function(prepared, replace(options, solver="all-slow"), **named)

    monkeypatch.setattr(best_of, "solve_in_order", worse)
    compiled = compile_model(path, replace(SMALL, schedule="cascade", time_limit_s=4.0))
    whole = compile_model(path, SMALL)
    assert compiled.value == whole.value
    assert summarise(compiled)["schedule"] == "whole"
    assert said in dict(summary_rows(compiled, summarise(compiled)))["schedule"]


def _check_cascades(compiled: Compiled, summary: dict[str, Any]) -> None:
    """Rows of cascades add up to what the plan says elsewhere."""
    rows = summary["cascades_detail"]
    plan = compiled.plan
    names = [step.name for step in plan.problem.steps]
    assert summary["cascades"] == sum(len(row["operators"]) > 1 for row in rows) > 0
    assert summary["cut_operators"] <= sum(len(row["operators"]) for row in rows)
    for row in rows:
        parts = names[row["first_step"] : row["end_step"]]
        assert len(parts) == row["parts"] >= row["stripes"]
        assert all(part.startswith(tuple(row["operators"])) for part in parts)
        assert row["saved_bytes"] == row["whole_slow_bytes"] - row["slow_bytes"]
        assert row["weight_slow_bytes"] <= row["slow_bytes"]
    slow_bytes = sum(compiled.score.traffic_bytes.values())
    assert sum(row["slow_bytes"] for row in rows) <= slow_bytes
    saved = sum(row["saved_bytes"] for row in rows)
    assert saved > 0
    assert "more" in text_of(compiled, summary)


def text_of(compiled: Compiled, summary: dict[str, Any]) -> str:
    """The rows of the summary that are about the schedule."""
    rows = summary_rows(compiled, summary)
    first = next(i for i, (name, _) in enumerate(rows) if name == "schedule")
    return " ".join(text for _, text in rows[first : first + 3])


def test_the_report_of_a_file_knows_the_plan_of_whole_operators(
    cascade: Compiled, tmp_path: Path
) -> None:
    written = emit_plan(cascade, tmp_path / "out", "json")["json"]
    again = compiled_of(cascade.plan, Path(written))
    assert again.whole == cascade.whole is not None
    assert summarise(again)["cascades_detail"] == summarise(cascade)["cascades_detail"]
    (tmp_path / "out" / "summary.json").unlink()
    alone = summarise(compiled_of(cascade.plan, Path(written)))
    assert alone["whole_value"] is None
    assert {row["saved_bytes"] for row in alone["cascades_detail"]} == {None}


def test_a_plan_in_parts_survives_its_file_and_matches_its_model(
    path: Path, cascade: Compiled
) -> None:
    plan = cascade.plan
    again = load_plan(dump_plan(plan))
    assert again == plan
    check_model_matches(again, path)
    document = json.loads(dump_plan(plan))
    parts = document["model"]["schedule"]["schedule"]
    cut = next(i for i, part in enumerate(parts) if "ranges" in part)
    next(iter(parts[cut]["ranges"].values()))[1] += 1
    with pytest.raises((VerificationError, UsageError)):
        check_model_matches(load_plan(json.dumps(document).encode()), path)


def test_a_schedule_from_a_file_is_planned_as_it_is(
    path: Path, cascade: Compiled, tmp_path: Path
) -> None:
    made = cascade.plan
    file = tmp_path / "schedule.json"
    file.write_text(json.dumps(made.model["schedule"]))
    for given in (str(file), file, Schedule.from_json(made.model["schedule"])):
        plan = compile_model(path, replace(SMALL, schedule=given)).plan
        assert plan.program == made.program


def test_a_plan_names_the_schedule_that_is_planned_again(
    path: Path, cascade: Compiled, tmp_path: Path
) -> None:
    file = tmp_path / "plan.json"
    file.write_bytes(dump_plan(cascade.plan))
    again = compile_model(path, replace(SMALL, schedule=str(file)))
    assert again.plan.program == cascade.plan.program
    assert again.plan.model["schedule"] == cascade.plan.model["schedule"]
    assert again.value <= cascade.value


def test_a_plan_of_whole_operators_or_of_another_model_names_no_schedule(
    path: Path, cascade: Compiled, tmp_path: Path
) -> None:
    file = tmp_path / "plan.json"
    file.write_bytes(dump_plan(compile_model(path, replace(SMALL, solver="greedy")).plan))
    with pytest.raises(UsageError, match="run whole, so that it names no schedule"):
        compile_model(path, replace(SMALL, schedule=str(file)))
    file.write_bytes(dump_plan(cascade.plan))
    with pytest.raises(UsageError, match="of another model, or of other fusion groups"):
        compile_model(path, replace(SMALL, schedule=str(file), fuse=False))
    file.write_text('{"format_version": 2}')
    with pytest.raises(UsageError, match="not a plan: field"):
        compile_model(path, replace(SMALL, schedule=str(file)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("{", "no JSON document"),
        ("[]", 'a list "schedule"'),
        ('{"schedule": []}', "leaves out operator 0"),
        ('{"schedule": [{"operator": 99}]}', "operators"),
    ],
)
def test_a_wrong_file_is_refused(
    path: Path, tmp_path: Path, content: str | None, message: str
) -> None:
    file = tmp_path / "schedule.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError, match=message):
        compile_model(path, replace(SMALL, schedule=str(file)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"objective": "peak", "fast_memory_bytes": None, "solver": "no-spill"}
            | {"target": "edge-npu-spm"},
            "needs them in sram",
        ),
        ({"schedule": 3}, "option schedule"),
    ],
)
def test_contradictions_are_refused(path: Path, changes: dict[str, Any], message: str) -> None:
    options = replace(replace(SMALL, schedule="cascade"), **changes)
    with pytest.raises(UsageError, match=message):
        compile_model(path, options)


def test_a_schedule_may_be_made_by_hand(path: Path) -> None:
    whole = compile_model(path, SMALL).plan
    order = [step.operator for step in whole.problem.steps if step.operator >= 0]
    parts = list(Schedule.whole(order).parts)
    rows = 16
    parts[:1] = [part_of(order[0], {2: (r, r + 4)}) for r in range(0, rows, 4)]
    views = set(range(max(order) + 1)) - set(order)
    parts += [part_of(index, {}) for index in sorted(views)]
    plan = compile_model(path, replace(SMALL, schedule=Schedule("mine", tuple(parts)))).plan
    assert sum(step.operator == order[0] for step in plan.problem.steps) == 4


def test_the_peak_falls_with_parts(path: Path) -> None:
    options = CompileOptions(objective="peak", target="ethos-u55-128", schedule="whole")
    whole = compile_model(path, options)
    cut = compile_model(path, replace(options, schedule="cascade", time_limit_s=4.0))
    assert cut.value < 0.7 * whole.value
    activations = {
        b for b, buffer in enumerate(cut.plan.problem.buffers) if buffer.kind == "activation"
    }
    assert not any(t.buffer in activations for t in cut.plan.transfers)  # nothing is spilled


def test_cascades_on_three_memories_are_no_worse_than_whole_operators(path: Path) -> None:
    options = CompileOptions(
        target="ethos-u55-128", fast_memory_bytes=16384, solver="greedy", schedule="whole"
    )
    whole = compile_model(path, options)
    cut = compile_model(path, replace(options, schedule="cascade"))
    assert cut.plan.program.parts > whole.plan.program.parts
    assert cut.value < whole.value


def test_what_does_not_fit_whole_is_planned_in_parts(path: Path) -> None:
    options = CompileOptions(
        target="edge-npu-spm", fast_memory_bytes=4096, dtype="int8", solver="greedy"
    )
    with pytest.raises(InfeasibleError, match="--schedule cascade"):
        compile_model(path, options)
    without = replace(options, overrides={"tiles.allowed": "false"})  # as where a file says nothing
    with pytest.raises(
        InfeasibleError, match=r"in parts if the chip can \(--set tiles.allowed=true"
    ):
        compile_model(path, without)
    cut = compile_model(path, replace(options, schedule="cascade", time_limit_s=6.0))
    assert summarise(cut)["schedule"] == "cascade"
    assert cut.plan.program.parts > cut.plan.program.operators
    with pytest.raises(InfeasibleError, match="its smallest part") as raised:
        compile_model(path, replace(options, schedule="cascade", fast_memory_bytes=16))
    assert raised.value.details["needed_bytes"] > 16


def test_without_a_limit_a_first_cut_that_takes_long_is_refused_soon(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "FIRST_CUT_S", 0.0)
    options = CompileOptions(
        target="edge-npu-spm", fast_memory_bytes=4096, dtype="int8", schedule="cascade"
    )
    with pytest.raises(TimeLimitError, match=r"without a time limit did not suffice.*--time-limit"):
        compile_model(path, options)


def test_targets_without_tiles_refuse_parts(path: Path) -> None:
    on_cosma = replace(SMALL, target="cosma", schedule="cascade")
    with pytest.raises(UsageError, match=r"tiles\.allowed=true"):
        compile_model(path, on_cosma)
    made = compile_model(path, replace(SMALL, schedule="cascade")).plan
    given = Schedule.from_json(made.model["schedule"])
    with pytest.raises(UsageError, match="run whole on cosma"):
        compile_model(path, replace(on_cosma, schedule=given))
    narrow = {"tiles.axes": "channels"}
    with pytest.raises(UsageError, match="cuts the rows of"):
        compile_model(path, replace(SMALL, schedule=given, overrides=narrow))
    plan = compile_model(path, replace(SMALL, schedule="cascade", overrides=narrow)).plan
    cut = [step for step in plan.problem.steps if step.ranges]
    assert all(r.axis == 1 for step in cut for r in step.ranges)


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({}, ""),
        ({"objective": "energy", "steady_state": True}, ""),
        ({"objective": "peak", "fast_memory_bytes": None}, ""),
        ({"objective": "peak", "target": "edge-npu-spm"}, "weights must be in sram"),
        ({"target": "cosma"}, "cosma does not run them in parts"),
        ({"solver": "fluid"}, "--solver fluid"),
        ({"then": "traffic"}, ""),
    ],
)
def test_without_a_name_cascades_are_searched_for_where_they_serve(
    changes: dict[str, Any], because: str
) -> None:
    options = replace(CompileOptions(fast_memory_bytes=6144), **changes)
    target = load_target(options.frontend.target)
    assert because in schedules.why_whole(options, target)
    assert schedules.is_searched(options, target) is not bool(because)
    assert schedules.is_searched(replace(options, schedule="cascade"), target)
    assert not schedules.is_searched(replace(options, schedule="whole"), target)


def test_a_problem_runs_as_it_is(path: Path) -> None:
    problem = compile_model(path, SMALL).plan.problem
    for schedule in (None, "whole"):
        compiled = compile_problem(problem, CompileOptions(schedule=schedule))
        assert (compiled.schedule_s, compiled.whole_because) == (0.0, "")
    with pytest.raises(UsageError, match="option schedule"):
        compile_problem(problem, CompileOptions(schedule="cascade"))


def test_where_choosing_a_schedule_takes_all_time_the_error_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(_task: object) -> object:
        raise TimeLimitError("the first cut takes longer", {"parts": 7, "least_s": 1000.0})

    monkeypatch.setattr(search, "schedule_until", late)
    options = CompileOptions(
        target="edge-npu-spm", fast_memory_bytes=4096, dtype="int8", time_limit_s=600.0
    )
    with pytest.raises(TimeLimitError) as raised:
        compile_model(path, options)
    message = raised.value.message
    assert "choosing a schedule" in message
    assert "the first cut takes longer" in message
    memory = re.search(r"give whole operators more memory \(--fast-memory (\d+)\)", message)
    assert memory is not None
    time_s = re.search(r"or more time \(--time-limit, at least (\d+)\)", message)
    assert time_s is not None
    assert 1000 < int(time_s[1]) < 1500
    assert raised.value.details == {"parts": 7, "least_s": 1000.0}
    enough = replace(options, fast_memory_bytes=int(memory[1]), schedule="whole")
    assert compile_model(path, enough).plan.residencies


def test_the_search_shares_bytes_as_the_plan_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A concatenation of 3,200 bytes each vanishes by 128-byte alignment, not by the flash's."""
    options = CompileOptions(
        target="phone-npu-flash",
        overrides={"tiers.dram.addressable": "false"},
        fast_memory_bytes=8192,
        schedule="cascade",
        steady_state=True,
    )
    tasks: list[SchedulingTask] = []

    def whole(task: SchedulingTask) -> CascadeResult:
        tasks.append(task)
        return CascadeResult(Schedule.whole(task.order))

    monkeypatch.setattr(search, "schedule_until", whole)
    given = driver.prepare(saved(residual_network(size=20), tmp_path), options)
    schedules.scheduled(given, options, None)
    searched = tasks[0].problem_of(Schedule.whole(tasks[0].order))
    for problem in (searched, given.problem):
        assert any(step.kind == "Concat" for step in problem.steps)


@pytest.mark.parametrize(
    ("is_cut_short", "room", "is_late"),
    [
        (True, 8192, True),
        (False, 8192, False),
        (True, 8, False),  # not even the smallest part of an operator fits
    ],
)
def test_a_schedule_without_a_plan_proves_nothing_where_time_ended_the_search(
    path: Path, monkeypatch: pytest.MonkeyPatch, room: int, *, is_cut_short: bool, is_late: bool
) -> None:
    """One operator runs in parts, the others whole: not all of them fit."""
    graph = driver.prepare(path, SMALL).graph
    shape = graph.values[graph.operators[0].outputs[0]].shape
    rows = [(0, shape[2] // 2), (shape[2] // 2, shape[2])]
    others = range(1, len(graph.operators))
    parts = (*(part_of(0, {2: ends}) for ends in rows), *(part_of(n, {}) for n in others))
    found = CascadeResult(Schedule("cascade", parts), is_cut_short=is_cut_short)
    monkeypatch.setattr(search, "schedule_until", lambda _task: found)
    spm = CompileOptions(target="edge-npu-spm", fast_memory_bytes=room, time_limit_s=60.0)
    kind = TimeLimitError if is_late else InfeasibleError
    with pytest.raises(kind) as raised:
        compile_model(path, spm)
    message = raised.value.message
    assert ("found no plan in time" in message) is is_late
    assert "Operators run whole here" not in message
    assert "It runs whole in this schedule" in message
    assert ("--time-limit" in raised.value.details["remedies"]) is is_late


@pytest.mark.parametrize("schedule", [None, "cascade"])
def test_where_no_parts_fit_whole_operators_are_the_answer_and_the_advice(
    tmp_path: Path, schedule: str | None
) -> None:
    options = CompileOptions(target="tpu-v1", fast_memory_bytes=1, schedule=schedule)
    step = saved_step(tmp_path, layers=1, batch=4, width=5)
    with pytest.raises(InfeasibleError) as raised:
        compile_model(step, replace(options, schedule="whole", solver="greedy"))
    least = raised.value.details["needed_bytes"]
    assert least % 256, "the memory ends with the last operand, not with its padding"
    found = compile_model(step, replace(options, fast_memory_bytes=least))
    assert summarise(found)["schedule"] == "whole"
    with pytest.raises(InfeasibleError) as raised:
        compile_model(step, replace(options, fast_memory_bytes=least - 1))
    details = raised.value.details
    assert (details["needed_bytes"], details["excess_bytes"]) == (least, 1)
    assert f"--fast-memory {least}" in details["remedies"]
    assert f"--fast-memory {least}" in raised.value.message


def test_the_phases_before_solving_add_up_to_all_the_time_since_the_job_began(path: Path) -> None:
    prepared = driver.prepare(path, SMALL)
    text = schedules.phases_text(replace(prepared, started=time.monotonic() - 30))
    assert "start-up and all else" in text
    assert sum(map(float, re.findall(r"([\d.]+) s", text))) > 29.9
