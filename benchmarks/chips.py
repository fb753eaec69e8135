"""The shipped targets, one by one, as pages of the docs: what is published, and what plans say.

    python benchmarks/chips.py [--only NAME,NAME]   plan, then write the pages
    python benchmarks/chips.py --pages              write them from target files and stored plans

Three networks are planned on each target, and those whose latency on it others have published.
Plans are of whole operators, or in parts where some do not fit; each is verified, and stands with
the gap to its lower bound. The networks are those that come with the `onnx` package and, where they
lie beside the project, the public set. Writes docs/chips.md, the table of docs/targets.md, and
benchmarks/results/chips.json, from which later runs take what they do not plan anew.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import chip_experiments
import networks
import numpy as np
from common import RESULTS, ROOT

from ullage.compiler.common.errors import InfeasibleError, UllageError
from ullage.compiler.common.units import format_size, format_time
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import DEFAULT_SOLVER, CompileOptions
from ullage.compiler.importer.model_zoo import named_models
from ullage.hwmodels.catalog.published import PublishedFigure, published_figures
from ullage.hwmodels.catalog.quantities import Figure
from ullage.hwmodels.catalog.registry import Description, by_kind, describe, list_targets
from ullage.hwmodels.catalog.schema import CHIP_KINDS, PublishedRun
from ullage.hwmodels.compute.peaks import peak_macs_per_s

PAGE = ROOT / "docs" / "chips.md"
TABLE_PAGE = ROOT / "docs" / "targets.md"
TABLE_START = "<!-- shipped targets, written by benchmarks/chips.py -->"
TABLE_END = "<!-- end of the table -->"
# Folders of networks, beside those of the onnx package.
FOLDERS = (ROOT.parent / "shared" / "models", ROOT.parent / "shared" / "validation" / "models")
# Networks that are planned on every target, and on microcontrollers and where memory is as small.
NETWORKS = ("mobilenet_v2", "resnet50", "squeezenet")
SMALL_NETWORKS = ("kws_int8", "resnet8_int8", "vww_96_int8")
SMALL_BYTES = 128 << 10
# A network that this script builds.
CIFAR10 = "cmsis_cifar10"
# Shares of a published latency between which ours is near.
LEAST_NEAR, MOST_NEAR = 0.8, 1.25
# Networks of thousands of operators are planned by `greedy` alone, however long that takes: members
# of `auto` use up their time before there is a plan that is better than the home tiers.
GREEDY = ("llama7b_decode_1024",)
# Seconds that other plans take at most.
LIMIT_S = 300.0


@dataclass(frozen=True)
class Row:
    """A plan, or why there is none.

    Attributes:
        target: name of the target.
        model: name of the network.
        dtype: data type of the policy.
        batch: inputs at once.
        steady_state: weights may stay from inference to inference.
        schedule: `whole`, or `cascade` where operators do not fit whole.
        latency_s: of the plan; None without one.
        all_slow_s: with everything in its home tier; None where that is no plan.
        compute_s: compute alone.
        gap: to the lower bound of this schedule.
        bound: what proved it.
        refused: the error in one line, empty for plans.
    """

    target: str
    model: str
    dtype: str
    batch: int
    steady_state: bool
    schedule: str
    latency_s: float | None
    all_slow_s: float | None
    compute_s: float | None
    gap: float | None
    bound: str
    refused: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", action="store_true", help="plan nothing")
    parser.add_argument("--only", default="", help="plan on these targets; others as they were")
    given = parser.parse_args()
    descriptions = [describe(name) for name in list_targets()]
    stored = RESULTS / "chips.json"
    rows = [Row(**each) for each in json.loads(stored.read_text())] if stored.is_file() else []
    rows = [row for row in rows if row.target in list_targets()]
    wanted = [] if given.pages else [name for name in given.only.split(",") if name]
    for each in descriptions:
        if each.name in wanted or not (wanted or given.pages):
            rows = [row for row in rows if row.target != each.name]
            for row in plans(each):
                print(row, flush=True)
                rows.append(row)
            rows.sort(key=lambda row: row.target)
            stored.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    PAGE.write_text(page(descriptions, rows), encoding="utf-8")
    text = TABLE_PAGE.read_text(encoding="utf-8")
    TABLE_PAGE.write_text(with_table(text, descriptions), encoding="utf-8")


def with_table(text: str, descriptions: Iterable[Description]) -> str:
    """A page with the table of shipped targets as it should be."""
    before, rest = text.split(TABLE_START)
    _, after = rest.split(TABLE_END)
    return f"{before}{TABLE_START}\n{shipped_table(descriptions)}\n{TABLE_END}{after}"


def shipped_table(descriptions: Iterable[Description]) -> str:
    """All targets by kind: memories, peak rate, how sure their figures are."""
    columns = ("target", "fastest tier", "behind it", "peak", "figures of low confidence")
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for kind, found in by_kind(descriptions).items():
        lines.append(f"| **{CHIP_KINDS[kind]}** |" + " |" * (len(columns) - 1))
        for each in found:
            fastest, *behind = (
                f"{tier.name} {format_size(tier.capacity_bytes)} at {rate(tier.read_bytes_per_s)}"
                for tier in each.target.tiers
            )
            low, figures = confidence(each)
            cells = (
                f"`{each.name}`",
                fastest,
                ", ".join(behind),
                peak(each),
                f"{low} of {figures}",
            )
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def confidence(description: Description) -> tuple[int, int]:
    """Figures of low confidence, and all that the files set."""
    stated = (value for value in description.values if value.origin != "default")
    levels = [value.confidence for value in stated if value.confidence]
    return levels.count("low"), len(levels)


def peak(description: Description) -> str:
    """Peak rate of the narrowest data type with a rate of its own."""
    compute = description.target.compute
    dtype = "int8" if "int8" in compute.macs_per_s else next(iter(compute.macs_per_s))
    ops = 2 * peak_macs_per_s(compute, dtype)
    scale, unit = (1e12, "TOPS") if ops >= 1e12 else (1e9, "GOPS")
    return f"{ops / scale:.3g} {unit} {dtype}"


def rate(bytes_per_s: float) -> str:
    """A bandwidth for people."""
    return f"{bytes_per_s / 1e9:,.5g} GB/s"


def model_file(name: str) -> Path | None:
    """The file of a network, None where it does not lie here."""
    if name == CIFAR10:
        return cifar10_file()
    for folder in FOLDERS:
        if (folder / f"{name}.onnx").is_file():
            return folder / f"{name}.onnx"
    if name in networks.NETWORKS:
        return networks.write(name, Path(tempfile.mkdtemp()))
    return named_models().get(name)


def cifar10_file() -> Path:
    """The CNN for CIFAR-10 that CMSIS-NN's authors measured (arXiv 1801.06601, table 1)."""
    from onnx import TensorProto, helper, numpy_helper, save

    nodes, weights, last = [], [], "image"

    def weight(name: str, shape: tuple[int, ...]) -> str:
        weights.append(numpy_helper.from_array(np.ones(shape, np.float32), name))
        return name

    for i, (channels, results) in enumerate(((3, 32), (32, 32), (32, 64))):
        operands = [last, weight(f"w{i}", (results, channels, 5, 5)), weight(f"b{i}", (results,))]
        nodes += [
            helper.make_node("Conv", operands, [f"c{i}"], kernel_shape=[5, 5], pads=[2] * 4),
            helper.make_node("Relu", [f"c{i}"], [f"r{i}"]),
            helper.make_node(
                "MaxPool",
                [f"r{i}"],
                [f"p{i}"],
                kernel_shape=[3, 3],
                strides=[2, 2],
                pads=[0, 0, 1, 1],
            ),
        ]
        last = f"p{i}"
    nodes += [
        helper.make_node("Flatten", [last], ["flat"]),
        helper.make_node("Gemm", ["flat", weight("w3", (1024, 10)), weight("b3", (10,))], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 32, 32])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])]
    model = helper.make_model(helper.make_graph(nodes, CIFAR10, inputs, outputs, weights))
    path = Path(tempfile.mkdtemp()) / f"{CIFAR10}.onnx"
    save(model, path)
    return path


