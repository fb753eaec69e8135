"""The options of the driver."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import get_type_hints

from ullage.compiler.common.dtypes import parse_dtype
from ullage.compiler.common.errors import UsageError
from ullage.compiler.frontend import FrontendOptions
from ullage.compiler.importer.states.update import parse_updates
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.schedule import Schedule
from ullage.hwmodels.catalog.registry import DEFAULT_TARGET, load_target
from ullage.solvers.interface import Solver
from ullage.solvers.parameters import ParameterValue, options_from
from ullage.solvers.registry import find_solver
from ullage.solvers.run import check_keeps_limit, check_objective

# The objectives that a plan may minimise.
OBJECTIVES = ("latency", "traffic", "energy", "peak")
# The objective of a model where none is named.
DEFAULT_OBJECTIVE = "latency"
# The order of the operators where none is named: the file's.
DEFAULT_ORDER = "model"
# The solver where none is named: a portfolio of others.
DEFAULT_SOLVER = "auto"
# The schedules that are chosen by name; anything else is a file.
WHOLE, CASCADE, AGENT = "whole", "cascade", "agent"
# Those that are searched for behind the plan of whole operators.
SEARCHED = (CASCADE, AGENT)
# Whether results may be dropped between uses and computed again.
AUTO, OFF = "auto", "off"
# Share by which a second objective may make the first worse, where none is named.
DEFAULT_WITHIN = 0.01


@dataclass(frozen=True)
class CompileOptions:
    """How `compile_model` is to plan; the command line has the same options.

    Attributes:
        target: name or file of a target; None for the default, and for a problem its own.
        solver: name of a solver.
        objective: `latency`, `traffic`, `energy` or `peak`; None for latency, and for a problem its
            own.
        fast_memory_bytes: capacity of the fastest tier instead of the target's.
        order: `model` (as the file lists operators), `memory` (smallest peak) or `joint` (chosen
            together with the assignment, for the objective and the target).
        schedule: `whole` (each operator is one step), `cascade` (groups of operators run stripe by
            stripe, chosen for the objective and the target), `agent` (the same search, begun and
            led by a trained policy), the path of a schedule's JSON file or of a plan's in parts, or
            a `Schedule`; None for cascades where `driver.schedules.why_whole` has no objection.
        schedule_agent: checkpoint of the policy that leads `schedule="agent"` (`ullage train --game
            schedule`); None for the one that ships.
        recompute: `auto`: whole operators run again where that is better than keeping or swapping
            what they made; `off`: each runs once.
        update: of a training step, which parameters get new values: `last:N`, or a file with their
            names; None for all.
        dims: values of symbolic dimensions.
        batch: value of symbolic first dimensions.
        dtype: plan floating-point tensors as this type.
        fuse: form fusion groups.
        alias: let values share bytes.
        then: a second objective, minimised while the first stays within a tolerance; None for none.
        within: that tolerance, as a share of the first objective's value.
        slower_by: with objective `peak`, the share by which a plan may be slower than the fastest
            one at the target's own capacity; None for no limit.
        steady_state: inferences follow one another for ever; weights may remain in any tier from
            one to the next.
        states: which tensors live from one inference to the next, in the same bytes: `IN=OUT`, an
            input and the output that follows it, or `auto` for those that data flow shows.
        overrides: target fields to override (`--set`).
        parameters: the solver's own parameters.
        op_costs: CSV file of compute times of operators, measured or simulated, which replace the
            target's model.
        time_limit_s: wall-clock limit of the whole job in seconds.
        begun: `time.monotonic()` value when the job began, so that what came before reading counts;
            None: when reading begins.
        seed: seed of everything random.
        progress: called with a short text at each stage.
    """

    target: str | None = None
    solver: str = DEFAULT_SOLVER
    objective: str | None = None
    fast_memory_bytes: int | None = None
    order: str = DEFAULT_ORDER
    schedule: str | Path | Schedule | None = None
    schedule_agent: Path | None = None
    recompute: str = OFF
    update: str | None = None
    dims: Mapping[str, int] = field(default_factory=dict)
    batch: int | None = None
    dtype: str | None = None
    fuse: bool = True
    alias: bool = True
    then: str | None = None
    within: float = DEFAULT_WITHIN
    slower_by: float | None = None
    steady_state: bool = False
    states: Sequence[str] = ()
    overrides: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    op_costs: Path | None = None
    time_limit_s: float | None = None
    begun: float | None = None
    seed: int = 0
    progress: Callable[[str], None] = lambda _: None

    @property
    def minimised(self) -> str:
        """The objective that is minimised where a model is compiled."""
        return DEFAULT_OBJECTIVE if self.objective is None else self.objective

    @property
    def frontend(self) -> FrontendOptions:
        """The part that says how to read the model and the target."""
        return FrontendOptions(
            target=DEFAULT_TARGET if self.target is None else self.target,
            fast_memory_bytes=self.fast_memory_bytes,
            overrides=self.overrides,
            objective=self.minimised,
            order=self.order,
            dims=self.dims,
            batch=self.batch,
            dtype=None if self.dtype is None else parse_dtype(self.dtype),
            fuse=self.fuse,
            alias=self.alias,
            steady_state=self.steady_state,
            states=self.states,
            updates=None if self.update is None else parse_updates(self.update),
            op_costs=self.op_costs,
            progress=self.progress,
        )


def solver_of(options: CompileOptions) -> Solver:
    """The solver that the options name.

    Raises:
        UsageError: there is none of that name, it cannot minimise the objective, a parameter is
            wrong, or an option has a wrong type.
    """
    check_types(options)
    solver = find_solver(options.solver)
    if options.minimised in OBJECTIVES:
        check_objective(solver, options.minimised)
    _check_then(solver, options)
    _check_slower(solver, options)
    options_from(solver.name, solver.options, options.parameters, options.seed)
    return solver


def check_types(options: CompileOptions) -> None:
    """Check the type of each option; those of Python callers may be anything.

    Raises:
        UsageError: names the option, what it is, and what it must be.
    """
    if not isinstance(options, CompileOptions):
        raise UsageError(
            f"the options are {str(options)[:60]!r}; they are CompileOptions(target=..., ...)"
        )
    from pydantic import TypeAdapter, ValidationError

    hints = get_type_hints(CompileOptions)
    for option in fields(CompileOptions):
        value = getattr(options, option.name)
        try:
            TypeAdapter(hints[option.name]).validate_python(value, strict=True)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise UsageError(
                f"option {option.name} is {repr(value)[:60]}: {reason[:1].lower()}{reason[1:]}"
            ) from error
    if options.time_limit_s is not None and math.isnan(options.time_limit_s):
        raise UsageError("option time_limit_s is nan: it is a number of seconds, or None")


def _check_then(solver: Solver, options: CompileOptions) -> None:
    """Check the second objective.

    Raises:
        UsageError: it makes no sense beside the first, or the solver cannot minimise it.
    """
    second = options.then
    if second is None:
        return
    if second not in OBJECTIVES:
        raise UsageError(f"unknown objective --then {second!r}; there are: {', '.join(OBJECTIVES)}")
    if second == options.minimised:
        raise UsageError(f"--then {second}: that is the first objective already")
    if options.minimised == "peak":
        raise UsageError(
            f"--objective peak --then {second}: a plan of the smallest peak has no memory to "
            f"spare; ask for --objective {second} --then peak"
        )
    if not 0 <= options.within < float("inf"):
        raise UsageError(f"--within takes a share of at least 0 (1%, 0.01), not {options.within}")
    if second != "peak":
        check_objective(solver, second)


def _check_slower(solver: Solver, options: CompileOptions) -> None:
    """Check the limit of the latency.

    Raises:
        UsageError: it is no share, the objective knows no limit, or the solver keeps none.
    """
    share = options.slower_by
    if share is None:
        return
    if options.minimised != "peak":
        raise UsageError(
            f"--slower-by limits the latency of --objective peak, not of {options.minimised}: "
            f"leave it out, or ask for --objective latency --then {_second_of(options)} --within "
            f"{100 * share:g}%"
        )
    if not 0 <= share < float("inf"):
        raise UsageError(f"--slower-by takes a share of at least 0 (5%, 0.05), not {share}")
    check_keeps_limit(solver)


def _second_of(options: CompileOptions) -> str:
    """What a user may want to have less of while the latency stays within a tolerance."""
    return "peak" if options.minimised == "latency" else options.minimised


def check_consistent(options: CompileOptions) -> None:
    """Refuse options that contradict one another.

    Raises:
        UsageError: says which, and what to leave out.
    """
    _check_recompute(options)
    if options.fast_memory_bytes is None:
        return
    if options.minimised == "peak":
        raise UsageError(
            "--objective peak asks for the smallest fast memory, --fast-memory names its size: "
            "leave one out"
        )
    fastest = load_target(options.frontend.target).fastest.name
    field = f"tiers.{fastest}.capacity_bytes"
    if field in options.overrides:
        raise UsageError(
            f"--fast-memory and --set {field} are two capacities of {fastest}: leave one out"
        )


def _check_recompute(options: CompileOptions) -> None:
    """Check what is asked of recomputation.

    Raises:
        UsageError: it is no choice, or does not go with another option.
    """
    if options.recompute not in (AUTO, OFF):
        raise UsageError(f"--recompute takes auto or off, not {options.recompute!r:.60}")
    if options.recompute == OFF:
        return
    if options.states:
        raise UsageError(
            "--recompute auto runs operators again, and with --state what they read may be "
            "overwritten by then: leave one out"
        )
    if options.schedule not in (None, WHOLE):
        raise UsageError(
            "--recompute auto chooses a schedule in which whole operators run again, --schedule "
            f"names another ({str(options.schedule)!r:.60}): leave one out"
        )
    if options.minimised == "peak":
        raise UsageError(
            "--recompute auto is for latency, traffic and energy under a size of the memory: leave "
            "--objective peak out and name the size (--fast-memory)"
        )


def check_applies(options: CompileOptions, problem: Problem) -> None:
    """Refuse options that a problem contradicts: it has a target, an order and sizes already.

    Raises:
        UsageError: says which option, and what to change instead.
    """
    own, order = problem.target, problem.program.order
    if options.objective not in (None, problem.objective):
        raise UsageError(
            f"option objective is {options.objective!r}, and the problem is to minimise "
            f"{problem.objective!r}; leave it out, or plan "
            f"`problem.minimising({options.objective!r})`"
        )
    if options.target is not None:
        asked = load_target(options.target, options.overrides)
        if options.fast_memory_bytes is not None:
            asked = asked.with_fast_memory(options.fast_memory_bytes)
        # Problems have steps already: which cuts the target allows makes no difference.
        if replace(asked, tile_axes=own.tile_axes) != own:
            raise UsageError(
                f"option target is {options.target!r} with its overrides, and the problem is of "
                f"another: {own.name!r}; leave it out, or plan `problem.on(load_target(...))`"
            )
    elif options.overrides:
        raise UsageError(
            "option overrides changes a target that is read by its name, and the problem has one "
            "already; plan `problem.on(load_target(name, overrides))`"
        )
    elif options.fast_memory_bytes not in (None, own.fastest.capacity_bytes):
        raise UsageError(
            f"option fast_memory_bytes is {options.fast_memory_bytes}, the problem's target has "
            f"{own.fastest.capacity_bytes}; plan `problem.on(target.with_fast_memory(...))`"
        )
    if options.order not in (DEFAULT_ORDER, order):
        raise UsageError(
            f"option order is {options.order!r}, and the steps of the problem are in order "
            f"already ({order!r}); leave it out, or compile a model"
        )
    plain = CompileOptions()
    if options.schedule == WHOLE:  # the steps stay as they are
        plain = replace(plain, schedule=WHOLE)
    for name, flag in (
        ("schedule", "--schedule"),
        ("recompute", "--recompute"),
        ("update", "--update"),
        ("dims", "--dim"),
        ("batch", "--batch"),
        ("dtype", "--dtype"),
        ("fuse", "--no-fuse"),
        ("alias", "--no-alias"),
        ("states", "--state"),
        ("op_costs", "--op-costs"),
    ):
        if getattr(options, name) != getattr(plain, name):
            raise UsageError(
                f"{flag} (option {name}) says how a model is read, and a problem is not read from "
                "one: leave it out, or compile the model"
            )
