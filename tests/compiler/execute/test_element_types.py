"""Bytes of every element type: packed below a byte, and the same after a round trip."""

import numpy as np
import onnx
import pytest

from ullage.compiler.common.dtypes import BITS, storage_bytes
from ullage.compiler.execute.element_types import (
    ELEMENT_NUMBERS,
    as_bytes,
    is_float,
    numpy_dtype,
    tensor_name,
    typed,
)


@pytest.mark.parametrize("name", sorted(BITS))
@pytest.mark.parametrize("count", [0, 1, 5, 8])
def test_bytes_of_an_array_are_read_back(name: str, count: int) -> None:
    size = storage_bytes(name, count)
    data = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
    if name == "bool":
        data &= 1
    if spare := (count * BITS[name]) % 8:
        data[-1] &= (1 << spare) - 1
    array = typed(data, numpy_dtype(name), (count,))
    assert array.shape == (count,)
    assert tensor_name(array.dtype) == name
    assert as_bytes(array).tobytes() == data.tobytes()


@pytest.mark.parametrize("name", ["int4", "uint4", "int2", "uint2", "float4e2m1"])
def test_packed_elements_lie_as_in_onnx_files(name: str) -> None:
    array = np.array([1, 0, 1, -1 if name.startswith(("int", "float")) else 3, 1]).astype(
        numpy_dtype(name)
    )
    stored = onnx.numpy_helper.from_array(array, "t")
    assert as_bytes(array).tobytes() == stored.raw_data
    assert np.array_equal(typed(as_bytes(array), array.dtype, (5,)), array)


def test_floating_point_types_are_told_from_integers() -> None:
    floats = {name for name in BITS if is_float(numpy_dtype(name))}
    assert floats == {name for name in ELEMENT_NUMBERS if "float" in name} & BITS.keys()
