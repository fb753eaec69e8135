"""Bounds on the latency of every schedule of a graph: any order, any parts, repeated or not.

docs/bounds.md states what a schedule is here, and proves the bounds.
"""

from dataclasses import dataclass, replace

import numpy as np

from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.hwmodels.bounds import Bound
from ullage.hwmodels.cost import exceeds_limit
from ullage.solvers.bounds.cones import Cone, Following, Preceding, layout_of
from ullage.solvers.bounds.cuts import (
    Cut,
    Setting,
    Tail,
    peeled,
    peeled_from_start,
    rates_of,
    setting_of,
    span_of,
)
from ullage.solvers.bounds.held import Solved, least_of, tail_of
from ullage.solvers.bounds.live import live_of
from ullage.solvers.bounds.network import Result, network_of
from ullage.solvers.budget import Budget

# Axes are kept index by index; a longer one would take the time and memory of the plan.
LONGEST_AXIS = 1 << 22
# Source of a bound that says nothing.
TRIVIAL = "trivial"
# A bound in bytes is within this part of the best that the bound on the latency gives.
FINENESS = 1000
# Cones take time with the square of the number of operators.
MOST_OPERATORS = 2000


@dataclass(frozen=True)
class ScheduleBounds:
    """What no schedule of a graph falls below, and what proves it: latencies in s, or bytes.

    Attributes:
        any_schedule: holds whatever the parts; sums may be taken up and laid down at any point.
        whole_reductions: holds where each element of a convolution or matrix product is finished
            in the step that begins it; at least `any_schedule`.
        is_cut_short: whether time was over before they were as high as they can be proven.
    """

    any_schedule: Bound
    whole_reductions: Bound
    is_cut_short: bool = False


def why_unbounded(problem: Problem, graph: Graph | None) -> str:
    """Why there is no bound over all schedules of a problem; empty where there is one.

    Args:
        problem: the problem.
        graph: what it was made from, None where that is not known.
    """
    is_limited = problem.latency_limit_s is not None
    if problem.objective == "peak" and not is_limited:
        return "it is proven for latency, and for peak under a limit of it (--slower-by)"
    if problem.objective not in {"latency", "peak"}:
        return f"it is proven for latency, not for {problem.objective}"
    if problem.blend is not None:
        return "it is proven for latency alone, not for a blend of objectives"
    if problem.steady_state:
        return "it is proven for one inference, not for steady state"
    if graph is not None and graph.states:
        return "it counts outputs whole, and of states (--state) operators may write a part"
    if len(problem.target.tiers) != 2 and not is_limited:
        return f"it is proven for two memories, not for {len(problem.target.tiers)}"
    if graph is None or not graph.operators:
        return "a problem without its model does not say in which parts its operators may run"
    if len(graph.operators) > MOST_OPERATORS:
        return f"there are {len(graph.operators)} operators, more than {MOST_OPERATORS}"
    longest = max((size for v in graph.values.values() for size in v.shape), default=0)
    if longest > LONGEST_AXIS:
        return f"an axis has {longest} elements, more than the {LONGEST_AXIS} that are looked at"
    return ""


def schedule_bounds(
    graph: Graph, target: Target, budget: Budget | None = None
) -> ScheduleBounds | None:
    """The best bounds on the latency of every schedule of a graph; None where time is over.

    Where it ends on the way, they are of the work and of the bytes that must move, which take none.

    Args:
        graph: the graph.
        target: a chip with two tiers.
        budget: of time.

    Raises:
        UsageError: the target cannot cost a data type.
    """
    limit = budget or Budget()
    if limit.is_over():
        return None
    setting = _setting(graph, target)
    floor = _floor(setting)
    return _bounds_of(setting, limit) or ScheduleBounds(floor, floor, is_cut_short=True)


