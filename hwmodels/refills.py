"""Lower bounds in steady state on links that bring the weights which cannot stay.

Operators do not reach the weights' home (flash, a drive, the host's memory). Of W used bytes of
weights, K are kept: no transfer brings them, so that they are in other tiers all the time. The
other W - K bytes come over the link from home in every inference, each in a transfer of one weight.
While an operator runs, what came of its weight is there beside all that is kept and all other data
that is alive:

    tiers but home   |====== K kept ======|== of this weight: at most A ==|== live data: L ==|

A = R - L - K, where R is the room of these tiers and L the least live bytes of any step that reads
a weight. So n transfers bring at most the sum of min(size, A) over the n largest weights, and W - K
is no more than that. With few transfers much of a weight comes at once, and the room that it takes
could keep more; with many the link is set up more often. The bound is the least over n of

    (W - K) / rate + n * set-up        with the largest K that n transfers allow

Without set-ups, n is as large as it may be. A weight that no single step reads whole counts as one
that comes whole and without a set-up. Live data that is moved to the weights' home instead comes
back over the same link: a byte of it takes the place of a byte of the weights, without a set-up.
"""

from collections.abc import Iterator

import numpy as np

from ullage.compiler.common.arrays import Ints
from ullage.compiler.ir.problem import Problem, computed_once
from ullage.compiler.ir.program import Use
from ullage.hwmodels.resources import resources


@computed_once
def transfers_seconds(problem: Problem) -> float:
    """Least time for bytes and set-ups of the link from the weights' home, without overhead.

    It holds for this order of the steps. 0 where operators reach that home, where several links
    lead from it, and outside of steady state.
    """
    target = problem.target
    home = target.home("weight")
    links = [i for i, link in enumerate(target.links) if link.source == home.name]
    if not problem.steady_state or home.addressable or home is target.fastest or len(links) != 1:
        return 0.0
    step_of, bytes_of = _weights(problem)
    if not (step_of >= 0).any():
        return 0.0
    table, link = resources(problem), links[0]
    rate = min(float(table.move_rate[link]), float(table.read_rate[target.tier_index[home.name]]))
    setup_s = float(table.setup_s[link] / table.outstanding[link])
    room = sum(tier.capacity_bytes for tier in target.tiers if tier is not home)
    beside = max(0, room - int(live_data_bytes(problem)[np.unique(step_of[step_of >= 0])].min()))
    free = int(bytes_of[step_of < 0].sum())
    if not home.read_only and any(each.destination == home.name for each in target.links):
        free += sum(buffer.size_bytes for buffer in problem.buffers if not buffer.constant)
    total = int(bytes_of.sum())
    kept = _most_kept(np.sort(bytes_of[step_of >= 0])[::-1], total, free, beside)
    possible = kept >= 0
    counts = np.arange(len(kept))
    seconds = (total - kept[possible]) / rate + counts[possible] * setup_s
    return float(seconds.min(initial=np.inf)) if possible.any() else 0.0


def _most_kept(sizes: Ints, total: int, free: int, beside: int) -> Ints:
    """For n = 0, 1 ... transfers the most bytes that are kept, -1 where n are too few.

    With A for what comes at once, n transfers do where

        h(A) = free + sum of min(size, A) over the n largest - A + beside - total >= 0

    which does not fall up to the second largest size, and does not rise behind it.

    Args:
        sizes: bytes of the weights that come in transfers, falling.
        total: bytes of all weights.
        free: bytes that may come without a set-up.
        beside: room for what is kept and what comes.
    """
    counts = np.arange(len(sizes) + 1)
    sums = np.concatenate([[0], np.cumsum(sizes)])
    ascending = -sizes

    def slack(at_once: Ints) -> Ints:
        longer = np.minimum(np.searchsorted(ascending, -at_once), counts)
        brought = longer * at_once + sums[counts] - sums[longer]
        return np.asarray(free + brought - at_once + beside - total)

    low = np.full(len(counts), max(0, beside - total), dtype=np.int64)
    high = np.where(counts >= 2, np.maximum(low, sizes[1] if len(sizes) > 1 else 0), low)
    possible = slack(high) >= 0
    while (low < high).any():
        middle = (low + high) // 2
        enough = slack(middle) >= 0
        high = np.where(enough, middle, high)
        low = np.where(enough, low, np.minimum(middle + 1, high))
    return np.where(possible, np.minimum(total, beside - low), -1)


