"""The variables of the CP-SAT model, segment by segment; for their letters see `model`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ullage.solvers.state.segments import Segment

# OR-Tools variables have no useful types; an `Any` below is one, or 0 or 1.


@dataclass(frozen=True, slots=True)
class Amount:
    """Bytes: a variable times a factor."""

    variable: Any
    factor: int = 1

    @property
    def bytes(self) -> Any:  # noqa: ANN401 - a linear expression
        """The expression."""
        return self.factor * self.variable


@dataclass
class Fill:
    """The fill of an access.

    Attributes:
        wanted: whether there is one.
        arrived: step -> bytes that have arrived by its end (c).
        taken: step -> whether its space is taken (p).
    """

    wanted: Any
    arrived: dict[int, Amount] = field(default_factory=dict)
    taken: dict[int, Any] = field(default_factory=dict)


@dataclass
class SpillChoice:
    """The spill of a version of the data.

    Attributes:
        wanted: whether there is one.
        stored: step -> bytes that are at home by its end (z).
        started: step -> whether it has begun; empty where starting costs nothing.
    """

    wanted: Any
    stored: dict[int, Amount] = field(default_factory=dict)
    started: dict[int, Any] = field(default_factory=dict)


@dataclass
class SegmentVariables:
    """All variables of a segment; dictionaries are keyed by access.

    Attributes:
        inside: x, one for each access.
        musts: accesses at which x is 1 whatever happens.
        kept: k of the gap before an access that reads.
        fills: reading access -> its fill.
        spills: writing access -> the spill of its version.
        lingers: access -> (step -> l), in the gap after it.
    """

    inside: list[Any] = field(default_factory=list)
    musts: set[int] = field(default_factory=set)
    kept: dict[int, Any] = field(default_factory=dict)
    fills: dict[int, Fill] = field(default_factory=dict)
    spills: dict[int, SpillChoice] = field(default_factory=dict)
    lingers: dict[int, dict[int, Any]] = field(default_factory=dict)


def readers_of(segment: Segment, write: int) -> Sequence[int]:
    """Accesses that read what access `write` wrote, the next write included where it reads."""
    readers: list[int] = []
    for following in range(write + 1, len(segment.accesses)):
        if segment.accesses[following].reads:
            readers.append(following)
        if segment.accesses[following].writes:
            break
    return readers
