"""Refusals carry figures and remedies."""

import random
from dataclasses import replace

import pytest

from tests.support.cases import (
    chain,
    check_refusal,
    problem_for,
    solved,
    target_of,
)
from tests.support.solving import Asked, solve_with
from tests.support.targets import Op, make_problem
from tests.support.wide import share
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.graph import Kind
from ullage.compiler.lowering.from_lists import Op as ListedOp
from ullage.compiler.lowering.from_lists import Tensor, problem_from_lists
from ullage.hwmodels.catalog.registry import load_target

# Of x, w, y, v, z: x and w make y, y and v make z.
KINDS: tuple[Kind, ...] = ("input", "weight", "activation", "weight", "output")


def test_a_tiny_memory_is_refused_with_figures() -> None:
    target = target_of(64, operand_access="fastest")
    problem = problem_for(chain(), ["y"], target)
    for name in ("all-slow", "greedy", "msa", "fluid", "auto"):
        with pytest.raises(InfeasibleError) as raised:
            solve_with(name, problem, Asked())
        details = raised.value.details
        check_refusal(raised.value)
        assert (details["tier"], details["needed_bytes"], details["excess_bytes"]) == (
            "sram",
            128,
            64,
        )
        assert "--fast-memory 128" in details["remedies"]
        given_more = target.with_fast_memory(details["needed_bytes"])
        assert solved(name, problem.on(given_more), "latency") is not None


def test_a_home_that_is_too_small_is_refused_with_figures() -> None:
    tiers = target_of(1024).tiers
    target = target_of(0, tiers=(tiers[0], replace(tiers[1], capacity_bytes=96)))
    problem = problem_for(chain(), ["y"], target)
    with pytest.raises(InfeasibleError) as raised:
        solve_with("all-slow", problem, Asked())
    check_refusal(raised.value)
    assert raised.value.details["tier"] == "dram"


def test_a_refusal_says_that_operators_run_whole_and_names_each_tensor_once() -> None:
    problem = make_problem(
        {"a": ("input", 128), "y": ("output", 96), "z": ("output", 16)},
        [Op("all", ("a",), ("y",)), Op("half", (("a", 0, 64, 64),), ("z",))],
        target_of(128, operand_access="fastest"),
    )
    for name in ("greedy", "fluid"):
        with pytest.raises(InfeasibleError, match="Operators run whole here") as raised:
            solve_with(name, problem, Asked())
        details = raised.value.details
        assert details["operator"] == "all"
        largest = [(item["tensor"], item["bytes"]) for item in details["largest_tensors"]]
        assert largest == [("a", 128), ("y", 96)]


def refused(size: int, available: int, dtype: str) -> InfeasibleError:
    """The error for a product of two tensors of some bytes in a memory of some bytes."""
    problem = make_problem(
        {"a": ("input", size), "y": ("output", size)},
        [Op("product", ("a",), ("y",), macs=1, dtype=dtype)],
        target_of(available, operand_access="fastest"),
    )
    with pytest.raises(InfeasibleError) as raised:
        solve_with("greedy", problem, Asked())
    return raised.value


def test_smaller_data_are_offered_as_far_as_they_help() -> None:
    enough = refused(2048, 1024, "float32")
    assert "plan smaller data (--dtype int8)" in enough.message
    more = refused(2048, 1008, "float32")
    assert "which alone still takes about 1 KiB (--dtype int8)" in more.message
    for dtype in ("int8", "int16", "int32"):  # --dtype is for floats
        assert "--dtype int8" not in refused(2048, 1024, dtype).details["remedies"]
    assert "alone still takes" in refused(2048, 1024, "float16").message


def test_padding_behind_the_topmost_operand_needs_no_memory() -> None:
    chance = random.Random(5)
    for _ in range(share(3, 1)):
        sizes = dict(zip("xwyvz", (chance.randint(1, 300) for _ in range(5)), strict=True))
        least = max(
            sum(-(-sizes[name] // 16) * 16 for name in names)
            - max(-sizes[name] % 16 for name in names)
            for names in ("xwy", "yvz")
        )
        for split in (True, False):
            target = target_of(
                least, operand_access="fastest", weights_in_fastest=True, split_operands=split
            )
            problem = problem_from_lists(
                "two operators",
                [
                    Tensor(name, sizes[name], kind)
                    for name, kind in zip("xwyvz", KINDS, strict=True)
                ],
                [ListedOp("first", ["x", "w"], ["y"]), ListedOp("second", ["y", "v"], ["z"])],
                target,
            )
            for solver in ("all-slow", "greedy", "msa", "fluid"):
                for extra in (0, 15):
                    larger = problem.on(target.with_fast_memory(least + extra))
                    assert solved(solver, larger, "latency") is not None
                with pytest.raises(InfeasibleError) as raised:
                    solve_with(solver, problem.on(target.with_fast_memory(least - 1)), Asked())
                details = raised.value.details
                assert (details["proven"], details["needed_bytes"]) == (True, least)


def test_figures_that_differ_never_read_alike() -> None:
    message = refused(1 << 20, (2 << 20) - 16, "int8").message
    assert "takes 2097152 B, available 2097136 B, excess 16 B" in message


def test_fluid_has_a_plan_over_three_tiers_where_a_last_operand_ends_with_the_memory() -> None:
    target = load_target("tpu-v1")
    tensors = [
        Tensor("x", 80, "input"),
        Tensor("w", 100, "weight"),
        Tensor("y", 80, "activation"),
        Tensor("z", 70, "output"),
    ]
    ops = [ListedOp("first", ["x", "w"], ["y"]), ListedOp("second", ["x", "y"], ["z"])]
    least = 512 + 80  # x, w and y: two of them aligned to 256 bytes, and one without its padding
    problem = problem_from_lists("odd", tensors, ops, target)
    for size in (least, least + 20, 767):
        assert solved("fluid", problem.on(target.with_fast_memory(size)), "latency") is not None
    with pytest.raises(InfeasibleError) as raised:
        solve_with("greedy", problem.on(target.with_fast_memory(least - 13)), Asked())
    needed = raised.value.details["needed_bytes"]
    assert needed < 768
    assert solved("greedy", problem.on(target.with_fast_memory(needed)), "latency") is not None
    with pytest.raises(InfeasibleError):
        solve_with("greedy", problem.on(target.with_fast_memory(needed - 1)), Asked())
