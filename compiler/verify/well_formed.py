"""Is a plan well formed, and is the problem inside it sane? The first stage of verification.

A plan may come from anywhere, so every field is checked before another module uses it:

    target -> buffers -> steps -> residencies -> transfers

Each stage looks things up in the earlier ones (a use names a buffer, a residency a tier), so the
first stage with faults is the last one that is examined.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar, get_args

from ullage.compiler.common.dtypes import BITS
from ullage.compiler.common.errors import Fault
from ullage.compiler.common.ranges import MAX_COUNT, MAX_FIGURE, MAX_INDEX, MAX_SECONDS
from ullage.compiler.ir.assignment import Assigned, Assignment
from ullage.compiler.ir.graph import NEST_KINDS, BufferKind, Gemm, LoopNest
from ullage.compiler.ir.plan import Plan, Residency, Transfer
from ullage.compiler.ir.problem import Objective, Problem
from ullage.compiler.ir.program import Buffer, PlacedValue, Program, Step, Use
from ullage.compiler.verify.fields import (
    all_are,
    amount_fault,
    int_fault,
    is_pair,
    show,
    text_fault,
)
from ullage.compiler.verify.part_form import layout_fault, ranges_fault
from ullage.compiler.verify.target_form import show_name, target_faults

# Step of a violation that belongs to no step.
NO_STEP = -1
# Operator of a DMA-only step.
NO_OPERATOR = -1
OBJECTIVES = get_args(Objective)
BUFFER_KINDS: tuple[BufferKind, ...] = get_args(BufferKind)

Item = TypeVar("Item", Residency, Transfer)


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule of `docs/plan-semantics.md`.

    Attributes:
        rule: kebab-case name of the rule; it never changes.
        message: what is wrong, with the step, tensor names, tiers and addresses.
        step: step at which it shows; -1 where it belongs to no step.
        buffers: names of the buffers involved.
    """

    rule: str
    message: str
    step: int
    buffers: tuple[str, ...]


def find_malformed(plan: Assigned) -> Iterator[Violation]:
    """Yield faults that prevent a plan from being examined at all, stage by stage."""
    if not isinstance(plan, Plan | Assignment):
        yield _malformed(f"a Plan is needed, there is {show(plan)}")
        return
    stages = (*_PROBLEM_STAGES, _residency_faults, _transfer_faults)
    yield from (_malformed(fault.message) for fault in _first_unsound(plan, stages))


def find_malformed_fields(problem: Problem) -> Iterator[Fault]:
    """Yield faults that prevent a problem from being examined at all, stage by stage."""
    yield from _first_unsound(Assignment(problem, (), ()), _PROBLEM_STAGES)


def _first_unsound(
    plan: Assigned, stages: Iterable[Callable[[Assigned], Iterator[Fault]]]
) -> Iterator[Fault]:
    """Yield the faults of the first stage that has any."""
    for stage in stages:
        sound = True
        for fault in stage(plan):
            sound = False
            yield fault
        if not sound:
            return


def _malformed(message: str) -> Violation:
    return Violation("malformed", message, NO_STEP, ())


def _range_fault(start: object, end: object, size_bytes: int, shortest: int) -> str:
    """What is wrong with a byte range [start, end) of a buffer; empty when nothing is."""
    fault = int_fault("start byte", start, 0, size_bytes)
    fault = fault or int_fault("end byte", end, 0, size_bytes)
    if not fault and isinstance(start, int) and isinstance(end, int) and end - start < shortest:
        return f"byte range [{start}, {end}) must have at least {shortest} bytes"
    return fault


def _context_faults(plan: Assigned) -> Iterator[Fault]:
    """Faults of what surrounds the program: objective, bounds, target."""
    if not isinstance(plan.problem, Problem) or not isinstance(plan.program, Program):
        yield Fault("program", "the plan needs a Problem with a Program")
        return
    if not (isinstance(plan.objective, str) and plan.objective in OBJECTIVES):
        known = ", ".join(OBJECTIVES)
        yield Fault("objective", f"the objective must be one of {known}, is {show(plan.objective)}")
    for field, fault in (
        ("name", text_fault("the name of the program", plan.program.name)),
        ("program.order", text_fault("its order", plan.program.order)),
    ):
        if fault:
            yield Fault(field, fault)
    if isinstance(plan, Plan):
        bounds = (("lower", plan.lower_bound), ("claimed", plan.claimed_bound))
        for which, bound in bounds:
            fault = "" if bound is None else amount_fault(f"its {which} bound", bound, MAX_FIGURE)
            if fault:
                yield Fault(f"{which}_bound", fault)
    yield from (Fault("target", fault) for fault in target_faults(plan.target))


