"""A plan in a form that no file format and no name changes, and its hash."""

import hashlib
import json
from dataclasses import asdict, dataclass

from tests.golden.cases import SOLVERS, GoldenModel
from ullage.compiler.common.errors import UllageError
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.result import Compiled
from ullage.compiler.ir.plan import Plan


@dataclass(frozen=True)
class Answer:
    """What a solver answered.

    Attributes:
        error: kind of the error, empty where there is a plan.
        value: the objective.
        bound: its certified lower bound.
        simulated_s: latency of the access-driven replay.
        digest: hash of the canonical form; equal on one machine where nothing has changed.
    """

    error: str = ""
    value: float = 0.0
    bound: float = 0.0
    simulated_s: float = 0.0
    digest: str = ""

    def to_json(self) -> dict[str, str | float]:
        """The fields as JSON."""
        return asdict(self)


def answer_of(model: GoldenModel, solver: str, seed: int) -> Answer:
    """Run a case."""
    try:
        compiled = compile_model(model.source(), model.options(solver, seed))
    except UllageError as error:
        return Answer(error=type(error).__name__)
    return Answer(
        value=compiled.value,
        bound=compiled.bound.value,
        simulated_s=compiled.simulation.latency_s,
        digest=digest_of(compiled),
    )


def digest_of(compiled: Compiled) -> str:
    """Hash of order, residencies, bytes per transfer and step, score and bound."""
    figures = (
        compiled.score.latency_s,
        compiled.score.energy_j,
        compiled.simulation.latency_s,
        compiled.bound.value,
    )
    form = {**_canonical(compiled.plan), "figures": [f"{figure:.9e}" for figure in figures]}
    return hashlib.sha256(json.dumps(form, sort_keys=True).encode()).hexdigest()[:16]


def _canonical(plan: Plan) -> dict[str, object]:
    tier = {t.name: index for index, t in enumerate(plan.target.tiers)}
    residencies = sorted(
        (r.buffer, r.start_byte, r.end_byte, tier[r.tier], r.offset, r.start, r.ready, r.end)
        for r in plan.residencies
    )
    transfers = sorted(
        (t.buffer, t.start_byte, t.end_byte, tier[t.source], tier[t.destination], t.moves)
        for t in plan.transfers
    )
    return {
        "order": [step.operator for step in plan.problem.steps],
        "residencies": residencies,
        "transfers": transfers,
    }


def key_of(model: GoldenModel, solver: str, seed: int) -> str:
    """Name of a case in `golden.json`."""
    return f"{model.name}/{model.target}/{solver}/{seed}"


def solvers() -> tuple[str, ...]:
    """Names of the solvers, in the order of the table."""
    return tuple(SOLVERS)
