"""What one changed figure of a target does to latencies that differ from the published ones.

Each experiment changes one field of a target, as `--set` does, and measures again:

    at home   the latency with everything in its home tier
    overhead  that of the stored plan, whose steps each take the operators' overhead more
    compute   compute time alone, which no plan takes less than
    least     a lower bound of every plan's latency, where there is no plan

What others publish beside latencies of whole networks is in `chip_references.py`. Nothing of this
changes a target: it says which of its figures could be the cause, and which not.

Run: python benchmarks/chip_experiments.py [--only TARGET,TARGET]

Writes benchmarks/results/chip_experiments.json, of which `chips.py --pages` makes a section of
docs/chips.md. Experiments of other targets than those asked for stay as they were.
"""

import argparse
import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import chip_references
from chip_references import Buffered, Network, Operators
from common import RESULTS

from ullage.compiler.frontend import FrontendOptions, prepare
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.bounds import order_free_bound
from ullage.hwmodels.catalog.registry import describe
from ullage.hwmodels.cost import compute_seconds, overhead_seconds, score
from ullage.hwmodels.traffic import compulsory
from ullage.solvers.run import run_solver

STORED = RESULTS / "chip_experiments.json"
CORAL = ("mobilenet_v1", "mobilenet_v2", "googlenet", "squeezenet1_1", "densenet121", "vgg16")
NVDLA = ("nvdla-small", "nvdla-128", "nvdla-256", "nvdla-512", "nvdla-1024", "nvdla-large")
# (target, network, dtype, changed field, its value, what is measured)
EXPERIMENTS: tuple[tuple[str, str, str, str, str, str], ...] = (
    *((chip, "resnet50", "int8", "compute.overlap", "0", "at home") for chip in NVDLA),
    *(("coral-edge-tpu", m, "int8", "compute.overhead_s", "25us", "overhead") for m in CORAL),
    *(
        ("coral-edge-tpu", m, "int8", "compute.vector_elements_per_s", "0.7e9", "compute")
        for m in ("densenet121", "googlenet", "squeezenet1_1")
    ),
    (
        "stm32f746",
        "cmsis_cifar10",
        "int8",
        "compute.kernel_cycles.macs.int8.default",
        "1.8",
        "compute",
    ),
    *(
        ("hexagon-htp", "mobilenet_v2", dtype, "compute.efficiency.depthwise", "0.01", "compute")
        for dtype in ("int8", "float16")
    ),
    ("simba", "resnet50", "int8", "compute.efficiency.convolution", "0.15", "compute"),
    *(
        ("gemmini", model, "int8", field, value, what)
        for field, value, what in (
            ("compute.systolic.rows_hold", "taps", "compute"),
            ("compute.overhead_s", "0.4ms", "overhead"),
        )
        for model in ("mobilenet_v2", "resnet50")
    ),
)
# Microcontrollers whose tensors are at home in external memory.
EXTERNAL = ("imxrt1170", "stm32h743")
# Networks of `eyeriss` without a plan: (network, batch, published s, published bytes of DRAM), from
# memory of Chen et al., JSSC 2017; and the share of the peak that is tried.
EYERISS = (("alexnet_convs", 4, 0.1153, 15.4e6), ("vgg16_convs", 3, 4.309, 321e6))
EYERISS_SHARE = "0.32"


@dataclass(frozen=True)
class Moved:
    """An experiment's result.

    Attributes:
        target: name of the target.
        model: name of the network.
        dtype: data type.
        field: what is changed.
        value: to what.
        what: what is measured.
        before_s: with the target as it is.
        after_s: with the change.
        published_s: the published latency.
    """

    target: str
    model: str
    dtype: str
    field: str
    value: str
    what: str
    before_s: float
    after_s: float
    published_s: float


@dataclass(frozen=True)
class Least:
    """A network without a plan.

    Attributes:
        model: name of the network.
        batch: inputs at once.
        before_s: lower bound of the latency.
        after_s: with `EYERISS_SHARE` of the peak.
        published_s: the published latency.
        loaded_bytes: bytes that every plan moves to and from DRAM.
        published_bytes: the published ones.
    """

    model: str
    batch: int
    before_s: float
    after_s: float
    published_s: float
    loaded_bytes: float
    published_bytes: float


