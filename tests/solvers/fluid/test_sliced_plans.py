"""Plans in pages: where pages take much more than slices, the LP is solved for what is left."""

import pytest

from tests.support.tiled_models import gated_network
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.schedule import Part, Schedule, part_of
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.parts import lower_schedule
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.fluid import sliced_plans
from ullage.solvers.run import run_solver


def problem_of(memory_bytes: int) -> Problem:
    """A network that makes a tensor in channels and reads it in rows: many small cells."""
    target = load_target("edge-npu").with_fast_memory(memory_bytes)
    graph = import_model(gated_network(), ImportOptions(dtype="int8"))
    quarters = [
        part_of(index, {1: (channel, channel + 4)})
        for channel in range(0, 16, 4)
        for index in range(3)
    ]
    rows = [part_of(index, {2: (row, row + 3)}) for row in range(0, 48, 3) for index in (4, 5)]
    schedule = Schedule("cells", (*quarters, Part(3), *rows))
    return Problem(lower_schedule(graph, schedule, aliases=alias_options(target)), target)


def test_room_that_pages_take_is_known_to_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of(8192)
    better = run_solver("fluid", problem)
    monkeypatch.setattr(sliced_plans, "PAGES_GAP", 1e9)
    blind = run_solver("fluid", problem)
    assert better.value < 0.995 * blind.value
    assert better.solution.bound == blind.solution.bound
