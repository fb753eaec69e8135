"""The hardware model beside other tools and chips: per layer and total, as a page of the docs.

Arm Vela's own estimates (`vela/*_layers.csv`, one row for each operator) are set against the
compute model `mac-blocks`; layers of ZigZag's tpu_like against `systolic`. These are compute times
only: what memories take is not in them. The SRAM that Vela uses stands beside that of plans.

Run: python benchmarks/validation.py [--references DIR] [--only NETWORK,NETWORK] [--misses]
Writes docs/validation.md and a table of every layer of Vela into benchmarks/results.
"""

import argparse
import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from common import ROOT, write_table

from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.frontend import FrontendOptions, prepare
from ullage.compiler.ir.graph import LoopNest
from ullage.compiler.ir.program import DMA_STEP, Step
from ullage.compiler.ir.target import Systolic
from ullage.hwmodels.catalog.registry import describe, load_target
from ullage.hwmodels.compute.systolic import nest_cycles
from ullage.hwmodels.cost import compute_seconds
from ullage.solvers.run import run_solver

REFERENCES = ROOT.parent / "shared" / "validation"
PAGE = ROOT / "docs" / "validation.md"
TARGETS = ROOT / "benchmarks" / "targets"
# Vela's configurations, and our targets.
VELA = {
    "ethos-u55-128": "ethos-u55-128",
    "ethos-u65-512": "ethos-u65-512",
}
# The one of them whose SRAM is compared.
SRAM_NPU = "ethos-u55-128"
# A layer is close within this share of Vela's cycles.
CLOSE = 0.15

# Layer, and what SCALE-Sim's closed form takes over ZigZag 3.9's latency on tpu_like, 32 x 32.
LAYERS: tuple[tuple[str, LoopNest, float], ...] = (
    ("GEMM 128 x 512 x 256", LoopNest("matmul", "Gemm", width=128, depth=512, channels=256), 1.00),
    ("FC 2048 x 1000", LoopNest("matmul", "Gemm", width=1, depth=2048, channels=1000), 1.01),
    (
        "1x1, 28 x 28, 192 to 64",
        LoopNest("convolution", "Conv", height=28, width=28, channels=64, depth=192),
        0.94,
    ),
    (
        "3x3, 56 x 56, 64 to 64",
        LoopNest("convolution", "Conv", 1, 1, 56, 56, 64, 64, kernel=(3, 3)),
        0.84,
    ),
    (
        "3x3, 14 x 14, 256 to 256",
        LoopNest("convolution", "Conv", 1, 1, 14, 14, 256, 256, kernel=(3, 3)),
        1.35,
    ),
    (
        "depthwise 3x3, 56 x 56 x 144",
        LoopNest("depthwise", "Conv", 1, 1, 56, 56, 144, 1, kernel=(3, 3), groups=144),
        0.04,
    ),
)


# Networks of MLPerf Tiny, and the targets that have their published latencies.
MCU_NETWORKS = ("ad01_int8", "resnet8_int8", "kws_int8", "vww_96_int8")
MCUS = ("stm32h7a3", "stm32l4r5", "stm32u575")


@dataclass(frozen=True)
class Layer:
    """An operator in both models.

    Attributes:
        network: the network.
        name: the operator.
        kind: of its first loop nest.
        vela: NPU cycles by Vela, of all its operations.
        ours: cycles of the compute model.
    """

    network: str
    name: str
    kind: str
    vela: float
    ours: float

    @property
    def is_close(self) -> bool:
        """Whether the two agree."""
        return abs(self.ours - self.vela) <= CLOSE * self.vela


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--references", type=Path, default=REFERENCES)
    parser.add_argument("--only", default="")
    parser.add_argument("--misses", action="store_true", help="print the layers that are not close")
    given = parser.parse_args()
    wanted = [name for name in given.only.split(",") if name]
    if not given.references.is_dir():
        raise SystemExit(f"{given.references}: no reference figures; name their folder")
    layers = {npu: list(vela_layers(given.references, npu, wanted)) for npu in VELA}
    if given.misses:
        for npu, rows in layers.items():
            for row in rows:
                if not row.is_close:
                    print(npu, row)
    text = page(layers, given.references)
    print(text)
    if not wanted:
        PAGE.write_text(text, encoding="utf-8")


