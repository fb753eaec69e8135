"""Schedules of dropped gaps: chains, checkpoints, and that every set gives a legal schedule."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.graphs import Builder, graphs
from tests.support.onnx_models import imported
from tests.support.solving import solve_with
from tests.support.training import slow_chip, training_step
from ullage.compiler.ir.dag import is_order, operator_dag
from ullage.compiler.ir.graph import Graph, Sharing
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.schedule import Part, Schedule, check_schedule
from ullage.compiler.lowering.aliases import AliasOptions
from ullage.compiler.lowering.orders import model_order
from ullage.compiler.lowering.parts import lower_schedule, resolve
from ullage.solvers.scheduling.recompute.copies import (
    GapOf,
    RecomputeFacts,
    first_runs,
    may_run_again,
    parts_of,
    recompute_facts,
    schedule_of,
)


def chain() -> Graph:
    """X -> a -> b -> c -> d, and e of d and b."""
    build = Builder()
    build.value("x", 64, "input")
    for source, name in ("xa", "ab", "bc", "cd"):
        build.op([source], [(name, 64)])
    build.op(["d", "b"], [("e", 64)])
    return build.graph(["e"])


def facts_of(graph: Graph) -> RecomputeFacts:
    return recompute_facts(graph, model_order(graph), AliasOptions())


def gap(facts: RecomputeFacts, name: str, number: int) -> GapOf:
    (index,) = [i for i, result in enumerate(facts.results) if result.name == name]
    return GapOf(index, number)


def test_accesses_and_gaps_are_listed() -> None:
    facts = facts_of(chain())
    places = {result.name: result.places for result in facts.results}
    assert places == {"a": (0, 1), "b": (1, 2, 4), "c": (2, 3), "d": (3, 4), "e": (4,)}
    assert [result.is_output for result in facts.results] == [False] * 4 + [True]
    listed = {(facts.results[g.result].name, g.number) for g in facts.gaps}
    delayed = {("a", 0), ("b", 0), ("c", 0), ("d", 0)}
    assert listed == {("a", 1), ("b", 1), ("b", 2), ("c", 1), ("d", 1)} | delayed


def test_what_is_dropped_is_made_right_before_its_next_use() -> None:
    facts = facts_of(chain())
    assert parts_of(facts, ()) == [0, 1, 2, 3, 4]
    dropped_b = gap(facts, "b", 1)
    assert parts_of(facts, [dropped_b]) == [0, 1, 2, 3, 1, 4]  # a is kept until then
    assert parts_of(facts, [dropped_b, gap(facts, "a", 1)]) == [0, 1, 2, 3, 0, 1, 4]
    assert parts_of(facts, [gap(facts, "a", 1), gap(facts, "d", 1)]) == [0, 1, 2, 3, 4]
    schedule = schedule_of(facts, [dropped_b, gap(facts, "a", 1)])
    assert schedule == Schedule(
        "recompute", (*(Part(i) for i in range(4)), Part(0, (), 1), Part(1, (), 1), Part(4))
    )
    assert not schedule.is_whole


def test_what_is_dropped_behind_its_operator_delays_it() -> None:
    build = Builder()
    build.value("x", 64, "input")
    build.op(["x"], [("a", 64)])
    build.op(["x"], [("b", 64)])
    build.op(["b"], [("c", 64)])
    build.op(["a", "c"], [("d", 64)])
    facts = facts_of(build.graph(["d"]))
    delayed = gap(facts, "a", 0)
    assert parts_of(facts, [delayed]) == [1, 2, 0, 3]
    schedule = schedule_of(facts, [delayed])
    assert schedule == Schedule("recompute", tuple(Part(i) for i in (1, 2, 0, 3)))
    assert first_runs(facts, schedule) == (1, 2, 0, 3)
    assert parts_of(facts, [delayed, gap(facts, "b", 0), gap(facts, "b", 1)]) == [1, 2, 0, 3]


def test_of_a_chain_only_what_is_read_again_stays() -> None:
    """B is read twice behind the gap: made once. Its operand a is made for each chain anew."""
    build = Builder()
    build.value("x", 64, "input")
    build.op(["x"], [("a", 64)])
    build.op(["a"], [("b", 64)])
    build.op(["a"], [("c", 64)])
    build.op(["b", "c"], [("d", 64)])
    build.op(["d", "c"], [("e", 64)])
    build.op(["e", "b"], [("f", 64)])
    facts = facts_of(build.graph(["f"]))
    dropped = [gap(facts, "a", 2), gap(facts, "c", 1), gap(facts, "b", 1)]
    assert parts_of(facts, dropped) == [0, 1, 2, 3, 0, 2, 4, 0, 1, 5]
    dropped[0] = replace(dropped[0], stays=True)  # made once, for both chains
    assert parts_of(facts, dropped) == [0, 1, 2, 3, 0, 2, 4, 1, 5]


def test_random_results_are_made_once() -> None:
    build = Builder()
    build.value("x", 64, "input")
    build.op(["x"], [("a", 64)], kind="RandomNormalLike")
    build.op(["a"], [("b", 64)])
    build.op(["b", "a"], [("c", 64)])
    graph = build.graph(["c"])
    assert [may_run_again(graph, i) for i in range(3)] == [False, True, True]
    assert {facts_of(graph).results[g.result].name for g in facts_of(graph).gaps} == {"b"}


def test_a_copy_does_not_overwrite_what_shares_the_bytes_of_its_first_results() -> None:
    """The split runs again for b, and a's bytes hold c, which is still read."""
    build = Builder()
    build.value("x", 64, "input")
    build.op(["x"], [("a", 32), ("b", 32)])
    build.op(["a"], [("c", 32)], sharings=(Sharing("in_place", "c", "a"),))
    build.op(["c", "x"], [("d", 64)])
    build.op(["b", "c"], [("e", 64)])
    graph = build.graph(["d", "e"])
    schedule = Schedule("recompute", (*(Part(i) for i in range(3)), Part(0, (), 1), Part(3)))
    shared = resolve(graph, Schedule.whole(model_order(graph)), AliasOptions()).aliases.buffer_of
    assert shared["c"] == shared["a"]
    apart = resolve(graph, schedule, AliasOptions()).aliases.buffer_of  # proven to be right
    assert apart["c"] != apart["a"]


