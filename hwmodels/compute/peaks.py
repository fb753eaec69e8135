"""The most that a compute unit can multiply, by its model."""

from ullage.compiler.ir.target import Compute


def peak_macs_per_s(compute: Compute, dtype: str) -> float:
    """Multiply-accumulates per second of a data type, at most.

    An array, blocks and kernels say it by their geometry and cycles, others by the listed rate.

    Args:
        compute: the unit.
        dtype: a data type with a listed rate.
    """
    rate = compute.macs_per_s[dtype]
    share = rate / max(compute.macs_per_s.values())
    grid, blocks, kernels = compute.systolic, compute.mac_blocks, compute.kernel_cycles
    if grid is not None:
        return share * grid.arrays * grid.rows * grid.columns * grid.clock_hz
    if blocks is not None:
        outputs = blocks.unit_height * blocks.unit_width * blocks.unit_channels
        return share * blocks.cores * outputs * blocks.dot_channels * blocks.clock_hz
    if kernels is not None and dtype in kernels.macs:
        least = min(cycles for cycles in kernels.macs[dtype].values() if cycles)
        return kernels.clock_hz / least
    return rate
