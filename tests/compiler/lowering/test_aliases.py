"""Aliases: right on random graphs in random orders, as expected on known ones, and checked."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings

from tests.support.frozen import changeable
from tests.support.graphs import Builder, graphs, random_order, seeds
from tests.support.plans import ANY
from ullage.compiler.common.errors import VerificationError
from ullage.compiler.ir.graph import Graph, Kind, Sharing
from ullage.compiler.lowering import aliases
from ullage.compiler.lowering.alias_proof import check_aliases
from ullage.compiler.lowering.aliases import (
    NO_ALIASES,
    Aliases,
    AliasOptions,
    alias_options,
    find_aliases,
)
from ullage.compiler.lowering.orders import model_order


def found_of(graph: Graph, options: AliasOptions | None = None) -> Aliases:
    found = find_aliases(graph, model_order(graph), options or AliasOptions())
    check_aliases(graph, model_order(graph), found)
    return found


def places(found: Aliases, *names: str) -> list[tuple[str, int]]:
    return [found.buffer_of[name] for name in names]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(graph=graphs(), seed=seeds)
def test_random_graphs_in_random_orders_keep_their_data(graph: Graph, seed: int) -> None:
    rng = Random(seed)
    order = random_order(graph, rng)
    options = AliasOptions(
        views=rng.random() < 0.9,
        in_place=rng.random() < 0.9,
        parts=rng.random() < 0.9,
        alignment_bytes=rng.choice((1, 8, 16, 64)),
    )
    found = find_aliases(graph, order, options)
    check_aliases(graph, order, found)
    for name, (root, offset) in found.buffer_of.items():
        value, whole = graph.values[name], graph.values[root]
        assert 0 <= offset <= whole.size_bytes - value.size_bytes
        assert found.buffer_of[root] == (root, 0)


def with_odd_sharings(graph: Graph, rng: Random) -> Graph:
    """The graph with operators that importers might make: permissions too many or too few."""
    operators = []
    for operator in graph.operators:
        sharings = operator.sharings
        if len(operator.outputs) > 1 and operator.kind == "Conv" and rng.random() < 0.7:
            size = graph.values[operator.inputs[0]].size_bytes
            sharings = tuple(
                Sharing("in_place", name, operator.inputs[0])
                for name in operator.outputs
                if graph.values[name].size_bytes == size
            )
        elif len(sharings) > 1 and rng.random() < 0.3:
            sharings = tuple(rng.sample(sharings, len(sharings) - 1))
        operators.append(replace(operator, sharings=sharings))
    return replace(graph, operators=tuple(operators))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(graph=graphs(), seed=seeds)
def test_no_operator_overwrites_what_it_reads_but_element_by_element(
    graph: Graph, seed: int
) -> None:
    """The proof runs an operator at once; what it writes first it could still have to read."""
    rng = Random(seed)
    graph = with_odd_sharings(graph, rng)
    order = random_order(graph, rng)
    found = find_aliases(graph, order, AliasOptions(alignment_bytes=rng.choice((1, 16))))
    check_aliases(graph, order, found)

    def cells(name: str) -> set[tuple[str, int]]:
        root, offset = found.buffer_of[name]
        return {(root, offset + byte) for byte in range(graph.values[name].size_bytes)}

    for operator in graph.operators:
        absorbed = {name for name in operator.inputs if (operator.name, name) in found.absorbed}
        if operator.name in found.elided:
            assert {s.kind for s in operator.sharings} <= {"view", "split", "concat"}
            assert {s.output for s in operator.sharings} == set(operator.outputs)
            continue
        for output in operator.outputs:
            written = cells(output).difference(*map(cells, absorbed))
            for source in operator.inputs:
                if source not in absorbed and cells(source) & written:
                    assert Sharing("in_place", output, source) in operator.sharings
                    assert found.buffer_of[source] == found.buffer_of[output]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(graph=graphs())
def test_without_aliases_every_value_has_a_buffer(graph: Graph) -> None:
    found = found_of(graph, NO_ALIASES)
    assert found.buffer_of == {name: (name, 0) for name in graph.values}
    assert not found.elided
    assert not found.absorbed


def test_sharing_is_common_on_random_graphs() -> None:
    """The random graphs are of use: most share something, every kind of sharing occurs."""
    from tests.support.graphs import random_graph

    views = parts = in_place = shared = 0
    for seed in range(200):
        graph = random_graph(Random(seed))
        found = found_of(graph, AliasOptions(alignment_bytes=1))
        shared += any(name != root for name, (root, _) in found.buffer_of.items())
        for operator in graph.operators:
            views += operator.kind == "Reshape" and operator.name in found.elided
            parts += operator.kind == "Split" and operator.name in found.elided
            parts += any((operator.name, name) in found.absorbed for name in operator.inputs)
            if operator.kind in ("Relu", "Add"):
                roots = {found.buffer_of[name][0] for name in operator.inputs}
                in_place += found.buffer_of[operator.outputs[0]][0] in roots
    assert shared > 100
    assert min(views, parts, in_place) > 40


# Known graphs


def test_dense_net_concats_nest_in_the_last() -> None:
    build = Builder()
    build.value("x", 64, "input")
    build.op(["x"], [("a", 64)])
    build.op(["a"], [("b", 32)])
    build.concat(["a", "b"], "c1")
    build.op(["c1"], [("d", 32)])
    build.concat(["c1", "d"], "c2")
    build.op(["c2"], [("e", 32)])
    build.concat(["c2", "e"], "c3")
    build.op(["c3"], [("y", 16)])
    found = found_of(build.graph(["y"]))
    assert places(found, "a", "b", "c1", "d", "c2", "e", "c3") == [
        ("c3", 0),
        ("c3", 64),
        ("c3", 0),
        ("c3", 96),
        ("c3", 0),
        ("c3", 128),
        ("c3", 0),
    ]
    assert found.elided == {"Concat2", "Concat4", "Concat6"}
    assert places(found, "x", "y") == [("x", 0), ("y", 0)]


def test_u_net_skip_of_an_input_is_absorbed_in_part() -> None:
    """The skip is the graph's input and keeps its home; the upsampled half moves in."""
    build = Builder()
    build.value("x", 64, "input")
    build.op(["x"], [("down", 32)])
    build.op(["down"], [("up", 64)])
    build.concat(["x", "up"], "c")
    build.op(["c"], [("y", 16)])
    found = found_of(build.graph(["y"]))
    assert places(found, "x", "up", "c") == [("x", 0), ("c", 64), ("c", 0)]
    assert found.absorbed == {("Concat2", "up")}
    assert not found.elided


