"""`divide`: whole tensors, part by part: for problems too long for one exact solve.

1. Quick solvers give a plan, `fluid` a certified bound of the whole.
2. The steps are cut where few bytes are alive. Each part is solved by `cpsat` with what the plan
   keeps across its ends pinned (`divide_parts`), and its plan replaces the old one there where the
   whole gets better by the cost model.
3. Then windows around each seam are solved the same way: what was stored before a seam and fetched
   behind it can stay. Parts and seams take turns until neither gains, or the time ends.

Only what the cost model finds better is taken, so the plan is never worse than the quick ones. The
bound is that of the whole problem: parts with their ends pinned bound nothing.
"""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.verify.verifier import find_violations
from ullage.solvers.decomposition.parts import narrow_cuts, part_of
from ullage.solvers.exact import cpsat
from ullage.solvers.exact.job import Job, new_job, work_on
from ullage.solvers.exact.residencies import stays_of_plan
from ullage.solvers.packing.place_exactly import blocks_of, place
from ullage.solvers.registry import SolverOptions, parameters_of
from ullage.solvers.state.build_plan import Stay, assemble
from ullage.solvers.state.greedy_moves import close_gaps, hide_single_uses
from ullage.solvers.state.place import place_what_pays
from ullage.solvers.state.residency_state import Occupancy
from ullage.solvers.state.segments import Atom, atoms_of

SUMMARY = "whole tensors part by part: cut at narrow points, solve by cpsat, mend the seams"
DEFAULTS: Mapping[str, Any] = {
    "num_workers": 2,
    "part_operators": 40,
    "hint_share": 0.25,
    "time_limit_s": 60.0,
}
RESERVE_SHARE = 0.05  # of the time, for what comes after a part
LEAST_S = 0.3  # less time than that is not worth a part
PLACE_S = 1.0  # for addresses with proof
REPAIR_WINDOW_STEPS = 64
PASSES = 50

logger = logging.getLogger(__name__)


def solve(problem: Problem, target: Target, options: SolverOptions) -> Plan:
    """The best plan of whole atoms found part by part.

    Without a deadline it takes at most the parameter `time_limit_s`.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
        TimeLimitError: the deadline came before any plan.
        UsageError: a parameter makes no sense.
    """
    chosen = parameters_of(options, DEFAULTS)
    if int(chosen["part_operators"]) < 4 or int(chosen["num_workers"]) < 1:
        raise UsageError("divide needs parts of 4 operators or more (part_operators), and a worker")
    job = new_job(problem, target, options, chosen)
    counts = {"parts_solved": 0, "parts_taken": 0}

    def improve(job: Job) -> None:
        if job.best is not None:
            _improve(job, counts)

    work_on(job, improve)
    assert job.best is not None  # noqa: S101 - else `work_on` raises
    plan = job.best[1]
    notes = (*plan.notes, *job.notes)
    if plan.solver != "divide":
        notes += (f"divide: the plan is that of {plan.solver}; no part of it was improved",)
    told: dict[str, Any] = {k: v for k, v in chosen.items() if v != DEFAULTS[k]}
    told |= counts
    if job.interrupted:
        told["interrupted"] = True
    return replace(
        plan,
        solver="divide",
        objective=options.objective,
        seed=options.seed,
        options=told,
        notes=notes,
        lower_bound=job.certified[0],
        bound_source=job.certified[1],
    )


