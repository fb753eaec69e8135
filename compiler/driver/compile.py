"""The main job: model -> graph -> order -> problem -> plan, verified and scored."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ullage.compiler.common.errors import InfeasibleError, TimeLimitError, UsageError
from ullage.compiler.driver.anytime import Improvement, joined, trace_of
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import DMA_STEP, Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import NO_ALIASES, AliasOptions
from ullage.compiler.lowering.lower import build_problem
from ullage.compiler.verify.verifier import verify
from ullage.hwmodels.bounds import Bound, live_bytes_bound, order_free_bound
from ullage.hwmodels.catalog.registry import DEFAULT_TARGET, load_target
from ullage.hwmodels.cost import Score, objective_value, score
from ullage.hwmodels.replay.replay import Simulation, simulate
from ullage.solvers.registry import Solver, SolverOptions, find_solver, solvers_for
from ullage.solvers.scheduling.peak_order import memory_order, model_order

if TYPE_CHECKING:
    import onnx

OBJECTIVES = ("latency", "traffic", "energy", "peak")
JOINT = "joint"
ORDERS = {"model": model_order, "memory": memory_order}  # and JOINT, which needs the target
OTHER_SHARE = 0.4  # of the time: for the plan of the file's order beside that of the joint one
OPTIMAL_GAP = 1e-9
SHORT_STEPS = 4000  # programs of which `all-slow` takes less than first imports do
CLOSING_SHARE = 3.0  # verifying, scoring and replaying a plan, in runs of `all-slow`


@dataclass(frozen=True)
class CompileOptions:
    """What can be asked of `compile_model`; the command line has the same options.

    Attributes:
        target: name or file of a target.
        solver: name of a solver.
        objective: `latency`, `traffic`, `energy` or `peak`.
        fast_memory_bytes: capacity of the fastest tier instead of the target's.
        order: `model` (as the file lists operators), `memory` (smallest peak) or `joint` (with the
            assignment, for the objective and the target).
        dims: values of symbolic dimensions.
        batch: value of symbolic first dimensions.
        dtype: plan floating-point tensors as this type.
        fuse: form fusion groups.
        alias: let values share bytes.
        steady_state: inferences follow one another for ever; weights may stay between them.
        overrides: target fields to override (`--set`).
        parameters: the solver's own parameters.
        time_limit_s: wall-clock limit of the whole job.
        seed: seed of everything random.
        progress: called with a short text at each stage.
    """

    target: str = DEFAULT_TARGET
    solver: str = "auto"
    objective: str = "latency"
    fast_memory_bytes: int | None = None
    order: str = "model"
    dims: Mapping[str, int] = field(default_factory=dict)
    batch: int | None = None
    dtype: str | None = None
    fuse: bool = True
    alias: bool = True
    steady_state: bool = False
    overrides: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    time_limit_s: float | None = None
    seed: int = 0
    progress: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class Compiled:
    """A verified plan with everything that is known about it.

    Attributes:
        plan: the plan.
        score: by the cost model.
        simulation: the event-driven replay.
        bound: certified lower bound of the objective.
        all_slow: score of the reference plan with everything in its home tier, None where the
            home tiers are too small for that.
        fallbacks: what was costed by a fallback, as text.
        asked: name of the solver that was asked for.
        import_s: seconds spent reading the model.
        solve_s: seconds spent solving.
        total_s: seconds in all.
        interrupted: the user interrupted the search; this is the best plan until then.
        anytime: (seconds of solving, value of the best plan so far) at every improvement.
        graph: the model as imported (types and shapes of its values), where there is one.
    """

    plan: Plan
    score: Score
    simulation: Simulation
    bound: Bound
    all_slow: Score | None
    fallbacks: tuple[str, ...]
    asked: str
    import_s: float
    solve_s: float
    total_s: float
    interrupted: bool = False
    anytime: tuple[Improvement, ...] = ()
    graph: Graph | None = None

    @property
    def value(self) -> float:
        """The objective's value in its own unit."""
        return objective_value(self.score, self.plan.objective)

    @property
    def gap(self) -> float | None:
        """Value / bound - 1; None where the bound is zero and the value is not."""
        if self.bound.value > 0:
            return max(0.0, self.value / self.bound.value - 1)
        return 0.0 if self.value <= 0 else None

    @property
    def is_optimal(self) -> bool:
        """Whether the bound proves that no plan of this order is better."""
        return self.gap is not None and self.gap <= OPTIMAL_GAP


