"""Home copies take the space of what is stored, and no more."""

from dataclasses import replace

import pytest

from tests.support.cases import target_of
from tests.support.solving import solve_with
from tests.support.targets import Op, make_problem
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import score


def test_what_never_comes_home_takes_no_space_there() -> None:
    sram, dram = target_of(1024).tiers
    problem = make_problem(
        {
            "x": ("input", 64),
            "a": ("activation", 4096),
            "b": ("activation", 4096),
            "y": ("output", 64),
        },
        [Op("one", ("x",), ("a",)), Op("two", ("a",), ("b",)), Op("three", ("b",), ("y",))],
        target_of(0, tiers=(sram, replace(dram, capacity_bytes=65536))),
    )
    plan = solve_with("fluid", problem)
    cut = [r for r in plan.residencies if r.tier == "dram" and r.start_byte > 0]
    assert cut  # a tensor that is in fast memory in part, for all its life
    assert score(plan).peak_bytes["dram"] == score(plan).load_bytes["dram"]


@pytest.mark.parametrize(("room", "proven"), [(1024, False), (32, True)])
def test_a_home_is_proven_too_small_by_what_every_plan_has_there(room: int, proven: bool) -> None:
    """Activations need not come home, inputs are there: 64 bytes."""
    sram, dram = target_of(16384).tiers
    problem = make_problem(
        {"x": ("input", 64), "a": ("activation", 4096), "y": ("output", 64)},
        [Op("one", ("x",), ("a",)), Op("two", ("a",), ("y",))],
        target_of(0, tiers=(sram, replace(dram, capacity_bytes=room))),
    )
    with pytest.raises(InfeasibleError) as refused:
        solve_with("all-slow", problem)
    assert refused.value.details["proven"] is proven
    assert str(refused.value).startswith("found no plan") is not proven
    if not proven:
        for name in ("greedy", "fluid"):
            assert not find_violations(solve_with(name, problem))
