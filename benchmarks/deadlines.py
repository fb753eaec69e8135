"""Whether solvers end in time on a busy machine: two cores, of which one spins.

For each of `ilp`, `cpsat` (fixed and free order), `divide`, cascades and a `joint` order, several
models and limits: the limit, the seconds that `compile_model` took, and whether that is within
10 % + 1 s. Reading the model counts; importing libraries does not, since each case has had a small
model before. A child process keeps a second core busy meanwhile.

Run: python benchmarks/deadlines.py [--limits 1,5,20]
"""

import argparse
import multiprocessing
import time
from typing import Any

from common import write_table

from ullage.compiler.common.errors import InfeasibleError, TimeLimitError
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.importer.model_zoo import find_model

MODELS = ("densenet121", "resnet50")
SHARE, GRACE_S = 1.1, 1.0
# column -> options; densenet121 at its M_R, the others at theirs
CASES: dict[str, dict[str, Any]] = {
    "ilp": {"solver": "ilp", "target": "cosma", "objective": "traffic", "alias": False},
    "ilp free": {
        "solver": "ilp",
        "target": "cosma",
        "objective": "traffic",
        "alias": False,
        "parameters": {"order": "free"},
    },
    "cpsat traffic": {"solver": "cpsat", "target": "cosma", "objective": "traffic"},
    "cpsat free": {
        "solver": "cpsat",
        "target": "cosma",
        "objective": "traffic",
        "alias": False,
        "parameters": {"order": "free"},
    },
    "cpsat latency": {"solver": "cpsat", "fast_memory_bytes": 128 << 10},
    "divide latency": {"solver": "divide", "fast_memory_bytes": 128 << 10},
    "auto, cascades": {"schedule": "cascade", "fast_memory_bytes": 128 << 10},
    "joint, fluid": {"solver": "fluid", "order": "joint", "fast_memory_bytes": 128 << 10},
    "joint, cpsat traffic": {
        "solver": "cpsat",
        "order": "joint",
        "target": "cosma",
        "objective": "traffic",
        "alias": False,
    },
}
LEAST = {
    "densenet121": 1568 << 10,
    "inception_v2": 1568 << 10,
    "resnet50": 2352 << 10,
    "squeezenet": 1 << 20,
}
COLUMNS = ("case", "model", "limit s", "took s", "in time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limits", default="1,5,20")
    given = parser.parse_args()
    for name, how in CASES.items():
        _row(name, how, "squeezenet", 10.0)
    busy = multiprocessing.get_context("spawn").Process(target=_spin, daemon=True)
    busy.start()
    rows: list[list[str]] = []
    try:
        for limit in map(float, given.limits.split(",")):
            for name, how in CASES.items():
                for model in MODELS:
                    rows.append(_row(name, how, model, limit))
                    late = sum(row[-1] != "yes" for row in rows)
                    title = f"Deadlines beside a busy core: {len(rows)} runs, {late} late"
                    write_table("deadlines", title, COLUMNS, rows)
                    print(" | ".join(rows[-1]), flush=True)
    finally:
        busy.kill()


def _spin() -> None:
    while True:
        sum(range(1 << 16))


def _row(name: str, how: dict[str, Any], model: str, limit: float) -> list[str]:
    settings = {"dtype": "int8", "schedule": "whole", "fast_memory_bytes": LEAST[model], **how}
    options = CompileOptions(**settings, time_limit_s=limit)
    begun = time.monotonic()
    ended = ""
    try:
        compile_model(find_model(model), options)
    except TimeLimitError:
        ended = " (no plan)"
    except InfeasibleError:
        ended = " (infeasible)"
    took = time.monotonic() - begun
    in_time = "yes" if took <= SHARE * limit + GRACE_S else "NO"
    return [name, model, f"{limit:g}", f"{took:.2f}{ended}", in_time]


if __name__ == "__main__":
    main()
