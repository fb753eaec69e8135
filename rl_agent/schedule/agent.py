"""`--schedule agent`: the search for cascades with a policy in front of it.

The policy corrects what groups cost in the dynamic program. Its schedule is the first one that the
LP values; then local search goes on, of whose proposals most choose the groups of a window anew by
the corrected costs, multiplied by noise, until the deadline. Where operands must lie in the fastest
memory, what the policy says is made to fit as other groups are (`cascade.fitted`);
the shipped one was trained where operators reach all memories.
"""

from dataclasses import replace
from pathlib import Path

from ullage.compiler.common.errors import UsageError
from ullage.rl_agent.schedule.features import encode
from ullage.rl_agent.schedule.network import (
    Decoder,
    ScheduleNetwork,
    corrected_chain,
    network_in,
)
from ullage.rl_agent.schedule.tables import ScheduleInstance, instance_from
from ullage.solvers.scheduling.cascade.chain import Chain
from ullage.solvers.scheduling.cascade.estimate import OrderFacts
from ullage.solvers.scheduling.cascade.search import (
    CascadeResult,
    cascade_schedule,
    schedule_until,
)
from ullage.solvers.scheduling.cascade.stripes import Cascade
from ullage.solvers.scheduling.cascade.valued import SchedulingTask

# Name of schedules that the agent chooses.
AGENT = "agent"


class Corrector:
    """Corrects dynamic programs by a network (`cascade.search.Correct`).

    Attributes:
        network: the network.
    """

    def __init__(self, network: ScheduleNetwork) -> None:
        self.network = network

    def __call__(self, task: SchedulingTask, facts: OrderFacts, chain: Chain) -> Chain:
        """The dynamic program over the network's costs."""
        instance = instance_from(task, facts, chain)
        return corrected_chain(instance, self.network, encode(instance))


def decoded(instance: ScheduleInstance, network: ScheduleNetwork) -> tuple[Cascade, ...]:
    """The groups of one decode."""
    rows = Decoder(instance, encode(instance)).rows(network)
    return instance.cascades(rows.tolist())


def agent_schedule(
    task: SchedulingTask, network: ScheduleNetwork, *, tries: int | None = None
) -> CascadeResult:
    """The best schedule that the agent finds by the task's deadline.

    Args:
        task: the graph in its order, the target and the objective.
        network: the policy.
        tries: moves to try at most.
    """
    limit = {} if tries is None else {"tries": tries}
    return _named(cascade_schedule(task, correct=Corrector(network), **limit))


def agent_until(task: SchedulingTask, checkpoint: Path | None = None) -> CascadeResult:
    """The schedule that the agent finds in its share of the job's time, as `schedule_until`.

    Args:
        task: the graph in its order, the target and the objective.
        checkpoint: of the network; None: the one that ships.

    Raises:
        UsageError: the checkpoint cannot be read, or the agent does not play for this objective.
    """
    check_playable(task.objective)
    return _named(schedule_until(task, Corrector(network_in(checkpoint))))


def check_playable(objective: str) -> None:
    """Check that the agent chooses schedules for an objective.

    Raises:
        UsageError: it was trained for another one.
    """
    if objective != "latency":
        raise UsageError(
            f"--schedule agent minimises latency, not {objective}; use --schedule cascade"
        )


def _named(result: CascadeResult) -> CascadeResult:
    if result.schedule.is_whole:
        return result
    return replace(result, schedule=replace(result.schedule, name=AGENT))
