"""Operands that no link brings to fast memory."""

import pytest

from tests.support.cases import (
    chain,
    problem_for,
    target_of,
)
from tests.support.solving import Asked, solve_with
from ullage.compiler.common.errors import UsageError


@pytest.mark.parametrize("name", ["all-slow", "greedy", "msa", "fluid", "no-spill", "auto"])
def test_operands_without_a_way_to_fast_memory_are_refused(name: str) -> None:
    target = target_of(1024, links=(), operand_access="fastest")
    problem = problem_for(chain(), ["y"], target)
    objective = "latency" if name != "no-spill" else "peak"
    with pytest.raises(UsageError, match="no link between them; add one") as raised:
        solve_with(name, problem, Asked(objective=objective))
    assert raised.value.details == {"source": "dram", "destination": "sram", "tensor": "x"}
