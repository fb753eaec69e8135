"""Breaks: what (1) of COSMA's ILP forbids, a tensor that leaves and comes back in the same step."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ullage.solvers.cosma.cpsat_pairs import Pairs


@dataclass
class TensorVariables:
    """Variables of a tensor that may have to leave; letters are those of `cpsat_model`.

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
        """The literals k that end at use r: one of them is true where the tensor is kept for it."""
        return [kept for (_, last), kept in self.kept.items() if last == r]


class Breaks:
    """Writes the variables z of tensors into a model.

    Attributes:
        model: the CP-SAT model.
        pairs: which of two operators runs first.
        operators: number of operators.
        inside: literals that imply of operators (e, o, r) that o runs between the others.
    """

    def __init__(self, model: Any, pairs: Pairs, operators: int) -> None:  # noqa: ANN401 - CpModel
        self.model, self.pairs, self.operators = model, pairs, operators
        self.inside: dict[tuple[int, int, int], Any] = {}

    def add(self, variables: TensorVariables, uses: Sequence[int], readers: Sequence[int]) -> None:
        """Add z of a tensor: it is away for another operator's step before it first comes back."""
        variables.broken = {e: self.model.new_bool_var("") for e in uses}
        self.model.add(sum(variables.broken.values()) == variables.spilled)
        for e, broken in variables.broken.items():
            if e != uses[0]:
                self.model.add_bool_or([broken.negated(), *variables.arrivals(e)])
            for r in readers:
                if r == e:
                    continue
                later = self.pairs.first(e, r)
                if later is not True:  # r runs before: the tensor has not left then
                    clause = [later] if later is not False else []
                    self.model.add_bool_or([broken.negated(), *clause, *variables.arrivals(r)])
                if later is not False:
                    self._add_gap([broken] + ([later] if later is not True else []), e, r)

    def _add_gap(self, when: Sequence[Any], e: int, r: int) -> None:
        """Demand that another operator runs between e and r where all of `when` are true."""
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
