"""The cost model against figures worked out by hand (see HAND: sram 100/50 B/s, dram 10/5)."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.changes import with_program, with_target
from tests.support.frozen import changeable
from tests.support.targets import (
    HAND,
    Op,
    make_plan,
    make_problem,
    random_plan,
    random_problem,
    seeded,
)
from ullage.compiler.common.errors import UsageError, VerificationError
from ullage.compiler.ir.graph import Gemm
from ullage.compiler.ir.plan import Plan, Residency, Transfer
from ullage.compiler.ir.problem import Blend, Problem
from ullage.compiler.ir.target import Compute, Link, Systolic, Tier
from ullage.hwmodels import cost
from ullage.hwmodels.bounds import order_free_bound
from ullage.hwmodels.cost import (
    bottleneck,
    compute_seconds,
    mac_energy_j,
    objective_value,
    overhead_seconds,
    score,
    value_of,
)
from ullage.hwmodels.replay.replay import simulate
from ullage.hwmodels.traffic import operand_charges

CHAIN_BUFFERS = {"x": ("input", 40), "a": ("activation", 20), "y": ("output", 10)}
CHAIN = make_problem(
    CHAIN_BUFFERS,
    [Op("A", ("x",), ("a",), macs=40), Op("B", ("a",), ("y",), macs=20)],
)
CHAIN_SLOW = [("x", "dram", 0, 0, 2), ("a", "dram", 40, 1, 3), ("y", "dram", 60, 2, 4)]

WEIGHTED_BUFFERS = {
    "x": ("input", 10),
    "w": ("weight", 20),
    "a": ("activation", 10),
    "y": ("output", 10),
}


def test_everything_in_slow_memory() -> None:
    # A: 40 B read / 10 + 20 B written / 5 = 8 s over 2 s of MACs; B: 20 / 10 + 10 / 5 = 4 s.
    found = score(make_plan(CHAIN, CHAIN_SLOW))
    assert found.elapsed_s.tolist() == [0, 8, 4, 0]
    assert found.latency_s == 12
    assert found.compute_s == 3
    assert found.tier_seconds.tolist() == [[0, 0, 0, 0], [0, 8, 4, 0]]
    # 60 B read at 10 J, 30 B written at 20 J, 60 MACs at 0.5 J.
    assert found.energy_j == 600 + 600 + 30
    assert found.traffic_bytes == {"dram->compute": 60, "compute->dram": 30}
    # x is loaded (40) and y stored (10) whatever the plan; a (20 out, 20 in) is not compulsory.
    assert (found.compulsory_bytes, found.noncompulsory_bytes) == (50, 40)
    assert found.peak_bytes == {"sram": 0, "dram": 70}
    assert found.load_bytes == {"sram": 0, "dram": 60}  # x and a in step 1
    assert bottleneck(found) == ("idle", "dram", "dram", "idle")


@pytest.mark.parametrize(
    ("overlap", "elapsed", "bound"),
    [
        # A: 2 s of MACs, 8 s of operands; B: 1 s and 4 s. In sram operands take 0.8 s and 0.4 s.
        (1.0, [0, 8, 4, 0], 3.0),
        (0.5, [0, 8, 4, 0], 3.0 + 0.6),
        (0.1, [0, 9.2, 4.6, 0], 3.0 + 0.9 * 1.2),
        (0.0, [0, 10, 5, 0], 3.0 + 1.2),
    ],
)
def test_a_core_that_loads_its_operands_computes_the_less(
    overlap: float, elapsed: list[float], bound: float
) -> None:
    target = replace(HAND, compute=replace(HAND.compute, overlap=overlap))
    plan = make_plan(CHAIN, CHAIN_SLOW, target=target)
    found = score(plan)
    assert found.elapsed_s == pytest.approx(elapsed)
    assert found.compute_s == 3
    assert found.exposed_seconds.sum(axis=1) == pytest.approx([0, 12 * (1 - overlap)])
    assert bottleneck(found) == ("idle", "dram", "dram", "idle")
    assert simulate(plan).latency_s == pytest.approx(found.latency_s)
    # The bound of the reads and writes at home is above that of the unit.
    assert order_free_bound(plan.problem).value == pytest.approx(max(bound, 4.0 + 2.0))
    busy = make_problem(CHAIN_BUFFERS, [Op("A", ("x",), ("y",), macs=400)]).on(target)
    near = make_plan(busy, [("x", "dram", 0, 0, 2), ("y", "dram", 40, 1, 3)], target=target)
    assert bottleneck(score(near))[1] == "compute"  # 20 s of MACs, 6 s of operands
    assert score(near).elapsed_s[1] == pytest.approx(20 + 6 * (1 - overlap))
    assert order_free_bound(busy).value == pytest.approx(20 + 0.6 * (1 - overlap))


@pytest.mark.parametrize(
    ("macs", "moves", "elapsed"),
    [
        # A computes 5 s; meanwhile dram serves x (1 s) and the prefetch of w (2 s): hidden.
        (100, {1: 20}, [0, 5, 2, 0]),
        # A computes 1 s: dram's 3 s show.
        (20, {1: 20}, [0, 3, 2, 0]),
        # 8 B before A (0.8 s), 12 B beside it: 1 + 1.2 s.
        (20, {0: 8, 1: 12}, [0.8, 2.2, 2, 0]),
    ],
)
def test_prefetch(macs: int, moves: dict[int, int], elapsed: list[float]) -> None:
    problem = make_problem(
        WEIGHTED_BUFFERS,
        [Op("A", ("x",), ("a",), macs=macs), Op("B", ("a", "w"), ("y",), macs=20)],
    )
    found = score(
        make_plan(
            problem,
            [
                ("x", "dram", 0, 0, 2),
                ("w", "dram", 10, 0, 4),
                ("w", "sram", 0, min(moves), 3),
                ("a", "sram", 20, 1, 3),
                ("y", "dram", 30, 2, 4),
            ],
            [("w", "dram", "sram", moves)],
        )
    )
    # B: 30 B from sram 0.3 s, MACs 1 s, y to dram 10 / 5 = 2 s.
    assert found.elapsed_s.tolist() == pytest.approx(elapsed)
    assert found.traffic_bytes == {"dram->compute": 10, "dram->sram": 20, "compute->dram": 10}
    assert (found.compulsory_bytes, found.noncompulsory_bytes) == (40, 0)


def test_spill_and_retrieve() -> None:
    problem = make_problem(
        {
            "x": ("input", 10),
            "a": ("activation", 20),
            "b": ("activation", 10),
            "c": ("activation", 10),
            "y": ("output", 10),
        },
        [
            Op("A", ("x",), ("a",), macs=20),
            Op("B", ("x",), ("b",), macs=20),
            Op("D", ("b",), ("c",), macs=20),
            Op("C", ("a", "c"), ("y",), macs=20),
        ],
    )
    found = score(
        make_plan(
            problem,
            [
                ("x", "dram", 0, 0, 3),
                ("a", "sram", 0, 1, 3),
                ("a", "dram", 10, 2, 4),
                ("a", "sram", 0, 3, 5),
                ("b", "sram", 20, 2, 4),
                ("c", "sram", 50, 3, 5),
                ("y", "dram", 0, 4, 6),
            ],
            [("a", "sram", "dram", {2: 20}), ("a", "dram", "sram", {3: 20})],
        )
    )
    # B: dram reads x 1 s and takes the spill 20 / 5 = 4 s. D: dram gives a back in 2 s.
    assert found.elapsed_s.tolist() == [0, 1, 5, 2, 2, 0]
    assert found.link_seconds.tolist() == [[0, 0, 0, 2, 0, 0], [0, 0, 4, 0, 0, 0]]
    # sram in D: 20 B arrive and 10 B are written / 50 + 10 B read / 100 = 0.7 s.
    assert found.tier_seconds[0].tolist() == pytest.approx([0, 0.4, 0.4, 0.7, 0.3, 0])
    assert found.traffic_bytes == {
        "dram->compute": 20,
        "compute->dram": 10,
        "dram->sram": 20,
        "sram->dram": 20,
    }
    assert (found.compulsory_bytes, found.noncompulsory_bytes) == (20, 50)
    # dram: 40 read, 30 written; sram: 60 read, 60 written; links 20 at 3 J, 20 at 4 J; 80 MACs.
    assert found.energy_j == pytest.approx(400 + 600 + 60 + 120 + 60 + 80 + 40)
    assert found.peak_bytes["sram"] == 60  # c ends there
    assert found.load_bytes["sram"] == 40  # a, b and c in step 3
    assert [objective_value(found, o) for o in ("latency", "traffic", "energy", "peak")] == [
        10,
        50,
        found.energy_j,
        60,
    ]


def sliced_plan(accessed: int, size: int, prefix: int) -> Plan:
    """One operator reads x, whose first bytes were fetched to sram in step 0, and writes y."""
    problem = make_problem(
        {"x": ("input", size), "y": ("output", 10)},
        [Op("A", (("x", 0, size, accessed),), ("y",), macs=20)],
    )
    return Plan(
        problem=problem,
        residencies=(
            Residency(0, 0, size, "dram", 0, 0, 0, 2),
            Residency(0, 0, prefix, "sram", 0, 0, 1, 2),
            Residency(1, 0, 10, "dram", 5000, 1, 1, 3),
        ),
        transfers=(Transfer(0, 0, prefix, "dram", "sram", ((0, prefix),)),),
        solver="hand",
    )


def test_split_operand() -> None:
    found = score(sliced_plan(accessed=40, size=40, prefix=10))
    # 10 B come in 1 s; then 30 B from dram 3 s + y 2 s, beside 10 B from sram 0.1 s.
    assert found.elapsed_s.tolist() == [1, 5, 0]
    assert found.tier_seconds[0].tolist() == pytest.approx([0.2, 0.1, 0])
    assert found.noncompulsory_bytes == 0


def test_gather_is_charged_what_it_accesses() -> None:
    found = score(sliced_plan(accessed=50, size=1000, prefix=200))
    # 200 of 1000 B are in sram: 10 of the 50 accessed bytes there, 40 in dram.
    assert found.elapsed_s.tolist() == [20, 6, 0]
    assert found.tier_seconds[0].tolist() == pytest.approx([4, 0.1, 0])
    assert found.traffic_bytes == {"dram->compute": 40, "compute->dram": 10, "dram->sram": 200}
    # 5 % of every byte is the first load: 50 B; y adds 10 B.
    assert (found.compulsory_bytes, found.noncompulsory_bytes) == (60, 190)


def test_in_place_reads_and_writes_the_same_bytes() -> None:
    problem = make_problem(
        {"x": ("input", 10), "a": ("activation", 20), "y": ("output", 10)},
        [
            Op("A", ("x",), ("a",)),
            Op("B", ("a",), ("a",), vector=5),
            Op("C", ("a",), ("y",)),
        ],
    )
    found = score(
        make_plan(
            problem,
            [("x", "dram", 0, 0, 2), ("a", "sram", 0, 1, 4), ("y", "dram", 0, 3, 5)],
        )
    )
    # B: 20 / 100 + 20 / 50 = 0.6 s in sram, over 5 / 10 s of vector work.
    assert found.elapsed_s.tolist() == pytest.approx([0, 1, 0.6, 2, 0])
    assert bottleneck(found)[2] == "sram"


def test_vector_work_and_macs_run_side_by_side() -> None:
    problem = make_problem(
        {"x": ("input", 1), "y": ("output", 1)},
        [
            Op("V", ("x",), ("y",), vector=17),
            Op("A", ("x",), ("y",), macs=40, vector=33),
            Op("B", ("x",), ("y",), macs=81, vector=30),
        ],
    )
    seconds, notes = compute_seconds(problem)
    # V: 17 elements at 10/s. A: 2 s of MACs, 3.3 s of elements. B: 4.05 s of MACs, 3 s of them.
    assert seconds.tolist() == [0, 1.7, 3.3, 4.05, 0]
    assert notes == ()


def test_workspace_costs_nothing_and_is_no_peak() -> None:
    scratch = with_program(
        CHAIN, steps=tuple(replace(s, workspace_bytes=8 * bool(s.uses)) for s in CHAIN.steps)
    )
    plain, found = (score(make_plan(problem, CHAIN_SLOW)) for problem in (CHAIN, scratch))
    assert found.latency_s == plain.latency_s
    assert found.energy_j == plain.energy_j
    assert found.peak_bytes == plain.peak_bytes
    assert found.load_bytes == plain.load_bytes


def test_overhead_is_added_to_operators_only() -> None:
    target = replace(HAND, compute=replace(HAND.compute, overhead_s=5.0))
    found = score(make_plan(CHAIN, CHAIN_SLOW, target=target))
    assert found.elapsed_s.tolist() == [0, 13, 9, 0]
    assert found.compute_s == 3 + 2 * 5
    assert bottleneck(found) == ("idle", "dram", "overhead", "idle")  # B: 5 s against 4 s
    target = replace(HAND, compute=replace(HAND.compute, overhead_s=4.0))
    found = score(make_plan(CHAIN, CHAIN_SLOW, target=target))
    assert bottleneck(found)[2] == "dram"  # it must exceed the others to bind


def test_setup_is_charged_where_a_transfer_starts() -> None:
    up = replace(HAND.links[0], setup_s=0.25)
    target = replace(HAND, links=(up, HAND.links[1]))
    # Two operators that touch nothing: only the link is busy.
    problem = make_problem({"x": ("input", 10), "w": ("weight", 20)}, [Op("A"), Op("B")])
    found = score(
        make_plan(
            problem,
            [
                ("x", "dram", 0, 0, 4),
                ("w", "dram", 10, 0, 4),
                ("x", "sram", 0, 0, 4),
                ("w", "sram", 10, 0, 4),
            ],
            [("x", "dram", "sram", {0: 4, 1: 6}), ("w", "dram", "sram", {0: 20})],
            target,
        )
    )
    # Two start in step 0: 2 * 0.25 s + 24 B / 10, against 2.4 s of dram; then 6 B go on.
    assert found.elapsed_s.tolist() == pytest.approx([2.9, 0.6, 0, 0])
    assert bottleneck(found)[0] == "dram->sram"
    assert bottleneck(found)[1] == "dram"


@pytest.mark.parametrize(("dtype", "seconds"), [("int8", 32 / 5), ("int16", 32 / 5 * 2.5)])
def test_systolic_array(dtype: str, seconds: float) -> None:
    # 2 folds of k = 8 over 4 rows, each 2 * 4 + 4 + 6 - 2 = 16 cycles, at 5 Hz; int16 is 2.5 times
    # slower than the fastest type.
    array = Systolic(rows=4, columns=4, clock_hz=5.0)
    rates = {"int8": 20.0, "int16": 8.0}
    target = replace(HAND, compute=replace(HAND.compute, systolic=array, macs_per_s=rates))
    problem = make_problem(
        {}, [Op("A", macs=192, dtype=dtype, gemms=(Gemm(6, 8, 4),)), Op("B", macs=20, dtype=dtype)]
    )
    found, notes = compute_seconds(problem.on(target))
    # B is no matrix product: MACs / rate.
    assert found.tolist() == [0, seconds, 20 / rates[dtype], 0]
    assert len(notes) == 1
    assert notes[0].startswith("operators that are no matrix products (1): costed at the MAC rate")


@pytest.mark.parametrize(
    ("listed", "wanted", "rate", "source", "energy_j", "energy_source"),
    [
        # Wider than the best (int8 is the fastest, float16 takes the least energy): in proportion.
        (
            {"int8": (30.0, 2.0), "float16": (25.0, 1.5)},
            "float32",
            *(30 / 4, "int8's rate / 4", 1.5 * 2, "float16's energy x 2"),
        ),
        ({"int8": (30.0, 2.0)}, "int16", 15, "int8's rate / 2", 4.0, "int8's energy x 2"),
        # As wide as the best, or narrower: as the narrowest, however fast that is.
        (
            {"float32": (10.0, 4.0), "float16": (40.0, 1.0), "int8": (20.0, 2.0)},
            "bfloat16",
            *(20, "int8's rate", 2.0, "int8's energy"),
        ),
        (
            {"float32": (10.0, 4.0), "float16": (40.0, 1.0), "int8": (20.0, 2.0)},
            "int4",
            *(20, "int8's rate", 2.0, "int8's energy"),
        ),
        # Equal figures: the narrower type is the best; equal widths: the first by name.
        (
            {"int16": (30.0, 2.0), "int8": (30.0, 2.0)},
            "float32",
            *(7.5, "int8's rate / 4", 8.0, "int8's energy x 4"),
        ),
        (
            {"uint8": (30.0, 2.0), "int8": (30.0, 2.0)},
            "bool",
            *(30, "int8's rate", 2.0, "int8's energy"),
        ),
    ],
)
def test_an_unlisted_type_is_costed_by_a_listed_one(
    listed: dict[str, tuple[float, float]],
    wanted: str,
    rate: float,
    source: str,
    energy_j: float,
    energy_source: str,
) -> None:
    compute = Compute(
        {dtype: figures[0] for dtype, figures in listed.items()},
        1.0,
        0.0,
        {dtype: figures[1] for dtype, figures in listed.items()},
    )
    problem = make_problem({}, [Op("A", macs=7, dtype=wanted), Op("B", macs=1, dtype=wanted)])
    problem = problem.on(replace(HAND, compute=compute))
    seconds, notes = compute_seconds(problem)
    assert seconds.tolist() == pytest.approx([0, 7 / rate, 1 / rate, 0])
    remedy = (
        "; to plan the model as int8: --dtype int8"
        if "float" in wanted and "rate / " in source
        else ""
    )
    assert notes == (f"no {wanted} MAC rate on hand: costed at {source}{remedy}",)
    joules, notes = mac_energy_j(problem)
    assert joules == 8 * energy_j
    assert notes == (f"no {wanted} MAC energy on hand: costed at {energy_source}",)


def test_energy_of_an_unlisted_type_is_noted() -> None:
    problem = make_problem({}, [Op("A", macs=10, dtype="float32")])
    found = score(make_plan(problem, []))
    assert found.energy_j == 10 * 0.5 * 4
    assert "no float32 MAC energy on hand: costed at int8's energy x 4" in found.notes
    unknown = replace(HAND, compute=replace(HAND.compute, energy_j_per_mac=None))
    found = score(make_plan(problem, [], target=unknown))
    assert found.energy_j == 0
    assert "no MAC energy on hand: energy is that of memory alone" in found.notes


@pytest.mark.parametrize(
    ("read_j", "write_j", "macs", "noted"),
    [(1.0, 0.0, 5, True), (0.0, 2.0, 5, True), (0.0, 0.0, 5, False), (1.0, 2.0, 0, False)],
)
def test_missing_mac_energy_is_noted_where_memory_has_some(
    read_j: float, write_j: float, macs: int, *, noted: bool
) -> None:
    tiers = [
        replace(tier, read_energy_j_per_byte=read_j, write_energy_j_per_byte=write_j)
        for tier in HAND.tiers
    ]
    compute = replace(HAND.compute, energy_j_per_mac=None)
    problem = make_problem({}, [Op("A", macs=macs)])
    joules, notes = mac_energy_j(problem.on(replace(HAND, tiers=tuple(tiers), compute=compute)))
    assert joules == 0
    assert bool(notes) is noted


@pytest.mark.parametrize("kind", ["Add", "scan"])  # before and behind "dma" in the alphabet
def test_only_steps_of_dma_are_free(kind: str) -> None:
    named = with_program(
        CHAIN, steps=tuple(replace(s, kind=kind if s.uses else s.kind) for s in CHAIN.steps)
    )
    target = replace(HAND, compute=replace(HAND.compute, overhead_s=0.25))
    found = score(make_plan(named, CHAIN_SLOW, target=target))
    assert found.compute_by_step.tolist() == [0, 2, 1, 0]
    assert found.overhead_by_step.tolist() == [0, 0.25, 0.25, 0]


def test_a_rounded_total_is_never_below_the_compulsory_bytes() -> None:
    """Half a byte is read at home and half a byte written: each rounds to 0, their sum to 1."""
    problem = make_problem(
        {"x": ("input", 2), "y": ("output", 2)},
        [Op("A", (), (("x", 0, 1, 1),)), Op("B", (("x", 0, 2, 1),), (("y", 0, 2, 1),))],
    )
    x, y = problem.buffers
    problem = with_program(problem, buffers=(x, replace(y, outputs=((0, 1),))))
    found = score(
        Plan(
            problem=problem,
            residencies=(
                Residency(0, 0, 2, "dram", 0, 0, 0, 3),
                Residency(0, 0, 1, "sram", 0, 1, 1, 3),
                Residency(1, 0, 1, "dram", 2, 2, 2, 4),
                Residency(1, 1, 2, "sram", 2, 2, 2, 3),
            ),
            transfers=(),
            solver="hand",
        )
    )
    assert found.traffic_bytes == {}
    assert (found.compulsory_bytes, found.noncompulsory_bytes) == (1, 0)


@pytest.mark.parametrize("figure", [overhead_seconds, compute_seconds, mac_energy_j])
def test_figures_of_a_problem_are_worked_out_once(figure: Callable[[Problem], object]) -> None:
    assert figure(CHAIN) is figure(CHAIN)


def test_traffic_names_both_ends_and_leaves_the_fastest_tier_out() -> None:
    flash = Tier("flash", 1000, 2.0, 0.0, 1, 5.0, 0.0, read_only=True)
    target = replace(
        HAND,
        tiers=(*HAND.tiers, flash),
        links=(*HAND.links, Link("flash", "dram", 2.0), Link("flash", "sram", 1.0)),
        homes={**HAND.homes, "weight": "flash", "input": "sram"},
    )
    problem = make_problem(WEIGHTED_BUFFERS, [Op("A", ("x", "w"), ("a",)), Op("B", ("a",), ("y",))])
    found = score(
        make_plan(
            problem,
            [
                ("x", "sram", 0, 0, 2),
                ("w", "flash", 0, 0, 4),
                ("w", "dram", 0, 0, 3),
                ("a", "sram", 10, 1, 3),
                ("y", "dram", 20, 2, 4),
            ],
            [("w", "flash", "dram", {0: 20})],
            target,
        )
    )
    # x is at home in the fastest tier. flash: 20 / 2 = 10 s; A reads w from dram in 2 s.
    assert found.elapsed_s.tolist() == [10, 2, 2, 0]
    assert found.traffic_bytes == {"flash->dram": 20, "dram->compute": 20, "compute->dram": 10}
    assert (found.compulsory_bytes, found.noncompulsory_bytes) == (30, 20)


def test_an_operand_nowhere_is_an_error() -> None:
    plan = make_plan(CHAIN, [("x", "dram", 0, 0, 2), ("a", "sram", 0, 1, 2), CHAIN_SLOW[2]])
    with pytest.raises(VerificationError, match=r"step 2 \(B\) reads bytes \[0, 20\) of a"):
        score(plan)


def test_a_missing_link_and_a_read_only_tier_are_errors() -> None:
    moved = make_plan(
        CHAIN, [*CHAIN_SLOW, ("x", "sram", 0, 0, 2)], [("x", "dram", "sram", {0: 40})]
    )
    with pytest.raises(VerificationError, match="needs a link 'dram->sram' from dram to sram"):
        score(with_target(moved, replace(HAND, links=HAND.links[1:])))
    sealed = replace(HAND, tiers=(HAND.tiers[0], replace(HAND.tiers[1], read_only=True)))
    with pytest.raises(VerificationError, match="dram, which is read-only"):
        score(make_plan(CHAIN, CHAIN_SLOW, target=sealed))


def test_a_blend_adds_its_weight_times_the_second_objective() -> None:
    plan = make_plan(CHAIN, CHAIN_SLOW)  # 12 s, 40 bytes that are not compulsory
    assert value_of(plan) == 12
    blended = replace(plan, problem=replace(plan.problem, blend=Blend("traffic", 0.25)))
    assert value_of(blended) == 12 + 0.25 * 40


def test_an_unknown_objective_and_a_target_without_rates_are_errors() -> None:
    found = score(make_plan(CHAIN, CHAIN_SLOW))
    for objective in ("", "Latency", "energies", "latency ", "peaks", "speed", "traffics"):
        with pytest.raises(UsageError, match=f"unknown objective '{objective}'"):
            objective_value(found, objective)
    with pytest.raises(UsageError, match="A needs a MAC rate for int8, hand lists none"):
        compute_seconds(CHAIN.on(replace(HAND, compute=Compute({}, 1.0))))
    with pytest.raises(UsageError, match="A needs a MAC rate for string, hand lists int8, int16"):
        compute_seconds(make_problem({}, [Op("A", macs=1, dtype="string")]))


def twin_operand_bytes(plan: Plan) -> dict[tuple[int, int, bool], float]:
    """Bytes by (tier, step, write), byte by byte."""
    found: dict[tuple[int, int, bool], float] = defaultdict(float)
    for t, step in enumerate(plan.problem.steps):
        for use in step.uses:
            for byte in range(use.start_byte, use.end_byte):
                tier = min(
                    plan.target.tier_index[r.tier]
                    for r in plan.residencies
                    if r.buffer == use.buffer
                    and r.start_byte <= byte < r.end_byte
                    and r.ready <= t < r.end
                )
                share = use.accessed_bytes / (use.end_byte - use.start_byte)
                found[tier, t, use.write] += share
    return found


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_random_plans_agree_with_a_byte_by_byte_twin(seed: int) -> None:
    rng = seeded(seed)
    plan = random_plan(random_problem(rng, rng.randint(1, 8)), rng)
    twin = twin_operand_bytes(plan)
    pieces = operand_charges(plan)
    charged: dict[tuple[int, int, bool], float] = defaultdict(float)
    for row in zip(pieces.tier, pieces.step, pieces.write, pieces.charged_bytes, strict=True):
        charged[int(row[0]), int(row[1]), bool(row[2])] += float(row[3])
    assert charged == pytest.approx(twin)

    found = score(plan)
    steps = len(plan.problem.steps)
    busy = np.zeros((2, steps))
    for (m, t, write), size in twin.items():
        tier = HAND.tiers[m]
        busy[m, t] += size / (tier.write_bytes_per_s if write else tier.read_bytes_per_s)
    for transfer in plan.transfers:
        for t, size in transfer.moves:
            source, to = HAND.tier(transfer.source), HAND.tier(transfer.destination)
            busy[HAND.tier_index[source.name], t] += size / source.read_bytes_per_s
            busy[HAND.tier_index[to.name], t] += size / to.write_bytes_per_s
    assert found.tier_seconds == pytest.approx(busy)
    # The links of HAND are no slower than dram, so tiers and computation say it all.
    assert found.elapsed_s == pytest.approx(np.maximum(busy.max(axis=0), found.compute_by_step))
    live = [
        sum(
            r.end_byte - r.start_byte
            for r in plan.residencies
            if r.tier == "sram" and r.start <= t < r.end
        )
        for t in range(steps)
    ]
    assert found.load_bytes["sram"] == max(live)
    assert found.load_bytes["sram"] <= found.peak_bytes["sram"]
    total = found.compulsory_bytes + found.noncompulsory_bytes
    assert total == pytest.approx(sum(found.traffic_bytes.values()), abs=1)


def test_scores_are_never_changed() -> None:
    assert changeable(cost) == []


def test_a_score_is_shown_on_one_line_without_its_arrays() -> None:
    shown = repr(score(make_plan(CHAIN, CHAIN_SLOW)))
    assert "latency_s=12.0, compute_s=3.0, energy_j=1230.0" in shown
    assert "array" not in shown
    assert "\n" not in shown
