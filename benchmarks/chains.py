"""Chains of memories: operators reach the fastest tier only, and data crosses two or three links.

A chip with DRAM behind an L2 behind a scratchpad; a GPU whose weights come from an NVMe drive over
host and device memory; an A100 with little L2 and device memory; and a training graph on a chip
with two tiers; a phone whose weights are in flash behind DRAM. Each row is a verified plan of
`fluid`, held against its certified bound, one-shot or in steady state; "at most" is the most that
the ratio may be, where one is agreed. In steady state `greedy` and `msa` stand beside it.

Run: python benchmarks/chains.py [--models DIR] [--only NAME,NAME] [--resume]
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from common import RESULTS, ROOT, SHARED, model_files, write_table
from heuristics import geomean

from ullage.compiler.common.errors import UllageError
from ullage.compiler.driver.compile import prepare, solve_prepared
from ullage.compiler.driver.options import CompileOptions
from ullage.solvers.run import run_solver

TARGETS = ROOT / "benchmarks" / "targets"
NPU, NVME = str(TARGETS / "npu-l2.yaml"), str(TARGETS / "gpu-nvme.yaml")
TRAINING = SHARED.parent / "training" / "transformer_train.onnx"
KIB, MIB = 1 << 10, 1 << 20
PHONE = "phone-npu-flash"
# Operators reach the on-chip memory only.
BEHIND_FLASH = {"tiers.dram.addressable": "false", "tiers.flash.addressable": "false"}
NAME = "chains"
# Columns that name a row, and the one of fluid/bound.
KEY, RATIO = 4, 6


@dataclass(frozen=True)
class Case:
    """One plan.

    Attributes:
        model: stem of the model's file.
        target: name or file of the target.
        most: the most that value / bound may be; None where none is agreed.
        dtype: of values, None for the model's own.
        overrides: of the target's fields.
        steady_state: inferences repeat for ever.
    """

    model: str
    target: str
    most: float | None
    dtype: str | None = "int8"
    overrides: Mapping[str, str] = field(default_factory=dict)
    steady_state: bool = False

    @property
    def key(self) -> tuple[str, ...]:
        """First columns of the row: model, target, operands, state."""
        operands = "whole" if self.overrides.get("split_operands") == "false" else "split"
        state = "steady" if self.steady_state else "one-shot"
        return self.model, Path(self.target).stem, operands, state


def _sizes(**tiers: int) -> dict[str, str]:
    return {f"tiers.{name}.capacity_bytes": str(size) for name, size in tiers.items()}


# Sizes of the scratchpad are those at which the largest whole operator fits.
CASES = (
    Case("mobilenet_v2", NPU, 1.03, overrides=_sizes(tcm=3 * MIB)),
    Case("resnet50", NPU, 1.03, overrides=_sizes(tcm=3 * MIB)),
    Case("bert_base_128", NPU, 1.03, overrides=_sizes(tcm=24 * MIB, l2=32 * MIB)),
    Case("mobilenet_v2", NVME, 1.03),
    Case("resnet50", NVME, 1.03),
    Case("bert_base_128", NVME, 1.03),
    *(
        Case(model, "a100-host", 1.05, overrides=_sizes(l2=4 * MIB, hbm=40_000_000))
        for model in ("mobilenet_v2", "resnet50", "bert_base_128")
    ),
    Case(
        TRAINING.stem,
        "edge-npu",
        1.05,
        None,
        {"operand_access": "fastest", **_sizes(sram=28 * MIB)},
    ),
    *(
        Case(model, target, None, overrides=overrides | whole, steady_state=True)
        for model, target, overrides in (
            ("tiny_resnet8", PHONE, BEHIND_FLASH | _sizes(sram=48 * KIB)),
            ("tiny_resnet8", PHONE, BEHIND_FLASH | _sizes(sram=64 * KIB)),
            ("tiny_autoencoder", PHONE, BEHIND_FLASH | _sizes(sram=128 * KIB)),
            ("tiny_autoencoder", PHONE, BEHIND_FLASH | _sizes(sram=192 * KIB)),
            ("squeezenet1_1", PHONE, BEHIND_FLASH | _sizes(sram=2 * MIB)),
            ("mobilenet_v2", PHONE, BEHIND_FLASH | _sizes(sram=2 * MIB)),
            ("resnet50", PHONE, BEHIND_FLASH | _sizes(sram=8 * MIB)),
            ("tiny_resnet8", NPU, _sizes(tcm=64 * KIB, l2=128 * KIB)),
            ("mobilenet_v2", NPU, _sizes(tcm=3 * MIB)),
            ("resnet50", NPU, _sizes(tcm=3 * MIB)),
            ("mobilenet_v2", NVME, {}),
            ("resnet50", NVME, {}),
            ("bert_base_128", NVME, {}),
            ("mobilenet_v2", "a100-host", _sizes(l2=4 * MIB, hbm=40_000_000)),
            ("resnet50", "a100-host", _sizes(l2=4 * MIB, hbm=40_000_000)),
            ("bert_base_128", "a100-host", _sizes(l2=4 * MIB, hbm=40_000_000)),
        )
        for whole in ({}, {"split_operands": "false"})
        if target is PHONE or not whole
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--only", default="", help="names of models; rows of others stay")
    parser.add_argument("--resume", action="store_true", help="only rows that are missing")
    parser.add_argument("--note", default="", help="what the title of the table says last")
    given = parser.parse_args()
    wanted = [name for name in given.only.split(",") if name]
    files = {file.stem: file for file in model_files(given.models)}
    if TRAINING.is_file():
        files[TRAINING.stem] = TRAINING
    known = _known() if wanted or given.resume else {}
    rows: list[list[str]] = []
    seen: Counter[tuple[str, ...]] = Counter()
    for case in CASES:
        if case.model not in files:
            continue
        number, seen[case.key] = seen[case.key], seen[case.key] + 1
        earlier = known.get(case.key, [])[number : number + 1]
        if earlier and case.model not in wanted:
            rows += earlier
        elif given.resume or not wanted or case.model in wanted:
            rows.append(run(case, files[case.model]))
            print(" | ".join(rows[-1]), flush=True)
            write(rows, given.note)
    print(write(rows, given.note))


def _known() -> dict[tuple[str, ...], list[list[str]]]:
    """Rows of the last table, by their first columns, in their order."""
    known: dict[tuple[str, ...], list[list[str]]] = {}
    file = RESULTS / f"{NAME}.json"
    if file.is_file():
        for record in json.loads(file.read_text(encoding="utf-8")):
            row = list(record.values())
            known.setdefault(tuple(row[:KEY]), []).append(row)
    return known


def write(rows: list[list[str]], note: str = "") -> str:
    """Write the table so far, with a note at the end of its title, and return its text."""
    columns = ["model", "target", "operands", "state", "sizes MiB", "bound ms", "fluid/bound"]
    columns += ["at most", "greedy/bound", "msa/bound", "all-slow/fluid", "simulated/model"]
    columns += ["links", "transfers", "CPU s"]
    ratios: dict[str, list[float]] = {}
    for row in rows:
        if row[RATIO][:1].isdigit():
            ratios.setdefault(f"{row[3]}, {row[2]}", []).append(float(row[RATIO]))
    shares = "; ".join(
        f"{what}: fluid/bound geomean {geomean(found):.4f}, most {max(found):.4f}"
        for what, found in ratios.items()
    )
    title = f"Chains of memories: {shares}"
    return write_table(NAME, f"{title}; {note}" if note else title, columns, rows)


def run(case: Case, file: Path) -> list[str]:
    """One verified plan of `fluid`, in steady state also of `greedy` and `msa`."""
    options = CompileOptions(
        target=case.target,
        solver="fluid",
        schedule="whole",
        dtype=case.dtype,
        overrides=dict(case.overrides),
        steady_state=case.steady_state,
    )
    most = "-" if case.most is None else f"{case.most}"
    row = list(case.key)
    try:
        prepared = prepare(file, options)
        since = time.process_time()
        done = solve_prepared(replace(prepared, started=time.monotonic()), options)
    except UllageError as error:
        return [*row, "-", "-", error.kind, most, *["-"] * 7]
    cpu_s = time.process_time() - since
    target = done.plan.target
    ratio = done.value / done.bound.value
    slow = "-" if done.all_slow is None else f"{done.all_slow.latency_s / done.value:.3f}"
    row += [" / ".join(f"{tier.capacity_bytes / MIB:.3g}" for tier in target.tiers)]
    row += [f"{1e3 * done.bound.value:.5f}", f"{ratio:.4f}", most]
    for name in ("greedy", "msa"):
        value = run_solver(name, prepared.problem).value if case.steady_state else None
        row += ["-" if value is None else f"{value / done.bound.value:.4f}"]
    row += [slow]
    row += [f"{done.simulation.latency_s / done.score.latency_s:.3f}"]
    used = {(t.source, t.destination) for t in done.plan.transfers}
    return [*row, str(len(used)), str(len(done.plan.transfers)), f"{cpu_s:.1f}"]


if __name__ == "__main__":
    main()
