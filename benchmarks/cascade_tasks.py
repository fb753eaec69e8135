"""What the benchmarks of cascades share: models in int8, and the task of choosing a schedule."""

from collections.abc import Iterator
from pathlib import Path

from common import model_files

from ullage.compiler.common.errors import ModelError, UllageError
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.orders import model_order
from ullage.solvers.budget import Budget
from ullage.solvers.run import Outcome
from ullage.solvers.scheduling.cascade.search import MOST_PARTS
from ullage.solvers.scheduling.cascade.valued import SchedulingTask


def imported_models(
    folder: Path | None, names: str, most_operators: int
) -> Iterator[tuple[str, Graph]]:
    """Models in int8 by name; one that cannot be imported is printed with its reason.

    A batch that a file leaves open is 1.

    Args:
        folder: of the models; None: the public set, else the wheel's.
        names: those that are wanted, with commas between; empty: all.
        most_operators: of a model.
    """
    wanted = [name for name in names.split(",") if name]
    for file in model_files(folder):
        if wanted and file.stem not in wanted:
            continue
        try:
            graph = _imported(file)
        except UllageError as error:
            print(f"{file.stem}: {error.message}")
            continue
        if len(graph.operators) <= most_operators:
            yield file.stem, graph


def _imported(file: Path) -> Graph:
    """A model in int8, its batch 1 where the file leaves it open."""
    try:
        return import_model(file, ImportOptions(dtype="int8"))
    except ModelError:
        return import_model(file, ImportOptions(dtype="int8", batch=1))


def task_of(
    graph: Graph, target: Target, budget: Budget, objective: str = "latency"
) -> SchedulingTask:
    """The task of choosing a schedule of one inference inside the file's order.

    It has no more parts than `fluid` plans by one linear program, where fewer are possible.
    """
    return SchedulingTask(
        graph=graph,
        order=model_order(graph),
        target=target,
        aliases=alias_options(target),
        steady_state=False,
        objective=objective,
        seed=0,
        budget=budget,
        most_parts=max(len(graph.operators), MOST_PARTS),
    )


def bounded_cells(outcome: Outcome) -> list[str]:
    """A plan's bound in ms and its gap; `-` where nothing is proven."""
    bound = outcome.solution.bound
    if bound is None:
        return ["-", "-"]
    return [f"{bound.value * 1e3:.4f}", f"{100 * (outcome.value / bound.value - 1):.2f} %"]


def cut_cells(outcome: Outcome) -> list[str]:
    """How many parts a plan has, and how many of its operators are cut."""
    problem = outcome.plan.problem
    cut = len({step.operator for step in problem.steps if step.ranges})
    return [str(problem.program.parts), f"{cut} of {problem.program.operators}"]
