"""The plan that streams operators one by one, and its slices: where every search begins."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.problem import Problem
from ullage.solvers.budget import Budget
from ullage.solvers.packing.pages import page_size
from ullage.solvers.paths.plan import NoAddress, residencies_of, transfers_of
from ullage.solvers.paths.refusal import refusal
from ullage.solvers.paths.setting import TieredProblem, tiered_problem
from ullage.solvers.paths.slices import (
    Ledger,
    NoRoom,
    Slice,
    Slicer,
    part_of,
    streaming_prices,
)
from ullage.solvers.state.build_plan import assemble
from ullage.solvers.state.place import place_residencies
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import segments_of

# Number of pages at most that a tier is cut into.
PAGES = 65536
# A tier of fewer pages than this is not cut into pages.
FEWEST_PAGES = 64
# Refusals, one after the other, that are answered with larger memories.
MOST_REFUSALS = 12
# More pages than any tier has: none is cut.
NO_PAGES = 1 << 62


def home_assignment(problem: Problem) -> Assignment:
    """The assignment that keeps nothing; data moves between home and the fastest tier only.

    Solvers compare with it, and fall back on it.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
    """
    state = ResidencyState(problem, segments_of(problem))
    place_residencies(state)
    return assemble(
        problem, state.segments, [residency for _, _, residency in state.all_residencies()]
    )


def streaming_assignment(problem: Problem, budget: Budget | None = None) -> Assignment:
    """The assignment that streams operators one by one: the reference where home is out of reach.

    Args:
        problem: the problem.
        budget: as of `tiered_problem`.

    Raises:
        InfeasibleError: an operator's operands do not fit wherever they may lie.
    """
    return streaming(tiered_problem(problem, budget))[1]


def streaming(tiered: TieredProblem) -> tuple[Slicer, Assignment]:
    """Slicer and plan of the least space; small tiers are cut into pages where they must be.

    Raises:
        InfeasibleError: an operator's operands do not fit wherever they may lie, or no plan was
            found in which they do.
        UsageError: no links bring operands to where operators reach them.
    """
    found = _found(tiered)
    if isinstance(found, _Refused):
        raise refusal(tiered, found.slicer, found.segment, _streams)
    return found


def streaming_capacities(problem: Problem) -> dict[str, int]:
    """Capacities of tiers, all at once, with which a problem has a streaming plan.

    They are what refusals name one after the other: less may be enough for other plans.

    Returns:
        Bytes by tier; empty where there is a plan already, or none was found.
    """
    target, found = problem.target, dict[str, int]()
    for _ in range(MOST_REFUSALS):
        try:
            streaming_assignment(problem.on(target))
        except InfeasibleError as error:
            details = error.details
            size = int(details.get("enough_bytes", details["needed_bytes"]))
            if size <= target.tier(str(details["tier"])).capacity_bytes:
                return {}
            found |= details.get("enough_bytes_by_tier", {str(details["tier"]): size})
            for name, capacity_bytes in found.items():
                target = target.with_capacity(name, capacity_bytes)
        except UsageError:  # no links bring operands to where operators reach them
            return {}
        else:
            return found
    return {}


def stays_where_there_is_room(
    tiered: TieredProblem,
    slicer: Slicer,
    streamed: Assignment,
    is_over: Callable[[], bool] = lambda: False,
) -> Assignment:
    """In steady state weights stay, from one inference to the next, in tiers with room for all.

    Behind a slow home, as flash, such a tier saves them the way from there in every inference. The
    room that they take in other tiers is what the streaming plan has for them.

    Args:
        tiered: the problem.
        slicer: with the slices of the streaming plan; they are changed.
        streamed: that plan.
        is_over: whether the time is over; the rest of the weights then goes the streaming way.

    Returns:
        The plan; the streaming plan, with its slices, where no weight can stay so.
    """
    network = tiered.network
    known = {index: list(items) for index, items in slicer.items.items()}
    prices = streaming_prices(network)
    prices.space[tiered.uncapacitated >> np.arange(network.tiers) & 1 == 1] = 0.0
    stays = 0
    for index, items in slicer.items.items():
        live_range = tiered.live_ranges[index]
        if live_range is None or not live_range.is_loop_carried:
            continue
        for number, item in enumerate(items):
            if is_over():
                break
            size = item.end_byte - item.start_byte
            slicer.ledger.book(item, -1)
            masked = slicer.ledger.masked(prices.space, item.start_byte, item.end_byte)
            _, path = slicer.finder.cheapest(
                part_of(live_range, size),
                replace(prices, space=masked),
                carry=tiered.uncapacitated,
                exact=True,
            )
            if path is not None and path.loop_carried:
                items[number] = replace(item, path=path)
                stays += 1
            slicer.ledger.book(items[number])
    if not stays:
        return streamed
    try:
        return assignment_of(tiered, slicer)
    except NoAddress:  # it may be fetched into the other tiers at other steps than before
        slicer.place(known)
        return streamed


@dataclass(frozen=True)
class _Refused:
    """The last slicer that was tried, and the segment for which it found no way or no address."""

    slicer: Slicer
    segment: int


def _streams(problem: Problem) -> bool:
    """Whether a problem has a streaming plan."""
    return not isinstance(_found(tiered_problem(problem)), _Refused)


def _found(tiered: TieredProblem) -> tuple[Slicer, Assignment] | _Refused:
    """Slicer and plan of the least space, in pages or not."""
    ways = ((FEWEST_PAGES, False), (1, False), (NO_PAGES, False), (NO_PAGES, True))
    early = (False, True) if len(tiered.network.target.tiers) > 2 else (False,)
    for leaves_early, (fewest_pages, to_last_byte) in product(early, ways):
        slicer = _slicer(tiered, fewest_pages, to_last_byte=to_last_byte)
        try:
            slicer.streaming(leaves_early=leaves_early)
            return slicer, assignment_of(tiered, slicer)
        except NoRoom as refused:
            last = _Refused(slicer, refused.segment)
        except NoAddress as refused:
            first = min(residency.slice for residency in refused.residencies)
            last = _Refused(slicer, listed(slicer)[first].segment)
    return last


def _slicer(tiered: TieredProblem, fewest_pages: int, *, to_last_byte: bool) -> Slicer:
    """A slicer with an empty ledger; tiers of fewer pages are not cut into pages."""
    network, target = tiered.network, tiered.network.target
    grain, data_bytes = target.slice_granularity_bytes, network.problem.program.data_bytes
    units: list[int] = []
    paged: list[bool] = []
    for m, tier in enumerate(target.tiers):
        quantum, unit = max(1, grain), tier.alignment_bytes
        has_pages = target.split_operands and grain > 0 and not tiered.uncapacitated >> m & 1
        least_bytes = fewest_pages * int(np.lcm(quantum, unit))
        paged.append(has_pages and tier.capacity_bytes >= least_bytes)
        page = page_size(tier.capacity_bytes, quantum, unit, data_bytes, PAGES)
        units.append(page if paged[m] else unit)
    ledger = Ledger(network, units, paged, to_last_byte=to_last_byte)
    grains = []
    for segment in tiered.segments:
        cut = grain or tiered.network.problem.buffers[segment.buffer].row_bytes
        for unit, has_pages in sorted(zip(units, paged, strict=True)):
            if (
                has_pages
                and unit % cut == 0
                and (unit == units[0] or unit * 64 <= segment.size_bytes)
            ):
                cut = unit
        grains.append(cut if target.split_operands else 0)
    return Slicer(network, tiered.segments, tiered.live_ranges, tiered.finder, ledger, grains)


def listed(slicer: Slicer) -> list[Slice]:
    """All slices in the order of segments (buffers) and bytes."""
    return [item for index in sorted(slicer.items) for item in slicer.items[index]]


def assignment_of(
    tiered: TieredProblem, slicer: Slicer, search: Budget | None = None
) -> Assignment:
    """The assignment of the slices, with addresses.

    Args:
        tiered: the problem made ready.
        slicer: has the slices.
        search: time for many orders of slices that are cut between rows; None: one order.

    Raises:
        NoAddress: some have none.
    """
    slices = listed(slicer)
    buffers = [tiered.segments[item.segment].buffer for item in slices]
    network = tiered.network
    return Assignment(
        network.problem,
        tuple(
            residencies_of(network, slicer.ledger, slices, tiered.uncapacitated, buffers, search)
        ),
        tuple(transfers_of(network, slices, buffers)),
    )
