"""`--slower-by`: the smallest fast memory without a spill, for plans that are nearly the fastest.

First the best latency is looked for, with all of the target's fast memory and spills allowed. Then
memory is made as small as it may be while the latency stays within the tolerance: in the schedule
that was given, or in cascades that are searched for under that limit, and in whole operators.
"""

from dataclasses import replace

from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.frontend import Prepared
from ullage.solvers.registry import find_solver

# Share of the job's time in which the best latency is looked for.
FASTEST_SHARE = 0.4


def for_best_latency(options: CompileOptions) -> CompileOptions:
    """The options with which the best latency is looked for."""
    limit_s = options.time_limit_s
    fastest = replace(
        options,
        objective="latency",
        slower_by=None,
        time_limit_s=None if limit_s is None else FASTEST_SHARE * limit_s,
    )
    if "latency" in find_solver(options.solver).objectives:
        return fastest
    return replace(fastest, solver="auto", parameters={})


def limited(prepared: Prepared, limit_s: float) -> Prepared:
    """A model for the smallest peak under a limit of the latency.

    Args:
        prepared: the model as it was planned for latency.
        limit_s: the limit.
    """
    other = prepared.other
    return replace(
        prepared,
        problem=prepared.problem.within(limit_s),
        other=None if other is None else limited(other, limit_s),
    )
