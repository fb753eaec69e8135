"""`greedy`: Belady's idea for a program known in advance.

Between two uses of a tensor there is a gap. Gaps are closed (the tensor stays in fast memory) in
the order of their length, so that what is used soonest is kept, as long as space lasts and the
latency does not grow. Then single uses that hold a step back are fetched ahead into idle time of
the link, and results that hold a step back are written behind it. One pass, no search.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.solvers.registry import SolverOptions, parameters_of
from ullage.solvers.state.build_plan import assemble
from ullage.solvers.state.greedy_moves import close_gaps, hide_single_uses
from ullage.solvers.state.place import drop_what_no_longer_pays, notes_on_size, place_stays
from ullage.solvers.state.residency_state import Occupancy
from ullage.solvers.state.segments import atoms_of

SUMMARY = "Belady-like: keep what is used soonest, then prefetch and write behind"
DEFAULTS: Mapping[str, Any] = {"prefetch_window_steps": 64}


def solve(problem: Problem, target: Target, options: SolverOptions) -> Plan:
    """The greedy plan.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
    """
    chosen = parameters_of(options, DEFAULTS)
    window = int(chosen["prefetch_window_steps"])
    atoms = atoms_of(problem, target)
    occupancy = Occupancy(problem, target, atoms, options.objective)
    nothing_kept = occupancy.mark()
    close_gaps(occupancy, window, options)
    if options.objective == "latency":
        hide_single_uses(occupancy, window, options)
    notes = notes_on_size(occupancy, "greedy")
    if place_stays(occupancy, lambda: options.remaining_s() <= 0):
        # Each stay paid beside the others; without those that found no hole it may not.
        while options.remaining_s() > 0 and drop_what_no_longer_pays(occupancy):
            pass
        if occupancy.worse_than(nothing_kept):
            occupancy = Occupancy(problem, target, atoms, options.objective)
            place_stays(occupancy)
    if options.remaining_s() <= 0:
        notes += ("greedy: the time limit ended the pass over gaps and uses early",)
    plan = assemble(
        problem,
        target,
        occupancy.atoms,
        [stay for _, _, stay in occupancy.all_stays()],
        solver="greedy",
        objective=options.objective,
        seed=options.seed,
        options={k: v for k, v in chosen.items() if v != DEFAULTS[k]},
    )
    return replace(plan, notes=(*plan.notes, *notes))
