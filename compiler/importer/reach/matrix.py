"""Reach of matrix products: rows, columns, batches, and the reduction K.

    out[b, i, j] = sum over k of left[b, i, k] * right[b, k, j]

Rows of the whole batch are the m of the product where all share one right operand; else each pair
of the batch is a product of its own and divides the count (`costs` counts the same way).
"""

from collections.abc import Sequence

from ullage.compiler.importer.bounds import product
from ullage.compiler.importer.reach.site import Maps, Reads, Rule, Site, broadcast
from ullage.compiler.ir.reach import REDUCTION, AxisMap, InputReach, Reach, WorkDimension


def matrix_product(
    right: int = 1,
    per_row: Sequence[int] = (),
    per_column: Sequence[int] = (),
    added: Sequence[int] = (),
) -> Rule:
    """The rule of products [.., M, K] x [.., K, N] with numpy's broadcasting.

    Args:
        right: position of the right operand.
        per_row: positions of scales and zero points of the rows of the left operand or the result.
        per_column: of the columns of the right operand.
        added: of what is added to the result.
    """

    def rule(site: Site) -> Reach | None:
        a, b, out = site.shape(0), site.shape(right), site.result
        if not a or not b or out is None:
            return None
        if any(site.number(f"transBatch{side}") for side in "AB"):
            return None
        turned = [bool(site.number(f"trans{side}")) for side in "AB"]
        vectors = len(a) == 1, len(b) == 1
        rank = len(out)
        if any(turned) and any(vectors):
            return None
        row = None if vectors[0] else rank - (1 if vectors[1] else 2)
        column = None if vectors[1] else rank - 1
        lead = rank - (row is not None) - (column is not None)
        inner = a[-2] if turned[0] else a[-1]
        left = _operand(a, out[:lead], row, turned=turned[0], last_is_inner=True)
        second = _operand(b, out[:lead], column, turned=turned[1], last_is_inner=False)
        if left is None or second is None:
            return None
        shared = product(b[:-2]) == 1
        axes: list[WorkDimension] = ["m" if shared else "count"] * lead
        if row is not None:
            axes.append("m")
        if column is not None:
            axes.append("n")
        inputs: Reads = (*site.read(0, left), *site.read(right, second))
        rows, columns = (1 if axis is None else out[axis] for axis in (row, column))
        for position in range(1, len(site.inputs)):
            if position == right:
                continue
            if position in added:
                shape = site.shape(position)
                if shape is not None:
                    inputs += site.read(position, broadcast(shape, out), at_end=True)
            elif position in per_row and row is not None:
                inputs += _parameter(site, position, out, row, rows)
            elif position in per_column and column is not None:
                inputs += _parameter(site, position, out, column, columns)
            else:
                inputs += site.whole(position)
        return Reach(tuple(axes), inputs, inner)

    return rule


def _operand(
    shape: tuple[int, ...],
    lead: tuple[int, ...],
    outer: int | None,
    *,
    turned: bool,
    last_is_inner: bool,
) -> Maps | None:
    """Maps of an operand: its batch, then the outer and the inner axis in either order.

    Args:
        shape: of the operand.
        lead: batch of the result.
        outer: the output axis of its rows or columns, None for a vector.
        turned: whether its last two axes are exchanged.
        last_is_inner: whether the last axis is the reduction where they are not.
    """
    inner = AxisMap(REDUCTION)
    if outer is None:
        return (inner,)
    batch = shape[:-2]
    if len(batch) > len(lead):
        return None
    pair = (AxisMap(outer), inner) if last_is_inner is not turned else (inner, AxisMap(outer))
    return (*broadcast(batch, lead), *pair)


