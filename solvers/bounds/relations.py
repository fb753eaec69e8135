"""One axis of an operand beside one axis of the result: which indices meet for sure.

Output index o uses the input indices [low[o], high[o]). Of runs of indices only the length is
kept, and every answer is the least over all places where such a run may lie:

    window of 3, padding 1, 8 inputs, 8 outputs
    touched(1) = 2    the first input is used by the outputs 0 and 1 only
    touched(2) = 3    inputs 0 and 1 by the outputs 0, 1, 2
    used(1) = 2       output 0 uses the inputs 0 and 1, and padding
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, wraps

import numpy as np

from ullage.compiler.common.arrays import Ints
from ullage.compiler.ir.reach import AxisMap


def _remembered(method: Callable[["Relation", int], int]) -> Callable[["Relation", int], int]:
    """A method of a relation that keeps its answers."""

    @wraps(method)
    def answer(relation: "Relation", run: int) -> int:
        key = method.__name__, run
        if key not in relation.memo:
            relation.memo[key] = method(relation, run)
        return relation.memo[key]

    return answer


@dataclass(frozen=True, eq=False)
class Relation:
    """Which indices of an input axis each index of an output axis uses.

    Attributes:
        low: (outputs,) first input index.
        high: (outputs,) one past the last; an index that uses none has low = high.
        inputs: length of the input axis.
        memo: answers that were given before, by method and run.
    """

    low: Ints
    high: Ints
    inputs: int
    memo: dict[tuple[str, int], int] = field(default_factory=dict, repr=False)

    @property
    def outputs(self) -> int:
        """Length of the output axis."""
        return len(self.low)

    @cached_property
    def is_plain(self) -> bool:
        """Whether each index uses the same index, as in element-wise operators."""
        return self.inputs == self.outputs and bool(
            (self.low == np.arange(self.inputs)).all() and (self.high == self.low + 1).all()
        )

    @cached_property
    def window(self) -> int:
        """Most input indices that one output index uses."""
        return int((self.high - self.low).max(initial=0))

    @cached_property
    def most_sharing(self) -> int:
        """Outputs that must share an input, if each output has one of those that it uses.

        Inputs are handed out in order, a new one while there is one; else most users of an input.
        """
        taken = -1
        for low, high in zip(self.low.tolist(), self.high.tolist(), strict=True):
            taken = max(taken + 1, low)
            if taken >= high:
                return int(self._users.max(initial=1))
        return 1

    @cached_property
    def _users(self) -> Ints:
        """(inputs,) how many outputs use each input."""
        marks = np.zeros(self.inputs + 1, np.int64)
        np.add.at(marks, self.low, 1)
        np.add.at(marks, self.high, -1)
        return np.asarray(marks.cumsum()[:-1])

    @cached_property
    def _used_range(self) -> tuple[int, int]:
        """Outputs [first, end) that use something, where the others lie outside of them.

        (0, 0) where windows do not ascend, or where one between others uses nothing: of runs of
        such axes nothing is known.
        """
        (some,) = np.nonzero(self.high > self.low)
        if not len(some) or some[-1] - some[0] + 1 != len(some):
            return (0, 0)
        low, high = self.low[some], self.high[some]
        if (np.diff(low) < 0).any() or (np.diff(high) < 0).any():
            return (0, 0)
        return int(some[0]), int(some[-1]) + 1

    def meeting(self, low: Ints, high: Ints) -> tuple[Ints, Ints]:
        """For runs [low, high) of inputs the outputs [first, end) that use some of each."""
        first, end = self._used_range
        begin = np.searchsorted(self.high[first:end], low, "right")
        behind = np.searchsorted(self.low[first:end], high, "left")
        return first + begin, first + np.maximum(begin, behind)

    def _runs(self, run: int) -> tuple[Ints, Ints]:
        """Every run of so many inputs."""
        low = np.arange(self.inputs - run + 1)
        return low, low + run

    @_remembered
    def touched(self, run: int) -> int:
        """Least number of outputs, one behind the other, that use some of `run` inputs in a row."""
        if self.is_plain or run == 0:
            return run
        if run == self.inputs and bool((self.high > self.low).all()):
            return self.outputs
        first, end = self.meeting(*self._runs(run))
        return int((end - first).min())

    @_remembered
    def pairs(self, run: int) -> int:
        """Least number of (output, input) pairs of `run` inputs in a row."""
        if self.is_plain or run == 0:
            return run
        return self.pairs_of(*self._runs(run))

    def pairs_of(self, low: Ints, high: Ints) -> int:
        """The same of the runs [low, high)."""
        sums = np.concatenate(([0], self._users.cumsum()))
        return int((sums[high] - sums[low]).min())

    @_remembered
    def used(self, run: int) -> int:
        """Least number of inputs, one behind the other, that `run` outputs in a row use."""
        if self.is_plain or run == 0:
            return run
        single = int((self.high - self.low).min())
        if run == 1:
            return single
        if self._ascends and bool((self.low[1:] <= self.high[:-1]).all()):
            return int((self.high[run - 1 :] - self.low[: self.outputs - run + 1]).min())
        return self._longest() if run == self.outputs else single

    @_remembered
    def used_in_all(self, run: int) -> int:
        """Least number of inputs that `run` outputs in a row use, in one piece or not."""
        if self.is_plain or run == 0:
            return run
        begin = np.arange(self.outputs - run + 1)
        if self._ascends:
            more = self.high[1:] - np.maximum(self.low[1:], self.high[:-1])
            sums = np.concatenate(([0], more.cumsum()))
            own = (self.high - self.low)[begin]
            return int((own + sums[begin + run - 1] - sums[begin]).min())
        count = np.zeros(len(begin), np.int64)
        for index in range(self.inputs):
            rows = np.flatnonzero((self.low <= index) & (index < self.high))
            behind = np.searchsorted(rows, begin + run, "left")
            count += behind > np.searchsorted(rows, begin, "left")
        return int(count.min())

    @cached_property
    def _ascends(self) -> bool:
        """Whether each output uses something, and no output less far on than the one before."""
        return bool(
            (self.high > self.low).all()
            and (np.diff(self.low) >= 0).all()
            and (np.diff(self.high) >= 0).all()
        )

    def _longest(self) -> int:
        """Longest run of inputs that outputs use."""
        marks = np.zeros(self.inputs + 1, np.int64)
        np.add.at(marks, self.low, 1)
        np.add.at(marks, self.high, -1)
        idle = np.flatnonzero(marks.cumsum() == 0)
        return int(np.diff(idle, prepend=-1).max()) - 1

    def taps(self, kernel: "Relation", low: Ints, high: Ints, *, of_results: bool) -> int:
        """Least number of taps, over the runs [low, high), by which an output uses some of a run.

        Args:
            kernel: taps [low, high) of each output: one for each input that it uses, in the same
                order, where windows have their taps side by side. Of others one tap is certain.
            low: first input of each run.
            high: one past its last.
            of_results: all taps of the outputs that use them, whether by those taps or not.
        """
        begin, end = self.meeting(low, high)
        side_by_side = np.array_equal(kernel.high - kernel.low, self.high - self.low)
        if not of_results and not (side_by_side and self._used_range[1]):
            return int((end > begin).min())
        count = np.zeros(len(low), np.int64)
        for tap in range(kernel.inputs):
            rows = np.flatnonzero((kernel.low <= tap) & (tap < kernel.high))
            if of_results:
                uses = np.searchsorted(rows, end, "left") - np.searchsorted(rows, begin, "left")
            else:
                places = self.low[rows] + tap - kernel.low[rows]
                uses = np.searchsorted(places, high, "left") - np.searchsorted(places, low, "left")
            count += uses > 0
        return int(count.min())


@lru_cache(maxsize=4096)
def relation_of(axis_map: AxisMap, outputs: int, inputs: int) -> Relation:
    """The relation that a map says.

    Args:
        axis_map: the map.
        outputs: length of the output axis.
        inputs: length of the input axis.
    """
    if axis_map.table:
        rows = [axis_map.interval(o, o + 1, inputs) for o in range(outputs)]
        table = np.array(rows, dtype=np.int64).reshape(-1, 2)
        return Relation(table[:, 0], table[:, 1], inputs)
    at = np.arange(outputs) * axis_map.multiplier
    low = (at + axis_map.first) // axis_map.divisor * axis_map.unit
    high = ((at + axis_map.last) // axis_map.divisor + 1) * axis_map.unit
    low, high = np.clip(low, 0, inputs), np.clip(high, 0, inputs)
    return Relation(low, np.maximum(low, high), inputs)


def shifted(outputs: int, inputs: int, offset: int) -> Relation:
    """Output index o uses input index o + offset."""
    low = np.arange(outputs) + offset
    return Relation(low, low + 1, inputs)
