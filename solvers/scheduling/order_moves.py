"""The bytes that running an operator adds and frees after a set of others, for order searches."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ullage.solvers.scheduling.order_items import GIVEN, Items, Reuse, bits


@dataclass(frozen=True)
class OrderMoves:
    """An ordering problem over N operators, prepared for speed. Sets are bit masks.

    Attributes:
        count: N.
        before: (N,) direct predecessors.
        after: (N,) direct successors.
        needs_bytes: (N,) bytes written and workspace: what an operator adds while it runs.
        leaves_bytes: (N,) bytes written that somebody reads later or that are kept.
        frees: (N,) for each: (bytes, other readers): freed when all the others have run.
        sharers: (N,) sets: other readers of what an operator reads, which may free more after it.
        reuses: (N,) operands that may be overwritten.
        given_bytes: bytes that live before the first operator.
    """

    count: int
    before: tuple[int, ...]
    after: tuple[tuple[int, ...], ...]
    needs_bytes: tuple[int, ...]
    leaves_bytes: tuple[int, ...]
    frees: tuple[tuple[tuple[int, int], ...], ...]
    sharers: tuple[int, ...]
    reuses: tuple[tuple[Reuse, ...], ...]
    given_bytes: int

    @property
    def everything(self) -> int:
        """The set of all operators."""
        return (1 << self.count) - 1

    def growth_bytes(self, done: int, operator: int) -> int:
        """Live bytes after running an operator less those before; negative when it shrinks."""
        grown = self.leaves_bytes[operator]
        for size, others in self.frees[operator]:
            if not others & ~done:
                grown -= size
        return grown

    def extra_bytes(self, done: int, operator: int) -> int:
        """Live bytes while an operator runs, beyond those before."""
        saved = 0
        for reuse in self.reuses[operator]:
            if reuse.size_bytes > saved and not reuse.others & ~done:
                saved = reuse.size_bytes
        return self.needs_bytes[operator] - saved

    def ready_after(self, done: int, operator: int) -> int:
        """Operators that become ready by running one; `done` includes it."""
        ready = 0
        for follower in self.after[operator]:
            if not self.before[follower] & ~done:
                ready |= 1 << follower
        return ready

    def first_ready(self) -> int:
        """Operators that need no other."""
        return sum(1 << i for i, before in enumerate(self.before) if not before)

    def peak_bytes(self, order: Sequence[int]) -> int:
        """Largest sum of live bytes in an order."""
        live = peak = self.given_bytes
        done = 0
        for operator in order:
            peak = max(peak, live + self.extra_bytes(done, operator))
            live += self.growth_bytes(done, operator)
            done |= 1 << operator
        return peak


def moves_of(items: Items) -> OrderMoves:
    """Prepare an ordering problem."""
    count = len(items.operators)
    needs, leaves = list(items.scratch_bytes), [0] * count
    frees: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for item in items.items:
        if item.writer != GIVEN:
            needs[item.writer] += item.size_bytes
            if item.readers or item.kept:
                leaves[item.writer] += item.size_bytes
        if not item.kept:
            for reader in bits(item.readers):
                frees[reader].append((item.size_bytes, item.readers & ~(1 << reader)))
    after: list[list[int]] = [[] for _ in range(count)]
    for operator, before in enumerate(items.before):
        for earlier in bits(before):
            after[earlier].append(operator)
    return OrderMoves(
        count=count,
        before=items.before,
        after=tuple(map(tuple, after)),
        needs_bytes=tuple(needs),
        leaves_bytes=tuple(leaves),
        frees=tuple(map(tuple, frees)),
        sharers=tuple(_union(others for _, others in freed) for freed in frees),
        reuses=items.reuses,
        given_bytes=sum(i.size_bytes for i in items.items if i.writer == GIVEN),
    )


def _union(masks: Iterable[int]) -> int:
    result = 0
    for mask in masks:
        result |= mask
    return result
