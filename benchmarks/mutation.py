"""Table of the mutants of the core modules: how many there are, and which no test notices.

python benchmarks/mutation.py   # an hour of CPU time; less what `make mutate` has tested already

python benchmarks/mutation.py --tested   # of what has been tested already; says how much has not

Each row names the text of the module that it is about: the first digits of its SHA-256. Exit code 1
when more than 5 % of those survive that differ from the module, or some have not been tested. How
mutants are made and tested: `tests/mutation/run.py`; which are no different, and why:
`tests/mutation/judged.yaml`.
"""

import argparse
import sys

from common import ROOT, write_table

sys.path.insert(0, str(ROOT))

from tests.mutation.modules import TESTS_OF
from tests.mutation.run import Tally, tallies_of

LIMIT = 0.05
COLUMNS = (
    *("module", "its text", "mutants", "no valid module", "equivalent", "killed", "survive"),
    *("survive %", "not tested"),
)


def row_of(name: str, tally: Tally) -> list[str | int]:
    """A line of the table: what became of the mutants of a module, or of all."""
    counts = tally.counts
    alive = counts["survived"] + counts["known"]
    shown = [counts["stillborn"], counts["equivalent"], counts["killed"], alive]
    untested = counts["untested"]
    return [name, tally.text, sum(shown) + untested, *shown, f"{tally.share:.1%}", untested]


def _as_code(line: str) -> str:
    """A line of code in a cell of a Markdown table."""
    escaped = line.replace("|", "\\|")
    return f"`{escaped}`"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--tested", action="store_true", help="test none; table of earlier runs")
    asked = parser.parse_args()
    total = Tally()
    rows = []
    for module, tally in tallies_of(TESTS_OF, only_tested=asked.tested):
        total.add(tally)
        rows.append(row_of(module, tally))
    rows.append(row_of("all", total))
    print(write_table("mutation", "Mutants of the core modules", COLUMNS, rows))
    survivors = [
        (f"{change.module}:{change.line}", _as_code(change.before), _as_code(change.after), reason)
        for change, reason in sorted([*total.known, *((s, "") for s in total.survivors)])
    ]
    columns = ("place", "line", "mutant that no test notices", "why")
    print(write_table("mutation_survivors", "Mutants that survive", columns, survivors))
    return int(total.share > LIMIT or total.counts["untested"] > 0)


if __name__ == "__main__":
    sys.exit(main())
