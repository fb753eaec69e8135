"""A surrogate of an order's LP: its value in microseconds, so thousands of orders for one LP.

Gaps between uses are closed in the order of what they save per byte and step (Belady's rule, for
parts of tensors), as far as memory goes. What is not kept is read again, and what some reader lacks
is written, without delay. A step that would wait for the link uses idle time of the link in earlier
steps, as far as free memory can take data ahead. In-place results are ignored. Where a core loads
its operands itself (`compute.overlap` below 1), what a step reads or writes at home is added to its
computing, as if all of that were in place. Orders are ranked by it, never accepted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Floats, Ints
from ullage.compiler.common.kernel_cache import kernel
from ullage.hwmodels.cost import compute_seconds
from ullage.solvers.scheduling.joint_value import OrderingTask, problem_of
from ullage.solvers.scheduling.order_items import GIVEN, bits, order_items


@dataclass(frozen=True)
class OrderSurrogate:
    """N operators of the graph and K items (bytes with one writer), as arrays.

    Attributes:
        capacity_bytes: capacity of the fastest tier.
        compute_s: (N,) compute time, zero for objectives other than latency.
        fixed_s: (N,) time of what is read once, whatever the order.
        scratch_bytes: (N,) workspace.
        first: (K + 1,) where an item's operators begin in `users`.
        users: writer (if any) and readers of each item.
        size_bytes: (K,) bytes of each item.
        read_s: (K,) seconds of reading it from its home.
        write_s: (K,) seconds of writing it there.
        written: (K,) whether the first of its users writes it.
        kept: (K,) whether it must be at home in the end.
        exposed: portion of the time at home in which operators cannot compute.
    """

    capacity_bytes: int
    compute_s: Floats
    fixed_s: Floats
    scratch_bytes: Floats
    first: Ints
    users: Ints
    size_bytes: Floats
    read_s: Floats
    write_s: Floats
    written: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    exposed: float = 0.0

    def value(self, order: Sequence[int]) -> float:
        """Seconds of an order; for objectives other than latency, seconds of slow traffic alone."""
        steps, items = len(order), len(self.size_bytes)
        place = np.empty(steps, dtype=np.int64)
        place[np.asarray(order, dtype=np.int64)] = np.arange(steps)
        item = np.repeat(np.arange(items), np.diff(self.first))
        at = np.sort(item * steps + place[self.users]) - item * steps  # ascending in each item
        heads = self.first[:-1]
        busy = np.empty(steps)
        busy[place] = self.fixed_s
        given = ~self.written
        np.add.at(busy, at[heads[given]], self.read_s[given])
        later = np.ones(len(at), dtype=bool)
        later[heads] = False
        later = np.flatnonzero(later)
        item_of = item[later]
        begin, end = at[later - 1] + 1, at[later] + 1
        begin -= (later - 1 == heads[item_of]) & self.written[
            item_of
        ]  # a result is there as it is written
        worth = self.worth[item_of] / (end - begin)
        room = np.empty(steps)
        room[place] = self.capacity_bytes - self.scratch_bytes
        least = np.ones(items)
        by_worth = np.argsort(-worth, kind="stable")
        gaps = (item_of[by_worth], begin[by_worth], end[by_worth])
        _close(*gaps, self.size_bytes, self.read_s, room, busy, least)
        missing = np.where(self.kept, 1.0, 1.0 - least)[self.written]
        np.add.at(busy, at[heads[self.written]], missing * self.write_s[self.written])
        compute = np.empty(steps)
        compute[place] = self.compute_s
        compute += self.exposed * busy
        return float(_elapsed(compute, busy, np.maximum(room, 0.0) * self.ahead_s_per_byte))

    @cached_property
    def worth(self) -> Floats:
        """(K,) seconds that closing a gap saves per byte."""
        lonely = self.written & ~self.kept & (np.diff(self.first) == 2)
        return np.asarray((self.read_s + lonely * self.write_s) / self.size_bytes)

    @cached_property
    def ahead_s_per_byte(self) -> float:
        """Seconds of reading that a byte of free memory takes ahead."""
        return float((self.read_s / self.size_bytes).min(initial=1.0))


@dataclass(frozen=True)
class _Item:
    """Bytes with one writer and some readers, which become one entry of the arrays."""

    users: list[int]
    size_bytes: float
    read_s: float
    write_s: float
    written: bool
    kept: bool


def surrogate_of(task: OrderingTask) -> OrderSurrogate:
    """Prepare the surrogate of a task."""
    graph, target = task.graph, task.target
    count = len(graph.operators)
    compute, fixed, scratch = np.zeros(count), np.zeros(count), np.zeros(count)
    problem = problem_of(task, range(count))
    seconds = compute_seconds(problem)[0]
    for step, time_s in zip(problem.steps, seconds.tolist(), strict=True):
        if step.operator >= 0:
            scratch[step.operator] = step.workspace_bytes
            compute[step.operator] = time_s if task.objective == "latency" else 0.0
    items = [*_activations(task), *_weights(task, fixed)]
    items = [item for item in items if item.users and item.size_bytes]
    return OrderSurrogate(
        capacity_bytes=target.fastest.capacity_bytes,
        compute_s=compute,
        fixed_s=fixed,
        scratch_bytes=scratch,
        first=np.cumsum([0, *(len(item.users) for item in items)], dtype=np.int64),
        users=np.array([user for item in items for user in item.users], dtype=np.int64),
        size_bytes=np.array([item.size_bytes for item in items]),
        read_s=np.array([item.read_s for item in items]),
        write_s=np.array([item.write_s for item in items]),
        written=np.array([item.written for item in items], dtype=np.bool_),
        kept=np.array([item.kept for item in items], dtype=np.bool_),
        exposed=target.compute.exposed if task.objective == "latency" else 0.0,
    )


def _activations(task: OrderingTask) -> list[_Item]:
    """Inputs, activations and outputs."""
    items, _ = order_items(task.graph, task.aliases)
    home = task.target.home("activation")
    write = 0.0 if home.read_only else 1.0 / home.write_bytes_per_s
    activations: list[_Item] = []
    for item in items.items:
        written = item.writer != GIVEN
        users = [items.operators[item.writer]] if written else []
        users += [items.operators[number] for number in bits(item.readers)]
        size = float(item.size_bytes)
        times = (size / home.read_bytes_per_s, size * write)
        activations.append(_Item(users, size, *times, written, item.kept))
    return activations


def _weights(task: OrderingTask, fixed_s: Floats) -> list[_Item]:
    """Weights of several readers; the time of those of one reader is added to the reader's."""
    graph, home = task.graph, task.target.home("weight")
    readers: dict[str, list[int]] = {}
    for index, operator in enumerate(graph.operators):
        for name in operator.inputs:
            if graph.values[name].kind == "weight":
                readers.setdefault(name, []).append(index)
    items: list[_Item] = []
    for name, users in readers.items():
        size = float(graph.values[name].size_bytes)
        if len(users) > 1:
            items.append(_Item(users, size, size / home.read_bytes_per_s, 0.0, False, False))
        else:
            accessed = dict(graph.operators[users[0]].accessed_bytes).get(name, size)
            fixed_s[users[0]] += accessed / home.read_bytes_per_s
    return items


