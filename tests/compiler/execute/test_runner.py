"""Real plans, executed: small models that cover every way of sharing, and the wheel's networks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.support.models import (
    MODELS,
    SOLVERS,
    TARGETS,
    Case,
    executed,
    executor,
    model_file,
    prepared_model,
    solved,
    steady,
)
from tests.support.onnx_models import const, imported, info, model, node
from tests.support.solving import solve_with
from ullage.compiler.common.errors import InfeasibleError, UsageError, VerificationError
from ullage.compiler.driver.compile import compile_model, prepare
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.execute.element_types import numpy_dtype
from ullage.compiler.execute.runner import (
    Execution,
    Executor,
    RunOptions,
    compare_arrays,
    run_plan,
)
from ullage.compiler.importer.build import ImportOptions
from ullage.compiler.importer.model_zoo import find_model, named_models
from ullage.compiler.ir.plan import Residency
from ullage.compiler.ir.program import DMA_STEP
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import score
from ullage.hwmodels.replay.replay import simulate

SIZES = (2048, 6144, 1 << 16)


def exact(done: Execution) -> bool:
    return done.passed and all(check.bit_exact and check.finite for check in done.outputs)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", MODELS)
def test_plans_of_all_solvers_run_bit_exactly(name: str, target: str) -> None:
    ran = moved = 0
    for solver in SOLVERS:
        for fast_bytes in SIZES:
            try:
                plan = solved(name, target, solver, fast_bytes)
            except InfeasibleError:  # operands must be resident, or nothing may be spilled
                assert solver == "no-spill" or target.startswith("fastest")
                continue
            done = executed(name, plan)
            assert exact(done), (solver, fast_bytes)
            assert done.fallbacks == ()
            assert done.transfers == len(plan.transfers)
            assert done.bytes_moved == sum(t.end_byte - t.start_byte for t in plan.transfers)
            ran += 1
            moved += bool(plan.transfers)
    assert ran >= 5
    assert moved >= 1


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])
def test_networks_with_numbers_of_their_own_run_bit_exactly(name: str, target: str) -> None:
    for solver in SOLVERS:
        for fast_bytes in (1 << 22,) if target.startswith("fastest") else (1 << 16, 1 << 20):
            done = executed(name, solved(name, target, solver, fast_bytes))
            assert exact(done), (solver, fast_bytes)
            (array,) = done.arrays.values()
            assert len(np.unique(array)) > array.size / 2, "equal numbers would hide wrong data"


@pytest.mark.parametrize("name", [*MODELS])
def test_models_without_fusion_run(name: str) -> None:
    done = executed(name, solved(name, "split", "greedy", 4096, fuse=False))
    assert done.passed
    assert exact(done) or executor(name, solved(name, "split", "greedy", 4096)).half


@pytest.mark.wide(4)
@pytest.mark.parametrize("name", named_models())
def test_stored_outputs_of_the_wheels_networks(name: str) -> None:
    """An answer that is not ours: `light_*_output_0.pb`, from the input onnx's own tests use.

    Their weights are constants, so that all elements of an output are the same number: this proves
    operators and their order, while the tests above prove data. Differences come from the order of
    additions in another version of onnxruntime: 6e-8 for densenet121, none for the others.
    """
    file = find_model(name)
    plan = compile_model(name, CompileOptions(solver="greedy")).plan
    made = Executor(file, ImportOptions(), name=plan.problem.name)
    # The numbers of onnx.backend.test.runner, its `generate_dummy_data` with random off.
    inputs = {
        n: (np.arange(like.size).reshape(like.shape) / like.size).astype(np.float32)
        for n, like in made.inputs.items()
    }
    done = made.run(plan, RunOptions(inputs=inputs))
    stored = numpy_helper.to_array(onnx.load_tensor(file.with_name(f"{file.stem}_output_0.pb")))
    (found,) = done.arrays.values()
    assert done.passed
    assert found.shape == stored.shape
    np.testing.assert_allclose(found, stored, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "case",
    [
        Case("concat"),
        Case("slices", "whole", "msa", 6144),
        Case("outputs", "fastest", "greedy", 6144),
        Case("branch", "split", "msa", 6144),
        Case("empty"),
    ],
    ids=str,
)
def test_every_prefix_leaves_what_the_ordinary_run_gives(case: Case) -> None:
    """The last operator's outputs are read from memory: absorbed parts were there before it."""
    plan = case.solve()
    seen: set[str] = set()
    for until in range(1, len(plan.problem.steps)):
        done = executed(case.model, plan, RunOptions(until=until))
        assert exact(done)
        assert done.steps == sum(s.kind != DMA_STEP for s in plan.problem.steps[:until])
        assert done.transfers == sum(t.moves[-1][0] < until for t in plan.transfers)
        seen.update(check.name for check in done.outputs)
    graph = executor(case.model, plan).imported.graph
    ran = {s.operator for s in plan.problem.steps if s.kind != DMA_STEP}
    made = {n for i in ran for n in graph.operators[i].outputs if not n.endswith("#body")}
    assert seen == made


