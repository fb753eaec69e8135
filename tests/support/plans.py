"""Tiny legal plans, made by hand: a few bytes, a few steps, one idea each."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

from ullage.compiler.ir.graph import Kind
from ullage.compiler.ir.plan import Plan, Residency, Transfer
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP, Buffer, PlacedValue, Program, Step, Use
from ullage.compiler.ir.target import Compute, Link, Target, Tier

DMA = Step("dma", DMA_STEP)
SRAM = Tier("sram", 64, 16e9, 16e9, alignment_bytes=4)
DRAM = Tier("dram", 128, 4e9, 4e9, alignment_bytes=4)
FLASH = Tier("flash", 64, 1e9, 0.0, alignment_bytes=4, read_only=True)
UP, DOWN = Link("dram", "sram", 4e9), Link("sram", "dram", 4e9)
COMPUTE = Compute({"float32": 1e9}, 1e9)
KINDS: tuple[Kind, ...] = ("input", "weight", "activation", "output")
IN_DRAM = dict.fromkeys(KINDS, "dram")

ANY = Target("any", (SRAM, DRAM), (UP, DOWN), COMPUTE, IN_DRAM, slice_granularity_bytes=4)
WHOLE = Target(
    "whole",
    (SRAM, DRAM),
    (UP, DOWN),
    COMPUTE,
    IN_DRAM,
    split_operands=False,
    slice_granularity_bytes=4,
)
FASTEST = Target(
    "fastest",
    (SRAM, DRAM),
    (UP, DOWN),
    COMPUTE,
    IN_DRAM,
    operand_access="fastest",
    weights_in_fastest=True,
    split_operands=False,
    slice_granularity_bytes=4,
)
ROWS = Target("rows", (SRAM, DRAM), (UP, DOWN), COMPUTE, IN_DRAM, slice_granularity_bytes=0)
THREE = Target(
    "three",
    (SRAM, DRAM, FLASH),
    (UP, DOWN, Link("flash", "sram", 1e9), Link("flash", "dram", 1e9)),
    COMPUTE,
    {**IN_DRAM, "weight": "flash"},
    slice_granularity_bytes=4,
)


def buffer(
    name: str, size_bytes: int, kind: Kind = "activation", cuts: Iterable[int] = ()
) -> Buffer:
    """A buffer of one value, or of several that begin at the cuts; outputs are output whole."""
    ends = (0, *cuts, size_bytes)
    values = tuple(
        PlacedValue(f"{name}{part}" if part else name, start, end)
        for part, (start, end) in enumerate(pairwise(ends))
    )
    outputs = ((0, size_bytes),) if kind == "output" else ()
    return Buffer(name, size_bytes, kind, values, outputs)


def problem(
    name: str, buffers: Iterable[Buffer], steps: Iterable[tuple[str, str] | None]
) -> Program:
    """A program from (reads, writes) per operator, None for a DMA-only step.

    Reads and writes are names of buffers, or `name:start:end`, separated by blanks.
    """
    known = tuple(buffers)
    index = {item.name: i for i, item in enumerate(known)}

    def uses(text: str, write: bool) -> list[Use]:
        found = []
        for word in text.split():
            part, *ends = word.split(":")
            i = index[part]
            start, end = map(int, ends) if ends else (0, known[i].size_bytes)
            found.append(Use(i, start, end, write, end - start, part))
        return found

    made: list[Step] = []
    for t, words in enumerate(steps):
        if words is None:
            made.append(DMA)
            continue
        reads, writes = words
        both = (*uses(reads, False), *uses(writes, True))
        made.append(Step(f"op{t}", "Op", t, both, vector_elements=4))
    return Program(name, "model", tuple(made), known)


def plan(
    target: Target,
    made: Program,
    residencies: Iterable[tuple[str, int, int, str, int, int, int, int]],
    transfers: Iterable[tuple[str, int, int, str, str, tuple[tuple[int, int], ...]]] = (),
) -> Plan:
    """A plan whose residencies and transfers name their buffers."""
    index = {item.name: i for i, item in enumerate(made.buffers)}
    held = [Residency(index[name], *rest) for name, *rest in residencies]  # type: ignore[arg-type]
    moved = [Transfer(index[name], *rest) for name, *rest in transfers]  # type: ignore[arg-type]
    held.sort(key=lambda item: (item.buffer, item.start_byte, item.start))
    moved.sort(key=lambda item: item.moves[0])
    return Plan(Problem(made, target), tuple(held), tuple(moved), solver="hand")


def chain() -> Plan:
    """Chain x -> a -> y; only a is in fast memory."""
    buffers = (buffer("x", 16, "input"), buffer("a", 16), buffer("y", 8, "output"))
    steps = (None, ("x", "a"), ("a", "y"), None)
    return plan(
        ANY,
        problem("chain", buffers, steps),
        [
            ("x", 0, 16, "dram", 0, 0, 0, 4),
            ("a", 0, 16, "sram", 0, 1, 1, 3),
            ("y", 0, 8, "dram", 16, 2, 2, 4),
        ],
    )


def residual() -> Plan:
    """Sum of two branches, with workspace; y takes the place of x in fast memory."""
    buffers = (
        buffer("x", 16, "input"),
        buffer("a", 16),
        buffer("b", 16),
        buffer("y", 16, "output"),
    )
    made = problem("residual", buffers, (None, ("x", "a"), ("a", "b"), ("a b", "y"), None))
    steps = list(made.steps)
    steps[2] = Step("op2", "Op", 2, steps[2].uses, vector_elements=4, workspace_bytes=16)
    return plan(
        ANY,
        Program("residual", "model", tuple(steps), buffers),
        [
            ("x", 0, 16, "dram", 0, 0, 0, 5),
            ("x", 0, 16, "sram", 32, 0, 1, 2),
            ("a", 0, 16, "sram", 0, 1, 1, 4),
            ("b", 0, 16, "sram", 16, 2, 2, 4),
            ("y", 0, 16, "sram", 32, 3, 3, 5),
            ("y", 0, 16, "dram", 16, 4, 5, 5),
        ],
        [
            ("x", 0, 16, "dram", "sram", ((0, 16),)),
            ("y", 0, 16, "sram", "dram", ((4, 16),)),
        ],
    )


def in_place() -> Plan:
    """Buffer a is copied to dram, then overwritten in sram: the copy is stale and not read."""
    buffers = (buffer("x", 16, "input"), buffer("a", 16), buffer("b", 8), buffer("y", 8, "output"))
    steps = (None, ("x", "a"), ("a", "b"), ("a", "a"), ("a b", "y"), None)
    return plan(
        ANY,
        problem("in_place", buffers, steps),
        [
            ("x", 0, 16, "dram", 0, 0, 0, 6),
            ("a", 0, 16, "sram", 0, 1, 1, 5),
            ("a", 0, 16, "dram", 16, 2, 3, 5),
            ("b", 0, 8, "sram", 16, 2, 2, 5),
            ("y", 0, 8, "dram", 32, 4, 4, 6),
        ],
        [("a", 0, 16, "sram", "dram", ((2, 16),))],
    )


def concat() -> Plan:
    """Two operators write the parts of c, one in sram and one in dram; one reads it whole."""
    buffers = (buffer("x", 8, "input"), buffer("c", 18, cuts=(6,)), buffer("y", 8, "output"))
    steps = (None, ("x", "c:0:6"), ("x", "c:6:18"), ("c", "y"), None)
    return plan(
        ANY,
        problem("concat", buffers, steps),
        [
            ("x", 0, 8, "dram", 0, 0, 0, 5),
            ("c", 0, 6, "sram", 8, 1, 1, 4),
            ("c", 6, 18, "dram", 8, 2, 2, 4),
            ("y", 0, 8, "sram", 0, 3, 3, 5),
            ("y", 0, 8, "dram", 20, 4, 5, 5),
        ],
        [("y", 0, 8, "sram", "dram", ((4, 8),))],
    )


def prefetch() -> Plan:
    """The first half of w arrives over two steps; the rest is read in place in dram."""
    buffers = (
        buffer("x", 8, "input"),
        buffer("w", 32, "weight"),
        buffer("a", 8),
        buffer("y", 8, "output"),
    )
    steps = (None, ("x", "a"), ("a w", "y"), None)
    return plan(
        ANY,
        problem("prefetch", buffers, steps),
        [
            ("x", 0, 8, "dram", 0, 0, 0, 4),
            ("w", 0, 32, "dram", 8, 0, 0, 4),
            ("w", 0, 16, "sram", 0, 0, 2, 3),
            ("a", 0, 8, "sram", 16, 1, 1, 3),
            ("y", 0, 8, "dram", 40, 2, 2, 4),
        ],
        [("w", 0, 16, "dram", "sram", ((0, 6), (1, 10)))],
    )


def two_arrivals() -> Plan:
    """Two transfers fill one residency of a target that allows no split operands."""
    buffers = (buffer("x", 8, "input"), buffer("w", 24, "weight"), buffer("y", 8, "output"))
    steps = (None, ("x", "y"), None, ("w y", "y"), None)
    return plan(
        WHOLE,
        problem("two_arrivals", buffers, steps),
        [
            ("x", 0, 8, "dram", 0, 0, 0, 5),
            ("w", 0, 24, "dram", 8, 0, 0, 5),
            ("w", 0, 24, "sram", 0, 0, 3, 4),
            ("y", 0, 8, "dram", 32, 1, 1, 5),
        ],
        [
            ("w", 0, 8, "dram", "sram", ((0, 4), (1, 4))),
            ("w", 8, 24, "dram", "sram", ((0, 10), (2, 6))),
        ],
    )


def spill() -> Plan:
    """Buffer a leaves fast memory, comes back to another address, and is read on both sides."""
    buffers = (buffer("x", 8, "input"), buffer("a", 16), buffer("b", 48), buffer("y", 8, "output"))
    steps = (None, ("x", "a"), ("a", "y"), ("y", "b"), ("b", "y"), ("a y", "y"), None)
    return plan(
        ANY,
        problem("spill", buffers, steps),
        [
            ("x", 0, 8, "dram", 0, 0, 0, 7),
            ("a", 0, 16, "sram", 0, 1, 1, 3),
            ("a", 0, 16, "dram", 8, 2, 3, 5),
            ("a", 0, 16, "sram", 48, 4, 5, 6),
            ("b", 0, 48, "sram", 0, 3, 3, 5),
            ("y", 0, 8, "dram", 24, 2, 2, 7),
        ],
        [
            ("a", 0, 16, "sram", "dram", ((2, 16),)),
            ("a", 0, 16, "dram", "sram", ((4, 16),)),
        ],
    )


def late_fetch() -> Plan:
    """Buffer a is written in dram and fetched for its two readers."""
    buffers = (buffer("x", 8, "input"), buffer("a", 24), buffer("y", 8, "output"))
    steps = (None, ("x", "a"), None, ("a", "y"), ("a y", "y"), None)
    return plan(
        WHOLE,
        problem("late_fetch", buffers, steps),
        [
            ("x", 0, 8, "dram", 0, 0, 0, 6),
            ("a", 0, 24, "dram", 8, 1, 1, 3),
            ("a", 0, 24, "sram", 0, 2, 3, 5),
            ("y", 0, 8, "dram", 32, 3, 3, 6),
        ],
        [("a", 0, 24, "dram", "sram", ((2, 24),))],
    )


def flash() -> Plan:
    """Weights start in read-only flash: v is read in dram, then in sram, w in place."""
    buffers = (
        buffer("x", 8, "input"),
        buffer("w", 16, "weight"),
        buffer("v", 16, "weight"),
        buffer("y", 8, "output"),
    )
    steps = (None, ("x w", "y"), ("w v y", "y"), ("v y", "y"), None)
    return plan(
        THREE,
        problem("flash", buffers, steps),
        [
            ("x", 0, 8, "dram", 0, 0, 0, 5),
            ("w", 0, 16, "flash", 0, 0, 0, 5),
            ("v", 0, 16, "flash", 16, 0, 0, 5),
            ("v", 0, 16, "dram", 16, 0, 1, 3),
            ("v", 0, 8, "sram", 0, 1, 3, 4),
            ("v", 8, 16, "sram", 32, 1, 3, 4),
            ("y", 0, 8, "dram", 8, 1, 1, 5),
        ],
        [
            ("v", 0, 16, "flash", "dram", ((0, 16),)),
            ("v", 0, 16, "dram", "sram", ((1, 8), (2, 8))),
        ],
    )


def fastest() -> Plan:
    """All operands in sram; DMA-only steps empty and fill it between the operators."""
    buffers = (
        buffer("x", 24, "input"),
        buffer("w", 16, "weight"),
        buffer("a", 16),
        buffer("y", 32, "output"),
    )
    steps = (None, ("x", "a"), None, None, ("a w", "y"), None)
    return plan(
        FASTEST,
        problem("fastest", buffers, steps),
        [
            ("x", 0, 24, "dram", 0, 0, 0, 6),
            ("x", 0, 24, "sram", 0, 0, 1, 2),
            ("w", 0, 16, "dram", 24, 0, 0, 6),
            ("w", 0, 16, "sram", 0, 2, 4, 5),
            ("a", 0, 16, "sram", 48, 1, 1, 3),
            ("a", 0, 16, "dram", 72, 2, 3, 4),
            ("a", 0, 16, "sram", 16, 3, 4, 5),
            ("y", 0, 32, "sram", 32, 4, 4, 6),
            ("y", 0, 32, "dram", 40, 5, 6, 6),
        ],
        [
            ("x", 0, 24, "dram", "sram", ((0, 24),)),
            ("w", 0, 16, "dram", "sram", ((2, 4), (3, 12))),
            ("a", 0, 16, "sram", "dram", ((2, 16),)),
            ("a", 0, 16, "dram", "sram", ((3, 16),)),
            ("y", 0, 32, "sram", "dram", ((5, 32),)),
        ],
    )


def rows() -> Plan:
    """Cuts between rows of 6 bytes; the output is stored in two slices."""
    made = problem(
        "rows",
        (
            Buffer("x", 18, "input", (PlacedValue("x", 0, 18),), (), row_bytes=6),
            Buffer("y", 18, "output", (PlacedValue("y", 0, 18),), ((0, 18),), row_bytes=6),
        ),
        (None, ("x", "y"), None, None),
    )
    return plan(
        ROWS,
        made,
        [
            ("x", 0, 12, "dram", 0, 0, 0, 4),
            ("x", 12, 18, "dram", 12, 0, 0, 4),
            ("x", 6, 18, "sram", 0, 0, 1, 2),
            ("y", 0, 6, "sram", 24, 1, 1, 3),
            ("y", 6, 18, "sram", 32, 1, 1, 4),
            ("y", 0, 6, "dram", 20, 2, 3, 4),
            ("y", 6, 18, "dram", 28, 2, 4, 4),
        ],
        [
            ("x", 6, 18, "dram", "sram", ((0, 12),)),
            ("y", 0, 6, "sram", "dram", ((2, 6),)),
            ("y", 6, 18, "sram", "dram", ((2, 5), (3, 7))),
        ],
    )


def pinned() -> Plan:
    """Steady state: w stays in sram for ever, half of v too; the other half is read in dram."""
    buffers = (
        buffer("x", 8, "input"),
        buffer("w", 16, "weight"),
        buffer("v", 16, "weight"),
        buffer("y", 8, "output"),
    )
    steps = (None, ("x w", "y"), ("v y", "y"), None)
    return plan(
        ANY,
        repeated(problem("pinned", buffers, steps)),
        [
            ("x", 0, 8, "dram", 0, 0, 0, 2),
            ("w", 0, 16, "dram", 8, 0, 0, 4),
            ("v", 0, 16, "dram", 24, 0, 0, 4),
            ("w", 0, 16, "sram", 0, 0, 0, 4),
            ("v", 8, 16, "sram", 16, 0, 0, 4),
            ("y", 0, 8, "dram", 40, 1, 1, 4),
        ],
    )


def wrapped() -> Plan:
    """Steady state: w is fetched at the end for the next inference, in two parts; b has its place.

    The second half of v stays in flash, the first is in dram for ever.
    """
    buffers = (
        buffer("x", 8, "input"),
        buffer("w", 24, "weight"),
        buffer("v", 16, "weight"),
        buffer("b", 48),
        buffer("y", 8, "output"),
    )
    steps = (None, ("x w", "y"), ("y", "b"), ("b v", "y"), ("y", "y"), ("y", "y"), None)
    return plan(
        THREE,
        repeated(problem("wrapped", buffers, steps)),
        [
            ("x", 0, 8, "dram", 0, 0, 0, 2),
            ("w", 0, 24, "flash", 0, 0, 0, 7),
            ("v", 0, 16, "flash", 24, 0, 0, 7),
            ("v", 0, 8, "dram", 8, 0, 0, 7),
            ("w", 0, 24, "sram", 8, 0, 0, 2),
            ("b", 0, 48, "sram", 0, 2, 2, 4),
            ("w", 0, 8, "sram", 8, 4, 6, 7),
            ("w", 8, 24, "sram", 16, 4, 5, 7),
            ("y", 0, 8, "dram", 16, 1, 1, 7),
        ],
        [
            ("w", 0, 8, "flash", "sram", ((4, 3), (5, 5))),
            ("w", 8, 24, "flash", "sram", ((4, 16),)),
        ],
    )


def repeated(once: Program) -> Program:
    """The program in steady state."""
    return replace(once, steady_state=True)


PLANS = {
    made.__name__: made()
    for made in (
        chain,
        residual,
        in_place,
        concat,
        prefetch,
        two_arrivals,
        spill,
        late_fetch,
        flash,
        fastest,
        rows,
        pinned,
        wrapped,
    )
}
