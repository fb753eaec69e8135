"""Decoding: the game played in the order of scores instead of the program's. Compiled.

A candidate is a move of the heuristic: keep a segment over the gap before an access, bring or leave
a single use in fast memory, or keep a segment from its first access to its last. Candidates are
tried best score first; one that fits and lowers the latency (or keeps it with less traffic) is
taken, as `solvers/greedy.py` does. A state is a complete plan after every candidate.

Scores may depend on the state: what a candidate gains, and the room it needs, are known when it is
tried, and a policy may weigh them (`trial.describe`). A candidate whose score falls behind that of
the next one is put back, to be tried again later (lazy evaluation: Minoux 1978, "Accelerated
greedy algorithms"). Where these weights are zero the order is that of the scores.
"""

import heapq
from typing import NamedTuple

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.rl_agent.env.compiled import borrowed, compiled
from ullage.rl_agent.env.game_instance import Board
from ullage.rl_agent.env.rules import restart
from ullage.rl_agent.env.state import BUSY_S, NOWHERE, State
from ullage.rl_agent.policy.trial import ASPECTS, FAILED, LATER, TINY_S, Offer, try_run

# mypy: disable-error-code="no-any-return"

GAP, SINGLE, WHOLE = 0, 1, 2
KINDS = 3
LEAST_FALL = 1e-9  # of a score that is put back: scores fall, so decodes end


class Moves(NamedTuple):
    """What a decode tries: C candidates.

    Attributes:
        candidates: (C,) kind x E + access.
        gain_s: (C,) seconds that each is expected to save.
        room: (C,) bytes x steps of the fastest tier that each is expected to take.
    """

    candidates: Ints
    gain_s: Floats
    room: Floats


@compiled
def is_idle(board: Board, state: State, candidate: int) -> bool:
    """Whether a single use has a residency already and needs no other."""
    accesses = len(board.ev_segment)
    access = candidate % accesses
    is_single = candidate // accesses == SINGLE
    return (
        is_single and state.residency_of[access] >= 0 and board.must[board.ev_segment[access]] == 0
    )


@compiled
def run_of(board: Board, candidate: int) -> tuple[int, int]:
    """First and last access of a candidate."""
    accesses = len(board.ev_segment)
    kind, access = candidate // accesses, candidate % accesses
    if kind == GAP:
        return access - 1, access
    if kind == SINGLE:
        return access, access
    return access, board.segment_first[board.ev_segment[access] + 1] - 1


@compiled
def sweep(
    board: Board,
    state: State,
    moves: Moves,
    scores: Floats,
    state_w: Floats,
    passes: int,
    addresses: bool,
) -> None:
    """Try candidates best score first; those that failed again in the next pass."""
    count = len(moves.candidates)
    heap = [(-scores[0], 0)]
    for i in range(1, count):
        heap.append((-scores[i], i))
    heapq.heapify(heap)
    accesses = len(board.ev_segment)
    begun_s = max(state.total[BUSY_S], TINY_S)
    failed = np.empty(count, np.int64)
    waiting = done = 0
    aspects = np.zeros(ASPECTS)
    weighs = np.zeros(KINDS, np.bool_)
    for kind in range(KINDS):
        weighs[kind] = np.any(state_w[kind] != 0.0)
    while len(heap) > 0:
        at, i = heapq.heappop(heap)
        candidate = moves.candidates[i]
        if is_idle(board, state, candidate):
            done += 1
            continue
        kind = candidate // accesses
        least = -np.inf
        if weighs[kind] and len(heap) > 0:
            # It stays ahead of the next, or at least does not fall.
            least = min(-heap[0][0], -at - LEAST_FALL) - scores[i]
            aspects[6] = done / count
            aspects[7] = state.total[BUSY_S] / begun_s
        first, last = run_of(board, candidate)
        offer = Offer(moves.gain_s[i], moves.room[i], least, state_w[kind], aspects)
        outcome, worth = try_run(board, state, first, last, offer, addresses)
        if outcome == LATER:
            heapq.heappush(heap, (-scores[i] - worth, i))
            continue
        done += 1
        if outcome == FAILED:
            failed[waiting] = candidate
            waiting += 1
    offer = Offer(0.0, 0.0, -np.inf, state_w[0], aspects)
    for _ in range(passes - 1):
        left = 0
        for i in range(waiting):
            if is_idle(board, state, failed[i]):
                continue
            first, last = run_of(board, failed[i])
            outcome, _ = try_run(board, state, first, last, offer, addresses)
            if outcome == FAILED:
                failed[left] = failed[i]
                left += 1
        if left == waiting:
            break
        waiting = left


@compiled
def decode(
    board: Board,
    state: State,
    start: State,
    moves: Moves,
    scores: Floats,
    state_w: Floats,
    passes: int,
    addresses: bool,
) -> float:
    """Play one game by scores.

    Args:
        board: the board.
        state: overwritten; the finished game.
        start: the state before the first move.
        moves: C candidates.
        scores: (C,) best first.
        state_w: (KINDS, ASPECTS) weights of what a candidate does to the state, added to its score.
        passes: how often what failed is tried, in all.
        addresses: give addresses on the way; else only live bytes count.

    Returns:
        Busy seconds; with the operators' overhead they are the latency.
    """
    board, state, start, moves = borrowed(board), borrowed(state), borrowed(start), borrowed(moves)
    restart(state, start)
    if not addresses:
        state.counts[0] = 0
        state.offset[:] = NOWHERE
        state.place[:] = -1
    if len(moves.candidates) > 0:
        sweep(board, state, moves, scores, state_w, passes, addresses)
    return float(state.total[BUSY_S])


def candidates_of(board: Board) -> Ints:
    """(C,) all candidates: gaps, singles, and segments of three accesses or more kept whole."""
    accesses = len(board.ev_segment)
    all_accesses = np.arange(accesses)
    firsts = board.segment_first[:-1]
    is_first = np.zeros(accesses, dtype=bool)
    is_first[firsts] = True
    gaps = all_accesses[~is_first]
    whole = firsts[np.diff(board.segment_first) > 2]
    return np.concatenate(
        [GAP * accesses + gaps, SINGLE * accesses + all_accesses, WHOLE * accesses + whole]
    ).astype(np.int64)
