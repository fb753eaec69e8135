"""Observations of a player: memory map around the cursor, idle link bandwidth, the current access.

One row of OBSERVATION_SIZE numbers in [0, 1]:

    0                          BANDWIDTH_AT              USE_AT             OBSERVATION_SIZE
    | map, row by row (16 x 32) | bandwidth (3 x 32)      | access (17), mask (3) |

Columns of map and bandwidth are steps: PAST_STEPS before the current one, then COMING_STEPS.
"""

import numpy as np
from numpy.typing import NDArray

from ullage.rl_agent.env.rules import BoolArray, slot_before
from ullage.rl_agent.env.state import ADDRESS_CELLS
from ullage.solvers.engine.jit import compiled, inlined
from ullage.solvers.engine.tables import (
    ACCESS_FAST_S,
    ACCESS_HOME_S,
    ACCESS_READS,
    ACCESS_SEGMENT,
    ACCESS_SLOT,
    ACCESS_STEP,
    ACCESS_WRITES,
    ACCESSES,
    BUSY_S,
    CAPACITY,
    COUNTS,
    CURSOR,
    EXPOSED,
    IN_ORDER,
    RESOURCE,
    RESOURCES,
    SEGMENT_ALIGNED,
    SEGMENT_BYTES,
    SEGMENT_FAST_RATE,
    SEGMENT_FIRST,
    SEGMENT_GIVEN,
    SEGMENT_HOME,
    SEGMENT_HOME_RATE,
    SEGMENT_LAST,
    SEGMENT_LINK,
    SEGMENT_LINK_RATE,
    SEGMENT_MUST,
    SEGMENT_OUTPUT,
    SEGMENT_SETUP_S,
    SIZES,
    STEP_BUSY,
    STEP_COMPUTE_S,
    STEP_LOAD,
    STEPS,
    TIERS,
    TOTALS,
    UNIT,
    WEIGHTS,
    Tables,
)
from ullage.solvers.engine.transfers import at_home_before, needs_spill

# Steps before the current access's, and steps from it on.
PAST_STEPS, COMING_STEPS = 24, 8
OBSERVED_STEPS = PAST_STEPS + COMING_STEPS
# Rows by step: idle bytes of the link up and of the link down, busy seconds over the longest.
BANDWIDTH_ROWS = 3
# Numbers about the current access, the three of the mask included.
USE_FEATURES = 20
# Steps at which `nearness` is about a half.
STEP_SCALE = 32.0
# Where the bandwidth rows and the access begin in an observation.
BANDWIDTH_AT = ADDRESS_CELLS * OBSERVED_STEPS
USE_AT = BANDWIDTH_AT + BANDWIDTH_ROWS * OBSERVED_STEPS
OBSERVATION_SIZE = USE_AT + USE_FEATURES

Floats32 = NDArray[np.float32]


@inlined
def write_observation(t: Tables, mask: BoolArray, observation: Floats32) -> None:
    """Write an observation of the game at its cursor.

    Steps outside the program have a full memory map and no idle bandwidth. At the end of the game
    there is no access: all numbers are zero.

    Args:
        t: the game.
        mask: (ACTIONS,) legal actions.
        observation: (OBSERVATION_SIZE,) overwritten, all in [0, 1].
    """
    for i in range(OBSERVATION_SIZE):
        observation[i] = 0.0
    if t.state[COUNTS, CURSOR] >= t.ints[SIZES, ACCESSES]:
        return
    access = t.ints[IN_ORDER, t.state[COUNTS, CURSOR]]
    now = t.ints[ACCESS_STEP, access]
    per_byte = ADDRESS_CELLS / max(t.ints[SIZES, CAPACITY], ADDRESS_CELLS)
    # Columns of steps that exist.
    left = max(PAST_STEPS - now, 0)
    right = min(OBSERVED_STEPS, t.ints[SIZES, STEPS] - now + PAST_STEPS)
    first = now - PAST_STEPS
    cells = RESOURCE + t.ints[SIZES, RESOURCES]
    for y in range(ADDRESS_CELLS):
        row = y * OBSERVED_STEPS
        for x in range(left):
            observation[row + x] = 1.0
        for x in range(left, right):
            taken = t.seconds[np.uintp(cells + y), np.uintp(first + x)] * per_byte
            observation[np.uintp(row + x)] = min(taken, 1.0)
        for x in range(right, OBSERVED_STEPS):
            observation[row + x] = 1.0
    longest = 1e-30
    for x in range(left, right):
        longest = max(longest, t.seconds[STEP_BUSY, np.uintp(first + x)])
    per_longest = 1.0 / longest
    for x in range(left, right):
        busy = t.seconds[STEP_BUSY, np.uintp(first + x)]
        observation[np.uintp(BANDWIDTH_AT + 2 * OBSERVED_STEPS + x)] = busy * per_longest
    for way in range(2):
        write_idle_bytes(t, t.ints[ACCESS_SEGMENT, access], way, first, left, right, observation)
    describe(t, access, observation)
    for action in range(3):
        observation[OBSERVATION_SIZE - 3 + action] = 1.0 if mask[action] else 0.0


