"""`rl` with 1 s against the exact optimum of whole tensors, where `cpsat` finds or bounds it.

The bound of `fluid` allows slices, so whole tensors may not reach it; `cpsat` bounds whole ones.
Programs as in rl_players.py, the small ones; `cpsat` has one thread.

Run: python benchmarks/rl_exact.py [--seconds S] [--max-uses N] [--synthetic N]
"""

import argparse

import numpy as np
from common import plan_by, write_table
from rl_players import PROVEN, programs

from ullage.compiler.common.errors import InfeasibleError
from ullage.hwmodels.cost import score
from ullage.rl_agent.env.game_instance import game_instance_of

RL_S = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of cpsat for each pair")
    parser.add_argument("--max-uses", type=int, default=200)
    parser.add_argument("--synthetic", type=int, default=12)
    given = parser.parse_args()
    rows: list[list[str]] = []
    gaps, rivals = [], []
    for name, problem in programs([], given.synthetic):
        try:
            uses = len(game_instance_of(problem).arrays.access_segment)
        except InfeasibleError:
            continue
        if not 8 <= uses <= given.max_uses:
            continue
        found = {}
        for solver, seconds in (("rl", RL_S), ("cpsat", given.seconds)):
            found[solver] = plan_by(solver, problem, seconds)
        rl_s, cpsat_s = (score(found[solver]).latency_s for solver in ("rl", "cpsat"))
        exact = found["cpsat"]
        bound_s = max(exact.lower_bound or 0.0, exact.statistics.get("whole_bound", 0.0))
        gaps.append(rl_s / bound_s - 1)
        rivals.append(rl_s / cpsat_s)
        row = [f"{1e3 * rl_s:.4f}", f"{1e3 * cpsat_s:.4f}", f"{1e3 * bound_s:.4f}"]
        rows.append([name, str(uses), *row, f"{100 * gaps[-1]:.2f} %", f"{rivals[-1]:.4f}"])
        print(rows[-1], flush=True)
        write(rows, np.array(gaps), np.array(rivals), given.seconds)
    print(write(rows, np.array(gaps), np.array(rivals), given.seconds))


def write(rows: list[list[str]], gaps: np.ndarray, rivals: np.ndarray, seconds: float) -> str:
    """The table, with its means in the last row."""
    proven = f"{(gaps <= PROVEN).sum()} of {len(gaps)} within 0.1 % of the bound"
    mean = [proven, "", "", "", "", f"{100 * gaps.mean():.2f} %", f"{rivals.mean():.4f}"]
    columns = ["program", "uses", "rl, 1 s [ms]", f"cpsat, {seconds:g} s [ms]"]
    columns += ["bound of whole tensors [ms]", "gap of rl", "rl / cpsat"]
    title = "rl against the exact optimum of whole tensors"
    return write_table("rl_exact", title, columns, [*rows, mean])


if __name__ == "__main__":
    main()
