"""The variables of `cpsat_model`, atom by atom."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ullage.solvers.state.segments import Atom

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
    """The fill of an event: step -> bytes arrived by its end, and whether its space is taken."""

    wanted: Any
    arrived: dict[int, Amount] = field(default_factory=dict)
    taken: dict[int, Any] = field(default_factory=dict)


@dataclass
class Spill:
    """The spill of a version: step -> bytes at home by its end, and whether it has started.

    `started` is empty where starting costs nothing.
    """

    wanted: Any
    stored: dict[int, Amount] = field(default_factory=dict)
    started: dict[int, Any] = field(default_factory=dict)


@dataclass
class AtomVariables:
    """All variables of an atom; dictionaries are keyed by event.

    Attributes:
        inside: x, one for each event.
        musts: events at which x is 1 whatever happens.
        kept: k of the gap before an event that reads.
        fills: of events that read.
        spills: of events that write.
        lingers: step -> l, of the gap after an event.
    """

    inside: list[Any] = field(default_factory=list)
    musts: set[int] = field(default_factory=set)
    kept: dict[int, Any] = field(default_factory=dict)
    fills: dict[int, Fill] = field(default_factory=dict)
    spills: dict[int, Spill] = field(default_factory=dict)
    lingers: dict[int, dict[int, Any]] = field(default_factory=dict)


def readers_of(atom: Atom, write: int) -> Sequence[int]:
    """Events that read what event `write` wrote, the next write included where it reads."""
    found: list[int] = []
    for following in range(write + 1, len(atom.events)):
        if atom.events[following].reads:
            found.append(following)
        if atom.events[following].writes:
            break
    return found
