"""The fluid program as data: the arrays, and where its variables and rows are."""

from dataclasses import dataclass

from ullage.solvers.lp import FrozenProgram, Ints


@dataclass(frozen=True)
class Gap:
    """The steps before an event of an atom.

    Attributes:
        atom: index of the atom.
        event: index of the event that ends it.
        kept: variable k, -1 where there is nothing to keep (data at home before the first event).
        first_step: first step in which an arrival is possible at all.
        window: first step of the profile.
        profile: variables y of the steps window .. step of the event - 1.
        first_move_row: row y_window - k >= 0.
    """

    atom: int
    event: int
    kept: int
    first_step: int
    window: int
    profile: Ints
    first_move_row: int


@dataclass(frozen=True)
class Version:
    """Data between a write and the next: what goes home, and when."""

    atom: int
    event: int
    written: int
    spill_first: int
    spill_last: int
    spill: Ints
    spill_row: int


@dataclass(frozen=True)
class FluidProgram:
    """The program and where its variables and rows are.

    Attributes:
        program: the arrays.
        unit_s: seconds that one unit of the objective stands for.
        unit_bytes: bytes that one unit of the capacity rows stands for.
        resident: for each atom the variables x of its events.
        gaps: all gaps.
        versions: all versions.
        capacity_rows: (T,) rows.
        port_rows: tier -> (T,) rows.
        link_rows: (source, destination) -> (T,) rows.
    """

    program: FrozenProgram
    unit_s: float
    unit_bytes: float
    resident: tuple[Ints, ...]
    gaps: tuple[Gap, ...]
    versions: tuple[Version, ...]
    capacity_rows: Ints
    port_rows: dict[str, Ints]
    link_rows: dict[tuple[str, str], Ints]