@compiled
def write_idle_bytes(
    t: Tables, segment: int, way: int, first: int, left: int, right: int, observation: Floats32
) -> None:
    """Write idle bytes x of a segment's link as x / (x + size), into the row of the way.

    Args:
        t: the game.
        segment: whose link, and whose size.
        way: FILL or SPILL.
        first: step of the first column.
        left: first column whose step exists.
        right: one past the last.
        observation: the row is overwritten.
    """
    link = t.ints[SEGMENT_LINK + way, segment]
    if link < 0:
        return
    home = RESOURCE + t.ints[SEGMENT_HOME, segment]
    home_rate = t.floats[SEGMENT_HOME_RATE + way, segment]
    fast_rate = t.floats[SEGMENT_FAST_RATE + way, segment]
    link_rate = t.floats[SEGMENT_LINK_RATE + way, segment]
    setup_s = t.floats[SEGMENT_SETUP_S + way, segment]
    size = float(t.ints[SEGMENT_BYTES, segment])
    for x in range(left, right):
        step = np.uintp(first + x)
        busy = t.seconds[STEP_BUSY, step]
        room = min(
            (busy - t.seconds[home, step]) * home_rate,
            (busy - t.seconds[RESOURCE, step]) * fast_rate,
        )
        free = max(busy - t.seconds[link, step] - setup_s, 0.0) * link_rate
        room = max(min(room, free), 0.0)
        observation[np.uintp(BANDWIDTH_AT + way * OBSERVED_STEPS + x)] = room / (room + size)


@compiled
def nearness(steps: int) -> float:
    """A distance in steps, squeezed into (0, 1]: 1 for the next step."""
    return float(STEP_SCALE / (STEP_SCALE + max(steps - 1, 0)))


@compiled
def describe(t: Tables, access: int, observation: Floats32) -> None:
    """Write the current access into the last USE_FEATURES; three of them are for the mask."""
    segment = t.ints[ACCESS_SEGMENT, access]
    now = t.ints[ACCESS_STEP, access]
    first, last = t.ints[SEGMENT_FIRST, segment], t.ints[SEGMENT_LAST, segment]
    size = t.ints[SEGMENT_ALIGNED, segment]
    capacity = max(t.ints[SIZES, CAPACITY], 1)
    home = t.ints[SEGMENT_HOME, segment]
    port_s = t.floats[ACCESS_HOME_S, access]
    busy = max(t.seconds[STEP_BUSY, now], 1e-30)
    rest = t.floats[STEP_COMPUTE_S, now]
    for tier in range(t.ints[SIZES, TIERS]):
        at_home = tier == home and t.state[ACCESS_SLOT, access] < 0
        rest = max(rest, t.seconds[RESOURCE + tier, now] - (port_s if at_home else 0.0))
    unit = t.ints[SIZES, UNIT]
    if unit >= 0:
        spent_s = port_s if t.state[ACCESS_SLOT, access] < 0 else t.floats[ACCESS_FAST_S, access]
        rest = max(rest, t.seconds[unit, now] - t.floats[WEIGHTS, EXPOSED] * spent_s)
    at = USE_AT
    observation[at] = size / (size + capacity)
    if access > first:
        observation[at + 1] = nearness(now - t.ints[ACCESS_STEP, access - 1])
    if access < last:
        observation[at + 2] = nearness(t.ints[ACCESS_STEP, access + 1] - now)
        observation[at + 3] = nearness(t.ints[ACCESS_STEP, last] - now)
    observation[at + 4] = t.ints[ACCESS_READS, access]
    observation[at + 5] = t.ints[ACCESS_WRITES, access]
    observation[at + 6] = t.ints[SEGMENT_GIVEN, segment]
    observation[at + 7] = t.ints[SEGMENT_OUTPUT, segment]
    observation[at + 8] = t.ints[SEGMENT_MUST, segment]
    observation[at + 9] = 1.0 if slot_before(t, access) >= 0 else 0.0
    observation[at + 10] = min(
        max((busy - rest) / busy, 0.0), 1.0
    )  # time that this use costs its step
    observation[at + 11] = min(port_s / busy, 1.0)
    observation[at + 12] = busy / (busy + t.seconds[TOTALS, BUSY_S] / t.ints[SIZES, STEPS])
    observation[at + 13] = min(t.state[STEP_LOAD, now] / capacity, 1.0)
    observation[at + 14] = (last - access) / (last + 1 - access)
    observation[at + 15] = t.state[COUNTS, CURSOR] / t.ints[SIZES, ACCESSES]
    owed = needs_spill(t, access, access) or not at_home_before(t, access)
    observation[at + 16] = 1.0 if owed else 0.0
