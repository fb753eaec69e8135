"""Is a solution legal, and what is it worth? Verified and scored, whoever found it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ullage.compiler.common.errors import VerificationError
from ullage.compiler.common.units import counted
from ullage.compiler.exchange.problem_file import Record, StatedProblem
from ullage.compiler.exchange.solution_file import StatedSolution
from ullage.compiler.verify.verifier import Violation, find_violations
from ullage.compiler.verify.well_formed import NO_STEP
from ullage.hwmodels.bounds import BOUND_TOLERANCE, Bound, keeps_live_bytes, lower_bound
from ullage.hwmodels.cost import Score, exceeds_limit, objective_value, score

# Relative difference up to which a stated value is the true one: that of a printed double.
VALUE_TOLERANCE = 1e-9
# Violations that the message of an error spells out; its details have them all.
SHOWN = 20
# Violations after which nobody looks for more.
MOST_VIOLATIONS = 10_000


@dataclass(frozen=True)
class Checked:
    """A legal solution of a problem, and how it stands to what is known of it.

    Attributes:
        score: by the cost model.
        value: of the objective, in its unit.
        bound: the best lower bound that needs no solver, of this order; it was worked out here.
        record: what the problem's file says is known.
        stated_value: what the solution says its value is; None where it says nothing.
    """

    score: Score
    value: float
    bound: Bound
    record: Record
    stated_value: float | None

    @property
    def lower_bound(self) -> Bound:
        """The better of the bound of the record and the one worked out here."""
        stated = self.record.lower_bound
        if stated is None or stated <= self.bound.value or self.refutes_bound:
            return self.bound
        return Bound(stated, self.record.bound_source or "unnamed")

    @property
    def gap(self) -> float | None:
        """How far the value is above that bound, as a share; None where the bound is 0."""
        bound = self.lower_bound.value
        return None if bound <= 0 else self.value / bound - 1

    @property
    def improves(self) -> bool | None:
        """Whether it is better than the record's value; None where the record has none."""
        known = self.record.value
        return None if known is None else self.value < known * (1 - VALUE_TOLERANCE)

    @property
    def refutes_bound(self) -> bool:
        """Whether its value is below the bound of the record, which then is wrong."""
        stated = self.record.lower_bound
        return stated is not None and self.value < stated * (1 - BOUND_TOLERANCE)

    @property
    def disproves_record(self) -> bool:
        """Whether the record's value is below a bound, worked out here or its own: none has it."""
        known, stated = self.record.value, self.record.lower_bound
        if known is None:
            return False
        return known < max(self.bound.value, stated or 0.0) * (1 - BOUND_TOLERANCE)

    @property
    def value_is_as_stated(self) -> bool | None:
        """Whether the solution states its own value; None where it states none."""
        if self.stated_value is None:
            return None
        return abs(self.value - self.stated_value) <= VALUE_TOLERANCE * abs(self.value)


def check_solution(stated: StatedProblem, solution: StatedSolution) -> Checked:
    """Verify and score a solution.

    Args:
        stated: the problem, and what is known of it.
        solution: an answer to it.

    Raises:
        VerificationError: the solution is illegal; `details` lists the rules that it breaks.
    """
    answer = solution.assignment
    violations = find_violations(answer, MOST_VIOLATIONS)
    if violations:
        raise illegal(violations)
    cost = score(answer)
    problem = stated.problem
    if problem.objective == "peak" and not keeps_live_bytes(answer):
        message = (
            "operands that are no weights lie outside the fastest tier between their first and "
            "their last use, and the peak is that of plans without spills"
        )
        raise illegal([Violation("spill", message, NO_STEP, ())])
    limit = problem.latency_limit_s
    if limit is not None and exceeds_limit(cost.latency_s, limit):
        message = f"it takes {cost.latency_s:.9g} s, and the problem allows {limit:.9g} s"
        raise illegal([Violation("latency-limit", message, NO_STEP, ())])
    return Checked(
        score=cost,
        value=objective_value(cost, problem.objective),
        bound=lower_bound(problem),
        record=stated.record,
        stated_value=solution.value,
    )


def illegal(violations: Sequence[Violation]) -> VerificationError:
    """The verdict on a solution that breaks rules; at least one."""
    lines = [f"  [{violation.rule}] {violation.message}" for violation in violations[:SHOWN]]
    if len(violations) > SHOWN:
        lines.append(f"  ... and {len(violations) - SHOWN} more, which --json lists")
    head = f"the solution is illegal: {counted(len(violations), 'violation')}"
    return VerificationError(
        "\n".join([f"{head}:", *lines]),
        {"violations": [asdict(violation) for violation in violations]},
    )
