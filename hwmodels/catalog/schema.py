"""The schema of target files, and their resolution to a `Target` in plain numbers.

Every figure has a source and a confidence; docs/targets.md explains the format. What several fields
must agree on (links, homes, order of tiers) is checked in `checks`.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool

from ullage.compiler.common.dtypes import parse_dtype
from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.graph import Kind
from ullage.compiler.ir.target import (
    TILE_AXES,
    Compute,
    ComputeModel,
    GroupsRun,
    KernelCycles,
    Link,
    MacBlocks,
    OperandAccess,
    OutputStage,
    Padding,
    Rereads,
    RowsHold,
    Systolic,
    Target,
    Tier,
    TileAxis,
)
from ullage.hwmodels.catalog.quantities import (
    Alignment,
    Burst,
    Bytes,
    BytesPerSecond,
    Count,
    Cycles,
    ElementsPerSecond,
    Figure,
    Granularity,
    Hertz,
    JoulesPerByte,
    JoulesPerMac,
    MacsPerSecond,
    OpsPerSecond,
    Portion,
    Ratio,
    Seconds,
    Share,
    Strict,
)

# The kinds of buffers; each has a home.
KINDS: tuple[Kind, ...] = ("input", "weight", "activation", "output")
# What chips are, in the order of lists, and what a list of several is headed with.
ChipKind = Literal["npu", "microcontroller", "datacentre", "gpu", "fpga", "research", "other"]
CHIP_KINDS: Mapping[ChipKind, str] = {
    "npu": "NPUs",
    "microcontroller": "Microcontrollers",
    "datacentre": "Datacentre accelerators",
    "gpu": "GPUs with their host or flash",
    "fpga": "FPGAs",
    "research": "Research chips and problems",
    "other": "Others",
}
# Names of targets, tiers and links; without dots, since names stand in dotted paths.
NAME_PATTERN = r"^[A-Za-z0-9]+([_-][A-Za-z0-9]+)*$"
# Names of ONNX operators.
OPERATOR_PATTERN = r"^[A-Z][A-Za-z0-9]*$"
# Defaults of figures that a file may leave out.
_NO_TIME = Seconds(value=0.0, source="default: none is charged", confidence="low")
_NO_ENERGY = JoulesPerByte(value=0.0, source="default: none is charged", confidence="low")
_NO_CYCLES = Cycles(value=0.0, source="default: none are charged", confidence="low")
_ALL = Share(value=1.0, source="default", confidence="low")
_HIDDEN = Portion(value=1.0, source="default: operands are fed beside computing", confidence="low")
_ONE = Count(value=1, source="default", confidence="high")
_NO_BYTES = Bytes(value=0, source="default: nothing is held", confidence="low")
_ONE_BYTE = Burst(value=1, source="default", confidence="high")
_PLAIN = Ratio(value=1.0, source="default: weights are stored as they are", confidence="high")


# Figures by ONNX operator, kind of loop nest, or `default`.
CyclesTable = dict[str, Cycles]
# An ONNX operator.
OperatorName = Annotated[str, Field(pattern=OPERATOR_PATTERN, max_length=80)]
# Compute model -> its section of `compute`.
MODEL_SECTIONS: Mapping[ComputeModel, str] = {
    "systolic": "systolic",
    "mac-blocks": "mac_blocks",
    "kernel-cycles": "kernel_cycles",
}


def _listed(value: object) -> object:
    """A list; a text from the command line names its entries with commas between."""
    return value.split(",") if isinstance(value, str) else value


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
    latency_s: Seconds = _NO_TIME
    burst_bytes: Burst = _ONE_BYTE
    max_outstanding_requests: Count | None = None


class LinkEntry(Strict):
    """A directed DMA path; two between the same tiers (two queues) need names."""

    name: str | None = Field(default=None, pattern=NAME_PATTERN, max_length=80)
    source: str
    destination: str
    bandwidth_bytes_per_s: BytesPerSecond
    setup_s: Seconds = _NO_TIME
    energy_j_per_byte: JoulesPerByte = _NO_ENERGY
    max_outstanding_transfers: Count = _ONE
    range_setup_s: Seconds = _NO_TIME


class SystolicEntry(Strict):
    """Weight-stationary systolic arrays (see `ir.target.Systolic`)."""

    rows: Count
    columns: Count
    clock_hz: Hertz
    arrays: Count = _ONE
    rows_hold: RowsHold = "taps"
    groups: GroupsRun = "packed"
    double_buffered: StrictBool = False
    load_cycles: Count | None = None
    image_lines: Count | None = None


class MacBlocksEntry(Strict):
    """MACs that compute the output in blocks (see `ir.target.MacBlocks`)."""

    clock_hz: Hertz
    cores: Count = _ONE
    unit_height: Count
    unit_width: Count
    unit_channels: Count
    dot_channels: Count
    step_cycles: Count
    weights_per_cycle: Count
    block_elements: Count
    block_channels: Count
    command_cycles: Cycles = _NO_CYCLES
    command_share: Share = _ALL
    output_cycles: CyclesTable
    input_cycles_per_byte: Cycles = _NO_CYCLES
    image_cycles_per_byte: Cycles = _NO_CYCLES
    image_burst_bytes: Burst = _ONE_BYTE
    scale_cycles_per_channel: Cycles = _NO_CYCLES


class KernelCyclesEntry(Strict):
    """Cycles of a processor's kernels by data type (see `ir.target.KernelCycles`)."""

    clock_hz: Hertz
    macs: dict[str, CyclesTable] = Field(min_length=1)
    elements: dict[str, CyclesTable] = Field(default_factory=dict)


