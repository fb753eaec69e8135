"""`--schedule`: in which parts operators run, by name, from a file, or as an object.

`cascade` and `agent` are searched for inside the order that was chosen, behind the plan of whole
operators; cascades also where no schedule is named and nothing speaks against it (`why_whole`). A
schedule that somebody made is planned as it is, also one that a plan names.
"""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ullage.compiler.common.errors import InfeasibleError, TimeLimitError, UsageError, located
from ullage.compiler.common.files import MAX_READ_BYTES, read_file
from ullage.compiler.common.json_files import json_value
from ullage.compiler.common.units import percent_above
from ullage.compiler.driver.options import AGENT, DEFAULT_SOLVER, SEARCHED, WHOLE, CompileOptions
from ullage.compiler.driver.result import Compiled, gap_of
from ullage.compiler.frontend import Ordering, Prepared, in_order
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.part_names import operator_name
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.plan_json import load_plan
from ullage.compiler.ir.schedule import Schedule, check_schedule
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.orders import planned_order
from ullage.compiler.lowering.tiling.allowed import check_tiles, with_allowed_cuts
from ullage.compiler.verify.reach.check import verify_reach
from ullage.hwmodels.bounds import order_free_bound
from ullage.solvers.budget import Budget
from ullage.solvers.paths.streaming import streaming_capacities
from ullage.solvers.state.infeasibility import capacity_options

if TYPE_CHECKING:
    from ullage.solvers.scheduling.cascade.search import CascadeResult

# A plan of whole operators so near to what no order and no parts fall below leaves nothing to gain.
NEEDLESS_GAP = 1e-3
# What to ask for instead where the peak has no cascades.
SMALLER = "--then peak --within 5% makes their fastest plan smaller"


def is_searched(options: CompileOptions, target: Target) -> bool:
    """Whether cascades are to be searched for, behind the plan of whole operators."""
    if options.schedule is None:
        return not why_whole(options, target)
    return options.schedule in SEARCHED


def with_found_states(options: CompileOptions, prepared: Prepared) -> CompileOptions:
    """The options without `states` where none were found: the model is planned as any other."""
    if options.states and not prepared.graph.states:
        return replace(options, states=())
    return options


def why_whole(options: CompileOptions, target: Target) -> str:
    """Why operators run whole where no schedule is named; empty where cascades are searched for."""
    if options.states:
        return "tensors live from one inference to the next (--state)"
    if not target.tile_axes:
        return f"{target.name} does not run them in parts (tiles.allowed)"
    if options.minimised == "peak" and target.must_be_fastest("weight"):
        fastest = target.fastest.name
        return f"--objective peak has no cascades where weights must be in {fastest}; {SMALLER}"
    if options.slower_by is not None and target.dma_steps.between:
        fastest = target.fastest.name
        return f"--slower-by has no cascades where operands must be in {fastest}; {SMALLER}"
    if options.solver != DEFAULT_SOLVER:
        return f"--solver {options.solver} takes them so (--schedule cascade searches for cascades)"
    return ""


def whole_by_default(command: str, options: CompileOptions, target: Target) -> str:
    """Why a study runs operators whole where no schedule is named, as `compile` need not.

    Args:
        command: the study.
        options: how it compiles.
        target: the chip.

    Returns:
        The reason for which `compile` would run them whole, too, or that it would not.
    """
    named = replace(options, schedule=None, solver=DEFAULT_SOLVER)
    return why_whole(named, target) or (
        f"{command} runs them so unless --schedule cascade is given; compile searches for cascades"
    )


def check_searchable(options: CompileOptions, target: Target) -> None:
    """Check that cascades can be searched for.

    Raises:
        UsageError: the target allows no parts, or not for this objective, or the checkpoint of the
            agent cannot be read.
    """
    if options.states:
        raise UsageError(
            "operators run whole where tensors live from one inference to the next (--state): use "
            "--schedule whole"
        )
    if options.schedule == AGENT:
        from ullage.rl_agent.schedule.agent import check_playable
        from ullage.rl_agent.schedule.network import network_in

        check_playable(options.minimised)
        network_in(options.schedule_agent)  # now, not behind the plan of whole operators
    if not target.tile_axes:
        raise UsageError(
            f"operators run whole on {target.name}: use --schedule whole, another target, "
            "or --set tiles.allowed=true"
        )
    if options.minimised == "peak" and target.must_be_fastest("weight"):
        raise UsageError(
            f"--objective peak --schedule cascade is for targets whose operators read weights in "
            f"slower memory; {target.name} needs them in {target.fastest.name}: use "
            "--schedule whole, or compile for latency and less memory (--fast-memory)"
        )
    if options.slower_by is not None and target.dma_steps.between:
        raise UsageError(
            f"--slower-by --schedule cascade is for targets whose operators read operands in any "
            f"memory; {target.name} needs them in {target.fastest.name}: use --schedule whole, or "
            "leave --slower-by out"
        )


