"""Runs of indices along an axis that belong to a cone, by where the cone's element lies.

The element of a value from which a cone starts may be any that is alive. Along an axis of a value
further on, the cone has for sure a run of indices, which depends on the element's index along one
axis of its own value:

    element at row       0       1       2       3   ...
    after a 3 x 3 window [0, 2)  [0, 3)  [1, 4)  [2, 5)
    after another one    [0, 3)  [0, 4)  [0, 5)  [1, 6)

So two ways that lead to one value can be put together where both are known. Behind a Reshape that
joins or divides axes only the length of a run is known, not its place.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from weakref import WeakValueDictionary

import numpy as np

from ullage.compiler.common.arrays import Ints
from ullage.solvers.bounds.relations import Relation

# In place of an axis: the run is the same for every element.
FIXED = -1
# The run lies somewhere.
ANYWHERE = -2


@dataclass(frozen=True, eq=False)
class Run:
    """A run of indices along an axis of a value, for each element of another value.

    Attributes:
        length: least length, over all elements.
        source: axis of the other value whose index decides, `FIXED` or `ANYWHERE`.
        low: (indices,) first index; of `FIXED` runs one, of runs `ANYWHERE` none.
        high: (indices,) one past the last.
        memo: answers that were given before.
    """

    length: int
    source: int
    low: Ints
    high: Ints
    memo: dict[tuple[object, ...], "Run | int"] = field(default_factory=dict, repr=False)

    def through(self, relation: Relation) -> "Run":
        """The outputs that use some of it."""
        if relation.is_plain:
            return self
        known = self.memo.get((relation,))
        if not isinstance(known, Run):
            known = self.memo[relation,] = self._through(relation)
        return known

    def _through(self, relation: Relation) -> "Run":
        if self.length == relation.inputs and bool((relation.high > relation.low).all()):
            return whole_run(relation.outputs)
        if self.source == ANYWHERE:
            return anywhere(relation.touched(self.length))
        low, high = relation.meeting(self.low, self.high)
        return placed(self.source, low, high)

    def pairs(self, relation: Relation) -> int:
        """Least number of pairs of an output and an index of the run that it uses."""
        if relation.is_plain:
            return self.length
        if self.source == ANYWHERE:
            return relation.pairs(self.length)
        known = self.memo.get(("pairs", relation))
        if not isinstance(known, int):
            known = self.memo["pairs", relation] = relation.pairs_of(self.low, self.high)
        return known

    def taps(self, relation: Relation, kernel: Relation, *, of_results: bool) -> int:
        """Least number of taps by which an output uses some of it; as `Relation.taps`."""
        key: tuple[object, ...] = ("taps", relation, kernel, of_results)
        known = self.memo.get(key)
        if not isinstance(known, int):
            low, high = self.low, self.high
            if self.source == ANYWHERE:
                low = np.arange(relation.inputs - self.length + 1)
                high = low + self.length
            known = self.memo[key] = relation.taps(kernel, low, high, of_results=of_results)
        return known

    def inside(self, first: int, end: int) -> "Run":
        """What of it lies in a range of indices."""
        if self.source == ANYWHERE:
            raise AssertionError("the place of the run is not known")
        return placed(self.source, np.maximum(self.low, first), np.minimum(self.high, end))

    def shifted(self, offset: int) -> "Run":
        """The same further on along its axis."""
        return placed(self.source, self.low + offset, self.high + offset)

    def meeting(self, other: "Run", size: int) -> "Run | None":
        """What two runs along an axis of this size have in common; None where that is not known."""
        if self.length == size:
            return other
        if other.length == size:
            return self
        if ANYWHERE in (self.source, other.source):
            return None
        if self.source != other.source and FIXED not in (self.source, other.source):
            return None
        low, high = np.maximum(self.low, other.low), np.minimum(self.high, other.high)
        return placed(max(self.source, other.source), low, high)


_POOL: WeakValueDictionary[tuple[int, bytes, bytes], Run] = WeakValueDictionary()


def placed(source: int, low: Ints, high: Ints) -> Run:
    """A run whose place is known; equal ones are one object while it is in use."""
    key = source, low.tobytes(), high.tobytes()
    known = _POOL.get(key)
    if known is None:
        length = max(0, int((high - low).min(initial=1 << 62)))
        known = _POOL[key] = Run(length, source, low, high)
    return known


@lru_cache(maxsize=4096)
def whole_run(size: int) -> Run:
    """All indices of an axis."""
    return placed(FIXED, np.zeros(1, np.int64), np.full(1, size, np.int64))


@lru_cache(maxsize=4096)
def anywhere(length: int) -> Run:
    """A run of which only the length is known."""
    return Run(length, ANYWHERE, np.zeros(0, np.int64), np.zeros(0, np.int64))
