"""Makes the problem set: problems as files, the best that is known of each, and a certified bound.

`problems/CATEGORY/NAME.json` is a problem (docs/problems.md) with its record: best value, who found
it, lower bound, what proved it. `NAME.solution.json` beside it is the best solution. Anybody may
better one: `ullage check PROBLEM SOLUTION` judges it, `--add SOLUTION` puts it into the set.

    one-shot     operands may lie in slices, an inference once
    steady       inferences repeat for ever, weights may stay
    whole        tensors stay whole
    scratchpad   the compute unit reaches the fastest memory only
    three-tiers  weights begin in flash, the rest in DRAM
    tiled        operators in parts: cascades of convolutional networks
    training     forwards, then backwards

Programs are synthetic (`ullage.rl_agent.training.synthetic`: kinds of networks with drawn depths
and widths, by seed), small convolutional networks drawn here, and graphs that come with the `onnx`
package (Apache-2.0). Fast memory is a share of the most bytes that are alive at once.

A run goes on where the last one ended: problems that are there are left alone, with `--again` they
are solved once more and the better value and bound are kept (`--open`: only where the gap is above
half a percent). `--seconds` is wall-clock time of each solver: on a busy machine give more. All of
them take about 20 minutes of processor time.

Run: python benchmarks/problem_set.py [--jobs N] [--seconds S] [--only TEXT] [--again | --open]
     python benchmarks/problem_set.py --check | --board | --add SOLUTION.json
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import onnx
from networks import Network, finished

from ullage.compiler import Compiled, CompileOptions, compile_model, compile_problem
from ullage.compiler.common.errors import InfeasibleError, TimeLimitError, UllageError
from ullage.compiler.common.files import write_atomic
from ullage.compiler.driver.compile import prepare
from ullage.compiler.exchange.check import check_solution
from ullage.compiler.exchange.problem_file import Record, dump_problem, read_problem
from ullage.compiler.exchange.solution_file import dump_solution, read_solution
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Link, Target, Tier
from ullage.hwmodels.bounds import live_bytes_by_step
from ullage.rl_agent.training.synthetic import random_program

ROOT = Path(__file__).parents[1]
PROBLEMS = ROOT / "problems"
BOARD = ROOT / "docs" / "leaderboard.md"
SOLUTION = ".solution.json"
# Share of the most live bytes that is fast memory, by seed.
SHARES = (0.25, 0.4, 0.55, 0.7)
# Operators of a synthetic problem, at most: files stay small.
MOST_OPERATORS = 56
# Gap up to which the board calls a problem settled to half a percent.
CLOSE = 0.005
# Kinds of synthetic programs, those with the shorter files twice.
INFERENCE_KINDS = (
    *("chain", "dense", "unet", "branches", "inception", "residual"),
    *("chain", "dense", "unet", "branches", "inception", "attention", "cells"),
)
# Kinds and most operators of programs of whole tensors: exact solvers are to prove their plans.
WHOLE_KINDS, MOST_WHOLE = ("unet", "dense", "chain"), 22
# Problems of each synthetic category.
COUNTS = {
    "one-shot": 84,
    "steady": 60,
    "training": 76,
    "three-tiers": 26,
    "scratchpad": 20,
    "whole": 20,
}
SOLVERS = {"whole": ("cpsat", "auto")}
TILED_NETWORKS = 5
TILED_SHARES = (0.3, 0.5)
GRAPHS = ("squeezenet", "shufflenet", "inception_v1", "resnet50")


TAKE_PART = """\
Any solver in any language may read a problem ([format and rules](problems.md)) and write a
solution. `ullage check PROBLEM SOLUTION` says whether it is legal, what it is worth, and whether
it is better than what is known. `python benchmarks/problem_set.py --add SOLUTION` puts a better
one into the set, under the name in its field `solver`, and writes this page anew. A solution
below a stated bound refutes it: please report that, it is a fault."""


@dataclass(frozen=True)
class Task:
    """A problem to be made.

    Attributes:
        category: folder of the set.
        name: of the problem.
        make: the problem; called in the process that solves it.
        solvers: whose plans and bounds are taken, the best of each.
    """

    category: str
    name: str
    make: Callable[[], Problem]
    solvers: tuple[str, ...] = ("fluid",)

    @property
    def path(self) -> Path:
        """Where it is in the set."""
        return PROBLEMS / self.category / f"{self.name}.json"


# ---- programs


@dataclass(frozen=True)
class Synthetic:
    """A synthetic program on a chip of a category."""

    category: str
    kind: str
    seed: int

    def __call__(self) -> Problem:
        """The problem."""
        problem = random_program(Random(self.seed), (self.kind,))  # noqa: S311 - no secret
        target = problem.target
        if self.category != "whole":
            target = replace(target, split_operands=True)
        if self.category == "three-tiers":
            target = with_flash(target)
        program = replace(
            problem.program,
            name=f"{self.category}-{self.kind}-{self.seed}",
            steady_state=self.category == "steady",
        )
        return shrunk(replace(problem, program=program, target=target), self.seed)


def with_flash(target: Target) -> Target:
    """The chip with a read-only flash for weights, a quarter as fast as its DRAM."""
    sram, dram = target.tiers
    rate = dram.read_bytes_per_s / 4
    flash = Tier("flash", 1 << 32, rate, rate, 64, read_only=True)
    links = (*target.links, Link("flash", sram.name, rate))
    homes = {**target.homes, "weight": "flash"}
    return replace(target, tiers=(sram, dram, flash), links=links, homes=homes)


def shrunk(problem: Problem, seed: int) -> Problem:
    """The problem with a share of its most live bytes as fast memory.

    Where operators reach that memory alone, it is what the largest of them needs and a share more.
    """
    target = problem.target
    if target.operand_access == "fastest":
        size = int(most_operands(problem) * (1 + 2 * SHARES[seed % len(SHARES)]))
    else:
        live = int(live_bytes_by_step(problem, target).max())
        size = int(live * SHARES[seed % len(SHARES)])
    return problem.on(target.with_fast_memory(max(size // 64 * 64, 1024)))


def most_operands(problem: Problem) -> int:
    """The most bytes that one operator reads and writes, its workspace included."""
    return max(
        step.workspace_bytes
        + sum(
            {
                (use.buffer, use.start_byte): use.end_byte - use.start_byte for use in step.uses
            }.values()
        )
        for step in problem.steps
    )


@dataclass(frozen=True)
class Tiled:
    """A small convolutional network in cascades, drawn by seed."""

    seed: int
    share: float

    def __call__(self) -> Problem:
        """The problem."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"tiled-{self.seed}-{int(self.share * 100)}.onnx"
            onnx.save(small_network(self.seed), path)
            options = CompileOptions(dtype="int8", schedule="whole")
            whole = prepare(path, options).problem
            live = int(live_bytes_by_step(whole, whole.target).max())
            size = max(int(live * self.share) // 64 * 64, 4096)
            plan = compile_model(
                path, replace(options, schedule="cascade", fast_memory_bytes=size, time_limit_s=8)
            ).plan
        return plan.problem


@dataclass(frozen=True)
class Named:
    """A graph of the `onnx` package, whole operators."""

    name: str
    target: str
    share: float
    steady: bool = False

    def __call__(self) -> Problem:
        """The problem."""
        options = CompileOptions(
            target=self.target, dtype="int8", schedule="whole", steady_state=self.steady
        )
        problem = prepare(find_model(self.name), options).problem
        live = int(live_bytes_by_step(problem, problem.target).max())
        size = int(live * self.share) // 64 * 64
        title = f"{self.name}-{self.target}-{int(self.share * 100)}" + "-steady" * self.steady
        problem = problem.on(problem.target.with_fast_memory(size))
        return replace(problem, program=replace(problem.program, name=title))


def small_network(seed: int) -> onnx.ModelProto:
    """Six to ten convolutions, plain, separable or with residuals, over 160 to 224 pixels."""
    draw, net = Random(seed), Network()  # noqa: S311 - no secret
    pixels, channels = draw.choice((160, 192, 224)), draw.choice((16, 24, 32))
    x = net.node("Relu", net.conv("image", 3, channels, 3, 2))
    for _ in range(draw.randint(3, 5)):
        wide, stride = channels * draw.choice((1, 2)), draw.choice((1, 1, 2))
        if draw.random() < 0.5:
            y = net.node("Relu", net.conv(x, channels, channels, 3, stride, groups=channels))
            y = net.node("Relu", net.conv(y, channels, wide, 1))
        else:
            y = net.node("Relu", net.conv(x, channels, wide, 3, stride))
        if stride == 1 and wide == channels:
            y = net.node("Add", x, y)
        x, channels = y, wide
    x = net.node("GlobalAveragePool", x)
    return finished(net, f"tiled-{seed}", (1, 3, pixels, pixels), x)


# ---- tasks


def tasks() -> Iterator[Task]:
    """All problems of the set, always the same."""
    for category, count in COUNTS.items():
        solvers = SOLVERS.get(category, ("fluid",))
        for kind, seed in drawn(category, count):
            name = f"{kind}-{seed}"
            yield Task(category, name, Synthetic(category, kind, seed), solvers)
    for seed in range(TILED_NETWORKS):
        for share in TILED_SHARES:
            name = f"network-{seed}-{int(share * 100)}"
            yield Task("tiled", name, Tiled(seed, share), ("fluid",))
    for name in GRAPHS:
        for share in (0.3, 0.6):
            size = int(share * 100)
            yield Task("one-shot", f"{name}-{size}", Named(name, "edge-npu", share))
            yield Task("steady", f"{name}-{size}", Named(name, "edge-npu", share, steady=True))


def drawn(category: str, count: int) -> list[tuple[str, int]]:
    """(kind, seed) of the synthetic programs of a category."""
    kinds = {"training": ("training",), "whole": WHOLE_KINDS}.get(category, INFERENCE_KINDS)
    most = MOST_WHOLE if category == "whole" else MOST_OPERATORS
    first = 1000 * list(COUNTS).index(category)
    found: list[tuple[str, int]] = []
    seed = first
    while len(found) < count:
        kind = kinds[len(found) % len(kinds)]
        problem = random_program(Random(seed), (kind,))  # noqa: S311 - no secret
        reaches = problem.target.operand_access == "any"
        size = sum(step.operator >= 0 for step in problem.steps)
        if size <= most and reaches == (category != "scratchpad"):
            found.append((kind, seed))
        seed += 1
    return found


# ---- solving


def solve(task: Task, seconds: float) -> str:
    """Solve a task and keep the better of what is known and what was found; a line about it."""
    known = read_problem(task.path) if task.path.exists() else None
    problem = known.problem if known is not None else task.make()
    record = known.record if known is not None else Record()
    best: Compiled | None = None
    for solver in task.solvers:
        try:
            found = compile_problem(problem, CompileOptions(solver=solver, time_limit_s=seconds))
        except TimeLimitError:
            continue
        if record.value is None or found.value < record.value * (1 - 1e-9):
            best, record = found, replace(record, value=found.value, solver=made_by(found))
        bound = found.bound
        if record.lower_bound is None or bound.value > record.lower_bound:
            record = replace(record, lower_bound=bound.value, bound_source=bound.source)
        if gap_of(record) <= 1e-6:
            break
    if record.value is None:
        return "no plan in the time given"
    if best is not None:
        answer = dump_solution(best.plan, problem.name, record.solver, best.value)
        write(task.path.with_name(task.name + SOLUTION), answer)
    write(task.path, dump_problem(problem, record))
    return f"{record.solver}, gap {gap_of(record):.3%} by {record.bound_source}"


def made_by(found: Compiled) -> str:
    """The solver whose plan it is: of a portfolio its member."""
    return found.plan.solver


def gap_of(record: Record) -> float:
    """How far the best known value is above the bound; infinite where one is missing."""
    if record.value is None or record.lower_bound is None:
        return float("inf")
    if record.lower_bound <= 0:
        return 0.0 if record.value <= 0 else float("inf")
    return record.value / record.lower_bound - 1


def is_open(path: Path) -> bool:
    """Whether the gap of a stored problem is above what the board calls settled."""
    return gap_of(read_problem(path).record) > CLOSE


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data.rstrip(b"\n") + b"\n")


