"""The choice among compute models, kernels by their cycles, efficiency and the output stage."""

from dataclasses import replace

import pytest

from tests.support.changes import with_program
from tests.support.targets import HAND, Op, make_problem
from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.graph import Gemm, LoopNest
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Compute, KernelCycles, MacBlocks, OutputStage, Systolic
from ullage.hwmodels.cost import compute_seconds

KERNELS = KernelCycles(
    clock_hz=100.0,
    macs={"int8": {"default": 2.0, "depthwise": 5.0}, "float32": {"default": 8.0}},
    elements={"int8": {"default": 1.0, "output": 3.0, "Relu": 0.0, "MaxPool": 0.5}},
)
BLOCKS = MacBlocks(10.0, 1, 1, 1, 1, 1, 1, 8, 100, 99, 0.0, 1e-6, {"default": 1.0})
CONV = LoopNest("convolution", "Conv", height=4, width=5, channels=2, depth=3)  # 40 x 3
DEPTHWISE = LoopNest("depthwise", "Conv", height=4, width=5, channels=2, kernel=(3, 1), groups=2)


def problem_of(*nests: LoopNest, compute: Compute, dtype: str = "int8", vector: int = 0) -> Problem:
    macs = sum(nest.visits for nest in nests if nest.is_mac)
    problem = make_problem({}, [Op("A", macs=macs, dtype=dtype, vector=vector)])
    steps = tuple(
        replace(s, nests=nests) if s.macs or s.vector_elements else s for s in problem.steps
    )
    return with_program(problem, steps=steps).on(replace(HAND, compute=compute))


def seconds_of(*nests: LoopNest, compute: Compute, dtype: str = "int8", vector: int = 0) -> float:
    found, _ = compute_seconds(problem_of(*nests, compute=compute, dtype=dtype, vector=vector))
    return float(found[1])


RATES = Compute({"int8": 20.0, "int16": 10.0}, 10.0)
ON_KERNELS = replace(RATES, kernel_cycles=KERNELS)


@pytest.mark.parametrize(
    ("nest", "cycles"),
    [
        (CONV, 120 * 2 + 40 * 3),
        (DEPTHWISE, 120 * 5 + 40 * 3),
        (replace(CONV, then=("Relu",)), 120 * 2 + 40 * 3),
        (replace(CONV, then=("Add", "QuantizeLinear")), 120 * 2 + 40 * 3 + 40),
        (LoopNest("pooling", "MaxPool", width=10, channels=2, kernel=(2, 2)), 80 * 0.5),
        (LoopNest("softmax", "Softmax", width=10, channels=2), 20),
    ],
)
def test_kernels(nest: LoopNest, cycles: float) -> None:
    vector = 0 if nest.is_mac else 1
    assert seconds_of(nest, compute=ON_KERNELS, vector=vector) == pytest.approx(cycles / 100)


@pytest.mark.parametrize(
    ("dtype", "cycles", "note"),
    [
        ("float32", 120 * 8, None),
        ("int16", 120 * 8, "no int16 kernels on hand: costed by float32's"),
        ("int4", 120 * 2 + 40 * 3, "no int4 kernels on hand: costed by int8's"),
        ("float64", 2 * 120 * 8, "no float64 kernels on hand: costed by float32's x 2"),
    ],
)
def test_a_data_type_without_kernels_has_those_of_another(
    dtype: str, cycles: float, note: str | None
) -> None:
    problem = problem_of(CONV, compute=ON_KERNELS, dtype=dtype)
    problem = problem.on(replace(problem.target, name="hand"))
    seconds, notes = compute_seconds(problem)
    assert seconds[1] == pytest.approx(cycles / 100)
    assert notes == ((note,) if note else ())


def test_no_kernels_at_all_are_an_error() -> None:
    compute = replace(RATES, kernel_cycles=replace(KERNELS, macs={}))
    with pytest.raises(UsageError, match=r"A needs kernels for int8, .* lists none; add them"):
        seconds_of(CONV, compute=compute)


