"""Every solver on random graphs and targets: legal plans or clear refusals, equal conditions."""

import importlib.metadata
import time
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given, settings

from tests.support.graphs import Builder, random_graph, random_order, seeds
from tests.support.mutations import MUTATIONS
from tests.support.plans import ANY, PLANS, WHOLE
from tests.support.solving import Asked, solve_with
from ullage.compiler.common.errors import InfeasibleError, TimeLimitError, UsageError
from ullage.compiler.driver.compile import compile_problem, prepare
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.result import lower_bound
from ullage.compiler.driver.summary import summarise
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.ir.graph import Kind
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Compute, Link, OperandAccess, Target, Tier
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.lower import build_program
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import objective_value, overhead_seconds, score
from ullage.hwmodels.replay.replay import simulate
from ullage.solvers import registry
from ullage.solvers.fluid.multi_tier.network import needs_detour
from ullage.solvers.heuristics import greedy, msa
from ullage.solvers.registry import Solver, find_solver, solver_names
from ullage.solvers.state.build_plan import SegmentResidency, assemble
from ullage.solvers.state.place import place_residencies
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import segments_of

BUILT_IN = ("all-slow", "greedy", "msa", "fluid", "no-spill", "auto")
OBJECTIVES = ("latency", "traffic", "energy", "peak")
REFUSAL = {
    "tier",
    "needed_bytes",
    "available_bytes",
    "excess_bytes",
    "step",
    "largest_tensors",
    "remedies",
}
KINDS: tuple[Kind, ...] = ("input", "weight", "activation", "output")


def random_target(rng: Random) -> Target:
    """A chip whose memories are of the size of a few tensors of `random_graph`.

    Two tiers; a third with read-only flash or a host that operators cannot reach; or a
    microcontroller with SRAM as everybody's home and weights in flash.
    """
    shape = rng.choice(("dram", "dram", "flash", "mcu", "host"))
    alignment = rng.choice((1, 4, 8, 16))
    units = (16, 32, 64, 256) if shape == "mcu" else (0, 1, 4, 8, 16, 32, 64, 256)
    room = rng.choice((1 << 20, 1 << 20, 1 << 20, 608))
    near = rng.random() < 0.7
    speed, write = rng.choice((1e9, 4e9)), rng.choice((1e9, 2e9))
    sram = Tier("sram", alignment * rng.choice(units), 16e9, 8e9, alignment, 1e-12, 2e-12)
    dram = Tier("dram", room, speed, write, alignment, 2e-10, 2e-10)
    flash = Tier("flash", 1 << 20, 0.5e9, 0.0, alignment, 3e-10, addressable=near, read_only=True)
    host = Tier("host", 1 << 20, 0.5e9, 0.5e9, alignment, 4e-10, 4e-10, addressable=False)
    tiers = {
        "dram": (sram, dram),
        "flash": (sram, dram, flash),
        "mcu": (sram, flash),
        "host": (sram, dram, host),
    }[shape]
    setup_s, link_speed = rng.choice((0.0, 1e-8)), rng.choice((1e9, 4e9, 64e9))
    links = [Link(tier.name, "sram", link_speed, setup_s, 1e-12) for tier in tiers[1:]]
    links += [
        Link("sram", tier.name, link_speed, setup_s, 1e-12)
        for tier in tiers[1:]
        if not tier.read_only
    ]
    homes = dict.fromkeys(KINDS, "sram" if shape == "mcu" else "dram")
    homes["weight"] = tiers[-1].name
    homes["input"] = "host" if shape == "host" else homes["input"]
    macs_per_s, overhead_s = rng.choice((1e10, 1e12)), rng.choice((0.0, 1e-9))
    access: OperandAccess = "fastest" if rng.random() < 0.3 else "any"
    return Target(
        f"random-{shape}",
        tiers,
        tuple(links),
        Compute({"int8": macs_per_s}, rng.choice((1e9, 1e11)), overhead_s, {"int8": 1e-13}),
        homes,
        operand_access=access,
        weights_in_fastest=rng.random() < 0.5,
        split_operands=rng.random() < 0.7,
        slice_granularity_bytes=rng.choice((0, 16, 256)),
    )


