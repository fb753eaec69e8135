"""Targets with three tiers: `fluid` against its bound, and against streaming operator by operator.

Weights in flash or in host memory, a middle tier of several sizes, one inference and steady state.

Run: python benchmarks/multi_tier.py [--models DIR] [--only NAME,NAME]
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

from common import model_files, write_table
from heuristics import geomean

from ullage.compiler.common.errors import UllageError
from ullage.compiler.driver.compile import prepare, solve_prepared
from ullage.compiler.driver.options import CompileOptions

GIB = 1 << 30
# target, the tier whose size varies, its sizes in bytes, steady state
CASES = (
    ("ethos-u55-128", "sram", (64 << 10, 256 << 10), False),
    ("stm32h743", "sram", (64 << 10, 256 << 10), False),
    ("phone-npu-flash", "dram", (4 * GIB,), False),
    ("phone-npu-flash", "dram", (2 * GIB, 4 * GIB), True),
    ("a100-host", "hbm", (4 * GIB,), True),
)
LARGE = ("phone-npu-flash", "a100-host")
MODELS = {
    True: ("llama7b_decode_1024", "tinyllama_1b_decode_512"),
    False: ("mobilenet_v2", "ghostnet_100", "unet_256", "tiny_resnet8", "mlp_train"),
}
NAME = "multi_tier"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--only", default="", help="names of models")
    given = parser.parse_args()
    wanted = [name for name in given.only.split(",") if name]
    files = {file.stem: file for file in model_files(given.models)}
    rows: list[list[str]] = []
    gaps: list[float] = []
    for target, tier, sizes, steady in CASES:
        for model in MODELS[target in LARGE]:
            if model not in files or (wanted and model not in wanted):
                continue
            for size in sizes:
                row = run(files[model], target, tier, size, steady=steady, gaps=gaps)
                rows.append(row)
                print(" | ".join(row), flush=True)
                write(rows, gaps)
    print(write(rows, gaps))


def write(rows: list[list[str]], gaps: list[float]) -> str:
    """The table so far."""
    columns = ["target", "tier", "KiB", "model", "inference", "bound ms", "fluid/bound"]
    columns += ["all-slow/fluid", "simulated/model", "residencies", "transfers", "solve s", "CPU s"]
    title = f"Three tiers, int8: fluid/bound geomean {geomean(gaps):.4f}, most {max(gaps):.4f}"
    return write_table(NAME, title, columns, rows)


def run(
    file: Path, target: str, tier: str, size: int, *, steady: bool, gaps: list[float]
) -> list[str]:
    """One verified plan."""
    overrides = {f"tiers.{tier}.capacity_bytes": str(size)}
    options = CompileOptions(
        target=target,
        solver="fluid",
        schedule="whole",
        dtype="int8",
        steady_state=steady,
        overrides=overrides,
    )
    row = [target, tier, str(size >> 10), file.stem, "steady" if steady else "one"]
    try:
        prepared = prepare(file, options)
        since = time.process_time()
        done = solve_prepared(replace(prepared, started=time.monotonic()), options)
    except UllageError as error:
        return [*row, error.kind, *["-"] * 7]
    cpu_s = time.process_time() - since
    ratio = done.value / done.bound.value
    gaps.append(ratio)
    slow = "-" if done.all_slow is None else f"{done.all_slow.latency_s / done.value:.3f}"
    row += [f"{1e3 * done.bound.value:.5f}", f"{ratio:.4f}", slow]
    row += [f"{done.simulation.latency_s / done.score.latency_s:.3f}"]
    row += [str(len(done.plan.residencies)), str(len(done.plan.transfers))]
    return [*row, f"{done.solve_s:.1f}", f"{cpu_s:.1f}"]


if __name__ == "__main__":
    main()
