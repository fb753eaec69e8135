"""Why operands cannot be brought to where operators reach them: no links, no room, or none found.

What no plan can do is said with the operator's own figures: the bytes that it needs at once in the
tiers where it reaches them, and those of an operand that is not cut in a tier that it must pass.
Anything else is "found no plan", with the same figures and, beside them, a memory that would do.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ullage.compiler.common.errors import InfeasibleError, UllageError, UsageError
from ullage.compiler.common.units import format_size, told_apart
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Tier, distances
from ullage.solvers.paths.network import PathPrices
from ullage.solvers.paths.setting import TieredProblem
from ullage.solvers.paths.slices import Slicer
from ullage.solvers.state.infeasibility import (
    SHOWN,
    capacity_option,
    link_option,
    padding_on_top,
    smaller_data,
    step_refusal,
)

# Whether a problem has a streaming plan.
Streams = Callable[[Problem], bool]
# More bytes than any memory has.
ENDLESS = 1 << 62
# Capacities that are tried, in times of the least.
GROWTH = (1.0, 1.02, 1.05, 1.1, 1.25, 1.5, 2.0, 4.0)


def refusal(tiered: TieredProblem, slicer: Slicer, index: int, streams: Streams) -> UllageError:
    """The error for a segment that found no way with room.

    Args:
        tiered: the problem.
        slicer: the slicer that had none.
        index: the segment.
        streams: whether there is a streaming plan of a problem.
    """
    found = _no_way(tiered, index) or _too_small(tiered) or _too_large_to_pass(tiered, slicer)
    return found or _not_found(tiered, slicer, index, streams)


def _no_way(tiered: TieredProblem, index: int) -> UsageError | None:
    """The error for data that no links bring where it must be, however large memories are."""
    network, segment = tiered.network, tiered.segments[index]
    live_range = tiered.live_ranges[index]
    assert live_range is not None  # noqa: S101 - callers ask for segments with a live range
    if _has_way(tiered, index):
        return None
    target, name = network.target, network.problem.buffers[segment.buffer].name
    reach = [tier.name for m, tier in enumerate(target.tiers) if live_range.reach >> m & 1]
    outwards = distances(target.tier_index[segment.home], network.links.tolist())
    arrives = any(live_range.reach >> m & 1 for m in outwards)
    reads = bool(live_range.reads.any()) and segment.is_given
    ways = [(segment.home, reach[0]), (reach[0], segment.home)]
    source, destination = ways[int(arrives or not reads)]
    return UsageError(
        f"{name!r} must move from {source} to {destination}, and {target.name} has no link between "
        f"them, nor links over other tiers; {link_option(network.problem, segment.home)}",
        {"source": source, "destination": destination, "tensor": name},
    )


def _has_way(tiered: TieredProblem, index: int, avoided: int | None = None) -> bool:
    """Whether links bring a segment where it must be, if memories were large.

    Args:
        tiered: the problem.
        index: the segment.
        avoided: a tier that it must not be in.
    """
    network, live_range = tiered.network, tiered.live_ranges[index]
    assert live_range is not None  # noqa: S101 - callers ask for segments with a live range
    n, steps = network.tiers, network.steps
    move = np.full((n, n, steps), np.inf)
    move[network.links[:, 0], network.links[:, 1]] = 0.0
    free = np.zeros((n, steps))
    space = free.copy()
    if avoided is not None:
        space[avoided] = np.inf
    prices = PathPrices(space, move, np.zeros((n, n, steps)), free, free)
    cost, _ = tiered.finder.cheapest(live_range, prices, carry=0, exact=True)
    return bool(np.isfinite(cost))


def _too_large_to_pass(tiered: TieredProblem, slicer: Slicer) -> InfeasibleError | None:
    """The error for an operand that is not cut, and larger than a tier that it must pass."""
    problem, target = tiered.network.problem, tiered.network.target
    for m, tier in list(enumerate(target.tiers))[1:]:
        for index, segment in enumerate(tiered.segments):
            if tiered.live_ranges[index] is None or not segment.accesses or slicer.grains[index]:
                continue
            if segment.size_bytes > tier.capacity_bytes and not _has_way(tiered, index, m):
                step = segment.accesses[0].step
                return step_refusal(problem, step, segment.size_bytes, [segment], [tier.name])
    return None


def _own_bytes(tiered: TieredProblem, slicer: Slicer, tier: int) -> int:
    """Bytes that an operator's own operands need at once in a tier, the most demanding operator.

    Those that it reaches nowhere else, with its workspace; at least the largest piece that passes.
    """
    problem, target = tiered.network.problem, tiered.network.target
    unit = target.tiers[tier].alignment_bytes
    there: dict[int, list[int]] = {}
    most = 0
    for index, segment in enumerate(tiered.segments):
        if tiered.live_ranges[index] is None or not segment.accesses:
            continue
        if _reach_of(tiered, index) == 1 << tier:
            for step in {access.step for access in segment.accesses}:
                there.setdefault(step, []).append(segment.size_bytes)
        elif not _has_way(tiered, index, tier):
            most = max(most, slicer.grains[index] or segment.size_bytes)
    for step, sizes in there.items():
        needed = sum(-(-size // unit) * unit for size in sizes) - padding_on_top(sizes, unit)
        most = max(most, needed + (0 if tier else problem.steps[step].workspace_bytes))
    return most


def _too_small(tiered: TieredProblem) -> InfeasibleError | None:
    """The error for an operator whose own operands do not fit where it reaches them."""
    network = tiered.network
    problem, target = network.problem, network.target
    used: dict[int, list[int]] = {}
    for index, segment in enumerate(tiered.segments):
        for access in segment.accesses if tiered.live_ranges[index] is not None else ():
            used.setdefault(access.step, []).append(index)
    worst, found = 0, None
    for step, indices in sorted(used.items()):
        reach = {index: _reach_of(tiered, index) for index in indices}
        for mask in sorted(set(reach.values())):
            tiers = [m for m in range(network.tiers) if mask >> m & 1]
            here = [i for i in dict.fromkeys(indices) if reach[i] & ~mask == 0]
            unit = min(target.tiers[m].alignment_bytes for m in tiers)
            sizes = [tiered.segments[i].size_bytes for i in here]
            needed = sum(-(-size // unit) * unit for size in sizes)
            needed += problem.steps[step].workspace_bytes if mask & 1 else 0
            available = sum(target.tiers[m].capacity_bytes for m in tiers)
            needed -= padding_on_top(sizes, unit)
            if needed - available > worst:
                worst = needed - available
                names = [target.tiers[m].name for m in tiers]
                segments = [tiered.segments[i] for i in here]
                found = step_refusal(problem, step, needed, segments, names)
    return found


def _reach_of(tiered: TieredProblem, index: int) -> int:
    live_range = tiered.live_ranges[index]
    assert live_range is not None  # noqa: S101 - callers ask for segments with a live range
    return live_range.reach


def _not_found(
    tiered: TieredProblem, slicer: Slicer, index: int, streams: Streams
) -> InfeasibleError:
    """The error where no operator is too large by itself, but no plan was found."""
    network, segment = tiered.network, tiered.segments[index]
    target, problem = network.target, network.problem
    name = problem.buffers[segment.buffer].name
    tier, enough, is_known, others = _larger(problem, tiered, slicer, streams)
    needed = min(tier.capacity_bytes, _own_bytes(tiered, slicer, target.tier_index[tier.name]))
    step = int(tiered.segments[index].accesses[0].step) if segment.accesses else 0
    where = problem.steps[step]
    sizes = {problem.buffers[u.buffer].name: u.end_byte - u.start_byte for u in where.uses}
    largest = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
    remedies = {capacity_option(target, tier.name, enough): "give it more"}
    for other, size in others.items():
        remedies[capacity_option(target, other, size)] = f"give {other} more"
    remedies |= smaller_data(problem.steps, enough, tier.capacity_bytes)
    advice = ", or ".join(f"{what} ({option})" for option, what in remedies.items())
    own, there, more = told_apart(needed, tier.capacity_bytes, enough)
    held = f"its own operands need {own} of {tier.name} at most, available {there}"
    if not _is_reached(tiered, target.tier_index[tier.name]):
        held = (
            f"no operator reaches {tier.name}: operands pass it on their way, at least {own} at "
            f"once, available {there}"
        )
    sizes_text = " or ".join(
        [
            f"{more} of {tier.name}",
            *(f"{format_size(size)} of {other}" for other, size in others.items()),
        ]
    )
    plan = "a plan of this schedule" if problem.program.is_cut else "a plan"
    outcome = f"with {sizes_text} there is {plan}, which streams operands operator by operator"
    if not is_known:
        outcome = f"none that streams them was found with {more} of {tier.name}, either"
    return InfeasibleError(
        f"found no plan for {target.name}: every operator fits by itself ({held}), but {name!r} "
        f"has no room beside what else must be there; {outcome}. To do: {advice}",
        {
            "tier": tier.name,
            "needed_bytes": needed,
            "available_bytes": tier.capacity_bytes,
            "excess_bytes": 0,
            **({"enough_bytes": enough} if is_known else {}),
            "step": step,
            "operator": where.name,
            "largest_tensors": [{"tensor": n, "bytes": size} for n, size in largest],
            "remedies": list(remedies),
            "proven": False,
        },
    )


def _is_reached(tiered: TieredProblem, tier: int) -> bool:
    """Whether operators reach operands in a tier."""
    return any(found is not None and found.reach >> tier & 1 for found in tiered.live_ranges)


def _larger(
    problem: Problem, tiered: TieredProblem, slicer: Slicer, streams: Streams
) -> tuple[Tier, int, bool, dict[str, int]]:
    """A tier, a capacity of it, whether there is a plan with that, and other tiers' with a plan.

    Each capacity is by itself: all other tiers stay as they are.
    """
    network, target = tiered.network, tiered.network.target
    known: dict[str, int] = {}
    tried: list[tuple[int, int]] = []
    for m in range(network.tiers):
        peak = slicer.peak_with([m], ENDLESS) if network.writable >> m & 1 else None
        if peak is not None:
            tier = target.tiers[m]
            enough, is_known = _enough(problem, m, max(peak, tier.capacity_bytes + 1), streams)
            tried.append((m, enough))
            known |= {tier.name: enough} if is_known else {}
    if known:
        name, *_ = known
        return target.tier(name), known.pop(name), True, known
    if tried:
        first, enough = tried[0]
        return target.tiers[first], enough, False, {}
    peak = slicer.peak_with(list(range(network.tiers)), ENDLESS)
    least = max(int(peak or 0), target.fastest.capacity_bytes + 1)
    return target.fastest, *_enough(problem, 0, least, streams), {}


def _enough(problem: Problem, tier: int, least_bytes: int, streams: Streams) -> tuple[int, bool]:
    """A capacity of a tier, and whether there is a streaming plan with it; else the largest tried.

    Less may be enough for other plans.
    """
    target = problem.target
    unit = target.tiers[tier].alignment_bytes
    enough = least_bytes
    for factor in GROWTH:
        enough = -(-round(least_bytes * factor) // unit) * unit
        larger = replace(target.tiers[tier], capacity_bytes=enough)
        tiers = (*target.tiers[:tier], larger, *target.tiers[tier + 1 :])
        if streams(problem.on(replace(target, tiers=tiers))):
            return enough, True
    return enough, False
