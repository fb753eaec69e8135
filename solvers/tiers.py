"""`fluid` on targets with three tiers and more: flash -> DRAM -> SRAM, host -> device -> on-chip.

1. A frugal plan: every operand is where operators reach it just when they need it, else at home.
2. The relaxation of `tiers_relax` by column generation, with a certified bound.
3. Its shares cut into slices (`tiers_slices`) that replace the frugal ones where they fit.
4. Addresses in pages, or in one piece where the target does not cut freely (`tiers_plan`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ullage.compiler.plan import Plan
from ullage.compiler.problem import Problem
from ullage.hwmodels.cost import mac_energy_j, objective_value, overhead_seconds, score
from ullage.hwmodels.target import Target
from ullage.solvers.atoms import Atom, atoms_of
from ullage.solvers.fluid_relax import Relaxation
from ullage.solvers.refusal import step_refusal
from ullage.solvers.registry import SolverOptions
from ullage.solvers.tiers_hint import direct_prices
from ullage.solvers.tiers_master import Column, column_of
from ullage.solvers.tiers_network import Life, Network, Prices, life_of
from ullage.solvers.tiers_paths import Finder, Path
from ullage.solvers.tiers_plan import NoAddress, residencies_of, transfers_of
from ullage.solvers.tiers_relax import TiersRelaxation, relax_tiers
from ullage.solvers.tiers_slices import Ledger, Slice, Slicer
from ullage.solvers.tiers_wishes import space_taken, wished_slices

PAGES = 65536  # at most, of a tier
FEWEST_PAGES = 64  # a smaller tier is not cut into pages
TRIES = 10  # to find addresses, with fewer wishes each time
LEAST_SHARE = 1e-7  # of an atom that is worth a slice


@dataclass(frozen=True)
class Setting:
    """A problem made ready.

    Attributes:
        network: its tiers and steps.
        atoms: its atoms.
        lives: theirs.
        roomy: mask of the tiers with room for everything.
        finder: of paths.
    """

    network: Network
    atoms: tuple[Atom, ...]
    lives: tuple[Life | None, ...]
    roomy: int
    finder: Finder

    @property
    def capped(self) -> list[int]:
        """Tiers whose capacity can bind."""
        return [m for m in range(self.network.tiers) if not self.roomy >> m & 1]


def setting_of(problem: Problem, target: Target, objective: str) -> Setting:
    """Network, atoms and their lives.

    Raises:
        InfeasibleError: an operator's workspace alone does not fit.
    """
    network = Network(problem, target, objective)
    tightest = int(network.room[0].argmin())
    if network.room[0, tightest] < 0:
        needed = problem.steps[tightest].workspace_bytes
        raise step_refusal(problem, target, tightest, needed, ())
    atoms = atoms_of(problem, target)
    roomy = sum(1 << m for m in range(1, network.tiers) if network.is_roomy(m, atoms))
    lives = tuple(life_of(network, atom, roomy) for atom in atoms)
    return Setting(network, atoms, lives, roomy, Finder(network))


def frugal_plan(problem: Problem, target: Target, options: SolverOptions, solver: str) -> Plan:
    """The plan that streams operator by operator: the reference where home is out of reach.

    Raises:
        InfeasibleError: an operator's operands do not fit wherever they may lie.
    """
    setting = setting_of(problem, target, options.objective)
    return _frugal(setting, solver, options)[1]


def _frugal(setting: Setting, solver: str, options: SolverOptions) -> tuple[Slicer, Plan]:
    """Slicer and plan of the least space; small tiers are cut into pages where they must be."""
    try:
        slicer = _slicer(setting, FEWEST_PAGES)
        slicer.frugal()
        return slicer, _plan(setting, slicer, solver, options)
    except NoAddress:
        slicer = _slicer(setting, 1)
        slicer.frugal()
    try:
        return slicer, _plan(setting, slicer, solver, options)
    except NoAddress as refused:
        raise slicer.refusal(
            _listed(slicer)[min(stay.slice for stay in refused.stays)].atom
        ) from None


def solve_tiers(
    problem: Problem,
    target: Target,
    options: SolverOptions,
    parameters: Mapping[str, Any],
    direct: Relaxation | None = None,
) -> Plan:
    """The fluid plan of a target with more than two tiers.

    Args:
        problem: the problem.
        target: the chip.
        options: objective, seed and deadline.
        parameters: of `fluid`.
        direct: what is known of moves between home and the fastest tier only: prices to begin with.

    Raises:
        InfeasibleError: an operator's operands do not fit wherever they may lie.
    """
    setting = setting_of(problem, target, options.objective)
    slicer, reference = _frugal(setting, "fluid", options)
    base = {index: list(items) for index, items in slicer.items.items()}
    known = _dynamic(reference, options.objective)
    first = _columns_of(setting, base)
    relaxation = relax_tiers(
        setting.network,
        setting.finder,
        setting.lives,
        first,
        setting.capped,
        reference=known,
        options=options,
        parameters=parameters,
        hint=None if direct is None else direct_prices(setting.network, direct),
    )
    if relaxation is None:
        note = "fluid: the LP was not solved (time limit or numerics): operators are streamed"
        return replace(reference, notes=(*reference.notes, note))
    plan = _sliced(setting, slicer, base, relaxation, options) or reference
    if objective_value(score(plan), options.objective) > objective_value(
        score(reference), options.objective
    ):
        plan = reference
    if not _covers_all_ways(problem, target):
        return plan
    return replace(plan, lower_bound=relaxation.bound, bound_source="fluid-lp")


def _covers_all_ways(problem: Problem, target: Target) -> bool:
    """Whether all bytes of an atom are used alike, so that its paths are those of its bytes.

    Where tensors stay whole, a use of a part (of a concatenation, say) leaves other bytes alone,
    which a plan may keep elsewhere: there no bound is claimed.
    """
    return target.split_operands or all(
        (use.start_byte, use.end_byte) == (0, problem.buffers[use.buffer].size_bytes)
        for step in problem.steps
        for use in step.uses
    )


def _slicer(setting: Setting, fewest_pages: int) -> Slicer:
    """A slicer with an empty ledger; tiers of fewer pages are not cut into pages."""
    network, target = setting.network, setting.network.target
    grain = target.slice_granularity_bytes
    units: list[int] = []
    paged: list[bool] = []
    for m, tier in enumerate(target.tiers):
        page = int(np.lcm(max(1, grain), tier.alignment_bytes))
        has_pages = target.split_operands and grain > 0 and not setting.roomy >> m & 1
        paged.append(has_pages and tier.capacity_bytes >= fewest_pages * page)
        page *= max(1, tier.capacity_bytes // PAGES // page)
        units.append(page if paged[m] else tier.alignment_bytes)
    ledger = Ledger(network, units, paged)
    grains = []
    for atom in setting.atoms:
        cut = grain or setting.network.problem.buffers[atom.buffer].row_bytes
        for unit, has_pages in sorted(zip(units, paged, strict=True)):
            if has_pages and unit % cut == 0 and (unit == units[0] or unit * 64 <= atom.size_bytes):
                cut = unit
        grains.append(cut if target.split_operands else 0)
    return Slicer(network, setting.atoms, setting.lives, setting.finder, ledger, grains)


def _columns_of(setting: Setting, items: Mapping[int, Sequence[Slice]]) -> list[Column]:
    """The paths of slices as columns, each once."""
    found: dict[tuple[int, bytes], Column] = {}
    for index, slices in items.items():
        life = setting.lives[index]
        assert life is not None  # noqa: S101 - only atoms with a life have slices
        for item in slices:
            if (index, item.path.key) not in found:
                found[index, item.path.key] = column_of(setting.network, index, life, item.path)
    return list(found.values())


def _dynamic(plan: Plan, objective: str) -> float:
    """A plan's value without what no decision changes."""
    value = objective_value(score(plan), objective)
    if objective == "latency":
        return value - float(overhead_seconds(plan.problem, plan.target).sum())
    if objective == "energy":
        return value - mac_energy_j(plan.problem, plan.target)[0]
    return max(value, float(sum(u.accessed_bytes for s in plan.problem.steps for u in s.uses)))


