"""The rule of the loop boundary: what remains for the next inference is where that looks for it.

    step            0 ................. T | 0 ................. T |
    inference       n                     | n + 1                 |
    weight, sram    |=======|     |=======|=======|     |=======|==
                    ^ start = ready = 0   ^ end = T

Inference n + 1 begins with the residencies that have start = ready = 0. Their bytes are there only
if inference n ends with the same bytes, in the same tier, at the same address. So it is of weights
in steady state, and of states, whose home has one address before and after every inference.
"""

from collections.abc import Iterator

from ullage.compiler.ir.assignment import Assigned
from ullage.compiler.ir.plan import Residency
from ullage.compiler.verify.space import describe_residency
from ullage.compiler.verify.well_formed import Violation


def find_wrap_violations(plan: Assigned) -> Iterator[Violation]:
    """Yield weights and states that an inference begins with, and the one before leaves elsewhere.

    Every byte of one in a residency with `start = ready = 0`, at home or elsewhere, must be in
    residencies of the same buffer and tier, at the same address, with `end = T`. That those hold
    the weight's data follows from the rules of data where they were filled; the others are
    loop-carried themselves.
    """
    problem = plan.problem
    last = len(problem.steps)
    held_at_end: dict[tuple[int, str, int], list[tuple[int, int]]] = {}
    for item in plan.residencies:
        is_filled = item.ready > item.start or not problem.buffers[item.buffer].constant
        if item.end == last and (is_filled or is_loop_carried(plan, item)):
            held_at_end.setdefault(_place(item), []).append((item.start_byte, item.end_byte))
    for spans in held_at_end.values():
        spans.sort()
    for item in plan.residencies:
        if not (is_loop_carried(plan, item) and _is_needed_again(plan, item)):
            continue
        names = (problem.buffers[item.buffer].name,)
        shown = describe_residency(plan, item)
        tier = plan.target.tier(item.tier)
        is_home = tier is plan.target.home(problem.buffers[item.buffer].kind)
        if tier.read_only and not is_home:
            yield Violation("wrap", f"{shown}: nothing can be brought to {tier.name}", 0, names)
        gap = _first_gap(item, held_at_end.get(_place(item), []))
        if gap is not None:
            message = (
                f"{shown}: an inference begins with bytes [{gap[0]}, {gap[1]}) at this address, so "
                f"the one before must end with them there: in residencies of this address offset "
                f"that are filled and end at {last}"
            )
            yield Violation("wrap", message, last, names)


def _is_needed_again(plan: Assigned, item: Residency) -> bool:
    """Whether what an inference begins with in a residency is what the one before left there.

    In steady state it is; else weights are brought anew, and states stay at home.
    """
    if plan.problem.steady_state:
        return True
    buffer = plan.problem.buffers[item.buffer]
    return not buffer.constant and item.tier == plan.target.home(buffer.kind).name


def is_loop_carried(plan: Assigned, item: Residency) -> bool:
    """Whether a residency holds the data of a weight or a state from before the first step on."""
    buffer = plan.problem.buffers[item.buffer]
    return buffer.persistent and item.start == item.ready == 0


def _place(item: Residency) -> tuple[int, str, int]:
    """Key of a residency's place, equal where the same bytes are at the same address."""
    return item.buffer, item.tier, item.offset - item.start_byte


def _first_gap(item: Residency, spans: list[tuple[int, int]]) -> tuple[int, int] | None:
    """The first bytes of a residency that no span (sorted by first byte) covers."""
    covered_to = item.start_byte
    for start, end in spans:
        if start > covered_to:
            break
        covered_to = max(covered_to, end)
    if covered_to >= item.end_byte:
        return None
    following = (start for start, _ in spans if start > covered_to)
    return covered_to, min(item.end_byte, next(following, item.end_byte))
