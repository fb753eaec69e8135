"""Operands that no link brings to fast memory."""

import re
from dataclasses import replace

import pytest

from tests.support.cases import (
    chain,
    problem_for,
    target_of,
)
from tests.support.solving import Asked, solve_with
from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.target import Link, Tier
from ullage.compiler.verify.verifier import find_violations


@pytest.mark.parametrize("name", ["all-slow", "greedy", "msa", "fluid", "no-spill", "auto"])
def test_operands_without_a_way_to_fast_memory_are_refused(name: str) -> None:
    target = target_of(1024, links=(), operand_access="fastest")
    problem = problem_for(chain(), ["y"], target)
    objective = "latency" if name != "no-spill" else "peak"
    with pytest.raises(UsageError, match="no link between them") as raised:
        solve_with(name, problem, Asked(objective=objective))
    assert raised.value.details == {"source": "dram", "destination": "sram", "tensor": "x"}


@pytest.mark.parametrize("name", ["greedy", "fluid", "no-spill"])
def test_a_home_with_links_is_named_with_all_that_must_move_there(name: str) -> None:
    tiers = tuple(Tier(n, 4096, 16e9, 16e9, 16, addressable=False) for n in ("tcm", "l2", "dram"))
    links = (Link("l2", "tcm", 1e9), Link("tcm", "l2", 1e9))
    target = target_of(4096, tiers=tiers, links=links)
    problem = problem_for(chain(), ["y"], target)
    objective = "latency" if name != "no-spill" else "peak"
    with pytest.raises(UsageError, match="or choose a home that has them") as raised:
        solve_with(name, problem, Asked(objective=objective))
    options = dict(
        option.split("=") for option in re.findall(r"--set (homes\.\w+=\w+)", str(raised.value))
    )
    assert set(options) == {f"homes.{kind}" for kind in target.homes}
    assert set(options.values()) == {"l2"}
    homes = {key.removeprefix("homes."): home for key, home in options.items()}
    moved = replace(target, homes=homes)
    assert find_violations(solve_with(name, problem.on(moved), Asked(objective=objective))) == []


def test_no_home_is_named_that_is_too_small() -> None:
    tiers = tuple(
        Tier(n, size, 16e9, 16e9, 16, addressable=False)
        for n, size in (("tcm", 4096), ("l2", 64), ("dram", 4096))
    )
    links = (Link("l2", "tcm", 1e9), Link("tcm", "l2", 1e9))
    problem = problem_for(chain(), ["y"], target_of(4096, tiers=tiers, links=links))
    with pytest.raises(UsageError, match="add one to the target's `links`") as raised:
        solve_with("greedy", problem)
    assert "homes" not in raised.value.message
