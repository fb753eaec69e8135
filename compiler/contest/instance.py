"""Instances of the MLSys 2026 scheduling contest: graphs of operators on 2-D tensors.

Sizes are in elements, costs in the contest's unit of time, the bandwidth in elements per unit of
time. Operators and tensors are numbered from 0, as in the file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any

from ullage.compiler.common.errors import ModelError, UsageError
from ullage.compiler.common.files import MAX_READ_BYTES, read_file
from ullage.compiler.common.json_files import brief, json_object

# What an operator can be.
MATMUL, POINTWISE = "MatMul", "Pointwise"
# Largest width or height of a tensor, and largest number of anything else in a file: products of
# two sizes and a cost are exact in 64-bit floats.
MAX_SIDE, MAX_NUMBER = 2**20, 2**50
# Largest number of tiles of a tensor: solutions list them.
MAX_TILES = 1_000_000
# Largest number of operators, and of tensors.
MAX_ITEMS = 10_000


@dataclass(frozen=True)
class Instance:
    """A graph of operators and the chip that it runs on.

    Attributes:
        widths: columns of each tensor.
        heights: rows of each tensor.
        inputs: tensors that each operator reads, left operand first.
        outputs: tensors that each operator writes; a MatMul writes one.
        is_matmul: for each operator; the others are Pointwise.
        base_costs: time of each operator for a tile.
        capacity: elements that fast memory holds.
        bandwidth: elements that slow memory transfers per unit of time.
        native_width: largest width of a tile.
        native_height: largest height of a tile.
    """

    widths: tuple[int, ...]
    heights: tuple[int, ...]
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    is_matmul: tuple[bool, ...]
    base_costs: tuple[float, ...]
    capacity: float
    bandwidth: float
    native_width: int
    native_height: int

    @cached_property
    def producer(self) -> tuple[int, ...]:
        """The operator that writes each tensor, -1 where there is none."""
        found = [-1] * len(self.widths)
        for operator, written in enumerate(self.outputs):
            for tensor in written:
                found[tensor] = operator
        return tuple(found)

    @cached_property
    def readers(self) -> tuple[tuple[int, ...], ...]:
        """The operators that read each tensor, once each, ascending."""
        found: list[list[int]] = [[] for _ in self.widths]
        for operator, read in enumerate(self.inputs):
            for tensor in dict.fromkeys(read):
                found[tensor].append(operator)
        return tuple(map(tuple, found))

    @cached_property
    def order(self) -> tuple[int, ...]:
        """All operators, every one behind those that it reads from; lower numbers first."""
        from heapq import heapify, heappop, heappush

        waiting = [
            len({self.producer[t] for t in read if self.producer[t] >= 0}) for read in self.inputs
        ]
        ready = [operator for operator, count in enumerate(waiting) if count == 0]
        heapify(ready)
        found: list[int] = []
        while ready:
            operator = heappop(ready)
            found.append(operator)
            for reader in {r for t in self.outputs[operator] for r in self.readers[t]}:
                waiting[reader] -= 1
                if waiting[reader] == 0:
                    heappush(ready, reader)
        return tuple(found)

    def depth(self, operator: int) -> int:
        """Terms of the sums of a MatMul: the width of its left operand."""
        return self.widths[self.inputs[operator][0]]


def read_instance(path: Path) -> Instance:
    """The instance in a file of the contest.

    Raises:
        ModelError: it cannot be read, is no such file, or its graph cannot be computed; says which
            field or operator is to blame.
    """
    try:
        document = json_object(read_file(path, MAX_READ_BYTES))
    except (ValueError, UsageError) as error:
        raise ModelError(f"{path}: not an instance of the contest: {error}") from error
    return instance_of(document, str(path))


def instance_of(document: Mapping[str, Any], where: str) -> Instance:
    """The instance that a JSON document describes.

    Args:
        document: with the contest's fields; others are left alone.
        where: what messages call it.

    Raises:
        ModelError: as of `read_instance`.
    """
    fields = _Fields(document, where)
    widths, heights = fields.numbers("widths"), fields.numbers("heights")
    _check_sides(widths, heights, where)
    kinds = fields.entries("op_types")
    for operator, kind in enumerate(kinds):
        if kind not in (MATMUL, POINTWISE):  # no set: a list among them has no hash
            raise ModelError(
                f"{where}: operator {operator} is of type {brief(kind)}; there are {MATMUL} and "
                f"{POINTWISE}"
            )
    costs = fields.reals("base_costs")
    inputs, outputs = (fields.tensors(name, len(widths)) for name in ("inputs", "outputs"))
    if not len(kinds) == len(costs) == len(inputs) == len(outputs):
        raise ModelError(
            f"{where}: inputs, outputs, base_costs and op_types have an entry for each operator, "
            f"and have {len(inputs)}, {len(outputs)}, {len(costs)} and {len(kinds)}"
        )
    if not kinds:
        raise ModelError(f"{where}: it has no operator")
    native = fields.numbers("native_granularity")
    if len(native) < 2 or min(native[:2]) < 1:
        raise ModelError(f"{where}: native_granularity is [width, height], from 1")
    bandwidth = fields.real("slow_memory_bandwidth")
    if bandwidth <= 0:
        raise ModelError(f"{where}: slow_memory_bandwidth is {bandwidth:g}; it is more than 0")
    instance = Instance(
        widths=tuple(widths),
        heights=tuple(heights),
        inputs=inputs,
        outputs=outputs,
        is_matmul=tuple(kind == MATMUL for kind in kinds),
        base_costs=tuple(costs),
        capacity=fields.real("fast_memory_capacity"),
        bandwidth=bandwidth,
        native_width=native[0],
        native_height=native[1],
    )
    _check_graph(instance, where)
    if not isfinite(_most_cost(instance)):
        raise ModelError(
            f"{where}: slow_memory_bandwidth is {bandwidth:g}, so low that costs are above the "
            "largest 64-bit float; costs are finite"
        )
    return instance


def _most_cost(instance: Instance) -> float:
    """What the operators cost, each alone, in tiles and steps of one element; infinite if so."""
    total = 0.0
    for operator, cost in enumerate(instance.base_costs):
        written = instance.outputs[operator]
        area = instance.widths[written[0]] * instance.heights[written[0]]
        steps = area * (instance.depth(operator) if instance.is_matmul[operator] else 1)
        moved = steps * (len(instance.inputs[operator]) + len(written))
        total += area * cost + float(moved) / instance.bandwidth
    return total


class _Fields:
    """Typed access to a document; every wrong field is a `ModelError` that names it."""

    def __init__(self, document: Mapping[str, Any], where: str) -> None:
        self._document, self._where = document, where

    def _get(self, name: str) -> object:
        if name not in self._document:
            raise ModelError(f"{self._where}: field {name} is missing")
        return self._document[name]

    def entries(self, name: str) -> list[Any]:
        """A list."""
        value = self._get(name)
        if not isinstance(value, list):
            raise ModelError(f"{self._where}: {name} is {brief(value)}, not a list")
        if len(value) > MAX_ITEMS:
            raise ModelError(
                f"{self._where}: {name} has {len(value)} entries; {MAX_ITEMS} are allowed"
            )
        return value

    def _number(self, name: str, value: object, *, is_real: bool = False) -> Any:  # noqa: ANN401
        """An integer, or any number where `is_real`."""
        is_number = isinstance(value, int | float) if is_real else isinstance(value, int)
        if isinstance(value, bool) or not is_number:
            kind = "a number" if is_real else "an integer"
            raise ModelError(f"{self._where}: {name} holds {brief(value)}, not {kind}")
        if not 0 <= value <= MAX_NUMBER:  # type: ignore[operator] # NaN is refused, too
            raise ModelError(
                f"{self._where}: {name} holds {brief(value)}; from 0 to 2^50 are allowed"
            )
        return value

    def numbers(self, name: str) -> list[int]:
        """A list of integers."""
        return [self._number(name, value) for value in self.entries(name)]

    def reals(self, name: str) -> list[float]:
        """A list of numbers."""
        return [self._number(name, value, is_real=True) for value in self.entries(name)]

    def real(self, name: str) -> float:
        """A number."""
        value: float = self._number(name, self._get(name), is_real=True)
        return value

    def tensors(self, name: str, count: int) -> tuple[tuple[int, ...], ...]:
        """A list of lists of tensors, of which there are `count`."""
        found = []
        for operator, entry in enumerate(self.entries(name)):
            where = f"{self._where}: {name} of operator {operator}"
            if not isinstance(entry, list) or not entry or len(entry) > MAX_ITEMS:
                raise ModelError(f"{where}: {brief(entry)} is no list of tensors")
            for tensor in entry:
                if type(tensor) is not int or not 0 <= tensor < count:
                    raise ModelError(
                        f"{where}: there is no tensor {brief(tensor)}; there are {count}, from 0"
                    )
            found.append(tuple(entry))
        return tuple(found)


def _check_sides(widths: Sequence[int], heights: Sequence[int], where: str) -> None:
    if len(widths) != len(heights):
        raise ModelError(
            f"{where}: widths and heights have an entry for each tensor, and have {len(widths)} "
            f"and {len(heights)}"
        )
    for tensor, sides in enumerate(zip(widths, heights, strict=True)):
        if not 1 <= min(sides) <= max(sides) <= MAX_SIDE:
            raise ModelError(
                f"{where}: tensor {tensor} is {sides[0]} wide and {sides[1]} high; from 1 to "
                f"{MAX_SIDE} are allowed"
            )


def _check_graph(instance: Instance, where: str) -> None:
    """Refuse graphs that cannot be computed.

    Raises:
        ModelError: a tensor is written twice, operands do not fit, or operators wait for each
            other.
    """
    written: dict[int, int] = {}
    for operator, tensors in enumerate(instance.outputs):
        for tensor in tensors:
            if tensor in written:
                raise ModelError(
                    f"{where}: tensor {tensor} is written by operators {written[tensor]} and "
                    f"{operator}; one may"
                )
            written[tensor] = operator
            across = -(-instance.widths[tensor] // instance.native_width)
            if across * -(-instance.heights[tensor] // instance.native_height) > MAX_TILES:
                raise ModelError(
                    f"{where}: tensor {tensor} has more than {MAX_TILES} tiles of the native "
                    "granularity, and solutions list them all"
                )
        _check_shapes(instance, operator, where)
    missing = sorted(set(range(len(instance.inputs))) - set(instance.order))
    if missing:
        raise ModelError(
            f"{where}: {len(missing)} operators wait for each other in a cycle, so their outputs "
            f"are never made: {', '.join(map(str, missing[:10]))}"
        )


def _check_shapes(instance: Instance, operator: int, where: str) -> None:
    def shape(tensor: int) -> tuple[int, int]:
        return instance.heights[tensor], instance.widths[tensor]

    read, written = instance.inputs[operator], instance.outputs[operator]
    if not instance.is_matmul[operator]:
        shapes = {shape(tensor) for tensor in (*read, *written)}
        if len(shapes) > 1:
            raise ModelError(
                f"{where}: operator {operator} is {POINTWISE} on tensors of {len(shapes)} shapes; "
                "all have one"
            )
        return
    if len(read) != 2 or len(written) != 1:
        raise ModelError(
            f"{where}: operator {operator} is a {MATMUL} with {len(read)} inputs and "
            f"{len(written)} outputs; it has 2 and 1"
        )
    (rows, depth), (depth_right, columns) = map(shape, read)
    if depth != depth_right or shape(written[0]) != (rows, columns):
        shapes_text = ", ".join("x".join(map(str, shape(t))) for t in (*read, *written))
        raise ModelError(
            f"{where}: operator {operator} is a {MATMUL} of tensors (rows x columns) "
            f"{shapes_text}, which do not fit"
        )
