"""Look-ups: rows of a table that DMA gathers where it lies, on chips that reach one memory only."""

from dataclasses import replace

import pytest

from tests.support.solving import solve_with
from tests.support.targets import HAND, Op, make_plan, make_problem, random_problem, seeded
from tests.support.verify_twin import fault_of
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Link, Target, Tier
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.bounds import lower_bound
from ullage.hwmodels.cost import objective_value, score
from ullage.hwmodels.replay.replay import simulate
from ullage.solvers.state.segments import segments_of

FASTEST = replace(HAND, operand_access="fastest", weights_in_fastest=True)
# Reading dram takes 0.1 s a byte, the link 0.2 s, a transfer 3 s, each further row 0.5 s.
SLOW_LINK = replace(
    FASTEST,
    links=(
        Link("dram", "sram", 5.0, setup_s=3.0, energy_j_per_byte=4.0, range_setup_s=0.5),
        Link("sram", "dram", 5.0),
    ),
)


def embedding(*further: Op, look_ups: tuple[str, ...] = ("w",)) -> Problem:
    """Rows of 10 of the 1000 bytes of w are read, three of them; y takes 30 bytes."""
    problem = make_problem(
        {"w": ("weight", 1000), "y": ("output", 30), "z": ("activation", 4)},
        [Op("A", (("w", 0, 1000, 30),), ("y",), look_ups=look_ups), *further],
        FASTEST,
    )
    table = replace(problem.buffers[0], row_bytes=10)
    program = replace(problem.program, buffers=(table, *problem.buffers[1:]))
    return replace(problem, program=program)


def at_home(problem: Problem, target: Target) -> Plan:
    """The plan that leaves the table at home."""
    held = [("w", "dram", 0, 0, 3), ("y", "sram", 0, 1, 3), ("y", "dram", 1000, 2, 3)]
    return make_plan(problem, held, [("y", "sram", "dram", {2: 30})], target)


def rules(plan: Plan) -> set[str]:
    found = {violation.rule for violation in find_violations(plan)}
    assert bool(found) == bool(fault_of(plan)) or found == {"problem"}
    return found


def test_rows_of_a_table_may_be_looked_up_where_it_lies() -> None:
    plan = at_home(embedding(), FASTEST)
    assert rules(plan) == set()
    assert rules(at_home(embedding(look_ups=()), FASTEST)) == {"wrong-tier"}
    # A tier that no link joins with the fastest is too far away.
    unlinked = replace(FASTEST, links=(Link("sram", "dram", 10.0),))
    assert rules(at_home(embedding(), unlinked)) == {"wrong-tier"}
    # So it is where the target demands nothing, but its memory is out of reach.
    dram = replace(HAND.tiers[1], addressable=False)
    behind = replace(HAND, tiers=(HAND.tiers[0], dram))
    assert rules(at_home(embedding(), behind)) == set()
    assert rules(at_home(embedding(look_ups=()), behind)) == {"wrong-tier"}


def test_only_weights_are_looked_up() -> None:
    problem = make_problem(
        {"x": ("input", 100), "y": ("output", 30)},
        [Op("A", (("x", 0, 100, 30),), ("y",), look_ups=("x",))],
        FASTEST,
    )
    plan = make_plan(problem, [("x", "dram", 0, 0, 3), ("y", "sram", 0, 1, 3)], (), FASTEST)
    assert {"problem", "wrong-tier"} <= rules(plan)


def test_what_dma_gathers_is_charged_to_port_and_link() -> None:
    plan = at_home(embedding(), SLOW_LINK)
    found = score(plan)
    # 30 B: 3 s in dram; on the link 6 s, 3 s to start, and 0.5 s for each of two further rows.
    assert found.tier_seconds[1, 1] == pytest.approx(3)
    assert found.link_seconds[0, 1] == pytest.approx(6 + 3 + 1)
    assert found.elapsed_s.tolist() == pytest.approx([0, 10, 6])
    # 30 B written to sram by DMA, 30 B by the operator, 30 B read on their way home.
    assert found.tier_seconds[0].tolist() == pytest.approx([0, 1.2, 0.3])
    assert found.traffic_bytes == {"dram->sram": 30, "sram->dram": 30}
    assert simulate(plan).latency_s == pytest.approx(16)
    # 30 B read in dram at 10 J, moved at 4, written in sram at 2; y: 2 + 1 + 20.
    assert found.energy_j == pytest.approx(30 * (10 + 4 + 2) + 30 * (2 + 1 + 20))
    for objective in ("latency", "traffic", "energy"):
        bound = lower_bound(replace(plan.problem, objective=objective)).value
        assert bound <= objective_value(found, objective) * (1 + 1e-9)
    assert lower_bound(replace(plan.problem, objective="energy")).value == found.energy_j


