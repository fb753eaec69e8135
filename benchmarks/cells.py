"""Chains of cells of any length: the synthetic graphs on which growth with size is measured.

Stages of NASNet-A cells (each reads the two cells before it) and ResNet bottlenecks, at four
resolutions that go down and up again; every stage has a skip from its beginning to its end. Weights
and feature maps have the sizes of the real ones at int8.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from ullage.compiler.ir.graph import Gemm, Graph, Kind, Operator, Sharing, Value

CELLS_PER_STAGE = 3  # of each kind
# (side of the feature map, filters of a branch): 384 to 48 KiB for a cell's six branches.
RESOLUTIONS = ((64, 16), (32, 32), (16, 64), (8, 128), (16, 64), (32, 32))
BRANCHES = 6  # that a cell's Concat joins
# The two operands of each of NASNet-A's five blocks (Zoph et al., arXiv 1707.07012, figure 4):
# 0 and 1 are the cell's inputs, 2 and more the blocks before.
BLOCKS = ((0, 1), (0, 1), (0, 1), (1, 1), (0, 2))


def cell_graph(operators: int) -> Graph:
    """A chain of cells of exactly that many operators, at least 1; every time the same."""
    net = _Net()
    image = net.value("image", (64, 64, 3), "input")
    side, filters = RESOLUTIONS[0]
    now = _Map(image, 3, side)
    before = now = net.conv(now, BRANCHES * filters, 3)
    stage = 0
    while len(net.operators) < operators:
        side, filters = RESOLUTIONS[stage % len(RESOLUTIONS)]
        if side != now.side:
            before = now = net.conv(now, BRANCHES * filters, 1, side)
        begin = now
        for _ in range(CELLS_PER_STAGE):
            before, now = now, _nasnet_cell(net, before, now, filters)
        for _ in range(CELLS_PER_STAGE):
            before, now = now, _bottleneck(net, now, filters)
        before = now = net.add(begin, now)
        stage += 1
    return net.graph(operators)


@dataclass(frozen=True, slots=True)
class _Map:
    """A feature map: the name of its value, channels and side."""

    name: str
    channels: int
    side: int

    @property
    def pixels(self) -> int:
        return self.side * self.side


@dataclass
class _Net:
    """A graph in the making; every method but `value` adds one operator."""

    values: dict[str, Value] = field(default_factory=dict)
    operators: list[Operator] = field(default_factory=list)

    def value(self, name: str, shape: tuple[int, ...], kind: Kind = "activation") -> str:
        self.values[name] = Value(name, kind, "int8", shape, prod(shape))
        return name

    def _result(self, channels: int, side: int) -> _Map:
        name = self.value(f"map{len(self.operators)}", (side, side, channels))
        return _Map(name, channels, side)

    def _weight(self, shape: tuple[int, ...]) -> str:
        return self.value(f"weight{len(self.values)}", shape, "weight")

    def conv(self, source: _Map, channels: int, kernel: int, side: int = 0) -> _Map:
        """A convolution; to another side with a stride."""
        inner = source.channels * kernel * kernel
        weight = self._weight((channels, inner))
        result = self._result(channels, side or source.side)
        self._add(
            "Conv", (source.name, weight), result, (Gemm(result.pixels, inner, channels),), ()
        )
        return result

    def separable(self, source: _Map, kernel: int) -> _Map:
        """A depthwise and a pointwise convolution in one operator."""
        channels = source.channels
        weights = (
            self._weight((channels, kernel * kernel)),
            self._weight((channels, channels)),
        )
        result = self._result(channels, source.side)
        gemms = (
            Gemm(result.pixels, kernel * kernel, 1, channels),
            Gemm(result.pixels, channels, channels),
        )
        self._add("SeparableConv", (source.name, *weights), result, gemms, ())
        return result

    def add(self, one: _Map, two: _Map) -> _Map:
        """A sum, in place of either operand where it dies."""
        result = self._result(one.channels, one.side)
        names = tuple(dict.fromkeys((one.name, two.name)))
        sharings = [Sharing("in_place", result.name, name) for name in names]
        self._add("Add", names, result, (), sharings)
        return result

    def concat(self, parts: Sequence[_Map]) -> _Map:
        """Maps side by side."""
        result = self._result(sum(part.channels for part in parts), parts[0].side)
        sharings, offset = [], 0
        for part in parts:
            sharings.append(Sharing("concat", result.name, part.name, offset))
            offset += self.values[part.name].size_bytes
        self._add("Concat", [part.name for part in parts], result, (), sharings)
        return result

    def _add(
        self,
        kind: str,
        inputs: Iterable[str],
        output: _Map,
        gemms: tuple[Gemm, ...],
        sharings: Iterable[Sharing],
    ) -> None:
        self.operators.append(
            Operator(
                name=f"{kind}{len(self.operators)}",
                kind=kind,
                inputs=tuple(inputs),
                outputs=(output.name,),
                macs=sum(g.m * g.k * g.n * g.count for g in gemms),
                mac_dtype="int8",
                vector_elements=self.values[output.name].size_bytes,
                gemms=gemms,
                sharings=tuple(sharings),
            )
        )

    def graph(self, operators: int) -> Graph:
        """The first operators as a graph; what they compute and do not read is its output."""
        chosen = tuple(self.operators[:operators])
        read = {name for operator in chosen for name in operator.inputs}
        made = [name for operator in chosen for name in operator.outputs]
        outputs = tuple(name for name in made if name not in read)
        values = {name: self.values[name] for name in self.values if name in read}
        values |= {name: replace(self.values[name], kind="output") for name in outputs}
        return Graph(f"cells{operators}", values, chosen, ("image",), outputs)


def _nasnet_cell(net: _Net, before: _Map, now: _Map, filters: int) -> _Map:
    """NASNet-A's normal cell, identities and poolings taken as separable convolutions."""
    parts = [net.conv(before, filters, 1), net.conv(now, filters, 1)]
    for block, (left, right) in enumerate(BLOCKS):
        kernel = 5 if block % 2 else 3
        parts.append(net.add(net.separable(parts[left], kernel), net.separable(parts[right], 3)))
    return net.concat(parts[1:])


def _bottleneck(net: _Net, now: _Map, filters: int) -> _Map:
    """ResNet's bottleneck (He et al., arXiv 1512.03385): 1x1 down, 3x3, 1x1 up, sum."""
    inner = net.conv(net.conv(now, 2 * filters, 1), 2 * filters, 3)
    return net.add(now, net.conv(inner, now.channels, 1))
