"""Compiled: the operators that run, with repetitions, and what their accesses cost.

`tests.support.recompute_twin` has the same in plain Python.
"""

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Floats, Ints
from ullage.compiler.common.kernel_cache import kernel
from ullage.solvers.scheduling.joint_surrogate import _close
from ullage.solvers.scheduling.recompute.copies import DROPPED, KEPT

Flags = NDArray[np.uint8]
# Bits of a worth that count: sign, exponent, and eight of the mantissa.
WORTH_BITS = 20


# (read_first, read_of, write_first, write_of, producer, accesses, is_output, over_first, over_of):
# (N + 1,) where the results that an operator reads begin in the next array, and the same of those
# that it writes; (R,) the operator that writes each result; (R,) how often it is accessed by
# operators that run once; (R,) 1 for a result that must be there at the end; (R + 1,) where the
# results begin in the last array whose bytes each may take over.
Listed = tuple[Ints, Ints, Ints, Ints, Ints, Ints, Flags, Ints, Ints]
# (first, of, bytes, read_s): (N + 1,) where the given data that an operator reads begins in the
# next array; size of each, and seconds of reading it.
Given = tuple[Ints, Ints, Floats, Floats]
# (result_bytes, compute_s, scratch_bytes): (R,) of results, (N,) and (N,) of operators.
Figures = tuple[Floats, Floats, Floats]
# Seconds per byte read and written at home, bytes of the fastest tier, and the portion of the time
# at home in which operators cannot compute.
Rates = tuple[float, float, float, float]


def _sequence_of(order: Ints, listed: Listed, gone: Flags, sequence: Ints) -> int:
    """Write the operators as they run into `sequence`; how many, -1 where it is too short.

    Args:
        order: operators as they run once.
        listed: the graph.
        gone: for the gap behind each access KEPT, DROPPED or STAYS; reads first, then writes.
        sequence: room for the answer.
    """
    read_first, read_of, write_first, write_of, producer, accesses, _, _, _ = listed
    results, reads = len(producer), len(read_of)
    first_time = np.zeros(len(sequence), dtype=np.uint8)
    missing = np.zeros(results, dtype=np.uint8)
    passed, last = np.zeros(results, dtype=np.int64), np.zeros(results, dtype=np.int64)
    stack = np.empty(results + len(read_of) + 2, dtype=np.int64)
    made = np.empty(results, dtype=np.int64)
    length = 0
    for operator in order:
        depth, count = 0, 0
        if write_first[operator] == write_first[operator + 1]:
            continue
        for at in range(read_first[operator], read_first[operator + 1]):
            if missing[read_of[at]]:
                stack[depth] = read_of[at]
                depth += 1
        while depth:
            depth -= 1
            result = stack[depth]
            is_ready = result < 0
            if is_ready:
                result = -1 - result
            if not missing[result]:
                continue
            maker = producer[result]
            if is_ready:
                if length >= len(sequence) - 1:
                    return -1
                sequence[length] = maker
                length += 1
                for at in range(write_first[maker], write_first[maker + 1]):
                    if missing[write_of[at]]:
                        missing[write_of[at]] = 0
                        made[count] = write_of[at]
                        count += 1
                continue
            stack[depth] = -1 - result
            depth += 1
            for at in range(read_first[maker], read_first[maker + 1]):
                if missing[read_of[at]]:
                    stack[depth] = read_of[at]
                    depth += 1
        if length >= len(sequence) - 1:
            return -1
        sequence[length] = operator
        first_time[length] = 1
        length += 1
        for at in range(read_first[operator], read_first[operator + 1]):
            result = read_of[at]
            passed[result] += 1
            last[result] = at
            missing[result] = gone[at] != KEPT
        for at in range(write_first[operator], write_first[operator + 1]):
            result = write_of[at]
            passed[result] += 1
            last[result] = reads + at
            missing[result] = gone[reads + at] != KEPT
        for number in range(count):
            result = made[number]
            if passed[result] == accesses[result] and gone[last[result]] == DROPPED:
                missing[result] = 1
    return _needed(listed, sequence, length, first_time)


def _needed_of(listed: Listed, sequence: Ints, length: int, first_time: Flags) -> int:
    """Leave out runs of which nothing is read before it is made again; how many are left."""
    read_first, read_of, write_first, write_of, _, _, is_output, _, _ = listed
    wanted = is_output.copy()
    later = np.zeros(len(read_first) - 1, dtype=np.uint8)
    kept = length
    for at in range(length - 1, -1, -1):
        operator = sequence[at]
        begin, end = write_first[operator], write_first[operator + 1]
        counts = first_time[at] == 1 and later[operator] == 0
        for write in range(begin, end):
            counts = counts or wanted[write_of[write]] == 1
        if not counts:
            continue
        later[operator] = 1
        for write in range(begin, end):
            wanted[write_of[write]] = 0
        for read in range(read_first[operator], read_first[operator + 1]):
            wanted[read_of[read]] = 1
        kept -= 1
        sequence[kept] = operator
    sequence[: length - kept] = sequence[kept:length].copy()
    return length - kept


