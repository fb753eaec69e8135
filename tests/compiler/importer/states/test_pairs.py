"""Pairs of `--state`: which are found, which are refused, and why."""

import onnx
import pytest

from tests.support.decode_models import (
    Decoder,
    grouped_decoder,
    growing_decoder,
    preallocated_decoder,
)
from tests.support.onnx_models import const, imported, info, model, node, weight
from ullage.compiler.common.errors import UsageError
from ullage.compiler.importer.states.pairs import NO_STATES, with_states
from ullage.compiler.ir.dag import is_order, operator_dag
from ullage.compiler.ir.graph import Graph, State
from ullage.compiler.ir.program import Layout
from ullage.compiler.ir.states.flow import state_layouts
from ullage.compiler.lowering.lower import build_program
from ullage.compiler.lowering.orders import model_order


def graph_of(made: onnx.ModelProto, *, fuse: bool = True) -> Graph:
    return imported(made, fuse=fuse)


def update_model() -> onnx.ModelProto:
    """A MatMul reads p, and p - g replaces it in an operator that the file has first."""
    return model(
        [
            node("Sub", "p g", "q"),
            node("MatMul", "x p", "y"),
        ],
        [info("p", (4, 4)), info("g", (4, 4)), info("x", (2, 4))],
        [info("q", (4, 4)), info("y", (2, 4))],
        [],
    )


def test_growing_caches_are_found_with_their_axis() -> None:
    graph = with_states(graph_of(growing_decoder(Decoder(layers=1))), ["auto"])
    assert graph.states == (
        State("past_k0", "present_k0", 2),
        State("past_v0", "present_v0", 2),
    )


def test_preallocated_caches_and_the_position_are_found() -> None:
    graph = with_states(graph_of(preallocated_decoder(Decoder(layers=1))), ["auto"])
    assert set(graph.states) == {
        State("position", "next_position"),
        State("past_k0", "present_k0"),
        State("past_v0", "present_v0"),
    }


def test_caches_of_an_attention_are_found_of_which_it_reads_all_and_writes_a_row() -> None:
    graph = with_states(graph_of(grouped_decoder()), ["auto"])
    assert set(graph.states) == {
        State("last", "next_last"),
        *(State(f"past_{n}{i}", f"present_{n}{i}") for n in "kv" for i in (0, 1)),
    }
    program = build_program(graph, model_order(graph))
    caches = {i: b for i, b in enumerate(program.buffers) if b.name.startswith("past_")}
    assert len(caches) == 4
    attentions = [s for s in program.steps if s.kind == "GroupQueryAttention"]
    accessed = [
        (use.write, use.accessed_bytes, caches[use.buffer].size_bytes)
        for step in attentions
        for use in step.uses
        if use.buffer in caches
    ]
    assert len(accessed) == 8
    for write, accessed_bytes, size_bytes in accessed:
        assert size_bytes == 8 * 2 * 16 * 4
        assert accessed_bytes == (size_bytes // 8 if write else size_bytes)


def test_nothing_is_asked_nothing_changes() -> None:
    graph = graph_of(growing_decoder(Decoder(layers=1)))
    assert with_states(graph, []) is graph


def test_the_token_axis_is_outermost_in_memory() -> None:
    graph = with_states(graph_of(growing_decoder(Decoder(layers=1, kv_heads=2))), ["auto"])
    layouts = state_layouts(graph)
    assert layouts["past_k0"] == layouts["present_k0"] == Layout(2)
    assert layouts["l0_k_five"] == Layout(3)  # a view with a further axis of length 1


def test_a_growing_cache_is_one_buffer_and_a_token_writes_one_row() -> None:
    sizes = Decoder(layers=1)
    plain = graph_of(growing_decoder(sizes))
    graph = with_states(plain, ["auto"])
    program = build_program(graph, model_order(graph))
    row = 4 * sizes.kv_heads * sizes.head_size
    for which in "kv":
        (buffer,) = [b for b in program.buffers if b.name == f"present_{which}0"]
        assert buffer.kind == "state"
        assert buffer.initial
        assert buffer.persistent
        assert not buffer.constant
        places = {value.name: (value.start_byte, value.end_byte) for value in buffer.values}
        assert places[f"past_{which}0"] == (0, 8 * row)
        assert places[f"present_{which}0"] == (0, 9 * row)
        uses = [u for _, u in program.uses_of[program.buffers.index(buffer)] if u.write]
        assert [(u.start_byte, u.end_byte) for u in uses] == [(8 * row, 9 * row)]
    assert not any(step.kind == "Concat" for step in program.steps)
    before = sum(b.size_bytes for b in build_program(plain, model_order(plain)).buffers)
    assert before - sum(b.size_bytes for b in program.buffers) >= 2 * 8 * row


def test_a_preallocated_cache_is_written_row_by_row() -> None:
    sizes = Decoder(layers=1)
    graph = with_states(graph_of(preallocated_decoder(sizes)), ["auto"])
    program = build_program(graph, model_order(graph))
    row = 4 * sizes.kv_heads * sizes.head_size
    steps = [step for step in program.steps if step.kind == "ScatterND"]
    assert len(steps) == 2
    for step in steps:
        (read,) = [u for u in step.uses if not u.write and u.value.startswith("past")]
        (write,) = [u for u in step.uses if u.write]
        assert (write.start_byte, write.end_byte, write.accessed_bytes) == (0, 8 * row, row)
        assert (read.buffer, read.accessed_bytes) == (write.buffer, 0)
        assert step.vector_elements == row // 4


def test_readers_of_the_old_data_come_before_it_is_overwritten() -> None:
    graph = graph_of(update_model(), fuse=False)
    assert model_order(graph) == (0, 1)
    kept = with_states(graph, ["p=q"])
    assert model_order(kept) == (1, 0)
    assert not is_order(operator_dag(kept), (0, 1))


def test_a_reader_that_needs_the_new_data_is_named() -> None:
    late = model(
        [node("Sub", "p g", "q"), node("MatMul", "q p", "y")],
        [info("p", (4, 4)), info("g", (4, 4))],
        [info("q", (4, 4)), info("y", (4, 4))],
        [],
    )
    with pytest.raises(UsageError, match=r"MatMul .* reads 'p' and needs what Sub"):
        with_states(graph_of(late, fuse=False), ["p=q"])


def test_an_operator_that_does_not_read_element_by_element_is_named() -> None:
    mixed = model(
        [node("MatMul", "h w", "n")],
        [info("h", (4, 4))],
        [info("n", (4, 4))],
        [weight("w", (4, 4))],
    )
    with pytest.raises(UsageError, match="does not read it element by element"):
        with_states(graph_of(mixed), ["h=n"])


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("p", "takes IN=OUT or auto"),
        ("z=q", "no input 'z'"),
        ("p=z", "no output 'z'"),
        ("x=q", r"the input is \[2, 4\], the output \[4, 4\]"),
    ],
)
def test_what_is_no_pair_is_refused(text: str, part: str) -> None:
    with pytest.raises(UsageError, match=part):
        with_states(graph_of(update_model()), [text])


