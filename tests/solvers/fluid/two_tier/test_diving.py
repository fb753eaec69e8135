"""Fractions of weights that are kept almost whole are fixed, and nothing else of the LP changes."""

from dataclasses import replace

import numpy as np

from tests.solvers.fluid.two_tier.test_setups import with_setups
from tests.support.solving import solve_with
from tests.support.wide import share
from ullage.compiler.ir.problem import Problem
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import score, value_of
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.options import FluidOptions
from ullage.solvers.fluid.two_tier.diving import dive
from ullage.solvers.fluid.two_tier.relaxation import Relaxation, relax
from ullage.solvers.paths.streaming import home_assignment
from ullage.solvers.state.segments import segments_of

SETUP_S = 5e-7


def chain(setup_s: float, room: float = 0.9) -> Problem:
    """Eight operators with a weight each, of which the memory keeps a share; steady state."""
    count, size = 8, 4096
    tensors = [Tensor("t0", 64, "input"), Tensor(f"t{count}", 64, "output")]
    tensors += [Tensor(f"t{i}", 64) for i in range(1, count)]
    tensors += [Tensor(f"w{i}", size, "weight") for i in range(count)]
    operators = [
        Op(f"op{i}", [f"t{i}", f"w{i}"], [f"t{i + 1}"], macs=400_000 * (1 + i % 3))
        for i in range(count)
    ]
    target = load_target("edge-npu-spm").with_fast_memory(int(room * count * size) // 64 * 64)
    target = replace(target, slice_granularity_bytes=64)
    problem = problem_from_lists("chain", tensors, operators, target)
    program = replace(problem.program, steady_state=True)
    return with_setups(Problem(program, target, "latency"), setup_s)


def relaxed(problem: Problem) -> Relaxation:
    known = value_of(home_assignment(problem))
    found = relax(problem, segments_of(problem), known, FluidOptions(), Budget())
    assert found is not None
    return found


def kept(relaxation: Relaxation) -> list[float]:
    """What the LP keeps of each weight for the next inference."""
    values = relaxation.solution.values
    return [float(values[gap.kept]) for gap in relaxation.fluid.gaps if gap.wraps]


def test_what_is_kept_almost_whole_is_kept_whole() -> None:
    before = relaxed(chain(SETUP_S))
    after = dive(before, FluidOptions(), Budget())
    assert after is not None
    whole = sum(value > 1 - 1e-6 for value in kept(before))
    assert sum(value > 1 - 1e-6 for value in kept(after)) > whole
    assert after.bound == before.bound
    assert after.solution.objective >= before.solution.objective - 1e-9
    program = after.fluid.program
    assert (after.solution.values >= program.low - 1e-7).all()
    assert (after.solution.values <= program.high + 1e-7).all()
    sums = np.bincount(
        program.entry_rows,
        weights=program.entry_values * after.solution.values[program.entry_columns],
        minlength=len(program.row_low),
    )
    assert (sums >= program.row_low - 1e-6).all()
    assert (sums <= program.row_high + 1e-6).all()


def test_without_set_ups_or_time_nothing_is_fixed() -> None:
    assert dive(relaxed(chain(0.0)), FluidOptions(), Budget()) is None
    assert dive(relaxed(chain(SETUP_S)), FluidOptions(), Budget(0.0)) is None


def test_plans_of_fixed_fractions_are_legal_and_above_the_bound() -> None:
    for room in (0.6, 0.3, 0.9)[: share(3, 1)]:
        plan = solve_with("fluid", chain(SETUP_S, room))
        assert not find_violations(plan)
        assert plan.lower_bound is not None
        assert score(plan).latency_s >= plan.lower_bound * (1 - 1e-9)
