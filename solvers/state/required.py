"""The shortest residencies that no plan can do without.

They are of segments whose home is the fastest tier, and of operands that operators can access
there only.
"""

from collections.abc import Mapping

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.problem import Problem, computed_once
from ullage.hwmodels.cost import compute_seconds
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.busy_time import Moves
from ullage.solvers.state.infeasibility import link_option
from ullage.solvers.state.segments import Access, Segment, segments_of

# By (buffer, first byte, end) of a segment the moves that bring it.
Arrivals = Mapping[tuple[int, int, int], Moves]


def resident_residency(
    problem: Problem, index: int, segment: Segment, arrivals: Arrivals | None = None
) -> SegmentResidency | None:
    """The residency of a segment whose home is the fastest tier: from first write to last use.

    Of a segment that is at home there because the problem knows no spills, from its first use to
    its last, with the moves that bring an input and store an output.

    Args:
        problem: the problem; weights and outputs stay to the end of its steps.
        index: number of the segment.
        segment: the segment.
        arrivals: when inputs arrive, where that is not in the step before their first use.

    Returns:
        None for a segment that is never there.

    Raises:
        UsageError: the target has no link that brings the input or stores the output.
    """
    if not segment.accesses and (segment.origin != segment.home or not segment.is_given):
        return None
    if segment.origin != segment.home:
        return _resident_between_uses(problem, index, segment, arrivals or {})
    start = 0 if segment.is_given else segment.accesses[0].step
    last_used = segment.accesses[-1].step if segment.accesses else 0
    steps = len(problem.steps)
    return SegmentResidency(index, start, start, steps if segment.stays_at_home else last_used + 1)


def _resident_between_uses(
    problem: Problem, index: int, segment: Segment, arrivals: Arrivals
) -> SegmentResidency:
    """The residency from first to last use: an input arrives just before, an output leaves then."""
    fastest = problem.target.fastest.name
    if segment.is_given:
        require_link(problem, segment, segment.origin, fastest)
    if segment.is_output:
        require_link(problem, segment, fastest, segment.origin)
    first, last = segment.accesses[0].step, segment.accesses[-1].step
    fill: Moves = ()
    if segment.is_given:
        one: Moves = ((first - 1, segment.size_bytes),)
        fill = arrivals.get((segment.buffer, segment.start_byte, segment.end_byte), one)
    spill: Moves = ((last + 1, segment.size_bytes),) if segment.is_output else ()
    start, ready = (fill[0][0], fill[-1][0] + 1) if fill else (first, first)
    return SegmentResidency(index, start, ready, last + 1 + len(spill), fill, spill)


@computed_once
def arrivals_of(problem: Problem) -> Arrivals:
    """When inputs of a problem without spills arrive, where that takes several steps.

    As late as the computing of the steps before their first use allows, so that nothing waits: the
    latest first use is served first. What finds no time arrives in the first of these steps.
    """
    if not problem.inputs_ahead:
        return {}
    fastest = problem.target.fastest
    segments = [s for s in segments_of(problem) if s.origin != s.home and s.is_given and s.accesses]
    compute_s = compute_seconds(problem)[0]
    free = {
        origin: compute_s * min(tier.read_bytes_per_s, link.bandwidth_bytes_per_s)
        for origin in {s.origin for s in segments}
        if (link := problem.target.link(origin, fastest.name)) is not None
        for tier in (problem.target.tier(origin),)
    }
    found: dict[tuple[int, int, int], Moves] = {}
    for segment in sorted(segments, key=lambda s: -s.accesses[0].step):
        left, step = segment.size_bytes, segment.accesses[0].step
        moves: list[tuple[int, int]] = []
        room = free.get(segment.origin, compute_s * 0)
        while left and step > 0:
            step -= 1
            size = min(left, int(room[step])) if step else left
            room[step] -= size
            left -= size
            if size:
                moves.append((step, size))
        found[segment.buffer, segment.start_byte, segment.end_byte] = tuple(moves[::-1])
    return found


def single_residency(
    problem: Problem, index: int, segment: Segment, position: int, *, spills: bool
) -> SegmentResidency:
    """The residency for one access, filled in the DMA-only step before, spilled in the one after.

    Args:
        problem: the problem.
        index: number of the segment.
        segment: the segment.
        position: which of its accesses.
        spills: the home tier needs a copy afterwards.

    Raises:
        UsageError: the target has no link for the fill or the spill.
    """
    target = problem.target
    fastest = target.fastest.name
    access: Access = segment.accesses[position]
    fill: Moves = ((access.step - 1, segment.size_bytes),) if access.reads else ()
    if fill:
        require_link(problem, segment, segment.home, fastest)
    spill: Moves = ()
    end = access.step + 1
    if spills:
        require_link(problem, segment, fastest, segment.home)
        spill = ((access.step + 1, segment.size_bytes),)
        end = access.step + 2
    return SegmentResidency(index, access.step - len(fill), access.step, end, fill, spill)


def require_link(problem: Problem, segment: Segment, source: str, destination: str) -> None:
    """Return when DMA can bring a segment from one tier to another in one transfer.

    Raises:
        UsageError: the target has no such link.
    """
    target = problem.target
    if target.link(source, destination) is None:
        name = problem.buffers[segment.buffer].name
        others = ", or go over other tiers (--solver fluid)"
        if problem.objective == "peak" or problem.no_spill:  # nothing goes over others there
            others = ""
        slower = source if destination == target.fastest.name else destination
        raise UsageError(
            f"{name!r} must move from {source} to {destination}, and {target.name} has no "
            "link between them (these solvers move data in one hop); "
            f"{link_option(problem, slower)}{others}",
            {"source": source, "destination": destination, "tensor": name},
        )
