r"""The integer program of Checkmate (Jain et al. 2020), and POET's (Patil et al. 2022, section 4).

A graph of n operators in an order has n stages; in stage t the operator t runs for the first time,
and any earlier ones again, in the order. Variables, all 0 or 1:

    runs[t, k]      operator k runs in stage t; runs[t, t] = 1
    in_ram[t, v]    value v is in fast memory when stage t begins
    stored[t, v]    v is in slow memory when stage t begins
    page_in[t, v]   v is read from there during stage t, page_out[t, v] stored there
    freed[t, v, k]  v is dropped in stage t right behind operator k, which makes or reads it

Rows (Checkmate's numbers (1b) to (1e) and (5) to (8); POET adds paging):

    runs[t, k]          <=  runs[t, maker of v] + in_ram[t, v]              for what k reads
    in_ram[t + 1, v]    <=  runs[t, maker of v] + in_ram[t, v] + page_in[t, v]
    stored[t + 1, v]    <=  stored[t, v] + page_out[t, v]
    page_in[t, v]       <=  stored[t, v];   page_out[t, v]  <=  in_ram[t, v]
    memory behind each k of stage t: what is in memory at its beginning or is paged in, plus results
    made so far, less what was freed before  <=  capacity less the workspace of k

The cost is the sum of the times of all that runs and of all that is paged (POET has joules in their
place). Without paging it is Checkmate's. As published, operators read from fast memory alone, whole
tensors are paged, nothing is overwritten, and given data (weights, inputs) takes no room.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.errors import TimeLimitError
from ullage.compiler.ir.schedule import Part, Schedule
from ullage.solvers.budget import Budget
from ullage.solvers.lp.mixed import solve_mixed
from ullage.solvers.lp.program import INFINITY, FrozenProgram, LinearProgram
from ullage.solvers.scheduling.recompute.copies import RecomputeFacts
from ullage.solvers.scheduling.recompute.surrogate import RecomputeSurrogate

# Nodes of the search tree, at most: time ends it first.
MOST_NODES = 1 << 30
# Seconds where there is no limit.
DEFAULT_BUDGET_S = 300.0
# Names of the schedules.
CHECKMATE, POET = "checkmate", "poet"
# Variables from which on the program is not written: HiGHS would need minutes to read it.
MOST_VARIABLES = 400_000


@dataclass(frozen=True)
class StageGraph:
    """What the programs know of a graph in its order: n operators that run, and their results.

    Attributes:
        operators: (n,) indices of the operators.
        seconds: (n,) time of each.
        scratch_bytes: (n,) workspace.
        again: (n,) whether it may run again.
        reads: (n,) results that it reads, by index.
        writes: (n,) results that it writes.
        maker: by result the place of its operator.
        size_bytes: by result.
        capacity_bytes: of fast memory.
        read_s: seconds of reading a byte from slow memory.
        write_s: seconds of writing one.
    """

    operators: tuple[int, ...]
    seconds: tuple[float, ...]
    scratch_bytes: tuple[float, ...]
    again: tuple[bool, ...]
    reads: tuple[tuple[int, ...], ...]
    writes: tuple[tuple[int, ...], ...]
    maker: tuple[int, ...]
    size_bytes: tuple[float, ...]
    capacity_bytes: float
    read_s: float
    write_s: float


@dataclass(frozen=True)
class StagePlan:
    """A solution.

    Attributes:
        schedule: the operators as they run.
        cost_s: seconds of all that runs and is paged, each after the other.
        bound_s: no solution costs less, in the solver's arithmetic.
    """

    schedule: Schedule
    cost_s: float
    bound_s: float


def stage_graph(facts: RecomputeFacts, surrogate: RecomputeSurrogate) -> StageGraph:
    """The graph as the programs see it.

    Args:
        facts: the graph in its order.
        surrogate: its times and sizes on the target.
    """
    operators = tuple(i for i in facts.order if facts.writes[i])
    place_of = {operator: place for place, operator in enumerate(operators)}
    return StageGraph(
        operators=operators,
        seconds=tuple(float(surrogate.compute_s[i]) for i in operators),
        scratch_bytes=tuple(float(surrogate.scratch_bytes[i]) for i in operators),
        again=tuple(facts.again[i] for i in operators),
        reads=tuple(facts.reads[i] for i in operators),
        writes=tuple(facts.writes[i] for i in operators),
        maker=tuple(place_of[result.producer] for result in facts.results),
        size_bytes=tuple(float(result.size_bytes) for result in facts.results),
        capacity_bytes=float(surrogate.capacity_bytes),
        read_s=surrogate.read_s,
        write_s=surrogate.write_s,
    )


def solve_stages(
    facts: RecomputeFacts, surrogate: RecomputeSurrogate, budget: Budget, *, with_paging: bool
) -> StagePlan | None:
    """The schedule of POET's program, or of Checkmate's.

    Args:
        facts: the graph in its order.
        surrogate: its times and sizes on the target.
        budget: the time.
        with_paging: values may be stored and fetched again (POET).

    Returns:
        None where the program has no solution, or none was found in time.

    Raises:
        TimeLimitError: the program is too large to be written.
    """
    graph = stage_graph(facts, surrogate)
    found = solve_graph(graph, budget, with_paging=with_paging)
    if found is None:
        return None
    runs, cost_s, bound_s = found
    name = POET if with_paging else CHECKMATE
    return StagePlan(_schedule(name, facts, graph, runs), cost_s, bound_s)


def program_size(graph: StageGraph, *, with_paging: bool) -> int:
    """Variables of a program.

    Args:
        graph: the graph.
        with_paging: values may be stored and fetched again.

    Raises:
        TimeLimitError: the program is too large to be written.
    """
    return _StageProgram(graph, with_paging=with_paging).lp.variables


def solve_graph(
    graph: StageGraph, budget: Budget, *, with_paging: bool
) -> tuple[NDArray[np.bool_], float, float] | None:
    """(n, n) which operators (column) run in which stage (row), its cost, and what is proven of it.

    Args:
        graph: the graph.
        budget: the time.
        with_paging: values may be stored and fetched again.
    """
    model = _StageProgram(graph, with_paging=with_paging)
    limited = budget.at_most(DEFAULT_BUDGET_S)
    budget.progress(f"{POET if with_paging else CHECKMATE}: {model.lp.variables} variables")
    integer = np.ones(model.lp.variables, dtype=bool)
    solution = solve_mixed(
        model.frozen(), integer, time_limit_s=limited.remaining_s(), nodes=MOST_NODES
    )
    if solution is None:
        return None
    runs = np.zeros((len(graph.operators),) * 2, dtype=bool)
    for (stage, place), variable in model.runs.items():
        runs[stage, place] = solution.values[variable] > 0.5
    return runs, solution.objective * model.unit_s, solution.bound * model.unit_s


def _schedule(
    name: str, facts: RecomputeFacts, graph: StageGraph, runs: NDArray[np.bool_]
) -> Schedule:
    """The schedule of a solution; what only arranges bytes stands where it does in the order."""
    place_of = {operator: place for place, operator in enumerate(graph.operators)}
    copies: dict[int, int] = {}
    parts: list[Part] = []
    for operator in facts.order:
        stage = place_of.get(operator)
        running = [operator]
        if stage is not None:
            running = [graph.operators[place] for place in np.flatnonzero(runs[stage])]
        for one in running:
            copies[one] = copies.get(one, -1) + 1
            parts.append(Part(one, (), copies[one]))
    return Schedule(name, tuple(parts))


class _StageProgram:
    """The program under construction."""

    def __init__(self, graph: StageGraph, *, with_paging: bool) -> None:
        self.graph = graph
        self.paging = with_paging
        self.stages = len(graph.operators)
        self.unit_s = sum(graph.seconds) or 1.0
        self.unit_bytes = max(1.0, graph.capacity_bytes)
        self.lp = LinearProgram()
        self.runs: dict[tuple[int, int], int] = {}
        self.in_ram: dict[tuple[int, int], int] = {}
        self.stored: dict[tuple[int, int], int] = {}
        self.page_in: dict[tuple[int, int], int] = {}
        self.page_out: dict[tuple[int, int], int] = {}
        self.users = self._users()
        self._check_size()
        for stage in range(self.stages):
            self._add_variables(stage)
        for stage in range(self.stages):
            self._add_rows(stage)
            self._add_memory(stage)

    def frozen(self) -> FrozenProgram:
        """The program as arrays."""
        return self.lp.frozen()

    def _users(self) -> list[list[int]]:
        """By result the places of its maker and its readers, ascending."""
        users: list[list[int]] = [[maker] for maker in self.graph.maker]
        for place, read in enumerate(self.graph.reads):
            for value in read:
                users[value].append(place)
        return users

    def _check_size(self) -> None:
        values = len(self.graph.maker)
        kinds = (4 if self.paging else 1) * values + self.stages + sum(map(len, self.users))
        if kinds * self.stages / 2 > MOST_VARIABLES:
            raise TimeLimitError(
                f"{POET if self.paging else CHECKMATE}: {self.stages} operators make a program of "
                f"about {kinds * self.stages // 2} variables; it is meant for small graphs"
            )

    def _variable(self, cost_s: float = 0.0) -> int:
        variable = self.lp.add_variable(0.0, 1.0)
        if cost_s:
            self.lp.add_cost(variable, float(cost_s / self.unit_s))
        return variable

    def _add_variables(self, stage: int) -> None:
        graph = self.graph
        for place in range(stage + 1):
            if place == stage:
                variable = self.lp.add_variable(1.0, 1.0)
                self.lp.add_cost(variable, float(graph.seconds[place] / self.unit_s))
            elif graph.again[place]:
                variable = self._variable(graph.seconds[place])
            else:
                continue
            self.runs[stage, place] = variable
        for value, maker in enumerate(graph.maker):
            if maker >= stage:  # it exists when a later stage begins
                continue
            self.in_ram[stage, value] = self._variable()
            if self.paging:
                size = graph.size_bytes[value]
                self.stored[stage, value] = self._variable()
                self.page_in[stage, value] = self._variable(size * graph.read_s)
                self.page_out[stage, value] = self._variable(size * graph.write_s)

    def _at_most(self, variable: int, sources: list[int]) -> None:
        """A variable is 1 only where one of others is."""
        self.lp.add_row(0.0, INFINITY, {**dict.fromkeys(sources, 1.0), variable: -1.0})

    def _known(self, tables: list[dict[tuple[int, int], int]], stage: int, at: int) -> list[int]:
        return [table[stage, at] for table in tables if (stage, at) in table]

    def _add_rows(self, stage: int) -> None:
        graph = self.graph
        for place in range(stage + 1):
            if (stage, place) not in self.runs:
                continue
            for value in graph.reads[place]:
                sources = self._known([self.runs], stage, graph.maker[value])
                sources += self._known([self.in_ram], stage, value)
                self._at_most(self.runs[stage, place], sources)
        for value, maker in enumerate(graph.maker):
            sources = self._known([self.runs], stage, maker)
            sources += self._known([self.in_ram, self.page_in], stage, value)
            if (stage + 1, value) in self.in_ram:
                self._at_most(self.in_ram[stage + 1, value], sources)
            if not self.paging:
                continue
            kept = self._known([self.stored, self.page_out], stage, value)
            if (stage + 1, value) in self.stored:
                self._at_most(self.stored[stage + 1, value], kept)
            if (stage, value) in self.in_ram:
                self._at_most(self.page_in[stage, value], [self.stored[stage, value]])
                self._at_most(self.page_out[stage, value], [self.in_ram[stage, value]])

    def _add_memory(self, stage: int) -> None:
        """What is in memory while each operator of a stage runs, by a running sum."""
        graph = self.graph
        unit = self.unit_bytes
        load: dict[int, float] = {}
        for value in range(len(graph.maker)):
            for variable in self._known([self.in_ram, self.page_in], stage, value):
                load[variable] = graph.size_bytes[value] / unit
        for place in range(stage + 1):
            running = self.runs.get((stage, place), -1)
            if running < 0:
                continue
            for value in graph.writes[place]:
                load[running] = load.get(running, 0.0) + graph.size_bytes[value] / unit
            row = dict(load)
            row[running] = row.get(running, 0.0) + graph.scratch_bytes[place] / unit
            self.lp.add_row(-INFINITY, graph.capacity_bytes / unit, row)
            for value in dict.fromkeys((*graph.reads[place], *graph.writes[place])):
                freed = self._add_freed(stage, place, running, value)
                load[freed] = -graph.size_bytes[value] / unit

    def _add_freed(self, stage: int, place: int, running: int, value: int) -> int:
        """Whether a value is dropped behind an operator that runs and makes or reads it."""
        freed = self._variable()
        self._at_most(freed, [running])
        later = [user for user in self.users[value] if place < user <= stage]
        others = [self.runs[stage, user] for user in later if (stage, user) in self.runs]
        others += self._known([self.in_ram], stage + 1, value)
        for other in others:
            self.lp.add_row(-INFINITY, 1.0, {freed: 1.0, other: 1.0})
        return freed
