"""The hardware model beside other tools and chips: per layer and total, as a page of the docs.

Arm Vela's own estimates (`vela/*_layers.csv`, one row for each operator) are set against the
compute model `mac-blocks`; layers of ZigZag's tpu_like against `systolic`. These are compute times
only: what memories take is not in them. The SRAM that Vela uses stands beside that of plans.

Run: python benchmarks/validation.py [--references DIR] [--only NETWORK,NETWORK] [--misses]
Writes docs/validation.md and a table of every layer of Vela into benchmarks/results.
"""

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import monotonic
import vela
import zigzag
from common import ROOT, write_table
from vela import REFERENCES, by_network, first_name, matched

from ullage.compiler.frontend import FrontendOptions, prepare
from ullage.hwmodels.catalog.registry import describe, load_target
from ullage.hwmodels.cost import compute_seconds
from ullage.solvers.run import run_solver

PAGE = ROOT / "docs" / "validation.md"
TARGETS = ROOT / "benchmarks" / "targets"
# Vela's configurations, and our targets.
VELA = {
    "ethos-u55-128": "ethos-u55-128",
    "ethos-u65-512": "ethos-u65-512",
}
# A layer is close within this share of Vela's cycles.
CLOSE = 0.15

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
        timed = ((t, step) for t, step in enumerate(problem.steps) if seconds[t])
        for t, step, found in matched(timed, rows):
            cycles = sum(float(row["npu_cycles"]) for row in found)
            kind = step.nests[0].kind if step.nests else "other"
            ours = float(seconds[t]) * blocks.clock_hz
            yield Layer(network, first_name(step.name), kind, cycles, ours)


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
    sram, accessed = vela.sram_tables(folder, [])
    parts += ["### SRAM", SRAM_WORDS, sram]
    parts += ["### Bytes that operators access", ACCESSED_WORDS, accessed]
    parts += ["### DRAM and flash", BYTES_WORDS, vela.bytes_table(folder, [])]
    parts += [DECISIONS_WORDS, vela.decisions_table(folder)]
    parts += [PLACED_WORDS, vela.placed_table(folder)]
    parts += ["### Latency", LATENCY_WORDS, vela.latency_table(folder, [])]
    parts += [WAITS_WORDS, vela.waits_table(folder)]
    parts += ["## Microcontrollers", MCU_WORDS, mcu_table(folder)]
    parts += ["## ZigZag", ZIGZAG_WORDS, zigzag.table()]
    parts += ["## Monotonicity", MONOTONIC_WORDS, monotonic.table()]
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
  square ones.
- Fully connected layers use a weight once, so that it stays in flash or DRAM, and biases and scales
  of a channel take 10/256 of the latency of that memory (`scale_cycles_per_channel`: 2.5 cycles
  of flash, 19.5 of DRAM). On Ethos-U65 Vela fetches those of three small layers of `ad01_int8` to
  SRAM nevertheless, which are 2.2 to 4.0 times as fast there.
- A Softmax over few elements is many operations there, of which each takes at least 12 cycles."""

SRAM_WORDS = """SRAM that Vela uses for `ethos-u55-128` (optimised for performance), beside plans
in the same memory mode (Shared_Sram): feature maps, input and output of the network in SRAM,
weights in flash, from where they may be fetched; channels padded to 16 in both.

`maps alone` is the smallest memory of a plan of whole operators that spills nothing, however slow
(`--objective peak`): weights stream from flash, as if the NPU read each once. It does not:
it reads the weights of an operator for every block of positions, from flash if they are there. So
Vela fetches them to SRAM, one operator ahead. `no slower than Vela` is the least memory of a plan
that takes at most Vela's cycles of an inference, at Vela's NPU cycles of each operator, where
operators read weights and inputs as often as their blocks need them (`compute.rereads`;
`--objective peak --slower-by`): that is the comparison on equal terms. Of `kws_int8` Vela keeps
the weights of the next operator too.

Four 3x3 convolutions of 64 x 64 positions with 16, 17 and 33 channels need 139, 272 and 417 KiB by
Vela, and 128, 256 and 384 KiB here: two maps of 16, 32 and 48 channels."""

ACCESSED_WORDS = """Bytes that operators and DMA read and write in SRAM and flash together, beside
Vela's, of the fastest plans of whole operators at Vela's NPU cycles: as if each operand were read
once, as often as blocks need it (`compute.rereads`), and with the bursts in which blocks read the
network's image, of which `dot_channels` bytes are used. Vela rounds blocks up at the edges, and
reads windows of more than 8 rows or columns in pieces (the first convolution of `kws_int8`)."""

BYTES_WORDS = """Bytes that weights, scales, inputs and outputs take in flash or DRAM, and bytes
that an inference reads and writes there, with Vela's ratio of encoded to original weights for each
network (`storage.weight_ratio`). On Ethos-U55 the network's input and output are in SRAM
(Shared_Sram), on Ethos-U65 in DRAM (Dedicated_Sram). Plans minimise what moves (`--objective
traffic`) with whole operators. Vela packs 10 bytes of bias and scale for a channel, here are 8.

