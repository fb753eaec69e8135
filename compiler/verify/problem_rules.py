"""Is a problem one that a plan can solve? The rules that need no plan to be looked at.

A plan is judged by the rules that plans share (`find_problem_faults`, `find_unwritten_reads`). A
problem that comes from a file is judged by more (`find_faults`), so that what its author got wrong
is said with the name of the field, before any solver has it:

    form       fields of the right type and range, indices that lead somewhere
    steps      DMA-only at both ends, each operator once, nothing read before it is written
    uses       a range of bytes of a value that the buffer has, or of partial sums
    buffers    values with names of their own, outputs apart from one another, and written
    target     memories and links that do what the operators need of them
"""

from collections.abc import Iterator
from itertools import chain, islice, pairwise

from ullage.compiler.common.errors import Fault, UsageError
from ullage.compiler.common.units import counted
from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP, Step, Use
from ullage.compiler.ir.reach import REDUCTION
from ullage.compiler.verify.fields import int_fault
from ullage.compiler.verify.parts import find_part_violations
from ullage.compiler.verify.space import granularity_bytes, value_and_use_ends
from ullage.compiler.verify.versions import Runs
from ullage.compiler.verify.well_formed import (
    NO_OPERATOR,
    Violation,
    find_malformed_fields,
)
from ullage.hwmodels.catalog.roles import role_problems

# Faults of a problem after which to stop looking.
MAX_FAULTS = 100
# Whether a byte holds data, in `Runs`.
_NOTHING, _DATA = 0, 1


def find_faults(problem: Problem) -> Iterator[Fault]:
    """Yield what is wrong with a problem by itself, with the field, whoever made it.

    A problem without faults may still have no plan: its memory may be too small.
    """
    sound = True
    for fault in find_malformed_fields(problem):
        sound = False
        yield fault
    if not sound:
        return
    by_rule = chain(
        find_problem_faults(problem),
        find_part_violations(Assignment(problem, (), ())),
        find_unwritten_reads(problem),
    )
    yield from (Fault(_field_of(violation), violation.message) for violation in by_rule)
    for fault in role_problems(problem.target):
        yield Fault(f"target.{fault.field}", fault.message)
    yield from _name_faults(problem)
    sums, ends = _sums_of(problem), value_and_use_ends(problem)
    for t, step in enumerate(problem.steps):
        yield from _step_faults(problem, t, step)
    for index, buffer in enumerate(problem.buffers):
        if buffer.size_bytes:
            if not buffer.values and index not in sums:
                field = f"program.buffers.{index}.values"
                yield Fault(field, f"buffer {buffer.name!r} holds no value; name what lies there")
            yield from _output_faults(problem, index, ends[index])


def check_problem(problem: Problem, where: str = "") -> None:
    """Check a problem that others have made.

    Args:
        problem: the problem.
        where: the file that it is from, for the message; empty where it is from none.

    Raises:
        UsageError: it has a fault; the message has the first one, `details` up to 100.
    """
    faults = list(islice(find_faults(problem), MAX_FAULTS))
    if not faults:
        return
    more = f" ({counted(len(faults), 'problem')} in all)" if len(faults) > 1 else ""
    message = f"the problem is malformed: field {faults[0].field}: {faults[0].message}{more}"
    raise UsageError(
        f"{where}: {message}" if where else message,
        {"field": faults[0].field, "problems": [fault._asdict() for fault in faults]},
    )


def _field_of(violation: Violation) -> str:
    return f"program.steps.{violation.step}" if violation.step >= 0 else "program"


