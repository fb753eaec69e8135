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
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Floats, Ints
from ullage.compiler.ir.graph import Kind, Operator
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import Program, Step
from ullage.compiler.ir.reach import REDUCTION, Box, whole_box
from ullage.compiler.ir.schedule import Part
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import Aliases, AliasOptions, find_aliases
from ullage.compiler.lowering.demand import boxes_read, named_share
from ullage.compiler.lowering.layouts import reached_box
from ullage.compiler.lowering.leaves import Leaves
from ullage.compiler.lowering.part_layouts import layout_of
from ullage.compiler.lowering.part_work import operator_step, part_work
from ullage.compiler.lowering.parts import ACCUMULATOR_BYTES
from ullage.hwmodels.cost import compute_seconds, overhead_seconds
from ullage.hwmodels.rereads import Times, step_reads
from ullage.solvers.scheduling.cascade.estimate import OrderFacts
from ullage.solvers.scheduling.cascade.stripes import Cascade, cascade_parts

# Groups that are kept at most, some 0.1 MB each; then all are forgotten and worked out again.
MOST_KEPT = 2000
# Blocks of a group of few stripes, over those of one of many.
FEW_STRIPES_DETAIL = 4
# Share of a group's compute time, over that of a block on average, from which on a block of whole
# stripes is divided: a first stripe may make nearly all of what the others need.
UNEVEN = 3.0
# Pieces of a value at most; beyond, ranges of its longest axis are joined.
MOST_PIECES = 4096


@dataclass(frozen=True, slots=True)
class BlockUse:
    """What a block does to a piece.

    Attributes:
        group: the group, by its place among those that touch the value.
        block: the block, counted from the group's first.
        reads: it needs what was there before.
        writes: it writes the piece.
        read_share: bytes read over the bytes of the piece, added up over the block's steps.
        written_share: the same of bytes written.
        held_share: share of the block's steps during which the piece is there: from the step that
            makes it on, and up to its last use. Where operands must be in the fastest tier, from
            its first use in the block up to its last one there.
        before_share: where they must be, share of the block's steps before that.
    """

    group: int
    block: int
    reads: bool
    writes: bool
    read_share: float
    written_share: float
    held_share: float = 1.0
    before_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of one value that the same blocks use alike.

    Attributes:
        region: the value, as an index of `Profiles.regions`; -1 for accumulators.
        size_bytes: how many.
        space_bytes: room that they take: each stretch of them in a row is rounded up.
        uses: in the order of the blocks.
        accesses: of its bytes by steps, each stretch of them counted by itself.
    """

    region: int
    size_bytes: float
    space_bytes: float
    uses: tuple[BlockUse, ...]
    accesses: int = 0


@dataclass(frozen=True)
class Region:
    """Bytes in which one value lies, or several that share them (in place).

    Attributes:
        shape: of the value.
        size_bytes: of the value.
        kind: kind of its buffer.
        is_output: whether the graph's outputs lie in it.
        places: positions of the operators that use it, ascending.
        is_looked_up: operators read rows of it alone, which DMA brings.
    """

    shape: tuple[int, ...]
    size_bytes: int
    kind: Kind
    is_output: bool
    places: tuple[int, ...]
    is_looked_up: bool = False

    @property
    def is_given(self) -> bool:
        """Whether its data is there before the first step."""
        return self.kind in ("input", "weight")


@dataclass(frozen=True, slots=True)
class _Touch:
    """A step's use of a region; it may look rows up there."""

    step: int
    box: Box
    writes: bool
    share: float
    looks_up: bool = False


@dataclass(frozen=True)
class GroupProfile:
    """A group's blocks.

    Attributes:
        compute_s: (B,) compute time.
        overhead_s: overhead of all of its steps.
        workspace_bytes: (B,) the most that is alive at once of what is used up inside the block.
        inner: what of that are values, which may lie at home as well.
        pieces: what several blocks of this group, and no other group, use.
        steps: number of its steps.
        steps_in: (B,) number of each block's.
        accesses: by steps to what is used up inside a block.
    """

    compute_s: Floats
    overhead_s: float
    workspace_bytes: Floats
    inner: "InnerValues"
    pieces: tuple[Piece, ...]
    steps: int
    steps_in: Ints
    accesses: int = 0


