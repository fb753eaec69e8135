"""Plans as firmware on the emulated Cortex-M55, compared with onnxruntime operator by operator.

Needs qemu-system-arm and arm-none-eabi-gcc with newlib.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.support.models import model_file
from tests.support.quantised_models import gallery, keyword
from ullage.compiler.common.errors import ModelError, TimeLimitError, UsageError, VerificationError
from ullage.compiler.device.output import results_of
from ullage.compiler.device.runner import (
    DeviceOptions,
    DeviceRun,
    run_deployment,
    run_on_device,
)
from ullage.compiler.device.toolchain import build, emulate, missing_tools
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.emit.cortex_m.deployment import Deployment, deployment_of
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.schedule import Schedule, part_of

MISSING = missing_tools()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")

SHARED = Path(__file__).parents[3].parent / "shared" / "validation" / "models"
# Everything that an operator reads or writes has to be copied to the fastest memory.
ALL_COPIED = {"operand_access": "fastest", "weights_in_fastest": "true"}


def plan_of(path: Path, fast_bytes: int, solver: str = "greedy", **options: Any) -> Plan:
    chosen = CompileOptions(
        target="mps3-an547",
        solver=solver,
        fast_memory_bytes=fast_bytes,
        **options,
    )
    return compile_model(path, chosen).plan


def said(run: DeviceRun) -> str:
    """What differs, for a failing test."""
    wrong = [c for c in (*run.operators, *run.outputs) if not c.passed]
    return "; ".join(f"{c.kind} {c.name}: off by {c.max_abs_diff}" for c in wrong)


# -- small models built in code ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("make", [keyword, gallery])
def test_every_8_bit_kernel_is_bit_exact(
    make: Callable[[str], onnx.ModelProto], dtype: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(make(dtype), path)
    plan = plan_of(path, 2048, overrides=ALL_COPIED)
    run = run_on_device(path, plan)
    assert run.passed, said(run)
    assert all(c.bit_exact for c in (*run.operators, *run.outputs))
    assert run.transfers == len(plan.transfers) > 5
    assert run.steps == len({c.step for c in run.operators})


@pytest.mark.parametrize("name", ["concat", "swish", "views", "late", "quantised"])
def test_float_models(name: str) -> None:
    path = model_file(name)
    run = run_on_device(path, plan_of(path, 2048))
    assert run.passed, said(run)
    assert run.operators


@pytest.mark.parametrize("name", ["slices", "rows"])
def test_float_models_without_shared_storage(name: str) -> None:
    path = model_file(name)
    with pytest.raises(ModelError, match="--no-alias"):
        deployment_of(plan_of(path, 4096), path)
    run = run_on_device(path, plan_of(path, 4096, alias=False))
    assert run.passed, said(run)


def test_steady_state_keeps_weights_for_the_next_inference(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(keyword(), path)
    plan = plan_of(path, 2048, "fluid", steady_state=True, overrides=ALL_COPIED)
    carried = [r for r in plan.residencies if (r.start, r.ready) == (0, 0) and r.tier == "dtcm"]
    assert carried  # weights that are in fast memory from one inference to the next
    first = run_on_device(path, plan, DeviceOptions(dma_last=True))
    assert first.passed, said(first)
    assert first.inferences == 3
    assert len(first.outputs) == 3
    assert {c.crc32 for c in first.outputs} == {first.outputs[0].crc32}


def in_stripes() -> Schedule:
    """`keyword` with its convolutions in parts: rows, then columns and channels of the last."""
    return Schedule(
        "stripes",
        (
            part_of(0, {2: (0, 4)}),
            part_of(1, {2: (0, 2)}),
            part_of(2, {2: (0, 2), 3: (0, 4)}),
            part_of(2, {2: (0, 2), 3: (4, 6)}),
            part_of(0, {2: (4, 5)}),
            part_of(1, {2: (2, 4)}),
            part_of(2, {2: (2, 4), 3: (0, 4)}),
            part_of(2, {2: (2, 4), 3: (4, 6)}),
            *(part_of(index, {}) for index in range(3, 7)),
        ),
    )


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_operators_in_parts(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(keyword(dtype), path)
    plan = plan_of(path, 2048, "msa", schedule=in_stripes())
    layouts = [v.layout for b in plan.problem.buffers for v in b.values if v.layout]
    assert any(layout.cuts for layout in layouts)
    run = run_on_device(path, plan)
    assert run.passed, said(run)
    assert all(c.bit_exact for c in run.operators)
    assert len(run.operators) > run.steps - 1 >= 10


# -- mutations -----------------------------------------------------------------------------------


Small = tuple[Plan, Deployment]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A plan with copies of a small model, and its deployment."""
    path = tmp_path_factory.mktemp("small") / "keyword.onnx"
    onnx.save(keyword(), path)
    plan = plan_of(path, 2048, overrides=ALL_COPIED)
    return plan, deployment_of(plan, path)


def mutated(deployment: Deployment, name: str, change: Callable[[str], str]) -> Deployment:
    """The deployment with a changed text file."""
    text = deployment.files[name].decode()
    changed = change(text)
    assert changed != text
    return replace(deployment, files={**deployment.files, name: changed.encode()})


def rows(text: str, table: str) -> list[str]:
    """The rows of a C table."""
    found = re.search(rf"const \w+ {table}\[\] = {{\n(.*?)\n}};", text, re.DOTALL)
    assert found
    return found[1].splitlines()