def find_problem_faults(problem: Problem) -> Iterator[Violation]:
    """Yield broken rules of the steps; reads of unwritten bytes have a function of their own."""
    steps, buffers = problem.steps, problem.buffers
    if not steps:
        yield Violation("problem", "a problem needs at least one DMA-only step, has none", 0, ())
        return
    for t in sorted({0, len(steps) - 1}):
        if steps[t].kind != DMA_STEP:
            yield Violation(
                "problem", f"step {t} ({steps[t].name}) is first or last: must be DMA-only", t, ()
            )
    yield from _operator_faults(problem)
    pause_steps = problem.target.dma_steps.between
    previous = None
    for t, step in enumerate(steps):
        if step.kind == DMA_STEP:
            if _has_work(step):
                yield Violation("problem", f"step {t} is DMA-only but has work of its own", t, ())
            continue
        if previous is not None and t - previous - 1 < pause_steps:
            message = (
                f"step {t} ({step.name}): {pause_steps} DMA-only steps are needed after the "
                f"previous operator on {problem.target.name}, there are {t - previous - 1}"
            )
            yield Violation("problem", message, t, ())
        previous = t
        for use in step.uses:
            name, size = buffers[use.buffer].name, use.end_byte - use.start_byte
            if use.accessed_bytes > size:
                message = (
                    f"step {t} ({step.name}) accesses {use.accessed_bytes} bytes of a range of "
                    f"{size} in {name}"
                )
                yield Violation("problem", message, t, (name,))
            if use.look_up and (use.write or buffers[use.buffer].kind != "weight"):
                message = (
                    f"step {t} ({step.name}) looks rows up in {name}: only in weights, and only to "
                    "read them"
                )
                yield Violation("problem", message, t, (name,))
            if use.write and buffers[use.buffer].constant:
                message = f"step {t} ({step.name}) writes the weight {name}"
                yield Violation("problem", message, t, (name,))


def _has_work(step: Step) -> bool:
    """Whether a step has anything to do beside transfers."""
    counted = step.uses or step.macs or step.vector_elements or step.workspace_bytes
    return bool(counted or step.gemms or step.nests) or step.measured_s is not None


def _operator_faults(problem: Problem) -> Iterator[Violation]:
    """Yield operators that no graph of these values can have, and those that run twice.

    Parts of an operator run in steps of their own; each says which ranges it makes, and whether it
    makes them again (`verify.parts` looks at that).
    """
    steps = problem.steps
    # Every operator of a graph is a step, or has left a value at least, as a view has.
    most = len(steps) + sum(len(buffer.values) for buffer in problem.buffers) - 1
    first: dict[int, int] = {}
    for t, step in enumerate(steps):
        low, high = (NO_OPERATOR, NO_OPERATOR) if step.kind == DMA_STEP else (0, most)
        fault = int_fault("operator", step.operator, low, high)
        earlier = t if step.kind == DMA_STEP else first.setdefault(step.operator, t)
        if earlier != t and not (step.copy or (step.ranges and steps[earlier].ranges)):
            fault = fault or f"operator {step.operator} has run in step {earlier}"
        if fault:
            yield Violation("problem", f"step {t} ({step.name}): {fault}", t, ())


def find_unwritten_reads(problem: Problem) -> Iterator[Violation]:
    """Yield reads of bytes that hold no data, whatever a plan does; well-formed problems only."""
    for index, buffer in enumerate(problem.buffers):
        if not buffer.size_bytes:
            continue
        written = Runs(buffer.size_bytes, _DATA if buffer.initial else _NOTHING)
        for t, use in problem.uses_of[index]:
            if use.start_byte == use.end_byte:
                continue
            if use.write:
                written.assign(use.start_byte, use.end_byte, _DATA)
                continue
            for start, end, state in written.over(use.start_byte, use.end_byte):
                if state == _NOTHING:
                    message = (
                        f"step {t} ({problem.steps[t].name}) reads {use.value} in {buffer.name}: "
                        f"bytes [{start}, {end}) have not been written before"
                    )
                    yield Violation("problem", message, t, (buffer.name,))


def _name_faults(problem: Problem) -> Iterator[Fault]:
    """Names that are empty or stand twice: of buffers, values, and steps that run operators."""
    buffers = [(f"program.buffers.{i}.name", b.name) for i, b in enumerate(problem.buffers)]
    values = [
        (f"program.buffers.{i}.values.{k}.name", value.name)
        for i, buffer in enumerate(problem.buffers)
        for k, value in enumerate(buffer.values)
    ]
    steps = [
        (f"program.steps.{t}.name", step.name)
        for t, step in enumerate(problem.steps)
        if step.kind != DMA_STEP
    ]
    for what, named in (("buffer", buffers), ("value", values), ("step", steps)):
        first: dict[str, str] = {}
        for field, name in named:
            if not name:
                yield Fault(field, f"this {what} has an empty name; give it one")
            elif first.setdefault(name, field) != field:
                yield Fault(field, f"{what} {name!r} stands at {first[name]} already; rename one")


