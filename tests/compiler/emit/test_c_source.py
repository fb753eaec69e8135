"""The C tables: compiled with sanitizers and executed by the reference player."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.cases import chain, problem_for, solved, target_of
from tests.support.changes import with_program
from tests.support.plans import PLANS
from ullage.compiler.common.errors import VerificationError
from ullage.compiler.driver.compile import compile_model, compile_problem
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.emit.c import emit_c
from ullage.compiler.emit.c_source import HEADER, SOURCE, c_files
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.target import Link
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists

PLAYER = Path(__file__).parents[3] / "examples" / "player.c"
FLAGS = "-std=c11 -Wall -Wextra -pedantic -Werror -fsanitize=address,undefined".split()
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def write(plan: Plan, folder: Path) -> Path:
    header, source = c_files(plan)
    (folder / HEADER).write_text(header)
    (folder / SOURCE).write_text(source)
    return folder


def build(folder: Path, *flags: str) -> "subprocess.CompletedProcess[str]":
    command = ["gcc", *FLAGS, *flags, "-I", folder, PLAYER, folder / SOURCE, "-o", folder / "play"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def play(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [folder / "play", *arguments], capture_output=True, text=True, check=False
    )


def passes(folder: Path) -> dict[str, Any]:
    """Built and played, DMA first and DMA last, without a finding."""
    built = build(folder)
    assert built.returncode == 0, built.stderr
    first, last = play(folder), play(folder, "--dma-last")
    assert (first.returncode, first.stderr) == (0, "")
    assert (last.returncode, last.stderr) == (0, "")
    assert first.stdout == last.stdout
    found: dict[str, Any] = json.loads(first.stdout)
    return found


@needs_gcc
@pytest.mark.parametrize("name", ["residual", "concat", "spill", "flash", "rows"])
def test_kernels_read_what_was_written(name: str, tmp_path: Path) -> None:
    plan = PLANS[name]
    found = passes(write(plan, tmp_path))
    uses = [use for step in plan.problem.steps for use in step.uses]
    loaded = sum(b.size_bytes for b in plan.problem.buffers if b.kind in {"input", "weight"})
    stored = sum(end - start for b in plan.problem.buffers for start, end in b.outputs)
    assert found == {
        "operators": plan.program.operators,
        "copies": found["copies"],
        "bytes_copied": sum(t.end_byte - t.start_byte for t in plan.transfers),
        "bytes_read": sum(u.end_byte - u.start_byte for u in uses if not u.write) + stored,
        "bytes_written": sum(u.end_byte - u.start_byte for u in uses if u.write) + loaded,
        "wrong": 0,
    }
    assert found["copies"] >= sum(len(t.moves) for t in plan.transfers)


@needs_gcc
def test_tensors_without_bytes_are_nowhere_and_play(tmp_path: Path) -> None:
    tensors = [Tensor("x", 0, "input"), Tensor("w", 0, "weight"), Tensor("v", 8, "weight")]
    tensors += [Tensor("a", 0), Tensor("y", 8, "output"), Tensor("z", 0, "output")]
    operators = [Op("f", ["x", "w"], ["a"]), Op("g", ["a", "v"], ["y", "z"])]
    problem = problem_from_lists("empty", tensors, operators, target_of(64))
    plan = compile_problem(problem, CompileOptions(solver="greedy")).plan
    assert passes(write(plan, tmp_path))["wrong"] == 0


@needs_gcc
def test_in_steady_state_the_next_inference_finds_its_weights(tmp_path: Path) -> None:
    plan = PLANS["wrapped"]
    found = passes(write(plan, tmp_path))
    uses = [use for step in plan.problem.steps for use in step.uses if not use.write]
    stored = sum(end - start for b in plan.problem.buffers for start, end in b.outputs)
    kinds = [b.kind for b in plan.problem.buffers]
    carried = [r for r in plan.residencies if kinds[r.buffer] == "weight" and r.start == r.ready]
    assert {r.tier for r in carried} == {"sram", "dram", "flash"}
    read = sum(u.end_byte - u.start_byte for u in uses) + stored
    assert found["bytes_read"] == read + sum(r.end_byte - r.start_byte for r in carried)


@needs_gcc
def test_a_real_network_plays(tmp_path: Path) -> None:
    options = CompileOptions(dtype="int8", fast_memory_bytes=256 * 1024, solver="greedy")
    compiled = compile_model("squeezenet", options)
    assert emit_c(compiled, tmp_path) == tmp_path / HEADER
    found = passes(tmp_path)
    assert found["bytes_copied"] == sum(t.end_byte - t.start_byte for t in compiled.plan.transfers)
    assert found["copies"] > 5


@needs_gcc
def test_the_player_sees_a_wrong_address(tmp_path: Path) -> None:
    write(PLANS["spill"], tmp_path)
    source = (tmp_path / SOURCE).read_text()
    copies = source.index("ullage_copies[]")
    # The way back of `a` (step 4, dram to sram) reads 4 bytes beyond where it was spilled to.
    broken = re.sub(r"\{4, 1, 0, 0, 8, 48, 16\}", "{4, 1, 0, 0, 12, 48, 16}", source[copies:])
    assert broken != source[copies:]
    (tmp_path / SOURCE).write_text(source[:copies] + broken)
    assert build(tmp_path, "-fno-sanitize=address").returncode == 0
    done = play(tmp_path)
    assert done.returncode == 1
    assert "op5 reads a: byte 0 at sram+48 is not what was written" in done.stderr


@needs_gcc
def test_the_sanitizer_sees_space_that_nobody_holds(tmp_path: Path) -> None:
    write(PLANS["spill"], tmp_path)
    source = (tmp_path / SOURCE).read_text()
    # `a` leaves sram before its reader runs.
    broken = source.replace("{1, 0, 1, 1, 3, 0, 0, 16}", "{1, 0, 1, 1, 2, 0, 0, 16}")
    assert broken != source
    (tmp_path / SOURCE).write_text(broken)
    assert build(tmp_path).returncode == 0
    done = play(tmp_path)
    assert done.returncode != 0
    assert "use-after-poison" in done.stderr


@needs_gcc
def test_a_smaller_memory_fails_to_compile(tmp_path: Path) -> None:
    write(PLANS["chain"], tmp_path)
    built = build(tmp_path, "-DULLAGE_SRAM_CAPACITY_BYTES=15")
    assert built.returncode != 0
    assert "the plan needs more SRAM than there is" in built.stderr


@needs_gcc
def test_tables_that_need_more_than_the_chip_has_do_not_compile_for_it(tmp_path: Path) -> None:
    plan = solved("no-spill", problem_for(chain(), ["y"], target_of(16)), "peak")
    assert plan is not None
    write(plan, tmp_path)
    built = build(tmp_path)
    assert built.returncode != 0
    assert "the plan needs more SRAM than there is" in built.stderr
    assert build(tmp_path, "-DULLAGE_SRAM_CAPACITY_BYTES=128").returncode == 0


@needs_gcc
def test_odd_names_are_escaped_and_tables_may_be_empty(tmp_path: Path) -> None:
    plan = PLANS["chain"]  # has no transfers
    steps = list(plan.problem.steps)
    steps[1] = replace(steps[1], name='a"\\\n??/*é*/0')
    tiers = (replace(plan.target.tiers[0], name="s-ram"), plan.target.tiers[1])
    links = (Link("dram", "s-ram", 4e9), Link("s-ram", "dram", 4e9))
    target = replace(plan.target, name="*/ int x; /*", tiers=tiers, links=links)
    residencies = tuple(
        replace(r, tier="s-ram" if r.tier == "sram" else r.tier) for r in plan.residencies
    )
    problem = with_program(plan.problem, steps=tuple(steps)).on(target)
    odd = replace(plan, problem=problem, residencies=residencies)
    assert passes(write(odd, tmp_path))["copies"] == 0
    assert "ULLAGE_S_RAM_ARENA_BYTES 16" in (tmp_path / HEADER).read_text()


def test_an_illegal_plan_is_refused() -> None:
    plan = PLANS["chain"]
    with pytest.raises(VerificationError, match="'a' are nowhere"):
        c_files(replace(plan, residencies=tuple(r for r in plan.residencies if r.tier == "dram")))
