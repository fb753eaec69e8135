"""Operator order in CP-SAT: a literal for each pair that may run either way and matters.

Pairs that data flow (or a pinned order) decides are constants. The others get a literal at their
first use. `finish` makes them consistent: no two of them, with the constants, close a cycle of
three; where that is not enough, operators get positions.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ullage.solvers.cosma.precedence import Precedence, bits, some_order

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

# Number of clauses that forbid cycles; beyond it positions alone keep the pairs consistent.
MOST_TRIPLES = 200_000

# A CP-SAT literal, or True or False where it is known.
Literal = Any


class Pairs:
    """The order of operators: for each pair, which of the two runs first.

    Attributes:
        precedence: the pairs that are decided already.
        variables: literal of each pair i < j that is not known: i runs before j.
    """

    def __init__(
        self, model: "cp_model.CpModel", precedence: Precedence, check: Callable[[], None]
    ) -> None:
        """Begin without pairs; `check` is called now and then and may raise to stop."""
        self.model, self.precedence, self.check = model, precedence, check
        self.variables: dict[tuple[int, int], Any] = {}
        self.positions: dict[int, Any] = {}

    def first(self, i: int, j: int) -> Literal:
        """Whether operator i runs before operator j; another one than i."""
        if self.precedence.before[j] >> i & 1:
            return True
        if self.precedence.after[j] >> i & 1:
            return False
        pair = (i, j) if i < j else (j, i)
        if pair not in self.variables:
            self.variables[pair] = self.model.new_bool_var("")
        literal = self.variables[pair]
        return literal if i < j else literal.negated()

    def between(self, e: int, o: int, r: int) -> list[Any] | None:
        """Literals that are all true where o runs between e and r; None where it cannot."""
        sides = (self.first(e, o), self.first(o, r))
        if any(side is False for side in sides):
            return None
        return [side for side in sides if side is not True]

    def known(self, i: int, j: int) -> Literal:
        """As `first`, but None where the pair has no literal so far."""
        if self.precedence.before[j] >> i & 1:
            return True
        if self.precedence.after[j] >> i & 1:
            return False
        if i < j:
            return self.variables.get((i, j))
        literal = self.variables.get((j, i))
        return None if literal is None else literal.negated()

    def finish(self) -> None:
        """Make the pairs consistent with some order of all operators."""
        if not self.variables:
            return
        involved = sorted({o for pair in self.variables for o in pair})
        if not (self._add_triples(involved) and self._is_complete(involved)):
            self._add_positions(involved)

    def _is_complete(self, involved: Sequence[int]) -> bool:
        """Whether each pair of the operators is a constant or has a literal."""
        return all(
            self.known(i, j) is not None
            for at, i in enumerate(involved)
            for j in involved[at + 1 :]
        )

    def _add_triples(self, involved: Sequence[int]) -> bool:
        """Forbid cycles of three operators; whether all such clauses could be written."""
        count = 0
        partners = dict.fromkeys(involved, 0)  # a cycle has two pairs with literals, or three
        for i, j in self.variables:
            partners[i] |= 1 << j
            partners[j] |= 1 << i
        for (i, j), first in list(self.variables.items()):
            self.check()
            for k in bits((partners[i] | partners[j]) & ~(1 << i | 1 << j)):
                # Each triple once: of its pairs with a literal, (i, j) is the smallest.
                others = [tuple(sorted(pair)) for pair in ((i, k), (j, k))]
                if any(pair in self.variables and pair < (i, j) for pair in others):
                    continue
                forth, back = self.known(j, k), self.known(k, i)
                if forth is None or back is None:
                    continue
                count += 1
                if count > MOST_TRIPLES:
                    return False
                self._clause([first, forth, back])
                self._clause([_negated(first), _negated(forth), _negated(back)])
        return True

    def _clause(self, cycle: Sequence[Literal]) -> None:
        """Forbid that all of these are true."""
        if any(literal is False for literal in cycle):
            return
        self.model.add_bool_or([x.negated() for x in cycle if x is not True])

    def _add_positions(self, involved: Sequence[int]) -> None:
        """Give each operator of a pair a position among these operators, which its pairs follow."""
        mask = sum(1 << o for o in involved)
        before, after = self.precedence.before, self.precedence.after
        top = len(involved) - 1
        for o in involved:
            low, high = (before[o] & mask).bit_count(), top - (after[o] & mask).bit_count()
            self.positions[o] = self.model.new_int_var(low, high, "")
        for o in involved:
            direct = before[o] & mask
            for earlier in bits(direct):
                direct &= ~before[earlier]
            for earlier in bits(direct):
                self.model.add(self.positions[o] >= self.positions[earlier] + 1)
        for (i, j), first in self.variables.items():
            ahead, behind = self.positions[i], self.positions[j]
            self.model.add(behind >= ahead + 1).only_enforce_if(first)
            self.model.add(ahead >= behind + 1).only_enforce_if(first.negated())

    def hints(self, place: Sequence[int]) -> dict[int, int]:
        """Values of the variables in an order, `place` the position of each operator."""
        values = {v.index: int(place[i] < place[j]) for (i, j), v in self.variables.items()}
        involved = sorted(self.positions, key=lambda o: place[o])
        values |= {self.positions[o].index: at for at, o in enumerate(involved)}
        return values

    def order(self, value: Any, preferred: Sequence[int]) -> list[int]:  # noqa: ANN401 - a method of the solver
        """The order of a solution; pairs that do not matter as in `preferred`, an allowed order."""
        if not self.variables:
            return list(preferred)
        before = list(self.precedence.before)
        for (i, j), first in self.variables.items():
            early, late = (i, j) if value(first) else (j, i)
            before[late] |= 1 << early
        return some_order(before, preferred)


def _negated(literal: Literal) -> Literal:
    """The negation of a literal or constant."""
    return not literal if isinstance(literal, bool) else literal.negated()
