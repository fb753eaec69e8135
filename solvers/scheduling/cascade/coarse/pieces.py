"""What blocks of a group do to the bytes of values: pieces, and what a group adds up to."""

from dataclasses import dataclass

from ullage.compiler.common.arrays import Floats, Ints
from ullage.compiler.ir.graph import Kind
from ullage.compiler.ir.reach import Box


@dataclass(frozen=True, slots=True)
class BlockUse:
    """What a block does to a piece.

    Attributes:
        group: the group, by its place among those that touch the value.
        block: the block, counted from the group's first.
        reads: it needs what was there before.
        writes: it writes the piece.
        read_share: bytes read over the bytes of the piece, added up over the block's steps.
        written_share: the same of bytes written.
        held_share: share of the block's steps during which the piece is there: from the step that
            makes it on, and up to its last use. Where operands must be in the fastest tier, from
            its first use in the block up to its last one there.
        before_share: where they must be, share of the block's steps before that.
    """

    group: int
    block: int
    reads: bool
    writes: bool
    read_share: float
    written_share: float
    held_share: float = 1.0
    before_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of one value that the same blocks use alike.

    Attributes:
        region: the value, as an index of `Profiles.regions`; -1 for accumulators.
        size_bytes: how many.
        space_bytes: room that they take: each stretch of them in a row is rounded up.
        uses: in the order of the blocks.
        accesses: of its bytes by steps, each stretch of them counted by itself.
    """

    region: int
    size_bytes: float
    space_bytes: float
    uses: tuple[BlockUse, ...]
    accesses: int = 0


@dataclass(frozen=True)
class Region:
    """Bytes in which one value lies, or several that share them (in place).

    Attributes:
        shape: of the value.
        size_bytes: of the value.
        kind: kind of its buffer.
        is_output: whether the graph's outputs lie in it.
        places: positions of the operators that use it, ascending.
        is_looked_up: operators read rows of it alone, which DMA brings.
    """

    shape: tuple[int, ...]
    size_bytes: int
    kind: Kind
    is_output: bool
    places: tuple[int, ...]
    is_looked_up: bool = False

    @property
    def is_given(self) -> bool:
        """Whether its data is there before the first step."""
        return self.kind in ("input", "weight")


@dataclass(frozen=True, slots=True)
class Touch:
    """A step's use of a region; it may look rows up there."""

    step: int
    box: Box
    writes: bool
    share: float
    looks_up: bool = False


@dataclass(frozen=True)
class GroupProfile:
    """A group's blocks.

    Attributes:
        compute_s: (B,) compute time.
        overhead_s: overhead of all of its steps.
        workspace_bytes: (B,) the most that is alive at once of what is used up inside the block.
        inner: what of that are values, which may lie at home as well.
        pieces: what several blocks of this group, and no other group, use.
        steps: number of its steps.
        steps_in: (B,) number of each block's.
        accesses: by steps to what is used up inside a block.
    """

    compute_s: Floats
    overhead_s: float
    workspace_bytes: Floats
    inner: "InnerValues"
    pieces: tuple[Piece, ...]
    steps: int
    steps_in: Ints
    accesses: int = 0


@dataclass(frozen=True)
class InnerValues:
    """Values that are made and used up inside a block, by block.

    Attributes:
        space_bytes: (B,) the most of them that is alive at once.
        read_bytes: (B,) bytes that operators read of them.
        written_bytes: (B,) bytes that they write.
    """

    space_bytes: Floats
    read_bytes: Floats
    written_bytes: Floats
