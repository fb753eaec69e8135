"""What a subgraph loads, stores, holds and computes, as coefficients of its tile's sides.

A tile is `h` rows and `w` columns of the outputs, a step is `k` of the depth K of the sums. With
one step per tile ("whole") the loads of a tile are

    load = tile * h*w + rows * h + columns * w + fixed        in each tile
         + new_row * h          in a tile whose row differs from that of the tile before
         + new_column * w       the same of columns
         + once                 in the first tile

With several ("cut") the first step loads `tile`, `rows`, `columns`, `new_row`, `new_column`, and
each step besides `k * (step_fixed + step_rows * h + step_columns * w)`. What is held has the same
form. The rules are stated in `compiler.contest.rules`, which shares no code with this module.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ullage.compiler.contest.instance import Instance

# Numbers that say all about a shape.
Key = tuple[float | None, ...]

# Which part of a tensor an operand is. Two uses of the same part in a row load it once.
_TILE, _ROWS, _COLUMNS, _FIXED = "tile", "rows", "columns", "fixed"
# Parts whose place names no step although depth is cut: the strips that feed a chain.
_ROW_STRIP, _COLUMN_STRIP = "row strip", "column strip"


@dataclass
class Loads:
    """Coefficients of the elements that are loaded; see the module."""

    tile: float = 0
    rows: float = 0
    columns: float = 0
    fixed: float = 0
    new_row: float = 0
    new_column: float = 0
    once: float = 0
    step_fixed: float = 0
    step_rows: float = 0
    step_columns: float = 0
    first_step_fixed: float = 0
    first_step_rows: float = 0
    first_step_columns: float = 0


@dataclass
class Held:
    """Coefficients of the elements that are held: h*w, h, w, none, k, h*k and w*k."""

    tile: float = 0
    rows: float = 0
    columns: float = 0
    fixed: float = 0
    step_fixed: float = 0
    step_rows: float = 0
    step_columns: float = 0


@dataclass
class Form:
    """One way to run a subgraph.

    Attributes:
        loads: what is loaded.
        held: what is held.
        width: the width that a tile must have, 0 where it may choose.
        least_width: the smallest width of a tile.
        least_height: the smallest height of a tile.
    """

    loads: Loads = field(default_factory=Loads)
    held: Held = field(default_factory=Held)
    width: int = 0
    least_width: int = 1
    least_height: int = 1


@dataclass
class Shape:
    """A subgraph, apart from the granularity.

    Attributes:
        width: columns of the outputs that leave it.
        height: rows of the outputs that leave it.
        depth: K that steps cut; 0 without MatMuls.
        pointwise: time of its Pointwise operators for a tile.
        matmul: time of its MatMuls for a tile.
        stored: outputs that go to slow memory.
        whole: the form with one step per tile; None where rules forbid it.
        cut: the form with several steps; None where rules forbid it.
    """

    width: int
    height: int
    depth: int
    pointwise: float
    matmul: float
    stored: int
    whole: Form | None
    cut: Form | None

    def key(self) -> Key:
        """All numbers of it: shapes with the same have the same granularities and costs."""
        forms: list[float | None] = []
        for form in (self.whole, self.cut):
            if form is None:
                forms.append(None)
            else:
                forms += vars(form.loads).values()
                forms += vars(form.held).values()
                forms += (form.width, form.least_width, form.least_height)
        sides = (self.width, self.height, self.depth)
        return (*sides, self.pointwise, self.matmul, self.stored, *forms)


def shape_of(
    instance: Instance,
    operators: Sequence[int],
    retained: Iterable[int],
    entering: frozenset[int],
    *,
    strict: bool = False,
) -> Shape | None:
    """The coefficients of a subgraph; None where no granularity makes it legal.

    Args:
        instance: the instance.
        operators: in the order in which they run.
        retained: outputs that stay in fast memory.
        entering: tensors that the subgraph before retained.
        strict: by the strict reading.
    """
    members, kept = set(operators), set(retained)
    outer, inner = _outputs(instance, operators, members, kept)
    sides = {(instance.widths[t], instance.heights[t]) for t in outer}
    if len(sides) != 1:
        return None
    if strict and _is_mixed(instance, operators, members):
        return None
    chain = _Chain(instance, operators, inner)
    if chain.is_forbidden:
        return None
    ((width, height),) = sides
    costs = instance.base_costs
    shape = Shape(
        width,
        height,
        chain.cut_depth,
        sum(costs[o] for o in operators if not instance.is_matmul[o]),
        sum(costs[o] for o in chain.matmuls),
        sum(t not in kept for t in outer),
        None,
        None,
    )
    uses = _uses(instance, operators, entering, inner, chain)
    fixed = sum(instance.widths[t] * instance.heights[t] for t in entering)
    shape.whole = _whole(instance, chain, uses, len(outer), fixed)
    if chain.may_be_cut:
        shape.cut = _cut(chain, uses, len(outer), fixed)
        _need_operands(instance, members, chain, shape.cut)
    return shape


def _outputs(
    instance: Instance, operators: Sequence[int], members: set[int], kept: set[int]
) -> tuple[list[int], set[int]]:
    """Outputs that leave a subgraph, and those that do not."""
    outer: list[int] = []
    inner: set[int] = set()
    for operator in operators:
        for tensor in instance.outputs[operator]:
            if tensor not in kept and not members.isdisjoint(instance.readers[tensor]):
                inner.add(tensor)
            else:
                outer.append(tensor)
    return outer, inner


def _is_mixed(instance: Instance, operators: Sequence[int], members: set[int]) -> bool:
    """Whether a MatMul reaches another through Pointwise operators."""
    behind: set[int] = set()  # tensors behind a MatMul and Pointwise operators
    for operator in operators:
        read = [t for t in instance.inputs[operator] if instance.producer[t] in members]
        if instance.is_matmul[operator]:
            if not behind.isdisjoint(read):
                return True
        elif any(t in behind or instance.is_matmul[instance.producer[t]] for t in read):
            behind.update(instance.outputs[operator])
    return False


class _Chain:
    """The MatMuls of a subgraph: which feeds which operand of others."""

    def __init__(self, instance: Instance, operators: Sequence[int], inner: set[int]) -> None:
        self.matmuls = [o for o in operators if instance.is_matmul[o]]
        self.feeds: dict[int, int] = {}  # the side of others that a MatMul's result goes to
        self.is_forbidden = False
        fed = set()
        for reader in self.matmuls:
            for side, tensor in enumerate(instance.inputs[reader]):
                producer = instance.producer[tensor]
                if tensor in inner and instance.is_matmul[producer]:
                    fed.add(reader)
                    if self.feeds.setdefault(producer, side) != side:
                        self.is_forbidden = True
        self.heads = {o for o in self.feeds if o not in fed}
        self.tails = [o for o in self.matmuls if o in fed and o not in self.feeds]
        self.middles = [o for o in self.feeds if o in fed]
        depths = {o: instance.depth(o) for o in self.matmuls}
        self.depths = depths
        self.cut_depth = depths[self.tails[-1]] if self.tails else max(depths.values(), default=0)
        heads = [o for o in self.matmuls if o in self.heads]
        self.head_depth = depths[heads[-1]] if heads else 0
        is_pair = len(heads) == len(self.tails) == 1 and len(self.matmuls) == 2
        is_one = len(self.matmuls) == 1
        self.may_be_cut = (is_pair or is_one) and self.cut_depth > 1
        self.has_one_depth = len(self.matmuls) > 2 or bool(self.middles)
        if self.has_one_depth and len(set(depths.values())) > 1:
            self.is_forbidden = True


def _uses(
    instance: Instance,
    operators: Sequence[int],
    entering: frozenset[int],
    inner: set[int],
    chain: _Chain,
) -> dict[int, list[tuple[str, int, bool]]]:
    """For each tensor that is loaded, its uses: (part, depth of the strip, is of a chain)."""
    found: dict[int, list[tuple[str, int, bool]]] = {}
    for operator in operators:
        for side, tensor in enumerate(instance.inputs[operator]):
            if tensor in entering or tensor in inner:
                continue
            if not instance.is_matmul[operator]:
                use = (_TILE, 1, False)
            elif operator in chain.heads:
                depth = chain.depths[operator]
                if side == chain.feeds[operator]:
                    use = (_COLUMN_STRIP if side else _ROW_STRIP, depth, True)
                else:
                    use = (_FIXED, depth, True)
            else:
                part = _COLUMNS if side else _ROWS
                in_chain = operator in chain.tails
                use = (part, chain.cut_depth if in_chain else chain.depths[operator], in_chain)
            found.setdefault(tensor, []).append(use)
    return found


def _whole(
    instance: Instance,
    chain: _Chain,
    uses: dict[int, list[tuple[str, int, bool]]],
    outputs: int,
    fixed: float,
) -> Form | None:
    """The form with one step per tile."""
    form = Form()
    if chain.has_one_depth:
        form.width = chain.cut_depth
        if form.width > instance.native_width:
            return None
    loads, held = form.loads, form.held
    held.tile, held.fixed = outputs, fixed
    for of_tensor in uses.values():
        before = of_tensor[-1][0]  # of the tile before
        for number, (part, depth, _) in enumerate(of_tensor):
            is_same, is_first = part == before, number == 0
            before = part
            if part == _TILE:
                held.tile += 1
                loads.tile += is_first or not is_same
            elif part in (_ROWS, _ROW_STRIP):
                held.rows += depth
                loads.rows += 0 if is_same else depth
                loads.new_row += depth if is_same and is_first else 0
            elif part in (_COLUMNS, _COLUMN_STRIP):
                held.columns += depth
                loads.columns += 0 if is_same else depth
                loads.new_column += depth if is_same and is_first else 0
            else:
                held.fixed += chain.head_depth * chain.cut_depth
                size = depth * chain.cut_depth
                loads.fixed += 0 if is_same else size
                loads.once += size if is_same and is_first else 0
    return form


def _cut(
    chain: _Chain,
    uses: dict[int, list[tuple[str, int, bool]]],
    outputs: int,
    fixed: float,
) -> Form:
    """The form with several steps per tile."""
    form = Form()
    loads, held = form.loads, form.held
    held.tile, held.fixed = outputs, fixed
    for of_tensor in uses.values():
        in_steps = [use for use in of_tensor if use[0] in (_ROWS, _COLUMNS, _FIXED)]
        # The use before the first one of a tile: of the last step of the tile before. Parts of a
        # step are never those of the step before.
        before = "" if in_steps else of_tensor[-1][0]
        for number, (part, depth, _) in enumerate(of_tensor):
            is_same, is_first = part == before, number == 0
            before = part
            if part == _TILE:
                held.tile += 1
                loads.tile += is_first or not is_same
            elif part == _ROW_STRIP:
                held.rows += depth
                loads.rows += 0 if is_same else depth
                loads.new_row += depth if is_same and is_first else 0
            elif part == _COLUMN_STRIP:
                held.columns += depth
                loads.columns += 0 if is_same else depth
                loads.new_column += depth if is_same and is_first else 0
            elif part == _ROWS:
                held.step_rows += 1
                loads.first_step_rows += is_first or not is_same
            elif part == _COLUMNS:
                held.step_columns += 1
                loads.first_step_columns += is_first or not is_same
            else:
                held.step_fixed += chain.head_depth
                loads.first_step_fixed += depth if is_first or not is_same else 0
        before = ""
        for part, depth, _ in in_steps:
            if part != before:
                loads.step_rows += part == _ROWS
                loads.step_columns += part == _COLUMNS
                loads.step_fixed += depth if part == _FIXED else 0
            before = part
    return form


def _need_operands(instance: Instance, members: set[int], chain: _Chain, form: Form) -> None:
    """A tile holds all that a MatMul reads of a Pointwise operator of the same subgraph."""
    for reader in chain.matmuls:
        for side, tensor in enumerate(instance.inputs[reader]):
            producer = instance.producer[tensor]
            if producer not in members or instance.is_matmul[producer]:
                continue
            if side:
                form.least_height = max(form.least_height, chain.depths[reader])
            else:
                form.least_width = max(form.least_width, chain.depths[reader])
