"""`muzero` trained on real programs: curves, and what it reaches beside the other solvers.

Whole tensors, int8, edge-npu. Every run is one process; runs are collected in
benchmarks/results/muzero_runs.json, and the table and the picture docs/muzero.svg are made of all
that is there. Seconds are wall-clock on whatever else the machine does.

Run: python benchmarks/muzero.py [--programs squeezenet:256,...] [--seeds 0,1] [--seconds S]
     [--variants default,rescale,no-elites,no-bursts] [--only-draw]
"""

import argparse
import json
import time
from dataclasses import replace
from typing import Any

from common import RESULTS, ROOT, SHARED, plan_by, write_table
from matplotlib.axes import Axes

from ullage.compiler.driver.compile import prepare
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.studies.plots import write_picture
from ullage.hwmodels.cost import score
from ullage.rl_agent.env.game_instance import by_live_bytes, game_instance_of
from ullage.rl_agent.muzero.agent import MuZeroOptions, new_agent
from ullage.rl_agent.muzero.solver import packer_of, reference_of
from ullage.rl_agent.muzero.train import Report, train
from ullage.solvers.budget import Budget

RUNS = RESULTS / "muzero_runs.json"
PICTURE = ROOT / "docs" / "muzero.svg"
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "rescale": {"rescale": True, "value_scale": 0.1},  # as mctx has it
    "no-elites": {"elite_share": 0.0},
    "no-bursts": {"bursts": 0.0},
}
RIVALS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "msa": {},
    "evolution": {},
    "cpsat": {"time_limit_s": 20.0, "num_workers": 1},
}
EARLY = 50  # generations after which all runs are compared, however fast the machine was
LINES = (("-", "0.0"), ("--", "0.35"), ("-.", "0.55"), (":", "0.15"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", default="squeezenet:256")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--seconds", type=float, default=1200.0)
    parser.add_argument("--variants", default="default")
    parser.add_argument("--only-draw", action="store_true")
    given = parser.parse_args()
    runs: dict[str, Any] = json.loads(RUNS.read_text(encoding="utf-8")) if RUNS.is_file() else {}
    if not given.only_draw:
        for program in given.programs.split(","):
            for variant in given.variants.split(","):
                for seed in given.seeds.split(","):
                    run = run_of(program, variant, int(seed), given.seconds)
                    runs[f"{program}/{variant}/{seed}"] = run
                    lines = (f"{json.dumps(k)}: {json.dumps(runs[k])}" for k in sorted(runs))
                    RUNS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    report(runs)


def run_of(program: str, variant: str, seed: int, seconds: float) -> dict[str, Any]:
    """One training run; its curve has a point per generation."""
    name, size = program.split(":")
    public = SHARED / f"{name}.onnx"
    options = CompileOptions(
        dtype="int8", fast_memory_bytes=int(size) << 10, overrides={"split_operands": "false"}
    )
    prepared = prepare(public if public.is_file() else find_model(name), options)
    problem = prepared.problem
    rivals = {
        solver: score(plan_by(solver, problem, parameters=parameters)).latency_s
        for solver, parameters in RIVALS.items()
    }
    instance = by_live_bytes(game_instance_of(problem))
    reference_s = reference_of(problem, instance, (rivals["greedy"], rivals["msa"]))
    asked = replace(MuZeroOptions(seed=seed), **VARIANTS[variant])
    agent = new_agent(instance, reference_s, asked, packer_of(problem, instance, Budget()))
    curve: list[tuple[float, float, float, float]] = []
    reached: list[float] = []
    begun = time.monotonic()

    def note(now: Report) -> None:
        curve.append((round(now.seconds, 2), now.best_s, now.greedy_s, now.mean_s))

    def improved(best_s: float) -> None:
        if best_s <= rivals["msa"] * (1 + 1e-9) and not reached:
            reached.append(time.monotonic() - begun)
        print(
            f"{program} {variant} {seed}: {time.monotonic() - begun:.0f} s {best_s:.6g}", flush=True
        )

    train(agent, lambda _: True, note, improved, begun + seconds)
    return {
        "program": name,
        "fast_memory_kib": int(size),
        "variant": variant,
        "seed": seed,
        "uses": len(instance.arrays.access_segment),
        "all_slow_s": instance.all_slow_s,
        **{f"{solver}_s": latency_s for solver, latency_s in rivals.items()},
        "best_s": agent.best_s,
        "games": agent.games,
        "unplaced": agent.unplaced,
        "seconds": round(time.monotonic() - begun, 1),
        "msa_reached_s": reached[0] if reached else None,
        "curve": curve,
    }


def report(runs: dict[str, Any]) -> None:
    columns = ["program", "fast memory [KiB]", "uses", "variant", "seed", "all-slow [ms]"]
    columns += [f"{solver} [ms]" for solver in RIVALS]
    columns += [
        f"muzero, {EARLY} generations [ms]",
        "muzero [ms]",
        "last without noise [ms]",
        "msa reached [s]",
        "games",
        "run [s]",
    ]
    rows = [
        [
            run["program"],
            run["fast_memory_kib"],
            run["uses"],
            run["variant"],
            run["seed"],
            f"{1e3 * run['all_slow_s']:.4f}",
            *(f"{1e3 * run[f'{solver}_s']:.4f}" for solver in RIVALS),
            f"{1e3 * run['curve'][EARLY - 1][1]:.4f}" if len(run["curve"]) >= EARLY else "-",
            f"{1e3 * run['best_s']:.4f}",
            f"{1e3 * run['curve'][-1][2]:.4f}",
            "-" if run["msa_reached_s"] is None else f"{run['msa_reached_s']:.0f}",
            run["games"],
            f"{run['seconds']:.0f}",
        ]
        for _, run in sorted(runs.items())
    ]
    print(write_table("muzero", "muzero, edge-npu, int8, whole tensors, one core", columns, rows))
    first = runs.get("squeezenet:256/default/0")
    if first is not None:
        write_picture(PICTURE, lambda axes: draw(first, axes))


def draw(run: dict[str, Any], axes: Axes) -> None:
    """The best plan, the game without noise and the mean of each generation, and the rivals."""
    seconds = [point[0] for point in run["curve"]]
    names = ("best plan so far", "game without noise", "mean of a generation")
    for column, (name, width) in enumerate(zip(names, (2.2, 1.0, 1.0), strict=True), 1):
        values = [1e3 * point[column] for point in run["curve"]]
        colour = ("#0072B2", "#D55E00", "#999999")[column - 1]
        axes.plot(
            seconds, values, lw=width, color=colour, label=f"muzero: {name}", zorder=5 - column
        )
    for (solver, parameters), (style, grey) in zip(RIVALS.items(), LINES, strict=True):
        del parameters
        value = 1e3 * run[f"{solver}_s"]
        axes.axhline(value, ls=style, color=grey, lw=1.0, label=f"{solver}: {value:.3f} ms")
    axes.set_xlabel("training [s], one core, compilation included")
    axes.set_ylabel("latency [ms]")
    best = 1e3 * min(run["best_s"], run["cpsat_s"])
    axes.set_ylim(best * 0.985, best * 1.2)
    axes.set_title(
        f"{run['program']}, {run['fast_memory_kib']} KiB, whole tensors, {run['uses']} uses, "
        f"seed {run['seed']}",
        loc="left",
        fontsize="medium",
    )
    axes.grid(visible=True, color="0.93", lw=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, fontsize="small", loc="upper right")


if __name__ == "__main__":
    main()
