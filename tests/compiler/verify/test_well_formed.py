"""Every field of a plan at the edges of what it may be: one fault for each step beyond."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.support.changes import with_program, with_target
from tests.support.frozen import changeable
from tests.support.plans import KINDS, PLANS
from ullage.compiler.common.ranges import (
    MAX_CELLS,
    MAX_COUNT,
    MAX_FIGURE,
    MAX_INDEX,
    MAX_JOULES,
    MAX_RATE,
    MAX_SECONDS,
    MIN_RATE,
)
from ullage.compiler.ir.graph import Gemm, LoopNest
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.program import DMA_STEP, Buffer, Use
from ullage.compiler.ir.target import KernelCycles, Link, MacBlocks, OutputStage, Padding, Systolic
from ullage.compiler.verify import well_formed
from ullage.compiler.verify.problem_rules import find_problem_faults
from ullage.compiler.verify.target_form import BLOCK_COUNTS, BLOCK_CYCLES
from ullage.compiler.verify.verifier import find_violations
from ullage.compiler.verify.well_formed import find_malformed

Path = tuple[str | int, ...]
NAN, INF = float("nan"), float("inf")


def changed(item: Any, path: Path, value: object) -> Any:
    """A plan, or a part of one, in which something has another value."""
    if not path:
        return value
    key, *rest = path
    if isinstance(item, tuple):
        assert isinstance(key, int)
        return (*item[:key], changed(item[key], tuple(rest), value), *item[key + 1 :])
    if isinstance(item, Mapping):
        return {**item, key: changed(item.get(key), tuple(rest), value)}
    return replace(item, **{str(key): changed(getattr(item, str(key)), tuple(rest), value)})


def faults(made: Plan) -> list[str]:
    return [violation.message for violation in find_malformed(made)]


# prefetch: buffers x (8 bytes), w (32), a (8), y (8, output); 4 steps; x, w, a, y in dram or sram.
BASE = PLANS["prefetch"]
TARGET: Path = ("problem", "target")
TIER: Path = (*TARGET, "tiers", 1)
LINK: Path = (*TARGET, "links", 1)
COMPUTE: Path = (*TARGET, "compute")
NEST = LoopNest("matmul", "MatMul")
GRID: Path = (*COMPUTE, "systolic")
PROGRAM: Path = ("problem", "program")
BUFFER: Path = (*PROGRAM, "buffers", 3)
STEP: Path = (*PROGRAM, "steps", 1)
USE: Path = (*STEP, "uses", 0)
ITEM: Path = ("residencies", 2)  # w [0, 16) in sram, ready in step 2 of [0, 3)
MOVE: Path = ("transfers", 0)
UP, DOWN = BASE.target.links
HOMES = dict(BASE.target.homes)
GRID_OF = Systolic(4, 4, 1e9)
BLOCKS_OF = MacBlocks(1e9, 1, 2, 2, 8, 8, 4, 8, 100, 128, 0.0, 0.25, {"default": 0.5})
KERNELS_OF = KernelCycles(1e8, {"int8": {"default": 1.5}}, {"int8": {"output": 2.0}})
STAGE_OF = OutputStage(1e9, ("Relu",))

FLAG = ((False, True), (0, 1, None))
COUNT = ((0, 1, MAX_COUNT), (-1, MAX_COUNT + 1, True, 1.0, "1", None, 2**300))
POSITIVE = ((1, MAX_COUNT), (0, MAX_COUNT + 1, True, None))
RATE = ((MIN_RATE, 7, MAX_RATE), (0, -1.0, 0.9e-3, 1.1e24, NAN, INF, 10**400, True, "1", None))
JOULES = ((0, 0.5, MAX_JOULES), (-1e-9, 1.1e9, NAN, INF, True, "1", None))
SECONDS = ((0, 0.5, MAX_SECONDS), (-1e-9, 1.1e9, NAN, -INF, False, "1", None))
BOUND = ((None, 0, 7.5, MAX_FIGURE), (-1.0, 1.1e300, NAN, INF, 10**400, "1", True))
CELLS = ((1, MAX_CELLS), (0, MAX_CELLS + 1, 1.0))
TEXT = (("other", "\U0001f600"), (1, None, ("x",), "half \ud83d"))

EDGES: list[tuple[Path, str, tuple[tuple[object, ...], tuple[object, ...]]]] = [
    (("problem", "objective"), "the objective", (
        ("latency", "traffic", "energy", "peak"), ("beauty", "", None, ["peak"]))),
    (("lower_bound",), "its lower bound", BOUND),
    (("claimed_bound",), "its claimed bound", BOUND),
    ((*TARGET, "name"), "the name of the target", TEXT),
    ((*TARGET, "tiers"), "a tuple of at least one Tier", ((), ((), list(BASE.target.tiers), None))),
    ((*TIER, "capacity_bytes"), "capacity_bytes", COUNT),
    ((*TIER, "alignment_bytes"), "alignment_bytes", POSITIVE),
    ((*TIER, "addressable"), "addressable", FLAG),
    ((*TIER, "read_only"), "read_only", FLAG),
    ((*TIER, "read_bytes_per_s"), "", ((MIN_RATE, 16e9), (16.1e9, 0.9e-3, 0, NAN, "1"))),
    ((*TARGET, "tiers", 0, "read_bytes_per_s"), "", ((4e9, MAX_RATE), (3.9e9, 1.1e24, INF))),
    ((*TIER, "write_bytes_per_s"), "write_bytes_per_s", RATE),
    ((*TIER, "read_energy_j_per_byte"), "read_energy_j_per_byte", JOULES),
    ((*TIER, "write_energy_j_per_byte"), "write_energy_j_per_byte", JOULES),
    ((*TARGET, "links"), "links", (((), (UP, DOWN, replace(UP, name="2"))), (
        (UP, DOWN, UP), (UP, DOWN, Link("dram", "nvm", 1.0)), (UP, DOWN, Link("nvm", "dram", 1.0)),
        [UP, DOWN], (UP, "x"), None))),
    ((*LINK, "name"), "links need distinct names", (("other",), (1, ("x",), "dram->sram"))),
    ((*LINK, "destination"), "both ends are 'sram'", ((), ("sram",))),
    ((*LINK, "bandwidth_bytes_per_s"), "bandwidth_bytes_per_s", RATE),
    ((*LINK, "setup_s"), "setup_s", SECONDS),
    ((*LINK, "energy_j_per_byte"), "energy_j_per_byte", JOULES),
    ((*TARGET, "homes"), "homes", ((HOMES,), (
        {**HOMES, "scratch": "dram"}, {**HOMES, "weight": "nvm"}, {}, list(HOMES), None))),
    *(((*TARGET, "homes", kind), "homes", (("dram", "sram"), ("nvm", None))) for kind in KINDS),
    ((*TARGET, "operand_access"), "operand_access", (("any", "fastest"), ("an", None, ["any"]))),
    ((*TARGET, "weights_in_fastest"), "weights_in_fastest", FLAG),
    ((*TARGET, "split_operands"), "split_operands", FLAG),
    ((*TARGET, "fuse_pairs"), "fuse_pairs", FLAG),
    ((*TARGET, "bias_dtype"), "bias_dtype", ((None, "int32"), ("int7", 4, ["int32"]))),
    ((*TARGET, "scale_dtype"), "scale_dtype", ((None, "uint32"), ("int7", 4, ["int32"]))),
    ((*TARGET, "padding"), "padding must be a Padding", ((Padding(16, 8),), (None, 16, (1, 1)))),
    ((*TARGET, "padding", "channels_multiple"), "padding.channels_multiple", CELLS),
    ((*TARGET, "padding", "columns_multiple"), "padding.columns_multiple", CELLS),
    ((*TARGET, "weight_ratio"), "weight_ratio", ((0.5, 1, 4.0), (0, 4.5, NAN, True, "1", None))),
    ((*TARGET, "slice_granularity_bytes"), "slice_granularity_bytes", COUNT),
    ((*TARGET, "compute"), "the target needs a Compute", ((), (None, 1))),
    ((*COMPUTE, "overlap"), "overlap", ((0.0, 0.5, 1), (-0.1, 1.1, NAN, True, "1", None))),
    ((*COMPUTE, "macs_per_s"), "macs_per_s", (
        ({"int8": MIN_RATE}, {"int8": 1.0, "int4": MAX_RATE}), ({}, {"int8": 0.0}, [], None))),
    ((*COMPUTE, "macs_per_s"), "unknown data type", ((), ({"float31": 1.0}, {1: 1.0}))),
    ((*COMPUTE, "energy_j_per_mac"), "energy_j_per_mac", (
        (None, {}, {"int8": 0.0}, {"int8": MAX_JOULES}), ({"int8": -1.0}, {"int8": 1.1e9}, [], 1))),
    ((*COMPUTE, "energy_j_per_mac"), "unknown data type", ((), ({"float31": 1.0},))),
    ((*COMPUTE, "vector_elements_per_s"), "vector_elements_per_s", RATE),
    ((*COMPUTE, "overhead_s"), "overhead_s", SECONDS),
    (GRID, "systolic", ((None, GRID_OF), (1, "x"))),
    *((GRID, field, (tuple(replace(GRID_OF, **{field: v}) for v in CELLS[0]),
        tuple(replace(GRID_OF, **{field: v}) for v in CELLS[1])))
      for field in ("rows", "columns", "arrays")),
    (GRID, "clock_hz", ((), tuple(replace(GRID_OF, clock_hz=hz) for hz in (0, 1.1e24)))),
    ((*COMPUTE, "mac_blocks"), "mac_blocks", ((None, BLOCKS_OF), (1, "x"))),
    *(((*COMPUTE, "mac_blocks"), f"{field} of mac_blocks", (
        tuple(replace(BLOCKS_OF, **{field: v}) for v in CELLS[0]),
        tuple(replace(BLOCKS_OF, **{field: v}) for v in CELLS[1])))
      for field in BLOCK_COUNTS),
    ((*COMPUTE, "mac_blocks"), "clock_hz", ((), (replace(BLOCKS_OF, clock_hz=0),))),
    ((*COMPUTE, "mac_blocks"), "command_cycles", (
        (replace(BLOCKS_OF, command_cycles=7),), (replace(BLOCKS_OF, command_cycles=-1.0),))),
    *(((*COMPUTE, "mac_blocks"), field, (
        (replace(BLOCKS_OF, **{field: 0.5}),), (replace(BLOCKS_OF, **{field: -1.0}),)))
        for field in BLOCK_CYCLES),
    ((*COMPUTE, "mac_blocks"), "command_share", (
        (replace(BLOCKS_OF, command_share=1), replace(BLOCKS_OF, command_share=1e-6)),
        tuple(replace(BLOCKS_OF, command_share=v) for v in (0, 1.5, None)))),
    ((*COMPUTE, "mac_blocks"), "output_cycles", (
        (replace(BLOCKS_OF, output_cycles={}),),
        tuple(replace(BLOCKS_OF, output_cycles=v) for v in (None, [], {"Add": -1}, {1: 1.0})))),
    ((*COMPUTE, "kernel_cycles"), "kernel_cycles", (
        (None, KERNELS_OF), (1, "x", *(replace(KERNELS_OF, macs=v) for v in (
            None, {"int7": {}}, {"int8": None}, {"int8": {"Conv": 1.1e9}}))))),
    ((*COMPUTE, "kernel_cycles"), "clock_hz", ((), (replace(KERNELS_OF, clock_hz=NAN),))),
    ((*COMPUTE, "efficiency"), "efficiency", (
        (None, {}, {"matmul": 1e-6, "depthwise": 1}), (1, [], {"matmul": 0.0}, {"matmul": 1.5}))),
    ((*COMPUTE, "output_stage"), "output_stage", ((None, STAGE_OF), (1, "x"))),
    ((*COMPUTE, "output_stage"), "of the output stage", (
        (), (replace(STAGE_OF, elements_per_s=0), replace(STAGE_OF, operators=["Relu"])))),
    (GRID, "double_buffered", (
        (replace(GRID_OF, double_buffered=True),), (replace(GRID_OF, double_buffered=1),))),
    *((GRID, field, (tuple(replace(GRID_OF, **{field: v}) for v in (0, 1, 16)),
        tuple(replace(GRID_OF, **{field: v}) for v in (-1, 1.5, None, True))))
        for field in ("load_cycles", "image_lines")),
    (GRID, "unknown rows_hold or groups", (
        (replace(GRID_OF, rows_hold="channels", groups="serial"),),
        (replace(GRID_OF, rows_hold="rows"), replace(GRID_OF, groups=None)))),
    ((*PROGRAM, "steady_state"), "steady_state", FLAG),
    ((*PROGRAM, "buffers"), "a tuple of Buffer", ((), (None, list(BASE.problem.buffers), (1,)))),
    ((*BUFFER, "size_bytes"), "size_bytes", ((8, 9, MAX_COUNT - 48), (-1, MAX_COUNT + 1, True))),
    ((*BUFFER, "size_bytes"), "range", ((), (7,))),
    ((*BUFFER, "row_bytes"), "row_bytes", POSITIVE),
    ((*BUFFER, "name"), "name", TEXT),
    ((*BUFFER, "kind"), "kind", ((*KINDS,), ("outputs", "", None))),
    ((*BUFFER, "values"), "values must be a tuple of PlacedValue", (((),), (None, [], (1,)))),
    ((*BUFFER, "values", 0, "name"), "the name of a value of it must be", TEXT),
    ((*BUFFER, "values", 0, "start_byte"), "range", ((0, 8), (-1, 9, 0.0, None))),
    ((*BUFFER, "values", 0, "end_byte"), "range", ((0, 8), (-1, 9, 8.0, None))),
    ((*BUFFER, "outputs"), "outputs must be a tuple", (
        ((),), (None, [], (1,), ((0,),), ([0, 8],)))),
    ((*BUFFER, "outputs"), "output range", (
        (((0, 8),), ((0, 0), (8, 8))), (((-1, 8),), ((0, 9),), ((5, 4),), ((0, 8), (0, 9))))),
    ((*PROGRAM, "steps"), "a tuple of Step", ((), (None, list(BASE.problem.steps), (1,)))),
    ((*STEP, "name"), "name must be", TEXT),
    ((*STEP, "kind"), "kind must be", TEXT),
    ((*STEP, "operator"), "operator", ((-1, MAX_INDEX), (-2, MAX_INDEX + 1, 1.0, True))),
    ((*STEP, "macs"), "macs", COUNT),
    ((*STEP, "vector_elements"), "vector_elements", (
        (0, MAX_COUNT - 4), (-1, MAX_COUNT + 1, True))),
    ((*STEP, "workspace_bytes"), "workspace_bytes", COUNT),
    ((*STEP, "measured_s"), "measured_s", ((None, 0, 0.5, MAX_SECONDS), (-1.0, 1.1e9, NAN, "1"))),
    ((*STEP, "mac_dtype"), "unknown data type", (
        ("int8", "bool"), ("float31", "", None, ["int8"]))),
    ((*STEP, "gemms"), "tuples of Use and Gemm", (((), (Gemm(1, 1, 1),)), (None, [], (1,)))),
    *(((*STEP, "gemms"), f"{field} of a Gemm", (
        tuple((replace(Gemm(1, 1, 1), **{field: v}),) for v in COUNT[0]),
        tuple((Gemm(1, 1, 1), replace(Gemm(1, 1, 1), **{field: v})) for v in COUNT[1])))
      for field in ("m", "k", "n", "count")),
    ((*STEP, "nests"), "a tuple of LoopNest", (((), (NEST,)), (None, [], (1,)))),
    ((*STEP, "nests"), "kind of a LoopNest", (
        ((replace(NEST, kind="other"),),), ((replace(NEST, kind="dense"),),))),
    ((*STEP, "nests"), "op of a LoopNest", (
        ((replace(NEST, then=("Relu",)),),),
        ((replace(NEST, op=None),), (replace(NEST, then=(1,)),)))),
    ((*STEP, "nests"), "then of a LoopNest", ((), ((replace(NEST, then=["Relu"]),),))),
    *(((*STEP, "nests"), f"{field} of a LoopNest", (
        tuple((replace(NEST, **{field: v}),) for v in COUNT[0]),
        tuple((NEST, replace(NEST, **{field: v})) for v in COUNT[1])))
      for field in ("count", "batch", "height", "width", "channels", "depth", "groups")),
    *(((*STEP, "nests"), f"{field} of a LoopNest", (
        ((replace(NEST, **{field: (2, 3)}),),),
        tuple((replace(NEST, **{field: v}),) for v in ((1,), [1, 1], 3, (1, -1), (1.0, 1)))))
      for field in ("kernel", "stride", "dilation")),
    ((*STEP, "uses"), "tuples of Use and Gemm", (((),), (None, [], (1,)))),
    ((*USE, "buffer"), "buffer", ((0, 3), (-1, 4, True, None))),
    ((*USE, "start_byte"), "byte", ((0, 8), (-1, 9, None))),
    ((*USE, "end_byte"), "byte", ((0, 8), (-1, 9, None))),
    ((*USE, "accessed_bytes"), "accessed_bytes", ((0, 9), (-1, MAX_COUNT + 1, 1.0))),
    ((*USE, "value"), "its value must be", TEXT),
    ((*USE, "write"), "write must be a bool", FLAG),
    (("residencies",), "every residency", (((),), (None, list(BASE.residencies), (1,)))),
    ((*ITEM, "tier"), "tier must be one of sram, dram", (("sram", "dram"), ("nvm", None, []))),
    ((*ITEM, "buffer"), "buffer", ((1,), (-1, 4, None))),
    ((*ITEM, "start_byte"), "byte", ((0, 15), (-1, 16, 17, None))),
    ((*ITEM, "end_byte"), "byte", ((1, 32), (0, 33, None))),
    ((*ITEM, "offset"), "offset", COUNT),
    ((*ITEM, "start"), "", ((0, 2), (-1, 3, None))),
    ((*ITEM, "ready"), "", ((0, 3), (-1, 4, None))),
    ((*ITEM, "end"), "", ((2, 4), (1, 5, None))),
    (("transfers",), "every transfer", (((),), (None, list(BASE.transfers), (1,)))),
    ((*MOVE, "source"), "tiers must be among sram, dram", (("sram", "dram"), ("nvm", None, []))),
    ((*MOVE, "destination"), "tiers must be among sram, dram", (("sram",), ("nvm", None, []))),
    ((*MOVE, "link"), "its link", (("other",), (1, ("x",)))),
    ((*MOVE, "buffer"), "buffer", ((1,), (-1, 4, None))),
    ((*MOVE, "start_byte"), "byte", ((0, 15), (-1, 16, None))),
    ((*MOVE, "end_byte"), "byte", ((1, 32), (0, 33, None))),
    ((*MOVE, "moves"), "tuple of (step, bytes)", (
        ((),), (None, [], (1,), ((0, 1, 2),), ([0, 1],)))),
    ((*MOVE, "moves"), "step of a move", (
        (((0, 6), (3, 10)),), (((-1, 6),), ((4, 6),), ((0, 6), (4, 10)), ((0.0, 16),)))),
    ((*MOVE, "moves"), "bytes of a move", (
        (((0, -1),), ((0, 0),)), (((0, 1.0),), ((0, True),), ((0, 6), (1, None))))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "named", "value"),
    [(path, named, value) for path, named, (_, bad) in EDGES for value in bad],
    ids=repr,
)
def test_a_value_beyond_its_range_is_one_fault(path: Path, named: str, value: object) -> None:
    made = changed(BASE, path, value)
    found = faults(made)
    assert len(found) == 1, found
    assert named in found[0]
    assert len(found[0]) < 300
    (violation,) = find_violations(made)
    assert (violation.rule, violation.step, violation.buffers) == ("malformed", -1, ())


@pytest.mark.parametrize(
    ("path", "value"), [(path, value) for path, _, (good, _) in EDGES for value in good], ids=repr
)
def test_a_value_within_its_range_is_none(path: Path, value: object) -> None:
    assert faults(changed(BASE, path, value)) == []


def test_tiers_need_distinct_names_that_are_texts() -> None:
    for name in ("dram", 7):
        found = faults(changed(BASE, (*TARGET, "tiers", 0, "name"), name))
        assert any("tiers need distinct names" in message for message in found)


def test_a_read_only_tier_has_no_write_rate_or_a_possible_one() -> None:
    path: Path = (*TARGET, "tiers", 2, "write_bytes_per_s")
    for rate in (0, 0.0, MIN_RATE, 5.0):
        assert faults(changed(PLANS["flash"], path, rate)) == []
    for rate in (-1.0, NAN, 0.9e-3, 1.1e24):
        assert len(faults(changed(PLANS["flash"], path, rate))) == 1


@pytest.mark.parametrize(
    ("what", "field", "has"),
    [("MACs", "macs", 0), ("vector elements", "vector_elements", 4)],
)
def test_figures_of_all_steps_can_be_added_up(what: str, field: str, has: int) -> None:
    rest = MAX_COUNT // 2
    half = changed(BASE, (*PROGRAM, "steps", 2, field), MAX_COUNT - rest)
    assert faults(changed(half, (*STEP, field), rest)) == []
    (found,) = faults(changed(half, (*STEP, field), rest + 1))
    assert f"{MAX_COUNT + 1} {what} in all, at most {MAX_COUNT}" in found
    assert getattr(BASE.problem.steps[1], field) == has


def test_bytes_of_all_buffers_and_uses_can_be_added_up() -> None:
    others = sum(b.size_bytes for b in BASE.problem.buffers[:-1])
    for more in (0, 1):
        found = faults(changed(BASE, (*BUFFER, "size_bytes"), MAX_COUNT - others + more))
        assert len(found) == more
        assert all("bytes of buffers in all" in message for message in found)
    others = sum(u.accessed_bytes for s in BASE.problem.steps for u in s.uses) - 8
    for more in (0, 1):
        found = faults(changed(BASE, (*USE, "accessed_bytes"), MAX_COUNT - others + more))
        assert len(found) == more
        assert all("accessed bytes in all" in message for message in found)


def test_a_later_stage_is_not_examined_where_an_earlier_one_has_faults() -> None:
    made = BASE
    for path in (
        ("problem", "objective"),
        (*BUFFER, "kind"),
        (*STEP, "mac_dtype"),
        (*ITEM, "tier"),
    ):
        made = changed(made, path, "nothing")
    for path, value in (
        (("problem", "objective"), "latency"),
        ((*BUFFER, "kind"), "output"),
        ((*STEP, "mac_dtype"), "int8"),
        ((*ITEM, "tier"), "sram"),
    ):
        assert len(faults(made)) == 1
        made = changed(made, path, value)
    assert faults(made) == []
    assert faults(changed(changed(BASE, (*ITEM, "offset"), -1), (*MOVE, "link"), 1)) == [
        "residency 2: offset must be in [0, 4611686018427387904], is int -1"
    ]


def problem_faults(made: Plan) -> list[tuple[int, tuple[str, ...], str]]:
    found = list(find_problem_faults(made.problem))
    assert {item.rule for item in found} <= {"problem"}
    return [(item.step, item.buffers, item.message) for item in found]


def with_steps(made: Plan, changes: dict[int, dict[str, Any]]) -> Plan:
    steps = [replace(step, **changes.get(t, {})) for t, step in enumerate(made.problem.steps)]
    return replace(made, problem=with_program(made.problem, steps=tuple(steps)))


def test_a_problem_begins_and_ends_with_steps_of_dma() -> None:
    assert problem_faults(BASE) == []
    none = replace(BASE, problem=with_program(BASE.problem, steps=()))
    assert [item[:2] for item in problem_faults(none)] == [(0, ())]
    one = replace(BASE, problem=with_program(BASE.problem, steps=BASE.problem.steps[:1]))
    assert problem_faults(one) == []
    for t in (0, 3):
        (found,) = problem_faults(with_steps(BASE, {t: {"kind": "Op", "operator": 3}}))
        assert found[0] == t
        assert "is first or last" in found[2]


@pytest.mark.parametrize(
    "work",
    [
        {"uses": (Use(0, 0, 8, False, 8, "x"),)},
        {"macs": 1},
        {"vector_elements": 1},
        {"workspace_bytes": 1},
    ],
)
def test_a_step_of_dma_has_no_work(work: dict[str, Any]) -> None:
    (found,) = problem_faults(with_steps(BASE, {3: work}))
    assert found[0] == 3
    assert "is DMA-only but has work" in found[2]


def test_operators_are_in_a_range_and_run_once() -> None:
    # 4 steps and 4 values: no more than 8 operators can have made them.
    assert problem_faults(with_steps(BASE, {1: {"operator": 0}, 2: {"operator": 7}})) == []
    for t, operator in ((1, 8), (1, -1), (0, 0), (0, -2), (3, 1)):
        (found,) = problem_faults(with_steps(BASE, {t: {"operator": operator}}))
        assert found[0] == t
        assert "operator must be in" in found[2]
    (found,) = problem_faults(with_steps(BASE, {1: {"operator": 2}}))
    assert found == (2, (), "step 2 (op2): operator 2 has run in step 1")


@pytest.mark.parametrize("kind", ["Add", "scan"])  # before and behind "dma" in the alphabet
def test_every_kind_but_dma_is_an_operators(kind: str) -> None:
    named = with_steps(BASE, {1: {"kind": kind}, 2: {"kind": kind}})
    assert problem_faults(named) == []
    (found,) = problem_faults(with_steps(named, {1: {"operator": 2}}))
    assert "has run in step 1" in found[2]
    for t in (0, 3):
        found = problem_faults(with_steps(BASE, {t: {"kind": kind, "operator": 5}}))
        assert found == [(t, (), f"step {t} (dma) is first or last: must be DMA-only")]


def test_uses_access_no_more_than_their_range_and_write_no_weights() -> None:
    x, a = BASE.problem.steps[1].uses
    reads = {1: {"uses": (replace(x, accessed_bytes=9), a)}}
    assert [item[:2] for item in problem_faults(with_steps(BASE, reads))] == [(1, ("x",))]
    for accessed in (0, 3, 4):  # a gather reads less than its range
        inner = {1: {"uses": (replace(x, start_byte=2, end_byte=6, accessed_bytes=accessed), a)}}
        assert problem_faults(with_steps(BASE, inner)) == []
    inner = {1: {"uses": (replace(x, start_byte=2, end_byte=6, accessed_bytes=5), a)}}
    assert len(problem_faults(with_steps(BASE, inner))) == 1
    writes = {1: {"uses": (x, a, Use(1, 0, 4, True, 4, "w"))}}
    assert [item[:2] for item in problem_faults(with_steps(BASE, writes))] == [(1, ("w",))]


@pytest.mark.parametrize("pause", [0, 1, 2, 3])
def test_steps_of_dma_stand_between_operators_where_the_target_needs_them(pause: int) -> None:
    dma, first, second, last = BASE.problem.steps
    steps = (dma, dma, first, *[dma] * pause, replace(second, operator=5), last)
    made = replace(BASE, problem=with_program(BASE.problem, steps=steps))
    assert problem_faults(made) == []
    found = problem_faults(with_target(made, replace(made.target, operand_access="fastest")))
    assert [item[0] for item in found] == ([3 + pause] if pause < 2 else [])
    assert all(f"there are {pause}" in item[2] for item in found)
    assert dma.kind == DMA_STEP


def test_a_buffer_may_have_no_bytes() -> None:
    buffers = (*BASE.problem.buffers, Buffer("empty", 0, "activation"))
    made = replace(BASE, problem=with_program(BASE.problem, buffers=buffers))
    assert find_violations(made) == []


@pytest.mark.parametrize(
    ("where", "low", "high", "shortest"),
    [
        (USE, "start_byte", "end_byte", 0),
        ((*BUFFER, "values", 0), "start_byte", "end_byte", 0),
        ((*BUFFER, "outputs"), "", "", 0),
        (ITEM, "start_byte", "end_byte", 1),
        (MOVE, "start_byte", "end_byte", 1),
    ],
)
def test_no_range_ends_before_it_begins(where: Path, low: str, high: str, shortest: int) -> None:
    def found(start: int, end: int) -> list[str]:
        if not low:
            return faults(changed(BASE, where, ((start, end),)))
        made = changed(BASE, (*where, low), start)
        return faults(changed(made, (*where, high), end))

    for start in (4, 8):
        for size in (-start, -1, 0):
            expected = f"byte range [{start}, {start + size}) must have at least {shortest} bytes"
            messages = found(start, start + size)
            assert len(messages) == (size < shortest)
            assert all(expected in message for message in messages)
    assert found(7, 8) == []
    (message,) = found(4, -1)
    assert "end byte must be in [0, " in message


def test_violations_are_never_changed() -> None:
    assert changeable(well_formed) == []


@pytest.mark.parametrize("text", ["\ud800", 3])
@pytest.mark.parametrize("field", ["name", "order"])
def test_program_and_order_have_names_that_a_file_holds(field: str, text: object) -> None:
    changed = replace(BASE, problem=with_program(BASE.problem, **{field: text}))
    (fault,) = find_malformed(changed)
    assert "must be" in fault.message


def test_a_unit_has_one_model() -> None:
    compute = replace(BASE.target.compute, systolic=GRID_OF, mac_blocks=BLOCKS_OF)
    plan = with_target(BASE, replace(BASE.target, compute=compute))
    (fault,) = find_malformed(plan)
    assert "systolic, mac_blocks and kernel_cycles exclude one another" in fault.message
