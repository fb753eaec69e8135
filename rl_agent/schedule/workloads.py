"""Synthetic networks to train schedules on, and chips to match.

They are ONNX models, so that an operator's reach is the importer's: what a stripe needs of its
inputs, halos included. Widths, depths and resolutions are drawn at random; nothing is taken from
any particular model. Weights have no data.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import Any

import onnx
from onnx import helper

from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.orders import model_order
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.budget import Budget
from ullage.solvers.scheduling.cascade.valued import SchedulingTask

OPSET = 20
# Most channels of a feature map.
MOST_CHANNELS = 512
# Sides of a feature map below which nothing is halved any more.
LEAST_SIDE = 7
# The chip whose memory and rates are drawn anew.
CHIP = "edge-npu"
# Fast memory over the largest operator's activations: powers of two, from ... to ...
MEMORY_POWERS = (-4.0, 0.5)
# Smallest fast memory in KiB.
LEAST_KIB = 16
# Rate of the slow memory over the chip's, powers of two: from ... to ...
RATE_POWERS = (-3.0, 1.5)


@dataclass
class _NetworkBuilder:
    """A network in the making; feature maps are [1, channels, side, side].

    Attributes:
        rng: source of everything random.
        shapes: (channels, side) of each feature map.
    """

    rng: Random
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    shapes: dict[str, tuple[int, int]] = field(default_factory=dict)

    def image(self) -> str:
        """The input: feature maps as networks have them behind their first layers."""
        side = self.rng.choice((28, 32, 40, 56, 64, 80, 96, 112))
        self.shapes["x"] = (self.rng.choice((8, 16, 24, 32, 48)), side)
        return "x"

    def channels(self, name: str) -> int:
        """Channels of a feature map."""
        return self.shapes[name][0]

    def add(self, kind: str, reads: list[str], shape: tuple[int, int], **more: Any) -> str:  # noqa: ANN401 - ONNX attributes
        """A node that makes a feature map of a shape; returns its name."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, reads, [name], **more))
        self.shapes[name] = shape
        return name

    def weight(self, *shape: int) -> str:
        """A weight whose data lies in a file that does not exist."""
        tensor = onnx.TensorProto(name=f"w{len(self.weights)}", dims=shape)
        tensor.data_type = onnx.TensorProto.FLOAT
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="none.bin")
        self.weights.append(tensor)
        return str(tensor.name)

    def conv(
        self, read: str, channels: int, kernel: int = 1, *, halves: bool = False, deep: bool = False
    ) -> str:
        """A convolution, one filter for each channel where it is `deep`, and its activation."""
        before, side = self.shapes[read]
        channels = before if deep else max(4, min(channels, MOST_CHANNELS))
        halves = halves and side // 2 >= LEAST_SIDE
        stride = 2 if halves else 1
        group = before if deep else 1
        after = (side + stride - 1) // stride
        made = self.add(
            "Conv",
            [read, self.weight(channels, before // group, kernel, kernel)],
            (channels, after),
            kernel_shape=[kernel, kernel],
            pads=[kernel // 2] * 4,
            strides=[stride, stride],
            group=group,
        )
        return self.add("Relu", [made], (channels, after))

    def add_up(self, one: str, other: str) -> str:
        """The sum of two feature maps of one shape."""
        return self.add("Add", [one, other], self.shapes[one])

    def join(self, reads: list[str]) -> str:
        """Feature maps of one side behind one another."""
        channels = sum(self.channels(name) for name in reads)
        return self.add("Concat", reads, (channels, self.shapes[reads[0]][1]), axis=1)

    def gate(self, read: str) -> str:
        """Squeeze and excite."""
        channels = self.channels(read)
        mean = self.add("GlobalAveragePool", [read], (channels, 1))
        gate = self.conv(self.conv(mean, channels // 4), channels)
        return self.add("Mul", [read, gate], self.shapes[read])

    def proto(self) -> onnx.ModelProto:
        """The model; what nobody reads is its result."""
        read = {name for node in self.nodes for name in node.input}
        results = [node.output[0] for node in self.nodes if node.output[0] not in read]
        channels, side = self.shapes["x"]
        inputs = [self._info("x", [1, channels, side, side])]
        outputs = [self._info(name, None) for name in results]
        graph = helper.make_graph(self.nodes, "synthetic", inputs, outputs, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])

    def _info(self, name: str, shape: list[int] | None) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def chain(b: _NetworkBuilder) -> None:
    """Wide convolutions, layer after layer, or thin ones with a filter per channel between."""
    rng, x = b.rng, b.image()
    thin = rng.random() < 0.6
    for _ in range(rng.randint(3, 7)):
        halves = rng.random() < 0.3
        wider = b.channels(x) * (2 if halves else 1)
        if thin:
            x = b.conv(x, b.channels(x) * rng.choice((1, 2, 4, 6)))
            x = b.conv(x, 0, rng.choice((3, 3, 5)), halves=halves, deep=True)
            x = b.conv(x, wider)
        else:
            x = b.conv(x, wider, 3, halves=halves)
            if rng.random() < 0.5:
                x = b.conv(x, b.channels(x), 3)


def residual(b: _NetworkBuilder) -> None:
    """Blocks of two or three layers with a shortcut around each, some with a gate inside."""
    rng, x = b.rng, b.image()
    gated, inner = rng.random() < 0.4, rng.choice((0.25, 0.5, 1, 4, 6))
    for _ in range(rng.randint(2, 5)):
        width = b.channels(x)
        y = b.conv(x, int(width * inner), rng.choice((1, 3)))
        y = b.conv(y, 0, 3, deep=True) if inner > 1 else b.conv(y, b.channels(y), 3)
        if gated:
            y = b.gate(y)
        x = b.add_up(x, b.conv(y, width))
        if rng.random() < 0.4:
            x = b.conv(x, 2 * width, 3, halves=True)


def dense(b: _NetworkBuilder) -> None:
    """Each layer reads the results of all before it in its block."""
    rng, x = b.rng, b.image()
    for _ in range(rng.randint(1, 2)):
        growth = rng.choice((8, 16, 32))
        for _ in range(rng.randint(2, 4)):
            y = b.conv(x, 4 * growth) if rng.random() < 0.6 else x
            x = b.join([x, b.conv(y, growth, 3)])
        x = b.conv(x, b.channels(x) // 2, 1, halves=True)


def unet(b: _NetworkBuilder) -> None:
    """Down and up again, with a long skip at each level."""
    rng, x = b.rng, b.image()
    skips: list[str] = []
    for _ in range(rng.randint(2, 3)):
        x = b.conv(x, b.channels(x), 3)
        if b.shapes[x][1] % 2 or b.shapes[x][1] // 2 < LEAST_SIDE:
            break
        skips.append(x)
        x = b.conv(x, 2 * b.channels(x), 3, halves=True)
    for skip in reversed(skips):
        channels, side = b.channels(skip), b.shapes[skip][1]
        kernel = b.weight(b.channels(x), channels, 2, 2)
        x = b.add("ConvTranspose", [x, kernel], (channels, side), strides=[2, 2])
        x = b.conv(b.join([x, skip]), channels, 3)


def inception(b: _NetworkBuilder) -> None:
    """Branches of one to three layers, joined again."""
    rng, x = b.rng, b.image()
    for _ in range(rng.randint(2, 3)):
        width, ends = b.channels(x), []
        for _ in range(rng.choice((2, 3))):
            y = x
            for _ in range(rng.randint(1, 2)):
                y = b.conv(y, int(width * rng.choice((0.25, 0.5))), rng.choice((1, 3, 5)))
            ends.append(y)
        x = b.join(ends)
        if rng.random() < 0.5:
            x = b.conv(x, 2 * width, 3, halves=True)


def lanes(b: _NetworkBuilder) -> None:
    """Two resolutions side by side that are summed into each other."""
    rng = b.rng
    fine = b.conv(b.image(), 24, 3)
    coarse = b.conv(fine, 2 * b.channels(fine), 3, halves=True)
    for _ in range(rng.randint(2, 3)):
        for _ in range(rng.choice((1, 2))):
            fine = b.add_up(fine, b.conv(fine, b.channels(fine), 3))
            coarse = b.add_up(coarse, b.conv(coarse, b.channels(coarse), 3))
        if b.shapes[fine][1] == 2 * b.shapes[coarse][1]:
            coarse = b.add_up(coarse, b.conv(fine, b.channels(coarse), 3, halves=True))


FAMILIES: dict[str, Callable[[_NetworkBuilder], None]] = {
    family.__name__: family for family in (chain, residual, dense, unet, inception, lanes)
}
# Parts of a schedule at most, for each operator of a network.
PARTS_EACH = 20
# Families that no training sees, to measure with.
HELD_OUT = ("inception", "lanes")
# Families to train on.
TRAINED = tuple(name for name in FAMILIES if name not in HELD_OUT)


def synthetic_graph(rng: Random, families: tuple[str, ...] = TRAINED) -> Graph:
    """A network of one of some families, as int8."""
    name = rng.choice(families)
    builder = _NetworkBuilder(rng)
    FAMILIES[name](builder)
    return import_model(builder.proto(), ImportOptions(dtype="int8"), f"synthetic-{name}")


@cache
def _chip() -> Target:
    return load_target(CHIP)


def random_chip(rng: Random, graph: Graph) -> Target:
    """A chip whose memory holds a fraction of what the graph's largest operator uses, or more."""
    operands = [
        sum(
            graph.values[name].size_bytes
            for name in dict.fromkeys((*operator.inputs, *operator.outputs))
            if graph.values[name].kind != "weight"
        )
        for operator in graph.operators
    ]
    kib = max(LEAST_KIB, round(max(operands) * 2 ** rng.uniform(*MEMORY_POWERS) / 1024))
    chip = _chip().with_fast_memory(kib * 1024)
    rate = 2 ** rng.uniform(*RATE_POWERS)
    fastest, slow = chip.tiers
    slow = replace(
        slow,
        read_bytes_per_s=slow.read_bytes_per_s * rate,
        write_bytes_per_s=slow.write_bytes_per_s * rate,
    )
    links = tuple(
        replace(link, bandwidth_bytes_per_s=link.bandwidth_bytes_per_s * rate)
        for link in chip.links
    )
    return replace(chip, name="synthetic", tiers=(fastest, slow), links=links)


def task_for(graph: Graph, target: Target) -> SchedulingTask:
    """The task of the fastest schedule of a graph in its own order, without a time limit."""
    return SchedulingTask(
        graph=graph,
        order=model_order(graph),
        target=target,
        aliases=alias_options(target),
        steady_state=False,
        objective="latency",
        seed=0,
        budget=Budget(),
        most_parts=PARTS_EACH * len(graph.operators),
    )


def synthetic_task(seed: int, number: int, families: tuple[str, ...] = TRAINED) -> SchedulingTask:
    """A network and a chip of a seed, by their number."""
    rng = Random(f"{seed}/{number}")  # noqa: S311 - networks are no secrets
    graph = synthetic_graph(rng, families)
    return task_for(graph, random_chip(rng, graph))
