"""COSMA's problem in CP-SAT: tensors kept between operators, in an order that is given or free.

Where the ILP has binaries for each tensor and step, this model has a literal for each pair of
neighbouring uses, and states capacity operator by operator. For a tensor a with uses (its producer,
its readers) and operators o:

    y(i,o)    operator i runs before operator o (`cpsat_pairs`; a constant where it is known)
    k(a,e,r)  a is kept in fast memory from use e to use r, the next one after it
    h(a,o)    a is in fast memory while o runs, which does not use it

    k(a,e,r) -> y(e,r); no other use runs between; k is 1 for one e and one r at most
    h(a,o) >= k(a,e,r) + y(e,o) + y(o,r) - 2
    h(a,o) >= 1 - s(a) + y(p,o) + y(o,r) - 2     p creates a, s(a): it is spilled, some k is 0
    operands and results of o + sum of size(a) h(a,o) <= capacity - workspace of o

Each use that a is not kept for costs its bytes, the first break s(a) as many again (an output is
stored anyway, an input or weight is off chip already and loaded once for nothing). With all k = 1
the least h(a,o) that the y allow is the least number of bytes alive while o runs, a minimum cut
(`scheduling.cut_bound`), which the linear relaxation sees, too.

Only what can bind is written: there are no rows of operators beside which everything that may be
alive fits, no literals of tensors in no row, and no literals of pairs of operators in no row.

Published (1) forbids S and R of a tensor in one step, so with addresses and without `moves` a
tensor is away for at least the step of another operator before it first comes back: z(a,e) says
that the break after use e is the first, and then what uses a later runs two positions later or
more.
"""

from collections.abc import Callable, Iterator, Sequence
from math import gcd
from typing import Any

from ullage.solvers.cosma.cpsat_breaks import Breaks, TensorVariables
from ullage.solvers.cosma.cpsat_pairs import Pairs
from ullage.solvers.cosma.precedence import Precedence, bits
from ullage.solvers.cosma.question import Form
from ullage.solvers.cosma.tensors import GIVEN, CosmaProgram


