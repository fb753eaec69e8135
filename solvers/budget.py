"""The time that a solver may take, how it is shared out, and callbacks for progress."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

# Work by which a process measures its share of a core, in seconds of the processor.
MEASURED_S = 0.02
# Seconds that solvers reserve for compiling are so many times what an idle core takes.
COMPILING_MARGIN = 3.0


def core_share() -> float:
    """Share of a core that this process has now, at most 1: by a moment of work."""
    wall_s, work_s = time.monotonic(), time.process_time()
    done_s = 0.0
    while done_s < MEASURED_S:
        done_s = time.process_time() - work_s
    return min(1.0, done_s / max(time.monotonic() - wall_s, MEASURED_S))


@dataclass(frozen=True)
class Budget:
    """The time of a solver, and callbacks for what it achieves meanwhile.

    Attributes:
        deadline: `time.monotonic()` value to stop at, None for no limit.
        work_ends: `time.process_time()` value to stop at: a limit that does not depend on what else
            the machine does; None for no limit.
        progress: called with a short text when something worth showing happens.
        on_improvement: called with the objective's value, in its unit, of a complete legal plan
            that the solver holds, when it is the best so far; what a plan's value would be once
            it has addresses does not count. One-shot solvers need not call it.
    """

    deadline: float | None = None
    progress: Callable[[str], None] = lambda _: None
    on_improvement: Callable[[float], None] = lambda _: None
    work_ends: float | None = None

    def remaining_s(self) -> float:
        """Seconds to the nearer limit, infinite when there is none; negative once it has passed."""
        left_s = math.inf if self.deadline is None else self.deadline - time.monotonic()
        if self.work_ends is None:
            return left_s
        return min(left_s, self.work_ends - time.process_time())

    def is_over(self) -> bool:
        """Whether the deadline has passed."""
        return self.remaining_s() <= 0

    def has_time_for(self, work_s: float) -> bool:
        """Whether so many seconds of the processor fit in, beside all else that it does now.

        For what nothing interrupts, as importing a library. Without a deadline all does.
        """
        if self.deadline is None:
            return True
        left_s = self.deadline - time.monotonic()
        return left_s >= work_s and left_s * core_share() >= work_s

    def has_time_to_compile(self, reserved_s: float) -> bool:
        """Whether there is time to compile kernels, which nothing interrupts.

        Args:
            reserved_s: seconds that must be left; an idle core takes a third of them.
        """
        if self.deadline is None:
            return True
        is_left = self.deadline - time.monotonic() > reserved_s
        return is_left and self.has_time_for(reserved_s / COMPILING_MARGIN)

    def share(self, share: float, *, at_least_s: float = 0.0) -> "Budget":
        """A part of the time that is left from now on; all of it where there is no limit.

        Args:
            share: of the time left, from 0 to 1.
            at_least_s: seconds that the part has at least, while there are so many.
        """

        def end(limit: float | None, now: float) -> float | None:
            if limit is None:
                return None
            left_s = max(0.0, limit - now)
            return now + min(left_s, max(at_least_s, share * left_s))

        if self.deadline is None and self.work_ends is None:
            return self
        return replace(
            self,
            deadline=end(self.deadline, time.monotonic()),
            work_ends=end(self.work_ends, time.process_time()),
        )

    def at_most(self, seconds: float) -> "Budget":
        """The same time, but no more than some seconds from now on."""
        return self.until(time.monotonic() + seconds)

    def at_most_work(self, seconds: float) -> "Budget":
        """The same time, but no more than some seconds of this process's work from now on."""
        ends = time.process_time() + seconds
        if math.isinf(seconds) or (self.work_ends is not None and self.work_ends <= ends):
            return self
        return replace(self, work_ends=ends)

    def until(self, deadline: float) -> "Budget":
        """The same time, but no longer than to a `time.monotonic()` value."""
        if math.isinf(deadline) or (self.deadline is not None and self.deadline <= deadline):
            return self
        return replace(self, deadline=deadline)

    def reserving(self, seconds: float) -> "Budget":
        """The same time less some seconds at its end, for what follows."""
        if self.deadline is None:
            return self
        return replace(self, deadline=self.deadline - seconds)

    def for_member(self) -> "Budget":
        """For a solver inside another one: the plans that it holds are not the outer one's."""
        return replace(self, on_improvement=lambda _: None)
