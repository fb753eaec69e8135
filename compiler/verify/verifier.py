"""The verifier: does a plan obey every rule of `docs/plan-semantics.md`?

It shares no code with any solver and trusts nothing that a plan says, so that a plan from
anywhere (a solver, a file, a third party) can be judged by it.
"""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain, islice

from ullage.compiler.common.errors import MalformedPlanError, UllageError, VerificationError
from ullage.compiler.ir.assignment import Assigned
from ullage.compiler.ir.plan import Plan
from ullage.compiler.verify.data import find_data_violations
from ullage.compiler.verify.loop import find_wrap_violations
from ullage.compiler.verify.parts import find_part_violations
from ullage.compiler.verify.problem_rules import find_problem_faults, find_unwritten_reads
from ullage.compiler.verify.space import find_slice_violations, find_space_violations
from ullage.compiler.verify.well_formed import NO_STEP, Violation, find_malformed
from ullage.hwmodels.bounds import BOUND_TOLERANCE
from ullage.hwmodels.cost import value_of

__all__ = [
    "Violation",
    "check_well_formed",
    "find_file_violations",
    "find_violations",
    "malformed_file",
    "verify",
]

# Violations that the message of an error spells out.
SHOWN = 5


def find_violations(plan: Assigned, limit: int = 100) -> list[Violation]:
    """The broken rules of a plan, in order of steps; empty when the plan is legal.

    Args:
        plan: any plan, however garbled; one with faults of form is not examined beyond those.
        limit: number of violations after which to stop looking; at least 1.
    """
    malformed = list(islice(find_malformed(plan), limit))
    if malformed:
        return malformed
    return sorted(islice(_all_violations(plan), limit), key=lambda violation: violation.step)


def find_file_violations(plan: Plan, limit: int = 100) -> list[Violation]:
    """As `find_violations`, for a plan from a file: its bounds may not be above its own value."""
    found = find_violations(plan, limit)
    return found or list(_claim_violations(plan))


def _claim_violations(plan: Plan) -> Iterator[Violation]:
    """Yield bounds of a legal plan that the plan itself refutes."""
    value = value_of(plan)
    for which, bound in (("lower", plan.lower_bound), ("claimed", plan.claimed_bound)):
        if bound is not None and bound > value + BOUND_TOLERANCE * abs(value):
            message = (
                f"its {which} bound is {bound:.9g}, and its own {plan.objective} is {value:.9g}: "
                "what proved the bound is wrong"
            )
            yield Violation("bound", message, NO_STEP, ())


def malformed_file(error: MalformedPlanError) -> UllageError:
    """The verdict on a plan file that cannot be read: it is illegal, by the rule `malformed`.

    What a file says about the import of its model is no part of the plan: the error stays one of
    usage.
    """
    if str(error.details["field"]).partition(".")[0] == "model":
        return error
    violation = Violation("malformed", error.message, NO_STEP, ())
    return VerificationError(error.message, {"violations": [asdict(violation)]})


def verify(plan: Assigned) -> None:
    """Check that a plan is legal.

    Raises:
        VerificationError: it is not. The message has the first broken rules, `details` up to 100.
    """
    _raise_any(plan, find_violations(plan))


def check_well_formed(plan: Assigned) -> None:
    """Check that a plan can be examined at all; it may be illegal nevertheless.

    Raises:
        VerificationError: it cannot: figures, names or indices in it make no sense.
    """
    _raise_any(plan, list(islice(find_malformed(plan), 100)))


def _raise_any(plan: Assigned, violations: list[Violation]) -> None:
    if not violations:
        return
    lines = [f"  [{violation.rule}] {violation.message}" for violation in violations[:SHOWN]]
    if len(violations) > SHOWN:
        lines.append(f"  ... and {len(violations) - SHOWN} more")
    solver = getattr(plan, "solver", "unknown")
    message = (
        f"the plan of solver {solver} breaks {len(violations)} rules where 0 are allowed:\n"
        + "\n".join(lines)
        + "\nNothing may run it; the rules are in docs/plan-semantics.md."
    )
    details = {"violations": [asdict(violation) for violation in violations]}
    raise VerificationError(message, details)


def _all_violations(plan: Assigned) -> Iterator[Violation]:
    return chain(
        find_problem_faults(plan.problem),
        find_part_violations(plan),
        find_space_violations(plan),
        find_slice_violations(plan),
        find_data_violations(plan),
        find_unwritten_reads(plan.problem),
        find_wrap_violations(plan),
    )