def _improve(job: Job, counts: dict[str, int]) -> None:
    """Solve parts, then windows around the seams, in turn; count those solved, and taken."""
    problem, target = job.problem, job.target
    homes = {target.homes[atom.kind] for atom in job.atoms if atom.size_bytes}
    if len(target.tiers) != 2 or len(homes) != 1:
        job.notes.append("divide: parts are not cut on targets with more than two tiers or homes")
        return
    part = int(job.chosen["part_operators"])
    cuts = narrow_cuts(problem, job.atoms, part, at_dma=target.needs_dma_steps)
    parts = [(max(0, a - 1), min(len(problem.steps), b + 1)) for a, b in pairwise(cuts)]
    seams = [
        ((a + b) // 2, (b + c) // 2) for a, b, c in zip(cuts, cuts[1:], cuts[2:], strict=False)
    ]
    for number in range(PASSES):
        spans = parts if number % 2 == 0 else seams
        gained = 0
        for at, span in enumerate(spans):
            left = job.remaining_s() * (1 - RESERVE_SHARE)
            if left < LEAST_S or job.is_closed():
                return
            following = len(seams) if number == 0 else 0
            share = left / (len(spans) - at + following)
            done = f"part {at + 1} of {len(spans)}, {counts['parts_taken']} improved"
            job.options.progress(f"divide: {'parts' if spans is parts else 'seams'}, {done}")
            counts["parts_solved"] += 1
            gained += _solve_part(job, span, max(LEAST_S, share))
        counts["parts_taken"] += gained
        if not gained and (number or not seams):
            break


def _solve_part(job: Job, span: tuple[int, int], limit_s: float) -> bool:
    """Solve the steps of a span within the best plan; whether the whole got better."""
    assert job.best is not None  # noqa: S101 - asked before
    stays = stays_of_plan(job.best[1], job.atoms)
    if stays is None:
        return False
    part = part_of(job.problem, job.target, job.atoms, stays, span)
    if not part.atoms:
        return False
    target = replace(job.target, split_operands=False)
    options = job.options.for_member(deadline=time.monotonic() + limit_s)
    chosen = {**cpsat.DEFAULTS, "num_workers": job.chosen["num_workers"]}
    # The bounds of a whole problem are none of a part: some of what its outputs hold is at home.
    free = (0.0, "none")
    own = atoms_of(part.problem, target)
    inner = Job(part.problem, target, own, options, chosen, time.monotonic() + limit_s, free, free)
    try:
        inner.offer(_assembled(inner, part.stays_of_part(stays)))
        begun = inner.best[0] if inner.best is not None else math.inf
        cpsat.improve(inner)
    except InfeasibleError as error:
        logger.info("divide: a part cannot be planned: %s", error.message)
        return False
    if inner.interrupted:
        raise KeyboardInterrupt
    found = None if inner.best is None else stays_of_plan(inner.best[1], own)
    if found is None or inner.best is None or inner.best[0] >= begun:
        return False
    before = job.best[0]
    stitched = part.stays_of_whole(found)
    for mends in (False, True):
        _offer(job, stitched, mends=mends)
    return job.best[0] < before


def _offer(job: Job, stays: Sequence[Stay], *, mends: bool) -> None:
    """Give a stitched plan addresses and offer it; mended: with gaps closed across its seams."""
    occupancy = Occupancy(job.problem, job.target, job.atoms, job.options.objective)
    for index, runs in enumerate(occupancy.stays):
        for first in list(runs):
            occupancy.remove(index, first)
    for stay in stays:
        first, last = _events(job.atoms[stay.atom], stay)
        occupancy.add(stay.atom, first, last, stay)
    if mends:
        close_gaps(occupancy, REPAIR_WINDOW_STEPS, job.options)
    if mends and job.options.objective == "latency":
        hide_single_uses(occupancy, REPAIR_WINDOW_STEPS, job.options)
    try:
        _place(job, occupancy)
        plan = _assembled(job, [stay for _, _, stay in occupancy.all_stays()])
    except InfeasibleError as error:
        logger.info("divide: a stitched plan has no addresses: %s", error.message)
        return
    violations = find_violations(plan, limit=1)
    if violations:  # a defect, but one that the plan so far makes good
        job.notes.append(f"divide: a stitched plan is illegal: {violations[0].message}")
        logger.warning("%s", job.notes[-1])
        return
    job.offer(plan)


def _assembled(job: Job, stays: Sequence[Stay]) -> Plan:
    """The plan of some stays of a job's problem.

    Raises:
        InfeasibleError: a home tier is too small.
    """
    return assemble(
        job.problem,
        job.target,
        job.atoms,
        stays,
        solver="divide",
        objective=job.options.objective,
        seed=job.options.seed,
    )


def _events(atom: Atom, stay: Stay) -> tuple[int, int]:
    """First and last event of an atom that a stay covers; (0, -1) for none."""
    inside = [j for j, e in enumerate(atom.events) if stay.ready <= e.step < stay.end]
    return (inside[0], inside[-1]) if inside else (0, -1)


def _place(job: Job, occupancy: Occupancy) -> None:
    """Addresses for everything, with proof where it is quick; else the least valuable is dropped.

    Raises:
        InfeasibleError: what operators cannot do without has no place.
    """
    listed = occupancy.all_stays()
    spans = [(s.start, s.end, job.atoms[s.atom].size_bytes) for _, _, s in listed]
    blocks = blocks_of(job.problem, job.target, spans)
    limit = min(PLACE_S, 0.1 * max(0.0, job.remaining_s()))
    placed = place(blocks, job.target, job.options.seed, limit)
    if placed.offsets is None:
        place_what_pays(occupancy)
        return
    for (first, _, stay), offset in zip(listed, placed.offsets, strict=True):
        occupancy.place(stay.atom, first, offset)
