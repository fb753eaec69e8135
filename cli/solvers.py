"""`ullage solvers`: the solvers there are, their parameters, and a check of their contract."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from ullage.cli import options
from ullage.cli.streams import say

if TYPE_CHECKING:
    from ullage.solvers.interface import Solver
    from ullage.solvers.parameters import ParameterValue

app = typer.Typer(help="List, show and check solvers.", no_args_is_help=True)


@app.command("list")
def list_command(as_json: options.Json = False) -> None:
    """List all solvers, third parties' included."""
    from ullage.cli.render import print_json, print_table
    from ullage.compiler.common.errors import UsageError
    from ullage.solvers.interface import Solver
    from ullage.solvers.registry import find_solver, missing_packages, solver_names

    solvers: list[Solver] = []
    broken: dict[str, str] = {}
    for name in solver_names():
        try:
            solvers.append(find_solver(name))
        except UsageError as error:  # one broken package must not hide the others
            broken[name] = error.message
    if as_json:
        print_json(
            {
                "solvers": [
                    {
                        "name": s.name,
                        "summary": s.summary,
                        "parameters": _defaults(s),
                        "objectives": list(s.objectives),
                        "origin": s.origin,
                        "extra": s.extra,
                        "missing": list(missing_packages(s)),
                    }
                    for s in solvers
                ],
                "broken": broken,
            }
        )
        return
    columns = [("Solver", "left"), ("What it does", "left"), ("From", "left")]
    print_table("Solvers", columns, [[s.name, s.summary, s.origin] for s in solvers])
    for message in broken.values():
        say(message, err=True, lines=True)


@app.command("show")
def show_command(name: str, as_json: options.Json = False) -> None:
    """Show a solver's parameters (give them with --param NAME=VALUE)."""
    from ullage.cli.render import print_json, print_table
    from ullage.solvers.parameters import parameters_of
    from ullage.solvers.registry import find_solver

    solver = find_solver(name)
    parameters = parameters_of(solver.options)
    if as_json:
        print_json(
            {
                "name": solver.name,
                "summary": solver.summary,
                "parameters": _defaults(solver),
                "about": [asdict(parameter) for parameter in parameters],
                "objectives": list(solver.objectives),
                "origin": solver.origin,
            }
        )
        return
    say(f"{solver.name}: {solver.summary}")
    columns = [
        ("Parameter", "left"),
        ("Type", "left"),
        ("Default", "right"),
        ("What it is", "left"),
    ]
    rows = [
        [p.name, " | ".join(p.choices) or p.kind, str(p.default), p.sentence] for p in parameters
    ]
    print_table("Parameters", columns, rows)


@app.command("check")
def check_command(name: str, as_json: options.Json = False) -> None:
    """Run a solver over small problems and report what its contract breaks."""
    from ullage.cli.render import print_json, print_table
    from ullage.compiler.common.errors import ContractError
    from ullage.solvers.check import check_solver

    report = check_solver(name)
    failed = [case for case in report if case.breaches]
    if as_json:
        print_json(
            {
                "solver": name,
                "passed": not failed,
                "cases": [asdict(case) for case in report],
            }
        )
    else:
        rows = [[c.name, "; ".join(c.breaches) or "ok", c.answer] for c in report]
        columns = [("Problem", "left"), ("Contract", "left"), ("Answer", "left")]
        print_table(f"{name}: {len(report)} small problems", columns, rows)
    if failed:
        raise typer.Exit(ContractError.exit_code)


def _defaults(solver: "Solver") -> dict[str, "ParameterValue"]:
    """The parameters of a solver with their defaults."""
    from ullage.solvers.parameters import parameters_of

    return {parameter.name: parameter.default for parameter in parameters_of(solver.options)}
