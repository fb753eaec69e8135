"""The loop boundary, byte by byte, in whatever order a plan lists its residencies."""

from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.changes import with_target
from tests.support.plans import ANY, PLANS, buffer, problem, repeated
from ullage.compiler.ir.graph import Kind
from ullage.compiler.ir.plan import Plan, Residency
from ullage.compiler.ir.problem import Problem
from ullage.compiler.verify.loop import find_wrap_violations

LAST = 3
PARTS = st.tuples(
    st.integers(0, 7),  # first byte
    st.integers(1, 8),  # bytes
    st.sampled_from(["sram", "dram"]),
    st.sampled_from([0, 0, 0, 1]),  # address of byte 0
    st.sampled_from([(0, 0, LAST), (0, 0, 1), (1, 2, LAST), (1, 1, LAST), (0, 1, LAST), (1, 2, 2)]),
)


@settings(max_examples=250, deadline=None)
@given(
    st.lists(PARTS, max_size=6), st.integers(0, 10**6), st.sampled_from(["weight", "activation"])
)
def test_the_first_bytes_that_nobody_leaves_are_named(
    parts: list[tuple[int, int, str, int, tuple[int, int, int]]], seed: int, kind: Kind
) -> None:
    buffers = (buffer("w", 8, kind),)
    made = repeated(problem("loop", buffers, [None] * LAST))
    items = [
        Residency(0, low, min(low + size, 8), tier, base + low, *steps)
        for low, size, tier, base, steps in parts
    ]
    Random(seed).shuffle(items)
    left = {
        (item.tier, item.offset - item.start_byte, byte)
        for item in items
        for byte in range(item.start_byte, item.end_byte)
        if item.end == LAST and (item.ready > item.start or item.start == item.ready == 0)
    }
    expected = []
    for item in items:
        if kind != "weight" or (item.start, item.ready) != (0, 0):
            continue
        place = (item.tier, item.offset - item.start_byte)
        lost = [b for b in range(item.start_byte, item.end_byte) if (*place, b) not in left]
        if lost:
            end = next(b for b in range(lost[0], 9) if b == item.end_byte or (*place, b) in left)
            expected.append(f"begins with bytes [{lost[0]}, {end}) at this address")
    found = list(find_wrap_violations(Plan(Problem(made, ANY), tuple(items), (), "hand")))
    assert len(found) == len(expected)
    for item, text in zip(found, expected, strict=True):
        assert text in item.message
        assert (item.rule, item.step, item.buffers) == ("wrap", LAST, ("w",))


def test_what_is_carried_into_read_only_memory_is_named_at_step_0() -> None:
    base = PLANS["pinned"]
    tiers = tuple(replace(t, read_only=t.name == "sram") for t in base.target.tiers)
    found = list(find_wrap_violations(with_target(base, replace(base.target, tiers=tiers))))
    assert [(item.step, item.buffers) for item in found] == [(0, ("w",)), (0, ("v",))]
    assert all(item.message.endswith("nothing can be brought to sram") for item in found)
