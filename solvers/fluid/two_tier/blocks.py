"""Fluid programs too long for one solve: blocks of steps, one after the other.

Every variable belongs to the step of the access that it serves. A block's variables are optimised
while all others keep their values (block coordinate descent); what it shares with its neighbours,
space and bandwidth at the border, is taken as they left it. Blocks overlap, so that what is decided
at a border is decided again:

    steps          0        480       960       1440
    block 0        |=========|--|
    block 1               |--|=========|--|
    block 2                         |--|=========|--|     = multipliers are kept, - overlap

Each solution stays feasible for the whole program. Its multipliers, row by row those of the block
that the row's step is in the middle of, certify a bound by weak duality like any others: borders
make it lower, not wrong.

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

# Steps of a block whose multipliers are kept.
BLOCK_STEPS = 480
# Steps that a block solves beyond either of its ends.
OVERLAP_STEPS = 120
# Steps of the longest residency whose space is entered in the running sum of the load, which would
# otherwise tie distant blocks to one another.
LOAD_STEPS = 240
# Programs of fewer blocks have one front: the border in the middle costs a little.
FRONTS_BLOCKS = 8
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
        kept_rows: (rows,) whether the row's multiplier is kept.
        others: activity of the rows by all other variables.
        program: the linear program of these variables and rows.
    """

    columns: Ints
    rows: Ints
    kept_rows: NDArray[np.bool_]
    others: Floats
    program: FrozenProgram


def solve_in_blocks(
    program: FrozenProgram,
    steps_of: Ints,
    steps_of_rows: Ints,
    clock: Ints,
    load: Ints,
    solve: Solve,
    first: Floats,
) -> LpSolution | None:
    """A feasible solution of the whole program, with multipliers.

    Args:
        program: the program.
        steps_of: (n,) step that each variable serves.
        steps_of_rows: (m,) step that each row is about.
        clock: variables of the elapsed time of each step; none for other objectives.
        load: variables of the running sum of the load of each step.
        solve: solves one block.
        first: (n,) a solution but for the clock, which is put at its upper ends: while one block
            is solved the rest of the program is as it says, or as a block before left it.

    Returns:
        None when a block could not be solved (reason logged by `solve`).
    """
    state = _begin(program, clock, first)
    last = int(steps_of.max(initial=0)) + 1
    order = np.argsort(steps_of, kind="stable")
    sorted_steps = steps_of[order]

    def cut(begin: int) -> _Block:
        end = begin + BLOCK_STEPS
        low, high = np.searchsorted(sorted_steps, [begin - OVERLAP_STEPS, end + OVERLAP_STEPS])
        kept_rows = (steps_of_rows >= begin) & (steps_of_rows < end)
        margin = OVERLAP_STEPS + LOAD_STEPS
        near = load[max(0, begin - margin) : end + margin]
        return _cut(state, np.union1d(order[low:high], near), clock, kept_rows)

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
    """Scale multipliers so that the rows of a step do not pay more than its time costs.

    Rows of one step may come from different blocks. The bound would pay for any excess with the
    longest time that a step could take.
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


def _begin(program: FrozenProgram, clock: Ints, first: Floats) -> _BlockState:
    """The program with its first solution, the clock at its upper ends."""
    by_column = np.argsort(program.entry_columns, kind="stable")
    counts = np.bincount(program.entry_columns, minlength=len(program.cost))
    values = first.copy()
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


def _cut(state: _BlockState, columns: Ints, clock: Ints, kept_rows: NDArray[np.bool_]) -> _Block:
    """A block of some variables, and the time of the steps that they touch.

    Multipliers are kept of the rows `kept_rows`.
    """
    program = state.program
    rows = np.unique(program.entry_rows[_entries(state, columns)])
    touched = np.zeros(len(program.row_low), dtype=bool)
    touched[rows] = True
    # Time of the steps that are touched only at their rows: it may shrink and grow with them.
    reach = _entries(state, clock)
    near = program.entry_columns[reach][touched[program.entry_rows[reach]]]
    columns = np.union1d(columns, near)
    entries = _entries(state, columns)
    rows, local_rows = np.unique(program.entry_rows[entries], return_inverse=True)
    local_columns = np.searchsorted(columns, program.entry_columns[entries])
    weights = program.entry_values[entries]
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
    return _Block(columns, rows, kept_rows[rows], others, block)


def _put(state: _BlockState, block: _Block, solution: LpSolution) -> None:
    """Write a block's solution into the whole program's."""
    program, rows = block.program, block.rows
    state.values[block.columns] = solution.values
    state.duals[rows[block.kept_rows]] = solution.duals[block.kept_rows]
    state.activity[rows] = block.others + np.bincount(
        program.entry_rows,
        weights=program.entry_values * solution.values[program.entry_columns],
        minlength=len(rows),
    )


def _entries(state: _BlockState, columns: Ints) -> Ints:
    """Indices of the matrix entries of some variables, variable by variable."""
    first = state.column_start[columns]
    count = state.column_start[columns + 1] - first
    offsets = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    entries: Ints = state.by_column[np.repeat(first, count) + offsets]
    return entries
