"""Orders: topological, never worse than the file's, and the peaks that brute force finds."""

import time
from random import Random

import pytest
from hypothesis import given, settings

from tests.support.graphs import Builder, all_orders, graphs, random_graph, random_order, seeds
from tests.support.plans import ANY
from tests.support.timing import within_limit
from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.problem import Problem
from ullage.compiler.lowering.aliases import NO_ALIASES, AliasOptions
from ullage.compiler.lowering.live_ranges import live_peak
from ullage.compiler.lowering.lower import build_program
from ullage.compiler.lowering.orders import model_order, planned_order
from ullage.hwmodels.bounds import live_bytes_bound
from ullage.solvers.scheduling import peak_order
from ullage.solvers.scheduling.cut_bound import cut_bound_bytes, operand_bound_bytes
from ullage.solvers.scheduling.order_items import order_items
from ullage.solvers.scheduling.order_moves import OrderMoves, moves_of
from ullage.solvers.scheduling.peak_order import memory_order, order_peak_bytes, smallest_peak
from ullage.solvers.scheduling.state_space import Effort, Probe, SearchNode, beam_order, find_order

SHARING = (NO_ALIASES, AliasOptions(), AliasOptions(parts=False), AliasOptions(in_place=False))
FEW_ORDERS = 400  # of a graph, for brute force through the real problem
FAR = 1e18  # a deadline that never comes


def no_limit() -> Effort:
    return Effort(10**12, FAR)


def is_topological(graph: Graph, order: tuple[int, ...]) -> bool:
    if sorted(order) != list(range(len(graph.operators))):
        return False
    made = {n for n, v in graph.values.items() if v.kind in ("input", "weight")}
    for index in order:
        if not set(graph.operators[index].inputs) <= made:
            return False
        made |= set(graph.operators[index].outputs)
    return True


def brute_force(moves: OrderMoves) -> int:
    """The smallest peak over all orders, without any rule: sets by size, one peak for each."""
    best = {0: moves.given_bytes}
    for _ in range(moves.count):
        larger: dict[int, int] = {}
        for done, peak in best.items():
            live = live_bytes(moves, done)
            for i in range(moves.count):
                if not done >> i & 1 and not moves.before[i] & ~done:
                    needed = max(peak, live + moves.extra_bytes(done, i))
                    after = done | 1 << i
                    larger[after] = min(needed, larger.get(after, needed))
        best = larger
    return best[moves.everything]


def live_bytes(moves: OrderMoves, done: int) -> int:
    live, reached = moves.given_bytes, 0
    while reached != done:
        i = next(
            i
            for i in range(moves.count)
            if done >> i & 1 and not reached >> i & 1 and not moves.before[i] & ~reached
        )
        live += moves.growth_bytes(reached, i)
        reached |= 1 << i
    return live


@settings(max_examples=150, deadline=None, derandomize=True)
@given(graph=graphs(14), seed=seeds)
def test_the_order_is_topological_and_its_peak_is_between_bound_and_file(
    graph: Graph, seed: int
) -> None:
    options = SHARING[seed % len(SHARING)]
    found = smallest_peak(graph, options)
    assert is_topological(graph, found.order)
    assert found.peak_bytes == order_peak_bytes(graph, found.order, options)
    assert found.peak_bytes <= order_peak_bytes(graph, model_order(graph), options)
    assert found.lower_bound_bytes <= found.peak_bytes
    assert found == smallest_peak(graph, options)
    assert found.order == memory_order(graph, options)
    other = random_order(graph, Random(seed))
    assert order_peak_bytes(graph, other, options) >= found.lower_bound_bytes


@pytest.mark.parametrize("options", SHARING, ids=["none", "all", "no-parts", "no-in-place"])
def test_peaks_equal_brute_force_over_all_orders(options: AliasOptions) -> None:
    """Every order goes through the real problem: aliases, ranges, workspace."""
    proven = total = 0
    for seed in range(150):
        graph = random_graph(Random(seed), 7)
        orders = all_orders(graph)
        if not 2 <= len(orders) <= FEW_ORDERS:
            continue
        best = min(order_peak_bytes(graph, order, options) for order in orders)
        found = smallest_peak(graph, options)
        assert found.lower_bound_bytes <= best <= found.peak_bytes, seed
        if found.is_optimal:
            assert found.peak_bytes == best, seed
        proven += found.is_optimal
        total += 1
    assert total > 60
    assert proven >= (1.0 if options == NO_ALIASES else 0.95) * total


