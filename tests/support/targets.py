"""Builders of small problems and plans, by hand and at random."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ullage.compiler.ir.graph import Gemm, Kind
from ullage.compiler.ir.plan import Plan, Residency, Transfer
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP, Buffer, Program, Step, Use
from ullage.compiler.ir.target import Compute, Link, Target, Tier

# A buffer's name, or its name with first byte, end byte and accessed bytes.
Operand = str | tuple[str, int, int, int]

# sram reads 100 B/s and writes 50 B/s, dram 10 and 5; the links alone are as fast as dram.
HAND = Target(
    name="hand",
    tiers=(
        Tier("sram", 1000, 100.0, 50.0, 1, 1.0, 2.0),
        Tier("dram", 100_000, 10.0, 5.0, 1, 10.0, 20.0),
    ),
    links=(Link("dram", "sram", 10.0, 0.0, 3.0), Link("sram", "dram", 5.0, 0.0, 4.0)),
    compute=Compute({"int8": 20.0, "int16": 10.0}, 10.0, 0.0, {"int8": 0.5, "int16": 1.0}),
    homes={"input": "dram", "weight": "dram", "activation": "dram", "output": "dram"},
    slice_granularity_bytes=4,
)


@dataclass(frozen=True)
class Op:
    """An operator of a hand-written problem."""

    name: str
    reads: tuple[Operand, ...] = ()
    writes: tuple[Operand, ...] = ()
    macs: int = 0
    dtype: str = "int8"
    vector: int = 0
    gemms: tuple[Gemm, ...] = ()
    workspace: int = 0
    look_ups: tuple[str, ...] = ()


def make_problem(
    buffers: Mapping[str, tuple[Kind, int]], operators: Sequence[Op], target: Target = HAND
) -> Problem:
    """The operators in order between two DMA-only steps; `output` buffers are outputs entirely."""
    index = {name: i for i, name in enumerate(buffers)}

    def use(op: Op, operand: Operand, *, write: bool) -> Use:
        if isinstance(operand, str):
            size = buffers[operand][1]
            return Use(index[operand], 0, size, write, size, operand)
        name, start, end, accessed = operand
        return Use(index[name], start, end, write, accessed, name, name in op.look_ups)

    steps = [
        Step(
            name=op.name,
            kind="Op",
            operator=i,
            uses=tuple(
                [use(op, read, write=False) for read in op.reads]
                + [use(op, write, write=True) for write in op.writes]
            ),
            macs=op.macs,
            mac_dtype=op.dtype,
            vector_elements=op.vector,
            gemms=op.gemms,
            workspace_bytes=op.workspace,
        )
        for i, op in enumerate(operators)
    ]
    program = Program(
        name="hand",
        order="model",
        steps=(Step("load", DMA_STEP), *steps, Step("store", DMA_STEP)),
        buffers=tuple(
            Buffer(name, size, kind, (), ((0, size),) if kind == "output" else ())
            for name, (kind, size) in buffers.items()
        ),
    )
    return Problem(program, target)


def make_plan(
    problem: Problem,
    residencies: Sequence[tuple[str, str, int, int, int]],
    transfers: Sequence[tuple[str, str, str, dict[int, int]]] = (),
    target: Target = HAND,
) -> Plan:
    """A plan of whole-buffer residencies and transfers.

    Args:
        problem: what is planned.
        residencies: (buffer, tier, offset, start, end); ready when the transfer into it ends.
        transfers: (buffer, source, destination, {step: bytes}).
        target: the chip, instead of the problem's.
    """
    index = {buffer.name: i for i, buffer in enumerate(problem.buffers)}
    placed = []
    for name, tier, offset, start, end in residencies:
        arrivals = [
            max(moves) + 1
            for moved, _, to, moves in transfers
            if (moved, to) == (name, tier) and start <= min(moves) < end
        ]
        size = problem.buffers[index[name]].size_bytes
        ready = max(arrivals, default=start)
        placed.append(Residency(index[name], 0, size, tier, offset, start, ready, end))
    moved = [
        Transfer(
            index[name], 0, problem.buffers[index[name]].size_bytes, a, b, tuple(moves.items())
        )
        for name, a, b, moves in transfers
    ]
    return Plan(
        problem=problem.on(target),
        residencies=tuple(placed),
        transfers=tuple(moved),
        solver="hand",
    )


def seeded(seed: int) -> random.Random:
    """A generator for random problems and plans."""
    return random.Random(seed)


def random_problem(rng: random.Random, operators: int) -> Problem:
    """A random program: inputs, weights, gathers, in-place results, several readers, outputs."""
    buffers: dict[str, tuple[Kind, int]] = {"x": ("input", 4 * rng.randint(1, 8))}
    alive = ["x"]
    ops: list[Op] = []
    for i in range(operators):
        reads: list[Operand] = list(rng.sample(alive, min(len(alive), rng.randint(1, 2))))
        if rng.random() < 0.5:
            size = 4 * rng.randint(1, 10)
            buffers[f"w{i}"] = ("weight", size)
            start = 4 * rng.randrange(size // 4)
            accessed = rng.randint(1, size - start)
            reads.append((f"w{i}", start, size, accessed))
        in_place = str(reads[0])
        if rng.random() < 0.25:
            result = in_place
        else:
            result = f"a{i}"
            kind: Kind = "output" if rng.random() < 0.2 or i == operators - 1 else "activation"
            buffers[result] = (kind, 4 * rng.randint(1, 8))
            alive.append(result)
        macs = rng.randint(0, 200)
        dtype = rng.choice(["int8", "int16"])
        scratch = rng.choice([0, 0, 16])
        vector = rng.randint(0, 40)
        look_ups = (f"w{i}",) if i % 2 else ()
        ops.append(
            Op(f"op{i}", tuple(reads), (result,), macs, dtype, vector, (), scratch, look_ups)
        )
    return make_problem(buffers, ops)


def random_plan(problem: Problem, rng: random.Random) -> Plan:
    """A random legal plan for two tiers with operands anywhere: slices come and go at random."""
    residencies: list[Residency] = []
    transfers: list[Transfer] = []
    for b, buffer in enumerate(problem.buffers):
        inner = range(4, buffer.size_bytes, 4)
        cuts = sorted(rng.sample(inner, min(len(inner), rng.randint(0, 2))))
        for start, end in zip([0, *cuts], [*cuts, buffer.size_bytes], strict=True):
            found, moved = _random_slice(problem, b, (start, end), rng)
            residencies += found
            transfers += moved
    residencies.sort(key=lambda r: (r.buffer, r.start_byte, r.start))
    transfers.sort(key=lambda transfer: transfer.moves[0][0])
    return Plan(
        problem=problem,
        residencies=tuple(_placed(residencies)),
        transfers=tuple(transfers),
        solver="random",
    )


def _random_slice(
    problem: Problem, b: int, span: tuple[int, int], rng: random.Random
) -> tuple[list[Residency], list[Transfer]]:
    """Walk the uses of a slice; before each decide whether it comes, stays or goes."""
    target = problem.target
    fast, slow = (tier.name for tier in target.tiers)
    steps = len(problem.steps)
    buffer = problem.buffers[b]
    accesses: dict[int, bool] = {}
    for t, use in problem.uses_of[b]:
        if use.start_byte < span[1] and use.end_byte > span[0]:
            accesses[t] = accesses.get(t, False) or use.write
    residencies: list[Residency] = []
    transfers: list[Transfer] = []
    live: dict[str, tuple[int, int]] = {}  # tier: start, ready

    def close(tier: str, end: int) -> None:
        start, ready = live.pop(tier)
        residencies.append(Residency(b, *span, tier, 0, start, ready, end))

    def move(source: str, to: str, first: int, last: int) -> None:
        size = span[1] - span[0]
        a, z = sorted((rng.randint(first, last), rng.randint(first, last)))
        part = rng.randint(1, size - 1)
        moves = ((a, part), (z, size - part)) if a < z else ((a, size),)
        transfers.append(Transfer(b, *span, source, to, moves))
        live[to] = (rng.randint(first, a), z + 1)

    free_from = 0  # first step at which the data may be moved
    if buffer.kind in ("input", "weight"):
        live[slow] = (0, 0)
    for t, write in accesses.items():
        if not live:
            live[rng.choice((fast, slow))] = (t, t)
        elif free_from < t and rng.random() < 0.5:
            if fast not in live:
                move(slow, fast, free_from, t - 1)
            elif slow in live:
                close(fast, max(free_from, live[fast][1]))
            else:
                move(fast, slow, free_from, t - 1)
                close(fast, live[slow][1])
        if write and len(live) == 2:
            close(slow, t + 1)
        free_from = t + 1
    if buffer.outputs and slow not in live:
        move(fast, slow, free_from, steps - 1)
    for tier in list(live):
        close(tier, steps if buffer.outputs or tier == slow else max(free_from, live[tier][1]))
    return residencies, transfers


def _placed(residencies: Sequence[Residency]) -> list[Residency]:
    """First fit: the lowest address that no residency of the same steps has."""
    placed: list[Residency] = []
    for new in residencies:
        taken = sorted(
            (old.offset, old.offset + old.end_byte - old.start_byte)
            for old in placed
            if old.tier == new.tier and old.start < new.end and new.start < old.end
        )
        offset = 0
        for low, high in taken:
            if low - offset >= new.end_byte - new.start_byte:
                break
            offset = max(offset, high)
        placed.append(replace(new, offset=offset))
    return placed
