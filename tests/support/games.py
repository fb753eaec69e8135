"""Games with something to decide, of two generators of random problems."""

from random import Random

from tests.support.cases import random_case
from tests.support.tiny import tiny_problem, tiny_target
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.problem import Problem
from ullage.rl_agent.env.game_instance import GameInstance, game_instance_of


def cases(number: int) -> list[tuple[int, Problem, GameInstance]]:
    """Random problems with something to decide, of two generators."""
    found = []
    for seed in range(number):
        rng = Random(seed)
        if seed % 3 == 2:
            target = tiny_target(rng, fastest=rng.random() < 0.5)
            problem = tiny_problem(rng, target, rng.randint(4, 10))
        else:
            problem = random_case(seed, rng.choice((6, 12)))
        try:
            instance = game_instance_of(problem)
        except InfeasibleError:
            continue
        if len(instance.arrays.access_segment):
            found.append((seed, problem, instance))
    return found


CASES = cases(120)
