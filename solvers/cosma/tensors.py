"""COSMA's view of a problem: tensors that one operator creates and others need.

COSMA (arXiv 2311.18246) knows no views and no in-place results. Its tensors are here the segments
of the problem, which are buffers on targets that keep tensors whole. A buffer that results
overwrite in place is a chain of tensors, one for each state of its data; they lie at one address:

    operator     0          1              2          3
    segment      write      read, write    read       read
    tensor 0     |==========|
    tensor 1                |=========================|      replaces tensor 0
"""

from dataclasses import dataclass, field
from functools import cached_property
from math import gcd

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP
from ullage.compiler.ir.target import Target
from ullage.solvers.state.infeasibility import link_option, other_home
from ullage.solvers.state.segments import Segment, segments_of

# Producer of inputs and weights, which no operator creates.
GIVEN = -1


@dataclass(slots=True)
class CosmaTensor:
    """Data that one operator creates.

    Attributes:
        segment: index of its segment; -1 for the token of an operator without results (no bytes).
        size_bytes: bytes that a transfer moves.
        room_bytes: bytes that it takes in the fastest tier, aligned.
        producer: operator that creates it, `GIVEN` for inputs and weights: they begin off chip.
        replaces: tensor that it overwrites in place, -1 for none.
        readers: operators that need it resident.
        must_be_stored: an output of the model: it goes off chip in any case, which is free.
    """

    segment: int
    size_bytes: int
    room_bytes: int
    producer: int
    replaces: int = -1
    readers: list[int] = field(default_factory=list)
    must_be_stored: bool = False


@dataclass(frozen=True)
class CosmaProgram:
    """Operators and tensors: what the exact solvers decide about.

    Attributes:
        problem: the problem.
        segments: segments of the problem.
        steps: for each operator its step in the problem.
        tensors: all tensors.
        inputs: for each operator the tensors that it reads.
        outputs: for each operator the tensors that it creates, one or more.
    """

    problem: Problem
    segments: tuple[Segment, ...]
    steps: tuple[int, ...]
    tensors: tuple[CosmaTensor, ...]
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]

    @property
    def target(self) -> Target:
        """The chip."""
        return self.problem.target

    @cached_property
    def unit_bytes(self) -> int:
        """Common divisor of all room: addresses are multiples of it."""
        return gcd(*(t.room_bytes for t in self.tensors)) or 1

    def scratch_units(self, operator: int) -> int:
        """Units of the fastest tier that an operator's workspace takes from the others."""
        capacity = self.target.fastest.capacity_bytes
        scratch = self.problem.steps[self.steps[operator]].workspace_bytes
        return capacity // self.unit_bytes - (capacity - scratch) // self.unit_bytes

    def demand_bytes(self, operator: int) -> int:
        """Room that an operator's operands and results take; in-place results take none."""
        made = [a for a in self.outputs[operator] if self.tensors[a].replaces < 0]
        return sum(self.tensors[a].room_bytes for a in (*self.inputs[operator], *made))

    def uncounted_bytes(self) -> tuple[int, int]:
        """Differences between a plan's non-compulsory bytes and the ILP's objective.

        Returns:
            bytes that no plan of whole tensors avoids (first loads and last stores of tensors of
            which operators access a part only), and bytes of weights that are read in place more
            often than once.
        """
        return self._uncounted

    @cached_property
    def _uncounted(self) -> tuple[int, int]:
        from ullage.hwmodels.traffic import compulsory

        needed = compulsory(self.problem)
        modelled = {self.segments[t.segment].buffer for t in self.tensors if t.segment >= 0}
        whole = sum(t.size_bytes for t in self.tensors if t.producer == GIVEN)
        whole += sum(t.size_bytes for t in self.tensors if t.must_be_stored)
        forced = sum(float(needed.loads[b] + needed.stores[b]) for b in modelled)
        in_place = sum(
            access.read_bytes
            for segment in self.segments
            if segment.buffer not in modelled and not segment.must_be_fastest
            for access in segment.accesses
        )
        others = float(needed.loads.sum() + needed.stores.sum()) - forced
        return round(whole - forced), round(in_place - others)


