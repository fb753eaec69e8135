"""Spans of space and moves, noted one by one while a program is built, entered all at once.

There are tens of thousands of them, a handful for each gap: entered gap by gap, the calls would
take longer than the solver does.
"""

from dataclasses import dataclass, field

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints


@dataclass
class Spans:
    """Spans [start, end) of steps in which shares of the capacity are taken, side by side.

    Steps count modulo T; no span is longer than T.
    """

    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    variables: list[int] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)

    def add(self, starts: list[int], ends: list[int], variables: list[int], share: float) -> None:
        """Note spans of the same share."""
        self.starts += starts
        self.ends += ends
        self.variables += variables
        self.shares += [share] * len(variables)

    def entries(
        self, steps: int, shortest: int, longest: int
    ) -> tuple[tuple[Ints, Ints, Floats], tuple[Ints, Ints, Floats]]:
        """All spans as entries of two kinds of rows.

        Args:
            steps: T.
            shortest: spans of more steps than this ...
            longest: ... and no more than this are of the second kind.

        Returns:
            (steps, variables, shares) of what takes space in a step; and of what the space that is
            taken changes by in a step, against the step before.
        """
        starts, ends = np.array(self.starts, np.int64), np.array(self.ends, np.int64)
        variables, shares = np.array(self.variables, np.int64), np.array(self.shares, np.float64)
        lengths = np.maximum(ends - starts, 0)
        long = (lengths > shortest) & (lengths <= longest)
        short = np.flatnonzero(~long)
        count = lengths[short]
        first = np.cumsum(count) - count
        inside = np.arange(int(count.sum())) + np.repeat(starts[short] - first, count)
        taken = inside % steps, np.repeat(variables[short], count), np.repeat(shares[short], count)
        here = np.flatnonzero(long)
        starts, ends, variables, shares = starts[here], ends[here], variables[here], shares[here]
        wraps = starts < 0  # from the inference before: [T + start, T), then [0, end)
        again = wraps & (ends > 0)
        at = [starts + steps * wraps, ends + steps * (ends < 0), np.zeros_like(starts[again])]
        by = [shares, -shares, shares[again]]
        changed = np.concatenate(at)
        known = changed < steps
        columns = np.concatenate([variables, variables, variables[again]])
        return taken, (changed[known], columns[known], np.concatenate(by)[known])


@dataclass
class Moves:
    """Moves over one link, side by side: variables, whose 1 stands for `scales` bytes, in steps."""

    steps: list[int] = field(default_factory=list)
    variables: list[int] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)

    def add(self, steps: list[int], variables: list[int], scale: float) -> None:
        """Note moves of the same size."""
        self.steps += steps
        self.variables += variables
        self.scales += [scale] * len(steps)
