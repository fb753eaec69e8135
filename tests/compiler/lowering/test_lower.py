"""Problems made from graphs: steps, buffers, ranged uses."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.graphs import Builder, graphs, random_graph, random_order, seeds
from tests.support.plans import ANY
from ullage.compiler.driver.compile import compile_problem
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.summary import summarise
from ullage.compiler.ir.graph import Gemm, Graph, Operator, Value
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP, Buffer, DmaSteps, PlacedValue, Program, Step, Use
from ullage.compiler.lowering.aliases import NO_ALIASES, AliasOptions, find_aliases
from ullage.compiler.lowering.lower import _union, build_program, merged_uses
from ullage.compiler.lowering.orders import model_order
from ullage.compiler.verify.problem_rules import find_problem_faults


def problem_of(graph: Graph, aliases: AliasOptions | None = None) -> Program:
    return build_program(graph, model_order(graph), aliases=aliases)


def step(problem: Program, name: str) -> Step:
    return next(each for each in problem.steps if each.name == name)


def buffer(problem: Program, name: str) -> Buffer:
    return next(each for each in problem.buffers if each.name == name)


def uses(problem: Program, name: str) -> list[tuple[str, int, int, bool, int]]:
    """(buffer, start, end, write, accessed) of a step's uses."""
    return [
        (problem.buffers[u.buffer].name, u.start_byte, u.end_byte, u.write, u.accessed_bytes)
        for u in step(problem, name).uses
    ]


def chain() -> Graph:
    build = Builder("chain")
    build.value("x", 32, "input")
    build.value("w", 64, "weight")
    build.op(["x", "w"], [("a", 16)], macs=7, workspace_bytes=24)
    build.op(["a"], [("y", 48)])
    return build.graph(["y"])


def test_steady_state_changes_nothing_else() -> None:
    once, graph = problem_of(chain()), chain()
    loop = build_program(graph, model_order(graph), steady_state=True)
    assert (once.steady_state, loop.steady_state) == (False, True)
    assert (loop.steps, loop.buffers) == (once.steps, once.buffers)
    target = replace(ANY, tiers=tuple(replace(t, capacity_bytes=4096) for t in ANY.tiers))
    asked = CompileOptions(solver="greedy", steady_state=True)
    assert compile_problem(Problem(once, target), asked).plan.program == loop
    found = compile_problem(Problem(loop, target), CompileOptions(solver="greedy"))
    assert found.plan.program == loop  # what the problem says itself stays
    assert found.plan.model["steady_state"] is True
    assert summarise(found)["steady_state"] is True


def test_a_chain_becomes_steps_between_two_dma_only_steps() -> None:
    problem = problem_of(chain())
    assert (problem.name, problem.order, problem.operators) == ("chain", "model", 2)
    assert [s.name for s in problem.steps] == ["start", "Conv0", "Conv1", "finish"]
    assert [s.kind for s in problem.steps] == [DMA_STEP, "Conv", "Conv", DMA_STEP]
    assert [s.operator for s in problem.steps] == [-1, 0, 1, -1]
    assert uses(problem, "Conv0") == [
        ("x", 0, 32, False, 32),
        ("w", 0, 64, False, 64),
        ("a", 0, 16, True, 16),
    ]
    assert step(problem, "Conv0").workspace_bytes == 24
    assert step(problem, "Conv0").macs == 7
    assert [(b.name, b.kind, b.size_bytes) for b in problem.buffers] == [
        ("x", "input", 32),
        ("w", "weight", 64),
        ("a", "activation", 16),
        ("y", "output", 48),
    ]
    assert buffer(problem, "y").outputs == ((0, 48),)
    assert buffer(problem, "a").outputs == ()
    assert buffer(problem, "x").row_bytes == 8
    assert problem.uses_of[2] == (
        (1, Use(2, 0, 16, True, 16, "a")),
        (2, Use(2, 0, 16, False, 16, "a")),
    )


