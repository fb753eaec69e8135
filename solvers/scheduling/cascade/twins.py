"""What gains in one layer, in all layers like it: networks repeat their blocks many times over.

order     conv1 conv2 add | conv1' conv2' add' | conv1'' ...     operators of the same forms
move      [conv1 conv2]     a group of two
twins     [conv1 conv2]     [conv1' conv2']      [conv1'' ...    the same groups there
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace

from ullage.solvers.scheduling.cascade.estimate import OrderFacts
from ullage.solvers.scheduling.cascade.stripes import Cascade


def with_twins(
    facts: OrderFacts, old: Sequence[Cascade], new: Sequence[Cascade]
) -> list[Cascade] | None:
    """The new groups, and what they changed changed alike where the operators are alike.

    Args:
        facts: the graph in its order.
        old: the groups before a move.
        new: the groups behind it.

    Returns:
        None where nothing else is alike.
    """
    ends = sorted({0, *(g.last for g in old)} & {0, *(g.last for g in new)})
    shared = set(old) & set(new)
    changed = [g for g in (*old, *new) if g not in shared]
    if not changed:
        return None
    begin = max(end for end in ends if end <= min(min((*g.again, g.first)) for g in changed))
    end = min(end for end in ends if end >= max(g.last for g in changed))
    pattern = [g for g in new if begin <= g.first < end]
    forms = [_form(facts, position) for position in range(len(facts.order))]
    result, found = list(new), False
    for first in [g.first for g in old]:
        last = first + end - begin
        if begin - (end - begin) < first < end or forms[first:last] != forms[begin:end]:
            continue
        known = {0, *(g.last for g in result)}
        if first not in known or last not in known:
            continue
        shift = first - begin
        made = [_shifted(g, shift) for g in pattern]
        before = [g for g in result if g.last <= first]
        result = [*before, *made, *(g for g in result if g.first >= last)]
        found = True
    return result if found and result != list(new) else None


def _shifted(group: Cascade, shift: int) -> Cascade:
    """A group that many positions behind another."""
    again = tuple(position + shift for position in group.again)
    return replace(group, first=group.first + shift, last=group.last + shift, again=again)


def _form(facts: OrderFacts, position: int) -> Hashable:
    """What makes operators alike: their kind, their work, and the forms of what they use."""
    operator, values = facts.operator(position), facts.graph.values
    used = [values[name] for name in (*operator.inputs, *operator.outputs)]
    return (
        operator.kind,
        operator.macs,
        operator.vector_elements,
        tuple((value.shape, value.size_bytes, value.kind) for value in used),
    )
