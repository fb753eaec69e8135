"""Resources: what can keep a step busy, how long a byte takes there, and how much energy.

One table of all that moves bytes: the port of each tier, and each link. (A DMA queue is a link with
a name; two links may join the same two tiers.) Cost model, bounds, replay and solvers read this
table and nothing else; a new kind of resource is a new row here.

    action                      rows that it keeps busy, seconds per byte
    operator reads in tier m    port m: read_s[m]; compute unit: exposed x read_s[m]
    operator writes in tier m   port m: write_s[m]; compute unit: exposed x write_s[m]
    operator uses tier m        the same: latency_s[m], once for all operands there
    transfer over link l        port source[l]: read_s; port destination[l]: write_s;
                                link l: move_s[l], and setup_s[l] once for `outstanding` transfers;
                                        range_setup_s[l] for each further range of addresses

Bytes are those of whole bursts. An operator's accesses may reach a share of the rates only
(`Compute.bandwidth_efficiency`).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.compiler.common.errors import VerificationError
from ullage.compiler.ir.plan import Transfer
from ullage.compiler.ir.problem import Problem, computed_once
from ullage.compiler.ir.target import Target


@dataclass(frozen=True)
class Resources:
    """The table for M tiers, fastest first, and L links.

    Attributes:
        tiers: (M,) names.
        links: (L,) names.
        read_rate: (M,) bytes/s read at a tier's port.
        write_rate: (M,) bytes/s written; 0 where the tier is read-only.
        move_rate: (L,) bytes/s on a link.
        setup_s: (L,) seconds from the start of a transfer to its first byte.
        outstanding: (L,) transfers that wait for their first bytes at the same time.
        range_setup_s: (L,) seconds of each further range of addresses of a transfer.
        source: (L,) row of the tier that a link reads.
        destination: (L,) row of the tier that it writes.
        read_j: (M,) joules per byte read.
        write_j: (M,) joules per byte written.
        move_j: (L,) joules per byte moved, in addition to reading and writing it.
        latency_s: (M,) seconds from an operator's first request to the first byte.
        burst_bytes: (M,) bytes that a tier moves at once.
        exposed: portion of the time of operands' accesses in which the unit cannot compute.
    """

    tiers: tuple[str, ...]
    links: tuple[str, ...]
    read_rate: Floats
    write_rate: Floats
    move_rate: Floats
    setup_s: Floats
    outstanding: Ints
    range_setup_s: Floats
    source: Ints
    destination: Ints
    read_j: Floats
    write_j: Floats
    move_j: Floats
    latency_s: Floats
    burst_bytes: Ints
    exposed: float = 0.0

    @property
    def read_s(self) -> Floats:
        """(M,) seconds per byte read."""
        return np.asarray(1.0 / self.read_rate)

    @property
    def write_s(self) -> Floats:
        """(M,) seconds per byte written; infinite where the tier is read-only."""
        with np.errstate(divide="ignore"):
            return np.asarray(1.0 / self.write_rate)

    @property
    def move_s(self) -> Floats:
        """(L,) seconds per byte on a link."""
        return np.asarray(1.0 / self.move_rate)

    @cached_property
    def link_index(self) -> dict[str, int]:
        """Row of each link by its name."""
        return {name: index for index, name in enumerate(self.links)}

    @cached_property
    def tier_index(self) -> dict[str, int]:
        """Row of each tier by its name, 0 is the fastest."""
        return {name: index for index, name in enumerate(self.tiers)}

    def link_of(self, transfer: Transfer) -> int:
        """Row of the link that a transfer goes over.

        Raises:
            VerificationError: there is none of that name, or it joins other tiers.
        """
        row = self.link_index.get(transfer.link)
        if row is not None:
            ends = self.tiers[self.source[row]], self.tiers[self.destination[row]]
            if ends == (transfer.source, transfer.destination):
                return row
        raise VerificationError(
            f"a transfer needs a link {transfer.link!r} from {transfer.source} to "
            f"{transfer.destination}; the target has "
            f"{', '.join(self.links) or 'none'}; route it over the links there are",
            {"link": transfer.link, "source": transfer.source, "destination": transfer.destination},
        )

    def port_seconds(self, read: Floats, written: Floats) -> Floats:
        """(M, T) time of each tier's port for the bytes (M, T) read and written.

        Raises:
            VerificationError: a read-only tier is written.
        """
        for m in np.flatnonzero(self.write_rate == 0).tolist():
            if written[m].any():
                t = int(written[m].argmax())
                raise VerificationError(
                    f"step {t} writes to {self.tiers[m]}, which is read-only; place results "
                    "elsewhere",
                    {"step": t, "tier": self.tiers[m]},
                )
        write_rate = np.where(self.write_rate == 0, np.inf, self.write_rate)
        return np.asarray(read / self.read_rate[:, None] + written / write_rate[:, None])

    def operand_seconds(self, read: Floats, written: Floats, reached: Floats) -> Floats:
        """(M, T) time of each tier's port for operands alone, first bytes included.

        Args:
            read: (M, T) bytes read.
            written: (M, T) bytes written.
            reached: (T,) share of the tiers' rates that each step's accesses reach.

        Raises:
            VerificationError: a read-only tier is written.
        """
        seconds = self.port_seconds(read / reached, written / reached)
        return seconds + self.waiting_seconds(read, written)

    def waiting_seconds(self, read: Floats, written: Floats) -> Floats:
        """(M, T) time in which operators wait for the first bytes of operands (M, T)."""
        return np.asarray(self.latency_s[:, None] * ((read > 0) | (written > 0)))

    def link_seconds(self, moved: Floats, setups: Floats, ranges: Floats | float = 0.0) -> Floats:
        """(L, T) time of each link for (L, T) bytes moved, transfers started and their ranges.

        Args:
            moved: (L, T) bytes moved.
            setups: (L, T) transfers started.
            ranges: (L, T) ranges of addresses of these transfers, beyond one for each.
        """
        turns = np.ceil(setups / self.outstanding[:, None])
        waits = turns * self.setup_s[:, None] + ranges * self.range_setup_s[:, None]
        return np.asarray(waits + moved / self.move_rate[:, None])

    def moved_bytes(self, link: int, size_bytes: int) -> int:
        """Bytes that a link moves for a slice: whole bursts of the tiers at both ends."""
        ends = int(self.source[link]), int(self.destination[link])
        burst = max(int(self.burst_bytes[tier]) for tier in ends)
        return -(-size_bytes // burst) * burst

    def transfer_rates(self, link: int) -> tuple[float, float, float]:
        """Bytes/s of a transfer at the source's port, the destination's, and on the link."""
        return (
            float(self.read_rate[self.source[link]]),
            float(self.write_rate[self.destination[link]]),
            float(self.move_rate[link]),
        )


@computed_once
def resources(problem: Problem) -> Resources:
    """The resources of a problem's target."""
    return resources_of(problem.target)


