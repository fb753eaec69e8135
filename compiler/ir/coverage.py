"""Which residencies hold the bytes of a buffer, and whether a compute unit can use them there.

An extent is a range of a buffer's bytes together with the residency that holds it. An operand that
is partly in one tier and partly in another has several:

    byte of the buffer     0          512             1024
    residency A in sram    |==========|
    residency B in dram    |==========================|

    cover([A, B], 0, 1024) == ([(A, 0, 512), (B, 512, 1024)], [])
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from ullage.compiler.common.errors import VerificationError
from ullage.compiler.ir.plan import Plan, Residency

# (residency, low, high): the residency holds the bytes [low, high) of its buffer.
Extent = tuple[Residency, int, int]


def cover(
    candidates: Iterable[Residency], begin: int, end: int
) -> tuple[list[Extent], list[tuple[int, int]]]:
    """Bytes [begin, end) of a buffer, each from the first candidate that has it.

    Args:
        candidates: residencies of that buffer, the preferred ones first.
        begin: first byte.
        end: one past the last byte.

    Returns:
        The extents in byte order, and the ranges [low, high) that no candidate has.
    """
    extents: list[Extent] = []
    missing = [(begin, end)] if begin < end else []  # no bytes are nowhere
    for r in candidates:
        rest: list[tuple[int, int]] = []
        for low, high in missing:
            a, b = max(low, r.start_byte), min(high, r.end_byte)
            if a >= b:
                rest.append((low, high))
                continue
            extents.append((r, a, b))
            rest += [(x, y) for x, y in ((low, a), (b, high)) if x < y]
        missing = rest
    extents.sort(key=lambda extent: extent[1])
    return extents, missing


def shared_addresses(r: Residency, others: Iterable[Residency]) -> list[tuple[int, int]]:
    """Addresses [low, high) of `r` at which other residencies hold the same bytes of its buffer."""
    shift = r.offset - r.start_byte
    return [
        (shift + max(r.start_byte, other.start_byte), shift + min(r.end_byte, other.end_byte))
        for other in others
        if (other.buffer, other.tier, other.offset - other.start_byte) == (r.buffer, r.tier, shift)
        and max(r.start_byte, other.start_byte) < min(r.end_byte, other.end_byte)
    ]


def in_a_row(extents: Sequence[Extent]) -> bool:
    """Whether extents, in byte order, are contiguous in one tier: each begins where one ends."""
    return all(
        a.tier == b.tier and a.offset - a.start_byte == b.offset - b.start_byte
        for (a, _, _), (b, _, _) in pairwise(extents)
    )


def refuse_impossible(plan: Plan, r: Residency) -> None:
    """Check that a residency is of bytes, steps and addresses that exist.

    Raises:
        VerificationError: it is not.
    """
    steps, buffers = len(plan.problem.steps), plan.problem.buffers
    if (
        not 0 <= r.buffer < len(buffers)
        or not 0 <= r.start_byte < r.end_byte <= buffers[r.buffer].size_bytes
        or not 0 <= r.start < r.end <= steps
        or r.ready < r.start
        or r.offset < 0
    ):
        raise VerificationError(f"impossible residency among {steps} steps: {r}")


def refuse_out_of_reach(
    plan: Plan, buffer: int, extents: Sequence[Extent], step: int, what: str
) -> None:
    """Check that an operand lies where the compute unit can use it.

    Args:
        plan: the plan.
        buffer: index of the buffer.
        extents: where the operand's bytes lie, in byte order.
        step: the step, for the message.
        what: what uses the operand, for the message.

    Raises:
        VerificationError: an extent is in a tier out of reach, or extents are scattered on a target
            that takes whole operands only.
    """
    target, operand = plan.target, plan.problem.buffers[buffer]
    for r, low, high in extents:
        look_up = any(
            use.look_up and use.start_byte <= low and high <= use.end_byte
            for use in plan.problem.steps[step].uses
            if use.buffer == buffer and not use.write
        )
        if not target.reaches(r.tier, operand.kind, look_up=look_up):
            raise VerificationError(
                f"step {step}, {what}: {operand.name!r} is in {r.tier}, where the compute unit "
                f"cannot reach it; it can in {target.fastest.name}",
                {"step": step, "tensor": operand.name, "tier": r.tier},
            )
    if not target.split_operands and not in_a_row(extents):
        raise VerificationError(
            f"step {step}, {what}: {operand.name!r} is scattered over {len(extents)} places, and "
            "the target takes whole operands only",
            {"step": step, "tensor": operand.name},
        )
