"""`ullage solvers`: what can solve, and with which parameters."""

import typer

from ullage.cli import options

app = typer.Typer(help="List and show solvers.", no_args_is_help=True)


@app.command("list")
def list_command(as_json: options.Json = False) -> None:
    """List all solvers, third parties' included."""
    from ullage.cli.render import print_json, print_table
    from ullage.compiler.common.errors import UsageError
    from ullage.solvers.registry import (
        Solver,
        find_solver,
        missing_packages,
        solver_names,
    )

    found: list[Solver] = []
    broken: dict[str, str] = {}
    for name in solver_names():
        try:
            found.append(find_solver(name))
        except UsageError as error:  # one broken package must not hide the others
            broken[name] = error.message
    if as_json:
        print_json(
            {
                "solvers": [
                    {
                        "name": s.name,
                        "summary": s.summary,
                        "parameters": dict(s.defaults),
                        "objectives": list(s.objectives),
                        "origin": s.origin,
                        "extra": s.extra,
                        "missing": list(missing_packages(s)),
                    }
                    for s in found
                ],
                "broken": broken,
            }
        )
        return
    columns = [("Solver", "left"), ("What it does", "left"), ("From", "left")]
    print_table("Solvers", columns, [[s.name, s.summary, s.origin] for s in found])
    for message in broken.values():
        typer.echo(message, err=True)


@app.command("show")
def show_command(name: str, as_json: options.Json = False) -> None:
    """Show a solver's parameters (give them with --param NAME=VALUE)."""
    from ullage.cli.render import print_json, print_table
    from ullage.solvers.registry import find_solver

    found = find_solver(name)
    if as_json:
        print_json(
            {
                "name": found.name,
                "summary": found.summary,
                "parameters": dict(found.defaults),
                "origin": found.origin,
            }
        )
        return
    typer.echo(f"{found.name}: {found.summary}")
    rows = [[key, type(value).__name__, str(value)] for key, value in found.defaults.items()]
    print_table("Parameters", [("Parameter", "left"), ("Type", "left"), ("Default", "right")], rows)