def test_u_net_skip_made_inside_is_absorbed_whole() -> None:
    build = Builder()
    build.value("x", 64, "input")
    build.op(["x"], [("skip", 64)])
    build.op(["skip"], [("down", 32)])
    build.op(["down"], [("up", 64)])
    build.concat(["skip", "up"], "c")
    build.op(["c"], [("y", 16)])
    found = found_of(build.graph(["y"]))
    assert places(found, "skip", "up") == [("c", 0), ("c", 64)]
    assert found.elided == {"Concat3"}


def test_query_key_value_split_lies_in_the_whole() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("qkv", 96)])
    build.split("qkv", [("q", 32), ("k", 32), ("v", 32)])
    build.op(["q", "k"], [("s", 64)])
    build.op(["s", "v"], [("y", 32)])
    found = found_of(build.graph(["y"]))
    assert places(found, "q", "k", "v") == [("qkv", 0), ("qkv", 32), ("qkv", 64)]
    assert found.elided == {"Split1"}


def test_relu_chain_is_one_buffer() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 32)])
    build.relu("a", "b")
    build.relu("b", "c")
    build.relu("c", "y")
    found = found_of(build.graph(["y"]))
    assert places(found, "a", "b", "c", "y") == [("a", 0)] * 4
    assert not found.elided


def test_relu_of_an_input_does_not_overwrite_it() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.relu("x", "a")
    build.op(["a"], [("y", 32)])
    assert places(found_of(build.graph(["y"])), "x", "a") == [("x", 0), ("a", 0)]


def test_residual_sum_overwrites_the_branch_that_dies() -> None:
    """The first operand is read again by the last operator, the second is not."""
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 32)])
    build.op(["a"], [("b", 32)])
    build.add("a", "b", "sum")
    build.op(["sum", "a"], [("y", 32)])
    assert places(found_of(build.graph(["y"])), "a", "b", "sum") == [("a", 0), ("b", 0), ("b", 0)]


