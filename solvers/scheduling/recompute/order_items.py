"""What an order reads and writes, for the bound over all of its schedules with repetitions.

An item is a result or something given (a weight, an input). Its size is what each of its readers
reads at least, so that no plan moves or keeps less of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Floats
from ullage.compiler.ir.graph import BufferKind, Graph
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.schedule import Schedule
from ullage.compiler.lowering.aliases import AliasOptions
from ullage.compiler.lowering.parts import resolve
from ullage.hwmodels.cost import compute_seconds, overhead_seconds
from ullage.solvers.scheduling.recompute.copies import may_run_again

# Ways of sharing bytes in which an operand is not dead behind the operator.
STANDING = frozenset({"concat", "split", "view"})
# Share of fast memory below which an item is small.
SMALL_SHARE = 1e-4


@dataclass(frozen=True)
class Item:
    """A result, or something given, with the places of the order at which it is used.

    Attributes:
        name: the value.
        size_bytes: what any of its readers reads at least; of a result that nobody reads, all.
        held_bytes: what a whole one takes of fast memory at least; 0 where it may lie in the bytes
            of others.
        made_at: the place at which it is written first; -1: given.
        readers: the places at which it is read, ascending.
        is_output: whether it must be at home at the end.
    """

    name: str
    size_bytes: float
    held_bytes: float
    made_at: int
    readers: tuple[int, ...]
    is_output: bool


@dataclass(frozen=True)
class OrderItems:
    """An order of T operators, those that only arrange bytes left out.

    Attributes:
        operators: (T,) indices of the operators.
        seconds: (T,) compute time and overhead of each.
        scratch_bytes: (T,) workspace.
        again: (T,) whether it may run again.
        overwrites: (T,) whether its results may take over the bytes of operands that die there.
        reads: (T,) items that it reads.
        writes: (T,) items that it writes.
        items: the items.
        capacity_bytes: capacity of fast memory.
        read_s_per_byte: of the port of slow memory.
        write_s_per_byte: of it, too.
    """

    operators: tuple[int, ...]
    seconds: Floats
    scratch_bytes: Floats
    again: NDArray[np.bool_]
    overwrites: NDArray[np.bool_]
    reads: tuple[tuple[int, ...], ...]
    writes: tuple[tuple[int, ...], ...]
    items: tuple[Item, ...]
    capacity_bytes: float
    read_s_per_byte: float
    write_s_per_byte: float

    def are_large(self) -> NDArray[np.bool_]:
        """(items,) whether an item is so large that where it is counts."""
        least = SMALL_SHARE * self.capacity_bytes
        return np.array([item.size_bytes >= least for item in self.items], dtype=bool)

    def live_bytes(self) -> Floats:
        """(T,) bytes of results that were made and will be read, or are outputs."""
        change = np.zeros(len(self.operators) + 1)
        for item in self.items:
            if item.made_at < 0:
                continue
            last = len(self.operators) - 1 if item.is_output else max(item.readers, default=-1)
            change[item.made_at] += item.held_bytes
            change[max(last, item.made_at) + 1] -= item.held_bytes
        return np.asarray(np.cumsum(change)[:-1])


def why_no_items(problem: Problem) -> str:
    """Why an order's schedules with repetitions have no bound; empty where they have one.

    Args:
        problem: the operators in some schedule on the target.
    """
    target = problem.target
    if problem.objective != "latency" or problem.latency_limit_s is not None:
        return "it is proven for latency"
    if problem.blend is not None:
        return "it is proven for latency alone, not for a blend of objectives"
    if problem.steady_state:
        return "it is proven for one inference, not for steady state"
    if len(target.tiers) != 2:
        return f"it is proven for two memories, not for {len(target.tiers)}"
    kinds: tuple[BufferKind, ...] = ("input", "weight", "activation", "output")
    if any(target.home(kind).name == target.fastest.name for kind in kinds):
        return f"it is proven where nothing has its home in {target.fastest.name}"
    return ""


def order_items(
    graph: Graph, order: tuple[int, ...], aliases: AliasOptions, whole: Problem
) -> OrderItems | None:
    """The items of an order; None where a value is written in parts by several operators.

    Args:
        graph: the graph.
        order: operator indices.
        aliases: what may share bytes.
        whole: the operators in that order, each run whole and once.
    """
    operators = [graph.operators[i] for i in order]
    if any(s.written_bytes is not None for o in operators for s in o.sharings) or graph.states:
        return None
    lowered = resolve(graph, Schedule.whole(order), replace(aliases, in_place=False))
    times = _seconds_of(whole)
    names: dict[str, int] = {}
    made: dict[str, int] = {}
    read_bytes: dict[str, list[int]] = {}
    readers: dict[str, list[int]] = {}
    shared: set[str] = set()
    kept: list[int] = []
    reads: list[tuple[int, ...]] = []
    writes: list[tuple[int, ...]] = []
    for index, accesses in zip(order, lowered.accesses, strict=True):
        if accesses is None or not accesses.writes:
            continue
        place = len(kept)
        kept.append(index)
        amounts: dict[str, int] = {}
        for access in accesses.reads:
            amounts[access.leaf] = amounts.get(access.leaf, 0) + access.range.accessed_bytes
        for leaf, amount in amounts.items():
            read_bytes.setdefault(leaf, []).append(amount)
            readers.setdefault(leaf, []).append(place)
        written = dict.fromkeys(access.leaf for access in accesses.writes)
        for leaf in written:
            if leaf in made:
                return None
            made[leaf] = place
            if any(s.kind in STANDING for s in graph.operators[index].sharings):
                shared.add(leaf)
        reads.append(tuple(names.setdefault(leaf, len(names)) for leaf in amounts))
        writes.append(tuple(names.setdefault(leaf, len(names)) for leaf in written))
    outputs = {
        leaf
        for name in graph.outputs
        for leaf, _ in lowered.leaves.of(name, tuple((0, n) for n in graph.values[name].shape))
    }
    items = tuple(
        _item(graph, leaf, made, readers, read_bytes, is_shared=leaf in shared, outputs=outputs)
        for leaf in names
    )
    home = whole.target.home("activation")
    operators = [graph.operators[i] for i in kept]
    return OrderItems(
        operators=tuple(kept),
        seconds=np.array([times.get(i, 0.0) for i in kept]),
        scratch_bytes=np.array([o.workspace_bytes for o in operators], dtype=np.float64),
        again=np.array([may_run_again(graph, i) for i in kept], dtype=bool),
        overwrites=np.array([any(s.kind == "in_place" for s in o.sharings) for o in operators]),
        reads=tuple(reads),
        writes=tuple(writes),
        items=items,
        capacity_bytes=float(whole.target.fastest.capacity_bytes),
        read_s_per_byte=1.0 / home.read_bytes_per_s,
        write_s_per_byte=0.0 if home.read_only else 1.0 / home.write_bytes_per_s,
    )


def _item(
    graph: Graph,
    leaf: str,
    made: Mapping[str, int],
    readers: Mapping[str, list[int]],
    read_bytes: Mapping[str, list[int]],
    *,
    is_shared: bool,
    outputs: set[str],
) -> Item:
    whole = graph.values[leaf].size_bytes
    size = float(min([whole, *read_bytes.get(leaf, ())]))
    return Item(
        name=leaf,
        size_bytes=size,
        held_bytes=0.0 if is_shared else size,
        made_at=made.get(leaf, -1),
        readers=tuple(readers.get(leaf, ())),
        is_output=leaf in outputs,
    )


def _seconds_of(whole: Problem) -> dict[int, float]:
    """By operator its compute time and overhead."""
    times = compute_seconds(whole)[0] + overhead_seconds(whole)
    return {
        step.operator: float(seconds)
        for step, seconds in zip(whole.steps, times, strict=True)
        if step.operator >= 0
    }
