"""Fluid programs too long for one solve: blocks of steps, one after the other.

Every variable belongs to the step of the access that it serves. A block's variables are optimised
while all others keep their values (block coordinate descent); what it shares with its neighbours,
space and bandwidth at the seam, is taken as they left it. Blocks overlap, so that no seam is final.
Each solution stays feasible for the whole program. Its multipliers, row by row those of the block
that the row's step is in the middle of, certify a bound by weak duality like any others: seams make
it lower, not wrong.

Two fronts, one from the beginning and one from the middle, advance at the same time, a thread each:
their blocks share no row (else one waits for the other), so the result does not depend on which is
done first.

Cost: the blocks' number times the cost of one, so linear in the steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Floats, Ints
from ullage.solvers.lp.program import FrozenProgram, LpSolution

BLOCK_STEPS = 480
OVERLAP_STEPS = 120  # that a block solves beyond either of its ends
LOAD_STEPS = 240  # the longest stay whose space is entered in the running sum of the load
FRONTS_BLOCKS = 8  # shorter programs have one front: the seam in the middle costs a little
# Solves some blocks at once; the number is the share of the work done so far.
Solve = Callable[[Sequence[FrozenProgram], float], list[LpSolution | None]]


@dataclass
class _BlockState:
    """The whole program with its present solution.

    Attributes:
        program: the program.
        by_column: entries sorted by variable.
        column_start: (n + 1,) where a variable's entries begin in `by_column`.
        values: (n,) present values.
        activity: (m,) A x of the present values.
        duals: (m,) multipliers.
    """

    program: FrozenProgram
    by_column: Ints
    column_start: Ints
    values: Floats
    activity: Floats
    duals: Floats


@dataclass(frozen=True)
class _Block:
    """Some variables, to be optimised while all others keep their values.

    Attributes:
        columns: the variables, in the whole program.
        rows: all rows that they are in.
        own: rows of which multipliers are kept.
        others: activity of the rows by all other variables.
        program: of these variables and rows.
    """

    columns: Ints
    rows: Ints
    own: NDArray[np.bool_]
    others: Floats
    program: FrozenProgram


def solve_in_blocks(
    program: FrozenProgram,
    steps_of: Ints,
    steps_of_rows: Ints,
    clock: Ints,
    load: Ints,
    solve: Solve,
) -> LpSolution | None:
    """A feasible solution of the whole program, with multipliers.

    Args:
        program: the program; with all variables at their lower ends, and the clock at its upper
            ends, rows of different steps must not contradict each other.
        steps_of: (n,) step that each variable serves.
        steps_of_rows: (m,) step that each row is about.
        clock: variables of the elapsed time of each step; none for other objectives.
        load: variables of the running sum of the load of each step.
        solve: solves one block.

    Returns:
        None when a block could not be solved (reason logged by `solve`).
    """
    state = _begin(program, clock)
    last = int(steps_of.max(initial=0)) + 1
    order = np.argsort(steps_of, kind="stable")
    sorted_steps = steps_of[order]

    def cut(begin: int) -> _Block:
        end = begin + BLOCK_STEPS
        low, high = np.searchsorted(sorted_steps, [begin - OVERLAP_STEPS, end + OVERLAP_STEPS])
        own = (steps_of_rows >= begin) & (steps_of_rows < end)
        margin = OVERLAP_STEPS + LOAD_STEPS
        near = load[max(0, begin - margin) : end + margin]
        return _cut(state, np.union1d(order[low:high], near), clock, own)

    begins = range(0, last, BLOCK_STEPS)
    done = 0
    for group in _fronts(begins):
        blocks = [cut(begin) for begin in group]
        if not _are_apart(blocks):
            blocks = blocks[:1]
        for number in range(0, len(group), len(blocks)):
            if number:
                blocks = [cut(group[number])]
            solutions = solve([block.program for block in blocks], done / len(begins))
            for block, solution in zip(blocks, solutions, strict=True):
                if solution is None:
                    return None
                _put(state, block, solution)
            done += len(blocks)
    duals = _within_the_clock(program, clock, state.duals)
    return LpSolution(state.values, duals, float(program.cost @ state.values))


def _within_the_clock(program: FrozenProgram, clock: Ints, duals: Floats) -> Floats:
    """Multipliers of which no step's rows, from different blocks, pay more than its time together.

    The bound would pay for the excess with the longest time that a step could take.
    """
    step_of = np.full(len(program.cost), -1, dtype=np.int64)
    step_of[clock] = np.arange(len(clock))
    timed = step_of[program.entry_columns] >= 0
    rows, steps = program.entry_rows[timed], step_of[program.entry_columns[timed]]
    paid = np.bincount(
        steps,
        weights=program.entry_values[timed] * np.maximum(duals[rows], 0.0),
        minlength=len(clock),
    )
    share = np.minimum(1.0, program.cost[clock] / np.maximum(paid, 1e-300))
    duals = duals.copy()
    duals[rows] *= share[steps]
    return duals


def _begin(program: FrozenProgram, clock: Ints) -> _BlockState:
    by_column = np.argsort(program.entry_columns, kind="stable")
    counts = np.bincount(program.entry_columns, minlength=len(program.cost))
    values = program.low.copy()
    values[clock] = program.high[clock]
    weights = program.entry_values * values[program.entry_columns]
    activity = np.bincount(program.entry_rows, weights=weights, minlength=len(program.row_low))
    return _BlockState(
        program,
        by_column,
        np.concatenate([[0], np.cumsum(counts)]),
        values,
        np.asarray(activity, dtype=np.float64),
        np.zeros(len(program.row_low)),
    )


def _fronts(begins: Sequence[int]) -> list[tuple[int, ...]]:
    """Blocks to be solved at the same time: from the beginning on, and from the middle on."""
    if len(begins) < FRONTS_BLOCKS:
        return [(begin,) for begin in begins]
    half = (len(begins) + 1) // 2
    groups: list[tuple[int, ...]] = list(zip(begins[:half], begins[half:], strict=False))
    return groups + [(begin,) for begin in begins[len(groups) : half]]


def _are_apart(blocks: Sequence[_Block]) -> bool:
    """Whether no row has variables of two blocks."""
    rows = np.concatenate([block.rows for block in blocks])
    return len(np.unique(rows)) == len(rows)


def _cut(state: _BlockState, columns: Ints, clock: Ints, own_rows: NDArray[np.bool_]) -> _Block:
    """A block of some variables, and the time of the steps that they touch.

    Multipliers are kept of the rows `own_rows`.
    """
    program = state.program
    rows = np.unique(program.entry_rows[_entries(state, columns)])
    touched = np.zeros(len(program.row_low), dtype=bool)
    touched[rows] = True
    # Time of the steps that are touched only at their rows: it may shrink and grow with them.
    reach = _entries(state, clock)
    near = program.entry_columns[reach][touched[program.entry_rows[reach]]]
    columns = np.union1d(columns, near)
    chosen = _entries(state, columns)
    rows, local_rows = np.unique(program.entry_rows[chosen], return_inverse=True)
    local_columns = np.searchsorted(columns, program.entry_columns[chosen])
    weights = program.entry_values[chosen]
    inside = np.bincount(
        local_rows, weights=weights * state.values[columns][local_columns], minlength=len(rows)
    )
    others = state.activity[rows] - inside
    by_row = np.argsort(local_rows, kind="stable")
    block = FrozenProgram(
        cost=program.cost[columns],
        low=program.low[columns],
        high=program.high[columns],
        row_low=program.row_low[rows] - others,
        row_high=program.row_high[rows] - others,
        entry_rows=local_rows[by_row],
        entry_columns=local_columns[by_row],
        entry_values=weights[by_row],
    )
    return _Block(columns, rows, own_rows[rows], others, block)


def _put(state: _BlockState, block: _Block, solution: LpSolution) -> None:
    """The block's solution becomes part of the whole."""
    program, rows = block.program, block.rows
    state.values[block.columns] = solution.values
    state.duals[rows[block.own]] = solution.duals[block.own]
    state.activity[rows] = block.others + np.bincount(
        program.entry_rows,
        weights=program.entry_values * solution.values[program.entry_columns],
        minlength=len(rows),
    )


def _entries(state: _BlockState, columns: Ints) -> Ints:
    """Indices of the entries of some variables."""
    first = state.column_start[columns]
    count = state.column_start[columns + 1] - first
    offsets = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    found: Ints = state.by_column[np.repeat(first, count) + offsets]
    return found