def solve_all(chosen: list[Task], jobs: int, seconds: float) -> int:
    began, failed = time.monotonic(), 0
    with ProcessPoolExecutor(jobs) as pool:
        running = {pool.submit(solve, task, seconds): task for task in chosen}
        for at, done in enumerate(as_completed(running), 1):
            task = running[done]
            try:
                text = done.result()
            except InfeasibleError:
                text = "has no plan: left out"
            except UllageError as error:
                text, failed = f"{type(error).__name__}: {error.message}", failed + 1
            spent = time.monotonic() - began
            print(
                f"{at}/{len(chosen)} {spent:.0f} s {task.category}/{task.name}: {text}", flush=True
            )
    return failed


# ---- what is there


def stored() -> list[Path]:
    """The problems of the set."""
    return [p for p in sorted(PROBLEMS.glob("*/*.json")) if not p.name.endswith(SOLUTION)]


def check_all() -> int:
    """Verify and score every stored solution; how many are not what their records say."""
    wrong = 0
    for path in stored():
        stated = read_problem(path)
        solution = path.with_name(path.stem + SOLUTION)
        checked = check_solution(stated, read_solution(solution, stated.problem))
        if checked.value_is_as_stated is not True or checked.improves or checked.refutes_bound:
            print(f"{path.parent.name}/{path.stem}: worth {checked.value}, {stated.record}")
            wrong += 1
    print(f"{len(stored())} solutions are legal, {wrong} of them not as their records say")
    return wrong


