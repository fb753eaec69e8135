"""Random targets over the whole range of figures that target files admit, and small problems."""

import math
import time
import warnings
from collections.abc import Iterator, MutableMapping, Sequence
from random import Random
from typing import Any, get_args

from tests.support.graphs import random_graph, random_order
from ullage.compiler.common.errors import InfeasibleError, TimeLimitError, UsageError
from ullage.compiler.common.ranges import (
    MAX_COUNT,
    MAX_JOULES,
    MAX_RATE,
    MAX_SECONDS,
    MIN_AMOUNT,
    MIN_RATE,
)
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.plan_json import dump_plan, load_plan
from ullage.compiler.ir.problem import Objective, Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.lower import build_program
from ullage.compiler.report.data import report_data
from ullage.compiler.report.extras import Extras
from ullage.compiler.report.subject import compiled_of
from ullage.hwmodels.catalog import schema
from ullage.hwmodels.catalog.checks import check_target
from ullage.solvers.budget import Budget
from ullage.solvers.registry import find_solver
from ullage.solvers.run import run_solver

OBJECTIVES = get_args(Objective)
# Operators of a problem.
OPERATORS = 5
# Seconds for one solver.
LIMIT_S = 3.0


def _figure(value: float | str) -> dict[str, Any]:
    return {"value": value, "source": "random", "confidence": "low"}


def _between(rng: Random, low: float, high: float) -> float:
    """Log-uniform, the ends themselves one time in four."""
    if rng.random() < 0.25:
        return rng.choice((low, high))
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _rate(rng: Random, most: float = MAX_RATE) -> float:
    return min(_between(rng, MIN_RATE, MAX_RATE), most)


def _cost(rng: Random, most: float) -> float:
    return 0.0 if rng.random() < 0.3 else _between(rng, MIN_AMOUNT, most)


def _capacity(rng: Random, least: int) -> int:
    sizes = (0, 1, 63, 64, 192, 1024, 1 << 20)
    small = rng.choice([size for size in sizes if size >= least] or [least])
    return small if rng.random() < 0.8 else max(least, int(_between(rng, 1, MAX_COUNT)))


def extreme_target_file(rng: Random) -> dict[str, Any]:
    """The document of a valid target file: two or three tiers, figures from end to end."""
    count = rng.choice((2, 2, 2, 3))
    names = ("sram", "dram", "far")[:count]
    tiers: list[dict[str, Any]] = []
    fastest = MAX_RATE
    for place, name in enumerate(names):
        fastest = _rate(rng, fastest)
        alignment = 1 << rng.choice((0, 0, 2, 4, 6, 12))
        tiers.append(
            {
                "name": name,
                "capacity_bytes": _figure(_capacity(rng, 1 << 20 if place == count - 1 else 0)),
                "read_bytes_per_s": _figure(fastest),
                "write_bytes_per_s": _figure(_rate(rng)),
                "alignment_bytes": _figure(alignment),
                "read_energy_j_per_byte": _figure(_cost(rng, MAX_JOULES)),
                "write_energy_j_per_byte": _figure(_cost(rng, MAX_JOULES)),
            }
        )
    pairs = [(names[a], names[a + 1]) for a in range(count - 1)]
    links = [
        {
            "source": a,
            "destination": b,
            "bandwidth_bytes_per_s": _figure(_rate(rng)),
            "setup_s": _figure(_cost(rng, MAX_SECONDS)),
            "energy_j_per_byte": _figure(_cost(rng, MAX_JOULES)),
        }
        for pair in pairs
        for a, b in (pair, pair[::-1])
    ]
    fastest_only = rng.random() < 0.3
    least = tiers[0]["alignment_bytes"]["value"]
    return {
        "name": "extreme",
        "description": "figures from end to end",
        "tiers": tiers,
        "links": links,
        "compute": {
            "macs_per_s": {"int8": _figure(_rate(rng))},
            "vector_elements_per_s": _figure(_rate(rng)),
            "overhead_s": _figure(_cost(rng, MAX_SECONDS)),
            "energy_j_per_mac": {"int8": _figure(_cost(rng, MAX_JOULES))},
        },
        "homes": dict.fromkeys(("input", "weight", "activation", "output"), names[-1]),
        "operand_access": "fastest" if fastest_only else "any",
        "weights_in_fastest": fastest_only and rng.random() < 0.5,
        "split_operands": rng.random() < 0.7,
        "slice_granularity": _figure(rng.choice(("row", max(least, 16), max(least, 256)))),
    }


def extreme_target(rng: Random) -> Target:
    """A target as its file gives it."""
    return schema.resolve(check_target(extreme_target_file(rng), "extreme"))


def extreme_problem(seed: int) -> Problem:
    """A few operators on a random target."""
    rng = Random(seed)
    target = extreme_target(rng)
    graph = random_graph(rng, OPERATORS)
    program = build_program(
        graph,
        random_order(graph, rng),
        aliases=alias_options(target),
        dma_steps=target.dma_steps,
    )
    return Problem(program, target)


def breaches_of(
    problem: Problem, solvers: Sequence[str], answers: MutableMapping[str, int]
) -> Iterator[str]:
    """Yield what solvers do on a problem that they may not do, in words.

    Args:
        problem: the problem, with its objective.
        solvers: names of solvers of this project.
        answers: counts of answers by kind, to be added to.
    """
    feasible, refused = False, []
    for name in solvers:
        solver = find_solver(name)
        if problem.objective not in solver.objectives:
            continue
        budget = Budget(time.monotonic() + LIMIT_S)
        try:
            plan = run_solver(solver, problem, budget).plan
            _follow(plan)
        except InfeasibleError:
            refused.append(name)
            kind = "infeasible"
        except (UsageError, TimeLimitError) as error:
            kind = error.kind
        except Exception as error:  # noqa: BLE001 - that there is any is what is reported
            yield f"{name}: {type(error).__name__}: {str(error)[:200]}"
            continue
        else:
            kind = "plans"
            feasible = feasible or name == "greedy"
        answers[kind] = answers.get(kind, 0) + 1
    if feasible:
        yield from (f"{name}: infeasible, though greedy plans it" for name in refused)


def _follow(plan: Plan) -> None:
    """Do with a plan what `compile` and `report` do: bounds, replay, the data of the report."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # overflows
        compiled = compiled_of(load_plan(dump_plan(plan)))
        if not math.isfinite(compiled.value) or not math.isfinite(compiled.simulation.latency_s):
            raise ArithmeticError(f"value {compiled.value}")
        report_data(compiled, {}, Extras())
