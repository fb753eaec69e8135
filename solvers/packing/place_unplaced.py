"""Addresses for residencies that have none: for solvers that leave the packing to the wrapper."""

from dataclasses import replace

import numpy as np

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.common.units import told_apart
from ullage.compiler.ir.assignment import UNPLACED, Assignment
from ullage.compiler.ir.plan import Residency
from ullage.solvers.packing.pack import pack


def place_unplaced(assignment: Assignment) -> Assignment:
    """The assignment with an address for every residency.

    In a tier where any residency has no address, all are placed anew. In the fastest tier the
    largest workspace stays free above them.

    Raises:
        InfeasibleError: no packing that fits was found.
    """
    problem, target = assignment.problem, assignment.target
    offsets = [residency.offset for residency in assignment.residencies]
    for tier in target.tiers:
        here = [i for i, r in enumerate(assignment.residencies) if r.tier == tier.name]
        if all(offsets[i] != UNPLACED for i in here):
            continue
        rows = [assignment.residencies[i] for i in here]
        workspace = 0
        if tier.name == target.fastest.name:
            workspace = max((step.workspace_bytes for step in problem.steps), default=0)
        room = tier.capacity_bytes - workspace
        packing = pack(
            np.array([r.start for r in rows], dtype=np.int64),
            np.array([r.end for r in rows], dtype=np.int64),
            np.array([_size(r) for r in rows], dtype=np.int64),
            alignment_bytes=tier.alignment_bytes,
            capacity_bytes=max(0, room),
        )
        if packing.peak_bytes > room:
            needed = packing.peak_bytes + workspace
            takes, there = told_apart(needed, tier.capacity_bytes)
            raise InfeasibleError(
                f"residencies in {tier.name} need {takes} as packed, and it has {there}; "
                "keep fewer bytes there at once",
                {
                    "tier": tier.name,
                    "needed_bytes": needed,
                    "available_bytes": tier.capacity_bytes,
                    "excess_bytes": needed - tier.capacity_bytes,
                    "proven": False,
                },
            )
        for i, offset in zip(here, packing.offsets.tolist(), strict=True):
            offsets[i] = offset
    placed = tuple(
        residency if residency.offset == offset else replace(residency, offset=offset)
        for residency, offset in zip(assignment.residencies, offsets, strict=True)
    )
    return replace(assignment, residencies=placed)


def _size(residency: Residency) -> int:
    return residency.end_byte - residency.start_byte
