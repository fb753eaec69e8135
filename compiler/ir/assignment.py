"""The assignment: a solver's decision, before it is labelled, verified and scored."""

from dataclasses import dataclass

from ullage.compiler.ir.plan import Plan, Residency, Transfer
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import Program
from ullage.compiler.ir.target import Target

# Offset of a residency that has no address yet.
UNPLACED = -1


@dataclass(frozen=True)
class Assignment:
    """Which bytes are in which tier when, and what DMA moves them.

    Attributes:
        problem: the problem that it answers. It is the one that the solver was given, except that
            the order may be another where the solver may choose it, and that the fastest tier may
            be larger where the objective is `peak`.
        residencies: with addresses, or with the offset `UNPLACED`: a packer then chooses one.
        transfers: what brings the data of the residencies, and what stores it.
    """

    problem: Problem
    residencies: tuple[Residency, ...]
    transfers: tuple[Transfer, ...]

    @property
    def program(self) -> Program:
        """The steps and buffers."""
        return self.problem.program

    @property
    def target(self) -> Target:
        """The chip."""
        return self.problem.target

    @property
    def objective(self) -> str:
        """What is minimised."""
        return self.problem.objective


# What the cost model and the verifier take: both have problem, residencies and transfers.
Assigned = Assignment | Plan


def assignment_of(plan: Plan) -> Assignment:
    """The assignment that a plan carries out."""
    return Assignment(plan.problem, plan.residencies, plan.transfers)
