"""Players of the allocation game at equal numbers of simulator calls, beside `greedy` and `msa`.

Programs: public models (where present), the light models of the onnx wheel, and synthetic programs
of families that no network was trained on; whole tensors, three sizes of fast memory. All times are
relative to `greedy`'s plan, less is better. Decodes go by live bytes but where it says otherwise;
`greedy`, `msa` and `rl` are solvers and their plans have addresses. A player's figure at fewer
calls is the best that the same run had by then.

Run: python benchmarks/rl_players.py [--networks FILE,FILE,FILE] [--calls 1,16,128,1024]
[--only NAME,NAME] [--max-uses N] [--many-calls-uses N] [--synthetic N] [--minutes M]
[--append] [--one-decode]
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from common import RESULTS, model_files, write_table
from cpsat import kept_whole
from heuristics import read

from ullage.compiler.errors import InfeasibleError
from ullage.compiler.models import named_models
from ullage.compiler.problem import Problem
from ullage.hwmodels.cost import score
from ullage.hwmodels.target import Target
from ullage.rl_agent.board import Table, set_table
from ullage.rl_agent.exercise import synthetic_programs
from ullage.rl_agent.families import HELD_OUT, random_program
from ullage.rl_agent.features import Encoding, encode
from ullage.rl_agent.network import Network, load_network, random_network
from ullage.rl_agent.plans import stays_of
from ullage.rl_agent.players import Player, evolve, noisy_greedy
from ullage.rl_agent.state import State, start_of
from ullage.solvers.atoms import atoms_of
from ullage.solvers.fluid import DEFAULTS as FLUID
from ullage.solvers.fluid_relax import relax
from ullage.solvers.registry import SolverOptions, find_solver
from ullage.solvers.rl import packed

SIZES = (256 << 10, 1 << 20, 4 << 20)
SHARES = (0.5, 1.0, 2.0)  # of the memory that was drawn for a synthetic program
SYNTHETIC_SEED = 999  # no training uses it
EQUAL = 5e-5  # tables, which --append reads, have four digits
LOST = 0.01
BOUND_S = 20.0
Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default="", help="checkpoints; none: the one that ships")
    parser.add_argument("--calls", default="1,16,128,1024")
    parser.add_argument("--only", default="")
    parser.add_argument("--max-uses", type=int, default=700)
    parser.add_argument("--many-calls-uses", type=int, default=250, help="above, at most 128 calls")
    parser.add_argument("--synthetic", type=int, default=12)
    parser.add_argument("--one-decode", action="store_true", help="players with one call only")
    parser.add_argument("--append", action="store_true", help="go on with the last tables")
    parser.add_argument("--minutes", type=float, default=1e9)
    given = parser.parse_args()
    calls = sorted(int(text) for text in given.calls.split(","))
    files = [Path(text) for text in given.networks.split(",") if text]
    networks = [load_network(file) for file in files] or [load_network()]
    end = time.monotonic() + 60 * given.minutes
    name_of_table = "rl_one_decode" if given.one_decode else "rl_players"
    found = old_figures(name_of_table) if given.append else {}
    wanted = [name for name in given.only.split(",") if name]
    for name, problem, target in programs(wanted, given.synthetic):
        if time.monotonic() > end:
            print("out of time: the rest is left out")
            break
        if name in found:
            continue
        try:
            table = set_table(problem, target)
        except InfeasibleError:
            continue
        uses = len(table.board.ev_atom)
        if not 8 <= uses <= given.max_uses:
            continue
        allowed = [n for n in calls if n <= 128 or uses <= given.many_calls_uses]
        if given.one_decode:
            allowed = []
        found[name] = figures_of(problem, target, table, networks, allowed)
        print(name, {key: round(value, 4) for key, value in found[name].items()}, flush=True)
        write(found, name_of_table)
    print(write(found, name_of_table))


def old_figures(table: str) -> dict[str, Figures]:
    """What the table of pairs holds."""
    rows = json.loads((RESULTS / f"{table}_pairs.json").read_text(encoding="utf-8"))
    found = {}
    for row in rows:
        figures = {key: text for key, text in row.items() if key != "program" and text != "-"}
        found[row["program"]] = {key: float(text) for key, text in figures.items()}
    return found


def programs(wanted: list[str], synthetic: int) -> Iterator[tuple[str, Problem, Target]]:
    """(name, problem, target), synthetic ones first."""
    from random import Random

    for program in synthetic_programs(SYNTHETIC_SEED, HELD_OUT, 0 if wanted else synthetic):
        rng = Random(f"{program.seed}/{program.number}")  # noqa: S311 - no secrets
        problem, target = random_program(rng, program.families)
        for share in SHARES:
            capacity = int(target.fastest.capacity_bytes * share) // 64 * 64
            name = f"{problem.name}-{program.number}"
            yield f"{name} {share:g}", problem, target.with_fast_memory(capacity)
    for file in [*model_files(), *named_models().values()]:
        if wanted and file.stem not in wanted:
            continue
        prepared = read(file, "edge-npu", "int8")
        if prepared is None:  # it says why
            continue
        whole = kept_whole(prepared)
        for size in SIZES:
            target = whole.target.with_fast_memory(size)
            yield f"{file.stem} {size >> 10} KiB", whole.problem, target


def figures_of(
    problem: Problem, target: Target, table: Table, networks: list[Network], calls: list[int]
) -> Figures:
    """Latency of each player, relative to `greedy`."""
    start = start_of(table)
    encoding = encode(table.board, start)
    times: Figures = {"all-slow": table.all_slow_s}
    for solver in ("greedy", "msa"):
        plan = find_solver(solver).solve(problem, target, SolverOptions())
        times[solver] = score(plan).latency_s
    times["heuristic order, 1 call"] = once(table, start, encoding, encoding.base)
    for i, network in enumerate(networks):
        times[f"network {i}, 1 call"] = once(table, start, encoding, network.scores(encoding))
        scores = random_network(i).scores(encoding)
        times[f"random weights {i}, 1 call"] = once(table, start, encoding, scores)
        if not calls:
            plan_s = with_addresses(problem, target, table, network.scores(encoding))
            times[f"network {i}, 1 call, packed"] = plan_s
    if not calls:
        return {name: seconds / times["greedy"] for name, seconds in times.items()}
    player = Player(table.board, start, encoding, 1, addresses=True)
    busy_s = player.value(networks[0].scores(encoding))
    times["network 0 with addresses, 1 call"] = busy_s + table.overhead_s
    runs = {
        "noisy heuristic": (noisy_greedy, encoding.base),
        "evolution": (evolve, encoding.base),
        "network 0 + noise": (noisy_greedy, networks[0].scores(encoding)),
        "network 0 + evolution": (evolve, networks[0].scores(encoding)),
    }
    for name, (search, scores) in runs.items():
        player = Player(table.board, start, encoding, max(calls))
        search(player, scores, np.random.default_rng(0))
        for n in calls:
            best_s = min(seconds for at, seconds in player.curve if at <= n)
            times[f"{name}, {n} calls"] = best_s + table.overhead_s
    for name, has_msa in (("rl, 1 s", True), ("rl without msa, 1 s", False)):
        parameters = {"simulations": 10**9, "msa": has_msa}
        options = SolverOptions(deadline=time.monotonic() + 1.0, parameters=parameters)
        times[name] = score(find_solver("rl").solve(problem, target, options)).latency_s
    options = SolverOptions(deadline=time.monotonic() + BOUND_S)
    atoms = atoms_of(problem, target)
    solved = relax(problem, target, atoms, table.all_slow_s, options, FLUID)
    if solved is not None and solved.bound is not None:
        times["fluid bound"] = solved.bound
    return {name: seconds / times["greedy"] for name, seconds in times.items()}


def with_addresses(problem: Problem, target: Target, table: Table, scores: np.ndarray) -> float:
    """Latency of one decode by live bytes, packed; where it cannot be, of one with addresses."""
    start = start_of(table)
    for addresses in (False, True):
        player = Player(table.board, start, encode(table.board, start), 1, addresses=addresses)
        busy_s = player.value(scores)
        stays = stays_of(table, player.replay())
        if addresses or packed(problem, target, table, stays, SolverOptions()) is not None:
            break
    return busy_s + table.overhead_s


def once(table: Table, start: State, encoding: Encoding, scores: np.ndarray) -> float:
    return Player(table.board, start, encoding, 1).value(scores) + table.overhead_s


def write(found: dict[str, Figures], table: str) -> str:
    """Both tables: players over all programs, and program by program."""
    names = list(dict.fromkeys(key for figures in found.values() for key in figures))
    kinds = {
        "held-out synthetic": [f for name, f in found.items() if name.startswith("synthetic")],
        "models": [f for name, f in found.items() if not name.startswith("synthetic")],
    }
    rows = []
    for kind, all_figures in kinds.items():
        for name in names:
            having = [f for f in all_figures if name in f]
            if having:
                rows.append([kind, name, *summary(name, having)])
    columns = ["programs", "player", "pairs", "mean of time / greedy's", "mean gap to the bound"]
    columns += ["better than msa", "equal", "worse", "worse by more than 1 %"]
    title = "Players of the allocation game, whole tensors, edge-npu int8 or synthetic chips"
    detail = [
        [n, *(f"{f[key]:.4f}" if key in f else "-" for key in names)] for n, f in found.items()
    ]
    write_table(f"{table}_pairs", f"{title}: time / greedy's", ["program", *names], detail)
    return write_table(table, title, columns, rows)


def summary(name: str, figures: list[Figures]) -> list[str]:
    values = np.array([f[name] for f in figures])
    msa = np.array([f["msa"] for f in figures])
    bounds = np.array([f.get("fluid bound", np.nan) for f in figures])
    gap = np.nanmean(values / bounds) - 1 if np.isfinite(bounds).any() else np.nan
    better = values < msa * (1 - EQUAL)
    worse = values > msa * (1 + EQUAL)
    counts = [
        better.sum(),
        (~better & ~worse).sum(),
        worse.sum(),
        (values > msa * (1 + LOST)).sum(),
    ]
    return [str(len(values)), f"{values.mean():.4f}", f"{100 * gap:.2f} %", *map(str, counts)]


if __name__ == "__main__":
    main()
