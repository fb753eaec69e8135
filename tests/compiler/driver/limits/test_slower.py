"""`slower_by`: the smallest fast memory of plans that are nearly the fastest."""

import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from tests.support.onnx_models import info, model, node
from tests.support.tiled_models import heavy_end, residual_network, saved
from ullage.compiler.common.errors import InfeasibleError, TimeLimitError, UsageError
from ullage.compiler.driver.bounding import NO_SIZE
from ullage.compiler.driver.compile import compile_model, compile_problem, prepare
from ullage.compiler.driver.limits import near_fastest
from ullage.compiler.driver.limits.slower import for_best_latency
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.result import Compiled
from ullage.compiler.driver.summary import summarise, summary_rows
from ullage.compiler.emit import emit_plan
from ullage.compiler.ir.plan import Plan, Residency
from ullage.compiler.ir.plan_json import dump_plan, load_plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.schedule import Schedule, part_of
from ullage.compiler.report.subject import compiled_of, with_graph
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.bounds import Bound, keeps_live_bytes
from ullage.hwmodels.cost import exceeds_limit
from ullage.solvers.bounds.schedules import TRIVIAL, ScheduleBounds
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.smallest import FASTEST_SEEN, smallest_within
from ullage.solvers.heuristics import no_spill
from ullage.solvers.interface import Solution
from ullage.solvers.scheduling.cascade import search

