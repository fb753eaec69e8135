"""A plan sorted by step: which residencies begin and end, what moves, what is loop-carried."""

from dataclasses import dataclass

from ullage.compiler.common.errors import VerificationError
from ullage.compiler.ir.plan import Plan, Residency, Transfer


@dataclass(frozen=True)
class Timetable:
    """A plan by step; each mapping is from a step to what happens in it.

    Attributes:
        opening: residencies that start, except those in `loop_carried`.
        closing: residencies that end.
        arriving: residencies that become ready later than they start.
        moving: (transfer, first byte, number of bytes) of each move.
        loop_carried: residencies that hold a weight before step 0: those at home, and, in steady
            state, those elsewhere too.
    """

    opening: dict[int, list[Residency]]
    closing: dict[int, list[Residency]]
    arriving: dict[int, list[Residency]]
    moving: dict[int, list[tuple[Transfer, int, int]]]
    loop_carried: tuple[Residency, ...]


def timetable(plan: Plan) -> Timetable:
    """Sort a plan by step.

    Raises:
        VerificationError: a transfer that no machine could do, or whose moves are not its slice.
    """
    opening: dict[int, list[Residency]] = {}
    closing: dict[int, list[Residency]] = {}
    arriving: dict[int, list[Residency]] = {}
    loop_carried: list[Residency] = []
    for r in plan.residencies:
        if _is_loop_carried(plan, r):
            loop_carried.append(r)
        else:
            opening.setdefault(r.start, []).append(r)
        closing.setdefault(r.end, []).append(r)
        if r.start < r.ready < r.end:
            arriving.setdefault(r.ready, []).append(r)
    return Timetable(opening, closing, arriving, _moves_by_step(plan), tuple(loop_carried))


def _is_loop_carried(plan: Plan, r: Residency) -> bool:
    """Whether a residency is to hold a weight from before the first step on."""
    if not 0 <= r.buffer < len(plan.problem.buffers):
        return False  # refused elsewhere
    buffer = plan.problem.buffers[r.buffer]
    if not buffer.persistent or (r.start, r.ready) != (0, 0):
        return False
    return plan.problem.steady_state or r.tier == plan.target.home(buffer.kind).name


def _moves_by_step(plan: Plan) -> dict[int, list[tuple[Transfer, int, int]]]:
    problem = plan.problem
    moving: dict[int, list[tuple[Transfer, int, int]]] = {}
    for transfer in plan.transfers:
        if not 0 <= transfer.buffer < len(problem.buffers):
            raise VerificationError(f"impossible transfer: {transfer}")
        position = transfer.start_byte
        for step, size in transfer.moves:
            if not 0 <= step < len(problem.steps) or size <= 0:
                raise VerificationError(f"impossible transfer: {transfer}")
            moving.setdefault(step, []).append((transfer, position, size))
            position += size
        if position != transfer.end_byte or not transfer.moves:
            raise VerificationError(
                f"a transfer of {problem.buffers[transfer.buffer].name!r} moves "
                f"{position - transfer.start_byte} bytes, its slice has "
                f"{transfer.end_byte - transfer.start_byte}",
                {"tensor": problem.buffers[transfer.buffer].name},
            )
    return moving
