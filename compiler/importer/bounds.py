"""Types where onnx's inference has none: data-dependent shapes, bodies of If, Loop and Scan.

Where a shape depends on data, its largest possible size is used, so that a plan made for it has
room for every run. Types are triples (dtype, shape, is_upper_bound); None means that no bound
follows.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

# A type: dtype, shape, and whether the shape is an upper bound.
Triple = tuple[str, tuple[int, ...], bool]
# Values of small constants by name.
Arrays = Mapping[str, NDArray[np.generic]]


class Typed(Protocol):
    """Anything with a data type and a shape, such as `scope.TensorType`."""

    @property
    def dtype(self) -> str: ...  # noqa: D102
    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def is_upper_bound(self) -> bool: ...  # noqa: D102


def product(shape: Sequence[int]) -> int:
    """Number of elements of a shape."""
    count = 1
    for dim in shape:
        count *= dim
    return count


def bounded_output_types(
    node: onnx.NodeProto,
    attributes: Mapping[str, Any],
    inputs: Sequence[Typed | None],
    arrays: Arrays,
) -> list[Triple | None]:
    """Upper bounds for the outputs of an operator whose result shapes depend on data.

    NonZero finds at most all elements, TopK returns at most the axis, NonMaxSuppression selects at
    most `max_output_boxes_per_class` of each class, a Slice is no longer than its input.
    """
    if not inputs or inputs[0] is None:
        return []
    first = inputs[0]
    shape = first.shape
    op = node.op_type
    if op == "NonZero":
        return [("int64", (len(shape), product(shape)), True)]
    if op == "Slice":
        return [(first.dtype, shape, True)]
    if op == "Dropout":  # the mask of old operator sets has no inference
        return [(first.dtype, shape, False), ("bool", shape, False)]
    if op == "Compress":
        axis = attributes.get("axis")
        bound = (product(shape),) if axis is None else shape
        return [(first.dtype, bound, True)]
    if op == "TopK":
        return [(first.dtype, shape, True), ("int64", shape, True)]
    if op == "Unique":
        axis = attributes.get("axis")
        bound = (product(shape),) if axis is None else shape
        count = product(shape) if axis is None else shape[axis]
        return [(first.dtype, bound, True), *[("int64", (count,), True)] * 3]
    if op == "NonMaxSuppression" and len(inputs) > 1 and inputs[1] is not None:
        return [_nms(node, shape, inputs[1].shape, arrays)]
    if op == "Reshape":
        return [_reshape(node, first, inputs, arrays)]
    return []


def _nms(
    node: onnx.NodeProto, boxes: tuple[int, ...], scores: tuple[int, ...], arrays: Arrays
) -> Triple | None:
    """Selected indices of NonMaxSuppression, shape [at most batch * classes * selected, 3]."""
    if len(boxes) != 3 or len(scores) != 3:
        return None
    per_class = boxes[1]
    limit = arrays.get(node.input[2]) if len(node.input) > 2 else None
    if limit is not None and limit.size == 1:
        per_class = min(per_class, max(0, int(np.asarray(limit, dtype=np.int64).reshape(()))))
    return ("int64", (scores[0] * scores[1] * per_class, 3), True)


def _reshape(
    node: onnx.NodeProto, first: Typed, inputs: Sequence[Typed | None], arrays: Arrays
) -> Triple | None:
    """A reshape to a shape that is not known: one dimension takes all elements.

    The rank is the length of the shape argument. Storage is the same whatever the dimensions are.
    """
    target = inputs[1] if len(inputs) > 1 else None
    if target is None or node.input[1] in arrays or len(target.shape) != 1:
        return None
    rank = target.shape[0]
    return (first.dtype, (product(first.shape), *[1] * (rank - 1)), True) if rank else None


def body_input_types(
    node: onnx.NodeProto, attributes: Mapping[str, Any], inputs: Sequence[Typed | None]
) -> list[Triple | None]:
    """Types of the inputs of a Loop or Scan body (an If has none).

    Loop: iteration number, condition, loop-carried values. Scan: states, then one slice of each
    scanned input.
    """
    triples: list[Triple | None] = [
        None if t is None else (t.dtype, t.shape, t.is_upper_bound) for t in inputs
    ]
    if node.op_type == "Loop":
        return [("int64", (), False), ("bool", (), False), *triples[2:]]
    if node.op_type == "Scan":
        scanned = int(attributes.get("num_scan_inputs", 0))
        states = len(triples) - scanned
        axes = list(attributes.get("scan_input_axes", [0] * scanned))
        for index in range(scanned):
            triple = triples[states + index]
            if triple is not None and triple[1]:
                axis = _axis(axes[index], len(triple[1]))
                shape = triple[1][:axis] + triple[1][axis + 1 :]
                triples[states + index] = (triple[0], shape, triple[2])
        return triples
    return []


def control_flow_output_types(
    node: onnx.NodeProto,
    attributes: Mapping[str, Any],
    bodies: Sequence[Sequence[Triple]],
    inputs: Sequence[Typed | None],
    arrays: Arrays,
) -> list[Triple | None]:
    """Types of the results of If, Loop and Scan from those of their bodies.

    If: the larger of both branches, an upper bound where they differ. Loop: loop-carried values as
        the
    body returns them. Results of a Loop or Scan that are collected over the iterations gain the
    number of iterations as first axis, where it is known.
    """
    if not bodies:
        return []
    if node.op_type == "If":
        results: list[Triple | None] = []
        for branches in zip(*bodies, strict=False):
            largest = max(branches, key=lambda t: product(t[1]))
            differ = len({b[1] for b in branches}) > 1
            results.append((largest[0], largest[1], largest[2] or differ))
        return results
    if node.op_type == "Loop":
        loop_carried = max(0, len(inputs) - 2)
        trips = trip_count(node, arrays)
        return [
            *bodies[0][1 : 1 + loop_carried],
            *(
                None if trips is None else (dtype, (trips, *shape), True)
                for dtype, shape, _ in bodies[0][1 + loop_carried :]
            ),
        ]
    scanned = int(attributes.get("num_scan_inputs", 0))
    states = len(inputs) - scanned
    length = scan_length(attributes, inputs)
    axes = [*attributes.get("scan_output_axes", ()), *[0] * len(bodies[0])]
    return [
        *bodies[0][:states],
        *(
            None if length is None else (dtype, _inserted(shape, axis, length), is_bound)
            for (dtype, shape, is_bound), axis in zip(bodies[0][states:], axes, strict=False)
        ),
    ]


def _axis(axis: int, rank: int) -> int:
    """An axis counted from the front.

    Raises:
        IndexError: the tensor has no such axis.
    """
    if not -rank <= axis < rank:
        raise IndexError(f"axis {axis} of a tensor of rank {rank}")
    return axis % rank


def _inserted(shape: tuple[int, ...], axis: int, length: int) -> tuple[int, ...]:
    """A shape with another axis inserted."""
    at = _axis(axis, len(shape) + 1)
    return (*shape[:at], length, *shape[at:])


def trip_count(node: onnx.NodeProto, arrays: Arrays) -> int | None:
    """Largest number of iterations of a Loop, None when the model does not say."""
    trips = arrays.get(node.input[0]) if node.input and node.input[0] else None
    if trips is None or trips.size != 1:
        return None
    return max(0, int(np.asarray(trips, dtype=np.int64).reshape(())))


def scan_length(attributes: Mapping[str, Any], inputs: Sequence[Typed | None]) -> int | None:
    """Number of iterations of a Scan."""
    scanned = int(attributes.get("num_scan_inputs", 0))
    axes = list(attributes.get("scan_input_axes", [0] * scanned))
    if not scanned or len(inputs) < scanned:
        return None
    first = inputs[len(inputs) - scanned]
    if first is None or not first.shape:
        return None
    return first.shape[_axis(axes[0], len(first.shape))]
