"""Rules of data: where each byte is, whether it is current, and what fills or reads it when.

Each buffer is replayed by itself, step by step. The version of a byte is one past the step that
wrote it last; a copy in a tier is current when it has that version. Versions after each step:

    step               0       1       2       3       4
    operator           -       write   -       write   read
    current            -       2       2       4       4
    copy in sram       -       2       2       4       4       where operators write: current
    copy in dram       -       -       2       2       2       moved in step 2, stale since step 3

Reading the copy in dram in step 4 would be a `stale-read`.

A tensor that several steps write, part by part, may move between them on a target that takes whole
operands only: its parts lie in a row, so that what is still to be written moves along, as nothing.
"""

from collections.abc import Iterator

from ullage.compiler.ir.assignment import Assigned
from ullage.compiler.ir.plan import Residency
from ullage.compiler.ir.program import Use
from ullage.compiler.verify.events import ARRIVE, END, MOVE, START, Flight, Log, logs_of
from ullage.compiler.verify.space import describe_residency, describe_transfer
from ullage.compiler.verify.versions import Runs, first_difference
from ullage.compiler.verify.well_formed import NO_STEP, Violation

# Owner of a byte that is not in the tier.
NOBODY = -1
# Version of a byte that holds data before the first step.
INITIAL = 0
# Version of a byte that holds no data yet.
UNWRITTEN = -1
# Version of a copy whose bytes have not arrived.
NOTHING = -2


def find_data_violations(plan: Assigned) -> Iterator[Violation]:
    """Yield broken rules about data in a well-formed plan, buffer by buffer."""
    for index, log in enumerate(logs_of(plan)):
        if plan.problem.buffers[index].size_bytes:
            yield from _Replay(plan, index, log).run()


def _grows(plan: Assigned, index: int) -> bool:
    """Whether a state becomes longer in each inference: steps write a part of its bytes only.

    What the next inference begins with is longer then than what this one began with, so that no
    copy outside of home can be all of it.
    """
    written = Runs(plan.problem.buffers[index].size_bytes, 0)
    for _, use in plan.problem.uses_of[index]:
        if use.write and use.start_byte < use.end_byte:
            written.assign(use.start_byte, use.end_byte, 1)
    return written.numbers != [1]


