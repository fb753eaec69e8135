"""Prices to begin with where every home is next to the fastest tier: those of the direct program.

The two-tier program knows all moves between home and the fastest tier, but no third tier. Its
multipliers, as prices of `network`, bound plans that use any tier (the bound of `column_generation`
holds for all prices), and nearly as well: a third tier seldom pays.
"""

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.solvers.fluid.two_tier.relaxation import Relaxation
from ullage.solvers.paths.network import TierNetwork


def direct_prices(network: TierNetwork, relaxation: Relaxation) -> tuple[Floats, Floats]:
    """Prices of a second of all resources, (R, T), and of a byte's space, (n, T)."""
    builder, duals = relaxation.fluid.builder, relaxation.solution.duals
    target = network.target
    short_of = relaxation.axis.short_of  # DMA-only steps side by side have one price
    busy = np.zeros((network.resources, network.steps))
    for name, rows in builder.port_rows.items():
        busy[target.tier_index[name]] = np.maximum(duals[rows[short_of]], 0.0)
    for at, (a, b) in enumerate(network.links.tolist()):
        linked = builder.link_rows.get((target.tiers[a].name, target.tiers[b].name))
        if linked is not None:
            busy[network.tiers + at] = np.maximum(duals[linked[short_of]], 0.0)
    if network.unit is not None and len(builder.unit_rows):
        busy[network.unit] = np.maximum(duals[builder.unit_rows[short_of]], 0.0)
    space = np.zeros((network.tiers, network.steps))
    space[0] = (builder.space_prices(duals) * builder.unit)[short_of]
    return busy / np.maximum(busy.sum(axis=0), 1.0), space
