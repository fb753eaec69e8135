"""Synthetic programs have something to decide."""

from random import Random

import pytest

from ullage.compiler.common.errors import InfeasibleError
from ullage.rl_agent.env.game_instance import game_instance_of
from ullage.rl_agent.training.synthetic import WORKLOAD_KINDS, random_program


@pytest.mark.parametrize("workload_kind", WORKLOAD_KINDS)
def test_each_workload_kind_gives_programs_with_something_to_decide(workload_kind: str) -> None:
    accesses = []
    for seed in range(6):
        problem = random_program(Random(seed), (workload_kind,))
        assert any(step.macs for step in problem.steps)
        assert any(buffer.kind == "output" for buffer in problem.buffers)
        try:
            accesses.append(len(game_instance_of(problem).arrays.access_segment))
        except InfeasibleError:
            continue
    assert max(accesses) > 30
