"""A slow, obvious verifier: every byte at every step, in dictionaries. For tiny plans only.

It shares nothing with `ullage.compiler.verify.verifier` but the artefacts, and only says whether a
well-formed plan is legal.
"""

from ullage.compiler.ir.plan import Plan, Residency, Transfer
from ullage.compiler.ir.program import DMA_STEP

# Content of a byte that is still to be written, in a tensor of which parts have been written.
NOT_YET = "not yet"


def fault_of(plan: Plan) -> str:
    """The first broken rule met, in a few words; empty when the plan is legal."""
    found = _shape(plan) or _problem(plan) or _space(plan) or _slices(plan) or _replay(plan)
    return found or _wrap(plan)


def _shape(plan: Plan) -> str:
    last, buffers = len(plan.problem.steps), plan.problem.buffers
    tiers = {tier.name for tier in plan.target.tiers}
    for item in (*plan.residencies, *plan.transfers):
        if item.buffer not in range(len(buffers)):
            return "buffer"
        if not 0 <= item.start_byte < item.end_byte <= buffers[item.buffer].size_bytes:
            return "bytes"
    for item in plan.residencies:
        if item.tier not in tiers or item.offset < 0:
            return "place"
        if not (0 <= item.start <= item.ready <= item.end <= last and item.start < item.end):
            return "steps"
    for move in plan.transfers:
        if not {move.source, move.destination} <= tiers:
            return "tiers"
        if any(t not in range(last) for t, _ in move.moves):
            return "step of a move"
    return ""


def _problem(plan: Plan) -> str:
    steps, buffers = plan.problem.steps, plan.problem.buffers
    if not steps or steps[0].kind != DMA_STEP or steps[-1].kind != DMA_STEP:
        return "first or last step"
    for t, step in enumerate(steps):
        if step.kind == DMA_STEP and (step.uses or step.macs or step.workspace_bytes):
            return "DMA-only step with work"
        for use in step.uses:
            if not 0 <= use.accessed_bytes <= use.end_byte - use.start_byte:
                return "accessed bytes"
            if use.write and buffers[use.buffer].kind == "weight":
                return "weight written"
        # Two operators with fewer than two DMA-only steps between them.
        crowded = any(other.kind != DMA_STEP for other in steps[t + 1 : t + 3])
        if plan.target.dma_steps.between and step.kind != DMA_STEP and crowded:
            return "no room for DMA"
    return ""


def _space(plan: Plan) -> str:
    for t, step in enumerate(plan.problem.steps):
        for tier in plan.target.tiers:
            used: set[int] = set()
            held: set[tuple[int, int]] = set()
            for item in plan.residencies:
                if item.tier != tier.name or not item.start <= t < item.end:
                    continue
                if item.offset % tier.alignment_bytes:
                    return "alignment"
                for byte in range(item.start_byte, item.end_byte):
                    address = item.offset + byte - item.start_byte
                    if address in used or (item.buffer, byte) in held:
                        return "overlap or duplicate"
                    if address >= tier.capacity_bytes:
                        return "capacity"
                    used.add(address)
                    held.add((item.buffer, byte))
            if tier is plan.target.fastest and step.workspace_bytes:
                if len(used) + step.workspace_bytes > tier.capacity_bytes:
                    return "workspace, bytes"
                if max(used, default=-1) + 1 + step.workspace_bytes > tier.capacity_bytes:
                    return "workspace, addresses"
    return ""


def _slices(plan: Plan) -> str:
    for item in (*plan.residencies, *plan.transfers):
        buffer = plan.problem.buffers[item.buffer]
        for cut in (item.start_byte, item.end_byte):
            allowed = cut in (0, buffer.size_bytes)
            allowed |= any(cut in (value.start_byte, value.end_byte) for value in buffer.values)
            for step in plan.problem.steps:
                for use in step.uses:
                    if use.buffer == item.buffer:
                        allowed |= cut in (use.start_byte, use.end_byte)
            allowed |= cut % (plan.target.slice_granularity_bytes or buffer.row_bytes) == 0
            if not allowed:
                return "granularity"
    for move in plan.transfers:
        if plan.target.link(move.source, move.destination) is None:
            return "link"
        if plan.target.tier(move.destination).read_only:
            return "read-only"
        steps = [t for t, _ in move.moves]
        if steps != sorted(set(steps)) or any(count <= 0 for _, count in move.moves):
            return "moves"
        if sum(count for _, count in move.moves) != move.end_byte - move.start_byte:
            return "sum of moves"
    return ""


