"""Run a plan: every operator reads and writes the plan's addresses, every transfer copies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ullage.compiler.aliases import find_aliases
from ullage.compiler.byte_runs import cut
from ullage.compiler.contents import Contents, absorbed_inputs, contents_of, written_ranges
from ullage.compiler.errors import ModelError, UsageError, VerificationError
from ullage.compiler.execute.arena import Arena, Bytes
from ullage.compiler.execute.data import EXECUTABLE, Array, model_inputs, model_weights
from ullage.compiler.execute.kernels import Kernels, open_session, small_model
from ullage.compiler.graph import Operator
from ullage.compiler.importer.build import Imported, ImportOptions, import_detailed
from ullage.compiler.importer.load import captures
from ullage.compiler.match import check_problem_matches
from ullage.compiler.pipeline import alias_options, find_order
from ullage.compiler.plan import Plan, Residency, Transfer
from ullage.compiler.problem import DMA_STEP

# Kernels differ in the order of additions when a fused or whole-model path is chosen; two runs of
# one float32 model on one machine stay well inside these.
RELATIVE_TOLERANCE = 1e-4
ABSOLUTE_TOLERANCE = 1e-5
SMALL_ELEMENTS = 1024  # initializers up to this stay in the model of the ordinary run


@dataclass(frozen=True)
class OutputCheck:
    """An output against the ordinary run.

    Attributes:
        name: of the output.
        max_abs_diff: largest absolute difference.
        tolerance: what is allowed, absolute, for values of the output's scale.
        bit_exact: all bytes equal.
        finite: the ordinary run gave finite numbers; NaN everywhere would prove little.
        passed: within tolerance.
    """

    name: str
    max_abs_diff: float
    tolerance: float
    bit_exact: bool
    finite: bool
    passed: bool


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


def import_options(plan: Plan) -> ImportOptions:
    """How the plan's model was read."""
    said = plan.model
    return ImportOptions(
        dims=said.get("dims") or {}, batch=said.get("batch"), fuse=bool(said.get("fuse", True))
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
        job = _Job(self.imported, self.kernels, plan, chosen)
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


class _Job:
    """One run of a plan: its events by step, the arena."""

    def __init__(
        self, imported: Imported, kernels: Kernels, plan: Plan, options: RunOptions
    ) -> None:
        self.imported, self.kernels, self.plan, self.options = imported, kernels, plan, options
        graph = imported.graph
        self.place = {
            placed.name: (index, placed.start_byte, placed.end_byte)
            for index, buffer in enumerate(plan.problem.buffers)
            for placed in buffer.values
        }
        said = plan.model
        order = find_order(str(said.get("order", "model")))(graph)
        self.aliases = find_aliases(
            graph, order, alias_options(plan.target, alias=bool(said.get("alias", True)))
        )
        self.content: Contents = contents_of(graph, order, self.aliases)
        self.arena = Arena(plan)
        self.trace: list[str] = []
        self.steps = self.bytes_moved = 0

    def walk(self, given: Mapping[str, Array], until: int) -> dict[str, Array]:
        """Steps 0..until-1; returns what the last operator left, when that is not the end."""
        plan = self.plan
        steps = plan.problem.steps
        opening: dict[int, list[Residency]] = {}
        closing: dict[int, list[Residency]] = {}
        arriving: dict[int, list[Residency]] = {}
        for r in plan.residencies:
            opening.setdefault(r.start, []).append(r)
            closing.setdefault(r.end, []).append(r)
            if r.start < r.ready < r.end:
                arriving.setdefault(r.ready, []).append(r)
        moving = self._moves_by_step()
        ran = [t for t in range(until) if steps[t].kind != DMA_STEP]
        shown = ran[-1] if ran and until < len(steps) else None
        made: dict[str, Array] = {}
        for t in range(until):
            self.arena.begin_step(t, closing.get(t, ()), opening.get(t, ()), arriving.get(t, ()))
            if t == 0:
                self._load(given)
            sources = self._move(t, moving.get(t, ()))
            if steps[t].kind != DMA_STEP:
                operator = self.imported.graph.operators[steps[t].operator]
                self._operate(t, operator, sources)
                self.steps += 1
                if t == shown:
                    made = self._results(t, operator)
            self.options.progress(t + 1, until)
        return made

    def _moves_by_step(self) -> dict[int, list[tuple[Transfer, int, int]]]:
        """(transfer, first byte, bytes) of every step; a transfer moves all of its slice."""
        problem = self.plan.problem
        moving: dict[int, list[tuple[Transfer, int, int]]] = {}
        for transfer in self.plan.transfers:
            if not 0 <= transfer.buffer < len(problem.buffers):
                raise VerificationError(f"impossible transfer: {transfer}")
            position = transfer.start_byte
            for step, size in transfer.moves:
                if not 0 <= step < len(problem.steps) or size <= 0:
                    raise VerificationError(f"impossible transfer: {transfer}")
                moving.setdefault(step, []).append((transfer, position, size))
                position += size
            if position != transfer.end_byte or not transfer.moves:
                raise VerificationError(
                    f"a transfer of {problem.buffers[transfer.buffer].name!r} moves "
                    f"{position - transfer.start_byte} bytes, its slice has "
                    f"{transfer.end_byte - transfer.start_byte}",
                    {"tensor": problem.buffers[transfer.buffer].name},
                )
        return moving

    def _tell(self, text: str) -> None:
        if self.options.trace:
            self.trace.append(text)

    def _load(self, given: Mapping[str, Array]) -> None:
        """What is at home before the first step."""
        problem, target = self.plan.problem, self.plan.target
        for name, array in given.items():
            if name not in self.place:
                continue
            index, begin, end = self.place[name]
            if begin == end:
                continue
            home = target.homes[problem.buffers[index].kind]
            data = as_bytes(array)
            what = f"loading {name!r}"
            for r, low, high in self.arena.pieces(index, begin, end, 0, what, tier=home):
                address = r.offset + low - r.start_byte
                size = high - low
                self.arena.memory[home][address : address + size] = data[low - begin : high - begin]
                self.arena.owners[home].replace(
                    address, address + size, cut(self.content[name], low - begin, high - begin)
                )

    def _move(
        self, t: int, moves: "list[tuple[Transfer, int, int]] | tuple[()]"
    ) -> list[tuple[str, int, int]]:
        """Copy what DMA moves in this step; returns the addresses it reads."""
        sources: list[tuple[str, int, int]] = []
        for transfer, begin, size in moves:
            name = self.plan.problem.buffers[transfer.buffer].name
            end = begin + size
            what = f"DMA of {name!r} {transfer.source} -> {transfer.destination}"
            if self.plan.target.link(transfer.source, transfer.destination) is None:
                raise VerificationError(f"step {t}, {what}: the target has no such link")
            arena = self.arena
            out = arena.pieces(transfer.buffer, begin, end, t, what, tier=transfer.source)
            into = arena.pieces(
                transfer.buffer, begin, end, t, what, tier=transfer.destination, ready=False
            )
            for r, low, high in out:
                address = r.offset + low - r.start_byte
                sources.append((r.tier, address, address + high - low))
                for d, a, b in into:
                    x, y = max(low, a), min(high, b)
                    if x < y:
                        arena.copy(
                            (r.tier, r.offset + x - r.start_byte),
                            (d.tier, d.offset + x - d.start_byte),
                            y - x,
                            t,
                            what,
                        )
            self.bytes_moved += size
            self._tell(f"step {t}: {what} bytes [{begin}, {end})")
        return sources

    def _operate(self, t: int, operator: Operator, sources: list[tuple[str, int, int]]) -> None:
        """Read operands from the arena, run the kernel, write results into the arena."""
        graph = self.imported.graph
        absorbed = absorbed_inputs(operator, self.aliases)
        what = f"{operator.kind} {operator.name!r}"
        self._scribble(t, operator, what)
        feeds: dict[str, Array] = {}
        for name in operator.inputs:
            found = self.imported.scope.types[name]
            if name in absorbed:  # lies in the result already; the kernel's copy is not stored
                feeds[name] = np.zeros(found.shape, dtype=np.dtype(found.dtype))
                continue
            feeds[name] = self._operand(t, name, what)
        results = self.kernels.run(operator, feeds)
        for name in operator.outputs:
            if name not in results:
                continue  # stands for a subgraph's intermediates
            index, begin, _ = self.place[name]
            data = as_bytes(results[name])
            planned = graph.values[name].size_bytes
            if len(data) != planned:
                raise VerificationError(
                    f"step {t}, {what}: {name!r} has {len(data)} bytes, planned {planned}"
                )
            for low, high in written_ranges(graph, operator, name, absorbed):
                content = cut(self.content[name], low, high)
                written = self.arena.write(index, begin + low, t, what, data[low:high], content)
                self._refuse_race(t, what, written, sources)
                self._tell(f"step {t}: {what} writes {name!r} to {written}")
        self._scribble(t, operator, what)

    def _scribble(self, t: int, operator: Operator, what: str) -> None:
        """Use the space of a subgraph's intermediates, before and after everything else."""
        for name in operator.outputs:
            index, begin, end = self.place[name]
            if name not in self.imported.scope.types and begin < end:
                self.arena.scribble(index, begin, end, t, f"{what} computing inside")

    def _results(self, t: int, operator: Operator) -> dict[str, Array]:
        """What an operator left in memory: parts that were there before it included."""
        left: dict[str, Array] = {}
        for name in operator.outputs:
            found = self.imported.scope.types.get(name)
            if found is None:
                continue  # stands for a subgraph's intermediates
            index, begin, end = self.place[name]
            data = np.zeros(0, dtype=np.uint8)
            if begin < end:
                what = f"{operator.kind} {operator.name!r} leaving {name!r}"
                data = self.arena.read(index, begin, end, t, what, self.content[name])
            left[name] = typed(data.copy(), found.dtype, found.shape)
        return left

    def _operand(self, t: int, name: str, what: str) -> Array:
        found = self.imported.scope.types[name]
        index, begin, end = self.place.get(name, (0, 0, 0))
        if begin == end:
            return np.zeros(found.shape, dtype=np.dtype(found.dtype))
        data = self.arena.read(index, begin, end, t, f"{what} reading {name!r}", self.content[name])
        self._tell(f"step {t}: {what} reads {name!r}")
        return typed(data, found.dtype, found.shape)

    @staticmethod
    def _refuse_race(
        t: int, what: str, written: list[tuple[str, int, int]], sources: list[tuple[str, int, int]]
    ) -> None:
        for tier, low, high in written:
            for source, begin, end in sources:
                if tier == source and low < end and begin < high:
                    raise VerificationError(
                        f"step {t}, {what}: writes {tier} [{low}, {high}) while DMA reads it"
                    )

    def finals(self) -> dict[str, Array]:
        """All outputs at the end."""
        return {n: self._final(n) for n in self.imported.graph.outputs if n in self.place}

    def _final(self, name: str) -> Array:
        """An output at the end: in its home tier."""
        found = self.imported.scope.types[name]
        index, begin, end = self.place[name]
        problem, target = self.plan.problem, self.plan.target
        home = target.homes[problem.buffers[index].kind]
        last = len(problem.steps)
        data = np.empty(end - begin, dtype=np.uint8)
        what = f"output {name!r}"
        if begin == end:
            return typed(data, found.dtype, found.shape)
        for r, low, high in self.arena.pieces(index, begin, end, last, what, tier=home):
            address = r.offset + low - r.start_byte
            expected = cut(self.content[name], low - begin, high - begin)
            if self.arena.owners[home].read(address, address + high - low) != expected:
                raise VerificationError(
                    f"{what}: {home} at address {address} does not hold it at the end"
                )
            data[low - begin : high - begin] = self.arena.memory[home][
                address : address + high - low
            ]
        return typed(data, found.dtype, found.shape)


def as_bytes(array: Array) -> Bytes:
    """The bytes of an array, in C order."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def typed(data: Bytes, dtype: str, shape: tuple[int, ...]) -> Array:
    """Bytes as an array; a view where the address allows it."""
    kind = np.dtype(dtype)
    if data.ctypes.data % kind.alignment:
        data = data.copy()
    return data.view(kind).reshape(shape)


def compare_arrays(name: str, found: Array, expected: Array, *, half: bool = False) -> OutputCheck:
    """Compare an output with the ordinary run's; NaN equals NaN.

    Args:
        name: of the output.
        found: its value by the plan.
        expected: its value by the ordinary run.
        half: float16 tensors lead to it, so that it is no more exact than those.
    """
    finite = bool(np.isfinite(expected).all()) if expected.dtype.kind == "f" else True
    if found.shape != expected.shape:
        return OutputCheck(name, float("inf"), 0.0, bit_exact=False, finite=finite, passed=False)
    if found.tobytes() == expected.tobytes():
        return OutputCheck(name, 0.0, 0.0, bit_exact=True, finite=finite, passed=True)
    a, b = found.astype(np.float64), expected.astype(np.float64)
    same = (np.isnan(a) & np.isnan(b)) | (a == b)
    with np.errstate(invalid="ignore"):  # equal infinities have no difference
        difference = np.where(same, 0.0, np.abs(a - b))
    worst = float(np.nan_to_num(difference, nan=np.inf, posinf=np.inf).max(initial=0.0))
    scale = float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
    if found.dtype.kind == "f":
        relative = RELATIVE_TOLERANCE * (100 if half or found.dtype == np.float16 else 1)
        tolerance = ABSOLUTE_TOLERANCE + relative * scale
    else:  # a quantised result may round the other way; anything else must be equal
        tolerance = 1.0 if found.dtype.itemsize == 1 and found.dtype.kind in "iu" else 0.0
    # Large integers can differ by less than a float64 shows; where none is allowed, bytes decide.
    passed = tolerance > 0.0 and worst <= tolerance
    return OutputCheck(name, worst, tolerance, bit_exact=False, finite=finite, passed=passed)
