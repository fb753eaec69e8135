"""Numbers for models: weights from the file, seeded ones where it has none, and seeded inputs."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ullage.compiler.common.dtypes import BITS, storage_bytes
from ullage.compiler.common.errors import ModelError
from ullage.compiler.common.files import is_file
from ullage.compiler.execute.element_types import (
    EXECUTABLE,
    Array,
    is_float,
    numpy_dtype,
    tensor_name,
)
from ullage.compiler.importer.load import all_nodes, element_name, has_values, operator_sets
from ullage.compiler.importer.operators.identity import operator_key
from ullage.compiler.importer.scope import Scope, TensorType

# Bytes of weights beyond which a model is not executed.
MAX_WEIGHT_BYTES = 2 * 2**30


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
        ModelError: more than 2 GiB of weights, or a data type without a fixed size.
    """
    total = 0
    for tensor in proto.graph.initializer:
        tensor_type = scope.types[tensor.name]
        _require_executable(tensor.name, tensor_type)
        total += storage_bytes(tensor_type.dtype, tensor_type.elements)
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
            f"tensor {name!r} holds {tensor_type.dtype}; such a model is "
            "not executed (its elements have no fixed size)",
            {"tensor": name},
        )


def _stored(tensor: onnx.TensorProto, folder: Path | None) -> Array | None:
    """The data that the file has for a weight, None where it has none."""
    if has_values(tensor):
        return np.asarray(onnx.numpy_helper.to_array(tensor))
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return None
    external = {entry.key: entry.value for entry in tensor.external_data}
    if folder is None or not is_file(folder / external.get("location", "")):
        return None
    try:
        return np.asarray(onnx.numpy_helper.to_array(_with_length(tensor), base_dir=str(folder)))
    except Exception as error:  # onnx raises types of its own for files outside the folder
        raise ModelError(
            f"the data of weight {tensor.name!r} cannot be read from {external['location']!r}: "
            f"{str(error)[:200]}",
            {"tensor": tensor.name},
        ) from error


def _with_length(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """An external tensor that states how many bytes of its file are its own.

    A length of 0, or none, stands for the tensor's own size, as onnxruntime reads it; onnx would
    take the rest of the file.
    """
    stated = {entry.key: entry.value for entry in tensor.external_data}
    if int(stated.get("length") or 0) > 0:
        return tensor
    dtype = element_name(tensor.data_type) or ""
    elements = int(np.prod(tensor.dims, dtype=np.int64))
    named = onnx.TensorProto()
    named.CopyFrom(tensor)
    del named.external_data[:]
    for key, value in {**stated, "length": str(storage_bytes(dtype, elements))}.items():
        named.external_data.add(key=key, value=value)
    return named


def _roles(proto: onnx.ModelProto) -> dict[str, str]:
    """How tensors are used, for those that need numbers of a certain kind (see `_role`)."""
    opsets = operator_sets(proto, "the model")
    roles: dict[str, str] = {}
    for node in all_nodes(proto.graph.node):
        for position, name in enumerate(node.input):
            role = _role(operator_key(node, opsets), position)
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
    shape, dtype = tensor_type.shape, numpy_dtype(tensor_type.dtype)
    # A generator returns a plain number where the shape is (): `asarray` makes it an array.
    return np.asarray(_numbers(shape, dtype, role, generator)).astype(dtype, copy=False)


def _numbers(
    shape: tuple[int, ...], dtype: np.dtype[np.generic], role: str, generator: np.random.Generator
) -> Any:  # noqa: ANN401 - an array or, for the shape (), a number
    if dtype == np.bool_:
        return generator.integers(0, 2, shape)
    if dtype.kind == "c":
        return generator.standard_normal(shape) + 1j * generator.standard_normal(shape)
    if not is_float(dtype):
        bits = BITS[tensor_name(dtype)]
        if bits > 8:  # indices, lengths, positions: the one value that always exists
            return generator.integers(0, 2 if role == "input" else 1, shape)
        low = -min(100, 2 ** (bits - 1)) if tensor_name(dtype).startswith("int") else 0
        return generator.integers(low, min(100, 2 ** (bits - 1)), shape)
    if role in ("variance", "scale"):
        return generator.uniform(0.5, 1.5, shape)
    if role == "quantisation":
        return generator.uniform(0.01, 0.05, shape)
    if role == "small" or len(shape) < 2:
        return 0.1 * generator.standard_normal(shape)
    numbers = generator.standard_normal(shape, dtype=np.float32)
    if role != "input":
        fan_in = max(1, int(np.prod(shape[1:])) if len(shape) > 2 else shape[0])
        numbers *= np.float32((1.0 / fan_in) ** 0.5)
    return numbers
