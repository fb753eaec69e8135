"""Layouts of com.microsoft's attentions: what their operands say of heads, lengths and widths.

Queries come as [batch, length, hidden], packed with keys and values as [batch, length, heads, 3,
head size] or [batch, length, (heads + 2 kv heads) * head size], or packed over the batch as
[tokens, hidden]; keys as [batch, length, hidden], [batch, length, heads, 2, head size] or [batch,
heads, length, head size]. Source: the documentation of onnxruntime's contrib operators.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ullage.compiler.importer.bounds import Attributes, Triple, Typed


@dataclass(frozen=True)
class AttentionLayout:
    """One attention.

    Attributes:
        lead: dimensions of the result before its last: (batch, queries), or (tokens,).
        batch: number of sequences.
        heads: of the queries, which are the result's.
        kv_heads: of the keys and values.
        queries: new tokens of a sequence.
        keys: tokens of a sequence that are attended to, cached ones included.
        past: tokens of a sequence in the cache.
        head_size: elements of a query's or key's head.
        value_head_size: elements of a value's head.
        projection: (rows, inner, columns) of the product that makes queries, keys and values.
    """

    lead: tuple[int, ...]
    batch: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    past: int
    head_size: int
    value_head_size: int
    projection: tuple[int, int, int] | None = None

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the first result."""
        return (*self.lead, self.heads * self.value_head_size)


# Position of the cached keys among the operands; the cached values follow, where keys and values
# are apart.
PAST_INPUT = {
    "com.microsoft.Attention": 4,
    "QAttention": 8,
    "MultiHeadAttention": 6,
    "GroupQueryAttention": 3,
    "SparseAttention": 3,
}
ATTENTIONS = frozenset({*PAST_INPUT, "PackedAttention", "PackedMultiHeadAttention"})


def attention_layout(
    op: str, attributes: Attributes, inputs: Sequence[Typed | None]
) -> AttentionLayout | None:
    """The layout of an attention; None where its operands are in no known form.

    Args:
        op: a key of `identity.operator_key`.
        attributes: the node's attributes.
        inputs: types of its operands, None for absent ones.
    """
    shapes = [None if t is None else t.shape for t in inputs]
    shapes += [None] * (12 - len(shapes))
    heads = int(attributes.get("num_heads", 0))
    query = shapes[0]
    if query is None or heads < 1:
        return None
    cached = shapes[PAST_INPUT[op]] if op in PAST_INPUT else None
    past = cached[-2] if cached is not None and len(cached) in (4, 5) else 0
    if op in ("com.microsoft.Attention", "QAttention", "PackedAttention"):
        return _projecting(op, attributes, heads, shapes, past)
    if op in ("GroupQueryAttention", "SparseAttention"):
        return _grouped(attributes, heads, shapes, past)
    if op == "PackedMultiHeadAttention":
        return _packed(heads, shapes)
    return _multi_head(heads, shapes, past) if op == "MultiHeadAttention" else None


Shapes = Sequence[tuple[int, ...] | None]


