"""Random targets over the whole range that target files admit x small problems x all solvers.

Every answer is a verified plan or an error by name; no solver calls infeasible what `greedy` plans,
and what follows a plan (bounds, replay, report) ends too. Prints what does not, with the seed.

    python benchmarks/fuzz_targets.py [--first 0] [--count 200] [--solvers greedy,fluid]
"""

import argparse
import collections
import sys
import time
from collections.abc import Sequence

from common import ROOT

from ullage.solvers.registry import find_solver, missing_packages, solver_names


def own_solvers() -> list[str]:
    """Solvers of this project whose packages are installed."""
    found = map(find_solver, solver_names())
    return [solver.name for solver in found if solver.is_ours and not missing_packages(solver)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases; 1 where any breaks the rules above."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--count", type=int, default=200, help="number of problems")
    parser.add_argument("--solvers", default="", help="names, by default all but muzero")
    asked = parser.parse_args(arguments)
    # `muzero` trains for each problem: name it to include it.
    names = asked.solvers.split(",") if asked.solvers else own_solvers()
    names = [name for name in names if asked.solvers or name != "muzero"]
    sys.path.insert(0, str(ROOT))
    from tests.support.extreme_targets import OBJECTIVES, breaches_of, extreme_problem

    begun, broken = time.monotonic(), 0
    answers: collections.Counter[str] = collections.Counter()
    for seed in range(asked.first, asked.first + asked.count):
        problem = extreme_problem(seed)
        for objective in OBJECTIVES:
            for breach in breaches_of(problem.minimising(objective), names, answers):
                broken += 1
                print(f"seed {seed}, {objective}: {breach}")
    total = ", ".join(f"{count} {kind}" for kind, count in sorted(answers.items()))
    print(f"{asked.count} problems, {time.monotonic() - begun:.0f} s: {total}; {broken} breaches")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