def test_one_tensor_is_in_one_pair_only() -> None:
    with pytest.raises(UsageError, match="can be in one state only"):
        with_states(graph_of(update_model()), ["p=q", "g=q"])


def test_ambiguous_pairs_list_their_candidates() -> None:
    with pytest.raises(UsageError, match="could follow each of p, g"):
        with_states(graph_of(update_model()), ["auto"])
    kept = with_states(graph_of(update_model()), ["p=q", "auto"])
    assert kept.states == (State("p", "q"),)


def test_other_outputs_are_not_looked_through() -> None:
    """Momentum: v' = 0.9 v + g, p' = p - v'; both are updates of their own input."""
    momentum = model(
        [
            node("Mul", "v decay", "older"),
            node("MatMul", "x x", "g"),
            node("Add", "older g", "v_next"),
            node("Sub", "p v_next", "p_next"),
        ],
        [info("p", (4, 4)), info("v", (4, 4)), info("x", (4, 4))],
        [info("p_next", (4, 4)), info("v_next", (4, 4))],
        [const("decay", 0.9, "float32")],
    )
    graph = with_states(graph_of(momentum), ["auto"])
    assert set(graph.states) == {State("p", "p_next"), State("v", "v_next")}


def test_a_window_that_slides_is_no_state() -> None:
    """The new data is a part of the old in another place: it cannot be written over it."""
    sliding = model(
        [
            node("Slice", "past one end", "tail"),
            node("Concat", "tail new", "present", axis=0),
        ],
        [info("past", (4, 8)), info("new", (1, 8))],
        [info("present", (4, 8))],
        [const("one", [1]), const("end", [4])],
    )
    graph = graph_of(sliding)
    assert with_states(graph, ["auto"]).states == ()
    with pytest.raises(UsageError, match="while it reads it"):
        with_states(graph, ["past=present"])


def residual(*, caches: bool = False, scaled: bool = False) -> onnx.ModelProto:
    """Residual, y = x + f(x), or scaled, y = x * s, and read by a product; with caches or none."""
    nodes = [
        node("MatMul", "x w", "inner"),
        node("Add", "x inner", "y") if not scaled else node("Mul", "x s", "y"),
        node("MatMul", "y w", "logits"),
    ]
    inputs, outputs = [info("x", (1, 4))], [info("y", (1, 4)), info("logits", (1, 4))]
    if caches:
        nodes.append(node("Concat", "past inner", "present", axis=0))
        inputs.append(info("past", (8, 4)))
        outputs.append(info("present", (9, 4)))
    return model(nodes, inputs, outputs, [weight("w", (4, 4)), const("s", 0.5, "float32")])


