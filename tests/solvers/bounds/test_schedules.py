"""Bounds over all schedules, against the fastest of all and against plans."""

from dataclasses import replace
from functools import cache
from typing import ClassVar

import onnx
import pytest

from tests.support.onnx_models import model, node, weight
from tests.support.schedule_search import ScheduleSearch
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.target import Target
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.bounds.network import network_of
from ullage.solvers.bounds.schedules import memory_bounds, schedule_bounds
from ullage.solvers.budget import Budget

NEAR = 1e-9


def one_product() -> onnx.ModelProto:
    """Two elements that take long, then a product with two weights."""
    return model(
        [node("Tanh", "x", "a"), node("MatMul", "a w", "y")],
        {"x": (1, 2)},
        "y",
        [weight("w", (2, 1))],
    )


def two_products() -> onnx.ModelProto:
    """One element that takes long, then two products with three weights each."""
    return model(
        [node("Tanh", "x", "a"), node("MatMul", "a w", "b"), node("MatMul", "b v", "y")],
        {"x": (1, 1)},
        "y",
        [weight("w", (1, 3)), weight("v", (3, 1))],
    )


def windows() -> onnx.ModelProto:
    """Two convolutions along a line of three elements."""
    return model(
        [
            node("Conv", "x w", "a", kernel_shape=[2]),
            node("Conv", "a v", "y", kernel_shape=[2]),
        ],
        {"x": (1, 1, 3)},
        "y",
        [weight("w", (1, 1, 2)), weight("v", (1, 1, 2))],
    )


def skip() -> onnx.ModelProto:
    """A product beside a skip."""
    return model(
        [node("Tanh", "x", "a"), node("MatMul", "a w", "b"), node("Add", "b a", "y")],
        {"x": (1, 2)},
        "y",
        [weight("w", (2, 2))],
    )


TINY = {make.__name__: make for make in (one_product, two_products, windows, skip)}
# What a byte, a multiplication and an element of other work take.
BYTE, MAC = 2, 1


@cache
def tiny(name: str) -> Graph:
    return import_model(TINY[name](), ImportOptions(dtype="int8", fuse=False))


def in_units(element_time: int, fast: int) -> Target:
    """A chip on which all times are small whole numbers of seconds."""
    chip = load_target("edge-npu")
    slow = replace(chip.tiers[1], read_bytes_per_s=1 / BYTE, write_bytes_per_s=1 / BYTE)
    compute = replace(
        chip.compute, macs_per_s={"int8": 1 / MAC}, vector_elements_per_s=1 / element_time
    )
    quick = replace(chip.tiers[0], capacity_bytes=fast)
    return replace(chip, tiers=(quick, slow), compute=compute)


def fastest(name: str, element_time: int, fast: int, *, divided: bool) -> float:
    """Seconds of the fastest schedule of all."""
    graph, target = tiny(name), in_units(element_time, fast)
    times = {n.operator.name: round(n.seconds) for n in network_of(graph, target).nodes}
    return ScheduleSearch(graph, times, BYTE, divided=divided).least_time(fast)


@pytest.mark.parametrize(
    ("name", "element_time", "fast"),
    [
        *((name, time, 1) for name in TINY for time in (4, 9)),
        ("one_product", 1, 2),
        ("one_product", 9, 2),
    ],
)
def test_no_schedule_of_a_tiny_network_is_faster(name: str, element_time: int, fast: int) -> None:
    found = schedule_bounds(tiny(name), in_units(element_time, fast))
    assert found is not None
    whole = fastest(name, element_time, fast, divided=False)
    divided = fastest(name, element_time, fast, divided=True)
    assert divided <= whole
    assert found.any_schedule.value <= divided + NEAR
    assert found.any_schedule.value <= found.whole_reductions.value <= whole + NEAR


