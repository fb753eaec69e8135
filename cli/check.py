"""`ullage check`: is anybody's solution of a problem legal, and what is it worth?"""

from pathlib import Path
from typing import Annotated

import typer

from ullage.cli import options
from ullage.cli.streams import say


def check_command(
    problem: Annotated[
        Path, typer.Argument(metavar="PROBLEM", help="A problem file (docs/problems.md).")
    ],
    solution: Annotated[
        Path, typer.Argument(metavar="SOLUTION", help="A solution file, or a plan.json.")
    ],
    as_json: options.Json = False,
) -> None:
    """Verify a solution of a problem file, score it, and compare it with the best known."""
    from ullage.cli.render import print_json
    from ullage.compiler.common.errors import MalformedPlanError
    from ullage.compiler.common.units import objective_text, percent_above
    from ullage.compiler.exchange.check import check_solution
    from ullage.compiler.exchange.problem_file import read_problem
    from ullage.compiler.exchange.solution_file import read_solution
    from ullage.compiler.verify.verifier import malformed_file

    stated = read_problem(problem)
    try:
        answer = read_solution(solution, stated.problem)
    except MalformedPlanError as error:
        raise malformed_file(error) from error
    checked = check_solution(stated, answer)
    objective, bound, record = stated.problem.objective, checked.lower_bound, checked.record
    if checked.refutes_bound:
        say(
            f"warning: the value is below the bound that {problem} states ({record.lower_bound!r}, "
            f"by {record.bound_source or 'nobody named'}): that bound is wrong; please report it",
            err=True,
        )
    if checked.disproves_record:
        say(
            f"warning: the best known value that {problem} states ({record.value!r}) is below a "
            "lower bound, so that no plan has it: the record is wrong",
            err=True,
        )
    if checked.value_is_as_stated is False:
        say(
            f"warning: {solution} says its value is {answer.value!r}; it is {checked.value!r}",
            err=True,
        )
    if as_json:
        print_json(
            {
                "problem": stated.problem.name,
                "solution": str(solution),
                "solver": answer.solver,
                "legal": True,
                "violations": [],
                "objective": objective,
                "value": checked.value,
                "stated_value": answer.value,
                "latency_s": checked.score.latency_s,
                "lower_bound": bound.value,
                "bound_source": bound.source,
                "bound_checked": bound is checked.bound,
                "gap": checked.gap,
                "best_known": record.value,
                "best_known_solver": record.solver or None,
                "improves": checked.improves,
                "refutes_bound": checked.refutes_bound,
            }
        )
        return
    value = objective_text(checked.value, objective)
    say(f"{solution}: legal: {value} of {objective} on {stated.problem.target.name}")
    proven = "worked out here" if bound is checked.bound else "stated by the problem file"
    above = "" if checked.gap is None else f": {percent_above(checked.gap)} above it"
    say(f"lower bound {objective_text(bound.value, objective)} ({bound.source}, {proven}){above}")
    if record.value is not None:
        known = objective_text(record.value, objective)
        verdict = "better than" if checked.improves else "not better than"
        say(f"{verdict} the best known, {known} by {record.solver or 'nobody named'}")