class RereadsEntry(Strict):
    """Blocks for which operands are read again (see `ir.target.Rereads`)."""

    block_elements: Count
    block_channels: Count
    weight_bytes: Bytes = _NO_BYTES
    input_bytes: Bytes = _NO_BYTES
    block_channels_multiple: Count = _ONE
    input_channels: Count | None = None


class OutputStageEntry(Strict):
    """What the MAC unit applies to its results (see `ir.target.OutputStage`)."""

    elements_per_s: ElementsPerSecond
    operators: Annotated[list[OperatorName], BeforeValidator(_listed)] = Field(min_length=1)


class ComputeEntry(Strict):
    """The compute unit; `model` chooses among the sections where there are several."""

    model: ComputeModel | None = None
    macs_per_s: dict[str, MacsPerSecond]
    vector_elements_per_s: ElementsPerSecond
    overhead_s: Seconds = _NO_TIME
    overlap: Portion = _HIDDEN
    energy_j_per_mac: dict[str, JoulesPerMac] | None = None
    systolic: SystolicEntry | None = None
    mac_blocks: MacBlocksEntry | None = None
    kernel_cycles: KernelCyclesEntry | None = None
    efficiency: dict[str, Share] | None = None
    bandwidth_efficiency: dict[str, Share] | None = None
    rereads: RereadsEntry | None = None
    output_stage: OutputStageEntry | None = None

    @property
    def chosen(self) -> ComputeModel:
        """The model: the one that is named, else that of the section, else `peak`."""
        found = [name for name, key in MODEL_SECTIONS.items() if getattr(self, key) is not None]
        return self.model or (found[0] if found else "peak")


class HomesEntry(Strict):
    """For each kind of buffer the name of its home tier (see `Target.homes`)."""

    input: str
    weight: str
    activation: str
    output: str


class TilesEntry(Strict):
    """Whether operators may run in parts, and how they may be cut (see `Target.tile_axes`)."""

    allowed: StrictBool
    axes: Annotated[list[TileAxis], BeforeValidator(_listed)] = Field(
        default=list(TILE_AXES), min_length=1
    )


class FusionEntry(Strict):
    """Which operators the target runs as one (see `Target.fuse_pairs`)."""

    pairs: StrictBool = True


def _dtype(value: str) -> str:
    try:
        return parse_dtype(value)
    except UsageError as error:
        raise ValueError(error.message) from error


class StorageEntry(Strict):
    """How the target stores tensors (see `Target.bias_dtype`, `weight_ratio` and `Padding`)."""

    bias_dtype: Annotated[str, AfterValidator(_dtype)] | None = None
    scale_dtype: Annotated[str, AfterValidator(_dtype)] | None = None
    channels_multiple: Count = _ONE
    columns_multiple: Count = _ONE
    weight_ratio: Ratio = _PLAIN


class PolicyEntry(Strict):
    """Choices of the system rather than the chip: bytes that OS and software stack use, by tier."""

    reserved_bytes: dict[str, Bytes] = Field(default_factory=dict)


class PublishedRun(Strict):
    """A network whose latency on the chip others have published.

    Attributes:
        model: name of the network, as `--model` takes it or a file without its ending is called.
        dtype: data type in which it ran.
        batch: inputs that ran together.
        steady_state: inferences follow one another, so that weights may stay on the chip.
        at_home: everything stays in its home tier, as on a chip without the fast memory.
        latency_s: time for all of them.
    """

    model: str = Field(pattern=NAME_PATTERN, max_length=80)
    dtype: Annotated[str, AfterValidator(_dtype)]
    batch: int = Field(default=1, ge=1, le=100_000, strict=True)
    steady_state: StrictBool = False
    at_home: StrictBool = False
    latency_s: Seconds


class PublishedEntry(Strict):
    """What others have published about the chip, to be set beside what the model says.

    None of it goes into plans.

    Attributes:
        ops_per_s: peak rates by data type.
        bytes_per_s: bandwidths by tier.
        runs: latencies of networks.
        missing: what was looked for and not found.
    """

    ops_per_s: dict[str, OpsPerSecond] = Field(default_factory=dict)
    bytes_per_s: dict[str, BytesPerSecond] = Field(default_factory=dict)
    runs: list[PublishedRun] = Field(default_factory=list)
    missing: str | None = Field(default=None, min_length=1)


