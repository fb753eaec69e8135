"""One event cuts every schedule in two: what must be done before it, and what after it.

Let P be a set of operators. When the last of their elements is made for the first time, all of
their work is done; that element belongs to an operator of P that others outside of P read (or that
makes an output), and all that uses it follows. Whichever operator that is:

    latency >= before(P) + least tail of an operator of P that is read outside of P

The mirror image is the moment at which the first element of a set is begun.

For a threshold there is one largest set whose tails all reach it, since the union of two such sets
is another. So it is found by peeling: from all operators, the one with the least tail is taken off,
again and again.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Floats, Ints
from ullage.compiler.ir.graph import Kind
from ullage.compiler.ir.target import Target
from ullage.hwmodels.resources import resources_of
from ullage.solvers.bounds.cones import Layout
from ullage.solvers.bounds.live import Live
from ullage.solvers.bounds.network import Network, Node


@dataclass(frozen=True)
class Rates:
    """What work and bytes cost on a target with two tiers.

    Attributes:
        held_bytes: capacity of the fast memory.
        overhead_s: fixed time of each step.
        load_s: (resources,) seconds per byte that comes from the slow tier.
        store_s: (resources,) seconds per byte that goes there.
        loaded: kinds of values whose home is the slow tier.
    """

    held_bytes: float
    overhead_s: float
    load_s: Floats
    store_s: Floats
    loaded: frozenset[str]


def rates_of(target: Target, tier: int = 1) -> Rates:
    """The rates of a target: the port of a slow tier, and of two the links without a way around.

    Args:
        target: the chip.
        tier: the slow tier. Where there are more than two, what is bounded are plans that store
            nothing in others that comes from it.
    """
    table = resources_of(target)
    load_s, store_s = [float(table.read_s[tier])], [float(table.write_s[tier])]
    kinds: tuple[Kind, ...] = ("input", "weight", "activation", "output")
    if len(target.tiers) == 2 and all(target.must_be_fastest(kind) for kind in kinds):
        fills = table.source == 1
        load_s.append(1.0 / float(table.move_rate[fills].sum()) if fills.any() else 0.0)
        store_s.append(0.0)
        load_s.append(0.0)
        store_s.append(1.0 / float(table.move_rate[~fills].sum()) if (~fills).any() else 0.0)
    slow = target.tiers[tier].name
    return Rates(
        held_bytes=float(target.fastest.capacity_bytes),
        overhead_s=target.compute.overhead_s,
        load_s=np.array(load_s),
        store_s=np.where(np.isfinite(store_s), store_s, 0.0),
        loaded=frozenset(kind for kind, home in target.homes.items() if home == slow),
    )


@dataclass(frozen=True)
class Setting:
    """A graph on a target, prepared.

    Attributes:
        network: the graph.
        layout: of its loads.
        live: what of it reaches an output.
        rates: of the target.
        seconds: (N,) of each operator, in any parts.
        steps: (N,) 1 where an operator is at least one step, 0 where it may be none.
        live_seconds: (N,) of each operator's live part.
        live_loads: (L,) bytes of each load for live elements.
        live_outputs: (N,) bytes of results of the graph that each operator makes.
        groups: (L,) loads ordered by the value that they read.
        starts: where the loads of each value begin in `groups`.
        fetched: (L,) 1 where the value's home is the slow tier, else 0.
        stored: (V,) the same for values that are results of the graph.
    """

    network: Network
    layout: Layout
    live: Live
    rates: Rates
    seconds: Floats
    steps: Floats
    live_seconds: Floats
    live_loads: Floats
    live_outputs: Floats
    groups: Ints
    starts: Ints
    fetched: Floats
    stored: Floats

    def loaded_bytes(self, loads: Floats) -> float:
        """Bytes of (L,) loads: of those of one value the largest."""
        if not len(self.starts):
            return 0.0
        ordered = (loads * self.fetched)[self.groups]
        return float(np.maximum.reduceat(ordered, self.starts).sum())


def setting_of(network: Network, layout: Layout, live: Live, rates: Rates) -> Setting:
    """A graph on a target, prepared."""
    nodes = network.nodes
    seconds = np.array([node.seconds for node in nodes])
    share = np.array(live.work)
    values = np.array(layout.values, dtype=np.int64)
    groups = np.argsort(values, kind="stable")
    ordered = values[groups]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1)) if len(values) else np.zeros(0, np.int64)
    live_loads = [amount for index in range(len(nodes)) for amount in _padded(live, network, index)]
    slow = [value.kind in rates.loaded for value in network.values]
    stored = np.array([float(s and o) for s, o in zip(slow, network.is_stored, strict=True)])
    outputs = np.zeros(len(nodes))
    for index, node in enumerate(nodes):
        for result in node.results:
            outputs[index] += stored[result.value] * network.values[result.value].size_bytes
    return Setting(
        network=network,
        layout=layout,
        live=live,
        rates=rates,
        seconds=seconds,
        steps=np.array([float(not n.is_free and s > 0) for n, s in zip(nodes, share, strict=True)]),
        live_seconds=share * seconds,
        live_loads=np.array(live_loads, dtype=np.float64),
        live_outputs=outputs,
        groups=groups,
        starts=starts,
        fetched=np.array([float(slow[v]) for v in layout.values]),
        stored=stored,
    )


def _padded(live: Live, network: Network, index: int) -> Sequence[float]:
    """Bytes of an operator's loads; 0 for one that is dead."""
    node = network.nodes[index]
    return live.loads[index] or [0.0] * len(node.results[0].loads if node.results else ())


