"""Sweeps: one model on one target with many sizes of the fastest tier, and their lower bounds."""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ullage.compiler.common.engines import (
    HANDING_OVER_S,
    HERE,
    Engine,
    monotonic_time,
    share_of_turn,
    tells_nobody,
    wall_time,
)
from ullage.compiler.common.errors import ModelError, TimeLimitError, UllageError, UsageError
from ullage.compiler.common.units import format_size
from ullage.compiler.driver.compile import prepare, solve_prepared
from ullage.compiler.driver.options import (
    SEARCHED,
    WHOLE,
    CompileOptions,
    check_consistent,
    solver_of,
)
from ullage.compiler.driver.schedules import whole_by_default
from ullage.compiler.frontend import Prepared
from ullage.compiler.ir.target import Target
from ullage.compiler.studies.sweep_meet import Meeting, judge, refine
from ullage.compiler.studies.sweep_points import (
    Point,
    because,
    describe_point,
    early_note,
    flat_from,
    monotone,
    spaced,
    take_over,
)
from ullage.hwmodels.bounds import lower_bound
from ullage.solvers.scheduling.orders import JOINT

# Sizes of a sweep where their number is not specified.
DEFAULT_POINTS = 9
# Time kept for the search for a latency, in multiples of the time of one size.
REFINING_SHARE = 8
# Relative distance from the bound at which nothing is left to solve.
SOLVED_GAP = 1e-9


@dataclass(frozen=True)
class SweepOptions:
    """The options of a sweep beside `CompileOptions`.

    Attributes:
        first_bytes: smallest capacity of the tier.
        last_bytes: largest capacity.
        points: number of sizes, both ends included.
        meet_latency_s: latency in seconds for which the smallest size is searched; None for none.
        tier: name of the tier; empty: the fastest.
    """

    first_bytes: int
    last_bytes: int
    points: int = DEFAULT_POINTS
    meet_latency_s: float | None = None
    tier: str = ""


@dataclass(frozen=True)
class Sweep:
    """The curve.

    Attributes:
        points: by size, at least one with a plan; values and bounds never rise with the size.
        request: model, target, tier, solver, objective, order and seed.
        meeting: the answer about a latency, if one was searched for.
        notes: what was left out, and why.
        partial: Ctrl-C ended the sweep; these are the points until then.
        import_s: seconds spent reading the model.
        total_s: seconds in all.
    """

    points: tuple[Point, ...]
    request: Mapping[str, Any]
    meeting: Meeting | None
    notes: tuple[str, ...]
    partial: bool
    import_s: float
    total_s: float


def sweep(
    model: Path, request: SweepOptions, options: CompileOptions, engine: Engine = HERE
) -> Sweep:
    """Compile a model for every size of a range, with the time limit shared by all of them.

    The model is read once; operators run whole where no schedule is named. Sizes go from small to
    large: the best plan so far is legal for the next size too, and where it already meets the bound
    there, nothing is left to solve. With cascades they go from large to small: a large memory needs
    none and leaves its time to the small ones, which gain the most by them. Sizes that run side by
    side (`engine`) are taken in the same order: the curve is the same.

    Args:
        model: the model, or a problem file.
        request: the sizes.
        options: how to compile.
        engine: what runs the sizes; the search for a latency, which goes step by step, runs here.

    Raises:
        ModelError: the model cannot be read.
        UsageError: an option is wrong.
        UllageError: no size has a plan; the error is that of the largest size.
        KeyboardInterrupt: interrupted before any plan.
    """
    by_default = options.schedule is None
    if by_default:
        options = replace(options, schedule=WHOLE)
    check(request, options)
    middle = math.isqrt(request.first_bytes * request.last_bytes)  # one order for all sizes
    single = middle if options.order == JOINT and not request.tier else None
    if options.solver == "auto":  # what one plan may take is too much for each of many sizes
        options = replace(options, parameters={"patience_s": 0.0, **options.parameters})
    prepared = prepare(model, replace(options, fast_memory_bytes=single))
    options = replace(options, objective=prepared.problem.objective)  # a problem file has its own
    request = _of_target(request, prepared.target)
    tier = prepared.target.tier(request.tier or prepared.target.fastest.name)
    alignment = tier.alignment_bytes
    sizes = spaced(request.first_bytes, request.last_bytes, request.points, alignment)
    points: list[Point] = []
    notes: list[str] = []
    whole_because = ""
    if by_default and prepared.graph.operators:
        whole_because = whole_by_default("sweep", options, prepared.target)
    partial = False
    try:
        if engine is HERE:
            _solve_all(prepared, options, request, sizes, points)
        else:
            _solve_side_by_side(prepared, options, request, sizes, points, engine)
        _solve_late(prepared, options, request, points)
        if request.meet_latency_s is not None and _solved(points):
            notes += _refine(prepared, options, request.meet_latency_s, points)
    except KeyboardInterrupt:
        if not _solved(points):
            raise
        partial = True
        points[:] = monotone(points)
        notes.append("interrupted: what is said is about the sizes done until then")
    if not _solved(points):
        raise points[-1].error or TimeLimitError("the time limit was over before any plan")
    late = sum(isinstance(point.error, TimeLimitError) for point in points)
    if late:
        notes.append(
            f"{late} of {len(points)} sizes had too little time for a plan of their own; give more "
            "(--time-limit) or ask for fewer (--points)"
        )
    notes += early_note(points)
    meeting = None
    if request.meet_latency_s is not None:
        meeting = judge(points, request.meet_latency_s)
    return Sweep(
        points=tuple(because(point, whole_because) for point in points),
        request={**_described(prepared, options), "tier": tier.name},
        meeting=meeting,
        notes=tuple(notes),
        partial=partial,
        import_s=prepared.import_s,
        total_s=time.monotonic() - prepared.started,
    )