def _buffer_faults(plan: Assigned) -> Iterator[Fault]:
    if not all_are(plan.problem.buffers, Buffer):
        yield Fault("program.buffers", "the problem needs a tuple of Buffer")
        return
    steady = plan.problem.steady_state
    if type(steady) is not bool:
        yield Fault("steady_state", f"steady_state must be a bool, is {show(steady)}")
    for index, buffer in enumerate(plan.problem.buffers):
        fault = _buffer_fault(buffer)
        if fault:
            field = f"program.buffers.{index}"
            yield Fault(field, f"buffer {index} ({show_name(buffer.name)}): {fault}")


def _buffer_fault(buffer: Buffer) -> str:
    fault = int_fault("size_bytes", buffer.size_bytes, 0)
    fault = fault or int_fault("row_bytes", buffer.row_bytes, 1)
    if fault:
        return fault
    fault = text_fault("its name", buffer.name)
    if fault:
        return fault
    if buffer.kind not in BUFFER_KINDS:
        return f"its kind must be one of {', '.join(BUFFER_KINDS)}, is {show(buffer.kind)}"
    if not all_are(buffer.values, PlacedValue):
        return "its values must be a tuple of PlacedValue"
    for value in buffer.values:
        fault = text_fault("the name of a value of it", value.name)
        if fault:
            return fault
    if not (isinstance(buffer.outputs, tuple) and all(map(is_pair, buffer.outputs))):
        return "its outputs must be a tuple of (start byte, end byte)"
    faults = (
        f"value {show_name(v.name)}: {layout_fault(v)}" for v in buffer.values if layout_fault(v)
    )
    fault = next(faults, "")
    if fault:
        return fault
    ranges = [(value.start_byte, value.end_byte) for value in buffer.values]
    for start, end in (*ranges, *buffer.outputs):
        fault = _range_fault(start, end, buffer.size_bytes, 0)
        if fault:
            return f"value or output range: {fault}"
    return ""


def _step_faults(plan: Assigned) -> Iterator[Fault]:
    steps, buffers = plan.problem.steps, plan.problem.buffers
    if not all_are(steps, Step):
        yield Fault("program.steps", "the problem needs a tuple of Step")
        return
    sound = True
    for t, step in enumerate(steps):
        for fault in _faults_of_step(step, buffers):
            sound = False
            field = ".".join(filter(None, (f"program.steps.{t}", fault.field)))
            yield Fault(field, f"step {t} ({show_name(step.name)}){fault.message}")
    if sound:
        for what, total in (
            ("MACs", sum(step.macs for step in steps)),
            ("vector elements", sum(step.vector_elements for step in steps)),
            ("accessed bytes", sum(use.accessed_bytes for step in steps for use in step.uses)),
            ("bytes of buffers", sum(buffer.size_bytes for buffer in buffers)),
        ):
            if total > MAX_COUNT:
                message = f"has {total} {what} in all, at most {MAX_COUNT} can be planned"
                yield Fault("program", f"the program {message}")


def _faults_of_step(step: Step, buffers: tuple[Buffer, ...]) -> Iterator[Fault]:
    """Faults of one step: field within it, and the message from behind the step's name on."""
    fault = text_fault("name", step.name) or text_fault("kind", step.kind)
    if fault:
        yield Fault("", f": {fault}")
        return
    if not all_are(step.uses, Use) or not all_are(step.gemms, Gemm):
        yield Fault("", ": it needs tuples of Use and Gemm")
        return
    if not all_are(step.nests, LoopNest):
        yield Fault("nests", ": its nests must be a tuple of LoopNest")
        return
    faults = [int_fault("operator", step.operator, NO_OPERATOR, MAX_INDEX)]
    faults += [
        int_fault(name, getattr(step, name), 0)
        for name in ("macs", "vector_elements", "workspace_bytes", "copy")
    ]
    faults += [
        int_fault(f"{name} of a Gemm", getattr(gemm, name), 0)
        for gemm in step.gemms
        for name in ("m", "k", "n", "count")
    ]
    faults += [_nest_fault(nest) for nest in step.nests]
    if step.measured_s is not None:
        faults.append(amount_fault("measured_s", step.measured_s, MAX_SECONDS))
    faults.append(ranges_fault(step))
    if not (isinstance(step.mac_dtype, str) and step.mac_dtype in BITS):
        faults.append(f"unknown data type {show(step.mac_dtype)}")
    yield from (Fault("", f": {fault}") for fault in faults if fault)
    for index, use in enumerate(step.uses):
        fault = _use_fault(buffers, use)
        if fault:
            yield Fault(f"uses.{index}", f", use of {show_name(use.value)}: {fault}")