def test_searches_and_bounds_agree_with_brute_force_over_sets() -> None:
    """Without shortcuts of the facade: exact search, beams and cuts on graphs of 12 operators."""
    tight = 0
    for seed in range(250):
        graph = random_graph(Random(10_000 + seed), 12)
        items, _ = order_items(graph, AliasOptions())
        moves = moves_of(items)
        best = brute_force(moves)
        order, certain = find_order(Probe(moves, best, no_limit()), 10**6)
        assert certain, seed
        assert order is not None, seed
        assert moves.peak_bytes(order) <= best, seed
        below = Probe(moves, best - 1, no_limit())
        assert find_order(below, 10**6) == (None, True), seed
        assert below.exceeded <= best, seed
        beam = beam_order(Probe(moves, 10**9, no_limit()), 3)
        assert beam is not None
        assert moves.peak_bytes(beam) >= best
        operands = operand_bound_bytes(items, moves)
        cuts = cut_bound_bytes(items, moves, order, 0, FAR)
        assert operands <= cuts <= best, seed
        tight += cuts == best
    assert tight > 150


@settings(max_examples=200, deadline=None, derandomize=True)
@given(graph=graphs(12), seed=seeds)
def test_modelled_peaks_never_exceed_real_ones(graph: Graph, seed: int) -> None:
    options = SHARING[seed % len(SHARING)]
    items, bounding = order_items(graph, options)
    order = random_order(graph, Random(seed))
    place = {operator: i for i, operator in enumerate(items.operators)}
    chosen = [place[index] for index in order if index in place]
    real = order_peak_bytes(graph, order, options)
    assert moves_of(bounding).peak_bytes(chosen) <= real
    if options.parts is False and not options.in_place:
        assert moves_of(items).peak_bytes(chosen) == real


@settings(max_examples=100, deadline=None, derandomize=True)
@given(graph=graphs(12))
def test_live_peak_is_the_live_bytes_bound_plus_workspace(graph: Graph) -> None:
    """Two walks over liveness, one in the artefacts and one in the hardware models, agree."""
    problem = Problem(build_program(graph, model_order(graph)), ANY)
    most = max((s.workspace_bytes for s in problem.steps), default=0)
    bound = live_bytes_bound(problem).value
    assert bound <= live_peak(problem.program).size_bytes <= bound + most


def two_branches() -> Graph:
    """Each branch blows up and shrinks again; side by side they need twice the room."""
    build = Builder()
    build.value("x", 8, "input")
    build.op(["x"], [("a1", 96)])
    build.op(["x"], [("b1", 96)])
    build.op(["a1"], [("a2", 8)])
    build.op(["b1"], [("b2", 8)])
    build.op(["a2", "b2"], [("y", 8)])
    return build.graph(["y"])


def big_result_last() -> Graph:
    """The operator that only grows memory can wait."""
    build = Builder()
    build.value("x", 16, "input")
    build.op(["x"], [("big", 96)])
    build.op(["x"], [("a", 64)])
    build.op(["a"], [("b", 8)])
    build.op(["b", "big"], [("y", 8)])
    return build.graph(["y"])


def shrink_first() -> Graph:
    build = Builder()
    build.value("x", 64, "input")
    build.op(["x"], [("p", 64)])
    build.op(["x"], [("q", 8)])
    build.op(["p"], [("r", 8)])
    build.op(["q"], [("s", 64)])
    build.op(["r", "s"], [("y", 8)])
    return build.graph(["y"])


@pytest.mark.parametrize(
    ("graph", "model_peak", "best_peak"),
    [
        (two_branches(), 8 + 96 + 96, 8 + 96 + 8),
        (big_result_last(), 16 + 96 + 64, 16 + 8 + 96),
        (shrink_first(), 64 + 64 + 8, 64 + 64 + 8),
    ],
    ids=["two-branches", "big-result-last", "shrink-first"],
)
def test_known_graphs_get_their_optimum(graph: Graph, model_peak: int, best_peak: int) -> None:
    assert order_peak_bytes(graph, model_order(graph)) == model_peak
    found = smallest_peak(graph)
    assert found.peak_bytes == found.lower_bound_bytes == best_peak
    assert found.method == ("model" if model_peak == best_peak else "greedy")