def why_needless(plain: Compiled) -> str:
    """Why cascades are not searched for beside a plan of whole operators; empty where they are.

    Parts move at least the compulsory bytes, too, and compute as much (or a little less, where
    blocks of a unit fit them better).
    """
    if plain.plan.objective == "peak":
        return ""
    gap = gap_of(plain.value, order_free_bound(plain.plan.problem))
    if gap is None or gap > NEEDLESS_GAP:
        return ""
    return (
        f"computing, or moving each byte once, takes as long but for {percent_above(gap)}, so no "
        "parts were searched for"
    )


def scheduled(prepared: Prepared, options: CompileOptions, deadline: float | None) -> Prepared:
    """A prepared model in the schedule that the options name.

    Args:
        prepared: the model with whole operators.
        options: how to compile.
        deadline: `time.monotonic()` value at which the whole job ends, None for never.

    Raises:
        VerificationError: what a part reads is less than it needs: the importer is wrong.
        UsageError: the file holds no schedule of this model, or one that the target does not
            allow; or the target allows no parts.
        InfeasibleError: an operator has no part that fits where all of its operands must.
        TimeLimitError: no schedule that fits was found while there was time to plan it.
    """
    searched = is_searched(options, prepared.target)
    runs_whole = options.schedule == WHOLE or (options.schedule is None and not searched)
    if runs_whole or not prepared.graph.operators:
        return prepared
    begun = time.monotonic()
    order = planned_order(prepared.graph, prepared.model)
    if searched:
        try:
            found = _chosen(prepared, order, options, Budget(deadline, options.progress))
        except TimeLimitError as error:
            spent = phases_text(replace(prepared, schedule_s=time.monotonic() - begun))
            left = f"the time limit{limit_text(prepared, options)} leaves no time for a schedule"
            if options.time_limit_s is None:
                left = "the seconds that it has without a time limit did not suffice for a schedule"
            raise TimeLimitError(
                f"{left} that fits ({spent}): {error.message}; give {_more(prepared, error)}",
                error.details,
            ) from error
        schedule, is_cut_short = found.schedule, found.is_cut_short
        if schedule.is_whole:
            return replace(prepared, schedule_s=time.monotonic() - begun)
    else:
        given, is_cut_short = options.schedule, False
        schedule = (
            given
            if isinstance(given, Schedule)
            else read_schedule(Path(str(given)), prepared.graph)
        )
        check_schedule(schedule, prepared.graph)
        check_tiles(schedule, prepared.graph, prepared.target)
    cut = in_order(
        prepared.graph,
        prepared.target,
        Ordering(order, prepared.notes),
        options.frontend,
        path=prepared.model["path"],
        started=prepared.started,
        schedule=schedule,
    )
    limit_s = prepared.problem.latency_limit_s
    if limit_s is not None:
        cut = replace(cut, problem=cut.problem.within(limit_s))
    notes = prepared.notes
    if prepared.geometry is not None:
        remark = verify_reach(prepared.geometry, cut.graph, cut.problem.program).remark
        notes = (*notes, remark) if remark else notes
    return replace(
        cut,
        notes=notes,
        import_s=prepared.import_s,
        order_s=prepared.order_s,
        schedule_s=time.monotonic() - begun,
        other=prepared if searched else None,
        is_cut_short=is_cut_short,
        limit_s=prepared.limit_s,
    )


def as_found_in_time(
    error: InfeasibleError, cut: Prepared, options: CompileOptions
) -> InfeasibleError | TimeLimitError:
    """The error where a schedule has no plan: of time, where a longer search finds other schedules.

    An operator of which not even the smallest part fits has no plan in any schedule.

    Args:
        error: what refused the schedule.
        cut: the model in the schedule.
        options: how to compile.
    """
    if not cut.is_cut_short or _holds_for_any_parts(error, cut):
        return error
    remedies = ["--time-limit", *error.details.get("remedies", ())]
    return TimeLimitError(
        "found no plan in time: in the schedule that the time limit"
        f"{limit_text(cut, options)} left, "
        f"{error.message}, or search for longer (--time-limit)",
        {**error.details, "remedies": remedies, "proven": False},
    )


def with_less_memory(parts: InfeasibleError, whole: InfeasibleError) -> InfeasibleError:
    """The refusal of parts with the memory in which operators run whole, where that is less.

    Parts may read more than the whole operator does, where its operands are made along other axes.

    Args:
        parts: what refused a schedule of parts.
        whole: what refused whole operators on the same target.
    """
    one, other = parts.details, whole.details
    needed, least = one.get("needed_bytes"), other.get("needed_bytes")
    if one.get("tier") != other.get("tier") or needed is None or least is None or least >= needed:
        return parts
    old, new = f"--fast-memory {needed}", f"--fast-memory {least}"
    return InfeasibleError(
        parts.message.replace(old, f"{new}: less is enough for whole operators"),
        {
            **one,
            "needed_bytes": least,
            "excess_bytes": least - one["available_bytes"],
            "remedies": [new if remedy == old else remedy for remedy in one["remedies"]],
        },
    )


