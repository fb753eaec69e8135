"""The board that deployments are built for: Arm's MPS3 with FPGA image AN547, a Cortex-M55.

Addresses are the secure aliases, since the core starts in the secure state (Arm DAI0547, section 3;
QEMU's `hw/arm/mps2-tz.c` and `hw/arm/armsse.c` model the same map). Program, stack and tables have
memories of their own, so that a plan may use all of its tiers:

    itcm   code and constants          dtcm, sram, qspi, ddr   tiers of plans, by name
    data   variables, stack, examples
"""

from dataclasses import dataclass

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.units import format_size
from ullage.compiler.ir.target import Target


@dataclass(frozen=True)
class Region:
    """Memory at an address.

    Attributes:
        name: in targets the name of the tier.
        address: of its first byte.
        size_bytes: its size.
        read_only: only a debugger or a programmer writes it.
    """

    name: str
    address: int
    size_bytes: int
    read_only: bool = False


# Name of the processor, as `ullage run --on` takes it, and QEMU's name of the board.
PROCESSOR, MACHINE = "cortex-m55", "mps3-an547"
CODE = Region("itcm", 0x1000_0000, 512 * 2**10)
DATA = Region("data", 0x1100_0000, 2 * 2**20)
TIER_REGIONS = (
    Region("dtcm", 0x3000_0000, 512 * 2**10),
    Region("sram", 0x3100_0000, 4 * 2**20),
    Region("qspi", 0x3800_0000, 8 * 2**20, read_only=True),
    Region("ddr", 0x7000_0000, 256 * 2**20),
)
# Stack, at the top of `DATA`; kernels have no recursion and no large variables.
STACK_BYTES = 16 * 2**10
# Granularity of the memory protection unit (PMSAv8).
MPU_BYTES = 32
# Code and variables are guarded in larger steps: QEMU checks each access to a page of this size
# that a region covers in part, which takes a hundred times as long.
PAGE_BYTES = 1024


def is_deployable(target: Target) -> bool:
    """Whether the tiers of a target are regions of the board, by name."""
    known = {region.name for region in TIER_REGIONS}
    return all(tier.name in known for tier in target.tiers)


def regions_of(target: Target) -> tuple[Region, ...]:
    """For each tier its region, as large as the tier is.

    Raises:
        UsageError: a tier is no region of the board, or larger than its region.
    """
    known = {region.name: region for region in TIER_REGIONS}
    regions: list[Region] = []
    for tier in target.tiers:
        if tier.name not in known:
            raise UsageError(
                f"{target.name}: tier {tier.name!r} is no memory of {MACHINE} "
                f"({', '.join(known)}); compile with --target {MACHINE}"
            )
        region = known[tier.name]
        if tier.capacity_bytes > region.size_bytes:
            raise UsageError(
                f"{target.name}: {tier.name} has {format_size(tier.capacity_bytes)}, on {MACHINE} "
                f"{format_size(region.size_bytes)}; compile with at most that"
            )
        if region.read_only and not tier.read_only:
            raise UsageError(
                f"{target.name}: {tier.name} cannot be written on {MACHINE}; say read_only: true"
            )
        capacity = tier.capacity_bytes
        regions.append(Region(tier.name, region.address, capacity, tier.read_only))
    return tuple(regions)