def test_costs_of_operators_are_carried_over() -> None:
    values = {
        "x": Value("x", "input", "int8", (4,), 4),
        "y": Value("y", "output", "int8", (4,), 4),
    }
    gemm = Gemm(1, 4, 4)
    operator = Operator(
        "fc", "Gemm", ("x",), ("y",), 16, "int8", 4, (gemm,), workspace_bytes=3, nodes=(5,)
    )
    made = step(problem_of(Graph("one", values, (operator,), ("x",), ("y",))), "fc")
    assert (made.macs, made.mac_dtype, made.vector_elements) == (16, "int8", 4)
    assert (made.gemms, made.workspace_bytes, made.kind) == ((gemm,), 3, "Gemm")


def test_two_dma_only_steps_stand_between_operators_where_asked() -> None:
    graph = chain()
    problem = build_program(graph, model_order(graph), dma_steps=DmaSteps(2, 1))
    assert [s.name for s in problem.steps] == [
        "start",
        "Conv0",
        "empty before Conv1",
        "fill before Conv1",
        "Conv1",
        "finish",
    ]
    assert problem.operators == 2
    assert all(s == Step(s.name, DMA_STEP) for s in problem.steps if s.kind == DMA_STEP)


def test_as_many_dma_only_steps_stand_at_both_ends_as_asked() -> None:
    graph = chain()
    problem = build_program(graph, model_order(graph), dma_steps=DmaSteps(2, 2))
    names = [s.name for s in problem.steps if s.kind == DMA_STEP]
    assert names == [
        "start",
        "start 2",
        "empty before Conv1",
        "fill before Conv1",
        "finish",
        "finish 2",
    ]


def test_the_order_decides_the_steps() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 16)])
    build.op(["x"], [("b", 16)])
    problem = build_program(build.graph(["a", "b"]), (1, 0), order_name="memory")
    assert [s.name for s in problem.steps] == ["start", "Conv1", "Conv0", "finish"]
    assert problem.order == "memory"


def test_elided_operators_have_no_step() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 32)])
    build.view("a", "v")
    build.op(["v"], [("y", 16)])
    graph = build.graph(["y"])
    problem = problem_of(graph)
    assert [s.name for s in problem.steps] == ["start", "Conv0", "Conv2", "finish"]
    assert uses(problem, "Conv2")[0] == ("a", 0, 32, False, 32)
    assert step(problem, "Conv2").uses[0].value == "v"
    assert buffer(problem, "a").values == (PlacedValue("a", 0, 32), PlacedValue("v", 0, 32))
    assert problem_of(graph, NO_ALIASES).operators == 3


def test_in_place_reads_then_writes_the_same_bytes() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 32)])
    build.relu("a", "y")
    problem = problem_of(build.graph(["y"]))
    assert uses(problem, "Relu1") == [("a", 0, 32, False, 32), ("a", 0, 32, True, 32)]
    assert buffer(problem, "a").kind == "output"
    assert buffer(problem, "a").outputs == ((0, 32),)


def test_concat_in_place_makes_ranged_uses() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 16)])
    build.op(["x"], [("b", 32)])
    build.concat(["a", "b"], "c")
    build.op(["c"], [("y", 16)])
    problem = problem_of(build.graph(["y"]))
    assert [s.name for s in problem.steps] == ["start", "Conv0", "Conv1", "Conv3", "finish"]
    assert uses(problem, "Conv0")[1] == ("c", 0, 16, True, 16)
    assert uses(problem, "Conv1")[1] == ("c", 16, 48, True, 32)
    assert uses(problem, "Conv3")[0] == ("c", 0, 48, False, 48)
    assert {b.name for b in problem.buffers} == {"x", "c", "y"}


def test_concat_absorbed_in_part_copies_the_rest() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 16)])
    build.concat(["x", "a"], "c", constant_bytes=16)
    build.op(["c"], [("y", 16)])
    problem = problem_of(build.graph(["y"]))
    assert uses(problem, "Concat1") == [
        ("x", 0, 32, False, 32),
        ("c", 0, 32, True, 32),
        ("c", 48, 64, True, 16),
    ]