def random_case(seed: int, operators: int = 9) -> tuple[Problem, Target]:
    rng = Random(seed)
    target = random_target(rng)
    graph = random_graph(rng, operators)
    order = random_order(graph, rng)
    aliases = alias_options(target)
    return build_program(graph, order, aliases=aliases, dma_steps=target.needs_dma_steps), target


def check_refusal(error: InfeasibleError) -> None:
    details = error.details
    assert details.keys() >= REFUSAL
    assert details["excess_bytes"] == details["needed_bytes"] - details["available_bytes"]
    assert details["excess_bytes"] > 0
    assert details["largest_tensors"]
    assert all(set(item) == {"tensor", "bytes"} for item in details["largest_tensors"])
    assert details["remedies"]
    assert isinstance(details["step"], int)


def solved(name: str, problem: Problem, objective: str) -> Plan | None:
    """A checked plan; None where the solver refuses, with all that a refusal must say."""
    try:
        plan = solve_with(name, problem, Asked(objective=objective))
    except InfeasibleError as error:
        check_refusal(error)
        return None
    assert find_violations(plan) == []
    assert simulate(plan).latency_s >= 0
    assert plan.objective == objective
    value = objective_value(score(plan), objective)
    bound = lower_bound(problem, plan.target, objective).value
    assert bound <= value * (1 + 1e-9)
    return plan


@settings(max_examples=120, deadline=None, derandomize=True)
@given(seed=seeds)
def test_solvers_return_legal_plans_or_say_why_not(seed: int) -> None:
    problem, target = random_case(seed)
    objective = Random(seed).choice(OBJECTIVES)
    plans: dict[str, Plan | None] = {}
    for name in BUILT_IN:
        if objective not in find_solver(name).objectives:
            continue
        plans[name] = solved(name, problem, objective)
        if plans[name] is not None:
            assert plans[name] == solved(name, problem, objective)
    best = [objective_value(score(p), objective) for n, p in plans.items() if p and n != "auto"]
    chosen = plans["auto"]
    assert (chosen is not None) == bool(best)
    if chosen is not None:
        assert objective_value(score(chosen), objective) == min(best)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(seed=seeds)
def test_heuristics_are_never_slower_than_all_slow(seed: int) -> None:
    problem, target = random_case(seed, operators=16)
    slow = solved("all-slow", problem, "latency")
    assume(slow is not None)
    assert slow is not None
    for name in ("greedy", "msa"):
        plan = solved(name, problem, "latency")
        if needs_detour(target):  # all-slow goes over other tiers, these move data in one hop
            continue
        assert plan is not None
        assert score(plan).latency_s <= score(slow).latency_s * (1 + 1e-9)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(seed=seeds)
def test_the_busy_time_of_a_decision_is_the_score_of_its_plan(seed: int) -> None:
    problem, target = random_case(seed, operators=24)
    try:
        state = ResidencyState(problem, segments_of(problem))
        greedy.close_gaps(state, 64, Asked())
        greedy.hide_single_uses(state, 64, Asked())
        place_residencies(state)
        residencies = [residency for _, _, residency in state.all_residencies()]
        plan = assemble(problem, state.segments, residencies, solver="test", objective="latency")
    except InfeasibleError as error:
        check_refusal(error)
        return
    busy_s = score(plan).latency_s - float(overhead_seconds(problem).sum())
    assert state.busy_time.total_s == pytest.approx(busy_s, rel=1e-9, abs=1e-20)
    slow_bytes = sum(score(plan).traffic_bytes.values())
    assert state.busy_time.slow_bytes == pytest.approx(slow_bytes, abs=len(problem.steps) + 1)


