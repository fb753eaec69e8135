"""Charges and compulsory traffic against twins that look at every byte."""

from collections import defaultdict
from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.byte_twins import REACHES, THREE, compulsory_bytes
from tests.support.frozen import changeable
from tests.support.programs import random_ranges
from ullage.compiler.common.errors import VerificationError
from ullage.compiler.ir.plan import Plan, Residency, Transfer
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import Buffer, Program, Step
from ullage.compiler.ir.target import Target
from ullage.hwmodels import traffic
from ullage.hwmodels.traffic import (
    compulsory,
    compulsory_resident,
    dma_charges,
    operand_charges,
    tier_bytes,
)


def random_places(program: Program, rng: Random) -> Plan:
    """Slices of the buffers in any tier at any time; nothing that is used need be anywhere."""
    last = len(program.steps)
    items: list[Residency] = []
    for b, buffer in enumerate(program.buffers):
        for tier in THREE.tiers:
            inner = range(1, buffer.size_bytes)
            cuts = sorted(rng.sample(inner, rng.randint(0, min(3, len(inner)))))
            for low, high in zip([0, *cuts], [*cuts, buffer.size_bytes], strict=True):
                times = sorted(rng.choices(range(last + 1), k=rng.choice((2, 4))))
                if rng.random() < 0.6:
                    times = [0, last]
                for start, end in zip(times[::2], times[1::2], strict=True):
                    if start < end and rng.random() < 0.8:
                        ready = rng.choice((start, rng.randint(start, end)))
                        items.append(Residency(b, low, high, tier.name, 0, start, ready, end))
    rng.shuffle(items)
    return Plan(Problem(program, THREE), tuple(items), (), "random")


Row = tuple[int, int, bool, int, int, int, float]


def twin_charges(plan: Plan) -> list[Row] | tuple[int, str, int, int]:
    """All parts of all uses, or the first bytes that are nowhere.

    A part is (buffer, step, write, residency, first byte, end byte, charged); what is nowhere is
    (step, buffer, first byte, end byte).
    """
    rows: list[Row] = []
    for b, buffer in enumerate(plan.problem.buffers):
        for t, use in plan.problem.uses_of[b]:
            holders: list[int | None] = []
            for byte in range(use.start_byte, use.end_byte):
                ready = [
                    (plan.target.tier_index[r.tier], i)
                    for i, r in enumerate(plan.residencies)
                    if r.buffer == b and r.start_byte <= byte < r.end_byte and r.ready <= t < r.end
                ]
                holders.append(min(ready)[1] if ready else None)
            runs: list[tuple[int | None, int, int]] = []
            for byte, holder in enumerate(holders, start=use.start_byte):
                if runs and runs[-1][0] == holder:
                    runs[-1] = (holder, runs[-1][1], byte + 1)
                else:
                    runs.append((holder, byte, byte + 1))
            for holder, low, high in runs:
                if holder is None:
                    return t, buffer.name, low, high
                charged = use.accessed_bytes * (high - low) / len(holders)
                rows.append((b, t, use.write, holder, low, high, charged))
    return rows


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6))
def test_operands_are_charged_byte_by_byte_to_the_fastest_tier_that_has_them(seed: int) -> None:
    rng = Random(seed)
    plan = random_places(random_ranges(rng), rng)
    expected = twin_charges(plan)
    if isinstance(expected, tuple):
        with pytest.raises(VerificationError, match="which no ready residency holds") as caught:
            operand_charges(plan)
        details = caught.value.details
        names = ("step", "buffer", "start_byte", "end_byte")
        assert tuple(details[name] for name in names) == expected
        assert f"bytes [{expected[2]}, {expected[3]}) of {expected[1]}" in caught.value.message
        return
    found = operand_charges(plan)
    columns = (found.step, found.write, found.residency, found.start_byte, found.end_byte)
    rows = [tuple(row) for row in zip(*(c.tolist() for c in columns), strict=True)]
    wanted = [row[1:-1] for row in expected]
    assert sorted(rows) == sorted(wanted)
    assert [row[:2] for row in rows] == [row[:2] for row in wanted]  # by buffer, step, direction
    tiers = [THREE.tier_index[plan.residencies[i].tier] for i in found.residency.tolist()]
    assert found.tier.tolist() == tiers

    steps = len(plan.problem.steps)
    sums = np.zeros((2, len(THREE.tiers), steps))
    for _, t, write, holder, _, _, charged in expected:
        sums[int(write), THREE.tier_index[plan.residencies[holder].tier], t] += charged
    assert tier_bytes(found, THREE, steps) == pytest.approx(sums)


def test_random_places_are_both_charged_and_missing() -> None:
    outcomes = []
    for seed in range(200):
        rng = Random(seed)
        outcomes.append(type(twin_charges(random_places(random_ranges(rng), rng))))
    assert min(outcomes.count(list), outcomes.count(tuple)) > 30


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6))
def test_moves_are_charged_to_both_tiers_and_the_link_and_setups_once(seed: int) -> None:
    rng = Random(seed)
    steps = rng.randint(1, 5)
    transfers = []
    read, written, moved, setups = (defaultdict[tuple[int, int], float](float) for _ in range(4))
    for _ in range(rng.randint(0, 6)):
        row = rng.randrange(len(THREE.links))
        link = THREE.links[row]
        at = sorted(rng.sample(range(steps), rng.randint(1, steps)))
        moves = tuple((t, rng.randint(1, 9)) for t in at)
        size = sum(b for _, b in moves)
        transfers.append(Transfer(0, 0, size, link.source, link.destination, moves, link.name))
        setups[row, at[0]] += 1
        for t, b in moves:
            read[THREE.tier_index[link.source], t] += b
            written[THREE.tier_index[link.destination], t] += b
            moved[row, t] += b
    program = Program("moves", "model", (Step("s", "dma"),) * steps, (Buffer("x", 99, "input"),))
    found = dma_charges(Plan(Problem(program, THREE), (), tuple(transfers), "random"))
    for array, twin, rows in (
        (found.read, read, 3),
        (found.written, written, 3),
        (found.moved, moved, 4),
        (found.setups, setups, 4),
    ):
        assert array.tolist() == [[twin[row, t] for t in range(steps)] for row in range(rows)]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(REACHES))
def test_compulsory_bytes_agree_with_a_byte_by_byte_twin(seed: int, target: Target) -> None:
    problem = Problem(random_ranges(Random(seed)), target)
    for figure, resident in ((compulsory, False), (compulsory_resident, True)):
        loads, stores = compulsory_bytes(problem, resident=resident)
        assert figure(problem).loads == pytest.approx(loads)
        assert figure(problem).stores == pytest.approx(stores)


@pytest.mark.parametrize("figure", [compulsory, compulsory_resident])
def test_compulsory_bytes_are_worked_out_once(figure: Callable[[Problem], object]) -> None:
    problem = Problem(random_ranges(Random(1)), THREE)
    assert figure(problem) is figure(problem)


def test_charges_are_never_changed() -> None:
    assert changeable(traffic) == []
