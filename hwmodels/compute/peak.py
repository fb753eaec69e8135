"""Time at peak rates: MACs over their rate, beside vector elements over theirs."""

from ullage.compiler.ir.program import Step
from ullage.compiler.ir.target import Compute


def mac_seconds(step: Step, compute: Compute, rate: float) -> float:
    """MACs over their rate, where a kind of loop nest reaches only a share of it slower.

    Args:
        step: the step.
        compute: the unit.
        rate: MACs per second of the step's data type.
    """
    efficiency = compute.efficiency
    if not efficiency or not step.nests:
        return step.macs / rate
    shares = ((nest.visits, efficiency.get(nest.kind, 1.0)) for nest in step.nests if nest.is_mac)
    return sum(macs / (rate * share) for macs, share in shares)


def vector_seconds(step: Step, compute: Compute) -> float:
    """Vector elements over their rate; beside them, what the output stage takes over.

    What is fused behind multiplications, and which the output stage applies, is none of the vector
    unit's work.
    """
    stage = compute.output_stage
    elements, staged = step.vector_elements, 0
    if stage is not None:
        for nest in step.nests:
            if nest.is_mac:
                staged += nest.elements
                elements -= nest.elements * sum(op in stage.operators for op in nest.then)
    seconds = max(0, elements) / compute.vector_elements_per_s
    return seconds if stage is None else max(seconds, staged / stage.elements_per_s)