def test_the_last_element_proves_the_fastest_schedule_of_a_tiny_network() -> None:
    found = schedule_bounds(tiny("one_product"), in_units(9, 1))
    assert found is not None
    assert found.any_schedule.source == "compute"
    assert found.any_schedule.value == pytest.approx(2 * 9 + 2 * MAC)
    # Behind the last of two long elements: both of them and two weights, of which one byte may be
    # there, and a store.
    assert found.whole_reductions.source == "last-element"
    assert found.whole_reductions.value == pytest.approx(2 * 9 + BYTE * (4 - 1) + BYTE)
    assert found.whole_reductions.value == pytest.approx(
        fastest("one_product", 9, 1, divided=False)
    )


@pytest.mark.parametrize(("name", "fast"), [*((name, 1) for name in TINY), ("one_product", 2)])
def test_a_memory_in_which_some_schedule_keeps_a_limit_is_not_excluded(
    name: str, fast: int
) -> None:
    for divided in (True, False):
        limit_s = fastest(name, 9, fast, divided=divided)
        found = memory_bounds(tiny(name), in_units(9, 1), limit_s)
        assert found is not None
        bound = found.any_schedule if divided else found.whole_reductions
        assert bound.value < fast
        assert found.any_schedule.value <= found.whole_reductions.value


def test_the_least_memory_is_where_the_bound_on_the_latency_meets_the_limit() -> None:
    graph, chip = tiny("two_products"), in_units(9, 1)
    at_once = fastest("one_product", 9, 1, divided=False)
    one = memory_bounds(tiny("one_product"), chip, at_once - 1)
    assert one is not None
    assert one.whole_reductions.value >= 1  # no schedule with one byte is faster
    sizes = []
    for limit_s in (16.0, 18.0, 20.0, 24.0, 60.0):
        found = memory_bounds(graph, chip, limit_s)
        assert found is not None
        for name in ("any_schedule", "whole_reductions"):
            size = int(getattr(found, name).value)
            for fast, exceeds in ((size, True), (size + 1, False)):
                bounds = schedule_bounds(graph, in_units(9, fast))
                assert bounds is not None
                is_above = getattr(bounds, name).value > limit_s * (1 + NEAR)
                if (fast or not exceeds) and size + 1 < 13:  # all bytes of the network
                    assert is_above == exceeds
        sizes.append(found.any_schedule.value)
    assert sizes == sorted(sizes, reverse=True)
    assert memory_bounds(graph, chip, 1.0, Budget(deadline=0.0)) is None


class _Over(Budget):
    """Time that is over after some questions."""

    asked: ClassVar[list[int]] = []

    def is_over(self) -> bool:
        self.asked[0] -= 1
        return self.asked[0] < 0


def test_where_time_ends_on_the_way_the_bounds_that_take_none_are_the_answer() -> None:
    chip = in_units(4, 1)
    full = schedule_bounds(tiny("two_products"), chip)
    _Over.asked[:] = [1]
    short = schedule_bounds(tiny("two_products"), chip, _Over())
    assert full is not None
    assert short is not None
    assert (full.is_cut_short, short.is_cut_short) == (False, True)
    assert short.any_schedule.source in {"compute", "compulsory"}
    assert 0 < short.any_schedule.value <= full.any_schedule.value
    _Over.asked[:] = [0]
    assert schedule_bounds(tiny("two_products"), chip, _Over()) is None


def test_sizes_excluded_before_time_was_over_stay_excluded() -> None:
    chip = in_units(4, 1)
    least = schedule_bounds(tiny("skip"), chip)
    assert least is not None
    limit_s = 0.9 * least.any_schedule.value
    full = memory_bounds(tiny("skip"), chip, limit_s)
    assert full is not None
    seen = []
    for questions in range(60):
        _Over.asked[:] = [questions]
        found = memory_bounds(tiny("skip"), chip, limit_s, _Over())
        if found is not None and found.is_cut_short:
            seen.append(found)
            assert 0 < found.any_schedule.value <= full.any_schedule.value
            assert found.any_schedule.value <= found.whole_reductions.value
            assert found.whole_reductions.value <= full.whole_reductions.value
    assert seen