def memory_bounds(
    graph: Graph, target: Target, limit_s: float, budget: Budget | None = None
) -> ScheduleBounds | None:
    """Bytes of fast memory below which no schedule without spills keeps a limit of the latency.

    The bound on the latency falls with the size; what is looked for is the largest size for which
    it exceeds the limit. It holds for plans that store nothing but results of the graph: weights
    come from their home, and wait in fast memory alone.

    Args:
        graph: the graph.
        target: the chip; the capacity of its fast memory does not count.
        limit_s: the limit of the latency.
        budget: of time.

    Returns:
        None where time is over before any size is excluded.

    Raises:
        UsageError: the target cannot cost a data type.
    """
    spent = budget or Budget()
    setting = _setting(graph, target, target.tier_index[target.homes["weight"]])
    known: dict[int, ScheduleBounds] = {}
    found: list[Bound] = []
    is_cut_short = False
    for name in ("any_schedule", "whole_reductions"):
        low, source = 0, TRIVIAL
        high = sum(value.size_bytes for value in graph.values.values())
        while high - low > max(1, high // FINENESS):
            size = (low + high) // 2
            if size not in known:
                sized = replace(setting, rates=replace(setting.rates, held_bytes=float(size)))
                bounds = None if spent.is_over() else _bounds_of(sized, spent)
                if bounds is None:
                    is_cut_short = True
                    break
                known[size] = bounds
            bound: Bound = getattr(known[size], name)
            if exceeds_limit(bound.value, limit_s):
                low, source = size, bound.source
            else:
                high = size
        if is_cut_short and not low:
            return None
        found.append(Bound(float(low), source))
    free, whole = found
    return ScheduleBounds(free, whole, is_cut_short)


def _setting(graph: Graph, target: Target, tier: int = 1) -> Setting:
    """A graph on a target, prepared; see `rates_of` for the tier."""
    network = network_of(graph, target)
    return setting_of(network, layout_of(network), live_of(network), rates_of(target, tier))


def _bounds_of(setting: Setting, budget: Budget) -> ScheduleBounds | None:
    """The best bounds on the latency; None where time is over first."""
    floor = _floor(setting)
    sides = _sides(setting, budget)
    if sides is None:
        return None
    bounds = []
    for tails, heads in sides:
        last = _best(peeled(setting, tails), "last-element")
        first = _best(peeled_from_start(setting, heads), "first-element")
        bounds.append(max(floor, last, first, key=lambda bound: bound.value))
    free, whole = bounds
    return ScheduleBounds(free, max(free, whole, key=lambda bound: bound.value))


def _best(cuts: list[Cut], source: str) -> Bound:
    return Bound(max((cut.seconds for cut in cuts), default=0.0), source)


def _floor(setting: Setting) -> Bound:
    """Work, loads and stores of all that reaches an output, each by itself."""
    steps = float(setting.steps.sum())
    compute = float(setting.live_seconds.sum()) + steps * setting.rates.overhead_s
    loaded, stored = setting.loaded_bytes(setting.live_loads), setting.live_outputs.sum()
    moving = span_of(setting, 0.0, float(loaded), float(stored), steps, held=False)
    return max(Bound(compute, "compute"), Bound(moving, "compulsory"), key=lambda b: b.value)


def _sides(setting: Setting, budget: Budget) -> list[tuple[list[Tail], list[float]]] | None:
    """By operator the seconds that follow the end of an element, and that precede its beginning.

    Twice: for any schedule, and for whole reductions. None where time is over.
    """
    network, layout = setting.network, setting.layout
    follow = Following(network, layout, setting.live)
    precede = Preceding(network, layout)
    before: dict[int, Cone] = {}
    solved: Solved = {}
    tails: tuple[list[Tail], list[Tail]] = ([], [])
    heads: tuple[list[float], list[float]] = ([], [])
    for node in network.nodes:
        if budget.is_over():
            return None
        cones = [found for r in node.results if (found := follow.of(r.value)) is not None]
        for way in range(2):
            after = [
                tail_of(
                    setting,
                    cone[way],
                    _seconds(setting, cone[way], held=True),
                    solved,
                    whole_reductions=way == 1,
                )
                for cone in cones
            ]
            tails[way].append(least_of(after))
        for result in node.results:
            before[result.value] = precede.of(result.value)
        for way in range(2):
            earlier = [
                _head(setting, r, before, at_once=r.at_once or (way == 1 and node.is_product))
                for r in node.results
            ]
            heads[way].append(min(earlier, default=0.0))
    return [(tails[0], heads[0]), (tails[1], heads[1])]


def _head(setting: Setting, result: Result, before: dict[int, Cone], *, at_once: bool) -> float:
    """Seconds that precede the first step of any element of a result.

    Args:
        setting: the graph.
        result: the result.
        before: what each value is made of, for all values made before.
        at_once: an element uses all of its operands in one step; else one of them may be the first.
    """
    whole = 0.0
    if at_once:
        cone = before[result.value]
        maker = setting.network.maker[result.value]
        own = np.array([node != maker for node in setting.layout.nodes], dtype=np.float64)
        work = cone.work.copy()
        work[maker] = 0.0
        whole = _seconds(setting, Cone(work, cone.loads * own, cone.outputs), held=False)
    if not (result.complete and result.fed):
        return whole
    operands = {operand.value for operand in result.operands}
    first = (_seconds(setting, before[v], held=False) for v in operands)
    return max(whole, min(first, default=0.0))  # by default: of constants alone


def _seconds(setting: Setting, cone: Cone, *, held: bool) -> float:
    """Least seconds for what is in a cone; with `held`, a fast memory full of it is there."""
    return span_of(
        setting,
        float((cone.work * setting.seconds).sum()),
        float(setting.loaded_bytes(cone.loads)),
        float((cone.outputs * setting.stored).sum()),
        float(((cone.work > 0) * setting.steps).sum()),
        held=held,
    )
