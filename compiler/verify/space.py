"""Rules of space and of shape: addresses, capacities, workspaces, cuts, links and moves.

    address
    capacity  +-----------------------------+
              |          | workspace |      |    at the top, during its step only
              |          +-----------+      |
              |    +------------------+     |
              |    | residency B      |     |    [offset, offset + size) x [start, end)
              +----+-----+------------+     |
              | residency A           |     |
         0    +-----------------------------+
              0                        steps

In one tier no two of these rectangles may overlap.
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator
from itertools import pairwise

from ullage.compiler.ir.assignment import Assigned
from ullage.compiler.ir.plan import Residency, Transfer
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import Buffer
from ullage.compiler.verify.well_formed import NO_STEP, Violation


def find_space_violations(plan: Assigned) -> Iterator[Violation]:
    """Yield broken rules about addresses in a well-formed plan.

    Near-linear in the number of residencies: per tier one sweep over their starts, with the slices
    live at that step sorted by address.
    """
    members: dict[str, list[Residency]] = {}
    for item in plan.residencies:
        members.setdefault(item.tier, []).append(item)
        yield from _address_violations(plan, item)
    for items in members.values():
        yield from _overlaps(plan, items)
    yield from _workspace_violations(plan, members.get(plan.target.fastest.name, []))


def find_slice_violations(plan: Assigned) -> Iterator[Violation]:
    """Yield illegal cuts of slices, missing links, read-only destinations and bad moves."""
    ends = value_and_use_ends(plan.problem)
    for item in plan.residencies:
        yield from _cut_violations(plan, item, ends[item.buffer], item.start)
    links = {link.name: (link.source, link.destination) for link in plan.target.links}
    for transfer in plan.transfers:
        first = transfer.moves[0][0] if transfer.moves else NO_STEP
        name = plan.problem.buffers[transfer.buffer].name
        yield from _cut_violations(plan, transfer, ends[transfer.buffer], first)
        if links.get(transfer.link) != (transfer.source, transfer.destination):
            what = describe_transfer(plan, transfer)
            message = f"{what}: the target has no link {transfer.link!r} there"
            yield Violation("no-link", message, first, (name,))
        if plan.target.tier(transfer.destination).read_only:
            message = f"{describe_transfer(plan, transfer)}: {transfer.destination} is read-only"
            yield Violation("read-only", message, first, (name,))
        for rule, fault in move_faults(transfer):
            message = f"{describe_transfer(plan, transfer)}: {fault}"
            yield Violation(rule, message, first, (name,))


def move_faults(transfer: Transfer) -> Iterator[tuple[str, str]]:
    """Yield (rule, fault) for the sum, the signs and the order of a transfer's moves."""
    needed = transfer.end_byte - transfer.start_byte
    moved = sum(moved_bytes for _, moved_bytes in transfer.moves)
    if moved != needed:
        yield "moved-bytes", f"the slice has {needed} bytes, the moves sum to {moved}"
    if any(moved_bytes <= 0 for _, moved_bytes in transfer.moves):
        yield "moved-bytes", "every move must be of at least one byte"
    steps = [t for t, _ in transfer.moves]
    if any(after <= before for before, after in pairwise(steps)):
        yield "transfer-order", f"steps of moves must ascend strictly, they are {steps[:20]}"


def describe_residency(plan: Assigned, item: Residency) -> str:
    """Name a residency in a message."""
    size = item.end_byte - item.start_byte
    return (
        f"{plan.problem.buffers[item.buffer].name} bytes [{item.start_byte}, {item.end_byte}) in "
        f"{item.tier} at addresses [{item.offset}, {item.offset + size}) during steps "
        f"[{item.start}, {item.end}), ready at {item.ready}"
    )


def describe_transfer(plan: Assigned, item: Transfer) -> str:
    """Name a transfer in a message."""
    steps = f"steps {item.moves[0][0]}..{item.moves[-1][0]}" if item.moves else "no step"
    return (
        f"transfer of {plan.problem.buffers[item.buffer].name} bytes "
        f"[{item.start_byte}, {item.end_byte}) {item.source}->{item.destination} in {steps}"
    )


def _top(item: Residency) -> int:
    """One past the highest address of a residency."""
    return item.offset + item.end_byte - item.start_byte


def _address_violations(plan: Assigned, item: Residency) -> Iterator[Violation]:
    """Yield a misaligned offset, and a residency that ends beyond its tier's capacity."""
    tier = plan.target.tier(item.tier)
    names = (plan.problem.buffers[item.buffer].name,)
    if item.offset % tier.alignment_bytes:
        message = (
            f"{describe_residency(plan, item)}: the offset must be a multiple of "
            f"{tier.alignment_bytes}"
        )
        yield Violation("alignment", message, item.start, names)
    if _top(item) > tier.capacity_bytes:
        message = (
            f"{describe_residency(plan, item)}: {tier.name} has {tier.capacity_bytes} bytes, "
            f"{_top(item) - tier.capacity_bytes} too few"
        )
        yield Violation("capacity", message, item.start, names)