def program_of(problem: Problem, *, weights: bool) -> CosmaProgram:
    """Tensors and operators of a problem.

    Args:
        problem: the problem, on a target whose operators reach activations in the fastest tier
            only.
        weights: weights are tensors too, needed in the fastest tier.

    Raises:
        UsageError: the target or the problem is not of COSMA's kind.
    """
    target = problem.target
    _check(problem)
    segments = segments_of(problem)
    steps = tuple(t for t, step in enumerate(problem.steps) if step.kind != DMA_STEP)
    number = {step: operator for operator, step in enumerate(steps)}
    tensors: list[CosmaTensor] = []
    for index, segment in enumerate(segments):
        if segment.size_bytes and segment.accesses and (weights or not segment.is_constant):
            tensors += _chain(index, segment, number, target, len(tensors))
    inputs: list[list[int]] = [[] for _ in steps]
    outputs: list[list[int]] = [[] for _ in steps]
    for index, tensor in enumerate(tensors):
        for reader in tensor.readers:
            inputs[reader].append(index)
        if tensor.producer != GIVEN:
            outputs[tensor.producer].append(index)
    for operator, created in enumerate(outputs):
        if not created:
            created.append(len(tensors))
            tensors.append(CosmaTensor(-1, 0, 0, operator))
    return CosmaProgram(
        problem,
        segments,
        steps,
        tuple(tensors),
        tuple(tuple(numbers) for numbers in inputs),
        tuple(tuple(numbers) for numbers in outputs),
    )


def _chain(
    index: int, segment: Segment, number: dict[int, int], target: Target, first: int
) -> list[CosmaTensor]:
    """The states of a segment's data, in the order in which they are written."""
    unit = target.fastest.alignment_bytes
    room = -(-segment.size_bytes // unit) * unit
    chain: list[CosmaTensor] = []
    if segment.is_given:
        chain.append(CosmaTensor(index, segment.size_bytes, room, GIVEN))
    for access in segment.accesses:
        operator = number[access.step]
        if access.reads:
            chain[-1].readers.append(operator)
        if access.writes:
            replaced = first + len(chain) - 1 if access.reads else -1
            chain.append(CosmaTensor(index, segment.size_bytes, room, operator, replaced))
    chain[-1].must_be_stored = segment.is_output and chain[-1].producer != GIVEN
    return chain


def _check(problem: Problem) -> None:
    """Refuse targets and problems that are not of COSMA's kind."""
    target = problem.target
    if target.operand_access != "fastest":
        raise UsageError(
            f"in COSMA's problem operators reach activations in the fastest tier only; "
            f"{target.name} lets them work in slower ones. Use --target cosma, --set "
            "operand_access=fastest, or cpsat in a fixed order without peak"
        )
    if problem.steady_state:
        raise UsageError("COSMA's problem is a single inference; leave out --steady-state")
    odd = [kind for kind, home in target.homes.items() if home == target.fastest.name]
    if odd:
        other = other_home(problem, target.fastest.name)
        raise UsageError(
            f"COSMA's problem needs a slower home tier for every kind of tensor; {target.name} "
            f"keeps {', '.join(odd)} in {target.fastest.name}"
            f"{f'. Choose another ({other})' if other else ''}"
        )
    links = ((t, target.fastest.name) for t in dict.fromkeys(target.homes.values()))
    for home, fast in links:
        if target.link(home, fast) is None or (
            target.link(fast, home) is None and not target.tier(home).read_only
        ):
            raise UsageError(
                f"COSMA's problem moves tensors between {home} and {fast}, and {target.name} has "
                f"no link between them; {link_option(problem, home)}"
            )