def vela_layers(folder: Path, npu: str, wanted: list[str]) -> Iterator[Layer]:
    """Every operator of every network of Vela's table that we find again."""
    target = VELA[npu]
    blocks = load_target(target).compute.mac_blocks
    if blocks is None:
        raise SystemExit(f"{target}: not the model mac-blocks")
    for network, rows in by_network(folder / "vela" / f"{npu}_layers.csv").items():
        if wanted and network not in wanted:
            continue
        options = FrontendOptions(target=target, dtype="int8", batch=1)
        problem = prepare(folder / "models" / f"{network}.onnx", options).problem
        seconds, _ = compute_seconds(problem)
        left = list(rows)
        ours = [(step, float(s)) for step, s in zip(problem.steps, seconds, strict=True)]
        for step, s in ours:
            if step.kind == DMA_STEP or not s:
                continue
            found = rows_of(step, left)
            if found:
                for row in found:
                    left.remove(row)
                cycles = sum(float(row["npu_cycles"]) for row in found)
                kind = step.nests[0].kind if step.nests else "other"
                yield Layer(network, first_name(step.name), kind, cycles, s * blocks.clock_hz)


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


def page(layers: dict[str, list[Layer]], folder: Path) -> str:
    """The page of the docs."""
    parts = [INTRODUCTION, "## Arm Vela", VELA_WORDS]
    for npu, rows in layers.items():
        parts += [f"### {npu}", vela_table(rows), vela_verdict(rows)]
        write_table(
            f"validation_{npu}",
            f"Cycles of every operator beside Vela's, {npu}",
            ("network", "operator", "kind", "Vela, cycles", "ours, cycles", "ours / Vela"),
            [
                (r.network, r.name, r.kind, round(r.vela), round(r.ours), ratio(r.ours, r.vela))
                for r in rows
            ],
        )
    parts += ["### SRAM", SRAM_WORDS, sram_table(folder)]
    parts += ["## Microcontrollers", MCU_WORDS, mcu_table(folder)]
    parts += ["## ZigZag", ZIGZAG_WORDS, zigzag_table()]
    return "\n\n".join(parts) + "\n"


def vela_table(rows: list[Layer]) -> str:
    """Totals by network."""
    columns = ("network", "operators", "Vela, cycles", "ours, cycles", "ours / Vela", "close")
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for network in dict.fromkeys(row.network for row in rows):
        mine = [row for row in rows if row.network == network]
        vela, ours = sum(r.vela for r in mine), sum(r.ours for r in mine)
        lines.append(
            f"| {network} | {len(mine)} | {vela:,.0f} | {ours:,.0f} | {ratio(ours, vela)} | "
            f"{close_share(mine):.1%} |"
        )
    return "\n".join(lines)


def vela_verdict(rows: list[Layer]) -> str:
    """The share of all cycles in operators that agree, also by kind."""
    kinds = sorted({row.kind for row in rows})
    by_kind = ", ".join(
        f"{kind} {ratio(sum(r.ours for r in mine), sum(r.vela for r in mine))}"
        for kind in kinds
        for mine in [[row for row in rows if row.kind == kind]]
        if sum(r.vela for r in mine)
    )
    return (
        f"{close_share(rows):.1%} of all cycles are in close operators. "
        f"Ours / Vela by kind: {by_kind}."
    )


def close_share(rows: Iterable[Layer]) -> float:
    """Share of the cycles that are in operators on which both agree."""
    listed = list(rows)
    total = sum(row.vela for row in listed)
    return sum(row.vela for row in listed if row.is_close) / total if total else 1.0


