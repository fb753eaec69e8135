"""Runs along one axis, against counting index by index."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest

from ullage.compiler.ir.reach import AxisMap
from ullage.solvers.bounds.relations import Relation, relation_of

# inputs, outputs, taps, stride, padding
WINDOWS = [
    (8, 8, 3, 1, 1),
    (7, 4, 3, 2, 1),
    (7, 3, 3, 2, 0),
    (8, 4, 1, 2, 0),
    (9, 5, 5, 2, 2),
    (6, 6, 1, 1, 0),
    (1, 1, 3, 1, 1),
    (12, 3, 4, 4, 0),
]


def window(inputs: int, outputs: int, taps: int, stride: int, pad: int) -> Relation:
    return relation_of(
        AxisMap(0, multiplier=stride, first=-pad, last=taps - 1 - pad), outputs, inputs
    )


def kernel(inputs: int, outputs: int, taps: int, stride: int, pad: int) -> Relation:
    rows = []
    for o in range(outputs):
        inside = [k for k in range(taps) if 0 <= o * stride - pad + k < inputs]
        rows.append((inside[0], inside[-1] + 1))
    return relation_of(AxisMap(0, table=tuple(rows)), outputs, taps)


def places(length: int, run: int) -> Iterator[range]:
    for start in range(length - run + 1):
        yield range(start, start + run)


def longest(indices: set[int]) -> int:
    found = 0
    for index in indices:
        run = 0
        while index + run in indices:
            run += 1
        found = max(found, run)
    return found


@pytest.mark.parametrize("shape", WINDOWS)
def test_runs_of_inputs_meet_what_counting_says(shape: tuple[int, int, int, int, int]) -> None:
    relation = window(*shape)
    uses = {o: set(range(relation.low[o], relation.high[o])) for o in range(relation.outputs)}
    for run in range(1, relation.inputs + 1):
        touched = [[o for o in uses if uses[o] & set(place)] for place in places(shape[0], run)]
        assert relation.touched(run) == min(map(len, touched))
        pairs = [sum(len(uses[o] & set(place)) for o in uses) for place in places(shape[0], run)]
        assert relation.pairs(run) == min(pairs)


@pytest.mark.parametrize("shape", WINDOWS)
def test_runs_of_outputs_use_what_counting_says(shape: tuple[int, int, int, int, int]) -> None:
    relation = window(*shape)
    uses = {o: set(range(relation.low[o], relation.high[o])) for o in range(relation.outputs)}
    for run in range(1, relation.outputs + 1):
        joined = [set().union(*(uses[o] for o in place)) for place in places(shape[1], run)]
        assert relation.used_in_all(run) == min(map(len, joined))
        assert 0 < relation.used(run) <= min(map(longest, joined))
    if shape[3] <= shape[2]:  # no gaps: the whole hull is used
        assert relation.used(2 if shape[1] > 1 else 1) == min(
            longest(set().union(*(uses[o] for o in place)))
            for place in places(shape[1], 2 if shape[1] > 1 else 1)
        )


@pytest.mark.parametrize("of_results", [False, True])
@pytest.mark.parametrize("shape", WINDOWS)
def test_taps_of_runs(shape: tuple[int, int, int, int, int], *, of_results: bool) -> None:
    relation, taps = window(*shape), kernel(*shape)
    inputs, outputs, width, stride, pad = shape
    for run in range(1, inputs + 1):
        low = np.arange(inputs - run + 1)
        counts = []
        for place in places(inputs, run):
            hits = {
                (o, k)
                for o, k in product(range(outputs), range(width))
                if o * stride - pad + k in place
            }
            if of_results:
                users = {o for o, _ in hits}
                used = {
                    k for o, k in product(users, range(width)) if 0 <= o * stride - pad + k < inputs
                }
            else:
                used = {k for _, k in hits}
            counts.append(len(used))
        assert relation.taps(taps, low, low + run, of_results=of_results) == min(counts)


def test_windows_that_do_not_ascend_promise_nothing() -> None:
    relation = relation_of(AxisMap(0, table=((2, 3), (0, 1), (1, 2))), 3, 3)
    assert relation.touched(1) == relation.touched(2) == 0
    assert relation.touched(3) == 3
    assert relation.used(2) == 1


def test_a_row_in_the_middle_that_uses_nothing_breaks_a_run() -> None:
    relation = relation_of(AxisMap(0, table=((0, 1), (0, 0), (1, 2))), 3, 2)
    assert relation.touched(1) == relation.touched(2) == 0