def test_random_cases_are_of_use() -> None:
    """Feasible and infeasible ones, with transfers, slices, and something to gain."""
    counts = dict.fromkeys(("feasible", "refused", "transfers", "ranged", "faster"), 0)
    for seed in range(150):
        problem, target = random_case(seed)
        plan = solved("greedy", problem, "latency")
        slow = solved("all-slow", problem, "latency")
        if plan is None or slow is None:
            counts["refused"] += 1
            continue
        counts["feasible"] += 1
        counts["transfers"] += bool(plan.transfers)
        sizes = [buffer.size_bytes for buffer in problem.buffers]
        counts["ranged"] += any(
            r.end_byte - r.start_byte < sizes[r.buffer] for r in plan.residencies
        )
        counts["faster"] += score(plan).latency_s < 0.999 * score(slow).latency_s
    assert counts["feasible"] > 60
    assert min(counts.values()) > 15, counts


# Regressions and known answers


def chain() -> Builder:
    build = Builder("chain")
    build.value("x", 64, "input")
    build.op(["x"], [("a", 64)])
    build.op(["a"], [("y", 64)])
    return build


def target_of(sram_bytes: int, **changes: Any) -> Target:
    target = Target(
        "hand",
        (Tier("sram", sram_bytes, 16e9, 16e9, 16), Tier("dram", 4096, 1e9, 1e9, 16)),
        (Link("dram", "sram", 1e9), Link("sram", "dram", 1e9)),
        Compute({"int8": 1e12}, 1e12),
        dict.fromkeys(KINDS, "dram"),
        slice_granularity_bytes=16,
    )
    return replace(target, **changes)


def problem_for(build: Builder, outputs: list[str], target: Target) -> Problem:
    graph = build.graph(outputs)
    order = tuple(range(len(graph.operators)))
    aliases = alias_options(target)
    return build_program(graph, order, aliases=aliases, dma_steps=target.needs_dma_steps)


@pytest.mark.parametrize("name", ["greedy", "msa", "auto"])
def test_what_fits_residencies_in_fast_memory(name: str) -> None:
    """Of a chain x -> a -> y only x and y cross dram: 128 bytes at 1 GB/s."""
    target = target_of(1024)
    plan = solved(name, problem_for(chain(), ["y"], target), target, "latency")
    assert plan is not None
    assert score(plan).latency_s == pytest.approx(128e-9)
    assert score(plan).noncompulsory_bytes == 0


def test_all_slow_goes_through_slow_memory_every_time() -> None:
    target = target_of(1024)
    plan = solved("all-slow", problem_for(chain(), ["y"], target), target, "latency")
    assert plan is not None
    assert score(plan).latency_s == pytest.approx(256e-9)
    assert not plan.transfers
    assert {r.tier for r in plan.residencies} == {"dram"}


def test_no_spill_finds_the_smallest_memory() -> None:
    target = target_of(16)
    problem = problem_for(chain(), ["y"], target)
    plan = solved("no-spill", problem, "peak")
    assert plan is not None
    assert score(plan).peak_bytes["sram"] == 128
    assert lower_bound(problem, "peak").value == 128
    assert plan.target.fastest.capacity_bytes == 128
    assert plan.notes == ("peak: planned for 128 bytes of sram instead of the target's 16",)


@pytest.mark.parametrize("name", BUILT_IN)
def test_an_input_without_reader_is_kept_where_fast_memory_is_home(name: str) -> None:
    target = target_of(256, homes=dict.fromkeys(KINDS, "sram"))
    build = chain()
    build.value("unread", 32, "input")
    build.value("passed", 32, "input")
    problem = problem_for(build, ["y", "passed"], target)
    objective = "latency" if name != "no-spill" else "peak"
    assert solved(name, problem, objective) is not None


@pytest.mark.parametrize("name", ["all-slow", "greedy", "msa", "fluid"])
def test_operators_work_in_place_where_no_link_leads_to_fast_memory(name: str) -> None:
    target = target_of(1024, links=())
    plan = solved(name, problem_for(chain(), ["y"], target), target, "latency")
    assert plan is not None
    assert not plan.transfers


