"""What a player sees: the memory map around the cursor, idle copy bandwidth, the current use."""

import numpy as np
from numpy.typing import NDArray

from ullage.rl_agent.env.compiled import borrowed, compiled
from ullage.rl_agent.env.game_instance import Board
from ullage.rl_agent.env.history import at_home_before, needs_spill
from ullage.rl_agent.env.rules import BoolArray, residency_before, step
from ullage.rl_agent.env.state import ADDRESS_CELLS, BUSY_S, CURSOR, State

# mypy: disable-error-code="no-any-return"

PAST_STEPS, COMING_STEPS = 24, 8  # steps before the cursor's, and from it on
SEEN_STEPS = PAST_STEPS + COMING_STEPS
BANDWIDTH_ROWS = 3  # idle share of the way up, of the way down, share of the step's time in all
USE_FEATURES = 20
STEP_SCALE = 32.0  # distances of so many steps are about 0.7
VISION = ADDRESS_CELLS * SEEN_STEPS + BANDWIDTH_ROWS * SEEN_STEPS + USE_FEATURES

Floats32 = NDArray[np.float32]


@compiled
def observe(board: Board, state: State, mask: BoolArray, seen: Floats32) -> None:
    """Fill `seen` (VISION,): memory map row by row, bandwidth row by row, the use.

    All values are in [0, 1]. Steps outside the program look full and busy. At the end of the
    game there is no use: all of it is zero.
    """
    board, state = borrowed(board), borrowed(state)
    seen[:] = 0.0
    accesses = len(state.actions)
    if state.counts[CURSOR] >= accesses:
        return
    access = board.program_order[state.counts[CURSOR]]
    segment = board.ev_segment[access]
    now = board.ev_step[access]
    steps = len(board.compute_s)
    up, down = board.link_up[segment], board.link_down[segment]
    per_byte = ADDRESS_CELLS / max(board.capacity_bytes, ADDRESS_CELLS)
    # Columns of steps that exist.
    left = max(PAST_STEPS - now, 0)
    right = min(SEEN_STEPS, steps - now + PAST_STEPS)
    first = now - PAST_STEPS
    base = ADDRESS_CELLS * SEEN_STEPS
    for y in range(ADDRESS_CELLS):
        row = y * SEEN_STEPS
        for x in range(left):
            seen[row + x] = 1.0
        for x in range(left, right):
            taken = state.map_bytes[np.uintp(y), np.uintp(first + x)] * per_byte
            seen[np.uintp(row + x)] = min(taken, 1.0)
        for x in range(right, SEEN_STEPS):
            seen[row + x] = 1.0
    longest = 1e-30
    for x in range(left, right):
        longest = max(longest, state.busy_s[np.uintp(first + x)])
    per_longest = 1.0 / longest
    for x in range(left, right):
        busy = state.busy_s[np.uintp(first + x)]
        seen[np.uintp(base + 2 * SEEN_STEPS + x)] = busy * per_longest
    size = float(board.size_bytes[segment])
    if up >= 0:
        show_room(board, state, up, first, left, right, size, seen[base:])
    if down >= 0:
        show_room(board, state, down, first, left, right, size, seen[base + SEEN_STEPS :])
    describe(board, state, access, seen[base + BANDWIDTH_ROWS * SEEN_STEPS :])
    for action in range(3):
        seen[VISION - 3 + action] = 1.0 if mask[action] else 0.0


@compiled
def step_and_see(
    board: Board, state: State, start: State, action: int, mask: BoolArray, seen: Floats32
) -> bool:
    """`step`, then `observe`: arrays are taken from Python once."""
    done = step(board, state, start, action, mask)
    observe(board, state, mask, seen)
    return done


@compiled
def show_room(
    board: Board,
    state: State,
    link: int,
    first: int,
    left: int,
    right: int,
    size: float,
    row: Floats32,
) -> None:
    """Idle bytes of a link as x / (x + size): `mechanics.room_bytes` of steps, into columns."""
    source, destination = board.link_source[link], board.link_destination[link]
    read_rate, write_rate = board.read_rate[source], board.write_rate[destination]
    link_rate, setup_s = board.link_rate[link], board.link_setup_s[link]
    for x in range(left, right):
        t = np.uintp(first + x)
        busy = state.busy_s[t]
        room = min(
            (busy - state.tier_s[source, t]) * read_rate,
            (busy - state.tier_s[destination, t]) * write_rate,
        )
        free = max(busy - state.link_s[link, t] - setup_s, 0.0) * link_rate
        room = max(min(room, free), 0.0)
        row[np.uintp(x)] = room / (room + size)


@compiled
def nearness(steps: int) -> float:
    """A distance in steps, squeezed into (0, 1]: 1 next to it."""
    return STEP_SCALE / (STEP_SCALE + max(steps - 1, 0))


@compiled
def describe(board: Board, state: State, access: int, use: Floats32) -> None:
    """The current use, into `use` (USE_FEATURES,); its last three are left for the mask."""
    segment = board.ev_segment[access]
    now = board.ev_step[access]
    first, behind = board.segment_first[segment], board.segment_first[segment + 1]
    size = board.aligned_bytes[segment]
    capacity = max(board.capacity_bytes, 1)
    home = board.home[segment]
    port_s = board.ev_read_bytes[access] / board.read_rate[home]
    if board.ev_written_bytes[access] > 0.0:
        port_s += board.ev_written_bytes[access] / board.write_rate[home]
    busy = max(state.busy_s[now], 1e-30)
    rest = board.compute_s[now]
    for m in range(state.tier_s.shape[0]):
        at_home = m == home and state.residency_of[access] < 0
        rest = max(rest, state.tier_s[m, now] - (port_s if at_home else 0.0))
    use[0] = size / (size + capacity)
    use[1] = 0.0 if access == first else nearness(now - board.ev_step[access - 1])
    use[2] = 0.0 if access + 1 == behind else nearness(board.ev_step[access + 1] - now)
    use[3] = 0.0 if access + 1 == behind else nearness(board.ev_step[behind - 1] - now)
    use[4] = board.ev_reads[access]
    use[5] = board.ev_writes[access]
    use[6] = board.given[segment]
    use[7] = board.output[segment]
    use[8] = board.must[segment]
    use[9] = 1.0 if residency_before(board, state, access) >= 0 else 0.0
    use[10] = min(max((busy - rest) / busy, 0.0), 1.0)  # time that this use costs its step
    use[11] = min(port_s / busy, 1.0)
    use[12] = busy / (busy + state.total[BUSY_S] / len(board.compute_s))
    use[13] = min(state.load_bytes[now] / capacity, 1.0)
    use[14] = (behind - access - 1) / (behind - access)
    use[15] = state.counts[CURSOR] / len(state.actions)
    use[16] = 1.0 if needs_spill(board, state, access, access) else 0.0
    if not at_home_before(board, state, access):
        use[16] = 1.0
