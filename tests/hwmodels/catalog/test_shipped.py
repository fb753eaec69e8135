"""The shipped targets one by one: what is published, what pages say, that more is no worse."""

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from ullage.compiler.driver.compile import compile_problem
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.ir.target import Link, Target, Tier
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.catalog.published import published_figures
from ullage.hwmodels.catalog.registry import describe, list_targets, load_target
from ullage.solvers.fluid.multi_tier.column_generation import NEAR as NEAR_OPTIMUM
from ullage.solvers.paths.network import TIE_BREAK

ROOT = Path(__file__).parents[3]
# How far a peak rate or bandwidth may be from the published one, where the file does not say why.
NEAR = 0.15
# Peaks that our figure does not reach, as the note of the published one explains.
EXPLAINED = {("alveo-u280", "peak int8")}
# A plan that is further above its bound than this is far; a target has one such plan at most.
FAR = 0.1
# How much worse than with less memory or bandwidth a plan may be, beside its own gap.
NOISE = 1e-6
# Share by which bounds of so small programs may lie below the best plan's fractions: column
# generation on three tiers ends that near, and a plan pays that much for slow traffic at most.
BELOW_OPTIMUM = NEAR_OPTIMUM + TIE_BREAK
KIB = 1024


@pytest.fixture
def chips(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script that writes the pages of the docs (`benchmarks/chips.py --pages`)."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module("chips")
    for name in ("chips", "chip_experiments", "common"):
        sys.modules.pop(name)


def test_there_are_enough() -> None:
    assert len(list_targets()) >= 37


@pytest.mark.parametrize("name", list_targets())
def test_something_is_published_or_said_to_be_missing(name: str) -> None:
    found = describe(name)
    rows = published_figures(found)
    assert rows or found.published.missing
    assert any(row.ours is None for row in rows) or found.published.missing
    for row in rows:
        assert row.figure.source
        if "from memory" in row.figure.source or "assumption" in row.figure.source:
            assert row.figure.confidence == "low", row.what
        if row.ratio is None:
            continue
        if (name, row.what) in EXPLAINED:
            assert row.figure.note
        else:
            assert abs(row.ratio - 1) <= max(NEAR, 0.2 * (row.what == "bandwidth of host")), row


def test_kernels_are_fitted_to_what_is_published() -> None:
    runs = {run.model: run.latency_s.value for run in describe("stm32h7a3").published.runs}
    assert runs == {
        "ad01_int8": 1.82e-3,
        "resnet8_int8": 51.9e-3,
        "kws_int8": 15.4e-3,
        "vww_96_int8": 29.6e-3,
    }


def test_sizes_of_a_family_differ_as_their_names_say() -> None:
    for family, sizes in (("u55", (32, 64, 128, 256)), ("u85", (128, 256, 512, 1024, 2048))):
        for macs in sizes:
            compute = load_target(f"ethos-{family}-{macs}").compute
            blocks = compute.mac_blocks
            assert blocks is not None
            assert compute.macs_per_s["int8"] == macs * blocks.clock_hz
    rates = [load_target(f"ethos-u85-{n}").tier("dram").read_bytes_per_s for n in (256, 512, 2048)]
    assert rates == [3.75e9, 12e9, 24e9]


def test_a_tier_that_is_written_slower_than_read() -> None:
    tcm, ocram, hyperram = load_target("imxrt1170").tiers
    assert (tcm.capacity_bytes, ocram.capacity_bytes) == (512 * KIB, 2048 * KIB)
    assert hyperram.read_bytes_per_s == 2 * hyperram.write_bytes_per_s


def test_the_table_of_the_docs_is_that_of_the_files(chips: ModuleType) -> None:
    text = (ROOT / "docs" / "targets.md").read_text(encoding="utf-8")
    descriptions = [describe(name) for name in list_targets()]
    assert chips.with_table(text, descriptions) == text, (
        "benchmarks/chips.py --table writes it anew"
    )


def test_the_page_of_chips_is_that_of_the_files_and_the_stored_plans(chips: ModuleType) -> None:
    rows = [chips.Row(**row) for row in json.loads((chips.RESULTS / "chips.json").read_text())]
    descriptions = [describe(name) for name in list_targets()]
    assert chips.page(descriptions, rows) == chips.PAGE.read_text(encoding="utf-8")
    for name in list_targets():
        mine = [row for row in rows if row.target == name]
        assert len(mine) >= 3, name
        assert any(row.latency_s is not None for row in mine), name
        gaps = [row.gap for row in mine if row.gap is not None and not row.steady_state]
        assert sum(gap > FAR for gap in gaps) <= 1, name


def test_experiments_stand_beside_published_latencies(chips: ModuleType) -> None:
    """Each is of a latency that a target file has, and its figures are on the page."""
    experiments = chips.chip_experiments
    found = json.loads(experiments.STORED.read_text(encoding="utf-8"))
    moved = [experiments.Moved(**each) for each in found["moved"]]
    asked = [(*each[:3], each[3], each[4], each[5]) for each in experiments.EXPERIMENTS]
    assert [(m.target, m.model, m.dtype, m.field, m.value, m.what) for m in moved] == asked
    for each in moved:
        published = {
            (r.model, r.dtype): r.latency_s.value for r in describe(each.target).published.runs
        }
        assert each.published_s == published[each.model, each.dtype]
        assert min(each.after_s, each.before_s) > 0
        assert each.after_s != each.before_s  # what a figure explains, or what its change undoes
    assert experiments.moved_table(moved) in chips.PAGE.read_text(encoding="utf-8")


def faster(target: Target, factor: float) -> Target:
    """The same chip with every memory and link faster."""

    def tier(each: Tier) -> Tier:
        return replace(
            each,
            read_bytes_per_s=factor * each.read_bytes_per_s,
            write_bytes_per_s=factor * each.write_bytes_per_s,
        )

    def link(each: Link) -> Link:
        return replace(each, bandwidth_bytes_per_s=factor * each.bandwidth_bytes_per_s)

    return replace(
        target,
        tiers=tuple(tier(each) for each in target.tiers),
        links=tuple(link(each) for each in target.links),
    )


def planned(target: Target) -> tuple[float, float]:
    """Seconds of a plan of a small program with a skip connection, and of its lower bound."""
    sizes = [64, 96, 48, 128, 64, 96, 32]
    tensors = [Tensor("x0", sizes[0] * KIB, "input")]
    operators = []
    for i, size in enumerate(sizes[1:]):
        last = i == len(sizes) - 2
        kind = "output" if last else "activation"
        tensors += [
            Tensor(f"w{i}", (40 + 8 * i) * KIB, "weight"),
            Tensor(f"x{i + 1}", size * KIB, kind),
        ]
        reads = [f"x{i}", f"w{i}"] + (["x1"] if i == 4 else [])
        operators.append(Op(f"o{i}", reads, [f"x{i + 1}"], macs=200_000 * (i + 1)))
    problem = problem_from_lists("small", tensors, operators, target)
    result = compile_problem(problem, CompileOptions(solver="fluid"))
    assert not find_violations(result.plan)
    assert result.bound.value <= result.value * (1 + NOISE)
    return result.value, result.bound.value


def test_both_make_a_difference_where_memory_is_small() -> None:
    target = load_target("edge-npu").with_fast_memory(128 * KIB)
    base, bound = planned(target)
    for better in (target.with_fast_memory(512 * KIB), faster(target, 1.5)):
        value, least = planned(better)
        assert value < 0.99 * base
        assert least < 0.99 * bound


@pytest.mark.wide(16)
@pytest.mark.parametrize("name", list_targets())
def test_more_memory_or_bandwidth_is_never_slower(name: str) -> None:
    target = load_target(name).with_fast_memory(384 * KIB)
    base, bound = planned(target)
    for better in (target.with_fast_memory(512 * KIB), faster(target, 1.5)):
        value, least = planned(better)
        assert least <= bound * (1 + BELOW_OPTIMUM)
        assert value <= base * (1 + NOISE)
