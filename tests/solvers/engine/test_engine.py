"""The engine's kernels: one signature each, and the same answers as the plain state has."""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

import numpy as np
import pytest

from tests.support.cases import random_case
from tests.support.plain_moves import room_bytes, spread
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
    RESOURCES,
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
from ullage.solvers.state.busy_time import Moves
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
    """Tables with the residencies of a state in their slots and its costs, nothing covered."""
    t = tables_of(state, Needs(slots=1))
    busy_time, steps = state.busy_time, state.steps
    rows = [busy_time.tier_s[tier.name] for tier in state.target.tiers]
    rows += [busy_time.link_s[k.source, k.destination] for k in state.target.links]
    rows += [busy_time.unit_s] if busy_time.exposed else []
    assert t.ints[SIZES, RESOURCES] == len(rows)
    t.seconds[RESOURCE : RESOURCE + len(rows), :steps] = rows
    t.seconds[STEP_BUSY, :steps] = busy_time.busy_s
    t.seconds[TOTALS, [BUSY_S, LINEAR]] = busy_time.total_s, busy_time.slow_bytes
    t.state[STEP_LOAD, :steps] = state.load_bytes
    return t


def _spread(t: Tables, slot: int, way: int, segment: int, low: int, high: int) -> None:
    transfers.spread(t, slot, way, segment, low, high, way == FILL)


def _account(t: Tables, slot: int, first: int, last: int, sign: int) -> None:
    costs.account(t, slot, first, last, sign)


def _find_hole(t: Tables, slot: int, size: int) -> int:
    return addresses.find_hole(t, slot, size, -1, -1)


spread_kernel = entry(_spread)
account_kernel = entry(_account)
find_hole_kernel = entry(_find_hole)


class Asked(NamedTuple):
    """A transfer of a segment in steps [low, high), between two tiers."""

    index: int
    number: int
    way: int
    ends: tuple[str, str]
    low: int
    high: int


def _transfers(t: Tables, state: ResidencyState, rng: Random) -> Iterator[Asked]:
    """A fill and a spill of each segment, in random steps."""
    fastest = state.target.fastest.name
    for number, index in enumerate(movable(state)):
        home = state.segments[index].home
        for way, ends in ((FILL, (home, fastest)), (SPILL, (fastest, home))):
            if t.ints[SEGMENT_LINK + way, number] >= 0:
                low = rng.randrange(state.steps)
                high = rng.randrange(low, min(state.steps, low + 60)) + 1
                yield Asked(index, number, way, ends, low, high)


def _moves(t: Tables, asked: Asked) -> Moves:
    """What the kernel does with a transfer."""
    slot = len(t.ints[0]) - 1
    spread_kernel(t, slot, asked.way, asked.number, asked.low, asked.high)
    residency = read_residency(t, slot, asked.index)
    t.state[SLOT_MOVES + asked.way, slot] = 0
    return residency.fill if asked.way == FILL else residency.spill


def test_transfers_are_spread_as_the_plain_function_does() -> None:
    rng = Random(0)
    compared = 0
    for state in CASES:
        t = _tables(state)
        for asked in _transfers(t, state, rng):
            size, late = int(t.ints[SEGMENT_BYTES, asked.number]), asked.way == FILL
            steps = (asked.low, asked.high)
            expected = spread(state.busy_time, asked.ends, size, *steps, late=late)
            assert _moves(t, asked) == expected
            compared += 1
    assert compared > 100


def test_a_transfer_without_an_idle_step_goes_where_the_step_grows_least() -> None:
    """The plain state is charged with all bytes in each of the steps in turn."""
    rng = Random(1)
    compared = away = 0
    for state in CASES:
        t, busy_time = _tables(state), state.busy_time
        for asked in _transfers(t, state, rng):
            room = room_bytes(busy_time, *asked.ends, asked.low, asked.high)
            if (room + transfers.SPARE_BYTES >= 1).any():
                continue
            size = int(t.ints[SEGMENT_BYTES, asked.number])
            growth = {}
            for step in range(asked.low, asked.high):
                before_s = busy_time.total_s
                busy_time.add_moves(*asked.ends, ((step, size),))
                growth[step] = busy_time.total_s - before_s
                busy_time.add_moves(*asked.ends, ((step, size),), -1)
            least_s = min(growth.values()) + 1e-9 * busy_time.total_s
            equals = [step for step, seconds in growth.items() if seconds <= least_s]
            chosen = equals[-1 if asked.way == FILL else 0]
            assert _moves(t, asked) == ((chosen, size),)
            compared += 1
            away += chosen != (asked.high - 1 if asked.way == FILL else asked.low)
    assert compared > 20
    assert away > 5


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
