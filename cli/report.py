"""`ullage report`: a plan as one HTML file for a browser."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ullage.cli import options
from ullage.cli.streams import say


def report_command(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="A plan.json.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE.html", help="Default: report.html beside it."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL", help="The plan's model, for types and shapes."),
    ] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(
            "--with", metavar="FILE.json", help="Output of compare --json or sweep --json to show."
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Write a report: memory map, lanes, what binds each step, what would help."""
    from ullage.cli.render import print_json
    from ullage.compiler.common.files import check_file, write_atomic
    from ullage.compiler.ir.plan_json import read_plan
    from ullage.compiler.report.data import report_data
    from ullage.compiler.report.extras import read_extras
    from ullage.compiler.report.page import render_page
    from ullage.compiler.report.subject import compiled_of, graph_of, with_graph

    path = output or plan.with_name("report.html")
    check_file(path, "-o")
    extras = read_extras(also or ())
    compiled = compiled_of(read_plan(plan), plan)
    graph, why_not = graph_of(
        compiled.plan, None if model is None else options.read_model_path(model)
    )
    if why_not is not None:
        plan_with_note = replace(compiled.plan, notes=(*compiled.plan.notes, why_not))
        compiled = replace(compiled, plan=plan_with_note)
    if graph is not None:
        compiled = with_graph(compiled, graph)
    values = {} if graph is None else graph.values
    page = render_page(report_data(compiled, values, extras))
    write_atomic(path, page)
    if as_json:
        print_json({"plan": str(plan), "report": str(path), "size_bytes": len(page)})
    else:
        say(f"{path}: {len(page)} bytes")
