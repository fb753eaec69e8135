"""The command line as programs and people see it: documents, texts, exit codes."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from tests.support.solving import Asked
from ullage.cli.main import main, run
from ullage.compiler.common.errors import UllageError
from ullage.compiler.common.units import format_size, format_time
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.plan_json import read_plan, write_plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.verify.verifier import find_violations

COMPILE_KEYS: dict[str, type | tuple[type, ...]] = {
    "model": str,
    "target": str,
    "solver": str,
    "objective": str,
    "order": str,
    "seed": int,
    "steady_state": bool,
    "status": str,
    "latency_s": float,
    "compute_s": float,
    "all_slow_latency_s": float,
    "simulated_latency_s": float,
    "lower_bound_s": float,
    "gap": float,
    "bound_source": str,
    "value": float,
    "lower_bound": float,
    "traffic_bytes": dict,
    "compulsory_bytes": int,
    "noncompulsory_bytes": int,
    "energy_j": float,
    "peak_bytes": dict,
    "load_bytes": dict,
    "operators": int,
    "buffers": int,
    "slices": int,
    "transfers": int,
    "import_s": float,
    "solve_s": float,
    "total_s": float,
    "verified": bool,
}
ANALYZE_KEYS: dict[str, type] = {
    "weights_bytes": int,
    "activations_bytes": int,
    "largest_tensor_bytes": int,
    "max_operator_bytes": int,
    "min_peak_bytes": int,
    "min_peak_lower_bound_bytes": int,
    "min_peak_bound_source": str,
    "min_peak_proven": bool,
    "peak_residents": list,
    "macs": int,
    "unsupported": list,
    "tiers": list,
}

Json = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Json:
    """Run a command with --json; returns the one document on stdout."""

    def call(*arguments: object, code: int = 0) -> dict[str, Any]:
        assert run([*map(str, arguments), "--json"]) == code
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    return call


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """Run a command; returns what it said on stdout and stderr."""

    def call(*arguments: object, code: int = 0) -> tuple[str, str]:
        assert run([*map(str, arguments)]) == code
        said = capsys.readouterr()
        return said.out, said.err

    return call


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two matrix products and a residual sum over a symbolic batch."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["r"], name="relu"),
        helper.make_node("MatMul", ["r", "w2"], ["b"], name="second"),
        helper.make_node("Add", ["b", "x"], ["y"], name="sum"),
    ]
    square = [
        helper.make_tensor(name, TensorProto.FLOAT, [64, 64], [0.01] * 4096)
        for name in ("w1", "w2")
    ]
    shape: list[str | int | None] = ["n", 64]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        square,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    onnx.save(model, path)
    return path


def has_types(document: dict[str, Any], keys: dict[str, Any]) -> None:
    for key, kind in keys.items():
        assert isinstance(document[key], kind), (key, document[key])


# compile


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
    found = ask("compile", "squeezenet", "--objective", "peak")
    assert found["value"] == found["peak_bytes"]["sram"] >= found["lower_bound"] > 1 << 20
    assert found["chosen_solver"] == "no-spill"
    assert found["gap"] == pytest.approx(found["value"] / found["lower_bound"] - 1)
    assert found["fast_memory_bytes"] >= found["value"]
    assert found["notes"]


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
    assert found["written"]["json"] == found["plan"]
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
    assert found["bound_source"] in rows["lower bound"]
    total = found["compulsory_bytes"] + found["noncompulsory_bytes"]
    assert rows["slow traffic"].startswith(format_size(total) + ",")
    assert format_size(found["noncompulsory_bytes"]) in rows["slow traffic"]
    assert rows["energy"] == f"{found['energy_j'] * 1e3:.4g} mJ"
    assert rows["sram peak"].startswith(format_size(found["peak_bytes"]["sram"]) + " of ")
    assert f"{found['slices']} residencies, {found['transfers']} transfers" in rows["plan"]
    assert "\x1b" not in out
    assert not err


# analyze, compare, verify


def test_analyze_prints_what_a_model_needs(
    ask: Json, say: Callable[..., tuple[str, str]], tiny: Path
) -> None:
    found = ask("analyze", tiny, "--dim", "n=8")
    has_types(found, ANALYZE_KEYS)
    assert found["weights_bytes"] == 2 * 64 * 64 * 4
    assert found["largest_tensor_bytes"] == 64 * 64 * 4
    assert found["max_operator_bytes"] == 3 * 8 * 64 * 4
    assert found["macs"] == 2 * 8 * 64 * 64
    assert found["min_peak_bytes"] <= found["peak_live_bytes"]
    assert sum(r["bytes"] for r in found["peak_residents"]) == found["min_peak_bytes"]
    assert found["unsupported"] == []
    assert [t["tier"] for t in found["tiers"]] == ["sram", "dram"]
    assert found["tiers"][1]["home_bytes"] > found["weights_bytes"]
    out, _ = say("analyze", tiny, "--dim", "n=8")
    assert format_size(found["weights_bytes"]) in out
    assert format_size(found["min_peak_bytes"]) in out


def test_compare_gives_each_solver_a_row(
    ask: Json, say: Callable[..., tuple[str, str]], tiny: Path
) -> None:
    found = ask("compare", tiny, "--dim", "n=8")
    rows = {row["solver"]: row for row in found["rows"]}
    assert {"all-slow", "greedy", "msa"} <= set(rows)
    assert not {"auto", "no-spill"} & set(rows)
    for row in rows.values():
        has_types(row, COMPILE_KEYS)
    assert len({row["lower_bound"] for row in rows.values()}) == 1
    assert rows["greedy"]["latency_s"] <= rows["all-slow"]["latency_s"]
    named = ask("compare", tiny, "--dim", "n=8", "--solvers", "msa, greedy")
    assert [row["solver"] for row in named["rows"]] == ["msa", "greedy"]
    out, _ = say("compare", tiny, "--dim", "n=8")
    for name, row in rows.items():
        line = next(line for line in out.splitlines() if line.startswith(f"│ {name} "))
        assert format_time(row["latency_s"]) in line
    peak = ask("compare", tiny, "--dim", "n=8", "--objective", "peak")
    assert [row["solver"] for row in peak["rows"]] == ["cpsat", "ilp", "no-spill"]


def test_compare_shows_a_solver_that_fails_beside_the_others(
    ask: Json, say: Callable[..., tuple[str, str]], tiny: Path
) -> None:
    arguments = ("compare", tiny, "--dim", "n=8", "--solvers", "greedy,no-spill")
    good, bad = ask(*arguments)["rows"]
    assert good["verified"] is True
    assert bad["solver"] == "no-spill"
    assert bad["error"]["kind"] == "usage"
    out, err = say(*arguments)
    assert "no-spill" in out
    assert "cannot minimise latency" in err
    failed = ask("compare", tiny, "--dim", "n=8", "--solvers", "no-spill", code=2)
    assert failed["error"]["kind"] == "usage"


def test_compare_gives_traces_takes_parameters_and_draws(
    ask: Json, say: Callable[..., tuple[str, str]], tiny: Path, tmp_path: Path
) -> None:
    solvers = ("--solvers", "greedy,rl,evolution,noisy-greedy", "--param", "simulations=3")
    picture = tmp_path / "new" / "a.svg"
    found = ask("compare", tiny, "--dim", "n=8", *solvers, "--plot", picture)
    assert found["plot"] == str(picture)
    assert found["interrupted"] is False
    assert "evolution" in picture.read_text(encoding="utf-8")
    for row in found["rows"]:
        assert row["anytime"][-1][1] == row["value"]
        assert row["solver_options"] == ({} if row["solver"] == "greedy" else {"simulations": 3})
    out, _ = say("compare", tiny, "--dim", "n=8", *solvers, "--plot", tmp_path / "b.png")
    assert "b.png" in out
    for wrong in (("--plot", tmp_path / "a.pdf"), ("--param", "greedy.simulations=3")):
        failed = ask("compare", tiny, "--dim", "n=8", "--solvers", "greedy,rl", *wrong, code=2)
        assert failed["error"]["kind"] == "usage"


def test_compare_keeps_what_it_has_when_interrupted(
    ask: Json, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ullage.solvers.heuristics.msa.solve", stopped)
    arguments = ("compare", tiny, "--dim", "n=8", "--solvers")
    found = ask(*arguments, "greedy,msa,all-slow", code=130)
    assert [row["solver"] for row in found["rows"]] == ["greedy"]
    assert found["interrupted"] is True
    assert ask(*arguments, "msa,greedy", code=130)["error"]["kind"] == "interrupted"


@pytest.fixture
def plan_path(ask: Json, tiny: Path, tmp_path: Path) -> Path:
    return Path(ask("compile", tiny, "--dim", "n=8", "-o", tmp_path / "out")["plan"])


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


# pack, targets, solvers, models


def test_pack_proves_a_small_instance(
    ask: Json, say: Callable[..., tuple[str, str]], tmp_path: Path
) -> None:
    path = tmp_path / "buffers.csv"
    path.write_text("id,lower,upper,size\na,0,2,16\nb,1,3,16\nc,2,4,16\n")
    out_path = tmp_path / "packed.csv"
    found = ask("pack", path, "-o", out_path)
    assert (found["buffers"], found["peak_bytes"], found["lower_bound_bytes"]) == (3, 32, 32)
    assert found["status"] == "optimal"
    assert out_path.read_text().splitlines()[0] == "id,lower,upper,size,offset"
    out, _ = say("pack", path)
    assert out.startswith("3 buffers in 32 bytes")
    assert ask("pack", path, "--capacity", 16, code=4)["error"]["kind"] == "infeasible"


def test_lists_and_details_of_targets_solvers_and_models(
    ask: Json, say: Callable[..., tuple[str, str]]
) -> None:
    targets = ask("targets", "list")
    assert targets["default"] in [each["name"] for each in targets["targets"]]
    assert ask("targets", "show", "cosma")["name"] == "cosma"
    solvers = {each["name"]: each for each in ask("solvers", "list")["solvers"]}
    assert {"all-slow", "greedy", "msa", "auto", "no-spill"} <= set(solvers)
    assert "max_repacks" in solvers["msa"]["parameters"]
    assert "peak" in solvers["auto"]["objectives"]
    assert ask("solvers", "show", "msa")["name"] == "msa"
    models = {each["name"]: each["path"] for each in ask("models", "list")["models"]}
    assert len(models) == 9
    assert Path(models["squeezenet"]).is_file()
    shown = ask("models", "show", "squeezenet")
    assert shown["path"] == models["squeezenet"]
    assert shown["operators"] > 20
    for arguments, word in (
        (("targets", "list"), "edge-npu"),
        (("targets", "show", "cosma"), "sram"),
        (("solvers", "list"), "greedy"),
        (("solvers", "show", "msa"), "max_repacks"),
        (("models", "list"), "squeezenet"),
        (("models", "show", "squeezenet"), "operators"),
    ):
        assert word in say(*arguments)[0]


def test_a_broken_package_does_not_hide_the_other_solvers(
    ask: Json, say: Callable[..., tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint("broken", "no_such_module_anywhere:solve", "ullage.solvers")
    monkeypatch.setattr("ullage.solvers.registry.entry_points", lambda **_: [point])
    found = ask("solvers", "list")
    assert "greedy" in [each["name"] for each in found["solvers"]]
    assert "no_such_module_anywhere" in found["broken"]["broken"]
    out, err = say("solvers", "list")
    assert "greedy" in out
    assert "no_such_module_anywhere" in err
    assert ask("solvers", "show", "broken", code=2)["error"]["kind"] == "usage"


# Errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bogus"], "--bogus"),
        (["--fast-memory", "1 parsec"], "parsec"),
        (["--fast-memory=-4"], "negative"),
        (["--target", "abacus"], "abacus"),
        (["--target", "missing/target.yaml"], "target.yaml"),
        (["--solver", "oracle"], "no solver named 'oracle'"),
        (["--objective", "beauty"], "unknown objective 'beauty'"),
        (["--objective", "peak", "--solver", "greedy"], "cannot minimise peak"),
        (["--order", "random"], "unknown order 'random'"),
        (["--dim", "n"], "--dim takes NAME=VALUE"),
        (["--dim", "n=0"], "at least 1"),
        (["--dim", "n=many"], "'many'"),
        (["--dim", "n=1", "--dim", "n=2"], "given twice"),
        (["--batch", "0"], "--batch"),
        (["--batch", "x"], "valid integer"),
        (["--set", "color=red"], "no field 'color'"),
        (["--set", "split_operands=maybe"], "true or false"),
        (
            ["--batch", "1", "--param", "depth=3", "--solver", "msa"],
            "unknown solver parameter 'depth'",
        ),
        (["--dtype", "int7"], "int7"),
        (["--emit", "poem"], "nothing emits 'poem'"),
        (["--time-limit=-1"], "--time-limit"),
    ],
)
def test_wrong_options_are_usage_errors(
    ask: Json,
    say: Callable[..., tuple[str, str]],
    tiny: Path,
    arguments: list[str],
    words: str,
) -> None:
    given = ["compile", tiny, *arguments]
    error = ask(*given, code=2)["error"]
    assert set(error) == {"kind", "message", "details"}
    assert error["kind"] == "usage"
    assert words in error["message"]
    out, err = say(*given, code=2)
    assert out == ""
    assert err.startswith("ullage: ")


@pytest.mark.parametrize("arguments", [["fly"], ["compile"], ["verify"], ["targets", "fly"]])
def test_wrong_commands_are_usage_errors(ask: Json, arguments: list[str]) -> None:
    assert ask(*arguments, code=2)["error"]["kind"] == "usage"


def test_output_that_cannot_be_written_is_a_usage_error(
    ask: Json, tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    error = ask("compile", tiny, "--batch", 1, "-o", tmp_path / "file", code=2)["error"]
    assert "cannot be written" in error["message"]


def test_models_that_cannot_be_read_exit_with_3(ask: Json, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x07not a model")
    for model in ("no-such-model", tmp_path, tmp_path / "bad.onnx"):
        for command in ("compile", "analyze", "compare"):
            error = ask(command, model, code=3)["error"]
            assert error["kind"] == "model"
            assert str(model) in error["message"]


def test_infeasible_models_exit_with_4_and_figures(
    ask: Json, say: Callable[..., tuple[str, str]], tiny: Path
) -> None:
    given = ["compile", tiny, "--batch", 8, "--set", "operand_access=fastest"]
    given += ["--fast-memory", "1KiB"]
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


def test_no_time_exits_with_6(ask: Json, tiny: Path) -> None:
    error = ask("compile", tiny, "--batch", 8, "--time-limit", 0, code=6)["error"]
    assert error["kind"] == "time_limit"
    assert "--time-limit" in error["message"]


def interrupt(_: Problem, __: Target, ___: Asked) -> Plan:
    raise KeyboardInterrupt


def test_an_interrupt_keeps_the_best_plan(
    ask: Json, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ullage.solvers.heuristics.msa.solve", interrupt)
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
    monkeypatch.setattr("ullage.solvers.heuristics.greedy.solve", interrupt)
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

    def careless(problem: Problem, options: Asked) -> Plan:
        plan = solve(problem, options)
        return replace(plan, residencies=plan.residencies[1:])

    monkeypatch.setattr(greedy, "solve", careless)
    given = ("compile", tiny, "--batch", 8, "--solver", "greedy", "-o", tmp_path / "out")
    error = ask(*given, code=5)["error"]
    assert error["kind"] == "verification"
    assert not (tmp_path / "out").exists()


def test_every_kind_of_error_survives_its_document() -> None:
    kinds: list[type[UllageError]] = [UllageError, *UllageError.__subclasses__()]
    for kind in kinds:
        error = kind("why", {"step": 3})
        again = UllageError.revive(error.to_json())
        assert (again.exit_code, again.message) == (error.exit_code, "why")
        assert again.details == {"step": 3}


# Help, completion, start-up


def test_help_of_every_command(say: Callable[..., tuple[str, str]]) -> None:
    commands = (
        "compile",
        "analyze",
        "compare",
        "verify",
        "pack",
        "targets",
        "solvers",
        "models",
        "warm-up",
    )
    out, _ = say("--help")
    assert all(command in out for command in commands)
    assert "--install-completion" in out
    for command in commands:
        assert "Usage: ullage " + command in say(command, "--help")[0]
        assert say(command, "-h")[0]
    with pytest.raises(SystemExit) as left:
        main(["compile", "--help"])
    assert left.value.code == 0


def test_start_up_imports_nothing_heavy() -> None:
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import ullage.cli.main"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rsplit("|", 1)[-1].strip() for line in result.stderr.splitlines()}
    assert "ullage.cli.main" in loaded
    heavy = "numpy onnx pydantic numba ortools onnxruntime omnimalloc yaml networkx gymnasium"
    assert not loaded & set(heavy.split())


def test_help_imports_neither_networkx_nor_gymnasium() -> None:
    """Of the commands too: their functions import what they need."""
    script = (
        "import sys\n"
        "from ullage.cli.main import run\n"
        "run([*sys.argv[1:], '--help'])\n"
        "sys.stderr.write(' '.join(sys.modules))"
    )
    for command in ([], ["analyze"], ["compile"], ["train"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *command], capture_output=True, text=True, check=True
        )
        assert "Usage: ullage" in done.stdout
        assert not {"networkx", "gymnasium", "numpy"} & set(done.stderr.split())
