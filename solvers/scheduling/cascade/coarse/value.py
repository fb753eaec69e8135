"""The value of a schedule on a coarse axis of time: a fluid LP that is solved in milliseconds.

Searching needs the value of thousands of schedules, not their plans. Steps of the LP are the blocks
of all groups (`profile`, `program`), in which time and bytes are added up; between blocks it
decides what is kept, fetched and stored (`decisions`).

Where operands must be in the fastest tier, what has no room beside the block before arrives between
the two, and what has none beside the block behind is stored between them, while nothing computes.
In a block of several steps, bytes take room from their first use to their last, and what one step
uses arrives beside the step before it, or is stored beside the step behind.

The value is an estimate, not a bound: space counts for whole blocks (dearer than it is), moves may
use all of a block's time (cheaper), and data moves in a few blocks before or behind a use only.
"""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.compiler.ir.target import Target
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.two_tier.builder import DIRECT_STEPS
from ullage.solvers.lp.named_basis import NamedBasis
from ullage.solvers.lp.program import INFINITY, LinearProgram, LpSolution
from ullage.solvers.lp.solve import GLOP, GLOP_DUAL, solve_lp
from ullage.solvers.scheduling.cascade.coarse.decisions import Decisions
from ullage.solvers.scheduling.cascade.coarse.program import CoarseProgram

# What room that is missing costs, in multiples of the transfers of as many bytes.
MISSING_COST = 4.0
# Price of a latency that is twice its limit, in capacities of the memory.
OVER_PRICE = 30.0


@dataclass(frozen=True)
class CoarseValue:
    """What the LP of a coarse program says.

    Attributes:
        value: its optimum in the objective's unit; traffic with what no plan avoids. Under a limit
            of the latency: bytes, with `OVER_PRICE` for what is above the limit.
        lost: (B,) seconds of each block beyond computing, with those of what moves before or behind
            it while nothing computes; 0 where time is not the objective.
        room: (B,) price of the whole memory in each block, in the objective's unit.
        basis: where the solver stopped, where the next program is to start there.
    """

    value: float
    lost: Floats
    room: Floats
    basis: NamedBasis | None = None


def coarse_value(
    program: CoarseProgram,
    target: Target,
    objective: str,
    budget: Budget,
    *,
    steady_state: bool,
    limit_s: float | None = None,
    weights_apart: bool = False,
    start: NamedBasis | None = None,
) -> CoarseValue | None:
    """Solve the LP of a coarse program; None where it has no solution, or time is over first.

    Args:
        program: the blocks.
        target: a chip of two tiers.
        objective: `latency` (s), `traffic` (bytes), `energy` (J), or with a limit `peak` (bytes).
        budget: the time.
        steady_state: inferences repeat for ever.
        limit_s: of the latency; the value is then the size of the smallest memory which whatever
            is no weight need not leave between its first and its last use.
        weights_apart: under a limit, weights come through another port than inputs.
        start: of programs that take seconds: where the solver stopped with one that is nearly the
            same; an empty basis where there is none yet.
    """
    decisions = Decisions(
        program,
        target,
        objective,
        limit_s,
        steady_state=steady_state,
        weights_apart=weights_apart,
    )
    return _solve(decisions, budget, start)


