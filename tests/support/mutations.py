"""Ways to break a legal plan, each with the rules of which at least one must then be reported.

Every mutation makes its plan illegal for certain or says that it does not apply (None), so it can
be used on plans of any size and origin, and to show that an executor notices too.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from tests.support.changes import with_program, with_target
from ullage.compiler.ir.plan import Plan, Residency, Transfer
from ullage.compiler.ir.program import DMA_STEP, Use

Break = Callable[[Plan, Random], Plan | None]
TRIES = 500  # uses looked at before a mutation gives up on a large plan


@dataclass(frozen=True, slots=True)
class Mutation:
    """One way to break a plan.

    Attributes:
        apply: returns the broken plan, None where the plan offers no place for it.
        rules: rules of which the verifier must report at least one.
    """

    apply: Break
    rules: frozenset[str]


MUTATIONS: dict[str, Mutation] = {}


def _breaks(*rules: str) -> Callable[[Break], Break]:
    def register(function: Break) -> Break:
        name = function.__name__.removeprefix("_").replace("_", "-")
        MUTATIONS[name] = Mutation(function, frozenset(rules))
        return function

    return register


def _pick(random: Random, count: int) -> list[int]:
    """Some of the indices below count, in random order."""
    return random.sample(range(count), min(count, TRIES))


def _with_residency(plan: Plan, index: int, **changes: Any) -> Plan:
    items = list(plan.residencies)
    items[index] = replace(items[index], **changes)
    return replace(plan, residencies=tuple(items))


def _with_transfer(plan: Plan, index: int, **changes: Any) -> Plan:
    items = list(plan.transfers)
    items[index] = replace(items[index], **changes)
    return replace(plan, transfers=tuple(items))


def _without_residency(plan: Plan, index: int) -> Plan:
    items = plan.residencies
    return replace(plan, residencies=items[:index] + items[index + 1 :])


def _with_step(plan: Plan, t: int, **changes: Any) -> Plan:
    steps = list(plan.problem.steps)
    steps[t] = replace(steps[t], **changes)
    return replace(plan, problem=with_program(plan.problem, steps=tuple(steps)))


def _with_tier(plan: Plan, name: str, **changes: Any) -> Plan:
    tiers = tuple(
        replace(tier, **changes) if tier.name == name else tier for tier in plan.target.tiers
    )
    return with_target(plan, replace(plan.target, tiers=tiers))


def _uses(plan: Plan, random: Random) -> Iterator[tuple[int, int, Use]]:
    """Some (step, position, use) with bytes, in random order."""
    found = [
        (t, i)
        for t, step in enumerate(plan.problem.steps)
        for i, use in enumerate(step.uses)
        if use.start_byte < use.end_byte
    ]
    for index in _pick(random, len(found)):
        t, i = found[index]
        yield t, i, plan.problem.steps[t].uses[i]


def _holders(plan: Plan, buffer: int, byte: int, t: int) -> list[int]:
    """Residencies that have a byte ready at a step, fastest tier first."""
    found = [
        i
        for i, item in enumerate(plan.residencies)
        if item.buffer == buffer
        and item.start_byte <= byte < item.end_byte
        and item.ready <= t < item.end
    ]
    return sorted(found, key=lambda i: plan.target.tier_index[plan.residencies[i].tier])


def _destinations(plan: Plan, move: Transfer) -> list[int]:
    """Residencies that take the first byte of a transfer: one in a legal plan."""
    first = move.moves[0][0]
    return [
        i
        for i, item in enumerate(plan.residencies)
        if (item.buffer, item.tier) == (move.buffer, move.destination)
        and item.start_byte <= move.start_byte < item.end_byte
        and item.start <= first < item.ready
    ]


def _size(item: Residency | Transfer) -> int:
    return item.end_byte - item.start_byte


def _aligned(plan: Plan, tier: str, address: int) -> int:
    alignment = plan.target.tier(tier).alignment_bytes
    return -(-address // alignment) * alignment


def _is_cut_allowed(plan: Plan, buffer: int, cut: int) -> bool:
    item = plan.problem.buffers[buffer]
    ends = {0, item.size_bytes}
    ends.update(end for value in item.values for end in (value.start_byte, value.end_byte))
    ends.update(
        end for _, use in plan.problem.uses_of[buffer] for end in (use.start_byte, use.end_byte)
    )
    return cut in ends or cut % (plan.target.slice_granularity_bytes or item.row_bytes) == 0


# Space


@_breaks("overlap")
def _overlap(plan: Plan, random: Random) -> Plan | None:
    for one in _pick(random, len(plan.residencies)):
        item = plan.residencies[one]
        for two in _pick(random, len(plan.residencies)):
            other = plan.residencies[two]
            together = item.start < other.end and other.start < item.end
            if one != two and item.tier == other.tier and together:
                return _with_residency(plan, one, offset=other.offset)
    return None


@_breaks("overlap", "duplicate")
def _space_reused_early(plan: Plan, random: Random) -> Plan | None:
    """Keep a residency for one step more where another takes its space."""
    for one in _pick(random, len(plan.residencies)):
        item = plan.residencies[one]
        for other in plan.residencies:
            if (
                other.tier == item.tier
                and other.start == item.end
                and other.offset < item.offset + _size(item)
                and item.offset < other.offset + _size(other)
            ):
                return _with_residency(plan, one, end=item.end + 1)
    return None


@_breaks("alignment")
def _misaligned(plan: Plan, random: Random) -> Plan | None:
    for i in _pick(random, len(plan.residencies)):
        item = plan.residencies[i]
        if plan.target.tier(item.tier).alignment_bytes > 1:
            return _with_residency(plan, i, offset=item.offset + 1)
    return None


@_breaks("capacity")
def _beyond_capacity(plan: Plan, random: Random) -> Plan | None:
    for i in _pick(random, len(plan.residencies)):
        item = plan.residencies[i]
        lowest = plan.target.tier(item.tier).capacity_bytes - _size(item) + 1
        return _with_residency(plan, i, offset=_aligned(plan, item.tier, max(lowest, 0)))
    return None


@_breaks("capacity")
def _smaller_tier(plan: Plan, random: Random) -> Plan | None:
    for i in _pick(random, len(plan.residencies)):
        item = plan.residencies[i]
        return _with_tier(plan, item.tier, capacity_bytes=item.offset + _size(item) - 1)
    return None


@_breaks("workspace")
def _workspace_overflow(plan: Plan, random: Random) -> Plan | None:
    fast = plan.target.fastest
    for t in _pick(random, len(plan.problem.steps)):
        if plan.problem.steps[t].kind != DMA_STEP:
            top = max(
                (
                    item.offset + _size(item)
                    for item in plan.residencies
                    if item.tier == fast.name and item.start <= t < item.end
                ),
                default=0,
            )
            return _with_step(plan, t, workspace_bytes=fast.capacity_bytes - top + 1)
    return None


@_breaks("duplicate")
def _same_byte_twice(plan: Plan, random: Random) -> Plan | None:
    for i in _pick(random, len(plan.residencies)):
        item = plan.residencies[i]
        top = max(
            other.offset + _size(other) for other in plan.residencies if other.tier == item.tier
        )
        copy = replace(item, offset=_aligned(plan, item.tier, top))
        return replace(plan, residencies=(*plan.residencies, copy))
    return None


@_breaks("granularity")
def _cut_residency(plan: Plan, random: Random) -> Plan | None:
    for i in _pick(random, len(plan.residencies)):
        item = plan.residencies[i]
        for cut in range(item.start_byte + 1, min(item.end_byte, item.start_byte + 300)):
            if not _is_cut_allowed(plan, item.buffer, cut):
                two = replace(item, start_byte=cut, offset=item.offset + cut - item.start_byte)
                cut_plan = _with_residency(plan, i, end_byte=cut)
                return replace(cut_plan, residencies=(*cut_plan.residencies, two))
    return None


@_breaks("granularity")
def _cut_transfer(plan: Plan, random: Random) -> Plan | None:
    for i in _pick(random, len(plan.transfers)):
        item = plan.transfers[i]
        for cut in range(item.start_byte + 1, min(item.end_byte, item.start_byte + 300)):
            if not _is_cut_allowed(plan, item.buffer, cut):
                last = item.moves[-1][0]
                one = replace(item, end_byte=cut, moves=((last, cut - item.start_byte),))
                two = replace(item, start_byte=cut, moves=((last, item.end_byte - cut),))
                rest = plan.transfers[:i] + plan.transfers[i + 1 :]
                return replace(plan, transfers=(*rest, one, two))
    return None


@_breaks("split-operand")
def _split_operand(plan: Plan, random: Random) -> Plan | None:
    """Put the second half of an operand elsewhere on a target that wants it in one piece."""
    if plan.target.split_operands:
        return None
    for t, _, use in _uses(plan, random):
        i = _holders(plan, use.buffer, use.start_byte, t)[0]
        item = plan.residencies[i]
        for cut in range(use.start_byte + 1, min(use.end_byte, item.end_byte)):
            if _is_cut_allowed(plan, use.buffer, cut):
                alignment = plan.target.tier(item.tier).alignment_bytes
                offset = _aligned(plan, item.tier, item.offset + cut - item.start_byte) + alignment
                two = replace(item, start_byte=cut, offset=offset)
                cut_plan = _with_residency(plan, i, end_byte=cut)
                return replace(cut_plan, residencies=(*cut_plan.residencies, two))
    return None


# Operands


@_breaks("not-resident")
def _early_free(plan: Plan, random: Random) -> Plan | None:
    for t, _, use in _uses(plan, random):
        holders = _holders(plan, use.buffer, use.start_byte, t)
        if len(holders) == 1 and plan.residencies[holders[0]].start < t:
            item = plan.residencies[holders[0]]
            if item.ready <= t:
                return _with_residency(plan, holders[0], end=t)
    return None


@_breaks("not-resident")
def _operand_nowhere(plan: Plan, random: Random) -> Plan | None:
    for t, _, use in _uses(plan, random):
        holders = _holders(plan, use.buffer, use.start_byte, t)
        if len(holders) == 1:
            return _without_residency(plan, holders[0])
    return None


@_breaks("not-resident")
def _taken_late(plan: Plan, random: Random) -> Plan | None:
    """Take the space for a result only one step after it is written."""
    for t, _, use in _uses(plan, random):
        holders = _holders(plan, use.buffer, use.start_byte, t)
        if use.write and len(holders) == 1:
            item = plan.residencies[holders[0]]
            if item.start == item.ready == t and t + 1 < item.end:
                return _with_residency(plan, holders[0], start=t + 1, ready=t + 1)
    return None


@_breaks("wrong-tier")
def _wrong_tier(plan: Plan, random: Random) -> Plan | None:
    slower = plan.target.tiers[1:]
    for t, _, use in _uses(plan, random):
        if slower and plan.target.must_be_fastest(plan.problem.buffers[use.buffer].kind):
            holders = _holders(plan, use.buffer, use.start_byte, t)
            tier = random.choice(slower)
            return _with_residency(plan, holders[0], tier=tier.name)
    return None


@_breaks("not-addressable", "wrong-tier")
def _not_addressable(plan: Plan, random: Random) -> Plan | None:
    for t, _, use in _uses(plan, random):
        item = plan.residencies[_holders(plan, use.buffer, use.start_byte, t)[0]]
        if item.tier != plan.target.fastest.name:
            return _with_tier(plan, item.tier, addressable=False)
    return None


@_breaks("wrong-tier")
def _fastest_demanded(plan: Plan, random: Random) -> Plan | None:
    for t, _, use in _uses(plan, random):
        item = plan.residencies[_holders(plan, use.buffer, use.start_byte, t)[0]]
        if item.tier != plan.target.fastest.name:
            target = replace(plan.target, operand_access="fastest", weights_in_fastest=True)
            return with_target(plan, target)
    return None


@_breaks("stale-read")
def _stale_after_write(plan: Plan, random: Random) -> Plan | None:
    """Free the tier that was written to, so that a later read finds an older copy."""
    for t, _, use in _uses(plan, random):
        byte = use.start_byte
        holders = _holders(plan, use.buffer, byte, t)
        if not use.write or len(holders) < 2:
            continue
        written, older = holders[:2]
        for later, reader in plan.problem.uses_of[use.buffer]:
            if later <= t or not reader.start_byte <= byte < reader.end_byte:
                continue
            if reader.write:
                break
            if _holders(plan, use.buffer, byte, later)[:2] == [written, older]:
                return _with_residency(plan, written, end=t + 1)
    return None


@_breaks("read-only")
def _operator_writes_read_only(plan: Plan, random: Random) -> Plan | None:
    for t, _, use in _uses(plan, random):
        if use.write:
            item = plan.residencies[_holders(plan, use.buffer, use.start_byte, t)[0]]
            return _with_tier(plan, item.tier, read_only=True)
    return None


# Transfers


@_breaks("unfilled")
def _missing_transfer(plan: Plan, random: Random) -> Plan | None:
    for i in _pick(random, len(plan.transfers)):
        return replace(plan, transfers=plan.transfers[:i] + plan.transfers[i + 1 :])
    return None


@_breaks("no-link")
def _no_link(plan: Plan, random: Random) -> Plan | None:
    for i in _pick(random, len(plan.transfers)):
        gone = (plan.transfers[i].source, plan.transfers[i].destination)
        links = tuple(link for link in plan.target.links if (link.source, link.destination) != gone)
        return with_target(plan, replace(plan.target, links=links))
    return None


@_breaks("read-only")
def _transfer_to_read_only(plan: Plan, random: Random) -> Plan | None:
    for i in _pick(random, len(plan.transfers)):
        return _with_tier(plan, plan.transfers[i].destination, read_only=True)
    return None


@_breaks("moved-bytes")
def _moved_too_few(plan: Plan, random: Random) -> Plan | None:
    for i in _pick(random, len(plan.transfers)):
        (t, moved_bytes), *rest = plan.transfers[i].moves
        return _with_transfer(plan, i, moves=((t, moved_bytes - 1), *rest))
    return None


@_breaks("moved-bytes")
def _moved_too_many(plan: Plan, random: Random) -> Plan | None:
    for i in _pick(random, len(plan.transfers)):
        (t, moved_bytes), *rest = plan.transfers[i].moves
        return _with_transfer(plan, i, moves=((t, moved_bytes + 1), *rest))
    return None


@_breaks("moved-bytes")
def _moved_nothing(plan: Plan, random: Random) -> Plan | None:
    for i in _pick(random, len(plan.transfers)):
        moves = plan.transfers[i].moves
        if moves[0][0] > 0:
            return _with_transfer(plan, i, moves=((moves[0][0] - 1, 0), *moves))
    return None


@_breaks("transfer-order")
def _moves_swapped(plan: Plan, random: Random) -> Plan | None:
    for i in _pick(random, len(plan.transfers)):
        moves = plan.transfers[i].moves
        if len(moves) > 1:
            return _with_transfer(plan, i, moves=(moves[-1], *moves[1:-1], moves[0]))
    return None


@_breaks("transfer-order")
def _step_twice(plan: Plan, random: Random) -> Plan | None:
    for i in _pick(random, len(plan.transfers)):
        (t, moved_bytes), *rest = plan.transfers[i].moves
        if moved_bytes > 1:
            return _with_transfer(plan, i, moves=((t, 1), (t, moved_bytes - 1), *rest))
    return None


@_breaks("early-ready", "transfer-destination")
def _moved_too_late(plan: Plan, random: Random) -> Plan | None:
    for i in _pick(random, len(plan.transfers)):
        move = plan.transfers[i]
        ready = max(plan.residencies[j].ready for j in _destinations(plan, move))
        if ready < len(plan.problem.steps):
            return _with_transfer(plan, i, moves=((ready, _size(move)),))
    return None


@_breaks("early-ready")
def _ready_too_early(plan: Plan, random: Random) -> Plan | None:
    for i in _pick(random, len(plan.residencies)):
        item = plan.residencies[i]
        if item.ready > item.start:
            return _with_residency(plan, i, ready=item.ready - 1)
    return None


@_breaks("late-ready")
def _ready_too_late(plan: Plan, random: Random) -> Plan | None:
    for i in _pick(random, len(plan.residencies)):
        item = plan.residencies[i]
        if item.start < item.ready < item.end:
            return _with_residency(plan, i, ready=item.ready + 1)
    return None


@_breaks("unfilled")
def _ready_without_transfer(plan: Plan, random: Random) -> Plan | None:
    for i in _pick(random, len(plan.residencies)):
        item = plan.residencies[i]
        if item.ready == item.start:
            return _with_residency(plan, i, ready=item.start + 1)
    return None


@_breaks("transfer-destination")
def _destination_taken_late(plan: Plan, random: Random) -> Plan | None:
    for i in _pick(random, len(plan.transfers)):
        move = plan.transfers[i]
        first = move.moves[0][0]
        for j in _destinations(plan, move):
            if first + 1 < plan.residencies[j].end:
                return _with_residency(plan, j, start=first + 1)
    return None


@_breaks("transfer-source")
def _source_freed_early(plan: Plan, random: Random) -> Plan | None:
    for i in _pick(random, len(plan.transfers)):
        move = plan.transfers[i]
        last = move.moves[-1][0]
        for j in _holders(plan, move.buffer, move.start_byte, last):
            item = plan.residencies[j]
            if item.tier == move.source and item.start < last and item.ready <= last:
                return _with_residency(plan, j, end=last)
    return None


@_breaks("write-during-move")
def _moved_while_written(plan: Plan, random: Random) -> Plan | None:
    for i in _pick(random, len(plan.transfers)):
        item = plan.transfers[i]
        for t, use in plan.problem.uses_of[item.buffer]:
            if use.write and use.start_byte < item.end_byte and item.start_byte < use.end_byte:
                return _with_transfer(plan, i, moves=((t, _size(item)),))
    return None


@_breaks("transfer-source")
def _moved_before_written(plan: Plan, random: Random) -> Plan | None:
    """Move data that its operator has not made yet."""
    for i in _pick(random, len(plan.transfers)):
        item = plan.transfers[i]
        if plan.problem.buffers[item.buffer].kind in ("activation", "output"):
            return _with_transfer(plan, i, moves=((0, _size(item)),))
    return None


@_breaks("transfer-source")
def _stale_source(plan: Plan, random: Random) -> Plan | None:
    """Let another tier be written instead of the one that a transfer reads afterwards."""
    for i in _pick(random, len(plan.transfers)):
        move = plan.transfers[i]
        kind = plan.problem.buffers[move.buffer].kind
        source = plan.target.tier_index[move.source]
        writes = [
            t
            for t, use in plan.problem.uses_of[move.buffer]
            if use.write and use.start_byte <= move.start_byte < use.end_byte
        ]
        if kind == "weight" or not writes or writes[0] >= move.moves[0][0] or source == 0:
            continue
        # A copy in the fastest tier takes the last write before the move.
        t = max(step for step in writes if step < move.moves[0][0])
        if len(_holders(plan, move.buffer, move.start_byte, t)) != 1:
            continue
        copy = Residency(
            move.buffer,
            move.start_byte,
            move.end_byte,
            plan.target.fastest.name,
            0,
            t,
            t,
            t + 1,
        )
        held = _holders(plan, move.buffer, move.start_byte, t)[0]
        if plan.residencies[held].tier == move.source:
            return replace(plan, residencies=(*plan.residencies, copy))
    return None


# Beginning and end


@_breaks("home")
def _no_home(plan: Plan, random: Random) -> Plan | None:
    for i in _initial(plan, random):
        return _without_residency(plan, i)
    return None


@_breaks("home")
def _home_late(plan: Plan, random: Random) -> Plan | None:
    for i in _initial(plan, random):
        if plan.residencies[i].end > 1:
            return _with_residency(plan, i, start=1, ready=1)
    return None


@_breaks("home")
def _home_elsewhere(plan: Plan, random: Random) -> Plan | None:
    for i in _initial(plan, random):
        others = [tier.name for tier in plan.target.tiers if tier.name != plan.residencies[i].tier]
        if others:
            return _with_residency(plan, i, tier=random.choice(others))
    return None


def _initial(plan: Plan, random: Random) -> Iterator[int]:
    for i in _pick(random, len(plan.residencies)):
        item = plan.residencies[i]
        kind = plan.problem.buffers[item.buffer].kind
        is_home = item.tier == plan.target.homes[kind]
        if kind in ("input", "weight") and item.ready == 0 and is_home:
            yield i


@_breaks("output-lost")
def _output_freed(plan: Plan, random: Random) -> Plan | None:
    for i in _stored_outputs(plan, random):
        item = plan.residencies[i]
        if item.start < item.end - 1 and item.ready < item.end:
            return _with_residency(plan, i, end=item.end - 1)
    return None


@_breaks("output-lost")
def _output_dropped(plan: Plan, random: Random) -> Plan | None:
    for i in _stored_outputs(plan, random):
        return _without_residency(plan, i)
    return None


@_breaks("output-lost")
def _output_not_stored(plan: Plan, random: Random) -> Plan | None:
    for i in _stored_outputs(plan, random):
        others = [tier.name for tier in plan.target.tiers if tier.name != plan.residencies[i].tier]
        if others:
            return _with_residency(plan, i, tier=random.choice(others))
    return None


def _stored_outputs(plan: Plan, random: Random) -> Iterator[int]:
    for i in _pick(random, len(plan.residencies)):
        item = plan.residencies[i]
        buffer = plan.problem.buffers[item.buffer]
        is_output = any(
            max(low, item.start_byte) < min(high, item.end_byte) for low, high in buffer.outputs
        )
        is_last = item.end == len(plan.problem.steps)
        if is_output and is_last and item.tier == plan.target.homes[buffer.kind]:
            yield i


# Steady state


def _carried(plan: Plan, random: Random) -> Iterator[int]:
    """Residencies in which a weight is carried into an inference, elsewhere than at home."""
    for i in _pick(random, len(plan.residencies)):
        item = plan.residencies[i]
        is_weight = plan.problem.buffers[item.buffer].kind == "weight"
        is_carried = plan.problem.steady_state and item.start == item.ready == 0
        if is_weight and is_carried and item.tier != plan.target.homes["weight"]:
            yield i


def _leaving(plan: Plan, carried: int) -> list[int]:
    """Residencies that end with bytes of a carried one where it begins with them."""
    item = plan.residencies[carried]
    return [
        i
        for i, other in enumerate(plan.residencies)
        if (other.buffer, other.tier) == (item.buffer, item.tier)
        and other.end == len(plan.problem.steps)
        and max(other.start_byte, item.start_byte) < min(other.end_byte, item.end_byte)
    ]


def _elsewhere(plan: Plan, item: Residency) -> int | None:
    """Another address at which it would fit, next to its own."""
    tier = plan.target.tier(item.tier)
    for offset in (item.offset + tier.alignment_bytes, item.offset - tier.alignment_bytes):
        if 0 <= offset <= tier.capacity_bytes - _size(item):
            return offset
    return None


@_breaks("wrap")
def _carried_to_another_address(plan: Plan, random: Random) -> Plan | None:
    for i in _carried(plan, random):
        offset = _elsewhere(plan, plan.residencies[i])
        if i not in _leaving(plan, i) and offset is not None:
            return _with_residency(plan, i, offset=offset)
    return None


@_breaks("wrap")
def _left_at_another_address(plan: Plan, random: Random) -> Plan | None:
    for i in _carried(plan, random):
        for j in _leaving(plan, i):
            offset = _elsewhere(plan, plan.residencies[j])
            if j != i and offset is not None:
                return _with_residency(plan, j, offset=offset)
    return None


@_breaks("wrap")
def _gone_before_the_end(plan: Plan, random: Random) -> Plan | None:
    for i in _carried(plan, random):
        for j in _leaving(plan, i):
            other = plan.residencies[j]
            if max(other.start + 1, other.ready) < other.end:
                return _with_residency(plan, j, end=other.end - 1)
    return None


@_breaks("wrap")
def _not_filled_for_the_next(plan: Plan, random: Random) -> Plan | None:
    """Reserve the space at the end, but bring nothing there."""
    for i in _carried(plan, random):
        for j in _leaving(plan, i):
            other = plan.residencies[j]
            if j == i:
                continue
            kept = tuple(m for m in plan.transfers if j not in _destinations(plan, m))
            empty = _with_residency(plan, j, ready=other.start)
            return replace(empty, transfers=kept)
    return None


@_breaks("wrap")
def _home_not_kept(plan: Plan, random: Random) -> Plan | None:
    for i in _initial(plan, random):
        item = plan.residencies[i]
        is_weight = plan.problem.buffers[item.buffer].kind == "weight"
        if plan.problem.steady_state and is_weight and item.end == len(plan.problem.steps):
            return _with_residency(plan, i, end=item.end - 1)
    return None


@_breaks("stale-read", "transfer-source")
def _carried_in_a_single_inference(plan: Plan, random: Random) -> Plan | None:
    for i in _carried(plan, random):
        item = plan.residencies[i]
        for t, use in plan.problem.uses_of[item.buffer]:
            byte = max(use.start_byte, item.start_byte)
            holders = _holders(plan, item.buffer, byte, t)
            if byte < min(use.end_byte, item.end_byte) and holders[0] == i:
                return replace(plan, problem=with_program(plan.problem, steady_state=False))
    return None


@_breaks("stale-read")
def _input_carried(plan: Plan, random: Random) -> Plan | None:
    """Say that an input is in fast memory from the beginning, as weights may be."""
    fast = plan.target.fastest
    for t, _, use in _uses(plan, random):
        buffer = plan.problem.buffers[use.buffer]
        first = plan.problem.uses_of[use.buffer][0]
        holders = _holders(plan, use.buffer, use.start_byte, t)
        if buffer.kind != "input" or first != (t, use) or use.write:
            continue
        if any(r.buffer == use.buffer and r.tier == fast.name for r in plan.residencies):
            continue
        live = [r for r in plan.residencies if r.tier == fast.name and r.start <= t]
        top = max((r.offset + _size(r) for r in live), default=0)
        offset = _aligned(plan, fast.name, top)
        if holders and offset + buffer.size_bytes <= fast.capacity_bytes:
            copy = Residency(use.buffer, 0, buffer.size_bytes, fast.name, offset, 0, 0, t + 1)
            return replace(plan, residencies=(*plan.residencies, copy))
    return None


# Problem


@_breaks("problem")
def _accessed_too_much(plan: Plan, random: Random) -> Plan | None:
    for t, i, use in _uses(plan, random):
        uses = list(plan.problem.steps[t].uses)
        uses[i] = replace(use, accessed_bytes=use.end_byte - use.start_byte + 1)
        return _with_step(plan, t, uses=tuple(uses))
    return None


@_breaks("problem")
def _weight_written(plan: Plan, random: Random) -> Plan | None:
    for t, _, use in _uses(plan, random):
        if plan.problem.buffers[use.buffer].kind == "weight":
            uses = (*plan.problem.steps[t].uses, replace(use, write=True))
            return _with_step(plan, t, uses=uses)
    return None


@_breaks("problem")
def _read_before_written(plan: Plan, random: Random) -> Plan | None:
    for t, i, use in _uses(plan, random):
        if not use.write or plan.problem.buffers[use.buffer].kind == "input":
            continue
        byte = use.start_byte
        uses = [
            (later, other)
            for later, other in plan.problem.uses_of[use.buffer]
            if other.start_byte <= byte < other.end_byte and (later, other) != (t, use)
        ]
        if uses and not any(other.write for _, other in uses):
            kept = plan.problem.steps[t].uses
            return _with_step(plan, t, uses=kept[:i] + kept[i + 1 :])
    return None


@_breaks("problem")
def _no_first_dma_step(plan: Plan, random: Random) -> Plan | None:
    t = random.choice((0, len(plan.problem.steps) - 1))
    return _with_step(plan, t, kind="Identity")


@_breaks("problem")
def _work_in_dma_step(plan: Plan, random: Random) -> Plan | None:
    t = random.choice((0, len(plan.problem.steps) - 1))
    return _with_step(plan, t, macs=1)


# Garbage


def _garbled(name: str, change: Callable[[Plan, Residency], dict[str, Any]]) -> None:
    def apply(plan: Plan, random: Random) -> Plan | None:
        for i in _pick(random, len(plan.residencies)):
            return _with_residency(plan, i, **change(plan, plan.residencies[i]))
        return None

    MUTATIONS[name] = Mutation(apply, frozenset({"malformed"}))


_garbled("buffer-out-of-range", lambda plan, _: {"buffer": len(plan.problem.buffers)})
_garbled("buffer-negative", lambda _plan, _item: {"buffer": -1})
_garbled("offset-negative", lambda _plan, _item: {"offset": -4})
_garbled("offset-nan", lambda _plan, _item: {"offset": math.nan})
_garbled("bytes-reversed", lambda _, item: {"start_byte": item.end_byte, "end_byte": 0})
_garbled(
    "bytes-beyond-buffer",
    lambda plan, item: {"end_byte": plan.problem.buffers[item.buffer].size_bytes + 1},
)
_garbled("steps-reversed", lambda _, item: {"start": item.end, "end": item.start})
_garbled("residency-past-the-end", lambda plan, _: {"end": len(plan.problem.steps) + 1})
_garbled("unknown-tier", lambda _plan, _item: {"tier": "cellar"})
_garbled("tier-unhashable", lambda _plan, _item: {"tier": ["sram"]})
_garbled("ready-missing", lambda _plan, _item: {"ready": None})


@_breaks("malformed")
def _move_past_the_end(plan: Plan, random: Random) -> Plan | None:
    for i in _pick(random, len(plan.transfers)):
        moves = plan.transfers[i].moves
        late = (len(plan.problem.steps), moves[-1][1])
        return _with_transfer(plan, i, moves=(*moves[:-1], late))
    return None


@_breaks("malformed")
def _garbled_moves(plan: Plan, random: Random) -> Plan | None:
    garbage = random.choice((None, (1, 2), ((0, 1, 2),), ((0, 1.5),), (("0", 4),), "moves"))
    for i in _pick(random, len(plan.transfers)):
        return _with_transfer(plan, i, moves=garbage)
    return None


@_breaks("malformed")
def _use_of_unknown_buffer(plan: Plan, random: Random) -> Plan | None:
    for t, i, use in _uses(plan, random):
        uses = list(plan.problem.steps[t].uses)
        uses[i] = replace(use, buffer=len(plan.problem.buffers))
        return _with_step(plan, t, uses=tuple(uses))
    return None