def plans(description: Description) -> list[Row]:
    """Plans of the networks of a target's kind, and of those with a published latency."""
    is_small = description.target.fastest.capacity_bytes < SMALL_BYTES
    small = is_small or description.kind == "microcontroller"
    own = "int8" if "int8" in description.target.compute.macs_per_s else "int16"
    asked = [(name, own, 1, False) for name in (SMALL_NETWORKS if small else NETWORKS)]
    asked += [(r.model, r.dtype, r.batch, r.steady_state) for r in description.published.runs]
    return [plan(description.name, *each) for each in dict.fromkeys(asked)]


def plan(target: str, model: str, dtype: str, batch: int, steady_state: bool) -> Row:
    """The plan of a network."""
    file = model_file(model)
    found = (target, model, dtype, batch, steady_state)
    nothing = (None, None, None, None, "")
    if file is None:
        return Row(*found, "whole", *nothing, "the network does not lie here")
    options = CompileOptions(
        target=target,
        dtype=dtype,
        batch=batch,
        steady_state=steady_state,
        schedule="whole",
        solver="greedy" if model in GREEDY else DEFAULT_SOLVER,
        time_limit_s=None if model in GREEDY else LIMIT_S,
    )
    started, schedule = time.monotonic(), "whole"
    try:
        try:
            result = compile_model(str(file), options)
        except InfeasibleError:
            schedule = "cascade"
            result = compile_model(str(file), replace(options, schedule=None))
    except UllageError as error:
        return Row(*found, schedule, *nothing, error.message.splitlines()[0][:160])
    print(f"{target} {model}: {time.monotonic() - started:.1f} s", flush=True)
    return Row(
        *found,
        schedule,
        result.score.latency_s,
        None if result.all_slow is None else result.all_slow.latency_s,
        result.score.compute_s,
        result.gap,
        result.bound.source,
        "",
    )


