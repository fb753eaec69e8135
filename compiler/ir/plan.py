"""The plan: which bytes are in which tier at which address and when, and what DMA moves them.

An activation of 1024 bytes is written by a convolution, read by the next step, stored in `dram`
while others use the fast memory, and fetched again. `=` is space whose data may be used, `~` is
space whose data is still on its way:

    step    0      1      2      3      4      5      6
            DMA    conv   pool   relu   conv   add    DMA
    sram           |=============|      |~~~~~~|======|
    dram                  |~~~~~~|=============|

    residency   start  ready  end
    sram            1      1    3   step 1 writes it, step 2 reads it
    dram            2      3    5   filled by the transfer sram->dram with moves ((2, 1024),)
    sram            4      5    6   filled by the transfer dram->sram with moves ((4, 1024),),
                                    step 5 reads it

Intervals of steps and bytes are half-open. A buffer may be cut into slices of bytes; each slice has
residencies and transfers of its own:

    byte    0             512                      1024
            |-- slice A --|-------- slice B --------|
    sram    A at addresses [4096, 4608)
    dram    B at addresses [0, 512)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ullage.compiler.common.ranges import Count, Index
from ullage.compiler.common.units import counted, format_size
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import Program
from ullage.compiler.ir.target import Target, link_name


@dataclass(frozen=True, slots=True)
class Residency:
    """The bytes [start_byte, end_byte) of a buffer occupy a tier during steps [start, end).

    Operators read and write a byte in the fastest tier that has it in a residency with
    ready <= step < end.

    Attributes:
        buffer: index into `Program.buffers`.
        start_byte: first byte of the slice.
        end_byte: one past its last byte.
        tier: name of the tier.
        offset: address of the first byte in the tier.
        start: first step at which the space is taken.
        ready: first step at which operators and outgoing transfers may use the data. Equal to
            `start` where an operator writes the data here, where it is here before the first step,
            or where a weight remains from the inference before (loop-carried); one past the last
            step of the incoming transfer where the data is fetched.
        end: one past the last step at which the space is taken.
    """

    buffer: Index
    start_byte: Count
    end_byte: Count
    tier: str
    offset: Count
    start: Index
    ready: Index
    end: Index


@dataclass(frozen=True, slots=True)
class Transfer:
    """DMA of the bytes [start_byte, end_byte) of a buffer from one tier to another.

    The slice may be moved in several portions, one per step, in the order of its addresses.

    Attributes:
        buffer: index into `Program.buffers`.
        start_byte: first byte of the slice.
        end_byte: one past its last byte.
        source: name of the tier that is read.
        destination: name of the tier that is written.
        moves: (step, bytes) pairs, steps strictly ascending; the bytes sum to the size of the
            slice.
        link: name of the link that it goes over; by default that of the only link between the two.
    """

    buffer: Index
    start_byte: Count
    end_byte: Count
    source: str
    destination: str
    moves: tuple[tuple[Index, Count], ...]
    link: str = ""

    def __post_init__(self) -> None:
        """Set the default name of the link where none is named."""
        if not self.link:
            object.__setattr__(self, "link", link_name(self.source, self.destination))


@dataclass(frozen=True)
class Plan:
    """A complete answer to a problem: where every byte is and when, and what moves.

    Attributes:
        problem: program, target (with overrides applied) and objective.
        residencies: sorted by buffer, start byte, start.
        transfers: sorted by first step.
        solver: name of the solver that made it.
        seed: seed of the solver.
        options: parameters of the solver that differ from its defaults.
        model: how to import the model again (name, dtype policy, dims, fusion ...).
        notes: fallbacks taken on the way; never empty when one was.
        lower_bound: bound of the objective that the solver proved, in the objective's unit.
        bound_source: name of what proved it.
        claimed_bound: bound that a third party's solver claims; nobody here has proven it.
        claimed_by: who claims it.
        shadow_prices: (resource, what one more unit of it saves in the objective's unit) pairs.
        statistics: figures about the search, by name.
        chip_fast_memory_bytes: capacity of the fastest tier that the chip has, where the plan needs
            more than that: its target then has the capacity that the plan needs. None where the
            target is the chip.
    """

    problem: Problem
    residencies: tuple[Residency, ...]
    transfers: tuple[Transfer, ...]
    solver: str
    seed: int = 0
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    lower_bound: float | None = None
    bound_source: str = ""
    claimed_bound: float | None = None
    claimed_by: str = ""
    shadow_prices: tuple[tuple[str, float], ...] = ()
    statistics: Mapping[str, float] = field(default_factory=dict)
    chip_fast_memory_bytes: int | None = None

    def __repr__(self) -> str:
        """One line: a plan in full is thousands."""
        made = f"{counted(len(self.residencies), 'residency', 'residencies')}, "
        return (
            f"<Plan of {self.program.name} on {self.target.name} by {self.solver}: {made}"
            f"{counted(len(self.transfers), 'transfer')}>"
        )

    @property
    def program(self) -> Program:
        """The steps and buffers planned."""
        return self.problem.program

    @property
    def target(self) -> Target:
        """The chip planned for."""
        return self.problem.target

    @property
    def objective(self) -> str:
        """What was minimised."""
        return self.problem.objective

    @property
    def shortfall(self) -> str:
        """That the plan needs more fast memory than the chip has, in words; empty where it fits."""
        there, fastest = self.chip_fast_memory_bytes, self.target.fastest
        needed = fastest.capacity_bytes
        if there is None or there >= needed:
            return ""
        return (
            f"the plan does not fit the chip's {format_size(there)} of {fastest.name}: it needs "
            f"{format_size(needed)} ({needed} bytes, {needed - there} more than there are)"
        )
