"""What has happened to an atom: where its data is before an event. Compiled."""

from ullage.rl_agent.env.compiled import compiled
from ullage.rl_agent.env.game_instance import Board
from ullage.rl_agent.env.state import State

# mypy: disable-error-code="no-any-return"


@compiled
def at_home_before(board: Board, state: State, event: int) -> bool:
    """Whether the home tier holds current data just before an event."""
    atom = board.ev_atom[event]
    valid = board.given[atom] == 1
    at = board.atom_first[atom]
    while at < event:
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
    """Whether a stay for events first..last must leave a copy at home when it ends."""
    atom = board.ev_atom[first]
    if last + 1 < board.atom_first[atom + 1]:
        if board.ev_reads[last + 1] == 0:
            return False
    elif board.output[atom] == 0:
        return False
    for event in range(first, last + 1):
        if board.ev_writes[event] == 1:
            return True
    return not at_home_before(board, state, first)


@compiled
def free_from(board: Board, state: State, first: int) -> int:
    """First step at which a fill before an event may move: data at home, no older stay."""
    step = 0
    for event in range(board.atom_first[board.ev_atom[first]], first):
        if state.last[event] >= 0:
            step = max(step, state.end[event])
            count = state.spill_count[event]
            if count > 0:
                step = max(step, state.spill_step[event, count - 1] + 1)
        if board.ev_writes[event] == 1:
            step = max(step, board.ev_step[event] + 1)
    return step


@compiled
def used_before(board: Board, first: int) -> int:
    """Step of the event before, -1 without one; a fill must not end before it."""
    if first == board.atom_first[board.ev_atom[first]]:
        return -1
    return board.ev_step[first - 1]


@compiled
def next_start(board: Board, state: State, last: int) -> int:
    """First step of the next stay of the same atom, the number of steps without one."""
    for event in range(last + 1, board.atom_first[board.ev_atom[last] + 1]):
        if state.last[event] >= 0:
            return state.start[event]
    return len(board.compute_s)


@compiled
def last_write(board: Board, first: int, last: int) -> int:
    """Step of the last write among events first..last, -1 without one."""
    for event in range(last, first - 1, -1):
        if board.ev_writes[event] == 1:
            return board.ev_step[event]
    return -1
