"""What happens to each buffer, in order: the events that `verify.data` replays.

Within one step, events happen in the order of their phases:

    step t     ARRIVE -> END -> START -> MOVE -> READ -> WRITE
               |         |      |        |       '------ operators see data as of the step's begin
               |         |      |        '-------------- DMA moves data as of the step's begin
               |         '------'----------------------- space is freed before it is taken
               '---------------------------------------- residencies with ready = t are checked
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ullage.compiler.ir.assignment import Assigned
from ullage.compiler.ir.plan import Transfer
from ullage.compiler.ir.program import Use
from ullage.compiler.verify.space import move_faults

# Phases of a step, in the order in which they happen.
ARRIVE, END, START, MOVE, READ, WRITE = range(6)


@dataclass(slots=True)
class Flight:
    """A transfer on its way.

    Attributes:
        transfer: the transfer.
        arrived_bytes: bytes moved so far.
        owners: residencies of the destination, as seen at the last check.
        checked: value of the replay's `changes` when source and destination were last checked.
        until: first step at which a residency of the destination is ready; no check before that
            step is needed unless something changes.
        is_reported: whether its faults were reported, which is done once per transfer.
    """

    transfer: Transfer
    arrived_bytes: int = 0
    owners: tuple[int, ...] = ()
    checked: int = -1
    until: int = 0
    is_reported: bool = False


@dataclass(slots=True)
class Log:
    """What concerns one buffer.

    Attributes:
        events: (step, phase, index, bytes) in the order in which they happen. The index is that of
            a residency of the plan (ARRIVE, END, START), of a flight (MOVE) or of a use (READ,
            WRITE); bytes are those of a move, else 0.
        flights: transfers of the buffer.
        uses: uses of the buffer.
        writes: step -> uses that write in it.
        tiers: names of all tiers that residencies and transfers mention.
    """

    events: list[tuple[int, int, int, int]] = field(default_factory=list)
    flights: list[Flight] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    writes: dict[int, list[Use]] = field(default_factory=dict)
    tiers: set[str] = field(default_factory=set)


def logs_of(plan: Assigned) -> Iterator[Log]:
    """The events of each buffer of a well-formed plan, one buffer at a time."""
    count, last = len(plan.problem.buffers), len(plan.problem.steps)
    residencies = _by_buffer(count, (item.buffer for item in plan.residencies))
    transfers = _by_buffer(count, (transfer.buffer for transfer in plan.transfers))
    for buffer, uses in enumerate(plan.problem.uses_of):
        log = Log()
        for index in residencies[buffer]:
            item = plan.residencies[index]
            log.tiers.add(item.tier)
            log.events.append((item.start, START, index, 0))
            if item.ready > item.start:
                log.events.append((item.ready, ARRIVE, index, 0))
            if item.end < last:
                log.events.append((item.end, END, index, 0))
        for index in transfers[buffer]:
            transfer = plan.transfers[index]
            if any(move_faults(transfer)):
                continue  # reported elsewhere; its bytes never arrive
            log.tiers.update((transfer.source, transfer.destination))
            for t, moved_bytes in transfer.moves:
                log.events.append((t, MOVE, len(log.flights), moved_bytes))
            log.flights.append(Flight(transfer))
        for t, use in uses:
            if use.start_byte == use.end_byte:
                continue
            log.events.append((t, WRITE if use.write else READ, len(log.uses), 0))
            log.uses.append(use)
            if use.write:
                log.writes.setdefault(t, []).append(use)
        log.events.sort()
        yield log


def _by_buffer(count: int, buffers: Iterable[int]) -> list[list[int]]:
    """For each of a number of buffers the positions at which it is named."""
    positions: list[list[int]] = [[] for _ in range(count)]
    for position, buffer in enumerate(buffers):
        positions[buffer].append(position)
    return positions
