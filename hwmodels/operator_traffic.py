"""Slow traffic by the operator that it is for: what operators access in slow tiers, and what moves.

A transfer is for the operator that wrote its bytes last before it; where none has (weights and
inputs), for the one that reads them next.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

from ullage.compiler.ir.assignment import Assigned
from ullage.hwmodels.traffic import operand_charges

# In place of an operator: a transfer of bytes that none has written or reads.
NOBODY = -1


@dataclass(frozen=True)
class OperatorTraffic:
    """Bytes of slow traffic of one operator, all its parts together.

    Attributes:
        weight_bytes: of weights.
        other_bytes: of inputs, outputs and activations.
    """

    weight_bytes: float = 0.0
    other_bytes: float = 0.0

    @property
    def size_bytes(self) -> float:
        """All of them."""
        return self.weight_bytes + self.other_bytes


def operator_traffic(plan: Assigned) -> Mapping[int, OperatorTraffic]:
    """Slow traffic by operator index; `NOBODY` has what is for none. The sum is the plan's.

    Args:
        plan: a legal plan.
    """
    buffers, steps = plan.problem.buffers, plan.problem.steps
    weights: dict[int, float] = {}
    others: dict[int, float] = {}
    charges = operand_charges(plan)
    slow = charges.tier > 0
    for step, residency, size in zip(
        charges.step[slow].tolist(),
        charges.residency[slow].tolist(),
        charges.charged_bytes[slow].tolist(),
        strict=True,
    ):
        kind = buffers[plan.residencies[residency].buffer].kind
        sums = weights if kind == "weight" else others
        operator = steps[step].operator
        sums[operator] = sums.get(operator, 0.0) + size
    for transfer in plan.transfers:
        operator = _served(
            plan, transfer.buffer, transfer.start_byte, transfer.end_byte, transfer.moves[0][0]
        )
        sums = weights if buffers[transfer.buffer].kind == "weight" else others
        size = sum(size for _, size in transfer.moves)
        sums[operator] = sums.get(operator, 0.0) + size
    return {
        operator: OperatorTraffic(weights.get(operator, 0.0), others.get(operator, 0.0))
        for operator in sorted(weights.keys() | others.keys())
    }


def _served(plan: Assigned, buffer: int, start: int, end: int, step: int) -> int:
    """The operator that a transfer of bytes [start, end) that begins in a step is for."""
    uses = plan.problem.uses_of[buffer]
    steps = plan.problem.steps
    now = bisect_left(uses, step, key=lambda entry: entry[0])
    for t, use in reversed(uses[:now]):
        if use.write and use.start_byte < end and start < use.end_byte:
            return steps[t].operator
    for t, use in uses[now:]:
        if not use.write and use.start_byte < end and start < use.end_byte:
            return steps[t].operator
    return NOBODY
