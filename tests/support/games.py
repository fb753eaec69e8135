"""Games with something to decide, of two generators of random problems."""

from random import Random

from tests.support.cases import random_case
from tests.support.tiny import tiny_problem, tiny_target
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.problem import Problem
from ullage.rl_agent.env.game_instance import Table, set_table


def cases(number: int) -> list[tuple[int, Problem, Table]]:
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
            table = set_table(problem)
        except InfeasibleError:
            continue
        if len(table.board.ev_segment):
            found.append((seed, problem, table))
    return found


CASES = cases(120)
