"""Several inferences of a steady-state plan as one long plan, for the event-driven replay.

    inference    0          1           2
    steps        [0, T)     [T, 2T)     [2T, 3T)
    buffers      [0, B)     [B, 2B)     [2B, 3B)

Each inference has buffers of its own, so nothing in the long plan itself says that a weight remains
from one to the next; `LoopBoundary` does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ullage.compiler.ir.plan import Plan, Residency, Transfer
from ullage.compiler.ir.program import Step


def unroll(plan: Plan, inferences: int) -> Plan:
    """A plan of `inferences` times T steps, B buffers, R residencies and all transfers.

    Every inference has buffers of its own, weights too: buffer b of inference i is number
    i * B + b. Its residencies and transfers follow those of inference i - 1 in the lists. The
    result is for replaying only.
    """
    problem = plan.problem
    last, count = len(problem.steps), len(problem.buffers)
    steps: list[Step] = []
    residencies: list[Residency] = []
    transfers: list[Transfer] = []
    for i in range(inferences):
        t, b = i * last, i * count
        steps += (
            replace(step, uses=tuple(replace(use, buffer=use.buffer + b) for use in step.uses))
            for step in problem.steps
        )
        residencies += (
            replace(r, buffer=r.buffer + b, start=r.start + t, ready=r.ready + t, end=r.end + t)
            for r in plan.residencies
        )
        transfers += (
            replace(
                move,
                buffer=move.buffer + b,
                moves=tuple((step + t, size) for step, size in move.moves),
            )
            for move in plan.transfers
        )
    program = replace(problem.program, steps=tuple(steps), buffers=problem.buffers * inferences)
    whole = replace(problem, program=program)
    return replace(plan, problem=whole, residencies=tuple(residencies), transfers=tuple(transfers))


@dataclass(frozen=True)
class LoopBoundary:
    """What passes from one inference to the next in a plan that `unroll` made.

    Attributes:
        plan: the unrolled plan, or one inference.
        period: steps of an inference, 0 where there is one only.
    """

    plan: Plan
    period: int

    def continues(self, earlier: Residency, later: Residency) -> bool:
        """Whether `later` is where the weight of `earlier` remains in the next inference."""
        if not self._begins_later_inference(later) or earlier.end != later.start:
            return False
        if earlier.buffer < 0 or later.start != later.ready:
            return False
        buffers = self.plan.problem.buffers
        per_inference = len(buffers) * self.period // len(self.plan.problem.steps)
        return (
            buffers[later.buffer].persistent
            and earlier.buffer + per_inference == later.buffer
            and earlier.offset - earlier.start_byte == later.offset - later.start_byte
        )

    def inputs(self, places: Sequence[Residency]) -> Iterator[tuple[int, int]]:
        """(place, first step of its inference) of inputs at home, the first inference left out."""
        target, buffers = self.plan.target, self.plan.problem.buffers
        for index, place in enumerate(places):
            if self._begins_later_inference(place) and place.ready == place.start:
                buffer = buffers[place.buffer]
                given = buffer.initial and not buffer.persistent
                if given and place.tier == target.home(buffer.kind).name:
                    yield index, place.start

    def _begins_later_inference(self, place: Residency) -> bool:
        is_start = self.period > 0 and place.start > 0 and place.start % self.period == 0
        return is_start and place.buffer >= 0
