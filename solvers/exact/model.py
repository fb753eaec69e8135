"""The CP-SAT model of whole segments in a fixed order (integers where `fluid` has fractions).

For a segment of size s with accesses p0 < p1 < ...:

    x_j  the segment is in the fastest tier at access j
    k_j  it is kept there from access j - 1 to access j
    c_t  bytes of a fill that have arrived by the end of step t
    p_t  the fill has begun (c_t > 0), so its space is taken
    z_t  bytes of a version of the data that are at home by the end of step t, by a spill
    l_t  the segment lingers in the fastest tier after its last access, for the spill

    step         5 ........ p1 .............. p2 ...........
    held by      |== p_t ===|x_1|==== k_2 ====|x_2|= l_t =|
    moves        | fill c_t |                     spill z_t

Where a segment is neither kept nor written anew, a fill brings it. A fill may begin long before
access j, over reads from the home tier, but not before the last write or an older residency's end.
Of each version of the data that leaves the fastest tier before its last reader, or is an output,
all bytes are spilled while it is there. At each step at most one of these holds the segment, and
the sizes of all segments together are within the capacity.

Every legal plan whose residencies cover whole segments is no better than some solution: fills that
nobody uses, second spills of a version, and residencies over a rewrite only cost. Where the
objective does not depend on when bytes move, a fill takes the step before its access, a spill the
one after the write: no other step needs less space.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ullage.compiler.ir.problem import Problem
from ullage.solvers.exact.rows import LatencyCost, LinearCost
from ullage.solvers.exact.variables import Amount, Fill, SegmentVariables, SpillChoice, readers_of
from ullage.solvers.state.required import resident_residency
from ullage.solvers.state.segments import Segment

if TYPE_CHECKING:
    from ortools.sat.python import cp_model


class ResidencyModel:
    """A problem as a CP-SAT model.

    Attributes:
        model: the model.
        cost: the objective.
        segments: the segments.
        variables: segment -> its variables, for those that have a choice.
        complete: every fill and spill may take any step that the rules allow it, so that the
            optimum bounds all plans of whole segments.
    """

    def __init__(
        self,
        problem: Problem,
        segments: Sequence[Segment],
        cost: LatencyCost | LinearCost,
        window: int,
    ) -> None:
        target = problem.target
        from ortools.sat.python import cp_model

        self.model = cp_model.CpModel()
        self.problem = problem
        self.target, self.segments, self.cost = target, segments, cost
        self.steps = len(problem.steps)
        self.window = window
        self.complete = True
        self.load: list[list[tuple[int, Any]]] = [[] for _ in range(self.steps)]
        self.room_bytes = [
            target.fastest.capacity_bytes - step.workspace_bytes for step in problem.steps
        ]
        self.variables: dict[int, SegmentVariables] = {}
        for index, segment in enumerate(segments):
            if segment.home == target.fastest.name:
                self._add_resident(index, segment)
            elif segment.size_bytes and segment.accesses:
                self._add_segment(index, segment)
        self.limit_load(0)
        cost.finish(self.model)

    def limit_load(self, slack_bytes: int) -> None:
        """Demand that the segments in the fastest tier fit at each step, with some bytes to spare.

        Addresses are aligned, so sizes rounded up to the alignment fit into the room rounded up.
        """
        unit = self.target.fastest.alignment_bytes
        for t, holders in enumerate(self.load):
            room = self.room_bytes[t] - slack_bytes
            rounded = [(-(-size // unit), variable) for size, variable in holders]
            if sum(units for units, _ in rounded) > room // unit:
                total = sum(units * variable for units, variable in rounded)
                self.model.add(total <= -(-room // unit))
                if room % unit:
                    self.model.add(sum(size * variable for size, variable in holders) <= room)

    def _boolean(self) -> "cp_model.IntVar":
        return self.model.new_bool_var("")

    def _add_resident(self, index: int, segment: Segment) -> None:
        """Add a segment whose home is the fastest tier: it has no choice."""
        residency = resident_residency(self.problem, index, segment)
        if residency is not None and segment.size_bytes:
            for t in range(residency.start, residency.end):
                self.load[t].append((segment.size_bytes, 1))
        for access in segment.accesses:
            self.cost.access(
                self.target.fastest, access.step, access.read_bytes, access.written_bytes
            )

    def _add_segment(self, index: int, segment: Segment) -> None:
        """Add the variables of a segment that has a choice."""
        variables = self.variables[index] = SegmentVariables()
        self._slots: dict[int, list[Any]] = {}  # step -> what may hold the segment at hand
        self._add_accesses(segment, variables)
        for j, access in enumerate(segment.accesses):
            if access.reads:
                self._add_fill(segment, variables, j)
        for j, access in enumerate(segment.accesses):
            if access.writes:
                self._add_spill(segment, variables, j)
        for t, holders in self._slots.items():
            if len(holders) > 1:
                self.model.add_at_most_one(holders)
            self.load[t] += [(segment.size_bytes, holder) for holder in holders]

    def _hold(self, step: int, variable: object) -> None:
        """Note that a variable holds the segment at hand in a step."""
        self._slots.setdefault(step, []).append(variable)

    def _add_accesses(self, segment: Segment, variables: SegmentVariables) -> None:
        """Add x and k of all accesses, and the cost of the accesses themselves."""
        fastest, home = self.target.fastest, self.target.tier(segment.home)
        for j, access in enumerate(segment.accesses):
            x = self._boolean()
            variables.inside.append(x)
            self._hold(access.step, x)
            read, written = access.read_bytes, access.written_bytes
            if segment.must_be_fastest or (access.writes and home.read_only):
                self.model.add(x == 1)
                variables.musts.add(j)
                self.cost.access(fastest, access.step, read, written)
            else:
                self.cost.access(home, access.step, read, written)
                self.cost.access(home, access.step, -read, -written, x)
                self.cost.access(fastest, access.step, read, written, x)
            if j and access.reads:
                variables.kept[j] = kept = self._boolean()
                self.model.add_implication(kept, variables.inside[j - 1])
                self.model.add_implication(kept, x)
                for t in range(segment.accesses[j - 1].step + 1, access.step):
                    self._hold(t, kept)

    # -- fills -------------------------------------------------------------------------------

    def _add_fill(self, segment: Segment, variables: SegmentVariables, j: int) -> None:
        """Demand x_j = k_j or a fill, which takes space from its first move on."""
        x, kept = variables.inside[j], variables.kept.get(j, 0)
        way = (segment.home, self.target.fastest.name)
        steps = self._fill_steps(segment, variables, j)
        if self.target.link(*way) is None or not steps or (j == 0 and not segment.is_given):
            self.model.add(x == kept)
            return
        fill = variables.fills[j] = Fill(self._boolean())
        self.model.add(fill.wanted + kept == x)
        last = steps[-1]
        if isinstance(self.cost, LinearCost):
            self.cost.transfer(way, fill.wanted, segment.size_bytes)
            fill.arrived[last] = Amount(fill.wanted, segment.size_bytes)
            fill.taken[last] = fill.wanted
            self._hold(last, fill.wanted)
        else:
            self._add_arrivals(self.cost, segment, fill, way, steps)
        for earlier in range(j):  # the operator would read what is there: it must read at home
            step = segment.accesses[earlier].step
            if step in fill.taken:
                self.model.add(fill.taken[step] + variables.inside[earlier] <= 1)
        before = segment.accesses[j - 1].step - 1 if j else -1
        if before in fill.arrived:  # and the fill must end after it
            self.model.add(fill.arrived[before].bytes <= segment.size_bytes - 1)

    def _add_arrivals(
        self,
        cost: LatencyCost,
        segment: Segment,
        fill: Fill,
        way: tuple[str, str],
        steps: Sequence[int],
    ) -> None:
        """Add c and p of a fill: how many bytes arrive in which steps."""
        size = segment.size_bytes
        earlier: Amount | None = None
        for t in steps:
            if t == steps[-1]:
                now, taken = Amount(fill.wanted, size), fill.wanted
            else:
                now, taken = Amount(self.model.new_int_var(0, size, "")), self._boolean()
                self.model.add(now.variable <= size * taken)
                self.model.add(now.variable >= taken)
                self.model.add_implication(taken, fill.wanted)
            if earlier is not None:
                self.model.add(now.bytes >= earlier.bytes)
                self.model.add_implication(fill.taken[t - 1], taken)
                cost.move(way, t, earlier.variable, -earlier.factor)
                cost.set_up(way, t, fill.taken[t - 1], -1)
            cost.move(way, t, now.variable, now.factor)
            cost.set_up(way, t, taken, 1)
            self._hold(t, taken)
            fill.arrived[t], fill.taken[t] = now, taken
            earlier = now

    def _fill_steps(self, segment: Segment, variables: SegmentVariables, j: int) -> range:
        """Steps in which the fill of access j may move."""
        low = 0
        for earlier, access in enumerate(segment.accesses[:j]):
            if access.writes or earlier in variables.musts:
                low = access.step + 1
        end = segment.accesses[j].step
        if isinstance(self.cost, LinearCost):
            return range(max(low, end - 1), end)
        self.complete &= end - self.window <= low
        return range(max(low, end - self.window), end)

    # -- spills ------------------------------------------------------------------------------

    def _add_spill(self, segment: Segment, variables: SegmentVariables, w: int) -> None:
        """Add the spill of the data written at access w: whether, and when, it goes home."""
        x = variables.inside[w]
        readers = readers_of(segment, w)
        rewritten = any(access.writes for access in segment.accesses[w + 1 :])
        to_the_end = segment.is_output and not rewritten
        if not readers and not to_the_end:
            return
        end = self.steps if to_the_end else segment.accesses[readers[-1]].step
        way = (self.target.fastest.name, segment.home)
        if self.target.link(*way) is None or segment.accesses[w].step + 1 >= end:
            if to_the_end:
                self.model.add(x == 0)
            for r in readers:
                self.model.add_implication(x, variables.kept[r])
            return
        spill = variables.spills[w] = SpillChoice(self._boolean())
        self.model.add_implication(spill.wanted, x)
        if to_the_end:
            self.model.add_implication(x, spill.wanted)
        holders = self._holders(segment, variables, w, readers, end)
        if isinstance(self.cost, LinearCost):
            self.cost.transfer(way, spill.wanted, segment.size_bytes)
            first = min(holders)
            spill.stored[first] = Amount(spill.wanted, segment.size_bytes)
            self.model.add(spill.wanted <= holders[first])
        else:
            self._add_stores(self.cost, segment, spill, way, x, holders)
        for r in readers:  # it is home before the first reader that does not find it here
            self.model.add(spill.wanted + variables.kept[r] >= x)
            done = [t for t in spill.stored if t < segment.accesses[r].step]
            stored = spill.stored[done[-1]].bytes if done else 0
            self.model.add(stored + segment.size_bytes * (variables.kept[r] - x) >= 0)

    def _holders(
        self,
        segment: Segment,
        variables: SegmentVariables,
        w: int,
        readers: Sequence[int],
        end: int,
    ) -> dict[int, Any]:
        """Steps in which version w may be spilled; for each the literals that hold it then."""
        holders: dict[int, Any] = {}
        for j in (w, *readers):
            begin = segment.accesses[j].step
            if j != w and begin < end:
                holders[begin] = variables.inside[j]
            limit = min([end, *(access.step for access in segment.accesses[j + 1 : j + 2])])
            if isinstance(self.cost, LinearCost):
                limit = min(limit, begin + 2) if j == w else begin
            elif limit - begin - 1 > self.window:
                limit, self.complete = begin + 1 + self.window, False
            kept = variables.kept.get(j + 1, 0) if j + 1 in readers else 0
            before = variables.inside[j]
            for t in range(begin + 1, limit):
                linger = variables.lingers.setdefault(j, {})[t] = self._boolean()
                self.model.add_implication(linger, before)
                self._hold(t, linger)
                before = linger
                holders[t] = linger + kept
        return dict(sorted(holders.items()))

    def _add_stores(
        self,
        cost: LatencyCost,
        segment: Segment,
        spill: SpillChoice,
        way: tuple[str, str],
        x: Any,  # noqa: ANN401 - a variable
        holders: dict[int, Any],
    ) -> None:
        """Add z of a spill: how many bytes are stored in which steps."""
        size = segment.size_bytes
        sets_up = bool(getattr(self.target.link(*way), "setup_s", 0.0))
        earlier: Amount | None = None
        started: Any = None
        for t, holder in holders.items():
            last = t == max(holders)
            now = (
                Amount(spill.wanted, size) if last else Amount(self.model.new_int_var(0, size, ""))
            )
            home = 0 if earlier is None else earlier.bytes
            self.model.add(now.bytes >= home)
            self.model.add(now.bytes - home <= size * holder)
            # What was written here is at home already, or still here (or the bound is weak).
            self.model.add(home + size * holder >= size * x)
            cost.move(way, t, now.variable, now.factor)
            if earlier is not None:
                cost.move(way, t, earlier.variable, -earlier.factor)
            if sets_up:
                spill.started[t] = begun = self._boolean()
                self.model.add(now.bytes <= size * begun)
                self.model.add(now.bytes >= begun)
                cost.set_up(way, t, begun, 1)
                if started is not None:
                    self.model.add_implication(started, begun)
                    cost.set_up(way, t, started, -1)
                started = begun
            spill.stored[t] = earlier = now