class CosmaChoice:
    """The model of one problem.

    Attributes:
        model: the CP-SAT model.
        pairs: the order.
        tensors: variables of the tensors that have any.
        breaks: writes what (1) of the ILP forbids.
        cost_unit: bytes (of traffic or of peak) per unit of the objective.
        needs_gap: without `moves` and with addresses: a tensor may not come back at once.
    """

    def __init__(
        self,
        program: CosmaProgram,
        form: Form,
        precedence: Precedence,
        *,
        slack_units: int = 0,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Write the model.

        Args:
            program: tensors and operators.
            form: the variant of the problem.
            precedence: orders that are allowed.
            slack_units: units of the memory to leave free.
            check: called now and then; may raise to stop.
        """
        from ortools.sat.python import cp_model

        self.model = cp_model.CpModel()
        self.program, self.form = program, form
        self.precedence = precedence
        self.check = check
        self.pairs = Pairs(self.model, precedence, check)
        self.tensors: dict[int, TensorVariables] = {}
        self.breaks = Breaks(self.model, self.pairs, len(program.steps))
        self.needs_gap = form.addresses and not form.moves and not form.peak
        self.capacity = program.target.fastest.capacity_bytes // program.unit_bytes - slack_units
        self.rooms = [t.room_bytes // program.unit_bytes for t in program.tensors]
        count = len(program.steps)
        self.demands = [program.demand_bytes(o) // program.unit_bytes for o in range(count)]
        self.near = [self._may_be_beside(a) for a in range(len(program.tensors))]
        self.peak: Any = None
        tight = self._tight()
        self._tight_mask = sum(1 << o for o in tight)
        if form.peak:
            self._minimise_peak(tight)
        else:
            for a in self._heavy():
                self._add_tensor(a)
            for o in tight:
                self._add_row(o)
            self._minimise_traffic()
        if form.addresses and not form.peak:  # any pair may decide whether two tensors meet
            for i in range(len(program.steps)):
                for j in range(i):
                    self.pairs.first(i, j)
        self.pairs.finish()

    # -- what is known beforehand ------------------------------------------------------------

    def uses(self, a: int) -> list[int]:
        """Operators that need tensor a resident, its producer first."""
        tensor = self.program.tensors[a]
        return [*([] if tensor.producer == GIVEN else [tensor.producer]), *tensor.readers]

    def _room(self, o: int) -> int:
        """Units of memory that an operator leaves beside its operands, results and workspace."""
        return self.capacity - self.program.scratch_units(o) - self.demands[o]

    def _may_be_beside(self, a: int) -> int:
        """Operators that may run between uses of a tensor, as bits."""
        uses = self.uses(a)
        readers = self.program.tensors[a].readers
        everything = (1 << len(self.program.steps)) - 1
        if len(uses) < 2 or not readers or not self.rooms[a]:
            return 0
        behind, ahead, using = 0, 0, 0
        for use in uses:
            using |= 1 << use
            behind |= everything & ~self.precedence.before[use]
        for reader in readers:
            ahead |= everything & ~self.precedence.after[reader]
        return behind & ahead & ~using

    def _tight(self) -> list[int]:
        """Operators that need a row: not everything that may be alive fits beside them."""
        count = len(self.program.steps)
        loads = [0] * count
        for a, mask in enumerate(self.near):
            for o in bits(mask):
                loads[o] += self.rooms[a]
        if self.form.peak:
            least = max(self.demands, default=0)
            return [o for o in range(count) if self.demands[o] + loads[o] > least]
        return [o for o in range(count) if loads[o] > self._room(o)]

    def _heavy(self) -> list[int]:
        """Tensors that may have to leave, for a row or for the sake of addresses."""
        if self.form.addresses:  # any may be in the way
            return [a for a, mask in enumerate(self.near) if mask or self._returns(a)]
        return [a for a, mask in enumerate(self.near) if mask & self._tight_mask]

    def _returns(self, a: int) -> bool:
        """Whether a tensor may move between two operators that follow each other."""
        return len(self.uses(a)) > 1 and self.rooms[a] > 0

    # -- tensors -----------------------------------------------------------------------------

    def _add_tensor(self, a: int) -> None:
        """Add the variables k, s and z of a tensor."""
        self.check()
        variables = self.tensors[a] = TensorVariables()
        tensor, uses = self.program.tensors[a], self.uses(a)
        for e, r in self.neighbours(a):
            variables.kept[e, r] = kept = self.model.new_bool_var("")
            follows = self.pairs.first(e, r)
            if follows is not True:
                self.model.add_implication(kept, follows)
            for other in uses:
                between = self.pairs.between(e, other, r) if other not in (e, r) else None
                if between is not None:
                    self.model.add_bool_or([x.negated() for x in (kept, *between)])
        for use in uses:
            for end in (0, 1):
                alike = [kept for pair, kept in variables.kept.items() if pair[end] == use]
                if len(alike) > 1:
                    self.model.add_at_most_one(alike)
        if tensor.producer == GIVEN:
            return
        variables.spilled = self.model.new_bool_var("")
        for r in tensor.readers:
            self.model.add_bool_or([variables.spilled, *variables.arrivals(r)])
        if self.needs_gap:
            self.breaks.add(variables, self.uses(a), self.program.tensors[a].readers)

    def neighbours(self, a: int) -> Iterator[tuple[int, int]]:
        """Pairs of a use of a tensor and a use that may be the next."""
        before = self.precedence.before
        uses = self.uses(a)
        using = sum(1 << use for use in uses)
        for e in uses:
            for r in self.program.tensors[a].readers:
                if e == r or before[e] >> r & 1:
                    continue
                if not self.precedence.after[e] & before[r] & using:
                    yield e, r

    # -- rows --------------------------------------------------------------------------------

    def _add_row(self, o: int) -> None:
        """Add the row of an operator: its operands, results and what is kept beside them fit."""
        self.check()
        terms: list[Any] = []
        for a, variables in self.tensors.items():
            if self.near[a] >> o & 1:
                terms += [self.rooms[a] * x for x in self._beside(a, variables, o)]
        self.model.add(sum(terms) <= self._room(o))

    def _beside(self, a: int, variables: TensorVariables, o: int) -> list[Any]:
        """Literals of which one is true where tensor a is resident while o runs."""
        cases: list[tuple[list[Any], Any]] = []
        for (e, r), kept in variables.kept.items():
            sides = self.pairs.between(e, o, r)
            if sides is not None:
                cases.append((sides, kept))
        if all(not sides for sides, _ in cases):
            return [kept for _, kept in cases]
        variables.beside[o] = beside = self.model.new_bool_var("")
        for sides, kept in cases:
            self.model.add_bool_or([beside, kept.negated(), *(s.negated() for s in sides)])
        tensor = self.program.tensors[a]
        if variables.spilled is not None and len(tensor.readers) > 1:
            for r in tensor.readers:
                sides = self.pairs.between(tensor.producer, o, r)
                if sides is not None:
                    missing = [side.negated() for side in sides]
                    self.model.add_bool_or([beside, variables.spilled, *missing])
        return [beside]

    # -- objectives --------------------------------------------------------------------------

    def _minimise_traffic(self) -> None:
        """Minimise the bytes of breaks."""
        tensors = self.program.tensors
        self.cost_unit = gcd(*(t.size_bytes for t in tensors)) or 1
        terms: list[Any] = []
        constant = 0
        for a, variables in self.tensors.items():
            units = tensors[a].size_bytes // self.cost_unit
            free = 1 if variables.spilled is None else 0
            constant += units * (len(tensors[a].readers) - free)
            terms += [-units * kept for kept in variables.kept.values()]
            if variables.spilled is not None and not tensors[a].must_be_stored:
                terms.append(units * variables.spilled)
        self.model.minimize(sum(terms) + constant)

    def _minimise_peak(self, tight: Sequence[int]) -> None:
        """Minimise the largest sum of bytes of tensors between their first and their last use."""
        self.cost_unit = self.program.unit_bytes
        least = max(self.demands, default=0)
        self.peak = self.model.new_int_var(least, sum(self.rooms), "")
        for o in tight:
            self.check()
            terms: list[Any] = []
            for a, mask in enumerate(self.near):
                if mask >> o & 1:
                    terms.append(self.rooms[a] * self._alive(a, o))
            self.model.add(sum(terms) + self.demands[o] <= self.peak)
        self.model.minimize(self.peak)

    def _alive(self, a: int, o: int) -> Any:  # noqa: ANN401 - a literal or 1
        """Whether o runs between the first and the last use of a tensor."""
        tensor = self.program.tensors[a]
        firsts = tensor.readers if tensor.producer == GIVEN else [tensor.producer]
        clauses: list[list[Any]] = []
        for e in firsts:
            for r in tensor.readers:
                sides = self.pairs.between(e, o, r) if e != r else None
                if sides is not None:
                    clauses.append([side.negated() for side in sides])
        if any(not clause for clause in clauses):
            return 1
        variables = self.tensors.setdefault(a, TensorVariables())
        variables.beside[o] = alive = self.model.new_bool_var("")
        for clause in clauses:
            self.model.add_bool_or([alive, *clause])
        return alive