def test_sum_of_a_value_and_its_view_spares_a_view_that_is_read_later() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 32)])
    build.view("a", "v")
    build.add("v", "a", "sum")
    build.op(["sum", "v"], [("y", 32)])
    assert places(found_of(build.graph(["y"])), "v", "sum") == [("a", 0), ("sum", 0)]


def test_outputs_are_not_overwritten() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 32)])
    build.relu("a", "b")
    build.op(["b"], [("y", 32)])
    assert places(found_of(build.graph(["a", "y"])), "a", "b") == [("a", 0), ("b", 0)]


def test_element_wise_result_moves_into_its_place_in_a_concat() -> None:
    """Operand and result of the element-wise operator both live where the part will be."""
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 32)])
    build.relu("a", "b")
    build.op(["x"], [("d", 32)])
    build.concat(["d", "b"], "c")
    build.op(["c"], [("y", 32)])
    assert places(found_of(build.graph(["y"])), "a", "b", "d") == [("c", 32), ("c", 32), ("c", 0)]


def test_unaligned_parts_are_copied() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 24)])
    build.op(["x"], [("b", 24)])
    build.concat(["a", "b"], "c")
    build.op(["c"], [("y", 32)])
    graph = build.graph(["y"])
    assert places(found_of(graph), "a", "b") == [("a", 0), ("b", 0)]
    aligned = found_of(graph, AliasOptions(alignment_bytes=8))
    assert places(aligned, "a", "b") == [("c", 0), ("c", 24)]


def test_concat_with_a_constant_or_a_repeat_still_runs() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 32)])
    build.concat(["a"], "c", constant_bytes=16)
    build.op(["x"], [("b", 32)])
    build.concat(["b", "a", "b"], "d")
    build.op(["c", "d"], [("y", 32)])
    found = found_of(build.graph(["y"]))
    assert not found.elided
    assert found.absorbed == {("Concat3", "a")}


@pytest.mark.parametrize(
    ("kind", "is_output", "shared"),
    [
        ("input", False, True),
        ("weight", False, False),  # weights share with nothing
        ("activation", False, True),
        ("output", False, True),
        # An output has a home of its own: not in what has a home already.
        ("input", True, False),
        ("weight", True, False),
        ("activation", True, True),
        ("output", True, True),
    ],
)
@pytest.mark.parametrize("how", ["view", "split"])
def test_what_lies_in_a_value_depends_on_kind_and_output(
    how: str, kind: Kind, *, is_output: bool, shared: bool
) -> None:
    build = Builder()
    build.value("x", 32, "input")
    if kind in ("input", "weight"):
        build.value("a", 32, kind)
    else:
        build.op(["x"], [("a", 32)])
    if how == "view":
        build.view("a", "v")
    else:
        build.split("a", [("v", 16), ("w", 16)])
    build.op(["v"], [("y", 8)])
    outputs = ["y", *(["v"] if is_output else []), *(["a"] if kind == "output" else [])]
    found = found_of(build.graph(outputs))
    assert (found.buffer_of["v"] == ("a", 0)) is shared
    assert bool(found.elided) is shared


def test_a_split_is_done_for_all_parts_or_for_none() -> None:
    """Of an input, one part an output; and with a part that begins where no slice may."""
    build = Builder()
    build.value("x", 64, "input")
    build.split("x", [("a", 16), ("b", 48)])
    build.op(["a", "b"], [("c", 40)])
    build.split("c", [("d", 8), ("e", 32)])
    build.op(["d", "e"], [("y", 8)])
    graph = build.graph(["b", "y"])
    found = found_of(graph)
    assert found.buffer_of == {name: (name, 0) for name in graph.values}
    found = found_of(graph, AliasOptions(alignment_bytes=8))
    assert places(found, "d", "e") == [("c", 0), ("c", 8)]
    # An output of the operator that is no part of anything: it must run.
    split = graph.operators[2]
    partial = replace(split, sharings=split.sharings[:1])
    other = replace(graph, operators=(*graph.operators[:2], partial, graph.operators[3]))
    found = found_of(other, AliasOptions(alignment_bytes=8))
    assert places(found, "d", "e") == [("d", 0), ("e", 0)]


