"""Bytes and latencies of plans beside those of Arm Vela, network by network.

Each network is planned with the ratio of encoded to original weights that Vela states for it
(`storage.weight_ratio`), with its operators' NPU cycles where latencies are compared
(`CompileOptions.op_costs`), and with Vela's memory mode: on Ethos-U55 (Shared_Sram) the network's
input and output are in SRAM, on Ethos-U65 (Dedicated_Sram) in DRAM. `validation.py` makes the page.

Run: python benchmarks/vela.py [--references DIR] [--only NETWORK,NETWORK]
"""

import argparse
import csv
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT

from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.frontend import FrontendOptions, prepare
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.program import DMA_STEP, Step
from ullage.hwmodels.compute.mac_blocks import block_count, input_elements, is_image
from ullage.hwmodels.cost import score
from ullage.hwmodels.traffic import operand_charges

REFERENCES = ROOT.parent / "shared" / "validation"
# NPUs that have a table by Vela, and what its memory mode says of the network's input and output.
MODES: Mapping[str, Mapping[str, str]] = {
    "ethos-u55-128": {"homes.input": "sram", "homes.output": "sram"},
    "ethos-u65-512": {},
}
# The one whose SRAM is compared.
SRAM_NPU = "ethos-u55-128"
# Total cycles of Vela under a limit on the SRAM, from the references' README.
CAPPED_NPU, CAPPED_NETWORK, CAPPED_KIB, CAPPED_CYCLES = (
    "ethos-u55-128",
    "mbv1_050_160",
    160,
    1.859e6,
)
# Seconds for a plan, and for the search for a schedule with it.
PLAN_S, SEARCH_S = 120.0, 60.0


@dataclass(frozen=True)
class Totals:
    """What Vela says of a network.

    Attributes:
        weight_ratio: encoded bytes of weights over original ones.
        sram_bytes: SRAM that it uses.
        sram_moved_bytes: bytes read and written there in an inference.
        slow_bytes: DRAM or flash that weights, inputs and outputs take.
        slow_moved_bytes: bytes read and written there in an inference.
        cycles: of an inference.
        clock_hz: of the NPU.
    """

    weight_ratio: float
    sram_bytes: float
    sram_moved_bytes: float
    slow_bytes: float
    slow_moved_bytes: float
    cycles: float
    clock_hz: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--references", type=Path, default=REFERENCES)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    wanted = [name for name in given.only.split(",") if name]
    print("\n\n".join(sram_tables(given.references, wanted)), "\n")
    print(bytes_table(given.references, wanted))
    print()
    print(latency_table(given.references, wanted))


def totals_of(folder: Path, npu: str) -> dict[str, Totals]:
    """Vela's totals of a table, by network."""
    with (folder / "vela" / f"{npu}_totals.csv").open(encoding="utf-8") as lines:
        return {row["network"]: _totals(row) for row in csv.DictReader(lines)}


def _totals(row: Mapping[str, str]) -> Totals:
    return Totals(
        weight_ratio=float(row["total_npu_encoded_weights"]) / float(row["total_original_weights"]),
        sram_bytes=1024 * float(row["sram_memory_used"]),
        sram_moved_bytes=float(row["sram_total_bytes"]),
        slow_bytes=1024
        * (float(row["dram_memory_used"]) + float(row["off_chip_flash_memory_used"])),
        slow_moved_bytes=float(row["dram_total_bytes"]) + float(row["off_chip_flash_total_bytes"]),
        cycles=float(row["cycles_total"]),
        clock_hz=float(row["core_clock"]),
    )


