"""Players of the allocation game at equal numbers of simulator calls, beside `greedy` and `msa`.

Where `rl` with 1 s is no better than `msa`, cpsat shows whether whole tensors allow a better plan.

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
from common import RESULTS, model_files, plan_by, write_table
from cpsat import kept_whole
from heuristics import read

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.importer.model_zoo import named_models
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.cost import score
from ullage.rl_agent.env.game_instance import GameInstance, game_instance_of
from ullage.rl_agent.env.plans import packed, repair, residencies_of
from ullage.rl_agent.env.state import State, start_of
from ullage.rl_agent.policy.features import ROOM_POWER, Encoding, encode
from ullage.rl_agent.policy.network import Network, load_network, random_network
from ullage.rl_agent.policy.players import Player, Policy, evolve, heuristic, noisy_greedy
from ullage.rl_agent.training.instances import synthetic_programs
from ullage.rl_agent.training.synthetic import HELD_OUT, random_program
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.options import FluidOptions
from ullage.solvers.fluid.two_tier.relaxation import relax
from ullage.solvers.state.segments import segments_of

SIZES = (256 << 10, 1 << 20, 4 << 20)
MORE_SIZES = tuple(kib << 10 for kib in (96, 192, 256, 384, 768, 1024, 1536, 3072, 4096, 6144))
SHARES = (0.5, 1.0, 2.0)  # of the memory that was drawn for a synthetic program
SYNTHETIC_SEED = 999  # no training uses it
EQUAL = 5e-5  # tables, which --append reads, have four digits
LOST = 0.01
BOUND_S = 20.0
PROVEN = 1e-3  # above a bound that is proven
PROVE_S = 40.0
Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default="", help="checkpoints; none: the one that ships")
    parser.add_argument("--calls", default="1,16,128,1024")
    parser.add_argument("--only", default="")
    parser.add_argument("--max-uses", type=int, default=700)
    parser.add_argument("--many-calls-uses", type=int, default=250, help="above, at most 128 calls")
    parser.add_argument("--synthetic", type=int, default=12)
    parser.add_argument("--one-decode", action="store_true", help="one call only, ten sizes")
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
    sizes = MORE_SIZES if given.one_decode else SIZES
    for name, problem in programs(wanted, given.synthetic, sizes):
        if time.monotonic() > end:
            print("out of time: the rest is left out")
            break
        if name in found:
            continue
        try:
            instance = game_instance_of(problem)
        except InfeasibleError:
            continue
        uses = len(instance.arrays.access_segment)
        if not 8 <= uses <= given.max_uses:
            continue
        allowed = [n for n in calls if n <= 128 or uses <= given.many_calls_uses]
        if given.one_decode:
            allowed = []
        found[name] = figures_of(problem, instance, networks, allowed)
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


def programs(
    wanted: list[str], synthetic: int, sizes: tuple[int, ...] = SIZES
) -> Iterator[tuple[str, Problem]]:
    """(name, problem), synthetic ones first."""
    from random import Random

    for program in synthetic_programs(SYNTHETIC_SEED, HELD_OUT, 0 if wanted else synthetic):
        rng = Random(f"{program.seed}/{program.number}")  # noqa: S311 - no secrets
        problem = random_program(rng, program.workload_kinds)
        target = problem.target
        for share in SHARES:
            capacity = int(target.fastest.capacity_bytes * share) // 64 * 64
            name = f"{problem.name}-{program.number}"
            yield f"{name} {share:g}", problem.on(target.with_fast_memory(capacity))
    for file in [*model_files(), *named_models().values()]:
        if wanted and file.stem not in wanted:
            continue
        prepared = read(file, "edge-npu", "int8")
        if prepared is None:  # it says why
            continue
        whole = kept_whole(prepared)
        for size in sizes:
            problem = whole.problem.on(whole.target.with_fast_memory(size))
            yield f"{file.stem} {size >> 10} KiB", problem


def figures_of(
    problem: Problem, instance: GameInstance, networks: list[Network], calls: list[int]
) -> Figures:
    """Latency of each player, relative to `greedy`."""
    start = start_of(instance)
    encoding = encode(instance.arrays, start)
    times: Figures = {"all-slow": instance.all_slow_s}
    for solver in ("greedy", "msa"):
        times[solver] = score(plan_by(solver, problem)).latency_s
    order = heuristic(encoding)
    times["heuristic order, 1 call"] = once(instance, start, encoding, order)
    anew = once(instance, start, encoding, rescored(encoding))
    times["heuristic order by what is really gained, 1 call"] = anew
    for i, network in enumerate(networks):
        policy = network.policy(encoding)
        times[f"network {i}, 1 call"] = once(instance, start, encoding, policy)
        drawn = random_network(i, network).policy(encoding)
        times[f"random weights {i}, 1 call"] = once(instance, start, encoding, drawn)
        if not calls:
            plan_s = with_addresses(problem, instance, encoding, policy)
            times[f"network {i}, 1 call, packed"] = plan_s
    if not calls:
        return {name: seconds / times["greedy"] for name, seconds in times.items()}
    player = Player(instance.arrays, start, encoding, 1, addresses=True)
    learned = networks[0].policy(encoding)
    busy_s = player.value(learned)
    times["network 0 with addresses, 1 call"] = busy_s + instance.overhead_s
    runs = {
        "noisy heuristic": (noisy_greedy, order),
        "evolution": (evolve, order),
        "network 0 + noise": (noisy_greedy, learned),
        "network 0 + evolution": (evolve, learned),
    }
    for name, (search, policy) in runs.items():
        player = Player(instance.arrays, start, encoding, max(calls))
        search(player, policy, np.random.default_rng(0))
        for n in calls:
            best_s = min(seconds for at, seconds in player.curve if at <= n)
            times[f"{name}, {n} calls"] = best_s + instance.overhead_s
    for name, has_msa in (("rl, 1 s", True), ("rl without msa, 1 s", False)):
        times[name] = score(plan_by("rl", problem, 1.0, {"msa": has_msa})).latency_s
    budget = Budget(time.monotonic() + BOUND_S)
    segments = segments_of(problem)
    solved = relax(problem, segments, instance.all_slow_s, FluidOptions(), budget)
    if solved is not None and solved.bound is not None:
        times["fluid bound"] = solved.bound
    bound_s = times.get("fluid bound", 0.0)
    equal = times["rl, 1 s"] >= times["msa"] * (1 - EQUAL)
    if equal and times["msa"] > bound_s * (1 + PROVEN):
        plan = plan_by("cpsat", problem, PROVE_S)
        times["cpsat, 40 s where rl is no better than msa"] = score(plan).latency_s
        times["whole bound"] = plan.statistics.get("whole_bound", 0.0)
    return {name: seconds / times["greedy"] for name, seconds in times.items()}


def rescored(encoding: Encoding) -> Policy:
    """The heuristic's key, by what a move really gains and takes when it is tried: no network."""
    order = heuristic(encoding)
    order.state_w[:, 0] = 2.0  # these aspects are half logarithms
    order.state_w[:, 1] = -2.0 * ROOM_POWER
    return order


