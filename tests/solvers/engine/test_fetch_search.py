"""Times of mandatory transfers: compiled as plain, counted right, never more than there is room."""

from random import Random

import numpy as np
import pytest

from tests.support.scratchpads import scratchpad_problem, scratchpad_target
from tests.support.solving import plan_of
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import score
from ullage.solvers.budget import Budget
from ullage.solvers.engine.fetch_search import (
    DRAWN,
    FAILED,
    LIST_WIDTH,
    NEXT,
    PLACE,
    RESTORE,
    SEARCH,
    SEARCH_SLOTS,
    SHORTEN,
    work_on,
)
from ullage.solvers.engine.fetching import EARLY, LATE
from ullage.solvers.engine.jit import interpreted
from ullage.solvers.engine.tables import (
    ACCESS_STEP,
    ACCESSES,
    ADDRESSES,
    BUSY_S,
    CAPACITY,
    COUNTS,
    FILL,
    LISTED,
    LIVE,
    SIZES,
    SLOT_LAST,
    SLOT_MOVES,
    SLOT_PLACE,
    SPILL,
    STEP_LOAD,
    STEPS,
    TOTALS,
    WORK,
    Tables,
)
from ullage.solvers.interface import Solution
from ullage.solvers.state.build_plan import assemble
from ullage.solvers.state.decisions import decisions_of, read_decisions
from ullage.solvers.state.engine_tables import Needs
from ullage.solvers.state.greedy_moves import keep_what_pays
from ullage.solvers.state.place import place_residencies
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import segments_of


def _states(count: int) -> list[ResidencyState]:
    states = []
    for seed in range(count):
        rng = Random(seed)
        target = scratchpad_target(rng, 1, room=rng.choice((256, 512, 2048)), granularity=0)
        problem = scratchpad_problem(rng, target, 8)
        try:
            state = ResidencyState(problem, segments_of(problem))
            keep_what_pays(state, 64, Budget())
            place_residencies(state)
        except InfeasibleError:
            continue
        states.append(state)
    return states


STATES = _states(25)


def _tables(state: ResidencyState) -> tuple[Tables, np.ndarray, np.ndarray]:
    """Tables with all addresses; slots of residencies, and of those with transfers, by use."""
    extra = SEARCH_SLOTS + len(state.all_residencies())
    t = decisions_of(state, Needs(slots=extra, window=state.steps, width=LIST_WIDTH))
    slots = np.flatnonzero(t.state[SLOT_LAST, : t.ints[SIZES, ACCESSES]] >= 0)
    t.state[LISTED, : len(slots)], t.state[COUNTS, LIVE] = slots, len(slots)
    t.state[SLOT_PLACE, slots] = np.arange(len(slots))
    moving = slots[(t.state[SLOT_MOVES + FILL, slots] + t.state[SLOT_MOVES + SPILL, slots]) > 0]
    return t, slots, moving[np.argsort(t.ints[ACCESS_STEP, moving], kind="stable")]


def _check(state: ResidencyState, t: Tables, *, addressed: bool) -> None:
    """What tables count is what their decisions cost, and these are a legal plan."""
    assert (t.state[STEP_LOAD, : t.ints[SIZES, STEPS]] <= t.ints[SIZES, CAPACITY]).all()
    counted = ResidencyState(state.problem, state.segments)
    counted.replace_all(state.all_residencies())
    read_decisions(counted, t)
    again = ResidencyState(state.problem, state.segments)
    again.replace_all(counted.all_residencies())
    assert again.busy_time.total_s == pytest.approx(t.seconds[TOTALS, BUSY_S], rel=1e-9)
    assert (again.load_bytes == counted.load_bytes).all()
    if not addressed:
        return
    residencies = [residency for _, _, residency in again.all_residencies()]
    plan = plan_of("x", Solution(assemble(state.problem, state.segments, residencies)))
    assert not find_violations(plan)
    assert score(plan).latency_s >= again.busy_time.total_s * (1 - 1e-9)


@pytest.mark.parametrize("addressed", [False, True])
def test_compiled_as_plain_legal_and_counted_right(*, addressed: bool) -> None:
    plain = interpreted(work_on)
    faster = 0
    for seed, state in enumerate(STATES):
        pairs = [_tables(state) for _ in range(2)]
        begun_s = float(pairs[0][0].seconds[TOTALS, BUSY_S])
        for compiles, (t, _, moving) in enumerate(pairs):
            if not addressed:
                t.ints[SIZES, ADDRESSES] = 0
            chosen, best = np.zeros(LIST_WIDTH, dtype=np.int64), np.full(1, np.inf)
            chosen[DRAWN] = 1 + seed
            call = work_on if compiles else plain
            for task in (SHORTEN, EARLY, LATE):
                chosen[NEXT] = 0
                call(t, moving, chosen, best, task, 1 << 40, 0.0)
                assert chosen[NEXT] == len(moving)
                _check(state, t, addressed=addressed)
            if len(moving) > 1:
                until = int(t.state[COUNTS, WORK]) + 3000
                call(t, moving, chosen, best, SEARCH, until, 1e-9)
                assert t.state[COUNTS, WORK] >= until
                call(t, moving, chosen, best, RESTORE, 0, 0.0)
                assert t.seconds[TOTALS, BUSY_S] == pytest.approx(best[0], rel=1e-9)
                _check(state, t, addressed=addressed)
        for one, other in zip(pairs[0][0], pairs[1][0], strict=True):
            assert (one == other).all()
        faster += pairs[0][0].seconds[TOTALS, BUSY_S] < 0.99 * begun_s
    assert faster > 5


def test_what_finds_no_hole_is_fetched_right_before_its_use() -> None:
    placed = shortened = 0
    for state in STATES:
        t, slots, moving = _tables(state)
        t.ints[SIZES, ADDRESSES] = 0
        chosen, best = np.zeros(LIST_WIDTH, dtype=np.int64), np.full(1, np.inf)
        for task in (SHORTEN, EARLY):
            chosen[NEXT] = 0
            work_on(t, moving, chosen, best, task, 1 << 40, 0.0)
        wanted_s = float(t.seconds[TOTALS, BUSY_S])
        t.ints[SIZES, ADDRESSES] = t.ints[SIZES, CAPACITY]
        chosen[NEXT] = 0
        work_on(t, slots, chosen, best, PLACE, 1 << 40, 0.0)
        if chosen[NEXT] == FAILED:
            continue
        placed += 1
        shortened += t.seconds[TOTALS, BUSY_S] > wanted_s * (1 + 1e-9)
        _check(state, t, addressed=True)
    assert placed > len(STATES) // 2
    assert shortened
