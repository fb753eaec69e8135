"""What a byte takes at least on its way between its home and operators: links, joules, seconds.

Where operators cannot reach a home, every byte crosses one link after the other, and passes the
tiers between them:

    flash ---- link 1 ----> dram ---- link 2 ----> sram (operators)
    read       moved        write, read moved      write

Of several ways, each figure is that of the way on which it is least, whatever the other figures are
there; so what no way avoids is what remains. For the seconds there is one figure a port or link:
one that some way goes around comes out as 0.
"""

from dataclasses import dataclass

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.compiler.ir.graph import BufferKind
from ullage.compiler.ir.problem import Problem, computed_once
from ullage.compiler.ir.target import Target
from ullage.hwmodels.resources import Resources, resources
from ullage.hwmodels.traffic import compulsory, compulsory_resident


@computed_once
def crossing_seconds(problem: Problem) -> dict[str, float]:
    """Port or link -> least seconds for first loads and last stores; fastest tier left out.

    Ports count for what operators read and write there, too, where no way avoids that.
    """
    table = resources(problem)
    tiers, count = len(table.tiers), len(table.tiers) + len(table.links)
    moves = np.zeros((len(table.links), count))
    links = np.arange(len(table.links))
    np.add.at(moves, (links, table.source), table.read_s[table.source])
    np.add.at(moves, (links, table.destination), table.write_s[table.destination])
    moves[links, tiers + links] += table.move_s
    accesses = np.zeros((2, tiers, count))
    at = np.arange(1, tiers)
    accesses[0, at, at], accesses[1, at, at] = table.read_s[1:], table.write_s[1:]
    seconds = _least(problem, moves, accesses)
    names = [*table.tiers, *table.links]
    return {name: float(seconds[i]) for i, name in enumerate(names) if i}


@computed_once
def crossing_bytes(problem: Problem) -> float:
    """Least traffic of first loads and last stores: bytes of all hops and accesses in slow tiers.

    Of that, `compulsory` counts each byte once; the rest is non-compulsory traffic that no plan
    avoids.
    """
    table = resources(problem)
    accesses = np.ones((2, len(table.tiers), 1))
    accesses[:, 0] = 0.0
    return float(_least(problem, np.ones((len(table.links), 1)), accesses)[0])


def way_energy_j(target: Target, table: Resources, kind: BufferKind, *, outgoing: bool) -> float:
    """Least joules per byte of all transfers from a home out of reach to operators, or back."""
    moves = table.move_j + table.read_j[table.source] + table.write_j[table.destination]
    ways = _ways(target, table, kind, moves[:, None], outgoing=outgoing)
    least = ways.joins[:, 0].min(initial=np.inf)
    return float(least) if np.isfinite(least) else 0.0


@dataclass(frozen=True)
class _Ways:
    """Ways between a home and the m tiers where operators reach it.

    Attributes:
        reach: (m,) the tiers.
        joins: (m, r) least of each of r figures on the way to or from each; infinite without one.
    """

    reach: list[int]
    joins: Floats


def _least(problem: Problem, moves: Floats, accesses: Floats) -> Floats:
    """(r,) sums over all first loads and last stores of the least of each figure.

    Args:
        problem: the problem.
        moves: (L, r) of a byte that crosses a link.
        accesses: (2, M, r) of a byte that an operator reads, or writes, in a tier.
    """
    target, table = problem.target, resources(problem)
    moved, accessed = compulsory_resident(problem), compulsory(problem)
    total = np.zeros(moves.shape[1])
    kinds = {buffer.kind for buffer in problem.buffers}
    for number, outgoing in enumerate((True, False)):
        whole = moved.loads if outgoing else moved.stores
        share = accessed.loads if outgoing else accessed.stores
        ways = {kind: _ways(target, table, kind, moves, outgoing=outgoing) for kind in kinds}
        for b, buffer in enumerate(problem.buffers):
            if whole[b]:
                found = ways[buffer.kind]
                at = accesses[number, found.reach]
                with np.errstate(invalid="ignore"):
                    options = whole[b] * found.joins + share[b] * at
                least = options.min(axis=0, initial=np.inf)
                total += np.where(np.isfinite(least), least, 0.0)
    return total


def _ways(
    target: Target, table: Resources, kind: BufferKind, moves: Floats, *, outgoing: bool
) -> _Ways:
    """The ways of a kind of buffer from its home to operators (`outgoing`), or back."""
    tiers = target.tiers
    confined = target.must_be_fastest(kind)
    reach = [0] if confined else [m for m, t in enumerate(tiers) if t.addressable or m == 0]
    if not outgoing:
        reach = [m for m in reach if not tiers[m].read_only]
    least = np.full((len(tiers), moves.shape[1]), np.inf)
    least[table.tier_index[target.home(kind).name]] = 0.0
    ends = (table.source, table.destination) if outgoing else (table.destination, table.source)
    usable = [
        (link, int(near), int(far))
        for link, (near, far) in enumerate(zip(*ends, strict=True))
        if not tiers[int(table.destination[link])].read_only
    ]
    for _ in range(len(tiers) - 1):  # Bellman and Ford, all figures side by side
        for link, near, far in usable:
            least[far] = np.minimum(least[far], least[near] + moves[link])
    return _Ways(reach, least[reach])