def test_a_part_ends_where_a_slice_may_end_or_where_the_whole_does() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 40)])
    build.split("a", [("b", 16), ("c", 24)])  # c ends at 40, and so does a
    build.op(["b", "c"], [("d", 40)])
    build.split("d", [("e", 16), ("f", 8)])  # f ends at 24, d goes on
    build.op(["e", "f"], [("y", 8)])
    found = found_of(build.graph(["y"]))
    assert places(found, "b", "c") == [("a", 0), ("a", 16)]
    assert places(found, "e", "f") == [("e", 0), ("f", 0)]


def test_an_operator_of_several_results_works_in_place_of_none() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 32)])
    sharings = [Sharing("in_place", name, "a") for name in ("b", "c")]
    build.op(["a"], [("b", 32), ("c", 32)], sharings=sharings)
    build.op(["b", "c"], [("y", 8)])
    found = found_of(build.graph(["y"]))
    assert places(found, "a", "b", "c") == [("a", 0), ("b", 0), ("c", 0)]


def of_one(
    sharings: list[Sharing],
    sizes: tuple[int, int, int],
    outputs: int = 1,
    options: AliasOptions | None = None,
) -> Aliases:
    """Decisions on one operator that reads a and b and writes y, and z where it has two outputs."""
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", sizes[0])])
    build.op(["x"], [("b", sizes[1])])
    results = [("y", sizes[2]), ("z", 16)][:outputs]
    build.op(["a", "b"], results, kind="Odd", sharings=sharings)
    build.op([name for name, _ in results], [("last", 8)])
    return found_of(build.graph(["last"]), options)


def test_a_view_is_of_one_value_to_one_and_of_its_size() -> None:
    of_a, of_b = Sharing("view", "y", "a"), Sharing("view", "y", "b")
    assert of_one([of_a], (32, 16, 32)).elided == {"Odd2"}
    assert not of_one([of_a], (32, 16, 24)).elided
    assert not of_one([of_a], (24, 16, 32)).elided
    assert not of_one([of_a, of_b], (32, 32, 32)).elided
    assert not of_one([of_a], (32, 16, 32), outputs=2).elided
    without = of_one([of_a], (32, 16, 32), options=AliasOptions(views=False))
    assert places(without, "y") == [("y", 0)]


def test_a_result_overwrites_an_operand_of_its_size_only() -> None:
    of_a = Sharing("in_place", "y", "a")
    assert places(of_one([of_a], (32, 16, 32)), "y") == [("a", 0)]
    assert places(of_one([of_a], (16, 16, 32)), "y") == [("y", 0)]
    assert places(of_one([of_a], (32, 16, 16)), "y") == [("y", 0)]


def test_a_split_of_one_part_is_a_view() -> None:
    assert places(of_one([Sharing("split", "y", "a")], (32, 16, 32)), "y") == [("a", 0)]


@pytest.mark.parametrize("reads_view", [False, True])
def test_an_operand_that_is_read_whole_is_not_overwritten(*, reads_view: bool) -> None:
    """The operator reads a element by element, and its view v (or its part p) as a whole."""
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 32)])
    if reads_view:
        build.view("a", "v")
    else:
        build.split("a", [("v", 16), ("w", 16)])
    build.op(["a", "v"], [("b", 32)], sharings=[Sharing("in_place", "b", "a")])
    build.op(["b"], [("y", 8)])
    assert places(found_of(build.graph(["y"])), "v", "b") == [("a", 0), ("b", 0)]


def test_parts_that_overlap_askew_are_not_overwritten() -> None:
    """Two Splits of one value: its first half, and the middle of it. Their sum is neither."""
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 64)])
    build.split("a", [("p", 32), ("r", 32)])
    build.split("a", [("s", 16), ("q", 32), ("t", 16)])
    build.add("p", "q", "sum")
    build.op(["sum"], [("y", 8)])
    found = found_of(build.graph(["y"]))
    assert places(found, "p", "q", "sum") == [("a", 0), ("a", 16), ("sum", 0)]


def test_a_part_is_overwritten_while_its_neighbours_live() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 80)])
    build.split("a", [(name, 16) for name in "pqrst"])
    build.relu("r", "u")
    build.op(["p", "q", "u", "s", "t"], [("y", 8)])
    assert places(found_of(build.graph(["y"])), "r", "u") == [("a", 32), ("a", 32)]


