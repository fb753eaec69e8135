"""Tensors made part by part on targets that take whole operands only."""

from dataclasses import replace
from random import Random

import pytest

from tests.support.plans import ANY, WHOLE, buffer, plan, problem
from tests.support.tiled import random_schedule, random_tiled_graph
from tests.support.verify_twin import fault_of
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.parts import lower_schedule
from ullage.compiler.verify.verifier import find_violations, verify
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.bound import fluid_bound
from ullage.solvers.registry import find_solver
from ullage.solvers.run import run_solver
from ullage.solvers.state.segments import uses_are_whole


def moved_between_its_parts(target: Target, second: str = "a:4:8", reads: str = "a") -> Plan:
    """Half of `a` is written in sram, `a` moves to dram, and its other half is written there."""
    buffers = (buffer("x", 8, "input"), buffer("a", 8), buffer("y", 8, "output"))
    steps = (None, ("x", "a:0:4"), None, ("x", second), (reads, "y"), None)
    held = [
        ("x", 0, 8, "dram", 0, 0, 0, 6),
        ("a", 0, 8, "sram", 0, 1, 1, 3),
        ("a", 0, 8, "dram", 8, 2, 3, 6),
        ("y", 0, 8, "dram", 16, 4, 4, 6),
    ]
    moves = [("a", 0, 8, "sram", "dram", ((2, 8),))]
    return plan(target, problem("halves", buffers, steps), held, moves)


def rules_broken(made: Plan) -> set[str]:
    found = {violation.rule for violation in find_violations(made)}
    assert bool(found) == bool(fault_of(made))
    return found


def test_a_tensor_moves_whole_while_parts_of_it_are_still_to_be_written() -> None:
    assert rules_broken(moved_between_its_parts(WHOLE)) == set()
    # Where its bytes may lie apart, those that hold nothing are not moved.
    assert rules_broken(moved_between_its_parts(ANY)) == {"transfer-source", "unfilled"}


def test_a_part_that_was_never_written_is_not_read() -> None:
    assert "problem" in rules_broken(moved_between_its_parts(WHOLE, second="a:4:7"))


def test_nothing_moves_before_any_part_is_written() -> None:
    made = moved_between_its_parts(WHOLE)
    early = replace(made.transfers[0], moves=((0, 8),))
    held = tuple(
        replace(item, start=0, ready={"sram": 0, "dram": 1}[item.tier])
        if item.buffer == 1
        else item
        for item in made.residencies
    )
    assert rules_broken(replace(made, transfers=(early,), residencies=held))


@pytest.mark.parametrize("solver", ["greedy", "msa", "fluid", "cpsat"])
def test_solvers_plan_parts_of_whole_tensors(solver: str) -> None:
    target = load_target("edge-npu", {"split_operands": "false"})
    chip = replace(target, tiers=(replace(target.tiers[0], capacity_bytes=160), *target.tiers[1:]))
    in_ranges = 0
    for seed in range(6):
        rng = Random(seed)
        graph = random_tiled_graph(rng, operators=5)
        program = lower_schedule(
            graph,
            random_schedule(rng, graph),
            aliases=alias_options(chip),
            dma_steps=chip.dma_steps,
        )
        made = Problem(program, chip)
        in_ranges += not uses_are_whole(made)
        outcome = run_solver(find_solver(solver), made, Budget().at_most(2.0))
        verify(outcome.plan)
        assert not fault_of(outcome.plan)
        bound = fluid_bound(made, outcome.value, Budget())
        assert bound is not None
        assert bound.value <= outcome.value * (1 + 1e-9)
        # What bounds plans that may split tensors is all that is claimed here.
        own = outcome.solution.bound
        if not uses_are_whole(made) and own is not None:
            apart = replace(made, target=replace(chip, split_operands=True))
            freely = run_solver(find_solver("fluid"), apart, Budget()).value
            assert own.value <= freely * (1 + 1e-9)
    assert in_ranges
