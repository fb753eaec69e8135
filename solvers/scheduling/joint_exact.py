"""The best order for whole tensors, exactly, where what is asked is COSMA's problem.

That is so for the objective `traffic` where operators reach activations in the fastest tier only
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

SHARE = 0.5  # of the time left

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExactOrder:
    """An order.

    Attributes:
        order: operator indices.
        proven: no order has a better plan (of whole tensors, where the target could cut them).
        whole: the target cuts nothing, so plans of whole tensors are all there are.
    """

    order: tuple[int, ...]
    proven: bool
    whole: bool


def exact_order(setting: OrderingTask) -> ExactOrder | None:
    """The order of the fewest bytes; None where this is not COSMA's problem."""
    target = setting.target
    if setting.objective != "traffic" or target.operand_access != "fastest":
        return None
    if setting.steady_state or len(target.tiers) != 2:
        return None
    model = tuple(range(len(setting.graph.operators)))
    problem = problem_of(setting, model)
    if any(len(buffer.values) > 1 for buffer in problem.buffers):
        return None
    options = CpsatOptions(order="free", seed=setting.seed)
    try:
        found = cpsat_cosma.answer(problem, options, setting.budget.share(SHARE))
    except UllageError as error:
        logger.info("joint: no exact order: %s", error.message)
        return None
    order = tuple(s.operator for s in found.solution.assignment.problem.steps if s.kind != DMA_STEP)
    whole = cuts_nothing(problem, segments_of(problem))
    return ExactOrder(order, found.status == "optimal", whole)
