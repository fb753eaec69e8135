"""Runs of a plan: every operator reads and writes the plan's addresses, every transfer copies."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ullage.compiler.common.errors import ModelError, UsageError, VerificationError
from ullage.compiler.driver.provenance import (
    check_problem_matches,
    import_options,
    importing_as_planned,
    program_as_planned,
)
from ullage.compiler.execute.arena import Arena
from ullage.compiler.execute.compare import OutputCheck, compare_arrays
from ullage.compiler.execute.data import model_inputs, model_weights
from ullage.compiler.execute.element_types import EXECUTABLE, Array
from ullage.compiler.execute.growing import dims_of_inferences, grown_states
from ullage.compiler.execute.job import ExecutionJob
from ullage.compiler.execute.kernels import Kernels, open_session, run_session, small_model
from ullage.compiler.execute.parts_job import PartsJob
from ullage.compiler.importer.build import ImportOptions, import_detailed
from ullage.compiler.importer.load import captures
from ullage.compiler.ir.lengths.resized import at_length
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.program import DMA_STEP
from ullage.compiler.verify.verifier import check_well_formed, verify

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

# Inferences that a plan in steady state is run: the first loads its weights, the second has another
# one before and after it, and the third shows that the second left the weights in place.
STEADY_INFERENCES = 3
# Elements up to which an initializer is part of the model of the ordinary run; larger ones are fed
# as inputs.
SMALL_ELEMENTS = 1024


@dataclass(frozen=True)
class Execution:
    """The result of running a plan.

    Attributes:
        outputs: checks of the outputs of every inference (of the last operator's, where the last
            inference is run in part).
        steps: operators run in all, or parts of them.
        transfers: transfers completed in all.
        bytes_moved: bytes copied by transfers in all; what is loaded before the first inference
            is not counted.
        inferences: how many times the plan was run.
        fallbacks: operators that onnxruntime could not run.
        arrays: values of the last inference's outputs.
        trace: one line per transfer, read and write, where a trace is wanted.
        cut_operators: where operators run in parts, how many operators those steps are of; 0 where
            each runs whole.
    """

    outputs: tuple[OutputCheck, ...]
    steps: int
    transfers: int
    bytes_moved: int
    inferences: int
    fallbacks: tuple[str, ...]
    arrays: Mapping[str, Array] = field(default_factory=dict)
    trace: tuple[str, ...] = ()
    cut_operators: int = 0

    @property
    def passed(self) -> bool:
        """Whether every output agrees."""
        return all(check.passed for check in self.outputs)


@dataclass(frozen=True)
class RunOptions:
    """How to run a plan.

    Attributes:
        seed: seed of inputs, and of weights that the model file lacks.
        inputs: values for some or all inputs, by name; the same in every inference.
        until: stop before this step of the plan, in the last inference.
        inferences: how many to run one after the other in the same memory, each with input values
            of its own; default 1, and 3 for a plan in steady state.
        trace: record every transfer, read and write.
        progress: called with (step, steps).
    """

    seed: int = 0
    inputs: Mapping[str, Array] = field(default_factory=dict)
    until: int | None = None
    inferences: int | None = None
    trace: bool = False
    progress: Callable[[int, int], None] = lambda *_: None


def run_plan(model: Path, plan: Plan, options: RunOptions | None = None) -> Execution:
    """Execute a model by a plan, in flat memory, and compare with ordinary onnxruntime runs.

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
    check_well_formed(plan)
    refuse_resized(plan)
    options_of_plan = import_options(plan)
    with importing_as_planned(plan, model):
        executor = Executor(model, options_of_plan, chosen.seed, name=plan.problem.name)
    return executor.run(plan, chosen)


def refuse_resized(plan: Plan) -> None:
    """Refuse plans made under a data type policy: their sizes are not those of the model's numbers.

    Raises:
        UsageError: the plan is one of those.
    """
    if plan.model.get("dtype"):
        raise UsageError(f"the plan was made with {resized(plan.model['dtype'])}")


def resized(dtype: str) -> str:
    """Why no plan under a data type policy can be executed, and what can be, in words."""
    return (
        f"--dtype {dtype}: it is sized for numbers that the model does not contain, so there is "
        "nothing to execute. Quantise the model itself (QuantizeLinear and DequantizeLinear around "
        "its operators, QDQ) and compile that without --dtype, or leave --dtype out"
    )


