"""Cuts of a sequence: what surrounds it is respected."""

import pytest

from tests.support.contest import CHAIN
from ullage.compiler.contest.instance import instance_of
from ullage.solvers.contest.sequence import Context, Costs, Sequencer

INSTANCE = instance_of(CHAIN, "chain")
INPUTS = frozenset({0, 1, 2})


def sequencer() -> Sequencer:
    return Sequencer(Costs(INSTANCE, strict=False))


def test_longer_subgraphs_are_no_worse() -> None:
    costs = []
    for longest in (1, 2, 3, 4):
        cut = sequencer().best(INSTANCE.order, Context(INPUTS), longest)
        assert cut is not None
        assert cut[0] == pytest.approx(sum(group.tiling.cost for group in cut[1]))
        assert max(len(group.operators) for group in cut[1]) <= longest
        costs.append(cut[0])
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < costs[0]


def test_a_tensor_that_is_needed_behind_is_stored() -> None:
    free = sequencer().best((0, 1), Context(INPUTS), 2)
    needed = sequencer().best((0, 1), Context(INPUTS, needed=frozenset({3})), 2)
    assert free is not None
    assert needed is not None
    assert len(free[1]) == 1  # tensor 3 stays inside
    assert len(needed[1]) == 2
    assert needed[1][0].retained == frozenset()


def test_what_has_to_leave_is_retained_at_the_end() -> None:
    cut = sequencer().best((0, 1), Context(INPUTS, leaving=frozenset({4})), 2)
    assert cut is not None
    assert cut[1][-1].retained == {4}
    assert sequencer().best((0, 1), Context(INPUTS, leaving=frozenset({6})), 2) is None


def test_what_enters_is_read_by_the_first_subgraph() -> None:
    entering = Context(INPUTS, entering=frozenset({3}))
    cut = sequencer().best((1, 2), entering, 1)
    stored = sequencer().best((1, 2), Context(INPUTS | {3}), 1)
    assert cut is not None
    assert stored is not None
    assert cut[0] < stored[0]
    assert sequencer().best((1, 2), Context(INPUTS), 1) is None


def test_nothing_is_found_above_a_limit_or_when_time_is_over() -> None:
    cut = sequencer().best(INSTANCE.order, Context(INPUTS), 4)
    assert cut is not None
    assert sequencer().best(INSTANCE.order, Context(INPUTS), 4, limit=cut[0]) is None
    over = sequencer().best(INSTANCE.order, Context(INPUTS), 4, is_over=lambda: True)
    assert over is None


def test_an_operator_may_run_twice() -> None:
    # tensor 4 is read by two operators of other shapes, so that one subgraph cannot serve both
    document = CHAIN | {
        "inputs": [[0], [3, 1], [3, 2], [3]],
        "op_types": ["Pointwise", "MatMul", "MatMul", "Pointwise"],
    }
    instance = instance_of(document, "fork")
    inner = Sequencer(Costs(instance, strict=False))
    cut = inner.best((0, 1, 0, 2, 0, 3), Context(INPUTS), 2)
    assert cut is not None
    assert [group.operators for group in cut[1]] == [(0, 1), (0, 2), (0, 3)]