def _overlaps(plan: Assigned, items: list[Residency]) -> Iterator[Violation]:
    """Yield overlaps in one tier: at least one when there is any.

    The live slices of a legal plan are disjoint, so comparing each new slice with its neighbours by
    address is enough to see the first overlap. Slices that are resident from the first step to the
    last are in a list of their own: they are most of a slow tier, and inserting all of them into
    one list would take quadratic time.
    """
    last = len(plan.problem.steps)
    resident: list[tuple[int, int]] = []
    for index, item in enumerate(items):
        if (item.start, item.end) == (0, last):
            resident.append((item.offset, index))
    resident.sort()
    for (_, below), (_, above) in pairwise(resident):
        if _top(items[below]) > items[above].offset:
            yield _overlap(plan, items[below], items[above])

    passing = [i for i, item in enumerate(items) if (item.start, item.end) != (0, last)]
    passing.sort(key=lambda i: (items[i].start, items[i].offset))
    by_end = sorted(passing, key=lambda i: items[i].end)
    live: list[tuple[int, int]] = []
    ended = 0
    for index in passing:
        item = items[index]
        while items[by_end[ended]].end <= item.start:
            ended_item = by_end[ended]
            del live[bisect_left(live, (items[ended_item].offset, ended_item))]
            ended += 1
        for placed in (resident, live):
            position = bisect_left(placed, (item.offset, -1))
            for _, other in placed[max(position - 1, 0) : position + 1]:
                if items[other].offset < _top(item) and item.offset < _top(items[other]):
                    yield _overlap(plan, items[other], item)
        insort(live, (item.offset, index))


def _overlap(plan: Assigned, one: Residency, two: Residency) -> Violation:
    buffers = plan.problem.buffers
    message = f"{describe_residency(plan, one)} overlaps {describe_residency(plan, two)}"
    names = (buffers[one.buffer].name, buffers[two.buffer].name)
    return Violation("overlap", message, max(one.start, two.start), names)


def _workspace_violations(plan: Assigned, items: list[Residency]) -> Iterator[Violation]:
    """Yield steps whose workspace does not fit above the highest live address.

    It follows that live bytes plus workspace are within the capacity, since the live bytes of
    disjoint slices are at most the highest address.
    """
    capacity = plan.target.fastest.capacity_bytes
    waiting = sorted(range(len(items)), key=lambda i: items[i].start, reverse=True)
    highest: list[tuple[int, int]] = []
    for t, step in enumerate(plan.problem.steps):
        if not step.workspace_bytes:
            continue
        while waiting and items[waiting[-1]].start <= t:
            index = waiting.pop()
            heapq.heappush(highest, (-_top(items[index]), index))
        while highest and items[highest[0][1]].end <= t:
            heapq.heappop(highest)
        top = -highest[0][0] if highest else 0
        if top + step.workspace_bytes > capacity:
            names = (plan.problem.buffers[items[highest[0][1]].buffer].name,) if highest else ()
            message = (
                f"step {t} ({step.name}) needs {step.workspace_bytes} bytes of workspace at the "
                f"top of {plan.target.fastest.name}: addresses are in use up to {top} of {capacity}"
            )
            yield Violation("workspace", message, t, names)


def value_and_use_ends(problem: Problem) -> list[set[int]]:
    """For each buffer its end and the bytes at which a value or a use begins or ends."""
    ends = [{buffer.size_bytes} for buffer in problem.buffers]
    for index, buffer in enumerate(problem.buffers):
        for value in buffer.values:
            ends[index].update((value.start_byte, value.end_byte))
    for step in problem.steps:
        for use in step.uses:
            ends[use.buffer].update((use.start_byte, use.end_byte))
    return ends


def granularity_bytes(problem: Problem, buffer: Buffer) -> int:
    """Slices of a buffer may be cut at multiples of this, whatever lies there."""
    return problem.target.slice_granularity_bytes or buffer.row_bytes


def _cut_violations(
    plan: Assigned, item: Residency | Transfer, ends: set[int], step: int
) -> Iterator[Violation]:
    """Yield ends of a slice where the target's granularity, values and uses allow no cut."""
    buffer = plan.problem.buffers[item.buffer]
    granularity = granularity_bytes(plan.problem, buffer)
    for cut in (item.start_byte, item.end_byte):
        if cut % granularity and cut not in ends:
            if isinstance(item, Residency):
                shown = describe_residency(plan, item)
            else:
                shown = describe_transfer(plan, item)
            message = (
                f"{shown}: cut at byte {cut}, which is no multiple of {granularity} and no end "
                "of a value or a use"
            )
            yield Violation("granularity", message, step, (buffer.name,))
