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
from ullage.solvers.fluid.multi_tier.network import Prices
from ullage.solvers.fluid.multi_tier.paths import Path
from ullage.solvers.fluid.multi_tier.plan import Homeless, NoAddress, residencies_of, transfers_of
from ullage.solvers.fluid.multi_tier.polish import polish
from ullage.solvers.fluid.multi_tier.requests import space_taken, wished_slices
from ullage.solvers.fluid.multi_tier.setting import Setting
from ullage.solvers.fluid.multi_tier.slices import Slice, Slicer

TRIES = 10  # to find addresses, with fewer wishes each time
KEEPS_FREE = 3  # tries in which more room is left free, before fewer slices are carried over
POLISHES = 4  # tries to find addresses for slices on better paths
LEAST_SHARE = 1e-7  # of an atom that is worth a slice


def sliced(
    setting: Setting,
    slicer: Slicer,
    base: Mapping[int, list[Slice]],
    relaxation: TiersRelaxation,
    budget: Budget,
) -> Assignment | None:
    """The relaxation as a plan; None when no addresses were found."""
    paths: dict[int, list[tuple[Path, float]]] = {}
    for column, share in zip(relaxation.columns, relaxation.shares.tolist(), strict=True):
        if share > LEAST_SHARE:
            paths.setdefault(column.atom, []).append((column.path, share))
    for index, mine in paths.items():
        paths[index] = _worth_moving(setting, index, mine)
    wishes = wished_slices(setting.atoms, paths, slicer.grains)
    order = sorted(wishes, key=lambda index: (-_worth(setting, base[index], wishes[index]), index))
    prices = relaxation.prices

    for attempt in range(1, TRIES + 1):
        for _ in range(2):
            slicer.take(wishes, order, prices, budget.is_over)
        try:
            plan = assignment_of(setting, slicer)
            return _polished(setting, slicer, order, plan, budget)
        except NoAddress as refused:
            if budget.is_over():
                break
            slices = listed(slicer)
            for stay in refused.stays:
                bad = slices[stay.slice]
                settled = _settled(setting, bad, prices)
                if settled is not None:
                    placed = slicer.items[bad.atom]
                    wishes[bad.atom] = [settled if item is bad else item for item in placed]
                elif attempt <= KEEPS_FREE:
                    _keep_free(slicer, stay, attempt)
                else:
                    slicer.carries = False  # but for what is wished
                    _let_go(setting, slicer, wishes, base, stay, whole=attempt > TRIES - 3)
            slicer.place(base)
    return None


def _let_go(
    setting: Setting,
    slicer: Slicer,
    wishes: dict[int, list[Slice]],
    base: Mapping[int, Sequence[Slice]],
    stay: Homeless,
    *,
    whole: bool,
) -> None:
    """Carry fewer slices over the seam in a tier where something found no pages.

    Pages that a slice comes back to are free before, and yet of no use to what stays beyond that
    step. Slices that come back during the stay go the frugal way instead, the smallest first, until
    there is room; all that are carried in the tier, with `whole`.
    """
    missing = stay.size_bytes
    carried: list[tuple[int, int, Slice]] = []
    for number, item in enumerate(listed(slicer)):
        if item.path.carried >> stay.tier & 1:
            back = [
                start
                for tier, start, _, end, source in item.path.stays.tolist()
                if tier == stay.tier and end == setting.network.steps and source >= 0
            ]
            if whole or any(stay.start < step < stay.end for step in back):
                carried.append((item.end_byte - item.start_byte, number, item))
    for size, _, item in sorted(carried, key=lambda entry: entry[:2]):
        frugal = [
            replace(
                b,
                start_byte=max(b.start_byte, item.start_byte),
                end_byte=min(b.end_byte, item.end_byte),
            )
            for b in base[item.atom]
            if b.start_byte < item.end_byte and b.end_byte > item.start_byte
        ]
        known = wishes[item.atom]
        if item not in known:  # it went another way than was wished: all that is there is
            known = slicer.items[item.atom]
        wishes[item.atom] = [p for other in known for p in (frugal if other is item else [other])]
        missing -= size
        if missing <= 0 and not whole:
            break


def _keep_free(slicer: Slicer, stay: Homeless, times: int) -> None:
    """Space that others do not get, where something found no address."""
    slicer.ledger.room[stay.tier, stay.start : stay.end] -= times * stay.size_bytes


def _polished(
    setting: Setting, slicer: Slicer, order: Sequence[int], plan: Assignment, budget: Budget
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
            for stay in refused.stays:
                _keep_free(slicer, stay, attempt)
            slicer.place(start)
            continue
        # Slices that moved together shared a set-up, which the search does not know.
        return min(plan, found, key=lambda p: score(p).latency_s)
    return plan


def _settled(setting: Setting, item: Slice, prices: Prices) -> Slice | None:
    """A slice that is carried over the seam, staying for ever where it was carried.

    None where it is not carried, or stays already.
    """
    life, carried = setting.lives[item.atom], item.path.carried
    if not carried or life is None:
        return None
    stays = life.start | carried
    fixed = replace(life, start=stays, needed=stays, forced=stays, is_carried=False)
    _, path = setting.finder.cheapest(fixed, prices, exact=True)
    if path is None or path.key == item.path.key:
        return None
    return replace(item, path=path)


def _worth_moving(
    setting: Setting, index: int, paths: list[tuple[Path, float]]
) -> list[tuple[Path, float]]:
    """The paths of an atom without those whose transfers take less time than their set-ups."""
    network, size = setting.network, setting.atoms[index].size_bytes
    link_of = {(a, b): i for i, (a, b) in enumerate(network.links.tolist())}
    least: list[float] = []
    for path, _ in paths:
        links = [link_of[s, d] for d, _, _, _, s in path.stays.tolist() if s >= 0]
        least.append(max((network.setups_s[i] * network.link_rates[i] for i in links), default=0))
    kept = [p for p, few in zip(paths, least, strict=True) if p[1] * size >= few]
    return kept or [max(paths, key=lambda item: item[1])]


def _worth(setting: Setting, base: Sequence[Slice], wished: Sequence[Slice]) -> float:
    """Seconds of slow ports and links that wished paths save, per byte and step of space."""
    life = setting.lives[base[0].atom]
    assert life is not None  # noqa: S101 - only atoms with a life have slices
    capped = np.array([float(m in setting.capped) for m in range(setting.network.tiers)])

    def seconds(items: Sequence[Slice]) -> float:
        total = 0.0
        for item in items:
            column = column_of(setting.network, item.atom, life, item.path)
            total += float(column.busy_s.sum()) * (item.end_byte - item.start_byte)
        return total / life.size_bytes

    space = sum(space_taken(s.path, capped) * (s.end_byte - s.start_byte) for s in wished)
    return (seconds(base) - seconds(wished)) / max(space, 1e-30)


def listed(slicer: Slicer) -> list[Slice]:
    """All slices in the order of atoms (buffers) and bytes."""
    return [item for index in sorted(slicer.items) for item in slicer.items[index]]


def assignment_of(setting: Setting, slicer: Slicer) -> Assignment:
    """The slices with addresses.

    Raises:
        NoAddress: some have none.
    """
    slices = listed(slicer)
    buffers = [setting.atoms[item.atom].buffer for item in slices]
    network = setting.network
    return Assignment(
        network.problem,
        tuple(residencies_of(network, slicer.ledger, slices, setting.roomy, buffers)),
        tuple(transfers_of(network, slices, buffers)),
    )
