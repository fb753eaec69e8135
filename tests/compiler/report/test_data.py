"""The report's data: the plan itself, the score's own figures, the worth of a buffer's place."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support import plans
from tests.support.changes import with_program, with_target
from tests.support.reports import data_of, in_parts, large, large_page
from ullage.compiler.common.errors import UsageError, VerificationError
from ullage.compiler.driver.summary import summarise
from ullage.compiler.ir.plan import Plan, Residency
from ullage.compiler.ir.plan_json import write_plan
from ullage.compiler.report.advice import what_would_help
from ullage.compiler.report.extras import Extras, read_extras
from ullage.compiler.report.marginal import marginal_seconds
from ullage.compiler.report.page import render_page
from ullage.compiler.report.subject import compiled_of, graph_of
from ullage.hwmodels.cost import bottleneck, score

MADE: list[Callable[[], Plan]] = [
    plans.chain,
    plans.residual,
    plans.in_place,
    plans.concat,
    plans.prefetch,
    plans.two_arrivals,
    plans.spill,
    plans.late_fetch,
    plans.flash,
    plans.fastest,
    plans.rows,
    plans.pinned,
    plans.wrapped,
]


def moved_whole(plan: Plan, buffer: int, tier: str) -> Plan:
    """The plan with all of a buffer in one tier all the time, without its transfers (no rules)."""
    size, steps = plan.problem.buffers[buffer].size_bytes, len(plan.problem.steps)
    others = tuple(r for r in plan.residencies if r.buffer != buffer)
    there = Residency(buffer, 0, size, tier, 0, 0, 0, steps)
    return replace(
        plan,
        residencies=(*others, there),
        transfers=tuple(x for x in plan.transfers if x.buffer != buffer),
    )


@pytest.mark.parametrize("made", MADE)
def test_a_buffers_worth_is_the_difference_of_two_scores(made: Callable[[], Plan]) -> None:
    plan = made()
    found = score(plan)
    worth = marginal_seconds(plan, found)
    for b, buffer in enumerate(plan.problem.buffers):
        at_home = score(moved_whole(plan, b, plan.target.homes[buffer.kind]))
        at_best = score(moved_whole(plan, b, plan.target.fastest.name))
        loss, gain = at_home.latency_s - found.latency_s, found.latency_s - at_best.latency_s
        assert worth.saves_s[b] == pytest.approx(max(0.0, loss), abs=1e-15)
        assert worth.costs_s[b] == pytest.approx(max(0.0, gain), abs=1e-15)


def test_some_buffers_are_worth_something() -> None:
    worths = [marginal_seconds(plan, score(plan)) for plan in (made() for made in MADE)]
    assert max(worth.saves_s.max() for worth in worths) > 0
    assert max(worth.costs_s.max() for worth in worths) > 0


@pytest.mark.parametrize("made", MADE)
def test_columns_are_the_plan(made: Callable[[], Plan]) -> None:
    plan = made()
    data = json.loads(json.dumps(data_of(plan), allow_nan=False))
    tiers = [tier["name"] for tier in data["target"]["tiers"]]
    r = data["residencies"]
    rows = zip(
        r["buffer"],
        r["start_byte"],
        r["end_byte"],
        [tiers[i] for i in r["tier"]],
        r["offset"],
        r["start"],
        r["ready"],
        r["end"],
        strict=True,
    )
    assert [Residency(*row) for row in rows] == list(plan.residencies)
    x = data["transfers"]
    assert sum(x["moves"]) == len(x["step"]) == len(x["bytes"])
    moves = [move for transfer in plan.transfers for move in transfer.moves]
    assert [*zip(x["step"], x["bytes"], strict=True)] == moves
    assert [tiers[i] for i in x["source"]] == [t.source for t in plan.transfers]


@pytest.mark.parametrize("made", MADE)
def test_figures_are_the_scores_own(made: Callable[[], Plan]) -> None:
    plan = made()
    compiled, data = compiled_of(plan), data_of(plan)
    found, steps = compiled.score, data["steps"]
    assert data["summary"] == summarise(compiled)
    assert sum(data["binding_s"].values()) == pytest.approx(found.latency_s)
    assert [steps["bindings"][i] for i in steps["binding"]] == [*bottleneck(found)]
    assert sum(steps["elapsed_s"]) == pytest.approx(found.latency_s, rel=1e-5)
    for tier, space, peak in zip(
        data["target"]["tiers"], data["spaces"], data["peaks"], strict=True
    ):
        assert max(space["live_bytes"]) == found.load_bytes[tier["name"]] == peak["bytes"]
        assert max(space["top_bytes"]) == found.peak_bytes[tier["name"]]
        assert sum(size for _, size in peak["residents"]) == peak["bytes"]


def test_cascades_their_parts_and_their_line_buffers() -> None:
    plan = in_parts(stripes=4)
    data = data_of(plan)
    (cascade,) = data["cascades"]
    steps = data["steps"]
    assert steps["operators"] == ["conv0", "conv1", "conv2", "conv3"]
    assert [steps["operator"][t] for t in cascade["steps"]] == cascade["ranks"] == [0, 1, 2] * 4
    assert cascade["stripes"] == cascade["steps"][::3]
    (row,) = data["summary"]["cascades_detail"]
    assert row["operators"] == ["conv0", "conv1", "conv2"]
    assert (row["stripes"], row["axes"], row["halo_indices"]) == (4, ["rows"], 2)
    found = data["residencies"]
    lines = {
        data["buffers"]["name"][b]
        for b, is_line in zip(found["buffer"], found["line_buffer"], strict=True)
        if is_line
    }
    assert lines == {"v0", "v1"}  # conv3, which is no part of the cascade, reads v2
    assert data_of(plans.spill())["cascades"] == []


def test_more_bandwidth_helps_by_what_the_score_says() -> None:
    plan = plans.residual()
    rows = {row["what"]: row for row in what_would_help(plan, score(plan))}
    dram = rows["10 % more bandwidth of dram and its links"]["saves_s"]
    sram, slow = plan.target.tiers
    faster = replace(slow, read_bytes_per_s=4.4e9, write_bytes_per_s=4.4e9)
    links = tuple(replace(link, bandwidth_bytes_per_s=4.4e9) for link in plan.target.links)
    better = with_target(plan, replace(plan.target, tiers=(sram, faster), links=links))
    assert dram == pytest.approx(score(plan).latency_s - score(better).latency_s)
    assert dram > 0
    assert rows["10 % more sram"]["saves_s"] is None


def test_prices_come_from_the_plan_and_from_extras() -> None:
    prices = (("10 % more sram", 0.25),)
    plan = replace(plans.residual(), shadow_prices=prices, bound_source="fluid-lp")
    first = what_would_help(plan, score(plan))[0]
    assert first == {"what": "10 % more sram", "saves_s": 0.25, "source": "fluid-lp, at most"}
    extras = Extras(prices=({"what": "10 % more sram", "saves_s": 0.5},))
    assert data_of(plans.residual(), extras)["help"][0]["saves_s"] == 0.5


def test_what_saves_nothing_but_for_rounding_is_left_out() -> None:
    plan = plans.residual()
    prices = (("10 % more sram", 1e-9 * score(plan).latency_s), ("nothing", 0.0))
    rows = what_would_help(replace(plan, shadow_prices=prices), score(plan))
    assert "10 % more sram" not in {row["what"] for row in rows}
    assert "nothing" in {row["what"] for row in rows}


def test_names_cannot_leave_the_script_or_fill_marks() -> None:
    name = "</script><script>alert(1)</script>{{script}}{{data}}"
    made = plans.chain()
    buffers = (replace(made.problem.buffers[0], name=name), *made.problem.buffers[1:])
    problem = with_program(made.problem, name=name, buffers=buffers)
    page = render_page(data_of(replace(made, problem=problem))).decode()
    assert page.count("</script>") == 2  # the data's and the program's own
    assert "<script>alert" not in page
    start = page.index('type="application/json">') + len('type="application/json">')
    loaded = json.loads(page[start : page.index("</script>", start)])
    assert loaded["buffers"]["name"][0] == name


def test_the_page_names_no_address_to_load_from() -> None:
    page = render_page(data_of(plans.spill())).decode()
    rest = page.replace("http://www.w3.org/2000/svg", "")  # a name, not an address
    assert "http:" not in rest
    assert "https:" not in rest
    assert "src=" not in rest
    assert "default-src 'none'" in rest


def test_a_large_plan_is_a_small_file() -> None:
    assert len(large().residencies) > 10_000
    assert len(large_page()) < 5e6


def test_an_illegal_plan_is_not_reported() -> None:
    made = plans.chain()
    with pytest.raises(VerificationError):
        compiled_of(replace(made, residencies=made.residencies[1:]))


def test_the_summary_beside_is_used_only_if_it_is_this_plans(tmp_path: Path) -> None:
    plan = plans.chain()
    path = tmp_path / "plan.json"
    write_plan(plan, path)
    alone = compiled_of(plan, path)
    assert any("unknown" in note for note in alone.plan.notes)
    said: dict[str, Any] = {**summarise(alone), "solve_s": 1.5, "solver": "auto", "notes": []}
    (tmp_path / "summary.json").write_text(json.dumps(said))
    beside = compiled_of(plan, path)
    assert (beside.solve_s, beside.requested_solver, beside.plan.notes) == (1.5, "auto", ())
    (tmp_path / "summary.json").write_text(json.dumps({**said, "latency_s": 1.0}))
    assert compiled_of(plan, path).solve_s == 0.0


def test_a_missing_model_is_told() -> None:
    graph, why = graph_of(replace(plans.chain(), model={"path": "/nowhere/model.onnx"}))
    assert graph is None
    assert why is not None
    assert "--model" in why


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("[]", "no JSON object"),
        ("{", "no JSON"),
        ("{}", "neither"),
        ('{"rows": [{"solver": "a"}]}', "no number"),
        ('{"rows": [{"solver": [1], "value": 1}]}', "neither number nor text"),
        ('{"prices": [{"what": "sram"}]}', "a price needs"),
        ('{"rows": [{"solver": "a", "value": 1, "anytime": [[1]]}]}', "no list of"),
        ('{"rows": [{"solver": "a", "value": 1, "anytime": [[1, "x"]]}]}', "no list of"),
        ('{"rows": [{"solver": "a", "value": 1, "anytime": 3}]}', "no list of"),
        ('{"rows": 3}', "neither"),
    ],
)
def test_extras_that_make_no_sense_are_refused(tmp_path: Path, document: str, message: str) -> None:
    path = tmp_path / "extra.json"
    path.write_text(document)
    with pytest.raises(UsageError, match=message):
        read_extras([path])


def test_rows_of_several_sizes_are_a_sweep(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    row = {"solver": "msa", "value": 1.0}
    failed = {"solver": "no-spill", "error": {"kind": "infeasible"}}
    sizes = [{**row, "fast_memory_bytes": size} for size in (1, 2)]
    path.write_text(json.dumps({"rows": [*sizes, failed]}))
    assert [len(read_extras([path]).sweep), len(read_extras([path]).compare)] == [3, 0]
    path.write_text(json.dumps({"rows": [sizes[0], {**sizes[0], "solver": "fluid"}, failed]}))
    assert [row["solver"] for row in read_extras([path]).compare] == ["msa", "fluid", "no-spill"]
    with pytest.raises(UsageError, match="cannot be read"):
        read_extras([tmp_path / "missing.json"])


def test_energy_says_what_it_is_made_of() -> None:
    plan = plans.prefetch()
    target = plan.target
    joules = {"int8": 1e-12}
    for energies, macs in ((None, []), (joules, ["MACs"])):
        compute = replace(target.compute, energy_j_per_mac=energies)
        priced = with_target(plan, replace(target, compute=compute))
        steps = plan.program.steps
        busy = tuple(replace(s, macs=8, mac_dtype="int8") if s.uses else s for s in steps)
        worked = replace(priced, problem=with_program(priced.problem, steps=busy))
        assert data_of(worked)["energy_of"] == ["operands", "DMA", *macs]