def _sliced(
    setting: Setting,
    slicer: Slicer,
    base: Mapping[int, list[Slice]],
    relaxation: TiersRelaxation,
    options: SolverOptions,
) -> Plan | None:
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

    def is_over() -> bool:
        return options.remaining_s() <= 0

    for attempt in range(1, TRIES + 1):
        for _ in range(2):
            slicer.take(wishes, order, prices, is_over)
        try:
            return _plan(setting, slicer, "fluid", options)
        except NoAddress as refused:
            if is_over():
                break
            listed = _listed(slicer)
            for stay in refused.stays:
                bad = listed[stay.slice]
                settled = _settled(setting, bad, prices)
                if settled is not None:
                    placed = slicer.items[bad.atom]
                    wishes[bad.atom] = [settled if item is bad else item for item in placed]
                else:  # space is left free there, which others take less of
                    room = slicer.ledger.room[stay.tier, stay.start : stay.end]
                    room -= attempt * stay.size_bytes
            slicer.place(base)
    return None


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


def _listed(slicer: Slicer) -> list[Slice]:
    """All slices in the order of atoms (buffers) and bytes."""
    return [item for index in sorted(slicer.items) for item in slicer.items[index]]


def _plan(setting: Setting, slicer: Slicer, solver: str, options: SolverOptions) -> Plan:
    slices = _listed(slicer)
    buffers = [setting.atoms[item.atom].buffer for item in slices]
    network = setting.network
    return Plan(
        target=network.target,
        problem=network.problem,
        residencies=tuple(residencies_of(network, slicer.ledger, slices, setting.roomy, buffers)),
        transfers=tuple(transfers_of(network, slices, buffers)),
        solver=solver,
        objective=options.objective,
        seed=options.seed,
    )
