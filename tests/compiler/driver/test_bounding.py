"""One bound for a plan, whichever solver made it."""

from dataclasses import replace

import pytest

from ullage.compiler.driver.bounding import with_best_bound
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.summary_text import gap_text
from ullage.solvers.budget import Budget


@pytest.mark.parametrize("objective", ["latency", "traffic", "energy"])
def test_every_solver_gets_the_same_bound(objective: str) -> None:
    options = CompileOptions(dtype="int8", objective=objective)
    by = {
        name: compile_model("squeezenet", replace(options, solver=name))
        for name in ("all-slow", "greedy", "fluid")
    }
    best = by["fluid"].bound.value
    assert best > 0 or objective == "traffic"
    for compiled in by.values():
        assert compiled.bound.value == pytest.approx(best, rel=1e-5)
        assert compiled.value >= compiled.bound.value * (1 - 1e-9)


def test_no_time_or_too_many_steps_no_relaxation(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = compile_model("squeezenet", CompileOptions(dtype="int8", solver="all-slow"))
    assert compiled.plan.bound_source == "fluid-lp"
    plain = replace(compiled.plan, lower_bound=None, bound_source="")
    assert with_best_bound(plain, compiled.value, Budget(deadline=0.0)) == plain
    assert with_best_bound(plain, compiled.value, Budget()) != plain
    monkeypatch.setattr("ullage.compiler.driver.bounding.MOST_STEPS", 10)
    assert with_best_bound(plain, compiled.value, Budget()) == plain


def test_a_gap_that_is_open_never_reads_as_closed() -> None:
    texts = {0.0: "0.00 %", 1e-6: "0.00 %", 2e-6: "0.0002 %", 2.75e-5: "0.003 %", 0.017: "1.70 %"}
    assert {gap: gap_text(gap) for gap in texts} == texts
    assert gap_text(None) == "unknown"
