"""The program: steps in the order in which they run, buffers, and which bytes each step uses.

A buffer is the storage of all values that share bytes; a use is a range of those bytes. Intervals
of steps and bytes are half-open:

    step      0      1               2              3              4
              DMA    conv            relu           add            DMA
    buffer           write [0, 64)   read [0, 64)   read [32, 64)
"""

from dataclasses import dataclass
from functools import cached_property

from ullage.compiler.common.ranges import Count, DtypeName, Index, OperatorIndex, Positive, Seconds
from ullage.compiler.common.units import counted
from ullage.compiler.ir.graph import BufferKind, Gemm, LoopNest
from ullage.compiler.ir.reach import AxisRange

# Kind of a step without an operator: only transfers run in it.
DMA_STEP = "dma"


@dataclass(frozen=True, slots=True)
class DmaSteps:
    """How many DMA-only steps a program has.

    Attributes:
        between: between two operators: 0, or 2, one in which memory is emptied and one in which it
            is filled.
        at_ends: before the first operator, and behind the last: as many as data needs links to
            come from its home to where operators use it.
    """

    between: int = 0
    at_ends: int = 1


@dataclass(frozen=True, slots=True)
class Use:
    """A step reads or writes the bytes [start_byte, end_byte) of a buffer.

    Attributes:
        buffer: index into `Program.buffers`.
        start_byte: first byte of the range.
        end_byte: one past its last byte.
        write: True when the step writes the range.
        accessed_bytes: bytes that are really read or written, at most the size of the range; a
            Gather reads few rows of its table.
        value: name of the value in the range.
        look_up: rows of a weight are read that an operand names by their indices; DMA can bring
            these rows alone (docs/plan-semantics.md, Look-ups).
    """

    buffer: Index
    start_byte: Count
    end_byte: Count
    write: bool
    accessed_bytes: Count
    value: str
    look_up: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """An operator or a part of one, or a DMA-only step (kind `dma`, no uses, no cost).

    A program begins and ends with a DMA-only step, in which inputs may be fetched before the first
    operator and outputs stored after the last; with several where they cross several links. On
    targets where operands must be in the fastest
    tier there are two between any two operators: one in which memory is emptied, one in which it is
    filled.

    Attributes:
        name: name of the operator.
        kind: operator type, or `dma`.
        operator: index of the operator in the graph; -1 for a DMA-only step.
        uses: ranges read and written; a read precedes a write of the same bytes (in place).
        macs: multiply-accumulates.
        mac_dtype: data type of the multiplications.
        vector_elements: elements that the vector unit processes.
        gemms: the MACs as matrix products.
        nests: all of its work as loop nests; empty where nobody knows its geometry.
        measured_s: its compute time in seconds where it was measured or simulated; it replaces the
            target's model. Of a part, its share.
        workspace_bytes: scratch memory needed in the fastest tier.
        ranges: the ranges of output axes that this part of the operator makes; empty: all of it.
        axis_names: what the axes of these ranges are called, one name each (`rows`, `channels`);
            empty where nobody says.
        copy: how many earlier parts, at most, made one of its elements already.
    """

    name: str
    kind: str
    operator: OperatorIndex = -1
    uses: tuple[Use, ...] = ()
    macs: Count = 0
    mac_dtype: DtypeName = "float32"
    vector_elements: Count = 0
    gemms: tuple[Gemm, ...] = ()
    nests: tuple[LoopNest, ...] = ()
    measured_s: Seconds | None = None
    workspace_bytes: Count = 0
    ranges: tuple[AxisRange, ...] = ()
    axis_names: tuple[str, ...] = ()
    copy: Count = 0


