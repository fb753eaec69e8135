"""What `ilp` and `cpsat` answer to COSMA's problem, held against brute force in any mode."""

import time
from dataclasses import dataclass

from tests.support.cosma_oracle import CosmaOracle, cosma_case
from tests.support.solving import plan_of
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import objective_value, score
from ullage.solvers.budget import Budget
from ullage.solvers.cosma import cpsat as cpsat_cosma
from ullage.solvers.cosma import ilp
from ullage.solvers.cosma.question import Answer
from ullage.solvers.cosma.tensors import program_of
from ullage.solvers.exact.options import CpsatOptions
from ullage.solvers.parameters import options_from

MODES = ("fixed", "fixed-moves", "free", "free-moves", "peak-fixed", "peak-free")
SOLVERS = ("ilp", "cpsat")


@dataclass(frozen=True)
class Told:
    """An answer and its plan."""

    answer: Answer
    plan: Plan

    @property
    def status(self) -> str:
        """Of the exact solver."""
        return self.answer.status

    @property
    def objective(self) -> float | None:
        """Of its solution."""
        return self.answer.objective

    @property
    def bound(self) -> float | None:
        """Of that objective."""
        return self.answer.bound


def ask(
    solver: str,
    problem: Problem,
    objective: str = "traffic",
    limit_s: float = 30.0,
    /,
    **how: str,
) -> Told:
    """The answer of a solver; its plan is legal."""
    budget = Budget(time.monotonic() + limit_s)
    asked = problem.minimising(objective)
    if solver == "ilp":
        found = ilp.answer(asked, options_from("ilp", ilp.IlpOptions, how, 0), budget)
    else:
        options = options_from("cpsat", CpsatOptions, how, 0)
        found = cpsat_cosma.answer(asked, options, budget, options.num_workers)
    plan = plan_of(solver, found.solution)
    assert find_violations(plan) == []
    return Told(found, plan)


def how_of(mode: str, space: str) -> dict[str, str]:
    """Parameters of a mode."""
    return {
        "order": "free" if "free" in mode else "fixed",
        "moves": "yes" if "moves" in mode else "no",
        "space": space,
    }


def agree(
    solver: str, seed: int, mode: str, operators: int, space: str, limit_s: float = 30.0
) -> str:
    """Compare with brute force in one mode; says what the case was."""
    free, moves = "free" in mode, "moves" in mode
    problem = cosma_case(seed, operators, shares=not free)
    oracle = CosmaOracle(problem, free_order=free)
    how = how_of(mode, space)
    objective = "peak" if mode.startswith("peak") else "traffic"
    done = ask(solver, problem, objective, limit_s, **how)
    if done.status not in {"optimal", "infeasible"}:
        return "unsolved"
    if objective == "peak":
        assert done.objective == done.bound == oracle.peak()
        if done.plan.lower_bound is not None:  # no weight is fetched twice
            assert objective_value(score(done.plan), "peak") >= done.plan.lower_bound
        return "peak"
    best, case = oracle.traffic(addresses=False), "loads decide"
    if done.objective != best and space != "load":
        best, case = oracle.traffic(addresses=True, moves=moves), "addresses decide"
    assert done.objective == best
    if best is None:
        return "no addresses"
    program = program_of(problem, weights=problem.target.weights_in_fastest)
    expected = done.objective + sum(program.uncounted_bytes())
    found = score(done.plan).noncompulsory_bytes
    if done.plan.notes == ():
        assert found == expected
    elif space != "load":  # else its solution may have no addresses
        # `greedy` is better: it may move tensors, and keep a weight that is read twice.
        assert found < expected
        assert not moves or program.uncounted_bytes()[1]
    if done.plan.lower_bound is not None:
        assert done.plan.lower_bound == done.plan.statistics["whole_bound"] <= found
    return "nothing leaves" if best == 0 else case
