"""Joined transfers: fewer, and the plan is as legal as before."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from tests.support.scratchpads import scratchpad_problem, scratchpad_target
from tests.support.solving import plan_of
from ullage.compiler.common.arrays import Ints
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import value_of
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solution
from ullage.solvers.paths import joining
from ullage.solvers.paths.greedy import by_first_use, plan_of_pieces
from ullage.solvers.paths.joining import join_transfers
from ullage.solvers.paths.paths import START, Path
from ullage.solvers.paths.plan import NoAddress
from ullage.solvers.paths.polish import polish
from ullage.solvers.paths.setting import TieredProblem, tiered_problem
from ullage.solvers.paths.slices import Slice, Slicer
from ullage.solvers.paths.streaming import assignment_of, streaming


def test_joined_plans_are_legal_and_have_fewer_transfers() -> None:
    joined = several = 0
    for seed in range(40):
        rng = Random(seed)
        problem = scratchpad_problem(rng, scratchpad_target(rng, 2, room=2048), 6)
        tiered = tiered_problem(problem)
        slicer, _ = streaming(tiered)
        slicer.place(
            {i: [h for s in items for h in _halves(s)] for i, items in slicer.items.items()}
        )
        polish(tiered.network, slicer, sorted(slicer.items), lambda: False)
        try:
            before = assignment_of(tiered, slicer)
            joined += join_transfers(tiered.network, slicer)
            after = assignment_of(tiered, slicer)
        except NoAddress:
            continue
        assert not find_violations(plan_of("joined", Solution(after)))
        assert len(after.transfers) <= len(before.transfers)
        several += any(len(t.moves) > 1 for t in after.transfers)
    assert joined > 10
    assert several > 3


def test_neighbours_that_stay_two_leave_home_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans are legal and no slower, and the first link sets up less often."""
    pairs: list[object] = []

    def counted(*arguments: Any) -> list[Slice] | None:
        found = aligned(*arguments)
        pairs.extend(found or ())
        return found

    aligned = joining._aligned
    monkeypatch.setattr(joining, "_aligned", counted)
    for seed in range(60):
        rng = Random(seed)
        target = scratchpad_target(rng, 2, room=1024)
        target = replace(target, links=tuple(replace(x, setup_s=1e-7) for x in target.links))
        tiered = tiered_problem(scratchpad_problem(rng, target, 6))
        slicer, _ = streaming(tiered)
        slicer.place(
            {i: [h for s in items for h in _halves(s)] for i, items in slicer.items.items()}
        )
        polish(tiered.network, slicer, sorted(slicer.items), lambda: False)
        try:
            before = assignment_of(tiered, slicer)
            join_transfers(tiered.network, slicer)
            after = assignment_of(tiered, slicer)
        except NoAddress:
            continue
        assert not find_violations(plan_of("joined", Solution(after)))
        assert value_of(after) <= value_of(before) * (1 + 1e-9)
    assert pairs


def test_set_ups_make_transfers_fewer() -> None:
    """The same program with dear set-ups has no more transfers than with free ones."""
    rng = Random(3)
    free = scratchpad_target(rng, 2, room=4096)
    problem = scratchpad_problem(Random(4), free, 8)
    plan = plan_of_pieces(problem, (by_first_use,), Budget())
    links = {(t.source, t.destination) for t in plan.transfers}
    assert {("t2", "t1"), ("t1", "t0")} <= links


def _many_slices(seed: int, room: int = 2048) -> tuple[TieredProblem, Slicer]:
    """A polished plan whose segments are cut into up to 16 slices."""
    rng = Random(seed)
    tiered = tiered_problem(scratchpad_problem(rng, scratchpad_target(rng, 2, room=room), 6))
    slicer, _ = streaming(tiered)
    for _ in range(4):
        slicer.place(
            {i: [h for s in items for h in _halves(s)] for i, items in slicer.items.items()}
        )
    polish(tiered.network, slicer, sorted(slicer.items), lambda: False)
    return tiered, slicer


def test_what_moves_at_the_same_steps_is_one_part() -> None:
    joined = several = 0
    for seed in range(12):
        tiered, slicer = _many_slices(seed)
        joined += join_transfers(tiered.network, slicer)
        for item in (item for items in slicer.items.values() for item in items):
            starts = {tuple(path.residencies[:, START].tolist()) for _, path in item.parts}
            assert len(starts) == len(item.parts) != 1
            assert sum(size for size, _ in item.moving) == item.end_byte - item.start_byte
            several += bool(item.parts)
    assert joined > 30
    assert several


def test_joining_many_slices_that_move_alike_is_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attempt handles parts of two neighbours, not all slices that they were joined from."""
    handled: list[int] = []

    def counted(parts: Sequence[tuple[int, Path]], moves: Ints) -> tuple[tuple[int, Path], ...]:
        handled.append(len(parts))
        return apart(parts, moves)

    apart = joining._moving_apart
    monkeypatch.setattr(joining, "_moving_apart", counted)
    rng = Random(3)
    tiered = tiered_problem(scratchpad_problem(rng, scratchpad_target(rng, 2, room=4096), 6))
    slicer, _ = streaming(tiered)
    for _ in range(8):
        slicer.place(
            {i: [h for s in items for h in _halves(s)] for i, items in slicer.items.items()}
        )
    longest = max(len(items) for items in slicer.items.values())
    count = sum(len(items) for items in slicer.items.values())
    assert longest > 20
    assert join_transfers(tiered.network, slicer) > count / 2
    assert sum(handled) <= 4 * count  # two attempts for each pair, of a part each


@pytest.mark.parametrize("calls", [0, 1, 5, 20])
def test_joining_ends_with_the_time_and_leaves_a_legal_plan(calls: int) -> None:
    ended = 0
    for seed in range(8):
        asked: list[int] = []

        def is_over(asked: list[int] = asked) -> bool:
            asked.append(1)
            return len(asked) > calls

        tiered, slicer = _many_slices(seed)
        before = {index: list(items) for index, items in slicer.items.items()}
        joined = join_transfers(tiered.network, slicer, is_over)
        assert joined <= calls
        if calls == 0:
            assert slicer.items == before
        ended += len(asked) == calls + 1  # the first that says so is the last
        for index, items in slicer.items.items():
            assert [items[0].start_byte, items[-1].end_byte] == [
                before[index][0].start_byte,
                before[index][-1].end_byte,
            ]
            assert all(a.end_byte == b.start_byte for a, b in pairwise(items))
        try:
            assignment = assignment_of(tiered, slicer)
        except NoAddress:
            continue
        assert not find_violations(plan_of("joined", Solution(assignment)))
    assert ended > 2


def test_descent_asks_for_the_time_before_each_slice() -> None:
    """A weight of many slices does not outlast the time."""
    tiered, slicer = _many_slices(1)
    index = max(slicer.items, key=lambda at: len(slicer.items[at]))
    assert len(slicer.items[index]) > 4
    asked: list[int] = []

    def is_over() -> bool:
        asked.append(1)
        return len(asked) > 2

    polish(tiered.network, slicer, [index], is_over)
    assert len(asked) == 3


def _halves(item: Slice) -> list[Slice]:
    middle = (item.start_byte + item.end_byte) // 16 * 8
    if not item.start_byte < middle < item.end_byte:
        return [item]
    return [replace(item, end_byte=middle), replace(item, start_byte=middle)]
