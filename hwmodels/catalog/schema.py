"""The schema of target files, and their resolution to a `Target` in plain numbers.

Every figure has a source and a confidence; docs/targets.md explains the format. What several fields
must agree on (links, homes, order of tiers) is checked in `checks`.
"""

from typing import Annotated

from pydantic import BeforeValidator, Field, StrictBool

from ullage.compiler.ir.graph import Kind
from ullage.compiler.ir.target import (
    TILE_AXES,
    Compute,
    Link,
    OperandAccess,
    Systolic,
    Target,
    Tier,
    TileAxis,
)
from ullage.hwmodels.catalog.quantities import (
    Alignment,
    Bytes,
    BytesPerSecond,
    Count,
    ElementsPerSecond,
    Granularity,
    Hertz,
    JoulesPerByte,
    JoulesPerMac,
    MacsPerSecond,
    Seconds,
    Strict,
)

# The kinds of buffers; each has a home.
KINDS: tuple[Kind, ...] = ("input", "weight", "activation", "output")
# Names of targets, tiers and links; without dots, since names stand in dotted paths.
NAME_PATTERN = r"^[A-Za-z0-9]+([_-][A-Za-z0-9]+)*$"
# Defaults of figures that a file may leave out.
_NO_TIME = Seconds(value=0.0, source="default: none is charged", confidence="low")
_NO_ENERGY = JoulesPerByte(value=0.0, source="default: none is charged", confidence="low")
_ONE = Count(value=1, source="default", confidence="high")


class TierEntry(Strict):
    """A memory; a read-only one needs no figures for writing."""

    name: str = Field(pattern=NAME_PATTERN, max_length=80)
    capacity_bytes: Bytes
    read_bytes_per_s: BytesPerSecond
    write_bytes_per_s: BytesPerSecond | None = None
    alignment_bytes: Alignment
    read_energy_j_per_byte: JoulesPerByte
    write_energy_j_per_byte: JoulesPerByte | None = None
    addressable: StrictBool = True
    read_only: StrictBool = False


class LinkEntry(Strict):
    """A directed DMA path; two between the same tiers (two queues) need names."""

    name: str | None = Field(default=None, pattern=NAME_PATTERN, max_length=80)
    source: str
    destination: str
    bandwidth_bytes_per_s: BytesPerSecond
    setup_s: Seconds = _NO_TIME
    energy_j_per_byte: JoulesPerByte = _NO_ENERGY


class SystolicEntry(Strict):
    """Weight-stationary systolic arrays."""

    rows: Count
    columns: Count
    clock_hz: Hertz
    arrays: Count = _ONE


class ComputeEntry(Strict):
    """The compute unit."""

    macs_per_s: dict[str, MacsPerSecond]
    vector_elements_per_s: ElementsPerSecond
    overhead_s: Seconds = _NO_TIME
    energy_j_per_mac: dict[str, JoulesPerMac] | None = None
    systolic: SystolicEntry | None = None


class HomesEntry(Strict):
    """For each kind of buffer the name of its home tier (see `Target.homes`)."""

    input: str
    weight: str
    activation: str
    output: str


def _tile_axes(value: object) -> object:
    """A list of axes; a text from the command line names them with commas between."""
    return value.split(",") if isinstance(value, str) else value


class TilesEntry(Strict):
    """Whether operators may run in parts, and how they may be cut (see `Target.tile_axes`)."""

    allowed: StrictBool
    axes: Annotated[list[TileAxis], BeforeValidator(_tile_axes)] = Field(
        default=list(TILE_AXES), min_length=1
    )


class PolicyEntry(Strict):
    """Choices of the system rather than the chip: bytes that OS and software stack use, by tier."""

    reserved_bytes: dict[str, Bytes] = Field(default_factory=dict)


class TargetFile(Strict):
    """A whole target file, after inheritance."""

    name: str = Field(pattern=NAME_PATTERN, max_length=80)
    description: str = Field(min_length=1)
    inherit: str | None = None
    tiers: list[TierEntry] = Field(min_length=1)
    links: list[LinkEntry]
    compute: ComputeEntry
    homes: HomesEntry
    operand_access: OperandAccess = "any"
    weights_in_fastest: StrictBool = False
    split_operands: StrictBool = True
    slice_granularity: Granularity
    tiles: TilesEntry = TilesEntry(allowed=False)
    policy: PolicyEntry = PolicyEntry()


def resolve(file: TargetFile) -> Target:
    """The target in plain numbers, reserved bytes deducted from capacities."""
    reserved = {tier: figure.value for tier, figure in file.policy.reserved_bytes.items()}
    tiers = tuple(
        Tier(
            name=tier.name,
            capacity_bytes=tier.capacity_bytes.value - reserved.get(tier.name, 0),
            read_bytes_per_s=tier.read_bytes_per_s.value,
            # Nothing is written to a read-only tier; any finite rate serves.
            write_bytes_per_s=(tier.write_bytes_per_s or tier.read_bytes_per_s).value,
            alignment_bytes=tier.alignment_bytes.value,
            read_energy_j_per_byte=tier.read_energy_j_per_byte.value,
            write_energy_j_per_byte=(tier.write_energy_j_per_byte or _NO_ENERGY).value,
            addressable=tier.addressable,
            read_only=tier.read_only,
        )
        for tier in file.tiers
    )
    links = tuple(
        Link(
            source=link.source,
            destination=link.destination,
            bandwidth_bytes_per_s=link.bandwidth_bytes_per_s.value,
            setup_s=link.setup_s.value,
            energy_j_per_byte=link.energy_j_per_byte.value,
            name=link.name or "",
        )
        for link in file.links
    )
    return Target(
        name=file.name,
        tiers=tiers,
        links=links,
        compute=_resolve_compute(file.compute),
        homes={kind: getattr(file.homes, kind) for kind in KINDS},
        operand_access=file.operand_access,
        weights_in_fastest=file.weights_in_fastest,
        split_operands=file.split_operands,
        slice_granularity_bytes=file.slice_granularity.value,
        tile_axes=tuple(a for a in TILE_AXES if file.tiles.allowed and a in file.tiles.axes),
    )


def _resolve_compute(entry: ComputeEntry) -> Compute:
    grid = entry.systolic
    energies = entry.energy_j_per_mac
    return Compute(
        macs_per_s={dtype: rate.value for dtype, rate in entry.macs_per_s.items()},
        vector_elements_per_s=entry.vector_elements_per_s.value,
        overhead_s=entry.overhead_s.value,
        energy_j_per_mac=(
            None
            if energies is None
            else {dtype: energy.value for dtype, energy in energies.items()}
        ),
        systolic=None if grid is None else _resolve_systolic(grid),
    )


def _resolve_systolic(entry: SystolicEntry) -> Systolic:
    return Systolic(
        rows=entry.rows.value,
        columns=entry.columns.value,
        clock_hz=entry.clock_hz.value,
        arrays=entry.arrays.value,
    )
