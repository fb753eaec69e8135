"""Flat memory: one byte array per tier, which data each byte holds, poison everywhere else.

    address     0         64        96        160      192
    memory      | x's data | poison  | y's data | poison |
    owners      x, byte 0             y, byte 0
                 '-- residency open --'

Bytes of a residency that just opened, and bytes that nothing was written to, are poison: reading
them is an error. What each byte should hold is known from dataflow alone (`lowering.dataflow`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.errors import VerificationError
from ullage.compiler.common.units import format_size
from ullage.compiler.ir.coverage import (
    Extent,
    cover,
    in_a_row,
    refuse_impossible,
    refuse_out_of_reach,
    shared_addresses,
)
from ullage.compiler.ir.plan import Plan, Residency
from ullage.compiler.lowering.symbolic_memory import ByteRuns, DataRange

# Value of bytes that hold no data; every floating-point type reads it as NaN.
POISON = 0xFF
Bytes = NDArray[np.uint8]


class Arena:
    """The memories of a plan, each exactly as large as the highest address that the plan uses.

    Residencies open at `start` (whatever was in their bytes is destroyed) and close at `end`. A
    byte is owned by the data that was last written to it; reading anything else is an error.
    Nothing here is taken from the verifier.

    Attributes:
        memory: tier -> its bytes.
        owners: tier -> which data is in which of its bytes.
        open: buffer -> its residencies that are open now.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.memory: dict[str, Bytes] = {}
        self.owners: dict[str, ByteRuns] = {}
        sizes = dict.fromkeys((tier.name for tier in plan.target.tiers), 0)
        for r in plan.residencies:
            if r.tier not in sizes:
                raise VerificationError(f"the plan uses tier {r.tier!r}, which the target lacks")
            refuse_impossible(plan, r)
            sizes[r.tier] = max(sizes[r.tier], r.offset + r.end_byte - r.start_byte)
        for tier in plan.target.tiers:
            if sizes[tier.name] > tier.capacity_bytes:
                raise VerificationError(
                    f"{tier.name} is used up to {format_size(sizes[tier.name])}, it has "
                    f"{format_size(tier.capacity_bytes)}"
                )
            self.memory[tier.name] = np.full(sizes[tier.name], POISON, dtype=np.uint8)
            self.owners[tier.name] = ByteRuns()
        self.tiers = [tier.name for tier in plan.target.tiers]
        self.read_only = {tier.name for tier in plan.target.tiers if tier.read_only}
        self.open: dict[int, list[Residency]] = {}

    def begin_step(
        self,
        step: int,
        closing: Iterable[Residency],
        opening: Iterable[Residency],
        arriving: Iterable[Residency] = (),
    ) -> None:
        """Close residencies that end, open those that start, check those that become ready.

        Raises:
            VerificationError: a byte is twice in one tier, so that nobody can tell which copy is
                used, or bytes become ready that no transfer brought.
        """
        for r in closing:
            self.open[r.buffer].remove(r)
            self._poison(r.tier, r.offset, r.offset + r.end_byte - r.start_byte)
        for r in opening:
            for other in self.open.setdefault(r.buffer, []):
                if other.tier == r.tier and self._share_bytes(r, other):
                    raise VerificationError(
                        f"step {step}: bytes of {self._name(r.buffer)!r} are in {r.tier} twice, "
                        f"at addresses {other.offset} and {r.offset}",
                        {"step": step, "tensor": self._name(r.buffer), "tier": r.tier},
                    )
            self._poison(r.tier, r.offset, r.offset + r.end_byte - r.start_byte)
            self.open[r.buffer].append(r)
        for r in arriving:
            self._require_held(r, step, "transfers did not bring all of them")

    @staticmethod
    def _share_bytes(a: Residency, b: Residency) -> bool:
        return a.start_byte < b.end_byte and b.start_byte < a.end_byte

    def _require_held(self, r: Residency, step: int, cause: str) -> None:
        size = r.end_byte - r.start_byte
        if self._held(r.tier, r.offset, size) != size:
            raise VerificationError(
                f"step {step}: bytes [{r.start_byte}, {r.end_byte}) of {self._name(r.buffer)!r} "
                f"are said to be ready in {r.tier}, but {cause}",
                {"step": step, "tensor": self._name(r.buffer), "tier": r.tier},
            )

    def _held(self, tier: str, address: int, size: int) -> int:
        """Number of bytes of a range that hold data of some value."""
        runs = self.owners[tier].read(address, address + size)
        return sum(high - low for low, high, _, _ in runs)

    def begin_again(
        self,
        loop_carried: Iterable[Residency] = (),
        known_bytes: Mapping[int, int] | None = None,
    ) -> None:
        """Between two inferences: close everything, and poison all but the loop-carried bytes.

        Args:
            loop_carried: residencies in which the next inference begins with data of this one. They
                are opened; bytes keep their data where the same bytes of the same buffer are there
                now.
            known_bytes: by buffer, how many of its first bytes the inference before had; default
                all. The rest is new, of a tensor that is longer in the next inference.

        Raises:
            VerificationError: a loop-carried byte is not there.
        """
        kept_ranges: dict[str, list[tuple[int, int]]] = {tier: [] for tier in self.tiers}
        opened: dict[int, list[Residency]] = {}
        for r in loop_carried:
            opened.setdefault(r.buffer, []).append(r)
            kept_ranges[r.tier] += shared_addresses(r, self.open.get(r.buffer, ()))
        for tier, spans in kept_ranges.items():
            position = 0
            for low, high in [*sorted(spans), (len(self.memory[tier]),) * 2]:
                self._poison(tier, position, low)
                position = max(position, high)
        self.open = opened
        for r in loop_carried:
            cause = f"the inference before did not leave all of them at address {r.offset}"
            known = r.end_byte if known_bytes is None else known_bytes.get(r.buffer, r.end_byte)
            if r.start_byte < known:
                self._require_held(replace(r, end_byte=min(r.end_byte, known)), 0, cause)

    def _poison(self, tier: str, begin: int, end: int) -> None:
        if begin < end:
            self.memory[tier][begin:end] = POISON
            self.owners[tier].erase(begin, end)

    def _name(self, buffer: int) -> str:
        return self.plan.problem.buffers[buffer].name

    # -- finding bytes -----------------------------------------------------------------------

    def extents(
        self,
        buffer: int,
        begin: int,
        end: int,
        step: int,
        what: str,
        *,
        tier: str | None = None,
        ready: bool = True,
    ) -> list[Extent]:
        """Extents that cover the bytes [begin, end) of a buffer, in byte order.

        Each byte is taken from the fastest tier that has it (or from `tier`), ready to be used at
        the step (or, with `ready` False, still being filled).

        Raises:
            VerificationError: a byte is nowhere.
        """
        candidates = [
            r
            for r in self.open.get(buffer, ())
            if (tier is None or r.tier == tier)
            and (r.ready <= step) == ready
            and r.start_byte < end
            and begin < r.end_byte
        ]
        candidates.sort(key=lambda r: self.tiers.index(r.tier))
        extents, missing = cover(candidates, begin, end)
        if missing:
            where = f"in {tier}" if tier else "in any memory"
            state = "ready" if ready else "being filled"
            raise VerificationError(
                f"step {step}, {what}: bytes {list(missing[0])} of {self._name(buffer)!r} are not "
                f"resident ({state}) {where}",
                {"step": step, "tensor": self._name(buffer), "bytes": list(missing[0])},
            )
        return extents

    def read(
        self, buffer: int, begin: int, end: int, step: int, what: str, expected: Sequence[DataRange]
    ) -> Bytes:
        """Bytes of a buffer as an operator sees them: a view of memory if they are contiguous.

        Raises:
            VerificationError: bytes are not resident, or hold other data than `expected` (runs
                relative to `begin`); names owner and address.
        """
        extents = self._operand(buffer, begin, end, step, what)
        for r, low, high in extents:
            address = r.offset + low - r.start_byte
            self._expect(r.tier, address, low - begin, high - begin, step, what, expected)
        r, low, high = extents[0]
        address = r.offset + low - r.start_byte
        if in_a_row(extents):
            return self.memory[r.tier][address : address + end - begin]
        gathered = np.empty(end - begin, dtype=np.uint8)
        for r, low, high in extents:
            address = r.offset + low - r.start_byte
            gathered[low - begin : high - begin] = self.memory[r.tier][
                address : address + high - low
            ]
        return gathered

    def _operand(self, buffer: int, begin: int, end: int, step: int, what: str) -> list[Extent]:
        """Where the bytes of an operand are, all in reach of the compute unit.

        Raises:
            VerificationError: bytes are nowhere, in a tier out of reach, or scattered on a target
                that takes whole operands only.
        """
        extents = self.extents(buffer, begin, end, step, what)
        refuse_out_of_reach(self.plan, buffer, extents, step, what)
        return extents

    def _expect(
        self,
        tier: str,
        address: int,
        low: int,
        high: int,
        step: int,
        what: str,
        expected: Sequence[DataRange],
    ) -> None:
        content = ByteRuns()
        content.runs = list(expected)
        need = content.read(low, high)
        held = self.owners[tier].read(address, address + high - low)
        if need == held:
            return
        wrong = next((run for run in held if run not in need), None)
        owner = f"data of {wrong[2]!r}" if wrong else "nothing (poison)"
        names = ", ".join(dict.fromkeys(repr(run[2]) for run in need))
        raise VerificationError(
            f"step {step}, {what}: {tier} at address {address} holds {owner}, expected data of "
            f"{names}",
            {
                "step": step,
                "tier": tier,
                "address": address,
                "expected": [run[2] for run in need],
                "found": [run[2] for run in held],
            },
        )

    def write(
        self,
        buffer: int,
        begin: int,
        step: int,
        what: str,
        data: Bytes,
        content: Sequence[DataRange],
    ) -> list[tuple[str, int, int]]:
        """Put an operator's result where the plan says; returns the (tier, low, high) addresses.

        Copies of the bytes in other places keep their old data. Later readers of these bytes expect
        the new data, so whoever reads such a stale copy is detected.
        """
        end = begin + len(data)
        source = ByteRuns()
        source.runs = list(content)
        touched: list[tuple[str, int, int]] = []
        for r, low, high in self._operand(buffer, begin, end, step, what):
            if r.tier in self.read_only:
                raise VerificationError(
                    f"step {step}, {what}: {self._name(buffer)!r} would be written to {r.tier}, "
                    "which is read-only",
                    {"step": step, "tier": r.tier},
                )
            address = r.offset + low - r.start_byte
            self.memory[r.tier][address : address + high - low] = data[low - begin : high - begin]
            self.owners[r.tier].replace(
                address, address + high - low, source.read(low - begin, high - begin)
            )
            touched.append((r.tier, address, address + high - low))
        return touched

    def scribble(self, buffer: int, begin: int, end: int, step: int, what: str) -> None:
        """Use bytes as scratch space: their data is destroyed, and nothing readable is left."""
        for r, low, high in self._operand(buffer, begin, end, step, what):
            address = r.offset + low - r.start_byte
            self._poison(r.tier, address, address + high - low)

    def copy(
        self,
        source: tuple[str, int],
        destination: tuple[str, int],
        size: int,
        step: int,
        what: str,
    ) -> None:
        """Copy the bytes of one extent of a transfer, and with them which data they are.

        Raises:
            VerificationError: the source holds poison, or the destination is read-only.
        """
        if destination[0] in self.read_only:
            raise VerificationError(f"step {step}, {what}: {destination[0]} is read-only")
        if self._held(source[0], source[1], size) != size:
            raise VerificationError(
                f"step {step}, {what}: {source[0]} at address {source[1]} holds nothing (poison)",
                {"step": step, "tier": source[0], "address": source[1]},
            )
        self.memory[destination[0]][destination[1] : destination[1] + size] = self.memory[
            source[0]
        ][source[1] : source[1] + size]
        runs = self.owners[source[0]].read(source[1], source[1] + size)
        self.owners[destination[0]].replace(destination[1], destination[1] + size, runs)
