"""Pauses: DMA-only steps between operators, and when moving in one can be better than beside them.

    steps     op a   pause   op b   pause   op c
    arrival            1       2      3       access

What operator c reads may arrive in steps 1, 2 or 3. In step 1 it takes room during b, as it does
when it arrives in step 2; and the time that it takes there is added to step 2 at most, as whatever
moves waits for the same port. So step 1 is never better than step 2. Step 3 is: there is no room
needed during b. What is stored home is the same with time running backwards: of all pauses, only
the one right after the operator that wrote it can be better than an operator's step.

That needs one port for which all moves wait. Where both ways have a link of their own that is
slower than the ports, one pause serves both at the same time, and shifting one of them costs time.
"""

from bisect import bisect_left, bisect_right

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Ints
from ullage.compiler.ir.target import Target


class Pauses:
    """The pauses of a program of T steps in which nothing needs to move but next to an access.

    Attributes:
        is_pause: (T,) whether a step is one.
    """

    def __init__(self, is_pause: NDArray[np.bool_]) -> None:
        self.is_pause = is_pause
        others = np.flatnonzero(~is_pause)
        self._others = np.concatenate([others - len(is_pause), others])  # -T .. T - 1
        self._listed: list[int] = self._others.tolist()

    def fill(self, low: int, high: int) -> bool:
        """Whether all steps in [low, high) are pauses; False where there are none."""
        return low < high and bisect_left(self._listed, high) == bisect_left(self._listed, low)

    def arrivals(self, low: int, high: int, end: int) -> Ints:
        """Steps in [low, high) in which it may pay to arrive for an access at `end` >= high.

        Steps may be negative: they belong to the inference before.
        """
        listed = self._listed
        first, past, before = (bisect_left(listed, step) for step in (low, high, end))
        after = max(low, listed[before - 1] + 1 if before else low)  # all pauses up to the access
        steps = self._others[first:past]
        return steps if after >= high else np.concatenate([steps, np.arange(after, high)])

    def count_arrivals(self, low: int, end: int) -> int:
        """Number of steps in [low, end) in which it may pay to arrive for an access at `end`."""
        listed = self._listed
        first, before = bisect_left(listed, low), bisect_left(listed, end)
        after = max(low, listed[before - 1] + 1 if before else low)
        return before - first + end - after

    def count_spills(self, low: int, high: int, since: int) -> int:
        """Number of steps in [low, high) in which it may pay to store; `spills` lists them."""
        listed = self._listed
        following = bisect_right(listed, since)
        until = min(high, listed[following] if following < len(listed) else high)
        others = bisect_left(listed, high) - bisect_left(listed, low)
        return others + max(0, until - max(low, since + 1))

    def spills(self, low: int, high: int, since: int) -> Ints:
        """Steps in [low, high) in which it may pay to store what step `since` <= low accessed."""
        listed = self._listed
        first, past = bisect_left(listed, low), bisect_left(listed, high)
        following = bisect_right(listed, since)
        until = min(high, listed[following] if following < len(listed) else high)
        after = max(low, since + 1)
        if after >= until:  # no pause right after the access
            return self._others[first:past]
        here, there = self._others[first:following], self._others[max(first, following) : past]
        return np.concatenate([here, np.arange(after, until), there])


def waits_at_one_port(target: Target, *, fast_port_binds: bool, link_binds: bool) -> bool:
    """Whether every move keeps the port of the slow tier busy longest, of two tiers.

    Args:
        target: the target.
        fast_port_binds: whether any step can wait for the port of the fastest tier.
        link_binds: whether any link is slower than both of its ports.
    """
    if len(target.tiers) != 2 or link_binds:
        return False
    fast, slow = target.tiers
    slowest = (
        slow.read_bytes_per_s <= fast.write_bytes_per_s
        and slow.write_bytes_per_s <= fast.read_bytes_per_s
    )
    return slowest or not fast_port_binds
