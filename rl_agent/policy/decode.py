"""Decoding: the game played in the order of scores instead of the program's. Compiled.

A candidate is a move of the heuristic: keep a segment over the gap before an access, bring or
leave a single use in fast memory, or keep a segment from its first access to its last. Candidates
are tried best score first; one that fits and lowers the latency (or keeps it with less traffic) is
taken, as `solvers/heuristics/greedy.py` does. A state is a complete plan after every candidate.

Scores may depend on the state: what a candidate gains, and the room it needs, are known when it is
tried, and a policy may weigh them (`trial.describe`). A candidate whose score falls behind that of
the next one is put back, to be tried again later (lazy evaluation: Minoux 1978, "Accelerated
greedy algorithms"). Where these weights are zero the order is that of the scores.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Floats, Ints
from ullage.rl_agent.env.game_instance import GameArrays
from ullage.rl_agent.env.mechanics import restart
from ullage.rl_agent.env.state import State
from ullage.rl_agent.policy.trial import ASPECTS, FAILED, LATER, TINY_S, Offer, try_residency
from ullage.solvers.engine.jit import compiled, entry
from ullage.solvers.engine.tables import (
    ACCESS_SEGMENT,
    ACCESS_SLOT,
    ACCESSES,
    BUSY_S,
    COUNTS,
    LIVE,
    NOWHERE,
    SEGMENT_LAST,
    SEGMENT_MUST,
    SIZES,
    SLOT_OFFSET,
    SLOT_PLACE,
    SLOTS,
    TOTALS,
    Tables,
)

# Kinds of candidates: a residency over the gap before an access, over one access, over all of them.
GAP, SINGLE, WHOLE = 0, 1, 2
KINDS = 3
# By how much the score of a candidate falls at least when it is put back, so that decodes end.
LEAST_FALL = 1e-9


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


class Weights(NamedTuple):
    """How a decode scores candidates.

    Attributes:
        scores: (C,) of each candidate.
        state_w: (KINDS, ASPECTS) weights of what it does to the state.
        weighs: (KINDS,) whether any of them is not zero.
        aspects: (ASPECTS,) room for those of one candidate.
    """

    scores: Floats
    state_w: Floats
    weighs: NDArray[np.bool_]
    aspects: Floats


class Queue(NamedTuple):
    """Candidates by score, the best first, as a binary heap; and those that failed.

    Attributes:
        keys: (C + 1,) score of each place of the heap.
        lists: (2, C + 1) candidate of each place; candidates that failed.
    """

    keys: Floats
    lists: Ints


@compiled
def is_idle(t: Tables, candidate: int) -> bool:
    """Whether a candidate of one access is covered by a residency already and needs no other."""
    accesses = t.ints[SIZES, ACCESSES]
    access = candidate % accesses
    if candidate // accesses != SINGLE or t.state[ACCESS_SLOT, access] < 0:
        return False
    return bool(t.ints[SEGMENT_MUST, t.ints[ACCESS_SEGMENT, access]] == 0)


@compiled
def span_of(t: Tables, candidate: int) -> tuple[int, int]:
    """First and last access that a candidate would keep in the fastest tier."""
    accesses = t.ints[SIZES, ACCESSES]
    kind, access = candidate // accesses, candidate % accesses
    if kind == GAP:
        return access - 1, access
    if kind == SINGLE:
        return access, access
    return access, t.ints[SEGMENT_LAST, t.ints[ACCESS_SEGMENT, access]]


@compiled
def sink(queue: Queue, count: int, key: float, item: int) -> None:
    """Put an entry into a heap of `count` whose first place is free."""
    keys, items = queue.keys, queue.lists[0]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= count:
            break
        right = child + 1
        if right < count and (
            keys[right] > keys[child]
            or (keys[right] == keys[child] and items[right] < items[child])
        ):
            child = right
        if keys[child] < key or (keys[child] == key and items[child] > item):
            break
        keys[at], items[at] = keys[child], items[child]
        at = child
    keys[at], items[at] = key, item


@compiled
def add(queue: Queue, count: int, key: float, item: int) -> None:
    """Put an entry into a heap of `count` entries; of equal keys the lower item comes first."""
    keys, items = queue.keys, queue.lists[0]
    at = count
    while at > 0:
        parent = (at - 1) // 2
        if keys[parent] > key or (keys[parent] == key and items[parent] < item):
            break
        keys[at], items[at] = keys[parent], items[parent]
        at = parent
    keys[at], items[at] = key, item


@entry
def play_by_score(
    t: Tables,
    start: Tables,
    moves: Moves,
    policy: Weights,
    queue: Queue,
    passes: int,
    addresses: bool,
) -> float:
    """Play one game: candidates best score first, those that failed again in the next pass.

    Args:
        t: the game, overwritten.
        start: before the first move.
        moves: C candidates.
        policy: their scores.
        queue: room for C candidates.
        passes: how often what failed is tried, in all.
        addresses: what is taken needs an address; else only live bytes count.

    Returns:
        Busy seconds.
    """
    restart(t, start)
    if not addresses:
        t.state[COUNTS, LIVE] = 0
        for slot in range(t.ints[SIZES, SLOTS]):
            t.state[SLOT_OFFSET, slot] = NOWHERE
            t.state[SLOT_PLACE, slot] = -1
    keys, items, failed = queue.keys, queue.lists[0], queue.lists[1]
    scores, aspects = policy.scores, policy.aspects
    total = count = len(scores)
    for i in range(count):
        add(queue, i, scores[i], i)
    begun_s = max(t.seconds[TOTALS, BUSY_S], TINY_S)
    decided = retries = retried = failures = 0
    pass_number = 0
    while pass_number < passes:
        i = -1
        score = 0.0
        if pass_number == 0:
            if count == 0:
                pass_number, retries, failures = 1, failures, 0
                continue
            score, i = keys[0], items[0]
            candidate = moves.candidates[i]
            count -= 1
            sink(queue, count, keys[count], items[count])
        else:
            if retried == retries:
                if failures == retries:
                    break
                pass_number, retries, failures, retried = pass_number + 1, failures, 0, 0
                continue
            candidate = failed[retried]
            retried += 1
        kind = candidate // t.ints[SIZES, ACCESSES]
        if is_idle(t, candidate):
            decided += 1
            continue
        least = -np.inf
        if pass_number == 0 and count > 0 and policy.weighs[kind]:
            # It stays ahead of the next, or at least does not fall.
            least = min(keys[0], score - LEAST_FALL) - scores[i]
            aspects[6] = decided / total
            aspects[7] = t.seconds[TOTALS, BUSY_S] / begun_s
        first, last = span_of(t, candidate)
        offer = Offer(moves.gain_s[i], moves.room[i], least, policy.state_w[kind], aspects)
        outcome, worth = try_residency(t, first, last, offer, addresses)
        if outcome == LATER:
            add(queue, count, scores[i] + worth, i)
            count += 1
            continue
        decided += 1
        if outcome == FAILED:
            failed[failures] = candidate
            failures += 1
    return float(t.seconds[TOTALS, BUSY_S])


def decode(
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
    count = len(moves.candidates)
    queue = Queue(np.empty(count + 1), np.empty((2, count + 1), dtype=np.int64))
    policy = Weights(scores, state_w, (state_w != 0.0).any(axis=1), np.zeros(ASPECTS))
    return play_by_score(state.tables, start.tables, moves, policy, queue, passes, addresses)


def candidates_of(arrays: GameArrays) -> Ints:
    """(C,) all candidates: gaps, singles, and segments of three accesses or more kept whole."""
    accesses = len(arrays.access_segment)
    all_accesses = np.arange(accesses)
    firsts = arrays.segment_first[:-1]
    is_first = np.zeros(accesses, dtype=bool)
    is_first[firsts] = True
    gaps = all_accesses[~is_first]
    whole = firsts[np.diff(arrays.segment_first) > 2]
    return np.concatenate(
        [GAP * accesses + gaps, SINGLE * accesses + all_accesses, WHOLE * accesses + whole]
    ).astype(np.int64)