def test_a_part_of_a_part_is_not_overwritten_while_a_view_of_it_lives() -> None:
    """Part q lies in whole, whole in c, and v in all of them, read after q's last reader."""
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("whole", 64)])
    build.split("whole", [("p", 32), ("q", 32)])
    build.view("q", "v")
    build.op(["x"], [("d", 16)])
    build.concat(["d", "whole"], "c")
    build.op(["c"], [("e", 8)])
    build.relu("q", "s")
    build.op(["s", "v", "e"], [("y", 8)])
    found = found_of(build.graph(["y"]))
    assert places(found, "whole", "q", "v", "s") == [("c", 16), ("c", 48), ("c", 48), ("s", 0)]


def test_what_a_view_outputs_is_no_part_of_a_concat() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 32)])
    build.view("a", "v")
    build.op(["x"], [("d", 32)])
    build.concat(["a", "d"], "c")
    build.op(["c"], [("y", 8)])
    found = found_of(build.graph(["v", "y"]))
    assert places(found, "a", "v", "d") == [("a", 0), ("a", 0), ("c", 32)]


def test_a_concat_of_a_part_and_of_no_bytes_has_nothing_left_to_do() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.value("empty", 0, "input")
    build.op(["x"], [("a", 32)])
    build.concat(["a", "empty"], "c")
    build.op(["c"], [("y", 8)])
    found = found_of(build.graph(["y"]))
    assert places(found, "a") == [("c", 0)]
    assert found.elided == {"Concat1"}


def test_a_concat_that_copies_all_it_has_overwrites_no_operand() -> None:
    """Part p has its place and is copied to c; only element-wise operators work in place."""
    build = Builder()
    build.value("x", 32, "input")
    build.value("empty", 0, "input")
    build.op(["x"], [("whole", 64)])
    build.split("whole", [("p", 32), ("q", 32)])
    build.op(["q"], [("other", 8)])
    build.concat(["p", "empty"], "c")
    build.op(["c", "other"], [("y", 8)])
    found = found_of(build.graph(["y"]))
    assert places(found, "p", "c") == [("whole", 0), ("c", 0)]
    assert found.elided == {"Split1"}


@pytest.mark.parametrize("reason", ["", "output", "part"])
def test_an_operand_moves_into_a_concat_unless_it_has_a_place(reason: str) -> None:
    """Its result will be a part of c; it can be there before unless it is an output, or a part."""
    build = Builder()
    build.value("x", 32, "input")
    if reason == "part":
        build.op(["x"], [("whole", 64)])
        build.split("whole", [("a", 32), ("z", 32)])
        build.op(["z"], [("other", 8)])
    else:
        build.op(["x"], [("a", 32)])
        build.op(["x"], [("other", 8)])
    build.relu("a", "b")
    build.op(["x"], [("d", 32)])
    build.concat(["d", "b"], "c")
    build.op(["c", "other"], [("y", 8)])
    found = found_of(build.graph(["y", *(["a"] if reason == "output" else [])]))
    assert places(found, "b") == [("c", 32)]
    at = {"": ("c", 32), "output": ("a", 0), "part": ("whole", 0)}[reason]
    assert places(found, "a") == [at]


def test_a_concat_keeps_what_has_a_place_of_its_own_out() -> None:
    """Of an input, a weight, an output and a part of another value, all are copied."""
    build = Builder()
    build.value("x", 32, "input")
    build.value("w", 32, "weight")
    build.op(["x"], [("o", 32)])
    build.op(["x"], [("whole", 64)])
    build.split("whole", [("p", 32), ("q", 32)])
    build.op(["x"], [("a", 32)])
    build.concat(["x", "w", "o", "p", "a"], "c")
    build.op(["c", "q"], [("y", 8)])
    found = found_of(build.graph(["o", "y"]))
    assert found.absorbed == {("Concat4", "a")}
    assert places(found, "a") == [("c", 128)]
    assert found.elided == {"Split2"}


def test_values_of_no_bytes_may_be_in_place_of_one_another() -> None:
    """A Concat of an empty value and of its Relu: both are in the result already."""
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 0)])
    build.relu("a", "b")
    build.concat(["a", "b"], "c")
    build.op(["c", "x"], [("y", 8)])
    assert places(found_of(build.graph(["y"])), "a", "b") == [("c", 0), ("c", 0)]


