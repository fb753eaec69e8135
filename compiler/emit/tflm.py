"""`tflm`: addresses for TensorFlow Lite Micro's offline memory planner.

TFLM reads a metadata buffer `OfflineMemoryAllocation` of a .tflite model, a list of int32, little
endian: format version (1), subgraph, number of tensors n, then for each tensor its byte offset in
the arena, or -1 where the runtime is to place it (TFLM's documentation, "Offline planned tensor
allocations"). TFLM moves nothing: a tensor has one address from its definition to its last use. So
only tensors that a plan keeps whole at one address of the fastest tier all that time get one.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.files import write_atomic
from ullage.compiler.driver.result import Compiled
from ullage.compiler.ir.plan import Plan, Residency

METADATA_NAME = "OfflineMemoryAllocation"
FORMAT_VERSION = 1
AT_RUNTIME = -1
TFLM_ALIGNMENT_BYTES = 16  # of its arena; its optimised kernels expect it of tensors too
_MAX_OFFSET = 2**31 - 1


def emit_tflm(compiled: Compiled, folder: Path) -> Path:
    """Write `offline_memory_allocation.bin` and a `.json` that names its tensors.

    The tensors stand in the plan's order. For a .tflite file they must stand in the order of its
    subgraph: `offline_allocation(plan, names)` takes the names in that order.

    Returns:
        path of the binary.

    Raises:
        UsageError: an address is beyond int32.
    """
    plan = compiled.plan
    names = [value.name for buffer in plan.problem.buffers for value in buffer.values]
    numbers = offline_allocation(plan, names)
    path = folder / "offline_memory_allocation.bin"
    write_atomic(path, pack_allocation(numbers))
    described = describe_allocation(plan, names, numbers)
    write_atomic(path.with_suffix(".json"), json.dumps(described, indent=2).encode())
    return path


def offline_allocation(plan: Plan, names: Sequence[str], subgraph: int = 0) -> tuple[int, ...]:
    """The int32 list for tensors in the given order.

    Args:
        plan: a legal plan.
        names: tensors of the subgraph, in its order; unknown ones get -1.
        subgraph: index of the subgraph.

    Raises:
        UsageError: an address is beyond int32.
    """
    places = fixed_addresses(plan)
    offsets = [places.get(name, AT_RUNTIME) for name in names]
    if max(offsets, default=0) > _MAX_OFFSET:
        raise UsageError(
            f"address {max(offsets)} does not fit TFLM's int32 (at most {_MAX_OFFSET}); plan for "
            "less fast memory (--fast-memory)"
        )
    return (FORMAT_VERSION, subgraph, len(offsets), *offsets)


def fixed_addresses(plan: Plan) -> Mapping[str, int]:
    """Address in the fastest tier of each value that stays there from first to last use.

    TFLM's life of a tensor: an input is there before the first operator, an output until after the
    last, weights do not count (TFLM reads them where the model file lies). What copies the plan
    keeps elsewhere does not matter.
    """
    fastest = plan.target.fastest.name
    held_of: dict[int, list[Residency]] = {}
    for r in plan.residencies:
        if r.tier == fastest:
            held_of.setdefault(r.buffer, []).append(r)
    addresses: dict[str, int] = {}
    for index, buffer in enumerate(plan.problem.buffers):
        if buffer.kind == "weight":
            continue
        for value in buffer.values:
            begin, end = value.start_byte, value.end_byte
            held = [r for r in held_of.get(index, []) if r.start_byte < end and begin < r.end_byte]
            shifts = {r.offset - r.start_byte for r in held}
            live_range = _live_range(plan, index, begin, end)
            if len(shifts) == 1 and begin < end and _stays(held, begin, end, live_range):
                addresses[value.name] = begin + shifts.pop()
    return addresses


def _live_range(plan: Plan, index: int, begin: int, end: int) -> tuple[int, int]:
    """First and last step in which bytes of a buffer matter."""
    buffer = plan.problem.buffers[index]
    steps = [
        t for t, use in plan.problem.uses_of[index] if use.start_byte < end and begin < use.end_byte
    ]
    if buffer.kind == "input":
        steps.append(0)
    if any(low < end and begin < high for low, high in buffer.outputs):
        steps.append(len(plan.problem.steps) - 1)
    return min(steps, default=0), max(steps, default=0)


def _stays(held: Sequence[Residency], begin: int, end: int, live_range: tuple[int, int]) -> bool:
    """Whether all bytes [begin, end) are held without a gap from the first step to the last."""
    edges = {begin, end, *(e for r in held for e in (r.start_byte, r.end_byte))}
    cuts = sorted(e for e in edges if begin <= e <= end)
    for low in cuts[:-1]:
        reached = live_range[0]
        for r in sorted(held, key=lambda r: r.start):
            if r.start_byte <= low < r.end_byte and r.start <= reached < r.end:
                reached = r.end
        if reached <= live_range[1]:
            return False
    return True


def describe_allocation(plan: Plan, names: Sequence[str], numbers: Sequence[int]) -> dict[str, Any]:
    """What the list says, for people: names, the head's size, and what TFLM must be told."""
    offsets = dict(zip(names, numbers[3:], strict=True))
    sizes = {v.name: v.end_byte - v.start_byte for b in plan.problem.buffers for v in b.values}
    fixed = {name: offset for name, offset in offsets.items() if offset != AT_RUNTIME}
    notes = []
    weights = {v.name for b in plan.problem.buffers if b.kind == "weight" for v in b.values}
    moved = [name for name in offsets if name not in fixed and name not in weights]
    if moved:
        notes.append(
            f"{len(moved)} tensors have no single address in {plan.target.fastest.name} (the plan "
            "moves or splits them, or keeps them elsewhere); the runtime places them"
        )
    if any(offset % TFLM_ALIGNMENT_BYTES for offset in fixed.values()):
        notes.append(
            f"some offsets are no multiples of {TFLM_ALIGNMENT_BYTES} bytes, which optimised "
            "kernels may need; set the tier's alignment"
        )
    return {
        "metadata_name": METADATA_NAME,
        "format_version": FORMAT_VERSION,
        "subgraph": numbers[1],
        "arena_head_bytes": max((fixed[n] + sizes[n] for n in fixed), default=0),
        "alignment_bytes": plan.target.fastest.alignment_bytes,
        "tensors": [{"name": n, "offset": offsets[n], "size_bytes": sizes[n]} for n in names],
        "notes": notes,
    }


def pack_allocation(numbers: Sequence[int]) -> bytes:
    """The list as the metadata buffer holds it."""
    return struct.pack(f"<{len(numbers)}i", *numbers)
