"""The fourteen networks of COSMA's evaluation as graphs of shapes, one byte per element.

An operator is what an accelerator runs at once: a convolution with its normalisation and
activation, a pooling, an addition, a Concat that copies. Nothing shares bytes, as in the paper.
Layer tables are those of the networks' own papers; the four searched ones stand in the ImageNet
mobile frame of their papers (two stems, 14 cells, reductions at one and two thirds).

Run: python benchmarks/cosma_graphs.py   prints operators, M_R and the file order's peak of each.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod

from ullage.compiler.ir.graph import Graph, Kind, Operator, Value

Cell = tuple[Sequence[tuple[str, int]], Sequence[int]]  # (operation, input) twice a block; joined


@dataclass(frozen=True)
class Map:
    """A feature map: the value, its channels and its extent."""

    name: str
    channels: int
    extent: tuple[int, ...]


@dataclass
class Net:
    """A graph in the making."""

    name: str
    values: dict[str, Value] = field(default_factory=dict)
    operators: list[Operator] = field(default_factory=list)

    def value(self, name: str, size: int, kind: Kind) -> str:
        """A new value of that many bytes."""
        self.values[name] = Value(name, kind, "int8", (size,), size)
        return name

    def image(self, channels: int, *extent: int) -> Map:
        """The input."""
        return Map(self.value("x", channels * prod(extent), "input"), channels, extent)

    def run(
        self, kind: str, inputs: Sequence[Map], channels: int, extent: tuple[int, ...], weight: int
    ) -> Map:
        """An operator with one result, and a weight where it has bytes."""
        number = len(self.operators)
        reads = list(dict.fromkeys(each.name for each in inputs))
        if weight:
            reads.append(self.value(f"w{number}", weight, "weight"))
        result = self.value(f"a{number}", channels * prod(extent), "activation")
        self.operators.append(Operator(f"{kind}{number}", kind, tuple(reads), (result,)))
        return Map(result, channels, extent)

    def conv(
        self,
        x: Map,
        channels: int,
        kernel: int | tuple[int, ...] = 1,
        stride: int | tuple[int, ...] = 1,
        groups: int = 1,
    ) -> Map:
        """A convolution padded to keep the extent but for its stride."""
        window = (kernel,) * len(x.extent) if isinstance(kernel, int) else kernel
        weight = x.channels // groups * channels * prod(window)
        return self.run("Conv", [x], channels, _strided(x.extent, stride), weight)

    def pool(self, x: Map, stride: int | tuple[int, ...] = 1) -> Map:
        """A pooling."""
        return self.run("Pool", [x], x.channels, _strided(x.extent, stride), 0)

    def squeeze(self, x: Map) -> Map:
        """The mean over the extent."""
        return self.run("Mean", [x], x.channels, (1,) * len(x.extent), 0)

    def act(self, kind: str, x: Map, *others: Map) -> Map:
        """An element-wise operator: the shape of the first operand."""
        return self.run(kind, [x, *others], x.channels, x.extent, 0)

    def join(self, *parts: Map) -> Map:
        """A Concat of channels."""
        return self.run("Concat", parts, sum(p.channels for p in parts), parts[0].extent, 0)

    def resize(self, x: Map, extent: tuple[int, ...]) -> Map:
        """An interpolation."""
        return self.run("Resize", [x], x.channels, extent, 0)

    def graph(self, *outputs: Map) -> Graph:
        """What was made."""
        for out in outputs:
            self.value(out.name, self.values[out.name].size_bytes, "output")
        names = tuple(out.name for out in outputs)
        return Graph(self.name, self.values, tuple(self.operators), ("x",), names)


def _strided(extent: tuple[int, ...], stride: int | tuple[int, ...]) -> tuple[int, ...]:
    steps = (stride,) * len(extent) if isinstance(stride, int) else stride
    return tuple(-(-size // step) for size, step in zip(extent, steps, strict=True))


# -- designed by people ----------------------------------------------------------------------


def _bottlenecks(
    net: Net, x: Map, *, groups: int = 1, width: int = 64, dilated: bool = False
) -> Map:
    """The body of ResNet-50 (arXiv 1512.03385) or ResNeXt-50 (1611.05431)."""
    x = net.pool(net.conv(x, 64, 7, 2), 2)
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            stride = 2 if block == 0 and stage and not (dilated and stage > 1) else 1
            inner = net.conv(x, width << stage)
            inner = net.conv(inner, width << stage, 3, stride, groups)
            inner = net.conv(inner, 256 << stage)
            x = net.act("Add", inner, net.conv(x, 256 << stage, 1, stride) if block == 0 else x)
    return x


def resnet50() -> Graph:
    net = Net("ResNet-50")
    return net.graph(net.conv(net.squeeze(_bottlenecks(net, net.image(3, 224, 224))), 1000))


def resnext50() -> Graph:
    net = Net("ResNeXt-50")
    x = _bottlenecks(net, net.image(3, 224, 224), groups=32, width=128)
    return net.graph(net.conv(net.squeeze(x), 1000))


def densenet121() -> Graph:
    """DenseNet (arXiv 1608.06993): each layer joins all before it and adds 32 channels."""
    net = Net("DenseNet-121")
    x = net.pool(net.conv(net.image(3, 224, 224), 64, 7, 2), 2)
    for stage, layers in enumerate((6, 12, 24, 16)):
        parts = [x]
        for _ in range(layers):
            whole = net.join(*parts) if len(parts) > 1 else x
            inner = net.conv(net.act("BatchNormalization", whole), 128)
            parts.append(net.conv(inner, 32, 3))
        x = net.act("BatchNormalization", net.join(*parts))
        if stage < 3:
            x = net.pool(net.conv(x, x.channels // 2), 2)
    return net.graph(net.conv(net.squeeze(x), 1000))


def r2plus1d() -> Graph:
    """R(2+1)D-18 (arXiv 1711.11248), 16 frames of 112 x 112."""
    net = Net("R(2+1)D")

    def factored(x: Map, channels: int, stride: int) -> Map:
        middle = 27 * x.channels * channels // (9 * x.channels + 3 * channels)
        x = net.conv(x, middle, (1, 3, 3), (1, stride, stride))
        return net.conv(x, channels, (3, 1, 1), (stride, 1, 1))

    x = net.conv(net.image(3, 16, 112, 112), 45, (1, 7, 7), (1, 2, 2))
    x = net.conv(x, 64, (3, 1, 1))
    for stage in range(4):
        for block in range(2):
            stride = 2 if stage and block == 0 else 1
            inner = factored(factored(x, 64 << stage, stride), 64 << stage, 1)
            x = net.act("Add", inner, net.conv(x, 64 << stage, 1, 2) if stride == 2 else x)
    return net.graph(net.conv(net.squeeze(x), 400))


S3D_BLOCKS = (
    (64, 96, 128, 16, 32, 32),
    (128, 128, 192, 32, 96, 64),
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
    (256, 160, 320, 32, 128, 128),
    (384, 192, 384, 48, 128, 128),
)


def s3d() -> Graph:
    """S3D (arXiv 1712.04851), Inception with factored convolutions, 16 frames of 224 x 224."""
    net = Net("S3D")

    def factored(x: Map, channels: int, kernel: int, stride: int = 1) -> Map:
        x = net.conv(x, channels, (1, kernel, kernel), (1, stride, stride))
        return net.conv(x, channels, (kernel, 1, 1), (stride, 1, 1))

    x = net.pool(factored(net.image(3, 16, 224, 224), 64, 7, 2), (1, 2, 2))
    x = net.pool(factored(net.conv(x, 64), 192, 3), (1, 2, 2))
    for number, (one, three, wide, five, last, pooled) in enumerate(S3D_BLOCKS):
        if number in (2, 7):
            x = net.pool(x, 2)
        x = net.join(
            net.conv(x, one),
            factored(net.conv(x, three), wide, 3),
            factored(net.conv(x, five), last, 3),
            net.conv(net.pool(x), pooled),
        )
    return net.graph(net.conv(net.squeeze(x), 400))


def fcn() -> Graph:
    """FCN (arXiv 1411.4038) on a dilated ResNet-50, 512 x 512."""
    net = Net("FCN")
    x = _bottlenecks(net, net.image(3, 512, 512), dilated=True)
    return net.graph(net.resize(net.conv(net.conv(x, 512, 3), 21), (512, 512)))


def deeplabv3() -> Graph:
    """DeepLabV3 (arXiv 1706.05587) on a dilated ResNet-50, 512 x 512."""
    net = Net("DeepLabV3")
    x = _bottlenecks(net, net.image(3, 512, 512), dilated=True)
    branches = [net.conv(x, 256), *(net.conv(x, 256, 3) for _ in range(3))]
    branches.append(net.resize(net.conv(net.squeeze(x), 256), x.extent))
    x = net.conv(net.conv(net.join(*branches), 256), 256, 3)
    return net.graph(net.resize(net.conv(x, 21), (512, 512)))


# kernel, expansion, channels, squeeze-and-excite, stride (arXiv 1905.02244, table 1)
MOBILENET_V3 = (
    (3, 16, 16, 0, 1),
    (3, 64, 24, 0, 2),
    (3, 72, 24, 0, 1),
    (5, 72, 40, 1, 2),
    (5, 120, 40, 1, 1),
    (5, 120, 40, 1, 1),
    (3, 240, 80, 0, 2),
    (3, 200, 80, 0, 1),
    (3, 184, 80, 0, 1),
    (3, 184, 80, 0, 1),
    (3, 480, 112, 1, 1),
    (3, 672, 112, 1, 1),
    (5, 672, 160, 1, 1),  # dilated instead of strided
    (5, 960, 160, 1, 1),
    (5, 960, 160, 1, 1),
)


def lraspp() -> Graph:
    """L-RASPP on a dilated MobileNetV3-Large (arXiv 1905.02244), 512 x 512."""
    net = Net("L-RASPP")
    x = low = net.conv(net.image(3, 512, 512), 16, 3, 2)
    for number, (kernel, wide, channels, excites, stride) in enumerate(MOBILENET_V3):
        inner = net.conv(x, wide) if wide != x.channels else x
        inner = net.conv(inner, wide, kernel, stride, wide)
        if excites:
            scale = net.conv(net.conv(net.squeeze(inner), -(-wide // 32) * 8), wide)
            inner = net.act("Mul", inner, scale)
        inner = net.conv(inner, channels)
        x = net.act("Add", inner, x) if stride == 1 and channels == x.channels else inner
        low = x if number == 5 else low
    x = net.conv(x, 960)
    x = net.act("Mul", net.conv(x, 128), net.conv(net.squeeze(x), 128))
    x = net.conv(net.resize(x, low.extent), 21)
    return net.graph(net.resize(net.act("Add", x, net.conv(low, 21)), (512, 512)))


def _attention(net: Net, x: Map, memory: Map, heads: int) -> Map:
    wide, tokens, keys = x.channels, x.extent, memory.extent[0]
    q, k, v = net.conv(x, wide), net.conv(memory, wide), net.conv(memory, wide)
    scores = net.run("MatMul", [q, k], heads * keys, tokens, 0)
    context = net.run("MatMul", [net.act("Softmax", scores), v], wide, tokens, 0)
    return net.conv(context, wide)


def transformer() -> Graph:
    """The base Transformer (arXiv 1706.03762): encoder and decoder of 128 tokens."""
    net = Net("Transformer")
    x = net.image(512, 128)
    for _ in range(6):
        x = net.act("Norm", net.act("Add", x, _attention(net, x, x, 8)))
        x = net.act("Norm", net.act("Add", x, net.conv(net.conv(x, 2048), 512)))
    memory = x
    y = net.conv(memory, 512)  # stands for the embedded target
    for _ in range(6):
        y = net.act("Norm", net.act("Add", y, _attention(net, y, y, 8)))
        y = net.act("Norm", net.act("Add", y, _attention(net, y, memory, 8)))
        y = net.act("Norm", net.act("Add", y, net.conv(net.conv(y, 2048), 512)))
    return net.graph(y)


def vit() -> Graph:
    """ViT-B/16 (arXiv 2010.11929), 224 x 224."""
    net = Net("ViT")
    patches = net.conv(net.image(3, 224, 224), 768, 16, 16)
    x = net.run("Embed", [patches], 768, (197,), 768 * 197)
    for _ in range(12):
        normal = net.act("Norm", x)
        x = net.act("Add", x, _attention(net, normal, normal, 12))
        x = net.act("Add", x, net.conv(net.conv(net.act("Norm", x), 3072), 768))
    return net.graph(net.conv(net.run("Take", [net.act("Norm", x)], 768, (1,), 0), 1000))


# -- found by search -------------------------------------------------------------------------

S3, S5, S7, D3, MAX, AVG, SKIP, C7 = "sep3 sep5 sep7 dil3 max avg skip conv7".split()
CELLS: Mapping[str, tuple[int, Cell, Cell]] = {  # filters, normal cell, reduction cell
    "NASNet-A": (  # arXiv 1707.07012, figure 4
        44,
        (
            (
                *((S5, 1), (S3, 0), (S5, 0), (S3, 0), (AVG, 1), (SKIP, 0), (AVG, 0), (AVG, 0)),
                *((S3, 1), (SKIP, 1)),
            ),
            (2, 3, 4, 5, 6),
        ),
        (
            (
                *((S5, 1), (S7, 0), (MAX, 1), (S7, 0), (AVG, 1), (S5, 0), (SKIP, 3), (AVG, 2)),
                *((S3, 2), (MAX, 1)),
            ),
            (3, 4, 5, 6),
        ),
    ),
    "PNASNet-5": (  # arXiv 1712.00559, figure 1; one cell for both
        54,
        *(
            (
                (
                    *((S5, 0), (MAX, 0), (S7, 1), (MAX, 1), (S5, 1), (S3, 1), (S3, 4), (MAX, 1)),
                    *((S3, 0), (SKIP, 1)),
                ),
                (2, 3, 4, 5, 6),
            ),
        )
        * 2,
    ),
    "AmoebaNet": (  # AmoebaNet-A, arXiv 1802.01548, figure 5
        50,
        (
            (
                *((AVG, 0), (MAX, 1), (S3, 0), (S5, 2), (S3, 0), (AVG, 3), (S3, 1), (SKIP, 1)),
                *((SKIP, 0), (AVG, 1)),
            ),
            (4, 5, 6),
        ),
        (
            (
                *((AVG, 0), (S3, 1), (MAX, 0), (S7, 2), (S7, 0), (AVG, 1), (MAX, 0), (MAX, 1)),
                *((C7, 0), (S3, 5)),
            ),
            (3, 4, 6),
        ),
    ),
    "DARTS": (  # second order, arXiv 1806.09055, figures 4 and 5
        48,
        (
            (*((S3, 0), (S3, 1), (S3, 0), (S3, 1), (S3, 1), (SKIP, 0), (SKIP, 0), (D3, 2)),),
            (2, 3, 4, 5),
        ),
        (
            (
                *((MAX, 0), (MAX, 1), (SKIP, 2), (MAX, 1), (MAX, 0), (SKIP, 2), (SKIP, 2)),
                (MAX, 1),
            ),
            (2, 3, 4, 5),
        ),
    ),
}
CELLS_IN_ALL = 14


def _edge(net: Net, kind: str, x: Map, stride: int) -> Map:
    """One operation of a searched cell."""
    if kind == SKIP:
        return net.conv(x, x.channels, 1, stride) if stride > 1 else x
    if kind in (MAX, AVG):
        return net.pool(x, stride)
    if kind == C7:
        return net.conv(
            net.conv(x, x.channels, (1, 7), (1, stride)), x.channels, (7, 1), (stride, 1)
        )
    width = int(kind[-1])
    for step in (stride,) if kind == D3 else (stride, 1):
        x = net.conv(net.conv(x, x.channels, width, step, x.channels), x.channels)
    return x


def _cell(net: Net, before: Map, now: Map, filters: int, cell: Cell, *, reduces: bool) -> Map:
    blocks, joined = cell
    shrink = -(-before.extent[0] // now.extent[0])
    states = [net.conv(before, filters, 1, shrink), net.conv(now, filters)]
    for (left, a), (right, b) in zip(blocks[::2], blocks[1::2], strict=True):
        one = _edge(net, left, states[a], 2 if reduces and a < 2 else 1)
        two = _edge(net, right, states[b], 2 if reduces and b < 2 else 1)
        states.append(net.act("Add", one, two))
    return net.join(*(states[i] for i in joined))


def searched(name: str) -> Graph:
    """A searched network, 224 x 224."""
    filters, normal, reduction = CELLS[name]
    net = Net(name)
    before = net.conv(net.conv(net.image(3, 224, 224), filters // 2, 3, 2), filters, 3, 2)
    now = net.conv(before, filters, 3, 2)
    for number in range(CELLS_IN_ALL):
        reduces = number in (CELLS_IN_ALL // 3, 2 * CELLS_IN_ALL // 3)
        filters *= 2 if reduces else 1
        cell = reduction if reduces else normal
        before, now = now, _cell(net, before, now, filters, cell, reduces=reduces)
    return net.graph(net.conv(net.squeeze(now), 1000))


DESIGNED: Mapping[str, Callable[[], Graph]] = {
    "ResNet-50": resnet50,
    "DenseNet-121": densenet121,
    "ResNeXt-50": resnext50,
    "R(2+1)D": r2plus1d,
    "S3D": s3d,
    "FCN": fcn,
    "L-RASPP": lraspp,
    "DeepLabV3": deeplabv3,
    "Transformer": transformer,
    "ViT": vit,
}
NETWORKS: Mapping[str, Callable[[], Graph]] = {
    **DESIGNED,
    **{name: partial(searched, name) for name in CELLS},
}


def main() -> None:
    from ullage.compiler.lowering.aliases import NO_ALIASES
    from ullage.compiler.lowering.orders import model_order
    from ullage.solvers.scheduling.peak_order import order_peak_bytes

    for name, build in NETWORKS.items():
        graph = build()
        sizes = {v.name: 0 if v.kind == "weight" else v.size_bytes for v in graph.values.values()}
        largest = max(sum(sizes[n] for n in (*o.inputs, *o.outputs)) for o in graph.operators)
        peak = order_peak_bytes(graph, model_order(graph), NO_ALIASES)
        weights = sum(v.size_bytes for v in graph.values.values() if v.kind == "weight")
        print(
            f"{name}: {len(graph.operators)} operators, {weights / 1e6:.1f} MB of weights, "
            f"M_R {largest / 1024:,.1f} KiB, file order {peak / 1024:,.1f} KiB"
        )


if __name__ == "__main__":
    main()
