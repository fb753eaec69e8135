"""Shares of the relaxation as a plan: slices that fit, polished, with addresses.

What finds no address gets room of its own, and everything is placed again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ullage.compiler.ir.assignment import Assignment
from ullage.hwmodels.cost import score
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.multi_tier.column_generation import TiersRelaxation
from ullage.solvers.fluid.multi_tier.master import column_of
from ullage.solvers.fluid.multi_tier.network import PathPrices
from ullage.solvers.fluid.multi_tier.paths import Path
from ullage.solvers.fluid.multi_tier.plan import NoAddress, Unplaced, residencies_of, transfers_of
from ullage.solvers.fluid.multi_tier.polish import polish
from ullage.solvers.fluid.multi_tier.requests import requested_slices, space_taken
from ullage.solvers.fluid.multi_tier.setting import TieredProblem
from ullage.solvers.fluid.multi_tier.slices import Slice, Slicer

TRIES = 10  # to find addresses, with fewer requests each time
KEEPS_FREE = 3  # tries in which more room is left free, before fewer slices are carried over
POLISHES = 4  # tries to find addresses for slices on better paths
LEAST_SHARE = 1e-7  # of a segment that is worth a slice


def sliced(
    setting: TieredProblem,
    slicer: Slicer,
    base: Mapping[int, list[Slice]],
    relaxation: TiersRelaxation,
    budget: Budget,
) -> Assignment | None:
    """The relaxation as a plan; None when no addresses were found."""
    paths: dict[int, list[tuple[Path, float]]] = {}
    for column, share in zip(relaxation.columns, relaxation.shares.tolist(), strict=True):
        if share > LEAST_SHARE:
            paths.setdefault(column.segment, []).append((column.path, share))
    for index, mine in paths.items():
        paths[index] = _worth_moving(setting, index, mine)
    requests = requested_slices(setting.segments, paths, slicer.grains)
    order = sorted(
        requests, key=lambda index: (-_worth(setting, base[index], requests[index]), index)
    )
    prices = relaxation.prices

    for attempt in range(1, TRIES + 1):
        for _ in range(2):
            slicer.take(requests, order, prices, budget.is_over)
        try:
            plan = assignment_of(setting, slicer)
            return _polished(setting, slicer, order, plan, budget)
        except NoAddress as refused:
            if budget.is_over():
                break
            slices = listed(slicer)
            for residency in refused.residencies:
                bad = slices[residency.slice]
                settled = _settled(setting, bad, prices)
                if settled is not None:
                    placed = slicer.items[bad.segment]
                    requests[bad.segment] = [settled if item is bad else item for item in placed]
                elif attempt <= KEEPS_FREE:
                    _keep_free(slicer, residency, attempt)
                else:
                    slicer.carries = False  # but for what is wished
                    _let_go(setting, slicer, requests, base, residency, whole=attempt > TRIES - 3)
            slicer.place(base)
    return None


def _let_go(
    setting: TieredProblem,
    slicer: Slicer,
    requests: dict[int, list[Slice]],
    base: Mapping[int, Sequence[Slice]],
    residency: Unplaced,
    *,
    whole: bool,
) -> None:
    """Carry fewer slices over the seam in a tier where something found no pages.

    Pages that a slice comes back to are free before, and yet of no use to what stays beyond that
    step. Slices that come back during the residency go the streaming way instead, the smallest
    first, until there is room; all that are carried in the tier, with `whole`.
    """
    missing = residency.size_bytes
    carried: list[tuple[int, int, Slice]] = []
    for number, item in enumerate(listed(slicer)):
        if item.path.carried >> residency.tier & 1:
            back = [
                start
                for tier, start, _, end, source in item.path.residencies.tolist()
                if tier == residency.tier and end == setting.network.steps and source >= 0
            ]
            if whole or any(residency.start < step < residency.end for step in back):
                carried.append((item.end_byte - item.start_byte, number, item))
    for size, _, item in sorted(carried, key=lambda entry: entry[:2]):
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
        if item not in known:  # it went another way than was wished: all that is there is
            known = slicer.items[item.segment]
        requests[item.segment] = [
            p for other in known for p in (streaming if other is item else [other])
        ]
        missing -= size
        if missing <= 0 and not whole:
            break


def _keep_free(slicer: Slicer, residency: Unplaced, times: int) -> None:
    """Space that others do not get, where something found no address."""
    slicer.ledger.room[residency.tier, residency.start : residency.end] -= (
        times * residency.size_bytes
    )


def _polished(
    setting: TieredProblem, slicer: Slicer, order: Sequence[int], plan: Assignment, budget: Budget
) -> Assignment:
    """The plan with its slices on better paths, where these have addresses."""
    if not setting.network.is_timed:
        return plan
    start = {index: list(items) for index, items in slicer.items.items()}
    for attempt in range(1, POLISHES + 1):
        if polish(setting.network, slicer, order, budget.is_over) <= 0:
            break
        try:
            found = assignment_of(setting, slicer)
        except NoAddress as refused:
            for residency in refused.residencies:
                _keep_free(slicer, residency, attempt)
            slicer.place(start)
            continue
        # Slices that moved together shared a set-up, which the search does not know.
        return min(plan, found, key=lambda p: score(p).latency_s)
    return plan


def _settled(setting: TieredProblem, item: Slice, prices: PathPrices) -> Slice | None:
    """A slice that is carried over the seam, staying for ever where it was carried.

    None where it is not carried, or stays already.
    """
    live_range, carried = setting.live_ranges[item.segment], item.path.carried
    if not carried or live_range is None:
        return None
    residencies = live_range.start | carried
    fixed = replace(
        live_range, start=residencies, needed=residencies, forced=residencies, is_carried=False
    )
    _, path = setting.finder.cheapest(fixed, prices, exact=True)
    if path is None or path.key == item.path.key:
        return None
    return replace(item, path=path)


def _worth_moving(
    setting: TieredProblem, index: int, paths: list[tuple[Path, float]]
) -> list[tuple[Path, float]]:
    """The paths of a segment without those whose transfers take less time than their set-ups."""
    network, size = setting.network, setting.segments[index].size_bytes
    link_of = {(a, b): i for i, (a, b) in enumerate(network.links.tolist())}
    least: list[float] = []
    for path, _ in paths:
        links = [link_of[s, d] for d, _, _, _, s in path.residencies.tolist() if s >= 0]
        least.append(max((network.setups_s[i] * network.link_rates[i] for i in links), default=0))
    kept = [p for p, few in zip(paths, least, strict=True) if p[1] * size >= few]
    return kept or [max(paths, key=lambda item: item[1])]


def _worth(setting: TieredProblem, base: Sequence[Slice], requested: Sequence[Slice]) -> float:
    """Seconds of slow ports and links that wished paths save, per byte and step of space."""
    live_range = setting.live_ranges[base[0].segment]
    assert live_range is not None  # noqa: S101 - only segments with a life have slices
    capacitated = np.array([float(m in setting.capacitated) for m in range(setting.network.tiers)])

    def seconds(items: Sequence[Slice]) -> float:
        total = 0.0
        for item in items:
            column = column_of(setting.network, item.segment, live_range, item.path)
            total += float(column.busy_s.sum()) * (item.end_byte - item.start_byte)
        return total / live_range.size_bytes

    space = sum(space_taken(s.path, capacitated) * (s.end_byte - s.start_byte) for s in requested)
    return (seconds(base) - seconds(requested)) / max(space, 1e-30)


def listed(slicer: Slicer) -> list[Slice]:
    """All slices in the order of segments (buffers) and bytes."""
    return [item for index in sorted(slicer.items) for item in slicer.items[index]]


def assignment_of(setting: TieredProblem, slicer: Slicer) -> Assignment:
    """The slices with addresses.

    Raises:
        NoAddress: some have none.
    """
    slices = listed(slicer)
    buffers = [setting.segments[item.segment].buffer for item in slices]
    network = setting.network
    return Assignment(
        network.problem,
        tuple(residencies_of(network, slicer.ledger, slices, setting.uncapacitated, buffers)),
        tuple(transfers_of(network, slices, buffers)),
    )
