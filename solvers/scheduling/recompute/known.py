"""Sets of dropped gaps that others choose: where the search begins, and what it is compared with.

Both look at the place of the order at which most bytes are live, as between forward and backward
pass of a training step, and at the results that wait across it.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.solvers.scheduling.recompute.copies import GapOf, RecomputeFacts

# Shares of the waiting bytes that are kept.
BUDGETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
# Numbers of stretches between checkpoints.
STRETCHES = (2, 3, 4, 6, 8, 12, 16)
# Lengths of gaps, as shares of the order.
LENGTHS = (0.05, 0.1, 0.2, 0.3, 0.5)
# Units of a knapsack's capacity.
UNITS = 256


def ends(facts: RecomputeFacts) -> frozenset[GapOf]:
    """The gaps behind the last access of each result: dropping these alone repeats nothing."""
    return frozenset(
        gap for gap in facts.gaps if gap.number == len(facts.results[gap.result].places) - 1
    )


def peak_place(facts: RecomputeFacts) -> int:
    """The place of the order at which most bytes of results are live."""
    change = np.zeros(len(facts.order) + 1, dtype=np.int64)
    for result in facts.results:
        last = len(facts.order) - 1 if result.is_output else result.places[-1]
        change[result.places[0]] += result.size_bytes
        change[last + 1] -= result.size_bytes
    return int(change[:-1].cumsum().argmax())


def waiting(facts: RecomputeFacts) -> list[GapOf]:
    """The gaps across that place."""
    place = peak_place(facts)
    found: list[GapOf] = []
    for gap in facts.gaps:
        places = facts.results[gap.result].places
        if (
            gap.number > 0
            and gap.number + 1 < len(places)
            and places[gap.number] < place <= places[gap.number + 1]
        ):
            found.append(gap)
    return found


def knapsack_sets(facts: RecomputeFacts, compute_s: Floats) -> list[frozenset[GapOf]]:
    """For each budget the set that keeps what is dearest to compute again, by a knapsack.

    What PyTorch's `activation_memory_budget` solves: each waiting result has its bytes, and is
    worth the time of its operator; all others are computed again. Chains are not foreseen.

    Args:
        facts: the graph in its order.
        compute_s: (N,) compute time of each operator.
    """
    gaps = waiting(facts)
    sizes = [facts.results[gap.result].size_bytes for gap in gaps]
    worth = [float(compute_s[facts.results[gap.result].producer]) for gap in gaps]
    sets: list[frozenset[GapOf]] = []
    for budget in BUDGETS:
        kept = _knapsack(sizes, worth, budget * sum(sizes))
        dropped = {gap for gap, keep in zip(gaps, kept, strict=True) if not keep}
        held = {gap.result for gap, keep in zip(gaps, kept, strict=True) if keep}
        last = {gap for gap in ends(facts) if gap.result not in held}
        sets.append(frozenset(dropped | last))
    return sets


def _knapsack(sizes: Sequence[int], worth: Sequence[float], capacity: float) -> list[bool]:
    """Which items to take: the dearest that fit together, sizes rounded up to units."""
    unit = max(1.0, capacity / UNITS)
    need = [int(-(-size // unit)) for size in sizes]
    best = np.zeros((len(sizes) + 1, UNITS + 1))
    for item, (size, value) in enumerate(zip(need, worth, strict=True)):
        best[item + 1] = best[item]
        if size <= UNITS:
            taken = best[item, : UNITS + 1 - size] + value
            best[item + 1, size:] = np.maximum(best[item, size:], taken)
    room, kept = UNITS, [False] * len(sizes)
    for item in range(len(sizes) - 1, -1, -1):
        if best[item + 1, room] != best[item, room]:
            kept[item] = True
            room -= need[item]
    return kept


def checkpoint_sets(facts: RecomputeFacts) -> list[frozenset[GapOf]]:
    """For each number of stretches the set that keeps what is live between two of them.

    Evenly spaced checkpoints in front of the place where most is live (Chen et al., 2016); all else
    that waits across it is computed again.
    """
    gaps, place = waiting(facts), peak_place(facts)
    sets: list[frozenset[GapOf]] = []
    for count in STRETCHES:
        marks = [round(place * number / count) for number in range(1, count)]
        kept = {
            gap
            for gap in gaps
            if any(
                facts.results[gap.result].places[0] < mark <= facts.results[gap.result].places[1]
                for mark in marks
            )
        }
        held = {gap.result for gap in kept}
        last = {gap for gap in ends(facts) if gap.result not in held}
        sets.append(frozenset((set(gaps) - kept) | last))
    return sets


def redone_sets(facts: RecomputeFacts) -> list[frozenset[GapOf]]:
    """For each least length the set that drops every result in gaps so long.

    Chains run stretches of the order again, each operator once: what they make stays.
    """
    lasting = {replace(gap, stays=True) for gap in ends(facts)}
    sets: list[frozenset[GapOf]] = []
    for share in LENGTHS:
        long: set[GapOf] = set()
        for gap in facts.gaps:
            places = facts.results[gap.result].places
            if gap.number > 0 and gap.number + 1 < len(places):
                length = places[gap.number + 1] - places[gap.number]
                if length >= share * len(facts.order):
                    long.add(gap)
        sets.append(frozenset(long | lasting))
    return sets
