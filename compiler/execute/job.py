"""Walks over a plan: operands are read from their addresses, results written to theirs.

step t     residencies end, start, become ready
           DMA copies what moves in this step
           the operator reads its operands, runs, writes its results
"""

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.dtypes import storage_bytes
from ullage.compiler.common.errors import VerificationError
from ullage.compiler.execute.arena import Arena
from ullage.compiler.execute.element_types import Array, Bytes, as_bytes, numpy_dtype, typed
from ullage.compiler.execute.kernels import Kernels
from ullage.compiler.execute.timetable import timetable
from ullage.compiler.execute.true_shapes import TrueShapes
from ullage.compiler.importer.build import Imported
from ullage.compiler.ir.graph import Operator
from ullage.compiler.ir.plan import Plan, Residency, Transfer
from ullage.compiler.ir.program import DMA_STEP
from ullage.compiler.lowering.aliases import (
    Aliases,
    AliasOptions,
    alias_options,
    find_aliases,
)
from ullage.compiler.lowering.dataflow import Contents, absorbed_inputs, contents_of, written_ranges
from ullage.compiler.lowering.layouts import LaidOut
from ullage.compiler.lowering.orders import planned_order
from ullage.compiler.lowering.symbolic_memory import cut


class ExecutionJob:
    """One inference or several by a plan, one after the other in the same memory.

    Where a cache grows, each inference has a job of its own, which goes on in the memory of the one
    before: the plan is the same, carried out at another length.

    Attributes:
        arena: the memories.
        table: the plan by step.
        trace: one line per transfer, read and write, where a trace is wanted.
        inferences: number of inferences begun so far.
        before: the job of the inference before; itself where the lengths stay.
        passed: steps passed so far, DMA-only ones too; `progress` is called with it.
        steps: operators run so far.
        bytes_moved: bytes copied by transfers so far.
    """

    def __init__(
        self,
        imported: Imported,
        kernels: Kernels,
        plan: Plan,
        *,
        trace: bool,
        progress: Callable[[int], None],
        before: "ExecutionJob | None" = None,
        arena: Arena | None = None,
    ) -> None:
        self.imported, self.kernels, self.plan = imported, kernels, plan
        self.tracing, self.progress = trace, progress
        graph = imported.graph
        self.place = {
            placed.name: (index, placed.start_byte, placed.end_byte)
            for index, buffer in enumerate(plan.problem.buffers)
            for placed in buffer.values
        }
        model = plan.model
        options = alias_options(plan.target, alias=bool(model.get("alias", True)))
        self.orders: dict[str, NDArray[np.int64]] = {
            placed.name: LaidOut(graph.values[placed.name], placed.layout).element_order()
            for buffer in plan.problem.buffers
            for placed in buffer.values
            if placed.layout is not None
        }
        self.aliases, self.content = self._storage(options)
        types = imported.scope.types
        self.shapes = TrueShapes(graph, types, kernels, self.aliases.elided)
        self.arena = arena or Arena(plan)
        self.arena.plan = plan
        self.before = self if before is None else before
        self.table = timetable(plan)
        self.states = {state.input: state for state in graph.states}
        self.trace: list[str] = []
        self.inferences = self.passed = self.steps = self.bytes_moved = 0
        if before is not None:
            self.trace, self.inferences, self.passed = (
                before.trace,
                before.inferences,
                before.passed,
            )
            self.steps, self.bytes_moved = before.steps, before.bytes_moved

    def _storage(self, options: AliasOptions) -> tuple[Aliases, Contents]:
        """Which values share bytes, and which data each value holds."""
        graph = self.imported.graph
        order = planned_order(graph, self.plan.model)
        aliases = find_aliases(graph, order, options)
        return aliases, contents_of(graph, order, aliases)

    def walk(
        self, inputs: Mapping[str, Array], weights: Mapping[str, Array], until: int
    ) -> dict[str, Array]:
        """Run steps 0..until-1 as one more inference, in the memory that the one before left.

        In steady state weights are loaded before the first inference only: into their home tier,
        and from there to the residencies that are loop-carried.

        Returns:
            The outputs, or, where `until` is not the end, the results of the last operator that
            ran whole: of one in parts not all need be made, or still be there.
        """
        plan, table = self.plan, self.table
        steps, buffers = plan.problem.steps, plan.problem.buffers
        weights_remain = plan.problem.steady_state and self.inferences > 0
        self.inferences += 1
        self.shapes.begin_again()
        remain: list[Residency] = []
        anew: list[Residency] = []
        for r in table.loop_carried:
            is_state = self.inferences > 1 and not buffers[r.buffer].constant
            (remain if is_state or weights_remain else anew).append(r)
        if self.inferences > 1:
            known = [buffer.size_bytes for buffer in self.before.plan.problem.buffers]
            self.arena.begin_again(remain, dict(enumerate(known)))
            self._hand_over(remain)
        opening = {**table.opening, 0: [*anew, *table.opening.get(0, ())]}
        whole = [t for t in range(until) if steps[t].kind != DMA_STEP and not steps[t].ranges]
        shown = whole[-1] if whole and until < len(steps) else None
        results: dict[str, Array] = {}
        for t in range(until):
            self.arena.begin_step(
                t, table.closing.get(t, ()), opening.get(t, ()), table.arriving.get(t, ())
            )
            if t == 0:
                states = self.states if self.inferences > 1 else {}
                self._load({name: a for name, a in inputs.items() if name not in states})
                if not weights_remain:
                    self._load(weights)
                self._prologue(anew)
            sources = self._move(t, table.moving.get(t, ()))
            if steps[t].kind != DMA_STEP:
                operator = self.imported.graph.operators[steps[t].operator]
                self._operate(t, operator, sources)
                self.steps += 1
                if t == shown:
                    results = self._results(t, operator)
            self.passed += 1
            self.progress(self.passed)
        return self._finals() if until == len(steps) else results

    def _hand_over(self, remaining: Iterable[Residency]) -> None:
        """Between two inferences: what an output left in a state's bytes is the next one's input.

        Raises:
            VerificationError: a residency that the next inference begins with holds other data.
        """
        places = {self.place[name][0]: pair for name, pair in self.states.items()}
        for r in remaining:
            pair = places.get(r.buffer)
            if pair is None:
                continue
            _, old, old_end = self.place[pair.input]
            _, new, _ = self.before.place[pair.output]
            low, high = max(old, r.start_byte), min(old_end, r.end_byte)
            address = r.offset + low - r.start_byte
            if low >= high:
                continue
            held = self.arena.owners[r.tier].read(address, address + high - low)
            if held != cut(self.before.content[pair.output], low - new, high - new):
                raise VerificationError(
                    f"{r.tier} at address {address} does not hold {pair.output!r} at the end of an "
                    f"inference, as {pair.input!r} of the next one",
                    {"tensor": pair.output, "tier": r.tier},
                )
            begins = cut(self.content[pair.input], low - old, high - old)
            self.arena.owners[r.tier].replace(address, address + high - low, begins)
        home = {b: self.plan.target.home(self.plan.problem.buffers[b].kind).name for b in places}
        for buffer, pair in places.items():
            self._leave_rows(pair.input, buffer, self.place[pair.input][2], home[buffer])

    def _prologue(self, loop_carried: Iterable[Residency]) -> None:
        """Copy weights from home to the loop-carried residencies, before the first inference."""
        for r in loop_carried:
            home = self.plan.target.home(self.plan.problem.buffers[r.buffer].kind).name
            if r.tier == home:
                continue
            what = f"prologue to {r.tier} of {self.plan.problem.buffers[r.buffer].name!r}"
            extents = self.arena.extents(r.buffer, r.start_byte, r.end_byte, 0, what, tier=home)
            for held, low, high in extents:
                source = (home, held.offset + low - held.start_byte)
                destination = (r.tier, r.offset + low - r.start_byte)
                self.arena.copy(source, destination, high - low, 0, what)
            self._tell(f"step 0: {what} bytes [{r.start_byte}, {r.end_byte})")

    def _tell(self, text: str) -> None:
        if self.tracing:
            several = f"inference {self.inferences}, " if self.inferences > 1 else ""
            self.trace.append(several + text)

    def _load(self, arrays: Mapping[str, Array]) -> None:
        """Put inputs or weights into their home tier before the first step."""
        problem, target = self.plan.problem, self.plan.target
        for name, array in arrays.items():
            if name not in self.place:
                continue
            index, begin, end = self.place[name]
            if begin == end:
                continue
            home = target.home(problem.buffers[index].kind).name
            data = self._stored(name, array)
            what = f"loading {name!r}"
            for r, low, high in self.arena.extents(index, begin, end, 0, what, tier=home):
                address = r.offset + low - r.start_byte
                size = high - low
                self.arena.memory[home][address : address + size] = data[low - begin : high - begin]
                self.arena.owners[home].replace(
                    address, address + size, cut(self.content[name], low - begin, high - begin)
                )
            if name in self.states:
                self._leave_rows(name, index, end, home)

    def _leave_rows(self, name: str, index: int, begin: int, home: str) -> None:
        """Say that the rows of a state that are still to come hold what nobody may read."""
        end, what = self.plan.problem.buffers[index].size_bytes, f"rows to come of {name!r}"
        if begin < end:
            for r, low, high in self.arena.extents(index, begin, end, 0, what, tier=home):
                address = r.offset + low - r.start_byte
                size = high - low
                self.arena.owners[home].replace(address, address + size, [(0, size, what, 0)])

    def _stored(self, name: str, array: Array) -> Bytes:
        """The bytes of a value as they lie in its buffer."""
        order = self.orders.get(name)
        return as_bytes(array if order is None else array.reshape(-1)[order])

    def _move(
        self, t: int, moves: "list[tuple[Transfer, int, int]] | tuple[()]"
    ) -> list[tuple[str, int, int]]:
        """Copy what DMA moves in this step.

        Returns:
            The (tier, low, high) addresses that it reads.
        """
        sources: list[tuple[str, int, int]] = []
        for transfer, begin, size in moves:
            name = self.plan.problem.buffers[transfer.buffer].name
            end = begin + size
            what = f"DMA of {name!r} over {transfer.link}"
            ends = transfer.source, transfer.destination
            links = self.plan.target.links
            if not any((k.name, k.source, k.destination) == (transfer.link, *ends) for k in links):
                raise VerificationError(f"step {t}, {what}: the target has no such link")
            arena = self.arena
            out = arena.extents(transfer.buffer, begin, end, t, what, tier=transfer.source)
            into = arena.extents(
                transfer.buffer, begin, end, t, what, tier=transfer.destination, ready=False
            )
            for r, low, high in out:
                address = r.offset + low - r.start_byte
                sources.append((r.tier, address, address + high - low))
                for d, a, b in into:
                    x, y = max(low, a), min(high, b)
                    if x < y:
                        arena.copy(
                            (r.tier, r.offset + x - r.start_byte),
                            (d.tier, d.offset + x - d.start_byte),
                            y - x,
                            t,
                            what,
                        )
            self.bytes_moved += size
            self._tell(f"step {t}: {what} bytes [{begin}, {end})")
        return sources

    def _operate(self, t: int, operator: Operator, sources: list[tuple[str, int, int]]) -> None:
        """Read operands from memory, run the kernel, write results into memory."""
        graph = self.imported.graph
        absorbed = absorbed_inputs(operator, self.aliases)
        what = f"{operator.kind} {operator.name!r}"
        self._scribble(t, operator, what)
        feeds: dict[str, Array] = {}
        for name in operator.inputs:
            tensor_type = self.imported.scope.types[name]
            if name in absorbed:  # lies in the result already; the kernel's copy is not stored
                feeds[name] = np.zeros(tensor_type.shape, dtype=numpy_dtype(tensor_type.dtype))
                continue
            feeds[name] = self._operand(t, name, what)
        results = self.kernels.run(operator, feeds)
        for name in operator.outputs:
            if name not in results:
                continue  # stands for a subgraph's intermediates
            index, begin, _ = self.place[name]
            self.shapes.record(name, results[name], f"step {t}, {what}")
            data = _filled(self._stored(name, results[name]), graph.values[name].size_bytes)
            for low, high in written_ranges(graph, operator, name, absorbed):
                content = cut(self.content[name], low, high)
                written = self.arena.write(index, begin + low, t, what, data[low:high], content)
                self._refuse_race(t, what, written, sources)
                self._tell(f"step {t}: {what} writes {name!r} to {written}")
        self._scribble(t, operator, what)

    def _scribble(self, t: int, operator: Operator, what: str) -> None:
        """Overwrite the space of a subgraph's intermediates, as the operator may do at any time."""
        for name in operator.outputs:
            index, begin, end = self.place[name]
            if name not in self.imported.scope.types and begin < end:
                self.arena.scribble(index, begin, end, t, f"{what} computing inside")

    def _results(self, t: int, operator: Operator) -> dict[str, Array]:
        """Outputs of an operator as they are in memory, with parts that were there before it."""
        results: dict[str, Array] = {}
        for name in operator.outputs:
            tensor_type = self.imported.scope.types.get(name)
            if tensor_type is None:
                continue  # stands for a subgraph's intermediates
            index, begin, end = self.place[name]
            data = np.zeros(0, dtype=np.uint8)
            if begin < end:
                what = f"{operator.kind} {operator.name!r} leaving {name!r}"
                data = self.arena.read(index, begin, end, t, what, self.content[name])
            results[name] = self._typed(name, data.copy())
        return results

    def _operand(self, t: int, name: str, what: str) -> Array:
        tensor_type = self.imported.scope.types[name]
        index, begin, end = self.place.get(name, (0, 0, 0))
        if begin == end:
            return np.zeros(self.shapes.shape_of(name), dtype=numpy_dtype(tensor_type.dtype))
        data = self.arena.read(index, begin, end, t, f"{what} reading {name!r}", self.content[name])
        self._tell(f"step {t}: {what} reads {name!r}")
        return self._typed(name, data)

    def _typed(self, name: str, data: Bytes) -> Array:
        """The bytes of a tensor as an array; of one that is planned by a bound, its first bytes."""
        dtype, shape = self.imported.scope.types[name].dtype, self.shapes.shape_of(name)
        size = storage_bytes(dtype, math.prod(shape))
        order = self.orders.get(name)
        if order is None:
            return typed(data[:size], numpy_dtype(dtype), shape)
        laid_out = typed(data[:size], numpy_dtype(dtype), (len(order),))
        array = np.empty_like(laid_out)
        array[order] = laid_out
        return array.reshape(shape)

    @staticmethod
    def _refuse_race(
        t: int, what: str, written: list[tuple[str, int, int]], sources: list[tuple[str, int, int]]
    ) -> None:
        """Check that an operator writes no bytes that DMA reads in the same step.

        Raises:
            VerificationError: it does.
        """
        for tier, low, high in written:
            for source, begin, end in sources:
                if tier == source and low < end and begin < high:
                    raise VerificationError(
                        f"step {t}, {what}: writes {tier} [{low}, {high}) while DMA reads it"
                    )

    def _finals(self) -> dict[str, Array]:
        """All outputs of the graph after the last step."""
        return {n: self._final(n) for n in self.imported.graph.outputs if n in self.place}

    def _final(self, name: str) -> Array:
        """An output after the last step, from its home tier."""
        return self._typed(name, self._final_bytes(name))

    def _final_bytes(self, name: str, low: int = 0, high: int | None = None) -> Bytes:
        """Some bytes of a value after the last step, from its buffer's home tier."""
        index, first, last_byte = self.place[name]
        begin, end = first + low, last_byte if high is None else first + high
        problem, target = self.plan.problem, self.plan.target
        home = target.home(problem.buffers[index].kind).name
        last = len(problem.steps)
        data = np.empty(end - begin, dtype=np.uint8)
        what = f"output {name!r}"
        if begin == end:
            return data
        for r, start, stop in self.arena.extents(index, begin, end, last, what, tier=home):
            address = r.offset + start - r.start_byte
            expected = cut(self.content[name], start - first, stop - first)
            if self.arena.owners[home].read(address, address + stop - start) != expected:
                raise VerificationError(
                    f"{what}: {home} at address {address} does not hold it at the end"
                )
            data[start - begin : stop - begin] = self.arena.memory[home][
                address : address + stop - start
            ]
        return data


def _filled(data: Bytes, size_bytes: int) -> Bytes:
    """Data followed by zeros up to the bytes that are planned for it."""
    if len(data) == size_bytes:
        return data
    filled = np.zeros(size_bytes, dtype=np.uint8)
    filled[: len(data)] = data
    return filled
