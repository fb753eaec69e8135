"""Mutation tests: break the core modules in small ways; a mutant that no test notices is a gap.

    make mutate                                            every mutant of every core module
    make mutate MODULES="hwmodels/cost.py" SAMPLE=50       50 mutants of one module

Mutants are cosmic-ray's. They are tested on a copy of the working tree in a temporary folder. What
came out is kept in `build/mutation`, one cosmic-ray session for each text of a module, so that an
interrupted run goes on where it was; survivors are tested again when their tests have changed.
`judged.yaml` lists the mutants that are equivalent to the module, with the reason, and survivors
that are known. Those that are equivalent are tested with `--all` only.
"""

import argparse
import difflib
import hashlib
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import WorkDB
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkItem, WorkResult

from tests.mutation.judged import Change, Judgement, read_judged
from tests.mutation.modules import TESTS_OF
from tests.mutation.worker import outcome_of, prepare

ROOT = Path(__file__).parents[2]
SESSIONS = ROOT / "build" / "mutation"
# Digits of a hash that tell the texts of a module apart.
DIGITS = 12
# Of cosmic-ray's replacements of operators, those that are hardest to notice: who notices `<` for
# `<=` and `!=` notices the others, too (relational operators: Kaminski, Ammann, Offutt, "Improving
# logic-based testing", 2013). Every other kind of mutant is tested as it is.
KEPT = {
    "ReplaceBinaryOperator": (
        *("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "Div_FloorDiv", "FloorDiv_Div"),
        *("FloorDiv_Mul", "Mod_FloorDiv", "Pow_Mul", "LShift_RShift", "RShift_LShift"),
        *("BitOr_BitAnd", "BitAnd_BitOr", "BitXor_BitOr"),
    ),
    "ReplaceComparisonOperator": (
        *("Lt_LtE", "Lt_NotEq", "LtE_Lt", "LtE_Eq", "Gt_GtE", "Gt_NotEq", "GtE_Gt", "GtE_Eq"),
        *("Eq_LtE", "Eq_GtE", "Eq_NotEq", "NotEq_Lt", "NotEq_Gt", "NotEq_Eq", "Is_IsNot"),
        "IsNot_Is",
    ),
    "ReplaceUnaryOperator": ("Delete_UAdd", "Delete_USub", "Delete_Invert", "Delete_Not"),
}


@dataclass
class Tally:
    """What became of the mutants of one module.

    Attributes:
        counts: mutants by outcome: killed, equivalent, known, survived, stillborn, untested.
        survivors: those that are in no list.
        known: those that are listed as known, with the reason why no test notices them.
        used: entries of `judged.yaml` that cover one of them.
        text: first digits of the SHA-256 of the module's text; empty for several modules.
    """

    counts: Counter[str] = field(default_factory=Counter)
    survivors: list[Change] = field(default_factory=list)
    known: list[tuple[Change, str]] = field(default_factory=list)
    used: set[Judgement] = field(default_factory=set)
    text: str = ""

    def add(self, other: "Tally") -> None:
        """Add what became of others."""
        self.counts += other.counts
        self.survivors += other.survivors
        self.known += other.known
        self.used |= other.used

    def __str__(self) -> str:
        columns = ("killed", "survived", "known", "equivalent", "stillborn")
        figures = ", ".join(f"{self.counts[name]} {name}" for name in columns)
        return f"{figures}; {self.share:.1%} survive"

    @property
    def share(self) -> float:
        """Survivors among the mutants that are not equivalent."""
        alive = self.counts["survived"] + self.counts["known"]
        return alive / max(1, alive + self.counts["killed"])


def copy_tree(folder: Path) -> None:
    """Copy the project without what git ignores, and lay out the package `ullage`."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    for name in listed.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    link = [sys.executable, "-m", "tests.support.link_types"]
    subprocess.run(link, cwd=folder, check=True)


def session_of(source: Path, text: str) -> WorkDB:
    """The cosmic-ray session of a module's text, in which its mutants are listed."""
    SESSIONS.mkdir(parents=True, exist_ok=True)
    name = ".".join((*source.relative_to(ROOT).with_suffix("").parts, digest(text)[:DIGITS]))
    return WorkDB(str(SESSIONS / f"{name}.sqlite"), WorkDB.Mode.create)


def digest(*texts: str) -> str:
    """A hash of some texts."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def mutants_of(session: WorkDB, sample: int | None) -> list[WorkItem]:
    """The mutants to test, in an order that is always the same and mixes the kinds."""

    def rank(item: WorkItem) -> str:
        (mutation,) = item.mutations
        return digest(mutation.operator_name, str(mutation.occurrence))

    return sorted(filter(_is_kept, session.work_items), key=rank)[:sample]


def _is_kept(item: WorkItem) -> bool:
    (mutation,) = item.mutations
    family, _, change = mutation.operator_name.rpartition("/")[2].partition("_")
    return family not in KEPT or change in KEPT[family]


def mutated(item: WorkItem, text: str) -> str:
    """A module's text with a mutant's change."""
    (mutation,) = item.mutations
    changed = mutate_code(text, get_operator(mutation.operator_name)(), mutation.occurrence)
    return str(changed)


def change_of(module: str, item: WorkItem, text: str, changed: str) -> Change:
    """The lines that a mutant changes."""
    old, new = text.splitlines(), changed.splitlines()
    before, after = [], []
    for tag, a, b, c, d in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if tag != "equal":
            before += old[a:b]
            after += new[c:d]
    (mutation,) = item.mutations
    joined = [" ".join(" ".join(lines).split()) for lines in (before, after)]
    return Change(module, mutation.start_pos[0], mutation.definition_name or "", *joined)


def test_module(
    tree: Path, module: str, sample: int | None, processes: int, spared: list[Judgement]
) -> Iterator[str]:
    """Test the mutants of a module that have not been tested yet; yields what to print.

    Args:
        tree: copy of the project.
        module: path of the module.
        sample: how many mutants, None for all.
        processes: workers side by side.
        spared: entries whose mutants are not tested.
    """
    text = (tree / module).read_text(encoding="utf-8")
    tests = TESTS_OF[module]
    files = sorted({tree / name.partition("::")[0] for name in tests})
    files += sorted((tree / "tests" / "support").glob("*.py"))
    state = digest(*tests, *(file.read_text(encoding="utf-8") for file in files))
    session = session_of(ROOT / module, text)
    if not session.num_work_items:
        init([tree / module], session, {})
    results = dict(session.results)
    waiting: list[tuple[WorkItem, str]] = []
    for item in mutants_of(session, sample):
        result = results.get(item.job_id)
        survived = result is not None and result.test_outcome is TestOutcome.SURVIVED
        if result is None or (survived and result.output != state):
            changed = mutated(item, text)
            change = change_of(module, item, text, changed)
            if not any(entry.covers(change) for entry in spared):
                waiting.append((item, changed))
    yield f"{module}: {len(waiting)} mutants to test"
    if waiting:
        with ProcessPoolExecutor(
            processes, multiprocessing.get_context("spawn"), prepare, (str(tree), module, tests)
        ) as pool:
            asked = {pool.submit(outcome_of, changed): item for item, changed in waiting}
            for done in as_completed(asked):
                result = WorkResult(WorkerOutcome.NORMAL, state, done.result())
                session.set_result(asked[done].job_id, result)
    session.close()


def tally_of(
    tree: Path, module: str, sample: int | None, judged: tuple[list[Judgement], list[Judgement]]
) -> Tally:
    """What became of the mutants of a module."""
    text = (tree / module).read_text(encoding="utf-8")
    tally = Tally(text=digest(text)[:DIGITS])
    session = session_of(ROOT / module, text)
    results = dict(session.results)
    names = {TestOutcome.KILLED: "killed", TestOutcome.INCOMPETENT: "stillborn"}
    for item in mutants_of(session, sample):
        result = results.get(item.job_id)
        if result is not None and result.test_outcome in names:
            tally.counts[names[result.test_outcome]] += 1
            continue
        change = change_of(module, item, text, mutated(item, text))
        for name, entries in zip(("equivalent", "known"), judged, strict=True):
            entry = next((entry for entry in entries if entry.covers(change)), None)
            if entry:
                tally.counts[name] += 1
                tally.used.add(entry)
                if name == "known":
                    tally.known.append((change, entry.reason))
                break
        else:
            tally.counts["survived" if result else "untested"] += 1
            tally.survivors += [change] if result else []
    session.close()
    return tally


def tallies_of(
    modules: Iterable[str],
    sample: int | None = None,
    processes: int = 2,
    *,
    also_equivalent: bool = False,
    only_tested: bool = False,
) -> Iterator[tuple[str, Tally]]:
    """Test the mutants of some modules; yields each module with what became of its mutants.

    Args:
        modules: their paths.
        sample: how many mutants of each, None for all.
        processes: workers side by side.
        also_equivalent: whether to test those that are listed as equivalent, too.
        only_tested: whether to test none and tell of those that have been tested before.
    """
    judged = read_judged()
    with tempfile.TemporaryDirectory(prefix="ullage-mutation-") as folder:
        tree = Path(folder)
        copy_tree(tree)
        for module in modules:
            spared = [] if also_equivalent else judged[0]
            for line in () if only_tested else test_module(tree, module, sample, processes, spared):
                print(line, flush=True)
            yield module, tally_of(tree, module, sample, judged)


def main() -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="default: the core modules")
    parser.add_argument("--sample", type=int, help="mutants of each module (default: all)")
    parser.add_argument("--processes", type=int, default=2, help="side by side (default: 2)")
    parser.add_argument(
        "--limit", type=float, default=5.0, help="percent that may survive (default: 5)"
    )
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs found")
    parser.add_argument(
        "--all", action="store_true", help="test those that are listed as equivalent, too"
    )
    asked = parser.parse_args()
    unknown = set(asked.modules) - set(TESTS_OF)
    if unknown:
        parser.error(f"no tests are named for {', '.join(sorted(unknown))}; see modules.py")
    if asked.fresh:
        shutil.rmtree(SESSIONS, ignore_errors=True)
    judged = read_judged()
    total = Tally()
    tallies = tallies_of(
        asked.modules or TESTS_OF, asked.sample, asked.processes, also_equivalent=asked.all
    )
    for module, tally in tallies:
        total.add(tally)
        print(f"{module}: {tally}", flush=True)
        for change in sorted(tally.survivors):
            print(f"  {change}")
        for change, reason in sorted(tally.known):
            print(f"  known: {change}\n    {reason}")
    print(f"all: {total}, {asked.limit:g} % may")
    if not asked.modules and asked.sample is None:
        for entry in {*judged[0], *judged[1]} - total.used:
            print(f"judged.yaml: no mutant survives as {entry.where}: {entry.before}")
    return int(100 * total.share > asked.limit)


if __name__ == "__main__":
    sys.exit(main())
