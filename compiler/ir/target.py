"""The target: memories, links, compute and rules of a chip, resolved to plain numbers.

Target files (YAML with a source and a confidence for every number) are read by
`ullage.hwmodels.catalog.schema`; solvers and the cost model see only this.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from typing import Literal, TypeVar, get_args

from ullage.compiler.common.ranges import (
    MAX_SECONDS,
    Cells,
    Count,
    Cycles,
    DtypeName,
    Joules,
    Portion,
    Positive,
    Rate,
    Ratio,
    Seconds,
    Share,
    WriteRate,
)
from ullage.compiler.ir.graph import BufferKind, Kind
from ullage.compiler.ir.program import DmaSteps

# Where operands may be while their operator runs; explained at `Target`.
OperandAccess = Literal["any", "fastest"]
# How an operator may be cut into parts; explained at `Target`.
TileAxis = Literal["rows", "channels", "products", "elements", "reduction"]
# How the time of operators follows from their work; explained at `Compute`.
ComputeModel = Literal["peak", "systolic", "mac-blocks", "kernel-cycles"]
COMPUTE_MODELS: tuple[ComputeModel, ...] = get_args(ComputeModel)
# What the rows of a systolic array hold, and how groups run; explained at `Systolic`.
RowsHold = Literal["taps", "channels"]
GroupsRun = Literal["packed", "serial"]
# Keys of a table of cycles beside ONNX operators and kinds of loop nests.
DEFAULT_CYCLES, OUTPUT_CYCLES = "default", "output"
TILE_AXES: tuple[TileAxis, ...] = get_args(TileAxis)


@dataclass(frozen=True, slots=True)
class Tier:
    """One memory.

    Attributes:
        name: `sram`, `dram`, `flash` ...
        capacity_bytes: size that plans may use.
        read_bytes_per_s: read bandwidth.
        write_bytes_per_s: write bandwidth; unused where `read_only`.
        alignment_bytes: offsets are multiples of it.
        read_energy_j_per_byte: energy of reading a byte.
        write_energy_j_per_byte: energy of writing a byte.
        addressable: the compute unit can read and write operands in place here.
        read_only: nothing can be written during inference (flash).
        latency_s: time from a request to the first byte, in seconds.
        burst_bytes: bytes that are moved at once; what is shorter takes as long.
        max_outstanding_requests: requests of a burst that are under way at most; 0: without limit.
    """

    name: str
    capacity_bytes: Count
    read_bytes_per_s: Rate
    write_bytes_per_s: WriteRate
    alignment_bytes: Positive = 1
    read_energy_j_per_byte: Joules = 0.0
    write_energy_j_per_byte: Joules = 0.0
    addressable: bool = True
    read_only: bool = False
    latency_s: Seconds = 0.0
    burst_bytes: Cells = 1
    max_outstanding_requests: Count = 0

    @property
    def request_bytes_per_s(self) -> float:
        """What its requests under way bring at most (Little's law): bytes over latency."""
        if not self.latency_s or not self.max_outstanding_requests:
            return inf
        return self.max_outstanding_requests * self.burst_bytes / self.latency_s

    @property
    def as_served(self) -> "Tier":
        """The same memory with the rates that its requests allow, and nothing else of latencies."""
        most = self.request_bytes_per_s
        return replace(
            self,
            read_bytes_per_s=min(self.read_bytes_per_s, most),
            write_bytes_per_s=min(self.write_bytes_per_s, most),
            latency_s=0.0,
            burst_bytes=1,
            max_outstanding_requests=0,
        )


def link_name(source: str, destination: str) -> str:
    """Name of the link between two tiers where it has no name of its own."""
    return f"{source}->{destination}"


@dataclass(frozen=True, slots=True)
class Link:
    """A directed DMA path between two tiers; each link is a queue of its own.

    Attributes:
        source: name of the tier that is read.
        destination: name of the tier that is written.
        bandwidth_bytes_per_s: of the link alone; the bandwidths of both tiers limit a transfer too.
        setup_s: time to start a transfer, in seconds.
        energy_j_per_byte: energy of moving a byte, on top of reading and writing it.
        name: unique name, by default `source->destination`. Two links (queues) may join the same
            tiers under different names.
        max_outstanding_transfers: transfers of this queue whose set-ups and first bytes are waited
            for at the same time.
        range_setup_s: time of each further range of addresses of a transfer, in seconds: a slice
            may lie in several places at either end. 0 where the engine takes a list of ranges.
    """

    source: str
    destination: str
    bandwidth_bytes_per_s: Rate
    setup_s: Seconds = 0.0
    energy_j_per_byte: Joules = 0.0
    name: str = ""
    max_outstanding_transfers: Cells = 1
    range_setup_s: Seconds = 0.0

    def __post_init__(self) -> None:
        """Give the link its default name."""
        if not self.name:
            object.__setattr__(self, "name", link_name(self.source, self.destination))


@dataclass(frozen=True, slots=True)
class Padding:
    """How feature maps [batch, channels, ..., columns] are padded in all memories.

    Attributes:
        channels_multiple: channels are stored as a multiple of it.
        columns_multiple: rows are stored as a multiple of so many columns (a pitch).
    """

    channels_multiple: Cells = 1
    columns_multiple: Cells = 1


NO_PADDING = Padding()


@dataclass(frozen=True, slots=True)
class Systolic:
    """A systolic array, weight stationary: `arrays` grids of rows x columns cells at a clock.

    Attributes:
        rows: rows of a grid, along which the depth of a product lies.
        columns: columns of a grid, along which output channels lie.
        clock_hz: clock of the cells.
        arrays: number of grids.
        rows_hold: `taps`, rows hold every element of a window in every input channel; or
            `channels`, they hold the input channels of one element of the window at a time.
        groups: `packed`, products smaller than the grid share it; or `serial`, groups of channels
            run one after the other.
        double_buffered: weights are loaded while the array computes with those before.
        load_cycles: cycles in which the weights of a fold are loaded then; 0: as many as rows.
        image_lines: with rows that hold channels, how many lines of a window over an image (at most
            4 input channels) they hold at once, pixels side by side, at most; 0: images are read as
            all else.
    """

    rows: Cells
    columns: Cells
    clock_hz: Rate
    arrays: Cells = 1
    rows_hold: RowsHold = "taps"
    groups: GroupsRun = "packed"
    double_buffered: bool = False
    load_cycles: Count = 0
    image_lines: Count = 0


@dataclass(frozen=True, slots=True)
class MacBlocks:
    """MACs that compute the output in blocks, made of units of fixed shape (Ethos-U class).

    In `step_cycles` cycles a core multiplies, for one unit of the output, `step_cycles` vectors of
    `dot_channels` input channels: of one tap, or of as many taps.

    Attributes:
        clock_hz: clock.
        cores: cores, among which output channels are divided.
        unit_height: rows of a unit.
        unit_width: columns of a unit.
        unit_channels: output channels of a unit.
        dot_channels: input channels that are multiplied and added in a cycle.
        step_cycles: cycles that a unit takes for a step.
        weights_per_cycle: weights that reach a core in a cycle.
        block_elements: output elements of the largest block, from its accumulators.
        block_channels: output channels of the largest block.
        command_cycles: latencies of a block, from its command to its last byte.
        command_share: the share of these latencies and of a block's products and output for which
            its command keeps the unit.
        output_cycles: cycles of the output stage per element, by ONNX operator, kind of loop nest,
            or `default`.
        input_cycles_per_byte: cycles in which a byte of a block's input arrives.
        image_cycles_per_byte: the same of an image: a feature map of fewer channels than
            `dot_channels`, which is read as the network's input lies, pixel by pixel.
        image_burst_bytes: bytes that are read at once there, however few of them are used.
        scale_cycles_per_channel: cycles in which bias and scale of an output channel arrive, in
            matrix products that use every weight once: weights stay in their home there, and the
            output stage of a block waits for those of its channels.
    """

    clock_hz: Rate
    cores: Cells
    unit_height: Cells
    unit_width: Cells
    unit_channels: Cells
    dot_channels: Cells
    step_cycles: Cells
    weights_per_cycle: Cells
    block_elements: Cells
    block_channels: Cells
    command_cycles: Cycles
    command_share: Share
    output_cycles: Mapping[str, Cycles]
    input_cycles_per_byte: Cycles = 0.0
    image_cycles_per_byte: Cycles = 0.0
    image_burst_bytes: Cells = 1
    scale_cycles_per_channel: Cycles = 0.0


@dataclass(frozen=True, slots=True)
class KernelCycles:
    """A processor whose kernels are known by their cycles (microcontrollers).

    Attributes:
        clock_hz: clock.
        macs: cycles per multiply-accumulate by data type, then by ONNX operator, kind of loop nest,
            or `default`.
        elements: cycles per element, in the same way: of every window for pools and reductions,
            of the output for others; `output` is what each output element of a kernel that
            multiplies takes beside its products.
    """

    clock_hz: Rate
    macs: Mapping[DtypeName, Mapping[str, Cycles]]
    elements: Mapping[DtypeName, Mapping[str, Cycles]]


@dataclass(frozen=True, slots=True)
class OutputStage:
    """What happens to results on their way out of the MAC unit, beside its next products.

    Attributes:
        elements_per_s: output elements per second.
        operators: ONNX operators that it applies, where they are fused behind multiplications.
    """

    elements_per_s: Rate
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rereads:
    """How often a unit reads the operands of products that it computes block by block.

    An output of H x W positions and C channels is computed in blocks of at most `block_elements`
    elements and `block_channels` channels, in the shape that reads least. The weights of a block's
    channels are read for every block of positions, the input for every block of channels, unless
    the unit holds them; windows of neighbouring blocks share rows and columns, which both read.

    Attributes:
        block_elements: output elements of a block, from its accumulators.
        block_channels: output channels of a block, at most.
        weight_bytes: memory of the unit for weights, which it then reads once where those of a
            block's channels fit.
        input_bytes: memory of the unit for its input, which it then reads once where all fits.
        block_channels_multiple: channels of a block are a multiple of it, or all.
        input_channels: channels of a block's input that take room beside its accumulators, of a
            byte each, where an accumulator has 4.
    """

    block_elements: Cells
    block_channels: Cells
    weight_bytes: Count = 0
    input_bytes: Count = 0
    block_channels_multiple: Cells = 1
    input_channels: Count = 0


@dataclass(frozen=True, slots=True)
class Compute:
    """The compute unit, and the model of its time; docs/cost-model.md has the formulas.

    The model is that of the one among `systolic`, `mac_blocks` and `kernel_cycles` that is given,
    and `peak` where none is: MACs over their rate, beside vector elements over theirs.

    Attributes:
        macs_per_s: multiply-accumulates per second by data type.
        vector_elements_per_s: elements per second of the vector unit.
        overhead_s: fixed time per operator.
        energy_j_per_mac: energy of a multiply-accumulate by data type.
        systolic: when given, MAC time comes from the array's geometry, not from `macs_per_s`,
            for the data types listed there scaled by their rate relative to the fastest.
        mac_blocks: when given, time comes from blocks of the output, scaled likewise.
        kernel_cycles: when given, time comes from cycles per MAC and per element.
        efficiency: of `peak`, the share of `macs_per_s` that loop nests of a kind reach; 1 where
            there is none.
        output_stage: of `peak` and `systolic`, what is applied beside the products.
        overlap: portion of the time of operands' accesses in place that is hidden behind computing:
            1 where operands are fed to the unit beside its work, 0 where a core loads and stores
            them itself, and computes the less. The rest is added to the compute time of a step.
        bandwidth_efficiency: the share of tiers' bandwidths that the accesses of an operator reach,
            by kind of its main loop nest; 1 where there is none.
        rereads: how often operands of products are read, by operators in place; None: once.
    """

    macs_per_s: Mapping[DtypeName, Rate]
    vector_elements_per_s: Rate
    overhead_s: Seconds = 0.0
    energy_j_per_mac: Mapping[DtypeName, Joules] | None = None
    systolic: Systolic | None = None
    mac_blocks: MacBlocks | None = None
    kernel_cycles: KernelCycles | None = None
    efficiency: Mapping[str, Share] | None = None
    output_stage: OutputStage | None = None
    overlap: Portion = 1.0
    bandwidth_efficiency: Mapping[str, Share] | None = None
    rereads: Rereads | None = None

    @property
    def exposed(self) -> float:
        """Portion of the time of operands' accesses that the unit cannot compute in."""
        return 1.0 - self.overlap

    @property
    def model(self) -> ComputeModel:
        """The name of the model."""
        if self.kernel_cycles is not None:
            return "kernel-cycles"
        if self.mac_blocks is not None:
            return "mac-blocks"
        return "peak" if self.systolic is None else "systolic"

    def at_speed(self, factor: float) -> "Compute":
        """The same unit with clock and rates multiplied; overhead stays."""
        grid, blocks, kernels = self.systolic, self.mac_blocks, self.kernel_cycles
        stage = self.output_stage
        return replace(
            self,
            macs_per_s={dtype: factor * rate for dtype, rate in self.macs_per_s.items()},
            vector_elements_per_s=factor * self.vector_elements_per_s,
            systolic=grid and replace(grid, clock_hz=factor * grid.clock_hz),
            mac_blocks=blocks and replace(blocks, clock_hz=factor * blocks.clock_hz),
            kernel_cycles=kernels and replace(kernels, clock_hz=factor * kernels.clock_hz),
            output_stage=stage and replace(stage, elements_per_s=factor * stage.elements_per_s),
        )


@dataclass(frozen=True)
class Target:
    """A chip.

    Attributes:
        name: its name.
        tiers: fastest first.
        links: DMA paths.
        compute: the compute unit.
        homes: for each kind of buffer the name of its home tier: inputs and weights are there
            before the first step, outputs must be there at the end, activations may be stored
            there.
        operand_access: `any` (operands in place in any addressable tier) or `fastest` (every
            activation operand and result in the fastest tier while its operator runs).
        weights_in_fastest: with `fastest`, weights too.
        split_operands: the bytes of one operand may be in several tiers or places.
        slice_granularity_bytes: slices are cut at multiples of it; 0: between rows of the
            outermost axis longer than 1.
        tile_axes: how operators may be cut into parts, by what becomes shorter: `rows` of their
            matrix products (positions: rows and columns of an image, tokens), `channels` (columns
            of the products), `products` (how many there are: batch, heads, groups), `elements` (an
            operator without products), `reduction` (with accumulators in memory). Empty: operators
            run whole.
        fuse_pairs: element-wise operators that read a second activation (an Add of two branches)
            are fused behind others; else they run by themselves.
        bias_dtype: under a policy of integers of a byte or less (`--dtype int8`), biases are
            planned as this type; None: as the policy says.
        scale_dtype: under such a policy, each output channel that has a bias has a scale of this
            type too; None: no scales are planned.
        padding: how activations that are feature maps are padded.
        weight_ratio: under such a policy, bytes of the encoded weights of convolutions and matrix
            products over their plain bytes.
    """

    name: str
    tiers: tuple[Tier, ...]
    links: tuple[Link, ...]
    compute: Compute
    homes: Mapping[Kind, str]
    operand_access: OperandAccess = "any"
    weights_in_fastest: bool = False
    split_operands: bool = True
    slice_granularity_bytes: Count = 256
    tile_axes: tuple[TileAxis, ...] = ()
    fuse_pairs: bool = True
    bias_dtype: DtypeName | None = None
    scale_dtype: DtypeName | None = None
    padding: Padding = NO_PADDING
    weight_ratio: Ratio = 1.0

    @cached_property
    def tier_index(self) -> Mapping[str, int]:
        """Position of each tier, 0 is the fastest."""
        return {tier.name: index for index, tier in enumerate(self.tiers)}

    @property
    def fastest(self) -> Tier:
        """The fastest tier."""
        return self.tiers[0]

    @cached_property
    def as_served(self) -> "Target":
        """The same chip as those see it who count bytes and set-ups alone; itself if it is so.

        Tiers have the rates that their requests allow; transfers wait for the first byte as a part
        of their set-up, of which each costs its share where several are under way. Bursts, first
        bytes of operators' accesses and further ranges of transfers are left out. No plan takes
        less on the chip itself, so that bounds for this one hold there.
        """
        tiers = tuple(tier.as_served for tier in self.tiers)
        links = tuple(
            replace(
                link,
                setup_s=min(MAX_SECONDS, self.start_seconds(link) / link.max_outstanding_transfers),
                max_outstanding_transfers=1,
                range_setup_s=0.0,
            )
            for link in self.links
        )
        if (tiers, links) == (self.tiers, self.links):
            return self
        return replace(self, tiers=tiers, links=links)

    def start_seconds(self, link: Link) -> float:
        """Time from the start of a transfer to its first byte, in seconds."""
        return link.setup_s + self.tier(link.source).latency_s

    @property
    def alignment_bytes(self) -> int:
        """Largest alignment of any tier."""
        return max(tier.alignment_bytes for tier in self.tiers)

    def tier(self, name: str) -> Tier:
        """The tier of that name; KeyError when there is none."""
        return self.tiers[self.tier_index[name]]

    def link(self, source: str, destination: str) -> Link | None:
        """The first link from one tier to another, None when there is none."""
        for link in self.links:
            if (link.source, link.destination) == (source, destination):
                return link
        return None

    def home(self, kind: BufferKind) -> Tier:
        """The home tier of buffers of a kind; states are at home where inputs are."""
        return self.tier(self.homes["input" if kind == "state" else kind])

    @cached_property
    def look_up_links(self) -> Mapping[str, Link]:
        """By tier the link over which DMA brings rows of a weight that an operator looks up.

        It leads to the fastest tier, where the operator runs: tiers without one have no such rows.
        """
        links: dict[str, Link] = {}
        for link in self.links:
            if link.destination == self.fastest.name:
                links.setdefault(link.source, link)
        return links

    def must_be_fastest(self, kind: BufferKind, *, look_up: bool = False) -> bool:
        """Whether operators can use buffers of this kind in the fastest tier only.

        It is so where the target demands it, and where neither the home nor any other slower tier
        is addressable. A home out of reach is not enough: another addressable tier can hold the
        data. Of a weight that is only looked up, DMA brings the rows that are named from any tier
        with a link to the fastest.

        Args:
            kind: of the buffer.
            look_up: its bytes are looked up (`Use.look_up`) and not used otherwise.
        """
        if look_up and kind == "weight" and self.look_up_links:
            return False
        if not self.home(kind).addressable and not any(t.addressable for t in self.tiers[1:]):
            return True
        if self.operand_access == "any":
            return False
        return kind != "weight" or self.weights_in_fastest

    def reaches(self, tier: str, kind: BufferKind, *, look_up: bool = False) -> bool:
        """Whether an operator can use a buffer of a kind in a tier, by DMA where it looks it up."""
        if look_up and kind == "weight" and tier in self.look_up_links:
            return True
        if tier == self.fastest.name:
            return True
        return self.tier(tier).addressable and not self.must_be_fastest(kind)

    @cached_property
    def dma_steps(self) -> DmaSteps:
        """The DMA-only steps without which operators might not get at their operands.

        They stand between operators where these cannot use some kind of buffer in its home tier.
        """
        kinds: tuple[Kind, ...] = ("input", "weight", "activation", "output")
        hops = max(self._hops(kind) for kind in kinds)
        return DmaSteps(between=2 if hops else 0, at_ends=max(1, hops))

    def _hops(self, kind: Kind) -> int:
        """Links that data of a kind crosses to where operators use it, or back; 0: none.

        Where no links lead there, 1: that nothing can be planned is said by those who plan.
        """
        home = self.homes[kind]
        usable = {self.fastest.name}
        if not self.must_be_fastest(kind):
            usable |= {tier.name for tier in self.tiers[1:] if tier.addressable}
        if home in usable:
            return 0
        pairs = [(link.source, link.destination) for link in self.links]
        fill = distances(home, pairs)
        spill = distances(home, [(b, a) for a, b in pairs]) if kind == "output" else {}
        ways = [max(fill[t], spill.get(t, 0)) for t in usable if t in fill]
        return max(1, min(ways, default=1))

    def with_fast_memory(self, capacity_bytes: int) -> "Target":
        """The same chip with another capacity of the fastest tier, in bytes."""
        return self.with_capacity(self.fastest.name, capacity_bytes)

    def with_capacity(self, name: str, capacity_bytes: int) -> "Target":
        """The same chip with another capacity of the tier of a name, in bytes."""
        tiers = [
            replace(tier, capacity_bytes=capacity_bytes) if tier.name == name else tier
            for tier in self.tiers
        ]
        return replace(self, tiers=tuple(tiers))


_Tier = TypeVar("_Tier", str, int)


def distances(start: _Tier, pairs: Sequence[Sequence[_Tier]]) -> dict[_Tier, int]:
    """Number of links from a tier to each that it leads to, itself included.

    Args:
        start: name or index of the tier.
        pairs: source and destination of each link.
    """
    known, frontier = {start: 0}, [start]
    while frontier:
        reached = [b for a, b in pairs if a in frontier and b not in known]
        known.update(dict.fromkeys(reached, known[frontier[0]] + 1))
        frontier = list(dict.fromkeys(reached))
    return known
