"""What moves do to a state: seconds, moves of DMA, addresses. Compiled.

The same mechanics as `solvers/occupancy.py`, `busy_time.py` and `address_map.py` have for the
heuristics; tests compare with a plain twin.
"""

from ullage.rl_agent.env.compiled import compiled
from ullage.rl_agent.env.game_instance import Board
from ullage.rl_agent.env.history import used_before
from ullage.rl_agent.env.state import ADDRESS_CELLS, BUSY_S, MOVES, RECTANGLES, SLOW_BYTES, State

# ruff: noqa: PLR1714 - membership of a tuple is slow in compiled code
# mypy: disable-error-code="no-any-return"


@compiled
def touch(board: Board, state: State, step: int) -> None:
    """Bring the roofline of a step up to date."""
    busy = board.compute_s[step]
    for m in range(state.tier_s.shape[0]):
        busy = max(busy, state.tier_s[m, step])
    for k in range(state.link_s.shape[0]):
        busy = max(busy, state.link_s[k, step])
    state.total[BUSY_S] += busy - state.busy_s[step]
    state.busy_s[step] = busy


@compiled
def add_operand(
    board: Board, state: State, tier: int, step: int, read_bytes: float, written_bytes: float
) -> None:
    """An operator reads and writes bytes in a tier (negative: no longer)."""
    seconds = read_bytes / board.read_rate[tier]
    if written_bytes != 0.0:
        seconds += written_bytes / board.write_rate[tier]
    state.tier_s[tier, step] += seconds
    if tier != 0:
        state.total[SLOW_BYTES] += read_bytes + written_bytes
    touch(board, state, step)


@compiled
def add_moves(board: Board, state: State, link: int, slot: int, spill: bool, sign: int) -> None:
    """A transfer runs (or, with sign -1, no longer)."""
    source, destination = board.link_source[link], board.link_destination[link]
    read_s = sign / board.read_rate[source]
    write_s = sign / board.write_rate[destination]
    link_s = sign / board.link_rate[link]
    count = state.spill_count[slot] if spill else state.fill_count[slot]
    slow = int(source != 0) + int(destination != 0)
    for i in range(count):
        step = state.spill_step[slot, i] if spill else state.fill_step[slot, i]
        size = state.spill_bytes[slot, i] if spill else state.fill_bytes[slot, i]
        state.tier_s[source, step] += size * read_s
        state.tier_s[destination, step] += size * write_s
        setup = sign * board.link_setup_s[link] if i == 0 else 0.0
        state.link_s[link, step] += size * link_s + setup
        state.total[SLOW_BYTES] += sign * size * slow
        touch(board, state, step)


@compiled
def room_bytes(board: Board, state: State, link: int, step: int) -> float:
    """Bytes that a transfer could move in a step at no cost.

    A millionth of a byte is added, so that what is whole but for rounding stays whole.
    """
    source, destination = board.link_source[link], board.link_destination[link]
    busy = state.busy_s[step]
    room = min(
        (busy - state.tier_s[source, step]) * board.read_rate[source],
        (busy - state.tier_s[destination, step]) * board.write_rate[destination],
    )
    free = max(busy - state.link_s[link, step] - board.link_setup_s[link], 0.0)
    return max(min(room, free * board.link_rate[link]), 0.0) + 1e-6


