"""A problem on a target with any number of tiers, made ready for the search for paths."""

from collections.abc import Sequence
from dataclasses import dataclass

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.common.kernel_cache import is_compiled
from ullage.compiler.ir.problem import Problem
from ullage.solvers.budget import Budget
from ullage.solvers.paths.network import LiveRange, TierNetwork, live_range_of
from ullage.solvers.paths.path_search import sweep, trace
from ullage.solvers.paths.paths import Finder
from ullage.solvers.state.infeasibility import padding_on_top, step_refusal
from ullage.solvers.state.segments import Segment, segments_of

# Steps times segments times sets of tiers up to which paths are searched in plain Python: importing
# numba takes longer.
PLAIN_WORK = 6_000
# How many times more often a path is searched for in steady state: for all sets of tiers in which
# it may cross the loop boundary, and again from other weights kept.
STEADY_WORK = 20
# Seconds reserved for compiling: three times what an idle core of 2025 takes (docs/kernels.md).
COMPILE_S = 6.0
# Seconds of the processor that importing numba and loading what was compiled take.
LOAD_S = 0.5


def is_ready() -> bool:
    """Whether the search for paths is compiled."""
    return is_compiled(sweep) and is_compiled(trace)


def has_time_to_search(budget: Budget) -> bool:
    """Whether there is time to load the search for paths, and to compile it where it must be."""
    if not budget.has_time_for(LOAD_S):
        return False
    return is_ready() or budget.has_time_to_compile(COMPILE_S)


@dataclass(frozen=True)
class TieredProblem:
    """A problem with what all parts of the solver need.

    Attributes:
        network: its tiers and steps.
        segments: its segments.
        live_ranges: of the segments; None for one that never exists.
        uncapacitated: mask of the tiers with room for everything.
        finder: finds cheapest paths.
        lacks_time: the finder searches in plain Python only because time is too short to compile
            or load it: a search takes long.
    """

    network: TierNetwork
    segments: tuple[Segment, ...]
    live_ranges: tuple[LiveRange | None, ...]
    uncapacitated: int
    finder: Finder
    lacks_time: bool = False

    @property
    def capacitated(self) -> list[int]:
        """Tiers whose capacity can bind."""
        return [m for m in range(self.network.tiers) if not self.uncapacitated >> m & 1]


def tiered_problem(problem: Problem, budget: Budget | None = None) -> TieredProblem:
    """Make a problem ready: its network, segments and live ranges.

    Args:
        problem: the problem.
        budget: the time, where it may be too short to compile or load the search for paths.

    Raises:
        InfeasibleError: an operator's workspace alone does not fit.
    """
    network = TierNetwork(problem)
    segments = segments_of(problem)
    if network.room[0].min(initial=0) < 0:
        raise _workspace_refusal(problem, segments)
    uncapacitated = sum(
        1 << m for m in range(1, network.tiers) if network.is_uncapacitated(m, segments)
    )
    live_ranges = tuple(live_range_of(network, segment, uncapacitated) for segment in segments)
    work = network.steps * len(segments) << network.tiers
    work *= STEADY_WORK if problem.steady_state else 1
    is_small = work <= PLAIN_WORK
    lacks_time = not (is_small or budget is None or has_time_to_search(budget))
    finder = Finder(network, is_plain=is_small or lacks_time)
    return TieredProblem(network, segments, live_ranges, uncapacitated, finder, lacks_time)


def _workspace_refusal(problem: Problem, segments: Sequence[Segment]) -> InfeasibleError:
    """The error where a workspace alone is too large: of the operator that needs the most in all.

    Operands that must be in the fastest tier need room beside the workspace.
    """
    unit = problem.target.fastest.alignment_bytes
    needed = [step.workspace_bytes for step in problem.steps]
    present: list[list[Segment]] = [[] for _ in needed]
    for segment in segments:
        if segment.must_be_fastest:
            for step in {access.step for access in segment.accesses}:
                needed[step] += -(-segment.size_bytes // unit) * unit
                present[step].append(segment)
    for step, segments_there in enumerate(present):
        needed[step] -= padding_on_top((segment.size_bytes for segment in segments_there), unit)
    most = max(range(len(needed)), key=needed.__getitem__)
    return step_refusal(problem, most, needed[most], present[most])
