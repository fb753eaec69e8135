"""Slices that find no pages lose as little as possible."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import pytest

from ullage.compiler.ir.problem import Problem
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.slices import placement
from ullage.solvers.fluid.slices.placement import place_in_pages
from ullage.solvers.fluid.slices.sliced_state import SlicedResidencyState
from ullage.solvers.packing.pages import Rectangle, page_runs
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.segments import segments_of

PAGE = 256
# Pages of four weights, and the operator that reads each; memory for them, and for the tensors
# between operators.
WEIGHTS = {"kept": (50, 2), "early": (20, 4), "small": (10, 4), "late": (50, 6)}
PAGES = 110 + 2


def _problem() -> Problem:
    tensors = [Tensor("x0", PAGE, "input")]
    operators = []
    for i in range(8):
        weights = [name for name, (_, reader) in WEIGHTS.items() if reader == i]
        tensors += [Tensor(name, WEIGHTS[name][0] * PAGE, "weight") for name in weights]
        tensors.append(Tensor(f"x{i + 1}", PAGE, "output" if i == 7 else "activation"))
        operators.append(Op(f"op{i}", [f"x{i}", *weights], [f"x{i + 1}"], macs=100_000))
    chip = load_target("edge-npu-spm").with_fast_memory(PAGES * PAGE)
    problem = problem_from_lists("arcs", tensors, operators, chip)
    return replace(problem, program=replace(problem.program, steady_state=True))


def _state() -> tuple[SlicedResidencyState, dict[str, int]]:
    """Three arcs around the inference and a weight at both of its ends; slices by name."""
    problem = _problem()
    segments = segments_of(problem)
    state = SlicedResidencyState(problem, segments, PAGE, [PAGE] * len(segments))
    number = {problem.buffers[s.buffer].name: i for i, s in enumerate(segments)}
    for name, start, end in (("early", 4, 14), ("small", 4, 14), ("late", 12, 20)):
        index = number[name]
        state.lift(index)
        fill = ((start, segments[index].size_bytes),)
        state.add(index, 0, 0, SegmentResidency(index, start, start + 1, end, fill))
    index = number["kept"]
    state.lift(index)
    state.add(index, 0, 0, SegmentResidency(index, 0, 0, 8))
    back = ((17, segments[index].size_bytes),)
    state.add(index, 1, 0, SegmentResidency(index, 17, 18, state.steps, back))
    state.untouched.add(index)
    return state, number


def test_a_slice_that_lacks_some_pages_is_shortened_and_not_given_up() -> None:
    """Live bytes always fit, but three arcs around the inference need pages of their own.

        kept   |=======|                  |=======   (the same pages at both ends)
        early      |==========|
        late                |=========|

    What `early` finds of its 20 pages it keeps; the rest comes when it can.
    """
    state, number = _state()
    assert int(state.load_bytes.max()) <= PAGES * PAGE
    placed = place_in_pages(state, Budget())
    segments = state.slices
    pages = {
        name: sum(r.end_byte - r.start_byte for r in placed if r.buffer == buffer and r.start <= 4)
        // PAGE
        for name, index in number.items()
        for buffer in [segments[index].buffer]
    }
    assert pages["small"] == 10
    assert pages["early"] >= 10
    assert pages["kept"] >= 25  # and no other is given up in its place


def test_what_was_cut_off_and_finds_no_pages_again_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A search for times may bring back what was cut off, into the same steps without pages."""
    state, number = _state()
    calls = 0

    def back_again(
        state: SlicedResidencyState, _window: int, _budget: Budget, cut: Collection[int]
    ) -> None:
        nonlocal calls
        calls += 1
        assert calls < 100, "the same bytes are cut off again and again"
        for index in cut:
            size = state.slices[index].size_bytes
            if size and index not in state.untouched:
                state.lift(index)
                state.add(index, 0, 0, SegmentResidency(index, 5, 6, 14, ((5, size),)))

    def crowded(
        rectangles: Sequence[Rectangle], page_bytes: int, capacity_bytes: int
    ) -> tuple[list[list[tuple[int, int]] | None], list[int]]:
        """No pages for what came back."""
        runs, missing = page_runs(rectangles, page_bytes, capacity_bytes)
        for at, rectangle in enumerate(rectangles):
            if (rectangle.start, rectangle.end) == (5, 14):
                runs[at], missing[at] = None, rectangle.size_bytes
        return runs, missing

    monkeypatch.setattr(placement, "retime", back_again)
    monkeypatch.setattr(placement, "page_runs", crowded)
    placed = place_in_pages(state, Budget())
    assert calls > 1
    assert {r.buffer for r in placed} >= {state.slices[number["kept"]].buffer}
    assert not [r for r in placed if (r.start, r.end) == (5, 14)]