@pytest.mark.parametrize("name", ["all-slow", "greedy", "msa", "fluid", "no-spill", "auto"])
def test_operands_without_a_way_to_fast_memory_are_refused(name: str) -> None:
    target = target_of(1024, links=(), operand_access="fastest")
    problem = problem_for(chain(), ["y"], target)
    objective = "latency" if name != "no-spill" else "peak"
    with pytest.raises(UsageError, match="no link between them; add one") as raised:
        solve_with(name, problem, Asked(objective=objective))
    assert raised.value.details == {"source": "dram", "destination": "sram", "tensor": "x"}


def test_a_prefetch_does_not_arrive_before_an_earlier_use_in_slow_memory() -> None:
    """The residency of a later use leaves the earlier one where its decision says."""
    for seed in range(300):
        problem, target = random_case(seed, operators=30)
        try:
            state = ResidencyState(problem, segments_of(problem))
        except InfeasibleError:
            continue
        for index, segment in enumerate(state.segments):
            for first in range(1, len(segment.accesses)):
                if not segment.accesses[first].reads or state.run_of(index, first):
                    continue
                residency = state.propose(index, first, first)
                assert residency is None or residency.ready > segment.accesses[first - 1].step


def test_a_tiny_memory_is_refused_with_figures() -> None:
    target = target_of(64, operand_access="fastest")
    problem = problem_for(chain(), ["y"], target)
    for name in ("all-slow", "greedy", "msa", "fluid", "auto"):
        with pytest.raises(InfeasibleError) as raised:
            solve_with(name, problem, Asked())
        details = raised.value.details
        check_refusal(raised.value)
        assert (details["tier"], details["needed_bytes"], details["excess_bytes"]) == (
            "sram",
            128,
            64,
        )
        assert "--fast-memory 128" in details["remedies"]
        given_more = target.with_fast_memory(details["needed_bytes"])
        assert solved(name, problem, given_more, "latency") is not None


def test_a_home_that_is_too_small_is_refused_with_figures() -> None:
    tiers = target_of(1024).tiers
    target = target_of(0, tiers=(tiers[0], replace(tiers[1], capacity_bytes=96)))
    problem = problem_for(chain(), ["y"], target)
    with pytest.raises(InfeasibleError) as raised:
        solve_with("all-slow", problem, Asked())
    check_refusal(raised.value)
    assert raised.value.details["tier"] == "dram"


def test_compile_works_where_all_slow_has_no_room() -> None:
    """The reference plan does not fit the home tier; the plan asked for does."""
    tiers = target_of(1024).tiers
    target = target_of(1024, tiers=(tiers[0], replace(tiers[1], capacity_bytes=128)))
    build = chain()
    build.op(["x"], [("z", 64)])
    build.op(["a", "y", "z"], [("out", 32)])
    problem = problem_for(build, ["out"], target)
    assert solved("all-slow", problem, "latency") is None
    compiled = compile_problem(problem, CompileOptions(solver="greedy"))
    assert compiled.all_slow is None
    assert find_violations(compiled.plan) == []
    summary = summarise(compiled)
    assert summary["all_slow_latency_s"] is None
    assert summary["speedup_over_all_slow"] is None


@pytest.mark.parametrize("name", ["all-slow", "greedy", "msa", "fluid"])
@pytest.mark.parametrize("target", [ANY, WHOLE], ids=["split", "whole"])
def test_parts_written_one_by_one_keep_each_other(name: str, target: Target) -> None:
    """Where buffers are kept whole, writing the second part must not lose the first."""
    plan = solved(name, PLANS["concat"].problem, target, "latency")
    assert plan is not None
    assert "c" in {plan.problem.buffers[r.buffer].name for r in plan.residencies}


# Registry


class FakePoint:
    """An entry point of a package that is not installed."""

    def __init__(self, name: str, loaded: object) -> None:
        self.name = name
        self.loaded = loaded
        self.dist = None

    def load(self) -> object:
        """What the entry point names."""
        if isinstance(self.loaded, Exception):
            raise self.loaded
        return self.loaded


