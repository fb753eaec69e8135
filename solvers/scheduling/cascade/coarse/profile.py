"""What a group does, block by block: computing, room for what is used up inside, and who uses what.

A group's steps are joined into blocks, as few as the search wants to look at:

    steps      conv1 conv2 conv3 | conv1 conv2 conv3 | conv1 conv2 conv3 | ...
    blocks          block 0      |     block 1       |     block 2       | ...

The bytes of a value are divided where parts begin and end; what the same steps use alike is one
piece. A piece that is made and used up inside a block is part of the block's workspace. All others
are used by several blocks, of one group or of several:

    weights of a group              blocks 0, 1, 2, ... of it read
    rows between two stripes        block 0 writes, block 1 reads
    the result of a group           each block writes some rows, blocks of the next group read them

Profiles are kept: a schedule that differs from another in two groups costs two new profiles, and
the pieces of the values that these share with their neighbours.

Storage is shared as for whole operators. When a schedule is lowered, a result in place may turn out
to need bytes of its own; so what is said here is an estimate.
"""

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from ullage.compiler.ir.graph import Kind, Operator
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import Program, Step
from ullage.compiler.ir.reach import REDUCTION, Box, whole_box
from ullage.compiler.ir.schedule import Part
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import Aliases, AliasOptions, find_aliases
from ullage.compiler.lowering.demand import boxes_read, named_share
from ullage.compiler.lowering.leaves import Leaves
from ullage.compiler.lowering.part_work import operator_step, part_work
from ullage.compiler.lowering.parts import ACCUMULATOR_BYTES
from ullage.hwmodels.cost import compute_seconds, overhead_seconds
from ullage.hwmodels.rereads import Times, step_reads
from ullage.solvers.scheduling.cascade.coarse.cells import (
    brief_reads,
    cells_of,
    held_at_ends,
    joined_by_block,
    one_piece,
    used_from_to,
    versions,
    with_bytes_between,
)
from ullage.solvers.scheduling.cascade.coarse.group_steps import GroupSteps, blocks_of
from ullage.solvers.scheduling.cascade.coarse.pieces import (
    BlockUse,
    GroupProfile,
    InnerValues,
    Piece,
    Region,
    Touch,
)
from ullage.solvers.scheduling.cascade.estimate import OrderFacts
from ullage.solvers.scheduling.cascade.stripes import Cascade, cascade_parts

# Groups that are kept at most, some 0.1 MB each; then all are forgotten and worked out again.
MOST_KEPT = 2000


