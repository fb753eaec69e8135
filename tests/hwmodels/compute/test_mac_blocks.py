"""Blocks of MACs: cycles of each kind of loop nest, worked out by hand."""

from dataclasses import replace

import pytest

from ullage.compiler.ir.graph import LoopNest
from ullage.compiler.ir.target import MacBlocks
from ullage.hwmodels.compute.mac_blocks import (
    input_cycles,
    nest_cycles,
    output_cycles,
    scale_cycles,
)

# A core multiplies 2 x 1 positions x 8 channels x 8 input channels a cycle: 128 MACs.
UNIT = MacBlocks(
    clock_hz=1e9,
    cores=1,
    unit_height=2,
    unit_width=1,
    unit_channels=8,
    dot_channels=8,
    step_cycles=4,
    weights_per_cycle=8,
    block_elements=2048,
    block_channels=128,
    command_cycles=0.0,
    command_share=1e-6,
    output_cycles={"default": 0.0, "Add": 1.5, "Relu": 0.5, "pooling": 0.25},
)


def conv(height: int, width: int, channels: int, depth: int, **more: object) -> LoopNest:
    nest = LoopNest("convolution", "Conv", 1, 1, height, width, channels, depth)
    return replace(nest, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("nest", "cycles"),
    [
        # 8 x 16 units of positions, 2 of channels, 4 cycles a step; 64 channels are 2 steps.
        (conv(16, 16, 16, 64), 8 * 16 * 2 * 4 * 2),
        (conv(15, 16, 9, 33), 8 * 16 * 2 * 4 * 2),  # the same, not full
        # 3 x 3 taps of 16 channels: 9 steps of 32 channels, or 3 of 4 taps for each 8 of 16: 6.
        (conv(16, 16, 16, 16, kernel=(3, 3)), 8 * 16 * 2 * 4 * 6),
        (conv(16, 16, 16, 64, kernel=(3, 3)), 8 * 16 * 2 * 4 * 18),
        # Groups of 12 channels take 2 units each.
        (conv(16, 16, 24, 8, kernel=(3, 3), groups=2), 8 * 16 * 4 * 4 * 3),
        (conv(16, 16, 16, 1, kernel=(3, 3), groups=16, kind="depthwise"), 8 * 16 * 2 * 4 * 3),
        # One position: 8 * 8 * 4 weights of a step at 8 a cycle take 32 cycles.
        (LoopNest("matmul", "Gemm", channels=128, depth=64), 32 * 16 * 2),
        (LoopNest("matmul", "Gemm", width=20, channels=128, depth=64), 80 * 16 * 2),
        (LoopNest("pooling", "MaxPool", 1, 1, 8, 8, 16, kernel=(3, 3)), 4 * 8 * 2 * 4 * 9 + 256),
        (LoopNest("pooling", "MaxPool", 1, 1, 8, 8, 16, kernel=(1, 2)), 4 * 8 * 2 * 4 * 4 + 256),
        # A mean over space runs as a depthwise convolution.
        (LoopNest("reduction", "ReduceMean", channels=16, kernel=(7, 7)), 32 * 2 * 13),
        (LoopNest("elementwise", "Add", width=100, channels=20), 3000),
        (LoopNest("movement", "Transpose", width=100, channels=20), 0),
        (conv(0, 16, 16, 64), 0),
    ],
)
def test_cycles(nest: LoopNest, cycles: int) -> None:
    assert nest_cycles(nest, UNIT) == pytest.approx(cycles, rel=1e-5)


def test_every_mac_is_used_where_all_is_full() -> None:
    nest = conv(32, 32, 64, 128, kernel=(3, 3))
    assert nest_cycles(nest, UNIT) * 128 == pytest.approx(nest.visits, rel=1e-5)
    assert nest_cycles(nest, replace(UNIT, cores=2)) * 256 == pytest.approx(nest.visits, rel=1e-5)


def test_the_output_of_the_last_block_is_not_hidden() -> None:
    # 4096 elements in 2 blocks: 4096 cycles of products, 2048 of output, of which half waits.
    nest = conv(16, 16, 16, 64, kernel=(2, 1), then=("Relu",))
    products = nest_cycles(replace(nest, then=()), UNIT)
    assert nest_cycles(nest, UNIT) == pytest.approx(products + 2048 / 2, rel=1e-5)
    # 6144 cycles of output, and half of the products.
    slow = replace(nest, then=("Add",))
    assert nest_cycles(slow, UNIT) == pytest.approx(6144 + min(products, 6144) / 2, rel=1e-5)


def test_a_command_keeps_the_unit_for_a_share_of_its_block() -> None:
    # One block: 2048 cycles of products, no output; a quarter of 2048 + 256 behind it.
    nest = LoopNest("matmul", "Gemm", channels=128, depth=128)
    blocks = replace(UNIT, command_cycles=256.0, command_share=0.25)
    assert nest_cycles(nest, blocks) == 2048 + (256 + 2048) / 4
    # Five blocks of 128 channels.
    wide = replace(nest, channels=640)
    assert nest_cycles(wide, blocks) == 5 * 2048 + (256 + 2048) / 4
    # Latencies that are longer than the products bind every block, and the last.
    slow = replace(blocks, command_cycles=10_000.0)
    assert nest_cycles(wide, slow) == 6 * (10_000 + 2048) / 4


