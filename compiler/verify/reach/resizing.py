"""Resize and Upsample by experiment: each row of an axis by itself, 1 where all others are 0.

Resizing is linear and treats axes apart, so that the results of unit rows are the weights with
which rows of the result are interpolated:

    row 0 of 3     1 0 0    resized to 6 rows    1  .75  .25  0  0  0      rows 0 to 2 need it
"""

from functools import lru_cache
from typing import Any

import numpy as np
import onnx

from ullage.compiler.importer.operators.identity import NodeFacts
from ullage.compiler.verify.reach.geometry import Geometry
from ullage.compiler.verify.reach.needs import Axes, Mask

# Attributes that say how rows are interpolated.
_KEPT = frozenset(
    """antialias coordinate_transformation_mode cubic_coeff_a exclude_outside mode
    nearest_mode""".split()
)
# Elements of the largest experiment, about a second of work.
_MOST_ELEMENTS = 4_000_000


def resized(node: NodeFacts, geometry: Geometry, need: Axes) -> dict[int, Axes] | None:
    """The elements of the operand that some elements of the result are interpolated from.

    None where scales depend on data, a region is cropped, or an axis is very long.
    """
    shape = geometry.shapes[node.inputs[0]]
    scales = _scales(node, geometry)
    if scales is None or node.text("coordinate_transformation_mode") == "tf_crop_and_resize":
        return None
    masks: list[Mask] = []
    for axis, size in enumerate(shape):
        length, scale = len(need[axis]), scales.get(axis)
        if size == length and scale in (None, 1.0):
            masks.append(need[axis])
            continue
        if size * length > _MOST_ELEMENTS:
            return None
        kept = tuple(sorted((k, v) for k, v in node.attributes.items() if k in _KEPT))
        weights = _weights(node.op, node.version, kept, size, length, scale)
        masks.append(np.asarray((weights[:, need[axis]] != 0).any(axis=1)))
    return {0: tuple(masks)}


def _scales(node: NodeFacts, geometry: Geometry) -> dict[int, float] | None:
    """The scale of each axis that is given by one; None where they depend on data."""
    shape = geometry.shapes[node.inputs[0]]
    rank = len(shape)
    position = 1 if node.op == "Upsample" or node.version < 11 else 2
    given = node.attributes.get("scales")
    if given is None and len(node.inputs) > position and node.inputs[position]:
        array = geometry.arrays.get(node.inputs[position])
        if array is None:
            return None
        given = array.reshape(-1)
    if given is None or not len(given):
        return {} if node.text("keep_aspect_ratio_policy", "stretch") == "stretch" else None
    axes = [int(a) % rank for a in node.attributes.get("axes") or range(rank)]
    return {axis: float(scale) for axis, scale in zip(axes, given, strict=True)}


@lru_cache(maxsize=256)
def _weights(
    op: str,
    version: int,
    kept: tuple[tuple[str, Any], ...],
    size: int,
    length: int,
    scale: float | None,
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """(size, length) results of unit rows: the weight of each row in each row of the result."""
    import onnxruntime

    factors = np.array([1, 1, 1 if scale is None else scale, 1], np.float32)
    constants = [onnx.numpy_helper.from_array(factors, "scales")]
    inputs = ["x", "scales"] if op == "Upsample" or version < 11 else ["x", "", "scales"]
    if scale is None:
        sizes = np.array([size, 1, length, 1], np.int64)
        constants = [onnx.numpy_helper.from_array(sizes, "sizes")]
        inputs = ["x", "", "", "sizes"]
    node = onnx.helper.make_node(op, inputs, ["y"], **dict(kept))
    info = onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [node],
        "rows",
        [info("x", kind, [size, 1, size, 1])],
        [info("y", kind, [size, 1, length, 1])],
        constants,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", version)])
    model.ir_version = 8
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    rows = np.eye(size, dtype=np.float32).reshape(size, 1, size, 1)
    return np.asarray(session.run(["y"], {"x": rows})[0], np.float32).reshape(size, length)