def test_concat_of_one_part_and_a_constant_still_writes_the_constant() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 16)])
    build.concat(["a"], "c", constant_bytes=16)
    build.op(["c"], [("y", 16)])
    problem = problem_of(build.graph(["y"]))
    assert uses(problem, "Concat1") == [("c", 16, 32, True, 16)]


def test_split_outputs_are_ranges_and_outputs_of_the_graph_are_joined() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 64)])
    build.split("a", [("p", 16), ("q", 16), ("r", 32)])
    build.op(["r"], [("y", 16)])
    problem = problem_of(build.graph(["p", "q", "y"]))
    whole = buffer(problem, "a")
    assert whole.kind == "output"
    assert whole.outputs == ((0, 32),)
    assert uses(problem, "Conv2")[0] == ("a", 32, 64, False, 32)


def test_overlapping_reads_of_a_buffer_are_merged() -> None:
    """A value, its view and a part of it are one read of at most the whole."""
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 64)])
    build.view("a", "v")
    build.split("a", [("p", 16), ("q", 48)])
    build.op(["p", "v", "a"], [("y", 16)])
    problem = problem_of(build.graph(["y"]))
    assert uses(problem, "Conv3") == [("a", 0, 64, False, 64), ("y", 0, 16, True, 16)]


def test_neighbouring_reads_of_a_buffer_stay_apart() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 64)])
    build.split("a", [("p", 16), ("q", 48)])
    build.op(["q", "p"], [("y", 16)])
    problem = problem_of(build.graph(["y"]))
    assert uses(problem, "Conv2")[:2] == [("a", 0, 16, False, 16), ("a", 16, 64, False, 48)]


def test_partial_accesses_are_counted_and_add_up_when_merged() -> None:
    build = Builder()
    build.value("i", 16, "input")
    build.value("table", 96, "weight")
    build.op(["table", "i"], [("a", 64)], accessed=[("table", 24)], kind="Gather")
    build.view("a", "v")
    build.op(["a", "v"], [("y", 16)], accessed=[("a", 8), ("v", 16)])
    problem = problem_of(build.graph(["y"]))
    assert uses(problem, "Gather0")[1] == ("table", 0, 96, False, 24)
    assert uses(problem, "Conv2")[0] == ("a", 0, 64, False, 24)


def test_values_of_no_bytes_have_a_buffer_and_no_use() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("empty", 0), ("a", 16)])
    build.op(["empty", "a"], [("y", 16)])
    problem = problem_of(build.graph(["y"]))
    assert buffer(problem, "empty").size_bytes == 0
    assert [u[0] for u in uses(problem, "Conv1")] == ["a", "y"]


def test_inputs_that_nobody_reads_are_kept_weights_are_not() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.value("unread", 32, "input")
    build.value("spare", 32, "weight")
    build.op(["x"], [("y", 16)])
    problem = problem_of(build.graph(["y", "unread"]))
    assert [b.name for b in problem.buffers] == ["x", "unread", "y"]
    assert buffer(problem, "unread").outputs == ((0, 32),)
    assert buffer(problem, "unread").kind == "input"


def test_rows_are_those_of_the_outermost_axis_longer_than_one() -> None:
    values = {
        "x": Value("x", "input", "int8", (1, 4, 6), 24),
        "s": Value("s", "input", "int8", (), 1),
        "y": Value("y", "output", "int8", (1, 1), 1),
    }
    operator = Operator("op", "Op", ("x", "s"), ("y",))
    problem = problem_of(Graph("rows", values, (operator,), ("x", "s"), ("y",)))
    assert [b.row_bytes for b in problem.buffers] == [6, 1, 1]


