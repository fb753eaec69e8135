"""What dropped gaps cost, in plain Python, but for the arithmetic of `joint_surrogate`."""

from collections.abc import Collection

import numpy as np

from ullage.solvers.scheduling.joint_surrogate import OrderSurrogate
from ullage.solvers.scheduling.recompute.copies import GapOf, parts_of
from ullage.solvers.scheduling.recompute.surrogate import RecomputeSurrogate


def plain_value(of: RecomputeSurrogate, dropped: Collection[GapOf]) -> float:
    """`RecomputeSurrogate.value` of a set of gaps."""
    facts = of.facts
    order = parts_of(facts, dropped)
    results, reads, writes = facts.results, facts.reads, facts.writes
    users: list[list[int]] = []
    sizes: list[float] = []
    read_s: list[float] = []
    write_s: list[float] = []
    written: list[bool] = []
    kept: list[bool] = []
    current = [-1] * len(results)
    given = [-1] * len(of.given_bytes)

    def item(size: float, read: float, write: float, *, is_written: bool) -> int:
        users.append([])
        sizes.append(size)
        read_s.append(read)
        write_s.append(write)
        written.append(is_written)
        kept.append(False)
        return len(users) - 1

    for place, operator in enumerate(order):
        for name in of.given_reads[operator]:
            if given[name] < 0:
                size = of.given_bytes[name]
                given[name] = item(size, of.given_read_s[name], 0.0, is_written=False)
            users[given[name]].append(place)
        for result in reads[operator]:
            users[current[result]].append(place)
        for result in writes[operator]:
            size = float(max(1, results[result].size_bytes))
            times = size * of.read_s, size * of.write_s
            current[result] = item(size, *times, is_written=True)
            users[current[result]].append(place)
    for index, one in enumerate(results):
        kept[current[index]] = one.is_output
    at = np.array(order, dtype=np.int64)
    first = np.cumsum([0, *map(len, users)], dtype=np.int64)
    figures = OrderSurrogate(
        capacity_bytes=of.capacity_bytes,
        compute_s=of.compute_s[at],
        fixed_s=np.zeros(len(order)),
        scratch_bytes=of.scratch_bytes[at],
        first=first,
        users=np.array([user for one in users for user in one], dtype=np.int64),
        size_bytes=np.array(sizes),
        read_s=np.array(read_s),
        write_s=np.array(write_s),
        written=np.array(written, dtype=np.bool_),
        kept=np.array(kept, dtype=np.bool_),
    )
    return figures.value(range(len(order)))
