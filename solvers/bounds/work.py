"""Time of an operator's work, if each part of it takes no more than its share."""

from ullage.compiler.ir.graph import Operator
from ullage.compiler.ir.target import Compute, Target
from ullage.compiler.lowering.part_work import operator_step, whole_work
from ullage.hwmodels.compute.mac_blocks import output_cycles
from ullage.hwmodels.compute.model import StepTimes
from ullage.hwmodels.compute.peak import vector_seconds
from ullage.hwmodels.compute.work import nests_of


def divisible_seconds(operator: Operator, target: Target) -> float:
    """Seconds that all parts of an operator take together at least, however it is divided.

    Times at peak rates, of kernels and of measurements are proportional to the work, as they are.
    Of arrays and blocks all cells count as busy, and the output stage beside them: parts that fit
    them badly take longer.

    Raises:
        UsageError: the target cannot cost the operator's data type.
    """
    times = StepTimes(target)
    step = operator_step(operator, 0, whole_work(operator))
    whole_s = times.of(step)
    compute = target.compute
    if operator.measured_s is not None or compute.model in ("peak", "kernel-cycles"):
        return whole_s
    mac_s = 0.0
    if operator.macs:
        slowdown = max(compute.macs_per_s.values()) / times.rate_of(step)
        mac_s = operator.macs / _full_rate(compute) * slowdown
    if compute.mac_blocks is None:
        beside_s = vector_seconds(step, compute)
    else:
        blocks = compute.mac_blocks
        cycles = sum(nest.elements * output_cycles(nest, blocks) for nest in nests_of(step))
        beside_s = cycles / blocks.clock_hz
    return min(whole_s, max(mac_s, beside_s))


def _full_rate(compute: Compute) -> float:
    """Multiply-accumulates per second with all cells busy, of the fastest data type."""
    if compute.mac_blocks is not None:
        blocks = compute.mac_blocks
        unit = blocks.unit_height * blocks.unit_width * blocks.unit_channels
        return unit * blocks.dot_channels * blocks.cores * blocks.clock_hz
    if compute.systolic is not None:
        array = compute.systolic
        return array.rows * array.columns * array.arrays * array.clock_hz
    return max(compute.macs_per_s.values())
