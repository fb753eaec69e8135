"""A walk over a plan whose operators run in parts.

Each part gets the elements that its reach names, read from their addresses, and rubbish everywhere
else: what it makes can only be right if it needs no more than that.

    part of a Conv: output rows [4, 8)
    input      rubbish | rows [3, 9) from memory | rubbish
    result     ....... | rows [4, 8) to memory   | .......

The kernel is that of the whole operator, on operands of their whole size.
"""

from collections.abc import Mapping

import numpy as np

from ullage.compiler.common.dtypes import BITS
from ullage.compiler.common.errors import ModelError
from ullage.compiler.execute.arena import Bytes
from ullage.compiler.execute.element_types import Array, as_bytes, numpy_dtype, typed
from ullage.compiler.execute.job import ExecutionJob
from ullage.compiler.ir.graph import Operator
from ullage.compiler.ir.program import DMA_STEP
from ullage.compiler.ir.reach import REDUCTION, whole_box
from ullage.compiler.lowering.aliases import Aliases, AliasOptions
from ullage.compiler.lowering.dataflow import Contents
from ullage.compiler.lowering.orders import planned_schedule
from ullage.compiler.lowering.parts import Access, resolve
from ullage.compiler.lowering.symbolic_memory import DataRange


class PartsJob(ExecutionJob):
    """One inference or several by a plan whose operators run in parts."""

    def _storage(self, options: AliasOptions) -> tuple[Aliases, Contents]:
        graph, plan = self.imported.graph, self.plan
        schedule = planned_schedule(graph, plan.model)
        self.lowered = resolve(graph, schedule, options)
        runs = [part for part, a in zip(schedule.parts, self.lowered.accesses, strict=True) if a]
        accesses = [a for a in self.lowered.accesses if a]
        steps = [t for t, step in enumerate(plan.problem.steps) if step.kind != DMA_STEP]
        self.parts = dict(zip(steps, accesses, strict=True))
        self.orders = {name: laid.element_order() for name, laid in self.lowered.laid_out.items()}
        for name in self.orders:
            if BITS[graph.values[name].dtype] < 8:
                raise ModelError(
                    f"{name!r} is made in parts and holds {graph.values[name].dtype}: plans in "
                    "parts are executed with elements of whole bytes",
                    {"tensor": name},
                )
        for part in runs:
            if REDUCTION in part.intervals:
                name = graph.operators[part.operator].name
                raise ModelError(
                    f"{name!r} sums in several parts, which is not executed: their accumulators "
                    "have no kernel; cut its output instead",
                    {"operator": name},
                )
        self.rubbish = np.random.default_rng(plan.seed)
        content: Contents = {
            name: [(0, value.size_bytes, name, 0)] if value.size_bytes else []
            for name, value in graph.values.items()
        }
        return self.lowered.aliases, content

    def _stored(self, name: str, array: Array) -> Bytes:
        order = self.orders.get(name)
        return as_bytes(array if order is None else array.reshape(-1)[order])

    def _operate(self, t: int, operator: Operator, sources: list[tuple[str, int, int]]) -> None:
        accesses = self.parts[t]
        what = f"{operator.kind} {operator.name!r}"
        self._scribble(t, operator, what)
        by_value: dict[str, list[Access]] = {}
        for access in accesses.reads:
            by_value.setdefault(access.value, []).append(access)
        feeds = {n: self._assembled(t, n, by_value.get(n, []), what) for n in operator.inputs}
        results = self.kernels.run(operator, feeds)
        for name in operator.outputs:
            if name in results:
                self.shapes.record(name, results[name], f"step {t}, {what}")
        for access in accesses.writes:
            if access.value not in results:
                continue  # stands for a subgraph's intermediates
            index, begin, _ = self.place[access.leaf]
            data = self._stored(access.leaf, results[access.value])
            low, high = access.range.start, access.range.end
            padded = np.zeros(high - low, dtype=np.uint8)
            padded[: max(0, min(high, len(data)) - low)] = data[low:high]
            content: list[DataRange] = [(0, high - low, access.leaf, low)]
            written = self.arena.write(index, begin + low, t, what, padded, content)
            self._refuse_race(t, what, written, sources)
            self._tell(f"step {t}: {what} writes {access.value!r} to {written}")
        self._scribble(t, operator, what)

    def _assembled(self, t: int, name: str, accesses: list[Access], what: str) -> Array:
        """An operand: what its accesses read from memory, and rubbish in all other elements."""
        held: dict[str, Array] = {}
        for access in accesses:
            if access.leaf not in held:
                held[access.leaf] = self._rubbish(access.leaf)
            index, begin, _ = self.place[access.leaf]
            low, high = access.range.start, access.range.end
            expected: list[DataRange] = [(0, high - low, access.leaf, low)]
            reading = f"{what} reading {name!r}"
            data = self.arena.read(index, begin + low, begin + high, t, reading, expected)
            held[access.leaf] = self._put(access.leaf, held[access.leaf], low, data)
        self._tell(f"step {t}: {what} reads {name!r}")
        return self._arranged(name, held)

    def _put(self, leaf: str, array: Array, low: int, data: Bytes) -> Array:
        """An array with the bytes of its leaf, from byte `low` on, at their elements."""
        order = self.orders.get(leaf)
        if order is None:  # all of it
            return self._typed(leaf, data)
        width = array.dtype.itemsize
        places = order[low // width : (low + len(data)) // width]
        array.reshape(-1)[places] = typed(data, array.dtype, (len(places),))
        return array

    def _arranged(self, name: str, held: Mapping[str, Array]) -> Array:
        """A value from the leaves that it is made of, by the operators that only arrange."""
        maker = self.lowered.leaves.arranged_by.get(name)
        if maker is None:
            return held[name] if name in held else self._rubbish(name)
        feeds = {source: self._arranged(source, held) for source in maker.inputs}
        return self.kernels.run(maker, feeds)[name]

    def _rubbish(self, name: str) -> Array:
        """Random numbers; finite, for a kernel may read what it multiplies by 0."""
        tensor_type = self.imported.scope.types[name]
        dtype, shape = numpy_dtype(tensor_type.dtype), self.shapes.shape_of(name)
        if np.issubdtype(dtype, np.floating):
            return (1e3 * self.rubbish.standard_normal(shape)).astype(dtype)
        if np.issubdtype(dtype, np.integer):
            span = np.iinfo(dtype.name)
            return self.rubbish.integers(span.min // 2, span.max // 2, shape).astype(dtype)
        return self.rubbish.integers(0, 2, shape).astype(dtype)

    def _results(self, t: int, operator: Operator) -> dict[str, Array]:
        accesses = self.parts[t]
        what = f"{operator.kind} {operator.name!r} leaving"
        results: dict[str, Array] = {}
        for name in operator.outputs:
            if name in self.imported.scope.types:
                written = [a for a in accesses.writes if a.value == name]
                results[name] = self._assembled(t, name, written, what)
        return results

    def _final(self, name: str) -> Array:
        leaves = {leaf for leaf, _ in self.lowered.leaves.of(name, self._whole(name))}
        held: dict[str, Array] = {}
        for leaf in leaves:
            held[leaf] = self._put(leaf, self._rubbish(leaf), 0, self._final_bytes(leaf))
        return self._arranged(name, held)

    def _whole(self, name: str) -> tuple[tuple[int, int], ...]:
        return whole_box(self.imported.graph.values[name].shape)
