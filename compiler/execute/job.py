"""Walks over a plan: operands are read from their addresses, results written to theirs.

step t     residencies end, start, become ready
           DMA copies what moves in this step
           the operator reads its operands, runs, writes its results
"""

import math
from collections.abc import Callable, Mapping

import numpy as np

from ullage.compiler.common.dtypes import storage_bytes
from ullage.compiler.common.errors import VerificationError
from ullage.compiler.execute.arena import Arena
from ullage.compiler.execute.element_types import Array, Bytes, as_bytes, numpy_dtype, typed
from ullage.compiler.execute.kernels import Kernels
from ullage.compiler.execute.timetable import timetable
from ullage.compiler.execute.true_shapes import TrueShapes
from ullage.compiler.importer.build import Imported
from ullage.compiler.ir.graph import Operator
from ullage.compiler.ir.plan import Plan, Transfer
from ullage.compiler.ir.program import DMA_STEP
from ullage.compiler.lowering.aliases import (
    Aliases,
    AliasOptions,
    alias_options,
    find_aliases,
)
from ullage.compiler.lowering.dataflow import Contents, absorbed_inputs, contents_of, written_ranges
from ullage.compiler.lowering.orders import planned_order
from ullage.compiler.lowering.symbolic_memory import cut


class ExecutionJob:
    """One inference or several by a plan, one after the other in the same memory.

    Attributes:
        arena: the memories.
        table: the plan by step.
        trace: one line per transfer, read and write, where a trace is wanted.
        inferences: number of inferences begun so far.
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
        self.aliases, self.content = self._storage(options)
        types = imported.scope.types
        self.shapes = TrueShapes(graph, types, kernels, self.aliases.elided)
        self.arena = Arena(plan)
        self.table = timetable(plan)
        self.trace: list[str] = []
        self.inferences = self.passed = self.steps = self.bytes_moved = 0

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
        steps = plan.problem.steps
        weights_remain = plan.problem.steady_state and self.inferences > 0
        self.inferences += 1
        self.shapes.begin_again()
        opening = table.opening
        if self.inferences > 1:
            self.arena.begin_again(table.loop_carried if weights_remain else ())
        if not weights_remain:
            opening = {**opening, 0: [*table.loop_carried, *opening.get(0, ())]}
        whole = [t for t in range(until) if steps[t].kind != DMA_STEP and not steps[t].ranges]
        shown = whole[-1] if whole and until < len(steps) else None
        results: dict[str, Array] = {}
        for t in range(until):
            self.arena.begin_step(
                t, table.closing.get(t, ()), opening.get(t, ()), table.arriving.get(t, ())
            )
            if t == 0:
                self._load(inputs)
                if not weights_remain:
                    self._load(weights)
                    self._prologue()
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

    def _prologue(self) -> None:
        """Copy weights from home to the loop-carried residencies, before the first inference."""
        for r in self.table.loop_carried:
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

    def _stored(self, name: str, array: Array) -> Bytes:
        """The bytes of a value as they lie in its buffer."""
        del name
        return as_bytes(array)

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
            data = _filled(as_bytes(results[name]), graph.values[name].size_bytes)
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
        return typed(data[:size], numpy_dtype(dtype), shape)

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
