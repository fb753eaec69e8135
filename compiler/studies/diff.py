"""Two plans side by side: what changed, by how much, and whether the second is slower.

Plans of one model are compared figure by figure, operator by operator and buffer by buffer, by
name: they may be of other targets, orders, data types or batches, and then the document says which
(`differences`). Plans of different models have nothing to compare and are refused.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from ullage.compiler.common.errors import UsageError, VerificationError
from ullage.compiler.driver.summary_text import stated_bound_text
from ullage.compiler.ir.part_names import axis_names_of, operator_name
from ullage.compiler.ir.plan import Plan, Transfer
from ullage.compiler.ir.plan_json import read_plan
from ullage.compiler.ir.program import DMA_STEP, Step
from ullage.compiler.verify.verifier import find_file_violations
from ullage.hwmodels.cost import Score, objective_value, score

# Share of the operators of the larger plan that the other must have, to be of the same model.
LEAST_COMMON = 0.5
# Seconds by which an operator's time must differ to count, as a share of the plan's latency.
NOISE = 1e-9
# Name, and the figure of a score; lower is better everywhere.
FIGURES = ("latency_s", "compute_s", "energy_j", "noncompulsory_bytes", "compulsory_bytes")


@dataclass(frozen=True)
class Side:
    """A plan of the two, with its file and its score."""

    path: Path
    plan: Plan
    score: Score


def diff_plans(before: Path, after: Path, fail_if_slower: float | None = None) -> dict[str, Any]:
    """What `diff --json` prints.

    Args:
        before: file of the plan that the other is held against.
        after: file of the other plan.
        fail_if_slower: share by which the latency may grow; None: whatever it does is well.

    Raises:
        UsageError: a file is no plan, or the plans are of different models.
        VerificationError: a plan is illegal.
    """
    old, new = _side(before), _side(after)
    _check_comparable(old, new)
    one, other = _figures(old), _figures(new)
    slower = _change(old.score.latency_s, new.score.latency_s)
    return {
        "before": one,
        "after": other,
        "change": {name: _change(one[name], other[name]) for name in FIGURES}
        | {"peak_bytes": _change(_peak(old), _peak(new))},
        "differences": list(_differences(old.plan, new.plan)),
        "operators": _operators(old, new),
        "buffers": _buffers(old, new),
        "transfers": _transfers(old, new),
        "same": one["plan"] == other["plan"] or _is_same(old.plan, new.plan),
        "slower": slower,
        "fail_if_slower": fail_if_slower,
        "passed": fail_if_slower is None or (slower is not None and slower <= fail_if_slower),
    }


def _side(path: Path) -> Side:
    """A plan from a file, verified and scored."""
    plan = read_plan(path)
    violations = find_file_violations(plan, limit=1)
    if violations:
        raise VerificationError(f"{path}: the plan is illegal: {violations[0].message}")
    return Side(path, plan, score(plan))


def _figures(side: Side) -> dict[str, Any]:
    plan, cost = side.plan, side.score
    return {
        "plan": str(side.path),
        "model": plan.problem.name,
        "target": plan.target.name,
        "solver": plan.solver,
        "objective": plan.objective,
        "order": plan.program.order,
        "value": objective_value(cost, plan.objective),
        "stated_bound": plan.lower_bound,
        "stated_bound_text": stated_bound_text(plan),
        **{name: getattr(cost, name) for name in FIGURES},
        "traffic_bytes": cost.traffic_bytes,
        "peak_bytes": cost.peak_bytes,
        "operators": plan.program.operators,
        "slices": len(plan.residencies),
        "transfers": len(plan.transfers),
    }


def _peak(side: Side) -> int:
    return side.score.peak_bytes[side.plan.target.fastest.name]


def _change(before: float, after: float) -> float | None:
    """After / before - 1; None where there was nothing and there is something."""
    if before == after:
        return 0.0
    return after / before - 1 if before else None


def _last_steps(plan: Plan) -> list[Step]:
    """For each operator the step in which it, or its last part, runs; in step order."""
    last = {step.operator: t for t, step in enumerate(plan.problem.steps) if step.kind != DMA_STEP}
    return [plan.problem.steps[t] for t in sorted(last.values())]


def _names(plan: Plan) -> list[str]:
    """The operators in the order in which they finish."""
    return [operator_name(step) for step in _last_steps(plan)]


def _kinds(plan: Plan) -> Counter[tuple[str, str]]:
    """(name, kind) of the operators."""
    return Counter((operator_name(step), step.kind) for step in _last_steps(plan))


def _parts(plan: Plan) -> dict[str, list[dict[str, list[int]]]]:
    """By operator that is cut the ranges of its parts."""
    parts: dict[str, list[dict[str, list[int]]]] = {}
    for step in plan.problem.steps:
        if step.ranges:
            ranges = zip(axis_names_of(step), step.ranges, strict=True)
            found = {name: [r.start, r.end] for name, r in ranges}
            parts.setdefault(operator_name(step), []).append(found)
    return parts


def _check_comparable(old: Side, new: Side) -> None:
    one, other = _kinds(old.plan), _kinds(new.plan)
    common, largest = (one & other).total(), max(one.total(), other.total())
    if common < LEAST_COMMON * largest or (common == 0 and largest):
        only = next(iter((one - other) or (other - one)))[0]
        raise UsageError(
            f"{old.path} plans {old.plan.problem.name} ({one.total()} operators), {new.path} plans "
            f"{new.plan.problem.name} ({other.total()}): {common} operators have the same name "
            f"and kind ({only!r} is in one only), so these are plans of different models and "
            "cannot be compared",
            {"operators": [one.total(), other.total()], "common": common},
        )


def _is_same(one: Plan, other: Plan) -> bool:
    return (
        one.problem == other.problem
        and one.residencies == other.residencies
        and one.transfers == other.transfers
    )


def _differences(one: Plan, other: Plan) -> Iterator[dict[str, Any]]:
    """What makes the problems different: {`what`, `before`, `after`} each; none where nothing."""
    plain: Mapping[str, tuple[object, object]] = {
        "model": (one.problem.name, other.problem.name),
        "objective": (one.objective, other.objective),
        "steady_state": (one.problem.steady_state, other.problem.steady_state),
        **{
            f"model.{key}": (one.model.get(key), other.model.get(key))
            for key in ("dtype", "batch", "dims", "fuse", "alias", "updates")
        },
        "model.state": (_states(one), _states(other)),
        "recomputed operators": (_recomputed(one), _recomputed(other)),
    }
    for what, (before, after) in plain.items():
        if before != after:
            yield {"what": what, "before": before, "after": after}
    for what, before, after in _fields_that_differ("target", one.target, other.target):
        yield {"what": what, "before": before, "after": after}
    ours, theirs = _names(one), _names(other)
    only_one, only_other = Counter(ours) - Counter(theirs), Counter(theirs) - Counter(ours)
    if only_one or only_other:
        yield {"what": "operators", "before": sorted(only_one), "after": sorted(only_other)}
    elif ours != theirs:
        first = next(
            t for t, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]
        )
        yield {"what": "operator order", "before": ours[first], "after": theirs[first]}
    parts, other_parts = _parts(one), _parts(other)
    if parts != other_parts:
        cut = [
            name for name in {**parts, **other_parts} if parts.get(name) != other_parts.get(name)
        ]
        yield {
            "what": "parts",
            "before": {name: len(parts[name]) for name in cut if name in parts},
            "after": {name: len(other_parts[name]) for name in cut if name in other_parts},
        }
    sizes, other_sizes = _sizes(one), _sizes(other)
    if sizes != other_sizes:
        yield {
            "what": "buffers",
            "before": {n: s for n, s in sorted(sizes.items()) if other_sizes.get(n) != s},
            "after": {n: s for n, s in sorted(other_sizes.items()) if sizes.get(n) != s},
        }


def _states(plan: Plan) -> list[str]:
    """The pairs of an input and the output after it that live in the same bytes."""
    return [f"{source}={result}" for source, result in plan.model.get("state") or ()]


def _recomputed(plan: Plan) -> dict[str, int]:
    """By operator that runs again, whole: how often it does."""
    again = Counter(s.operator for s in plan.problem.steps if s.copy and not s.ranges)
    names = {step.operator: operator_name(step) for step in plan.problem.steps}
    return {names[operator]: count for operator, count in sorted(again.items())}


def _sizes(plan: Plan) -> dict[str, int]:
    return {buffer.name: buffer.size_bytes for buffer in plan.problem.buffers}


def _fields_that_differ(
    path: str, one: object, other: object
) -> Iterator[tuple[str, object, object]]:
    """(dotted field, before, after) of two values of the same kind; entries by their name."""
    if one == other:
        return
    if is_dataclass(one) and is_dataclass(other) and type(one) is type(other):
        for field in fields(one):
            inside = f"{path}.{field.name}"
            yield from _fields_that_differ(
                inside, getattr(one, field.name), getattr(other, field.name)
            )
        return
    named = [_by_name(value) for value in (one, other)]
    if named[0] is not None and named[1] is not None:
        for key in dict.fromkeys([*named[0], *named[1]]):
            yield from _fields_that_differ(f"{path}.{key}", named[0].get(key), named[1].get(key))
        return
    yield path, _plain(one), _plain(other)


def _by_name(value: object) -> Mapping[str, object] | None:
    """A mapping, or a sequence of entries that have names; else None."""
    if isinstance(value, Mapping):
        return {str(key): entry for key, entry in value.items()}
    if isinstance(value, tuple) and value and all(hasattr(entry, "name") for entry in value):
        return {entry.name: entry for entry in value}
    return None


def _plain(value: object) -> object:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _operators(old: Side, new: Side) -> list[dict[str, Any]]:
    """Operators whose time changed, the one that changed most first."""
    one, other = _seconds(old), _seconds(new)
    least = NOISE * max(old.score.latency_s, new.score.latency_s)
    rows = [
        {"operator": name, "before_s": one.get(name), "after_s": other.get(name)}
        for name in dict.fromkeys([*one, *other])
        if abs(other.get(name, 0.0) - one.get(name, 0.0)) > least
    ]

    def size(row: dict[str, Any]) -> float:
        return -abs(float(row["after_s"] or 0.0) - float(row["before_s"] or 0.0))

    return sorted(rows, key=size)


def _seconds(side: Side) -> dict[str, float]:
    """Seconds by operator, all its parts; those of steps for transfers alone count for the next."""
    seconds: dict[str, float] = {}
    waiting = 0.0
    last = ""
    for step, elapsed in zip(side.plan.problem.steps, side.score.elapsed_s.tolist(), strict=True):
        waiting += elapsed
        if step.kind != DMA_STEP:
            last = operator_name(step)
            seconds[last] = seconds.get(last, 0.0) + waiting
            waiting = 0.0
    if last:
        seconds[last] += waiting
    return seconds


def _buffers(old: Side, new: Side) -> list[dict[str, Any]]:
    """Buffers that are kept or moved otherwise, the one with most bytes moved differently first."""
    one, other = _kept(old), _kept(new)
    rows = [
        {
            "buffer": name,
            "fast_byte_steps": [one.get(name, (0, 0))[0], other.get(name, (0, 0))[0]],
            "transferred_bytes": [one.get(name, (0, 0))[1], other.get(name, (0, 0))[1]],
        }
        for name in dict.fromkeys([*one, *other])
        if one.get(name) != other.get(name)
    ]

    def size(row: dict[str, Any]) -> tuple[int, int]:
        moved, kept = row["transferred_bytes"], row["fast_byte_steps"]
        return -abs(moved[1] - moved[0]), -abs(kept[1] - kept[0])

    return sorted(rows, key=size)


def _kept(side: Side) -> dict[str, tuple[int, int]]:
    """By buffer: bytes times steps in the fastest tier, and bytes moved by transfers."""
    plan, fastest = side.plan, side.plan.target.fastest.name
    kept = {buffer.name: (0, 0) for buffer in plan.problem.buffers}
    names = [buffer.name for buffer in plan.problem.buffers]
    for r in plan.residencies:
        if r.tier == fastest:
            held, moved = kept[names[r.buffer]]
            held += (r.end_byte - r.start_byte) * (r.end - r.start)
            kept[names[r.buffer]] = held, moved
    for t in plan.transfers:
        held, moved = kept[names[t.buffer]]
        kept[names[t.buffer]] = held, moved + t.end_byte - t.start_byte
    return kept


def _transfers(old: Side, new: Side) -> dict[str, list[dict[str, Any]]]:
    """Transfers that only one of the plans has, as {`only_before`, `only_after`}."""
    one, other = (
        Counter(_described(side.plan, t) for t in side.plan.transfers) for side in (old, new)
    )
    keys = ("buffer", "start_byte", "end_byte", "link", "before_operator")
    return {
        "only_before": [dict(zip(keys, t, strict=True)) for t in (one - other).elements()],
        "only_after": [dict(zip(keys, t, strict=True)) for t in (other - one).elements()],
    }


def _described(plan: Plan, transfer: Transfer) -> tuple[str, int, int, str, str]:
    """A transfer in words that do not depend on the numbers of steps."""
    steps = plan.problem.steps
    first = transfer.moves[0][0]
    at = next((operator_name(s) for s in steps[first:] if s.kind != DMA_STEP), steps[-1].name)
    name = plan.problem.buffers[transfer.buffer].name
    return name, transfer.start_byte, transfer.end_byte, transfer.link, at