def test_partly_absorbed_concat_is_among_the_prefixes() -> None:
    plan = Case("concat").solve()
    step = next(s for s in plan.problem.steps if s.kind == "Concat")
    (write,) = (use for use in step.uses if use.write)
    assert (write.start_byte, write.end_byte) == (3072, 4096), "only the graph input is copied"


@pytest.mark.parametrize("until", [0, -1, 10**6])
def test_until_outside_the_plan_is_refused(until: int) -> None:
    with pytest.raises(UsageError, match="--until takes a step between 1 and"):
        executed("late", Case("late").solve(), RunOptions(until=until))


def test_trace_tells_every_event() -> None:
    plan = Case("late", "fastest", "greedy", 1 << 16).solve()
    done = executed("late", plan, RunOptions(trace=True))
    moves = sum(len(t.moves) for t in plan.transfers)
    assert sum("DMA of" in line for line in done.trace) == moves > 0
    assert sum("writes" in line for line in done.trace) == done.steps
    assert executed("late", plan).trace == ()
    assert all(line.startswith("step ") for line in done.trace)


def test_progress_counts_steps() -> None:
    told: list[tuple[int, int]] = []
    plan = Case("late").solve()
    executed("late", plan, RunOptions(progress=lambda *at: told.append(at)))
    steps = len(plan.problem.steps)
    assert told == [(t + 1, steps) for t in range(steps)]


def test_inputs_can_be_given() -> None:
    plan = Case("late").solve()
    given = np.random.default_rng(7).standard_normal((16, 16), dtype=np.float32)
    usual = executed("late", plan)
    other = executed("late", plan, RunOptions(inputs={"x": given}))
    assert exact(other)
    assert not np.array_equal(usual.arrays["y"], other.arrays["y"])
    again = executed("late", plan)
    assert np.array_equal(usual.arrays["y"], again.arrays["y"])


def test_seed_changes_the_numbers() -> None:
    plan = Case("late").solve()
    one, other = (run_plan(model_file("late"), plan, RunOptions(seed=s)) for s in (0, 1))
    assert exact(one)
    assert exact(other)
    assert not np.array_equal(one.arrays["y"], other.arrays["y"])


def test_inputs_that_do_not_fit_are_refused() -> None:
    plan = Case("late").solve()
    with pytest.raises(UsageError, match="no input 'z'; there are: x"):
        executed("late", plan, RunOptions(inputs={"z": np.zeros(1)}))
    with pytest.raises(UsageError, match=r"float32\[16, 16\], not float64\[16, 16\]"):
        executed("late", plan, RunOptions(inputs={"x": np.zeros((16, 16))}))


def test_plan_of_another_model_or_with_another_type_is_refused() -> None:
    plan = Case("late").solve()
    with pytest.raises(VerificationError, match="not the same model"):
        run_plan(model_file("residual"), plan)
    with pytest.raises(UsageError, match=r"made with --dtype int8: it is sized for numbers"):
        run_plan(model_file("late"), replace(plan, model={**plan.model, "dtype": "int8"}))


def compiled(tmp_path: Path, proto: onnx.ModelProto, options: CompileOptions) -> Execution:
    file = tmp_path / "m.onnx"
    onnx.save(proto, file)
    return run_plan(file, compile_model(file, options).plan)


@pytest.mark.parametrize("order", ["model", "memory"])
@pytest.mark.parametrize("alias", [True, False])
def test_options_of_the_plan_are_kept(tmp_path: Path, order: str, alias: bool) -> None:
    options = CompileOptions(solver="greedy", order=order, alias=alias, fast_memory_bytes=6144)
    assert exact(compiled(tmp_path, MODELS["concat"](), options))


# Steady state


