"""Bytes of a buffer as pieces of its residencies, and what a compute unit makes of them."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from ullage.compiler.common.errors import VerificationError
from ullage.compiler.ir.plan import Plan, Residency

Extent = tuple[Residency, int, int]  # residency, low, high: bytes [low, high) of the buffer


def cover(
    candidates: Iterable[Residency], begin: int, end: int
) -> tuple[list[Extent], list[tuple[int, int]]]:
    """Bytes [begin, end) of a buffer, each from the first candidate that has it.

    Returns:
        pieces in byte order, and the ranges that no candidate has.
    """
    extents: list[Extent] = []
    missing = [(begin, end)]
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
    extents.sort(key=lambda piece: piece[1])
    return extents, missing


def shared_addresses(r: Residency, others: Iterable[Residency]) -> list[tuple[int, int]]:
    """Addresses [low, high) at which others hold the very bytes that `r` has there."""
    shift = r.offset - r.start_byte
    return [
        (shift + max(r.start_byte, other.start_byte), shift + min(r.end_byte, other.end_byte))
        for other in others
        if (other.buffer, other.tier, other.offset - other.start_byte) == (r.buffer, r.tier, shift)
        and max(r.start_byte, other.start_byte) < min(r.end_byte, other.end_byte)
    ]


def in_a_row(extents: Sequence[Extent]) -> bool:
    """Whether pieces in byte order lie in one tier, each where the one before it ends."""
    return all(
        a.tier == b.tier and a.offset - a.start_byte == b.offset - b.start_byte
        for (a, _, _), (b, _, _) in pairwise(extents)
    )


def refuse_impossible(plan: Plan, r: Residency) -> None:
    """A residency must be of bytes, steps and addresses that exist.

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
    """An operand must lie where the compute unit can use it.

    Raises:
        VerificationError: a piece is in a tier out of reach, or pieces are scattered on a target
            that takes whole operands only.
    """
    target, operand = plan.target, plan.problem.buffers[buffer]
    must_be_fastest = target.must_be_fastest(operand.kind)
    for r, _, _ in extents:
        out_of_reach = must_be_fastest or not target.tier(r.tier).addressable
        if r.tier != target.fastest.name and out_of_reach:
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
