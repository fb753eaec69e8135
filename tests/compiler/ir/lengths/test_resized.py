"""Plans carried out at shorter lengths."""

from dataclasses import replace
from functools import cache

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.decode_models import Decoder, growing_decoder
from ullage.compiler.common.errors import UsageError
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.frontend import prepare
from ullage.compiler.ir.lengths.carry import Pieces
from ullage.compiler.ir.lengths.resized import at_length
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.program import Program
from ullage.compiler.verify.verifier import find_violations, verify
from ullage.hwmodels.cost import value_of

LONGEST = 24


@cache
def model() -> onnx.ModelProto:
    return growing_decoder(Decoder(layers=1, heads=2, kv_heads=2, hidden=32, length="past"))


@cache
def options(target: str, past: int = LONGEST, *, states: bool = True) -> CompileOptions:
    return CompileOptions(
        target=target,
        solver="fluid",
        fast_memory_bytes=12 * 1024,
        states=("auto",) if states else (),
        dims={"past": past},
        schedule="whole",
    )


@cache
def plan_for(target: str) -> Plan:
    return compile_model(model(), options(target)).plan


def program_at(target: str, past: int) -> Program:
    return prepare(model(), options(target, past).frontend).problem.program


@pytest.mark.parametrize("target", ["edge-npu", "edge-npu-spm", "phone-npu-flash", "cosma"])
@pytest.mark.parametrize("past", [1, 2, 7, 16, 23, LONGEST])
def test_a_shorter_length_is_legal_and_takes_no_longer(target: str, past: int) -> None:
    plan = plan_for(target)
    shorter = at_length(plan, program_at(target, past))
    verify(shorter)
    assert value_of(shorter) <= value_of(plan) * (1 + 1e-9)
    for tier in plan.target.tiers:
        tops = [
            max(
                (
                    r.offset + r.end_byte - r.start_byte
                    for r in p.residencies
                    if r.tier == tier.name
                ),
                default=0,
            )
            for p in (shorter, plan)
        ]
        assert tops[0] <= tops[1]


def test_the_planned_length_is_the_plan_itself() -> None:
    plan = plan_for("edge-npu")
    same = at_length(plan, program_at("edge-npu", LONGEST))
    assert same.residencies == plan.residencies
    assert {(t.buffer, t.moves) for t in same.transfers} == {
        (t.buffer, t.moves) for t in plan.transfers
    }


def test_rows_of_a_cache_stay_where_they_are_at_home() -> None:
    """The new row of one length is the last old row of the next one."""
    plan = plan_for("edge-npu")
    places = []
    for past in (5, 6):
        shorter = at_length(plan, program_at("edge-npu", past))
        index = next(b for b, x in enumerate(shorter.problem.buffers) if x.kind == "state")
        row = shorter.problem.buffers[index].size_bytes // (past + 1)
        homes = [r for r in shorter.residencies if (r.buffer, r.tier) == (index, "dram")]
        places.append({r.offset + 5 * row - r.start_byte for r in homes if r.start_byte <= 5 * row})
    assert len(places[0] | places[1]) == 1


def test_states_that_are_not_in_a_row_are_refused() -> None:
    plan = plan_for("edge-npu")
    index = next(b for b, x in enumerate(plan.problem.buffers) if x.kind == "state")
    items = [
        replace(r, offset=r.offset + (1 << 20) if r.buffer == index and r.start_byte else r.offset)
        for r in plan.residencies
    ]
    broken = replace(plan, residencies=tuple(items))
    with pytest.raises(UsageError, match="are not side by side in dram"):
        at_length(broken, program_at("edge-npu", 5))


def test_another_model_is_no_other_length() -> None:
    other = growing_decoder(Decoder(layers=2, heads=2, kv_heads=2, hidden=32, length="past"))
    program = prepare(other, options("edge-npu", 5).frontend).problem.program
    with pytest.raises(UsageError, match="at the other length"):
        at_length(plan_for("edge-npu"), program)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_bytes_keep_their_order_and_their_ends(data: st.DataObject) -> None:
    gaps = data.draw(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40)), min_size=1))
    planned, actual = [0], [0]
    for one, two in gaps:
        planned.append(planned[-1] + one)
        actual.append(actual[-1] + min(one, two))
    grain = data.draw(st.integers(1, 8))
    mapped = Pieces(tuple(planned), tuple(actual), grain)
    images = [mapped(byte) for byte in range(planned[-1] + 1)]
    assert images == sorted(images)
    assert [images[byte] for byte in planned] == actual


def test_the_example_plan_is_broken_where_it_is_not_shortened() -> None:
    """Control: the long plan itself is illegal on the shorter program."""
    plan = plan_for("edge-npu")
    problem = replace(plan.problem, program=program_at("edge-npu", 5))
    assert find_violations(replace(plan, problem=problem))
