"""Third parties' solvers that break their contract, each in one way, and some that keep it."""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

from tests.support.changes import with_program
from ullage.compiler.ir.assignment import UNPLACED
from ullage.compiler.ir.plan import Residency
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP
from ullage.hwmodels.bounds import Bound
from ullage.hwmodels.cost import value_of
from ullage.solvers.budget import Budget
from ullage.solvers.heuristics import greedy
from ullage.solvers.interface import Solution


def honest(problem: Problem, _options: object, budget: Budget) -> Solution:
    """`greedy`, as anybody may use it."""
    return greedy.solve(problem, greedy.GreedyOptions(), budget)


# Answers to another question


def larger_memory(problem: Problem, options: object, budget: Budget) -> Solution:
    """Plans for twice the fast memory."""
    target = problem.target
    return honest(
        problem.on(target.with_fast_memory(2 * target.fastest.capacity_bytes)), options, budget
    )


def faster_tiers(problem: Problem, options: object, budget: Budget) -> Solution:
    """Plans for memories of ten times the speed."""
    tiers = tuple(
        replace(
            tier,
            read_bytes_per_s=10 * tier.read_bytes_per_s,
            write_bytes_per_s=10 * tier.write_bytes_per_s,
        )
        for tier in problem.target.tiers
    )
    return honest(problem.on(replace(problem.target, tiers=tiers)), options, budget)


def dropped_outputs(problem: Problem, options: object, budget: Budget) -> Solution:
    """Keeps no output."""
    buffers = tuple(replace(buffer, outputs=()) for buffer in problem.buffers)
    return honest(with_program(problem, buffers=buffers), options, budget)


def other_objective(problem: Problem, options: object, budget: Budget) -> Solution:
    """Minimises what it likes."""
    other = "traffic" if problem.objective == "latency" else "latency"
    return honest(problem.minimising(other), options, budget)


def mutated_target(problem: Problem, options: object, budget: Budget) -> Solution:
    """Changes the chip that it was given."""
    object.__setattr__(problem.target.tiers[0], "capacity_bytes", 1 << 40)
    return honest(problem, options, budget)


def huge_bound(problem: Problem, options: object, budget: Budget) -> Solution:
    """Claims a bound above its own plan."""
    return replace(honest(problem, options, budget), bound=Bound(1e9, "faith"))


ANOTHER_QUESTION = {
    "larger-memory": (larger_memory, "it planned for other tiers: capacity_bytes of 'sram'"),
    "faster-tiers": (faster_tiers, "it planned for other tiers: read_bytes_per_s of 'sram'"),
    "dropped-outputs": (dropped_outputs, "it changed the buffers: outputs of"),
    "other-objective": (other_objective, "it minimised 'traffic', asked was 'latency'"),
    "mutated-target": (mutated_target, "it planned for other tiers: capacity_bytes of 'sram'"),
    "huge-bound": (huge_bound, "it claims the lower bound 1e+09"),
}


# No answer


def raises(_problem: Problem, _options: object, _budget: Budget) -> Solution:
    """Has a defect."""
    raise ZeroDivisionError("by nothing")


def returns_none(_problem: Problem, _options: object, _budget: Budget) -> Solution:
    """Forgets to return."""
    return cast("Solution", None)


def returns_dict(_problem: Problem, _options: object, _budget: Budget) -> Solution:
    """Returns what it used to."""
    return cast("Solution", {"residencies": []})


def recurses(problem: Problem, options: object, budget: Budget) -> Solution:
    """Never ends by itself."""
    return recurses(problem, options, budget)


def exits(_problem: Problem, _options: object, _budget: Budget) -> Solution:
    """Leaves, with success."""
    sys.exit(0)


def vanishes(_problem: Problem, _options: object, _budget: Budget) -> Solution:
    """Leaves without a word."""
    os._exit(0)


def hangs(_problem: Problem, _options: object, _budget: Budget) -> Solution:
    """Does not look at the clock."""
    time.sleep(600)
    raise AssertionError


class Unpicklable:
    """What cannot leave its process."""

    def __reduce__(self) -> Any:
        raise TypeError("not to be handed over")


