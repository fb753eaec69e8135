"""Is there an order whose peak stays within a budget? Search over sets of finished operators.

What lives after a set of operators depends on the set alone, and is submodular: an operator frees
the more, the more others have run. Let D be a set, E a larger one that is reached from D within
the budget, and let no set between them have fewer live bytes than E. Then whatever can follow D
can follow E: leave out of it what E contains; at every point no more is alive. So D may be
replaced by E. (Kayaaslan et al., "Scheduling series-parallel task graphs to minimize peak memory",
2018, prove such rules for trees and series-parallel graphs; submodularity gives them for all.)

Two cases are recognised: one operator after which no more is alive than before; and the smallest
set grown from one ready operator through operators that it makes ready, tried by size, so that
nothing between can be smaller yet.
"""

import time
from dataclasses import dataclass, field

from ullage.solvers.scheduling.order_items import bits
from ullage.solvers.scheduling.order_moves import OrderMoves

# Number of moves that are tried to find a set of operators that can be run at once.
LOCAL_MOVES = 24
# Number of states between two looks at the clock.
CLOCK_EVERY = 32


@dataclass
class Effort:
    """The work and time that searches may spend and have spent.

    Attributes:
        moves_left: moves (an operator tried after a set) that may still be evaluated.
        deadline: `time.monotonic()` value to stop at.
        states: sets of operators expanded so far.
    """

    moves_left: int
    deadline: float
    states: int = 0

    def is_spent(self) -> bool:
        """Whether a limit is reached."""
        return self.moves_left <= 0 or time.monotonic() > self.deadline


@dataclass(frozen=True, slots=True)
class SearchNode:
    """A set of finished operators and how it was reached.

    Attributes:
        done: the set.
        live: bytes alive after it.
        ready: operators that can run next.
        unfit: ready operators that shrink memory but do not fit yet.
        path: operators run since the parent.
        parent: the node before.
    """

    done: int
    live: int
    ready: int
    unfit: int
    path: tuple[int, ...]
    parent: "SearchNode | None"

    def order(self) -> list[int]:
        """Operators from the beginning."""
        parts: list[tuple[int, ...]] = []
        node: SearchNode | None = self
        while node is not None:
            parts.append(node.path)
            node = node.parent
        return [operator for part in reversed(parts) for operator in part]


