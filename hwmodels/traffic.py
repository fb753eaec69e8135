"""Bytes charged to tiers and links, step by step, and the traffic that no plan avoids.

A use is charged to the residencies that serve it, each byte to the fastest tier that has it ready.
Here a step reads [0, 1024) of a buffer of which sram holds only the first half:

    byte           0            512           1024
    use            |--------- read ------------|
    sram           |============|                    charged: 512 bytes read at sram's port
    dram           |===========================|     charged: 512 bytes read at dram's port

A transfer is charged, in each step in which it moves bytes, to the port of its source, to the port
of its destination and to its link; its set-up is charged to the first of those steps, with what its
further ranges of addresses take. Bytes come in
whole bursts: what fills the last one of a transfer is charged to its first step, and what fills
those of an operand is charged with it.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise
from math import ceil
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Floats
from ullage.compiler.common.errors import VerificationError
from ullage.compiler.ir.assignment import Assigned
from ullage.compiler.ir.plan import Residency
from ullage.compiler.ir.problem import Problem, computed_once
from ullage.compiler.ir.program import Buffer, Use
from ullage.compiler.ir.target import Target
from ullage.hwmodels.rereads import operand_reads, times_accessed
from ullage.hwmodels.resources import resources

# A residency as the lookup sees it: first byte, one past the last byte, index in the plan.
_Span = tuple[int, int, int]
# A part of a use: tier, residency, first byte, one past the last byte.
_Part = tuple[int, int, int, int]


@dataclass(frozen=True)
class OperandCharges:
    """All uses of a plan, cut into P parts: each part is in one use and in one residency.

    Parts are grouped by buffer; within a buffer they are in step order, reads before writes.

    Attributes:
        step: (P,) step of the use.
        residency: (P,) index into `Plan.residencies`.
        tier: (P,) index into `Target.tiers`.
        start_byte: (P,) first byte of the part in the buffer.
        end_byte: (P,) one past its last byte.
        write: (P,) True where the part is written.
        charged_bytes: (P,) bytes charged: the use's `accessed_bytes` times the part's share of the
            use's range, in whole bursts of the tier, as often as the operator reads them.
        link: (P,) index into `Target.links` of the link over which DMA brings rows that are looked
            up where operators do not reach; -1 for all other parts.
        rows: (P,) how many rows that are, each a range of addresses; 0 for all other parts.
    """

    step: NDArray[np.int64]
    residency: NDArray[np.int64]
    tier: NDArray[np.int64]
    start_byte: NDArray[np.int64]
    end_byte: NDArray[np.int64]
    write: NDArray[np.bool_]
    charged_bytes: Floats
    link: NDArray[np.int64]
    rows: NDArray[np.int64]


def operand_charges(plan: Assigned) -> OperandCharges:
    """Charge every use to the residencies that serve it (docs/plan-semantics.md, Cost).

    Each byte is served by the fastest tier that has it in a residency with
    `ready <= step < end`.

    Raises:
        VerificationError: a byte of a use is in no such residency.
    """
    by_buffer: list[list[int]] = [[] for _ in plan.problem.buffers]
    for index, residency in enumerate(plan.residencies):
        by_buffer[residency.buffer].append(index)
    rows: list[tuple[int, int, int, int, int, bool, int, int]] = []
    charged: list[float] = []
    bursts = [tier.burst_bytes for tier in plan.target.tiers]
    reads = operand_reads(plan.problem)
    for buffer, indices in enumerate(by_buffer):
        for t, use, parts in _served(plan, buffer, indices):
            use_bytes = use.end_byte - use.start_byte
            for tier, index, start, end in parts:
                size = use.accessed_bytes * (end - start) / use_bytes
                link = _look_up_link(plan, use, tier)
                named = ceil(size / plan.problem.buffers[buffer].row_bytes) if link >= 0 else 0
                rows.append((t, index, tier, start, end, use.write, link, named))
                if bursts[tier] > 1:
                    size = _in_bursts(plan, use, size, bursts[tier])
                charged.append(size * times_accessed(use, reads[t]))
    table = np.array(rows, dtype=np.int64).reshape(-1, 8)
    return OperandCharges(
        step=table[:, 0],
        residency=table[:, 1],
        tier=table[:, 2],
        start_byte=table[:, 3],
        end_byte=table[:, 4],
        write=table[:, 5].astype(np.bool_),
        charged_bytes=np.array(charged, dtype=np.float64),
        link=table[:, 6],
        rows=table[:, 7],
    )


def _look_up_link(plan: Assigned, use: Use, tier: int) -> int:
    """The link over which DMA brings what a use looks up in a tier; -1 where operators read it."""
    target = plan.target
    kind, name = plan.problem.buffers[use.buffer].kind, target.tiers[tier].name
    if not use.look_up or target.reaches(name, kind) or name not in target.look_up_links:
        return -1
    return target.links.index(target.look_up_links[name])


def _in_bursts(plan: Assigned, use: Use, size: float, burst: int) -> float:
    """Bytes in whole bursts: of one range, or row by row where a use takes some rows only."""
    row = plan.problem.buffers[use.buffer].row_bytes
    if use.accessed_bytes < use.end_byte - use.start_byte and 1 < row < size:
        return size / row * (-(-row // burst) * burst)
    return float(ceil(size / burst) * burst)


def _served(
    plan: Assigned, buffer: int, indices: list[int]
) -> Iterator[tuple[int, Use, Sequence[_Part]]]:
    """Each use of a buffer with its parts by tier and residency: one sweep over the steps."""
    tier_index = plan.target.tier_index
    residencies = plan.residencies
    arriving = sorted(indices, key=lambda i: residencies[i].ready, reverse=True)
    leaving: list[tuple[int, int, _Span]] = []
    live: list[list[_Span]] = [[] for _ in plan.target.tiers]
    for t, use in plan.problem.uses_of[buffer]:
        start, end = use.start_byte, use.end_byte
        if start >= end:
            continue
        while arriving and residencies[arriving[-1]].ready <= t:
            index = arriving.pop()
            residency = residencies[index]
            tier = tier_index[residency.tier]
            span = (residency.start_byte, residency.end_byte, index)
            insort(live[tier], span)
            heappush(leaving, (residency.end, tier, span))
        while leaving and leaving[0][0] <= t:
            _, tier, span = heappop(leaving)
            del live[tier][bisect_left(live[tier], span)]
        parts: list[_Part] = []
        gaps = [(start, end)]
        for tier, spans in enumerate(live):
            if spans:
                gaps = _fill(gaps, spans, tier, parts)
                if not gaps:
                    break
        if gaps:
            raise _nowhere(plan, t, use, gaps)
        yield t, use, parts


def _fill(
    gaps: list[tuple[int, int]], spans: list[_Span], tier: int, parts: list[_Part]
) -> list[tuple[int, int]]:
    """Append the parts of the gaps that a tier's spans hold; return the gaps that remain."""
    remaining: list[tuple[int, int]] = []
    for start, end in gaps:
        first = max(0, bisect_right(spans, start, key=itemgetter(0)) - 1)
        last = bisect_left(spans, end, key=itemgetter(0))
        cursor = start
        for span_start, span_end, index in spans[first:last]:
            low, high = max(span_start, cursor), min(span_end, end)
            if low < high:
                if cursor < low:
                    remaining.append((cursor, low))
                parts.append((tier, index, low, high))
                cursor = high
        if cursor < end:
            remaining.append((cursor, end))
    return remaining


