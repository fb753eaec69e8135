"""Memory planning for ExecuTorch: an algorithm beside its `greedy` and `naive`.

ExecuTorch (1.5) calls an algorithm with tensor specs whose lifetimes are set, and expects
`mem_id`, `mem_obj_id` and `mem_offset` for each. The pass takes this algorithm alone or beside
others, of which the suite keeps the smallest result:

    MemoryPlanningPass(MemoryPlanningAlgorithmSuite([ullage_packing, greedy]))

A spec keeps its `mem_id` (the number of its memory). Offsets within a memory come from ullage's
packer, which, unlike `greedy`, does not cut storage into shared objects first. Needs the extra
`executorch`; nothing else here does.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ullage.compiler.common.errors import UsageError

# Memory of a spec that has no `mem_id`: 0 is for constants, and ExecuTorch has only memory 1 unless
# a pass says otherwise.
DEFAULT_MEM_ID = 1

_log = logging.getLogger(__name__)


def ullage_packing(
    alignment: int,
    specs: Iterable[Any],
    graph_module: Any,  # noqa: ANN401 - torch.fx.GraphModule, unknown without torch
    graph_signature: Any,  # noqa: ANN401, ARG001 - part of the contract
    extra_padding: int = 0,
    *,
    proof_s: float = 0.0,
) -> Any:  # noqa: ANN401 - executorch.exir.memory_planning.MemoryAlgoResult
    """Offsets for tensor specs, with the call signature of ExecuTorch's `greedy`.

    Args:
        alignment: alignment of every spec in bytes.
        specs: `TensorSpec`s with lifetimes [first, last] of nodes, both inclusive.
        graph_module: their graph; `input_mem_buffer_sizes` says which bytes are in use already.
        graph_signature: not used.
        extra_padding: bytes added at the end of each memory.
        proof_s: seconds spent on a proof of optimality (`functools.partial` sets it); with the
            default of none the offsets depend on the specs alone.

    Returns:
        `MemoryAlgoResult`: a `SpecAllocResult` for each spec, and the size of each memory.

    Raises:
        UsageError: executorch is not installed, a spec has no lifetime, or is backed by a storage
            that is not planned or too small.
    """
    result_type, spec_type = _executorch_types()
    ordered = _in_graph_order(list(specs), graph_module)
    for spec in ordered:
        spec.realign(alignment)
    known = {id(spec) for spec in ordered}
    roots = {id(spec): _root(spec, known, alignment) for spec in ordered}
    live_ranges = _lifetimes(ordered, roots)
    memories: dict[int, list[Any]] = {}
    for spec in ordered:
        if spec.storage_base is None:
            memory = DEFAULT_MEM_ID if spec.mem_id is None else spec.mem_id
            memories.setdefault(memory, []).append(spec)
    input_sizes = list(getattr(graph_module, "input_mem_buffer_sizes", None) or ())
    sizes = [0] * (1 + max(memories, default=DEFAULT_MEM_ID))
    offsets: dict[int, int] = {}
    for memory, owners in memories.items():
        before = input_sizes[memory] if memory < len(input_sizes) else 0
        first = -(-before // alignment) * alignment
        packed, peak = _pack(owners, live_ranges, alignment, proof_s)
        offsets |= {key: first + offset for key, offset in packed.items()}
        sizes[memory] = first + peak + extra_padding
        _log.debug("memory %d: %d bytes for %d specs", memory, peak, len(owners))
    memory_of = {id(s): memory for memory, owners in memories.items() for s in owners}
    objects = _objects(memories, offsets)
    rows = {}
    for spec in ordered:
        root, inside = roots[id(spec)]
        key = id(root)
        rows[spec] = spec_type(memory_of[key], objects[key], offsets[key] + inside)
    return result_type(rows, sizes)


def _executorch_types() -> tuple[Any, Any]:
    """`MemoryAlgoResult` and `SpecAllocResult`."""
    try:
        from executorch.exir import memory_planning
    except ImportError as error:
        raise UsageError(
            "executorch cannot be imported; install the extra: pip install 'ullage[executorch]'"
        ) from error
    return memory_planning.MemoryAlgoResult, memory_planning.SpecAllocResult


def _in_graph_order(specs: Sequence[Any], graph_module: Any) -> list[Any]:  # noqa: ANN401
    """Specs in the order in which the graph first names them; as a set they would have no order."""
    place: dict[int, int] = {}
    for node in graph_module.graph.nodes:
        node_specs = node.meta.get("spec")
        for spec in node_specs if isinstance(node_specs, list | tuple) else (node_specs,):
            place.setdefault(id(spec), len(place))
    for spec in specs:
        if spec.lifetime[0] is None or spec.lifetime[1] is None:
            raise UsageError(
                f"tensor spec {spec!r} has no lifetime; run the algorithm from ExecuTorch's "
                "MemoryPlanningPass, which sets lifetimes first"
            )
    return sorted(
        specs, key=lambda s: (place.get(id(s), len(place)), s.lifetime, s.allocated_memory)
    )


def _root(spec: Any, known: Collection[int], alignment: int) -> tuple[Any, int]:  # noqa: ANN401
    """The spec in whose storage a spec lies (often itself), and its offset there in bytes."""
    root, inside, seen = spec, 0, {id(spec)}
    while (base := root.storage_base) is not None:
        if id(base) in seen or id(base) not in known:
            what = "in a circle" if id(base) in seen else "that is not planned with it"
            raise UsageError(f"tensor spec {spec!r} is backed by a storage {what}")
        end = root.storage_base_offset + root.allocated_memory
        if root.storage_base_offset % alignment or end > base.allocated_memory:
            raise UsageError(
                f"tensor spec {spec!r} lies at {root.storage_base_offset} of a storage of "
                f"{base.allocated_memory} bytes: it needs {root.allocated_memory} bytes there, "
                f"at a multiple of {alignment}"
            )
        inside += root.storage_base_offset
        seen.add(id(base))
        root = base
    return root, inside


def _lifetimes(
    specs: Sequence[Any], roots: Mapping[int, tuple[Any, int]]
) -> dict[int, tuple[int, int]]:
    """Half-open lifetime of each storage: from the first begin to the last end of its specs."""
    live_ranges: dict[int, tuple[int, int]] = {}
    for spec in specs:
        key = id(roots[id(spec)][0])
        start, end = spec.lifetime[0], spec.lifetime[1] + 1
        if key in live_ranges:
            start, end = min(start, live_ranges[key][0]), max(end, live_ranges[key][1])
        live_ranges[key] = (start, end)
    return live_ranges


def _pack(
    owners: Sequence[Any],
    live_ranges: Mapping[int, tuple[int, int]],
    alignment: int,
    proof_s: float,
) -> tuple[dict[int, int], int]:
    """Offset of each storage of one memory by id, and the aligned size of the memory, in bytes."""
    from ullage.solvers.packing.pack import pack

    packed = pack(
        [live_ranges[id(s)][0] for s in owners],
        [live_ranges[id(s)][1] for s in owners],
        [s.allocated_memory for s in owners],
        alignment_bytes=alignment,
        time_limit_s=proof_s,
        proof=proof_s > 0,
    )
    peak = -(-packed.peak_bytes // alignment) * alignment
    return {id(s): int(o) for s, o in zip(owners, packed.offsets, strict=True)}, peak


def _objects(memories: Mapping[int, Sequence[Any]], offsets: Mapping[int, int]) -> dict[int, int]:
    """`mem_obj_id` of each spec by id: equal for specs that share bytes, even through others.

    ExecuTorch's verifier demands equal numbers of every pair that overlaps in address.
    """
    objects: dict[int, int] = {}
    for owners in memories.values():
        number, reach = -1, -1
        for spec in sorted(owners, key=lambda s: offsets[id(s)]):
            begin = offsets[id(spec)]
            if begin >= reach:
                number += 1
            reach = max(reach, begin + spec.allocated_memory)
            objects[id(spec)] = number
    return objects
