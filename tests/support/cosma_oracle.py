"""COSMA's problem by trying everything: orders, evictions, addresses. For up to 7 operators.

Dijkstra's search over what can be true between two operators: which have run, which buffers are in
fast memory (at which address), which have a copy off chip. Nothing is shared with `ilp`.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations, count
from random import Random

from tests.support.tiny import tiny_target
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP
from ullage.compiler.lowering.from_lists import Op, Tensor, TensorKind, problem_from_lists

State = tuple[int, tuple[tuple[int, int], ...], int]  # run, (buffer, address) inside, off chip


@dataclass(frozen=True)
class Operator:
    """What an operator reads and writes, by number of buffer, and its scratch bytes."""

    reads: frozenset[int]
    writes: frozenset[int]
    scratch: int


class CosmaOracle:
    """Optima of a problem on a target that wants operands in fast memory."""

    def __init__(self, problem: Problem, *, free_order: bool) -> None:
        target = problem.target
        self.sizes = [b.size_bytes for b in problem.buffers]
        given = {"input", "weight"}
        self.given = {i for i, b in enumerate(problem.buffers) if b.kind in given}
        self.stored = {i for i, b in enumerate(problem.buffers) if b.outputs} - self.given
        self.capacity = target.fastest.capacity_bytes
        kept = [i for i, b in enumerate(problem.buffers) if target.must_be_fastest(b.kind)]
        self.operators = [
            Operator(
                frozenset(u.buffer for u in s.uses if not u.write and u.buffer in kept),
                frozenset(u.buffer for u in s.uses if u.write),
                s.workspace_bytes,
            )
            for s in problem.steps
            if s.kind != DMA_STEP
        ]
        self.free_order = free_order
        self.all_run = (1 << len(self.operators)) - 1

    def traffic(self, *, addresses: bool, moves: bool = False) -> int | None:
        """Fewest non-compulsory bytes, None where operands do not fit.

        Args:
            addresses: buffers must have places, and keep them while they stay.
            moves: a buffer without a copy off chip may be spilled and retrieved between two
                operators, to another address; (1) of the ILP forbids that.
        """
        self.addresses, self.moves = addresses, moves
        start: State = (0, (), sum(1 << b for b in self.given))
        best: dict[State, int] = {start: 0}
        ticket = count()
        queue = [(0, next(ticket), start)]
        while queue:
            cost, _, state = heapq.heappop(queue)
            if cost > best[state]:
                continue
            if state[0] == self.all_run:
                return cost
            for after, extra in self._steps(state):
                if cost + extra < best.get(after, 1 << 60):
                    best[after] = cost + extra
                    heapq.heappush(queue, (cost + extra, next(ticket), after))
        return None

    def peak(self) -> int:
        """Smallest peak of live bytes (no scratch), buffers there from first to last use."""
        best = {0: 0}
        for run in range(self.all_run):
            if run not in best:
                continue
            for number in self._ready(run):
                before = {b for i in _bits(run) for b in self._used(i)}
                later = {
                    b
                    for i in range(len(self.operators))
                    if not run >> i & 1 and i != number
                    for b in self._used(i)
                }
                alive = self._used(number) | (before & later)
                load = sum(self.sizes[b] for b in alive)
                after = run | 1 << number
                best[after] = min(best.get(after, 1 << 60), max(best[run], load))
        return best[self.all_run]

    def _used(self, number: int) -> frozenset[int]:
        return self.operators[number].reads | self.operators[number].writes

    def _ready(self, run: int) -> Iterator[int]:
        for number, operator in enumerate(self.operators):
            if run >> number & 1:
                continue
            if not self.free_order:
                yield number
                return
            makers = [i for i, o in enumerate(self.operators) if o.writes & operator.reads]
            if all(run >> i & 1 for i in makers if i != number):
                yield number

    def _needs_copy(self, run: int, buffer: int) -> bool:
        """Whether what a buffer holds is read after the operators of `run`."""
        for number, operator in enumerate(self.operators):
            if not run >> number & 1 and buffer in self._used(number):
                return buffer in operator.reads or self.free_order
        return False

    def _has_uses(self, run: int, buffer: int) -> bool:
        left = (i for i in range(len(self.operators)) if not run >> i & 1)
        return any(buffer in self._used(i) for i in left)

    def _is_final(self, run: int, buffer: int) -> bool:
        left = (o for i, o in enumerate(self.operators) if not run >> i & 1)
        return buffer in self.stored and not any(buffer in o.writes for o in left)

    def _steps(self, state: State) -> Iterator[tuple[State, int]]:
        run, inside, off_chip = state
        for number in self._ready(run):
            operator = self.operators[number]
            room = self.capacity - operator.scratch
            wanted = tuple((b, low) for b, low in inside if self._has_uses(run, b))
            for kept in _subsets(wanted):  # what is dead leaves: that costs nothing
                staying = {b for b, _ in kept}
                cost, copies = 0, off_chip
                ok = True
                for b, _ in inside:
                    if b in staying or copies >> b & 1 or not self._needs_copy(run, b):
                        continue
                    if b in operator.reads and not (self.moves and self.addresses):
                        ok = False
                        break
                    cost += 0 if self._is_final(run, b) else self.sizes[b]
                    copies |= 1 << b
                coming = sorted(self._used(number) - staying)
                if not ok or any(not copies >> b & 1 for b in coming if b in operator.reads):
                    continue
                for b in coming:
                    seen = any(b in self._used(i) for i in _bits(run))
                    if b in operator.reads and (b not in self.given or seen):
                        cost += self.sizes[b]
                for b in operator.writes:
                    copies &= ~(1 << b)
                for here in self._places(kept, coming, room):
                    yield (run | 1 << number, here, copies), cost

    def _places(
        self, kept: tuple[tuple[int, int], ...], coming: Sequence[int], room: int
    ) -> Iterator[tuple[tuple[int, int], ...]]:
        if not self.addresses:
            everything = sorted((*kept, *((b, 0) for b in coming)))
            if sum(self.sizes[b] for b, _ in everything) <= room:
                yield tuple(everything)
            return
        if any(low + self.sizes[b] > room for b, low in kept):
            return
        if not coming:
            yield tuple(sorted(kept))
            return
        first, *rest = coming
        for low in range(room - self.sizes[first] + 1):
            high = low + self.sizes[first]
            if all(high <= at or at + self.sizes[b] <= low for b, at in kept):
                yield from self._places((*kept, (first, low)), rest, room)


def _bits(run: int) -> list[int]:
    return [i for i in range(run.bit_length()) if run >> i & 1]


def _subsets(items: tuple[tuple[int, int], ...]) -> Iterator[tuple[tuple[int, int], ...]]:
    return chain.from_iterable(combinations(items, n) for n in range(len(items) + 1))


def cosma_case(seed: int, most_operators: int, *, shares: bool) -> Problem:
    """A random program with fast memory between what its operators and what its peak need.

    Args:
        seed: of the case.
        most_operators: operators at most.
        shares: some results are written in place.
    """
    rng = Random(seed)
    target = replace(tiny_target(rng, fastest=True), weights_in_fastest=rng.random() < 0.3)
    tensors = [Tensor("x", rng.randint(1, 3), "input")]
    sizes = {"x": tensors[0].size_bytes}
    alive = ["x"]
    ops: list[Op] = []
    for i in range(rng.randint(2, most_operators)):
        reads = rng.sample(alive, min(len(alive), rng.choice((1, 1, 2, 2, 3))))
        if rng.random() < 0.25:
            weight = rng.choice([f"w{i}", *(t.name for t in tensors if t.kind == "weight")])
            if weight not in sizes:
                sizes[weight] = rng.randint(1, 2)
                tensors.append(Tensor(weight, sizes[weight], "weight"))
            reads.append(weight)
        made = [f"a{i}", f"b{i}"] if rng.random() < 0.15 else [f"a{i}"]
        source = reads[0]
        replaces = shares and source != "x" and rng.random() < 0.4
        for name in made:
            sizes[name] = sizes[source] if replaces and name == made[0] else rng.randint(1, 3)
            kind: TensorKind = "output" if rng.random() < 0.12 else "activation"
            tensors.append(Tensor(name, sizes[name], kind))
        ops.append(
            Op(
                f"op{i}",
                reads,
                made,
                workspace_bytes=rng.choice((0, 0, 0, 1, 2)),
                in_place={made[0]: source} if replaces else None,
            )
        )
        alive += made
    problem = problem_from_lists("random", tensors, ops, target)
    oracle = CosmaOracle(problem, free_order=False)
    least = max(
        sum(oracle.sizes[b] for b in o.reads | o.writes) + o.scratch for o in oracle.operators
    )
    capacity = rng.choice((least, least, rng.randint(least, max(least, oracle.peak()))))
    return problem.on(target.with_fast_memory(capacity))
