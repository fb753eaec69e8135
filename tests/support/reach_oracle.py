"""Reach by experiment: what is outside may be anything, what is inside matters.

For a random part of an operator, everything that its reach leaves out of the inputs is replaced by
rubbish: the part must keep its bits. Then rubbish goes into the first or last index of a range that
the reach gives: the part must change for one of several seeds, or the range is too large there. A
range of a reduction is checked by adding up the results of its parts.

No formula of any operator is used here; onnxruntime runs the operator, whole, each time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.execute.kernels import Kernels
from ullage.compiler.importer.build import Imported
from ullage.compiler.ir.graph import Operator
from ullage.compiler.ir.reach import REDUCTION, Box, Interval, Reach
from ullage.compiler.verify.reach.geometry import Geometry
from ullage.compiler.verify.reach.needs import Need, box_of, one_by_one
from ullage.compiler.verify.reach.walk import NoRuleError, Walk

Array = NDArray[np.generic]
Ranges = dict[int, Interval]
# Draws of rubbish for each look at one index.
SEEDS = 4


@dataclass
class Findings:
    """What the experiments with one operator found.

    Attributes:
        parts: parts that were looked at.
        wrong: parts that changed when something outside of their reach did.
        ends: first and last indices of ranges that were looked at.
        loose: those whose rubbish changed nothing.
    """

    parts: int = 0
    wrong: list[str] = field(default_factory=list)
    ends: int = 0
    loose: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Bench:
    """Operators of a model with values for all that they read.

    Attributes:
        imported: the model.
        kernels: run its operators.
        values: every tensor of the graph.
        mild: whether rubbish is made of values that occur in the same tensor.
    """

    imported: Imported
    kernels: Kernels
    values: dict[str, Array]
    mild: bool = False

    @cached_property
    def geometry(self) -> Geometry:
        """What the verifier knows of the model."""
        return Geometry.of(self.imported)


def bench(
    imported: Imported,
    inputs: Mapping[str, Array],
    weights: Mapping[str, Array],
    *,
    mild: bool = False,
) -> Bench:
    """Run a model operator by operator and keep every tensor.

    Args:
        imported: the model.
        inputs: values of the graph's inputs.
        weights: values of its initializers.
        mild: as in `Bench`.
    """
    kernels = Kernels(imported.proto, imported.scope, weights)
    values = {**inputs, **weights}
    for operator in imported.graph.operators:
        missing = [name for name in operator.inputs if name not in values]
        kernels.constant(missing)
        values.update({name: kernels.constants[name] for name in missing})
        values.update(kernels.run(operator, {name: values[name] for name in operator.inputs}))
    return Bench(imported, kernels, values, mild)


def examine(
    bench: Bench, operator: Operator, rng: np.random.Generator, parts: int, *, ends: bool = True
) -> Findings:
    """Experiments with random parts of an operator that has a reach.

    Args:
        bench: the model with values.
        operator: one of its operators.
        rng: source of parts and rubbish.
        parts: number of parts.
        ends: whether first and last indices of ranges are looked at as well.
    """
    reach = operator.reach
    assert reach is not None
    found = Findings()
    feeds = {name: bench.values[name] for name in operator.inputs}
    shapes = {name: bench.imported.graph.values[name].shape for name in operator.inputs}
    outputs = [name for name in operator.outputs if name in bench.imported.scope.types]
    whole = {name: bench.values[name] for name in outputs}
    for ranges in _parts(reach, whole[outputs[0]].shape, parts, rng):
        region = _region(ranges, whole[outputs[0]].ndim)
        boxes = reach.boxes(ranges, shapes)
        outside = {name: ~inside(shapes[name], boxes.get(name, [])) for name in feeds}
        found.parts += 1
        found.wrong += _verifier_wants(bench, operator, ranges, boxes)
        for _ in range(2):
            spoiled = {n: rubbish(rng, a, outside[n], mild=bench.mild) for n, a in feeds.items()}
            made = bench.kernels.run(operator, spoiled)
            for name in outputs:
                if not same_bits(_part(made[name], region), _part(whole[name], region)):
                    found.wrong.append(f"{operator.kind} {name} {ranges}: {boxes}")
                    break
        if ends and len(ranges) == 1:  # of several axes a range is the hull
            _look_at_ends(bench, operator, ranges, region, found, rng)
    return found


def _verifier_wants(
    bench: Bench, operator: Operator, ranges: Ranges, boxes: Mapping[str, list[Box]]
) -> list[str]:
    """Inputs of which the verifier's own rules need something that the boxes leave out."""
    shapes = {name: bench.imported.graph.values[name].shape for name in operator.inputs}
    results: dict[str, Need] = {}
    for name in operator.outputs:
        if name in bench.geometry.shapes:
            results[name] = box_of(bench.geometry.shapes[name], ranges)
    try:
        needs = Walk(bench.geometry, operator).back(results)
    except NoRuleError:
        return []
    wanted = {name: np.any([one_by_one(n) for n in own], axis=0) for name, own in needs.items()}
    return [
        f"{operator.kind} {ranges}: the verifier needs more of {name} than {boxes.get(name)}"
        for name, mask in wanted.items()
        if (mask & ~inside(shapes[name], boxes.get(name, []))).any()
    ]


