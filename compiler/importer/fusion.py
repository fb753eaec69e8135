"""Fusion groups: nodes that run as one operator, so that the tensors between them need no memory.

The rules are the table `FUSION_RULES` in `optypes`; this module grows groups by them. A group is a
first node and the element-wise nodes that follow on its single result, as long as every other
operand exists before the group runs:

    Conv -> BatchNormalization -> Sigmoid -+
                  |                        v
                  +---------------------> Mul -> ...      one group, one operator `Conv`

A DequantizeLinear joins every reader of its result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ullage.compiler.importer.nodes import ImportedNode
from ullage.compiler.importer.optypes import MAX_FUSED_NODES, may_follow


@dataclass(frozen=True)
class Group:
    """Nodes that run as one operator, in execution order; the `anchor` does the main work."""

    nodes: tuple[ImportedNode, ...]
    anchor: ImportedNode


def fuse(
    nodes: Sequence[ImportedNode],
    outputs: frozenset[str],
    elements: Mapping[str, int],
    *,
    pairs: bool = True,
) -> tuple[Group, ...]:
    """Partition nodes into groups, in file order of their last node.

    Args:
        nodes: in topological order.
        outputs: graph outputs, which must remain visible outside their group.
        elements: number of elements of every tensor.
        pairs: nodes that read an activation of another group may join one.
    """
    readers: dict[str, list[ImportedNode]] = {}
    producer: dict[str, ImportedNode] = {}
    for node in nodes:
        for name in node.outputs:
            producer[name] = node
        for name in node.activations:
            readers.setdefault(name, []).append(node)
    live = _live_nodes(nodes, outputs, producer)
    inlined = {
        n.index
        for n in live
        if n.op == "DequantizeLinear" and n.outputs[0] not in outputs and readers.get(n.outputs[0])
    }
    position = {node.index: i for i, node in enumerate(nodes)}
    arrivals = _Arrivals(producer, position, inlined, pairs=pairs)
    taken: set[int] = set(inlined)
    groups: list[Group] = []
    for node in live:
        if node.index in taken:
            continue
        members = [node]
        taken.add(node.index)
        _grow(members, taken, readers, outputs, elements, position, arrivals)
        taken.update(m.index for m in members)
        groups.append(Group(_with_prologue(members, producer, inlined), node))
    groups.sort(key=lambda g: position[g.nodes[-1].index])
    return tuple(groups)


def _live_nodes(
    nodes: Sequence[ImportedNode], outputs: frozenset[str], producer: Mapping[str, ImportedNode]
) -> list[ImportedNode]:
    """Nodes that some graph output depends on (all of them when there is no output)."""
    if not outputs & set(producer):
        return list(nodes)
    wanted = {producer[name].index for name in outputs if name in producer}
    for node in reversed(nodes):
        if node.index in wanted:
            wanted.update(producer[n].index for n in node.activations if n in producer)
    return [node for node in nodes if node.index in wanted]


def _grow(
    members: list[ImportedNode],
    taken: set[int],
    readers: Mapping[str, list[ImportedNode]],
    outputs: frozenset[str],
    elements: Mapping[str, int],
    position: Mapping[int, int],
    arrivals: "_Arrivals",
) -> None:
    """Append to `members` the nodes that may follow them.

    Nodes are tried several at a time, and remain only if a single result of the group is read
    outside.
    """
    anchor = members[0]
    used = [n for n in anchor.outputs if readers.get(n) or n in outputs]
    if len(used) != 1:
        return
    size = elements[used[0]]
    tentative = list(members)
    while len(tentative) < MAX_FUSED_NODES:
        inside = {m.index for m in tentative}
        results = {n for m in tentative for n in m.outputs}
        escaping = [
            n
            for n in results
            if n in outputs or any(r.index not in inside for r in readers.get(n, ()))
        ]
        if any(n in outputs for n in escaping):
            break
        following = sorted(
            {r.index: r for n in escaping for r in readers.get(n, ())}.values(),
            key=lambda r: position[r.index],
        )
        candidate = next((r for r in following if r.index not in inside), None)
        if candidate is None or candidate.index in taken:
            break
        start = position[tentative[-1].index]
        if (
            not may_follow(anchor.op, candidate.op)
            or len(candidate.outputs) != 1
            or elements[candidate.outputs[0]] != size
            or not arrivals.are_before(candidate, start, results)
        ):
            break
        tentative.append(candidate)
        inside.add(candidate.index)
        results.add(candidate.outputs[0])
        open_results = [
            n
            for n in results
            if n in outputs or any(r.index not in inside for r in readers.get(n, ()))
        ]
        if open_results in ([candidate.outputs[0]], []):
            members[:] = tentative


class _Arrivals:
    """At which file positions the operands of nodes are there."""

    def __init__(
        self,
        producer: Mapping[str, ImportedNode],
        position: Mapping[int, int],
        inlined: set[int],
        *,
        pairs: bool,
    ) -> None:
        self.pairs = pairs
        self.producer, self.position, self.inlined = producer, position, inlined
        self._of_node: dict[int, list[tuple[int, str]]] = {}

    def are_before(self, node: ImportedNode, start: int, results: set[str]) -> bool:
        """Whether a node's operands, but for some results, exist before a file position.

        Looks at no more operands than there are results: a node with n operands may be asked for
        by each of their n producers. Where no pairs are fused, there must be no others.
        """
        if not self.pairs:
            return all(name in results for name in node.activations)
        latest_first = self._of_node.get(node.index)
        if latest_first is None:
            latest_first = sorted(((self._of(n), n) for n in node.activations), reverse=True)
            self._of_node[node.index] = latest_first
        for arrival, name in latest_first:
            if arrival < start:
                return True
            if name not in results:
                return False
        return True

    def _of(self, name: str) -> int:
        """Position of the node that makes a tensor, -1 for inputs; through dequantisations."""
        latest = -1
        waiting = [name]
        while waiting:
            maker = self.producer.get(waiting.pop())
            if maker is not None and maker.index in self.inlined:
                waiting += maker.activations
            elif maker is not None:
                latest = max(latest, self.position[maker.index])
        return latest


def _with_prologue(
    members: Sequence[ImportedNode], producer: Mapping[str, ImportedNode], inlined: set[int]
) -> tuple[ImportedNode, ...]:
    """The members preceded by the dequantisations they read through."""
    before: dict[int, ImportedNode] = {}
    waiting = list(members)
    while waiting:
        for name in waiting.pop().activations:
            maker = producer.get(name)
            if maker is not None and maker.index in inlined and maker.index not in before:
                before[maker.index] = maker
                waiting.append(maker)
    return (*sorted(before.values(), key=lambda n: n.index), *members)


def elementwise_inputs(group: Group, names: Sequence[str]) -> list[str]:
    """Those of a group's inputs of which each element is read once, for the result at its place.

    Then the group's result may overwrite them: nobody reads them as a scale, by broadcasting or by
    the anchor's window, and nobody reads again what they were dequantised to.

    Args:
        group: the group.
        names: tensors that it reads from outside.
    """
    readers: dict[str, list[ImportedNode]] = {}
    spoiled: dict[int, set[str]] = {}  # node -> what it reads in another way
    for node in group.nodes:
        operands = {*node.activations, *node.weights}
        spoiled[node.index] = operands.difference(node.elementwise)
        for name in operands:
            readers.setdefault(name, []).append(node)
    return [name for name in names if _is_elementwise(name, readers, spoiled)]


def _is_elementwise(
    name: str, readers: Mapping[str, list[ImportedNode]], spoiled: Mapping[int, set[str]]
) -> bool:
    """Whether all that read a tensor, or what it is dequantised to, do so element by element."""
    waiting = [name]
    while waiting:
        hot = waiting.pop()
        for node in readers.get(hot, ()):
            if hot in spoiled[node.index]:
                return False
            if node.op == "DequantizeLinear":
                waiting += node.outputs
    return bool(readers.get(name))