def _close_gaps(
    items: Ints,
    begins: Ints,
    ends: Ints,
    size_bytes: Floats,
    read_s: Floats,
    room: Floats,
    busy: Floats,
    least: Floats,
) -> None:
    """Close gaps in their order as far as there is room; changes `room`, `busy` and `least`."""
    for gap in range(len(items)):
        item, begin, end = items[gap], begins[gap], ends[gap]
        free = room[begin]
        for step in range(begin + 1, end):
            if free <= 0.0:
                break
            free = min(free, room[step])
        share = min(1.0, max(0.0, free) / size_bytes[item])
        least[item] = min(least[item], share)
        busy[end - 1] += (1.0 - share) * read_s[item]
        if share > 0.0:
            for step in range(begin, end):
                room[step] -= share * size_bytes[item]


def _elapsed_s(compute: Floats, busy: Floats, most_ahead: Floats) -> float:
    """Seconds of all steps, where idle time of the link helps later steps."""
    total, ahead = 0.0, 0.0
    for step in range(len(compute)):
        wait = max(0.0, busy[step] - compute[step])
        taken = min(wait, ahead)
        total += compute[step] + wait - taken
        ahead = min(ahead - taken + max(0.0, compute[step] - busy[step]), most_ahead[step])
    return total


_close, _elapsed = kernel()(_close_gaps), kernel()(_elapsed_s)