def _weights(problem: Problem) -> tuple[Ints, Ints]:
    """Of each weight that is used, the step that reads all of it, -1 without one, and its bytes."""
    steps, sizes = [], []
    for uses in _fetched_uses(problem):
        spans = [(use.start_byte, use.end_byte) for _, use in uses]
        covered = covered_bytes(spans)
        whole = [
            t for (t, _), (start, end) in zip(uses, spans, strict=True) if end - start == covered
        ]
        if covered:
            steps.append(whole[0] if whole else -1)
            sizes.append(covered)
    return np.array(steps, dtype=np.int64), np.array(sizes, dtype=np.int64)


def fetched_weights(problem: Problem) -> list[int]:
    """Bytes of each weight that operators use where its home is out of their reach.

    Look-ups do not count where DMA brings rows alone.
    """
    return [
        covered_bytes([(use.start_byte, use.end_byte) for _, use in uses])
        for uses in _fetched_uses(problem)
    ]


def _fetched_uses(problem: Problem) -> Iterator[list[tuple[int, Use]]]:
    """Of each weight the uses that need their bytes in reach of operators, where it has any."""
    by_dma = bool(problem.target.look_up_links)
    for buffer, uses in zip(problem.buffers, problem.uses_of, strict=True):
        kept = [(t, use) for t, use in uses if not (use.look_up and by_dma)]
        if buffer.constant and kept:
            yield kept


def covered_bytes(spans: list[tuple[int, int]]) -> int:
    """Bytes of the union of ranges."""
    total = covered_to = 0
    for start, end in sorted(spans):
        total += max(0, end - max(start, covered_to))
        covered_to = max(covered_to, end)
    return total


def live_data_bytes(problem: Problem) -> Ints:
    """(T,) bytes of data beside weights that are in other tiers than the weights' home.

    Operands of a step are, and what a later step reads before it is overwritten; of buffers whose
    home is that of the weights, operands alone.
    """
    steps, home = len(problem.steps), problem.target.home("weight")
    change = np.zeros(steps + 1, dtype=np.int64)
    for buffer, uses in zip(problem.buffers, problem.uses_of, strict=True):
        if buffer.constant or not (uses or buffer.final):
            continue
        stays = problem.target.home(buffer.kind) is not home
        edges = [edge for _, use in uses for edge in (use.start_byte, use.end_byte)]
        cuts = np.unique(edges + [edge for span in buffer.final for edge in span])
        sizes = np.diff(cuts)
        # The step behind the last one that used a segment; -1 before it holds anything.
        behind = np.full(len(sizes), 0 if buffer.initial else -1)
        for t in sorted({t for t, _ in uses}):
            read, used = np.zeros(len(sizes), dtype=bool), np.zeros(len(sizes), dtype=bool)
            for _, use in (each for each in uses if each[0] == t):
                part = slice(*np.searchsorted(cuts, (use.start_byte, use.end_byte)))
                used[part] = True
                read[part] |= not use.write
            begins = np.where(read & (behind >= 0) & stays, behind, t)[used]
            np.add.at(change, begins, sizes[used])
            change[t + 1] -= int(sizes[used].sum())
            behind[used] = t + 1
        for start, end in buffer.final if stays else ():
            part = slice(*np.searchsorted(cuts, (start, end)))
            alive = behind[part] >= 0
            np.add.at(change, behind[part][alive], sizes[part][alive])
            change[steps] -= int(sizes[part][alive].sum())
    return np.asarray(change.cumsum()[:steps])