def add(path: Path) -> int:
    """Put a solution into the set where it is legal and better than what is known; 0 if it was."""
    name = json.loads(path.read_text(encoding="utf-8"))["problem"]
    for problem in stored():
        stated = read_problem(problem)
        if stated.problem.name != name:
            continue
        found = read_solution(path, stated.problem)
        checked = check_solution(stated, found)
        if not checked.improves:
            print(f"{checked.value} is not better than {stated.record.value}")
            return 1
        record = replace(stated.record, value=checked.value, solver=found.solver)
        answer = dump_solution(found.assignment, name, found.solver, checked.value)
        write(problem.with_name(problem.stem + SOLUTION), answer)
        write(problem, dump_problem(stated.problem, record))
        return board()
    print(f"the set has no problem {name!r}")
    return 1


def board() -> int:
    """Write docs/leaderboard.md from the files."""
    rows: dict[str, list[str]] = {}
    gaps, finders = [], Counter[str]()
    for path in stored():
        stated = read_problem(path)
        problem, record = stated.problem, stated.record
        gap = gap_of(record)
        gaps.append(gap)
        finders[record.solver] += 1
        rows.setdefault(path.parent.name, []).append(
            f"| [`{path.stem}`](../problems/{path.parent.name}/{path.name}) | {len(problem.steps)} "
            f"| {len(problem.buffers)} | {problem.objective} | {record.value:.6g} "
            f"| {record.lower_bound:.6g} | {record.bound_source} "
            f"| {'closed' if gap <= 1e-6 else f'{gap:.3%}'} | {record.solver} |"
        )
    close = sum(gap <= CLOSE for gap in gaps)
    text = [
        "# Leaderboard",
        "",
        f"The problem set: {len(gaps)} certified problems, written by "
        "`benchmarks/problem_set.py --board` from the files in `problems/`; do not edit. "
        f"{close} of them ({close / max(1, len(gaps)):.0%}) are settled to {CLOSE:.1%}, "
        f"{sum(gap <= 1e-6 for gap in gaps)} are closed (gap at most 1e-6).",
        "",
        "Values and bounds are in seconds. A bound is of the problem as it is in the file: its "
        "order, its parts. Every value is that of a solution in the set, beside its problem as "
        "`NAME.solution.json`, which the verifier has passed. Found by: "
        + ", ".join(f"`{name}` {count}" for name, count in finders.most_common())
        + ".",
        "",
        "Sizes and numbers of problems per kind were chosen so that most of them can be settled in "
        "seconds (`whole` has at most 22 operators, and there are fewer problems of the kinds that "
        "are harder to close); seeds were not chosen by their gaps. The share that is settled is a "
        "property of this set, not of the solvers.",
        "",
        "## Take part",
        "",
        TAKE_PART,
        "",
    ]
    for category, lines in rows.items():
        text += [
            f"## {category}",
            "",
            "| problem | steps | buffers | objective | best known | lower bound | proven by | gap "
            "| found by |",
            "|---|---|---|---|---|---|---|---|---|",
            *lines,
            "",
        ]
    BOARD.write_text("\n".join(text), encoding="utf-8")
    print(f"{len(gaps)} problems, {close} within {CLOSE:.1%}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seconds", type=float, default=4, help="of each solver, for a problem")
    parser.add_argument("--only", default="", help="problems whose CATEGORY/NAME has this text")
    parser.add_argument("--most", type=int, help="problems in this run, at most")
    parser.add_argument("--again", action="store_true", help="solve those that are there, too")
    parser.add_argument("--open", action="store_true", help="solve those above 0.5 %% again")
    parser.add_argument("--solvers", help="instead of those of the category: fluid,auto")
    parser.add_argument("--check", action="store_true", help="verify and score all solutions")
    parser.add_argument("--board", action="store_true", help="write docs/leaderboard.md")
    parser.add_argument("--add", type=Path, metavar="SOLUTION", help="a better solution")
    given = parser.parse_args()
    if given.check:
        return min(check_all(), 1)
    if given.add:
        return add(given.add)
    if not given.board:
        chosen = [
            task
            for task in tasks()
            if given.only in f"{task.category}/{task.name}"
            and (given.again or not task.path.exists() or (given.open and is_open(task.path)))
        ]
        if given.solvers:
            chosen = [replace(task, solvers=tuple(given.solvers.split(","))) for task in chosen]
        if solve_all(chosen[: given.most], given.jobs, given.seconds):
            return 1
    return board()


if __name__ == "__main__":
    sys.exit(main())