class Profiles:
    """Profiles of groups of a graph in an order, worked out once each.

    Attributes:
        graph: the graph.
        facts: the graph in its order.
        target: the chip.
        detail: blocks of a group at most.
        regions: where values lie.
    """

    def __init__(
        self, facts: OrderFacts, target: Target, aliases: AliasOptions, detail: int
    ) -> None:
        self.graph, self.facts, self.target, self.detail = facts.graph, facts, target, detail
        self._aliases = _aliases_of(facts, aliases)
        self._leaves = Leaves(self.graph, self._aliases)
        self._region_of: dict[str, int] = {}
        self.regions = self._find_regions()
        self._steps: dict[Cascade, GroupSteps | None] = {}
        self._profiles: dict[tuple[Cascade, frozenset[int]], GroupProfile | None] = {}
        self._shared: dict[tuple[int, tuple[Cascade, ...]], tuple[Piece, ...]] = {}

    def of(self, cascade: Cascade, apart: frozenset[int] = frozenset()) -> GroupProfile | None:
        """The profile of a group; None where it cannot be cut so.

        Args:
            cascade: the group.
            apart: regions that other groups use as well, though no operator of theirs does.
        """
        steps = self._steps_of(cascade)
        if steps is None:
            return None
        key = cascade, apart.intersection(steps.touches)
        if key not in self._profiles:
            self._profiles[key] = self._profile(cascade, steps, apart)
        return self._profiles[key]

    def read_again(self, cascade: Cascade) -> list[int]:
        """Regions that a group reads for what it runs again: those that it does not make itself."""
        steps = self._steps_of(cascade) if cascade.again else None
        if steps is None:
            return []
        return [
            region
            for region, touches in steps.touches.items()
            if not self._is_used_by(cascade, region) and not touches[0].writes
        ]

    def _is_used_by(self, cascade: Cascade, region: int) -> bool:
        """Whether an operator of a group uses a region, beside what it runs again."""
        return any(cascade.first <= p < cascade.last for p in self.regions[region].places)

    def _is_used_up(self, cascade: Cascade, steps: GroupSteps, region: int) -> bool:
        """Whether a group alone uses a region, or what it makes of it again."""
        place = self.regions[region]
        if cascade.first <= place.places[0] and place.places[-1] < cascade.last:
            return True
        again = cascade.again and not self._is_used_by(cascade, region)
        return bool(again) and steps.touches[region][0].writes

    def shared(self, region: int, groups: tuple[Cascade, ...]) -> tuple[Piece, ...]:
        """The pieces of a region that several groups use."""
        key = region, groups
        if key not in self._shared:
            steps = [self._steps_of(group) for group in groups]
            known = [s for s in steps if s is not None]
            pieces = self._pieces(region, known, groups[-1].last)
            self._shared[key] = tuple(piece for piece, _ in pieces)
        return self._shared[key]

    def _find_regions(self) -> tuple[Region, ...]:
        """The regions, and which of them each leaf lies in.

        Where operators run in parts, a result of another shape has bytes of its own.
        """
        graph, buffer_of = self.graph, self._aliases.buffer_of
        inside: dict[tuple[str, int, int], dict[tuple[int, ...], list[str]]] = {}
        for name, value in graph.values.items():
            by_shape = inside.setdefault((*buffer_of[name], value.size_bytes), {})
            by_shape.setdefault(value.shape, []).append(name)
        places: dict[str, set[int]] = {}
        used_whole: set[str] = set()
        for position in range(len(self.facts.order)):
            operator = self.facts.operator(position)
            if operator.name in self._aliases.elided:
                continue
            for name in operator.inputs:
                for leaf, _ in self._leaves.of(name, whole_box(graph.values[name].shape)):
                    places.setdefault(leaf, set()).add(position)
                    if name not in operator.looked_up:
                        used_whole.add(leaf)
            for name in operator.outputs:
                places.setdefault(name, set()).add(position)
        outputs = {
            leaf
            for name in graph.outputs
            for leaf, _ in self._leaves.of(name, whole_box(graph.values[name].shape))
        }
        regions: list[Region] = []
        ranked: tuple[Kind, ...] = ("weight", "input", "output", "activation")
        for (_, _, size), by_shape in inside.items():
            kinds = {graph.values[name].kind for names in by_shape.values() for name in names}
            kind = next(k for k in ranked if k in kinds)
            for shape, names in by_shape.items():
                used = [name for name in names if name in places]
                for name in used:
                    self._region_of[name] = len(regions)
                if used and size:
                    touched = sorted({p for name in used for p in places[name]})
                    is_output = any(name in outputs for name in names)
                    rows = kind == "weight" and used_whole.isdisjoint(used)
                    regions.append(Region(shape, size, kind, is_output, tuple(touched), rows))
        return tuple(regions)

    def _steps_of(self, cascade: Cascade) -> GroupSteps | None:
        if cascade not in self._steps:
            if len(self._steps) >= MOST_KEPT:
                self._steps.clear()
                self._profiles.clear()
                self._shared.clear()
            order, readers = self.facts.order, self.facts.readers
            parts = cascade_parts(self.graph, order, cascade, readers)
            self._steps[cascade] = None if parts is None else self._touched(parts)
        return self._steps[cascade]

    def _touched(self, parts: Sequence[Part]) -> GroupSteps:
        """What the parts of a group cost and touch."""
        graph = self.graph
        place = {index: at for at, index in enumerate(self.facts.order)}
        rounds: list[int] = []  # by step the stripe that it belongs to
        before = len(place)
        steps: list[Step] = []
        touches: dict[int, list[Touch]] = {}
        waiting: dict[tuple[object, ...], tuple[int, list[int]]] = {}
        for part in parts:
            operator = graph.operators[part.operator]
            if operator.name in self._aliases.elided:
                continue
            number, cut = len(steps), part.intervals
            begins = place[part.operator] <= before
            rounds.append((rounds[-1] if rounds else -1) + begins)
            before = place[part.operator]
            work = part_work(graph, operator, cut)
            steps.append(operator_step(operator, part.operator, work))
            sparse = dict(operator.accessed_bytes)
            read = boxes_read(graph, operator, cut)
            often = self._reads(steps[-1], read)
            for name, boxes in read.items():
                size = graph.values[name].size_bytes
                share = min(1.0, sparse[name] / max(1, size)) if name in sparse else 1.0
                share *= often.get(name, 1.0)
                if name in operator.looked_up:
                    share *= float(named_share(graph, operator, cut, boxes, name))
                for box in boxes:
                    for leaf, inner in self._leaves.of(name, box):
                        rows = name in operator.looked_up
                        self._touch(touches, leaf, Touch(number, inner, False, share, rows))
            if REDUCTION in cut:
                self._accumulate(waiting, operator, part, number)
                if cut[REDUCTION][1] < (operator.reach.reduction if operator.reach else 0):
                    continue
            for name in operator.outputs:
                shape = graph.values[name].shape
                made = tuple(cut.get(axis, (0, size)) for axis, size in enumerate(shape))
                self._touch(touches, name, Touch(number, made, True, 1.0))
        problem = Problem(Program(graph.name, "", tuple(steps), ()), self.target)
        return GroupSteps(
            compute_seconds(problem)[0],
            float(overhead_seconds(problem).sum()),
            np.array([step.workspace_bytes for step in steps], dtype=np.float64),
            touches,
            tuple(waiting.values()),
            blocks_of(compute_seconds(problem)[0], np.array(rounds, dtype=np.int64), self.detail),
        )

    def _reads(self, step: Step, boxes: Mapping[str, Sequence[Box]]) -> Times:
        """How often a part reads the boxes of its operands."""
        rereads = self.target.compute.rereads
        if rereads is None:
            return {}
        weights: dict[str, int] = {}
        others: dict[str, int] = {}
        for name, parts in boxes.items():
            value = self.graph.values[name]
            held = sum(prod(high - low for low, high in box) for box in parts)
            size = value.size_bytes * held // max(1, prod(value.shape))
            if size:
                (weights if value.kind == "weight" else others)[name] = size
        return step_reads(step, rereads, weights, others)

    def _touch(self, touches: dict[int, list[Touch]], leaf: str, touch: Touch) -> None:
        region = self._region_of.get(leaf)
        if region is not None and self.graph.values[leaf].size_bytes:
            touches.setdefault(region, []).append(touch)

    def _accumulate(
        self,
        waiting: dict[tuple[object, ...], tuple[int, list[int]]],
        operator: Operator,
        part: Part,
        number: int,
    ) -> None:
        """Note that a step adds to accumulators."""
        cut = part.intervals
        cut.pop(REDUCTION)
        shape = self.graph.values[operator.outputs[0]].shape
        spans = [cut.get(axis, (0, size)) for axis, size in enumerate(shape)]
        size = ACCUMULATOR_BYTES * prod(high - low for low, high in spans)
        waiting.setdefault((operator.name, tuple(spans)), (size, []))[1].append(number)

    def _profile(self, cascade: Cascade, steps: GroupSteps, apart: frozenset[int]) -> GroupProfile:
        """Divide what the group alone uses into workspace and pieces.

        A piece that passes from block to block takes room in both, in the LP, by the share of their
        steps in which it is there. Workspace is what is missing to the most that is alive at once.
        """
        count = len(steps.compute_s)
        change, passed = np.zeros(count + 1), np.zeros(count + 1)
        paid = np.zeros(steps.blocks)
        read, written = np.zeros(steps.blocks), np.zeros(steps.blocks)
        pieces: list[Piece] = []
        accesses = 0

        def put(piece: Piece, span: tuple[int, int]) -> None:
            if len(piece.uses) > 1:
                pieces.append(piece)
                passed[span[0]] += piece.space_bytes
                passed[span[1] + 1] -= piece.space_bytes
                first, last = piece.uses[0], piece.uses[-1]
                paid[first.block] += piece.space_bytes * first.held_share
                paid[last.block] += piece.space_bytes * last.held_share
                paid[first.block + 1 : last.block] += piece.space_bytes
                return
            nonlocal accesses
            accesses += piece.accesses
            change[span[0]] += piece.space_bytes
            change[span[1] + 1] -= piece.space_bytes
            use = piece.uses[0]
            read[use.block] += piece.size_bytes * use.read_share
            written[use.block] += piece.size_bytes * use.written_share

        for region in steps.touches:
            place = self.regions[region]
            if region in apart or not self._is_used_up(cascade, steps, region):
                continue
            for piece, span in self._pieces(region, [steps], cascade.last):
                if place.is_given or place.is_output:
                    pieces.append(piece)
                else:
                    put(piece, span)
        for size, members in steps.accumulators:
            shares = [(n, k > 0, k + 1 < len(members)) for k, n in enumerate(members)]
            uses = joined_by_block(
                [(0, int(steps.block_of[n]), r, w, float(r), float(w)) for n, r, w in shares]
            )
            put(Piece(-1, float(size), float(size), uses), (members[0], members[-1]))
        live = change.cumsum()[:-1]
        space, workspace = np.zeros(steps.blocks), np.zeros(steps.blocks)
        np.maximum.at(space, steps.block_of, live)
        np.maximum.at(
            workspace, steps.block_of, live + passed.cumsum()[:-1] + steps.workspace_bytes
        )
        workspace = np.maximum(0.0, workspace - paid)
        inner = InnerValues(np.minimum(space, workspace), read, written)
        compute_s = np.zeros(steps.blocks)
        np.add.at(compute_s, steps.block_of, steps.compute_s)
        made = tuple(pieces)
        steps_in = np.bincount(steps.block_of, minlength=steps.blocks).astype(np.int64)
        return GroupProfile(
            compute_s, steps.overhead_s, workspace, inner, made, count, steps_in, accesses
        )

    def _pieces(
        self, region: int, groups: Sequence[GroupSteps], last: int
    ) -> list[tuple[Piece, tuple[int, int]]]:
        """The pieces of a region, and the steps of their first and last use."""
        place = self.regions[region]
        events = [
            (number, touch)
            for number, steps in enumerate(groups)
            for touch in steps.touches.get(region, ())
        ]
        if not events:
            return []
        is_mandatory = self.target.must_be_fastest(place.kind, look_up=place.is_looked_up)
        if is_mandatory:  # look-ups find at home what others read whole
            events = [e for e in events if not (e[1].looks_up and place.kind == "weight")]
            events = with_bytes_between(place.shape, events)
        covers, sizes = cells_of(place.shape, [touch.box for _, touch in events])
        sizes = sizes * (place.size_bytes / max(1, prod(place.shape)))
        if not self.target.split_operands:
            return [one_piece(region, events, groups, covers, sizes)]
        packed = np.packbits(covers, axis=0)
        _, first, inverse = np.unique(packed, axis=1, return_index=True, return_inverse=True)
        # A slice in fast memory is rounded up to whole units.
        unit = float(max(1, self.target.slice_granularity_bytes))
        totals = np.bincount(inverse.ravel(), weights=sizes)
        rounded = np.ceil(sizes / unit) * unit
        if is_mandatory:  # every page that is touched is taken
            rounded = np.where(sizes % unit == 0, sizes, sizes + unit)
        spaces = np.bincount(inverse.ravel(), weights=rounded)
        stretches = np.bincount(inverse.ravel())
        result: list[tuple[Piece, tuple[int, int]]] = []
        kinds = zip(first.tolist(), totals.tolist(), spaces.tolist(), strict=True)
        for number_of, (cell, size, space) in enumerate(kinds):
            used = np.flatnonzero(covers[:, cell]).tolist()
            if not used:
                continue
            chosen = [events[i] for i in used]
            ends_here = not place.is_output and place.places[-1] < last
            for version in versions(chosen, groups) if ends_here else [chosen]:
                stays = place.is_output or place.places[-1] >= last
                brief = {} if is_mandatory else brief_reads(version, groups, stays=stays)
                uses = [
                    (
                        number,
                        groups[number].block_list[touch.step],
                        not touch.writes,
                        touch.writes,
                        0.0 if touch.writes or at in brief else touch.share,
                        touch.share if touch.writes else 0.0,
                    )
                    for at, (number, touch) in enumerate(version)
                ]
                ends = version[0], version[-1]
                span = ends[0][1].step, ends[1][1].step
                if is_mandatory:
                    held = used_from_to(joined_by_block(uses), version, groups)
                else:
                    held = held_at_ends(place, joined_by_block(uses), groups, ends)
                accesses = int(stretches[number_of]) * len(version)
                result.append((Piece(region, size, space, held, accesses), span))
                for begin in sorted(set(brief.values())):
                    reads = [at for at in brief if brief[at] == begin]
                    number, made = version[begin]
                    span = made.step, version[reads[-1]][1].step
                    there = groups[number].inside(span[1] + 1, span[1])
                    use = BlockUse(
                        number,
                        groups[number].block_list[made.step],
                        reads=False,
                        writes=True,
                        read_share=sum(version[at][1].share for at in reads),
                        written_share=0.0,
                        held_share=there - groups[number].inside(made.step),
                    )
                    result.append((Piece(-1, size, space, (use,)), span))
        return result


def _aliases_of(facts: OrderFacts, options: AliasOptions) -> Aliases:
    """What shares bytes where operators run whole, but for Concats that are partly in place."""
    apart: set[str] = set()
    while True:
        aliases = find_aliases(facts.graph, facts.order, options, apart)
        partly = {name for name, _ in aliases.absorbed if name not in aliases.elided}
        if not partly:
            return aliases
        apart |= partly