def test_views_take_no_room_and_weights_do_not_count() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.value("w", 1024, "weight")
    build.op(["x", "w"], [("a", 32)])
    build.view("a", "v")
    build.op(["v", "a"], [("y", 16)], workspace_bytes=40)
    graph = build.graph(["y"])
    assert smallest_peak(graph).peak_bytes == 32 + 16 + 40


def test_a_concat_of_competing_parts_is_bounded_with_care() -> None:
    """Two Concats want `a`; whichever runs last gets it, so the bound leaves their bytes out."""
    build = Builder()
    build.value("x", 32, "input")
    for name in "abc":
        build.op(["x"], [(name, 32)])
    build.concat(["a", "b"], "left")
    build.concat(["a", "c"], "right")
    build.op(["left"], [("l", 16)])
    build.op(["right"], [("r", 16)])
    graph = build.graph(["l", "r"])
    items, bounding = order_items(graph, AliasOptions())
    assert bounding is not items
    best = min(order_peak_bytes(graph, order) for order in all_orders(graph))
    found = smallest_peak(graph)
    assert found.lower_bound_bytes <= best <= found.peak_bytes


def wide_graph(operators: int) -> Graph:
    """Random operators over a wide front: too many sets to prove anything."""
    rng, build = Random(5), Builder()
    build.value("x", 64, "input")
    alive = ["x"]
    for i in range(operators):
        sources = [rng.choice(alive[-40:]) for _ in range(rng.choice((1, 2, 3)))]
        alive.append(build.op(sources, [(f"v{i}", 8 * rng.randint(1, 64))]))
    read = {name for operator in build.operators for name in operator.inputs}
    return build.graph([name for name in alive if name not in read])


def test_limits_end_the_search_with_an_order_and_a_bound() -> None:
    graph = wide_graph(250)
    found = within_limit(0.3, lambda _: smallest_peak(graph, limit_s=0.3))
    assert found.limited
    assert not found.is_optimal
    assert found.lower_bound_bytes < found.peak_bytes
    given = order_peak_bytes(graph, model_order(graph))
    assert found.peak_bytes <= given  # the file's order where a busy machine leaves no time
    few = smallest_peak(graph, limit_s=60, limit_moves=4000)
    assert few.peak_bytes <= given
    assert smallest_peak(graph, limit_s=60, limit_moves=60_000).peak_bytes < given
    assert few == smallest_peak(graph, limit_s=60, limit_moves=4000)
    none = smallest_peak(graph, deadline=time.monotonic() - 1)
    assert none.order == model_order(graph)
    assert none.notes == ("order: no time was left to search; the file's order is used",)
    assert none.lower_bound_bytes <= few.peak_bytes


def test_a_wide_fan_ends_in_time_with_the_files_order_or_a_better_one() -> None:
    """3000 readers of one tensor: one expansion, one cut per operand take longer than the limit."""
    build = Builder()
    build.value("x", 64, "input")
    parts = [build.op(["x"], [(f"v{i}", 64)]) for i in range(3000)]
    graph = build.graph([build.op(parts, [("y", 64)])])
    items, _ = order_items(graph, AliasOptions())
    probe = Probe(moves_of(items), 10**9, Effort(10**9, 0.0))
    assert len(probe.children(SearchNode(0, 64, probe.moves.first_ready(), 0, (), None))) < 64
    assert probe.is_late
    found = within_limit(0.5, lambda deadline: smallest_peak(graph, deadline=deadline))
    assert found.peak_bytes <= order_peak_bytes(graph, model_order(graph))


def test_sets_that_would_fill_memory_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = wide_graph(60)
    monkeypatch.setattr(peak_order, "MAX_SET_BYTES", 100)
    found = smallest_peak(graph)
    assert (found.order, found.limited) == (model_order(graph), True)
    assert found.notes == ("order: 60 operators are too many to search; the file's order is used",)


def test_plans_carry_their_order() -> None:
    graph = two_branches()
    order = memory_order(graph)
    assert planned_order(graph, {"operator_order": list(order)}) == order
    assert planned_order(graph, {}) == model_order(graph)
    with pytest.raises(UsageError, match="no model"):
        planned_order(graph, {"order": "memory"})
    wrong: list[object] = [[0, 1], [0, 0, 1, 2, 3], [4, 3, 2, 1, 0], "01234", [[], 1, 2, 3, 4], 7]
    for given_order in wrong:
        with pytest.raises(UsageError, match="operator_order"):
            planned_order(graph, {"operator_order": given_order})
