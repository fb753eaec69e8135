"""`divide`: whole tensors, part by part: for problems too long for one exact solve.

1. Quick solvers give a plan, `fluid` a certified bound of the whole.
2. The steps are cut where few bytes are alive. Each part is solved by `cpsat` with what the plan
   keeps across its ends pinned (`parts`), and its plan replaces the old one there where the whole
   gets better by the cost model.
3. Then windows around each border of two parts are solved the same way: what was stored before a
   border and fetched behind it can be kept. Parts and borders take turns until neither gains, or
   the time ends.

       steps        0         10        20        30
       parts        |====0====|====1====|====2====|
       borders           |----0----|----1----|

Where operators reach some tensors in the fastest tier only, and so must wait for their transfers,
the times of these are searched for before, from several seeds.

Only what the cost model finds better is taken, so the plan is never worse than the quick ones. The
bound is that of the whole problem: parts with their ends pinned bound nothing.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.problem import Problem
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.bounds import Bound
from ullage.solvers.budget import Budget
from ullage.solvers.decomposition.parts import narrow_cuts, part_of
from ullage.solvers.exact import cpsat
from ullage.solvers.exact.job import Job, new_job, search_fetches, work_on
from ullage.solvers.exact.options import CpsatOptions
from ullage.solvers.exact.residencies import residencies_of_plan
from ullage.solvers.interface import Solution, Solver
from ullage.solvers.packing.place_exactly import blocks_of, place
from ullage.solvers.parameters import parameter
from ullage.solvers.state.build_plan import SegmentResidency, assemble, with_accesses
from ullage.solvers.state.greedy_moves import keep_what_pays
from ullage.solvers.state.place import place_what_pays
from ullage.solvers.state.prefetch import has_fetches
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import segments_of

# Share of the time left that is kept for placing and checking the plan after a part.
RESERVE_SHARE = 0.05
# Seconds without which solving a part is not begun.
LEAST_S = 0.3
# Seconds at most of one search for addresses with proof ...
PLACE_S = 1.0
# ... and the share of the time left that it takes at most.
PLACE_SHARE = 0.1
# Steps around an access within which a repaired residency is filled and spilled.
REPAIR_WINDOW_STEPS = 64
# Searches for times of fetches that gain nothing, one after the other, before it ends.
IDLE_SEARCHES = 4
# Number of passes over parts or borders, or of searches for times of fetches, at most.
PASSES = 50

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DivideOptions:
    """Parameters of `divide`."""

    num_workers: int = parameter(2, "threads of CP-SAT", least=1, most=256)
    part_operators: int = parameter(40, "operators of a part, about", least=4)
    hint_share: float = parameter(
        0.25,
        "share of the time for the quick solvers whose plan it starts from",
        least=0,
        most=0.99,
    )
    time_limit_s: float = parameter(60.0, "seconds where there is no other limit", least=0)
    own_plan: bool = parameter(
        False, "its own plan, even where one that it is held against or begins with is better"
    )
    seed: int = parameter(0, "of the search")


@dataclass
class _Counts:
    """How many parts were solved, and how many of their plans were taken."""

    solved: int = 0
    taken: int = 0


def solve(problem: Problem, options: DivideOptions, budget: Budget) -> Solution:
    """The best plan of whole segments found part by part.

    Without a deadline it takes at most the parameter `time_limit_s`.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
        TimeLimitError: the deadline came before any plan.
    """
    job = new_job("divide", problem, budget, options.time_limit_s)
    counts = _Counts()

    def improve(job: Job) -> None:
        if job.best is not None:
            _improve(job, options, counts)

    work_on(job, options.hint_share, improve)
    if options.own_plan:
        job.keep_own()
    assert job.best is not None  # noqa: S101 - else `work_on` raises
    notes = tuple(job.notes)
    if job.maker != "divide":
        notes += (f"divide: the plan is that of {job.maker}; no part of it was improved",)
    return Solution(
        job.best[1],
        job.certified,
        job.stop_reason,
        notes=notes,
        statistics={"parts_solved": counts.solved, "parts_taken": counts.taken},
        made_by=job.maker,
    )


def _improve(job: Job, options: DivideOptions, counts: _Counts) -> None:
    """Solve parts, then windows around their borders, in turn; count those solved, and taken."""
    problem, target = job.problem, job.target
    homes = {target.home(segment.kind).name for segment in job.segments if segment.size_bytes}
    if len(target.tiers) != 2 or len(homes) != 1:
        job.notes.append("divide: parts are not cut on targets with more than two tiers or homes")
        return
    if has_fetches(problem, job.segments):
        _search_fetches(job, options)
    cuts = narrow_cuts(
        problem, job.segments, options.part_operators, at_dma=target.dma_steps.between > 0
    )
    parts = [(max(0, a - 1), min(len(problem.steps), b + 1)) for a, b in pairwise(cuts)]
    borders = [
        ((a + b) // 2, (b + c) // 2) for a, b, c in zip(cuts, cuts[1:], cuts[2:], strict=False)
    ]
    for number in range(PASSES):
        spans = parts if number % 2 == 0 else borders
        gained = 0
        for at, span in enumerate(spans):
            left = job.budget.share(1 - RESERVE_SHARE).remaining_s()
            if job.is_closed():
                return
            if left < LEAST_S:
                job.cut_short = True
                return
            following = len(borders) if number == 0 else 0
            share = left / (len(spans) - at + following)
            done = f"part {at + 1} of {len(spans)}, {counts.taken} improved"
            job.budget.progress(f"divide: {'parts' if spans is parts else 'borders'}, {done}")
            counts.solved += 1
            gained += _solve_part(job, options, span, max(LEAST_S, share))
        counts.taken += gained
        if not gained and (number or not borders):
            break


def _search_fetches(job: Job, options: DivideOptions) -> None:
    """Search for times of mandatory transfers until several searches in a row gain nothing.

    Parts alone would not do: what the plan fetches for steps beyond a part takes link time inside
    it, and a part can only say that operators read as many bytes at home, where these may not.
    """
    idle = 0
    for number in range(1, PASSES + 1):
        if job.is_closed() or job.budget.share(1 - RESERVE_SHARE).remaining_s() < LEAST_S:
            return
        job.budget.progress(f"divide: search {number} for times of fetches")
        found = search_fetches(job, job.budget.share(1 - RESERVE_SHARE), options.seed + number)
        idle = 0 if found else idle + 1
        if idle == IDLE_SEARCHES:
            return


def _solve_part(job: Job, options: DivideOptions, span: tuple[int, int], limit_s: float) -> bool:
    """Solve the steps of a span within the best plan; whether the whole got better."""
    assert job.best is not None  # noqa: S101 - asked before
    residencies = residencies_of_plan(job.best[1], job.segments)
    if residencies is None:
        return False
    part = part_of(job.problem, job.segments, residencies, span)
    if not part.segments:
        return False
    # Bounds of a whole problem do not hold for a part: some data of its outputs is at home already.
    none = Bound(0.0, "none")
    segments = segments_of(part.problem)
    limited = job.budget.at_most(limit_s).for_member()
    inner = Job("divide", part.problem, segments, limited, none, none)
    try:
        inner.offer(
            assemble(part.problem, segments, part.residencies_of_part(residencies)), "divide"
        )
        begun = inner.best[0] if inner.best is not None else math.inf
        cpsat.improve(inner, CpsatOptions(num_workers=options.num_workers, seed=options.seed))
    except InfeasibleError as error:
        logger.info("divide: a part cannot be planned: %s", error.message)
        return False
    if inner.interrupted:
        raise KeyboardInterrupt
    job.cut_short = job.cut_short or inner.cut_short
    solved = None if inner.best is None else residencies_of_plan(inner.best[1], segments)
    if solved is None or inner.best is None or inner.best[0] >= begun:
        return False
    before = job.best[0]
    stitched = part.residencies_of_whole(solved)
    for mends in (False, True):
        _offer(job, options, stitched, mends=mends)
    return job.best[0] < before


def _offer(
    job: Job, options: DivideOptions, residencies: Sequence[SegmentResidency], *, mends: bool
) -> None:
    """Give a stitched plan addresses and offer it; `mends`: close gaps across its borders first."""
    state = ResidencyState(job.problem, job.segments)
    state.replace_all(with_accesses(job.segments, residencies))
    if mends:
        hides = job.problem.objective == "latency"
        keep_what_pays(state, REPAIR_WINDOW_STEPS, job.budget, hides=hides)
    try:
        _place(job, options, state)
        plan = assemble(
            job.problem, job.segments, [residency for _, _, residency in state.all_residencies()]
        )
    except InfeasibleError as error:
        logger.info("divide: a stitched plan has no addresses: %s", error.message)
        return
    violations = find_violations(plan, limit=1)
    if violations:  # a defect, but one that the plan so far makes good
        job.notes.append(f"divide: a stitched plan is illegal: {violations[0].message}")
        logger.warning("%s", job.notes[-1])
        return
    job.offer(plan, "divide")


def _place(job: Job, options: DivideOptions, state: ResidencyState) -> None:
    """Addresses for everything, with proof where it is quick; else the least valuable is dropped.

    Raises:
        InfeasibleError: what operators cannot do without has no place.
    """
    listed = state.all_residencies()
    spans = [(s.start, s.end, job.segments[s.segment].size_bytes) for _, _, s in listed]
    blocks = blocks_of(job.problem, spans)
    limit = min(PLACE_S, max(0.0, job.budget.share(PLACE_SHARE).remaining_s()))
    placed = place(blocks, job.target, options.seed, limit)
    if placed.offsets is None:
        place_what_pays(state)
        return
    for (first, _, residency), offset in zip(listed, placed.offsets, strict=True):
        state.place(residency.segment, first, offset)


SOLVER = Solver(
    "divide",
    "whole tensors part by part: cut at narrow points, solve by cpsat, mend the borders",
    solve,
    DivideOptions,
)