@dataclass(frozen=True)
class Prepared:
    """A model ready to be solved, on one target."""

    graph: Graph
    problem: Problem
    target: Target
    model: Mapping[str, Any]
    import_s: float
    started: float
    notes: tuple[str, ...] = ()
    other: "Prepared | None" = None  # in the file's order: nothing may be worse than its plan


def prepare(model: "Path | onnx.ModelProto", options: CompileOptions) -> Prepared:
    """Read a model and a target and build the problem.

    Raises:
        ModelError: the model cannot be read.
        UsageError: an option or the target is wrong.
    """
    from ullage.compiler.importer.build import ImportOptions, import_model

    started = time.monotonic()
    if options.objective not in OBJECTIVES:
        raise UsageError(
            f"unknown objective {options.objective!r}; there are: {', '.join(OBJECTIVES)}"
        )
    order = None if options.order == JOINT else find_order(options.order)
    target = load_target(options.target, options.overrides)
    if options.fast_memory_bytes is not None:
        target = target.with_fast_memory(options.fast_memory_bytes)
    options.progress("reading the model")
    graph = import_model(
        model,
        ImportOptions(
            dims=options.dims, batch=options.batch, dtype=options.dtype, fuse=options.fuse
        ),
    )
    options.progress("ordering and lifetimes")
    aliases = alias_options(target, alias=options.alias)
    limit = options.time_limit_s
    until = None if limit is None else started + limit
    if order is not None:
        return _in_order(graph, order(graph, aliases, until), target, model, options, started)
    from ullage.solvers.scheduling.joint_order import order_until

    told = SolverOptions(options.objective, options.seed, progress=options.progress)
    found = order_until(graph, target, aliases, told, until, steady_state=options.steady_state)
    chosen, notes = found.order, found.notes
    prepared = _in_order(graph, chosen, target, model, options, started)
    if chosen == model_order(graph):
        return replace(prepared, notes=notes)
    plain = replace(options, order="model")
    other = _in_order(graph, model_order(graph), target, model, plain, started)
    return replace(prepared, notes=notes, other=other)


def _in_order(
    graph: Graph,
    chosen: tuple[int, ...],
    target: Target,
    model: "Path | onnx.ModelProto",
    options: CompileOptions,
    started: float,
) -> Prepared:
    """A graph in an order, ready to be solved."""
    problem = build_problem(
        graph,
        chosen,
        order_name=options.order,
        aliases=alias_options(target, alias=options.alias),
        dma_steps=target.needs_dma_steps,
        steady_state=options.steady_state,
    )
    described = {
        "name": graph.name,
        "path": str(model) if isinstance(model, Path) else None,
        "order": options.order,
        "operator_order": None if options.order == "model" else list(chosen),
        "dims": dict(options.dims),
        "batch": options.batch,
        "dtype": options.dtype,
        "fuse": options.fuse,
        "alias": options.alias,
        "steady_state": options.steady_state,
    }
    return Prepared(graph, problem, target, described, time.monotonic() - started, started)


