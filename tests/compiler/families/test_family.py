"""Families of plans: legal at every tested length, as good as promised, in one table."""

import json
import shutil
import subprocess
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import onnx
import pytest

from tests.support.encoders import encoder
from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.families.family import Family, parse_lengths, plan_family
from ullage.compiler.families.files import family_header, write_family
from ullage.compiler.families.table import table_of
from ullage.compiler.ir.lengths.carry import Pieces, carried, moves_at
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.plan_json import read_plan
from ullage.compiler.verify.verifier import find_violations, verify
from ullage.hwmodels.cost import value_of

OPTIONS = CompileOptions(solver="fluid", dtype="int8", fast_memory_bytes=48 * 1024)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder") / "encoder.onnx"
    onnx.save(encoder(), path)
    return path


@pytest.fixture(scope="module")
def family(model: Path) -> Family:
    return plan_family(model, parse_lengths("seq", "16..256:16"), 0.05, OPTIONS)


def test_every_length_is_legal_and_loses_little(family: Family) -> None:
    assert [at.length for at in family.lengths] == list(range(16, 257, 16))
    for at in family.lengths:
        verify(at.plan)
        assert at.loss <= family.tolerance
        bucket = family.buckets[at.bucket]
        assert bucket.first <= at.length <= bucket.last
    assert 1 < len(family.buckets) <= 8
    assert family.worst_loss <= 0.05


def test_a_bucket_begins_where_the_longer_plan_loses_too_much(family: Family) -> None:
    for bucket, longer in pairwise(family.buckets):
        own = bucket.compiled
        plan = carried(longer.compiled.plan, own.plan.problem)
        assert plan is not None
        assert find_violations(plan) or value_of(plan) > own.value * (1 + family.tolerance)


def test_no_tolerance_is_the_own_plan_of_every_length(model: Path) -> None:
    strict = plan_family(model, parse_lengths("seq", "64..256:64"), 0.0, OPTIONS)
    assert all(at.value <= at.own_value for at in strict.lengths)
    alone = plan_family(model, parse_lengths("seq", "256..256"), 0.05, OPTIONS)
    assert len(alone.buckets) == len(alone.lengths) == 1


def test_weights_lie_at_one_place_in_all_plans(family: Family) -> None:
    def homes(plan: Plan) -> dict[str, int]:
        home = plan.target.homes["weight"]
        return {
            plan.problem.buffers[r.buffer].name: r.offset - r.start_byte
            for r in plan.residencies
            if r.tier == home and plan.problem.buffers[r.buffer].kind == "weight"
        }

    first = homes(family.lengths[0].plan)
    assert first
    assert all(homes(at.plan) == first for at in family.lengths)


def test_the_table_has_the_decisions_of_every_length(family: Family) -> None:
    table = table_of(family)
    for index, at in enumerate(family.lengths):
        assert table.residencies(index) == at.plan.residencies
        assert table.transfers(index) == at.plan.transfers
    assert table.lengths[table.index_of(17)] == 32
    assert table.lengths[table.index_of(16)] == 16
    with pytest.raises(ValueError, match="257 is above 256"):
        table.index_of(257)


def test_files_are_written(family: Family, tmp_path: Path) -> None:
    paths = write_family(family, tmp_path)
    document = json.loads(Path(paths["json"]).read_text())
    assert (document["format"], document["symbol"]) == ("ullage-family", "seq")
    assert len(document["lengths"]) == len(family.lengths)
    assert len(document["buckets"]) == len(family.buckets)
    for bucket in family.buckets:
        plan = read_plan(paths[f"plan_{bucket.last}"])
        assert plan.residencies == bucket.compiled.plan.residencies
        verify(plan)


