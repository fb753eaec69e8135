"""Work of a generation: items that know nothing of each other, played in any process.

An item is one program under a few perturbations of the weights. What comes back are the latencies;
the perturbations are drawn again where they are needed, from the same numbers.
"""

from typing import NamedTuple

import numpy as np

from ullage.rl_agent.policy.network import Network
from ullage.rl_agent.training.evolution import ItemResult, noise_of
from ullage.rl_agent.training.instances import Program, load_instance


class WorkItem(NamedTuple):
    """One program to be played by perturbed networks. Picklable.

    Attributes:
        seed: of the training run.
        generation: number of the generation.
        place: number of the item within it.
        program: what to play.
        network: to be perturbed.
        pairs: perturbations, each with its mirror image.
        sigma: their standard deviation.
    """

    seed: int
    generation: int
    place: int
    program: Program
    network: Network
    pairs: int
    sigma: float


def play_item(item: WorkItem) -> ItemResult:
    """Decode the item's program once by each of its networks.

    The result depends on the item alone; times are over that of a decode by the heuristic's order.

    Raises:
        ValueError: the item's program is infeasible or too small to be played.
    """
    instance = load_instance(item.program)
    if instance is None:
        raise ValueError(f"{item.program} cannot be played")
    encoding, reference_s = instance.encoding, instance.reference_s

    def ratio(network: Network) -> float:
        return instance.seconds(network.policy(encoding)) / reference_s

    shape = (item.pairs, len(item.network.weights))
    noise = item.sigma * noise_of(item.seed, item.generation, item.place, shape)
    plus = np.array([ratio(item.network.moved(row)) for row in noise])
    minus = np.array([ratio(item.network.moved(-row)) for row in noise])
    return ItemResult(item.place, ratio(item.network), plus, minus)
