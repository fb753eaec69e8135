"""An event-driven replay of a plan: a second opinion on its latency.

Transfers run asynchronously, as soon as data, space and their queue allow, whatever step the plan
gave them, and activities that run at the same time share each tier's bandwidth:

    time              0         1         2         3         4
    operators         |-- conv ---|-- relu --|         |-- add --|
    queue dram->sram  |s|===== w1 =====|s|===== w2 ====|                 s: set-up
    queue sram->dram              |s|== a ==|

Here `add` waits until its weights w2 have arrived. Compute times and the bytes charged to operands
are shared with the cost model, nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.compiler.common.errors import VerificationError
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.program import DMA_STEP
from ullage.hwmodels.cost import bandwidth_reached, compute_seconds
from ullage.hwmodels.replay.event_graph import EventGraph, precedence
from ullage.hwmodels.replay.max_min_fairness import Demand, fair_speeds
from ullage.hwmodels.replay.unroll import unroll
from ullage.hwmodels.resources import resources
from ullage.hwmodels.traffic import (
    OperandCharges,
    further_ranges,
    look_up_charges,
    operand_charges,
    tier_bytes,
)

# Share of an activity's work that may be left, by rounding, when it counts as ended.
_ROUNDING = 1e-12

# Inferences of a plan in steady state that are replayed before the one that is reported.
_WARM_UP = 2


@dataclass(frozen=True)
class Simulation:
    """When everything happened, in seconds from the start.

    In steady state it describes one inference of the loop, from the end of the last operator of the
    inference before to the end of its own last operator. Its first transfers may have begun earlier
    (negative times), and its last ones may end later.

    Attributes:
        latency_s: when the last operator and the last transfer had finished; in steady state the
            time per inference of the loop.
        stall_s: time during which no operator ran.
        step_start_s: (T,) when each operator started; a DMA-only step passes in no time.
        step_end_s: (T,) when it finished.
        transfer_start_s: (transfers,) when each transfer's set-up began.
        transfer_end_s: (transfers,) when its last byte had arrived.
    """

    latency_s: float
    stall_s: float
    step_start_s: Floats = field(repr=False)
    step_end_s: Floats = field(repr=False)
    transfer_start_s: Floats = field(repr=False)
    transfer_end_s: Floats = field(repr=False)


@dataclass(slots=True)
class _Activity:
    """What occupies a lane now: an operator, a transfer's set-up, or the moving of its bytes.

    Attributes:
        event: number of the event that happens when it ends.
        work_s: seconds that all of it takes at full speed.
        left_s: seconds at full speed that remain of it.
        demand: shares of tier ports that it takes at full speed.
        bytes_next: it is a set-up, and the bytes follow it.
    """

    event: int
    work_s: float
    left_s: float
    demand: Demand
    bytes_next: bool = False


def simulate(plan: Plan) -> Simulation:
    """Replay a plan: in-order operators, and in-order DMA queues, one per link.

    A link's transfers queue in the order of their first planned step (ties: as listed). The first
    in the queue starts once its source data is there and its destination's space is free; it takes
    the link's set-up time (with the latency of the source), then moves its bytes in one go. Where a
    queue has several outstanding transfers, so many are under way, and share the link when several
    of them move bytes. An operator starts once the one before
    has finished, its operands have arrived and the space that it writes is free; by itself it takes
    overhead + max(compute + exposed operand time, tier times). Activities that run at the same time
    get max-min fair shares of each tier's port, computed anew at every start and end.

    In steady state several inferences run back to back, the first with its loop-carried weights in
    place, and one is reported that has others before and after it. Transfers of an inference run
    beside the operators of the one before as far as data, space and queues allow; its inputs are
    at home once the last operator of that one has finished.

    Raises:
        VerificationError: the plan is illegal: it gets stuck (the message says what waits for
            what), a use or a transfer lacks its residencies, or residencies overlap.
    """
    if not plan.problem.steady_state:
        return _replay(plan)
    steps, transfers = len(plan.problem.steps), len(plan.transfers)
    unrolled = _replay(unroll(plan, _WARM_UP + 2), steps)
    begun = float(unrolled.step_end_s[_WARM_UP * steps - 1])
    during = slice(_WARM_UP * steps, (_WARM_UP + 1) * steps)
    moving = slice(_WARM_UP * transfers, (_WARM_UP + 1) * transfers)
    step_start_s, step_end_s = (
        unrolled.step_start_s[during] - begun,
        unrolled.step_end_s[during] - begun,
    )
    latency_s = float(step_end_s[-1])
    return Simulation(
        latency_s,
        max(0.0, latency_s - float((step_end_s - step_start_s).sum())),
        step_start_s,
        step_end_s,
        unrolled.transfer_start_s[moving] - begun,
        unrolled.transfer_end_s[moving] - begun,
    )


def _replay(plan: Plan, period: int = 0) -> Simulation:
    """Replay one inference, or several of `period` steps each.

    Lane 0 is that of the operators; each link has one lane for each outstanding transfer.
    """
    target = plan.target
    operands = operand_charges(plan)
    events = precedence(plan, operands, period)
    steps = events.steps
    durations, demands = _operator_work(plan, operands)
    waits = list(events.waits)
    queues = _queues(plan)
    further = further_ranges(plan)
    flows = [_transfer_work(plan, index, ranges) for index, ranges in enumerate(further)]
    started = np.zeros(events.first_instant)
    ended = np.zeros(events.first_instant)
    outstanding = resources(plan.problem).outstanding.tolist()
    # Lanes of the operators, then of the links; a queue of few transfers needs no more than those.
    link_of = [k for k, queue in enumerate(queues) for _ in range(min(outstanding[k], len(queue)))]
    lanes: list[_Activity | None] = [None] * (1 + len(link_of))
    heads = [0] * len(queues)
    step, now, stall_s = 0, 0.0, 0.0

    def finish(event: int) -> None:
        if event < events.first_instant:
            ended[event] = now
        happened = [event]
        while happened:
            for follower in events.followers[happened.pop()]:
                waits[follower] -= 1
                if waits[follower] == 0 and follower >= events.first_instant:
                    happened.append(follower)

    for instant in [i for i in range(events.first_instant, len(waits)) if waits[i] == 0]:
        finish(instant)
    while True:
        startable = True
        while startable:
            startable = False
            while lanes[0] is None and step < steps and waits[step] == 0:
                started[step] = now
                if durations[step] > 0:
                    lanes[0] = _Activity(step, durations[step], durations[step], demands[step])
                else:
                    finish(step)
                step += 1
            for lane, link in enumerate(link_of, start=1):
                queue, head = queues[link], heads[link]
                if lanes[lane] is not None or head == len(queue) or waits[steps + queue[head]]:
                    continue
                heads[link] += 1
                event = steps + queue[head]
                started[event] = now
                lanes[lane] = _next_phase(event, flows[queue[head]], begun=False)
                if lanes[lane] is None:
                    finish(event)
                    # It took no time, so what waited for it may start at this very moment.
                    startable = True
        running = [activity for activity in lanes if activity is not None]
        if not running:
            break
        ports = len(target.tiers) + len(target.links)
        speeds = fair_speeds([activity.demand for activity in running], ports)
        pause = min(a.left_s / speed for a, speed in zip(running, speeds, strict=True))
        now += pause
        stall_s += pause if lanes[0] is None else 0.0
        for activity, speed in zip(running, speeds, strict=True):
            activity.left_s -= speed * pause
        for lane, current in enumerate(lanes):
            if current is None or current.left_s > _ROUNDING * current.work_s:
                continue
            following = None
            if current.bytes_next:
                following = _next_phase(current.event, flows[current.event - steps], begun=True)
            lanes[lane] = following
            if following is None:
                finish(current.event)
    pending = list(range(step, steps))
    pending += [
        steps + index for link, queue in enumerate(queues) for index in queue[heads[link] :]
    ]
    if pending:
        raise _stuck(plan, events, waits, pending)
    return Simulation(now, stall_s, started[:steps], ended[:steps], started[steps:], ended[steps:])


def _operator_work(plan: Plan, operands: OperandCharges) -> tuple[list[float], list[Demand]]:
    """Duration in s of each step when nothing else runs, and its demand on the tiers' ports.

    DMA that brings what a step looks up is a part of the step.
    """
    compute, _ = compute_seconds(plan.problem)
    table, steps = resources(plan.problem), len(plan.problem.steps)
    operand_bytes = tier_bytes(operands, plan.target, steps)
    tier_s = table.operand_seconds(*operand_bytes, bandwidth_reached(plan.problem))
    unit = compute + (table.exposed * tier_s).sum(axis=0)
    found = look_up_charges(operands, plan.target, steps)
    link_s = table.link_seconds(found.moved, found.setups, found.ranges)
    busiest = np.vstack([unit[None], tier_s, link_s]).max(axis=0)
    runs = np.array([step.kind != DMA_STEP for step in plan.problem.steps])
    durations = runs * plan.target.compute.overhead_s + busiest
    shares = np.divide(tier_s, durations, out=np.zeros_like(tier_s), where=durations > 0)
    demands = [
        tuple((tier, share) for tier, share in enumerate(column) if share > 0)
        for column in shares.T.tolist()
    ]
    return durations.tolist(), demands


def _transfer_work(plan: Plan, index: int, ranges: int) -> tuple[float, float, Demand]:
    """Set-up in s, time of the bytes at full speed in s, and their demand on ports and link.

    Args:
        plan: the plan.
        index: the transfer.
        ranges: of addresses, beyond one.
    """
    transfer, table = plan.transfers[index], resources(plan.problem)
    link = table.link_of(transfer)
    read, write, move = table.transfer_rates(link)
    rate = min(read, write, move)
    demand: Demand = (
        (int(table.source[link]), rate / read),
        (int(table.destination[link]), rate / write),
    )
    if table.outstanding[link] > 1:
        demand = (*demand, (len(table.tiers) + link, rate / move))
    moved = table.moved_bytes(link, transfer.end_byte - transfer.start_byte)
    setup_s = float(table.setup_s[link] + ranges * table.range_setup_s[link])
    return setup_s, moved / rate, demand


def _queues(plan: Plan) -> list[list[int]]:
    """Indices of the transfers of each link in the order of their first step, ties as listed."""
    queues: list[list[int]] = [[] for _ in plan.target.links]
    table = resources(plan.problem)
    for index in sorted(range(len(plan.transfers)), key=lambda i: plan.transfers[i].moves[0][0]):
        queues[table.link_of(plan.transfers[index])].append(index)
    return queues


def _next_phase(event: int, work: tuple[float, float, Demand], *, begun: bool) -> _Activity | None:
    """The next activity of a transfer: its set-up, or, once that has `begun`, its bytes.

    None where that takes no time.
    """
    setup_s, bytes_s, demand = work
    if setup_s > 0 and not begun:
        return _Activity(event, setup_s, setup_s, (), bytes_next=True)
    return _Activity(event, bytes_s, bytes_s, demand) if bytes_s > 0 else None


def _stuck(
    plan: Plan, events: EventGraph, waits: Sequence[int], pending: Sequence[int]
) -> VerificationError:
    """The error for a replay in which nothing runs and something is left, with the reasons."""
    unhappened = {*pending, *(i for i in range(events.first_instant, len(waits)) if waits[i])}
    reasons = [
        f"{_named(plan, events, event)} waits for {_named(plan, events, cause)}"
        for cause in sorted(unhappened)
        for event in events.followers[cause]
    ]
    return VerificationError(
        f"the replay gets stuck with {len(pending)} operators and transfers left:"
        f" {'; '.join(reasons[:6])}; the plan is illegal, `ullage verify` names the rule broken",
        {"pending": len(pending), "waits": reasons},
    )


def _named(plan: Plan, events: EventGraph, event: int) -> str:
    """An event in words, for messages."""
    buffers = plan.problem.buffers
    if event < events.steps:
        return f"step {event} ({plan.problem.steps[event].name})"
    if event < events.first_instant:
        move = plan.transfers[event - events.steps]
        moved = f"{buffers[move.buffer].name} [{move.start_byte}, {move.end_byte})"
        return f"the transfer of {moved} over {move.link} at {move.moves[0][0]}"
    place, what = divmod(event - events.first_instant, 3)
    held = events.places[place]
    name = buffers[held.buffer].name if held.buffer >= 0 else "workspace"
    where = f"{name} [{held.start_byte}, {held.end_byte}) at {held.tier}+{held.offset}"
    return f"{('free space', 'arrival', 'release')[what]} of {where}"
