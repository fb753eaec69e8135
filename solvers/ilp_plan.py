"""From a solution of COSMA's ILP to a plan of ours."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ullage.compiler.plan import Plan
from ullage.compiler.problem import DMA_STEP, Problem, Step
from ullage.hwmodels.target import Target
from ullage.solvers.assemble import Stay, assemble
from ullage.solvers.atoms import Atom, atoms_of
from ullage.solvers.cpsat_place import blocks_of, place
from ullage.solvers.ilp_model import CosmaModel
from ullage.solvers.packing import pack
from ullage.solvers.registry import SolverOptions

HALF = 0.5  # a binary is 1 above it

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """An atom is in fast memory during the ILP's steps first..last, `low` units up (or None)."""

    first: int
    last: int
    low: float | None


def operator_order(model: CosmaModel) -> list[int]:
    """The operator of each of the ILP's steps."""
    order = [-1] * model.count
    for operator, outputs in enumerate(model.program.outputs):
        for t, created in model.variables[outputs[0]].created.items():
            if created.varValue > HALF:
                order[t] = operator
    return order


def runs_of(model: CosmaModel) -> list[list[Run]]:
    """For each atom where the ILP keeps it, in time order."""
    held: list[dict[int, bool]] = [{} for _ in model.program.atoms]  # step -> began there
    for tensor, own in zip(model.program.tensors, model.variables, strict=True):
        if tensor.atom < 0:
            continue
        for t in range(own.first, own.last + 1):
            if not any(v.varValue > HALF for v in own.resident(t)):
                continue
            preserved = t in own.preserved and own.preserved[t].varValue > HALF
            created = t in own.created and own.created[t].varValue > HALF
            takes_over = created and tensor.replaces >= 0
            held[tensor.atom][t] = held[tensor.atom].get(t, True) and not (preserved or takes_over)
    result: list[list[Run]] = []
    for addresses, steps in zip(model.addresses, held, strict=True):
        runs: list[Run] = []
        for t, begins in sorted(steps.items()):
            if begins or not runs or runs[-1].last != t - 1:
                low = addresses[t].varValue if t in addresses else None
                runs.append(Run(t, t, low))
            else:
                runs[-1] = replace(runs[-1], last=t)
        result.append(runs)
    return result


def reordered(problem: Problem, order: Sequence[int], name: str) -> Problem:
    """The same operators over the same buffers in another order.

    Args:
        problem: one with two DMA-only steps between operators.
        order: numbers of operators among the problem's, each once.
        name: what the order is called.
    """
    operators = [step for step in problem.steps if step.kind != DMA_STEP]
    if list(order) == list(range(len(operators))):
        return problem
    steps = [problem.steps[0]]
    for index in order:
        operator = operators[index]
        if len(steps) > 1:
            steps += [
                Step(f"empty before {operator.name}", DMA_STEP),
                Step(f"fill before {operator.name}", DMA_STEP),
            ]
        steps.append(operator)
    return replace(problem, order=name, steps=(*steps, problem.steps[-1]))


def stays_of(
    atoms: Sequence[Atom], steps: Sequence[int], runs: Sequence[Sequence[Run]]
) -> tuple[list[Stay], list[float | None]]:
    """Stays in the fastest tier, and how high the ILP put each (None: not said).

    What is fetched comes in the DMA-only step before its first use, what is spilled leaves in the
    one after its last. Residency before the first and after the last use of a run is left out, and
    so are spills that nobody asks for.

    Args:
        atoms: of the problem in the order that was chosen.
        steps: step of the problem of each of the ILP's steps.
        runs: of each atom.
    """
    number = {step: t for t, step in enumerate(steps)}
    stays: list[Stay] = []
    heights: list[float | None] = []
    for index, (atom, listed) in enumerate(zip(atoms, runs, strict=True)):
        inside = [
            [e for e in atom.events if run.first <= number[e.step] <= run.last] for run in listed
        ]
        used = [(run, events) for run, events in zip(listed, inside, strict=True) if events]
        at_home = atom.is_given
        for turn, (run, events) in enumerate(used):
            first, last = events[0].step, events[-1].step
            at_home = at_home and not any(event.writes for event in events)
            following = used[turn + 1][1][0].reads if turn + 1 < len(used) else atom.is_output
            size = atom.size_bytes
            fill = ((first - 1, size),) if events[0].reads else ()
            spill = ((last + 1, size),) if following and not at_home else ()
            at_home = at_home or bool(spill)
            stays.append(Stay(index, first - len(fill), first, last + 1 + len(spill), fill, spill))
            heights.append(run.low)
    return stays, heights


