"""Leaves: the values whose bytes an operator writes, and which of them a box of a value is made of.

Views, and Splits and Concats in place, write nothing: a box of their result is a box of what they
arrange.

    conv1 -> a                  leaf a
    conv2 -> b                  leaf b
    Concat(a, b) -> c           c, rows [2, 4): rows [2, 4) of a and of b
    Reshape(c) -> d             d, a range of its last axis: all of a and b
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ullage.compiler.ir.graph import Graph, Operator, Sharing
from ullage.compiler.ir.reach import Box, whole_box
from ullage.compiler.lowering.aliases import Aliases
from ullage.compiler.lowering.demand import boxes_read


@dataclass(frozen=True)
class Leaves:
    """The leaves of a graph whose values share bytes as decided.

    Attributes:
        graph: the graph.
        aliases: what shares bytes.
    """

    graph: Graph
    aliases: Aliases
    _whole: dict[str, list[tuple[str, Box]]] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def arranged_by(self) -> Mapping[str, Operator]:
        """By value the operator that only arranges its bytes; leaves have none."""
        return {
            name: operator
            for operator in self.graph.operators
            if operator.name in self.aliases.elided
            for name in operator.outputs
        }

    def of(self, name: str, box: Box) -> list[tuple[str, Box]]:
        """The boxes of leaves that hold a box of a value; more where a view has no rule."""
        operator = self.arranged_by.get(name)
        if operator is None:
            return [(name, box)]
        shape = self.graph.values[name].shape
        is_whole = box == whole_box(shape)
        if is_whole and name in self._whole:
            return self._whole[name]
        result: list[tuple[str, Box]] = []
        for source, inner in self._sources(operator, name, box):
            result += [leaf for leaf in self.of(source, inner) if leaf not in result]
        if is_whole:
            self._whole[name] = result
        return result

    def _sources(self, operator: Operator, name: str, box: Box) -> list[tuple[str, Box]]:
        """The boxes of an arranging operator's inputs that hold a box of an output."""
        sharings = [s for s in operator.sharings if s.output == name]
        slabs = [self._slab(sharing, box) for sharing in sharings if sharing.kind != "view"]
        if slabs and all(known for known, _ in slabs):
            return [(s.input, slab) for s, (_, slab) in zip(sharings, slabs, strict=True) if slab]
        shapes = {source: self.graph.values[source].shape for source in operator.inputs}
        if operator.reach is not None and len(operator.outputs) == 1:
            boxes = boxes_read(self.graph, operator, dict(enumerate(box)))
            return [(s.input, b) for s in sharings for b in boxes.get(s.input, ())]
        return [(s.input, whole_box(shapes[s.input])) for s in sharings]

    def _slab(self, sharing: Sharing, box: Box) -> tuple[bool, Box | None]:
        """The box of a Concat's or Split's input for a box of its output.

        Returns:
            Whether the part is a range of one axis of the whole, and the box; None where the box
            has nothing in that input.
        """
        source = self.graph.values[sharing.input]
        result = self.graph.values[sharing.output]
        part, whole = (source, result) if sharing.kind == "concat" else (result, source)
        rank = len(whole.shape)
        if len(part.shape) != rank or not whole.size_bytes:
            return False, None
        cut = [axis for axis in range(rank) if part.shape[axis] != whole.shape[axis]]
        if len(cut) > 1:
            return False, None
        axis = cut[0] if cut else 0
        length = whole.stored_shape[axis]
        offset, remainder = divmod(sharing.offset_bytes * length, whole.size_bytes)
        if remainder or any(size != 1 for size in whole.shape[:axis]):
            return False, None
        low, high = box[axis]
        if sharing.kind == "concat":
            low, high = max(0, low - offset), min(part.shape[axis], high - offset)
        else:
            low, high = low + offset, high + offset
        if low >= high:
            return True, None
        return True, (*box[:axis], (low, high), *box[axis + 1 :])
