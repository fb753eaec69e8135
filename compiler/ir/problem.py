"""The problem: a program, the chip that it runs on, and what is to be minimised.

Figures that several solvers need (compute times, compulsory traffic, segments ...) are worked out
once per problem and kept with it; functions that do so are decorated with `computed_once`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, Literal, TypeVar

from ullage.compiler.ir.program import Buffer, Program, Step, Use
from ullage.compiler.ir.target import Target

Figure = TypeVar("Figure")
# What a plan may minimise; explained at `Problem`.
Objective = Literal["latency", "traffic", "energy", "peak"]


@dataclass(frozen=True)
class Blend:
    """A second objective that counts beside the first: value + weight x second value.

    Attributes:
        objective: `traffic` or `energy`.
        weight: how much of the first objective's unit a unit of the second is worth; at least 0.
    """

    objective: str
    weight: float


@dataclass(frozen=True)
class Problem:
    """What a solver is given.

    Attributes:
        program: steps in order, and buffers.
        target: the chip.
        objective: what is minimised: `latency` (s), `traffic` (non-compulsory bytes), `energy` (J)
            or `peak` (bytes of the fastest tier).
        blend: a second objective that counts too, None for none. Solvers may pass over it; a bound
            is never claimed of it.
        latency_limit_s: with objective `peak`, the plan may take no longer; None for no limit.
        no_spill: whatever is no weight must be in the fastest tier from its first use to its last.
            Not all solvers know such problems: `no-spill` has them solved under a limit.
        inputs_ahead: with `no_spill`, inputs arrive while as many steps before their first use
            compute as that takes; else in the one step before, which may wait for them.
    """

    program: Program
    target: Target
    objective: str = "latency"
    blend: Blend | None = None
    latency_limit_s: float | None = None
    no_spill: bool = False
    inputs_ahead: bool = False
    _figures: dict[Callable[..., Any], Any] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def __repr__(self) -> str:
        """One line: a problem in full is thousands."""
        return f"<Problem {self.program!r} on {self.target.name}, objective {self.objective}>"

    def __getstate__(self) -> dict[str, Any]:
        """The state for pickling, without the kept figures: they can be worked out again."""
        return {**vars(self), "_figures": {}}

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.program.name

    @property
    def steps(self) -> tuple[Step, ...]:
        """T steps in the order in which they run."""
        return self.program.steps

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """B buffers, referred to by index."""
        return self.program.buffers

    @property
    def steady_state(self) -> bool:
        """Whether the steps repeat for ever."""
        return self.program.steady_state

    @property
    def uses_of(self) -> tuple[tuple[tuple[int, Use], ...], ...]:
        """For each buffer its (step, use) pairs in step order, reads before writes."""
        return self.program.uses_of

    def on(self, target: Target) -> "Problem":
        """The same program and objective on another chip."""
        return self if target is self.target else replace(self, target=target)

    def minimising(self, objective: str) -> "Problem":
        """The same program and chip with another objective.

        Both problems share their kept figures, none of which depends on the objective.
        """
        if objective == self.objective and self.blend is None and self.latency_limit_s is None:
            return self
        other = replace(self, objective=objective, blend=None, latency_limit_s=None)
        object.__setattr__(other, "_figures", self._figures)  # they do not depend on it
        return other

    def within(self, latency_limit_s: float) -> "Problem":
        """The problem of the smallest peak of a plan that takes no longer than a limit."""
        return replace(self.minimising("peak"), latency_limit_s=latency_limit_s)

    def without_spills(self, *, inputs_ahead: bool = False) -> "Problem":
        """The same problem for plans that keep in the fastest tier whatever is no weight."""
        return replace(self, no_spill=True, inputs_ahead=inputs_ahead)

    def blended(self, blend: Blend) -> "Problem":
        """The same problem with a second objective beside its own."""
        other = replace(self, blend=blend)
        object.__setattr__(other, "_figures", self._figures)  # they do not depend on it
        return other

    def weight_of(self, objective: str) -> float:
        """Weight of a figure in what is minimised: 1 for the objective, 0 for what does not count.

        In a blend, that of its second objective.
        """
        if objective == self.objective:
            return 1.0
        if self.blend is not None and objective == self.blend.objective:
            return self.blend.weight
        return 0.0

    def once(self, figure: Callable[["Problem"], Figure]) -> Figure:
        """The value of `figure` for this problem: worked out at the first call, then kept."""
        if figure not in self._figures:
            self._figures[figure] = figure(self)
        value: Figure = self._figures[figure]
        return value


def computed_once(figure: Callable[[Problem], Figure]) -> Callable[[Problem], Figure]:
    """Decorate a function of a problem so that it is worked out once for each problem.

    The function must depend on the program and the target only, not on the objective. Callers share
    the result, so they must not change it.
    """

    @wraps(figure)
    def once_per_problem(problem: Problem) -> Figure:
        return problem.once(figure)

    return once_per_problem