def test_work_without_geometry_is_costed_by_its_counts() -> None:
    problem = make_problem({}, [Op("A", macs=120, dtype="int8", vector=7)])
    seconds, _ = compute_seconds(problem.on(replace(HAND, compute=ON_KERNELS)))
    assert seconds[1] == pytest.approx((120 * 2 + 120 * 3 + 7) / 100)
    seconds, _ = compute_seconds(
        problem.on(replace(HAND, compute=replace(RATES, mac_blocks=BLOCKS)))
    )
    # 120 products of one channel, each a step of a cycle; their output the same; 7 elements.
    assert seconds[1] == pytest.approx((120 + 120 / 2 + 7) / 10)


@pytest.mark.parametrize(("dtype", "products"), [("int8", 120), ("int16", 240)])
def test_blocks_are_slower_for_slower_data_types(dtype: str, products: int) -> None:
    compute = replace(RATES, mac_blocks=BLOCKS)
    assert seconds_of(CONV, compute=compute, dtype=dtype) == pytest.approx((products + 40) / 10)


def test_efficiency_by_kind() -> None:
    compute = replace(RATES, efficiency={"depthwise": 0.25})
    assert seconds_of(CONV, DEPTHWISE, compute=compute) == pytest.approx(120 / 20 + 120 / 5)
    assert seconds_of(CONV, DEPTHWISE, compute=RATES) == pytest.approx(240 / 20)


def test_the_output_stage_takes_over_what_is_fused_behind_products() -> None:
    nest = replace(CONV, then=("Relu", "Sigmoid"))
    assert seconds_of(nest, compute=RATES, vector=80) == 8.0
    staged = replace(RATES, output_stage=OutputStage(8.0, ("Relu",)))
    assert seconds_of(nest, compute=staged, vector=80) == pytest.approx(120 / 20)  # 4 s, 5 s beside
    slow = replace(RATES, output_stage=OutputStage(4.0, ("Relu", "Sigmoid")))
    assert seconds_of(nest, compute=slow, vector=80) == pytest.approx(40 / 4)
    # A standalone Relu is the vector unit's.
    alone = LoopNest("elementwise", "Relu", width=40, channels=2)
    assert seconds_of(alone, compute=staged, vector=80) == 8.0


def test_arrays_whose_rows_hold_channels() -> None:
    nest = replace(CONV, kernel=(2, 1))
    grid = Systolic(rows=4, columns=4, clock_hz=10.0, rows_hold="channels")
    compute = replace(RATES, systolic=grid)
    problem = problem_of(nest, compute=compute)
    without, _ = compute_seconds(problem)
    assert without[1] == pytest.approx(240 / 20)  # no products are given: a rate
    steps = tuple(replace(s, gemms=(Gemm(20, 6, 2),) if s.macs else ()) for s in problem.steps)
    shaped, notes = compute_seconds(with_program(problem, steps=steps))
    # Each of 2 taps has a fold of 3 of 4 rows: 2 * 4 + 4 + 20 - 2 cycles.
    assert shaped[1] == pytest.approx(2 * 30 / 10)
    assert notes == ()


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "peak"),
        ({"systolic": Systolic(1, 1, 1.0)}, "systolic"),
        ({"mac_blocks": BLOCKS}, "mac-blocks"),
        ({"kernel_cycles": KERNELS}, "kernel-cycles"),
    ],
)
def test_the_section_that_is_given_is_the_model(changes: dict[str, object], name: str) -> None:
    compute = replace(RATES, output_stage=OutputStage(8.0, ("Relu",)), **changes)  # type: ignore[arg-type]
    assert compute.model == name
    if name != "peak":
        return
    twice = compute.at_speed(2.0)
    assert twice.macs_per_s == {"int8": 40.0, "int16": 20.0}
    assert twice.vector_elements_per_s == 20.0
    assert twice.output_stage == OutputStage(16.0, ("Relu",))


@pytest.mark.parametrize("section", ["systolic", "mac_blocks", "kernel_cycles"])
def test_twice_the_speed_takes_half_the_time(section: str) -> None:
    sections = {"systolic": Systolic(4, 4, 10.0), "mac_blocks": BLOCKS, "kernel_cycles": KERNELS}
    compute = replace(RATES, **{section: sections[section]})  # type: ignore[arg-type]
    nest = replace(CONV, then=("Add",))
    twice = compute.at_speed(2.0)
    assert seconds_of(nest, compute=twice) == pytest.approx(seconds_of(nest, compute=compute) / 2)
