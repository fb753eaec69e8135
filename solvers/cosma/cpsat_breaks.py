"""What (1) of COSMA's ILP forbids: a tensor that leaves may not come back in the same step."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ullage.solvers.cosma.cpsat_pairs import Pairs


@dataclass
class TensorVariables:
    """Of a tensor that a row may ask to leave.

    Attributes:
        kept: k, by use and next use.
        spilled: s; None for inputs and weights.
        beside: h, by operator, where it is a variable of its own.
        broken: z, by use.
    """

    kept: dict[tuple[int, int], Any] = field(default_factory=dict)
    spilled: Any = None
    beside: dict[int, Any] = field(default_factory=dict)
    broken: dict[int, Any] = field(default_factory=dict)

    def arrivals(self, r: int) -> list[Any]:
        """K of use r."""
        return [kept for (_, last), kept in self.kept.items() if last == r]


class Breaks:
    """Writes the variables Z of tensors into a model.

    Attributes:
        model: the CP-SAT model.
        pairs: which of two operators runs first.
        operators: how many there are.
        inside: literals that imply of operators (e, o, r) that o runs between the others.
    """

    def __init__(self, model: Any, pairs: Pairs, operators: int) -> None:  # noqa: ANN401 - CpModel
        self.model, self.pairs, self.operators = model, pairs, operators
        self.inside: dict[tuple[int, int, int], Any] = {}

    def add(self, own: TensorVariables, uses: Sequence[int], readers: Sequence[int]) -> None:
        """Z of a tensor: it stays away for another operator's step before it first comes back."""
        own.broken = {e: self.model.new_bool_var("") for e in uses}
        self.model.add(sum(own.broken.values()) == own.spilled)
        for e, broken in own.broken.items():
            if e != uses[0]:
                self.model.add_bool_or([broken.negated(), *own.arrivals(e)])
            for r in readers:
                if r == e:
                    continue
                later = self.pairs.first(e, r)
                if later is not True:  # r runs before: the tensor has not left then
                    clause = [later] if later is not False else []
                    self.model.add_bool_or([broken.negated(), *clause, *own.arrivals(r)])
                if later is not False:
                    self._add_gap([broken] + ([later] if later is not True else []), e, r)

    def _add_gap(self, when: Sequence[Any], e: int, r: int) -> None:
        """Another operator runs between e and r, where all of `when` are true."""
        between: list[Any] = []
        for o in range(self.operators):
            sides = self.pairs.between(e, o, r) if o not in (e, r) else None
            if sides is None:
                continue
            if not sides:
                return
            if len(sides) == 1:
                between += sides
                continue
            if (e, o, r) not in self.inside:
                self.inside[e, o, r] = inside = self.model.new_bool_var("")
                for side in sides:
                    self.model.add_implication(inside, side)
            between.append(self.inside[e, o, r])
        self.model.add_bool_or([*(x.negated() for x in when), *between])
