"""Synthetic programs to train on: graphs of the kinds found in practice, and chips to match.

Tensors have channels and pixels (or features and tokens), so that sizes, weights and arithmetic go
together as they do in networks. Depths, widths and wiring are drawn at random; nothing is taken
from any particular model.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random

from ullage.compiler.ir.graph import Kind
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Compute, Link, Target, Tier
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists

KINDS: tuple[Kind, ...] = ("input", "weight", "activation", "output")
# Bytes of a KiB.
KIB = 1024
# Weights of a 3 x 3 kernel for each pair of channels.
TAPS = 9
# Most channels of a tensor.
MAX_CHANNELS = 2048


@dataclass
class _ProgramBuilder:
    """Builds a program operator by operator; tensors have one byte per element.

    Attributes:
        rng: source of everything random.
        tensors: tensors so far.
        ops: operators so far.
        shapes: (channels, pixels) of each tensor that is no weight.
        has_bias: layers with weights have a bias too.
    """

    rng: Random
    tensors: list[Tensor] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    shapes: dict[str, tuple[int, int]] = field(default_factory=dict)
    has_bias: bool = False

    def first_input(self, channels: int, pixels: int) -> str:
        """The input of the program."""
        self.has_bias = self.rng.random() < 0.6
        return self.extra_input(channels, pixels)

    def extra_input(self, channels: int, pixels: int) -> str:
        """Another input: a cache, say."""
        name = f"x{len(self.tensors)}"
        self.shapes[name] = (channels, pixels)
        self.tensors.append(Tensor(name, channels * pixels, "input"))
        return name

    def channels(self, name: str) -> int:
        return self.shapes[name][0]

    def pixels(self, name: str) -> int:
        return self.shapes[name][1]

    def half(self, name: str) -> int:
        """Pixels at half the resolution."""
        return max(1, self.pixels(name) // 4)

    def weight(self, size_bytes: int) -> str:
        name = f"w{len(self.tensors)}"
        self.tensors.append(Tensor(name, size_bytes, "weight"))
        return name

    def operator(
        self, reads: list[str], shape: tuple[int, int], macs: int, weights: list[int]
    ) -> str:
        """An operator that makes a tensor of a shape; returns its name."""
        result = f"t{len(self.ops)}"
        self.shapes[result] = shape
        self.tensors.append(Tensor(result, shape[0] * shape[1], "activation"))
        operands = [*dict.fromkeys(reads), *(self.weight(size) for size in weights)]
        elements = shape[0] * shape[1]
        name = f"op{len(self.ops)}"
        self.ops.append(Op(name, operands, [result], macs=macs, vector_elements=elements))
        return result

    def mix(self, reads: list[str], channels: int, *, taps: int = 1, pixels: int = 0) -> str:
        """A convolution or a matrix product: every result channel sees all channels read."""
        channels = max(4, min(channels, MAX_CHANNELS))
        pixels = pixels or self.pixels(reads[0])
        weight = sum(self.channels(name) for name in dict.fromkeys(reads)) * channels * taps
        bias = [4 * channels] if self.has_bias else []
        return self.operator(reads, (channels, pixels), weight * pixels, [weight, *bias])

    def depthwise(self, read: str, *, pixels: int = 0) -> str:
        """A filter for each channel."""
        channels = self.channels(read)
        pixels = pixels or self.pixels(read)
        weight = channels * self.rng.choice((TAPS, TAPS, 25))
        bias = [4 * channels] if self.has_bias else []
        return self.operator([read], (channels, pixels), weight * pixels, [weight, *bias])

    def plain(self, reads: list[str], *, channels: int = 0, pixels: int = 0) -> str:
        """An operator without weights: sums, pooling, activations, joins."""
        shape = (channels or self.channels(reads[0]), pixels or self.pixels(reads[0]))
        return self.operator(reads, shape, 0, [])

    def peak_bytes(self) -> int:
        """Largest sum of tensors that are alive, if each lives from its first use to its last."""
        first: dict[str, int] = {}
        last: dict[str, int] = {}
        for step, op in enumerate(self.ops):
            for name in (*op.reads, *op.writes):
                first.setdefault(name, step)
                last[name] = step
        change = [0] * (len(self.ops) + 1)
        sizes = {t.name: t.size_bytes for t in self.tensors}
        for name, step in first.items():
            change[step] += sizes[name]
            change[last[name] + 1] -= sizes[name]
        return max(accumulate(change))

    def problem(self, name: str, target: Target) -> Problem:
        """The problem of the program on a target; activations without a reader are outputs."""
        read = {name for op in self.ops for name in op.reads}
        tensors = [
            Tensor(t.name, t.size_bytes, "output")
            if t.kind == "activation" and t.name not in read
            else t
            for t in self.tensors
        ]
        return problem_from_lists(name, tensors, self.ops, target)


def _image_input(builder: _ProgramBuilder) -> str:
    """Feature maps as convolutional networks have them behind their first layers."""
    rng = builder.rng
    side = rng.choice((14, 20, 28, 40, 56, 80, 112))
    return builder.first_input(rng.choice((8, 16, 24, 32, 64)), side * side)


def chain(builder: _ProgramBuilder) -> None:
    """Layer after layer: wide convolutions, or thin ones with a filter per channel between."""
    rng, x = builder.rng, _image_input(builder)
    thin = rng.random() < 0.6
    for _ in range(rng.randint(8, 24)):
        halves = rng.random() < 0.25
        wider = builder.channels(x) * (2 if halves else 1)
        pixels = builder.half(x) if halves else builder.pixels(x)
        if thin:
            x = builder.mix([x], builder.channels(x) * rng.choice((1, 3, 6)))
            x = builder.depthwise(x, pixels=pixels)
            x = builder.mix([x], wider)
        else:
            x = builder.mix([x], wider, taps=TAPS, pixels=pixels)
            if rng.random() < 0.3:
                x = builder.plain([x])


def residual(builder: _ProgramBuilder) -> None:
    """Blocks of two or three layers with a shortcut around each, some with a gate beside."""
    rng, x = builder.rng, _image_input(builder)
    gated, inner = rng.random() < 0.3, rng.choice((0.25, 1, 4, 6))
    for _ in range(rng.randint(6, 18)):
        width = builder.channels(x)
        y = builder.mix([x], int(width * inner), taps=rng.choice((1, TAPS)))
        y = builder.depthwise(y) if inner > 1 else builder.mix([y], int(width * inner), taps=TAPS)
        if gated:
            gate = builder.plain([y], pixels=1)
            gate = builder.mix([builder.mix([gate], width // 4)], builder.channels(y))
            y = builder.plain([y, gate])
        y = builder.mix([y], width)
        x = builder.plain([x, y])
        if rng.random() < 0.25:
            x = builder.mix([x], 2 * width, pixels=builder.half(x))


def dense(builder: _ProgramBuilder) -> None:
    """Each layer reads the results of all before it in its block."""
    rng, x = builder.rng, _image_input(builder)
    for _ in range(rng.randint(2, 4)):
        operands = [x]
        growth = rng.choice((8, 16, 32))
        for _ in range(rng.randint(4, 10)):
            y = builder.mix(operands, 4 * growth) if rng.random() < 0.5 else None
            operands.append(builder.mix([y] if y else operands, growth, taps=TAPS))
        total = sum(builder.channels(s) for s in operands)
        x = builder.mix(operands, total // 2, pixels=builder.half(x))


def inception(builder: _ProgramBuilder) -> None:
    """Branches of one to three layers, joined again."""
    rng, x = builder.rng, _image_input(builder)
    for _ in range(rng.randint(4, 9)):
        width, ends = builder.channels(x), []
        for _ in range(rng.choice((3, 4))):
            y = x if rng.random() < 0.8 else builder.plain([x])
            for _ in range(rng.randint(1, 3)):
                y = builder.mix([y], int(width * rng.choice((0.25, 0.5))), taps=rng.choice((1, 9)))
            ends.append(y)
        x = builder.plain(ends, channels=sum(builder.channels(e) for e in ends))
        if rng.random() < 0.4:
            x = builder.plain([x], pixels=builder.half(x))


def branches(builder: _ProgramBuilder) -> None:
    """Several resolutions side by side that are summed into each other now and then."""
    rng, x = builder.rng, _image_input(builder)
    lanes = [x]
    for _ in range(rng.randint(1, 3)):
        y = lanes[-1]
        lanes.append(builder.mix([y], 2 * builder.channels(y), pixels=builder.half(y)))
    for _ in range(rng.randint(1, 4)):
        for i, lane in enumerate(lanes):
            y = lane
            for _ in range(rng.choice((1, 2, 4))):
                y = builder.mix([y], builder.channels(lane), taps=TAPS)
            lanes[i] = builder.plain([y, lane])
        lanes = [
            builder.plain([lane, *(_reshaped(builder, y, lane) for y in lanes if y != lane)])
            for lane in lanes
        ]
    builder.plain(lanes)


def _reshaped(builder: _ProgramBuilder, name: str, to: str) -> str:
    """A tensor brought to the shape of another."""
    return builder.mix([name], builder.channels(to), pixels=builder.pixels(to))


def cells(builder: _ProgramBuilder) -> None:
    """Cells found by architecture search: random wiring, two cells back as well."""
    rng = builder.rng
    before = here = _image_input(builder)
    for _ in range(rng.randint(3, 7)):
        width = max(8, builder.channels(here) // rng.choice((1, 2, 4)))
        nodes = [builder.mix([before], width), builder.mix([here], width)]
        for _ in range(rng.randint(3, 5)):
            parts = []
            for _ in range(2):
                y = rng.choice(nodes)
                if rng.random() < 0.6:
                    y = builder.mix([builder.depthwise(y)], width)
                parts.append(y)
            nodes.append(builder.plain(parts))
        joined = builder.plain(nodes[2:], channels=width * len(nodes[2:]))
        before, here = here, joined


def attention(builder: _ProgramBuilder) -> None:
    """Transformer layers over a prompt, or for one more token with a cache."""
    rng = builder.rng
    tokens, heads = rng.choice((1, 32, 64, 128, 256)), rng.choice((2, 4, 8))
    x = builder.first_input(rng.choice((128, 192, 256, 384, 512)), tokens)
    for _ in range(rng.randint(2, 6)):
        width = builder.channels(x)
        y = builder.plain([x])
        q, k, v = (builder.mix([y], width) for _ in range(3))
        if tokens == 1:
            past = rng.choice((64, 128, 256, 512))
            k, v = (builder.plain([builder.extra_input(width, past), part]) for part in (k, v))
        scores = builder.plain([q, k], channels=heads * max(builder.pixels(k), 16))
        for _ in range(rng.choice((1, 1, 3))):
            scores = builder.plain([scores])
        mixed = builder.plain([scores, v], channels=width, pixels=tokens)
        x = builder.plain([x, builder.mix([mixed], width)])
        wide = builder.mix([builder.plain([x])], 4 * width)
        x = builder.plain([x, builder.mix([builder.plain([wide])], width)])


def unet(builder: _ProgramBuilder) -> None:
    """Down and up again, with a long skip at each level."""
    rng, x = builder.rng, _image_input(builder)
    skips = []
    for _ in range(rng.randint(3, 4)):
        for _ in range(rng.choice((1, 2))):
            x = builder.mix([x], builder.channels(x), taps=TAPS)
        skips.append(x)
        x = builder.mix([x], 2 * builder.channels(x), taps=TAPS, pixels=builder.half(x))
    for skip in reversed(skips):
        x = _reshaped(builder, x, skip)
        for inputs in ([x, skip], None):
            x = builder.mix(inputs or [x], builder.channels(skip), taps=TAPS)


def training(builder: _ProgramBuilder) -> None:
    """Forwards, then backwards: every activation and every weight is read again."""
    rng, x = builder.rng, _image_input(builder)
    passed = []
    for _ in range(rng.randint(6, 14)):
        y = builder.mix([x], builder.channels(x) * rng.choice((1, 1, 2)), taps=rng.choice((1, 9)))
        weight = builder.ops[-1].reads[1]
        passed.append((x, weight, y))
        x = builder.plain([y])
    slope = builder.plain([x])
    for x, weight, y in reversed(passed):
        slope = builder.plain([slope, y])
        size = builder.channels(x) * builder.channels(y)
        builder.operator([slope, x], (size, 1), size * builder.pixels(x), [])
        slope = builder.operator([slope, weight], builder.shapes[x], size * builder.pixels(x), [])


WORKLOAD_KINDS: dict[str, Callable[[_ProgramBuilder], None]] = {
    workload_kind.__name__: workload_kind
    for workload_kind in (
        chain,
        residual,
        dense,
        inception,
        branches,
        cells,
        attention,
        unet,
        training,
    )
}


# Kinds that no training sees, to measure with.
HELD_OUT = ("branches", "inception")
# Kinds to train on.
TRAINED = tuple(name for name in WORKLOAD_KINDS if name not in HELD_OUT)


def random_chip(rng: Random, peak_bytes: int) -> Target:
    """Two tiers; speeds in the range of embedded and datacentre NPUs.

    Fast memory is between a thirtieth of what would be alive at once if everything stayed for its
    whole life and four times as much; with more than that all of it, room is left to fetch ahead.
    """
    capacity = max(int(peak_bytes * 2 ** rng.uniform(-5, 2)) // 64 * 64, 4 * KIB)
    slow = 1e9 * 2 ** rng.uniform(0, 4)
    sram = Tier("sram", capacity, 64 * slow, 64 * slow, 16)
    dram = Tier("dram", 1 << 40, slow, slow * rng.choice((0.5, 1.0, 1.0)), 64)
    fast = rng.random() < 0.15
    return Target(
        "synthetic",
        (sram, dram),
        (Link("dram", "sram", slow), Link("sram", "dram", slow)),
        Compute({"int8": slow * 2 ** rng.uniform(4, 10)}, 16 * slow),
        dict.fromkeys(KINDS, "dram"),
        operand_access="fastest" if fast else "any",
        split_operands=False,
    )


def random_program(rng: Random, workload_kinds: tuple[str, ...] = tuple(WORKLOAD_KINDS)) -> Problem:
    """A problem of one of the workload kinds on a random chip.

    Operators may not fit the chip: draw another then.
    """
    name = rng.choice(workload_kinds)
    builder = _ProgramBuilder(rng)
    WORKLOAD_KINDS[name](builder)
    target = random_chip(rng, builder.peak_bytes())
    return builder.problem(f"synthetic-{name}", target)
