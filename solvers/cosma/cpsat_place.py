"""Addresses for a solution of `cpsat_model`, or a cut where there are none.

A block is what is kept without a break: the tensors of a chain of in-place results, from one use to
another, at one address. Blocks that provably do not fit together are forbidden: one of them must be
shorter, or two of them must not overlap in time any more (logic-based Benders, Hooker and Ottosson
2003).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ullage.solvers.cosma.cpsat_choice import Choice
from ullage.solvers.cosma.cpsat_model import CosmaChoice
from ullage.solvers.cosma.cpsat_pairs import Literal
from ullage.solvers.cosma.plan import CosmaDecision, OperatorSpan
from ullage.solvers.cosma.tensors import CosmaProgram
from ullage.solvers.packing.place_exactly import Block


@dataclass
class Held:
    """A segment that is in fast memory without a break.

    Attributes:
        segment: which segment.
        first: operator at which it begins.
        last: operator at which it ends.
        room_bytes: its size, aligned.
        kept: (tensor, use, next use) triples that it consists of.
    """

    segment: int
    first: int
    last: int
    room_bytes: int
    kept: list[tuple[int, int, int]]


def held_of(program: CosmaProgram, choice: Choice) -> list[Held]:
    """Everything that a solution keeps in fast memory, without breaks."""
    place_of = {operator: at for at, operator in enumerate(choice.order)}
    held: list[Held] = []
    ends: dict[tuple[int, int], Held] = {}  # by tensor and the operator at which it ends
    for a, tensor in enumerate(program.tensors):  # a tensor comes after the one that it replaces
        if tensor.segment < 0:
            continue
        makers = [tensor.producer] if tensor.producer >= 0 else []
        uses = sorted([*makers, *tensor.readers], key=place_of.__getitem__)
        current: Held | None = None
        if tensor.replaces >= 0:
            current = ends.get((tensor.replaces, tensor.producer))
        for turn, use in enumerate(uses):
            if turn:
                triple = (a, uses[turn - 1], use)
                if triple in choice.kept and current is not None:
                    current.kept.append(triple)
                    current.last = use
                    ends[a, use] = current
                    continue
                current = None
            if current is None:
                current = Held(tensor.segment, use, use, tensor.room_bytes, [])
                held.append(current)
            ends[a, use] = current
    return held


def blocks_of(program: CosmaProgram, choice: Choice, held: Sequence[Held]) -> list[Block]:
    """The rectangles of `held`, in positions of the order, below the workspaces."""
    place_of = {operator: at for at, operator in enumerate(choice.order)}
    scratch = [program.scratch_units(o) * program.unit_bytes for o in choice.order]
    room = program.target.fastest.capacity_bytes // program.unit_bytes * program.unit_bytes
    blocks: list[Block] = []
    for each in held:
        start, end = place_of[each.first], place_of[each.last] + 1
        blocks.append(Block(start, end, each.room_bytes, room - max(scratch[start:end])))
    return blocks


def cut_off(
    model: CosmaChoice,
    choice: Choice,
    held: Sequence[Held],
    blocks: Sequence[Block],
    conflict: Sequence[int],
) -> None:
    """Forbid that all blocks of a conflict are there at the same times again."""
    literals: list[Literal] = []
    for number in conflict:
        for a, e, r in held[number].kept:
            variables = model.tensors.get(a)
            literals.append(True if variables is None else variables.kept[e, r])
        literals += _under_workspace(model, choice, held[number], blocks[number])
    for at, one in enumerate(conflict):
        for other in conflict[at + 1 :]:
            if blocks[one].start < blocks[other].end and blocks[other].start < blocks[one].end:
                for x, y in ((held[one], held[other]), (held[other], held[one])):
                    if x.first != y.last:
                        literals.append(model.pairs.known(x.first, y.last))
    clause: list[Any] = []
    for literal in literals:
        if literal is None or literal is False:
            raise AssertionError("a pair of operators has no literal")
        if literal is not True:
            clause.append(literal.negated())
    model.model.add_bool_or(clause)


def _under_workspace(model: CosmaChoice, choice: Choice, held: Held, block: Block) -> list[Literal]:
    """The fewest literals that put a block beside the workspace that bounds it."""
    program = model.program
    beside = choice.order[block.start : block.end]
    units = max(program.scratch_units(o) for o in beside)
    if not units:
        return []
    ways: list[list[Literal]] = []
    for o in beside:
        if program.scratch_units(o) == units:
            sides = [model.pairs.known(held.first, o)] if o != held.first else []
            ways.append(sides + ([model.pairs.known(o, held.last)] if o != held.last else []))
    return min(ways, key=lambda way: sum(literal is not True for literal in way))


def solution_of(
    program: CosmaProgram, choice: Choice, held: Sequence[Held], offsets: Sequence[int] | None
) -> CosmaDecision:
    """A solution as a decision; offsets in bytes, None where addresses were not asked for."""
    place_of = {operator: at for at, operator in enumerate(choice.order)}
    spans: list[list[OperatorSpan]] = [[] for _ in program.segments]
    for number, each in enumerate(held):
        low = None if offsets is None else offsets[number] / program.unit_bytes
        spans[each.segment].append(OperatorSpan(place_of[each.first], place_of[each.last], low))
    ordered = tuple(tuple(sorted(row, key=lambda span: span.first)) for row in spans)
    return CosmaDecision(choice.order, ordered)