def _seconds_of(
    order: Ints,
    listed: Listed,
    given_data: Given,
    figures: Figures,
    rates: Rates,
    gone: Flags,
    most_times: int,
) -> float:
    """Seconds of the schedule of dropped gaps; infinite where it has too many repetitions.

    Args:
        order: operators as they run once.
        listed: the graph.
        given_data: what is read and never written.
        figures: sizes and times.
        rates: of the home of results.
        gone: for the gap behind each access KEPT, DROPPED or STAYS.
        most_times: executions at most, in multiples of those of a schedule without repetitions.
    """
    read_first, read_of, write_first, write_of, producer, _, is_output, over_first, over_of = listed
    given_first, given_of, given_bytes, given_read_s = given_data
    result_bytes, compute_s, scratch_bytes = figures
    read_s_per_byte, write_s_per_byte, capacity_bytes, exposed = rates
    sequence = np.empty(most_times * len(order) + 2, dtype=np.int64)
    steps = _sequence(order, listed, gone, sequence)
    if steps < 0:
        return np.inf
    accesses = 0
    for at in range(steps):
        operator = sequence[at]
        accesses += read_first[operator + 1] - read_first[operator]
        accesses += write_first[operator + 1] - write_first[operator]
        accesses += given_first[operator + 1] - given_first[operator]
    item_of, place_of = np.empty(accesses, dtype=np.int64), np.empty(accesses, dtype=np.int64)
    size, read_s = np.empty(accesses), np.empty(accesses)
    write_s = np.zeros(accesses)
    written = np.zeros(accesses, dtype=np.uint8)
    kept = np.zeros(accesses, dtype=np.uint8)
    following = np.full(accesses, -1)
    earliest = np.full(len(producer), -1)
    current = np.full(len(producer), -1)
    given = np.full(len(given_bytes), -1)
    count, items = 0, 0
    busy, compute, room = np.zeros(steps), np.empty(steps), np.empty(steps)
    for place in range(steps):
        operator = sequence[place]
        compute[place] = compute_s[operator]
        room[place] = capacity_bytes - scratch_bytes[operator]
        for at in range(given_first[operator], given_first[operator + 1]):
            name = given_of[at]
            if given[name] < 0:
                given[name] = items
                size[items], read_s[items] = given_bytes[name], given_read_s[name]
                busy[place] += given_read_s[name]
                items += 1
            item_of[count], place_of[count] = given[name], place
            count += 1
        for at in range(read_first[operator], read_first[operator + 1]):
            item_of[count], place_of[count] = current[read_of[at]], place
            count += 1
        for at in range(write_first[operator], write_first[operator + 1]):
            result = write_of[at]
            if current[result] >= 0:
                following[current[result]] = items
            else:
                earliest[result] = items
            current[result] = items
            size[items] = max(1.0, result_bytes[result])
            read_s[items] = size[items] * read_s_per_byte
            write_s[items] = size[items] * write_s_per_byte
            written[items] = 1
            item_of[count], place_of[count] = items, place
            items += 1
            count += 1
    for result in range(len(producer)):
        kept[current[result]] = is_output[result]
    written, kept = written[:items], kept[:items]
    begins, placed = _by_item(item_of, place_of, items)
    taken_over = _takes(over_first, over_of, is_output, earliest, following, begins, placed)
    gap_item, gap_begin, gap_end, worth = _gaps(
        begins, placed, written, kept, size, read_s, write_s, taken_over
    )
    by_worth = _by_worth(worth)
    least, stored = np.ones(items), np.zeros(steps)
    _close(
        gap_item[by_worth], gap_begin[by_worth], gap_end[by_worth], size, read_s, room, busy, least
    )
    ahead = 1.0
    for item in range(items):
        ahead = min(ahead, read_s[item] / size[item])
        if written[item]:
            share = 1.0 if kept[item] else 1.0 - least[item]
            stored[placed[begins[item]]] += share * write_s[item]
    for place in range(steps):
        room[place] = max(room[place], 0.0) * ahead
        compute[place] += exposed * (busy[place] + stored[place])
    return _elapsed(compute, busy, stored, room)


def _elapsed_of(compute: Floats, read: Floats, stored: Floats, room: Floats) -> float:
    """Seconds of all steps: idle time of the link fetches for later ones, and stores for earlier.

    Args:
        compute: (T,) seconds of computing.
        read: (T,) seconds of what is fetched or read at home.
        stored: (T,) seconds of what is stored from here on.
        room: (T,) free memory for what was fetched ahead or waits to be stored, in seconds.
    """
    total, ahead, behind = 0.0, 0.0, 0.0
    for step in range(len(compute)):
        taken = min(max(0.0, read[step] - compute[step]), ahead)
        ahead -= taken
        spent = max(compute[step], read[step] - taken)
        idle = spent - (read[step] - taken)
        behind += stored[step]
        done = min(behind, idle)
        behind -= done
        if behind > room[step]:
            spent += behind - room[step]
            behind = room[step]
        ahead = min(ahead + idle - done, room[step] - behind)
        total += spent
    return total + behind