def _solve(decisions: Decisions, budget: Budget, start: NamedBasis | None) -> CoarseValue | None:
    """Solve the program of decisions; None where it has no solution, or time is over first."""
    program, columns, blocks = decisions.program, decisions.columns, decisions.blocks
    home_s = float(np.maximum(program.compute_s, decisions.busy_s).sum())
    unit = 1.0
    if decisions.is_timed:
        unit = (home_s or 1.0) / blocks
    elif decisions.constant > 0:
        unit = decisions.constant / blocks
    lp = LinearProgram()
    room = (decisions.capacity - program.workspace_bytes) / decisions.capacity
    if decisions.limit_s is not None:
        room = -(program.workspace_bytes + program.excess_bytes) / decisions.capacity
    variables = lp.add_variables(len(columns.cost), np.array(columns.low), np.array(columns.high))
    lp.add_cost(variables, np.array(columns.cost) / unit)
    capacity_rows = lp.add_rows(blocks, -INFINITY, room)
    inner = program.inner.space_bytes / decisions.capacity
    is_mandatory = any(segment.must_be_fastest for segment in program.segments)
    is_open = is_mandatory or decisions.limit_s is not None
    most = INFINITY if is_open else np.maximum(0.0, room + inner)
    load = lp.add_variables(blocks, 0.0, most)
    load_rows = lp.add_rows(blocks, 0.0, 0.0)
    lp.add_entries(capacity_rows, load, 1.0)
    if is_mandatory and decisions.limit_s is None:
        # Operands of which there is an estimate only may need a little more than there is.
        missing = lp.add_variables(blocks, 0.0, INFINITY)
        lp.add_cost(missing, MISSING_COST * decisions.exposed_all() / unit)
        lp.add_entries(capacity_rows, missing, -1.0)
    lp.add_entries(load_rows, load, -1.0)
    lp.add_entries(load_rows[1:], load[:-1], 1.0)
    taken, changes = columns.spans.entries(blocks, DIRECT_STEPS, 1 << 60)
    lp.add_entries(capacity_rows[taken[0]], taken[1], taken[2])
    lp.add_entries(load_rows[changes[0]], changes[1], changes[2])
    high = np.array(columns.row_high)
    rows = lp.add_rows(len(high), np.zeros(len(high)), high)
    lp.add_entries(
        rows[np.array(columns.rows, dtype=np.int64)],
        np.array(columns.columns, dtype=np.int64),
        np.array(columns.values),
    )
    elapsed = load[:0]
    if decisions.is_timed:
        elapsed = _elapsed(decisions, lp, unit)
    size = over = load[:0]
    if decisions.limit_s is not None:
        size, over = _limit(decisions, lp, capacity_rows, elapsed, decisions.limit_s / unit, unit)
    elif decisions.is_timed:
        lp.add_cost(elapsed, 1.0)
    left_s = budget.remaining_s()
    if left_s <= 0:
        return None
    solved = _solved(decisions, lp, left_s, start, is_mandatory=is_mandatory)
    if solved is None:
        return None
    solution, named = solved
    prices = np.maximum(-solution.duals[capacity_rows], 0.0) * unit
    lost = np.zeros(blocks)
    if decisions.is_timed:
        lost = np.maximum(0.0, solution.values[elapsed] * unit - program.compute_s)
        at, late, seconds = decisions.between
        moved = solution.values[np.array(late, dtype=np.int64)]
        np.add.at(lost, np.array(at, dtype=np.int64), moved * np.array(seconds))
    value = solution.objective * unit + decisions.constant + program.overhead_s * decisions.is_timed
    if decisions.limit_s is not None:
        value = float(solution.values[size].sum())
        value += OVER_PRICE * float(solution.values[over].sum()) * unit / decisions.limit_s
        value *= decisions.capacity
    return CoarseValue(float(value), lost, prices, named)


def _elapsed(decisions: Decisions, lp: LinearProgram, unit: float) -> Ints:
    """The times of all blocks, in units: at least those of computing and of ports."""
    program, blocks = decisions.program, decisions.blocks
    compute = program.compute_s / unit
    inner_s = program.inner.read_bytes.sum() * decisions.rates.read_s
    inner_s += program.inner.written_bytes.sum() * decisions.rates.write_s
    longest = 2.0 * blocks + float(inner_s) / unit  # all of it at home, too
    if decisions.exposed:
        longest = longest + compute + decisions.unit_s / unit + decisions.exposed * inner_s / unit
    elapsed = lp.add_variables(blocks, compute, np.maximum(compute, longest))
    port = lp.add_rows(blocks, decisions.busy_s / unit, INFINITY)
    lp.add_entries(port, elapsed, 1.0)
    _enter(lp, port, decisions.port, unit)
    if decisions.other_port[0]:
        other = lp.add_rows(blocks, 0.0, INFINITY)
        lp.add_entries(other, elapsed, 1.0)
        _enter(lp, other, decisions.other_port, unit)
    if decisions.exposed:
        busy = lp.add_rows(blocks, compute + decisions.unit_s / unit, INFINITY)
        lp.add_entries(busy, elapsed, 1.0)
        _enter(lp, busy, decisions.unit, unit)
    return elapsed