def _nowhere(plan: Assigned, t: int, use: Use, gaps: list[tuple[int, int]]) -> VerificationError:
    """The error for a use of which no ready residency holds some bytes."""
    name = plan.problem.buffers[use.buffer].name
    step = plan.problem.steps[t].name
    start, end = gaps[0]
    verb = "writes" if use.write else "reads"
    return VerificationError(
        f"step {t} ({step}) {verb} bytes [{start}, {end}) of {name}, which no ready residency"
        " holds; the plan must place them in a tier for that step",
        {"step": t, "buffer": name, "start_byte": start, "end_byte": end},
    )


def tier_bytes(operands: OperandCharges, target: Target, steps: int) -> tuple[Floats, Floats]:
    """(M, T) operand bytes read from and written to each tier at each step."""
    shape = (len(target.tiers), steps)
    cell = operands.tier * steps + operands.step
    size = shape[0] * shape[1]
    written = np.where(operands.write, operands.charged_bytes, 0.0)
    read = np.where(operands.write, 0.0, operands.charged_bytes)
    sums = np.array([np.bincount(cell, read, size), np.bincount(cell, written, size)], np.float64)
    return sums[0].reshape(shape), sums[1].reshape(shape)


@dataclass(frozen=True)
class DmaCharges:
    """What DMA moves and starts, over M tiers, L links and T steps.

    Attributes:
        read: (M, T) bytes read from each tier.
        written: (M, T) bytes written to each tier.
        moved: (L, T) bytes moved over each link.
        setups: (L, T) transfers over each link that start in the step.
        ranges: (L, T) ranges of addresses of these transfers, beyond one for each; 0 on links that
            take no time for them.
    """

    read: Floats
    written: Floats
    moved: Floats
    setups: Floats
    ranges: Floats