On Ethos-U65 Vela's NPU reads the network's input where it is, block by block, and each burst of
128 bytes brings 8 that it uses; plans here read it once, or copy it to SRAM first, so that they
move less. The last two columns add these bursts, were the input left where it is, with the blocks
of `mac-blocks`. Of `kws_int8` and `resnet50` more is left, which the two tables after the next
explain: what their first convolutions read, and feature maps that Vela leaves in DRAM."""

DECISIONS_WORDS = """Bytes follow from what is decided: the next table has the fastest plans on
Ethos-U65, and those that leave everything in DRAM, at Vela's NPU cycles of each operator and with
the image's bursts. Vela's bytes of `resnet50` lie between the two: it keeps less in SRAM than the
fastest plan, and is slower."""

PLACED_WORDS = """On the same decisions both move the same. Vela's tables have cycles of DRAM for
each operation, not where its operands lie; so in the next table of each operator those feature maps
are in DRAM with which our bytes come nearest to these cycles at 3.75 bytes each, and weights move
once. The image is read once by our charges. With what Vela's cycles say of the first operator in
place of that, the six networks are at 0.96 to 1.01 of Vela's bytes: the first convolution and what
is decided are the whole difference.

Of `kws_int8`, everything else moves 25,804 bytes here, and the first convolution 48,652 in Vela: it
reads 2,829 elements, each in 16 bytes of a burst, of an image of 490: 5.8 times. Blocks of
`mac-blocks` would read 1.5 times. Were a block one row of results, and the window of 10 rows read
in pieces of 8 and 2, it would be up to 2,500 elements. Of `resnet50`, the first convolution's
reading is 15.8 MB (the image 19.7 times; blocks of `mac-blocks` 4.7 times, 3.7 MB), and what is
added in the first two stages lies in DRAM: most additions over 56 x 56 positions take 642,252
cycles there, which are three maps of 802,816 bytes to the byte. The first convolutions of the other
three read their image 3.4 to 3.8 times in Vela, and 3.3 to 3.7 times by blocks of `mac-blocks`;
their windows are 3 x 3."""

LATENCY_WORDS = """Cycles of an inference: those that Vela states (of each operator the largest of
NPU and memories), those of plans with the compute model's own cycles, and those of plans with
Vela's NPU cycles operator by operator (`--op-costs`), of whole operators and with a schedule that
is searched for. So the last ones differ by where tensors lie, what is fetched when, and in which
parts operators run. `ample` is the whole SRAM of the target: 2 MiB, or 512 KiB. Vela cascades too.
With Ethos-U65, Vela's first operator waits for bursts of the network's input from DRAM (above),
which plans copy to SRAM in one go: 133,512 of the 200,131 cycles of `vww_96_int8`, 393,928 of the
906,491 of `mbv1_050_160`. On Ethos-U55 plans of `mbv1_050_160` fetch the large weights at its end
while operators long before them compute; Vela fetches one operator ahead. A search for a schedule
has 60 s, plans of whole operators 120: for `resnet50` it found none that is better, and its plan of
whole operators is from less time."""

WAITS_WORDS = """Vela's cycles beyond those of the NPU are waits, which the next table divides.
The first operation waits for the network's input, which on Ethos-U65 comes from DRAM in bursts, and
for its own weights; plans bring the input to SRAM once. All others wait for weights, which Vela
fetches while the operation before computes, and in `resnet50` on Ethos-U65 for feature maps in
DRAM. That is too late for the large weights at the end of `mbv1_050_160`; plans fetch them during
many operations before. Plans of `vww_96_int8` on Ethos-U65 take 0.98 of what Vela says without the
wait of the first operation, those of `mbv1_050_160` 1.03 of what it says without any wait. So no
fixed time for each operator is missing here."""

MCU_WORDS = """Latencies of MLPerf Tiny v1.1 and of plans by `greedy` on the targets `stm32h7a3`,
`stm32l4r5` and `stm32u575`: the cycles of `kernel-cycles`, and loading and storing of operands one
after the other (`compute.overlap` 0). The cycles are fitted to these twelve latencies: a
convolution, a depthwise convolution and a matrix product have one figure each on the Cortex-M7, and
the Cortex-M4 and M33 one factor each. So this says how well five figures describe twelve runs, not
how well they foretell others. Pools, additions and Softmax are assumptions, and take little."""

ZIGZAG_WORDS = """Latency and energy of seven layers by ZigZag 3.9.1 for its tpu_like (32 x 32
cells, weight stationary, rows hold input channels, groups one after the other, weights loaded
beside computing; its mapper searches for latency), and of verified plans on the same accelerator
as a target, `benchmarks/targets/zigzag-tpu-like.yaml`. `python benchmarks/zigzag.py --run` asks an
installed ZigZag again.

- The 3x3 convolution of 56 x 56 positions: ZigZag's mapping loads all of its input into SRAM
  before the first product (26,900 cycles); in plans operands stream beside computing. The same is
  in the next two rows, where it is less.
- Energy of the depthwise convolution: groups that run one by one take a word of 256 bytes of SRAM
  for each 32 products in ZigZag's mapping (53.6 uJ), for inputs that stream from DRAM here. Plans
  are charged for SRAM when a tensor is stored there, not for what passes through. Words of 256
  bytes (`burst_bytes` of the SRAM) change no row, since inputs stream past it; reading again for
  blocks of 32 x 32 (`compute.rereads`) brings this one to 0.86 and three others to 1.30-1.70."""

MONOTONIC_WORDS = """More memory and more bandwidth: plans by `fluid` of whole operators along seven
rising values of one figure, the rest as the target has it. A bound or a plan is slower where it
takes 0.1 % longer than the one before. Bounds may lie that much below the optimum of their linear
program; roundings of it are heuristic, so that plans may be slower than with less."""


if __name__ == "__main__":
    main()
