"""Parameters of `fluid`."""

from dataclasses import dataclass

from ullage.solvers.annealing.search import DEFAULT_WORK
from ullage.solvers.parameters import parameter


@dataclass(frozen=True)
class FluidOptions:
    """Parameters of `fluid`."""

    lp_solver: str = parameter(
        "glop", "solver of the linear programs", choices=("glop", "highs", "pdlp")
    )
    window_steps: int = parameter(
        24, "steps before a use in which its prefetch may move at first; prices open more", least=1
    )
    max_rounds: int = parameter(20, "rounds of opening windows, two tiers", least=1)
    max_tier_rounds: int = parameter(80, "rounds of column generation, three tiers", least=1)
    whole_steps: int = parameter(
        2000, "programs of more operators are solved in overlapping blocks", least=0
    )
    block_window_steps: int = parameter(16, "window_steps of programs solved in blocks", least=1)
    search_work: int = parameter(
        DEFAULT_WORK,
        "work of the annealing of whole tensors, counted (35 million take a second); 0: none",
        least=0,
    )
    own_plan: bool = parameter(
        False, "its own plan, even where one that it is held against or begins with is better"
    )
    seed: int = parameter(0, "of the annealing")
