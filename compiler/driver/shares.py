"""How busy a plan keeps the chip: shares of its latency and of its memory, and whose bytes move."""

from collections.abc import Mapping, Sequence

import numpy as np

from ullage.compiler.common.units import format_size
from ullage.compiler.driver.summary_text import percent
from ullage.compiler.ir.graph import BufferKind
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.target import Target
from ullage.hwmodels.cost import Score
from ullage.hwmodels.traffic import operand_charges

# Kinds of buffers in the order of texts.
KINDS: tuple[BufferKind, ...] = ("weight", "activation", "input", "output", "state")


def dma_busy(cost: Score) -> float:
    """Share of the latency in which at least one link moves data or sets a transfer up.

    Within a step links work side by side from its beginning, so the busiest of them counts.
    """
    busy_s = float(cost.link_seconds.max(axis=0, initial=0.0).sum())
    return min(busy_s / cost.latency_s, 1.0) if cost.latency_s > 0 else 0.0


def dma_busy_by_link(cost: Score) -> dict[str, float]:
    """Share of the latency in which each link is busy."""
    seconds = cost.link_seconds.sum(axis=1).tolist()
    latency_s = cost.latency_s
    return {
        name: min(busy / latency_s, 1.0) if latency_s > 0 else 0.0
        for name, busy in zip(cost.links, seconds, strict=True)
    }


def fast_memory_profile(plan: Plan) -> list[int]:
    """(T,) live bytes of the fastest tier, workspace included, at each step."""
    fastest = plan.target.fastest.name
    change = np.zeros(len(plan.problem.steps) + 1, dtype=np.int64)
    for r in plan.residencies:
        if r.tier == fastest:
            change[r.start] += r.end_byte - r.start_byte
            change[r.end] -= r.end_byte - r.start_byte
    workspace = [step.workspace_bytes for step in plan.problem.steps]
    live: list[int] = (change.cumsum()[:-1] + np.array(workspace, dtype=np.int64)).tolist()
    return live


def fast_memory_occupancy(plan: Plan, cost: Score) -> float:
    """Mean over time of the live bytes of the fastest tier over its capacity, 0 to 1."""
    capacity = plan.target.fastest.capacity_bytes
    if capacity == 0 or cost.latency_s == 0:
        return 0.0
    live = np.array(fast_memory_profile(plan), dtype=np.float64)
    return float((live * cost.elapsed_s).sum()) / (capacity * cost.latency_s)


def traffic_by_kind(plan: Plan) -> dict[str, int]:
    """Bytes of slow traffic by the kind of buffer that they belong to, as `traffic_bytes` counts.

    Operators' own accesses to tiers other than the fastest, and what DMA moves.
    """
    buffers, operands = plan.problem.buffers, operand_charges(plan)
    of_buffer = np.zeros(len(buffers))
    owners = np.array([r.buffer for r in plan.residencies], dtype=np.int64)[operands.residency]
    slow = operands.tier > 0
    np.add.at(of_buffer, owners[slow], operands.charged_bytes[slow])
    for transfer in plan.transfers:
        of_buffer[transfer.buffer] += sum(size for _, size in transfer.moves)
    totals = dict.fromkeys(KINDS, 0.0)
    for buffer, size in zip(buffers, of_buffer.tolist(), strict=True):
        totals[buffer.kind] += size
    return {kind: round(size) for kind, size in totals.items()}


def streamed_bytes(cost: Score) -> int:
    """The part of the slow traffic that operators read in place in a slow tier, without DMA."""
    return sum(size for name, size in cost.traffic_bytes.items() if name.endswith("->compute"))


def traffic_text(by_kind: Mapping[str, int]) -> str:
    """Whose bytes the slow traffic is: weights, and the rest as activations (inputs, outputs)."""
    weights = by_kind["weight"]
    activations = sum(by_kind.values()) - weights
    whole = weights + activations
    return (
        f"weights {format_size(weights)} ({percent(weights, whole)}), "
        f"activations {format_size(activations)} ({percent(activations, whole)})"
    )


def operand_access_text(target: Target) -> str:
    """Where the compute unit may read and write operands, in words."""
    slow = [tier for tier in target.tiers[1:] if tier.addressable]
    weights = [] if target.must_be_fastest("weight") else [tier.name for tier in slow]
    activations = (
        []
        if target.must_be_fastest("activation")
        else [tier.name for tier in slow if not tier.read_only]
    )
    first = target.fastest.name
    if activations == weights:
        return f"in {_either([first, *weights])}" if weights else f"in {first} only"
    return (
        f"weights in {_either([first, *weights])}; activations in {_either([first, *activations])}"
    )


def _either(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last