def _nest_fault(nest: LoopNest) -> str:
    """What is wrong with a loop nest; empty when nothing is."""
    if nest.kind not in NEST_KINDS:
        return f"kind of a LoopNest must be one of {', '.join(NEST_KINDS)}, is {show(nest.kind)}"
    if not isinstance(nest.then, tuple):
        return f"then of a LoopNest must be a tuple, is {show(nest.then)}"
    names = ("count", "batch", "height", "width", "channels", "depth", "groups")
    sizes = [(name, getattr(nest, name)) for name in names]
    for name in ("kernel", "stride", "dilation"):
        pair = getattr(nest, name)
        if not is_pair(pair):
            return f"{name} of a LoopNest must be (rows, columns), is {show(pair)}"
        sizes += [(name, size) for size in pair]
    faults = [text_fault("op of a LoopNest", op) for op in (nest.op, *nest.then)]
    faults += [int_fault(f"{name} of a LoopNest", size, 0) for name, size in sizes]
    return next(filter(None, faults), "")


def _use_fault(buffers: tuple[Buffer, ...], use: Use) -> str:
    fault = int_fault("buffer", use.buffer, 0, len(buffers) - 1)
    if fault:
        return fault
    fault = _range_fault(use.start_byte, use.end_byte, buffers[use.buffer].size_bytes, 0)
    fault = fault or int_fault("accessed_bytes", use.accessed_bytes, 0)
    fault = fault or text_fault("the name of its value", use.value)
    for name in ("write", "look_up"):
        if not fault and not isinstance(getattr(use, name), bool):
            return f"{name} must be a bool, is {show(getattr(use, name))}"
    return fault


def _slice_fault(plan: Assigned, item: Residency | Transfer) -> str:
    """What is wrong with buffer and byte range of a residency or transfer; empty if nothing."""
    fault = int_fault("buffer", item.buffer, 0, len(plan.problem.buffers) - 1)
    if fault:
        return fault
    return _range_fault(
        item.start_byte, item.end_byte, plan.problem.buffers[item.buffer].size_bytes, 1
    )


# What of a plan is its problem; each stage looks things up in those before it.
_PROBLEM_STAGES = (_context_faults, _buffer_faults, _step_faults)


def _residency_faults(plan: Assigned) -> Iterator[Fault]:
    def fault_of(item: Residency) -> str:
        if not isinstance(item.tier, str) or item.tier not in plan.target.tier_index:
            return f"tier must be one of {names}, is {show(item.tier)}"
        last = len(plan.problem.steps)
        fault = _slice_fault(plan, item) or int_fault("offset", item.offset, 0)
        for name in ("start", "ready", "end"):
            fault = fault or int_fault(name, getattr(item, name), 0, last)
        if fault:
            return fault
        if not item.start <= item.ready <= item.end or item.start == item.end:
            order = f"{item.start}, {item.ready}, {item.end}"
            return f"start <= ready <= end and start < end are needed, there are {order}"
        return ""

    names = ", ".join(plan.target.tier_index)
    yield from _item_faults("residency", plan.residencies, Residency, fault_of)


def _transfer_faults(plan: Assigned) -> Iterator[Fault]:
    def fault_of(item: Transfer) -> str:
        for tier in (item.source, item.destination):
            if not isinstance(tier, str) or tier not in plan.target.tier_index:
                return f"tiers must be among {names}, there is {show(tier)}"
        if not isinstance(item.link, str):
            return f"its link must be named by a str, is {show(item.link)}"
        if not isinstance(item.moves, tuple) or not all(map(is_pair, item.moves)):
            return "moves must be a tuple of (step, bytes) tuples"
        fault = _slice_fault(plan, item)
        for t, moved_bytes in item.moves:
            fault = fault or int_fault("step of a move", t, 0, len(plan.problem.steps) - 1)
            if not fault and type(moved_bytes) is not int:
                fault = f"bytes of a move must be an int, is {show(moved_bytes)}"
        return fault

    names = ", ".join(plan.target.tier_index)
    yield from _item_faults("transfer", plan.transfers, Transfer, fault_of)


def _item_faults(
    name: str, items: tuple[Item, ...], kind: type, fault_of: Callable[[Item], str]
) -> Iterator[Fault]:
    """Yield the faults of a plan's residencies or transfers, each with its index."""
    if not all_are(items, kind):
        yield Fault(name, f"every {name} must be a {kind.__name__}, in a tuple")
        return
    for index, item in enumerate(items):
        fault = fault_of(item)
        if fault:
            yield Fault(f"{name} {index}", f"{name} {index}: {fault}")
