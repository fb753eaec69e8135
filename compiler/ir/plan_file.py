"""The shape of plan files: the dataclasses from which the published JSON Schema is made.

Nothing but what stands here is read: unknown fields, other types (true or 1.0 for a whole number)
and figures outside their range (`common.ranges`) are refused, field by field.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    Required,  # pydantic asks for it under Python 3.11
)

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from ullage.compiler.common.ranges import (
    MAX_COUNT,
    BoundValue,
    Count,
    DtypeName,
    Figure,
    Index,
    Joules,
    Positive,
    Rate,
    Seconds,
    Seed,
)
from ullage.compiler.ir.graph import Kind
from ullage.compiler.ir.plan import Residency, Transfer
from ullage.compiler.ir.problem import Objective
from ullage.compiler.ir.program import Program
from ullage.compiler.ir.target import Compute, Link, OperandAccess, Target, Tier

# How pydantic reads files; the dataclasses inside take it over from the outermost.
_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
# Value of a solver's parameter.
Whole = Annotated[int, Field(ge=-MAX_COUNT, le=MAX_COUNT)]
OptionValue = str | Whole | Figure | bool


class PartFields(TypedDict, total=False):
    """A part of a schedule.

    Attributes:
        operator: index of the operator in the graph.
        ranges: [start, end] of each axis of its output that is cut, by its number.
        k: [start, end] of its reduction.
        copy: how many parts, at most, have made one of its elements before.
    """

    operator: Required[Index]
    ranges: dict[str, list[Count]]
    k: list[Count]
    copy: Count


class ScheduleFields(TypedDict):
    """A schedule: in which parts operators run, and in which order.

    Attributes:
        name: how it was chosen.
        schedule: the parts in the order in which they run.
    """

    name: str
    schedule: list[PartFields]


class ModelFields(TypedDict, total=False):
    """How to import the model again; a plan that was made without a model has some of them.

    Attributes:
        name: name of the model.
        path: its file, null where it was not read from one.
        order: how the order of the operators was chosen.
        operator_order: the operators in the order in which they run, null for that of the file.
        dims: values of symbolic dimensions.
        batch: value of symbolic first dimensions.
        dtype: floating-point tensors are planned as this type.
        fuse: fusion groups were formed.
        alias: values may share bytes.
        steady_state: inferences follow one another for ever.
        updates: of a training step, how many parameters get new values, counted from the last that
            is read, or their names, some with a ratio (`name:1/8`); absent where all do.
        state: [input, output] of each tensor that lives from one inference to the next; absent
            where there is none.
        schedule: the parts in which the operators run; absent where each runs whole.
    """

    name: str
    path: str | None
    order: str
    operator_order: list[Index] | None
    dims: dict[str, Positive]
    batch: Positive | None
    dtype: DtypeName | None
    fuse: bool
    alias: bool
    steady_state: bool
    updates: int | list[str]
    state: list[list[str]]
    schedule: ScheduleFields


@dataclass(frozen=True)
class PlanFile:
    """The fields of a plan's JSON file; those of `Plan` with the problem taken apart.

    Attributes:
        target: the chip planned for, with overrides applied.
        problem: the steps and buffers planned, a `Program`.
        residencies: sorted by buffer, start byte, start.
        transfers: sorted by first step.
        solver: name of the solver that made it.
        objective: what was minimised.
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
            more than that and the target's is what it needs; null where the target is the chip.
        format_version: version of the file format.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    target: Target
    problem: Program
    residencies: tuple[Residency, ...]
    transfers: tuple[Transfer, ...]
    solver: str
    objective: Objective = "latency"
    seed: Seed = 0
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    model: ModelFields = field(default_factory=ModelFields)
    notes: tuple[str, ...] = ()
    lower_bound: BoundValue | None = None
    bound_source: str = ""
    claimed_bound: BoundValue | None = None
    claimed_by: str = ""
    shadow_prices: tuple[tuple[str, Figure], ...] = ()
    statistics: Mapping[str, Figure] = field(default_factory=dict)
    chip_fast_memory_bytes: Count | None = None
    format_version: Literal[2] = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Link1:
    """A link in format 1: it has no name, so that no two links join the same tiers."""

    source: str
    destination: str
    bandwidth_bytes_per_s: Rate
    setup_s: Seconds = 0.0
    energy_j_per_byte: Joules = 0.0

    def as_link(self) -> Link:
        """The link with its default name."""
        return Link(
            self.source,
            self.destination,
            self.bandwidth_bytes_per_s,
            self.setup_s,
            self.energy_j_per_byte,
        )


@dataclass(frozen=True)
class Target1:
    """A target in format 1."""

    name: str
    tiers: tuple[Tier, ...]
    links: tuple[Link1, ...]
    compute: Compute
    homes: Mapping[Kind, str]
    operand_access: OperandAccess = "any"
    weights_in_fastest: bool = False
    split_operands: bool = True
    slice_granularity_bytes: Count = 256

    def as_target(self) -> Target:
        """The target with named links."""
        fields = {**vars(self), "links": tuple(link.as_link() for link in self.links)}
        return Target(**fields)


@dataclass(frozen=True, slots=True)
class Transfer1:
    """A transfer in format 1: it goes over the only link between its tiers."""

    buffer: Index
    start_byte: Count
    end_byte: Count
    source: str
    destination: str
    moves: tuple[tuple[Index, Count], ...]

    def as_transfer(self) -> Transfer:
        """The transfer over the link of the default name."""
        ends = (self.source, self.destination)
        return Transfer(self.buffer, self.start_byte, self.end_byte, *ends, self.moves)


@dataclass(frozen=True)
class Price1:
    """What one more unit of a resource saves, among the options of format 1."""

    what: str
    saves_s: Figure
    source: str = ""


# Options of format 1 that are figures of the search.
_FIGURES_1 = ("whole_bound", "parts_solved", "parts_taken")


@dataclass(frozen=True)
class PlanFile1:
    """A plan file of format 1: links without names, figures of the search among the options."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    target: Target1
    problem: Program
    residencies: tuple[Residency, ...]
    transfers: tuple[Transfer1, ...]
    solver: str
    objective: Objective = "latency"
    seed: Seed = 0
    options: Mapping[str, OptionValue | tuple[Price1, ...]] = field(default_factory=dict)
    model: ModelFields = field(default_factory=ModelFields)
    notes: tuple[str, ...] = ()
    lower_bound: BoundValue | None = None
    bound_source: str = ""
    format_version: Literal[1] = field(kw_only=True)

    def as_present(self) -> PlanFile:
        """The same plan in the present format."""
        own = {k: v for k, v in self.options.items() if not isinstance(v, tuple)}
        prices = self.options.get("prices", ())
        search = {k: own.pop(k) for k in _FIGURES_1 if k in own}
        own.pop("interrupted", None)
        changed: dict[str, Any] = {
            "target": self.target.as_target(),
            "transfers": tuple(transfer.as_transfer() for transfer in self.transfers),
            "options": own,
            "statistics": {k: v for k, v in search.items() if isinstance(v, int | float)},
            "shadow_prices": tuple(
                (price.what, price.saves_s)
                for price in (prices if isinstance(prices, tuple) else ())
            ),
            "format_version": 2,
        }
        return PlanFile(**{**vars(self), **changed})