def with_addresses(
    problem: Problem, instance: GameInstance, encoding: Encoding, policy: Policy
) -> float:
    """Latency of the plan of one decode by live bytes; what finds no address is dropped."""
    player = Player(instance.arrays, start_of(instance), encoding, 1)
    busy_s = player.value(policy)
    residencies = residencies_of(instance, player.replay())
    if packed(problem, instance, residencies, Budget()) is None:
        repaired = repair(problem, instance, residencies, Budget())
        busy_s = instance.all_slow_s - instance.overhead_s if repaired is None else repaired[0]
    return busy_s + instance.overhead_s


def once(instance: GameInstance, start: State, encoding: Encoding, policy: Policy) -> float:
    return Player(instance.arrays, start, encoding, 1).value(policy) + instance.overhead_s


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
            if having and name != "whole bound":
                rows.append([kind, name, *summary(name, having)])
    columns = ["programs", "player", "pairs", "mean of time / greedy's", "mean gap to the bound"]
    columns += ["mean of time / heuristic order's", "standard error"]
    columns += ["better than msa", "equal", "equal, and msa proven within 0.1 %"]
    columns += ["worse", "worse by more than 1 %"]
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
    ratios = values / np.array([f["heuristic order, 1 call"] for f in figures])
    error = ratios.std(ddof=1) / np.sqrt(len(ratios)) if len(ratios) > 1 else 0.0
    better = values < msa * (1 - EQUAL)
    worse = values > msa * (1 + EQUAL)
    known = [max(f.get("fluid bound", 0.0), f.get("whole bound", 0.0)) for f in figures]
    equal = ~better & ~worse
    counts = [
        better.sum(),
        equal.sum(),
        (equal & (msa <= np.array(known) * (1 + PROVEN))).sum(),
        worse.sum(),
        (values > msa * (1 + LOST)).sum(),
    ]
    means = [f"{values.mean():.4f}", f"{100 * gap:.2f} %", f"{ratios.mean():.4f}", f"{error:.4f}"]
    return [str(len(values)), *means, *map(str, counts)]


if __name__ == "__main__":
    main()
