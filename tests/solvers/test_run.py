"""One wrapper for all solvers: options, labels, refusals, addresses."""

from tests.support.cases import chain, problem_for, target_of
from tests.support.solving import Asked, solve_with


def test_parameters_are_converted_and_kept_in_the_plan() -> None:
    target = target_of(1024)
    problem = problem_for(chain(), ["y"], target)
    options = Asked(parameters={"prefetch_window_steps": "7"}, seed=5)
    plan = solve_with("greedy", problem, options)
    assert (plan.options, plan.seed) == ({"prefetch_window_steps": 7}, 5)
    plan = solve_with("msa", problem, Asked(parameters={"sweeps": 2}))
    assert plan.options == {}  # as the default
