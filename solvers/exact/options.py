"""Parameters of `cpsat`."""

from dataclasses import dataclass

from ullage.solvers.cosma.question import SPACES, YES_NO_AUTO
from ullage.solvers.parameters import parameter


@dataclass(frozen=True)
class CpsatOptions:
    """Parameters of `cpsat`; `order`, `weights`, `space` and `moves` ask for COSMA's problem."""

    num_workers: int = parameter(
        0, "threads of CP-SAT; 0: two, for COSMA's problem one", least=0, most=256
    )
    window_steps: int = parameter(
        0, "steps that fills may begin before, and spills end after a use; 0: by size", least=0
    )
    relative_gap: float = parameter(1e-6, "gap at which the search ends", least=0)
    hint_share: float = parameter(
        0.25,
        "share of the time for the quick solvers whose plan it starts from",
        least=0,
        most=0.99,
    )
    time_limit_s: float = parameter(60.0, "seconds where there is no other limit", least=0)
    order: str = parameter(
        "fixed", "operators in the given order, or in any (COSMA)", choices=("fixed", "free")
    )
    weights: str = parameter(
        "auto", "COSMA: weights are tensors too, as the target demands, or so", choices=YES_NO_AUTO
    )
    space: str = parameter(
        "addresses", "COSMA: what limits fast memory: addresses, live bytes, both", choices=SPACES
    )
    moves: str = parameter(
        "yes",
        "COSMA: a tensor may leave and come back between two operators",
        choices=("no", "yes"),
    )
    own_plan: bool = parameter(
        False, "its own plan, even where one that it is held against or begins with is better"
    )
    seed: int = parameter(0, "of the search")

    @property
    def workers(self) -> int:
        """Threads for problems in a fixed order."""
        return self.num_workers or 2

    @property
    def asks_for_cosma(self) -> bool:
        """Whether any parameter of COSMA's problem is given."""
        given = (self.order, self.weights, self.space, self.moves)
        return given != ("fixed", "auto", "addresses", "yes")
