"""Sets that others choose: checkpoints, knapsacks, and stretches that run again."""

from dataclasses import replace
from itertools import combinations

import numpy as np

from tests.support.onnx_models import imported
from tests.support.training import training_step
from ullage.compiler.lowering.aliases import AliasOptions
from ullage.compiler.lowering.orders import model_order
from ullage.solvers.scheduling.recompute.copies import RecomputeFacts, parts_of, recompute_facts
from ullage.solvers.scheduling.recompute.known import (
    BUDGETS,
    _knapsack,
    checkpoint_sets,
    ends,
    knapsack_sets,
    peak_place,
    redone_sets,
    waiting,
)


def facts_of(layers: int = 6) -> RecomputeFacts:
    graph = imported(training_step(layers))
    return recompute_facts(graph, model_order(graph), AliasOptions())


def test_what_waits_is_what_the_backward_pass_reads() -> None:
    facts = facts_of()
    assert facts.order[peak_place(facts)] >= 2 * 6  # behind the forward pass
    names = {facts.results[gap.result].name for gap in waiting(facts)}
    assert names >= {f"x{i}" for i in range(1, 6)}
    assert not any(name.startswith("g") for name in names)


def test_dropping_behind_the_last_access_repeats_nothing() -> None:
    facts = facts_of()
    assert parts_of(facts, ends(facts)) == [i for i in facts.order if facts.writes[i]]


def test_more_checkpoints_repeat_less() -> None:
    facts = facts_of(12)
    lengths = [len(parts_of(facts, dropped)) for dropped in checkpoint_sets(facts)]
    assert lengths[0] > lengths[-1] > len(facts.order) - 1
    kept = [sum(gap in dropped for gap in waiting(facts)) for dropped in checkpoint_sets(facts)]
    assert kept[0] > kept[-1]


def test_what_stays_is_made_for_all_chains_at_once() -> None:
    facts = facts_of()
    less = []
    for dropped in redone_sets(facts):
        anew = {replace(gap, stays=False) for gap in dropped}
        less.append(len(parts_of(facts, anew)) - len(parts_of(facts, dropped)))
    assert min(less) >= 0
    assert less[0] > 0


def test_the_knapsack_takes_the_dearest_that_fit() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        sizes = rng.integers(1, 20, 8).tolist()
        worth = rng.random(8).tolist()
        capacity = 32
        taken = _knapsack(sizes, worth, capacity * 8)  # one unit is one
        assert sum(taken) == 8
        kept = _knapsack([size * 8 for size in sizes], worth, 256)
        found = sum(value for value, keep in zip(worth, kept, strict=True) if keep)
        assert sum(size for size, keep in zip(sizes, kept, strict=True) if keep) <= capacity
        best = max(
            sum(worth[i] for i in chosen)
            for count in range(9)
            for chosen in combinations(range(8), count)
            if sum(sizes[i] for i in chosen) <= capacity
        )
        assert abs(found - best) < 1e-12


def test_larger_budgets_keep_more() -> None:
    facts = facts_of()
    compute_s = np.ones(len(facts.graph.operators))
    sets = knapsack_sets(facts, compute_s)
    assert len(sets) == len(BUDGETS)
    kept = [sum(gap not in dropped for gap in waiting(facts)) for dropped in sets]
    assert kept == sorted(kept)
    assert kept[0] < kept[-1]
