"""Reduction: in steady state weights live where they can stay, not in the slow tier behind it.

    home     step 0 ........................... T        the problem's weights: flash is their home
    flash    |===================================|
    dram     |===================================|       kept from one inference to the next,
    sram          |=======|           |====|             fetched from there

Where every link from the weights' home leads to one other tier, which can be written and has room
for everything that can ever be there, and operators cannot reach the home, nothing is gained by
what the home holds: a weight that is used has crossed that tier, and could have stayed at no cost.
`reduce` makes that tier the home of weights, and leaves out the old one where nothing else can be
there. No plan of the problem costs less than the best one of the reduced problem, so that bounds
hold too. `recover` gives every weight its copy at home again.
"""

from collections.abc import Iterator
from dataclasses import replace

from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.plan import Residency
from ullage.compiler.ir.problem import Problem, computed_once
from ullage.compiler.ir.target import Target
from ullage.solvers.interface import Solution
from ullage.solvers.state.segments import segments_of


def reduce(problem: Problem) -> Problem:
    """The problem with weights at home where they can stay; itself where they cannot."""
    reduced = problem
    while True:
        closer = _closer_home(reduced)
        if closer is None:
            return reduced
        reduced = reduced.on(_with_weights_in(reduced.target, closer))


def recover(problem: Problem, solution: Solution) -> Solution:
    """A solution of the reduced problem as one of the problem; itself where nothing was reduced.

    Args:
        problem: the problem with weights in their own home.
        solution: of the reduced problem; program and capacity of the fastest tier are taken over.
    """
    if _closer_home(problem) is None:
        return solution
    reduced = solution.assignment
    target = problem.target.with_fast_memory(reduced.target.fastest.capacity_bytes)
    whole = replace(reduced.problem, target=target)
    residencies = [*reduced.residencies, *_copies_at_home(reduced, whole)]
    ordered = tuple(sorted(residencies, key=lambda r: (r.buffer, r.start_byte, r.start)))
    return replace(solution, assignment=replace(reduced, problem=whole, residencies=ordered))


@computed_once
def _closer_home(problem: Problem) -> str | None:
    """The tier in which weights can stay from one inference to the next; None without one."""
    target = problem.target
    home = target.home("weight")
    if not problem.steady_state or home is target.fastest:
        return None
    if home.addressable and not target.must_be_fastest("weight"):
        return None  # operators may use a weight at home, beside what they use elsewhere
    leads_to = {link.destination for link in target.links if link.source == home.name}
    if len(leads_to) != 1:
        return None
    tier = target.tier(leads_to.pop())
    if tier is target.fastest or tier.read_only:
        return None
    all_bytes = sum(_taken(target, segment.size_bytes) for segment in segments_of(problem))
    weight_bytes = sum(_taken(target, size) for _, size in _weights(problem))
    has_room = all_bytes <= tier.capacity_bytes and all_bytes + weight_bytes <= home.capacity_bytes
    return tier.name if has_room else None


def _taken(target: Target, size_bytes: int) -> int:
    """Bytes that data takes in any tier of a chip."""
    return -(-size_bytes // target.alignment_bytes) * target.alignment_bytes


def _weights(problem: Problem) -> list[tuple[int, int]]:
    """(buffer, bytes) of all weights."""
    buffers = enumerate(problem.buffers)
    return [(b, buffer.size_bytes) for b, buffer in buffers if buffer.kind == "weight"]


def _copies_at_home(reduced: Assignment, problem: Problem) -> Iterator[Residency]:
    """The weights at home, one after the other behind all that a plan has put there."""
    home, last = problem.target.home("weight"), len(problem.steps)
    ends = [
        r.offset + r.end_byte - r.start_byte for r in reduced.residencies if r.tier == home.name
    ]
    place = _taken(problem.target, max(ends, default=0))
    for buffer, size in _weights(problem):
        if size:
            yield Residency(buffer, 0, size, home.name, place, 0, 0, last)
            place += _taken(problem.target, size)


def _with_weights_in(target: Target, name: str) -> Target:
    """The chip with another home of weights; the old one goes where nothing else can be there."""
    old = target.home("weight")
    homes = {**target.homes, "weight": name}
    if old.name in homes.values() or not old.read_only:
        return replace(target, homes=homes)
    links = tuple(link for link in target.links if old.name not in {link.source, link.destination})
    tiers = tuple(tier for tier in target.tiers if tier is not old)
    return replace(target, tiers=tiers, links=links, homes=homes)
