"""How often an operator reads its operands in place: as often as its blocks need them.

    output of 8 x 8 positions, 64 channels       blocks of 4 x 4 positions, 32 channels
      +----+----+
      | A  | B  |  channels 0-31 and 32-63       weights of 32 channels: for A, B, C and D
      +----+----+                                input: for channels 0-31 and for 32-63,
      | C  | D  |                                and what the windows of A and B share twice
      +----+----+

After the element accesses of Arm Vela's estimates (`measure_element_access` in its
`npu_performance.py`) and its choice of block shapes (`find_block_config`): those that read least.
"""

from collections.abc import Mapping
from functools import lru_cache
from math import log

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.compiler.common.dtypes import bits_of
from ullage.compiler.ir.graph import LoopNest
from ullage.compiler.ir.problem import Problem, computed_once
from ullage.compiler.ir.program import Step, Use
from ullage.compiler.ir.target import Rereads
from ullage.hwmodels.compute.work import nests_of

# Numbers of blocks along an axis that are tried: all up to 20, then fewer.
MAX_CUTS = 64

# How often a step reads a value, by its name.
Times = Mapping[str, float]


def times_accessed(use: Use, reads: Times) -> float:
    """How often a step accesses the bytes of a use, where it reads its operands so often."""
    return 1.0 if use.write else reads.get(use.value, 1.0)


@computed_once
def operand_reads(problem: Problem) -> tuple[Times, ...]:
    """(T,) how often each step reads its operands, by value; 1 for those that are left out.

    Of a step whose main work multiplies, the largest weight and the input are read as often as
    `block_reads` says: of several operands that are no weights the one whose size is nearest
    to that of the input of the products. A product of two operands that are no weights reads the
    other as weights. Pools read their input like a convolution of every channel alone. All else is
    read once.
    """
    rereads = problem.target.compute.rereads
    if rereads is None:
        return ({},) * len(problem.steps)
    reads: list[Times] = []
    for step in problem.steps:
        weights: dict[str, int] = {}
        others: dict[str, int] = {}
        for use in step.uses:
            if not use.write and use.accessed_bytes:
                sizes = weights if problem.buffers[use.buffer].kind == "weight" else others
                sizes[use.value] = sizes.get(use.value, 0) + use.accessed_bytes
        reads.append(step_reads(step, rereads, weights, others))
    return tuple(reads)


def step_reads(
    step: Step, rereads: Rereads, weights: Mapping[str, int], others: Mapping[str, int]
) -> Times:
    """How often a step reads its operands, by value; 1 for those that are left out.

    Args:
        step: the step; its uses do not matter.
        rereads: the blocks.
        weights: bytes of the weights that it reads, by value.
        others: bytes of what else it reads.
    """
    nests = nests_of(step)
    nest = next((n for n in nests if n.is_mac or n.kind == "pooling"), None)
    if nest is None or not nest.elements:
        return {}
    expected = _input_elements(nest) * bits_of(step.mac_dtype) / 8
    given = min(others, key=lambda name: abs(log(others[name] / expected)), default=None)
    if nest.kind == "matmul" and not weights:
        rest = {name: size for name, size in others.items() if name != given}
        weights = rest if len(rest) == 1 else {}
    filters = max(weights, key=lambda name: weights[name], default=None) if nest.is_mac else None
    sizes = weights[filters] if filters else 0, others[given] if given else 0
    times = zip((filters, given), block_reads(nest, rereads, *sizes), strict=True)
    return {name: often for name, often in times if name and often > 1}


@lru_cache(maxsize=4096)
def block_reads(
    nest: LoopNest, rereads: Rereads, weight_bytes: int, input_bytes: int
) -> tuple[float, float]:
    """How often the weights and the input of a loop nest are read, in the blocks that read least.

    Weights are read for every block of positions; the input for every block of channels, what
    windows of neighbouring blocks share counted twice. Blocks of many positions and few channels
    read few weights, others little input: a compiler chooses, and so does this.

    Args:
        nest: the loop nest; it multiplies or pools.
        rereads: the blocks that the unit has room for.
        weight_bytes: bytes of all its weights, 0 without.
        input_bytes: bytes of its input, 0 where that is no operand.
    """
    apart = nest.kind in ("pooling", "depthwise")  # every channel for itself, side by side
    own = nest.channels if apart else max(1, nest.channels // max(1, nest.groups))
    channels = _block_channels(own, rereads)[:, None]
    height = np.minimum(_lengths(nest.height)[None, :], rereads.block_elements // channels)
    # Beside accumulators of 4 bytes some channels of the input, of a byte each.
    depth = np.minimum(channels if apart else nest.depth, rereads.input_channels) / 4
    rows = ((height - 1) * nest.stride[0] + _window(nest, 0)) * depth
    room = rereads.block_elements - rows * (_window(nest, 1) - nest.stride[1])
    width = np.minimum(nest.width, room // (channels * height + rows * nest.stride[1]))
    fits = width >= 1
    width = np.maximum(1, width)
    down, across = -(-nest.height // height), -(-nest.width // width)
    weights = nest.batch * down * across * 1.0
    inputs = _shared(nest, 0, down) * _shared(nest, 1, across)
    if not apart:
        inputs = inputs * -(-own // channels)
    weights[weight_bytes * channels[:, 0] <= rereads.weight_bytes * nest.channels] = 1.0
    if input_bytes <= rereads.input_bytes:
        inputs = np.ones_like(inputs)
    read = weight_bytes * weights + input_bytes * inputs
    least = np.argmin(np.where(fits, read, np.inf) if fits.any() else read)
    return float(weights.flat[least]), float(inputs.flat[least])


def _block_channels(own: int, rereads: Rereads) -> Ints:
    """Numbers of channels that a block may have, the largest first; `own` are all of them."""
    step = rereads.block_channels_multiple
    most = max(step, rereads.block_channels // step * step)
    lengths: Ints = np.minimum(most, -(-_lengths(own) // step) * step)
    fitting: Ints = np.minimum(own, np.unique(lengths)[::-1])
    return fitting


def _lengths(length: int) -> Ints:
    """Lengths of the parts in which a length can be cut into equal ones; at most `MAX_CUTS`."""
    counts = np.geomspace(1, length, MAX_CUTS).round().astype(np.int64)
    return np.unique(-(-length // counts))


def _shared(nest: LoopNest, axis: int, count: Ints) -> Floats:
    """How often rows (axis 0) or columns are read by `count` blocks side by side."""
    length = (nest.height, nest.width)[axis] * nest.stride[axis]
    return (length + (count - 1) * max(0, _window(nest, axis) - nest.stride[axis])) / length


def _window(nest: LoopNest, axis: int) -> int:
    """Rows or columns of a window."""
    return (nest.kernel[axis] - 1) * nest.dilation[axis] + 1


def _input_elements(nest: LoopNest) -> int:
    """About how many elements the input of a loop nest has."""
    positions = nest.height * nest.stride[0] * nest.width * nest.stride[1]
    channels = nest.channels if nest.kind == "pooling" else nest.depth * max(1, nest.groups)
    return nest.count * nest.batch * positions * channels
