"""Parts of a problem: a stretch of steps as a problem of its own, within a plan for the whole.

What the plan keeps across either end of the stretch stays as it is (*pinned*): it takes its space,
and what its operands and moves take of the ports of the slow tier is a use of a buffer too large to
keep. Everything else is at home at both ends, so it is an input of the stretch where it was written
before, an output where it is read later. The first and last step of the stretch become DMA-only:
what runs there is pinned, too. So any plan of the part fits into the plan of the whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ullage.compiler.ir.graph import Kind
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP, Buffer, Program, Step, Use
from ullage.compiler.ir.target import Target
from ullage.solvers.lp.program import Ints
from ullage.solvers.state.build_plan import Stay
from ullage.solvers.state.segments import Atom

SEARCH_SHARE = 3  # a cut may lie a third of a part from where parts were equal


@dataclass(frozen=True)
class Part:
    """A stretch of steps [first, last) as a problem.

    Attributes:
        problem: its steps, whole tensors; step 0 is step `first` of the whole.
        first: its first step.
        last: one past its last step.
        atoms: the atoms of the whole that it decides about; buffer i of the part is atoms[i].
        pinned: stays that it does not touch.
    """

    problem: Problem
    first: int
    last: int
    atoms: tuple[int, ...]
    pinned: tuple[Stay, ...]

    def stays_of_part(self, stays: Sequence[Stay]) -> list[Stay]:
        """Of the stays of the whole those that the part decides about, as stays of the part."""
        number = {index: i for i, index in enumerate(self.atoms)}
        return [
            _shifted(replace(stay, atom=number[stay.atom]), -self.first)
            for stay in stays
            if stay.atom in number and self.first <= stay.start < self.last
        ]

    def stays_of_whole(self, stays: Sequence[Stay]) -> list[Stay]:
        """Stays of the whole problem: the pinned ones, and those of the part's plan."""
        moved = [
            replace(_shifted(stay, self.first), atom=self.atoms[stay.atom], offset=-1)
            for stay in stays
            if stay.atom < len(self.atoms)
        ]
        return [*(replace(stay, offset=-1) for stay in self.pinned), *moved]


def _shifted(stay: Stay, steps: int) -> Stay:
    """A stay some steps later."""
    return replace(
        stay,
        start=stay.start + steps,
        ready=stay.ready + steps,
        end=stay.end + steps,
        fill=tuple((t + steps, size) for t, size in stay.fill),
        spill=tuple((t + steps, size) for t, size in stay.spill),
    )


def crossing_bytes(problem: Problem, atoms: Sequence[Atom]) -> Ints:
    """(T,) bytes, weights left out, that are alive both before and behind each step."""
    change = np.zeros(len(problem.steps) + 1, dtype=np.int64)
    for atom in atoms:
        if atom.kind == "weight" or not atom.events:
            continue
        begin = 0 if atom.is_given else atom.events[0].step + 1
        end = len(problem.steps) - 1 if atom.is_output else atom.events[-1].step
        if begin < end:
            change[begin] += atom.size_bytes
            change[end] -= atom.size_bytes
    found: Ints = np.cumsum(change)[:-1]
    return found


