"""Decoding with weights that stream from flash, an NVMe drive or host memory, in steady state.

The memory that the weights stream into has room for a quarter, half or all of their bytes (and
nothing beside: caches and activations take theirs from it). From the drive there are two links: it
is host memory that has the share, and device memory has room for a tenth.

Run: python benchmarks/streaming.py [--models DIR] [--only NAME] [--targets NAME,NAME]
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

from common import write_table

from ullage.compiler.driver.compile import prepare, solve_prepared
from ullage.compiler.driver.options import CompileOptions

NAME = "streaming"
MODELS = ("tinyllama_1b_decode_512", "llama7b_decode_1024")
# target, the tier that has a share of the weights' bytes, and others with a fixed share
CASES: tuple[tuple[str, str, dict[str, float]], ...] = (
    ("phone-npu-flash", "dram", {}),
    ("a100-host", "hbm", {}),
    ("a100-nvme", "host", {"hbm": 0.1}),
)
SHARES = (0.25, 0.5, 1.0)
COLUMNS = (
    *("target", "tier", "model", "share of weights", "latency ms", "bound ms", "proven by"),
    *("gap %", "GB from home", "transfers from home", "CPU s"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("../shared/models"))
    parser.add_argument("--only", default=",".join(MODELS))
    parser.add_argument("--targets", default=",".join(target for target, _, _ in CASES))
    parser.add_argument("--shares", default=",".join(map(str, SHARES)))
    given = parser.parse_args()
    rows = []
    for name in given.only.split(","):
        for target, tier, fixed in CASES:
            for share in map(float, given.shares.split(",")):
                if target in given.targets.split(","):
                    file = given.models / f"{name}.onnx"
                    rows.append(row(file, target, {**fixed, tier: share}, tier))
                    print(*rows[-1], flush=True)
                    write_table(NAME, title(), COLUMNS, rows)


def title() -> str:
    """The table's title."""
    return (
        "Decoding in steady state with weights from flash, host memory and a drive: fluid, "
        "float16, --state auto, no limit of time"
    )


def row(file: Path, target: str, shares: dict[str, float], tier: str) -> list[str]:
    """A verified plan."""
    options = CompileOptions(
        target=target,
        solver="fluid",
        schedule="whole",
        dtype="float16",
        steady_state=True,
        states=("auto",),
    )
    problem = prepare(file, options).problem
    weights = sum(buffer.size_bytes for buffer in problem.buffers if buffer.constant)
    sizes = {name: int(share * weights) // 4096 * 4096 for name, share in shares.items()}
    overrides = {f"tiers.{name}.capacity_bytes": str(size) for name, size in sizes.items()}
    given = replace(options, overrides=overrides)
    prepared = prepare(file, given)
    since = time.process_time()
    done = solve_prepared(prepared, given)
    cpu_s = time.process_time() - since
    home = done.plan.target.home("weight").name
    came = [t for t in done.plan.transfers if t.source == home]
    return [
        target,
        tier,
        file.stem,
        f"{shares[tier]:g}",
        f"{1e3 * done.value:.3f}",
        f"{1e3 * done.bound.value:.3f}",
        done.bound.source,
        f"{100 * (done.value / done.bound.value - 1):.2f}",
        f"{sum(t.end_byte - t.start_byte for t in came) / 1e9:.3f}",
        str(len(came)),
        f"{cpu_s:.1f}",
    ]


if __name__ == "__main__":
    main()
