"""More memory or more bandwidth is never slower: latencies along rising figures of a target.

Each row raises one figure of a target step by step and leaves the rest. It counts the steps at
which the bound, and the verified plan of `fluid`, become slower. `validation.py` makes the page.

Run: python benchmarks/monotonic.py
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from common import ROOT, SHARED

from ullage.compiler.frontend import FrontendOptions, prepare
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.solvers.run import run_solver

SMALL = ROOT.parent / "shared" / "validation" / "models"
# Targets of each way to use memory, and a network for each: in place from DRAM, by DMA alone, from
# flash, from DRAM behind dedicated SRAM, by a core, over three tiers.
CASES: Mapping[str, Path] = {
    "edge-npu": SHARED / "mobilenet_v2.onnx",
    "edge-npu-spm": SHARED / "mobilenet_v2.onnx",
    "ethos-u55-128": SMALL / "vww_96_int8.onnx",
    "ethos-u65-512": SMALL / "mbv1_050_160.onnx",
    "stm32h743": SMALL / "kws_int8.onnx",
    "imxrt1170": SMALL / "resnet8_int8.onnx",
}
# The smallest fast memory, in KiB, and how often it is doubled; what bandwidths are multiplied by.
LEAST_KIB: Mapping[str, int] = {"edge-npu": 64, "edge-npu-spm": 1536, "ethos-u65-512": 128}
DEFAULT_KIB, DOUBLINGS = 8, 6
SPEEDS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
# Share by which a bound and a plan are slower: bounds may lie 0.1 % below the optimum of their LP
# (docs/solvers.md), plans are rounded.
SLOWER = 1e-3


@dataclass(frozen=True)
class Series:
    """Latencies along one rising figure.

    Attributes:
        target: name of the target.
        network: name of the network.
        figure: what rises, with its ends.
        bounds_s: lower bounds, one a step.
        plans_s: latencies of verified plans.
    """

    target: str
    network: str
    figure: str
    bounds_s: tuple[float, ...]
    plans_s: tuple[float, ...]


def table() -> str:
    """For each series its ends, and how many steps are slower than the one before."""
    lines = [
        "| target, network | what rises | steps | first plan | last plan | slower bounds "
        "| slower plans (most) |",
        "|---|---|---|---|---|---|---|",
    ]
    for series in all_series():
        bounds = [b / a - 1 for a, b in pairwise(series.bounds_s)]
        plans = [b / a - 1 for a, b in pairwise(series.plans_s)]
        slower = [rise for rise in plans if rise > SLOWER]
        lines.append(
            f"| {series.target}, {series.network} | {series.figure} | {len(series.plans_s)} "
            f"| {1e3 * series.plans_s[0]:.3f} ms | {1e3 * series.plans_s[-1]:.3f} ms "
            f"| {sum(rise > SLOWER for rise in bounds)} "
            f"| {len(slower)}{f' ({max(slower):.2%})' if slower else ''} |"
        )
    return "\n".join(lines)


def all_series() -> Iterator[Series]:
    """Fast memory, the bandwidth behind it, and that of links, of each case."""
    for name, model in CASES.items():
        options = FrontendOptions(target=name, dtype="int8", batch=1)
        problem = prepare(model, options).problem
        least = LEAST_KIB.get(name, DEFAULT_KIB)
        sizes = [least << doubling for doubling in range(DOUBLINGS + 1)]
        memories = [problem.target.with_fast_memory(kib << 10) for kib in sizes]
        figure = f"fast memory, {sizes[0]} to {sizes[-1]} KiB"
        yield series_of(problem, model.stem, figure, memories)
        small = problem.target.with_fast_memory(sizes[2] << 10)
        figure = f"bandwidth behind {sizes[2]} KiB, x{SPEEDS[0]:g} to x{SPEEDS[-1]:g}"
        yield series_of(problem, model.stem, figure, [faster(small, x) for x in SPEEDS])


def faster(target: Target, factor: float) -> Target:
    """The same chip with the bandwidth of slower tiers and of links multiplied."""
    tiers = tuple(
        replace(
            tier,
            read_bytes_per_s=factor * tier.read_bytes_per_s,
            write_bytes_per_s=factor * tier.write_bytes_per_s,
        )
        for tier in target.tiers[1:]
    )
    # Tiers stand fastest first: the first one is as fast as the next at least.
    first = replace(
        target.fastest,
        read_bytes_per_s=max(t.read_bytes_per_s for t in (target.fastest, *tiers)),
        write_bytes_per_s=max(t.write_bytes_per_s for t in (target.fastest, *tiers)),
    )
    links = tuple(
        replace(link, bandwidth_bytes_per_s=factor * link.bandwidth_bytes_per_s)
        for link in target.links
    )
    return replace(target, tiers=(first, *tiers), links=links)


def series_of(problem: Problem, network: str, figure: str, targets: list[Target]) -> Series:
    """Bounds and plans of one problem on targets that differ in one figure."""
    outcomes = [run_solver("fluid", problem.on(target)) for target in targets]
    bounds = tuple(outcome.plan.lower_bound or 0.0 for outcome in outcomes)
    plans = tuple(outcome.value for outcome in outcomes)
    return Series(problem.target.name, network, figure, bounds, plans)


if __name__ == "__main__":
    print(table())