PRINTER = """
#include <inttypes.h>
#include <stdio.h>
#include "ullage_family.h"
static void slots(uint32_t bucket, int i) {
    for (uint32_t s = ullage_family_first_slot[bucket]; s < ullage_family_first_slot[bucket + 1];
         ++s) {
        const ullage_family_slot *r = &ullage_family_slots[s];
        uint64_t start = ullage_family_byte(r->start, i), end = ullage_family_byte(r->end, i);
        if (start == end) continue;
        printf("r %u %" PRIu64 " %" PRIu64 " %u %" PRIu64 " %u %u %u\\n", r->buffer, start, end,
               r->tier, r->offset, r->first_step, r->ready_step, r->end_step);
    }
}
static void copies(uint32_t bucket, int i) {
    for (uint32_t c = ullage_family_first_copy[bucket]; c < ullage_family_first_copy[bucket + 1];
         ++c) {
        const ullage_family_copy *t = &ullage_family_copies[c];
        uint64_t start = ullage_family_byte(t->start, i), end = ullage_family_byte(t->end, i);
        if (start == end) continue;
        printf("t %u %" PRIu64 " %" PRIu64 " %u %u", t->buffer, start, end, t->source,
               t->destination);
        for (uint32_t k = 0; k < t->moves; ++k) {
            uint64_t moved = ullage_family_moved(t, k, i);
            if (moved)
                printf(" %u:%" PRIu64, ullage_family_moves[t->first_move + k].step, moved);
        }
        printf("\\n");
    }
}
int main(void) {
    for (int i = 0; i < ULLAGE_FAMILY_LENGTHS; ++i) {
        printf("length %u %d\\n", ullage_family_length[i],
               ullage_family_index(ullage_family_length[i]));
        slots(ullage_family_bucket[i], i);
        copies(ullage_family_bucket[i], i);
    }
    printf("%d\\n", ullage_family_index(1000));
    return 0;
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_the_header_says_the_same(family: Family, tmp_path: Path) -> None:
    (tmp_path / "ullage_family.h").write_text(family_header(family))
    (tmp_path / "main.c").write_text(PRINTER)
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined"]
    built = tmp_path / "main"
    command = ["gcc", *flags, str(tmp_path / "main.c"), "-o", str(built)]
    subprocess.run(command, check=True, timeout=240)
    done = subprocess.run([str(built)], capture_output=True, text=True, check=True, timeout=60)
    tiers = [tier.name for tier in family.lengths[0].plan.target.tiers]
    lines = []
    for index, at in enumerate(family.lengths):
        lines.append(f"length {at.length} {index}")
        lines += [
            f"r {r.buffer} {r.start_byte} {r.end_byte} {tiers.index(r.tier)} {r.offset} {r.start} "
            f"{r.ready} {r.end}"
            for r in at.plan.residencies
        ]
        lines += [
            f"t {t.buffer} {t.start_byte} {t.end_byte} {tiers.index(t.source)} "
            f"{tiers.index(t.destination)} " + " ".join(f"{step}:{size}" for step, size in t.moves)
            for t in at.plan.transfers
        ]
    assert done.stdout.splitlines() == [*lines, "-1"]


def test_pieces_keep_order_and_granularity() -> None:
    pieces = Pieces((0, 100, 300), (0, 40, 140), 8)
    assert [pieces(byte) for byte in (0, 8, 39, 40, 99, 100, 117, 199, 200, 300)] == [
        *(0, 8, 32, 40, 40, 40, 56, 136, 140, 140)
    ]
    mapped = [pieces(byte) for byte in range(301)]
    assert mapped == sorted(mapped)


def test_moves_are_scaled_to_the_byte() -> None:
    upto = [(3, 10), (4, 11), (7, 100)]
    assert moves_at(upto, 100) == ((3, 10), (4, 1), (7, 89))
    assert moves_at(upto, 50) == ((3, 5), (7, 45))
    for size in range(1, 200):
        assert sum(moved for _, moved in moves_at(upto, size)) == size


@pytest.mark.parametrize(
    ("text", "tested"),
    [
        ("8..32:8", (8, 16, 24, 32)),
        ("5..20:8", (5, 8, 16, 20)),
        ("7..7", (7,)),
        ("1..3:1", (1, 2, 3)),
        ("8..512", tuple(range(8, 513, 8))),
    ],
)
def test_lengths_are_read(text: str, tested: tuple[int, ...]) -> None:
    assert parse_lengths("seq", text).tested == tested


def test_long_ranges_are_tested_at_few_lengths() -> None:
    assert len(parse_lengths("seq", "1..2048").tested) <= 66


@pytest.mark.parametrize(
    "text", ["8", "8..", "..8", "9..8", "0..8", "8..9:0", "8..9:", "a..b", "-1..3"]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--dim seq"):
        parse_lengths("seq", text)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"steady_state": True}, "--steady-state"),
        ({"objective": "peak"}, "--objective"),
        ({"schedule": "cascade"}, "--schedule"),
        ({"then": "traffic"}, "--then"),
        ({"dims": {"seq": 8}}, "given twice"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    model: Path, changes: dict[str, object], told: str
) -> None:
    options = replace(OPTIONS, **changes)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=told):
        plan_family(model, parse_lengths("seq", "8..16:8"), 0.05, options)
    with pytest.raises(UsageError, match="at least 0"):
        plan_family(model, parse_lengths("seq", "8..16:8"), -0.1, OPTIONS)


def test_a_length_without_a_plan_is_named(model: Path) -> None:
    options = replace(OPTIONS, target="edge-npu-spm", fast_memory_bytes=4096)
    with pytest.raises(InfeasibleError, match="seq = 16: "):
        plan_family(model, parse_lengths("seq", "8..16:8"), 0.05, options)


def test_ctrl_c_keeps_the_longest_lengths(model: Path) -> None:
    def interrupt(text: str) -> None:
        if text.startswith("2 of"):
            raise KeyboardInterrupt

    options = replace(OPTIONS, progress=interrupt)
    cut_short = plan_family(model, parse_lengths("seq", "16..64:16"), 0.05, options)
    assert cut_short.interrupted
    assert [at.length for at in cut_short.lengths] == [48, 64]


def test_starting_is_charged_to_the_job_and_not_to_each_length(model: Path) -> None:
    options = replace(OPTIONS, solver="greedy", begun=time.monotonic() - 600, time_limit_s=900)
    found = plan_family(model, parse_lengths("seq", "16..64:16"), 0.05, options)
    assert len(found.lengths) == 4  # a quarter of 900 s was over before the first of them
    assert all(bucket.compiled.total_s < 600 for bucket in found.buckets)