def run(
    model_file: Callable[[str], Path | None],
    latencies: dict[tuple[str, str, str], float],
    wanted: Collection[str],
) -> None:
    """Measure and store it.

    Args:
        model_file: the file of a network.
        latencies: of stored plans, by target, network and dtype.
        wanted: targets whose experiments are measured; others are as they were. Empty: all.
    """
    before_all = json.loads(STORED.read_text(encoding="utf-8")) if wanted else {"moved": []}
    kept = {
        (row.target, row.model, row.dtype, row.field, row.value): row
        for row in (Moved(**each) for each in before_all["moved"])
        if row.target not in wanted
    }

    def problem(
        target: str,
        model: str,
        dtype: str,
        batch: int,
        *,
        steady_state: bool = False,
        **changed: str,
    ) -> Problem:
        file = model_file(model)
        if file is None:
            raise SystemExit(f"{model}: the network does not lie here")
        options = FrontendOptions(
            target=target, dtype=dtype, batch=batch, steady_state=steady_state, overrides=changed
        )
        return prepare(file, options).problem

    def seconds(asked: Problem, what: str, stored_s: float) -> float:
        if what == "at home":
            return score(run_solver("all-slow", asked).plan).latency_s
        if what == "overhead":
            return stored_s + float(overhead_seconds(asked).sum())
        return float((compute_seconds(asked)[0] + overhead_seconds(asked)).sum())

    moved = []
    for target, model, dtype, field, value, what in EXPERIMENTS:
        if (target, model, dtype, field, value) in kept:
            moved.append(kept[target, model, dtype, field, value])
            continue
        published = {(r.model, r.dtype): r.latency_s.value for r in describe(target).published.runs}
        stored_s = latencies.get((target, model, dtype), 0.0)
        before, after = (
            seconds(problem(target, model, dtype, 1, **changed), what, stored_s)
            for changed in ({}, {field: value})
        )
        moved.append(
            Moved(target, model, dtype, field, value, what, before, after, published[model, dtype])
        )
        print(moved[-1], flush=True)
    least = []
    for model, batch, published_s, published_bytes in EYERISS:
        asked = problem("eyeriss", model, "int16", batch)
        tried = problem(
            "eyeriss", model, "int16", batch, **{"compute.efficiency.convolution": EYERISS_SHARE}
        )
        bytes_moved = compulsory(asked)
        least.append(
            Least(
                model,
                batch,
                order_free_bound(asked).value,
                order_free_bound(tried).value,
                published_s,
                float(bytes_moved.loads.sum() + bytes_moved.stores.sum()),
                published_bytes,
            )
        )
        print(least[-1], flush=True)
    coral = describe("coral-edge-tpu").published.runs
    rows = {
        "moved": moved,
        "least": least,
        "buffered": chip_references.buffered(problem),
        "networks": chip_references.networks(problem),
        "operators": chip_references.operators(
            problem,
            {m: s for (target, m, _), s in latencies.items() if target == "coral-edge-tpu"},
            {run.model: run.latency_s.value for run in coral},
        ),
    }
    found = {name: [asdict(each) for each in listed] for name, listed in rows.items()}
    STORED.write_text(json.dumps(found, indent=1), encoding="utf-8")


def section() -> str:
    """The section of the page, of what is stored."""
    found = json.loads(STORED.read_text(encoding="utf-8"))
    parts = [
        "## What could move them",
        WORDS,
        moved_table([Moved(**each) for each in found["moved"]]),
        "### DenseNet on the Edge TPU",
        CORAL_WORDS,
        chip_references.operators_table([Operators(**each) for each in found["operators"]]),
        "### Float16 on the Hexagon",
        HEXAGON_WORDS,
        chip_references.networks_table([Network(**each) for each in found["networks"]]),
        "### MobileNetV2 on Gemmini",
        GEMMINI_WORDS,
        "### AlexNet and VGG-16 on Eyeriss",
        EYERISS_WORDS,
        chip_references.buffered_table([Buffered(**each) for each in found["buffered"]]),
        least_table([Least(**each) for each in found["least"]]),
    ]
    return "\n\n".join(parts)


def memory_section(rows: Iterable[tuple[str, str, float, float]]) -> str:
    """The section on fast and external memory.

    Args:
        rows: target, network, latency of the plan and with everything at home, in s.
    """
    lines = ["| target | network | plan, ms | all at home, ms | times |", "|---|---|---|---|---|"]
    lines += [
        f"| `{target}` | {model} | {1e3 * plan_s:.2f} | {1e3 * home_s:.2f} "
        f"| {home_s / plan_s:.2f} |"
        for target, model, plan_s, home_s in rows
        if target in EXTERNAL
    ]
    return "\n\n".join(("## Fast against external memory", MEMORY_WORDS, "\n".join(lines)))