def _look_at_ends(
    bench: Bench,
    operator: Operator,
    ranges: Ranges,
    region: tuple[slice, ...],
    found: Findings,
    rng: np.random.Generator,
) -> None:
    """Rubbish in the first and last index of each range that follows from a cut axis."""
    assert operator.reach is not None
    feeds = {name: bench.values[name] for name in operator.inputs}
    outputs = [name for name in operator.outputs if name in bench.imported.scope.types]
    for entry in operator.reach.inputs:
        shape = feeds[entry.name].shape
        box = entry.box(ranges, shape)
        if box is None:
            continue
        for axis, axis_map in enumerate(entry.axes):
            if axis_map is None or axis_map.axis not in ranges:
                continue
            for index in {box[axis][0], box[axis][1] - 1}:
                where = np.zeros(shape, bool)
                where[
                    tuple(slice(*b) for b in (*box[:axis], (index, index + 1), *box[axis + 1 :]))
                ] = True
                found.ends += 1
                for _ in range(SEEDS):
                    spoiled = {
                        **feeds,
                        entry.name: rubbish(rng, feeds[entry.name], where, mild=bench.mild),
                    }
                    made = bench.kernels.run(operator, spoiled)
                    if not all(
                        same_bits(_part(made[n], region), _part(bench.values[n], region))
                        for n in outputs
                    ):
                        break
                else:
                    found.loose.append(
                        f"{operator.kind} {entry.name} axis {axis} index {index} of "
                        f"{box[axis]} for {ranges}"
                    )


def sums_up(bench: Bench, operator: Operator, rng: np.random.Generator) -> bool:
    """Whether the results of two parts of the reduction add up to the result of the whole.

    What a part does not read is 0 for it.
    """
    reach = operator.reach
    assert reach is not None
    feeds = {name: bench.values[name] for name in operator.inputs}
    shapes = {name: bench.imported.graph.values[name].shape for name in operator.inputs}
    (output,) = operator.outputs
    border = int(rng.integers(1, reach.reduction))
    total = np.zeros(bench.values[output].shape, np.float64)
    for part in ((0, border), (border, reach.reduction)):
        boxes = reach.boxes({REDUCTION: part}, shapes)
        kept = {
            name: np.where(inside(shapes[name], boxes.get(name, [])), array, array.dtype.type(0))
            for name, array in feeds.items()
        }
        total += bench.kernels.run(operator, kept)[output]
    return bool(np.allclose(total, bench.values[output].astype(np.float64), rtol=1e-4, atol=1e-4))


def _parts(
    reach: Reach, shape: tuple[int, ...], count: int, rng: np.random.Generator
) -> Iterator[Ranges]:
    """Random ranges of one axis that may be cut, every third time of all of them."""
    axes = [a for a, label in enumerate(reach.axes) if label != "none" and shape[a] > 1]
    for turn in range(count if axes else 0):
        chosen = axes if turn % 3 == 2 else [axes[turn % len(axes)]]
        ranges: Ranges = {}
        for axis in chosen:
            start = int(rng.integers(shape[axis]))
            ranges[axis] = (start, int(rng.integers(start + 1, shape[axis] + 1)))
        yield ranges


def _region(ranges: Ranges, rank: int) -> tuple[slice, ...]:
    return tuple(slice(*ranges[axis]) if axis in ranges else slice(None) for axis in range(rank))


def _part(array: Array, region: tuple[slice, ...]) -> Array:
    return array[region[: array.ndim]]


def inside(shape: tuple[int, ...], boxes: list[Box]) -> NDArray[np.bool_]:
    """Which elements of a tensor lie in one of some boxes."""
    mask = np.zeros(shape, bool)
    for box in boxes:
        mask[tuple(slice(*interval) for interval in box)] = True
    return mask


def rubbish(
    rng: np.random.Generator, array: Array, where: NDArray[np.bool_], *, mild: bool = False
) -> Array:
    """The array with other values in some places: large, finite, and valid as an index.

    With `mild` they are values that occur in the array.
    """
    drawn: Array
    if mild:
        drawn = rng.permutation(array.reshape(-1)).reshape(array.shape)
    elif array.dtype.kind == "f":
        limit = 1e3 if array.dtype.itemsize < 4 else 1e4
        drawn = (rng.uniform(0.1, 1.0, array.shape) * limit).astype(array.dtype)
        drawn = np.where(rng.integers(0, 2, array.shape) > 0, drawn, -drawn)
    elif array.dtype.kind == "b":
        drawn = ~array if rng.integers(2) else rng.integers(0, 2, array.shape) > 0
    elif array.dtype.itemsize == 8 or array.size == 0:  # indices: values that occur
        drawn = rng.permutation(array.reshape(-1)).reshape(array.shape)
    else:
        limits = np.iinfo(array.dtype)
        drawn = rng.integers(limits.min, limits.max, array.shape, dtype=array.dtype, endpoint=True)
    return np.where(where, drawn, array).astype(array.dtype)


def same_bits(a: Array, b: Array) -> bool:
    """Whether two arrays are the same bit for bit; a NaN is a NaN."""
    if a.shape != b.shape:
        return False
    if a.dtype.kind == "f" and np.isnan(b).any():
        return bool(np.array_equal(a, b, equal_nan=True))
    return np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()