def mine(problem: Problem, options: Asked) -> Plan:
    """Someone else's solver.

    It is greedy under another name.
    """
    return replace(greedy.solve(problem, options), solver="mine")


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        FakePoint("mine", mine),
        FakePoint("full", Solver("other-name", "A full solver", mine, {"depth": 3}, ("energy",))),
        FakePoint("broken", ImportError("no module named nothing")),
        FakePoint("greedy", mine),
    ]

    def entry_points(*, group: str) -> list[FakePoint]:
        assert group == "ullage.solvers"
        return points

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    monkeypatch.setattr(registry, "entry_points", entry_points)


@pytest.mark.usefixtures("third_party")
def test_third_party_solvers_are_found_by_name() -> None:
    assert set(BUILT_IN) < set(solver_names())
    assert solver_names()[-3:] == ("broken", "full", "mine")
    found = find_solver("mine")
    assert (found.name, found.summary, found.origin) == (
        "mine",
        "Someone else's solver.",
        "third party",
    )
    full = find_solver("full")
    assert (full.name, full.summary) == ("full", "A full solver")
    assert (full.defaults, full.objectives) == ({"depth": 3}, ("energy",))
    assert find_solver("greedy").origin == "ullage"
    target = target_of(1024)
    plan = solved("mine", problem_for(chain(), ["y"], target), target, "latency")
    assert plan is not None
    assert plan.solver == "mine"


@pytest.mark.usefixtures("third_party")
def test_a_solver_that_cannot_be_imported_is_an_error_of_its_own() -> None:
    with pytest.raises(UsageError, match=r"'broken' .* cannot be imported: no module named"):
        find_solver("broken")


@pytest.mark.usefixtures("third_party")
def test_objectives_that_a_solver_does_not_know_are_refused() -> None:
    target = target_of(1024)
    problem = problem_for(chain(), ["y"], target)
    able = "all-slow, greedy, msa, fluid, .*auto, mine"
    message = rf"full cannot minimise latency \(it can: energy\).*: {able}"
    with pytest.raises(UsageError, match=message):
        compile_problem(problem, CompileOptions(solver="full"))
    with pytest.raises(UsageError, match="greedy cannot minimise peak"):
        compile_problem(problem, CompileOptions(solver="greedy", objective="peak"))


def test_unknown_solvers_and_parameters_are_refused() -> None:
    with pytest.raises(UsageError, match="no solver named 'nobody'; there are: all-slow, greedy"):
        find_solver("nobody")
    target = target_of(1024)
    problem = problem_for(chain(), ["y"], target)
    for parameters, message in (
        ({"depth": 1}, "unknown solver parameter 'depth'; known: prefetch_window_steps"),
        ({"prefetch_window_steps": "many"}, "prefetch_window_steps takes a int"),
    ):
        with pytest.raises(UsageError, match=message):
            greedy.solve(problem, Asked(parameters=parameters))


def test_parameters_are_converted_and_kept_in_the_plan() -> None:
    target = target_of(1024)
    problem = problem_for(chain(), ["y"], target)
    options = Asked(parameters={"prefetch_window_steps": "7"}, seed=5)
    plan = greedy.solve(problem, options)
    assert (plan.options, plan.seed) == ({"prefetch_window_steps": 7}, 5)
    plan = msa.solve(problem, Asked(parameters={"sweeps": 2}))
    assert plan.options == {}  # as the default


# The portfolio


def interrupted(_: Problem, __: Target, ___: Asked) -> Plan:
    raise KeyboardInterrupt


MODULES = {"greedy": "heuristics.greedy", "msa": "heuristics.msa"}


def late(_: Problem, __: Target, ___: Asked) -> Plan:
    raise InfeasibleError("no", {"tier": "sram"})


def auto(members: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch, limit_s: float = 1e9) -> Plan:
    """Run `auto` with other solvers in place of some of its members."""
    for name, function in members.items():
        monkeypatch.setattr(f"ullage.solvers.{MODULES[name]}.solve", function)
    target = target_of(1024)
    problem = problem_for(chain(), ["y"], target)
    deadline = time.monotonic() + limit_s
    return solve_with("auto", problem, Asked(deadline=deadline))


def test_portfolio_keeps_the_best_plan_when_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = auto({"msa": interrupted}, monkeypatch)
    assert plan.solver == "greedy"
    assert plan.options["interrupted"] is True


