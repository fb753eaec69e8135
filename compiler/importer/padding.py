"""Tensors as a target stores them: weights encoded, channels and rows of feature maps padded.

Encoded weights take a share of their plain bytes, the same whole number for each output channel
(each index of the first axis). A part that reads some of these channels reads their bytes.

A feature map [batch, channels, ..., columns] is what convolutions and pools make or read, and what
element-wise operators and moves make of it with as many channels. Some values stay dense (as Vela
keeps them in its linear format):

    inputs and outputs of the graph, and weights    others lay them out
    operands and results of a Reshape               the same bytes have two shapes
    a Concat or Split, whole and parts              where a part begins inside a multiple
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from math import ceil, lcm, prod

from ullage.compiler.common.dtypes import storage_bytes
from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.ranges import MAX_COUNT
from ullage.compiler.ir.graph import Graph, NestKind, Operator, Sharing, Value
from ullage.compiler.ir.target import NO_PADDING, Padding

# Axis of the channels of a feature map, and the fewest axes that it has.
CHANNELS, LEAST_RANK = 1, 3
# Share of its size by which an encoded weight may be rounded up to be cut along its last axis, too.
MOST_ROUNDING = 0.01
# Operators of these kinds work on feature maps.
_ON_MAPS: frozenset[NestKind] = frozenset({"convolution", "depthwise", "pooling"})
# Operators of these kinds make feature maps of feature maps with as many channels.
_KEEPING: frozenset[NestKind] = frozenset(
    {"elementwise", "movement", "normalization", "quantization"}
)


def padded(graph: Graph, padding: Padding) -> Graph:
    """The graph with the bytes that a target stores its feature maps in.

    Args:
        graph: the graph, every value dense.
        padding: the target's rule.

    Raises:
        UsageError: a padded value has more bytes than can be counted.
    """
    if padding == NO_PADDING:
        return graph
    chosen = _feature_maps(graph) - _dense(graph, padding)
    values = {
        name: _stored(value, padding) if name in chosen else value
        for name, value in graph.values.items()
    }
    operators = tuple(_restored(operator, graph.values, values) for operator in graph.operators)
    return replace(graph, values=values, operators=operators)


def encoded(graph: Graph, biases: Collection[str], ratio: float) -> Graph:
    """The graph with the bytes that a target stores weights in.

    Weights are those that convolutions and matrix products multiply by.

    Args:
        graph: the graph, its weights plain.
        biases: names of what is added to sums, which stays plain.
        ratio: encoded bytes over plain ones (`Target.weight_ratio`).
    """
    if ratio == 1:
        return graph
    operands = {
        name
        for operator in graph.operators
        if any(nest.is_mac for nest in operator.nests)
        for name in operator.inputs
    }
    weights = [
        value
        for name, value in graph.values.items()
        if name in operands - {*biases} and value.kind == "weight" and len(value.shape) > 1
    ]
    sizes = {v.name: replace(v, size_bytes=_encoded_bytes(v, ratio)) for v in weights}
    values = {**graph.values, **sizes}
    operators = tuple(_restored(operator, graph.values, values) for operator in graph.operators)
    return replace(graph, values=values, operators=operators)


def _encoded_bytes(value: Value, ratio: float) -> int:
    """Bytes that divide evenly among the indices of the first axis, and of the last where it can.

    Output channels are the first axis of convolutions, the last one of most matrix products.
    """
    rows, columns = max(1, value.shape[0]), max(1, value.shape[-1])
    size, even = (n * ceil(ratio * value.size_bytes / n) for n in (rows, lcm(rows, columns)))
    return even if even <= (1 + MOST_ROUNDING) * size else size


def _stored(value: Value, padding: Padding) -> Value:
    shape = list(value.shape)
    shape[CHANNELS] = _up(shape[CHANNELS], padding.channels_multiple)
    shape[-1] = _up(shape[-1], padding.columns_multiple)
    size = storage_bytes(value.dtype, prod(shape))
    if size > MAX_COUNT:
        raise UsageError(
            f"{value.name!r} takes {size} bytes when its channels are padded to a multiple of "
            f"{padding.channels_multiple} and its columns to one of {padding.columns_multiple}; "
            "the target's multiples (storage.channels_multiple, storage.columns_multiple) must be "
            "smaller",
            {"tensor": value.name},
        )
    return replace(value, padded_shape=tuple(shape), size_bytes=size)


def _up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def _feature_maps(graph: Graph) -> set[str]:
    """The values that are feature maps."""
    values = graph.values
    maps = {
        name
        for operator in graph.operators
        if _kinds(operator) & _ON_MAPS
        for name in (*operator.inputs, *operator.outputs)
        if len(values[name].shape) >= LEAST_RANK
    }
    # What one operator makes a map may make a map of what it reads, too: both ways, until no more.
    keeping = [o for o in graph.operators if _kinds(o) <= _KEEPING and o.outputs]
    found = True
    while found:
        found = False
        for operator in (*keeping, *reversed(keeping)):
            names = {*operator.inputs, *operator.outputs}
            for name in maps & names:
                alike = {other for other in names if _are_alike(values[name], values[other])}
                found |= not alike <= maps
                maps |= alike
    return maps


def _kinds(operator: Operator) -> frozenset[NestKind]:
    return frozenset(nest.kind for nest in operator.nests)


def _are_alike(one: Value, other: Value) -> bool:
    """Whether two values have as many axes, batches and channels."""
    rank = len(one.shape)
    return rank == len(other.shape) and one.shape[: CHANNELS + 1] == other.shape[: CHANNELS + 1]


def _dense(graph: Graph, padding: Padding) -> set[str]:
    """The values that are not padded."""
    values = graph.values
    dense = {
        name
        for name, value in values.items()
        if value.kind != "activation" or value.is_upper_bound or name in graph.outputs
    }
    joined: dict[str, set[str]] = {}  # values that are padded together or not at all
    for sharing in (s for operator in graph.operators for s in operator.sharings):
        if sharing.kind == "in_place":
            continue
        one, other = sharing.input, sharing.output
        joined.setdefault(one, set()).add(other)
        joined.setdefault(other, set()).add(one)
        if not _fits(sharing, values, padding):
            dense |= {one, other}
    return _reached(dense, joined)


def _fits(sharing: Sharing, values: Mapping[str, Value], padding: Padding) -> bool:
    """Whether two values can share bytes as they do when they are padded."""
    source, result = values[sharing.input], values[sharing.output]
    if sharing.kind == "view":
        return source.shape == result.shape
    whole, part = (result, source) if sharing.kind == "concat" else (source, result)
    rest = whole.shape[CHANNELS + 1 :]
    if len(whole.shape) < LEAST_RANK or part.shape[CHANNELS + 1 :] != rest or whole.shape[0] != 1:
        return False
    begin = _first_channel(sharing, whole)
    if begin is None or begin % padding.channels_multiple:
        return False
    end = begin + part.shape[CHANNELS]
    return end == whole.shape[CHANNELS] or end % padding.channels_multiple == 0


def _first_channel(sharing: Sharing, whole: Value) -> int | None:
    """The channel of a whole at which a part begins; None where it begins inside of one."""
    if not whole.size_bytes:
        return None
    begin, inside = divmod(sharing.offset_bytes * whole.stored_shape[CHANNELS], whole.size_bytes)
    return None if inside else begin


def _reached(start: Iterable[str], joined: Mapping[str, set[str]]) -> set[str]:
    """All values that are joined to some, directly or by others."""
    reached: set[str] = set()
    waiting = list(start)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += joined.get(name, ())
    return reached


def _restored(
    operator: Operator, before: Mapping[str, Value], after: Mapping[str, Value]
) -> Operator:
    """An operator with its figures in bytes, which were of dense values, of stored ones."""
    accessed = tuple(
        (name, -(-size * after[name].size_bytes // max(1, before[name].size_bytes)))
        for name, size in operator.accessed_bytes
    )
    sharings = tuple(_moved(sharing, before, after) for sharing in operator.sharings)
    return replace(operator, accessed_bytes=accessed, sharings=sharings)


def _moved(sharing: Sharing, before: Mapping[str, Value], after: Mapping[str, Value]) -> Sharing:
    """A sharing whose part begins at the same channel of the whole as it is stored."""
    whole = sharing.output if sharing.kind == "concat" else sharing.input
    if not sharing.offset_bytes or after[whole].padded_shape is None:
        return sharing
    begin = _first_channel(sharing, before[whole])
    channel, inside = divmod(after[whole].size_bytes, after[whole].stored_shape[CHANNELS])
    if begin is None or inside:
        raise AssertionError(f"{sharing} of padded values begins inside a channel")
    return replace(sharing, offset_bytes=begin * channel)
