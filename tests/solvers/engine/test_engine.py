"""The engine's kernels: one signature each, and the same answers as the plain state has."""

from random import Random

import numpy as np
import pytest

from tests.support.cases import random_case
from ullage.compiler.common.errors import InfeasibleError
from ullage.solvers.annealing.search import search
from ullage.solvers.annealing.tables import search_tables
from ullage.solvers.budget import Budget
from ullage.solvers.engine import addresses, costs, transfers
from ullage.solvers.engine.jit import entry
from ullage.solvers.engine.tables import (
    BUSY_S,
    CAPACITY,
    COUNTS,
    FILL,
    LINEAR,
    LIVE,
    RESOURCE,
    SEGMENT_BYTES,
    SEGMENT_LINK,
    SIZES,
    SLOT_ALIGNED,
    SLOT_MOVES,
    SLOT_OFFSET,
    SLOTS,
    SPILL,
    STEP_BUSY,
    STEP_LOAD,
    STEP_WORKSPACE,
    TOTALS,
    Tables,
)
from ullage.solvers.state.address_map import best_fit
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.busy_time import spread
from ullage.solvers.state.engine_tables import (
    Needs,
    movable,
    read_residency,
    tables_of,
    write_residency,
)
from ullage.solvers.state.place import place_residencies
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import segments_of


def _cases(count: int) -> list[ResidencyState]:
    placed = []
    for seed in range(count):
        problem = random_case(seed, operators=10)
        try:
            state = ResidencyState(problem, segments_of(problem))
            place_residencies(state)
        except InfeasibleError:
            continue
        if movable(state):
            placed.append(state)
    return placed


CASES = _cases(20)


def _tables(state: ResidencyState) -> Tables:
    """Tables with the residencies of an state in their slots and its costs, nothing covered."""
    t = tables_of(state, Needs(slots=1))
    busy_time, steps = state.busy_time, state.steps
    rows = [busy_time.tier_s[tier.name] for tier in state.target.tiers]
    rows += [busy_time.link_s[k.source, k.destination] for k in state.target.links]
    t.seconds[RESOURCE : RESOURCE + len(rows), :steps] = rows
    t.seconds[STEP_BUSY, :steps] = busy_time.busy_s
    t.seconds[TOTALS, [BUSY_S, LINEAR]] = busy_time.total_s, busy_time.slow_bytes
    t.state[STEP_LOAD, :steps] = state.load_bytes
    return t


def _spread(t: Tables, slot: int, way: int, segment: int, low: int, high: int) -> None:
    transfers.spread(t, slot, way, segment, low, high)


def _account(t: Tables, slot: int, first: int, last: int, sign: int) -> None:
    costs.account(t, slot, first, last, sign)


def _find_hole(t: Tables, slot: int, size: int) -> int:
    return addresses.find_hole(t, slot, size, -1, -1)


spread_kernel = entry(_spread)
account_kernel = entry(_account)
find_hole_kernel = entry(_find_hole)


def test_transfers_are_spread_as_the_plain_function_does() -> None:
    rng = Random(0)
    compared = 0
    for state in CASES:
        t, target = _tables(state), state.target
        for number, index in enumerate(movable(state)):
            home, fastest = state.segments[index].home, target.fastest.name
            for way, ends in ((FILL, (home, fastest)), (SPILL, (fastest, home))):
                if t.ints[SEGMENT_LINK + way, number] < 0:
                    continue
                low = rng.randrange(state.steps)
                high = rng.randrange(low, min(state.steps, low + 60)) + 1
                slot = len(t.ints[0]) - 1
                spread_kernel(t, slot, way, number, low, high)
                residency = read_residency(t, slot, index)
                room = state.busy_time.room_bytes(*ends, low, high) + transfers.SPARE_BYTES
                size = int(t.ints[SEGMENT_BYTES, number])
                expected = spread(size, room, low, late=way == FILL)
                assert (residency.fill if way == FILL else residency.spill) == expected
                t.state[SLOT_MOVES + way, slot] = 0
                compared += 1
    assert compared > 100


def test_residencies_cost_what_the_plain_state_counts() -> None:
    compared = 0
    for state in CASES:
        t = _tables(state)
        first = 0
        for index in movable(state):
            count = len(state.segments[index].accesses)
            for begin, (last, residency) in list(state.residencies[index].items()):
                slot = first + begin
                write_residency(t, slot, residency)
                for sign in (-1, 1, -1):
                    account_kernel(t, slot, slot, first + last, sign)
                state.remove(index, begin)
                steps = state.steps
                busy_s = state.busy_time.busy_s
                assert t.seconds[STEP_BUSY, :steps] == pytest.approx(busy_s, rel=1e-9)
                assert t.seconds[TOTALS, BUSY_S] == pytest.approx(state.busy_time.total_s)
                assert t.seconds[TOTALS, LINEAR] == pytest.approx(state.busy_time.slow_bytes)
                assert (t.state[STEP_LOAD, :steps] == state.load_bytes).all()
                compared += 1
            first += count
    assert compared > 10


def test_kernels_have_one_signature_each_and_python_cannot_call_them() -> None:
    state = CASES[0]
    search(search_tables(state, 0), Budget(), 30_000)
    kernels = [
        kernel
        for module in (costs, transfers, addresses)
        for kernel in vars(module).values()
        if hasattr(kernel, "py_func")
    ]
    assert len(kernels) > 20
    assert all(len(kernel.overloads) <= 1 for kernel in kernels)
    with pytest.raises(TypeError, match="update_busy is for kernels only"):
        costs.update_busy(_tables(state), 0)


def test_holes_are_those_of_the_plain_map() -> None:
    rng = Random(0)
    without = 0
    for state in CASES:
        t = tables_of(state, Needs(slots=40))
        t.state[COUNTS, LIVE] = 0
        capacity = int(t.ints[SIZES, CAPACITY])
        t.ints[STEP_WORKSPACE] = 0
        slots, steps = int(t.ints[SIZES, SLOTS]), state.steps
        taken = []
        for slot in range(slots - 40, slots):
            start = rng.randrange(steps)
            end = rng.randrange(start, steps) + 1
            size = rng.randrange(1, capacity // 4 + 2)
            asked = SegmentResidency(0, start, start, end)
            write_residency(t, slot, asked)
            hole = find_hole_kernel(t, slot, size)
            boxes = np.array(taken, dtype=np.int64).reshape(-1, 4).T
            best = best_fit(*boxes, start, end, size, 1, capacity)
            assert hole == (-1 if best is None else best)
            without += hole < 0
            t.state[SLOT_OFFSET, slot] = hole
            t.ints[SLOT_ALIGNED, slot] = size
            if hole >= 0:
                taken.append((start, end, hole, size))
    assert without > 10
