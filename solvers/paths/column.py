"""What a path of a segment takes: seconds of ports and links, space, and the objective's rest."""

from dataclasses import dataclass

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.solvers.paths.network import LiveRange, TierNetwork
from ullage.solvers.paths.paths import END, READY, SOURCE, START, Path


@dataclass(frozen=True)
class Column:
    """A path of a segment with what it takes, for the whole segment.

    Attributes:
        segment: index of the segment.
        path: the path.
        busy_at: (k,) flat index (resource, step) of the seconds of ports, links and the unit.
        busy_s: (k,) seconds.
        load_at: (j,) flat index (tier, step <= T) of changes of the load.
        load_bytes: (j,) bytes that come (positive) or go.
        cost: objective without time.
    """

    segment: int
    path: Path
    busy_at: Ints
    busy_s: Floats
    load_at: Ints
    load_bytes: Floats
    cost: float


def column_of(network: TierNetwork, index: int, live_range: LiveRange, path: Path) -> Column:
    """The column of a path of a whole segment."""
    n, steps, size = network.tiers, network.steps, float(live_range.size_bytes)
    residencies = path.residencies
    moved = residencies[residencies[:, SOURCE] >= 0]
    at, seconds, cost = [], [], 0.0
    if len(moved):
        link_of = {(a, b): i for i, (a, b) in enumerate(network.links.tolist())}
        links = np.array([link_of[s, d] for d, s in moved[:, [0, SOURCE]].tolist()])
        when = moved[:, READY] - 1
        at += [moved[:, SOURCE] * steps + when, moved[:, 0] * steps + when]
        at += [(n + links) * steps + when]
        seconds += [size / network.rates_read[moved[:, SOURCE]]]
        seconds += [size / network.rates_write[moved[:, 0]], size / network.link_rates[links]]
        at.append((n + links) * steps + moved[:, START])
        seconds.append(live_range.setup_share * network.setups_s[links])
        cost += size * float(network.move_cost[links].sum())
    sides = (
        (network.rates_read, live_range.read_bytes),
        (network.rates_write, live_range.written_bytes),
    )
    for side, (rates, accessed) in enumerate(sides):
        tiers = path.served[:, side]
        used = tiers >= 0
        at.append(tiers[used] * steps + live_range.steps[used])
        seconds.append(accessed[used] / rates[tiers[used]])
        if network.unit is not None:
            at.append(network.unit * steps + live_range.steps[used])
            seconds.append(network.exposed * seconds[-1])
        cost += float((accessed[used] * network.access_cost[tiers[used], side]).sum())
    return Column(
        index,
        path,
        np.concatenate(at),
        np.concatenate(seconds),
        np.concatenate([residencies[:, 0], residencies[:, 0]]) * (steps + 1)
        + np.concatenate([residencies[:, START], residencies[:, END]]),
        np.repeat([size, -size], len(residencies)),
        cost,
    )
