"""The search for residencies of whole tensors in CP-SAT; cuts are added between runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ullage.solvers.exact.model import ResidencyModel
from ullage.solvers.exact.residencies import SpanResidency, residencies_of_solution
from ullage.solvers.lp.cp_sat import run
from ullage.solvers.state.segments import Segment

# Parameters of CP-SAT: the model has many similar rows, and more rounds of presolve cost more time
# than they save.
PARAMETERS = {"max_presolve_iterations": 1, "symmetry_level": 0, "cp_model_probing_level": 0}


@dataclass(frozen=True)
class CpSatOutcome:
    """The result of a run of CP-SAT.

    Attributes:
        spans: the use spans of its best solution with their residencies, None without one.
        objective: value of that solution, in the model's units.
        bound: lower bound of the model, in its units; None where it knows none.
        optimal: the solution is proven best.
        infeasible: there is no solution.
        interrupted: the user interrupted.
    """

    spans: list[SpanResidency] | None
    objective: float
    bound: float | None
    optimal: bool
    infeasible: bool
    interrupted: bool


def search(
    model: ResidencyModel,
    *,
    limit_s: float,
    workers: int,
    relative_gap: float,
    seed: int,
    report: Callable[[float, float], None],
) -> CpSatOutcome:
    """Solve the model; ends at the limit, at Ctrl-C, or when the gap is closed.

    Args:
        model: the model.
        limit_s: wall-clock seconds.
        workers: threads of CP-SAT.
        relative_gap: when to stop.
        seed: of the search.
        report: called with objective and bound, in the model's units, now and then.
    """
    ended = run(
        model.model,
        limit_s=limit_s,
        workers=workers,
        relative_gap=relative_gap,
        seed=seed,
        report=report,
        parameters=PARAMETERS,
    )
    solver, has_solution = ended.solver, ended.has_solution
    return CpSatOutcome(
        spans=residencies_of_solution(model, solver.value) if has_solution else None,
        objective=solver.objective_value if has_solution else 0.0,
        bound=solver.best_objective_bound if has_solution else None,
        optimal=ended.optimal,
        infeasible=ended.infeasible,
        interrupted=ended.interrupted,
    )


def forbid(model: ResidencyModel, spans: Sequence[SpanResidency]) -> None:
    """Demand that at least one of these residencies is dropped, or is shorter at either end."""
    literals: list[Any] = []
    for first, last, residency in spans:
        variables = model.variables.get(residency.segment)
        if variables is None:
            continue  # at home in the fastest tier: it has no choice
        segment: Segment = model.segments[residency.segment]
        literals += [variables.kept[j] for j in range(first + 1, last + 1)]
        literals.append(variables.inside[first])
        if residency.fill:
            literals.append(variables.fills[first].taken[residency.start])
        if residency.end > segment.accesses[last].step + 1:
            literals.append(variables.lingers[last][residency.end - 1])
    model.model.add_bool_or([literal.negated() for literal in literals])
