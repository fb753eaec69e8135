"""From a solution of COSMA's problem to an assignment with addresses."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP, Step
from ullage.solvers.cosma.question import Question
from ullage.solvers.packing.pack import pack
from ullage.solvers.packing.place_exactly import blocks_of, place
from ullage.solvers.state.build_plan import SegmentResidency, assemble
from ullage.solvers.state.segments import Segment, segments_of

logger = logging.getLogger(__name__)

# Share of the time left that the search for addresses gets ...
PLACE_SHARE = 0.5
# ... in seconds at least, and at most.
LEAST_PLACE_S, MOST_PLACE_S = 0.1, 10.0
# Seconds at most for the smallest packing, with proof (objective `peak`).
MOST_PACK_S = 2.0


@dataclass(frozen=True)
class OperatorSpan:
    """A segment is in fast memory while operators first..last run, at unit `low` (None: open)."""

    first: int
    last: int
    low: float | None


@dataclass(frozen=True)
class CosmaDecision:
    """The decisions of an exact solver.

    Attributes:
        order: the operator of each step.
        spans: for each segment, in time order.
    """

    order: tuple[int, ...]
    spans: tuple[tuple[OperatorSpan, ...], ...]


def reordered(problem: Problem, order: Sequence[int], name: str) -> Problem:
    """The same operators over the same buffers in another order.

    Args:
        problem: one with two DMA-only steps between operators.
        order: numbers of operators among the problem's, each once.
        name: name of the order.
    """
    operators = [step for step in problem.steps if step.kind != DMA_STEP]
    if list(order) == list(range(len(operators))):
        return problem
    steps = [problem.steps[0]]
    for index in order:
        operator = operators[index]
        if len(steps) > 1:
            steps += [
                Step(f"empty before {operator.name}", DMA_STEP),
                Step(f"fill before {operator.name}", DMA_STEP),
            ]
        steps.append(operator)
    program = replace(problem.program, order=name, steps=(*steps, problem.steps[-1]))
    return replace(problem, program=program)


def residencies_of(
    segments: Sequence[Segment], steps: Sequence[int], spans: Sequence[Sequence[OperatorSpan]]
) -> tuple[list[SegmentResidency], list[float | None]]:
    """Residencies in the fastest tier, and how high the solver put each (None: unknown).

    What is fetched comes in the DMA-only step before its first use, what is spilled leaves in the
    one after its last. Residency before the first and after the last use of a span is left out, and
    so are spills of data that nobody needs at home.

    Args:
        segments: of the problem, in the order of the solution.
        steps: step of the problem of each operator, in order.
        spans: for each segment, in time order.
    """
    number = {step: t for t, step in enumerate(steps)}
    residencies: list[SegmentResidency] = []
    heights: list[float | None] = []
    for index, (segment, listed) in enumerate(zip(segments, spans, strict=True)):
        inside = [
            [e for e in segment.accesses if span.first <= number[e.step] <= span.last]
            for span in listed
        ]
        used = [(span, accesses) for span, accesses in zip(listed, inside, strict=True) if accesses]
        at_home = segment.is_given
        for turn, (span, accesses) in enumerate(used):
            first, last = accesses[0].step, accesses[-1].step
            at_home = at_home and not any(access.writes for access in accesses)
            following = used[turn + 1][1][0].reads if turn + 1 < len(used) else segment.is_output
            size = segment.size_bytes
            fill = ((first - 1, size),) if accesses[0].reads else ()
            spill = ((last + 1, size),) if following and not at_home else ()
            at_home = at_home or bool(spill)
            residencies.append(
                SegmentResidency(
                    index, first - len(fill), first, last + 1 + len(spill), fill, spill
                )
            )
            heights.append(span.low)
    return residencies, heights


def place_as_solved(
    residencies: Sequence[SegmentResidency], heights: Sequence[float | None], rooms: Sequence[int]
) -> list[int] | None:
    """Whole addresses from a solver's fractional ones: residencies are lowered, the lowest first.

    Returns:
        offsets in bytes, None where the solver gave no addresses.
    """
    offsets = [0] * len(residencies)
    placed: list[int] = []
    known = [(height, i) for i, height in enumerate(heights) if height is not None]
    if len(known) < len(residencies):
        return None
    for _, i in sorted(known):
        beside = [
            j
            for j in placed
            if residencies[j].start < residencies[i].end
            and residencies[i].start < residencies[j].end
        ]
        offsets[i] = max((offsets[j] + rooms[j] for j in beside), default=0)
        placed.append(i)
    return offsets


def tops_of(
    residencies: Sequence[SegmentResidency], offsets: Sequence[int], sizes: Sequence[int]
) -> list[int]:
    """Highest byte in use at each step, up to the last residency's end."""
    tops = [0] * max((residency.end for residency in residencies), default=0)
    for residency, offset, size in zip(residencies, offsets, sizes, strict=True):
        for t in range(residency.start, residency.end):
            tops[t] = max(tops[t], offset + size)
    return tops