@dataclass(frozen=True)
class Cut:
    """A set of operators whose last (or first) element is an event.

    Attributes:
        inside: (N,) whether each operator belongs to it.
        edge: the operators that may own that element.
        seconds: latency at least.
    """

    inside: NDArray[np.bool_]
    edge: tuple[int, ...]
    seconds: float


@dataclass(frozen=True)
class Tail:
    """Seconds that follow the end of any element of an operator.

    Attributes:
        seconds: if of what is there only weights are looked at.
        held_seconds: if all results of `makers` have been made by then: at least as many.
        makers: operators.
    """

    seconds: float
    held_seconds: float
    makers: frozenset[int] = frozenset()


def peeled(setting: Setting, tails: Sequence[Tail]) -> list[Cut]:
    """Sets of operators with what their last element bounds, from the largest set on.

    Args:
        setting: the graph.
        tails: of each operator.
    """
    held_s = [tail.held_seconds for tail in tails]
    return _peel(setting, held_s, _readers_outside(setting), _makers(setting), tails)


def peeled_from_start(setting: Setting, heads: Sequence[float]) -> list[Cut]:
    """Sets of operators with what the beginning of their first element bounds.

    Args:
        setting: the graph.
        heads: by operator, seconds that must precede the first step of any of its elements.
    """
    return _peel(setting, heads, _unsure_operands(setting), _readers(setting))


def _peel(
    setting: Setting,
    sides: Sequence[float],
    loose: Sequence[int],
    neighbours: Sequence[Sequence[int]],
    tails: Sequence[Tail] | None = None,
) -> list[Cut]:
    """Take off the operator on the edge with the least seconds on its other side, one by one.

    Args:
        setting: the graph.
        sides: seconds on the other side of the event, by operator.
        loose: by operator, a positive number if it is on the edge whatever the set.
        neighbours: operators that come to the edge with each that is taken off.
        tails: of the last element of a set; None for the first one, at which bytes that the set
            loads may be there already.
    """
    held = tails is None
    alive = np.array(setting.live.work) > 0
    inside = alive.copy()
    edge = {i for i in np.flatnonzero(alive).tolist() if loose[i]}
    heap = [(sides[i], i) for i in edge]
    heapq.heapify(heap)
    cuts = []
    least = -1.0
    while heap:
        side, index = heap[0]
        if side > least:
            loads = np.where(inside[list(setting.layout.nodes)], setting.live_loads, 0.0)
            own = span_of(
                setting,
                float(setting.live_seconds[inside].sum()),
                float(setting.loaded_bytes(loads)),
                float(setting.live_outputs[inside].sum()) if held else 0.0,
                float(setting.steps[inside].sum()),
                held=held,
            )
            other_side = side if tails is None else _least_tail(tails, edge, inside)
            cuts.append(Cut(inside.copy(), tuple(sorted(edge)), own + other_side))
            least = side
        heapq.heappop(heap)
        inside[index] = False
        edge.discard(index)
        for other in neighbours[index]:
            if inside[other] and other not in edge:
                edge.add(other)
                heapq.heappush(heap, (sides[other], other))
    return cuts


def _least_tail(tails: Sequence[Tail], edge: Iterable[int], inside: NDArray[np.bool_]) -> float:
    """Seconds that follow the last element of a set, whichever operator of its edge has it."""
    return min(
        tails[i].held_seconds if all(inside[m] for m in tails[i].makers) else tails[i].seconds
        for i in edge
    )


def _makers(setting: Setting) -> list[list[int]]:
    maker = setting.network.maker
    return [[maker[value] for value in node.reads] for node in setting.network.nodes]


def _readers(setting: Setting) -> list[list[int]]:
    network = setting.network
    return [
        [reader for result in node.results for reader in network.readers[result.value]]
        for node in network.nodes
    ]


def _readers_outside(setting: Setting) -> list[int]:
    """1 for operators whose last element may be nobody's operand inside of any set."""
    network = setting.network
    loose = []
    for node in network.nodes:
        found = 0
        for result in node.results:
            if network.is_output[result.value]:
                found = 1
            for reader in network.readers[result.value]:
                other = network.nodes[reader]
                if not any(r.value in setting.live.masks for r in other.results):
                    continue  # a dead reader keeps nothing alive
                in_sets = setting.live.work[reader] > 0
                if not (in_sets and _certainly_uses(other, result.value)):
                    found = 1
        loose.append(found)
    return loose


def _certainly_uses(reader: Node, value: int) -> bool:
    """Whether what is alive of a value is so because the reader uses it for sure."""
    return all(
        any(operand.value == value for operand in result.operands) for result in reader.results
    )


def _unsure_operands(setting: Setting) -> list[int]:
    """1 for operators some of whose elements may use nothing that another operator makes."""
    return [
        int(not all(result.complete and result.fed for result in node.results) or not node.reads)
        for node in setting.network.nodes
    ]


def span_of(
    setting: Setting, seconds: float, loaded: float, stored: float, steps: float, *, held: bool
) -> float:
    """Least seconds for some work, loads and stores.

    Args:
        setting: the graph and the target.
        seconds: of computing.
        loaded: bytes that are needed from slow memory.
        stored: bytes that must go there.
        steps: number of operators that run.
        held: a fast memory full of those bytes may be there already.
    """
    rates = setting.rates
    missing = max(0.0, loaded - rates.held_bytes) if held else loaded
    moving = float((rates.load_s * missing + rates.store_s * stored).max())
    return max(seconds, moving) + steps * rates.overhead_s
