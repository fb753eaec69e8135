"""The live peak against a twin that counts live bytes one by one."""

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.frozen import changeable
from tests.support.programs import random_ranges
from ullage.compiler.ir.program import Buffer, Program, Step, Use
from ullage.compiler.lowering import live_ranges
from ullage.compiler.lowering.live_ranges import LivePeak, live_peak


def twin(program: Program) -> LivePeak:
    """Byte by byte and step by step."""
    last = len(program.steps) - 1
    live: list[Counter[str]] = [Counter() for _ in program.steps]
    for index, buffer in enumerate(program.buffers):
        for byte in range(buffer.size_bytes):
            used = [
                t
                for t, step in enumerate(program.steps)
                for use in step.uses
                if use.buffer == index and use.start_byte <= byte < use.end_byte
            ]
            is_output = any(low <= byte < high for low, high in buffer.outputs)
            if buffer.kind == "weight" or not (used or is_output):
                continue
            first = 0 if buffer.kind == "input" or not used else used[0]
            for t in range(first, (last if is_output else used[-1]) + 1):
                live[t][buffer.name] += 1
    sums = [
        counts.total() + step.workspace_bytes
        for counts, step in zip(live, program.steps, strict=True)
    ]
    step = sums.index(max(sums))
    names = [buffer.name for buffer in program.buffers if live[step][buffer.name]]
    names.sort(key=lambda name: -live[step][name])
    return LivePeak(sums[step], step, tuple((name, live[step][name]) for name in names))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**6))
def test_live_peak_agrees_with_a_byte_by_byte_twin(seed: int) -> None:
    program = random_ranges(Random(seed))
    assert live_peak(program) == twin(program)


def test_the_first_of_equal_peaks_is_named_and_residents_are_sorted_by_size() -> None:
    """The drawing in the module: a and b in step 1, where b begins and a ends."""
    buffers = tuple(
        Buffer(name, size, "activation") for name, size in (("a", 32), ("b", 64), ("c", 32))
    )
    at = ((0,), (0, 1), (1, 2), (2,))
    steps = tuple(
        Step(f"s{t}", "Op", t, tuple(Use(i, 0, buffers[i].size_bytes, True, 1, "v") for i in used))
        for t, used in enumerate(at)
    )
    found = live_peak(Program("drawn", "model", steps, buffers))
    assert found == LivePeak(96, 1, (("b", 64), ("a", 32)))


def test_a_program_of_no_steps_needs_nothing() -> None:
    buffers = (Buffer("a", 32, "input"), Buffer("y", 32, "output", (), ((0, 32),)))
    assert live_peak(Program("empty", "model", (), buffers)) == LivePeak(0, 0, ())


def test_peaks_are_never_changed() -> None:
    assert changeable(live_ranges) == []
