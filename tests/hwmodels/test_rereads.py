"""How often blocks read operands again: figures worked out by hand, and what follows from them."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.targets import HAND, Op, make_plan, make_problem
from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.graph import LoopNest
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Rereads, Target
from ullage.compiler.verify.target_form import target_faults
from ullage.hwmodels.bounds import lower_bound
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import score
from ullage.hwmodels.replay.replay import simulate
from ullage.hwmodels.rereads import block_reads, operand_reads
from ullage.solvers.run import run_solver
from ullage.solvers.state.segments import segments_of

# 8 x 8 positions, 64 channels, 3 x 3 windows over 16 channels.
WINDOW = LoopNest("convolution", "Conv", height=8, width=8, channels=64, depth=16, kernel=(3, 3))
# Blocks of 16 positions x 32 channels.
BLOCKS = Rereads(block_elements=512, block_channels=32, block_channels_multiple=32)
# Any shape of as many elements.
FREE = replace(BLOCKS, block_channels_multiple=1)


def again(rereads: Rereads | None, **changes: Any) -> Target:
    return replace(HAND, compute=replace(HAND.compute, rereads=rereads, **changes))


# Bytes of weights and input of WINDOW.
WEIGHTS, INPUT = 9 * 16 * 64, 8 * 8 * 16


def test_weights_are_read_for_every_block_of_positions() -> None:
    # 32 channels of 4 x 4 positions, two blocks in a row: 8 + 2 rows and columns.
    assert block_reads(WINDOW, BLOCKS, WEIGHTS, INPUT) == (4, pytest.approx(2 * (10 / 8) ** 2))
    # 4 images, one after the other.
    assert block_reads(replace(WINDOW, batch=4), BLOCKS, WEIGHTS, INPUT)[0] == 16
    # 7 x 2 of at most 16 positions.
    assert block_reads(replace(WINDOW, height=7, width=3), BLOCKS, WEIGHTS, 336)[0] == 2


def test_the_shape_that_reads_least_is_taken() -> None:
    # 8 channels of all positions read every weight once and the input 8 times.
    assert block_reads(WINDOW, FREE, WEIGHTS, INPUT) == (1, 8)
    assert block_reads(replace(WINDOW, batch=4), FREE, WEIGHTS, 4 * INPUT) == (4, 8)
    # Few weights: 64 channels of a row of 8, each of which needs no other.
    wide = replace(FREE, block_channels=64)
    assert block_reads(replace(WINDOW, kernel=(1, 1)), wide, 1, INPUT) == (8, 1)
    # What is read in all is never more than in any one shape.
    for channels in (8, 16, 32, 64):
        fixed = replace(wide, block_channels=channels, block_channels_multiple=channels)
        for sizes in ((0, INPUT), (100, INPUT), (1000, INPUT), (10_000, INPUT)):
            totals = [
                sum(size * n for size, n in zip(sizes, block_reads(WINDOW, r, *sizes), strict=True))
                for r in (wide, fixed)
            ]
            assert totals[0] <= totals[1]


def test_windows_of_neighbouring_blocks_share_rows_and_columns() -> None:
    # Windows two apart share one row of three; the input is 16 x 16.
    assert block_reads(replace(WINDOW, stride=(2, 2)), BLOCKS, WEIGHTS, 4 * INPUT)[1] == (
        pytest.approx(2 * (17 / 16) ** 2)
    )
    # A dilated window of 3 spans 5 rows: neighbours share 4.
    assert block_reads(replace(WINDOW, dilation=(2, 2)), BLOCKS, WEIGHTS, INPUT)[1] == (
        pytest.approx(2 * (12 / 8) ** 2)
    )


def test_channels_for_themselves_are_read_with_their_block() -> None:
    depthwise = replace(WINDOW, kind="depthwise", depth=1, groups=64)
    assert block_reads(depthwise, BLOCKS, 576, 4096)[1] == pytest.approx((10 / 8) ** 2)
    pooling = replace(depthwise, kind="pooling")
    assert block_reads(pooling, BLOCKS, 0, 4096)[1] == pytest.approx((10 / 8) ** 2)
    # Groups of 16 channels: a block has those of one group, 32 positions.
    grouped = replace(WINDOW, depth=4, groups=4, kernel=(1, 1))
    assert block_reads(grouped, BLOCKS, 256, 1024) == (2, 1)


def test_what_the_unit_holds_is_read_once() -> None:
    held = replace(BLOCKS, weight_bytes=4608, input_bytes=1024)
    assert block_reads(WINDOW, held, 9216, 1024) == (1, 1)  # weights of 32 channels
    assert block_reads(WINDOW, held, 9218, 1024) == (4, 1)
    assert block_reads(WINDOW, held, 9216, 1025)[1] > 1


def test_input_takes_room_beside_accumulators() -> None:
    # 32 channels of 4 rows: 16 positions alone; beside 6 rows of 16 channels, each a quarter of an
    # accumulator, (512 - 6 * 2 * 4) // (32 * 4 + 6 * 4) = 3 columns.
    shared = replace(BLOCKS, input_channels=16)
    weights, inputs = block_reads(WINDOW, shared, WEIGHTS, INPUT)
    assert weights == 2 * 3
    assert inputs == pytest.approx(2 * (10 / 8) * (12 / 8))
    # Where not even one position fits, blocks of one are taken.
    tight = Rereads(block_elements=1, block_channels=1, input_channels=16)
    assert block_reads(replace(WINDOW, height=2, width=2, channels=1), tight, 9, 16)[0] == 4


def test_long_axes_are_cut_in_few_ways() -> None:
    long = LoopNest("matmul", "Gemm", width=10**9, channels=10**9, depth=1)
    weights, inputs = block_reads(long, Rereads(4096, 64), 10**9, 10**9)
    assert weights >= 10**9 / 4096
    assert inputs >= 10**9 / 64


def convolution(target: Target) -> Problem:
    """A convolution with weights of 9216 bytes, input of 1024, output of 4096; then a Relu."""
    problem = make_problem(
        {
            "x": ("input", 1024),
            "w": ("weight", 9216),
            "b": ("weight", 64),
            "y": ("activation", 4096),
            "z": ("output", 4096),
        },
        [Op("conv", ("x", "w", "b"), ("y",)), Op("relu", ("y",), ("z",), vector=4096)],
        target,
    )
    steps = list(problem.steps)
    steps[1] = replace(steps[1], nests=(WINDOW,), mac_dtype="int8")
    return replace(problem, program=replace(problem.program, steps=tuple(steps)))


def at_home(target: Target) -> Plan:
    return make_plan(
        convolution(target),
        [
            ("x", "dram", 0, 0, 4),
            ("w", "dram", 1024, 0, 4),
            ("b", "dram", 10240, 0, 4),
            ("y", "dram", 10304, 1, 4),
            ("z", "dram", 14400, 2, 4),
        ],
        (),
        target,
    )


def test_operands_in_place_are_charged_as_often_as_they_are_read() -> None:
    target = again(BLOCKS)
    assert operand_reads(convolution(target)) == (
        {},
        {"x": pytest.approx(3.125), "w": 4.0},
        {},
        {},
    )
    once, often = score(at_home(again(None))), score(at_home(target))
    more = 2.125 * 1024 + 3 * 9216
    assert once.traffic_bytes["dram->compute"] == 1024 + 9216 + 64 + 4096
    assert often.traffic_bytes["dram->compute"] == once.traffic_bytes["dram->compute"] + more
    assert often.traffic_bytes["compute->dram"] == once.traffic_bytes["compute->dram"]
    assert often.latency_s - once.latency_s == pytest.approx(more / 10)
    dram = HAND.tier("dram")
    assert often.energy_j - once.energy_j == pytest.approx(more * dram.read_energy_j_per_byte)
    assert simulate(at_home(target)).latency_s == pytest.approx(often.latency_s)


def test_a_product_of_two_activations_reads_the_second_like_weights() -> None:
    problem = make_problem(
        {"q": ("input", 64 * 16), "k": ("input", 16 * 96), "y": ("output", 64 * 96)},
        [Op("scores", ("q", "k"), ("y",))],
        again(BLOCKS),
    )
    nest = LoopNest("matmul", "MatMul", width=64, channels=96, depth=16)
    steps = list(problem.steps)
    steps[1] = replace(steps[1], nests=(nest,), mac_dtype="int8")
    problem = replace(problem, program=replace(problem.program, steps=tuple(steps)))
    assert operand_reads(problem)[1] == {"q": 3.0, "k": 4.0}


@pytest.mark.parametrize("objective", ["latency", "traffic", "energy"])
def test_solvers_and_bounds_see_what_is_read_again(objective: str) -> None:
    """Fetching the weights once costs less than reading them four times where they are.

    For latency a few of them are read in place beside the transfer of the others.
    """
    target = again(BLOCKS)
    target = replace(target.with_fast_memory(1 << 14), operand_access="any")
    problem = convolution(target).minimising(objective)
    weights = next(s for s in segments_of(problem) if s.size_bytes == 9216)
    assert weights.accesses[0].read_bytes == 4 * 9216
    plan = run_solver("fluid", problem)
    fetched = [t for t in plan.plan.transfers if t.buffer == weights.buffer]
    moved = sum(t.end_byte - t.start_byte for t in fetched)
    assert 8900 < moved < 9216 if objective == "latency" else moved == 9216
    assert lower_bound(problem).value <= plan.value * (1 + 1e-9)
    assert (plan.plan.lower_bound or 0.0) <= plan.value * (1 + 1e-9)


def test_files_and_overrides_have_the_blocks() -> None:
    fields = {
        "compute.rereads.block_elements": "3072",
        "compute.rereads.block_channels": "128",
        "compute.rereads.weight_bytes": "4KiB",
    }
    target = load_target("edge-npu", overrides=fields)
    assert target.compute.rereads == Rereads(3072, 128, 4096, 0)
    assert load_target("edge-npu").compute.rereads is None
    assert load_target("ethos-u55-128").compute.rereads == Rereads(3072, 128, 0, 0, 16, 32)
    with pytest.raises(UsageError, match="block_channels"):
        load_target("edge-npu", overrides={"compute.rereads.block_elements": "3072"})
    with pytest.raises(UsageError, match="block_elements"):
        load_target("edge-npu", overrides={**fields, "compute.rereads.block_elements": "0"})


def test_a_unit_that_holds_everything_reads_once() -> None:
    held = {"compute.rereads.weight_bytes": "1GiB", "compute.rereads.input_bytes": "1GiB"}
    target = load_target("ethos-u55-128", overrides=held)
    assert all(not reads for reads in operand_reads(convolution(target)))
    assert any(operand_reads(convolution(load_target("ethos-u55-128"))))


@pytest.mark.parametrize(
    ("rereads", "words"),
    [
        (Rereads(0, 1), "block_elements of rereads"),
        (Rereads(1, 0), "block_channels of rereads"),
        (Rereads(1, 1, -1), "weight_bytes of rereads"),
        (Rereads(1, 1, 0, True), "input_bytes of rereads"),
        (Rereads(1, 1, 0, 0, 0), "block_channels_multiple of rereads"),
        (Rereads(1, 1, 0, 0, 1, -1), "input_channels of rereads"),
        ("none", "rereads must be"),
    ],
)
def test_targets_of_plans_are_checked(rereads: Any, words: str) -> None:
    assert any(words in fault for fault in target_faults(again(rereads)))
