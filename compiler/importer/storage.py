"""Which outputs of an operator may share the bytes of its inputs, proven from shapes.

`lowering.aliases` decides which of these sharings are used.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ullage.compiler.common.dtypes import BITS
from ullage.compiler.importer.bounds import product
from ullage.compiler.importer.optypes import CACHING, DATA_OPERANDS, ELEMENTWISE, PATCHING, VIEWS
from ullage.compiler.importer.scope import TensorType
from ullage.compiler.ir.graph import Sharing

# Types of tensors by name.
Types = Mapping[str, TensorType]
# Values of small constants by name.
Arrays = Mapping[str, NDArray[np.generic]]


def sharings_of(
    op: str,
    node: onnx.NodeProto,
    attributes: Mapping[str, Any],
    types: Types,
    arrays: Arrays,
    sizes: Mapping[str, int],
) -> tuple[Sharing, ...]:
    """The sharings that a node permits, whatever the order and the live ranges.

    Args:
        op: which operator the node is, as `identity.operator_key` says it.
        node: the ONNX node.
        attributes: its attributes.
        types: types of all tensors.
        arrays: values of small constants.
        sizes: planned size in bytes of every tensor that can be in memory.
    """
    operands = [name for name in node.input if name in sizes]
    outputs = [name for name in node.output if name in sizes]
    if not operands or not outputs or not node.input[0] or not node.output[0]:
        return ()
    first = node.input[0]
    if (
        first in sizes
        and sizes[first] == sizes.get(outputs[0])
        and _is_view(op, node, attributes, types, arrays)
    ):
        return (Sharing("view", outputs[0], first),)
    if any(types[name].is_upper_bound for name in (*operands, *outputs)):
        return ()
    if op == "Split" and first in sizes:
        return _split(node, attributes, types, sizes)
    if op in ("Slice", "Gather") and first in sizes:
        offset = _slice_offset(node, attributes, types, arrays)
        if offset is None:
            return ()
        scaled = _scaled(offset, types[first], sizes[first])
        return () if scaled is None else (Sharing("split", outputs[0], first, scaled),)
    if op == "Concat":
        return _concat(node, attributes, types, sizes)
    if op in PATCHING:
        return _patched(op, node, sizes)
    if op in CACHING:
        return tuple(_cached(op, node, types, sizes))
    return tuple(
        Sharing("in_place", outputs[0], name)
        for name in elementwise_operands(op, node, types)
        if name in sizes and sizes[name] == sizes[outputs[0]]
    )


def elementwise_operands(op: str, node: onnx.NodeProto, types: Types) -> tuple[str, ...]:
    """The operands of which each element is read once, for the result's element at that place.

    Only these may be overwritten while the operator runs: what is broadcast (a bias, the scale and
    the zero point of a quantisation) is read again after the first result is written.

    Args:
        op: which operator the node is, as `identity.operator_key` says it.
        node: the node; its first output is meant.
        types: types of all tensors.
    """
    if op not in ELEMENTWISE:
        return ()
    places = DATA_OPERANDS.get(op)
    elements = types[node.output[0]].elements
    broadcast = {
        name
        for position, name in enumerate(node.input)
        if name
        and ((places is not None and position not in places) or types[name].elements != elements)
    }
    return tuple(name for name in dict.fromkeys(node.input) if name and name not in broadcast)


def _is_view(
    op: str, node: onnx.NodeProto, attributes: Mapping[str, Any], types: Types, arrays: Arrays
) -> bool:
    """Whether the first output consists of the first input's bytes, unchanged."""
    source, result = types[node.input[0]], types[node.output[0]]
    if op in VIEWS:
        if op != "Dropout":
            return True
        training = arrays.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        constant = len(node.input) < 3 or not node.input[2] or training is not None
        return constant and (training is None or not bool(np.any(training)))
    if source.elements != result.elements:
        return False
    if op in ("Cast", "CastLike"):
        return source.dtype == result.dtype
    if op == "Transpose":
        rank = len(source.shape)
        perm = list(attributes.get("perm", range(rank - 1, -1, -1)))
        moved = [axis for axis in perm if source.shape[axis] != 1]
        return moved == sorted(moved)
    if op == "Slice":
        steps = arrays.get(node.input[4]) if len(node.input) > 4 and node.input[4] else None
        known = len(node.input) <= 4 or not node.input[4] or steps is not None
        positive = steps is None or bool(np.all(np.asarray(steps, dtype=np.int64) > 0))
        return known and positive and not result.is_upper_bound
    return op == "Expand" or (op == "Concat" and len(node.input) == 1)


def _patched(op: str, node: onnx.NodeProto, sizes: Mapping[str, int]) -> tuple[Sharing, ...]:
    """The first operand of an operator that writes rows into it, and is the result otherwise."""
    rows = node.input[PATCHING[op]] if len(node.input) > PATCHING[op] else ""
    source, result = node.input[0], node.output[0]
    if rows not in sizes or source not in sizes or sizes[source] != sizes.get(result):
        return ()
    if list(node.input).count(source) > 1:
        return ()
    written = min(sizes[rows], sizes[result])
    return (Sharing("in_place", result, source, written_bytes=written),)


