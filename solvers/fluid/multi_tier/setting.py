"""A problem on a target with any number of tiers, made ready for the search for paths."""

from dataclasses import dataclass

from ullage.compiler.ir.problem import Problem
from ullage.solvers.fluid.multi_tier.network import Life, Network, life_of
from ullage.solvers.fluid.multi_tier.paths import Finder
from ullage.solvers.state.infeasibility import step_refusal
from ullage.solvers.state.segments import Atom, atoms_of


@dataclass(frozen=True)
class Setting:
    """A problem made ready.

    Attributes:
        network: its tiers and steps.
        atoms: its atoms.
        lives: theirs.
        roomy: mask of the tiers with room for everything.
        finder: of paths.
    """

    network: Network
    atoms: tuple[Atom, ...]
    lives: tuple[Life | None, ...]
    roomy: int
    finder: Finder

    @property
    def capped(self) -> list[int]:
        """Tiers whose capacity can bind."""
        return [m for m in range(self.network.tiers) if not self.roomy >> m & 1]


def setting_of(problem: Problem) -> Setting:
    """Network, atoms and their lives.

    Raises:
        InfeasibleError: an operator's workspace alone does not fit.
    """
    network = Network(problem)
    tightest = int(network.room[0].argmin())
    if network.room[0, tightest] < 0:
        needed = problem.steps[tightest].workspace_bytes
        raise step_refusal(problem, tightest, needed, ())
    atoms = atoms_of(problem)
    roomy = sum(1 << m for m in range(1, network.tiers) if network.is_roomy(m, atoms))
    lives = tuple(life_of(network, atom, roomy) for atom in atoms)
    return Setting(network, atoms, lives, roomy, Finder(network))
