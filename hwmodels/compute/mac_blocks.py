"""Time of MACs that compute the output block by block, each made of small units (Ethos-U class).

    output, height x width x channels          a unit of 2 x 2 positions x 8 channels
      +----+----+----+                           takes, in 4 cycles a step:
      |    |    |    |                             8 input channels of 4 taps, or
      +----+----+----+                            32 input channels of 1 tap
      |    |    |    |
      +----+----+----+                         results leave through the output stage: scaling,
                                               bias, activation, so many cycles an element

After Arm's own estimates for Ethos-U (`npu_performance.py` of Vela), without its search for block
shapes: docs/validation.md compares the two.
"""

from math import sqrt

from ullage.compiler.ir.graph import LoopNest
from ullage.compiler.ir.target import DEFAULT_CYCLES, MacBlocks


def nest_cycles(nest: LoopNest, blocks: MacBlocks, slowdown: float = 1.0) -> float:
    """Cycles of a loop nest.

    Products and output stage work side by side, block by block: each block takes what the slower of
    the two takes, and behind the last one waits for the other. A block has at most `block_elements`
    output elements and `block_channels` channels. Commands and data of a block keep the unit for a
    share of all that the block takes. With `input`, `products` and `output` of one block,

        command = share * (latencies + input + products + output)
        cycles  = blocks * max(products, output, command) + max(min(products, output), command)

    The output stage waits for biases and scales (`scale_cycles`).

    Args:
        nest: the loop nest; one without elements takes no time.
        blocks: the unit.
        slowdown: factor on the products, of data types that are slower than the fastest.
    """
    if not nest.elements:
        return 0.0
    products = _product_cycles(nest, blocks) * slowdown / blocks.cores
    output = nest.elements * output_cycles(nest, blocks)
    if not products:
        return output
    count = block_count(nest, blocks)
    output = max(output, scale_cycles(nest, blocks))
    fast, slow = sorted((products / count, output / count))
    arriving = input_cycles(nest, blocks)
    command = blocks.command_share * (blocks.command_cycles + arriving + fast + slow)
    return count * max(slow, command) + max(fast, command)


def block_count(nest: LoopNest, blocks: MacBlocks) -> int:
    """How many blocks the output is cut into, at least."""
    by_elements = -(-nest.elements // blocks.block_elements)
    return max(by_elements, -(-nest.channels // blocks.block_channels))


def output_cycles(nest: LoopNest, blocks: MacBlocks) -> float:
    """Cycles of the output stage per element: the slowest of its operator and what is fused behind.

    What follows and is not listed costs nothing of its own: scaling is part of every output.
    """
    table = blocks.output_cycles
    own = next((table[key] for key in (nest.op, nest.kind, DEFAULT_CYCLES) if key in table), 0.0)
    return max([own, *(table[op] for op in nest.then if op in table)])


def scale_cycles(nest: LoopNest, blocks: MacBlocks) -> float:
    """Cycles in which biases and scales of all output channels arrive, where that takes long.

    The weights of a matrix product whose rows are in one block of the output are used once: it
    gains nothing to bring them nearer first, and their biases and scales stay with them. All else
    has them in the fastest memory, in time.
    """
    channels = min(nest.channels, blocks.block_channels)
    rows = nest.batch * nest.height * nest.width
    once = nest.kind == "matmul" and nest.count == 1 and rows * channels <= blocks.block_elements
    return nest.channels * blocks.scale_cycles_per_channel if once else 0.0


def input_cycles(nest: LoopNest, blocks: MacBlocks) -> float:
    """Cycles in which the input of a block arrives, one byte an element.

    An image has its channels side by side, pixel by pixel, and its bursts are mostly thrown away;
    two columns are one of twice the channels where the stride is 2 (so Vela rewrites such
    convolutions).
    """
    elements = input_elements(nest, blocks)
    if not is_image(nest, blocks):
        return elements * blocks.input_cycles_per_byte
    run = nest.depth * nest.groups * (2 if nest.stride[1] == 2 else 1)
    return elements * max(1.0, blocks.image_burst_bytes / run) * blocks.image_cycles_per_byte


def is_image(nest: LoopNest, blocks: MacBlocks) -> bool:
    """Whether the input is read as an image: a convolution of few channels."""
    return nest.kind == "convolution" and nest.depth * nest.groups < blocks.dot_channels


def input_elements(nest: LoopNest, blocks: MacBlocks) -> float:
    """Elements of the input that a block reads, on average over all; 0 of what has no products.

    A block is about as high as it is wide. Neighbours read what windows share once more each, so n
    blocks over an output of H rows, with windows of k rows and stride s, read H s + (n - 1)(k - s).
    """
    if not (nest.is_mac or nest.kind == "pooling"):
        return 0.0
    channels = min(max(nest.channels, blocks.unit_channels), blocks.block_channels)
    positions = min(blocks.block_elements / channels, float(nest.height * nest.width))
    height = min(nest.height, sqrt(positions))
    width = min(nest.width, positions / height)
    height = min(nest.height, positions / width)
    area = _read(nest, 0, nest.height / height) * _read(nest, 1, nest.width / width)
    shared = nest.groups == 1 and nest.kind != "pooling"
    depth = nest.depth if shared else nest.depth * channels * nest.groups / nest.channels
    return area * (channels if nest.kind == "pooling" else depth)


def _read(nest: LoopNest, axis: int, count: float) -> float:
    """Rows (axis 0) or columns of the input that each of `count` blocks side by side reads."""
    length = (nest.height, nest.width)[axis]
    more = max(0, nest.kernel[axis] - nest.stride[axis])
    return (length * nest.stride[axis] + (count - 1) * more) / count


def _product_cycles(nest: LoopNest, blocks: MacBlocks) -> int:
    """Cycles of a core for all products, or for the windows of a pool; 0 where there are none.

    A unit takes a step of `step_cycles` for each group of input channels and taps. The weights of a
    step serve all positions; with few positions the next ones are waited for.
    """
    rows, columns = -(-nest.height // blocks.unit_height), -(-nest.width // blocks.unit_width)
    positions = nest.count * nest.batch * rows * columns
    step = blocks.step_cycles
    if nest.kind == "pooling":
        layers = -(-nest.channels // blocks.unit_channels)
        return positions * layers * step * max(step, nest.taps)
    if nest.kind in ("depthwise", "reduction"):
        layers = -(-nest.channels // blocks.unit_channels)
        steps = -(-nest.taps // step)
    elif nest.is_mac:
        groups = max(1, nest.groups)
        layers = groups * -(-nest.channels // groups // blocks.unit_channels)
        deep = nest.taps * -(-nest.depth // (step * blocks.dot_channels))
        wide = -(-nest.taps // step) * -(-nest.depth // blocks.dot_channels)
        steps = min(deep, wide)
    else:
        return 0
    weights = blocks.unit_channels * blocks.dot_channels * step
    waits = -(-weights // blocks.weights_per_cycle)
    return max(waits, step * positions) * layers * steps