def narrow_cuts(
    problem: Problem, atoms: Sequence[Atom], part_operators: int, *, at_dma: bool
) -> list[int]:
    """Steps to cut at, both ends included: about equal parts, cut where the least crosses.

    Args:
        problem: the problem.
        atoms: its atoms.
        part_operators: operators of a part, about.
        at_dma: cut at DMA-only steps alone.
    """
    steps = len(problem.steps)
    parts = max(1, round(problem.program.operators / part_operators))
    crossing = crossing_bytes(problem, atoms)
    reach = max(1, steps // parts // SEARCH_SHARE)
    cuts = [0]
    for number in range(1, parts):
        about = number * steps // parts
        near = range(max(cuts[-1] + 3, about - reach), min(steps - 3, about + reach + 1))
        allowed = [t for t in near if not at_dma or problem.steps[t].kind == DMA_STEP]
        if allowed:
            cuts.append(min(allowed, key=lambda t: (int(crossing[t]), abs(t - about))))
    return [*cuts, steps]


def part_of(
    problem: Problem,
    atoms: Sequence[Atom],
    stays: Sequence[Stay],
    span: tuple[int, int],
) -> Part:
    """The part of a plan between two steps.

    Args:
        problem: the whole; its target has two tiers.
        atoms: of the whole.
        stays: the plan.
        span: first step, and one past the last.
    """
    target = problem.target
    first, last = span
    mine: dict[int, list[Stay]] = {}
    for stay in stays:
        mine.setdefault(stay.atom, []).append(stay)
    free = [
        index
        for index, atom in enumerate(atoms)
        if atom.home != target.fastest.name and _is_free(atom, mine.get(index, ()), first, last)
    ]
    chosen = set(free)
    pinned = [s for s in stays if s.atom not in chosen or not first <= s.start < last]
    room_bytes = target.fastest.capacity_bytes
    load = _load(target, atoms, pinned, len(problem.steps))
    reads, writes = _slow_bytes(problem, atoms, pinned, chosen)
    extra = len(free)  # two more buffers: what the pinned ones read and write in the slow tier
    uses: list[list[Use]] = [[] for _ in range(last - first)]
    for number, index in enumerate(free):
        for event in atoms[index].events:
            if first < event.step < last - 1:
                uses[event.step - first] += _uses(number, atoms[index], event.step)
    for t in range(first, last):
        for write, moved in ((False, reads[t]), (True, writes[t])):
            taken = min(room_bytes + 1, round(float(moved)))
            if taken:
                which = extra + int(write)
                use = Use(which, 0, room_bytes + 1, write, taken, f"pinned{int(write)}")
                uses[t - first].append(use)
    steps = [
        _step(problem.steps[t], tuple(uses[t - first]), int(load[t]), t in (first, last - 1))
        for t in range(first, last)
    ]
    buffers = [_buffer(atoms[index], index, first, last) for index in free]
    kinds: tuple[Kind, ...] = ("weight", "activation")
    buffers += [Buffer(f"pinned{i}", room_bytes + 1, kind) for i, kind in enumerate(kinds)]
    program = Program(problem.name, problem.program.order, tuple(steps), tuple(buffers))
    part = Problem(program, replace(target, split_operands=False), problem.objective)
    return Part(part, first, last, tuple(free), tuple(pinned))


def _is_free(atom: Atom, stays: Sequence[Stay], first: int, last: int) -> bool:
    """Whether a part may decide about an atom: no stay and no use touches its ends."""
    inside = [e.step for e in atom.events if first <= e.step < last]
    if not atom.size_bytes or not inside or {first, last - 1} & set(inside):
        return False
    for stay in stays:
        outside = stay.end <= first or stay.start >= last
        carried = stay.start == stay.ready == 0
        if not outside and (carried or stay.start < first or stay.end > last):
            return False
    return True


def _load(target: Target, atoms: Sequence[Atom], stays: Sequence[Stay], steps: int) -> Ints:
    """(T,) bytes of stays in the fastest tier."""
    load = np.zeros(steps, dtype=np.int64)
    unit = target.fastest.alignment_bytes
    for stay in stays:
        load[stay.start : stay.end] += -(-atoms[stay.atom].size_bytes // unit) * unit
    return load


def _slow_bytes(
    problem: Problem,
    atoms: Sequence[Atom],
    pinned: Sequence[Stay],
    free: set[int],
) -> tuple[list[float], list[float]]:
    """Bytes that pinned atoms read and write in the slow tier at each step."""
    target = problem.target
    reads, writes = [0.0] * len(problem.steps), [0.0] * len(problem.steps)
    mine: dict[int, list[Stay]] = {}
    for stay in pinned:
        mine.setdefault(stay.atom, []).append(stay)
        for step, size in stay.fill:
            reads[step] += size
        for step, size in stay.spill:
            writes[step] += size
    for index, atom in enumerate(atoms):
        if index in free or atom.home == target.fastest.name:
            continue
        for event in atom.events:
            if not any(s.ready <= event.step < s.end for s in mine.get(index, ())):
                reads[event.step] += event.read_bytes
                writes[event.step] += event.written_bytes
    return reads, writes


def _uses(number: int, atom: Atom, step: int) -> list[Use]:
    """An atom's uses in one step."""
    event = next(event for event in atom.events if event.step == step)
    found: list[Use] = []
    for does, write, moved in (
        (event.reads, False, event.read_bytes),
        (event.writes, True, event.written_bytes),
    ):
        if does:
            bytes_moved = min(atom.size_bytes, round(moved))
            found.append(Use(number, 0, atom.size_bytes, write, bytes_moved, f"atom{number}"))
    return found


def _step(step: Step, uses: tuple[Use, ...], load: int, is_end: bool) -> Step:
    """A step of a part; at its ends only the pinned uses are left of it."""
    used = step.workspace_bytes + load
    if is_end:
        return Step(step.name, DMA_STEP, workspace_bytes=used)
    return replace(step, uses=uses, workspace_bytes=used)


def _buffer(atom: Atom, index: int, first: int, last: int) -> Buffer:
    """An atom as a buffer of a part."""
    inside = [event for event in atom.events if first <= event.step < last]
    later = [event for event in atom.events if event.step >= last]
    written = any(event.writes for event in inside)
    wanted = later[0].reads if later else atom.is_output
    kind: Kind = atom.kind
    if kind != "weight":
        kind = "input" if inside[0].reads else "activation"
    keeps = written and wanted
    outputs = ((0, atom.size_bytes),) if keeps else ()
    if keeps and kind == "activation":
        kind = "output"
    return Buffer(f"atom{index}", atom.size_bytes, kind, (), outputs, atom.size_bytes)
