"""Changes of a sequence of operators that keep each behind those that it reads from."""

from collections.abc import Sequence
from functools import cached_property
from random import Random

from ullage.compiler.contest.instance import Instance

# Most operators of a run that is moved or mixed anew.
LONGEST_RUN = 5
# Partners of an operator are remembered up to so many: thousands may read one tensor.
REMEMBERED_PARTNERS = 100
# Of moves: how many shift a run, bring two operators together, mix a run, or recompute.
WEIGHTS = (5, 3, 1, 2)


class Moves:
    """Random changes of sequences of one instance."""

    def __init__(self, instance: Instance, random: Random) -> None:
        self._i, self._random = instance, random
        self._partners: dict[int, tuple[int, ...]] = {}
        self._kinds = (self._shifted, self._gathered, self._mixed, self._recomputed)

    def changed(self, sequence: Sequence[int]) -> list[int] | None:
        """A sequence with one change; None where the drawn change is none.

        Args:
            sequence: operators, each behind those that it reads from.
        """
        (kind,) = self._random.choices(self._kinds, WEIGHTS)
        return kind(sequence)

    @cached_property
    def producers(self) -> tuple[frozenset[int], ...]:
        """Operators that each operator reads from."""
        producer = self._i.producer
        return tuple(
            frozenset(producer[t] for t in read if producer[t] >= 0) for read in self._i.inputs
        )

    def partners(self, operator: int) -> tuple[int, ...]:
        """Operators that read a tensor of an operator, or write one; ascending."""
        known = self._partners.get(operator)
        if known is None:
            tensors = (*self._i.inputs[operator], *self._i.outputs[operator])
            near = {reader for tensor in tensors for reader in self._i.readers[tensor]}
            known = tuple(sorted((near | self.producers[operator]) - {operator}))
            if len(known) <= REMEMBERED_PARTNERS:
                self._partners[operator] = known
        return known

    def _range(self, sequence: Sequence[int], start: int, stop: int) -> tuple[int, int]:
        """How far a run may begin to the left and end to the right of where it is."""
        members = set(sequence[start:stop])
        needed = frozenset().union(*(self.producers[o] for o in members))
        left = start
        while left and sequence[left - 1] not in needed:
            left -= 1
        right = stop
        while right < len(sequence) and members.isdisjoint(self.producers[sequence[right]]):
            right += 1
        return left, right

    @staticmethod
    def _moved(sequence: Sequence[int], run: tuple[int, int], to: int) -> list[int]:
        """A sequence whose run is put before the operator that is at a place."""
        start, stop = run
        part = list(sequence[start:stop])
        if to <= start:
            return [*sequence[:to], *part, *sequence[to:start], *sequence[stop:]]
        return [*sequence[:start], *sequence[stop:to], *part, *sequence[to:]]

    def _shifted(self, sequence: Sequence[int]) -> list[int] | None:
        length = 1 if self._random.random() < 0.6 else self._random.randint(2, LONGEST_RUN)
        start = self._random.randrange(len(sequence))
        stop = min(start + length, len(sequence))
        left, right = self._range(sequence, start, stop)
        places = [*range(left, start), *range(stop + 1, right + 1)]
        if not places:
            return None
        return self._moved(sequence, (start, stop), self._random.choice(places))

    def _gathered(self, sequence: Sequence[int]) -> list[int] | None:
        start = self._random.randrange(len(sequence))
        near = [p for p in self.partners(sequence[start]) if p in sequence]
        if not near:
            return None
        other = sequence.index(self._random.choice(near))
        left, right = self._range(sequence, start, start + 1)
        to = min(max(other + self._random.randint(0, 1), left), right)
        if start <= to <= start + 1:
            return None
        return self._moved(sequence, (start, start + 1), to)

    def _mixed(self, sequence: Sequence[int]) -> list[int] | None:
        """A run in another order: operators whose producers have come, drawn by lot."""
        start = self._random.randrange(len(sequence))
        run = list(sequence[start : start + self._random.randint(2, 2 * LONGEST_RUN)])
        if len(set(run)) < len(run):
            return None
        mixed: list[int] = []
        while run:
            waiting = set(run)
            ready = [o for o in run if waiting.isdisjoint(self.producers[o])]
            operator = self._random.choice(ready)
            run.remove(operator)
            mixed.append(operator)
        return [*sequence[:start], *mixed, *sequence[start + len(mixed) :]]

    def _recomputed(self, sequence: Sequence[int]) -> list[int] | None:
        """One more or one less copy of an operator."""
        place = self._random.randrange(len(sequence))
        operator = sequence[place]
        if sequence.count(operator) > 1:
            fewer = [*sequence[:place], *sequence[place + 1 :]]
            readers = [n for n, o in enumerate(fewer) if operator in self.producers[o]]
            return fewer if min(readers, default=len(fewer)) > fewer.index(operator) else None
        needed = sorted(self.producers[operator])
        if not needed:
            return None
        copy = self._random.choice(needed)
        if place and sequence[place - 1] == copy:
            return None
        return [*sequence[:place], copy, *sequence[place:]]
