"""`cpsat`: whole tensors, exactly: which stay in fast memory when, by OR-Tools CP-SAT.

1. Quick solvers give a plan to start from; `fluid` gives a certified bound of the latency.
2. The model of `cpsat_model` decides which atoms stay for which runs of events and in which steps
   their bytes move. Its capacity is the sum of live bytes at each step.
3. Addresses come after (`cpsat_place`). Stays that provably do not fit together are cut off and
   the model is solved again (logic-based Benders); where no proof is found in time, the stays that
   find no hole are dropped. The bound of the model holds in any case.

What is proven is proven for plans that keep each tensor whole (on targets that split operands:
each range between ends of uses). Where the target lets residencies be cut smaller, a plan of
parts may be better: then the bound of `fluid` is claimed, and that for whole tensors is told in a
note and in the option `whole_bound`.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.common.units import format_time
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.hwmodels.cost import mac_energy_j
from ullage.hwmodels.traffic import compulsory
from ullage.solvers.cosma import cpsat as cpsat_cosma
from ullage.solvers.cosma import question as cosma
from ullage.solvers.exact.job import Job, new_job, work_on
from ullage.solvers.exact.model import ResidencyModel
from ullage.solvers.exact.model_size import choose_window
from ullage.solvers.exact.residencies import Run, hint, stays_of_plan
from ullage.solvers.exact.rows import LatencyCost, LinearCost
from ullage.solvers.exact.search import Outcome, forbid, search
from ullage.solvers.packing.place_exactly import blocks_of, place
from ullage.solvers.registry import SPILLING_OBJECTIVES, SolverOptions, parameters_of
from ullage.solvers.state.build_plan import Stay, assemble
from ullage.solvers.state.place import place_runs
from ullage.solvers.state.residency_state import Occupancy
from ullage.solvers.state.segments import cuts_nothing

SUMMARY = "exact for whole tensors by CP-SAT (COSMA in a free order too): anytime, with bound"
OBJECTIVES = (*SPILLING_OBJECTIVES, "peak")
DEFAULTS: Mapping[str, Any] = {
    "num_workers": 2,
    "window_steps": 0,
    "relative_gap": 1e-6,
    "hint_share": 0.25,
    "time_limit_s": 60.0,
    "order": "fixed",
    "weights": "auto",
    "space": "addresses",
    "moves": "yes",
}
RESERVE_SHARE = 0.04  # of the time, for placing and completing the plan
LEAST_RESERVE_S = 0.1
PLACE_SHARE = 0.25  # of the time left, for the search for addresses
MOST_PLACE_S = 10.0
SLACK_SHARES = (0.02, 0.05, 0.1)  # of the memory left free where addresses are the obstacle

logger = logging.getLogger(__name__)


def solve(problem: Problem, target: Target, options: SolverOptions) -> Plan:
    """The best plan of whole atoms that the time allows.

    Without a deadline it takes at most the parameter `time_limit_s`.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
        TimeLimitError: the deadline came before any plan.
        UsageError: a parameter makes no sense.
    """
    chosen = parameters_of(options, DEFAULTS)
    _check(chosen)
    if options.objective == "peak" or any(chosen[k] != DEFAULTS[k] for k in cosma.DEFAULTS):
        return cpsat_cosma.answer(problem, target, options, DEFAULTS).plan
    job = new_job(problem, target, options, chosen)
    work_on(job, _improve_if_open)
    return _finished(job)


def _improve_if_open(job: Job) -> None:
    if not job.is_closed() and job.remaining_s() > 0:
        improve(job)


def _check(chosen: Mapping[str, Any]) -> None:
    if int(chosen["num_workers"]) < 1:
        raise UsageError(f"cpsat needs 1 worker or more, not {chosen['num_workers']}")
    if int(chosen["window_steps"]) < 0:
        raise UsageError(
            f"window_steps is 0 (chosen by size) or more, not {chosen['window_steps']}"
        )
    if not 0 <= float(chosen["hint_share"]) < 1:
        raise UsageError(f"hint_share is a share from 0 to below 1, not {chosen['hint_share']}")


def improve(job: Job) -> None:
    """Solve, place, cut off what does not fit, again and again."""
    cost = _cost(job)
    window = choose_window(job.atoms, len(job.problem.steps), job.remaining_s(), job.chosen)
    if window < 1:
        return
    model = ResidencyModel(job.problem, job.target, job.atoms, cost, window)
    known = stays_of_plan(job.best[1], job.atoms) if job.best is not None else None
    proves = model.complete and not job.problem.steady_state and len(job.target.tiers) == 2
    slack = iter(SLACK_SHARES)
    repaired = False
    while not job.interrupted and job.remaining_s() > LEAST_RESERVE_S:
        if known is not None:
            hint(model, known)
        outcome = _search(job, model)
        if proves and outcome.bound is not None:
            bound = cost.bound(outcome.bound)
            job.whole_bound = max(bound, job.whole_bound or 0.0)
        if outcome.runs is None:
            return
        conflict = _place(job, outcome.runs)
        if conflict is None:
            return
        known = [stay for _, _, stay in outcome.runs]
        if conflict:
            forbid(model, conflict)
            if not repaired or job.remaining_s() < LEAST_RESERVE_S:
                repaired = True
                _offer_repaired(job, outcome.runs)
            continue
        _offer_repaired(job, outcome.runs)
        share = next(slack, None)
        if share is None or job.interrupted:
            return
        proves = False  # what follows leaves memory free for the sake of addresses
        model.limit_load(round(share * job.target.fastest.capacity_bytes))


def _cost(job: Job) -> LatencyCost | LinearCost:
    objective, problem, target = job.options.objective, job.problem, job.target
    if objective == "latency":
        horizon = job.best[0] if job.best is not None else _worst_s(job)
        return LatencyCost(problem, target, horizon)
    if objective == "traffic":
        needed = compulsory(problem, target)
        return LinearCost(
            target, objective, -round(float(needed.loads.sum() + needed.stores.sum()))
        )
    return LinearCost(target, objective, mac_energy_j(problem, target)[0])


def _worst_s(job: Job) -> float:
    """Seconds that no sensible plan exceeds: every byte of every use crosses every way."""
    rates = [link.bandwidth_bytes_per_s for link in job.target.links]
    for tier in job.target.tiers:
        rates += [tier.read_bytes_per_s] + ([] if tier.read_only else [tier.write_bytes_per_s])
    slowest = 1.0 / min(rates)
    setup = max((link.setup_s for link in job.target.links), default=0.0)
    moved = sum(3 * len(atom.events) * atom.size_bytes for atom in job.atoms)
    starts = sum(2 * len(atom.events) for atom in job.atoms)
    compute = LatencyCost(job.problem, job.target, 1.0)
    return float(compute.compute_s.sum()) + moved * slowest + starts * setup


def _search(job: Job, model: ResidencyModel) -> Outcome:
    reserve = max(LEAST_RESERVE_S, RESERVE_SHARE * job.remaining_s())
    cost = model.cost

    def report(objective: float, bound: float) -> None:
        value, least = cost.value(objective), cost.bound(bound)
        shown = (
            format_time(v) if job.options.objective == "latency" else f"{v:.6g}"
            for v in (value, least)
        )
        gap = f"{100 * (value / least - 1):.2f} %" if least > 0 else "open"
        job.options.progress("cpsat: {}, bound {}, gap {}".format(*shown, gap))

    outcome = search(
        model,
        limit_s=job.remaining_s() - reserve,
        workers=int(job.chosen["num_workers"]),
        relative_gap=float(job.chosen["relative_gap"]),
        seed=job.options.seed,
        report=report,
    )
    job.interrupted = job.interrupted or outcome.interrupted
    return outcome


def _place(job: Job, runs: Sequence[Run]) -> list[Run] | None:
    """Give a solution addresses and offer the plan.

    Returns:
        None when that worked; runs that provably do not fit together; an empty list when neither
        is known.
    """
    spans = [(s.start, s.end, job.atoms[s.atom].size_bytes) for _, _, s in runs]
    blocks = blocks_of(job.problem, job.target, spans)
    limit = min(MOST_PLACE_S, PLACE_SHARE * max(0.0, job.remaining_s()))
    placed = place(blocks, job.target, job.options.seed, limit)
    if placed.offsets is not None:
        stays = [
            replace(stay, offset=offset)
            for (_, _, stay), offset in zip(runs, placed.offsets, strict=True)
        ]
        _offer(job, stays)
        return None
    return [runs[number] for number in placed.conflict or ()]


def _offer_repaired(job: Job, runs: Sequence[Run]) -> None:
    """Drop what finds no hole and offer the rest."""
    occupancy = Occupancy(job.problem, job.target, job.atoms, job.options.objective)
    try:
        place_runs(occupancy, runs)
    except InfeasibleError as error:
        logger.info("cpsat: a solution could not be repaired: %s", error.message)
        return
    _offer(job, [stay for _, _, stay in occupancy.all_stays()])


def _offer(job: Job, stays: Sequence[Stay]) -> None:
    try:
        plan = assemble(
            job.problem,
            job.target,
            job.atoms,
            stays,
            solver="cpsat",
            objective=job.options.objective,
            seed=job.options.seed,
        )
    except InfeasibleError as error:
        logger.info("cpsat: the home tiers are too small for a solution: %s", error.message)
        return
    job.offer(plan)


def _finished(job: Job) -> Plan:
    """The best plan with its options, bounds and notes."""
    assert job.best is not None  # noqa: S101 - asked before
    value, plan = job.best
    notes = [*plan.notes, *job.notes]
    told: dict[str, Any] = {k: v for k, v in job.chosen.items() if v != DEFAULTS[k]}
    if plan.solver != "cpsat":
        notes.append(f"cpsat: the plan is that of {plan.solver}; no better one was found")
    bound, source = job.certified
    if job.whole_bound is not None and math.isfinite(job.whole_bound):
        told["whole_bound"] = job.whole_bound
        if cuts_nothing(job.problem, job.target, job.atoms):
            bound, source = max((bound, source), (job.whole_bound, "cpsat"))
        elif job.whole_bound > bound:
            above = value / job.whole_bound - 1 if job.whole_bound > 0 else math.inf
            notes.append(
                f"cpsat: no plan that keeps tensors whole is below {job.whole_bound:.6g}; this one "
                f"is {100 * max(0.0, above):.2f} % above that"
            )
    if job.interrupted:
        told["interrupted"] = True
    return replace(
        plan,
        solver="cpsat",
        objective=job.options.objective,
        seed=job.options.seed,
        options=told,
        notes=tuple(notes),
        lower_bound=bound,
        bound_source=source,
    )
