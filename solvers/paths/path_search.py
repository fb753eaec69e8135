"""The cheapest path of a segment's bytes through tiers and steps, compiled.

Dynamic programming from the last step backwards over the sets of tiers that have a current copy:

    step        0       1       2       3
    accesses            write           read
    sram                #       #       #       the segment is written in sram in step 1,
    dram                        +       #       DMA puts a copy in dram during step 2
    set         {}      {sram}  {sram}  {sram, dram}

`sweep` gives the cost of the cheapest path and the choices, `trace` follows them in order of steps.
"""

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.solvers.engine.jit import compiled, entry

# Elements of `about`, which `search_arguments` fills: first step and one past the last; masks of
# tiers: with a copy at the beginning, with one at the end, with one in every step, in reach of
# operators, and written by them; whether `exact`, see `sweep`.
BEGIN, END, START, NEEDED, FORCED, REACH, WRITABLE, EXACT = range(8)
# Rows of `marks`, (3, E): step of each access, whether it reads, whether it writes.
STEP, READS, WRITES = 0, 1, 2
# Rows of `moved`, (2, E): bytes read and written by each access.
READ_BYTES, WRITTEN_BYTES = 0, 1
# Rows of `ports`, (3, n, T): price of a byte of space, of a byte read and of a byte written.
SPACE, READ, WRITE = 0, 1, 2
# Rows of `choices`, (2, T, 2^n), see `sweep`.
KEEP, PUT = 0, 1


@entry
def sweep(  # noqa: PLR0912, PLR0913, PLR0915, PLR0917 - one compiled loop
    about: Ints,
    size: float,
    marks: Ints,
    moved: Floats,
    ports: Floats,
    move: Floats,
    begun: Floats,
    value: Floats,
    choices: Ints,
    scratch: Floats,
) -> float:
    """Fill value (T + 1, 2^n), keep and put (T, 2^n); return the cost of the cheapest path.

    `value[t, S]`: cost from step t on with copies in the set S of tiers. `keep[t, S]`: the copies
    that are kept during step t. `put[t, K]`: the tiers that DMA brings a copy to while K is kept;
    in a step that writes the segment, the tier that is written. Ties go to fewer copies and to
    later moves.

    `size` is the segment's in bytes, `move` the price of a byte moved between two tiers, (n, n, T),
    and `begun` that of having begun such a move, (n, n, T) (`network.PathPrices.begun`).

    An operator that reads without writing uses any copy, unless `exact`: a copy whose bytes have
    come may not be ready yet in a plan that moves its slice over several steps. Before a write all
    copies that have come are ready, or they would arrive stale: the fastest one is used, and what
    is read and written in one step is read where it is written.
    """
    begin, end, start, needed = about[BEGIN], about[END], about[START], about[NEEDED]
    forced, reach, writable = about[FORCED], about[REACH], about[WRITABLE]
    exact = about[EXACT] != 0
    steps, reads, writes = marks[STEP], marks[READS], marks[WRITES]
    read_bytes, written_bytes = moved[READ_BYTES], moved[WRITTEN_BYTES]
    space, read, write = ports[SPACE], ports[READ], ports[WRITE]
    keep, put = choices[KEEP], choices[PUT]
    n = space.shape[0]
    states = 1 << n
    for state in range(states):
        value[end, state] = 0.0 if (state & needed) == needed else np.inf
    access = len(steps) - 1
    cost, copy_cost = scratch[0], scratch[1]  # overwritten: of states, of tiers
    for t in range(end - 1, begin - 1, -1):
        is_accessed = access >= 0 and steps[access] == t
        must = forced
        if t == begin:
            must |= start
        for kept in range(states):
            cost[kept] = np.inf
            put[t, kept] = 0
            if (kept & must) != must:
                continue
            total = 0.0
            for m in range(n):
                if kept >> m & 1:
                    total += size * space[m, t]
            if is_accessed and reads[access]:
                best = np.inf
                for m in range(n):
                    if kept & reach & (1 << m):
                        best = min(best, read_bytes[access] * read[m, t])
                    if kept >> m & 1 and (exact or writes[access]):
                        break  # operators use the fastest copy that is ready
                total += best
            if total == np.inf:
                continue
            later_cost = np.inf
            if is_accessed and writes[access]:
                for m in range(n):
                    in_place = reads[access] and not kept >> m & 1
                    if reach & writable & (1 << m) and not in_place:
                        price = written_bytes[access] * write[m, t] + value[t + 1, 1 << m]
                        if not kept >> m & 1:
                            price += size * space[m, t]
                        if price < later_cost:
                            later_cost = price
                            put[t, kept] = 1 << m
                    if kept >> m & 1:
                        break
            else:
                for d in range(n):
                    copy_cost[d] = np.inf
                    if not kept >> d & 1:
                        for s in range(n):
                            if kept >> s & 1:
                                price = size * move[s, d, t] + begun[s, d, t]
                                copy_cost[d] = min(copy_cost[d], price + size * space[d, t])
                others = (states - 1) & ~kept
                added = 0
                while True:  # all subsets of the others, ascending
                    price = value[t + 1, kept | added]
                    for d in range(n):
                        if added >> d & 1:
                            price += copy_cost[d]
                    if price < later_cost:
                        later_cost = price
                        put[t, kept] = added
                    added = (added - others) & others
                    if added == 0:
                        break
            cost[kept] = total + later_cost
        for state in range(states):
            best = np.inf
            if (state & forced) == forced:
                kept = 0
                while True:  # all subsets of the state, ascending
                    if cost[kept] < best:
                        best = cost[kept]
                        keep[t, state] = kept
                    kept = (kept - state) & state
                    if kept == 0:
                        break
            value[t, state] = best
        if is_accessed:
            access -= 1
    return float(value[begin, start])


