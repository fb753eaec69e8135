"""Synthetic programs have something to decide."""

from random import Random

import pytest

from ullage.compiler.common.errors import InfeasibleError
from ullage.rl_agent.env.game_instance import game_instance_of
from ullage.rl_agent.training.synthetic import FAMILIES, random_program


@pytest.mark.parametrize("family", FAMILIES)
def test_families_give_programs_with_something_to_decide(family: str) -> None:
    accesses = []
    for seed in range(6):
        problem = random_program(Random(seed), (family,))
        assert any(step.macs for step in problem.steps)
        assert any(buffer.kind == "output" for buffer in problem.buffers)
        try:
            accesses.append(len(game_instance_of(problem).arrays.access_segment))
        except InfeasibleError:
            continue
    assert max(accesses) > 30