@pytest.mark.parametrize("fuse", [True, False])
def test_a_residual_stream_is_no_state(*, fuse: bool) -> None:
    found = with_states(graph_of(residual(caches=True), fuse=fuse), ["auto"])
    assert found.states == (State("past", "present", 0),)
    assert with_states(graph_of(residual(), fuse=fuse), ["auto"]).states == ()
    given = with_states(graph_of(residual(caches=True), fuse=fuse), ["auto", "x=y"])
    assert set(given.states) == {State("x", "y"), State("past", "present", 0)}


def test_beside_caches_data_that_is_scaled_is_no_state() -> None:
    found = with_states(graph_of(residual(caches=True, scaled=True)), ["auto"])
    assert found.states == (State("past", "present", 0),)


def test_a_recurrent_state_that_a_product_reads_is_found_without_caches() -> None:
    """A state-space model: h' = a * h + u, y = h' C."""
    recurrent = model(
        [node("Mul", "h a", "kept"), node("Add", "kept u", "n"), node("MatMul", "n c", "y")],
        [info("h", (1, 4)), info("u", (1, 4))],
        [info("n", (1, 4)), info("y", (1, 4))],
        [const("a", 0.9, "float32"), weight("c", (4, 4))],
    )
    found = with_states(graph_of(recurrent), ["auto", "u="])
    assert found.states == (State("h", "n"),)


def test_new_rows_made_of_the_old_are_none_of_a_cache() -> None:
    """DenseNet: what a layer makes of its input stands behind the input."""
    dense = model(
        [node("MatMul", "x w", "new"), node("Concat", "x new", "y", axis=0)],
        [info("x", (4, 4))],
        [info("y", (8, 4))],
        [weight("w", (4, 4))],
    )
    graph = graph_of(dense)
    found = with_states(graph, ["auto"])
    assert found.states == ()
    assert found.notes == (NO_STATES,)
    assert with_states(graph, ["x=y"]).states == (State("x", "y", 0),)


def trained(*, use: str) -> onnx.ModelProto:
    """An update p' = p - g, where g depends on p through a product; how p is read is chosen."""
    uses = {
        "weight": [node("MatMul", "x p", "h")],
        "moved weight": [node("Transpose", "p", "t", perm=[1, 0]), node("MatMul", "x t", "h")],
        "table": [node("Gather", "p rows", "h")],
        "broadcast": [node("Add", "x3 p", "h3"), node("ReduceSum", "h3 zero", "h", keepdims=0)],
        "scale": [node("LayerNormalization", "x p", "h", axis=0)],
        "data": [node("MatMul", "p x", "h")],
        "normalised": [node("LayerNormalization", "p s", "h")],
    }
    return model(
        [*uses[use], node("MatMul", "h h", "g"), node("Sub", "p g", "q")],
        [info("p", (4, 4)), info("x", (4, 4)), info("x3", (2, 4, 4))],
        [info("q", (4, 4))],
        [const("rows", [0, 1, 2, 3]), const("zero", [0]), weight("s", (4,))],
    )


@pytest.mark.parametrize("use", ["weight", "moved weight", "table", "broadcast", "scale"])
def test_parameters_are_known_by_their_use(use: str) -> None:
    found = with_states(graph_of(trained(use=use)), ["auto"])
    assert found.states == (State("p", "q"),)
    assert found.notes == ()


@pytest.mark.parametrize("use", ["data", "normalised"])
def test_data_is_known_by_its_use(use: str) -> None:
    assert with_states(graph_of(trained(use=use)), ["auto"]).states == ()


def test_an_input_is_left_out() -> None:
    graph = graph_of(preallocated_decoder(Decoder(layers=1)))
    found = with_states(graph, ["auto", "position="])
    assert set(found.states) == {State("past_k0", "present_k0"), State("past_v0", "present_v0")}
    with pytest.raises(UsageError, match="position= leaves an input out of --state auto"):
        with_states(graph, ["position="])


def test_the_reason_why_an_output_is_no_longer_input_is_named() -> None:
    graph = graph_of(growing_decoder(Decoder(layers=1)))
    with pytest.raises(UsageError, match=r"'present_v0' appends to another input, 'past_v0'"):
        with_states(graph, ["past_k0=present_v0"])
    behind = model(
        [node("Concat", "new past", "present", axis=0), node("Pad", "past pads", "padded")],
        [info("past", (8, 4)), info("new", (1, 4))],
        [info("present", (9, 4)), info("padded", (9, 4))],
        [const("pads", [0, 0, 1, 0])],
    )
    with pytest.raises(UsageError, match="has the input behind new data, not in front"):
        with_states(graph_of(behind), ["past=present"])
    with pytest.raises(UsageError, match=r"Pad .* does not append to the input"):
        with_states(graph_of(behind), ["past=padded"])
