"""What LLM in a flash calls `hybrid`, as a plan: half of a model stays in DRAM, half comes anew.

    step      product 1      ...      product 2      ...      product 3
    stays     attention, norms, tables, and feed-forward matrices up to half of the bytes
    slot 0    |== weight 1 ==|        |~~ weight 3 ~~~~~~~~~~~|== read ==|
    slot 1    |~~ weight 2 ~~~~~~~~~~~|== read =======|

Each of the other feed-forward matrices is read from flash beside the operator that uses the one
before it, the first one before anything runs.
"""

from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.plan import Residency, Transfer
from ullage.compiler.ir.problem import Problem
from ullage.solvers.fluid.refill.pieces import aligned

# Streamed matrices that are in DRAM side by side: one is read, the next one comes.
SLOTS = 2


def half_kept(problem: Problem) -> Assignment:
    """The plan, with the feed-forward matrices of the last layers streamed.

    Args:
        problem: of `opt_steps.token_step`, in steady state, on a target with `dram` and `flash`.
    """
    program, end = problem.program, len(problem.steps)
    first, last = {}, {}
    for step, runs in enumerate(problem.steps):
        for use in runs.uses:
            first.setdefault(use.buffer, step)
            last[use.buffer] = step
    streamed = _streamed(problem)
    residencies, transfers, address = [], [], {"dram": 0, "flash": 0}

    def room(tier: str, size: int) -> int:
        """A new region of a tier."""
        at = address[tier]
        address[tier] += aligned(size, problem.target.tier(tier))
        return at

    longest = max(program.buffers[b].size_bytes for b in streamed)
    slots = [room("dram", longest) for _ in range(SLOTS)]
    for b, buffer in enumerate(program.buffers):
        whole = (b, 0, buffer.size_bytes)
        if buffer.constant:
            at = room("flash", buffer.size_bytes)
            residencies.append(Residency(*whole, "flash", at, 0, 0, end))
        if b not in streamed:
            held = (0, 0, end) if buffer.initial else (first[b], first[b], last[b] + 1)
            held = (first[b], first[b], end) if buffer.final else held
            at = room("dram", buffer.size_bytes)
            residencies.append(Residency(*whole, "dram", at, *held))
    before = 0
    for turn, b in enumerate(sorted(streamed, key=first.__getitem__)):
        whole = (b, 0, program.buffers[b].size_bytes)
        span = (before, before + 1, last[b] + 1)
        residencies.append(Residency(*whole, "dram", slots[turn % SLOTS], *span))
        transfers.append(Transfer(*whole, "flash", "dram", ((before, whole[2]),)))
        before = first[b]
    ordered = sorted(residencies, key=lambda r: (r.buffer, r.start_byte, r.start))
    return Assignment(problem, tuple(ordered), tuple(transfers))


def _streamed(problem: Problem) -> set[int]:
    """Feed-forward matrices from the last layer on, until half of the weights' bytes are there."""
    buffers = problem.program.buffers
    left = sum(buffer.size_bytes for buffer in buffers if buffer.constant) / 2
    chosen = set()
    for b in reversed(range(len(buffers))):
        if left > 0 and buffers[b].name.endswith((".fc1.weight", ".fc2.weight")):
            chosen.add(b)
            left -= buffers[b].size_bytes
    return chosen
