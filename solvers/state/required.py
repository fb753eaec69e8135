"""The shortest residencies that no plan can do without.

They are of segments whose home is the fastest tier, and of operands that operators can access
there only.
"""

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.problem import Problem
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.busy_time import Moves
from ullage.solvers.state.segments import Access, Segment


def resident_residency(index: int, segment: Segment, steps: int) -> SegmentResidency | None:
    """The residency of a segment whose home is the fastest tier: from first write to last use.

    Args:
        index: number of the segment.
        segment: the segment.
        steps: number of steps of the program; weights and outputs stay to its end.

    Returns:
        None for a segment that is never there.
    """
    if not segment.accesses and not segment.is_given:
        return None
    start = 0 if segment.is_given else segment.accesses[0].step
    keeps = segment.is_output or segment.kind == "weight"
    last_used = segment.accesses[-1].step if segment.accesses else 0
    return SegmentResidency(index, start, start, steps if keeps else last_used + 1)


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
        others = ", or go over other tiers (--solver fluid)" if problem.objective != "peak" else ""
        raise UsageError(
            f"{name!r} must move from {source} to {destination}, and {target.name} has no "
            "link between them; add one (these solvers move data in one hop), or choose a home "
            f"that has one (--set homes.KIND=TIER){others}",
            {"source": source, "destination": destination, "tensor": name},
        )