@compiled
def open_residency(
    residencies: Ints,
    open_at: Ints,
    count: int,
    tier: int,
    start: int,
    ready: int,
    end: int,
    source: int,
) -> int:
    """Write a residency down, number by number: a row from a tuple compiles a second longer."""
    residencies[count, 0] = tier
    residencies[count, 1] = start
    residencies[count, 2] = ready
    residencies[count, 3] = end
    residencies[count, 4] = source
    open_at[tier] = count
    return count + 1


@entry
def trace(  # noqa: PLR0912, PLR0913, PLR0917 - one compiled loop
    about: Ints,
    size: float,
    marks: Ints,
    ports: Floats,
    move: Floats,
    begun: Floats,
    choices: Ints,
    residencies: Ints,
    served: Ints,
    open_at: Ints,
) -> int:
    """Follow the choices of `sweep`: fill residencies (k, 5) and served (E, 2); return k.

    A residency is (tier, start, ready, end, source tier or -1); served is the tier that each access
    reads and writes, -1 where it does not.
    """
    begin, end, start, reach = about[BEGIN], about[END], about[START], about[REACH]
    exact = about[EXACT] != 0
    steps, reads, writes = marks[STEP], marks[READS], marks[WRITES]
    read = ports[READ]
    keep, put = choices[KEEP], choices[PUT]
    n = read.shape[0]
    for m in range(n):
        open_at[m] = -1  # index of the open residency of each tier
    count = 0
    state = start
    access = 0
    for t in range(begin, end):
        kept = keep[t, state]
        is_accessed = access < len(steps) and steps[access] == t
        for m in range(n):
            if open_at[m] >= 0 and not kept >> m & 1:
                residencies[open_at[m], 3] = t
                open_at[m] = -1
            if kept >> m & 1 and open_at[m] < 0:  # there before the first step
                count = open_residency(residencies, open_at, count, m, t, t, end, -1)
        if is_accessed and reads[access]:
            best = -1
            for m in range(n):
                if kept & reach & (1 << m) and (best < 0 or read[m, t] < read[best, t]):
                    best = m
                if kept >> m & 1 and (exact or writes[access]):
                    break
            served[access, 0] = best
        added = put[t, kept]
        if is_accessed and writes[access]:
            for m in range(n):
                if added >> m & 1:
                    served[access, 1] = m
                    if open_at[m] < 0:
                        count = open_residency(residencies, open_at, count, m, t, t, end, -1)
                elif open_at[m] >= 0:
                    residencies[open_at[m], 3] = t + 1
                    open_at[m] = -1
            state = added
        else:
            for d in range(n):
                if added >> d & 1:
                    best = -1
                    least = np.inf
                    for s in range(n):
                        price = size * move[s, d, t] + begun[s, d, t]
                        if kept >> s & 1 and price < least:
                            best = s
                            least = price
                    count = open_residency(residencies, open_at, count, d, t, t + 1, end, best)
            state = kept | added
        if is_accessed:
            access += 1
    return count
