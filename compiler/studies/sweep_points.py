"""Points of a sweep: sizes of a tier, and what plan and bound of one size prove about others.

A plan remains legal when the memory grows, and when it shrinks to what the plan needs. A lower
bound holds for all smaller memories, because each of their plans is legal in the larger one:

    size       1 MiB       2 MiB       4 MiB
    plans      ------ a plan is legal here ------>
    bounds     <----- a bound holds here ---------
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ullage.compiler.common.errors import TimeLimitError, UllageError, UsageError
from ullage.compiler.common.units import parse_size
from ullage.compiler.driver.result import Compiled, best_bound
from ullage.compiler.driver.summary import summarise
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.target import Target
from ullage.compiler.verify.verifier import verify
from ullage.hwmodels.cost import score
from ullage.hwmodels.replay.replay import simulate
from ullage.solvers.interface import StopReason

# Beginning of the note of a plan that was made for another size.
NOTE = "sweep: the plan"
# End of that note where another size's plan is better.
NOT_AS_GOOD = "solving for this size found none as good"
# Relative difference below which a plan is not better: it is rounding.
NOISE = 1e-12
# A curve is flat from the size on from which no larger one has a plan better by more than this.
FLAT = 1e-3


@dataclass(frozen=True)
class Point:
    """One size of a tier, and the best plan and bound that are known for it.

    Attributes:
        size_bytes: capacity of the tier.
        compiled: the plan, None where there is none.
        error: why solving for this very size gave no plan.
        taken_from_bytes: the size that the plan was made for, None if it is this one.
        bound_from_bytes: the larger size that the bound was proven for, None if it is this one.
        refined: added by the search for a latency, not one of the sizes of the sweep.
        tier: name of the tier; empty: the fastest.
    """

    size_bytes: int
    compiled: Compiled | None = None
    error: UllageError | None = None
    taken_from_bytes: int | None = None
    bound_from_bytes: int | None = None
    refined: bool = False
    tier: str = ""

    def on(self, target: Target) -> Target:
        """A target with this size of the tier."""
        return target.with_capacity(self.tier or target.fastest.name, self.size_bytes)


def parse_range(text: str) -> tuple[int, int]:
    """First and last size of `FROM..TO`.

    Raises:
        UsageError: it is no range of sizes of at least one byte, the smaller one first.
    """
    low, dots, high = text.partition("..")
    if not dots:
        raise UsageError(f"--fast-memory takes a range FROM..TO like 64KiB..16MiB, not {text!r}")
    first, last = parse_size(low), parse_size(high)
    if not 1 <= first <= last:
        raise UsageError(
            f"--fast-memory {text}: the smaller size comes first and is at least 1 byte"
        )
    return first, last


def spaced(first: int, last: int, count: int, alignment_bytes: int) -> tuple[int, ...]:
    """At most `count` sizes from first to last (both exact), in equal ratios, ascending.

    Sizes between the ends are multiples of the alignment; those that coincide are left out.

    Raises:
        UsageError: fewer than two sizes for a range.
    """
    if first == last:
        return (first,)
    if count < 2:
        raise UsageError(f"--points {count}: a range has two ends; ask for at least 2 points")
    inner: set[int] = set()
    for k in range(1, count - 1):
        exact = first * (last / first) ** (k / (count - 1))
        size = round(exact / alignment_bytes) * alignment_bytes
        if first < size < last:
            inner.add(size)
    return (first, *sorted(inner), last)


def needed_bytes(plan: Plan, tier: str = "") -> int:
    """The smallest memory in which a plan remains legal with its addresses unchanged.

    Workspace lies in the fastest, above the highest address in use in its step
    (docs/plan-semantics.md).

    Args:
        plan: a legal plan.
        tier: name of the memory; empty: the fastest.
    """
    fastest = plan.target.fastest.name
    tops = np.zeros(len(plan.problem.steps), dtype=np.int64)
    for item in plan.residencies:
        if item.tier == (tier or fastest):
            top = item.offset + item.end_byte - item.start_byte
            np.maximum(tops[item.start : item.end], top, out=tops[item.start : item.end])
    if tier not in {"", fastest}:
        return int(tops.max(initial=0))
    workspace = np.array([step.workspace_bytes for step in plan.problem.steps], dtype=np.int64)
    return int((tops + workspace).max(initial=0))


def required_bytes(plan: Plan) -> int:
    """Fast memory without which no plan of the problem is legal.

    It is the largest sum, over the steps, of operands that must be in the fastest tier and of
    workspace. Zero where operands may be in any tier and nothing needs workspace.
    """
    problem, target = plan.problem, plan.target
    buffers = problem.buffers
    largest = 0
    for step in problem.steps:
        reached: dict[int, int] = {}  # buffer -> end of what is counted, ranges ascending
        total = step.workspace_bytes
        for use in sorted(step.uses, key=lambda u: (u.buffer, u.start_byte)):
            if target.must_be_fastest(buffers[use.buffer].kind, look_up=use.look_up):
                counted_to = max(use.start_byte, reached.get(use.buffer, 0))
                total += max(0, use.end_byte - counted_to)
                reached[use.buffer] = max(counted_to, use.end_byte)
        largest = max(largest, total)
    return largest


def take_over(point: Point, source: Point, why: str) -> Point:
    """The point with the plan of another size, verified and scored anew on its own target.

    Args:
        point: the point that gets the plan; its own bound and solve time remain.
        source: the point that has the plan.
        why: end of the note that the plan gets.

    Raises:
        VerificationError: the plan is not legal there: a defect of the caller.
    """
    assert source.compiled is not None  # noqa: S101 - callers pass points that have a plan
    old, own = source.compiled, point.compiled
    # A bound over all schedules is of a size, and holds for smaller ones.
    bounded = own or (old if source.size_bytes >= point.size_bytes else None)
    if own is not None and not _same_schedule(own, old):  # a bound is that of its own schedule
        own = None
    origin = source.taken_from_bytes or source.size_bytes
    notes = [text for text in old.plan.notes if not text.startswith(NOTE)]
    memory = point.tier or "fast memory"
    notes.append(f"{NOTE} of {origin} bytes of {memory} is taken over: {why}")
    if point.error is not None:
        notes.append(f"sweep: solving for {point.size_bytes} bytes failed: {point.error.message}")
    plan = replace(
        old.plan,
        problem=old.plan.problem.on(point.on(old.plan.target)),
        notes=tuple(notes),
        lower_bound=None if own is None else own.plan.lower_bound,
        bound_source="" if own is None else own.plan.bound_source,
    )
    verify(plan)
    taken = replace(
        old,
        plan=plan,
        score=score(plan),
        simulation=simulate(plan),
        bound=best_bound(plan) if own is None else own.bound,
        solve_s=0.0 if own is None else own.solve_s,
        total_s=0.0 if own is None else own.total_s,
        interrupted=own is not None and own.interrupted,
        stop_reason=_ended(point),
        schedule_bounds=None if bounded is None else bounded.schedule_bounds,
        unbounded=f"it was proven for {origin} bytes only"
        if bounded is None
        else bounded.unbounded,
    )
    return replace(point, compiled=taken, taken_from_bytes=origin)


def because(point: Point, whole_because: str) -> Point:
    """The point with the reason why its operators run whole; as it is where there is none."""
    if point.compiled is None or not whole_because:
        return point
    return replace(point, compiled=replace(point.compiled, whole_because=whole_because))


def _ended(point: Point) -> StopReason:
    """Why solving for this very size ended, whatever plan it has now."""
    if point.compiled is not None:
        return point.compiled.stop_reason
    return "time limit" if isinstance(point.error, TimeLimitError) else "finished"


def early_note(points: Sequence[Point]) -> list[str]:
    """The note about sizes that have a plan, and whose solver was cut short by the time."""
    early = sum(point.compiled is not None and _ended(point) == "time limit" for point in points)
    if not early:
        return []
    return [
        f"{early} of {len(points)} sizes ended when their share of the time was over, before their "
        "solver was done (marked * in the table): more time (--time-limit) may find better plans"
    ]


def flat_from(points: Sequence[Point]) -> int | None:
    """The size in bytes from which on more memory makes no plan better; None where none is larger.

    Args:
        points: by size, each with the best plan of all that fit (`monotone`).
    """
    planned = [p for p in points if p.compiled is not None and p.compiled.plan.objective != "peak"]
    if not planned:
        return None
    least = _value(planned[-1])
    enough = next(point for point in planned if _value(point) <= least * (1 + FLAT))
    return None if enough is planned[-1] else enough.size_bytes


def monotone(points: Sequence[Point]) -> tuple[Point, ...]:
    """The points by size, each with the best plan and the best bound that any of them offers.

    More memory never makes a point worse afterwards, and bounds never rise with it.
    """
    ordered = sorted(points, key=lambda point: point.size_bytes)
    best: Point | None = None
    for k, point in enumerate(ordered):
        if best is not None and _is_better(best, point):
            ordered[k] = take_over(point, best, NOT_AS_GOOD)
        best = ordered[k] if ordered[k].compiled is not None else best
    for k in reversed(range(len(ordered) - 1)):
        larger = [other for other in ordered[k + 1 :] if _is_better(other, ordered[k])]
        fitting = [other for other in larger if _fits(other, ordered[k].size_bytes)]
        if fitting:
            ordered[k] = take_over(ordered[k], min(fitting, key=_value), NOT_AS_GOOD)
    return _with_bounds_of_larger(ordered)


def _with_bounds_of_larger(ordered: Sequence[Point]) -> tuple[Point, ...]:
    """The points with bounds that never rise with the size."""
    bounded: list[Point] = []
    best: Point | None = None
    for point in reversed(ordered):
        bounded_point = point
        if point.compiled is not None and best is not None and best.compiled is not None:
            bound = best.compiled.bound
            holds = _same_schedule(point.compiled, best.compiled)
            if holds and bound.value > point.compiled.bound.value:
                plan = replace(
                    point.compiled.plan, lower_bound=bound.value, bound_source=bound.source
                )
                bounded_point = replace(
                    point,
                    compiled=replace(point.compiled, plan=plan, bound=bound),
                    bound_from_bytes=best.bound_from_bytes or best.size_bytes,
                )
        best = bounded_point if bounded_point.compiled is not None else best
        bounded.append(bounded_point)
    return tuple(reversed(bounded))


def _same_schedule(one: Compiled, other: Compiled) -> bool:
    """Whether two plans are of the same schedule."""
    return one.plan.model.get("schedule") == other.plan.model.get("schedule")


def _value(point: Point) -> float:
    return float("inf") if point.compiled is None else point.compiled.value


def _is_better(one: Point, other: Point) -> bool:
    return _value(one) < _value(other) * (1 - NOISE)


def _fits(point: Point, size_bytes: int) -> bool:
    compiled = point.compiled
    if compiled is None or max_address(compiled, point.tier) > size_bytes:
        return False
    return needed_bytes(compiled.plan, point.tier) <= size_bytes


def max_address(compiled: Compiled, tier: str = "") -> int:
    """The highest address of a tier, by default the fastest, that a plan's residencies use."""
    return compiled.score.peak_bytes[tier or compiled.plan.target.fastest.name]


def describe_point(point: Point, request: dict[str, Any]) -> dict[str, Any]:
    """A row of `sweep --json`: the keys of `compile --json`, or the error, and where both are from.

    Args:
        point: the point.
        request: model, target and solver, for rows without a plan.
    """
    if point.compiled is None:
        row: dict[str, Any] = dict(request)
        if not point.tier:
            row["fast_memory_bytes"] = point.size_bytes
        if point.error is not None:
            row |= {"status": point.error.kind, "error": point.error.to_json()}
    else:
        row = summarise(point.compiled)
    row["taken_from_bytes"] = point.taken_from_bytes
    row["bound_from_bytes"] = point.bound_from_bytes
    row["refined"] = point.refined
    row["size_bytes"] = point.size_bytes
    return row