def resources_of(target: Target) -> Resources:
    """The resources of a target."""
    index = target.tier_index
    tiers, links = target.as_served.tiers, target.links
    return Resources(
        tiers=tuple(tier.name for tier in tiers),
        links=tuple(link.name for link in links),
        read_rate=_floats([tier.read_bytes_per_s for tier in tiers]),
        write_rate=_floats([0.0 if tier.read_only else tier.write_bytes_per_s for tier in tiers]),
        move_rate=_floats([link.bandwidth_bytes_per_s for link in links]),
        setup_s=_floats([target.start_seconds(link) for link in links]),
        range_setup_s=_floats([link.range_setup_s for link in links]),
        outstanding=np.array([link.max_outstanding_transfers for link in links], dtype=np.int64),
        source=np.array([index[link.source] for link in links], dtype=np.int64),
        destination=np.array([index[link.destination] for link in links], dtype=np.int64),
        read_j=_floats([tier.read_energy_j_per_byte for tier in tiers]),
        write_j=_floats([tier.write_energy_j_per_byte for tier in tiers]),
        move_j=_floats([link.energy_j_per_byte for link in links]),
        latency_s=_floats([tier.latency_s for tier in target.tiers]),
        burst_bytes=np.array([tier.burst_bytes for tier in target.tiers], dtype=np.int64),
        exposed=target.compute.exposed,
    )


def _floats(values: list[float]) -> Floats:
    return np.array(values, dtype=np.float64)