def find_order(
    name: str,
) -> Callable[[Graph, AliasOptions | None, float | None], tuple[int, ...]]:
    """The function that orders operators: (graph, what may share bytes, deadline) -> order.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in ORDERS:
        raise UsageError(f"unknown order {name!r}; there are: {', '.join([*ORDERS, JOINT])}")
    return ORDERS[name]


def alias_options(target: Target, *, alias: bool = True) -> AliasOptions:
    """What may share bytes on a target: parts of buffers only where operands may be split."""
    if not alias:
        return NO_ALIASES
    return AliasOptions(parts=target.split_operands, alignment_bytes=target.alignment_bytes)


def compile_model(
    model: "Path | str | onnx.ModelProto", options: CompileOptions | None = None
) -> Compiled:
    """Compile a model into a verified, scored memory plan.

    Args:
        model: a path, the name of a known model, or a loaded model.
        options: what is asked, default a latency-optimal plan for the default target.

    Raises:
        ModelError: the model cannot be read or planned.
        InfeasibleError: no legal plan exists.
        TimeLimitError: the limit was reached before any plan.
        UsageError: an option is wrong.
    """
    from ullage.compiler.importer.model_zoo import find_model

    chosen = options or CompileOptions()
    solver_of(chosen)  # a wrong name is told before a large model is read
    source = find_model(model) if isinstance(model, str) else model
    return solve_prepared(prepare(source, chosen), chosen)


def compile_problem(
    problem: Problem, target: Target, options: CompileOptions | None = None
) -> Compiled:
    """The same for compilers without ONNX: a problem and a target in, a plan out.

    The problem is one of steady state when it says so itself or the options ask for it.
    """
    chosen = options or CompileOptions()
    problem = replace(problem, steady_state=problem.steady_state or chosen.steady_state)
    graph = Graph(problem.name, {}, (), (), ())
    described = {
        "name": problem.name,
        "path": None,
        "order": problem.order,
        "steady_state": problem.steady_state,
    }
    prepared = Prepared(graph, problem, target, described, 0.0, time.monotonic())
    return solve_prepared(prepared, chosen)


def solve_prepared(prepared: Prepared, options: CompileOptions) -> Compiled:
    """Solve, verify and score a prepared model; in a joint order also in the file's order.

    The better plan of the two is returned, with a note where it is that of the file's order. Its
    bound is the lower of the two orders'.
    """
    if prepared.other is None:
        return _solve_in_order(prepared, options)
    other = replace(prepared.other, target=prepared.target, started=prepared.started)
    begun, limit = time.monotonic(), options.time_limit_s
    own_s = None
    if limit is not None:
        spent_s = begun - prepared.started
        own_s = spent_s + OTHER_SHARE * max(0.0, limit - spent_s)
    plain: Compiled | None = None
    try:
        plain = _solve_in_order(other, replace(options, time_limit_s=own_s))
        if plain.interrupted:
            return _bounded(plain, _free_bound(plain))
        between_s = time.monotonic() - begun
        found = _solve_in_order(prepared, options)
    except (InfeasibleError, TimeLimitError):
        if plain is None:
            found = _solve_in_order(prepared, options)
            return _bounded(found, _free_bound(found))
        note = "joint: no plan was found in the joint order; that of the file is used"
        return _bounded(_told(plain, note), _free_bound(plain))
    # Plans of several solvers or sizes may be of either order: what bounds them must hold in both.
    bound = min(found.bound, plain.bound, key=lambda bound: bound.value)
    now = time.monotonic()
    trace = joined(plain.anytime, found.anytime, between_s)
    if found.value > plain.value:
        note = (
            f"joint: the plan in the joint order ({found.value:.6g}) is worse than that in the "
            f"file's ({plain.value:.6g}), which is used"
        )
        found = _told(plain, note)
    timed = replace(found, solve_s=now - begun, total_s=now - prepared.started, anytime=trace)
    return _bounded(timed, bound)


def _free_bound(compiled: Compiled) -> Bound:
    """The bound of a plan's objective that holds in every order."""
    plan = compiled.plan
    return order_free_bound(plan.problem, plan.target, plan.objective)


def _bounded(compiled: Compiled, bound: Bound) -> Compiled:
    """The same, claiming no better bound than one."""
    plan = replace(compiled.plan, lower_bound=bound.value, bound_source=bound.source)
    return replace(compiled, plan=plan, bound=bound)


def _told(compiled: Compiled, note: str) -> Compiled:
    """The same with another note in its plan."""
    return replace(compiled, plan=replace(compiled.plan, notes=(*compiled.plan.notes, note)))


