"""Run the benchmarks and put their tables together in docs/benchmarks.md.

`make bench` runs the suite `quick` alone; `make bench-all` runs all of them, which takes days of
processor time. What has been run with the same sources and packages is not run again: build/bench
knows (`--fresh` forgets that). A kill loses the benchmark that was running.

How long one took is noted in results/durations.json when it is run; `--duration` prints the sum,
and of those that have not been run since, the seconds that rows of their tables say.

Run: python benchmarks/run_all.py [--only NAME ...] [--fresh] [--assemble] [--duration]
"""

import argparse
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version

from common import RESULTS, ROOT, SHARED

INSTANCES = SHARED.parent / "minimalloc"
# name -> (arguments of the script, tables it writes)
BENCHMARKS: dict[str, tuple[list[str], list[str]]] = {
    "quick": (["quick.py"], ["quick"]),
    "jobs_speed": (["jobs_speed.py", "--ray"], ["jobs_speed"]),
    "startup": (["startup.py"], ["startup"]),
    "kernels": (["kernels.py"], ["kernels", "first_commands"]),
    "packing": (["packing.py", "--instances", str(INSTANCES)], ["packing"]),
    "heuristics": (["heuristics.py", "--dtype", "int8"], ["heuristics_int8"]),
    "heuristics_own": (["heuristics.py", "--dtype", "own"], ["heuristics_own"]),
    "execution": (["execution.py"], ["execution", "execution_refused"]),
    "fuzz_tiles": (["fuzz_tiles.py"], ["fuzz_tiles"]),
    "execution_parts": (["execution_parts.py"], ["execution_parts"]),
    "fluid": (["fluid.py"], ["fluid_edge-npu"]),
    "fluid_tpu": (["fluid.py", "--target", "tpu-v4i"], ["fluid_tpu-v4i"]),
    "orders": (["orders.py"], ["orders"]),
    "orders_no_alias": (["orders.py", "--no-alias"], ["orders_no_alias"]),
    "orders_no_fuse": (["orders.py", "--no-fuse"], ["orders_no_fuse"]),
    "whole_tensors": (["whole_tensors.py"], ["whole_tensors"]),
    "whole_tensors_exact": (
        ["whole_tensors.py", "--sizes", "256,1024,4096", "--exact", "60"],
        ["whole_tensors_exact"],
    ),
    "multi_tier": (["multi_tier.py"], ["multi_tier"]),
    "families": (["families.py"], ["families"]),
    "scratchpad": (
        ["scratchpad.py"],
        ["scratchpad_summary", "scratchpad_above", "scratchpad"],
    ),
    "scratchpad_auto": (["scratchpad_auto.py"], ["scratchpad_auto"]),
    "cascades": (["cascades.py", "--sizes", "64,256,1024"], ["cascades"]),
    "cascade_anytime": (["cascade_anytime.py"], ["cascade_anytime"]),
    "cascades_scratchpad": (
        ["cascades_scratchpad.py", "--seconds", "300"],
        ["cascades_scratchpad"],
    ),
    "cascades_peak": (["cascades_peak.py"], ["cascades_peak", "cascades_peak_limited"]),
    "cascades_peak_unpadded": (
        [
            "cascades_peak.py",
            "--set=storage.channels_multiple=1",
            "--limited-alone",
            "--slower-by=0.05",
            "--seconds=15",
            "--name=cascades_peak_unpadded",
        ],
        ["cascades_peak_unpadded_limited"],
    ),
    "chains": (["chains.py"], ["chains"]),
    "streaming": (["streaming.py"], ["streaming"]),
    "published_streaming": (
        ["published_streaming.py"],
        ["published_streaming", "published_policies"],
    ),
    "lp_time": (["lp_time.py"], ["lp_time"]),
    "scratchpad_whole": (["scratchpad_whole.py"], ["scratchpad_whole"]),
    "scaling": (["scaling.py"], ["scaling"]),
    "shapes": (["shapes.py"], ["shapes"]),
    "shapes_long": (
        [
            "shapes.py",
            *("chain", "weights"),
            *("--sizes", "200000", "--limit", "3000", "--table", "shapes_long"),
        ],
        ["shapes_long"],
    ),
    "joint": (["joint.py"], ["joint"]),
    "rl_speed": (["rl_speed.py"], ["rl_speed"]),
    "rl_players": (["rl_players.py"], ["rl_players", "rl_one_decode"]),
    "rl_exact": (["rl_exact.py"], ["rl_exact"]),
    "schedule_game": (
        ["schedule_game.py"],
        ["schedule_game_decode", "schedule_game_models", "schedule_game_search"],
    ),
    "rl_train": (["rl_train.py", "--measure-only"], ["rl_seeds"]),
    "game_addresses": (["game_addresses.py"], ["game_addresses"]),
    "cosma": (["cosma.py"], ["cosma"]),
    "cosma_weights": (["cosma.py", "--weights"], ["cosma_weights"]),
    "cosma_anchors": (["cosma_anchors.py"], ["cosma_anchors"]),
    "cosma_random": (["cosma_random.py"], ["cosma_random"]),
    "cosma_speed": (["cosma_speed.py"], ["cosma_speed"]),
    "deadlines": (["deadlines.py"], ["deadlines"]),
    "recomputation": (["recomputation.py"], ["recomputation"]),
    "poet": (["poet.py"], ["poet"]),
    "sparse-training": (["sparse_training.py"], ["sparse_training"]),
    "muzero": (["muzero.py"], ["muzero"]),
    "fuzz": (["fuzz_import.py"], ["fuzz"]),
    "real_files": (["real_files.py", "--install"], ["real_files"]),
    "onnx_backend": (["onnx_backend.py"], ["onnx_backend", "onnx_backend_refused"]),
    "reach": (["reach.py"], ["reach_coverage", "reach_suite", "reach_cases", "reach_scheduled"]),
    "mutation": (["mutation.py"], ["mutation", "mutation_survivors"]),
}
# What was run last: name of a benchmark -> digest of what it depends on.
DONE = ROOT / "build" / "bench" / "done.json"
# How long benchmarks took when they were last run: name -> seconds by the clock.
DURATIONS = RESULTS / "durations.json"
# Benchmarks that keep finished rows.
RESUMED = ("quick", "cosma", "cosma_weights")
# Columns of tables that say what a row took, and those that look like it.
SECONDS = re.compile(r"(^|[ ,])(CPU s|seconds|s)$")
NOT_SECONDS = ("limit", "min", "median", "max", "slowest", "longest", "first plan", "no limit")
ROOMS = ("cli", "compiler", "hwmodels", "rl_agent", "solvers", "benchmarks")
PACKAGES = ("onnx", "onnxruntime", "omnimalloc", "numpy", "numba")

