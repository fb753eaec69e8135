"""Element types of models as numpy types, and arrays as the bytes that lie in memory.

`ml_dtypes` adds those types that numpy lacks (bfloat16, float8, int4 ...). There, an element of
less than a byte takes a whole one; in memory such elements are packed, the first in the lowest
bits (ONNX's form).
"""

import numpy as np
import onnx
from numpy.typing import NDArray

from ullage.compiler.common.dtypes import BITS
from ullage.compiler.importer.load import ELEMENT_NAMES

Array = NDArray[np.generic]
Bytes = NDArray[np.uint8]

# Name of an element type -> its ONNX number.
ELEMENT_NUMBERS = {name: number for number, name in ELEMENT_NAMES.items()}
# Names of the types of which models can be executed: those that have a fixed size.
EXECUTABLE = frozenset(BITS)


def numpy_dtype(name: str) -> np.dtype[np.generic]:
    """The numpy type of an element type in our spelling."""
    dtype: np.dtype[np.generic] = onnx.helper.tensor_dtype_to_np_dtype(ELEMENT_NUMBERS[name])
    return dtype


def number_of(dtype: np.dtype[np.generic]) -> int:
    """The ONNX number of a numpy type."""
    return int(onnx.helper.np_dtype_to_tensor_dtype(dtype))


def tensor_name(dtype: np.dtype[np.generic]) -> str:
    """Our spelling of the element type that a numpy type stands for."""
    return ELEMENT_NAMES[number_of(dtype)]


def is_foreign(dtype: np.dtype[np.generic]) -> bool:
    """Whether a type is not one of numpy's own."""
    return dtype.isbuiltin != 1


def is_float(dtype: np.dtype[np.generic]) -> bool:
    """Whether a numpy type is one of floating-point numbers, `ml_dtypes`' ones included."""
    return dtype.kind == "f" or dtype.name.startswith(("bfloat", "float"))


def as_bytes(array: Array) -> Bytes:
    """The bytes of an array as they lie in memory: C order, elements below a byte packed."""
    flat = np.ascontiguousarray(array).reshape(-1)
    bits = _bits(flat.dtype)
    if bits >= 8:
        return flat.view(np.uint8)
    per_byte = 8 // bits
    raw = np.zeros(-(-flat.size // per_byte) * per_byte, dtype=np.uint8)
    raw[: flat.size] = flat.view(np.uint8) & (2**bits - 1)
    shifts = (bits * np.arange(per_byte)).astype(np.uint8)
    packed: Bytes = np.bitwise_or.reduce(raw.reshape(-1, per_byte) << shifts, axis=1)
    return packed


def typed(data: Bytes, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
    """Bytes as an array; a view where the address and the type allow it."""
    bits = _bits(dtype)
    if bits < 8:
        shifts = (bits * np.arange(8 // bits)).astype(np.uint8)
        elements = int(np.prod(shape, dtype=np.int64))
        raw = ((data[:, None] >> shifts) & (2**bits - 1)).reshape(-1)[:elements]
        array: Array = raw.astype(np.uint8).view(dtype).reshape(shape)
        return array
    if data.ctypes.data % dtype.alignment:
        data = data.copy()
    return data.view(dtype).reshape(shape)


def _bits(dtype: np.dtype[np.generic]) -> int:
    """Bits of an element in memory."""
    return BITS[tensor_name(dtype)]