def unpicklable(_problem: Problem, _options: object, _budget: Budget) -> Solution:
    """Returns what no pipe carries."""
    return cast("Solution", Unpicklable())


def illegal(problem: Problem, options: object, budget: Budget) -> Solution:
    """Forgets where something is."""
    found = honest(problem, options, budget)
    held = found.assignment.residencies[1:]
    return replace(found, assignment=replace(found.assignment, residencies=held))


def garbled(problem: Problem, options: object, budget: Budget) -> Solution:
    """Residencies of nonsense."""
    found = honest(problem, options, budget)
    held = (Residency(cast("int", "x"), 0, 1, "sram", 0, 0, 0, 1),)
    return replace(found, assignment=replace(found.assignment, residencies=held))


def unordered(problem: Problem, options: object, budget: Budget) -> Solution:
    """A list instead of a tuple."""
    found = honest(problem, options, budget)
    rows = cast("tuple[Residency, ...]", list(found.assignment.residencies))
    return replace(found, assignment=replace(found.assignment, residencies=rows))


NO_ANSWER = {
    "raises": (raises, "it raised ZeroDivisionError: by nothing"),
    "returns-none": (returns_none, "it returned a NoneType, not a Solution"),
    "returns-dict": (returns_dict, "it returned a dict, not a Solution"),
    "recurses": (recurses, "it recursed too deeply (RecursionError)"),
    "exits": (exits, "it tried to exit the program (code 0)"),
    "vanishes": (vanishes, "its process ended without an answer"),
    "unpicklable": (unpicklable, "it returned a Unpicklable that cannot be handed over"),
    "illegal": (illegal, "its plan is illegal"),
    "garbled": (garbled, "buffer of a Residency: "),
    "unordered": (unordered, "its assignment does not hold a tuple of Residencys"),
}


# Good ones, of a kind


def prints(problem: Problem, options: object, budget: Budget) -> Solution:
    """Says what it does where the document belongs."""
    print("solving", flush=True)  # noqa: T201 - that is its vice
    os.write(1, b"still solving\n")
    return honest(problem, options, budget)


@dataclass(frozen=True)
class Share:
    """Parameters of `claims`."""

    share: float = 1.0


def claims(problem: Problem, options: Share, budget: Budget) -> Solution:
    """Claims a share of its plan's value as a bound."""
    found = honest(problem, options, budget)
    return replace(found, bound=Bound(options.share * value_of(found.assignment), "a hunch"))


def unplaced(problem: Problem, options: object, budget: Budget) -> Solution:
    """Leaves the addresses to others."""
    found = honest(problem, options, budget)
    held = tuple(replace(item, offset=UNPLACED) for item in found.assignment.residencies)
    return replace(found, assignment=replace(found.assignment, residencies=held))


def reorders(problem: Problem, options: object, budget: Budget) -> Solution:
    """Runs two neighbours that do not depend on each other the other way round."""
    for steps in _swapped(problem):
        return honest(with_program(problem, steps=steps), options, budget)
    raise AssertionError("nothing to swap")


def breaks_order(problem: Problem, options: object, budget: Budget) -> Solution:
    """Runs the operators backwards."""
    own = [step for step in problem.steps if step.kind != DMA_STEP]
    backwards = iter(own[::-1])
    steps = tuple(s if s.kind == DMA_STEP else next(backwards) for s in problem.steps)
    found = honest(problem, options, budget)
    return replace(
        found,
        assignment=replace(found.assignment, problem=with_program(problem, steps=steps)),
    )


def _swapped(problem: Problem) -> Iterator[tuple[Any, ...]]:
    steps = list(problem.steps)
    for t in range(1, len(steps)):
        one, other = steps[t - 1], steps[t]
        if DMA_STEP in (one.kind, other.kind):
            continue
        written = {use.buffer for step in (one, other) for use in step.uses if use.write}
        touched = [{use.buffer for use in step.uses} for step in (one, other)]
        if not touched[0] & touched[1] & written:
            yield (*steps[: t - 1], other, one, *steps[t + 1 :])