PEAK = CompileOptions(
    objective="peak", target="ethos-u55-128", dtype="int8", schedule="whole", slower_by=0.5
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(residual_network(size=32), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def cascade(path: Path) -> Compiled:
    return compile_model(path, replace(PEAK, schedule="cascade"))


def check(compiled: Compiled, share: float) -> None:
    """The plan is legal, keeps the limit, and the summary says so."""
    limit = compiled.limit
    assert limit is not None
    assert limit.slower_by == share
    assert limit.best_bound_s <= limit.best_latency_s
    assert compiled.score.latency_s <= limit.limit_s == limit.best_latency_s * (1 + share)
    assert not find_violations(compiled.plan)
    assert compiled.plan.objective == "peak"
    assert compiled.bound.value <= compiled.value == compiled.score.peak_bytes["sram"]
    told = summarise(compiled)["slower_by"]
    assert told["kept"] is True
    assert told["slower"] == pytest.approx(compiled.score.latency_s / limit.best_latency_s - 1)
    assert told["limit_s"] == limit.limit_s
    rows = dict(summary_rows(compiled, summarise(compiled)))
    assert "kept" in rows["latency limit"]


def test_cascades_keep_the_limit_and_need_less_than_whole_operators(
    path: Path, cascade: Compiled
) -> None:
    check(cascade, 0.5)
    whole = compile_model(path, PEAK)
    check(whole, 0.5)
    assert cascade.value < 0.8 * whole.value
    assert summarise(cascade)["schedule"] == "cascade"
    assert cascade.whole is not None
    free = compile_model(path, replace(PEAK, slower_by=None))
    assert free.limit is None
    assert "slower_by" not in summarise(free)
    assert free.value <= whole.value


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """A plan whose latency leaves little time for weights behind what computes."""
    model = saved(heavy_end(), tmp_path_factory.mktemp("heavy"))
    return compile_model(model, replace(PEAK, slower_by=0.05))


def test_a_plan_has_a_bound_over_all_schedules(bounded: Compiled, path: Path) -> None:
    bounds = bounded.schedule_bounds
    assert bounds is not None
    assert 0 < bounds.any_schedule.value <= bounds.whole_reductions.value <= bounded.value
    free = compile_model(path, replace(PEAK, slower_by=None))
    assert free.schedule_bounds is None
    assert "--slower-by" in free.unbounded


def test_a_plan_of_a_limit_is_read_again(cascade: Compiled, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_bytes(dump_plan(cascade.plan))
    again = load_plan(file.read_bytes())
    assert not find_violations(again)
    assert again.residencies == cascade.plan.residencies


def test_a_report_has_the_rows_of_the_run(
    bounded: Compiled, cascade: Compiled, tmp_path: Path
) -> None:
    for compiled in (bounded, cascade):
        written = Path(emit_plan(compiled, tmp_path, "json")["json"])
        assert compiled.graph is not None
        again = with_graph(compiled_of(load_plan(written.read_bytes()), written), compiled.graph)
        assert again.limit == compiled.limit
        assert again.schedule_bounds == compiled.schedule_bounds
        rows, later = (summary_rows(one, summarise(one)) for one in (compiled, again))
        # Why there is no bound may be the time, which a report has.
        without = [[row for row in r if not row[1].startswith("no bound: ")] for r in (rows, later)]
        assert [row for row in without[1] if row[0] != "claimed bound"] == without[0]
        assert "latency limit" in dict(rows)
        is_missing = dict(rows)["every schedule"].startswith("no bound: ")
        assert is_missing == (compiled is not bounded)
    (tmp_path / "summary.json").unlink()
    assert compiled_of(again.plan, written).limit is None


def test_a_size_that_nothing_excludes_is_no_bound(path: Path) -> None:
    compiled = compile_model(path, replace(PEAK, slower_by=30.0))
    summary = summarise(compiled)
    assert summary["lower_bound_any_schedule"] is None
    assert summary["lower_bound_any_schedule_source"] is None
    assert summary["gap_any_schedule"] is summary["optimal_any_schedule"] is None
    assert "whatever the size" in summary["lower_bound_any_schedule_missing"]
    text = dict(summary_rows(compiled, summary))["every schedule"]
    assert text == f"no bound: {NO_SIZE}"


def test_only_whole_reductions_may_be_bounded(cascade: Compiled) -> None:
    bounds = ScheduleBounds(Bound(0.0, TRIVIAL), Bound(512.0, "last-element"))
    compiled = replace(cascade, schedule_bounds=bounds, unbounded=NO_SIZE)
    summary = summarise(compiled)
    assert summary["lower_bound_any_schedule"] is None
    assert summary["lower_bound_whole_reductions"] == 512.0
    text = dict(summary_rows(compiled, summary))["every schedule"]
    assert text.startswith("512 B where sums are finished in one step")


def test_more_time_takes_no_more_memory(path: Path) -> None:
    values = []
    for share in (0.2, 0.5, 3.0):
        compiled = compile_model(path, replace(PEAK, slower_by=share))
        check(compiled, share)
        values.append(compiled.value)
    assert values == sorted(values, reverse=True)


def test_a_given_schedule_keeps_the_limit_too(path: Path) -> None:
    prepared = prepare(path, replace(PEAK, slower_by=None, objective="latency"))
    rows = [part_of(0, {2: (0, 8)}), part_of(0, {2: (8, 16)})]
    parts = [*rows, *(part_of(i, {}) for i in range(1, len(prepared.graph.operators)))]
    given = Schedule("mine", tuple(parts))
    compiled = compile_model(path, replace(PEAK, schedule=given))
    check(compiled, 0.5)
    assert compiled.plan.program.parts == compiled.plan.program.operators + 1


def test_a_problem_keeps_a_limit_too(path: Path) -> None:
    prepared = prepare(path, replace(PEAK, slower_by=None))
    compiled = compile_problem(prepared.problem, CompileOptions(slower_by=0.5))
    check(compiled, 0.5)
    assert compiled.value == compile_model(path, PEAK).value


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (replace(PEAK, objective="latency"), "--then peak --within 50%"),
        (replace(PEAK, objective="traffic"), "--then traffic --within 50%"),
        (replace(PEAK, slower_by=-0.1), "at least 0"),
        (replace(PEAK, slower_by=float("nan")), "at least 0"),
        (replace(PEAK, slower_by=float("inf")), "at least 0"),
        (replace(PEAK, solver="cpsat"), "no-spill"),
        (replace(PEAK, then="latency"), "no memory to spare"),
        (replace(PEAK, fast_memory_bytes=1 << 16), "leave one out"),
    ],
)
def test_what_makes_no_sense_is_refused(path: Path, options: CompileOptions, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        compile_model(path, options)


@pytest.mark.parametrize(
    ("target", "overrides"),
    [("edge-npu-spm", {}), ("ethos-u55-128", {"operand_access": "fastest"})],
)
def test_the_remedies_of_a_refusal_are_none_that_the_objective_refuses(
    path: Path, target: str, overrides: dict[str, str]
) -> None:
    field = "tiers.sram.capacity_bytes"
    small = replace(PEAK, target=target, overrides={**overrides, field: "4KiB"})
    with pytest.raises(InfeasibleError, match="it needs in") as refused:
        compile_model(path, small)
    assert "--fast-memory" not in refused.value.message
    assert all(remedy in refused.value.message for remedy in refused.value.details["remedies"])
    needed = str(refused.value.details["needed_bytes"])
    more = f"--set {field}={needed}"
    assert refused.value.details["remedies"][:2] == ["leave --schedule out", more]
    enough = {**overrides, field: needed}
    check(compile_model(path, replace(small, overrides=enough)), 0.5)
    check(compile_model(path, replace(small, schedule=None, time_limit_s=10)), 0.5)


def test_other_commands_do_not_know_it(path: Path) -> None:
    with pytest.raises(UsageError, match="option of compile alone"):
        prepare(path, PEAK)


def test_a_target_whose_operands_must_be_in_one_memory_plans_whole_operators(path: Path) -> None:
    spm = replace(PEAK, target="edge-npu-spm")
    check(compile_model(path, spm), 0.5)
    with pytest.raises(UsageError, match="--schedule whole"):
        compile_model(path, replace(spm, schedule="cascade"))


@pytest.mark.parametrize("schedule", ["whole", "cascade"])
def test_where_no_plan_without_spills_keeps_the_limit_the_fastest_is_the_answer(
    path: Path, tmp_path: Path, schedule: str
) -> None:
    # The fastest plan reads the input in place, one without spills fetches it first.
    compiled = compile_model(path, replace(PEAK, slower_by=0.0, schedule=schedule))
    check(compiled, 0.0)
    assert compiled.limit is not None
    assert compiled.score.latency_s == compiled.limit.best_latency_s
    assert not keeps_live_bytes(compiled.plan)
    assert compiled.bound == Bound(0.0, "trivial")
    assert not compiled.is_optimal
    note = next(note for note in compiled.plan.notes if "the fastest plan is the answer" in note)
    assert "reads them elsewhere" in note
    assert "--slower-by" in note
    assert schedule == "cascade" or "whole operators take" in note
    emit_plan(compiled, tmp_path, ["json"])
    stored = compiled_of(load_plan((tmp_path / "plan.json").read_bytes(), "plan.json"))
    assert stored.bound == compiled.bound


def test_without_time_for_another_the_fastest_plan_is_the_answer(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(_problem: Problem, _limit_s: float, _budget: Budget) -> Solution:
        raise TimeLimitError("no time")

    monkeypatch.setattr(no_spill, "smallest_within", late)
    for target in ("ethos-u55-128", "edge-npu-spm"):
        compiled = compile_model(path, replace(PEAK, target=target))
        check(compiled, 0.5)
        assert any("no time" in note for note in compiled.plan.notes)


@pytest.fixture
def poor_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for the best latency ends with its first plan, which keeps nothing."""

    def first(options: CompileOptions) -> CompileOptions:
        return replace(for_best_latency(options), solver="all-slow")

    monkeypatch.setattr(near_fastest, "for_best_latency", first)


@pytest.mark.usefixtures("poor_reference")
def test_the_limit_is_taken_from_the_fastest_plan_known(path: Path, tmp_path: Path) -> None:
    spm = replace(PEAK, target="edge-npu-spm", slower_by=0.05)
    compiled = compile_model(path, spm)
    check(compiled, 0.05)
    limit = compiled.limit
    assert limit is not None
    first = replace(spm, objective="latency", slower_by=None, solver="all-slow")
    assert limit.surpassed_s == compile_model(path, first).score.latency_s
    assert limit.best_latency_s <= compiled.score.latency_s < limit.surpassed_s
    assert limit.limit_s < limit.surpassed_s
    assert compiled.plan.problem.latency_limit_s == limit.limit_s
    summary = summarise(compiled)
    assert summary["slower_by"]["surpassed_s"] == limit.surpassed_s
    row = dict(summary_rows(compiled, summary))["latency limit"]
    assert "the search for the best latency ended with" in row
    assert any("found while the peak was minimised" in note for note in compiled.plan.notes)
    assert not any("slower plan than the fastest known" in note for note in compiled.plan.notes)
    written = Path(emit_plan(compiled, tmp_path, "json")["json"])
    assert compiled_of(load_plan(written.read_bytes()), written).limit == limit


@pytest.mark.parametrize("error", [TimeLimitError("no time"), KeyboardInterrupt()])
@pytest.mark.usefixtures("poor_reference")
def test_without_time_to_minimise_again_the_answer_itself_sets_the_limit(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """The first answer is made slower than what was seen on the way, and no second is found."""
    searches: list[float] = []

    def once(problem: Problem, limit_s: float, budget: Budget) -> Solution:
        searches.append(limit_s)
        if len(searches) > 1:
            raise error
        found = smallest_within(problem, limit_s, budget)
        seen_s = found.statistics[FASTEST_SEEN]
        return replace(found, statistics={FASTEST_SEEN: seen_s / 2})

    monkeypatch.setattr(no_spill, "smallest_within", once)
    compiled = compile_model(path, replace(PEAK, target="edge-npu-spm", slower_by=0.05))
    check(compiled, 0.05)
    assert len(searches) == 2
    assert searches[1] < compiled.score.latency_s < searches[0]
    assert compiled.limit is not None
    assert compiled.limit.best_latency_s == compiled.score.latency_s
    reason = str(error) or "interrupted"
    assert any(f"no plan was found: {reason}" in note for note in compiled.plan.notes)
    assert compiled.interrupted == isinstance(error, KeyboardInterrupt)


@pytest.mark.usefixtures("poor_reference")
def test_an_answer_that_needs_more_than_the_chip_has_sets_no_limit(path: Path) -> None:
    few = {"tiers.sram.capacity_bytes": "5408"}  # of 6144 without a spill
    compiled = compile_model(path, replace(PEAK, target="edge-npu-spm", overrides=few))
    assert compiled.plan.shortfall
    assert compiled.limit is not None
    assert compiled.limit.surpassed_s is None
    assert FASTEST_SEEN not in compiled.plan.statistics
    assert compiled.score.latency_s < compiled.limit.best_latency_s


def test_plans_without_spills_are_told_from_others(path: Path) -> None:
    for slower_by in (None, 0.5):
        without = compile_model(path, replace(PEAK, slower_by=slower_by))
        assert keeps_live_bytes(without.plan)
        index, residency = _last_of_an_activation(without.plan)
        kept = list(without.plan.residencies)
        kept[index] = replace(residency, end=residency.end - 1)
        assert not keeps_live_bytes(replace(without.plan, residencies=tuple(kept)))
    spilled = compile_model(
        path, replace(PEAK, objective="latency", slower_by=None, solver="all-slow")
    )
    assert not keeps_live_bytes(spilled.plan)


def _last_of_an_activation(plan: Plan) -> tuple[int, Residency]:
    """A residency in the fastest tier that ends with the last use of its activation."""
    for index, residency in enumerate(plan.residencies):
        buffer = plan.problem.buffers[residency.buffer]
        last = plan.problem.uses_of[residency.buffer][-1][0]
        if buffer.kind == "activation" and residency.tier == "sram" and residency.end == last + 1:
            return index, residency
    raise AssertionError


def test_a_share_of_the_time_that_is_too_short_is_told_with_the_limit_of_the_job(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def late(_task: object) -> object:
        raise TimeLimitError("the first cut takes longer")

    monkeypatch.setattr(search, "schedule_until", late)
    options = CompileOptions(
        target="edge-npu-spm",
        overrides={"tiers.sram.capacity_bytes": "8192"},
        objective="peak",
        slower_by=0.05,
        time_limit_s=600.0,
    )
    with pytest.raises(TimeLimitError) as raised:
        compile_model(saved(residual_network(size=32), tmp_path), options)
    told = re.search(
        r"the time limit of 600 s \(([\d.]+) s of it allotted to this part\)", raised.value.message
    )
    assert told is not None
    assert 600.0 * near_fastest.FASTEST_SHARE <= float(told[1]) < 600.0


def test_starting_is_charged_to_the_job_and_not_to_the_best_latency(tmp_path: Path) -> None:
    options = CompileOptions(
        dtype="int8",
        objective="peak",
        slower_by=0.05,
        schedule="whole",
        begun=time.monotonic() - 600,
        time_limit_s=900,
    )
    compiled = compile_model(saved(residual_network(), tmp_path), options)
    assert compiled.limit is not None  # 40 % of 900 s were over before the model was read
    assert compiled.score.latency_s <= compiled.limit.limit_s


def test_a_larger_tolerance_finds_no_smaller_plan_that_keeps_the_strict_limit(
    tmp_path: Path,
) -> None:
    shapes = {"w0": (7, 3, 3, 3), "w1": (5, 7, 3, 3), "w2": (11, 5, 3, 3)}
    nodes, name = [], "x"
    for number, weight in enumerate(shapes):
        nodes.append(node("Conv", f"{name} {weight}", f"c{number}", pads=[1, 1, 1, 1]))
        nodes.append(node("Relu", f"c{number}", f"r{number}"))
        name = f"r{number}"
    weights = [
        numpy_helper.from_array(np.zeros(shape, np.float32), w) for w, shape in shapes.items()
    ]
    network = saved(
        model(nodes, [info("x", [1, 3, 13, 13])], [info("r2", [1, 11, 13, 13])], weights), tmp_path
    )
    options = CompileOptions(dtype="int8", objective="peak", slower_by=0.0)
    strict = compile_model(network, options)
    loose = compile_model(network, replace(options, slower_by=0.01))
    assert strict.limit is not None
    assert not exceeds_limit(strict.score.latency_s, strict.limit.limit_s)
    assert exceeds_limit(loose.score.latency_s, strict.limit.limit_s) or (
        strict.value <= loose.value
    )
    assert keeps_live_bytes(strict.plan)


def test_a_limit_is_kept_but_for_rounding() -> None:
    steps = [0.1] * 10
    assert sum(steps) != 1.0
    assert not exceeds_limit(1.0, sum(steps))
    assert not exceeds_limit(sum(steps), 1.0)
    assert exceeds_limit(1.0 + 1e-8, 1.0)
