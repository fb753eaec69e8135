"""The plan: which bytes are in which tier at which address and when, and what DMA moves them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target

PLAN_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Residency:
    """The bytes [start_byte, end_byte) of a buffer occupy a tier during steps [start, end).

    Operators read and write a byte in the fastest tier that has it in a residency with
    ready <= step < end.

    Attributes:
        buffer: index into `Problem.buffers`.
        start_byte: first byte of the slice.
        end_byte: one past its last byte.
        tier: name of the tier.
        offset: address of the first byte in the tier.
        start: first step at which the space is taken.
        ready: first step at which operators and outgoing transfers use it; `start` when an
            operator produces it here (or it is here from the beginning, or carried in from the
            inference before), one past the last step of the incoming transfer when it is fetched.
        end: one past the last step at which the space is taken.
    """

    buffer: int
    start_byte: int
    end_byte: int
    tier: str
    offset: int
    start: int
    ready: int
    end: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """DMA of the bytes [start_byte, end_byte) of a buffer from one tier to another.

    Attributes:
        buffer: index into `Problem.buffers`.
        start_byte: first byte of the slice.
        end_byte: one past its last byte.
        source: tier that is read.
        destination: tier that is written.
        moves: (step, bytes) pairs, steps ascending; bytes go in address order and sum to the
            size of the slice.
    """

    buffer: int
    start_byte: int
    end_byte: int
    source: str
    destination: str
    moves: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Plan:
    """A complete answer: problem, target and where everything is.

    Attributes:
        target: the chip planned for, with overrides applied.
        problem: the steps and buffers planned.
        residencies: sorted by buffer, start byte, start.
        transfers: sorted by first step.
        solver: name of the solver that made it.
        objective: what was minimised.
        seed: seed of the solver.
        options: options of the solver that differ from its defaults.
        model: how to import the model again (name, dtype policy, dims, fusion ...).
        notes: fallbacks taken on the way; never empty when one was.
        lower_bound: bound of the objective that the solver proved, in the objective's unit.
        bound_source: what proved it.
        format_version: version of the JSON form.
    """

    target: Target
    problem: Problem
    residencies: tuple[Residency, ...]
    transfers: tuple[Transfer, ...]
    solver: str
    objective: str = "latency"
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    lower_bound: float | None = None
    bound_source: str = ""
    format_version: int = PLAN_FORMAT