@compiled
def spread_late(
    board: Board, state: State, slot: int, link: int, size: int, low: int, high: int
) -> None:
    """Fill of a slot: bytes into idle steps of [low, high), the last first; the rest to the best.

    Needs low < high. Among steps that take equally many bytes the last is the best.
    """
    left = size
    count = 0
    for step in range(high - 1, low - 1, -1):
        part = min(left, int(room_bytes(board, state, link, step)))
        if part > 0:
            state.fill_step[slot, count] = step
            state.fill_bytes[slot, count] = part
            count += 1
            left -= part
        if left == 0 or count == MOVES:
            break
    if left > 0 and count == 0:
        state.fill_step[slot, 0] = high - 1
        state.fill_bytes[slot, 0] = left
        count = 1
    elif left > 0:
        best = 0
        for i in range(1, count):
            if state.fill_bytes[slot, i] > state.fill_bytes[slot, best]:
                best = i
        state.fill_bytes[slot, best] += left
    for i in range(count // 2):  # ascending steps
        j = count - 1 - i
        step, part = state.fill_step[slot, i], state.fill_bytes[slot, i]
        state.fill_step[slot, i] = state.fill_step[slot, j]
        state.fill_bytes[slot, i] = state.fill_bytes[slot, j]
        state.fill_step[slot, j], state.fill_bytes[slot, j] = step, part
    state.fill_count[slot] = count


@compiled
def fetch(board: Board, state: State, slot: int, access: int, low: int) -> None:
    """Fill, first and ready step of the residency in a slot that begins with an access.

    It is copied in steps from `low` on, which must lie before the access's, and arrives no earlier
    than the use before.
    """
    segment, begin = board.ev_segment[access], board.ev_step[access]
    size, link = board.size_bytes[segment], board.link_up[segment]
    spread_late(board, state, slot, link, size, low, begin)
    used = used_before(board, access)
    if state.fill_step[slot, state.fill_count[slot] - 1] < used:
        spread_late(board, state, slot, link, size, used, begin)
    state.start[slot] = state.fill_step[slot, 0]
    state.ready[slot] = state.fill_step[slot, state.fill_count[slot] - 1] + 1


@compiled
def spread_early(
    board: Board, state: State, slot: int, link: int, size: int, low: int, high: int
) -> None:
    """Spill of a slot: the same from the first step on; what is left goes to the best step."""
    left = size
    count = 0
    for step in range(low, high):
        part = min(left, int(room_bytes(board, state, link, step)))
        if part > 0:
            state.spill_step[slot, count] = step
            state.spill_bytes[slot, count] = part
            count += 1
            left -= part
        if left == 0 or count == MOVES:
            break
    if left > 0 and count == 0:
        state.spill_step[slot, 0] = low
        state.spill_bytes[slot, 0] = left
        count = 1
    elif left > 0:
        best = 0
        for i in range(1, count):
            if state.spill_bytes[slot, i] >= state.spill_bytes[slot, best]:
                best = i
        state.spill_bytes[slot, best] += left
    state.spill_count[slot] = count


@compiled
def account(board: Board, state: State, slot: int, first: int, last: int, sign: int) -> None:
    """Charge (sign 1) or credit (-1) what the residency of accesses first..last costs."""
    segment = board.ev_segment[first]
    size = sign * board.aligned_bytes[segment]
    for step in range(state.start[slot], state.end[slot]):
        state.load_bytes[step] += size
    home = board.home[segment]
    for access in range(first, last + 1):
        step = board.ev_step[access]
        read, written = board.ev_read_bytes[access], board.ev_written_bytes[access]
        add_operand(board, state, home, step, -sign * read, -sign * written)
        add_operand(board, state, 0, step, sign * read, sign * written)
    if state.fill_count[slot] > 0:
        add_moves(board, state, board.link_up[segment], slot, False, sign)
    if state.spill_count[slot] > 0:
        add_moves(board, state, board.link_down[segment], slot, True, sign)


@compiled
def copy_slot(state: State, source: int, slot: int) -> None:
    """The residency of one slot into another, without its accesses."""
    state.start[slot] = state.start[source]
    state.ready[slot] = state.ready[source]
    state.end[slot] = state.end[source]
    state.offset[slot] = state.offset[source]
    state.fill_count[slot] = state.fill_count[source]
    state.spill_count[slot] = state.spill_count[source]
    for i in range(state.fill_count[source]):
        state.fill_step[slot, i] = state.fill_step[source, i]
        state.fill_bytes[slot, i] = state.fill_bytes[source, i]
    for i in range(state.spill_count[source]):
        state.spill_step[slot, i] = state.spill_step[source, i]
        state.spill_bytes[slot, i] = state.spill_bytes[source, i]


@compiled
def shade(board: Board, state: State, slot: int, sign: int) -> None:
    """Draw (or, with sign -1, wipe) the rectangle of a slot on the memory map."""
    low = state.offset[slot]
    high = low + board.slot_size_bytes[slot]
    capacity = board.capacity_bytes
    cell = min(low * ADDRESS_CELLS // capacity, ADDRESS_CELLS - 1)
    while cell > 0 and cell * capacity // ADDRESS_CELLS > low:
        cell -= 1
    while cell < ADDRESS_CELLS:
        floor = cell * capacity // ADDRESS_CELLS
        if floor >= high:
            break
        roof = (cell + 1) * capacity // ADDRESS_CELLS
        covered = sign * max(0, min(high, roof) - max(low, floor))
        for step in range(state.start[slot], state.end[slot]):
            state.map_bytes[cell, step] += covered
        cell += 1


@compiled
def put(board: Board, state: State, slot: int, last: int) -> None:
    """The residency in a slot becomes true: accesses slot..last are in the fastest tier."""
    account(board, state, slot, slot, last, 1)
    enter(board, state, slot, last)


@compiled
def enter(board: Board, state: State, slot: int, last: int) -> None:
    """`put` for a residency that is charged already."""
    state.last[slot] = last
    for access in range(slot, last + 1):
        state.residency_of[access] = slot
    if state.offset[slot] >= 0:
        state.place[slot] = state.counts[RECTANGLES]
        state.taken[state.counts[RECTANGLES]] = slot
        state.counts[RECTANGLES] += 1
        shade(board, state, slot, 1)


@compiled
def lift(board: Board, state: State, slot: int) -> int:
    """Undo `put`; returns the last access. The slot keeps what it held."""
    last = state.last[slot]
    account(board, state, slot, slot, last, -1)
    state.last[slot] = -1
    for access in range(slot, last + 1):
        state.residency_of[access] = -1
    if state.place[slot] >= 0:
        state.counts[RECTANGLES] -= 1
        moved = state.taken[state.counts[RECTANGLES]]
        state.taken[state.place[slot]] = moved
        state.place[moved] = state.place[slot]
        state.place[slot] = -1
        shade(board, state, slot, -1)
    return last


@compiled
def roof_bytes(board: Board, start: int, end: int) -> int:
    """Addresses below the workspace of all steps of [start, end)."""
    workspace = 0
    for step in range(start, end):
        workspace = max(workspace, board.workspace_bytes[step])
    return board.address_bytes - workspace


@compiled
def is_free(
    board: Board, state: State, start: int, end: int, offset: int, size: int, but: int, nor: int
) -> bool:
    """Whether an address range is free during [start, end), not counting slots `but` and `nor`."""
    if offset + size > roof_bytes(board, start, end):
        return False
    for i in range(state.counts[RECTANGLES]):
        slot = state.taken[i]
        if (
            state.start[slot] < end
            and state.end[slot] > start
            and state.offset[slot] < offset + size
            and state.offset[slot] + board.slot_size_bytes[slot] > offset
            and slot != but
            and slot != nor
        ):
            return False
    return True


@compiled
def find_hole(
    board: Board, state: State, start: int, end: int, size: int, but: int, nor: int
) -> int:
    """Offset of the tightest gap free during [start, end); the top as last resort; -1 for none."""
    found = 0
    for i in range(state.counts[RECTANGLES]):
        slot = state.taken[i]
        if state.start[slot] < end and state.end[slot] > start and slot != but and slot != nor:
            low = state.offset[slot]
            j = found
            while j > 0 and state.low[j - 1] > low:
                state.low[j] = state.low[j - 1]
                state.high[j] = state.high[j - 1]
                j -= 1
            state.low[j] = low
            state.high[j] = low + board.slot_aligned_bytes[slot]
            found += 1
    roof = roof_bytes(board, start, end)
    best, best_room = -1, 0
    floor = 0
    for i in range(found):
        room = min(state.low[i], roof) - floor
        if room >= size and (best < 0 or room < best_room):
            best, best_room = floor, room
        floor = max(floor, state.high[i])
    if best >= 0:
        return best
    return floor if floor + size <= roof else -1


@compiled
def earliest_fit(
    board: Board, state: State, size: int, low: int, high: int, but_low: int, but_high: int
) -> int:
    """Smallest step s in [low, high] such that `size` bytes fit during [s, high).

    In steps [but_low, but_high) the same bytes are counted already.
    """
    for step in range(high - 1, low - 1, -1):
        own = size if but_low <= step < but_high else 0
        if state.load_bytes[step] - own + size > board.capacity_bytes:
            return step + 1
    return low


@compiled
def latest_fit(board: Board, state: State, size: int, low: int, high: int, own_high: int) -> int:
    """Largest step s in [low, high] such that `size` bytes fit during [low, s).

    In steps before `own_high` the same bytes are counted already.
    """
    for step in range(low, high):
        own = size if step < own_high else 0
        if state.load_bytes[step] - own + size > board.capacity_bytes:
            return step
    return max(low, high)
