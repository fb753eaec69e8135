"""Operators on memrefs: what they read, and the new versions of what they write."""

from collections.abc import Sequence

from ullage.compiler.common.errors import ModelError
from ullage.compiler.integrations.mlir_text.function import Function
from ullage.compiler.integrations.mlir_text.linalg_shapes import ELEMENTWISE, work_of
from ullage.compiler.integrations.mlir_text.memref_type import MemrefType, dtype_of
from ullage.compiler.lowering.from_lists import Op

# Operations of `linalg` that write all of their output whatever was there; others may add to it.
OVERWRITE = {*ELEMENTWISE, "broadcast", "fill", "transpose"}


def operate(
    found: Function,
    kind: str,
    reads: Sequence[tuple[str, MemrefType | None]],
    writes: Sequence[tuple[str, MemrefType | None]],
    body: str,
    where: str,
    loads: Sequence[tuple[str, MemrefType]] = (),
) -> None:
    """Note an operator, whose outputs become new versions of their buffers.

    Args:
        found: what was read so far.
        kind: name of the operation, without the dialect.
        reads: operands that it reads, None of scalars.
        writes: operands that it writes.
        body: its text, for attributes.
        where: begins the message of an error.
        loads: memrefs of which its body loads elements; they count as read whole.

    Raises:
        ModelError: shapes do not fit, it reads what nothing wrote, or it writes a weight or no
            memref.
    """
    inputs = [buffer for _, buffer in reads if buffer]
    outputs = [buffer for _, buffer in writes if buffer]
    if not outputs or len(outputs) != len(writes):
        raise ModelError(f"{where}: it writes no memref; bufferise tensors before")
    macs, gemm = work_of(
        kind, [b.lengths for b in inputs], [b.lengths for b in outputs], body, where
    )
    sources = [found.roots[name] for name, buffer in (*reads, *loads) if buffer]
    results = list(dict.fromkeys(found.roots[name] for name, _ in writes))
    before = dict.fromkeys(found.current(root) for root in sources)
    for root in sources:
        if found.kinds[root] == "activation" and found.current(root) not in found.written:
            raise ModelError(f"{where}: it reads {root}, which nothing before it writes")
    in_place: dict[str, str] = {}
    after: list[str] = []
    for root in results:
        if found.kinds[root] == "weight":
            raise ModelError(f"{where}: it writes {root}, a weight, which stays as it is")
        old = found.current(root)
        if found.kinds[root] == "input" or old in found.written or old in before:
            found.versions[root] += 1
            if kind not in OVERWRITE:
                before[old] = None
            if old in before:
                in_place[found.current(root)] = old
        after.append(found.current(root))
    found.written.update(after)
    types = [*inputs, *outputs]
    found.operators.append(
        Op(
            f"{kind}:{len(found.operators)}",
            list(before),
            after,
            macs=macs,
            dtype=dtype_of(types[0].element, types[0].bits),
            vector_elements=0 if macs else max(buffer.elements for buffer in types),
            gemms=gemm,
            in_place=in_place,
        )
    )
