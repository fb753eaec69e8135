"""Plans of solvers played as games: with the game's address rule, and by live bytes.

A plan's stays say what each use is: COPY where a residency begins with a transfer, NOCOPY inside
one, DROP elsewhere. Where that is illegal (no address is free), the game is given NOCOPY, COPY or
DROP, whichever is legal first. What the game has above the plan is what its rule for addresses
costs.

Run: python benchmarks/game_addresses.py [--programs squeezenet:256,...] [--seconds S]
"""

import argparse

import numpy as np
from common import SHARED, plan_by, write_table

from ullage.compiler.driver.compile import prepare
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.ir.assignment import assignment_of
from ullage.compiler.ir.plan import Plan
from ullage.hwmodels.cost import score
from ullage.rl_agent.env.game_instance import GameInstance, by_live_bytes, game_instance_of
from ullage.rl_agent.env.rules import ACTIONS, COPY, DROP, NOCOPY
from ullage.rl_agent.env.state import BUSY_S, CURSOR, copy_of, start_of
from ullage.rl_agent.env.turns import begin, step
from ullage.solvers.exact.residencies import residencies_of_plan
from ullage.solvers.parameters import parameters_of
from ullage.solvers.registry import find_solver

PROGRAMS = "squeezenet:128,squeezenet:256,squeezenet:512,googlenet:512,mobilenet_v2:512"
SOLVERS = ("msa", "cpsat")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", default=PROGRAMS)
    parser.add_argument("--seconds", type=float, default=20.0, help="for cpsat")
    given = parser.parse_args()
    columns = ["program", "fast memory [KiB]", "uses", "solver", "plan [ms]"]
    columns += ["with addresses", "illegal", "by live bytes", "illegal by live bytes"]
    rows = [row for program in given.programs.split(",") for row in rows_of(program, given.seconds)]
    title = "Plans played as games, edge-npu, int8, whole tensors: latency over the plan's"
    print(write_table("game_addresses", title, columns, rows))


def rows_of(program: str, seconds: float) -> list[list[str]]:
    name, size = program.split(":")
    public = SHARED / f"{name}.onnx"
    options = CompileOptions(
        dtype="int8", fast_memory_bytes=int(size) << 10, overrides={"split_operands": "false"}
    )
    prepared = prepare(public if public.is_file() else find_model(name), options)
    instance = game_instance_of(prepared.problem)
    rows: list[list[str]] = []
    for solver in SOLVERS:
        names = {p.name for p in parameters_of(find_solver(solver).options)}
        parameters = {"time_limit_s": seconds} if "time_limit_s" in names else {}
        plan = plan_by(solver, prepared.problem, parameters=parameters)
        latency_s = score(plan).latency_s
        cells = [
            name,
            size,
            str(len(instance.arrays.access_segment)),
            solver,
            f"{1e3 * latency_s:.4f}",
        ]
        for kind in (instance, by_live_bytes(instance)):
            found_s, illegal = as_game(plan, kind)
            cells += [f"{100 * (found_s / latency_s - 1):+.2f} %", str(illegal)]
        rows.append(cells)
    return rows


def as_game(plan: Plan, instance: GameInstance) -> tuple[float, int]:
    """Latency of a plan's decisions played as a game, and how many were illegal."""
    arrays = instance.arrays
    wanted = np.full(len(arrays.access_segment), DROP)
    place = {int(segment): number for number, segment in enumerate(instance.playable)}
    for residency in residencies_of_plan(assignment_of(plan), instance.segments) or ():
        if residency.segment not in place:
            continue
        segment = place[residency.segment]
        accesses = range(int(arrays.segment_first[segment]), int(arrays.segment_first[segment + 1]))
        inside = [
            access
            for access in accesses
            if residency.ready <= arrays.access_step[access] < residency.end
        ]
        wanted[inside] = NOCOPY
        if residency.fill and inside:
            wanted[inside[0]] = COPY
    start = start_of(instance)
    state, mask = copy_of(start), np.zeros(ACTIONS, dtype=np.bool_)
    begin(state, start, mask)
    illegal, over = 0, False
    while not over:
        action = int(wanted[arrays.program_order[state.counts[CURSOR]]])
        if not mask[action]:
            illegal += 1
            action = next(other for other in (NOCOPY, COPY, DROP) if mask[other])
        over = bool(step(state, start, action, mask))
    return float(state.total[BUSY_S]) + instance.overhead_s, illegal


if __name__ == "__main__":
    main()
