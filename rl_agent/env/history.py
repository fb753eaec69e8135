"""What has happened to a segment: where its data is before an access. Compiled."""

from ullage.rl_agent.env.compiled import compiled
from ullage.rl_agent.env.game_instance import Board
from ullage.rl_agent.env.state import State

# mypy: disable-error-code="no-any-return"


@compiled
def at_home_before(board: Board, state: State, access: int) -> bool:
    """Whether the home tier holds current data just before an access."""
    segment = board.ev_segment[access]
    valid = board.given[segment] == 1
    at = board.segment_first[segment]
    while at < access:
        if state.last[at] >= 0:
            wrote = False
            for inside in range(at, state.last[at] + 1):
                wrote = wrote or board.ev_writes[inside] == 1
            valid = state.spill_count[at] > 0 or (valid and not wrote)
            at = state.last[at] + 1
        else:
            valid = valid or board.ev_writes[at] == 1
            at += 1
    return valid


@compiled
def needs_spill(board: Board, state: State, first: int, last: int) -> bool:
    """Whether a residency for accesses first..last must leave a copy at home when it ends."""
    segment = board.ev_segment[first]
    if last + 1 < board.segment_first[segment + 1]:
        if board.ev_reads[last + 1] == 0:
            return False
    elif board.output[segment] == 0:
        return False
    for access in range(first, last + 1):
        if board.ev_writes[access] == 1:
            return True
    return not at_home_before(board, state, first)


@compiled
def free_from(board: Board, state: State, first: int) -> int:
    """First step at which a fill before an access may move: data at home, no older residency."""
    step = 0
    for access in range(board.segment_first[board.ev_segment[first]], first):
        if state.last[access] >= 0:
            step = max(step, state.end[access])
            count = state.spill_count[access]
            if count > 0:
                step = max(step, state.spill_step[access, count - 1] + 1)
        if board.ev_writes[access] == 1:
            step = max(step, board.ev_step[access] + 1)
    return step


@compiled
def used_before(board: Board, first: int) -> int:
    """Step of the access before, -1 without one; a fill must not end before it."""
    if first == board.segment_first[board.ev_segment[first]]:
        return -1
    return board.ev_step[first - 1]


@compiled
def next_start(board: Board, state: State, last: int) -> int:
    """First step of the next stay of the same segment, the number of steps without one."""
    for access in range(last + 1, board.segment_first[board.ev_segment[last] + 1]):
        if state.last[access] >= 0:
            return state.start[access]
    return len(board.compute_s)


@compiled
def last_write(board: Board, first: int, last: int) -> int:
    """Step of the last write among accesses first..last, -1 without one."""
    for access in range(last, first - 1, -1):
        if board.ev_writes[access] == 1:
            return board.ev_step[access]
    return -1