def _covers(item: Residency, buffer: int, byte: int, tier: str) -> bool:
    return (item.buffer, item.tier) == (buffer, tier) and item.start_byte <= byte < item.end_byte


def _replay(plan: Plan) -> str:
    """Follow every byte: `truth` is what it holds, `copies` what each residency holds of it."""
    truth: dict[tuple[int, int], str] = {}
    copies: dict[tuple[int, int], str] = {}
    for b, buffer in enumerate(plan.problem.buffers):
        if buffer.kind not in ("input", "weight", "state"):
            continue
        for byte in range(buffer.size_bytes):
            truth[b, byte] = "initial"
            homes = [
                i
                for i, item in enumerate(plan.residencies)
                if _covers(item, b, byte, plan.target.home(buffer.kind).name)
                and item.start == item.ready == 0
            ]
            if not homes:
                return "home"
            copies[homes[0], byte] = "initial"
            for i, item in enumerate(plan.residencies):
                is_carried = plan.problem.steady_state and (
                    buffer.kind == "weight" or (buffer.kind == "state" and not _grows(plan, b))
                )
                if (
                    is_carried
                    and _covers(item, b, byte, item.tier)
                    and item.start == item.ready == 0
                ):
                    copies[i, byte] = "initial"
    for t in range(len(plan.problem.steps) + 1):
        fault = _arrivals(plan, t, truth, copies)
        if fault or t == len(plan.problem.steps):
            return fault or _outputs(plan, truth, copies) or _carried(plan, truth, copies)
        moved: dict[tuple[int, int], str] = {}
        for move in plan.transfers:
            fault = fault or _move(plan, t, move, truth, copies, moved)
        fault = fault or _operator(plan, t, truth, copies)
        if fault:
            return fault
        copies.update(moved)
    raise AssertionError


def _arrivals(
    plan: Plan, t: int, truth: dict[tuple[int, int], str], copies: dict[tuple[int, int], str]
) -> str:
    for i, item in enumerate(plan.residencies):
        if item.ready != t or item.ready == item.start:
            continue
        for byte in range(item.start_byte, item.end_byte):
            if (i, byte) not in copies or copies[i, byte] != truth.get(
                (item.buffer, byte), NOT_YET
            ):
                return "not filled"
        lasts = [
            move.moves[-1][0]
            for move in plan.transfers
            if (move.buffer, move.destination) == (item.buffer, item.tier)
            and move.start_byte < item.end_byte
            and item.start_byte < move.end_byte
            and item.start <= move.moves[0][0]
            and move.moves[-1][0] < item.end
        ]
        # Empty where a transfer goes on after the residency has ended.
        if max(lasts, default=-1) + 1 != item.ready:
            return "not ready when filled"
    return ""


def _move(
    plan: Plan,
    t: int,
    move: Transfer,
    truth: dict[tuple[int, int], str],
    copies: dict[tuple[int, int], str],
    moved: dict[tuple[int, int], str],
) -> str:
    before = sum(count for step, count in move.moves if step < t)
    now = dict(move.moves).get(t)
    if now is None:
        return ""
    moving = set(range(move.start_byte, move.end_byte))
    for use in plan.problem.steps[t].uses:
        touched = set(range(use.start_byte, use.end_byte)) if use.write else set()
        if use.buffer == move.buffer and touched & moving:
            return "written while it moves"
    for byte in range(move.start_byte, move.end_byte):
        sources = [
            i
            for i, item in enumerate(plan.residencies)
            if _covers(item, move.buffer, byte, move.source) and item.ready <= t < item.end
        ]
        places = [
            i
            for i, item in enumerate(plan.residencies)
            if _covers(item, move.buffer, byte, move.destination) and item.start <= t < item.ready
        ]
        if not sources or not places:
            return "source or destination"
        content = copies.get((sources[0], byte))
        if content is None or content != truth.get((move.buffer, byte), NOT_YET):
            return "stale source"
        if before <= byte - move.start_byte < before + now:
            moved[places[0], byte] = content
    return ""