def plan_of(question: Question, decided: CosmaDecision, notes: list[str]) -> Assignment | None:
    """The assignment of a decision; None (and a note) where no addresses are found."""
    problem = reordered(question.program.problem, decided.order, question.solver)
    segments = segments_of(problem)
    steps = [t for t, step in enumerate(problem.steps) if step.kind != DMA_STEP]
    residencies, heights = residencies_of(segments, steps, decided.spans)
    if question.form.peak:
        return _peak_plan(question, problem, segments, residencies)
    offsets = _offsets(question, problem, segments, residencies, heights)
    if offsets is None:
        notes.append(f"{question.solver}: no addresses were found for its solution")
        return None
    placed = [replace(s, offset=o) for s, o in zip(residencies, offsets, strict=True)]
    return assemble(problem, segments, placed)


def _offsets(
    question: Question,
    problem: Problem,
    segments: Sequence[Segment],
    residencies: Sequence[SegmentResidency],
    heights: Sequence[float | None],
) -> Sequence[int] | None:
    """The solver's addresses as whole numbers, else what the search for addresses finds."""
    target = problem.target
    sizes = [segments[s.segment].size_bytes for s in residencies]
    unit = target.fastest.alignment_bytes
    offsets = place_as_solved(residencies, heights, [-(-size // unit) * unit for size in sizes])
    if offsets is not None:
        tops = tops_of(residencies, offsets, sizes)
        room = target.fastest.capacity_bytes
        if all(o + s.workspace_bytes <= room for o, s in zip(tops, problem.steps, strict=False)):
            return offsets
        logger.info("the solver's addresses do not fit when made whole; they are sought again")
    spans = [(s.start, s.end, size) for s, size in zip(residencies, sizes, strict=True)]
    limit = min(MOST_PLACE_S, max(LEAST_PLACE_S, question.budget.share(PLACE_SHARE).remaining_s()))
    return place(blocks_of(problem, spans), target, question.options.seed, limit).offsets


def _peak_plan(
    question: Question,
    problem: Problem,
    segments: Sequence[Segment],
    residencies: Sequence[SegmentResidency],
) -> Assignment:
    """A plan in as much fast memory as the residencies need, holes included."""
    target = question.program.target
    sizes = [segments[s.segment].size_bytes for s in residencies]
    packing = pack(
        np.array([s.start for s in residencies], dtype=np.int64),
        np.array([s.end for s in residencies], dtype=np.int64),
        np.array(sizes, dtype=np.int64),
        alignment_bytes=target.fastest.alignment_bytes,
        time_limit_s=min(MOST_PACK_S, max(LEAST_PLACE_S, question.budget.remaining_s())),
        proof=True,
        seed=question.options.seed,
    )
    placed = [replace(s, offset=int(o)) for s, o in zip(residencies, packing.offsets, strict=True)]
    tops = tops_of(placed, [s.offset for s in placed], sizes)
    tops += [0] * (len(problem.steps) - len(tops))
    needed = max(o + s.workspace_bytes for o, s in zip(tops, problem.steps, strict=True))
    fastest = target.fastest
    uncapacitated = target.with_fast_memory(max(needed, fastest.capacity_bytes))
    return assemble(problem.on(uncapacitated), segments, placed)