def shifted(text: str, bytes_more: int) -> str:
    """The tables with an operand that is written moved by some bytes, for its writer only."""
    operands, spans = rows(text, "ullage_operands"), rows(text, "ullage_spans")
    number = next(i for i, row in enumerate(operands) if re.search(r", 1, \d+, 1},", row))
    row = spans[number]
    tier, address, rest = row.strip().removeprefix("{").split(", ", 2)
    return text.replace(
        "\n".join(spans),
        "\n".join(
            [
                *spans[:number],
                f"  {{{tier}, {int(address) + bytes_more}, {rest}",
                *spans[number + 1 :],
            ]
        ),
    )


def test_a_wrong_offset_is_seen(small: Small, tmp_path: Path) -> None:
    plan, deployment = small
    wrong = mutated(deployment, "ullage_plan.c", lambda text: shifted(text, 16))
    run = run_deployment(wrong, plan, tmp_path, DeviceOptions())
    assert not run.passed
    # The writer's own bytes are right where it has put them; who reads them is wrong.
    assert run.operators[0].passed
    assert not run.operators[1].passed
    assert not run.outputs[0].bit_exact


def test_an_address_outside_the_arena_faults(small: Small, tmp_path: Path) -> None:
    plan, deployment = small
    wrong = mutated(deployment, "ullage_plan.c", lambda text: shifted(text, 1 << 20))
    with pytest.raises(VerificationError, match=r"fault: .* no region allows, at 0x30100"):
        run_deployment(wrong, plan, tmp_path, DeviceOptions())


def test_a_missing_copy_is_seen(small: Small, tmp_path: Path) -> None:
    plan, deployment = small

    def without_a_copy(text: str) -> str:
        copies = rows(text, "ullage_copies")
        fields = copies[2].rstrip("},").split(", ")
        return text.replace(copies[2], ", ".join([*fields[:-1], "0"]) + "},")

    wrong = mutated(deployment, "ullage_plan.c", without_a_copy)
    run = run_deployment(wrong, plan, tmp_path, DeviceOptions())
    assert not run.passed


def test_too_small_an_arena_does_not_build(small: Small, tmp_path: Path) -> None:
    plan, deployment = small
    wrong = mutated(
        deployment, "ullage.ld", lambda text: text.replace("LENGTH = 2048", "LENGTH = 256")
    )
    with pytest.raises(VerificationError, match="region `DTCM' overflowed"):
        run_deployment(wrong, plan, tmp_path, DeviceOptions())
    assert not (tmp_path / "firmware.elf").exists()


# -- limits and tools ----------------------------------------------------------------------------


def test_the_time_limit_ends_the_emulation(small: Small, tmp_path: Path) -> None:
    _, deployment = small
    deployment.write(tmp_path)
    firmware = build(tmp_path, "-DULLAGE_INFERENCES=100000000")
    with pytest.raises(TimeLimitError, match="--time-limit"):
        emulate(firmware, 0.5)


def test_missing_tools_are_named_with_their_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"qemu-system-arm missing; install: apt-get install .*"):
        build(tmp_path, "")


def test_bytes_and_printed_checksums_must_agree(small: Small) -> None:
    _, deployment = small
    step = next(t for t, o in enumerate(deployment.program.operands) if o)
    operand = next(k for k, o in enumerate(deployment.program.operands[step]) if o.write)
    text = f"operator {step} {operand} 0x00000001\ndone\n"
    with pytest.raises(VerificationError, match="CRC-32"):
        results_of(text, b"\1" * 10_000, deployment.program)


# -- networks of MLPerf Tiny ---------------------------------------------------------------------

# CRC-32 of each operator's result and, last, of the output, for the inputs of seed 0. Made by
# onnxruntime 1.32 (QDQ fused) on an AMD EPYC with AVX2, and the same on the emulated processor.
EXPECTED = {
    "ad01": "6b4acf0f d62bcd39 319dc69c 72d19c85 3b7a3cf8 20c5931f f633225f 7d8543b7 e1e8e287 "
    "657189cb 657189cb",
    "kws": "7326c304 550476fe c790ed1a ca73266f df727e55 9264f2d4 3dba3f1a dab46d18 980f2105 "
    "b307ebe7 6a5a2fc4 fe23008f fe23008f",
    "resnet8": "baf3010f cec955f7 7262e4f8 3380eaca 9ca79d1c 46ced96c 28730826 2a040a0f 08d29054 "
    "357dc032 a271aa0d 4800a7d4 6151b0b8 0e01d5db c85cefe1 96479254 96479254",
}
# Bytes of fast memory: little more than the largest operator needs, and much more.
SIZES = {"ad01": (84, 120), "kws": (22, 40), "resnet8": (58, 100)}


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared validation models")
@pytest.mark.parametrize("solver", ["greedy", "msa", "fluid", "cpsat"])
@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("name", list(EXPECTED))
def test_networks_are_bit_exact(name: str, size: int, solver: str) -> None:
    path = SHARED / f"{name}_qdq.onnx"
    given = {"time_limit_s": "2"} if solver == "cpsat" else {}  # cpsat: whole tensors
    fast = SIZES[name][size] * 1024
    plan = plan_of(path, fast, solver, batch=1, overrides=ALL_COPIED, parameters=given)
    run = run_on_device(path, plan)
    computed = [f"{c.crc32:08x}" for c in (*run.operators, *run.outputs)]
    assert computed == EXPECTED[name].split()
    assert run.passed, said(run)