def _holds_for_any_parts(error: InfeasibleError, cut: Prepared) -> bool:
    """Whether what refused a schedule refuses every other one of the model."""
    from ullage.solvers.scheduling.cascade.fitting import least_bytes

    if "operator" not in error.details:  # a home too small for what lies there in any schedule
        return bool(error.details.get("proven", False))
    fastest = cut.target.fastest
    operator = cut.problem.steps[int(error.details["step"])].operator
    if error.details["tier"] != fastest.name or operator < 0:
        return False
    return (
        least_bytes(cut.graph, cut.graph.operators[operator], cut.target) > fastest.capacity_bytes
    )


def _more(prepared: Prepared, error: TimeLimitError) -> str:
    """The memory or the time to give where a search for parts that fit had too little of both.

    Args:
        prepared: the model with whole operators.
        error: of the search, with the seconds that it would have taken at least.
    """
    sizes = streaming_capacities(prepared.problem)
    options = capacity_options(prepared.target, sizes)
    memory = f"whole operators more memory ({options})" if options else "more memory"
    least_s = error.details.get("least_s")
    if least_s is None:
        return f"{memory} or more time (--time-limit)"
    seconds = math.ceil(time.monotonic() - prepared.started + least_s)
    return f"{memory} or more time (--time-limit, at least {seconds})"


def limit_text(prepared: Prepared, options: CompileOptions) -> str:
    """The time limit as a text, " of 4 s", with the share of it that the options leave.

    Args:
        prepared: the model, with the limit of the job.
        options: how to compile, with the limit of this part of the job.
    """
    own_s = options.time_limit_s
    if own_s is None:
        return ""
    job_s = own_s if prepared.limit_s is None else prepared.limit_s
    part = f" ({own_s:.3g} s of it allotted to this part)" if own_s < job_s else ""
    return f" of {job_s:.3g} s{part}"


def phases_text(prepared: Prepared) -> str:
    """The seconds of each phase since the job began; what is no other phase is start-up."""
    phases_s = prepared.import_s + prepared.order_s + prepared.schedule_s
    other_s = max(0.0, time.monotonic() - prepared.started - phases_s)
    schedule = f", choosing a schedule {prepared.schedule_s:.2f} s" if prepared.schedule_s else ""
    return (
        f"reading the model took {prepared.import_s:.2f} s, choosing the order "
        f"{prepared.order_s:.2f} s{schedule}, start-up and all else {other_s:.2f} s"
    )


def read_schedule(path: Path, graph: Graph) -> Schedule:
    """The schedule of a graph in a JSON file, or that of a plan in one.

    Raises:
        UsageError: the file cannot be read, or holds none; says where.
    """
    if not path.exists():
        raise UsageError(
            f"--schedule {path}: there is no such file; it takes whole, cascade, agent, a "
            "schedule's JSON file, or a plan.json"
        )
    data = read_file(path, MAX_READ_BYTES)
    try:
        document = json_value(data)
    except ValueError as error:
        raise UsageError(f"{path}: no JSON document: {error}") from error
    if isinstance(document, dict) and "format_version" in document:
        document = _schedule_of_plan(load_plan(data, str(path)), path, graph)
    with located(path):
        return Schedule.from_json(document, [operator.name for operator in graph.operators])


def _schedule_of_plan(plan: Plan, path: Path, graph: Graph) -> object:
    """The schedule that a plan names, as its file has it.

    Raises:
        UsageError: its operators run whole, or are others than the graph's.
    """
    names = [operator.name for operator in graph.operators]
    for step in plan.problem.steps:
        if step.operator < 0:  # DMA only
            continue
        name = operator_name(step)
        known = names[step.operator] if step.operator < len(names) else None
        if name != known:
            there = "not there" if known is None else repr(known)
            raise UsageError(
                f"{path}: a plan of another model, or of other fusion groups: its operator "
                f"{step.operator} is {name!r}, that of {graph.name} is {there}"
            )
    if "schedule" not in plan.model:
        raise UsageError(
            f"{path}: the operators of this plan run whole, so that it names no schedule; plan "
            "with --schedule whole"
        )
    return plan.model["schedule"]


def _chosen(
    prepared: Prepared, order: tuple[int, ...], options: CompileOptions, budget: Budget
) -> "CascadeResult":
    """The schedule that the search finds in its share of the time."""
    from ullage.solvers import kept_weights
    from ullage.solvers.scheduling.cascade.search import schedule_until
    from ullage.solvers.scheduling.cascade.two_tiers import with_two_tiers
    from ullage.solvers.scheduling.cascade.valued import SchedulingTask

    check_searchable(options, prepared.target)
    target = kept_weights.reduce(prepared.problem).target  # what the search judges groups by
    options.progress("choosing cascades")
    # What shares bytes is decided as for the plan: alignments of other tiers count there.
    task = SchedulingTask(
        graph=with_allowed_cuts(prepared.graph, prepared.target),
        order=order,
        target=target if options.minimised == "peak" else with_two_tiers(target),
        aliases=alias_options(prepared.target, alias=options.alias),
        steady_state=options.steady_state,
        objective=options.minimised,
        seed=options.seed,
        budget=budget,
        limit_s=prepared.problem.latency_limit_s,
    )
    if options.schedule == AGENT:
        from ullage.rl_agent.schedule.agent import agent_until

        return agent_until(task, options.schedule_agent)
    return schedule_until(task)