def test_an_operator_is_not_delayed_past_readers_of_its_results_without_bytes() -> None:
    build = Builder()
    build.value("x", 64, "input")
    build.op(["x"], [("empty", 0), ("a", 64)])
    build.op(["empty", "x"], [("b", 64)])
    build.op(["a"], [("c", 64)])
    facts = facts_of(build.graph(["b", "c"]))
    assert {facts.results[g.result].name for g in facts.gaps} == {"a"}
    schedule = schedule_of(facts, [gap(facts, "a", 0)])
    assert [part.operator for part in schedule.parts] == [0, 1, 0, 2]


@settings(deadline=None)
@given(graphs(), st.integers(0, 2**32 - 1), st.booleans())
def test_any_set_of_gaps_gives_a_legal_plan(graph: Graph, seed: int, shares: bool) -> None:
    rng = Random(seed)
    aliases = AliasOptions(shares, shares, shares)
    facts = recompute_facts(graph, model_order(graph), aliases)
    dropped = [replace(g, stays=rng.random() < 0.5) for g in facts.gaps if rng.random() < 0.5]
    schedule = schedule_of(facts, dropped)
    order = tuple(part.operator for part in schedule.parts if not part.copy)
    assert is_order(operator_dag(graph), order)
    if all(gap.number for gap in dropped):
        assert order == model_order(graph)
    check_schedule(schedule, graph)
    program = lower_schedule(graph, schedule, aliases=aliases)  # proven by symbolic execution
    if program.parts:
        solve_with("all-slow", Problem(program, slow_chip(1 << 20)))


@pytest.mark.parametrize("seed", range(4))
def test_any_set_gives_a_legal_plan_of_a_training_step(seed: int) -> None:
    graph = imported(training_step(4), fuse=True)
    facts = facts_of(graph)
    rng = Random(seed)
    schedule = schedule_of(facts, [g for g in facts.gaps if rng.random() < 0.6])
    assert any(part.copy for part in schedule.parts)
    program = lower_schedule(graph, schedule)
    plan = solve_with("greedy", Problem(program, slow_chip(1 << 18)))
    assert plan.program.parts == program.parts > len(graph.operators) - len(graph.outputs)