def moved_table(rows: Iterable[Moved]) -> str:
    """What each experiment measured over the published latency, before and after."""
    lines = [
        "| target | network | changed | measured | ours / published | after the change |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{r.target}` | {r.model} {r.dtype} | `{r.field}={r.value}` | {r.what} "
        f"| {r.before_s / r.published_s:.2f} | {r.after_s / r.published_s:.2f} |"
        for r in rows
    ]
    return "\n".join(lines)


def least_table(rows: Iterable[Least]) -> str:
    """The networks of `eyeriss`: what every plan takes at least, over what is published."""
    lines = [
        "| network of `eyeriss` | least latency / published "
        f"| with `compute.efficiency.convolution={EYERISS_SHARE}` | least DRAM bytes / published |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {r.model} int16, batch {r.batch} | {r.before_s / r.published_s:.2f} "
        f"| {r.after_s / r.published_s:.2f} | {r.loaded_bytes / r.published_bytes:.2f} |"
        for r in rows
    ]
    return "\n".join(lines)


WORDS = """One figure of a target is changed (`--set`), and what is measured stands over the
published latency before and after: everything `at home`, the stored plan with an `overhead` for
each operator, or `compute` alone. No target is changed by it.
`python benchmarks/chip_experiments.py` measures again.

- `nvdla-small`: loading and computing one after the other brings it into the range, and all larger
  ones out of it. Its 128 KiB buffer feeds the multipliers; with so small a one, data of
  the next operation may not come before those of this one are used.
- `coral-edge-tpu`: one time of 25 us for each operator brings three networks into the range and
  SqueezeNet near it, and leaves VGG-16 there. DenseNet-121 has a section below.
- `stm32f746`: 1.8 cycles for a product, where the kernels fitted to take 1.14.
- `hexagon-htp`: slower depthwise convolutions could be most of it in int8, not in float16, which
  has a section below.
- `simba`: 15 % of the peak. The published 1988 images/s are 12 % of it.
- `gemmini`: what rows of the array hold is known now (below); one time of 0.4 ms for each operator
  would bring both networks into the range."""

CORAL_WORDS = """DenseNet-121 takes 20 ms; the plan, and 25 us for each operator that it charges
for, are half of that. Three causes were tried for the other half.

- Slow vector work: refuted. At a rate at which that alone would take longer than is published,
  GoogLeNet and SqueezeNet would, too (above).
- More operators than plans charge for: most of it. A normalisation in front of a convolution cannot
  be folded into it and becomes a product and a sum, and maps are joined by an operator, where plans
  put parts side by side for nothing. As TFLite file DenseNet-121 has 312 operators in float32 and
  698 in int8 (qualcomm/ai-hub-models, `perf.yaml`), against 196 that are charged here; no other of
  four networks has more than twice as many. How many the file on the Edge TPU had is not published:
  the published latency lies between the two counts. They are of another converter, and with them
  MobileNetV2 would be above the range, so that 25 us is not an operator's time to the digit.
- Weights that take more bytes compiled than as elements: a part of it. Logs of Google's compiler
  have 1.00 to 1.26 times the file in the chip's memory and streamed together
  (google-coral/edgetpu, issues 572, 427 and 518). With 1.2 (`--set storage.weight_ratio=1.2
  --steady-state --schedule whole --solver fluid --time-limit 60`), DenseNet-121 streams more in
  each inference, and its plan takes 8.14 ms instead of 5.03 of 20, GoogLeNet's 2.19 instead of 1.73
  of 3.4. With this and 25 us for each of the 312 operators of the file in float32 it is at 0.80."""

HEXAGON_WORDS = """In float16 the published latency has a time that no operator takes. On the same
chip (as QCS8550) SqueezeNet 1.1, of which a plan takes 0.06 ms, is published with 0.66 ms, and
MNASNet 0.5, with a third of the products of MobileNetV2, with 0.80. One time of 0.6 ms for each
inference brings four of eight networks into 0.8 to 1.25, and MobileNetV2 to 0.78 (0.87 with
depthwise convolutions at half their rate). Half of that time is how a network is called: ONNX
Runtime is published with 0.18 to 0.35 ms less than TFLite for nine of twelve networks (MobileNetV2
0.63 against 0.93, SqueezeNet 0.38 against 0.66), QNN with as much as TFLite. In int8 0.15 ms bring
three of seven there.

What is left is in networks of many operators (DenseNet-121 has 312 in TFLite, EfficientNet-B0 245)
and in ResNet-50, whose 51 MB of weights take 0.76 ms at the peak of the memory, which the bound
hides behind 0.63 ms of products: one after the other, with 0.6 ms besides, they are 0.90 of 2.21
ms. DenseNet-121 is slower in int8 than in float16 (2.2 against 1.8 ms): in int8 its file has 698
operators."""

