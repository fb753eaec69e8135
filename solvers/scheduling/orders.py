"""`--order`: the functions that choose an order, by name."""

from ullage.compiler.common.errors import UsageError
from ullage.compiler.frontend import ChooseOrder, Ordering, file_order
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import AliasOptions
from ullage.solvers.budget import Budget
from ullage.solvers.scheduling.peak_order import smallest_peak

# Names of the orders, as `--order` takes them.
MODEL, MEMORY, JOINT = "model", "memory", "joint"
ORDERS = (MODEL, MEMORY, JOINT)


def find_order(
    name: str,
    *,
    objective: str = "latency",
    seed: int = 0,
    steady_state: bool = False,
    budget: Budget | None = None,
) -> ChooseOrder:
    """The function that orders operators.

    Args:
        name: `model` (as the file lists them), `memory` (smallest peak) or `joint` (with the
            assignment, for an objective and a target).
        objective: objective that `joint` minimises.
        seed: random seed of `joint`.
        steady_state: inferences follow one another for ever.
        budget: the time of the whole job, solving included.

    Raises:
        UsageError: there is none of that name.
    """
    whole = budget or Budget()
    if name == MODEL:
        return file_order
    if name == MEMORY:

        def memory(graph: Graph, _: Target, aliases: AliasOptions) -> Ordering:
            found = smallest_peak(graph, aliases, deadline=whole.deadline)
            return Ordering(found.order, found.notes)

        return memory
    if name == JOINT:

        def joint(graph: Graph, target: Target, aliases: AliasOptions) -> Ordering:
            from ullage.solvers.scheduling.joint_order import order_until

            joint_order = order_until(
                graph, target, aliases, objective, seed, whole, steady_state=steady_state
            )
            return Ordering(joint_order.order, joint_order.notes)

        return joint
    raise UsageError(f"unknown order {name!r}; there are: {', '.join(ORDERS)}")