def page(descriptions: Sequence[Description], rows: list[Row]) -> str:
    """The page of all targets."""
    parts = [INTRODUCTION, "## Published latencies", latency_table(descriptions, rows)]
    parts.append(chip_experiments.section())
    external = [
        (r.target, r.model, r.latency_s, r.all_slow_s)
        for r in rows
        if r.latency_s is not None and r.all_slow_s is not None
    ]
    parts.append(chip_experiments.memory_section(external))
    for kind, found in by_kind(descriptions).items():
        parts.append(f"## {CHIP_KINDS[kind]}")
        for each in found:
            parts += [*section(each), *plan_table([r for r in rows if r.target == each.name], each)]
    return "\n\n".join(parts) + "\n"


def section(description: Description) -> list[str]:
    """What a page says of a target without a plan."""
    inherits = f" Inherits from `{description.inherits[0]}`." if description.inherits else ""
    parts = [f"### {description.name}", f"{description.description}.{inherits}"]
    figures = [row for row in published_figures(description) if row.ours is not None]
    if figures:
        parts.append(figure_table(figures))
    if description.published.missing:
        parts.append(description.published.missing.rstrip(".") + ".")
    if low := low_confidence(description):
        parts.append(f"Of low confidence: {'; '.join(low)}.")
    return parts


def low_confidence(description: Description) -> list[str]:
    """The values of low confidence that a file sets, by the part that they are of."""
    found: dict[str, list[str]] = {}
    for value in description.values:
        if value.confidence == "low" and value.origin != "default":
            part, _, field = value.field.rpartition(".")
            found.setdefault(part, []).append(field)
    return [
        f"`{part}` {', '.join(fields)}" if part else fields[0] for part, fields in found.items()
    ]


def figure_table(rows: Iterable[PublishedFigure]) -> str:
    """Published peaks and bandwidths beside ours."""
    lines = ["| figure | published | here | here / published | source |", "|---|---|---|---|---|"]
    for row in rows:
        unit, ours = row.figure.expected_unit, row.ours or 0.0
        cells = (amount(value, unit) for value in (row.figure.value, ours))
        lines.append(
            f"| {row.what} | {' | '.join(cells)} | {ours / row.figure.value:.2f} | "
            f"{source_text(row.figure)} |"
        )
    return "\n".join(lines)


def amount(value: float, unit: str) -> str:
    """A rate for people."""
    scale, prefix = (1e12, "T") if value >= 1e12 else (1e9, "G")
    return f"{value / scale:.4g} {prefix}{unit}"


