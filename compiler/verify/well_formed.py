"""Is a plan well formed, and is the problem inside it sane? The first stage of verification.

A plan may come from anywhere, so every field is checked before another module uses it:

    target -> buffers -> steps -> residencies -> transfers

Each stage looks things up in the earlier ones (a use names a buffer, a residency a tier), so the
first stage with faults is the last one that is examined.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeGuard, TypeVar

from ullage.compiler.ir.assignment import Assigned, Assignment
from ullage.compiler.ir.graph import Kind
from ullage.compiler.ir.plan import Plan, Residency, Transfer
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP, Buffer, PlacedValue, Program, Step, Use
from ullage.compiler.ir.target import Compute, Link, Target, Tier

# Step of a violation that belongs to no step.
NO_STEP = -1
# The kinds of buffers, each of which needs a home tier.
KINDS: tuple[Kind, ...] = ("input", "weight", "activation", "output")

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
        yield _malformed(f"a Plan is needed, there is {_show(plan)}")
        return
    stages = (_target_faults, _buffer_faults, _step_faults, _residency_faults, _transfer_faults)
    for stage in stages:
        sound = True
        for message in stage(plan):
            sound = False
            yield _malformed(message)
        if not sound:
            return


def find_problem_faults(plan: Assigned) -> Iterator[Violation]:
    """Yield broken rules of the problem itself; reads of unwritten bytes are found by `data`."""
    steps, buffers = plan.problem.steps, plan.problem.buffers
    if not steps:
        yield Violation("problem", "a problem needs at least one DMA-only step, has none", 0, ())
        return
    for t in sorted({0, len(steps) - 1}):
        if steps[t].kind != DMA_STEP:
            yield Violation(
                "problem", f"step {t} ({steps[t].name}) is first or last: must be DMA-only", t, ()
            )
    pause_steps = 2 if plan.target.needs_dma_steps else 0
    previous = None
    for t, step in enumerate(steps):
        if step.kind == DMA_STEP:
            if step.uses or step.macs or step.vector_elements or step.workspace_bytes:
                yield Violation("problem", f"step {t} is DMA-only but has work of its own", t, ())
            continue
        if previous is not None and t - previous - 1 < pause_steps:
            message = (
                f"step {t} ({step.name}): {pause_steps} DMA-only steps are needed after the "
                f"previous operator on {plan.target.name}, there are {t - previous - 1}"
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
            if use.write and buffers[use.buffer].kind == "weight":
                message = f"step {t} ({step.name}) writes the weight {name}"
                yield Violation("problem", message, t, (name,))


def _malformed(message: str) -> Violation:
    return Violation("malformed", message, NO_STEP, ())


def _show(value: object) -> str:
    """A wrong value for a message: its type, and its text cut to 60 characters."""
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def _int_fault(name: str, value: object, low: int, high: int | None = None) -> str:
    """What is wrong with an integer that must be in [low, high]; empty when nothing is."""
    # Exactly int: a numpy integer overflows silently and is not JSON.
    if type(value) is not int:
        return f"{name} must be an int, is {_show(value)}"
    if value < low or (high is not None and value > high):
        return f"{name} must be in [{low}, {'...' if high is None else high}], is {value}"
    return ""


def _range_fault(start: object, end: object, size_bytes: int, shortest: int) -> str:
    """What is wrong with a byte range [start, end) of a buffer; empty when nothing is."""
    fault = _int_fault("start byte", start, 0, size_bytes)
    fault = fault or _int_fault("end byte", end, 0, size_bytes)
    if not fault and isinstance(start, int) and isinstance(end, int) and end - start < shortest:
        return f"byte range [{start}, {end}) must have at least {shortest} bytes"
    return fault


def _all_are(values: object, kind: type) -> bool:
    return isinstance(values, tuple) and all(isinstance(value, kind) for value in values)


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2


def _target_faults(plan: Assigned) -> Iterator[str]:
    if not isinstance(plan.problem, Problem) or not isinstance(plan.program, Program):
        yield "the plan needs a Problem with a Program"
        return
    target = plan.target
    if not isinstance(target, Target) or not target.tiers or not _all_are(target.tiers, Tier):
        yield "the plan needs a Target with a tuple of at least one Tier"
        return
    for tier in target.tiers:
        fault = (
            ("" if isinstance(tier.name, str) else f"its name is {_show(tier.name)}")
            or _int_fault("capacity_bytes", tier.capacity_bytes, 0)
            or _int_fault("alignment_bytes", tier.alignment_bytes, 1)
        )
        if fault:
            yield f"tier {tier.name!r} of the target: {fault}"
    names = [tier.name for tier in target.tiers if isinstance(tier.name, str)]
    if len(set(names)) < len(target.tiers):
        yield f"tiers need distinct names, there are {names}"
    if not _all_are(target.links, Link) or any(
        link.source not in names or link.destination not in names for link in target.links
    ):
        yield f"links must join tiers among {names}"
    else:
        labels = [link.name for link in target.links]
        if not all(isinstance(label, str) for label in labels) or len(set(labels)) < len(labels):
            yield f"links need distinct names, there are {_show(labels)}"
    homes = target.homes
    if not isinstance(homes, Mapping) or any(homes.get(kind) not in names for kind in KINDS):
        yield f"homes must name a tier among {names} for each of {', '.join(KINDS)}"
    if target.operand_access not in ("any", "fastest"):
        yield f"operand_access must be any or fastest, is {_show(target.operand_access)}"
    fault = _int_fault("slice_granularity_bytes", target.slice_granularity_bytes, 0)
    if fault:
        yield f"target: {fault}"
    yield from _figure_faults(plan)


def _figure_faults(plan: Assigned) -> Iterator[str]:
    """Rates must be above 0, times and energies at least 0, and all of them finite."""
    for tier in plan.target.tiers:
        where = f"tier {tier.name!r} of the target"
        yield from _rate_faults(where, "read_bytes_per_s", tier.read_bytes_per_s)
        if not tier.read_only:
            yield from _rate_faults(where, "write_bytes_per_s", tier.write_bytes_per_s)
        yield from _cost_faults(where, "read_energy_j_per_byte", tier.read_energy_j_per_byte)
        yield from _cost_faults(where, "write_energy_j_per_byte", tier.write_energy_j_per_byte)
    for link in plan.target.links if _all_are(plan.target.links, Link) else ():
        where = f"link {link.name!r} of the target"
        yield from _rate_faults(where, "bandwidth_bytes_per_s", link.bandwidth_bytes_per_s)
        yield from _cost_faults(where, "setup_s", link.setup_s)
        yield from _cost_faults(where, "energy_j_per_byte", link.energy_j_per_byte)
    compute = plan.target.compute
    if not isinstance(compute, Compute) or not isinstance(compute.macs_per_s, Mapping):
        yield "the target needs a Compute with macs_per_s by data type"
        return
    where = "compute unit of the target"
    for dtype, rate in compute.macs_per_s.items():
        yield from _rate_faults(where, f"macs_per_s of {dtype}", rate)
    yield from _rate_faults(where, "vector_elements_per_s", compute.vector_elements_per_s)
    yield from _cost_faults(where, "overhead_s", compute.overhead_s)
    bound = plan.lower_bound if isinstance(plan, Plan) else None
    if bound is not None and not _is_finite(bound):
        yield f"its lower bound must be a finite number, is {_show(bound)}"


def _rate_faults(where: str, name: str, value: object) -> Iterator[str]:
    if not (_is_finite(value) and value > 0):
        yield f"{where}: {name} must be a finite number above 0, is {_show(value)}"


def _cost_faults(where: str, name: str, value: object) -> Iterator[str]:
    if not (_is_finite(value) and value >= 0):
        yield f"{where}: {name} must be a finite number of at least 0, is {_show(value)}"


def _is_finite(value: object) -> TypeGuard[float]:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond floats
        return False


def _buffer_faults(plan: Assigned) -> Iterator[str]:
    if not _all_are(plan.problem.buffers, Buffer):
        yield "the problem needs a tuple of Buffer"
        return
    if type(plan.problem.steady_state) is not bool:
        yield f"steady_state must be a bool, is {_show(plan.problem.steady_state)}"
    for index, buffer in enumerate(plan.problem.buffers):
        fault = _buffer_fault(buffer)
        if fault:
            yield f"buffer {index} ({buffer.name!r}): {fault}"


def _buffer_fault(buffer: Buffer) -> str:
    fault = _int_fault("size_bytes", buffer.size_bytes, 0)
    fault = fault or _int_fault("row_bytes", buffer.row_bytes, 1)
    if fault:
        return fault
    if not isinstance(buffer.name, str):
        return f"its name must be a str, is {_show(buffer.name)}"
    if buffer.kind not in KINDS:
        return f"its kind must be one of {', '.join(KINDS)}, is {_show(buffer.kind)}"
    if not _all_are(buffer.values, PlacedValue):
        return "its values must be a tuple of PlacedValue"
    if not (isinstance(buffer.outputs, tuple) and all(map(_is_pair, buffer.outputs))):
        return "its outputs must be a tuple of (start byte, end byte)"
    ranges = [(value.start_byte, value.end_byte) for value in buffer.values]
    for start, end in (*ranges, *buffer.outputs):
        fault = _range_fault(start, end, buffer.size_bytes, 0)
        if fault:
            return f"value or output range: {fault}"
    return ""


def _step_faults(plan: Assigned) -> Iterator[str]:
    if not _all_are(plan.problem.steps, Step):
        yield "the problem needs a tuple of Step"
        return
    for t, step in enumerate(plan.problem.steps):
        fault = _int_fault("workspace_bytes", step.workspace_bytes, 0)
        if fault or not isinstance(step.kind, str) or not _all_are(step.uses, Use):
            yield f"step {t} ({step.name!r}): {fault or 'kind must be a str, uses Use tuples'}"
            continue
        for use in step.uses:
            fault = _use_fault(plan.problem.buffers, use)
            if fault:
                yield f"step {t} ({step.name!r}), use of {use.value!r}: {fault}"


def _use_fault(buffers: tuple[Buffer, ...], use: Use) -> str:
    fault = _int_fault("buffer", use.buffer, 0, len(buffers) - 1)
    if fault:
        return fault
    fault = _range_fault(use.start_byte, use.end_byte, buffers[use.buffer].size_bytes, 0)
    fault = fault or _int_fault("accessed_bytes", use.accessed_bytes, 0)
    if not fault and not isinstance(use.write, bool):
        return f"write must be a bool, is {_show(use.write)}"
    return fault


def _slice_fault(plan: Assigned, item: Residency | Transfer) -> str:
    """What is wrong with buffer and byte range of a residency or transfer; empty if nothing."""
    fault = _int_fault("buffer", item.buffer, 0, len(plan.problem.buffers) - 1)
    if fault:
        return fault
    return _range_fault(
        item.start_byte, item.end_byte, plan.problem.buffers[item.buffer].size_bytes, 1
    )


def _residency_faults(plan: Assigned) -> Iterator[str]:
    def fault_of(item: Residency) -> str:
        if not isinstance(item.tier, str) or item.tier not in plan.target.tier_index:
            return f"tier must be one of {names}, is {_show(item.tier)}"
        last = len(plan.problem.steps)
        fault = _slice_fault(plan, item) or _int_fault("offset", item.offset, 0)
        for name in ("start", "ready", "end"):
            fault = fault or _int_fault(name, getattr(item, name), 0, last)
        if fault:
            return fault
        if not item.start <= item.ready <= item.end or item.start == item.end:
            order = f"{item.start}, {item.ready}, {item.end}"
            return f"start <= ready <= end and start < end are needed, there are {order}"
        return ""

    names = ", ".join(plan.target.tier_index)
    yield from _item_faults("residency", plan.residencies, Residency, fault_of)


def _transfer_faults(plan: Assigned) -> Iterator[str]:
    def fault_of(item: Transfer) -> str:
        for tier in (item.source, item.destination):
            if not isinstance(tier, str) or tier not in plan.target.tier_index:
                return f"tiers must be among {names}, there is {_show(tier)}"
        if not isinstance(item.link, str):
            return f"its link must be named by a str, is {_show(item.link)}"
        if not isinstance(item.moves, tuple) or not all(map(_is_pair, item.moves)):
            return "moves must be a tuple of (step, bytes) tuples"
        fault = _slice_fault(plan, item)
        for t, moved_bytes in item.moves:
            fault = fault or _int_fault("step of a move", t, 0, len(plan.problem.steps) - 1)
            if not fault and type(moved_bytes) is not int:
                fault = f"bytes of a move must be an int, is {_show(moved_bytes)}"
        return fault

    names = ", ".join(plan.target.tier_index)
    yield from _item_faults("transfer", plan.transfers, Transfer, fault_of)


def _item_faults(
    name: str, items: tuple[Item, ...], kind: type, fault_of: Callable[[Item], str]
) -> Iterator[str]:
    """Yield the faults of a plan's residencies or transfers, each with its index."""
    if not _all_are(items, kind):
        yield f"every {name} must be a {kind.__name__}, in a tuple"
        return
    for index, item in enumerate(items):
        fault = fault_of(item)
        if fault:
            yield f"{name} {index}: {fault}"
