"""Shares of the relaxation as a plan: slices that fit, polished, with addresses.

Slices fit by the sum of their bytes, but may find no address. Then all are placed again, with more
room left free where an address was missing, or with fewer loop-carried slices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ullage.compiler.ir.assignment import Assignment
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.multi_tier.column_generation import TiersRelaxation
from ullage.solvers.fluid.multi_tier.requests import requested_slices, space_taken
from ullage.solvers.paths.column import column_of
from ullage.solvers.paths.improve import improved, joined, keep_free
from ullage.solvers.paths.network import PathPrices
from ullage.solvers.paths.paths import Path, moving_at_once
from ullage.solvers.paths.plan import NoAddress, Unplaced
from ullage.solvers.paths.setting import TieredProblem
from ullage.solvers.paths.slices import Slice, Slicer
from ullage.solvers.paths.streaming import assignment_of, listed

# How often addresses are looked for, with fewer requests each time.
TRIES = 10
# How many of those tries leave more room free; later ones give up loop-carried slices.
KEEPS_FREE = 3
# The last tries give up all that is loop-carried in a tier; where the time is over they come next,
# and may take some seconds more: without addresses the time before was for nothing.
LATE_TRIES = 3
LATE_S = 0.4
# Share of a segment from which on a path gets a slice; less is rounding error of the LP.
LEAST_SHARE = 1e-7


def sliced(
    tiered: TieredProblem,
    slicer: Slicer,
    base: Mapping[int, list[Slice]],
    relaxation: TiersRelaxation,
    budget: Budget,
) -> Assignment | None:
    """The relaxation as a plan; None when no addresses were found."""
    paths: dict[int, list[tuple[Path, float]]] = {}
    for column, share in zip(relaxation.columns, relaxation.shares.tolist(), strict=True):
        if share > LEAST_SHARE:
            paths.setdefault(column.segment, []).append((moving_at_once(column.path), share))
    for index, paths_of_item in paths.items():
        paths[index] = _worth_moving(tiered, index, paths_of_item)
    requests = requested_slices(tiered.segments, paths, slicer.grains)
    order = sorted(
        requests, key=lambda index: (-_worth(tiered, base[index], requests[index]), index)
    )
    prices = relaxation.prices

    def is_late() -> bool:
        return budget.remaining_s() < -LATE_S

    attempt = 0
    while attempt < TRIES:
        attempt += 1
        for _ in range(2):
            slicer.take(requests, order, prices, is_late)
        try:
            plan = assignment_of(tiered, slicer, budget)
            # What leaves home together by the relaxation's order may be better than what is found.
            plan = joined(tiered, slicer, plan, budget)
            return improved(tiered, slicer, order, plan, budget)
        except NoAddress as refused:
            if is_late():
                break
            if budget.is_over():  # what comes back in steady state is what lacks addresses
                attempt = max(attempt, TRIES - LATE_TRIES)
            slices = listed(slicer)
            for residency in refused.residencies:
                bad = slices[residency.slice]
                settled = _settled(tiered, bad, prices)
                if settled is not None:
                    placed = slicer.items[bad.segment]
                    requests[bad.segment] = [settled if item is bad else item for item in placed]
                elif attempt <= KEEPS_FREE:
                    keep_free(slicer, residency, attempt)
                else:
                    slicer.carries &= ~(1 << residency.tier)  # except for what is requested
                    _let_go(
                        tiered,
                        slicer,
                        requests,
                        base,
                        residency,
                        whole=attempt > TRIES - LATE_TRIES,
                    )
            slicer.place(base)
    return None


def _let_go(
    tiered: TieredProblem,
    slicer: Slicer,
    requests: dict[int, list[Slice]],
    base: Mapping[int, Sequence[Slice]],
    residency: Unplaced,
    *,
    whole: bool,
) -> None:
    """Make fewer slices loop-carried in a tier where something found no pages.

    Pages that a loop-carried slice comes back to are free before, and yet of no use to a residency
    that lasts beyond that step. Slices that come back during the residency go the streaming way
    instead, the smallest first, until there is room; with `whole`, all loop-carried slices of the
    tier.
    """
    missing = residency.size_bytes
    candidates: list[tuple[int, int, Slice]] = []
    for number, item in enumerate(listed(slicer)):
        if item.path.loop_carried >> residency.tier & 1:
            back = [
                start
                for tier, start, _, end, source in item.path.residencies.tolist()
                if tier == residency.tier and end == tiered.network.steps and source >= 0
            ]
            if whole or any(residency.start < step < residency.end for step in back):
                candidates.append((item.end_byte - item.start_byte, number, item))
    for size, _, item in sorted(candidates, key=lambda entry: entry[:2]):
        streaming = [
            replace(
                b,
                start_byte=max(b.start_byte, item.start_byte),
                end_byte=min(b.end_byte, item.end_byte),
            )
            for b in base[item.segment]
            if b.start_byte < item.end_byte and b.end_byte > item.start_byte
        ]
        known = requests[item.segment]
        if item not in known:  # it went another way than was requested: replace what it got
            known = slicer.items[item.segment]
        requests[item.segment] = [
            p for other in known for p in (streaming if other is item else [other])
        ]
        missing -= size
        if missing <= 0 and not whole:
            break


def _settled(tiered: TieredProblem, item: Slice, prices: PathPrices) -> Slice | None:
    """A loop-carried slice, kept all the time in the tiers in which it was loop-carried.

    None where it is not loop-carried, or is kept already.
    """
    live_range, extra = tiered.live_ranges[item.segment], item.path.loop_carried
    if not extra or live_range is None:
        return None
    tiers = live_range.start | extra
    fixed = replace(live_range, start=tiers, needed=tiers, forced=tiers, is_loop_carried=False)
    _, path = tiered.finder.cheapest(fixed, prices, exact=True)
    if path is None or path.key == item.path.key:
        return None
    return replace(item, path=path)


def _worth_moving(
    tiered: TieredProblem, index: int, paths: list[tuple[Path, float]]
) -> list[tuple[Path, float]]:
    """The paths of a segment without those whose transfers take less time than their set-ups."""
    network, size = tiered.network, tiered.segments[index].size_bytes
    link_of = {(a, b): i for i, (a, b) in enumerate(network.links.tolist())}
    least: list[float] = []
    for path, _ in paths:
        links = [link_of[s, d] for d, _, _, _, s in path.residencies.tolist() if s >= 0]
        least.append(max((network.setups_s[i] * network.link_rates[i] for i in links), default=0))
    kept = [p for p, few in zip(paths, least, strict=True) if p[1] * size >= few]
    return kept or [max(paths, key=lambda item: item[1])]


def _worth(tiered: TieredProblem, base: Sequence[Slice], requested: Sequence[Slice]) -> float:
    """Seconds of ports and links that requested paths save, per byte and step of space."""
    live_range = tiered.live_ranges[base[0].segment]
    assert live_range is not None  # noqa: S101 - only segments with a live range have slices
    capacitated = np.array([float(m in tiered.capacitated) for m in range(tiered.network.tiers)])

    def seconds(items: Sequence[Slice]) -> float:
        total = 0.0
        for item in items:
            column = column_of(tiered.network, item.segment, live_range, item.path)
            total += float(column.busy_s.sum()) * (item.end_byte - item.start_byte)
        return total / live_range.size_bytes

    space = sum(space_taken(s.path, capacitated) * (s.end_byte - s.start_byte) for s in requested)
    return (seconds(base) - seconds(requested)) / max(space, 1e-30)
