"""The features of each candidate for the network, and the heuristic's own order of candidates."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Floats, Ints
from ullage.rl_agent.env.game_instance import GameArrays, GameInstance
from ullage.rl_agent.env.state import State
from ullage.rl_agent.policy.decode import GAP, KINDS, SINGLE, WHOLE, Moves, candidates_of
from ullage.rl_agent.policy.prices import prices_of
from ullage.rl_agent.policy.trial import TINY_S
from ullage.solvers.engine.tables import EXPOSED, WEIGHTS

# Numbers about a candidate, F.
FEATURES = 39
# Exponent of the room in the heuristic's key: seconds lost / room ** 0.5, as in
# solvers/heuristics/msa.py.
ROOM_POWER = 0.5
# By how much candidates of one access are behind, in the key's logarithm.
SINGLE_LAST = 3.0
# By how much fetches of operands that must be there are behind all else, and one behind the other,
# in the same unit.
FETCH_LAST, FETCH_APART = 2.0, 0.2
# By how much the candidates that a known plan keeps are ahead, in the same unit.
KEEP_FIRST = 100.0
# Steps of a candidate at which the feature of its length is a half.
STEP_SCALE = 32.0
# Steps before an access in which idle link time counts as near.
NEAR_STEPS = 16


class Encoding(NamedTuple):
    """A program as the network sees it: C candidates.

    Attributes:
        moves: as `decode` takes them.
        features: (C, FEATURES) numbers of the order of one.
        key: (C,) the heuristic's score, a logarithm.
        by_step: (C,) candidates in the order of the step at which they end.
    """

    moves: Moves
    features: Floats
    key: Floats
    by_step: Ints


class _Moves(NamedTuple):
    """Columns of the candidates, each (C,)."""

    kind: Ints
    access: Ints
    segment: Ints
    first: Ints
    last: Ints
    low: Ints
    high: Ints
    length: Ints
    size: Ints
    lost_s: Floats


def encode(arrays: GameArrays, start: State) -> Encoding:
    """Candidates and features of a program, once for all decodes.

    The heuristic's key: the seconds that the uses of a move lose at home over the square root of
    the room (bytes x steps) that it takes, as `solvers/heuristics/msa.py` sorts whole tensors;
    single uses are put off, since what keeps a tensor over a gap or all its life includes them.
    When operands that must be there arrive is decided last, of the first uses first.
    """
    candidates = candidates_of(arrays)
    saved_s = _lost_seconds(arrays, start)
    moves = _moves_of(arrays, candidates, saved_s)
    room = np.maximum(moves.size * moves.length, 1).astype(np.float64)
    key = np.log(np.maximum(moves.lost_s, TINY_S)) - ROOM_POWER * np.log(room)
    key -= SINGLE_LAST * (moves.kind == SINGLE)
    fetched = _is_fetch(arrays, moves)
    if fetched.any():  # when all is decided but this, in the order of uses
        ranks = np.argsort(np.argsort(moves.low[fetched], kind="stable"))
        key[fetched] = key.min() - FETCH_LAST - FETCH_APART * ranks
    features = _features(arrays, start, moves, saved_s, key)
    by_step = np.lexsort((candidates, moves.high)).astype(np.int64)
    return Encoding(Moves(candidates, moves.lost_s, room), features, key, by_step)


def lead_of_residencies(
    instance: GameInstance, encoding: Encoding, residencies: Iterable[tuple[int, int, int]]
) -> Floats:
    """(C,) numbers to add to scores so that the residencies of a plan are tried before all else.

    Args:
        instance: of the program.
        encoding: of the program.
        residencies: (index into `GameInstance.segments`, first access, last access) of each.
    """
    arrays = instance.arrays
    number = {int(segment): i for i, segment in enumerate(instance.playable)}
    residency_of = np.full(len(arrays.access_segment), -1, dtype=np.int64)
    for index, first, last in residencies:
        if index in number:
            begin = int(arrays.segment_first[number[index]])
            residency_of[begin + first : begin + last + 1] = begin + first
    moves = _moves_of(arrays, encoding.moves.candidates, np.zeros(len(arrays.access_segment)))
    is_kept = (residency_of[moves.first] >= 0) & (
        residency_of[moves.first] == residency_of[moves.last]
    )
    return np.asarray(KEEP_FIRST * (is_kept & ~_is_fetch(arrays, moves)))


def _is_fetch(arrays: GameArrays, moves: _Moves) -> NDArray[np.bool_]:
    """(C,) whether a candidate says when an operand that must be there arrives."""
    return np.asarray((moves.kind == SINGLE) & (arrays.must[moves.segment] == 1))


def _moves_of(arrays: GameArrays, candidates: Ints, saved_s: Floats) -> _Moves:
    accesses = len(arrays.access_segment)
    kind, access = candidates // accesses, candidates % accesses
    segment = arrays.access_segment[access]
    first = np.where(kind == GAP, access - 1, access)
    last = np.where(kind == WHOLE, arrays.segment_first[segment + 1] - 1, access)
    low, high = arrays.access_step[first], arrays.access_step[last]
    sums = np.concatenate([np.zeros(1), saved_s.cumsum()])
    lost_s = sums[last + 1] - sums[first]
    size = arrays.aligned_bytes[segment]
    return _Moves(kind, access, segment, first, last, low, high, high - low + 1, size, lost_s)


def _features(
    arrays: GameArrays, start: State, moves: _Moves, saved_s: Floats, key: Floats
) -> Floats:
    kind, _, segment, first, last, low, high, length, size, lost_s = moves
    rank = np.empty(len(key))
    rank[np.argsort(-key, kind="stable")] = np.arange(len(key))
    steps = len(arrays.compute_s)
    mean_s = max(float(start.busy_s.mean()), 1e-30)
    capacity = max(arrays.capacity_bytes, 1)
    share = size / capacity
    behind = arrays.segment_first[segment + 1]
    uses = behind - arrays.segment_first[segment]
    live_ranges = (
        arrays.access_step[behind - 1] - arrays.access_step[arrays.segment_first[segment]] + 1
    )
    segment_s = np.bincount(arrays.access_segment, saved_s, len(arrays.size_bytes))[segment]
    crowd = _demand(arrays) / capacity
    gaps = kind == GAP
    prices, load = prices_of(
        low[gaps], high[gaps], size[gaps], saved_s[last[gaps]], arrays.workspace_bytes, capacity
    )
    rent_s = size * _between(prices, low, high)
    busy = np.maximum(start.busy_s, 1e-30)
    idle_s = busy - start.link_s.sum(axis=0) - start.tier_s[1:].max(axis=0, initial=0.0)
    idle_s = np.maximum(idle_s, 0.0)
    up = np.maximum(arrays.link_up[segment], 0)
    copy_s = size / arrays.link_rate[up] if len(arrays.link_rate) else np.zeros(len(size))
    copy_s = np.maximum(copy_s, 1e-30)
    bound = 1.0 - arrays.compute_s / busy
    near_s = _between(idle_s, np.maximum(low - NEAR_STEPS, 0), np.maximum(low - 1, 0))
    columns = [
        # Kind; rank by the heuristic's key; seconds that all its accesses, and its last one, save.
        *(kind == k for k in range(KINDS)),
        1 - 2 * rank / max(len(key) - 1, 1),
        np.log(lost_s / mean_s + 1e-6) / 4,
        np.log(saved_s[last] / mean_s + 1e-6) / 4,
        # Size over the capacity, steps, accesses at its ends, and what its segment is.
        np.log1p(share),
        np.log(share + 1e-4) / 4,
        np.log1p(length) / 3,
        np.log(length) / 2,
        STEP_SCALE / (STEP_SCALE + length),
        arrays.access_reads[first],
        arrays.access_writes[first],
        arrays.access_writes[last],
        arrays.is_given[segment],
        arrays.output[segment],
        arrays.must[segment],
        # Seconds saved against room, price of the room, transfer, and those of the whole segment.
        np.log1p(lost_s / mean_s),
        _balance(lost_s / mean_s, share * length),
        _balance(lost_s, rent_s),
        _balance(saved_s[last], rent_s),
        _balance(lost_s, copy_s),
        _balance(segment_s / mean_s, share * live_ranges),
        lost_s / np.maximum(segment_s, 1e-30),
        saved_s[last] / busy[high],
        saved_s[first] / busy[low],
        # Demand, load and prices of fast memory over its steps.
        np.log(_between(crowd, low, high) / length + 1e-2) / 3,
        np.log(crowd[high] + 1e-2) / 3,
        _between(load, low, high) / length / capacity,
        _between((prices > 0).astype(np.float64), low, high) / length,
        # Accesses of the segment, in all and behind; idle link time before its first step.
        uses.clip(max=16) / 8,
        (behind - 1 - last).clip(max=16) / 8,
        near_s / (near_s + copy_s),
        idle_s[np.maximum(low - 1, 0)] / (idle_s[np.maximum(low - 1, 0)] + copy_s),
        # How long its steps are, how far memory bounds them, and how late in the program it ends.
        np.minimum(_between(busy, low, high) / mean_s, 64.0) / 16,
        bound[low],
        bound[high],
        _between(bound, low, high) / length,
        high / max(steps, 1),
    ]
    return np.stack([np.asarray(c, dtype=np.float64) for c in columns], axis=1)


def _between(values: Floats, low: Ints, high: Ints) -> Floats:
    """(C,) sums of values (T,) over steps low..high."""
    sums = np.concatenate([np.zeros(1), values.cumsum()])
    return np.asarray(np.maximum(sums[high + 1] - sums[low], 0.0))


def _balance(gain: Floats, cost: Floats) -> Floats:
    """Logarithm of gain over cost, squeezed into (-1, 1): 0 where they are equal."""
    tiny = 1e-30
    return np.tanh(np.log((gain + tiny) / (cost + tiny)) / 6)


def _lost_seconds(arrays: GameArrays, start: State) -> Floats:
    """(E,) seconds by which each access prolongs its step at home, before the first move."""
    home = arrays.home[arrays.access_segment]
    step = arrays.access_step
    port_s = arrays.access_read_bytes / arrays.read_rate[home]
    with np.errstate(divide="ignore", invalid="ignore"):
        write_s = arrays.access_written_bytes / arrays.write_rate[home]
    port_s += np.where(arrays.access_written_bytes > 0, write_s, 0.0)
    rest = arrays.compute_s[step].copy()
    for m in range(len(arrays.read_rate)):
        other = start.tier_s[m, step] - np.where(home == m, port_s, 0.0)
        rest = np.maximum(rest, other)
    if start.unit_s is not None:
        exposed = start.tables.floats[WEIGHTS, EXPOSED]
        rest = np.maximum(rest, start.unit_s[step] - exposed * port_s)
    return np.maximum(start.busy_s[step] - rest, 0.0)


def _demand(arrays: GameArrays) -> Floats:
    """(T,) live bytes in the fastest tier if all segments were there for their whole live range."""
    change = np.zeros(len(arrays.compute_s) + 1)
    firsts, lasts = arrays.segment_first[:-1], arrays.segment_first[1:] - 1
    np.add.at(change, arrays.access_step[firsts], arrays.aligned_bytes)
    np.add.at(change, arrays.access_step[lasts] + 1, -arrays.aligned_bytes)
    return change.cumsum()[:-1] + arrays.workspace_bytes