class TargetFile(Strict):
    """A whole target file, after inheritance."""

    name: str = Field(pattern=NAME_PATTERN, max_length=80)
    description: str = Field(min_length=1)
    kind: ChipKind = "other"
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
    fusion: FusionEntry = FusionEntry()
    storage: StorageEntry = StorageEntry()
    policy: PolicyEntry = PolicyEntry()
    published: PublishedEntry = PublishedEntry()


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
            latency_s=tier.latency_s.value,
            burst_bytes=tier.burst_bytes.value,
            max_outstanding_requests=(
                tier.max_outstanding_requests.value if tier.max_outstanding_requests else 0
            ),
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
            max_outstanding_transfers=link.max_outstanding_transfers.value,
            range_setup_s=link.range_setup_s.value,
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
        fuse_pairs=file.fusion.pairs,
        bias_dtype=file.storage.bias_dtype,
        scale_dtype=file.storage.scale_dtype,
        padding=Padding(
            channels_multiple=file.storage.channels_multiple.value,
            columns_multiple=file.storage.columns_multiple.value,
        ),
        weight_ratio=file.storage.weight_ratio.value,
    )


def _resolve_compute(entry: ComputeEntry) -> Compute:
    energies, stage, model = entry.energy_j_per_mac, entry.output_stage, entry.chosen
    grid, blocks, kernels = entry.systolic, entry.mac_blocks, entry.kernel_cycles
    return Compute(
        macs_per_s=_values(entry.macs_per_s),
        vector_elements_per_s=entry.vector_elements_per_s.value,
        overhead_s=entry.overhead_s.value,
        overlap=entry.overlap.value,
        energy_j_per_mac=None if energies is None else _values(energies),
        systolic=_resolve_systolic(grid) if grid is not None and model == "systolic" else None,
        mac_blocks=_resolve_blocks(blocks)
        if blocks is not None and model == "mac-blocks"
        else None,
        kernel_cycles=(
            KernelCycles(
                clock_hz=kernels.clock_hz.value,
                macs={dtype: _values(table) for dtype, table in kernels.macs.items()},
                elements={dtype: _values(table) for dtype, table in kernels.elements.items()},
            )
            if kernels is not None and model == "kernel-cycles"
            else None
        ),
        efficiency=None if entry.efficiency is None else _values(entry.efficiency),
        bandwidth_efficiency=(
            None if entry.bandwidth_efficiency is None else _values(entry.bandwidth_efficiency)
        ),
        rereads=None if entry.rereads is None else _resolve_rereads(entry.rereads),
        output_stage=(
            None
            if stage is None
            else OutputStage(stage.elements_per_s.value, tuple(stage.operators))
        ),
    )


def _values(figures: Mapping[str, Figure]) -> dict[str, float]:
    return {key: figure.value for key, figure in figures.items()}


def _resolve_rereads(entry: RereadsEntry) -> Rereads:
    return Rereads(
        block_elements=entry.block_elements.value,
        block_channels=entry.block_channels.value,
        weight_bytes=entry.weight_bytes.value,
        input_bytes=entry.input_bytes.value,
        block_channels_multiple=entry.block_channels_multiple.value,
        input_channels=entry.input_channels.value if entry.input_channels else 0,
    )


def _resolve_systolic(entry: SystolicEntry) -> Systolic:
    return Systolic(
        rows=entry.rows.value,
        columns=entry.columns.value,
        clock_hz=entry.clock_hz.value,
        arrays=entry.arrays.value,
        rows_hold=entry.rows_hold,
        groups=entry.groups,
        double_buffered=entry.double_buffered,
        load_cycles=entry.load_cycles.value if entry.load_cycles else 0,
        image_lines=entry.image_lines.value if entry.image_lines else 0,
    )


def _resolve_blocks(entry: MacBlocksEntry) -> MacBlocks:
    return MacBlocks(
        clock_hz=entry.clock_hz.value,
        cores=entry.cores.value,
        unit_height=entry.unit_height.value,
        unit_width=entry.unit_width.value,
        unit_channels=entry.unit_channels.value,
        dot_channels=entry.dot_channels.value,
        step_cycles=entry.step_cycles.value,
        weights_per_cycle=entry.weights_per_cycle.value,
        block_elements=entry.block_elements.value,
        block_channels=entry.block_channels.value,
        command_cycles=entry.command_cycles.value,
        command_share=entry.command_share.value,
        output_cycles=_values(entry.output_cycles),
        input_cycles_per_byte=entry.input_cycles_per_byte.value,
        image_cycles_per_byte=entry.image_cycles_per_byte.value,
        image_burst_bytes=entry.image_burst_bytes.value,
        scale_cycles_per_channel=entry.scale_cycles_per_channel.value,
    )
