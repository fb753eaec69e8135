"""Reach of attentions: batches, heads and rows of queries are apart; all keys are read.

Masked keys are read as well: their weight is 0, and 0 times anything must be finite. Queries of a
part see keys by their place in the whole sequence. Heads lie along an axis of their own, or inside
the last one, `size` elements each; parts of that axis should end between heads.
"""

from collections.abc import Sequence

from ullage.compiler.importer.operators.attention import AttentionLayout, attention_layout
from ullage.compiler.importer.reach.site import Maps, Reads, Site, identity, labelled
from ullage.compiler.ir.reach import AxisMap, Reach, WorkDimension


def attention(site: Site) -> Reach | None:
    """ONNX's Attention: operands [batch, heads, length, size] or [batch, length, heads * size]."""
    q, k, v, out = site.shape(0), site.shape(1), site.shape(2), site.result
    if q is None or k is None or v is None or out is None or not len(q) == len(k) == len(v):
        return None
    if len(q) == 4:
        heads, kv_heads = q[1], k[1]
        queries, head = 2, AxisMap(1)
        kv_head: AxisMap = AxisMap(1, divisor=heads // max(1, kv_heads))
        inputs: Reads = site.read(0, identity(4, (0, 1, 2)))
        for position in (1, 2):
            inputs += site.read(position, (AxisMap(0), kv_head, None, None))
    elif len(q) == 3:
        heads, kv_heads = site.number("q_num_heads"), site.number("kv_num_heads")
        if heads < 1 or kv_heads < 1 or heads % kv_heads or out[2] % heads:
            return None
        size = out[2] // heads
        queries, head = 1, AxisMap(2, divisor=size)
        kv_head = AxisMap(2, divisor=size * (heads // kv_heads))
        inputs = site.read(0, (AxisMap(0), AxisMap(1), _unit(head, q[2] // heads)))
        for position, width in ((1, k[2]), (2, v[2])):
            each = _unit(kv_head, width // kv_heads)
            inputs += site.read(position, (AxisMap(0), None, each))
    else:
        return None
    inputs += _mask(site, 3, (AxisMap(0), head, AxisMap(queries), None), (out[0], heads))
    for position in (4, 5):
        inputs += site.read(position, (AxisMap(0), kv_head, None, None))
    inputs += site.parameter(6, 0, out[0])
    axes: list[WorkDimension] = ["count"] * len(out)
    axes[queries] = "m"
    if len(q) == 4:
        axes[3] = "none"
    return Reach(_with_caches(site, axes), inputs)


def contributed(site: Site) -> Reach | None:
    """com.microsoft's attentions with queries [batch, length, heads * size]."""
    layout = attention_layout(site.op, site.attributes, site.input_types)
    query, out = site.shape(0), site.result
    if layout is None or query is None or out is None or len(query) != 3 or len(out) != 3:
        return None
    if layout.heads % max(1, layout.kv_heads) or layout.value_head_size < 1:
        return None
    if layout.projection is not None:
        return _projecting(site)
    head = AxisMap(2, divisor=layout.value_head_size)
    ratio = layout.heads // layout.kv_heads
    kv_head = AxisMap(2, divisor=layout.value_head_size * ratio)
    columns = _unit(head, layout.head_size)
    inputs: Reads = site.read(0, (AxisMap(0), AxisMap(1), columns))
    if not site.has(1):  # packed: behind the queries' heads those of keys, then of values
        for before in (layout.heads, layout.heads + layout.kv_heads):
            shift = before * kv_head.divisor
            packed = AxisMap(2, 1, kv_head.divisor, shift, shift, layout.head_size)
            inputs += site.read(0, (AxisMap(0), None, packed))
    for position, size in ((1, layout.head_size), (2, layout.value_head_size)):
        shape = site.shape(position)
        if shape is not None and len(shape) == 4:
            inputs += site.read(position, (AxisMap(0), kv_head, None, None))
        elif shape is not None and len(shape) == 3:
            inputs += site.read(position, (AxisMap(0), None, _unit(kv_head, size)))
        else:
            inputs += site.whole(position)
    for position in range(3, len(site.inputs)):
        inputs += _further(site, position, layout, kv_head, head)
    return Reach(_with_caches(site, ["count", "m", "count"]), inputs)


def _further(
    site: Site, position: int, layout: AttentionLayout, kv_head: AxisMap, head: AxisMap
) -> Reads:
    """Caches and biases by batch and head; what else there is, whole."""
    past = (3, 4) if site.op == "GroupQueryAttention" else (6, 7)
    bias = 10 if site.op == "GroupQueryAttention" else 5
    shape = site.shape(position)
    if shape is not None and len(shape) == 4 and position in past:
        return site.read(position, (AxisMap(0), kv_head, None, None))
    if shape is not None and len(shape) == 4 and position == bias:
        maps: Maps = (AxisMap(0), head, AxisMap(1), None)
        return _mask(site, position, maps, (layout.batch, layout.heads))
    return site.whole(position)


def _projecting(site: Site) -> Reach:
    """Packed weights: keys and values are made of all tokens, so that only batches are apart."""
    inputs: Reads = site.read(0, (AxisMap(0), None, None))
    past = 4 if site.op == "com.microsoft.Attention" else 8
    for position in range(1, len(site.inputs)):
        shape = site.shape(position)
        if position == past and shape is not None and len(shape) == 5:
            inputs += site.read(position, (None, AxisMap(0), None, None, None))
        else:
            inputs += site.whole(position)
    several = sum(map(bool, site.outputs)) > 1  # the cache has its batch second
    axes: tuple[WorkDimension, ...] = ("none" if several else "m", "none", "none")
    return Reach(axes, inputs)


def _mask(site: Site, position: int, maps: Maps, lead: tuple[int, int]) -> Reads:
    """A mask that broadcasts to [batch, heads, queries, keys]; axes of length 1 are whole."""
    shape = site.shape(position)
    if shape is None:
        return ()
    if len(shape) > 4:
        return site.whole(position)
    lengths = (*lead, 0, 0)[4 - len(shape) :]
    aligned = maps[4 - len(shape) :]
    return site.read(
        position,
        [
            None if mine == 1 or (length and mine != length) else axis_map
            for mine, length, axis_map in zip(shape, lengths, aligned, strict=True)
        ],
    )


def _unit(head: AxisMap, size: int) -> AxisMap:
    """Map to the elements of a head from a map to its number."""
    return AxisMap(head.axis, head.multiplier, head.divisor, head.first, head.last, size)


def _with_caches(site: Site, axes: Sequence[WorkDimension]) -> tuple[WorkDimension, ...]:
    """With caches among the results only batches are cut: other axes have other places there."""
    if sum(map(bool, site.outputs)) > 1:
        return (axes[0], *["none"] * (len(axes) - 1))  # type: ignore[arg-type]
    return tuple(axes)


def rotary(site: Site) -> Reach | None:
    """RotaryEmbedding of [batch, heads, length, size] or [batch, length, heads * size]."""
    shape, out = site.shape(0), site.result
    if shape is None or shape != out or len(shape) not in (3, 4):
        return None
    maps: list[AxisMap | None] = list(identity(len(shape)))
    whole: tuple[int, ...] = ()
    heads = site.number("num_heads")
    if len(shape) == 4:
        maps[3], whole = None, (3,)
    elif heads > 0 and shape[2] % heads == 0:
        size = shape[2] // heads
        maps[2] = AxisMap(2, divisor=size, unit=size)
    else:
        maps[2], whole = None, (2,)
    length = len(shape) - 2
    inputs = site.read(0, maps)
    for position in range(1, len(site.inputs)):
        other = site.shape(position)
        rows = other is not None and len(other) in (2, 3) and other[:2] == (shape[0], shape[length])
        if other is not None and rows and (len(other) == 3 or _holds_positions(site, position)):
            by_token = (AxisMap(0), AxisMap(length), *[None] * (len(other) - 2))
            inputs += site.read(position, by_token)
        else:
            inputs += site.whole(position)
    return Reach(labelled(len(shape), "elements", whole), inputs)


def _holds_positions(site: Site, position: int) -> bool:
    """Whether an operand holds the tokens' positions: the last, or com.microsoft's second."""
    return position == (3 if site.op == "RotaryEmbedding" else 1)
