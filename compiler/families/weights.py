"""One placement of weights for all plans of a family, so that a change of plan moves none."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.target import Target


def shared_offsets(plans: Sequence[Plan]) -> dict[str, int]:
    """Where each weight lies in its home tier, by name; one behind the other, aligned.

    Args:
        plans: of the same model on the same target; a weight that only some have counts as well.
    """
    sizes: dict[str, int] = {}
    for plan in plans:
        for buffer in plan.problem.buffers:
            if buffer.kind == "weight":
                sizes[buffer.name] = max(buffer.size_bytes, sizes.get(buffer.name, 0))
    offsets, at = {}, 0
    alignment = _home(plans[0].target)[1]
    for name, size in sizes.items():
        offsets[name] = at
        at = _aligned(at + size, alignment)
    return offsets


def _home(target: Target) -> tuple[str, int]:
    """Name and alignment of the home tier of weights."""
    name = target.homes["weight"]
    return name, next(tier.alignment_bytes for tier in target.tiers if tier.name == name)


def _aligned(byte: int, alignment: int) -> int:
    return -(-byte // alignment) * alignment


def with_shared_weights(plan: Plan, offsets: Mapping[str, int]) -> Plan:
    """The plan with its weights at given addresses of their home, and all else there behind them.

    Args:
        plan: a legal plan; with its weights' home in the fastest tier it stays as it is.
        offsets: where each weight lies, by name.

    Returns:
        The plan. It may be illegal where the home tier has no room for all of that.
    """
    home, alignment = _home(plan.target)
    if home == plan.target.fastest.name:
        return plan
    buffers = plan.problem.buffers
    end = max((offsets[b.name] + b.size_bytes for b in buffers if b.kind == "weight"), default=0)
    behind = _aligned(end, alignment)
    moved = []
    for r in plan.residencies:
        buffer = buffers[r.buffer]
        if r.tier != home:
            moved.append(r)
        elif buffer.kind == "weight":
            moved.append(replace(r, offset=offsets[buffer.name] + r.start_byte))
        else:
            moved.append(replace(r, offset=r.offset + behind))
    return replace(plan, residencies=tuple(moved))
