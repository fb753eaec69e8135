"""Comparisons of solvers."""

import pytest

from ullage.compiler.common.errors import UsageError
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.studies.compare import compare_solvers, default_solvers, parameters_by_solver


def test_a_comparison_gives_every_solver_the_best_bound() -> None:
    options = CompileOptions(dtype="int8")
    rows = compare_solvers(find_model("squeezenet"), ["msa", "fluid", "all-slow"], options)
    assert {row["bound_source"] for row in rows} <= {"fluid-lp", "operands", "compute"}
    assert len({row["lower_bound"] for row in rows}) == 1
    for row in rows:
        assert row["gap"] == pytest.approx(max(0.0, row["value"] / row["lower_bound"] - 1))


def test_parameters_go_to_the_solvers_that_have_them() -> None:
    given = {"evolution.simulations": "7", "simulations": "5", "window_steps": "9"}
    found = parameters_by_solver(["greedy", "rl", "evolution", "fluid"], given)
    assert found == {
        "greedy": {},
        "rl": {"simulations": "5"},
        "evolution": {"simulations": "7"},
        "fluid": {"window_steps": "9"},
    }
    for wrong in ("nonsense", "greedy.simulations", "msa.simulations"):
        with pytest.raises(UsageError, match=f"no solver of greedy, rl has a parameter '{wrong}'"):
            parameters_by_solver(["greedy", "rl"], {wrong: "1"})


def test_by_default_all_solvers_are_compared_that_can_run() -> None:
    names = default_solvers("latency")
    assert {"all-slow", "greedy", "msa", "noisy-greedy", "evolution", "rl"} <= set(names)
    assert not {"auto", "no-spill", "ilp"} & set(names)
