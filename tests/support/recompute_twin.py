"""What dropped gaps cost, in plain Python."""

from collections.abc import Collection, Sequence
from itertools import pairwise

import numpy as np

from ullage.solvers.scheduling.recompute.copies import GapOf, RecomputeFacts, parts_of
from ullage.solvers.scheduling.recompute.kernels import WORTH_BITS
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
    items_of: list[list[int]] = [[] for _ in results]
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
            items_of[result].append(current[result])
            users[current[result]].append(place)
    for index, one in enumerate(results):
        kept[current[index]] = one.is_output
    busy, stored = [0.0] * len(order), [0.0] * len(order)
    room = [of.capacity_bytes - float(of.scratch_bytes[i]) for i in order]
    overwritten = _overwritten(facts, items_of, users)
    gaps: list[tuple[float, int, int, int]] = []
    for number, places in enumerate(users):
        if not written[number]:
            busy[places[0]] += read_s[number]
        saved = read_s[number]
        if written[number] and not kept[number] and len(places) == 2:
            saved += write_s[number]
        for at, (before, now) in enumerate(pairwise(places)):
            begin = before if written[number] and at == 0 else before + 1
            end = now + 1
            if at == len(places) - 2 and number in overwritten:
                end = max(now, begin + 1)
            worth = saved / sizes[number] / (end - begin)
            gaps.append((worth, number, begin, end))
    least = [1.0] * len(users)
    for _, number, begin, end in sorted(gaps, key=lambda gap: -_rounded(gap[0])):
        share = min(1.0, max(0.0, min(room[begin:end])) / sizes[number])
        least[number] = min(least[number], share)
        busy[end - 1] += (1.0 - share) * read_s[number]
        for step in range(begin, end):
            room[step] -= share * sizes[number]
    for number, places in enumerate(users):
        if written[number]:
            share = 1.0 if kept[number] else 1.0 - least[number]
            stored[places[0]] += share * write_s[number]
    per_byte = min(1.0, *(read / size for read, size in zip(read_s, sizes, strict=True)))
    return _elapsed(
        [float(of.compute_s[i]) + of.exposed * (busy[t] + stored[t]) for t, i in enumerate(order)],
        busy,
        stored,
        [max(0.0, free) * per_byte for free in room],
    )


def _overwritten(
    facts: RecomputeFacts, items_of: Sequence[Sequence[int]], users: Sequence[Sequence[int]]
) -> set[int]:
    """Items whose bytes a result takes over: of one operand in all executions, or of none."""
    found: set[int] = set()
    together: list[list[int]] = [[result] for result in range(len(items_of))]

    def is_apart(result: int, member: int, operand: int) -> bool:
        return not facts.results[member].is_output and all(
            users[other][-1] < users[item][0]
            or (member == operand and users[other][-1] == users[item][0])
            or users[item][-1] < users[other][0]
            for item in items_of[result]
            for other in items_of[member]
        )

    for result, operands in enumerate(facts.overwritten):
        for operand in operands:
            if (
                items_of[result]
                and items_of[operand]
                and together[result] == [result]
                and all(is_apart(result, member, operand) for member in together[operand])
            ):
                together[operand].append(result)
                together[result] = together[operand]
                for item in items_of[result]:
                    before = [o for o in items_of[operand] if users[o][0] < users[item][0]]
                    if users[before[-1]][-1] == users[item][0]:
                        found.add(before[-1])
                break
    return found


def _rounded(worth: float) -> int:
    """The first bits of a number; in their order are positive numbers."""
    return int(np.float64(worth).view(np.int64)) >> (64 - WORTH_BITS)


def _elapsed(
    compute: Sequence[float], read: Sequence[float], stored: Sequence[float], room: Sequence[float]
) -> float:
    """Seconds of all steps: in idle time the link fetches for later ones, stores for earlier."""
    total = fetched = waiting = 0.0
    for work, fetch, store, free in zip(compute, read, stored, room, strict=True):
        early = min(max(0.0, fetch - work), fetched)
        late = fetch - early
        spent = max(work, late)
        idle = spent - late
        waiting += store
        saved = min(waiting, idle)
        waiting -= saved
        spent += max(0.0, waiting - free)
        waiting = min(waiting, free)
        fetched = min(fetched - early + idle - saved, free - waiting)
        total += spent
    return total + waiting
