"""Does a plan belong to a model? Import the model as the plan says and compare."""

from collections.abc import Sequence
from pathlib import Path

from ullage.compiler.errors import VerificationError
from ullage.compiler.graph import Graph
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.lifetimes import build_problem
from ullage.compiler.pipeline import alias_options, find_order
from ullage.compiler.plan import Plan
from ullage.compiler.problem import Buffer, Step


def check_model_matches(plan: Plan, model: Path) -> None:
    """Rebuild the plan's problem from a model file.

    Raises:
        VerificationError: the model gives another problem; names the first difference.
        ModelError: the model cannot be read.
    """
    said = plan.model
    graph = import_model(
        model,
        ImportOptions(
            dims=said.get("dims") or {},
            batch=said.get("batch"),
            dtype=said.get("dtype"),
            fuse=bool(said.get("fuse", True)),
        ),
        name=plan.problem.name,
    )
    check_problem_matches(plan, graph, str(model))


def check_problem_matches(plan: Plan, graph: Graph, model: str) -> None:
    """Rebuild the plan's problem from a graph and compare.

    Raises:
        VerificationError: they differ; names the first difference.
    """
    said = plan.model
    rebuilt = build_problem(
        graph,
        find_order(str(said.get("order", "model")))(graph),
        order_name=plan.problem.order,
        aliases=alias_options(plan.target, alias=bool(said.get("alias", True))),
        dma_steps=plan.target.needs_dma_steps,
    )
    pairs: tuple[tuple[str, Sequence[Step | Buffer], Sequence[Step | Buffer]], ...] = (
        ("step", plan.problem.steps, rebuilt.steps),
        ("buffer", plan.problem.buffers, rebuilt.buffers),
    )
    for what, ours, theirs in pairs:
        if len(ours) != len(theirs):
            raise VerificationError(
                f"the plan has {len(ours)} {what}s, {model} gives {len(theirs)}: not the same "
                "model, or imported with other options"
            )
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            if one != other:
                raise VerificationError(
                    f"{what} {number} of the plan ({one.name!r}) differs from {model} "
                    f"({other.name!r}): not the same model, or imported with other options",
                    {"index": number, "kind": what},
                )
