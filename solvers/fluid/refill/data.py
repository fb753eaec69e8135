"""Where data beside weights lies in the middle tier, and which of it may lie in a slot for weights.

slot   | part | operators of an attention | part | part |
step   | read |  data of a few steps      | read | read |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ullage.compiler.common.arrays import Bools, Ints
from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.plan import Residency
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Tier
from ullage.solvers.fluid.refill.pieces import aligned
from ullage.solvers.packing.pack import pack


@dataclass(frozen=True)
class Blocks:
    """N buffers beside weights in the middle tier, each with all of its residencies there.

    Attributes:
        buffers: (N,) their indices.
        low: (N,) lowest address in the plan that they are from.
        sizes: (N,) bytes from there on.
        starts: (N,) first step in which they are there.
        ends: (N,) one past the last.
        steps: T.
    """

    buffers: Ints
    low: Ints
    sizes: Ints
    starts: Ints
    ends: Ints
    steps: int

    def load(self, chosen: Bools) -> int:
        """The largest sum of bytes at a time of some of them."""
        change = np.zeros(self.steps + 1, dtype=np.int64)
        np.add.at(change, self.starts[chosen], self.sizes[chosen])
        np.add.at(change, self.ends[chosen], -self.sizes[chosen])
        return int(change.cumsum().max(initial=0))

    def outside(self, busy: Bools) -> Bools:
        """(N,) which of them are there in no busy step (T,)."""
        count = np.concatenate([[0], np.cumsum(busy)])
        return np.asarray(count[self.ends] == count[self.starts])

    def placed(self, chosen: Bools, tier: Tier) -> tuple[dict[int, int], int]:
        """By buffer by how much its addresses change where some of them are packed; their peak."""
        if not chosen.any():
            return {}, 0
        packing = pack(
            self.starts[chosen],
            self.ends[chosen],
            self.sizes[chosen],
            alignment_bytes=tier.alignment_bytes,
        )
        moved = packing.offsets - self.low[chosen]
        shifts = dict(zip(self.buffers[chosen].tolist(), moved.tolist(), strict=True))
        return shifts, aligned(int(packing.peak_bytes), tier)


def blocks_of(problem: Problem, inner: Assignment, middle: Tier) -> Blocks:
    """The blocks of an assignment."""
    spans: dict[int, list[int]] = {}  # buffer -> lowest and highest address, first and last step
    for r in inner.residencies:
        if r.tier == middle.name and not problem.buffers[r.buffer].constant:
            top = r.offset + r.end_byte - r.start_byte
            low, high, start, end = spans.get(r.buffer, (r.offset, top, r.start, r.end))
            around = [min(low, r.offset), max(high, top), min(start, r.start), max(end, r.end)]
            spans[r.buffer] = around
    table = np.array(list(spans.values()), dtype=np.int64).reshape(-1, 4)
    return Blocks(
        np.array(list(spans), dtype=np.int64),
        table[:, 0],
        np.array(
            [aligned(size, middle) for size in (table[:, 1] - table[:, 0]).tolist()], dtype=np.int64
        ),
        table[:, 2],
        table[:, 3],
        len(problem.steps),
    )


def others(
    problem: Problem, inner: Assignment, middle: Tier, shifts: Mapping[int, int]
) -> list[Residency]:
    """All residencies but those of weights in the middle tier; data there at other addresses."""
    listed: Sequence[Residency] = [
        r
        for r in inner.residencies
        if r.tier != middle.name or not problem.buffers[r.buffer].constant
    ]
    return [
        replace(r, offset=r.offset + shifts[r.buffer]) if r.tier == middle.name else r
        for r in listed
    ]
