"""The schedule agent beside the dynamic program and local search, at equal numbers of LPs.

One decode: what the dynamic program's schedule, the trained network's and those of random weights
are worth by the LP, on networks of trained families that no training saw and of families set aside;
and how far the dynamic program's estimate is from the LP. Search: `cascade` and `agent` with so
many linear programs, three seeds, on networks of families set aside and on public models; what they
find is valued by one more linear program on the finer axis of time, which does not count.

All values are over that of the dynamic program's schedule of the same network and memory. Tables
are written after every row.

Run: python benchmarks/schedule_game.py [--checkpoint FILE] [--programs N] [--searched N]
[--values N,N] [--models NAME,NAME] [--sizes KIB,KIB] [--model-values N,N] [--seeds N]
[--part decode|models|search]
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from cascade_tasks import imported_models, task_of
from common import write_table

from ullage.hwmodels.catalog.registry import load_target
from ullage.rl_agent.schedule.agent import agent_schedule, decoded
from ullage.rl_agent.schedule.exercises import (
    Exercise,
    load_exercise,
    synthetic_exercises,
)
from ullage.rl_agent.schedule.exercises import (
    task_of as exercise_task,
)
from ullage.rl_agent.schedule.network import (
    ScheduleNetwork,
    network_in,
    random_network,
    zero_network,
)
from ullage.rl_agent.schedule.rules import begin_game, play, state_of
from ullage.rl_agent.schedule.tables import instance_of
from ullage.rl_agent.schedule.workloads import HELD_OUT, TRAINED
from ullage.solvers.budget import Budget
from ullage.solvers.scheduling.cascade.search import CascadeResult, cascade_schedule
from ullage.solvers.scheduling.cascade.stripes import Cascade
from ullage.solvers.scheduling.cascade.valued import Judge, SchedulingTask

# Seed of the networks to measure with; training draws from seed 0.
FRESH = 1
# Seeds of random weights.
RANDOM = (100, 101, 102)
Search = Callable[[SchedulingTask], CascadeResult]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--programs", type=int, default=100)
    parser.add_argument("--searched", type=int, default=6)
    parser.add_argument("--values", default="16,64,256")
    parser.add_argument("--models", default="squeezenet1_1,mobilenet_v2")
    parser.add_argument("--sizes", default="64,256")
    parser.add_argument("--model-values", default="16,64")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--part", choices=("decode", "models", "search"))
    parser.add_argument("--name", default="schedule_game")
    given = parser.parse_args()
    network = network_in(given.checkpoint)
    if given.part in (None, "decode"):
        one_decode(network, given.programs, given.name)
    if given.part in (None, "models"):
        of_models(network, given)
    if given.part in (None, "search"):
        time.monotonic = time.process_time  # what else runs on the machine changes no value
        searches(network, given)


def one_decode(network: ScheduleNetwork, count: int, name: str) -> None:
    """The table of one decode each."""
    players = {"trained": network}
    players |= {f"random weights {k}": random_network(seed) for k, seed in enumerate(RANDOM)}
    rows = []
    for title, families in (("trained families, fresh", TRAINED), ("families set aside", HELD_OUT)):
        exercises = [
            exercise
            for specification in synthetic_exercises(FRESH, families, count)
            if (exercise := load_exercise(specification)) is not None
        ]
        for player, other in players.items():
            logs = np.array([exercise.log_ratio(other) for exercise in exercises])
            rows.append([title, player, str(count), *_told(logs)])
            print(rows[-1], flush=True)
        errors = np.array([_estimate_error(exercise) for exercise in exercises])
        rows.append(
            [title, "estimate of the dynamic program over the LP", str(count), *_told(errors)]
        )
        print(rows[-1], flush=True)
        write_table(
            f"{name}_decode",
            "Value of one decode over that of the dynamic program's schedule, by the LP "
            "(0.3 in logarithms where it cannot be cut, or has too many parts)",
            (
                "networks",
                "who",
                "number",
                "geometric mean",
                "standard error",
                "better",
                "worse",
                "worst",
            ),
            rows,
        )


def of_models(network: ScheduleNetwork, given: argparse.Namespace) -> None:
    """The table of one decode each of public models, on the finer axis of time."""
    rows = []
    for name, graph in imported_models(None, given.models, 300):
        for size in given.sizes.split(","):
            target = load_target("edge-npu").with_fast_memory(int(size) * 1024)
            task = task_of(graph, target, Budget())
            instance = instance_of(task)
            judge = Judge(task, instance.facts)
            start = judge.value(instance.chain.best(0, instance.operators), fine=True)
            if start is None:
                print(f"{name} at {size} KiB: the dynamic program's schedule has too many parts")
                continue
            valued = judge.value(decoded(instance, network), fine=True)
            ratio = "too many parts" if valued is None else f"{valued.value / start.value:.4f}"
            rows.append([name, f"{size} KiB", f"{start.value * 1e3:.4f}", ratio])
            print(rows[-1], flush=True)
            write_table(
                f"{given.name}_models",
                "Value of one decode over that of the dynamic program's schedule, by the LP, of "
                "models that no training saw (edge-npu, int8)",
                ("model", "memory", "dynamic program, ms", "trained"),
                rows,
            )


def _told(logs: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> list[str]:
    error = float(logs.std(ddof=1) / np.sqrt(len(logs)))
    return [
        f"{np.exp(logs.mean()):.4f}",
        f"{error:.4f}",
        str(int((logs < -1e-4).sum())),
        str(int((logs > 1e-4).sum())),
        f"{np.exp(logs.max()):.3f}",
    ]


def _estimate_error(exercise: Exercise) -> float:
    """Logarithm of what the dynamic program says of its schedule over what the LP says."""
    rows = exercise.decoder.rows(zero_network())
    arrays, state = exercise.instance.arrays, state_of(exercise.instance.arrays)
    begin_game(arrays, state)
    for row in rows:
        length = exercise.instance.groups[row].cascade.last - int(arrays.first[row])
        for _ in range(length - 1):
            play(arrays, state, 0)
        play(arrays, state, int(arrays.action[row]))
    valued = Judge(exercise.instance.task, exercise.instance.facts).value(
        exercise.instance.cascades(rows.tolist())
    )
    if valued is None:
        return float("nan")
    return float(np.log(state.seconds[0] / valued.value))


def searches(network: ScheduleNetwork, given: argparse.Namespace) -> None:
    """The table of searches at equal numbers of linear programs."""
    zeros, weights = zero_network(), random_network(RANDOM[0])
    players: dict[str, Search] = {
        "local search": cascade_schedule,
        "agent": lambda task: agent_schedule(task, network),
        "zeros": lambda task: agent_schedule(task, zeros),
        "random weights": lambda task: agent_schedule(task, weights),
    }
    columns = ("network", "memory", "linear programs", *players)
    rows: list[list[str]] = []
    logs: dict[tuple[str, str, str], list[float]] = {}
    for kind, name, task, budgets in _tasks(given):
        instance = instance_of(task)
        judge = Judge(task, instance.facts)
        start = judge.value(instance.chain.best(0, instance.operators), fine=True)
        if start is None:
            continue
        for budget in budgets:
            cells = []
            for player, search in players.items():
                ratios = []
                for seed in range(given.seeds):
                    limited = replace(task, most_values=budget, seed=seed)
                    found = search(limited)
                    valued = judge.value(found.cascades or _singles(task), fine=True)
                    ratios.append(np.log(valued.value / start.value) if valued else np.nan)
                logs.setdefault((kind, str(budget), player), []).extend(ratios)
                cells.append(f"{np.exp(np.mean(ratios)):.4f} +- {np.std(ratios):.4f}")
            memory = f"{task.target.fastest.capacity_bytes // 1024} KiB"
            rows.append([name, memory, str(budget), *cells])
            print(rows[-1], flush=True)
            means = [
                [
                    f"all: {kind}",
                    "",
                    str(budget),
                    *(_mean(logs, kind, str(budget), p) for p in players),
                ]
                for kind in ("set aside", "public")
                for budget in sorted({int(b) for k, b, _ in logs if k == kind})
            ]
            write_table(
                f"{given.name}_search",
                "Value over that of the dynamic program's schedule, at equal numbers of linear "
                f"programs, mean and standard deviation of {given.seeds} seeds; of all of a kind "
                "the geometric mean and its standard error",
                columns,
                [*means, *rows],
            )


def _mean(logs: dict[tuple[str, str, str], list[float]], *key: str) -> str:
    found = np.array(logs[key[0], key[1], key[2]])
    return f"{np.exp(found.mean()):.4f} +- {found.std(ddof=1) / np.sqrt(len(found)):.4f}"


def _tasks(
    given: argparse.Namespace,
) -> Iterator[tuple[str, str, SchedulingTask, Sequence[int]]]:
    """Kind, name, task and budgets of what is searched."""
    budgets = [int(value) for value in given.values.split(",")]
    found = synthetic_exercises(FRESH, HELD_OUT, given.searched)
    for specification in found:
        task = replace(exercise_task(specification), most_parts=None)
        yield "set aside", f"{task.graph.name} {specification.number}", task, budgets
    model_budgets = [int(value) for value in given.model_values.split(",")]
    for name, graph in imported_models(None, given.models, 300) if given.models else ():
        for size in given.sizes.split(","):
            target = load_target("edge-npu").with_fast_memory(int(size) * 1024)
            yield "public", name, task_of(graph, target, Budget()), model_budgets


def _singles(task: SchedulingTask) -> list[Cascade]:
    """Operators that run whole."""
    return [Cascade(place, place + 1) for place in range(len(task.order))]


if __name__ == "__main__":
    main()
