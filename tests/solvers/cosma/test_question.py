"""The question of COSMA's problem, and why its answer came when it did."""

import pytest

from tests.support.cases import chain, problem_for, target_of
from ullage.solvers.budget import Budget
from ullage.solvers.cosma.ilp import IlpOptions
from ullage.solvers.cosma.question import Answer, finished, question_of, quick_solution


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("optimal", "finished"),
        ("infeasible", "finished"),
        ("feasible", "time limit"),
        ("unknown", "time limit"),
        ("unwritten", "time limit"),
    ],
)
def test_an_answer_says_whether_the_time_ended_it(status: str, reason: str) -> None:
    target = target_of(256, operand_access="fastest", split_operands=False)
    problem = problem_for(chain(), ["y"], target).minimising("traffic")
    question = question_of("ilp", problem, IlpOptions(), Budget())
    answer = Answer(quick_solution(question), status, None, None, 0, 0)
    assert finished(question, answer).solution.stop_reason == reason
    stopped = finished(question, answer, interrupted=True)
    assert stopped.solution.stop_reason == "interrupted"
