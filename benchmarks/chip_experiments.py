"""What one changed figure of a target does to latencies that differ from the published ones.

Each experiment changes one field of a target, as `--set` does, and measures again:

    at home   the latency with everything in its home tier
    overhead  that of the stored plan, whose steps each take the operators' overhead more
    compute   compute time alone, which no plan takes less than
    least     a lower bound of every plan's latency, where there is no plan

Nothing of this changes a target: it says which of its figures could be the cause, and which not.

Run: python benchmarks/chip_experiments.py   writes benchmarks/results/chip_experiments.json, of
which `chips.py --pages` makes a section of docs/chips.md.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

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
    ("gemmini", "mobilenet_v2", "int8", "compute.overhead_s", "0.8ms", "overhead"),
    ("gemmini", "resnet50", "int8", "compute.overhead_s", "0.2ms", "overhead"),
    ("gemmini", "resnet50", "int8", "compute.overhead_s", "0.8ms", "overhead"),
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
    model_file: Callable[[str], Path | None], latencies: dict[tuple[str, str, str], float]
) -> None:
    """Measure all and store it.

    Args:
        model_file: the file of a network.
        latencies: of stored plans, by target, network and dtype.
    """

    def problem(target: str, model: str, dtype: str, batch: int, **changed: str) -> Problem:
        file = model_file(model)
        if file is None:
            raise SystemExit(f"{model}: the network does not lie here")
        overrides = {field: value for field, value in changed.items() if field}
        options = FrontendOptions(target=target, dtype=dtype, batch=batch, overrides=overrides)
        return prepare(file, options).problem

    def seconds(asked: Problem, what: str, stored_s: float) -> float:
        if what == "at home":
            return score(run_solver("all-slow", asked).plan).latency_s
        if what == "overhead":
            return stored_s + float(overhead_seconds(asked).sum())
        return float((compute_seconds(asked)[0] + overhead_seconds(asked)).sum())

    moved = []
    for target, model, dtype, field, value, what in EXPERIMENTS:
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
    found = {"moved": [asdict(each) for each in moved], "least": [asdict(each) for each in least]}
    STORED.write_text(json.dumps(found, indent=1), encoding="utf-8")


def section() -> str:
    """The section of the page, of what is stored."""
    found = json.loads(STORED.read_text(encoding="utf-8"))
    moved = [Moved(**each) for each in found["moved"]]
    least = [Least(**each) for each in found["least"]]
    return "\n\n".join(("## What could move them", WORDS, moved_table(moved), least_table(least)))


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
  SqueezeNet near it, and leaves VGG-16 there. Half of DenseNet-121's time is left, although it has
  most operators. That its vector work is slow is not the reason: at a rate at which that alone
  would take longer than is published, GoogLeNet and SqueezeNet would, too.
- `stm32f746`: 1.8 cycles for a product, where the kernels fitted to take 1.14.
- `hexagon-htp`: slower depthwise convolutions could be most of it in int8, not in float16.
- `simba`: 15 % of the peak. The published 1988 images/s are 12 % of it.
- `gemmini`: 0.8 ms for each operator would bring MobileNetV2 into the range, but 0.2 ms leave
  ResNet-50 below it and 0.8 ms take it far above: no one time serves both, and the cause of the
  first is not known.
- `eyeriss`: there is no plan of these batches, only what every plan takes at least. A share of the
  peak that brings VGG-16's latency near takes AlexNet's far above, so that one share for all layers
  cannot be right. DRAM bytes are those without reading anything twice: the chip reads again."""

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

    rows = [Row(**each) for each in json.loads((RESULTS / "chips.json").read_text())]
    run(
        model_file,
        {
            (row.target, row.model, row.dtype): row.latency_s
            for row in rows
            if row.latency_s is not None
            and (row.steady_state or row.model == "vgg16" or row.target != "coral-edge-tpu")
        },
    )
