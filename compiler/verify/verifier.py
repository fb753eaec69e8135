"""The verifier: does a plan obey every rule of `docs/plan-semantics.md`?

It shares no code with any solver and trusts nothing that a plan says, so that a plan from
anywhere (a solver, a file, a third party) can be judged by it.
"""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain, islice

from ullage.compiler.common.errors import VerificationError
from ullage.compiler.ir.assignment import Assigned
from ullage.compiler.verify.data import find_data_violations
from ullage.compiler.verify.loop import find_wrap_violations
from ullage.compiler.verify.space import find_slice_violations, find_space_violations
from ullage.compiler.verify.well_formed import Violation, find_malformed, find_problem_faults

__all__ = ["Violation", "find_violations", "verify"]

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


def verify(plan: Assigned) -> None:
    """Check that a plan is legal.

    Raises:
        VerificationError: it is not. The message has the first broken rules, `details` up to 100.
    """
    violations = find_violations(plan)
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
        find_problem_faults(plan),
        find_space_violations(plan),
        find_slice_violations(plan),
        find_data_violations(plan),
        find_wrap_violations(plan),
    )