def _parameter(site: Site, position: int, out: tuple[int, ...], axis: int, length: int) -> Reads:
    """A scale or zero point: one, a vector along an axis, or a tensor that broadcasts."""
    shape = site.shape(position)
    if shape is None or len(shape) < 2:
        return site.parameter(position, axis, length)
    fits = len(shape) <= len(out) and all(
        mine in (1, theirs) for mine, theirs in zip(reversed(shape), reversed(out), strict=False)
    )
    return site.read(position, broadcast(shape, out)) if fits else site.whole(position)


def packed_product(site: Site) -> Reach | None:
    """MatMulNBits: a weight [N, blocks, bytes], scales and zero points by column and block.

    The reduction can be cut: a range needs the blocks that it touches.
    """
    data, weight, out = site.shape(0), site.shape(1), site.result
    inner, block = site.number("K"), site.number("block_size")
    if not data or weight is None or out is None or len(out) != len(data) or block < 1:
        return None
    rank = len(out)
    column, width = rank - 1, out[-1]
    blocks = -(-inner // block)
    if len(weight) != 3 or weight[:2] != (width, blocks):
        return None
    inputs: Reads = (
        *site.read(0, (*map(AxisMap, range(rank - 1)), AxisMap(REDUCTION))),
        *site.read(1, (AxisMap(column), AxisMap(REDUCTION, divisor=block), None)),
    )
    for position in (2, 3):
        shape = site.shape(position)
        if shape is None:
            continue
        if len(shape) == 1 and shape[0] % width == 0:
            each = shape[0] // width
            along = AxisMap(column, multiplier=each, last=each - 1)
            inputs += site.read(position, (along,))
        elif len(shape) == 2 and shape[0] == width:
            inputs += site.read(position, (AxisMap(column), None))
        else:
            inputs += site.whole(position)
    inputs += site.whole(4)  # which row of K belongs to which group of scales
    inputs += site.parameter(5, column, width, at_end=True)
    return Reach((*["m"] * (rank - 1), "n"), inputs, inner)  # type: ignore[arg-type]


def einsum(site: Site) -> Reach | None:
    """Einsum of one or two operands whose indices each stand once in every term.

    Letters of both operands and the result count the products, those of one operand and the result
    are m or n, one letter of both operands alone is the reduction.
    """
    out = site.result
    terms, target = _einsum_terms(site.text("equation"), len(site.inputs))
    if out is None or not terms or len(target) != len(out):
        return None
    sizes: dict[str, int] = {}
    for position, term in enumerate(terms):
        shape = site.shape(position)
        if shape is None or len(shape) != len(term) or len(set(term)) != len(term):
            return None
        for letter, length in zip(term, shape, strict=True):
            if sizes.setdefault(letter, length) != length:
                return None
    summed = sorted({letter for term in terms for letter in term} - set(target))
    axes = tuple(_einsum_label(letter, terms) for letter in target)
    inner = summed[0] if len(terms) == 2 and len(summed) == 1 else ""
    if inner and not all(inner in term for term in terms):
        inner = ""
    inputs = tuple(
        InputReach(
            name,
            tuple(
                AxisMap(target.index(letter))
                if letter in target
                else AxisMap(REDUCTION)
                if letter == inner
                else None
                for letter in term
            ),
        )
        for name, term in zip(site.inputs, terms, strict=True)
    )
    return Reach(axes, inputs, sizes[inner] if inner else 0)


def _einsum_label(letter: str, terms: Sequence[str]) -> WorkDimension:
    if len(terms) == 1:
        return "elements"
    if letter in terms[0] and letter in terms[1]:
        return "count"
    return "m" if letter in terms[0] else "n"


def _einsum_terms(equation: str, operands: int) -> tuple[list[str], str]:
    """The terms and the result of an equation; no terms where it is of another form."""
    text = equation.replace(" ", "")
    left, arrow, target = text.partition("->")
    terms = left.split(",")
    if "." in text or len(terms) != operands or operands not in (1, 2):
        return [], ""
    letters = "".join(terms)
    if not arrow:
        target = "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))
    if len(set(target)) != len(target) or not set(target) <= set(letters):
        return [], ""
    return terms, target
