"""The smallest fast memory without a spill in which a plan takes no longer than a limit.

Whatever is no weight is in fast memory from its first use to its last. What is free beside it holds
weights that are fetched ahead; the more there is, the less operators wait for them:

    latency |  .
            |   .  .
      limit |- - . - .- - - - - - - -
            |      .    .    .    .    plans
            |        .     .     .     the LP
            +-----+---+-------------- size
              LP's    answer

Sizes are halved between what is enough and what is not: for the LP first, which takes little time,
then, from its answer upwards, for plans.
"""

from ullage.compiler.common.errors import InfeasibleError, TimeLimitError
from ullage.compiler.common.units import format_time
from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.problem import Problem
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.bounds import live_bytes_by_step
from ullage.hwmodels.cost import exceeds_limit, score
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.options import FluidOptions
from ullage.solvers.fluid.sliced_plans import Direct, rounded_plan
from ullage.solvers.fluid.two_tier.builder import TIE_BREAK
from ullage.solvers.fluid.two_tier.relaxation import Relaxation, optimum, relax
from ullage.solvers.interface import Solution
from ullage.solvers.paths.streaming import home_assignment
from ullage.solvers.state.segments import segments_of

# Relative difference of two sizes at which halving ends.
CLOSE = 0.005
# Name of the figure that says how fast the fastest plan was that fits the chip, in seconds: sizes
# above the answer's are tried first, and their plans may be faster.
FASTEST_SEEN = "fastest_seen_s"
# Share of the time in which the LP is asked.
LP_SHARE = 0.4
# Relative step from the size that is enough for the LP to the first that is tried with a plan; each
# step after it is twice as long.
STEP = 0.02


def smallest_within(problem: Problem, limit_s: float, budget: Budget) -> Solution:
    """The plan of the smallest peak found that takes no longer than the limit.

    Its target has the capacity that it needs.

    Args:
        problem: the problem, with objective `peak`.
        limit_s: the limit of the latency.
        budget: the time.

    Raises:
        InfeasibleError: even with room for all weights at once no plan found is so fast.
        TimeLimitError: there was no time for a plan that is.
    """
    sizes = _Sizes(problem, limit_s, budget)
    if not sizes.plan(sizes.most_bytes) and sizes.latency_s is not None:
        sizes = _Sizes(problem, limit_s, budget, inputs_ahead=True)
        sizes.plan(sizes.most_bytes)
    if sizes.best is None and sizes.may_keep_limit:  # rounding loses less in another memory
        sizes.look_below(budget.share(LP_SHARE))
    if sizes.best is None:
        raise sizes.too_slow() if sizes.latency_s is not None else _too_late()
    sizes.halve_for_the_lp(budget.share(LP_SHARE))
    sizes.halve()
    target = problem.target
    capacity = max(sizes.enough, target.fastest.capacity_bytes)
    return Solution(
        Assignment(
            problem.on(target.with_fast_memory(capacity)),
            sizes.best.residencies,
            sizes.best.transfers,
        ),
        stop_reason="time limit" if budget.is_over() else "finished",
        statistics={} if sizes.fastest_s is None else {FASTEST_SEEN: sizes.fastest_s},
    )


