"""The baselines of COSMA's evaluation: an online allocator and a replacement policy.

Operator by operator: operands that are not in fast memory are placed, the largest first, each in
the smallest hole that takes it (one linear memory). While there is none, the policy sends away a
tensor that the operator does not use: with `belady` the one whose next use is farthest, with
`least-bytes` the one that costs the fewest bytes to send away and bring back. When only operands
are left and their places leave no hole, they are laid out anew, and those that move are paid for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP

NEVER = 1 << 40


@dataclass
class Memory:
    """Fast memory between two operators.

    Attributes:
        problem: the program; its target gives the capacity and says whether weights are tensors.
        inside: address of each buffer that is there.
        at_home: buffers with a current copy off chip.
        loaded: inputs and weights that were loaded once.
        moved_bytes: non-compulsory bytes so far.
    """

    problem: Problem
    inside: dict[int, int] = field(default_factory=dict)
    at_home: set[int] = field(default_factory=set)
    loaded: set[int] = field(default_factory=set)
    moved_bytes: int = 0

    def __post_init__(self) -> None:
        unit = self.problem.target.fastest.alignment_bytes
        sizes = [b.size_bytes for b in self.problem.buffers]
        self.sizes = sizes
        self.rooms = [-(-size // unit) * unit for size in sizes]
        self.given = {
            i for i, b in enumerate(self.problem.buffers) if b.kind in ("input", "weight")
        }
        self.at_home |= self.given
        self.uses: list[list[tuple[int, bool]]] = [[] for _ in sizes]
        for t, step in enumerate(self.problem.steps):
            reads = {u.buffer for u in step.uses if not u.write}
            for buffer in sorted({u.buffer for u in step.uses}):
                if self.problem.target.must_be_fastest(self.problem.buffers[buffer].kind):
                    self.uses[buffer].append((t, buffer in reads))

    def next_use(self, buffer: int, t: int) -> int:
        """First step from t on that uses a buffer."""
        return next((step for step, _ in self.uses[buffer] if step >= t), NEVER)

    def is_read_next(self, buffer: int, t: int) -> bool:
        """Whether the next use from t on needs what the buffer holds."""
        return next((reads for step, reads in self.uses[buffer] if step >= t), False)

    def eviction_bytes(self, buffer: int, t: int) -> int:
        """What sending a buffer away before step t costs, now and later."""
        if not self.is_read_next(buffer, t):
            return 0
        return self.sizes[buffer] * (1 if buffer in self.at_home else 2)

    def evict(self, buffer: int, t: int) -> None:
        """Send a buffer away before step t."""
        del self.inside[buffer]
        if buffer not in self.at_home and self.is_read_next(buffer, t):
            is_output = bool(self.problem.buffers[buffer].outputs)
            self.moved_bytes += 0 if is_output else self.sizes[buffer]
            self.at_home.add(buffer)

    def place(self, buffer: int) -> bool:
        """Put a buffer into the smallest hole that takes it; whether there was one."""
        best: tuple[int, int] | None = None
        low = 0
        taken = sorted((at, at + self.rooms[b]) for b, at in self.inside.items())
        for start, end in [*taken, (self.problem.target.fastest.capacity_bytes, NEVER)]:
            if start - low >= self.rooms[buffer] and (best is None or start - low < best[0]):
                best = (start - low, low)
            low = max(low, end)
        if best is not None:
            self.inside[buffer] = best[1]
        return best is not None

    def fetch(self, buffer: int, t: int) -> None:
        """Pay for a buffer that was just placed, where step t reads it."""
        if not self.is_read_next(buffer, t):
            return
        if buffer in self.given and buffer not in self.loaded:
            self.loaded.add(buffer)
        else:
            self.moved_bytes += self.sizes[buffer]


Policy = Callable[[Memory, int, Sequence[int]], int]


def belady(memory: Memory, t: int, candidates: Sequence[int]) -> int:
    """The one used last from now on, the largest of these."""
    return max(candidates, key=lambda b: (memory.next_use(b, t), memory.sizes[b], -b))


def least_bytes(memory: Memory, t: int, candidates: Sequence[int]) -> int:
    """The one that moves the fewest bytes; among these the one used last."""
    return min(candidates, key=lambda b: (memory.eviction_bytes(b, t), -memory.next_use(b, t), b))


POLICIES: Mapping[str, Policy] = {"belady": belady, "least-bytes": least_bytes}


def baseline_bytes(problem: Problem, policy: str) -> int:
    """Non-compulsory bytes of a baseline.

    Raises:
        InfeasibleError: the operands of one operator do not fit.
    """
    memory = Memory(problem)
    for t, step in enumerate(problem.steps):
        if step.kind == DMA_STEP:
            continue
        for buffer in [b for b in memory.inside if memory.next_use(b, t) == NEVER]:
            del memory.inside[buffer]
        used = [b for b in range(len(memory.sizes)) if memory.next_use(b, t) == t]
        for buffer in sorted(set(used) - set(memory.inside), key=lambda b: -memory.rooms[b]):
            while not memory.place(buffer):
                others = [b for b in memory.inside if b not in used]
                if not others:
                    _lay_out(memory, used, buffer, t)
                    break
                memory.evict(POLICIES[policy](memory, t, others), t)
            memory.fetch(buffer, t)
        for buffer in {u.buffer for u in step.uses if u.write}:
            memory.at_home.discard(buffer)
    return memory.moved_bytes


def _lay_out(memory: Memory, used: Sequence[int], extra: int, t: int) -> None:
    """Place an operator's operands from the bottom up; pay for those that leave their place."""
    before = dict(memory.inside)
    here = sorted({b for b in used if b in before}, key=lambda b: before[b])
    low = 0
    for buffer in [*here, extra]:
        if buffer != extra and before[buffer] != low:
            memory.evict(buffer, t)
            memory.fetch(buffer, t)
        memory.inside[buffer] = low
        low += memory.rooms[buffer]
    if low > memory.problem.target.fastest.capacity_bytes:
        raise InfeasibleError(f"operands of {memory.problem.steps[t].name} take {low} bytes")
