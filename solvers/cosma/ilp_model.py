"""COSMA's ILP (arXiv 2311.18246) in PuLP: order, residency and addresses in one program.

Time step t runs one operator. For tensor a and step t, binary:

    C(a,t)  a is created: its producer runs (an input or a weight: it is loaded for the first time)
    P(a,t)  a is preserved: in fast memory since step t-1
    S(a,t)  a is spilled off chip between steps t-1 and t
    R(a,t)  a is retrieved between steps t-1 and t
    res = C + P + R: a is in fast memory while the operator of step t runs

Constraints, numbered as in the project's statement of the paper:

    (1)  C(a,t) + P(a,t) + S(a,t) + R(a,t) <= 1
    (2)  P(a,t) <= C(a,t-1) + P(a,t-1) + R(a,t-1)
    (3)  S(a,t) <= C(a,t-1) + P(a,t-1)
    (4)  R(a,t) <= sum over k <= t of S(a,k)
    (5)  C(a,t) <= P(b,t) + R(b,t) for every input b of a's producer
    (6)  C(a,t) = C(a',t) for the outputs a, a' of one operator
    (7)  sum over t of C(a,t) = 1
    (8)  sum over t of S(a,t) <= 1
    (9)  A(a,t) + size(a) <= capacity
    (10) A(a,t) + size(a) <= A(b,t) + M (1 - u), A(b,t) + size(b) <= A(a,t) + M (1 - d),
         u + d >= res(a,t) + res(b,t) - 1, u + d <= 1
    (11) |A(a,t) - A(a,t-1)| <= M (1 - P(a,t))
    (12) minimise the sum of size(a) (S(a,t) + R(a,t))

Two holes of the paper are closed: the operators of one step are at most one (`_add_one_a_step`),
and no tensor has a P, S or R at its first step, least of all at step 0.

Where the plan semantics know more than the paper: inputs and weights are off chip from the
beginning, so (4) asks for their first load, not for a spill, they may be used in the step of that
load (5), and it costs nothing in (12); the store of an output costs nothing either. An in-place
result takes the address of what it overwrites and adds no bytes in the step that creates it.
Workspace is subtracted from the capacity of its operator's step.

Steps at which a tensor cannot be of use have no variables: they would be zero.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from math import gcd
from typing import TYPE_CHECKING, Any

from ullage.solvers.cosma.precedence import precedence_of
from ullage.solvers.cosma.question import Form
from ullage.solvers.cosma.tensors import GIVEN, CosmaProgram

if TYPE_CHECKING:
    import pulp

Variables = dict[int, Any]  # by step
# Senses of a row, as PuLP numbers them.
LE, EQ = -1, 0


@dataclass
class IlpTensorVariables:
    """C, P, S, R of one tensor by step, and the first and last step that have any."""

    first: int
    last: int
    created: Variables = field(default_factory=dict)
    preserved: Variables = field(default_factory=dict)
    spilled: Variables = field(default_factory=dict)
    retrieved: Variables = field(default_factory=dict)

    def resident(self, t: int) -> list[Any]:
        """The terms of res(a,t)."""
        kinds = (self.created, self.preserved, self.retrieved)
        return [kind[t] for kind in kinds if t in kind]


class CosmaModel:
    """COSMA's integer program of one problem.

    Attributes:
        lp: the PuLP problem.
        variables: for each tensor.
        addresses: for each segment its address by step, in `CosmaProgram.unit_bytes`.
        cost_unit: bytes (of traffic or of peak) per unit of the objective.
    """

    def __init__(self, program: CosmaProgram, form: Form, check: Callable[[], None]) -> None:
        """Write the program; `check` is called now and then and may raise to stop."""
        import pulp

        self.pulp, self.program, self.form, self.check = pulp, program, form, check
        self.lp: pulp.LpProblem = pulp.LpProblem("cosma", pulp.LpMinimize)
        self.count = len(program.steps)
        self.capacity = program.target.fastest.capacity_bytes // program.unit_bytes
        earliest, latest = (
            precedence_of(program).windows()
            if form.free_order
            else (range(self.count), range(self.count))
        )
        self.variables = [
            self._tensor_variables(a, earliest, latest) for a in range(len(program.tensors))
        ]
        self.addresses: list[Variables] = [{} for _ in program.segments]
        for a in range(len(program.tensors)):
            check()
            self._add_states(a)
            self._add_once(a)
        self._add_operators()
        self._add_one_a_step()
        self.holders = self._holders()
        if form.peak:
            self._minimise_peak()
            return
        if form.addresses:
            self._add_addresses()
        if form.load:
            self._add_load()
        self._minimise_traffic()

    # -- variables ---------------------------------------------------------------------------

    def _tensor_variables(
        self, a: int, earliest: Sequence[int], latest: Sequence[int]
    ) -> IlpTensorVariables:
        tensor = self.program.tensors[a]
        makers = tensor.readers if tensor.producer == GIVEN else [tensor.producer]
        first = min((earliest[o] for o in makers), default=0)
        born = max((latest[o] for o in makers), default=0)
        last = max([born, *(latest[o] for o in tensor.readers)])
        variables = IlpTensorVariables(first, last)
        binary = self._binary
        variables.created = {t: binary("C", a, t) for t in range(first, born + 1)}
        later = range(first + 1, last + 1)
        variables.preserved = {t: binary("P", a, t) for t in later}
        if not self.form.peak:
            variables.retrieved = {t: binary("R", a, t) for t in later}
            if tensor.producer != GIVEN:
                variables.spilled = {t: binary("S", a, t) for t in later}
        return variables

    def _binary(self, kind: str, *numbers: int) -> "pulp.LpVariable":
        name = "_".join((kind, *map(str, numbers)))
        return self.lp.add_variable(name, cat="Binary")

    def _row(self, terms: list[tuple[Any, float]], sense: int, right: float) -> None:
        """Sum of the terms <= or = right; a variable may come twice."""
        merged: dict[Any, float] = {}
        for variable, factor in terms:
            merged[variable] = merged.get(variable, 0.0) + factor
        expression = self.pulp.LpAffineExpression(merged)
        self.lp.addConstraint(self.pulp.LpConstraint(expression, sense, rhs=right))

    def _at_most(self, ones: list[Any], others: list[Any], right: float = 0) -> None:
        """Sum of `ones` minus sum of `others` <= right."""
        terms = [(v, 1.0) for v in ones] + [(v, -1.0) for v in others]
        self._row(terms, LE, right)

    # -- residency ---------------------------------------------------------------------------

    def _add_states(self, a: int) -> None:
        """Add constraints (1) to (4) of a tensor."""
        variables = self.variables[a]
        given = self.program.tensors[a].producer == GIVEN
        for t in range(variables.first, variables.last + 1):
            spilled = [variables.spilled[t]] if t in variables.spilled else []
            if self.form.moves and spilled:  # (1), but for S + R
                back = [variables.retrieved[t]]
                self._at_most(variables.resident(t), [], 1)
                self._at_most([*variables.resident(t), *spilled], back, 1)
            else:
                self._at_most([*variables.resident(t), *spilled], [], 1)  # (1)
            if t == variables.first:
                continue
            self._at_most([variables.preserved[t]], variables.resident(t - 1))  # (2)
            if spilled:
                before = (variables.created, variables.preserved)
                self._at_most(spilled, [k[t - 1] for k in before if t - 1 in k])  # (3)
            if t in variables.retrieved:  # (4)
                if given:
                    sources = [v for k, v in variables.created.items() if k < t]
                else:
                    sources = [v for k, v in variables.spilled.items() if k <= t]
                self._at_most([variables.retrieved[t]], sources)

    def _add_once(self, a: int) -> None:
        """Add constraints (7) and (8) of a tensor."""
        variables = self.variables[a]
        created = [(v, 1.0) for v in variables.created.values()]
        self._row(created, EQ, 1)  # (7)
        if variables.spilled:
            self._at_most(list(variables.spilled.values()), [], 1)  # (8)

    def _add_operators(self) -> None:
        """Add constraints (5) and (6) of all operators."""
        for operator, outputs in enumerate(self.program.outputs):
            for a, other in pairwise(outputs):
                for t, created in self.variables[a].created.items():
                    same = self.variables[other].created[t]
                    self._row([(created, 1.0), (same, -1.0)], EQ, 0)  # (6)
            for a in outputs:
                for b in self.program.inputs[operator]:
                    given = self.program.tensors[b].producer == GIVEN
                    source = self.variables[b]
                    kinds = [source.preserved, source.retrieved]
                    kinds += [source.created] if given else []
                    for t, created in self.variables[a].created.items():
                        self._at_most([created], [k[t] for k in kinds if t in k])  # (5)

    def _add_one_a_step(self) -> None:
        """Demand that no two operators run in one step; the paper does not say so."""
        running: list[list[Any]] = [[] for _ in range(self.count)]
        for outputs in self.program.outputs:
            for t, created in self.variables[outputs[0]].created.items():
                running[t].append(created)
        for here in running:
            if len(here) > 1:
                self._at_most(here, [], 1)

    # -- space -------------------------------------------------------------------------------

    def _holders(self) -> list[dict[int, tuple[int, list[tuple[Any, float]]]]]:
        """For each step, the segments that can be in fast memory: their room and terms of res."""
        holders: list[dict[int, tuple[int, list[tuple[Any, float]]]]] = [
            {} for _ in range(self.count)
        ]
        for a, variables in enumerate(self.variables):
            tensor = self.program.tensors[a]
            if tensor.segment < 0:
                continue
            units = tensor.room_bytes // self.program.unit_bytes
            for t in range(variables.first, variables.last + 1):
                _, terms = holders[t].setdefault(tensor.segment, (units, []))
                for variable in variables.resident(t):
                    in_place = tensor.replaces >= 0 and variable is variables.created.get(t)
                    if not in_place:  # else the overwritten tensor counts already
                        terms.append((variable, 1.0))
        return holders

    def _scratch(self, t: int) -> list[tuple[Any, float]]:
        """Units that the workspace of the operator in step t takes from the capacity."""
        terms: list[tuple[Any, float]] = []
        for operator, outputs in enumerate(self.program.outputs):
            created = self.variables[outputs[0]].created.get(t)
            units = self.program.scratch_units(operator)
            if created is not None and units:
                terms.append((created, float(units)))
        return terms

    def _add_addresses(self) -> None:
        """Add the addresses with constraints (9), (10) and (11)."""
        big = float(self.capacity)
        for t, here in enumerate(self.holders):
            self.check()
            scratch = self._scratch(t)
            for segment, (units, terms) in here.items():
                top = self.capacity - units
                address = self.lp.add_variable(f"A_{segment}_{t}", 0, top)  # (9)
                self.addresses[segment][t] = address
                if scratch:  # (9) beside a workspace, where the tensor is resident
                    lifted = [(v, big * c) for v, c in terms]
                    self._row([(address, 1.0), *scratch, *lifted], LE, top + big)
            for one, other in combinations(here, 2):
                self._keep_apart(t, (one, *here[one]), (other, *here[other]))
        for a, variables in enumerate(self.variables):
            addresses = self.addresses[self.program.tensors[a].segment]
            for t, preserved in (
                variables.preserved.items() if self.program.tensors[a].segment >= 0 else ()
            ):
                now, then = addresses[t], addresses[t - 1]  # (11)
                self._row([(now, 1.0), (then, -1.0), (preserved, big)], LE, big)
                self._row([(then, 1.0), (now, -1.0), (preserved, big)], LE, big)

    def _keep_apart(
        self,
        t: int,
        one: tuple[int, int, list[tuple[Any, float]]],
        other: tuple[int, int, list[tuple[Any, float]]],
    ) -> None:
        """Add constraint (10): one segment lies below or above another where both are resident."""
        big = float(self.capacity)
        (a, size_a, terms_a), (b, size_b, terms_b) = one, other
        up, down = self._binary("u", a, b, t), self._binary("d", a, b, t)
        at_a, at_b = self.addresses[a][t], self.addresses[b][t]
        self._row([(at_a, 1.0), (at_b, -1.0), (up, big)], LE, big - size_a)
        self._row([(at_b, 1.0), (at_a, -1.0), (down, big)], LE, big - size_b)
        self._row([*terms_a, *terms_b, (up, -1.0), (down, -1.0)], LE, 1)
        self._at_most([up, down], [], 1)

    def _load(self, t: int) -> list[tuple[Any, float]]:
        """Terms of the resident units in step t."""
        return [(v, c * units) for units, terms in self.holders[t].values() for v, c in terms]

    def _add_load(self) -> None:
        """Demand that resident units and workspace fit in every step."""
        for t in range(self.count):
            self._row([*self._load(t), *self._scratch(t)], LE, self.capacity)

    # -- objectives --------------------------------------------------------------------------

    def _minimise_traffic(self) -> None:
        """Set objective (12)."""
        tensors = self.program.tensors
        self.cost_unit = gcd(*(t.size_bytes for t in tensors)) or 1
        terms: list[tuple[Any, float]] = []
        for tensor, variables in zip(tensors, self.variables, strict=True):
            units = tensor.size_bytes / self.cost_unit
            paid = [*variables.retrieved.values()]
            paid += [] if tensor.must_be_stored else [*variables.spilled.values()]
            terms += [(variable, units) for variable in paid]
        self.lp.setObjective(self.pulp.LpAffineExpression(terms))

    def _minimise_peak(self) -> None:
        """Set the objective `peak`: the largest sum of resident bytes, instead of (9) to (12)."""
        self.cost_unit = self.program.unit_bytes
        peak = self.lp.add_variable("peak", 0)
        for t in range(self.count):
            self._row([*self._load(t), (peak, -1.0)], LE, 0)
        self.lp.setObjective(self.pulp.LpAffineExpression([(peak, 1.0)]))
