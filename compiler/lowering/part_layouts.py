"""The layouts of values that are made or read in parts.

Values that are made whole and read whole keep ONNX's order and have no layout. For the others the
outermost axis is the one with most ranges; along other axes the bytes are divided into cells where
parts that make the value begin and end, so that every part fills whole rows of cells, and where
parts that read it begin and end.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise

from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.program import AxisCuts, Layout
from ullage.compiler.ir.reach import Box, Interval
from ullage.compiler.lowering.aliases import Aliases
from ullage.compiler.lowering.layouts import LaidOut

# Where an axis has so many times more ends of reads than of makes, cells end at the latter only.
MORE_CUTS = 4
# Share of an axis from which on it is not worth a cell of its own what all parts leave out.
NEARLY_ALL = 0.75

# (leaf, box of it)
LeafBox = tuple[str, Box]


class LayoutConflictError(Exception):
    """Two values cannot share bytes, because one is laid out in another way than the other.

    Attributes:
        values: the values.
        lost: the value whose bytes they overwrote, if any.
    """

    def __init__(self, values: Iterable[str], lost: str | None = None) -> None:
        super().__init__()
        self.values = tuple(values)
        self.lost = lost


def choose_layouts(
    graph: Graph, aliases: Aliases, written: Iterable[LeafBox], read: Iterable[LeafBox]
) -> dict[str, LaidOut]:
    """The layouts of the leaves that need one.

    Args:
        graph: the graph.
        aliases: what shares bytes; values with the same bytes get the same layout.
        written: the boxes that parts make.
        read: the boxes that they read.

    Raises:
        LayoutConflictError: values that share bytes cannot be laid out alike.
        UsageError: a row of a value is no whole number of bytes.
    """
    made = _by_value(graph, written)
    wanted = _by_value(graph, read)
    regions: dict[tuple[str, int, int], list[str]] = {}
    for name in {**made, **wanted}:
        root, offset = aliases.buffer_of[name]
        regions.setdefault((root, offset, graph.values[name].size_bytes), []).append(name)
    result: dict[str, LaidOut] = {}
    for leaves in regions.values():
        makes, reads = _joined(leaves, made), _joined(leaves, wanted)
        if not makes and not reads:
            continue
        shapes = {graph.values[name].shape for name in leaves}
        if len(shapes) > 1:
            raise LayoutConflictError(leaves)
        layout = _layout(shapes.pop(), makes, reads)
        laid_out = {name: LaidOut(graph.values[name], layout) for name in leaves}
        if all(graph.values[name].is_encoded for name in leaves) and not any(
            one.has_whole_rows for one in laid_out.values()
        ):
            continue  # what is encoded is read whole where its parts have no whole bytes
        for one in laid_out.values():
            one.check()
        result |= laid_out
    _check_overlaps(regions, result)
    return result


def layout_of(shape: tuple[int, ...], written: Iterable[Box], read: Iterable[Box]) -> Layout | None:
    """The layout of a value of this shape that parts make and read so; None where it needs none."""
    makes, reads = _cut_ranges(shape, written), _cut_ranges(shape, read)
    return _layout(shape, makes, reads) if makes or reads else None


def _joined(
    leaves: Iterable[str], ranges: Mapping[str, Mapping[int, set[Interval]]]
) -> dict[int, set[Interval]]:
    """By axis the ranges of all of the leaves."""
    result: dict[int, set[Interval]] = {}
    for name in leaves:
        for axis, spans in ranges.get(name, {}).items():
            result.setdefault(axis, set()).update(spans)
    return result


def _by_value(graph: Graph, boxes: Iterable[LeafBox]) -> dict[str, dict[int, set[Interval]]]:
    """By value and axis the ranges of its boxes on axes that are cut."""
    of_value: dict[str, set[Box]] = {}
    for name, box in boxes:
        of_value.setdefault(name, set()).add(box)
    return {
        name: _cut_ranges(graph.values[name].shape, inside) for name, inside in of_value.items()
    }


def _cut_ranges(shape: tuple[int, ...], boxes: Iterable[Box]) -> dict[int, set[Interval]]:
    """By axis the ranges of boxes on axes that are cut."""
    axes: dict[int, set[Interval]] = {}
    for box in boxes:
        for axis, (span, size) in enumerate(zip(box, shape, strict=True)):
            if span != (0, size):
                axes.setdefault(axis, set()).add(span)
    return axes


def _layout(
    shape: tuple[int, ...],
    makes: Mapping[int, set[Interval]],
    reads: Mapping[int, set[Interval]],
) -> Layout:
    """The layout of a value with these ranges by axis."""
    ranked = makes or reads
    outermost = max(ranked, key=lambda axis: (len(ranked[axis]), -axis))
    ends: dict[int, set[int]] = {}
    for axis, spans in makes.items():
        ends[axis] = {end for span in spans for end in span}
    for axis, spans in reads.items():
        wanted = {end for span in spans for end in span}
        if axis in ends:
            if len(wanted) <= MORE_CUTS * len(ends[axis]):
                ends[axis] |= wanted  # a halo has cells of its own, which stay without the rest
        elif _is_partition(spans) and not _is_nearly_all(spans, shape[axis]):
            ends[axis] = wanted
    cuts = tuple(
        AxisCuts(axis, tuple(sorted({0, shape[axis], *ends[axis]})))
        for axis in sorted(ends)
        if axis != outermost
    )
    return Layout(outermost, cuts)


def _is_nearly_all(spans: Iterable[Interval], size: int) -> bool:
    """Whether every part reads the same range, and that leaves out little (strided windows)."""
    (span, *others) = spans
    return not others and span[1] - span[0] >= NEARLY_ALL * size


def _is_partition(spans: Iterable[Interval]) -> bool:
    """Whether ranges do not overlap."""
    ordered = sorted(spans)
    return all(one[1] <= other[0] for one, other in pairwise(ordered))


def _check_overlaps(
    regions: Mapping[tuple[str, int, int], list[str]],
    laid_out: Mapping[str, LaidOut],
) -> None:
    """Check that values of which one has a layout share all of their bytes or none.

    Raises:
        LayoutConflictError: two share some.
    """
    by_root: dict[str, list[tuple[int, int, list[str]]]] = {}
    for (root, offset, size), leaves in regions.items():
        by_root.setdefault(root, []).append((offset, offset + size, leaves))
    for spans in by_root.values():
        spans.sort(key=lambda span: span[:2])
        for place, (_, end, leaves) in enumerate(spans):
            for low, _, others in spans[place + 1 :]:
                if low >= end:
                    break
                if any(name in laid_out for name in (*leaves, *others)):
                    raise LayoutConflictError((*leaves, *others))
