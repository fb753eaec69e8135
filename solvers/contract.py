"""A solver's contract: its solution is of the given problem, and its bound not above its value."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from numbers import Integral, Real
from typing import Any, TypeVar, get_args

from ullage.compiler.common.errors import ContractError
from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.plan import Residency, Transfer
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP, Program
from ullage.hwmodels.bounds import BOUND_TOLERANCE, Bound
from ullage.solvers.interface import ShadowPrice, Solution, Solver, StopReason

_Row = TypeVar("_Row", Residency, Transfer)


def broken(solver: Solver, what: str, **details: Any) -> ContractError:  # noqa: ANN401 - JSON values
    """The error for a solver that broke its contract."""
    whose = "" if solver.is_ours else f" of {solver.origin}"
    return ContractError(
        f"solver {solver.name}{whose} broke its contract: {what}",
        {"solver": solver.name, "origin": solver.origin, "breach": what, **details},
    )


def check_solution(solver: Solver, problem: Problem, answered: object) -> Solution:
    """Return a solver's answer if it is a solution to the given problem, of the right types.

    Raises:
        ContractError: it is something else; says what.
    """
    if not isinstance(answered, Solution):
        raise broken(solver, f"it returned a {type(answered).__name__}, not a Solution")
    assignment = answered.assignment
    if not isinstance(assignment, Assignment) or not isinstance(assignment.problem, Problem):
        raise broken(solver, "its solution holds no assignment to a problem")
    kinds = ((assignment.residencies, Residency), (assignment.transfers, Transfer))
    for rows, kind in kinds:
        if not isinstance(rows, tuple) or not all(isinstance(row, kind) for row in rows):
            raise broken(solver, f"its assignment does not hold a tuple of {kind.__name__}s")
    for difference in differences(problem, assignment.problem, chooses_order=solver.chooses_order):
        raise broken(solver, difference)
    return answered


def plain_solution(solver: Solver, solution: Solution) -> Solution:
    """A third party's solution with plain numbers and texts: numpy's become Python's.

    Raises:
        ContractError: a figure is no finite number, or a text none; says which.
    """
    bound = solution.bound
    if bound is not None:
        if not isinstance(bound, Bound):
            raise broken(solver, f"its bound is a {type(bound).__name__}, not a Bound")
        source = _text(solver, "the source of its bound", bound.source)
        bound = Bound(_number(solver, "its bound", bound.value), source)
    if not isinstance(solution.statistics, Mapping):
        raise broken(solver, "its statistics are no mapping")
    prices = _tuple(solver, "its shadow prices", solution.shadow_prices)
    if not all(isinstance(price, ShadowPrice) for price in prices):
        raise broken(solver, "its shadow prices are not ShadowPrice objects")
    if solution.stop_reason not in get_args(StopReason):
        raise broken(solver, f"it stopped for the unknown reason {solution.stop_reason!r}")
    assignment = solution.assignment
    return Solution(
        assignment=Assignment(
            assignment.problem,
            tuple(_plain_row(solver, row, Residency) for row in assignment.residencies),
            tuple(_plain_row(solver, row, Transfer) for row in assignment.transfers),
        ),
        stop_reason=next(r for r in get_args(StopReason) if r == solution.stop_reason),
        bound=bound,
        shadow_prices=tuple(
            ShadowPrice(
                _text(solver, "a shadow price", price.what),
                _number(solver, "a shadow price", price.saves),
            )
            for price in prices
        ),
        notes=tuple(
            _text(solver, "a note", note) for note in _tuple(solver, "its notes", solution.notes)
        ),
        statistics={
            _text(solver, "a statistic", name): _number(solver, f"statistic {name!r}", value)
            for name, value in solution.statistics.items()
        },
    )


def _plain_row(solver: Solver, row: _Row, made: type[_Row]) -> _Row:
    """A residency or transfer, and no subclass, with Python's whole numbers."""
    kind = made.__name__
    plain: dict[str, Any] = {}
    for item in fields(made):
        value = getattr(row, item.name)
        if item.name == "moves":
            moves = _tuple(solver, f"moves of a {kind}", value)
            plain["moves"] = tuple(
                tuple(_whole(solver, f"a move of a {kind}", number) for number in move)
                for move in moves
            )
        elif item.name in ("tier", "source", "destination", "link"):
            plain[item.name] = _text(solver, f"{item.name} of a {kind}", value)
        else:
            plain[item.name] = _whole(solver, f"{item.name} of a {kind}", value)
    return made(**plain)


