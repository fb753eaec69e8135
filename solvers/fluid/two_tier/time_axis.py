r"""The time axis of the linear program: DMA-only steps side by side are one step in it.

Where operands must be in the fastest tier, two DMA-only steps stand between operators. What they
add to a relaxation is time to move in, no room: data that arrives arrives in the last of them as
well, and takes room up to the next operator anyway; what leaves leaves in the first, and took room
during the operator before. So the program has one step for both, without a capacity of its own:

    steps of the plan      op a   empty  fill   op b
    steps of the program   op a   \\__ DMA __/   op b
    capacity               yes        no        yes

Every plan gives a point of the shorter program, with the time of both steps in one, so its optimum
is a lower bound like the longer program's. Arrivals are read as of the last step of a run, spills
as of the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Ints
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP
from ullage.solvers.fluid.two_tier.program import SliceRequest
from ullage.solvers.state.segments import Segment


@dataclass(frozen=True)
class TimeAxis:
    """A problem on the axis of the linear program; T' steps for T of the plan.

    Attributes:
        problem: with one DMA-only step for each run of them.
        segments: the segments, with accesses in these steps.
        short_of: (T,) the program's step of each step of the plan.
        first: (T',) first step of the plan in each.
        last: (T',) last step of the plan in each.
        has_capacity: (T',) whether the step's capacity is a row of its own.
    """

    problem: Problem
    segments: tuple[Segment, ...]
    short_of: Ints
    first: Ints
    last: Ints
    has_capacity: NDArray[np.bool_]

    def long_request(self, request: SliceRequest) -> SliceRequest:
        """A request in steps of the plan."""
        last, first = self.last, self.first
        return replace(
            request,
            fill=int(last[request.fill]) if request.fill >= 0 else -1,
            spill=int(first[request.spill]) if request.spill >= 0 else -1,
            tail=int(last[request.tail]) if request.tail >= 0 else -1,
            moves=tuple((int(last[step]), weight) for step, weight in request.moves),
        )

    def long_segment(self, segment: Segment) -> Segment:
        """A segment, or a slice of one, with its accesses in steps of the plan."""
        accesses = (replace(e, step=int(self.first[e.step])) for e in segment.accesses)
        return replace(segment, accesses=tuple(accesses))


def time_axis(problem: Problem, segments: Sequence[Segment]) -> TimeAxis:
    """The axis of a problem: the problem's own where no DMA-only steps stand side by side."""
    is_dma = np.array([step.kind == DMA_STEP for step in problem.steps])
    follows = np.zeros(len(is_dma), dtype=bool)
    follows[1:] = is_dma[1:] & is_dma[:-1]
    first = np.flatnonzero(~follows)
    last = np.append(first[1:], len(is_dma)) - 1
    short_of = np.cumsum(~follows) - 1
    if not follows.any():
        full = np.ones(len(is_dma), dtype=bool)
        return TimeAxis(problem, tuple(segments), short_of, first, last, full)
    steps = tuple(problem.steps[t] for t in first.tolist())
    short = replace(problem, program=replace(problem.program, steps=steps))
    moved = tuple(
        replace(
            segment,
            accesses=tuple(replace(e, step=int(short_of[e.step])) for e in segment.accesses),
        )
        for segment in segments
    )
    return TimeAxis(short, moved, short_of, first, last, ~is_dma[first])
