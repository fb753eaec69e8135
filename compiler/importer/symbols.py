"""Symbolic dimensions of a model's inputs, and the values that the user sets for them."""

from collections.abc import Iterable, Mapping
from numbers import Integral

import onnx

from ullage.compiler.common.errors import ModelError, UsageError
from ullage.compiler.common.ranges import MAX_COUNT

# Length that some exporters write for a dimension which may have any; onnxruntime takes it so too.
ANY_LENGTH = -1


def check_sizes(dims: Mapping[str, int], batch: int | None) -> None:
    """Check the sizes that the user gives.

    Args:
        dims: values of symbolic dimensions, by name.
        batch: number of samples, None where it is not given.

    Raises:
        UsageError: a dimension is not a whole number from 0 (no elements) to 2**62, or the batch
            none from 1; names it.
    """
    given = [(f"dimension {name!r}", size, 0) for name, size in dims.items()]
    given += [] if batch is None else [("the batch", batch, 1)]
    for what, size, least in given:
        whole = isinstance(size, Integral) and not isinstance(size, bool)
        if not whole or not least <= size <= MAX_COUNT:
            shown = "one beyond that" if whole and abs(size) > MAX_COUNT else f"{size!r:.60}"
            raise UsageError(f"{what} is a whole number from {least} to 2**62, not {shown}")


def input_dims(value: onnx.ValueInfoProto) -> tuple[int | str, ...] | None:
    """Dimensions of a graph input, symbolic ones as names; None when the rank is unknown.

    A dimension without a name, or of length -1, is named after the input and its axis.
    """
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(
        dim.dim_value
        if dim.HasField("dim_value") and dim.dim_value != ANY_LENGTH
        else (dim.dim_param or f"{value.name}_dim_{axis}")
        for axis, dim in enumerate(tensor.shape.dim)
    )


def bind_symbols(
    inputs: Iterable[onnx.ValueInfoProto], dims: Mapping[str, int], batch: int | None, where: str
) -> dict[str, int]:
    """Values of the symbolic dimensions of the graph's inputs.

    Args:
        inputs: the graph's inputs, initializers excluded.
        dims: values set by name.
        batch: value for every symbolic first dimension.
        where: model, for messages.

    Raises:
        ModelError: a symbol has no value (all of them are named).
        UsageError: a name in `dims` is no symbol of the model.
    """
    bound = dict(dims)
    symbols: dict[str, str] = {}
    for value in inputs:
        for axis, dim in enumerate(input_dims(value) or ()):
            if isinstance(dim, int):
                continue
            symbols.setdefault(dim, f"{value.name}[{axis}]")
            if axis == 0 and batch is not None and dim not in dims:
                bound[dim] = batch
    unknown = sorted(set(dims) - set(symbols))
    if unknown:
        raise UsageError(
            f"{where}: no dimension named {', '.join(unknown)}; "
            f"symbolic dimensions: {', '.join(sorted(symbols)) or 'none'}"
        )
    missing = {name: place for name, place in symbols.items() if name not in bound}
    if missing:
        listed = ", ".join(f"{name} (of {place})" for name, place in missing.items())
        raise ModelError(
            f"{where}: symbolic dimensions without a value: {listed}; "
            f"give them: {' '.join(f'--dim {name}=1' for name in missing)}",
            {"symbols": sorted(missing)},
        )
    return bound


def fixed_batches(inputs: Iterable[onnx.ValueInfoProto]) -> set[int]:
    """First dimensions of the inputs; empty where one of them is symbolic."""
    firsts = [dims[0] for value in inputs if (dims := input_dims(value))]
    numbers = [dim for dim in firsts if isinstance(dim, int)]
    return set(numbers) if len(numbers) == len(firsts) else set()
