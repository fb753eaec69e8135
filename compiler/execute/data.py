"""Numbers for models: weights from the file, seeded ones where it has none, and seeded inputs."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from ullage.compiler.common.errors import ModelError
from ullage.compiler.importer.load import all_nodes
from ullage.compiler.importer.scope import Scope, TensorType

Array = NDArray[np.generic]

# Bytes of weights beyond which a model is not executed.
MAX_WEIGHT_BYTES = 2 * 2**30
# Data types that numpy has, so that models of them can be executed.
EXECUTABLE = frozenset(
    """float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool""".split()
)


def model_weights(
    proto: onnx.ModelProto, scope: Scope, folder: Path | None, seed: int
) -> dict[str, Array]:
    """Every initializer of the main graph as an array.

    Args:
        proto: the model.
        scope: its types.
        folder: where external data would be; None when the model came from memory.
        seed: seed of weights that the file does not have.

    Raises:
        ModelError: more than 2 GiB of weights, or a data type that numpy does not have.
    """
    total = 0
    for tensor in proto.graph.initializer:
        tensor_type = scope.types[tensor.name]
        _require_executable(tensor.name, tensor_type)
        total += tensor_type.elements * np.dtype(tensor_type.dtype).itemsize
    if total > MAX_WEIGHT_BYTES:
        raise ModelError(
            f"{scope.where}: {total} bytes of weights; execution holds them in memory twice and "
            f"takes at most {MAX_WEIGHT_BYTES}"
        )
    roles = _roles(proto)
    generator = np.random.default_rng(seed)
    weights: dict[str, Array] = {}
    for tensor in proto.graph.initializer:
        array = _stored(tensor, folder)
        if array is None:
            role = roles.get(tensor.name, "")
            array = _drawn(scope.types[tensor.name], role, generator)
        weights[tensor.name] = array
    return weights


def model_inputs(
    names: Iterable[str],
    types: Mapping[str, TensorType],
    proto: onnx.ModelProto,
    seed: int,
    inference: int = 1,
) -> dict[str, Array]:
    """Seeded arrays for the graph's inputs: normal numbers, small non-negative integers.

    Each inference (1, 2 ...) has numbers of its own.
    """
    roles = _roles(proto)
    generator = np.random.default_rng([seed, inference])
    inputs: dict[str, Array] = {}
    for name in names:
        _require_executable(name, types[name])
        role = roles.get(name, "input")
        inputs[name] = _drawn(types[name], "input" if role == "index" else role, generator)
    return inputs


def _require_executable(name: str, tensor_type: TensorType) -> None:
    if tensor_type.dtype not in EXECUTABLE:
        raise ModelError(
            f"tensor {name!r} holds {tensor_type.dtype}; plans of such models can be verified, but "
            "not executed (numpy has no such type)",
            {"tensor": name},
        )


def _stored(tensor: onnx.TensorProto, folder: Path | None) -> Array | None:
    """The data that the file has for a weight, None where it has none."""
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return np.asarray(onnx.numpy_helper.to_array(tensor))
    external = {entry.key: entry.value for entry in tensor.external_data}
    if folder is None or not (folder / external.get("location", "")).is_file():
        return None
    try:
        return np.asarray(onnx.numpy_helper.to_array(tensor, base_dir=str(folder)))
    except Exception as error:  # onnx raises types of its own for files outside the folder
        raise ModelError(
            f"the data of weight {tensor.name!r} cannot be read from {external['location']!r}: "
            f"{str(error)[:200]}",
            {"tensor": tensor.name},
        ) from error


def _roles(proto: onnx.ModelProto) -> dict[str, str]:
    """How tensors are used, for those that need numbers of a certain kind (see `_role`)."""
    roles: dict[str, str] = {}
    for node in all_nodes(proto.graph.node):
        for position, name in enumerate(node.input):
            role = _role(node.op_type, position)
            if name and role:
                roles[name] = role
    return roles


def _role(op: str, position: int) -> str:
    if op == "BatchNormalization":
        return ("input", "scale", "small", "small", "variance")[min(position, 4)]
    if op in ("LayerNormalization", "InstanceNormalization", "GroupNormalization"):
        return ("input", "scale", "small")[min(position, 2)]
    if op in ("QuantizeLinear", "DequantizeLinear"):
        return ("", "quantisation", "")[min(position, 2)]
    if op in ("Gather", "GatherElements", "GatherND", "OneHot") and position == 1:
        return "index"
    if op in ("Sqrt", "Log", "Div") and position == (op == "Div"):
        return "variance"
    return ""


def _drawn(tensor_type: TensorType, role: str, generator: np.random.Generator) -> Array:
    """Random numbers that keep activations of order one through many layers."""
    shape, dtype = tensor_type.shape, np.dtype(tensor_type.dtype)
    if dtype == np.bool_:
        return generator.integers(0, 2, shape).astype(np.bool_)
    if dtype.kind in "iu":
        if dtype.itemsize > 1:  # indices, lengths, positions: the one value that always exists
            high = 2 if role == "input" else 1
            return generator.integers(0, high, shape).astype(dtype)
        low = -100 if dtype.kind == "i" else 0
        return generator.integers(low, 100, shape).astype(dtype)
    if role in ("variance", "scale"):
        return generator.uniform(0.5, 1.5, shape).astype(dtype)
    if role == "quantisation":
        return generator.uniform(0.01, 0.05, shape).astype(dtype)
    if role == "small" or len(shape) < 2:
        return (0.1 * generator.standard_normal(shape)).astype(dtype)
    numbers = generator.standard_normal(shape, dtype=np.float32)
    if role != "input":
        fan_in = max(1, int(np.prod(shape[1:])) if len(shape) > 2 else shape[0])
        numbers *= np.float32((1.0 / fan_in) ** 0.5)
    return numbers.astype(dtype, copy=False)
