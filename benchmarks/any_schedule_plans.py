"""The best plans that benchmarks/results knows: latency by model and size of fast memory.

All are of int8 models on edge-npu or on edge-npu-spm, whose plans are plans of edge-npu as well.
(`whole_tensors_exact` is left out: some of its rows are of models as an older importer read them.)
"""

import json
from collections.abc import Iterator
from typing import Any

from common import RESULTS

# model, KiB of fast memory
Key = tuple[str, int]


def best_plans() -> dict[Key, float]:
    """Milliseconds of the fastest verified plan of each."""
    best: dict[Key, float] = {}
    for key, latency_ms in verified_plans():
        best[key] = min(latency_ms, best.get(key, latency_ms))
    return best


def verified_plans() -> Iterator[tuple[Key, float]]:
    """Milliseconds of every verified plan in the tables."""
    for row in _rows("cascades"):
        kib = _kib(row["memory"])
        for column in ("whole, ms", "cascade, ms"):
            if (latency_ms := _number(row.get(column))) is not None:
                yield (row["model"], kib), latency_ms
    for name, columns in (
        ("scratchpad", ("fluid/bound",)),
        ("whole_tensors", ("fluid/bound",)),
        ("joint", ()),
    ):
        for row in _rows(name):
            if row.get("target", "edge-npu").startswith("edge-npu") and "KiB" in row:
                yield from _over_bound(row, columns)


def _over_bound(row: dict[str, Any], columns: tuple[str, ...]) -> Iterator[tuple[Key, float]]:
    """Plans that stand in a table as multiples of their bound."""
    bound_ms = _number(row.get("bound ms"))
    one_shot = "one-shot" in row.get("kind", "one-shot")
    for column in columns:
        ratio = _number(row.get(column))
        if bound_ms is not None and ratio is not None and one_shot:
            yield (row["model"], int(row["KiB"])), bound_ms * ratio
    plan_ms = _number(row.get("model plan ms"))
    if plan_ms is not None:
        yield (row["model"], int(row["KiB"])), plan_ms


def _rows(name: str) -> list[dict[str, Any]]:
    file = RESULTS / f"{name}.json"
    found: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return found


def _kib(text: str) -> int:
    size, unit = text.split()
    return round(float(size) * {"KiB": 1, "MiB": 1024}[unit])


def _number(text: object) -> float | None:
    try:
        return float(str(text).replace(",", ""))
    except ValueError:
        return None
