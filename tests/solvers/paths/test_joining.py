"""Joined transfers: fewer, and the plan is as legal as before."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from tests.support.scratchpads import scratchpad_problem, scratchpad_target
from tests.support.solving import plan_of
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import value_of
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solution
from ullage.solvers.paths import joining
from ullage.solvers.paths.greedy import by_first_use, plan_of_pieces
from ullage.solvers.paths.joining import join_transfers
from ullage.solvers.paths.plan import NoAddress
from ullage.solvers.paths.polish import polish
from ullage.solvers.paths.setting import tiered_problem
from ullage.solvers.paths.slices import Slice
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
    plan = plan_of_pieces(problem, by_first_use, Budget())
    links = {(t.source, t.destination) for t in plan.transfers}
    assert {("t2", "t1"), ("t1", "t0")} <= links


def _halves(item: Slice) -> list[Slice]:
    middle = (item.start_byte + item.end_byte) // 16 * 8
    if not item.start_byte < middle < item.end_byte:
        return [item]
    return [replace(item, end_byte=middle), replace(item, start_byte=middle)]
