"""Transfers in the order of need and in idle time: as legal as before, and shorter."""

from dataclasses import replace
from random import Random

import pytest

from tests.support.scratchpads import scratchpad_problem, scratchpad_target
from tests.support.solving import plan_of
from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import value_of
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solution
from ullage.solvers.paths.arrivals import move_in_idle_time, move_in_order_of_need
from ullage.solvers.paths.greedy import by_first_use, plan_of_pieces
from ullage.solvers.paths.joining import join_transfers
from ullage.solvers.paths.plan import NoAddress
from ullage.solvers.paths.polish import polish
from ullage.solvers.paths.setting import TieredProblem, tiered_problem
from ullage.solvers.paths.slices import Slice, Slicer
from ullage.solvers.paths.streaming import assignment_of, streaming


def _polished(seed: int, hops: int) -> tuple[TieredProblem, Slicer]:
    """A polished plan over some links, whose segments are cut into up to four slices."""
    rng = Random(seed)
    target = scratchpad_target(rng, hops, room=2048)
    target = replace(target, links=tuple(replace(x, setup_s=2e-8) for x in target.links))
    tiered = tiered_problem(scratchpad_problem(rng, target, 6))
    slicer, _ = streaming(tiered)
    for _ in range(2):
        slicer.place(
            {i: [h for s in items for h in _halves(s)] for i, items in slicer.items.items()}
        )
    polish(tiered.network, slicer, sorted(slicer.items), lambda: False)
    return tiered, slicer


def _halves(item: Slice) -> list[Slice]:
    middle = (item.start_byte + item.end_byte) // 16 * 8
    if not item.start_byte < middle < item.end_byte:
        return [item]
    return [replace(item, end_byte=middle), replace(item, start_byte=middle)]


def _space(plan: Assignment) -> set[tuple[object, ...]]:
    """What takes space when."""
    return {
        (r.buffer, r.start_byte, r.end_byte, r.tier, r.offset, r.start, r.end)
        for r in plan.residencies
    }


def _moved(plan: Assignment) -> dict[tuple[str, str], int]:
    """Bytes over each link."""
    total: dict[tuple[str, str], int] = {}
    for transfer in plan.transfers:
        way = transfer.source, transfer.destination
        total[way] = total.get(way, 0) + sum(size for _, size in transfer.moves)
    return total


def test_transfers_in_idle_time_take_the_same_space_and_less_time() -> None:
    shorter = 0
    for seed in range(24):
        tiered, slicer = _polished(seed, 1 + seed % 3)
        join_transfers(tiered.network, slicer)
        try:
            before = assignment_of(tiered, slicer)
        except NoAddress:
            continue
        move_in_idle_time(tiered.network, slicer)
        after = assignment_of(tiered, slicer)
        assert not find_violations(plan_of("idle", Solution(after)))
        assert _space(after) == _space(before)
        assert _moved(after) == _moved(before)
        assert len(after.transfers) == len(before.transfers)
        # Whole bytes: less than one for each transfer and step over the slowest link of 1 GB/s.
        rounding_s = len(after.transfers) * len(after.problem.steps) * 1e-9
        assert value_of(after) <= value_of(before) + rounding_s
        shorter += value_of(after) < 0.999 * value_of(before)
    assert shorter


def test_bytes_in_order_of_need_are_as_many_and_arrive_in_time() -> None:
    changed = fewer = 0
    for seed in range(24):
        tiered, slicer = _polished(seed, 1 + seed % 3)
        join_transfers(tiered.network, slicer)
        try:
            before = assignment_of(tiered, slicer)
            if not move_in_order_of_need(tiered.network, slicer):
                continue
            joined = join_transfers(tiered.network, slicer)
            after = assignment_of(tiered, slicer)
        except NoAddress:
            continue
        assert not find_violations(plan_of("in order", Solution(after)))
        assert _moved(after) == _moved(before)
        changed += after.transfers != before.transfers
        fewer += joined > 0
    assert changed > 3
    assert fewer


def test_greedy_plans_over_two_links_use_them_while_they_compute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whole plans are no longer than without, and some are shorter."""
    shorter = 0
    for seed in range(8):
        rng = Random(seed)
        target = scratchpad_target(rng, 2, room=4096)
        target = replace(target, links=tuple(replace(x, setup_s=2e-8) for x in target.links))
        problem = scratchpad_problem(rng, target, 8)
        after = value_of(plan_of_pieces(problem, (by_first_use,), Budget()))
        with monkeypatch.context() as without:
            name = "ullage.solvers.paths.improve."
            without.setattr(name + "move_in_idle_time", lambda *_: False)
            without.setattr(name + "move_in_order_of_need", lambda *_: False)
            before = value_of(plan_of_pieces(problem, (by_first_use,), Budget()))
        assert after <= before * (1 + 1e-12)
        shorter += after < before * (1 - 1e-6)
    assert shorter
