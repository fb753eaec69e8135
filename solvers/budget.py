"""The time that a solver may take, how it is shared out, and callbacks for progress."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace


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

    def share(self, share: float, *, at_least_s: float = 0.0) -> "Budget":
        """A part of the time that is left from now on; all of it where there is no limit.

        Args:
            share: of the time left, from 0 to 1.
            at_least_s: seconds that the part has at least, while there are so many.
        """
        if self.deadline is None:
            return self
        left_s = max(0.0, self.remaining_s())
        part_s = min(left_s, max(at_least_s, share * left_s))
        return replace(self, deadline=time.monotonic() + part_s)

    def at_most(self, seconds: float) -> "Budget":
        """The same time, but no more than some seconds from now on."""
        return self.until(time.monotonic() + seconds)

    def at_most_work(self, seconds: float) -> "Budget":
        """The same time, but no more than some seconds of this process's work from now on."""
        return replace(self, work_ends=time.process_time() + seconds)

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
