"""`ullage compile` as programs and people see it: documents, texts, exit codes."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.cli import COMPILE_KEYS, Json, has_types
from tests.support.registering import put_in_place
from tests.support.tiled_models import residual_network, saved
from ullage.cli.summary import WORST
from ullage.compiler import emit
from ullage.compiler.common.units import (
    counted,
    format_count,
    format_energy,
    format_size,
    format_time,
)
from ullage.compiler.ir.plan_json import read_plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.verify.verifier import find_violations
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solution


@pytest.mark.parametrize("solver", ["auto", "greedy", "msa", "all-slow"])
def test_compile_prints_one_document_of_the_contract(ask: Json, tiny: Path, solver: str) -> None:
    found = ask("compile", tiny, "--dim", "n=8", "--solver", solver, "--seed", 7)
    has_types(found, COMPILE_KEYS)
    assert (found["model"], found["target"], found["solver"]) == ("tiny", "edge-npu", solver)
    assert (found["objective"], found["order"], found["seed"]) == ("latency", "model", 7)
    assert found["steady_state"] is False
    assert found["verified"] is True
    assert found["plan"] is None
    assert found["status"] in ("optimal", "feasible")
    assert found["value"] == found["latency_s"]
    assert found["lower_bound"] == found["lower_bound_s"] <= found["value"]
    assert found["gap"] == pytest.approx(found["value"] / found["lower_bound"] - 1)
    assert found["compute_s"] <= found["latency_s"] <= found["all_slow_latency_s"]
    assert set(found["peak_bytes"]) == set(found["load_bytes"]) == {"sram", "dram"}
    assert all(found["load_bytes"][t] <= found["peak_bytes"][t] for t in found["peak_bytes"])
    total = found["compulsory_bytes"] + found["noncompulsory_bytes"]
    assert sum(found["traffic_bytes"].values()) == total
    assert sum(found["traffic_by_kind_bytes"].values()) == total
    assert found["inferences_per_s"] == pytest.approx(1 / found["latency_s"])
    assert 0 <= found["dma_busy"] <= 1
    assert 0 <= found["fast_memory_occupancy"] <= 1
    assert "operators_detail" not in found
    assert ("chosen_solver" in found) == (solver == "auto")
    if solver == "auto":
        assert found["chosen_solver"] in ("greedy", "msa", "all-slow")


@pytest.mark.parametrize(
    ("objective", "key"),
    [("latency", "latency_s"), ("traffic", "noncompulsory_bytes"), ("energy", "energy_j")],
)
def test_compile_minimises_each_objective(ask: Json, tiny: Path, objective: str, key: str) -> None:
    found = ask("compile", tiny, "--dim", "n=8", "--objective", objective)
    assert found["value"] == found[key]
    assert found["value"] >= found["lower_bound"]
    assert (found["lower_bound_s"] is not None) == (objective == "latency")


def test_compile_finds_the_smallest_memory_without_spills(ask: Json) -> None:
    found = ask("compile", "squeezenet", "--objective", "peak", "--schedule", "whole")
    assert found["value"] == found["peak_bytes"]["sram"] >= found["lower_bound"] > 1 << 20
    assert found["chosen_solver"] == "no-spill"
    assert found["gap"] == pytest.approx(found["value"] / found["lower_bound"] - 1)
    assert found["fast_memory_bytes"] >= found["value"]
    assert found["notes"]
    assert (found["schedule"], found["whole_because"]) == ("whole", None)
    in_parts = ask("compile", "squeezenet", "--objective", "peak", "--time-limit", "30s")
    assert in_parts["schedule"] == "cascade"
    assert in_parts["value"] < 0.5 * found["value"] == 0.5 * in_parts["whole_value"]


def test_a_peak_above_the_chips_memory_is_told_everywhere(
    ask: Json, say: Callable[..., tuple[str, str]], tiny: Path, tmp_path: Path
) -> None:
    ask_peak = ("compile", tiny, "--dim", "n=8", "--objective", "peak", "--schedule", "whole")
    fits = ask(*ask_peak)
    assert (fits["fits_chip"], fits["notes"]) == (True, [])
    assert say(*ask_peak, "-q") == ("", "")
    small = (*ask_peak, "--set", "tiers.sram.capacity_bytes=64", "-o", tmp_path)
    found = ask(*small, "--emit", "json,c,html,tflm")
    assert found["fits_chip"] is False
    assert (found["chip_fast_memory_bytes"], found["fast_memory_bytes"]) == (64, found["value"])
    plan = read_plan(tmp_path / "plan.json")
    assert plan.shortfall
    assert found["notes"].count(plan.shortfall) == 1
    assert "#define ULLAGE_SRAM_CAPACITY_BYTES 64\n" in (tmp_path / "ullage_plan.h").read_text()
    assert "does not fit" in (tmp_path / "report.html").read_text()
    listed = json.loads((tmp_path / "offline_memory_allocation.json").read_text())
    assert plan.shortfall in listed["notes"]
    warning = f"warning: {plan.shortfall}\n"
    assert say(*small, "-q") == ("", warning)
    out, err = say(*small)
    assert err.count(plan.shortfall) == 1
    assert f"of {format_size(64)}" in out
    assert say("verify", tmp_path / "plan.json")[1] == warning
    assert ask("verify", tmp_path / "plan.json")["fits_chip"] is False


def test_compile_of_a_real_network_beats_all_slow(ask: Json) -> None:
    found = ask("compile", "resnet50", "--dtype", "int8", "--order", "memory", "--batch", 1)
    has_types(found, COMPILE_KEYS)
    assert found["latency_s"] < 0.9 * found["all_slow_latency_s"]
    assert found["simulated_latency_s"] == pytest.approx(found["latency_s"], rel=0.3)
    assert found["order"] == "memory"


def test_compile_writes_what_it_is_asked_for(ask: Json, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    found = ask("compile", tiny, "--dim", "n=8", "-o", out, "--emit", "json,csv")
    assert found["plan"] == str(out / "plan.json")
    assert sorted(found["written"]) == sorted(str(path) for path in out.iterdir())
    assert found["plan"] in found["written"]
    plan = read_plan(Path(found["plan"]))
    assert find_violations(plan) == []
    assert (len(plan.residencies), len(plan.transfers)) == (found["slices"], found["transfers"])
    kept = json.loads((out / "summary.json").read_text())
    assert {k: found[k] for k in kept} == kept
    rows = {
        tier: list(csv.DictReader((out / f"{tier}.csv").read_text().splitlines()))
        for tier in ("sram", "dram")
    }
    assert sum(map(len, rows.values())) == found["slices"]
    for tier, listed in rows.items():
        assert list(listed[0]) == ["id", "lower", "upper", "size", "offset"]
        top = max(int(row["offset"]) + int(row["size"]) for row in listed)
        assert top == found["peak_bytes"][tier]
    names = sorted(path.name for path in out.iterdir())
    assert names == ["dram.csv", "plan.json", "sram.csv", "summary.json"]


def test_compile_with_csv_alone_writes_no_plan(ask: Json, tiny: Path, tmp_path: Path) -> None:
    found = ask("compile", tiny, "--dim", "n=8", "-o", tmp_path, "--emit", "csv")
    assert found["plan"] is None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dram.csv", "sram.csv"]


def test_compile_twice_gives_the_same_plan(ask: Json, tiny: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        ask("compile", tiny, "--dim", "n=8", "--seed", 3, "-o", tmp_path / name)
    one, two = ((tmp_path / name / "plan.json").read_bytes() for name in ("one", "two"))
    assert one == two


def test_options_change_the_problem(ask: Json, tiny: Path) -> None:
    base = ask("compile", tiny, "--dim", "n=8")
    batch = ask("compile", tiny, "--batch", 8)
    assert batch["latency_s"] == base["latency_s"]
    assert ask("compile", tiny, "--batch", 64)["compute_s"] > base["compute_s"]
    assert ask("compile", tiny, "--batch", 8, "--no-fuse")["operators"] > base["operators"]
    assert ask("compile", tiny, "--batch", 8, "--no-alias")["buffers"] >= base["buffers"]
    small = ask("compile", tiny, "--batch", 8, "--fast-memory", "4KiB")
    assert small["fast_memory_bytes"] == 4096
    assert small["peak_bytes"]["sram"] <= 4096
    int8 = ask("compile", tiny, "--batch", 8, "--dtype", "int8")
    assert int8["compulsory_bytes"] * 4 == base["compulsory_bytes"]
    slow = ask("compile", tiny, "--batch", 8, "--set", "tiers.dram.read_bytes_per_s=1e9")
    assert slow["all_slow_latency_s"] > base["all_slow_latency_s"]
    given = ask("compile", tiny, "--batch", 8, "--solver", "msa", "--param", "max_repacks=1")
    assert given["solver_options"] == {"max_repacks": 1}


def test_compile_text_agrees_with_the_document(
    ask: Json, say: Callable[..., tuple[str, str]], tiny: Path
) -> None:
    arguments = ("compile", tiny, "--dim", "n=8", "--solver", "greedy")
    found = ask(*arguments)
    out, err = say(*arguments)
    rows = {line[:18].strip(): line[18:].strip() for line in out.splitlines() if line[:18].strip()}
    assert out.startswith(f"tiny on edge-npu  {found['operators']} operators, {found['buffers']} ")
    assert rows["latency"].startswith(format_time(found["latency_s"]) + " ")
    assert format_time(found["compute_s"]) in rows["latency"]
    assert rows["latency"].endswith(format_time(found["simulated_latency_s"]))
    assert rows["against all-slow"].startswith(f"{found['speedup_over_all_slow']:.2f}x ")
    assert rows["lower bound"].startswith(format_time(found["lower_bound"]) + " ")
    assert f"gap {100 * found['gap']:.2f} %" in rows["lower bound"]
    orders = "every" if found["bound_every_order"] else "this"
    proof = f"of latency for {orders} order, proven by {found['bound_source']}: gap"
    assert proof in rows["lower bound"]
    said = rows["steps bound by"]
    assert said.endswith(" of latency")
    shares: dict[str, float] = {}
    for row in ask(*arguments, "--verbose")["operators_detail"]:
        shares[row["bound_by"]] = shares.get(row["bound_by"], 0.0) + row["share"]
    for binding, share in shares.items():
        shown = float(said.split(f"{binding} ")[1].split(" %")[0])
        assert shown >= 100 * share - 0.06  # steps of DMA alone are not listed
    total = found["compulsory_bytes"] + found["noncompulsory_bytes"]
    assert rows["slow traffic"].startswith(format_size(total) + ",")
    assert format_size(found["noncompulsory_bytes"]) in rows["slow traffic"]
    by_kind = found["traffic_by_kind_bytes"]
    assert f"weights {format_size(by_kind['weight'])} " in out
    assert rows["throughput"].startswith(
        f"{format_count(found['inferences_per_s'])} inferences/s; "
    )
    assert f"DMA busy {100 * found['dma_busy']:.1f} %" in rows["throughput"]
    assert f"sram {100 * found['fast_memory_occupancy']:.1f} % full" in rows["throughput"]
    read = f"{format_size(found['streamed_bytes'])} of {format_size(total)} is read in place"
    assert rows["operands"] == f"in sram or dram: {read}"
    assert rows["energy"] == format_energy(found["energy_j"])
    assert rows["sram peak"].startswith(format_size(found["peak_bytes"]["sram"]) + " of ")
    assert rows["plan"].startswith(
        f"{counted(found['slices'], 'residency', 'residencies')}, "
        f"{counted(found['transfers'], 'transfer')}, verified; "
    )
    assert "\x1b" not in out
    assert not err


def test_verbose_documents_have_every_operator(ask: Json, tiny: Path) -> None:
    found = ask("compile", tiny, "--dim", "n=8", "--solver", "greedy", "--verbose")
    rows = found["operators_detail"]
    assert len(rows) == found["operators"]
    assert "MatMul" in {row["kind"] for row in rows}
    assert sum(row["elapsed_s"] for row in rows) <= found["latency_s"] * (1 + 1e-9)
    work_s = sum(row["compute_s"] + row["overhead_s"] for row in rows)
    assert work_s == pytest.approx(found["compute_s"])
    accessed = sum(row["bytes"]["dram"] for row in rows)
    written = found["traffic_bytes"].get("compute->dram", 0)
    assert accessed == found["streamed_bytes"] + written
    for row in rows:
        assert 0 <= row["utilisation"] <= 1
        assert row["bound_by"] in (
            "compute",
            "sram",
            "dram",
            "overhead",
            *found["dma_busy_by_link"],
        )
    starts = [row["start_s"] for row in rows]
    assert starts == sorted(starts)


def test_the_worst_operators_are_listed_where_there_are_many(
    say: Callable[..., tuple[str, str]], ask: Json, tiny: Path
) -> None:
    few, _ = say("compile", tiny, "--dim", "n=8", "--solver", "greedy")
    assert "slowest" not in few  # that would be all of them
    asked = ("compile", "squeezenet", "--dtype", "int8", "--solver", "greedy")
    many, _ = say(*asked)
    rows = ask(*asked, "-v")["operators_detail"]
    worst = sorted(rows, key=lambda row: (-row["elapsed_s"], row["step"]))[:WORST]
    listed = many[many.index("slowest") :].splitlines()
    assert len(listed) == WORST
    for line, row in zip(listed, worst, strict=True):
        assert f" {row['step']}: {row['name']} " in line
        assert f" {format_time(row['elapsed_s'])} " in line
        assert f"{100 * row['share']:.1f} % {row['bound_by']}" in line
        assert len(line.rstrip()) <= 80


def test_output_that_cannot_be_written_is_a_usage_error(
    ask: Json, tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    error = ask("compile", tiny, "--batch", 1, "-o", tmp_path / "file", code=2)["error"]
    assert "is a file, not a folder" in error["message"]
    assert not (tmp_path / "file").read_bytes()


def test_an_output_folder_is_checked_before_anything_is_solved(
    ask: Json, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def solved(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("ullage.compiler.driver.compile.compile_model", solved)
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        for also in ((), ("--emit", "csv"), ("--time-limit", "3")):
            error = ask("compile", tiny, "--batch", 1, "-o", folder, *also, code=2)["error"]
            assert error["kind"] == "usage"


def test_options_that_contradict_one_another_are_refused(ask: Json, tiny: Path) -> None:
    sram = "tiers.sram.capacity_bytes=64KiB"
    wrong = {
        ("--quiet", "--verbose"): "--verbose",
        ("--fast-memory", "64KiB", "--set", sram): "two capacities",
        ("--objective", "peak", "--fast-memory", "64KiB"): "leave one out",
        ("--within", "1%"): "--then",
        ("--slower-by", "5%"): "--then peak --within 5%",
        ("--objective", "peak", "--slower-by", "-5%"): "--slower-by",
        ("--objective", "peak", "--slower-by", "5"): "5% or 500%",
        ("--then", "traffic", "--within", "-1%"): "--within",
        ("--then", "traffic", "--within", "much"): "--within",
        ("--then", "latency"): "first objective",
        ("--emit", "json"): "-o",
    }
    for options, word in wrong.items():
        error = ask("compile", tiny, "--batch", 1, *options, code=2)["error"]
        assert error["kind"] == "usage"
        assert word in error["message"], error["message"]
    assert ask("compile", tiny, "--batch", 1, "--set", sram)["fast_memory_bytes"] == 65536


def test_the_smallest_peak_that_is_little_slower(
    ask: Json, say: Callable[..., tuple[str, str]], tiny: Path
) -> None:
    asked = ("compile", tiny, "--batch", 64, "--objective", "peak", "--schedule", "whole")
    found = [ask(*asked, "--slower-by", share) for share in ("20%", "0.2", "200%")]
    assert found[0]["value"] == found[1]["value"] >= found[2]["value"] > 0
    for one in found:
        told = one["slower_by"]
        assert told["kept"] is True
        assert one["latency_s"] <= told["limit_s"]
        limit_s = told["best_latency_s"] * (1 + told["slower_by"])
        assert told["limit_s"] == pytest.approx(limit_s)
        if one["lower_bound_any_schedule"] is None:
            assert "within the limit" in one["lower_bound_any_schedule_missing"]
        else:
            assert 0 < one["lower_bound_any_schedule"] <= one["value"]
    text, _ = say(*asked, "--slower-by", "20%")
    assert "20.0 % above the best plan with all of sram" in " ".join(text.split())


def test_ctrl_c_while_files_are_written_says_which_are_complete(
    ask: Json,
    say: Callable[..., tuple[str, str]],
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stopped(*_: object) -> Path:
        raise KeyboardInterrupt

    emitters = {**emit.EMITTERS, "c": stopped}
    monkeypatch.setattr(emit, "EMITTERS", emitters)
    arguments = ("compile", tiny, "--batch", 1, "-o", tmp_path, "--emit", "json,c,csv")
    found = ask(*arguments, code=130)
    there = sorted(str(path) for path in tmp_path.iterdir())
    assert sorted(found["written"]) == there
    assert found["interrupted"] is True
    _, err = say(*arguments, code=130)
    assert all(path in err for path in there)


def test_ctrl_c_while_a_plan_is_executed_keeps_it_unproven(
    ask: Json,
    say: Callable[..., tuple[str, str]],
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ullage.compiler.execute.runner.run_plan", stopped)
    arguments = ("compile", tiny, "--batch", 1, "-o", tmp_path, "--prove")
    found = ask(*arguments, code=130)
    assert found["interrupted"] is True
    assert "execution" not in found
    assert found["plan"] == str(tmp_path / "plan.json") in found["written"]
    _, err = say(*arguments, code=130)
    assert "not proven" in err


def test_times_and_shares_carry_units(ask: Json, tiny: Path) -> None:
    then = ("--then", "traffic", "--within", "2 %")
    found = ask("compile", tiny, "--batch", 1, "--time-limit", "20s", *then)
    assert found["then"]["within"] == 0.02
    for wrong in ("soon", "-1", "1 fortnight", "nan", "1e999s"):
        assert ask("compile", tiny, "--time-limit", wrong, code=2)["error"]["kind"] == "usage"


def test_infeasible_models_exit_with_4_and_figures(
    ask: Json, say: Callable[..., tuple[str, str]], tiny: Path
) -> None:
    given = ["compile", tiny, "--batch", 8, "--set", "operand_access=fastest"]
    given += ["--schedule", "whole", "--fast-memory", "1KiB"]
    error = ask(*given, code=4)["error"]
    assert error["kind"] == "infeasible"
    details = error["details"]
    assert details["tier"] == "sram"
    assert details["available_bytes"] == 1024
    assert details["excess_bytes"] == details["needed_bytes"] - 1024 > 0
    assert details["largest_tensors"][0]["bytes"] == 8 * 64 * 4
    assert details["step"] >= 1
    assert details["remedies"]
    _, err = say(*given, code=4)
    assert format_size(details["needed_bytes"]) in err
    enough = ask(*given[:-1], details["needed_bytes"])
    assert enough["verified"] is True
    in_parts = ask(*given[:6], "--fast-memory", "1KiB")  # what does not fit whole is cut
    assert in_parts["schedule"] == "cascade"


def test_no_time_exits_with_6(ask: Json, tiny: Path) -> None:
    error = ask("compile", tiny, "--batch", 8, "--time-limit", 0, code=6)["error"]
    assert error["kind"] == "time_limit"
    assert "--time-limit" in error["message"]


def interrupt(_: Problem, __: object, ___: Budget) -> Solution:
    raise KeyboardInterrupt


def test_an_interrupt_keeps_the_best_plan(
    ask: Json, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_place("msa", interrupt, monkeypatch)
    found = ask("compile", tiny, "--batch", 8, "-o", tmp_path, code=130)
    assert found["interrupted"] is True
    assert found["chosen_solver"] == "greedy"
    assert find_violations(read_plan(Path(found["plan"]))) == []


def test_an_interrupt_before_any_plan_is_an_error_document(
    ask: Json,
    say: Callable[..., tuple[str, str]],
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_in_place("greedy", interrupt, monkeypatch)
    for solver in ("auto", "greedy"):
        given = ("compile", tiny, "--batch", 8, "--solver", solver, "-o", tmp_path / "out")
        assert ask(*given, code=130)["error"]["kind"] == "interrupted"
        out, err = say(*given, code=130)
        assert (out, err) == ("", "ullage: interrupted before any plan was found\n")
    assert not (tmp_path / "out").exists()


def test_a_plan_that_fails_verification_is_never_written(
    ask: Json, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ullage.solvers.heuristics import greedy

    solve = greedy.solve

    def careless(problem: Problem, options: greedy.GreedyOptions, budget: Budget) -> Solution:
        found = solve(problem, options, budget)
        held = found.assignment.residencies[1:]
        return replace(found, assignment=replace(found.assignment, residencies=held))

    put_in_place("greedy", careless, monkeypatch)
    given = ("compile", tiny, "--batch", 8, "--solver", "greedy", "-o", tmp_path / "out")
    error = ask(*given, code=7)["error"]
    assert error["kind"] == "contract"
    assert "its plan is illegal" in error["message"]
    assert error["details"]["rule"]
    assert not (tmp_path / "out").exists()


def test_the_summary_says_why_operators_run_whole(
    ask: Json, say: Callable[..., tuple[str, str]], tiny: Path, tmp_path: Path
) -> None:
    given = ("compile", tiny, "--batch", 8, "--fast-memory", "2KiB")
    out, _ = say(*given, "--solver", "greedy")
    assert "whole operators: --solver greedy takes them so (--schedule cascade searches" in out
    assert (
        "cosma does not run them in parts" in ask(*given[:4], "--target", "cosma")["whole_because"]
    )
    emitted = ask(*given, "-o", tmp_path, "--emit", "tflm")
    assert emitted["whole_because"] == "--emit tflm takes them so"
    firmware = (*given[:4], "--target", "mps3-an547", "-o", tmp_path / "board", "--emit", "c")
    assert ask(*firmware)["whole_because"].startswith("firmware (--emit c)")
    assert ask(*given, "--schedule", "whole")["whole_because"] is None
    assert "schedule" not in [
        line.split()[0]
        for line in say(*given, "--schedule", "whole")[0].splitlines()
        if line.strip()
    ]


def test_cascades_are_the_default(ask: Json, tmp_path: Path) -> None:
    path = saved(residual_network(size=32), tmp_path)
    given = ("compile", path, "--fast-memory", "6KiB")
    found, whole = ask(*given), ask(*given, "--schedule", "whole")
    assert found["schedule"] == "cascade"
    assert found["value"] < found["whole_value"] == whole["value"]
    assert found["whole_because"] is None


@pytest.mark.parametrize(("target", "is_estimate"), [("stm32h743", True), ("edge-npu", False)])
def test_times_from_figures_of_low_confidence_are_called_an_estimate(
    ask: Json, say: Callable[..., tuple[str, str]], tiny: Path, target: str, is_estimate: bool
) -> None:
    given = ("compile", tiny, "--dim", "n=8", "--target", target, "--dtype", "int8")
    out, _ = say(*given, "--solver", "greedy")
    assert ("\nestimate " in out) == is_estimate
    assert bool(ask(*given, "--solver", "greedy")["estimates"]) == is_estimate