GEMMINI_WORDS = """Gemmini's kernels multiply tap by tap: rows of the array hold input channels, not
taps, and a depthwise convolution takes one channel at a time, so that one of 256 cells works
(ucb-bar/gemmini-rocc-tests, `include/gemmini.h`: `sp_tiled_conv`, `tiled_conv_dw`). The target says
so now (`rows_hold: channels`), which it did not before: depthwise convolutions of MobileNetV2 take
20.7 of 22.1 ms by it, and 2.3 of 3.5 by `taps`. On an FPGA (luffca.com, June 2022) 8 % of
MobileNet's cycles are in matrix products; here all but depthwise convolutions take 6 %.

The rest, 2.4 times, is the host, which issued the instructions of depthwise convolutions one by one
when the paper was written: "offloads depthwise convolution scheduling onto the loop-unroller FSM.
This improves MobileNet performance by 2-3x" (ucb-bar/gemmini, pull request 209, March 2022), which
would bring 53.5 ms to 18 to 27. No instruction of a host is in the model. ResNet-50, of which a
plan takes 0.52, has no such source: 0.4 ms for each operator would serve both networks (above), as
of a host that starts each, but no text that was found says how long it takes."""

EYERISS_WORDS = """The chip's tables (Chen et al., JSSC 2017, V and VI; read by OCR in
cucapra/fodlam) say why VGG-16 takes nearly three times what its products take. Its global buffer,
through which inputs and partial sums pass, is accessed 11,036 MB for operands of 165 MB. Of each
layer, the larger of its products at the elements that are busy and of its accesses at 16 bytes a
cycle (3.2 GB/s, as in the target) is 0.93 of the published processing latency of VGG-16, where the
accesses are the larger in the first ten layers, and 0.87 of AlexNet's, where the products are in
all. 10 and 13 % of the total are not processing, by the tables. Partial sums are in no plan here,
and one share of the peak cannot stand for them: one that brings VGG-16's latency near takes
AlexNet's far above.

There is no plan of these batches, only what every plan takes at least. Whole, the third convolution
of one image of AlexNet needs 1.89 MiB of the 108 KiB buffer, 1.69 MiB of them weights. In parts,
four images are cut into 6,368, and to check the last cut and plan it takes 2,500 s more than the
120 s given. One image alone has a plan (`--batch 1 --schedule cascade --time-limit 60`), of 2,346
steps and 95 ms: it loads 32 MB, since stripes of a result load weights again, where its bound is 25
ms. DRAM bytes of the bound are those without reading or writing anything twice; with each layer's
operands once they are 0.85 of AlexNet's and 0.51 of VGG-16's: the chip compresses maps, and reads
again."""

MEMORY_WORDS = """Plans of `imxrt1170` and `stm32h743`, beside everything in external memory. One
paper was found that has both on such a chip: Xu and Song (2022, in Chinese, 22(10), 11-15) place
buffers of TFLite Micro on the i.MX RT1170 in TCM and OCRAM instead of one arena outside, and
shorten inference by up to more than a half, of networks that the abstract does not name. On a soft
core with the program and model in SPI flash, google/CFU-Playground (pull request 206) reports 2.78
times for moving kernels and model of a keyword network to SRAM; no target is that chip. A search
for STM32H7 (X-CUBE-AI, FP-AI-VISION1 and its manual UM2611, TFLite Micro, CMSIS-NN, forums) found
runs with SDRAM or without, and no pair of them with figures for one network."""


if __name__ == "__main__":
    from chips import Row, model_file

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    asked_for = [name for name in parser.parse_args().only.split(",") if name]
    rows = [Row(**each) for each in json.loads((RESULTS / "chips.json").read_text())]
    run(
        model_file,
        {
            (row.target, row.model, row.dtype): row.latency_s
            for row in rows
            if row.latency_s is not None
            and (row.steady_state or row.model == "vgg16" or row.target != "coral-edge-tpu")
        },
        asked_for,
    )