def _sums_of(problem: Problem) -> set[int]:
    """The buffers of partial sums: parts of reductions alone use them, and they hold no value."""
    reduces = [any(r.axis == REDUCTION for r in step.ranges) for step in problem.steps]
    return {
        index
        for index, buffer in enumerate(problem.buffers)
        if not buffer.values and all(reduces[t] for t, _ in problem.uses_of[index])
    }


def _step_faults(problem: Problem, t: int, step: Step) -> Iterator[Fault]:
    """Uses of nothing, or of values that are not where they are used; work on nothing."""
    where = f"program.steps.{t}"
    if step.kind == DMA_STEP:
        return
    if not step.kind:
        yield Fault(f"{where}.kind", "is empty; name the type of the operator")
    if not step.uses and _has_work(step):
        yield Fault(f"{where}.uses", f"operator {step.name!r} has work and uses nothing")
    for index, use in enumerate(step.uses):
        fault = _use_fault(problem, step, use)
        if fault:
            yield Fault(f"{where}.uses.{index}", f"operator {step.name!r}: {fault}")


def _use_fault(problem: Problem, step: Step, use: Use) -> str:
    """What is wrong with a use; empty where nothing is.

    A use may reach beyond its value: operands that lie side by side are one range (a Concat of
    which its sources are parts).
    """
    if use.start_byte == use.end_byte:
        return f"the use of {use.value!r} has no bytes; leave it out"
    buffer = problem.buffers[use.buffer]
    values = [value for value in buffer.values if value.name == use.value]
    if not values:
        if any(r.axis == REDUCTION for r in step.ranges):
            return ""  # partial sums
        known = ", ".join(repr(value.name) for value in buffer.values[:4]) or "none"
        return f"buffer {buffer.name!r} has no value {use.value!r} (its values: {known})"
    if all(v.end_byte <= use.start_byte or use.end_byte <= v.start_byte for v in values):
        value = values[0]
        return (
            f"bytes [{use.start_byte}, {use.end_byte}) of {buffer.name!r} are used as "
            f"{use.value!r}, which lies in [{value.start_byte}, {value.end_byte})"
        )
    return ""


def _output_faults(problem: Problem, index: int, ends: set[int]) -> Iterator[Fault]:
    """Outputs that are missing, empty, doubled, where no slice can be cut, or never written."""
    buffer, field = problem.buffers[index], f"program.buffers.{index}.outputs"
    outputs = sorted(buffer.outputs)
    if buffer.kind == "output" and not outputs:
        message = f"buffer {buffer.name!r} is of kind output and has no outputs"
        yield Fault(field, f"{message}; say which bytes of it are")
    granularity = granularity_bytes(problem, buffer)
    for start, end in outputs:
        shown = f"output [{start}, {end}) of {buffer.name!r}"
        if start >= end:
            yield Fault(field, f"{shown} has no bytes; leave it out")
        elif cuts := [cut for cut in (start, end) if cut % granularity and cut not in ends]:
            yield Fault(
                field,
                f"{shown}: byte {cuts[0]} is no multiple of {granularity} and no end of a value or "
                "a use, so that no slice ends there; place a value there",
            )
    for (start, end), (following, last) in pairwise(outputs):
        if following < end:
            message = f"outputs [{start}, {end}) and [{following}, {last}) overlap"
            yield Fault(field, f"{message}; say each byte once")
    made = Runs(buffer.size_bytes, _NOTHING)
    for _, use in problem.uses_of[index]:
        if use.write and use.start_byte < use.end_byte:
            made.assign(use.start_byte, use.end_byte, _DATA)
    for low, high in outputs:
        for start, end, state in made.over(low, high) if low < high else ():
            if state == _NOTHING and not buffer.initial:
                message = f"output {buffer.name!r}: no step writes bytes [{start}, {end})"
                yield Fault(field, f"{message}; list the operator that makes them")
    if buffer.kind == "state":
        # Where the next inference looks for it is where outputs go.
        kept = Runs(buffer.size_bytes, _NOTHING)
        for low, high in outputs:
            if low < high:
                kept.assign(low, high, _DATA)
        for start, end, state in made.over(0, buffer.size_bytes):
            for low, high, handed in kept.over(start, end) if state == _DATA else ():
                if handed == _NOTHING:
                    message = f"state {buffer.name!r}: bytes [{low}, {high}) are written and are no"
                    yield Fault(field, f"{message} output; the next inference needs them: add them")
