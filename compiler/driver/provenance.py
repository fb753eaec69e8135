"""Does a plan belong to a model? Import the model as the plan says, and compare the problems."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ullage.compiler.common.dtypes import parse_dtype
from ullage.compiler.common.errors import ModelError, UsageError, VerificationError
from ullage.compiler.importer.build import ImportOptions, import_detailed, import_model
from ullage.compiler.importer.joint.fx_file import is_joint_file
from ullage.compiler.importer.states.update import Updates
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.program import Buffer, Program, Step
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.orders import planned_schedule
from ullage.compiler.lowering.parts import lower_schedule
from ullage.compiler.verify.reach.check import ReachReport, verify_reach
from ullage.compiler.verify.reach.geometry import Geometry
from ullage.compiler.verify.verifier import check_well_formed


def check_model_matches(plan: Plan, model: Path) -> ReachReport | None:
    """Check that a model file gives the plan's problem, and that parts read what they need.

    Returns:
        What was found about parts; None for a plan of whole operators, and of a joint graph in fx
        form, whose operators run whole.

    Raises:
        VerificationError: the plan is malformed, the model gives another problem (names the first
            difference), or a part reads too little.
        ModelError: the model cannot be read.
        UsageError: what the plan says about its import makes no sense.
    """
    check_well_formed(plan)
    options = import_options(plan)
    if is_joint_file(model):
        with importing_as_planned(plan, model):
            graph = import_model(model, options, name=plan.problem.name)
        check_problem_matches(plan, graph, str(model))
        return None
    with importing_as_planned(plan, model):
        imported = import_detailed(model, options, name=plan.problem.name)
    check_problem_matches(plan, imported.graph, str(model))
    if "schedule" not in plan.model:
        return None
    return verify_reach(Geometry.of(imported), imported.graph, plan.program)


def import_options(plan: Plan) -> ImportOptions:
    """The import options that a plan states.

    Raises:
        UsageError: it states something that makes no sense; plan files come from anywhere.
    """
    model = plan.model
    dims, batch, dtype = model.get("dims") or {}, model.get("batch"), model.get("dtype")
    if not isinstance(dims, dict) or not all(map(_is_dimension, dims.values())):
        raise _odd("dims", dims, "a number of at least 1 for each name")
    if batch is not None and not _is_dimension(batch):
        raise _odd("batch", batch, "a number of at least 1, or null")
    if dtype is not None and not isinstance(dtype, str):
        raise _odd("dtype", dtype, "the name of a data type, or null")
    pairs = model.get("state") or []
    if not isinstance(pairs, list) or not all(map(_is_pair, pairs)):
        raise _odd("state", pairs, "a list of [input, output]")
    return ImportOptions(
        dims=dims,
        batch=batch,
        dtype=None if dtype is None else parse_dtype(dtype),
        fuse=bool(model.get("fuse", True)),
        states=tuple("=".join(pair) for pair in pairs),
        updates=_updates(model.get("updates")),
    ).for_target(plan.target)


def _updates(stated: object) -> Updates | None:
    """The parameters that a plan says are updated.

    Raises:
        UsageError: it states something that makes no sense.
    """
    if stated is None:
        return None
    if type(stated) is int and stated > 0:
        return stated
    if isinstance(stated, list) and stated and all(isinstance(name, str) for name in stated):
        return tuple(stated)
    raise _odd("updates", stated, "a number of at least 1, or a list of names")


def _is_dimension(value: object) -> bool:
    return type(value) is int and value >= 1


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(n) is str for n in value)


def _odd(field: str, value: object, wanted: str) -> UsageError:
    return UsageError(
        f"the plan's model.{field} is {str(value)[:60]!r}; it must be {wanted}. Compile again"
    )


@contextmanager
def importing_as_planned(plan: Plan, model: Path) -> Iterator[None]:
    """A model is imported as a plan says: dimensions that do not agree are the plan's fault.

    Raises:
        VerificationError: the plan binds other dimensions than the model has.
    """
    try:
        yield
    except UsageError as error:
        raise VerificationError(
            f"{model} cannot be imported as the plan says: {error.message}: not the same model, or "
            "imported with other options"
        ) from error
    except ModelError as error:
        if "symbols" not in error.details:
            raise
        names = ", ".join(error.details["symbols"])
        raise VerificationError(
            f"the plan, of {plan.problem.name}, gives no value for the dimensions of {model} "
            f"({names}): not the same model, or imported with other options; compile it again"
        ) from error


def program_as_planned(plan: Plan, graph: Graph) -> Program:
    """The program of a graph, made as a plan's was: in its order, with its parts and aliases."""
    return lower_schedule(
        graph,
        planned_schedule(graph, plan.model),
        order_name=plan.program.order,
        aliases=alias_options(plan.target, alias=bool(plan.model.get("alias", True))),
        dma_steps=plan.target.dma_steps,
        steady_state=plan.problem.steady_state,
    )


def check_problem_matches(plan: Plan, graph: Graph, model: str) -> None:
    """Check that a graph gives the plan's problem.

    Raises:
        VerificationError: they differ; names the first difference.
    """
    described = plan.model
    steady = plan.problem.steady_state
    if described.get("steady_state", steady) is not steady:
        raise VerificationError(
            f"the plan's model.steady_state is {str(described['steady_state'])[:60]!r}, its "
            f"problem's is {steady}: not of one compilation. Compile again"
        )
    rebuilt = program_as_planned(plan, graph)
    pairs: tuple[tuple[str, Sequence[Step | Buffer], Sequence[Step | Buffer]], ...] = (
        ("step", plan.problem.steps, rebuilt.steps),
        ("buffer", plan.problem.buffers, rebuilt.buffers),
    )
    for what, planned, imported in pairs:
        if len(planned) != len(imported):
            raise VerificationError(
                f"the plan has {len(planned)} {what}s, {model} gives {len(imported)}: not the same "
                "model, or imported with other options"
            )
        for number, (one, other) in enumerate(zip(planned, imported, strict=True)):
            if isinstance(one, Step) and isinstance(other, Step):
                # Measured times are in the plan alone; the model's file does not have them.
                other = replace(other, measured_s=one.measured_s)  # noqa: PLW2901
            if one != other:
                raise VerificationError(
                    f"{what} {number} of the plan ({one.name!r}) differs from {model} "
                    f"({other.name!r}): not the same model, or imported with other options",
                    {"index": number, "kind": what},
                )
