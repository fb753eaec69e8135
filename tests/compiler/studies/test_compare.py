"""Comparisons of solvers."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.tiled_models import residual_network, saved
from ullage.compiler.common.errors import UsageError
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.ir.schedule import Schedule
from ullage.compiler.studies.compare import (
    compare_solvers,
    default_solvers,
    minimised_by,
    parameters_by_solver,
)
from ullage.solvers.registry import find_solver


def test_a_comparison_gives_every_solver_the_best_bound() -> None:
    options = CompileOptions(dtype="int8")
    rows = compare_solvers(find_model("squeezenet"), ["msa", "fluid", "all-slow"], options)
    assert {row["bound_source"] for row in rows} <= {"fluid-lp", "operands", "compute"}
    assert len({row["lower_bound"] for row in rows}) == 1
    for row in rows:
        assert row["gap"] == pytest.approx(max(0.0, row["value"] / row["lower_bound"] - 1))


def test_all_solvers_plan_the_schedule_that_is_found_once(tmp_path: Path) -> None:
    path = saved(residual_network(size=32), tmp_path)
    options = CompileOptions(target="edge-npu-spm", fast_memory_bytes=4096, dtype="int8")
    names = ["greedy", "fluid"]
    (refused, _) = compare_solvers(path, names, options)  # some operator does not fit whole
    assert "--schedule cascade" in refused["error"]["details"]["remedies"]
    rows = compare_solvers(path, names, replace(options, schedule="cascade"))
    assert {row["schedule"] for row in rows} == {"cascade"}
    assert len({(row["parts"], row["lower_bound"]) for row in rows}) == 1
    assert rows[0]["parts"] > rows[0]["operators"]
    assert {row["whole_value"] for row in rows} == {None}
    found = compile_model(path, replace(options, schedule="cascade")).plan.model["schedule"]
    given = replace(options, schedule=Schedule.from_json(found))
    assert {row["schedule"] for row in compare_solvers(path, names, given)} == {"cascade"}


def test_where_no_cascades_are_found_operators_run_whole(tmp_path: Path) -> None:
    path = saved(residual_network(), tmp_path)
    options = CompileOptions(dtype="int8", schedule="cascade")  # everything fits
    (row,) = compare_solvers(path, ["greedy"], options)
    assert row["schedule"] == "whole"
    assert "no cascades found" in row["whole_because"]


def test_rows_say_that_operators_run_whole_where_compile_may_cut_them(tmp_path: Path) -> None:
    path = saved(residual_network(), tmp_path)
    options = CompileOptions(dtype="int8")
    (row,) = compare_solvers(path, ["greedy"], options)
    assert row["schedule"] == "whole"
    assert "unless --schedule cascade is given; compile searches" in row["whole_because"]
    (row,) = compare_solvers(path, ["greedy"], replace(options, schedule="whole"))
    assert row["whole_because"] is None
    (row,) = compare_solvers(path, ["greedy"], replace(options, target="cosma"))
    assert "does not run them in parts" in row["whole_because"]


def test_a_row_holds_its_own_solvers_plan_or_an_error() -> None:
    names = ["all-slow", "greedy", "msa", "fluid", "cpsat", "divide", "rl", "ilp"]
    options = CompileOptions(dtype="int8", time_limit_s=4.0, parameters={"cpsat.hint_share": 0.9})
    rows = compare_solvers(find_model("squeezenet"), names, options)
    assert [row["solver"] for row in rows] == names
    assert not any("chosen_solver" in row for row in rows)
    for row in rows:
        if "error" in row:
            assert row["error"]["kind"] in {"no_own_plan", "usage"}
        else:
            figures = ("latency_s", "noncompulsory_bytes", "energy_j", "peak_bytes", "minimised")
            assert all(row[key] is not None for key in figures)
    assert not {"error"} & set(rows[3]) | {"error"} & set(rows[6])


def test_a_solver_that_cannot_minimise_what_is_asked_minimises_what_it_can() -> None:
    options = CompileOptions(target="cosma", dtype="int8", alias=False, time_limit_s=20.0)
    solvers = ["ilp", "greedy"]
    ilp, greedy = compare_solvers(find_model("squeezenet"), solvers, options)
    assert (ilp["minimised"], greedy["minimised"]) == ("traffic", "latency")
    assert ilp["objective"] == greedy["objective"] == "latency"
    assert ilp["value"] == ilp["latency_s"] >= ilp["lower_bound"] == greedy["lower_bound"]
    assert ilp["anytime"][-1][1] == ilp["value"]
    assert ilp["noncompulsory_bytes"] <= greedy["noncompulsory_bytes"]
    assert minimised_by(find_solver("no-spill"), "latency") == "latency"
    assert minimised_by(find_solver("rl"), "peak") == "peak"


def test_without_fluid_a_comparison_has_its_bound() -> None:
    options = CompileOptions(dtype="int8")
    (alone,) = compare_solvers(find_model("squeezenet"), ["greedy"], options)
    beside = compare_solvers(find_model("squeezenet"), ["greedy", "fluid"], options)[0]
    assert alone["bound_source"] == "fluid-lp"
    assert alone["lower_bound"] == pytest.approx(beside["lower_bound"], rel=1e-9)


def test_parameters_go_to_the_solvers_that_have_them() -> None:
    given = {"evolution.simulations": "7", "simulations": "5", "window_steps": "9"}
    found = parameters_by_solver(["greedy", "rl", "evolution", "fluid"], given)
    assert found == {
        "greedy": {},
        "rl": {"simulations": "5", "own_plan": True},
        "evolution": {"simulations": "7"},
        "fluid": {"window_steps": "9", "own_plan": True},
    }
    theirs = parameters_by_solver(["fluid"], {"own_plan": "false"})
    assert theirs == {"fluid": {"own_plan": "false"}}
    for wrong in ("nonsense", "greedy.simulations", "msa.simulations"):
        with pytest.raises(UsageError, match=f"no solver of greedy, rl has a parameter '{wrong}'"):
            parameters_by_solver(["greedy", "rl"], {wrong: "1"})


def test_by_default_all_solvers_are_compared_that_can_run() -> None:
    names = default_solvers("latency")
    assert {"all-slow", "greedy", "msa", "noisy-greedy", "evolution", "rl"} <= set(names)
    assert not {"auto", "no-spill", "ilp"} & set(names)
