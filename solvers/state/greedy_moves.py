"""The improvements that `greedy` makes, on a residency state.

The rounding of `fluid` and others repair their plans with them too. Each is taken only when the
objective improves, so a state only gets better. The engine's kernels try them (see `kernels`).
"""

from collections.abc import Collection, Sequence

import numpy as np

from ullage.compiler.common.arrays import Ints
from ullage.solvers.budget import Budget
from ullage.solvers.engine.joining import DONE, try_candidates
from ullage.solvers.engine.tables import (
    ACCESS_SEGMENT,
    ACCESS_SLOT,
    ACCESS_STEP,
    ACCESSES,
    COUNTS,
    FILL,
    SEGMENT_BYTES,
    SEGMENT_FIRST,
    SIZES,
    SLOT_LAST,
    SLOT_MOVES,
    SPILL,
    WORK,
    Tables,
)
from ullage.solvers.state.decisions import decisions_of, read_decisions
from ullage.solvers.state.engine_tables import Needs, movable
from ullage.solvers.state.kernels import choose_kernel
from ullage.solvers.state.residency_state import ResidencyState

# How often the gaps that could not be closed are tried again: one may have to wait for the gap
# behind it, which makes room for its spill.
MAX_PASSES = 4


def keep_what_pays(
    state: ResidencyState,
    window: int,
    budget: Budget,
    *,
    hides: bool = True,
    compiles: bool | None = None,
) -> None:
    """Close gaps between accesses, then serve single ones in the fastest tier, where that pays.

    Args:
        state: the decisions; is changed.
        window: steps before the first access within which a fill may begin, and after the last
            within which a spill must end.
        budget: the time; when it is over, what is decided stays.
        hides: try single accesses, too.
        compiles: whether kernels are compiled; None: where the program is large, and there is time.
    """
    t = decisions_of(state, Needs(slots=1, window=window))
    trial = _Trial(t, budget, compiles)
    _close_gaps(trial)
    _keep_stretches(trial)
    if hides:
        _hide_singles(trial)
    read_decisions(state, t)


def join_pairs(
    state: ResidencyState, pairs: Sequence[tuple[int, int]], window: int, budget: Budget
) -> None:
    """Keep segments over certain gaps, in the order given, where that pays.

    Args:
        state: the decisions; is changed.
        pairs: index of a segment, and the access behind the gap.
        window: as for `keep_what_pays`.
        budget: the time.
    """
    t = decisions_of(state, Needs(slots=1, window=window))
    numbers = {index: number for number, index in enumerate(movable(state))}
    kept = [(numbers[index], access) for index, access in pairs if index in numbers]
    if kept:
        chosen = np.array(kept, dtype=np.int64).T
        last = t.ints[SEGMENT_FIRST, chosen[0]] + chosen[1]
        _Trial(t, budget).run(last - 1, last)
        read_decisions(state, t)


def retime(
    state: ResidencyState, window: int, budget: Budget, only: Collection[int] | None = None
) -> None:
    """Spread fills and spills, byte by byte, over idle steps nearby where that is faster.

    Args:
        state: the decisions; is changed.
        window: as for `keep_what_pays`.
        budget: the time.
        only: indices of the segments whose transfers are tried, in the order of uses; None: all.
    """
    t = decisions_of(state, Needs(slots=1, window=window))
    slots = np.flatnonzero(t.state[SLOT_LAST, : t.ints[SIZES, ACCESSES]] >= 0)
    moves = t.state[SLOT_MOVES + FILL, slots] + t.state[SLOT_MOVES + SPILL, slots]
    slots = slots[moves > 0]
    if only is not None:
        wanted = [number for number, index in enumerate(movable(state)) if index in only]
        slots = slots[np.isin(t.ints[ACCESS_SEGMENT, slots], wanted)]
        slots = slots[np.argsort(t.ints[ACCESS_STEP, slots], kind="stable")]
    _Trial(t, budget).run(slots, t.state[SLOT_LAST, slots], anew=True)
    read_decisions(state, t)


class _Trial:
    """Tables, and the kernel that tries candidates on them."""

    def __init__(self, t: Tables, budget: Budget, compiles: bool | None = None) -> None:
        self.tables, self.budget = t, budget
        accesses = int(t.ints[SIZES, ACCESSES])
        self.kernel = choose_kernel(try_candidates, accesses, budget, compiles)
        self.steps = t.ints[ACCESS_STEP, :accesses]
        self.segments = t.ints[ACCESS_SEGMENT, :accesses]
        self.sizes = t.ints[SEGMENT_BYTES, self.segments]

    def run(self, first: Ints, last: Ints, *, anew: bool = False) -> Ints:
        """Try candidates; returns the numbers of those that were not taken."""
        candidates = np.stack([first, last, np.zeros_like(first)])
        counts = self.tables.state[COUNTS]
        at = 0
        while at < len(first) and not self.budget.is_over():
            until = int(counts[WORK]) + self.kernel.slice_work
            at = self.kernel.call(self.tables, candidates, at, until, anew)
        return np.flatnonzero(candidates[DONE] == 0)


def _close_gaps(trial: _Trial) -> None:
    """Keep segments over the gaps between two of their accesses, shortest gap first."""
    last = np.flatnonzero(trial.segments[1:] == trial.segments[:-1]) + 1
    gaps = trial.steps[last] - trial.steps[last - 1]
    waiting = last[np.lexsort((last, -trial.sizes[last], gaps))]
    for _ in range(MAX_PASSES):
        left = trial.run(waiting - 1, waiting)
        if len(left) == len(waiting):
            return
        waiting = waiting[left]


def _keep_stretches(trial: _Trial) -> None:
    """Keep segments over stretches of accesses of which each gap alone did not pay.

    Bytes that several operators change in place are an example: to keep them between two of the
    operators brings a store to their home, which costs what is saved, unless they are kept until
    the last one has read them. Shortest stretch first.
    """
    slots = trial.tables.state[ACCESS_SLOT, : len(trial.steps)]
    joins = (trial.segments[1:] == trial.segments[:-1]) & (slots[1:] < 0) & (slots[:-1] < 0)
    edges = np.diff(np.concatenate(([False], joins, [False])).astype(np.int64))
    first, last = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    long = last - first > 1
    first, last = first[long], last[long]
    order = np.lexsort((first, -trial.sizes[first], trial.steps[last] - trial.steps[first]))
    trial.run(first[order], last[order])


def _hide_singles(trial: _Trial) -> None:
    """Fetch ahead, or store later, what operators would access at home."""
    single = np.flatnonzero(trial.tables.state[ACCESS_SLOT, : len(trial.steps)] < 0)
    single = single[np.lexsort((single, -trial.sizes[single], trial.steps[single]))]
    trial.run(single, single)
