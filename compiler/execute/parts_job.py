"""A walk over a plan whose operators run in parts.

Each part gets the elements that the plan's step reads, from their addresses, and rubbish everywhere
else: what it makes can only be right if it needs no more than that. What it writes must be the
elements of its ranges, made as often before as its copy says.

    part of a Conv: output rows [4, 8)
    input      rubbish | rows [3, 9) from memory | rubbish
    result     ....... | rows [4, 8) to memory   | .......

The kernel is that of the whole operator, on operands of their whole size; `partial_sums` runs one
range by range of its reduction.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.dtypes import BITS
from ullage.compiler.common.errors import ModelError, VerificationError
from ullage.compiler.execute.arena import Bytes
from ullage.compiler.execute.element_types import Array, as_bytes, numpy_dtype, typed
from ullage.compiler.execute.job import ExecutionJob
from ullage.compiler.execute.partial_sums import PartialSums
from ullage.compiler.ir.graph import Operator
from ullage.compiler.ir.reach import REDUCTION, whole_box
from ullage.compiler.lowering.aliases import Aliases, AliasOptions
from ullage.compiler.lowering.dataflow import Contents
from ullage.compiler.lowering.orders import planned_schedule
from ullage.compiler.lowering.parts import resolve
from ullage.compiler.lowering.symbolic_memory import DataRange


class PartsJob(ExecutionJob):
    """One inference or several by a plan whose operators run in parts."""

    def _storage(self, options: AliasOptions) -> tuple[Aliases, Contents]:
        graph, plan = self.imported.graph, self.plan
        self.lowered = resolve(graph, planned_schedule(graph, plan.model), options)
        for placed in (value for buffer in plan.problem.buffers for value in buffer.values):
            value = graph.values[placed.name]
            if placed.layout is None:
                continue
            if BITS[value.dtype] < 8:
                raise ModelError(
                    f"{value.name!r} is made in parts and holds {value.dtype}: plans in parts are "
                    "executed with elements of whole bytes; compile with --schedule whole",
                    {"tensor": value.name},
                )
        self.sums = PartialSums(self.kernels, self.imported.scope)
        for step in plan.problem.steps:
            if any(r.axis == REDUCTION for r in step.ranges):
                self.sums.stages(graph.operators[step.operator])
        self.rubbish = np.random.default_rng(plan.seed)
        self.made: dict[str, NDArray[np.uint8]] = {}
        content: Contents = {
            name: [(0, value.size_bytes, name, 0)] if value.size_bytes else []
            for name, value in graph.values.items()
        }
        return self.lowered.aliases, content

    def walk(
        self, inputs: Mapping[str, Array], weights: Mapping[str, Array], until: int
    ) -> dict[str, Array]:
        """As `ExecutionJob.walk`; how often elements are made is counted anew."""
        self.made.clear()
        return super().walk(inputs, weights, until)

    def _stored(self, name: str, array: Array) -> Bytes:
        order = self.orders.get(name)
        return as_bytes(array if order is None else array.reshape(-1)[order])

    def _operate(self, t: int, operator: Operator, sources: list[tuple[str, int, int]]) -> None:
        what = f"{operator.kind} {operator.name!r}"
        self._scribble(t, operator, what)
        feeds = {n: self._assembled(t, n, self._accesses(t, n), what) for n in operator.inputs}
        results = self._computed(t, operator, feeds, what)
        for name in operator.outputs:
            if name not in results:
                continue  # stands for a subgraph's intermediates, or is not summed up yet
            self.shapes.record(name, results[name], f"step {t}, {what}")
            accesses = self._accesses(t, name, write=True)
            self._check_made(t, name, accesses, what)
            data = self._stored(name, results[name])
            index, begin, _ = self.place[name]
            for _, low, high in accesses:
                padded = np.zeros(high - low, dtype=np.uint8)
                padded[: max(0, min(high, len(data)) - low)] = data[low:high]
                content: list[DataRange] = [(0, high - low, name, low)]
                written = self.arena.write(index, begin + low, t, what, padded, content)
                self._refuse_race(t, what, written, sources)
                self._tell(f"step {t}: {what} writes {name!r} to {written}")
        self._scribble(t, operator, what)

    def _computed(
        self, t: int, operator: Operator, feeds: Mapping[str, Array], what: str
    ) -> dict[str, Array]:
        """What the kernel makes; of a cut reduction nothing before the part that ends it."""
        step = self.plan.problem.steps[t]
        cut = {r.axis: (r.start, r.end) for r in step.ranges}
        summed = cut.pop(REDUCTION, None)
        if summed is None:
            return self.kernels.run(operator, feeds)
        shape = self.imported.graph.values[operator.outputs[0]].shape
        box = tuple(cut.get(axis, (0, size)) for axis, size in enumerate(shape))
        sums = self.sums.partial(operator, feeds, summed, box)
        places = {name for name, _, _ in self._accesses(t, operator.outputs[0], write=True)}
        accumulators = [use for use in step.uses if use.value not in self.place]
        for use in accumulators:
            if use.end_byte - use.start_byte != sums.nbytes:
                raise VerificationError(
                    f"step {t}, {what}: {use.value!r} takes {use.end_byte - use.start_byte} bytes, "
                    f"the sums of its part {sums.nbytes}",
                    {"step": t},
                )
        for use in (use for use in accumulators if not use.write):
            held = [(0, use.end_byte - use.start_byte, _sums(use.value, summed[0]), 0)]
            reading = f"{what} reading {use.value!r}"
            data = self.arena.read(use.buffer, use.start_byte, use.end_byte, t, reading, held)
            sums = np.add(sums, typed(data, sums.dtype, sums.shape))
        for use in (use for use in accumulators if use.write):
            left = [(0, use.end_byte - use.start_byte, _sums(use.value, summed[1]), 0)]
            self.arena.write(use.buffer, use.start_byte, t, what, as_bytes(sums), left)
        if not places:
            return {}
        rest = self._rubbish(self.sums.stages(operator).product.output[0])
        return self.sums.finish(operator, feeds, sums, box, rest)

    def _accesses(self, t: int, name: str, *, write: bool = False) -> list[tuple[str, int, int]]:
        """The (leaf, first byte, one past the last) of a value that a step reads or writes."""
        if write:
            leaves = [name]
        else:
            leaves = list(
                dict.fromkeys(n for n, _ in self.lowered.leaves.of(name, self._whole(name)))
            )
        found = []
        for leaf in leaves:
            index, begin, end = self.place.get(leaf, (-1, 0, 0))
            for use in self.plan.problem.steps[t].uses:
                low, high = max(begin, use.start_byte), min(end, use.end_byte)
                if use.write is write and use.buffer == index and low < high:
                    found.append((leaf, low - begin, high - begin))
        return found

    def _check_made(
        self, t: int, name: str, accesses: list[tuple[str, int, int]], what: str
    ) -> None:
        """Check that a part writes the elements of its ranges, made as often as its copy says.

        Raises:
            VerificationError: it does not.
        """
        step, value = self.plan.problem.steps[t], self.imported.graph.values[name]
        written = np.zeros(value.size_bytes, dtype=bool)
        for _, low, high in accesses:
            written[low:high] = True
        if step.ranges:
            meant = np.zeros(value.shape, dtype=bool)
            cut = {r.axis: slice(r.start, r.end) for r in step.ranges}
            meant[tuple(cut.get(axis, slice(None)) for axis in range(meant.ndim))] = True
            order = self.orders.get(name)
            flat = meant.reshape(-1) if order is None else meant.reshape(-1)[order]
            wide = np.repeat(flat, value.size_bytes // max(1, len(flat)))
            if len(wide) == len(written) and (wide != written).any():
                raise VerificationError(
                    f"step {t}, {what}: the bytes of {name!r} that it writes are not those of its "
                    "ranges",
                    {"step": t, "tensor": name},
                )
        made = self.made.setdefault(name, np.zeros(value.size_bytes, dtype=np.uint8))
        times = int(made[written].max(initial=0))
        if times != step.copy:
            raise VerificationError(
                f"step {t}, {what}: it makes elements of {name!r} that were made {times} times "
                f"before, as copy {step.copy}",
                {"step": t, "tensor": name},
            )
        made[written] += 1

    def _assembled(
        self, t: int, name: str, accesses: list[tuple[str, int, int]], what: str
    ) -> Array:
        """An operand: what its accesses read from memory, and rubbish in all other elements."""
        held: dict[str, Array] = {}
        for leaf, low, high in accesses:
            if leaf not in held:
                held[leaf] = self._rubbish(leaf)
            index, begin, _ = self.place[leaf]
            expected: list[DataRange] = [(0, high - low, leaf, low)]
            reading = f"{what} reading {name!r}"
            data = self.arena.read(index, begin + low, begin + high, t, reading, expected)
            held[leaf] = self._put(leaf, held[leaf], low, data)
        self._tell(f"step {t}: {what} reads {name!r}")
        return self._arranged(name, held)

    def _put(self, leaf: str, array: Array, low: int, data: Bytes) -> Array:
        """An array with the bytes of its leaf, from byte `low` on, at their elements."""
        order = self.orders.get(leaf)
        if order is None and len(data) == self.imported.graph.values[leaf].size_bytes:
            return self._typed(leaf, data)
        width = array.dtype.itemsize
        first, last = -(-low // width), (low + len(data)) // width  # elements that are there whole
        inside = data[first * width - low : last * width - low]
        last = min(last, array.size if order is None else len(order))
        inside = inside[: max(0, last - first) * width]
        places = np.arange(first, last) if order is None else order[first:last]
        array.reshape(-1)[places] = typed(inside, array.dtype, (len(places),))
        return array

    def _arranged(self, name: str, held: Mapping[str, Array]) -> Array:
        """A value from the leaves that it is made of, by the operators that only arrange."""
        maker = self.lowered.leaves.arranged_by.get(name)
        if maker is None:
            return held[name] if name in held else self._rubbish(name)
        feeds = {source: self._arranged(source, held) for source in maker.inputs}
        return self.kernels.run(maker, feeds)[name]

    def _rubbish(self, name: str) -> Array:
        """Random numbers; finite, for a kernel may read what it multiplies by 0.

        Those of wide integers are 0 or -1, which are indices into any axis.
        """
        tensor_type = self.imported.scope.types[name]
        dtype, shape = numpy_dtype(tensor_type.dtype), self.shapes.shape_of(name)
        if np.issubdtype(dtype, np.floating):
            return (1e3 * self.rubbish.standard_normal(shape)).astype(dtype)
        if dtype in (np.int32, np.int64):
            return self.rubbish.integers(-1, 1, shape).astype(dtype)
        if np.issubdtype(dtype, np.integer):
            span = np.iinfo(dtype.name)
            return self.rubbish.integers(span.min // 2, span.max // 2, shape).astype(dtype)
        return self.rubbish.integers(0, 2, shape).astype(dtype)

    def _results(self, t: int, operator: Operator) -> dict[str, Array]:
        what = f"{operator.kind} {operator.name!r} leaving"
        results: dict[str, Array] = {}
        for name in operator.outputs:
            if name in self.imported.scope.types:
                accesses = self._accesses(t, name, write=True)
                results[name] = self._assembled(t, name, accesses, what).copy()
        return results

    def _final(self, name: str) -> Array:
        held: dict[str, Array] = {}
        for leaf, box in self.lowered.leaves.of(name, self._whole(name)):
            array = held.setdefault(leaf, self._rubbish(leaf))
            laid_out = self.lowered.laid_out.get(leaf)
            if laid_out is None:
                index, begin, end = self.place[leaf]
                own, first, last = self.place[name]
                inside = own == index and begin <= first and last <= end
                low, high = (first - begin, last - begin) if inside else (0, end - begin)
                held[leaf] = self._put(leaf, array, low, self._final_bytes(leaf, low, high))
                continue
            for r in laid_out.ranges(box):
                array = self._put(leaf, array, r.start, self._final_bytes(leaf, r.start, r.end))
        return self._arranged(name, held)

    def _whole(self, name: str) -> tuple[tuple[int, int], ...]:
        return whole_box(self.imported.graph.values[name].shape)


def _sums(value: str, end: int) -> str:
    """The name of the data in accumulators that are summed up to an index of the reduction."""
    return f"{value} up to {end}"