def test_portfolio_passes_on_an_interrupt_before_any_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        auto({"greedy": interrupted}, monkeypatch)


def test_portfolio_goes_on_when_a_member_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = auto({"greedy": late}, monkeypatch)
    assert plan.solver == "msa"
    assert plan.notes == ("auto: greedy found no plan: no",)


def test_portfolio_says_when_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TimeLimitError, match="give more"):
        auto({}, monkeypatch, limit_s=0.0)


@pytest.mark.parametrize(
    ("limit_s", "changes", "refine", "asked"),
    [
        (30.0, {"split_operands": False}, "cpsat", 1),
        (30.0, {"split_operands": False}, "", 0),
        (30.0, {"split_operands": True}, "cpsat", 0),  # exact solvers keep tensors whole
        (None, {"split_operands": False}, "cpsat", 0),
        (1.0, {"split_operands": False}, "cpsat", 0),
    ],
)
def test_portfolio_gives_the_time_that_is_left_to_an_exact_solver(
    monkeypatch: pytest.MonkeyPatch,
    limit_s: float | None,
    changes: dict[str, Any],
    refine: str,
    asked: int,
) -> None:
    calls: list[Asked] = []
    target = replace(target_of(1024), **changes)
    problem = problem_for(chain(), ["y"], target)

    def exact(_: Problem, __: Target, told: Asked) -> Plan:
        calls.append(told)
        return replace(solve_with("msa", problem, told), solver="cpsat")

    monkeypatch.setattr("ullage.solvers.exact.cpsat.solve", exact)
    deadline = None if limit_s is None else time.monotonic() + limit_s
    parameters = {"members": "all-slow", "refine": refine}
    options = Asked(deadline=deadline, parameters=parameters)
    plan = solve_with("auto", problem, options)
    assert len(calls) == asked
    assert plan.solver == ("cpsat" if asked else "all-slow")
    assert all(told.deadline == deadline for told in calls)


def test_portfolio_knows_no_unknown_exact_solver() -> None:
    target = target_of(1024)
    problem = problem_for(chain(), ["y"], target)
    with pytest.raises(UsageError, match="no solver named 'nobody'"):
        solve_with("auto", problem, Asked(parameters={"refine": "nobody"}))


@pytest.mark.parametrize("members", ["", "auto", "greedy,auto"])
def test_portfolio_refuses_itself_as_a_member(members: str) -> None:
    target = target_of(1024)
    problem = problem_for(chain(), ["y"], target)
    with pytest.raises(UsageError, match="members of auto must be other solvers"):
        solve_with("auto", problem, Asked(parameters={"members": members}))


def test_a_residency_says_when_it_is_there() -> None:
    target = target_of(1024)
    problem = problem_for(chain(), ["y"], target)
    state = ResidencyState(problem, segments_of(problem))
    assert state.propose(1, 0, 1) == SegmentResidency(1, 1, 1, 3)
    assert state.propose(0, 0, 0) == SegmentResidency(0, 0, 1, 2, fill=((0, 64),))
    assert state.propose(2, 0, 0) == SegmentResidency(2, 2, 2, 4, spill=((3, 64),))


# Real plans, broken


@pytest.mark.parametrize("solver", ["greedy", "msa", "fluid"])
@pytest.mark.parametrize(
    ("model", "target"),
    [("squeezenet", "edge-npu"), ("shufflenet", "ethos-u55-128"), ("inception_v1", "cosma")],
)
def test_mutations_of_real_plans_are_caught(model: str, target: str, solver: str) -> None:
    options = CompileOptions(target=target, dtype="int8", fast_memory_bytes=3 << 20)
    prepared = prepare(find_model(model), options)
    plan = solve_with(solver, prepared.problem, Asked())
    assert find_violations(plan) == []
    applied = 0
    for name, mutation in MUTATIONS.items():
        broken = mutation.apply(plan, Random(name))
        if broken is None:
            continue
        applied += 1
        rules = {violation.rule for violation in find_violations(broken, limit=10_000)}
        assert rules & mutation.rules, (name, rules)
    assert applied > 35
