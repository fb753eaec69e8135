"""A plan at a shorter length, with states where the next inference looks for them.

The decisions are carried over as for any length (`carry`), but a state lies in a row at home, where
the inference before has left it: there the bytes' own place decides, not the slice's.

    planned     |0 -------- past -------- 800|-- new --900|     at home from address a on
    shorter     |0 --- past --- 500|-- new --600|               new at a + 500, not a + 800
"""

from dataclasses import replace

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.lengths.carry import carried
from ullage.compiler.ir.plan import Plan, Residency
from ullage.compiler.ir.program import Program


def at_length(plan: Plan, program: Program) -> Plan:
    """The plan carried out on the program of another length; bounds are left out.

    Args:
        plan: a plan for a length that is at least as long.
        program: the same model's program at the other length, in the same order.

    Raises:
        UsageError: the programs differ in more than sizes, or a state is not in a row at home.
    """
    places = _homes_of_states(plan)
    shorter = carried(plan, replace(plan.problem, program=program))
    if shorter is None:
        raise UsageError(
            "at the other length the model has other steps or buffers: a plan for that length is "
            "needed"
        )
    residencies = [
        item if place is None else _placed(plan, item, place + item.start_byte)
        for item in shorter.residencies
        for place in [places.get((item.buffer, item.tier))]
    ]
    return replace(shorter, residencies=tuple(residencies), notes=())


def _homes_of_states(plan: Plan) -> dict[tuple[int, str], int]:
    """(buffer, home tier) of each state -> address of its byte 0.

    Raises:
        UsageError: a state does not lie in a row there.
    """
    found: dict[tuple[int, str], set[int]] = {}
    for item in plan.residencies:
        buffer = plan.problem.buffers[item.buffer]
        is_home = plan.target.home(buffer.kind).name == item.tier
        if buffer.persistent and not buffer.constant and is_home:
            found.setdefault((item.buffer, item.tier), set()).add(item.offset - item.start_byte)
    for (index, tier), places in found.items():
        if len(places) > 1:
            raise UsageError(
                f"the rows of {plan.problem.buffers[index].name!r} are not side by side in {tier}, "
                "so that a shorter cache would not grow into its place: a plan for that length is "
                "needed"
            )
    return {key: places.pop() for key, places in found.items()}


def _placed(plan: Plan, item: Residency, offset: int) -> Residency:
    """A residency at another address.

    Raises:
        UsageError: the tier takes others only.
    """
    alignment = plan.target.tier(item.tier).alignment_bytes
    if offset % alignment:
        raise UsageError(
            f"a row of {plan.problem.buffers[item.buffer].name!r} would begin at address {offset} "
            f"of {item.tier}, which takes multiples of {alignment} bytes: a plan for that length "
            "is needed"
        )
    return replace(item, offset=offset)
