"""`--order`: the functions that choose an order, by name."""

from ullage.compiler.common.errors import UsageError
from ullage.compiler.frontend import ChooseOrder, Ordering, file_order
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import AliasOptions
from ullage.solvers.registry import SolverOptions
from ullage.solvers.scheduling.peak_order import memory_order

MODEL, MEMORY, JOINT = "model", "memory", "joint"
ORDERS = (MODEL, MEMORY, JOINT)


def find_order(
    name: str,
    *,
    options: SolverOptions | None = None,
    steady_state: bool = False,
    deadline: float | None = None,
) -> ChooseOrder:
    """The function that orders operators.

    Args:
        name: `model` (as the file lists them), `memory` (smallest peak) or `joint` (with the
            assignment, for an objective and a target).
        options: objective, seed and progress of `joint`.
        steady_state: inferences follow one another for ever.
        deadline: `time.monotonic()` value at which the whole job must have ended.

    Raises:
        UsageError: there is none of that name.
    """
    if name == MODEL:
        return file_order
    if name == MEMORY:
        return lambda graph, _, aliases: Ordering(memory_order(graph, aliases, deadline))
    if name == JOINT:
        told = options or SolverOptions()

        def joint(graph: Graph, target: Target, aliases: AliasOptions) -> Ordering:
            from ullage.solvers.scheduling.joint_order import order_until

            found = order_until(graph, target, aliases, told, deadline, steady_state=steady_state)
            return Ordering(found.order, found.notes)

        return joint
    raise UsageError(f"unknown order {name!r}; there are: {', '.join(ORDERS)}")