@dataclass
class Probe:
    """A search for an order within a budget.

    Attributes:
        moves: the problem.
        budget: largest permitted sum of live bytes.
        effort: limits.
        exceeded: smallest sum above the budget that was met: when the search ends without an
            order, no order has a smaller peak.
        is_late: the deadline passed inside an expansion, which is incomplete.
        looks: how often it was asked whether it has.
    """

    moves: OrderMoves
    budget: int
    effort: Effort
    exceeded: float = field(default=float("inf"))
    is_late: bool = False
    looks: int = 0

    def start(self) -> SearchNode:
        """The node in which only operators that may run at once have run."""
        ready = self.moves.first_ready()
        return self._closed(SearchNode(0, self.moves.given_bytes, ready, 0, (), None), ready)

    def children(self, node: SearchNode) -> list[SearchNode]:
        """One node for each operator that fits, each with all that can be run at once after it."""
        children: list[SearchNode] = []
        for operator in bits(node.ready):
            if self._looks_late():
                break
            if self._fits(node.done, node.live, operator):
                children.append(self._after(node, operator))
        return children

    def _looks_late(self) -> bool:
        """Whether the deadline has passed, as last seen: the clock is looked at now and then."""
        self.looks += 1
        if not self.is_late and self.looks % CLOCK_EVERY == 0:
            self.is_late = time.monotonic() > self.effort.deadline
        return self.is_late

    def _fits(self, done: int, live: int, operator: int) -> bool:
        """Whether an operator runs within the budget after a set; counts the move."""
        self.effort.moves_left -= 1
        needed = live + self.moves.extra_bytes(done, operator)
        if needed <= self.budget:
            return True
        self.exceeded = min(self.exceeded, needed)
        return False

    def _after(self, node: SearchNode, operator: int) -> SearchNode:
        """The node after one more operator, and all that may run at once after it."""
        moves = self.moves
        done = node.done | 1 << operator
        fresh = moves.ready_after(done, operator)
        ready = node.ready & ~(1 << operator) | fresh
        live = node.live + moves.growth_bytes(node.done, operator)
        child = SearchNode(done, live, ready, node.unfit & ready, (operator,), node)
        return self._closed(child, fresh | moves.sharers[operator])

    def _closed(self, node: SearchNode, suspects: int) -> SearchNode:
        """The node after all operators that may run at once; `suspects` are candidates for that."""
        moves = self.moves
        done, live, ready, unfit = node.done, node.live, node.ready, node.unfit
        path = list(node.path)
        suspects = (suspects | unfit) & ready
        rooted = 0  # operators from which a larger set is to be tried
        while (suspects or rooted) and not self._looks_late():
            if not suspects:
                root = (rooted & -rooted).bit_length() - 1
                rooted &= rooted - 1
                batch = self._valley(done, live, root)
            else:
                first = suspects & -suspects
                operator = first.bit_length() - 1
                suspects ^= first
                batch = ()
                if moves.growth_bytes(done, operator) > 0:
                    rooted |= first
                elif self._fits(done, live, operator):
                    batch = (operator,)
                else:
                    unfit |= first
            for operator in batch:
                live += moves.growth_bytes(done, operator)
                done |= 1 << operator
                fresh = moves.ready_after(done, operator)
                ready = ready & ~(1 << operator) | fresh
                suspects |= fresh | moves.sharers[operator]
                path.append(operator)
            if batch:
                suspects = (suspects | unfit) & ready
                unfit, rooted = 0, rooted & ready & ~suspects
        return SearchNode(done, live, ready, unfit, tuple(path), node.parent)

    def _valley(self, done: int, live: int, root: int) -> tuple[int, ...]:
        """The shortest path from a root, through operators that it readies, that does not grow."""
        moves, tried = self.moves, 0
        if not self._fits(done, live, root):
            return ()
        after = done | 1 << root
        grown = live + moves.growth_bytes(done, root)
        level: dict[int, tuple[int, int, tuple[int, ...]]] = {
            after: (grown, moves.ready_after(after, root), (root,))
        }
        while level:
            following: dict[int, tuple[int, int, tuple[int, ...]]] = {}
            for reached, (alive, ready, path) in level.items():
                for operator in bits(ready):
                    tried += 1
                    if tried > LOCAL_MOVES:
                        return ()
                    longer = reached | 1 << operator
                    if longer in following or not self._fits(reached, alive, operator):
                        continue
                    then = alive + moves.growth_bytes(reached, operator)
                    if then <= live:
                        return (*path, operator)
                    fresh = moves.ready_after(longer, operator)
                    following[longer] = (then, ready & ~(1 << operator) | fresh, (*path, operator))
            level = following
        return ()


def find_order(probe: Probe, states: int) -> tuple[list[int] | None, bool]:
    """An order within the budget, depth first, fewest live bytes first.

    Args:
        probe: the search, with its budget of bytes.
        states: how many sets to expand at most.

    Returns:
        The order, None where none was found; whether that is certain.
    """
    everything, effort = probe.moves.everything, probe.effort
    stack = [probe.start()]
    seen = {stack[0].done}
    for count in range(states):
        if not stack:
            return None, True
        if count % CLOCK_EVERY == 0 and effort.is_spent():
            return None, False
        node = stack.pop()
        if node.done == everything:
            return node.order(), True
        effort.states += 1
        children = []
        for child in probe.children(node):
            if child.done == everything:
                return child.order(), True
            if child.done not in seen:
                seen.add(child.done)
                children.append(child)
        if probe.is_late:
            return None, False
        stack += sorted(children, key=lambda each: -each.live)
    return None, not stack


def beam_order(probe: Probe, width: int) -> list[int] | None:
    """An order within the budget, keeping the `width` sets with the fewest live bytes per size.

    Sets are taken by their number of operators. None where the beam finds no order.
    """
    everything, effort = probe.moves.everything, probe.effort
    start = probe.start()
    levels: dict[int, dict[int, SearchNode]] = {start.done.bit_count(): {start.done: start}}
    for size in range(probe.moves.count + 1):
        nodes = levels.pop(size, {})
        for node in sorted(nodes.values(), key=lambda each: each.live)[:width]:
            if node.done == everything:
                return node.order()
            if effort.is_spent():
                return None
            effort.states += 1
            for child in probe.children(node):
                levels.setdefault(child.done.bit_count(), {}).setdefault(child.done, child)
    return None
