"""What the network is told about each candidate, and the heuristic's own order of them."""

from typing import NamedTuple

import numpy as np

from ullage.rl_agent.board import Board, FloatArray, IntArray
from ullage.rl_agent.decode import GAP, KINDS, SINGLE, WHOLE, candidates_of
from ullage.rl_agent.state import State

FEATURES = 24
STEP_SCALE = 32.0


class Encoding(NamedTuple):
    """A program as the network sees it: C candidates.

    Attributes:
        candidates: (C,) as `decode` takes them.
        features: (C, FEATURES) numbers of the order of one.
        base: (C,) the heuristic's score: the first that `greedy` would try has the highest.
        by_step: (C,) candidates in the order of the step at which they end.
    """

    candidates: IntArray
    features: FloatArray
    base: FloatArray
    by_step: IntArray


def encode(board: Board, start: State) -> Encoding:
    """Candidates and features of a program, once for all decodes."""
    events = len(board.ev_atom)
    candidates = candidates_of(board)
    kind, event = candidates // events, candidates % events
    atom = board.ev_atom[event]
    behind = board.atom_first[atom + 1]
    first = np.where(kind == GAP, event - 1, event)
    last = np.where(kind == WHOLE, behind - 1, event)
    low, high = board.ev_step[first], board.ev_step[last]
    length = high - low + 1
    saved_s = _lost_seconds(board, start)
    sums = np.concatenate([np.zeros(1), saved_s.cumsum()])
    lost_s = sums[last + 1] - sums[first]
    lost_s = np.where(kind == GAP, saved_s[last], lost_s)
    mean_s = max(float(start.busy_s.mean()), 1e-30)
    capacity = max(board.capacity_bytes, 1)
    share = board.aligned_bytes[atom] / capacity
    worth = lost_s / mean_s / np.maximum(share * length, 1e-9)
    crowd = _demand(board) / capacity
    crowd_sums = np.concatenate([np.zeros(1), crowd.cumsum()])
    crowding = (crowd_sums[high + 1] - crowd_sums[low]) / length
    idle = 1.0 - start.link_s.sum(axis=0) / np.maximum(start.busy_s, 1e-30)
    memory_bound = 1.0 - board.compute_s / np.maximum(start.busy_s, 1e-30)
    steps = len(board.compute_s)
    columns = [
        *(kind == k for k in range(KINDS)),
        np.log1p(share),
        np.log(share + 1e-4) / 4,
        np.log1p(length) / 3,
        STEP_SCALE / (STEP_SCALE + length),
        board.ev_reads[first],
        board.ev_writes[first],
        board.ev_writes[last],
        board.given[atom],
        board.output[atom],
        board.must[atom],
        np.log1p(lost_s / mean_s),
        np.log(worth + 1e-4) / 4,
        np.log(crowding + 1e-2) / 3,
        np.log(crowd[low] + 1e-2) / 3,
        np.log(crowd[high] + 1e-2) / 3,
        (behind - board.atom_first[atom]).clip(max=16) / 8,
        (behind - 1 - last).clip(max=16) / 8,
        idle[np.maximum(low - 1, 0)],
        memory_bound[low],
        memory_bound[high],
        high / max(steps, 1),
    ]
    features = np.stack([np.asarray(c, dtype=np.float64) for c in columns], axis=1)
    order = np.lexsort((event, atom, -board.size_bytes[atom], _rank(kind, length, low), kind))
    base = np.empty(len(candidates))
    base[order] = 1.0 - np.arange(len(order)) / max(len(order), 1)
    by_step = np.lexsort((candidates, high)).astype(np.int64)
    return Encoding(candidates, features, base, by_step)


def _rank(kind: IntArray, length: IntArray, low: IntArray) -> IntArray:
    """Greedy's key: the shortest gap, the earliest single, the shortest life."""
    return np.where(kind == SINGLE, low, length)


def _lost_seconds(board: Board, start: State) -> FloatArray:
    """(E,) seconds of its step that each event costs at home, as things stand at the start."""
    home = board.home[board.ev_atom]
    step = board.ev_step
    port_s = board.ev_read_bytes / board.read_rate[home]
    with np.errstate(divide="ignore", invalid="ignore"):
        write_s = board.ev_written_bytes / board.write_rate[home]
    port_s += np.where(board.ev_written_bytes > 0, write_s, 0.0)
    rest = board.compute_s[step].copy()
    for m in range(len(board.read_rate)):
        other = start.tier_s[m, step] - np.where(home == m, port_s, 0.0)
        rest = np.maximum(rest, other)
    return np.maximum(start.busy_s[step] - rest, 0.0)


def _demand(board: Board) -> FloatArray:
    """(T,) bytes that would be alive in fast memory if everything stayed for its whole life."""
    change = np.zeros(len(board.compute_s) + 1)
    firsts, lasts = board.atom_first[:-1], board.atom_first[1:] - 1
    np.add.at(change, board.ev_step[firsts], board.aligned_bytes)
    np.add.at(change, board.ev_step[lasts] + 1, -board.aligned_bytes)
    return change.cumsum()[:-1] + board.workspace_bytes