def _solve_in_order(prepared: Prepared, options: CompileOptions) -> Compiled:
    """Solve, verify and score a prepared model in its order."""
    limit = options.time_limit_s
    deadline = None if limit is None else prepared.started + limit
    solver = solver_of(options)
    told: list[Improvement] = []
    solver_options = SolverOptions(
        objective=options.objective,
        seed=options.seed,
        deadline=deadline,
        parameters=options.parameters,
        progress=options.progress,
        on_improvement=lambda value: told.append((time.monotonic(), value)),
    )
    if solver_options.remaining_s() <= 0:
        raise TimeLimitError(
            f"the time limit of {limit} s was over before solving began (reading the model took "
            f"{prepared.import_s:.2f} s); give more time (--time-limit)"
        )
    begun = time.monotonic()
    early = options.solver != "all-slow" and options.objective != "peak"
    reference = _reference(prepared.problem, prepared.target) if early else None
    if deadline is not None:  # what comes after solving takes a few times as long as this did
        took_s = time.monotonic() - begun
        if early and len(prepared.problem.steps) <= SHORT_STEPS:  # imports took most of that
            begun = time.monotonic()
            _reference(prepared.problem, prepared.target)
            took_s = min(took_s, time.monotonic() - begun)
        reserve_s = CLOSING_SHARE * took_s
        solver_options = replace(solver_options, deadline=deadline - reserve_s)
    options.progress(f"solving with {options.solver}")
    begun = time.monotonic()
    plan = solver.solve(prepared.problem, prepared.target, solver_options)
    solve_s = time.monotonic() - begun
    plan = replace(plan, model=_described(prepared, plan))
    options.progress("verifying and scoring")
    verify(plan)
    found = score(plan)
    if not early:  # `peak` plans for another capacity than the target's
        slow = options.solver == "all-slow"
        reference = found if slow else _reference(prepared.problem, plan.target)
    fallbacks = tuple(f"{f.kind} {f.operator}: {f.reason}" for f in prepared.graph.fallbacks)
    plan = replace(plan, notes=(*plan.notes, *prepared.notes, *found.notes))
    return Compiled(
        plan=plan,
        score=found,
        simulation=simulate(plan),
        bound=best_bound(plan),
        all_slow=reference,
        fallbacks=fallbacks,
        asked=options.solver,
        import_s=prepared.import_s,
        solve_s=solve_s,
        total_s=time.monotonic() - prepared.started,
        interrupted="interrupted" in plan.options,
        anytime=trace_of(told, begun, solve_s, objective_value(found, plan.objective)),
        graph=prepared.graph,
    )


def _described(prepared: Prepared, plan: Plan) -> Mapping[str, Any]:
    """How to import the model again: in the order of the plan, where its solver chose another.

    Raises:
        UsageError: in that order other values share bytes than those that were planned.
    """
    if plan.problem.steps == prepared.problem.steps:
        return prepared.model
    found = {**prepared.model, "order": plan.problem.order}
    if not prepared.graph.operators:
        return found
    chosen = [step.operator for step in plan.problem.steps if step.kind != DMA_STEP]
    rebuilt = build_problem(
        prepared.graph,
        chosen,
        order_name=plan.problem.order,
        aliases=alias_options(plan.target, alias=bool(prepared.model["alias"])),
        dma_steps=plan.target.needs_dma_steps,
        steady_state=plan.problem.steady_state,
    )
    if rebuilt != plan.problem:
        raise UsageError(
            f"{plan.solver} chose another operator order, in which other values share bytes than "
            "those that it planned; use --no-alias"
        )
    return {**found, "operator_order": chosen}


def solver_of(options: CompileOptions) -> Solver:
    """The solver asked for.

    Raises:
        UsageError: there is none of that name, or it cannot minimise the objective.
    """
    solver, objective = find_solver(options.solver), options.objective
    if objective in OBJECTIVES and objective not in solver.objectives:
        raise UsageError(
            f"solver {solver.name} cannot minimise {objective} (it can: "
            f"{', '.join(solver.objectives)}); those that can: {', '.join(solvers_for(objective))}"
        )
    return solver


def _reference(problem: Problem, target: Target) -> Score | None:
    try:
        return score(find_solver("all-slow").solve(problem, target, SolverOptions()))
    except InfeasibleError:  # the home tiers are too small for everything at once
        return None


def best_bound(plan: Plan) -> Bound:
    """The better of the bound that needs no solver and the one that the plan's solver proved."""
    free = lower_bound(plan.problem, plan.target, plan.objective)
    if plan.lower_bound is None or plan.lower_bound <= free.value:
        return free
    return Bound(plan.lower_bound, plan.bound_source)


def lower_bound(problem: Problem, target: Target, objective: str) -> Bound:
    """The best certified bound of an objective for this order and target."""
    free = order_free_bound(problem, target, objective)
    if objective != "peak":
        return free
    live = live_bytes_bound(problem, target)
    return live if live.value >= free.value else free