def check(request: SweepOptions, options: CompileOptions) -> None:
    """Refuse what makes no sense before a large model is read.

    Raises:
        UsageError: says what and what to do.
    """
    solver_of(options)
    if not request.tier:
        size = request.first_bytes
        check_consistent(replace(options, fast_memory_bytes=size, objective="latency"))
    if options.minimised == "peak":
        raise UsageError(
            "the smallest peak does not depend on the size of fast memory; find it with "
            "`ullage compile --objective peak`"
        )
    latency_s = request.meet_latency_s
    if latency_s is None:
        return
    if options.schedule in SEARCHED:
        raise UsageError(
            "--meet-latency proves which sizes are too small, by bounds of one schedule, and "
            "cascades are others at each size: use --schedule whole, or a schedule's file"
        )
    if options.minimised != "latency":
        raise UsageError(f"--meet-latency needs --objective latency, not {options.minimised}")
    if not 0 < latency_s < float("inf"):
        raise UsageError(f"--meet-latency takes seconds above 0, not {latency_s}")


def _of_target(request: SweepOptions, target: Target) -> SweepOptions:
    """The request with the fastest tier unnamed.

    Raises:
        UsageError: the target has no such tier, or what is asked for is about the fastest alone.
    """
    names = [tier.name for tier in target.tiers]
    if request.tier in {"", names[0]}:
        return replace(request, tier="")
    if request.tier not in names:
        raise UsageError(f"{target.name} has no tier {request.tier!r}; it has {', '.join(names)}")
    if request.meet_latency_s is not None:
        raise UsageError(
            f"--meet-latency searches for a size of {names[0]}, the fastest tier: leave --tier out"
        )
    return request


def describe_sweep(swept: Sweep) -> dict[str, Any]:
    """What `sweep --json` prints."""
    document: dict[str, Any] = {
        **swept.request,
        "partial": swept.partial,
        "import_s": swept.import_s,
        "total_s": swept.total_s,
        "notes": list(swept.notes),
        "flat_from_bytes": flat_from(swept.points),
        "rows": [describe_point(point, dict(swept.request)) for point in swept.points],
    }
    answer = swept.meeting
    if answer is not None:
        document |= {
            "meet_latency_s": answer.latency_s,
            "smallest_fast_memory_bytes": answer.smallest_bytes,
            "largest_insufficient_bytes": answer.insufficient_bytes,
            "best_latency_s": answer.best_latency_s,
            "best_lower_bound_s": answer.best_bound_s,
            "message": answer.message,
        }
    return document


