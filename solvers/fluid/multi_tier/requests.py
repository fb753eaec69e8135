"""From shares to slice requests: each path of a segment gets a byte range, in proportion."""

from collections.abc import Sequence

from ullage.compiler.common.arrays import Floats, Ints
from ullage.solvers.paths.paths import END, START, Path
from ullage.solvers.paths.slices import Slice
from ullage.solvers.state.segments import Segment


def requested_slices(
    segments: Sequence[Segment],
    paths: dict[int, list[tuple[Path, float]]],
    grains: Sequence[int],
) -> dict[int, list[Slice]]:
    """Cut segments by the shares of their paths, at legal places.

    Args:
        segments: the segments.
        paths: segment -> paths and their shares.
        grains: for each segment the bytes at whose multiples it may be cut; 0: the largest share
            takes all.
    """
    slices: dict[int, list[Slice]] = {}
    for index, known in paths.items():
        segment, grain = segments[index], grains[index]
        if not grain:
            path, _ = max(known, key=lambda item: item[1])
            slices[index] = [Slice(index, segment.start_byte, segment.end_byte, path)]
            continue
        by_rank = sorted(known, key=lambda item: _rank(item[0]))
        whole = sum(share for _, share in by_rank)
        edges: list[int] = [segment.start_byte]
        done = 0.0
        for _, share in by_rank[:-1]:
            done += share / whole
            at = round((segment.start_byte + done * segment.size_bytes) / grain) * grain
            edges.append(min(max(at, edges[-1]), segment.end_byte))
        edges.append(segment.end_byte)
        slices[index] = [
            Slice(index, low, high, path)
            for (path, _), low, high in zip(by_rank, edges[:-1], edges[1:], strict=True)
            if low < high
        ]
    return slices


def _rank(path: Path) -> tuple[tuple[int, ...], ...]:
    """Sorting key that puts similar paths side by side, so that their transfers become one."""
    return tuple(tuple(row) for row in path.residencies[:, [0, START, END]].tolist())


def space_taken(path: Path, weights: Ints | Floats) -> float:
    """Steps of space that a path takes, weighted by tier."""
    residencies = path.residencies
    return float((weights[residencies[:, 0]] * (residencies[:, END] - residencies[:, START])).sum())