class Executor:
    """A model ready to be executed by any of its plans.

    Attributes:
        imported: the model as it was read.
        weights: its initializers.
        inputs: seeded values of its inputs in the first inference.
        kernels: its operators.
        half: whether any of its tensors is float16 or bfloat16.
    """

    def __init__(
        self,
        model: Path,
        options: ImportOptions,
        seed: int = 0,
        name: str = "",
        weights: dict[str, Array] | None = None,
    ) -> None:
        self.model, self.seed, self.options = model, seed, options
        self.imported = import_detailed(model, options, name=name)
        self._refuse_unexecutable()
        imported = self.imported
        self.weights = weights or model_weights(imported.proto, imported.scope, model.parent, seed)
        self.kernels = Kernels(imported.proto, imported.scope, self.weights)
        self.inputs = self.inputs_of(1)
        roots = [n for n, v in imported.graph.values.items() if v.kind == "weight"]
        self.kernels.constant(roots)
        self.roots = {name: self.kernels.constants[name] for name in roots}
        # onnxruntime computes runs of float16 operators in float32, one operator by itself not.
        self.half = any(
            tensor_type.dtype in ("float16", "bfloat16")
            for tensor_type in imported.scope.types.values()
        )
        self._expected: dict[tuple[int, str], Array] = {}
        self._session: tuple[list[str], Any] | None = None

    def inputs_of(self, inference: int) -> dict[str, Array]:
        """Seeded values of the inputs in an inference, counted from 1."""
        imported = self.imported
        types, proto = imported.scope.types, imported.proto
        return model_inputs(imported.graph.inputs, types, proto, self.seed, inference)

    def _refuse_unexecutable(self) -> None:
        for name, value in self.imported.graph.values.items():
            if value.dtype not in EXECUTABLE:
                raise ModelError(
                    f"tensor {name!r} holds {value.dtype}, whose elements have no fixed size: the "
                    "model cannot be executed",
                    {"tensor": name},
                )

    def run(self, plan: Plan, options: RunOptions | None = None) -> Execution:
        """Execute by a plan of this model; errors as for `run_plan`."""
        chosen = options or RunOptions()
        check_well_formed(plan)
        refuse_resized(plan)
        check_problem_matches(plan, self.imported.graph, str(self.model))
        last = len(plan.problem.steps)
        until = last if chosen.until is None else chosen.until
        if not 0 < until <= last:
            raise UsageError(f"--until takes a step between 1 and {last}, not {until}")
        count = chosen.inferences
        if count is None:
            states = self.imported.graph.states
            grows = any(state.axis is not None for state in states)
            lasts = plan.problem.steady_state or bool(states)
            lasts = lasts and not grows
            count = STEADY_INFERENCES if lasts else 1
        if count < 1:
            raise UsageError(f"--inferences takes a number of at least 1, not {count}")
        user_inputs = self._checked(chosen.inputs)
        steps = (count - 1) * last + until
        kind = PartsJob if "schedule" in plan.model else ExecutionJob
        arena = Arena(plan)
        runs = self._runs(plan, count)
        job: ExecutionJob | None = None
        checks: list[OutputCheck] = []
        arrays: dict[str, Array] = {}
        ordinary: dict[str, Array] = {}
        for number in range(1, count + 1):
            executor, carried_out = runs[number - 1]
            if job is None or carried_out is not runs[number - 2][1]:
                job = kind(
                    executor.imported,
                    executor.kernels,
                    carried_out,
                    trace=chosen.trace,
                    progress=lambda done: chosen.progress(done, steps),
                    before=job,
                    arena=arena,
                )
            inputs = {**executor.inputs_of(number), **user_inputs}
            if number > 1:
                inputs |= {s.input: ordinary[s.output] for s in self.imported.graph.states}
            with _told(number, count):
                arrays = job.walk(inputs, executor.roots, until if number == count else last)
            ordinary = executor.ordinary_run(inputs, list(arrays), None if user_inputs else number)
            for name, array in arrays.items():
                check = compare_arrays(name, array, ordinary[name], half=self.half)
                checks.append(replace(check, inference=number))
        assert job is not None  # noqa: S101 - there is an inference at least
        reached = plan.problem.steps[: last if count > 1 else until]
        operators = len({step.operator for step in reached if step.kind != DMA_STEP})
        done_before_until = sum(max(transfer.moves)[0] < until for transfer in plan.transfers)
        return Execution(
            outputs=tuple(checks),
            steps=job.steps,
            transfers=(count - 1) * len(plan.transfers) + done_before_until,
            bytes_moved=job.bytes_moved,
            inferences=count,
            fallbacks=tuple(self.kernels.fallbacks),
            arrays=arrays,
            trace=tuple(job.trace),
            cut_operators=operators if plan.program.is_cut else 0,
        )

    def _runs(self, plan: Plan, count: int) -> "list[tuple[Executor, Plan]]":
        """Who runs each of some inferences, and by which plan: at its own length, verified.

        Raises:
            UsageError: a cache grows, and the plan cannot be carried out at shorter lengths.
        """
        graph = self.imported.graph
        if count == 1 or not grown_states(graph):
            return [(self, plan)] * count
        dims = import_options(plan).dims
        runs: list[tuple[Executor, Plan]] = []
        for at in dims_of_inferences(self.model, graph, dims, count)[:-1]:
            options = replace(self.options, dims=at)
            name = plan.problem.name
            shorter = Executor(self.model, options, self.seed, name, self.weights)
            program = program_as_planned(plan, shorter.imported.graph)
            carried_out = replace(at_length(plan, program), model={**plan.model, "dims": at})
            verify(carried_out)
            runs.append((shorter, carried_out))
        return [*runs, (self, plan)]

    def _checked(self, user_inputs: Mapping[str, Array]) -> dict[str, Array]:
        for name, array in user_inputs.items():
            if name not in self.inputs:
                raise UsageError(f"no input {name!r}; there are: {', '.join(self.inputs)}")
            seeded = self.inputs[name]
            if array.shape != seeded.shape or array.dtype != seeded.dtype:
                raise UsageError(
                    f"input {name!r} is {seeded.dtype}{list(seeded.shape)}, "
                    f"not {array.dtype}{list(array.shape)}"
                )
        return dict(user_inputs)

    def ordinary_run(
        self, inputs: Mapping[str, Array], names: list[str], inference: int | None
    ) -> dict[str, Array]:
        """Outputs of the whole model, run in one onnxruntime session with large weights as inputs.

        Args:
            inputs: values of the inputs.
            names: the outputs that are wanted.
            inference: number of the inference whose seeded inputs these are: its results are kept
                for other plans. None for other inputs.
        """
        if inference and all((inference, name) in self._expected for name in names):
            return {name: self._expected[inference, name] for name in names}
        passed_on = {name: inputs[name] for name in names if name in inputs}
        names = [name for name in names if name not in inputs]
        if not names:
            return passed_on
        proto = self.imported.proto
        read = {n for node in proto.graph.node for n in (*node.input, *captures(node))}
        small = {n: a for n, a in self.weights.items() if a.size <= SMALL_ELEMENTS}
        large = {n: a for n, a in self.weights.items() if n not in small and n in read}
        feeds = {**{n: a for n, a in inputs.items() if n in read}, **large}
        if self._session is None or self._session[0] != names:
            nodes = proto.graph.node
            model = small_model(proto, self.imported.scope, nodes, feeds, names, small)
            try:
                self._session = (names, open_session(model))
            except Exception as error:
                raise ModelError(
                    f"onnxruntime cannot run the model as a whole: {str(error)[:300]}"
                ) from error
        try:
            results = run_session(self._session[1], names, feeds)
        except Exception as error:
            raise ModelError(
                f"onnxruntime fails on the model as a whole: {str(error)[:300]}"
            ) from error
        outputs = passed_on | {n: np.asarray(a) for n, a in zip(names, results, strict=True)}
        if inference:
            self._expected.update({(inference, name): array for name, array in outputs.items()})
        return outputs


@contextmanager
def _told(number: int, count: int) -> Iterator[None]:
    """While the context is open, errors say which of several inferences failed."""
    try:
        yield
    except VerificationError as error:
        if count == 1:
            raise
        details = {**error.details, "inference": number}
        raise VerificationError(f"inference {number}: {error.message}", details) from error