# Blocks of 8 x 8 positions of 16 channels, inputs at 16 bytes a cycle, images at 4 in bursts of 32.
FED = replace(
    UNIT,
    block_elements=1024,
    input_cycles_per_byte=1 / 16,
    image_cycles_per_byte=1 / 4,
    image_burst_bytes=32,
)


@pytest.mark.parametrize(
    ("nest", "cycles"),
    [
        # Two blocks beside one another read 16 + 2 of the rows, each 9; so of the columns.
        (conv(16, 16, 16, 64, kernel=(3, 3)), 81 * 64 / 16),
        (conv(16, 16, 16, 64), 64 * 64 / 16),
        (conv(16, 16, 16, 1, kernel=(3, 3), groups=16, kind="depthwise"), 81 * 16 / 16),
        # A pixel of an image has 3 bytes of a burst of 32, or 6 where columns are read in pairs.
        (conv(16, 16, 16, 3, kernel=(3, 3)), 81 * 3 * 32 / 3 / 4),
        (conv(8, 8, 16, 3, kernel=(3, 3), stride=(2, 2)), 16 * 16 * 3 * 32 / 6 / 4),
        (LoopNest("pooling", "MaxPool", 1, 1, 16, 16, 16, 1, (2, 2), (2, 2)), 16 * 16 * 16 / 16),
        # 64 of 100 rows of a matrix.
        (LoopNest("matmul", "Gemm", width=100, channels=16, depth=50), 64 * 50 / 16),
        (LoopNest("elementwise", "Add", width=100, channels=20), 0),
    ],
)
def test_input_of_a_block(nest: LoopNest, cycles: float) -> None:
    assert input_cycles(nest, FED) == pytest.approx(cycles)
    assert input_cycles(nest, UNIT) == 0


def test_a_block_waits_for_a_share_of_its_input() -> None:
    nest = conv(16, 16, 16, 3, kernel=(3, 3))
    shared = replace(FED, command_share=0.25)
    products = nest_cycles(nest, replace(FED, image_cycles_per_byte=0.0)) / 4
    assert products == pytest.approx(8 * 16 * 2 * 4 * 3 / 4, rel=1e-5)  # of each of four blocks
    command = (648 + products) / 4
    assert nest_cycles(nest, shared) == pytest.approx(4 * max(products, command) + command)


def test_slower_data_types() -> None:
    nest = conv(16, 16, 16, 64)
    assert nest_cycles(nest, UNIT, slowdown=2.0) == pytest.approx(2 * nest_cycles(nest, UNIT))


def test_the_slowest_of_what_is_fused_sets_the_output_rate() -> None:
    nest = conv(1, 1, 1, 1)
    assert output_cycles(nest, UNIT) == 0
    assert output_cycles(replace(nest, then=("Relu", "QuantizeLinear")), UNIT) == 0.5
    assert output_cycles(replace(nest, then=("Add", "Relu")), UNIT) == 1.5
    assert output_cycles(LoopNest("pooling", "MaxPool"), UNIT) == 0.25
    by_name = replace(UNIT, output_cycles={"pooling": 2.0, "MaxPool": 1.0})
    assert output_cycles(LoopNest("pooling", "MaxPool"), by_name) == 1.0
    assert output_cycles(nest, by_name) == 0


def test_more_cores_units_and_output_are_never_slower() -> None:
    nests = [
        conv(9, 7, 20, 24, kernel=(3, 3), then=("Relu",)),
        LoopNest("matmul", "Gemm", 1, 1, 1, 5, 33, 70),
    ]
    for nest in nests:
        plain = nest_cycles(nest, UNIT)
        for better in (
            {"cores": 2},
            {"unit_height": 4},
            {"unit_width": 2},
            {"weights_per_cycle": 16},
            {"output_cycles": {}},
        ):
            assert nest_cycles(nest, replace(UNIT, **better)) <= plain, better  # type: ignore[arg-type]


def test_scales_of_a_product_of_one_row_come_from_where_its_weights_are() -> None:
    far = replace(UNIT, scale_cycles_per_channel=20.0)
    row = LoopNest("matmul", "Gemm", channels=640, depth=128)
    # Five blocks of 128 channels: products 2048, scales 2560 each; the last block's products.
    assert nest_cycles(row, far) == pytest.approx(5 * 2560 + 2048, rel=1e-5)
    assert scale_cycles(row, far) == 640 * 20
    assert scale_cycles(row, UNIT) == 0
    # 16 rows of 128 channels are one block of 2048 elements: every weight is used once.
    assert scale_cycles(replace(row, width=16), far) == 640 * 20
    assert scale_cycles(replace(row, width=17), far) == 0
    # Heads have no biases; weights of a convolution are fetched, and their scales with them.
    assert scale_cycles(replace(row, count=2), far) == 0
    assert scale_cycles(conv(1, 1, 640, 128), far) == 0
