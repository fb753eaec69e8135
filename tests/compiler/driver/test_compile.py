"""The main job."""

from dataclasses import replace

import pytest

from tests.support.cases import (
    chain,
    problem_for,
    solved,
    target_of,
)
from ullage.compiler.common.errors import TimeLimitError
from ullage.compiler.driver import compile as driver
from ullage.compiler.driver.compile import compile_problem
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.summary import summarise
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.verify.verifier import find_violations


def test_compile_works_where_all_slow_has_no_room() -> None:
    """The reference plan does not fit the home tier; the plan asked for does."""
    tiers = target_of(1024).tiers
    target = target_of(1024, tiers=(tiers[0], replace(tiers[1], capacity_bytes=128)))
    build = chain()
    build.op(["x"], [("z", 64)])
    build.op(["a", "y", "z"], [("out", 32)])
    problem = problem_for(build, ["out"], target)
    assert solved("all-slow", problem, "latency") is None
    compiled = compile_problem(problem, CompileOptions(solver="greedy"))
    assert compiled.all_slow is None
    assert find_violations(compiled.plan) == []
    summary = summarise(compiled)
    assert summary["all_slow_latency_s"] is None
    assert summary["speedup_over_all_slow"] is None


def test_too_little_time_for_the_checks_of_a_large_model_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A plan of many steps takes as long to verify and replay as the model took to read."""
    monkeypatch.setattr(driver, "SHORT_STEPS", 3)
    prepared = replace(driver.prepare(find_model("squeezenet"), CompileOptions()), import_s=1e6)
    with pytest.raises(TimeLimitError, match=r"after reading \d+ steps; .* give more time"):
        driver.solve_prepared(prepared, CompileOptions(solver="greedy", time_limit_s=1e5))