@dataclass(frozen=True, slots=True)
class AxisCuts:
    """Where an axis of a value is cut into cells.

    Attributes:
        axis: the axis.
        ends: 0, the index behind each cell, and so the length of the axis last; ascending.
    """

    axis: Index
    ends: tuple[Count, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """In which order the elements of a value that is made in parts lie in its bytes.

    The value is divided into cells by the cuts of some axes; cells follow one another in the
    lexicographic order of those axes. Inside a cell one axis is outermost, and the others follow in
    ascending order: a range of that axis is a contiguous range of bytes.

        rows outermost, columns cut at 4 of 8      rows of columns 0-3 | rows of columns 4-7

    Attributes:
        axis: the outermost axis inside a cell.
        cuts: the axes that are cut, ascending; never `axis`.
    """

    axis: Index
    cuts: tuple[AxisCuts, ...] = ()


@dataclass(frozen=True, slots=True)
class PlacedValue:
    """A value and the byte range of a buffer that it occupies.

    Attributes:
        name: the value.
        start_byte: first byte of the range.
        end_byte: one past its last byte.
        layout: the order of its elements where it is made or read in parts; None: that of ONNX,
            row-major over all axes.
    """

    name: str
    start_byte: Count
    end_byte: Count
    layout: Layout | None = None


@dataclass(frozen=True, slots=True)
class Buffer:
    """The unit of storage: all values that share bytes.

    Attributes:
        name: name of its first value.
        size_bytes: storage of all its values together.
        kind: `input` (holds data before the first step), `weight` (the same, and is never written),
            `output` (some of its values must be in the home tier at the end), `state` (holds data
            before the first step, is written, and is what the next inference begins with), or
            `activation`. It is for reports; the properties say what is true of the buffer.
        values: the values in it and where; ranges overlap for views and in-place results.
        outputs: byte ranges [start, end) that are outputs of the graph.
        row_bytes: bytes of one row of the outermost axis longer than 1; slices may be cut there.
    """

    name: str
    size_bytes: Count
    kind: BufferKind
    values: tuple[PlacedValue, ...] = ()
    outputs: tuple[tuple[Count, Count], ...] = ()
    row_bytes: Positive = 1

    @property
    def initial(self) -> bool:
        """Whether it holds data at home before the first step."""
        return self.kind in ("input", "weight", "state")

    @property
    def final(self) -> tuple[tuple[int, int], ...]:
        """Byte ranges [start, end) that must be at home after the last step."""
        return self.outputs

    @property
    def persistent(self) -> bool:
        """Whether what it holds after an inference is what the next one begins with."""
        return self.kind in ("weight", "state")

    @property
    def constant(self) -> bool:
        """Whether no step ever writes it."""
        return self.kind == "weight"


@dataclass(frozen=True)
class Program:
    """Steps 0..T-1 over buffers, without a target; every interval of steps is half-open.

    Attributes:
        name: name of the model.
        order: how the order was chosen (`model`, `memory` ...).
        steps: T steps.
        buffers: B buffers, referred to by index.
        steady_state: the steps repeat for ever, one inference after the other, and weights may
            remain in any tier from the end of one inference to the beginning of the next.
    """

    name: str
    order: str
    steps: tuple[Step, ...]
    buffers: tuple[Buffer, ...]
    steady_state: bool = False

    def __repr__(self) -> str:
        """One line: a program in full is thousands."""
        steps, buffers = counted(len(self.steps), "step"), counted(len(self.buffers), "buffer")
        return f"<Program {self.name}, order {self.order}: {steps}, {buffers}>"

    @cached_property
    def data_bytes(self) -> int:
        """Bytes of all buffers."""
        return sum(buffer.size_bytes for buffer in self.buffers)

    @cached_property
    def operators(self) -> int:
        """Number of operators that run, each counted once."""
        return len({step.operator for step in self.steps if step.kind != DMA_STEP})

    @cached_property
    def parts(self) -> int:
        """Number of steps that run an operator or a part of one."""
        return sum(step.kind != DMA_STEP for step in self.steps)

    @cached_property
    def is_cut(self) -> bool:
        """Whether some operator runs in parts."""
        return any(step.ranges for step in self.steps)

    @cached_property
    def is_scheduled(self) -> bool:
        """Whether some operator runs in parts, or again: not only its order was chosen."""
        return any(step.ranges or step.copy for step in self.steps)

    @cached_property
    def uses_of(self) -> tuple[tuple[tuple[int, Use], ...], ...]:
        """For each buffer its (step, use) pairs in step order, reads before writes."""
        uses_by_buffer: list[list[tuple[int, Use]]] = [[] for _ in self.buffers]
        for t, step in enumerate(self.steps):
            for use in sorted(step.uses, key=lambda u: u.write):
                uses_by_buffer[use.buffer].append((t, use))
        return tuple(tuple(uses) for uses in uses_by_buffer)
