"""From a model and a target to a problem, without the driver: for agents and studies.

    model -> graph -> order -> problem

The caller passes the function that chooses the order (`ChooseOrder`), because the solvers that
order operators are in a layer above this module.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ullage.compiler.common.clock import check_time
from ullage.compiler.common.dtypes import parse_dtype
from ullage.compiler.common.errors import UsageError
from ullage.compiler.importer.states.update import Updates
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.schedule import Schedule
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import AliasOptions, alias_options
from ullage.compiler.lowering.orders import model_order
from ullage.compiler.lowering.parts import lower_schedule
from ullage.compiler.verify.reach.geometry import Geometry
from ullage.hwmodels.bounds import Bound
from ullage.hwmodels.catalog.registry import DEFAULT_TARGET, load_target
from ullage.hwmodels.compute.op_costs import with_op_costs

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class FrontendOptions:
    """How to read a model and a target; `CompileOptions` has the same fields.

    Attributes:
        target: name or file of a target.
        fast_memory_bytes: capacity of the fastest tier instead of the target's.
        overrides: target fields to override (`--set`).
        objective: what is to be minimised.
        order: name of the order, for the plan.
        dims: values of symbolic dimensions.
        batch: value of symbolic first dimensions.
        dtype: plan floating-point tensors as this type.
        fuse: form fusion groups.
        alias: let values share bytes.
        steady_state: inferences follow one another for ever; weights may remain in any tier from
            one to the next.
        updates: which parameters of a training step get new values; None: all.
        states: which tensors live from one inference to the next: `IN=OUT`, an input and the output
            after it, or `auto`.
        op_costs: CSV file of compute times of operators, which replace the target's model.
        progress: called with a short text at each stage.
    """

    target: str = DEFAULT_TARGET
    fast_memory_bytes: int | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    objective: str = "latency"
    order: str = "model"
    dims: Mapping[str, int] = field(default_factory=dict)
    batch: int | None = None
    dtype: str | None = None
    fuse: bool = True
    alias: bool = True
    steady_state: bool = False
    states: Sequence[str] = ()
    updates: Updates | None = None
    op_costs: Path | None = None
    progress: Callable[[str], None] = lambda _: None


def checked(options: FrontendOptions) -> FrontendOptions:
    """The options, with the data type in its canonical spelling.

    Raises:
        UsageError: an option is not what it must be.
    """
    size, batch, dtype = options.fast_memory_bytes, options.batch, options.dtype
    is_size = size is None or (_is_whole(size) and size >= 0)
    is_batch = batch is None or (_is_whole(batch) and batch > 0)
    are_texts = _maps(options.overrides, lambda value: isinstance(value, str))
    rules: list[tuple[str, bool, str]] = [
        ("target", isinstance(options.target, str), "the name or file of a target"),
        ("fast_memory_bytes", is_size, "a whole number of bytes, as 262144"),
        ("overrides", are_texts, "texts by field, as {'split_operands': 'false'}"),
        ("dims", _maps(options.dims, _is_whole), "whole numbers by name"),
        ("batch", is_batch, "a whole number of 1 or more"),
        ("dtype", isinstance(dtype, str | None), "the name of a data type, as 'int8'"),
    ]
    for name, is_right, wanted in rules:
        if not is_right:
            raise UsageError(f"{name} is {wanted}, not {getattr(options, name)!r:.80}")
    return replace(
        options,
        dtype=None if dtype is None else parse_dtype(dtype),
        fast_memory_bytes=None if size is None else int(size),
    )


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _maps(value: object, is_right: Callable[[object], bool]) -> bool:
    """Whether a value is a mapping from texts to what is right."""
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and is_right(item) for key, item in value.items()
    )


@dataclass(frozen=True)
class Prepared:
    """A model ready to be solved, on one target.

    Attributes:
        graph: the model as imported.
        problem: its steps and buffers, the chip, and what is to be minimised.
        model: how to import the model again, for the plan.
        import_s: seconds spent reading, without the choice of the order.
        started: `time.monotonic()` value when reading began.
        notes: remarks about the import that the plan must carry.
        other: the same model in the file's order, where another was chosen, or with whole
            operators, where a search cut some: no plan may be worse than the one for that.
        geometry: nodes of the model, for the verifier; None where nobody asked for them.
        schedule_s: seconds spent choosing the schedule.
        order_s: seconds spent choosing the order.
        is_cut_short: the time limit ended the search for the schedule: more time finds others.
        limit_s: time limit of the whole job in seconds, of which searches have shares; None: none.
        work_s: seconds of the processor in which `auto` plans this part of a job without a time
            limit; None: its own.
        repetitions_bound: latency that no schedule of this order falls below, whichever operators
            run again; None where nobody has asked, or nothing is proven.
    """

    graph: Graph
    problem: Problem
    model: Mapping[str, Any]
    import_s: float
    started: float
    notes: tuple[str, ...] = ()
    other: "Prepared | None" = None
    order_s: float = 0.0
    schedule_s: float = 0.0
    geometry: Geometry | None = None
    is_cut_short: bool = False
    limit_s: float | None = None
    work_s: float | None = None
    repetitions_bound: Bound | None = None

    @property
    def target(self) -> Target:
        """The chip."""
        return self.problem.target

    def on(self, target: Target) -> "Prepared":
        """The same model on another target of the same rules, for example with another capacity."""
        return replace(self, problem=self.problem.on(target))

    def within(self, limit_s: float | None) -> "Prepared":
        """The same model in a job with a time limit."""
        other = None if self.other is None else self.other.within(limit_s)
        return replace(self, limit_s=limit_s, other=other)


@dataclass(frozen=True)
class Ordering:
    """An order of the operators, and remarks about the choice that the plan must carry.

    Attributes:
        order: operator indices in the order in which they run.
        notes: the remarks.
    """

    order: tuple[int, ...]
    notes: tuple[str, ...] = ()


# (graph, target, what may share bytes) -> ordering
ChooseOrder = Callable[[Graph, Target, AliasOptions], Ordering]


def file_order(graph: Graph, _target: Target, _aliases: AliasOptions) -> Ordering:
    """The order in which the file lists the operators."""
    return Ordering(model_order(graph))


def prepare(
    model: "Path | onnx.ModelProto",
    options: FrontendOptions,
    choose_order: ChooseOrder = file_order,
    deadline: float | None = None,
    *,
    with_geometry: bool = False,
) -> Prepared:
    """Read a model and a target and build the problem.

    Args:
        model: a file, or a loaded model.
        options: how to read it.
        choose_order: chooses the order; `options.order` is its name.
        deadline: `time.monotonic()` value at which reading ends, None for never.
        with_geometry: keep what the verifier must know of a model whose operators are cut.

    Raises:
        ModelError: the model cannot be read.
        TimeLimitError: the deadline passed while the model was read.
        UsageError: an option or the target is wrong, or the model is none.
    """
    from ullage.compiler.importer.build import ImportOptions, import_detailed, import_model
    from ullage.compiler.importer.joint.fx_file import is_joint_file

    started = time.monotonic()
    options = checked(options)
    target = load_target(options.target, options.overrides)
    if options.fast_memory_bytes is not None:
        target = target.with_fast_memory(options.fast_memory_bytes)
    options.progress("reading the model")
    reading = ImportOptions(
        dims=options.dims,
        batch=options.batch,
        dtype=options.dtype,
        fuse=options.fuse,
        states=tuple(options.states),
        updates=options.updates,
        deadline=deadline,
    ).for_target(target)
    geometry = None
    if is_joint_file(model):
        graph = import_model(model, reading)
    else:
        imported = import_detailed(model, reading)
        graph = imported.graph
        geometry = Geometry.of(imported) if with_geometry else None
        del imported  # its weights
    notes = graph.notes
    if options.op_costs is not None:
        graph, note = with_op_costs(graph, options.op_costs, target)
        notes = (*notes, note)
    options.progress("ordering and lifetimes")
    check_time(deadline, graph.name)
    begun = time.monotonic()
    ordering = choose_order(graph, target, alias_options(target, alias=options.alias))
    order_s = time.monotonic() - begun
    path = str(model) if isinstance(model, Path) else None
    check_time(deadline, graph.name)
    prepared = in_order(graph, target, ordering, options, path=path, started=started)
    return replace(
        prepared,
        import_s=prepared.import_s - order_s,
        order_s=order_s,
        geometry=geometry,
        notes=(*prepared.notes, *notes),
    )


def in_order(
    graph: Graph,
    target: Target,
    ordering: Ordering,
    options: FrontendOptions,
    *,
    path: str | None,
    started: float,
    schedule: Schedule | None = None,
) -> Prepared:
    """A graph in a chosen order, ready to be solved.

    Args:
        graph: the graph.
        target: the chip.
        ordering: the order, and remarks about it.
        options: how the graph was read.
        path: file of the model, None where it was not read from one.
        started: `time.monotonic()` value when reading began.
        schedule: in which parts the operators run, default whole.

    Raises:
        UsageError: the schedule is none of this graph.
    """
    program = lower_schedule(
        graph,
        schedule or Schedule.whole(ordering.order),
        order_name=options.order,
        aliases=alias_options(target, alias=options.alias),
        dma_steps=target.dma_steps,
        steady_state=options.steady_state,
    )
    described: dict[str, Any] = {
        "name": graph.name,
        "path": path,
        "order": options.order,
        "operator_order": None if options.order == "model" else list(ordering.order),
        "dims": dict(options.dims),
        "batch": options.batch,
        "dtype": options.dtype,
        "fuse": options.fuse,
        "alias": options.alias,
        "steady_state": options.steady_state,
    }
    if options.updates is not None:
        chosen = options.updates
        described["updates"] = chosen if isinstance(chosen, int) else list(chosen)
    if graph.states:
        described["state"] = [[state.input, state.output] for state in graph.states]
    if schedule is not None and not schedule.is_whole:
        described["schedule"] = schedule.to_json()
    import_s = time.monotonic() - started
    problem = Problem(program, target, options.objective)
    return Prepared(graph, problem, described, import_s, started, ordering.notes)