def _projecting(
    op: str, attributes: Attributes, heads: int, shapes: Shapes, past: int
) -> AttentionLayout | None:
    """Packed weights [hidden, queries + keys + values] make all three from one operand."""
    query, weight = shapes[0], shapes[1]
    if query is None or weight is None or len(weight) != 2 or len(query) not in (2, 3):
        return None
    sizes = attributes.get("qkv_hidden_sizes") or [weight[1] // 3] * 3
    if len(sizes) != 3:
        return None
    offsets = shapes[3] if op == "PackedAttention" else None
    if len(query) == 2 and (offsets is None or len(offsets) != 2):
        return None
    batch, length = query[:2] if offsets is None else offsets
    rows = query[0] if len(query) == 2 else query[0] * query[1]
    return AttentionLayout(
        lead=query[:-1],
        batch=batch,
        heads=heads,
        kv_heads=heads,
        queries=length,
        keys=past + length,
        past=past,
        head_size=int(sizes[1]) // heads,
        value_head_size=int(sizes[2]) // heads,
        projection=(rows, *weight),
    )


def _grouped(
    attributes: Attributes, heads: int, shapes: Shapes, past: int
) -> AttentionLayout | None:
    """Fewer heads of keys and values than of queries; all three packed where there are no keys."""
    query, key = shapes[0], shapes[1]
    kv_heads = int(attributes.get("kv_num_heads", 0))
    if query is None or len(query) != 3 or kv_heads < 1:
        return None
    size = query[2] // (heads if key is not None else heads + 2 * kv_heads)
    length = query[1] if key is None else key[1]
    return AttentionLayout(
        lead=query[:2],
        batch=query[0],
        heads=heads,
        kv_heads=kv_heads,
        queries=query[1],
        keys=past + length,
        past=past,
        head_size=size,
        value_head_size=size,
    )


def _packed(heads: int, shapes: Shapes) -> AttentionLayout | None:
    """Sequences without padding, one after the other: [tokens, hidden] or [tokens, heads, 3, size].

    The token offsets [batch, longest] bound the work: every sequence as long as the longest.
    """
    query, value, offsets = shapes[0], shapes[2], shapes[4]
    if query is None or offsets is None or len(offsets) != 2 or len(query) not in (2, 4):
        return None
    size = query[3] if len(query) == 4 else query[1] // heads
    value_size = value[1] // heads if value is not None and len(value) == 2 else size
    return AttentionLayout(
        query[:1], offsets[0], heads, heads, offsets[1], offsets[1], 0, size, value_size
    )


def _multi_head(heads: int, shapes: Shapes, past: int) -> AttentionLayout | None:
    query, key, value = shapes[:3]
    if query is None or len(query) not in (3, 5):
        return None
    batch, queries = query[:2]
    size = query[4] if len(query) == 5 else query[2] // heads
    length, value_size = queries, size
    if key is not None and len(key) == 4:  # keys of an encoder, computed before
        length, past = key[2], 0
        value_size = value[3] if value is not None and len(value) == 4 else size
    elif key is not None:
        length = key[1]
        if value is not None and len(value) == 3:
            value_size = value[2] // heads
    return AttentionLayout(
        query[:2], batch, heads, heads, queries, past + length, past, size, value_size
    )


def attention_output_types(
    op: str, attributes: Attributes, inputs: Sequence[Typed | None], total: int | None
) -> list[Triple | None]:
    """Types (dtype, shape, is_upper_bound) of the results: attended values, then the new cache.

    Args:
        op: a key of `identity.operator_key`.
        attributes: the node's attributes.
        inputs: types of its operands, None for absent ones.
        total: value of the operand of GroupQueryAttention that is the longest sequence's length,
            None where it is not known.
    """
    layout, first = attention_layout(op, attributes, inputs), inputs[0]
    if layout is None or first is None:
        return []
    dtype = "float32" if op == "QAttention" else first.dtype
    results: list[Triple | None] = [(dtype, layout.output_shape, first.is_upper_bound)]
    batch, heads, size = layout.batch, layout.kv_heads, layout.head_size
    if op in ("com.microsoft.Attention", "QAttention"):
        shared = attributes.get("past_present_share_buffer", 0)
        length = layout.past if shared else layout.keys
        return [*results, (dtype, (2, batch, heads, length, size), False)]
    if op == "MultiHeadAttention":
        shared = len(inputs) > 8 and inputs[8] is not None  # a length: the cache has room already
        length = layout.past if shared else layout.keys
        sizes = (size, layout.value_head_size)
        return [*results, *((dtype, (batch, heads, length, n), False) for n in sizes)]
    if op in ("GroupQueryAttention", "SparseAttention"):
        # The cache grows to the whole sequence, or has room for it already.
        length = layout.keys if total is None else max(layout.past, total)
        bound = total is None and layout.past > 0
        return [*results, *[(dtype, (batch, heads, length, size), bound)] * 2]
    return results
