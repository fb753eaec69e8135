"""Why operands cannot be brought to where operators reach them: no links, no room, or none found.

What no plan can do is said with the operator's own figures: the bytes that it needs at once in the
tiers where it reaches them. Anything else is "found no plan", with the same figures and, beside
them, a memory that would do, or several. So it is where an operand is larger than a tier that it
passes: its bytes may pass one after the other, also those of an operand that is used whole.
"""

from collections.abc import Callable, Iterable, Mapping
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
    capacity_options,
    link_option,
    padding_on_top,
    smaller_data,
    step_refusal,
)

# Whether a problem has a streaming plan.
Streams = Callable[[Problem], bool]
# More bytes than any memory has.
ENDLESS = 1 << 62
# Capacities that are tried, in shares of what is missing to what streaming takes ...
GROWTH = (1.0, 1.02, 1.05, 1.1, 1.25, 1.5, 2.0, 4.0)
# ... and how often the span between one that is enough and one that is not is halved.
HALVINGS = 5


def refusal(tiered: TieredProblem, slicer: Slicer, index: int, streams: Streams) -> UllageError:
    """The error for a segment that found no way with room.

    Args:
        tiered: the problem.
        slicer: the slicer that had none.
        index: the segment.
        streams: whether there is a streaming plan of a problem.
    """
    found = _no_way(tiered, index) or _too_small(tiered)
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
    ways = _enough_alone(tiered, slicer, streams) or _enough_together(tiered, slicer, streams)
    enough = ways[0] if ways else {}
    tier = target.tier(next(iter(enough), target.fastest.name))
    own_bytes = _own_bytes(tiered, slicer, target.tier_index[tier.name])
    needed = min(own_bytes, tier.capacity_bytes)
    step = int(tiered.segments[index].accesses[0].step) if segment.accesses else 0
    where = problem.steps[step]
    sizes = {problem.buffers[u.buffer].name: u.end_byte - u.start_byte for u in where.uses}
    largest = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
    remedies: dict[str, str] = {}
    for way in ways:
        what = f"give {_both(way)} more" if remedies or len(way) > 1 else "give it more"
        remedies[capacity_options(target, way)] = what
    if enough:
        remedies |= smaller_data(problem.steps, enough[tier.name], tier.capacity_bytes)
    own, there = told_apart(own_bytes, tier.capacity_bytes)
    held = f"its own operands need {own} of {tier.name} at most"
    if not _is_reached(tiered, target.tier_index[tier.name]):
        held = f"none uses {tier.name}, which operands pass in pieces of {own} or more"
    plan = "a plan of this schedule" if problem.program.is_cut else "a plan"
    listed = (
        " and ".join(f"{format_size(size)} of {t}" for t, size in way.items()) for way in ways
    )
    outcome = f"with {' or '.join(listed)} there is {plan} (less may do)"
    if not ways:
        outcome = "none was found with more of any memory, either"
    advice = ", or ".join(f"{what} ({option})" for option, what in remedies.items())
    return InfeasibleError(
        f"found no plan for {target.name}: every operator fits by itself ({held}, available "
        f"{there}), but {name!r} finds no room beside what else must be there; {outcome}"
        f"{f'. To do: {advice}' if advice else ''}",
        {
            "tier": tier.name,
            "needed_bytes": needed,
            "available_bytes": tier.capacity_bytes,
            "excess_bytes": 0,
            **({"enough_bytes": enough[tier.name]} if enough else {}),
            **({"enough_bytes_by_tier": enough} if len(enough) > 1 else {}),
            "step": step,
            "operator": where.name,
            "largest_tensors": [{"tensor": n, "bytes": size} for n, size in largest],
            "remedies": list(remedies),
            "proven": False,
        },
    )


def _both(names: Iterable[str]) -> str:
    """Names of tiers as a text."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _is_reached(tiered: TieredProblem, tier: int) -> bool:
    """Whether operators reach operands in a tier."""
    return any(found is not None and found.reach >> tier & 1 for found in tiered.live_ranges)


def _enough_alone(tiered: TieredProblem, slicer: Slicer, streams: Streams) -> list[dict[str, int]]:
    """Capacities of single tiers with which there is a plan, all other tiers as they are."""
    network, target = tiered.network, tiered.network.target
    found: list[dict[str, int]] = []
    for m, tier in enumerate(target.tiers):
        peaks = slicer.peaks_with([m], ENDLESS) if network.writable >> m & 1 else None
        if peaks is not None:
            least = {m: max(peaks[m], tier.capacity_bytes + 1)}
            enough = _enough(network.problem, least, streams)
            found += [enough] if enough else []
    return found


def _enough_together(
    tiered: TieredProblem, slicer: Slicer, streams: Streams
) -> list[dict[str, int]]:
    """Capacities of several tiers with which there is a plan, where none alone does; or nothing."""
    network, tiers = tiered.network, tiered.network.target.tiers
    writable = [m for m in range(network.tiers) if network.writable >> m & 1]
    peaks = slicer.peaks_with(writable, ENDLESS) or {}
    least = {m: peak for m, peak in peaks.items() if peak > tiers[m].capacity_bytes}
    enough = _enough(network.problem, least, streams) if least else {}
    return [enough] if enough else []


def _enough(problem: Problem, least_bytes: Mapping[int, int], streams: Streams) -> dict[str, int]:
    """Capacities of tiers with which there is a streaming plan, by name; empty where none is found.

    They are within a share of 1 / 2^HALVINGS of the smallest between what the tiers have and what
    streaming takes there, if more is never worse. Less may be enough for other plans.

    Args:
        problem: the problem.
        least_bytes: tier -> what streaming takes if it has room; then all are so many times larger.
        streams: whether there is a streaming plan of a problem.
    """
    tiers = problem.target.tiers

    def sized(share: float) -> tuple[Tier, ...]:
        """The tiers, these larger by a share of what they lack of what streaming takes."""
        larger = list(tiers)
        for m, least in least_bytes.items():
            unit, has = tiers[m].alignment_bytes, tiers[m].capacity_bytes
            size = has + max(1, round(share * (least - has)))
            larger[m] = replace(tiers[m], capacity_bytes=-(-size // unit) * unit)
        return tuple(larger)

    def is_enough(share: float) -> bool:
        return streams(problem.on(replace(problem.target, tiers=sized(share))))

    high = next((share for share in GROWTH if is_enough(share)), 0.0)
    if not high:
        return {}
    low = 0.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    enough = sized(high)
    return {enough[m].name: enough[m].capacity_bytes for m in least_bytes}
