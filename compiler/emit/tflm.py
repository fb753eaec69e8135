"""`tflm`: addresses for TensorFlow Lite Micro's offline memory planner.

TFLM reads a metadata buffer `OfflineMemoryAllocation` of a .tflite model, a list of int32, little
endian (TFLM's documentation, "Offline planned tensor allocations"):

    index    0                1          2               3 ... n + 2
    number   format version   subgraph   n, tensors      byte offset of each tensor in the arena,
             (1)                                         or -1: the runtime places it

TFLM moves nothing: a tensor has one address from its definition to its last use. So only tensors
that a plan keeps whole at one address of the fastest tier during all that time get an offset. TFLM
runs operators whole, so that plans in parts have no such list.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.files import write_atomic
from ullage.compiler.driver.result import Compiled
from ullage.compiler.ir.part_names import operator_name
from ullage.compiler.ir.plan import Plan, Residency

# Name of the metadata buffer in the .tflite model.
METADATA_NAME = "OfflineMemoryAllocation"
# Version of the list.
FORMAT_VERSION = 1
# Offset of a tensor that the runtime is to place.
AT_RUNTIME = -1
# Alignment of TFLM's arena; its optimised kernels expect it of tensors too.
TFLM_ALIGNMENT_BYTES = 16
# Largest offset that the list can hold.
_MAX_OFFSET = 2**31 - 1


def emit_tflm(compiled: Compiled, folder: Path) -> Path:
    """Write `offline_memory_allocation.bin` and a `.json` that names its tensors.

    The tensors stand in the plan's order. For a .tflite file they must stand in the order of its
    subgraph: `offline_allocation(plan, names)` takes the names in that order.

    Returns:
        path of the binary.

    Raises:
        UsageError: an address is beyond int32, or operators run in parts.
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
    """The int32 list for tensors in a certain order.

    Args:
        plan: a legal plan.
        names: tensors of the subgraph, in its order; unknown ones get -1.
        subgraph: index of the subgraph.

    Raises:
        UsageError: an address is beyond int32, or operators run in parts.
    """
    cut = next((step for step in plan.problem.steps if step.ranges or step.copy), None)
    if cut is not None:
        raise UsageError(
            f"TFLM runs operators whole, and this plan runs {operator_name(cut)!r} in parts; plan "
            "with --schedule whole",
            {"operator": operator_name(cut)},
        )
    places = fixed_addresses(plan)
    offsets = [places.get(name, AT_RUNTIME) for name in names]
    if max(offsets, default=0) > _MAX_OFFSET:
        raise UsageError(
            f"address {max(offsets)} does not fit TFLM's int32 (at most {_MAX_OFFSET}); plan for "
            "less fast memory (--fast-memory)"
        )
    return (FORMAT_VERSION, subgraph, len(offsets), *offsets)


def fixed_addresses(plan: Plan) -> Mapping[str, int]:
    """Address in the fastest tier of each value that is there from first to last use.

    The live range is TFLM's: an input exists before the first operator, an output until after the
    last. Weights do not count (TFLM reads them from the model file). Copies that the plan has in
    other places do not matter.
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
    """First and last step in which bytes of a buffer are in use."""
    buffer = plan.problem.buffers[index]
    steps = [
        t for t, use in plan.problem.uses_of[index] if use.start_byte < end and begin < use.end_byte
    ]
    if buffer.initial and not buffer.constant:
        steps.append(0)
    if any(low < end and begin < high for low, high in buffer.outputs):
        steps.append(len(plan.problem.steps) - 1)
    return min(steps, default=0), max(steps, default=0)


def _stays(held: Sequence[Residency], begin: int, end: int, live_range: tuple[int, int]) -> bool:
    """Whether residencies hold all bytes [begin, end) without a gap during a live range."""
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
    """The list for people: names, size of the arena's head, and what TFLM needs to use it."""
    offsets = dict(zip(names, numbers[3:], strict=True))
    sizes = {v.name: v.end_byte - v.start_byte for b in plan.problem.buffers for v in b.values}
    fixed = {name: offset for name, offset in offsets.items() if offset != AT_RUNTIME}
    notes = [plan.shortfall] if plan.shortfall else []
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
    """The list as bytes of the metadata buffer."""
    return struct.pack(f"<{len(numbers)}i", *numbers)
