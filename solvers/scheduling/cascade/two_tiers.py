"""Chips of more than two memories as the search for cascades sees them: two memories.

    sram <- ddr (activations)            sram <- slower
         <- flash (weights)                      read as fast as flash, written as fast as ddr

The fluid LP that judges groups knows two memories. What weights take is decided by their home, what
spills take by the home of activations, read at the slower of the two rates: spills look dearer than
they are where flash is the slower. The schedule is then planned for the chip itself, beside whole
operators.
"""

from dataclasses import replace

from ullage.compiler.ir.target import Link, Target

# Name of the memory that stands for all behind the fastest.
SLOWER = "slower"


def with_two_tiers(target: Target) -> Target:
    """A chip with one memory behind the fastest; the same chip where it has no more than that."""
    if len(target.tiers) <= 2:
        return target
    fastest = target.fastest
    homes = [target.home(kind) for kind in ("weight", "activation")]
    behind = target.tiers[1:]
    slowest = min(homes, key=lambda tier: tier.read_bytes_per_s)
    written = target.home("activation")
    slower = replace(
        slowest,
        name=SLOWER,
        capacity_bytes=sum(tier.capacity_bytes for tier in behind),
        write_bytes_per_s=written.write_bytes_per_s,
        write_energy_j_per_byte=written.write_energy_j_per_byte,
        addressable=any(tier.addressable for tier in behind),
        read_only=False,
    )
    fills = [link for link in target.links if link.destination == fastest.name]
    spills = [link for link in target.links if link.source == fastest.name]
    into = max(fills, key=lambda link: link.bandwidth_bytes_per_s)
    out = max(spills, key=lambda link: link.bandwidth_bytes_per_s)
    links = (
        Link(
            SLOWER, fastest.name, into.bandwidth_bytes_per_s, into.setup_s, into.energy_j_per_byte
        ),
        Link(fastest.name, SLOWER, out.bandwidth_bytes_per_s, out.setup_s, out.energy_j_per_byte),
    )
    own = {fastest.name: fastest.name}
    return replace(
        target,
        tiers=(fastest, slower),
        links=links,
        homes={kind: own.get(home, SLOWER) for kind, home in target.homes.items()},
    )
