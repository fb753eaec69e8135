"""Cascades of a program: consecutive operators whose parts run in turn, stripe by stripe.

They are read off the steps, whoever made the schedule. Operators belong together if the steps from
the first to the last part of one overlap those of another:

    steps       conv1  conv2  conv1  conv2  conv3  fc  fc
    conv1       |-------------|                              conv1, conv2: a cascade of two stripes
    conv2              |-------------|
    conv3                            |---|                   runs whole: in no cascade
    fc                                       |------|        cut alone, into two parts

A new stripe begins where an operator runs that is no later in the cascade than the one before it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from ullage.compiler.common.byte_sets import ByteSet, common, joined, size_of, without
from ullage.compiler.common.units import counted
from ullage.compiler.ir.part_names import axis_names_of, operator_name
from ullage.compiler.ir.program import DMA_STEP, Program, Step, Use


@dataclass(frozen=True)
class CascadeSteps:
    """Consecutive steps in which operators run in parts, by turns; or one operator that is cut.

    Attributes:
        first: the first step.
        end: one past the last step.
        operators: indices of the operators, in the order in which they finish.
        names: the operators' names, in the same order.
        steps: the steps that run a part (DMA-only steps are left out).
        stripes: the first step of each stripe.
        axes: names of the axes that are cut, that of most parts first.
        axes_at_once: the most axes that a part cuts.
    """

    first: int
    end: int
    operators: tuple[int, ...]
    names: tuple[str, ...]
    steps: tuple[int, ...]
    stripes: tuple[int, ...]
    axes: tuple[str, ...]
    axes_at_once: int

    @property
    def interleaves(self) -> bool:
        """Whether several operators take part; one alone is cut, but no cascade."""
        return len(self.operators) > 1

    @property
    def cut_text(self) -> str:
        """Into what: `16 stripes of rows`, `6 tiles of rows and columns`, `2 parts of channels`."""
        noun = "part" if not self.interleaves else "tile" if self.axes_at_once > 1 else "stripe"
        return f"{counted(len(self.stripes), noun)} of {' and '.join(self.axes) or 'the whole'}"


@dataclass(frozen=True)
class CascadeData:
    """What a cascade holds of the values between its operators; the plan decides where.

    Attributes:
        between: by buffer the bytes that its operators write, and that nobody but they read.
        between_bytes: size of all those: what whole operators pass on.
        buffered_bytes: the most of them that wait at the end of any step to be read: what the line
            buffers hold.
        halo_bytes: bytes made in the cascade that a part reads after an earlier part of the same
            operator, and that were not made again in between: the halo that is kept, all stripes
            together.
        halo_indices: the most indices of its axis (rows) that two parts of an operator share;
            0 where no part shares any.
        recomputed_bytes: bytes that are made again: the halo that is computed a second time.
        recomputed_operators: the operators, by index, of which parts are made again.
        weight_bytes: distinct bytes of weights that its parts read.
        weight_reads_bytes: the same, counted each time that a part reads them.
    """

    between: dict[int, ByteSet] = field(repr=False)
    between_bytes: int
    buffered_bytes: int
    halo_bytes: int
    halo_indices: int
    recomputed_bytes: int
    recomputed_operators: tuple[int, ...]
    weight_bytes: int
    weight_reads_bytes: int


def find_cascades(program: Program) -> tuple[CascadeSteps, ...]:
    """The cascades of a program and the operators that are cut alone, in step order.

    A program in which operators run again, but none is cut, has none.
    """
    if not program.is_cut:
        return ()
    steps = program.steps
    spans: dict[int, list[int]] = {}
    for t, step in enumerate(steps):
        if step.kind != DMA_STEP:
            spans.setdefault(step.operator, []).append(t)
    found: list[CascadeSteps] = []
    members: list[int] = []
    end = 0
    for operator in sorted(spans, key=lambda index: spans[index][0]):
        if members and spans[operator][0] >= end:
            found += _cascade(steps, members, spans)
            members = []
        members.append(operator)
        end = max(end, spans[operator][-1] + 1)
    found += _cascade(steps, members, spans)
    return tuple(found)


def _cascade(
    steps: Sequence[Step], members: Sequence[int], spans: dict[int, list[int]]
) -> Iterator[CascadeSteps]:
    """The cascade of some operators, where any of them is cut or runs again."""
    if not any(steps[t].ranges or steps[t].copy for operator in members for t in spans[operator]):
        return
    operators = tuple(sorted(members, key=lambda index: spans[index][-1]))
    rank = {operator: place for place, operator in enumerate(operators)}
    parts = sorted(t for operator in members for t in spans[operator])
    stripes = [parts[0]]
    stripes += [
        now
        for before, now in pairwise(parts)
        if rank[steps[now].operator] <= rank[steps[before].operator]
    ]
    counts: dict[str, int] = {}
    for t in parts:
        for name in axis_names_of(steps[t]):
            counts[name] = counts.get(name, 0) + 1
    yield CascadeSteps(
        first=parts[0],
        end=parts[-1] + 1,
        operators=operators,
        names=tuple(operator_name(steps[spans[operator][0]]) for operator in operators),
        steps=tuple(parts),
        stripes=tuple(stripes),
        axes=tuple(sorted(counts, key=lambda name: -counts[name])),
        axes_at_once=max(len(steps[t].ranges) for t in parts),
    )


def cascade_data(program: Program, cascade: CascadeSteps) -> CascadeData:
    """What a cascade of a program holds between its operators, and what its parts read again."""
    made: dict[int, list[tuple[int, int]]] = {}
    for use in _uses(program, cascade):
        if use.write:
            made.setdefault(use.buffer, []).append((use.start_byte, use.end_byte))
    written = {buffer: joined(ranges) for buffer, ranges in made.items()}
    between = {
        buffer: kept
        for buffer, ranges in written.items()
        if (kept := without(ranges, _needed_behind(program, buffer, cascade)))
    }
    halo_bytes, halo_indices = _halo(program, cascade, written)
    recomputed = _recomputed(program, cascade)
    weights = [use for use in _uses(program, cascade) if program.buffers[use.buffer].constant]
    read: dict[int, list[tuple[int, int]]] = {}
    for use in weights:
        read.setdefault(use.buffer, []).append((use.start_byte, use.end_byte))
    return CascadeData(
        between=between,
        between_bytes=sum(map(size_of, between.values())),
        buffered_bytes=_most_waiting(program, cascade, between),
        halo_bytes=halo_bytes,
        halo_indices=halo_indices,
        recomputed_bytes=sum(recomputed.values()),
        recomputed_operators=tuple(recomputed),
        weight_bytes=sum(size_of(joined(ranges)) for ranges in read.values()),
        weight_reads_bytes=sum(use.accessed_bytes for use in weights),
    )


def _uses(program: Program, cascade: CascadeSteps) -> Iterator[Use]:
    for t in cascade.steps:
        yield from program.steps[t].uses


def _needed_behind(program: Program, buffer: int, cascade: CascadeSteps) -> ByteSet:
    """The bytes of a buffer that later steps read before any writes them, and the outputs."""
    needed: ByteSet = []
    overwritten: ByteSet = []
    for t, use in program.uses_of[buffer]:
        if t < cascade.end:
            continue
        here = [(use.start_byte, use.end_byte)]
        if use.write:
            overwritten = joined([*overwritten, *here])
        else:
            needed = joined([*needed, *without(here, overwritten)])
    left = without(joined(program.buffers[buffer].outputs), overwritten)
    return joined([*needed, *left])


def _halo(program: Program, cascade: CascadeSteps, written: dict[int, ByteSet]) -> tuple[int, int]:
    """Bytes that parts read again, and the most indices of an axis that two parts share."""
    index_bytes = _bytes_of_an_index(program, cascade)
    # By buffer and operator: bytes read, and bytes written, since others wrote them.
    seen: dict[int, dict[int, ByteSet]] = {}
    own: dict[int, dict[int, ByteSet]] = {}
    total, most = 0, 0
    for t in cascade.steps:
        operator = program.steps[t].operator
        for use in program.steps[t].uses:
            read, made = seen.setdefault(use.buffer, {}), own.setdefault(use.buffer, {})
            here = [(use.start_byte, use.end_byte)]
            if use.write:
                for sets in (read, made):
                    sets.update({other: without(ranges, here) for other, ranges in sets.items()})
                made[operator] = joined([*made.get(operator, []), *here])
                continue
            inside = without(common(here, written.get(use.buffer, [])), made.get(operator, []))
            again = common(inside, read.get(operator, []))
            read[operator] = joined([*read.get(operator, []), *inside])
            total += size_of(again)
            for bytes_each, ranges in index_bytes.get(use.buffer, []) if again else []:
                most = max(most, round(size_of(common(again, ranges)) / bytes_each))
    return total, most


def _bytes_of_an_index(
    program: Program, cascade: CascadeSteps
) -> dict[int, list[tuple[float, ByteSet]]]:
    """By buffer, for each operator that is cut along one axis: bytes of an index, bytes written."""
    found: dict[tuple[int, int], tuple[float, list[tuple[int, int]]]] = {}
    for t in cascade.steps:
        step = program.steps[t]
        if len(step.ranges) != 1:
            continue
        length = step.ranges[0].end - step.ranges[0].start
        by_buffer: dict[int, list[tuple[int, int]]] = {}
        for use in step.uses:
            if use.write:
                by_buffer.setdefault(use.buffer, []).append((use.start_byte, use.end_byte))
        for buffer, ranges in by_buffer.items():
            _, so_far = found.get((step.operator, buffer), (0.0, []))
            each = size_of(joined(ranges)) / length
            found[step.operator, buffer] = (each, [*so_far, *ranges])
    result: dict[int, list[tuple[float, ByteSet]]] = {}
    for (_, buffer), (each, ranges) in found.items():
        if each > 0:
            result.setdefault(buffer, []).append((each, joined(ranges)))
    return result


def _recomputed(program: Program, cascade: CascadeSteps) -> dict[int, int]:
    """By operator the bytes that it makes again; sums that a part goes on with are not."""
    made: dict[tuple[int, int], ByteSet] = {}
    again: dict[int, int] = {}
    for t in cascade.steps:
        step = program.steps[t]
        reads: dict[int, list[tuple[int, int]]] = {}
        for use in step.uses:
            if not use.write:
                reads.setdefault(use.buffer, []).append((use.start_byte, use.end_byte))
        for use in step.uses:
            if not use.write:
                continue
            key, here = (step.operator, use.buffer), [(use.start_byte, use.end_byte)]
            fresh = without(here, joined(reads.get(use.buffer, [])))
            size = size_of(common(fresh, made.get(key, [])))
            if size:
                again[step.operator] = again.get(step.operator, 0) + size
            made[key] = joined([*made.get(key, []), *here])
    return again


def _most_waiting(program: Program, cascade: CascadeSteps, between: dict[int, ByteSet]) -> int:
    """The most bytes of some that wait between two steps of a cascade to be read."""
    change = np.zeros(cascade.end - cascade.first + 1, dtype=np.int64)
    for buffer, ranges in between.items():
        uses = [
            (t - cascade.first, use)
            for t, use in program.uses_of[buffer]
            if cascade.first <= t < cascade.end
        ]
        for size, written, read in _waits(_pieces(ranges, [use for _, use in uses]), uses):
            change[written] += size
            change[read] -= size
    return int(change.cumsum().max(initial=0))


def _waits(pieces: ByteSet, uses: Sequence[tuple[int, Use]]) -> Iterator[tuple[int, int, int]]:
    """For each time that a piece is written and read: bytes, step of the write, last read."""
    starts = [low for low, _ in pieces]
    spans = [(-1, -1)] * len(pieces)  # by piece: its last write, the last read since
    for t, use in uses:
        for piece in range(bisect_left(starts, use.start_byte), bisect_left(starts, use.end_byte)):
            written, read = spans[piece]
            if not use.write:
                spans[piece] = (written, t)
                continue
            if read > written >= 0:
                yield pieces[piece][1] - pieces[piece][0], written, read
            spans[piece] = (t, -1)
    for (low, high), (written, read) in zip(pieces, spans, strict=True):
        if read > written >= 0:
            yield high - low, written, read


def _pieces(ranges: ByteSet, uses: Sequence[Use]) -> ByteSet:
    """Ranges cut wherever a use begins or ends, so that each use has all of a piece or nothing."""
    cuts = sorted({edge for use in uses for edge in (use.start_byte, use.end_byte)})
    pieces: ByteSet = []
    for start, end in ranges:
        inside = cuts[bisect_right(cuts, start) : bisect_left(cuts, end)]
        edges = [start, *inside, end]
        pieces += pairwise(edges)
    return pieces