def _solve_all(
    prepared: Prepared,
    options: CompileOptions,
    request: SweepOptions,
    sizes: Sequence[int],
    points: list[Point],
) -> None:
    """Solve size after size; points made so far are in the list even when it is interrupted."""
    later = 0 if request.meet_latency_s is None else REFINING_SHARE
    best: Point | None = None
    in_turn = list(reversed(sizes)) if options.schedule in SEARCHED else sizes
    for k, size in enumerate(in_turn):
        point_options = _telling(options, f"{k + 1} of {len(sizes)}, {format_size(size)}")
        point = None if options.schedule in SEARCHED else _unbeatable(best, size)
        if point is None:
            share_s = _remaining_s(prepared, options) / (len(sizes) - k + later)
            point = _solve_at(prepared, point_options, Point(size, tier=request.tier), share_s)
        points.append(point)
        points[:] = monotone(points)
        best = points[-1] if points[-1].compiled is not None else best
        _stop_if_interrupted(point)


class _Size(NamedTuple):
    """A size to be solved in a process of an engine. Picklable.

    Attributes:
        prepared: the model.
        options: how to compile, without progress.
        point: the size.
        share: of the time left when it begins.
        began: when the job began (`engines.wall_time`).
    """

    prepared: Prepared
    options: CompileOptions
    point: Point
    share: float
    began: float


def _solved_size(size: _Size) -> Point:
    """What a size comes to."""
    prepared = replace(size.prepared, started=monotonic_time(size.began))
    left_s = _remaining_s(prepared, size.options)
    return _solve_at(prepared, size.options, size.point, size.share * left_s)


def _solve_side_by_side(
    prepared: Prepared,
    options: CompileOptions,
    request: SweepOptions,
    sizes: Sequence[int],
    points: list[Point],
    engine: Engine,
) -> None:
    """Solve sizes side by side, and take them as `_solve_all` does, in its order.

    Where the plan of a smaller size cannot be beaten, what was solved meanwhile is left aside, and
    what is not done yet is ended.
    """
    later = 0 if request.meet_latency_s is None else REFINING_SHARE
    searched = options.schedule in SEARCHED
    in_turn = list(reversed(sizes)) if searched else list(sizes)
    began = wall_time(prepared.started)
    items = [
        _Size(
            prepared,
            replace(options, progress=tells_nobody),
            Point(size, tier=request.tier),
            share_of_turn(k, len(sizes), engine.jobs, later),
            began,
        )
        for k, size in enumerate(in_turn)
    ]
    solved: dict[int, Point] = {}
    taken = 0
    best: Point | None = None

    def take() -> None:
        """Take the sizes that are next in turn, as far as they are known."""
        nonlocal taken, best
        while taken < len(in_turn):
            point = None if searched else _unbeatable(best, in_turn[taken])
            point = point or solved.get(taken)
            if point is None:
                return
            taken += 1
            points[:] = monotone([*points, point])
            best = points[-1] if points[-1].compiled is not None else best

    ends = time.monotonic() + _remaining_s(prepared, options) + HANDING_OVER_S
    try:
        with closing(engine.run(_solved_size, items, ends)) as results:
            for number, point in results:
                solved[number] = point
                take()
                options.progress(f"{taken} of {len(in_turn)} sizes are done")
                if taken == len(in_turn):
                    break
        for k in range(taken, len(in_turn)):
            if k not in solved:
                solved[k] = Point(in_turn[k], tier=request.tier, error=_time_is_over(options))
        take()
    except KeyboardInterrupt:
        points[:] = monotone([*points, *(p for k, p in solved.items() if k >= taken)])
        raise


def _solve_late(
    prepared: Prepared, options: CompileOptions, request: SweepOptions, points: list[Point]
) -> None:
    """Solve the sizes once more that had too little time, with the time that others left over."""
    later = 0 if request.meet_latency_s is None else REFINING_SHARE
    late = [point.size_bytes for point in points if isinstance(point.error, TimeLimitError)]
    for k, size in enumerate(late):
        if (remaining_s := _remaining_s(prepared, options)) <= 0:
            break
        point_options = _telling(options, f"once more, {format_size(size)}")
        share_s = remaining_s / (len(late) - k + later)
        point = _solve_at(prepared, point_options, Point(size, tier=request.tier), share_s)
        points[:] = monotone([*(p for p in points if p.size_bytes != size), point])
        _stop_if_interrupted(point)


