"""The largest sum of live bytes of a program, and what is alive there.

step        0    1    2    3    4
a, 64 B     |=========|                 first write in step 0, last use in step 1
b, 32 B          |=========|
c, 48 B               |=========|
live bytes  64   96   80   48   0       peak: 96 bytes in step 1, residents a and b
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from ullage.compiler.ir.program import Program


@dataclass(frozen=True)
class LivePeak:
    """The largest sum of live bytes over the steps of a program.

    Attributes:
        size_bytes: the sum.
        step: the first step at which it is reached.
        residents: (buffer, bytes) pairs alive in that step, the largest first.
    """

    size_bytes: int
    step: int
    residents: tuple[tuple[str, int], ...]


def live_peak(program: Program) -> LivePeak:
    """Peak of live non-weight bytes and workspace, and what it is made of.

    Liveness is per byte range: from the first write (step 0 for inputs) to the last use (the end
    for outputs). Unlike `hwmodels.bounds.live_bytes_bound` it counts workspace.
    """
    steps = len(program.steps)
    change = [0] * (steps + 1)
    spans: list[tuple[int, int, int, str]] = []
    for index, buffer in enumerate(program.buffers):
        if buffer.constant:
            continue
        for size, begin, end in _live_ranges(program, index):
            change[begin] += size
            change[end] -= size
            spans.append((begin, end, size, buffer.name))
    for t, step in enumerate(program.steps):
        change[t] += step.workspace_bytes
        change[t + 1] -= step.workspace_bytes
    live, best, where = 0, 0, 0
    for t in range(steps):
        live += change[t]
        if live > best:
            best, where = live, t
    bytes_by_buffer: dict[str, int] = {}
    for begin, end, size, name in spans:
        if begin <= where < end:
            bytes_by_buffer[name] = bytes_by_buffer.get(name, 0) + size
    residents = tuple(sorted(bytes_by_buffer.items(), key=lambda item: -item[1]))
    return LivePeak(best, where, residents)


def _live_ranges(program: Program, index: int) -> Iterator[tuple[int, int, int]]:
    """(bytes, first step, one past the last step) for each range between the ends of uses."""
    buffer, uses = program.buffers[index], program.uses_of[index]
    edges = {edge for _, use in uses for edge in (use.start_byte, use.end_byte)}
    edges.update(edge for output in buffer.outputs for edge in output)
    pieces = sorted(edges)
    first_use, last_use = [len(program.steps)] * len(pieces), [-1] * len(pieces)
    for t, use in uses:
        first, last = bisect_left(pieces, use.start_byte), bisect_left(pieces, use.end_byte)
        for piece in range(first, last):
            first_use[piece] = min(first_use[piece], t)
            last_use[piece] = max(last_use[piece], t)
    for piece, (low, high) in enumerate(pairwise(pieces)):
        is_used = last_use[piece] >= 0
        is_output = any(a < high and low < b for a, b in buffer.outputs)
        if is_used or is_output:
            begin = 0 if buffer.initial or not is_used else first_use[piece]
            yield high - low, begin, len(program.steps) if is_output else last_use[piece] + 1