def test_what_operators_reach_themselves_is_an_operand_like_others() -> None:
    free = replace(SLOW_LINK, operand_access="any", weights_in_fastest=False)
    found = score(at_home(embedding(), free))
    assert found.elapsed_s.tolist() == pytest.approx([0, 3, 6])
    assert found.traffic_bytes["dram->compute"] == 30


def test_a_table_that_another_operator_reads_whole_is_there_for_that_one_alone() -> None:
    tied = embedding(Op("B", (("w", 0, 1000, 1000),), ("z",)))
    (segment, *_) = segments_of(tied)
    assert segment.must_be_fastest
    assert not segment.is_looked_up
    assert [access.step for access in segment.accesses] == [2]
    (alone, *_) = segments_of(embedding())
    assert (alone.must_be_fastest, alone.is_looked_up) == (False, True)
    assert [access.read_bytes for access in alone.accesses] == [30]


@pytest.mark.parametrize("solver", ["greedy", "msa", "fluid"])
def test_a_table_larger_than_the_memory_is_planned(solver: str) -> None:
    small = replace(FASTEST, tiers=(replace(HAND.tiers[0], capacity_bytes=200), HAND.tiers[1]))
    plan = solve_with(solver, embedding().on(small))
    assert rules(plan) == set()
    assert score(plan).latency_s == pytest.approx(3 + 6)
    assert not any(r.buffer == 0 and r.tier == "sram" for r in plan.residencies)


def test_a_table_two_links_away_comes_nearer_first() -> None:
    flash = Tier("flash", 1 << 20, 8.0, 0.0, 1, addressable=False, read_only=True)
    chain = replace(
        FASTEST,
        tiers=(replace(HAND.tiers[0], capacity_bytes=200), HAND.tiers[1], flash),
        links=(*HAND.links, Link("flash", "dram", 8.0)),
        homes={**HAND.homes, "weight": "flash"},
    )
    plan = solve_with("fluid", embedding().on(chain))
    assert rules(plan) == set()
    assert {r.tier for r in plan.residencies if r.buffer == 0} == {"flash", "dram"}
    bound = lower_bound(plan.problem).value
    assert bound <= score(plan).latency_s


def with_pauses(problem: Problem) -> Problem:
    """The problem with two DMA-only steps between operators."""
    load, *operators, store = problem.program.steps
    steps = [load]
    for number, step in enumerate(operators):
        steps += [replace(load, name=f"pause {number} {i}") for i in range(2 if number else 0)]
        steps.append(step)
    return replace(problem, program=replace(problem.program, steps=(*steps, store)))


@pytest.mark.parametrize("capacity_bytes", [110, 300])
@pytest.mark.parametrize("seed", range(12))
def test_no_plan_is_below_the_bound_of_another_solver(seed: int, capacity_bytes: int) -> None:
    small = replace(HAND.tiers[0], capacity_bytes=capacity_bytes)
    target = replace(FASTEST, tiers=(small, HAND.tiers[1]))
    problem = with_pauses(random_problem(seeded(seed), 5)).on(target)
    plans = [solve_with(solver, problem) for solver in ("fluid", "greedy", "msa", "all-slow")]
    bound = max(plan.lower_bound or 0.0 for plan in plans)
    bound = max(bound, lower_bound(problem).value)
    assert bound > 0
    for plan in plans:
        assert rules(plan) == set()
        assert bound <= score(plan).latency_s * (1 + 1e-9)
