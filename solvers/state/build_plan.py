"""From stays in the fastest tier to a complete plan: homes, transfers, addresses.

A solver decides when which atom stays in the fastest tier; everything else follows: which copies
the home tier must hold and when, at which addresses, and the list of transfers.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.common.units import format_size
from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.plan import Residency, Transfer
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Tier
from ullage.solvers.packing.pack import pack
from ullage.solvers.state.busy_time import Moves
from ullage.solvers.state.segments import Atom


@dataclass(frozen=True, slots=True)
class Stay:
    """An atom is in the fastest tier during [start, end), usable from `ready` on.

    Attributes:
        atom: index of the atom.
        start: first step at which space is taken.
        ready: first step at which operators use it.
        end: one past the last step.
        fill: moves that bring it from home, empty when an operator produces it here.
        spill: moves that bring it home.
        offset: address, -1 while none is chosen.
    """

    atom: int
    start: int
    ready: int
    end: int
    fill: Moves = ()
    spill: Moves = ()
    offset: int = -1


def assemble(problem: Problem, atoms: Sequence[Atom], stays: Sequence[Stay]) -> Assignment:
    """Complete an assignment.

    Args:
        problem: the problem.
        atoms: of the problem on that target.
        stays: disjoint in time for each atom, with addresses; an atom whose home is the fastest
            tier has one for its whole life.

    Raises:
        InfeasibleError: a home tier is too small for what must be there.
    """
    target = problem.target
    fastest = target.fastest.name
    copies: list[Residency] = []
    transfers: list[Transfer] = []
    by_atom: dict[int, list[Stay]] = {}
    for stay in sorted(stays, key=lambda s: (s.atom, s.start)):
        by_atom.setdefault(stay.atom, []).append(stay)
        atom = atoms[stay.atom]
        span = (atom.buffer, atom.start_byte, atom.end_byte)
        copies.append(Residency(*span, fastest, stay.offset, stay.start, stay.ready, stay.end))
        if stay.fill:
            transfers.append(Transfer(*span, atom.home, fastest, stay.fill))
        if stay.spill:
            transfers.append(Transfer(*span, fastest, atom.home, stay.spill))
    homes: list[tuple[int, int, int, int]] = []  # (atom, start, ready, end)
    last_step = len(problem.steps)
    for index, atom in enumerate(atoms):
        if atom.size_bytes and atom.home != fastest:
            homes += [
                (index, *span) for span in _home_spans(atom, by_atom.get(index, ()), last_step)
            ]
    copies += _place_homes(problem, atoms, homes)
    copies.sort(key=lambda r: (r.buffer, r.start_byte, r.start))
    transfers.sort(key=lambda t: (t.moves[0][0], t.moves[-1][0], t.buffer, t.start_byte))
    return Assignment(problem, tuple(copies), tuple(transfers))


def _home_spans(atom: Atom, stays: Sequence[Stay], last_step: int) -> list[tuple[int, int, int]]:
    """(start, ready, end) of the copies that an atom needs in its home tier."""
    happenings: list[tuple[int, int, str, Moves]] = []
    starts = [stay.start for stay in stays]
    for event in atom.events:
        at = bisect_right(starts, event.step) - 1  # stays are disjoint and ascend
        here = at >= 0 and stays[at].ready <= event.step < stays[at].end
        if event.reads and not here:
            happenings.append((event.step, 1, "read", ()))
        if event.writes:
            happenings.append((event.step, 2, "lose" if here else "write", ()))
    for stay in stays:
        if stay.fill:
            happenings.append((stay.fill[0][0], 0, "fill", stay.fill))
        if stay.spill:
            happenings.append((stay.spill[0][0], 0, "spill", stay.spill))
    spans: list[tuple[int, int, int]] = []
    current: list[int] | None = [0, 0, 1] if atom.is_given else None
    for step, _, what, moves in sorted(happenings):
        if what == "read" and current is not None:
            current[2] = max(current[2], step + 1)
        elif what == "fill" and current is not None:
            current[2] = max(current[2], moves[-1][0] + 1)
        elif what == "lose":
            if current is not None:
                spans.append((current[0], current[1], current[2]))
            current = None
        elif what == "write":
            if current is not None and current[2] <= step:
                spans.append((current[0], current[1], current[2]))
                current = None
            if current is None:
                current = [step, step, step + 1]
        elif what == "spill":
            if current is not None:
                spans.append((current[0], current[1], current[2]))
            current = [step, moves[-1][0] + 1, moves[-1][0] + 2]
    if current is not None:
        keeps = atom.is_output or atom.kind == "weight"
        spans.append((current[0], current[1], last_step if keeps else min(current[2], last_step)))
    return spans


def _place_homes(
    problem: Problem,
    atoms: Sequence[Atom],
    homes: Sequence[tuple[int, int, int, int]],
) -> list[Residency]:
    """Addresses in the home tiers: one block per buffer, so that its atoms lie in a row."""
    target = problem.target
    found: list[Residency] = []
    for tier in target.tiers[1:]:
        blocks: dict[int, list[int]] = {}
        for index, start, _, end in homes:
            atom = atoms[index]
            if atom.home == tier.name:
                block = blocks.setdefault(atom.buffer, [start, end])
                block[0], block[1] = min(block[0], start), max(block[1], end)
        if not blocks:
            continue
        inside, sizes = _rows(atoms, tier)
        buffers = list(blocks)
        packing = pack(
            np.array([blocks[b][0] for b in buffers], dtype=np.int64),
            np.array([blocks[b][1] for b in buffers], dtype=np.int64),
            np.array([sizes[b] for b in buffers], dtype=np.int64),
            alignment_bytes=tier.alignment_bytes,
            capacity_bytes=tier.capacity_bytes,
        )
        if packing.peak_bytes > tier.capacity_bytes:
            _refuse_home(problem, tier.name, packing.peak_bytes, buffers)
        offsets = {b: int(o) for b, o in zip(buffers, packing.offsets, strict=True)}
        for index, start, ready, end in homes:
            atom = atoms[index]
            if atom.home == tier.name:
                found.append(
                    Residency(
                        atom.buffer,
                        atom.start_byte,
                        atom.end_byte,
                        tier.name,
                        offsets[atom.buffer] + inside[index],
                        start,
                        ready,
                        end,
                    )
                )
    return found


def _rows(atoms: Sequence[Atom], tier: Tier) -> tuple[dict[int, int], dict[int, int]]:
    """Where each atom lies in its buffer's block, and the blocks' sizes.

    Where atoms begin at aligned bytes of their buffer, as importers see to, that is the place.
    """
    inside: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for index, atom in enumerate(atoms):
        if atom.home == tier.name:
            taken = sizes.get(atom.buffer, 0)
            inside[index] = -(-taken // tier.alignment_bytes) * tier.alignment_bytes
            sizes[atom.buffer] = inside[index] + atom.size_bytes
    return inside, sizes


def _refuse_home(problem: Problem, tier: str, needed: int, buffers: Sequence[int]) -> None:
    target = problem.target
    available = target.tier(tier).capacity_bytes
    largest = sorted(buffers, key=lambda b: -problem.buffers[b].size_bytes)[:5]
    names = [
        {"tensor": problem.buffers[b].name, "bytes": problem.buffers[b].size_bytes} for b in largest
    ]
    raise InfeasibleError(
        f"{tier} of {target.name} is too small for the tensors whose home it is: needed "
        f"{format_size(needed)}, available {format_size(available)}, excess "
        f"{format_size(needed - available)}; largest: "
        + ", ".join(f"{n['tensor']} ({format_size(int(str(n['bytes'])))})" for n in names)
        + f". Plan with smaller data types (--dtype int8), another target, or a larger memory "
        f"(--set tiers.{tier}.capacity_bytes=SIZE)",
        {
            "tier": tier,
            "needed_bytes": needed,
            "available_bytes": available,
            "excess_bytes": needed - available,
            "step": 0,
            "largest_tensors": names,
            "remedies": ["--dtype int8", f"--set tiers.{tier}.capacity_bytes={needed}"],
        },
    )
