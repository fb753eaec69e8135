"""Rules of parts that a plan shows by itself, without its model."""

import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from tempfile import mkdtemp

import pytest

from tests.support.changes import with_program
from tests.support.part_mutations import PART_MUTATIONS
from tests.support.tile_kinds import KINDS, kind_model
from tests.support.tile_runs import graph_of, planned
from tests.support.tiled_models import saved
from ullage.compiler.ir.plan import Plan
from ullage.compiler.lowering.tiling.cut import cut_output
from ullage.compiler.verify.parts import find_part_violations


@cache
def plan() -> Plan:
    """Two convolutions in tiles of rows and of K, the halo recomputed."""
    path = saved(kind_model("convolution along K"), Path(mkdtemp()))
    tiles = KINDS["convolution along K"][1]
    schedule = cut_output(graph_of(path), "y", tiles, halo="recomputed")
    return planned(path, schedule, solver="all-slow")


def messages(broken: Plan) -> list[str]:
    found = list(find_part_violations(broken))
    assert all(violation.rule == "parts" for violation in found)
    return [violation.message for violation in found]


def test_nothing_is_wrong_before() -> None:
    assert any(step.copy for step in plan().program.steps)
    assert messages(plan()) == []


@pytest.mark.parametrize(
    ("mutation", "message"),
    [
        ("copy-miscounted", "is copy 1 of what 0 parts before it made|is copy 0 of what 1 parts"),
        ("written-too-little", "are made by no part|does not read the partial sums|is copy"),
        ("sum-dropped", "sums up from|unfinished: no part ends them"),
        ("sum-too-short", "sums up from|are summed up"),
    ],
)
def test_broken_parts_are_seen_without_the_model(mutation: str, message: str) -> None:
    seen = 0
    for seed in range(8):
        broken = PART_MUTATIONS[mutation](plan(), Random(seed))
        assert broken is not None
        found = messages(broken)
        seen += any(re.search(message, text) for text in found)
    assert seen >= 4


def steps_changed(**changes: object) -> Plan:
    """The plan with changes to the uses of its last part of a sum."""
    steps = list(plan().program.steps)
    t = max(t for t, step in enumerate(steps) if any("#acc" in use.value for use in step.uses))
    steps[t] = replace(steps[t], **changes)  # type: ignore[arg-type]
    return replace(plan(), problem=with_program(plan().problem, steps=tuple(steps)))


def test_sums_that_are_not_read_are_seen() -> None:
    last = max(
        (step for step in plan().program.steps if any("#acc" in u.value for u in step.uses)),
        key=plan().program.steps.index,
    )
    kept = tuple(use for use in last.uses if "#acc" not in use.value)
    assert any(
        "does not read the partial sums" in text for text in messages(steps_changed(uses=kept))
    )


def test_an_operator_that_runs_whole_has_no_parts() -> None:
    steps = tuple(replace(step, ranges=(), copy=0) for step in plan().program.steps[:2])
    whole = replace(plan(), problem=with_program(plan().problem, steps=steps))
    assert messages(whole) == []
