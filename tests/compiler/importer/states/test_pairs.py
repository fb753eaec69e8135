"""Pairs of `--state`: which are found, which are refused, and why."""

import onnx
import pytest

from tests.support.decode_models import Decoder, growing_decoder, preallocated_decoder
from tests.support.onnx_models import const, imported, info, model, node, weight
from ullage.compiler.common.errors import UsageError
from ullage.compiler.importer.states.pairs import with_states
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
