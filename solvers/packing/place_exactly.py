"""Addresses for residencies, or the proof that some of them cannot be in memory together.

The workspace of a step lies at the top of the memory: a residency must end below the largest
workspace of its steps. Quick packing first; then a complete search with 2-D no-overlap in CP-SAT.
When it proves that there is no packing, fewer and fewer of the residencies are tried, so that the
cut that goes back to the master problem (logic-based Benders, Hooker and Ottosson 2003) names few.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.solvers.packing.pack import pack

# Seconds at most of one proof while a conflict is made smaller.
SMALLER_TRY_S = 0.3
# Number of rectangles up to which the complete search is tried.
MAX_SEARCHED = 2_000


@dataclass(frozen=True)
class Block:
    """A rectangle: steps [start, end), bytes, and the highest address it may reach."""

    start: int
    end: int
    size_bytes: int
    top_bytes: int


@dataclass(frozen=True)
class Placement:
    """Offsets in bytes, or indices of blocks that provably do not fit together, or neither."""

    offsets: tuple[int, ...] | None = None
    conflict: tuple[int, ...] | None = None


def blocks_of(problem: Problem, spans: Sequence[tuple[int, int, int]]) -> list[Block]:
    """Blocks for (start, end, bytes), with the room that workspaces leave."""
    target = problem.target
    workspace = [step.workspace_bytes for step in problem.steps]
    blocks: list[Block] = []
    for start, end, size in spans:
        top = target.fastest.capacity_bytes - max(workspace[start:end], default=0)
        blocks.append(Block(start, end, size, top))
    return blocks


def place(
    blocks: Sequence[Block], target: Target, seed: int, limit_s: float, *, shrinks: bool = True
) -> Placement:
    """Offsets for all blocks, or a conflict (made small), or nothing when time was too short."""
    until = time.monotonic() + limit_s
    quick = place_quickly(blocks, target, seed)
    if quick.offsets is not None or len(blocks) > MAX_SEARCHED:
        return quick
    unit = target.fastest.alignment_bytes
    everything = list(range(len(blocks)))
    placement = _search(blocks, everything, unit, seed, until - time.monotonic())
    if placement.conflict is None or not shrinks:
        return placement
    return Placement(conflict=_smaller(blocks, everything, unit, seed, until))


def place_quickly(blocks: Sequence[Block], target: Target, seed: int) -> Placement:
    """Offsets for all blocks by heuristics, or nothing."""
    if not blocks:
        return Placement(())
    lowest = min(block.top_bytes for block in blocks)
    for capacity in dict.fromkeys((lowest, target.fastest.capacity_bytes)):
        packing = pack(
            np.array([b.start for b in blocks], dtype=np.int64),
            np.array([b.end for b in blocks], dtype=np.int64),
            np.array([b.size_bytes for b in blocks], dtype=np.int64),
            alignment_bytes=target.fastest.alignment_bytes,
            capacity_bytes=max(0, capacity),
            seed=seed,
        )
        offsets = [int(offset) for offset in packing.offsets]
        if all(o + b.size_bytes <= b.top_bytes for o, b in zip(offsets, blocks, strict=True)):
            return Placement(tuple(offsets))
    return Placement()


def _smaller(
    blocks: Sequence[Block], conflict: list[int], unit: int, seed: int, until: float
) -> tuple[int, ...]:
    """Leave blocks out, halves first, as long as the rest provably does not fit."""
    chunk = max(1, len(conflict) // 2)
    while time.monotonic() < until:
        position, shrunk = 0, False
        while position < len(conflict) and time.monotonic() < until:
            rest = conflict[:position] + conflict[position + chunk :]
            limit = min(SMALLER_TRY_S, until - time.monotonic())
            if rest and _search(blocks, rest, unit, seed, limit).conflict is not None:
                conflict, shrunk = rest, True
            else:
                position += chunk
        if chunk == 1 and not shrunk:
            break
        chunk = max(1, chunk // 2)
    return tuple(conflict)


def _search(
    blocks: Sequence[Block], numbers: Sequence[int], unit: int, seed: int, limit_s: float
) -> Placement:
    """Complete search for offsets of some blocks."""
    from ortools.sat.python import cp_model

    if limit_s <= 0:
        return Placement()
    model = cp_model.CpModel()
    xs, ys, offsets = [], [], []
    for number in numbers:
        block = blocks[number]
        size = -(-block.size_bytes // unit)
        highest = (block.top_bytes - block.size_bytes) // unit
        if highest < 0:
            return Placement(conflict=(number,))
        offset = model.new_int_var(0, highest, "")
        offsets.append(offset)
        ys.append(model.new_fixed_size_interval_var(offset, size, ""))
        xs.append(model.new_fixed_size_interval_var(block.start, block.end - block.start, ""))
    model.add_no_overlap_2d(xs, ys)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = limit_s
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    status = solver.solve(model)
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Placement(tuple(unit * solver.value(offset) for offset in offsets))
    if status == cp_model.INFEASIBLE:
        return Placement(conflict=tuple(numbers))
    return Placement()
