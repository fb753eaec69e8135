"""Time of kernels on a processor, from cycles per multiply-accumulate and per element."""

from collections.abc import Mapping

from ullage.compiler.ir.graph import LoopNest
from ullage.compiler.ir.target import DEFAULT_CYCLES, OUTPUT_CYCLES

# Fused behind integer kernels, they are the scaling of their results (`output`).
SCALING = frozenset({"QuantizeLinear", "DequantizeLinear"})


def nest_cycles(nest: LoopNest, macs: Mapping[str, float], elements: Mapping[str, float]) -> float:
    """Cycles of a loop nest: one kernel, and what is fused behind it element by element.

    Args:
        nest: the loop nest.
        macs: cycles per multiply-accumulate by operator, kind or `default`, of its data type.
        elements: cycles per element likewise, and `output`.
    """
    if nest.is_mac:
        cycles = nest.visits * cycles_of(macs, nest.op, nest.kind)
        cycles += nest.elements * elements.get(OUTPUT_CYCLES, 0.0)
    else:
        cycles = nest.visits * cycles_of(elements, nest.op, nest.kind)
    behind = (op for op in nest.then if op not in SCALING)
    return cycles + nest.elements * sum(cycles_of(elements, op, "elementwise") for op in behind)


def cycles_of(table: Mapping[str, float], op: str, kind: str) -> float:
    """The entry of an operator, else of its kind, else `default`, else 0."""
    return next((table[key] for key in (op, kind, DEFAULT_CYCLES) if key in table), 0.0)