@pytest.mark.parametrize(
    ("shape", "size_bytes", "row_bytes"),
    [
        ((2, 5), 10, 5),
        ((1, 1, 3, 2), 12, 4),
        ((4,), 8, 2),
        ((4,), 2, 1),  # int4: less than a byte each
        ((3, 0), 0, 1),
        ((1, 1), 7, 7),
        ((), 4, 4),
        ((), 0, 1),
    ],
)
def test_a_row_has_a_byte_at_least(shape: tuple[int, ...], size_bytes: int, row_bytes: int) -> None:
    values = {
        "x": Value("x", "input", "int8", shape, size_bytes),
        "y": Value("y", "output", "int8", (4,), 4),
    }
    operator = Operator("op", "Op", ("x",), ("y",))
    problem = problem_of(Graph("rows", values, (operator,), ("x",), ("y",)))
    assert buffer(problem, "x").row_bytes == row_bytes


Range = tuple[str, int, int, int]  # buffer, first byte, end byte, accessed bytes


def joined(ranges: list[Range]) -> list[Range]:
    """Ranges with bytes in common as one, byte by byte; accesses add up to its size at most."""
    groups: list[tuple[set[tuple[str, int]], int]] = []
    for name, low, high, accessed in ranges:
        cells, total = {(name, byte) for byte in range(low, high)}, accessed
        for group in [group for group in groups if group[0] & cells]:
            groups.remove(group)
            cells, total = cells | group[0], total + group[1]
        if cells:
            groups.append((cells, total))
    found = []
    for cells, total in groups:
        name, low = min(cells)
        found.append((name, low, low + len(cells), min(total, len(cells))))
    return found


SPANS = st.tuples(st.integers(0, 12), st.integers(0, 5)).map(lambda pair: (pair[0], sum(pair)))


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 2), SPANS, st.integers(0, 5)), max_size=7))
def test_merged_uses_are_ranges_without_bytes_in_common(
    asked: list[tuple[int, tuple[int, int], int]],
) -> None:
    made = [
        Use(b, low, high, False, min(accessed, high - low), f"v{i}")
        for i, (b, (low, high), accessed) in enumerate(asked)
        if low < high
    ]
    found = merged_uses(made)
    ranges = [(str(u.buffer), u.start_byte, u.end_byte) for u in found]
    wanted = sorted(
        joined([(str(u.buffer), u.start_byte, u.end_byte, u.accessed_bytes) for u in made])
    )
    assert ranges == [each[:3] for each in wanted]
    for use, (_, low, high, total) in zip(found, wanted, strict=True):
        inside = [u for u in made if u.buffer == use.buffer and low <= u.start_byte < high]
        # The same bytes asked for twice are read once at least, and no byte more than once.
        assert max(u.accessed_bytes for u in inside) <= use.accessed_bytes <= total
        if all(a.end_byte <= b.start_byte for a, b in pairwise(sorted(inside, key=_start))):
            assert use.accessed_bytes == total
    for use in found:  # named after what begins first in it
        first = min((u for u in made if u.buffer == use.buffer), key=_begins_in(use))
        assert use.value == first.value


def _start(use: Use) -> int:
    return use.start_byte


def _begins_in(outer: Use) -> Callable[[Use], tuple[bool, int]]:
    return lambda use: (not outer.start_byte <= use.start_byte < outer.end_byte, use.start_byte)


@settings(deadline=None, derandomize=True)
@given(st.lists(SPANS, max_size=7))
@example([(0, 2), (4, 12), (6, 8)])  # one inside another, behind a third
def test_a_union_has_no_empty_and_no_touching_ranges(ranges: list[tuple[int, int]]) -> None:
    found = _union(ranges)
    covered = sorted({byte for low, high in ranges for byte in range(low, high)})
    assert [byte for low, high in found for byte in range(low, high)] == covered
    assert all(low < high for low, high in found)
    assert all(before[1] < after[0] for before, after in pairwise(found))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(graph=graphs(), seed=seeds)