class _Replay:
    """One buffer going through the steps.

    Attributes:
        current: the current version of every byte.
        owners: tier -> the residency that holds each byte there, or `NOBODY`.
        versions: tier -> the version of the copy of each byte there.
        changes: counts what may change the answer of a look at a transfer's source and destination.
        last_move: residency -> last step in which bytes were moved to it.
    """

    def __init__(self, plan: Assigned, index: int, log: Log) -> None:
        self.plan = plan
        self.target = plan.target
        self.items = plan.residencies
        self.buffer = plan.problem.buffers[index]
        self.names = (self.buffer.name,)
        self.log = log
        self.home = self.target.home(self.buffer.kind).name
        self.must_be_fastest = self.target.must_be_fastest(self.buffer.kind)
        self.has_data = self.buffer.initial
        self.is_loop_carried = (
            plan.problem.steady_state
            and self.buffer.persistent
            and (self.buffer.constant or not _grows(plan, index))
        )
        size = self.buffer.size_bytes
        order = self.target.tier_index
        self.current = Runs(size, INITIAL if self.has_data else UNWRITTEN)
        tiers = sorted(log.tiers | {self.home}, key=order.__getitem__)
        self.owners = {tier: Runs(size, NOBODY) for tier in tiers}
        self.versions = {tier: Runs(size, NOTHING) for tier in tiers}
        self.changes = 0
        self.last_move: dict[int, int] = {}

    def run(self) -> Iterator[Violation]:
        if self.has_data:
            yield from self._check_home()
        for t, phase, index, moved_bytes in self.log.events:
            if phase == START:
                yield from self._start(index)
            elif phase == END:
                item = self.items[index]
                self.owners[item.tier].assign(item.start_byte, item.end_byte, NOBODY)
                self.changes += 1
            elif phase == ARRIVE:
                yield from self._arrive(index)
            elif phase == MOVE:
                yield from self._move(t, self.log.flights[index], moved_bytes)
            else:
                yield from self._use(t, self.log.uses[index])
        yield from self._check_outputs()
        if self.is_loop_carried and not self.buffer.constant:
            yield from self._check_carried()

    def _check_home(self) -> Iterator[Violation]:
        """Check that an input or a weight is in its home tier before the first step, all of it."""
        held = Runs(self.buffer.size_bytes, 0)
        for t, phase, index, _ in self.log.events:
            if t:
                break
            item = self.items[index] if phase == START else None
            if item and item.tier == self.home and item.ready == 0:
                held.assign(item.start_byte, item.end_byte, 1)
        for start, end, is_held in held.over(0, self.buffer.size_bytes):
            if not is_held:
                message = (
                    f"{self.buffer.name} bytes [{start}, {end}) must be in their home tier "
                    f"{self.home} with start = ready = 0: nothing holds them there"
                )
                yield Violation("home", message, 0, self.names)

    def _start(self, index: int) -> Iterator[Violation]:
        """Let a residency take its bytes; only those from before step 0 can hold data at once."""
        item = self.items[index]
        owners = self.owners[item.tier]
        for start, end, other in owners.over(item.start_byte, item.end_byte):
            if other != NOBODY:
                message = (
                    f"bytes [{start}, {end}) are in one tier twice: "
                    f"{describe_residency(self.plan, item)}; "
                    f"{describe_residency(self.plan, self.items[other])}"
                )
                yield Violation("duplicate", message, item.start, self.names)
        owners.assign(item.start_byte, item.end_byte, index)
        is_there = item.start == item.ready == 0 and (
            self.is_loop_carried if item.tier != self.home else self.has_data
        )
        version = INITIAL if is_there else NOTHING
        self.versions[item.tier].assign(item.start_byte, item.end_byte, version)
        self.changes += 1

    def _arrive(self, index: int) -> Iterator[Violation]:
        """Check a fetched residency at its first ready step: data is there, current, in time."""
        item = self.items[index]
        shown = describe_residency(self.plan, item)
        difference = first_difference(
            self.versions[item.tier], self.current, item.start_byte, item.end_byte
        )
        if difference:
            start, end, held, _ = difference
            if held == NOTHING:
                message = f"{shown}: no transfer brings data to bytes [{start}, {end})"
                yield Violation("unfilled", message, item.ready, self.names)
            else:
                message = f"{shown}: bytes [{start}, {end}) were rewritten after they were moved"
                yield Violation("stale-arrival", message, item.ready, self.names)
        moved = self.last_move.get(index)
        if moved is not None and moved + 1 < item.ready:
            message = f"{shown}: its last bytes arrive in step {moved}, it is ready at {moved + 1}"
            yield Violation("late-ready", message, item.ready, self.names)

    def _move(self, t: int, flight: Flight, moved_bytes: int) -> Iterator[Violation]:
        """Move bytes of a transfer: their versions go with them, current or not."""
        transfer = flight.transfer
        if flight.checked != self.changes or t >= flight.until:
            faults = list(self._ends_of(t, flight))
            flight.checked = self.changes
            if not flight.is_reported:
                yield from faults
            flight.is_reported = flight.is_reported or bool(faults)
        for use in self.log.writes.get(t, ()):
            if use.start_byte < transfer.end_byte and transfer.start_byte < use.end_byte:
                message = (
                    f"{describe_transfer(self.plan, transfer)}: {self._step(t)} writes "
                    f"{use.value} while the slice moves"
                )
                yield Violation("write-during-move", message, t, self.names)
        start = transfer.start_byte + flight.arrived_bytes
        flight.arrived_bytes += moved_bytes
        arriving = self.versions[transfer.destination]
        for a, b, version in self.versions[transfer.source].over(start, start + moved_bytes):
            arriving.assign(a, b, version)
        if start + moved_bytes == transfer.end_byte:
            for owner in flight.owners:
                self.last_move[owner] = max(t, self.last_move.get(owner, NO_STEP))

    def _ends_of(self, t: int, flight: Flight) -> Iterator[Violation]:
        """Check source and destination of a whole transfer at a step in which it moves."""
        transfer = flight.transfer
        low, high = transfer.start_byte, transfer.end_byte
        shown = f"{describe_transfer(self.plan, transfer)}, step {t}"
        for start, end, owner in self.owners[transfer.source].over(low, high):
            if owner == NOBODY or self.items[owner].ready > t:
                message = f"{shown}: bytes [{start}, {end}) are not ready in {transfer.source}"
                yield Violation("transfer-source", message, t, self.names)
        difference = first_difference(self.versions[transfer.source], self.current, low, high)
        if difference:
            start, end, held, current = difference
            message = f"{shown}: bytes [{start}, {end}) in {transfer.source} "
            message += self._staleness(held, current)
            yield Violation("transfer-source", message, t, self.names)
        owners = []
        for start, end, owner in self.owners[transfer.destination].over(low, high):
            if owner == NOBODY:
                message = f"{shown}: no residency takes bytes [{start}, {end})"
                yield Violation("transfer-destination", message, t, self.names)
                continue
            owners.append(owner)
            if self.items[owner].ready <= t:
                message = (
                    f"{shown}: still moving to {describe_residency(self.plan, self.items[owner])}"
                )
                yield Violation("early-ready", message, t, self.names)
        flight.owners = tuple(owners)
        flight.until = min((self.items[owner].ready for owner in owners), default=0)

    def _use(self, t: int, use: Use) -> Iterator[Violation]:
        """Check that the bytes of a use are ready, in reach and current; a write makes them new."""
        verb = "writes" if use.write else "reads"
        shown = f"{self._step(t)} {verb} {use.value} in {self.buffer.name}"
        parts, missing = self._locate(t, use)
        for start, end in missing:
            tiers = ", ".join(self.owners)
            message = f"{shown}: bytes [{start}, {end}) are not ready in any tier (seen: {tiers})"
            yield Violation("not-resident", message, t, self.names)
        for start, end, owner in parts:
            item = self.items[owner]
            if not self._is_fetched(use, item.tier):
                yield from self._check_place(t, use, item, f"{shown}, bytes [{start}, {end})")
            if use.write:
                self._open(item)
                self.versions[item.tier].assign(start, end, t + 1)
                continue
            difference = first_difference(self.versions[item.tier], self.current, start, end)
            if difference:
                message = f"{shown}: bytes [{difference[0]}, {difference[1]}) in {item.tier} "
                message += self._staleness(*difference[2:])
                yield Violation("stale-read", message, t, self.names)
        if not self.target.split_operands and parts:
            yield from self._check_contiguous(t, shown, parts)
        if use.write:
            self.current.assign(use.start_byte, use.end_byte, t + 1)
            self.changes += 1

    def _open(self, item: Residency) -> None:
        """On a target that takes whole operands only, let a tensor lie where a part is written.

        What no step has written yet lies there as well, as nothing: the tensor moves as a whole.
        """
        if self.target.split_operands:
            return
        held = self.versions[item.tier]
        for low, high, version in list(self.current.over(item.start_byte, item.end_byte)):
            if version == UNWRITTEN:
                for start, end, old in list(held.over(low, high)):
                    if old == NOTHING:
                        held.assign(start, end, UNWRITTEN)

    def _locate(self, t: int, use: Use) -> tuple[list[tuple[int, int, int]], list[tuple[int, int]]]:
        """Where each byte of a use is taken from, fastest tier first.

        Returns:
            (start, end, residency) triples, and the ranges that no ready residency holds.
        """
        parts: list[tuple[int, int, int]] = []
        missing = [(use.start_byte, use.end_byte)]
        for owners in self.owners.values():
            rest: list[tuple[int, int]] = []
            for low, high in missing:
                for start, end, owner in owners.over(low, high):
                    if owner != NOBODY and self.items[owner].ready <= t:
                        parts.append((start, end, owner))
                    else:
                        rest.append((start, end))
            missing = rest
            if not missing:
                break
        return parts, missing

    def _is_fetched(self, use: Use, tier: str) -> bool:
        """Whether DMA brings the rows of a weight that a use looks up: a link leads from there."""
        ends = (tier, self.target.fastest.name)
        return (
            use.look_up
            and not use.write
            and self.buffer.kind == "weight"
            and any((link.source, link.destination) == ends for link in self.target.links)
        )

    def _check_place(self, t: int, use: Use, item: Residency, shown: str) -> Iterator[Violation]:
        """Check that operators can use the bytes in this residency's tier."""
        tier = self.target.tier(item.tier)
        if self.must_be_fastest:
            if tier.name != self.target.fastest.name:
                message = f"{shown}: must be in {self.target.fastest.name}, is in {tier.name}"
                yield Violation("wrong-tier", message, t, self.names)
        elif not tier.addressable and tier.name != self.target.fastest.name:
            message = f"{shown}: operators cannot reach {tier.name}"
            yield Violation("not-addressable", message, t, self.names)
        if use.write and tier.read_only:
            yield Violation("read-only", f"{shown}: {tier.name} is read-only", t, self.names)

    def _check_contiguous(
        self, t: int, shown: str, parts: list[tuple[int, int, int]]
    ) -> Iterator[Violation]:
        """Check that a use is contiguous in one tier, if the target takes whole operands only."""
        places = set()
        for _, _, owner in parts:
            item = self.items[owner]
            places.add((item.tier, item.offset - item.start_byte))
        if len(places) > 1:
            listed = ", ".join(f"{tier} at {offset}" for tier, offset in sorted(places)[:5])
            message = f"{shown}: must be contiguous in one tier, byte 0 would be in {listed}"
            yield Violation("split-operand", message, t, self.names)

    def _check_outputs(self) -> Iterator[Violation]:
        """Check that outputs are in their home tier, current, after the last step."""
        last = len(self.plan.problem.steps)
        for low, high in self.buffer.outputs:
            if low == high:
                continue
            for start, end, owner in self.owners[self.home].over(low, high):
                difference = first_difference(self.versions[self.home], self.current, start, end)
                if owner == NOBODY:
                    fault = f"are not in {self.home} after the last step"
                elif difference:
                    fault = f"in {self.home} {self._staleness(*difference[2:])}"
                else:
                    continue
                message = f"output {self.buffer.name}: bytes [{start}, {end}) {fault}"
                yield Violation("output-lost", message, last, self.names)

    def _check_carried(self) -> Iterator[Violation]:
        """Check that what the next inference begins with, outside of home, is not older data."""
        last = len(self.plan.problem.steps)
        begins = [self.items[i] for _, phase, i, _ in self.log.events if phase == START]
        for item in begins:
            if item.tier == self.home or not item.start == item.ready == 0:
                continue
            low, high = item.start_byte, item.end_byte
            difference = first_difference(self.versions[item.tier], self.current, low, high)
            if difference:
                start, end, held, current = difference
                message = (
                    f"{describe_residency(self.plan, item)}: an inference begins with bytes "
                    f"[{start}, {end}) there, and the one before leaves them otherwise: they "
                    f"{self._staleness(held, current)}"
                )
                yield Violation("wrap", message, last, self.names)

    def _step(self, t: int) -> str:
        return f"step {t} ({self.plan.problem.steps[t].name})"

    @staticmethod
    def _staleness(held: int, current: int) -> str:
        """Words for a copy that has not the current version."""
        has = "hold no data" if held < INITIAL else f"hold the data written before step {held}"
        if current == UNWRITTEN:
            return f"{has}, none has been written yet"
        return f"{has}, step {current - 1} wrote the current data" if current else has
