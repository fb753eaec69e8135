"""Opening windows: which profiles would gain from an earlier step, by the LP's own prices."""

from collections.abc import Sequence

import numpy as np

from ullage.hwmodels.target import Target
from ullage.solvers.atoms import Atom
from ullage.solvers.fluid_program import FluidProgram
from ullage.solvers.lp import Floats, Solution

OPENED_STEPS = 64  # a window is opened at least this far, so that rounds stay few


def windows_to_open(
    fluid: FluidProgram,
    atoms: Sequence[Atom],
    target: Target,
    solution: Solution,
    windows: dict[tuple[int, int], int],
    tolerance: float,
) -> dict[tuple[int, int], int]:
    """Profiles that an earlier (or spills that a later) step would pay for, and how far.

    The price of arriving at step t is that of the moved bytes at t and of the space until the
    window; the gain is the price of moving at the window's first step instead. When none is
    found, the value of the program is that of the program with all windows open.
    """
    duals = solution.duals
    space = np.maximum(-duals[fluid.capacity_rows], 0.0) / fluid.unit_bytes
    cumulative = np.concatenate([[0.0], np.cumsum(space)])
    prices = {key: _move_price(fluid, target, duals, *key) for key in fluid.link_rows}
    opened: dict[tuple[int, int], int] = {}
    fastest = target.fastest.name
    for gap in fluid.gaps:
        if not len(gap.profile) or gap.window <= gap.first_step:
            continue
        atom = atoms[gap.atom]
        size = atom.size_bytes
        price = prices[atom.home, fastest]
        gain = size * price[gap.window] - max(duals[gap.first_move_row], 0.0)
        early = np.arange(gap.first_step, gap.window)
        cost = size * (price[early] + cumulative[gap.window] - cumulative[early])
        pays = np.flatnonzero(cost < gain - tolerance)
        if len(pays):
            step = int(early[pays[0]])
            opened[gap.atom, gap.event] = max(gap.first_step, min(step, gap.window - OPENED_STEPS))
    for version in fluid.versions:
        reach = version.spill_first + len(version.spill)
        if not len(version.spill) or reach >= version.spill_last:
            continue
        atom = atoms[version.atom]
        price = prices[fastest, atom.home]
        gain = max(duals[version.spill_row], 0.0)
        late = np.arange(reach, version.spill_last)
        pays = np.flatnonzero(atom.size_bytes * price[late] < gain - tolerance)
        if len(pays):
            opened[version.atom, -1 - version.event] = min(
                version.spill_last, max(int(late[pays[-1]]) + 1, reach + OPENED_STEPS)
            )
    return {key: step for key, step in opened.items() if windows.get(key) != step}


def _move_price(
    fluid: FluidProgram, target: Target, duals: Floats, source: str, destination: str
) -> Floats:
    """(T,) price of moving one byte over a link at each step."""
    link = target.link(source, destination)
    assert link is not None  # noqa: S101 - keys of link_rows are links
    per_unit = np.asarray(
        np.maximum(duals[fluid.port_rows[source]], 0.0) / target.tier(source).read_bytes_per_s
        + np.maximum(duals[fluid.port_rows[destination]], 0.0)
        / target.tier(destination).write_bytes_per_s
        + np.maximum(duals[fluid.link_rows[source, destination]], 0.0) / link.bandwidth_bytes_per_s,
        dtype=np.float64,
    )
    return per_unit / fluid.unit_s
