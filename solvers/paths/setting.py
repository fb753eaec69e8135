"""A problem on a target with any number of tiers, made ready for the search for paths."""

from dataclasses import dataclass

from ullage.compiler.ir.problem import Problem
from ullage.solvers.paths.network import LiveRange, TierNetwork, live_range_of
from ullage.solvers.paths.paths import Finder
from ullage.solvers.state.infeasibility import step_refusal
from ullage.solvers.state.segments import Segment, segments_of

# Steps times segments times sets of tiers up to which paths are searched in plain Python: importing
# numba takes longer.
PLAIN_WORK = 6_000


@dataclass(frozen=True)
class TieredProblem:
    """A problem with what all parts of the solver need.

    Attributes:
        network: its tiers and steps.
        segments: its segments.
        live_ranges: of the segments; None for one that never exists.
        uncapacitated: mask of the tiers with room for everything.
        finder: finds cheapest paths.
    """

    network: TierNetwork
    segments: tuple[Segment, ...]
    live_ranges: tuple[LiveRange | None, ...]
    uncapacitated: int
    finder: Finder

    @property
    def capacitated(self) -> list[int]:
        """Tiers whose capacity can bind."""
        return [m for m in range(self.network.tiers) if not self.uncapacitated >> m & 1]


def tiered_problem(problem: Problem, *, compiles: bool = True) -> TieredProblem:
    """Make a problem ready: its network, segments and live ranges.

    Args:
        problem: the problem.
        compiles: there is time to compile the search for paths, or it is compiled already.

    Raises:
        InfeasibleError: an operator's workspace alone does not fit.
    """
    network = TierNetwork(problem)
    tightest = int(network.room[0].argmin())
    if network.room[0, tightest] < 0:
        needed = problem.steps[tightest].workspace_bytes
        raise step_refusal(problem, tightest, needed, ())
    segments = segments_of(problem)
    uncapacitated = sum(
        1 << m for m in range(1, network.tiers) if network.is_uncapacitated(m, segments)
    )
    live_ranges = tuple(live_range_of(network, segment, uncapacitated) for segment in segments)
    work = network.steps * len(segments) << network.tiers
    finder = Finder(network, is_plain=work <= PLAIN_WORK or not compiles)
    return TieredProblem(network, segments, live_ranges, uncapacitated, finder)
