"""What must be in fast memory at an event, or be loaded or made again after it.

When the last element of a set P is made, all of P's results are there. What must follow may read
some of them, beside weights. Each such byte is held at that moment, loaded later, or made again,
which takes work, operands and weights; these in turn are held, loaded or made again:

    squeeze and excite    a -> mean -> b -> c -> gate -> a * gate
    last element of b     all of a is there, all of a * gate follows: a is held, or loaded,
                          or made again from what it was made of, with its weights

The cheapest choice is a small linear program: the least time for which fast memory, port and
compute unit suffice. A share f of a result needs at least the share k f of an operand, where k is 1
for rows that stay rows, and less where several elements use the same one.
"""

from collections.abc import Mapping, Sequence
from math import inf, prod

from ullage.solvers.bounds.cones import Cone
from ullage.solvers.bounds.cuts import Setting, Tail, span_of
from ullage.solvers.bounds.network import Load, Network, Node
from ullage.solvers.bounds.operands import Axis, View
from ullage.solvers.bounds.relations import Relation
from ullage.solvers.lp.program import LinearProgram, safe_bound
from ullage.solvers.lp.solve import solve_lp

# Values that may be made again; what others are made of is free.
MOST_VALUES = 12
# Bytes that would take less than this share of what follows anyway are not looked at.
WORTH = 1e-4


# By what a linear program of this room is made of, its answer in seconds.
Solved = dict[tuple[object, ...], float]


def tail_of(
    setting: Setting, cone: Cone, plain_s: float, solved: Solved, *, whole_reductions: bool
) -> Tail:
    """What follows an event, with results of other operators that it reads.

    Args:
        setting: the graph.
        cone: what must follow.
        plain_s: seconds of it, weights alone considered.
        solved: linear programs of the same setting so far; many are the same. Changed.
        whole_reductions: products are finished in one step.
    """
    needed = _needed(setting, cone, whole_reductions=whole_reductions)
    if sum(needed.values()) * setting.rates.load_s.max() <= WORTH * plain_s:
        return Tail(plain_s, plain_s, frozenset())
    arrays = (cone.work.tobytes(), cone.loads.tobytes(), cone.outputs.tobytes())
    key = (*arrays, frozenset(cone.boxes), tuple(needed.items()))
    if key not in solved:
        solved[key] = _least_time(setting, cone, needed)
    held_s = max(plain_s, solved[key])
    makers = frozenset(setting.network.maker[value] for value in needed)
    return Tail(plain_s, held_s, makers)


def least_of(tails: Sequence[Tail]) -> Tail:
    """What follows an element of an operator, whichever of its results it is of."""
    if not tails:
        return Tail(0.0, 0.0)
    return Tail(
        min(tail.seconds for tail in tails),
        min(tail.held_seconds for tail in tails),
        frozenset().union(*(tail.makers for tail in tails)),
    )


def _needed(setting: Setting, cone: Cone, *, whole_reductions: bool) -> dict[int, float]:
    """By value the bytes that what follows reads of results made before, for sure."""
    network, found = setting.network, dict[int, float]()
    for node in network.nodes:
        for result in node.results:
            boxes = cone.boxes.get(result.value, ())
            all_at_once = result.at_once or (whole_reductions and node.is_product)
            for operand in result.operands if boxes else ():
                if not (all_at_once or operand.at_end):
                    continue
                root = _root(network, operand.value)
                if root is None or root in cone.boxes or operand.value in cone.boxes:
                    continue
                if root not in setting.live.full or operand.value not in setting.live.full:
                    continue
                value = network.values[root]
                size = max(1, prod(value.shape))
                for box in boxes:
                    used = operand.preceding(tuple(run.length for run in box))
                    if used is not None:
                        amount = value.size_bytes * prod(used) / size
                        found[root] = max(found.get(root, 0.0), amount)
    return found


def _root(network: Network, value: int) -> int | None:
    """The value whose bytes a view shows; None where they lie in several, or in none that is made.

    The start of the cone itself is never one that was made before it.
    """
    while (maker := network.maker[value]) >= 0:
        node = network.nodes[maker]
        if not node.is_free:
            return value
        operands = node.results[0].operands
        if len(node.results) != 1 or len(operands) != 1 or not isinstance(operands[0], View):
            return None
        value = operands[0].value
    return None


