"""The master program: shares of segments on paths, within capacities and times.

    minimise  sum of elapsed[t] + cost of paths
    elapsed[t] >= compute[t], and >= the seconds that each port and link is busy
    load[m, t] <= room of tier m;  the shares of every segment sum to 1

load[m, t] - load[m, t - 1] is what comes less what goes. A column is a path of a segment. The rows
do not change while columns are added, so that the simplex method goes on from its last basis.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.solvers.lp.program import INFINITY, Basis, LinearProgram, reduced_costs
from ullage.solvers.lp.solve import solve_lp_in_turn
from ullage.solvers.paths.column import Column
from ullage.solvers.paths.network import TierNetwork


@dataclass(frozen=True)
class Master:
    """A solved master program.

    Attributes:
        objective: its optimum, in the objective's unit (without the operators' overhead).
        shares: (columns,) of their segments.
        busy: (R, T) price of a second that a resource is busy.
        space: (n, T) price of a byte's space.
        worth: (segments,) multiplier of a segment's shares: what its cheapest known path costs.
        basis: to go on from with more columns.
    """

    objective: float
    shares: Floats
    busy: Floats
    space: Floats
    worth: Floats
    basis: Basis | None


class MasterProgram:
    """The rows of the master program; columns are added at the end.

    Attributes:
        network: the network.
        owners: segments that have columns.
        capacitated: tiers whose capacity can bind.
        unit: the objective's value that counts as 1 in the linear program.
        solver: name of the LP solver.
    """

    def __init__(
        self,
        network: TierNetwork,
        owners: Sequence[int],
        segments: int,
        *,
        capacitated: Sequence[int],
        unit: float,
        solver: str,
    ) -> None:
        self.network, self.capacitated, self.unit, self.solver = (
            network,
            list(capacitated),
            unit,
            solver,
        )
        self.owners = np.array(owners, dtype=np.int64)
        self.row_of = np.full(segments, -1, dtype=np.int64)
        self.row_of[self.owners] = np.arange(len(self.owners))
        self.cells = network.binding_cells() if network.is_timed else np.zeros(0, dtype=np.int64)
        self.steps, self.step_of = np.unique(self.cells % network.steps, return_inverse=True)
        self.scales = [float(max(1, network.room[m].max())) for m in self.capacitated]

    def solve(
        self, columns: Sequence[Column], start: Basis | None, time_limit_s: float | None
    ) -> Master | None:
        """Solve over the columns; None when the solver finds no optimum in time.

        Args:
            columns: at least one for each owner; those of `start` first.
            start: basis of the program with fewer columns.
            time_limit_s: for the solver.
        """
        network, unit, count = self.network, self.unit, self.network.steps
        lp = LinearProgram()
        compute = network.compute_s[self.steps] / unit
        elapsed = lp.add_variables(len(self.steps), compute, INFINITY)
        lp.add_cost(elapsed, 1.0)
        loads = [
            lp.add_variables(count, -INFINITY, network.room[m] / scale)
            for m, scale in zip(self.capacitated, self.scales, strict=True)
        ]
        shares = lp.add_variables(len(columns), 0.0, 1.0)
        lp.add_cost(shares, np.array([c.cost for c in columns]) / unit)
        sums = lp.add_rows(len(self.owners), 1.0, 1.0)
        segments = np.array([c.segment for c in columns], dtype=np.int64)
        lp.add_entries(sums[self.row_of[segments]], shares, 1.0)
        times = lp.add_rows(len(self.cells), network.idle_table().flat[self.cells] / unit, INFINITY)
        if len(self.cells) and columns:
            lp.add_entries(times, elapsed[self.step_of], 1.0)
            self._add_times(lp, times, shares, columns)
        for m, scale, load in zip(self.capacitated, self.scales, loads, strict=True):
            rows = lp.add_rows(count, 0.0, 0.0)
            lp.add_entries(rows, load, -1.0)
            lp.add_entries(rows[1:], load[:-1], 1.0)
            if columns:
                self._add_loads(lp, rows, shares, columns, m, scale)
        program = lp.frozen()
        solution = solve_lp_in_turn(
            program,
            solver=self.solver,
            time_limit_s=time_limit_s,
            start=start,
            with_basis=True,
        )
        if solution is None:
            return None
        costs = reduced_costs(program, solution.duals)
        space = np.zeros((network.tiers, count))
        for m, scale, load in zip(self.capacitated, self.scales, loads, strict=True):
            space[m] = np.maximum(-costs[load], 0.0) * unit / scale
        worth = np.zeros(len(self.row_of))
        worth[self.owners] = solution.duals[sums] * unit
        flat = np.zeros(network.resources * count)
        flat[self.cells] = np.maximum(solution.duals[times], 0.0)
        busy = flat.reshape(-1, count)
        idle_s = float(network.compute_s.sum() - network.compute_s[self.steps].sum())
        return Master(
            objective=solution.objective * unit + (idle_s if network.is_timed else 0.0),
            shares=solution.values[shares],
            busy=busy / np.maximum(busy.sum(axis=0), 1.0),
            space=space,
            worth=worth,
            basis=solution.basis,
        )

    def _add_times(
        self, lp: LinearProgram, rows: Ints, shares: Ints, columns: Sequence[Column]
    ) -> None:
        """Enter the seconds that columns keep ports and links busy, in the rows that can bind."""
        at = np.concatenate([c.busy_at for c in columns])
        seconds = np.concatenate([c.busy_s for c in columns])
        columns_of_entries = np.repeat(shares, [len(c.busy_at) for c in columns])
        where = np.minimum(np.searchsorted(self.cells, at), len(self.cells) - 1)
        known = self.cells[where] == at
        lp.add_entries(rows[where[known]], columns_of_entries[known], -seconds[known] / self.unit)

    def _add_loads(
        self,
        lp: LinearProgram,
        rows: Ints,
        shares: Ints,
        columns: Sequence[Column],
        tier: int,
        scale: float,
    ) -> None:
        """Enter the bytes that come to and leave a tier by columns."""
        width = self.network.steps + 1
        at = np.concatenate([c.load_at for c in columns])
        size = np.concatenate([c.load_bytes for c in columns])
        columns_of_entries = np.repeat(shares, [len(c.load_at) for c in columns])
        of_tier = (at // width == tier) & (at % width < self.network.steps)
        lp.add_entries(
            rows[at[of_tier] % width], columns_of_entries[of_tier], size[of_tier] / scale
        )
