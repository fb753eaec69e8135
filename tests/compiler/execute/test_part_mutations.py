"""Broken plans in parts are seen twice: by the verifier, and by execution without its help.

A mutant that reads a byte less may be harmless, where bytes are read that no element needs (the
rest of a cell). Then neither objects. Execution alone does not see an element that is made wrong
and then made again before anybody reads it.
"""

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from tempfile import mkdtemp

import pytest

from tests.support.part_mutations import PART_MUTATIONS
from tests.support.tile_kinds import KINDS, kind_model
from tests.support.tile_runs import graph_of, planned
from tests.support.tiled_models import saved
from ullage.compiler.common.errors import VerificationError
from ullage.compiler.execute.runner import Executor
from ullage.compiler.importer.build import ImportOptions
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.program import Program
from ullage.compiler.ir.reach import AxisMap, InputReach
from ullage.compiler.ir.schedule import Schedule
from ullage.compiler.lowering.parts import lower_schedule
from ullage.compiler.lowering.tiling.cut import Halo, cut_output
from ullage.compiler.verify.reach.check import check_reach
from ullage.compiler.verify.reach.geometry import Geometry
from ullage.compiler.verify.verifier import find_violations

MODELS = (
    "asymmetric padding",
    "two readers of other rates",
    "skip over several operators",
    "concatenation along channels",
    "groups of channels",
    "rows become tokens",
    "heads of an attention",
    "product along K",
    "convolution along K",
    "two axes",
)
HALOS: tuple[Halo, ...] = ("kept", "recomputed")
SEEDS = range(3)


@cache
def folder() -> Path:
    return Path(mkdtemp())


@cache
def executor(name: str) -> Executor:
    place = folder() / str(MODELS.index(name))
    place.mkdir()
    return Executor(saved(kind_model(name), place), ImportOptions())


@cache
def base(name: str, halo: Halo) -> Plan:
    """A plan of a model in tiles, everything in slow memory all the time."""
    path = executor(name).model
    schedule = cut_output(graph_of(path), "y", KINDS[name][1], halo=halo)
    return planned(path, schedule, solver="all-slow")


@pytest.fixture(autouse=True)
def only_the_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison with the model's own problem off: bytes alone must show what is wrong."""
    monkeypatch.setattr("ullage.compiler.execute.runner.check_problem_matches", lambda *_: None)


def rules_broken(name: str, plan: Plan) -> set[str]:
    imported = executor(name).imported
    report = check_reach(Geometry.of(imported), imported.graph, plan.program)
    assert not report.unchecked
    return {v.rule for v in (*find_violations(plan), *report.violations)}


def runs_well(name: str, plan: Plan) -> bool:
    try:
        return all(check.passed for check in executor(name).run(plan).outputs)
    except VerificationError:
        return False


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("halo", HALOS)
def test_plans_before_they_are_broken(name: str, halo: Halo) -> None:
    plan = base(name, halo)
    assert rules_broken(name, plan) == set()
    assert runs_well(name, plan)


@pytest.mark.parametrize("mutation", PART_MUTATIONS)
def test_mutants_are_caught_twice(mutation: str) -> None:
    seen: Counter[tuple[bool, bool]] = Counter()
    for name in MODELS:
        for halo in HALOS:
            for seed in SEEDS:
                plan = PART_MUTATIONS[mutation](base(name, halo), Random(seed))
                if plan is not None:
                    seen[bool(rules_broken(name, plan)), not runs_well(name, plan)] += 1
    assert seen[True, True] >= 10
    assert seen[False, True] == 0, "what execution shows the verifier must see"
    if mutation == "read-too-little":
        assert seen[False, False] <= seen[True, True] / 4
        assert seen[True, False] <= seen[True, True] / 20
    else:
        assert seen[False, False] == seen[True, False] == 0


def narrowed(axis_map: AxisMap, *, left: bool) -> AxisMap:
    """A map to an index less on one side."""
    if axis_map.table:
        rows = tuple(
            (low + (left and high - low > 1), high - (not left and high - low > 1))
            for low, high in axis_map.table
        )
        return replace(axis_map, table=rows)
    if left:
        return replace(axis_map, first=axis_map.first + axis_map.divisor)
    return replace(axis_map, last=axis_map.last - axis_map.divisor)


def with_smaller_reach(graph: Graph, index: int, at: int, axis: int, *, left: bool) -> Graph:
    """The graph with an operator that reads an index less of one axis of one input."""
    operator = graph.operators[index]
    assert operator.reach is not None
    inputs = list(operator.reach.inputs)
    axes = list(inputs[at].axes)
    axis_map = axes[axis]
    assert axis_map is not None
    axes[axis] = narrowed(axis_map, left=left)
    inputs[at] = InputReach(inputs[at].name, tuple(axes), inputs[at].at_end)
    wrong = replace(operator, reach=replace(operator.reach, inputs=tuple(inputs)))
    return replace(
        graph, operators=(*graph.operators[:index], wrong, *graph.operators[index + 1 :])
    )


def programs_of_smaller_reaches(name: str) -> list[Program]:
    """The programs of a schedule by rules that forget an index, where other bytes are read then."""
    graph, plan = executor(name).imported.graph, base(name, "kept")
    schedule = Schedule.from_json(plan.model["schedule"])
    found = []
    for index in schedule.cut_operators:
        reach = graph.operators[index].reach
        assert reach is not None
        for at, entry in enumerate(reach.inputs):
            for axis, axis_map in enumerate(entry.axes):
                for left in (True, False) if axis_map is not None else ():
                    smaller = with_smaller_reach(graph, index, at, axis, left=left)
                    found.append(lower_schedule(smaller, schedule))
    return [program for program in found if bytes_of(program) != bytes_of(plan.program)]


def bytes_of(program: Program) -> list[tuple[int, int, int, bool]]:
    return [
        (use.buffer, use.start_byte, use.end_byte, use.write)
        for step in program.steps
        for use in step.uses
    ]


@pytest.mark.parametrize("name", MODELS)
def test_a_reach_that_is_too_small_is_caught_twice(name: str) -> None:
    plan = base(name, "kept")
    programs = programs_of_smaller_reaches(name)
    assert programs
    for program in programs:
        mutant = replace(plan, problem=replace(plan.problem, program=program))
        assert rules_broken(name, mutant)
        assert not runs_well(name, mutant)