def place_as_solved(
    stays: Sequence[Stay], heights: Sequence[float | None], rooms: Sequence[int]
) -> list[int] | None:
    """Whole addresses from the ILP's: everything is let down, the lowest first.

    Returns:
        offsets in bytes, None where the ILP gave no addresses.
    """
    offsets = [0] * len(stays)
    placed: list[int] = []
    known = [(height, i) for i, height in enumerate(heights) if height is not None]
    if len(known) < len(stays):
        return None
    for _, i in sorted(known):
        beside = [
            j for j in placed if stays[j].start < stays[i].end and stays[i].start < stays[j].end
        ]
        offsets[i] = max((offsets[j] + rooms[j] for j in beside), default=0)
        placed.append(i)
    return offsets


def tops_of(stays: Sequence[Stay], offsets: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """(T,) highest byte in use at each step, as far as anything is."""
    tops = [0] * max((stay.end for stay in stays), default=0)
    for stay, offset, size in zip(stays, offsets, sizes, strict=True):
        for t in range(stay.start, stay.end):
            tops[t] = max(tops[t], offset + size)
    return tops


def plan_of(model: CosmaModel, options: SolverOptions, notes: list[str]) -> Plan | None:
    """The solution as a plan; None (and a note) where no addresses are found."""
    program = model.program
    order = operator_order(model)
    problem = reordered(program.problem, order, "ilp")
    atoms = atoms_of(problem, program.target)
    steps = [t for t, step in enumerate(problem.steps) if step.kind != DMA_STEP]
    stays, heights = stays_of(atoms, steps, runs_of(model))
    if model.form.peak:
        return _peak_plan(problem, program.target, atoms, stays, options, notes)
    offsets = _offsets(problem, program.target, atoms, stays, heights, options)
    if offsets is None:
        notes.append("ilp: no addresses were found for its solution")
        return None
    placed = [replace(s, offset=o) for s, o in zip(stays, offsets, strict=True)]
    return assemble(problem, program.target, atoms, placed, solver="ilp", objective="traffic")


def _offsets(
    problem: Problem,
    target: Target,
    atoms: Sequence[Atom],
    stays: Sequence[Stay],
    heights: Sequence[float | None],
    options: SolverOptions,
) -> Sequence[int] | None:
    """The ILP's addresses as whole numbers, else what the search for addresses finds."""
    sizes = [atoms[s.atom].size_bytes for s in stays]
    unit = target.fastest.alignment_bytes
    offsets = place_as_solved(stays, heights, [-(-size // unit) * unit for size in sizes])
    if offsets is not None:
        tops = tops_of(stays, offsets, sizes)
        room = target.fastest.capacity_bytes
        if all(o + s.workspace_bytes <= room for o, s in zip(tops, problem.steps, strict=False)):
            return offsets
        logger.info("ilp: its addresses do not fit when made whole; they are sought again")
    spans = [(s.start, s.end, size) for s, size in zip(stays, sizes, strict=True)]
    limit = min(10.0, max(0.1, 0.5 * options.remaining_s()))
    return place(blocks_of(problem, target, spans), target, options.seed, limit).offsets


def _peak_plan(
    problem: Problem,
    target: Target,
    atoms: Sequence[Atom],
    stays: Sequence[Stay],
    options: SolverOptions,
    notes: list[str],
) -> Plan:
    """A plan in as much fast memory as the stays need; more than the ILP's sum if holes remain."""
    sizes = [atoms[s.atom].size_bytes for s in stays]
    packing = pack(
        np.array([s.start for s in stays], dtype=np.int64),
        np.array([s.end for s in stays], dtype=np.int64),
        np.array(sizes, dtype=np.int64),
        alignment_bytes=target.fastest.alignment_bytes,
        time_limit_s=min(2.0, max(0.1, options.remaining_s())),
        proof=True,
        seed=options.seed,
    )
    placed = [replace(s, offset=int(o)) for s, o in zip(stays, packing.offsets, strict=True)]
    tops = tops_of(placed, [s.offset for s in placed], sizes)
    tops += [0] * (len(problem.steps) - len(tops))
    needed = max(o + s.workspace_bytes for o, s in zip(tops, problem.steps, strict=True))
    fastest = target.fastest
    if needed > fastest.capacity_bytes:
        notes.append(
            f"peak: planned for {needed} bytes of {fastest.name} instead of the target's "
            f"{fastest.capacity_bytes}"
        )
    roomy = target.with_fast_memory(max(needed, fastest.capacity_bytes))
    return assemble(problem, roomy, atoms, placed, solver="ilp", objective="peak")
