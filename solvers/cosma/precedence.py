"""Precedence of operators in COSMA's problem: who must run before whom."""

from collections.abc import Sequence
from dataclasses import dataclass

from ullage.solvers.cosma.tensors import GIVEN, CosmaProgram


@dataclass(frozen=True)
class Precedence:
    """Sets of operators as bits of integers.

    Attributes:
        before: for each operator those that run before it in every order that is allowed.
        after: for each operator those that run after it.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]

    def windows(self) -> tuple[list[int], list[int]]:
        """First and last step at which each operator can run."""
        last = len(self.before) - 1
        earliest = [mask.bit_count() for mask in self.before]
        return earliest, [last - mask.bit_count() for mask in self.after]


def bits(mask: int) -> list[int]:
    """The numbers of the bits that are set."""
    numbers: list[int] = []
    while mask:
        low = mask & -mask
        numbers.append(low.bit_length() - 1)
        mask ^= low
    return numbers


def precedence_of(program: CosmaProgram) -> Precedence:
    """The precedence of data flow: an operator runs after those whose results it reads."""
    count = len(program.steps)
    before, after = [0] * count, [0] * count
    for operator in range(count):  # the problem's order is one that is allowed
        for tensor in program.inputs[operator]:
            maker = program.tensors[tensor].producer
            if maker != GIVEN:
                before[operator] |= before[maker] | 1 << maker
    for operator in reversed(range(count)):
        for tensor in program.outputs[operator]:
            for reader in program.tensors[tensor].readers:
                after[operator] |= after[reader] | 1 << reader
    return Precedence(tuple(before), tuple(after))


def pinned(flow: Precedence, order: Sequence[int], loose: int) -> Precedence:
    """A precedence that follows a given order, except between the operators in `loose`.

    Args:
        flow: the precedence of data flow.
        order: all operators; those of `loose` stand next to each other.
        loose: operators that may change places, as bits; 0 pins the order.
    """
    count = len(order)
    before, after = [0] * count, [0] * count
    seen, everything = 0, (1 << count) - 1
    for operator in order:
        bit = 1 << operator
        free = loose if loose & bit else 0
        before[operator] = (seen & ~free) | (flow.before[operator] & free)
        after[operator] = (everything & ~seen & ~bit & ~free) | (flow.after[operator] & free)
        seen |= bit
    return Precedence(tuple(before), tuple(after))


def some_order(before: Sequence[int], preferred: Sequence[int]) -> list[int]:
    """An order that keeps a precedence, at each step the first of `preferred` that may run."""
    import networkx as nx

    place = {operator: at for at, operator in enumerate(preferred)}
    dag = nx.DiGraph()
    dag.add_nodes_from(preferred)
    dag.add_edges_from((early, late) for late, mask in enumerate(before) for early in bits(mask))
    return list(nx.lexicographical_topological_sort(dag, key=place.__getitem__))