class _Sizes:
    """Sizes of fast memory, and the best plan so far.

    Attributes:
        most_bytes: room for everything at once.
        too_small: the largest size known to be too small.
        enough: the smallest size known to be enough.
        best: its plan.
        latency_s: of the last plan.
        fastest_s: of the fastest legal plan within the target's own capacity; None where there is
            none.
        may_keep_limit: by the LP a plan with room for everything may keep the limit.
    """

    def __init__(
        self, problem: Problem, limit_s: float, budget: Budget, *, inputs_ahead: bool = False
    ) -> None:
        self.limit_s, self.budget = limit_s, budget
        self._inner = problem.minimising("latency").without_spills(inputs_ahead=inputs_ahead)
        self._unit = unit = problem.target.fastest.alignment_bytes
        self._workspace = max((step.workspace_bytes for step in problem.steps), default=0)
        segments = segments_of(self._inner)
        everything = sum(-(-s.size_bytes // unit) * unit for s in segments)
        self.most_bytes = everything + self._workspace
        least = int(live_bytes_by_step(problem, problem.target).max(initial=0))
        self._least = least
        self.too_small, self.enough = least - 1, self.most_bytes
        self.may_keep_limit = False
        self._wanted = least  # enough for the LP
        self.best: Assignment | None = None
        self.latency_s: float | None = None
        self.fastest_s: float | None = None
        self._capacity = problem.target.fastest.capacity_bytes

    def look_below(self, budget: Budget) -> None:
        """Look for a plan in less than room for everything, after that was not fast enough.

        By the LP more memory is never worse; but shares become plans by rounding, which may lose
        more time in a larger memory than in a smaller one.
        """
        self.too_small = self._least - 1
        self.halve_for_the_lp(budget)
        self.climb()

    def halve_for_the_lp(self, budget: Budget) -> None:
        """Look for the smallest size that is enough for the LP."""
        high = self.enough
        while not self._is_close(self.too_small, high) and not budget.is_over():
            size = self._between(self.too_small, high)
            relaxed = self._relaxed(size, budget)
            if budget.is_over():
                break
            if relaxed is None:
                self.too_small = size
            else:
                high = size
        self._wanted = high

    def halve(self) -> None:
        """Look for the smallest size with a plan, from what is enough for the LP upwards."""
        self.climb()
        while not self._is_close(self.too_small, self.enough) and not self.budget.is_over():
            self.plan(self._between(self.too_small, self.enough))

    def climb(self) -> None:
        """Try ever larger sizes, from what is enough for the LP, until one has a plan."""
        step = STEP
        size = self._wanted
        while size < self.enough and not self.budget.is_over():
            if self.plan(size):
                break
            size, step = int(self._wanted * (1 + step)), 2 * step

    def plan(self, size_bytes: int) -> bool:
        """Make a plan for a size; whether there is one that keeps the limit."""
        self.budget.progress(f"no-spill: {size_bytes} bytes")
        found = self._relaxed(size_bytes, self.budget)
        if found is None:
            if not self.budget.is_over():
                self.too_small = max(self.too_small, size_bytes)
            return False
        direct, relaxation = found
        solution = rounded_plan(
            direct, relaxation, FluidOptions(), self.budget.for_member(), self.limit_s
        )
        verdict = score(solution.assignment)
        self.latency_s = verdict.latency_s
        peak = verdict.peak_bytes[direct.problem.target.fastest.name]
        is_fastest = self.fastest_s is None or verdict.latency_s < self.fastest_s
        fits = peak + self._workspace <= self._capacity
        if fits and is_fastest and not find_violations(solution.assignment, limit=1):
            self.fastest_s = verdict.latency_s
        if exceeds_limit(verdict.latency_s, self.limit_s):
            if not self.budget.is_over():
                self.too_small = max(self.too_small, size_bytes)
            return False
        self.best = solution.assignment
        self.enough = min(self.enough, size_bytes, peak + self._workspace)
        self.budget.on_improvement(float(peak))
        return True

    def too_slow(self) -> InfeasibleError:
        """The error where the latency is too long whatever the size."""
        times = (self.latency_s or 0.0, self.limit_s)
        took, allowed = map(format_time, times)
        if took == allowed:  # four digits do not tell them apart
            took, allowed = (f"{seconds:.12g} s" for seconds in times)
        target = self._inner.target
        fast = target.fastest.name
        remedies = {"--slower-by; in a problem file latency_limit_s": "allow more"}
        if target.tile_axes and not target.dma_steps.between and not self._inner.program.is_cut:
            remedies["--schedule cascade"] = "run operators in parts"
        remedies["--objective latency --then peak"] = "allow spills"
        advice = ", or ".join(f"{how} ({option})" for option, how in remedies.items())
        cut = self._inner.program.is_cut
        what = "the cascades that were tried take" if cut else "whole operators take"
        return InfeasibleError(
            f"no plan without a spill was found that takes at most {allowed}, whatever the size of "
            f"{fast}: with room for everything {what} {took}. To do: {advice}",
            {
                "latency_limit_s": self.limit_s,
                "latency_s": self.latency_s,
                "remedies": list(remedies),
            },
        )

    def _relaxed(self, size_bytes: int, budget: Budget) -> tuple[Direct, Relaxation] | None:
        """The LP for a size; None where no plan keeps the limit by it, or time is over first."""
        target = self._inner.target.with_fast_memory(size_bytes)
        problem = self._inner.on(target)
        segments = segments_of(problem)
        try:
            reference = home_assignment(problem)
        except InfeasibleError:  # what may not leave does not fit
            return None
        known = score(reference).latency_s
        relaxation = relax(problem, segments, known, FluidOptions(), budget)
        if relaxation is None:
            return None
        least_s = optimum(problem, relaxation) / (1 + TIE_BREAK)
        keeps = not exceeds_limit(least_s, self.limit_s)
        if size_bytes < self.most_bytes and not keeps:
            return None
        self.may_keep_limit = self.may_keep_limit or keeps
        return Direct(problem, segments, reference, relaxation), relaxation

    def _between(self, low: int, high: int) -> int:
        """The middle of two sizes, at a multiple of the alignment where that lies between."""
        middle = (low + high) // 2
        return max(low + 1, middle // self._unit * self._unit)

    def _is_close(self, low: int, high: int) -> bool:
        return high - low <= max(self._unit, CLOSE * high)


def _too_late() -> TimeLimitError:
    return TimeLimitError(
        "no-spill: there was no time for a plan that keeps the limit of the latency; give more "
        "(--time-limit)"
    )