def _by_item_of(item_of: Ints, place_of: Ints, items: int) -> tuple[Ints, Ints]:
    """(K + 1,) where the accesses of each item begin, and their places item by item."""
    begins = np.zeros(items + 1, dtype=np.int64)
    for item in item_of:
        begins[item + 1] += 1
    begins = np.cumsum(begins)
    fill = begins[:-1].copy()
    placed = np.empty(len(item_of), dtype=np.int64)
    for at in range(len(item_of)):
        placed[fill[item_of[at]]] = place_of[at]
        fill[item_of[at]] += 1
    return begins, placed


def _takes_of(
    over_first: Ints,
    over_of: Ints,
    is_output: Flags,
    earliest: Ints,
    following: Ints,
    begins: Ints,
    placed: Ints,
) -> Ints:
    """(K,) the item whose bytes each takes over, -1 for none.

    As in a program, a result takes over the bytes of one operand in all of its executions or in
    none, and whatever lies in the same bytes is never there at the same time.
    """
    results, items = len(earliest), len(begins) - 1
    takes = np.full(items, -1)
    group, behind = np.arange(results), np.full(results, -1)
    for result in range(results):
        if earliest[result] < 0:
            continue
        for at in range(over_first[result], over_first[result + 1]):
            operand = over_of[at]
            if earliest[operand] < 0 or group[operand] == group[result]:
                continue
            member, fits = group[operand], True
            while member >= 0 and fits:
                fits = not is_output[member]
                item = earliest[result]
                while item >= 0 and fits:
                    begin, end = placed[begins[item]], placed[begins[item + 1] - 1]
                    other = earliest[member]
                    while other >= 0 and fits:
                        is_dead = placed[begins[other + 1] - 1] < begin + (member == operand)
                        fits = is_dead or end < placed[begins[other]]
                        other = following[other]
                    item = following[item]
                member = behind[member]
            if not fits or group[result] != result or behind[result] >= 0:
                continue
            item = earliest[result]
            other = earliest[operand]
            while item >= 0:
                begin = placed[begins[item]]
                while following[other] >= 0 and placed[begins[following[other]]] < begin:
                    other = following[other]
                takes[item] = other
                item = following[item]
            group[result] = group[operand]
            behind[result] = behind[operand]
            behind[operand] = result
            break
    return takes


def _gaps_of(
    begins: Ints,
    placed: Ints,
    written: Flags,
    kept: Flags,
    size: Floats,
    read_s: Floats,
    write_s: Floats,
    taken_over: Ints,
) -> tuple[Ints, Ints, Ints, Floats]:
    """The gaps between accesses of an item: item, begin, end, and what closing it is worth.

    A result is there as it is written; of one that only one access reads, closing the gap saves the
    store as well. An item that a result overwrites at its last access takes no room there.
    """
    items = len(written)
    count = len(placed) - items
    gap_item, gap_begin = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    gap_end, worth = np.empty(count, dtype=np.int64), np.empty(count)
    overwritten = np.zeros(items, dtype=np.uint8)
    for item in range(items):
        other = taken_over[item]
        if other >= 0 and not kept[other]:
            overwritten[other] = placed[begins[other + 1] - 1] == placed[begins[item]]
    gap = 0
    for item in range(items):
        saved_s = read_s[item]
        if written[item] and not kept[item] and begins[item + 1] - begins[item] == 2:
            saved_s += write_s[item]
        for at in range(begins[item] + 1, begins[item + 1]):
            is_made = written[item] == 1 and at == begins[item] + 1
            gap_item[gap] = item
            gap_begin[gap] = placed[at - 1] + (0 if is_made else 1)
            gap_end[gap] = placed[at] + 1
            if at + 1 == begins[item + 1] and overwritten[item]:
                gap_end[gap] = max(placed[at], gap_begin[gap] + 1)
            worth[gap] = saved_s / size[item] / (gap_end[gap] - gap_begin[gap])
            gap += 1
    return gap_item, gap_begin, gap_end, worth


def _by_worth_of(worth: Floats) -> Ints:
    """Gaps by falling worth, which counts as equal where its first `WORTH_BITS` bits are.

    A counting sort, in a tenth of the time of others.
    """
    if len(worth) == 0:
        return np.empty(0, dtype=np.int64)
    keys = worth.view(np.int64) >> (64 - WORTH_BITS)
    low, high = keys.min(), keys.max()
    first = np.zeros(high - low + 2, dtype=np.int64)
    for key in keys:
        first[high - key + 1] += 1
    first = np.cumsum(first)
    by_worth = np.empty(len(keys), dtype=np.int64)
    for gap in range(len(keys)):
        at = high - keys[gap]
        by_worth[first[at]] = gap
        first[at] += 1
    return by_worth


_by_worth = kernel()(_by_worth_of)
_needed, _elapsed = kernel()(_needed_of), kernel()(_elapsed_of)
_by_item, _gaps, _takes = kernel()(_by_item_of), kernel()(_gaps_of), kernel()(_takes_of)
_sequence = kernel()(_sequence_of)
seconds = kernel()(_seconds_of)
