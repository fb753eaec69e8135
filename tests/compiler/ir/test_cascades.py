"""Cascades read off the steps of a program, and what they hold between their operators."""

from random import Random

import pytest

from tests.support.tiled import TiledGraph, random_schedule, random_tiled_graph
from ullage.compiler.ir.cascades import CascadeData, CascadeSteps, cascade_data, find_cascades
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.program import DmaSteps, Program
from ullage.compiler.ir.reach import REDUCTION
from ullage.compiler.ir.schedule import Part, Schedule, part_of
from ullage.compiler.lowering.parts import lower_schedule
from ullage.compiler.lowering.tiling.cut import cut_output

ROW = 2 * 4  # bytes of a row of all values below


def chain(length: int = 3) -> Graph:
    """Convolutions one behind the other, with kernels of 3 x 3, of 8 rows."""
    graph = TiledGraph(Random(0))
    name = graph.value("x", (1, 2, 8, 4), "input")
    for _ in range(length):
        name = graph.conv(name, 2)
    return graph.finish()


def program_of(graph: Graph, *parts: Part, dma_steps: DmaSteps | None = None) -> Program:
    return lower_schedule(graph, Schedule("mine", parts), dma_steps=dma_steps or DmaSteps())


def rows(operator: int, start: int, end: int, copy: int = 0) -> Part:
    return part_of(operator, {2: (start, end)}, copy)


HALO_KEPT = (rows(0, 0, 5), rows(1, 0, 4), rows(0, 5, 8), rows(1, 4, 8))


def only(program: Program) -> tuple[CascadeSteps, CascadeData]:
    (found,) = find_cascades(program)
    return found, cascade_data(program, found)


@pytest.mark.parametrize("dma_steps", [DmaSteps(), DmaSteps(2, 2)])
def test_operators_that_take_turns_are_a_cascade(dma_steps: DmaSteps) -> None:
    program = program_of(chain(), *HALO_KEPT, Part(2), dma_steps=dma_steps)
    cascade, data = only(program)
    assert cascade.interleaves
    assert (cascade.operators, cascade.names) == ((0, 1), ("conv0", "conv1"))
    assert cascade.axes == ("rows",)
    assert cascade.cut_text == "2 stripes of rows"
    assert [program.steps[t].name for t in cascade.stripes] == [
        "conv0 [rows 0:5)",
        "conv0 [rows 5:8)",
    ]
    assert len(cascade.steps) == 4
    assert (cascade.first, cascade.end) == (cascade.steps[0], cascade.steps[-1] + 1)
    # v1 is read by conv2, behind the cascade: v0 alone lies between its operators.
    assert [program.buffers[b].name for b in data.between] == ["v0"]
    assert data.between_bytes == 8 * ROW
    # conv1 reads rows 0-5 of v0, then rows 3-8: two of them a second time.
    assert (data.halo_bytes, data.halo_indices) == (2 * ROW, 2)
    # The largest: rows 0-5, between the first two steps; then rows 3-8.
    assert data.buffered_bytes == 5 * ROW
    assert (data.recomputed_bytes, data.recomputed_operators) == (0, ())
    weight = 2 * 2 * 9
    assert (data.weight_bytes, data.weight_reads_bytes) == (2 * weight, 4 * weight)


def test_rows_made_a_second_time_are_no_halo_that_is_kept() -> None:
    parts = (rows(0, 0, 5), rows(1, 0, 4), rows(0, 3, 8, copy=1), rows(1, 4, 8))
    _, data = only(program_of(chain(2), *parts))
    assert (data.recomputed_bytes, data.recomputed_operators) == (2 * ROW, (0,))
    assert (data.halo_bytes, data.halo_indices) == (0, 0)


def test_stripes_of_several_parts_and_operators_that_skip_one() -> None:
    parts = (rows(0, 0, 7), rows(1, 0, 5), rows(2, 0, 4), rows(1, 5, 6), rows(2, 4, 5))
    parts = (*parts, rows(0, 7, 8), rows(1, 6, 8), rows(2, 5, 8))
    program = program_of(chain(), *parts)
    cascade, _ = only(program)
    assert [program.steps[t].name for t in cascade.stripes] == [
        "conv0 [rows 0:7)",
        "conv1 [rows 5:6)",
        "conv0 [rows 7:8)",
    ]


def test_tiles_of_two_axes_that_are_made_again() -> None:
    graph = chain(2)
    schedule = cut_output(graph, "v1", {2: 4, 3: 2}, halo="recomputed")
    cascade, data = only(lower_schedule(graph, schedule))
    assert cascade.cut_text == "4 tiles of rows and columns"
    assert data.recomputed_operators == (0,)
    # Each quarter of v1, 4 x 2, needs 5 x 3 of v0, of 2 channels.
    assert data.recomputed_bytes == 2 * (4 * 5 * 3 - 8 * 4)
    assert data.halo_bytes == 0


def test_operators_in_a_row_are_cut_alone() -> None:
    halves = [part_of(operator, {1: (c, c + 1)}) for operator in (0, 1) for c in (0, 1)]
    program = program_of(chain(), *halves, Part(2))
    one, other = find_cascades(program)
    assert [c.names for c in (one, other)] == [("conv0",), ("conv1",)]
    assert not one.interleaves
    assert (one.axes, len(one.stripes)) == (("channels",), 2)
    # Both parts of conv1 read all of v0, but no part of conv1 made it.
    assert [cascade_data(program, c).halo_bytes for c in (one, other)] == [0, 0]


def test_whole_operators_are_in_no_cascade() -> None:
    assert find_cascades(program_of(chain(), Part(0), Part(1), Part(2))) == ()


def test_partial_sums_are_neither_halo_nor_made_again() -> None:
    halves = [part_of(0, {REDUCTION: (k, k + 1)}) for k in range(2)]
    cascade, data = only(program_of(chain(2), *halves, Part(1)))
    assert cascade.axes == ("K",)
    assert (data.halo_bytes, data.recomputed_bytes) == (0, 0)


def buffered_by_steps(program: Program, cascade: CascadeSteps, data: CascadeData) -> int:
    """The most bytes between operators that wait, byte by byte and step by step."""
    waiting = dict.fromkeys(range(cascade.first, cascade.end), 0)
    for buffer, ranges in data.between.items():
        for byte in (b for start, end in ranges for b in range(start, end)):
            written = None
            last = {}
            for t, use in program.uses_of[buffer]:
                if not cascade.first <= t < cascade.end:
                    continue
                if not use.start_byte <= byte < use.end_byte:
                    continue
                if use.write:
                    written = t
                elif written is not None:
                    last[written] = t
            for begin, end in last.items():
                for t in range(begin, end):
                    waiting[t] += 1
    return max(waiting.values())


def test_line_buffers_hold_what_waits_byte_by_byte() -> None:
    rng = Random(0)
    seen = 0
    for _ in range(60):
        graph = random_tiled_graph(rng)
        program = lower_schedule(graph, random_schedule(rng, graph))
        for cascade in find_cascades(program):
            data = cascade_data(program, cascade)
            assert data.buffered_bytes == buffered_by_steps(program, cascade, data)
            assert data.buffered_bytes <= data.between_bytes
            seen += data.buffered_bytes > 0
    assert seen > 20