@pytest.mark.parametrize("target", ["split", "whole"])
@pytest.mark.parametrize("name", ["residual", "concat", "slices", "rows", "branch", "outputs"])
def test_weights_stay_over_several_inferences(name: str, target: str) -> None:
    plan = steady(name, target)
    assert find_violations(plan) == []
    done = executed(name, plan)
    assert exact(done)
    assert done.inferences == 3
    assert done.transfers == 3 * len(plan.transfers)
    assert done.bytes_moved == 3 * sum(t.end_byte - t.start_byte for t in plan.transfers)
    names = [check.name for check in done.outputs]
    assert names == names[: len(names) // 3] * 3
    assert [check.inference for check in done.outputs] == sorted([1, 2, 3] * (len(names) // 3))
    single = executed(name, plan, RunOptions(inferences=1))
    assert exact(single)
    assert any(not np.array_equal(single.arrays[n], done.arrays[n]) for n in single.arrays), (
        "each inference has inputs of its own"
    )


@pytest.mark.parametrize("solver", ["greedy", "fluid"])
@pytest.mark.parametrize("name", ["residual", "concat"])
def test_weights_of_a_chain_stay_behind_flash(name: str, solver: str) -> None:
    options = CompileOptions(
        target="phone-npu-flash",
        overrides={"tiers.dram.addressable": "false"},
        fast_memory_bytes=SIZES[-1],
        steady_state=True,
    )
    prepared = prepare(model_file(name), options)
    plan = replace(solve_with(solver, prepared.problem), model=prepared.model)
    carried = [r for r in plan.residencies if r.tier != "flash" and r.start == r.ready == 0]
    assert any(r.tier == "dram" for r in carried)
    assert not any(transfer.source == "flash" for transfer in plan.transfers)
    assert exact(executed(name, plan))


def test_weights_are_loaded_once_and_inputs_each_time() -> None:
    plan = steady("residual", "split")
    done = executed("residual", plan, RunOptions(inferences=2, trace=True))
    prologue = [line for line in done.trace if "prologue" in line]
    carried = [r for r in plan.residencies if r.tier == "sram" and r.start == 0]
    assert len(prologue) == len(carried) == 3
    assert all(line.startswith("step 0: prologue to sram of 'w") for line in prologue[::2])
    assert any(line.startswith("inference 2, step 1: ") for line in done.trace)


def test_a_weight_lost_between_inferences_is_found_in_the_second() -> None:
    plan = steady("residual", "split")
    last = len(plan.problem.steps)
    broken = [
        replace(r, end=last - 1) if (r.tier, r.start, r.end) == ("sram", 0, last) else r
        for r in plan.residencies
    ]
    lost = replace(plan, residencies=tuple(broken))
    assert exact(executed("residual", lost, RunOptions(inferences=1)))
    message = r"inference 2: step 0: bytes .* did not leave all of them at address"
    with pytest.raises(VerificationError, match=message) as raised:
        executed("residual", lost)
    assert raised.value.details["inference"] == 2


def test_inferences_of_other_plans_start_afresh() -> None:
    plan = solved("residual", "split", "greedy", 4096)
    done = executed("residual", plan, RunOptions(inferences=2))
    assert exact(done)
    assert [check.inference for check in done.outputs] == [1, 2]
    first = executed("residual", plan, RunOptions(until=4))
    partly = executed("residual", plan, RunOptions(until=4, inferences=2))
    assert exact(partly)
    assert partly.steps == done.steps // 2 + first.steps
    with pytest.raises(UsageError, match="--inferences takes a number of at least 1, not 0"):
        executed("residual", plan, RunOptions(inferences=0))


def test_traffic_falls_to_inputs_and_outputs_where_weights_fit() -> None:
    """On a real network: greedy's plan for the activations, all weights in sram for ever."""
    prepared = prepared_model("squeezenet", "split", fuse=True, steady_state=True)
    chip = prepared.target.with_fast_memory(1 << 25)
    base = solve_with("greedy", prepared.problem.on(chip))
    kinds = [buffer.kind for buffer in base.problem.buffers]
    kept = [r for r in base.residencies if kinds[r.buffer] != "weight" or r.tier != "sram"]
    top = max(r.offset + r.end_byte - r.start_byte for r in kept if r.tier == "sram")
    for index, buffer in enumerate(base.problem.buffers):
        if buffer.kind == "weight":
            top = -(-top // 256) * 256
            steps = len(base.problem.steps)
            kept.append(Residency(index, 0, buffer.size_bytes, "sram", top, 0, 0, steps))
            top += buffer.size_bytes
    moves = tuple(m for m in base.transfers if kinds[m.buffer] != "weight")
    plan = replace(base, residencies=tuple(kept), transfers=moves, model=prepared.model)
    assert find_violations(plan) == []
    given = sum(b.size_bytes for b in plan.problem.buffers if b.kind in ("input", "output"))
    found = score(plan)
    assert sum(found.traffic_bytes.values()) == found.compulsory_bytes == given
    assert found.noncompulsory_bytes == 0
    assert found.energy_j < score(base).energy_j
    assert found.latency_s <= score(base).latency_s
    assert simulate(plan).latency_s <= simulate(base).latency_s
    done = executed("squeezenet", plan)
    assert exact(done)
    assert done.inferences == 3


def test_plan_and_problem_agree_about_steady_state() -> None:
    plan = steady("residual", "split")
    assert plan.model["steady_state"] is True
    torn = replace(plan, model={**plan.model, "steady_state": False})
    with pytest.raises(
        VerificationError, match=r"model\.steady_state is 'False', its problem's is"
    ):
        executed("residual", torn)


def test_symbolic_dimensions_come_from_the_plan(tmp_path: Path) -> None:
    proto = model(
        [node("MatMul", "x w", "y")],
        {"x": ("N", "M")},
        "y",
        [const("w", np.arange(24).reshape(8, 3), "float32")],
    )
    done = compiled(tmp_path, proto, CompileOptions(solver="greedy", batch=5, dims={"M": 8}))
    assert exact(done)
    assert done.arrays["y"].shape == (5, 3)


def test_output_that_is_an_input(tmp_path: Path) -> None:
    proto = model(
        [node("Relu", "x", "z"), node("Identity", "x", "y")],
        {"x": (4, 8)},
        [info("x", (4, 8)), onnx.ValueInfoProto(name="y"), onnx.ValueInfoProto(name="z")],
    )
    done = compiled(tmp_path, proto, CompileOptions(solver="msa"))
    assert exact(done)
    assert {check.name for check in done.outputs} == {"x", "y", "z"}


def test_data_dependent_shapes_are_executed(tmp_path: Path) -> None:
    proto = model([node("NonZero", "x", "i"), node("Cast", "i", "y", to=1)], {"x": (4, 8)}, "y")
    done = compiled(tmp_path, proto, CompileOptions(solver="greedy"))
    assert done.passed
    assert done.arrays["y"].shape == (2, 32)  # no input is zero


def test_a_model_with_nothing_to_plan_runs(tmp_path: Path) -> None:
    proto = model([node("Shape", "x", "n")], {"x": (4, 8)}, [info("x", (4, 8)), info("n", (2,))])
    done = compiled(tmp_path, proto, CompileOptions(solver="greedy"))
    assert done.steps == 0
    assert exact(done)
    assert {check.name for check in done.outputs} == {"x"}


@pytest.mark.parametrize(
    "dtype", ["bfloat16", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz"]
)
def test_types_that_numpy_lacks_run(tmp_path: Path, dtype: str) -> None:
    proto = model(
        [node("Reshape", "x n", "y"), node("Cast", "y", "z", to=1)],
        [info("x", (9,), dtype)],
        "y z",
        [const("n", [3, 3])],
        opset=23,
    )
    done = compiled(tmp_path, proto, CompileOptions(solver="greedy"))
    assert exact(done)
    assert [str(a.dtype) for a in done.arrays.values()] == [str(numpy_dtype(dtype)), "float32"]


@pytest.mark.parametrize("dtype", ["int4", "uint4"])
def test_packed_types_run(tmp_path: Path, dtype: str) -> None:
    """Three rows of five elements: eight bytes, two elements in each."""
    proto = model(
        [
            node("Relu", "x", "r"),
            node("QuantizeLinear", "r s z", "q"),
            node("Cast", "q", "y", to=1),
        ],
        {"x": (3, 5)},
        "q y",
        [const("s", 0.2, "float32"), const("z", 0, dtype)],
        opset=21,
    )
    done = compiled(tmp_path, proto, CompileOptions(solver="greedy", fuse=False))
    assert exact(done)
    assert imported(proto).values["q"].size_bytes == 8


def test_inputs_of_rank_0_run(tmp_path: Path) -> None:
    proto = model(
        [node("Mul", "x s", "y"), node("Cast", "n", "m", to=1), node("Add", "y m", "z")],
        [info("x", (4, 8)), info("s", ()), info("n", (), "int64")],
        "z",
    )
    assert exact(compiled(tmp_path, proto, CompileOptions(solver="greedy")))


def test_half_precision_inside_widens_the_tolerance(tmp_path: Path) -> None:
    """A run of float16 operators is computed in float32 by a session of the whole model."""
    layers, drawn = 8, np.random.default_rng(0)
    nodes = [node("Cast", "x", "t0", to=onnx.TensorProto.FLOAT16)]
    for i in range(layers):
        nodes += [
            node("MatMul", f"t{i} w{i}", f"m{i}"),
            node("Tanh", f"m{i}", f"a{i}"),
            node("Add", f"a{i} t{i}", f"s{i}"),
            node("Tanh", f"s{i}", f"t{i + 1}"),
        ]
    nodes.append(node("Cast", f"t{layers}", "y", to=onnx.TensorProto.FLOAT))
    weights = [
        const(f"w{i}", drawn.standard_normal((64, 64)) / 8, "float16") for i in range(layers)
    ]
    proto = model(nodes, {"x": (8, 64)}, "y", weights)
    done = compiled(tmp_path, proto, CompileOptions(solver="greedy", fast_memory_bytes=4096))
    (check,) = done.outputs
    assert check.passed
    assert check.tolerance > 1e-3


FLOATS = np.array([1.0, -2.0, 4.0], dtype=np.float32)


@pytest.mark.parametrize(
    ("found", "expected", "passed", "bit_exact"),
    [
        (FLOATS, FLOATS, True, True),
        (FLOATS + np.float32(1e-4), FLOATS, True, False),
        (FLOATS + np.float32(1e-2), FLOATS, False, False),
        (np.where(FLOATS > 3, np.nan, FLOATS).astype(np.float32), FLOATS, False, False),
        (np.full(3, np.nan, np.float32), np.full(3, -np.nan, np.float32), True, False),
        (np.full(3, np.inf, np.float32), np.array([np.inf, np.inf, 1], np.float32), False, False),
        (np.array([np.inf, 1], np.float32), np.array([np.inf, 1 + 1e-5], np.float32), True, False),
        (np.array([-np.inf], np.float32), np.array([np.inf], np.float32), False, False),
        (np.array([5, 6], np.int8), np.array([5, 7], np.int8), True, False),
        (np.array([5, 6], np.int8), np.array([5, 8], np.int8), False, False),
        (np.array([5, 6], np.int32), np.array([5, 7], np.int32), False, False),
        (np.array([2**60 + 1]), np.array([2**60]), False, False),
        (np.array([True]), np.array([False]), False, False),
        (np.array([1.0], np.float16), np.array([1.005], np.float16), True, False),
        (FLOATS[:2], FLOATS, False, False),
        (FLOATS[:0], FLOATS[:0], True, True),
    ],
)
def test_comparison(found: np.ndarray, expected: np.ndarray, passed: bool, bit_exact: bool) -> None:
    check = compare_arrays("y", found, expected)
    assert (check.passed, check.bit_exact) == (passed, bit_exact)
    assert check.finite == bool(np.isfinite(expected).all())


@pytest.mark.parametrize(
    ("expected", "constant"),
    [
        (FLOATS, False),
        (np.full((2, 3), 0.001, np.float32), True),
        (np.array([0.0, -0.0], np.float32), True),
        (np.full(3, np.nan, np.float32), True),
        (np.array([1.0, np.nan], np.float32), False),
        (np.array([7, 7], np.int64), True),
        (np.array([True, False]), False),
        (np.array(5.0, np.float32), False),
        (FLOATS[:0], False),
    ],
)
def test_one_number_everywhere_is_told(expected: np.ndarray, constant: bool) -> None:
    """By the ordinary run's output alone: what the plan gave says nothing about the test."""
    assert compare_arrays("y", expected, expected).constant is constant
    other = expected.copy()
    other.reshape(-1)[:1] = 1
    assert compare_arrays("y", other, expected).constant is constant


def test_half_tolerance_only_where_asked() -> None:
    other = FLOATS + np.float32(1e-2)
    assert not compare_arrays("y", other, FLOATS).passed
    assert compare_arrays("y", other, FLOATS, half=True).passed


def test_difference_in_the_kernels_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof can fail: an operator that computes something else makes an output differ."""
    plan = Case("late").solve()
    made = Executor(model_file("late"), ImportOptions(), name="late")
    run = made.kernels.run
    monkeypatch.setattr(
        made.kernels,
        "run",
        lambda operator, feeds: {n: a * np.float32(1.01) for n, a in run(operator, feeds).items()},
    )
    done = made.run(plan)
    assert not done.passed
    assert done.outputs[0].max_abs_diff > done.outputs[0].tolerance
