"""Ways to break a plan in parts: a wrong range, halo, part, copy or sum.

All work on the steps of the plan, which are what the verifier and the executor look at; the bytes
of every buffer are in one place from the first step to the last.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from tests.support.changes import with_program
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.program import Step, Use
from ullage.compiler.ir.reach import REDUCTION, AxisRange

Break = Callable[[Plan, Random], Plan | None]


def _with_steps(plan: Plan, steps: list[Step]) -> Plan:
    last = len(steps)
    items = tuple(replace(r, end=min(r.end, last)) for r in plan.residencies)
    return replace(plan, problem=with_program(plan.problem, steps=tuple(steps)), residencies=items)


def _with_step(plan: Plan, t: int, step: Step) -> Plan:
    steps = list(plan.program.steps)
    steps[t] = step
    return _with_steps(plan, steps)


def _cut(plan: Plan) -> list[int]:
    """The steps that are parts."""
    return [t for t, step in enumerate(plan.program.steps) if step.ranges]


def _row_bytes(plan: Plan, use: Use) -> int:
    """Bytes of the smallest piece of a use that is taken off: a row, or an element."""
    buffer = plan.program.buffers[use.buffer]
    laid_out = any(value.layout is not None for value in buffer.values)
    return buffer.row_bytes if laid_out and use.end_byte - use.start_byte >= buffer.row_bytes else 4


def _shorter(plan: Plan, random: Random, *, write: bool) -> Plan | None:
    """A use of a part without its first or its last row."""
    places = [
        (t, at)
        for t in _cut(plan)
        for at, use in enumerate(plan.program.steps[t].uses)
        if use.write is write
    ]
    if not places:
        return None
    t, at = random.choice(places)
    step = plan.program.steps[t]
    use = step.uses[at]
    size = _row_bytes(plan, use)
    left = random.random() < 0.5
    low, high = use.start_byte + left * size, use.end_byte - (not left) * size
    uses = list(step.uses)
    if low < high:
        accessed = min(use.accessed_bytes, high - low)
        uses[at] = replace(use, start_byte=low, end_byte=high, accessed_bytes=accessed)
    else:
        del uses[at]
    return _with_step(plan, t, replace(step, uses=tuple(uses)))


def read_too_little(plan: Plan, random: Random) -> Plan | None:
    """A part reads a row less, of a halo or of anything else."""
    return _shorter(plan, random, write=False)


def written_too_little(plan: Plan, random: Random) -> Plan | None:
    """A part writes a row less than it says."""
    return _shorter(plan, random, write=True)


def _range_changed(plan: Plan, random: Random, *, sums: bool) -> tuple[int, Step] | None:
    places = [
        (t, at)
        for t in _cut(plan)
        for at, r in enumerate(plan.program.steps[t].ranges)
        if (r.axis == REDUCTION) is sums and r.end - r.start > 1
    ]
    if not places:
        return None
    t, at = random.choice(places)
    step = plan.program.steps[t]
    r = step.ranges[at]
    left = random.random() < 0.5
    shorter = AxisRange(r.axis, r.start + left, r.end - (not left))
    return t, replace(step, ranges=(*step.ranges[:at], shorter, *step.ranges[at + 1 :]))


def range_too_short(plan: Plan, random: Random) -> Plan | None:
    """A part says that it makes an index less than it writes."""
    changed = _range_changed(plan, random, sums=False)
    return None if changed is None else _with_step(plan, *changed)


def part_too_short(plan: Plan, random: Random) -> Plan | None:
    """A part makes a row less, and says so: nobody makes that row."""
    places = []
    for t in _cut(plan):
        step = plan.program.steps[t]
        written = [(at, use) for at, use in enumerate(step.uses) if use.write]
        if len(written) != 1 or step.copy:
            continue
        at, use = written[0]
        layouts = {v.layout for v in plan.program.buffers[use.buffer].values if v.name == use.value}
        for place, r in enumerate(step.ranges):
            row, rest = divmod(use.end_byte - use.start_byte, r.end - r.start)
            outer = any(layout is not None and layout.axis == r.axis for layout in layouts)
            if outer and not rest and r.end - r.start > 1:
                places.append((t, at, place, row))
    if not places:
        return None
    t, at, place, row = random.choice(places)
    step = plan.program.steps[t]
    use, r = step.uses[at], step.ranges[place]
    left = random.random() < 0.5
    low, high = use.start_byte + left * row, use.end_byte - (not left) * row
    shorter = replace(use, start_byte=low, end_byte=high, accessed_bytes=high - low)
    ranges = list(step.ranges)
    ranges[place] = AxisRange(r.axis, r.start + left, r.end - (not left))
    uses = (*step.uses[:at], shorter, *step.uses[at + 1 :])
    return _with_step(plan, t, replace(step, uses=uses, ranges=tuple(ranges)))


def part_dropped(plan: Plan, random: Random) -> Plan | None:
    """A part does not run."""
    places = [t for t in _cut(plan) if not plan.program.steps[t].copy]
    later = {step.operator for step in plan.program.steps if step.copy}
    places = [t for t in places if plan.program.steps[t].operator not in later]
    if not places:
        return None
    t = random.choice(places)
    return _with_steps(plan, [*plan.program.steps[:t], *plan.program.steps[t + 1 :]])


def part_too_early(plan: Plan, random: Random) -> Plan | None:
    """A part runs before one whose elements it reads."""
    steps = plan.program.steps
    places = []
    for t in _cut(plan):
        for producer in range(t):
            made = [u for u in steps[producer].uses if u.write]
            read = [u for u in steps[t].uses if not u.write]
            shared = any(
                a.buffer == b.buffer and a.start_byte < b.end_byte and b.start_byte < a.end_byte
                for a in made
                for b in read
            )
            if (
                shared
                and not steps[producer].copy
                and steps[producer].operator != steps[t].operator
            ):
                places.append((t, producer))
    if not places:
        return None
    t, producer = random.choice(places)
    order = [*steps[:producer], steps[t], *steps[producer:t], *steps[t + 1 :]]
    return _with_steps(plan, order)


def copy_miscounted(plan: Plan, random: Random) -> Plan | None:
    """A part says another copy than it is."""
    places = [t for t in _cut(plan) if any(_is_result(plan, u) for u in plan.program.steps[t].uses)]
    if not places:
        return None
    t = random.choice(places)
    step = plan.program.steps[t]
    return _with_step(plan, t, replace(step, copy=step.copy + 1 if not step.copy else 0))


def _is_result(plan: Plan, use: Use) -> bool:
    values = plan.program.buffers[use.buffer].values
    return use.write and any(value.name == use.value for value in values)


def sum_too_short(plan: Plan, random: Random) -> Plan | None:
    """A part sums up an index less of its reduction."""
    changed = _range_changed(plan, random, sums=True)
    return None if changed is None else _with_step(plan, *changed)


def sum_dropped(plan: Plan, random: Random) -> Plan | None:
    """A part of a reduction does not run."""
    places = [
        t for t in _cut(plan) if any(r.axis == REDUCTION for r in plan.program.steps[t].ranges)
    ]
    if not places:
        return None
    t = random.choice(places)
    return _with_steps(plan, [*plan.program.steps[:t], *plan.program.steps[t + 1 :]])


PART_MUTATIONS: dict[str, Break] = {
    mutation.__name__.replace("_", "-"): mutation
    for mutation in (
        read_too_little,
        written_too_little,
        range_too_short,
        part_too_short,
        part_dropped,
        part_too_early,
        copy_miscounted,
        sum_too_short,
        sum_dropped,
    )
}
