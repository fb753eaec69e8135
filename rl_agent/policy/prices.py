"""Prices of fast memory by step: what a byte there is worth to the moves that compete for it.

A crude stand-in for the dual prices of the linear program in `solvers/fluid`, in one pass: moves
enter in the order of their worth per byte and step, and the price of a step is the worth of the
first that no longer fits there (Dantzig's bound for the knapsack, step by step). Compiled.
"""

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.solvers.engine.jit import entry


@entry
def fill_prices(
    order: Ints,
    low: Ints,
    high: Ints,
    size_bytes: Ints,
    worth: Floats,
    load_bytes: Floats,
    capacity_bytes: int,
    prices: Floats,
) -> None:
    """Prices (T,), zero at first, and load (T,) of what enters whole, step by step.

    Args:
        order: moves by falling worth.
        low: first step of each move.
        high: last step.
        size_bytes: of its tensor.
        worth: seconds saved per byte and step.
        load_bytes: (T,) bytes taken in each step; overwritten.
        capacity_bytes: of the fastest tier.
        prices: (T,) overwritten.
    """
    for i in order:
        if worth[i] <= 0.0:
            break
        for step in range(low[i], high[i] + 1):
            if load_bytes[step] + size_bytes[i] <= capacity_bytes:
                load_bytes[step] += size_bytes[i]
            elif prices[step] == 0.0:
                prices[step] = worth[i]


def prices_of(
    low: Ints,
    high: Ints,
    size_bytes: Ints,
    saved_s: Floats,
    workspace_bytes: Ints,
    capacity_bytes: int,
) -> tuple[Floats, Floats]:
    """(T,) seconds per byte that a step costs, and (T,) bytes taken there.

    Args:
        low: (G,) first step of each gap between uses.
        high: (G,) last step.
        size_bytes: (G,) of its tensor.
        saved_s: (G,) seconds that closing it saves.
        workspace_bytes: (T,) taken already.
        capacity_bytes: of the fastest tier.
    """
    worth = saved_s / np.maximum(size_bytes * (high - low + 1), 1)
    order = np.argsort(-worth, kind="stable").astype(np.int64)
    load, prices = workspace_bytes.astype(np.float64), np.zeros(len(workspace_bytes))
    fill_prices(order, low, high, size_bytes, worth, load, capacity_bytes, prices)
    return prices, load
