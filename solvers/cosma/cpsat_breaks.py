"""What (1) of COSMA's ILP forbids: a tensor that leaves may not come back in the same step."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ullage.solvers.cosma.cpsat_model import CosmaChoice, TensorVariables


def add_breaks(model: "CosmaChoice", a: int, own: "TensorVariables") -> None:
    """Z of a tensor: it stays away for the step of another operator before it first comes back."""
    cp, pairs = model.model, model.pairs
    uses, readers = model.uses(a), model.program.tensors[a].readers
    own.broken = {e: cp.new_bool_var("") for e in uses}
    cp.add(sum(own.broken.values()) == own.spilled)
    for e, broken in own.broken.items():
        if e != uses[0]:
            cp.add_bool_or([broken.negated(), *own.arrivals(e)])
        for r in readers:
            if r == e:
                continue
            later = pairs.first(e, r)
            if later is not True:  # r runs before: a has not left then
                clause = [later] if later is not False else []
                cp.add_bool_or([broken.negated(), *clause, *own.arrivals(r)])
            if later is not False:
                _add_gap(model, [broken] + ([later] if later is not True else []), e, r)


def _add_gap(model: "CosmaChoice", when: Sequence[Any], e: int, r: int) -> None:
    """Another operator runs between e and r, where all of `when` are true."""
    between: list[Any] = []
    for o in range(len(model.program.steps)):
        sides = model.pairs.between(e, o, r) if o not in (e, r) else None
        if sides is None:
            continue
        if not sides:
            return
        if len(sides) == 1:
            between += sides
            continue
        if (e, o, r) not in model.inside:
            model.inside[e, o, r] = inside = model.model.new_bool_var("")
            for side in sides:
                model.model.add_implication(inside, side)
        between.append(model.inside[e, o, r])
    model.model.add_bool_or([*(x.negated() for x in when), *between])
