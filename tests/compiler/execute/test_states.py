"""States executed: caches and parameters that live from one inference to the next."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import onnx
import pytest

from tests.support.decode_models import (
    Decoder,
    grouped_decoder,
    growing_decoder,
    preallocated_decoder,
)
from tests.support.onnx_models import info, model, node, weight
from ullage.compiler.common.errors import UsageError, VerificationError
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.result import Compiled
from ullage.compiler.driver.summary import summarise
from ullage.compiler.execute.runner import RunOptions, run_plan
from ullage.compiler.importer.states.pairs import NO_STATES
from ullage.compiler.ir.plan import Plan, Residency
from ullage.compiler.ir.plan_json import dump_plan, load_plan
from ullage.compiler.verify.verifier import find_violations

SMALL = Decoder(layers=1, heads=2, kv_heads=1, head_size=16, hidden=32, vocabulary=16)


def training_step() -> onnx.ModelProto:
    """The update w - x^T (x w - y) of parameters that products read before it."""
    return model(
        [
            node("MatMul", "x w", "guess"),
            node("Sub", "guess y", "error"),
            node("Transpose", "x", "columns", perm=[1, 0]),
            node("MatMul", "columns error", "gradient"),
            node("Mul", "gradient rate", "step"),
            node("Sub", "w step", "w_next"),
        ],
        [info("w", (16, 8)), info("x", (4, 16)), info("y", (4, 8))],
        [info("w_next", (16, 8))],
        [weight("rate", ())],
    )


MODELS = {
    "grows": lambda: growing_decoder(replace(SMALL, kv_heads=2, length="past")),
    "allocated": lambda: preallocated_decoder(replace(SMALL, length=12)),
    "attends": lambda: grouped_decoder(16),
    "trains": training_step,
}
TARGETS = ("edge-npu", "edge-npu-spm", "phone-npu-flash", "cosma")


def no_states() -> onnx.ModelProto:
    """A product alone: nothing of it lives on."""
    return model(
        [node("MatMul", "x w", "y")],
        [info("x", (64, 64))],
        [info("y", (64, 64))],
        [weight("w", (64, 64))],
    )


def test_where_none_are_found_the_model_is_planned_as_any_other() -> None:
    options = CompileOptions(target="edge-npu", fast_memory_bytes=16384)
    plain = compile_model(no_states(), options)
    sought = compile_model(no_states(), replace(options, states=("auto",)))
    assert NO_STATES in sought.plan.notes
    assert NO_STATES not in plain.plan.notes
    assert sought.value == plain.value
    assert sought.plan.problem == plain.plan.problem
    assert "--state" not in sought.whole_because
    assert "state" not in sought.plan.model


@cache
def folder() -> Path:
    import tempfile

    made = Path(tempfile.mkdtemp(prefix="ullage-states-"))
    for name, maker in MODELS.items():
        onnx.save(maker(), made / f"{name}.onnx")
    return made


@cache
def compiled(
    name: str, target: str, solver: str, *, steady: bool = False, fast: int = 6144, past: int = 8
) -> Compiled:
    return compile_model(
        folder() / f"{name}.onnx",
        CompileOptions(
            target=target,
            solver=solver,
            fast_memory_bytes=fast,
            states=("auto",),
            dims={"past": past} if name == "grows" else {},
            steady_state=steady,
            schedule="whole",
        ),
    )


@pytest.mark.wide(20)
@pytest.mark.parametrize("steady", [False, True])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("solver", ["all-slow", "greedy", "msa", "fluid"])
def test_inferences_in_a_row_equal_the_ordinary_ones(
    name: str, target: str, solver: str, steady: bool
) -> None:
    made = compiled(name, target, solver, steady=steady, fast=6144)
    count = 8
    done = run_plan(folder() / f"{name}.onnx", made.plan, RunOptions(inferences=count))
    assert done.passed
    assert done.inferences == count
    for output in {check.name for check in done.outputs}:
        checks = [check for check in done.outputs if check.name == output]
        assert len(checks) == count
        assert not any(check.constant and output == "logits" for check in checks)


def test_an_inference_begins_with_what_the_one_before_left() -> None:
    """Not with inputs of its own: the parameters move on from inference to inference."""
    made = compiled("trains", "edge-npu", "greedy")
    path = folder() / "trains.onnx"
    one, two = (run_plan(path, made.plan, RunOptions(inferences=n)).arrays for n in (1, 2))
    again = run_plan(path, replace(made.plan), RunOptions(inferences=1)).arrays
    assert (one["w_next"] == again["w_next"]).all()
    assert (one["w_next"] != two["w_next"]).any()


def test_states_run_several_inferences_by_default() -> None:
    made = compiled("trains", "edge-npu", "greedy")
    assert run_plan(folder() / "trains.onnx", made.plan).inferences == 3


def test_a_cache_that_grows_runs_at_lengths_up_to_the_planned_one(tmp_path: Path) -> None:
    made = compiled("grows", "edge-npu", "greedy")
    path = folder() / "grows.onnx"
    assert run_plan(path, made.plan).inferences == 1
    assert run_plan(path, made.plan, RunOptions(inferences=8)).passed
    with pytest.raises(UsageError, match="at most 8 inferences in a row, not 9"):
        run_plan(path, made.plan, RunOptions(inferences=9))
    fixed = tmp_path / "fixed.onnx"
    onnx.save(growing_decoder(SMALL), fixed)
    options = CompileOptions(solver="all-slow", states=("auto",), schedule="whole")
    with pytest.raises(UsageError, match="is 8 in the model's file"):
        run_plan(fixed, compile_model(fixed, options).plan, RunOptions(inferences=2))


def test_the_cache_is_not_copied() -> None:
    path = folder() / "grows.onnx"
    options = CompileOptions(solver="all-slow", schedule="whole", dims={"past": 8})
    apart = compile_model(path, options)
    kept = compiled("grows", "edge-npu", "all-slow", fast=1 << 20)
    row = 4 * 2 * SMALL.head_size
    slow, slower = (sum(c.score.traffic_bytes.values()) for c in (kept, apart))
    assert slower - slow >= 2 * (8 + 8) * row  # no Concat copies the old rows
    state = summarise(kept)["state"]
    assert state == [
        {
            "input": f"past_{which}0",
            "output": f"present_{which}0",
            "bytes": 9 * row,
            "written_bytes": row,
        }
        for which in "kv"
    ]


def test_plans_with_states_survive_their_file() -> None:
    plan = compiled("grows", "edge-npu", "greedy").plan
    again = load_plan(dump_plan(plan), "a test")
    assert again.problem.program == plan.problem.program
    assert run_plan(folder() / "grows.onnx", again).passed


def state_buffers(plan: Plan) -> set[int]:
    return {b for b, buffer in enumerate(plan.problem.buffers) if buffer.kind == "state"}


def moved(plan: Plan, chosen: Residency, **changes: int) -> Plan:
    items = [replace(r, **changes) if r is chosen else r for r in plan.residencies]
    return replace(plan, residencies=tuple(items))


def top_of(plan: Plan, tier: str) -> int:
    ends = [r.offset + r.end_byte - r.start_byte for r in plan.residencies if r.tier == tier]
    return -(-max(ends) // 64) * 64


@pytest.mark.parametrize("name", ["allocated", "trains"])
@pytest.mark.parametrize("solver", ["greedy", "fluid"])
def test_another_address_at_the_end_is_caught(name: str, solver: str) -> None:
    plan = compiled(name, "edge-npu-spm", solver).plan
    last = len(plan.problem.steps)
    mutants = 0
    for item in plan.residencies:
        is_last = item.buffer in state_buffers(plan) and item.tier == "dram" and item.end == last
        if not is_last or item.start == 0:
            continue
        mutants += 1
        broken = moved(plan, item, offset=top_of(plan, "dram"))
        assert {v.rule for v in find_violations(broken)} == {"wrap"}
        with pytest.raises(VerificationError):
            run_plan(folder() / f"{name}.onnx", broken, RunOptions(inferences=2))
    assert mutants


@pytest.mark.parametrize("name", ["grows", "allocated", "trains"])
def test_a_stale_row_at_the_end_is_caught(name: str) -> None:
    """The spill is left out, and what was at home before the step stays there to the end."""
    plan = compiled(name, "edge-npu-spm", "greedy").plan
    last, mutants = len(plan.problem.steps), 0
    for transfer in plan.transfers:
        if transfer.buffer not in state_buffers(plan) or transfer.destination != "dram":
            continue
        span = (transfer.buffer, transfer.start_byte, transfer.end_byte)
        homes = [r for r in plan.residencies if r.tier == "dram"]
        same = [r for r in homes if (r.buffer, r.start_byte, r.end_byte) == span]
        first = min(same, key=lambda r: r.start)
        kept = [r for r in plan.residencies if r not in same]
        kept.append(replace(first, end=last))
        broken = replace(
            plan,
            residencies=tuple(sorted(kept, key=lambda r: (r.buffer, r.start_byte, r.start))),
            transfers=tuple(t for t in plan.transfers if t is not transfer),
        )
        mutants += 1
        assert "output-lost" in {v.rule for v in find_violations(broken)}
        with pytest.raises(VerificationError):
            run_plan(folder() / f"{name}.onnx", broken)
    assert mutants


def test_a_read_after_the_overwrite_is_caught() -> None:
    """Steps in another order: the product reads the parameters when they are new already."""
    plan = compiled("trains", "edge-npu", "all-slow").plan
    steps = list(plan.problem.steps)
    reader = next(t for t, s in enumerate(steps) if any(u.value == "w" for u in s.uses))
    writer = next(t for t, s in enumerate(steps) if any(u.value == "w_next" for u in s.uses))
    late = steps.pop(reader)
    steps.insert(writer, late)
    program = replace(plan.problem.program, steps=tuple(steps))
    broken = replace(plan, problem=replace(plan.problem, program=program))
    with pytest.raises((VerificationError, UsageError)):
        run_plan(folder() / "trains.onnx", broken)
    order = [s.operator for s in steps if s.operator >= 0]
    described = {**plan.model, "order": "model", "operator_order": order}
    with pytest.raises(UsageError, match="is no order of"):
        run_plan(folder() / "trains.onnx", replace(broken, model=described))
