"""`no-spill`: the smallest fast memory."""

from tests.support.cases import chain, problem_for, solved, target_of
from ullage.compiler.driver.result import lower_bound
from ullage.hwmodels.cost import score


def test_no_spill_finds_the_smallest_memory() -> None:
    target = target_of(16)
    problem = problem_for(chain(), ["y"], target)
    plan = solved("no-spill", problem, "peak")
    assert plan is not None
    assert score(plan).peak_bytes["sram"] == 128
    assert lower_bound(problem.minimising("peak")).value == 128
    assert plan.target.fastest.capacity_bytes == 128
    assert plan.notes == ("peak: planned for 128 bytes of sram instead of the target's 16",)