def _solved(
    decisions: Decisions,
    lp: LinearProgram,
    left_s: float,
    start: NamedBasis | None,
    *,
    is_mandatory: bool,
) -> tuple[LpSolution, NamedBasis | None] | None:
    """The optimum within the seconds left, and where the solver stopped if there is a start.

    Measured on DenseNet-121: from nothing the dual method takes half as long as the primal one,
    which takes a twentieth from the basis of nearly the same program.
    """
    is_long = start is not None
    names, row_names = _names(decisions, lp) if is_long else ([], [])
    basis = None if start is None else start.on(names, row_names)
    frozen, until = lp.frozen(), time.monotonic() + left_s
    is_dual = is_long and basis is None and not is_mandatory
    solution = None
    # Either method may end imprecisely; then the other one is asked.
    for solver in (GLOP_DUAL, GLOP) if is_dual else (GLOP, GLOP_DUAL):
        left_s = until - time.monotonic()
        if solution is None and left_s > 0:
            solution = solve_lp(
                frozen,
                solver=solver,
                time_limit_s=None if math.isinf(left_s) else left_s,
                start=basis,
                with_basis=is_long,
            )
    if solution is None:
        return None
    ended = solution.basis
    return solution, None if ended is None else NamedBasis.of(ended, names, row_names)


def _names(decisions: Decisions, lp: LinearProgram) -> tuple[list[int], list[int]]:
    """Names of all variables and rows: those of what blocks have are of block and number."""
    block_names, columns, each = decisions.program.names, decisions.columns, decisions.blocks

    def rest(first: int, last: int) -> Iterable[int]:
        return (hash((k // each, block_names[k % each])) for k in range(first, last))

    count = len(columns.names)
    names = [*columns.names, *rest(0, lp.variables - count)]
    first, count = 2 * each, len(columns.row_names)
    rows = [*rest(0, first), *columns.row_names, *rest(first, lp.rows - count)]
    return names, rows


def _enter(
    lp: LinearProgram,
    rows: Ints,
    port: tuple[list[int], list[int], list[float]],
    unit: float,
) -> None:
    """Enter what variables spend of a port's time."""
    at, spenders, seconds = port
    if at:
        lp.add_entries(rows[np.array(at)], np.array(spenders), -np.array(seconds) / unit)


def _limit(
    decisions: Decisions,
    lp: LinearProgram,
    capacity_rows: Ints,
    elapsed: Ints,
    limit: float,
    unit: float,
) -> tuple[Ints, Ints]:
    """Minimise the size of the memory, under a limit of the latency.

    Args:
        decisions: what it decides.
        lp: the program.
        capacity_rows: (B,) rows: what lies in memory in each block, in capacities.
        elapsed: (B,) variables: time of each block, in units.
        limit: of the latency, in units.
        unit: seconds that count as 1.

    Returns:
        The variable of the size, in capacities, and that of what is above the limit.
    """
    weight = float(decisions.blocks)  # against the small costs of bytes that are moved
    size, over = lp.add_variables(1, 0.0, INFINITY), lp.add_variables(1, 0.0, INFINITY)
    lp.add_cost(size, weight)
    lp.add_cost(over, weight * OVER_PRICE / limit)
    lp.add_entries(capacity_rows, np.repeat(size, decisions.blocks), -1.0)
    row = lp.add_rows(1, -INFINITY, limit - decisions.program.overhead_s / unit)
    lp.add_entries(np.repeat(row, decisions.blocks), elapsed, 1.0)
    lp.add_entries(row, over, -1.0)
    return size, over
