"""A plan on an emulated processor, compared with onnxruntime operator by operator."""

import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ullage.compiler.common.errors import UsageError
from ullage.compiler.device.output import Result, results_of
from ullage.compiler.device.reference import Reference, reference_of
from ullage.compiler.device.toolchain import build, emulate
from ullage.compiler.emit.cortex_m.board import PROCESSOR
from ullage.compiler.emit.cortex_m.deployment import Deployment, as_planned, deployment_of
from ullage.compiler.execute.compare import compare_arrays
from ullage.compiler.execute.element_types import Array, as_bytes, numpy_dtype
from ullage.compiler.execute.runner import STEADY_INFERENCES
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.program import DMA_STEP
from ullage.compiler.verify.verifier import verify

# Seconds that an emulation may take by default.
TIME_LIMIT_S = 120.0


@dataclass(frozen=True)
class DeviceCheck:
    """A result of an operator, or an output of the model, compared with onnxruntime's.

    Attributes:
        name: of the tensor.
        step: step of the operator; None for an output after the last step.
        kind: kind of the operator, or `output`.
        inference: number of the inference, from 1.
        crc32: CRC-32 of the bytes that the processor has.
        expected_crc32: CRC-32 of onnxruntime's.
        max_abs_diff: largest absolute difference.
        tolerance: largest that is allowed: 0 for integer kernels and copies.
        passed: equal, or within tolerance.
    """

    name: str
    step: int | None
    kind: str
    inference: int
    crc32: int
    expected_crc32: int
    max_abs_diff: float
    tolerance: float
    passed: bool

    @property
    def bit_exact(self) -> bool:
        """Whether all bytes are equal."""
        return self.crc32 == self.expected_crc32


@dataclass(frozen=True)
class DeviceRun:
    """A run on the emulated processor.

    Attributes:
        processor: its name.
        operators: results of operators, in step order, inference by inference.
        outputs: outputs of the model after the last step of each inference.
        steps: operators run.
        transfers: transfers of the plan completed.
        bytes_moved: bytes copied from tier to tier.
        inferences: how many.
        reference_nodes: operator types that onnxruntime ran, with how many of each.
    """

    processor: str
    operators: tuple[DeviceCheck, ...]
    outputs: tuple[DeviceCheck, ...]
    steps: int
    transfers: int
    bytes_moved: int
    inferences: int
    reference_nodes: Mapping[str, int]

    @property
    def passed(self) -> bool:
        """Whether every operator and every output agrees."""
        return all(check.passed for check in (*self.operators, *self.outputs))


@dataclass(frozen=True)
class DeviceOptions:
    """How to run a plan on a processor.

    Attributes:
        seed: seed of inputs, and of weights that the model file lacks.
        inferences: how many in a row; default 1, and 3 for a plan in steady state.
        time_limit_s: wall-clock limit of the emulation, in seconds.
        folder: where the deployment is written and built; a temporary one by default.
        dma_last: in each step the operator runs before the copies, not after them.
    """

    seed: int = 0
    inferences: int | None = None
    time_limit_s: float = TIME_LIMIT_S
    folder: Path | None = None
    dma_last: bool = False


def run_on_device(model: Path, plan: Plan, options: DeviceOptions | None = None) -> DeviceRun:
    """Build a deployment of a plan, run it in QEMU, compare every operator with onnxruntime.

    Args:
        model: the model file that was compiled.
        plan: its plan, for a target whose tiers are the board's.
        options: how to run.

    Raises:
        UsageError: the target is another board's, a tool is missing.
        ModelError: there is no kernel for an operator; names it.
        VerificationError: the plan is illegal, the firmware does not build or faults.
        TimeLimitError: the emulation takes too long.
    """
    chosen = options or DeviceOptions()
    verify(plan)
    deployment = deployment_of(plan, model, chosen.seed)
    if chosen.folder is not None:
        return run_deployment(deployment, plan, chosen.folder, chosen)
    with tempfile.TemporaryDirectory(prefix="ullage-") as name:
        return run_deployment(deployment, plan, Path(name), chosen)


def run_deployment(
    deployment: Deployment, plan: Plan, folder: Path, options: DeviceOptions
) -> DeviceRun:
    """Build a deployment in a folder, run it, compare; errors as for `run_on_device`."""
    count = options.inferences
    if count is None:
        count = STEADY_INFERENCES if plan.problem.steady_state else 1
    if count < 1:
        raise UsageError(f"--inferences takes a number of at least 1, not {count}")
    deployment.write(folder)
    defines = f"-DULLAGE_DUMP -DULLAGE_INFERENCES={count}"
    firmware = build(folder, defines + (" -DULLAGE_DMA_LAST" if options.dma_last else ""))
    printed = emulate(firmware, options.time_limit_s)
    dumped = (folder / "results.bin").read_bytes()
    return judge(plan, deployment, results_of(printed, dumped, deployment.program), count)


def judge(plan: Plan, deployment: Deployment, results: list[Result], count: int) -> DeviceRun:
    """Compare results with onnxruntime's.

    Args:
        plan: the plan.
        deployment: its deployment, with the inputs.
        results: what the firmware computed.
        count: inferences.
    """
    reference = reference_of(deployment.executor, deployment.inputs)
    checks = [_check(plan, deployment, reference, result) for result in results]
    steps = sum(step.kind != DMA_STEP for step in plan.problem.steps)
    return DeviceRun(
        processor=PROCESSOR,
        operators=tuple(c for c in checks if c.step is not None),
        outputs=tuple(c for c in checks if c.step is None),
        steps=steps * count,
        transfers=len(plan.transfers) * count,
        bytes_moved=sum(c.size_bytes for c in deployment.program.copies) * count,
        inferences=count,
        reference_nodes=reference.nodes,
    )


def _check(plan: Plan, deployment: Deployment, reference: Reference, result: Result) -> DeviceCheck:
    """One result against its expected bytes: the part of a tensor that an operator has written."""
    buffer = plan.problem.buffers[result.operand.buffer]
    begin = result.operand.spans[0].start_byte
    end = begin + len(result.data)
    outputs = deployment.executor.imported.graph.outputs
    wanted = outputs if result.step is None else (result.operand.name,)
    value = next(
        v for v in buffer.values if v.name in wanted and v.start_byte <= begin and end <= v.end_byte
    )
    name = value.name
    expected = reference.arrays[name]
    graph_value = deployment.executor.imported.graph.values[name]
    laid_out = as_planned(expected, graph_value, value.layout)
    data = as_bytes(laid_out)[begin - value.start_byte : end - value.start_byte]
    actual = np.frombuffer(result.data, dtype=np.uint8)
    dtype = numpy_dtype(deployment.executor.imported.scope.types[name].dtype)
    compared = compare_arrays(name, _numbers(actual, dtype), _numbers(data, dtype))
    exact = name in reference.exact
    return DeviceCheck(
        name=name,
        step=result.step,
        kind="output" if result.step is None else plan.problem.steps[result.step].kind,
        inference=result.inference,
        crc32=result.crc32,
        expected_crc32=zlib.crc32(data.tobytes()),
        max_abs_diff=compared.max_abs_diff,
        tolerance=0.0 if exact else compared.tolerance,
        passed=compared.bit_exact or (compared.passed and not exact),
    )


def _numbers(data: Array, dtype: np.dtype[np.generic]) -> Array:
    return np.frombuffer(data.tobytes(), dtype=dtype)
