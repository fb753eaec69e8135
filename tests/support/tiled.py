"""Small graphs whose operators can be cut, random schedules of them, and what must be true.

The graphs are of four-dimensional int8 values [1, channels, rows, columns]; an element is a byte.
"""

from itertools import pairwise, product
from math import prod
from random import Random

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.ir.graph import Gemm, Graph, Kind, Operator, Sharing, Value
from ullage.compiler.ir.program import DMA_STEP, Program, Use
from ullage.compiler.ir.reach import REDUCTION, AxisMap, Box, InputReach, Interval, Reach
from ullage.compiler.ir.schedule import Part, Schedule, part_of

Shape = tuple[int, ...]
Indices = NDArray[np.int64]
BY_ELEMENT = ("none", "elements", "elements", "elements")


def all_axes(name: str, rank: int = 4) -> InputReach:
    """An operand read element by element."""
    return InputReach(name, tuple(AxisMap(axis) for axis in range(rank)))


class TiledGraph:
    """A graph in the making."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.values: dict[str, Value] = {}
        self.operators: list[Operator] = []

    def value(self, name: str, shape: Shape, kind: Kind = "activation") -> str:
        """Add a value."""
        self.values[name] = Value(name, kind, "int8", shape, prod(shape))
        return name

    def conv(self, source: str, channels: int, kernel: int = 3, stride: int = 1) -> str:
        """A convolution with padding kernel // 2; the reduction may be cut as well."""
        n, c, h, w = self.values[source].shape
        pad, at = kernel // 2, len(self.operators)
        out = (n, channels, (h - 1) // stride + 1, (w - 1) // stride + 1)
        weight = self.value(f"w{at}", (channels, c, kernel, kernel), "weight")
        result = self.value(f"v{at}", out)
        window = {"multiplier": stride, "first": -pad, "last": kernel - 1 - pad}
        reads = (
            InputReach(
                source,
                (AxisMap(0), AxisMap(REDUCTION), AxisMap(2, **window), AxisMap(3, **window)),
            ),
            InputReach(weight, (AxisMap(1), AxisMap(REDUCTION), None, None)),
        )
        gemm = Gemm(m=out[2] * out[3], k=c * kernel * kernel, n=channels)
        self.operators.append(
            Operator(
                f"conv{at}",
                "Conv",
                (source, weight),
                (result,),
                macs=gemm.m * gemm.k * gemm.n,
                mac_dtype="int8",
                gemms=(gemm,),
                reach=Reach(("none", "n", "m", "m"), reads, reduction=c),
            )
        )
        return result

    def add(self, one: str, other: str) -> str:
        """An element-wise sum, which may overwrite either operand."""
        at, shape = len(self.operators), self.values[one].shape
        result = self.value(f"v{at}", shape)
        names = tuple(dict.fromkeys((one, other)))
        self.operators.append(
            Operator(
                f"add{at}",
                "Add",
                names,
                (result,),
                vector_elements=prod(shape),
                sharings=tuple(Sharing("in_place", result, name) for name in names),
                reach=Reach(BY_ELEMENT, tuple(all_axes(name) for name in names)),
            )
        )
        return result

    def concat(self, one: str, other: str) -> str:
        """Two values along their channels, which may be made where the result will lie."""
        at = len(self.operators)
        first, second = self.values[one].shape, self.values[other].shape
        result = self.value(f"v{at}", (first[0], first[1] + second[1], *first[2:]))
        behind = AxisMap(1, first=-first[1], last=-first[1])
        self.operators.append(
            Operator(
                f"concat{at}",
                "Concat",
                (one, other),
                (result,),
                vector_elements=self.values[result].size_bytes,
                sharings=(
                    Sharing("concat", result, one, 0),
                    Sharing("concat", result, other, prod(first)),
                ),
                reach=Reach(
                    BY_ELEMENT,
                    (
                        all_axes(one),
                        InputReach(other, (AxisMap(0), behind, AxisMap(2), AxisMap(3))),
                    ),
                ),
            )
        )
        return result

    def flat(self, source: str) -> str:
        """A view with rows and columns in one axis."""
        at = len(self.operators)
        n, c, h, w = self.values[source].shape
        result = self.value(f"v{at}", (n, c, h * w, 1))
        rows = AxisMap(2, divisor=w)
        self.operators.append(
            Operator(
                f"view{at}",
                "Reshape",
                (source,),
                (result,),
                sharings=(Sharing("view", result, source),),
                reach=Reach(
                    BY_ELEMENT, (InputReach(source, (AxisMap(0), AxisMap(1), rows, None)),)
                ),
            )
        )
        return result

    def finish(self) -> Graph:
        """The graph; what nothing reads is an output."""
        read = {name for operator in self.operators for name in operator.inputs}
        outputs = tuple(o.outputs[0] for o in self.operators if o.outputs[0] not in read)
        values = {
            name: Value(name, "output", "int8", v.shape, v.size_bytes) if name in outputs else v
            for name, v in self.values.items()
        }
        inputs = tuple(name for name, value in values.items() if value.kind == "input")
        return Graph("tiled", values, tuple(self.operators), inputs, outputs)


def random_tiled_graph(rng: Random, operators: int = 7) -> Graph:
    """A graph of convolutions, sums, concatenations and views."""
    graph = TiledGraph(rng)
    made = [graph.value("x", (1, rng.choice((2, 4)), rng.randint(4, 9), 4), "input")]
    for _ in range(operators):
        source = rng.choice(made[-3:])
        alike = [n for n in made if graph.values[n].shape == graph.values[source].shape]
        shape = graph.values[source].shape
        aligned = [n for n in made if graph.values[n].shape[2:] == shape[2:] and n != source]
        kind = rng.choice(("conv", "conv", "add", "concat", "view"))
        if kind == "add" and len(alike) > 1:
            made.append(graph.add(source, rng.choice(alike)))
        elif kind == "concat" and aligned:
            made.append(graph.concat(source, rng.choice(aligned)))
        elif kind == "view" and shape[3] > 1:
            made.append(graph.flat(source))
        else:
            made.append(
                graph.conv(source, rng.choice((2, 4)), rng.choice((1, 3)), rng.choice((1, 1, 2)))
            )
    return graph.finish()


def random_schedule(rng: Random, graph: Graph) -> Schedule:
    """A schedule with random parts in a random order in which everything is there when needed."""
    cuts = {i: _random_parts(rng, graph, o) for i, o in enumerate(graph.operators)}
    made: dict[str, NDArray[np.bool_]] = {}
    for name, value in graph.values.items():
        made[name] = np.full(value.shape, value.kind in ("input", "weight"))
    shapes = {name: value.shape for name, value in graph.values.items()}
    parts: list[Part] = []
    reduced: dict[tuple[int, tuple[tuple[int, Interval], ...]], int] = {}
    while any(cuts.values()):
        ready: list[tuple[int, Part]] = []
        for index, waiting in cuts.items():
            operator = graph.operators[index]
            reach = operator.reach
            assert reach is not None
            for part in waiting:
                boxes = reach.boxes(part.intervals, shapes)
                if all(made[n][slices(b)].all() for n, found in boxes.items() for b in found):
                    key, start, _ = _reduction(index, part)
                    if reduced.get(key, 0) == start:
                        ready.append((index, part))
        index, part = rng.choice(ready)
        cuts[index].remove(part)
        parts.append(part)
        key, _, end = _reduction(index, part)
        if end:
            reduced[key] = end
        reach = graph.operators[index].reach
        assert reach is not None
        if not end or end == reach.reduction:
            for name in graph.operators[index].outputs:
                made[name][slices(output_box(part, shapes[name]))] = True
    return Schedule("random", tuple(parts))


def _reduction(
    index: int, part: Part
) -> tuple[tuple[int, tuple[tuple[int, Interval], ...]], int, int]:
    cut = part.intervals
    start, end = cut.pop(REDUCTION, (0, 0))
    return (index, tuple(sorted(cut.items()))), start, end


def _random_parts(rng: Random, graph: Graph, operator: Operator) -> list[Part]:
    index = graph.operators.index(operator)
    reach = operator.reach
    assert reach is not None
    if rng.random() < 0.25:
        return [Part(index)]
    shape = graph.values[operator.outputs[0]].shape
    axes = [a for a, work in enumerate(reach.axes) if work != "none" and shape[a] > 1]
    chosen = rng.sample(axes, min(len(axes), rng.choice((1, 1, 2))))
    sizes = {axis: shape[axis] for axis in chosen}
    if reach.reduction > 1 and rng.random() < 0.3:
        sizes[REDUCTION] = reach.reduction
    spans = {axis: _random_spans(rng, size) for axis, size in sizes.items()}
    boxes = product(*spans.values())
    return [part_of(index, dict(zip(spans, box, strict=True))) for box in boxes]


def _random_spans(rng: Random, size: int) -> list[Interval]:
    ends = sorted({0, size, *(rng.randrange(size + 1) for _ in range(rng.randint(0, 2)))})
    return list(pairwise(ends))


def slices(box: Box) -> tuple[slice, ...]:
    """A box as an index of an array."""
    return tuple(slice(low, high) for low, high in box)


def output_box(part: Part, shape: Shape) -> Box:
    """The box of the output that a part makes."""
    cut = part.intervals
    return tuple(cut.get(axis, (0, size)) for axis, size in enumerate(shape))


def addresses(graph: Graph, program: Program) -> dict[str, tuple[int, Indices]]:
    """By value its buffer, and for each element the byte in it.

    It is derived from the layouts in the program and from what operators without a step arrange.
    """
    placed = {v.name: (b, v) for b, buffer in enumerate(program.buffers) for v in buffer.values}
    runs = {step.operator for step in program.steps}
    result: dict[str, tuple[int, Indices]] = {}
    for name, value in graph.values.items():
        maker = next((i for i, o in enumerate(graph.operators) if name in o.outputs), None)
        if maker is not None and maker not in runs:
            sources = [result[n] for n in graph.operators[maker].inputs]
            joined = np.concatenate([array for _, array in sources], axis=1)
            assert len({buffer for buffer, _ in sources}) == 1
            result[name] = (sources[0][0], joined.reshape(value.shape))
            continue
        buffer, place = placed[name]
        indices = np.arange(prod(value.shape)).reshape(value.shape)
        order = [indices.ravel()]
        if place.layout is not None:
            order = []
            for spans in product(*(pairwise(c.ends) for c in place.layout.cuts)):
                cell = indices
                for cuts, span in zip(place.layout.cuts, spans, strict=True):
                    cell = cell.take(range(*span), axis=cuts.axis)
                order.append(np.moveaxis(cell, place.layout.axis, 0).ravel())
        flat = np.empty(prod(value.shape), dtype=np.int64)
        flat[np.concatenate(order)] = place.start_byte + np.arange(prod(value.shape))
        result[name] = (buffer, flat.reshape(value.shape))
    return result


def check_execution(graph: Graph, program: Program) -> None:
    """Run a program byte by byte: whatever a part needs is what was computed, and in its uses.

    Every element holds the number of its value and place; bytes hold elements.
    """
    where = addresses(graph, program)
    base = {name: 1 + 1_000_000 * n for n, name in enumerate(graph.values)}
    memory = [np.zeros(buffer.size_bytes, dtype=np.int64) for buffer in program.buffers]
    shapes = {name: value.shape for name, value in graph.values.items()}

    def elements(name: str, box: Box) -> Indices:
        indices = np.arange(prod(shapes[name])).reshape(shapes[name])
        return np.asarray(base[name] + indices[slices(box)])

    for name, value in graph.values.items():
        if value.kind in ("input", "weight"):
            buffer, at = where[name]
            memory[buffer][at] = elements(name, tuple((0, s) for s in value.shape))
    content = {name: elements(name, tuple((0, s) for s in shapes[name])) for name in graph.values}
    for index, operator in enumerate(graph.operators):  # what arranges passes elements on
        if index not in {step.operator for step in program.steps}:
            joined = np.concatenate([content[n] for n in operator.inputs], axis=1)
            content[operator.outputs[0]] = joined.reshape(shapes[operator.outputs[0]])
    for step in program.steps:
        if step.kind == DMA_STEP:
            continue
        operator = graph.operators[step.operator]
        reach = operator.reach
        assert reach is not None
        cut = {r.axis: (r.start, r.end) for r in step.ranges}
        reads = {(u.buffer, b) for u in step.uses if not u.write for b in _bytes(u)}
        made = dict(enumerate((0, size) for size in shapes[operator.outputs[0]]))
        for name, boxes in reach.boxes({**made, **cut} if cut else {}, shapes).items():
            for box in boxes:
                buffer, at = where[name]
                needed = at[slices(box)].ravel()
                assert {(buffer, int(b)) for b in needed} <= reads
                assert (memory[buffer][needed] == content[name][slices(box)].ravel()).all()
        writes = {(u.buffer, b) for u in step.uses if u.write for b in _bytes(u)}
        if cut.get(REDUCTION, (0, reach.reduction))[1] < reach.reduction:
            continue
        for name in operator.outputs:
            box = tuple(cut.get(axis, (0, s)) for axis, s in enumerate(shapes[name]))
            buffer, at = where[name]
            assert {(buffer, int(b)) for b in at[slices(box)].ravel()} == writes
            memory[buffer][at[slices(box)].ravel()] = content[name][slices(box)].ravel()
    for name in graph.outputs:
        buffer, at = where[name]
        assert (memory[buffer][at.ravel()] == content[name].ravel()).all()


def _bytes(use: Use) -> range:
    return range(use.start_byte, use.end_byte)