# Rows from which on a table is folded.
FOLDED_ROWS = 60


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=sorted(BENCHMARKS), default=list(BENCHMARKS))
    parser.add_argument("--fresh", action="store_true", help="run what has been run, too")
    parser.add_argument("--assemble", action="store_true", help="only put tables together")
    parser.add_argument("--duration", action="store_true", help="print how long all of them take")
    given = parser.parse_args()
    if given.duration:
        print_duration()
        return 0
    failed: list[str] = []
    done_before = {} if given.fresh else finished()
    for name in () if given.assemble else given.only:
        key = digest(name)
        if done_before.get(name) == key:
            print(f"== {name}: nothing has changed since it was run", flush=True)
            continue
        print(f"== {name}", flush=True)
        command = [sys.executable, *BENCHMARKS[name][0]]
        begun = time.monotonic()
        done = subprocess.run(command, cwd=ROOT / "benchmarks", check=False)
        if done.returncode:
            failed.append(name)
        else:
            note_duration(name, time.monotonic() - begun)
            done_before[name] = key
            DONE.parent.mkdir(parents=True, exist_ok=True)
            DONE.write_text(json.dumps(done_before, indent=1, sort_keys=True), encoding="utf-8")
    assemble()
    if failed:
        print(f"failed: {', '.join(failed)}")
    return bool(failed)


def finished() -> dict[str, str]:
    """Name -> digest of the benchmarks that were run."""
    return dict(json.loads(DONE.read_text(encoding="utf-8"))) if DONE.is_file() else {}


def digest(name: str) -> str:
    """Of what a benchmark depends on: its command, all sources, packages, and its tables."""
    command, tables = BENCHMARKS[name]
    found = hashlib.sha256(json.dumps([command, *map(version, PACKAGES)]).encode())
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*")):
            if path.suffix in (".py", ".yaml", ".toml", ".safetensors"):
                found.update(path.read_bytes())
    there = [table for table in tables if (RESULTS / f"{table}.md").is_file()]
    return found.hexdigest() if there == tables else f"without tables: {name}"


def durations() -> dict[str, float]:
    """Name -> seconds of the benchmarks whose duration was noted."""
    return dict(json.loads(DURATIONS.read_text("utf-8"))) if DURATIONS.is_file() else {}