def sram_tables(folder: Path, wanted: list[str]) -> tuple[str, str]:
    """SRAM of plans, and bytes that operators and DMA access, beside Vela's."""
    sram = [
        "| network | Vela, KiB | maps alone, KiB | ours / Vela | no slower than Vela, KiB "
        "| ours / Vela | cycles, ours / Vela |",
        "|---|---|---|---|---|---|---|",
    ]
    accessed = [
        "| network | Vela, bytes | each operand once | ours / Vela | as often as blocks need "
        "| ours / Vela | and the image's bursts | ours / Vela |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for network, vela in totals_of(folder, SRAM_NPU).items():
        if wanted and network not in wanted:
            continue
        used = vela.sram_bytes / 1024
        alone = planned(folder, SRAM_NPU, network, vela, "whole", objective="peak", solver="auto")
        fastest, plan = no_slower(folder, SRAM_NPU, network, vela)
        kib = [score(p).peak_bytes["sram"] / 1024 for p in (alone, plan)]
        once = replace(fastest.target, compute=replace(fastest.target.compute, rereads=None))
        sizes = [
            accessed_bytes(p) for p in (replace(fastest, problem=fastest.problem.on(once)), fastest)
        ]
        sizes.append(sizes[1] + image_bytes(fastest))
        both = vela.sram_moved_bytes + vela.slow_moved_bytes
        cells = " | ".join(f"{size:,.0f} | {size / both:.2f}" for size in sizes)
        accessed.append(f"| {network} | {both:,.0f} | {cells} |")
        if plan.shortfall:  # time ended with a plan that is no slower, but larger than the chip
            sram.append(
                f"| {network} | {used:.1f} | {kib[0]:.1f} | {kib[0] / used:.2f} | - | - | - |"
            )
            continue
        cycles = score(plan).latency_s * vela.clock_hz / vela.cycles
        sram.append(
            f"| {network} | {used:.1f} | {kib[0]:.1f} | {kib[0] / used:.2f} | {kib[1]:.1f} "
            f"| {kib[1] / used:.2f} | {cycles:.2f} |"
        )
    return "\n".join(sram), "\n".join(accessed)


def no_slower(folder: Path, npu: str, network: str, vela: Totals) -> tuple[Plan, Plan]:
    """The fastest plan, and that of least SRAM that is no slower than Vela, at its NPU cycles."""
    fastest = planned(folder, npu, network, vela, "whole", with_cycles=True)
    slower = vela.cycles / (score(fastest).latency_s * vela.clock_hz) - 1
    least = planned(
        folder,
        npu,
        network,
        vela,
        "whole",
        with_cycles=True,
        solver="auto",
        objective="peak",
        slower_by=max(0.0, slower),
    )
    return fastest, least


def accessed_bytes(plan: Plan) -> float:
    """Bytes that operators and DMA read and write in all tiers, the fastest included."""
    moved = sum(t.end_byte - t.start_byte for t in plan.transfers)
    return float(operand_charges(plan).charged_bytes.sum()) + 2 * moved


def bytes_table(folder: Path, wanted: list[str]) -> str:
    """Bytes in flash or DRAM, and bytes moved there, beside Vela's."""
    lines = [
        "| NPU, network | encoded / original | Vela, stored | ours | ours / Vela | Vela, moved "
        "| ours | ours / Vela | and the image's bursts | ours / Vela |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for npu in MODES:
        for network, vela in totals_of(folder, npu).items():
            if wanted and network not in wanted:
                continue
            plan = planned(folder, npu, network, vela, schedule="whole", objective="traffic")
            stored, moved = stored_bytes(plan), moved_bytes(plan)
            in_fast = plan.target.home("input") == plan.target.fastest
            bursts = moved + (0.0 if in_fast else image_bytes(plan))
            lines.append(
                f"| {npu}, {network} | {vela.weight_ratio:.3f} | {vela.slow_bytes:,.0f} "
                f"| {stored:,} | {stored / vela.slow_bytes:.2f} | {vela.slow_moved_bytes:,.0f} "
                f"| {moved:,} | {moved / vela.slow_moved_bytes:.2f} "
                f"| {bursts:,.0f} | {bursts / vela.slow_moved_bytes:.2f} |"
            )
    return "\n".join(lines)


def decisions_table(folder: Path) -> str:
    """DRAM bytes over Vela's of plans that decide otherwise, where all tensors are at home there.

    At Vela's NPU cycles: the fastest plan, and that with everything in DRAM; each with the bursts
    of the image.
    """
    lines = [
        "| NPU, network | the fastest plan, bytes / Vela | cycles / Vela "
        "| everything in DRAM, bytes / Vela | cycles / Vela |",
        "|---|---|---|---|---|",
    ]
    for npu, mode in MODES.items():
        for network, vela in ({} if mode else totals_of(folder, npu)).items():
            cells = []
            for solver in ("fluid", "all-slow"):
                plan = planned(folder, npu, network, vela, "whole", with_cycles=True, solver=solver)
                moved = (moved_bytes(plan) + image_bytes(plan)) / vela.slow_moved_bytes
                cycles = score(plan).latency_s * vela.clock_hz / vela.cycles
                cells += [f"{moved:.2f}", f"{cycles:.2f}"]
            lines.append(f"| {npu}, {network} | {' | '.join(cells)} |")
    return "\n".join(lines)


def stored_bytes(plan: Plan) -> int:
    """Bytes of buffers whose home is not the fastest tier: weights, and inputs and outputs."""
    target = plan.target
    return sum(
        buffer.size_bytes
        for buffer in plan.problem.buffers
        if buffer.kind != "activation" and target.home(buffer.kind) != target.fastest
    )


def moved_bytes(plan: Plan) -> int:
    """Bytes read and written in tiers behind the fastest one."""
    return sum(score(plan).traffic_bytes.values())


def image_bytes(plan: Plan) -> float:
    """Bytes of bursts in which blocks read the network's image in place, beyond its own bytes.

    Vela's NPU reads it where it is; plans may copy it to SRAM first, once. A burst brings
    `dot_channels` bytes that are used, by Vela's rule: its blocks are as deep, whatever channels an
    image has. An image is the input, or the input with padding around it.
    """
    blocks = plan.target.compute.mac_blocks
    if blocks is None:
        return 0.0
    inputs = {b for b, buffer in enumerate(plan.problem.buffers) if buffer.kind == "input"}
    images: dict[int, int] = {}  # bytes that are read of the network's input, by what holds it
    bursts = 0.0
    for step in plan.problem.steps:
        reads = [u for u in step.uses if u.buffer in inputs | images.keys() and not u.write]
        read_bytes = sum(images.get(u.buffer, u.accessed_bytes) for u in reads)
        nest = step.nests[0] if step.nests else None
        if reads and step.kind == "Pad":  # Vela's convolution pads what it reads
            images.update({u.buffer: read_bytes for u in step.uses if u.write})
        elif reads and nest is not None and is_image(nest, blocks):
            read = block_count(nest, blocks) * input_elements(nest, blocks)
            bursts += read * blocks.image_burst_bytes / blocks.dot_channels - read_bytes
    return bursts


def placed_table(folder: Path) -> str:
    """DRAM bytes by our charges, were each feature map where Vela has it, beside Vela's."""
    lines = [
        "| NPU, network | Vela, moved | ours | ours / Vela | first operator, Vela | ours "
        "| ours, with Vela's first operator / Vela |",
        "|---|---|---|---|---|---|---|",
    ]
    for npu, mode in MODES.items():
        for network, vela in ({} if mode else totals_of(folder, npu)).items():
            operators = placed_bytes(folder, npu, network, vela)
            ours = sum(each for _, each in operators)
            first, ours_first = operators[0]
            share, corrected = (
                each / vela.slow_moved_bytes for each in (ours, ours - ours_first + first)
            )
            lines.append(
                f"| {npu}, {network} | {vela.slow_moved_bytes:,.0f} | {ours:,.0f} | {share:.2f} "
                f"| {first:,.0f} | {ours_first:,.0f} | {corrected:.2f} |"
            )
    return "\n".join(lines)


def placed_bytes(folder: Path, npu: str, network: str, vela: Totals) -> list[tuple[float, float]]:
    """DRAM bytes of operators by Vela and by our charges, from the first that multiplies on.

    Vela's table has cycles of DRAM, not where operands lie. So of each operator those feature maps
    are in DRAM with which our bytes come nearest to its cycles at the bandwidth; weights and scales
    move once. A Pad is part of the convolution behind it.
    """
    plan = planned(folder, npu, network, vela, "whole", with_cycles=True, solver="all-slow")
    problem, charges = plan.problem, operand_charges(plan)
    bytes_per_cycle = plan.target.home("input").read_bytes_per_s / vela.clock_hz
    listed = by_network(folder / "vela" / f"{npu}_layers.csv")[network]
    found: list[tuple[float, float]] = []
    for t, step, rows in matched(enumerate(problem.steps), listed):
        if not (found or step.macs):
            continue
        weights = 0
        maps: list[float] = []
        for part in np.flatnonzero(charges.step == t):
            buffer = problem.buffers[plan.residencies[charges.residency[part]].buffer]
            if buffer.kind == "weight":
                weights += buffer.size_bytes
            else:
                maps.append(float(charges.charged_bytes[part]))
        theirs = bytes_per_cycle * sum(float(row["dram_cycles"]) for row in rows)
        choices = (c for n in range(len(maps) + 1) for c in combinations(maps, n))
        ours = min((weights + sum(c) for c in choices), key=lambda size: abs(size - theirs))
        found.append((theirs, ours))
    return found


def latency_table(folder: Path, wanted: list[str]) -> str:
    """Latencies at Vela's compute cycles, with whole operators and with a schedule."""
    lines = [
        "| NPU, network | SRAM | Vela, cycles | ours, own cycles | ours / Vela | at Vela's, whole "
        "| ours / Vela | at Vela's, scheduled | ours / Vela |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for npu in MODES:
        vela_of = totals_of(folder, npu)
        rows = [(name, None, vela.cycles) for name, vela in vela_of.items()]
        if npu == CAPPED_NPU:
            rows.append((CAPPED_NETWORK, CAPPED_KIB, CAPPED_CYCLES))
        for network, kib, cycles in rows:
            if wanted and network not in wanted:
                continue
            cells = [f"{npu}, {network}", f"{kib} KiB" if kib else "ample", f"{cycles:,.0f}"]
            vela = vela_of[network]
            for schedule, with_cycles in (("whole", False), ("whole", True), ("cascade", True)):
                plan = planned(
                    folder,
                    npu,
                    network,
                    vela,
                    schedule,
                    with_cycles=with_cycles,
                    fast_memory_bytes=1024 * kib if kib else None,
                )
                ours = score(plan).latency_s * vela.clock_hz
                cells += [f"{ours:,.0f}", f"{ours / cycles:.2f}"]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def waits_table(folder: Path) -> str:
    """Where Vela's cycles go: NPU, and waits for memories of the first operation and of others."""
    lines = [
        "| NPU, network | Vela, cycles | NPU | first operation waits | others wait |",
        "|---|---|---|---|---|",
    ]
    for npu in MODES:
        for network, rows in by_network(folder / "vela" / f"{npu}_layers.csv").items():
            total = [float(row["op_cycles"]) for row in rows]
            busy = [float(row["npu_cycles"]) for row in rows]
            waits = [whole - own for whole, own in zip(total, busy, strict=True)]
            shares = [sum(total), sum(busy), waits[0], sum(waits[1:])]
            cells = [f"{cycles:,.0f} ({cycles / shares[0]:.0%})" for cycles in shares[1:]]
            lines.append(f"| {npu}, {network} | {shares[0]:,.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def planned(
    folder: Path,
    npu: str,
    network: str,
    vela: Totals,
    schedule: str,
    *,
    with_cycles: bool = False,
    **options: Any,  # noqa: ANN401 whatever it takes
) -> Plan:
    """A verified plan of a network in Vela's memory mode.

    Args:
        folder: the references.
        npu: target, and name of Vela's tables.
        network: name of the network.
        vela: its totals.
        schedule: `whole` or `cascade`.
        with_cycles: compute cycles are Vela's.
        options: further `CompileOptions`.
    """
    model = folder / "models" / f"{network}.onnx"
    ratio = f"{vela.weight_ratio:.6f}"
    changed = {**MODES[npu], "storage.weight_ratio": ratio}
    with tempfile.TemporaryDirectory() as scratch:
        costs = Path(scratch) / "cycles.csv"
        if with_cycles:
            write_cycles(costs, folder, npu, network)
        asked = CompileOptions(
            target=npu,
            overrides=changed,
            dtype="int8",
            batch=1,
            schedule=schedule,
            op_costs=costs if with_cycles else None,
            time_limit_s=PLAN_S if schedule == "whole" else SEARCH_S,
            **{"solver": "fluid", **options},
        )
        return compile_model(model, asked).plan


def write_cycles(file: Path, folder: Path, npu: str, network: str) -> None:
    """Vela's NPU cycles of our operators, as `--op-costs` takes them.

    An operator that Vela does not list keeps the target's model.
    """
    options = FrontendOptions(target=npu, dtype="int8", batch=1)
    problem = prepare(folder / "models" / f"{network}.onnx", options).problem
    listed = by_network(folder / "vela" / f"{npu}_layers.csv")[network]
    with file.open("w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(("operator", "cycles"))
        for _, step, found in matched(enumerate(problem.steps), listed):
            rows.writerow((step.name, sum(float(row["npu_cycles"]) for row in found)))


def by_network(file: Path) -> dict[str, list[dict[str, str]]]:
    """Rows of a table of layers by network, in their order."""
    found: dict[str, list[dict[str, str]]] = {}
    with file.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            found.setdefault(row["network"], []).append(row)
    return found


def first_name(operator: str) -> str:
    """The first of the names that TFLite joins for a fused operator."""
    return operator.partition("#")[0].partition(";")[0]


def matched(
    steps: Iterable[tuple[int, Step]], rows: Iterable[dict[str, str]]
) -> Iterator[tuple[int, Step, list[dict[str, str]]]]:
    """Our operators with Vela's operations that are each of them; those that have none left out.

    Args:
        steps: numbered, in their order.
        rows: Vela's operations; each is of one operator.
    """
    left = list(rows)
    for number, step in steps:
        found = rows_of(step, left) if step.kind != DMA_STEP else []
        for row in found:
            left.remove(row)
        if found:
            yield number, step, found


def rows_of(step: Step, rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Vela's operations that are one of our operators.

    They have its name, or are the first with its number of multiply-accumulates: Vela names an
    operation by what it writes, which a Pad behind it may have renamed. A Softmax is many.
    """
    name = first_name(step.name)
    if step.kind == "Softmax":
        return [row for row in rows if row["original_operator"] == "Softmax"]
    if step.kind == "ReduceMean":
        return [row for row in rows if row["name"] in (name, f"{name}_intermediate")]
    alike = [row for row in rows if macs_of(row) == step.macs] if step.macs else []
    named = [row for row in rows if row["name"] == name and row["original_operator"] != "Softmax"]
    if step.macs:
        both = [row for row in alike if row["name"] == name]
        return (both or alike)[:1]
    return named


def macs_of(row: dict[str, str]) -> int:
    """Multiply-accumulates of a row."""
    return int(float(row["macs"]))


if __name__ == "__main__":
    main()
