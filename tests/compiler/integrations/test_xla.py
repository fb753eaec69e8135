"""Buffer lists of XLA's memory-space assignment as problems."""

from dataclasses import replace

import pytest

from ullage.compiler.common.errors import UsageError
from ullage.compiler.driver.compile import compile_problem
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.integrations.xla import (
    LiveBuffer,
    XlaWork,
    problem_from_live_buffers,
    read_buffer_info,
)
from ullage.compiler.ir.program import DMA_STEP
from ullage.hwmodels.catalog.registry import load_target

TARGET = load_target("edge-npu").with_fast_memory(8192)
DUMP = """\
buffer_id,buffer_name,alt_mem_benefit,size,definition_time,use_times,use_names,is_scoped
0,"param.0{}",1,4096,0,"10;12","fusion.1, operand 0;dot.2, operand 1",0
1,"fusion.1",2.5,2048,10,"12","dot.2, operand 0",0
1,"dot.2",2.5,2048,12,"","",0
2,"scratch",0,512,12,"","",1
"""


def test_a_dump_becomes_steps_buffers_and_uses() -> None:
    buffers = read_buffer_info(DUMP, {"param.0{}": "input", "dot.2": "output"})
    assert buffers[0].uses == ((10, "fusion.1, operand 0"), (12, "dot.2, operand 1"))
    problem = problem_from_live_buffers("hlo", buffers, TARGET, {12: XlaWork(macs=5)})
    steps = [s for s in problem.steps if s.kind != DMA_STEP]
    assert [s.name for s in steps] == ["fusion.1@10", "dot.2@12"]
    assert [(s.macs, s.workspace_bytes) for s in steps] == [(0, 0), (5, 512)]
    reads = sorted(u.value for u in steps[1].uses if not u.write)
    assert reads == ["fusion.1", "param.0{}"]
    # Colocated: dot.2 overwrites fusion.1, so one buffer holds both.
    shared = [b for b in problem.buffers if {v.name for v in b.values} == {"fusion.1", "dot.2"}]
    assert [b.kind for b in shared] == ["output"]


def test_a_plan_comes_out() -> None:
    buffers = read_buffer_info(DUMP, {"param.0{}": "weight", "dot.2": "output"})
    problem = problem_from_live_buffers("hlo", buffers, TARGET)
    done = compile_problem(problem, CompileOptions(solver="greedy"))
    assert done.score.latency_s > 0
    assert any(r.tier == "sram" for r in done.plan.residencies)


def test_the_older_dump_without_scopes_is_read() -> None:
    rows = [line.rsplit(",", 1)[0] for line in DUMP.splitlines()[:-1]]
    assert [b.scoped for b in read_buffer_info("\n".join(rows))] == [False] * 3


def test_another_storage_is_not_overwritten() -> None:
    buffers = read_buffer_info(DUMP, {"param.0{}": "input", "dot.2": "output"})
    apart = [replace(b, storage=n) for n, b in enumerate(buffers)]
    problem = problem_from_live_buffers("hlo", apart, TARGET)
    assert {b.name for b in problem.buffers} == {"param.0{}", "fusion.1", "dot.2"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column buffer_id"),
        ("id,lower,upper,size\n", "no column buffer_id, buffer_name, definition_time"),
        (DUMP.replace("4096", "4k"), r"line 2 \('param.0{}'\): invalid literal"),
        (DUMP.replace('"10;12"', '"10"'), "one use name for each use time"),
    ],
)
def test_a_bad_dump_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_buffer_info(text)


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(UsageError, match="that there are not: nobody"):
        read_buffer_info(DUMP, {"nobody": "input"})
    late = [LiveBuffer("a", 4, 5, ((3, "x"),))]
    with pytest.raises(UsageError, match="before anything writes it"):
        problem_from_live_buffers("hlo", late, TARGET)
    with pytest.raises(UsageError, match=r"nothing happens: \[99\]"):
        problem_from_live_buffers("hlo", [LiveBuffer("a", 4, 5)], TARGET, {99: XlaWork(1)})
