"""How often an operator reads its operands in place: as often as its blocks need them.

    output of 8 x 8 positions, 64 channels       blocks of 4 x 4 positions, 32 channels
      +----+----+
      | A  | B  |  channels 0-31 and 32-63       weights of 32 channels: for A, B, C and D
      +----+----+                                input: for channels 0-31 and for 32-63,
      | C  | D  |                                and what the windows of A and B share twice
      +----+----+

After the element accesses of Arm Vela's estimates (`measure_element_access` in its
`npu_performance.py`), without its search for block shapes: blocks are about square here.
"""

from collections.abc import Mapping
from math import ceil, log, sqrt

from ullage.compiler.common.dtypes import bits_of
from ullage.compiler.ir.graph import LoopNest
from ullage.compiler.ir.problem import Problem, computed_once
from ullage.compiler.ir.program import Step, Use
from ullage.compiler.ir.target import Rereads
from ullage.hwmodels.compute.work import nests_of

# How often a step reads a value, by its name.
Times = Mapping[str, float]


def times_accessed(use: Use, reads: Times) -> float:
    """How often a step accesses the bytes of a use, where it reads its operands so often."""
    return 1.0 if use.write else reads.get(use.value, 1.0)


@computed_once
def operand_reads(problem: Problem) -> tuple[Times, ...]:
    """(T,) how often each step reads its operands, by value; 1 for those that are left out.

    Of a step whose main work multiplies, the largest weight is read `weight_reads` times, and the
    input `input_reads` times: of several operands that are no weights the one whose size is nearest
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
    element_bytes = bits_of(step.mac_dtype) / 8
    result: dict[str, float] = {}
    if others:
        expected = _input_elements(nest) * element_bytes
        given = min(others, key=lambda name: abs(log(others[name] / expected)))
        result[given] = input_reads(nest, rereads, others[given])
        if nest.kind == "matmul" and not weights:
            rest = {name: size for name, size in others.items() if name != given}
            weights = rest if len(rest) == 1 else {}
    if weights and nest.is_mac:
        filters = max(weights, key=lambda name: weights[name])
        result[filters] = weight_reads(nest, rereads, weights[filters])
    return {name: times for name, times in result.items() if times > 1}


def weight_reads(nest: LoopNest, rereads: Rereads, size_bytes: int) -> float:
    """How often the weights of a loop nest are read: for every block of positions.

    Args:
        nest: the loop nest; it multiplies.
        rereads: the blocks.
        size_bytes: bytes of all its weights.
    """
    channels = _block_channels(nest, rereads)
    if size_bytes * channels <= rereads.weight_bytes * nest.channels:
        return 1.0
    positions = max(1, rereads.block_elements // channels)
    return float(ceil(nest.batch * nest.height * nest.width / positions))


def input_reads(nest: LoopNest, rereads: Rereads, size_bytes: int) -> float:
    """How often the input of a loop nest is read, what neighbouring windows share counted twice.

    Args:
        nest: the loop nest; it multiplies or pools.
        rereads: the blocks.
        size_bytes: bytes of its input.
    """
    if size_bytes <= rereads.input_bytes:
        return 1.0
    channels = _block_channels(nest, rereads)
    positions = max(1.0, rereads.block_elements / channels)
    height = min(float(nest.height), sqrt(positions))
    width = min(float(nest.width), positions / height)
    height = min(float(nest.height), positions / width)
    shared = _shared(nest, 0, nest.height / height) * _shared(nest, 1, nest.width / width)
    if nest.kind in ("pooling", "depthwise"):
        return shared  # a block reads the channels that it makes
    return shared * ceil(nest.channels / max(1, nest.groups) / channels)


def _block_channels(nest: LoopNest, rereads: Rereads) -> int:
    """Output channels of a block: of one group, where there are groups."""
    apart = nest.kind in ("pooling", "depthwise")  # every channel for itself, side by side
    own = nest.channels if apart else nest.channels // max(1, nest.groups)
    return max(1, min(own, rereads.block_channels))


def _shared(nest: LoopNest, axis: int, count: float) -> float:
    """How often rows (axis 0) or columns are read by `count` blocks side by side."""
    length = (nest.height, nest.width)[axis] * nest.stride[axis]
    window = (nest.kernel[axis] - 1) * nest.dilation[axis] + 1
    return (length + (count - 1) * max(0, window - nest.stride[axis])) / length


def _input_elements(nest: LoopNest) -> int:
    """About how many elements the input of a loop nest has."""
    positions = nest.height * nest.stride[0] * nest.width * nest.stride[1]
    channels = nest.channels if nest.kind == "pooling" else nest.depth * max(1, nest.groups)
    return nest.count * nest.batch * positions * channels
