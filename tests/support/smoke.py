"""Does an installation work? Compile with every solver, verify, run, report, train one step.

The commands that read files of the package (targets, suites, schemas, pages) are among them.

Run it with the Python of the environment to be tested: `python tests/support/smoke.py`. It needs
the installed package alone, nothing of the repository; what an extra would add is left out.
"""

import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

# Seconds for one solver.
TIME_LIMIT_S = 10
# Commands side by side.
JOBS = 2
# What a plan is written as.
FORMS = "json,html,csv,problem,solution,c,trace,onnx,svg"
# Targets of solvers that do not plan for the default one.
TARGETS = {"ilp": "cosma"}


def main() -> int:
    """Run the commands; 0 where all end as they should."""
    with tempfile.TemporaryDirectory(prefix="ullage-smoke-") as folder:
        return _smoke(Path(folder))


def _smoke(folder: Path) -> int:
    model = folder / "smoke.onnx"
    onnx.save(_model(), model)
    failed = sum(not _says(command) for command in ("--version", "warm-up"))
    listed = json.loads(_says("solvers", "list", "--json") or '{"solvers": []}')["solvers"]
    solvers = {row["name"]: row["objectives"][0] for row in listed if not row["missing"]}
    failed += not solvers
    with ThreadPoolExecutor(JOBS) as pool:
        failed += sum(pool.map(lambda name: _solve(name, solvers[name], model), solvers))
    plan = folder / "greedy" / "plan.json"
    for command in (
        ("run", model, plan),
        ("report", plan),
        ("analyze", model, "--json"),
        ("compile", model, "--solver", "greedy", "--emit", FORMS, "-o", folder / "forms"),
        ("check", folder / "forms" / "problem.json", folder / "forms" / "solution.json"),
        ("bench", "--list"),
        ("targets", "list"),
        ("train", "squeezenet", "--steps", 1, "--out", folder / "policy.safetensors"),
    ):
        failed += not _says(*command)
    print(f"{len(solvers)} solvers: {', '.join(solvers)}; {failed} failures")
    return int(failed > 0)


def _solve(solver: str, objective: str, model: Path) -> bool:
    """Compile with a solver and verify its plan; whether that failed."""
    out, target = model.with_name(solver), TARGETS.get(solver, "edge-npu")
    asked = ("--target", target, "--objective", objective, "--time-limit", TIME_LIMIT_S)
    made = _says("compile", model, "--solver", solver, *asked, "-o", out, "--json")
    return not made or not _says("verify", out / "plan.json", "--model", model)


def _says(*arguments: object) -> str:
    """What a command prints; empty, and its errors shown, where it fails."""
    command = [str(Path(sys.executable).with_name("ullage")), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"FAILED ({done.returncode}): {' '.join(command[1:])}\n{done.stdout}{done.stderr}")
        return ""
    return done.stdout or "done"


def _model() -> Any:
    """Two convolutions and a residual sum, a few kilobytes."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Conv", ["r", "w2"], ["b"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["b", "x"], ["y"]),
    ]
    shape = [1, 8, 8, 8]
    border = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("x", "y")]
    weights = [
        helper.make_tensor(n, TensorProto.FLOAT, [8, 8, 3, 3], [0.01] * 576) for n in ("w1", "w2")
    ]
    graph = helper.make_graph(nodes, "smoke", border[:1], border[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


if __name__ == "__main__":
    sys.exit(main())