class _Choice:
    """The linear program of one event."""

    def __init__(self, setting: Setting, cone: Cone, longest_s: float) -> None:
        self.setting, self.cone = setting, cone
        self.program = LinearProgram()
        self.time = self.program.add_variable(0.0, longest_s)
        self.program.add_cost(self.time, 1.0)
        self.held: dict[int, float] = {}
        self.moved: dict[int, float] = {}
        self.again: dict[int, float] = {}
        self.made: dict[int, tuple[int, int, int]] = {}
        self.given: dict[int, tuple[int, int]] = {}

    def present(self, size_bytes: float) -> tuple[int, int]:
        """Variables for bytes that are held, or loaded."""
        held = self.program.add_variable(0.0, size_bytes)
        moved = self.program.add_variable(0.0, size_bytes)
        self.held[held] = self.moved[moved] = 1.0
        return held, moved

    def value(self, number: int) -> tuple[int, int, int] | None:
        """Variables for bytes of a value that are held, loaded or made again; None if free."""
        if number not in self.made:
            if len(self.made) == MOST_VALUES:
                return None
            size = float(self.setting.network.values[number].size_bytes)
            again = self.program.add_variable(0.0, size)
            self.made[number] = (*self.present(size), again)
            self._make(number, again, size)
        return self.made[number]

    def _make(self, number: int, again: int, size_bytes: float) -> None:
        """What it takes to make bytes of a value again."""
        network = self.setting.network
        maker = network.maker[number]
        node = network.nodes[maker]
        self.again[again] = float(self.setting.seconds[maker]) / size_bytes
        result = node.results[0]
        if result.value != number:
            return
        for operand in result.operands:
            root = _root(network, operand.value)
            if root is None or root in self.cone.boxes:
                continue
            share = 1.0 if isinstance(operand, View) else _share(operand.axes)
            needed = share * network.values[root].size_bytes / size_bytes
            parts = self.value(root)
            if parts is not None and needed > 0:
                self._at_least(0.0, {**dict.fromkeys(parts, 1.0), again: -needed})
        self._weights(node, maker, again, size_bytes)

    def _weights(self, node: Node, maker: int, again: int, size_bytes: float) -> None:
        first = self.setting.layout.first_load[maker]
        for place, load in enumerate(node.results[0].loads, first):
            if load.axes is None or not self.setting.fetched[place]:
                continue
            if any(
                self.cone.loads[at] > 0
                for at, value in enumerate(self.setting.layout.values)
                if value == load.value
            ):
                continue  # part of what follows, where it counts already
            needed = min(load.bytes, _share(load.axes) * self._size(load)) / size_bytes
            if needed > 0:
                if load.value not in self.given:
                    self.given[load.value] = self.present(self._size(load))
                parts = self.given[load.value]
                self._at_least(0.0, {**dict.fromkeys(parts, 1.0), again: -needed})

    def _size(self, load: Load) -> float:
        return float(self.setting.network.values[load.value].size_bytes)

    def _at_least(self, low: float, entries: Mapping[int, float]) -> None:
        self.program.add_row(low, inf, entries)

    def solved(self, weights_bytes: float, needed: Mapping[int, float]) -> float:
        """Least seconds, proven; 0 where the solver found none."""
        setting, rates = self.setting, self.setting.rates
        parts = self.present(weights_bytes)
        self._at_least(weights_bytes, dict.fromkeys(parts, 1.0))
        for number, size_bytes in needed.items():
            choice = self.value(number)
            if choice is not None:
                self._at_least(size_bytes, dict.fromkeys(choice, 1.0))
        self.program.add_row(-inf, rates.held_bytes, self.held)
        stored = float((self.cone.outputs * setting.stored).sum())
        for load_s, store_s in zip(rates.load_s.tolist(), rates.store_s.tolist(), strict=True):
            entries = dict.fromkeys(self.moved, -load_s)
            self._at_least(store_s * stored, {self.time: 1.0, **entries})
        work = float((self.cone.work * setting.seconds).sum())
        entries = {again: -seconds for again, seconds in self.again.items()}
        self._at_least(work, {self.time: 1.0, **entries})
        frozen = self.program.frozen()
        solution = solve_lp(frozen)
        return 0.0 if solution is None else max(0.0, safe_bound(frozen, solution.duals))


def _least_time(setting: Setting, cone: Cone, needed: Mapping[int, float]) -> float:
    loaded = setting.loaded_bytes(cone.loads)
    stored = float((cone.outputs * setting.stored).sum())
    work = float((cone.work * setting.seconds).sum())
    total = loaded + sum(needed.values())
    longest_s = 2.0 * span_of(setting, work, total, stored, 0.0, held=False) + 1.0
    steps = float(((cone.work > 0) * setting.steps).sum())
    choice = _Choice(setting, cone, longest_s)
    return choice.solved(loaded, needed) + steps * setting.rates.overhead_s


def _share(axes: tuple[Axis, ...]) -> float:
    """The share of an operand that a share of 1 of the result needs, and less of it in proportion.

    Along each axis, elements of the result have one of the operand each, that no more than a few
    share; or each needs so many at least.
    """
    share = 1.0
    for axis in axes:
        if axis.relation is not None:
            share *= _along(axis.relation)
    return min(1.0, share)


def _along(relation: Relation) -> float:
    if relation.is_plain:
        return 1.0
    single = relation.used(1)
    if not single:
        return 0.0
    sharing = relation.most_sharing
    return min(1.0, max(relation.outputs / (relation.inputs * sharing), single / relation.inputs))
