"""Synthetic programs to train on: families of graphs as found in practice, and chips to match.

Sizes, depths and shapes are drawn at random; nothing is taken from any particular model.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from ullage.compiler.builder import Op, Tensor, problem_from_lists
from ullage.compiler.graph import Kind
from ullage.compiler.problem import Problem
from ullage.hwmodels.target import Compute, Link, Target, Tier

KINDS: tuple[Kind, ...] = ("input", "weight", "activation", "output")
KIB = 1024


@dataclass
class _Sketch:
    """A program in the making: activations have a size, operators weights and MACs."""

    rng: Random
    tensors: list[Tensor] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)

    def tensor(self, name: str, size_bytes: int, kind: str = "activation") -> str:
        self.tensors.append(Tensor(name, size_bytes, kind))  # type: ignore[arg-type]
        self.sizes[name] = size_bytes
        return name

    def layer(self, inputs: list[str], size_bytes: int, *, weights: bool = True) -> str:
        """An operator with or without weights; returns its result."""
        number = len(self.ops)
        size_bytes = max(size_bytes, 64)
        result = self.tensor(f"t{number}", size_bytes)
        reads, macs = list(dict.fromkeys(inputs)), 0
        if weights:
            weight = int(KIB * 2 ** self.rng.uniform(0, 9))
            reads.append(self.tensor(f"w{number}", weight, "weight"))
            macs = weight * max(1, size_bytes // self.rng.choice((64, 128, 256)))
        self.ops.append(Op(f"op{number}", reads, [result], macs=macs, vector_elements=size_bytes))
        return result

    def problem(self, name: str, target: Target) -> Problem:
        """The program; what nobody reads is an output."""
        read = {name for op in self.ops for name in op.reads}
        tensors = [
            Tensor(t.name, t.size_bytes, "output")
            if t.kind == "activation" and t.name not in read
            else t
            for t in self.tensors
        ]
        return problem_from_lists(name, tensors, self.ops, target)


def _start(sketch: _Sketch) -> str:
    size = int(KIB * 2 ** sketch.rng.uniform(3, 9))
    return sketch.tensor("x", size, "input")


def _shrunk(sketch: _Sketch, name: str) -> int:
    """Size of the next activation: mostly the same, sometimes half, seldom double."""
    return int(sketch.sizes[name] * sketch.rng.choice((1, 1, 1, 1, 0.5, 0.5, 2)))


def chain(sketch: _Sketch) -> None:
    """Layer after layer."""
    x = _start(sketch)
    for _ in range(sketch.rng.randint(15, 50)):
        x = sketch.layer([x], _shrunk(sketch, x))


def residual(sketch: _Sketch) -> None:
    """Blocks of two or three layers with a shortcut around each."""
    x = _start(sketch)
    for _ in range(sketch.rng.randint(6, 16)):
        y = x
        for _ in range(sketch.rng.choice((2, 3))):
            y = sketch.layer([y], int(sketch.sizes[x] * sketch.rng.choice((0.25, 1, 1, 4))))
        y = sketch.layer([y], sketch.sizes[x])
        x = sketch.layer([x, y], sketch.sizes[x], weights=False)
        if sketch.rng.random() < 0.25:
            x = sketch.layer([x], sketch.sizes[x] // 2)


def dense(sketch: _Sketch) -> None:
    """Each layer reads the results of all before it in its block."""
    x = _start(sketch)
    for _ in range(sketch.rng.randint(2, 4)):
        seen = [x]
        growth = max(sketch.sizes[x] // sketch.rng.choice((4, 8)), 64)
        for _ in range(sketch.rng.randint(4, 9)):
            seen.append(sketch.layer(seen, growth))
        x = sketch.layer(seen, sum(sketch.sizes[s] for s in seen) // 4)


def inception(sketch: _Sketch) -> None:
    """Branches of one to three layers, joined again."""
    x = _start(sketch)
    for _ in range(sketch.rng.randint(4, 9)):
        ends = []
        for _ in range(sketch.rng.choice((3, 4))):
            y = x
            for _ in range(sketch.rng.randint(1, 3)):
                y = sketch.layer([y], int(sketch.sizes[x] * sketch.rng.choice((0.25, 0.5))))
            ends.append(y)
        size = sum(sketch.sizes[e] for e in ends)
        x = sketch.layer(ends, min(size, 1 << 20), weights=False)
        if sketch.rng.random() < 0.4:
            x = sketch.layer([x], sketch.sizes[x] // 2, weights=False)


def cells(sketch: _Sketch) -> None:
    """Cells found by architecture search: random wiring, two cells back as well."""
    before = here = _start(sketch)
    for _ in range(sketch.rng.randint(3, 6)):
        size = max(sketch.sizes[here] // sketch.rng.choice((1, 1, 2)), 64)
        nodes = [sketch.layer([before], size), sketch.layer([here], size)]
        for _ in range(sketch.rng.randint(3, 5)):
            parts = [sketch.layer([sketch.rng.choice(nodes)], size) for _ in range(2)]
            nodes.append(sketch.layer(parts, size, weights=False))
        before, here = here, sketch.layer(nodes[2:], size * len(nodes[2:]), weights=False)


def attention(sketch: _Sketch) -> None:
    """Transformer layers: three projections, scores, a mixture, two wide layers, two shortcuts."""
    x = _start(sketch)
    for _ in range(sketch.rng.randint(2, 6)):
        size = sketch.sizes[x]
        q, k, v = (sketch.layer([x], size) for _ in range(3))
        scores = sketch.layer([q, k], int(size * sketch.rng.choice((0.5, 1, 2))), weights=False)
        mixed = sketch.layer([scores, v], size, weights=False)
        x = sketch.layer([x, sketch.layer([mixed], size)], size, weights=False)
        wide = sketch.layer([x], 4 * size)
        x = sketch.layer([x, sketch.layer([wide], size)], size, weights=False)


def unet(sketch: _Sketch) -> None:
    """Down and up again, with a long skip at each level."""
    x = _start(sketch)
    skips = []
    for _ in range(sketch.rng.randint(3, 5)):
        for _ in range(sketch.rng.choice((1, 2))):
            x = sketch.layer([x], sketch.sizes[x])
        skips.append(x)
        x = sketch.layer([x], sketch.sizes[x] // 2)
    for skip in reversed(skips):
        x = sketch.layer([x], sketch.sizes[skip])
        for inputs in ([x, skip], None):
            x = sketch.layer(inputs or [x], sketch.sizes[skip])


FAMILIES: dict[str, Callable[[_Sketch], None]] = {
    family.__name__: family
    for family in (chain, residual, dense, inception, cells, attention, unet)
}


def random_chip(rng: Random) -> Target:
    """Two tiers; memory sizes and speeds in the range of embedded and datacentre NPUs."""
    capacity = int(16 * KIB * 2 ** rng.uniform(0, 7)) // 64 * 64
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


def random_program(
    rng: Random, families: tuple[str, ...] = tuple(FAMILIES)
) -> tuple[Problem, Target]:
    """A program of one of the families and a chip; operators may not fit: try another then."""
    target = random_chip(rng)
    name = rng.choice(families)
    sketch = _Sketch(rng)
    FAMILIES[name](sketch)
    return sketch.problem(f"synthetic-{name}", target), target