def note_duration(name: str, seconds: float) -> None:
    """Note how long a benchmark took; of one that goes on with finished rows, the longest time."""
    noted = durations()
    noted[name] = max(round(seconds), noted.get(name, 0) if name in RESUMED else 0)
    DURATIONS.write_text(json.dumps(noted, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def stored_seconds(tables: Sequence[str]) -> float:
    """The seconds that the rows of tables say they took; 0 where they say none."""
    total = 0.0
    for table in tables:
        path = RESULTS / f"{table}.json"
        rows = json.loads(path.read_text("utf-8")) if path.is_file() else []
        names = [n for n in (rows[0] if rows else ()) if SECONDS.search(n)]
        names = [n for n in names if not any(word in n for word in NOT_SECONDS)]
        names = [n for n in names if f"{n.removesuffix(' s')} CPU s" not in names]
        total += sum(_number(row[name]) for row in rows for name in names)
    return total


def _number(cell: object) -> float:
    """A number at the start of a cell; 0 where there is none."""
    found = re.match(r"\d+(\.\d+)?", str(cell).replace(",", ""))
    return float(found[0]) if found else 0.0


def print_duration() -> None:
    """Print how long the benchmarks take, by what is known of each, and the sum."""
    noted, total, unknown = durations(), 0.0, []
    for name, (_, tables) in BENCHMARKS.items():
        seconds = noted.get(name) or stored_seconds(tables)
        source = "noted" if name in noted else "rows of its tables"
        if seconds:
            print(f"{name:24} {seconds:9.0f} s, {source}")
            total += seconds
        else:
            unknown.append(name)
    print(f"{'all of these':24} {total:9.0f} s, {total / 3600:.1f} h")
    print(f"nothing is known of {len(unknown)}: {', '.join(unknown)}")


def section_of(text: str) -> tuple[str, str]:
    """The title of a table, up to a colon or semicolon, and the rest: remarks, and the table.

    A long table is folded.

    Args:
        text: `## title: remarks`, and the table.
    """
    first, _, rest = text.partition("\n")
    title, *behind = re.split(r"[:;] ", first.removeprefix("## "), maxsplit=1)
    remarks = "".join(behind)
    parts = [f"{remarks[0].upper()}{remarks[1:].rstrip('.')}.", ""] if remarks else []
    rows = sum(line.startswith("|") for line in rest.splitlines()) - 2
    table = rest.strip("\n")
    if rows > FOLDED_ROWS:
        summary = f"<details markdown><summary>The table: {rows} rows</summary>"
        parts += [summary, "", table, "", "</details>", ""]
    else:
        parts += [table, ""]
    return title, "\n".join(parts)


def assemble() -> None:
    """Write docs/benchmarks.md from the tables that are there."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    parts = [
        "# Benchmarks",
        "",
        "Made by `make bench` and `make bench-all` (`benchmarks/run_all.py`) from stored results; "
        "do not edit. Absolute times depend on the "
        "machine; ratios are within one run.",
        "",
        "`edge-npu` also reads operands from DRAM in place; `edge-npu-spm` is the same chip "
        "without that: what an operator touches lies in SRAM. Tables that name no target are about "
        "the default, `edge-npu`.",
        "",
        "Rows of `ethos-u55-128`, `ethos-u65-512` and `stm32h743` are older than what their files "
        "say now of padded channels, scales, blocks (`ethos-u65-512`) and overlap (`stm32h743`), "
        "but for those under Three tiers and those of operands that must be in the fastest memory; "
        "with `--set storage.channels_multiple=1`, `compute.model=peak`, `fusion.pairs=true` and "
        "`compute.overlap=1` those are as they were. No table of Ethos-U here has what its files "
        "say now of operands that are read again for blocks and of scales of products of one row: "
        "`--set compute.rereads.weight_bytes=1GiB`, `compute.rereads.input_bytes=1GiB` and "
        "`compute.mac_blocks.scale_cycles_per_channel=0` are as before. Rows of "
        "`greedy` and `msa` in steady state are older than the weights that both keep there now on "
        "targets that read operands at home, and rows of `msa` than its longer prefetches.",
        "",
        f"Machine: {os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}; {versions}.",
        "",
    ]
    heading = ""
    for _, tables in BENCHMARKS.values():
        for table in tables:
            path = RESULTS / f"{table}.md"
            if path.is_file():
                title, text = section_of(path.read_text(encoding="utf-8"))
                parts += [text] if title == heading else [f"## {title}", "", text]
                heading = title
    (ROOT / "docs" / "benchmarks.md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
