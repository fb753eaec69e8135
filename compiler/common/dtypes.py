"""Element types: names, widths, and the data type policy."""

from ullage.compiler.common.errors import UsageError

# Width of one element in bits, by type in ONNX spelling, lower case.
BITS: dict[str, int] = {
    "float32": 32,
    "uint8": 8,
    "int8": 8,
    "uint16": 16,
    "int16": 16,
    "int32": 32,
    "int64": 64,
    "bool": 8,
    "float16": 16,
    "float64": 64,
    "uint32": 32,
    "uint64": 64,
    "complex64": 64,
    "complex128": 128,
    "bfloat16": 16,
    "float8e4m3fn": 8,
    "float8e4m3fnuz": 8,
    "float8e5m2": 8,
    "float8e5m2fnuz": 8,
    "float8e8m0": 8,
    "uint4": 4,
    "int4": 4,
    "float4e2m1": 4,
    "uint2": 2,
    "int2": 2,
}
# Types that a data type policy replaces.
FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
# Other spellings that users may write, and the canonical ones.
ALIASES = {"fp16": "float16", "fp32": "float32", "fp64": "float64", "bf16": "bfloat16"}


def bits_of(dtype: str) -> int:
    """Width of one element in bits; KeyError for a type without a fixed width (string)."""
    return BITS[dtype]


def storage_bytes(dtype: str, elements: int) -> int:
    """Bytes that `elements` packed elements occupy, rounded up to whole bytes."""
    return (elements * BITS[dtype] + 7) // 8


def parse_dtype(name: str) -> str:
    """The canonical spelling of a data type (`fp16` is `float16`).

    Raises:
        UsageError: there is no such type.
    """
    canonical = ALIASES.get(name.lower(), name.lower())
    if canonical not in BITS:
        raise UsageError(f"unknown data type {name!r}; known: {', '.join(sorted(BITS))}")
    return canonical


def resized(dtype: str, policy: str | None) -> str:
    """The data type that a value is planned with.

    The policy, where there is one, replaces floating-point types only.
    """
    return policy if policy is not None and dtype in FLOATS else dtype
