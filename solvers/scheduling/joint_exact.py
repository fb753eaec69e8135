"""The best order for whole tensors, exactly, where the task is COSMA's problem.

It is for the objective `traffic`, where operators reach activations in the fastest tier only
and nothing shares bytes (`--no-alias`). `cpsat` decides order, residency and addresses at once.
"""

import logging
from dataclasses import dataclass

from ullage.compiler.common.errors import UllageError
from ullage.compiler.ir.program import DMA_STEP
from ullage.solvers.cosma import cpsat as cpsat_cosma
from ullage.solvers.exact.options import CpsatOptions
from ullage.solvers.scheduling.joint_value import OrderingTask, problem_of
from ullage.solvers.state.segments import cuts_nothing, segments_of

# Share of the time left that it takes.
SHARE = 0.5

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExactOrder:
    """An order found by `cpsat`.

    Attributes:
        order: operator indices.
        proven: no order has a better plan (of whole tensors, where the target could cut them).
        whole: the target cuts nothing, so plans of whole tensors are all there are.
    """

    order: tuple[int, ...]
    proven: bool
    whole: bool


def exact_order(task: OrderingTask) -> ExactOrder | None:
    """The order of the fewest bytes; None where this is not COSMA's problem."""
    target = task.target
    if task.objective != "traffic" or target.operand_access != "fastest":
        return None
    if task.steady_state or len(target.tiers) != 2:
        return None
    model = tuple(range(len(task.graph.operators)))
    problem = problem_of(task, model)
    if any(len(buffer.values) > 1 for buffer in problem.buffers):
        return None
    options = CpsatOptions(order="free", seed=task.seed)
    try:
        exact = cpsat_cosma.answer(problem, options, task.budget.share(SHARE))
    except UllageError as error:
        logger.info("joint: no exact order: %s", error.message)
        return None
    order = tuple(s.operator for s in exact.solution.assignment.problem.steps if s.kind != DMA_STEP)
    whole = cuts_nothing(problem, segments_of(problem))
    return ExactOrder(order, exact.status == "optimal", whole)
