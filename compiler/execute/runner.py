"""Run a plan: every operator reads and writes the plan's addresses, every transfer copies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ullage.compiler.errors import ModelError, UsageError
from ullage.compiler.execute.compare import OutputCheck, compare_arrays
from ullage.compiler.execute.data import EXECUTABLE, Array, model_inputs, model_weights
from ullage.compiler.execute.job import Job
from ullage.compiler.execute.kernels import Kernels, open_session, small_model
from ullage.compiler.importer.build import ImportOptions, import_detailed
from ullage.compiler.importer.load import captures
from ullage.compiler.match import check_problem_matches, import_options
from ullage.compiler.plan import Plan

__all__ = [
    "Execution",
    "Executor",
    "OutputCheck",
    "RunOptions",
    "compare_arrays",
    "import_options",
    "refuse_resized",
    "run_plan",
]

SMALL_ELEMENTS = 1024  # initializers up to this stay in the model of the ordinary run


@dataclass(frozen=True)
class Execution:
    """What a run of a plan showed.

    Attributes:
        outputs: checks of the outputs (of the last operator's, when run partly).
        steps: operators run.
        transfers: transfers completed.
        bytes_moved: bytes copied by transfers.
        inferences: how many times the plan was run.
        fallbacks: operators that onnxruntime could not run.
        arrays: values of the outputs.
        trace: a line per event, when asked for.
    """

    outputs: tuple[OutputCheck, ...]
    steps: int
    transfers: int
    bytes_moved: int
    inferences: int
    fallbacks: tuple[str, ...]
    arrays: Mapping[str, Array] = field(default_factory=dict)
    trace: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every output agrees."""
        return all(check.passed for check in self.outputs)


@dataclass(frozen=True)
class RunOptions:
    """How to run.

    Attributes:
        seed: of inputs, and of weights that the model file lacks.
        inputs: values for some or all inputs, by name.
        until: stop before this step of the plan.
        trace: record every event.
        progress: called with (step, steps).
    """

    seed: int = 0
    inputs: Mapping[str, Array] = field(default_factory=dict)
    until: int | None = None
    trace: bool = False
    progress: Callable[[int, int], None] = lambda *_: None


def run_plan(model: Path, plan: Plan, options: RunOptions | None = None) -> Execution:
    """Execute a model by a plan, in flat memory, and compare with one ordinary onnxruntime run.

    Args:
        model: the model file that was compiled.
        plan: its plan; nothing about it is assumed to be legal.
        options: how to run.

    Raises:
        VerificationError: the plan reads bytes that are not there, or is of another model.
        ModelError: the model cannot be executed; says why.
        UsageError: an option makes no sense.
    """
    chosen = options or RunOptions()
    refuse_resized(plan)
    executor = Executor(model, import_options(plan), chosen.seed, name=plan.problem.name)
    return executor.run(plan, chosen)


def refuse_resized(plan: Plan) -> None:
    """Plans made under a data type policy are sized for other numbers than the model's.

    Raises:
        UsageError: the plan is one of those.
    """
    if plan.model.get("dtype"):
        raise UsageError(
            f"the plan was made with --dtype {plan.model['dtype']}: it is sized for numbers that "
            "the model does not contain; compile without --dtype to execute it"
        )


class Executor:
    """A model ready to be executed by any of its plans.

    Attributes:
        imported: the model as it was read.
        weights: its initializers.
        inputs: seeded values of its inputs.
        kernels: its operators.
        half: whether any of its tensors is float16.
    """

    def __init__(self, model: Path, options: ImportOptions, seed: int = 0, name: str = "") -> None:
        self.model = model
        self.imported = import_detailed(model, options, name=name)
        self._refuse_unexecutable()
        imported = self.imported
        self.weights = model_weights(imported.proto, imported.scope, model.parent, seed)
        self.kernels = Kernels(imported.proto, imported.scope, self.weights)
        self.inputs = model_inputs(
            imported.graph.inputs, imported.scope.types, imported.proto, seed
        )
        roots = [n for n, v in imported.graph.values.items() if v.kind == "weight"]
        self.kernels.constant(roots)
        self.roots = {name: self.kernels.constants[name] for name in roots}
        # onnxruntime computes runs of float16 operators in float32, one operator by itself not.
        self.half = any(found.dtype == "float16" for found in imported.scope.types.values())
        self._expected: dict[str, Array] = {}

    def _refuse_unexecutable(self) -> None:
        for name, value in self.imported.graph.values.items():
            if value.is_upper_bound:
                raise ModelError(
                    f"the shape of {name!r} depends on data and was planned by its upper bound; "
                    "such a model cannot be executed step by step at planned sizes",
                    {"tensor": name},
                )
            if value.dtype not in EXECUTABLE:
                raise ModelError(
                    f"tensor {name!r} holds {value.dtype}: its plan can be verified, but not "
                    "executed",
                    {"tensor": name},
                )

    def run(self, plan: Plan, options: RunOptions | None = None) -> Execution:
        """Execute by a plan of this model; errors as for `run_plan`."""
        chosen = options or RunOptions()
        refuse_resized(plan)
        check_problem_matches(plan, self.imported.graph, str(self.model))
        last = len(plan.problem.steps)
        until = last if chosen.until is None else chosen.until
        if not 0 < until <= last:
            raise UsageError(f"--until takes a step between 1 and {last}, not {until}")
        inputs = {**self.inputs, **self._checked(chosen.inputs)}
        job = Job(self.imported, self.kernels, plan, trace=chosen.trace, progress=chosen.progress)
        arrays = job.walk({**inputs, **self.roots}, until)
        if until == last:
            arrays = job.finals()
        expected = self._ordinary_run(inputs, list(arrays), cached=not chosen.inputs)
        return Execution(
            outputs=tuple(
                compare_arrays(n, arrays[n], expected[n], half=self.half) for n in arrays
            ),
            steps=job.steps,
            transfers=sum(max(transfer.moves)[0] < until for transfer in plan.transfers),
            bytes_moved=job.bytes_moved,
            inferences=1,
            fallbacks=tuple(self.kernels.fallbacks),
            arrays=arrays,
            trace=tuple(job.trace),
        )

    def _checked(self, given: Mapping[str, Array]) -> dict[str, Array]:
        for name, array in given.items():
            if name not in self.inputs:
                raise UsageError(f"no input {name!r}; there are: {', '.join(self.inputs)}")
            like = self.inputs[name]
            if array.shape != like.shape or array.dtype != like.dtype:
                raise UsageError(
                    f"input {name!r} is {like.dtype}{list(like.shape)}, "
                    f"not {array.dtype}{list(array.shape)}"
                )
        return dict(given)

    def _ordinary_run(
        self, inputs: Mapping[str, Array], names: list[str], *, cached: bool
    ) -> dict[str, Array]:
        """The whole model in one onnxruntime session, large weights fed as inputs."""
        if cached and all(name in self._expected for name in names):
            return self._expected
        proto = self.imported.proto
        read = {n for node in proto.graph.node for n in (*node.input, *captures(node))}
        small = {n: a for n, a in self.weights.items() if a.size <= SMALL_ELEMENTS}
        large = {n: a for n, a in self.weights.items() if n not in small and n in read}
        feeds = {**{n: a for n, a in inputs.items() if n in read}, **large}
        nodes = proto.graph.node
        model = small_model(proto, self.imported.scope, nodes, feeds, names, small)
        try:
            session = open_session(model)
        except Exception as error:
            raise ModelError(
                f"onnxruntime cannot run the model as a whole: {str(error)[:300]}"
            ) from error
        try:
            results = session.run(names, feeds)
        except Exception as error:
            raise ModelError(
                f"onnxruntime fails on the model as a whole: {str(error)[:300]}"
            ) from error
        found = {name: np.asarray(a) for name, a in zip(names, results, strict=True)}
        if cached:
            self._expected.update(found)
        return found
