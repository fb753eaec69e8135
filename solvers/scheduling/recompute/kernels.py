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


# (order, read_first, read_of, write_first, write_of, producer, gap_first, is_output, overwritten):
# operators as they run once; (N + 1,) where the results that an operator reads begin in the next
# array, and the same of those that it writes; (R,) the operator that writes each result; (R + 1,)
# where its gaps begin among all; (R,) 1 for a result that must be there at the end; (R,) the result
# whose bytes each may take over where that is not read again, -1 for none.
Listed = tuple[Ints, Ints, Ints, Ints, Ints, Ints, Ints, Flags, Ints]
# (first, of, bytes, read_s): (N + 1,) where the given data that an operator reads begins in the
# next array; size of each, and seconds of reading it.
Given = tuple[Ints, Ints, Floats, Floats]
# (result_bytes, compute_s, scratch_bytes): (R,) of results, (N,) and (N,) of operators.
Figures = tuple[Floats, Floats, Floats]
# Seconds per byte read and written at home, bytes of the fastest tier, and the portion of the time
# at home in which operators cannot compute.
Rates = tuple[float, float, float, float]


def _sequence_of(listed: Listed, gone: Flags, sequence: Ints) -> int:
    """Write the operators as they run into `sequence`; how many, -1 where it is too short.

    Args:
        listed: the graph.
        gone: for each gap KEPT, DROPPED or STAYS.
        sequence: room for the answer.
    """
    order, read_first, read_of, write_first, write_of, producer, gap_first, _, _ = listed
    results = len(producer)
    first_time = np.zeros(len(sequence), dtype=np.uint8)
    missing = np.zeros(results, dtype=np.uint8)
    passed = np.full(results, -1)
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
            missing[result] = gone[gap_first[result] + passed[result]] != KEPT
        for at in range(write_first[operator], write_first[operator + 1]):
            result = write_of[at]
            passed[result] += 1
            missing[result] = gone[gap_first[result] + passed[result]] != KEPT
        for number in range(count):
            result = made[number]
            gap = gap_first[result] + passed[result]
            if gap + 1 == gap_first[result + 1] and gone[gap] == DROPPED:
                missing[result] = 1
    return _needed(listed, sequence, length, first_time)


def _needed_of(listed: Listed, sequence: Ints, length: int, first_time: Flags) -> int:
    """Leave out runs of which nothing is read before it is made again; how many are left."""
    _, read_first, read_of, write_first, write_of, _, _, is_output, _ = listed
    wanted = is_output.copy()
    later = np.zeros(len(read_first) - 1, dtype=np.uint8)
    kept = length
    for at in range(length - 1, -1, -1):
        operator = sequence[at]
        writes = write_of[write_first[operator] : write_first[operator + 1]]
        counts = first_time[at] == 1 and later[operator] == 0
        for result in writes:
            counts = counts or wanted[result] == 1
        if not counts:
            continue
        later[operator] = 1
        for result in writes:
            wanted[result] = 0
        for result in read_of[read_first[operator] : read_first[operator + 1]]:
            wanted[result] = 1
        kept -= 1
        sequence[kept] = operator
    sequence[: length - kept] = sequence[kept:length].copy()
    return length - kept


def _seconds_of(
    listed: Listed, given_data: Given, figures: Figures, rates: Rates, gone: Flags, most_times: int
) -> float:
    """Seconds of the schedule of dropped gaps; infinite where it has too many repetitions.

    Args:
        listed: the graph.
        given_data: what is read and never written.
        figures: sizes and times.
        rates: of the home of results.
        gone: for each gap KEPT, DROPPED or STAYS.
        most_times: executions at most, in multiples of those of a schedule without repetitions.
    """
    order, read_first, read_of, write_first, write_of, producer, _, is_output, over = listed
    given_first, given_of, given_bytes, given_read_s = given_data
    result_bytes, compute_s, scratch_bytes = figures
    read_s_per_byte, write_s_per_byte, capacity_bytes, exposed = rates
    sequence = np.empty(most_times * len(order) + 2, dtype=np.int64)
    steps = _sequence(listed, gone, sequence)
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
    taken_over = np.full(accesses, -1)
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
            if over[result] >= 0:
                taken_over[items] = current[over[result]]
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
    gap_item, gap_begin, gap_end, worth = _gaps(
        begins, placed, written, kept, size, read_s, write_s, taken_over
    )
    by_worth = np.argsort(worth, kind="mergesort")
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
    """The gaps between accesses of an item: item, begin, end, and minus what closing it is worth.

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
            worth[gap] = -saved_s / size[item] / (gap_end[gap] - gap_begin[gap])
            gap += 1
    return gap_item, gap_begin, gap_end, worth


_needed, _elapsed = kernel()(_needed_of), kernel()(_elapsed_of)
_by_item, _gaps = kernel()(_by_item_of), kernel()(_gaps_of)
_sequence = kernel()(_sequence_of)
seconds = kernel()(_seconds_of)