def _cached(
    op: str, node: onnx.NodeProto, types: Types, sizes: Mapping[str, int]
) -> Iterator[Sharing]:
    """The caches [batch, heads, rows, size] of an attention, allocated ahead, and their results.

    It writes as many rows of each as there are new tokens: queries are [batch, tokens, hidden].
    """
    for place, result_place in CACHING[op]:
        if len(node.input) <= place or len(node.output) <= result_place:
            continue
        past, present = node.input[place], node.output[result_place]
        is_whole = past in sizes and present in sizes and sizes[past] == sizes[present]
        if not is_whole or list(node.input).count(past) > 1:
            continue
        query, cache = types[node.input[0]].shape, types[past].shape
        if len(query) == 3 and len(cache) == 4 and query[1] <= cache[2]:
            written = sizes[past] * query[1] // cache[2]
            yield Sharing("in_place", present, past, written_bytes=written, is_read=True)


def _scaled(elements: int, whole: TensorType, size_bytes: int) -> int | None:
    """Elements as planned bytes; None where they are no whole number of bytes."""
    if whole.elements == 0 or (elements * size_bytes) % whole.elements:
        return None
    if BITS[whole.dtype] < 8 and (elements * BITS[whole.dtype]) % 8:
        return None
    return elements * size_bytes // whole.elements


def _split(
    node: onnx.NodeProto, attributes: Mapping[str, Any], types: Types, sizes: Mapping[str, int]
) -> tuple[Sharing, ...]:
    """Outputs of a Split that are contiguous parts of its input, one after the other."""
    source = types[node.input[0]]
    if "axis" not in attributes:  # operator set 1 says nothing of a default
        return ()
    axis = int(attributes["axis"]) % max(1, len(source.shape))
    if product(source.shape[:axis]) != 1:
        return ()
    sharings: list[Sharing] = []
    elements = 0
    for name in node.output:
        if name in sizes:
            offset = _scaled(elements, source, sizes[node.input[0]])
            if offset is None:
                return ()
            sharings.append(Sharing("split", name, node.input[0], offset))
        elements += types[name].elements if name else 0
    return tuple(sharings) if all(name in sizes for name in node.output) else ()


def _concat(
    node: onnx.NodeProto, attributes: Mapping[str, Any], types: Types, sizes: Mapping[str, int]
) -> tuple[Sharing, ...]:
    """Inputs of a Concat that are contiguous parts of the result, one after the other."""
    whole = types[node.output[0]]
    axis = int(attributes["axis"]) % max(1, len(whole.shape))
    if product(whole.shape[:axis]) != 1:
        return ()
    sharings: list[Sharing] = []
    times = Counter(node.input)
    elements = 0
    for name in node.input:
        offset = _scaled(elements, whole, sizes[node.output[0]])
        if offset is None:
            return ()
        if name in sizes and times[name] == 1:
            sharings.append(Sharing("concat", node.output[0], name, offset))
        elements += types[name].elements
    return tuple(sharings)


def _slice_offset(
    node: onnx.NodeProto, attributes: Mapping[str, Any], types: Types, arrays: Arrays
) -> int | None:
    """First element of a Slice or Gather whose result is one contiguous run, else None."""
    source, result = types[node.input[0]], types[node.output[0]]
    if node.op_type == "Gather":
        index = arrays.get(node.input[1])
        if index is None or index.size != 1 or not source.shape:
            return None
        axis = int(attributes.get("axis", 0)) % len(source.shape)
        position = int(np.asarray(index, dtype=np.int64).reshape(()))
        position += source.shape[axis] if position < 0 else 0
        if product(source.shape[:axis]) != 1 or not 0 <= position < source.shape[axis]:
            return None
        return position * product(source.shape[axis + 1 :])
    return _contiguous_slice(node, attributes, source, result, arrays)


def _contiguous_slice(
    node: onnx.NodeProto,
    attributes: Mapping[str, Any],
    source: TensorType,
    result: TensorType,
    arrays: Arrays,
) -> int | None:
    """First element of a Slice whose result is one contiguous run of its input, else None."""
    starts, axes = _slice_arguments(node, attributes, len(source.shape), arrays)
    if starts is None or axes is None or len(starts) != len(axes):
        return None
    rank = len(source.shape)
    begin = [0] * rank
    for axis, start in zip(axes, starts, strict=True):
        if not -rank <= axis < rank:
            return None
        size = source.shape[axis]
        begin[axis % rank] = min(max(start + size if start < 0 else start, 0), size)
    cut = [a for a in range(rank) if result.shape[a] != source.shape[a]]
    if not cut or any(result.shape[a] != 1 for a in range(cut[-1])):
        return None  # only the last cut axis may keep more than one row
    strides = [product(source.shape[a + 1 :]) for a in range(rank)]
    return sum(b * s for b, s in zip(begin, strides, strict=True))


def _slice_arguments(
    node: onnx.NodeProto, attributes: Mapping[str, Any], rank: int, arrays: Arrays
) -> tuple[Sequence[int] | None, Sequence[int] | None]:
    """Starts and axes of a Slice with unit steps, (None, None) when unknown or strided."""

    def argument(position: int) -> list[int] | None:
        array = arrays.get(node.input[position])
        return None if array is None else [int(v) for v in np.asarray(array).reshape(-1)]

    if "starts" in attributes:  # before operator set 10
        starts = [int(v) for v in attributes["starts"]]
        return starts, [int(v) for v in attributes.get("axes", range(len(starts)))]
    if len(node.input) < 3:
        return None, None
    starts_found = argument(1)
    if len(node.input) > 4 and node.input[4]:
        steps = argument(4)
        if steps is None or any(step != 1 for step in steps):
            return None, None
    if len(node.input) > 3 and node.input[3]:
        return starts_found, argument(3)
    return starts_found, list(range(min(rank, len(starts_found or ()))))