def _tuple(solver: Solver, what: str, value: object) -> tuple[Any, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise broken(solver, f"{what}: a {type(value).__name__} instead of a tuple")
    return tuple(value)


def _whole(solver: Solver, what: str, value: object) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise broken(solver, f"{what}: {str(value)[:60]} instead of a whole number")
    return int(value)


def _number(solver: Solver, what: str, value: object) -> float:
    try:
        number = float(value) if isinstance(value, Real) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise broken(solver, f"{what}: {str(value)[:60]} instead of a finite number")
    return number


def _text(solver: Solver, what: str, value: object) -> str:
    if not isinstance(value, str):
        raise broken(solver, f"{what}: a {type(value).__name__} instead of a text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise broken(solver, f"{what}: a text that is no Unicode") from error
    return str(value)


def check_bound(solver: Solver, bound: float, source: str, value: float) -> None:
    """Return if a lower bound is not above the value of a verified plan.

    Raises:
        ContractError: it is above, or is no number: its prover is wrong.
    """
    if not bound <= value + BOUND_TOLERANCE * abs(value):
        raise broken(
            solver,
            f"it claims the lower bound {bound:.9g} (proven by {source or solver.name}), but its "
            f"own verified plan has the value {value:.9g}",
            bound=bound,
            bound_source=source,
            value=value,
        )


def differences(problem: Problem, answered: Problem, *, chooses_order: bool) -> Iterator[str]:
    """Sentences on each difference of the answered problem from the given one."""
    if answered.objective != problem.objective:
        yield f"it minimised {answered.objective!r}, asked was {problem.objective!r}"
    yield from _other_target(problem, answered)
    before, after = problem.program, answered.program
    if after.steady_state != before.steady_state:
        yield f"it planned with steady_state={after.steady_state}, not {before.steady_state}"
    if after.buffers != before.buffers:
        yield f"it changed the buffers: {_first_difference(before.buffers, after.buffers)}"
    if after.steps != before.steps:
        if not chooses_order:
            yield f"it changed the steps: {_first_difference(before.steps, after.steps)}"
        else:
            yield from _other_order(before, after)


def _other_target(problem: Problem, answered: Problem) -> Iterator[str]:
    """Differences of targets; for `peak` the fastest tier may have another capacity."""
    target = answered.target
    if problem.objective == "peak" and target.tiers:
        target = target.with_fast_memory(problem.target.fastest.capacity_bytes)
    if target == problem.target:
        return
    for item in fields(problem.target):  # and not what the target has computed from them
        name = item.name
        before, after = getattr(problem.target, name), getattr(target, name)
        if before != after and name in ("tiers", "links"):
            yield f"it planned for other {name}: {_first_difference(before, after)}"
        elif before != after:
            yield f"it planned for a target with another {name}: {after!r}, not {before!r}"


def _first_difference(before: tuple[Any, ...], after: tuple[Any, ...]) -> str:
    """A few words on the first difference of two tuples of dataclasses."""
    if len(before) != len(after):
        return f"{len(after)} instead of {len(before)}"
    for number, (one, other) in enumerate(zip(before, after, strict=True)):
        if one != other:
            for name in getattr(one, "__dataclass_fields__", ()):
                was, now = getattr(one, name), getattr(other, name, None)
                if was != now:
                    label = getattr(one, "name", number)
                    return f"{name} of {label!r} is {str(now)[:60]}, was {str(was)[:60]}"
            return f"number {number} is another"
    return "none"


def _other_order(before: Program, after: Program) -> Iterator[str]:
    """Breaches of another order: it must run the same operators and keep every dependence."""
    operators = {step.operator: step for step in before.steps if step.kind != DMA_STEP}
    place = {
        step.operator: number
        for number, step in enumerate(after.steps)
        if step.kind != DMA_STEP and operators.get(step.operator) == step
    }
    count = sum(step.kind != DMA_STEP for step in after.steps)
    if len(place) != len(operators) or count != len(operators):
        yield f"it ran {count} operators, not the {len(operators)} that were asked, once each"
        return
    for uses in before.uses_of:
        for number, (step, use) in enumerate(uses):
            for other_step, other in uses[:number]:
                if step == other_step or not (use.write or other.write):
                    continue
                if use.start_byte < other.end_byte and other.start_byte < use.end_byte:
                    early = before.steps[other_step].operator
                    late = before.steps[step].operator
                    if place[early] > place[late]:
                        names = before.steps[other_step].name, before.steps[step].name
                        yield f"it ran {names[1]!r} before {names[0]!r}, which it depends on"
                        return