@dataclass(frozen=True)
class InnerValues:
    """Values that are made and used up inside a block, by block.

    Attributes:
        space_bytes: (B,) the most of them that is alive at once.
        read_bytes: (B,) bytes that operators read of them.
        written_bytes: (B,) bytes that they write.
    """

    space_bytes: Floats
    read_bytes: Floats
    written_bytes: Floats


@dataclass(frozen=True)
class _GroupSteps:
    """A group's steps: their cost, and by region what they touch."""

    compute_s: Floats
    overhead_s: float
    workspace_bytes: Floats
    touches: Mapping[int, Sequence[_Touch]]
    accumulators: Sequence[tuple[int, Sequence[int]]]
    block_of: Ints  # (steps,) the block of each

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return int(self.block_of[-1]) + 1 if len(self.block_of) else 0

    @cached_property
    def block_list(self) -> list[int]:
        """The block of each step, for pieces of a few steps, of which there are very many."""
        return [int(block) for block in self.block_of]

    @cached_property
    def starts(self) -> list[int]:
        """The first step of each block, and the number of steps."""
        return [int(at) for at in np.searchsorted(self.block_of, np.arange(self.blocks + 1))]

    def inside(self, step: int, of_step: int | None = None) -> float:
        """Where in the block of a step (default the same) a step begins, from 0 to 1."""
        block = self.block_list[step if of_step is None else of_step]
        begin, end = self.starts[block], self.starts[block + 1]
        return (step - begin) / (end - begin)


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
        self._steps: dict[Cascade, _GroupSteps | None] = {}
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

    def _is_used_up(self, cascade: Cascade, steps: "_GroupSteps", region: int) -> bool:
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

    def _steps_of(self, cascade: Cascade) -> _GroupSteps | None:
        if cascade not in self._steps:
            if len(self._steps) >= MOST_KEPT:
                self._steps.clear()
                self._profiles.clear()
                self._shared.clear()
            order, readers = self.facts.order, self.facts.readers
            parts = cascade_parts(self.graph, order, cascade, readers)
            self._steps[cascade] = None if parts is None else self._touched(parts)
        return self._steps[cascade]

    def _touched(self, parts: Sequence[Part]) -> _GroupSteps:
        """What the parts of a group cost and touch."""
        graph = self.graph
        place = {index: at for at, index in enumerate(self.facts.order)}
        rounds: list[int] = []  # by step the stripe that it belongs to
        before = len(place)
        steps: list[Step] = []
        touches: dict[int, list[_Touch]] = {}
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
                        self._touch(touches, leaf, _Touch(number, inner, False, share, rows))
            if REDUCTION in cut:
                self._accumulate(waiting, operator, part, number)
                if cut[REDUCTION][1] < (operator.reach.reduction if operator.reach else 0):
                    continue
            for name in operator.outputs:
                shape = graph.values[name].shape
                made = tuple(cut.get(axis, (0, size)) for axis, size in enumerate(shape))
                self._touch(touches, name, _Touch(number, made, True, 1.0))
        problem = Problem(Program(graph.name, "", tuple(steps), ()), self.target)
        return _GroupSteps(
            compute_seconds(problem)[0],
            float(overhead_seconds(problem).sum()),
            np.array([step.workspace_bytes for step in steps], dtype=np.float64),
            touches,
            tuple(waiting.values()),
            _blocks(compute_seconds(problem)[0], np.array(rounds, dtype=np.int64), self.detail),
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

    def _touch(self, touches: dict[int, list[_Touch]], leaf: str, touch: _Touch) -> None:
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

    def _profile(self, cascade: Cascade, steps: _GroupSteps, apart: frozenset[int]) -> GroupProfile:
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
            uses = _joined(
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
        self, region: int, groups: Sequence[_GroupSteps], last: int
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
            events = _reaching(place.shape, events)
        covers, sizes = _cells(place.shape, [touch.box for _, touch in events])
        sizes = sizes * (place.size_bytes / max(1, prod(place.shape)))
        if not self.target.split_operands:
            return [self._unsplit(region, events, groups, covers, sizes)]
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
            for version in _versions(chosen, groups) if ends_here else [chosen]:
                stays = place.is_output or place.places[-1] >= last
                brief = {} if is_mandatory else _brief(version, groups, stays=stays)
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
                    held = _used_from_to(_joined(uses), version, groups)
                else:
                    held = self._held(place, _joined(uses), groups, ends)
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

    def _held(
        self,
        place: Region,
        uses: tuple[BlockUse, ...],
        groups: Sequence[_GroupSteps],
        ends: tuple[tuple[int, _Touch], tuple[int, _Touch]],
    ) -> tuple[BlockUse, ...]:
        """The uses with the share of their blocks that a piece is there, by its end touches."""
        (first, begin), (last, end) = ends
        begins = 0.0 if place.is_given else groups[first].inside(begin.step)
        stops = 1.0 if place.is_output else groups[last].inside(end.step + 1, end.step)
        if len(uses) == 1:
            return (replace(uses[0], held_share=max(0.0, stops - begins)),)
        front = replace(uses[0], held_share=1.0 - begins)
        return (front, *uses[1:-1], replace(uses[-1], held_share=stops))

    def _unsplit(
        self,
        region: int,
        events: Sequence[tuple[int, _Touch]],
        groups: Sequence[_GroupSteps],
        covers: NDArray[np.bool_],
        sizes: Floats,
    ) -> tuple[Piece, tuple[int, int]]:
        """All of a region as one piece, of which steps use parts."""
        whole = float(sizes.sum())
        uses = []
        for place, (number, touch) in enumerate(events):
            share = float(sizes[covers[place]].sum()) / whole * touch.share
            block = groups[number].block_list[touch.step]
            reads = not touch.writes or (place > 0 and share < 1.0)
            write = share if touch.writes else 0.0
            uses.append((number, block, reads, touch.writes, share - write, write))
        span = events[0][1].step, events[-1][1].step
        return Piece(region, whole, whole, _joined(uses)), span


def _used_from_to(
    uses: Sequence[BlockUse],
    touches: Sequence[tuple[int, _Touch]],
    groups: Sequence[_GroupSteps],
) -> tuple[BlockUse, ...]:
    """The uses of a cell with the shares of their blocks before and during its touches there."""
    first: dict[tuple[int, int], int] = {}
    last: dict[tuple[int, int], int] = {}
    for number, touch in touches:
        place = number, groups[number].block_list[touch.step]
        first.setdefault(place, touch.step)
        last[place] = touch.step
    result: list[BlockUse] = []
    for use in uses:
        place = use.group, use.block
        before = groups[use.group].inside(first[place])
        end = groups[use.group].inside(last[place] + 1, last[place])
        result.append(replace(use, held_share=end - before, before_share=before))
    return tuple(result)


def _blocks(compute_s: Floats, round_of: Ints, detail: int) -> Ints:
    """(steps,) the block of each step.

    Many stripes are alike: some of them, whole, are a block. A few tall ones are not: what is alive
    differs from step to step, so only short steps side by side are joined.

    Args:
        compute_s: (steps,) compute time.
        round_of: (steps,) the stripe of each step, ascending from 0.
        detail: blocks of many stripes at most.
    """
    count = len(compute_s)
    rounds = int(round_of[-1]) + 1 if count else 0
    if rounds >= detail:
        return _evened(round_of * detail // rounds, compute_s, detail)
    most = FEW_STRIPES_DETAIL * detail
    if count <= most:
        return np.arange(count)
    weights = compute_s / (compute_s.sum() or 1.0) + 1.0 / count
    block = (weights.cumsum() - 0.5 * weights) * (most / 2.0)
    return np.unique(block.astype(np.int64), return_inverse=True)[1].astype(np.int64)


def _evened(block_of: Ints, compute_s: Floats, detail: int) -> Ints:
    """(steps,) blocks, those divided that take far longer than others.

    In a block all transfers may hide behind all computing, which is wrong where first one and then
    the other takes long.

    Args:
        block_of: (steps,) the block of each step, ascending from 0.
        compute_s: (steps,) compute time.
        detail: blocks at first.
    """
    each = float(compute_s.sum()) / detail
    if not each:
        return block_of
    shares = np.bincount(block_of, weights=compute_s) / each
    if shares.max() <= UNEVEN:
        return block_of
    ends = compute_s.cumsum()
    begins = np.concatenate([[0.0], ends])[np.searchsorted(block_of, block_of)]
    inside = ((ends - 0.5 * compute_s - begins) / each).astype(np.int64)
    inside = np.where(shares[block_of] > UNEVEN, inside, 0)
    number = block_of * (int(inside.max()) + 1) + inside
    return np.unique(number, return_inverse=True)[1].astype(np.int64)


def _aliases_of(facts: OrderFacts, options: AliasOptions) -> Aliases:
    """What shares bytes where operators run whole, but for Concats that are partly in place."""
    apart: set[str] = set()
    while True:
        aliases = find_aliases(facts.graph, facts.order, options, apart)
        partly = {name for name, _ in aliases.absorbed if name not in aliases.elided}
        if not partly:
            return aliases
        apart |= partly


def _reaching(
    shape: tuple[int, ...], events: Sequence[tuple[int, _Touch]]
) -> list[tuple[int, _Touch]]:
    """Touches of a value with all that the byte ranges of what they read hold."""
    written = [touch.box for _, touch in events if touch.writes]
    layout = layout_of(shape, written, (touch.box for _, touch in events if not touch.writes))
    if layout is None:
        return list(events)
    return [
        (n, touch if touch.writes else replace(touch, box=reached_box(layout, shape, touch.box)))
        for n, touch in events
    ]


def _cells(shape: tuple[int, ...], boxes: Sequence[Box]) -> tuple[NDArray[np.bool_], Floats]:
    """Divide a value where boxes begin and end.

    Returns:
        (E, C) whether a box holds a cell, and (C,) elements of the cells.
    """
    table = np.array(boxes, dtype=np.int64).reshape(len(boxes), len(shape), 2)
    covers = np.ones((len(boxes), 1), dtype=bool)
    sizes = np.ones(1)
    for axis, size in enumerate(shape):
        edges = np.unique(np.concatenate([[0, size], table[:, axis].ravel()]))
        most = max(1, MOST_PIECES // len(sizes))
        if len(edges) - 1 > most:
            edges = edges[np.unique(np.linspace(0, len(edges) - 1, most + 1).astype(np.int64))]
        if len(edges) == 2:
            sizes = sizes * size
            continue
        low, high = edges[:-1], edges[1:]
        inside = (table[:, axis, :1] < high) & (table[:, axis, 1:] > low)
        covers = (covers[:, :, None] & inside[:, None, :]).reshape(len(boxes), -1)
        sizes = (sizes[:, None] * (high - low)).ravel()
    return covers, np.asarray(sizes, dtype=np.float64)


def _versions(
    touches: Sequence[tuple[int, _Touch]], groups: Sequence[_GroupSteps]
) -> list[Sequence[tuple[int, _Touch]]]:
    """Touches of a cell, apart where a result in place begins that is used up inside its block.

    What `mul` reads may lie at home, while what it writes in place stays until `conv` reads it:

        made by dw, read by mul  |  made by mul, read by conv
        used by two groups       |  inside a block of the second one
    """
    versions: list[Sequence[tuple[int, _Touch]]] = []
    rest = touches
    while True:
        number, final = rest[-1]
        block = groups[number].block_list[final.step]
        begin = next((at for at in range(len(rest) - 1, 0, -1) if rest[at][1].writes), 0)
        writer, touch = rest[begin]
        if begin == 0 or writer != number or groups[writer].block_list[touch.step] != block:
            return [rest, *versions]
        versions.insert(0, rest[begin:])
        rest = rest[:begin]


def _brief(
    touches: Sequence[tuple[int, _Touch]], groups: Sequence[_GroupSteps], *, stays: bool
) -> dict[int, int]:
    """Reads of a cell soon after it was made, each with the write: by their places in `touches`.

    They find it in fast memory, though it goes home in the same block until others read it:

        dw makes rows of a, the mean reads them | ... | mul reads a

    Args:
        touches: touches of the cell.
        groups: those that touch it.
        stays: it is used behind these groups, too.
    """
    found: dict[int, int] = {}
    if len(touches) < 2 or (len(touches) == 2 and not stays):
        return found
    blocks = [(number, groups[number].block_list[touch.step]) for number, touch in touches]
    made = -1
    for at, (_, touch) in enumerate(touches):
        if touch.writes:
            made = at
        elif made >= 0 and blocks[at] == blocks[made] and (stays or blocks[-1] != blocks[at]):
            found[at] = made
    return found


def _joined(
    uses: Sequence[tuple[int, int, bool, bool, float, float]],
) -> tuple[BlockUse, ...]:
    """One use for each block, of (group, block, reads, writes, read share, written share)."""
    joined: list[BlockUse] = []
    for group, block, reads, writes, read, written in uses:
        last = joined[-1] if joined else None
        if last is not None and (last.group, last.block) == (group, block):
            joined[-1] = BlockUse(
                group,
                block,
                last.reads,
                last.writes or writes,
                last.read_share + read,
                last.written_share + written,
            )
        else:
            joined.append(BlockUse(group, block, reads, writes, read, written))
    return tuple(joined)
