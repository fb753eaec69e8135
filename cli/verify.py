"""`ullage verify`: is a plan legal, and does it fit the model?"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ullage.cli import options
from ullage.cli.streams import say


def verify_command(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="A plan.json.")],
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL", help="Also check that the plan is of this model."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Check every rule of a plan: data where operators find it, space, transfers, outputs."""
    from ullage.cli.render import print_json
    from ullage.compiler.common.errors import MalformedPlanError, VerificationError
    from ullage.compiler.common.units import counted
    from ullage.compiler.driver.problem_files import refuse_problem
    from ullage.compiler.driver.provenance import check_model_matches
    from ullage.compiler.driver.summary_text import stated_bound_text
    from ullage.compiler.ir.plan_json import read_plan
    from ullage.compiler.verify.verifier import find_file_violations, malformed_file

    try:
        loaded = read_plan(plan)
    except MalformedPlanError as error:
        raise malformed_file(error) from error
    violations = find_file_violations(loaded)
    if violations:
        listed = [
            {"rule": v.rule, "message": v.message, "step": v.step, "buffers": list(v.buffers)}
            for v in violations
        ]
        raise VerificationError(
            f"{plan}: {counted(len(violations), 'violation')}; first: {violations[0].message}",
            {"violations": listed},
        )
    parts = None
    if model is not None:
        path = options.read_model_path(model)
        refuse_problem(path, "verify --model")
        parts = check_model_matches(replace(loaded), path)
    summary = {
        "plan": str(plan),
        "verified": True,
        "model_checked": model is not None,
        "parts_checked": None if parts is None else parts.checked,
        "parts_unchecked": None if parts is None else dict(parts.unchecked),
        "violations": [],
        "steps": len(loaded.problem.steps),
        "residencies": len(loaded.residencies),
        "transfers": len(loaded.transfers),
        "fits_chip": not loaded.shortfall,
        "order": loaded.program.order,
        "stated_bound": loaded.lower_bound,
        "stated_bound_source": loaded.bound_source or None,
    }
    if loaded.shortfall:
        say(f"warning: {loaded.shortfall}", err=True)
    if as_json:
        print_json(summary)
    else:
        say(
            f"{plan}: legal: {counted(len(loaded.residencies), 'residency', 'residencies')} and "
            f"{counted(len(loaded.transfers), 'transfer')} over "
            f"{counted(len(loaded.problem.steps), 'step')}"
            + (", and of this model" if model is not None else "")
        )
        if parts is not None:
            read = counted(parts.checked, "step")
            say(f"{read} with parts of operators: each reads what it needs, derived a second time")
            if parts.remark:
                say(f"warning: {parts.remark}", err=True)
        if bound := stated_bound_text(loaded):
            say(f"it {bound} (not proven here: `ullage report` does)")