def dma_charges(plan: Assigned) -> DmaCharges:
    """Charge every move to both tiers and the link, and each set-up to the step of the first move.

    Raises:
        VerificationError: a transfer uses a link that the target lacks.
    """
    target = plan.target
    steps = len(plan.problem.steps)
    table_of = resources(plan.problem)
    moves: list[tuple[int, int, int]] = []
    starts: list[tuple[int, int]] = []
    further = further_ranges(plan)
    for transfer in plan.transfers:
        link = table_of.link_of(transfer)
        starts.append((link, transfer.moves[0][0]))
        size = transfer.end_byte - transfer.start_byte
        rest = table_of.moved_bytes(link, size) - size
        if rest:
            moves.append((link, transfer.moves[0][0], rest))
        for step, size_bytes in transfer.moves:
            moves.append((link, step, size_bytes))
    shape = (len(target.links), steps)
    moved, setups, ranges = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    if moves:
        table = np.array(moves, dtype=np.int64)
        np.add.at(moved, (table[:, 0], table[:, 1]), table[:, 2])
        first = np.array(starts, dtype=np.int64)
        np.add.at(setups, (first[:, 0], first[:, 1]), 1.0)
        np.add.at(ranges, (first[:, 0], first[:, 1]), further)
    read = np.zeros((len(target.tiers), steps))
    written = np.zeros((len(target.tiers), steps))
    np.add.at(read, table_of.source, moved)
    np.add.at(written, table_of.destination, moved)
    return DmaCharges(read, written, moved, setups, ranges)


def further_ranges(plan: Assigned) -> list[int]:
    """How many ranges of addresses each transfer has, beyond one; 0 on links without a time for it.

    A range is contiguous at both ends. Where a slice lies in two residencies with a gap between
    them, at its source or at its destination, it is two ranges.
    """
    timed = {link.name for link in plan.target.links if link.range_setup_s}
    if not timed:
        return [0] * len(plan.transfers)
    held: dict[tuple[int, str], list[Residency]] = {}
    for residency in plan.residencies:
        held.setdefault((residency.buffer, residency.tier), []).append(residency)
    result: list[int] = []
    for transfer in plan.transfers:
        breaks: set[int] = set()
        first, last = transfer.moves[0][0], transfer.moves[-1][0]
        for tier in (transfer.source, transfer.destination) if transfer.link in timed else ():
            there = [
                r
                for r in held.get((transfer.buffer, tier), ())
                if r.start_byte < transfer.end_byte
                and transfer.start_byte < r.end_byte
                and r.start <= first < r.end
                and (r.ready <= first if tier == transfer.source else r.ready > last)
            ]
            there.sort(key=lambda r: r.start_byte)
            breaks.update(
                behind.start_byte
                for one, behind in pairwise(there)
                if one.offset - one.start_byte != behind.offset - behind.start_byte
            )
        result.append(len(breaks))
    return result


def look_up_charges(operands: OperandCharges, target: Target, steps: int) -> DmaCharges:
    """What DMA moves while operators run: rows that they look up, read where a table lies.

    Each look-up is a transfer of as many ranges of addresses as it has rows. What it reads at the
    source is an operand, and not counted here; so `read` is 0.
    """
    shape = (len(target.links), steps)
    found = operands.link >= 0
    place = operands.link[found], operands.step[found]
    moved, setups, ranges = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    np.add.at(moved, place, operands.charged_bytes[found])
    np.add.at(setups, place, 1.0)
    np.add.at(ranges, place, np.maximum(operands.rows[found] - 1, 0))
    written = np.zeros((len(target.tiers), steps))
    written[0] = moved.sum(axis=0)
    return DmaCharges(np.zeros_like(written), written, moved, setups, ranges)


