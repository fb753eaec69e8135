"""The steps of a group, and the blocks that they are joined into."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.solvers.scheduling.cascade.coarse.pieces import Touch

# Blocks of a group of few stripes, over those of one of many.
FEW_STRIPES_DETAIL = 4
# Share of a group's compute time, over that of a block on average, from which on a block of whole
# stripes is divided: a first stripe may make nearly all of what the others need.
UNEVEN = 3.0


@dataclass(frozen=True)
class GroupSteps:
    """A group's steps: their cost, and by region what they touch."""

    compute_s: Floats
    overhead_s: float
    workspace_bytes: Floats
    touches: Mapping[int, Sequence[Touch]]
    accumulators: Sequence[tuple[int, Sequence[int]]]
    block_of: Ints  # (steps,) the block of each

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return int(self.block_of[-1]) + 1 if len(self.block_of) else 0

    @cached_property
    def block_list(self) -> list[int]:
        """The block of each step, for pieces of a few steps, of which there are very many."""
        return [int(block) for block in self.block_of]

    @cached_property
    def starts(self) -> list[int]:
        """The first step of each block, and the number of steps."""
        return [int(at) for at in np.searchsorted(self.block_of, np.arange(self.blocks + 1))]

    def inside(self, step: int, of_step: int | None = None) -> float:
        """Where in the block of a step (default the same) a step begins, from 0 to 1."""
        block = self.block_list[step if of_step is None else of_step]
        begin, end = self.starts[block], self.starts[block + 1]
        return (step - begin) / (end - begin)


def blocks_of(compute_s: Floats, round_of: Ints, detail: int) -> Ints:
    """(steps,) the block of each step.

    Many stripes are alike: some of them, whole, are a block. A few tall ones are not: what is alive
    differs from step to step, so only short steps side by side are joined.

    Args:
        compute_s: (steps,) compute time.
        round_of: (steps,) the stripe of each step, ascending from 0.
        detail: blocks of many stripes at most.
    """
    count = len(compute_s)
    rounds = int(round_of[-1]) + 1 if count else 0
    if rounds >= detail:
        return _evened(round_of * detail // rounds, compute_s, detail)
    most = FEW_STRIPES_DETAIL * detail
    if count <= most:
        return np.arange(count)
    weights = compute_s / (compute_s.sum() or 1.0) + 1.0 / count
    block = (weights.cumsum() - 0.5 * weights) * (most / 2.0)
    return np.unique(block.astype(np.int64), return_inverse=True)[1].astype(np.int64)


def _evened(block_of: Ints, compute_s: Floats, detail: int) -> Ints:
    """(steps,) blocks, those divided that take far longer than others.

    In a block all transfers may hide behind all computing, which is wrong where first one and then
    the other takes long.

    Args:
        block_of: (steps,) the block of each step, ascending from 0.
        compute_s: (steps,) compute time.
        detail: blocks at first.
    """
    each = float(compute_s.sum()) / detail
    if not each:
        return block_of
    shares = np.bincount(block_of, weights=compute_s) / each
    if shares.max() <= UNEVEN:
        return block_of
    ends = compute_s.cumsum()
    begins = np.concatenate([[0.0], ends])[np.searchsorted(block_of, block_of)]
    inside = ((ends - 0.5 * compute_s - begins) / each).astype(np.int64)
    inside = np.where(shares[block_of] > UNEVEN, inside, 0)
    number = block_of * (int(inside.max()) + 1) + inside
    return np.unique(number, return_inverse=True)[1].astype(np.int64)
