"""Flat memory, byte by byte, on plans made by hand."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.plans import ANY, FASTEST, PLANS, THREE, WHOLE, buffer, plan, problem
from ullage.compiler.common.errors import VerificationError
from ullage.compiler.execute.arena import POISON, Arena
from ullage.compiler.ir.plan import Plan, Residency
from ullage.compiler.ir.target import Target

Rows = list[tuple[str, int, int, str, int, int, int, int]]
MADE = problem("m", (buffer("a", 16), buffer("b", 16)), (None, ("a", "b"), None))


def opened(rows: Rows, target: Target = ANY, step: int = 0) -> Arena:
    """An arena with all residencies of a plan that start at step 0."""
    made = plan(target, MADE, rows)
    arena = Arena(made)
    arena.begin_step(step, (), made.residencies)
    return arena


def numbered(count: int, first: int = 1) -> NDArray[np.uint8]:
    return np.arange(first, first + count, dtype=np.uint8)


def put(arena: Arena, buffer_index: int, name: str, first: int = 1) -> None:
    arena.write(buffer_index, 0, 0, "op", numbered(16, first), [(0, 16, name, 0)])


IN_SRAM: Rows = [("a", 0, 16, "sram", 8, 0, 0, 3)]


def test_memories_are_as_large_as_their_highest_address_and_poisoned() -> None:
    arena = opened(IN_SRAM)
    assert {name: len(data) for name, data in arena.memory.items()} == {"sram": 24, "dram": 0}
    assert set(arena.memory["sram"].tolist()) == {POISON}
    assert np.isnan(arena.memory["sram"].view(np.float32)).all()
    assert np.isnan(arena.memory["sram"].view(np.float16)).all()


def test_what_is_written_is_read_at_its_address() -> None:
    arena = opened(IN_SRAM)
    put(arena, 0, "a")
    assert arena.memory["sram"][8:24].tolist() == numbered(16).tolist()
    found = arena.read(0, 4, 12, 0, "op", [(0, 8, "a", 4)])
    assert found.tolist() == numbered(8, 5).tolist()
    assert np.shares_memory(found, arena.memory["sram"]), "one piece is not copied"


def test_unwritten_bytes_are_poison() -> None:
    arena = opened(IN_SRAM)
    arena.write(0, 0, 0, "op", numbered(8), [(0, 8, "a", 0)])
    with pytest.raises(VerificationError, match=r"sram at address 8 holds data of 'a', expected"):
        arena.read(0, 0, 16, 0, "op", [(0, 16, "a", 0)])
    with pytest.raises(VerificationError, match=r"sram at address 16 holds nothing \(poison\)"):
        arena.read(0, 8, 16, 0, "op", [(0, 8, "a", 8)])


def test_other_data_in_the_bytes_is_named() -> None:
    arena = opened(IN_SRAM)
    put(arena, 0, "stranger")
    with pytest.raises(
        VerificationError, match="op: sram at address 8 holds data of 'stranger'"
    ) as e:
        arena.read(0, 0, 16, 0, "op", [(0, 16, "a", 0)])
    assert e.value.details == {
        "step": 0,
        "tier": "sram",
        "address": 8,
        "expected": ["a"],
        "found": ["stranger"],
    }


def test_right_data_shifted_by_a_byte_is_refused() -> None:
    arena = opened(IN_SRAM)
    put(arena, 0, "a")
    with pytest.raises(VerificationError, match="expected data of 'a'"):
        arena.read(0, 0, 8, 0, "op", [(0, 8, "a", 1)])


def test_each_byte_comes_from_the_fastest_tier_that_has_it() -> None:
    rows: Rows = [("a", 0, 16, "dram", 0, 0, 0, 3), ("a", 4, 8, "sram", 0, 0, 0, 3)]
    arena = opened(rows)
    assert arena.write(0, 0, 0, "op", numbered(16), [(0, 16, "a", 0)]) == [
        ("dram", 0, 4),
        ("sram", 0, 4),
        ("dram", 8, 16),
    ]
    assert arena.memory["dram"][4:8].tolist() == [POISON] * 4
    assert arena.read(0, 0, 16, 0, "op", [(0, 16, "a", 0)]).tolist() == numbered(16).tolist()


def test_what_arrives_later_is_not_used_yet() -> None:
    rows: Rows = [("a", 0, 16, "dram", 0, 0, 0, 3), ("a", 0, 16, "sram", 0, 0, 2, 3)]
    arena = opened(rows)
    put(arena, 0, "a")
    assert arena.memory["sram"].tolist() == [POISON] * 16
    ((filled, low, high),) = arena.extents(0, 0, 16, 1, "DMA", tier="sram", ready=False)
    assert (filled.tier, low, high) == ("sram", 0, 16)
    with pytest.raises(VerificationError, match=r"not resident \(being filled\) in sram"):
        arena.extents(0, 0, 16, 2, "DMA", tier="sram", ready=False)


def test_closing_and_opening_destroy() -> None:
    arena = opened(IN_SRAM)
    put(arena, 0, "a")
    arena.begin_step(1, arena.plan.residencies, ())
    assert arena.memory["sram"].tolist() == [POISON] * 24
    arena = opened([*IN_SRAM, ("b", 0, 16, "sram", 12, 1, 1, 3)])
    arena.open[1].clear()
    put(arena, 0, "a")
    arena.begin_step(1, (), [arena.plan.residencies[1]])
    assert arena.memory["sram"][8:12].tolist() == [1, 2, 3, 4]
    with pytest.raises(VerificationError, match="expected data of 'a'"):
        arena.read(0, 0, 16, 1, "op", [(0, 16, "a", 0)])


def test_copy_takes_owners_along_and_refuses_poison() -> None:
    arena = opened([*IN_SRAM, ("a", 0, 16, "dram", 0, 0, 1, 3)])
    put(arena, 0, "a")
    arena.copy(("sram", 12), ("dram", 4), 8, 0, "DMA")
    assert arena.memory["dram"].tolist() == [POISON] * 4 + numbered(8, 5).tolist() + [POISON] * 4
    assert arena.owners["dram"].read(0, 16) == [(4, 12, "a", 4)]
    with pytest.raises(VerificationError, match="sram at address 0 holds nothing"):
        arena.copy(("sram", 0), ("dram", 0), 16, 0, "DMA")


def test_arrivals_must_be_complete() -> None:
    arena = opened([*IN_SRAM, ("a", 0, 16, "dram", 0, 0, 1, 3)])
    put(arena, 0, "a")
    arriving = [r for r in arena.plan.residencies if r.tier == "dram"]
    arena.copy(("sram", 8), ("dram", 0), 15, 0, "DMA")
    with pytest.raises(VerificationError, match="transfers did not bring all"):
        arena.begin_step(1, (), (), arriving)
    arena.copy(("sram", 23), ("dram", 15), 1, 0, "DMA")
    arena.begin_step(1, (), (), arriving)


def test_a_byte_is_in_a_tier_once() -> None:
    with pytest.raises(VerificationError, match="'a' are in sram twice, at addresses 0 and 32"):
        opened([("a", 0, 16, "sram", 0, 0, 0, 3), ("a", 15, 16, "sram", 32, 0, 0, 3)])
    opened([("a", 0, 15, "sram", 0, 0, 0, 3), ("a", 15, 16, "sram", 32, 0, 0, 3)])


def test_scattered_operands_where_the_target_allows_them() -> None:
    rows: Rows = [("a", 0, 4, "sram", 32, 0, 0, 3), ("a", 4, 16, "sram", 0, 0, 0, 3)]
    arena = opened(rows)
    put(arena, 0, "a")
    assert arena.read(0, 0, 16, 0, "op", [(0, 16, "a", 0)]).tolist() == numbered(16).tolist()
    whole = opened(rows, WHOLE)
    for use in (
        lambda: put(whole, 0, "a"),
        lambda: whole.read(0, 0, 16, 0, "op", [(0, 16, "a", 0)]),
    ):
        with pytest.raises(VerificationError, match="scattered over 2 places"):
            use()
    together = opened([("a", 0, 4, "sram", 0, 0, 0, 3), ("a", 4, 16, "sram", 4, 0, 0, 3)], WHOLE)
    put(together, 0, "a")


@pytest.mark.parametrize(
    "target",
    [
        FASTEST,
        replace(THREE, tiers=(THREE.tiers[0], replace(THREE.tiers[1], addressable=False))),
    ],
)
def test_operands_out_of_reach_of_the_compute_unit(target: Target) -> None:
    arena = opened([("a", 0, 16, "dram", 0, 0, 0, 3)], target)
    uses: tuple[Callable[[], object], ...] = (
        lambda: put(arena, 0, "a"),
        lambda: arena.read(0, 0, 16, 0, "op", [(0, 16, "a", 0)]),
    )
    for use in uses:
        with pytest.raises(VerificationError, match="in dram, where the compute unit cannot reach"):
            use()


def test_read_only_memory_is_written_by_nobody() -> None:
    target = replace(THREE, homes=THREE.homes | {"activation": "flash"})  # type: ignore[operator]
    arena = opened([("a", 0, 16, "flash", 0, 0, 0, 3), ("b", 0, 16, "dram", 0, 0, 0, 3)], target)
    with pytest.raises(VerificationError, match="flash, which is read-only"):
        put(arena, 0, "a")
    put(arena, 1, "b")
    with pytest.raises(VerificationError, match="flash is read-only"):
        arena.copy(("dram", 0), ("flash", 0), 16, 0, "DMA")


def test_scratch_destroys_what_it_uses() -> None:
    arena = opened(IN_SRAM)
    put(arena, 0, "a")
    arena.scribble(0, 4, 8, 0, "op")
    assert arena.owners["sram"].read(8, 24) == [(0, 4, "a", 0), (8, 16, "a", 8)]
    assert arena.memory["sram"][12:16].tolist() == [POISON] * 4


@pytest.mark.parametrize(
    "changes",
    [
        {"buffer": -1},
        {"buffer": 2},
        {"start_byte": -1},
        {"end_byte": 17},
        {"start_byte": 16},
        {"offset": -4},
        {"start": -1},
        {"end": 4},
        {"end": 0},
        {"start": 1},
        {"tier": "cellar"},
        {"offset": 60},
    ],
)
def test_impossible_residencies_are_refused_at_once(changes: dict[str, int | str]) -> None:
    made: Plan = plan(ANY, MADE, IN_SRAM)
    broken: Residency = replace(made.residencies[0], **changes)  # type: ignore[arg-type]
    with pytest.raises(VerificationError, match=r"impossible residency|lacks|is used up to"):
        Arena(replace(made, residencies=(broken,)))


@pytest.mark.parametrize("name", PLANS)
def test_memories_of_legal_plans_can_be_made(name: str) -> None:
    arena = Arena(PLANS[name])
    for tier in PLANS[name].target.tiers:
        assert len(arena.memory[tier.name]) <= tier.capacity_bytes
