"""Programs of schedules: run byte by byte, and what they cost in parts."""

from random import Random

import pytest

from tests.support.onnx_models import imported, info, model, node, weight
from tests.support.tiled import TiledGraph, check_execution, random_schedule, random_tiled_graph
from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.program import DMA_STEP, DmaSteps
from ullage.compiler.ir.reach import REDUCTION
from ullage.compiler.ir.schedule import Part, Schedule, part_of
from ullage.compiler.lowering.aliases import AliasOptions
from ullage.compiler.lowering.lower import build_program
from ullage.compiler.lowering.parts import lower_schedule

ANYWHERE = AliasOptions(alignment_bytes=1)


@pytest.mark.parametrize("seed", range(150))
def test_random_schedules_compute_the_graph(seed: int) -> None:
    rng = Random(seed)
    graph = random_tiled_graph(rng)
    program = lower_schedule(graph, random_schedule(rng, graph), aliases=ANYWHERE)
    check_execution(graph, program)


@pytest.mark.parametrize("seed", range(20))
def test_whole_operators_are_an_order(seed: int) -> None:
    graph = random_tiled_graph(Random(seed))
    order = range(len(graph.operators))
    whole = lower_schedule(graph, Schedule.whole(order))
    assert whole == build_program(graph, order)


@pytest.mark.parametrize("seed", range(40))
def test_work_of_parts_adds_up(seed: int) -> None:
    rng = Random(seed)
    graph = random_tiled_graph(rng)
    program = lower_schedule(graph, random_schedule(rng, graph), aliases=ANYWHERE)
    whole = build_program(graph, range(len(graph.operators)), aliases=ANYWHERE)
    wanted = {step.operator: step.macs for step in whole.steps if step.kind != DMA_STEP}
    macs = dict.fromkeys(wanted, 0)
    for step in program.steps:
        if step.operator in macs:
            macs[step.operator] += step.macs
    assert macs == wanted


def chain() -> TiledGraph:
    graph = TiledGraph(Random(0))
    graph.value("x", (1, 2, 8, 4), "input")
    graph.conv(graph.conv("x", 2), 2)
    return graph


def test_a_line_buffer_is_what_the_next_stripe_reads() -> None:
    graph = chain().finish()
    rows = [(0, 0, 5), (1, 0, 4), (0, 5, 8), (1, 4, 8)]
    schedule = Schedule("mine", tuple(part_of(o, {2: (low, high)}) for o, low, high in rows))
    program = lower_schedule(graph, schedule)
    assert [step.name for step in program.steps] == [
        "start",
        "conv0 [rows 0:5)",
        "conv1 [rows 0:4)",
        "conv0 [rows 5:8)",
        "conv1 [rows 4:8)",
        "finish",
    ]
    row = 2 * 4
    between = next(i for i, b in enumerate(program.buffers) if b.name == "v0")
    uses = [
        (t, u.write, u.start_byte // row, u.end_byte // row) for t, u in program.uses_of[between]
    ]
    assert uses == [(1, True, 0, 5), (2, False, 0, 5), (3, True, 5, 8), (4, False, 3, 8)]


def test_partial_sums_take_accumulators() -> None:
    graph = chain().finish()
    halves = [part_of(0, {REDUCTION: (k, k + 1)}) for k in range(2)]
    program = lower_schedule(graph, Schedule("mine", (*halves, Part(1))))
    sums = next(i for i, b in enumerate(program.buffers) if "accumulators" in b.name)
    assert program.buffers[sums].size_bytes == 4 * graph.values["v0"].size_bytes
    assert [(t, use.write) for t, use in program.uses_of[sums]] == [(1, True), (2, False)]
    written = next(i for i, b in enumerate(program.buffers) if b.name == "v0")
    assert [t for t, use in program.uses_of[written] if use.write] == [2]


def test_rows_made_a_second_time_need_no_second_place() -> None:
    graph = chain().finish()
    rows = [(0, 0, 5, 0), (1, 0, 4, 0), (0, 3, 8, 1), (1, 4, 8, 0)]
    parts = tuple(part_of(o, {2: (low, high)}, copy) for o, low, high, copy in rows)
    program = lower_schedule(graph, Schedule("mine", parts))
    check_execution(graph, program)
    assert sum(step.macs for step in program.steps if step.operator == 0) == 10 * 4 * 2 * 18


def test_dma_steps_stand_between_parts() -> None:
    graph = chain().finish()
    schedule = Schedule("mine", (part_of(0, {2: (0, 4)}), part_of(0, {2: (4, 8)}), Part(1)))
    program = lower_schedule(graph, schedule, dma_steps=DmaSteps(2, 2))
    kinds = ["dma" if step.kind == DMA_STEP else step.name for step in program.steps]
    pair = ["dma", "dma"]
    assert kinds == [*pair, "conv0 [rows 0:4)", *pair, "conv0 [rows 4:8)", *pair, "conv1", *pair]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((part_of(1, {2: (0, 8)}), Part(0)), "no part before it makes"),
        ((Part(0),), "leaves out operator 1"),
        ((part_of(0, {2: (0, 3)}), Part(1)), "leave out elements"),
        ((Part(0), part_of(0, {2: (0, 3)}), Part(1)), "is copy 0; its elements were made 1 times"),
        ((Part(0, copy=1), Part(1)), "makes the whole is copy 1; its elements were made 0"),
        ((part_of(0, {2: (0, 9)}), Part(1)), "of an axis of 8"),
        ((part_of(0, {0: (0, 1)}), Part(1)), "axis 0, which Conv does not let"),
        ((part_of(0, {4: (0, 1)}), Part(1)), "axis 4"),
        ((Part(0), Part(1), Part(2)), "has 2 operators"),
        (
            (part_of(0, {REDUCTION: (1, 2)}), part_of(0, {REDUCTION: (0, 1)}), Part(1)),
            "reduces from 1",
        ),
    ],
)
def test_a_wrong_schedule_is_refused(parts: tuple[Part, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        lower_schedule(chain().finish(), Schedule("mine", parts))


def test_parts_of_a_look_up_read_the_rows_that_their_own_indices_name() -> None:
    proto = model(
        [node("Gather", "table ids", "y")],
        [info("ids", (1, 6), "int64")],
        "y",
        [weight("table", (100, 8))],
    )
    graph = imported(proto)
    cuts = [{1: (0, 2), 2: (0, 8)}, {1: (2, 6), 2: (0, 2)}, {1: (2, 6), 2: (2, 8)}]
    schedule = Schedule("mine", tuple(part_of(0, cut) for cut in cuts))
    program = lower_schedule(graph, schedule)
    table = next(i for i, b in enumerate(program.buffers) if b.name == "table")
    read = [0] * len(program.steps)
    for t, use in program.uses_of[table]:
        assert use.look_up
        read[t] += use.accessed_bytes
    assert read == [0, 2 * 8 * 4, 4 * 2 * 4, 4 * 6 * 4, 0]
