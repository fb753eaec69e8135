"""Solutions of `cpsat_model`: read from the solver, and given to it as hints."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from ullage.solvers.cosma.cpsat_model import CosmaChoice


@dataclass(frozen=True)
class Choice:
    """A solution: an order, and which tensors are kept between neighbouring uses.

    Attributes:
        order: all operators.
        kept: (tensor, use, next use) triples.
    """

    order: tuple[int, ...]
    kept: frozenset[tuple[int, int, int]]


def choice_of(model: CosmaChoice, value: Any, preferred: Sequence[int]) -> Choice:  # noqa: ANN401 - a method of the solver
    """The solution that the solver found; what does not matter as in `preferred`."""
    order = tuple(model.pairs.order(value, preferred))
    place = _places(order)
    kept: set[tuple[int, int, int]] = set()
    for a in range(len(model.program.tensors)):
        variables = model.tensors.get(a)
        for e, r in _in_order(model, a, place):
            if model.form.peak or variables is None or value(variables.kept[e, r]):
                kept.add((a, e, r))
    return Choice(order, frozenset(kept))


def hint(model: CosmaChoice, choice: Choice) -> None:
    """Give the solver a known solution as a hint."""
    place = _places(choice.order)
    values = model.pairs.hints(place)
    for a, variables in model.tensors.items():
        listed = _in_order(model, a, place)
        residencies = [(e, r) for e, r in listed if (a, e, r) in choice.kept]
        for pair, kept in variables.kept.items():
            values[kept.index] = int(pair in residencies)
        for o, beside in variables.beside.items():
            values[beside.index] = int(any(place[e] < place[o] < place[r] for e, r in residencies))
        if variables.spilled is not None:
            values[variables.spilled.index] = int(len(residencies) < len(listed))
        left = next((e for e, r in listed if (e, r) not in residencies), None)
        for e, broken in variables.broken.items():
            values[broken.index] = int(e == left)
    for (e, o, r), inside in model.breaks.inside.items():
        values[inside.index] = int(place[e] < place[o] < place[r])
    if model.peak is not None:
        values[model.peak.index] = peak_units(model, choice.order)
    program: Any = model.model  # not all of it has types
    program.clear_hints()
    for number, value in sorted(values.items()):
        program.add_hint(program.get_int_var_from_proto_index(number), value)


def peak_units(model: CosmaChoice, order: Sequence[int]) -> int:
    """The largest sum of tensors between their first and last use in an order."""
    change = [0] * (len(order) + 1)
    place = _places(order)
    for a, room in enumerate(model.rooms):
        spots = sorted(place[use] for use in model.uses(a))
        if spots:
            replaces = model.program.tensors[a].replaces >= 0
            change[spots[0] + replaces] += room
            change[spots[-1] + 1] -= room
    return max(accumulate(change))


def _places(order: Sequence[int]) -> list[int]:
    """Position of each operator."""
    place = [0] * len(order)
    for at, operator in enumerate(order):
        place[operator] = at
    return place


def _in_order(model: CosmaChoice, a: int, place: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbouring uses of a tensor in an order."""
    return list(pairwise(sorted(model.uses(a), key=place.__getitem__)))
