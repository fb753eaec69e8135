"""`no-spill`: everything but weights stays in fast memory for its whole life.

What the objective `peak` asks: the smallest fast memory with which nothing has to leave. The
capacity of the target is raised to what is needed, and the plan says so.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.solvers.packing.pack import pack
from ullage.solvers.registry import SolverOptions, parameters_of
from ullage.solvers.state.build_plan import assemble
from ullage.solvers.state.required import require_link
from ullage.solvers.state.residency_state import Occupancy
from ullage.solvers.state.segments import Atom, atoms_of

SUMMARY = "activations never leave fast memory: answers objective `peak`"
DEFAULTS: Mapping[str, Any] = {"pack_time_limit_s": 2.0}
OBJECTIVES = ("peak",)


def solve(problem: Problem, target: Target, options: SolverOptions) -> Plan:
    """The plan without spills of least height; its target has the capacity that it needs."""
    chosen = parameters_of(options, DEFAULTS)
    fastest = target.fastest
    roomy = target.with_fast_memory(2**62)
    atoms = atoms_of(problem, target)
    occupancy = Occupancy(problem, roomy, atoms)
    for index, atom in enumerate(atoms):
        if atom.size_bytes and atom.events and atom.kind != "weight" and atom.home != fastest.name:
            _keep(occupancy, index, atom)
    listed = occupancy.all_stays()
    limit = min(float(chosen["pack_time_limit_s"]), max(0.1, options.remaining_s()))
    packing = pack(
        np.array([s.start for _, _, s in listed], dtype=np.int64),
        np.array([s.end for _, _, s in listed], dtype=np.int64),
        np.array([atoms[s.atom].size_bytes for _, _, s in listed], dtype=np.int64),
        alignment_bytes=fastest.alignment_bytes,
        time_limit_s=limit,
        proof=True,
        seed=options.seed,
    )
    stays = [
        replace(stay, offset=int(offset))
        for (_, _, stay), offset in zip(listed, packing.offsets, strict=True)
    ]
    workspace = max((s.workspace_bytes for s in problem.steps), default=0)
    needed = packing.peak_bytes + workspace
    note = (
        f"peak: planned for {needed} bytes of {fastest.name} instead of the target's "
        f"{fastest.capacity_bytes}"
    )
    plan = assemble(
        problem,
        target.with_fast_memory(max(needed, fastest.capacity_bytes)),
        atoms,
        stays,
        solver="no-spill",
        objective=options.objective,
        seed=options.seed,
        options={k: v for k, v in chosen.items() if v != DEFAULTS[k]},
    )
    return replace(plan, notes=(note,)) if needed > fastest.capacity_bytes else plan


def _keep(occupancy: Occupancy, index: int, atom: Atom) -> None:
    """One stay from first to last event, fetched just before, stored just after."""
    for first in list(occupancy.stays[index]):
        occupancy.remove(index, first)
    last = len(atom.events) - 1
    fastest = occupancy.target.fastest.name
    if atom.events[0].reads:
        require_link(occupancy.problem, occupancy.target, atom, atom.home, fastest)
    if occupancy.needs_spill(index, 0, last):
        require_link(occupancy.problem, occupancy.target, atom, fastest, atom.home)
    stay = occupancy.propose(index, 0, last, window=1)
    if stay is None:  # there is a DMA-only step on either side and room without end
        raise AssertionError(atom)
    occupancy.add(index, 0, last, stay)