def plan_table(rows: list[Row], description: Description) -> list[str]:
    """Plans of a target; those with a published latency have it beside them."""
    if not rows:
        return []
    published = {run_key(run): run for run in description.published.runs}
    lines = [
        "| network | plan | gap | compute alone | all at home | published | ours / published |",
        "|---|---|---|---|---|---|---|",
    ]
    sources: dict[str, None] = {}
    for row in rows:
        run = published.get((row.model, row.dtype, row.batch, row.steady_state))
        what = named(row)
        what += ", in parts" if row.schedule != "whole" and row.latency_s is not None else ""
        said, ratio = "-", "-"
        if run is not None:
            said = format_time(run.latency_s.value)
            sources[source_text(run.latency_s)] = None
        if row.latency_s is None or row.compute_s is None:
            lines.append(f"| {what} | {row.refused} | - | - | - | {said} | - |")
            continue
        if run is not None and (share := ratio_to(row, run)) is not None:
            ratio = f"{share:.2f}" + (", all at home" if run.at_home else "")
        slow = "-" if row.all_slow_s is None else format_time(row.all_slow_s)
        gap = "-" if row.gap is None else f"{row.gap:.2%}"
        cells = (format_time(row.latency_s), gap, format_time(row.compute_s), slow, said, ratio)
        lines.append(f"| {what} | {' | '.join(cells)} |")
    found = ["\n".join(lines)]
    return [*found, f"Published: {'; '.join(sources)}."] if sources else found


def named(row: Row) -> str:
    """A network and how it ran."""
    what = f"{row.model} {row.dtype}" + (f", batch {row.batch}" if row.batch > 1 else "")
    return what + (", steady state" if row.steady_state else "")


def source_text(figure: Figure) -> str:
    """Where a figure was read, how sure it is, and what is to say of it."""
    note = f"; {figure.note}" if figure.note else ""
    return f"{figure.source} ({figure.confidence}{note})"


def ratio_to(row: Row, run: PublishedRun) -> float | None:
    """Our latency over a published one; None where there is no plan."""
    ours = row.all_slow_s if run.at_home else row.latency_s
    return None if ours is None else ours / run.latency_s.value


def latency_table(descriptions: Iterable[Description], rows: list[Row]) -> str:
    """All published latencies beside ours."""
    by_key = {(r.target, r.model, r.dtype, r.batch, r.steady_state): r for r in rows}
    lines = ["| target | network | published | ours / published |", "|---|---|---|---|"]
    shares = []
    for kind in by_kind(descriptions).values():
        for each in kind:
            for run in each.published.runs:
                row = by_key.get((each.name, *run_key(run)))
                share = None if row is None else ratio_to(row, run)
                if row is not None and share is not None:
                    shares.append(share)
                    said = format_time(run.latency_s.value)
                    lines.append(f"| `{each.name}` | {named(row)} | {said} | {share:.2f} |")
    near = sum(LEAST_NEAR <= share <= MOST_NEAR for share in shares)
    words = f"{near} of {len(shares)} are within {LEAST_NEAR:g} and {MOST_NEAR:g} of the published."
    return "\n".join(lines) + f"\n\n{words} {LATENCY_WORDS}"


def run_key(run: PublishedRun) -> tuple[str, str, int, bool]:
    """What tells one published run from another."""
    return run.model, run.dtype, run.batch, run.steady_state


INTRODUCTION = """# Shipped targets, one by one

What others have published about each chip stands beside what its target file says and what plans
of whole operators take (in parts where some do not fit). Each plan is verified, its gap is to the
lower bound of its own schedule; `all at home` leaves every tensor in its home tier. All latencies
are estimates of the cost model. Values of low confidence (from memory, or assumptions) are listed;
`ullage targets show NAME` has every value with its source. `python benchmarks/chips.py` writes this
page; networks that do not come with the `onnx` package lie beside the project, not in it. Rows are
from several runs: SqueezeNet with everything at home takes on every target what the present cost
model says; DenseNet-121 on `coral-edge-tpu` is older (3.0 ms of compute now, 3.7 in its row). On
Ethos-U the five plans that were more than 0.5 % above their bound were made again; others there are
those of earlier solvers."""

LATENCY_WORDS = """The
twelve of `stm32h7a3`, `stm32l4r5` and `stm32u575` are those that five figures of their kernels were
fitted to. Nothing else is fitted. Of the rest:

- `coral-edge-tpu`, `nvdla-small`, `hexagon-htp`, `gemmini`, `simba`, `stm32f746`: the next
  section says which figure could be the cause, and which is not. The published round trip over USB
  is in no plan.
- `m2ultra-flash` in int8: llama.cpp's Q8_0 kernels reach 410 GB/s, those of float16 560, of 800.
- `tpu-v1`: networks of as many layers and weights as those of the paper, whose shapes are not
  public."""


if __name__ == "__main__":
    main()