def _refine(
    prepared: Prepared, options: CompileOptions, latency_s: float, points: list[Point]
) -> list[str]:
    """Search for the smallest size that meets a latency while time lasts; returns notes."""
    shares_left = REFINING_SHARE

    def solve_at(size_bytes: int) -> Point:
        nonlocal shares_left
        point_options = _telling(options, f"closing in on the latency, {format_size(size_bytes)}")
        if _remaining_s(prepared, options) <= 0:
            raise TimeLimitError("the time limit ended the search for the smallest size")
        # Less than what a size took before would be spent for nothing.
        share_s = max(
            _remaining_s(prepared, options) / max(shares_left, 2), 1.5 * _longest_s(points)
        )
        new = Point(size_bytes, refined=True)
        point = _solve_at(prepared, point_options, new, share_s)
        shares_left -= 1
        if point.compiled is not None and point.compiled.interrupted:
            points[:] = monotone([*points, point])
        _stop_if_interrupted(point)
        return point

    try:
        refine(points, latency_s, prepared.target.fastest.alignment_bytes, solve_at)
    except TimeLimitError as error:
        return [f"{error.message}; give more (--time-limit) for a closer answer"]
    return []


def _unbeatable(best: Point | None, size_bytes: int) -> Point | None:
    """The plan of a smaller size at this size, if no plan there can be better; else None."""
    if best is None or best.compiled is None:
        return None
    plan = best.compiled.plan
    point = Point(size_bytes, tier=best.tier)
    free = lower_bound(plan.problem.on(point.on(plan.target)))
    if best.compiled.value > free.value * (1 + SOLVED_GAP):
        return None
    return take_over(point, best, "no plan of any size is better")


def _longest_s(points: Sequence[Point]) -> float:
    """Seconds of the size that took longest, without reading the model."""
    taken = [p.compiled.total_s for p in points if p.compiled is not None]
    return max(taken, default=0.0)


def _solve_at(prepared: Prepared, options: CompileOptions, point: Point, limit_s: float) -> Point:
    """Solve for the size of a point within a limit and within the time that remains."""
    remaining_s = _remaining_s(prepared, options)
    if remaining_s <= 0:
        return replace(point, error=_time_is_over(options))
    begun, own_s = time.monotonic(), None
    if options.time_limit_s is not None:  # counted from when the job began
        own_s = begun - prepared.started + min(limit_s, remaining_s)
    sized = replace(prepared.on(point.on(prepared.target)), started=prepared.started)
    try:
        solved = solve_prepared(sized, replace(options, time_limit_s=own_s))
        return replace(point, compiled=replace(solved, total_s=time.monotonic() - begun))
    except (UsageError, ModelError):
        raise
    except UllageError as error:
        return replace(point, error=error)


def _time_is_over(options: CompileOptions) -> TimeLimitError:
    """Why a size has no plan that had no time."""
    return TimeLimitError(
        f"the time limit of {options.time_limit_s or 0.0:.3g} s, shared by all sizes, was over "
        "before this one; give more (--time-limit) or ask for fewer sizes (--points)"
    )


def _remaining_s(prepared: Prepared, options: CompileOptions) -> float:
    if options.time_limit_s is None:
        return float("inf")
    return prepared.started + options.time_limit_s - time.monotonic()


def _telling(options: CompileOptions, prefix: str) -> CompileOptions:
    """The options with progress texts that say which size they are about."""
    return replace(options, progress=lambda text: options.progress(f"{prefix}: {text}"))


def _stop_if_interrupted(point: Point) -> None:
    """Raise KeyboardInterrupt again where a solver answered Ctrl-C with its best plan."""
    if point.compiled is not None and point.compiled.interrupted:
        raise KeyboardInterrupt


def _solved(points: Sequence[Point]) -> bool:
    return any(point.compiled is not None for point in points)


def _described(prepared: Prepared, options: CompileOptions) -> dict[str, Any]:
    return {
        "model": prepared.graph.name,
        "target": prepared.target.name,
        "solver": options.solver,
        "objective": options.minimised,
        "order": options.order,
        "seed": options.seed,
        "steady_state": options.steady_state,
    }
