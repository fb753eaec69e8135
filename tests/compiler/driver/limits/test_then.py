"""A second objective within a tolerance of the first."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.tiled_models import residual_network, saved
from ullage.compiler.common.errors import UsageError
from ullage.compiler.driver.compile import compile_model, compile_problem
from ullage.compiler.driver.limits.then import minimise_then
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.result import Compiled
from ullage.compiler.driver.summary import summarise
from ullage.compiler.emit import emit_plan
from ullage.compiler.ir.problem import Blend
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.compiler.report.subject import compiled_of
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.catalog.registry import list_targets, load_target
from ullage.hwmodels.cost import objective_value, score, value_of, worth
from ullage.solvers.budget import Budget
from ullage.solvers.run import run_solver

# Slow memory is fast enough here that traffic often costs no time.
TIGHT = CompileOptions(target="tpu-v4i", fast_memory_bytes=1 << 20, schedule="whole")


def compiled(options: CompileOptions, model: str = "squeezenet") -> Compiled:
    return compile_model(model, options)


@pytest.mark.parametrize(
    ("solver", "second"), [("auto", "traffic"), ("fluid", "energy"), ("greedy", "peak")]
)
def test_the_second_falls_while_the_first_keeps_its_tolerance(solver: str, second: str) -> None:
    alone = compiled(replace(TIGHT, solver=solver))
    both = compiled(replace(TIGHT, solver=solver, then=second, within=0.05))
    told = both.secondary
    assert told is not None
    assert told.first_before == alone.value
    assert told.before == objective_value(alone.score, second)
    assert told.after == objective_value(both.score, second) <= told.before
    assert both.value <= alone.value * 1.05
    assert both.plan.objective == "latency"
    assert both.plan.problem.blend is None
    assert both.bound.value == alone.bound.value
    assert not find_violations(both.plan)
    assert score(both.plan).latency_s == both.value == both.anytime[-1][1]
    if told.lower_bound is not None:
        assert told.lower_bound <= told.after * (1 + 1e-9)
    assert summarise(both)["then"]["after"] == told.after


def test_a_report_tells_of_the_second_objective(tmp_path: Path) -> None:
    both = compiled(replace(TIGHT, solver="greedy", then="traffic", within=0.05))
    written = Path(emit_plan(both, tmp_path, "json")["json"])
    again = compiled_of(both.plan, written)
    assert again.secondary == both.secondary
    assert summarise(again)["then"] == summarise(both)["then"]


def test_a_looser_tolerance_is_never_worse() -> None:
    after = []
    for within in (0.0, 0.01, 0.5):
        told = compiled(replace(TIGHT, solver="fluid", then="traffic", within=within)).secondary
        assert told is not None
        after.append(told.after)
    assert after == sorted(after, reverse=True)
    assert after[-1] < after[0] <= told.before


def test_the_first_may_be_cascades(tmp_path: Path) -> None:
    path = saved(residual_network(size=32), tmp_path)
    options = CompileOptions(fast_memory_bytes=6144, then="traffic", within=0.05)
    both = compile_model(path, options)
    assert summarise(both)["schedule"] == "cascade"
    told = both.secondary
    assert told is not None
    assert both.value <= 1.05 * told.first_before
    assert told.first_before < summarise(both)["whole_value"]


def test_latency_comes_second_too() -> None:
    alone = compiled(replace(TIGHT, objective="traffic"))
    both = compiled(replace(TIGHT, objective="traffic", then="latency", within=0.02))
    assert both.value <= alone.value * 1.02
    assert both.score.latency_s <= alone.score.latency_s


def test_without_time_the_first_plan_stands() -> None:
    alone = compiled(TIGHT)
    both = minimise_then(alone, replace(TIGHT, then="traffic"), Budget(deadline=0.0))
    assert both.secondary is not None
    assert both.secondary.after == both.secondary.before
    assert (both.plan.residencies, both.value) == (alone.plan.residencies, alone.value)


def test_what_makes_no_sense_is_refused() -> None:
    wrong = [
        replace(TIGHT, then="latency"),
        replace(TIGHT, then="speed"),
        replace(TIGHT, then="traffic", within=-0.1),
        replace(TIGHT, fast_memory_bytes=None, objective="peak", then="latency"),
        replace(TIGHT, solver="rl", then="traffic"),
    ]
    for options in wrong:
        with pytest.raises(UsageError):
            compiled(options)


def test_a_blend_counts_both_and_claims_no_bound() -> None:
    problem = compiled(replace(TIGHT, solver="all-slow")).plan.problem
    blended = problem.blended(Blend("traffic", 1e-9))
    assert blended.minimising("latency").blend is None
    for solver in ("fluid", "greedy", "auto"):
        outcome = run_solver(solver, blended)
        figures = outcome.score
        assert outcome.plan.lower_bound is None
        assert outcome.value == figures.latency_s + 1e-9 * figures.noncompulsory_bytes
        assert outcome.value == worth(figures, blended) == value_of(outcome.plan)


def test_a_heavier_weight_brings_less_traffic() -> None:
    problem = compiled(replace(TIGHT, solver="all-slow")).plan.problem
    traffic = [
        run_solver("fluid", problem.blended(Blend("traffic", weight))).score.noncompulsory_bytes
        for weight in (0.0, 1e-10, 1e-6)
    ]
    assert traffic[0] > traffic[-1] >= 0
    alone = run_solver("fluid", problem.minimising("traffic")).score.noncompulsory_bytes
    assert traffic[-1] <= alone * 1.01


@pytest.mark.wide(2)
@pytest.mark.parametrize("seed", range(6))
def test_random_programs_keep_the_limit_on_every_target(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 20_000, 20).tolist()
    tensors = [Tensor("x0", sizes[0], "input")]
    operators = []
    for i in range(8):
        tensors += [Tensor(f"w{i}", sizes[2 * i + 1], "weight"), Tensor(f"x{i + 1}", sizes[2 * i])]
        earlier = int(rng.integers(0, i + 1))
        reads = dict.fromkeys([f"x{i}", f"w{i}", f"x{earlier}", f"w{earlier}"])
        operators.append(Op(f"o{i}", list(reads), [f"x{i + 1}"], macs=int(rng.integers(1e3, 1e7))))
    tensors[-1] = replace(tensors[-1], kind="output")
    chip = load_target(list_targets()[seed % len(list_targets())]).with_fast_memory(128 * 1024)
    problem = problem_from_lists("random", tensors, operators, chip)
    for first, second in (("latency", "traffic"), ("energy", "latency"), ("traffic", "peak")):
        options = CompileOptions(then=second, within=0.1, solver="fluid")
        asked = problem.minimising(first)
        both = compile_problem(asked, replace(options, steady_state=bool(seed % 2)))
        told = both.secondary
        assert told is not None
        assert told.after <= told.before
        assert both.value <= told.first_before * (1 + told.within)
        assert not find_violations(both.plan)
