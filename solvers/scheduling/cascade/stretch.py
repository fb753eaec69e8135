"""The stretch of an order around a change: judged by itself, in a fraction of the time."""

from collections.abc import Sequence

from ullage.solvers.scheduling.cascade.estimate import OrderFacts
from ullage.solvers.scheduling.cascade.stripes import Cascade


def changed_span(
    facts: OrderFacts, one: Sequence[Cascade], other: Sequence[Cascade], margin: int
) -> tuple[int, int]:
    """Positions around what differs between two groupings, cut where both have a boundary.

    Args:
        facts: the graph in its order.
        one: groups.
        other: other groups.
        margin: operators on either side of what differs.
    """
    ends_of_one = {0, *(g.last for g in one)}
    common = sorted(ends_of_one & {0, *(g.last for g in other)})
    shared = set(one) & set(other)
    changed = [g for g in (*one, *other) if g not in shared]
    first = min(min((*g.again, g.first)) for g in changed)
    last = max(g.last for g in changed)
    low = max((e for e in common if e <= max(0, first - margin)), default=0)
    end = min(len(facts.order), last + margin)
    high = min((e for e in common if e >= end), default=len(facts.order))
    return low, high


def inside(cascades: Sequence[Cascade], span: tuple[int, int]) -> tuple[Cascade, ...]:
    """The groups that lie in positions [first, last)."""
    return tuple(g for g in cascades if span[0] <= g.first and g.last <= span[1])