def test_options_follow_the_target() -> None:
    assert AliasOptions().alignment_bytes == 16
    whole = replace(ANY, split_operands=False)
    tiers = tuple(replace(t, alignment_bytes=a) for t, a in zip(ANY.tiers, (4, 32), strict=True))
    assert alias_options(replace(ANY, tiers=tiers)) == AliasOptions(alignment_bytes=32)
    assert alias_options(whole) == AliasOptions(parts=False, alignment_bytes=4)
    assert alias_options(ANY, alias=False) == NO_ALIASES


# The checker


def moved(found: Aliases, name: str, root: str, offset: int) -> Aliases:
    return replace(found, buffer_of={**found.buffer_of, name: (root, offset)})


def refused(graph: Graph, wrong: Aliases, value: str, culprit: str) -> None:
    with pytest.raises(VerificationError) as raised:
        check_aliases(graph, model_order(graph), wrong)
    assert raised.value.details["value"] == value
    assert raised.value.details["found"] == culprit


def skip_graph() -> Graph:
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 32)])
    build.view("a", "v")
    build.relu("a", "b")
    build.op(["b", "v"], [("y", 32)])
    return build.graph(["y"])


def concat_graph() -> Graph:
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 32)])
    build.op(["x"], [("b", 32)])
    build.concat(["a", "b"], "c")
    build.op(["x"], [("d", 32)])
    build.op(["c", "d"], [("y", 32)])
    return build.graph(["y"])


def test_checker_sees_an_in_place_result_on_a_live_input() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("a", 32)])
    build.relu("a", "b")
    build.op(["a", "b"], [("y", 32)])
    graph = build.graph(["y"])
    refused(graph, moved(found_of(graph), "b", "a", 0), "a", "b")


def test_checker_sees_a_view_overwritten_early() -> None:
    graph = skip_graph()
    found = found_of(graph)
    assert found.buffer_of["v"] == ("a", 0)
    refused(graph, moved(found, "b", "a", 0), "v", "b")


def test_checker_sees_a_part_overwritten_before_the_concat_is_read() -> None:
    graph = concat_graph()
    refused(graph, moved(found_of(graph), "d", "c", 32), "c", "d")


def test_checker_sees_a_wrong_offset() -> None:
    graph = concat_graph()
    found = found_of(graph)
    refused(graph, moved(found, "b", "c", 16), "a", "b")
    # The right place, but told to be at another.
    refused(graph, moved(moved(found, "a", "c", 32), "b", "c", 0), "c", "b")


def test_checker_sees_an_output_overwritten() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.op(["x"], [("z", 32)])
    build.op(["x"], [("y", 32)])
    graph = build.graph(["z", "y"])
    refused(graph, moved(found_of(graph), "y", "z", 0), "z", "y")


def test_checker_sees_an_operator_elided_that_has_work_to_do() -> None:
    graph = skip_graph()
    found = found_of(graph)
    refused(graph, replace(found, elided=found.elided | {"Relu2"}), "b", "nothing")


def test_checker_sees_a_weight_overwritten() -> None:
    build = Builder()
    build.value("x", 32, "input")
    build.value("w", 32, "weight")
    build.op(["x"], [("a", 32)])
    build.op(["a", "w"], [("y", 32)])
    graph = build.graph(["y"])
    refused(graph, moved(found_of(graph), "a", "w", 0), "w", "a")


def test_decisions_are_never_changed() -> None:
    assert changeable(aliases) == ["_Root"]  # buffers in the making


def test_what_is_made_again_is_not_overwritten_while_others_need_it() -> None:
    """C may lie in a's or b's bytes; a is made again while c waits, then only in b's."""
    builder = Builder()
    x = builder.value("x", 64, "input")
    a, b = (builder.op([x], [(name, 64)]) for name in "ab")
    c = builder.add(a, b, "c")
    d = builder.relu(a, "d")
    graph = builder.graph([builder.add(c, d, "e")])
    order, options = (1, 2, 0, 3, 4), AliasOptions()
    again = find_aliases(graph, order, options, executions=(0, 1, 2, 0, 3, 4))
    assert again.buffer_of[c] == again.buffer_of[b]
    assert again.buffer_of[d] == again.buffer_of[a] != again.buffer_of[c]
    kept = find_aliases(graph, order, options, executions=(0, 1, 2, 0, 1, 3, 4))
    assert kept.buffer_of[c] == (c, 0)  # both are made again