def test_uses_and_buffers_are_the_union_of_what_values_occupy(graph: Graph, seed: int) -> None:
    rng = Random(seed)
    order = random_order(graph, rng)
    options = AliasOptions(alignment_bytes=rng.choice((1, 16)), in_place=rng.random() < 0.8)
    sharing = find_aliases(graph, order, options)
    problem = build_program(graph, order, aliases=options)

    def place(name: str) -> tuple[str, int, int]:
        root, low = sharing.buffer_of[name]
        return root, low, low + graph.values[name].size_bytes

    for each in problem.steps:
        if each.kind == DMA_STEP:
            continue
        operator = graph.operators[each.operator]
        accessed = dict(operator.accessed_bytes)
        absorbed = {n for n in operator.inputs if (operator.name, n) in sharing.absorbed}
        reads = [
            (*place(n), accessed.get(n, graph.values[n].size_bytes))
            for n in operator.inputs
            if n not in absorbed
        ]
        found = [use for use in uses(problem, each.name) if not use[3]]
        assert sorted((*use[:3], use[4]) for use in found) == sorted(joined(reads))
        spared = {(r, byte) for r, low, high in map(place, absorbed) for byte in range(low, high)}
        written = [
            (root, byte, byte + 1, 1)
            for root, low, high in map(place, operator.outputs)
            for byte in range(low, high)
            if (root, byte) not in spared
        ]
        found = [use for use in uses(problem, each.name) if use[3]]
        assert sorted(written) == sorted(
            (root, byte, byte + 1, 1) for root, low, high, *_ in found for byte in range(low, high)
        )
        assert all(use[4] == use[2] - use[1] for use in found)

    for each in problem.buffers:
        inside = [n for n in graph.values if sharing.buffer_of[n][0] == each.name]
        assert [(v.name, v.start_byte, v.end_byte) for v in each.values] == [
            (n, *place(n)[1:]) for n in inside
        ]
        kept = {b for n in inside if n in graph.outputs for b in range(*place(n)[1:])}
        assert sorted(kept) == [b for low, high in each.outputs for b in range(low, high)]
        assert all(b[0] > a[1] for a, b in pairwise(each.outputs))  # joined where they touch
        kind = graph.values[each.name].kind
        is_output = any(graph.values[n].kind == "output" for n in inside)
        assert each.kind == (kind if kind in ("input", "weight") or not is_output else "output")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(graph=graphs(), seed=seeds)
def test_random_problems_are_well_formed(graph: Graph, seed: int) -> None:
    rng = Random(seed)
    order = random_order(graph, rng)
    dma_steps = DmaSteps(rng.choice((0, 2)), rng.randint(1, 3))
    problem = build_program(graph, order, dma_steps=dma_steps)
    plan = Plan(Problem(problem, ANY), (), (), "none")
    assert list(find_problem_faults(plan.problem)) == []
    ran = [s.operator for s in problem.steps if s.kind != DMA_STEP]
    assert ran == [i for i in order if i in ran]
    gap = 1 + dma_steps.between
    at = [t for t, s in enumerate(problem.steps) if s.kind != DMA_STEP]
    assert at == [dma_steps.at_ends + gap * k for k in range(len(ran))]
    for name in graph.outputs:
        size = graph.values[name].size_bytes
        places = [(b, p) for b in problem.buffers for p in b.values if p.name == name]
        assert len(places) == 1
        home, place = places[0]
        covered = [o for o in home.outputs if o[0] <= place.start_byte and place.end_byte <= o[1]]
        assert len(covered) == (1 if size else 0) or not size


def test_random_problems_have_ranged_uses() -> None:
    """The random graphs are of use here: parts of buffers are read and written."""
    ranged = 0
    for seed in range(100):
        problem = problem_of(random_graph(Random(seed)))
        ranged += any(
            u.end_byte - u.start_byte < problem.buffers[u.buffer].size_bytes
            for s in problem.steps
            for u in s.uses
        )
    assert ranged > 15
