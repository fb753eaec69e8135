"""What the policy knows about each group: ratios, so that networks and chips of any size compare.

Among them is the balance of computing and of the weights' transfers around a group: where the
operators before it compute for longer than their weights take to arrive, its own weights arrive
meanwhile, which the dynamic program's price of a group does not see.
"""

from typing import NamedTuple

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.rl_agent.schedule.tables import FIRST_CUT, WHOLE, ScheduleInstance
from ullage.solvers.scheduling.cascade.estimate import AXES, STRIPES

# Operators on either side of a group whose balance counts, near and far.
WINDOWS = (3, 10)
# Ratios are cut off here.
MOST = 3.0
# Features of a group, the last one constant.
FEATURES = 26
# Added to seconds, so that none divides by zero.
TINY_S = 1e-15


class GroupCosts(NamedTuple):
    """What the policy corrects, all (G,): seconds of a group.

    Attributes:
        own_s: what it pays for itself, by the dynamic program.
        compute_s: of computing, overhead included.
        moved_s: of its own transfers.
        parts_s: the price of its parts.
    """

    own_s: Floats
    compute_s: Floats
    moved_s: Floats
    parts_s: Floats


class Encoding(NamedTuple):
    """A graph on a chip as the policy sees it.

    Attributes:
        features: (G, FEATURES) of each group.
        costs: what it corrects.
    """

    features: Floats
    costs: GroupCosts


def encode(instance: ScheduleInstance) -> Encoding:
    """The features and costs of all groups of an instance."""
    facts, arrays, chain = instance.facts, instance.arrays, instance.chain
    count = instance.operators
    tables = [chain.table(last) for last in range(1, count + 1)]
    groups = instance.groups
    capacity = arrays.rules[0]
    first = arrays.first
    last = np.repeat(np.arange(1, count + 1), np.diff(arrays.begin[1:]))
    compute_s = np.concatenate([table.compute_s for table in tables])
    moved_s = np.concatenate([table.moved_s for table in tables])
    parts = np.array([float(group.parts) for group in groups])
    kept = np.array([group.kept_bytes for group in groups])
    weights = np.array([float(group.weight_bytes) for group in groups])
    given = np.array([float(group.given_bytes) for group in groups])
    held = np.array([group.held_weight_bytes for group in groups])
    seconds_per_byte = facts.seconds_per_byte
    again_s = np.maximum(0.0, moved_s - (weights + given) * seconds_per_byte)
    slot = (arrays.action - FIRST_CUT) // len(STRIPES)
    operator_s, weight_s = np.array(facts.compute_s), _weight_seconds(instance)
    crossing = arrays.crossing_bytes / capacity
    total_s = operator_s.sum()
    columns = [
        np.log2(arrays.stripes) / 3,
        (arrays.action == WHOLE) * 1.0,
        (last - first) / 10,
        _cut(kept / capacity),
        _cut((kept + held) / capacity),
        _cut(weights / capacity),
        _balance(compute_s, moved_s),
        again_s / (moved_s + TINY_S),
        given * seconds_per_byte / (moved_s + TINY_S),
        _cut(arrays.consumed_bytes / capacity),
        _cut(arrays.produced_bytes / capacity),
        _cut(crossing[first]),
        _cut(crossing[last]),
        (slot == 1) * 1.0,
        (slot == 2) * 1.0,
        (slot == AXES) * 1.0,
        (compute_s - _sums(operator_s, first, last)) / (compute_s + TINY_S),
        _balance(_sums(operator_s, first, last), _sums(weight_s, first, last)),
    ]
    for window in WINDOWS:
        before, behind = first - window, last + window
        columns += [
            _balance(_sums(operator_s, before, first), _sums(weight_s, before, first)),
            _balance(_sums(operator_s, last, behind), _sums(weight_s, last, behind)),
        ]
    everywhere = [
        _balance(total_s, weight_s.sum()),
        np.tanh(np.log2(max(1e-3, 1 / max(1e-3, crossing.max()))) / 3),
        np.tanh(np.log2(max(1e-3, weight_s.sum() / seconds_per_byte / capacity)) / 3),
        1.0,
    ]
    columns += [np.full(len(groups), float(value)) for value in everywhere]
    costs = GroupCosts(arrays.own_s, compute_s, moved_s, chain.part_price_s * parts)
    return Encoding(np.stack(columns, axis=1), costs)


def _cut(ratio: Floats) -> Floats:
    return np.asarray(np.minimum(ratio, MOST))


def _balance(compute_s: Floats, moved_s: Floats) -> Floats:
    """From -1 (nothing but transfers) to 1 (nothing but computing)."""
    return np.asarray((compute_s - moved_s) / (compute_s + moved_s + TINY_S))


def _sums(by_operator: Floats, begin: Ints, end: Ints) -> Floats:
    """Sums over positions [begin, end), cut to the order."""
    sums = np.concatenate([[0.0], by_operator.cumsum()])
    low, high = (np.clip(places, 0, len(by_operator)) for places in (begin, end))
    return np.asarray(sums[high] - sums[low])


def _weight_seconds(instance: ScheduleInstance) -> Floats:
    """(N,) seconds in which the weights of each operator arrive."""
    facts = instance.facts
    seconds = np.zeros(instance.operators)
    for place in range(instance.operators):
        for name in dict.fromkeys(facts.operator(place).inputs):
            if facts.graph.values[name].kind == "weight":
                seconds[place] += facts.size(name) * facts.seconds_per_byte
    return seconds
