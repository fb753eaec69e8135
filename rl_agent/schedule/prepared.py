"""The task of choosing a schedule of a model that has been read."""

from ullage.compiler.common.errors import UsageError
from ullage.compiler.frontend import Prepared
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.orders import planned_order
from ullage.compiler.lowering.tiling.allowed import with_allowed_cuts
from ullage.solvers.budget import Budget
from ullage.solvers.scheduling.cascade.two_tiers import with_two_tiers
from ullage.solvers.scheduling.cascade.valued import SchedulingTask


def prepared_task(prepared: Prepared, target: Target) -> SchedulingTask:
    """The task of the fastest schedule of a prepared model, without a time limit.

    Args:
        prepared: the model.
        target: its target, of another size perhaps.

    Raises:
        UsageError: operators run whole on the target.
    """
    if not target.tile_axes:
        raise UsageError(
            f"operators run whole on {target.name} (tiles.allowed), so that there is no schedule "
            "to choose; choose another target"
        )
    return SchedulingTask(
        graph=with_allowed_cuts(prepared.graph, target),
        order=planned_order(prepared.graph, prepared.model),
        target=with_two_tiers(target),
        aliases=alias_options(target),
        steady_state=False,
        objective="latency",
        seed=0,
        budget=Budget(),
    )
