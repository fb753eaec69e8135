"""Compile a model for many lengths of a symbolic dimension, or batches: how its cost grows."""

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
from ullage.compiler.common.units import parse_count
from ullage.compiler.driver.compile import compile_part
from ullage.compiler.driver.options import WHOLE, CompileOptions, check_consistent, solver_of
from ullage.compiler.driver.result import Compiled
from ullage.compiler.driver.summary import summarise
from ullage.compiler.studies.sweep_points import spaced

# What the dimension that `--batch` sets is called.
BATCH = "batch"


@dataclass(frozen=True)
class Range:
    """Lengths of a dimension, both ends included.

    Attributes:
        name: of the symbolic dimension, or `batch`.
        first: smallest.
        last: largest.
    """

    name: str
    first: int
    last: int


@dataclass(frozen=True)
class LengthPoint:
    """What a length comes to: a plan, or why there is none."""

    length: int
    compiled: Compiled | None
    error: UllageError | None = None


@dataclass(frozen=True)
class LengthSweep:
    """The curve.

    Attributes:
        name: of the dimension.
        points: by length, at least one with a plan.
        partial: Ctrl-C ended the sweep; these are the points until then.
        total_s: seconds in all.
    """

    name: str
    points: tuple[LengthPoint, ...]
    partial: bool
    total_s: float


def parse_length_range(name: str, text: str) -> Range:
    """Lengths from `FROM..TO`.

    Raises:
        UsageError: it is no range of whole numbers of at least 1, the smaller one first.
    """
    low, dots, high = text.partition("..")
    option = "--batch" if name == BATCH else f"--dim {name}"
    if not dots:
        raise UsageError(f"{option} takes a range FROM..TO like 64..512, not {text!r}")
    first, last = parse_count(low, option), parse_count(high, option)
    if not 1 <= first <= last:
        raise UsageError(f"{option} {text}: the smaller length comes first and is at least 1")
    return Range(name, first, last)


class _Length(NamedTuple):
    """A length to be planned. Picklable, but for the progress of options that stay here.

    Attributes:
        model: the model.
        name: of the dimension.
        length: its length.
        options: how to compile.
        share: of the time left when it begins.
        began: when the job began (`engines.wall_time`).
    """

    model: Path
    name: str
    length: int
    options: CompileOptions
    share: float
    began: float


def _planned_length(item: _Length) -> LengthPoint:
    """What a length comes to, in a process of an engine."""
    options = replace(item.options, begun=monotonic_time(item.began), progress=tells_nobody)
    return _at(item.model, item.name, item.length, options, item.share)


def sweep_lengths(
    model: Path, lengths: Range, points: int, options: CompileOptions, engine: Engine = HERE
) -> LengthSweep:
    """Compile a model for lengths in equal ratios; the time limit is shared by all of them.

    The model is read for each length. Operators run whole where no schedule is named.

    Args:
        model: the model.
        lengths: the dimension and its range.
        points: number of lengths.
        options: how to compile; the dimension has no value there.
        engine: what runs the lengths.

    Raises:
        ModelError: the model cannot be read.
        UsageError: an option is wrong, or the model has no such dimension.
        UllageError: no length has a plan; the error is that of the smallest.
        KeyboardInterrupt: interrupted before any plan.
    """
    begun = time.monotonic()
    solver_of(options)
    check_consistent(options)
    job_begun = begun if options.begun is None else options.begun
    chosen = replace(options, schedule=options.schedule or WHOLE, begun=job_begun)
    tested = spaced(lengths.first, lengths.last, points, 1)
    found: list[LengthPoint] = []
    partial = False
    try:
        if engine is HERE:
            partial = _plan_in_turn(model, lengths.name, tested, chosen, found)
        else:
            _plan_side_by_side(model, lengths.name, tested, chosen, found, engine)
        late = [k for k, point in enumerate(found) if isinstance(point.error, TimeLimitError)]
        for number, k in enumerate(late):  # again, with the time that other lengths left over
            if job_begun + (options.time_limit_s or 0.0) <= time.monotonic():
                break
            length = found[k].length
            options.progress(f"once more, {lengths.name} = {length}")
            found[k] = _at(model, lengths.name, length, chosen, 1 / (len(late) - number))
            if (again := found[k].compiled) is not None and again.interrupted:
                partial = True
                break
    except KeyboardInterrupt:
        if not any(point.compiled is not None for point in found):
            raise
        partial = True
    if not any(point.compiled is not None for point in found):
        raise found[0].error or TimeLimitError("the time limit was over before any plan")
    return LengthSweep(lengths.name, tuple(found), partial, time.monotonic() - begun)


def _plan_in_turn(
    model: Path,
    name: str,
    tested: Sequence[int],
    options: CompileOptions,
    found: list[LengthPoint],
) -> bool:
    """Plan length after length, into a list; returns whether Ctrl-C ended it."""
    for number, length in enumerate(tested):
        options.progress(f"{number + 1} of {len(tested)}, {name} = {length}")
        point = _at(model, name, length, options, share_of_turn(number, len(tested), HERE.jobs))
        found.append(point)
        if point.compiled is not None and point.compiled.interrupted:
            return True
    return False


def _plan_side_by_side(
    model: Path,
    name: str,
    tested: Sequence[int],
    options: CompileOptions,
    found: list[LengthPoint],
    engine: Engine,
) -> None:
    """Plan lengths side by side, into a list by length, which Ctrl-C leaves with what is done."""
    begun = time.monotonic() if options.begun is None else options.begun
    began = wall_time(begun)
    ends = math.inf
    if options.time_limit_s is not None:
        ends = begun + options.time_limit_s + HANDING_OVER_S
    plain = replace(options, progress=tells_nobody)
    items = [
        _Length(model, name, length, plain, share_of_turn(k, len(tested), engine.jobs), began)
        for k, length in enumerate(tested)
    ]
    try:
        with closing(engine.run(_planned_length, items, ends)) as results:
            for _, point in results:
                found.append(point)
                options.progress(f"{len(found)} of {len(tested)} lengths are done")
        done = {point.length for point in found}
        late = TimeLimitError("the time limit was over before this length was planned")
        found += [LengthPoint(length, None, late) for length in tested if length not in done]
    finally:
        found.sort(key=lambda point: point.length)


def _at(model: Path, name: str, length: int, options: CompileOptions, share: float) -> LengthPoint:
    """What a length comes to, planned in a share of the time left after reading."""
    if name == BATCH:
        chosen = replace(options, batch=length)
    else:
        chosen = replace(options, dims={**options.dims, name: length})
    try:
        return LengthPoint(length, compile_part(model, chosen, share))
    except (UsageError, ModelError):
        raise
    except UllageError as error:
        return LengthPoint(length, None, error)


def describe_lengths(swept: LengthSweep, request: Mapping[str, Any]) -> dict[str, Any]:
    """What `sweep --json` prints of lengths.

    Args:
        swept: the curve.
        request: what was asked, for rows without a plan.
    """
    rows = []
    for point in swept.points:
        if point.compiled is not None:
            row: dict[str, Any] = summarise(point.compiled)
        else:
            row = dict(request)
            if point.error is not None:
                row |= {"status": point.error.kind, "error": point.error.to_json()}
        rows.append({**row, "dimension": swept.name, "length": point.length})
    return {
        **request,
        "dimension": swept.name,
        "partial": swept.partial,
        "total_s": swept.total_s,
        "rows": rows,
    }
