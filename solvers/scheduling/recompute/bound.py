"""What no schedule of an order falls below, with any repetitions, and what its relaxation repeats.

The linear program (`relaxation`) holds for any marks. More of them are not always better: over more
periods, shares of an operand that are the same may count as different ones. So it is solved for few
marks and for more, and the largest bound counts. Marks stand so that about as much time passes
between any two, or at the operators that work long on much memory. What is proven follows from the
multipliers alone (`safe_bound`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.hwmodels.bounds import Bound
from ullage.solvers.budget import Budget
from ullage.solvers.lp.program import LpSolution, safe_bound
from ullage.solvers.lp.solve import solve_lp
from ullage.solvers.scheduling.recompute.copies import GapOf, RecomputeFacts
from ullage.solvers.scheduling.recompute.known import ends
from ullage.solvers.scheduling.recompute.order_items import OrderItems
from ullage.solvers.scheduling.recompute.relaxation import RecomputeProgram, recompute_program

# What proves the bound.
SOURCE = "recompute-lp"
# Numbers of marks: evenly in time, and at operators that work long on much memory.
MARKS, TIGHT_MARKS = (4, 8, 16, 24, 32), (24, 40)
# Estimated variables of a program from which on it takes seconds: no more marks than that.
MOST_VARIABLES = 12_000
# Share of moving all that an operator accesses that counts as its time, to place marks.
MOVED_SHARE = 0.3
# Shares of an execution from which on a repetition in the relaxation counts as one.
THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class Solved:
    """A program with its optimum.

    Attributes:
        program: the program.
        solution: its optimum.
        bound_s: what it proves, in seconds.
    """

    program: RecomputeProgram
    solution: LpSolution
    bound_s: float


def solved_relaxations(items: OrderItems, reference: float, budget: Budget) -> list[Solved]:
    """The programs of an order for few marks and for more, solved while time is left.

    Args:
        items: the order.
        reference: a latency in seconds, more than 0 (`bound_of`).
        budget: the time.
    """
    solved: list[Solved] = []
    tried: set[tuple[int, ...]] = set()
    ways = ((marks_of, count) for count in MARKS)
    for way, count in (*ways, *((tight_marks, count) for count in TIGHT_MARKS)):
        marks = way(items, count)
        if budget.is_over() or not marks:
            break
        if tuple(marks) in tried or (solved and _is_long(items, len(marks))):
            continue
        tried.add(tuple(marks))
        program = recompute_program(items, marks, reference)
        left_s = budget.remaining_s()
        solution = solve_lp(program.program, time_limit_s=None if math.isinf(left_s) else left_s)
        if solution is None:
            break
        value = safe_bound(program.program, solution.duals) * program.unit_s
        solved.append(Solved(program, solution, value))
    return solved


def bound_of(solved: Sequence[Solved]) -> Bound | None:
    """The largest latency that programs prove; None of no programs.

    It holds for plans better than the reference of the programs; where there is none, the reference
    itself is a bound.
    """
    if not solved:
        return None
    return Bound(max(min(one.program.unit_s, one.bound_s) for one in solved), SOURCE)


def streaming_s(items: OrderItems) -> float:
    """Seconds of operators one after the other, each moving all that it accesses, more than 0.

    A reference for the programs; that a plan takes so long need not be.
    """
    moved = sum(
        items.read_s_per_byte * sum(items.items[v].size_bytes for v in read)
        + items.write_s_per_byte * sum(items.items[v].size_bytes for v in written)
        for read, written in zip(items.reads, items.writes, strict=True)
    )
    return max(1e-12, float(items.seconds.sum()) + moved)


def marks_of(items: OrderItems, count: int) -> list[int]:
    """Places of marked operators, ascending, about as much time between any two."""
    moved = np.array(
        [
            sum(items.items[v].size_bytes for v in (*read, *written))
            for read, written in zip(items.reads, items.writes, strict=True)
        ]
    )
    weights = np.maximum(items.seconds, MOVED_SHARE * items.read_s_per_byte * moved)
    if not len(weights):
        return []
    passed: Floats = np.cumsum(weights + 1e-12 * (1.0 + weights.sum()))
    wanted = (np.arange(count) + 0.5) / count * passed[-1]
    places = np.minimum(np.searchsorted(passed, wanted), len(weights) - 1)
    return sorted({int(place) for place in places})


def tight_marks(items: OrderItems, count: int) -> list[int]:
    """Places of the operators with the largest products of time and memory, ascending."""
    held = [
        scratch + sum(items.items[v].held_bytes for v in {*read, *written})
        for scratch, read, written in zip(
            items.scratch_bytes, items.reads, items.writes, strict=True
        )
    ]
    weights = np.array(held) * items.seconds
    first = np.argsort(-weights, kind="stable")[:count]
    return sorted(place for place in first.tolist() if weights[place] > 0)


def _is_long(items: OrderItems, marks: int) -> bool:
    """Whether a program takes too long; an item is alive in half of the periods or so."""
    return 2 * marks * int(items.are_large().sum()) > MOST_VARIABLES


def relaxed_sets(
    facts: RecomputeFacts, items: OrderItems, solved: Sequence[Solved]
) -> list[frozenset[GapOf]]:
    """The gaps at whose ends a relaxation repeats the operator of the result, by thresholds.

    Args:
        facts: the graph in its order.
        items: the same order.
        solved: its relaxations.
    """
    place_of = {operator: place for place, operator in enumerate(items.operators)}
    last = ends(facts)
    sets: list[frozenset[GapOf]] = []
    for one in solved:
        values, program = one.solution.values, one.program
        shares: dict[GapOf, float] = {}
        for gap in facts.gaps:
            result = facts.results[gap.result]
            if gap.number + 1 == len(result.places):
                continue
            end = place_of[facts.order[result.places[gap.number + 1]]]
            key = place_of[result.producer], int(program.period_of[end])
            if key in program.again:
                shares[gap] = float(values[program.again[key]])
        for threshold in THRESHOLDS:
            dropped = frozenset(gap for gap, share in shares.items() if share >= threshold)
            sets += [
                dropped | last,
                dropped | {GapOf(g.result, g.number, stays=True) for g in last},
            ]
    return sets