def _operator(
    plan: Plan, t: int, truth: dict[tuple[int, int], str], copies: dict[tuple[int, int], str]
) -> str:
    step = plan.problem.steps[t]
    for use in sorted(step.uses, key=lambda use: use.write):
        kind = plan.problem.buffers[use.buffer].kind
        places = set()
        for byte in range(use.start_byte, use.end_byte):
            holders = [
                (tier, i)
                for tier in plan.target.tiers
                for i, item in enumerate(plan.residencies)
                if _covers(item, use.buffer, byte, tier.name) and item.ready <= t < item.end
            ]
            if not holders:
                return "not resident"
            tier, i = holders[0]
            places.add((tier.name, plan.residencies[i].offset - plan.residencies[i].start_byte))
            is_reachable = tier.addressable and not plan.target.must_be_fastest(kind)
            pairs = [(link.source, link.destination) for link in plan.target.links]
            if use.look_up and kind == "weight" and not use.write:
                is_reachable |= (tier.name, plan.target.fastest.name) in pairs
            if tier is not plan.target.fastest and not is_reachable:
                return "wrong tier"
            if use.write and tier.read_only:
                return "read-only"
            if use.write and not plan.target.split_operands:  # the tensor lies there, all of it
                item = plan.residencies[i]
                for other in range(item.start_byte, item.end_byte):
                    if (use.buffer, other) not in truth:
                        copies.setdefault((i, other), NOT_YET)
            if use.write:
                truth[use.buffer, byte] = copies[i, byte] = f"written at {t}"
            elif (use.buffer, byte) not in truth:
                return "read before written"
            elif copies.get((i, byte)) != truth[use.buffer, byte]:
                return "stale"
        if len(places) > 1 and not plan.target.split_operands:
            return "split"
    return ""


def _outputs(
    plan: Plan, truth: dict[tuple[int, int], str], copies: dict[tuple[int, int], str]
) -> str:
    for b, buffer in enumerate(plan.problem.buffers):
        for low, high in buffer.outputs:
            for byte in range(low, high):
                contents = [
                    copies.get((i, byte))
                    for i, item in enumerate(plan.residencies)
                    if _covers(item, b, byte, plan.target.home(buffer.kind).name)
                    and item.end == len(plan.problem.steps)
                ]
                if not contents or contents[0] is None or contents[0] != truth.get((b, byte)):
                    return "output lost"
    return ""


def _grows(plan: Plan, buffer: int) -> bool:
    uses = [u for s in plan.problem.steps for u in s.uses if u.buffer == buffer and u.write]
    written = {byte for use in uses for byte in range(use.start_byte, use.end_byte)}
    return len(written) < plan.problem.buffers[buffer].size_bytes


def _carried(
    plan: Plan, truth: dict[tuple[int, int], str], copies: dict[tuple[int, int], str]
) -> str:
    """What an inference begins with outside of home, the one before must leave as it is now."""
    if not plan.problem.steady_state:
        return ""
    last = len(plan.problem.steps)
    for i, item in enumerate(plan.residencies):
        if plan.problem.buffers[item.buffer].kind != "state" or item.end != last:
            continue
        for byte in range(item.start_byte, item.end_byte):
            address = item.offset - item.start_byte
            for other in plan.residencies:
                begins = other.start == other.ready == 0
                same = (other.offset - other.start_byte, other.tier) == (address, item.tier)
                is_there = begins and same and _covers(other, item.buffer, byte, item.tier)
                if is_there and copies.get((i, byte)) != truth.get((item.buffer, byte)):
                    return "older data is left for the next inference"
    return ""


def _wrap(plan: Plan) -> str:
    """Follow the loop: what is in each place at the end, byte by byte, against the beginning."""
    last = len(plan.problem.steps)
    end: dict[tuple[int, int, str, int], bool] = {}  # (buffer, byte, tier, address): filled
    start: set[tuple[int, int, str, int]] = set()
    for item in plan.residencies:
        kind = plan.problem.buffers[item.buffer].kind
        home = plan.target.home(kind).name
        lasts = kind == "state" and item.tier == home
        lasts |= kind in ("weight", "state") and plan.problem.steady_state
        begins = lasts and item.start == item.ready == 0
        if begins and plan.target.tier(item.tier).read_only and item.tier != home:
            return "carried to a read-only tier"
        for byte in range(item.start_byte, item.end_byte):
            place = (item.buffer, byte, item.tier, item.offset + byte - item.start_byte)
            if begins:
                start.add(place)
            if item.end == last:
                end[place] = begins or item.ready > item.start or kind == "state"
    return "" if all(end.get(place) for place in start) else "not left for the next inference"
