"""Players of the allocation game at equal numbers of simulator calls, beside `greedy` and `msa`.

Latency relative to one decode by the heuristic's own order (1 is equal, less is better); decodes go
by live bytes, so that all players are compared before addresses. The last columns are the solvers.

Run: python benchmarks/rl_players.py [--models a,b] [--calls 16,256] [--checkpoint FILE]
"""

import argparse
from pathlib import Path

import numpy as np
from common import SHARED, write_table

from ullage.compiler.models import find_model
from ullage.compiler.pipeline import CompileOptions, prepare
from ullage.hwmodels.cost import score
from ullage.rl_agent.board import Table, set_table
from ullage.rl_agent.features import Encoding, encode
from ullage.rl_agent.gumbel import gumbel_search
from ullage.rl_agent.network import load_network, random_network
from ullage.rl_agent.players import Player, evolve, noisy_greedy
from ullage.rl_agent.state import State, start_of
from ullage.solvers.registry import SolverOptions, find_solver

SIZES = (256 << 10, 1 << 20)
MODELS = "squeezenet,inception_v1,shufflenet,mobilenet_v2,darts_v2"
SEARCHES = {"noisy greedy": noisy_greedy, "evolution": evolve, "gumbel": gumbel_search}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--calls", default="16,256")
    parser.add_argument("--checkpoint", type=Path)
    given = parser.parse_args()
    calls = [int(text) for text in given.calls.split(",")]
    columns = ["model", "fast memory [KiB]", "uses", "network, 1 call", "random weights, 1 call"]
    columns += [f"{name}, {n} calls" for n in calls for name in SEARCHES]
    columns += [f"network + evolution, {n} calls" for n in calls]
    columns += ["greedy", "msa"]
    rows = [
        row_of(name, size, calls, given.checkpoint)
        for name in given.models.split(",")
        for size in SIZES
    ]
    title = "Players of the allocation game, edge-npu, int8, whole tensors"
    print(write_table("rl_players", title, columns, rows))


def row_of(name: str, size: int, calls: list[int], checkpoint: Path | None) -> list[str]:
    public = SHARED / f"{name}.onnx"
    whole = {"split_operands": "false"}
    options = CompileOptions(dtype="int8", fast_memory_bytes=size, overrides=whole)
    prepared = prepare(public if public.is_file() else find_model(name), options)
    table = set_table(prepared.problem, prepared.target)
    start = start_of(table)
    encoding = encode(table.board, start)
    networks = (load_network(checkpoint), random_network(0))
    reference_s = once(table, start, encoding, encoding.base)
    found = [once(table, start, encoding, net.scores(encoding)) for net in networks]
    starts = [(encoding.base, search) for search in SEARCHES.values()]
    for n in calls:
        for scores, search in starts:
            player = Player(table.board, start, encoding, n)
            search(player, scores, np.random.default_rng(0))
            found.append(player.best_s)
    for n in calls:
        player = Player(table.board, start, encoding, n)
        evolve(player, networks[0].scores(encoding), np.random.default_rng(0))
        found.append(player.best_s)
    ratios = [(s + table.overhead_s) / (reference_s + table.overhead_s) for s in found]
    for solver in ("greedy", "msa"):
        plan = find_solver(solver).solve(prepared.problem, prepared.target, SolverOptions())
        ratios.append(score(plan).latency_s / (reference_s + table.overhead_s))
    uses = str(len(table.board.ev_atom))
    return [name, str(size >> 10), uses, *(f"{ratio:.4f}" for ratio in ratios)]


def once(table: Table, start: State, encoding: Encoding, scores: np.ndarray) -> float:
    return Player(table.board, start, encoding, 1).value(scores)


if __name__ == "__main__":
    main()
