"""`cpsat`: whole tensors, exactly: which are in fast memory when, by OR-Tools CP-SAT.

1. Quick solvers give a plan to start from; `fluid` gives a certified bound of the latency.
2. The model (`model`) decides in which use spans segments are in fast memory, and in which steps
   their bytes move. Its capacity limits the sum of live bytes at each step.
3. Addresses come after (`packing.place_exactly`). Residencies that provably do not fit together are
   cut off and the model is solved again (logic-based Benders); where no proof is found in time, the
   residencies that find no hole are dropped. The bound of the model holds in any case.

Proofs hold for plans that keep each tensor whole (on targets that split operands: each range
between ends of uses). Where the target lets residencies be cut smaller, a plan of parts may be
better: then the bound of `fluid` is claimed, and the one for whole tensors is in a note and in the
statistic `whole_bound`.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.common.units import CLOSED, format_time, objective_text, percent_above
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.bounds import Bound
from ullage.hwmodels.cost import mac_energy_j
from ullage.hwmodels.traffic import compulsory
from ullage.solvers.budget import Budget
from ullage.solvers.cosma import cpsat as cpsat_cosma
from ullage.solvers.exact.job import Job, new_job, work_on
from ullage.solvers.exact.model import ResidencyModel
from ullage.solvers.exact.model_size import choose_window
from ullage.solvers.exact.options import CpsatOptions
from ullage.solvers.exact.residencies import SpanResidency, hint, residencies_of_plan
from ullage.solvers.exact.rows import LatencyCost, LinearCost
from ullage.solvers.exact.search import CpSatOutcome, forbid, search
from ullage.solvers.interface import SPILLING_OBJECTIVES, Solution, Solver
from ullage.solvers.packing.place_exactly import blocks_of, place
from ullage.solvers.state.build_plan import SegmentResidency, assemble
from ullage.solvers.state.place import place_spans
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import cuts_nothing

# Share of the time left that is kept for placing and completing the plan ...
RESERVE_SHARE = 0.04
# ... in seconds at least.
LEAST_RESERVE_S = 0.1
# Share of the time left that one search for addresses gets ...
PLACE_SHARE = 0.25
# ... in seconds at most.
MOST_PLACE_S = 10.0
# Seconds for a plan of its own where the one that it begins with is proven best already.
MOST_AGAIN_S = 5.0
# Shares of the memory that are left free, one after the other, where no addresses are found.
SLACK_SHARES = (0.02, 0.05, 0.1)

logger = logging.getLogger(__name__)


def solve(problem: Problem, options: CpsatOptions, budget: Budget) -> Solution:
    """The best plan of whole segments that the time allows.

    Without a deadline it takes at most the parameter `time_limit_s`.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
        TimeLimitError: the deadline came before any plan.
        UsageError: the parameters ask for COSMA's problem, and the target is not of its kind.
    """
    if problem.objective == "peak" or options.asks_for_cosma:
        return cpsat_cosma.answer(problem, options, budget, options.num_workers).solution
    job = new_job("cpsat", problem, budget, options.time_limit_s)

    def improve_if_open(job: Job) -> None:
        if job.is_closed() and options.own_plan:
            job.budget = job.budget.at_most(MOST_AGAIN_S)
        elif job.is_closed():
            return
        if not job.budget.is_over():
            improve(job, options)

    work_on(job, options.hint_share, improve_if_open)
    if options.own_plan:
        job.keep_own()
    return _finished(job)


def improve(job: Job, options: CpsatOptions) -> None:
    """Solve the model, place its solution, cut off what does not fit, until one is placed."""
    cost = _cost(job)
    steps = len(job.problem.steps)
    window = choose_window(job.segments, steps, job.remaining_s(), options.window_steps)
    if window < 1:
        return
    model = ResidencyModel(job.problem, job.segments, cost, window)
    known = residencies_of_plan(job.best[1], job.segments) if job.best is not None else None
    proves = model.complete and not job.problem.steady_state and len(job.target.tiers) == 2
    slack = iter(SLACK_SHARES)
    repaired = False
    while not job.interrupted and job.remaining_s() > LEAST_RESERVE_S:
        if known is not None:
            hint(model, known)
        outcome = _search(job, options, model)
        if proves and outcome.bound is not None:
            bound = cost.bound(outcome.bound)
            job.whole_bound = max(bound, job.whole_bound or 0.0)
        if outcome.spans is None:
            return
        conflict = _place(job, options, outcome.spans)
        if conflict is None:
            return
        known = [residency for _, _, residency in outcome.spans]
        if conflict:
            forbid(model, conflict)
            if not repaired or job.remaining_s() < LEAST_RESERVE_S:
                repaired = True
                _offer_repaired(job, outcome.spans)
            continue
        _offer_repaired(job, outcome.spans)
        share = next(slack, None)
        if share is None or job.interrupted:
            return
        proves = False  # what follows leaves memory free for the sake of addresses
        model.limit_load(round(share * job.target.fastest.capacity_bytes))


def _cost(job: Job) -> LatencyCost | LinearCost:
    """The objective of the model."""
    objective, problem, target = job.problem.objective, job.problem, job.target
    if objective == "latency":
        horizon = job.best[0] if job.best is not None else _worst_s(job)
        return LatencyCost(problem, horizon)
    if objective == "traffic":
        needed = compulsory(problem)
        return LinearCost(
            target, objective, -round(float(needed.loads.sum() + needed.stores.sum()))
        )
    return LinearCost(target, objective, mac_energy_j(problem)[0])


def _worst_s(job: Job) -> float:
    """Seconds that no sensible plan exceeds: every byte of every use takes the slowest way."""
    rates = [link.bandwidth_bytes_per_s for link in job.target.links]
    for tier in job.target.tiers:
        rates += [tier.read_bytes_per_s] + ([] if tier.read_only else [tier.write_bytes_per_s])
    slowest = 1.0 / min(rates)
    setup = max((link.setup_s for link in job.target.links), default=0.0)
    moved = sum(3 * len(segment.accesses) * segment.size_bytes for segment in job.segments)
    starts = sum(2 * len(segment.accesses) for segment in job.segments)
    compute = LatencyCost(job.problem, 1.0)
    return float(compute.compute_s.sum()) + moved * slowest + starts * setup


def _search(job: Job, options: CpsatOptions, model: ResidencyModel) -> CpSatOutcome:
    """Run CP-SAT on the model in the time left, less what placing needs."""
    reserve = max(LEAST_RESERVE_S, job.budget.share(RESERVE_SHARE).remaining_s())
    cost = model.cost

    def report(objective: float, bound: float) -> None:
        value, least = cost.value(objective), cost.bound(bound)
        shown = (
            format_time(v) if job.problem.objective == "latency" else f"{v:.6g}"
            for v in (value, least)
        )
        gap = f"{100 * (value / least - 1):.2f} %" if least > 0 else "open"
        job.budget.progress("cpsat: {}, bound {}, gap {}".format(*shown, gap))

    outcome = search(
        model,
        limit_s=job.remaining_s() - reserve,
        workers=options.workers,
        relative_gap=options.relative_gap,
        seed=options.seed,
        report=report,
    )
    job.interrupted = job.interrupted or outcome.interrupted
    job.cut_short = job.cut_short or not (outcome.optimal or outcome.infeasible)
    return outcome


def _place(
    job: Job, options: CpsatOptions, spans: Sequence[SpanResidency]
) -> list[SpanResidency] | None:
    """Give a solution addresses and offer the plan.

    Returns:
        None when that worked; residencies that provably do not fit together; an empty list when
        neither is known.
    """
    rectangles = [(s.start, s.end, job.segments[s.segment].size_bytes) for _, _, s in spans]
    blocks = blocks_of(job.problem, rectangles)
    limit = min(MOST_PLACE_S, max(0.0, job.budget.share(PLACE_SHARE).remaining_s()))
    placed = place(blocks, job.target, options.seed, limit)
    if placed.offsets is not None:
        residencies = [
            replace(residency, offset=offset)
            for (_, _, residency), offset in zip(spans, placed.offsets, strict=True)
        ]
        _offer(job, residencies)
        return None
    return [spans[number] for number in placed.conflict or ()]


def _offer_repaired(job: Job, spans: Sequence[SpanResidency]) -> None:
    """Drop what finds no hole and offer the rest."""
    state = ResidencyState(job.problem, job.segments)
    try:
        place_spans(state, spans)
    except InfeasibleError as error:
        logger.info("cpsat: a solution could not be repaired: %s", error.message)
        return
    _offer(job, [residency for _, _, residency in state.all_residencies()])


def _offer(job: Job, residencies: Sequence[SegmentResidency]) -> None:
    """Complete a placed solution and offer it to the job."""
    try:
        plan = assemble(job.problem, job.segments, residencies)
    except InfeasibleError as error:
        logger.info("cpsat: the home tiers are too small for a solution: %s", error.message)
        return
    job.offer(plan, "cpsat")


def _finished(job: Job) -> Solution:
    """The best plan with its bounds and notes."""
    assert job.best is not None  # noqa: S101 - asked before
    value, plan = job.best
    notes = list(job.notes)
    if job.maker != "cpsat":
        notes.append(f"cpsat: the plan is that of {job.maker}; no better one was found")
    bound = job.certified
    statistics: dict[str, float] = {}
    if job.whole_bound is not None and math.isfinite(job.whole_bound):
        statistics["whole_bound"] = job.whole_bound
        if cuts_nothing(job.problem, job.segments):
            bound = max(bound, Bound(job.whole_bound, "cpsat"), key=lambda b: b.value)
        elif job.whole_bound > bound.value:
            notes.append(_whole_note(value, job.whole_bound, job.problem.objective))
    return Solution(
        plan,
        bound,
        job.stop_reason,
        notes=tuple(notes),
        statistics=statistics,
        made_by=job.maker,
    )


def _whole_note(value: float, bound: float, objective: str) -> str:
    """How far a plan is from the bound of the plans that keep tensors whole.

    Args:
        value: the plan's, in the objective's unit.
        bound: above 0.
        objective: what is minimised.
    """
    above = max(0.0, value / bound - 1)
    this = "is one of the best of these" if above <= CLOSED else f"is {percent_above(above)} above"
    return (
        f"cpsat: no plan that keeps every tensor whole has less than "
        f"{objective_text(bound, objective)} of {objective}, and this one {this}. The lower bound "
        "of the summary is another: it holds for plans that cut tensors, too"
    )


SOLVER = Solver(
    "cpsat",
    "exact for whole tensors by CP-SAT (COSMA in a free order too): anytime, with bound",
    solve,
    CpsatOptions,
    (*SPILLING_OBJECTIVES, "peak"),
    chooses_order=True,
)
