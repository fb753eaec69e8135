"""The table of bounds over all schedules, against every verified plan of the other tables."""

import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "benchmarks" / "results"
# Tables print plans rounded: relative and in ms.
ROUNDED, LAST_DIGIT_MS = 2e-4, 1e-4


@pytest.fixture(scope="module")
def bounds() -> dict[str, list[tuple[int, float, float]]]:
    """By model (KiB, ms of any schedule, ms of whole reductions), smallest memory first."""
    rows = json.loads((RESULTS / "any_schedule.json").read_text(encoding="utf-8"))
    found: dict[str, list[tuple[int, float, float]]] = {}
    for row in rows:
        figures = row["KiB"], float(row["any schedule, ms"]), float(row["whole reductions, ms"])
        found.setdefault(row["model"], []).append(figures)
    return {model: sorted(listed) for model, listed in found.items()}


def verified_plans() -> Iterator[tuple[tuple[str, int], float]]:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from any_schedule_plans import verified_plans as plans
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    yield from plans()


def test_no_verified_plan_is_below_a_bound(
    bounds: dict[str, list[tuple[int, float, float]]],
) -> None:
    compared = 0
    for (model, kib), plan_ms in verified_plans():
        # A bound holds for less memory, too: that of the next larger size in the table.
        later = [free for size, free, _ in bounds.get(model, ()) if size >= kib]
        if later:
            compared += 1
            assert plan_ms >= later[0] * (1 - ROUNDED) - LAST_DIGIT_MS, (model, kib)
    assert compared > 100


def test_bounds_never_rise_with_the_memory_and_are_in_order(
    bounds: dict[str, list[tuple[int, float, float]]],
) -> None:
    for model, listed in bounds.items():
        for _, free, whole in listed:
            assert free <= whole, model
        for before, after in pairwise(listed):
            assert before[1] >= after[1] - 1e-9, model
            assert before[2] >= after[2] - 1e-9, model


# ms, of docs/bounds.md's models: any schedule and whole reductions.
PROVEN = [
    ("mobilenet_v2", 256, 1.074, 1.097),
    ("resnet50", 64, 10.389, 10.695),
    ("resnet50", 256, 10.340, 10.646),
    ("resnet50", 1024, 10.144, 10.449),
    ("mnasnet1_0", 256, 1.240, 1.267),
    ("googlenet", 256, 3.535, 3.724),
    ("hrnet_w18_small", 256, 3.973, 4.031),
    ("gpt2_prefill_128", 256, 34.498, 34.525),
]


@pytest.mark.parametrize(("model", "kib", "free", "whole"), PROVEN)
def test_what_was_proven_once_is_proven_still(
    bounds: dict[str, list[tuple[int, float, float]]],
    model: str,
    kib: int,
    free: float,
    whole: float,
) -> None:
    found = next(row for row in bounds[model] if row[0] == kib)
    assert found[1] >= free * 0.999
    assert found[2] >= whole * 0.999