def sram_table(folder: Path) -> str:
    """Bytes of SRAM that Vela uses, and the smallest memory of a plan of whole operators."""
    lines = ["| network | Vela, KiB | ours, KiB | ours / Vela |", "|---|---|---|---|"]
    with (folder / "vela" / f"{SRAM_NPU}_totals.csv").open(encoding="utf-8") as rows:
        used = {row["network"]: float(row["sram_memory_used"]) for row in csv.DictReader(rows)}
    for network, vela_kib in used.items():
        options = CompileOptions(
            target=SRAM_NPU, objective="peak", dtype="int8", batch=1, schedule="whole"
        )
        compiled = compile_model(folder / "models" / f"{network}.onnx", options)
        ours_kib = compiled.score.peak_bytes["sram"] / 1024
        cells = (network, f"{vela_kib:.1f}", f"{ours_kib:.1f}", ratio(ours_kib, vela_kib))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def mcu_table(folder: Path) -> str:
    """Published latencies, and what kernels and their operands take by the model."""
    columns = ("chip", *(f"{network}, ms" for network in MCU_NETWORKS), "ours / published")
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for chip in MCUS:
        options = FrontendOptions(target=chip, dtype="int8", batch=1)
        published = {run.model: 1e3 * run.latency_s.value for run in describe(chip).published.runs}
        latencies = [published[network] for network in MCU_NETWORKS]
        ratios = []
        for network, latency_ms in zip(MCU_NETWORKS, latencies, strict=True):
            problem = prepare(folder / "models" / f"{network}.onnx", options).problem
            ratios.append(ratio(1e3 * run_solver("greedy", problem).value, latency_ms))
        cells = (chip, *(f"{latency:g}" for latency in latencies), ", ".join(ratios))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def zigzag_table() -> str:
    """The layers in the closed form of SCALE-Sim, and with ZigZag's dataflow."""
    plain = Systolic(32, 32, 1e9)
    same = Systolic(32, 32, 1e9, rows_hold="channels", groups="serial", double_buffered=True)
    lines = [
        "| layer | ZigZag, cycles | SCALE-Sim's form | ZigZag's dataflow |",
        "|---|---|---|---|",
    ]
    for name, nest, share in LAYERS:
        scale_sim = nest_cycles(nest, plain)
        reference = scale_sim / share
        lines.append(
            f"| {name} | {reference:,.0f} | {ratio(scale_sim, reference)} | "
            f"{ratio(nest_cycles(nest, same), reference)} |"
        )
    return "\n".join(lines)


def ratio(ours: float, reference: float) -> str:
    """One figure over another."""
    return f"{ours / reference:.2f}" if reference else "-"


INTRODUCTION = """# Validation

What the hardware model says beside other tools. Estimates are called estimates: Vela and ZigZag are
models too, though of people who know the chips. `python benchmarks/validation.py` writes this page;
the reference figures lie beside the project, not in it."""

VELA_WORDS = """NPU cycles by Vela 5.2.0 ("internal compiler estimates") and by the compute model
`mac-blocks`, operator by operator: MLPerf Tiny's
networks, MobileNetV1 0.5 at 160 x 160, and ResNet-50, all int8. `close` is the share of Vela's
cycles in operators on which the two agree within 15 %.

What is left:

- Vela searches a block shape for every operator, and charges full blocks at the edges. Here a block
  has as many elements as the accumulators hold. A strided 1x1 convolution over 7 x 7 positions of
  ResNet-50 takes 1.85 times as long there.
- With dedicated SRAM (Ethos-U65), Vela's NPU cycles include waiting for inputs and weights from
  DRAM. An image of three channels is read in bursts of 128 bytes, of which few are used: with the
  blocks that Vela chooses for the 7x7 convolution of ResNet-50 that takes twice as long as with
  square ones. Weights of fully connected layers are waited for there; here that is the memory's
  time, not the unit's.
- A Softmax over few elements is many operations there, of which each takes at least 12 cycles."""

SRAM_WORDS = """SRAM that Vela uses for `ethos-u55-128` (memory mode Shared_Sram, optimised for
performance), and what a plan of whole operators that spills nothing needs (`--objective peak`),
with channels padded to 16 in both. Vela also keeps weights there, which it fetches ahead. Four 3x3
convolutions of 64 x 64 positions with 16, 17 and 33 channels need 139, 272 and 417 KiB by Vela, and
128, 256 and 384 KiB here: two maps of 16, 32 and 48 channels."""

MCU_WORDS = """Latencies of MLPerf Tiny v1.1 and of plans by `greedy` on the targets `stm32h7a3`,
`stm32l4r5` and `stm32u575`: the cycles of `kernel-cycles`, and loading and storing of operands one
after the other (`compute.overlap` 0). The cycles are fitted to these twelve latencies: a
convolution, a depthwise convolution and a matrix product have one figure each on the Cortex-M7, and
the Cortex-M4 and M33 one factor each. So this says how well five figures describe twelve runs, not
how well they foretell others. Pools, additions and Softmax are assumptions, and take little."""

ZIGZAG_WORDS = """Latency of ZigZag 3.9's tpu_like (32 x 32, weight stationary), in the closed form
of SCALE-Sim (the default of `systolic`) and with ZigZag's dataflow for convolutions: rows hold
input channels only, groups run one after the other, weights are loaded beside computing. ZigZag's
cycles are known to two digits. Its matrix products wait for weights, which here is the memory's
time."""


if __name__ == "__main__":
    main()