@dataclass(frozen=True)
class Compulsory:
    """First loads and last stores at the home tiers over B buffers.

    Attributes:
        loads: (B,) bytes that must be read at the buffer's home tier.
        stores: (B,) bytes that must be written there.
    """

    loads: Floats
    stores: Floats


@computed_once
def compulsory(problem: Problem) -> Compulsory:
    """Bytes that every plan must read from and write to the home tiers, in each inference.

    A byte of an input or weight counts as the largest share (`accessed_bytes` / range) that one use
    reads of it before it is overwritten; a byte of an output as the share of its last write.
    Buffers at home in the fastest tier count nothing, nor do weights in steady state, which may
    remain in the fastest tier for ever. The figures depend on data flow alone, so they hold for
    every legal order of the steps over these buffers.
    """
    return _least_moved(problem, resident=False)


@computed_once
def compulsory_resident(problem: Problem) -> Compulsory:
    """`compulsory`, but buffers that operators cannot reach at home count with all their bytes.

    That is stronger, yet still no more than any legal plan moves. The compulsory traffic that
    docs/plan-semantics.md defines leaves it out.
    """
    return _least_moved(problem, resident=True)


def _least_moved(problem: Problem, *, resident: bool) -> Compulsory:
    """Compulsory bytes of all buffers; with `resident`, those out of reach at home count whole."""
    target = problem.target
    loads = np.zeros(len(problem.buffers))
    stores = np.zeros(len(problem.buffers))
    weights_remain = problem.steady_state
    for b, buffer in enumerate(problem.buffers):
        if target.home(buffer.kind).name == target.fastest.name:
            continue
        confined = target.must_be_fastest(buffer.kind) or not target.home(buffer.kind).addressable
        least_share = 1.0 if resident and confined else 0.0  # but of what is looked up
        uses = [(t, use) for t, use in problem.uses_of[b] if use.start_byte < use.end_byte]
        is_loaded = buffer.initial and not (buffer.persistent and weights_remain)
        if uses and (buffer.outputs or is_loaded):
            loads[b], stores[b] = _first_and_last(
                buffer, uses, least_share, is_loaded=is_loaded, looks_up=bool(target.look_up_links)
            )
    return Compulsory(loads, stores)


def _first_and_last(
    buffer: Buffer,
    uses: Sequence[tuple[int, Use]],
    least_share: float,
    *,
    is_loaded: bool,
    looks_up: bool,
) -> tuple[float, float]:
    """Bytes of a buffer that are loaded first and stored last, for each range between two cuts.

    Args:
        buffer: the buffer.
        uses: its (step, use) pairs in step order, empty ranges left out.
        least_share: share of a byte that a use counts as at least.
        is_loaded: whether its first reads are loads from home.
        looks_up: DMA brings what is looked up alone, so that no more of it counts.
    """
    cuts = np.unique(
        [edge for _, use in uses for edge in (use.start_byte, use.end_byte)]
        + [edge for output in buffer.outputs for edge in output]
    )
    segment_of = {int(cut): segment for segment, cut in enumerate(cuts)}
    first = np.zeros(len(cuts) - 1)
    last = np.zeros(len(cuts) - 1)
    original = np.full(len(cuts) - 1, is_loaded)
    for _, use in uses:
        part = slice(segment_of[use.start_byte], segment_of[use.end_byte])
        share = use.accessed_bytes / (use.end_byte - use.start_byte)
        if not (use.look_up and looks_up):
            share = max(share, least_share)
        if use.write:
            last[part] = share
            original[part] = False
        else:
            first[part] = np.where(original[part], np.maximum(first[part], share), first[part])
    is_output = np.zeros(len(cuts) - 1, dtype=np.bool_)
    for start, end in buffer.outputs:
        is_output[segment_of[start] : segment_of[end]] = True
    sizes = np.diff(cuts)
    return float(first @ sizes), float(last[is_output] @ sizes[is_output])
